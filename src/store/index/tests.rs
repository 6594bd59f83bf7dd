use super::*;
use crate::model::metadata::{Attributes, Stat, Timestamp};
use crate::model::row::{Seen, State};
use crate::store::db::Mode;
use crate::store::sample::{NOW, attributes, database, deleted, live, names, path};

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
    for name in ["a", "a.b", "a\u{1}", "a/\u{1}", "a/b", "a/b/c", "a/x/y", "a/b0", "ab"] {
        index.put(&path(name), &live(1, 1)).unwrap();
    }
    let a = path("a");
    let below = index.page(None, Some(&a), 100).unwrap();
    assert_eq!(names(&below), ["a/\\#001", "a/b", "a/b/c", "a/b0", "a/x/y"]);
    assert_eq!(names(&index.page(Some(&path("a/b")), Some(&a), 2).unwrap()), ["a/b/c", "a/b0"]);
    assert_eq!(names(&index.children(&a, None, 100).unwrap()), ["a/\\#001", "a/b", "a/b0"]);
    assert_eq!(names(&index.children(&a, Some(&path("a/b")), 100).unwrap()), ["a/b0"]);
    assert_eq!(names(&index.children(&RelPath::root(), None, 9).unwrap()), ["a", "a\\#001", "a.b", "ab"]);
}

#[test]
fn only_live_rows_are_counted_and_keep_a_directory() {
    let (_dir, db) = database();
    let index = Index::of(&db);
    index.put(&path("d"), &live(1, 5)).unwrap();
    index.put(&path("d/x"), &deleted(2, None)).unwrap();
    index.put(&path("d.x"), &live(3, 5)).unwrap();
    assert!(!index.any_live_below(&path("d")).unwrap());
    assert!(index.any_live_below(&RelPath::root()).unwrap());
    index.put(&path("d/y"), &live(4, 5)).unwrap();
    assert!(index.any_live_below(&path("d")).unwrap());
    assert_eq!((index.live_count(), index.live_bytes_total()), (3, 15));
    index.put(&path("d/y"), &deleted(5, None)).unwrap();
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
        Err::<(), _>(StoreError::Locked { path: db.path().to_owned() })
    });
    assert!(failed.is_err());
    assert_eq!((index.get(&path("a")).unwrap(), index.live_count()), (None, 0));
    index.put(&path("a"), &live(1, 1)).unwrap();
    assert_eq!(index.get(&path("a")).unwrap(), Some(live(1, 1)));
}

#[test]
fn names_that_are_not_utf8_are_kept_byte_by_byte() {
    let (_dir, db) = database();
    let index = Index::of(&db);
    let names: [&[u8]; 3] = [b"\x01", b"caf\xe9/\xff\xfe", &[0xff; 255]];
    for (seq, name) in (1..).zip(names) {
        index.put(&path(name), &live(seq, 0)).unwrap();
    }
    let rows = index.page(None, None, 10).unwrap();
    assert_eq!(rows.iter().map(|(path, _)| path.as_bytes()).collect::<Vec<_>>(), names);
}

#[test]
fn a_cursor_keeps_its_order_while_rows_are_written() {
    let (_dir, db) = database();
    let index = Index::of(&db);
    let name = |n: u64| path(format!("d{:03}/f{n:05}", n / 50));
    db.batch(|| (0..3000).step_by(2).try_for_each(|n| index.put(&name(n), &live(n, 1)))).unwrap();
    let mut seen: Vec<RelPath> = Vec::new();
    for row in index.cursor(None) {
        let (path, record) = row.unwrap();
        // Rows before and behind the place come and go meanwhile.
        if record.seq.is_multiple_of(2) {
            index.put(&name(record.seq + 1), &live(record.seq + 1, 1)).unwrap();
            if record.seq >= 100 {
                index.remove(&name(record.seq - 100)).unwrap();
            }
        }
        seen.push(path);
    }
    assert!(seen.is_sorted_by(|a, b| a < b));
    let old = seen.iter().filter(|path| path.as_bytes().last().is_some_and(|b| b % 2 == 0)).count();
    assert_eq!(old, 1500, "no row that stood there all the time is left out");
}

#[test]
fn changed_rows_come_in_path_order_whether_few_or_many() {
    let (_dir, db) = database();
    let index = Index::of(&db);
    let count = 2 * u64::try_from(SORTED_MAX).unwrap();
    // The later half of the sequence lies at even places of the path order.
    let seq = |n: u64| {
        if n.is_multiple_of(2) { count / 2 + n / 2 + 1 } else { n / 2 + 1 }
    };
    db.batch(|| (0..count).try_for_each(|n| index.put(&path(format!("{n:05}")), &live(seq(n), 1)))).unwrap();
    for since in [0, count / 2 - 1, count - 3, count] {
        let mut seqs = Vec::new();
        let mut last = None;
        loop {
            let page = index.changed_since(since, last.as_ref(), 700).unwrap();
            let Some((path, _)) = page.last() else { break };
            last = Some(path.clone());
            seqs.extend(page.iter().map(|(_, record)| record.seq));
        }
        let expected: Vec<u64> = (0..count).map(seq).filter(|seq| *seq > since).collect();
        assert!(seqs == expected, "since {since}: {} of {} rows", seqs.len(), expected.len());
    }
}

/// A file as a scan finds it: stamps of its own, a stat, a vector of two slots.
fn scanned(n: u64) -> Record {
    let mut record = live(n, 10_000 + n * 37 % 1_000_000);
    let written = Timestamp::new(NOW.secs - i64::try_from(n).unwrap() * 61, 987_654_321);
    // One in four was moved, linked or given another mode since it was written.
    let changed = if n.is_multiple_of(4) { Timestamp::new(NOW.secs - 86_400, 222_333_444) } else { written };
    let attributes = Attributes { mtime: written, ..attributes() };
    if let State::Live(live) = &mut record.row.state {
        live.mtime.value = written;
        let (kind, size) = (live.content.value.kind(), live.content.value.size());
        let stat = Stat {
            kind,
            attributes,
            size,
            ctime: changed,
            ino: 5_000_000 + n,
            dev: 0xfd01,
            links: 1,
            rdev: 0,
        };
        record.seen = Some(Seen { stat, at: Timestamp::new(NOW.secs + 3, 111_222_333) });
    }
    record
}

#[test]
fn a_row_takes_at_most_180_bytes_on_disk() {
    let (dir, db) = database();
    let index = Index::of(&db);
    let count = 100_000;
    db.batch(|| {
        (0..count)
            .try_for_each(|n| index.put(&path(format!("dir{:04}/file{n:07}.dat", n / 100)), &scanned(n)))
    })
    .unwrap();
    assert_eq!(index.get(&path("dir0123/file0012345.dat")).unwrap(), Some(scanned(12_345)));
    db.close().unwrap();
    let bytes = dir.path().join("a.db").metadata().unwrap().len();
    println!("{} bytes a row", bytes / count);
    assert!(bytes <= 180 * count, "{} bytes a row", bytes / count);
}
