//! Runs between two nodes that break off: the next one carries what is not there yet, and little more.

#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test may stop the test")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test is the user who changes the tree by path, waits for bytes and tells what it counted"
)]

#[path = "support/node.rs"]
mod node;
#[path = "support/relay.rs"]
mod relay;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/tree.rs"]
mod tree;

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use node::{FOLDER, Nodes, PLAIN};
use relay::Relay;
use sandbox::Run;
use tree::{ALL, Snapshot, clear, left_over, patterned, staged, write};

const MB: u64 = 1_000_000;
/// A wait that is longer has failed.
const WATCHDOG: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verb {
    Push,
    Pull,
    Sync,
}

/// Two nodes, and a run from one to the other.
struct Field {
    nodes: Nodes,
    verb: Verb,
}

impl Field {
    fn new(verb: Verb) -> Self {
        Self { nodes: Nodes::new(PLAIN), verb }
    }

    fn arguments(&self) -> Vec<&'static str> {
        match self.verb {
            Verb::Push => vec!["push", "-a", "--delete", "--yes", "a/", FOLDER],
            Verb::Pull => vec!["pull", "-a", "--delete", "--yes", "two::web/", "a"],
            Verb::Sync => vec!["sync", "a", FOLDER, "--yes"],
        }
    }

    /// The root that gives, and the one that takes.
    fn roots(&self) -> (PathBuf, PathBuf) {
        let (a, b) = (self.nodes.sandbox.a(), self.nodes.sandbox.b());
        if self.verb == Verb::Pull { (b, a) } else { (a, b) }
    }

    /// Runs until `budget` bytes have gone over the wire. Returns how many did.
    fn cut(&mut self, budget: u64) -> u64 {
        let relay = Relay::new(&self.nodes.address, budget);
        self.nodes.redirect(&relay.address());
        let run = Run::of(self.nodes.csync(&self.arguments()).arg("--timeout=2"));
        assert!(relay.was_cut() && !matches!(run.code(), Some(0)), "the run was not cut\n{run}");
        // The daemon notices now at the latest.
        self.nodes.end();
        self.nodes.start(&[]);
        self.nodes.redirect(&self.nodes.address);
        relay.passed()
    }

    /// Runs to the end. Returns the bytes that went over the wire, both ways.
    fn whole(&self) -> u64 {
        let run = Run::of(self.nodes.csync(&self.arguments()).arg("--json")).ends_with(&[0]);
        let summary: Value = serde_json::from_str(&run.stdout()).expect("one JSON object");
        let count = |name: &str| summary[name].as_u64().expect("a number of bytes");
        count("bytes_sent") + count("bytes_received")
    }

    /// Looks whether both sides are equal, and nothing is left of what was interrupted.
    #[track_caller]
    fn is_done(&self, case: &str) {
        let (from, to) = self.roots();
        Snapshot::of(&from).agrees_with(&Snapshot::of(&to), ALL, case);
        assert_eq!((staged(&to), left_over(&to)), (Vec::new(), Vec::new()), "{case}: left over");
        assert_eq!(staged(&from), Vec::<String>::new(), "{case}: in the stage of the giver");
    }
}

fn one_large_file(verb: Verb) {
    let mut field = Field::new(verb);
    write(&field.roots().0, "big", &patterned("big", 40_000_000));
    let first = field.cut(20 * MB);
    let second = field.whole();
    println!("{verb:?} of 40 MB, cut after {first} bytes: the next run carried {second}");
    assert!(second < 24 * MB, "{second}");
    field.is_done("one large file");
}

#[test]
fn a_push_goes_on_within_a_large_file() {
    one_large_file(Verb::Push);
}

#[test]
fn a_pull_goes_on_within_a_large_file() {
    one_large_file(Verb::Pull);
}

#[test]
fn a_sync_goes_on_within_a_large_file() {
    one_large_file(Verb::Sync);
}

