//! A keeper takes up by itself what happens in its folder.

use std::fs;

use csync::engine::keeper::Rhythm;
use csync::plan::settle::Hint;
use csync::store::looks::Looks;

use crate::kept::Kept;
use crate::tree::{build, clear, rename};
use crate::watched::path;

#[test]
fn what_happens_is_taken_up_without_being_asked_for() {
    let kept = Kept::new();
    build(kept.root(), "old/f=1");
    let keeper = kept.keep(Rhythm::default());
    kept.until("the first look", |log| log.observed == 1);
    assert!(kept.has("old/f"));
    build(kept.root(), "new/deep/er/f=22 old/g=3");
    kept.until("new files", |_| kept.has("new/deep/er/f") && kept.has("old/g"));
    rename(kept.root(), "new", "moved");
    kept.until("a rename", |_| kept.has("moved/deep/er/f") && !kept.has("new"));
    fs::write(kept.root().join("moved/deep/er/late"), "4").unwrap();
    kept.until("a file under the new name", |_| kept.has("moved/deep/er/late"));
    clear(kept.root(), "moved");
    kept.until("a deletion", |_| !kept.has("moved"));
    keeper.rescan();
    drop(keeper);
    let glanced = kept.log.lock().unwrap().glanced;
    build(kept.root(), "after=5");
    assert!(!kept.has("after"));
    assert_eq!(kept.log.lock().unwrap().glanced, glanced, "a keeper that was dropped looks no more");
}

#[test]
fn a_file_left_open_waits_in_the_journal_and_is_taken_when_it_is_quiet() {
    let kept = Kept::new();
    let _keeper = kept.keep(Rhythm::default());
    kept.until("the first look", |log| log.observed == 1);
    let open = fs::File::create(kept.root().join("open")).unwrap();
    let journal = |kept: &Kept| Looks::of(&kept.host.replica().db).all().unwrap();
    kept.until("it waits", |_| journal(&kept) == [Hint { path: path("open"), recursive: false }]);
    assert!(!kept.has("open"));
    kept.until("it is quiet", |_| kept.has("open"));
    assert_eq!(journal(&kept), []);
    drop(open);
}

#[test]
fn a_root_that_goes_halts_its_keeper() {
    let kept = Kept::new();
    build(kept.root(), "a=1");
    let _keeper = kept.keep(Rhythm::default());
    kept.until("the first look", |log| log.observed == 1);
    let root = kept.root().to_owned();
    fs::rename(&root, kept.directory.path().join("away")).unwrap();
    kept.until("the halt", |log| log.halted.is_some());
    assert!(kept.has("a"), "nothing was deleted");
}
