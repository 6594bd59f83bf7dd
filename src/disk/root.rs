//! A root: the held directory beneath which every operation stays.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Statx, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use crate::disk::error::{DiskError, Doing};
use crate::model::entry::Kind;
use crate::model::metadata::{Attributes, Owner, Stat, Timestamp};
use crate::model::path::RelPath;

/// How often a resolution that raced with a rename is tried again.
const RESOLVE_TRIES: usize = 64;
/// Longest piece of a path given to one system call, below `PATH_MAX` with its NUL.
const STEP_BYTES_MAX: usize = 4000;
/// Longest target of a symlink that is carried.
const LINK_BYTES_MAX: usize = 4095;

/// The directory of a synchronised tree, held open.
///
/// Paths are resolved by `openat2` beneath the held directory and never through a symlink, so that nobody who can
/// write inside the tree can lead an operation out of it. There is no cache of parents: resolving six levels
/// costs as much as using a held descriptor (0.9 against 0.75 us), and a held one may have been moved away.
#[derive(Debug)]
pub struct Root {
    dir: OwnedFd,
    path: PathBuf,
    stat: Stat,
}

impl Root {
    /// Returns the directory at `path`, which is followed if it is a symlink, now and never again.
    ///
    /// # Errors
    /// Nothing is there ([`DiskError::is_vanished`]), it is no directory ([`DiskError::is_other_kind`]), or it cannot
    /// be opened.
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        let failed = |source| DiskError::Call {
            doing: Doing::OpenRoot,
            path: path.as_os_str().as_bytes().into(),
            source,
        };
        let canonical =
            path.canonicalize().map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let dir = rustix::fs::openat(CWD, &canonical, flags, Mode::empty()).map_err(failed)?;
        let stat = stat_fd(&dir).map_err(failed)?;
        Ok(Self { dir, path: canonical, stat })
    }

    /// Returns the canonical path that was opened. For messages and for names in the state only.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the device number of the root's file system.
    #[must_use]
    pub fn dev(&self) -> u64 {
        self.stat.dev
    }

    /// Returns the inode number of the root.
    #[must_use]
    pub fn ino(&self) -> u64 {
        self.stat.ino
    }

    /// Returns the held directory.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Returns what stands at `path`, or `None` where nothing does or a parent is no directory.
    ///
    /// # Errors
    /// The answer is unknown: no right to search a parent, an I/O error.
    pub fn stat(&self, path: &RelPath) -> Result<Option<Stat>, DiskError> {
        let found = self.parent(path).and_then(|parent| {
            stat_at(&parent, path.name()).map_err(|source| DiskError::call(Doing::Stat, path, source))
        });
        match found {
            Ok(stat) => Ok(Some(stat)),
            Err(error) if error.is_vanished() || error.is_other_kind() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the directory at `path`, opened for reading.
    ///
    /// # Errors
    /// It is absent, no directory, or cannot be opened.
    pub fn open_dir(&self, path: &RelPath) -> Result<OwnedFd, DiskError> {
        self.open_beneath(path, OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(|source| DiskError::call(Doing::OpenDir, path, source))
    }

    /// Returns the directory that holds `path`, good for `*at` calls with [`RelPath::name`] (for the root: itself,
    /// where the empty name stands for the directory).
    ///
    /// # Errors
    /// It is absent, no directory, or may not be searched.
    pub fn parent(&self, path: &RelPath) -> Result<OwnedFd, DiskError> {
        let parent = path.parent().unwrap_or_default();
        self.open_beneath(&parent, OFlags::PATH | OFlags::DIRECTORY)
            .map_err(|source| DiskError::call(Doing::OpenDir, &parent, source))
    }

    /// Returns the regular file at `path`, opened for reading, and its stat. Leaves the access time alone where it
    /// may. Never waits for a FIFO or a device.
    ///
    /// # Errors
    /// It is absent, no regular file, or cannot be opened.
    pub fn open_file(&self, path: &RelPath) -> Result<(File, Stat), DiskError> {
        let parent = self.parent(path)?;
        open_file_at(&parent, path.name()).map_err(|source| DiskError::call(Doing::OpenFile, path, source))
    }

    /// Whether `path` is where something is mounted, of this file system or another. What is absent is no mount.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub fn is_mount(&self, path: &RelPath) -> Result<bool, DiskError> {
        let failed = |source| DiskError::call(Doing::Stat, path, source);
        let fd = match self.open_beneath(path, OFlags::PATH) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
            Err(source) => return Err(failed(source)),
        };
        let flags = AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT;
        let statx = rustix::fs::statx(fd, "", flags, StatxFlags::BASIC_STATS).map_err(failed)?;
        Ok(is_mount(&statx))
    }

    /// Returns what stands at `path` and whether something is mounted there; `None` where nothing does or a parent is
    /// no directory.
    ///
    /// # Errors
    /// The answer is unknown: no right to search a parent, an I/O error.
    pub fn look(&self, path: &RelPath) -> Result<Option<(Stat, bool)>, DiskError> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
        let found = self.parent(path).and_then(|parent| {
            rustix::fs::statx(parent, path.name(), flags, StatxFlags::BASIC_STATS)
                .and_then(|statx| Ok((stat_of(&statx)?, is_mount(&statx))))
                .map_err(|source| DiskError::call(Doing::Stat, path, source))
        });
        match found {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_vanished() || error.is_other_kind() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the target of the symlink at `path`.
    ///
    /// # Errors
    /// It is absent or no symlink, or its target is longer than 4,095 bytes.
    pub fn read_link(&self, path: &RelPath) -> Result<Box<[u8]>, DiskError> {
        let parent = self.parent(path)?;
        let target = rustix::fs::readlinkat(&parent, path.name(), Vec::new())
            .map_err(|source| DiskError::call(Doing::ReadLink, path, source))?;
        if target.as_bytes().len() > LINK_BYTES_MAX {
            return Err(DiskError::call(Doing::ReadLink, path, Errno::NAMETOOLONG));
        }
        Ok(target.into_bytes().into_boxed_slice())
    }

    /// Returns the directory `dir`, whose path is `path`, as a root of its own.
    pub(crate) fn of(dir: OwnedFd, path: PathBuf) -> rustix::io::Result<Self> {
        let stat = stat_fd(&dir)?;
        Ok(Self { dir, path, stat })
    }

    /// Resolves `path` beneath the root.
    fn open_beneath(&self, path: &RelPath, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        open_beneath(self.fd(), path, flags)
    }
}

/// Resolves `path` beneath `dir`, in several steps where one call cannot take it whole.
pub(crate) fn open_beneath(
    dir: BorrowedFd<'_>,
    path: &RelPath,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    let mut rest = path.as_bytes();
    let mut step: Option<OwnedFd> = None;
    while rest.len() > STEP_BYTES_MAX {
        let end = rest[..STEP_BYTES_MAX].iter().rposition(|b| *b == b'/').ok_or(Errno::NAMETOOLONG)?;
        let from = step.as_ref().map_or(dir, OwnedFd::as_fd);
        let next = open_at(from, &rest[..end], OFlags::PATH | OFlags::DIRECTORY)?;
        step = Some(next);
        rest = &rest[end + 1..];
    }
    let from = step.as_ref().map_or(dir, OwnedFd::as_fd);
    open_at(from, if rest.is_empty() { b"." } else { rest }, flags)
}

/// Returns what `path` names beneath `dir`, no symlink followed in any component.
pub(crate) fn open_at(dir: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(dir, path, flags, Mode::empty(), resolve) {
            // The kernel could not rule out that a rename led outside meanwhile.
            Err(Errno::AGAIN | Errno::INTR) if tries < RESOLVE_TRIES => tries += 1,
            result => return result,
        }
    }
}

