//! Hears of changes in a tree from the kernel. What is heard is a hint: the tree itself is asked what happened.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RenameMode};
use notify::{Config, ErrorKind, INotifyWatcher, RecursiveMode, Watcher as _};

use crate::disk::error::DiskError;
use crate::disk::lister::{Lister, OpenDir};
use crate::disk::root::Root;
use crate::model::entry::Kind;
use crate::model::metadata::Stat;
use crate::model::path::{PRIVATE_DIR, RelPath};
use crate::plan::settle::Sign;

/// What the kernel said.
#[derive(Debug)]
pub enum Event {
    /// Something happened at a path. For the root itself, [`Sign::Vanished`] says that it was moved or removed.
    Hint {
        /// Where.
        path: RelPath,
        /// What.
        sign: Sign,
    },
    /// The queue of the kernel was full: hints were lost, of any place.
    Overflow,
    /// A directory is not watched; [`Watch::unwatched`] lists all such.
    Unwatched(WatchError),
    /// Nothing more will be heard.
    Broken(String),
}

/// Why changes cannot be heard of.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The kernel gives no more queues.
    #[error("Cannot watch {root}: {source}; the sysctl fs.inotify.max_user_instances may be too low")]
    Begin {
        /// The root.
        root: PathBuf,
        /// What the system said.
        #[source]
        source: notify::Error,
    },
    /// As many directories are watched as this user may watch.
    #[error("Cannot watch the directory {path}: the sysctl fs.inotify.max_user_watches is reached")]
    Limit {
        /// The first directory too many.
        path: RelPath,
    },
    /// One directory cannot be watched.
    #[error("Cannot watch the directory {path}: {source}")]
    Add {
        /// The directory.
        path: RelPath,
        /// What the system said.
        #[source]
        source: notify::Error,
    },
}

/// The directories of a root that are watched.
///
/// Each directory is added by itself, before it is listed: a change is then either in the listing or heard of. As a
/// [`Lister`] this happens by itself: to list a tree through it is to watch it. The watch of a directory that is
/// moved away or removed ends with that event; it must be listed at its new place to be watched there. Symlinks are
/// never followed, and nothing called `.csync` is watched or told of.
pub struct Watch {
    root: Arc<Root>,
    watcher: Mutex<INotifyWatcher>,
    unwatched: Mutex<BTreeSet<RelPath>>,
    tell: Arc<Tell>,
}

/// Takes what is heard.
type Tell = dyn Fn(Event) + Send + Sync;

impl Watch {
    /// Returns a watch of `root` in which no directory is watched yet. `tell` is called on another thread and must not
    /// wait: the kernel keeps 16,384 events.
    ///
    /// # Errors
    /// The system refuses.
    pub fn begin(root: Arc<Root>, tell: impl Fn(Event) + Send + Sync + 'static) -> Result<Self, WatchError> {
        let tell: Arc<Tell> = Arc::new(tell);
        let ear = Ear { root: Arc::clone(&root), tell: Arc::clone(&tell) };
        let config = Config::default().with_follow_symlinks(false);
        let watcher = INotifyWatcher::new(move |event| ear.hear(event), config)
            .map_err(|source| WatchError::Begin { root: root.path().to_owned(), source })?;
        Ok(Self { root, watcher: Mutex::new(watcher), unwatched: Mutex::default(), tell })
    }

    /// Watches `dir`, not what lies below it. Nothing happens where no directory stands.
    ///
    /// The kernel takes a path, so for a moment a symlink could be put in the place of a directory: then something else
    /// is watched, and what is heard of it is looked for in the root all the same.
    ///
    /// # Errors
    /// It cannot be watched; until [`add`](Self::add) succeeds it is one of [`unwatched`](Self::unwatched).
    pub fn add(&self, dir: &RelPath) -> Result<(), WatchError> {
        if !matches!(self.root.stat(dir), Ok(Some(stat)) if stat.kind == Kind::Dir) {
            return Ok(());
        }
        let added = lock(&self.watcher).watch(&self.place(dir), RecursiveMode::NonRecursive);
        let error = match added {
            Ok(()) => {
                lock(&self.unwatched).remove(dir);
                return Ok(());
            }
            Err(error) => error,
        };
        if matches!(error.kind, ErrorKind::PathNotFound) {
            return Ok(());
        }
        lock(&self.unwatched).insert(dir.clone());
        Err(match error.kind {
            ErrorKind::MaxFilesWatch => WatchError::Limit { path: dir.clone() },
            ErrorKind::Generic(_)
            | ErrorKind::Io(_)
            | ErrorKind::PathNotFound
            | ErrorKind::WatchNotFound
            | ErrorKind::InvalidConfig(_) => WatchError::Add { path: dir.clone(), source: error },
        })
    }

