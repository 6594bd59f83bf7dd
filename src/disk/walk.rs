//! Walks a tree in path order, on several threads, in bounded memory, beside a second tree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::disk::error::DiskError;
use crate::disk::lister::Lister;
use crate::disk::listing::{Child, DirInfo, Hides, Job, Listing, Trees, list};
use crate::model::entry::Kind;
use crate::model::metadata::Stat;
use crate::model::path::RelPath;
use crate::rules::scope::Scope;

/// What to walk, and how.
pub struct WalkOptions {
    /// Threads that list ahead; 2 suit a warm cache, 8 or more a cold disk; 0 lists on the caller's thread alone.
    pub threads: usize,
    /// Whether directories on other file systems are entered.
    pub cross_mounts: bool,
    /// Whether subdirectories are entered. Without it the start and its own children are all.
    pub recurse: bool,
    /// Whether whatever is called `.csync` is passed over in silence, in both trees.
    pub skip_private: bool,
    /// The root or the subtree to walk; it may be a single file.
    pub start: RelPath,
    /// The rules that hold where `start` lies; for the root, those above it, as [`FilterBuilder::build`] returns them.
    ///
    /// [`FilterBuilder::build`]: crate::rules::filter::FilterBuilder::build
    pub scope: Arc<Scope>,
    /// Which of them leave an entry out.
    pub hides: Hides,
    /// If given, only these paths, what lies below them, and the directories above them.
    pub only: Option<Arc<BTreeSet<RelPath>>>,
    /// How much may be listed ahead.
    pub window: Window,
}

/// Bounds of what is listed ahead of the caller.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Directories.
    pub listings: usize,
    /// Entries in them all; the one listing that crosses this bound is still taken.
    pub entries: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self { listings: 256, entries: 32 * 1024 }
    }
}

/// One step of a walk.
pub enum Step {
    /// Something stands at a path.
    Entry(Entry),
    /// The rules leave it out; a directory is not entered.
    Excluded {
        /// Where.
        path: RelPath,
        /// What stands there.
        stat: Stat,
        /// What the second tree has there.
        beside: Option<Stat>,
    },
    /// What stands there is unknown. Never an absence.
    Unreadable {
        /// Where.
        path: RelPath,
        /// Why; [`DiskError::is_vanished`] if it went away after its directory was listed.
        error: DiskError,
    },
    /// A name in `dir` that no path can carry: too long or too deep.
    Unnameable {
        /// The directory.
        dir: RelPath,
        /// The name and what is wrong with it.
        error: DiskError,
    },
    /// The root of another file system, which is not entered.
    Mount {
        /// Where.
        path: RelPath,
        /// The root of that file system.
        stat: Stat,
    },
}

/// What stands at a path.
pub struct Entry {
    /// Where.
    pub path: RelPath,
    /// What stands there.
    pub stat: Stat,
    /// What the second tree has there.
    pub beside: Option<Stat>,
    /// For a directory that was listed: what is known of it. Its children follow.
    pub dir: Option<Arc<DirInfo>>,
}

/// A walk: yields the entries of a tree in the order of [`RelPath`], each directory before its children.
///
/// Threads list directories ahead of the caller, nearest first. The caller lists what nobody has begun, so that it
/// waits only for a listing under way. Memory: the listings of the directories on the way to the present one, and
/// the window. Dropping the walk ends and joins its threads.
pub struct Walk {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    start: Option<(RelPath, Arc<Scope>)>,
    stack: Vec<Frame>,
}

struct Frame {
    path: RelPath,
    children: std::vec::IntoIter<Child>,
}

struct Shared {
    trees: Trees,
    window: Window,
    ahead: Mutex<Ahead>,
    /// Something became pending, room came free, or the walk ended.
    work: Condvar,
    /// A listing became ready.
    ready: Condvar,
}

/// Directories between the caller and the horizon. Each is in exactly one of the three sets.
#[derive(Default)]
struct Ahead {
    pending: BTreeMap<RelPath, (Stat, Job)>,
    busy: BTreeSet<RelPath>,
    ready: BTreeMap<RelPath, Result<Listing, DiskError>>,
    entries: usize,
    ended: bool,
}

