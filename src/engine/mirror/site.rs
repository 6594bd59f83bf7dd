//! The destination while a run works on it, and what has come of the run so far.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::disk::apply::ApplyError;
use crate::disk::error::DiskError;
use crate::disk::lister::Lister;
use crate::disk::stage::StageError;
use crate::engine::mirror::backup::Backup;
use crate::engine::mirror::hand::Hand;
use crate::engine::report::{Report, Skipped, Tally};
use crate::engine::tree::Tree;
use crate::model::entry::Kind;
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
    report: Mutex<Report>,
    /// Something of the source could not be read: nothing may be taken for absent.
    source_failed: AtomicBool,
    /// The destination cannot take more.
    full: AtomicBool,
    unflushed: Mutex<BTreeSet<RelPath>>,
}

impl Site {
    pub(crate) fn new(dest: Option<Tree>, hand: Option<Hand>, backup: Option<Backup>) -> Self {
        Self {
            dest,
            hand,
            backup,
            report: Mutex::default(),
            source_failed: AtomicBool::new(false),
            full: AtomicBool::new(false),
            unflushed: Mutex::default(),
        }
    }

    /// Returns the destination as rules ask it.
    pub(crate) fn dest_lister(&self) -> Option<&dyn Lister> {
        self.dest.as_ref().map(Tree::as_lister)
    }

    /// Returns the report, to be added to.
    pub(crate) fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the report of a run that is over.
    pub(crate) fn into_report(self) -> Report {
        self.report.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the run cannot go on.
    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Whether something of the source is unknown.
    pub(crate) fn source_failed(&self) -> bool {
        self.source_failed.load(Ordering::Relaxed)
    }

    /// Notes a path that is left out by choice of kind; no failure.
    pub(crate) fn skip(&self, path: &RelPath, why: impl Display) {
        self.report().skipped.push(Skipped { path: path.clone(), why: why.to_string() });
    }

    /// Notes a path that could not be treated.
    pub(crate) fn problem(&self, path: &RelPath, why: impl Display) {
        self.skip(path, why);
        self.report().troubles.partial = true;
    }

    /// Notes a failure to read the source.
    pub(crate) fn source_problem(&self, path: &RelPath, error: &DiskError) {
        if error.is_vanished() {
            self.skip(path, format!("vanished: {error}"));
            self.report().troubles.vanished = true;
        } else {
            self.source_failed.store(true, Ordering::Relaxed);
            self.problem(path, error);
        }
    }

    /// Notes a failure at the destination. Where it has no room or cannot be written, the run ends.
    pub(crate) fn disk_problem(&self, path: &RelPath, error: &DiskError) {
        if error.is_no_space() || error.is_read_only() {
            self.full.store(true, Ordering::Relaxed);
            self.skip(path, error);
            self.report().troubles.disk = true;
        } else {
            self.problem(path, error);
        }
    }

    /// Notes a step that was not taken.
    pub(crate) fn apply_problem(&self, path: &RelPath, error: &ApplyError) {
        match error {
            ApplyError::Disk(error) => self.disk_problem(path, error),
            ApplyError::NotEmpty { .. } => self.problem(path, "cannot delete non-empty directory"),
            ApplyError::Changed { .. } | ApplyError::Taken { .. } => self.problem(path, error),
        }
    }

    /// Notes content that was not staged.
    pub(crate) fn stage_problem(&self, path: &RelPath, error: &StageError) {
        match error {
            StageError::Disk(error) => self.disk_problem(path, error),
            StageError::Source { .. } => {
                self.source_failed.store(true, Ordering::Relaxed);
                self.problem(path, error);
            }
            StageError::Mismatch { .. } | StageError::Busy { .. } => self.problem(path, error),
        }
    }

    /// Remembers that names in `dir` changed; they are made durable a few hundred directories at a time.
    pub(crate) fn changed(&self, dir: RelPath) {
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
        if let Some(hand) = self.hand.as_ref().filter(|_| !dirs.is_empty())
            && let Err(error) = hand.apply.sync_dirs(&dirs, FLUSH_THREADS)
        {
            self.disk_problem(&RelPath::root(), &error);
        }
    }
}

/// Counts an entry of `kind`.
pub(crate) fn count(tally: &mut Tally, kind: Kind) {
    let counter = match kind {
        Kind::File => &mut tally.files,
        Kind::Dir => &mut tally.dirs,
        Kind::Symlink => &mut tally.links,
        Kind::CharDevice | Kind::BlockDevice => &mut tally.devices,
        Kind::Fifo | Kind::Socket => &mut tally.specials,
    };
    *counter += 1;
}
