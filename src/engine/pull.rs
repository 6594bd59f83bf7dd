//! One replica takes what the peer has: decides about each row that waits, and makes the disk agree.
//!
//! Three passes over the waiting rows: in path order all that creates and changes, parents first; then backwards all
//! that is deleted, children first; last the directories whose place something else shall take.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::act::Crew;
use crate::engine::error::EngineError;
use crate::engine::frozen::Frozen;
use crate::engine::note;
use crate::engine::planned::{Moved, Planned};
use crate::engine::prepare::Supply;
use crate::engine::replica::Replica;
use crate::engine::report::{Held, Observer, Report, Silent, Skipped};
use crate::model::path::RelPath;
use crate::model::row::Row;
use crate::plan::decide::{self, Decider, Decision, Settled, Source, Step};
use crate::plan::guard::{Limit, Toll, allows, bound, empties_root};
use crate::rules::scope::Scope;
use crate::store::error::StoreError;

/// Rows read at a time.
const PAGE: usize = 1000;
/// Steps in one batch: staged, flushed, named and recorded together.
const BATCH_STEPS: usize = 512;
/// Content bytes in one batch.
const BATCH_BYTES: u64 = 64 << 20;

/// Which of the waiting rows are settled.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// All of them.
    All,
    /// That of one path.
    One(&'a RelPath),
    /// What they create and change, after the first path, if there is one, and up to the second.
    Changes(Option<&'a RelPath>, &'a RelPath),
    /// What they delete, and what takes the place of directories.
    Removals,
}

/// What the delete guard says of the waiting rows (S14).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Guard {
    /// It is asked about them, with this bound, and with so many deletions that count already.
    Ask(Limit, u64),
    /// It lets them pass.
    Passed,
    /// It holds what they delete.
    Held,
}

/// How a pull is done.
pub struct Taking<'a> {
    /// Decides about rows.
    pub decider: Decider,
    /// The word of the delete guard.
    pub guard: Guard,
    /// The filter rules, if there are any: what they leave out is not touched.
    pub scope: Option<Arc<Scope>>,
    /// Which rows.
    pub part: Part<'a>,
    /// Told of each step.
    pub observer: &'a mut dyn Observer,
    /// Counts what happened.
    pub report: &'a mut Report,
}

/// Settles the rows of the peer that wait at `me`; it has that label, and its contents come from `supply`.
///
/// What holds after: each row that could be settled is recorded as applied and waits no more; each that could not is
/// named in the report and waits on.
///
/// # Errors
/// A database refuses. What fails on one path is no error.
pub fn pull<'a>(
    me: &'a Replica,
    peer: &'a str,
    supply: &'a dyn Supply,
    taking: Taking<'a>,
) -> Result<(), EngineError> {
    let (guard, part) = (taking.guard, taking.part);
    let mut pull = Pull::new(me, peer, supply, taking);
    match guard {
        Guard::Ask(limit, past) => {
            let now = pull.toll(&mut |_lost| ())?;
            let past = if now.deletes > 0 { past } else { 0 };
            pull.judge(Toll { deletes: now.deletes + past, of: now.of + past, ..now }, limit);
        }
        Guard::Passed => {}
        Guard::Held => pull.held = true,
    }
    if !matches!(part, Part::Removals) {
        pull.create_and_change()?;
    }
    if !pull.held && !matches!(part, Part::Changes(..)) {
        pull.delete_entries()?;
        pull.delete_dirs()?;
        pull.replace_dirs()?;
    }
    pull.crew.finish()?;
    me.db.batch(|| me.save_seq())?;
    Ok(())
}

/// Returns what the rows that wait at `me` would do to its root, in numbers. `lost` is told each row that deletes.
///
/// # Errors
/// The database refuses.
pub fn toll(
    me: &Replica,
    decider: Decider,
    scope: &Arc<Scope>,
    lost: &mut dyn FnMut(&Row),
) -> Result<Toll, EngineError> {
    let (observer, report, scope) = (&mut Silent, &mut Report::default(), Some(Arc::clone(scope)));
    let taking = Taking { decider, guard: Guard::Passed, scope, part: Part::All, observer, report };
    Pull::new(me, "", me, taking).toll(lost)
}

/// Steps that the next waiting rows will come to, as far as can be told now, so that what they need can be brought
/// here before anything is changed. Nothing is changed by asking.
#[derive(Debug, Default)]
pub struct Draft {
    /// The steps. Those that act last, in the place of directories, are among them.
    pub steps: Vec<Planned>,
    /// The last path of the rows that they are about; `None` if none is left.
    pub upto: Option<RelPath>,
}

