//! Looks at a tree and records what changed: the walk and the index, both in path order, met in lock step.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::sync::Arc;

use crate::disk::error::DiskError;
use crate::disk::hash::{HashError, hash_all};
use crate::disk::listing::{DirInfo, Hides};
use crate::disk::walk::{Entry, Step, Walk, WalkOptions, Window};
use crate::engine::error::EngineError;
use crate::engine::replica::Replica;
use crate::engine::report::{Skipped, Tally};
use crate::model::entry::{Content, Kind};
use crate::model::metadata::Stat;
use crate::model::path::RelPath;
use crate::model::row::{Origin, Record, Row, State};
use crate::plan::detect::{self, Change, Context, Known, Look};
use crate::plan::moves::{Candidate, pair};
use crate::rules::scope::Scope;
use crate::store::hints::{Hint, Hints};
use crate::store::index::Cursor;

/// Files that are read before what they mean is recorded.
const READ_AHEAD: usize = 512;
/// Bytes of files that are read before what they mean is recorded.
const READ_AHEAD_BYTES: u64 = 256 << 20;
/// Rows written in one transaction.
const WRITES_MAX: u64 = 20_000;

/// How a tree is looked at.
#[derive(Clone)]
pub struct Watching {
    /// The filter rules of the root.
    pub scope: Arc<Scope>,
    /// Every file is read, whatever its stamps say.
    pub checksum: bool,
    /// Sockets and devices are carried; otherwise they are told and passed over.
    pub devices: bool,
    /// Threads that list and read.
    pub threads: usize,
}

/// What a look at a tree found.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Sight {
    /// Entries that are tracked.
    pub seen: Tally,
    /// Bytes of the regular files among them.
    pub bytes_total: u64,
    /// Paths of which nothing could be said.
    pub skipped: Vec<Skipped>,
    /// Sockets, devices and roots of other file systems, passed over.
    pub passed_over: Vec<RelPath>,
    /// Files that vanished while they were read.
    pub vanished: bool,
    /// Whether every change could be seen.
    pub complete: bool,
    /// Revisions recorded.
    pub revisions: u64,
    /// Paths that are gone, but not taken for deleted, because something else of the tree could not be listed.
    pub unproven: u64,
    /// Whether rows were dropped without a tombstone.
    pub forgot: bool,
    /// Paths at which a row of the peer stood already: a run was stopped before it could say so.
    pub adopted: Vec<RelPath>,
}

/// Brings the index of `replica` up to date with its tree.
///
/// What holds after: each path of which the disk could be asked is recorded as it is; a path that is unreadable,
/// busy, filtered out or on another file system has no new revision, and absence is inferred from complete listings
/// only. A second call on an unchanged tree records nothing.
///
/// # Errors
/// The index cannot be read or written.
pub fn observe(replica: &Replica, watching: &Watching) -> Result<Sight, EngineError> {
    let options = WalkOptions {
        threads: watching.threads,
        cross_mounts: false,
        recurse: true,
        skip_private: true,
        start: RelPath::root(),
        scope: Arc::clone(&watching.scope),
        hides: Hides::Both,
        only: None,
        window: Window::default(),
    };
    let mut walk = Walk::new(replica.lister(), None, options);
    let mut look = Observation {
        replica,
        watching,
        context: replica.context(),
        any_pending: replica.remote().count()? > 0,
        recorded: replica.index().cursor(None).peekable(),
        doubts: Vec::new(),
        dirs: Vec::new(),
        unread: Vec::new(),
        unread_bytes: 0,
        vanished: Vec::new(),
        appeared: Vec::new(),
        residues: BTreeMap::new(),
        writes: 0,
        sight: Sight { complete: true, ..Sight::default() },
        begun_at: replica.seq(),
        leaf: None,
        gone: Vec::new(),
        unlisted: false,
        may_move: replica.index().live_count() > 0,
    };
    replica.db.begin()?;
    let outcome = look.run(&mut walk);
    match outcome {
        Ok(()) => {
            replica.save_seq()?;
            replica.db.commit()?;
            look.sight.revisions = replica.seq() - look.begun_at;
            Ok(look.sight)
        }
        Err(error) => {
            replica.db.rollback()?;
            Err(error)
        }
    }
}

