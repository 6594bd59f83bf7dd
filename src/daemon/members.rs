//! The members that this node follows: one thread for each of them in each folder, which calls, follows, and calls
//! again.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::config::settings::{Address, Conflict, Mode};
use crate::daemon::folders::Folders;
use crate::daemon::grants::Grants;
use crate::daemon::log::{Level, Line, Log, with_causes};
use crate::daemon::sessions::Sessions;
use crate::daemon::workers::{Worker, Workers};
use crate::disk::clock::monotonic;
use crate::engine::far::error::FarError;
use crate::engine::host::Host;
use crate::engine::member::follow::{Heard, Overseer, follow};
use crate::engine::member::held::Plan;
use crate::engine::member::leader::Leader;
use crate::engine::report::{MadeConflict, Skipped};
use crate::model::key::PublicKey;
use crate::model::path::escape;
use crate::rules::conflict::{Policy, Side};
use crate::transport::identity::Identity;
use crate::transport::link::Link;
use crate::transport::message::Code;
use crate::transport::quic::Caller;

/// How long a call may take to be answered.
const CALL: Duration = Duration::from_secs(10);
/// After a call that failed the next one waits so long, ...
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// ... doubled from one to the next up to this.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// A member of a folder, as the config says.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Wanted {
    folder: String,
    name: String,
    key: PublicKey,
    addresses: Vec<Address>,
    policy: Conflict,
    /// Ours gives way to theirs.
    yields: bool,
    /// There are only the two of us.
    is_pair: bool,
}

/// How it is with a member that is followed.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// It is connected, and its folder open.
    pub connected: bool,
    /// What is held of what it tells.
    pub held: Vec<Plan>,
}

/// A member that is followed, shared with its thread.
struct Following {
    wanted: Wanted,
    caller: Arc<Caller>,
    folders: Arc<Folders>,
    sessions: Arc<Sessions>,
    log: Arc<dyn Log>,
    all: Weak<Workers<Place, Self>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stopped: bool,
    /// Somebody believes that a call would be answered now.
    hurry: bool,
    link: Option<Weak<Link>>,
    heard: Weak<Heard>,
    standing: Standing,
}

/// By folder and member.
type Place = (String, String);
/// The members that this node follows.
pub struct Members {
    caller: Arc<Caller>,
    folders: Arc<Folders>,
    sessions: Arc<Sessions>,
    log: Arc<dyn Log>,
    following: Arc<Workers<Place, Following>>,
}

impl Members {
    /// Returns nobody yet; calls are made as `identity`. Who is connected to a folder that fails loses the connection.
    #[must_use]
    pub fn new(
        identity: &Identity,
        folders: Arc<Folders>,
        sessions: Arc<Sessions>,
        log: Arc<dyn Log>,
    ) -> Self {
        let caller = Arc::new(Caller::new(identity));
        Self { caller, folders, sessions, log, following: Arc::default() }
    }

    /// Follows whom `grants` says to follow, and nobody else.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn take_over(&self, grants: &Grants) -> std::io::Result<()> {
        let wanted = wanted(grants);
        self.following.part(|place, one| wanted.get(place) != Some(&one.wanted));
        for (place, wanted) in wanted {
            self.following.begin(&place, || Following {
                wanted,
                caller: Arc::clone(&self.caller),
                folders: Arc::clone(&self.folders),
                sessions: Arc::clone(&self.sessions),
                log: Arc::clone(&self.log),
                all: Arc::downgrade(&self.following),
                state: Mutex::default(),
                changed: Condvar::new(),
            })?;
        }
        Ok(())
    }

    /// Returns how it is with `member` of `folder`; `None` where it is not followed.
    #[must_use]
    pub fn standing(&self, folder: &str, member: &str) -> Option<Standing> {
        let one = self.following.get(&(folder.to_owned(), member.to_owned()))?;
        Some(one.state().standing.clone())
    }

    /// Calls `member` again at once if it is not connected: it was just heard of.
    pub fn hurry(&self, member: &str) {
        for one in self.following.list().into_iter().filter(|one| one.wanted.name == member) {
            one.state().hurry = true;
            one.changed.notify_all();
        }
    }

    /// Has what waits in the folder `name` looked at again: a person decided about it.
    pub fn again(&self, name: &str) {
        let all = self.following.list().into_iter();
        all.filter(|one| one.wanted.folder == name).for_each(|one| one.again());
    }

    /// Parts with the members of the folder `name`, until it is taken over again.
    pub fn end_folder(&self, name: &str) {
        self.following.part(|(folder, _), _| folder == name);
    }

    /// Parts with everybody.
    pub fn end(&self) {
        self.following.part(|_, _| true);
    }
}

