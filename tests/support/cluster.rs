//! Two replicas in memory, driven by the real planner: rows, a disk, a version store, and a pass that may be cut short.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use csync::model::entry::{Content, Digest, Kind};
use csync::model::metadata::{Attributes, Owner, Stat, Timestamp};
use csync::model::path::RelPath;
use csync::model::row::{Origin, Record, Row, Seen, State};
use csync::model::version::{Causality, ReplicaId};
use csync::plan::decide::{Decider, Decision, Index, Settled, Source, Step};
use csync::plan::detect::{self, Change, Context, Known, Look};
use csync::plan::moves::{Candidate, pair};
use csync::rules::conflict::{Policy, Side};

/// What a disk holds at one path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Node {
    pub content: Content,
    pub attributes: Attributes,
    pub ino: u64,
    pub ctime: Timestamp,
}

/// One replica: index, disk, version store.
#[derive(Clone)]
pub(crate) struct Replica {
    pub side: Side,
    pub me: ReplicaId,
    pub seq: u64,
    pub rows: BTreeMap<RelPath, Record>,
    pub remote: BTreeMap<RelPath, Row>,
    pub disk: BTreeMap<RelPath, Node>,
    pub kept: BTreeSet<Content>,
    pub cursor: u64,
    pub clock: i64,
    pub inodes: u64,
}

/// How a pass may go wrong.
#[derive(Clone, Copy)]
pub(crate) struct Mishaps {
    /// Chance, in percent, that a step is left for a later round.
    pub skip: u32,
    /// Chance, in percent, that the replica stops right after a step, before it is recorded.
    pub crash: u32,
}

impl Index for Replica {
    type Error = Infallible;

    fn ours(&self, path: &RelPath) -> Result<Option<Row>, Infallible> {
        Ok(self.rows.get(path).map(|record| record.row.clone()))
    }

    fn theirs(&self, path: &RelPath) -> Result<Option<Row>, Infallible> {
        Ok(self.remote.get(path).cloned())
    }
}

impl Replica {
    pub(crate) fn new(side: Side, id: u8) -> Self {
        Self {
            side,
            me: ReplicaId([id; 16]),
            seq: 0,
            rows: BTreeMap::new(),
            remote: BTreeMap::new(),
            disk: BTreeMap::new(),
            kept: BTreeSet::new(),
            cursor: 0,
            clock: 1000,
            inodes: 0,
        }
    }

    /// The user writes `content`; directories above appear, what stood there and below it is the user's to lose.
    pub(crate) fn write(&mut self, path: &RelPath, content: Content) {
        for parent in path.ancestors() {
            if !self.disk.get(&parent).is_some_and(|node| node.content.is_dir()) {
                self.put(&parent, Content::Dir);
            }
        }
        self.remove(path);
        self.put(path, content);
    }

    fn put(&mut self, path: &RelPath, content: Content) {
        self.clock += 10;
        self.inodes += 1;
        let now = Timestamp::new(self.clock, 0);
        let attributes = Attributes { mode: 0o644, owner: Owner::default(), mtime: now };
        self.disk.insert(path.clone(), Node { content, attributes, ino: self.inodes, ctime: now });
    }

    /// The user removes a path and all below it.
    pub(crate) fn remove(&mut self, path: &RelPath) {
        self.disk.retain(|at, _| at != path && !at.is_below(path));
    }

    /// The user renames a path, with all below it, to a free place.
    pub(crate) fn rename(&mut self, from: &RelPath, to: &RelPath) {
        if to.is_below(from) || from.is_below(to) || from == to || self.disk.contains_key(to) {
            return;
        }
        for parent in to.ancestors() {
            if !self.disk.get(&parent).is_some_and(|node| node.content.is_dir()) {
                return;
            }
        }
        let moved: Vec<RelPath> =
            self.disk.keys().filter(|at| *at == from || at.is_below(from)).cloned().collect();
        for at in moved {
            let node = self.disk.remove(&at).unwrap();
            let below = at.strip(from).unwrap_or_default();
            self.disk.insert(to.append(&below).unwrap(), node);
        }
    }

    /// The user changes the mode of what stands at a path.
    pub(crate) fn chmod(&mut self, path: &RelPath, mode: u32) {
        self.clock += 10;
        if let Some(node) = self.disk.get_mut(path).filter(|node| node.content.kind() != Kind::Symlink) {
            node.attributes.mode = mode;
            node.ctime = Timestamp::new(self.clock, 0);
        }
    }

