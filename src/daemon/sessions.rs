//! The connections that are open now: whose they are, what they have open, and how they are ended.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use crate::daemon::grants::{Caller, Grants};
use crate::disk::clock::monotonic;
use crate::model::key::PublicKey;
use crate::transport::link::{Asked, Link};
use crate::transport::message::{Code, Right};

/// How long a peer has to acknowledge something before a later run of its own takes its place.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// Names a connection for as long as the daemon runs.
pub type SessionId = u64;

/// A connection.
#[derive(Debug)]
struct Session {
    link: Arc<Link>,
    caller: Caller,
    folder: Option<(String, Right)>,
}

#[derive(Debug, Default)]
struct Live {
    last: SessionId,
    sessions: BTreeMap<SessionId, Session>,
}

/// The connections that are open now.
#[derive(Debug, Default)]
pub struct Sessions {
    live: Mutex<Live>,
    left: Condvar,
}

impl Sessions {
    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection in.
    pub fn enter(&self, link: Arc<Link>, caller: Caller) -> SessionId {
        let mut live = self.live();
        live.last += 1;
        let id = live.last;
        live.sessions.insert(id, Session { link, caller, folder: None });
        id
    }

    /// Notes that connection `id` has `folder` open, unless `most` have it open already.
    #[must_use]
    pub fn open(&self, id: SessionId, folder: &str, right: Right, most: Option<u32>) -> bool {
        let mut live = self.live();
        let count = live.sessions.values().filter(|session| session.has_open(folder)).count();
        if most.is_some_and(|most| usize::try_from(most).is_ok_and(|most| count >= most)) {
            return false;
        }
        if let Some(session) = live.sessions.get_mut(&id) {
            session.folder = Some((folder.to_owned(), right));
        }
        true
    }

    /// Ends every other connection of `key` that may change `folder` and whose peer is not there any more, as far as can be
    /// told within a second; returns how many. A run that was cut off would otherwise go on changing the folder
    /// while the next one looks at it.
    ///
    /// What holds after: they are counted out, so that nothing more changes on their behalf, unless `patience` is over.
    pub fn supersede(&self, id: SessionId, key: &PublicKey, folder: &str, patience: Duration) -> usize {
        let asked: Vec<(SessionId, Arc<Link>, Asked)> = {
            let live = self.live();
            let theirs = live.sessions.iter().filter(|(other, session)| {
                let may_change = session.folder.as_ref().is_some_and(|(_, right)| *right > Right::Read);
                **other != id && session.caller.key == *key && may_change && session.has_open(folder)
            });
            theirs.map(|(other, session)| (*other, Arc::clone(&session.link), session.link.ask())).collect()
        };
        let until = monotonic() + SIGN_OF_LIFE;
        let silent = |(_, link, asked): &&(SessionId, Arc<Link>, Asked)| !link.has_answered(*asked);
        while asked.iter().any(|one| silent(&one)) && monotonic() < until {
            sleep(SIGN_OF_LIFE / 100);
        }
        let gone: Vec<SessionId> = asked
            .iter()
            .filter(silent)
            .map(|(other, link, _)| {
                link.close(Code::Timeout, "a later run of the same key took its place");
                *other
            })
            .collect();
        let remain = |live: &mut Live| gone.iter().any(|other| live.sessions.contains_key(other));
        drop(self.left.wait_timeout_while(self.live(), patience, remain));
        gone.len()
    }

    /// Counts a connection out; returns the folder that it had open.
    pub fn leave(&self, id: SessionId) -> Option<String> {
        let left = self.live().sessions.remove(&id);
        self.left.notify_all();
        left.and_then(|session| session.folder).map(|(folder, _)| folder)
    }

    /// The folder that connection `id` has open.
    #[must_use]
    pub fn folder(&self, id: SessionId) -> Option<String> {
        self.live().sessions.get(&id)?.folder.as_ref().map(|(folder, _)| folder.clone())
    }

    /// How many have `folder` open, and whether one of them may change it.
    #[must_use]
    pub fn visitors(&self, folder: &str) -> (u64, bool) {
        let live = self.live();
        let rights = live.sessions.values().filter_map(|session| session.folder.as_ref());
        let rights = rights.filter(|(name, _)| name == folder).map(|(_, right)| *right);
        rights.fold((0, false), |(count, writes), right| (count + 1, writes || right > Right::Read))
    }

    /// Whether a connection of `key` is open.
    #[must_use]
    pub fn has(&self, key: &PublicKey) -> bool {
        self.live().sessions.values().any(|session| session.caller.key == *key)
    }

    /// Ends every connection that `grants` does not allow any more; returns whose they were.
    pub fn recheck(&self, grants: &Grants) -> Vec<Caller> {
        self.end(Code::Denied, "this key, or its right to this folder, was revoked", |session| match &session
            .folder
        {
            None => !grants.admits(session.caller),
            Some((folder, right)) => grants.right(folder, session.caller) < Some(*right),
        })
    }

    /// Ends every connection that has `folder` open; returns whose they were.
    pub fn end_folder(&self, folder: &str, code: Code, text: &str) -> Vec<Caller> {
        self.end(code, text, |session| session.has_open(folder))
    }

    /// The connections are told one after the other, while others may come and go.
    fn end(&self, code: Code, text: &str, of: impl Fn(&Session) -> bool) -> Vec<Caller> {
        let ended: Vec<(Arc<Link>, Caller)> = {
            let live = self.live();
            let ended = live.sessions.values().filter(|session| of(session));
            ended.map(|session| (Arc::clone(&session.link), session.caller)).collect()
        };
        ended
            .into_iter()
            .map(|(link, caller)| {
                link.close(code, text);
                caller
            })
            .collect()
    }

    /// Waits until no connection is left; returns how many there still are after `patience`.
    #[must_use]
    pub fn drained(&self, patience: Duration) -> usize {
        let busy = |live: &mut Live| !live.sessions.is_empty();
        let waited = self.left.wait_timeout_while(self.live(), patience, busy);
        waited.unwrap_or_else(PoisonError::into_inner).0.sessions.len()
    }
}

impl Session {
    fn has_open(&self, folder: &str) -> bool {
        self.folder.as_ref().is_some_and(|(name, _)| name == folder)
    }
}
