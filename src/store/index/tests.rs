use super::*;
use crate::model::entry::{Content, Digest};
use crate::model::metadata::{Attributes, Owner, Timestamp};
use crate::model::row::{Live, Row, State, Tombstone};
use crate::model::version::{Dot, ReplicaId, VersionVector};
use crate::store::db::Mode;

const NOW: Timestamp = Timestamp {
    secs: 1_750_000_000,
    nanos: 123_456_789,
};

fn path(bytes: impl AsRef<[u8]>) -> RelPath {
    RelPath::new(bytes.as_ref()).unwrap()
}

fn attributes() -> Attributes {
    Attributes {
        mode: 0o644,
        owner: Owner { uid: 1000, gid: 1000 },
        mtime: NOW,
    }
}

fn dot(replica: u8, counter: u64) -> Dot {
    Dot {
        replica: ReplicaId([replica; 16]),
        counter,
    }
}

fn live(seq: u64, size: u64) -> Record {
    let content = Content::File {
        digest: Digest::of(&seq.to_be_bytes()),
        size,
    };
    let state = State::Live(Live::new(content, attributes(), dot(1, seq), NOW));
    let vector = VersionVector::from_iter([dot(1, seq), dot(2, seq + 7)]);
    Record {
        row: Row {
            vector,
            state,
            losers: Vec::new(),
        },
        seq,
        seen: None,
        residue: false,
    }
}

fn deleted(seq: u64) -> Record {
    let tombstone = Tombstone {
        dot: dot(1, seq),
        deleted_at: NOW,
        content: Content::Dir,
        attributes: attributes(),
        moved_to: None,
    };
    let vector = VersionVector::of(dot(1, seq));
    let row = Row {
        vector,
        state: State::Deleted(tombstone),
        losers: Vec::new(),
    };
    Record {
        row,
        seq,
        seen: None,
        residue: false,
    }
}

fn database() -> (tempfile::TempDir, Database) {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open(&dir.path().join("a.db"), Mode::Durable).unwrap();
    (dir, db)
}

fn names(rows: &[(RelPath, Record)]) -> Vec<String> {
    rows.iter().map(|(path, _)| path.to_string()).collect()
}

#[test]
fn rows_come_back_in_path_order_and_survive_reopening() {
    let (dir, db) = database();
    let index = Index::of(&db);
    for (seq, name) in (1..).zip(["b", "a.b", "a/b/c", "a", "a/b", "ab", ""]) {
        index.put(&path(name), &live(seq, seq)).unwrap();
    }
    let sorted = [".", "a", "a/b", "a/b/c", "a.b", "ab", "b"];
    assert_eq!(names(&index.page(None, None, 100).unwrap()), sorted);
    assert_eq!((index.live_count(), index.live_bytes_total()), (7, 28));
    db.close().unwrap();
    let db = Database::open(&dir.path().join("a.db"), Mode::Durable).unwrap();
    let index = Index::of(&db);
    assert_eq!(names(&index.page(None, None, 100).unwrap()), sorted);
    assert_eq!(index.get(&path("a.b")).unwrap(), Some(live(2, 2)));
    assert_eq!(index.get(&path("a.")).unwrap(), None);
    assert_eq!((index.live_count(), index.live_bytes_total()), (7, 28));
}

#[test]
fn ranges_do_not_leak_into_names_that_begin_alike() {
    let (_dir, db) = database();
    let index = Index::of(&db);
    for name in [
        "a", "a.b", "a\u{1}", "a/\u{1}", "a/b", "a/b/c", "a/x/y", "a/b0", "ab",
    ] {
        index.put(&path(name), &live(1, 1)).unwrap();
    }
    let a = path("a");
    let below = index.page(None, Some(&a), 100).unwrap();
    assert_eq!(names(&below), ["a/\\#001", "a/b", "a/b/c", "a/b0", "a/x/y"]);
    assert_eq!(
        names(&index.page(Some(&path("a/b")), Some(&a), 2).unwrap()),
        ["a/b/c", "a/b0"]
    );
    assert_eq!(
        names(&index.children(&a, None, 100).unwrap()),
        ["a/\\#001", "a/b", "a/b0"]
    );
    assert_eq!(
        names(&index.children(&a, Some(&path("a/b")), 100).unwrap()),
        ["a/b0"]
    );
    assert_eq!(
        names(&index.children(&RelPath::root(), None, 9).unwrap()),
        ["a", "a\\#001", "a.b", "ab"]
    );
}

#[test]
fn only_live_rows_are_counted_and_keep_a_directory() {
    let (_dir, db) = database();
    let index = Index::of(&db);
    index.put(&path("d"), &live(1, 5)).unwrap();
    index.put(&path("d/x"), &deleted(2)).unwrap();
    index.put(&path("d.x"), &live(3, 5)).unwrap();
    assert!(!index.any_live_below(&path("d")).unwrap());
    assert!(index.any_live_below(&RelPath::root()).unwrap());
    index.put(&path("d/y"), &live(4, 5)).unwrap();
    assert!(index.any_live_below(&path("d")).unwrap());
    assert_eq!((index.live_count(), index.live_bytes_total()), (3, 15));
    index.put(&path("d/y"), &deleted(5)).unwrap();
    index.remove(&path("d.x")).unwrap();
    index.remove(&path("none")).unwrap();
    assert_eq!((index.live_count(), index.live_bytes_total()), (1, 5));
}

#[test]
fn a_failed_batch_leaves_nothing_behind() {
    let (_dir, db) = database();
    let index = Index::of(&db);
    let failed = db.batch(|| {
        index.put(&path("a"), &live(1, 1))?;
        Err::<(), _>(StoreError::Locked {
            path: db.path().to_owned(),
        })
    });
    assert!(failed.is_err());
    assert_eq!((index.get(&path("a")).unwrap(), index.live_count()), (None, 0));
    index.put(&path("a"), &live(1, 1)).unwrap();
    assert_eq!(index.get(&path("a")).unwrap(), Some(live(1, 1)));
}
