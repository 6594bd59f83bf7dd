//! New content beside its target: written, verified, dressed and flushed before it has a name.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::disk::attributes::{Which, proc_link, set_fd};
use crate::disk::copy::{CopyError, copy_file, copy_stream};
use crate::disk::error::{DiskError, Doing};
use crate::disk::leftover::{self, Label};
use crate::disk::mark;
use crate::disk::private::Private;
use crate::disk::root::{Root, open_at, stat_at, stat_fd};
use crate::fault::{Point, lacks, pass};
use crate::model::entry::{Content, Digest, Kind};
use crate::model::metadata::{Attributes, Stat};
use crate::model::path::RelPath;

/// Where staged entries are made. May be used from several threads.
#[derive(Debug)]
pub struct Stage {
    root: Arc<Root>,
    private: Arc<Private>,
    means: Arc<Means>,
}

/// What the file system was found to offer.
#[derive(Debug)]
struct Means {
    tmpfile: AtomicBool,
    clone: AtomicBool,
}

/// Whether something stands at the target already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// Nothing does: the file gets its name when it is published, and never replaces anything.
    Free,
    /// Something does: the file is made to be exchanged with it.
    Taken,
}

/// An empty file that waits for content.
#[derive(Debug)]
pub struct Blank {
    staged: Staged,
    file: File,
    means: Arc<Means>,
}

/// A whole entry without a name in the tree. Dropped, it is gone, unless it came from a peer: then it is left over.
#[derive(Debug)]
pub struct Staged {
    private: Arc<Private>,
    label: Option<Box<Label>>,
    target: RelPath,
    kind: Kind,
    digest: Digest,
    size: u64,
    file: Option<File>,
    name: Option<String>,
    marked: bool,
}

