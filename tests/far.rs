//! One-way runs with the folder of a peer: what `push`, `pull` and `diff` promise holds over a connection too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]
#![allow(clippy::disallowed_methods, reason = "a test is the user who changes the tree by path")]

#[path = "serve/guest.rs"]
mod guest;
#[path = "support/tree.rs"]
mod tree;

use std::fs;
use std::path::{Path, PathBuf};

use csync::engine::mirror::error::MirrorError;
use csync::engine::mirror::operand::Operand;
use csync::engine::mirror::run::{difference, mirror};
use csync::engine::options::{FilterArg, MaxDelete, Options};
use csync::engine::report::{Item, Observer, Progress, Report};
use csync::model::path::RelPath;
use csync::transport::message::Right;

use guest::Node;
use tree::{ALL, Snapshot, build, chmod, set_mtime};

/// Remembers the itemized lines.
#[derive(Default)]
struct Lines(Vec<String>);

impl Observer for Lines {
    fn item(&mut self, item: &Item) {
        self.0.push(format!("{} {}", item.code.trim_end(), item.path));
    }

    fn progress(&mut self, _progress: Progress, _path: Option<&RelPath>) {}

    fn warning(&mut self, _text: &str) {}
}

/// A local tree beside a node.
struct Bench {
    node: Node,
    local: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { node: Node::new(|_| ()), local: tempfile::tempdir().unwrap() }
    }

    fn at(&self, name: &str) -> PathBuf {
        let path = self.local.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn far(&self, below: &str, contents: bool, right: Right, options: &Options) -> Operand {
        let far = self.node.far(below, right, options.dry_run);
        Operand::Far { far, contents: contents || below.is_empty(), shown: format!("node::uploads/{below}") }
    }

    fn push(
        &self,
        source: &str,
        below: &str,
        options: &Options,
    ) -> (Result<Report, MirrorError>, Vec<String>) {
        let dest = self.far(below.trim_end_matches('/'), below.ends_with('/'), Right::Write, options);
        let source = Operand::Path(self.local.path().join(source));
        let mut lines = Lines::default();
        let report = mirror(&[source], &dest, options, &mut lines);
        (report, lines.0)
    }

    fn pull(&self, below: &str, dest: &str, options: &Options) -> (Result<Report, MirrorError>, Vec<String>) {
        let source = self.far(below.trim_end_matches('/'), below.ends_with('/'), Right::Read, options);
        let dest = Operand::Path(self.local.path().join(dest));
        let mut lines = Lines::default();
        let report = mirror(&[source], &dest, options, &mut lines);
        (report, lines.0)
    }

    fn equals(&self, local: &Path, when: &str) {
        Snapshot::of(local).agrees_with(&Snapshot::of(&self.node.root()), ALL, when);
    }
}

fn archive(change: impl FnOnce(&mut Options)) -> Options {
    let mut options = Options::archive();
    change(&mut options);
    options
}

fn whole(report: Result<Report, MirrorError>) -> Report {
    let report = report.unwrap();
    assert_eq!(report.skipped, []);
    assert_eq!(report.troubles, csync::engine::report::Troubles::default());
    assert!(report.held.is_none(), "{:?}", report.held);
    report
}

const TREE: &str = "a=1 big=#3000000 d/e/f=2 d/e/g=#70000 d/empty/ d/l->e/f dead->nowhere x/y/z=#100";

#[test]
fn what_was_pushed_comes_back_equal_and_a_second_push_changes_nothing() {
    let bench = Bench::new();
    let source = bench.at("source");
    build(&source, TREE);
    for at in 0..700 {
        build(&source, &format!("many/{}/file{at:04}=#{at}", at % 7));
    }
    chmod(&source, "d/e", 0o500);
    chmod(&source, "a", 0o604);
    set_mtime(&source, "a", 1_000_000);
    let options = archive(|_| ());
    let report = whole(bench.push("source/", "", &options).0);
    assert_eq!(report.created.files, 705);
    assert!(report.bytes_sent > 3_000_000);
    bench.equals(&source, "pushed");
    let (again, lines) = bench.push("source/", "", &options);
    assert_eq!(lines, Vec::<String>::new());
    assert_eq!(whole(again).updated, 0);
    let report = whole(bench.pull("", "copy", &options).0);
    assert_eq!((report.created.files, report.transferred), (705, 705));
    bench.equals(&bench.at("copy"), "pulled");
    let (again, lines) = bench.pull("", "copy", &options);
    assert_eq!((whole(again).transferred, lines), (0, Vec::new()));
}

