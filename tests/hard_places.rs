//! One-way runs where the system refuses: no rights, no room, a lock, a mount, a source that will not hold still.
#![cfg(feature = "system")]
#![allow(clippy::expect_used, reason = "a helper of a test may stop the test")]
#![allow(clippy::disallowed_methods, reason = "a test is the user who changes the tree by path")]

use std::fs;
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/trees.rs"]
mod trees;

use sandbox::{CSYNC, Run, Sandbox};
use trees::{differences, picture, set_time};

/// A user without any rights of its own.
const NOBODY: u32 = 65534;

fn write(sandbox: &Sandbox, path: &str, content: impl AsRef<[u8]>) {
    let path = sandbox.path(path);
    fs::create_dir_all(path.parent().expect("a parent")).expect("make the parents");
    fs::write(path, content).expect("write a file");
}

fn mode(sandbox: &Sandbox, path: &str, mode: u32) {
    fs::set_permissions(sandbox.path(path), fs::Permissions::from_mode(mode)).expect("set the mode");
}

fn give(sandbox: &Sandbox, path: &str) {
    chown(sandbox.path(path), Some(NOBODY), Some(NOBODY)).expect("give it away");
}

/// A sandbox that everybody may enter, with the program in it, whose roots `b` and `theirs` belong to nobody.
fn open_sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    mode(&sandbox, "", 0o755);
    fs::copy(CSYNC, sandbox.path("csync")).expect("copy the program");
    fs::create_dir(sandbox.path("theirs")).expect("make a directory");
    for name in ["home", "b", "theirs"] {
        give(&sandbox, name);
    }
    sandbox
}

fn as_nobody(sandbox: &Sandbox, arguments: &[&str]) -> Run {
    let uid = NOBODY.to_string();
    let mut command = sandbox.command("setpriv");
    command.args(["--reuid", &uid, "--regid", &uid, "--clear-groups"]);
    Run::of(command.args(arguments))
}

/// Runs a script in a mount namespace of its own.
fn in_namespace(sandbox: &Sandbox, script: &str) -> Run {
    let mut command = sandbox.command("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-ec"]);
    Run::of(command.args([script, "sh", CSYNC]))
}

