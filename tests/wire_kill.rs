//! Kill -9 of either side of the wire at every named point, and connections cut after any number of bytes: the next run
//! goes on, and nothing is lost, torn or left over. A drill in which nothing was killed or cut does not count.
#![cfg(feature = "system")]
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test may stop the test")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test is the user who changes the tree by path, and tells what it counted"
)]

#[path = "support/node.rs"]
mod node;
#[path = "support/relay.rs"]
mod relay;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/tree.rs"]
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use csync::fault::Point;
use csync::model::entry::Digest;
use serde_json::Value;

use node::{FOLDER, Nodes, PLAIN};
use relay::Relay;
use sandbox::Run;
use tree::{ALL, Snapshot, build, clear, kept_contents, patterned, rename, staged, write};

/// A point is killed at these of its passes, where it is passed so often.
const PASSES: &[u64] = &[1, 4];
/// Runs after which everything must have converged.
const RUNS_MAX: usize = 4;

/// What a run between two nodes is asked to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verb {
    Push,
    Pull,
    Sync,
}

impl Verb {
    const ALL: [Self; 3] = [Self::Push, Self::Pull, Self::Sync];

    fn arguments(self) -> Vec<&'static str> {
        match self {
            Self::Push => vec!["push", "-a", "--delete", "--yes", "a/", FOLDER],
            Self::Pull => vec!["pull", "-a", "--delete", "--yes", "two::web/", "a"],
            Self::Sync => vec!["sync", "a", FOLDER, "--yes"],
        }
    }
}

/// Two nodes that were in step, and then changed.
struct Drill {
    nodes: Nodes,
    verb: Verb,
    /// Contents that must be somewhere at the end.
    precious: BTreeSet<Digest>,
}

fn edited(seed: &str, count: usize) -> Vec<u8> {
    let mut bytes = patterned(seed, count);
    for at in (1000..count).step_by(50_000) {
        bytes[at] ^= 0x55;
    }
    bytes
}

impl Drill {
    fn new(verb: Verb) -> Self {
        let nodes = Nodes::new(PLAIN);
        let (a, b) = (nodes.sandbox.a(), nodes.sandbox.b());
        build(
            &a,
            "keep=1 old/x=2 old/y=#5000 gone=3 flip/in=4 flop=5 mode=6 link->keep deep/er/est=7 twin=same",
        );
        write(&a, "big", &patterned("big", 400_000));
        nodes.run(&["sync", "a", FOLDER]).ends_with(&[0]);
        let (ours, theirs) = if verb == Verb::Pull { (&b, &a) } else { (&a, &b) };
        write(ours, "big", &edited("big", 400_000));
        build(
            ours,
            "keep=edited new/one=#9000 new/two=11 empty= many/1=a many/2=b many/3=c copy=#9000 flop/in=x",
        );
        rename(ours, "old", "moved");
        clear(ours, "gone");
        clear(ours, "flip");
        build(ours, "flip=now-a-file other->new/one");
        if verb == Verb::Sync {
            build(theirs, "theirs/one=#7000 theirs/two=tt mode=rewritten-there");
            clear(theirs, "deep/er/est");
            build(ours, "rival=ours");
            build(theirs, "rival=theirs!");
        }
        let mut precious = Snapshot::of(ours).contents();
        if verb == Verb::Sync {
            precious.extend(Snapshot::of(theirs).contents());
        }
        Self { nodes, verb, precious }
    }

    fn run(&self, environment: &[(&str, &str)]) -> Run {
        Run::of(self.nodes.csync(&self.verb.arguments()).envs(environment.iter().copied()))
    }

    /// Runs until nothing fails any more, and looks whether all is well.
    fn judge(&mut self, what: &str, failures: &mut Vec<String>) {
        if !self.nodes.is_up() {
            self.nodes.start(&[]);
        }
        let mut said = String::new();
        for at in 0..RUNS_MAX {
            let run = self.run(&[]);
            said = run.to_string();
            let ended = matches!(run.code(), Some(0 | 40));
            if ended && (self.verb != Verb::Sync || at > 0) {
                break;
            }
        }
        let (a, b) = (self.nodes.sandbox.a(), self.nodes.sandbox.b());
        let (left, right) = (Snapshot::of(&a), Snapshot::of(&b));
        let mut faults = left.differences(&right, ALL);
        let there: BTreeSet<Digest> =
            [left.contents(), right.contents(), kept_contents(&a), kept_contents(&b)]
                .into_iter()
                .flatten()
                .collect();
        faults.extend(self.precious.difference(&there).map(|lost| format!("{} is gone", lost.short())));
        faults.extend(left_over(&a).into_iter().chain(left_over(&b)));
        if !faults.is_empty() {
            failures.push(format!("{:?}, {what}:\n  {}\n{said}", self.verb, faults.join("\n  ")));
        }
    }
}

