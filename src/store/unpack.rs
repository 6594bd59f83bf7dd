//! Rows out of their compact form. No length and no number is believed before it is checked.

use crate::model::entry::{Content, Digest, Kind};
use crate::model::metadata::{Attributes, Owner, Stat, Timestamp};
use crate::model::path::{PATH_BYTES_MAX, RelPath};
use crate::model::row::{Live, Loser, Origin, Record, Row, Seen, Stamped, State, Tombstone};
use crate::model::version::{Dot, SLOTS_MAX, VersionVector};
use crate::store::pack::{
    DELETED, KINDS, LINKS, LOSERS, MODE_DOT, MOVED, MTIME_DOT, OTHER_ATTRIBUTES, OTHER_CONTENT, OTHER_CTIME,
    OWNER_DOT, PACKED_MAX, PackError, RDEV, RECORD_FLAGS, RESIDUE, ROW_FLAGS, SEEN, kind_tag, replicated,
};
use crate::store::slots::Slots;

/// Returns the row whose packed form is `bytes`.
///
/// # Errors
/// The bytes are not what [`pack_row`](crate::store::pack::pack_row) gives.
pub fn unpack_row(bytes: &[u8], slots: &Slots) -> Result<Row, PackError> {
    let mut unpacker = Unpacker::new(bytes, slots)?;
    let row = unpacker.row()?;
    unpacker.end()?;
    Ok(row)
}

/// Returns the record of sequence `seq` whose packed form is `bytes`.
///
/// # Errors
/// The bytes are not what [`pack_record`](crate::store::pack::pack_record) gives.
pub fn unpack_record(bytes: &[u8], seq: u64, slots: &Slots) -> Result<Record, PackError> {
    let mut unpacker = Unpacker::new(bytes, slots)?;
    let row = unpacker.row()?;
    let (seen, residue) = unpacker.local(&row)?;
    unpacker.end()?;
    Ok(Record { row, seq, seen, residue })
}

/// Reads values that stand behind each other.
pub struct Unpacker<'b> {
    rest: &'b [u8],
    slots: &'b Slots,
}

impl<'b> Unpacker<'b> {
    /// Returns a reader of `bytes`.
    ///
    /// # Errors
    /// There are more than [`PACKED_MAX`] bytes.
    pub fn new(bytes: &'b [u8], slots: &'b Slots) -> Result<Self, PackError> {
        if bytes.len() > PACKED_MAX { Err(PackError::TooLarge) } else { Ok(Self { rest: bytes, slots }) }
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// There are more bytes.
    pub fn end(&self) -> Result<(), PackError> {
        if self.rest.is_empty() { Ok(()) } else { Err(PackError::Long) }
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// There is none.
    pub fn byte(&mut self) -> Result<u8, PackError> {
        let (first, rest) = self.rest.split_first().ok_or(PackError::Short)?;
        self.rest = rest;
        Ok(*first)
    }

    /// Reads a byte that is 0 or 1.
    ///
    /// # Errors
    /// It is something else, or missing.
    pub fn flag(&mut self) -> Result<bool, PackError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(PackError::Tag),
        }
    }