    /// Returns the directories that could not be watched: they must be asked from time to time, with all below them.
    #[must_use]
    pub fn unwatched(&self) -> Vec<RelPath> {
        let mut outermost: Vec<RelPath> = Vec::new();
        for dir in lock(&self.unwatched).iter() {
            if outermost.last().is_none_or(|last| !dir.is_below(last)) {
                outermost.push(dir.clone());
            }
        }
        outermost
    }

    /// Forgets that `dir`, and what lies below it, could not be watched.
    pub fn absolve(&self, dir: &RelPath) {
        lock(&self.unwatched).retain(|unwatched| unwatched != dir && !unwatched.is_below(dir));
    }

    fn place(&self, dir: &RelPath) -> PathBuf {
        if dir.is_root() {
            return self.root.path().to_owned();
        }
        self.root.path().join(OsStr::from_bytes(dir.as_bytes()))
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Lister for Watch {
    fn dev(&self) -> u64 {
        self.root.dev()
    }

    fn stat(&self, path: &RelPath) -> Result<Option<Stat>, DiskError> {
        self.root.stat(path)
    }

    fn open<'a>(&'a self, path: &'a RelPath) -> Result<Box<dyn OpenDir + 'a>, DiskError> {
        if let Err(error) = self.add(path) {
            (self.tell)(Event::Unwatched(error));
        }
        Lister::open(&*self.root, path)
    }

    fn rules(&self, path: &RelPath) -> Result<Vec<u8>, DiskError> {
        Lister::rules(&*self.root, path)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts what the kernel says into our words.
struct Ear {
    root: Arc<Root>,
    tell: Arc<Tell>,
}

impl Ear {
    fn hear(&self, event: notify::Result<notify::Event>) {
        let event = match event {
            Ok(event) => event,
            Err(error) => return (self.tell)(Event::Broken(error.to_string())),
        };
        // An event of lost events has no path.
        if event.need_rescan() {
            return (self.tell)(Event::Overflow);
        }
        let Some(path) = event.paths.first().and_then(|path| self.relative(path)) else {
            return;
        };
        if let Some(sign) = self.sign(event.kind, &path) {
            (self.tell)(Event::Hint { path, sign });
        }
    }

    /// Returns where below the root `path` is; `None` for what is not ours to tell of.
    fn relative(&self, path: &Path) -> Option<RelPath> {
        let below = path.strip_prefix(self.root.path()).ok()?.as_os_str().as_bytes();
        if below.split(|byte| *byte == b'/').any(|name| name == PRIVATE_DIR) {
            return None;
        }
        // A path that is too long or too deep is told by whoever lists its directory.
        RelPath::new(below).ok()
    }

    fn sign(&self, kind: EventKind, path: &RelPath) -> Option<Sign> {
        match kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Sign::Closed),
            EventKind::Create(CreateKind::Folder) => Some(Sign::Appeared),
            EventKind::Create(_) => Some(self.created(path)),
            EventKind::Modify(ModifyKind::Data(_)) => Some(Sign::Written),
            EventKind::Modify(ModifyKind::Metadata(_)) => Some(Sign::Attributes),
            EventKind::Modify(ModifyKind::Name(RenameMode::From)) | EventKind::Remove(_) => {
                Some(Sign::Vanished)
            }
            EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Some(Sign::Appeared),
            // A rename as a whole was told by its halves; a file that is opened or read did not change.
            EventKind::Modify(_) | EventKind::Access(_) | EventKind::Any | EventKind::Other => None,
        }
    }

    /// Returns what a new name means. A regular file with one name is still open: its maker will write and close it.
    fn created(&self, path: &RelPath) -> Sign {
        match self.root.stat(path) {
            Ok(Some(stat)) if stat.kind == Kind::File && stat.links == 1 => Sign::Written,
            Ok(Some(_)) => Sign::Appeared,
            Ok(None) | Err(_) => Sign::Vanished,
        }
    }
}
