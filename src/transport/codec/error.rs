//! Why the body of a frame is not a message.

use crate::delta::compress::CompressError;
use crate::model::path::PathError;

/// Why the body of a frame is not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes are not the CBOR that was wanted.
    #[error("{what} at byte {at}: {why}")]
    Shape {
        /// What was wanted there.
        what: &'static str,
        /// Where.
        at: usize,
        /// What is wrong.
        why: String,
    },
    /// A field that every version has is missing.
    #[error("{0} has a field too few")]
    Missing(&'static str),
    /// More of something than there may be.
    #[error("{count} {what} where {max} are the most")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// As it was declared.
        count: u64,
        /// As it may be.
        max: usize,
    },
    /// A value outside of its range.
    #[error("{what}: {value} is out of range")]
    Range {
        /// What it was to be.
        what: &'static str,
        /// The value.
        value: i128,
    },
    /// No path below a root.
    #[error("a path with {0}")]
    Path(#[from] PathError),
    /// A rule that is not about one value.
    #[error("{0}")]
    Rule(&'static str),
    /// A compressed body that is damaged, or a bomb.
    #[error("a packed message: {0}")]
    Packed(#[from] CompressError),
    /// Bytes after the message.
    #[error("{0} bytes after the message")]
    Trailing(usize),
}