/// Why content was not staged.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The bytes that came are not those that were to come.
    #[error(
        "The content for {path} has digest {found:?} and {size} bytes, not {expected:?} and {expected_size}"
    )]
    Mismatch {
        /// The target.
        path: RelPath,
        /// What was to come.
        expected: Digest,
        /// How many bytes were to come.
        expected_size: u64,
        /// What came.
        found: Digest,
        /// How many bytes came.
        size: u64,
    },
    /// The source was written while it was read.
    #[error("The source of {path} changed while it was copied")]
    Busy {
        /// The target.
        path: RelPath,
    },
    /// The source cannot be read.
    #[error("Cannot read the content for {path}: {source}")]
    Source {
        /// The target.
        path: RelPath,
        /// What its reader said.
        #[source]
        source: std::io::Error,
    },
    /// The staged file cannot be written.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl Stage {
    /// Returns the stage of `root`, whose private directory is `private`.
    #[must_use]
    pub fn new(root: Arc<Root>, private: Arc<Private>) -> Self {
        let means = Means { tmpfile: AtomicBool::new(!lacks("tmpfile")), clone: true.into() };
        Self { root, private, means: Arc::new(means) }
    }

    /// Behaves as on a file system without `O_TMPFILE` and `FICLONE`.
    #[cfg(test)]
    pub(crate) fn without_means(self) -> Self {
        self.means.tmpfile.store(false, Ordering::Relaxed);
        self.means.clone.store(false, Ordering::Relaxed);
        self
    }

    /// Returns an empty file for `path`, mode 0600.
    ///
    /// For a free target it has no name at all and lies on the target's own file system; where that cannot be, and
    /// for a taken target, it has one in the private directory.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn file(&self, path: &RelPath, target: Target) -> Result<Blank, DiskError> {
        self.blank(path, target, None)
    }

    /// Returns an empty file for `path` and the content from a peer that `label` says. What has come of it can be found
    /// again when this process has ended, however it ended.
    ///
    /// # Errors
    /// As for [`file`](Self::file).
    pub fn incoming(&self, path: &RelPath, target: Target, label: Label) -> Result<Blank, DiskError> {
        self.blank(path, target, Some(label))
    }

    fn blank(&self, path: &RelPath, target: Target, label: Option<Label>) -> Result<Blank, DiskError> {
        let nameless = match target {
            Target::Free => self.nameless(path)?,
            Target::Taken => None,
        };
        let (file, name) = match nameless {
            Some(file) => {
                let name = label.filter(Label::is_long).and_then(|label| {
                    let name = leftover::name(&self.private, Some(&label));
                    // On a file system of its own it stays without.
                    link_nameless(&file, self.private.stage(), name.as_bytes()).is_ok().then_some(name)
                });
                (file, name)
            }
            None => {
                let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mode = Mode::from_raw_mode(0o600);
                let make = |name: &str| rustix::fs::openat(self.private.stage(), name, flags, mode);
                let (name, fd) = self.named(path, label.as_ref(), make)?;
                (File::from(fd), Some(name))
            }
        };
        pass(Point::StageOpen);
        let mut staged = self.staged(path, &Content::File { digest: Digest([0; 32]), size: 0 }, name);
        staged.label = label.map(Box::new);
        Ok(Blank { staged, file, means: Arc::clone(&self.means) })
    }

    /// Returns the private directory of the root.
    pub(crate) fn private(&self) -> &Arc<Private> {
        &self.private
    }

    /// Returns `content`, which is no file, staged for `path`. Directories are empty, mode 0700.
    ///
    /// # Errors
    /// It cannot be made: device nodes need privilege, and files have content that must be brought
    /// ([`Stage::file`]).
    pub fn other(&self, path: &RelPath, content: &Content) -> Result<Staged, DiskError> {
        let stage = self.private.stage();
        let node =
            |name: &str, kind, rdev| rustix::fs::mknodat(stage, name, kind, Mode::from_raw_mode(0o600), rdev);
        let (name, ()) = self.named(path, None, |name| match content {
            Content::File { .. } => Err(Errno::INVAL),
            Content::Dir => rustix::fs::mkdirat(stage, name, Mode::from_raw_mode(0o700)),
            Content::Symlink(target) => rustix::fs::symlinkat(&target[..], stage, name),
            Content::Fifo => node(name, FileType::Fifo, 0),
            Content::Socket => node(name, FileType::Socket, 0),
            Content::Device { kind: Kind::BlockDevice, rdev } => node(name, FileType::BlockDevice, *rdev),
            Content::Device { rdev, .. } => node(name, FileType::CharacterDevice, *rdev),
        })?;
        pass(Point::StageMade);
        Ok(self.staged(path, content, Some(name)))
    }

    fn staged(&self, path: &RelPath, content: &Content, name: Option<String>) -> Staged {
        Staged {
            private: Arc::clone(&self.private),
            label: None,
            target: path.clone(),
            kind: content.kind(),
            digest: content.digest(),
            size: content.size(),
            file: None,
            name,
            marked: false,
        }
    }

    /// Returns a file without a name in the directory of `path`; `None` where there can be none.
    fn nameless(&self, path: &RelPath) -> Result<Option<File>, DiskError> {
        if !self.means.tmpfile.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let parent = match self.root.parent(path) {
            Ok(parent) => parent,
            // The directory itself is still to be made.
            Err(error) if error.is_vanished() || error.is_other_kind() => return Ok(None),
            Err(error) => return Err(error),
        };
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&parent, ".", flags, Mode::from_raw_mode(0o600), resolve) {
            Ok(fd) => Ok(Some(File::from(fd))),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                self.means.tmpfile.store(false, Ordering::Relaxed);
                Ok(None)
            }
            Err(source) => Err(DiskError::call(Doing::Create, path, source)),
        }
    }

    /// Makes something under a name that nobody else uses.
    fn named<T>(
        &self,
        path: &RelPath,
        label: Option<&Label>,
        make: impl Fn(&str) -> rustix::io::Result<T>,
    ) -> Result<(String, T), DiskError> {
        loop {
            let name = leftover::name(&self.private, label);
            match make(&name) {
                Ok(made) => return Ok((name, made)),
                // Left over from a run with our process id.
                Err(Errno::EXIST) => {}
                Err(source) => return Err(DiskError::call(Doing::Create, path, source)),
            }
        }
    }
}

