//! One way: makes the destination what the sources are, as far as the options say. Starts and ends the run.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};

use crate::disk::clock;
use crate::engine::far::told;
use crate::engine::mirror::courier::{Courier, attended};
use crate::engine::mirror::error::MirrorError;
use crate::engine::mirror::opening::Opened;
use crate::engine::mirror::operand::{Destination, Operand, Place, Source, listed, resolve};
use crate::engine::mirror::pass::Pass;
use crate::engine::mirror::removal::Remover;
use crate::engine::mirror::setting::Setting;
use crate::engine::mirror::site::Site;
use crate::engine::mirror::worker::work;
use crate::engine::options::Options;
use crate::engine::report::{Held, Item, Observer, Progress, Report, seconds_between};
use crate::engine::selection;
use crate::engine::tree::Tree;
use crate::model::metadata::Stat;
use crate::model::path::RelPath;
use crate::plan::guard::{Limit, Toll, allows, bound, empties_root};
use crate::rules::scope::Scope;

/// Threads that copy.
const WORKERS: usize = 2;
/// Jobs that may wait for a thread.
const QUEUE: usize = 512;

/// Makes `dest` what `sources` are.
///
/// Everything is decided, told to `observer` and done in one pass; deletions come last, all or none. In a dry run the
/// same is told and nothing is touched.
///
/// # Errors
/// The run could not begin: an operand is missing, an option makes no sense, another run works on the destination.
/// What goes wrong with single paths is in the report.
pub fn mirror(
    sources: &[Operand],
    dest: &Operand,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<Report, MirrorError> {
    carry(sources, dest, Setting::new(options)?, observer)
}

/// Tells `observer` what differs in `two` from `one`, contents too where the
/// options say so. Touches nothing; times of directories
/// do not count. [`Troubles::differs`](crate::engine::report::Troubles) says whether anything does.
///
/// # Errors
/// As for [`mirror`].
pub fn difference(
    one: &Operand,
    two: &Operand,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<Report, MirrorError> {
    if !two.is_dir() {
        return Err(MirrorError::NotADirectory { path: two.shown() });
    }
    let mut options = options.clone();
    options.dry_run = true;
    options.removal.delete = true;
    options.removal.yes = true;
    options.telling.itemize = 1;
    let mut setting = Setting::new(&options)?;
    setting.ignore_dir_times();
    let mut counter = Counter { told: 0, observer };
    let mut report = carry(&[one.contents()], two, setting, &mut counter)?;
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
    sources: &[Operand],
    dest: &Operand,
    mut setting: Setting,
    observer: &mut dyn Observer,
) -> Result<Report, MirrorError> {
    let begun = clock::now();
    let far = sources.iter().chain([dest]).find_map(Operand::far).map(Arc::clone);
    if sources.iter().any(|source| source.far().is_some()) {
        setting.told_by_peer();
    }
    let (sources, destination) = resolve(sources, dest)?;
    let is_push = matches!(destination.place, Place::There(_));
    if let Place::There(placed) = &destination.place {
        setting.made_by_peer(placed.far.opened().trusted, placed.far.opened().owners);
    }
    let options = &setting.options;
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
    let Opened { site, before, holds } = Opened::new(&destination, &setting)?;
    missing_of(&site, &sources, only.as_deref());
    unread_of(&site, &sources);
    transfer(&site, &setting, &sources, rules, only, before, observer);
    site.flush_names();
    let ended = ended(&site);
    let mut report = site.into_report();
    let done = far.as_ref().filter(|_| ended.is_ok()).map(|far| far.key());
    for hold in holds {
        hold.end(done.as_ref())?;
    }
    ended?;
    if let Some(far) = far {
        if is_push {
            // It is the peer that does not take them.
            std::mem::swap(&mut report.untaken, &mut report.unsent);
        }
        let traffic = far.traffic();
        (report.bytes_sent, report.bytes_received) = (traffic.sent, traffic.received);
    }
    report.seconds = seconds_between(begun, clock::now());
    Ok(report)
}

/// Waits until a peer has finished what it put off.
///
/// # Errors
/// The peer failed, now or before.
fn ended(site: &Site) -> Result<(), MirrorError> {
    if let Some(error) = site.account.failure() {
        return Err(error.into());
    }
    Ok(site.courier().map_or(Ok(()), Courier::settle)?)
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
    let source = sources.first().map_or(PathBuf::from("/"), |source| source.root.path());
    let (select, excluded) = (&options.select, removal.delete_excluded);
    Ok(selection::scope_between(&source, &destination.path(), select, excluded, &last)?)
}

/// Notes listed paths that the source does not have.
fn missing_of(site: &Site, sources: &[Source], only: Option<&BTreeSet<RelPath>>) {
    for path in only.into_iter().flatten() {
        if !sources.iter().any(|source| source.has(path)) {
            site.account.problem(path, "is listed, and missing in the source");
        }
    }
}

/// Notes what of a source a peer cannot read: what is there is not known, so nothing may be taken for absent.
fn unread_of(site: &Site, sources: &[Source]) {
    for source in sources {
        if let Tree::Far(placed) = &source.root
            && let Some((path, why)) = told::unread(&placed.far)
        {
            site.account.unread(&path, why);
        }
    }
}

/// Whether the deletions of a run may be carried out, as far as this side says; if not, it is told why. In a dry run
/// the guard of a peer is asked beforehand.
fn may_delete(site: &Site, setting: &Setting, toll: Toll, observer: &mut dyn Observer) -> bool {
    if site.account.source_failed() || site.account.is_full() {
        if toll.deletes > 0 {
            observer.warning("the source could not be read whole or the disk is full: nothing was deleted");
        }
        return false;
    }
    let held = Held {
        deletes: toll.deletes,
        of: toll.of,
        limit: bound(toll, setting.limit),
        empties: empties_root(toll),
    };
    let there = match &site.dest {
        Some(Tree::Far(placed)) => told::held(&placed.far, toll, setting.limit != Limit::Formula),
        Some(Tree::Disk(_)) | None => None,
    };
    if !allows(toll, setting.limit) {
        site.account.report().held = Some(held);
        return false;
    }
    match site.courier() {
        Some(courier) => courier.deletes(there.unwrap_or(held)),
        None if there.is_some() => {
            site.account.report().held = there;
            return false;
        }
        None => {}
    }
    true
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
    let (removals, flips, toll) = attended(site.courier(), &site.account, || {
        std::thread::scope(|scope| {
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
        })
    });
    if !may_delete(site, setting, toll, observer) {
        return;
    }
    let Some(dest) = &site.dest else { return };
    let mut remover = Remover { site, dest, beside: setting.suffix_beside(), observer };
    attended(site.courier(), &site.account, || {
        removals.iter().for_each(|removal| remover.remove(removal));
        flips.into_iter().for_each(|flip| remover.flip(flip));
    });
}
