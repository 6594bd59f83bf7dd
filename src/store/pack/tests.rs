use super::*;
use crate::model::entry::Digest;
use crate::model::metadata::{Owner, Stat};
use crate::model::path::RelPath;
use crate::model::row::{Live, Origin, Tombstone};
use crate::model::version::{COUNTER_MAX, ReplicaId, SLOTS_MAX};
use crate::store::sample::live;
use crate::store::unpack::{unpack_record, unpack_row};

/// Values as wild as their types allow.
struct Dice(fastrand::Rng);

impl Dice {
    fn number(&mut self) -> u64 {
        self.0.u64(..) >> self.0.u32(..64)
    }

    fn bytes(&mut self, least: usize, most: usize) -> Vec<u8> {
        let count = self.0.usize(least..=most);
        std::iter::repeat_with(|| self.0.u8(b'0'..)).take(count).collect()
    }

    fn time(&mut self) -> Timestamp {
        let secs = *self.0.choice(&[0, -1, i64::MIN, i64::MAX, 1_750_000_000]).unwrap();
        Timestamp::new(secs ^ self.0.i64(0..1000), self.0.u32(0..1_000_000_000))
    }

    fn dot(&mut self) -> Dot {
        Dot { replica: ReplicaId([self.0.u8(..9); 16]), counter: self.number().clamp(1, COUNTER_MAX) }
    }

    fn vector(&mut self) -> VersionVector {
        (0..self.0.usize(0..6)).map(|_| self.dot()).collect()
    }

    fn path(&mut self) -> RelPath {
        let names: Vec<_> = (0..self.0.usize(1..4)).map(|_| self.bytes(1, 9)).collect();
        RelPath::new(&names.join(&b'/')).unwrap()
    }

    fn attributes(&mut self) -> Attributes {
        let owner = Owner { uid: self.0.u32(..), gid: self.0.u32(..) };
        Attributes { mode: self.0.u32(..), owner, mtime: self.time() }
    }

    fn content(&mut self) -> Content {
        match self.0.u8(..7) {
            0 => Content::Dir,
            1 => Content::Fifo,
            2 => Content::Socket,
            3 => Content::Symlink(self.bytes(0, 40).into()),
            4 => Content::Device { kind: Kind::BlockDevice, rdev: self.number() },
            5 => Content::Device { kind: Kind::CharDevice, rdev: self.number() },
            _ => Content::File { digest: Digest::of(&self.bytes(0, 4)), size: self.number() },
        }
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.0.bool() { Some(make(self)) } else { None }
    }

    fn live(&mut self) -> Live {
        let mut live = Live::new(self.content(), self.attributes(), self.dot(), self.time());
        live.mode.dot = self.maybe(Self::dot).unwrap_or(live.mode.dot);
        live.owner.dot = self.maybe(Self::dot).unwrap_or(live.owner.dot);
        live.mtime.dot = self.maybe(Self::dot).unwrap_or(live.mtime.dot);
        live.moved_from = self.maybe(|dice| Origin { path: dice.path(), vector: dice.vector() });
        live
    }

    fn tombstone(&mut self) -> Tombstone {
        Tombstone {
            dot: self.dot(),
            deleted_at: self.time(),
            content: self.content(),
            attributes: self.attributes(),
            moved_to: self.maybe(Self::path),
        }
    }

    fn loser(&mut self) -> Loser {
        let (dot, content) = (self.dot(), self.content());
        Loser { dot, content, attributes: self.attributes(), path: self.maybe(Self::path) }
    }

