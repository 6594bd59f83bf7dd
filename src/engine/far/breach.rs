//! How the other side may break the rules of a conversation about contents, and how a conversation ends early.

use crate::delta::chunk::ChunkError;
use crate::delta::compress::CompressError;
use crate::delta::outline::OutlineError;
use crate::delta::patch::PatchError;
use crate::delta::piece::PieceError;
use crate::delta::signature::SignatureError;
use crate::transport::channel::Channel;
use crate::transport::error::WireError;
use crate::transport::message::Code;

/// A rule of the conversation that the peer broke. Nothing more is believed on that stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// A message that has no place here.
    #[error("it sent another message where {due} was due")]
    Unexpected {
        /// What was to come.
        due: &'static str,
    },
    /// A request for more than one request may ask for, or for nothing.
    #[error("it asked for {count} {what} at once")]
    Count {
        /// Such as `contents`.
        what: &'static str,
        /// How many.
        count: usize,
    },
    /// A list that must ascend does not, or names something twice.
    #[error("its {what} are not in order")]
    Order {
        /// Such as `parts`.
        what: &'static str,
    },
    /// A range that the content does not have.
    #[error("it asked for {length} bytes at {offset} of a content of {size}")]
    Range {
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u64,
        /// Bytes of the content.
        size: u64,
    },
    /// A group that the content does not have.
    #[error("it asked for group {group} of {groups}")]
    Group {
        /// Its place.
        group: u32,
        /// How many there are.
        groups: usize,
    },
    /// An answer about another content than the one asked for.
    #[error("it spoke of content {found}, not {asked}")]
    Id {
        /// The one asked for.
        asked: u32,
        /// The one spoken of.
        found: u32,
    },
    /// A block of nothing, or of too much.
    #[error("it sent a block of {0} bytes")]
    Block(u32),
    /// A block that is not what it says.
    #[error("it sent a block that cannot be unpacked: {0}")]
    Packed(#[from] CompressError),
    /// The answer ended before all that was asked for had come.
    #[error("its answer ended early")]
    Short,
    /// The answer went on after all that was asked for had come.
    #[error("its answer did not end")]
    Long,
    /// A segment longer than segments are.
    #[error("it sent a segment of {0} bytes")]
    Segment(u32),
    /// More bytes of a content than it has.
    #[error("it sent more than the {size} bytes of a content")]
    Oversize {
        /// As it was listed.
        size: u64,
    },
    /// An outline that the content cannot have.
    #[error(transparent)]
    Outline(#[from] OutlineError),
    /// No list of chunks.
    #[error(transparent)]
    Chunks(#[from] ChunkError),
    /// Chunks that are not those of their groups.
    #[error(transparent)]
    Piece(#[from] PieceError),
    /// No signature.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// Operations that do not make what was asked for.
    #[error(transparent)]
    Patch(#[from] PatchError),
    /// An end of a content that is neither whole nor void.
    #[error("it ended a content with status {0}")]
    Status(u8),
}

/// Why nothing more can be said on a stream.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The way to the peer failed.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// No compression here.
    #[error(transparent)]
    Compression(#[from] CompressError),
    /// The peer broke the rules.
    #[error("{peer}: {breach}")]
    Breach {
        /// Who.
        peer: String,
        /// Which rule.
        #[source]
        breach: Breach,
    },
}

impl Broken {
    /// Returns the end of the conversation on `channel` for a rule that the peer broke.
    pub(crate) fn by(channel: &Channel, breach: impl Into<Breach>) -> Self {
        Self::Breach { peer: channel.peer().to_owned(), breach: breach.into() }
    }

    /// Returns the code that tells the peer.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Wire(error) => error.code(),
            Self::Compression(_) => Code::Internal,
            Self::Breach { .. } => Code::Protocol,
        }
    }
}
