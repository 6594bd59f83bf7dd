//! A tree that a one-way run reads or changes.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use crate::disk::error::{DiskError, Doing};
use crate::disk::hash::hash_file;
use crate::disk::lister::Lister;
use crate::disk::root::Root;
use crate::model::entry::{Digest, Kind};
use crate::model::metadata::Stat;
use crate::model::path::RelPath;

/// Where a tree is.
#[derive(Clone)]
pub(crate) enum Tree {
    /// On this machine.
    Disk(Arc<Root>),
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
        }
    }

    /// Returns the same, for a moment.
    pub(crate) fn as_lister(&self) -> &dyn Lister {
        match self {
            Self::Disk(root) => &**root,
        }
    }

    /// Returns what stands at `path`; `None` where nothing does.
    pub(crate) fn stat(&self, path: &RelPath) -> Result<Option<Stat>, DiskError> {
        self.as_lister().stat(path)
    }

    /// Returns the path of the root: what rules with the modifier `/` are relative to.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Disk(root) => root.path(),
        }
    }

    /// Whether something of another kind than a directory stands at `path`.
    pub(crate) fn is_leaf(&self, path: &RelPath) -> bool {
        self.stat(path).ok().flatten().is_some_and(|stat| stat.kind != Kind::Dir)
    }

    /// Whether something is mounted at `path`.
    pub(crate) fn is_mount(&self, path: &RelPath) -> Result<bool, DiskError> {
        match self {
            Self::Disk(root) => root.is_mount(path),
        }
    }

    /// Returns the target of the symlink at `path`.
    pub(crate) fn read_link(&self, path: &RelPath) -> Result<Box<[u8]>, DiskError> {
        match self {
            Self::Disk(root) => root.read_link(path),
        }
    }

    /// Returns the digest of the file at `path`, last seen as `stat`; `None` where it has none that holds, since it
    /// keeps changing.
    pub(crate) fn digest(&self, path: &RelPath, stat: &Stat) -> Result<Option<Digest>, DiskError> {
        match self {
            Self::Disk(root) => {
                if let Ok(hashed) = hash_file(root, path, stat) {
                    return Ok(Some(hashed.digest));
                }
                // Whatever hinders this hinders the copy, and is told there.
                let read = root.open_file(path)?.0.read(&mut [0]);
                read.map(|_| None).map_err(|error| DiskError::io(Doing::Read, path, &error))
            }
        }
    }
}