    fn record(&mut self) -> Record {
        let state = if self.0.bool() { State::Live(self.live()) } else { State::Deleted(self.tombstone()) };
        let losers = (0..self.0.usize(0..12).saturating_sub(8)).map(|_| self.loser()).collect();
        let row = Row { vector: self.vector(), state, losers };
        let seen = self.maybe(|dice| {
            let (content, attributes, _) = replicated(&row);
            let kind = dice.maybe(Self::content).map_or(content.kind(), |other| other.kind());
            let stat = Stat {
                kind,
                attributes: dice.maybe(Self::attributes).unwrap_or(attributes),
                size: dice.maybe(Self::number).unwrap_or(content.size()),
                ctime: dice.time(),
                ino: dice.number(),
                dev: dice.number(),
                links: dice.maybe(Self::number).unwrap_or(1),
                rdev: dice.maybe(Self::number).unwrap_or(0),
            };
            Seen { stat, at: dice.time() }
        });
        Record { row, seq: self.number(), seen, residue: self.0.bool() }
    }
}

#[test]
fn every_row_comes_back_as_it_was() {
    let mut dice = Dice(fastrand::Rng::with_seed(1));
    let mut slots = Slots::default();
    for case in 0..20_000 {
        let record = dice.record();
        let packed = pack_record(&record, &mut slots);
        assert_eq!(unpack_record(&packed, record.seq, &slots), Ok(record.clone()), "case {case}");
        let packed = pack_row(&record.row, &mut slots);
        assert_eq!(unpack_row(&packed, &slots), Ok(record.row), "case {case}");
    }
}

#[test]
fn damaged_rows_are_refused_or_read_as_what_they_say() {
    let mut dice = Dice(fastrand::Rng::with_seed(2));
    let mut slots = Slots::default();
    for case in 0..20_000 {
        let mut packed = pack_record(&dice.record(), &mut slots);
        let whole = packed.clone();
        let at = dice.0.usize(..packed.len());
        match case % 3 {
            0 => packed[at] ^= 1 << dice.0.u32(..8),
            1 => packed.truncate(at),
            _ => packed = dice.bytes(0, 200),
        }
        // One form per row: what is read at all packs to the very bytes that were read, up to the order of slots.
        if let Ok(record) = unpack_record(&packed, 1, &slots) {
            assert_ne!(packed, whole, "case {case}");
            let again = pack_record(&record, &mut slots);
            assert_eq!(unpack_record(&again, 1, &slots), Ok(record), "case {case}");
        }
    }
}

#[test]
fn what_no_packer_writes_is_refused() {
    let mut slots = Slots::default();
    let good = pack_row(&live(1, 1).row, &mut slots);
    let vector_of = |count: u64, body: &[u8]| {
        let mut other = Slots::default();
        let mut packer = Packer::new(&mut other);
        packer.byte(0);
        packer.number(count);
        [&packer.out[..], body].concat()
    };
    for (case, bytes, why) in [
        ("nothing", Vec::new(), PackError::Short),
        ("a byte too many", [&good[..], &[0]].concat(), PackError::Long),
        ("a byte too few", good[..good.len() - 1].to_vec(), PackError::Short),
        ("an unknown flag", [&[0x80], &good[1..]].concat(), PackError::Tag),
        ("a tombstone with dots of its own", [&[DELETED | MODE_DOT], &good[1..]].concat(), PackError::Tag),
        ("too many slots", vector_of(SLOTS_MAX as u64 + 1, &[]), PackError::Range),
        ("a number of 65 bits", [&[0], &[0xff; 9][..], &[2]].concat(), PackError::Range),
        ("a number longer than needed", vec![0, 0x80, 0], PackError::Range),
        ("an unknown slot", vector_of(1, &[99, 1]), PackError::Slot),
        ("a slot twice", vector_of(2, &[0, 1, 0, 2]), PackError::Vector),
        ("a slot in vain", vector_of(1, &[0, 0]), PackError::Vector),
        ("an unknown kind", vector_of(0, b"x"), PackError::Tag),
        ("too large", vec![0; PACKED_MAX + 1], PackError::TooLarge),
    ] {
        assert_eq!(unpack_row(&bytes, &slots), Err(why), "case {case}");
    }
}
