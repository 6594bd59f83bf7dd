//! Messages: one of every type for the record, and random ones.

use csync::model::entry::{Content, Digest, Kind};
use csync::model::metadata::{Attributes, Owner, Timestamp};
use csync::model::path::RelPath;
use csync::model::row::{Live, Loser, Origin, Row, Stamped, State, Tombstone};
use csync::model::version::{COUNTER_MAX, Dot, ReplicaId, VersionVector};
use csync::transport::member::{Ack, Follow, Heard, Inline, Join, Recover};
use csync::transport::message::{
    Absent, Act, Block, Carried, Change, Code, Expand, Fetch, FolderInfo, Hello, Item, List, Listed, Message,
    Names, News, Open, Opened, Outcome, Page, Part, Parts, Refuse, Right, Settled, Step, StepResult, Welcome,
    Working,
};
use fastrand::Rng;

/// Kinds of messages that [`random`] makes.
pub(crate) const KINDS: usize = 32;

/// Returns a message of the kind with this number below [`KINDS`].
pub(crate) fn random(rng: &mut Rng, kind: usize) -> Message {
    match kind {
        0 => Message::Hello(Hello { versions: (0..rng.u16(0..5)).collect(), agent: text(rng) }),
        1 => Message::Welcome(Welcome { version: rng.u16(..), agent: text(rng), node: text(rng) }),
        2 => Message::Refuse(refuse(rng)),
        3 => Message::Folders,
        4 => Message::FolderList(some(rng, 5, |rng| FolderInfo {
            name: text(rng),
            mode: text(rng),
            comment: text(rng),
            right: right(rng),
        })),
        5 => Message::Open(Open { folder: text(rng), right: right(rng) }),
        6 => Message::Working(Working { done: rng.u64(..) }),
        7 => Message::Opened(Opened {
            replica: replica(rng),
            seq: seq(rng),
            entries: rng.u64(..),
            bytes: rng.u64(..),
            root: attributes(rng),
            trusted: rng.bool(),
            owners: true,
            guard: None,
            unread: None,
        }),
        8 => Message::Settle,
        9 => Message::Settled(Settled { seq: seq(rng), alone: rng.bool() }),
        10 => Message::List(List {
            since: seq(rng),
            below: if rng.bool() { RelPath::root() } else { path(rng) },
            after: rng.bool().then(|| path(rng)),
        }),
        11 => Message::Page(page(rng)),
        12 => Message::Fetch(Fetch { items: items(rng), plain: false }),
        13 => Message::Change(change(rng)),
        14 => Message::Outcome(Outcome { results: some(rng, 20, result), more: false }),
        15 => Message::Whole(some(rng, 20, |rng| rng.u32(..))),
        16 => Message::Outline(rng.u32(..)),
        17 => Message::Groups(some(rng, 90, |rng| rng.u8(..))),
        18 => {
            let mut groups = some(rng, 20, |rng| rng.u32(..));
            groups.sort_unstable();
            groups.dedup();
            Message::Expand(Expand { id: rng.u32(..), groups })
        }
        19 => Message::Chunks(some(rng, 90, |rng| rng.u8(..))),
        20 => Message::Parts(parts(rng)),
        21 => {
            let bytes: Vec<u8> = some(rng, 90, |rng| rng.u8(..)).into_iter().chain([1]).collect();
            Message::Block(Block { length: u32::try_from(bytes.len()).unwrap(), packed: rng.bool(), bytes })
        }
        22 => Message::BlocksEnd,
        23 => Message::Absent(Absent { id: rng.u32(..), why: text(rng) }),
        24 => Message::End,
        // Fields that the first release did not have.
        25 => Message::Fetch(Fetch { items: items(rng), plain: true }),
        26 => Message::Change(Change { whole: true, ..change(rng) }),
        27 => Message::Join(Join {
            folder: text(rng),
            replica: replica(rng),
            heard: rng.bool().then(|| heard(rng)),
        }),
        28 => Message::Ack(Ack { seq: seq(rng) }),
        29 => Message::Follow(Follow { since: seq(rng) }),
        30 => Message::News(news(rng)),
        _ => Message::Recover(Recover { losers: some(rng, 20, |rng| (path(rng), Digest([rng.u8(..); 32]))) }),
    }
}

