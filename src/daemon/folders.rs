//! The folders that this node serves: open, or halted with the reason. One that is halted stops no other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::settings::{Conflict, Folder, Limits};
use crate::daemon::grants::Grants;
use crate::daemon::log::{Level, Line, Log, with_causes};
use crate::engine::error::EngineError;
use crate::engine::host::{Host, HostSettings};
use crate::engine::serve::error::told;
use crate::model::heard::heard;
use crate::model::key::PublicKey;
use crate::model::path::escape;
use crate::store::conflicts::Conflicts;
use crate::store::db::Tally;
use crate::store::members::Members;
use crate::transport::message::{Code, Refuse};

/// The folders that this node serves.
pub struct Folders {
    state: PathBuf,
    log: Arc<dyn Log>,
    served: Mutex<BTreeMap<String, Arc<Served>>>,
}

/// One of them.
struct Served {
    name: String,
    node: String,
    root: PathBuf,
    /// What the config says of it, as far as an open folder depends on it.
    shape: Folder,
    standing: Mutex<Standing>,
    tally: Mutex<Figures>,
}

/// Whether a folder can be served.
enum Standing {
    /// It is open.
    Open(Arc<Host>),
    /// It is not.
    Halted(Halt),
}

/// Why a folder is not served.
#[derive(Clone)]
struct Halt {
    /// For those who may read the log.
    why: String,
    /// For those who ask for it.
    refuse: Refuse,
    /// Whether the root, not something that passes, is the reason.
    is_root: bool,
}

/// What is counted in a folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Figures {
    /// Live entries, and bytes of the live files.
    pub tally: Tally,
    /// Open conflicts.
    pub conflicts: u64,
}

/// How a folder stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Health {
    /// Why it is not served, if so, and whether its root is the reason.
    pub halted: Option<(String, bool)>,
    /// As last counted.
    pub figures: Figures,
    /// Whether somebody is at work in it.
    pub busy: bool,
}

impl Folders {
    /// Returns no folders yet; their databases are in `state`.
    #[must_use]
    pub fn new(state: &Path, log: Arc<dyn Log>) -> Self {
        Self { state: state.to_owned(), log, served: Mutex::default() }
    }

    fn served(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Served>>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, name: &str) -> Option<Arc<Served>> {
        self.served().get(name).map(Arc::clone)
    }

    /// Takes over what `grants` says of folders. `end` is called for every folder that ends, or begins anew with other
    /// settings, to part with those who have it open.
    pub fn take_over(&self, grants: &Grants, end: impl Fn(&str, &str)) {
        let mut fresh = Vec::new();
        let mut wanted = BTreeMap::new();
        let mut before = self.served().clone();
        for (name, folder, root) in grants.served() {
            let (node, root, shape) = (grants.node(), PathBuf::from(root), shape(folder));
            let old = before.remove(name);
            let same = |old: &Arc<Served>| old.node == node && old.root == root && old.shape == shape;
            let served = match old {
                Some(old) if same(&old) => old,
                old => {
                    if let Some(old) = old {
                        end(name, "its settings changed; run again");
                        self.close(&old);
                    }
                    let served = Arc::new(Served::new(name, node, root, shape));
                    fresh.push(Arc::clone(&served));
                    served
                }
            };
            wanted.insert(name.to_owned(), served);
        }
        for (name, old) in before {
            end(&name, "it is not served here any more");
            self.close(&old);
        }
        *self.served() = wanted;
        for served in fresh {
            self.host_of(&served).ok();
        }
    }

    /// Returns the folder `name`, which is opened if it can be opened now.
    ///
    /// # Errors
    /// It is not served, or halted: what to tell who asks.
    pub fn host(&self, name: &str) -> Result<Arc<Host>, Refuse> {
        let served = self.find(name).ok_or_else(|| no_such_folder(name))?;
        self.host_of(&served)
    }

    /// Whether the folder `name` is open, and `host` is what is open.
    #[must_use]
    pub fn is_open(&self, name: &str, host: &Arc<Host>) -> bool {
        let Some(served) = self.find(name) else { return false };
        matches!(&*served.standing(), Standing::Open(open) if Arc::ptr_eq(open, host))
    }

    fn host_of(&self, served: &Served) -> Result<Arc<Host>, Refuse> {
        let mut standing = served.standing();
        if let Standing::Open(host) = &*standing {
            return Ok(Arc::clone(host));
        }
        match served.open(&self.state, self.log.as_ref()) {
            Ok(host) => {
                let host = Arc::new(host);
                *standing = Standing::Open(Arc::clone(&host));
                drop(standing);
                served.count(&host);
                let line = Line::new(Level::Info, "folder opened").with("folder", &served.name);
                self.log.line(line.with("root", shown(&served.root)));
                Ok(host)
            }
            Err(halt) => {
                // The same reason again and again is told once.
                if !matches!(&*standing, Standing::Halted(before) if before.why == halt.why) {
                    self.tell(served, &halt);
                }
                let refuse = halt.refuse.clone();
                *standing = Standing::Halted(halt);
                Err(refuse)
            }
        }
    }

    /// Takes note that the open folder `name` could not be worked on; returns what to tell who asked. It is opened
    /// anew for the next who asks.
    pub fn failed(&self, name: &str, error: &EngineError) -> Refuse {
        let halt = halt(name, error);
        if let Some(served) = self.find(name) {
            self.tell(&served, &halt);
            let old = std::mem::replace(&mut *served.standing(), Standing::Halted(halt.clone()));
            self.release(name, old);
        }
        halt.refuse
    }

