//! The directory of csync inside a root: `.csync/`, where things are staged and kept.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RawDir};
use rustix::io::Errno;

use crate::disk::error::{DiskError, Doing};
use crate::disk::root::{Root, open_at, open_file_at, stat_at, stat_fd};
use crate::fault::{Point, pass};
use crate::model::entry::Kind;
use crate::model::metadata::Stat;
use crate::model::path::PRIVATE_DIR;

/// Where new and displaced entries wait.
const STAGE: &[u8] = b"stage";
/// What a run that broke off had of contents from peers.
const PARTIAL: &[u8] = b"partial";
/// The version store.
const KEPT: &[u8] = b"kept";
/// What says which folder this root belongs to.
const MARKER: &[u8] = b"marker";
/// The marker while it is written.
const MARKER_NEW: &[u8] = b"marker.new";
/// Held by the one run that works on this root.
const LOCK: &[u8] = b"lock";
/// Largest marker.
const MARKER_BYTES_MAX: u64 = 64 * 1024;
/// How often a lock file that is removed under us is made again.
const LOCK_TRIES: usize = 16;

/// The private directory of a root, held open with its three parts.
///
/// It is the user's own, mode 0700 and on the file system of the root. Nothing in it is ever reached by a path.
#[derive(Debug)]
pub struct Private {
    dir: OwnedFd,
    stage: OwnedFd,
    partial: OwnedFd,
    kept: OwnedFd,
    serial: AtomicU64,
    /// About how many bytes are left over.
    pub(crate) left_over: AtomicU64,
}