/// Whom `grants` has this node follow: the other members that give, of the folders in which this node takes.
fn wanted(grants: &Grants) -> BTreeMap<Place, Wanted> {
    let mut all = BTreeMap::new();
    for (folder, settings, _) in grants.served() {
        let takes = !matches!(grants.mode(settings), Mode::Send);
        let leads = matches!(grants.mode(settings), Mode::Primary) && !grants.is_led_elsewhere(settings);
        for name in grants.others(settings).filter(|_| takes && !leads) {
            let gives = match grants.mode_of(settings, name) {
                Mode::TwoWay | Mode::Send => true,
                Mode::Primary => grants.primary(settings) == Some(name),
                Mode::Receive => false,
            };
            if let Some(peer) = grants.config().peers.get(name).filter(|_| gives) {
                let place = (folder.to_owned(), name.to_owned());
                let (folder, name) = place.clone();
                let (key, addresses) = (peer.key, peer.addresses.clone());
                let policy = settings.conflict.clone();
                let yields = matches!(grants.mode(settings), Mode::Receive | Mode::Primary);
                let is_pair = settings.members.len() <= 2;
                all.insert(place, Wanted { folder, name, key, addresses, policy, yields, is_pair });
            }
        }
    }
    all
}

impl Worker for Following {
    const THREAD: &'static str = "member";

    fn run(self: Arc<Self>) {
        self.go_on();
    }

    fn stop(&self) {
        let link = {
            let mut state = self.state();
            state.stopped = true;
            state.link.take().and_then(|link| link.upgrade())
        };
        self.changed.notify_all();
        if let Some(link) = link {
            link.close(Code::Shutdown, "this node parts with the folder");
        }
    }

    fn failed(&self) {
        self.log.line(self.line(Level::Error, "a fault of csyncd; please report it"));
    }
}

impl Following {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has what waits of it looked at again, if something is held.
    fn again(&self) {
        let heard = {
            let state = self.state();
            state.heard.upgrade().filter(|_| !state.standing.held.is_empty())
        };
        if let Some(heard) = heard {
            heard.again();
        }
    }

    fn line(&self, level: Level, text: &str) -> Line {
        Line::new(level, text).with("folder", &self.wanted.folder).with("peer", &self.wanted.name)
    }

