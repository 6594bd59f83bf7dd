//! Deletions: counted while the trees are compared, judged by the guard, done after the transfer.

use std::sync::Arc;

use crate::disk::apply::{ApplyError, DirRemoval, Fate};
use crate::disk::listing::Hides;
use crate::disk::walk::{Step, Walk, WalkOptions, Window};
use crate::engine::mirror::account::count;
use crate::engine::mirror::directory::Directory;
use crate::engine::mirror::hand::{Hand, Means};
use crate::engine::mirror::job::Job;
use crate::engine::mirror::site::Site;
use crate::engine::mirror::worker::work_alone;
use crate::engine::report::{Item, Observer};
use crate::engine::tree::Tree;
use crate::model::entry::Kind;
use crate::model::metadata::Stat;
use crate::model::path::{PRIVATE_DIR, RelPath};
use crate::plan::itemize::DELETING;
use crate::rules::rule::Side;
use crate::rules::scope::Scope;

/// Why nothing is done where something is mounted.
pub(crate) const MOUNTED: &str = "is a mount point inside the destination: refused";

/// What goes from one directory of the destination.
pub(crate) struct Removal {
    pub(crate) dir: RelPath,
    /// The receiver's rules inside it.
    pub(crate) rules: Arc<Scope>,
    pub(crate) names: Vec<(Box<[u8]>, Stat)>,
    /// The directory, whose time is set again afterwards; `None` where its own attributes are not carried.
    pub(crate) restore: Option<Directory>,
}

/// A directory of the destination that something else replaces once it is empty.
pub(crate) struct Flip {
    pub(crate) rules: Arc<Scope>,
    pub(crate) job: Job,
    pub(crate) item: Option<Item>,
}

/// What a subtree of the destination comes to.
enum Found<'a> {
    /// It goes.
    Goes(&'a RelPath, Kind, &'a Stat),
    /// It cannot go, and the user should know.
    Stays(&'a RelPath, String),
}

/// Whether the rules of the receiver let `path` go.
pub(crate) fn may_go(rules: &Scope, path: &RelPath, kind: Kind) -> bool {
    path.name() != PRIVATE_DIR && !rules.verdict(path, kind == Kind::Dir, Side::Receiver).is_excluded()
}

