use std::os::unix::fs::{FileExt as _, PermissionsExt as _};

use super::*;
use crate::store::index::Index;
use crate::store::sample::{live, path as rel};

/// A database of `rows` rows in `dir`, left by an unclean stop if `unclean`.
fn filled(dir: &Path, rows: u64, unclean: bool) -> PathBuf {
    let path = dir.join("a.db");
    let db = Database::open(&path, Mode::Durable).unwrap();
    db.start().unwrap();
    db.batch(|| {
        (1..=rows).try_for_each(|n| Index::of(&db).put(&rel(format!("d{}/{n:06}", n / 100)), &live(n, n)))
    })
    .unwrap();
    if unclean {
        drop(db);
    } else {
        db.close().unwrap();
    }
    path
}

/// Every file of `dir` with its bytes.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Opens the database and reads all of it.
fn read_all(path: &Path) -> Result<usize, StoreError> {
    let db = Database::open(path, Mode::Durable)?;
    let rows = Index::of(&db).cursor(None).collect::<Result<Vec<_>, _>>()?;
    Ok(rows.len())
}

#[test]
fn the_migrations_lead_from_nothing_to_the_newest_format() {
    Migrations::from_slice(MIGRATIONS).validate().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = filled(dir.path(), 3, false);
    assert_eq!(read_all(&path).unwrap(), 3, "a second opening finds the newest format");
}

#[test]
fn a_new_database_is_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state/replicas/a.db");
    let _db = Database::open(&path, Mode::Durable).unwrap();
    for (name, mode) in [
        ("state", 0o700),
        ("state/replicas", 0o700),
        ("state/replicas/a.db", 0o600),
        ("state/replicas/a.db-wal", 0o600),
    ] {
        assert_eq!(dir.path().join(name).metadata().unwrap().permissions().mode() & 0o777, mode, "{name}");
    }
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = filled(dir.path(), 1, false);
    let held = Database::open(&path, Mode::Durable).unwrap();
    for mode in [Mode::Durable, Mode::Rehearsal] {
        assert!(matches!(Database::open(&path, mode), Err(StoreError::Locked { .. })), "{mode:?}");
    }
    drop(held);
    Database::open(&path, Mode::Durable).unwrap();
}

#[test]
fn a_newer_format_is_refused_with_both_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let path = filled(dir.path(), 1, false);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", known_format() + 7).unwrap();
    for mode in [Mode::Durable, Mode::Rehearsal] {
        let error = Database::open(&path, mode).unwrap_err();
        assert!(
            matches!(error, StoreError::Newer { found, known, .. } if (found, known) == (known_format() + 7, known_format())),
            "{error:?}"
        );
    }
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    let named = dir.path().join("named.db");
    Connection::open(&named).unwrap().pragma_update(None, "application_id", 5).unwrap();
    let ours = filled(dir.path(), 1, false);
    let link = dir.path().join("link.db");
    std::os::unix::fs::symlink(&ours, &link).unwrap();
    let before = [&other, &named, &ours].map(|path| std::fs::read(path).unwrap());
    for path in [&other, &named, &link, &dir.path().to_owned()] {
        let error = Database::open(path, Mode::Durable).unwrap_err();
        assert!(matches!(error, StoreError::Foreign { .. }), "{path:?}: {error:?}");
    }
    assert!([&other, &named, &ours].map(|path| std::fs::read(path).unwrap()) == before);
}

#[test]
fn a_rehearsal_changes_no_byte() {
    for rows in [0, 20_000] {
        let dir = tempfile::tempdir().unwrap();
        let path = filled(dir.path(), 100, false);
        let before = contents(dir.path());
        let db = Database::open(&path, Mode::Rehearsal).unwrap();
        let index = Index::of(&db);
        db.start().unwrap();
        db.batch(|| (0..rows).try_for_each(|n| index.put(&rel(format!("new{n}")), &live(n, 1)))).unwrap();
        assert_eq!(index.live_count(), 100 + rows);
        assert_eq!(index.page(None, None, 100_000).unwrap().len() as u64, 100 + rows);
        db.close().unwrap();
        assert!(contents(dir.path()) == before, "{rows} rows");
    }
}

