//! The catalogue of versions: old contents that were kept, and where.

use rusqlite::Params;

use crate::model::entry::{Digest, Kind};
use crate::model::metadata::{Attributes, Timestamp};
use crate::model::path::RelPath;
use crate::store::db::Database;
use crate::store::error::StoreError;
use crate::store::pack::{PACKED_MAX, Packer};
use crate::store::span::Span;
use crate::store::unpack::Unpacker;

/// An old content in the version store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version {
    /// Its id: at least 8 hexadecimal digits, unique in the catalogue.
    pub id: String,
    /// The path at which it stood.
    pub path: RelPath,
    /// The batch that kept it: the name of a directory in `.csync/kept`.
    pub batch: String,
    /// Where it lies in that directory.
    pub place: RelPath,
    /// When it was replaced, by our clock.
    pub replaced: Timestamp,
    /// What kind of thing it is.
    pub kind: Kind,
    /// Bytes, for files.
    pub size: u64,
    /// Digest of the content, where known.
    pub digest: Option<Digest>,
    /// Mode, owner and the time it was written.
    pub attributes: Attributes,
    /// Who replaced it, for people.
    pub by: String,
    /// Why it was kept, for people.
    pub why: String,
}

/// The catalogue of a database.
#[derive(Clone, Copy, Debug)]
pub struct Versions<'d> {
    db: &'d Database,
}

impl<'d> Versions<'d> {
    /// Returns the catalogue in `db`.
    #[must_use]
    pub fn of(db: &'d Database) -> Self {
        Self { db }
    }

    /// Adds `version`, in the open batch or one of its own. Returns false, with nothing done, if its id is taken.
    ///
    /// # Errors
    /// The database refuses, or the version is too large.
    pub fn add(&self, version: &Version) -> Result<bool, StoreError> {
        self.db.batch(|| {
            let packed = self.pack(version)?;
            let sql = "INSERT OR IGNORE INTO kept
                (id, path, replaced_secs, replaced_nanos, digest, batch, place, details)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            let Timestamp { secs, nanos } = version.replaced;
            let digest = version.digest.map(|digest| digest.0);
            let (key, place) = (version.path.key(), version.place.key());
            let row = (&version.id, key, secs, nanos, digest, &version.batch, place, packed);
            self.db.execute("add a version", sql, row).map(|changed| changed > 0)
        })
    }

    /// Forgets the version of this id; returns whether there was one.
    ///
    /// # Errors
    /// The database refuses.
    pub fn remove(&self, id: &str) -> Result<bool, StoreError> {
        self.db
            .execute("forget a version", "DELETE FROM kept WHERE id = ?1", (id,))
            .map(|changed| changed > 0)
    }

    /// Returns the versions of `path` whose id begins with `prefix` (all, if it is empty), the newest first.
    ///
    /// # Errors
    /// The database refuses or is damaged.
    pub fn at(&self, path: &RelPath, prefix: &str) -> Result<Vec<Version>, StoreError> {
        self.select(
            "WHERE path = ?1 AND substr(id, 1, length(?2)) = ?2
                ORDER BY replaced_secs DESC, replaced_nanos DESC, id DESC",
            (path.key(), prefix),
        )
    }

    /// Returns at most `limit` versions of what stood strictly below `dir`, those after `after`; in path order, of one
    /// path the oldest first.
    ///
    /// # Errors
    /// The database refuses or is damaged.
    pub fn below(
        &self,
        dir: &RelPath,
        after: Option<&Version>,
        limit: usize,
    ) -> Result<Vec<Version>, StoreError> {
        let Span { low, high } = Span::below(dir);
        let order = "ORDER BY path, replaced_secs, replaced_nanos, id LIMIT";
        let Some(after) = after else {
            return self.select(&format!("WHERE path >= ?1 AND path < ?2 {order} ?3"), (low, high, limit));
        };
        let Timestamp { secs, nanos } = after.replaced;
        self.select(
            &format!(
                "WHERE path >= ?1 AND path < ?2
                    AND (path, replaced_secs, replaced_nanos, id) > (?3, ?4, ?5, ?6) {order} ?7"
            ),
            (low, high, after.path.key(), secs, nanos, &after.id, limit),
        )
    }

    /// Returns the `limit` versions that were replaced first, the oldest first: what is pruned first (S19).
    ///
    /// # Errors
    /// The database refuses or is damaged.
    pub fn oldest(&self, limit: usize) -> Result<Vec<Version>, StoreError> {
        self.select("ORDER BY replaced_secs, replaced_nanos, id LIMIT ?1", (limit,))
    }

    /// Returns at most 16 versions with this digest: contents that need not be fetched.
    ///
    /// # Errors
    /// The database refuses or is damaged.
    pub fn with_digest(&self, digest: Digest) -> Result<Vec<Version>, StoreError> {
        self.select("WHERE digest = ?1 ORDER BY id LIMIT 16", (digest.0,))
    }

    fn pack(&self, version: &Version) -> Result<Vec<u8>, StoreError> {
        let mut slots = self.db.slots_mut();
        let mut packer = Packer::new(&mut slots);
        packer.kind(version.kind);
        packer.number(version.size);
        packer.attributes(version.attributes);
        packer.bytes(version.by.as_bytes());
        packer.bytes(version.why.as_bytes());
        self.db.fit(packer.out, || format!("the version {} of {:?}", version.id, version.path))
    }

    fn select(&self, condition: &str, params: impl Params) -> Result<Vec<Version>, StoreError> {
        let slots = self.db.slots();
        let sql = format!(
            "SELECT id, path, replaced_secs, replaced_nanos, digest, batch, place, details FROM kept {condition}"
        );
        self.db.query("read versions", &sql, params, |fields| {
            let (id, path) = (fields.get::<String>(0)?, fields.path(1)?);
            let name = || format!("the version {id} of {path:?}");
            let (kind, size, attributes, by, why) = fields.unpack(7, name, |bytes| {
                let mut unpacker = Unpacker::new(bytes, &slots)?;
                let (kind, size) = (unpacker.kind()?, unpacker.number()?);
                let attributes = unpacker.attributes()?;
                let (by, why) = (unpacker.text(PACKED_MAX)?, unpacker.text(PACKED_MAX)?);
                unpacker.end().map(|()| (kind, size, attributes, by, why))
            })?;
            let replaced = Timestamp::new(fields.get(2)?, fields.get(3)?);
            let digest = fields.get::<Option<[u8; 32]>>(4)?.map(Digest);
            let (batch, place) = (fields.get(5)?, fields.path(6)?);
            Ok(Version { id, path, batch, place, replaced, kind, size, digest, attributes, by, why })
        })
    }
}

#[cfg(test)]
mod tests;
