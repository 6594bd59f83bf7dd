//! A step of a batch: what will stand, what stood, and under which number it is recorded.

use crate::model::entry::{Content, Kind};
use crate::model::path::RelPath;
use crate::model::row::{Loser, Record, Row, Seen};
use crate::plan::decide::Settled;

/// One step of a batch.
#[derive(Debug)]
pub struct Planned {
    /// What will stand, and how the disk gets there; `None` where a row of the peer is only forgotten.
    pub settled: Option<Settled>,
    /// What was recorded before.
    pub record: Option<Record>,
    /// The sequence under which the row will be recorded.
    pub seq: u64,
    /// The path whose waiting row is settled by this.
    pub cause: Option<RelPath>,
    /// The file of ours that moves here.
    pub moved: Option<Moved>,
}

/// A file of ours that moves to the path of a step.
#[derive(Debug)]
pub struct Moved {
    /// Where it is.
    pub from: RelPath,
    /// What the disk said of it.
    pub seen: Seen,
    /// The row that stays behind.
    pub row: Row,
    /// The sequence under which that row will be recorded.
    pub seq: u64,
}

impl Planned {
    /// Returns the step that only forgets the peer's row of `path`.
    #[must_use]
    pub fn forget(path: &RelPath) -> Self {
        Self { settled: None, record: None, seq: 0, cause: Some(path.clone()), moved: None }
    }

    /// Whether it takes all bytes of a file that had some.
    #[must_use]
    pub fn empties(&self) -> bool {
        let live = self.settled.as_ref().and_then(|settled| settled.row.live());
        let had = displaced(self).is_some_and(|(content, _)| content.size() > 0);
        had && live.is_some_and(|live| live.content.value.size() == 0)
    }

    /// Whether the file has other links, which may lead out of the tree: it must not be changed in its place.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        let seen = self.record.as_ref().and_then(|record| record.seen);
        seen.is_some_and(|seen| seen.stat.kind == Kind::File && seen.stat.links > 1)
    }

    /// Whether a conflict's loser is the peer's, and no content that we displace.
    #[must_use]
    pub fn loser_is_theirs(&self, lost: &Loser) -> bool {
        let ours = self.record.as_ref().and_then(|record| record.row.live());
        ours.is_none_or(|live| live.content.value != lost.content) && !lost.content.is_dir()
    }
}

/// Returns what a step displaces, and what the disk said of it.
#[must_use]
pub fn displaced(step: &Planned) -> Option<(Content, Seen)> {
    let record = step.record.as_ref()?;
    Some((record.row.live()?.content.value.clone(), record.seen?))
}
