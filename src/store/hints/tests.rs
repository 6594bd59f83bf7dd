use super::*;
use crate::store::sample::{database, path};

fn hint(name: &str, recursive: bool, secs: i64) -> Hint {
    Hint { path: path(name), recursive, at: Timestamp::new(secs, 5) }
}

#[test]
fn hints_of_one_path_become_the_wider_and_later() {
    let (_dir, db) = database();
    let hints = Hints::of(&db);
    for (recursive, secs) in [(false, 7), (true, 5), (false, 9), (false, 8)] {
        hints.add(&hint("a", recursive, secs)).unwrap();
    }
    assert_eq!(hints.take(9).unwrap(), [hint("a", true, 9)]);
}

#[test]
fn hints_are_taken_once_and_come_back_if_the_batch_fails() {
    let (_dir, db) = database();
    let hints = Hints::of(&db);
    for name in ["b", "a", "c"] {
        hints.add(&hint(name, false, 1)).unwrap();
    }
    let failed = db.batch(|| {
        assert_eq!(hints.take(9)?.len(), 3);
        Err::<(), _>(StoreError::Foreign { path: db.path().to_owned() })
    });
    assert!(failed.is_err());
    assert_eq!(hints.take(2).unwrap(), [hint("a", false, 1), hint("b", false, 1)]);
    assert_eq!(hints.take(2).unwrap(), [hint("c", false, 1)]);
    hints.add(&hint("d", true, 1)).unwrap();
    hints.clear().unwrap();
    assert_eq!(hints.take(2).unwrap(), []);
}
