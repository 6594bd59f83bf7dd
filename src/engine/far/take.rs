//! Takes contents from a peer, whole or by what is new in them, and believes none of it before the digest agrees.

use std::fs::File;
use std::sync::Arc;

use crate::delta::compress::Decompressor;
use crate::disk::draft::Draft;
use crate::disk::stage::{Stage, StageError, Staged, Target};
use crate::engine::far::breach::{Breach, Broken};
use crate::engine::far::inflow::{Inflow, Stop};
use crate::engine::far::ladder::{Climb, climb};
use crate::engine::prepare::Failure;
use crate::model::entry::Digest;
use crate::model::path::RelPath;
use crate::transport::channel::Channel;
use crate::transport::message::{BLOCK_BYTES_MAX, ITEMS_MAX, Message};

/// From this size on it is worth to look at what is new in a content.
const LADDER_BYTES_MIN: u64 = 64 << 10;
/// Up to this size the chunks of a basis are held; and an outline fits in a message.
const LADDER_BYTES_MAX: u64 = 32 << 30;
/// One request asks for about so much, unless one content is more.
const REQUEST_BYTES: u64 = 64 << 20;
/// From this size on the room is taken before a content is asked for.
const AHEAD_BYTES: u64 = 1 << 20;

/// A content that is wanted.
#[derive(Debug)]
pub struct Need {
    /// Its number in this conversation.
    pub id: u32,
    /// For which path.
    pub path: RelPath,
    /// Whether something stands there.
    pub target: Target,
    /// What it is.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// A file here that resembles it.
    pub basis: Option<File>,
}

