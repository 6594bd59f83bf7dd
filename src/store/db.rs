//! The database of one replica: opening, checking, write batches.

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::Backup;
use rusqlite::config::DbConfig;
use rusqlite::{CachedStatement, Connection, ErrorCode, OptionalExtension as _};
use rusqlite_migration::{M, Migrations};

use crate::fault::{self, Point};
use crate::model::version::ReplicaId;
use crate::store::error::StoreError;
use crate::store::pack::PackError;
use crate::store::slots::Slots;

const MIGRATIONS: &[M<'_>] = &[
    M::up(include_str!("sql/0001_index.sql")),
    M::up(include_str!("sql/0002_content.sql")),
    M::up(include_str!("sql/0003_look.sql")),
    M::up(include_str!("sql/0004_members.sql")),
];
/// The number in the file's header that says whose database this is: "csyn".
const APPLICATION_ID: i64 = 0x6373_796e;
/// One process per replica, which also spares the shared memory file; lengths inside pages are checked when read.
const CAREFUL: &str = "PRAGMA locking_mode = EXCLUSIVE; PRAGMA cell_size_check = ON;
    PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384;";
/// A commit must outlive a power cut, because renames follow it (S8). `NORMAL` would do for what a scan finds again
/// (observations, hints), but batches of a thousand rows hide the difference.
const DURABLE: &str =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864;";

/// Whether what is written stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Batches are durable when they end.
    Durable,
    /// One transaction that is never committed: a dry run. Starts from the file, or from nothing where there is none.
    Rehearsal,
}

/// How much is live, kept up to date by every write.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Tally {
    /// Live entries.
    pub entries: u64,
    /// Bytes of the live files.
    pub bytes: u64,
}

/// An open replica database. One process at a time holds it; views such as `store::index::Index` read and write it.
#[derive(Debug)]
pub struct Database {
    conn: Connection,
    path: PathBuf,
    mode: Mode,
    unclean: bool,
    batching: Cell<bool>,
    slots: RefCell<Slots>,
    tally: Cell<Tally>,
    saved_tally: Cell<Tally>,
}

impl Database {
    /// Returns the database at `path`, made there (0600, in a directory of 0700) if it does not exist.
    ///
    /// It is held exclusively until dropped. After an unclean stop every page is checked first.
    /// A rehearsal makes and changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Newer`], [`Corrupt`](StoreError::Corrupt), [`Locked`](StoreError::Locked),
    /// [`Foreign`](StoreError::Foreign) as they say; `Io` and `Sql` where the system refuses.
    pub fn open(path: &Path, mode: Mode) -> Result<Self, StoreError> {
        let conn = connect(path, mode)?;
        let mut db = Self {
            conn,
            path: path.to_owned(),
            mode,
            unclean: false,
            batching: Cell::new(false),
            slots: RefCell::default(),
            tally: Cell::default(),
            saved_tally: Cell::default(),
        };
        db.configure()?;
        db.migrate()?;
        db.unclean = db.meta("unclean")?.is_some_and(|value| value != [0]);
        if db.unclean {
            db.check()?;
        }
        db.load()?;
        if mode == Mode::Rehearsal {
            db.run("begin a rehearsal", "BEGIN")?;
        }
        Ok(db)
    }

    /// Returns where the database is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether what is written stays.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether the run before this one did not end with [`close`](Self::close).
    #[must_use]
    pub fn was_unclean(&self) -> bool {
        self.unclean
    }

