//! One side of a pair, open: a root, its private directory, its database.

use std::cell::Cell;
use std::sync::Arc;

use crate::disk::clock;
use crate::disk::kept::Kept;
use crate::disk::lister::Lister;
use crate::disk::private::{Lock, Private};
use crate::disk::root::Root;
use crate::engine::error::EngineError;
use crate::engine::marker::Id;
use crate::model::metadata::Timestamp;
use crate::model::path::RelPath;
use crate::model::row::{Record, Row};
use crate::model::version::{Causality, ReplicaId};
use crate::plan::decide;
use crate::plan::detect::Context;
use crate::rules::conflict::Side;
use crate::store::db::Database;
use crate::store::error::StoreError;
use crate::store::index::Index;
use crate::store::meta::{self, Meta};
use crate::store::remote::Remote;

/// One side of a pair, open for a run.
#[derive(Debug)]
pub struct Replica {
    /// Which side it is.
    pub side: Side,
    /// What people call it: its side, or the node that it is on.
    pub name: String,
    /// The tree.
    pub root: Arc<Root>,
    /// The private directory; `None` only in a rehearsal of a root that has none.
    pub private: Option<Arc<Private>>,
    /// What is recorded.
    pub db: Database,
    /// The name of the database.
    pub database: Id,
    /// The id under which changes are recorded.
    pub me: ReplicaId,
    /// The id in the root's marker.
    pub root_id: Id,
    /// Absence proves nothing in this run: the state is older than the disk (S10).
    pub no_deletes: bool,
    /// The name of this run in the version store.
    pub batch: String,
    /// The sequence of the last revision.
    pub seq: Cell<u64>,
    /// Held for the whole run.
    pub lock: Option<Lock>,
    /// The peer that we deal with now, by its number; 0 where there is but one.
    pub peer: Cell<u32>,
}

impl Replica {
    /// Returns the tree, to be walked.
    #[must_use]
    pub fn lister(&self) -> Arc<dyn Lister> {
        Arc::<Root>::clone(&self.root)
    }

    /// Returns the view of our own rows.
    #[must_use]
    pub fn index(&self) -> Index<'_> {
        Index::of(&self.db)
    }

    /// Returns the view of the rows that are not settled here, of the peer that we deal with now.
    #[must_use]
    pub fn remote(&self) -> Remote<'_> {
        Remote::of(&self.db, self.peer.get())
    }

    /// Returns the row that waits at `path`, of whichever peer: of several the one that knows the most.
    ///
    /// # Errors
    /// The database refuses.
    pub fn pending(&self, path: &RelPath) -> Result<Option<Row>, StoreError> {
        let rows = Remote::of_all(&self.db, path)?.into_iter();
        Ok(rows.reduce(
            |one, other| {
                if other.vector.compare(&one.vector) == Causality::After { other } else { one }
            },
        ))
    }

    /// Returns the typed settings.
    #[must_use]
    pub fn meta(&self) -> Meta<'_> {
        Meta::of(&self.db)
    }

    /// Returns the version store, if there is one.
    #[must_use]
    pub fn kept(&self) -> Option<Kept> {
        self.private.as_ref().map(|private| Kept::new(Arc::clone(private)))
    }

    /// Returns the sequence of the last revision.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq.get()
    }

    /// Takes `count` numbers of the sequence.
    pub fn advance(&self, count: u64) {
        self.seq.set(self.seq.get().saturating_add(count));
    }

    /// Takes back what an error left half done: an open batch, and numbers of the sequence that it had taken.
    ///
    /// # Errors
    /// The database refuses.
    pub fn put_back(&self) -> Result<(), StoreError> {
        self.db.rollback()?;
        let saved = self.meta().get(meta::SEQUENCE)?.unwrap_or(0);
        self.seq.set(self.seq.get().min(saved));
        Ok(())
    }

    /// Stores the sequence, as part of the open batch: to be called before every commit that used numbers of it.
    ///
    /// # Errors
    /// The database refuses.
    pub fn save_seq(&self) -> Result<(), StoreError> {
        self.meta().set(meta::SEQUENCE, &self.seq.get())
    }

    /// Returns how this replica observes now.
    #[must_use]
    pub fn context(&self) -> Context {
        Context { me: self.me, side: self.side, now: clock::now(), no_deletes: self.no_deletes }
    }

    /// Returns what is recorded at `path`.
    ///
    /// # Errors
    /// The database refuses.
    pub fn record(&self, path: &RelPath) -> Result<Option<Record>, StoreError> {
        self.index().get(path)
    }

    /// Ends a run cleanly.
    ///
    /// # Errors
    /// The database refuses.
    pub fn close(self) -> Result<(), EngineError> {
        self.save_seq()?;
        self.meta().set(meta::NO_DELETES, &false)?;
        Ok(self.db.close()?)
    }
}

impl decide::Index for Replica {
    type Error = StoreError;

    fn ours(&self, path: &RelPath) -> Result<Option<Row>, StoreError> {
        Ok(self.index().get(path)?.map(|record| record.row))
    }

    fn theirs(&self, path: &RelPath) -> Result<Option<Row>, StoreError> {
        self.remote().get(path)
    }
}

/// Returns the name of the run that began at `now` in a version store.
#[must_use]
pub fn run_name(now: Timestamp) -> String {
    format!("{:016x}", now.nanos_since(Timestamp::default()))
}
