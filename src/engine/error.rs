//! Why a run cannot begin or go on. A path that fails is no such error but a value in the report.

use std::path::{Path, PathBuf};

use crate::disk::error::DiskError;
use crate::disk::private::{LockError, PrivateError};
use crate::rules::conflict::Side;
use crate::store::error::StoreError;

/// Why a run cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A root that csync never saw is not there.
    #[error("{path} does not exist")]
    NoRoot {
        /// As the user gave it.
        path: PathBuf,
    },
    /// A root is something else than a directory.
    #[error("{path} is not a directory")]
    NotADirectory {
        /// As the user gave it.
        path: PathBuf,
    },
    /// A root that was kept in step is gone.
    #[error("{path} is gone; it was kept in step before; nothing was changed")]
    RootGone {
        /// The root.
        path: PathBuf,
        /// The database that knows it.
        database: PathBuf,
    },
    /// A root that was kept in step has no marker any more.
    #[error("{path} {}", marker_lost(*.empty, *.entries))]
    MarkerLost {
        /// The root.
        path: PathBuf,
        /// Whether nothing at all is in it.
        empty: bool,
        /// How many entries were there.
        entries: u64,
        /// The database that knows it.
        database: PathBuf,
    },
    /// Another root stands where one was kept in step.
    #[error("{path} is another root than the one that was kept in step here; nothing was changed")]
    RootReplaced {
        /// The root.
        path: PathBuf,
        /// The database that knows the other one.
        database: PathBuf,
    },
    /// A root was restored from a copy that is older than what is known of it.
    #[error("{path} is older than its index, as if restored from a copy; nothing was changed")]
    RootRestored {
        /// The root.
        path: PathBuf,
        /// The side that it is, where there is another one.
        side: Option<Side>,
        /// The database that knows it.
        database: PathBuf,
    },
    /// Both roots are one, or one lies in the other.
    #[error("{}", nested(first, second))]
    Nested {
        /// The first root.
        first: PathBuf,
        /// The second root.
        second: PathBuf,
    },
    /// Another run works on the root.
    #[error("{path} is in use by another run{}", by(*.pid))]
    Locked {
        /// The root or database.
        path: PathBuf,
        /// Its process, where known.
        pid: Option<u32>,
    },
    /// The marker cannot be understood.
    #[error("{path}/.csync/marker: {why}")]
    BadMarker {
        /// The root.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// The private directory of a root cannot be used.
    #[error("{path}: {source}")]
    Private {
        /// The root.
        path: PathBuf,
        /// What is wrong.
        source: PrivateError,
    },
    /// The root itself cannot be worked on.
    #[error("{path}: {source}")]
    Root {
        /// The root.
        path: PathBuf,
        /// What the system said.
        source: DiskError,
    },
    /// The state cannot be worked on.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state directory cannot be worked on.
    #[error("{doing} {path}: {source}")]
    State {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No random numbers are to be had.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
    /// A root, path or id that a verb names is not known.
    #[error("{what}")]
    Unknown {
        /// What is not known.
        what: String,
        /// What to do.
        fix: &'static str,
    },
}

impl EngineError {
    /// Returns the error of a lock that was not taken.
    #[must_use]
    pub fn lock(path: PathBuf, error: LockError) -> Self {
        match error {
            LockError::Held { pid } => Self::Locked { path, pid },
            LockError::Disk(source) => Self::Root { path, source },
        }
    }
}

fn marker_lost(empty: bool, entries: u64) -> String {
    if empty {
        format!("is empty, but {entries} entries were there; is the disk mounted? Nothing was deleted")
    } else {
        "has lost its marker; nothing was changed".to_owned()
    }
}

fn nested(first: &Path, second: &Path) -> String {
    if first == second {
        format!("both roots are {}", first.display())
    } else {
        let (inner, outer) = if first.starts_with(second) { (first, second) } else { (second, first) };
        format!("the root {} lies inside the root {}", inner.display(), outer.display())
    }
}

fn by(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}