    /// Reads a number.
    ///
    /// # Errors
    /// It ends early, is longer than needed or has more than 64 bits.
    pub fn number(&mut self) -> Result<u64, PackError> {
        let mut number = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(PackError::Range);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 { Err(PackError::Range) } else { Ok(number) };
            }
        }
        Err(PackError::Range)
    }

    fn small(&mut self) -> Result<u32, PackError> {
        u32::try_from(self.number()?).or(Err(PackError::Range))
    }

    fn signed(&mut self) -> Result<i64, PackError> {
        let number = self.number()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn take(&mut self, count: usize) -> Result<&'b [u8], PackError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(PackError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Reads bytes behind their length, at most `most`.
    ///
    /// # Errors
    /// There are more, or fewer than announced.
    pub fn bytes(&mut self, most: usize) -> Result<&'b [u8], PackError> {
        let count = usize::try_from(self.number()?).or(Err(PackError::Range))?;
        if count > most { Err(PackError::Range) } else { self.take(count) }
    }

    /// Reads text behind its length in bytes, at most `most`.
    ///
    /// # Errors
    /// It is longer, or not UTF-8.
    pub fn text(&mut self, most: usize) -> Result<String, PackError> {
        String::from_utf8(self.bytes(most)?.to_vec()).or(Err(PackError::Text))
    }

    /// Reads a path.
    ///
    /// # Errors
    /// It is no valid path.
    pub fn path(&mut self) -> Result<RelPath, PackError> {
        Ok(RelPath::new(self.bytes(PATH_BYTES_MAX)?)?)
    }

    /// Reads a moment.
    ///
    /// # Errors
    /// The nanoseconds reach a second.
    pub fn time(&mut self) -> Result<Timestamp, PackError> {
        self.time_near(Timestamp::default())
    }

    fn time_near(&mut self, base: Timestamp) -> Result<Timestamp, PackError> {
        let secs = base.secs.wrapping_add(self.signed()?);
        let nanos = u32::from_le_bytes(self.array()?);
        if nanos >= 1_000_000_000 { Err(PackError::Range) } else { Ok(Timestamp { secs, nanos }) }
    }

    /// Reads a dot.
    ///
    /// # Errors
    /// Its slot has no replica.
    pub fn dot(&mut self) -> Result<Dot, PackError> {
        let replica = self.slots.replica(self.number()?).ok_or(PackError::Slot)?;
        Ok(Dot { replica, counter: self.number()? })
    }

    /// Reads mode, owner and modification time.
    ///
    /// # Errors
    /// A number is out of range.
    pub fn attributes(&mut self) -> Result<Attributes, PackError> {
        let mode = self.small()?;
        let owner = Owner { uid: self.small()?, gid: self.small()? };
        Ok(Attributes { mode, owner, mtime: self.time()? })
    }

    /// Reads a content.
    ///
    /// # Errors
    /// Its kind is unknown or a number is out of range.
    pub fn content(&mut self) -> Result<Content, PackError> {
        Ok(match self.kind()? {
            Kind::Dir => Content::Dir,
            Kind::File => Content::File { digest: Digest(self.array()?), size: self.number()? },
            Kind::Symlink => Content::Symlink(self.bytes(PATH_BYTES_MAX)?.into()),
            Kind::Fifo => Content::Fifo,
            Kind::Socket => Content::Socket,
            kind @ (Kind::CharDevice | Kind::BlockDevice) => Content::Device { kind, rdev: self.number()? },
        })
    }

    /// Reads a kind.
    ///
    /// # Errors
    /// It is unknown.
    pub fn kind(&mut self) -> Result<Kind, PackError> {
        let tag = self.byte()?;
        KINDS.into_iter().find(|kind| kind_tag(*kind) == tag).ok_or(PackError::Tag)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PackError> {
        self.take(N)?.try_into().or(Err(PackError::Short))
    }

    /// Reads a loser of a conflict.
    ///
    /// # Errors
    /// A part of it is not valid.
    pub fn loser(&mut self) -> Result<Loser, PackError> {
        Ok(Loser {
            dot: self.dot()?,
            content: self.content()?,
            attributes: self.attributes()?,
            path: if self.flag()? { Some(self.path()?) } else { None },
        })
    }

    fn vector(&mut self) -> Result<VersionVector, PackError> {
        let count = usize::try_from(self.number()?).or(Err(PackError::Range))?;
        if count > SLOTS_MAX {
            return Err(PackError::Range);
        }
        let mut vector = VersionVector::new();
        for _ in 0..count {
            let dot = self.dot()?;
            if dot.counter == 0 || vector.get(dot.replica) != 0 {
                return Err(PackError::Vector);
            }
            vector.raise(dot);
        }
        Ok(vector)
    }

    fn dot_within(&mut self, vector: &VersionVector) -> Result<Dot, PackError> {
        let number = self.number()?;
        let replica = self.slots.replica(number >> 1).ok_or(PackError::Slot)?;
        let counter = if number & 1 == 0 { vector.get(replica) } else { self.number()? };
        Ok(Dot { replica, counter })
    }

    fn row(&mut self) -> Result<Row, PackError> {
        let flags = self.byte()?;
        if flags & !ROW_FLAGS != 0
            || (flags & DELETED != 0 && flags & (MODE_DOT | OWNER_DOT | MTIME_DOT) != 0)
        {
            return Err(PackError::Tag);
        }
        let vector = self.vector()?;
        let content = self.content()?;
        let attributes = self.attributes()?;
        let dot = self.dot_within(&vector)?;
        let state = if flags & DELETED == 0 {
            State::Live(self.live(flags, &vector, content, attributes, dot)?)
        } else {
            let deleted_at = self.time()?;
            let moved_to = if flags & MOVED == 0 { None } else { Some(self.path()?) };
            State::Deleted(Tombstone { dot, deleted_at, content, attributes, moved_to })
        };
        let losers = if flags & LOSERS == 0 { Vec::new() } else { self.losers()? };
        Ok(Row { vector, state, losers })
    }

    fn live(
        &mut self,
        flags: u8,
        vector: &VersionVector,
        content: Content,
        attributes: Attributes,
        dot: Dot,
    ) -> Result<Live, PackError> {
        let mut own = |flag: u8| {
            if flags & flag == 0 { Ok(dot) } else { self.dot_within(vector) }
        };
        let (mode, owner, mtime) = (own(MODE_DOT)?, own(OWNER_DOT)?, own(MTIME_DOT)?);
        let recorded = self.time()?;
        let moved_from = if flags & MOVED == 0 {
            None
        } else {
            Some(Origin { path: self.path()?, vector: self.vector()? })
        };
        Ok(Live {
            content: Stamped { value: content, dot },
            recorded,
            mode: Stamped { value: attributes.mode, dot: mode },
            owner: Stamped { value: attributes.owner, dot: owner },
            mtime: Stamped { value: attributes.mtime, dot: mtime },
            moved_from,
        })
    }

    fn losers(&mut self) -> Result<Vec<Loser>, PackError> {
        let count = self.number()?;
        if count == 0 {
            return Err(PackError::Range);
        }
        let mut losers: Vec<Loser> = Vec::new();
        for _ in 0..count {
            losers.push(self.loser()?);
        }
        Ok(losers)
    }

    fn local(&mut self, row: &Row) -> Result<(Option<Seen>, bool), PackError> {
        let flags = self.byte()?;
        if flags & !RECORD_FLAGS != 0 || (flags & SEEN == 0 && flags & !RESIDUE != 0) {
            return Err(PackError::Tag);
        }
        let residue = flags & RESIDUE != 0;
        if flags & SEEN == 0 {
            return Ok((None, residue));
        }
        let (content, attributes, moment) = replicated(row);
        let at = self.time_near(moment)?;
        let (ino, dev) = (self.number()?, self.number()?);
        let attributes = if flags & OTHER_ATTRIBUTES == 0 { attributes } else { self.attributes()? };
        let ctime = if flags & OTHER_CTIME == 0 { attributes.mtime } else { self.time_near(at)? };
        let (kind, size) = match flags & OTHER_CONTENT {
            0 => (content.kind(), content.size()),
            _ => (self.kind()?, self.number()?),
        };
        let rdev = if flags & RDEV == 0 { 0 } else { self.number()? };
        let links = if flags & LINKS == 0 { 1 } else { self.number()? };
        Ok((Some(Seen { stat: Stat { kind, attributes, size, ctime, ino, dev, links, rdev }, at }), residue))
    }
}
