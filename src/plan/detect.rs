//! What the disk says against what was recorded: the changes that this replica makes known.

use crate::model::entry::{Content, Kind};
use crate::model::metadata::{Attributes, Stat, Timestamp};
use crate::model::row::{Live, Record, Row, Seen, Stamped, State, Tombstone};
use crate::model::version::{Dot, ReplicaId, VersionVector};
use crate::plan::merge::{Held, Merged, merge};
use crate::rules::conflict::{Policy, Side};

/// Stamps closer than this to the look that recorded them may hide a later change (2 s, the coarsest file system).
pub const RACY_NANOS: i128 = 2_000_000_000;

/// How much of an entry must be read before it can be judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// Nothing: it is as recorded.
    Nothing,
    /// Only its stat, which says that attributes changed.
    Attributes,
    /// Its content as well.
    Content,
}

/// What is known of one path when it is judged.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Our own record.
    pub record: Option<&'a Record>,
    /// A row of the peer that we have recorded and may have applied before we were stopped.
    pub pending: Option<&'a Row>,
}

/// Who observes, and how.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The observing replica.
    pub me: ReplicaId,
    /// The side it is.
    pub side: Side,
    /// The moment of the scan, by our clock.
    pub now: Timestamp,
    /// Our state is older than the disk, or of doubtful age: absence proves nothing (S10).
    pub no_deletes: bool,
}

/// What one path's observation means for the index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Nothing to write.
    None,
    /// Only our own view of the disk moved: to be stored under the record's old sequence.
    Refresh(Box<Record>),
    /// Something that peers shall know: to be stored under the next sequence.
    Revision(Box<Record>),
    /// A row of the peer that we had applied when we were stopped, perhaps without its attributes: to be stored under
    /// the next sequence, and the attributes to be set.
    Adopted(Box<Record>),
    /// The record proves nothing any more and is dropped without a tombstone.
    Forget,
}

/// Returns what must be read of an entry that now has `stat`.
///
/// Change is decided by size, mtime, ctime and inode. A stamp so young that a later write could have left it as it
/// is does not count as proof. Directories have no content of their own, and their times do not count.
#[must_use]
pub fn look(record: Option<&Record>, stat: &Stat, checksum: bool) -> Look {
    let Some((live, seen)) = record.and_then(|record| Some((record.row.live()?, record.seen?))) else {
        return Look::Content;
    };
    if stat.kind != live.content.value.kind() {
        return Look::Content;
    }
    if stat.kind == Kind::Dir {
        let same = stat.attributes.mode == seen.stat.attributes.mode
            && stat.attributes.owner == seen.stat.attributes.owner
            && stat.ino == seen.stat.ino;
        return if same { Look::Nothing } else { Look::Attributes };
    }
    if stat.same_state(&seen.stat) && !is_racy(&seen) && !(checksum && stat.kind == Kind::File) {
        return Look::Nothing;
    }
    Look::Content
}

/// Whether a write right after the look could have left both stamps as they were.
fn is_racy(seen: &Seen) -> bool {
    seen.at.nanos_since(seen.stat.attributes.mtime).abs() < RACY_NANOS
        && seen.at.nanos_since(seen.stat.ctime) < RACY_NANOS
}

