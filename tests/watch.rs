//! Changes are heard of and taken up where they happened; what that records is what a look at the whole tree records.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop")]
#![allow(clippy::disallowed_methods, reason = "a test is the user who changes the tree by path")]

#[path = "watch/keeper.rs"]
mod keeper;
#[path = "support/kept.rs"]
mod kept;
#[path = "support/tree.rs"]
mod tree;
#[path = "watch/twins.rs"]
mod twins;
#[path = "support/watched.rs"]
mod watched;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use csync::disk::error::DiskError;
use csync::disk::lister::{Lister, OpenDir};
use csync::disk::root::Root;
use csync::disk::watch::{Event, Watch};
use csync::engine::glance::glance;
use csync::model::metadata::Stat;
use csync::model::path::RelPath;
use csync::plan::settle::{Pace, Settle, Sign};
use csync::store::looks::Looks;

use crate::tree::{build, chmod, clear, rename};
use crate::watched::{Watched, hint, path};

/// What was heard, as one line.
fn heard(place: &mut Watched) -> String {
    let shown = place.events().into_iter().map(|event| match event {
        Event::Hint { path, sign } => format!("{path} {sign:?}"),
        Event::Overflow => "overflow".to_owned(),
        Event::Unwatched(error) => panic!("{error}"),
        Event::Broken(why) => panic!("{why}"),
    });
    // The kernel says the same twice in a row only if somebody listened in between.
    let mut shown: Vec<String> = shown.collect();
    shown.dedup();
    shown.join(", ")
}

#[test]
fn each_change_is_heard_of_as_what_it_is() {
    let mut place = Watched::new(&[]);
    build(&place.root(), "dir/old=1 doc=22");
    place.take_up();
    let root = place.root();
    let mut file = fs::File::create(root.join("new")).unwrap();
    file.write_all(b"first").unwrap();
    assert_eq!(heard(&mut place), "new Written");
    drop(file);
    assert_eq!(heard(&mut place), "new Closed");
    rename(&root, "new", "dir/new");
    assert_eq!(heard(&mut place), "new Vanished, dir/new Appeared");
    chmod(&root, "doc", 0o600);
    fs::hard_link(root.join("doc"), root.join("twin")).unwrap();
    std::os::unix::fs::symlink("doc", root.join("link")).unwrap();
    assert_eq!(heard(&mut place), "doc Attributes, twin Appeared, link Appeared");
    fs::read(root.join("doc")).unwrap();
    fs::write(root.join(".csync/marker.note"), "ours").unwrap();
    assert_eq!(heard(&mut place), "", "reading, and what belongs to csync");
    fs::remove_file(root.join("twin")).unwrap();
    assert_eq!(heard(&mut place), "twin Vanished");
    fs::create_dir(root.join("fresh")).unwrap();
    fs::write(root.join("fresh/unheard"), "3").unwrap();
    assert_eq!(heard(&mut place), "fresh Appeared", "a directory is watched when it is listed, not before");
}

#[test]
fn a_file_costs_one_revision_and_its_echo_none() {
    let mut place = Watched::new(&[]);
    build(&place.root(), "a=1 sub/b=22");
    assert_eq!(place.take_up().revisions, 3);
    assert_eq!(place.glance(&[hint("a", false), hint("sub", true), hint("", true)]).revisions, 0);
    let seq = place.host.replica().seq();
    fs::write(place.root().join("a"), "333").unwrap();
    assert_eq!(place.take_up().revisions, 1);
    assert_eq!(place.host.replica().seq(), seq + 1);
    clear(&place.root(), "sub");
    assert_eq!(place.take_up().revisions, 2);
    assert!(!place.has("sub") && !place.has("sub/b") && place.has("a"));
}

#[test]
fn a_directory_made_quickly_and_deeply_is_missed_nowhere() {
    let mut place = Watched::new(&[]);
    let root = place.root();
    let maker = std::thread::spawn(move || {
        for tree in 0..20 {
            let deep = (0..10).map(|at| format!("{tree}-{at}")).collect::<Vec<_>>().join("/");
            fs::create_dir_all(root.join(&deep)).unwrap();
            for (at, _) in deep.match_indices('/') {
                fs::write(root.join(&deep[..at]).join("file"), &deep[..at]).unwrap();
            }
        }
    });
    while !maker.is_finished() {
        place.take_up();
    }
    maker.join().unwrap();
    place.take_up();
    let rows = place.rows();
    assert_eq!(rows.len(), 20 * (10 + 9));
    assert_eq!(place.observe().revisions, 0, "a look at everything finds nothing else");
    assert_eq!(place.rows(), rows);
}

