//! This node, as those who call it and those who ask about it see it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::config::settings::Folder;
use crate::daemon::folders::{Folders, no_such_folder};
use crate::daemon::grants::{Caller, Grants, word};
use crate::daemon::keepers::Keepers;
use crate::daemon::log::{Level, Line, Log};
use crate::daemon::members::Members;
use crate::daemon::sessions::{SessionId, Sessions};
use crate::daemon::status::{FolderStatus, PeerStatus, State, Status};
use crate::engine::serve::session::{Grant, Opener};
use crate::model::entry::Digest;
use crate::model::heard::heard;
use crate::model::key::PublicKey;
use crate::model::path::RelPath;
use crate::transport::identity::Identity;
use crate::transport::link::Link;
use crate::transport::message::{Code, FolderInfo, Open, Refuse, Right};
use crate::transport::seats::{Doorman, Welcomed};

/// How long a run waits for the last batch of one that was cut off.
const LAST_BATCH: Duration = Duration::from_secs(30);

/// This node: what it grants, what it serves, who is there.
pub struct Node {
    /// The folders.
    pub folders: Arc<Folders>,
    /// The connections that others made.
    pub sessions: Arc<Sessions>,
    /// The members that are followed.
    pub members: Members,
    /// Those who look after the indexes.
    pub keepers: Keepers,
    /// Where lines go.
    pub log: Arc<dyn Log>,
    grants: RwLock<Arc<Grants>>,
    listen: RwLock<Vec<SocketAddr>>,
    /// The user whose daemon this is.
    uid: u32,
}

impl Node {
    /// Returns a node that grants what `grants` says, and serves it once it has [taken it over](Self::take_over). It is
    /// known by `identity`, its databases are in `state`, and `uid` is the user whose daemon it is.
    #[must_use]
    pub fn new(grants: Grants, identity: &Identity, state: &Path, log: Arc<dyn Log>, uid: u32) -> Self {
        let (folders, sessions) =
            (Arc::new(Folders::new(state, Arc::clone(&log))), Arc::<Sessions>::default());
        let keepers = Keepers::new(Arc::clone(&folders), Arc::clone(&sessions), Arc::clone(&log));
        let members = Members::new(identity, Arc::clone(&folders), Arc::clone(&sessions), Arc::clone(&log));
        Self {
            folders,
            sessions,
            members,
            keepers,
            log,
            grants: RwLock::new(Arc::new(grants)),
            listen: RwLock::default(),
            uid,
        }
    }

    /// What it grants now.
    #[must_use]
    pub fn grants(&self) -> Arc<Grants> {
        Arc::clone(&self.grants.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets `grants` hold from now on: connections that they do not allow are ended, folders opened and closed.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn take_over(&self, grants: Grants) -> std::io::Result<()> {
        let grants = Arc::new(grants);
        *self.grants.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&grants);
        for caller in self.sessions.recheck(&grants) {
            self.log.line(self.about(Level::Info, "session revoked", caller));
        }
        self.folders.take_over(&grants, |name, why| {
            self.keepers.end_folder(name);
            self.members.end_folder(name);
            let ended = self.sessions.end_folder(name, Code::Shutdown, &format!("the folder {name}: {why}"));
            let line = Line::new(Level::Info, "folder closed").with("folder", name);
            self.log.line(line.with("why", why).with("sessions", ended.len()));
        });
        self.keepers.take_over(&grants)?;
        self.members.take_over(&grants)
    }

    /// Notes where this node listens.
    pub fn listens(&self, at: Vec<SocketAddr>) {
        *self.listen.write().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// The user whose daemon this is.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// What `key` is called: its name in the config, else the key.
    #[must_use]
    pub fn called(&self, key: &PublicKey) -> String {
        self.grants().name(key).map_or_else(|| key.to_string(), str::to_owned)
    }

    /// Returns a line about `caller`.
    #[must_use]
    pub fn about(&self, level: Level, text: &str, caller: Caller) -> Line {
        Line::new(level, text).with("peer", self.called(&caller.key)).with("address", caller.address)
    }

    /// Returns how this node stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let grants = self.grants();
        let listen = self.listen.read().unwrap_or_else(PoisonError::into_inner);
        Status {
            node: grants.node(),
            listen: listen.iter().map(ToString::to_string).collect(),
            folders: grants
                .served()
                .map(|(name, folder, _)| self.folder_status(&grants, name, folder))
                .collect(),
        }
    }

    fn folder_status(&self, grants: &Grants, name: &str, folder: &Folder) -> FolderStatus {
        let health = self.folders.health(name).unwrap_or_default();
        let (sessions, writes) = self.sessions.visitors(name);
        let standing = |member: &str| self.members.standing(name, member).unwrap_or_default();
        // The same deletions may be told by several members.
        let held = grants.others(folder).flat_map(|member| standing(member).held);
        let held = held.map(|plan| plan.id).collect::<BTreeSet<Digest>>().len();
        let state = match health.halted {
            Some((_, true)) => State::Halted,
            Some((_, false)) => State::Error,
            None if held > 0 => State::Held,
            None if writes => State::Syncing,
            None if health.busy => State::Scanning,
            None => State::InSync,
        };
        let peers = grants.others(folder).map(|member| {
            let key = grants.config().peers.get(member).map(|peer| peer.key);
            PeerStatus {
                name: member.to_owned(),
                connected: standing(member).connected || key.is_some_and(|key| self.sessions.has(&key)),
                behind: key.and_then(|key| self.folders.behind(name, &key)),
            }
        });
        FolderStatus {
            name: name.to_owned(),
            mode: word(grants.mode(folder)).to_owned(),
            state,
            why: health.halted.map(|(why, _)| why),
            files: health.figures.tally.entries,
            bytes: health.figures.tally.bytes,
            conflicts: health.figures.conflicts,
            held: u64::try_from(held).unwrap_or(u64::MAX),
            sessions,
            peers: peers.collect(),
        }
    }
}

impl Doorman for Node {
    fn admits(&self, key: &PublicKey, address: SocketAddr) -> Option<Welcomed> {
        let caller = Caller { key: *key, address: address.ip() };
        let grants = self.grants();
        if !grants.admits(caller) {
            self.log.line(self.about(Level::Warning, "stranger refused", caller));
            return None;
        }
        Some(if grants.name(key).is_some() { Welcomed::Known } else { Welcomed::Anybody })
    }

