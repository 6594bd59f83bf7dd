//! Two roots get the same changes: one is looked at where hints point, the other whole. Both know the same.

use std::fs;
use std::path::Path;

use crate::tree::{build, chmod, clear, rename};
use crate::watched::Watched;

/// One random change, the same for the same `random`.
fn change(root: &Path, random: &mut fastrand::Rng, step: usize) {
    let at = place(random);
    match random.u8(..12) {
        0..=3 => build(root, &format!("{at}={step}-{}", random.u32(..))),
        4 => build(root, &format!("{at}/")),
        5 => build(root, &format!("{at}->somewhere-{step}")),
        6 | 7 => clear(root, &at),
        8 => build(root, &format!("{at}.tmp={step}")),
        9 if root.join(&at).symlink_metadata().is_ok_and(|found| found.is_file()) => {
            chmod(root, &at, 0o600 | u32::from(random.u8(..8)));
        }
        10 | 11 => {
            let to = place(random);
            let apart = !to.starts_with(&at) && !at.starts_with(&to);
            if apart && root.join(&at).symlink_metadata().is_ok() {
                clear(root, &to);
                rename(root, &at, &to);
            }
        }
        _ => {
            let rules = if random.bool() { "d?/.rules=-_*.tmp" } else { "d?/.rules=;" };
            build(root, &rules.replace('?', &random.u8(..3).to_string()));
        }
    }
}

fn place(random: &mut fastrand::Rng) -> String {
    let names = ["d0", "d1", "d2", "f"];
    let depth = random.usize(1..5);
    (0..depth).map(|_| names[random.usize(..4)]).collect::<Vec<_>>().join("/")
}

#[test]
fn hints_and_a_look_at_everything_record_the_same() {
    for seed in 0..20 {
        let rules = ["dir-merge .rules"];
        let (mut hinted, mut whole) = (Watched::new(&rules), Watched::new(&rules));
        let mut step = 0;
        for round in 0..12 {
            let mut randoms =
                [fastrand::Rng::with_seed(seed * 100 + round), fastrand::Rng::with_seed(seed * 100 + round)];
            for _ in 0..randoms[0].usize(1..25).max(randoms[1].usize(1..25)) {
                step += 1;
                change(&hinted.root(), &mut randoms[0], step);
                change(&whole.root(), &mut randoms[1], step);
            }
            let sight = hinted.take_up();
            assert_eq!((sight.unproven, sight.skipped.len()), (0, 0));
            whole.observe();
            let (left, right) = (hinted.rows(), whole.rows());
            let differ: Vec<_> = right
                .iter()
                .filter(|(path, row)| live(row) && left.get(*path) != Some(row))
                .chain(left.iter().filter(|(path, row)| live(row) && !right.contains_key(*path)))
                .collect();
            assert!(differ.is_empty(), "seed {seed}, round {round}: {differ:#?}\n{left:#?}");
            assert_eq!(hinted.observe().revisions, 0, "seed {seed}, round {round}");
            assert_eq!(
                fs::read_dir(hinted.root()).unwrap().count(),
                fs::read_dir(whole.root()).unwrap().count()
            );
        }
    }
}

/// Tombstones may differ: of what came and went again, only one of the two may have known.
fn live(row: &str) -> bool {
    !row.starts_with("- ")
}
