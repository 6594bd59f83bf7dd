//! Kill -9 at every named point, at system calls, and during the recovery from a kill: converged, nothing lost, nothing
//! torn, nothing left over. A run in which no kill fired does not count.
#![cfg(feature = "system")]
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test may stop the test")]
#![allow(clippy::disallowed_methods, reason = "a test is the user who changes the tree by path")]

#[path = "kill/drill.rs"]
mod drill;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/tree.rs"]
mod tree;
#[path = "kill/workload.rs"]
mod workload;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use csync::fault::Point;

use drill::{Drill, Kill, end_of, traced};
use sandbox::{Run, Sandbox};
use tree::{Snapshot, build};
use workload::{WORKLOADS, Workload};

/// A point is killed at these of its passes, where it is passed so often.
const PASSES: &[u64] = &[1, 2, 7];

/// The system calls by which a run changes anything, or makes it durable.
const CALLS: &[&str] = &[
    "openat",
    "openat2",
    "write",
    "pwrite64",
    "copy_file_range",
    "fdatasync",
    "fsync",
    "renameat2",
    "renameat",
    "rename",
    "linkat",
    "unlinkat",
    "unlink",
    "mkdirat",
    "symlinkat",
    "fchmod",
    "fchmodat",
    "fchown",
    "fchownat",
    "utimensat",
    "ftruncate",
    "fallocate",
    "ioctl",
    "flock",
    "fcntl",
    "syncfs",
    "statx",
    "getdents64",
    "read",
    "pread64",
];

fn named(text: &str) -> Option<&'static str> {
    Point::ALL.iter().map(|point| point.name()).find(|name| *name == text)
}

/// How often a run was killed where.
#[derive(Default)]
struct Fired {
    points: BTreeMap<&'static str, usize>,
    failures: Vec<String>,
}

impl Fired {
    fn count(&mut self, kill: &Kill) {
        if let Kill::Point(name, _) = kill {
            *self.points.entry(name).or_default() += 1;
        }
    }

    fn total(&self) -> usize {
        self.points.values().sum()
    }
}

#[test]
fn a_kill_at_every_named_point_loses_nothing() {
    let mut fired = Fired::default();
    for workload in WORKLOADS {
        kill_at_points_of(workload, &mut fired);
    }
    for name in ["displaced-check", "displaced-back", "displaced-gone"] {
        kill_while_a_user_writes(&Kill::Point(named(name).expect(name), 1), &mut fired);
    }
    println!(
        "\ncounted kills at named points: {} at {} of {} points",
        fired.total(),
        fired.points.len(),
        Point::ALL.len()
    );
    for (name, count) in &fired.points {
        println!("  {name}: {count}");
    }
    no_failures(&fired.failures);
    // Those of the wire are passed by runs between two nodes: `wire_kill`.
    let local = Point::ALL.iter().map(|point| point.name()).filter(|name| !name.starts_with("wire-"));
    let never: Vec<&str> = local.filter(|name| !fired.points.contains_key(name)).collect();
    assert!(never.is_empty(), "points at which nothing was ever killed: {never:?}");
    assert!(Point::ALL.len() >= 30, "only {} points", Point::ALL.len());
}

#[track_caller]
fn no_failures(failures: &[String]) {
    assert!(failures.is_empty(), "{} kills did harm:\n{}", failures.len(), failures.join("\n"));
}

/// Kills `workload` at each point that it passes, and the recovery from each kill at each point that only it passes.
fn kill_at_points_of(workload: &Workload, fired: &mut Fired) {
    let clean = Drill::new(workload);
    clean.points();
    clean.run(None);
    let end = end_of(workload);
    let passed = clean.points();
    let mut recovering = BTreeSet::new();
    for (name, nth) in
        passed.iter().filter_map(|text| named(text)).flat_map(|name| PASSES.iter().map(move |n| (name, *n)))
    {
        let kill = Kill::Point(name, nth);
        let drill = Drill::new(workload);
        if !drill.run(Some(&kill)) {
            continue;
        }
        fired.count(&kill);
        drill.points();
        drill.judge(&end, &format!("{}, killed at {kill:?}", workload.name), &mut fired.failures);
        for only in drill.points().difference(&passed).filter_map(|text| named(text)) {
            if recovering.insert((only, name)) {
                kill_recovery(workload, &kill, only, &end, fired);
            }
        }
    }
}

fn kill_recovery(workload: &Workload, first: &Kill, point: &'static str, end: &Snapshot, fired: &mut Fired) {
    for nth in PASSES {
        let second = Kill::Point(point, *nth);
        let drill = Drill::new(workload);
        if drill.run(Some(first)) && drill.run(Some(&second)) {
            fired.count(&second);
            drill.judge(
                end,
                &format!("{}, killed at {first:?} and then at {second:?}", workload.name),
                &mut fired.failures,
            );
        }
    }
}

