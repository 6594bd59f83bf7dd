//! A tree that other programs keep changing while it is synced: never torn, and equal when they stop.
#![cfg(feature = "system")]
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test may stop the test")]
#![allow(clippy::disallowed_methods, reason = "a test is the user who changes the tree by path")]

#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/tree.rs"]
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use csync::model::entry::Digest;
use fastrand::Rng;

use sandbox::{Run, Sandbox};
use tree::{ALL, Snapshot, chmod, kept_contents, patterned, staged, write};

/// Parts of a system that nobody prepared for us, as far as they are there.
const SLICES: &[&str] =
    &["/usr/share/doc", "/usr/share/perl", "/usr/share/perl5", "/usr/share/python3", "/usr/share/zoneinfo"];
const FILES_MAX: usize = 12_000;
const RUNS_UNDER_LOAD: usize = 3;

/// Copies what the system has into `root`, at most [`FILES_MAX`] files. Returns how many files.
fn fill(sandbox: &Sandbox, root: &Path) -> usize {
    let mut files = 0;
    for slice in SLICES.iter().map(Path::new).filter(|slice| slice.is_dir()) {
        let name = slice.file_name().expect("a name");
        Run::of(sandbox.command("cp").arg("-a").arg(slice).arg(root.join(name))).ends_with(&[0]);
        files += Snapshot::of(&root.join(name)).contents().len();
        if files > FILES_MAX {
            break;
        }
    }
    files
}

/// What a busy program does to its files.
struct Writer {
    root: PathBuf,
    /// Files of the tree that it may change.
    files: Vec<String>,
    random: Rng,
    /// Every content that a file ever had at rest.
    written: BTreeSet<Digest>,
    counts: BTreeMap<&'static str, usize>,
}

impl Writer {
    fn new(root: &Path, seed: u64) -> Self {
        let snapshot = Snapshot::of(root);
        let files = snapshot.0.iter().filter(|(_, node)| node.kind == 'f' && node.size < 200_000);
        let files = files.map(|(path, _)| String::from_utf8_lossy(path).into_owned()).collect();
        let random = Rng::with_seed(seed);
        Self { root: root.to_owned(), files, random, written: snapshot.contents(), counts: BTreeMap::new() }
    }

    fn work(&mut self, until: &AtomicBool) {
        let mut number = 0;
        while !until.load(Ordering::SeqCst) {
            number += 1;
            self.step(number);
        }
    }

    fn step(&mut self, number: usize) {
        let at = self.random.usize(..self.files.len());
        let path = self.files[at].clone();
        let full = self.root.join(&path);
        let name = match self.random.u8(..8) {
            0..=1 if full.is_file() => {
                self.append(&full);
                "append"
            }
            2 if full.is_file() => {
                let to = path.strip_suffix(".moved").map_or_else(|| format!("{path}.moved"), str::to_owned);
                tree::rename(&self.root, &path, &to);
                self.files[at] = to;
                "rename"
            }
            3 if full.is_file() => {
                fs::remove_file(&full).expect("delete a file");
                "delete"
            }
            4 if full.is_file() => {
                chmod(&self.root, &path, [0o600, 0o644, 0o640][number % 3]);
                "chmod"
            }
            5 => {
                self.replace(&path, number);
                "replace"
            }
            _ => {
                let path = format!("busy/{}/new-{}", number % 7, number % 2_000);
                self.write(&path, number);
                self.files.push(path);
                "create"
            }
        };
        *self.counts.entry(name).or_default() += 1;
    }

    /// Appends in one call, so that each size in between is a state of the file.
    fn append(&mut self, path: &Path) {
        let mut file = fs::File::options().append(true).open(path).expect("open a file");
        file.write_all(b"one more line\n").expect("append a line");
        self.written.insert(Digest::of(&fs::read(path).expect("read a file")));
    }

    fn write(&mut self, path: &str, number: usize) {
        let content = patterned(path, 100 + number % 5_000);
        write(&self.root, path, &content);
        self.written.insert(Digest::of(&content));
    }

    /// Writes beside the file and renames over it, as careful programs do.
    fn replace(&mut self, path: &str, number: usize) {
        self.write(&format!("{path}.tmp"), number);
        tree::rename(&self.root, &format!("{path}.tmp"), path);
    }
}

#[test]
fn a_tree_that_changes_meanwhile_is_never_torn() {
    let sandbox = Sandbox::new();
    let files = fill(&sandbox, &sandbox.a());
    assert!(files > 500, "only {files} files on this system");
    let mut writer = Writer::new(&sandbox.a(), 7);
    let done = AtomicBool::new(false);
    let codes: Vec<Option<i32>> = std::thread::scope(|scope| {
        let busy = scope.spawn(|| writer.work(&done));
        let runs = (0..RUNS_UNDER_LOAD).map(|_| sandbox.sync(&["--yes"]));
        let codes = runs.map(|run| run.ends_with(&[0, 23, 24, 40]).code()).collect();
        done.store(true, Ordering::SeqCst);
        busy.join().expect("the writer");
        codes
    });
    // The first run at rest may still find what the last one under load left half looked at.
    let first = sandbox.sync(&["--yes"]).ends_with(&[0, 23, 24, 40]);
    sandbox.sync(&["--yes"]).ends_with(&[0, 40]);
    let [a, b] = [Snapshot::of(&sandbox.a()), Snapshot::of(&sandbox.b())];
    a.agrees_with(&b, ALL, "after the load");
    let kept = [kept_contents(&sandbox.a()), kept_contents(&sandbox.b())];
    let mut written = writer.written.clone();
    // The moment between creation and the first byte of a file that is written in place.
    written.insert(Digest::of(b""));
    for content in b.contents() {
        assert!(written.contains(&content), "a content that nobody wrote is live: {content}");
    }
    for content in a.contents().difference(&b.contents()) {
        assert!(kept.iter().any(|side| side.contains(content)), "{content} is gone");
    }
    for root in [sandbox.a(), sandbox.b()] {
        assert_eq!(staged(&root), Vec::<String>::new(), "left in the staging of {}", root.display());
    }
    let again = sandbox.sync(&["-i"]).ends_with(&[0]);
    assert_eq!(again.stdout(), "", "the next run had something to do");
    let changes: usize = writer.counts.values().sum();
    println!("\nat rest: {:?} {}", first.code(), first.stdout().trim());
    println!(
        "\ncounted changes under load: {changes} in {files} files during {RUNS_UNDER_LOAD} runs {codes:?}: {:?}",
        writer.counts
    );
}
