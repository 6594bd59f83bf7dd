//! The compact form of rows: what the index stores in one column.
//!
//! Integers are little-endian base 128 of at most ten bytes, signed ones zigzag, nanoseconds four bytes; replica ids
//! are slot numbers. What
//! usually repeats (the dots of one creation, the stat that says what the row says) is one bit of a flag byte.
//! The layout is in `docs/STORE.md`.

use crate::model::entry::{Content, Kind};
use crate::model::metadata::{Attributes, Timestamp};
use crate::model::path::PathError;
use crate::model::row::{Loser, Record, Row, Seen, State};
use crate::model::version::{Dot, VersionVector};
use crate::store::slots::Slots;

/// Longest packed record, in bytes.
pub const PACKED_MAX: usize = 1 << 20;

pub(crate) const DELETED: u8 = 1;
pub(crate) const LOSERS: u8 = 1 << 1;
pub(crate) const MOVED: u8 = 1 << 2;
pub(crate) const MODE_DOT: u8 = 1 << 3;
pub(crate) const OWNER_DOT: u8 = 1 << 4;
pub(crate) const MTIME_DOT: u8 = 1 << 5;
pub(crate) const ROW_FLAGS: u8 = (1 << 6) - 1;

pub(crate) const SEEN: u8 = 1;
pub(crate) const RESIDUE: u8 = 1 << 1;
pub(crate) const OTHER_ATTRIBUTES: u8 = 1 << 2;
pub(crate) const OTHER_CONTENT: u8 = 1 << 3;
pub(crate) const RDEV: u8 = 1 << 4;
pub(crate) const LINKS: u8 = 1 << 5;
pub(crate) const OTHER_CTIME: u8 = 1 << 6;
pub(crate) const RECORD_FLAGS: u8 = (1 << 7) - 1;

/// Why some bytes are no packed value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// The bytes end inside a value.
    #[error("it ends inside a value")]
    Short,
    /// There are bytes behind the last value.
    #[error("there are bytes behind its end")]
    Long,
    /// The whole is longer than [`PACKED_MAX`].
    #[error("it is longer than {PACKED_MAX} bytes")]
    TooLarge,
    /// A number is out of its range.
    #[error("a number is out of range")]
    Range,
    /// A flag, tag or kind has no meaning.
    #[error("an unknown tag")]
    Tag,
    /// A slot number that no replica has.
    #[error("a slot number that no replica has")]
    Slot,
    /// A vector names a slot twice, or with counter 0.
    #[error("a vector names a slot twice or in vain")]
    Vector,
    /// Text is not UTF-8.
    #[error("text inside it is not UTF-8")]
    Text,
    /// A path is not valid.
    #[error("a path inside it is not valid: {0}")]
    Path(#[from] PathError),
}

/// Returns the packed form of `row`; new replicas get numbers in `slots`.
pub fn pack_row(row: &Row, slots: &mut Slots) -> Vec<u8> {
    let mut packer = Packer { out: Vec::with_capacity(160), slots };
    packer.row(row);
    packer.out
}

/// Returns the packed form of `record` without its sequence, which has a column of its own.
pub fn pack_record(record: &Record, slots: &mut Slots) -> Vec<u8> {
    let mut packer = Packer { out: Vec::with_capacity(160), slots };
    packer.row(&record.row);
    packer.local(record);
    packer.out
}

/// Returns what the row says of content and attributes, and its moment: what a stat is compared with.
pub(crate) fn replicated(row: &Row) -> (&Content, Attributes, Timestamp) {
    match &row.state {
        State::Live(live) => (&live.content.value, live.attributes(), live.recorded),
        State::Deleted(tombstone) => (&tombstone.content, tombstone.attributes, tombstone.deleted_at),
    }
}

/// Writes values behind each other.
pub struct Packer<'s> {
    /// What was written so far.
    pub out: Vec<u8>,
    slots: &'s mut Slots,
}

impl<'s> Packer<'s> {
    /// Returns a packer that has written nothing.
    pub fn new(slots: &'s mut Slots) -> Self {
        Self { out: Vec::new(), slots }
    }

    /// Writes one byte.
    pub fn byte(&mut self, byte: u8) {
        self.out.push(byte);
    }

    /// Writes a number.
    pub fn number(&mut self, mut number: u64) {
        loop {
            let low = number.to_le_bytes()[0] & 0x7f;
            number >>= 7;
            if number == 0 {
                return self.out.push(low);
            }
            self.out.push(low | 0x80);
        }
    }

