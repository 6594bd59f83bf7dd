//! Brings the content of a batch beside its targets: staged, verified, dressed and durable before any name changes.

use crate::disk::apply::ApplyError;
use crate::disk::attributes::Which;
use crate::disk::error::DiskError;
use crate::disk::root::Root;
use crate::disk::stage::{Stage, StageError, Staged, Target, flush_all};
use crate::engine::planned::Planned;
use crate::model::entry::Content;
use crate::model::metadata::Attributes;
use crate::model::path::RelPath;
use crate::model::row::Loser;
use crate::plan::decide::{Settled, Source, Step};
use crate::store::error::StoreError;

/// Threads that flush.
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
    /// The peer did not give it.
    #[error("{0} was not to be had from the peer; the next run takes it up")]
    Unsupplied(RelPath),
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
            Self::Apply(_)
            | Self::Stage(_)
            | Self::Store(_)
            | Self::Moved(_)
            | Self::Unsupplied(_)
            | Self::Full => None,
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

/// A content that a step needs beside its target.
#[derive(Debug)]
pub struct Want<'a> {
    /// The place of its step in the batch.
    pub step: usize,
    /// Whether it is what lost a conflict, and not what will stand.
    pub lost: bool,
    /// Its target.
    pub path: &'a RelPath,
    /// Whether something stands there.
    pub target: Target,
    /// The content.
    pub content: &'a Content,
    /// How it is dressed.
    pub attributes: Attributes,
    /// Where it is to be had.
    pub from: Source,
}

