//! The journal of places to look at: where a change was heard of and is not recorded yet.

use crate::model::path::RelPath;
use crate::plan::settle::Hint;
use crate::store::db::Database;
use crate::store::error::StoreError;

/// The places of a database, each once.
///
/// A place is put down when its look must wait, and struck out in the batch that records what was found there: after
/// a stop at any moment it is either recorded or still to be looked at.
#[derive(Clone, Copy, Debug)]
pub struct Looks<'d> {
    db: &'d Database,
}

impl<'d> Looks<'d> {
    /// Returns the places in `db`.
    #[must_use]
    pub fn of(db: &'d Database) -> Self {
        Self { db }
    }

    /// Puts down a place, in the open batch or one of its own. One that is there becomes the wider of both.
    ///
    /// # Errors
    /// The database refuses.
    pub fn put(&self, hint: &Hint) -> Result<(), StoreError> {
        let sql = "INSERT INTO look (path, recursive) VALUES (?1, ?2)
            ON CONFLICT (path) DO UPDATE SET recursive = 1 WHERE excluded.recursive > recursive";
        self.db.execute("note where to look", sql, (hint.path.key(), hint.recursive)).map(drop)
    }

    /// Strikes out a place, in the open batch or one of its own. A recursive one that is there stays if only the entry
    /// itself was looked at.
    ///
    /// # Errors
    /// The database refuses.
    pub fn take(&self, hint: &Hint) -> Result<(), StoreError> {
        let sql = "DELETE FROM look WHERE path = ?1 AND recursive <= ?2";
        self.db.execute("strike out where to look", sql, (hint.path.key(), hint.recursive)).map(drop)
    }

    /// Strikes out everything: the whole tree was looked at.
    ///
    /// # Errors
    /// The database refuses.
    pub fn clear(&self) -> Result<(), StoreError> {
        self.db.execute("strike out where to look", "DELETE FROM look", ()).map(drop)
    }

    /// Returns all places in path order.
    ///
    /// # Errors
    /// The database refuses or is damaged.
    pub fn all(&self) -> Result<Vec<Hint>, StoreError> {
        let sql = "SELECT path, recursive FROM look ORDER BY path";
        self.db.query("read where to look", sql, (), |fields| {
            let path: RelPath = fields.path(0)?;
            Ok(Hint { path, recursive: fields.get(1)? })
        })
    }

    /// Whether no place is put down.
    ///
    /// # Errors
    /// The database refuses.
    pub fn is_empty(&self) -> Result<bool, StoreError> {
        self.db.ask("read where to look", "SELECT NOT EXISTS (SELECT 1 FROM look)", ())
    }
}

#[cfg(test)]
mod tests;