/// Returns the steps of the waiting rows after `after`, at most a batch of them.
///
/// # Errors
/// The database refuses.
pub fn draft(
    me: &Replica,
    decider: Decider,
    scope: &Arc<Scope>,
    after: Option<&RelPath>,
) -> Result<Draft, EngineError> {
    let (mut observer, mut report) = (Silent, Report::default());
    let scope = Some(Arc::clone(scope));
    let (observer, report) = (&mut observer, &mut report);
    let taking = Taking { decider, guard: Guard::Passed, scope, part: Part::All, observer, report };
    let mut pull = Pull::new(me, "", me, taking);
    let (mut draft, mut last) = (Draft::default(), after.cloned());
    loop {
        let page = me.remote().page(last.as_ref(), PAGE)?;
        for (path, theirs) in &page {
            if !pull.frozen.covers(path, theirs)
                && let Decision::Settle(settled) = pull.decide(path, theirs)?
            {
                pull.plan(path, settled)?;
            }
            draft.upto = Some(path.clone());
            if pull.is_full() {
                draft.steps = pull.planned;
                return Ok(draft);
            }
        }
        match page.last() {
            Some((path, _)) if page.len() == PAGE => last = Some(path.clone()),
            Some(_) | None => break,
        }
    }
    draft.steps = pull.planned;
    Ok(draft)
}

struct Pull<'a> {
    me: &'a Replica,
    decider: Decider,
    frozen: Frozen<'a>,
    part: Part<'a>,
    crew: Crew<'a>,
    /// Rows decided in the present batch, which the index does not have yet.
    ahead: BTreeMap<RelPath, Row>,
    planned: Vec<Planned>,
    bytes: u64,
    /// Numbers of the sequence that the present batch has taken.
    numbered: u64,
    held: bool,
}

impl decide::Index for Pull<'_> {
    type Error = StoreError;

    fn ours(&self, path: &RelPath) -> Result<Option<Row>, StoreError> {
        match self.ahead.get(path) {
            Some(row) => Ok(Some(row.clone())),
            None => decide::Index::ours(self.me, path),
        }
    }

    fn theirs(&self, path: &RelPath) -> Result<Option<Row>, StoreError> {
        decide::Index::theirs(self.me, path)
    }
}

impl Part<'_> {
    fn has(self, path: &RelPath) -> bool {
        !matches!(self, Part::One(only) if only != path)
    }
}

/// Why a step is not for the first pass.
fn is_late(alone: bool, one: &Settled, ours: Option<&Row>) -> bool {
    let dir_in_the_way = ours.is_some_and(Row::is_live_dir) && matches!(one.step, Step::Replace(_));
    alone && (one.step == Step::Remove || dir_in_the_way)
}

impl<'a> Pull<'a> {
    fn new(me: &'a Replica, peer: &'a str, supply: &'a dyn Supply, taking: Taking<'a>) -> Self {
        let Taking { decider, scope, part, observer, report, .. } = taking;
        Self {
            me,
            decider,
            frozen: Frozen::new(me, scope),
            part,
            crew: Crew::new(me, peer, supply, observer, report),
            ahead: BTreeMap::new(),
            planned: Vec::new(),
            bytes: 0,
            numbered: 0,
            held: false,
        }
    }

    /// What all that waits would do to the root.
    fn toll(&mut self, lost: &mut dyn FnMut(&Row)) -> Result<Toll, EngineError> {
        let mut toll = Toll { of: self.me.index().live_count(), ..Toll::default() };
        self.each(|pull, path, theirs| {
            let Decision::Settle(all) = pull.decider.decide(path, theirs, pull, pull.me.seq() + 1)? else {
                return Ok(());
            };
            for one in &all {
                let moved = one.row.tombstone().is_some_and(|stone| stone.moved_to.is_some());
                let emptied = one.row.live().is_some_and(|live| live.content.value.size() == 0)
                    && matches!(one.step, Step::Replace(_))
                    && decide::Index::ours(pull, &one.path)?
                        .is_some_and(|row| row.live().is_some_and(|live| live.content.value.size() > 0));
                let deletes = one.step == Step::Remove && !moved || emptied;
                toll.deletes += u64::from(deletes);
                toll.creates += u64::from(matches!(one.step, Step::Create(_)));
                if deletes {
                    lost(&one.row);
                }
            }
            Ok(())
        })?;
        Ok(toll)
    }

