//! A tree that can be listed, here or elsewhere: what walks and rules ask of it.

use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{AtFlags, RawDir, StatxFlags};
use rustix::io::Errno;

use crate::disk::error::{DiskError, Doing};
use crate::disk::root::{Root, is_mount, open_file_at, stat_fd, stat_of};
use crate::model::metadata::Stat;
use crate::model::path::RelPath;

/// Bytes of names asked for at once.
const NAMES_BYTES: usize = 64 * 1024;
/// Largest file of filter rules.
const RULES_BYTES_MAX: u64 = 1024 * 1024;

/// A tree that can be listed.
pub trait Lister: Send + Sync {
    /// Returns the device number of the root's file system.
    fn dev(&self) -> u64;

    /// Returns what stands at `path`; `None` where nothing does.
    ///
    /// # Errors
    /// The answer is unknown.
    fn stat(&self, path: &RelPath) -> Result<Option<Stat>, DiskError>;

    /// Returns the directory at `path`, to be listed.
    ///
    /// # Errors
    /// It is absent, no directory, or cannot be read.
    fn open<'a>(&'a self, path: &'a RelPath) -> Result<Box<dyn OpenDir + 'a>, DiskError>;

    /// Returns the contents of the file of filter rules at `path`.
    ///
    /// # Errors
    /// It is absent, no regular file, larger than 1 MiB, or cannot be read.
    fn rules(&self, path: &RelPath) -> Result<Vec<u8>, DiskError>;
}

/// One directory of a tree, open.
pub trait OpenDir {
    /// Returns what is known of the directory itself.
    ///
    /// # Errors
    /// The system refused.
    fn stat(&self) -> Result<Stat, DiskError>;

    /// Returns every name in it, sorted.
    fn names(&self) -> Names;

    /// Returns the contents of the file of filter rules `name` in it.
    ///
    /// # Errors
    /// As for [`Lister::rules`].
    fn rules(&self, name: &[u8]) -> Result<Vec<u8>, DiskError>;
}

/// A name and what stands there.
pub(crate) type Found = (Box<[u8]>, Result<Look, Errno>);

/// The names of one directory with what stands there.
#[derive(Default)]
pub struct Names {
    pub(crate) found: Vec<Found>,
    pub(crate) error: Option<Errno>,
}

#[derive(Clone, Copy)]
pub(crate) struct Look {
    pub(crate) stat: Stat,
    pub(crate) mount: bool,
}

impl Names {
    /// Returns all the names of a directory in which nothing is mounted; sorts them.
    #[must_use]
    pub fn all(names: Vec<(Box<[u8]>, Stat)>) -> Self {
        let look = |(name, stat)| (name, Ok(Look { stat, mount: false }));
        let mut found: Vec<Found> = names.into_iter().map(look).collect();
        found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Self { found, error: None }
    }
}

impl Lister for Root {
    fn dev(&self) -> u64 {
        Self::dev(self)
    }

    fn stat(&self, path: &RelPath) -> Result<Option<Stat>, DiskError> {
        Self::stat(self, path)
    }

    fn open<'a>(&'a self, path: &'a RelPath) -> Result<Box<dyn OpenDir + 'a>, DiskError> {
        Ok(Box::new(Held { fd: self.open_dir(path)?, path }))
    }

    fn rules(&self, path: &RelPath) -> Result<Vec<u8>, DiskError> {
        read_rules(self.open_file(path)?.0, path.as_bytes())
    }
}

/// A directory of a root, held open.
struct Held<'a> {
    fd: OwnedFd,
    path: &'a RelPath,
}

impl OpenDir for Held<'_> {
    fn stat(&self) -> Result<Stat, DiskError> {
        stat_fd(&self.fd).map_err(|source| DiskError::call(Doing::Stat, self.path, source))
    }

    fn names(&self) -> Names {
        let mut names = Names::default();
        let mut buffer = Vec::<u8>::with_capacity(NAMES_BYTES);
        let mut entries = RawDir::new(&self.fd, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(Errno::INTR) => continue,
                Err(errno) => {
                    names.error = Some(errno);
                    break;
                }
            };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            // The stamps of a network file system are as fresh as its cache: enough to find what changed.
            let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
            let look = rustix::fs::statx(&self.fd, name, flags, StatxFlags::BASIC_STATS)
                .and_then(|statx| Ok(Look { stat: stat_of(&statx)?, mount: is_mount(&statx) }));
            names.found.push((name.to_bytes().into(), look));
        }
        names.found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        names
    }

    fn rules(&self, name: &[u8]) -> Result<Vec<u8>, DiskError> {
        let path = self.path.join(name);
        let path = path.as_ref().map_or(name, RelPath::as_bytes);
        let failed = |source| DiskError::Call { doing: Doing::Read, path: path.into(), source };
        let (file, _) = open_file_at(self.fd.as_fd(), name).map_err(failed)?;
        read_rules(file, path)
    }
}

/// Returns what a file of filter rules says; `path` is for messages.
fn read_rules(file: std::fs::File, path: &[u8]) -> Result<Vec<u8>, DiskError> {
    let mut bytes = Vec::new();
    file.take(RULES_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| DiskError::Call {
        doing: Doing::Read,
        path: path.into(),
        source: Errno::from_io_error(&error).unwrap_or(Errno::IO),
    })?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len <= RULES_BYTES_MAX) {
        Ok(bytes)
    } else {
        let reason = format!("more than {RULES_BYTES_MAX} bytes");
        Err(DiskError::Rules { path: path.into(), reason })
    }
}
