//! The index: what this replica knows of every path, in path order.

use std::collections::VecDeque;

use rusqlite::{OptionalExtension as _, Params};

use crate::fault::{self, Point};
use crate::model::path::RelPath;
use crate::model::row::Record;
use crate::store::db::Database;
use crate::store::error::StoreError;
use crate::store::pack::pack_record;
use crate::store::span::Span;
use crate::store::unpack::unpack_record;

/// Rows that a [`Cursor`] reads at a time.
const PAGE: usize = 512;
/// Rows in which children are looked for at a time.
const CHILDREN_PAGE: usize = 64;
/// Up to this many changed rows are found by sequence and sorted; more are picked out of a walk in path order.
const SORTED_MAX: usize = 10_000;

/// The index of a database. A view: any number may exist, writes are seen by all at once.
#[derive(Clone, Copy, Debug)]
pub struct Index<'d> {
    db: &'d Database,
}

impl<'d> Index<'d> {
    /// Returns the index of `db`.
    #[must_use]
    pub fn of(db: &'d Database) -> Self {
        Self { db }
    }

    /// Returns what is known of `path`.
    ///
    /// # Errors
    /// The database refuses or is damaged.
    pub fn get(&self, path: &RelPath) -> Result<Option<Record>, StoreError> {
        let rows = self.select("SELECT path, seq, record FROM entry WHERE path = ?1", (path.key(),))?;
        Ok(rows.into_iter().next().map(|(_, record)| record))
    }

    /// Records `record` at `path`, in the open batch or one of its own.
    ///
    /// # Errors
    /// The database refuses, or the record is too large.
    pub fn put(&self, path: &RelPath, record: &Record) -> Result<(), StoreError> {
        let sql = "INSERT INTO entry (path, seq, bytes, record) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT (path) DO UPDATE SET seq = excluded.seq, bytes = excluded.bytes, record = excluded.record";
        self.db.batch(|| {
            let key = path.key();
            let packed = pack_record(record, &mut self.db.slots_mut());
            let packed = self.db.fit(packed, || format!("the row of {path:?}"))?;
            // `SQLite` counts to 2^63; a file cannot be larger, but a peer may say so.
            let new = record.row.live().map(|live| live.content.value.size().min(i64::MAX.cast_unsigned()));
            let old = self.live_bytes(&key)?;
            self.db.execute("write a row", sql, (key, record.seq, new, packed))?;
            self.db.count(old, new);
            fault::pass(Point::IndexWrite);
            Ok(())
        })
    }

    /// Forgets `path` altogether, in the open batch or one of its own.
    ///
    /// # Errors
    /// The database refuses.
    pub fn remove(&self, path: &RelPath) -> Result<(), StoreError> {
        self.db.batch(|| {
            let key = path.key();
            let old = self.live_bytes(&key)?;
            self.db.execute("forget a row", "DELETE FROM entry WHERE path = ?1", (key,))?;
            self.db.count(old, None);
            Ok(())
        })
    }

    /// Forgets everything, in the open batch or one of its own.
    ///
    /// # Errors
    /// The database refuses.
    pub fn clear(&self) -> Result<(), StoreError> {
        self.db.batch(|| {
            self.db.execute("forget all rows", "DELETE FROM entry", ())?;
            self.db.count_none();
            Ok(())
        })
    }

    /// Returns at most `limit` rows in path order, those after `after` and strictly below `below`.
    ///
    /// # Errors
    /// The database refuses or is damaged.
    pub fn page(
        &self,
        after: Option<&RelPath>,
        below: Option<&RelPath>,
        limit: usize,
    ) -> Result<Vec<(RelPath, Record)>, StoreError> {
        let sql = "SELECT path, seq, record FROM entry WHERE path >= ?1 AND path < ?2 ORDER BY path LIMIT ?3";
        let span = span(after, below);
        self.select(sql, (span.low, span.high, limit))
    }

