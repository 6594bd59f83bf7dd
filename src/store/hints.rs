//! The journal of hints: look here again.

use crate::model::metadata::Timestamp;
use crate::model::path::RelPath;
use crate::store::db::Database;
use crate::store::error::StoreError;

/// A place where something may have changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hint {
    /// The place.
    pub path: RelPath,
    /// Whether all below it is meant too.
    pub recursive: bool,
    /// When the hint came, by our clock.
    pub at: Timestamp,
}

/// The hints of a database, at most one per path.
#[derive(Clone, Copy, Debug)]
pub struct Hints<'d> {
    db: &'d Database,
}

impl<'d> Hints<'d> {
    /// Returns the hints in `db`.
    #[must_use]
    pub fn of(db: &'d Database) -> Self {
        Self { db }
    }

    /// Adds a hint, in the open batch or one of its own. With one that is there it becomes the wider and later of both.
    ///
    /// # Errors
    /// The database refuses.
    pub fn add(&self, hint: &Hint) -> Result<(), StoreError> {
        let sql = "INSERT INTO hint (path, recursive, at_secs, at_nanos) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT (path) DO UPDATE SET
                recursive = max(recursive, excluded.recursive),
                (at_secs, at_nanos) = (SELECT excluded.at_secs, excluded.at_nanos
                    WHERE (excluded.at_secs, excluded.at_nanos) > (hint.at_secs, hint.at_nanos)
                    UNION ALL SELECT hint.at_secs, hint.at_nanos LIMIT 1)";
        let Timestamp { secs, nanos } = hint.at;
        self.db.execute("note a hint", sql, (hint.path.key(), hint.recursive, secs, nanos)).map(drop)
    }

    /// Takes out the first `limit` hints in path order.
    ///
    /// They are gone when the batch ends: what is found there is to be recorded in the same batch.
    ///
    /// # Errors
    /// The database refuses or is damaged.
    pub fn take(&self, limit: usize) -> Result<Vec<Hint>, StoreError> {
        let doing = "take hints";
        self.db.batch(|| {
            let sql = "SELECT path, recursive, at_secs, at_nanos FROM hint ORDER BY path LIMIT ?1";
            let hints = self.db.query(doing, sql, (limit,), |fields| {
                let at = Timestamp::new(fields.get(2)?, fields.get(3)?);
                Ok(Hint { path: fields.path(0)?, recursive: fields.get(1)?, at })
            })?;
            for hint in &hints {
                self.db.execute(doing, "DELETE FROM hint WHERE path = ?1", (hint.path.key(),))?;
            }
            Ok(hints)
        })
    }

    /// Forgets all hints: a full scan follows.
    ///
    /// # Errors
    /// The database refuses.
    pub fn clear(&self) -> Result<(), StoreError> {
        self.db.execute("forget the hints", "DELETE FROM hint", ()).map(drop)
    }
}

#[cfg(test)]
mod tests;