    pub(crate) fn observe(&mut self) {
        self.clock += 10;
        let context =
            Context { me: self.me, side: self.side, now: Timestamp::new(self.clock, 0), no_deletes: false };
        let paths: BTreeSet<RelPath> = self.rows.keys().chain(self.disk.keys()).cloned().collect();
        let (mut vanished, mut appeared) = (Vec::new(), Vec::new());
        for path in paths {
            let record = self.rows.get(&path).cloned();
            let pending = self.remote.get(&path).cloned();
            let known = Known { record: record.as_ref(), pending: pending.as_ref() };
            let change = match self.disk.get(&path) {
                Some(node) if detect::look(record.as_ref(), &stat(node), false) == Look::Nothing => {
                    Change::None
                }
                Some(node) => detect::present(known, &stat(node), &node.content, &context, self.seq + 1),
                None => detect::absent(known, &context, self.seq + 1),
            };
            match change {
                Change::None => {}
                Change::Forget => drop(self.rows.remove(&path)),
                Change::Adopted(mut new) => {
                    let node = self.disk.get_mut(&path).unwrap();
                    node.attributes = new.row.live().unwrap().attributes();
                    new.seen = Some(Seen { stat: stat(node), at: context.now });
                    self.seq += 1;
                    self.rows.insert(path, *new);
                }
                Change::Refresh(new) => drop(self.rows.insert(path, *new)),
                Change::Revision(new) => {
                    let old = record.as_ref().and_then(|r| Some((r.row.live()?.clone(), r.seen?)));
                    match (old, new.row.live(), new.seen) {
                        (Some((live, seen)), None, _) => {
                            vanished.push(candidate(&path, &live.content.value, &seen));
                        }
                        (None, Some(live), Some(seen)) if live.content.dot.replica == self.me => {
                            appeared.push(candidate(&path, &live.content.value, &seen));
                        }
                        _ => {}
                    }
                    self.seq += 1;
                    self.rows.insert(path, *new);
                }
            }
        }
        for found in pair(&vanished, &appeared) {
            let vector = self.rows[&found.from].row.vector.clone();
            if let State::Deleted(stone) = &mut self.rows.get_mut(&found.from).unwrap().row.state {
                stone.moved_to = Some(found.to.clone());
            }
            if let State::Live(live) = &mut self.rows.get_mut(&found.to).unwrap().row.state {
                live.moved_from = Some(Origin { path: found.from, vector });
            }
        }
    }

    /// Takes note of the peer's rows that are new since the last time.
    pub(crate) fn receive(&mut self, peer: &Self) {
        for (path, record) in peer.rows.iter().filter(|(_, record)| record.seq > self.cursor) {
            let known = self.rows.get(path).is_some_and(|ours| {
                matches!(record.row.vector.compare(&ours.row.vector), Causality::Before)
                    || record.row == ours.row
            });
            if known {
                self.remote.remove(path);
            } else {
                self.remote.insert(path.clone(), record.row.clone());
            }
        }
        self.cursor = peer.seq;
    }

    /// Works through the pending rows in the engine's three phases. Returns whether the replica "stopped".
    pub(crate) fn pull(
        &mut self,
        peer: &Self,
        policy: Policy,
        mishaps: Mishaps,
        rng: &mut fastrand::Rng,
    ) -> bool {
        let mut late = Vec::new();
        let paths: Vec<RelPath> = self.remote.keys().cloned().collect();
        for path in paths {
            match self.settle(&path, peer, policy, mishaps, rng, false) {
                Outcome::Late => late.push(path),
                Outcome::Stopped => return true,
                Outcome::Done => {}
            }
        }
        let mut flips = Vec::new();
        for path in late.into_iter().rev() {
            let is_removal = self.remote.get(&path).is_some_and(|row| row.live().is_none());
            if !is_removal {
                flips.push(path);
            } else if let Outcome::Stopped = self.settle(&path, peer, policy, mishaps, rng, true) {
                return true;
            }
        }
        flips
            .into_iter()
            .any(|path| matches!(self.settle(&path, peer, policy, mishaps, rng, true), Outcome::Stopped))
    }

