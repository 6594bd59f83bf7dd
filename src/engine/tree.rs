//! A tree that a one-way run reads or changes.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::error::{DiskError, Doing};
use crate::disk::hash::hash_file;
use crate::disk::lister::Lister;
use crate::disk::root::Root;
use crate::engine::far::placed::Placed;
use crate::model::entry::{Digest, Kind};
use crate::model::metadata::Stat;
use crate::model::path::RelPath;

/// Where a tree is.
#[derive(Clone)]
pub(crate) enum Tree {
    /// On this machine.
    Disk(Arc<Root>),
    /// In the folder of a peer.
    Far(Arc<Placed>),
}

impl Tree {
    /// Returns the tree below the directory at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, DiskError> {
        Ok(Self::Disk(Arc::new(Root::open(path)?)))
    }

    /// Returns what walks and rules ask.
    pub(crate) fn lister(&self) -> Arc<dyn Lister> {
        match self {
            Self::Disk(root) => Arc::<Root>::clone(root),
            Self::Far(placed) => Arc::<Placed>::clone(placed),
        }
    }

    /// Returns the same, for a moment.
    pub(crate) fn as_lister(&self) -> &dyn Lister {
        match self {
            Self::Disk(root) => &**root,
            Self::Far(placed) => &**placed,
        }
    }

    /// Returns what stands at `path`; `None` where nothing does.
    pub(crate) fn stat(&self, path: &RelPath) -> Result<Option<Stat>, DiskError> {
        self.as_lister().stat(path)
    }

    /// Returns the path of the root: what rules with the modifier `/` are relative to. That of a peer begins at its
    /// folder.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::Disk(root) => root.path().to_owned(),
            Self::Far(placed) => placed.path(),
        }
    }

    /// Whether something of another kind than a directory stands at `path`.
    pub(crate) fn is_leaf(&self, path: &RelPath) -> bool {
        self.stat(path).ok().flatten().is_some_and(|stat| stat.kind != Kind::Dir)
    }

    /// Whether something is mounted at `path`. What is mounted at a peer is no part of its folder.
    pub(crate) fn is_mount(&self, path: &RelPath) -> Result<bool, DiskError> {
        match self {
            Self::Disk(root) => root.is_mount(path),
            Self::Far(_) => Ok(false),
        }
    }

    /// Returns the regular file at `path`, open. Those of a peer are fetched, many at a time, and never opened.
    pub(crate) fn open_file(&self, path: &RelPath) -> Result<(File, Stat), DiskError> {
        match self {
            Self::Disk(root) => root.open_file(path),
            Self::Far(_) => Err(DiskError::absent(Doing::OpenFile, path)),
        }
    }

    /// Returns the target of the symlink at `path`.
    pub(crate) fn read_link(&self, path: &RelPath) -> Result<Box<[u8]>, DiskError> {
        match self {
            Self::Disk(root) => root.read_link(path),
            Self::Far(placed) => placed.read_link(path),
        }
    }

    /// Returns the digest of the file at `path`, last seen as `stat`; `None` where it has none that holds, since it
    /// keeps changing.
    pub(crate) fn digest(&self, path: &RelPath, stat: &Stat) -> Result<Option<Digest>, DiskError> {
        let root = match self {
            Self::Disk(root) => root,
            Self::Far(placed) => return Ok(Some(placed.file(path)?.0)),
        };
        if let Ok(hashed) = hash_file(root, path, stat) {
            return Ok(Some(hashed.digest));
        }
        // Whatever hinders this hinders the copy, and is told there.
        let read = root.open_file(path)?.0.read(&mut [0]);
        read.map(|_| None).map_err(|error| DiskError::io(Doing::Read, path, &error))
    }
}
