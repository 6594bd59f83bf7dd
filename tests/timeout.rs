//! A peer that falls silent: the run ends as soon as `--timeout` says, whatever it was doing.

#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test may stop the test")]
#![allow(clippy::disallowed_methods, reason = "a watchdog has a clock")]

#[path = "support/node.rs"]
mod node;
#[path = "support/sandbox.rs"]
mod sandbox;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use node::{FOLDER, Nodes, PLAIN};
use sandbox::Run;

/// A run that takes longer hangs.
const WATCHDOG: Duration = Duration::from_secs(25);
/// More than goes over the wire before the peer falls silent.
const CONTENT_BYTES: usize = 16 << 20;

/// 1 MiB in the blocks that a stat counts.
const GROWN_BLOCKS: u64 = 2048;

/// Sends the daemon a signal.
fn signal(nodes: &Nodes, name: &str) {
    let pid = nodes.pid().to_string();
    Run::of(Command::new("kill").args([name, &pid])).ends_with(&[0]);
}

/// Runs csync; once it has `begun`, the daemon falls silent. Returns how the run ended.
fn silenced(nodes: &Nodes, arguments: &[&str], begun: impl Fn(u32) -> bool) -> Run {
    let mut command = nodes.csync(arguments);
    let line = format!("{command:?}");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("csync starts");
    let until = Instant::now() + WATCHDOG;
    while !begun(child.id()) {
        assert!(Instant::now() < until, "never begun: {line}");
        std::thread::yield_now();
    }
    signal(nodes, "-STOP");
    let pid = child.id().to_string();
    let (ended, end) = channel();
    let waiter = std::thread::spawn(move || ended.send(child.wait_with_output()));
    let output = end.recv_timeout(WATCHDOG);
    if output.is_err() {
        Run::of(Command::new("kill").args(["-KILL", &pid])).ends_with(&[0]);
    }
    drop(waiter.join());
    signal(nodes, "-CONT");
    let output = output.unwrap_or_else(|_hung| panic!("hangs: {line}")).expect("csync ends");
    Run::ended(&line, output)
}

/// Whether content has begun to arrive at the process: it holds a file in `root` that has grown; its name comes last.
fn arrives(pid: u32, root: &Path) -> bool {
    let held = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut held = held.map(|entry| entry.path());
    held.any(|fd| {
        fs::read_link(&fd).is_ok_and(|to| to.starts_with(root))
            && fs::metadata(&fd).is_ok_and(|found| found.is_file() && found.blocks() > GROWN_BLOCKS)
    })
}

/// Bytes that cannot be compressed.
fn content() -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(7);
    (0..CONTENT_BYTES).map(|_| rng.u8(..)).collect()
}

#[test]
fn a_silent_peer_ends_a_run_in_time() {
    let nodes = Nodes::new(PLAIN);
    let (a, b) = (nodes.sandbox.a(), nodes.sandbox.b());
    fs::write(a.join("large"), content()).expect("a file");
    let slow = ["--timeout=1", "--bwlimit=1m"];
    let push = ["push", "a/", FOLDER];
    let silent = silenced(&nodes, &[&push[..], &slow].concat(), |_| arrives(nodes.pid(), &b));
    silent.ends_with(&[30]).says(&["error[E044]", "--timeout", "fix:"]);

    let at_once = silenced(&nodes, &[&push[..], &["--timeout=1"]].concat(), |_| true);
    at_once.ends_with(&[30, 35]).says(&["error[E044]", "fix:"]);
    nodes.run(&push).ends_with(&[0]);

    let c = nodes.sandbox.path("c");
    let folder = format!("{FOLDER}/");
    let pull = [&["pull", &folder, "c"], &slow[..]].concat();
    silenced(&nodes, &pull, |pid| arrives(pid, &c)).ends_with(&[30]).says(&["error[E044]", "fix:"]);
    let d = nodes.sandbox.path("d");
    fs::create_dir(&d).expect("a root");
    let sync = [&["sync", "d", FOLDER], &slow[..]].concat();
    silenced(&nodes, &sync, |pid| arrives(pid, &d)).ends_with(&[30]).says(&["error[E044]", "fix:"]);
    nodes.run(&["sync", "d", FOLDER]).ends_with(&[0]);
    assert!(fs::read(d.join("large")).expect("a file") == content(), "the next run goes on");
}

