//! One way: makes the destination what the sources are, as far as the options say. Starts and ends the run.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};

use crate::disk::apply::Apply;
use crate::disk::attributes::{Which, set_fd};
use crate::disk::clock;
use crate::disk::error::{DiskError, Doing};
use crate::disk::kept::Kept;
use crate::disk::private::{Lock, Private};
use crate::disk::root::Root;
use crate::disk::stage::Stage;
use crate::engine::mirror::backup::Backup;
use crate::engine::mirror::error::MirrorError;
use crate::engine::mirror::hand::Hand;
use crate::engine::mirror::operand::{Destination, Source, listed, resolve};
use crate::engine::mirror::pass::Pass;
use crate::engine::mirror::removal::Remover;
use crate::engine::mirror::setting::Setting;
use crate::engine::mirror::site::Site;
use crate::engine::mirror::worker::work;
use crate::engine::options::{self, Options};
use crate::engine::report::{Held, Item, Observer, Progress, Report, seconds_between};
use crate::engine::selection;
use crate::engine::tree::Tree;
use crate::model::entry::Kind;
use crate::model::metadata::{Attributes, Stat, Timestamp};
use crate::model::path::{RelPath, escape};
use crate::plan::guard::{Toll, allows, bound, empties_root};
use crate::rules::scope::Scope;

/// Threads that copy.
const WORKERS: usize = 2;
/// Jobs that may wait for a thread.
const QUEUE: usize = 512;

/// The destination, opened and locked.
struct Opened {
    dest: Option<Arc<Root>>,
    /// What stood at its root before the run touched it.
    before: Option<Stat>,
    hold: Option<Hold>,
}

/// The private directory of a root and the lock on it.
struct Hold {
    root: Arc<Root>,
    private: Arc<Private>,
    lock: Lock,
    /// The root's modification time before the private directory was made in it, and after.
    before: Timestamp,
    taken: Timestamp,
}

/// Makes `dest` what `sources` are.
///
/// Everything is decided, told to `observer` and done in one pass; deletions come last, all or none. In a dry run the
/// same is told and nothing is touched.
///
/// # Errors
/// The run could not begin: an operand is missing, an option makes no sense, another run works on the destination.
/// What goes wrong with single paths is in the report.
pub fn mirror(
    sources: &[PathBuf],
    dest: &Path,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<Report, MirrorError> {
    let setting = Setting::new(options)?;
    carry(sources, dest, &setting, observer)
}

/// Tells `observer` what differs in `two` from `one`, contents too where the
/// options say so. Touches nothing; times of directories
/// do not count. [`Troubles::differs`](crate::engine::report::Troubles) says whether anything does.
///
/// # Errors
/// As for [`mirror`].
pub fn difference(
    one: &Path,
    two: &Path,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<Report, MirrorError> {
    if !two.is_dir() {
        return Err(MirrorError::NotADirectory { path: escape(two.as_os_str().as_bytes()) });
    }
    let mut options = options.clone();
    options.dry_run = true;
    options.removal.delete = true;
    options.removal.yes = true;
    options.telling.itemize = 1;
    let mut setting = Setting::new(&options)?;
    setting.ignore_dir_times();
    let mut counter = Counter { told: 0, observer };
    let mut report = carry(&[one.join("")], two, &setting, &mut counter)?;
    report.troubles.differs = counter.told > 0;
    Ok(report)
}

/// An observer that counts items on their way to another.
struct Counter<'a> {
    told: u64,
    observer: &'a mut dyn Observer,
}

impl Observer for Counter<'_> {
    fn item(&mut self, item: &Item) {
        self.told += 1;
        self.observer.item(item);
    }

    fn progress(&mut self, progress: Progress, path: Option<&RelPath>) {
        self.observer.progress(progress, path);
    }

    fn warning(&mut self, text: &str) {
        self.observer.warning(text);
    }
}

