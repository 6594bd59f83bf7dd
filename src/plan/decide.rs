//! What shall be done here about one row of the peer: the rows that will stand, and the step that makes the disk agree.

use crate::model::entry::Content;
use crate::model::metadata::Timestamp;
use crate::model::path::RelPath;
use crate::model::row::{Live, Loser, Row, State};
use crate::model::version::{Dot, ReplicaId};
use crate::plan::merge::{Held, Merged, add_loser, merge};
use crate::rules::conflict::{Policy, Side};

/// What deciding may ask of our index. Answers include what was decided before in the same pass.
pub trait Index {
    /// What an answer may fail with.
    type Error;

    /// Returns our own row of `path`.
    ///
    /// # Errors
    /// The index cannot be read.
    fn ours(&self, path: &RelPath) -> Result<Option<Row>, Self::Error>;

    /// Returns the peer's row of `path` that we have recorded and not settled yet.
    ///
    /// # Errors
    /// The index cannot be read.
    fn theirs(&self, path: &RelPath) -> Result<Option<Row>, Self::Error>;
}

/// The replica that decides, and its rule.
#[derive(Clone, Copy, Debug)]
pub struct Decider {
    /// Our id: the slot of the dots that a decision may need.
    pub me: ReplicaId,
    /// The side we are.
    pub side: Side,
    /// The conflict rule; the same on both sides.
    pub policy: Policy,
    /// The moment, for tombstones and contents recorded by a decision.
    pub now: Timestamp,
}

/// Where content comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// The peer's file at this path.
    Peer(RelPath),
    /// Our own file at this path, which stays until its own row is settled.
    Ours(RelPath),
}

/// What makes the disk agree with a settled row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Nothing: the disk agrees already.
    Nothing,
    /// Nothing stands there yet.
    Create(Source),
    /// Something else stands there, which is displaced and kept.
    Replace(Source),
    /// Only attributes differ.
    Adjust,
    /// What stands there is displaced and kept.
    Remove,
}

/// One path settled: the row that will stand, and how the disk gets there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settled {
    /// The path.
    pub path: RelPath,
    /// The row that will stand.
    pub row: Row,
    /// How the disk gets there.
    pub step: Step,
    /// The content that lost a conflict by this.
    pub lost: Option<Loser>,
}

/// The answer for one row of the peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// It is known here; it can be forgotten.
    Known,
    /// A person shall decide; it stays.
    Undecided,
    /// These rows, in this order.
    Settle(Vec<Settled>),
}

