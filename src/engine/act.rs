//! Makes the disk agree with settled rows, batch by batch, and records them, in the order of S8: staged content,
//! flush, names, flush of the directories, rows.

use std::collections::BTreeSet;

use crate::disk::apply::{ApplyError, DirRemoval, Fate};
use crate::disk::attributes::Which;
use crate::disk::clock;
use crate::disk::kept::KeptAt;
use crate::disk::root::Root;
use crate::disk::stage::Staged;
use crate::engine::access::{NEEDED, open_up};
use crate::engine::error::EngineError;
use crate::engine::item;
use crate::engine::note;
use crate::engine::planned::{Planned, displaced};
use crate::engine::prepare::{Failure, Ready, Supply, prepare};
use crate::engine::replica::Replica;
use crate::engine::report::{Observer, Progress, Report, Skipped, Tally};
use crate::engine::tools::Tools;
use crate::model::entry::{Content, Kind};
use crate::model::metadata::Stat;
use crate::model::path::RelPath;
use crate::model::row::{Live, Record, Seen};
use crate::plan::decide::{Settled, Step};
use crate::store::hints::{Hint, Hints};

/// The set-id bits of a mode.
const SET_ID: u32 = 0o6000;
/// Threads that flush directories.
const THREADS: usize = 4;

/// What a step left on the disk.
#[derive(Default)]
struct Done {
    seen: Option<Stat>,
    residue: bool,
    kept: Vec<(KeptAt, Content)>,
}

/// Those who work on one root: stage, apply, record, tell.
pub struct Crew<'a> {
    pub(crate) me: &'a Replica,
    /// Whose changes these are, for people.
    pub by: &'a str,
    pub(crate) supply: &'a dyn Supply,
    pub(crate) tools: Option<Tools>,
    /// What becomes of a content that is replaced or deleted.
    pub fate: Fate,
    /// Told of each step.
    pub observer: &'a mut dyn Observer,
    /// Counts what happened.
    pub report: &'a mut Report,
    progress: Progress,
    /// No more content is written: the disk is full.
    full: bool,
}

impl<'a> Crew<'a> {
    /// Returns the crew of `me`, which makes changes of `by` and takes content from `supply`. What it displaces is
    /// kept. In a rehearsal it changes nothing.
    #[must_use]
    pub fn new(
        me: &'a Replica,
        by: &'a str,
        supply: &'a dyn Supply,
        observer: &'a mut dyn Observer,
        report: &'a mut Report,
    ) -> Self {
        let (tools, progress) = (Tools::of(me), Progress::default());
        Self { me, by, supply, tools, fate: Fate::Keep, observer, report, progress, full: false }
    }

    /// Carries out a batch and records what was done.
    ///
    /// # Errors
    /// The database refuses, or directories cannot be flushed. A step that fails is named in the report, and its row
    /// waits on.
    pub fn act(&mut self, planned: &[Planned]) -> Result<(), EngineError> {
        if planned.is_empty() {
            return Ok(());
        }
        let opened = self.open(planned);
        let ready = match &self.tools {
            Some(_) if self.full => planned.iter().map(full).collect(),
            Some(tools) => prepare(&tools.stage, &self.me.root, self.supply, planned),
            None => planned.iter().map(|_| Ok(Ready::default())).collect(),
        };
        let ready = opened.into_iter().zip(ready).map(|(opened, ready)| opened.and(ready)).collect();
        self.act_ready(planned, ready).map(drop)
    }

    /// Lets us change the names that each of `planned` changes, and stage beside them.
    pub fn open(&self, planned: &[Planned]) -> Vec<Result<(), Failure>> {
        planned.iter().map(|step| self.open_up(step)).collect()
    }

