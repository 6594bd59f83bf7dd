//! `conflicts` and `resolve`: of local pairs by their databases, of served folders by the daemon.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde_json::json;
use similar::TextDiff;

use crate::cli::cause::{failure, restore_failure, shown};
use crate::cli::failure::{Exit, Failure, Number, output_failure};
use crate::cli::listing::{ConflictRow, Listing, SideRow, conflicts_json, conflicts_table};
use crate::cli::question::Resolution;
use crate::cli::render::Screen;
use crate::cli::served::{self, ID_DIGITS, Item, Served, asked, bytes, strange};
use crate::cli::settings::Settings;
use crate::cli::summary::SCHEMA;
use crate::cli::transfer::exists;
use crate::daemon::question::{Named, Question};
use crate::engine::error::EngineError;
use crate::engine::home::home;
use crate::engine::resolve::{Open, contents, look, resolve as settle};
use crate::engine::settle::Choice;
use crate::model::entry::Content;
use crate::model::path::escape;
use crate::rules::conflict::Side;
use crate::store::conflicts;

/// Bytes of a side that `--diff` compares.
const DIFF_BYTES_MAX: u64 = 4 << 20;

/// An open conflict, and who settles it.
enum Found {
    /// The engine, here.
    Pair(Box<Open>, ConflictRow),
    /// The daemon.
    Served(Item<ConflictRow>),
}

impl Found {
    fn row(&self) -> &ConflictRow {
        match self {
            Self::Pair(_, row) => row,
            Self::Served(item) => &item.row,
        }
    }

    fn id(&self) -> String {
        match self {
            Self::Pair(open, _) => open.conflict.id.to_string(),
            Self::Served(item) => item.id.to_string(),
        }
    }
}

/// What the daemon says, if there is one.
type Daemon = Option<Served<Item<ConflictRow>>>;

/// Lists open conflicts, of all folders and pairs, or of one, or at and below a path.
///
/// # Errors
/// There is no such folder or root, or its state cannot be read.
pub fn list(of: Option<&OsStr>, listing: Listing, settings: &Settings) -> Result<Exit, Failure> {
    let daemon = served::conflicts(settings)?;
    let found = match of {
        None => all(&daemon, settings)?,
        Some(name) if is_folder(&daemon, name) => of_folder(&daemon, name),
        Some(path) => {
            exists(Path::new(path))?;
            at(&daemon, Path::new(path), settings)?
        }
    };
    let rows: Vec<ConflictRow> = found.iter().map(|found| found.row().clone()).collect();
    let mut screen = Screen::new(listing.raw_names);
    for served in daemon.iter() {
        for (name, why) in &served.untold {
            screen.message(&format!("{}: {}", escape(name.as_bytes()), escape(why.as_bytes())));
        }
        for folder in served.folders.iter().filter(|folder| folder.more) {
            screen.message(&format!("{}: there are more than these", escape(folder.name.as_bytes())));
        }
    }
    let text = if listing.json {
        format!("{}\n", conflicts_json(&rows)).into_bytes()
    } else {
        conflicts_table(&rows, |name| screen.name(name).into_owned())
    };
    screen.out(&text).map(|()| Exit::Done).map_err(|error| output_failure(&error))
}

fn is_folder(daemon: &Daemon, name: &OsStr) -> bool {
    daemon.as_ref().is_some_and(|served| served.names().iter().any(|known| name == known.as_str()))
}

fn of_folder(daemon: &Daemon, name: &OsStr) -> Vec<Found> {
    let items = daemon.iter().flat_map(|served| &served.folders).flat_map(|folder| &folder.items);
    items.filter(|item| name == item.folder.as_str()).cloned().map(Found::Served).collect()
}

fn all(daemon: &Daemon, settings: &Settings) -> Result<Vec<Found>, Failure> {
    let items = daemon.iter().flat_map(|served| &served.folders).flat_map(|folder| &folder.items);
    let mut found: Vec<Found> = items.cloned().map(Found::Served).collect();
    found.extend(of_pairs(daemon, None, settings)?);
    Ok(found)
}