/// Why nothing may be inferred about a path and what lies below it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// It could not be read.
    Unknown,
    /// The filter rules leave it out: what is recorded of it is dropped, without a tombstone (S11).
    Frozen,
}

/// A file whose content must be read before it can be judged.
struct Unread {
    path: RelPath,
    stat: Stat,
    record: Option<Record>,
}

struct Observation<'r> {
    replica: &'r Replica,
    watching: &'r Watching,
    context: Context,
    any_pending: bool,
    recorded: Peekable<Cursor<'r>>,
    /// Subtrees in doubt that the present path may lie in, outermost first.
    doubts: Vec<(RelPath, Doubt, bool)>,
    /// Directories on the way to the present path.
    dirs: Vec<(RelPath, Arc<DirInfo>)>,
    unread: Vec<Unread>,
    unread_bytes: u64,
    vanished: Vec<Candidate>,
    appeared: Vec<Candidate>,
    /// Directories that stand only for what is not tracked.
    residues: BTreeMap<RelPath, Stat>,
    writes: u64,
    sight: Sight,
    begun_at: u64,
    /// The last entry that is no directory.
    leaf: Option<RelPath>,
    /// Recorded paths at which nothing was found.
    gone: Vec<RelPath>,
    /// Something of the tree could not be listed.
    unlisted: bool,
    /// Whether anything was recorded before: what appears in a new index was not renamed.
    may_move: bool,
}

