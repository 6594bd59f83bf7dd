//! One batch of changes under the lock of the folder: checked against the index, then carried out as the two-way engine
//! carries out what it decided, and recorded as edits of this replica (S4, S8).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::disk::apply::{ApplyError, Fate};
use crate::disk::attributes::Which;
use crate::disk::clock;
use crate::disk::error::DiskError;
use crate::disk::stage::StageError;
use crate::engine::act::Crew;
use crate::engine::error::EngineError;
use crate::engine::frozen::Frozen;
use crate::engine::planned::Planned;
use crate::engine::prepare::{Failure, Ready, Supply};
use crate::engine::replica::Replica;
use crate::engine::report::{Report, Silent};
use crate::engine::serve::intake::{Intake, Moment, SET_ID, missing};
use crate::engine::serve::visit::Visit;
use crate::engine::tools::Tools;
use crate::model::entry::Content;
use crate::model::metadata::Attributes;
use crate::model::path::{PRIVATE_DIR, RelPath};
use crate::model::row::{Live, Record, Row, State};
use crate::model::version::{Dot, VersionVector};
use crate::plan::decide::{Settled, Step as Way};
use crate::store::error::StoreError;
use crate::store::hints::{Hint, Hints};
use crate::transport::message::{Act, Carried, Change, Code, Refuse, Right, Step, StepResult};

/// Rows that are looked at in one go for what stands below a directory.
const BELOW_PAGE: usize = 256;

/// Returns what each step will need, as far as that can be told before its turn: a step that can come to nothing needs
/// nothing. `opened` is the sequence when the asker opened the folder.
pub(crate) fn draft(
    intake: &Intake<'_>,
    replica: &Replica,
    steps: &[Step],
    opened: u64,
) -> Result<Vec<Planned>, StoreError> {
    let moment = Moment { dot: Dot { replica: replica.me, counter: replica.seq() + 1 }, now: clock::now() };
    let mut drafted = Vec::with_capacity(steps.len());
    for step in steps {
        let record = if step.expect == 0 { None } else { replica.record(&step.path)? };
        let may_be_due = |record: &Record| record.seq == step.expect || record.seq > opened;
        let is_due = step.expect == 0 || record.as_ref().is_some_and(may_be_due);
        let settled = if is_due && !step.path.is_root() {
            intake.settled(step, record.as_ref(), moment, &|path, content| holds(replica, path, content))
        } else {
            Ok(None)
        };
        drafted.push(Planned { settled: settled.ok().flatten(), record, seq: 0, cause: None, moved: None });
    }
    Ok(drafted)
}

/// Whether `content` is recorded at `path`. An index that cannot be read says so soon enough.
fn holds(replica: &Replica, path: &RelPath, content: &Content) -> bool {
    let record = replica.record(path).ok().flatten();
    record.is_some_and(|record| record.row.live().is_some_and(|live| live.content.value == *content))
}

/// A batch whose turn it is.
pub(crate) struct Batch<'a> {
    visit: &'a Visit,
    replica: &'a Replica,
    intake: &'a Intake<'a>,
    change: &'a Change,
    frozen: Frozen<'a>,
    supply: &'a dyn Supply,
    /// Rows of steps that are planned and not carried out yet.
    ahead: BTreeMap<RelPath, Row>,
    planned: Vec<Planned>,
    /// The place in the batch of each planned step, and what was staged for it.
    places: Vec<usize>,
    staged: Vec<Result<Ready, Failure>>,
    /// Directories that shall have their recorded times once nothing in them changes any more.
    timed: Vec<RelPath>,
    /// The places of directories that go last: whether one may depends on those below it.
    late: Vec<usize>,
    /// Paths that are deleted because what stood there has another name now.
    moved: BTreeSet<RelPath>,
    /// The deletions are held.
    held: bool,
    /// Nobody but this connection changed anything since it opened the folder.
    is_alone: bool,
    results: Vec<Option<StepResult>>,
}