/// Calls `tell` for all below `start` that goes, children before parents. Returns whether `start` would be empty;
/// `beside` is what is added to the names of backups that remain where their files were.
fn descend(
    dest: &Tree,
    rules: &Arc<Scope>,
    start: &RelPath,
    beside: Option<&[u8]>,
    tell: &mut dyn FnMut(Found<'_>),
) -> bool {
    if let Some(why) = barred(dest, start) {
        tell(Found::Stays(start, why));
        return false;
    }
    let options = WalkOptions {
        threads: 0,
        cross_mounts: false,
        recurse: true,
        skip_private: true,
        start: start.clone(),
        scope: Arc::clone(rules),
        hides: Hides::Deletion,
        only: None,
        window: Window::default(),
    };
    let mut open: Vec<(RelPath, Stat, bool)> = Vec::new();
    let mut empty = true;
    let mut close = |open: &mut Vec<(RelPath, Stat, bool)>, tell: &mut dyn FnMut(Found<'_>)| {
        let Some((path, stat, stays)) = open.pop() else {
            return;
        };
        match open.last_mut() {
            None => empty = !stays,
            Some(above) if stays => above.2 = true,
            Some(_) => tell(Found::Goes(&path, Kind::Dir, &stat)),
        }
    };
    for step in Walk::new(dest.lister(), None, options) {
        let at = match &step {
            Step::Entry(entry) => &entry.path,
            Step::Excluded { path, .. } | Step::Unreadable { path, .. } | Step::Mount { path, .. } => path,
            Step::Unnameable { dir, .. } => dir,
        };
        while open.last().is_some_and(|(dir, ..)| at != dir && !at.is_below(dir)) {
            close(&mut open, tell);
        }
        if let Step::Entry(entry) = &step
            && entry.stat.kind == Kind::Dir
        {
            let error = entry.dir.as_ref().and_then(|dir| dir.error.clone());
            if let Some(error) = &error {
                tell(Found::Stays(&entry.path, error.to_string()));
            }
            open.push((entry.path.clone(), entry.stat, error.is_some()));
        } else if leaves_something(&step, beside, tell)
            && let Some(above) = open.last_mut()
        {
            above.2 = true;
        }
    }
    while !open.is_empty() {
        close(&mut open, tell);
    }
    empty
}

/// Returns why nothing below `start` may be deleted; `None` where it may.
fn barred(dest: &Tree, start: &RelPath) -> Option<String> {
    match dest.is_mount(start) {
        Ok(is_mount) => is_mount.then(|| MOUNTED.to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

/// Tells what a step that is no directory comes to. Returns whether something remains in the directory that holds it.
fn leaves_something(step: &Step, beside: Option<&[u8]>, tell: &mut dyn FnMut(Found<'_>)) -> bool {
    let (path, why) = match step {
        Step::Entry(entry) => {
            tell(Found::Goes(&entry.path, entry.stat.kind, &entry.stat));
            return beside.is_some_and(|suffix| !entry.path.name().ends_with(suffix));
        }
        Step::Excluded { .. } => return true,
        Step::Unreadable { path, error } | Step::Unnameable { dir: path, error } => (path, error.to_string()),
        Step::Mount { path, .. } => (path, MOUNTED.to_owned()),
    };
    tell(Found::Stays(path, why));
    true
}

/// Returns how many entries below `start` would go, and whether it would be empty then.
pub(crate) fn toll_below(
    dest: &Tree,
    rules: &Arc<Scope>,
    start: &RelPath,
    beside: Option<&[u8]>,
) -> (u64, bool) {
    let mut toll = 0;
    let empty = descend(dest, rules, start, beside, &mut |found| {
        toll += u64::from(matches!(found, Found::Goes(..)));
    });
    (toll, empty)
}

/// Returns how many entries would go with `path`.
pub(crate) fn toll_of(
    dest: &Tree,
    rules: &Arc<Scope>,
    path: &RelPath,
    stat: &Stat,
    beside: Option<&[u8]>,
) -> u64 {
    if stat.kind != Kind::Dir {
        return 1;
    }
    let (below, empty) = toll_below(dest, rules, path, beside);
    below + u64::from(empty)
}

/// Carries deletions out, or in a dry run tells them.
pub(crate) struct Remover<'a> {
    pub(crate) site: &'a Site,
    pub(crate) dest: &'a Tree,
    /// What is added to the names of backups that remain where their files were.
    pub(crate) beside: Option<&'a [u8]>,
    pub(crate) observer: &'a mut dyn Observer,
}

impl Remover<'_> {
    /// Deletes what goes from one directory.
    pub(crate) fn remove(&mut self, removal: &Removal) {
        for (name, stat) in &removal.names {
            let Ok(path) = removal.dir.join(name) else {
                continue;
            };
            if stat.kind != Kind::Dir || self.empty(&removal.rules, &path) {
                self.one(&path, stat.kind, stat);
            }
        }
        self.site.changed(removal.dir.clone());
        if let Some(dir) = &removal.restore {
            dir.restore_time(self.site);
        }
    }

    /// Empties the directory that stands in the way, and does what waited for that.
    pub(crate) fn flip(&mut self, flip: Flip) {
        let path = flip.job.to.clone();
        if !self.empty(&flip.rules, &path) {
            return self.site.account.problem(&path, "cannot delete non-empty directory");
        }
        if let Some(item) = &flip.item {
            self.observer.item(item);
        }
        work_alone(self.site, flip.job);
    }

    /// Deletes what goes from below `path`; returns whether it is empty then.
    fn empty(&mut self, rules: &Arc<Scope>, path: &RelPath) -> bool {
        let dest = self.dest.clone();
        descend(&dest, rules, path, self.beside, &mut |found| match found {
            Found::Goes(path, kind, stat) => self.one(path, kind, stat),
            Found::Stays(path, why) => self.site.account.problem(path, why),
        })
    }

    fn one(&mut self, path: &RelPath, kind: Kind, stat: &Stat) {
        match &self.site.hand {
            Some(Hand::Here(means)) => match self.take_away(means, path, kind, stat) {
                Ok(true) => {}
                // A backup was left in it.
                Ok(false) => return,
                Err(error) => return self.site.account.apply_problem(path, &error),
            },
            Some(Hand::There(courier)) => courier.remove(&self.site.account, path, kind),
            None => {}
        }
        let dir = kind == Kind::Dir;
        let item = Item { code: DELETING.to_owned(), path: path.clone(), dir, suffix: Vec::new() };
        self.observer.item(&item);
        // What a peer deletes is counted when it has done so.
        if !matches!(self.site.hand, Some(Hand::There(_))) {
            count(&mut self.site.account.report().deleted, kind);
        }
    }

    /// Takes one entry away, or keeps it as a backup. Returns whether it is gone from its place.
    fn take_away(&self, means: &Means, path: &RelPath, kind: Kind, stat: &Stat) -> Result<bool, ApplyError> {
        if kind == Kind::Dir {
            return Ok(means.apply.remove_dir(path)? != DirRemoval::NotEmpty);
        }
        match self.site.backup.as_ref().map_or(Ok(None), |backup| backup.take(means, path, stat))? {
            Some(dir) => self.site.changed(dir),
            None => drop(means.apply.remove(path, stat, Fate::Discard)?),
        }
        Ok(true)
    }
}
