//! Rows of peers that we have not taken yet.

use rusqlite::Params;

use crate::fault::{self, Point};
use crate::model::path::RelPath;
use crate::model::row::Row;
use crate::store::db::Database;
use crate::store::error::StoreError;
use crate::store::pack::pack_row;
use crate::store::span::Span;
use crate::store::unpack::unpack_row;

/// The rows of one peer that differ from ours and wait to be applied, in path order.
#[derive(Clone, Copy, Debug)]
pub struct Remote<'d> {
    db: &'d Database,
    peer: u32,
}

impl<'d> Remote<'d> {
    /// Returns the rows in `db` of the peer with this number: that of a member, or 0 where there is but one peer.
    #[must_use]
    pub fn of(db: &'d Database, peer: u32) -> Self {
        Self { db, peer }
    }

    /// Returns the row that waits at `path`.
    ///
    /// # Errors
    /// The database refuses or is damaged.
    pub fn get(&self, path: &RelPath) -> Result<Option<Row>, StoreError> {
        let sql = "SELECT path, row FROM remote WHERE peer = ?1 AND path = ?2";
        let mut rows = self.select(sql, (self.peer, path.key()))?;
        Ok(rows.pop().map(|(_, row)| row))
    }

    /// Returns the number that the row at `path` has at the peer; 0 if none waits there, or it came without one.
    ///
    /// # Errors
    /// The database refuses.
    pub fn number(&self, path: &RelPath) -> Result<u64, StoreError> {
        let sql = "SELECT coalesce(max(seq), 0) FROM remote WHERE peer = ?1 AND path = ?2";
        self.db.ask("read the number of a row of the peer", sql, (self.peer, path.key()))
    }

    /// Returns the rows of all peers that wait at `path`.
    ///
    /// # Errors
    /// The database refuses or is damaged.
    pub fn of_all(db: &Database, path: &RelPath) -> Result<Vec<Row>, StoreError> {
        let sql = "SELECT path, row FROM remote WHERE path = ?1 ORDER BY peer";
        Ok(Remote::of(db, 0).select(sql, (path.key(),))?.into_iter().map(|(_, row)| row).collect())
    }

    /// Whether any row of any peer waits in `db`.
    ///
    /// # Errors
    /// The database refuses.
    pub fn is_any(db: &Database) -> Result<bool, StoreError> {
        db.ask("look for rows of peers", "SELECT EXISTS (SELECT 1 FROM remote)", ())
    }

    /// Lets `row` wait at `path`, in the open batch or one of its own.
    ///
    /// # Errors
    /// The database refuses, or the row is too large.
    pub fn put(&self, path: &RelPath, row: &Row) -> Result<(), StoreError> {
        self.put_numbered(path, row, 0)
    }

    /// Does the same with a row that has the number `seq` at the peer.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_numbered(&self, path: &RelPath, row: &Row, seq: u64) -> Result<(), StoreError> {
        self.db.batch(|| {
            let packed = pack_row(row, &mut self.db.slots_mut());
            let packed = self.db.fit(packed, || format!("the peer's row of {path:?}"))?;
            let moved_to =
                row.tombstone().and_then(|tombstone| tombstone.moved_to.as_ref()).map(RelPath::key);
            self.db.execute(
                "write a row of the peer",
                "INSERT OR REPLACE INTO remote (peer, path, seq, gone, moved_to, row) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                (self.peer, path.key(), seq, row.tombstone().is_some(), moved_to, packed),
            )?;
            fault::pass(Point::IndexWrite);
            Ok(())
        })
    }

    /// Forgets the row at `path`: it was taken, or is not wanted.
    ///
    /// # Errors
    /// The database refuses.
    pub fn remove(&self, path: &RelPath) -> Result<(), StoreError> {
        let sql = "DELETE FROM remote WHERE peer = ?1 AND path = ?2";
        self.db.execute("forget a row of the peer", sql, (self.peer, path.key())).map(drop)
    }

    /// Forgets all rows.
    ///
    /// # Errors
    /// The database refuses.
    pub fn clear(&self) -> Result<(), StoreError> {
        let sql = "DELETE FROM remote WHERE peer = ?1";
        self.db.execute("forget the rows of the peer", sql, (self.peer,)).map(drop)
    }

    /// Returns at most `limit` rows in path order, those after `after`.
    ///
    /// # Errors
    /// The database refuses or is damaged.
    pub fn page(&self, after: Option<&RelPath>, limit: usize) -> Result<Vec<(RelPath, Row)>, StoreError> {
        let span = after.map_or_else(Span::all, |after| Span::all().after(after));
        let sql = "SELECT path, row FROM remote
            WHERE peer = ?1 AND path >= ?2 AND path < ?3 ORDER BY path LIMIT ?4";
        self.select(sql, (self.peer, span.low, span.high, limit))
    }

    /// Returns at most `limit` rows against path order, those before `before`: children come before their parent.
    ///
    /// # Errors
    /// The database refuses or is damaged.
    pub fn page_back(
        &self,
        before: Option<&RelPath>,
        limit: usize,
    ) -> Result<Vec<(RelPath, Row)>, StoreError> {
        let span = before.map_or_else(Span::all, |before| Span::all().before(before));
        let sql = "SELECT path, row FROM remote
            WHERE peer = ?1 AND path >= ?2 AND path < ?3 ORDER BY path DESC LIMIT ?4";
        self.select(sql, (self.peer, span.low, span.high, limit))
    }

    /// Returns the tombstones that say that their entry went to `path`, in path order.
    ///
    /// # Errors
    /// The database refuses or is damaged.
    pub fn moved_to(&self, path: &RelPath) -> Result<Vec<(RelPath, Row)>, StoreError> {
        let sql = "SELECT path, row FROM remote WHERE peer = ?1 AND moved_to = ?2 ORDER BY path";
        self.select(sql, (self.peer, path.key()))
    }

    /// Returns how many rows wait. Reads all keys.
    ///
    /// # Errors
    /// The database refuses.
    pub fn count(&self) -> Result<u64, StoreError> {
        self.db.ask("count the rows of the peer", "SELECT count(*) FROM remote WHERE peer = ?1", (self.peer,))
    }

    /// Returns how many of them are deletions, renames not counted (S14). Reads the keys of these alone.
    ///
    /// # Errors
    /// The database refuses.
    pub fn count_deletes(&self) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM remote WHERE peer = ?1 AND gone = 1 AND moved_to IS NULL";
        self.db.ask("count the deletions of the peer", sql, (self.peer,))
    }

    /// Whether any row waits strictly below `dir`.
    ///
    /// # Errors
    /// The database refuses.
    pub fn any_below(&self, dir: &RelPath) -> Result<bool, StoreError> {
        let Span { low, high } = Span::below(dir);
        let sql = "SELECT EXISTS (SELECT 1 FROM remote WHERE peer = ?1 AND path >= ?2 AND path < ?3)";
        self.db.ask("look for rows of the peer", sql, (self.peer, low, high))
    }

    fn select(&self, sql: &str, params: impl Params) -> Result<Vec<(RelPath, Row)>, StoreError> {
        let slots = self.db.slots();
        self.db.query("read rows of the peer", sql, params, |fields| {
            let path = fields.path(0)?;
            let name = || format!("the peer's row of {path:?}");
            let row = fields.unpack(1, name, |bytes| unpack_row(bytes, &slots))?;
            Ok((path, row))
        })
    }
}

#[cfg(test)]
mod tests;
