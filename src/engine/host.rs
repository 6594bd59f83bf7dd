//! A served folder: one root, open for as long as it is served, and what its owner says about it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use data_encoding::HEXLOWER;

use crate::config::settings::{self, Folder, Mode, OwnerRule};
use crate::disk::clock;
use crate::disk::lister::Lister;
use crate::disk::names::SystemNames;
use crate::disk::private::Private;
use crate::disk::process::Process;
use crate::disk::root::Root;
use crate::engine::bond::Bond;
use crate::engine::error::EngineError;
use crate::engine::glance::glance;
use crate::engine::marker::Marker;
use crate::engine::note;
use crate::engine::observe::{Sight, Watching, observe_by};
use crate::engine::options::{FilterArg, Select};
use crate::engine::recover::recover;
use crate::engine::replica::{Replica, run_name};
use crate::engine::report::Report;
use crate::engine::selection::{self, SelectionError};
use crate::engine::site::{Opening, Site, canonical};
use crate::engine::standing::{is_empty, standing};
use crate::engine::start::{random, start};
use crate::engine::state::{database_path, sparing_state};
use crate::model::key::PublicKey;
use crate::model::version::ReplicaId;
use crate::plan::guard::{Limit, Recent, Toll, admits};
use crate::plan::settle::Hint;
use crate::rules::owner::{OwnerArgs, OwnerMap};
use crate::rules::scope::Scope;
use crate::store::looks::Looks;
use crate::store::members::Members;
use crate::store::meta;
use crate::store::peer::Peers;
use crate::store::remote::Remote;

/// Threads that list and read the root.
const THREADS: usize = 2;
/// Guests whose deletions are remembered.
const GUESTS_MAX: usize = 4096;

/// What the owner of a served folder says about it.
#[derive(Clone, Debug)]
pub struct HostSettings {
    /// What this node is called.
    pub node: String,
    /// The filter rules: what they leave out is neither shown nor touched.
    pub scope: Arc<Scope>,
    /// Whose the files are that others make.
    pub owner: OwnerRule,
    /// Who writes.
    pub mode: Mode,
    /// Whether this node is the primary, where only the primary writes.
    pub is_primary: bool,
    /// Set-id bits of files, devices and sockets are taken from others.
    pub trust_root: bool,
    /// What is replaced or deleted is kept as a version.
    pub keep: bool,
    /// How many deletions pass without a person's word.
    pub hold_above: Limit,
}

impl HostSettings {
    /// Returns what `folder` says for the member `node`.
    ///
    /// # Errors
    /// A filter rule, or a file that one names, cannot be used.
    pub fn of(folder: &Folder, node: &str) -> Result<Self, SelectionError> {
        let filters = folder.filters.iter().map(|rule| FilterArg::Rule(OsString::from(rule))).collect();
        let select = Select { filters, ..Select::default() };
        let first_primary =
            folder.members.iter().find(|member| folder.mode.of(member) == Some(&Mode::Primary));
        Ok(Self {
            node: node.to_owned(),
            scope: selection::scope(&select, false, &[])?,
            owner: folder.owner.clone(),
            mode: folder.mode.of(node).copied().unwrap_or(Mode::TwoWay),
            is_primary: first_primary.is_none_or(|primary| primary == node),
            trust_root: folder.trust_root,
            keep: !folder.versions.keep.is_empty(),
            hold_above: match folder.delete.hold_above {
                None => Limit::Formula,
                Some(settings::Bound::Count(count)) => Limit::Count(count),
                Some(settings::Bound::Percent(percent)) => Limit::Percent(percent),
            },
        })
    }
}

/// A served folder. Shared by all who are connected to it.
#[derive(Debug)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// What its owner says.
    pub settings: HostSettings,
    /// The tree.
    pub root: Arc<Root>,
    /// Whom everything belongs to, where the owner names somebody.
    pub fixed: Option<OwnerMap>,
    /// What new entries get of this process.
    pub process: Process,
    replica: Mutex<Replica>,
    /// Rings when something was recorded.
    bell: Bell,
    /// What is told of the tree as it changes keeps the index up to date.
    watched: AtomicBool,
    /// Counts how often everything of the members is to be heard anew.
    epoch: AtomicU64,
    /// What guests and members deleted lately.
    deleted: Mutex<BTreeMap<PublicKey, Recent>>,
}

/// The replica of a folder, for as long as it is held. Whoever waits for something new is told when it is let go.
#[derive(Debug)]
pub struct Holding<'a> {
    replica: MutexGuard<'a, Replica>,
    bell: &'a Bell,
}

impl Deref for Holding<'_> {
    type Target = Replica;

    fn deref(&self) -> &Replica {
        &self.replica
    }
}

