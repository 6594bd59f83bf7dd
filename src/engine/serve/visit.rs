//! What one connection has done in its folder so far, and whose turn it is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::settings::Mode;
use crate::engine::host::Host;
use crate::engine::report::LeftOut;
use crate::engine::serve::error::ServeError;
use crate::model::key::PublicKey;
use crate::model::version::ReplicaId;
use crate::transport::message::{Code, Refuse, Right};

/// How far ahead of its turn a batch may be.
const AHEAD_MAX: u64 = 64;
/// How long a batch waits for the ones before it.
const PATIENCE: Duration = Duration::from_secs(600);

/// One connection to one folder.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) host: Arc<Host>,
    /// What it may do.
    pub(crate) right: Right,
    /// Whose it is.
    pub(crate) guest: PublicKey,
    /// The same for people.
    pub(crate) by: String,
    /// Its replica, if it is another member.
    pub(crate) member: Option<ReplicaId>,
    /// The sequence when the folder was opened for it.
    pub(crate) opened: u64,
    /// The connection has ended: nobody waits for anything any more.
    pub(crate) ended: AtomicBool,
    doings: Mutex<Doings>,
    turned: Condvar,
}

/// What a connection did.
#[derive(Debug, Default)]
pub(crate) struct Doings {
    /// Numbers of the sequence that it took.
    pub(crate) advanced: u64,
    /// Entries that it deleted.
    pub(crate) deleted: u64,
    /// Entries that it made.
    pub(crate) created: u64,
    /// Files that it gave set-id bits which are not taken from it.
    pub(crate) left_out: LeftOut,
    /// The batch whose turn it is.
    turn: u64,
    /// Batches that are being worked on.
    at_work: u64,
    /// A batch came to no end: none after it takes effect.
    broken: bool,
}

impl Visit {
    /// Returns the visit of `guest`, called `by`, to `host`, of which the sequence is `opened`.
    pub(crate) fn new(host: Arc<Host>, right: Right, guest: PublicKey, by: String, opened: u64) -> Self {
        let member = None;
        Self {
            host,
            right,
            guest,
            by,
            member,
            opened,
            ended: AtomicBool::new(false),
            doings: Mutex::default(),
            turned: Condvar::new(),
        }
    }

    /// Returns the same as a visit of the member that keeps this replica.
    pub(crate) fn with_member(self, member: Option<ReplicaId>) -> Self {
        Self { member, ..self }
    }

    pub(crate) fn doings(&self) -> MutexGuard<'_, Doings> {
        self.doings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets no further batch take effect; one that is at work comes to its end. Nobody waits for anything any more.
    pub(crate) fn end(&self) {
        self.doings().broken = true;
        self.turned.notify_all();
        self.ended.store(true, Ordering::Release);
        self.host.wake();
    }

    /// Why nothing may be changed here, if so.
    pub(crate) fn no_changes(&self) -> Option<Refuse> {
        if self.right < Right::Append {
            let text = format!("the folder {} may only be read", self.host.name);
            return Some(Refuse { code: Code::Denied, text });
        }
        takes_changes(&self.host)
    }

    /// Takes the place of batch `number` in the order of batches; it is held until it is dropped.
    pub(crate) fn enter(&self, number: u64) -> Result<Ticket<'_>, ServeError> {
        let mut doings = self.doings();
        if number < doings.turn || number - doings.turn > AHEAD_MAX {
            return Err(ServeError::Protocol("a batch out of order"));
        }
        doings.at_work += 1;
        Ok(Ticket { visit: self, number, done: false })
    }
}

/// Why the mode of the folder takes no changes from guests, if so.
pub(crate) fn takes_changes(host: &Host) -> Option<Refuse> {
    let name = &host.name;
    match host.settings.mode {
        Mode::TwoWay | Mode::Receive => None,
        Mode::Primary if host.settings.is_primary => None,
        Mode::Primary => {
            let text = format!("another node is the primary of the folder {name}; changes go there");
            Some(Refuse { code: Code::NotPrimary, text })
        }
        Mode::Send => {
            let text = format!("the folder {name} takes no changes here: its mode is send");
            Some(Refuse { code: Code::Denied, text })
        }
    }
}

/// The place of a batch in the order of batches.
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    visit: &'a Visit,
    number: u64,
    done: bool,
}

impl Ticket<'_> {
    /// Waits until all batches before this one are done.
    pub(crate) fn wait(&self) -> Result<(), ServeError> {
        let number = self.number;
        let early = |doings: &mut Doings| doings.turn < number && !doings.broken;
        let waited = self.visit.turned.wait_timeout_while(self.visit.doings(), PATIENCE, early);
        let (doings, result) = waited.unwrap_or_else(PoisonError::into_inner);
        match doings.turn {
            _ if doings.broken => Err(ServeError::Forerunner),
            turn if turn == number => Ok(()),
            _ if result.timed_out() => Err(ServeError::Protocol("a batch whose forerunner never came")),
            _ => Err(ServeError::Protocol("the same batch twice")),
        }
    }

    /// Says that the batch is done, so that the next may be.
    pub(crate) fn pass(mut self) {
        self.done = true;
        self.visit.doings().turn += 1;
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut doings = self.visit.doings();
        doings.at_work -= 1;
        doings.broken |= !self.done;
        drop(doings);
        self.visit.turned.notify_all();
    }
}