    /// Asks the guard about it (S14).
    fn judge(&mut self, toll: Toll, limit: Limit) {
        self.held = !allows(toll, limit);
        if self.held {
            let held = Held {
                deletes: toll.deletes,
                of: toll.of,
                limit: bound(toll, limit),
                empties: empties_root(toll),
            };
            self.crew.report.held.get_or_insert(held);
        }
    }

    /// Calls `work` for each waiting row of the part, in path order.
    fn each(
        &mut self,
        mut work: impl FnMut(&mut Self, &RelPath, &Row) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let (mut last, upto) = match self.part {
            Part::Changes(after, upto) => (after.cloned(), Some(upto)),
            Part::All | Part::One(_) | Part::Removals => (None, None),
        };
        loop {
            let page = self.me.remote().page(last.as_ref(), PAGE)?;
            for (path, row) in &page {
                if upto.is_some_and(|upto| path > upto) {
                    return Ok(());
                }
                if self.part.has(path) && !self.frozen.covers(path, row) {
                    work(self, path, row)?;
                }
            }
            match page.last() {
                Some((path, _)) if page.len() == PAGE => last = Some(path.clone()),
                Some(_) | None => return Ok(()),
            }
        }
    }

    fn decide(&self, path: &RelPath, theirs: &Row) -> Result<Decision, EngineError> {
        Ok(self.decider.decide(path, theirs, self, self.me.seq() + 1 + self.numbered)?)
    }

    fn create_and_change(&mut self) -> Result<(), EngineError> {
        self.each(Self::settle)?;
        self.flush()
    }

    /// Plans what settles the peer's row of `path`, unless that is for a later pass.
    fn settle(&mut self, path: &RelPath, theirs: &Row) -> Result<(), EngineError> {
        let settled = match self.decide(path, theirs)? {
            Decision::Known => {
                self.planned.push(Planned::forget(path));
                return self.flush_if_full();
            }
            Decision::Undecided => {
                note::undecided(self.me, self.crew.by, path, theirs, self.crew.report)?;
                return theirs.live().map_or(Ok(()), |theirs| self.crew.keep_theirs(path, theirs));
            }
            Decision::Settle(settled) => settled,
        };
        // A path that this batch deals with already is decided about again when the batch is done.
        if settled.iter().any(|one| self.ahead.contains_key(&one.path)) {
            self.flush()?;
            return self.settle(path, theirs);
        }
        let alone = settled.len() == 1;
        for one in &settled {
            let ours = decide::Index::ours(self, &one.path)?;
            if is_late(alone, one, ours.as_ref()) || self.held && empties(one, ours.as_ref()) {
                return Ok(());
            }
        }
        self.plan(path, settled)?;
        self.flush_if_full()
    }

    fn delete_entries(&mut self) -> Result<(), EngineError> {
        self.each_removal(|pull, path, settled, ours| {
            if ours.is_live_dir() {
                return Ok(());
            }
            pull.plan(path, vec![settled])?;
            pull.flush_if_full()
        })?;
        self.flush()
    }

    /// Directories last, the deepest first, each recorded at once: whether one may go depends on those below it.
    fn delete_dirs(&mut self) -> Result<(), EngineError> {
        let me = self.me;
        me.db.batch(|| {
            self.delete_dirs_in_batch()?;
            Ok(me.save_seq()?)
        })
    }

    fn delete_dirs_in_batch(&mut self) -> Result<(), EngineError> {
        self.each_removal(|pull, path, settled, ours| {
            if !ours.is_live_dir() {
                return Ok(());
            }
            let one = if pull.me.index().any_live_below(path)? {
                if settled.row.tombstone().is_some_and(|stone| stone.moved_to.is_some()) {
                    // Whoever moved the directory takes along what is new in it as soon as it is told (S13).
                    return Ok(());
                }
                // A live child keeps its parents alive (S12).
                let theirs = decide::Index::theirs(pull, path)?;
                pull.decider.revive(path, Some(&ours), theirs.as_ref(), pull.me.seq() + 1)
            } else {
                settled
            };
            let record = pull.me.record(path)?;
            pull.crew.act_alone(path, one, record)
        })
    }