fn news(rng: &mut Rng) -> News {
    let page = page(rng);
    let rows = 0..u32::try_from(page.rows.len()).unwrap();
    let contents = rows.filter(|row| row % 3 == 0).map(|row| {
        let bytes = some(rng, 90, |rng| rng.u8(..));
        Inline { row, bytes }
    });
    let contents = contents.collect();
    let last = |(row, listed): (u8, &Listed)| Dot { replica: ReplicaId([row; 16]), counter: listed.seq };
    let approved = (0..5).zip(&page.rows).map(last).collect();
    News { page, contents, nonce: rng.bool().then(|| [rng.u8(..); 16]), approved }
}

fn heard(rng: &mut Rng) -> Heard {
    Heard { replica: replica(rng), seq: seq(rng), nonce: rng.bool().then(|| [rng.u8(..); 16]) }
}

fn some<T>(rng: &mut Rng, most: usize, mut one: impl FnMut(&mut Rng) -> T) -> Vec<T> {
    (0..rng.usize(0..=most)).map(|_| one(rng)).collect()
}

fn text(rng: &mut Rng) -> String {
    (0..rng.usize(0..20)).map(|_| rng.char(..)).collect()
}

fn right(rng: &mut Rng) -> Right {
    [Right::Read, Right::Append, Right::Write][rng.usize(0..3)]
}

fn refuse(rng: &mut Rng) -> Refuse {
    Refuse { code: Code::ALL[rng.usize(0..Code::ALL.len())], text: text(rng) }
}

fn seq(rng: &mut Rng) -> u64 {
    if rng.bool() { rng.u64(0..1000) } else { rng.u64(0..=COUNTER_MAX) }
}

fn replica(rng: &mut Rng) -> ReplicaId {
    // Few of them, as in life.
    ReplicaId([rng.u8(0..5); 16])
}

fn dot(rng: &mut Rng) -> Dot {
    Dot { replica: replica(rng), counter: seq(rng).max(1) }
}

fn vector(rng: &mut Rng) -> VersionVector {
    some(rng, 4, dot).into_iter().collect()
}

fn path(rng: &mut Rng) -> RelPath {
    let names: Vec<Vec<u8>> = (0..rng.usize(1..5))
        .map(|_| (0..rng.usize(1..4)).map(|_| [b'a', b'.', b'b', 0xff][rng.usize(0..4)]).collect::<Vec<u8>>())
        .map(|name| if name.iter().all(|byte| *byte == b'.') { b"c".to_vec() } else { name })
        .collect();
    RelPath::new(&names.join(&b'/')).unwrap()
}

fn timestamp(rng: &mut Rng) -> Timestamp {
    let secs = if rng.bool() { rng.i64(0..4_000_000_000) } else { rng.i64(-(1 << 56)..=1 << 56) };
    Timestamp { secs, nanos: rng.u32(0..1_000_000_000) }
}

fn owner(rng: &mut Rng) -> Owner {
    Owner { uid: rng.u32(..), gid: rng.u32(0..5) }
}

fn attributes(rng: &mut Rng) -> Attributes {
    Attributes { mode: rng.u32(0..=0o7777), owner: owner(rng), mtime: timestamp(rng) }
}