    fn settle(
        &mut self,
        path: &RelPath,
        peer: &Self,
        policy: Policy,
        mishaps: Mishaps,
        rng: &mut fastrand::Rng,
        last: bool,
    ) -> Outcome {
        let Some(theirs) = self.remote.get(path).cloned() else {
            return Outcome::Done;
        };
        if rng.u32(0..100) < mishaps.skip {
            return Outcome::Done;
        }
        self.clock += 10;
        let decider = Decider { me: self.me, side: self.side, policy, now: Timestamp::new(self.clock, 0) };
        let Ok(decision) = decider.decide(path, &theirs, self, self.seq + 1);
        let settled = match decision {
            Decision::Known => {
                self.remote.remove(path);
                return Outcome::Done;
            }
            Decision::Undecided => return Outcome::Done,
            Decision::Settle(settled) => settled,
        };
        let alone = settled.len() == 1;
        for mut one in settled {
            let ours_is_dir = self.rows.get(&one.path).is_some_and(|record| record.row.is_live_dir());
            let blocked = ours_is_dir && matches!(one.step, Step::Remove | Step::Replace(_));
            if !last && alone && (one.step == Step::Remove || blocked) {
                return Outcome::Late;
            }
            if blocked && self.rows.iter().any(|(at, r)| at.is_below(&one.path) && r.row.live().is_some()) {
                if self.remote.keys().any(|at| at.is_below(&one.path)) {
                    return Outcome::Done;
                }
                if one.row.tombstone().is_some_and(|stone| stone.moved_to.is_some()) {
                    return Outcome::Done;
                }
                let ours = self.rows.get(&one.path).map(|record| record.row.clone());
                one = decider.revive(&one.path, ours.as_ref(), Some(&theirs), self.seq + 1);
            }
            if !self.act(&one, peer) {
                return Outcome::Done;
            }
            if rng.u32(0..100) < mishaps.crash {
                return Outcome::Stopped;
            }
            self.record(&one);
        }
        self.remote.remove(path);
        Outcome::Done
    }

    /// Changes the disk; `false` if the content is not to be had now.
    fn act(&mut self, one: &Settled, peer: &Self) -> bool {
        if let Some(lost) = &one.lost {
            self.kept.insert(lost.content.clone());
        }
        match &one.step {
            Step::Nothing => {}
            Step::Adjust => {
                self.clock += 10;
                let (live, now) = (one.row.live().unwrap(), Timestamp::new(self.clock, 0));
                let node = self.disk.get_mut(&one.path).unwrap();
                node.attributes = live.attributes();
                node.ctime = now;
            }
            Step::Remove => {
                assert!(!self.disk.keys().any(|at| at.is_below(&one.path)), "{:?} is not empty", one.path);
                if let Some(node) = self.disk.remove(&one.path) {
                    self.kept.insert(node.content);
                }
            }
            Step::Create(source) | Step::Replace(source) => {
                let live = one.row.live().unwrap();
                let content = live.content.value.clone();
                let found = match source {
                    Source::Peer(at) => peer.disk.get(at),
                    Source::Ours(at) => self.disk.get(at),
                };
                if content.kind() == Kind::File && found.is_none_or(|node| node.content != content) {
                    return false;
                }
                for parent in one.path.ancestors() {
                    assert!(
                        self.disk.get(&parent).is_some_and(|p| p.content.is_dir()),
                        "{:?} has no parent",
                        one.path
                    );
                }
                assert!(content.is_dir() || !self.disk.keys().any(|at| at.is_below(&one.path)));
                if let Some(old) = self.disk.get(&one.path) {
                    self.kept.insert(old.content.clone());
                }
                self.put(&one.path, content);
                self.disk.get_mut(&one.path).unwrap().attributes = live.attributes();
            }
        }
        true
    }

    fn record(&mut self, one: &Settled) {
        self.seq += 1;
        let seen = self.disk.get(&one.path).filter(|_| one.row.live().is_some());
        let seen = seen.map(|node| Seen { stat: stat(node), at: Timestamp::new(self.clock, 0) });
        let record = Record { row: one.row.clone(), seq: self.seq, seen, residue: false };
        self.rows.insert(one.path.clone(), record);
    }
}

enum Outcome {
    Done,
    Late,
    Stopped,
}

fn stat(node: &Node) -> Stat {
    Stat {
        kind: node.content.kind(),
        attributes: node.attributes,
        size: node.content.size(),
        ctime: node.ctime,
        ino: node.ino,
        dev: 1,
        links: 1,
        rdev: 0,
    }
}

fn candidate(path: &RelPath, content: &Content, seen: &Seen) -> Candidate {
    Candidate { path: path.clone(), content: content.clone(), inode: (seen.stat.dev, seen.stat.ino) }
}

/// A file's content made of one number; sizes differ with it.
pub(crate) fn file(number: u64) -> Content {
    Content::File { digest: Digest::of(&number.to_le_bytes()), size: number % 7 }
}

/// One round: both observe, take note of each other's rows, and pull. Returns whether anything was written.
pub(crate) fn round(
    a: &mut Replica,
    b: &mut Replica,
    policy: Policy,
    mishaps: Mishaps,
    rng: &mut fastrand::Rng,
) -> bool {
    let before = (a.seq, b.seq);
    a.observe();
    b.observe();
    a.receive(b);
    if !a.pull(b, policy, mishaps, rng) {
        b.receive(a);
        if !b.pull(a, policy, mishaps, rng) {
            a.receive(b);
        }
    }
    (a.seq, b.seq) != before
}