#[test]
fn a_moved_directory_is_watched_under_its_new_name_alone() {
    let mut place = Watched::new(&[]);
    build(&place.root(), "a/x/f=1");
    build(&place.root(), "other/");
    place.take_up();
    rename(&place.root(), "a", "other/b");
    place.take_up();
    assert!(!place.has("a/x/f") && place.has("other/b/x/f"));
    assert!(place.rows()["other/b/x/f"].contains("a/x/f"), "known as a rename");
    fs::write(place.root().join("other/b/x/f"), "later").unwrap();
    assert_eq!(heard(&mut place), "other/b/x/f Written, other/b/x/f Closed");
    build(&place.root(), "a/x/g=22");
    place.take_up();
    fs::write(place.root().join("a/x/g"), "again").unwrap();
    assert_eq!(heard(&mut place), "a/x/g Written, a/x/g Closed", "the old name is another directory now");
    fs::rename(place.root().join("other/b"), place.root().parent().unwrap().join("away")).unwrap();
    place.take_up();
    fs::write(place.root().parent().unwrap().join("away/x/f"), "unheard").unwrap();
    assert_eq!(heard(&mut place), "", "what left the tree is not heard of");
    assert!(!place.has("other/b"));
}

#[test]
fn lost_hints_are_told_and_answered_by_a_look_at_everything() {
    let mut place = Watched::new(&[]);
    build(&place.root(), "d/f=1");
    place.take_up();
    // The ear is held while more happens than the kernel keeps.
    let (gate, heard) = (Arc::new(Mutex::new(0u32)), Arc::new(AtomicBool::new(false)));
    let (wait, lost) = (Arc::clone(&gate), Arc::clone(&heard));
    let held = gate.lock().unwrap();
    let watch = Watch::begin(Arc::clone(&place.host.root), move |event| {
        *wait.lock().unwrap() += 1;
        lost.fetch_or(matches!(event, Event::Overflow), Ordering::Relaxed);
    });
    let watch = watch.unwrap();
    watch.add(&path("d")).unwrap();
    let queue = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let queue: usize = queue.trim().parse().unwrap();
    for _ in 0..queue / 2 + 100 {
        fs::create_dir(place.root().join("d/new")).unwrap();
        fs::remove_dir(place.root().join("d/new")).unwrap();
    }
    drop(held);
    while !heard.load(Ordering::Relaxed) {
        std::thread::yield_now();
    }
    let mut settle = Settle::new(Pace::default());
    settle.overflow(Duration::ZERO);
    fs::write(place.root().join("d/f"), "changed").unwrap();
    assert_eq!(place.glance(&settle.take(Pace::default().gather)).revisions, 1);
    assert_eq!(place.observe().revisions, 0);
}

#[test]
fn what_happened_is_found_wherever_the_hint_points() {
    for (case, before, change, at) in [
        (
            "below a file that was a directory",
            "a/b/c=1 z=9",
            (|root| build(root, "a=22")) as fn(&Path),
            "a/b/c",
        ),
        ("below a tree that is gone", "a/b/c=1 z=9", |root| clear(root, "a"), "a/b/c"),
        ("in a directory that is not recorded", "z=9", |root| build(root, "a/b/c=1 a/d=22"), "a/b/c"),
        ("at a directory that became a symlink", "a/b=1 z=9", |root| build(root, "a->z"), "a"),
        ("at a symlink that became a directory", "a->z z=9", |root| build(root, "a/b=1"), "a"),
        ("below a symlink", "a/b=1 z/b=22", |root| build(root, "a->z"), "a/b"),
        (
            "at another directory of the same name",
            "a/b=1 z=9",
            |root| {
                fs::rename(root.join("a"), root.with_extension("a")).unwrap();
                fs::create_dir(root.with_extension("b")).unwrap();
                build(&root.with_extension("b"), "c=22");
                fs::rename(root.with_extension("b"), root.join("a")).unwrap();
            },
            "a",
        ),
        ("at what never was", "z=9", |_| (), "a/b/c"),
    ] {
        let mut place = Watched::new(&[]);
        build(&place.root(), before);
        place.observe();
        change(&place.root());
        place.glance(&[hint(at, false)]);
        let rows = place.rows();
        let found = place.observe().revisions;
        assert_eq!((found, place.rows()), (0, rows), "{case}");
    }
}

#[test]
fn what_belongs_to_csync_is_not_looked_at() {
    let mut place = Watched::new(&[]);
    build(&place.root(), "a/b=1 mine/.csync/x=2");
    place.observe();
    assert!(!place.has("mine/.csync/x"));
    assert_eq!(place.glance(&[hint(".csync/marker", false), hint("mine/.csync/x", true)]).revisions, 0);
    clear(&place.root(), "a/b");
    let looks = place.glance(&[hint("a/b", false)]);
    assert_eq!((looks.revisions, looks.unproven), (1, 0));
}