impl Blank {
    /// Returns the file with all that `from` yields, and with the digest and size of it.
    ///
    /// # Errors
    /// The content is not what was expected, or cannot be read or written. The file is gone then.
    pub fn fill(self, from: &mut impl Read, expect: Option<(Digest, u64)>) -> Result<Staged, StageError> {
        let copied = copy_stream(from, &self.file, expect.map(|(_, size)| size));
        self.filled(copied, expect)
    }

    /// Returns the file with the content of `from`, shared with it where the file system can, with its holes.
    ///
    /// What is staged is read and hashed all the same. Without an expected digest, a source that changed meanwhile
    /// is an error.
    ///
    /// # Errors
    /// As for [`fill`](Self::fill); or the source was being written.
    pub fn fill_from(self, from: &File, expect: Option<(Digest, u64)>) -> Result<Staged, StageError> {
        let failed =
            |source: Errno| StageError::Source { path: self.staged.target.clone(), source: source.into() };
        let before = stat_fd(from).map_err(failed)?;
        let copied = copy_file(from, before.size, &self.file, &self.means.clone);
        let after = stat_fd(from).map_err(failed)?;
        if expect.is_none() && !before.same_state(&after) {
            return Err(StageError::Busy { path: self.staged.target.clone() });
        }
        self.filled(copied, expect)
    }

    fn filled(
        self,
        copied: Result<(Digest, u64), CopyError>,
        expect: Option<(Digest, u64)>,
    ) -> Result<Staged, StageError> {
        let sum = copied.map_err(|error| StageError::of(error, &self.staged.target))?;
        self.staged.filled(self.file, sum, expect)
    }

    /// Returns the entry without content, its empty file, and whether sharing may work there.
    pub(crate) fn into_parts(self) -> (Staged, File, bool) {
        (self.staged, self.file, self.means.clone.load(Ordering::Relaxed))
    }
}

impl StageError {
    /// Returns what `error` means for the content of `path`.
    pub(crate) fn of(error: CopyError, path: &RelPath) -> Self {
        match error {
            CopyError::Read(source) => Self::Source { path: path.clone(), source },
            CopyError::Write(source) => DiskError::call(Doing::Write, path, source).into(),
        }
    }
}

impl Staged {
    /// Returns the entry with its whole content, which has this digest and size and lies in `file`.
    pub(crate) fn filled(
        mut self,
        file: File,
        (digest, size): (Digest, u64),
        expect: Option<(Digest, u64)>,
    ) -> Result<Self, StageError> {
        pass(Point::VerifyDigest);
        if let Some((expected, expected_size)) = expect.filter(|expect| *expect != (digest, size)) {
            let path = self.target.clone();
            self.label = None;
            return Err(StageError::Mismatch { path, expected, expected_size, found: digest, size });
        }
        (self.digest, self.size, self.file) = (digest, size, Some(file));
        if self.label.as_deref().is_some_and(Label::is_worth_a_name) {
            // On a file system of its own it stays without.
            self.ensure_name().ok();
        }
        Ok(self)
    }

    /// Returns the path for which this was made.
    #[must_use]
    pub fn target(&self) -> &RelPath {
        &self.target
    }

    /// Returns the kind of entry.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the digest of the content; for what is no file, that of [`Content::digest`].
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the number of bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Sets the chosen attributes. Returns those that this process may not set.
    ///
    /// # Errors
    /// The system refused for another reason than a missing right.
    pub fn set_attributes(&self, attributes: &Attributes, which: Which) -> Result<Which, DiskError> {
        let failed = |source| DiskError::call(Doing::SetAttributes, &self.target, source);
        match (&self.file, &self.name) {
            (Some(file), _) => set_fd(file, self.kind, attributes, which).map_err(failed),
            (None, Some(name)) => {
                let fd = open_at(self.private.stage(), name.as_bytes(), OFlags::PATH).map_err(failed)?;
                set_fd(&fd, self.kind, attributes, which).map_err(failed)
            }
            (None, None) => Err(failed(Errno::BADF)),
        }
    }

    /// Returns the present stat.
    ///
    /// # Errors
    /// The system refused.
    pub fn stat(&self) -> Result<Stat, DiskError> {
        let failed = |source| DiskError::call(Doing::Stat, &self.target, source);
        match (&self.file, &self.name) {
            (Some(file), _) => stat_fd(file).map_err(failed),
            (None, Some(name)) => stat_at(self.private.stage(), name.as_bytes()).map_err(failed),
            (None, None) => Err(failed(Errno::BADF)),
        }
    }

