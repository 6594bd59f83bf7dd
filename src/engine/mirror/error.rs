//! Why a one-way run cannot begin, or not go on.

use crate::disk::error::DiskError;
use crate::disk::private::{LockError, PrivateError};
use crate::engine::far::error::FarError;
use crate::engine::selection::SelectionError;
use crate::model::path::PathError;
use crate::rules::chmod::ChmodError;
use crate::rules::owner::OwnerError;

/// What ends a one-way run at once.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// A source is not there.
    #[error("The source {path} is missing")]
    NoSource {
        /// As given.
        path: String,
    },
    /// A source cannot be opened.
    #[error("Cannot open the source {path}: {source}")]
    Source {
        /// As given.
        path: String,
        /// What went wrong.
        #[source]
        source: DiskError,
    },
    /// The directory in which the destination would be made is not there.
    #[error("The directory that is to hold {path} is missing")]
    NoParent {
        /// The destination as given.
        path: String,
    },
    /// The destination is no directory, and has to be.
    #[error("The destination {path} is not a directory")]
    NotADirectory {
        /// As given.
        path: String,
    },
    /// The destination cannot be used.
    #[error("Cannot use the destination {path}: {source}")]
    Destination {
        /// As given.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// One of source and destination lies in the other in a way that could not end.
    #[error("The source and the destination {path} are the same directory")]
    Same {
        /// The destination as given.
        path: String,
    },
    /// A line of `--files-from` is no path.
    #[error("The listed path {path} cannot be used: {source}")]
    Listed {
        /// The line.
        path: String,
        /// What is wrong with it.
        #[source]
        source: PathError,
    },
    /// What is asked for cannot be done with a peer.
    #[error("{what}")]
    Unsupported {
        /// What, and what can be done instead.
        what: String,
    },
    /// The folder of a peer cannot be worked with.
    #[error(transparent)]
    Far(#[from] FarError),
    /// The filter rules or a list of paths cannot be used.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// `--chmod` cannot be used.
    #[error(transparent)]
    Chmod(#[from] ChmodError),
    /// A mapping of owners cannot be used.
    #[error(transparent)]
    Owner(#[from] OwnerError),
    /// The private directory of the destination cannot be used.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// Another run works on the destination.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The destination's disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}
