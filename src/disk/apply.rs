//! The steps that make names change. Each checks again what it is about to change, and undoes itself if it was wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::disk::attributes::{Which, set_fd};
use crate::disk::error::{DiskError, Doing};
use crate::disk::kept::{Kept, KeptAt, move_new};
use crate::disk::mark;
use crate::disk::private::Private;
use crate::disk::root::{Root, open_at, stat_at, stat_fd};
use crate::disk::stage::{Staged, link_nameless};
use crate::fault::{Point, lacks, pass};
use crate::model::entry::Kind;
use crate::model::metadata::{Attributes, Stat};
use crate::model::path::RelPath;

/// What becomes of an entry that loses its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It goes into the version store.
    Keep,
    /// It is removed.
    Discard,
}

/// Changes one root, a step at a time. May be used from several threads on different paths.
#[derive(Debug)]
pub struct Apply {
    pub(crate) root: Arc<Root>,
    pub(crate) private: Arc<Private>,
    pub(crate) kept: Arc<Kept>,
    pub(crate) batch: Box<[u8]>,
    pub(crate) may_exchange: AtomicBool,
}

/// Why a step was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Something else stands there than was planned for. It stands there still.
    #[error("{path} changed before it was dealt with")]
    Changed {
        /// Where.
        path: RelPath,
        /// What stands there; `None` for nothing.
        found: Option<Stat>,
        /// What others put there and took away again in those moments, now in the version store.
        kept: Option<Box<KeptAt>>,
    },
    /// Somebody else made something there first.
    #[error("{path} came into being meanwhile")]
    Taken {
        /// Where.
        path: RelPath,
    },
    /// A directory holds something, and stays.
    #[error("{path} is not empty")]
    NotEmpty {
        /// The directory.
        path: RelPath,
    },
    /// The system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// What became of a directory that was to be removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DirRemoval {
    /// It is gone.
    Removed,
    /// It was gone already.
    Gone,
    /// It holds something, and stays.
    NotEmpty,
}

impl Apply {
    /// Returns the means to change `root`. What is displaced is kept under `batch`: letters, digits, dashes.
    #[must_use]
    pub fn new(root: Arc<Root>, private: Arc<Private>, kept: Arc<Kept>, batch: &[u8]) -> Self {
        Self { root, private, kept, batch: batch.into(), may_exchange: AtomicBool::new(!lacks("exchange")) }
    }

    /// Behaves as on a file system without `RENAME_EXCHANGE`.
    #[cfg(test)]
    pub(crate) fn without_exchange(self) -> Self {
        self.may_exchange.store(false, Ordering::Relaxed);
        self
    }

    /// Gives a staged entry its name, where nothing may stand. Returns its stat there.
    ///
    /// # Errors
    /// Something stands there, or the system refused. The staged entry is gone then.
    pub fn publish_new(&self, mut staged: Staged) -> Result<Stat, ApplyError> {
        let path = staged.target().clone();
        let parent = self.root.parent(&path)?;
        pass(Point::PublishNew);
        let published = match (staged.name(), staged.as_file()) {
            (Some(name), _) => move_new(self.private.stage(), name.as_bytes(), &parent, path.name()),
            (None, Some(file)) => link_nameless(file, &parent, path.name()),
            (None, None) => Err(Errno::BADF),
        };
        match published {
            Ok(()) => staged.forget_name(),
            Err(Errno::EXIST) => return Err(ApplyError::Taken { path }),
            Err(source) => return Err(DiskError::call(Doing::Create, &path, source).into()),
        }
        pass(Point::PublishDone);
        self.live_stat(&staged, &parent)
    }

    /// Moves a staged entry into the version store, as what stood or might have stood at its path.
    ///
    /// # Errors
    /// The system refused. The staged entry is gone then, or in the store all the same.
    pub fn keep(&self, mut staged: Staged) -> Result<KeptAt, ApplyError> {
        let path = staged.target().clone();
        let named = staged.ensure_name().map_err(|source| DiskError::call(Doing::Create, &path, source))?;
        let kept = self.kept.put(&self.batch, &path, self.private.stage(), named.as_bytes())?;
        staged.forget_name();
        Ok(kept)
    }

