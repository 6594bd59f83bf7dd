//! Looks at a few places of a tree, where something is said to have changed, and records what did.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::disk::lister::Lister;
use crate::engine::error::EngineError;
use crate::engine::observe::{Observation, Sight, Watching};
use crate::engine::recorder::in_batch;
use crate::engine::replica::Replica;
use crate::engine::selection::enter;
use crate::model::entry::Kind;
use crate::model::metadata::Stat;
use crate::model::path::{PRIVATE_DIR, RelPath};
use crate::model::row::Record;
use crate::plan::settle::Hint;
use crate::rules::scope::Scope;
use crate::store::looks::Looks;

/// Brings the index of `replica` up to date at the places that `hints` name, by the rules of
/// [`observe`](crate::engine::observe::observe).
///
/// A hint costs the way down to its path and the entry itself, whatever else its directory holds. More is looked at
/// where a hint is recursive, where a directory stands that is not the recorded one, and where a file of filter rules
/// may have changed. `lister` lists such directories: one that watches a directory before it lists it misses nothing.
/// That the root is the right one is for the caller to check.
///
/// What holds after: all that was found is recorded in one batch, renames linked, and the hints are struck from the
/// journal; those in [`Sight::again`], whose files changed while they were read, are in it.
///
/// # Errors
/// The index cannot be read or written.
pub fn glance(
    replica: &Replica,
    watching: &Watching,
    lister: &Arc<dyn Lister>,
    hints: &[Hint],
) -> Result<Sight, EngineError> {
    in_batch(replica, || {
        let mut glance = Glance {
            replica,
            watching,
            look: Observation::new(replica, watching, lister)?,
            grounds: BTreeMap::new(),
            tasks: BTreeMap::new(),
        };
        for hint in hints {
            glance.place(hint)?;
        }
        let sight = glance.run()?;
        let looks = Looks::of(&replica.db);
        if !looks.is_empty()? {
            if hints.iter().any(|hint| hint.recursive && hint.path.is_root()) {
                looks.clear()?;
            }
            hints.iter().try_for_each(|hint| looks.take(hint))?;
        }
        sight.again.iter().try_for_each(|hint| looks.put(hint))?;
        Ok(sight)
    })
}

/// How a directory stands, and with it all that it holds.
#[derive(Clone)]
enum Ground {
    /// It is there, and the rules let it in.
    Inside {
        /// The rules inside it.
        scope: Arc<Scope>,
        /// The outermost directory, from the root down to this one, that is not recorded as one, and the rules there.
        unrecorded: Option<(RelPath, Arc<Scope>)>,
    },
    /// No directory stands at this path, this one or one above it. With the rules where that lies.
    Gone(RelPath, Arc<Scope>),
    /// The rules leave it out.
    Frozen,
    /// It belongs to csync, lies on another file system, or cannot be read.
    Unknown,
}

/// What is to be done at a path.
enum Task {
    /// Look at it and all below it. With the rules where it lies.
    Whole(Arc<Scope>),
    /// Look at the entry alone, which has this stat and record.
    Single(Stat, Option<Box<Record>>),
    /// Drop what is recorded of it and all below it.
    Forget,
}

struct Glance<'r> {
    replica: &'r Replica,
    watching: &'r Watching,
    look: Observation<'r>,
    grounds: BTreeMap<RelPath, Ground>,
    tasks: BTreeMap<RelPath, Task>,
}