impl<'a> Batch<'a> {
    /// Returns the batch `change`, whose contents were staged by `supply`.
    pub(crate) fn new(
        visit: &'a Visit,
        replica: &'a Replica,
        intake: &'a Intake<'a>,
        change: &'a Change,
        supply: &'a dyn Supply,
    ) -> Self {
        let scope = Arc::clone(&visit.host.settings.scope);
        Self {
            visit,
            replica,
            intake,
            change,
            frozen: Frozen::new(replica, Some(scope)),
            supply,
            ahead: BTreeMap::new(),
            planned: Vec::new(),
            places: Vec::new(),
            staged: Vec::new(),
            timed: Vec::new(),
            late: Vec::new(),
            moved: BTreeSet::new(),
            held: false,
            is_alone: false,
            results: change.steps.iter().map(|_| None).collect(),
        }
    }

    /// Carries out the batch, for each step of which `ready` was staged. Returns what became of each.
    ///
    /// What holds after: what is said to be done is durable.
    pub(crate) fn run(mut self, ready: Vec<Result<Ready, Failure>>) -> Result<Vec<StepResult>, EngineError> {
        let before = self.replica.seq();
        self.is_alone = before == self.visit.opened + self.visit.doings().advanced;
        self.held = self.is_held()?;
        let change = self.change;
        for (at, (step, ready)) in change.steps.iter().zip(ready).enumerate() {
            if matches!(step.act, Act::Remove { .. }) && self.is_dir(&step.path)? {
                self.late.push(at);
                continue;
            }
            let needs = |late: &usize| {
                let dir = &change.steps[*late].path;
                step.path == *dir || step.path.is_below(dir) || dir.is_below(&step.path)
            };
            if !matches!(step.act, Act::Remove { .. }) && self.late.iter().any(needs) {
                self.remove_dirs()?;
            }
            if step.path.is_root() {
                // Its time comes after the names that change in it.
                self.remove_dirs()?;
            }
            let takes_dir = matches!(step.act, Act::Make { .. }) && self.is_dir(&step.path)?;
            if step.path.is_root() || self.ahead.contains_key(&step.path) || takes_dir {
                self.flush()?;
            }
            match self.plan(step)? {
                Ok(planned) => {
                    let settled = planned.settled.iter();
                    self.ahead.extend(settled.map(|one| (one.path.clone(), one.row.clone())));
                    self.planned.push(planned);
                    self.places.push(at);
                    self.staged.push(ready);
                }
                Err(result) => self.results[at] = Some(result),
            }
        }
        self.flush()?;
        self.remove_dirs()?;
        self.visit.doings().advanced += self.replica.seq() - before;
        let lost = || refused(Code::Internal, "it came to no end");
        Ok(self.results.into_iter().map(|result| result.unwrap_or_else(lost)).collect())
    }