    fn name(&self, key: &PublicKey) -> Option<String> {
        self.grants().name(key).map(str::to_owned)
    }
}

/// One connection, as it may open a folder.
pub(crate) struct Visitor<'a> {
    /// Where it is.
    pub(crate) node: &'a Node,
    /// Which it is.
    pub(crate) id: SessionId,
    /// Whose it is.
    pub(crate) caller: Caller,
}

impl Visitor<'_> {
    fn may_open(&self, link: &Link, open: &Open) -> Result<Grant, Refuse> {
        let grants = self.node.grants();
        let name = open.folder.as_str();
        let no = |code, text: String| Err(Refuse { code, text });
        let (Some(folder), Some(right)) = (grants.folder(name), grants.right(name, self.caller)) else {
            return Err(no_such_folder(name));
        };
        if open.right > right {
            return no(Code::Denied, format!("the folder {name} is open to you, but not for that"));
        }
        if open.right > Right::Read && grants.is_led_elsewhere(folder) {
            return no(Code::NotPrimary, format!("another node is the primary of {name}; changes go there"));
        }
        if open.right > Right::Read {
            let ended = self.node.sessions.supersede(self.id, &self.caller.key, name, LAST_BATCH);
            if ended > 0 {
                let line = self.node.about(Level::Info, "sessions superseded", self.caller);
                self.node.log.line(line.with("folder", name).with("count", ended));
            }
        }
        let host = self.node.folders.host(name)?;
        if !self.node.sessions.open(self.id, name, open.right, folder.limits.connections) {
            return no(
                Code::Busy,
                format!("the folder {name} has all its connections in use; try again later"),
            );
        }
        // A right that was taken away since would not be found by whoever took it.
        if self.node.grants().right(name, self.caller) < Some(open.right) {
            return Err(no_such_folder(name));
        }
        link.set_rate(folder.limits.rate);
        link.set_timeout(folder.limits.timeout);
        Ok(Grant { host, right, by: self.node.called(&self.caller.key) })
    }
}

impl Opener for Visitor<'_> {
    fn folders(&self, _link: &Link) -> Vec<FolderInfo> {
        self.node.grants().visible(self.caller)
    }

    fn is_member(&self, _link: &Link, folder: &str) -> bool {
        let grants = self.node.grants();
        let is_member = grants.is_member(folder, &self.caller.key);
        if let Some(name) = grants.name(&self.caller.key).filter(|_| is_member) {
            // Who calls can be called.
            self.node.members.hurry(name);
        }
        is_member
    }

    fn open(&self, link: &Link, open: &Open) -> Result<Grant, Refuse> {
        let granted = self.may_open(link, open);
        let right = match open.right {
            Right::Read => "read",
            Right::Append => "append",
            Right::Write => "write",
        };
        let (level, text) = match &granted {
            Ok(_) => (Level::Info, "session opened"),
            Err(_) => (Level::Warning, "session refused"),
        };
        let line = self.node.about(level, text, self.caller);
        let line = line.with("folder", heard(&open.folder)).with("right", right);
        self.node.log.line(match &granted {
            Ok(_) => line,
            Err(refuse) => line.with("why", &refuse.text),
        });
        granted
    }

    fn notice(&self, folder: &str, what: &'static str, first: &RelPath, count: u64) {
        let line = self.node.about(Level::Warning, what, self.caller);
        self.node.log.line(line.with("folder", folder).with("path", first).with("paths", count));
    }
}
