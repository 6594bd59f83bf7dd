//! `conflicts` and `resolve`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde_json::json;
use similar::TextDiff;

use crate::cli::args::Resolution;
use crate::cli::cause::{failure, restore_failure, shown};
use crate::cli::failure::{Exit, Failure, Number, output_failure};
use crate::cli::listing::{ConflictRow, Listing, SideRow, conflicts_json, conflicts_table};
use crate::cli::render::Screen;
use crate::cli::settings::Settings;
use crate::cli::summary::SCHEMA;
use crate::cli::transfer::exists;
use crate::engine::resolve::{Choice, Open, contents, open, resolve as settle};
use crate::model::entry::Content;
use crate::model::path::escape;
use crate::rules::conflict::Side;
use crate::store::conflicts;

/// Hexadecimal digits of a conflict's id that are shown.
const ID_DIGITS: usize = 8;
/// Bytes of a side that `--diff` compares.
const DIFF_BYTES_MAX: u64 = 4 << 20;

/// Lists open conflicts, of all roots or of one.
///
/// # Errors
/// The root is missing, or its state cannot be read.
pub fn list(root: Option<&Path>, listing: Listing, settings: &Settings) -> Result<Exit, Failure> {
    root.map_or(Ok(()), exists)?;
    let found = open(&settings.state_dir, root).map_err(|error| failure(&error))?;
    let rows: Vec<ConflictRow> = found.iter().map(row).collect();
    let mut screen = Screen::new(listing.raw_names);
    let text = if listing.json {
        format!("{}\n", conflicts_json(&rows)).into_bytes()
    } else {
        conflicts_table(&rows, |name| screen.name(name).into_owned())
    };
    screen.out(&text).map(|()| Exit::Done).map_err(|error| output_failure(&error))
}

fn row(open: &Open) -> ConflictRow {
    let conflict = &open.conflict;
    let (winner, loser) = (side_row(&conflict.winner), side_row(&conflict.loser));
    let local_first = conflict.loser.peer != Side::One.label();
    let (local, other) = if local_first { (winner, loser) } else { (loser, winner) };
    ConflictRow {
        id: id(open),
        folder: shown(&open.first),
        path: conflict.path.clone(),
        local,
        other,
        since: conflict.since,
    }
}

fn side_row(side: &conflicts::Side) -> SideRow {
    let entry = &side.entry;
    SideRow {
        peer: side.peer.clone(),
        size: entry.content.size(),
        mtime: entry.attributes.mtime,
        digest: matches!(entry.content, Content::File { .. }).then(|| entry.content.digest()),
        mode: entry.attributes.mode,
        deleted: false,
    }
}

fn id(open: &Open) -> String {
    open.conflict.id.to_string()[..ID_DIGITS].to_owned()
}

/// Settles conflicts.
///
/// # Errors
/// A target names none, or the engine could not go on.
pub fn resolve(
    targets: &[OsString],
    how: Resolution,
    listing: Listing,
    settings: &Settings,
) -> Result<Exit, Failure> {
    let state = &settings.state_dir;
    let mut screen = Screen::new(listing.raw_names);
    let mut resolved = Vec::new();
    for target in targets {
        for found in named(target, settings)? {
            let choice = match how {
                Resolution::Take(side) => Choice::Take(side),
                Resolution::Newest => Choice::Newest,
                Resolution::Both => Choice::Both,
                Resolution::Diff => {
                    diff(&found, settings, &mut screen)?;
                    continue;
                }
            };
            settle(state, &found, choice).map_err(|error| restore_failure(&error))?;
            resolved.push(found);
        }
    }
    if how == Resolution::Diff {
        return Ok(Exit::Done);
    }
    let text = if listing.json {
        let rows: Vec<_> = resolved
            .iter()
            .map(|open| json!({ "id": id(open), "path": escape(open.conflict.path.as_bytes()) }))
            .collect();
        format!("{}\n", json!({ "schema": SCHEMA, "resolved": rows }))
    } else {
        resolved.iter().map(|open| format!("resolved {}  {}\n", id(open), open.conflict.path)).collect()
    };
    screen.out(text.as_bytes()).map(|()| Exit::Done).map_err(|error| output_failure(&error))
}

/// The conflicts that an id or a path names; at least one.
fn named(target: &OsString, settings: &Settings) -> Result<Vec<Open>, Failure> {
    let state = &settings.state_dir;
    let text = target.to_str().unwrap_or_default();
    let is_id = !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let mut found = Vec::new();
    if is_id {
        let all = open(state, None).map_err(|error| failure(&error))?;
        let prefix = text.to_ascii_lowercase();
        found.extend(all.into_iter().filter(|open| open.conflict.id.to_string().starts_with(&prefix)));
        if found.len() > 1 {
            let message = format!("several conflicts have an id that begins with {text}");
            return Err(
                Failure::usage(Number::Unknown, message).fix("csync conflicts lists them; name more digits")
            );
        }
    }
    if found.is_empty() {
        match open(state, Some(Path::new(target))) {
            Ok(at) => found = at,
            Err(_no_root) if is_id => {}
            Err(error) => return Err(failure(&error)),
        }
    }
    if found.is_empty() {
        let message = format!("{} names no open conflict", escape(target.as_bytes()));
        return Err(Failure::usage(Number::Unknown, message).fix("csync conflicts lists them"));
    }
    Ok(found)
}

/// Shows how the sides of a conflict differ.
fn diff(found: &Open, settings: &Settings, screen: &mut Screen) -> Result<(), Failure> {
    let [one, two] =
        contents(&settings.state_dir, found, DIFF_BYTES_MAX).map_err(|error| restore_failure(&error))?;
    let name = escape(found.conflict.path.as_bytes());
    let text = if one.contains(&0) || two.contains(&0) {
        format!("binary contents of {name} differ\n").into_bytes()
    } else {
        let differences = TextDiff::from_lines(&one[..], &two[..]);
        let mut text = Vec::new();
        let header = (format!("1/{name}"), format!("2/{name}"));
        // Writing to memory cannot fail.
        differences.unified_diff().header(&header.0, &header.1).to_writer(&mut text).ok();
        text
    };
    screen.out(&text).map_err(|error| output_failure(&error))
}
