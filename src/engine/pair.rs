//! Opens the two replicas of a pair, and refuses where what is found contradicts what is known (S10, S11).
//!
//! A database is found by the canonical paths of both roots, and verified by the markers in them. Nothing is written
//! to either root before both were found sound.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::HEXLOWER;

use crate::disk::clock;
use crate::engine::error::EngineError;
use crate::engine::marker::{Id, Marker};
use crate::engine::replica::{Replica, run_name};
use crate::engine::site::{Opening, Site};
use crate::engine::standing::{Standing, standing};
use crate::engine::state::{database_id, database_path};
use crate::model::version::ReplicaId;
use crate::rules::conflict::Side;
use crate::store::error::StoreError;
use crate::store::meta::{self, Meta};
use crate::store::peer::{Peer, Peers};

/// How many past starts a database remembers.
const NONCES_MAX: usize = 32;

/// Opens the pair of `first` and `second` for a run. `warn` is told what is unusual and no reason to stop.
///
/// What holds after: both roots are locked, their markers and databases carry the next generation. What an earlier
/// run left behind is still to be recovered.
///
/// # Errors
/// A root is missing, replaced, restored, nested in the other or in use; the state cannot be read.
pub fn open(
    first: &Path,
    second: &Path,
    opening: Opening<'_>,
    warn: &mut dyn FnMut(String),
) -> Result<(Replica, Replica), EngineError> {
    let guesses = [guess(first), guess(second)];
    let database = |own: usize| database_path(opening.state, database_id(&guesses[own], &guesses[1 - own]));
    let (here, there) = (&guesses[0], &guesses[1]);
    if here.starts_with(there) || there.starts_with(here) {
        return Err(EngineError::Nested { first: guesses[0].clone(), second: guesses[1].clone() });
    }
    let mut one = Site::open(first, &database(0), opening.rehearsal)?;
    let mut two = Site::open(second, &database(1), opening.rehearsal)?;
    if (one.root.dev(), one.root.ino()) == (two.root.dev(), two.root.ino()) {
        return Err(EngineError::Nested { first: guesses[0].clone(), second: guesses[1].clone() });
    }
    let mut standings =
        [standing(&one, &two, Side::One, opening, warn)?, standing(&two, &one, Side::Two, opening, warn)?];
    let ids = root_ids(&standings)?;
    compare_memories(&mut standings, warn)?;
    let [first, second] = standings;
    let peers = [two.path(), one.path()];
    let one = start(&mut one, Side::One, first, ids, &peers[0], opening)?;
    let two = start(&mut two, Side::Two, second, [ids[1], ids[0]], &peers[1], opening)?;
    remember_starts(&one, &two)?;
    Ok((one, two))
}

/// The canonical path, also of a root that is not there if at least its parent is.
fn guess(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().map(ToOwned::to_owned).unwrap_or_default();
    path.canonicalize()
        .or_else(|_missing| parent.canonicalize().map(|parent| parent.join(name)))
        .unwrap_or_else(|_missing| path.to_owned())
}

/// The ids of both roots. Two roots with one id are a root and a copy of it: the second gets an id of its own.
fn root_ids(standings: &[Standing; 2]) -> Result<[Id; 2], EngineError> {
    let mut ids = [random()?, random()?];
    for (id, standing) in ids.iter_mut().zip(standings) {
        *id = standing.root_id.unwrap_or(*id);
    }
    if ids[0] == ids[1] {
        ids[1] = random()?;
    }
    Ok(ids)
}

/// What each side remembers of the other's last start shows a rollback that left marker and database in agreement,
/// as when a whole machine was put back to an older state.
fn compare_memories(standings: &mut [Standing; 2], warn: &mut dyn FnMut(String)) -> Result<(), EngineError> {
    for own in [0, 1] {
        let (mine, theirs) = (Meta::of(&standings[own].db), Peers::of(&standings[1 - own].db));
        let Some(me) = mine.get(meta::REPLICA)? else {
            continue;
        };
        let Some(memory) = theirs.get(me)? else { continue };
        let nonces = mine.get(meta::NONCES)?.unwrap_or_default();
        let known = memory.nonce.is_none_or(|nonce| nonces.contains(&HEXLOWER.encode(&nonce)));
        let seq = mine.get(meta::SEQUENCE)?.unwrap_or(0);
        if !known || memory.cursor > seq {
            let path = mine.get(meta::ROOT_PATH)?.unwrap_or_default();
            warn(format!(
                "{} was put back to an older state; this run deletes nothing there",
                path.display()
            ));
            standings[own].rolled_back = true;
        }
    }
    Ok(())
}