/// Returns what it means that `content` with `stat` stands at a path.
///
/// `next` is the sequence number under which a revision would be stored; it is also the counter of its dot. Each
/// attribute is compared with the stat that was seen right after the row was applied, never with the replicated
/// value, so that what this replica could not apply is not published as an edit (S2). Content that equals a row of
/// the peer is that row and no edit (S8).
#[must_use]
pub fn present(known: Known<'_>, stat: &Stat, content: &Content, context: &Context, next: u64) -> Change {
    let seen = Some(Seen { stat: *stat, at: context.now });
    let dot = Dot { replica: context.me, counter: next };
    let recorded = known.record.and_then(|record| Some((record, record.row.live()?)));
    let same = recorded.is_some_and(|(_, live)| live.content.value == *content);
    if !same && let Some(row) = adopt(known, context, |row| holds(row, content)) {
        return Change::Adopted(Box::new(Record { row, seq: next, seen, residue: false }));
    }
    let Some((record, live)) = recorded else {
        let is_residue = known.record.is_some_and(|record| record.residue) && content.is_dir();
        if is_residue {
            return Change::None;
        }
        let mut vector = known.record.map_or_else(VersionVector::new, |record| record.row.vector.clone());
        let losers = known.record.map_or_else(Vec::new, |record| record.row.losers.clone());
        vector.raise(dot);
        let live = Live::new(content.clone(), stat.attributes, dot, context.now);
        let row = Row { vector, state: State::Live(live), losers };
        return Change::Revision(Box::new(Record { row, seq: next, seen, residue: false }));
    };
    // What could not be applied to one kind of thing says nothing about another kind.
    let seen_before = record.seen.filter(|seen| seen.stat.kind == content.kind());
    let old = seen_before.map_or_else(|| live.attributes(), |seen| seen.stat.attributes);
    match edited(live, &old, &stat.attributes, content, dot, context.now) {
        Some(live) => {
            let mut row = record.row.clone();
            row.vector.raise(dot);
            row.state = State::Live(live);
            Change::Revision(Box::new(Record { row, seq: next, seen, residue: false }))
        }
        None if record.seen == seen => Change::None,
        None => Change::Refresh(Box::new(Record { seen, ..record.clone() })),
    }
}

/// Returns what it means that nothing stands at a path, which a complete, error-free listing has proved.
#[must_use]
pub fn absent(known: Known<'_>, context: &Context, next: u64) -> Change {
    let Some(record) = known.record else {
        return Change::None;
    };
    let State::Live(live) = &record.row.state else {
        return if record.residue {
            Change::Refresh(Box::new(Record { residue: false, ..record.clone() }))
        } else {
            Change::None
        };
    };
    if let Some(row) = adopt(known, context, |row| row.live().is_none()) {
        return Change::Revision(Box::new(Record { row, seq: next, seen: None, residue: false }));
    }
    if context.no_deletes {
        return Change::Forget;
    }
    Change::Revision(Box::new(Record {
        row: buried(&record.row, live, Dot { replica: context.me, counter: next }, context.now),
        seq: next,
        seen: None,
        residue: false,
    }))
}

/// Returns the row of an entry that `dot` deletes.
#[must_use]
pub fn buried(row: &Row, live: &Live, dot: Dot, now: Timestamp) -> Row {
    let mut vector = row.vector.clone();
    vector.raise(dot);
    let stone = Tombstone {
        dot,
        deleted_at: now,
        content: live.content.value.clone(),
        attributes: live.attributes(),
        moved_to: None,
    };
    Row { vector, state: State::Deleted(stone), losers: row.losers.clone() }
}

/// The row that results if the disk shows that the peer's pending row was applied already.
fn adopt(known: Known<'_>, context: &Context, applied: impl Fn(&Row) -> bool) -> Option<Row> {
    let pending = known.pending.filter(|row| applied(row))?;
    let Some(record) = known.record else {
        return Some(pending.clone());
    };
    let theirs = context.side.other();
    let ours = Held { row: &record.row, side: context.side };
    match merge(ours, Held { row: pending, side: theirs }, Policy::Prefer(theirs)) {
        Merged::Row(row) | Merged::Conflict(row, _) if applied(&row) => Some(*row),
        Merged::Row(_) | Merged::Conflict(..) | Merged::Known | Merged::Undecided => None,
    }
}

fn holds(row: &Row, content: &Content) -> bool {
    row.live().is_some_and(|live| live.content.value == *content)
}

/// The entry with everything that differs stamped by `dot`; `None` if nothing does.
fn edited(
    live: &Live,
    old: &Attributes,
    new: &Attributes,
    content: &Content,
    dot: Dot,
    now: Timestamp,
) -> Option<Live> {
    let mut edited = live.clone();
    let mut changed = false;
    if live.content.value != *content {
        edited.content = Stamped { value: content.clone(), dot };
        edited.recorded = now;
        edited.moved_from = None;
        changed = true;
    }
    if old.owner != new.owner {
        edited.owner = Stamped { value: new.owner, dot };
        changed = true;
    }
    let kind = content.kind();
    if old.mode != new.mode && kind != Kind::Symlink {
        edited.mode = Stamped { value: new.mode, dot };
        changed = true;
    }
    if old.mtime != new.mtime && kind == Kind::File {
        edited.mtime = Stamped { value: new.mtime, dot };
        changed = true;
    }
    changed.then_some(edited)
}
