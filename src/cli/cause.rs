//! What ends a run, as a user is told it: the errors of the engine and of restoring.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::cli::failure::{Exit, Failure, Number};
use crate::engine::error::EngineError;
use crate::engine::restore::RestoreError;
use crate::model::path::escape;
use crate::store::error::StoreError;

/// Returns what an error of the engine is to a user: exit code, number, cause and fix.
#[must_use]
pub fn failure(error: &EngineError) -> Failure {
    let (exit, number) = kind(error);
    Failure::new(exit, number, chain(error)).fix(fix(error))
}

fn kind(error: &EngineError) -> (Exit, Number) {
    match error {
        EngineError::NoRoot { .. } | EngineError::NotADirectory { .. } => (Exit::Missing, Number::Missing),
        EngineError::MarkerLost { empty: true, .. } => (Exit::RootMissing, Number::RootEmpty),
        EngineError::RootGone { .. }
        | EngineError::MarkerLost { .. }
        | EngineError::RootReplaced { .. }
        | EngineError::RootRestored { .. }
        | EngineError::BadMarker { .. } => (Exit::RootMissing, Number::RootLost),
        EngineError::Nested { .. } => (Exit::Usage, Number::Nested),
        EngineError::Locked { .. } | EngineError::Store(StoreError::Locked { .. }) => {
            (Exit::Locked, Number::Locked)
        }
        EngineError::Store(StoreError::Newer { .. }) => (Exit::Usage, Number::Newer),
        EngineError::Unknown { .. } => (Exit::Usage, Number::Unknown),
        EngineError::Root { source, .. } if source.is_no_space() => (Exit::LocalIo, Number::Full),
        EngineError::Private { .. } | EngineError::Root { .. } => (Exit::LocalIo, Number::Disk),
        EngineError::Store(_) | EngineError::State { .. } | EngineError::Random(_) => {
            (Exit::LocalIo, Number::State)
        }
    }
}

fn fix(error: &EngineError) -> String {
    let anew = |database: &Path| {
        format!("remove {}: the next run is then a union and deletes nothing", shown(database))
    };
    match error {
        EngineError::NoRoot { .. } | EngineError::NotADirectory { .. } => {
            "name two directories that exist (mkdir -p makes one)".to_owned()
        }
        EngineError::RootGone { database, .. } => {
            format!("mount it; if it is gone for good, make it anew and {}", anew(database))
        }
        EngineError::MarkerLost { database, .. } => {
            format!("mount the disk; if it was meant, {}", anew(database))
        }
        EngineError::RootReplaced { database, .. } => {
            format!("bring the old root back; if it was meant, {}", anew(database))
        }
        EngineError::RootRestored { side: Some(side), .. } => format!(
            "csync sync --force {} A B brings it up to date from the other side; --force {} lets it win",
            side.other().label(),
            side.label()
        ),
        EngineError::RootRestored { side: None, database, .. } => {
            format!("bring the newer state of it back; if it was meant, {}", anew(database))
        }
        EngineError::BadMarker { path, .. } => {
            format!("look at {}/.csync/marker; nothing was changed", shown(path))
        }
        EngineError::Nested { .. } => "name two directories of which neither holds the other".to_owned(),
        EngineError::Locked { .. } | EngineError::Store(StoreError::Locked { .. }) => {
            "wait until the other run has ended; where it is csyncd that serves the root, stop it first"
                .to_owned()
        }
        EngineError::Store(StoreError::Newer { .. }) => "use that csync; nothing was changed".to_owned(),
        EngineError::Unknown { fix, .. } => (*fix).to_owned(),
        EngineError::Private { path, .. } => {
            format!("see who made {}/.csync, and remove it if it is not csync's", shown(path))
        }
        EngineError::Root { .. } => "see to the disk and run again; nothing is lost".to_owned(),
        EngineError::Store(_) | EngineError::State { .. } | EngineError::Random(_) => {
            "see to the state directory (--state-dir) and run again".to_owned()
        }
    }
}

/// Returns what an error of restoring is to a user.
#[must_use]
pub fn restore_failure(error: &RestoreError) -> Failure {
    match error {
        RestoreError::Engine(error) => failure(error),
        RestoreError::NoVersion { path, .. } | RestoreError::Ambiguous { path, .. } => {
            let fix = format!(
                "csync versions {} lists what there is there and below; name one of these",
                shown(path)
            );
            Failure::usage(Number::Unknown, chain(error)).fix(fix)
        }
        RestoreError::InTheWay { .. } => Failure::usage(Number::Unknown, chain(error))
            .fix("move the directory away and try again, or restore elsewhere by --to DIR"),
        RestoreError::Stage(_) | RestoreError::Apply(_) | RestoreError::Disk(_) => {
            Failure::new(Exit::LocalIo, Number::Disk, chain(error)).fix("run again; nothing is lost")
        }
    }
}

/// The message of an error and of what caused it.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let more = source.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = source.source();
    }
    escape(text.as_bytes())
}

/// A path as messages show it.
#[must_use]
pub fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_bytes())
}