#[test]
fn a_rehearsal_without_a_database_makes_none() {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open(&dir.path().join("state/a.db"), Mode::Rehearsal).unwrap();
    Index::of(&db).put(&rel("a"), &live(1, 1)).unwrap();
    assert_eq!(Index::of(&db).live_count(), 1);
    assert_eq!(contents(dir.path()), []);
}

#[test]
fn a_rehearsal_of_an_empty_file_works_on_a_copy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    std::fs::write(&path, b"").unwrap();
    let db = Database::open(&path, Mode::Rehearsal).unwrap();
    Index::of(&db).put(&rel("a"), &live(1, 1)).unwrap();
    drop(db);
    assert_eq!(contents(dir.path()), [(path, Vec::new())]);
}

#[test]
fn a_rehearsal_leaves_what_a_kill_left_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let path = filled(dir.path(), 50, false);
    let db = Database::open(&path, Mode::Durable).unwrap();
    Index::of(&db).put(&rel("later"), &live(51, 1)).unwrap();
    let copy = tempfile::tempdir().unwrap();
    for (from, bytes) in contents(dir.path()) {
        std::fs::write(copy.path().join(from.file_name().unwrap()), bytes).unwrap();
    }
    let before = contents(copy.path());
    assert_eq!(before.len(), 2, "there is a log");
    let rehearsal = Database::open(&copy.path().join("a.db"), Mode::Rehearsal).unwrap();
    Index::of(&rehearsal).put(&rel("never"), &live(52, 1)).unwrap();
    assert_eq!(Index::of(&rehearsal).live_count(), 52);
    drop(rehearsal);
    assert!(contents(copy.path()) == before);
    assert_eq!(read_all(&copy.path().join("a.db")).unwrap(), 51);
}

#[test]
fn a_stop_without_close_is_noticed_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = filled(dir.path(), 1, true);
    let db = Database::open(&path, Mode::Durable).unwrap();
    assert!(db.was_unclean());
    db.close().unwrap();
    assert!(!Database::open(&path, Mode::Durable).unwrap().was_unclean());
}

#[test]
fn a_cut_database_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let path = filled(dir.path(), 2_000, true);
    let length = path.metadata().unwrap().len();
    for cut in [length - 4096, length - 100, length / 2, 5000, 50] {
        OpenOptions::new().write(true).open(&path).unwrap().set_len(cut).unwrap();
        let error = read_all(&path).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "cut to {cut}: {error:?}");
    }
}

#[test]
fn flipped_bits_are_damage_or_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let path = filled(dir.path(), 500, true);
    let whole = std::fs::read(&path).unwrap();
    let mut dice = fastrand::Rng::with_seed(3);
    let header = (0..100).map(|at| (at, "header"));
    let pages = (0..whole.len()).step_by(4096).flat_map(|page| (page..page + 12).map(|at| (at, "page")));
    let anywhere = std::iter::repeat_with(|| (dice.usize(..whole.len()), "anywhere")).take(200);
    let mut found = 0;
    for (at, place) in header.chain(pages).chain(anywhere) {
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(0).unwrap();
        file.write_all_at(&whole, 0).unwrap();
        file.write_all_at(&[whole[at] ^ 0x55], at as u64).unwrap();
        drop(file);
        match read_all(&path) {
            Ok(rows) => assert!(rows <= 500, "{place} {at}"),
            Err(StoreError::Corrupt { .. } | StoreError::Newer { .. } | StoreError::Foreign { .. }) => {
                found += 1;
            }
            Err(error) => panic!("{place} {at}: {error:?}"),
        }
    }
    assert!(found > 100, "{found} found");
}