fn carry(
    sources: &[PathBuf],
    dest: &Path,
    setting: &Setting,
    observer: &mut dyn Observer,
) -> Result<Report, MirrorError> {
    let begun = clock::now();
    let options = &setting.options;
    let (sources, destination) = resolve(sources, dest)?;
    let rules = rules(options, &sources, &destination)?;
    let only = match &options.select.files_from {
        Some(file) => {
            let listed = listed(&selection::read(file)?, options.select.from0)?;
            Some(Arc::new(if options.preserve.recursive {
                listed.paths
            } else {
                listed.spread(&sources, &rules)
            }))
        }
        None => None,
    };
    let opened = open(&destination, options.dry_run)?;
    let hand = opened.hold.as_ref().map(Hold::hand);
    let (backup, backup_hold) = match (&options.removal.backup, &opened.dest, &opened.hold) {
        (Some(backup), Some(dest), Some(_)) => {
            let (backup, hold) = backup_of(backup, dest, 0o777 & !setting.process.umask)?;
            (Some(backup), hold)
        }
        _ => (None, None),
    };
    let site = Site::new(opened.dest.map(Tree::Disk), hand, backup);
    missing_of(&site, &sources, only.as_deref());
    transfer(&site, setting, &sources, rules, only, opened.before, observer);
    site.flush_names();
    let mut report = site.into_report();
    for hold in [opened.hold, backup_hold].into_iter().flatten() {
        hold.end()?;
    }
    report.seconds = seconds_between(begun, clock::now());
    Ok(report)
}

/// Returns the rules of a run; backups beside their files are shielded from deletion. With several sources, rules that
/// give absolute paths are for the first.
fn rules(
    options: &Options,
    sources: &[Source],
    destination: &Destination,
) -> Result<Arc<Scope>, MirrorError> {
    let removal = &options.removal;
    let beside = removal.backup.as_ref().filter(|backup| backup.dir.is_none());
    let shield = beside
        .filter(|_| removal.delete && !removal.delete_excluded)
        .map(|backup| [b"P *", backup.suffix.as_bytes()].concat());
    let last: Vec<&[u8]> = shield.iter().map(Vec::as_slice).collect();
    let source = sources.first().map_or(Path::new("/"), |source| source.root.path());
    let (select, excluded) = (&options.select, removal.delete_excluded);
    Ok(selection::scope_between(source, &destination.path, select, excluded, &last)?)
}

/// Opens the destination, makes it where it is missing, and takes its lock; a dry run only opens it.
fn open(destination: &Destination, dry_run: bool) -> Result<Opened, MirrorError> {
    if dry_run && !destination.exists {
        return Ok(Opened { dest: None, before: None, hold: None });
    }
    if !destination.exists {
        std::fs::create_dir(&destination.path).map_err(|source| MirrorError::Destination {
            path: escape(destination.path.as_os_str().as_bytes()),
            source,
        })?;
    }
    let root = Arc::new(Root::open(&destination.path)?);
    let before = root.stat(&RelPath::root())?.filter(|_| destination.exists);
    let hold = if dry_run { None } else { Some(Hold::take(&root)?) };
    Ok(Opened { dest: Some(root), before, hold })
}

impl Hold {
    fn take(root: &Arc<Root>) -> Result<Self, MirrorError> {
        let before = mtime(root)?;
        let private = Private::open_or_create(root)?;
        let lock = private.lock()?;
        let taken = mtime(root)?;
        let hold = Self { root: Arc::clone(root), private: Arc::new(private), lock, before, taken };
        hold.hand().apply.recover()?;
        Ok(hold)
    }

    fn hand(&self) -> Hand {
        let (root, private) = (Arc::clone(&self.root), Arc::clone(&self.private));
        let kept = Arc::new(Kept::new(Arc::clone(&private)));
        let apply = Apply::new(Arc::clone(&root), Arc::clone(&private), kept, b"one-way");
        Hand { apply, stage: Stage::new(Arc::clone(&root), private), root }
    }

    /// Removes the private directory if nothing is left in it, and gives the root the time that it had without this.
    fn end(self) -> Result<(), MirrorError> {
        let now = mtime(&self.root)?;
        let time = if now == self.taken { self.before } else { now };
        if let Some(private) = Arc::into_inner(self.private) {
            private.remove_if_empty(&self.root, Some(&self.lock))?;
        }
        let attributes = Attributes { mtime: time, ..Attributes::default() };
        let which = Which { mtime: true, ..Which::default() };
        let failed = |source| DiskError::call(Doing::SetAttributes, &RelPath::root(), source);
        set_fd(self.root.fd(), Kind::Dir, &attributes, which).map_err(failed)?;
        Ok(())
    }
}