/// Makes a replica of a root and its standing: from here on the run is on record.
fn start(
    site: &mut Site,
    side: Side,
    standing: Standing,
    [root_id, peer_id]: [Id; 2],
    peer_path: &PathBuf,
    opening: Opening<'_>,
) -> Result<Replica, EngineError> {
    let Standing { db, database, is_new, rolled_back, generation, .. } = standing;
    if !opening.rehearsal {
        site.settle_in()?;
        db.start()?;
    }
    let now = clock::now();
    let meta = Meta::of(&db);
    let known = meta.get(meta::REPLICA)?.filter(|_| !rolled_back && !is_new);
    let me = if let Some(known) = known { known } else { ReplicaId(random()?) };
    let no_deletes = rolled_back || meta.get(meta::NO_DELETES)?.unwrap_or(false);
    let nonce = HEXLOWER.encode(&random()?);
    db.batch(|| {
        if is_new {
            meta.set(meta::CREATED, &now)?;
        }
        meta.set(meta::ROOT_ID, &root_id)?;
        meta.set(meta::PEER_ROOT_ID, &peer_id)?;
        meta.set(meta::ROOT_PATH, &site.path())?;
        meta.set(meta::ROOT_INODE, &(site.root.dev(), site.root.ino()))?;
        meta.set(meta::PEER_ROOT_PATH, peer_path)?;
        meta.set(meta::SIDE, &side.label().to_owned())?;
        meta.set(meta::REPLICA, &me)?;
        meta.set(meta::NO_DELETES, &no_deletes)?;
        add_nonce(meta, &nonce)?;
        meta.set(meta::GENERATION, &generation)?;
        meta.set(meta::MARKER_PENDING, &true)
    })?;
    if !opening.rehearsal {
        write_marker(site, root_id, database, generation)?;
    }
    meta.set(meta::MARKER_PENDING, &false)?;
    let seq = Cell::new(meta.get(meta::SEQUENCE)?.unwrap_or(0));
    let (root, private) = (Arc::clone(&site.root), site.private.clone());
    let (batch, lock) = (run_name(now), site.lock.take());
    Ok(Replica { side, root, private, db, database, me, root_id, no_deletes, batch, seq, lock })
}

fn add_nonce(meta: Meta<'_>, nonce: &str) -> Result<(), StoreError> {
    let past = meta.get(meta::NONCES)?.unwrap_or_default();
    let past: Vec<&str> = past.split_whitespace().chain([nonce]).collect();
    meta.set(meta::NONCES, &past[past.len().saturating_sub(NONCES_MAX)..].join(" "))
}

fn write_marker(site: &Site, id: Id, database: Id, generation: u64) -> Result<(), EngineError> {
    let Some(private) = &site.private else {
        return Ok(());
    };
    let old = site.marker.as_ref().filter(|marker| marker.id == id);
    let mut generations = old.map_or_else(BTreeMap::new, |marker| marker.generations.clone());
    generations.insert(database, generation);
    let text = Marker { id, generations }.to_text();
    let failed = |source| EngineError::Root { path: site.path(), source };
    private.write_marker(text.as_bytes()).map_err(failed)
}

/// Each side notes under which nonce it sees the other now, and forgets whom it saw under another id.
fn remember_starts(one: &Replica, two: &Replica) -> Result<(), EngineError> {
    for (own, other) in [(one, two), (two, one)] {
        let peers = Peers::of(&own.db);
        let nonces = other.meta().get(meta::NONCES)?.unwrap_or_default();
        let nonce = nonces.split_whitespace().last().and_then(|hex| HEXLOWER.decode(hex.as_bytes()).ok());
        let nonce = nonce.and_then(|bytes| bytes.try_into().ok());
        let cursor = peers.get(other.me)?.map_or(0, |peer| peer.cursor);
        own.db.batch(|| {
            peers.put(&Peer { replica: other.me, cursor, nonce })?;
            peers.forget_others(other.me)
        })?;
    }
    Ok(())
}

/// Returns sixteen random bytes.
pub(crate) fn random() -> Result<[u8; 16], EngineError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(EngineError::Random)?;
    Ok(bytes)
}
