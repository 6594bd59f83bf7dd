//! What has come of a run so far: the report, and what forbids to go on.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::disk::apply::ApplyError;
use crate::disk::error::DiskError;
use crate::disk::stage::StageError;
use crate::engine::far::error::FarError;
use crate::engine::far::take::TakeError;
use crate::engine::report::{Report, Skipped, Tally};
use crate::model::entry::Kind;
use crate::model::heard::heard;
use crate::model::path::RelPath;
use crate::transport::message::{Code, Refuse};

/// What has come of a run. Shared by all its threads.
#[derive(Default)]
pub(crate) struct Account {
    report: Mutex<Report>,
    /// Something of the source could not be read: nothing may be taken for absent.
    source_failed: AtomicBool,
    /// The destination cannot take more.
    full: AtomicBool,
    /// Why the peer cannot be worked with any more.
    failure: Mutex<Option<FarError>>,
}

impl Account {
    /// Returns the report, to be added to.
    pub(crate) fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the report of a run that is over.
    pub(crate) fn into_report(self) -> Report {
        self.report.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the peer cannot be worked with any more: the run ends.
    pub(crate) fn fail(&self, error: FarError) {
        self.full.store(true, Ordering::Relaxed);
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// Returns why the run ended, if the peer failed.
    pub(crate) fn failure(&self) -> Option<FarError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
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

    /// Notes a file that loses its set-id bits.
    pub(crate) fn leave_out(&self, path: &RelPath) {
        self.report().untaken.add(path);
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

    /// Notes that a part of the source is unknown.
    pub(crate) fn unread(&self, path: &RelPath, why: impl Display) {
        self.source_failed.store(true, Ordering::Relaxed);
        self.problem(path, why);
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

    /// Notes content of a peer that was not to be had.
    pub(crate) fn take_problem(&self, path: &RelPath, error: &TakeError) {
        match error {
            TakeError::Stage(error) => self.stage_problem(path, error),
            TakeError::Void { .. } | TakeError::Broken(_) => self.problem(path, error),
        }
    }

    /// Notes a step that the peer did not take. Where it has no room or cannot write, the run ends.
    pub(crate) fn refusal(&self, path: &RelPath, peer: &str, refuse: &Refuse) {
        let why = format!("{peer} refuses: {}", heard(&refuse.text));
        let quota = refuse.code == Code::Quota;
        if quota || refuse.code == Code::Disk {
            self.full.store(true, Ordering::Relaxed);
            self.skip(path, why);
            let mut report = self.report();
            report.troubles.quota |= quota;
            report.troubles.disk |= !quota;
        } else {
            self.problem(path, why);
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