    /// Returns all rows strictly below `below`, one after the other in path order.
    ///
    /// It holds no statement open: rows written meanwhile are seen if they come behind what was already read ahead.
    #[must_use]
    pub fn cursor(&self, below: Option<&RelPath>) -> Cursor<'d> {
        Cursor { index: *self, below: below.cloned(), last: None, ahead: VecDeque::new(), done: false }
    }

    /// Returns at most `limit` direct children of `dir`, those after `after`, in path order.
    ///
    /// # Errors
    /// The database refuses or is damaged.
    pub fn children(
        &self,
        dir: &RelPath,
        after: Option<&RelPath>,
        limit: usize,
    ) -> Result<Vec<(RelPath, Record)>, StoreError> {
        let sql = "SELECT path, seq, record FROM entry WHERE path >= ?1 AND path < ?2 ORDER BY path LIMIT ?3";
        let mut span = Span::below(dir);
        if let Some(after) = after {
            span = span.after_tree(after);
        }
        let mut children = Vec::new();
        while children.len() < limit {
            let rows = self.select(sql, (&span.low, &span.high, CHILDREN_PAGE))?;
            let is_last = rows.len() < CHILDREN_PAGE;
            let mut deep = None;
            for (path, record) in rows {
                if path.depth() == dir.depth() + 1 {
                    span = span.after(&path);
                    children.push((path, record));
                } else {
                    // What lies below a child is passed over by a new question. Below one that has no row itself there
                    // may be rows all the same; they are not children.
                    let child = path.ancestors().find(|above| above.depth() == dir.depth() + 1);
                    deep = Some(child.unwrap_or(path));
                    break;
                }
            }
            match deep {
                Some(child) => span = span.after_tree(&child),
                None if is_last => break,
                None => {}
            }
        }
        children.truncate(limit);
        Ok(children)
    }

    /// Returns at most `limit` rows recorded under a sequence above `seq`, those after `after`, in path order (S7).
    ///
    /// # Errors
    /// The database refuses or is damaged.
    pub fn changed_since(
        &self,
        seq: u64,
        after: Option<&RelPath>,
        limit: usize,
    ) -> Result<Vec<(RelPath, Record)>, StoreError> {
        let Span { low, high } = span(after, None);
        let few = self.ask(
            "SELECT count(*) <= ?2 FROM (SELECT 1 FROM entry WHERE seq > ?1 LIMIT ?2 + 1)",
            (seq, SORTED_MAX),
        )?;
        let sql = if few {
            "SELECT path, seq, record FROM entry INDEXED BY entry_seq
                WHERE seq > ?1 AND path >= ?2 AND path < ?3 ORDER BY path LIMIT ?4"
        } else {
            "SELECT path, seq, record FROM entry
                WHERE +seq > ?1 AND path >= ?2 AND path < ?3 ORDER BY path LIMIT ?4"
        };
        self.select(sql, (seq, low, high, limit))
    }

    /// Returns how many rows were recorded under a sequence above `seq`.
    ///
    /// # Errors
    /// The database refuses.
    pub fn count_since(&self, seq: u64) -> Result<u64, StoreError> {
        self.db.ask("count rows of the index", "SELECT count(*) FROM entry WHERE seq > ?1", (seq,))
    }

    /// Whether anything live is recorded strictly below `dir`. Walks over the tombstones that come before it.
    ///
    /// # Errors
    /// The database refuses.
    pub fn any_live_below(&self, dir: &RelPath) -> Result<bool, StoreError> {
        let Span { low, high } = Span::below(dir);
        self.ask(
            "SELECT EXISTS (SELECT 1 FROM entry WHERE path >= ?1 AND path < ?2 AND bytes IS NOT NULL)",
            (low, high),
        )
    }

    /// Returns the number of live entries.
    #[must_use]
    pub fn live_count(&self) -> u64 {
        self.db.tally().entries
    }

    /// Returns the bytes of all live files.
    #[must_use]
    pub fn live_bytes_total(&self) -> u64 {
        self.db.tally().bytes
    }

    /// Returns the size of the live entry with this key; `None` where nothing live is recorded.
    fn live_bytes(&self, key: &[u8]) -> Result<Option<u64>, StoreError> {
        let doing = "read a row";
        self.db
            .prepare(doing, "SELECT bytes FROM entry WHERE path = ?1")?
            .query_row([key], |row| row.get(0))
            .optional()
            .map(Option::flatten)
            .map_err(|source| self.db.sql(doing, source))
    }

    fn ask(&self, sql: &str, params: impl Params) -> Result<bool, StoreError> {
        self.db.ask("look for rows", sql, params)
    }

    fn select(&self, sql: &str, params: impl Params) -> Result<Vec<(RelPath, Record)>, StoreError> {
        let slots = self.db.slots();
        self.db.query("read rows", sql, params, |fields| {
            let (path, seq) = (fields.path(0)?, fields.get(1)?);
            let name = || format!("the row of {path:?}");
            let record = fields.unpack(2, name, |bytes| unpack_record(bytes, seq, &slots))?;
            Ok((path, record))
        })
    }
}

/// All rows of a range in path order, read by pages.
#[derive(Debug)]
pub struct Cursor<'d> {
    index: Index<'d>,
    below: Option<RelPath>,
    last: Option<RelPath>,
    ahead: VecDeque<(RelPath, Record)>,
    done: bool,
}

impl Iterator for Cursor<'_> {
    type Item = Result<(RelPath, Record), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ahead.is_empty() && !self.done {
            match self.index.page(self.last.as_ref(), self.below.as_ref(), PAGE) {
                Ok(page) => {
                    self.done = page.len() < PAGE;
                    self.last = page.last().map(|(path, _)| path.clone());
                    self.ahead = page.into();
                }
                Err(error) => {
                    self.done = true;
                    return Some(Err(error));
                }
            }
        }
        self.ahead.pop_front().map(Ok)
    }
}

fn span(after: Option<&RelPath>, below: Option<&RelPath>) -> Span {
    let span = below.map_or_else(Span::all, Span::below);
    match after {
        Some(after) => span.after(after),
        None => span,
    }
}

#[cfg(test)]
mod tests;
