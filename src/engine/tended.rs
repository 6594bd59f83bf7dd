//! A served folder as its keeper sees it.

use std::sync::Arc;

use crate::disk::lister::Lister;
use crate::engine::error::EngineError;
use crate::engine::host::Host;
use crate::engine::keeper::Folder;
use crate::engine::observe::Sight;
use crate::plan::settle::Hint;

/// Who is told how the keeping of a folder goes.
pub trait Teller: Send + Sync {
    /// What each look saw.
    fn seen(&self, sight: &Sight);

    /// What is unusual and no reason to stop.
    fn warn(&self, what: String);

    /// Nothing more is looked at, and why.
    fn halt(&self, why: EngineError);
}

/// A served folder that is kept; what happens goes to `T`.
#[derive(Debug)]
pub struct Tended<T> {
    /// The folder.
    pub host: Arc<Host>,
    /// Who is told.
    pub teller: T,
}

impl<T: Teller> Folder for Tended<T> {
    fn observe(&self, lister: &Arc<dyn Lister>) -> Result<Sight, EngineError> {
        let sight = self.host.observe_by(lister)?;
        self.host.set_watched(true);
        Ok(sight)
    }

    fn glance(&self, lister: &Arc<dyn Lister>, hints: &[Hint]) -> Result<Sight, EngineError> {
        self.host.glance(lister, hints)
    }

    fn put_off(&self, hints: &[Hint]) -> Result<(), EngineError> {
        self.host.put_off(hints)
    }

    fn seen(&self, sight: &Sight) {
        self.teller.seen(sight);
    }

    fn warn(&self, what: String) {
        self.teller.warn(what);
    }

    fn halt(&self, why: EngineError) {
        self.teller.halt(why);
    }
}
