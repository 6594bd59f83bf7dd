//! Contents from one tree into another, by the conversation that peers have about them; counted, not timed.

#![allow(clippy::expect_used, reason = "a helper of a test may stop the test")]

#[path = "content/ground.rs"]
mod ground;
#[path = "content/liars.rs"]
mod liars;

use csync::engine::far::take::TakeError;
use csync::model::entry::Digest;

use ground::{Ground, noise, text};

const MIB: usize = 1 << 20;

/// Takes `old` into `new` where `old` stands already; returns what went over the wire: asked, answered.
fn update(case: &str, old: &[u8], new: &[u8]) -> (u64, u64) {
    let mut ground = Ground::new();
    ground.offer("file", new);
    ground.stand_by("file", old);
    let (staged, _) = ground.exchange();
    let staged = staged.into_iter().next().expect("one result").expect(case);
    assert_eq!(staged.digest(), Digest::of(new), "{case}");
    assert_eq!(ground.published(staged, "file"), new, "{case}");
    ground.counted()
}

#[test]
fn files_of_all_sizes_arrive_as_they_are() {
    let mut ground = Ground::new();
    let sizes = [0, 1, 2, 4095, 4096, 65_535, 65_536, MIB - 5, MIB - 4, MIB - 1, MIB, MIB + 1, 3 * MIB + 17];
    let mut whole = Vec::new();
    for (at, size) in sizes.into_iter().chain((0..1500).map(|at| at * 7 % 3000)).enumerate() {
        let bytes = if at % 2 == 0 { noise(at as u64, size) } else { text(at as u64, size) };
        ground.offer(&format!("f{at}"), &bytes);
        whole.push(bytes);
    }
    let (staged, given) = ground.exchange();
    assert_eq!(given.void, []);
    let raw: usize = whole.iter().map(|bytes| bytes.len() + 9).sum();
    assert!(given.volume.raw <= raw as u64 + 64, "little but the bytes: {} of {raw}", given.volume.raw);
    assert!(given.volume.packed < given.volume.raw / 2 + 5 * MIB as u64, "text is compressed");
    for (at, (staged, bytes)) in staged.into_iter().zip(whole).enumerate() {
        assert!(ground.published(staged.expect("staged"), &format!("f{at}")) == bytes, "file {at}");
    }
}

#[test]
fn what_changes_or_vanishes_meanwhile_is_void_and_the_rest_arrives() {
    let mut ground = Ground::new();
    for name in ["gone", "shorter", "longer", "other", "same"] {
        ground.offer(name, &noise(1, 3000));
    }
    ground.remove("gone");
    std::fs::write(ground.source("shorter"), noise(1, 2000)).expect("written");
    std::fs::write(ground.source("longer"), noise(1, 4000)).expect("written");
    std::fs::write(ground.source("other"), noise(2, 3000)).expect("written");
    let (staged, given) = ground.exchange();
    let shown: Vec<&str> = staged
        .iter()
        .map(|one| match one {
            Ok(_) => "staged",
            Err(TakeError::Void { .. }) => "void",
            Err(TakeError::Stage(_)) => "not the content",
            Err(TakeError::Broken(_)) => "broken",
        })
        .collect();
    assert_eq!(shown, ["void", "void", "void", "not the content", "staged"]);
    assert_eq!(given.void.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [0, 1, 2]);
    drop(staged);
    assert!(ground.is_clear());
}

#[test]
fn one_byte_costs_little_whatever_the_size() {
    let old = noise(3, 64 * MIB);
    let mut new = old.clone();
    new[40 * MIB] ^= 1;
    let (asked, answered) = update("one byte", &old, &new);
    // The outline, the chunks of one group, the signature of one chunk.
    assert!(asked + answered < 8_000, "{asked} + {answered}");
}

#[test]
fn edits_cost_about_what_is_new() {
    let old = noise(4, 48 * MIB);
    let mut random = fastrand::Rng::with_seed(11);
    let mut scattered = old.clone();
    for at in 0..40 {
        let place = random.usize(..old.len() - 4096);
        scattered[place..place + 4096].copy_from_slice(&noise(100 + at, 4096));
    }
    let front = [&noise(5, 1024)[..], &old].concat();
    let behind = [&old[..], &noise(6, 3 * MIB)].concat();
    let moved = [&old[20 * MIB..30 * MIB], &old[..20 * MIB], &old[30 * MIB..]].concat();
    let cut = old[..47 * MIB + 3].to_vec();
    for (case, new, news, most) in [
        ("scattered", scattered, 40 * 4096, 60_000),
        ("in front", front, 1024, 9_000),
        ("behind", behind, 3 * MIB, 30_000),
        ("moved", moved, 0, 30_000),
        ("cut", cut, 0, 9_000),
    ] {
        let (asked, answered) = update(case, &old, &new);
        let more = (asked + answered).saturating_sub(news as u64);
        assert!(more < most, "{case}: {asked} + {answered} for {news} new bytes");
    }
}

#[test]
fn what_has_nothing_in_common_is_taken_whole() {
    let (old, new) = (noise(7, 2 * MIB), text(8, 5 * MIB));
    let (asked, answered) = update("nothing in common", &old, &new);
    assert!(asked < 3_000, "chunks and the whole are asked for, nothing else: {asked}");
    assert!(answered < new.len() as u64 / 2, "and it is compressed: {answered}");
    update("an empty basis", &[], &new);
    update("random contents", &noise(9, 64 << 10), &noise(10, 64 << 10));
}

#[test]
fn random_edits_arrive() {
    let mut random = fastrand::Rng::with_seed(0xc0de);
    for case in 0..60 {
        let old = if case % 2 == 0 { noise(case, 700_000) } else { text(case, 700_000) };
        let mut new = old.clone();
        for _ in 0..random.usize(1..20) {
            let at = random.usize(..=new.len());
            let end = random.usize(at..=new.len().min(at + 50_000));
            let news = noise(random.u64(..), random.usize(..40_000));
            match random.u8(..3) {
                0 => drop(new.splice(at..end, news)),
                1 => drop(new.splice(at..at, news)),
                _ => {
                    let moved: Vec<u8> = new.drain(at..end).collect();
                    let to = random.usize(..=new.len());
                    drop(new.splice(to..to, moved));
                }
            }
        }
        update(&format!("case {case}"), &old, &new);
    }
}

#[test]
fn over_quic_it_is_the_same() {
    let mut ground = Ground::over_quic();
    let old = noise(12, 3 * MIB);
    let mut new = old.clone();
    new.splice(MIB..MIB + 10, noise(13, 10_000));
    ground.offer("large", &new);
    ground.stand_by("large", &old);
    for at in 0..200 {
        ground.offer(&format!("small{at}"), &text(at, 2000));
    }
    let (staged, given) = ground.exchange();
    assert!(given.volume.raw < 450_000, "{}", given.volume.raw);
    for (at, staged) in staged.into_iter().enumerate() {
        let name = if at == 0 { "large".to_owned() } else { format!("small{}", at - 1) };
        let bytes = if at == 0 { new.clone() } else { text(at as u64 - 1, 2000) };
        assert_eq!(ground.published(staged.expect("staged"), &name), bytes, "{name}");
    }
}