    /// Opens the folder `name` if something that passes had kept it from being opened.
    pub fn revive(&self, name: &str) {
        if let Some(served) = self.find(name)
            && matches!(&*served.standing(), Standing::Halted(halt) if !halt.is_root)
        {
            // The log says why, if it still cannot be.
            self.host_of(&served).ok();
        }
    }

    fn tell(&self, served: &Served, halt: &Halt) {
        let line = Line::new(Level::Error, "folder halted").with("folder", &served.name);
        self.log.line(line.with("root", shown(&served.root)).with("why", &halt.why));
    }

    fn close(&self, served: &Served) {
        let closed = Halt {
            why: "it is being closed".to_owned(),
            refuse: Refuse { code: Code::Busy, text: "the folder is being closed".to_owned() },
            is_root: false,
        };
        let old = std::mem::replace(&mut *served.standing(), Standing::Halted(closed));
        self.release(&served.name, old);
    }

    /// The last who has a folder open ends its service; what is not closed in order is recovered when it is opened.
    fn release(&self, name: &str, standing: Standing) {
        let Standing::Open(host) = standing else { return };
        if let Some(Err(error)) = Arc::into_inner(host).map(Host::close) {
            let line = Line::new(Level::Warning, "folder not closed in order").with("folder", name);
            self.log.line(line.with("why", escape(with_causes(&error).as_bytes())));
        }
    }

    /// Ends the service of all folders.
    pub fn close_all(&self) {
        let served = std::mem::take(&mut *self.served());
        served.values().for_each(|served| self.close(served));
    }

    /// Returns how many rows of the folder `name` the member with `key` is not known to hold; `None` while somebody is
    /// at work there.
    #[must_use]
    pub fn behind(&self, name: &str, key: &PublicKey) -> Option<u64> {
        let served = self.find(name)?;
        let standing = served.standing.try_lock().ok()?;
        let Standing::Open(host) = &*standing else { return None };
        let held = host.try_replica()?;
        let applied = Members::of(&held.db).get(key).ok()?.map_or(0, |member| member.applied);
        held.index().count_since(applied).ok()
    }

    /// Returns how the folder `name` stands. Never waits for those who work in it.
    #[must_use]
    pub fn health(&self, name: &str) -> Option<Health> {
        let served = self.find(name)?;
        let standing = served.standing.try_lock();
        let (halted, busy) = match standing.as_deref() {
            Ok(Standing::Open(host)) => (None, !served.count(host)),
            Ok(Standing::Halted(halt)) => (Some((halt.why.clone(), halt.is_root)), false),
            // It is being opened.
            Err(_) => (None, true),
        };
        Some(Health { halted, figures: served.figures(), busy })
    }
}

impl Served {
    fn new(name: &str, node: String, root: PathBuf, shape: Folder) -> Self {
        let waiting = Halt {
            why: "it is being opened".to_owned(),
            refuse: Refuse { code: Code::Busy, text: format!("the folder {name} is being opened") },
            is_root: false,
        };
        Self {
            name: name.to_owned(),
            node,
            root,
            shape,
            standing: Mutex::new(Standing::Halted(waiting)),
            tally: Mutex::default(),
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn figures(&self) -> Figures {
        *self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what is in the folder, unless somebody is at work there; returns whether it could.
    fn count(&self, host: &Host) -> bool {
        let Some(replica) = host.try_replica() else { return false };
        let tally = replica.db.tally();
        // What cannot be counted now is counted the next time.
        let Ok(open) = Conflicts::of(&replica.db).open() else { return true };
        let conflicts = u64::try_from(open.len()).unwrap_or(u64::MAX);
        *self.tally.lock().unwrap_or_else(PoisonError::into_inner) = Figures { tally, conflicts };
        true
    }

    fn open(&self, state: &Path, log: &dyn Log) -> Result<Host, Halt> {
        let settings = HostSettings::of(&self.shape, &self.node).map_err(|error| Halt {
            why: escape(with_causes(&error).as_bytes()),
            refuse: Refuse {
                code: Code::Internal,
                text: format!("the folder {} is not served: its filter cannot be used", self.name),
            },
            is_root: false,
        })?;
        let mut warn = |text: String| {
            let line = Line::new(Level::Warning, escape(text.as_bytes())).with("folder", &self.name);
            log.line(line);
        };
        Host::open(&self.name, &self.root, state, settings, &mut warn)
            .map_err(|error| halt(&self.name, &error))
    }
}

fn halt(name: &str, error: &EngineError) -> Halt {
    let refuse = told(name, error);
    let is_root = refuse.code == Code::Halted;
    Halt { why: escape(with_causes(error).as_bytes()), refuse, is_root }
}

/// Returns what to tell who asks for a folder that is not served, or that it may not know of: the same.
#[must_use]
pub fn no_such_folder(name: &str) -> Refuse {
    let text = format!("there is no folder {} here for this key", heard(name));
    Refuse { code: Code::Denied, text }
}

/// What is left of a folder's settings when those are taken away that may change while it is open.
fn shape(folder: &Folder) -> Folder {
    Folder {
        conflict: Conflict::KeepBoth,
        on_change: Vec::new(),
        comment: None,
        allow: BTreeMap::new(),
        hosts: Vec::new(),
        limits: Limits::default(),
        ..folder.clone()
    }
}

fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_encoded_bytes())
}
