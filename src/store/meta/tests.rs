use super::*;
use crate::store::sample::{NOW, database};

#[test]
fn settings_keep_their_type_and_value() {
    let (_dir, db) = database();
    let meta = Meta::of(&db);
    assert_eq!(meta.get(SEQUENCE).unwrap(), None);
    meta.set(SEQUENCE, &u64::MAX).unwrap();
    meta.set(ROOT_PATH, &PathBuf::from(OsString::from_vec(b"/a/\xff".to_vec()))).unwrap();
    meta.set(REPLICA, &ReplicaId([7; 16])).unwrap();
    meta.set(ROOT_INODE, &(1, u64::MAX)).unwrap();
    meta.set(MARKER_PENDING, &true).unwrap();
    meta.set(CREATED, &NOW).unwrap();
    meta.set(FOLDER, &"photos".to_owned()).unwrap();
    assert_eq!(meta.get(SEQUENCE).unwrap(), Some(u64::MAX));
    assert_eq!(meta.get(ROOT_PATH).unwrap().map(|path| path.to_bytes()), Some(b"/a/\xff".to_vec()));
    assert_eq!(meta.get(REPLICA).unwrap(), Some(ReplicaId([7; 16])));
    assert_eq!(meta.get(ROOT_INODE).unwrap(), Some((1, u64::MAX)));
    assert_eq!(meta.get(MARKER_PENDING).unwrap(), Some(true));
    assert_eq!(meta.get(CREATED).unwrap(), Some(NOW));
    assert_eq!(meta.get(FOLDER).unwrap(), Some("photos".to_owned()));
}

#[test]
fn a_damaged_setting_is_an_error_not_a_default() {
    let (_dir, db) = database();
    for (key, value) in [("sequence", &[1_u8; 7][..]), ("marker-pending", &[2]), ("created", &[0xff; 12])] {
        db.set_meta(key, value).unwrap();
    }
    let meta = Meta::of(&db);
    assert!(matches!(meta.get(SEQUENCE), Err(StoreError::Corrupt { .. })));
    assert!(matches!(meta.get(MARKER_PENDING), Err(StoreError::Corrupt { .. })));
    assert!(matches!(meta.get(CREATED), Err(StoreError::Corrupt { .. })));
}
