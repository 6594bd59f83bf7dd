use super::*;
use crate::store::sample::{database, path};

fn hint(name: &str, recursive: bool) -> Hint {
    Hint { path: path(name), recursive }
}

#[test]
fn a_place_is_put_down_once_and_as_wide_as_it_was_asked_for() {
    let (_dir, db) = database();
    let looks = Looks::of(&db);
    assert!(looks.is_empty().unwrap());
    for (name, recursive) in [("b", false), ("a", true), ("b", true), ("a", false)] {
        looks.put(&hint(name, recursive)).unwrap();
    }
    assert_eq!(looks.all().unwrap(), [hint("a", true), hint("b", true)]);
    looks.take(&hint("a", false)).unwrap();
    looks.take(&hint("b", true)).unwrap();
    looks.take(&hint("absent", true)).unwrap();
    assert_eq!(looks.all().unwrap(), [hint("a", true)], "an entry alone does not answer for all below it");
    assert!(!looks.is_empty().unwrap());
    looks.clear().unwrap();
    assert!(looks.is_empty().unwrap());
}

#[test]
fn a_place_is_struck_out_with_what_was_found_there_or_not_at_all() {
    let (_dir, db) = database();
    let looks = Looks::of(&db);
    looks.put(&hint("a", false)).unwrap();
    let failed = db.batch(|| {
        looks.take(&hint("a", false))?;
        assert!(looks.is_empty()?);
        Err::<(), _>(StoreError::Foreign { path: db.path().to_owned() })
    });
    assert!(failed.is_err());
    assert_eq!(looks.all().unwrap(), [hint("a", false)]);
}
