//! Brings the content of a batch beside its targets: staged, verified, dressed and durable before any name changes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::disk::apply::ApplyError;
use crate::disk::attributes::Which;
use crate::disk::error::DiskError;
use crate::disk::kept::KeptAt;
use crate::disk::root::Root;
use crate::disk::stage::{Stage, StageError, Staged, Target, flush_all};
use crate::engine::planned::Planned;
use crate::engine::replica::Replica;
use crate::engine::tools::Tools;
use crate::model::entry::Content;
use crate::model::metadata::Attributes;
use crate::model::path::RelPath;
use crate::model::row::Loser;
use crate::plan::decide::{Settled, Source, Step};
use crate::store::error::StoreError;
use crate::store::versions::Versions;

/// Threads that copy and flush.
const THREADS: usize = 4;

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The name could not be changed.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The content could not be staged.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The catalogue of the peer cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The content is no longer what was seen.
    #[error("{0} changed after it was looked at; the next run takes it up")]
    Moved(RelPath),
    /// Nothing was staged, because the disk is full.
    #[error("the disk is full; the next run takes it up")]
    Full,
}

impl Failure {
    /// Returns the disk's refusal, if it is one.
    #[must_use]
    pub fn disk(&self) -> Option<&DiskError> {
        match self {
            Self::Apply(ApplyError::Disk(error))
            | Self::Stage(StageError::Disk(error))
            | Self::Disk(error) => Some(error),
            Self::Apply(_) | Self::Stage(_) | Self::Store(_) | Self::Moved(_) | Self::Full => None,
        }
    }
}

/// What was staged for one step.
#[derive(Debug, Default)]
pub struct Ready {
    /// The new content.
    pub content: Option<Staged>,
    /// The content of the peer that lost a conflict.
    pub loser: Option<Staged>,
}

/// Returns what each step of `planned` needs, in their order, staged on several threads and flushed.
pub fn prepare(stage: &Stage, ours: &Root, peer: &Root, planned: &[Planned]) -> Vec<Result<Ready, Failure>> {
    let next = AtomicUsize::new(0);
    let cells: Vec<Mutex<Option<Result<Ready, Failure>>>> =
        planned.iter().map(|_| Mutex::new(None)).collect();
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(step) = planned.get(at) else { return };
            let result = stage_one(stage, ours, peer, step);
            *cells[at].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        }
    };
    std::thread::scope(|scope| {
        (1..THREADS.min(planned.len())).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    let ready = cells.into_iter().map(|cell| {
        cell.into_inner().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(|| Ok(Ready::default()))
    });
    flush(ready.collect())
}

/// Makes all that was staged durable.
fn flush(mut ready: Vec<Result<Ready, Failure>>) -> Vec<Result<Ready, Failure>> {
    let (mut places, mut staged) = (Vec::new(), Vec::new());
    for (at, one) in ready.iter_mut().enumerate() {
        let Ok(one) = one else { continue };
        for (is_content, part) in [(true, one.content.take()), (false, one.loser.take())] {
            if let Some(part) = part {
                places.push((at, is_content));
                staged.push(part);
            }
        }
    }
    for ((at, is_content), flushed) in places.into_iter().zip(flush_all(staged, THREADS)) {
        match (flushed, &mut ready[at]) {
            (Ok(part), Ok(one)) if is_content => one.content = Some(part),
            (Ok(part), Ok(one)) => one.loser = Some(part),
            (Err(error), place) => *place = Err(error.into()),
            (Ok(_), Err(_)) => {}
        }
    }
    ready
}

fn stage_one(stage: &Stage, ours: &Root, peer: &Root, step: &Planned) -> Result<Ready, Failure> {
    let Some(settled) = &step.settled else {
        return Ok(Ready::default());
    };
    let mut ready = Ready::default();
    if let Some(lost) = &settled.lost
        && step.loser_is_theirs(lost)
    {
        let from = lost.path.as_ref().unwrap_or(&settled.path);
        ready.loser =
            staged(stage, &settled.path, Target::Taken, &lost.content, &lost.attributes, (peer, from))?;
    }
    let target = match &settled.step {
        Step::Create(_) if step.moved.is_none() => Target::Free,
        Step::Replace(_) => Target::Taken,
        Step::Adjust if step.is_shared() => Target::Taken,
        Step::Create(_) | Step::Nothing | Step::Adjust | Step::Remove => return Ok(ready),
    };
    if let (Some(live), Some(source)) = (settled.row.live(), source(settled)) {
        let from = match &source {
            Source::Peer(path) => (peer, path),
            Source::Ours(path) => (ours, path),
        };
        let content = &live.content.value;
        // A new directory is made in its place, so that what lies below it can be staged in it.
        if !(content.is_dir() && target == Target::Free) {
            ready.content = staged(stage, &settled.path, target, content, &live.attributes(), from)?;
        }
    }
    Ok(ready)
}

fn source(settled: &Settled) -> Option<Source> {
    match &settled.step {
        Step::Create(source) | Step::Replace(source) => Some(source.clone()),
        Step::Adjust => Some(Source::Ours(settled.path.clone())),
        Step::Nothing | Step::Remove => None,
    }
}

/// Stages `content` for `path`. A directory that lost a conflict has no content of its own to keep.
fn staged(
    stage: &Stage,
    path: &RelPath,
    target: Target,
    content: &Content,
    attributes: &Attributes,
    (root, from): (&Root, &RelPath),
) -> Result<Option<Staged>, Failure> {
    let staged = match content {
        Content::File { digest, size } => {
            let (file, _) = root.open_file(from).map_err(|error| {
                let is_other = error.is_vanished() || error.is_other_kind();
                if is_other { Failure::Moved(from.clone()) } else { error.into() }
            })?;
            match stage.file(path, target)?.fill_from(&file, Some((*digest, *size))) {
                Err(StageError::Mismatch { .. } | StageError::Busy { .. }) => {
                    return Err(Failure::Moved(from.clone()));
                }
                filled => filled?,
            }
        }
        Content::Dir | Content::Symlink(_) | Content::Fifo | Content::Socket | Content::Device { .. } => {
            stage.other(path, content)?
        }
    };
    let mut attributes = *attributes;
    if content.is_dir() {
        // It gets its own mode at the end, when all that lies below it has been made.
        attributes.mode |= 0o700;
    }
    staged.set_attributes(&attributes, Which::ALL)?;
    Ok(Some(staged))
}

/// Keeps a content that lost a conflict at `path` and that the peer has in its version store. Returns where it is
/// kept, `None` where the peer does not have it.
///
/// # Errors
/// It cannot be copied or kept.
pub fn fetch(tools: &Tools, peer: &Replica, path: &RelPath, lost: &Loser) -> Result<Option<KeptAt>, Failure> {
    let (Content::File { digest, .. }, Some(kept)) = (&lost.content, peer.kept()) else {
        return Ok(None);
    };
    for version in Versions::of(&peer.db).with_digest(*digest)? {
        let Some(root) = kept.batch(version.batch.as_bytes())? else {
            continue;
        };
        let from = (&root, &version.place);
        let found = staged(&tools.stage, path, Target::Taken, &lost.content, &lost.attributes, from);
        let staged = match found {
            Ok(Some(staged)) => staged,
            Ok(None) | Err(Failure::Moved(_)) => continue,
            Err(error) => return Err(error),
        };
        if let Some(flushed) = flush_all(vec![staged], 1).pop() {
            return Ok(Some(tools.apply.keep(flushed?)?));
        }
    }
    Ok(None)
}
