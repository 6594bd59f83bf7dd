//! The filter cases by the real program against the real rsync: the same rules over the same trees, what is left.
#![cfg(feature = "system")]
#![allow(clippy::expect_used, reason = "a helper of a test may stop the test")]

#[path = "support/filter_cases.rs"]
mod filter_cases;
#[path = "support/sandbox.rs"]
mod sandbox;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use filter_cases::{CASES, Case, TREE};
use sandbox::{Run, Sandbox};

/// Rules in files of the standard name, whose name is the one thing that differs between the two programs.
const STANDARD: &[Case] = &[
    Case { case: "-F", args: &["-F"], rule_files: &[("@F", "- *.o\n"), ("foo/@F", "+ a.o\n- x\n")] },
    Case {
        case: "-FF",
        args: &["-FF"],
        rule_files: &[("foo/@F", "- x\n- /bar/deep\n"), ("sub/@F", "P *s\n")],
    },
    Case {
        case: "-F behind a rule",
        args: &["-f", "- core", "-F"],
        rule_files: &[("@F", "+ core\n- a.c\n")],
    },
    Case {
        case: "-F -F and delete excluded",
        args: &["-F", "-F", "--delete-excluded"],
        rule_files: &[("foo/@F", "- *.o\n")],
    },
];

/// A stale sibling of `name`, which only the receiver has.
fn stale(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((stem, suffix)) if !stem.is_empty() && !suffix.contains('/') => format!("{stem}s.{suffix}"),
        _ => format!("{name}s"),
    }
}

fn write(root: &Path, name: &str, contents: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().expect("a file has a parent")).expect("make the parents");
    fs::write(path, contents).expect("write a file");
}

/// Fills the tree of the sender, or of the receiver; `standard` is the name of the standard files of rules.
fn build(case: &Case, standard: &str, root: &Path, is_sender: bool) {
    for name in TREE {
        if is_sender {
            write(root, name, "new content");
        } else {
            write(root, &stale(name), "stale");
            // Some of the sender's are there, other ones, and some are not.
            if name.len().is_multiple_of(2) {
                write(root, name, "old");
            }
        }
    }
    if !is_sender {
        for name in ["gone/a.o", "gone/x", "gone/foo/xs", "foo/gone/a.o"] {
            write(root, name, "stale");
        }
    }
    for (name, contents) in case.rule_files {
        write(root, &name.replace("@F", standard), contents);
    }
}

/// Every path below `root` with its content; the standard files of rules under one name.
fn listing(root: &Path, standard: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).expect("list a directory") {
            let path = entry.expect("list a directory").path();
            let below = path.strip_prefix(root).expect("below the root");
            let name = below.to_str().expect("text").replace(standard, "@F");
            if path.is_dir() {
                found.insert(name + "/", String::new());
                open.push(path);
            } else {
                found.insert(name, fs::read_to_string(&path).expect("read a file"));
            }
        }
    }
    found
}

/// What a program leaves of one case: exit code and destination.
fn outcome(
    case: &Case,
    program: &[&str],
    standard: &str,
    populated: bool,
) -> (Option<i32>, BTreeMap<String, String>) {
    let sandbox = Sandbox::new();
    let (source, dest) = (sandbox.a(), sandbox.b());
    build(case, standard, &source, true);
    if populated {
        build(case, standard, &dest, false);
    }
    let here = format!("{}/", source.display());
    let mut command = sandbox.command(program[0]);
    command.args(&program[1..]).args(["-a", "--delete"]);
    command.args(case.args.iter().map(|arg| arg.replace("@/", &here)));
    let run = Run::of(command.arg(&here).arg(&dest));
    (run.code(), listing(&dest, standard))
}

fn differs(case: &Case, populated: bool) -> Option<String> {
    let ours = outcome(case, &[sandbox::CSYNC, "push", "--yes"], ".csync-filter", populated);
    let theirs = outcome(case, &["rsync"], ".rsync-filter", populated);
    if ours == theirs {
        return None;
    }
    let mut lines = format!("{} (populated: {populated}): {:?} | {:?}", case.case, ours.0, theirs.0);
    for path in ours.1.keys().chain(theirs.1.keys()) {
        let (one, two) = (ours.1.get(path), theirs.1.get(path));
        if one != two && !lines.contains(&format!("\n  {path}: ")) {
            lines += &format!("\n  {path}: {one:?} | {two:?}");
        }
    }
    Some(lines)
}

#[test]
fn every_filter_case_leaves_what_rsync_leaves() {
    let cases = || CASES.iter().chain(STANDARD);
    let faults: Vec<String> = cases()
        .flat_map(|case| [false, true].into_iter().filter_map(|populated| differs(case, populated)))
        .collect();
    println!("counted {} filter cases", cases().count());
    assert!(faults.is_empty(), "{} differ:\n{}", faults.len(), faults.join("\n"));
}