/// Returns the present modification time of a root.
fn mtime(root: &Root) -> Result<Timestamp, MirrorError> {
    Ok(root.stat(&RelPath::root())?.map(|stat| stat.attributes.mtime).unwrap_or_default())
}

/// Returns where backups go, and the hold on that place if it is not the destination.
fn backup_of(
    backup: &options::Backup,
    dest: &Arc<Root>,
    dir_mode: u32,
) -> Result<(Backup, Option<Hold>), MirrorError> {
    let suffix = backup.suffix.as_bytes().to_vec();
    let beside = backup.dir.is_none();
    let within = |dir| Backup { elsewhere: None, dir, suffix: suffix.clone(), dir_mode, beside };
    let Some(dir) = &backup.dir else {
        return Ok((within(RelPath::root()), None));
    };
    let bytes = dir.as_os_str().as_bytes();
    if let Ok(inside) = RelPath::new(bytes.strip_suffix(b"/").unwrap_or(bytes)) {
        return Ok((within(inside), None));
    }
    let path = dest.path().join(dir);
    let failed = |source| MirrorError::Destination { path: escape(path.as_os_str().as_bytes()), source };
    std::fs::create_dir_all(&path).map_err(failed)?;
    let root = Arc::new(Root::open(&path)?);
    if let Ok(inside) = root.path().strip_prefix(dest.path())
        && let Ok(inside) = RelPath::new(inside.as_os_str().as_bytes())
    {
        return Ok((within(inside), None));
    }
    let hold = Hold::take(&root)?;
    Ok((Backup { elsewhere: Some(hold.hand()), ..within(RelPath::root()) }, Some(hold)))
}

/// Notes listed paths that the source does not have.
fn missing_of(site: &Site, sources: &[Source], only: Option<&BTreeSet<RelPath>>) {
    for path in only.into_iter().flatten() {
        if !sources.iter().any(|source| source.has(path)) {
            site.problem(path, "is listed, and missing in the source");
        }
    }
}

/// Runs the pass beside the threads that copy, then the deletions.
fn transfer(
    site: &Site,
    setting: &Setting,
    sources: &[Source],
    rules: Arc<Scope>,
    only: Option<Arc<BTreeSet<RelPath>>>,
    root_before: Option<Stat>,
    observer: &mut dyn Observer,
) {
    let (jobs, queue) = sync_channel(QUEUE);
    let queue = Mutex::new(queue);
    let mut pass = Pass {
        setting,
        site,
        sources,
        rules,
        only,
        observer: &mut *observer,
        root_before,
        jobs,
        removals: Vec::new(),
        flips: Vec::new(),
        deletes: 0,
        of: 0,
        creates: 0,
        progress: Progress::default(),
        at: 0,
        stack: Vec::new(),
        refused: None,
    };
    let (removals, flips, toll) = std::thread::scope(|scope| {
        if site.hand.is_some() {
            for _ in 0..WORKERS {
                scope.spawn(|| work(site, &queue));
            }
        }
        for at in 0..sources.len() {
            pass.run(at);
        }
        let toll = Toll { deletes: pass.deletes, of: pass.of, creates: pass.creates };
        // Without its sender the queue ends, and with it the threads.
        (pass.removals, pass.flips, toll)
    });
    if site.source_failed() || site.is_full() {
        if toll.deletes > 0 {
            observer.warning("the source could not be read whole or the disk is full: nothing was deleted");
        }
        return;
    }
    if !allows(toll, setting.limit) {
        site.report().held = Some(Held {
            deletes: toll.deletes,
            of: toll.of,
            limit: bound(toll, setting.limit),
            empties: empties_root(toll),
        });
        return;
    }
    let Some(dest) = &site.dest else { return };
    let mut remover = Remover { site, dest, beside: setting.suffix_beside(), observer };
    removals.iter().for_each(|removal| remover.remove(removal));
    flips.into_iter().for_each(|flip| remover.flip(flip));
}