    /// Whether the guard keeps back the deletions of this batch (S14). What stands elsewhere was renamed; directories are
    /// empty when they go.
    fn is_held(&mut self) -> Result<bool, StoreError> {
        let removal = |step: &'a Step| match &step.act {
            Act::Remove { moved_to } => Some((&step.path, moved_to.as_ref())),
            Act::Make { .. } | Act::Dress { .. } => None,
        };
        let going: BTreeSet<&RelPath> =
            self.change.steps.iter().filter_map(removal).map(|(path, _)| path).collect();
        let (mut removals, mut emptied) = (0, 0);
        for step in &self.change.steps {
            let record = self.replica.record(&step.path)?.filter(|record| record.seq == step.expect);
            let Some(live) = record.as_ref().and_then(|record| record.row.live()) else { continue };
            let old = &live.content.value;
            match &step.act {
                Act::Remove { .. } if old.is_dir() => {}
                Act::Remove { moved_to: Some(to) } if !going.contains(to) && holds(self.replica, to, old) => {
                    self.moved.insert(step.path.clone());
                }
                Act::Remove { .. } => removals += 1,
                Act::Make { content, .. } => emptied += u64::from(content.size() == 0 && old.size() > 0),
                Act::Dress { .. } => {}
            }
        }
        if going.is_empty() && emptied == 0 {
            return Ok(false);
        }
        if removals > 0 && self.change.deletes == 0 {
            return Ok(true);
        }
        let doings = self.visit.doings();
        let to_come = self.change.deletes.saturating_sub(doings.deleted).max(removals + emptied);
        let (guest, approved) = (self.visit.guest, self.change.approved);
        Ok(!self.visit.host.may_delete(self.replica, guest, to_come, doings.created, approved))
    }

    fn is_dir(&self, path: &RelPath) -> Result<bool, StoreError> {
        Ok(self.row(path)?.is_some_and(|row| row.is_live_dir()))
    }

    fn row(&self, path: &RelPath) -> Result<Option<Row>, StoreError> {
        match self.ahead.get(path) {
            Some(row) => Ok(Some(row.clone())),
            None => Ok(self.replica.record(path)?.map(|record| record.row)),
        }
    }

    /// Whether what is recorded is what the asker knows: 0 is nothing, or nothing any more. What the asker itself made of
    /// it in an earlier batch, of which it may not have heard yet, is known to it too.
    fn is_expected(&self, expect: u64, record: Option<&Record>) -> bool {
        let Some(record) = record else { return expect == 0 };
        let opened = self.visit.opened;
        let is_its_own = self.is_alone && expect <= opened && record.seq > opened;
        record.seq == expect || is_its_own || (expect == 0 && record.row.live().is_none())
    }

    /// Returns the step as it is carried out, or what became of it already.
    fn plan(&mut self, step: &Step) -> Result<Result<Planned, StepResult>, EngineError> {
        if step.path.is_root() {
            return Ok(Err(self.dress_root(step)));
        }
        if step.path.as_bytes().split(|b| *b == b'/').any(|name| name == PRIVATE_DIR) {
            return Ok(Err(refused(Code::Unacceptable, "the name .csync is csync's own")));
        }
        let record = self.replica.record(&step.path)?;
        if !self.is_expected(step.expect, record.as_ref()) {
            return Ok(Err(StepResult::Changed { now: record.map(|record| (record.seq, record.row)) }));
        }
        let seq = self.replica.seq() + 1;
        let moment = Moment { dot: Dot { replica: self.replica.me, counter: seq }, now: clock::now() };
        let replica = self.replica;
        let holds = |path: &RelPath, content: &Content| holds(replica, path, content);
        let settled = match self.intake.settled(step, record.as_ref(), moment, &holds) {
            Ok(Some(settled)) => settled,
            // It is so already.
            Ok(None) => {
                if record.as_ref().is_some_and(|record| record.row.is_live_dir()) {
                    // On the disk it may not be: names that changed in it since then took its time along.
                    self.timed.push(step.path.clone());
                }
                let known = record.map(|Record { seq, row, .. }| StepResult::Done { seq, row });
                return Ok(Err(known.unwrap_or(StepResult::Changed { now: None })));
            }
            Err(refuse) => return Ok(Err(StepResult::Refused(refuse))),
        };
        if let Some(refuse) = self.objection(&settled, record.as_ref())? {
            return Ok(Err(StepResult::Refused(refuse)));
        }
        self.replica.advance(1);
        Ok(Ok(Planned { settled: Some(settled), record, seq, cause: None, moved: None }))
    }

    /// Why a step is not taken, if so.
    fn objection(&self, settled: &Settled, record: Option<&Record>) -> Result<Option<Refuse>, EngineError> {
        let path = &settled.path;
        if self.frozen.covers(path, &settled.row) {
            let text = format!("the filter of the folder {} leaves it out", self.visit.host.name);
            return Ok(Some(Refuse { code: Code::Unacceptable, text }));
        }
        let old = record.and_then(|record| record.row.live()).map(|live| &live.content.value);
        let new = settled.row.live().map(|live| &live.content.value);
        let empties = matches!((old, new), (Some(old), Some(new)) if old.size() > 0 && new.size() == 0);
        if self.held && (settled.step == Way::Remove || empties) {
            let text = format!("the delete guard of the folder {} holds it", self.visit.host.name);
            return Ok(Some(Refuse { code: Code::Held, text }));
        }
        let parent = path.parent().filter(|parent| !parent.is_root());
        if let (Some(parent), Some(_)) = (parent, new)
            && !self.row(&parent)?.is_some_and(|row| row.is_live_dir())
        {
            return Ok(Some(missing("there is no directory to hold it")));
        }
        let takes_dir = old.is_some_and(Content::is_dir) && !new.is_some_and(Content::is_dir);
        if takes_dir && self.any_live_below(path)? {
            let text = "the directory holds something".to_owned();
            return Ok(Some(Refuse { code: Code::Unacceptable, text }));
        }
        Ok(None)
    }

    /// Whether anything will stand below `dir` after what is planned.
    fn any_live_below(&self, dir: &RelPath) -> Result<bool, StoreError> {
        let index = self.replica.index();
        if !index.any_live_below(dir)? {
            return Ok(false);
        }
        let mut last: Option<RelPath> = None;
        loop {
            let page = index.page(last.as_ref(), Some(dir), BELOW_PAGE)?;
            let stays = |(path, record): &(RelPath, Record)| {
                self.ahead.get(path).unwrap_or(&record.row).live().is_some()
            };
            if page.iter().any(stays) {
                return Ok(true);
            }
            match page.last() {
                Some((path, _)) if page.len() == BELOW_PAGE => last = Some(path.clone()),
                Some(_) | None => return Ok(false),
            }
        }
    }

    /// Gives the root itself, which has no row, other attributes.
    fn dress_root(&self, step: &Step) -> StepResult {
        let Act::Dress { attributes, which } = &step.act else {
            return refused(Code::Unacceptable, "the root of a folder stays");
        };
        match self.dressed_root(*attributes, *which) {
            Ok(attributes) => {
                let dot = Dot { replica: self.replica.me, counter: self.replica.seq().max(1) };
                let live = Live::new(Content::Dir, attributes, dot, clock::now());
                let (vector, state) = (VersionVector::of(dot), State::Live(live));
                StepResult::Done { seq: 0, row: Row { vector, state, losers: Vec::new() } }
            }
            Err(failure) => told(&failure),
        }
    }

    fn dressed_root(&self, wanted: Attributes, carried: Carried) -> Result<Attributes, Failure> {
        let root = RelPath::root();
        let (Some(tools), Some(stat)) = (Tools::of(self.replica), self.replica.root.stat(&root)?) else {
            return Err(Failure::Moved(root));
        };
        let dot = Dot { replica: self.replica.me, counter: 1 };
        let live = Live::new(Content::Dir, stat.attributes, dot, clock::now());
        let attributes = self.intake.dressed(wanted, carried, &live);
        let stat = tools.apply.set_attributes(&root, &attributes, Which::ALL, &stat)?.1;
        Ok(stat.attributes)
    }

    /// Carries out what is planned.
    fn flush(&mut self) -> Result<(), EngineError> {
        let (planned, staged) = (std::mem::take(&mut self.planned), std::mem::take(&mut self.staged));
        let (places, mut timed) = (std::mem::take(&mut self.places), std::mem::take(&mut self.timed));
        self.ahead.clear();
        // Of a directory that is dressed the time comes last of all.
        let settled = planned.iter().filter_map(|one| one.settled.as_ref());
        let dressed = settled.filter(|one| one.step == Way::Adjust && one.row.is_live_dir());
        timed.extend(dressed.map(|one| one.path.clone()));
        if !timed.is_empty() {
            self.replica.db.batch(|| {
                timed.into_iter().try_for_each(|path| {
                    Hints::of(&self.replica.db).add(&Hint { path, recursive: false, at: clock::now() })
                })
            })?;
        }
        if planned.is_empty() {
            return Ok(());
        }
        let outcomes = self.with_crew(|crew| crew.act_ready(&planned, staged))?;
        for ((at, planned), outcome) in places.into_iter().zip(planned).zip(outcomes) {
            self.end(at, planned, outcome);
        }
        Ok(())
    }

    /// Removes the directories that were put off, in their order, each recorded at once.
    fn remove_dirs(&mut self) -> Result<(), EngineError> {
        let late = std::mem::take(&mut self.late);
        if late.is_empty() {
            return Ok(());
        }
        self.flush()?;
        let replica = self.replica;
        replica.db.batch(|| {
            for at in late {
                match self.plan(&self.change.steps[at])? {
                    Ok(planned) => {
                        let outcome = self.with_crew(|crew| crew.act_one(&planned))?;
                        self.end(at, planned, outcome);
                    }
                    Err(result) => self.results[at] = Some(result),
                }
            }
            Ok(replica.save_seq()?)
        })
    }

    fn with_crew<T>(&self, work: impl FnOnce(&mut Crew<'_>) -> T) -> T {
        let (mut report, mut silent) = (Report::default(), Silent);
        let mut crew = Crew::new(self.replica, &self.visit.by, self.supply, &mut silent, &mut report);
        let keeps = self.visit.host.settings.keep || self.visit.right == Right::Append;
        crew.fate = if keeps { Fate::Keep } else { Fate::Discard };
        work(&mut crew)
    }

    /// Notes what became of the step at place `at`.
    fn end(&mut self, at: usize, planned: Planned, outcome: Result<(), Failure>) {
        self.results[at] = Some(match (outcome, planned.settled) {
            (Ok(()), Some(settled)) => {
                self.count(&settled, planned.record.as_ref());
                if leaves_out(&self.change.steps[at].act, &settled.row) {
                    self.visit.doings().left_out.add(&settled.path);
                }
                StepResult::Done { seq: planned.seq, row: settled.row }
            }
            (Ok(()), None) => StepResult::Changed { now: None },
            (Err(failure), _) => told(&failure),
        });
    }

    /// Counts what was done, for the guard.
    fn count(&self, settled: &Settled, record: Option<&Record>) {
        let mut doings = self.visit.doings();
        let old = record.and_then(|record| record.row.live()).map(|live| &live.content.value);
        let new = settled.row.live().map(|live| &live.content.value);
        let deletes = match (old, new) {
            (None, Some(_)) => {
                doings.created += 1;
                false
            }
            (Some(old), None) => !old.is_dir() && !self.moved.contains(&settled.path),
            (Some(old), Some(new)) => old.size() > 0 && new.size() == 0,
            (None, None) => false,
        };
        if deletes {
            doings.deleted += 1;
            if !self.change.approved {
                self.visit.host.deleted(self.visit.guest, 1);
            }
        }
    }
}

