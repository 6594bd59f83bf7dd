//! The version store: what was replaced or deleted, by batch and path.
//!
//! `.csync/kept/BATCH/PATH` says by itself what was where, so that a catalogue can be made anew from it.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::disk::attributes::{Which, set_fd};
use crate::disk::error::{DiskError, Doing};
use crate::disk::private::{Private, names_in};
use crate::disk::root::{Root, open_at, open_beneath, open_file_at, stat_at};
use crate::fault::{Point, pass};
use crate::model::entry::Kind;
use crate::model::metadata::Stat;
use crate::model::path::RelPath;

/// How many batches are tried for one that is free at a path.
const BATCH_TRIES: usize = 1000;

/// The version store of a root.
///
/// What it takes comes by rename, so that keeping a file of any size costs the same and is done at once.
#[derive(Debug)]
pub struct Kept {
    private: Arc<Private>,
    /// Directories that were changed since the last flush, as batch and path.
    touched: Mutex<BTreeSet<(Box<[u8]>, RelPath)>>,
}

/// Where something is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptAt {
    /// The batch: the one asked for, or that with `-1`, `-2`, ... where it had something at the path already.
    pub batch: Box<[u8]>,
    /// The path in it.
    pub path: RelPath,
    /// What stands there now.
    pub stat: Stat,
}

impl Kept {
    /// Returns the version store in `private`.
    #[must_use]
    pub fn new(private: Arc<Private>) -> Self {
        Self { private, touched: Mutex::default() }
    }

    /// Returns the names of all batches, sorted.
    ///
    /// # Errors
    /// The store cannot be listed.
    pub fn batches(&self) -> Result<Vec<Box<[u8]>>, DiskError> {
        names_in(self.private.kept()).map_err(|source| failed(Doing::List, b"", &RelPath::root(), source))
    }