impl Glance<'_> {
    /// Does what the hints come to.
    fn run(mut self) -> Result<Sight, EngineError> {
        let mut whole: Option<RelPath> = None;
        for (path, task) in std::mem::take(&mut self.tasks) {
            if whole.as_ref().is_some_and(|whole| path.is_below(whole)) {
                continue;
            }
            match task {
                Task::Whole(scope) => {
                    // A small tree is listed before a thread would have started.
                    let threads = if path.is_root() { self.watching.threads } else { 0 };
                    self.look.subtree(&path, &scope, threads)?;
                    whole = Some(path);
                }
                Task::Single(stat, record) => self.look.single(&path, stat, record.map(|record| *record))?,
                Task::Forget => self.look.frozen(&path)?,
            }
        }
        self.look.finish()
    }

    /// Finds out what is to be done about `hint`.
    fn place(&mut self, hint: &Hint) -> Result<(), EngineError> {
        let Hint { path, recursive } = hint;
        let Some(parent) = path.parent() else {
            // Nothing is recorded of the root itself.
            if *recursive {
                self.task(path, Task::Whole(Arc::clone(&self.watching.scope)));
            }
            return Ok(());
        };
        match self.ground(&parent)? {
            Ground::Inside { scope, .. } if scope.merge_names().any(|name| name == path.name()) => {
                self.place(&Hint { path: parent, recursive: true })
            }
            Ground::Inside { scope, unrecorded } => self.place_in(hint, scope, unrecorded),
            Ground::Gone(start, scope) => {
                self.task(&start, Task::Whole(scope));
                Ok(())
            }
            Ground::Frozen => {
                self.task(path, Task::Forget);
                Ok(())
            }
            Ground::Unknown => Ok(()),
        }
    }

    /// The same in a directory that is there, where `scope` holds.
    fn place_in(
        &mut self,
        hint: &Hint,
        scope: Arc<Scope>,
        unrecorded: Option<(RelPath, Arc<Scope>)>,
    ) -> Result<(), EngineError> {
        let Hint { path, recursive } = hint;
        if path.name() == PRIVATE_DIR {
            return Ok(());
        }
        let found = match self.replica.root.look(path) {
            Ok(found) => found,
            Err(error) => {
                self.look.unreadable(path, error.to_string());
                if error.is_exhausted() {
                    self.look.later(hint.clone());
                }
                return Ok(());
            }
        };
        if let Some((stat, _)) = found
            && scope.is_frozen(path, stat.kind == Kind::Dir)
        {
            self.task(path, Task::Forget);
            return Ok(());
        }
        if let Some((start, scope)) = unrecorded {
            // A new directory: whatever stands in it is new as well.
            self.task(&start, Task::Whole(scope));
            return Ok(());
        }
        let record = self.replica.record(path)?;
        let Some((stat, mount)) = found else {
            if record.is_some() {
                self.task(path, Task::Whole(scope));
            }
            return Ok(());
        };
        let is_dir = stat.kind == Kind::Dir;
        if is_dir && (mount || stat.dev != self.replica.root.dev()) {
            self.look.mount(path);
            return Ok(());
        }
        let was_dir = record.as_ref().is_some_and(|record| record.row.is_live_dir() || record.residue);
        let same_dir = is_dir && record.as_ref().is_some_and(|record| is_same_dir(record, &stat));
        if is_dir && (*recursive || !same_dir) || !is_dir && was_dir {
            self.task(path, Task::Whole(scope));
        } else {
            self.task(path, Task::Single(stat, record.map(Box::new)));
        }
        Ok(())
    }

    /// Notes a task; looking at everything below a path answers for looking at the path.
    fn task(&mut self, path: &RelPath, task: Task) {
        if !matches!(self.tasks.get(path), Some(Task::Whole(_))) {
            self.tasks.insert(path.clone(), task);
        }
    }

    /// Returns how `dir` stands; each is found out once.
    fn ground(&mut self, dir: &RelPath) -> Result<Ground, EngineError> {
        if let Some(ground) = self.grounds.get(dir) {
            return Ok(ground.clone());
        }
        let ground = match dir.parent() {
            None => self.inside(dir, &Arc::clone(&self.watching.scope), None),
            Some(parent) => match self.ground(&parent)? {
                Ground::Inside { scope, unrecorded } => self.ground_in(dir, &scope, unrecorded)?,
                other @ (Ground::Gone(..) | Ground::Frozen | Ground::Unknown) => other,
            },
        };
        self.grounds.insert(dir.clone(), ground.clone());
        Ok(ground)
    }

    /// Returns how `dir` stands in a directory that is there, where `scope` holds.
    fn ground_in(
        &mut self,
        dir: &RelPath,
        scope: &Arc<Scope>,
        unrecorded: Option<(RelPath, Arc<Scope>)>,
    ) -> Result<Ground, EngineError> {
        if dir.name() == PRIVATE_DIR {
            return Ok(Ground::Unknown);
        }
        let (stat, mount) = match self.replica.root.look(dir) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Ground::Gone(dir.clone(), Arc::clone(scope))),
            Err(error) => {
                self.look.unreadable(dir, error.to_string());
                return Ok(Ground::Unknown);
            }
        };
        let is_dir = stat.kind == Kind::Dir;
        if scope.is_frozen(dir, is_dir) {
            return Ok(Ground::Frozen);
        }
        if !is_dir {
            return Ok(Ground::Gone(dir.clone(), Arc::clone(scope)));
        }
        if mount || stat.dev != self.replica.root.dev() {
            self.look.mount(dir);
            return Ok(Ground::Unknown);
        }
        let is_recorded = self.replica.record(dir)?.is_some_and(|record| record.row.is_live_dir());
        let here = (!is_recorded).then(|| (dir.clone(), Arc::clone(scope)));
        Ok(self.inside(dir, scope, unrecorded.or(here)))
    }

    /// Returns the ground of a directory that is there, its files of rules read.
    fn inside(
        &mut self,
        dir: &RelPath,
        scope: &Arc<Scope>,
        unrecorded: Option<(RelPath, Arc<Scope>)>,
    ) -> Ground {
        match enter(scope, Some(&*self.replica.root), dir) {
            Ok(scope) => Ground::Inside { scope, unrecorded },
            Err(error) => {
                self.look.unreadable(dir, error);
                Ground::Unknown
            }
        }
    }
}

/// Whether the directory with `stat` is the one recorded, so that its own signs tell what changes in it.
fn is_same_dir(record: &Record, stat: &Stat) -> bool {
    record.row.is_live_dir() && record.seen.is_some_and(|seen| seen.stat.ino == stat.ino)
}
