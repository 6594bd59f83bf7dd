//! Conflicts: listing them, and settling one as a person says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::clock;
use crate::disk::kept::Kept;
use crate::disk::root::Root;
use crate::engine::cycle::carry;
use crate::engine::error::EngineError;
use crate::engine::far::guest;
use crate::engine::home::{home, look_into};
use crate::engine::note;
use crate::engine::pair;
use crate::engine::replica::Replica;
use crate::engine::report::{Report, Silent};
use crate::engine::restore::{Place, RestoreError};
use crate::engine::site::Opening;
use crate::engine::state::{database_path, databases};
use crate::model::entry::{Content, Digest};
use crate::model::path::RelPath;
use crate::model::row::{Live, Loser, Record, Row, Seen, State};
use crate::model::version::{Dot, VersionVector};
use crate::rules::conflict::Side;
use crate::store::conflicts::{Conflict, Conflicts};
use crate::store::db::Database;
use crate::store::error::StoreError;
use crate::store::meta::{self, Meta};
use crate::store::versions::Versions;

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

/// What a person decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// The content of this side stays.
    Take(Side),
    /// The later content stays.
    Newest,
    /// Both stay: the loser gets a name of its own beside the winner.
    Both,
}

/// Returns the open conflicts of all pairs, or of those that the root or path `of` belongs to; in path order.
///
/// # Errors
/// The state cannot be read.
pub fn open(state: &Path, of: Option<&Path>) -> Result<Vec<Open>, EngineError> {
    let home = of.map(home).transpose()?;
    let mut found: BTreeMap<(RelPath, Digest), Open> = BTreeMap::new();
    let ids = match &home {
        Some(home) => home.databases.clone(),
        None => databases(state)?,
    };
    for id in ids {
        let path = database_path(state, id);
        if !path.exists() {
            continue;
        }
        let db = look_into(&path)?;
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
    Ok(found.into_values().collect())
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
pub fn resolve(state: &Path, open: &Open, choice: Choice) -> Result<(), RestoreError> {
    let sides = sides(state, open, false)?;
    let settled = settle(&sides, &open.conflict, choice);
    if let (Ok(()), [one, two]) = (&settled, &sides[..]) {
        let mut report = Report::default();
        carry(one, two, &open.conflict.path, &mut Silent, &mut report)?;
    }
    sides.into_iter().try_for_each(Replica::close)?;
    settled
}

fn settle(sides: &[Replica], conflict: &Conflict, choice: Choice) -> Result<(), RestoreError> {
    let Some(one) = sides.first() else { return Ok(()) };
    let path = &conflict.path;
    let wanted = wanted(conflict, choice);
    if choice == Choice::Both
        && let Some(beside) = note::beside(path, &conflict.loser.entry)
    {
        let other = &conflict.loser.entry;
        let (source, at) = find(sides, path, other)?;
        place(one)?.put_content(&beside, &source, &at, &other.content, &other.attributes)?;
    }
    let record = one.record(path).map_err(EngineError::from)?;
    let seen = stand(sides, one, path, wanted, record.as_ref())?;
    let pending = one.remote().get(path).map_err(EngineError::from)?;
    let dot = Dot { replica: one.me, counter: one.seq() + 1 };
    let rows = record.iter().map(|record| &record.row).chain(&pending);
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
        one.remote().remove(path)?;
        for side in sides {
            Conflicts::of(&side.db).close(conflict.id)?;
        }
        one.save_seq()
    });
    Ok(written.map_err(EngineError::from)?)
}

/// The side of a conflict that shall stand at the path.
fn wanted(conflict: &Conflict, choice: Choice) -> &Loser {
    let (winner, loser) = (&conflict.winner, &conflict.loser);
    let loser_is_later = loser.entry.attributes.mtime > winner.entry.attributes.mtime;
    match choice {
        Choice::Take(side) if loser.peer == side.label() && winner.peer != side.label() => &loser.entry,
        Choice::Newest if loser_is_later => &loser.entry,
        Choice::Take(_) | Choice::Newest | Choice::Both => &winner.entry,
    }
}

/// Makes `wanted` stand at `path` of `one`, unless it does already. Returns what the disk says of it then.
fn stand(
    sides: &[Replica],
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
fn find(sides: &[Replica], path: &RelPath, wanted: &Loser) -> Result<(Arc<Root>, RelPath), RestoreError> {
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
        let fix = "csync sync brings it here; --conflict prefer:1, or prefer:2, lets a side win";
        return Err(EngineError::Unknown { what, fix }.into());
    }
    let root = sides.first().map_or(Path::new(""), |one| one.root.path());
    Err(RestoreError::NoVersion { path: root.join(path.to_string()), id: None })
}

/// Returns the bytes of both sides of a conflict, the first side's first; for `resolve --diff`.
///
/// # Errors
/// The pair cannot be opened, or a content is nowhere to be had.
pub fn contents(state: &Path, open: &Open, most: u64) -> Result<[Vec<u8>; 2], RestoreError> {
    use std::io::Read as _;
    let sides = sides(state, open, true)?;
    let conflict = &open.conflict;
    let read = |side: Side| {
        let entry =
            if conflict.winner.peer == side.label() { &conflict.winner.entry } else { &conflict.loser.entry };
        let mut bytes = Vec::new();
        if let Content::Symlink(target) = &entry.content {
            bytes.extend_from_slice(target);
        } else if entry.content.is_dir() {
            bytes.extend_from_slice(b"a directory\n");
        } else {
            let (root, at) = find(&sides, &conflict.path, entry)?;
            let (file, _) = root.open_file(&at)?;
            file.take(most).read_to_end(&mut bytes).map_err(|source| EngineError::State {
                doing: "read",
                path: root.path().join(at.to_string()),
                source,
            })?;
        }
        Ok::<_, RestoreError>(bytes)
    };
    Ok([read(Side::One)?, read(Side::Two)?])
}
