//! The indexes of the folders that have other members, kept in step with their trees: one thread for each folder, which
//! begins anew when the folder does.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::daemon::folders::Folders;
use crate::daemon::grants::Grants;
use crate::daemon::log::{Level, Line, Log, with_causes};
use crate::daemon::sessions::Sessions;
use crate::daemon::workers::{Worker, Workers};
use crate::engine::error::EngineError;
use crate::engine::keeper::{Keeper, Rhythm};
use crate::engine::observe::Sight;
use crate::engine::tended::{Teller, Tended};
use crate::model::path::{RelPath, escape};

/// How often it is looked whether the folder is still the one that is kept.
const LOOK: Duration = Duration::from_secs(1);
/// After a folder that cannot be kept the next try waits so long.
const PAUSE: Duration = Duration::from_secs(5);

/// Those who keep the indexes of this node's folders.
pub struct Keepers {
    folders: Arc<Folders>,
    sessions: Arc<Sessions>,
    log: Arc<dyn Log>,
    kept: Workers<String, Watch>,
}

/// A folder that is kept, shared with its thread.
struct Watch {
    name: String,
    folders: Arc<Folders>,
    sessions: Arc<Sessions>,
    log: Arc<dyn Log>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Nobody wants it kept any more.
    stopped: bool,
    /// Its keeper has given up.
    halted: bool,
    /// What could not be seen when it was last looked at, each told once.
    skipped: BTreeSet<RelPath>,
}

impl Keepers {
    /// Returns nobody yet.
    #[must_use]
    pub fn new(folders: Arc<Folders>, sessions: Arc<Sessions>, log: Arc<dyn Log>) -> Self {
        Self { folders, sessions, log, kept: Workers::default() }
    }

    /// Keeps the folders of `grants` that have other members, and no others.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn take_over(&self, grants: &Grants) -> std::io::Result<()> {
        let shared = grants.served().filter(|(_, folder, _)| grants.others(folder).next().is_some());
        let wanted: BTreeSet<&str> = shared.map(|(name, ..)| name).collect();
        self.kept.part(|name, _| !wanted.contains(name.as_str()));
        for name in wanted {
            self.kept.begin(&name.to_owned(), || Watch {
                name: name.to_owned(),
                folders: Arc::clone(&self.folders),
                sessions: Arc::clone(&self.sessions),
                log: Arc::clone(&self.log),
                state: Mutex::default(),
                changed: Condvar::new(),
            })?;
        }
        Ok(())
    }

    /// Leaves the folder `name`, until it is taken over again.
    pub fn end_folder(&self, name: &str) {
        self.kept.part(|kept, _| kept == name);
    }

    /// Leaves all folders.
    pub fn end(&self) {
        self.kept.part(|_, _| true);
    }
}

impl Worker for Watch {
    const THREAD: &'static str = "watch";

    fn run(self: Arc<Self>) {
        self.go_on();
    }

    fn stop(&self) {
        self.state().stopped = true;
        self.changed.notify_all();
    }

    fn failed(&self) {
        self.log.line(self.line(Level::Error, "a fault of csyncd; please report it"));
    }
}

impl Watch {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, level: Level, text: &str) -> Line {
        Line::new(level, text).with("folder", &self.name)
    }

    /// Keeps the folder until it is stopped.
    fn go_on(self: &Arc<Self>) {
        while !self.state().stopped {
            if std::mem::take(&mut self.state().halted) {
                self.rest(PAUSE);
            }
            // The log says why it cannot be served.
            let Ok(host) = self.folders.host(&self.name) else {
                self.rest(PAUSE);
                continue;
            };
            let folder = Arc::new(Tended { host: Arc::clone(&host), teller: Arc::clone(self) });
            match Keeper::begin(Arc::clone(&host.root), folder, Rhythm::default()) {
                Ok(keeper) => {
                    while !self.rest(LOOK) && self.folders.is_open(&self.name, &host) {}
                    host.set_watched(false);
                    drop(keeper);
                }
                Err(error) => {
                    let line = self.line(Level::Error, "changes are not heard of");
                    self.log.line(line.with("why", escape(with_causes(&error).as_bytes())));
                    self.rest(PAUSE);
                }
            }
        }
    }

    /// Waits for so long; returns whether the keeping has ended before.
    fn rest(&self, pause: Duration) -> bool {
        let goes_on = |state: &mut State| !state.stopped && !state.halted;
        let waited = self.changed.wait_timeout_while(self.state(), pause, goes_on);
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.stopped || state.halted
    }
}

impl Teller for Arc<Watch> {
    fn seen(&self, sight: &Sight) {
        let mut state = self.state();
        for skipped in &sight.skipped {
            if state.skipped.insert(skipped.path.clone()) {
                let line = self.line(Level::Warning, "not read").with("path", &skipped.path);
                self.log.line(line.with("why", escape(skipped.why.as_bytes())));
            }
        }
        if sight.skipped.is_empty() {
            state.skipped.clear();
        }
    }

    fn warn(&self, what: String) {
        self.log.line(self.line(Level::Warning, &escape(what.as_bytes())));
    }

    fn halt(&self, why: EngineError) {
        let refuse = self.folders.failed(&self.name, &why);
        self.sessions.end_folder(&self.name, refuse.code, &refuse.text);
        self.state().halted = true;
        self.changed.notify_all();
    }
}
