//! A real tree that nobody prepared, kept the same in two copies: the sources of the crates that this build is made of.
#![cfg(feature = "system")]
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test may stop the test")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test is the user who changes the tree by path, times the runs and tells the figures"
)]

#[path = "support/edits.rs"]
mod edits;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/tree.rs"]
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use csync::model::entry::Digest;
use serde_json::Value;

use edits::{Edits, contents, targets};
use sandbox::{CSYNC, Run, Sandbox, copy_tree};
use tree::{ALL, Snapshot, kept_contents, staged};

/// Fewer would prove little.
const FILES_MIN: usize = 10_000;
const SEED: u64 = 20;

/// The registry's sources: `$CARGO_HOME/registry/src`, or that of the home directory.
fn sources() -> PathBuf {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let sources = home.expect("CARGO_HOME or HOME is set").join("registry/src");
    let files = if sources.is_dir() { count(&Snapshot::of(&sources), 'f') } else { 0 };
    assert!(
        files >= FILES_MIN,
        "{} has {files} files, {FILES_MIN} are wanted: fetch the dependencies of this package first",
        sources.display()
    );
    sources
}

fn count(tree: &Snapshot, kind: char) -> usize {
    tree.0.values().filter(|node| node.kind == kind).count()
}

/// Runs `csync sync a b` with `--json`, and tells what it took.
fn timed(sandbox: &Sandbox, what: &str, codes: &[i32]) -> Value {
    let peak = sandbox.path("peak");
    let time = Path::new("/usr/bin/time");
    let mut command = if time.exists() {
        let mut command = sandbox.command(time);
        command.args(["-q", "-f", "%M", "-o"]).arg(&peak).arg(CSYNC);
        command
    } else {
        sandbox.command(CSYNC)
    };
    let begun = Instant::now();
    let run = Run::of(command.args(["sync", "a", "b", "--yes", "--json"])).ends_with(codes);
    let seconds = begun.elapsed().as_secs_f64();
    let summary: Value = serde_json::from_str(&run.stdout()).expect("one JSON object");
    let peak = fs::read_to_string(peak).unwrap_or_default();
    let peak = peak
        .trim()
        .parse::<u64>()
        .map_or_else(|_| "peak memory unknown".to_owned(), |kib| format!("peak memory {} MiB", kib / 1024));
    println!(
        "{what}: {seconds:.2} s, {peak}, {} files, {} bytes in them, {} bytes written, created {}, updated {}, \
         deleted {}, renamed {}, conflicts {}",
        summary["files"],
        summary["bytes_total"],
        summary["bytes_received"],
        summary["created"],
        summary["updated"],
        summary["deleted"],
        summary["renamed"],
        summary["conflicts"]
    );
    assert_eq!(summary["skipped"], serde_json::json!([]), "{run}");
    summary
}

/// Both roots are equal, and nothing of what stood on either before is lost. Returns what stands now.
fn settled(sandbox: &Sandbox, before: &[Snapshot; 2], when: &str) -> Snapshot {
    let (a, b) = (sandbox.a(), sandbox.b());
    let (one, two) = (Snapshot::of(&a), Snapshot::of(&b));
    one.agrees_with(&two, ALL, when);
    let mut have = one.contents();
    have.extend(kept_contents(&a));
    have.extend(kept_contents(&b));
    for (side, tree) in ["first", "second"].iter().zip(before) {
        let lost: Vec<String> = tree
            .0
            .iter()
            .filter(|(_, node)| node.digest.is_some_and(|digest| !have.contains(&digest)))
            .map(|(path, _)| path.escape_ascii().to_string())
            .collect();
        assert!(lost.is_empty(), "{when}: lost from the {side} root: {lost:#?}");
    }
    for root in [&a, &b] {
        assert_eq!(staged(root), Vec::<String>::new(), "{when}: left in the stage");
    }
    one
}

/// A further run prints nothing and changes nothing.
fn at_rest(sandbox: &Sandbox) {
    let before = both(sandbox);
    let run = sandbox.sync(&["-i"]).ends_with(&[0]);
    assert_eq!(run.stdout(), "", "{run}");
    assert!(both(sandbox) == before, "a run with nothing to do changed a root");
}

fn both(sandbox: &Sandbox) -> [Snapshot; 2] {
    [Snapshot::of(&sandbox.a()), Snapshot::of(&sandbox.b())]
}

/// Every path that stood on either side stands after a union.
fn nothing_deleted(before: &[Snapshot; 2], now: &Snapshot) {
    for path in before.iter().flat_map(|tree| tree.0.keys()) {
        assert!(now.0.contains_key(path), "a union deleted {}", path.escape_ascii());
    }
}

fn json(run: &Run) -> Value {
    serde_json::from_str(&run.stdout()).expect("one JSON object")
}