    /// Returns how much is live.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally.get()
    }

    /// Notes, durably, that a run has begun; it is unclean until [`close`](Self::close).
    ///
    /// # Errors
    /// The database refuses.
    pub fn start(&self) -> Result<(), StoreError> {
        self.set_meta("unclean", &[1])
    }

    /// Ends a run cleanly.
    ///
    /// # Errors
    /// The database refuses; the next run checks every page then.
    pub fn close(self) -> Result<(), StoreError> {
        self.set_meta("unclean", &[0])
    }

    /// Runs `work` and makes what it wrote durable as one; if it fails, nothing of it stays.
    ///
    /// Inside another batch it is part of that one. In a rehearsal nothing becomes durable, and what a failed batch
    /// wrote stays visible until the rehearsal ends.
    ///
    /// # Errors
    /// What `work` returns, or the database refuses.
    pub fn batch<T, E: From<StoreError>>(&self, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        if self.batching.get() || self.mode == Mode::Rehearsal {
            return work();
        }
        self.begin()?;
        match work() {
            Ok(value) => {
                self.commit()?;
                Ok(value)
            }
            Err(error) => {
                self.rollback()?;
                Err(error)
            }
        }
    }

    /// Begins a batch; one that is open goes on.
    ///
    /// # Errors
    /// The database refuses.
    pub fn begin(&self) -> Result<(), StoreError> {
        if self.batching.get() || self.mode == Mode::Rehearsal {
            return Ok(());
        }
        fault::pass(Point::IndexBegin);
        self.run("begin a batch", "BEGIN IMMEDIATE")?;
        self.batching.set(true);
        Ok(())
    }

    /// Makes what was written since [`begin`](Self::begin) durable; nothing where no batch is open.
    ///
    /// # Errors
    /// The database refuses; the batch is taken back then.
    pub fn commit(&self) -> Result<(), StoreError> {
        if !self.batching.get() {
            return Ok(());
        }
        let done = self.save().and_then(|()| {
            fault::pass(Point::IndexCommit);
            self.run("commit a batch", "COMMIT")
        });
        if let Err(error) = done {
            self.rollback()?;
            return Err(error);
        }
        fault::pass(Point::IndexCommitted);
        self.batching.set(false);
        self.slots.borrow_mut().keep();
        self.saved_tally.set(self.tally.get());
        Ok(())
    }

    /// Takes back what was written since [`begin`](Self::begin); nothing where no batch is open.
    ///
    /// # Errors
    /// The database refuses.
    pub fn rollback(&self) -> Result<(), StoreError> {
        if !self.batching.replace(false) {
            return Ok(());
        }
        let saved = self.slots.borrow().saved_count();
        self.slots.borrow_mut().forget_from(saved);
        self.tally.set(self.saved_tally.get());
        // A failure such as a full disk has ended the transaction already.
        if self.conn.is_autocommit() { Ok(()) } else { self.run("take back a batch", "ROLLBACK") }
    }

    /// Returns a stored value of the replica itself. `store::meta` has the typed form.
    pub(crate) fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.prepare("read a setting", "SELECT value FROM meta WHERE name = ?1")?
            .query_row([name], |row| row.get(0))
            .optional()
            .map_err(|source| self.sql("read a setting", source))
    }

    /// Stores a value of the replica itself.
    pub(crate) fn set_meta(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        let doing = "write a setting";
        self.batch(|| {
            self.prepare(doing, "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)")?
                .execute((name, value))
                .map(drop)
                .map_err(|source| self.sql(doing, source))
        })
    }

    /// Returns a statement, prepared once per connection.
    pub(crate) fn prepare(&self, doing: &'static str, sql: &str) -> Result<CachedStatement<'_>, StoreError> {
        self.conn.prepare_cached(sql).map_err(|source| self.sql(doing, source))
    }

    /// Returns the numbers of the replica ids, to read.
    pub(crate) fn slots(&self) -> Ref<'_, Slots> {
        self.slots.borrow()
    }

    /// Returns the numbers of the replica ids; those given here are stored when the batch ends.
    pub(crate) fn slots_mut(&self) -> RefMut<'_, Slots> {
        self.slots.borrow_mut()
    }

    /// Replaces one live entry's share in the tally by another's; `None` is no live entry.
    pub(crate) fn count(&self, old: Option<u64>, new: Option<u64>) {
        let Tally { mut entries, mut bytes } = self.tally.get();
        entries = entries.saturating_sub(old.is_some().into()).saturating_add(new.is_some().into());
        bytes = bytes.saturating_sub(old.unwrap_or(0)).saturating_add(new.unwrap_or(0));
        self.tally.set(Tally { entries, bytes });
    }

    /// Notes that nothing is live.
    pub(crate) fn count_none(&self) {
        self.tally.set(Tally::default());
    }

    /// Returns the error for what `SQLite` said while `doing`.
    pub(crate) fn sql(&self, doing: &'static str, source: rusqlite::Error) -> StoreError {
        StoreError::sql(doing, &self.path, source)
    }

    /// Returns the error for a stored value that is not valid.
    pub(crate) fn corrupt(&self, what: &str, why: PackError) -> StoreError {
        StoreError::Corrupt { path: self.path.clone(), detail: format!("{what}: {why}") }
    }

    fn run(&self, doing: &'static str, sql: &str) -> Result<(), StoreError> {
        self.conn.execute_batch(sql).map_err(|source| self.sql(doing, source))
    }

    /// Makes the connection careful, and a durable one a log with a flush at each commit.
    fn configure(&mut self) -> Result<(), StoreError> {
        let doing = "open";
        let careful = |conn: &Connection| {
            conn.busy_timeout(Duration::ZERO)?;
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
            conn.set_prepared_statement_cache_capacity(64);
            conn.execute_batch(CAREFUL)
        };
        careful(&self.conn).map_err(|source| self.unreadable(source))?;
        let old = self.format()? < known_format();
        match self.mode {
            Mode::Durable => self.run(doing, DURABLE),
            // Its tables must be brought to the newest format, which a rehearsal may do to a copy alone.
            Mode::Rehearsal if old => {
                let copied = Connection::open_in_memory().and_then(|mut copy| {
                    Backup::new(&self.conn, &mut copy)?.run_to_completion(1024, Duration::ZERO, None)?;
                    careful(&copy).map(|()| copy)
                });
                self.conn = copied.map_err(|source| self.sql("copy", source))?;
                Ok(())
            }
            Mode::Rehearsal => Ok(()),
        }
    }

    /// Returns the error for what `SQLite` said before it had read the header and the table of tables.
    fn unreadable(&self, source: rusqlite::Error) -> StoreError {
        if source.sqlite_error_code() == Some(ErrorCode::Unknown) {
            // Nothing is wrong with the statement; what is in the file makes no sense.
            return StoreError::Corrupt { path: self.path.clone(), detail: source.to_string() };
        }
        self.sql("open", source)
    }

    /// Returns the format of the file; 0 for a new, empty one.
    fn format(&self) -> Result<i64, StoreError> {
        let number = |sql: &str| -> Result<i64, StoreError> {
            self.conn.query_row(sql, [], |row| row.get(0)).map_err(|source| self.unreadable(source))
        };
        let (found, known) = (number("PRAGMA user_version")?, known_format());
        match number("PRAGMA application_id")? {
            APPLICATION_ID if found > known => {
                Err(StoreError::Newer { path: self.path.clone(), found, known })
            }
            APPLICATION_ID => Ok(found),
            0 if found == 0 && number("SELECT count(*) FROM sqlite_schema")? == 0 => Ok(0),
            _ => Err(StoreError::Foreign { path: self.path.clone() }),
        }
    }

    fn migrate(&mut self) -> Result<(), StoreError> {
        let migrations = Migrations::from_slice(MIGRATIONS);
        migrations.to_latest(&mut self.conn).map_err(|source| {
            if let rusqlite_migration::Error::RusqliteError { err, .. } = source {
                return self.sql("migrate", err);
            }
            StoreError::Migrate { path: self.path.clone(), source }
        })
    }

    fn check(&self) -> Result<(), StoreError> {
        let said: String = self
            .conn
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(|source| self.sql("check", source))?;
        if said == "ok" { Ok(()) } else { Err(StoreError::Corrupt { path: self.path.clone(), detail: said }) }
    }

    fn load(&self) -> Result<(), StoreError> {
        let doing = "read the replica ids";
        let replicas = self
            .prepare(doing, "SELECT number, replica FROM slot ORDER BY number")?
            .query_map([], |row| Ok((row.get::<_, usize>(0)?, row.get(1)?)))
            .and_then(Iterator::collect::<Result<Vec<(usize, [u8; 16])>, _>>)
            .map_err(|source| self.sql(doing, source))?;
        if replicas.iter().enumerate().any(|(at, (number, _))| at != *number) {
            return Err(self.corrupt("the replica ids", PackError::Slot));
        }
        *self.slots.borrow_mut() = Slots::saved(replicas.into_iter().map(|(_, id)| ReplicaId(id)).collect());
        let number = |bytes: &[u8]| bytes.try_into().map(u64::from_be_bytes).ok();
        let tally = match self.meta("tally")? {
            None => Some(Tally::default()),
            Some(value) => value.split_at_checked(8).and_then(|(entries, bytes)| {
                Some(Tally { entries: number(entries)?, bytes: number(bytes)? })
            }),
        };
        let tally = tally.ok_or_else(|| self.corrupt("the tally", PackError::Range))?;
        self.tally.set(tally);
        self.saved_tally.set(tally);
        Ok(())
    }

    /// Writes what the batch changed beside its rows.
    fn save(&self) -> Result<(), StoreError> {
        let doing = "write a replica id";
        for (number, replica) in self.slots.borrow().unsaved() {
            self.prepare(doing, "INSERT INTO slot (number, replica) VALUES (?1, ?2)")?
                .execute((number, replica.0))
                .map_err(|source| self.sql(doing, source))?;
        }
        let Tally { entries, bytes } = self.tally.get();
        if self.tally == self.saved_tally {
            return Ok(());
        }
        self.set_meta("tally", &[entries.to_be_bytes(), bytes.to_be_bytes()].concat())
    }
}