fn left_over(root: &Path) -> Vec<String> {
    let stage = if root.join(".csync/stage").is_dir() { staged(root) } else { Vec::new() };
    stage.into_iter().map(|name| format!("{name} is left in the stage of {}", root.display())).collect()
}

/// The points that both sides pass in an undisturbed run.
fn points(verb: Verb) -> [BTreeSet<&'static str>; 2] {
    let mut drill = Drill::new(verb);
    let logs = ["here", "there"].map(|side| drill.nodes.sandbox.path(&format!("points-{side}")));
    let [here, there] = logs.each_ref().map(|log| log.to_str().expect("a path in UTF-8").to_owned());
    drill.nodes.stop();
    drill.nodes.start(&[("CSYNC_CRASH_LOG", &there)]);
    drill.run(&[("CSYNC_CRASH_LOG", &here)]).ends_with(&[0, 40]);
    logs.map(|log| {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let known = |line: &str| Point::ALL.iter().map(|point| point.name()).find(|name| *name == line);
        text.lines().filter_map(known).collect()
    })
}

#[track_caller]
fn no_failures(failures: &[String]) {
    assert!(failures.is_empty(), "{} drills did harm:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn a_kill_of_either_side_at_every_point_loses_nothing() {
    let mut fired: [BTreeMap<&'static str, usize>; 2] = Default::default();
    let mut failures = Vec::new();
    for verb in Verb::ALL {
        let [here, there] = points(verb);
        for (side, passed) in [here, there].into_iter().enumerate() {
            for (name, pass) in
                passed.into_iter().flat_map(|name| PASSES.iter().map(move |pass| (name, pass)))
            {
                let mut drill = Drill::new(verb);
                let crash = format!("{name}:{pass}");
                let armed = [("CSYNC_CRASH", crash.as_str())];
                let killed = if side == 0 {
                    drill.run(&armed).was_killed()
                } else {
                    drill.nodes.stop();
                    drill.nodes.start(&armed);
                    drop(drill.run(&[]));
                    !drill.nodes.is_up()
                };
                if killed {
                    *fired[side].entry(name).or_default() += 1;
                    let who = ["csync", "csyncd"][side];
                    drill.judge(&format!("{who} killed at {crash}"), &mut failures);
                }
            }
        }
    }
    for (who, fired) in ["csync", "csyncd"].into_iter().zip(&fired) {
        let kills: usize = fired.values().sum();
        println!("counted kills of {who}: {kills} at {} points: {fired:?}", fired.len());
    }
    no_failures(&failures);
    let wire = Point::ALL.iter().map(|point| point.name()).filter(|name| name.starts_with("wire-"));
    let never: Vec<&str> = wire.filter(|name| fired.iter().all(|fired| !fired.contains_key(name))).collect();
    assert!(never.is_empty(), "points of the wire at which nothing was killed: {never:?}");
    assert!(fired.iter().all(|fired| fired.len() >= 12), "too few points on one side: {fired:?}");
}

fn sent(run: &Run) -> u64 {
    let summary: Option<Value> = serde_json::from_str(&run.stdout()).ok();
    summary
        .and_then(|summary| Some(summary["bytes_sent"].as_u64()? + summary["bytes_received"].as_u64()?))
        .unwrap_or(0)
}

#[test]
fn connections_cut_after_any_number_of_bytes_lose_nothing() {
    let mut random = fastrand::Rng::with_seed(77);
    let (mut cuts, mut drills) = (0, 0);
    let (mut undisturbed, mut twice) = (0, 0);
    let mut failures = Vec::new();
    while cuts < 30 {
        assert!(drills < 120, "only {cuts} of {drills} connections were cut");
        let verb = Verb::ALL[drills % 3];
        drills += 1;
        let mut drill = Drill::new(verb);
        let budget = random.u64(2_000..500_000);
        let relay = Relay::new(&drill.nodes.address, budget);
        let mut command = drill.nodes.csync(&drill.verb.arguments());
        drill.nodes.redirect(&relay.address());
        let run = Run::of(command.arg("--timeout=2"));
        drill.nodes.redirect(&drill.nodes.address.clone());
        if !relay.was_cut() {
            continue;
        }
        cuts += 1;
        assert!(matches!(run.code(), Some(10 | 30 | 35 | 0 | 40)), "cut after {budget} bytes\n{run}");
        let whole = {
            let other = Drill::new(verb);
            sent(&Run::of(other.nodes.csync(&other.verb.arguments()).arg("--json")))
        };
        let rest = sent(&Run::of(drill.nodes.csync(&drill.verb.arguments()).arg("--json")));
        undisturbed += whole;
        twice += (relay.passed() + rest).saturating_sub(whole);
        drill.judge(&format!("cut after {budget} bytes"), &mut failures);
    }
    println!(
        "counted {cuts} connections cut in {drills} runs; {undisturbed} bytes had gone over the wire undisturbed, \
         {twice} more went with the cuts"
    );
    no_failures(&failures);
}