/// What `conflicts --json` lists for `root`: path, and the digests of the two sides where they are files.
fn conflicts(sandbox: &Sandbox, root: &str) -> BTreeMap<String, [Option<String>; 2]> {
    let run = sandbox.run(&["conflicts", root, "--json"]).ends_with(&[0]);
    let listed = json(&run);
    let rows = listed["conflicts"].as_array().expect("a list of conflicts");
    rows.iter()
        .map(|row| {
            let path = row["path"].as_str().expect("a path").to_owned();
            let side = |name: &str| row[name]["digest"].as_str().map(str::to_owned);
            (path, [side("local"), side("other")])
        })
        .collect()
}

/// The versions of a path on one root, restored: each by `restore`, and each file the same by `cat`.
fn restored(sandbox: &Sandbox, root: &str, path: &str) -> (BTreeSet<Digest>, BTreeSet<Vec<u8>>) {
    let path = format!("{root}/{path}");
    let listed = json(&sandbox.run(&["versions", &path, "--json"]).ends_with(&[0]));
    let (mut digests, mut links) = (BTreeSet::new(), BTreeSet::new());
    for version in listed["versions"].as_array().expect("a list of versions") {
        let id = version["id"].as_str().expect("an id");
        let at = format!("{path}@{id}");
        let to = sandbox.path("restored");
        drop(fs::remove_dir_all(&to));
        sandbox.run(&["restore", &at, "--to", "restored"]).ends_with(&[0]);
        let tree = Snapshot::of(&to);
        links.extend(targets(&tree));
        for digest in tree.contents() {
            let shown = sandbox.csync(&["cat", &at]).output().expect("run csync cat");
            assert_eq!(Digest::of(&shown.stdout), digest, "cat and restore differ for {at}");
            digests.insert(digest);
        }
    }
    (digests, links)
}

/// Each conflict is listed at both roots, and there its loser is as it was written.
fn losers_come_back(sandbox: &Sandbox, edits: &Edits, now: &Snapshot) {
    let listed = conflicts(sandbox, "a");
    assert_eq!(listed, conflicts(sandbox, "b"), "both roots list the same conflicts");
    for (path, [one, two]) in edits.rivals() {
        let path = path.as_str();
        assert!(listed.contains_key(path), "no conflict is listed for {path}");
        let live = now.0.get(path.as_bytes()).expect("a conflict's path stands");
        for root in ["a", "b"] {
            let (files, links) = restored(sandbox, root, path);
            for written in [one, two] {
                let stands = live.digest == written.digest && live.target == written.target;
                let kept = written.digest.is_some_and(|digest| files.contains(&digest))
                    || written.target.as_ref().is_some_and(|target| links.contains(target));
                assert!(stands || kept, "{root}/{path}: neither live nor restored");
                if let Some(digest) = written.digest {
                    let sides = &listed[path];
                    assert!(sides.contains(&Some(digest.to_string())), "{path}: listed with other digests");
                }
            }
        }
    }
    let expected: BTreeSet<&String> = edits.rivals().keys().collect();
    let unexpected: Vec<&String> = listed.keys().filter(|path| !expected.contains(path)).collect();
    assert!(unexpected.is_empty(), "conflicts that nobody made: {unexpected:#?}");
    println!("{} conflicts, every loser restored at both roots", listed.len());
}

#[test]
fn two_copies_of_the_registry_sources_stay_the_same() {
    let (sources, sandbox) = (sources(), Sandbox::new());
    let (a, b) = (sandbox.a(), sandbox.b());
    for root in [&a, &b] {
        copy_tree(&sources.join("."), root);
    }
    let mut edits = Edits::new(&a, &b, SEED);
    println!("seed {SEED}");

    edits.on_one_side_only();
    let before = both(&sandbox);
    timed(&sandbox, "union", &[40]);
    let now = settled(&sandbox, &before, "after the union");
    nothing_deleted(&before, &now);
    losers_come_back(&sandbox, &edits, &now);
    at_rest(&sandbox);
    println!("{} directories, {} symlinks", count(&now, 'd'), count(&now, 'l'));

    edits.everywhere();
    println!("edits: {}", edits.told());
    let before = both(&sandbox);
    let summary = timed(&sandbox, "edits on both sides", &[40]);
    assert!(
        summary["renamed"].as_u64() >= Some(edits.moved_files()),
        "directories that were renamed are renamed on the other side"
    );
    let now = settled(&sandbox, &before, "after the edits");
    edits.followed(&now);
    losers_come_back(&sandbox, &edits, &now);
    let everything = contents(&before);
    println!("{} contents stood before, all of them live or kept", everything.len());
    at_rest(&sandbox);
    timed(&sandbox, "nothing to do", &[0]);
}
