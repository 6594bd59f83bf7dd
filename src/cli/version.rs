//! `versions`, `restore` and `cat`.

use std::path::Path;

use crate::cli::args::{Listing, Versioned};
use crate::cli::failure::{Exit, Failure};
use crate::cli::settings::Settings;
use crate::cli::transfer::not_wired;

/// Lists the old versions of a path.
///
/// # Errors
/// The path lies in no root that csync keeps, or its state cannot be read.
pub fn list(_path: &Path, _listing: Listing, _settings: &Settings) -> Result<Exit, Failure> {
    Err(not_wired("versions"))
}

/// Brings back an old version; what it displaces is kept.
///
/// # Errors
/// There is no such version, or the engine could not go on.
pub fn restore(
    _version: &Versioned,
    _to: Option<&Path>,
    _listing: Listing,
    _settings: &Settings,
) -> Result<Exit, Failure> {
    Err(not_wired("restore"))
}

/// Writes an old version to standard output.
///
/// # Errors
/// There is no such version, or it cannot be read.
pub fn cat(_version: &Versioned, _settings: &Settings) -> Result<Exit, Failure> {
    Err(not_wired("cat"))
}
