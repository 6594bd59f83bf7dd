//! A dry run counts what the run would do, as the run itself would count it.

use crate::engine::mirror::account::{Account, count};
use crate::engine::mirror::job::Job;
use crate::model::entry::Kind;
use crate::plan::compare::Action;

/// Counts a job that is not done.
pub(crate) fn job(account: &Account, job: &Job) {
    let mut report = account.report();
    match job.there {
        None => count(&mut report.created, job.stat.kind),
        Some(_) => report.updated += 1,
    }
    if job.writes && job.stat.kind == Kind::File {
        report.transferred += 1;
        report.bytes_transferred += job.stat.size;
        report.bytes_sent += job.stat.size;
        report.bytes_received += job.stat.size;
    }
}

/// Counts a directory that is not made.
pub(crate) fn directory(account: &Account, action: Action) {
    let mut report = account.report();
    match action {
        Action::Create => count(&mut report.created, Kind::Dir),
        Action::Replace => report.updated += 1,
        Action::Update | Action::Attributes | Action::Leave => {}
    }
}
