//! The pass over one source beside the destination: every path is decided, told, and handed to the threads.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::SyncSender;

use crate::disk::attributes::Which;
use crate::disk::error::DiskError;
use crate::disk::listing::{DirInfo, Hides};
use crate::disk::walk::{Entry, Step, Walk, WalkOptions, Window};
use crate::engine::mirror::account::count;
use crate::engine::mirror::directory::{Directory, release};
use crate::engine::mirror::job::Job;
use crate::engine::mirror::operand::Source;
use crate::engine::mirror::rehearsal;
use crate::engine::mirror::removal::{Flip, MOUNTED, Removal, may_go, toll_below, toll_of};
use crate::engine::mirror::setting::{Setting, mend};
use crate::engine::mirror::site::Site;
use crate::engine::report::{Item, Observer, Progress};
use crate::engine::selection;
use crate::engine::tree::Tree;
use crate::model::entry::Kind;
use crate::model::metadata::Stat;
use crate::model::path::{PRIVATE_DIR, RelPath};
use crate::plan::compare::{Action, Decision, Wanted, decide};
use crate::plan::itemize::{code, unchanged};
use crate::rules::rule::Side;
use crate::rules::scope::Scope;

/// Threads that list directories ahead.
const LISTERS: usize = 2;

/// What all passes of a run gather.
pub(crate) struct Pass<'a> {
    pub(crate) setting: &'a Setting,
    pub(crate) site: &'a Site,
    pub(crate) sources: &'a [Source],
    pub(crate) rules: Arc<Scope>,
    pub(crate) only: Option<Arc<BTreeSet<RelPath>>>,
    pub(crate) observer: &'a mut dyn Observer,
    /// What stood at the root of the destination before the run; `None` if it was made for it.
    pub(crate) root_before: Option<Stat>,
    pub(crate) jobs: SyncSender<Job>,
    pub(crate) removals: Vec<Removal>,
    pub(crate) flips: Vec<Flip>,
    /// Entries that would be deleted.
    pub(crate) deletes: u64,
    /// Entries that the destination has.
    pub(crate) of: u64,
    /// Entries that are made.
    pub(crate) creates: u64,
    pub(crate) progress: Progress,
    /// The number of the present source.
    pub(crate) at: usize,
    pub(crate) stack: Vec<Frame>,
    /// A subtree that is passed over.
    pub(crate) refused: Option<RelPath>,
}

/// A directory of the source that the pass is inside of.
pub(crate) struct Frame {
    pub(crate) path: RelPath,
    pub(crate) wanted: Wanted,
    pub(crate) there: Option<Stat>,
    pub(crate) info: Option<Arc<DirInfo>>,
    /// The receiver's rules inside it; `None` where they cannot be read, so that nothing goes.
    pub(crate) rules: Option<Arc<Scope>>,
    /// Whether it was told and made; with `-m` only once something is in it.
    pub(crate) made: bool,
    pub(crate) dir: Option<Arc<Directory>>,
    /// Names in it that go.
    pub(crate) goes: Vec<(Box<[u8]>, Stat)>,
    /// Whether the destination has nothing here because the user wants nothing made.
    pub(crate) absent: bool,
}