/// Whether `act` gives set-id bits that `row` does not have.
fn leaves_out(act: &Act, row: &Row) -> bool {
    match act {
        Act::Make { attributes, which, .. } | Act::Dress { attributes, which } => {
            let bits = if which.mode { attributes.mode & SET_ID } else { 0 };
            row.live().is_some_and(|live| bits & !live.mode.value != 0)
        }
        Act::Remove { .. } => false,
    }
}

fn refused(code: Code, text: &str) -> StepResult {
    StepResult::Refused(Refuse { code, text: text.to_owned() })
}

/// Returns what a guest is told of a step that failed.
pub(crate) fn told(failure: &Failure) -> StepResult {
    let code = if failure.disk().is_some_and(DiskError::is_over_quota) {
        Code::Quota
    } else if failure.disk().is_some_and(|error| error.is_no_space() || error.is_read_only()) {
        // Nothing more can be taken; another failure is one of its path alone.
        Code::Disk
    } else if failure.disk().is_some() {
        Code::Unacceptable
    } else if matches!(failure, Failure::Stage(StageError::Mismatch { .. })) {
        Code::Mismatch
    } else if matches!(failure, Failure::Apply(ApplyError::Changed { .. } | ApplyError::Taken { .. })) {
        Code::Busy
    } else {
        Code::Internal
    };
    refused(code, &failure.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::error::Doing;

    #[test]
    fn only_a_disk_that_takes_nothing_more_ends_the_run_of_a_guest() {
        let path = RelPath::new(b"a/file").unwrap();
        for (case, errno, expected) in [
            ("not ours to write", 13, Code::Unacceptable),
            ("immutable", 1, Code::Unacceptable),
            ("full", 28, Code::Disk),
            ("read-only", 30, Code::Disk),
            ("over quota", 122, Code::Quota),
        ] {
            let error = std::io::Error::from_raw_os_error(errno);
            let told = told(&Failure::Disk(DiskError::io(Doing::Write, &path, &error)));
            assert!(matches!(told, StepResult::Refused(Refuse { code, .. }) if code == expected), "{case}");
        }
    }
}
