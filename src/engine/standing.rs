//! How a root stands to what is known of it: the same, new, moved, cloned, or one of the contradictions that halt a
//! run; and how old the database is beside the marker (S10).

use std::path::Path;

use crate::disk::clock;
use crate::disk::private::{Private, names_in};
use crate::disk::root::Root;
use crate::engine::bond::Bond;
use crate::engine::error::EngineError;
use crate::engine::marker::{Id, Marker};
use crate::engine::site::{Opening, Site};
use crate::engine::state::{database_path, move_database, open_database};
use crate::model::path::{PRIVATE_DIR, RelPath};
use crate::store::db::{Database, Mode};
use crate::store::meta::{self, Meta};

/// How a root stands to its database.
#[derive(Debug)]
pub struct Standing {
    /// The database, open; new or known.
    pub db: Database,
    /// Its name.
    pub database: Id,
    /// The root's id; `None` where one must be minted.
    pub root_id: Option<Id>,
    /// Nothing is known yet: the first exchange is a union.
    pub is_new: bool,
    /// The database is older than the root: it was rolled back.
    pub rolled_back: bool,
    /// The next generation of both.
    pub generation: u64,
}

/// Returns how `site` stands to its database about `bond`.
///
/// # Errors
/// The root lost its marker, is another one, or is older than its database; the database cannot be used.
pub fn standing(
    site: &Site,
    bond: Bond<'_>,
    opening: Opening<'_>,
    warn: &mut dyn FnMut(String),
) -> Result<Standing, EngineError> {
    let database = bond.database(site.root.path());
    let path = database_path(opening.state, database);
    let past = if path.exists() { Past::Unknown } else { past(site, bond, &path, opening)? };
    let mode = if opening.rehearsal { Mode::Rehearsal } else { Mode::Durable };
    let db = open_database(&path, mode, clock::now(), warn)?;
    let known = Meta::of(&db).get(meta::ROOT_ID)?;
    let root_id = site.marker.as_ref().map(|marker| marker.id).filter(|_| past != Past::Copied);
    let standing = Standing { db, database, root_id, is_new: true, rolled_back: false, generation: 1 };
    match known {
        None => Ok(standing),
        Some(known) => {
            let name = if let Past::Moved(old) = past { old } else { database };
            let known = Standing { root_id: Some(known), is_new: false, ..standing };
            compare_ages(site, known, name, bond, opening, warn)
        }
    }
}

/// Compares the generation in the marker, where the database goes by `name`, with the database's own.
fn compare_ages(
    site: &Site,
    standing: Standing,
    name: Id,
    bond: Bond<'_>,
    opening: Opening<'_>,
    warn: &mut dyn FnMut(String),
) -> Result<Standing, EngineError> {
    let meta = Meta::of(&standing.db);
    let pending = meta.get(meta::MARKER_PENDING)?.unwrap_or(false);
    let ours = meta.get(meta::GENERATION)?.unwrap_or(0);
    let database = database_path(opening.state, standing.database);
    let Some(marker) = &site.marker else {
        // The very first start was stopped before it wrote the marker.
        if pending && ours == 1 {
            return Ok(Standing { generation: 2, ..standing });
        }
        let (entries, empty) = (standing.db.tally().entries, is_empty(&site.root));
        return Err(EngineError::MarkerLost { path: site.path(), empty, entries, database });
    };
    if Some(marker.id) != standing.root_id {
        return Err(EngineError::RootReplaced { path: site.path(), database });
    }
    let theirs = marker.generations.get(&name).copied().unwrap_or(0);
    let is_restored = theirs < ours && !(pending && theirs + 1 == ours);
    if is_restored && opening.force.is_none() {
        let side = bond.is_sided().then(|| bond.side());
        return Err(EngineError::RootRestored { path: site.path(), side, database });
    }
    let rolled_back = theirs > ours;
    if rolled_back {
        let root = site.root.path().display();
        warn(format!(
            "what is recorded of {root} is older than the root itself; this run deletes nothing there"
        ));
    }
    Ok(Standing { rolled_back, generation: ours.max(theirs) + 1, ..standing })
}

/// What is known of a root that has a marker but no database under its present path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Past {
    /// Nothing.
    Unknown,
    /// The root that the marker speaks of stands elsewhere: this one is a copy of it.
    Copied,
    /// It was moved here; its database had this name.
    Moved(Id),
}

/// Looks for a database that knows `site` under another path; that of a root that moved is renamed to `path`.
fn past(site: &Site, bond: Bond<'_>, path: &Path, opening: Opening<'_>) -> Result<Past, EngineError> {
    let Some(marker) = &site.marker else {
        return Ok(Past::Unknown);
    };
    for candidate in marker.generations.keys() {
        let old = database_path(opening.state, *candidate);
        if !old.exists() {
            continue;
        }
        // A database that cannot be read says nothing here; it is dealt with when its own pair is opened.
        let Ok(db) = Database::open(&old, Mode::Rehearsal) else {
            continue;
        };
        let known = Meta::of(&db);
        let (Some(id), Some(was)) = (known.get(meta::ROOT_ID)?, known.get(meta::ROOT_PATH)?) else {
            continue;
        };
        if id != marker.id || was == site.root.path() {
            continue;
        }
        if stands_at(&was, &site.root, marker) {
            return Ok(Past::Copied);
        }
        let is_same = bond.is_of(known)?;
        drop(db);
        if !opening.rehearsal && is_same {
            // Opened and closed once, so that nothing of it is left outside the file itself.
            Database::open(&old, Mode::Durable).map(drop)?;
            move_database(&old, path)?;
            return Ok(Past::Moved(*candidate));
        }
    }
    Ok(Past::Unknown)
}

/// Whether a root with this marker, other than `here`, stands at `path`.
fn stands_at(path: &Path, here: &Root, marker: &Marker) -> bool {
    let Ok(root) = Root::open(path) else { return false };
    if (root.dev(), root.ino()) == (here.dev(), here.ino()) {
        return false;
    }
    let text =
        Private::open_existing(&root).ok().flatten().and_then(|private| private.read_marker().ok().flatten());
    text.and_then(|text| Marker::parse(&text).ok()).is_some_and(|found| found.id == marker.id)
}

/// Whether nothing of the user's is in `root`. What cannot be listed does not count as empty.
pub(crate) fn is_empty(root: &Root) -> bool {
    let names = root.open_dir(&RelPath::root()).ok().and_then(|dir| names_in(&dir).ok());
    names.is_some_and(|names| names.iter().all(|name| &name[..] == PRIVATE_DIR))
}