/// What is open at and below `path`.
fn at(daemon: &Daemon, path: &Path, settings: &Settings) -> Result<Vec<Found>, Failure> {
    let place = home(path).map_err(|error| failure(&error))?;
    let mut found = Vec::new();
    for folder in daemon.iter().flat_map(|served| &served.folders) {
        if folder.root.canonicalize().is_ok_and(|root| root == place.root) {
            let below = |item: &&Item<ConflictRow>| {
                let at = &item.row.path;
                place.path.is_root() || *at == place.path || at.is_below(&place.path)
            };
            found.extend(folder.items.iter().filter(below).cloned().map(Found::Served));
        }
    }
    found.extend(of_pairs(daemon, Some(path), settings)?);
    Ok(found)
}

/// What is open in pairs. A database that somebody works with is no matter where that is the daemon, which was asked.
fn of_pairs(daemon: &Daemon, of: Option<&Path>, settings: &Settings) -> Result<Vec<Found>, Failure> {
    let (open, locked) = look(&settings.state_dir, of).map_err(|error| failure(&error))?;
    let is_known = |path: &Path| daemon.as_ref().is_some_and(|served| served.has_database(path));
    if let Some(path) = locked.into_iter().find(|path| !is_known(path)) {
        return Err(failure(&EngineError::Locked { path, pid: None }));
    }
    let pair = |open: Open| {
        let row = row(&open);
        Found::Pair(Box::new(open), row)
    };
    Ok(open.into_iter().map(pair).collect())
}