    /// Carries out a batch of which all that it needs was prepared, and records what was done. Returns what became of
    /// each step.
    ///
    /// # Errors
    /// As [`act`](Self::act).
    pub fn act_ready(
        &mut self,
        planned: &[Planned],
        ready: Vec<Result<Ready, Failure>>,
    ) -> Result<Vec<Result<(), Failure>>, EngineError> {
        let mut touched = BTreeSet::new();
        let mut done = Vec::with_capacity(planned.len());
        for (step, ready) in planned.iter().zip(ready) {
            let outcome = ready.and_then(|ready| self.take_step(step, ready));
            touched.extend(directories(step));
            done.push(outcome);
        }
        self.sync(touched)?;
        let me = self.me;
        me.db.batch(|| {
            let ends = planned.iter().zip(done).map(|(step, outcome)| self.end_step(step, outcome));
            let ends = ends.collect::<Result<_, EngineError>>()?;
            me.save_seq()?;
            Ok(ends)
        })
    }

    /// Carries out one step that needs no content, and records it in the open transaction.
    ///
    /// # Errors
    /// The database refuses.
    pub fn act_alone(
        &mut self,
        cause: &RelPath,
        settled: Settled,
        record: Option<Record>,
    ) -> Result<(), EngineError> {
        self.me.advance(1);
        let (seq, cause) = (self.me.seq(), Some(cause.clone()));
        self.act_one(&Planned { settled: Some(settled), record, seq, cause, moved: None }).map(drop)
    }

    /// Does the same with a step that has its number, and returns what became of it.
    ///
    /// # Errors
    /// The database refuses.
    pub fn act_one(&mut self, step: &Planned) -> Result<Result<(), Failure>, EngineError> {
        let outcome = self.take_step(step, Ready::default());
        self.end_step(step, outcome)
    }

    /// Sets the attributes that wait: those of directories that were made, because what is made in them changes their
    /// times, and a mode may keep even us from making it; and those of what a run that was stopped had placed.
    ///
    /// # Errors
    /// The database refuses.
    pub fn finish(&mut self) -> Result<(), EngineError> {
        let Some(tools) = &self.tools else { return Ok(()) };
        let me = self.me;
        let mut failed = Vec::new();
        me.db.batch(|| {
            for hint in Hints::of(&me.db).take(usize::MAX >> 1)?.into_iter().rev() {
                let Some(record) = me.record(&hint.path)? else {
                    continue;
                };
                let (Some(live), Some(seen)) = (record.row.live(), record.seen) else {
                    continue;
                };
                match dress(tools, me, &hint.path, live, &seen.stat) {
                    // It changed since it was seen; what it is now will be looked at.
                    Ok(None) => {}
                    Ok(Some(stat)) => {
                        let seen = Some(Seen { stat, at: clock::now() });
                        me.index().put(&hint.path, &Record { seen, ..record })?;
                    }
                    Err(error) => failed.push((hint.path, error)),
                }
            }
            Ok::<(), EngineError>(())
        })?;
        failed.iter().for_each(|(path, error)| self.fail(path, error));
        Ok(())
    }

    fn sync(&mut self, touched: BTreeSet<RelPath>) -> Result<(), EngineError> {
        let Some(tools) = &self.tools else { return Ok(()) };
        let touched: Vec<RelPath> = touched.into_iter().collect();
        tools.apply.sync_dirs(&touched, THREADS).map_err(|source| {
            let path = self.me.root.path().to_owned();
            EngineError::Root { path, source }
        })
    }

    /// Lets us change the names that `step` changes.
    fn open_up(&self, step: &Planned) -> Result<(), Failure> {
        let Some(tools) = &self.tools else { return Ok(()) };
        directories(step).try_for_each(|dir| open_up(tools, self.me, &dir))
    }

