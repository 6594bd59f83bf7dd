//! Conflicts: objects with an id and two sides that wait for a person.

use data_encoding::HEXLOWER_PERMISSIVE;
use rusqlite::Params;

use crate::model::entry::Digest;
use crate::model::metadata::Timestamp;
use crate::model::path::RelPath;
use crate::model::row::Loser;
use crate::store::db::Database;
use crate::store::error::StoreError;
use crate::store::pack::{PACKED_MAX, PackError, Packer};
use crate::store::unpack::Unpacker;

/// Two contents of one path, none of which replaced the other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// The digest of the path and of both sides; the same on every member (S15).
    pub id: Digest,
    /// The path.
    pub path: RelPath,
    /// What stands at the path.
    pub winner: Side,
    /// What was kept beside it.
    pub loser: Side,
    /// When it was found, by our clock.
    pub since: Timestamp,
    /// Whether it is settled.
    pub resolved: bool,
}

/// One side of a conflict.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Side {
    /// The content and who wrote it.
    pub entry: Loser,
    /// The name of its writer, for people.
    pub peer: String,
}

/// The conflicts of a database.
#[derive(Clone, Copy, Debug)]
pub struct Conflicts<'d> {
    db: &'d Database,
}

impl<'d> Conflicts<'d> {
    /// Returns the conflicts in `db`.
    #[must_use]
    pub fn of(db: &'d Database) -> Self {
        Self { db }
    }

    /// Records `conflict`, in the open batch or one of its own. One that is known under its id is replaced.
    ///
    /// # Errors
    /// The database refuses, or the conflict is too large.
    pub fn put(&self, conflict: &Conflict) -> Result<(), StoreError> {
        self.db.batch(|| {
            let packed = self.pack(conflict)?;
            let sql = "INSERT OR REPLACE INTO conflict (id, path, open, sides) VALUES (?1, ?2, ?3, ?4)";
            let row = (conflict.id.0, conflict.path.key(), !conflict.resolved, packed);
            self.db.execute("write a conflict", sql, row).map(drop)
        })
    }

    /// Marks the conflict of this id as settled; returns whether it was open.
    ///
    /// # Errors
    /// The database refuses.
    pub fn close(&self, id: Digest) -> Result<bool, StoreError> {
        let sql = "UPDATE conflict SET open = 0 WHERE id = ?1 AND open = 1";
        self.db.execute("settle a conflict", sql, (id.0,)).map(|changed| changed > 0)
    }

    /// Returns all open conflicts in path order.
    ///
    /// # Errors
    /// The database refuses or is damaged.
    pub fn open(&self) -> Result<Vec<Conflict>, StoreError> {
        self.select("WHERE open = 1 ORDER BY path, id", ())
    }

    /// Returns the conflicts of `path`, open ones first.
    ///
    /// # Errors
    /// The database refuses or is damaged.
    pub fn at(&self, path: &RelPath) -> Result<Vec<Conflict>, StoreError> {
        self.select("WHERE path = ?1 ORDER BY open DESC, id", (path.key(),))
    }

    /// Returns at most 16 conflicts whose id begins with these hexadecimal digits; none where they are no such digits.
    ///
    /// # Errors
    /// The database refuses or is damaged.
    pub fn by_id(&self, prefix: &str) -> Result<Vec<Conflict>, StoreError> {
        let bound = |fill: &str| {
            let digits = format!("{prefix}{}", fill.repeat(64_usize.saturating_sub(prefix.len())));
            HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok().filter(|id| id.len() == 32)
        };
        let (Some(low), Some(high)) = (bound("0"), bound("f")) else {
            return Ok(Vec::new());
        };
        self.select("WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 16", (low, high))
    }

    fn pack(&self, conflict: &Conflict) -> Result<Vec<u8>, StoreError> {
        let mut slots = self.db.slots_mut();
        let mut packer = Packer::new(&mut slots);
        packer.time(conflict.since);
        for side in [&conflict.winner, &conflict.loser] {
            packer.loser(&side.entry);
            packer.bytes(side.peer.as_bytes());
        }
        self.db.fit(packer.out, || format!("the conflict of {:?}", conflict.path))
    }

    fn select(&self, condition: &str, params: impl Params) -> Result<Vec<Conflict>, StoreError> {
        let slots = self.db.slots();
        let sql = format!("SELECT id, path, open, sides FROM conflict {condition}");
        self.db.query("read conflicts", &sql, params, |fields| {
            let (id, path, open) = (Digest(fields.get(0)?), fields.path(1)?, fields.get::<bool>(2)?);
            let name = || format!("the conflict of {path:?}");
            let (since, winner, loser) = fields.unpack(3, name, |bytes| {
                let mut unpacker = Unpacker::new(bytes, &slots)?;
                let parts = (unpacker.time()?, side(&mut unpacker)?, side(&mut unpacker)?);
                unpacker.end().map(|()| parts)
            })?;
            Ok(Conflict { id, path, winner, loser, since, resolved: !open })
        })
    }
}

fn side(unpacker: &mut Unpacker<'_>) -> Result<Side, PackError> {
    Ok(Side { entry: unpacker.loser()?, peer: unpacker.text(PACKED_MAX)? })
}

#[cfg(test)]
mod tests;
