//! The threads that copy: content is staged, dressed and flushed in batches, and gets its names after that.

use std::sync::mpsc::Receiver;
use std::sync::{Mutex, PoisonError};

use crate::disk::apply::{ApplyError, Fate};
use crate::disk::attributes::Which;
use crate::disk::stage::{StageError, Staged, Target, flush_all};
use crate::engine::mirror::account::count;
use crate::engine::mirror::directory::release;
use crate::engine::mirror::fetch::fetch;
use crate::engine::mirror::hand::{Hand, Means};
use crate::engine::mirror::job::Job;
use crate::engine::mirror::rehearsal;
use crate::engine::mirror::sending::send;
use crate::engine::mirror::site::{FLUSH_THREADS, Site};
use crate::engine::tree::Tree;
use crate::model::entry::Kind;

/// Entries that are flushed together; each holds a descriptor.
const BATCH_ENTRIES: usize = 128;
/// Bytes that are flushed together.
const BATCH_BYTES: u64 = 16 * 1024 * 1024;
/// How often a file that changes under the reader is copied again.
const TRIES: usize = 3;

/// What one thread has staged and not yet published.
#[derive(Default)]
struct Batch {
    entries: Vec<(Job, Staged)>,
    /// What is fetched together.
    wanted: Vec<Job>,
    bytes: u64,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.entries.len() + self.wanted.len() >= BATCH_ENTRIES || self.bytes >= BATCH_BYTES
    }
}

/// Does jobs until there are no more.
pub(crate) fn work(site: &Site, jobs: &Mutex<Receiver<Job>>) {
    let Some(hand) = &site.hand else { return };
    let mut batch = Batch::default();
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { break };
        match hand {
            _ if site.account.is_full() => release(site, job.dir),
            Hand::There(courier) => send(site, courier, job),
            Hand::Here(means) => {
                take(site, means, &mut batch, job);
                if batch.is_full() {
                    publish(site, means, std::mem::take(&mut batch));
                }
            }
        }
    }
    if let Hand::Here(means) = hand {
        publish(site, means, batch);
    }
}

/// Does one job at once.
pub(crate) fn work_alone(site: &Site, job: Job) {
    match &site.hand {
        None => rehearsal::job(&site.account, &job),
        Some(Hand::There(courier)) => send(site, courier, job),
        Some(Hand::Here(means)) => {
            let mut batch = Batch::default();
            take(site, means, &mut batch, job);
            publish(site, means, batch);
        }
    }
}

fn take(site: &Site, hand: &Means, batch: &mut Batch, mut job: Job) {
    if job.writes && job.stat.kind == Kind::File && matches!(job.source, Tree::Far(_)) {
        batch.bytes += job.stat.size;
        return batch.wanted.push(job);
    }
    let staged = if job.writes { stage(site, hand, &mut job) } else { mend(site, hand, &mut job) };
    match staged {
        Some(staged) => {
            batch.bytes += staged.size();
            batch.entries.push((job, staged));
        }
        None => release(site, job.dir),
    }
}

/// Returns the content of a job, staged and dressed; `None` where that failed and was told.
fn stage(site: &Site, hand: &Means, job: &mut Job) -> Option<Staged> {
    let staged = match job.stat.kind {
        Kind::File => stage_file(site, hand, job)?,
        Kind::Dir | Kind::Symlink | Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => {
            let content = match job.content() {
                Ok(content) => content,
                Err(error) => {
                    site.account.source_problem(&job.from, &error);
                    return None;
                }
            };
            match hand.stage.other(&job.to, &content) {
                Ok(staged) => staged,
                Err(error) => {
                    site.account.disk_problem(&job.to, &error);
                    return None;
                }
            }
        }
    };
    dressed(site, job, staged)
}

/// Sets the attributes of a staged entry.
fn dressed(site: &Site, job: &Job, staged: Staged) -> Option<Staged> {
    match staged.set_attributes(&job.attributes, job.which) {
        // Owners that may not be set are left, as rsync does.
        Ok(_refused) => Some(staged),
        Err(error) => {
            site.account.disk_problem(&job.to, &error);
            None
        }
    }
}

