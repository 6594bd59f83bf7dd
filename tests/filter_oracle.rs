//! Our filter rules against rsync's own: the same rules over the same trees, path by path.

#![cfg(feature = "system")]
#![allow(clippy::panic, reason = "a helper of a test may stop the test")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a helper of a test may stop the test")]

#[path = "support/filter_cases.rs"]
mod filter_cases;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use csync::model::path::RelPath;
use csync::rules::filter::FilterBuilder;
use csync::rules::rule::Side;
use csync::rules::scope::Scope;

use filter_cases::{CASES, Case, TREE};

/// A stale sibling of `name`, which only the receiver has.
fn stale(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((stem, suffix)) if !stem.is_empty() && !suffix.contains('/') => format!("{stem}s.{suffix}"),
        _ => format!("{name}s"),
    }
}

fn write(root: &Path, name: &str, contents: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().expect("a file has a parent")).expect("mkdir");
    fs::write(path, contents).expect("write");
}

fn build(case: &Case, sender: &Path, receiver: &Path) {
    for name in TREE {
        write(sender, name, "new content");
        write(receiver, &stale(name), "stale");
    }
    // A directory that the sender does not have at all.
    for name in ["gone/a.o", "gone/x", "gone/foo/xs", "foo/gone/a.o"] {
        write(receiver, name, "stale");
    }
    for (name, contents) in case.rule_files {
        write(sender, name, contents);
        write(receiver, name, contents);
    }
}

fn arguments(case: &Case, sender: &Path) -> Vec<String> {
    let here = format!("{}/", sender.display());
    case.args.iter().map(|arg| arg.replace("@/", &here)).collect()
}

/// Returns every path below `root`; directories end with `/`.
fn listing(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).expect("readdir") {
            let path = entry.expect("entry").path();
            let name = path.strip_prefix(root).expect("below the root").to_str().expect("text").to_owned();
            if path.is_dir() {
                found.insert(name + "/");
                open.push(path);
            } else {
                found.insert(name);
            }
        }
    }
    found
}