impl Pass<'_> {
    /// Passes over one source.
    pub(crate) fn run(&mut self, at: usize) {
        let source = &self.sources[at];
        if let Some(rename) = &source.rename {
            return self.renamed_file(at, &rename.clone());
        }
        let scope = match self.enter_root(source) {
            Ok(scope) => scope,
            Err(why) => return self.site.account.problem(&source.start, why),
        };
        let is_dir =
            source.root.stat(&source.start).ok().flatten().is_some_and(|stat| stat.kind == Kind::Dir);
        if !source.start.is_root() && scope.verdict(&source.start, is_dir, Side::Sender).is_excluded() {
            return;
        }
        if is_dir && !self.setting.options.preserve.recursive && self.only.is_none() {
            return self
                .site
                .account
                .skip(&source.start, "is a directory, and directories are not descended into");
        }
        let options = WalkOptions {
            threads: LISTERS,
            cross_mounts: !self.setting.options.select.one_file_system,
            recurse: self.setting.options.preserve.recursive,
            skip_private: true,
            start: source.start.clone(),
            scope,
            hides: Hides::Sender,
            only: self.only.clone(),
            window: Window::default(),
        };
        self.at = at;
        for step in Walk::new(source.root.lister(), self.site.dest.as_ref().map(Tree::lister), options) {
            if self.site.account.is_full() {
                break;
            }
            self.step(at, step);
        }
        while !self.stack.is_empty() {
            self.leave();
        }
    }

    /// Returns the sender's rules where the walk starts: for one name, those inside the directory that holds it.
    fn enter_root(&self, source: &Source) -> Result<Arc<Scope>, String> {
        if source.start.is_root() {
            return Ok(Arc::clone(&self.rules));
        }
        selection::enter(&self.rules, Some(source.root.as_lister()), &RelPath::root())
    }

    fn step(&mut self, at: usize, step: Step) {
        let path = match &step {
            Step::Entry(entry) => &entry.path,
            Step::Excluded { path, .. } | Step::Unreadable { path, .. } | Step::Mount { path, .. } => path,
            Step::Unnameable { dir, .. } => dir,
        };
        if path.name() == PRIVATE_DIR && path.parent().as_ref() == Some(&self.sources[at].start) {
            self.refused = Some(path.clone());
        }
        if self.refused.as_ref().is_some_and(|refused| path == refused || path.is_below(refused)) {
            return;
        }
        while self.stack.last().is_some_and(|frame| *path != frame.path && !path.is_below(&frame.path)) {
            self.leave();
        }
        match step {
            Step::Entry(entry) => {
                let listed =
                    |only: &Arc<BTreeSet<RelPath>>| !entry.path.is_root() || only.contains(&entry.path);
                if self.sources[..at].iter().any(|earlier| earlier.has(&entry.path))
                    || !self.only.as_ref().is_none_or(listed)
                {
                    self.again(entry);
                } else {
                    self.entry(at, entry);
                }
            }
            Step::Excluded { path, beside, .. } => {
                if let Some(beside) = beside {
                    self.of += 1;
                    self.goes(&path, beside);
                }
            }
            Step::Unreadable { path, error } => self.site.account.source_problem(&path, &error),
            Step::Unnameable { dir, error } => self.site.account.source_problem(&dir, &error),
            Step::Mount { .. } => {}
        }
    }

    /// Takes up an entry that an earlier source has brought, or a root that is not listed: only its children matter.
    fn again(&mut self, entry: Entry) {
        if entry.stat.kind == Kind::Dir {
            let wanted = self.setting.wanted(&entry.stat);
            let there = entry.beside.filter(|there| there.kind == Kind::Dir);
            let frame = self.frame(entry.path, wanted, there, entry.dir);
            self.stack.push(Frame { made: true, ..frame });
        }
    }

    fn entry(&mut self, at: usize, entry: Entry) {
        let mut there = entry.beside;
        if entry.path.is_root() {
            there = self.root_before;
        }
        self.of += u64::from(there.is_some() && !entry.path.is_root());
        self.progress.scanned += 1;
        self.observer.progress(self.progress, Some(&entry.path));
        {
            let mut report = self.site.account.report();
            count(&mut report.seen, entry.stat.kind);
            if entry.stat.kind == Kind::File {
                report.bytes_total += entry.stat.size;
            }
        }
        if let Some(why) = self.setting.refuses(entry.stat.kind) {
            return self.site.account.skip(&entry.path, why);
        }
        if self.is_mount(&entry.path, there.as_ref()) {
            self.site.account.problem(&entry.path, MOUNTED);
            self.refused = Some(entry.path);
            return;
        }
        if self.setting.cuts(&entry.stat) {
            self.site.account.leave_out(&entry.path);
        }
        let wanted = self.setting.wanted(&entry.stat);
        if entry.stat.kind == Kind::Dir {
            let frame = self.frame(entry.path, wanted, there, entry.dir);
            self.stack.push(frame);
            if !self.setting.options.select.prune_empty_dirs {
                self.make_all();
            }
        } else {
            let root = self.sources[at].root.clone();
            self.leaf(&root, &entry.path, &entry.path, &wanted, there.as_ref());
        }
    }

    fn is_mount(&self, path: &RelPath, there: Option<&Stat>) -> bool {
        let Some(dest) = &self.site.dest else { return false };
        let is_dir = there.is_some_and(|there| there.kind == Kind::Dir);
        // What cannot be looked at will fail by itself.
        is_dir && !path.is_root() && dest.is_mount(path).unwrap_or(false)
    }

    /// Passes over one file that gets another name.
    fn renamed_file(&mut self, at: usize, to: &RelPath) {
        let source = &self.sources[at];
        let (root, from) = (source.root.clone(), source.start.clone());
        let stat = match root.stat(&from) {
            Ok(Some(stat)) => stat,
            Ok(None) => return self.site.account.problem(&from, "vanished"),
            Err(error) => return self.site.account.source_problem(&from, &error),
        };
        let there = self.site.dest.as_ref().and_then(|dest| dest.stat(to).ok().flatten());
        self.of += u64::from(there.is_some());
        count(&mut self.site.account.report().seen, stat.kind);
        self.site.account.report().bytes_total += stat.size;
        match self.setting.refuses(stat.kind) {
            Some(why) => self.site.account.skip(&from, why),
            None => self.leaf(&root, &from, to, &self.setting.wanted(&stat), there.as_ref()),
        }
    }

    /// Deals with what is no directory.
    fn leaf(&mut self, root: &Tree, from: &RelPath, to: &RelPath, wanted: &Wanted, there: Option<&Stat>) {
        let action = match decide(wanted, there, &self.setting.criteria) {
            Decision::Do(action) => action,
            Decision::CompareContent => match self.compare(root, from, to, wanted) {
                Ok(true) => Action::Attributes,
                Ok(false) => Action::Update,
                Err(error) => return self.site.account.source_problem(from, &error),
            },
        };
        if action != Action::Leave {
            self.make_all();
        }
        if action == Action::Leave || self.stack.last().is_some_and(|frame| frame.absent) {
            return;
        }
        let code = code(action, wanted, there, self.setting.criteria.checksum);
        let changes = code.is_some();
        let item = self.item(root, from, wanted, code);
        self.creates += u64::from(action == Action::Create);
        let writes = action != Action::Attributes;
        let (attributes, which) = match there {
            Some(there) if !writes => (wanted.attributes, mend(wanted, there)),
            _ => self.setting.dress(wanted, there),
        };
        let job = Job {
            source: root.clone(),
            from: from.clone(),
            to: to.clone(),
            stat: wanted.stat,
            attributes,
            which,
            there: there.copied(),
            writes,
            dir: self.stack.last().and_then(|frame| frame.dir.clone()),
        };
        if action == Action::Replace && there.is_some_and(|there| there.kind == Kind::Dir) {
            return self.replace_dir(job, item);
        }
        if let Some(item) = &item {
            self.observer.item(item);
        }
        if changes {
            self.progress.bytes_planned += if writes { wanted.stat.size } else { 0 };
            self.hand_over(job);
        } else {
            release(self.site, job.dir);
        }
    }

    /// Whether both sides have the same bytes, or link target.
    fn compare(&self, root: &Tree, from: &RelPath, to: &RelPath, wanted: &Wanted) -> Result<bool, DiskError> {
        let Some(dest) = &self.site.dest else {
            return Ok(false);
        };
        if wanted.stat.kind == Kind::Symlink {
            let target = root.read_link(from)?;
            return Ok(dest.read_link(to).is_ok_and(|there| there == target));
        }
        let mine = root.digest(from, &wanted.stat)?;
        Ok(mine.is_some() && dest.digest(to, &wanted.stat).is_ok_and(|there| there == mine))
    }

    /// Returns the line for a path; `None` where none is due.
    fn item(&self, root: &Tree, path: &RelPath, wanted: &Wanted, code: Option<String>) -> Option<Item> {
        let kind = wanted.stat.kind;
        let all = self.setting.options.telling.itemize > 1;
        let code = code.or_else(|| all.then(|| unchanged(kind)))?;
        let suffix = match kind {
            Kind::Symlink => [b" -> ", &root.read_link(path).unwrap_or_default()[..]].concat(),
            Kind::File | Kind::Dir | Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => {
                Vec::new()
            }
        };
        Some(Item { code, path: path.clone(), dir: kind == Kind::Dir, suffix })
    }

    fn hand_over(&mut self, job: Job) {
        if self.site.hand.is_none() {
            return rehearsal::job(&self.site.account, &job);
        }
        // The threads live as long as the pass.
        if let Err(unsent) = self.jobs.send(job) {
            release(self.site, unsent.0.dir);
        }
    }

    /// Deals with a directory of the destination where the source has something else.
    fn replace_dir(&mut self, job: Job, item: Option<Item>) {
        let (Some(dest), Some(rules)) = (&self.site.dest, self.rules_above(&job.to)) else {
            return;
        };
        let (toll, empties) = toll_below(dest, &rules, &job.to, None);
        if toll == 0 && empties {
            if let Some(item) = &item {
                self.observer.item(item);
            }
            self.hand_over(job);
        } else if self.setting.options.removal.delete && empties {
            self.deletes += toll;
            self.of += toll;
            self.flips.push(Flip { rules, job, item });
        } else {
            self.site.account.problem(&job.to, "cannot delete non-empty directory");
            release(self.site, job.dir);
        }
    }

    /// Returns the receiver's rules in the directory that holds `path`.
    pub(crate) fn rules_above(&self, path: &RelPath) -> Option<Arc<Scope>> {
        match self.stack.last() {
            Some(frame) => frame.rules.clone(),
            None => selection::enter(&self.rules, self.site.dest_lister(), &path.parent()?).ok(),
        }
    }

    /// Leaves the innermost directory: what is only at the destination goes, as far as that is known.
    fn leave(&mut self) {
        let Some(mut frame) = self.stack.pop() else { return };
        if !frame.made {
            // Nothing came to be in it: with `-m` it is as though the source had no such directory.
            if let Some(there) = frame.there.filter(|_| !frame.path.is_root()) {
                self.goes(&frame.path, there);
            }
            return;
        }
        if let Some(info) = frame.info.take() {
            self.take_stock(&mut frame, &info);
        }
        if !frame.goes.is_empty()
            && let Some(rules) = frame.rules.clone()
        {
            let restore = frame.dir.as_ref().map(|dir| Directory {
                path: dir.path.clone(),
                there: dir.there,
                attributes: dir.attributes,
                which: Which::default(),
                keeps_time: dir.keeps_time,
                touched: AtomicBool::new(false),
                parent: None,
            });
            self.removals.push(Removal { dir: frame.path, rules, names: frame.goes, restore });
        }
        release(self.site, frame.dir);
    }

    /// Notes what the destination alone has in a directory.
    fn take_stock(&mut self, frame: &mut Frame, info: &DirInfo) {
        if let Some(error) = &info.error {
            self.site.account.source_problem(&frame.path, error);
        }
        if let Some(error) = info.beside_error.as_ref().filter(|_| frame.there.is_some()) {
            self.site.account.problem(&frame.path, error);
        }
        let (Some(dest), Some(rules)) = (&self.site.dest, &frame.rules) else {
            return;
        };
        for (name, stat) in &info.only_beside {
            let Ok(path) = frame.path.join(name) else { continue };
            // What several sources could name is taken up with the first of them.
            if self.sources[..self.at].iter().any(|earlier| earlier.has(&frame.path)) {
                continue;
            }
            let goes = info.complete
                && self.setting.options.removal.delete
                && !self.sources.iter().any(|source| source.has(&path))
                && may_go(rules, &path, stat.kind);
            let toll = if goes { toll_of(dest, rules, &path, stat, self.setting.suffix_beside()) } else { 0 };
            self.deletes += toll;
            self.of += toll.max(1);
            if goes {
                frame.goes.push((name.clone(), *stat));
            }
        }
    }

    /// Notes that something of the destination goes which the source has but does not send.
    fn goes(&mut self, path: &RelPath, stat: Stat) {
        let Some(frame) = self.stack.last_mut() else {
            return;
        };
        let complete = frame.info.as_ref().is_some_and(|info| info.complete);
        let (Some(dest), Some(rules)) = (&self.site.dest, &frame.rules) else {
            return;
        };
        if complete && self.setting.options.removal.delete && may_go(rules, path, stat.kind) {
            self.deletes += toll_of(dest, rules, path, &stat, self.setting.suffix_beside());
            frame.goes.push((path.name().into(), stat));
        }
    }
}
