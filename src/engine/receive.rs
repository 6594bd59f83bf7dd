//! Takes note of what the peer has recorded: observations are stored, work is not.

use crate::engine::error::EngineError;
use crate::engine::replica::Replica;
use crate::model::path::RelPath;
use crate::model::row::{Record, Row, State, Tombstone};
use crate::model::version::{Causality, Dot};
use crate::plan::detect::buried;
use crate::store::index::Index;
use crate::store::peer::{Peer, Peers};

/// Rows read from the peer at a time.
const PAGE: usize = 1000;

/// Records each row of `peer` that is new since the last complete pass and not known to `me` (S7, S8).
///
/// What holds after: the rows, and with them the intent to settle them, are durable; the cursor stands at the peer's
/// present sequence.
///
/// # Errors
/// One of the databases refuses.
pub fn receive(me: &Replica, peer: &Replica) -> Result<(), EngineError> {
    let peers = Peers::of(&me.db);
    let memory = peers.get(peer.me)?;
    let cursor = memory.map_or(0, |peer| peer.cursor);
    let to = peer.seq();
    if cursor >= to {
        return Ok(());
    }
    let theirs = Index::of(&peer.db);
    let (index, remote) = (me.index(), me.remote());
    me.db.batch(|| {
        let mut last: Option<RelPath> = None;
        loop {
            let page = theirs.changed_since(cursor, last.as_ref(), PAGE)?;
            for (path, record) in &page {
                let known = index.get(path)?.is_some_and(|ours| {
                    ours.row == record.row || record.row.vector.compare(&ours.row.vector) == Causality::Before
                });
                if known {
                    remote.remove(path)?;
                } else {
                    remote.put(path, &record.row)?;
                }
            }
            match page.last() {
                Some((path, _)) if page.len() == PAGE => last = Some(path.clone()),
                Some(_) | None => break,
            }
        }
        let nonce = memory.and_then(|memory| memory.nonce);
        peers.put(&Peer { replica: peer.me, cursor: to, nonce })
    })?;
    Ok(())
}

/// Makes everything that `me` holds win over the rows of the peer that wait here: each gets a row of ours that knows
/// it and says what stands here, or that nothing does.
///
/// # Errors
/// The database refuses.
pub fn overrule(me: &Replica) -> Result<(), EngineError> {
    let (index, remote) = (me.index(), me.remote());
    let now = me.context().now;
    me.db.batch(|| {
        let mut last: Option<RelPath> = None;
        loop {
            let page = remote.page(last.as_ref(), PAGE)?;
            for (path, theirs) in &page {
                let ours = index.get(path)?;
                let record = match (ours, &theirs.state) {
                    (Some(ours), _) if is_same(&ours.row, theirs) => continue,
                    (Some(ours), _) => {
                        let Record { row, seq, seen, residue } = insisted(me, ours, theirs);
                        Record { row: Row { losers: Vec::new(), ..row }, seq, seen, residue }
                    }
                    (None, State::Live(live)) => {
                        let dot = Dot { replica: me.me, counter: me.seq() + 1 };
                        let row = buried(theirs, live, dot, now);
                        Record { row, seq: dot.counter, seen: None, residue: false }
                    }
                    (None, State::Deleted(_)) => continue,
                };
                index.put(path, &record)?;
                remote.remove(path)?;
                me.advance(1);
            }
            match page.last() {
                Some((path, _)) if page.len() == PAGE => last = Some(path.clone()),
                Some(_) | None => break,
            }
        }
        me.save_seq()
    })?;
    Ok(())
}

/// Returns what is recorded here, under our next number, as a revision that knows `theirs` and wins over it.
pub(crate) fn insisted(me: &Replica, ours: Record, theirs: &Row) -> Record {
    let dot = Dot { replica: me.me, counter: me.seq() + 1 };
    let mut row = restamp(ours.row, dot);
    row.vector = row.vector.merged(&theirs.vector);
    row.vector.raise(dot);
    Record { row, seq: dot.counter, ..ours }
}

/// Whether both rows say the same of the disk, so that merging them is all there is to do.
fn is_same(ours: &Row, theirs: &Row) -> bool {
    match (ours.live(), theirs.live()) {
        (Some(a), Some(b)) => a.content.value == b.content.value && a.attributes() == b.attributes(),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Stamps what a row says by a new event, so that it beats what it now knows.
fn restamp(row: Row, dot: Dot) -> Row {
    let Row { vector, state, losers } = row;
    let state = match state {
        State::Live(mut live) => {
            live.content.dot = dot;
            live.mode.dot = dot;
            live.owner.dot = dot;
            live.mtime.dot = dot;
            State::Live(live)
        }
        State::Deleted(stone) => State::Deleted(Tombstone { dot, ..stone }),
    };
    Row { vector, state, losers }
}
