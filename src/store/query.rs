//! The two ways to talk to a database: run a statement, collect rows.

use rusqlite::Params;
use rusqlite::types::FromSql;

use crate::model::path::RelPath;
use crate::store::db::Database;
use crate::store::error::StoreError;
use crate::store::pack::{PACKED_MAX, PackError};

/// One row of an answer.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'r, 's> {
    db: &'r Database,
    doing: &'static str,
    row: &'r rusqlite::Row<'s>,
}

impl Database {
    /// Runs a statement that writes, in the open batch or one of its own; returns how many rows it changed.
    pub(crate) fn execute(
        &self,
        doing: &'static str,
        sql: &str,
        params: impl Params,
    ) -> Result<usize, StoreError> {
        self.batch(|| self.prepare(doing, sql)?.execute(params).map_err(|source| self.sql(doing, source)))
    }

    /// Returns what `read` makes of each row of the answer.
    pub(crate) fn query<T>(
        &self,
        doing: &'static str,
        sql: &str,
        params: impl Params,
        mut read: impl FnMut(Fields<'_, '_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let fail = |source| self.sql(doing, source);
        let mut statement = self.prepare(doing, sql)?;
        let mut rows = statement.query(params).map_err(fail)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(fail)? {
            found.push(read(Fields { db: self, doing, row })?);
        }
        Ok(found)
    }

    /// Returns the one value of an answer of one row.
    pub(crate) fn ask<T: FromSql>(
        &self,
        doing: &'static str,
        sql: &str,
        params: impl Params,
    ) -> Result<T, StoreError> {
        self.prepare(doing, sql)?
            .query_row(params, |row| row.get(0))
            .map_err(|source| self.sql(doing, source))
    }

    /// Returns `packed` if it may be stored.
    pub(crate) fn fit(&self, packed: Vec<u8>, what: impl FnOnce() -> String) -> Result<Vec<u8>, StoreError> {
        if packed.len() <= PACKED_MAX {
            return Ok(packed);
        }
        Err(StoreError::TooLarge { path: self.path().to_owned(), what: what() })
    }
}

impl<'r> Fields<'r, '_> {
    /// Returns a value.
    pub(crate) fn get<T: FromSql>(&self, column: usize) -> Result<T, StoreError> {
        self.row.get(column).map_err(|source| self.db.sql(self.doing, source))
    }

    /// Returns bytes, in place.
    pub(crate) fn bytes(&self, column: usize) -> Result<&'r [u8], StoreError> {
        let value = self.row.get_ref(column).map_err(|source| self.db.sql(self.doing, source))?;
        value.as_blob().map_err(|source| self.db.sql(self.doing, source.into()))
    }

    /// Returns the path of a stored key.
    pub(crate) fn path(&self, column: usize) -> Result<RelPath, StoreError> {
        RelPath::from_key(self.bytes(column)?).map_err(|why| self.db.corrupt("a path", why.into()))
    }

    /// Returns what `unpack` makes of stored bytes; `what` names them if they are damaged.
    pub(crate) fn unpack<T>(
        &self,
        column: usize,
        what: impl FnOnce() -> String,
        unpack: impl FnOnce(&[u8]) -> Result<T, PackError>,
    ) -> Result<T, StoreError> {
        unpack(self.bytes(column)?).map_err(|why| self.db.corrupt(&what(), why))
    }
}
