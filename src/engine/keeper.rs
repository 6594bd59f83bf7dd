//! Keeps the index of one folder in step with its tree for as long as it is served: hears, waits, looks, tells.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::disk::clock;
use crate::disk::lister::Lister;
use crate::disk::root::Root;
use crate::disk::watch::{Event, Watch, WatchError};
use crate::engine::error::EngineError;
use crate::engine::observe::Sight;
use crate::model::path::RelPath;
use crate::plan::settle::{Hint, Pace, Settle};

/// How often what is put off is written to the journal.
const JOURNAL_EVERY: Duration = Duration::from_secs(1);

/// The folder that is kept. Called from one thread, one call at a time.
pub trait Folder: Send + Sync {
    /// Looks at the whole tree through `lister`, after a check that the root is the right one.
    ///
    /// # Errors
    /// It is not, or the index cannot be read or written: the keeper stops.
    fn observe(&self, lister: &Arc<dyn Lister>) -> Result<Sight, EngineError>;

    /// Looks at the places of `hints`, likewise.
    ///
    /// # Errors
    /// As for [`observe`](Self::observe).
    fn glance(&self, lister: &Arc<dyn Lister>, hints: &[Hint]) -> Result<Sight, EngineError>;

    /// Puts down in the journal that `hints` are still to be looked at.
    ///
    /// # Errors
    /// The index cannot be written: the keeper stops.
    fn put_off(&self, hints: &[Hint]) -> Result<(), EngineError>;

    /// Is told after each look what was seen.
    fn seen(&self, sight: &Sight);

    /// Is told what is unusual and no reason to stop.
    fn warn(&self, what: String);

    /// Is told that nothing more is looked at, and why.
    fn halt(&self, why: EngineError);
}

/// How often a tree is looked at although nothing was heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rhythm {
    /// How hints settle.
    pub pace: Pace,
    /// Between two looks at everything.
    pub rescan: Duration,
    /// Between two looks at what cannot be watched.
    pub poll: Duration,
}

impl Default for Rhythm {
    fn default() -> Self {
        Self { pace: Pace::default(), rescan: Duration::from_hours(1), poll: Duration::from_mins(1) }
    }
}

/// The thread that keeps a folder. Dropping it stops and joins the thread; a look under way is finished first.
pub struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Begins to keep `folder`, whose tree is `root`: everything is watched and looked at, then what is heard of.
    ///
    /// # Errors
    /// The system gives no more queues of changes, or no thread.
    pub fn begin(root: Arc<Root>, folder: Arc<dyn Folder>, rhythm: Rhythm) -> Result<Self, WatchError> {
        let shared = Arc::new(Shared {
            inbox: Mutex::new(Inbox {
                settle: Settle::new(rhythm.pace),
                stop: false,
                unwatched: None,
                deaf: None,
            }),
            news: Condvar::new(),
            start: clock::monotonic(),
        });
        let ear = Arc::clone(&shared);
        let path = root.path().to_owned();
        let watch = Arc::new(Watch::begin(root, move |event| ear.hear(event))?);
        let lister: Arc<dyn Lister> = Arc::<Watch>::clone(&watch);
        let rounds = Rounds {
            shared: Arc::clone(&shared),
            folder,
            watch,
            lister,
            rhythm,
            rescan_at: Duration::ZERO,
            poll_at: Duration::ZERO,
            journal_at: Duration::ZERO,
            put_off: BTreeSet::new(),
            warned: false,
        };
        let thread = std::thread::Builder::new()
            .name("keeper".into())
            .spawn(move || rounds.run())
            .map_err(|source| WatchError::Begin { root: path, source: source.into() })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Has the whole tree looked at soon.
    pub fn rescan(&self) {
        let now = self.shared.now();
        self.shared.lock().settle.overflow(now);
        self.shared.news.notify_one();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.news.notify_one();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").finish_non_exhaustive()
    }
}

/// What the ear and the rounds share. What is heard settles at once, so that it takes bounded memory however long a look
/// takes.
struct Shared {
    inbox: Mutex<Inbox>,
    news: Condvar,
    start: Instant,
}

struct Inbox {
    settle: Settle,
    stop: bool,
    /// The first directory that could not be watched, until it was told.
    unwatched: Option<WatchError>,
    /// Why nothing more is heard.
    deaf: Option<String>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        clock::monotonic().saturating_duration_since(self.start)
    }

    fn hear(&self, event: Event) {
        let now = self.now();
        let mut inbox = self.lock();
        let before = inbox.settle.next();
        match event {
            Event::Hint { path, sign } => inbox.settle.tell(path, sign, now),
            Event::Overflow => inbox.settle.overflow(now),
            Event::Unwatched(error) => {
                inbox.unwatched.get_or_insert(error);
            }
            Event::Broken(why) => inbox.deaf = Some(why),
        }
        // What only joins the others is no news.
        if inbox.settle.next() != before || inbox.deaf.is_some() {
            self.news.notify_one();
        }
    }
}