fn stage_file(site: &Site, hand: &Means, job: &mut Job) -> Option<Staged> {
    let target = if job.there.is_some() { Target::Taken } else { Target::Free };
    let mut tries = TRIES;
    loop {
        tries -= 1;
        let (file, stat) = match job.source.open_file(&job.from) {
            Ok(open) => open,
            Err(error) => {
                site.account.source_problem(&job.from, &error);
                return None;
            }
        };
        let filled = hand.stage.file(&job.to, target).map_err(StageError::Disk);
        match filled.and_then(|blank| blank.fill_from(&file, None)) {
            Ok(staged) => {
                // The time of the bytes that were read, should the file be newer than the listing.
                job.attributes.mtime = stat.attributes.mtime;
                let mut report = site.account.report();
                report.bytes_sent += staged.size();
                report.bytes_received += staged.size();
                report.bytes_transferred += staged.size();
                report.transferred += 1;
                return Some(staged);
            }
            Err(StageError::Busy { .. }) if tries > 0 => {}
            Err(error) => {
                site.account.stage_problem(&job.from, &error);
                return None;
            }
        }
    }
}

/// Sets attributes where the content stays. A file that has other links gets a copy of its own first, so that a name
/// outside the tree keeps its mode and owner: that copy is returned.
fn mend(site: &Site, hand: &Means, job: &mut Job) -> Option<Staged> {
    let there = job.there?;
    if there.kind == Kind::File && there.links > 1 {
        let which = job.which;
        let wanted = job.attributes;
        job.attributes = there.attributes;
        if which.mode {
            job.attributes.mode = wanted.mode;
        }
        if which.owner {
            job.attributes.owner.uid = wanted.owner.uid;
        }
        if which.group {
            job.attributes.owner.gid = wanted.owner.gid;
        }
        if which.mtime {
            job.attributes.mtime = wanted.mtime;
        }
        job.which = Which::ALL;
        let copied = hand
            .root
            .open_file(&job.to)
            .map_err(StageError::Disk)
            .and_then(|(file, _)| hand.stage.file(&job.to, Target::Taken)?.fill_from(&file, None));
        return match copied {
            Ok(staged) => dressed(site, job, staged),
            Err(error) => {
                site.account.stage_problem(&job.to, &error);
                None
            }
        };
    }
    match hand.apply.set_attributes(&job.to, &job.attributes, job.which, &there) {
        Ok(_refused) => site.account.report().updated += 1,
        Err(error) => site.account.apply_problem(&job.to, &error),
    }
    None
}

/// Makes a batch durable and gives its entries their names.
fn publish(site: &Site, hand: &Means, batch: Batch) {
    let mut entries = batch.entries;
    entries.extend(fetch(site, hand, batch.wanted).into_iter().filter_map(|(job, staged)| {
        let staged = dressed(site, &job, staged);
        staged.map(|staged| (job, staged))
    }));
    let (jobs, staged): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
    for (job, flushed) in jobs.into_iter().zip(flush_all(staged, FLUSH_THREADS)) {
        let Job { to, there, dir, stat, .. } = job;
        let published = flushed.map_err(ApplyError::Disk).and_then(|staged| match there {
            None => hand.apply.publish_new(staged).map(drop),
            Some(there) => {
                if let Some(backup) = &site.backup {
                    backup.copy(hand, &to, &there)?.into_iter().for_each(|dir| site.changed(dir));
                }
                hand.apply.replace(staged, &there, Fate::Discard).map(drop)
            }
        });
        match published {
            Ok(()) => {
                let mut report = site.account.report();
                match there {
                    None => count(&mut report.created, stat.kind),
                    Some(_) => report.updated += 1,
                }
            }
            Err(error) => site.account.apply_problem(&to, &error),
        }
        match &dir {
            Some(dir) => dir.touch(),
            None => site.changed(to.parent().unwrap_or_default()),
        }
        release(site, dir);
    }
}