#[test]
fn what_came_and_what_stood_there_both_count() {
    for verb in [Verb::Push, Verb::Pull] {
        let mut field = Field::new(verb);
        let (from, _) = field.roots();
        let mut bytes = patterned("old", 24_000_000);
        write(&from, "big", &bytes);
        field.whole();
        for at in (0..24).step_by(2) {
            bytes[at * 1_000_000..][..1_000_000].copy_from_slice(&patterned(&format!("new{at}"), 1_000_000));
        }
        write(&from, "big", &bytes);
        let first = field.cut(6 * MB);
        let second = field.whole();
        println!("{verb:?} of 12 new MB in 24, cut after {first} bytes: the next run carried {second}");
        assert!(second < 12 * MB - first + AGAIN, "{verb:?}: {second}");
        field.is_done("an update");
    }
}

/// Files of a long run, and their size.
const MANY: usize = 1500;
const EACH: usize = 20_000;
/// What may go over the wire twice: what had come of contents that were not whole yet, and words.
const AGAIN: u64 = 4 * MB;

fn many_small_files(verb: Verb) {
    let mut field = Field::new(verb);
    let (from, to) = field.roots();
    for number in 0..MANY {
        let path = format!("d{}/f{number}", number / 100);
        write(&from, &path, &patterned(&path, EACH));
    }
    let total = (MANY * EACH) as u64;
    let first = field.cut(total / 2);
    // A byte that a disk lost costs its file, and nothing else.
    if let Some((path, _)) = left_over(&to).first() {
        damage(path);
    }
    let second = field.whole();
    println!("{verb:?} of {MANY} files with {total} bytes, cut after {first}: the next run carried {second}");
    assert!(second < total - first + AGAIN, "{second}");
    field.is_done("many small files");
}

#[test]
fn a_push_takes_up_the_files_that_had_come() {
    many_small_files(Verb::Push);
}

#[test]
fn a_pull_takes_up_the_files_that_had_come() {
    many_small_files(Verb::Pull);
}

#[test]
fn a_sync_takes_up_the_files_that_had_come() {
    many_small_files(Verb::Sync);
}

