//! Why a database could not do what was asked.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Error, ErrorCode};

/// Why a database could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database was written by a newer csync.
    #[error("{path}: written by a newer csync (format {found}, this one knows {known})")]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format known here.
        known: i64,
    },
    /// The database is damaged. Set it aside and build a new one under a new replica id (R25).
    #[error("{path}: the database is damaged: {detail}")]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// Another process has the database open.
    #[error("{path}: in use by another csync")]
    Locked {
        /// The database.
        path: PathBuf,
    },
    /// The file is a database of another program, or no regular file.
    #[error("{path}: not a replica database of csync")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file or its directory could not be looked at or made.
    #[error("{doing} {path}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// `SQLite` refused.
    #[error("{doing} in {path}")]
    Sql {
        /// What was attempted.
        doing: &'static str,
        /// In which database.
        path: PathBuf,
        /// Why it failed.
        source: Error,
    },
    /// The tables could not be brought to the newest format.
    #[error("bring {path} to the newest format")]
    Migrate {
        /// The database.
        path: PathBuf,
        /// Why it failed.
        source: rusqlite_migration::Error,
    },
    /// A value is larger than the database takes.
    #[error("{path}: {what} is too large to be recorded")]
    TooLarge {
        /// The database.
        path: PathBuf,
        /// What is too large.
        what: String,
    },
}

impl StoreError {
    /// Returns the error for what `SQLite` said of the database at `path` while `doing`.
    pub(crate) fn sql(doing: &'static str, path: &Path, source: Error) -> Self {
        let path = path.to_owned();
        if let Error::InvalidColumnType(..)
        | Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..) = source
        {
            return Self::Corrupt { path, detail: format!("{doing}: {source}") };
        }
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked { path },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Corrupt { path, detail: format!("{doing}: {source}") }
            }
            _ => Self::Sql { doing, path, source },
        }
    }
}
