//! What members of a folder say to each other, beside what a guest says.

use crate::model::entry::Digest;
use crate::model::path::RelPath;
use crate::model::version::ReplicaId;

/// Asks for a folder as a member of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Join {
    /// Its name.
    pub folder: String,
    /// The asker's replica of it.
    pub replica: ReplicaId,
    /// What it heard of the other's before, if it did.
    pub heard: Option<Heard>,
}

/// How far a member heard of another one's replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heard {
    /// The replica.
    pub replica: ReplicaId,
    /// All of its rows up to this sequence.
    pub seq: u64,
    /// The nonce of the start under which it said so.
    pub nonce: Option<[u8; 16]>,
}

/// Says how far a member is with what it was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack {
    /// All rows up to this sequence of the receiver of the message are durable at its sender. What could not be applied
    /// there is known there and does not hold this back.
    pub seq: u64,
}

/// Asks for rows recorded above `since`, tombstones among them, and for all that will be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Follow {
    /// The sequence up to which the asker knows everything; 0 for nothing.
    pub since: u64,
}

/// A small content that comes along with its row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inline {
    /// The place of the row in its page.
    pub row: u32,
    /// The bytes; at most [`INLINE_BYTES_MAX`].
    pub bytes: Vec<u8>,
}

/// Bytes of a content that comes along with its row.
pub const INLINE_BYTES_MAX: usize = 32 << 10;

/// Replicas whose deletions were let through, in one message.
pub const APPROVED_MAX: usize = 256;

/// Asks for contents that lost a conflict. Their ids on this stream are their places in `losers`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recover {
    /// At most [`ITEMS_MAX`](crate::transport::message::ITEMS_MAX): the path whose row names the loser, and its digest.
    pub losers: Vec<(RelPath, Digest)>,
}
