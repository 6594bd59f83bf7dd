//! What a replica knows of one path: the row of its index.

use crate::model::entry::Content;
use crate::model::metadata::{Attributes, Owner, Stat, Timestamp};
use crate::model::path::RelPath;
use crate::model::version::{Dot, VersionVector};

/// A value and the event that last set it. Who wins is decided per value, by whose dot the other side knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stamped<T> {
    /// The value.
    pub value: T,
    /// The event that set it.
    pub dot: Dot,
}

/// What a replica knows of one path, live or deleted; the unit that peers exchange.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// All events this row has taken in.
    pub vector: VersionVector,
    /// What stands at the path.
    pub state: State,
    /// Contents that lost a conflict here and wait for a person, sorted by content dot, no dot twice.
    pub losers: Vec<Loser>,
}

/// Live or deleted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// Something stands at the path.
    Live(Live),
    /// Something stood there.
    Deleted(Tombstone),
}

/// A live entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Live {
    /// What it holds.
    pub content: Stamped<Content>,
    /// When its writer recorded that content, by the writer's clock. Caps `mtime` where the later content wins.
    pub recorded: Timestamp,
    /// Permission bits.
    pub mode: Stamped<u32>,
    /// Owner and group.
    pub owner: Stamped<Owner>,
    /// Modification time.
    pub mtime: Stamped<Timestamp>,
    /// Where it was moved from, and which vector stood there, if it was a rename.
    pub moved_from: Option<Origin>,
}

/// The old place of something that was renamed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The old path.
    pub path: RelPath,
    /// The vector that the old path had when it was renamed.
    pub vector: VersionVector,
}

/// What remains of a deleted entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tombstone {
    /// The event of the deletion.
    pub dot: Dot,
    /// When it was recorded, by the deleter's clock; for people only.
    pub deleted_at: Timestamp,
    /// What was deleted.
    pub content: Content,
    /// The attributes it had; a directory that must come back gets these.
    pub attributes: Attributes,
    /// Where it went, if it was renamed.
    pub moved_to: Option<RelPath>,
}

/// A content that lost a conflict.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Loser {
    /// The event that wrote it.
    pub dot: Dot,
    /// What it holds.
    pub content: Content,
    /// The attributes it had.
    pub attributes: Attributes,
    /// Its path at its writer where that is another than the row's.
    pub path: Option<RelPath>,
}

/// A row of our own index: the row, and what only we know about our disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// What is replicated.
    pub row: Row,
    /// Our own number of this state of the row: the sequence under which it was last recorded.
    pub seq: u64,
    /// What our disk said right after the row was observed or applied; `None` for tombstones.
    pub seen: Option<Seen>,
    /// Only on the tombstone of a directory: it stands on disk all the same, for what is not tracked inside it.
    pub residue: bool,
}

/// The stat of an entry and the moment of that look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// What the disk said.
    pub stat: Stat,
    /// When the content was last known to be that of the row, by our clock.
    pub at: Timestamp,
}

impl Row {
    /// Returns the live entry, if there is one.
    #[must_use]
    pub fn live(&self) -> Option<&Live> {
        match &self.state {
            State::Live(live) => Some(live),
            State::Deleted(_) => None,
        }
    }

    /// Returns the tombstone, if there is one.
    #[must_use]
    pub fn tombstone(&self) -> Option<&Tombstone> {
        match &self.state {
            State::Live(_) => None,
            State::Deleted(tombstone) => Some(tombstone),
        }
    }

    /// Whether something is gone by it, and not only under another name.
    #[must_use]
    pub fn is_deletion(&self) -> bool {
        self.tombstone().is_some_and(|stone| stone.moved_to.is_none())
    }

    /// Whether a live directory stands at the path.
    #[must_use]
    pub fn is_live_dir(&self) -> bool {
        self.live().is_some_and(|live| live.content.value.is_dir())
    }
}

impl Live {
    /// Returns mode, owner and modification time together.
    #[must_use]
    pub fn attributes(&self) -> Attributes {
        Attributes { mode: self.mode.value, owner: self.owner.value, mtime: self.mtime.value }
    }

    /// Returns an entry all of whose values were set by `dot`.
    #[must_use]
    pub fn new(content: Content, attributes: Attributes, dot: Dot, recorded: Timestamp) -> Self {
        Self {
            content: Stamped { value: content, dot },
            recorded,
            mode: Stamped { value: attributes.mode, dot },
            owner: Stamped { value: attributes.owner, dot },
            mtime: Stamped { value: attributes.mtime, dot },
            moved_from: None,
        }
    }
}