impl Observation<'_> {
    fn run(&mut self, walk: &mut Walk) -> Result<(), EngineError> {
        for step in walk.by_ref() {
            match step {
                Step::Entry(entry) => self.entry(entry)?,
                Step::Excluded { path, .. } => self.doubt(path, Doubt::Frozen)?,
                Step::Mount { path, .. } => {
                    self.sight.passed_over.push(path.clone());
                    self.doubt(path, Doubt::Unknown)?;
                }
                Step::Unreadable { path, error } if error.is_vanished() => {
                    // It was there and is gone: the next run will see it so.
                    self.sight.vanished = true;
                    self.doubt(path, Doubt::Unknown)?;
                }
                Step::Unreadable { path, error } => {
                    self.unlisted = true;
                    self.skip(&path, error.to_string());
                    self.doubt(path, Doubt::Unknown)?;
                }
                Step::Unnameable { dir, error } => {
                    self.unlisted = true;
                    self.skip(&dir, error.to_string());
                }
            }
        }
        self.absent_until(None)?;
        self.read()?;
        self.bury_all()?;
        self.link_moves()
    }

    fn skip(&mut self, path: &RelPath, why: String) {
        self.sight.complete = false;
        self.sight.skipped.push(Skipped { path: path.clone(), why });
    }

    /// The walk came to `path`, of which nothing may be inferred.
    fn doubt(&mut self, path: RelPath, doubt: Doubt) -> Result<(), EngineError> {
        self.absent_until(Some(&path))?;
        self.doubts.push((path, doubt, true));
        Ok(())
    }

    /// The walk came to an entry.
    fn entry(&mut self, entry: Entry) -> Result<(), EngineError> {
        let Entry { path, stat, dir, .. } = entry;
        self.absent_until(Some(&path))?;
        self.dirs.retain(|(above, _)| path.is_below(above));
        if let Some(info) = dir {
            if !info.complete {
                let why = info.error.as_ref().map_or_else(|| "not listed".to_owned(), DiskError::to_string);
                self.unlisted = true;
                self.skip(&path, why);
                self.doubts.push((path.clone(), Doubt::Unknown, false));
            }
            self.dirs.push((path.clone(), info));
        }
        if path.is_root() {
            return Ok(());
        }
        self.leaf = (stat.kind != Kind::Dir).then(|| path.clone());
        if (stat.kind.is_device() || stat.kind == Kind::Socket) && !self.watching.devices {
            self.sight.passed_over.push(path.clone());
            return self.doubt(path, Doubt::Unknown);
        }
        self.tally(&stat);
        let record = self.take_recorded(&path)?;
        match detect::look(record.as_ref(), &stat, self.watching.checksum) {
            Look::Nothing => Ok(()),
            Look::Attributes => {
                let Some(content) =
                    record.as_ref().and_then(|r| r.row.live()).map(|l| l.content.value.clone())
                else {
                    return Ok(());
                };
                self.present(&path, &stat, &content, record.as_ref())
            }
            Look::Content => self.look_at_content(path, stat, record),
        }
    }

    fn tally(&mut self, stat: &Stat) {
        let seen = &mut self.sight.seen;
        match stat.kind {
            Kind::File => {
                seen.files += 1;
                self.sight.bytes_total += stat.size;
            }
            Kind::Dir => seen.dirs += 1,
            Kind::Symlink => seen.links += 1,
            Kind::CharDevice | Kind::BlockDevice => seen.devices += 1,
            Kind::Fifo | Kind::Socket => seen.specials += 1,
        }
    }

    fn look_at_content(
        &mut self,
        path: RelPath,
        stat: Stat,
        record: Option<Record>,
    ) -> Result<(), EngineError> {
        let content = match stat.kind {
            Kind::File => {
                self.unread_bytes += stat.size;
                self.unread.push(Unread { path, stat, record });
                if self.unread.len() >= READ_AHEAD || self.unread_bytes >= READ_AHEAD_BYTES {
                    self.read()?;
                }
                return Ok(());
            }
            Kind::Symlink => match self.replica.root.read_link(&path) {
                Ok(target) => Content::Symlink(target),
                Err(error) => {
                    self.sight.vanished |= error.is_vanished();
                    self.skip(&path, error.to_string());
                    return Ok(());
                }
            },
            Kind::Dir => Content::Dir,
            Kind::Fifo => Content::Fifo,
            Kind::Socket => Content::Socket,
            kind @ (Kind::CharDevice | Kind::BlockDevice) => Content::Device { kind, rdev: stat.rdev },
        };
        self.present(&path, &stat, &content, record.as_ref())
    }

    /// Reads the files that wait, and judges them.
    fn read(&mut self) -> Result<(), EngineError> {
        let unread = std::mem::take(&mut self.unread);
        self.unread_bytes = 0;
        let files: Vec<(RelPath, Stat)> = unread.iter().map(|file| (file.path.clone(), file.stat)).collect();
        let hashes = hash_all(&self.replica.root, &files, self.watching.threads);
        for (file, hashed) in unread.into_iter().zip(hashes) {
            match hashed {
                Ok(hashed) => {
                    let content = Content::File { digest: hashed.digest, size: hashed.stat.size };
                    self.present(&file.path, &hashed.stat, &content, file.record.as_ref())?;
                }
                Err(HashError::Vanished { .. }) => self.sight.vanished = true,
                Err(error) => self.skip(&file.path, error.to_string()),
            }
        }
        Ok(())
    }

    /// Deals with every recorded path before `path` (or with all that remain): the walk did not come by there.
    fn absent_until(&mut self, path: Option<&RelPath>) -> Result<(), EngineError> {
        while let Some((recorded, record)) = self.next_recorded_before(path)? {
            self.doubts.retain(|(top, _, _)| recorded == *top || recorded.is_below(top));
            let doubt = self.doubts.last().filter(|(top, _, itself)| *itself || recorded != *top);
            match doubt.map(|(_, doubt, _)| *doubt) {
                Some(Doubt::Unknown) => {}
                Some(Doubt::Frozen) => self.write(&recorded, Change::Forget)?,
                None if self.is_excluded(&recorded, &record) => self.write(&recorded, Change::Forget)?,
                None => self.absent(recorded, &record)?,
            }
        }
        if let Some(path) = path {
            self.doubts.retain(|(top, _, _)| path.is_below(top));
        }
        Ok(())
    }

    fn next_recorded_before(
        &mut self,
        path: Option<&RelPath>,
    ) -> Result<Option<(RelPath, Record)>, EngineError> {
        let is_before = |next: &Result<(RelPath, Record), _>| match (next, path) {
            (Ok((recorded, _)), Some(path)) => recorded < path,
            (Ok(_), None) | (Err(_), _) => true,
        };
        Ok(self.recorded.next_if(is_before).transpose()?)
    }

    fn take_recorded(&mut self, path: &RelPath) -> Result<Option<Record>, EngineError> {
        let found = self.recorded.next_if(|next| next.as_ref().is_ok_and(|(recorded, _)| recorded == path));
        Ok(found.transpose()?.map(|(_, record)| record))
    }

    /// Whether the rules leave out a recorded path that is not on disk, or a directory above it that is not.
    fn is_excluded(&self, path: &RelPath, record: &Record) -> bool {
        let Some((above, info)) = self.dirs.iter().rev().find(|(above, _)| path.is_below(above)) else {
            return false;
        };
        let is_dir = record.row.is_live_dir();
        let gone = path.ancestors().filter(|parent| parent.is_below(above));
        gone.map(|parent| (parent, true))
            .chain([(path.clone(), is_dir)])
            .any(|(at, dir)| info.scope.is_frozen(&at, dir))
    }

    fn pending(&self, path: &RelPath) -> Result<Option<Row>, EngineError> {
        Ok(if self.any_pending { self.replica.remote().get(path)? } else { None })
    }

    fn present(
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

    /// Nothing stands at a recorded path. What lies below something that is no directory is gone for certain; anything
    /// else may have been moved to where we could not look, so it waits until the whole walk is known to be complete.
    fn absent(&mut self, path: RelPath, record: &Record) -> Result<(), EngineError> {
        if self.leaf.as_ref().is_some_and(|leaf| path.is_below(leaf)) {
            return self.bury(&path, record);
        }
        if record.row.live().is_some() || record.residue {
            self.gone.push(path);
        }
        Ok(())
    }

    /// Takes what is gone for deleted, if nothing of the tree stayed unseen (S11).
    fn bury_all(&mut self) -> Result<(), EngineError> {
        let gone = std::mem::take(&mut self.gone);
        if self.unlisted {
            self.sight.unproven = u64::try_from(gone.len()).unwrap_or(u64::MAX);
            return Ok(());
        }
        for path in gone {
            if let Some(record) = self.replica.record(&path)? {
                self.bury(&path, &record)?;
            }
        }
        Ok(())
    }

    fn bury(&mut self, path: &RelPath, record: &Record) -> Result<(), EngineError> {
        let pending = self.pending(path)?;
        let known = Known { record: Some(record), pending: pending.as_ref() };
        let change = detect::absent(known, &self.context, self.replica.seq() + 1);
        if let (Change::Revision(_), Some(live), Some(seen)) = (&change, record.row.live(), record.seen) {
            self.vanished.push(candidate(path, &live.content.value, &seen.stat));
        }
        self.write(path, change)
    }

    fn write(&mut self, path: &RelPath, change: Change) -> Result<(), EngineError> {
        let index = self.replica.index();
        match change {
            Change::None => return Ok(()),
            Change::Forget => {
                index.remove(path)?;
                self.sight.forgot = true;
            }
            Change::Refresh(record) => index.put(path, &record)?,
            Change::Adopted(record) => {
                index.put(path, &record)?;
                self.replica.advance(1);
                let hint = Hint { path: path.clone(), recursive: false, at: self.context.now };
                Hints::of(&self.replica.db).add(&hint)?;
                self.sight.adopted.push(path.clone());
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

    /// Lets tombstones and creations that are renames know of each other (S13).
    fn link_moves(&mut self) -> Result<(), EngineError> {
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
        Ok(())
    }
}

fn candidate(path: &RelPath, content: &Content, stat: &Stat) -> Candidate {
    Candidate { path: path.clone(), content: content.clone(), inode: (stat.dev, stat.ino) }
}
