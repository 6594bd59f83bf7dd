//! Lets an ordinary user work in directories of which not even their owner may change a name.

use crate::disk::attributes::{Which, is_superuser};
use crate::disk::clock;
use crate::engine::prepare::Failure;
use crate::engine::replica::Replica;
use crate::engine::tools::Tools;
use crate::model::metadata::Stat;
use crate::model::path::RelPath;
use crate::model::row::{Record, Seen};
use crate::store::hints::{Hint, Hints};

/// What the owner needs in order to change names in a directory.
pub const NEEDED: u32 = 0o700;

/// Opens the directory at `path` to its owner where its mode does not; its own mode comes back when the run ends.
///
/// What holds after: the mode that stands is recorded as ours, so that it is no edit (S2), and a hint has this run or,
/// if it is stopped, the next one set the mode that the row has. A directory whose mode the user changed since it was
/// looked at is left alone.
///
/// # Errors
/// The disk or the database refuses.
pub fn open_up(tools: &Tools, me: &Replica, path: &RelPath) -> Result<(), Failure> {
    if is_superuser() || path.is_root() {
        return Ok(());
    }
    let (Some(stat), Some(record)) = (me.root.stat(path)?, me.record(path)?) else {
        return Ok(());
    };
    let mode = stat.attributes.mode;
    let is_as_seen =
        record.seen.is_some_and(|seen| seen.stat.ino == stat.ino && seen.stat.attributes.mode == mode);
    if !record.row.is_live_dir() || !is_as_seen || mode & NEEDED == NEEDED {
        return Ok(());
    }
    let at = clock::now();
    Hints::of(&me.db).add(&Hint { path: path.clone(), recursive: false, at })?;
    let mut attributes = stat.attributes;
    attributes.mode |= NEEDED;
    let which = Which { mode: true, owner: false, group: false, mtime: false };
    // Recorded first: a stop in between shows the old mode as an edit to itself, never the opened one as an edit.
    let opened = Stat { attributes, ..stat };
    let seen = Some(Seen { stat: opened, at });
    me.index().put(path, &Record { seen, ..record })?;
    tools.apply.set_attributes(path, &attributes, which, &stat)?;
    Ok(())
}