/// The thread of a keeper.
struct Rounds {
    shared: Arc<Shared>,
    folder: Arc<dyn Folder>,
    watch: Arc<Watch>,
    lister: Arc<dyn Lister>,
    rhythm: Rhythm,
    rescan_at: Duration,
    poll_at: Duration,
    journal_at: Duration,
    /// What is in the journal because it waits.
    put_off: BTreeSet<Hint>,
    warned: bool,
}

/// What is to be done next.
enum Turn {
    Stop,
    Rescan,
    Look(Vec<Hint>),
    Journal(Vec<Hint>),
}

impl Rounds {
    fn run(mut self) {
        loop {
            let done = match self.turn() {
                Turn::Stop => return,
                Turn::Rescan => self.rescan(),
                Turn::Look(hints) => self.look(&hints),
                Turn::Journal(hints) => self.journal(hints),
            };
            if let Err(why) = done {
                return self.folder.halt(why);
            }
            self.tell_unwatched();
        }
    }

    /// Waits until there is something to do; returns that.
    fn turn(&mut self) -> Turn {
        let is_polled = !self.watch.unwatched().is_empty();
        let mut inbox = self.shared.lock();
        loop {
            let now = self.shared.now();
            if inbox.stop {
                return Turn::Stop;
            }
            if now >= self.rescan_at {
                return Turn::Rescan;
            }
            let hints = inbox.settle.take(now);
            if !hints.is_empty() {
                return Turn::Look(hints);
            }
            if is_polled && now >= self.poll_at {
                drop(inbox);
                return Turn::Look(self.polled());
            }
            let waits = inbox.settle.waiting().next().is_some();
            if waits && now >= self.journal_at {
                self.journal_at = now + JOURNAL_EVERY;
                let new: Vec<Hint> =
                    inbox.settle.waiting().filter(|hint| !self.put_off.contains(hint)).collect();
                if !new.is_empty() {
                    return Turn::Journal(new);
                }
            }
            let next = [
                Some(self.rescan_at),
                inbox.settle.next(),
                is_polled.then_some(self.poll_at),
                waits.then_some(self.journal_at),
            ];
            let until = next.into_iter().flatten().min().unwrap_or(self.rescan_at);
            let pause = until.saturating_sub(now);
            inbox = self.shared.news.wait_timeout(inbox, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Looks at everything.
    fn rescan(&mut self) -> Result<(), EngineError> {
        self.watch.absolve(&RelPath::root());
        let sight = self.folder.observe(&self.lister)?;
        self.put_off.clear();
        let now = self.shared.now();
        let is_deaf = self.shared.lock().deaf.is_some();
        self.rescan_at = now + if is_deaf { self.rhythm.poll } else { self.rhythm.rescan };
        self.poll_at = now + self.rhythm.poll;
        self.after(&sight);
        Ok(())
    }

    fn look(&mut self, hints: &[Hint]) -> Result<(), EngineError> {
        let sight = self.folder.glance(&self.lister, hints)?;
        for hint in hints {
            self.put_off.remove(hint);
        }
        self.after(&sight);
        Ok(())
    }

    fn after(&self, sight: &Sight) {
        let now = self.shared.now();
        let mut inbox = self.shared.lock();
        for hint in &sight.again {
            inbox.settle.busy(hint.clone(), now);
        }
        drop(inbox);
        self.folder.seen(sight);
    }

    fn journal(&mut self, hints: Vec<Hint>) -> Result<(), EngineError> {
        self.folder.put_off(&hints)?;
        self.put_off.extend(hints);
        Ok(())
    }

    /// Returns the places that cannot be watched, each of which is tried anew.
    fn polled(&mut self) -> Vec<Hint> {
        self.poll_at = self.shared.now() + self.rhythm.poll;
        let places = self.watch.unwatched();
        for path in &places {
            self.watch.absolve(path);
        }
        places.into_iter().map(|path| Hint { path, recursive: true }).collect()
    }

    /// Tells once that something is not watched, or that nothing is any more.
    fn tell_unwatched(&mut self) {
        let (unwatched, deaf) = {
            let mut inbox = self.shared.lock();
            (inbox.unwatched.take(), inbox.deaf.clone())
        };
        let every = self.rhythm.poll.as_secs();
        if let Some(why) = unwatched
            && !std::mem::replace(&mut self.warned, true)
        {
            self.folder.warn(format!("{why}; it and others are looked at every {every} s"));
        }
        if let Some(why) = deaf
            && self.rescan_at > self.shared.now() + self.rhythm.poll
        {
            self.rescan_at = self.shared.now() + self.rhythm.poll;
            self.folder.warn(format!(
                "Changes are no longer heard of: {why}; the tree is looked at every {every} s"
            ));
        }
    }
}
