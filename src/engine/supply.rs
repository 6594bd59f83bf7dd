//! Contents of a peer whose root is on this machine.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::disk::attributes::Which;
use crate::disk::root::Root;
use crate::disk::stage::{Stage, Staged, Target, flush_all};
use crate::engine::prepare::{Failure, Supply, Want, copied};
use crate::engine::replica::Replica;
use crate::model::entry::Content;
use crate::model::path::RelPath;
use crate::model::row::Loser;
use crate::plan::decide::Source;
use crate::store::versions::Versions;

/// Threads that copy.
const THREADS: usize = 4;

impl Supply for Replica {
    fn stage(&self, stage: &Stage, ours: &Root, wants: &[Want<'_>]) -> Vec<Result<Staged, Failure>> {
        let peer = &*self.root;
        on_threads(wants, &|want| {
            let from = match &want.from {
                Source::Peer(path) => (peer, path),
                Source::Ours(path) => (ours, path),
            };
            copied(stage, want.path, want.target, want.content, from)
        })
    }

    fn lost(&self, stage: &Stage, path: &RelPath, lost: &Loser) -> Result<Option<Staged>, Failure> {
        let (Content::File { digest, .. }, Some(kept)) = (&lost.content, self.kept()) else {
            return Ok(None);
        };
        for version in Versions::of(&self.db).with_digest(*digest)? {
            let Some(root) = kept.batch(version.batch.as_bytes())? else {
                continue;
            };
            let staged = match copied(stage, path, Target::Taken, &lost.content, (&root, &version.place)) {
                Err(Failure::Moved(_)) => continue,
                staged => staged?,
            };
            staged.set_attributes(&lost.attributes, Which::ALL)?;
            return Ok(flush_all(vec![staged], 1).pop().transpose()?);
        }
        Ok(None)
    }
}

/// Returns what `work` makes of each of `wants`, in their order, on several threads.
pub fn on_threads(
    wants: &[Want<'_>],
    work: &(dyn Fn(&Want<'_>) -> Result<Staged, Failure> + Sync),
) -> Vec<Result<Staged, Failure>> {
    let next = AtomicUsize::new(0);
    let cells: Vec<Mutex<Option<Result<Staged, Failure>>>> = wants.iter().map(|_| Mutex::new(None)).collect();
    let run = || {
        while let Some((want, cell)) = {
            let at = next.fetch_add(1, Ordering::Relaxed);
            wants.get(at).zip(cells.get(at))
        } {
            *cell.lock().unwrap_or_else(PoisonError::into_inner) = Some(work(want));
        }
    };
    std::thread::scope(|scope| {
        (1..THREADS.min(wants.len())).for_each(|_| drop(scope.spawn(run)));
        run();
    });
    let results = cells.into_iter().map(|cell| cell.into_inner().unwrap_or_else(PoisonError::into_inner));
    // Every cell was filled: the threads ended when none was left.
    results
        .zip(wants)
        .map(|(result, want)| result.unwrap_or_else(|| Err(Failure::Moved(want.path.clone()))))
        .collect()
}
