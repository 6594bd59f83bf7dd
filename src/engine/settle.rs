//! Settles one conflict as a person says, on the replicas that are at hand: one of a served folder, both of a pair.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use crate::disk::clock;
use crate::disk::kept::Kept;
use crate::disk::root::Root;
use crate::engine::error::EngineError;
use crate::engine::note;
use crate::engine::replica::Replica;
use crate::engine::restore::{Place, RestoreError};
use crate::model::entry::Content;
use crate::model::path::RelPath;
use crate::model::row::{Live, Loser, Record, Row, Seen, State};
use crate::model::version::{Dot, VersionVector};
use crate::store::conflicts::{Conflict, Conflicts};
use crate::store::error::StoreError;
use crate::store::remote::Remote;
use crate::store::versions::Versions;

/// What a person decides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Choice {
    /// Our own content stays; where we wrote neither, what stands here.
    Local,
    /// The content of this writer stays.
    Take(String),
    /// The later content stays.
    Newest,
    /// Both stay: the loser gets a name of its own beside the winner.
    Both,
}

/// Settles `conflict` on the first of `sides`, which is called `me`, as `choice` says. What loses stays as a version.
///
/// It is a revision whose vector covers both contents and nothing that is not known here, so that two decisions about
/// one conflict are an ordinary conflict (S15), and a change that still waits here is none the less taken.
///
/// # Errors
/// Neither content is of the writer that was chosen, or it is nowhere to be had, or the disk or a database refuses.
pub(crate) fn settle(
    sides: &[&Replica],
    conflict: &Conflict,
    me: &str,
    choice: &Choice,
) -> Result<(), RestoreError> {
    let Some(one) = sides.first() else { return Ok(()) };
    let path = &conflict.path;
    let wanted = wanted(conflict, me, choice)?;
    if *choice == Choice::Both
        && let Some(beside) = note::beside(path, &conflict.loser.entry)
    {
        let other = &conflict.loser.entry;
        let (source, at) = find(sides, path, other)?;
        place(one)?.put_content(&beside, &source, &at, &other.content, &other.attributes)?;
    }
    let record = one.record(path).map_err(EngineError::from)?;
    let seen = stand(sides, one, path, wanted, record.as_ref())?;
    let is_side = |row: &Row| {
        let dot = row.live().map(|live| live.content.dot);
        dot.is_some_and(|dot| [conflict.winner.entry.dot, conflict.loser.entry.dot].contains(&dot))
    };
    // A person who decides between two contents has seen both, also the one that still waits here.
    let waiting = Remote::of_all(&one.db, path).map_err(EngineError::from)?;
    let dot = Dot { replica: one.me, counter: one.seq() + 1 };
    let rows = record.iter().map(|record| &record.row).chain(waiting.iter().filter(|row| is_side(row)));
    let mut vector = rows.fold(VersionVector::new(), |vector, row| vector.merged(&row.vector));
    vector.raise(dot);
    let losers = record.map(|record| record.row.losers).unwrap_or_default();
    let losers = losers.into_iter().filter(|loser| loser.dot != conflict.loser.entry.dot).collect();
    let live = Live::new(wanted.content.clone(), wanted.attributes, dot, clock::now());
    let row = Row { vector, state: State::Live(live), losers };
    let new = Record { row, seq: dot.counter, seen, residue: false };
    let written: Result<(), StoreError> = one.db.batch(|| {
        one.advance(1);
        one.index().put(path, &new)?;
        if one.remote().get(path)?.is_some_and(|row| is_side(&row)) {
            one.remote().remove(path)?;
        }
        for side in sides {
            let conflicts = Conflicts::of(&side.db);
            for known in conflicts.at(path)? {
                if known.loser.entry.dot == conflict.loser.entry.dot || known.id == conflict.id {
                    conflicts.close(known.id)?;
                }
            }
        }
        one.save_seq()
    });
    Ok(written.map_err(EngineError::from)?)
}

