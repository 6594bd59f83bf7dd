//! Two real trees kept the same, by the engine itself.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail, ask its environment and handle its own files"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use csync::engine::cycle::{Job, sync};
use csync::engine::error::EngineError;
use csync::engine::options::Options;
use csync::engine::report::{Item, Observer, Progress, Report};
use csync::model::path::RelPath;
use csync::rules::conflict::{Policy, Side};
use csync::rules::filter::FilterBuilder;

#[derive(Default)]
struct Lines(Vec<String>);

impl Observer for Lines {
    fn item(&mut self, item: &Item) {
        self.0.push(format!("{} {}", item.code, item.path));
    }
    fn progress(&mut self, _progress: Progress, _path: Option<&RelPath>) {}
    fn warning(&mut self, text: &str) {
        self.0.push(format!("warning: {text}"));
    }
}

struct Pair {
    dir: tempfile::TempDir,
    lines: Vec<String>,
}

impl Pair {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a")).unwrap();
        fs::create_dir_all(dir.path().join("b")).unwrap();
        Self { dir, lines: Vec::new() }
    }
    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }
    fn write(&self, path: &str, text: &str) {
        let at = self.at(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, text).unwrap();
    }
    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_else(|error| format!("<{error}>"))
    }
    fn try_sync(&mut self, change: impl FnOnce(&mut Options)) -> Result<Report, EngineError> {
        let mut options = Options::archive();
        change(&mut options);
        let (first, second, state) = (self.at("a"), self.at("b"), self.at("state"));
        let job = Job {
            first: &first,
            second: &second,
            state: &state,
            options: &options,
            scope: FilterBuilder::new(false).build().unwrap(),
        };
        let mut lines = Lines::default();
        let report = sync(&job, &mut lines);
        self.lines = lines.0;
        report
    }
    fn sync(&mut self) -> Report {
        let report = self.try_sync(|_| ()).unwrap();
        assert_eq!(report.skipped, [], "{:?}", self.lines);
        report
    }
    /// Syncs and checks that both ends are equal and that a second run has nothing to do.
    fn converge(&mut self) -> Report {
        let report = self.sync();
        let lines = self.lines.clone();
        assert_eq!(tree(&self.at("a")), tree(&self.at("b")), "{lines:?}");
        let again = self.sync();
        assert_eq!(self.lines, Vec::<String>::new(), "first: {lines:?}");
        assert_eq!((again.created.total(), again.updated, again.deleted.total()), (0, 0, 0));
        report
    }
}

fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let below = path.strip_prefix(root).unwrap().to_owned();
            if below == Path::new(".csync") {
                continue;
            }
            let stat = fs::symlink_metadata(&path).unwrap();
            let kind = stat.file_type();
            let what = if kind.is_dir() {
                dirs.push(path.clone());
                "dir".to_owned()
            } else if kind.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else {
                format!("{} {}.{}", fs::read_to_string(&path).unwrap(), stat.mtime(), stat.mtime_nsec())
            };
            let mode = if kind.is_symlink() { 0 } else { stat.mode() };
            found.insert(below, format!("{what} {mode:o} {}:{}", stat.uid(), stat.gid()));
        }
    }
    found
}

