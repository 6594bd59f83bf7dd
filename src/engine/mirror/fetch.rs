//! Contents from the folder of a peer: what stands here already under another name is copied, the rest is fetched, many
//! at a time.

use std::sync::Arc;

use crate::disk::stage::{Staged, Target};
use crate::engine::far::placed::Placed;
use crate::engine::far::take::Need;
use crate::engine::mirror::directory::release;
use crate::engine::mirror::hand::Means;
use crate::engine::mirror::job::Job;
use crate::engine::mirror::site::Site;
use crate::engine::prepare::reused;
use crate::engine::tree::Tree;
use crate::model::entry::{Content, Digest, Kind};

/// Places that are read in the hope of the same bytes.
const PLACES_READ: usize = 2;

/// Returns the contents of `jobs`, staged. A job whose content is not to be had is told and let go.
pub(crate) fn fetch(site: &Site, means: &Means, jobs: Vec<Job>) -> Vec<(Job, Staged)> {
    let mut done = Vec::with_capacity(jobs.len());
    let (mut waiting, mut wants, mut from) = (Vec::new(), Vec::new(), None);
    for job in jobs {
        let Tree::Far(placed) = &job.source else { continue };
        let found = placed.file(&job.from).map_err(|error| site.account.source_problem(&job.from, &error));
        let (Ok((digest, size)), Some(inside)) = (found, placed.inside(&job.from)) else {
            release(site, job.dir);
            continue;
        };
        if let Some(staged) =
            job.there.is_none().then(|| reused_here(means, placed, &job, (digest, size))).flatten()
        {
            done.push((job, staged));
            continue;
        }
        wants.push((inside, need(means, &job, digest, size)));
        from = Some(Arc::clone(placed));
        waiting.push(job);
    }
    if let Some(placed) = from {
        match placed.far.fetch(&means.stage, wants) {
            Ok(results) => {
                for (job, result) in waiting.into_iter().zip(results) {
                    match result {
                        Ok(staged) => done.push((job, staged)),
                        Err(error) => {
                            site.account.take_problem(&job.from, &error);
                            release(site, job.dir);
                        }
                    }
                }
            }
            Err(error) => {
                site.account.fail(error);
                placed.far.give_up();
                waiting.into_iter().for_each(|job| release(site, job.dir));
            }
        }
    }
    let mut report = site.account.report();
    report.bytes_transferred += done.iter().map(|(_, staged)| staged.size()).sum::<u64>();
    report.transferred += u64::try_from(done.len()).unwrap_or(u64::MAX);
    drop(report);
    done
}

fn target(job: &Job) -> Target {
    if job.there.is_some() { Target::Taken } else { Target::Free }
}

/// Returns what is asked of the peer; the file that stands at the destination is what differences are told from.
fn need(means: &Means, job: &Job, digest: Digest, size: u64) -> Need {
    let basis = job
        .there
        .filter(|there| there.kind == Kind::File)
        .and_then(|_| means.root.open_file(&job.to).ok())
        .map(|(file, _)| file);
    Need { id: 0, path: job.to.clone(), target: target(job), digest, size, basis }
}

/// Returns the content copied from where the peer has, or had, the same and where the same path here may have it too.
fn reused_here(means: &Means, placed: &Placed, job: &Job, (digest, size): (Digest, u64)) -> Option<Staged> {
    // A memory that cannot be read is told where it is needed.
    let places = placed.far.old_places(digest).unwrap_or_default();
    let here = places.iter().filter_map(|place| placed.outside(place));
    let here = here.filter(|place| *place != job.to).take(PLACES_READ);
    reused(&means.stage, (&job.to, target(job)), &Content::File { digest, size }, &means.root, here)
}
