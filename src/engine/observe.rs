//! Looks at a tree and records what changed: the walk and the index, both in path order, met in lock step.

use std::iter::{Chain, Flatten, Peekable};
use std::option;
use std::sync::Arc;

use crate::disk::error::DiskError;
use crate::disk::hash::{HashError, hash_all};
use crate::disk::lister::Lister;
use crate::disk::listing::Hides;
use crate::disk::walk::{Entry, Step, Walk, WalkOptions, Window};
use crate::engine::error::EngineError;
use crate::engine::recorder::{Recorder, in_batch};
use crate::engine::replica::Replica;
use crate::engine::report::{Skipped, Tally};
use crate::model::entry::{Content, Kind};
use crate::model::metadata::Stat;
use crate::model::path::RelPath;
use crate::model::row::Record;
use crate::plan::detect::{self, Look};
use crate::plan::settle::Hint;
use crate::rules::scope::Scope;
use crate::store::error::StoreError;
use crate::store::index::Cursor;
use crate::store::looks::Looks;

/// Files that are read before what they mean is recorded.
const READ_AHEAD: usize = 512;
/// Bytes of files that are read before what they mean is recorded.
const READ_AHEAD_BYTES: u64 = 256 << 20;

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
    /// Places that changed while they were looked at: to be looked at again.
    pub again: Vec<Hint>,
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
    observe_by(replica, watching, &replica.lister())
}

/// Does the same, with `lister` to list the tree: one that watches each directory before it is listed.
///
/// # Errors
/// The index cannot be read or written.
pub fn observe_by(
    replica: &Replica,
    watching: &Watching,
    lister: &Arc<dyn Lister>,
) -> Result<Sight, EngineError> {
    in_batch(replica, || {
        let mut look = Observation::new(replica, watching, lister)?;
        look.subtree(&RelPath::root(), &watching.scope, watching.threads)?;
        let sight = look.finish()?;
        let looks = Looks::of(&replica.db);
        looks.clear()?;
        sight.again.iter().try_for_each(|hint| looks.put(hint))?;
        Ok(sight)
    })
}

/// The rows of one path and of all below it, in path order.
type Rows<'r> = Peekable<Chain<option::IntoIter<Item>, Flatten<option::IntoIter<Cursor<'r>>>>>;
type Item = Result<(RelPath, Record), StoreError>;

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

/// One look at a tree, or at several places in it, one after the other in path order.
pub(crate) struct Observation<'r> {
    replica: &'r Replica,
    watching: &'r Watching,
    lister: &'r Arc<dyn Lister>,
    recorder: Recorder<'r>,
    recorded: Rows<'r>,
    /// Subtrees in doubt that the present path may lie in, outermost first.
    doubts: Vec<(RelPath, Doubt, bool)>,
    /// Directories on the way to the present path, and the rules inside them.
    dirs: Vec<(RelPath, Arc<Scope>)>,
    unread: Vec<Unread>,
    unread_bytes: u64,
    sight: Sight,
    /// The last entry that is no directory.
    leaf: Option<RelPath>,
    /// Recorded paths at which nothing was found.
    gone: Vec<RelPath>,
    /// Something of the tree could not be listed.
    unlisted: bool,
}

impl<'r> Observation<'r> {
    /// Returns a look that has seen nothing yet. The caller has a batch open.
    ///
    /// # Errors
    /// The index cannot be read.
    pub(crate) fn new(
        replica: &'r Replica,
        watching: &'r Watching,
        lister: &'r Arc<dyn Lister>,
    ) -> Result<Self, EngineError> {
        Ok(Self {
            replica,
            watching,
            lister,
            recorder: Recorder::new(replica)?,
            recorded: rows(None, None),
            doubts: Vec::new(),
            dirs: Vec::new(),
            unread: Vec::new(),
            unread_bytes: 0,
            sight: Sight { complete: true, ..Sight::default() },
            leaf: None,
            gone: Vec::new(),
            unlisted: false,
        })
    }

    /// Looks at `start` and all below it. `scope` are the rules where it lies, which let it in.
    ///
    /// # Errors
    /// The index cannot be read or written.
    pub(crate) fn subtree(
        &mut self,
        start: &RelPath,
        scope: &Arc<Scope>,
        threads: usize,
    ) -> Result<(), EngineError> {
        let options = WalkOptions {
            threads,
            cross_mounts: false,
            recurse: true,
            skip_private: true,
            start: start.clone(),
            scope: Arc::clone(scope),
            hides: Hides::Both,
            only: None,
            window: Window::default(),
        };
        self.begin(start, scope)?;
        self.walk(&mut Walk::new(Arc::clone(self.lister), None, options))?;
        self.absent_until(None)
    }

    /// Looks at one entry, which stands at `path` with `stat`, and at nothing below it. `record` is what is recorded.
    ///
    /// # Errors
    /// The index cannot be read or written.
    pub(crate) fn single(
        &mut self,
        path: &RelPath,
        stat: Stat,
        record: Option<Record>,
    ) -> Result<(), EngineError> {
        self.doubts.clear();
        self.dirs.clear();
        self.recorded = rows(record.map(|record| (path.clone(), record)), None);
        self.entry(Entry { path: path.clone(), stat, beside: None, dir: None })
    }