/// Returns the regular file `name` in `dir`, opened for reading, and its stat.
pub(crate) fn open_file_at(dir: impl AsFd, name: &[u8]) -> rustix::io::Result<(File, Stat)> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = match open_at(dir.as_fd(), name, flags | OFlags::NOATIME) {
        // Only the owner may leave the access time alone.
        Err(Errno::PERM) => open_at(dir.as_fd(), name, flags),
        result => result,
    }?;
    let stat = stat_fd(&fd)?;
    match stat.kind {
        Kind::File => Ok((File::from(fd), stat)),
        Kind::Dir => Err(Errno::ISDIR),
        Kind::Symlink | Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => Err(Errno::NXIO),
    }
}

/// Returns the stat of `name` in `dir`, of `dir` itself for the empty name. Follows nothing.
pub(crate) fn stat_at(dir: impl AsFd, name: &[u8]) -> rustix::io::Result<Stat> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
    stat_of(&rustix::fs::statx(dir, name, flags, StatxFlags::BASIC_STATS)?)
}

/// Returns the stat of an open entry.
pub(crate) fn stat_fd(fd: impl AsFd) -> rustix::io::Result<Stat> {
    stat_at(fd, b"")
}

/// Whether `statx` names the root of a mount.
pub(crate) fn is_mount(statx: &Statx) -> bool {
    statx.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
}