fn content(rng: &mut Rng) -> Content {
    match rng.u8(0..8) {
        0 => Content::Dir,
        1 => Content::Symlink(some(rng, 9, |rng| rng.u8(1..)).into_iter().chain([b'x']).collect()),
        2 => Content::Fifo,
        3 => Content::Socket,
        4 => Content::Device { kind: Kind::CharDevice, rdev: rng.u64(..) },
        5 => Content::Device { kind: Kind::BlockDevice, rdev: rng.u64(..) },
        _ => Content::File { digest: Digest::of(&[rng.u8(..)]), size: rng.u64(0..=i64::MAX.unsigned_abs()) },
    }
}

pub(crate) fn row(rng: &mut Rng) -> Row {
    let first = dot(rng);
    let state = if rng.u8(0..4) == 0 {
        State::Deleted(Tombstone {
            dot: first,
            deleted_at: timestamp(rng),
            content: content(rng),
            attributes: attributes(rng),
            moved_to: rng.bool().then(|| path(rng)),
        })
    } else {
        let mut live = Live::new(content(rng), attributes(rng), first, timestamp(rng));
        if rng.bool() {
            live.mode = Stamped { value: live.mode.value, dot: dot(rng) };
            live.moved_from = Some(Origin { path: path(rng), vector: vector(rng) });
        }
        State::Live(live)
    };
    let mut losers = some(rng, 2, |rng| Loser {
        dot: dot(rng),
        content: content(rng),
        attributes: attributes(rng),
        path: rng.bool().then(|| path(rng)),
    });
    losers.sort();
    losers.dedup_by_key(|loser| loser.dot);
    Row { vector: if rng.bool() { VersionVector::of(first) } else { vector(rng) }, state, losers }
}

fn names(rng: &mut Rng) -> Names {
    let name =
        |rng: &mut Rng| (rng.u32(..), some(rng, 5, |rng| rng.u8(1..)).into_iter().chain([b'x']).collect());
    Names { users: some(rng, 3, name), groups: some(rng, 3, name) }
}

fn page(rng: &mut Rng) -> Page {
    let mut rows = some(rng, 50, |rng| Listed { path: path(rng), seq: seq(rng), row: row(rng) });
    rows.sort_by(|a, b| a.path.cmp(&b.path));
    rows.dedup_by(|a, b| a.path == b.path);
    Page { rows, names: names(rng), complete: rng.bool().then(|| seq(rng)) }
}

fn step(rng: &mut Rng) -> Step {
    let which = Carried { mode: rng.bool(), user: rng.bool(), group: rng.bool(), mtime: rng.bool() };
    let act = match rng.u8(0..3) {
        0 => Act::Make {
            content: content(rng),
            attributes: attributes(rng),
            which,
            from: rng.bool().then(|| path(rng)),
        },
        1 => Act::Dress { attributes: attributes(rng), which },
        _ => Act::Remove { moved_to: rng.bool().then(|| path(rng)) },
    };
    Step { path: path(rng), expect: seq(rng), act }
}

fn change(rng: &mut Rng) -> Change {
    Change {
        number: rng.u64(..),
        steps: some(rng, 20, step),
        names: names(rng),
        deletes: rng.u64(..),
        approved: rng.bool(),
        whole: false,
    }
}

fn items(rng: &mut Rng) -> Vec<Item> {
    some(rng, 20, |rng| Item { path: path(rng), seq: seq(rng) })
}

fn result(rng: &mut Rng) -> StepResult {
    match rng.u8(0..4) {
        0 => StepResult::Done { seq: seq(rng), row: row(rng) },
        1 => StepResult::Changed { now: None },
        2 => StepResult::Changed { now: Some((seq(rng), row(rng))) },
        _ => StepResult::Refused(refuse(rng)),
    }
}

fn parts(rng: &mut Rng) -> Parts {
    let mut offset = 0;
    let parts = some(rng, 10, |rng| {
        offset += rng.u64(0..1 << 40);
        let length = rng.u64(1..1 << 40);
        let part = Part { offset, length, signature: some(rng, 30, |rng| rng.u8(..)) };
        offset += length;
        part
    });
    Parts { id: rng.u32(..), parts }
}
