//! Threads of the daemon that are begun and parted with by name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

/// What one of them does.
pub trait Worker: Send + Sync + 'static {
    /// What its thread is called.
    const THREAD: &'static str;

    /// Works until it is stopped.
    fn run(self: Arc<Self>);

    /// Has it end soon.
    fn stop(&self);

    /// Is called when it ended by a panic, once it was to end.
    fn failed(&self);
}

/// Workers with their threads, by name.
type Threads<N, W> = BTreeMap<N, (Arc<W>, JoinHandle<()>)>;

/// Workers by name.
pub struct Workers<N, W> {
    all: Mutex<Threads<N, W>>,
}

impl<N, W> Default for Workers<N, W> {
    fn default() -> Self {
        Self { all: Mutex::default() }
    }
}

impl<N: Ord + Clone, W: Worker> Workers<N, W> {
    fn all(&self) -> MutexGuard<'_, Threads<N, W>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the worker of this name.
    #[must_use]
    pub fn get(&self, name: &N) -> Option<Arc<W>> {
        self.all().get(name).map(|(worker, _)| Arc::clone(worker))
    }

    /// Returns all of them.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<W>> {
        self.all().values().map(|(worker, _)| Arc::clone(worker)).collect()
    }

    /// Begins what `make` returns, unless there is a worker of this name.
    ///
    /// # Errors
    /// No thread is left for it.
    pub fn begin(&self, name: &N, make: impl FnOnce() -> W) -> std::io::Result<()> {
        let mut all = self.all();
        if !all.contains_key(name) {
            let worker = Arc::new(make());
            let own = Arc::clone(&worker);
            let thread = Builder::new().name(W::THREAD.to_owned()).spawn(move || own.run())?;
            all.insert(name.clone(), (worker, thread));
        }
        Ok(())
    }

    /// Parts with those of whom `which` holds. They have ended when this returns.
    pub fn part(&self, which: impl Fn(&N, &W) -> bool) {
        let gone: Threads<N, W> = {
            let mut all = self.all();
            let (gone, kept) =
                std::mem::take(&mut *all).into_iter().partition(|(name, (worker, _))| which(name, worker));
            *all = kept;
            gone
        };
        gone.values().for_each(|(worker, _)| worker.stop());
        for (worker, thread) in gone.into_values() {
            if thread.join().is_err() {
                worker.failed();
            }
        }
    }
}