/// A user replaces a file just before csync exchanges it: the run stops (SIGSTOP) once the exchange is marked.
fn kill_while_a_user_writes(kill: &Kill, fired: &mut Fired) {
    let sandbox = Sandbox::new();
    let (a, b) = (sandbox.a(), sandbox.b());
    build(&a, "file=base other=1");
    sandbox.sync(&[]).ends_with(&[0]);
    build(&a, "file=edited-on-a");
    let Kill::Point(name, nth) = kill else { return };
    let injection = ["symlinkat:signal=STOP:when=1".to_owned()];
    let mut command = traced(&sandbox, &injection, &sandbox.path("trace"));
    command.args(["sync", "a", "b", "--yes"]).env("CSYNC_CRASH", format!("{name}:{nth}"));
    let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = child.spawn().expect("start the run");
    let stage = b.join(".csync/stage");
    let marked =
        || fs::read_dir(&stage).is_ok_and(|names| names.flatten().any(|name| name.path().is_symlink()));
    while !marked() {
        assert!(
            child.try_wait().expect("look at the run").is_none(),
            "the run ended before its exchange was marked"
        );
        std::thread::yield_now();
    }
    build(&b, "file=written-meanwhile-by-a-user");
    let tracee =
        fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).expect("find the run");
    let go_on = Run::of(sandbox.command("sh").args(["-c", &format!("kill -CONT {}", tracee.trim())]));
    assert_eq!(go_on.code(), Some(0), "{go_on}");
    let run = Run::ended("csync under strace", child.wait_with_output().expect("wait for the run"));
    if run.was_killed() {
        fired.count(kill);
    }
    sandbox.sync(&["--yes"]).ends_with(&[0, 40]);
    sandbox.sync(&["--yes"]).ends_with(&[0, 40]);
    let [left, right] = drill::both(&sandbox);
    left.agrees_with(&right, tree::ALL, &format!("a user wrote meanwhile, killed at {name}"));
    let there: BTreeSet<_> =
        [left.contents(), tree::kept_contents(&a), tree::kept_contents(&b)].into_iter().flatten().collect();
    for content in ["edited-on-a", "written-meanwhile-by-a-user"] {
        let digest = csync::model::entry::Digest::of(content.as_bytes());
        assert!(there.contains(&digest), "killed at {name}: `{content}` is gone");
    }
}

/// How often one thread makes each of [`CALLS`] in a whole run of `workload`.
fn calls_of(workload: &Workload) -> Vec<(String, u64)> {
    let drill = Drill::new(workload);
    let log = drill.sandbox.path("trace");
    let calls: Vec<String> = CALLS.iter().map(|&call| call.to_owned()).collect();
    let run = Run::of(traced(&drill.sandbox, &calls, &log).args(workload.arguments));
    run.ends_with(&[0, 40]);
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    for line in fs::read_to_string(&log).expect("read the trace").lines() {
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        let Some((call, _)) = rest.trim_start().split_once('(') else {
            continue;
        };
        *counts.entry((call.to_owned(), thread.to_owned())).or_default() += 1;
    }
    let mut most: BTreeMap<String, u64> = BTreeMap::new();
    for ((call, _), count) in counts.into_iter().filter(|((call, _), _)| CALLS.contains(&call.as_str())) {
        let entry = most.entry(call).or_default();
        *entry = count.max(*entry);
    }
    most.into_iter().collect()
}

/// A workload that can be killed by a system call, its calls, and its end.
type Traceable = (&'static Workload, Vec<(String, u64)>, Snapshot);

fn traceable() -> Vec<Traceable> {
    let plain = WORKLOADS.iter().filter(|workload| workload.without.is_none());
    plain.map(|workload| (workload, calls_of(workload), end_of(workload))).collect()
}

#[test]
fn two_hundred_kills_by_system_call_lose_nothing() {
    let mut random = fastrand::Rng::with_seed(200);
    let workloads = traceable();
    let mut fired: BTreeMap<String, usize> = BTreeMap::new();
    let mut failures = Vec::new();
    let (mut kills, mut runs) = (0, 0);
    while kills < 200 {
        assert!(runs < 800, "only {kills} of {runs} kills fired");
        let (workload, calls, end) = &workloads[runs % workloads.len()];
        let (call, most) = &calls[(runs / workloads.len()) % calls.len()];
        let kill = Kill::Call(call.clone(), random.u64(1..=*most));
        runs += 1;
        let drill = Drill::new(workload);
        if drill.run(Some(&kill)) {
            kills += 1;
            *fired.entry(call.clone()).or_default() += 1;
            drill.judge(end, &format!("{}, killed at {kill:?}", workload.name), &mut failures);
        }
    }
    println!("\ncounted kills by system call: {kills} in {runs} runs, at {} calls: {fired:?}", fired.len());
    no_failures(&failures);
}

#[test]
fn fifty_kills_during_recovery_lose_nothing() {
    let mut random = fastrand::Rng::with_seed(50);
    let workloads = traceable();
    let mut failures = Vec::new();
    let (mut kills, mut runs) = (0, 0);
    while kills < 50 {
        assert!(runs < 400, "only {kills} of {runs} kills fired twice");
        let (workload, calls, end) = &workloads[runs % workloads.len()];
        let mut pick = || {
            let (call, most) = &calls[random.usize(..calls.len())];
            Kill::Call(call.clone(), random.u64(1..=*most))
        };
        let (first, second) = (pick(), pick());
        runs += 1;
        let drill = Drill::new(workload);
        if drill.run(Some(&first)) && drill.run(Some(&second)) {
            kills += 1;
            drill.judge(
                end,
                &format!("{}, killed at {first:?} and then at {second:?}", workload.name),
                &mut failures,
            );
        }
    }
    println!("\ncounted kills during recovery: {kills} in {runs} runs");
    no_failures(&failures);
}