#[test]
fn the_first_run_is_a_union_and_later_runs_carry_edits_deletes_and_type_changes() {
    let mut pair = Pair::new();
    pair.write("a/only a", "1");
    pair.write("a/d/x", "22");
    pair.write("b/d/y", "333");
    pair.write("b/e/f/g", "4444");
    symlink("d/x", pair.at("b/link")).unwrap();
    pair.converge();
    assert_eq!(pair.read("b/only a"), "1");
    assert_eq!(pair.read("a/e/f/g"), "4444");

    pair.write("a/d/x", "edited here");
    pair.write("b/d/y", "edited there, and longer");
    fs::remove_file(pair.at("b/only a")).unwrap();
    fs::remove_dir_all(pair.at("a/e/f")).unwrap();
    fs::write(pair.at("a/e/f"), "a file now").unwrap();
    fs::remove_file(pair.at("a/link")).unwrap();
    fs::create_dir(pair.at("a/link")).unwrap();
    pair.write("a/link/in", "a directory now");
    fs::set_permissions(pair.at("b/e"), fs::Permissions::from_mode(0o700)).unwrap();
    pair.converge();
    assert_eq!(pair.read("b/d/x"), "edited here");
    assert_eq!(pair.read("b/e/f"), "a file now");
    assert!(!pair.at("a/only a").exists());
    assert_eq!(fs::metadata(pair.at("a/e")).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn two_edits_make_one_conflict_and_the_later_stays() {
    let mut pair = Pair::new();
    pair.write("a/f", "base");
    pair.converge();
    pair.write("a/f", "first");
    pair.write("b/f", "the second");
    let report = pair.converge();
    assert_eq!(report.conflicts.len(), 1);
    let live = pair.read("a/f");
    assert!(live == "the second" || live == "first");
    let again = pair.sync();
    assert_eq!((again.conflicts.len(), again.conflicts_open), (0, 1));
    for side in ["a", "b"] {
        let kept = kept(&pair.at(side));
        let lost = if live == "first" { "the second" } else { "first" };
        assert!(kept.iter().any(|text| text == lost), "{side}: {kept:?}");
    }
}

/// The texts of all kept files of a root.
fn kept(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut dirs = vec![root.join(".csync/kept")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { dirs.push(path) } else { found.extend(fs::read_to_string(&path)) }
        }
    }
    found
}

#[test]
fn a_renamed_directory_moves_no_content_and_edits_follow_it() {
    let mut pair = Pair::new();
    for n in 0..50 {
        pair.write(&format!("a/old/sub/f{n}"), &format!("content {n}"));
    }
    pair.converge();
    fs::rename(pair.at("a/old"), pair.at("a/new")).unwrap();
    pair.write("b/old/sub/f7", "edited in the old place");
    pair.write("b/old/sub/fresh", "made in the old place");
    let report = pair.converge();
    assert_eq!(report.renamed, 51, "all but the two that the first root gets from the second");
    assert_eq!(report.transferred, 2, "the edit and the new file");
    assert_eq!(pair.read("b/new/sub/f7"), "edited in the old place");
    assert_eq!(pair.read("a/new/sub/fresh"), "made in the old place");
    assert!(!pair.at("b/old").exists());
}

#[test]
fn an_edit_beats_a_delete_and_a_live_child_keeps_its_parents() {
    let mut pair = Pair::new();
    pair.write("a/d/f", "1");
    pair.write("a/d/g", "22");
    pair.converge();
    fs::remove_dir_all(pair.at("a/d")).unwrap();
    pair.write("b/d/f", "edited");
    pair.converge();
    assert_eq!(pair.read("a/d/f"), "edited");
    assert!(!pair.at("b/d/g").exists());
}

#[test]
fn policies_copy_manual_and_prefer() {
    let mut pair = Pair::new();
    for name in ["copy.txt", "manual", "prefer"] {
        pair.write(&format!("a/{name}"), "base");
    }
    pair.converge();
    let conflict = |pair: &Pair, name: &str| {
        pair.write(&format!("a/{name}"), "side one");
        pair.write(&format!("b/{name}"), "the other side");
    };
    conflict(&pair, "copy.txt");
    pair.try_sync(|options| options.conflict = Policy::Copy).unwrap();
    assert_eq!(tree(&pair.at("a")), tree(&pair.at("b")));
    assert_eq!(tree(&pair.at("a")).len(), 4, "{:?}", tree(&pair.at("a")));
    conflict(&pair, "manual");
    let report = pair.try_sync(|options| options.conflict = Policy::Manual).unwrap();
    assert_eq!(report.conflicts.len(), 1);
    assert_eq!((pair.read("a/manual"), pair.read("b/manual")), ("side one".into(), "the other side".into()));
    let report = pair.try_sync(|options| options.conflict = Policy::Manual).unwrap();
    assert_eq!(report.conflicts.len(), 0, "a conflict is told once");
    conflict(&pair, "prefer");
    let report = pair.try_sync(|options| options.conflict = Policy::Prefer(Side::Two)).unwrap();
    assert_eq!((report.conflicts.len(), report.conflicts_open), (0, 0), "what is settled is not open");
    assert_eq!(pair.read("a/prefer"), "the other side");
    assert_eq!(pair.read("a/manual"), "the other side");
    pair.converge();
}

#[test]
fn force_makes_one_side_win_and_keeps_the_other() {
    let mut pair = Pair::new();
    pair.write("a/both", "one");
    pair.write("b/both", "two, longer");
    pair.write("b/only two", "gone, but kept");
    pair.try_sync(|options| options.force = Some(Side::One)).unwrap();
    assert_eq!(pair.read("b/both"), "one");
    assert!(!pair.at("b/only two").exists());
    let kept = kept(&pair.at("b"));
    assert!(kept.contains(&"two, longer".into()) && kept.contains(&"gone, but kept".into()), "{kept:?}");
    pair.converge();
}

#[test]
fn a_dry_run_tells_what_the_run_does_and_changes_nothing() {
    let mut pair = Pair::new();
    pair.write("a/x", "1");
    pair.write("b/d/y", "22");
    pair.try_sync(|options| options.dry_run = true).unwrap();
    let told = pair.lines.clone();
    assert!(!pair.at("a/.csync").exists() && !pair.at("state").exists() && !pair.at("a/d").exists());
    pair.sync();
    assert_eq!(told, pair.lines);
    pair.write("a/x", "changed");
    fs::remove_dir_all(pair.at("a/d")).unwrap();
    pair.write("b/z", "333");
    pair.try_sync(|options| options.dry_run = true).unwrap();
    let told = pair.lines.clone();
    pair.sync();
    assert_eq!(told, pair.lines);
    assert!(!told.is_empty());
}

#[test]
fn what_belongs_to_csync_is_never_carried_from_any_depth() {
    let mut pair = Pair::new();
    pair.write("a/sub/.csync/marker", "of another root");
    pair.write("a/sub/f", "1");
    pair.sync();
    assert_eq!(pair.read("b/sub/f"), "1");
    assert!(!pair.at("b/sub/.csync").exists());
}

#[test]
fn a_link_that_leads_out_of_the_tree_is_broken_and_its_other_name_stays_as_it_was() {
    let mut pair = Pair::new();
    pair.write("a/f", "shared");
    pair.converge();
    fs::hard_link(pair.at("b/f"), pair.at("outside")).unwrap();
    let before = fs::metadata(pair.at("outside")).unwrap().mode();
    fs::set_permissions(pair.at("a/f"), fs::Permissions::from_mode(0o600)).unwrap();
    pair.converge();
    assert_eq!(fs::metadata(pair.at("b/f")).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(pair.at("outside")).unwrap().mode(), before);
    pair.write("a/f", "edited");
    pair.converge();
    assert_eq!(pair.read("outside"), "shared");
}

#[test]
fn versions_are_listed_again_after_the_state_was_lost() {
    let mut pair = Pair::new();
    pair.write("a/d/f", "old");
    pair.converge();
    pair.write("a/d/f", "new and longer");
    pair.converge();
    fs::remove_dir_all(pair.at("state")).unwrap();
    pair.converge();
    let listed = csync::engine::restore::versions(&pair.at("state"), &pair.at("b/d/f")).unwrap();
    assert_eq!(listed.versions.len(), 1);
    let (home, version) =
        csync::engine::restore::version(&pair.at("state"), &pair.at("b/d/f"), None).unwrap();
    csync::engine::restore::restore(&pair.at("state"), &home, &version).unwrap();
    assert_eq!(pair.read("b/d/f"), "old");
}

/// A pair with one conflict at `f`: the first side wrote "first", the second "the second".
fn in_conflict(policy: Policy) -> Pair {
    let mut pair = Pair::new();
    pair.write("a/f", "base");
    pair.converge();
    pair.write("a/f", "first");
    pair.write("b/f", "the second");
    pair.try_sync(|options| options.conflict = policy).unwrap();
    pair
}

#[test]
fn a_person_settles_a_conflict_on_both_sides_at_once() {
    use csync::engine::resolve::{contents, open, resolve};
    use csync::engine::settle::Choice;
    for policy in [Policy::KeepBoth, Policy::Oldest, Policy::Manual] {
        for (choice, expected) in [
            (Choice::Take("1".to_owned()), Some("first")),
            (Choice::Take("2".to_owned()), Some("the second")),
            (Choice::Newest, None),
            (Choice::Both, None),
        ] {
            let mut pair = in_conflict(policy);
            let state = pair.at("state");
            let listed = open(&state, Some(&pair.at("b/f"))).unwrap();
            assert_eq!(listed.len(), 1, "{policy:?}");
            let sides = contents(&state, &listed[0], 1000).unwrap();
            assert_eq!(sides, [b"first".to_vec(), b"the second".to_vec()], "{policy:?}");
            resolve(&state, &listed[0], &choice).unwrap();
            assert_eq!(pair.read("a/f"), pair.read("b/f"), "{policy:?} {choice:?}");
            if let Some(expected) = expected {
                assert_eq!(pair.read("a/f"), expected, "{policy:?} {choice:?}");
            }
            assert!(open(&state, None).unwrap().is_empty(), "{policy:?} {choice:?}");
            pair.try_sync(|_| ()).unwrap();
            assert!(open(&state, None).unwrap().is_empty(), "{policy:?} {choice:?}: open again");
            pair.converge();
            let live: Vec<String> = tree(&pair.at("b")).into_values().collect();
            if choice == Choice::Both {
                assert_eq!(live.len(), 2, "{policy:?}: {live:?}");
            }
            let all = [live, kept(&pair.at("a")), kept(&pair.at("b"))].concat().join("\n");
            assert!(all.contains("first") && all.contains("the second"), "{policy:?} {choice:?}: {all}");
        }
    }
}

#[test]
fn what_was_deleted_on_one_side_is_listed_and_restored_there_from_the_other() {
    use csync::engine::restore::{restore, version, versions};
    let mut pair = Pair::new();
    pair.write("a/d/x", "one");
    pair.write("a/y", "two");
    pair.converge();
    fs::remove_file(pair.at("a/d/x")).unwrap();
    pair.converge();
    let state = pair.at("state");
    for side in ["a", "b"] {
        let listed = versions(&state, &pair.at(&format!("{side}/d/x"))).unwrap();
        assert_eq!(listed.versions.len(), 1, "{side}");
    }
    let (home, found) = version(&state, &pair.at("a/d/x"), None).unwrap();
    restore(&state, &home, &found).unwrap();
    assert_eq!(pair.read("a/d/x"), "one");
    pair.converge();
    assert_eq!(pair.read("b/d/x"), "one");
}

#[test]
fn nothing_counts_as_deleted_while_part_of_the_tree_cannot_be_seen() {
    let mut pair = Pair::new();
    pair.write("a/x", "1");
    pair.write("a/flip/child", "22");
    pair.converge();
    // More levels than a path may have: what lies below cannot be named, and might be what is missing.
    let deep = "d/".repeat(300);
    fs::create_dir_all(pair.at(&format!("a/{deep}"))).unwrap();
    fs::remove_file(pair.at("a/x")).unwrap();
    fs::remove_dir_all(pair.at("a/flip")).unwrap();
    pair.write("a/flip", "a file now");
    let report = pair.try_sync(|_| ()).unwrap();
    assert!(report.troubles.partial);
    assert_eq!(pair.read("b/x"), "1", "{:?}", pair.lines);
    assert_eq!(pair.read("b/flip"), "a file now", "{:?}", pair.lines);
    fs::remove_dir_all(pair.at("a/d")).unwrap();
    pair.try_sync(|options| options.removal.yes = true).unwrap();
    assert!(!pair.at("b/x").exists());
    pair.converge();
}
