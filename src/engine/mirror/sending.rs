//! Jobs for a peer: what the source has is read here and told there.

use std::sync::Arc;

use crate::disk::error::{DiskError, Doing};
use crate::disk::hash::{HashError, hash_file};
use crate::disk::root::Root;
use crate::engine::far::offer::Seen;
use crate::engine::mirror::courier::{Counts, Courier, Made};
use crate::engine::mirror::directory::release;
use crate::engine::mirror::job::Job;
use crate::engine::mirror::site::Site;
use crate::engine::tree::Tree;
use crate::model::entry::{Content, Kind};

/// Has a job done by the peer. A file is read once to know its digest, and again if the peer asks for it.
pub(crate) fn send(site: &Site, courier: &Courier, mut job: Job) {
    let account = &site.account;
    if !job.writes {
        courier.dress(account, &job.to, (job.attributes, job.which), Counts::Updated);
    } else if let Some((content, file)) = content(site, &mut job) {
        let counts = if job.there.is_some() { Counts::Updated } else { Counts::Created(job.stat.kind) };
        let made = Made { content, attributes: job.attributes, which: job.which };
        courier.make(account, &job.to, made, counts, file);
        if let Some(dir) = &job.dir {
            dir.touch();
        }
    }
    release(site, job.dir);
}

/// Returns what the source has, and the file that has the bytes; `None` where it cannot be read, which was told.
fn content(site: &Site, job: &mut Job) -> Option<(Content, Option<Seen>)> {
    match (&job.source, job.stat.kind) {
        (Tree::Disk(root), Kind::File) => {
            let source = source(site, &Arc::<Root>::clone(root), job)?;
            Some((Content::File { digest: source.digest, size: source.size }, Some(source)))
        }
        _ => {
            let content = job.content().map_err(|error| site.account.source_problem(&job.from, &error));
            content.ok().map(|content| (content, None))
        }
    }
}

fn source(site: &Site, root: &Arc<Root>, job: &mut Job) -> Option<Seen> {
    let account = &site.account;
    match hash_file(root, &job.from, &job.stat) {
        Ok(hashed) => {
            // The time of the bytes that were read, should the file be newer than the listing.
            job.attributes.mtime = hashed.stat.attributes.mtime;
            let (digest, size) = (hashed.digest, hashed.stat.size);
            return Some(Seen { root: Arc::clone(root), path: job.from.clone(), digest, size });
        }
        Err(error @ HashError::Busy { .. }) => account.problem(&job.from, error),
        Err(HashError::Vanished { path }) => {
            account.source_problem(&path, &DiskError::absent(Doing::OpenFile, &path));
        }
        Err(HashError::Disk(error)) => account.source_problem(&job.from, &error),
    }
    None
}
