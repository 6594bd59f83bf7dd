//! Takes contents from a peer, whole or by what is new in them, and believes none of it before the digest agrees.

use std::fs::File;
use std::sync::Arc;

use crate::delta::compress::Decompressor;
use crate::disk::basis::Basis;
use crate::disk::draft::Draft;
use crate::disk::leftover::{Label, Leftovers, clear_all};
use crate::disk::stage::{Stage, StageError, Staged, Target};
use crate::engine::far::breach::{Breach, Broken};
use crate::engine::far::inflow::{Inflow, Stop};
use crate::engine::far::ladder::{Climb, climb};
use crate::engine::prepare::Failure;
use crate::model::entry::Digest;
use crate::model::key::PublicKey;
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

/// Where contents come to, and from whom.
#[derive(Clone, Copy, Debug)]
pub struct Landing<'a> {
    /// Where they are staged.
    pub stage: &'a Stage,
    /// Whose word it is: what was left over when a conversation with the same peer broke off is taken up.
    pub giver: PublicKey,
    /// They are asked for whole, whatever resembles them here.
    pub whole: bool,
}

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
/// What is left over of a content is taken up. A content with a basis is asked for by what is new in it; one whose digest
/// then does not agree is asked for whole, once. After [`TakeError::Broken`] nothing more can be said on the channel.
pub fn take(channel: &mut Channel, landing: Landing<'_>, needs: &[Need]) -> Vec<Result<Staged, TakeError>> {
    let mut results: Vec<Option<Result<Staged, TakeError>>> = needs.iter().map(|_| None).collect();
    let leftovers = Leftovers::of(landing.stage.private(), &landing.giver);
    let taken = take_all(channel, landing, &leftovers, needs, &mut results);
    for (need, _) in needs.iter().zip(&results).filter(|(_, result)| matches!(result, Some(Ok(_)))) {
        // What is staged now is left over in its place if it finds none.
        leftovers.remove(need.digest, need.size);
    }
    if let Err(broken) = taken {
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
    landing: Landing<'_>,
    leftovers: &Leftovers,
    needs: &[Need],
    results: &mut Results,
) -> Result<(), Broken> {
    let mut decompressor = Decompressor::new()?;
    let range = LADDER_BYTES_MIN..=LADDER_BYTES_MAX;
    for (need, result) in needs.iter().zip(&mut *results) {
        let left = leftovers.open(need.digest, need.size);
        if let Some((file, bytes)) = &left
            && *bytes == need.size
            && let Some(staged) = again(landing, need, file)
        {
            *result = Some(Ok(staged));
            continue;
        }
        if landing.whole || !range.contains(&need.size) {
            continue;
        }
        let ours = need.basis.as_ref().and_then(|basis| basis.try_clone().ok());
        let is_left = left.is_some();
        // What was left over comes first: it begins as the content does.
        let Some(basis) = Basis::of(left.map(|(file, _)| file).into_iter().chain(ours)) else { continue };
        let empty = || draft(landing, need, Some(&basis));
        match climb(channel, &mut decompressor, (need.id, need.size), &basis, empty)? {
            Climb::Staged(staged) => *result = Some(Ok(staged)),
            // There is no room for both; what comes whole may fit in place of it.
            Climb::Failed(StageError::Disk(error)) if is_left && error.is_no_space() => {}
            Climb::Failed(error) => *result = Some(Err(error.into())),
            Climb::Whole => {}
        }
    }
    let rest: Vec<usize> = (0..needs.len()).filter(|at| results[*at].is_none()).collect();
    // What is left over of them is of no use, and less than it may be left over this time.
    rest.iter().for_each(|at| leftovers.remove(needs[*at].digest, needs[*at].size));
    let mut rest = rest.into_iter().peekable();
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
        whole(channel, &mut decompressor, landing, needs, &request, results)?;
    }
    Ok(())
}

/// Returns the content that `need` says out of `file`, which was left over; `None` where it is something else.
fn again(landing: Landing<'_>, need: &Need, file: &File) -> Option<Staged> {
    let blank = landing.stage.incoming(&need.path, need.target, label(landing, need)).ok()?;
    blank.fill_from(file, Some((need.digest, need.size))).ok()
}

/// Returns an empty draft of the content that `need` says. Where there is no room, all that is left over makes room.
fn draft(landing: Landing<'_>, need: &Need, basis: Option<&Basis>) -> Result<Draft, StageError> {
    let begin = || {
        let blank = landing.stage.incoming(&need.path, need.target, label(landing, need))?;
        Draft::begin(blank, need.digest, need.size, basis)
    };
    match begin() {
        Err(StageError::Disk(error)) if error.is_no_space() => {
            clear_all(landing.stage.private());
            begin()
        }
        begun => begun,
    }
}

fn label(landing: Landing<'_>, need: &Need) -> Label {
    Label::new(need.digest, need.size, &landing.giver)
}

/// Takes the contents at the places `request` in one answer.
fn whole(
    channel: &mut Channel,
    decompressor: &mut Decompressor,
    landing: Landing<'_>,
    needs: &[Need],
    request: &[usize],
    results: &mut Results,
) -> Result<(), Broken> {
    let mut asked = Vec::with_capacity(request.len());
    for &at in request {
        let need = &needs[at];
        match (need.size >= AHEAD_BYTES).then(|| draft(landing, need, None)).transpose() {
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
            let draft = ahead.map_or_else(|| draft(landing, need, None), Ok);
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
