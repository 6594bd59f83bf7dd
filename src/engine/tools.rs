//! The means to change one root in a run: stage and apply.

use std::sync::Arc;

use crate::disk::apply::Apply;
use crate::disk::stage::Stage;
use crate::engine::replica::Replica;
use crate::store::db::Mode;

/// The means to change one root.
#[derive(Debug)]
pub struct Tools {
    /// Brings content beside its target.
    pub stage: Stage,
    /// Changes names.
    pub apply: Apply,
}

impl Tools {
    /// Returns the means to change the root of `me`; `None` in a rehearsal.
    #[must_use]
    pub fn of(me: &Replica) -> Option<Self> {
        let private = me.private.as_ref().filter(|_| me.db.mode() == Mode::Durable)?;
        let kept = Arc::new(me.kept()?);
        Some(Self {
            stage: Stage::new(Arc::clone(&me.root), Arc::clone(private)),
            apply: Apply::new(Arc::clone(&me.root), Arc::clone(private), kept, me.batch.as_bytes()),
        })
    }
}
