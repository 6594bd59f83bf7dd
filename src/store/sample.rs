//! Rows and databases for the tests of this floor.

use crate::model::entry::{Content, Digest};
use crate::model::metadata::{Attributes, Owner, Timestamp};
use crate::model::path::RelPath;
use crate::model::row::{Live, Record, Row, State, Tombstone};
use crate::model::version::{Dot, ReplicaId, VersionVector};
use crate::store::db::{Database, Mode};

pub(crate) const NOW: Timestamp = Timestamp { secs: 1_750_000_000, nanos: 123_456_789 };

pub(crate) fn path(bytes: impl AsRef<[u8]>) -> RelPath {
    RelPath::new(bytes.as_ref()).unwrap()
}

pub(crate) fn attributes() -> Attributes {
    Attributes { mode: 0o644, owner: Owner { uid: 1000, gid: 1000 }, mtime: NOW }
}

pub(crate) fn dot(replica: u8, counter: u64) -> Dot {
    Dot { replica: ReplicaId([replica; 16]), counter }
}

/// A live file of `size` bytes, recorded under `seq`.
pub(crate) fn live(seq: u64, size: u64) -> Record {
    let content = Content::File { digest: Digest::of(&seq.to_be_bytes()), size };
    let state = State::Live(Live::new(content, attributes(), dot(1, seq), NOW));
    let vector = VersionVector::from_iter([dot(1, seq), dot(2, seq + 7)]);
    Record { row: Row { vector, state, losers: Vec::new() }, seq, seen: None, residue: false }
}

/// A tombstone, recorded under `seq`.
pub(crate) fn deleted(seq: u64, moved_to: Option<RelPath>) -> Record {
    let tombstone = Tombstone {
        dot: dot(1, seq),
        deleted_at: NOW,
        content: Content::Dir,
        attributes: attributes(),
        moved_to,
    };
    let vector = VersionVector::of(dot(1, seq));
    let row = Row { vector, state: State::Deleted(tombstone), losers: Vec::new() };
    Record { row, seq, seen: None, residue: false }
}

/// A new database in a directory of its own.
pub(crate) fn database() -> (tempfile::TempDir, Database) {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open(&dir.path().join("a.db"), Mode::Durable).unwrap();
    (dir, db)
}

/// The paths of `rows`, as shown.
pub(crate) fn names<T>(rows: &[(RelPath, T)]) -> Vec<String> {
    rows.iter().map(|(path, _)| path.to_string()).collect()
}
