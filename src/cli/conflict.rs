//! `conflicts` and `resolve`.

use std::ffi::OsString;
use std::path::Path;

use crate::cli::args::{Listing, Resolution};
use crate::cli::failure::{Exit, Failure};
use crate::cli::settings::Settings;
use crate::cli::transfer::{exists, not_wired};

/// Lists open conflicts, of all roots or of one.
///
/// # Errors
/// The root is missing, or its state cannot be read.
pub fn list(root: Option<&Path>, _listing: Listing, _settings: &Settings) -> Result<Exit, Failure> {
    root.map_or(Ok(()), exists)?;
    Err(not_wired("conflicts"))
}

/// Settles conflicts.
///
/// # Errors
/// A target names none, or the engine could not go on.
pub fn resolve(
    _targets: &[OsString],
    _how: Resolution,
    _listing: Listing,
    _settings: &Settings,
) -> Result<Exit, Failure> {
    Err(not_wired("resolve"))
}