    /// Makes an empty directory, mode 0700. Returns its stat.
    ///
    /// # Errors
    /// Something stands there, or the system refused.
    pub fn make_dir(&self, path: &RelPath) -> Result<Stat, ApplyError> {
        let parent = self.root.parent(path)?;
        match rustix::fs::mkdirat(&parent, path.name(), Mode::from_raw_mode(0o700)) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(ApplyError::Taken { path: path.clone() }),
            Err(source) => return Err(DiskError::call(Doing::Create, path, source).into()),
        }
        pass(Point::MakeDir);
        Ok(stat_at(&parent, path.name()).map_err(|source| DiskError::call(Doing::Stat, path, source))?)
    }

    /// Removes what stands at `path`, which is no directory. Returns where it is kept, if it is to be.
    ///
    /// It is taken away by a rename and looked at before it counts as removed, so that what others put there in the
    /// last moment is put back.
    ///
    /// # Errors
    /// It is not `expected`, or the system refused.
    pub fn remove(&self, path: &RelPath, expected: &Stat, fate: Fate) -> Result<Option<KeptAt>, ApplyError> {
        let failed = |source| DiskError::call(Doing::Remove, path, source);
        let parent = self.expect(path, expected)?;
        if expected.kind == Kind::Dir {
            return Err(failed(Errno::ISDIR).into());
        }
        let (name, stage) = (self.private.next_name(), self.private.stage());
        mark::set(stage, &name, None, path).map_err(failed)?;
        match move_new(&parent, path.name(), stage, name.as_bytes()) {
            Ok(()) => pass(Point::RemoveMoved),
            Err(source) => {
                mark::clear(stage, &name, None).map_err(failed)?;
                return Err(if source == Errno::NOENT {
                    ApplyError::Changed { path: path.clone(), found: None, kept: None }
                } else {
                    failed(source).into()
                });
            }
        }
        let out = stat_at(stage, name.as_bytes()).map_err(failed)?;
        pass(Point::DisplacedCheck);
        if !is_expected(&out, expected) {
            let kept = self.put_back(path, &parent, &name)?;
            mark::clear(stage, &name, None).map_err(failed)?;
            return Err(ApplyError::Changed { path: path.clone(), found: Some(out), kept });
        }
        let kept = match self.dispose(path, &name, fate) {
            Ok(kept) => kept,
            Err(error) => {
                // Not kept, so not removed either.
                self.put_back(path, &parent, &name)?;
                mark::clear(stage, &name, None).map_err(failed)?;
                return Err(error);
            }
        };
        mark::clear(stage, &name, None).map_err(failed)?;
        pass(Point::RemoveDone);
        Ok(kept)
    }

    /// Removes the directory at `path`, if it is empty.
    ///
    /// # Errors
    /// It is no directory, or the system refused.
    pub fn remove_dir(&self, path: &RelPath) -> Result<DirRemoval, ApplyError> {
        let parent = match self.root.parent(path) {
            Ok(parent) => parent,
            Err(error) if error.is_vanished() || error.is_other_kind() => return Ok(DirRemoval::Gone),
            Err(error) => return Err(error.into()),
        };
        match rustix::fs::unlinkat(&parent, path.name(), AtFlags::REMOVEDIR) {
            Ok(()) => {
                pass(Point::RemoveDir);
                Ok(DirRemoval::Removed)
            }
            Err(Errno::NOENT) => Ok(DirRemoval::Gone),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(DirRemoval::NotEmpty),
            Err(Errno::NOTDIR) => {
                Err(ApplyError::Changed { path: path.clone(), found: self.root.stat(path)?, kept: None })
            }
            Err(source) => Err(DiskError::call(Doing::Remove, path, source).into()),
        }
    }

    /// Moves `expected` from one path to another, where nothing may stand. Returns its stat there.
    ///
    /// # Errors
    /// Something else stands at `from`, anything at `to`, or the system refused.
    pub fn rename(&self, from: &RelPath, to: &RelPath, expected: &Stat) -> Result<Stat, ApplyError> {
        let failed = |source| DiskError::call(Doing::Rename, from, source);
        let parent = self.expect(from, expected)?;
        let into = self.root.parent(to)?;
        let changed = |found| ApplyError::Changed { path: from.clone(), found, kept: None };
        match move_new(&parent, from.name(), &into, to.name()) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(ApplyError::Taken { path: to.clone() }),
            Err(Errno::NOENT) => return Err(changed(None)),
            Err(source) => return Err(failed(source).into()),
        }
        pass(Point::RenameDone);
        let out = stat_at(&into, to.name()).map_err(failed)?;
        if !is_expected(&out, expected) {
            // Where the old path was taken again meanwhile, both stay where they are.
            move_new(&into, to.name(), &parent, from.name()).map_err(failed)?;
            return Err(changed(Some(out)));
        }
        Ok(out)
    }

    /// Sets the chosen attributes of what stands at `path`. Returns those that this process may not set, and the
    /// stat afterwards. Follows nothing.
    ///
    /// # Errors
    /// Another inode than `expected` stands there, or the system refused.
    pub fn set_attributes(
        &self,
        path: &RelPath,
        attributes: &Attributes,
        which: Which,
        expected: &Stat,
    ) -> Result<(Which, Stat), ApplyError> {
        let failed = |source| DiskError::call(Doing::SetAttributes, path, source);
        let parent = self.root.parent(path)?;
        let name = if path.is_root() { b".".as_slice() } else { path.name() };
        let found = match open_at(std::os::fd::AsFd::as_fd(&parent), name, OFlags::PATH) {
            Ok(fd) => Some(fd),
            Err(Errno::NOENT) => None,
            Err(source) => return Err(failed(source).into()),
        };
        let stat = found.as_ref().map(stat_fd).transpose().map_err(failed)?;
        match (found, stat) {
            (Some(fd), Some(stat)) if stat.kind == expected.kind && stat.ino == expected.ino => {
                let refused = set_fd(&fd, stat.kind, attributes, which).map_err(failed)?;
                Ok((refused, stat_fd(&fd).map_err(failed)?))
            }
            (_, found) => Err(ApplyError::Changed { path: path.clone(), found, kept: None }),
        }
    }

    /// Makes the names in these directories durable, and before them what the version store took. Directories that
    /// are gone are passed over.
    ///
    /// # Errors
    /// The first directory that could not be flushed.
    pub fn sync_dirs(&self, paths: &[RelPath], threads: usize) -> Result<(), DiskError> {
        self.kept.flush()?;
        let next = AtomicUsize::new(0);
        let first = Mutex::new(None);
        let work = || {
            while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = self.sync_dir(path) {
                    first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    return;
                }
            }
        };
        std::thread::scope(|scope| {
            (1..threads.min(paths.len())).for_each(|_| drop(scope.spawn(work)));
            work();
        });
        first.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    fn sync_dir(&self, path: &RelPath) -> Result<(), DiskError> {
        let dir = match self.root.open_dir(path) {
            Ok(dir) => dir,
            Err(error) if error.is_vanished() || error.is_other_kind() => return Ok(()),
            Err(error) => return Err(error),
        };
        pass(Point::DirectoryFlush);
        rustix::fs::fsync(&dir).map_err(|source| DiskError::call(Doing::Flush, path, source))?;
        pass(Point::DirectoryFlushed);
        Ok(())
    }
}

/// Whether `out` is the entry that was planned for: the same directory, or the same bytes as far as stamps tell.
pub(crate) fn is_expected(out: &Stat, expected: &Stat) -> bool {
    match expected.kind {
        Kind::Dir => out.kind == Kind::Dir && out.ino == expected.ino,
        Kind::CharDevice | Kind::BlockDevice => out.same_bytes(expected) && out.rdev == expected.rdev,
        Kind::File | Kind::Symlink | Kind::Fifo | Kind::Socket => out.same_bytes(expected),
    }
}

#[cfg(test)]
pub(crate) mod tests;