#[test]
fn edits_and_deletions_and_flips_arrive_both_ways() {
    let bench = Bench::new();
    let source = bench.at("source");
    build(&source, TREE);
    let options = archive(|options| options.removal.delete = true);
    whole(bench.push("source/", "", &options).0);
    whole(bench.pull("", "copy", &options).0);
    for name in ["d/e", "a", "big", "dead", "x"] {
        tree::clear(&source, name);
    }
    build(&source, "d/e=now_a_file a/inner/deep=3 big->a dead=4 new/b=5");
    let (told, rehearsed) = bench.push(
        "source/",
        "",
        &archive(|options| {
            options.removal.delete = true;
            options.dry_run = true;
        }),
    );
    whole(told);
    assert!(bench.node.root().join("x/y/z").exists(), "a dry run changes nothing");
    let (done, lines) = bench.push("source/", "", &options);
    assert_eq!(rehearsed, lines);
    assert_eq!(whole(done).deleted.files, 3, "{lines:?}");
    bench.equals(&source, "pushed");
    whole(bench.pull("", "copy", &options).0);
    bench.equals(&bench.at("copy"), "pulled");
}

#[test]
fn the_guard_of_the_run_holds_deletions_and_a_number_lets_them_through() {
    let bench = Bench::new();
    let source = bench.at("source");
    for at in 0..30 {
        build(&source, &format!("f{at:02}=1"));
    }
    build(&source, "keep=1");
    whole(bench.push("source/", "", &archive(|_| ())).0);
    for at in 0..30 {
        tree::clear(&source, &format!("f{at:02}"));
    }
    build(&source, "more=1");
    let report = bench.push("source/", "", &archive(|options| options.removal.delete = true)).0.unwrap();
    assert_eq!(report.held.map(|held| held.deletes), Some(30));
    assert!(bench.node.root().join("f00").exists() && bench.node.root().join("more").exists());
    let let_through = archive(|options| {
        options.removal.delete = true;
        options.removal.max_delete = Some(MaxDelete::Count(30));
    });
    assert_eq!(whole(bench.push("source/", "", &let_through).0).deleted.files, 30);
    bench.equals(&source, "let through");
}

#[test]
fn contents_are_compared_by_digest_where_the_stamps_agree() {
    let bench = Bench::new();
    let source = bench.at("source");
    build(&source, "f=one g=same");
    whole(bench.push("source/", "", &archive(|_| ())).0);
    let stamp = fs::metadata(source.join("f")).unwrap().modified().unwrap();
    fs::write(source.join("f"), "two").unwrap();
    fs::File::options().write(true).open(source.join("f")).unwrap().set_modified(stamp).unwrap();
    assert_eq!(whole(bench.push("source/", "", &archive(|_| ())).0).transferred, 0);
    let checked = archive(|options| options.select.checksum = true);
    assert_eq!(whole(bench.push("source/", "", &checked).0).transferred, 1);
    bench.equals(&source, "compared");
}

