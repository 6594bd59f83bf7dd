//! Opens the two replicas of a pair, and refuses where what is found contradicts what is known (S10, S11).
//!
//! A database is found by the canonical paths of both roots, and verified by the markers in them. Nothing is written
//! to either root before both were found sound.

use std::path::Path;

use data_encoding::HEXLOWER;

use crate::engine::bond::{Bond, pair_database};
use crate::engine::error::EngineError;
use crate::engine::marker::Id;
use crate::engine::replica::Replica;
use crate::engine::site::{Opening, Site, canonical};
use crate::engine::standing::{Standing, standing};
use crate::engine::start::{random, start};
use crate::engine::state::database_path;
use crate::rules::conflict::Side;
use crate::store::meta::{self, Meta};
use crate::store::peer::{Peer, Peers};

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
    let guesses = [canonical(first), canonical(second)];
    let database = |own: usize| database_path(opening.state, pair_database(&guesses[own], &guesses[1 - own]));
    let (here, there) = (&guesses[0], &guesses[1]);
    if here.starts_with(there) || there.starts_with(here) {
        return Err(EngineError::Nested { first: guesses[0].clone(), second: guesses[1].clone() });
    }
    let mut one = Site::open(first, &database(0), opening.rehearsal)?;
    let mut two = Site::open(second, &database(1), opening.rehearsal)?;
    if (one.root.dev(), one.root.ino()) == (two.root.dev(), two.root.ino()) {
        return Err(EngineError::Nested { first: guesses[0].clone(), second: guesses[1].clone() });
    }
    let mut standings = [
        standing(&one, Bond::Pair(&two, Side::One), opening, warn)?,
        standing(&two, Bond::Pair(&one, Side::Two), opening, warn)?,
    ];
    let ids = root_ids(&standings)?;
    compare_memories(&mut standings, warn)?;
    let [first, second] = standings;
    let paths = [one.path(), two.path()];
    let describe = |other: usize| {
        let (path, id) = (&paths[other], &ids[other]);
        move |meta: Meta<'_>| {
            meta.set(meta::PEER_ROOT_ID, id)?;
            meta.set(meta::PEER_ROOT_PATH, path)
        }
    };
    let one = start(&mut one, Side::One, first, ids[0], opening, describe(1))?;
    let two = start(&mut two, Side::Two, second, ids[1], opening, describe(0))?;
    remember_starts(&one, &two)?;
    Ok((one, two))
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