/// The side of a conflict that shall stand at the path.
fn wanted<'a>(conflict: &'a Conflict, me: &str, choice: &Choice) -> Result<&'a Loser, EngineError> {
    let (winner, loser) = (&conflict.winner, &conflict.loser);
    let is_loser = |name: &str| loser.peer == name && winner.peer != name;
    Ok(match choice {
        Choice::Local if is_loser(me) => &loser.entry,
        Choice::Take(name) if is_loser(name) => &loser.entry,
        Choice::Take(name) if winner.peer != *name => {
            let (one, two) = (&winner.peer, &loser.peer);
            let what = format!("the conflict of {} is between {one} and {two}, not {name}", conflict.path);
            return Err(EngineError::Unknown {
                what,
                fix: "name one of these two; csync conflicts lists them",
            });
        }
        Choice::Newest if loser.entry.attributes.mtime > winner.entry.attributes.mtime => &loser.entry,
        Choice::Local | Choice::Take(_) | Choice::Newest | Choice::Both => &winner.entry,
    })
}

/// Makes `wanted` stand at `path` of `one`, unless it does already. Returns what the disk says of it then.
fn stand(
    sides: &[&Replica],
    one: &Replica,
    path: &RelPath,
    wanted: &Loser,
    record: Option<&Record>,
) -> Result<Option<Seen>, RestoreError> {
    let live = record.and_then(|record| record.row.live());
    if live.is_some_and(|live| live.content.value == wanted.content) {
        return Ok(record.and_then(|record| record.seen));
    }
    let (source, at) = find(sides, path, wanted)?;
    let (stat, kept) = place(one)?.put_content(path, &source, &at, &wanted.content, &wanted.attributes)?;
    if let (Some(kept), Some(live)) = (kept, live) {
        let digest = matches!(live.content.value, Content::File { .. }).then(|| live.content.value.digest());
        note::catalogue(&one.db, "you", path, &kept, digest, "resolved")?;
    }
    Ok(Some(Seen { stat, at: clock::now() }))
}

fn place(one: &Replica) -> Result<Place, RestoreError> {
    let private = one.private.as_ref().ok_or_else(|| EngineError::Unknown {
        what: format!("{} has no private directory", one.root.path().display()),
        fix: "run csync sync once",
    })?;
    Ok(Place::new(&one.root, private, one.batch.clone()))
}

/// Where a content is to be had: live on one of the sides, or in one of the version stores. What has no bytes is made
/// of what is known of it.
fn find(sides: &[&Replica], path: &RelPath, wanted: &Loser) -> Result<(Arc<Root>, RelPath), RestoreError> {
    if let (Some(one), false) = (sides.first(), matches!(wanted.content, Content::File { .. })) {
        return Ok((Arc::clone(&one.root), path.clone()));
    }
    for side in sides {
        let record = side.record(path).map_err(EngineError::from)?;
        if record.is_some_and(|r| r.row.live().is_some_and(|live| live.content.value == wanted.content)) {
            return Ok((Arc::clone(&side.root), path.clone()));
        }
    }
    for side in sides {
        let Some(private) = &side.private else { continue };
        let kept = Kept::new(Arc::clone(private));
        let catalogue = Versions::of(&side.db);
        let versions = catalogue.with_digest(wanted.content.digest());
        for version in versions.map_err(EngineError::from)? {
            if version.kind == wanted.content.kind()
                && let Some(root) = kept.batch(version.batch.as_bytes())?
                && root.stat(&version.place)?.is_some()
            {
                return Ok((Arc::new(root), version.place));
            }
        }
    }
    if let [_] = sides {
        let what = format!("one of the contents of {path} is with the peer, and not here");
        let fix = "decide on the node that wrote it, or bring it here: csync sync does";
        return Err(EngineError::Unknown { what, fix }.into());
    }
    let root = sides.first().map_or(Path::new(""), |one| one.root.path());
    Err(RestoreError::NoVersion { path: root.join(path.to_string()), id: None })
}

/// Returns the first `most` bytes of `entry`, one side of a conflict at `path`, for people.
///
/// # Errors
/// It is nowhere to be had, or cannot be read.
pub(crate) fn content(
    sides: &[&Replica],
    path: &RelPath,
    entry: &Loser,
    most: u64,
) -> Result<Vec<u8>, RestoreError> {
    let mut bytes = Vec::new();
    if let Content::Symlink(target) = &entry.content {
        bytes.extend_from_slice(target);
    } else if entry.content.is_dir() {
        bytes.extend_from_slice(b"a directory\n");
    } else {
        let (root, at) = find(sides, path, entry)?;
        let (file, _) = root.open_file(&at)?;
        file.take(most).read_to_end(&mut bytes).map_err(|source| EngineError::State {
            doing: "read",
            path: root.path().join(at.to_string()),
            source,
        })?;
    }
    Ok(bytes)
}
