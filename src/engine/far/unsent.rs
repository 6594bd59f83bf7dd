//! What the index of a guest holds that the peer does not know yet, and the steps that say so (S4).
//!
//! A row that has a slot of ours in its vector was changed here, or came out of a merge here. The peer records the same
//! change under its own slot; we then hold the peer's row in place of ours, and the slot is gone from it.

use crate::engine::far::error::FarError;
use crate::engine::far::folder::{Far, Known};
use crate::engine::replica::Replica;
use crate::model::entry::{Content, Kind};
use crate::model::path::RelPath;
use crate::model::row::{Live, Record, Row, State};
use crate::plan::decide::{self, Settled, Source};
use crate::store::meta;
use crate::transport::message::{Act, Carried, Step};

/// Rows read at a time.
const PAGE: usize = 1000;

/// The set-id bits of a mode.
const SET_ID: u32 = 0o6000;

/// Every attribute.
pub(crate) const ALL: Carried = Carried { mode: true, user: true, group: true, mtime: true };

/// A row that the peer shall know.
pub(crate) struct Unsent {
    pub(crate) path: RelPath,
    pub(crate) record: Record,
    /// What the peer has at the path.
    pub(crate) known: Option<Known>,
    /// Whether all that the peer has there is known to our row; otherwise it waits for a decision.
    pub(crate) is_decided: bool,
    pub(crate) way: Way,
}

/// How the peer comes to know a row.
pub(crate) enum Way {
    /// It says the same already: its row is taken as it is.
    Adopt,
    /// By this step.
    Send(Act),
    /// There is nothing to say: both have nothing there, and the peer never had.
    Drop,
}

impl Unsent {
    /// Whether something is deleted there.
    pub(crate) fn is_removal(&self) -> bool {
        matches!(self.way, Way::Send(Act::Remove { .. }))
    }

    /// Whether something that is no directory takes the place of a directory, which must be emptied first.
    pub(crate) fn replaces_dir(&self) -> bool {
        let was_dir = self.known.as_ref().is_some_and(|known| known.row.is_live_dir());
        was_dir && matches!(&self.way, Way::Send(Act::Make { content, .. }) if !content.is_dir())
    }

    /// Whether a file of the peer is only given another name by it.
    pub(crate) fn is_rename(&self) -> bool {
        let origin = self.record.row.live().and_then(|live| live.moved_from.as_ref());
        origin.is_some_and(|origin| matches!(&self.way, Way::Send(Act::Make { from: Some(from), .. }) if *from == origin.path))
    }

    /// Returns the step as it is asked of the peer.
    pub(crate) fn step(&self) -> Option<Step> {
        let Way::Send(act) = &self.way else { return None };
        let expect = self.known.as_ref().map_or(0, |known| known.seq);
        Some(Step { path: self.path.clone(), expect, act: act.clone() })
    }

    /// Returns the same as it is told to the user: what changes at the peer.
    pub(crate) fn settled(&self) -> Settled {
        let known = self.known.as_ref().map(|known| &known.row);
        let step = decide::step(known, &self.record.row, Source::Peer(self.path.clone()));
        Settled { path: self.path.clone(), row: self.record.row.clone(), step, lost: None }
    }
}

/// Calls `work` for every row of `me` that the peer does not know, in path order.
pub(crate) fn each(
    me: &Replica,
    far: &Far,
    mut work: impl FnMut(Unsent) -> Result<(), FarError>,
) -> Result<(), FarError> {
    let since = me.meta().get(meta::SENT)?.unwrap_or(0);
    let mut last: Option<RelPath> = None;
    loop {
        let page = me.index().changed_since(since, last.as_ref(), PAGE)?;
        for (path, record) in &page {
            if record.row.vector.get(me.me) > 0 {
                work(of(far, path, record.clone())?)?;
            }
        }
        match page.last() {
            Some((path, _)) if page.len() == PAGE => last = Some(path.clone()),
            Some(_) | None => return Ok(()),
        }
    }
}

/// Returns what the peer shall know of `record`, which stands at `path`.
pub(crate) fn of(far: &Far, path: &RelPath, record: Record) -> Result<Unsent, FarError> {
    let known = far.known(path)?.map(|Known { seq, row }| Known { seq, row: tamed(row) });
    let is_decided = known.as_ref().is_none_or(|known| record.row.vector.covers_all(&known.row.vector));
    let way = way(far, path, &record, known.as_ref())?;
    Ok(Unsent { path: path.clone(), record, known, is_decided, way })
}

fn way(far: &Far, path: &RelPath, record: &Record, known: Option<&Known>) -> Result<Way, FarError> {
    let theirs = known.and_then(|known| known.row.live());
    Ok(match (&record.row.state, theirs) {
        (State::Deleted(stone), Some(_)) => Way::Send(Act::Remove { moved_to: stone.moved_to.clone() }),
        (State::Deleted(_), None) if known.is_some() => Way::Adopt,
        (State::Deleted(_), None) => Way::Drop,
        (State::Live(ours), Some(theirs)) if ours.content.value == theirs.content.value => {
            if is_same(ours, theirs) {
                Way::Adopt
            } else {
                Way::Send(Act::Dress { attributes: ours.attributes(), which: ALL })
            }
        }
        (State::Live(ours), _) => Way::Send(Act::Make {
            content: ours.content.value.clone(),
            attributes: ours.attributes(),
            which: ALL,
            from: from(far, path, &record.row, &ours.content.value)?,
        }),
    })
}

/// Whether two entries of the same content are the same; the times of directories do not count.
fn is_same(ours: &Live, theirs: &Live) -> bool {
    let (a, b) = (ours.attributes(), theirs.attributes());
    let kind = ours.content.value.kind();
    let mode = kind == Kind::Symlink || a.mode == b.mode;
    mode && a.owner == b.owner && (kind == Kind::Dir || a.mtime == b.mtime)
}

/// Returns where the peer has the bytes of a file already.
fn from(far: &Far, path: &RelPath, row: &Row, content: &Content) -> Result<Option<RelPath>, FarError> {
    let Content::File { digest, .. } = content else { return Ok(None) };
    if let Some(origin) = row.live().and_then(|live| live.moved_from.as_ref())
        && far.content(&origin.path)?.as_ref() == Some(content)
    {
        return Ok(Some(origin.path.clone()));
    }
    Ok(far.places(*digest)?.into_iter().find(|place| place != path))
}

/// Whether a row is of a file with set-id bits.
pub(crate) fn has_set_id(row: &Row) -> bool {
    row.live().is_some_and(|live| !live.content.value.is_dir() && live.mode.value & SET_ID != 0)
}

/// Returns a row of the peer as it is taken here: without the set-id bits of what is no directory, which no peer is
/// trusted with.
pub(crate) fn tamed(mut row: Row) -> Row {
    if let State::Live(live) = &mut row.state
        && !live.content.value.is_dir()
    {
        live.mode.value &= !SET_ID;
    }
    for loser in row.losers.iter_mut().filter(|loser| !loser.content.is_dir()) {
        loser.attributes.mode &= !SET_ID;
    }
    row
}
