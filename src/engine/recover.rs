//! What a run that was stopped left behind is put where it belongs before anything else happens.

use crate::disk::recover::Outcome;
use crate::engine::error::EngineError;
use crate::engine::note;
use crate::engine::replica::Replica;
use crate::engine::tools::Tools;

/// Puts what a run that was stopped left in the stage where it belongs: displaced files into the version store (S9).
///
/// # Errors
/// The stage cannot be cleared, or the database refuses.
pub fn recover(me: &Replica, peer: &Replica) -> Result<(), EngineError> {
    let Some(tools) = Tools::of(me) else { return Ok(()) };
    let failed = |source| EngineError::Root {
        path: me.root.path().to_owned(),
        source,
    };
    let recovered = tools.apply.recover().map_err(failed)?;
    me.db.batch(|| {
        for found in recovered {
            if let Outcome::Kept(kept) = found.outcome {
                let path = found.path.unwrap_or_else(|| kept.path.clone());
                note::recovered(me, peer, &path, &kept)?;
            }
        }
        Ok(())
    })
}
