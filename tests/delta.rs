//! The whole ladder in one process: outline, groups, pieces, signatures, operations, and the bytes it all costs.

#![allow(clippy::expect_used, reason = "a helper of a test may stop the test")]
#![allow(clippy::disallowed_methods, reason = "a test reads how many cases it is to run")]
#![allow(clippy::print_stdout, reason = "what was counted is to be read")]

#[path = "delta/ladder.rs"]
mod ladder;

use fastrand::Rng;

use ladder::{Cost, receive};

const MIB: usize = 1024 * 1024;

fn noise(random: &mut Rng, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes
}

/// Bytes of one of the kinds that contents are of.
fn content(random: &mut Rng, length: usize) -> Vec<u8> {
    match random.u32(..6) {
        0 => vec![random.u8(..3); length],
        1 => {
            let pattern = random.usize(1..3_000);
            noise(random, pattern).iter().copied().cycle().take(length).collect()
        }
        2 => (0..length).map(|_| b"etaoin shrdlu\n"[random.usize(..14)]).collect(),
        _ => noise(random, length),
    }
}

/// Mostly small; one in sixteen up to half a MiB, one in a thousand of several MiB.
fn size(random: &mut Rng) -> usize {
    match random.u32(..1_000) {
        0 => random.usize(..6 * MIB),
        1..60 => random.usize(..512 * 1024),
        60..300 => random.usize(..60_000),
        300..400 => random.usize(..3),
        _ => random.usize(..6_000),
    }
}

fn place(random: &mut Rng, length: usize) -> std::ops::Range<usize> {
    let start = random.usize(..=length);
    let longest = if random.bool() { 600 } else { length };
    start..start + random.usize(..=longest.min(length - start))
}

fn edit(random: &mut Rng, bytes: &mut Vec<u8>) {
    let range = place(random, bytes.len());
    match random.u32(..8) {
        0 => {
            if let Some(byte) = bytes.get_mut(range.start) {
                *byte ^= 1 << random.u32(..8);
            }
        }
        1 => {
            let new = content(random, range.len());
            bytes[range].copy_from_slice(&new);
        }
        2 => {
            let length = range.len().min(50_000);
            let new = content(random, length);
            bytes.splice(range.start..range.start, new);
        }
        3 => drop(bytes.drain(range)),
        4 => {
            let block: Vec<u8> = bytes.drain(range).collect();
            let to = random.usize(..=bytes.len());
            bytes.splice(to..to, block);
        }
        5 => {
            let length = random.usize(..20_000);
            let new = content(random, length);
            bytes.extend(new);
        }
        6 => bytes.truncate(range.start),
        _ => {
            let middle = range.start;
            bytes.rotate_left(middle);
        }
    }
}

fn case(random: &mut Rng) -> (Vec<u8>, Vec<u8>) {
    let length = size(random);
    let basis = content(random, length);
    let mut target = basis.clone();
    match random.u32(..20) {
        0 => target.clear(),
        1 => target = content(random, length / 2),
        2 => {}
        _ => (0..random.u32(1..6)).for_each(|_| edit(random, &mut target)),
    }
    (basis, target)
}

#[test]
fn every_target_comes_back_from_every_basis() {
    let cases: u64 = match std::env::var("CSYNC_CASES") {
        Ok(count) => count.parse().expect("CSYNC_CASES is a number"),
        Err(_) => 20_000,
    };
    let first =
        std::env::var("CSYNC_SEED").map_or(2_026, |seed| seed.parse().expect("CSYNC_SEED is a number"));
    let mut sum = Cost::default();
    let mut target_bytes = 0;
    for seed in first..first + cases {
        let mut random = Rng::with_seed(seed);
        let (basis, target) = case(&mut random);
        let (output, cost) = receive(&basis, &target);
        assert!(output == target, "CSYNC_SEED={seed} CSYNC_CASES=1: the output is not the target");
        sum.add(&cost);
        target_bytes += target.len();
    }
    println!(
        "counted {cases} round trips, {target_bytes} bytes made of {} copied and {} literal, {} exchanged, \
         {} signatures",
        sum.copied,
        sum.literal,
        sum.wire(),
        sum.signatures
    );
    assert_eq!(sum.copied + sum.literal, target_bytes as u64);
}

/// What an edit of 64 MiB of noise costs, and the most that the goal for 1 GiB leaves for it.
///
/// Of a goal, what grows with the file is the outline: 13 KiB a GiB, so 832 bytes of 64 MiB.
#[track_caller]
fn costs(case: &str, most: u64, edit: impl FnOnce(&mut Rng, &mut Vec<u8>)) {
    let mut random = Rng::with_seed(64);
    let basis = noise(&mut random, 64 * MIB);
    let mut target = basis.clone();
    edit(&mut random, &mut target);
    let (output, cost) = receive(&basis, &target);
    assert!(output == target, "{case}");
    println!("{case}: {} bytes on the wire, {cost:?}", cost.wire());
    assert!(cost.wire() <= most, "{case}: {} bytes are more than {most}", cost.wire());
    assert!(cost.outline <= 850, "{case}: an outline of {} bytes", cost.outline);
}

#[test]
fn a_changed_byte_costs_a_few_kib() {
    costs("one byte flipped", 4 * 1024, |_, target| target[33_333_333] ^= 1);
}

#[test]
fn an_insertion_at_the_front_costs_itself_and_a_few_kib() {
    costs("1 KiB inserted at the front", 6 * 1024, |random, target| {
        let new = noise(random, 1_024);
        target.splice(0..0, new);
    });
}

#[test]
fn scattered_edits_cost_little_more_than_themselves() {
    // 200 edits in 1 GiB are 12.5 in 64 MiB; 13 of 1.1 MiB / 200 each.
    costs("13 scattered edits of 4 KiB", 13 * (1_153_434 / 200), |random, target| {
        for _ in 0..13 {
            let at = random.usize(..target.len() - 4_096);
            random.fill(&mut target[at..at + 4_096]);
        }
    });
}

#[test]
fn a_moved_block_costs_its_seams() {
    costs("3 MiB moved", 36 * 1024, |_, target| {
        let block: Vec<u8> = target.drain(10_000_000..10_000_000 + 3 * MIB).collect();
        target.splice(45_000_001..45_000_001, block);
    });
}

#[test]
fn an_append_costs_itself() {
    costs("1 MiB appended", (MIB + 4 * 1024) as u64, |random, target| {
        let new = noise(random, MIB);
        target.extend(new);
    });
}