    /// Writes a number that may be negative.
    fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)).cast_unsigned());
    }

    /// Writes bytes behind their length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    /// Writes a moment.
    pub fn time(&mut self, time: Timestamp) {
        self.time_near(time, Timestamp::default());
    }

    /// Writes a moment that is probably near `base`.
    fn time_near(&mut self, time: Timestamp, base: Timestamp) {
        self.signed(time.secs.wrapping_sub(base.secs));
        self.out.extend_from_slice(&time.nanos.to_le_bytes());
    }

    /// Writes a dot.
    pub fn dot(&mut self, dot: Dot) {
        let number = self.slots.number(dot.replica);
        self.number(number as u64);
        self.number(dot.counter);
    }

    /// Writes mode, owner and modification time.
    pub fn attributes(&mut self, attributes: Attributes) {
        self.number(attributes.mode.into());
        self.number(attributes.owner.uid.into());
        self.number(attributes.owner.gid.into());
        self.time(attributes.mtime);
    }

    /// Writes a kind.
    pub fn kind(&mut self, kind: Kind) {
        self.byte(kind_tag(kind));
    }

    /// Writes a content.
    pub fn content(&mut self, content: &Content) {
        self.kind(content.kind());
        match content {
            Content::Dir | Content::Fifo | Content::Socket => {}
            Content::File { digest, size } => {
                self.out.extend_from_slice(&digest.0);
                self.number(*size);
            }
            Content::Symlink(target) => self.bytes(target),
            Content::Device { rdev, .. } => self.number(*rdev),
        }
    }

    /// Writes a loser of a conflict.
    pub fn loser(&mut self, loser: &Loser) {
        self.dot(loser.dot);
        self.content(&loser.content);
        self.attributes(loser.attributes);
        self.byte(loser.path.is_some().into());
        if let Some(path) = &loser.path {
            self.bytes(path.as_bytes());
        }
    }

    fn vector(&mut self, vector: &VersionVector) {
        self.number(vector.slots().len() as u64);
        vector.slots().for_each(|dot| self.dot(dot));
    }

    /// Writes a dot that is probably the newest of its slot in `vector`: then the slot alone.
    fn dot_within(&mut self, dot: Dot, vector: &VersionVector) {
        let older = vector.get(dot.replica) != dot.counter;
        let number = self.slots.number(dot.replica) as u64;
        self.number(number << 1 | u64::from(older));
        if older {
            self.number(dot.counter);
        }
    }

    fn row(&mut self, row: &Row) {
        let losers = if row.losers.is_empty() { 0 } else { LOSERS };
        match &row.state {
            State::Live(live) => {
                let parts =
                    [(live.mode.dot, MODE_DOT), (live.owner.dot, OWNER_DOT), (live.mtime.dot, MTIME_DOT)];
                let others = parts.map(|(dot, flag)| if dot == live.content.dot { 0 } else { flag });
                let moved = if live.moved_from.is_some() { MOVED } else { 0 };
                self.byte(others.iter().fold(losers | moved, |flags, flag| flags | flag));
                self.vector(&row.vector);
                self.content(&live.content.value);
                self.attributes(live.attributes());
                self.dot_within(live.content.dot, &row.vector);
                parts
                    .iter()
                    .filter(|(dot, _)| *dot != live.content.dot)
                    .for_each(|(dot, _)| self.dot_within(*dot, &row.vector));
                self.time(live.recorded);
                if let Some(origin) = &live.moved_from {
                    self.bytes(origin.path.as_bytes());
                    self.vector(&origin.vector);
                }
            }
            State::Deleted(tombstone) => {
                let moved = if tombstone.moved_to.is_some() { MOVED } else { 0 };
                self.byte(DELETED | losers | moved);
                self.vector(&row.vector);
                self.content(&tombstone.content);
                self.attributes(tombstone.attributes);
                self.dot_within(tombstone.dot, &row.vector);
                self.time(tombstone.deleted_at);
                if let Some(path) = &tombstone.moved_to {
                    self.bytes(path.as_bytes());
                }
            }
        }
        if !row.losers.is_empty() {
            self.number(row.losers.len() as u64);
            row.losers.iter().for_each(|loser| self.loser(loser));
        }
    }

    /// Writes what only this replica knows of a row, relative to what the row says.
    fn local(&mut self, record: &Record) {
        let residue = if record.residue { RESIDUE } else { 0 };
        let Some(Seen { stat, at }) = &record.seen else {
            return self.byte(residue);
        };
        let (content, attributes, moment) = replicated(&record.row);
        let same_content = content.kind() == stat.kind && content.size() == stat.size;
        let flags = [
            (attributes != stat.attributes, OTHER_ATTRIBUTES),
            (!same_content, OTHER_CONTENT),
            (stat.rdev != 0, RDEV),
            (stat.links != 1, LINKS),
            (stat.ctime != stat.attributes.mtime, OTHER_CTIME),
        ];
        self.byte(flags.iter().fold(SEEN | residue, |all, (set, flag)| if *set { all | flag } else { all }));
        self.time_near(*at, moment);
        self.number(stat.ino);
        self.number(stat.dev);
        if attributes != stat.attributes {
            self.attributes(stat.attributes);
        }
        if stat.ctime != stat.attributes.mtime {
            self.time_near(stat.ctime, *at);
        }
        if !same_content {
            self.kind(stat.kind);
            self.number(stat.size);
        }
        if stat.rdev != 0 {
            self.number(stat.rdev);
        }
        if stat.links != 1 {
            self.number(stat.links);
        }
    }
}

/// All kinds.
pub(crate) const KINDS: [Kind; 7] =
    [Kind::File, Kind::Dir, Kind::Symlink, Kind::Fifo, Kind::Socket, Kind::CharDevice, Kind::BlockDevice];

/// Returns the byte for a kind.
pub(crate) fn kind_tag(kind: Kind) -> u8 {
    match kind {
        Kind::File => b'f',
        Kind::Dir => b'd',
        Kind::Symlink => b'l',
        Kind::Fifo => b'p',
        Kind::Socket => b's',
        Kind::CharDevice => b'c',
        Kind::BlockDevice => b'b',
    }
}

#[cfg(test)]
mod tests;
