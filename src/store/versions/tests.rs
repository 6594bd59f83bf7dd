use super::*;
use crate::store::sample::{attributes, database, path};

fn version(id: &str, name: &str, secs: i64) -> Version {
    Version {
        id: id.to_owned(),
        path: path(name),
        batch: "2025-06-15T150640Z-1".to_owned(),
        place: path(name),
        replaced: Timestamp::new(secs, 9),
        kind: Kind::File,
        size: 12,
        digest: Some(Digest::of(id.as_bytes())),
        attributes: attributes(),
        by: "the other root".to_owned(),
        why: "replaced".to_owned(),
    }
}

fn ids(versions: &[Version]) -> Vec<&str> {
    versions.iter().map(|version| &version.id[..]).collect()
}

#[test]
fn versions_are_found_by_path_id_directory_age_and_digest() {
    let (_dir, db) = database();
    let versions = Versions::of(&db);
    for (id, name, secs) in
        [("aa11", "d/x", 5), ("aa22", "d/x", 9), ("bb11", "d/x", 7), ("cc11", "d/a", 8), ("dd11", "d.x", 1)]
    {
        assert!(versions.add(&version(id, name, secs)).unwrap());
    }
    assert!(!versions.add(&version("aa11", "other", 1)).unwrap(), "an id is given once");
    assert_eq!(ids(&versions.at(&path("d/x"), "").unwrap()), ["aa22", "bb11", "aa11"]);
    assert_eq!(ids(&versions.at(&path("d/x"), "aa").unwrap()), ["aa22", "aa11"]);
    assert_eq!(versions.at(&path("d/x"), "bb").unwrap(), [version("bb11", "d/x", 7)]);
    assert_eq!(ids(&versions.at(&path("d/x"), "%").unwrap()), [""; 0]);
    let first = versions.below(&path("d"), None, 3).unwrap();
    assert_eq!(ids(&first), ["cc11", "aa11", "bb11"]);
    assert_eq!(ids(&versions.below(&path("d"), first.last(), 3).unwrap()), ["aa22"]);
    assert_eq!(
        ids(&versions.below(&RelPath::root(), None, 9).unwrap()),
        ["cc11", "aa11", "bb11", "aa22", "dd11"]
    );
    assert_eq!(ids(&versions.oldest(2).unwrap()), ["dd11", "aa11"]);
    assert_eq!(ids(&versions.with_digest(Digest::of(b"bb11")).unwrap()), ["bb11"]);
    assert!(versions.remove("bb11").unwrap());
    assert!(!versions.remove("bb11").unwrap());
    assert_eq!(ids(&versions.with_digest(Digest::of(b"bb11")).unwrap()), [""; 0]);
}
