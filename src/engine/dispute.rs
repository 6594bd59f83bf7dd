//! The open conflicts of a served folder: listed as they stand now, shown, and settled.

use crate::disk::clock;
use crate::engine::error::EngineError;
use crate::engine::host::Host;
use crate::engine::note;
use crate::engine::replica::{Replica, run_name};
use crate::engine::restore::RestoreError;
use crate::engine::settle::{Choice, content, settle};
use crate::model::entry::Digest;
use crate::model::row::Record;
use crate::store::conflicts::{Conflict, Conflicts};

/// Returns the open conflicts of a folder in path order, at most `most` of them, and whether there are more.
///
/// Each is told as its row stands now, under the id that is made of it: members that learnt of it at different times,
/// or saw what stands there edited since, name it the same (S15).
///
/// # Errors
/// The database refuses.
pub fn open(host: &Host, most: usize) -> Result<(Vec<Conflict>, bool), EngineError> {
    let held = host.replica();
    let mut found = Conflicts::of(&held.db).open()?;
    let more = found.len() > most;
    found.truncate(most);
    let present = found.into_iter().map(|conflict| present(&held, conflict));
    Ok((present.collect::<Result<_, _>>()?, more))
}

/// Returns `conflict` as the row of its path stands now.
fn present(me: &Replica, conflict: Conflict) -> Result<Conflict, EngineError> {
    let mut conflict = conflict;
    let record = me.record(&conflict.path)?;
    let row = record.as_ref().map(|record| &record.row);
    let is_listed = row.is_some_and(|row| row.losers.iter().any(|one| one.dot == conflict.loser.entry.dot));
    // One that is not decided has no loser yet, and its id was made of both sides.
    if let Some(live) = row.and_then(|row| row.live()).filter(|_| is_listed) {
        conflict.winner.entry = note::as_entry(live);
        conflict.id = note::id(&conflict.path, &conflict.winner.entry, &conflict.loser.entry);
    }
    for side in [&mut conflict.winner, &mut conflict.loser] {
        side.peer = note::label(me, &side.peer, side.entry.dot)?;
    }
    Ok(conflict)
}

/// Returns the open conflict of this id.
fn named(me: &Replica, id: Digest) -> Result<Conflict, EngineError> {
    for conflict in Conflicts::of(&me.db).open()? {
        let conflict = present(me, conflict)?;
        if conflict.id == id {
            return Ok(conflict);
        }
    }
    let what = format!("there is no open conflict {id}");
    Err(EngineError::Unknown { what, fix: "csync conflicts lists them; it may just have been settled" })
}

/// Settles the conflict `id` as `choice` says. What loses stays as a version, and the other members hear of it.
///
/// # Errors
/// There is no such conflict, its path changed just now, or a content is not to be had here.
pub fn resolve(host: &Host, id: Digest, choice: &Choice) -> Result<(), RestoreError> {
    let mut held = host.replica();
    host.check(&held)?;
    held.batch = run_name(clock::now());
    let conflict = named(&held, id)?;
    let record = held.record(&conflict.path).map_err(EngineError::from)?;
    if !is_as_recorded(host, &conflict, record.as_ref())? {
        let what = format!("{} has just changed, and that is not recorded yet", conflict.path);
        return Err(EngineError::Unknown { what, fix: "look at it, and decide again" }.into());
    }
    settle(&[&held], &conflict, &host.settings.node, choice)
}

/// Whether what stands at the path is what a person was shown.
fn is_as_recorded(host: &Host, conflict: &Conflict, record: Option<&Record>) -> Result<bool, RestoreError> {
    let stat = host.root.stat(&conflict.path)?;
    let seen = record.and_then(|record| record.seen);
    Ok(match (stat, seen) {
        (Some(stat), Some(seen)) => stat.same_bytes(&seen.stat),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    })
}

/// Returns the first `most` bytes of what stands at the path of the conflict `id`, and of what was kept beside it, each
/// with the name of its writer.
///
/// # Errors
/// There is no such conflict, or a content is not to be had here.
pub fn contents(host: &Host, id: Digest, most: u64) -> Result<[(String, Vec<u8>); 2], RestoreError> {
    let held = host.replica();
    let Conflict { path, winner, loser, .. } = named(&held, id)?;
    let of = |side: &crate::store::conflicts::Side| {
        content(&[&held], &path, &side.entry, most).map(|bytes| (side.peer.clone(), bytes))
    };
    Ok([of(&winner)?, of(&loser)?])
}
