//! What this node remembers of the folder of a peer: its rows under the peer's own numbers, so that a run asks only for
//! what is new, and may say "if you still hold that" (S4).
//!
//! It may be thrown away at any time: then the next run asks for everything.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;

use crate::disk::clock;
use crate::engine::error::EngineError;
use crate::engine::state::{open_database, remove_database};
use crate::model::entry::{Content, Digest};
use crate::model::key::PublicKey;
use crate::model::path::RelPath;
use crate::model::row::{Record, Row};
use crate::model::version::ReplicaId;
use crate::store::contents::Contents;
use crate::store::db::{Database, Mode};
use crate::store::error::StoreError;
use crate::store::index::Index;
use crate::store::meta::{self, Meta};
use crate::store::peer::{Peer, Peers};
use crate::transport::message::Names;

/// Smaller files are sent again rather than looked for.
const REUSED_BYTES_MIN: u64 = 4096;
/// Children read at a time.
const CHILDREN_MAX: usize = usize::MAX >> 1;

/// The memory of one folder of one peer, or of what lies below one path of it.
#[derive(Debug)]
pub(crate) struct Cache {
    db: Database,
    replica: ReplicaId,
}

/// How far a listing has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Progress {
    /// The rows numbered above this were asked for.
    pub(crate) since: u64,
    /// The peer's sequence before it began: what changed after that may be missing in what was listed.
    pub(crate) start: u64,
    /// The last path that was listed, in the folder of the peer.
    pub(crate) last: RelPath,
}

impl Progress {
    fn text(&self) -> String {
        format!("{} {} {}", self.since, self.start, HEXLOWER.encode(self.last.as_bytes()))
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut fields = text.split(' ');
        let (since, start, last) = (fields.next()?, fields.next()?, fields.next()?);
        let last = RelPath::new(&HEXLOWER.decode(last.as_bytes()).ok()?).ok()?;
        Some(Self { since: since.parse().ok()?, start: start.parse().ok()?, last })
    }
}

impl Cache {
    /// Returns what is remembered in `state` of `prefix` in the `folder` of `key`; nothing where the peer's replica is
    /// not `replica` any more, or its sequence `seq` is behind what we saw of it.
    pub(crate) fn open(
        state: &Path,
        (key, folder, prefix): (PublicKey, &str, &RelPath),
        (replica, seq): (ReplicaId, u64),
        rehearsal: bool,
    ) -> Result<Self, EngineError> {
        let path = cache_path(state, key, folder, prefix);
        let cache =
            match Self::open_at(&path, replica, if rehearsal { Mode::Rehearsal } else { Mode::Durable }) {
                // Another run is busy with the same folder: this one remembers nothing.
                Err(EngineError::Locked { .. }) => {
                    Self::open_at(&path.with_extension("none"), replica, Mode::Rehearsal)?
                }
                opened => opened?,
            };
        let of = Meta::of(&cache.db).get(meta::REPLICA)?;
        let begun = cache.listed()?.map_or(0, |listed| listed.start);
        if of.is_some_and(|of| of == replica) && cache.cursor()?.max(begun) <= seq {
            return Ok(cache);
        }
        if of.is_none() {
            Meta::of(&cache.db).set(meta::REPLICA, &replica)?;
            return Ok(cache);
        }
        let mode = cache.db.mode();
        drop(cache);
        if mode == Mode::Durable {
            remove_database(&path)?;
        }
        let fresh = if mode == Mode::Durable { path } else { path.with_extension("none") };
        let cache = Self::open_at(&fresh, replica, mode)?;
        Meta::of(&cache.db).set(meta::REPLICA, &replica)?;
        Ok(cache)
    }

    fn open_at(path: &Path, replica: ReplicaId, mode: Mode) -> Result<Self, EngineError> {
        // Damage costs the memory, which is asked for again.
        let db = open_database(path, mode, clock::now(), &mut |_damaged| {})?;
        Ok(Self { db, replica })
    }

    /// Forgets everything, and gives back the room.
    pub(crate) fn forget_all(self) -> Result<(), EngineError> {
        let (path, mode) = (self.db.path().to_owned(), self.db.mode());
        drop(self);
        if mode == Mode::Durable { remove_database(&path) } else { Ok(()) }
    }

    /// Returns the peer's sequence up to which everything is known; 0 where nothing is.
    pub(crate) fn cursor(&self) -> Result<u64, StoreError> {
        Ok(Peers::of(&self.db).get(self.replica)?.map_or(0, |peer| peer.cursor))
    }

    /// Notes that everything up to `seq` is known: no listing is under way.
    pub(crate) fn complete(&self, seq: u64) -> Result<(), StoreError> {
        self.db.batch(|| {
            Meta::of(&self.db).set(meta::LISTED, &String::new())?;
            Peers::of(&self.db).put(&Peer { replica: self.replica, cursor: seq, nonce: None })
        })
    }

    /// Returns how far a listing came that has not come to its end.
    pub(crate) fn listed(&self) -> Result<Option<Progress>, StoreError> {
        Ok(Meta::of(&self.db).get(meta::LISTED)?.and_then(|text| Progress::from_text(&text)))
    }

    /// Notes how far a listing has come.
    pub(crate) fn set_listed(&self, listed: &Progress) -> Result<(), StoreError> {
        Meta::of(&self.db).set(meta::LISTED, &listed.text())
    }

    /// Runs `work` and stores what it notes as one.
    pub(crate) fn batch(&self, work: impl FnOnce() -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.db.batch(work)
    }