/// Why a content was not taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TakeError {
    /// The peer cannot give it any more as it was listed.
    #[error("{path} changed on the other side, or cannot be read there")]
    Void {
        /// Its path.
        path: RelPath,
    },
    /// It cannot be staged, or is not what was announced.
    #[error(transparent)]
    Stage(#[from] Arc<StageError>),
    /// The conversation ended before.
    #[error(transparent)]
    Broken(#[from] Arc<Broken>),
}

impl TakeError {
    /// Returns what it means for the step that wanted the content for `path`.
    pub(crate) fn failure(self, path: &RelPath) -> Failure {
        match self {
            Self::Stage(error) => {
                Arc::into_inner(error).map_or_else(|| Failure::Unsupplied(path.clone()), Failure::Stage)
            }
            Self::Void { .. } => Failure::Moved(path.clone()),
            Self::Broken(_) => Failure::Unsupplied(path.clone()),
        }
    }
}

impl From<StageError> for TakeError {
    fn from(error: StageError) -> Self {
        Self::Stage(Arc::new(error))
    }
}

/// Returns what is needed, in that order, staged in `stage`, verified, neither dressed nor flushed. It comes from the
/// giver at the other end of `channel`, to whom nothing is said at the end: neither [`Message::End`] nor anything else.
///
/// A content with a basis is asked for by what is new in it; one whose digest then does not agree is asked for whole,
/// once. After [`TakeError::Broken`] nothing more can be said on the channel.
pub fn take(channel: &mut Channel, stage: &Stage, needs: &[Need]) -> Vec<Result<Staged, TakeError>> {
    let mut results: Vec<Option<Result<Staged, TakeError>>> = needs.iter().map(|_| None).collect();
    if let Err(broken) = take_all(channel, stage, needs, &mut results) {
        let broken = Arc::new(broken);
        let open = results.iter_mut().filter(|result| result.is_none());
        open.for_each(|result| *result = Some(Err(Arc::clone(&broken).into())));
    }
    let void = |need: &Need| Err(TakeError::Void { path: need.path.clone() });
    results.into_iter().zip(needs).map(|(result, need)| result.unwrap_or_else(|| void(need))).collect()
}

type Results = [Option<Result<Staged, TakeError>>];

fn take_all(
    channel: &mut Channel,
    stage: &Stage,
    needs: &[Need],
    results: &mut Results,
) -> Result<(), Broken> {
    let mut decompressor = Decompressor::new()?;
    let range = LADDER_BYTES_MIN..=LADDER_BYTES_MAX;
    for (need, result) in needs.iter().zip(&mut *results) {
        if let Some(basis) = need.basis.as_ref().filter(|_| range.contains(&need.size)) {
            let empty = || draft(stage, need, Some(basis));
            match climb(channel, &mut decompressor, (need.id, need.size), basis, empty)? {
                Climb::Staged(staged) => *result = Some(Ok(staged)),
                Climb::Failed(error) => *result = Some(Err(error.into())),
                Climb::Whole => {}
            }
        }
    }
    let mut rest =
        (0..needs.len()).filter(|at| results[*at].is_none()).collect::<Vec<_>>().into_iter().peekable();
    while rest.peek().is_some() {
        let mut bytes = 0u64;
        let mut request: Vec<usize> = Vec::new();
        while let Some(at) = rest.next_if(|at| {
            let more = bytes.saturating_add(needs[*at].size);
            request.is_empty() || request.len() < ITEMS_MAX && more <= REQUEST_BYTES
        }) {
            bytes = bytes.saturating_add(needs[at].size);
            request.push(at);
        }
        whole(channel, &mut decompressor, stage, needs, &request, results)?;
    }
    Ok(())
}

/// Returns an empty draft of the content that `need` says.
fn draft(stage: &Stage, need: &Need, basis: Option<&File>) -> Result<Draft, StageError> {
    let blank = stage.file(&need.path, need.target)?;
    Draft::begin(blank, need.digest, need.size, basis)
}

/// Takes the contents at the places `request` in one answer.
fn whole(
    channel: &mut Channel,
    decompressor: &mut Decompressor,
    stage: &Stage,
    needs: &[Need],
    request: &[usize],
    results: &mut Results,
) -> Result<(), Broken> {
    let mut asked = Vec::with_capacity(request.len());
    for &at in request {
        let need = &needs[at];
        match (need.size >= AHEAD_BYTES).then(|| draft(stage, need, None)).transpose() {
            Ok(ahead) => asked.push((at, ahead)),
            Err(error) => results[at] = Some(Err(error.into())),
        }
    }
    if asked.is_empty() {
        return Ok(());
    }
    channel.send(&Message::Whole(asked.iter().map(|(at, _)| needs[*at].id).collect()))?;
    let mut inflow = Inflow::new(channel, decompressor);
    let answered = (|| {
        for (at, ahead) in asked {
            let need = &needs[at];
            let draft = ahead.map_or_else(|| draft(stage, need, None), Ok);
            results[at] = Some(content(&mut inflow, need, draft)?);
        }
        inflow.finish()
    })();
    answered.map_err(|stop| match stop {
        Stop::Broken(broken) => broken,
        // Whole contents are void one by one, never together.
        Stop::Void => Broken::by(channel, Breach::Unexpected { due: "a block" }),
    })
}

/// Takes one content of an answer. What the disk refuses is read all the same, so that the next can be.
fn content(
    inflow: &mut Inflow<'_>,
    need: &Need,
    draft: Result<Draft, StageError>,
) -> Result<Result<Staged, TakeError>, Stop> {
    let (mut draft, mut failed) = match draft {
        Ok(draft) => (Some(draft), None),
        Err(error) => (None, Some(error)),
    };
    let mut left = need.size;
    loop {
        let length = u32::from_le_bytes(inflow.exactly()?);
        if length == 0 {
            break;
        }
        if length > BLOCK_BYTES_MAX {
            return Err(inflow.breach(Breach::Segment(length)));
        }
        let Some(still) = left.checked_sub(u64::from(length)) else {
            return Err(inflow.breach(Breach::Oversize { size: need.size }));
        };
        left = still;
        inflow.pass(u64::from(length), |bytes| {
            if let Some(Err(error)) = draft.as_mut().map(|draft| draft.write(bytes)) {
                (draft, failed) = (None, Some(error));
            }
            Ok::<(), Breach>(())
        })?;
    }
    match inflow.exactly()? {
        [0] => {}
        [1] => return Ok(Err(TakeError::Void { path: need.path.clone() })),
        [status] => return Err(inflow.breach(Breach::Status(status))),
    }
    Ok(match (draft, failed) {
        (Some(draft), None) => draft.finish().map_err(TakeError::from),
        (_, Some(error)) => Err(error.into()),
        (None, None) => Err(TakeError::Void { path: need.path.clone() }),
    })
}