    /// Calls `work` for each waiting row that removes something of ours, in reverse path order.
    fn each_removal(
        &mut self,
        mut work: impl FnMut(&mut Self, &RelPath, Settled, Row) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let mut last: Option<RelPath> = None;
        loop {
            let page = self.me.remote().page_back(last.as_ref(), PAGE)?;
            for (path, theirs) in &page {
                if !self.part.has(path) || self.frozen.covers(path, theirs) {
                    continue;
                }
                let Decision::Settle(mut settled) = self.decide(path, theirs)? else {
                    continue;
                };
                let ours = decide::Index::ours(self, path)?;
                if let (1, Some(one), Some(ours)) = (settled.len(), settled.pop(), ours)
                    && one.step == Step::Remove
                {
                    work(self, path, one, ours)?;
                }
            }
            match page.last() {
                Some((path, _)) if page.len() == PAGE => last = Some(path.clone()),
                Some(_) | None => return Ok(()),
            }
        }
    }

    /// What shall take the place of a directory, now that the directory is as empty as it will be.
    fn replace_dirs(&mut self) -> Result<(), EngineError> {
        self.each(|pull, path, theirs| {
            let Decision::Settle(mut settled) = pull.decide(path, theirs)? else {
                return Ok(());
            };
            let Some(ours) = decide::Index::ours(pull, path)?.filter(Row::is_live_dir) else {
                return Ok(());
            };
            let (1, Some(one)) = (settled.len(), settled.pop()) else {
                return Ok(());
            };
            if !matches!(one.step, Step::Replace(_)) {
                return Ok(());
            }
            let one = if pull.me.index().any_live_below(path)? {
                if pull.me.remote().any_below(path)? {
                    let why = "waits for what lies below it".to_owned();
                    pull.crew.report.skipped.push(Skipped { path: path.clone(), why });
                    return Ok(());
                }
                pull.decider.revive(path, Some(&ours), Some(theirs), pull.me.seq() + 1 + pull.numbered)
            } else {
                one
            };
            pull.plan(path, vec![one])?;
            pull.flush_if_full()
        })?;
        self.flush()
    }

    /// Adds the steps that settle the peer's row of `cause` to the batch.
    fn plan(&mut self, cause: &RelPath, settled: Vec<Settled>) -> Result<(), EngineError> {
        let settled = note::place_losers(self.me, self.decider, settled, self.me.seq() + 1 + self.numbered);
        let last = settled.len() - 1;
        for (at, one) in settled.into_iter().enumerate() {
            let record = self.me.record(&one.path)?;
            self.ahead.insert(one.path.clone(), one.row.clone());
            if matches!(one.step, Step::Create(_) | Step::Replace(_)) {
                self.bytes += one.row.live().map_or(0, |live| live.content.value.size());
            }
            self.numbered += 1;
            let seq = self.me.seq() + self.numbered;
            let moved = self.move_of(&one, seq + 1)?;
            self.numbered += u64::from(moved.is_some());
            let cause = (at == last).then(|| cause.clone());
            self.planned.push(Planned { settled: Some(one), record, seq, cause, moved });
        }
        Ok(())
    }

    /// The file of ours that a creation can be made of by a rename: it stands where the peer's row says that nothing
    /// does any more, so its own deletion is settled along with it.
    fn move_of(&mut self, one: &Settled, seq: u64) -> Result<Option<Moved>, EngineError> {
        let Step::Create(Source::Ours(from)) = &one.step else {
            return Ok(None);
        };
        if self.ahead.contains_key(from) || self.held {
            return Ok(None);
        }
        let (Some(theirs), Some(record)) = (self.me.remote().get(from)?, self.me.record(from)?) else {
            return Ok(None);
        };
        let Decision::Settle(mut settled) = self.decide(from, &theirs)? else {
            return Ok(None);
        };
        match (settled.len(), settled.pop(), record.seen) {
            (1, Some(Settled { step: Step::Remove, row, .. }), Some(seen)) => {
                self.ahead.insert(from.clone(), row.clone());
                Ok(Some(Moved { from: from.clone(), seen, row, seq }))
            }
            _ => Ok(None),
        }
    }

    fn is_full(&self) -> bool {
        self.planned.len() >= BATCH_STEPS || self.bytes >= BATCH_BYTES
    }

    fn flush_if_full(&mut self) -> Result<(), EngineError> {
        if self.is_full() { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), EngineError> {
        let planned = std::mem::take(&mut self.planned);
        self.me.advance(std::mem::take(&mut self.numbered));
        self.ahead.clear();
        self.bytes = 0;
        self.crew.act(&planned)
    }
}

/// Whether a step takes all bytes of a file: held back with the deletions.
fn empties(one: &Settled, ours: Option<&Row>) -> bool {
    let size = |row: &Row| row.live().map_or(0, |live| live.content.value.size());
    matches!(one.step, Step::Replace(_)) && size(&one.row) == 0 && ours.is_some_and(|ours| size(ours) > 0)
}