/// Why the private directory cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrivateError {
    /// Somebody else made it, or could write in it.
    #[error("Refused to use `{name}`: {why}")]
    Planted {
        /// Which directory or file.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Why the lock was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("Another run works on this root{}", pid.map_or(String::new(), |pid| format!(" (process {pid})")))]
    Held {
        /// Which, where it said so.
        pid: Option<u32>,
    },
    /// The system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// The right to work on a root, until dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Private {
    /// Returns the private directory of `root`, made if there is none.
    ///
    /// # Errors
    /// It is not a directory of ours alone, or cannot be made.
    pub fn open_or_create(root: &Root) -> Result<Self, PrivateError> {
        make(root.fd(), PRIVATE_DIR, ".csync")?;
        let dir = open(root.fd(), PRIVATE_DIR, ".csync")?;
        Self::with_parts(dir)
    }

    /// Returns the private directory of `root`, if it has one.
    ///
    /// # Errors
    /// As for [`open_or_create`](Self::open_or_create).
    pub fn open_existing(root: &Root) -> Result<Option<Self>, PrivateError> {
        match open(root.fd(), PRIVATE_DIR, ".csync") {
            Ok(dir) => Self::with_parts(dir).map(Some),
            Err(PrivateError::Disk(error)) if error.is_vanished() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn with_parts(dir: OwnedFd) -> Result<Self, PrivateError> {
        make(dir.as_fd(), STAGE, ".csync/stage")?;
        make(dir.as_fd(), PARTIAL, ".csync/partial")?;
        make(dir.as_fd(), KEPT, ".csync/kept")?;
        let stage = open(dir.as_fd(), STAGE, ".csync/stage")?;
        let partial = open(dir.as_fd(), PARTIAL, ".csync/partial")?;
        let kept = open(dir.as_fd(), KEPT, ".csync/kept")?;
        Ok(Self { dir, stage, partial, kept, serial: AtomicU64::new(0), left_over: AtomicU64::new(0) })
    }

    /// Returns the directory in which entries wait.
    #[must_use]
    pub fn stage(&self) -> BorrowedFd<'_> {
        self.stage.as_fd()
    }

    /// Returns the directory of what is left over of contents from peers.
    #[must_use]
    pub fn partial(&self) -> BorrowedFd<'_> {
        self.partial.as_fd()
    }

    /// Returns a name for the stage that this run has not used yet. It has no dot and one dash.
    pub(crate) fn next_name(&self) -> String {
        let pid = rustix::process::getpid().as_raw_nonzero();
        format!("{pid:x}-{:x}", self.serial.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns the directory of the version store.
    #[must_use]
    pub fn kept(&self) -> BorrowedFd<'_> {
        self.kept.as_fd()
    }

    /// Removes the private directory if nothing is staged or kept in it and it has no marker. Returns whether it is
    /// gone. The file of a lock that this run holds goes with it.
    ///
    /// # Errors
    /// The system refused, other than for something that is still there.
    pub fn remove_if_empty(self, root: &Root, lock: Option<&Lock>) -> Result<bool, DiskError> {
        let parts = [(STAGE, ".csync/stage"), (PARTIAL, ".csync/partial"), (KEPT, ".csync/kept")];
        for (name, shown) in parts {
            if !remove(&self.dir, name, AtFlags::REMOVEDIR, shown)? {
                return Ok(false);
            }
        }
        let rest = names_in(&self.dir).map_err(|source| failed(Doing::List, ".csync", source))?;
        if rest.iter().any(|name| **name != *LOCK) || (lock.is_none() && !rest.is_empty()) {
            return Ok(false);
        }
        if lock.is_some() {
            remove(&self.dir, LOCK, AtFlags::empty(), ".csync/lock")?;
        }
        remove(root.fd(), PRIVATE_DIR, AtFlags::REMOVEDIR, ".csync")
    }

    /// Returns the bytes of the marker, if there is one.
    ///
    /// # Errors
    /// It is no regular file, larger than 64 KiB, or cannot be read.
    pub fn read_marker(&self) -> Result<Option<Vec<u8>>, DiskError> {
        let failed = |source| failed(Doing::Read, ".csync/marker", source);
        let (file, _) = match open_file_at(&self.dir, MARKER) {
            Ok(open) => open,
            Err(Errno::NOENT) => return Ok(None),
            Err(source) => return Err(failed(source)),
        };
        let mut bytes = Vec::new();
        file.take(MARKER_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| failed(errno(&error)))?;
        if u64::try_from(bytes.len()).is_ok_and(|len| len <= MARKER_BYTES_MAX) {
            Ok(Some(bytes))
        } else {
            Err(failed(Errno::FBIG))
        }
    }

    /// Writes the marker: after a stop at any moment it is the old one or this one, whole.
    ///
    /// # Errors
    /// The system refused; the old marker stands.
    pub fn write_marker(&self, bytes: &[u8]) -> Result<(), DiskError> {
        let failed = |source| failed(Doing::Write, ".csync/marker", source);
        if u64::try_from(bytes.len()).is_ok_and(|len| len > MARKER_BYTES_MAX) {
            return Err(failed(Errno::FBIG));
        }
        remove(&self.dir, MARKER_NEW, AtFlags::empty(), ".csync/marker.new")?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&self.dir, MARKER_NEW, flags, Mode::from_raw_mode(0o600));
        let mut file = File::from(file.map_err(failed)?);
        file.write_all(bytes).map_err(|error| failed(errno(&error)))?;
        rustix::fs::fsync(&file).map_err(failed)?;
        pass(Point::MarkerWritten);
        rustix::fs::renameat(&self.dir, MARKER_NEW, &self.dir, MARKER).map_err(failed)?;
        pass(Point::MarkerRenamed);
        rustix::fs::fsync(&self.dir).map_err(failed)
    }

    /// Returns the right to work on this root, at once or not at all.
    ///
    /// # Errors
    /// Another process has it, or the system refused.
    pub fn lock(&self) -> Result<Lock, LockError> {
        let failed = |source| failed(Doing::Lock, ".csync/lock", source);
        for _ in 0..LOCK_TRIES {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
            let file = rustix::fs::openat(&self.dir, LOCK, flags, Mode::from_raw_mode(0o600));
            let mut file = File::from(file.map_err(failed)?);
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    return Err(LockError::Held { pid: read_pid(&mut file) });
                }
                Err(source) => return Err(failed(source).into()),
            }
            // A run that ended may have removed the file between our open and our lock.
            let named = stat_at(&self.dir, LOCK).ok().map(|stat| stat.ino);
            if named == stat_fd(&file).ok().map(|stat| stat.ino) && named.is_some() {
                rustix::fs::ftruncate(&file, 0).map_err(failed)?;
                let pid = rustix::process::getpid().as_raw_nonzero();
                file.write_all(format!("{pid}\n").as_bytes()).map_err(|error| failed(errno(&error)))?;
                return Ok(Lock { file });
            }
        }
        Err(failed(Errno::AGAIN).into())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        rustix::fs::flock(&self.file, FlockOperation::Unlock).ok();
    }
}

