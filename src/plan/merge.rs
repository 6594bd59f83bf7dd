//! Two rows of one path become one. The heart of the model: symmetric, and no counter is raised.

use crate::model::entry::{Content, Digest};
use crate::model::path::RelPath;
use crate::model::row::{Live, Loser, Row, Stamped, State, Tombstone};
use crate::model::version::{Causality, VersionVector};
use crate::rules::conflict::{Candidate, Policy, Side, Winner, winner};

/// What two rows of one path are together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Merged {
    /// The first row is the result already: nothing to do on its side.
    Known,
    /// This is the row that both sides shall hold.
    Row(Box<Row>),
    /// Both changed the content: this is the row that both sides shall hold, and this content lost.
    Conflict(Box<Row>, Box<Loser>),
    /// Both changed the content, and a person shall decide.
    Undecided,
}

/// A row and the side that holds it.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    /// The row.
    pub row: &'a Row,
    /// Whose it is.
    pub side: Side,
}

/// Returns what `ours` and `theirs` are together: the later of the two where one knows the other, else a merge per
/// value by dots.
///
/// Symmetric but for [`Merged::Known`], which says that `ours` already is the result. A deletion wins over a
/// content that it knew; a content that it did not know wins over the deletion, whatever other attributes changed.
/// Equal vectors with different contents mean that a counter was used twice: that is a conflict, too.
#[must_use]
pub fn merge(ours: Held<'_>, theirs: Held<'_>, policy: Policy) -> Merged {
    match ours.row.vector.compare(&theirs.row.vector) {
        Causality::After => return Merged::Known,
        Causality::Before => return Merged::Row(Box::new(theirs.row.clone())),
        Causality::Equal if same_content(ours.row, theirs.row) => return Merged::Known,
        Causality::Equal | Causality::Concurrent => {}
    }
    let (state, lost) = match (&ours.row.state, &theirs.row.state) {
        (State::Deleted(a), State::Deleted(b)) => (State::Deleted(later_tombstone(a, b)), None),
        (State::Live(live), State::Deleted(stone)) => (edit_or_delete(live, stone, &theirs.row.vector), None),
        (State::Deleted(stone), State::Live(live)) => (edit_or_delete(live, stone, &ours.row.vector), None),
        (State::Live(a), State::Live(b)) => {
            let Some((live, lost)) = merge_live((a, ours), (b, theirs), policy) else {
                return Merged::Undecided;
            };
            (State::Live(live), lost)
        }
    };
    let vector = ours.row.vector.merged(&theirs.row.vector);
    let mut row = Row { vector, state, losers: open_losers(ours.row, theirs.row) };
    if let Some(lost) = &lost {
        add_loser(&mut row.losers, lost.clone());
    }
    if let State::Live(live) = &row.state {
        let content = &live.content.value;
        row.losers.retain(|loser| loser.content != *content);
    }
    match lost {
        Some(lost) => Merged::Conflict(Box::new(row), Box::new(lost)),
        None if row == *ours.row => Merged::Known,
        None => Merged::Row(Box::new(row)),
    }
}

/// Adds `loser` to the sorted set, once per dot.
pub fn add_loser(losers: &mut Vec<Loser>, loser: Loser) {
    if let Err(at) = losers.binary_search_by_key(&loser.dot, |known| known.dot) {
        losers.insert(at, loser);
    }
}

/// Returns the name of the conflict between two contents of `path`: the same on every member.
#[must_use]
pub fn conflict_id(path: &RelPath, one: &Stamped<Content>, two: &Stamped<Content>) -> Digest {
    let part = |stamped: &Stamped<Content>| {
        let dot = stamped.dot;
        [&stamped.value.digest().0[..], &dot.replica.0, &dot.counter.to_be_bytes()].concat()
    };
    let (mut low, mut high) = (part(one), part(two));
    if low > high {
        std::mem::swap(&mut low, &mut high);
    }
    Digest::of(&[b"csync conflict\0", path.as_bytes(), b"\0", &low, &high].concat())
}

