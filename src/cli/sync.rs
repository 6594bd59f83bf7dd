//! `sync`: two roots kept the same.

use crate::cli::args::Pair;
use crate::cli::failure::{Exit, Failure, Number, output_failure};
use crate::cli::render::Teller;
use crate::cli::settings::Settings;
use crate::cli::summary::tell;
use crate::engine::cycle::{Job, sync};
use crate::engine::error::EngineError;
use crate::engine::restore::RestoreError;
use crate::engine::selection;
use crate::model::path::escape;
use crate::store::error::StoreError;

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Carries changes both ways.
///
/// # Errors
/// A root is missing, the roots are not apart, or the engine could not go on.
pub fn run(operands: &Pair, settings: &Settings) -> Result<Exit, Failure> {
    let options = &operands.options;
    let scope = selection::scope(&options.select, options.removal.delete_excluded, &[]).map_err(|error| {
        Failure::usage(Number::Filter, chain(&error)).fix("correct the rule; nothing was changed")
    })?;
    let mut teller = Teller::new(options.telling);
    let job = Job {
        first: &operands.one,
        second: &operands.two,
        state: &settings.state_dir,
        options,
        scope,
    };
    let report = sync(&job, &mut teller);
    let mut screen = teller.finish().map_err(|error| output_failure(&error))?;
    tell(
        "sync",
        &report.map_err(|error| failure(&error))?,
        options.telling,
        &mut screen,
    )
    .map_err(|error| output_failure(&error))
}

/// Returns what an error of the engine is to a user: exit code, number, cause and fix.
#[must_use]
pub fn failure(error: &EngineError) -> Failure {
    let message = chain(error);
    let (exit, number, fix) = match error {
        EngineError::NoRoot { .. } | EngineError::NotADirectory { .. } => {
            let fix = "name two directories that exist (mkdir -p makes one)";
            (Exit::Missing, Number::Missing, fix.to_owned())
        }
        EngineError::RootGone { database, .. } => {
            let fix = format!(
                "mount it; if it is gone for good, remove {} and make a new one",
                shown(database)
            );
            (Exit::RootMissing, Number::RootLost, fix)
        }
        EngineError::MarkerLost { empty, database, .. } => {
            let number = if *empty {
                Number::RootEmpty
            } else {
                Number::RootLost
            };
            let fix = format!(
                "mount the disk; if it was meant, remove {}: the next run is a union and deletes nothing",
                shown(database)
            );
            (Exit::RootMissing, number, fix)
        }
        EngineError::RootReplaced { database, .. } => {
            let fix = format!(
                "bring the old root back; if it was meant, remove {}: the next run is a union and deletes nothing",
                shown(database)
            );
            (Exit::RootMissing, Number::RootLost, fix)
        }
        EngineError::RootRestored { label, other, .. } => {
            let fix = format!(
                "to bring it up to date from the other side: csync sync --force {other} A B; to let it win: --force {label}"
            );
            (Exit::RootMissing, Number::RootLost, fix)
        }
        EngineError::Nested { .. } => {
            let fix = "name two directories of which neither holds the other";
            (Exit::Usage, Number::Nested, fix.to_owned())
        }
        EngineError::Locked { .. } | EngineError::Store(StoreError::Locked { .. }) => (
            Exit::Locked,
            Number::Locked,
            "wait until the other run has ended".to_owned(),
        ),
        EngineError::Store(StoreError::Newer { .. }) => (
            Exit::Usage,
            Number::Newer,
            "use that csync; nothing was changed".to_owned(),
        ),
        EngineError::BadMarker { path, .. } => {
            let fix = format!("look at {}/.csync/marker; nothing was changed", shown(path));
            (Exit::RootMissing, Number::RootLost, fix)
        }
        EngineError::Unknown { fix, .. } => (Exit::Usage, Number::Unknown, (*fix).to_owned()),
        EngineError::Private { path, .. } => {
            let fix = format!(
                "see who made {}/.csync, and remove it if it is not csync's",
                shown(path)
            );
            (Exit::LocalIo, Number::Disk, fix)
        }
        EngineError::Root { source, .. } => {
            let number = if source.is_no_space() {
                Number::Full
            } else {
                Number::Disk
            };
            (
                Exit::LocalIo,
                number,
                "mend the disk and run again; nothing is lost".to_owned(),
            )
        }
        EngineError::Store(_) | EngineError::State { .. } => (
            Exit::LocalIo,
            Number::State,
            "see to the state directory (--state-dir) and run again".to_owned(),
        ),
        EngineError::Random(_) => (Exit::LocalIo, Number::State, "run again".to_owned()),
    };
    Failure::new(exit, number, message).fix(fix)
}

/// Returns what an error of restoring is to a user.
#[must_use]
pub fn restore_failure(error: &RestoreError) -> Failure {
    match error {
        RestoreError::Engine(error) => failure(error),
        RestoreError::NoVersion { path, .. } | RestoreError::Ambiguous { path, .. } => {
            let fix = format!("csync versions {} lists what there is", shown(path));
            Failure::usage(Number::Unknown, chain(error)).fix(fix)
        }
        RestoreError::InTheWay { .. } => {
            Failure::usage(Number::Unknown, chain(error)).fix("restore it elsewhere by --to DIR")
        }
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
