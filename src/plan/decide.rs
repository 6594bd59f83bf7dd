//! What shall be done here about one row of the peer: the rows that will stand, and the step that makes the disk agree.

use crate::model::entry::Content;
use crate::model::metadata::Timestamp;
use crate::model::path::RelPath;
use crate::model::row::{Live, Loser, Origin, Row, Stamped, State, Tombstone};
use crate::model::version::{Dot, ReplicaId};
use crate::plan::detect::buried;
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

    fn merged(&self, path: &RelPath, ours: Option<&Row>, theirs: &Row) -> Merged {
        let Some(ours) = ours else {
            return Merged::Row(Box::new(theirs.clone()));
        };
        debug_assert!(!path.is_root(), "the root itself has no row");
        let ours = Held {
            row: ours,
            side: self.side,
        };
        merge(
            ours,
            Held {
                row: theirs,
                side: self.side.other(),
            },
            self.policy,
        )
    }

    fn settle(&self, path: &RelPath, ours: Option<&Row>, row: Row, lost: Option<Loser>) -> Settled {
        let step = step(ours, &row, Source::Peer(path.clone()));
        Settled {
            path: path.clone(),
            row,
            step,
            lost,
        }
    }

    /// Content of a renamed or copied file that we hold ourselves, under the path it came from.
    fn our_copy<I: Index>(&self, live: &Live, index: &I) -> Result<Option<Source>, I::Error> {
        let Some(origin) = &live.moved_from else {
            return Ok(None);
        };
        let Some(row) = index.ours(&origin.path)? else {
            return Ok(None);
        };
        let same = row
            .live()
            .is_some_and(|old| old.content.value == live.content.value);
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
            let counter = next + u64::try_from(revived.len()).unwrap_or(u64::MAX);
            revived.push(self.revive(&parent, row.as_ref(), None, counter));
        }
        Ok(revived)
    }

    /// Returns the row that makes `path` a directory again, knowing `ours` and, if given, the peer's row that said
    /// otherwise. A content of either that is no directory is kept as a loser.
    #[must_use]
    pub fn revive(&self, path: &RelPath, ours: Option<&Row>, theirs: Option<&Row>, counter: u64) -> Settled {
        let dot = Dot {
            replica: self.me,
            counter,
        };
        let rows = || ours.into_iter().chain(theirs);
        let mut vector = rows().fold(crate::model::version::VersionVector::new(), |v, row| {
            v.merged(&row.vector)
        });
        vector.raise(dot);
        let attributes = rows()
            .find_map(|row| match &row.state {
                State::Deleted(stone) if stone.content.is_dir() => Some(stone.attributes),
                State::Live(live) if live.content.value.is_dir() => Some(live.attributes()),
                State::Deleted(_) | State::Live(_) => None,
            })
            .unwrap_or(crate::model::metadata::Attributes {
                mode: 0o755,
                ..Default::default()
            });
        let mut losers = Vec::new();
        let mut lost = None;
        for row in rows() {
            row.losers
                .iter()
                .for_each(|loser| add_loser(&mut losers, loser.clone()));
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
        let row = Row {
            vector,
            state: State::Live(live),
            losers,
        };
        let step = step(ours, &row, Source::Peer(path.clone()));
        Settled {
            path: path.clone(),
            row,
            step,
            lost,
        }
    }

    /// Renames against edits and creations (S13). `None` where no rename is involved.
    fn follow_move<I: Index>(
        &self,
        path: &RelPath,
        ours: Option<&Row>,
        theirs: &Row,
        index: &I,
        next: u64,
    ) -> Result<Option<Vec<Settled>>, I::Error> {
        // What has followed once stays where it is, or two opposite renames would chase it for ever.
        let may_follow = |live: &Live| live.moved_from.is_none() && !live.content.value.is_dir();
        if let Some(live) = theirs.live().filter(|live| may_follow(live)) {
            let unknown = |row: &Row| !row.vector.covers(live.content.dot);
            if let Some(stone) = ours.filter(|row| unknown(row)).and_then(Row::tombstone)
                && let Some(to) = &stone.moved_to
            {
                return self.edit_follows(path, ours, theirs, live, to, index, next);
            }
            if ours.is_none_or(|row| row.live().is_none() && unknown(row))
                && let Some(to) = self.moved_parent(path, index)?
            {
                return Ok(Some(
                    self.creation_follows(path, ours, theirs, live, &to, index, next)?,
                ));
            }
        }
        if let (Some(ours_row), Some(stone)) = (ours, theirs.tombstone())
            && let Some(live) = ours_row.live().filter(|live| may_follow(live))
            && !theirs.vector.covers(live.content.dot)
            && let Some(to) = &stone.moved_to
        {
            return self.our_edit_follows(path, ours_row, theirs, live, to, index, next);
        }
        Ok(None)
    }

    /// The peer edited what we renamed: the edit goes to the new path, the tombstone's vector takes it in.
    #[expect(
        clippy::too_many_arguments,
        reason = "the two rows, their live half and the place in the sequence"
    )]
    fn edit_follows<I: Index>(
        &self,
        path: &RelPath,
        ours: Option<&Row>,
        theirs: &Row,
        live: &Live,
        to: &RelPath,
        index: &I,
        next: u64,
    ) -> Result<Option<Vec<Settled>>, I::Error> {
        let (Some(old), Some(target)) = (ours, index.ours(to)?) else {
            return Ok(None);
        };
        let Some(there) = target.live().filter(|there| !there.content.value.is_dir()) else {
            return Ok(None);
        };
        let moved_as = old.tombstone().map(|stone| &stone.content);
        let dot = Dot {
            replica: self.me,
            counter: next + 1,
        };
        let origin = Origin {
            path: path.clone(),
            vector: theirs.vector.clone(),
        };
        let edit = Live {
            moved_from: Some(origin),
            ..restamped(live, dot)
        };
        let merged = if moved_as == Some(&there.content.value) {
            let mut vector = target.vector.clone();
            vector.raise(dot);
            Merged::Row(Box::new(Row {
                vector,
                state: State::Live(edit),
                losers: target.losers.clone(),
            }))
        } else {
            // Both were edited after the rename: an ordinary conflict at the new path.
            let edit = Row {
                vector: crate::model::version::VersionVector::of(dot),
                state: State::Live(edit),
                losers: Vec::new(),
            };
            let ours = Held {
                row: &target,
                side: self.side,
            };
            merge(
                ours,
                Held {
                    row: &edit,
                    side: self.side.other(),
                },
                self.policy,
            )
        };
        let mut vector = old.vector.merged(&theirs.vector);
        vector.raise(Dot {
            replica: self.me,
            counter: next,
        });
        let buried = Row {
            vector,
            ..old.clone()
        };
        let (row, lost) = match merged {
            Merged::Row(row) => (*row, None),
            Merged::Conflict(row, lost) => (*row, Some(*lost)),
            Merged::Known | Merged::Undecided => return Ok(None),
        };
        let step = step(Some(&target), &row, Source::Peer(path.clone()));
        Ok(Some(vec![
            Settled {
                path: path.clone(),
                row: buried,
                step: Step::Nothing,
                lost: None,
            },
            Settled {
                path: to.clone(),
                row,
                step,
                lost: lost.map(|lost| Loser {
                    path: Some(path.clone()),
                    ..lost
                }),
            },
        ]))
    }

    /// We edited what the peer renamed: our content goes to the new path, if the peer still has it there.
    #[expect(
        clippy::too_many_arguments,
        reason = "the two rows, their live half and the place in the sequence"
    )]
    fn our_edit_follows<I: Index>(
        &self,
        path: &RelPath,
        ours: &Row,
        theirs: &Row,
        live: &Live,
        to: &RelPath,
        index: &I,
        next: u64,
    ) -> Result<Option<Vec<Settled>>, I::Error> {
        if index.ours(to)?.is_some_and(|row| row.live().is_some()) {
            return Ok(None);
        }
        let Some(target) = index.theirs(to)? else {
            return Ok(None);
        };
        let (Some(stone), Some(there)) = (theirs.tombstone(), target.live()) else {
            return Ok(None);
        };
        if there.content.value != stone.content {
            return Ok(None);
        }
        let mut all = self.revive_parents(to, index, next)?;
        let counter = next + u64::try_from(all.len()).unwrap_or(u64::MAX);
        let dot = Dot {
            replica: self.me,
            counter,
        };
        let mut vector = target.vector.clone();
        vector.raise(dot);
        let origin = Origin {
            path: path.clone(),
            vector: ours.vector.clone(),
        };
        let moved = Live {
            moved_from: Some(origin),
            ..restamped(live, dot)
        };
        let row = Row {
            vector,
            state: State::Live(moved),
            losers: target.losers.clone(),
        };
        let step = step(index.ours(to)?.as_ref(), &row, Source::Ours(path.clone()));
        all.push(Settled {
            path: to.clone(),
            row,
            step,
            lost: None,
        });
        let mut vector = ours.vector.merged(&theirs.vector);
        vector.raise(Dot {
            replica: self.me,
            counter: counter + 1,
        });
        let gone = Row {
            vector,
            state: State::Deleted(stone.clone()),
            losers: ours.losers.clone(),
        };
        all.push(Settled {
            path: path.clone(),
            row: gone,
            step: Step::Remove,
            lost: None,
        });
        Ok(Some(all))
    }

    /// Where the directory that `path` would lie in was moved to, with the rest of the path appended.
    fn moved_parent<I: Index>(&self, path: &RelPath, index: &I) -> Result<Option<RelPath>, I::Error> {
        let ancestors: Vec<RelPath> = path.ancestors().collect();
        for parent in ancestors.iter().rev() {
            let Some(row) = index.ours(parent)? else { continue };
            let Some(stone) = row.tombstone() else {
                return Ok(None);
            };
            let Some(to) = &stone.moved_to else { continue };
            if !index.ours(to)?.is_some_and(|row| row.is_live_dir()) {
                return Ok(None);
            }
            let below = path.strip(parent).unwrap_or_default();
            return Ok(to.append(&below).ok());
        }
        Ok(None)
    }

    /// The peer created something in a directory that we moved: it follows.
    #[expect(
        clippy::too_many_arguments,
        reason = "the two rows, their live half and the place in the sequence"
    )]
    fn creation_follows<I: Index>(
        &self,
        path: &RelPath,
        ours: Option<&Row>,
        theirs: &Row,
        live: &Live,
        to: &RelPath,
        index: &I,
        next: u64,
    ) -> Result<Vec<Settled>, I::Error> {
        let mut all = self.revive_parents(to, index, next)?;
        let counter = |all: &Vec<Settled>| next + u64::try_from(all.len()).unwrap_or(u64::MAX);
        let there = index.ours(to)?;
        let dot = Dot {
            replica: self.me,
            counter: counter(&all),
        };
        let origin = Origin {
            path: path.clone(),
            vector: theirs.vector.clone(),
        };
        let created = Live {
            moved_from: Some(origin),
            ..restamped(live, dot)
        };
        let vector = crate::model::version::VersionVector::of(dot);
        let created = Row {
            vector,
            state: State::Live(created),
            losers: Vec::new(),
        };
        let (row, lost) = match self.merged(to, there.as_ref(), &created) {
            Merged::Row(row) => (*row, None),
            Merged::Conflict(row, lost) => (
                *row,
                Some(Loser {
                    path: Some(path.clone()),
                    ..*lost
                }),
            ),
            Merged::Known | Merged::Undecided => (there.clone().unwrap_or(created), None),
        };
        let step = step(there.as_ref(), &row, Source::Peer(path.clone()));
        all.push(Settled {
            path: to.clone(),
            row,
            step,
            lost,
        });
        let dot = Dot {
            replica: self.me,
            counter: counter(&all),
        };
        let base = Row {
            vector: ours.map_or_else(|| theirs.vector.clone(), |row| row.vector.merged(&theirs.vector)),
            ..theirs.clone()
        };
        let mut gone = buried(&base, live, dot, self.now);
        if let State::Deleted(Tombstone { moved_to, .. }) = &mut gone.state {
            *moved_to = Some(to.clone());
        }
        all.push(Settled {
            path: path.clone(),
            row: gone,
            step: Step::Nothing,
            lost: None,
        });
        Ok(all)
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

fn restamped(live: &Live, dot: Dot) -> Live {
    Live {
        content: Stamped {
            value: live.content.value.clone(),
            dot,
        },
        recorded: live.recorded,
        mode: Stamped {
            value: live.mode.value,
            dot,
        },
        owner: Stamped {
            value: live.owner.value,
            dot,
        },
        mtime: Stamped {
            value: live.mtime.value,
            dot,
        },
        moved_from: None,
    }
}
