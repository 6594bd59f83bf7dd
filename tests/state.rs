//! State that is lost, old, copied or damaged, and roots that are not what they were: nothing of it deletes anything.

#![allow(clippy::expect_used, reason = "a helper of a test may stop the test")]
#![allow(clippy::disallowed_methods, reason = "a test is the user who changes the tree by path")]

#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/tree.rs"]
mod tree;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;

use csync::model::entry::Digest;

use sandbox::{Run, Sandbox, copy_tree};
use tree::{ALL, Snapshot, build, clear, kept_contents};

const TREE: &str = "one=1 two=22 sub/three=333 sub/deep/four=4444 link->one empty/";

/// Two roots that were synced twice, so that nothing is left to do.
fn synced() -> Sandbox {
    let sandbox = Sandbox::new();
    build(&sandbox.a(), TREE);
    build(&sandbox.b(), "five=55555 sub/six=666666");
    sandbox.sync(&[]).ends_with(&[0]);
    sandbox.sync(&[]).ends_with(&[0]);
    sandbox
}

/// The databases of the replicas, the newest last.
fn databases(sandbox: &Sandbox) -> Vec<PathBuf> {
    let listing = fs::read_dir(sandbox.state().join("replicas")).expect("list the databases");
    let mut found: Vec<PathBuf> = listing.map(|item| item.expect("list the databases").path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "db"));
    found.sort();
    assert_eq!(found.len(), 2, "one database for each root: {found:?}");
    found
}

fn both(sandbox: &Sandbox) -> [Snapshot; 2] {
    [Snapshot::of(&sandbox.a()), Snapshot::of(&sandbox.b())]
}

/// Stops the test unless every path of `before` still stands on both sides and every content is live or kept.
#[track_caller]
fn nothing_was_deleted(sandbox: &Sandbox, before: &[Snapshot; 2], when: &str) {
    let after = both(sandbox);
    after[0].agrees_with(&after[1], ALL, when);
    for path in before.iter().flat_map(Snapshot::paths) {
        assert!(after[0].paths().contains(&path), "{when}: {path} is gone");
    }
    let there: BTreeSet<Digest> =
        [&sandbox.a(), &sandbox.b()].into_iter().flat_map(|root| kept_contents(root)).collect();
    for content in before.iter().flat_map(Snapshot::contents) {
        let kept = there.contains(&content) || after[0].contents().contains(&content);
        assert!(kept, "{when}: the content {content} is gone");
    }
    sandbox.sync(&[]).ends_with(&[0]);
    assert!(both(sandbox) == after, "{when}: the run after it changed something");
}

/// Stops the test unless both trees are as they were.
#[track_caller]
fn nothing_changed(sandbox: &Sandbox, before: &[Snapshot; 2], when: &str) {
    let after = both(sandbox);
    for (before, after) in before.iter().zip(&after) {
        before.agrees_with(after, ALL, when);
    }
}

#[test]
fn a_deleted_state_makes_the_next_run_a_union() {
    for keep_markers in [true, false] {
        let sandbox = synced();
        fs::remove_dir_all(sandbox.state()).expect("remove the state");
        if !keep_markers {
            clear(&sandbox.a(), ".csync");
            clear(&sandbox.b(), ".csync");
        }
        clear(&sandbox.a(), "one");
        build(&sandbox.b(), "two=other sub/new=new");
        let before = both(&sandbox);
        sandbox.sync(&[]).ends_with(&[0, 40]);
        nothing_was_deleted(&sandbox, &before, &format!("markers kept: {keep_markers}"));
    }
}

#[test]
fn a_rolled_back_database_deletes_nothing() {
    for rolled_back in [vec![0], vec![1], vec![0, 1]] {
        let sandbox = synced();
        copy_tree(&sandbox.state(), &sandbox.path("old"));
        build(&sandbox.a(), "seven=7777777 one=edited");
        clear(&sandbox.a(), "two");
        sandbox.sync(&[]).ends_with(&[0]);
        for which in &rolled_back {
            let now = &databases(&sandbox)[*which];
            restore_database(&sandbox.path("old"), now);
        }
        build(&sandbox.b(), "eight=88888888");
        let before = both(&sandbox);
        sandbox.sync(&[]).ends_with(&[0, 40]);
        nothing_was_deleted(&sandbox, &before, &format!("rolled back: {rolled_back:?}"));
    }
}

/// Puts the copy of `database` in the state directory `old` back in its place.
fn restore_database(old: &Path, database: &Path) {
    let name = database.file_name().expect("a name").to_string_lossy().into_owned();
    for suffix in ["", "-wal", "-shm"] {
        let sibling = database.with_file_name(format!("{name}{suffix}"));
        let copy = old.join("replicas").join(format!("{name}{suffix}"));
        fs::remove_file(&sibling).ok();
        if copy.exists() {
            fs::copy(copy, sibling).expect("put the old copy back");
        }
    }
}

