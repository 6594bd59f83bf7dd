//! Renames against edits and creations that did not know of them (S13): what was done at the old path happens at the
//! new one.

use crate::model::path::RelPath;
use crate::model::row::{Live, Loser, Origin, Row, Stamped, State, Tombstone};
use crate::model::version::{Dot, VersionVector};
use crate::plan::decide::{Decider, Index, Settled, Source, Step, step};
use crate::plan::detect::buried;
use crate::plan::merge::{Held, Merged, merge};

/// Something that was done at an old path without knowledge of the rename, and where the rename went.
struct Case<'a, I> {
    /// The old path.
    path: &'a RelPath,
    /// Our row of it.
    ours: Option<&'a Row>,
    /// The peer's row of it.
    theirs: &'a Row,
    /// What was written there: by us or by the peer.
    live: &'a Live,
    /// The new path.
    to: &'a RelPath,
    /// Our index.
    index: &'a I,
    /// The first number of the sequence that a settled row may take.
    next: u64,
}

impl Decider {
    /// Renames against edits and creations (S13). `None` where no rename is involved.
    pub(crate) fn follow_move<I: Index>(
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
                && !knows(&theirs.vector, live, stone)
            {
                return self.edit_follows(&Case { path, ours, theirs, live, to, index, next });
            }
            if ours.is_none_or(|row| row.live().is_none() && unknown(row))
                && let Some(to) = self.moved_parent(path, live, index)?
            {
                return self.creation_follows(&Case { path, ours, theirs, live, to: &to, index, next });
            }
        }
        if let (Some(ours_row), Some(stone)) = (ours, theirs.tombstone())
            && let Some(live) = ours_row.live().filter(|live| may_follow(live))
            && !theirs.vector.covers(live.content.dot)
            && let Some(to) = &stone.moved_to
            && !knows(&ours_row.vector, live, stone)
        {
            return self.our_edit_follows(&Case { path, ours, theirs, live, to, index, next });
        }
        Ok(None)
    }

    /// The peer edited what we renamed: the edit goes to the new path, the tombstone's vector takes it in.
    fn edit_follows<I: Index>(&self, case: &Case<'_, I>) -> Result<Option<Vec<Settled>>, I::Error> {
        let Case { path, theirs, live, to, index, next, .. } = *case;
        let (Some(old), Some(target)) = (case.ours, index.ours(to)?) else { return Ok(None) };
        let Some(there) = target.live().filter(|there| !there.content.value.is_dir()) else {
            return Ok(None);
        };
        let moved_as = old.tombstone().map(|stone| &stone.content);
        let dot = Dot { replica: self.me, counter: next + 1 };
        let origin = Origin { path: path.clone(), vector: theirs.vector.clone() };
        let edit = Live { moved_from: Some(origin), ..restamped(live, dot) };
        let base = if moved_as == Some(&there.content.value) {
            target.vector.clone()
        } else {
            // Both were edited after the rename: an ordinary conflict at the new path.
            VersionVector::new()
        };
        let merged = self.edited(&target, edit, base, dot);
        let mut vector = old.vector.merged(&theirs.vector);
        vector.raise(Dot { replica: self.me, counter: next });
        let buried = Row { vector, ..old.clone() };
        let (row, lost) = match merged {
            Merged::Row(row) => (*row, None),
            Merged::Conflict(row, lost) => (*row, Some(*lost)),
            Merged::Known | Merged::Undecided => return Ok(None),
        };
        let step = step(Some(&target), &row, Source::Peer(path.clone()));
        Ok(Some(vec![
            Settled { path: path.clone(), row: buried, step: Step::Nothing, lost: None },
            Settled { path: to.clone(), row, step, lost: lost.map(|lost| at_writer(lost, dot, path)) },
        ]))
    }

    /// What `target` becomes by an edit that knows `base` of it.
    fn edited(&self, target: &Row, edit: Live, base: VersionVector, dot: Dot) -> Merged {
        let mut vector = base;
        vector.raise(dot);
        let losers = if vector.covers_all(&target.vector) { target.losers.clone() } else { Vec::new() };
        let edit = Row { vector, state: State::Live(edit), losers };
        let ours = Held { row: target, side: self.side };
        merge(ours, Held { row: &edit, side: self.side.other() }, self.policy)
    }

    /// We edited what the peer renamed: our content goes to the new path, if the peer still has it there.
    fn our_edit_follows<I: Index>(&self, case: &Case<'_, I>) -> Result<Option<Vec<Settled>>, I::Error> {
        let Case { path, theirs, live, to, index, next, .. } = *case;
        let taken = index.ours(to)?.is_some_and(|row| row.live().is_some());
        let (Some(ours), Some(target)) = (case.ours, index.theirs(to)?.filter(|_| !taken)) else {
            return Ok(None);
        };
        let (Some(stone), Some(there)) = (theirs.tombstone(), target.live()) else { return Ok(None) };
        if there.content.value != stone.content {
            return Ok(None);
        }
        let mut all = self.revive_parents(to, index, next)?;
        let counter = next + u64::try_from(all.len()).unwrap_or(u64::MAX);
        let dot = Dot { replica: self.me, counter };
        let mut vector = target.vector.clone();
        vector.raise(dot);
        let origin = Origin { path: path.clone(), vector: ours.vector.clone() };
        let moved = Live { moved_from: Some(origin), ..restamped(live, dot) };
        let row = Row { vector, state: State::Live(moved), losers: target.losers.clone() };
        let step = step(index.ours(to)?.as_ref(), &row, Source::Ours(path.clone()));
        all.push(Settled { path: to.clone(), row, step, lost: None });
        let mut vector = ours.vector.merged(&theirs.vector);
        vector.raise(Dot { replica: self.me, counter: counter + 1 });
        let gone = Row { vector, state: State::Deleted(stone.clone()), losers: ours.losers.clone() };
        all.push(Settled { path: path.clone(), row: gone, step: Step::Remove, lost: None });
        Ok(Some(all))
    }

    /// Where the directory that `path` would lie in was moved to, with the rest of the path appended.
    fn moved_parent<I: Index>(
        &self,
        path: &RelPath,
        live: &Live,
        index: &I,
    ) -> Result<Option<RelPath>, I::Error> {
        let ancestors: Vec<RelPath> = path.ancestors().collect();
        for parent in ancestors.iter().rev() {
            let Some(row) = index.ours(parent)? else { continue };
            let Some(stone) = row.tombstone() else {
                return Ok(None);
            };
            let Some(to) = &stone.moved_to else { continue };
            let again = index.theirs(parent)?.is_some_and(|row| row.is_live_dir());
            if again || written_after(live, stone) || !index.ours(to)?.is_some_and(|row| row.is_live_dir()) {
                return Ok(None);
            }
            let below = path.strip(parent).unwrap_or_default();
            return Ok(to.append(&below).ok());
        }
        Ok(None)
    }

    /// The peer created something in a directory that we moved: it follows.
    fn creation_follows<I: Index>(&self, case: &Case<'_, I>) -> Result<Option<Vec<Settled>>, I::Error> {
        let Case { path, theirs, live, to, index, next, .. } = *case;
        let mut all = self.revive_parents(to, index, next)?;
        let counter = |all: &Vec<Settled>| next + u64::try_from(all.len()).unwrap_or(u64::MAX);
        let there = index.ours(to)?;
        let dot = Dot { replica: self.me, counter: counter(&all) };
        let origin = Origin { path: path.clone(), vector: theirs.vector.clone() };
        let created = Live { moved_from: Some(origin), ..restamped(live, dot) };
        let vector = VersionVector::of(dot);
        let created = Row { vector, state: State::Live(created), losers: Vec::new() };
        let (row, lost) = match self.merged(to, there.as_ref(), &created) {
            Merged::Row(row) => (*row, None),
            Merged::Conflict(row, lost) => (*row, Some(at_writer(*lost, dot, path))),
            Merged::Known => (there.clone().unwrap_or(created), None),
            // A person shall see both where they were made.
            Merged::Undecided => return Ok(None),
        };
        let step = step(there.as_ref(), &row, Source::Peer(path.clone()));
        all.push(Settled { path: to.clone(), row, step, lost });
        let dot = Dot { replica: self.me, counter: counter(&all) };
        let base = Row {
            vector: case.ours.map_or_else(|| theirs.vector.clone(), |row| row.vector.merged(&theirs.vector)),
            ..theirs.clone()
        };
        let mut gone = buried(&base, live, dot, self.now);
        if let State::Deleted(Tombstone { moved_to, .. }) = &mut gone.state {
            *moved_to = Some(to.clone());
        }
        all.push(Settled { path: path.clone(), row: gone, step: Step::Nothing, lost: None });
        Ok(Some(all))
    }
}

fn restamped(live: &Live, dot: Dot) -> Live {
    Live {
        content: Stamped { value: live.content.value.clone(), dot },
        recorded: live.recorded,
        mode: Stamped { value: live.mode.value, dot },
        owner: Stamped { value: live.owner.value, dot },
        mtime: Stamped { value: live.mtime.value, dot },
        moved_from: None,
    }
}

/// Whether the writer of `live`, whose row has `vector`, knew of the rename: then it is no edit of what was renamed,
/// but something new in its old place.
fn knows(vector: &VersionVector, live: &Live, stone: &Tombstone) -> bool {
    vector.covers(stone.dot) || written_after(live, stone)
}

/// Whether the replica that renamed is the one that wrote `live`, and did so later.
fn written_after(live: &Live, stone: &Tombstone) -> bool {
    let (written, renamed) = (live.content.dot, stone.dot);
    written.replica == renamed.replica && written.counter > renamed.counter
}

/// Says where the peer has the content that `dot` brings here, if that is what lost.
fn at_writer(lost: Loser, dot: Dot, path: &RelPath) -> Loser {
    if lost.dot == dot { Loser { path: Some(path.clone()), ..lost } } else { lost }
}