    /// Takes note that the rules leave out `path` with all below it.
    ///
    /// # Errors
    /// The index cannot be read or written.
    pub(crate) fn frozen(&mut self, path: &RelPath) -> Result<(), EngineError> {
        self.begin(path, &Arc::clone(&self.watching.scope))?;
        self.doubt(path.clone(), Doubt::Frozen)?;
        self.absent_until(None)
    }

    /// Takes note that `path` is the root of another file system.
    pub(crate) fn mount(&mut self, path: &RelPath) {
        self.sight.passed_over.push(path.clone());
    }

    /// Takes note that nothing can be said of `path` and what lies below it.
    pub(crate) fn unreadable(&mut self, path: &RelPath, why: String) {
        self.unlisted = true;
        self.skip(path, why);
    }

    /// Takes note that `hint` could not be followed now, and may be later.
    pub(crate) fn later(&mut self, hint: Hint) {
        self.sight.again.push(hint);
    }

    /// Reads and judges what is left; returns what was seen. The caller commits.
    ///
    /// # Errors
    /// The index cannot be read or written.
    pub(crate) fn finish(mut self) -> Result<Sight, EngineError> {
        self.read()?;
        self.bury_all()?;
        self.sight.revisions = self.recorder.finish()?;
        self.sight.forgot = self.recorder.forgot;
        self.sight.adopted = self.recorder.adopted;
        Ok(self.sight)
    }

    /// Prepares for `start`, where `scope` holds.
    fn begin(&mut self, start: &RelPath, scope: &Arc<Scope>) -> Result<(), EngineError> {
        let index = self.replica.index();
        let (itself, below) = match start.parent() {
            Some(_) => (index.get(start)?.map(|record| (start.clone(), record)), Some(start)),
            None => (None, None),
        };
        self.recorded = rows(itself, Some(index.cursor(below)));
        self.doubts.clear();
        self.dirs = vec![(start.parent().unwrap_or_default(), Arc::clone(scope))];
        self.leaf = None;
        Ok(())
    }

    fn walk(&mut self, walk: &mut Walk) -> Result<(), EngineError> {
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
                    self.sight.again.push(Hint { path: path.clone(), recursive: true });
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
        Ok(())
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
            self.dirs.push((path.clone(), Arc::clone(&info.scope)));
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
                self.recorder.present(&path, &stat, &content, record.as_ref())
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
        self.recorder.present(&path, &stat, &content, record.as_ref())
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
                    self.recorder.present(&file.path, &hashed.stat, &content, file.record.as_ref())?;
                }
                Err(error) => self.not_hashed(file.path, &error),
            }
        }
        Ok(())
    }

    fn not_hashed(&mut self, path: RelPath, error: &HashError) {
        match error {
            HashError::Vanished { .. } => self.sight.vanished = true,
            HashError::Busy { .. } | HashError::Disk(_) => self.skip(&path, error.to_string()),
        }
        if !matches!(error, HashError::Disk(error) if !error.is_exhausted()) {
            self.later(Hint { path, recursive: false });
        }
    }

    /// Deals with every recorded path before `path` (or with all that remain): the walk did not come by there.
    fn absent_until(&mut self, path: Option<&RelPath>) -> Result<(), EngineError> {
        while let Some((recorded, record)) = self.next_recorded_before(path)? {
            self.doubts.retain(|(top, _, _)| recorded == *top || recorded.is_below(top));
            let doubt = self.doubts.last().filter(|(top, _, itself)| *itself || recorded != *top);
            match doubt.map(|(_, doubt, _)| *doubt) {
                Some(Doubt::Unknown) => {}
                Some(Doubt::Frozen) => self.recorder.forget(&recorded)?,
                None if self.is_excluded(&recorded, &record) => self.recorder.forget(&recorded)?,
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
        let is_before = |next: &Item| match (next, path) {
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
        let Some((above, scope)) = self.dirs.iter().rev().find(|(above, _)| path.is_below(above)) else {
            return false;
        };
        let is_dir = record.row.is_live_dir();
        let gone = path.ancestors().filter(|parent| parent.is_below(above));
        gone.map(|parent| (parent, true))
            .chain([(path.clone(), is_dir)])
            .any(|(at, dir)| scope.is_frozen(&at, dir))
    }

    /// Nothing stands at a recorded path. What lies below something that is no directory is gone for certain; anything
    /// else may have been moved to where we could not look, so it waits until the whole walk is known to be complete.
    fn absent(&mut self, path: RelPath, record: &Record) -> Result<(), EngineError> {
        if self.leaf.as_ref().is_some_and(|leaf| path.is_below(leaf)) {
            return self.recorder.absent(&path, record);
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
                self.recorder.absent(&path, &record)?;
            }
        }
        Ok(())
    }
}

fn rows(first: Option<(RelPath, Record)>, then: Option<Cursor<'_>>) -> Rows<'_> {
    first.map(Ok).into_iter().chain(then.into_iter().flatten()).peekable()
}