impl DerefMut for Holding<'_> {
    fn deref_mut(&mut self) -> &mut Replica {
        &mut self.replica
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.replica.peer.set(0);
        // Numbers that were taken and not recorded are nobody's: nothing is told before it is durable.
        if self.replica.put_back().is_ok() {
            self.bell.ring(self.replica.seq());
        }
    }
}

/// How far the index of a folder is, for those who wait for more.
#[derive(Debug, Default)]
struct Bell {
    seq: Mutex<u64>,
    rung: Condvar,
}

impl Bell {
    fn ring(&self, seq: u64) {
        let mut heard = self.seq.lock().unwrap_or_else(PoisonError::into_inner);
        if *heard != seq {
            *heard = seq;
            self.rung.notify_all();
        }
    }
}

impl Host {
    /// Opens the folder `name` at `path` and puts away what an earlier run left behind. `state` is the state
    /// directory; `warn` is told what is unusual and no reason to stop.
    ///
    /// What holds after: the root is locked, its marker and database carry the next generation.
    ///
    /// # Errors
    /// The root is missing, replaced, restored, without its marker or in use; the state cannot be read.
    pub fn open(
        name: &str,
        path: &Path,
        state: &Path,
        settings: HostSettings,
        warn: &mut dyn FnMut(String),
    ) -> Result<Self, EngineError> {
        let fixed = fixed(&settings.owner)?;
        let bond = Bond::Served(name);
        let opening = Opening { state, rehearsal: false, force: None };
        let mut site = Site::open(path, &database_path(state, bond.database(&canonical(path))), false)?;
        let standing = standing(&site, bond, opening, warn)?;
        let root_id = if let Some(known) = standing.root_id { known } else { random()? };
        let describe = |meta: meta::Meta<'_>| meta.set(meta::FOLDER, &name.to_owned());
        let mut replica = start(&mut site, bond.side(), standing, root_id, opening, describe)?;
        replica.name.clone_from(&settings.node);
        if replica.meta().get(meta::TRUSTED)?.unwrap_or(false) != settings.trust_root {
            // What was refused before may be taken now.
            Peers::of(&replica.db).rewind()?;
            replica.meta().set(meta::TRUSTED, &settings.trust_root)?;
        }
        recover(&replica, "unknown")?;
        let root = Arc::clone(&replica.root);
        let scope = sparing_state(&settings.scope, state, &[&root]);
        Ok(Self {
            name: name.to_owned(),
            settings: HostSettings { scope, ..settings },
            root,
            fixed,
            process: Process::now(),
            bell: Bell { seq: Mutex::new(replica.seq()), rung: Condvar::new() },
            replica: Mutex::new(replica),
            watched: AtomicBool::new(false),
            epoch: AtomicU64::new(0),
            deleted: Mutex::default(),
        })
    }