/// Where contents come from.
pub trait Supply {
    /// Returns what is wanted, in that order, staged in `stage`, neither dressed nor flushed. `ours` is the root that
    /// shall have it.
    fn stage(&self, stage: &Stage, ours: &Root, wants: &[Want<'_>]) -> Vec<Result<Staged, Failure>>;

    /// Returns a content that lost a conflict at `path` and that the peer has kept, staged, dressed and flushed; `None`
    /// where it has none.
    ///
    /// # Errors
    /// It cannot be had or staged.
    fn lost(&self, stage: &Stage, path: &RelPath, lost: &Loser) -> Result<Option<Staged>, Failure>;

    /// Whether the other side may be out of reach when no run is going on.
    fn is_away(&self) -> bool {
        false
    }
}

/// Returns one content, staged, dressed and flushed.
///
/// # Errors
/// It cannot be had or staged.
pub fn fetched(supply: &dyn Supply, stage: &Stage, ours: &Root, want: &Want<'_>) -> Result<Staged, Failure> {
    let absent = || Failure::Unsupplied(want.path.clone());
    let staged = supply.stage(stage, ours, std::slice::from_ref(want)).pop().ok_or_else(absent)??;
    dress(&staged, &want.attributes)?;
    Ok(flush_all(vec![staged], 1).pop().ok_or_else(absent)??)
}

/// Returns what each step of `planned` needs, in their order, staged and flushed.
pub fn prepare(
    stage: &Stage,
    ours: &Root,
    supply: &dyn Supply,
    planned: &[Planned],
) -> Vec<Result<Ready, Failure>> {
    let wants: Vec<Want<'_>> = planned.iter().enumerate().flat_map(|(at, step)| wants(at, step)).collect();
    let mut ready: Vec<Result<Ready, Failure>> = planned.iter().map(|_| Ok(Ready::default())).collect();
    let (mut places, mut whole) = (Vec::new(), Vec::new());
    for (want, staged) in wants.iter().zip(supply.stage(stage, ours, &wants)) {
        match staged.and_then(|staged| dress(&staged, &want.attributes).map(|()| staged)) {
            Ok(staged) => {
                places.push(want);
                whole.push(staged);
            }
            Err(error) => ready[want.step] = Err(error),
        }
    }
    for (want, flushed) in places.into_iter().zip(flush_all(whole, THREADS)) {
        match (flushed, &mut ready[want.step]) {
            (Ok(part), Ok(one)) if want.lost => one.loser = Some(part),
            (Ok(part), Ok(one)) => one.content = Some(part),
            (Err(error), place) => *place = Err(error.into()),
            (Ok(_), Err(_)) => {}
        }
    }
    ready
}

/// What the step at place `at` needs. A directory that lost a conflict has no content of its own to keep.
pub(crate) fn wants(at: usize, step: &Planned) -> impl Iterator<Item = Want<'_>> {
    let settled = step.settled.as_ref();
    let lost = settled.and_then(|settled| {
        let lost = settled.lost.as_ref().filter(|lost| step.loser_is_theirs(lost))?;
        let from = Source::Peer(lost.path.as_ref().unwrap_or(&settled.path).clone());
        let (path, content) = (&settled.path, &lost.content);
        let attributes = worn(content, lost.attributes);
        Some(Want { step: at, lost: true, path, target: Target::Taken, content, attributes, from })
    });
    let content = settled.and_then(|settled| {
        let (target, from) = source(step, settled)?;
        let live = settled.row.live()?;
        let (path, content) = (&settled.path, &live.content.value);
        let attributes = worn(content, live.attributes());
        // A new directory is made in its place, so that what lies below it can be staged in it.
        let is_new_dir = content.is_dir() && target == Target::Free;
        (!is_new_dir).then_some(Want { step: at, lost: false, path, target, content, attributes, from })
    });
    lost.into_iter().chain(content)
}

/// The attributes that a staged content gets. A directory gets its own mode at the end, when all that lies below it
/// has been made.
fn worn(content: &Content, mut attributes: Attributes) -> Attributes {
    if content.is_dir() {
        attributes.mode |= 0o700;
    }
    attributes
}

fn source(step: &Planned, settled: &Settled) -> Option<(Target, Source)> {
    match &settled.step {
        Step::Create(source) if step.moved.is_none() => Some((Target::Free, source.clone())),
        Step::Replace(source) => Some((Target::Taken, source.clone())),
        Step::Adjust if step.is_shared() => Some((Target::Taken, Source::Ours(settled.path.clone()))),
        Step::Create(_) | Step::Nothing | Step::Adjust | Step::Remove => None,
    }
}

fn dress(staged: &Staged, attributes: &Attributes) -> Result<(), Failure> {
    staged.set_attributes(attributes, Which::ALL)?;
    Ok(())
}

/// Returns `content` staged for `path`; the bytes of a file are those at `from` in `root`.
///
/// # Errors
/// The file is not what was expected, or cannot be read or written.
pub fn copied(
    stage: &Stage,
    path: &RelPath,
    target: Target,
    content: &Content,
    (root, from): (&Root, &RelPath),
) -> Result<Staged, Failure> {
    match content {
        Content::File { digest, size } => {
            let (file, _) = root.open_file(from).map_err(|error| {
                let is_other = error.is_vanished() || error.is_other_kind();
                if is_other { Failure::Moved(from.clone()) } else { error.into() }
            })?;
            match stage.file(path, target)?.fill_from(&file, Some((*digest, *size))) {
                Err(StageError::Mismatch { .. } | StageError::Busy { .. }) => {
                    Err(Failure::Moved(from.clone()))
                }
                filled => Ok(filled?),
            }
        }
        Content::Dir | Content::Symlink(_) | Content::Fifo | Content::Socket | Content::Device { .. } => {
            Ok(stage.other(path, content)?)
        }
    }
}

/// Returns the file `content` staged for `path`, copied from the first of `places` in `root` that holds it; `None` where
/// none does. A place that holds something else of that size costs a read, and the next is tried.
pub fn reused(
    stage: &Stage,
    (path, target): (&RelPath, Target),
    content: &Content,
    root: &Root,
    places: impl Iterator<Item = RelPath>,
) -> Option<Staged> {
    let may_hold =
        |place: &RelPath| matches!(root.stat(place), Ok(Some(stat)) if stat.size == content.size());
    places
        .filter(|place| place != path && may_hold(place))
        .find_map(|place| copied(stage, path, target, content, (root, &place)).ok())
}
