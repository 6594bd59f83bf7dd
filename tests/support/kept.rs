//! A served root with a keeper, whose looks a test can wait for.

#![allow(dead_code, reason = "each suite takes what it needs")]
#![allow(clippy::unwrap_used, reason = "a helper of a test may stop the test")]

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use csync::disk::lister::Lister;
use csync::engine::error::EngineError;
use csync::engine::glance::glance;
use csync::engine::host::Host;
use csync::engine::keeper::{Folder, Keeper, Rhythm};
use csync::engine::observe::{Sight, Watching, observe_by};
use csync::plan::settle::Hint;
use csync::store::looks::Looks;

use crate::watched::{path, serve};

/// Longer than any test takes.
const LONG: Duration = Duration::from_mins(1);

pub(crate) struct Kept {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) host: Host,
    watching: Watching,
    pub(crate) log: Mutex<Log>,
    news: Condvar,
}

#[derive(Default)]
pub(crate) struct Log {
    pub(crate) observed: u32,
    pub(crate) glanced: u32,
    pub(crate) warned: Vec<String>,
    pub(crate) halted: Option<String>,
}

impl Kept {
    pub(crate) fn new() -> Arc<Self> {
        let (directory, host, watching) = serve(&[]);
        Arc::new(Self { directory, host, watching, log: Mutex::default(), news: Condvar::new() })
    }

    pub(crate) fn root(&self) -> &Path {
        self.host.root.path()
    }

    pub(crate) fn keep(self: &Arc<Self>, rhythm: Rhythm) -> Keeper {
        let folder: Arc<dyn Folder> = Arc::<Self>::clone(self);
        Keeper::begin(Arc::clone(&self.host.root), folder, rhythm).unwrap()
    }

    /// Waits until `is_so`, which is asked after each look.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&Log) -> bool) {
        let log = self.log.lock().unwrap();
        let (log, waited) = self.news.wait_timeout_while(log, LONG, |log| !is_so(log)).unwrap();
        drop(log);
        assert!(!waited.timed_out(), "{what}");
    }

    pub(crate) fn has(&self, at: &str) -> bool {
        self.host.replica().record(&path(at)).unwrap().is_some_and(|record| record.row.live().is_some())
    }

    fn note(&self, note: impl FnOnce(&mut Log)) {
        note(&mut self.log.lock().unwrap());
        self.news.notify_all();
    }
}

impl Folder for Kept {
    fn observe(&self, lister: &Arc<dyn Lister>) -> Result<Sight, EngineError> {
        let replica = self.host.replica();
        self.host.check(&replica)?;
        let sight = observe_by(&replica, &self.watching, lister)?;
        drop(replica);
        self.note(|log| log.observed += 1);
        Ok(sight)
    }

    fn glance(&self, lister: &Arc<dyn Lister>, hints: &[Hint]) -> Result<Sight, EngineError> {
        let replica = self.host.replica();
        self.host.check(&replica)?;
        let sight = glance(&replica, &self.watching, lister, hints)?;
        drop(replica);
        self.note(|log| log.glanced += 1);
        Ok(sight)
    }

    fn put_off(&self, hints: &[Hint]) -> Result<(), EngineError> {
        let replica = self.host.replica();
        hints.iter().try_for_each(|hint| Looks::of(&replica.db).put(hint))?;
        drop(replica);
        self.note(|_| ());
        Ok(())
    }

    fn seen(&self, _: &Sight) {}

    fn warn(&self, what: String) {
        self.note(|log| log.warned.push(what));
    }

    fn halt(&self, why: EngineError) {
        self.note(|log| log.halted = Some(why.to_string()));
    }
}