    /// Changes the disk by one step.
    fn take_step(&mut self, step: &Planned, ready: Ready) -> Result<Done, Failure> {
        let Some(settled) = &step.settled else {
            return Ok(Done::default());
        };
        let Some(tools) = &self.tools else {
            return Ok(Done { seen: settled.row.live().map(item::imagined), ..Done::default() });
        };
        // A step before this one may have closed them.
        self.open_up(step)?;
        let mut done = Done::default();
        if let (Some(loser), Some(lost)) = (ready.loser, &settled.lost) {
            done.kept.push((tools.apply.keep(loser)?, lost.content.clone()));
        }
        let path = &settled.path;
        match &settled.step {
            Step::Nothing => {
                done.seen = step.record.as_ref().and_then(|record| record.seen).map(|seen| seen.stat);
            }
            Step::Create(_) => done.seen = Some(create(tools, &self.me.root, step, settled, ready.content)?),
            Step::Replace(_) => {
                let (Some(content), Some((old, seen))) = (ready.content, displaced(step)) else {
                    return Err(Failure::Moved(path.clone()));
                };
                let replaced = tools.apply.replace(content, &seen.stat, self.fate)?;
                done.kept.extend(replaced.kept.map(|kept| (kept, old)));
                done.seen = Some(replaced.live);
            }
            Step::Adjust if step.is_shared() => {
                // The link is broken by a copy of its own, so that the attributes of another name stay as they are.
                let (Some(content), Some((_, seen))) = (ready.content, displaced(step)) else {
                    return Err(Failure::Moved(path.clone()));
                };
                done.seen = Some(tools.apply.replace(content, &seen.stat, Fate::Discard)?.live);
            }
            Step::Adjust => {
                let (Some(live), Some((_, seen))) = (settled.row.live(), displaced(step)) else {
                    return Err(Failure::Moved(path.clone()));
                };
                let found = self.me.root.stat(path)?;
                if !found.is_some_and(|found| is_as_seen(&found, &seen.stat)) {
                    return Err(Failure::Moved(path.clone()));
                }
                done.seen = Some(adjust(tools, path, live, &seen.stat, step.record.as_ref())?);
            }
            Step::Remove => {
                let Some((old, seen)) = displaced(step) else {
                    return Err(Failure::Moved(path.clone()));
                };
                if old.is_dir() {
                    done.residue = tools.apply.remove_dir(path)? == DirRemoval::NotEmpty;
                } else {
                    let kept = tools.apply.remove(path, &seen.stat, self.fate)?;
                    done.kept.extend(kept.map(|kept| (kept, old)));
                }
            }
        }
        Ok(done)
    }

    /// Records a step that was done; names one that was not.
    fn end_step(
        &mut self,
        step: &Planned,
        outcome: Result<Done, Failure>,
    ) -> Result<Result<(), Failure>, EngineError> {
        let Some(settled) = &step.settled else {
            step.cause.iter().try_for_each(|path| self.me.remote().remove(path))?;
            return Ok(Ok(()));
        };
        let done = match outcome {
            Ok(done) => done,
            Err(error) => {
                self.fail(&settled.path, &error);
                if let Failure::Apply(ApplyError::Changed { kept: Some(kept), .. }) = &error {
                    // What others put there in those moments shall be found again.
                    note::recovered(self.me, self.by, &settled.path, kept)?;
                }
                return Ok(Err(error));
            }
        };
        self.tell(settled, step);
        let now = clock::now();
        let seen = done.seen.filter(|_| settled.row.live().is_some()).map(|stat| Seen { stat, at: now });
        let record = Record { row: settled.row.clone(), seq: step.seq, seen, residue: done.residue };
        self.me.index().put(&settled.path, &record)?;
        if self.tools.is_some() && is_made(settled) {
            // If we are stopped before the end, the next run gives it its mode and time.
            Hints::of(&self.me.db).add(&Hint { path: settled.path.clone(), recursive: false, at: now })?;
        }
        if let Some(moved) = &step.moved {
            let record = Record { row: moved.row.clone(), seq: moved.seq, seen: None, residue: false };
            self.me.index().put(&moved.from, &record)?;
            self.me.remote().remove(&moved.from)?;
        }
        if let Some(cause) = &step.cause {
            self.me.remote().remove(cause)?;
        }
        self.catalogue(settled, &done)?;
        Ok(Ok(()))
    }

