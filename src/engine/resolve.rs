//! Conflicts: listing them, and settling one as a person says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::engine::cycle::carry;
use crate::engine::error::EngineError;
use crate::engine::far::guest;
use crate::engine::home::{home, look_into};
use crate::engine::pair;
use crate::engine::replica::Replica;
use crate::engine::report::{Report, Silent};
use crate::engine::restore::RestoreError;
use crate::engine::settle::{Choice, content, settle};
use crate::engine::site::Opening;
use crate::engine::state::{database_path, databases};
use crate::model::entry::Digest;
use crate::model::path::RelPath;
use crate::rules::conflict::Side;
use crate::store::conflicts::{Conflict, Conflicts};
use crate::store::db::Database;
use crate::store::meta::{self, Meta};

/// An open conflict, and the pair it belongs to.
#[derive(Clone, Debug)]
pub struct Open {
    /// The conflict.
    pub conflict: Conflict,
    /// The first root of the pair.
    pub first: PathBuf,
    /// The second root of the pair.
    pub second: PathBuf,
    /// If one of them is the folder of a peer: what tells it apart, and which side ours is.
    pub guest: Option<(String, Side)>,
}

/// Returns the open conflicts of all pairs, or of those that the root or path `of` belongs to; in path order.
///
/// # Errors
/// The state cannot be read, or another process works with it.
pub fn open(state: &Path, of: Option<&Path>) -> Result<Vec<Open>, EngineError> {
    let (found, locked) = look(state, of)?;
    locked.into_iter().next().map_or(Ok(found), |path| Err(EngineError::Locked { path, pid: None }))
}

/// Returns the same as far as nobody works with it, and the databases that somebody works with.
///
/// # Errors
/// The state cannot be read.
pub fn look(state: &Path, of: Option<&Path>) -> Result<(Vec<Open>, Vec<PathBuf>), EngineError> {
    let home = of.map(home).transpose()?;
    let mut found: BTreeMap<(RelPath, Digest), Open> = BTreeMap::new();
    let mut locked = Vec::new();
    let ids = match &home {
        Some(home) => home.databases.clone(),
        None => databases(state)?,
    };
    for id in ids {
        let path = database_path(state, id);
        if !path.exists() {
            continue;
        }
        let db = match look_into(&path) {
            Err(EngineError::Locked { path, .. }) => {
                locked.push(path);
                continue;
            }
            looked => looked?,
        };
        let Some((first, second)) = roots(&db)? else {
            continue;
        };
        let guest = guest(&db)?;
        for conflict in Conflicts::of(&db).open()? {
            let wanted = home.as_ref().is_none_or(|home| {
                home.path.is_root() || conflict.path == home.path || conflict.path.is_below(&home.path)
            });
            if wanted {
                let (first, second, guest) = (first.clone(), second.clone(), guest.clone());
                let open = Open { first, second, guest, conflict };
                found.entry((open.conflict.path.clone(), open.conflict.id)).or_insert(open);
            }
        }
    }
    Ok((found.into_values().collect(), locked))
}

/// The roots of the pair that a database belongs to, in order.
fn roots(db: &Database) -> Result<Option<(PathBuf, PathBuf)>, EngineError> {
    let known = Meta::of(db);
    let side = known.get(meta::SIDE)?;
    let (Some(own), Some(other)) = (known.get(meta::ROOT_PATH)?, known.get(meta::PEER_ROOT_PATH)?) else {
        return Ok(None);
    };
    Ok(Some(if side.as_deref() == Some(Side::Two.label()) { (other, own) } else { (own, other) }))
}

/// What tells the folder of a peer apart with which a root is kept in step, and which side the root is; `None` in a pair.
fn guest(db: &Database) -> Result<Option<(String, Side)>, EngineError> {
    let known = Meta::of(db);
    let (Some(name), None) = (known.get(meta::FOLDER)?, known.get(meta::PEER_ROOT_ID)?) else {
        return Ok(None);
    };
    let is_second = known.get(meta::SIDE)?.as_deref() == Some(Side::Two.label());
    Ok(Some((name, if is_second { Side::Two } else { Side::One })))
}

/// Returns the roots of this machine that a conflict is about; the one that acts comes first.
fn sides(state: &Path, open: &Open, rehearsal: bool) -> Result<Vec<Replica>, EngineError> {
    let opening = Opening { state, rehearsal, force: None };
    let Some((name, side)) = &open.guest else {
        let (one, two) = pair::open(&open.first, &open.second, opening, &mut |_| ())?;
        return Ok(vec![one, two]);
    };
    let (own, shown) =
        if *side == Side::One { (&open.first, &open.second) } else { (&open.second, &open.first) };
    let place = guest::Place { root: own, name, shown: &shown.to_string_lossy(), side: *side };
    Ok(vec![place.open(opening, &mut |_| ())?])
}

/// Settles `open` on both roots as `choice` says. What loses stays as a version.
///
/// It is a revision whose vector covers all that it closes, so that two decisions about one conflict are an ordinary
/// conflict (S15). The folder of a peer hears of it in the next run.
///
/// # Errors
/// The pair cannot be opened, the content that shall stay is nowhere to be had, or the disk refuses.
pub fn resolve(state: &Path, open: &Open, choice: &Choice) -> Result<(), RestoreError> {
    let sides = sides(state, open, false)?;
    let all: Vec<&Replica> = sides.iter().collect();
    let settled = settle(&all, &open.conflict, Side::One.label(), choice);
    if let (Ok(()), [one, two]) = (&settled, &sides[..]) {
        let mut report = Report::default();
        carry(one, two, &open.conflict.path, &mut Silent, &mut report)?;
    }
    sides.into_iter().try_for_each(Replica::close)?;
    settled
}

/// Returns the bytes of both sides of a conflict, the first side's first; for `resolve --diff`.
///
/// # Errors
/// The pair cannot be opened, or a content is nowhere to be had.
pub fn contents(state: &Path, open: &Open, most: u64) -> Result<[Vec<u8>; 2], RestoreError> {
    let sides = sides(state, open, true)?;
    let sides: Vec<&Replica> = sides.iter().collect();
    let Conflict { path, winner, loser, .. } = &open.conflict;
    let read = |side: Side| {
        let entry = if winner.peer == side.label() { &winner.entry } else { &loser.entry };
        content(&sides, path, entry, most)
    };
    Ok([read(Side::One)?, read(Side::Two)?])
}
