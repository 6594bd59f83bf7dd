//! The planner alone (T1a, T1b): it ends, ends equal, loses nothing, in any order of steps; and the laws it stands on.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_lossless,
    reason = "a test may fail, ask its environment and handle its own files"
)]

#[path = "support/cluster.rs"]
mod cluster;

use std::collections::BTreeSet;

use cluster::{Mishaps, Replica, file, round};
use csync::model::entry::Content;
use csync::model::metadata::{Attributes, Timestamp};
use csync::model::path::RelPath;
use csync::model::row::{Live, Row, State, Tombstone};
use csync::model::version::{Causality, Dot, ReplicaId, VersionVector};
use csync::plan::merge::{Held, Merged, merge};
use csync::rules::conflict::{Policy, Side};

/// Cases of the random suite; `CSYNC_CASES` asks for more.
const CASES: u64 = 200_000;

const PATHS: [&str; 12] = ["a", "a/a", "a/a/a", "a/b", "a/b/c", "b", "b/a", "b/a/c", "b/d", "c", "c/a", "d"];

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

/// A user at work on one replica.
fn work(replica: &mut Replica, rng: &mut fastrand::Rng, written: &mut u64) {
    for _ in 0..rng.usize(0..4) {
        let at = path(rng.choice(PATHS).unwrap());
        match rng.u32(0..10) {
            0..=3 => {
                *written += 1;
                replica.write(&at, file(*written));
            }
            4 => replica.write(&at, file(rng.u64(0..4))),
            5 => replica.remove(&at),
            6 => replica.write(&at, Content::Symlink(Box::from(&b"target"[..]))),
            7 => replica.chmod(&at, if rng.bool() { 0o600 } else { 0o640 }),
            _ => {
                if replica.disk.contains_key(&at) {
                    replica.rename(&at, &path(rng.choice(PATHS).unwrap()));
                }
            }
        }
    }
}

fn files(replica: &Replica) -> BTreeSet<Content> {
    replica.disk.values().map(|node| node.content.clone()).filter(|content| !content.is_dir()).collect()
}

fn check(seed: u64, a: &Replica, b: &Replica, before: &BTreeSet<Content>) {
    let mode = |node: &cluster::Node| match node.content {
        Content::Symlink(_) => 0,
        Content::Dir | Content::File { .. } | Content::Fifo | Content::Socket | Content::Device { .. } => {
            node.attributes.mode
        }
    };
    let tree = |r: &Replica| -> Vec<_> {
        r.disk.iter().map(|(at, node)| (at.clone(), node.content.clone(), mode(node))).collect()
    };
    assert_eq!(tree(a), tree(b), "seed {seed}: the ends differ");
    let after: BTreeSet<Content> =
        files(a).into_iter().chain(a.kept.iter().cloned()).chain(b.kept.iter().cloned()).collect();
    for content in before {
        assert!(after.contains(content), "seed {seed}: {content:?} is lost");
    }
}

fn history(seed: u64, policy: Policy, mishaps: Mishaps) -> u64 {
    let mut rng = fastrand::Rng::with_seed(seed);
    let (mut a, mut b) = (Replica::new(Side::One, 1), Replica::new(Side::Two, 2));
    b.inodes = 1_000_000;
    let (mut written, mut operations) = (10, 0);
    for _ in 0..rng.usize(2..4) {
        work(&mut a, &mut rng, &mut written);
        work(&mut b, &mut rng, &mut written);
        operations += 1;
        let before: BTreeSet<Content> = files(&a).union(&files(&b)).cloned().collect();
        let mut rounds = 0;
        let mut spared = mishaps;
        while round(&mut a, &mut b, policy, spared, &mut rng) || !a.remote.is_empty() || !b.remote.is_empty()
        {
            rounds += 1;
            assert!(rounds < 200, "seed {seed}: it does not end: {:?} {:?}", a.remote, b.remote);
            if rounds > 6 {
                spared = Mishaps { skip: 0, crash: 0 };
            }
        }
        check(seed, &a, &b, &before);
    }
    operations
}