#[test]
fn a_rule_file_that_changes_is_a_look_at_its_directory() {
    let mut place = Watched::new(&["dir-merge .rules"]);
    build(&place.root(), "d/keep=1 d/drop.tmp=22 d/sub/also.tmp=3");
    place.take_up();
    assert!(place.has("d/drop.tmp"));
    build(&place.root(), "d/.rules=-_*.tmp");
    place.take_up();
    assert!(!place.has("d/drop.tmp") && !place.has("d/sub/also.tmp") && place.has("d/keep"));
    assert!(!place.rows().contains_key("d/drop.tmp"), "left out is not deleted");
    build(&place.root(), "d/other.tmp=444 d/more=5");
    assert_eq!(place.take_up().revisions, 1, "rules above a path hold for its hint");
    clear(&place.root(), "d/.rules");
    place.take_up();
    assert!(place.has("d/drop.tmp") && place.has("d/other.tmp"));
    assert_eq!(place.observe().revisions, 0);
}

#[test]
fn places_that_wait_are_in_the_journal_until_they_are_recorded() {
    let mut place = Watched::new(&[]);
    build(&place.root(), "a=1 b=22");
    let replica = place.host.replica();
    for at in ["a", "b"] {
        Looks::of(&replica.db).put(&hint(at, false)).unwrap();
    }
    drop(replica);
    place.glance(&[hint("a", false)]);
    assert_eq!(Looks::of(&place.host.replica().db).all().unwrap(), [hint("b", false)]);
    assert!(place.has("a") && !place.has("b"));
    place.observe();
    assert!(Looks::of(&place.host.replica().db).is_empty().unwrap());
}

#[test]
fn a_file_that_changes_under_the_reader_is_given_back() {
    let mut place = Watched::new(&[]);
    let big = place.root().join("big");
    fs::write(&big, vec![7u8; 64 << 20]).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, target) = (Arc::clone(&stop), big.clone());
    let writer = std::thread::spawn(move || {
        let mut file = fs::OpenOptions::new().append(true).open(target).unwrap();
        while !stopped.load(Ordering::Relaxed) {
            file.write_all(b"more").unwrap();
        }
    });
    let sight = place.glance(&[hint("big", false)]);
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    assert_eq!(sight.again, [hint("big", false)]);
    assert_eq!(Looks::of(&place.host.replica().db).all().unwrap(), [hint("big", false)]);
    assert!(!place.has("big"));
    place.take_up();
    assert_eq!(place.host.replica().index().live_bytes_total(), fs::metadata(&big).unwrap().len());
    assert_eq!(path("big"), sight.again[0].path);
}

#[test]
fn the_root_that_goes_is_told() {
    let mut place = Watched::new(&[]);
    let (root, away) = (place.root(), place.root().with_extension("away"));
    assert_eq!(heard(&mut place), "");
    fs::rename(&root, &away).unwrap();
    fs::rename(&away, &root).unwrap();
    let signs: Vec<String> = place.events().iter().map(|event| format!("{event:?}")).collect();
    let sign = format!("{:?}", Event::Hint { path: path(""), sign: Sign::Vanished });
    assert!(signs.contains(&sign), "{signs:?}");
}

/// A tree that must not be listed.
struct Unlisted(Arc<Root>);

impl Lister for Unlisted {
    fn dev(&self) -> u64 {
        self.0.dev()
    }

    fn stat(&self, path: &RelPath) -> Result<Option<Stat>, DiskError> {
        self.0.stat(path)
    }

    fn open<'a>(&'a self, path: &'a RelPath) -> Result<Box<dyn OpenDir + 'a>, DiskError> {
        panic!("{path} was listed")
    }

    fn rules(&self, path: &RelPath) -> Result<Vec<u8>, DiskError> {
        Lister::rules(&*self.0, path)
    }
}

#[test]
fn a_hint_at_a_file_lists_no_directory() {
    let mut place = Watched::new(&["dir-merge .rules"]);
    build(&place.root(), "a/b/old=1 a/b/gone=22 a/b/.rules=-_*.tmp a/c/moved=333");
    place.take_up();
    build(&place.root(), "a/b/old=4444 a/b/new=55555 a/b/no.tmp=6 a/d->b");
    clear(&place.root(), "a/b/gone");
    rename(&place.root(), "a/c/moved", "a/b/moved");
    chmod(&place.root(), "a/c", 0o700);
    let hints = place.hints();
    let lister: Arc<dyn Lister> = Arc::new(Unlisted(Arc::clone(&place.host.root)));
    let sight = glance(&place.host.replica(), &place.watching, &lister, &hints).unwrap();
    assert_eq!(sight.revisions, 7, "{hints:?}");
    assert_eq!(place.observe().revisions, 0);
}