    /// Writes down what was kept and what is in conflict. A loser that only the peer has kept is fetched, so that it
    /// can be had on every member.
    fn catalogue(&mut self, settled: &Settled, done: &Done) -> Result<(), EngineError> {
        let (me, by, path) = (self.me, self.by, &settled.path);
        for (kept, content) in &done.kept {
            note::version(me, by, path, kept, content, &settled.row)?;
        }
        for loser in note::conflicts(me, by, path, &settled.row, self.report)? {
            if done.kept.iter().any(|(_, content)| *content == loser.content) {
                continue;
            }
            let Some(tools) = &self.tools else { continue };
            let found = self.supply.lost(&tools.stage, path, &loser);
            if let Some(kept) = self.kept(path, found) {
                note::version(me, by, path, &kept, &loser.content, &settled.row)?;
            }
        }
        Ok(())
    }

    /// Moves what was found into the version store, or tells why it was not.
    pub(crate) fn kept(&mut self, path: &RelPath, found: Result<Option<Staged>, Failure>) -> Option<KeptAt> {
        let tools = self.tools.as_ref()?;
        let kept = found.and_then(|staged| Ok(staged.map(|staged| tools.apply.keep(staged)).transpose()?));
        kept.unwrap_or_else(|error| {
            self.fail(path, &error);
            None
        })
    }

    fn tell(&mut self, settled: &Settled, step: &Planned) {
        let ours = step.record.as_ref().map(|record| &record.row);
        if let Some(line) = item::line(self.me.side, settled, ours) {
            self.observer.item(&line);
        }
        if let Some(moved) = &step.moved {
            self.observer.item(&item::deleting(&moved.from, false));
        }
        let live = settled.row.live();
        let kind = live.map_or(Kind::File, |live| live.content.value.kind());
        let size = live.map_or(0, |live| live.content.value.size());
        match settled.step {
            Step::Nothing => return,
            Step::Create(_) if step.moved.is_some() => self.report.renamed += 1,
            Step::Create(_) => {
                count(&mut self.report.created, kind);
                self.written(kind, size);
            }
            Step::Replace(_) => {
                self.report.updated += 1;
                self.report.losses += u64::from(step.empties());
                self.written(kind, size);
            }
            Step::Adjust => self.report.updated += 1,
            Step::Remove => {
                let old = displaced(step).map_or(Kind::File, |(content, _)| content.kind());
                self.report.losses += u64::from(settled.row.is_deletion());
                count(&mut self.report.deleted, old);
            }
        }
        self.progress.bytes_done += size;
        self.observer.progress(self.progress, Some(&settled.path));
    }

    fn written(&mut self, kind: Kind, size: u64) {
        if kind == Kind::File {
            self.report.transferred += 1;
            self.report.bytes_transferred += size;
            self.report.bytes_sent += size;
            self.report.bytes_received += size;
        }
    }

    fn fail(&mut self, path: &RelPath, error: &Failure) {
        if error.disk().is_some_and(|error| error.is_no_space() || error.is_read_only()) {
            self.full = true;
            self.report.troubles.disk = true;
        } else if !matches!(error, Failure::Full) {
            self.report.troubles.partial = true;
        }
        self.report.skipped.push(Skipped { path: path.clone(), why: error.to_string() });
    }
}

/// The directories in which a step changes names.
fn directories(step: &Planned) -> impl Iterator<Item = RelPath> {
    let settled = step.settled.as_ref().filter(|one| one.step != Step::Nothing && !waits(one, step));
    let here = settled.map(|one| one.path.parent().unwrap_or_default());
    let from = step.moved.as_ref().and_then(|moved| moved.from.parent());
    here.into_iter().chain(from)
}

/// Whether all that a step sets is the time of a directory, which waits for the end.
fn waits(settled: &Settled, step: &Planned) -> bool {
    let old = step.record.as_ref().and_then(|record| record.row.live()).map(Live::attributes);
    let new = settled.row.live().filter(|live| live.content.value.is_dir()).map(Live::attributes);
    settled.step == Step::Adjust
        && old.zip(new).is_some_and(|(old, new)| (old.mode, old.owner) == (new.mode, new.owner))
}

