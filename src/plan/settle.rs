//! When a place that somebody hinted at is looked at: soon, when it is quiet, or rarely because it never is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::path::RelPath;

/// A place to look at.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Hint {
    /// The place.
    pub path: RelPath,
    /// Whether all below it is meant too, if a directory stands there.
    pub recursive: bool,
}

/// What was heard of a place. A sign is never proof: it says where to look, and whether the writer has finished.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sign {
    /// A file that was open for writing was closed.
    Closed,
    /// A file was written and is still open.
    Written,
    /// Mode, owner or times were set.
    Attributes,
    /// Something came to stand there whole: it was moved or linked there, or is no regular file.
    Appeared,
    /// What stood there was moved away or removed.
    Vanished,
}

/// How long what is waited for. Times are far below the resolution of people, so that they add nothing to be noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// What comes within this time of the first hint is looked at together with it: both halves of a rename, a burst.
    pub gather: Duration,
    /// So long a file that was written and not closed must be left alone. Doubled with each look that was in vain.
    pub quiet: Duration,
    /// After so long it is looked at all the same.
    pub quiet_max: Duration,
    /// So many looks in a row a path may ask for before it is held back.
    pub looks_free: u32,
    /// The longest that a path is held back which changes all the time.
    pub flap_max: Duration,
    /// Above so many places only their directories are remembered.
    pub places_max: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            gather: Duration::from_millis(2),
            quiet: Duration::from_secs(1),
            quiet_max: Duration::from_mins(1),
            looks_free: 16,
            flap_max: Duration::from_secs(10),
            places_max: 65_536,
        }
    }
}

/// The places that were hinted at and not looked at yet.
///
/// Moments are durations since a start that the caller chooses; they never go back. Memory is bounded by
/// [`Pace::places_max`]: beyond it, hints collapse into recursive ones for the directories above.
#[derive(Debug)]
pub struct Settle {
    pace: Pace,
    /// To be looked at together; whether recursively.
    ready: BTreeMap<RelPath, bool>,
    /// When; `None` while nothing is ready.
    ready_at: Option<Duration>,
    /// To be looked at later, each at its own time.
    waiting: BTreeMap<RelPath, Wait>,
    /// The same by time.
    due: BTreeSet<(Duration, RelPath)>,
    /// What was looked at a short while ago.
    heat: BTreeMap<RelPath, Heat>,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    recursive: bool,
    /// The first hint that was not answered.
    since: Duration,
    due: Duration,
}

#[derive(Clone, Copy, Default, Debug)]
struct Heat {
    /// Looks in a row.
    looks: u32,
    /// Those of them that found the file still open for writing.
    vain: u32,
    /// The last look.
    at: Duration,
    /// The last hint or look.
    heard: Duration,
}

