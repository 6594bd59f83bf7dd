//! The state directory: where the databases of replicas are, and what is done with one that cannot be used.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::HEXLOWER;

use crate::disk::root::Root;
use crate::engine::error::EngineError;
use crate::engine::marker::Id;
use crate::model::metadata::Timestamp;
use crate::model::path::RelPath;
use crate::rules::scope::Scope;
use crate::store::db::{Database, Mode};
use crate::store::error::StoreError;

/// Returns where the database called `id` is.
#[must_use]
pub fn database_path(state: &Path, id: Id) -> PathBuf {
    state.join("replicas").join(format!("{}.db", HEXLOWER.encode(&id)))
}

/// Returns the ids of all databases in `state`, sorted.
///
/// # Errors
/// The directory cannot be listed.
pub fn databases(state: &Path) -> Result<Vec<Id>, EngineError> {
    let dir = state.join("replicas");
    let failed = |source| EngineError::State { doing: "list", path: dir.clone(), source };
    let mut ids = Vec::new();
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(ids),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let id = name.as_bytes().strip_suffix(b".db").and_then(|hex| HEXLOWER.decode(hex).ok());
        ids.extend(id.and_then(|id| Id::try_from(id).ok()));
    }
    ids.sort_unstable();
    Ok(ids)
}

/// Returns `scope` with the state directory left alone where it lies in one of the roots: it changes with every run,
/// and what it says is true of this machine only.
#[must_use]
pub fn sparing_state(scope: &Arc<Scope>, state: &Path, roots: &[&Root]) -> Arc<Scope> {
    let mut scope = Arc::clone(scope);
    for root in roots {
        // A state directory that is the root itself has its databases spared.
        for dir in [state.to_owned(), state.join("replicas")] {
            let (Ok(dir), Ok(top)) = (dir.canonicalize(), root.path().canonicalize()) else {
                continue;
            };
            let below = dir.strip_prefix(&top).map(|below| RelPath::new(below.as_os_str().as_bytes()));
            if let Ok(Ok(below)) = below
                && !below.is_root()
            {
                scope = scope.sparing(&below);
            }
        }
    }
    scope
}

/// Opens the database at `path`; one that is damaged is set aside and a new one begun, which `warn` is told.
///
/// # Errors
/// It was written by a newer csync, is in use, is foreign, or the system refuses.
pub fn open_database(
    path: &Path,
    mode: Mode,
    now: Timestamp,
    warn: &mut dyn FnMut(String),
) -> Result<Database, EngineError> {
    match Database::open(path, mode) {
        Ok(db) => Ok(db),
        Err(StoreError::Corrupt { path, detail }) => {
            if mode == Mode::Rehearsal {
                warn(format!("{} is damaged ({detail}); the run would begin anew", path.display()));
                return Ok(Database::open(&path.with_extension("none"), mode)?);
            }
            set_aside(&path, &detail, now, warn)?;
            Ok(Database::open(&path, mode)?)
        }
        Err(StoreError::Locked { path }) => Err(EngineError::Locked { path, pid: None }),
        Err(error) => Err(error.into()),
    }
}

/// Puts a damaged database out of the way, which `warn` is told.
///
/// # Errors
/// The system refuses.
pub fn set_aside(
    path: &Path,
    detail: &str,
    now: Timestamp,
    warn: &mut dyn FnMut(String),
) -> Result<(), EngineError> {
    let aside = path.with_extension(format!("db.damaged-{}", now.secs));
    move_database(path, &aside)?;
    let (path, aside) = (path.display(), aside.display());
    warn(format!(
        "the database {path} is damaged ({detail}); it was set aside as {aside}, and the run begins anew: a union, nothing is deleted"
    ));
    Ok(())
}

/// Renames a closed database with the files that belong to it.
///
/// # Errors
/// The system refuses.
#[expect(clippy::disallowed_methods, reason = "the state directory is ours, and no synchronised root")]
pub fn move_database(from: &Path, to: &Path) -> Result<(), EngineError> {
    for suffix in SUFFIXES {
        match std::fs::rename(with(from, suffix), with(to, suffix)) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(EngineError::State { doing: "rename", path: from.to_owned(), source });
            }
        }
    }
    Ok(())
}

/// Removes a closed database with the files that belong to it.
///
/// # Errors
/// The system refuses.
#[expect(clippy::disallowed_methods, reason = "the state directory is ours, and no synchronised root")]
pub fn remove_database(path: &Path) -> Result<(), EngineError> {
    for suffix in SUFFIXES {
        match std::fs::remove_file(with(path, suffix)) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(EngineError::State { doing: "remove", path: path.to_owned(), source });
            }
        }
    }
    Ok(())
}

/// What `SQLite` adds to the names of the files of a database; the database itself comes last.
const SUFFIXES: [&str; 3] = ["-wal", "-shm", ""];

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