/// Writes nothing more to a full disk; what frees space still runs.
fn full(step: &Planned) -> Result<Ready, Failure> {
    let writes =
        step.settled.as_ref().is_some_and(|one| matches!(one.step, Step::Create(_) | Step::Replace(_)));
    if writes { Err(Failure::Full) } else { Ok(Ready::default()) }
}

/// Whether an entry is still the one whose attributes were recorded. Times of directories do not count, nor what we
/// opened to ourselves.
fn is_as_seen(found: &Stat, seen: &Stat) -> bool {
    if found.kind == Kind::Dir {
        return found.ino == seen.ino && found.attributes.mode | NEEDED == seen.attributes.mode | NEEDED;
    }
    found.same_state(seen)
}

fn create(
    tools: &Tools,
    root: &Root,
    step: &Planned,
    settled: &Settled,
    content: Option<Staged>,
) -> Result<Stat, Failure> {
    let path = &settled.path;
    let Some(live) = settled.row.live() else {
        return Err(Failure::Moved(path.clone()));
    };
    if let Some(moved) = &step.moved {
        let stat = tools.apply.rename(&moved.from, path, &moved.seen.stat)?;
        return Ok(tools.apply.set_attributes(path, &live.attributes(), Which::ALL, &stat)?.1);
    }
    let Some(content) = content else {
        // Directories are made in their place. One that stands there already is what was wanted.
        let stat = match tools.apply.make_dir(path) {
            Ok(stat) => stat,
            Err(ApplyError::Taken { .. }) => match root.stat(path)? {
                Some(stat) if stat.kind == Kind::Dir => stat,
                Some(_) | None => return Err(Failure::Moved(path.clone())),
            },
            Err(error) => return Err(error.into()),
        };
        let mut attributes = live.attributes();
        attributes.mode |= 0o700;
        let which = Which { mtime: false, ..Which::ALL };
        return Ok(tools.apply.set_attributes(path, &attributes, which, &stat)?.1);
    };
    Ok(tools.apply.publish_new(content)?)
}

/// Whether a step made a directory.
fn is_made(settled: &Settled) -> bool {
    matches!(settled.step, Step::Create(_) | Step::Replace(_)) && settled.row.is_live_dir()
}

fn dress(
    tools: &Tools,
    me: &Replica,
    path: &RelPath,
    live: &Live,
    seen: &Stat,
) -> Result<Option<Stat>, Failure> {
    let Some(stat) = me.root.stat(path)? else {
        return Ok(None);
    };
    let is_same = if seen.kind == Kind::Dir { stat.kind == Kind::Dir } else { stat.same_state(seen) };
    if !is_same {
        return Ok(None);
    }
    Ok(Some(tools.apply.set_attributes(path, &live.attributes(), Which::ALL, &stat)?.1))
}

/// Sets what differs between what is recorded and what shall be, and nothing that could not be set before (S2).
fn adjust(
    tools: &Tools,
    path: &RelPath,
    live: &Live,
    seen: &Stat,
    record: Option<&Record>,
) -> Result<Stat, Failure> {
    let old = record.and_then(|record| record.row.live()).map(Live::attributes).unwrap_or_default();
    let new = live.attributes();
    // A new owner or group takes the set-id bits from a file, also where they shall stay.
    let loses_set_id = old.owner != new.owner && new.mode & SET_ID != 0;
    let which = Which {
        mode: old.mode != new.mode || loses_set_id,
        owner: old.owner.uid != new.owner.uid,
        group: old.owner.gid != new.owner.gid,
        mtime: old.mtime != new.mtime && seen.kind != Kind::Dir,
    };
    Ok(tools.apply.set_attributes(path, &new, which, seen)?.1)
}

/// Counts an entry of `kind`.
pub(crate) fn count(tally: &mut Tally, kind: Kind) {
    match kind {
        Kind::File => tally.files += 1,
        Kind::Dir => tally.dirs += 1,
        Kind::Symlink => tally.links += 1,
        Kind::CharDevice | Kind::BlockDevice => tally.devices += 1,
        Kind::Fifo | Kind::Socket => tally.specials += 1,
    }
}
