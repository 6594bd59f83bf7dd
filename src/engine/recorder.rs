//! Writes what was found of a tree to its index: one path at a time, and at the end which of them are renames.

use std::collections::BTreeMap;

use crate::engine::error::EngineError;
use crate::engine::replica::Replica;
use crate::model::entry::Content;
use crate::model::metadata::Stat;
use crate::model::path::RelPath;
use crate::model::row::{Origin, Record, Row, State};
use crate::plan::detect::{self, Change, Context, Known};
use crate::plan::moves::{Candidate, pair};
use crate::store::hints::{Hint, Hints};
use crate::store::remote::Remote;

/// Rows written in one transaction.
const WRITES_MAX: u64 = 20_000;

/// Runs `look` in one batch; a large one is committed in parts.
///
/// # Errors
/// What `look` returns, or the index cannot be written.
pub(crate) fn in_batch<T>(
    replica: &Replica,
    look: impl FnOnce() -> Result<T, EngineError>,
) -> Result<T, EngineError> {
    replica.db.begin()?;
    match look() {
        Ok(sight) => {
            replica.db.commit()?;
            Ok(sight)
        }
        Err(error) => {
            replica.db.rollback()?;
            Err(error)
        }
    }
}

/// What one look at a tree, or at places in it, writes to the index. Works in the batch that the caller has open.
pub(crate) struct Recorder<'r> {
    replica: &'r Replica,
    context: Context,
    any_pending: bool,
    /// Whether anything was recorded before: what appears in a new index was not renamed.
    may_move: bool,
    vanished: Vec<Candidate>,
    appeared: Vec<Candidate>,
    /// Directories that stand only for what is not tracked.
    residues: BTreeMap<RelPath, Stat>,
    writes: u64,
    begun_at: u64,
    /// Paths at which a row of the peer stood already: a run was stopped before it could say so.
    pub(crate) adopted: Vec<RelPath>,
    /// Whether rows were dropped without a tombstone.
    pub(crate) forgot: bool,
}

impl<'r> Recorder<'r> {
    /// Returns the recorder of one look.
    ///
    /// # Errors
    /// The index cannot be read.
    pub(crate) fn new(replica: &'r Replica) -> Result<Self, EngineError> {
        Ok(Self {
            replica,
            context: replica.context(),
            any_pending: Remote::is_any(&replica.db)?,
            may_move: replica.index().live_count() > 0,
            vanished: Vec::new(),
            appeared: Vec::new(),
            residues: BTreeMap::new(),
            writes: 0,
            begun_at: replica.seq(),
            adopted: Vec::new(),
            forgot: false,
        })
    }

    /// Records that `content` with `stat` stands at `path`.
    ///
    /// # Errors
    /// The index cannot be read or written.
    pub(crate) fn present(
        &mut self,
        path: &RelPath,
        stat: &Stat,
        content: &Content,
        record: Option<&Record>,
    ) -> Result<(), EngineError> {
        let pending = self.pending(path)?;
        let known = Known { record, pending: pending.as_ref() };
        if record.is_some_and(|record| record.residue) && content.is_dir() {
            self.residues.insert(path.clone(), *stat);
        }
        if !self.residues.is_empty() && record.is_none_or(|record| record.row.live().is_none()) {
            self.bring_back_residues(path)?;
        }
        let change = detect::present(known, stat, content, &self.context, self.replica.seq() + 1);
        if self.may_move
            && let Change::Revision(new) = &change
            && let (Some(live), Some(seen)) = (new.row.live(), new.seen)
            && live.content.dot.replica == self.context.me
            && record.is_none_or(|record| record.row.live().is_none())
        {
            self.appeared.push(candidate(path, &live.content.value, &seen.stat));
        }
        self.write(path, change)
    }

    /// Records that nothing stands at `path`, which is proven.
    ///
    /// # Errors
    /// The index cannot be read or written.
    pub(crate) fn absent(&mut self, path: &RelPath, record: &Record) -> Result<(), EngineError> {
        let pending = self.pending(path)?;
        let known = Known { record: Some(record), pending: pending.as_ref() };
        let change = detect::absent(known, &self.context, self.replica.seq() + 1);
        if let (Change::Revision(_), Some(live), Some(seen)) = (&change, record.row.live(), record.seen) {
            self.vanished.push(candidate(path, &live.content.value, &seen.stat));
        }
        self.write(path, change)
    }

    /// Drops what is recorded of `path`, without a tombstone: the filter rules leave it out (S11).
    ///
    /// # Errors
    /// The index cannot be written.
    pub(crate) fn forget(&mut self, path: &RelPath) -> Result<(), EngineError> {
        self.write(path, Change::Forget)
    }

    /// Lets tombstones and creations that are renames know of each other (S13), and stores the sequence; the caller
    /// ends its batch after this. Returns how many revisions were recorded.
    ///
    /// # Errors
    /// The index cannot be read or written.
    pub(crate) fn finish(&mut self) -> Result<u64, EngineError> {
        let index = self.replica.index();
        for found in pair(&self.vanished, &self.appeared) {
            let (Some(mut old), Some(mut new)) = (index.get(&found.from)?, index.get(&found.to)?) else {
                continue;
            };
            let (State::Deleted(stone), State::Live(live)) = (&mut old.row.state, &mut new.row.state) else {
                continue;
            };
            stone.moved_to = Some(found.to.clone());
            live.moved_from = Some(Origin { path: found.from.clone(), vector: old.row.vector.clone() });
            index.put(&found.from, &old)?;
            index.put(&found.to, &new)?;
        }
        let revisions = self.replica.seq() - self.begun_at;
        if revisions > 0 {
            self.replica.save_seq()?;
        }
        Ok(revisions)
    }

    fn pending(&self, path: &RelPath) -> Result<Option<Row>, EngineError> {
        Ok(if self.any_pending { self.replica.pending(path)? } else { None })
    }

    /// Something tracked appeared in directories that stood only for what is not tracked: they live again (S12).
    fn bring_back_residues(&mut self, path: &RelPath) -> Result<(), EngineError> {
        for dir in path.ancestors() {
            let Some(stat) = self.residues.remove(&dir) else {
                continue;
            };
            let Some(record) = self.replica.record(&dir)?.filter(|record| record.residue) else {
                continue;
            };
            let record = Record { residue: false, ..record };
            let known = Known { record: Some(&record), pending: None };
            let change = detect::present(known, &stat, &Content::Dir, &self.context, self.replica.seq() + 1);
            self.write(&dir, change)?;
        }
        Ok(())
    }

    fn write(&mut self, path: &RelPath, change: Change) -> Result<(), EngineError> {
        let index = self.replica.index();
        match change {
            Change::None => return Ok(()),
            Change::Forget => {
                index.remove(path)?;
                self.forgot = true;
            }
            Change::Refresh(record) => index.put(path, &record)?,
            Change::Adopted(record) => {
                index.put(path, &record)?;
                self.replica.advance(1);
                let hint = Hint { path: path.clone(), recursive: false, at: self.context.now };
                Hints::of(&self.replica.db).add(&hint)?;
                self.adopted.push(path.clone());
            }
            Change::Revision(record) => {
                index.put(path, &record)?;
                self.replica.advance(1);
            }
        }
        self.writes += 1;
        if self.writes.is_multiple_of(WRITES_MAX) {
            self.replica.save_seq()?;
            self.replica.db.commit()?;
            self.replica.db.begin()?;
        }
        Ok(())
    }
}

fn candidate(path: &RelPath, content: &Content, stat: &Stat) -> Candidate {
    Candidate { path: path.clone(), content: content.clone(), inode: (stat.dev, stat.ino) }
}
