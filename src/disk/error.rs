//! What goes wrong with an entry of a tree.

use std::fmt;

use rustix::io::Errno;

use crate::model::path::{PathError, RelPath, escape};

/// The step that was tried on an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doing {
    /// Opening a root.
    OpenRoot,
    /// Opening a directory.
    OpenDir,
    /// Reading the names in a directory.
    List,
    /// Reading the attributes of an entry.
    Stat,
    /// Opening a file.
    OpenFile,
    /// Reading a file.
    Read,
    /// Writing a file.
    Write,
    /// Reading the target of a symlink.
    ReadLink,
    /// Creating an entry.
    Create,
    /// Setting owner, mode or times.
    SetAttributes,
    /// Making content durable.
    Flush,
    /// Moving an entry.
    Rename,
    /// Removing an entry.
    Remove,
    /// Taking a lock.
    Lock,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenRoot => "open the root",
            Self::OpenDir => "open the directory",
            Self::List => "list the directory",
            Self::Stat => "look at",
            Self::OpenFile => "open the file",
            Self::Read => "read",
            Self::Write => "write",
            Self::ReadLink => "read the symlink",
            Self::Create => "create",
            Self::SetAttributes => "set the attributes of",
            Self::Flush => "flush",
            Self::Rename => "move",
            Self::Remove => "remove",
            Self::Lock => "lock",
        })
    }
}

/// A step on one entry that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// The system refused.
    #[error("Cannot {doing} {}: {source}", shown(path))]
    Call {
        /// What was tried.
        doing: Doing,
        /// On which entry, relative to its root; for roots the path given.
        path: Box<[u8]>,
        /// What the system said.
        #[source]
        source: Errno,
    },
    /// An entry has a name that csync cannot carry.
    #[error("Cannot use the entry {}: {source}", shown(path))]
    Name {
        /// The path, whole.
        path: Box<[u8]>,
        /// The rule that it breaks.
        #[source]
        source: PathError,
    },
    /// A file of filter rules inside the tree cannot be used.
    #[error("Cannot use the filter rules in {}: {reason}", shown(path))]
    Rules {
        /// The file.
        path: Box<[u8]>,
        /// Why not.
        reason: String,
    },
    /// What is known of a tree elsewhere could not be read, or could not be had from there.
    #[error("Cannot {doing} {} of the peer: {reason}", shown(path))]
    Elsewhere {
        /// What was tried.
        doing: Doing,
        /// On which entry, relative to its root.
        path: Box<[u8]>,
        /// What went wrong.
        reason: String,
    },
}

impl DiskError {
    /// Returns the error of a system call on `path`.
    #[must_use]
    pub fn call(doing: Doing, path: &RelPath, source: Errno) -> Self {
        Self::Call { doing, path: path.as_bytes().into(), source }
    }

    /// Returns the error of a step on `path`, where nothing of the wanted kind stands.
    #[must_use]
    pub fn absent(doing: Doing, path: &RelPath) -> Self {
        Self::call(doing, path, Errno::NOENT)
    }

    /// Returns the error of reading or writing the open file at `path`.
    #[must_use]
    pub fn io(doing: Doing, path: &RelPath, error: &std::io::Error) -> Self {
        Self::call(doing, path, Errno::from_io_error(error).unwrap_or(Errno::IO))
    }

    /// Returns what the system said, if this came from a system call.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Call { source, .. } => Some(*source),
            Self::Name { .. } | Self::Rules { .. } | Self::Elsewhere { .. } => None,
        }
    }

    /// Whether the entry, or a directory above it, was no longer there.
    #[must_use]
    pub fn is_vanished(&self) -> bool {
        matches!(self.errno(), Some(Errno::NOENT | Errno::STALE))
    }

    /// Whether the entry, or one above it, is of another kind than the step wants.
    #[must_use]
    pub fn is_other_kind(&self) -> bool {
        matches!(self.errno(), Some(Errno::NOTDIR | Errno::ISDIR | Errno::LOOP | Errno::NXIO))
    }

    /// Whether the rights of this process do not suffice.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        matches!(self.errno(), Some(Errno::ACCESS | Errno::PERM))
    }

    /// Whether space, inodes or quota are used up.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        matches!(self.errno(), Some(Errno::NOSPC | Errno::DQUOT))
    }

    /// Whether a quota, and not the disk, is used up.
    #[must_use]
    pub fn is_over_quota(&self) -> bool {
        self.errno() == Some(Errno::DQUOT)
    }

    /// Whether the file system is mounted read-only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.errno() == Some(Errno::ROFS)
    }

    /// Whether the step would lead from one file system to another.
    #[must_use]
    pub fn is_other_file_system(&self) -> bool {
        self.errno() == Some(Errno::XDEV)
    }

    /// Whether something stands already where a new entry was to be.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.errno() == Some(Errno::EXIST)
    }

    /// Whether this process or the system has no file descriptors or memory left.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        matches!(self.errno(), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
    }
}

/// Returns a path for messages; the root itself is `.`.
fn shown(path: &[u8]) -> String {
    if path.is_empty() { ".".to_owned() } else { escape(path) }
}