fn damage(path: &Path) {
    let file = fs::File::options().read(true).write(true).open(path).expect("open a file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, 1000).expect("read a byte");
    file.write_all_at(&[byte[0] ^ 1], 1000).expect("write a byte");
}

#[test]
fn a_damaged_leftover_costs_a_retry_and_nothing_else() {
    for verb in [Verb::Push, Verb::Pull] {
        for (case, most) in [
            ("a byte is another", 8 * MB),
            ("it was cut short", 10 * MB),
            ("it has grown", 8 * MB),
            ("a symlink", 13 * MB),
            ("a directory", 13 * MB),
        ] {
            let mut field = Field::new(verb);
            let (from, to) = field.roots();
            write(&from, "big", &patterned("big", 12_000_000));
            fs::write(field.nodes.sandbox.path("secret"), "nobody else's").expect("write a file");
            field.cut(6 * MB);
            let left = left_over(&to);
            assert!(left.len() == 1 && left[0].1 > 3 * MB, "{case}: {left:?}");
            let path = &left[0].0;
            let open = || fs::File::options().write(true).open(path).expect("open a file");
            match case {
                "a byte is another" => damage(path),
                "it was cut short" => open().set_len(left[0].1 - 2 * MB - 1).expect("cut a file"),
                "it has grown" => open().set_len(20 * MB).expect("stretch a file"),
                _ => {
                    fs::remove_file(path).expect("remove a file");
                    if case == "a symlink" {
                        let secret = field.nodes.sandbox.path("secret");
                        std::os::unix::fs::symlink(secret, path).expect("make a symlink");
                    } else {
                        fs::create_dir(path).expect("make a directory");
                    }
                }
            }
            let second = field.whole();
            println!("{verb:?}, {case}: the next run carried {second} of 12 MB");
            assert!(second < most, "{verb:?}, {case}: {second}");
            field.is_done(case);
            let secret = fs::read(field.nodes.sandbox.path("secret")).expect("read a file");
            assert_eq!(secret, b"nobody else's", "{case}");
        }
    }
}

/// Starts a run of a file of 40 MB, and returns it when half of them have come.
fn half_way(field: &Field) -> Child {
    let (from, to) = field.roots();
    write(&from, "big", &patterned("big", 40_000_000));
    let mut command = field.nodes.csync(&field.arguments());
    let command = command.args(["--bwlimit=24m", "--timeout=20"]).stdout(Stdio::null());
    let csync = command.stderr(Stdio::null()).spawn().expect("csync starts");
    let until = Instant::now() + WATCHDOG;
    let size =
        |name: &String| fs::symlink_metadata(to.join(".csync/stage").join(name)).map_or(0, |stat| stat.len());
    while staged(&to).iter().map(size).max().unwrap_or(0) < 20 * MB {
        assert!(Instant::now() < until, "{:?}: nothing comes", field.verb);
        std::thread::yield_now();
    }
    csync
}

#[test]
fn a_receiver_that_was_killed_goes_on_within_a_large_file() {
    for verb in [Verb::Push, Verb::Pull, Verb::Sync] {
        let mut field = Field::new(verb);
        let mut csync = half_way(&field);
        if verb != Verb::Pull {
            field.nodes.stop();
        }
        // Whichever it is, the giver knows of no progress.
        csync.kill().expect("csync runs");
        csync.wait().expect("csync ends");
        if verb != Verb::Pull {
            field.nodes.start(&[]);
        }
        assert!(!field.roots().1.join("big").exists(), "{verb:?}: it was over");
        let second = field.whole();
        println!("{verb:?} of 40 MB, receiver killed after 20 MB had come: the next run carried {second}");
        assert!(second < 24 * MB, "{verb:?}: {second}");
        field.is_done("after a kill");
    }
}

#[test]
fn a_run_takes_up_what_the_daemon_still_holds_of_one_that_was_killed() {
    let field = Field::new(Verb::Push);
    let (from, to) = field.roots();
    let mut csync = half_way(&field);
    csync.kill().expect("csync runs");
    csync.wait().expect("csync ends");
    // The daemon holds the old session, or notices now that it is silent and keeps what came.
    let second = field.whole();
    println!("Push of 40 MB, killed after 20 MB and begun again at once: the next run carried {second}");
    assert!(second < 24 * MB, "{second}");
    Snapshot::of(&from).agrees_with(&Snapshot::of(&to), ALL, "at once");
}

#[test]
fn contents_for_which_nobody_comes_back_go_with_the_next_whole_run() {
    for verb in [Verb::Push, Verb::Pull, Verb::Sync] {
        let mut field = Field::new(verb);
        let (from, to) = field.roots();
        write(&from, "big", &patterned("big", 12_000_000));
        field.cut(6 * MB);
        assert_eq!(left_over(&to).len(), 1, "{verb:?}");
        clear(&from, "big");
        write(&from, "small", b"1");
        field.whole();
        field.is_done("another content");
    }
}

/// Directories that are listed, and nothing else.
const LISTED: usize = 6000;

#[test]
fn a_listing_goes_on_where_it_broke_off_and_misses_nothing() {
    let listing = || {
        let field = Field::new(Verb::Pull);
        for number in 0..LISTED {
            // Names that do not compress.
            let name: String =
                patterned(&number.to_string(), 40).iter().map(|b| format!("{b:02x}")).collect();
            fs::create_dir_all(field.roots().0.join(format!("d{number:04}-{name}")))
                .expect("make a directory");
        }
        write(&field.roots().0, "d0000-changes", b"old");
        write(&field.roots().0, "d0000-goes", b"gone");
        field
    };
    let undisturbed = listing().whole();
    let mut field = listing();
    let (from, to) = field.roots();
    let first = field.cut(undisturbed * 6 / 10);
    assert!(!to.join("d0000-changes").exists(), "the run was not cut in the listing");
    write(&from, "d0000-changes", b"new contents");
    clear(&from, "d0000-goes");
    write(&from, "d0000-comes", b"new");
    let second = field.whole();
    println!("{undisturbed} bytes for {LISTED} entries; cut after {first}, the next run carried {second}");
    assert!(second < undisturbed * 7 / 10, "it was listed anew: {second} of {undisturbed}");
    field.is_done("listed in two parts");
    let third = field.whole();
    assert!(third < undisturbed / 10, "{third}: all of it is known");
    field.is_done("a run without news");
}