    /// Notes that `row` stands at `path` under the peer's number `seq`.
    pub(crate) fn put(&self, path: &RelPath, seq: u64, row: Row) -> Result<(), StoreError> {
        self.db.batch(|| {
            let (index, contents) = (Index::of(&self.db), Contents::of(&self.db));
            let old = index.get(path)?.and_then(|record| reused(&record.row));
            let new = reused(&row);
            if old != new {
                old.map_or(Ok(()), |old| contents.remove(old, path))?;
                new.map_or(Ok(()), |new| contents.add(new, path))?;
            }
            index.put(path, &Record { row, seq, seen: None, residue: false })
        })
    }

    /// Forgets what stood at `path`.
    pub(crate) fn forget(&self, path: &RelPath) -> Result<(), StoreError> {
        self.db.batch(|| {
            let old = Index::of(&self.db).get(path)?.and_then(|record| reused(&record.row));
            old.map_or(Ok(()), |old| Contents::of(&self.db).remove(old, path))?;
            Index::of(&self.db).remove(path)
        })
    }

    /// Returns the row at `path` and its number.
    pub(crate) fn get(&self, path: &RelPath) -> Result<Option<Record>, StoreError> {
        Index::of(&self.db).get(path)
    }

    /// Returns the live children of `dir`, in path order.
    pub(crate) fn children(&self, dir: &RelPath) -> Result<Vec<(RelPath, Record)>, StoreError> {
        let mut children = Index::of(&self.db).children(dir, None, CHILDREN_MAX)?;
        children.retain(|(_, record)| record.row.live().is_some());
        Ok(children)
    }

    /// Returns at most `limit` rows numbered above `seq`, those after `after`, in path order.
    pub(crate) fn changed_since(
        &self,
        seq: u64,
        after: Option<&RelPath>,
        limit: usize,
    ) -> Result<Vec<(RelPath, Record)>, StoreError> {
        Index::of(&self.db).changed_since(seq, after, limit)
    }

    /// Returns at most `limit` paths at which `digest` stands, or stood when it was last heard of.
    pub(crate) fn places(&self, digest: Digest, limit: usize) -> Result<Vec<RelPath>, StoreError> {
        Contents::of(&self.db).places(digest, limit)
    }

    /// Returns how many live entries are known.
    pub(crate) fn count(&self) -> u64 {
        Index::of(&self.db).live_count()
    }

    /// Returns the names of owners that were told so far.
    pub(crate) fn names(&self) -> Result<Names, StoreError> {
        Ok(Meta::of(&self.db).get(meta::OWNER_NAMES)?.map(|text| names_from(&text)).unwrap_or_default())
    }

    /// Stores the names of owners.
    pub(crate) fn set_names(&self, names: &Names) -> Result<(), StoreError> {
        Meta::of(&self.db).set(meta::OWNER_NAMES, &names_text(names))
    }
}

/// Returns the digest under which the content of a row is looked for. What was deleted is looked for too: the taker may
/// hold it still.
fn reused(row: &Row) -> Option<Digest> {
    let content = match (row.live(), row.tombstone()) {
        (Some(live), _) => &live.content.value,
        (None, Some(stone)) => &stone.content,
        (None, None) => return None,
    };
    match content {
        Content::File { digest, size } if *size >= REUSED_BYTES_MIN => Some(*digest),
        Content::File { .. }
        | Content::Dir
        | Content::Symlink(_)
        | Content::Fifo
        | Content::Socket
        | Content::Device { .. } => None,
    }
}

fn cache_path(state: &Path, key: PublicKey, folder: &str, prefix: &RelPath) -> PathBuf {
    let name =
        Digest::of(&[b"csync far\0", &key.0[..], folder.as_bytes(), b"\0", prefix.as_bytes()].concat());
    state.join("far").join(format!("{}.db", HEXLOWER.encode(&name.0[..16])))
}

/// One line for each name: `u` or `g`, the number, the name in hexadecimal.
fn names_text(names: &Names) -> String {
    let line = |kind: char| {
        move |(number, name): &(u32, Box<[u8]>)| format!("{kind} {number} {}\n", HEXLOWER.encode(name))
    };
    names.users.iter().map(line('u')).chain(names.groups.iter().map(line('g'))).collect()
}

fn names_from(text: &str) -> Names {
    let mut names = Names::default();
    for line in text.lines() {
        let mut fields = line.split(' ');
        let (Some(kind), Some(number), Some(name)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let (Ok(number), Ok(name)) = (number.parse(), HEXLOWER.decode(name.as_bytes())) else {
            continue;
        };
        let list = if kind == "u" { &mut names.users } else { &mut names.groups };
        list.push((number, name.into()));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_a_listing_came_survives_being_stored() {
        for path in [&b"a/b"[..], b"\xff /\n"] {
            let progress = Progress { since: 0, start: 1 << 60, last: RelPath::new(path).unwrap() };
            assert_eq!(Progress::from_text(&progress.text()), Some(progress));
        }
        for text in ["", "1 2", "1 x 61", "1 2 6", "1 2 2e2e"] {
            assert_eq!(Progress::from_text(text), None, "{text}");
        }
    }

    #[test]
    fn names_survive_being_stored() {
        let names = Names {
            users: vec![(0, b"root"[..].into()), (1000, b"al ice\n"[..].into())],
            groups: vec![(33, b"\xff"[..].into())],
        };
        assert_eq!(names_from(&names_text(&names)), names);
        assert_eq!(names_from("nonsense\nu x y\n"), Names::default());
    }
}