impl Decider {
    /// Returns what shall be done about the peer's row `theirs` of `path`.
    ///
    /// `next` is our next sequence number; a decision that makes a change of our own (S12, S13) takes counters from
    /// there, one for each settled row in order, so the n-th settled row is to be recorded under `next + n`.
    /// Rows are asked in path order, so what lies above `path` is settled already, except deletions, which act last.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn decide<I: Index>(
        &self,
        path: &RelPath,
        theirs: &Row,
        index: &I,
        next: u64,
    ) -> Result<Decision, I::Error> {
        let ours = index.ours(path)?;
        if let Some(followed) = self.follow_move(path, ours.as_ref(), theirs, index, next)? {
            return Ok(Decision::Settle(followed));
        }
        let mut settled = match self.merged(path, ours.as_ref(), theirs) {
            Merged::Known => return Ok(Decision::Known),
            Merged::Undecided => return Ok(Decision::Undecided),
            Merged::Row(row) => self.settle(path, ours.as_ref(), *row, None),
            Merged::Conflict(row, lost) => self.settle(path, ours.as_ref(), *row, Some(*lost)),
        };
        if let Some(live) = settled.row.live()
            && matches!(settled.step, Step::Create(_))
            && let Some(source) = self.our_copy(live, index)?
        {
            settled.step = Step::Create(source);
        }
        let mut all = Vec::new();
        if settled.row.live().is_some() {
            all = self.revive_parents(path, index, next)?;
        }
        all.push(settled);
        Ok(Decision::Settle(all))
    }

    pub(crate) fn merged(&self, path: &RelPath, ours: Option<&Row>, theirs: &Row) -> Merged {
        let Some(ours) = ours else {
            return Merged::Row(Box::new(theirs.clone()));
        };
        debug_assert!(!path.is_root(), "the root itself has no row");
        let ours = Held { row: ours, side: self.side };
        merge(ours, Held { row: theirs, side: self.side.other() }, self.policy)
    }

    fn settle(&self, path: &RelPath, ours: Option<&Row>, row: Row, lost: Option<Loser>) -> Settled {
        let step = step(ours, &row, Source::Peer(path.clone()));
        Settled { path: path.clone(), row, step, lost }
    }

    /// Content of a renamed or copied file that we hold ourselves, under the path it came from.
    fn our_copy<I: Index>(&self, live: &Live, index: &I) -> Result<Option<Source>, I::Error> {
        let Some(origin) = &live.moved_from else {
            return Ok(None);
        };
        let Some(row) = index.ours(&origin.path)? else {
            return Ok(None);
        };
        let same = row.live().is_some_and(|old| old.content.value == live.content.value);
        Ok((same && !live.content.value.is_dir()).then(|| Source::Ours(origin.path.clone())))
    }

    /// Rows that bring the directories above a live `path` to life, outermost first (S12): one that was deleted
    /// comes back, and something else that took its place becomes a conflict's loser.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn revive_parents<I: Index>(
        &self,
        path: &RelPath,
        index: &I,
        next: u64,
    ) -> Result<Vec<Settled>, I::Error> {
        let mut revived = Vec::new();
        for parent in path.ancestors() {
            let row = index.ours(&parent)?;
            if row.as_ref().is_some_and(Row::is_live_dir) {
                continue;
            }
            // The peer's own row may not have been settled because something failed then.
            let theirs = index.theirs(&parent)?.filter(Row::is_live_dir);
            let merged = theirs.map(|theirs| self.merged(&parent, row.as_ref(), &theirs));
            revived.push(match merged {
                Some(Merged::Row(merged)) if merged.is_live_dir() => {
                    self.settle(&parent, row.as_ref(), *merged, None)
                }
                Some(Merged::Conflict(merged, lost)) if merged.is_live_dir() => {
                    self.settle(&parent, row.as_ref(), *merged, Some(*lost))
                }
                Some(Merged::Row(_) | Merged::Conflict(..) | Merged::Known | Merged::Undecided) | None => {
                    let counter = next + u64::try_from(revived.len()).unwrap_or(u64::MAX);
                    self.revive(&parent, row.as_ref(), None, counter)
                }
            });
        }
        Ok(revived)
    }

    /// Returns the row that makes `path` a directory again, knowing `ours` and, if given, the peer's row that said
    /// otherwise. A content of either that is no directory is kept as a loser.
    #[must_use]
    pub fn revive(&self, path: &RelPath, ours: Option<&Row>, theirs: Option<&Row>, counter: u64) -> Settled {
        let dot = Dot { replica: self.me, counter };
        let rows = || ours.into_iter().chain(theirs);
        let mut vector =
            rows().fold(crate::model::version::VersionVector::new(), |v, row| v.merged(&row.vector));
        vector.raise(dot);
        let attributes = rows()
            .find_map(|row| match &row.state {
                State::Deleted(stone) if stone.content.is_dir() => Some(stone.attributes),
                State::Live(live) if live.content.value.is_dir() => Some(live.attributes()),
                State::Deleted(_) | State::Live(_) => None,
            })
            .unwrap_or(crate::model::metadata::Attributes { mode: 0o755, ..Default::default() });
        let mut losers = Vec::new();
        let mut lost = None;
        for row in rows() {
            row.losers.iter().for_each(|loser| add_loser(&mut losers, loser.clone()));
            if let Some(live) = row.live().filter(|live| !live.content.value.is_dir()) {
                let loser = Loser {
                    dot: live.content.dot,
                    content: live.content.value.clone(),
                    attributes: live.attributes(),
                    path: None,
                };
                add_loser(&mut losers, loser.clone());
                lost = Some(loser);
            }
        }
        let live = Live::new(Content::Dir, attributes, dot, self.now);
        let row = Row { vector, state: State::Live(live), losers };
        let step = step(ours, &row, Source::Peer(path.clone()));
        Settled { path: path.clone(), row, step, lost }
    }
}

/// Returns what makes a disk that agrees with `ours` agree with `row`.
#[must_use]
pub fn step(ours: Option<&Row>, row: &Row, source: Source) -> Step {
    match (ours.and_then(Row::live), row.live()) {
        (None, None) => Step::Nothing,
        (None, Some(_)) => Step::Create(source),
        (Some(_), None) => Step::Remove,
        (Some(old), Some(new)) if old.content.value != new.content.value => Step::Replace(source),
        (Some(old), Some(new)) if old.attributes() != new.attributes() => Step::Adjust,
        (Some(_), Some(_)) => Step::Nothing,
    }
}
