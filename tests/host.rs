//! A served root: it gets its marker once, and whatever contradicts what is known of it halts the folder.

#![allow(clippy::unwrap_used, reason = "a test may stop")]
#![allow(clippy::disallowed_methods, reason = "a test is the user who changes the tree by path")]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use csync::config::settings::{Mode, OwnerRule};
use csync::engine::error::EngineError;
use csync::engine::host::{Host, HostSettings};
use csync::engine::options::Select;
use csync::engine::selection::scope;
use csync::model::key::PublicKey;
use csync::model::path::RelPath;
use csync::plan::guard::Limit;

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("root")).unwrap();
        Self { directory }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn open(&self) -> Result<Host, EngineError> {
        let settings = HostSettings {
            node: "web1".to_owned(),
            scope: scope(&Select::default(), false, &[]).unwrap(),
            owner: OwnerRule::ByName,
            mode: Mode::TwoWay,
            is_primary: true,
            trust_root: false,
            keep: true,
            hold_above: Limit::Formula,
        };
        Host::open("uploads", &self.root(), &self.state(), settings, &mut |_| ())
    }
}

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

#[test]
fn an_empty_root_gets_its_marker_and_keeps_its_identity() {
    let place = Place::new();
    let host = place.open().unwrap();
    host.observe().unwrap();
    let me = host.replica().me;
    host.close().unwrap();
    assert!(place.root().join(".csync/marker").exists());
    fs::write(place.root().join("new"), "1").unwrap();
    let host = place.open().unwrap();
    assert_eq!(host.observe().unwrap().revisions, 1);
    assert_eq!(host.replica().me, me);
    assert!(host.replica().record(&path("new")).unwrap().is_some());
}

#[test]
fn a_served_root_is_in_use() {
    let place = Place::new();
    let _host = place.open().unwrap();
    assert!(matches!(place.open(), Err(EngineError::Locked { .. })));
}

#[test]
fn a_root_that_contradicts_what_is_known_halts_when_opened() {
    for (case, change) in [
        ("gone", (|root| fs::remove_dir_all(root)) as fn(&PathBuf) -> std::io::Result<()>),
        ("emptied", |root| fs::remove_dir_all(root).and_then(|()| fs::create_dir(root))),
        ("without its marker", |root| fs::remove_file(root.join(".csync/marker"))),
    ] {
        let place = Place::new();
        fs::write(place.root().join("file"), "1").unwrap();
        let host = place.open().unwrap();
        host.observe().unwrap();
        host.close().unwrap();
        change(&place.root()).unwrap();
        let error = place.open().unwrap_err();
        let halts = matches!(error, EngineError::RootGone { .. } | EngineError::MarkerLost { .. });
        assert!(halts, "{case}: {error}");
    }
}

#[test]
fn a_root_that_goes_while_it_is_served_halts_and_nothing_is_deleted() {
    for (case, change) in [
        ("gone", (|root| fs::remove_dir_all(root)) as fn(&PathBuf) -> std::io::Result<()>),
        ("replaced", |root| fs::rename(root, root.with_extension("old")).and_then(|()| fs::create_dir(root))),
        ("without its marker", |root| fs::remove_dir_all(root.join(".csync"))),
    ] {
        let place = Place::new();
        fs::write(place.root().join("file"), "1").unwrap();
        let host = place.open().unwrap();
        host.observe().unwrap();
        change(&place.root()).unwrap();
        assert!(host.observe().is_err(), "{case}");
        assert_eq!(host.replica().index().live_count(), 1, "{case}");
    }
}

#[test]
fn a_marker_of_an_older_generation_halts() {
    let place = Place::new();
    let host = place.open().unwrap();
    host.close().unwrap();
    let marker = place.root().join(".csync/marker");
    let old = fs::read(&marker).unwrap();
    place.open().unwrap().close().unwrap();
    fs::write(&marker, old).unwrap();
    assert!(matches!(place.open(), Err(EngineError::RootRestored { side: None, .. })));
}

#[test]
fn a_state_that_was_put_back_gets_a_new_id_and_deletes_nothing() {
    let place = Place::new();
    fs::write(place.root().join("file"), "1").unwrap();
    let host = place.open().unwrap();
    host.observe().unwrap();
    let me = host.replica().me;
    host.close().unwrap();
    let copy = place.directory.path().join("copy");
    let database = fs::read_dir(place.state().join("replicas")).unwrap().next().unwrap().unwrap().path();
    fs::copy(&database, &copy).unwrap();
    place.open().unwrap().close().unwrap();
    fs::copy(&copy, &database).unwrap();
    fs::remove_file(place.root().join("file")).unwrap();
    let host = place.open().unwrap();
    host.observe().unwrap();
    assert_ne!(host.replica().me, me);
    assert!(host.replica().record(&path("file")).unwrap().is_none(), "no tombstone");
    fs::write(place.root().join("later"), "1").unwrap();
    host.observe().unwrap();
    fs::remove_file(place.root().join("later")).unwrap();
    host.observe().unwrap();
    let later = host.replica().record(&path("later")).unwrap();
    assert!(later.is_some_and(|record| record.row.tombstone().is_some()), "absence counts again");
}

#[test]
fn a_moved_root_takes_its_database_along() {
    let place = Place::new();
    let host = place.open().unwrap();
    let me = host.replica().me;
    host.close().unwrap();
    let moved = place.directory.path().join("moved");
    fs::rename(place.root(), &moved).unwrap();
    std::os::unix::fs::symlink(&moved, place.root()).unwrap();
    let host = place.open().unwrap();
    assert_eq!(host.replica().me, me);
}

#[test]
fn deletions_of_one_guest_add_up_and_an_emptied_root_is_always_held() {
    let place = Place::new();
    for at in 0..40 {
        fs::write(place.root().join(format!("file{at}")), "1").unwrap();
    }
    let host = Arc::new(place.open().unwrap());
    host.observe().unwrap();
    let (one, two) = (PublicKey([1; 32]), PublicKey([2; 32]));
    let may = |guest, deletes, approved| host.may_delete(&host.replica(), guest, deletes, 0, approved);
    assert!(may(one, 20, false));
    assert!(!may(one, 21, false));
    assert!(may(one, 21, true));
    assert!(!may(one, 40, true), "nothing would be left");
    host.deleted(one, 15);
    assert!(!may(one, 6, false), "15 + 6 in ten minutes");
    assert!(may(two, 6, false));
}
