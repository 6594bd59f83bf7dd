//! The compact form of rows: what the index stores in one column.
//!
//! Integers are little-endian base 128 of at most ten bytes, signed ones zigzag; replica ids are slot numbers. What
//! usually repeats (the dots of one creation, the stat that says what the row says) is one bit of a flag byte.
//! The layout is in `docs/STORE.md`. A decoder believes no length and no number before it has checked it.

use crate::model::entry::{Content, Digest, Kind};
use crate::model::metadata::{Attributes, Owner, Stat, Timestamp};
use crate::model::path::{PATH_BYTES_MAX, PathError, RelPath};
use crate::model::row::{Live, Loser, Origin, Record, Row, Seen, Stamped, State, Tombstone};
use crate::model::version::{Dot, SLOTS_MAX, VersionVector};
use crate::store::slots::Slots;

/// Longest packed record, in bytes.
pub const PACKED_MAX: usize = 1 << 20;

const DELETED: u8 = 1;
const LOSERS: u8 = 1 << 1;
const MOVED: u8 = 1 << 2;
const MODE_DOT: u8 = 1 << 3;
const OWNER_DOT: u8 = 1 << 4;
const MTIME_DOT: u8 = 1 << 5;
const ROW_FLAGS: u8 = (1 << 6) - 1;

const SEEN: u8 = 1;
const RESIDUE: u8 = 1 << 1;
const OTHER_ATTRIBUTES: u8 = 1 << 2;
const OTHER_CONTENT: u8 = 1 << 3;
const RDEV: u8 = 1 << 4;
const LINKS: u8 = 1 << 5;
const RECORD_FLAGS: u8 = (1 << 6) - 1;

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
    /// A path is not valid.
    #[error("a path inside it is not valid: {0}")]
    Path(#[from] PathError),
}

/// Returns the packed form of `row`; new replicas get numbers in `slots`.
pub fn pack_row(row: &Row, slots: &mut Slots) -> Vec<u8> {
    let mut packer = Packer {
        out: Vec::with_capacity(160),
        slots,
    };
    packer.row(row);
    packer.out
}

/// Returns the row whose packed form is `bytes`.
///
/// # Errors
/// The bytes are not what [`pack_row`] gives.
pub fn unpack_row(bytes: &[u8], slots: &Slots) -> Result<Row, PackError> {
    let mut unpacker = Unpacker::new(bytes, slots)?;
    let row = unpacker.row()?;
    unpacker.end()?;
    Ok(row)
}

/// Returns the packed form of `record` without its sequence, which has a column of its own.
pub fn pack_record(record: &Record, slots: &mut Slots) -> Vec<u8> {
    let mut packer = Packer {
        out: Vec::with_capacity(160),
        slots,
    };
    packer.row(&record.row);
    packer.local(record);
    packer.out
}

/// Returns the record of sequence `seq` whose packed form is `bytes`.
///
/// # Errors
/// The bytes are not what [`pack_record`] gives.
pub fn unpack_record(bytes: &[u8], seq: u64, slots: &Slots) -> Result<Record, PackError> {
    let mut unpacker = Unpacker::new(bytes, slots)?;
    let row = unpacker.row()?;
    let (seen, residue) = unpacker.local(&row)?;
    unpacker.end()?;
    Ok(Record {
        row,
        seq,
        seen,
        residue,
    })
}

