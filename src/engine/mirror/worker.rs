//! The threads that copy: content is staged, dressed and flushed in batches, and gets its names after that.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use crate::disk::apply::{ApplyError, Fate};
use crate::disk::attributes::Which;
use crate::disk::error::DiskError;
use crate::disk::stage::{StageError, Staged, Target, flush_all};
use crate::engine::mirror::directory::{Directory, release};
use crate::engine::mirror::hand::Hand;
use crate::engine::mirror::site::{FLUSH_THREADS, Site, count};
use crate::engine::tree::Tree;
use crate::model::entry::{Content, Kind};
use crate::model::metadata::{Attributes, Stat};
use crate::model::path::RelPath;

/// Entries that are flushed together; each holds a descriptor.
const BATCH_ENTRIES: usize = 128;
/// Bytes that are flushed together.
const BATCH_BYTES: u64 = 16 * 1024 * 1024;
/// How often a file that changes under the reader is copied again.
const TRIES: usize = 3;

/// One path that is not a directory, decided.
pub(crate) struct Job {
    pub(crate) source: Tree,
    pub(crate) from: RelPath,
    pub(crate) to: RelPath,
    pub(crate) stat: Stat,
    pub(crate) attributes: Attributes,
    pub(crate) which: Which,
    /// What stands at the destination.
    pub(crate) there: Option<Stat>,
    /// Whether content is written; else attributes alone.
    pub(crate) writes: bool,
    pub(crate) dir: Option<Arc<Directory>>,
}

/// What one thread has staged and not yet published.
#[derive(Default)]
struct Batch {
    entries: Vec<(Job, Staged)>,
    bytes: u64,
}

/// Does jobs until there are no more.
pub(crate) fn work(site: &Site, jobs: &Mutex<Receiver<Job>>) {
    let Some(hand) = &site.hand else { return };
    let mut batch = Batch::default();
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { break };
        if site.is_full() {
            release(site, job.dir);
            continue;
        }
        take(site, hand, &mut batch, job);
        if batch.entries.len() >= BATCH_ENTRIES || batch.bytes >= BATCH_BYTES {
            publish(site, hand, std::mem::take(&mut batch));
        }
    }
    publish(site, hand, batch);
}

/// Does one job at once.
pub(crate) fn work_alone(site: &Site, job: Job) {
    let Some(hand) = &site.hand else {
        return release(site, job.dir);
    };
    let mut batch = Batch::default();
    take(site, hand, &mut batch, job);
    publish(site, hand, batch);
}

fn take(site: &Site, hand: &Hand, batch: &mut Batch, mut job: Job) {
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
fn stage(site: &Site, hand: &Hand, job: &mut Job) -> Option<Staged> {
    let staged = match job.stat.kind {
        Kind::File => stage_file(site, hand, job)?,
        kind @ (Kind::Dir
        | Kind::Symlink
        | Kind::Fifo
        | Kind::Socket
        | Kind::CharDevice
        | Kind::BlockDevice) => {
            let content = match other_content(job, kind) {
                Ok(content) => content,
                Err(error) => {
                    site.source_problem(&job.from, &error);
                    return None;
                }
            };
            match hand.stage.other(&job.to, &content) {
                Ok(staged) => staged,
                Err(error) => {
                    site.disk_problem(&job.to, &error);
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
            site.disk_problem(&job.to, &error);
            None
        }
    }
}

fn stage_file(site: &Site, hand: &Hand, job: &mut Job) -> Option<Staged> {
    let target = if job.there.is_some() { Target::Taken } else { Target::Free };
    let mut tries = TRIES;
    loop {
        tries -= 1;
        let Tree::Disk(root) = &job.source;
        let (file, stat) = match root.open_file(&job.from) {
            Ok(open) => open,
            Err(error) => {
                site.source_problem(&job.from, &error);
                return None;
            }
        };
        let filled = hand.stage.file(&job.to, target).map_err(StageError::Disk);
        match filled.and_then(|blank| blank.fill_from(&file, None)) {
            Ok(staged) => {
                // The time of the bytes that were read, should the file be newer than the listing.
                job.attributes.mtime = stat.attributes.mtime;
                let mut report = site.report();
                report.bytes_sent += staged.size();
                report.bytes_received += staged.size();
                report.bytes_transferred += staged.size();
                report.transferred += 1;
                return Some(staged);
            }
            Err(StageError::Busy { .. }) if tries > 0 => {}
            Err(error) => {
                site.stage_problem(&job.from, &error);
                return None;
            }
        }
    }
}

fn other_content(job: &Job, kind: Kind) -> Result<Content, DiskError> {
    Ok(match kind {
        Kind::Symlink => Content::Symlink(job.source.read_link(&job.from)?),
        Kind::Fifo => Content::Fifo,
        Kind::Socket => Content::Socket,
        Kind::CharDevice | Kind::BlockDevice => Content::Device { kind, rdev: job.stat.rdev },
        // Files are staged with their bytes; directories are no jobs.
        Kind::File | Kind::Dir => Content::Dir,
    })
}

/// Sets attributes where the content stays. A file that has other links gets a copy of its own first, so that a name
/// outside the tree keeps its mode and owner: that copy is returned.
fn mend(site: &Site, hand: &Hand, job: &mut Job) -> Option<Staged> {
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
                site.stage_problem(&job.to, &error);
                None
            }
        };
    }
    match hand.apply.set_attributes(&job.to, &job.attributes, job.which, &there) {
        Ok(_refused) => site.report().updated += 1,
        Err(error) => site.apply_problem(&job.to, &error),
    }
    None
}

/// Makes a batch durable and gives its entries their names.
fn publish(site: &Site, hand: &Hand, batch: Batch) {
    let (jobs, staged): (Vec<_>, Vec<_>) = batch.entries.into_iter().unzip();
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
                let mut report = site.report();
                match there {
                    None => count(&mut report.created, stat.kind),
                    Some(_) => report.updated += 1,
                }
            }
            Err(error) => site.apply_problem(&to, &error),
        }
        match &dir {
            Some(dir) => dir.touch(),
            None => site.changed(to.parent().unwrap_or_default()),
        }
        release(site, dir);
    }
}