impl Walk {
    /// Returns the walk of `root`, beside `beside` if there is a second tree.
    #[must_use]
    pub fn new(root: Arc<dyn Lister>, beside: Option<Arc<dyn Lister>>, options: WalkOptions) -> Self {
        let trees = Trees {
            root,
            beside,
            cross_mounts: options.cross_mounts,
            recurse: options.recurse,
            skip_private: options.skip_private,
            hides: options.hides,
            only: options.only,
        };
        let shared = Arc::new(Shared {
            trees,
            window: options.window,
            ahead: Mutex::default(),
            work: Condvar::new(),
            ready: Condvar::new(),
        });
        // A thread that cannot be started is one that does not help; the caller lists by itself.
        let threads = (0..options.threads)
            .filter_map(|_| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new().name("walk".into()).spawn(move || shared.list_ahead()).ok()
            })
            .collect();
        Self { shared, threads, start: Some((options.start, options.scope)), stack: Vec::new() }
    }

    /// Returns the step for the start itself; `None` if nothing stands there.
    fn begin(&mut self, path: RelPath, scope: Arc<Scope>) -> Option<Step> {
        let trees = &self.shared.trees;
        let stat = match trees.root.stat(&path) {
            Ok(Some(stat)) => stat,
            Ok(None) => return None,
            Err(error) => return Some(Step::Unreadable { path, error }),
        };
        let beside = trees.beside.as_ref().and_then(|root| root.stat(&path).ok().flatten());
        let selected = match &trees.only {
            None => true,
            Some(only) => only.contains(&path) || path.ancestors().any(|above| only.contains(&above)),
        };
        let descend = (stat.kind == Kind::Dir).then(|| Job {
            scope,
            selected,
            beside: beside.is_some_and(|stat| stat.kind == Kind::Dir),
        });
        Some(self.enter(path, stat, beside, descend))
    }

    /// Returns the step for an entry; for a directory, its listing is fetched and its children come next.
    fn enter(&mut self, path: RelPath, stat: Stat, beside: Option<Stat>, job: Option<Job>) -> Step {
        let Some(job) = job else {
            return Step::Entry(Entry { path, stat, beside, dir: None });
        };
        match self.shared.fetch(&path, stat, &job) {
            Ok(listing) => {
                self.stack.push(Frame { path: path.clone(), children: listing.children.into_iter() });
                Step::Entry(Entry { path, stat: listing.stat, beside, dir: Some(listing.info) })
            }
            Err(error) => Step::Unreadable { path, error },
        }
    }
}

impl Iterator for Walk {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if let Some((path, scope)) = self.start.take() {
            return self.begin(path, scope);
        }
        loop {
            let frame = self.stack.last_mut()?;
            let Some(child) = frame.children.next() else {
                self.stack.pop();
                continue;
            };
            return Some(match child {
                Child::Entry { path, stat, beside, descend } => self.enter(path, stat, beside, descend),
                Child::Excluded { path, stat, beside } => Step::Excluded { path, stat, beside },
                Child::Mount { path, stat } => Step::Mount { path, stat },
                Child::Unreadable { path, error } => Step::Unreadable { path, error },
                Child::Unnameable { error } => Step::Unnameable { dir: frame.path.clone(), error },
            });
        }
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Ahead> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists pending directories, nearest first, until the walk ends.
    fn list_ahead(&self) {
        let mut ahead = self.lock();
        while !ahead.ended {
            let room = ahead.ready.len() + ahead.busy.len() < self.window.listings
                && ahead.entries < self.window.entries;
            let Some((path, (stat, job))) = room.then(|| ahead.pending.pop_first()).flatten() else {
                ahead = self.work.wait(ahead).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            ahead.busy.insert(path.clone());
            drop(ahead);
            let listing = list(&self.trees, &path, stat, &job);
            ahead = self.lock();
            self.announce(&mut ahead, &listing);
            ahead.busy.remove(&path);
            ahead.entries += weight(&listing);
            ahead.ready.insert(path, listing);
            self.ready.notify_all();
        }
    }

    /// Returns the listing of `path`: the one made ahead, or one made now.
    fn fetch(&self, path: &RelPath, stat: Stat, job: &Job) -> Result<Listing, DiskError> {
        let mut ahead = self.lock();
        ahead.pending.remove(path);
        while ahead.busy.contains(path) {
            ahead = self.ready.wait(ahead).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(listing) = ahead.ready.remove(path) {
            ahead.entries -= weight(&listing);
            drop(ahead);
            self.work.notify_one();
            return listing;
        }
        drop(ahead);
        let listing = list(&self.trees, path, stat, job);
        self.announce(&mut self.lock(), &listing);
        listing
    }

    /// Makes the subdirectories of `listing` pending.
    fn announce(&self, ahead: &mut Ahead, listing: &Result<Listing, DiskError>) {
        let Ok(listing) = listing else { return };
        for child in &listing.children {
            if let Child::Entry { path, stat, descend: Some(job), .. } = child {
                ahead.pending.insert(path.clone(), (*stat, job.clone()));
            }
        }
        self.work.notify_all();
    }
}

fn weight(listing: &Result<Listing, DiskError>) -> usize {
    listing.as_ref().map_or(1, |listing| listing.children.len() + listing.info.only_beside.len() + 1)
}

#[cfg(test)]
mod tests;