    /// Makes content durable. After an error the entry must be staged again from its source: a second flush would
    /// say that all is well although the bytes are lost.
    fn flush(self) -> Result<Self, DiskError> {
        if let Some(file) = &self.file {
            rustix::fs::fdatasync(file)
                .map_err(|source| DiskError::call(Doing::Flush, &self.target, source))?;
            pass(Point::FlushStaged);
        }
        Ok(self)
    }

    /// Returns the open file, if this is one.
    pub(crate) fn as_file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// Returns the name in the private directory; `None` for a file that has none.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Returns the name in the private directory, given now if there was none.
    pub(crate) fn ensure_name(&mut self) -> rustix::io::Result<String> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let name = leftover::name(&self.private, self.label.as_deref());
        let file = self.file.as_ref().ok_or(Errno::BADF)?;
        link_nameless(file, self.private.stage(), name.as_bytes())?;
        self.name = Some(name.clone());
        Ok(name)
    }

    /// Marks the name as one that may come to hold something of the user's.
    pub(crate) fn mark(&mut self) -> rustix::io::Result<()> {
        let name = self.ensure_name()?;
        mark::set(self.private.stage(), &name, Some(self.digest), &self.target)?;
        self.marked = true;
        Ok(())
    }

    /// Says that the name in the private directory, and its mark, are not ours to remove any more: what we staged
    /// has a place in the tree, and something else may be behind the name.
    pub(crate) fn forget_name(&mut self) {
        self.name = None;
        self.marked = false;
    }

    /// Says that what we staged is behind that marked name again.
    pub(crate) fn take_back(&mut self, name: String) {
        self.name = Some(name);
        self.marked = true;
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // What remains of a failure here is cleared by the next recovery.
        if let Some(name) = self.name.take() {
            let stage = self.private.stage();
            let label = self.label.take().filter(|_| !self.marked);
            if label.is_some_and(|label| leftover::keep(&self.private, name.as_bytes(), &label)) {
                return;
            }
            let flags = if self.kind == Kind::Dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            let gone = rustix::fs::unlinkat(stage, name.as_str(), flags).is_ok();
            if gone && self.marked {
                mark::clear(stage, &name, Some(self.digest)).ok();
            }
        }
    }
}

/// Gives a file without a name its first one, which must be free.
pub(crate) fn link_nameless(file: &File, dir: impl AsFd, name: &[u8]) -> rustix::io::Result<()> {
    match rustix::fs::linkat(file, "", &dir, name, AtFlags::EMPTY_PATH) {
        // By the descriptor itself only with privilege, before Linux 6.10.
        Err(Errno::NOENT | Errno::PERM | Errno::INVAL) => {
            rustix::fs::linkat(CWD, proc_link(file), dir, name, AtFlags::SYMLINK_FOLLOW)
        }
        result => result,
    }
}

/// Makes the content of all of `staged` durable, on `threads` threads. Results are in the order given; what failed
/// is gone and must be staged again from its source.
///
/// Each file by itself: `syncfs` for batches of this size took as long in measurements on ext4, writes out what others
/// left dirty, and tells an error of one file to whoever asks first.
#[must_use]
pub fn flush_all(staged: Vec<Staged>, threads: usize) -> Vec<Result<Staged, DiskError>> {
    if threads < 2 || staged.len() < 2 {
        return staged.into_iter().map(Staged::flush).collect();
    }
    let cells: Vec<_> = staged.into_iter().map(|staged| Mutex::new((Some(staged), None))).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(cells.len()) {
            scope.spawn(|| {
                while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut cell = cell.lock().unwrap_or_else(PoisonError::into_inner);
                    cell.1 = cell.0.take().map(Staged::flush);
                }
            });
        }
    });
    cells.into_iter().filter_map(|cell| cell.into_inner().unwrap_or_else(PoisonError::into_inner).1).collect()
}

#[cfg(test)]
mod tests;
