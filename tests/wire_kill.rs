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
use std::sync::Mutex;

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
/// Drills at a time: most of a drill is waiting.
const AT_ONCE: usize = 5;
/// Connections that are cut.
const CUTS: usize = 30;

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

    /// Runs the verb through `relay`.
    fn run_through(&self, relay: &Relay) -> Run {
        self.nodes.redirect(&relay.address());
        let run = Run::of(self.nodes.csync(&self.verb.arguments()).arg("--timeout=2"));
        self.nodes.redirect(&self.nodes.address);
        run
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
        let ended = (0..RUNS_MAX).any(|at| {
            let run = self.run(&[]);
            said.push_str(&run.to_string());
            matches!(run.code(), Some(0 | 40)) && (self.verb != Verb::Sync || at > 0)
        });
        // What a broken connection staged is cleared when it ends, at the latest with the daemon.
        self.nodes.end();
        let (a, b) = (self.nodes.sandbox.a(), self.nodes.sandbox.b());
        let (left, right) = (Snapshot::of(&a), Snapshot::of(&b));
        let mut faults = left.differences(&right, ALL);
        if !ended {
            faults.push(format!("none of {RUNS_MAX} runs ended well"));
        }
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

/// Does `work` for each of `jobs`, several at a time, and returns what came of them.
fn at_once<T: Send, R: Send>(jobs: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let (jobs, done) = (Mutex::new(jobs.into_iter()), Mutex::new(Vec::new()));
    let next = || jobs.lock().expect("no thread has failed").next();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(job) = next() {
                    let result = work(job);
                    done.lock().expect("no thread has failed").push(result);
                }
            });
        }
    });
    done.into_inner().expect("no thread has failed")
}

/// A kill of one side at a pass of a point.
#[derive(Clone, Copy)]
struct Kill {
    verb: Verb,
    side: usize,
    name: &'static str,
    pass: u64,
}

impl Kill {
    /// Every kill of either side at what it passes.
    fn all() -> Vec<Self> {
        let of = |verb| {
            let sides = points(verb).into_iter().enumerate();
            let names = sides.flat_map(|(side, names)| names.into_iter().map(move |name| (side, name)));
            names
                .flat_map(move |(side, name)| PASSES.iter().map(move |&pass| Self { verb, side, name, pass }))
        };
        at_once(Verb::ALL.to_vec(), |verb| of(verb).collect::<Vec<_>>()).concat()
    }

    /// Kills, and judges what the next runs make of it. Returns whether anything was killed, and the harm.
    fn drill(self) -> (bool, Vec<String>) {
        let mut drill = Drill::new(self.verb);
        let crash = format!("{}:{}", self.name, self.pass);
        let armed = [("CSYNC_CRASH", crash.as_str())];
        let killed = if self.side == 0 {
            drill.run(&armed).was_killed()
        } else {
            drill.nodes.stop();
            if drill.nodes.launch(&armed) {
                drop(Run::of(drill.nodes.csync(&self.verb.arguments()).arg("--timeout=3")));
            }
            !drill.nodes.is_up()
        };
        let mut failures = Vec::new();
        if killed {
            let who = ["csync", "csyncd"][self.side];
            drill.judge(&format!("{who} killed at {crash}"), &mut failures);
        }
        (killed, failures)
    }
}