/// Returns the kernel's answer in the words of the model.
pub(crate) fn stat_of(statx: &Statx) -> rustix::io::Result<Stat> {
    let mode = u32::from(statx.stx_mode);
    let kind = match FileType::from_raw_mode(mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::Unknown => return Err(Errno::OPNOTSUPP),
    };
    let moment = |at: rustix::fs::StatxTimestamp| Timestamp::new(at.tv_sec, at.tv_nsec);
    Ok(Stat {
        kind,
        attributes: Attributes {
            mode: if kind == Kind::Symlink { 0o777 } else { mode & 0o7777 },
            owner: Owner { uid: statx.stx_uid, gid: statx.stx_gid },
            mtime: moment(statx.stx_mtime),
        },
        size: statx.stx_size,
        ctime: moment(statx.stx_ctime),
        ino: statx.stx_ino,
        dev: rustix::fs::makedev(statx.stx_dev_major, statx.stx_dev_minor),
        links: u64::from(statx.stx_nlink),
        rdev: if kind.is_device() {
            rustix::fs::makedev(statx.stx_rdev_major, statx.stx_rdev_minor)
        } else {
            0
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_missing_root_and_a_root_that_is_a_file_are_told_apart() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::write(tree.path().join("file"), "x").unwrap();
        assert!(Root::open(&tree.path().join("absent")).unwrap_err().is_vanished());
        assert!(Root::open(&tree.path().join("file")).unwrap_err().is_other_kind());
    }

    #[test]
    fn no_symlink_leads_out_of_the_root_or_anywhere() {
        let tree = tempfile::tempdir().unwrap();
        let inside = tree.path().join("root");
        std::fs::create_dir_all(inside.join("real")).unwrap();
        std::fs::write(tree.path().join("secret"), "s").unwrap();
        std::fs::write(inside.join("real/file"), "f").unwrap();
        std::os::unix::fs::symlink("..", inside.join("up")).unwrap();
        std::os::unix::fs::symlink("real", inside.join("alias")).unwrap();
        let root = Root::open(&inside).unwrap();
        assert_eq!(root.stat(&path("up/secret")), Ok(None));
        assert_eq!(root.stat(&path("alias/file")), Ok(None));
        assert!(root.open_file(&path("alias/file")).unwrap_err().is_other_kind());
        assert!(root.open_file(&path("alias")).unwrap_err().is_other_kind());
        assert_eq!(root.stat(&path("alias")).unwrap().unwrap().kind, Kind::Symlink);
        assert_eq!(root.read_link(&path("alias")).unwrap(), b"real".to_vec().into());
        assert_eq!(root.stat(&path("real/file")).unwrap().unwrap().size, 1);
    }

    #[test]
    fn a_fifo_is_refused_without_waiting() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::open(tree.path()).unwrap();
        rustix::fs::mkfifoat(root.fd(), "pipe", Mode::from_raw_mode(0o600)).unwrap();
        assert!(root.open_file(&path("pipe")).unwrap_err().is_other_kind());
    }

    #[test]
    fn the_longest_path_is_reached_in_steps() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::open(tree.path()).unwrap();
        let mut long = RelPath::root();
        let mut dir = root.open_dir(&long).unwrap();
        for _ in 0..16 {
            let name = vec![b'd'; 255];
            rustix::fs::mkdirat(&dir, &name, Mode::from_raw_mode(0o700)).unwrap();
            dir = open_at(dir.as_fd(), &name, OFlags::RDONLY | OFlags::DIRECTORY).unwrap();
            long = long.join(&name).unwrap();
        }
        assert_eq!(long.as_bytes().len(), 4095);
        assert_eq!(stat_fd(root.open_dir(&long).unwrap()), stat_fd(&dir));
        assert_eq!(root.stat(&long).unwrap().unwrap().kind, Kind::Dir);
    }
}
