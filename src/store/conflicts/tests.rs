use super::*;
use crate::model::entry::Content;
use crate::store::sample::{NOW, attributes, database, dot, path};

fn conflict(first_byte: u8, name: &str) -> Conflict {
    let mut id = Digest::of(name.as_bytes());
    id.0[0] = first_byte;
    let side = |replica, path| Side {
        entry: Loser { dot: dot(replica, 3), content: Content::Dir, attributes: attributes(), path },
        peer: format!("node {replica}"),
    };
    let loser = side(2, Some(path("its/own name")));
    Conflict { id, path: path(name), winner: side(1, None), loser, since: NOW, resolved: false }
}

#[test]
fn conflicts_are_found_by_path_and_by_the_first_digits_of_their_id() {
    let (_dir, db) = database();
    let conflicts = Conflicts::of(&db);
    let [one, two, three] = [conflict(0xab, "b"), conflict(0xac, "a"), conflict(0x0b, "b")];
    for conflict in [&one, &two, &three] {
        conflicts.put(conflict).unwrap();
    }
    assert_eq!(conflicts.open().unwrap(), [two.clone(), three.clone(), one.clone()]);
    assert_eq!(conflicts.at(&path("b")).unwrap(), [three.clone(), one.clone()]);
    for (prefix, found) in [
        ("a", vec![one.clone(), two.clone()]),
        ("AB", vec![one.clone()]),
        ("ac", vec![two.clone()]),
        (&one.id.to_string()[..], vec![one.clone()]),
        ("0b", vec![three]),
        ("b", vec![]),
        ("zz", vec![]),
        ("\u{e4}", vec![]),
        (&"a".repeat(66), vec![]),
    ] {
        assert_eq!(conflicts.by_id(prefix).unwrap(), found, "case {prefix}");
    }
}

#[test]
fn a_settled_conflict_is_no_longer_open() {
    let (_dir, db) = database();
    let conflicts = Conflicts::of(&db);
    let one = conflict(1, "a");
    conflicts.put(&one).unwrap();
    assert!(conflicts.close(one.id).unwrap());
    assert!(!conflicts.close(one.id).unwrap());
    assert_eq!(conflicts.open().unwrap(), []);
    assert_eq!(conflicts.at(&path("a")).unwrap(), [Conflict { resolved: true, ..one }]);
}
