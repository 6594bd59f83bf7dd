//! What was found by trying to break a run, each with the smallest case that did.
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test may stop the test")]

#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/tree.rs"]
mod tree;

use std::fs;

#[cfg(feature = "system")]
use sandbox::Run;
use sandbox::Sandbox;
use tree::{ALL, Snapshot, build, rename};

/// Both roots hold the same, and a further run has nothing to do.
#[track_caller]
fn at_rest(sandbox: &Sandbox, more: &[&str]) -> Snapshot {
    let [one, two] = [sandbox.a(), sandbox.b()].map(|root| Snapshot::of(&root));
    one.agrees_with(&two, ALL, "after the run");
    let again = sandbox.sync(&[&["-i"], more].concat()).ends_with(&[0]);
    assert_eq!(again.stdout(), "", "{again}");
    one
}

#[test]
fn a_new_file_follows_its_directory_whichever_side_renamed_it() {
    for (mover, other) in [("a", "b"), ("b", "a")] {
        let sandbox = Sandbox::new();
        build(&sandbox.path("a"), "old/sub/f=#4000 old/sub/g=#5000 old/top=#6000");
        sandbox.sync(&[]).ends_with(&[0]);
        rename(&sandbox.path(mover), "old", "further/new");
        build(&sandbox.path(other), "old/sub/fresh=made old/sub/f=edited");
        sandbox.sync(&[]).ends_with(&[0]);
        let now = at_rest(&sandbox, &[]);
        for path in ["further/new/sub/fresh", "further/new/sub/f", "further/new/sub/g"] {
            let paths = now.paths();
            assert!(now.0.contains_key(path.as_bytes()), "{mover} renamed: {paths:?}");
        }
        assert!(!now.0.contains_key(&b"old"[..]), "{mover} renamed: {:?}", now.paths());
    }
}

/// Runs csync as a user without rights, to whom everything in the sandbox belongs.
#[cfg(feature = "system")]
fn unprivileged(sandbox: &Sandbox, arguments: &[&str]) -> Run {
    fs::copy(sandbox::CSYNC, sandbox.path("csync")).expect("copy the program");
    let mut owned = sandbox.command("chown");
    Run::of(owned.args(["-R", "65534:65534"]).arg(sandbox.path("."))).ends_with(&[0]);
    let mut command = sandbox.command("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    Run::of(command.arg(sandbox.path("csync")).args(arguments))
}

#[cfg(feature = "system")]
#[test]
fn an_ordinary_user_carries_changes_into_directories_that_nobody_may_write() {
    let sandbox = Sandbox::new();
    build(&sandbox.a(), "mod/sub/f=#4000 mod/sub/g=#5000 mod/h=1 old/sub/i=#100");
    for path in ["mod/sub", "mod", "old/sub", "old"] {
        tree::chmod(&sandbox.a(), path, 0o555);
    }
    unprivileged(&sandbox, &["sync", "a", "b"]).ends_with(&[0]);
    // As root we change what its owner would have opened and closed again.
    build(&sandbox.a(), "mod/sub/f=edited mod/sub/new=made");
    tree::clear(&sandbox.a(), "mod/sub/g");
    tree::clear(&sandbox.a(), "old");
    rename(&sandbox.a(), "mod/h", "mod/sub/moved");
    build(&sandbox.b(), "mod/sub/other=made");
    unprivileged(&sandbox, &["sync", "a", "b"]).ends_with(&[0]);
    let [one, two] = [sandbox.a(), sandbox.b()].map(|root| Snapshot::of(&root));
    one.agrees_with(&two, ALL, "after the run");
    assert_eq!(one.0.get(&b"mod/sub"[..]).map(|node| node.mode), Some(0o555));
    assert!(one.0.contains_key(&b"mod/sub/other"[..]));
    let again = unprivileged(&sandbox, &["sync", "a", "b", "-i"]).ends_with(&[0]);
    assert_eq!(again.stdout(), "", "{again}");
}

#[test]
fn a_state_directory_inside_a_root_is_left_alone() {
    let sandbox = Sandbox::new();
    build(&sandbox.a(), "f=1 .local/share/note=2 .local/st[a]te*/");
    let state = ["--state-dir", "a/.local/st[a]te*"];
    sandbox.sync(&state).ends_with(&[0]);
    assert!(sandbox.path("a/.local/st[a]te*/replicas").is_dir());
    assert!(sandbox.path("b/.local/share/note").is_file());
    assert!(!sandbox.path("b/.local/st[a]te*").exists());
    build(&sandbox.b(), "f=11");
    sandbox.sync(&state).ends_with(&[0]);
    assert_eq!(fs::read(sandbox.path("a/f")).expect("read a file"), b"11");
    let again = sandbox.sync(&[&["-i"], &state[..]].concat()).ends_with(&[0]);
    assert_eq!(again.stdout(), "", "{again}");
}

#[test]
fn a_state_directory_that_is_the_root_keeps_its_databases_to_itself() {
    let sandbox = Sandbox::new();
    build(&sandbox.a(), "f=1");
    for _ in 0..2 {
        sandbox.sync(&["--state-dir", "a"]).ends_with(&[0]);
    }
    assert!(!sandbox.path("b/replicas").exists());
}