fn row(open: &Open) -> ConflictRow {
    let conflict = &open.conflict;
    let (winner, loser) = (side_row(&conflict.winner), side_row(&conflict.loser));
    let local_first = conflict.loser.peer != Side::One.label();
    let (local, other) = if local_first { (winner, loser) } else { (loser, winner) };
    ConflictRow {
        id: conflict.id.to_string()[..ID_DIGITS].to_owned(),
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

/// Settles conflicts.
///
/// # Errors
/// A target names none, the side to take is none, or the engine or the daemon could not go on.
pub fn resolve(
    targets: &[OsString],
    how: &Resolution,
    listing: Listing,
    settings: &Settings,
) -> Result<Exit, Failure> {
    let daemon = served::conflicts(settings)?;
    let choice = match how {
        Resolution::Local => Some(Choice::Local),
        Resolution::Take(peer) => Some(Choice::Take(side_named(&daemon, peer)?)),
        Resolution::Newest => Some(Choice::Newest),
        Resolution::Both => Some(Choice::Both),
        Resolution::Diff => None,
    };
    let mut screen = Screen::new(listing.raw_names);
    let mut resolved = Vec::new();
    for target in targets {
        for found in named(&daemon, target, settings)? {
            match &choice {
                None => diff(&found, settings, &mut screen)?,
                Some(choice) => {
                    settle_one(&found, choice, settings)?;
                    resolved.push(found);
                }
            }
        }
    }
    if choice.is_none() {
        return Ok(Exit::Done);
    }
    let text = if listing.json {
        let row = |row: &ConflictRow| json!({ "id": row.id, "path": escape(row.path.as_bytes()) });
        let rows: Vec<_> = resolved.iter().map(Found::row).map(row).collect();
        format!("{}\n", json!({ "schema": SCHEMA, "resolved": rows }))
    } else {
        let rows = resolved.iter().map(Found::row);
        rows.map(|row| format!("resolved {}  {}\n", row.id, row.path)).collect()
    };
    screen.out(text.as_bytes()).map(|()| Exit::Done).map_err(|error| output_failure(&error))
}

/// Returns the name after `--take`, if anything is called so.
fn side_named(daemon: &Daemon, name: &str) -> Result<String, Failure> {
    let is_side = [Side::One, Side::Two].iter().any(|side| side.label() == name);
    let is_node =
        daemon.iter().any(|served| served.node == name || served.peers.iter().any(|peer| peer == name));
    if is_side || is_node {
        return Ok(name.to_owned());
    }
    let message = format!("--take {}: there is no such peer", escape(name.as_bytes()));
    Err(Failure::usage(Number::Value, message)
        .fix("csync conflicts shows who wrote what; the peers of csync sync A B are called 1 and 2"))
}

fn settle_one(found: &Found, choice: &Choice, settings: &Settings) -> Result<(), Failure> {
    match found {
        Found::Pair(open, _) => {
            let local = Choice::Take(Side::One.label().to_owned());
            let choice = if *choice == Choice::Local { &local } else { choice };
            settle(&settings.state_dir, open, choice).map_err(|error| restore_failure(&error))
        }
        Found::Served(item) => {
            let named = Named { folder: item.folder.clone(), id: item.id };
            asked(settings, &Question::Resolve(named, choice.clone())).map(drop)
        }
    }
}

/// The conflicts that an id or a path names; at least one.
fn named(daemon: &Daemon, target: &OsStr, settings: &Settings) -> Result<Vec<Found>, Failure> {
    let text = target.to_str().unwrap_or_default();
    let is_id = !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let mut found = Vec::new();
    if is_id {
        let prefix = text.to_ascii_lowercase();
        found = all(daemon, settings)?;
        found.retain(|found| found.id().starts_with(&prefix));
        if found.len() > 1 {
            let message = format!("several conflicts have an id that begins with {text}");
            return Err(
                Failure::usage(Number::Unknown, message).fix("csync conflicts lists them; name more digits")
            );
        }
    }
    if found.is_empty() {
        found = in_folder(daemon, target);
    }
    if found.is_empty() {
        match at(daemon, Path::new(target), settings) {
            Ok(at) => found = at,
            Err(_no_root) if is_id => {}
            Err(failure) => return Err(failure),
        }
    }
    if found.is_empty() {
        let message = format!("{} names no open conflict", escape(target.as_bytes()));
        return Err(Failure::usage(Number::Unknown, message).fix("csync conflicts lists them"));
    }
    Ok(found)
}

/// What is open at `FOLDER/PATH`.
fn in_folder(daemon: &Daemon, target: &OsStr) -> Vec<Found> {
    let items = daemon.iter().flat_map(|served| &served.folders).flat_map(|folder| &folder.items);
    let is_meant = |item: &&Item<ConflictRow>| {
        let below = target.as_bytes().strip_prefix(item.folder.as_bytes());
        below.and_then(|below| below.strip_prefix(b"/")) == Some(item.row.path.as_bytes())
    };
    items.filter(is_meant).cloned().map(Found::Served).collect()
}

/// Shows how the sides of a conflict differ.
fn diff(found: &Found, settings: &Settings, screen: &mut Screen) -> Result<(), Failure> {
    let [(first, one), (second, two)] = match found {
        Found::Pair(open, _) => {
            let sides = contents(&settings.state_dir, open, DIFF_BYTES_MAX);
            let [one, two] = sides.map_err(|error| restore_failure(&error))?;
            [(Side::One.label().to_owned(), one), (Side::Two.label().to_owned(), two)]
        }
        Found::Served(item) => {
            let named = Named { folder: item.folder.clone(), id: item.id };
            let answer = asked(settings, &Question::Contents(named))?;
            let side = |at: usize| {
                let side = &answer["sides"][at];
                Some((side["peer"].as_str()?.to_owned(), bytes(&side["bytes"])?))
            };
            let (one, two) = side(0).zip(side(1)).ok_or_else(strange)?;
            if one.0 == item.row.local.peer { [one, two] } else { [two, one] }
        }
    };
    let name = escape(found.row().path.as_bytes());
    let text = if one.contains(&0) || two.contains(&0) {
        format!("binary contents of {name} differ\n").into_bytes()
    } else {
        let differences = TextDiff::from_lines(&one[..], &two[..]);
        let mut text = Vec::new();
        let header = [first, second].map(|peer| format!("{}/{name}", escape(peer.as_bytes())));
        // Writing to memory cannot fail.
        differences.unified_diff().header(&header[0], &header[1]).to_writer(&mut text).ok();
        text
    };
    screen.out(&text).map_err(|error| output_failure(&error))
}