    /// Returns `batch` as a tree of its own, to look at, read or walk; `None` if there is none of that name.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn batch(&self, batch: &[u8]) -> Result<Option<Root>, DiskError> {
        let failed = |source| failed(Doing::OpenDir, batch, &RelPath::root(), source);
        if !is_batch(batch) {
            return Err(failed(Errno::INVAL));
        }
        match open_at(self.private.kept(), batch, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(dir) => {
                let shown = format!(".csync/kept/{}", String::from_utf8_lossy(batch));
                Root::of(dir, PathBuf::from(shown)).map(Some).map_err(failed)
            }
            Err(Errno::NOENT) => Ok(None),
            Err(source) => Err(failed(source)),
        }
    }

    /// Returns all that `batch` holds, in path order and without its directories, for making a catalogue anew. A
    /// directory that was kept whole yields what lies in it; what cannot be read yields its error.
    ///
    /// # Errors
    /// The batch cannot be opened.
    pub fn list(&self, batch: &[u8]) -> Result<Listed, DiskError> {
        let root = self.batch(batch)?;
        Ok(Listed { pending: root.iter().map(|_| RelPath::root()).collect(), root })
    }

    /// Moves what is called `name` in `dir` into the store as `path` of `batch`, or of the next batch whose name
    /// begins with that one where it has something there already: nothing kept is ever replaced.
    ///
    /// A file that has other links is copied: whoever writes through another name must not change what is kept.
    /// (Writers that have the file open cannot be asked for without a lease, which rustix does not offer; the caller
    /// compares the stat returned here with the one on a later look.)
    ///
    /// # Errors
    /// The system refused. Nothing was moved then, or it is in the store all the same and only the copy failed.
    pub fn put(
        &self,
        batch: &[u8],
        path: &RelPath,
        dir: impl AsFd,
        name: &[u8],
    ) -> Result<KeptAt, DiskError> {
        let mut last = self.put_exactly(batch, path, &dir, name);
        for number in 1..BATCH_TRIES {
            if !last.as_ref().is_err_and(DiskError::is_taken) {
                break;
            }
            let batch = [batch, b"-", number.to_string().as_bytes()].concat();
            last = self.put_exactly(&batch, path, &dir, name);
        }
        last
    }

    fn put_exactly(
        &self,
        batch: &[u8],
        path: &RelPath,
        dir: impl AsFd,
        name: &[u8],
    ) -> Result<KeptAt, DiskError> {
        let into = self.make_parents(batch, path)?;
        let failed = |source| failed(Doing::Rename, batch, path, source);
        pass(Point::KeepMove);
        move_new(dir, name, &into, path.name()).map_err(failed)?;
        pass(Point::KeepMoved);
        self.touch(batch, path);
        let mut stat = stat_at(&into, path.name()).map_err(failed)?;
        if stat.kind == Kind::File && stat.links > 1 {
            stat = self.unshare(&into, path.name(), &stat).map_err(failed)?;
        }
        Ok(KeptAt { batch: batch.into(), path: path.clone(), stat })
    }

    /// Remembers that the directories above `path` must be flushed.
    fn touch(&self, batch: &[u8], path: &RelPath) {
        let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        touched.insert((batch.into(), RelPath::root()));
        touched.extend(path.ancestors().map(|above| (batch.into(), above)));
    }

    /// Makes durable what was put into the store since the last call.
    ///
    /// # Errors
    /// The system refused; it must be taken for not durable.
    pub fn flush(&self) -> Result<(), DiskError> {
        let touched = std::mem::take(&mut *self.touched.lock().unwrap_or_else(PoisonError::into_inner));
        for (batch, path) in &touched {
            // Gone meanwhile: then there is nothing in it to flush.
            let Some(root) = self.batch(batch)? else { continue };
            let failed = |source| failed(Doing::Flush, batch, path, source);
            match root.open_dir(path) {
                Ok(dir) => rustix::fs::fsync(&dir).map_err(failed)?,
                Err(error) if error.is_vanished() => {}
                Err(error) => return Err(error),
            }
        }
        if touched.is_empty() {
            return Ok(());
        }
        let failed = |source| failed(Doing::Flush, b"", &RelPath::root(), source);
        rustix::fs::fsync(self.private.kept()).map_err(failed)
    }

    /// Removes `path` of `batch`, and the directories above it that are empty then.
    ///
    /// # Errors
    /// The system refused. What is not there counts as removed.
    pub fn remove(&self, batch: &[u8], path: &RelPath) -> Result<(), DiskError> {
        let Some(root) = self.batch(batch)? else {
            return Ok(());
        };
        let Some(stat) = root.stat(path)? else {
            return Ok(());
        };
        let flags = if stat.kind == Kind::Dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        let parent = root.parent(path)?;
        rustix::fs::unlinkat(&parent, path.name(), flags)
            .map_err(|source| failed(Doing::Remove, batch, path, source))?;
        let mut above: Vec<_> = path.ancestors().collect();
        while let Some(dir) = above.pop() {
            let parent = root.parent(&dir)?;
            if rustix::fs::unlinkat(&parent, dir.name(), AtFlags::REMOVEDIR).is_err() {
                return Ok(());
            }
        }
        // Fails where the batch holds more, which is as it should be.
        rustix::fs::unlinkat(self.private.kept(), batch, AtFlags::REMOVEDIR).ok();
        Ok(())
    }

    /// Returns the directory of `batch` that is to hold `path`, made with all above it.
    fn make_parents(&self, batch: &[u8], path: &RelPath) -> Result<OwnedFd, DiskError> {
        let failed = |source| failed(Doing::Create, batch, path, source);
        if !is_batch(batch) || path.is_root() {
            return Err(failed(Errno::INVAL));
        }
        let parent = path.parent().unwrap_or_default();
        let open = |dir: BorrowedFd<'_>| open_beneath(dir, &parent, OFlags::PATH | OFlags::DIRECTORY);
        let mut dir = make_dir(self.private.kept(), batch).map_err(failed)?;
        if let Ok(ready) = open(dir.as_fd()) {
            return Ok(ready);
        }
        for name in parent.as_bytes().split(|b| *b == b'/') {
            dir = make_dir(dir.as_fd(), name).map_err(|source| match source {
                // A file was kept where this path has a directory.
                Errno::NOTDIR | Errno::LOOP => failed(Errno::EXIST),
                source => failed(source),
            })?;
        }
        Ok(dir)
    }

    /// Puts a copy in the place of a kept file that shares its bytes with other names.
    fn unshare(&self, dir: &OwnedFd, name: &[u8], stat: &Stat) -> rustix::io::Result<Stat> {
        let (mut file, _) = open_file_at(dir, name)?;
        let stage = self.private.stage();
        let copy_name = self.private.next_name();
        let create = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let copy = rustix::fs::openat(stage, copy_name.as_str(), create, Mode::from_raw_mode(0o600))?;
        let mut copy = std::fs::File::from(copy);
        if rustix::fs::ioctl_ficlone(&copy, &file).is_err() {
            std::io::copy(&mut file, &mut copy)
                .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        }
        set_fd(&copy, Kind::File, &stat.attributes, Which::ALL)?;
        rustix::fs::fsync(&copy)?;
        pass(Point::KeepCopied);
        rustix::fs::renameat(stage, copy_name.as_str(), dir, name)?;
        stat_at(dir, name)
    }
}

