//! Which paths hold a content: kept for the folder of a peer, so that what it has already is not sent again.

use crate::model::entry::Digest;
use crate::model::path::RelPath;
use crate::store::db::Database;
use crate::store::error::StoreError;

/// The first bytes of a digest, enough to find a path by; whoever uses it compares the whole.
const DIGEST_BYTES: usize = 16;

/// The contents that a database has listed. A view, as `store::index::Index` is.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'d> {
    db: &'d Database,
}

impl<'d> Contents<'d> {
    /// Returns the contents of `db`.
    #[must_use]
    pub fn of(db: &'d Database) -> Self {
        Self { db }
    }

    /// Notes that `path` holds `digest`.
    ///
    /// # Errors
    /// The database refuses.
    pub fn add(&self, digest: Digest, path: &RelPath) -> Result<(), StoreError> {
        let sql = "INSERT OR IGNORE INTO content (digest, path) VALUES (?1, ?2)";
        self.db.execute("note a content", sql, (&digest.0[..DIGEST_BYTES], path.key())).map(drop)
    }

    /// Notes that `path` does not hold `digest` any more.
    ///
    /// # Errors
    /// The database refuses.
    pub fn remove(&self, digest: Digest, path: &RelPath) -> Result<(), StoreError> {
        let sql = "DELETE FROM content WHERE digest = ?1 AND path = ?2";
        self.db.execute("forget a content", sql, (&digest.0[..DIGEST_BYTES], path.key())).map(drop)
    }

    /// Returns at most `limit` paths that may hold `digest`, in path order.
    ///
    /// # Errors
    /// The database refuses or is damaged.
    pub fn places(&self, digest: Digest, limit: usize) -> Result<Vec<RelPath>, StoreError> {
        let sql = "SELECT path FROM content WHERE digest = ?1 ORDER BY path LIMIT ?2";
        self.db.query("look for a content", sql, (&digest.0[..DIGEST_BYTES], limit), |fields| fields.path(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sample::{database, path};

    #[test]
    fn a_content_is_found_at_each_of_its_places_until_it_is_gone() {
        let (_dir, db) = database();
        let contents = Contents::of(&db);
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        for (digest, place) in [(one, "b"), (one, "a/x"), (two, "c"), (one, "b")] {
            contents.add(digest, &path(place)).unwrap();
        }
        assert_eq!(contents.places(one, 9).unwrap(), [path("a/x"), path("b")]);
        assert_eq!(contents.places(one, 1).unwrap(), [path("a/x")]);
        contents.remove(one, &path("b")).unwrap();
        contents.remove(two, &path("b")).unwrap();
        assert_eq!(contents.places(one, 9).unwrap(), [path("a/x")]);
        assert_eq!(contents.places(two, 9).unwrap(), [path("c")]);
    }
}