/// Returns the newest format that is known here: the number of migrations.
fn known_format() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

fn connect(path: &Path, mode: Mode) -> Result<Connection, StoreError> {
    let io = |doing| move |source| StoreError::Io { doing, path: path.to_owned(), source };
    let sql = |source| StoreError::sql("open", path, source);
    let found = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_file() => true,
        Ok(_) => {
            return Err(StoreError::Foreign { path: path.to_owned() });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(io("look at")(error)),
    };
    match (mode, found) {
        (Mode::Durable, true) => Connection::open(path).map_err(sql),
        (Mode::Durable, false) => {
            let dir = path.parent().unwrap_or(Path::new("."));
            DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io("make the directory of"))?;
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io("make"))?;
            Connection::open(path).map_err(sql)
        }
        (Mode::Rehearsal, true) => {
            let left = log_of(path).metadata().is_ok_and(|log| log.len() > 0);
            let conn = Connection::open(path).map_err(sql)?;
            // What an unclean stop left in the log stays there.
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, left).map_err(sql)?;
            Ok(conn)
        }
        (Mode::Rehearsal, false) => Connection::open_in_memory().map_err(sql),
    }
}

/// Returns where `SQLite` keeps the log of the database at `path`.
fn log_of(path: &Path) -> PathBuf {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

#[cfg(test)]
mod tests;