#[test]
fn a_cloned_root_deletes_nothing() {
    let sandbox = synced();
    copy_tree(&sandbox.a(), &sandbox.path("c"));
    clear(&sandbox.path("c"), "one");
    build(&sandbox.path("c"), "two=changed-in-the-clone nine=999999999");
    build(&sandbox.b(), "ten=1010101010");
    let before = [Snapshot::of(&sandbox.path("c")), Snapshot::of(&sandbox.b())];
    let original = Snapshot::of(&sandbox.a());
    sandbox.run(&["sync", "c", "b"]).ends_with(&[0, 40]);
    let after = [Snapshot::of(&sandbox.path("c")), Snapshot::of(&sandbox.b())];
    after[0].agrees_with(&after[1], ALL, "the clone and the partner");
    for path in before.iter().flat_map(Snapshot::paths) {
        assert!(after[0].paths().contains(&path), "{path} is gone");
    }
    let kept = all([kept_contents(&sandbox.path("c")), kept_contents(&sandbox.b()), after[0].contents()]);
    for content in before.iter().flat_map(Snapshot::contents) {
        assert!(kept.contains(&content), "the content {content} is gone");
    }
    original.agrees_with(&Snapshot::of(&sandbox.a()), ALL, "the original");
    let before = both(&sandbox);
    sandbox.sync(&[]).ends_with(&[0, 40]);
    nothing_was_deleted(&sandbox, &before, "the original and its partner after the clone's visit");
}

fn all(sets: [BTreeSet<Digest>; 3]) -> BTreeSet<Digest> {
    sets.into_iter().flatten().collect()
}

#[test]
fn a_root_restored_from_an_older_copy_halts_until_forced() {
    let sandbox = synced();
    copy_tree(&sandbox.b(), &sandbox.path("backup"));
    build(&sandbox.a(), "seven=7777777 one=edited");
    clear(&sandbox.a(), "two");
    sandbox.sync(&[]).ends_with(&[0]);
    fs::remove_dir_all(sandbox.b()).expect("lose the root");
    copy_tree(&sandbox.path("backup"), &sandbox.b());
    let before = both(&sandbox);
    sandbox.sync(&["--yes"]).ends_with(&[42]);
    nothing_changed(&sandbox, &before, "a restored root");
    sandbox.sync(&["--force", "2", "--yes"]).ends_with(&[0, 40]);
    let after = both(&sandbox);
    after[0].agrees_with(&after[1], ALL, "forced");
    before[1].agrees_with(&after[1], ALL, "the restored root won");
    let kept: BTreeSet<Digest> = kept_contents(&sandbox.a());
    for content in before[0].contents().difference(&after[0].contents()) {
        assert!(kept.contains(content), "the content {content} of the other side is gone");
    }
    sandbox.sync(&[]).ends_with(&[0]);
    nothing_changed(&sandbox, &after, "the run after it");
}

#[test]
fn an_emptied_root_is_held_until_let_through() {
    let sandbox = synced();
    for name in Snapshot::of(&sandbox.a()).paths() {
        clear(&sandbox.a(), &name);
    }
    let before = both(&sandbox);
    sandbox.sync(&[]).ends_with(&[25]);
    nothing_changed(&sandbox, &before, "held");
    sandbox.sync(&["--yes"]).ends_with(&[0]);
    assert_eq!(Snapshot::of(&sandbox.b()).paths(), Vec::<String>::new(), "let through");
    let kept = kept_contents(&sandbox.b());
    for content in before[1].contents() {
        assert!(kept.contains(&content), "the content {content} is gone");
    }
}

#[test]
fn a_missing_root_halts() {
    let sandbox = synced();
    fs::rename(sandbox.a(), sandbox.path("unplugged")).expect("take the root away");
    let before = Snapshot::of(&sandbox.b());
    sandbox.sync(&["--yes"]).ends_with(&[42]);
    before.agrees_with(&Snapshot::of(&sandbox.b()), ALL, "a missing root");
    assert!(!sandbox.a().exists(), "a root was made where one was missing");
}

#[test]
fn a_lost_marker_halts() {
    let sandbox = synced();
    clear(&sandbox.a(), ".csync");
    clear(&sandbox.a(), "one");
    let before = both(&sandbox);
    sandbox.sync(&["--yes"]).ends_with(&[42]);
    nothing_changed(&sandbox, &before, "a lost marker");
}

#[test]
fn an_empty_disk_in_place_of_a_root_halts() {
    let sandbox = synced();
    fs::rename(sandbox.a(), sandbox.path("unplugged")).expect("take the root away");
    fs::create_dir(sandbox.a()).expect("leave a mount point");
    let before = both(&sandbox);
    sandbox.sync(&["--yes"]).ends_with(&[42]);
    nothing_changed(&sandbox, &before, "an empty directory in its place");
}

