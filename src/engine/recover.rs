//! What a run that was stopped left behind is put where it belongs before anything else happens.

use crate::disk::clock;
use crate::disk::kept::KeptAt;
use crate::disk::leftover;
use crate::disk::recover::Outcome;
use crate::engine::error::EngineError;
use crate::engine::note;
use crate::engine::replica::Replica;
use crate::engine::tools::Tools;
use crate::store::versions::Versions;

/// Puts what a run that was stopped left in the stage where it belongs: displaced files into the version store (S9),
/// listed there as displaced by `by`.
///
/// # Errors
/// The stage cannot be cleared, or the database refuses.
pub fn recover(me: &Replica, by: &str) -> Result<(), EngineError> {
    let Some(tools) = Tools::of(me) else { return Ok(()) };
    let failed = |source| EngineError::Root { path: me.root.path().to_owned(), source };
    let recovered = tools.apply.recover().map_err(failed)?;
    leftover::sweep(tools.stage.private(), clock::now());
    me.db.batch(|| {
        for found in recovered {
            if let Outcome::Kept(kept) = found.outcome {
                let path = found.path.unwrap_or_else(|| kept.path.clone());
                note::recovered(me, by, &path, &kept)?;
            }
        }
        let is_new = Versions::of(&me.db).oldest(1)?.is_empty();
        if is_new || me.db.was_unclean() { catalogue(me, by) } else { Ok(()) }
    })
}

/// Adds to the catalogue what the version store has and the catalogue does not: after a stop between the two, or
/// where the state was lost. What cannot be read stays in the store, unlisted.
fn catalogue(me: &Replica, by: &str) -> Result<(), EngineError> {
    let Some(kept) = me.kept() else { return Ok(()) };
    let failed = |source| EngineError::Root { path: me.root.path().to_owned(), source };
    let versions = Versions::of(&me.db);
    for batch in kept.batches().map_err(failed)? {
        for (path, stat) in kept.list(&batch).map_err(failed)?.flatten() {
            let known = versions.at(&path, "")?;
            if !known.iter().any(|version| version.batch.as_bytes() == &batch[..] && version.place == path) {
                let at = KeptAt { batch: batch.clone(), path: path.clone(), stat };
                note::recovered(me, by, &path, &at)?;
            }
        }
    }
    Ok(())
}