/// What a batch holds: [`Kept::list`].
#[derive(Debug)]
pub struct Listed {
    root: Option<Root>,
    /// Paths to look at, the next one last.
    pending: Vec<RelPath>,
}

impl Listed {
    /// Returns the stat of `path`; for a directory `None`, and its children come next.
    fn look(&mut self, path: &RelPath) -> Result<Option<Stat>, DiskError> {
        let Some(root) = &self.root else { return Ok(None) };
        let Some(stat) = root.stat(path)? else {
            return Ok(None);
        };
        if stat.kind != Kind::Dir {
            return Ok(Some(stat));
        }
        let names =
            names_in(root.open_dir(path)?).map_err(|source| DiskError::call(Doing::List, path, source))?;
        for name in names.iter().rev() {
            let child = path.join(name).map_err(|source| DiskError::Name { path: name.clone(), source })?;
            self.pending.push(child);
        }
        Ok(None)
    }
}

impl Iterator for Listed {
    type Item = Result<(RelPath, Stat), DiskError>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(path) = self.pending.pop() {
            match self.look(&path) {
                Ok(None) => {}
                Ok(Some(stat)) => return Some(Ok((path, stat))),
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }
}

fn failed(doing: Doing, batch: &[u8], path: &RelPath, source: Errno) -> DiskError {
    let path = [b".csync/kept/", batch, b"/", path.as_bytes()].concat().into();
    DiskError::Call { doing, path, source }
}

/// Whether `name` can name a batch: letters, digits and dashes.
fn is_batch(name: &[u8]) -> bool {
    !name.is_empty() && name.len() <= 64 && name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
}

/// Returns the directory `name` in `dir`, made if there is none.
fn make_dir(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    match rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => open_at(dir, name, OFlags::RDONLY | OFlags::DIRECTORY),
        Err(errno) => Err(errno),
    }
}

/// Moves a name to where nothing stands yet.
///
/// A file system without `RENAME_NOREPLACE` gets a link and an unlink, which cannot replace either. What cannot be
/// linked is looked for and then renamed: the one case with a gap, of microseconds, on such file systems only.
pub(crate) fn move_new(from: impl AsFd, name: &[u8], to: impl AsFd, new: &[u8]) -> rustix::io::Result<()> {
    match rustix::fs::renameat_with(&from, name, &to, new, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => {}
        result => return result,
    }
    match rustix::fs::linkat(&from, name, &to, new, AtFlags::empty()) {
        Ok(()) => rustix::fs::unlinkat(&from, name, AtFlags::empty()),
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => match stat_at(&to, new) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => rustix::fs::renameat(&from, name, &to, new),
            Err(errno) => Err(errno),
        },
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests;