/// What happened to a database file.
#[derive(Clone, Copy)]
enum Damage {
    CutTo(usize),
    /// All bits of these bytes.
    Flip(usize, usize),
    FlipLast(usize),
    OtherThing,
}

/// A case, and whether every reader must notice it.
const DAMAGES: &[(&str, bool, Damage)] = &[
    ("emptied", false, Damage::CutTo(0)),
    ("cut in the middle of a page", true, Damage::CutTo(5_000)),
    ("cut after its header", true, Damage::CutTo(100)),
    ("not a database", true, Damage::OtherThing),
    ("header flipped", true, Damage::Flip(3, 4)),
    ("schema page flipped", true, Damage::Flip(100, 1_000)),
    ("every page flipped", true, Damage::Flip(100, usize::MAX)),
    ("the second page flipped", false, Damage::Flip(4_096, 8_192)),
    ("the third page flipped", false, Damage::Flip(8_192, 12_288)),
    ("the fourth page flipped", false, Damage::Flip(12_288, 16_384)),
    ("the last page flipped", false, Damage::FlipLast(4_096)),
];

impl Damage {
    fn strike(self, path: &Path) {
        let mut bytes = fs::read(path).expect("read the database");
        let length = bytes.len();
        let (from, to) = match self {
            Self::CutTo(length) => {
                bytes.truncate(length);
                (0, 0)
            }
            Self::Flip(from, to) => (from.min(length), to.min(length)),
            Self::FlipLast(count) => (length - count, length),
            Self::OtherThing => (0, length),
        };
        bytes[from..to].iter_mut().for_each(|byte| *byte ^= 0x55);
        fs::write(path, bytes).expect("write the database");
    }
}

#[test]
fn a_corrupt_database_is_set_aside_and_deletes_nothing() {
    for (case, noticed, damage) in DAMAGES {
        for which in [0, 1] {
            let when = format!("{case}, database {which}");
            let sandbox = synced();
            damage.strike(&databases(&sandbox)[which]);
            if *noticed {
                clear(&sandbox.a(), "one");
            }
            build(&sandbox.b(), "two=other");
            let before = both(&sandbox);
            let run = sandbox.sync(&[]).ends_with(&[0, 40]);
            assert!(!noticed || run.stderr().contains("set aside"), "{when}: no warning\n{run}");
            nothing_was_deleted(&sandbox, &before, &when);
        }
    }
}

#[test]
fn a_newer_database_is_refused() {
    let sandbox = synced();
    let database = rusqlite::Connection::open(&databases(&sandbox)[0]).expect("open the database");
    database.pragma_update(None, "user_version", 9_999).expect("mark it as newer");
    database.close().expect("close the database");
    clear(&sandbox.a(), "one");
    let before = both(&sandbox);
    sandbox.sync(&["--yes"]).ends_with(&[1]).says(&["9999"]);
    nothing_changed(&sandbox, &before, "a newer database");
}

#[test]
fn a_locked_database_deletes_nothing() {
    let sandbox = synced();
    clear(&sandbox.a(), "one");
    let before = both(&sandbox);
    let database = rusqlite::Connection::open(&databases(&sandbox)[0]).expect("open the database");
    database.execute_batch("BEGIN EXCLUSIVE").expect("lock the database");
    let run = sandbox.sync(&["--yes"]);
    assert!(run.code().is_some_and(|code| code != 0), "a locked database went unnoticed\n{run}");
    nothing_changed(&sandbox, &before, "a locked database");
}

#[test]
fn a_second_run_is_told_who_holds_the_root() {
    let sandbox = synced();
    for number in 0..3_000 {
        build(&sandbox.a(), &format!("many/{number}={number}"));
    }
    let mut first = stopped_in_the_middle(&sandbox);
    let before = both(&sandbox);
    sandbox.sync(&["--yes"]).ends_with(&[41]).says(&[&first.id().to_string()]);
    nothing_changed(&sandbox, &before, "a second run");
    first.kill().expect("end the first run");
    first.wait().expect("end the first run");
    sandbox.sync(&[]).ends_with(&[0]);
    let [a, b] = both(&sandbox);
    a.agrees_with(&b, ALL, "the lock did not outlive its holder");
}

/// Starts a run and stops it (SIGSTOP) once it has begun to change the second root, so that it holds what it locks.
fn stopped_in_the_middle(sandbox: &Sandbox) -> Child {
    let mut first = sandbox.csync(&["sync", "a", "b"]).spawn().expect("start the first run");
    while !sandbox.b().join("many/0").exists() {
        let ended = first.try_wait().expect("look at the first run");
        assert!(ended.is_none(), "the first run ended early: {ended:?}");
        std::thread::yield_now();
    }
    let stop = Run::of(sandbox.command("sh").args(["-c", &format!("kill -STOP {}", first.id())]));
    assert_eq!(stop.code(), Some(0), "{stop}");
    assert!(
        first.try_wait().expect("look at the first run").is_none(),
        "the first run was too fast to be stopped"
    );
    first
}