/// Returns the names in `dir`, without `.` and `..`, sorted.
pub(crate) fn names_in(dir: impl AsFd) -> rustix::io::Result<Vec<Box<[u8]>>> {
    // A descriptor of its own: the position in the directory is not shared with other readers.
    let dir = open_at(dir.as_fd(), b".", OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut buffer = Vec::<u8>::with_capacity(16 * 1024);
    let mut entries = RawDir::new(&dir, buffer.spare_capacity_mut());
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(name.into());
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn failed(doing: Doing, shown: &str, source: Errno) -> DiskError {
    DiskError::Call { doing, path: shown.as_bytes().into(), source }
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Makes the directory `name` in `dir` unless something has that name.
fn make(dir: BorrowedFd<'_>, name: &[u8], shown: &str) -> Result<(), DiskError> {
    match rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o700)) {
        // On a read-only file system what is there can still be opened.
        Ok(()) | Err(Errno::EXIST | Errno::ROFS) => Ok(()),
        Err(source) => Err(failed(Doing::Create, shown, source)),
    }
}

/// Returns the directory `name` in `dir`, if it is ours alone.
fn open(dir: BorrowedFd<'_>, name: &[u8], shown: &str) -> Result<OwnedFd, PrivateError> {
    let planted = |why| PrivateError::Planted { name: shown.to_owned(), why };
    let fd = match open_at(dir, name, OFlags::RDONLY | OFlags::DIRECTORY) {
        Ok(fd) => fd,
        Err(Errno::LOOP) => return Err(planted("it is a symlink")),
        Err(Errno::NOTDIR) => return Err(planted(not_a_directory(dir, name))),
        Err(source) => return Err(failed(Doing::OpenDir, shown, source).into()),
    };
    let stat = stat_fd(&fd).map_err(|source| failed(Doing::Stat, shown, source))?;
    check(&stat).map_err(planted)?;
    Ok(fd)
}

/// Returns what stands there instead of a directory.
fn not_a_directory(dir: BorrowedFd<'_>, name: &[u8]) -> &'static str {
    match stat_at(dir, name).map(|stat| stat.kind) {
        Ok(Kind::Symlink) => "it is a symlink",
        _ => "it is not a directory",
    }
}

fn check(stat: &Stat) -> Result<(), &'static str> {
    if stat.attributes.owner.uid != rustix::process::geteuid().as_raw() {
        Err("it belongs to another user")
    } else if stat.attributes.mode & 0o022 != 0 {
        Err("others may write in it")
    } else {
        Ok(())
    }
}

/// Removes `name`; returns `false` for a directory that is not empty.
fn remove(dir: impl AsFd, name: &[u8], flags: AtFlags, shown: &str) -> Result<bool, DiskError> {
    match rustix::fs::unlinkat(dir, name, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(source) => Err(failed(Doing::Remove, shown, source)),
    }
}

/// Returns the process that a lock file names.
fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_others_planted_is_refused_and_never_followed() {
        for case in ["symlink", "file", "writable", "stage symlink"] {
            let tree = tempfile::tempdir().unwrap();
            let elsewhere = tempfile::tempdir().unwrap();
            let at = tree.path().join(".csync");
            match case {
                "symlink" => std::os::unix::fs::symlink(elsewhere.path(), &at).unwrap(),
                "file" => std::fs::write(&at, "x").unwrap(),
                "writable" => {
                    std::fs::create_dir(&at).unwrap();
                    std::fs::set_permissions(&at, std::fs::Permissions::from_mode(0o777)).unwrap();
                }
                _ => {
                    std::fs::create_dir(&at).unwrap();
                    std::os::unix::fs::symlink(elsewhere.path(), at.join("stage")).unwrap();
                }
            }
            let root = Root::open(tree.path()).unwrap();
            let error = Private::open_or_create(&root).unwrap_err();
            assert!(matches!(error, PrivateError::Planted { .. }), "{case}: {error}");
            assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0, "{case}");
        }
    }

    #[test]
    fn a_directory_of_another_user_is_refused() {
        use crate::disk::attributes::tests::{common_dir, unprivileged};
        let tree = common_dir();
        let root = Root::open(tree.path()).unwrap();
        drop(Private::open_or_create(&root).unwrap());
        let other = rustix::process::geteuid().is_root();
        let refused = unprivileged(|| match Private::open_existing(&root) {
            Err(PrivateError::Planted { why, .. }) => why == "it belongs to another user",
            // 0700: not even to be looked at.
            Err(PrivateError::Disk(error)) => error.is_permission(),
            Ok(_) => false,
        });
        assert_eq!(refused, other);
    }

    #[test]
    fn a_run_that_keeps_nothing_leaves_nothing() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::open(tree.path()).unwrap();
        assert!(Private::open_existing(&root).unwrap().is_none());
        let private = Private::open_or_create(&root).unwrap();
        let lock = private.lock().unwrap();
        assert_eq!(private.remove_if_empty(&root, Some(&lock)), Ok(true));
        assert_eq!(std::fs::read_dir(tree.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_marker_or_a_kept_file_holds_the_directory() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::open(tree.path()).unwrap();
        let private = Private::open_or_create(&root).unwrap();
        assert_eq!(private.read_marker(), Ok(None));
        private.write_marker(b"one").unwrap();
        private.write_marker(b"second").unwrap();
        assert_eq!(private.remove_if_empty(&root, None), Ok(false));
        let private = Private::open_existing(&root).unwrap().unwrap();
        assert_eq!(private.read_marker(), Ok(Some(b"second".to_vec())));
        assert!(private.write_marker(&vec![0; 70_000]).is_err());
        assert_eq!(private.read_marker(), Ok(Some(b"second".to_vec())));
    }

    #[test]
    fn the_second_run_is_told_who_has_the_lock() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::open(tree.path()).unwrap();
        let (one, two) = (Private::open_or_create(&root).unwrap(), Private::open_or_create(&root).unwrap());
        let lock = one.lock().unwrap();
        let pid = Some(std::process::id());
        assert_eq!(two.lock().unwrap_err(), LockError::Held { pid });
        drop(lock);
        assert!(two.lock().is_ok());
    }
}