    /// Returns the replica, for as long as nobody else has it.
    pub fn replica(&self) -> Holding<'_> {
        let replica = self.replica.lock().unwrap_or_else(PoisonError::into_inner);
        Holding { replica, bell: &self.bell }
    }

    /// Returns the replica, unless somebody has it.
    #[must_use]
    pub fn try_replica(&self) -> Option<Holding<'_>> {
        let replica = match self.replica.try_lock() {
            Ok(replica) => replica,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(Holding { replica, bell: &self.bell })
    }

    /// Waits until something is recorded beyond `seq`, or `ended` is set and [told](Self::wake), for at most
    /// `patience`. Returns whether something was recorded.
    #[must_use]
    pub fn wait_beyond(&self, seq: u64, patience: Duration, ended: &AtomicBool) -> bool {
        let heard = self.bell.seq.lock().unwrap_or_else(PoisonError::into_inner);
        let quiet = |heard: &mut u64| *heard <= seq && !ended.load(Ordering::Acquire);
        let waited = self.bell.rung.wait_timeout_while(heard, patience, quiet);
        *waited.unwrap_or_else(PoisonError::into_inner).0 > seq
    }

    /// Waits for `pause`, or until `ended` is set and [told](Self::wake).
    pub fn rest(&self, pause: Duration, ended: &AtomicBool) {
        let heard = self.bell.seq.lock().unwrap_or_else(PoisonError::into_inner);
        let goes_on = |_: &mut u64| !ended.load(Ordering::Acquire);
        drop(self.bell.rung.wait_timeout_while(heard, pause, goes_on));
    }

    /// Has everybody who waits for something new look whether their waiting has ended.
    pub fn wake(&self) {
        // Whoever is about to wait has looked before this lock was free, and hears the bell, or looks after it.
        drop(self.bell.seq.lock().unwrap_or_else(PoisonError::into_inner));
        self.bell.rung.notify_all();
    }

    /// Whether the index follows the tree by itself, so that nobody needs to look at all of it.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Acquire)
    }

    /// Notes whether the index follows the tree by itself.
    pub fn set_watched(&self, watched: bool) {
        self.watched.store(watched, Ordering::Release);
    }

    /// Brings the index up to date with the tree, and begins a new batch of versions.
    ///
    /// # Errors
    /// The root is not the one that was opened, or the index cannot be read or written.
    pub fn observe(&self) -> Result<Sight, EngineError> {
        let lister: Arc<dyn Lister> = Arc::<Root>::clone(&self.root);
        self.observe_by(&lister)
    }

    /// Does the same, with `lister` to list the tree: one that watches each directory before it is listed.
    ///
    /// # Errors
    /// As [`observe`](Self::observe).
    pub fn observe_by(&self, lister: &Arc<dyn Lister>) -> Result<Sight, EngineError> {
        let mut replica = self.replica();
        self.check(&replica)?;
        replica.batch = run_name(clock::now());
        let sight = observe_by(&replica, &self.watching(), lister)?;
        self.account(&replica, &sight)?;
        if replica.no_deletes && sight.complete {
            // What stands is recorded now: from here on absence means something again.
            replica.meta().set(meta::NO_DELETES, &false)?;
            replica.no_deletes = false;
        }
        Ok(sight)
    }

    /// Brings the index up to date at the places of `hints`, with `lister` to list directories.
    ///
    /// # Errors
    /// As [`observe`](Self::observe).
    pub fn glance(&self, lister: &Arc<dyn Lister>, hints: &[Hint]) -> Result<Sight, EngineError> {
        let replica = self.replica();
        self.check(&replica)?;
        let sight = glance(&replica, &self.watching(), lister, hints)?;
        self.account(&replica, &sight)?;
        Ok(sight)
    }

    /// Takes into account what a look found: conflicts of what a stop had placed are listed, and what was dropped without
    /// a tombstone is heard of again.
    fn account(&self, replica: &Replica, sight: &Sight) -> Result<(), EngineError> {
        for path in &sight.adopted {
            if let Some(record) = replica.record(path)? {
                note::conflicts(replica, "unknown", path, &record.row, &mut Report::default())?;
            }
        }
        if sight.forgot {
            Peers::of(&replica.db).rewind()?;
            self.epoch.fetch_add(1, Ordering::AcqRel);
        }
        Ok(())
    }

    /// Returns a number that changes when everything of the members is to be heard anew. Whoever holds the replica sees
    /// it unchanged.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Looks whether our state is older than what the member says that it heard of it: up to `seq`, under the start
    /// `nonce` (S10).
    ///
    /// # Errors
    /// It is; the folder begins anew under another id when it is opened next, and that deletes nothing.
    pub fn recall(&self, by: &str, seq: u64, nonce: Option<[u8; 16]>) -> Result<(), EngineError> {
        let replica = self.replica();
        let known = replica.meta().get(meta::NONCES)?.unwrap_or_default();
        let strange = nonce.is_some_and(|nonce| !known.contains(&HEXLOWER.encode(&nonce)));
        if seq <= replica.seq() && !strange {
            return Ok(());
        }
        replica.meta().set(meta::REBORN, &true)?;
        Err(EngineError::Unknown {
            what: format!("the state of the folder {} is older than what {by} heard of it", self.name),
            fix: "it goes on under a new id: nothing is deleted on account of it",
        })
    }

    /// Returns the nonce of the present start.
    ///
    /// # Errors
    /// The database refuses.
    pub fn nonce(&self) -> Result<Option<[u8; 16]>, EngineError> {
        let known = self.replica().meta().get(meta::NONCES)?.unwrap_or_default();
        let last = known.split_whitespace().last().and_then(|nonce| HEXLOWER.decode(nonce.as_bytes()).ok());
        Ok(last.and_then(|nonce| nonce.try_into().ok()))
    }

    /// Puts down in the journal that the places of `hints` are still to be looked at.
    ///
    /// # Errors
    /// The database refuses.
    pub fn put_off(&self, hints: &[Hint]) -> Result<(), EngineError> {
        let replica = self.replica();
        let looks = Looks::of(&replica.db);
        Ok(replica.db.batch(|| hints.iter().try_for_each(|hint| looks.put(hint)))?)
    }

    fn watching(&self) -> Watching {
        let scope = Arc::clone(&self.settings.scope);
        Watching { scope, checksum: false, devices: self.settings.trust_root, threads: THREADS }
    }

    /// Looks whether the root still stands where it was opened, with its marker.
    ///
    /// # Errors
    /// It is gone, replaced, restored or has lost its marker: nothing may be inferred from it, and nothing written.
    pub fn check(&self, replica: &Replica) -> Result<(), EngineError> {
        let (path, database) = (self.root.path().to_owned(), replica.db.path().to_owned());
        let root = match Root::open(&path) {
            Ok(root) => root,
            Err(error) if error.is_vanished() => return Err(EngineError::RootGone { path, database }),
            Err(source) => return Err(EngineError::Root { path, source }),
        };
        if (root.dev(), root.ino()) != (self.root.dev(), self.root.ino()) {
            return Err(EngineError::RootReplaced { path, database });
        }
        let private = Private::open_existing(&root)
            .map_err(|source| EngineError::Private { path: path.clone(), source })?;
        let text = match private.map(|private| private.read_marker()).transpose() {
            Ok(text) => text.flatten(),
            Err(source) => return Err(EngineError::Root { path, source }),
        };
        let Some(text) = text else {
            let (empty, entries) = (is_empty(&root), replica.index().live_count());
            return Err(EngineError::MarkerLost { path, empty, entries, database });
        };
        let marker =
            Marker::parse(&text).map_err(|why| EngineError::BadMarker { path: path.clone(), why })?;
        if marker.id != replica.root_id {
            return Err(EngineError::RootReplaced { path, database });
        }
        if marker.generations.get(&replica.database).copied() != replica.meta().get(meta::GENERATION)? {
            return Err(EngineError::RootRestored { path, side: None, database });
        }
        Ok(())
    }

    /// Whether `guest` may now delete so many entries of this folder (S14). `creates` says how many it made, and
    /// `approved` that a person let it; an emptied root is held all the same.
    #[must_use]
    pub fn may_delete(
        &self,
        replica: &Replica,
        guest: PublicKey,
        deletes: u64,
        creates: u64,
        approved: bool,
    ) -> bool {
        let past = self.recent(guest);
        let of = replica.index().live_count().saturating_add(past);
        let toll = Toll { deletes: deletes.saturating_add(past), of, creates };
        admits(toll, if approved { Limit::Approved } else { self.settings.hold_above })
    }

    /// Returns how many deletions of `guest` still count.
    #[must_use]
    pub fn recent(&self, guest: PublicKey) -> u64 {
        let mut deleted = self.deleted.lock().unwrap_or_else(PoisonError::into_inner);
        deleted.get_mut(&guest).map_or(0, |recent| recent.count(clock::now()))
    }

    /// Takes note that the member with `key`, which keeps `replica`, holds all that was recorded here up to `seq`.
    ///
    /// # Errors
    /// The database refuses.
    pub fn heard(
        &self,
        (key, name): (&PublicKey, &str),
        replica: ReplicaId,
        seq: u64,
    ) -> Result<(), EngineError> {
        let held = self.replica();
        let members = Members::of(&held.db);
        let known = members.get(key)?;
        if let Some(known) = known.filter(|known| known.replica != replica)
            && Peers::of(&held.db).get(known.replica)?.is_some()
        {
            // We follow it, and know better which replica it keeps.
            return Ok(());
        }
        members.meet(key, replica, name)?;
        let seq = seq.min(held.seq());
        if known.is_some_and(|known| known.applied >= seq) {
            return Ok(());
        }
        Ok(members.applied(key, seq)?)
    }

    /// Returns how many rows of the member with this number wait here.
    ///
    /// # Errors
    /// The database refuses.
    pub fn waiting(&self, number: u32) -> Result<u64, EngineError> {
        Ok(Remote::of(&self.replica().db, number).count()?)
    }

    /// Counts what `guest` has deleted.
    pub fn deleted(&self, guest: PublicKey, count: u64) {
        let now = clock::now();
        let mut deleted = self.deleted.lock().unwrap_or_else(PoisonError::into_inner);
        if deleted.len() >= GUESTS_MAX {
            deleted.retain(|_, recent| recent.count(now) > 0);
        }
        deleted.entry(guest).or_default().add(now, count);
    }

    /// Ends the service of the folder; what waits is durable already.
    ///
    /// # Errors
    /// The database refuses.
    pub fn close(self) -> Result<(), EngineError> {
        self.replica.into_inner().unwrap_or_else(PoisonError::into_inner).close()
    }
}

/// Returns the mapping to the owner that `rule` names, if it names one.
fn fixed(rule: &OwnerRule) -> Result<Option<OwnerMap>, EngineError> {
    let OwnerRule::Fixed(chown) = rule else { return Ok(None) };
    let args = OwnerArgs { usermap: None, groupmap: None, chown: Some(chown), numeric: false };
    let map = OwnerMap::new(args, &SystemNames::new());
    map.map(Some).map_err(|error| EngineError::Unknown {
        what: error.to_string(),
        fix: "name a user and a group of this machine as owner of the folder",
    })
}
