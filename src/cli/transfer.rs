//! `push` and `pull`.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::cli::args::Transfer;
use crate::cli::failure::{Exit, Failure, Number};
use crate::cli::settings::Settings;
use crate::model::path::escape;

/// Makes the destination what the sources are.
///
/// # Errors
/// A source is missing, or the engine could not go on.
pub fn run(operands: &Transfer, _settings: &Settings) -> Result<Exit, Failure> {
    for source in &operands.sources {
        exists(source)?;
    }
    Err(not_wired(operands.verb))
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
    Err(Failure::new(
        Exit::Missing,
        Number::Missing,
        format!("there is no {shown}: {error}"),
    )
    .fix("check the name and the mount; nothing was changed"))
}

/// Returns the failure of a verb whose engine is not there.
#[must_use]
pub fn not_wired(verb: &str) -> Failure {
    Failure::usage(Number::Later, format!("csync {verb} is not wired yet")).fix("use a later version")
}
