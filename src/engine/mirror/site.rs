//! The destination while a run works on it.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::disk::lister::Lister;
use crate::engine::mirror::account::Account;
use crate::engine::mirror::backup::Backup;
use crate::engine::mirror::courier::Courier;
use crate::engine::mirror::hand::{Hand, Means};
use crate::engine::report::Report;
use crate::engine::tree::Tree;
use crate::model::path::RelPath;

/// Directories whose names are flushed together.
const FLUSH_DIRS: usize = 256;
/// Threads that flush at once.
pub(crate) const FLUSH_THREADS: usize = 4;

/// The destination. Shared by all threads of a run.
pub(crate) struct Site {
    /// `None` where it does not exist and nothing is to be made.
    pub(crate) dest: Option<Tree>,
    /// `None` in a dry run.
    pub(crate) hand: Option<Hand>,
    pub(crate) backup: Option<Backup>,
    pub(crate) account: Account,
    unflushed: Mutex<BTreeSet<RelPath>>,
}

impl Site {
    pub(crate) fn new(dest: Option<Tree>, hand: Option<Hand>, backup: Option<Backup>) -> Self {
        Self { dest, hand, backup, account: Account::default(), unflushed: Mutex::default() }
    }

    /// Returns the destination as rules ask it.
    pub(crate) fn dest_lister(&self) -> Option<&dyn Lister> {
        self.dest.as_ref().map(Tree::as_lister)
    }

    /// Returns what changes the destination, if it is on this machine.
    pub(crate) fn means(&self) -> Option<&Means> {
        match &self.hand {
            Some(Hand::Here(means)) => Some(means),
            Some(Hand::There(_)) | None => None,
        }
    }

    /// Returns who carries changes to the destination, if it is at a peer.
    pub(crate) fn courier(&self) -> Option<&Courier> {
        match &self.hand {
            Some(Hand::There(courier)) => Some(courier),
            Some(Hand::Here(_)) | None => None,
        }
    }

    /// Returns the report of a run that is over. What held the destination is let go.
    pub(crate) fn into_report(self) -> Report {
        self.account.into_report()
    }

    /// Remembers that names in `dir` changed; they are made durable a few hundred directories at a time.
    pub(crate) fn changed(&self, dir: RelPath) {
        if self.means().is_none() {
            return;
        }
        let due = {
            let mut unflushed = self.unflushed.lock().unwrap_or_else(PoisonError::into_inner);
            unflushed.insert(dir);
            (unflushed.len() >= FLUSH_DIRS).then(|| std::mem::take(&mut *unflushed))
        };
        if let Some(due) = due {
            self.flush(due);
        }
    }

    /// Makes every name durable that was changed so far.
    pub(crate) fn flush_names(&self) {
        let due = std::mem::take(&mut *self.unflushed.lock().unwrap_or_else(PoisonError::into_inner));
        self.flush(due);
    }

    fn flush(&self, dirs: BTreeSet<RelPath>) {
        let dirs: Vec<RelPath> = dirs.into_iter().collect();
        if let Some(means) = self.means().filter(|_| !dirs.is_empty())
            && let Err(error) = means.apply.sync_dirs(&dirs, FLUSH_THREADS)
        {
            self.account.disk_problem(&RelPath::root(), &error);
        }
    }
}