#[test]
fn filters_and_lists_choose_on_either_side() {
    let bench = Bench::new();
    let source = bench.at("source");
    build(&source, "a.o=1 a.c=2 d/b.o=3 d/b.c=4 d/.rules=-_secret d/secret=5 e/f=6");
    fs::write(source.join("d/.rules"), "- secret\n").unwrap();
    let filtered = archive(|options| {
        options.select.filters = vec![FilterArg::Exclude("*.o".into()), FilterArg::Rule(": .rules".into())];
        options.removal.delete = true;
    });
    whole(bench.push("source/", "", &filtered).0);
    assert_eq!(
        Snapshot::of(&bench.node.root()).paths().len(),
        6,
        "{:?}",
        Snapshot::of(&bench.node.root()).paths()
    );
    fs::write(bench.node.root().join("d/secret"), "there").unwrap();
    whole(bench.pull("", "copy", &filtered).0);
    assert!(!bench.at("copy").join("d/secret").exists(), "the rules of the peer's tree hold");
    let list = bench.local.path().join("list");
    fs::write(&list, "d/b.c\ne\n").unwrap();
    let listed = archive(|options| {
        options.preserve.recursive = false;
        options.select.files_from = Some(list.clone());
    });
    whole(bench.pull("", "chosen", &listed).0);
    assert_eq!(Snapshot::of(&bench.at("chosen")).paths(), ["d", "d/b.c", "e"]);
}

#[test]
fn a_path_in_the_folder_is_a_tree_of_its_own() {
    let bench = Bench::new();
    let source = bench.at("source");
    build(&source, "a=1 d/b=2");
    let options = archive(|_| ());
    whole(bench.push("source/", "sub", &options).0);
    Snapshot::of(&source).agrees_with(&Snapshot::of(&bench.node.root().join("sub")), ALL, "made");
    let (refused, _) = bench.push("source/", "no/such", &options);
    assert!(matches!(refused, Err(MirrorError::NoParent { .. })), "{refused:?}");
    whole(bench.push("source", "sub", &options).0);
    assert!(bench.node.root().join("sub/source/d/b").exists());
    for (case, below, file) in
        [("itself", "sub/d", "got/d/b"), ("contents", "sub/d/", "got/b"), ("a file", "sub/a", "got/a")]
    {
        bench.at("got");
        whole(bench.pull(below, "got", &options).0);
        assert!(bench.local.path().join(file).exists(), "{case}");
        fs::remove_dir_all(bench.at("got")).unwrap();
    }
    whole(bench.push("source/a", "sub/renamed", &options).0);
    assert_eq!(fs::read(bench.node.root().join("sub/renamed")).unwrap(), b"1");
    whole(bench.pull("sub/renamed", "back", &options).0);
    assert_eq!(fs::read(bench.local.path().join("back")).unwrap(), b"1");
    let (missing, _) = bench.pull("sub/absent", "back", &options);
    assert!(matches!(missing, Err(MirrorError::NoSource { .. })), "{missing:?}");
}

#[test]
fn diff_tells_what_differs_and_touches_nothing() {
    let bench = Bench::new();
    let source = bench.at("source");
    build(&source, "a=1 b=2");
    whole(bench.push("source/", "", &archive(|_| ())).0);
    let compare = || {
        let options = archive(|options| options.dry_run = true);
        let two = bench.far("", true, Right::Read, &options);
        let mut lines = Lines::default();
        let report = difference(&Operand::Path(source.clone()), &two, &options, &mut lines).unwrap();
        assert_eq!(report.troubles.differs, !lines.0.is_empty());
        lines.0
    };
    assert_eq!(compare(), Vec::<String>::new());
    build(&source, "a=other c=3");
    tree::clear(&source, "b");
    assert_eq!(compare().len(), 3);
    assert!(bench.node.root().join("b").exists());
}

#[test]
fn bytes_that_stand_here_already_are_not_fetched() {
    let bench = Bench::new();
    let source = bench.at("source");
    build(&source, "old=#6000000");
    whole(bench.push("source/", "", &archive(|_| ())).0);
    whole(bench.pull("", "copy", &archive(|_| ())).0);
    fs::rename(source.join("old"), source.join("new")).unwrap();
    let options = archive(|options| {
        options.removal.delete = true;
        options.removal.yes = true;
    });
    let pushed = whole(bench.push("source/", "", &options).0);
    assert!(pushed.bytes_sent < 3_000_000, "{}", pushed.bytes_sent);
    let pulled = whole(bench.pull("", "copy", &options).0);
    assert!(pulled.bytes_received < 3_000_000, "{}", pulled.bytes_received);
    bench.equals(&bench.at("copy"), "renamed");
}