    /// Calls and follows until it is stopped.
    fn go_on(&self) {
        let mut pause = PAUSE_MIN;
        let mut told = String::new();
        while !self.state().stopped {
            let begun = monotonic();
            let followed = catch_unwind(AssertUnwindSafe(|| self.call()));
            let was_connected = {
                let mut state = self.state();
                state.link = None;
                std::mem::take(&mut state.standing.connected)
            };
            let why = match followed {
                Ok(Ok(())) => "it ended".to_owned(),
                Ok(Err(error)) => self.failed(&error),
                Err(_panic) => {
                    self.log.line(self.line(Level::Error, "a fault of csyncd; please report it"));
                    "a fault of csyncd".to_owned()
                }
            };
            if self.state().stopped {
                return;
            }
            // One that ends at once, again and again, is called as seldom as one that is away.
            if was_connected && monotonic().saturating_duration_since(begun) > PAUSE_MAX {
                pause = PAUSE_MIN;
            }
            // The same reason again and again is told once.
            if was_connected || why != told {
                let level = if was_connected { Level::Info } else { Level::Warning };
                self.log.line(self.line(level, "member not followed").with("why", &why));
                told = why;
            }
            self.rest(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Takes note of an error that is about our own root, and returns what to tell.
    fn failed(&self, error: &FarError) -> String {
        if let FarError::Engine(error) = error {
            let refuse = self.folders.failed(&self.wanted.folder, error);
            self.sessions.end_folder(&self.wanted.folder, refuse.code, &refuse.text);
        }
        escape(with_causes(error).as_bytes())
    }

    /// Waits before the next call.
    fn rest(&self, pause: Duration) {
        let quiet = |state: &mut State| !state.stopped && !state.hurry;
        let waited = self.changed.wait_timeout_while(self.state(), pause, quiet);
        waited.unwrap_or_else(PoisonError::into_inner).0.hurry = false;
    }

    fn call(&self) -> Result<(), FarError> {
        let Wanted { folder, name, key, addresses, policy, yields, is_pair } = &self.wanted;
        let host = self.folders.host(folder).map_err(|refuse| FarError::refused("this node", &refuse))?;
        let addresses = resolved(addresses);
        let (link, control) = self.caller.connect(&addresses, key, CALL)?;
        let link = Arc::new(link);
        {
            let mut state = self.state();
            if state.stopped {
                return Ok(());
            }
            state.link = Some(Arc::downgrade(&link));
        }
        let (policy, side) = if *yields {
            // What was changed here alone is replaced, and kept as a version (S18).
            (Policy::Prefer(Side::Two), Side::One)
        } else {
            policy_of(policy, name, *is_pair)
        };
        let leader = Leader { key: *key, name: name.clone(), policy, side };
        let heard = Arc::new(Heard::default());
        self.state().heard = Arc::downgrade(&heard);
        follow(&host, &link, control, &leader, self, &heard)
    }
}

/// Returns the addresses that can be found now.
fn resolved(addresses: &[Address]) -> Vec<SocketAddr> {
    let found = addresses.iter().filter_map(|at| (at.host.as_str(), at.port).to_socket_addrs().ok());
    found.flatten().collect()
}

/// Returns the rule for a decision between us and `name`, and which side of it we are. Of more than two members, who
/// tells a content need not be who wrote it, so a preferred one cannot be told by who tells: then as `keep-both`, which
/// is the same on all.
fn policy_of(conflict: &Conflict, name: &str, is_pair: bool) -> (Policy, Side) {
    let policy = match conflict {
        Conflict::KeepBoth | Conflict::Merge => Policy::KeepBoth,
        Conflict::Newest => Policy::Newest,
        Conflict::Oldest => Policy::Oldest,
        Conflict::Largest => Policy::Largest,
        Conflict::Smallest => Policy::Smallest,
        Conflict::Manual => Policy::Manual,
        Conflict::Prefer(_) if !is_pair => Policy::KeepBoth,
        Conflict::Prefer(peer) if peer == name => Policy::Prefer(Side::Two),
        Conflict::Prefer(_) => Policy::Prefer(Side::One),
    };
    (policy, Side::One)
}

/// What becomes known of a member goes to the log and to who asks for the status.
impl Overseer for Following {
    fn is_open(&self, host: &Arc<Host>) -> bool {
        self.folders.is_open(&self.wanted.folder, host)
    }

    fn connected(&self, _leader: &Leader, is_heard: bool) {
        self.state().standing.connected = is_heard;
        let text = if is_heard { "member followed" } else { "member says nothing" };
        self.log.line(self.line(Level::Info, text));
    }

    fn changed(&self, _leader: &Leader, entries: u64) {
        self.log.line(self.line(Level::Debug, "changes taken").with("entries", entries));
        // What is held of another member may have been taken, or undone, by this.
        let all = self.all.upgrade().map(|all| all.list()).unwrap_or_default();
        let others = all.into_iter().filter(|one| one.wanted.folder == self.wanted.folder);
        others.filter(|one| one.wanted.name != self.wanted.name).for_each(|one| one.again());
    }

    fn conflict(&self, _leader: &Leader, made: &MadeConflict) {
        let line = self.line(Level::Warning, "conflict").with("path", &made.path);
        self.log.line(line.with("id", &made.id).with("note", escape(made.note.as_bytes())));
    }

    fn skipped(&self, _leader: &Leader, skipped: &Skipped) {
        let line = self.line(Level::Warning, "not taken yet").with("path", &skipped.path);
        self.log.line(line.with("why", escape(skipped.why.as_bytes())));
    }

    fn held(&self, _leader: &Leader, held: Vec<Plan>) {
        let before = std::mem::replace(&mut self.state().standing.held, held.clone());
        for plan in held.iter().filter(|plan| !before.contains(plan)) {
            let line = self.line(Level::Warning, "deletions held").with("id", plan.id).with("by", &plan.peer);
            self.log.line(line.with("deletes", plan.deletes).with("of", plan.of));
        }
    }
}
