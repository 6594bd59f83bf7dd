//! `versions`, `restore` and `cat`.

use std::io::Read as _;
use std::path::Path;

use serde_json::json;

use crate::cli::args::Versioned;
use crate::cli::cause::{failure, restore_failure, shown};
use crate::cli::failure::{Exit, Failure, Number, output_failure};
use crate::cli::listing::Listing;
use crate::cli::listing::{VersionRow, versions_json, versions_table};
use crate::cli::render::Screen;
use crate::cli::settings::Settings;
use crate::cli::summary::SCHEMA;
use crate::engine::restore::{open_version, restore as bring_back, restore_to, version, versions};
use crate::model::path::escape;

/// Bytes copied at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// Lists the old versions of a path, and of what stood below it.
///
/// # Errors
/// The path lies in no root that csync keeps, or its state cannot be read.
pub fn list(path: &Path, listing: Listing, settings: &Settings) -> Result<Exit, Failure> {
    let listed = versions(&settings.state_dir, path).map_err(|error| failure(&error))?;
    let rows: Vec<VersionRow> = listed
        .versions
        .into_iter()
        .map(|found| found.version)
        .map(|version| VersionRow {
            id: version.id,
            path: version.path,
            replaced: version.replaced,
            written: version.attributes.mtime,
            size: version.size,
            by: version.by,
            why: version.why,
        })
        .collect();
    let mut screen = Screen::new(listing.raw_names);
    let text = if listing.json {
        format!("{}\n", versions_json(&rows)).into_bytes()
    } else {
        versions_table(&rows, |name| screen.name(name).into_owned())
    };
    screen.out(&text).map(|()| Exit::Done).map_err(|error| output_failure(&error))
}

/// Brings back an old version; what it displaces is kept.
///
/// # Errors
/// There is no such version, or the engine could not go on.
pub fn restore(
    wanted: &Versioned,
    to: Option<&Path>,
    listing: Listing,
    settings: &Settings,
) -> Result<Exit, Failure> {
    let found = version(&settings.state_dir, &wanted.path, wanted.id.as_deref());
    let (home, found) = found.map_err(|error| restore_failure(&error))?;
    let put = match to {
        Some(to) => restore_to(&found, to),
        None => bring_back(&settings.state_dir, &home, &found),
    };
    let place = put.map_err(|error| restore_failure(&error))?;
    let mut screen = Screen::new(listing.raw_names);
    let text = if listing.json {
        let path = escape(found.version.path.as_bytes());
        format!("{}\n", json!({ "schema": SCHEMA, "restored": [{ "path": path, "id": found.version.id }] }))
    } else {
        format!("*restored   {}\n", shown(&place))
    };
    screen.out(text.as_bytes()).map(|()| Exit::Done).map_err(|error| output_failure(&error))
}

/// Writes an old version to standard output.
///
/// # Errors
/// There is no such version, or it cannot be read.
pub fn cat(wanted: &Versioned, settings: &Settings) -> Result<Exit, Failure> {
    let found = version(&settings.state_dir, &wanted.path, wanted.id.as_deref());
    let (_, found) = found.map_err(|error| restore_failure(&error))?;
    let file = open_version(&found).map_err(|error| restore_failure(&error))?;
    let Some(mut file) = file else {
        let message =
            format!("{}@{} is a {}", shown(&wanted.path), found.version.id, found.version.kind.word());
        return Err(Failure::usage(Number::Unknown, message).fix("csync restore brings it back"));
    };
    let mut screen = Screen::new(true);
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let read = file.read(&mut buffer).map_err(|error| {
            let message = format!("cannot read {}@{}: {error}", shown(&wanted.path), found.version.id);
            Failure::new(Exit::LocalIo, Number::Disk, message).fix("see to the disk")
        })?;
        if read == 0 {
            return Ok(Exit::Done);
        }
        screen.out(&buffer[..read]).map_err(|error| output_failure(&error))?;
    }
}