fn rsync(args: &[String], sender: &Path, receiver: &Path) {
    let from = format!("{}/", sender.display());
    let output =
        Command::new("rsync").arg("-a").args(args).arg(from).arg(receiver).output().expect("rsync runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn scope(args: &[String], sender: &Path, receiver: &Path) -> Arc<Scope> {
    let mut builder = FilterBuilder::new(args.iter().any(|arg| arg == "--delete-excluded"))
        .with_root(Side::Sender, sender.as_os_str().as_bytes())
        .with_root(Side::Receiver, receiver.as_os_str().as_bytes());
    let mut args = args.iter();
    while let Some(option) = args.next() {
        if option == "--delete-excluded" {
            continue;
        }
        let rule = args.next().expect("an option has its value").as_bytes();
        match option.as_str() {
            "-f" => {
                let mut wanted: Vec<_> = builder.rule(rule).expect("a rule").into_iter().collect();
                while let Some(request) = wanted.pop() {
                    let contents = fs::read(OsStr::from_bytes(request.file())).expect("a file of rules");
                    wanted.extend(builder.merge(request, &contents).expect("rules"));
                }
            }
            "--exclude-from" | "--include-from" => {
                let contents = fs::read(OsStr::from_bytes(rule)).expect("a file of patterns");
                let add = match option.as_str() {
                    "--exclude-from" => FilterBuilder::exclude_from,
                    _ => FilterBuilder::include_from,
                };
                add(&mut builder, &contents, rule).expect("patterns");
            }
            "--exclude" => builder.exclude(rule).expect("a pattern"),
            "--include" => builder.include(rule).expect("a pattern"),
            other => panic!("unknown option {other}"),
        }
    }
    builder.build().expect("rules")
}

/// Enters `dir` with the files that the scope names, and those that these name in turn.
fn enter(above: &Arc<Scope>, root: &Path, dir: &RelPath) -> Arc<Scope> {
    let at = root.join(OsStr::from_bytes(dir.as_bytes()));
    let mut files: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut inside = Arc::clone(above);
    loop {
        let read = files.len();
        for name in inside.merge_names() {
            if let Ok(contents) = fs::read(at.join(OsStr::from_bytes(name)))
                && files.iter().all(|(known, _)| known != name)
            {
                files.push((name.to_vec(), contents));
            }
        }
        inside = above.enter(dir, &files).expect("rule files");
        if files.len() == read {
            return inside;
        }
    }
}

fn children(root: &Path, dir: &RelPath) -> Vec<(RelPath, bool)> {
    let at = root.join(OsStr::from_bytes(dir.as_bytes()));
    let entries = fs::read_dir(at).expect("readdir").map(|entry| entry.expect("entry"));
    entries.map(|e| (dir.join(e.file_name().as_bytes()).expect("a name"), e.path().is_dir())).collect()
}

fn shown(path: &RelPath, is_dir: bool) -> String {
    String::from_utf8(path.as_bytes().to_vec()).expect("text") + if is_dir { "/" } else { "" }
}

/// Adds what our rules let through below `dir`.
fn sent(scope: &Arc<Scope>, root: &Path, dir: &RelPath, found: &mut BTreeSet<String>) {
    let inside = enter(scope, root, dir);
    for (path, is_dir) in children(root, dir) {
        if inside.verdict(&path, is_dir, Side::Sender).is_excluded() {
            continue;
        }
        found.insert(shown(&path, is_dir));
        if is_dir {
            sent(&inside, root, &path, found);
        }
    }
}

/// Adds what remains below `dir` of the receiver; returns whether anything does. `gone`: the sender sends no such
/// directory, so it goes too unless something in it is protected.
fn kept(
    scope: &Arc<Scope>,
    root: &Path,
    (dir, gone): (&RelPath, bool),
    sent: &BTreeSet<String>,
    found: &mut BTreeSet<String>,
) -> bool {
    let inside = enter(scope, root, dir);
    let mut any = false;
    for (path, is_dir) in children(root, dir) {
        let name = shown(&path, is_dir);
        let verdict = match gone {
            true => inside.verdict_in_deleted(&path, is_dir),
            false => inside.verdict(&path, is_dir, Side::Receiver),
        };
        let is_sent = sent.contains(&name);
        let stays = if is_sent {
            if is_dir {
                kept(&inside, root, (&path, false), sent, found);
            }
            true
        } else if verdict.is_excluded() {
            if is_dir {
                let below = listing(&root.join(&name));
                found.extend(below.into_iter().map(|rest| format!("{name}{rest}")));
            }
            true
        } else {
            is_dir && kept(&inside, root, (&path, true), sent, found)
        };
        if stays {
            found.insert(name);
            any = true;
        }
    }
    any
}

/// Returns how ours differs from rsync's, each path with `+` where only ours has it.
fn difference(ours: &BTreeSet<String>, theirs: &BTreeSet<String>) -> Vec<String> {
    let more = ours.difference(theirs).map(|path| format!("+{path}"));
    more.chain(theirs.difference(ours).map(|path| format!("-{path}"))).collect()
}

fn check(case: &Case) -> Result<(), String> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let [sender, empty, receiver] = ["sender", "empty", "receiver"].map(|name| dir.path().join(name));
    fs::create_dir(&empty).expect("mkdir");
    build(case, &sender, &receiver);
    let mut args = arguments(case, &sender);
    let scope = scope(&args, &sender, &receiver);
    let root = RelPath::root();

    let mut ours = BTreeSet::new();
    sent(&scope, &sender, &root, &mut ours);
    let mut remaining = ours.clone();
    kept(&scope, &receiver, (&root, false), &ours, &mut remaining);

    rsync(&args, &sender, &empty);
    let differences = difference(&ours, &listing(&empty));
    if !differences.is_empty() {
        return Err(format!("{}: sent: {differences:?}", case.case));
    }
    args.push("--delete".to_owned());
    rsync(&args, &sender, &receiver);
    let differences = difference(&remaining, &listing(&receiver));
    if !differences.is_empty() {
        return Err(format!("{}: kept: {differences:?}", case.case));
    }
    Ok(())
}

#[test]
fn every_case_transfers_and_protects_what_rsync_does() {
    let names: BTreeSet<_> = CASES.iter().map(|case| case.case).collect();
    assert_eq!(names.len(), CASES.len(), "a name stands for one case");
    assert!(CASES.len() >= 60);
    let faults: Vec<String> = CASES.iter().filter_map(|case| check(case).err()).collect();
    println!("{} passed", CASES.len() - faults.len());
    assert!(faults.is_empty(), "{} of {} differ:\n{}", faults.len(), CASES.len(), faults.join("\n"));
}

/// Rules that transfer everything would agree with a filter that does nothing: most cases must bite.
#[test]
fn most_cases_exclude_something() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut biting = 0;
    for (number, case) in CASES.iter().enumerate() {
        let [sender, receiver] =
            ["sender", "receiver"].map(|side| dir.path().join(number.to_string()).join(side));
        build(case, &sender, &receiver);
        let args = arguments(case, &sender);
        let scope = scope(&args, &sender, &receiver);
        let mut ours = BTreeSet::new();
        sent(&scope, &sender, &RelPath::root(), &mut ours);
        biting += usize::from(ours.len() < listing(&sender).len());
    }
    println!("{biting} of {} cases exclude something on the sender", CASES.len());
    assert!(biting * 3 > CASES.len() * 2);
}