#[test]
fn any_history_ends_equal_and_loses_nothing() {
    let cases = std::env::var("CSYNC_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(CASES);
    let policies = [Policy::KeepBoth, Policy::Oldest, Policy::Largest, Policy::Prefer(Side::One)];
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get) as u64;
    let operations: u64 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                scope.spawn(move || {
                    let mut operations = 0;
                    for seed in (worker..cases).step_by(threads as usize) {
                        let policy = policies[(seed % 4) as usize];
                        let mishaps = match seed % 3 {
                            0 => Mishaps { skip: 0, crash: 0 },
                            1 => Mishaps { skip: 40, crash: 0 },
                            _ => Mishaps { skip: 20, crash: 10 },
                        };
                        operations += history(seed, policy, mishaps);
                    }
                    operations
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    println!("planner: {cases} histories, {operations} rounds of work on both sides");
}

#[test]
fn work_on_one_side_alone_makes_no_conflict_and_comes_out_as_it_was_done() {
    let mut rng = fastrand::Rng::with_seed(7);
    for seed in 0..20_000 {
        let (mut a, mut b) = (Replica::new(Side::One, 1), Replica::new(Side::Two, 2));
        b.inodes = 1_000_000;
        let mut written = 10;
        for _ in 0..rng.usize(2..6) {
            work(&mut a, &mut rng, &mut written);
            let done: Vec<RelPath> = a.disk.keys().cloned().collect();
            let mishaps = Mishaps { skip: 20, crash: 0 };
            round(&mut a, &mut b, Policy::KeepBoth, mishaps, &mut rng);
            assert!(a.disk.keys().eq(&done), "seed {seed}: the side that was worked on changed");
            for record in a.rows.values().chain(b.rows.values()) {
                assert_eq!(record.row.losers, [], "seed {seed}");
            }
        }
    }
}

fn id(n: u8) -> ReplicaId {
    ReplicaId([n; 16])
}

/// Every vector of three replicas with counters 0 to 3.
fn vectors() -> Vec<VersionVector> {
    let mut all = Vec::new();
    for counters in 0..64_u64 {
        let dots = (0..3_u8).map(|n| Dot { replica: id(n), counter: (counters >> (2 * n)) & 3 });
        all.push(dots.collect());
    }
    all
}

#[test]
fn the_laws_of_the_vector_hold_for_three_replicas_and_three_counters() {
    let all = vectors();
    let mut checked = 0;
    for a in &all {
        assert_eq!(a.merged(a), *a);
        for b in &all {
            let joined = a.merged(b);
            assert_eq!(joined, b.merged(a));
            assert!(matches!(a.compare(&joined), Causality::Equal | Causality::Before));
            let mirrored = match a.compare(b) {
                Causality::Before => Causality::After,
                Causality::After => Causality::Before,
                same @ (Causality::Equal | Causality::Concurrent) => same,
            };
            assert_eq!(b.compare(a), mirrored);
            assert_eq!(a.compare(b) == Causality::Equal, a == b);
            for c in &all {
                assert_eq!(joined.merged(c), a.merged(&b.merged(c)));
                if a.compare(b) == Causality::Before && b.compare(c) == Causality::Before {
                    assert_eq!(a.compare(c), Causality::Before);
                }
                checked += 1;
            }
        }
    }
    println!("vector: {checked} triples");
}

/// Rows as histories make them: the vector covers the row's own dots.
fn rows() -> Vec<Row> {
    let mut all = Vec::new();
    for vector in vectors() {
        let dots: Vec<Dot> = vector.slots().collect();
        for content in &dots {
            let stone = Tombstone {
                dot: *content,
                deleted_at: Timestamp::default(),
                content: Content::Fifo,
                attributes: Attributes::default(),
                moved_to: None,
            };
            all.push(Row { vector: vector.clone(), state: State::Deleted(stone), losers: Vec::new() });
            for mode in &dots {
                // One dot is one event: it stands for one content and one mode wherever it appears.
                let number = u64::from(content.replica.0[0]) * 4 + content.counter;
                let mtime = Timestamp::new(i64::try_from(number % 3).unwrap(), 0);
                let attributes = Attributes { mtime, ..Attributes::default() };
                let mut live = Live::new(file(number), attributes, *content, Timestamp::new(9, 0));
                live.mode.dot = *mode;
                live.mode.value = u32::from(mode.replica.0[0]) * 4 + u32::try_from(mode.counter).unwrap();
                all.push(Row { vector: vector.clone(), state: State::Live(live), losers: Vec::new() });
            }
        }
    }
    all
}

/// The row that both sides hold after `merge`.
fn joined(ours: &Row, theirs: &Row, sides: (Side, Side)) -> Row {
    let held = (Held { row: ours, side: sides.0 }, Held { row: theirs, side: sides.1 });
    match merge(held.0, held.1, Policy::KeepBoth) {
        Merged::Known => ours.clone(),
        Merged::Row(row) | Merged::Conflict(row, _) => *row,
        Merged::Undecided => panic!("keep-both decides"),
    }
}

#[test]
fn merging_by_dots_is_symmetric_and_idempotent_and_keeps_every_content() {
    let all = rows();
    let mut checked = 0_u64;
    for a in &all {
        for b in &all {
            // Equal vectors are one state of one row, unless a counter was used twice, which histories cannot do.
            if a.vector == b.vector && a != b {
                continue;
            }
            let ab = joined(a, b, (Side::One, Side::Two));
            let ba = joined(b, a, (Side::Two, Side::One));
            assert_eq!(ab, ba, "{a:?}\n{b:?}");
            assert_eq!(ab.vector, a.vector.merged(&b.vector));
            assert_eq!(joined(&ab, a, (Side::One, Side::Two)), ab);
            assert_eq!(joined(&ab, b, (Side::One, Side::Two)), ab);
            for (row, other) in [(a, b), (b, a)] {
                let Some(live) = row.live() else { continue };
                let known = other.vector.covers(live.content.dot);
                let stays = ab.live().is_some_and(|kept| kept.content.value == live.content.value);
                let open = ab.losers.iter().any(|loser| loser.content == live.content.value);
                assert!(known || stays || open, "{row:?} is lost against {other:?}: {ab:?}");
            }
            checked += 1;
        }
    }
    println!("merge: {checked} pairs");
}