fn same_content(a: &Row, b: &Row) -> bool {
    match (&a.state, &b.state) {
        (State::Live(a), State::Live(b)) => a.content.value == b.content.value,
        (State::Deleted(_), State::Deleted(_)) => true,
        (State::Live(_), State::Deleted(_)) | (State::Deleted(_), State::Live(_)) => false,
    }
}

/// The union of both sets, without what one side has closed: what it knew and no longer lists.
fn open_losers(a: &Row, b: &Row) -> Vec<Loser> {
    let listed = |row: &Row, loser: &Loser| row.losers.binary_search_by_key(&loser.dot, |l| l.dot).is_ok();
    let open_at = |other: &Row, loser: &Loser| listed(other, loser) || !other.vector.covers(loser.dot);
    let mut open: Vec<Loser> = a.losers.iter().filter(|loser| open_at(b, loser)).cloned().collect();
    for loser in b.losers.iter().filter(|loser| open_at(a, loser)) {
        add_loser(&mut open, loser.clone());
    }
    open
}

fn later_tombstone(a: &Tombstone, b: &Tombstone) -> Tombstone {
    let (later, earlier) = if a.dot >= b.dot { (a, b) } else { (b, a) };
    Tombstone { moved_to: later.moved_to.clone().or_else(|| earlier.moved_to.clone()), ..later.clone() }
}

fn edit_or_delete(live: &Live, stone: &Tombstone, deleter: &VersionVector) -> State {
    if deleter.covers(live.content.dot) { State::Deleted(stone.clone()) } else { State::Live(live.clone()) }
}

/// Merges two live entries value by value; `None` where a person shall decide. Also returns the content that lost.
fn merge_live(
    (a, ours): (&Live, Held<'_>),
    (b, theirs): (&Live, Held<'_>),
    policy: Policy,
) -> Option<(Live, Option<Loser>)> {
    let (va, vb) = (&ours.row.vector, &theirs.row.vector);
    let same = a.content.value == b.content.value;
    let (kept, lost) = match (vb.covers(a.content.dot), va.covers(b.content.dot)) {
        _ if same => {
            let first = (a.content.dot, a.recorded) >= (b.content.dot, b.recorded);
            (if first { a } else { b }, None)
        }
        (true, false) => (b, None),
        (false, true) => (a, None),
        (true, true) | (false, false) => {
            match winner(policy, &candidate(a, ours.side), &candidate(b, theirs.side)) {
                Winner::First => (a, Some(b)),
                Winner::Second => (b, Some(a)),
                Winner::Undecided => return None,
            }
        }
    };
    // The time of a content that lost says nothing about the one that stays.
    let mtime = if lost.is_some() { kept.mtime.clone() } else { newer(&a.mtime, va, &b.mtime, vb) };
    let live = Live {
        content: kept.content.clone(),
        recorded: kept.recorded,
        mode: newer(&a.mode, va, &b.mode, vb),
        owner: newer(&a.owner, va, &b.owner, vb),
        mtime,
        moved_from: kept.moved_from.clone(),
    };
    let lost = lost.map(|lost| Loser {
        dot: lost.content.dot,
        content: lost.content.value.clone(),
        attributes: lost.attributes(),
        path: None,
    });
    Some((live, lost))
}

fn candidate(live: &Live, side: Side) -> Candidate<'_> {
    Candidate { content: &live.content.value, mtime: live.mtime.value, recorded: live.recorded, side }
}

/// The value whose dot the other side does not know; where neither is known, the greater value.
fn newer<T: Ord + Clone>(
    a: &Stamped<T>,
    va: &VersionVector,
    b: &Stamped<T>,
    vb: &VersionVector,
) -> Stamped<T> {
    let first = match (vb.covers(a.dot), va.covers(b.dot)) {
        (true, false) => false,
        (false, true) => true,
        (true, true) | (false, false) => (&a.value, a.dot) >= (&b.value, b.dot),
    };
    if first { a.clone() } else { b.clone() }
}