/// Returns what the row says of content and attributes, and its moment: what a stat is compared with.
fn replicated(row: &Row) -> (&Content, Attributes, Timestamp) {
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
        Self {
            out: Vec::new(),
            slots,
        }
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
        self.number(time.nanos.into());
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

    /// Writes a content.
    pub fn content(&mut self, content: &Content) {
        self.byte(kind_tag(content.kind()));
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

    fn row(&mut self, row: &Row) {
        let losers = if row.losers.is_empty() { 0 } else { LOSERS };
        match &row.state {
            State::Live(live) => {
                let parts = [
                    (live.mode.dot, MODE_DOT),
                    (live.owner.dot, OWNER_DOT),
                    (live.mtime.dot, MTIME_DOT),
                ];
                let others = parts.map(|(dot, flag)| if dot == live.content.dot { 0 } else { flag });
                let moved = if live.moved_from.is_some() { MOVED } else { 0 };
                self.byte(others.iter().fold(losers | moved, |flags, flag| flags | flag));
                self.vector(&row.vector);
                self.content(&live.content.value);
                self.attributes(live.attributes());
                self.dot(live.content.dot);
                parts
                    .iter()
                    .filter(|(dot, _)| *dot != live.content.dot)
                    .for_each(|(dot, _)| self.dot(*dot));
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
                self.dot(tombstone.dot);
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
        ];
        self.byte(flags.iter().fold(
            SEEN | residue,
            |all, (set, flag)| if *set { all | flag } else { all },
        ));
        self.time_near(*at, moment);
        self.time_near(stat.ctime, *at);
        self.number(stat.ino);
        self.number(stat.dev);
        if attributes != stat.attributes {
            self.attributes(stat.attributes);
        }
        if !same_content {
            self.byte(kind_tag(stat.kind));
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
        if bytes.len() > PACKED_MAX {
            Err(PackError::TooLarge)
        } else {
            Ok(Self { rest: bytes, slots })
        }
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// There are more bytes.
    pub fn end(&self) -> Result<(), PackError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(PackError::Long)
        }
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
                return if byte == 0 && shift > 0 {
                    Err(PackError::Range)
                } else {
                    Ok(number)
                };
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
        if count > most {
            Err(PackError::Range)
        } else {
            self.take(count)
        }
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
        let nanos = self.small()?;
        if nanos >= 1_000_000_000 {
            Err(PackError::Range)
        } else {
            Ok(Timestamp { secs, nanos })
        }
    }

    /// Reads a dot.
    ///
    /// # Errors
    /// Its slot has no replica.
    pub fn dot(&mut self) -> Result<Dot, PackError> {
        let replica = self.slots.replica(self.number()?).ok_or(PackError::Slot)?;
        Ok(Dot {
            replica,
            counter: self.number()?,
        })
    }

    /// Reads mode, owner and modification time.
    ///
    /// # Errors
    /// A number is out of range.
    pub fn attributes(&mut self) -> Result<Attributes, PackError> {
        let mode = self.small()?;
        let owner = Owner {
            uid: self.small()?,
            gid: self.small()?,
        };
        Ok(Attributes {
            mode,
            owner,
            mtime: self.time()?,
        })
    }

    /// Reads a content.
    ///
    /// # Errors
    /// Its kind is unknown or a number is out of range.
    pub fn content(&mut self) -> Result<Content, PackError> {
        Ok(match self.kind()? {
            Kind::Dir => Content::Dir,
            Kind::File => Content::File {
                digest: self.digest()?,
                size: self.number()?,
            },
            Kind::Symlink => Content::Symlink(self.bytes(PATH_BYTES_MAX)?.into()),
            Kind::Fifo => Content::Fifo,
            Kind::Socket => Content::Socket,
            kind @ (Kind::CharDevice | Kind::BlockDevice) => Content::Device {
                kind,
                rdev: self.number()?,
            },
        })
    }

    /// Reads a kind.
    ///
    /// # Errors
    /// It is unknown.
    pub fn kind(&mut self) -> Result<Kind, PackError> {
        let tag = self.byte()?;
        KINDS
            .into_iter()
            .find(|kind| kind_tag(*kind) == tag)
            .ok_or(PackError::Tag)
    }

    fn digest(&mut self) -> Result<Digest, PackError> {
        let mut digest = [0; 32];
        digest.copy_from_slice(self.take(32)?);
        Ok(Digest(digest))
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
        let dot = self.dot()?;
        let state = if flags & DELETED == 0 {
            State::Live(self.live(flags, content, attributes, dot)?)
        } else {
            let deleted_at = self.time()?;
            let moved_to = if flags & MOVED == 0 {
                None
            } else {
                Some(self.path()?)
            };
            State::Deleted(Tombstone {
                dot,
                deleted_at,
                content,
                attributes,
                moved_to,
            })
        };
        let losers = if flags & LOSERS == 0 {
            Vec::new()
        } else {
            self.losers()?
        };
        Ok(Row {
            vector,
            state,
            losers,
        })
    }

    fn live(
        &mut self,
        flags: u8,
        content: Content,
        attributes: Attributes,
        dot: Dot,
    ) -> Result<Live, PackError> {
        let mut own = |flag: u8| if flags & flag == 0 { Ok(dot) } else { self.dot() };
        let (mode, owner, mtime) = (own(MODE_DOT)?, own(OWNER_DOT)?, own(MTIME_DOT)?);
        let recorded = self.time()?;
        let moved_from = if flags & MOVED == 0 {
            None
        } else {
            Some(Origin {
                path: self.path()?,
                vector: self.vector()?,
            })
        };
        Ok(Live {
            content: Stamped { value: content, dot },
            recorded,
            mode: Stamped {
                value: attributes.mode,
                dot: mode,
            },
            owner: Stamped {
                value: attributes.owner,
                dot: owner,
            },
            mtime: Stamped {
                value: attributes.mtime,
                dot: mtime,
            },
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
        let ctime = self.time_near(at)?;
        let (ino, dev) = (self.number()?, self.number()?);
        let attributes = if flags & OTHER_ATTRIBUTES == 0 {
            attributes
        } else {
            self.attributes()?
        };
        let (kind, size) = match flags & OTHER_CONTENT {
            0 => (content.kind(), content.size()),
            _ => (self.kind()?, self.number()?),
        };
        let rdev = if flags & RDEV == 0 { 0 } else { self.number()? };
        let links = if flags & LINKS == 0 { 1 } else { self.number()? };
        Ok((
            Some(Seen {
                stat: Stat {
                    kind,
                    attributes,
                    size,
                    ctime,
                    ino,
                    dev,
                    links,
                    rdev,
                },
                at,
            }),
            residue,
        ))
    }
}

const KINDS: [Kind; 7] = [
    Kind::File,
    Kind::Dir,
    Kind::Symlink,
    Kind::Fifo,
    Kind::Socket,
    Kind::CharDevice,
    Kind::BlockDevice,
];

fn kind_tag(kind: Kind) -> u8 {
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