#[test]
fn a_limit_of_the_rate_holds_both_ways() {
    let nodes = Nodes::new(PLAIN);
    let bytes = &content()[..3 << 20];
    fs::write(nodes.sandbox.a().join("file"), bytes).expect("a file");
    for arguments in [["push", "--bwlimit=1m", "a/", FOLDER], ["pull", "--bwlimit=1m", FOLDER, "c"]] {
        let begun = Instant::now();
        nodes.run(&arguments).ends_with(&[0]);
        let seconds = begun.elapsed().as_secs_f64();
        assert!((2.1..8.0).contains(&seconds), "3 MiB at 1 MiB/s took {seconds} s: {arguments:?}");
    }
}

#[test]
fn the_rate_of_a_folder_holds_whatever_its_guests_ask_for() {
    let nodes = Nodes::new("mode = \"two-way\"\nallow = { one = \"write\" }\nlimits = { rate = \"1m\" }\n");
    fs::write(nodes.sandbox.a().join("file"), &content()[..3 << 20]).expect("a file");
    for arguments in [["push", "--bwlimit=0", "a/", FOLDER], ["pull", "--bwlimit=0", FOLDER, "c"]] {
        let begun = Instant::now();
        nodes.run(&arguments).ends_with(&[0]);
        let seconds = begun.elapsed().as_secs_f64();
        assert!(seconds >= 2.1, "3 MiB at 1 MiB/s took {seconds} s: {arguments:?}");
    }
}

#[test]
fn flags_of_the_wire_change_what_goes_over_it() {
    let nodes = Nodes::new(PLAIN);
    let (a, c) = (nodes.sandbox.a(), nodes.sandbox.path("c"));
    let moved = |arguments: &[&str]| {
        let ended = nodes.run(&[arguments, &["--json", "-I"]].concat()).ends_with(&[0]);
        let summary: serde_json::Value = serde_json::from_str(&ended.stdout()).expect("one object");
        summary["bytes_sent"].as_u64().expect("a number") + summary["bytes_received"].as_u64().expect("bytes")
    };
    let folder = format!("{FOLDER}/");
    let ways = [["push", "a/", &folder], ["pull", &folder, "c"]];
    let size = 2 << 20;
    for (number, way) in ways.iter().enumerate() {
        moved(way);
        for (case, flag, range) in [("packed", "-z", 0..size / 4), ("plain", "--no-compress", size..2 * size)]
        {
            let text = format!("{case} of {number}\n").repeat(size / 10);
            let at = if number == 0 { a.join("text") } else { nodes.sandbox.b().join("text") };
            fs::write(at, &text[..size]).expect("a file");
            let went = usize::try_from(moved(&[&way[..], &[flag]].concat())).expect("few");
            assert!(range.contains(&went), "{case}, {}: {went} bytes", way[0]);
        }
        let mut bytes = content();
        for (case, flag, range) in [
            ("first", "--no-whole-file", 0..usize::MAX),
            ("parts", "--no-whole-file", 0..CONTENT_BYTES / 4),
            ("whole", "-W", CONTENT_BYTES..2 * CONTENT_BYTES),
        ] {
            bytes[CONTENT_BYTES / 2] ^= u8::try_from(case.len() + number).expect("short");
            let at = if number == 0 { a.join("random") } else { nodes.sandbox.b().join("random") };
            fs::write(at, &bytes).expect("a file");
            let went = usize::try_from(moved(&[&way[..], &[flag]].concat())).expect("few");
            assert!(range.contains(&went), "{case}, {}: {went} bytes", way[0]);
        }
        if number == 1 {
            assert!(fs::read(c.join("random")).expect("a file") == bytes);
        }
    }
}
