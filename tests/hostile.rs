//! T7: a peer of our own with its checks off and a valid key, on either side of the wire.
//!
//! After every case: an honest guest is served, nothing outside the root was touched, nothing half-made is left, and
//! the server has not had more memory than it may.
//!
//! Not played, and why: H9 needs a QUIC stack of our own, since quinn's sends no gaps. H11 is played in
//! `tests/daemon.rs`. H12 needs sessions of daemons with each other, H57 a third peer that compares. H34 needs rows from
//! a guest, which sends steps instead: the server records them under its own slot. H36 likewise; it is played from the
//! server's side (M36). H42 needs a file system that folds names (`tests/hard_places.rs`). H44 and H45 are about groups of
//! hard links and extended attributes, which are not sent yet. H47: contents are asked for by path alone.

#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test may stop the test")]
#![allow(clippy::disallowed_methods, reason = "a test handles its own files")]
#![allow(clippy::wildcard_enum_match_arm, reason = "any other message is out of turn")]
#![allow(clippy::print_stdout, reason = "each case tells how it ended")]

#[path = "hostile/asks.rs"]
mod asks;
#[path = "hostile/contents.rs"]
mod contents;
#[path = "hostile/gate.rs"]
mod gate;
#[path = "hostile/memory.rs"]
mod memory;
#[path = "hostile/mirrored.rs"]
mod mirrored;
#[path = "hostile/peer.rs"]
mod peer;
#[path = "support/serving.rs"]
mod serving;
#[path = "hostile/world.rs"]
mod world;

use peer::End;
use world::World;

/// How a case must end.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// Like this.
    One(End),
    /// Like one of these.
    Any(&'static [End]),
}

impl Expected {
    fn admits(self, end: End) -> bool {
        match self {
            Self::One(expected) => expected == end,
            Self::Any(expected) => expected.contains(&end),
        }
    }
}

/// Id, what is played, how it must end, and the play.
struct Case(&'static str, &'static str, Expected, fn(&World) -> End);

/// Plays all cases and tells how each ended; the test fails at the end, if any did.
fn play(cases: &[Case]) {
    let mut world = World::new();
    let mut wrong = Vec::new();
    let mut peak = world.peak();
    for Case(id, what, expected, play) in cases {
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let end = play(&world);
            world.check(id);
            end
        }));
        match played {
            Ok(end) if expected.admits(end) => println!("{id:5} {what}: {end:?}"),
            Ok(end) => wrong.push(format!("{id} {what}: {end:?} instead of {expected:?}")),
            Err(_) => {
                wrong.push(format!("{id} {what}: see above"));
                world = World::new();
            }
        }
        if world.peak() > peak + 4096 {
            println!("      the server has had {} KiB", world.peak());
        }
        peak = world.peak();
    }
    println!("counted {} hostile cases against the server, most memory {} KiB", cases.len(), world.peak());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn who_breaks_the_rules_of_a_connection_harms_itself_alone() {
    play(gate::CASES);
}

#[test]
fn who_asks_for_what_it_must_not_have_gets_nothing() {
    play(asks::CASES);
}

#[test]
fn a_client_believes_no_server() {
    let wrong = mirrored::play(mirrored::CASES);
    assert!(wrong.is_empty(), "{wrong:#?}");
}
