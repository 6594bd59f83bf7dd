//! Frames: how messages are cut out of a stream of bytes.
//!
//! A frame is a length (4 bytes, least first), then that many bytes: one that says the type, and the body.

use crate::transport::message::BLOCK_BYTES_MAX;

/// Bytes of a frame before the body: length and type.
pub(crate) const HEADER_BYTES: usize = 5;
/// Longest frame, type and body: one block and what goes with it.
pub const FRAME_BYTES_MAX: u32 = BLOCK_BYTES_MAX + (64 << 10);
/// Longest frame of a message that has no rows, contents or signatures in it.
pub(crate) const SMALL_BYTES_MAX: u32 = 64 << 10;

/// What a frame carries. The numbers are those on the wire; they are never given anew.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "they are the messages of the same names")]
pub enum Type {
    Hello,
    Welcome,
    Refuse,
    Folders,
    FolderList,
    Open,
    Working,
    Opened,
    Join,
    Ack,
    Settle,
    Settled,
    List,
    Page,
    Follow,
    News,
    Recover,
    Fetch,
    Change,
    Outcome,
    Whole,
    Outline,
    Groups,
    Expand,
    Chunks,
    Parts,
    Block,
    BlocksEnd,
    Absent,
    End,
}

/// Type, number, and the longest frame of it.
const TYPES: [(Type, u8, u32); 30] = [
    (Type::Hello, 1, SMALL_BYTES_MAX),
    (Type::Welcome, 2, SMALL_BYTES_MAX),
    (Type::Refuse, 3, SMALL_BYTES_MAX),
    (Type::Folders, 4, SMALL_BYTES_MAX),
    (Type::FolderList, 5, FRAME_BYTES_MAX),
    (Type::Open, 6, SMALL_BYTES_MAX),
    (Type::Working, 7, SMALL_BYTES_MAX),
    (Type::Opened, 8, SMALL_BYTES_MAX),
    (Type::Settle, 9, SMALL_BYTES_MAX),
    (Type::Settled, 10, SMALL_BYTES_MAX),
    (Type::Join, 11, SMALL_BYTES_MAX),
    (Type::Ack, 12, SMALL_BYTES_MAX),
    (Type::List, 16, SMALL_BYTES_MAX),
    (Type::Page, 17, FRAME_BYTES_MAX),
    (Type::Fetch, 18, FRAME_BYTES_MAX),
    (Type::Change, 19, FRAME_BYTES_MAX),
    (Type::Outcome, 20, FRAME_BYTES_MAX),
    (Type::Follow, 21, SMALL_BYTES_MAX),
    (Type::News, 22, FRAME_BYTES_MAX),
    (Type::Recover, 23, FRAME_BYTES_MAX),
    (Type::Whole, 32, SMALL_BYTES_MAX),
    (Type::Outline, 33, SMALL_BYTES_MAX),
    (Type::Groups, 34, FRAME_BYTES_MAX),
    (Type::Expand, 35, FRAME_BYTES_MAX),
    (Type::Chunks, 36, FRAME_BYTES_MAX),
    (Type::Parts, 37, FRAME_BYTES_MAX),
    (Type::Block, 38, FRAME_BYTES_MAX),
    (Type::BlocksEnd, 39, SMALL_BYTES_MAX),
    (Type::Absent, 40, SMALL_BYTES_MAX),
    (Type::End, 41, SMALL_BYTES_MAX),
];

/// Why bytes do not begin a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame has at least its type.
    #[error("a frame of no bytes")]
    Empty,
    /// Longer than any frame of that type.
    #[error("a frame of {length} bytes where {max} are the most")]
    TooLong {
        /// As it was declared.
        length: u32,
        /// As it may be.
        max: u32,
    },
    /// No such type in this version.
    #[error("a frame of unknown type {0}")]
    UnknownType(u8),
}

/// What a frame announces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What follows.
    pub kind: Type,
    /// Bytes of the body.
    pub body: usize,
}

impl Header {
    /// Returns what the first bytes of a frame announce.
    ///
    /// # Errors
    /// Nothing may follow, or more than may; or nobody knows what.
    pub fn parse(bytes: [u8; HEADER_BYTES]) -> Result<Self, FrameError> {
        let [a, b, c, d, number] = bytes;
        let length = u32::from_le_bytes([a, b, c, d]);
        if length == 0 {
            return Err(FrameError::Empty);
        }
        if length > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong { length, max: FRAME_BYTES_MAX });
        }
        let (kind, _, max) =
            TYPES.iter().find(|row| row.1 == number).ok_or(FrameError::UnknownType(number))?;
        if length > *max {
            return Err(FrameError::TooLong { length, max: *max });
        }
        Ok(Self { kind: *kind, body: usize::try_from(length - 1).unwrap_or(0) })
    }

    /// Returns the first bytes of a frame of this `kind` whose body has `body` bytes.
    ///
    /// # Errors
    /// The body is too long for its type.
    pub fn build(kind: Type, body: usize) -> Result<[u8; HEADER_BYTES], FrameError> {
        let (_, number, max) = TYPES.iter().find(|row| row.0 == kind).ok_or(FrameError::UnknownType(0))?;
        let length = u32::try_from(body).unwrap_or(u32::MAX).saturating_add(1);
        if length > *max {
            return Err(FrameError::TooLong { length, max: *max });
        }
        let [a, b, c, d] = length.to_le_bytes();
        Ok([a, b, c, d, *number])
    }
}
