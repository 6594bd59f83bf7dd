//! Puts the start of a replica on record: marker, generation and nonce, by which the next start sees a rollback (S10).

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use data_encoding::HEXLOWER;

use crate::disk::clock;
use crate::engine::error::EngineError;
use crate::engine::marker::{Id, Marker};
use crate::engine::replica::{Replica, run_name};
use crate::engine::site::{Opening, Site};
use crate::engine::standing::Standing;
use crate::model::version::ReplicaId;
use crate::rules::conflict::Side;
use crate::store::error::StoreError;
use crate::store::meta::{self, Meta};

/// How many past starts a database remembers.
const NONCES_MAX: usize = 128;

/// Makes a replica of a root and its standing: from here on the run is on record. `describe` notes what the database
/// is about.
///
/// # Errors
/// The root, its private directory or the database cannot be written.
pub fn start(
    site: &mut Site,
    side: Side,
    standing: Standing,
    root_id: Id,
    opening: Opening<'_>,
    describe: impl Fn(Meta<'_>) -> Result<(), StoreError>,
) -> Result<Replica, EngineError> {
    let Standing { db, database, is_new, rolled_back, generation, .. } = standing;
    if !opening.rehearsal {
        site.settle_in()?;
        db.start()?;
    }
    let now = clock::now();
    let meta = Meta::of(&db);
    let rolled_back = rolled_back || meta.get(meta::REBORN)?.unwrap_or(false);
    let known = meta.get(meta::REPLICA)?.filter(|_| !rolled_back && !is_new);
    let me = if let Some(known) = known { known } else { ReplicaId(random()?) };
    let no_deletes = rolled_back || meta.get(meta::NO_DELETES)?.unwrap_or(false);
    let nonce = HEXLOWER.encode(&random()?);
    db.batch(|| {
        if is_new {
            meta.set(meta::CREATED, &now)?;
        }
        meta.set(meta::ROOT_ID, &root_id)?;
        meta.set(meta::ROOT_PATH, &site.path())?;
        meta.set(meta::ROOT_INODE, &(site.root.dev(), site.root.ino()))?;
        describe(meta)?;
        meta.set(meta::SIDE, &side.label().to_owned())?;
        meta.set(meta::REPLICA, &me)?;
        meta.set(meta::NO_DELETES, &no_deletes)?;
        meta.set(meta::REBORN, &false)?;
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
    let peer = Cell::new(0);
    let name = side.label().to_owned();
    Ok(Replica { side, name, root, private, db, database, me, root_id, no_deletes, batch, seq, lock, peer })
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

/// Returns sixteen random bytes.
pub(crate) fn random() -> Result<[u8; 16], EngineError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(EngineError::Random)?;
    Ok(bytes)
}
