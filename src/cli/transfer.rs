//! `push` and `pull`.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::cli::args::Transfer;
use crate::cli::failure::{Exit, Failure, Number, output_failure};
use crate::cli::operand::Operand;
use crate::cli::remote::Visit;
use crate::cli::render::Teller;
use crate::cli::settings::Settings;
use crate::cli::summary;
use crate::disk::error::DiskError;
use crate::disk::private::{LockError, PrivateError};
use crate::engine::mirror::error::MirrorError;
use crate::engine::mirror::run::mirror;
use crate::model::path::escape;
use crate::transport::message::Right;

/// Makes the destination what the sources are.
///
/// # Errors
/// An operand is missing, a peer cannot be reached or refuses, or the engine could not go on.
pub fn run(operands: &Transfer, settings: &Settings) -> Result<Exit, Failure> {
    let Transfer { verb, sources, dest, options } = operands;
    for source in sources {
        if let Operand::Local(path) = source {
            exists(path)?;
        }
    }
    // The least that a push needs: a peer that lets us append lets us overwrite and delete, and keeps versions.
    let right = if dest.remote().is_some() { Right::Append } else { Right::Read };
    let mut visit = Visit::new(right, options, settings);
    let sources = sources.iter().map(|source| visit.side(source)).collect::<Result<Vec<_>, _>>()?;
    let dest = visit.side(dest)?;
    let mut teller = Teller::new(options.telling);
    let ran = mirror(&sources, &dest, options, &mut teller);
    let mut screen = teller.finish().map_err(|error| output_failure(&error))?;
    let report = ran.map_err(|error| failure(&error, &visit))?;
    let told = match (*verb, options.dry_run) {
        ("pull", true) => "pull -n",
        (_, true) => "push -n",
        (verb, false) => verb,
    };
    summary::tell(told, &report, options.telling, &mut screen).map_err(|error| output_failure(&error))
}

/// Returns the failure of a one-way run that did not begin.
#[must_use]
pub fn failure(error: &MirrorError, visit: &Visit<'_>) -> Failure {
    let new = |exit, number, fix: &str| Failure::new(exit, number, error.to_string()).fix(fix);
    let missing = |fix| new(Exit::Missing, Number::Missing, fix);
    match error {
        MirrorError::NoSource { .. } => missing("check the name and the mount; nothing was changed"),
        MirrorError::Source { source, .. } if source.is_vanished() || source.is_other_kind() => {
            missing("check the name and the mount; nothing was changed")
        }
        MirrorError::Source { .. } => new(Exit::LocalIo, Number::Disk, "check the rights and the disk"),
        MirrorError::NoParent { .. } => missing("make that directory first"),
        MirrorError::NotADirectory { .. } => missing("name a directory"),
        MirrorError::Destination { .. } => new(Exit::LocalIo, Number::Disk, "check the rights and the disk"),
        MirrorError::Unsupported { .. } => {
            Failure::usage(Number::Unsupported, error.to_string()).fix("see csync push --help")
        }
        MirrorError::Far(error) => visit.failure(error),
        MirrorError::Same { .. } => {
            Failure::usage(Number::Nested, error.to_string()).fix("name two different directories")
        }
        MirrorError::Listed { .. } => {
            Failure::usage(Number::Value, error.to_string()).fix("list paths below the source")
        }
        MirrorError::Selection(_) => {
            Failure::usage(Number::Filter, error.to_string()).fix("correct the rule or the file name")
        }
        MirrorError::Chmod(_) | MirrorError::Owner(_) => {
            Failure::usage(Number::Value, error.to_string()).fix("see csync push --help")
        }
        MirrorError::Private(PrivateError::Planted { .. }) => {
            new(Exit::LocalIo, Number::Disk, "look who made it, and remove it; nothing was changed")
        }
        MirrorError::Lock(LockError::Held { .. }) => {
            new(Exit::Locked, Number::Locked, "wait for the other run")
        }
        MirrorError::Private(PrivateError::Disk(error))
        | MirrorError::Lock(LockError::Disk(error))
        | MirrorError::Disk(error) => disk(error),
    }
}

fn disk(error: &DiskError) -> Failure {
    let number = if error.is_no_space() { Number::Full } else { Number::Disk };
    Failure::new(Exit::LocalIo, number, error.to_string()).fix("check the rights and the disk")
}

/// Checks that something stands at a source, before anything is written.
///
/// # Errors
/// Nothing does (exit 3).
pub fn exists(path: &Path) -> Result<(), Failure> {
    let Err(error) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    let shown = escape(path.as_os_str().as_bytes());
    Err(Failure::new(Exit::Missing, Number::Missing, format!("there is no {shown}: {error}"))
        .fix("check the name and the mount; nothing was changed"))
}
