//! The folder of a peer as a tree of a one-way run, at its root or under one name.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::error::{DiskError, Doing};
use crate::disk::lister::{Lister, Names, OpenDir};
use crate::engine::far::folder::{Far, Known};
use crate::model::entry::{Content, Digest, Kind};
use crate::model::metadata::{Attributes, Stat, Timestamp};
use crate::model::path::RelPath;
use crate::store::error::StoreError;

/// Largest file of filter rules.
const RULES_BYTES_MAX: u64 = 1024 * 1024;
/// The device number of everything in the folder of a peer.
const DEVICE: u64 = u64::MAX;

/// A folder with its place in the tree of a run.
///
/// `HOST::F/SUB` without a trailing slash means the thing itself: it stands under its name in a directory of which
/// nothing else is known, as a local `DIR/SUB` is one name in `DIR`.
#[derive(Clone)]
pub(crate) struct Placed {
    pub(crate) far: Arc<Far>,
    /// The root, or one name.
    pub(crate) at: RelPath,
}

impl Placed {
    /// Returns the path in the folder for a path of the tree; `None` outside the folder.
    pub(crate) fn inside(&self, path: &RelPath) -> Option<RelPath> {
        if *path == self.at { Some(RelPath::root()) } else { path.strip(&self.at) }
    }

    /// Returns the path of the tree for a path in the folder; `None` if it would be too long.
    pub(crate) fn outside(&self, path: &RelPath) -> Option<RelPath> {
        self.at.append(path).ok()
    }

    /// Returns what is known of `path`, live or deleted.
    pub(crate) fn known(&self, path: &RelPath) -> Result<Option<Known>, StoreError> {
        self.inside(path).map_or(Ok(None), |path| self.far.known(&path))
    }

    /// Returns the content at `path`.
    pub(crate) fn content(&self, path: &RelPath) -> Result<Option<Content>, DiskError> {
        let content = self.inside(path).map_or(Ok(None), |path| self.far.content(&path));
        content.map_err(|error| elsewhere(Doing::Stat, path, &error))
    }

    /// Returns the target of the symlink at `path`.
    pub(crate) fn read_link(&self, path: &RelPath) -> Result<Box<[u8]>, DiskError> {
        match self.content(path)? {
            Some(Content::Symlink(target)) => Ok(target),
            Some(_) | None => Err(DiskError::absent(Doing::ReadLink, path)),
        }
    }

    /// Returns digest and size of the file at `path`.
    pub(crate) fn file(&self, path: &RelPath) -> Result<(Digest, u64), DiskError> {
        match self.content(path)? {
            Some(Content::File { digest, size }) => Ok((digest, size)),
            Some(_) | None => Err(DiskError::absent(Doing::OpenFile, path)),
        }
    }

    /// Returns the path of the root, which begins at the folder.
    pub(crate) fn path(&self) -> PathBuf {
        let prefix = self.far.prefix();
        let root = if self.at.is_root() { prefix.clone() } else { prefix.parent().unwrap_or_default() };
        Path::new("/").join(OsStr::from_bytes(root.as_bytes()))
    }

    /// Whether `path` is the directory that the folder stands in under its name.
    fn is_above(&self, path: &RelPath) -> bool {
        path.is_root() && !self.at.is_root()
    }
}

impl Lister for Placed {
    fn dev(&self) -> u64 {
        DEVICE
    }

    fn stat(&self, path: &RelPath) -> Result<Option<Stat>, DiskError> {
        if self.is_above(path) {
            return Ok(Some(above()));
        }
        let stat = self.inside(path).map_or(Ok(None), |path| self.far.stat(&path));
        stat.map_err(|error| elsewhere(Doing::Stat, path, &error))
    }

    fn open<'a>(&'a self, path: &'a RelPath) -> Result<Box<dyn OpenDir + 'a>, DiskError> {
        let stat = Lister::stat(self, path)?.filter(|stat| stat.kind == Kind::Dir);
        let stat = stat.ok_or_else(|| DiskError::absent(Doing::OpenDir, path))?;
        let names = match self.inside(path) {
            Some(inside) => {
                self.far.children(&inside).map_err(|error| elsewhere(Doing::List, path, &error))?
            }
            None => {
                let stat = Lister::stat(self, &self.at)?;
                stat.into_iter().map(|stat| (self.at.name().into(), stat)).collect()
            }
        };
        Ok(Box::new(Remembered { tree: self, path, stat, names }))
    }

    fn rules(&self, path: &RelPath) -> Result<Vec<u8>, DiskError> {
        self.file(path)?;
        let inside = self.inside(path).ok_or_else(|| DiskError::absent(Doing::OpenFile, path))?;
        self.far.read(&inside, RULES_BYTES_MAX).map_err(|error| elsewhere(Doing::Read, path, &error))
    }
}

/// A directory of the folder, as it is remembered.
struct Remembered<'a> {
    tree: &'a Placed,
    path: &'a RelPath,
    stat: Stat,
    names: Vec<(Box<[u8]>, Stat)>,
}

impl OpenDir for Remembered<'_> {
    fn stat(&self) -> Result<Stat, DiskError> {
        Ok(self.stat)
    }

    fn names(&self) -> Names {
        Names::all(self.names.clone())
    }

    fn rules(&self, name: &[u8]) -> Result<Vec<u8>, DiskError> {
        let path = self.path.join(name).map_err(|source| DiskError::Name { path: name.into(), source })?;
        Lister::rules(self.tree, &path)
    }
}

/// Returns the stat of a directory of which nothing is known but that it is one.
fn above() -> Stat {
    let attributes = Attributes { mode: 0o755, ..Attributes::default() };
    let ctime = Timestamp::default();
    Stat { kind: Kind::Dir, attributes, size: 0, ctime, ino: 0, dev: DEVICE, links: 1, rdev: 0 }
}

/// Returns an error of the memory of the folder, or of the way to it, as one of a tree.
fn elsewhere(doing: Doing, path: &RelPath, error: &dyn std::fmt::Display) -> DiskError {
    DiskError::Elsewhere { doing, path: path.as_bytes().into(), reason: error.to_string() }
}