fn names(dir: &Path) -> Vec<String> {
    let list = fs::read_dir(dir).expect("list a directory");
    let mut names: Vec<String> = list
        .map(|entry| entry.expect("list a directory").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn an_unreadable_file_is_named_and_keeps_everything_from_deletion() {
    let sandbox = open_sandbox();
    for name in ["a/f", "a/secret", "a/z", "b/old"] {
        write(&sandbox, name, name);
    }
    mode(&sandbox, "a/secret", 0o600);
    give(&sandbox, "b/old");
    as_nobody(&sandbox, &["./csync", "push", "--delete", "--yes", "a/", "b"])
        .ends_with(&[23])
        .says(&["secret", "nothing was deleted"]);
    assert_eq!(names(&sandbox.b()), ["f", "old", "z"]);
}

#[test]
fn an_unreadable_directory_is_no_empty_one() {
    let sandbox = open_sandbox();
    for name in ["a/d/f", "a/z", "b/d/f", "b/old"] {
        write(&sandbox, name, name);
    }
    mode(&sandbox, "a/d", 0o700);
    for name in ["b/d", "b/d/f", "b/old"] {
        give(&sandbox, name);
    }
    as_nobody(&sandbox, &["./csync", "push", "--delete", "--yes", "a/", "b"]).ends_with(&[23]).says(&["d"]);
    assert_eq!(names(&sandbox.b()), ["d", "old", "z"]);
    assert_eq!(names(&sandbox.path("b/d")), ["f"]);
}

#[test]
fn a_closed_directory_is_opened_by_its_owner_and_by_nobody_else() {
    for (case, own, code, inside) in [("its owner's", true, 0, vec!["new"]), ("another's", false, 23, vec![])]
    {
        let sandbox = open_sandbox();
        write(&sandbox, "a/d/new", "1");
        write(&sandbox, "a/z", "2");
        mode(&sandbox, "a/d", 0o555);
        fs::create_dir(sandbox.path("b/d")).expect("make a directory");
        mode(&sandbox, "b/d", 0o555);
        if own {
            give(&sandbox, "b/d");
        }
        let run = as_nobody(&sandbox, &["./csync", "push", "a/", "b"]);
        assert_eq!(run.code(), Some(code), "{case}: {run}");
        assert_eq!(run.stderr().contains("d/new"), !own, "{case}: {run}");
        assert_eq!(names(&sandbox.path("b/d")), inside, "{case}");
        assert_eq!(names(&sandbox.b()), ["d", "z"], "{case}");
        let left = fs::metadata(sandbox.path("b/d")).expect("look").mode();
        assert_eq!(left & 0o7777, 0o555, "{case}");
    }
}

#[test]
fn owners_that_may_not_be_set_and_setgid_directories_come_out_as_in_rsync() {
    let sandbox = open_sandbox();
    for name in ["a/f", "a/plain/g", "a/shared/h", "a/mine/i"] {
        write(&sandbox, name, name);
    }
    mode(&sandbox, "a/shared", 0o2775);
    mode(&sandbox, "a/mine", 0o2755);
    give(&sandbox, "a/mine");
    mode(&sandbox, "a/mine", 0o2755);
    mode(&sandbox, "a/f", 0o4755);
    // rsync leaves a time alone that is right to the second.
    for path in ["a/f", "a/plain", "a/shared", "a/mine", "a"] {
        set_time(&sandbox.path(path), 1_000_000_000);
    }
    for root in ["b", "theirs"] {
        mode(&sandbox, root, 0o2775);
    }
    let run = as_nobody(&sandbox, &["./csync", "push", "a/", "b"]).ends_with(&[0]);
    assert_eq!(run.stderr(), "", "a refused owner is no message");
    as_nobody(&sandbox, &["rsync", "-a", "a/", "theirs"]).ends_with(&[0]);
    let differing = differences(&picture(&sandbox.b()), &picture(&sandbox.path("theirs")));
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    let owner = fs::metadata(sandbox.path("b/f")).expect("look").uid();
    assert_eq!(owner, NOBODY);
}

#[test]
fn a_new_owner_leaves_the_set_id_bits_in_both_directions() {
    let sandbox = Sandbox::new();
    write(&sandbox, "a/tool", "one");
    mode(&sandbox, "a/tool", 0o2775);
    sandbox.sync(&[]).ends_with(&[0]);
    chown(sandbox.path("b/tool"), Some(NOBODY), Some(NOBODY)).expect("give it away");
    mode(&sandbox, "b/tool", 0o2775);
    sandbox.sync(&[]).ends_with(&[0]);
    let found = fs::metadata(sandbox.path("a/tool")).expect("look at it");
    assert_eq!((found.uid(), found.mode() & 0o7777), (NOBODY, 0o2775));
}

#[test]
fn a_full_disk_is_told_by_name_and_leaves_whole_files_only() {
    let sandbox = Sandbox::new();
    (0..200).for_each(|number| write(&sandbox, &format!("a/s{number}"), [b's'; 100]));
    write(&sandbox, "a/large", vec![b'l'; 3 << 20]);
    write(&sandbox, "a/kept", vec![b'n'; 2 << 20]);
    let script = "mount -t tmpfs -o size=1m none b; echo old > b/kept; echo x > b/gone
        code=0; \"$1\" push --delete --yes a/ b || code=$?; cp -a b out; exit $code";
    let run = in_namespace(&sandbox, script).ends_with(&[11]);
    assert!(["large", "kept"].iter().any(|name| run.stderr().contains(name)), "{run}");
    let out = sandbox.path("out");
    assert_eq!(fs::read(out.join("kept")).expect("read"), b"old\n", "{run}");
    for name in names(&out) {
        let content = fs::read(out.join(&name)).expect("nothing of csync's is left");
        let whole = match name.as_str() {
            "kept" | "gone" => true,
            _ => content == [b's'; 100],
        };
        assert!(whole, "{name} has {} bytes", content.len());
    }
    assert!(out.join("gone").exists(), "a run that failed deletes nothing");
}

#[test]
fn a_destination_that_another_run_works_on_is_refused_with_its_process() {
    let sandbox = Sandbox::new();
    (0..5000).for_each(|number| write(&sandbox, &format!("a/{number}"), "content"));
    write(&sandbox, "c/other", "1");
    let mut first =
        sandbox.csync(&["push", "a/", "b"]).stdout(Stdio::null()).spawn().expect("start the first run");
    let pid = rustix::process::Pid::from_child(&first);
    // The first names are published long before the last; the lock was taken before them.
    while names(&sandbox.b()).len() < 2 {
        assert!(first.try_wait().expect("look at it").is_none(), "it ended too early");
        std::thread::yield_now();
    }
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("stop it");
    let second = sandbox.run(&["push", "c/", "b"]);
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).expect("let it go on");
    assert!(first.wait().expect("wait for it").success());
    let number = first.id().to_string();
    second.ends_with(&[41]).says(&[&number]);
    assert_eq!(names(&sandbox.b()).len(), 5000, "only the first run wrote, and left nothing");
}

#[test]
fn a_mount_inside_the_destination_is_refused_by_name() {
    for (case, source) in [("the source has it", "a/m/f"), ("the source lacks it", "a/f")] {
        let sandbox = Sandbox::new();
        write(&sandbox, source, "new");
        write(&sandbox, "a/z", "2");
        let script = "mkdir b/m; mount -t tmpfs none b/m; echo x > b/m/inside
            code=0; \"$1\" push --delete --yes a/ b || code=$?; cp -a b out; exit $code";
        let run = in_namespace(&sandbox, script);
        assert_eq!(run.code(), Some(23), "{case}: {run}");
        assert!(run.stderr().contains("  m  is a mount point"), "{case}: {run}");
        assert_eq!(names(&sandbox.path("out/m")), ["inside"], "{case}");
        assert!(sandbox.path("out/z").exists(), "{case}");
    }
}

#[test]
fn a_source_that_changes_while_it_is_copied_is_whole_or_not_there() {
    const SIZE: usize = 4 << 20;
    let sandbox = Sandbox::new();
    write(&sandbox, "a/f", vec![0; SIZE]);
    write(&sandbox, "a/calm", "1");
    let stop = AtomicBool::new(false);
    let (mut whole, mut busy) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file =
                fs::OpenOptions::new().write(true).open(sandbox.path("a/f")).expect("open the source");
            for round in 0_u8..=255 {
                file.rewind().expect("rewind");
                for _ in 0..64 {
                    file.write_all(&vec![round; SIZE / 64]).expect("write the source");
                }
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        for _ in 0..12 {
            let run = sandbox.run(&["push", "a/", "b"]).ends_with(&[0, 23]);
            assert!(sandbox.path("b/calm").exists(), "{run}");
            if run.code() == Some(23) {
                busy += 1;
                assert!(run.stderr().contains("changed while it was copied"), "{run}");
            }
            if let Ok(content) = fs::read(sandbox.path("b/f")) {
                assert_eq!(content.len(), SIZE);
                // A writer goes through the file from its start: at most one border in a moment's content.
                let borders = content.windows(2).filter(|pair| pair[0] != pair[1]).count();
                assert!(borders <= 1, "torn: {borders} borders");
                whole += 1;
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    println!("a changing source: {busy} runs told it, {whole} times a whole copy stood there");
    sandbox.run(&["push", "a/", "b"]).ends_with(&[0]);
    assert!(fs::read(sandbox.a().join("f")).expect("read") == fs::read(sandbox.b().join("f")).expect("read"));
}