#[test]
fn a_kill_of_either_side_at_every_point_loses_nothing() {
    let mut fired: [BTreeMap<&'static str, usize>; 2] = Default::default();
    let mut failures = Vec::new();
    for (kill, (killed, harm)) in at_once(Kill::all(), |kill| (kill, kill.drill())) {
        if killed {
            *fired[kill.side].entry(kill.name).or_default() += 1;
        }
        failures.extend(harm);
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

/// Bytes that went over the wire in a run with `--json`, both ways.
fn carried(run: &Run) -> u64 {
    let summary: Value = serde_json::from_str(&run.stdout()).unwrap_or_else(|error| panic!("{error}\n{run}"));
    let count = |name: &str| summary[name].as_u64().expect("a number of bytes");
    count("bytes_sent") + count("bytes_received")
}

/// Bytes that go over the wire when nothing disturbs the run.
fn undisturbed(verb: Verb) -> u64 {
    let drill = Drill::new(verb);
    let relay = Relay::new(&drill.nodes.address, u64::MAX);
    drill.run_through(&relay).ends_with(&[0, 40]);
    relay.passed()
}

/// Cuts a connection after `budget` bytes. Returns the bytes that went over the wire until all was done, if the
/// connection was cut, and the harm.
fn cut(verb: Verb, budget: u64) -> (Option<u64>, Vec<String>) {
    let mut drill = Drill::new(verb);
    let relay = Relay::new(&drill.nodes.address, budget);
    let run = drill.run_through(&relay);
    if !relay.was_cut() {
        return (None, Vec::new());
    }
    let mut failures = Vec::new();
    if !matches!(run.code(), Some(10 | 30 | 35 | 0 | 40)) {
        failures.push(format!("{verb:?}, cut after {budget} bytes\n{run}"));
    }
    let rest = carried(&Run::of(drill.nodes.csync(&verb.arguments()).arg("--json")));
    drill.judge(&format!("cut after {budget} bytes"), &mut failures);
    (Some(relay.passed() + rest), failures)
}

#[test]
fn connections_cut_after_any_number_of_bytes_lose_nothing() {
    let mut random = fastrand::Rng::with_seed(77);
    let whole = Verb::ALL.map(|verb| (verb, undisturbed(verb)));
    let jobs = whole.iter().cycle().take(CUTS + CUTS / 3);
    let jobs = jobs.map(|&(verb, whole)| (verb, whole, random.u64(1_000..whole))).collect();
    let (mut cuts, mut needed, mut carried) = (0, 0, 0);
    let mut failures = Vec::new();
    for (whole, (bytes, harm)) in at_once(jobs, |(verb, whole, budget)| (whole, cut(verb, budget))) {
        failures.extend(harm);
        if let Some(bytes) = bytes {
            cuts += 1;
            needed += whole;
            carried += bytes;
        }
    }
    println!(
        "counted {cuts} connections cut; undisturbed {needed} bytes had gone over the wire, with the cuts {carried}"
    );
    no_failures(&failures);
    assert!(cuts >= CUTS, "only {cuts} connections were cut");
}

/// Files of the long run that is cut off in its middle, and their size.
const MANY: usize = 1500;
const EACH: usize = 20_000;

/// Cuts a run off after the half of its bytes: the next one carries what is not there yet.
fn go_on_after_a_cut(verb: Verb) {
    let nodes = Nodes::new(PLAIN);
    let (from, to) = match verb {
        Verb::Push | Verb::Sync => (nodes.sandbox.a(), nodes.sandbox.b()),
        Verb::Pull => (nodes.sandbox.b(), nodes.sandbox.a()),
    };
    for number in 0..MANY {
        let path = format!("d{}/f{number}", number / 100);
        write(&from, &path, &patterned(&path, EACH));
    }
    let total = (MANY * EACH) as u64;
    let mut drill = Drill { nodes, verb, precious: Snapshot::of(&from).contents() };
    let relay = Relay::new(&drill.nodes.address, total / 2);
    let first = drill.run_through(&relay);
    assert!(relay.was_cut() && !matches!(first.code(), Some(0)), "the run was not cut\n{first}");
    // What came of it is known once the daemon has noticed as well.
    drill.nodes.end();
    let had: u64 = Snapshot::of(&to).0.values().map(|node| node.size).sum();
    drill.nodes.start(&[]);
    let second = carried(&Run::of(drill.nodes.csync(&verb.arguments()).arg("--json")).ends_with(&[0]));
    println!(
        "{verb:?} of {MANY} files with {total} bytes, cut off after {}: {had} bytes stood in their places, \
         the next run carried {second}",
        relay.passed()
    );
    let mut failures = Vec::new();
    drill.judge("cut off in the middle", &mut failures);
    no_failures(&failures);
    // What came and has no place yet lies aside, and is not carried again either.
    let rest = total - total / 2;
    assert!(second < rest + total / 10, "{second} of {total} bytes went, of which {rest} were missing");
}

#[test]
fn a_push_that_is_cut_off_goes_on_where_it_was() {
    go_on_after_a_cut(Verb::Push);
}

#[test]
fn a_pull_that_is_cut_off_goes_on_where_it_was() {
    go_on_after_a_cut(Verb::Pull);
}

#[test]
fn a_sync_that_is_cut_off_goes_on_where_it_was() {
    go_on_after_a_cut(Verb::Sync);
}
