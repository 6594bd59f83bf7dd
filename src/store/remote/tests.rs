use super::*;
use crate::store::sample::{database, deleted, live, names, path};

#[test]
fn rows_wait_in_path_order_and_in_reverse() {
    let (_dir, db) = database();
    let remote = Remote::of(&db, 0);
    for name in ["a.b", "a/b", "a", "b", "a/b/c"] {
        remote.put(&path(name), &live(1, 1).row).unwrap();
    }
    assert_eq!(names(&remote.page(None, 9).unwrap()), ["a", "a/b", "a/b/c", "a.b", "b"]);
    assert_eq!(names(&remote.page(Some(&path("a/b")), 2).unwrap()), ["a/b/c", "a.b"]);
    assert_eq!(names(&remote.page_back(None, 9).unwrap()), ["b", "a.b", "a/b/c", "a/b", "a"]);
    assert_eq!(names(&remote.page_back(Some(&path("a.b")), 2).unwrap()), ["a/b/c", "a/b"]);
    assert_eq!(remote.page_back(Some(&path("a")), 2).unwrap(), []);
    remote.remove(&path("a")).unwrap();
    assert_eq!((remote.get(&path("a")).unwrap(), remote.count().unwrap()), (None, 4));
    remote.clear().unwrap();
    assert_eq!(remote.count().unwrap(), 0);
}

#[test]
fn renames_are_found_by_where_they_went_and_are_no_deletions() {
    let (_dir, db) = database();
    let remote = Remote::of(&db, 0);
    let moved = deleted(3, Some(path("new/name"))).row;
    remote.put(&path("old"), &moved).unwrap();
    remote.put(&path("gone"), &deleted(4, None).row).unwrap();
    remote.put(&path("kept"), &live(5, 1).row).unwrap();
    assert_eq!(remote.count_deletes().unwrap(), 1);
    assert_eq!(remote.moved_to(&path("new/name")).unwrap(), [(path("old"), moved)]);
    assert_eq!(remote.moved_to(&path("new")).unwrap(), []);
    remote.put(&path("gone"), &live(6, 1).row).unwrap();
    assert_eq!(remote.count_deletes().unwrap(), 0);
}

#[test]
fn the_rows_of_several_peers_wait_side_by_side() {
    let (_dir, db) = database();
    assert!(!Remote::is_any(&db).unwrap());
    let (one, two) = (Remote::of(&db, 1), Remote::of(&db, 2));
    one.put_numbered(&path("f"), &live(1, 1).row, 7).unwrap();
    two.put_numbered(&path("f"), &live(2, 9).row, 8).unwrap();
    assert_eq!((one.number(&path("f")).unwrap(), two.number(&path("f")).unwrap()), (7, 8));
    assert_eq!(Remote::of_all(&db, &path("f")).unwrap(), [live(1, 1).row, live(2, 9).row]);
    one.clear().unwrap();
    assert_eq!((one.count().unwrap(), two.count().unwrap()), (0, 1));
    assert!(Remote::is_any(&db).unwrap());
}