impl Settle {
    /// Returns the memory of no hints.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        Self {
            pace,
            ready: BTreeMap::new(),
            ready_at: None,
            waiting: BTreeMap::new(),
            due: BTreeSet::new(),
            heat: BTreeMap::new(),
        }
    }

    /// Takes note of a sign at `path`. What appears may be a directory, and then all below it is meant.
    pub fn tell(&mut self, path: RelPath, sign: Sign, now: Duration) {
        if self.is_swallowed(&path) {
            return;
        }
        match sign {
            Sign::Written => self.written(Hint { path, recursive: false }, now),
            Sign::Closed => {
                if let Some(heat) = self.heat.get_mut(&path) {
                    heat.vain = 0;
                }
                self.ask(Hint { path, recursive: false }, now);
            }
            Sign::Attributes => {
                // The writer may set them before it closes: the file stays one that is being written.
                if !self.waiting.contains_key(&path) {
                    self.ask(Hint { path, recursive: false }, now);
                }
            }
            Sign::Appeared => self.ask(Hint { path, recursive: true }, now),
            Sign::Vanished => self.ask(Hint { path, recursive: false }, now),
        }
        self.collapse(now);
    }

    /// Takes note that hints were lost: everything is to be looked at.
    pub fn overflow(&mut self, now: Duration) {
        self.ask(Hint { path: RelPath::root(), recursive: true }, now);
    }

    /// Takes back a hint whose file was still being written when it was looked at.
    pub fn busy(&mut self, hint: Hint, now: Duration) {
        let heat = self.heat.entry(hint.path.clone()).or_default();
        heat.vain = heat.vain.max(1);
        heat.heard = now;
        self.written(hint, now);
        self.collapse(now);
    }

    /// Returns when [`take`](Self::take) has something to give, `None` if nothing is known.
    #[must_use]
    pub fn next(&self) -> Option<Duration> {
        let waiting = self.due.first().map(|(due, _)| *due);
        [self.ready_at, waiting].into_iter().flatten().min()
    }

    /// Takes out what is to be looked at now, in path order.
    pub fn take(&mut self, now: Duration) -> Vec<Hint> {
        let mut taken = BTreeMap::new();
        if self.ready_at.is_some_and(|at| at <= now) {
            taken = std::mem::take(&mut self.ready);
            self.ready_at = None;
        }
        while self.due.first().is_some_and(|(due, _)| *due <= now)
            && let Some((_, path)) = self.due.pop_first()
        {
            let recursive = self.waiting.remove(&path).is_some_and(|wait| wait.recursive);
            let heat = self.heat.entry(path.clone()).or_default();
            heat.vain = heat.vain.saturating_add(1);
            taken.entry(path).and_modify(|wide| *wide |= recursive).or_insert(recursive);
        }
        for path in taken.keys() {
            let heat = self.heat.entry(path.clone()).or_default();
            heat.looks = heat.looks.saturating_add(1);
            (heat.at, heat.heard) = (now, now);
        }
        self.cool(now);
        taken.into_iter().map(|(path, recursive)| Hint { path, recursive }).collect()
    }

    /// Returns what is not ready yet, in path order: what must outlive a restart.
    pub fn waiting(&self) -> impl Iterator<Item = Hint> {
        self.waiting.iter().map(|(path, wait)| Hint { path: path.clone(), recursive: wait.recursive })
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.waiting.is_empty()
    }

    /// Whether a directory above `path` is about to be looked at with all below it.
    fn is_swallowed(&self, path: &RelPath) -> bool {
        let is_whole = |above: &RelPath| self.ready.get(above).copied().unwrap_or(false);
        !self.ready.is_empty()
            && !path.is_root()
            && (is_whole(&RelPath::root()) || path.ancestors().any(|above| is_whole(&above)))
    }

    /// What stands at a path was written and is still open.
    fn written(&mut self, hint: Hint, now: Duration) {
        let Hint { path, recursive } = hint;
        let vain = self.hot(&path, now).vain;
        let recursive = recursive || self.ready.remove(&path).unwrap_or(false);
        if self.ready.is_empty() {
            self.ready_at = None;
        }
        let old = self.stop_waiting(&path);
        let since = old.map_or(now, |wait| wait.since);
        let quiet = doubled(self.pace.quiet, vain).min(self.pace.quiet_max);
        let due = (now + quiet).min((since + self.pace.quiet_max).max(now));
        let recursive = recursive || old.is_some_and(|wait| wait.recursive);
        self.wait(path, Wait { recursive, since, due });
    }

    /// `hint` is to be looked at at once, unless its path asks all the time.
    fn ask(&mut self, hint: Hint, now: Duration) {
        let Hint { path, mut recursive } = hint;
        let heat = self.hot(&path, now);
        let old = self.stop_waiting(&path);
        recursive |= old.is_some_and(|wait| wait.recursive);
        let due = heat.at + self.held_back(heat.looks);
        if due > now + self.pace.gather {
            let since = old.map_or(now, |wait| wait.since);
            self.wait(path, Wait { recursive, since, due });
            return;
        }
        if recursive {
            let mut below = Vec::new();
            for (other, _) in
                self.ready.range(&path..).take_while(|(other, _)| **other == path || other.is_below(&path))
            {
                below.push(other.clone());
            }
            for other in below.iter().filter(|other| **other != path) {
                self.ready.remove(other);
            }
        }
        *self.ready.entry(path).or_insert(recursive) |= recursive;
        self.ready_at.get_or_insert(now + self.pace.gather);
    }

    fn wait(&mut self, path: RelPath, wait: Wait) {
        self.due.insert((wait.due, path.clone()));
        self.waiting.insert(path, wait);
    }

    fn stop_waiting(&mut self, path: &RelPath) -> Option<Wait> {
        let wait = self.waiting.remove(path)?;
        self.due.remove(&(wait.due, path.clone()));
        Some(wait)
    }

    /// Returns how often `path` was looked at in a row; none of it counts once it was left alone for a while.
    fn hot(&mut self, path: &RelPath, now: Duration) -> Heat {
        let Some(heat) = self.heat.get(path).copied() else {
            return Heat::default();
        };
        if self.is_cold(heat, now) {
            self.heat.remove(path);
            return Heat::default();
        }
        let heat = Heat { heard: now, ..heat };
        self.heat.insert(path.clone(), heat);
        heat
    }

    fn is_cold(&self, heat: Heat, now: Duration) -> bool {
        let quiet = doubled(self.pace.quiet, heat.vain).min(self.pace.quiet_max);
        now > heat.heard + quiet + self.held_back(heat.looks) * 2
    }

    /// Returns how long after a look the next one of a path may come that was looked at `looks` times in a row.
    fn held_back(&self, looks: u32) -> Duration {
        match looks.checked_sub(self.pace.looks_free) {
            None | Some(0) => Duration::ZERO,
            Some(more) => doubled(self.pace.quiet / 8, more - 1).min(self.pace.flap_max),
        }
    }

    /// Forgets what was looked at long ago, now and then.
    fn cool(&mut self, now: Duration) {
        if self.heat.len() <= self.pace.places_max {
            return;
        }
        let heat = std::mem::take(&mut self.heat);
        self.heat = heat.into_iter().filter(|(_, heat)| !self.is_cold(*heat, now)).collect();
        if self.heat.len() > self.pace.places_max {
            self.heat.clear();
        }
    }

    /// Puts directories in the place of hints where there are too many.
    fn collapse(&mut self, now: Duration) {
        if self.ready.len() + self.waiting.len() <= self.pace.places_max {
            return;
        }
        let mut places: BTreeSet<RelPath> =
            self.ready.keys().chain(self.waiting.keys()).map(parent_of).collect();
        while places.len() > self.pace.places_max / 2 {
            places = places.iter().map(parent_of).collect();
        }
        self.ready.clear();
        self.waiting.clear();
        self.due.clear();
        self.ready_at = Some(now + self.pace.gather);
        for path in places {
            if !self.is_swallowed(&path) {
                self.ready.insert(path, true);
            }
        }
    }
}

fn parent_of(path: &RelPath) -> RelPath {
    path.parent().unwrap_or_default()
}

fn doubled(base: Duration, times: u32) -> Duration {
    base.saturating_mul(1u32.checked_shl(times).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
