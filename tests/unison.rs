//! Unison as a second opinion: two-way histories without conflicts end the same in both programs.
#![cfg(feature = "system")]
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test may stop the test")]
#![allow(clippy::disallowed_methods, reason = "a test is the user who changes the tree by path")]

#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/tree.rs"]
mod tree;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fastrand::Rng;

use sandbox::{Run, Sandbox, copy_tree};
use tree::{Compare, Snapshot, build, chmod, clear, rename};

const HISTORIES: u64 = 60;
const ROUNDS: usize = 3;

/// One thing that a user did on one side.
#[derive(Debug, Clone)]
enum Step {
    Write(String, usize),
    Link(String, String),
    Directory(String),
    Delete(String),
    Rename(String, String),
    Mode(String, u32),
}

impl Step {
    fn act(&self, root: &Path) {
        match self {
            Self::Write(path, size) => build(root, &format!("{path}=#{size}")),
            Self::Link(path, target) => build(root, &format!("{path}->{target}")),
            Self::Directory(path) => build(root, &format!("{path}/")),
            Self::Delete(path) => clear(root, path),
            Self::Rename(from, to) => rename(root, from, to),
            Self::Mode(path, mode) => chmod(root, path, *mode),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Write(..) => "write",
            Self::Link(..) => "link",
            Self::Directory(_) => "directory",
            Self::Delete(_) => "delete",
            Self::Rename(..) => "rename",
            Self::Mode(..) => "mode",
        }
    }
}

/// Chooses steps for one side. What it touches lies below directories that only this side changes in this round.
struct User {
    random: Rng,
    round: usize,
    made: usize,
}

impl User {
    /// Returns a step below `own` in the tree as `now` shows it, never one that an earlier step of the round touched.
    fn step(&mut self, own: &str, now: &Snapshot) -> Step {
        let below = format!("{own}/");
        let of_kind = |kind: char| -> Vec<String> {
            let chosen = now.0.iter().filter(|(_, node)| node.kind == kind);
            chosen
                .map(|(path, _)| String::from_utf8_lossy(path).into_owned())
                .filter(|p| p.starts_with(&below))
                .collect()
        };
        let (files, directories) = (of_kind('f'), of_kind('d'));
        self.made += 1;
        let parent =
            if directories.is_empty() { own } else { &directories[self.random.usize(..directories.len())] };
        let fresh = format!("{parent}/n{}-{}", self.round, self.made);
        let file = (!files.is_empty()).then(|| files[self.random.usize(..files.len())].clone());
        match (self.random.u8(..10), file) {
            (0..=1, _) | (_, None) => Step::Write(fresh, self.random.usize(1..20_000)),
            (2, _) => Step::Link(fresh, "some/where".to_owned()),
            (3, _) => Step::Directory(fresh),
            (4..=5, Some(file)) => Step::Write(file, 20_000 + self.random.usize(..9_000)),
            (6, Some(file)) => Step::Mode(file, [0o600, 0o644, 0o755, 0o640][self.random.usize(..4)]),
            (7, Some(file)) => Step::Rename(file, fresh),
            (8, _) if !directories.is_empty() => Step::Rename(
                directories[self.random.usize(..directories.len())].clone(),
                format!("{own}/r{}-{}", self.round, self.made),
            ),
            (_, Some(file)) => Step::Delete(if self.random.u8(..4) == 0 { parent.to_owned() } else { file }),
        }
    }
}

/// Two pairs of copies, one for each program.
struct Rivals {
    sandbox: Sandbox,
    ours: [PathBuf; 2],
    theirs: [PathBuf; 2],
}

impl Rivals {
    fn new(random: &mut Rng) -> Self {
        let sandbox = Sandbox::new();
        for number in 0..random.usize(20..60) {
            let (side, deep) = (random.u8(..4), random.u8(..3));
            build(&sandbox.a(), &format!("area{side}/d{deep}/e{}/f{number}=#{}", number % 3, 1 + number * 7));
        }
        copy_tree(&sandbox.a(), &sandbox.path("ua"));
        std::fs::create_dir(sandbox.path("ub")).expect("make a root");
        let ours = [sandbox.a(), sandbox.b()];
        let theirs = [sandbox.path("ua"), sandbox.path("ub")];
        Self { sandbox, ours, theirs }
    }

    fn sync(&self, when: &str) {
        self.sandbox.sync(&["--yes"]).ends_with(&[0]);
        let mut unison = self.sandbox.command("unison");
        unison.args(&self.theirs).args([
            "-batch",
            "-auto",
            "-perms",
            "-1",
            "-times",
            "-owner",
            "-group",
            "-numericids",
        ]);
        unison.args(["-confirmbigdel=false", "-ui", "text", "-silent"]);
        Run::of(&mut unison).ends_with(&[0]);
        let compare = Compare { modes: true, owners: true, times: true };
        let [a, b] = [Snapshot::of(&self.ours[0]), Snapshot::of(&self.ours[1])];
        a.agrees_with(&b, compare, &format!("{when}: our two roots"));
        let untimed = Compare { times: false, ..compare };
        Snapshot::of(&self.theirs[0]).agrees_with(
            &a,
            untimed,
            &format!("{when}: unison | csync, first root"),
        );
        Snapshot::of(&self.theirs[1]).agrees_with(
            &b,
            untimed,
            &format!("{when}: unison | csync, second root"),
        );
    }
}

/// Plays one history of `seed` on both pairs; counts its steps.
fn play(seed: u64, steps: &mut BTreeMap<&'static str, usize>) {
    let mut random = Rng::with_seed(seed);
    let rivals = Rivals::new(&mut random);
    rivals.sync(&format!("seed {seed}, at first"));
    for round in 0..ROUNDS {
        let mut user = User { random: random.fork(), round, made: 0 };
        for _ in 0..user.random.usize(4..12) {
            let side = user.random.usize(..2);
            let area = format!("area{}", (side + round) % 2 * 2 + user.random.usize(..2));
            let step = user.step(&area, &Snapshot::of(&rivals.ours[side]));
            *steps.entry(step.name()).or_default() += 1;
            step.act(&rivals.ours[side]);
            step.act(&rivals.theirs[side]);
        }
        rivals.sync(&format!("seed {seed}, round {round}"));
    }
}

#[test]
fn sixty_histories_end_as_unison_ends_them() {
    let version = Run::of(Sandbox::new().command("unison").arg("-version"));
    let mut steps = BTreeMap::new();
    (0..HISTORIES).for_each(|seed| play(seed, &mut steps));
    for name in ["write", "link", "directory", "delete", "rename", "mode"] {
        assert!(steps.get(name).is_some_and(|count| *count >= 20), "too few steps of {name}: {steps:?}");
    }
    let total: usize = steps.values().sum();
    println!(
        "\ncounted histories against {}: {HISTORIES}, {total} steps: {steps:?}",
        version.stdout().trim()
    );
}
