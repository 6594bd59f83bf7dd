//! Asks the peer to take what changed here: creations and changes first, parents before children; then deletions,
//! children before parents; last what takes the place of a directory.

use std::sync::Arc;

use crate::engine::act::count;
use crate::engine::cycle::limit;
use crate::engine::far::error::FarError;
use crate::engine::far::folder::Far;
use crate::engine::far::offer::{Files, Seen};
use crate::engine::far::told;
use crate::engine::far::unsent::{self, Unsent, Way, has_set_id};
use crate::engine::item;
use crate::engine::options::Options;
use crate::engine::replica::Replica;
use crate::engine::report::{Held, Observer, Report, Skipped};
use crate::fault::{self, Point};
use crate::model::entry::{Content, Kind};
use crate::model::heard::heard;
use crate::model::path::RelPath;
use crate::model::row::{Record, Row};
use crate::plan::decide;
use crate::plan::guard::{Limit, Toll, allows, bound, empties_root};
use crate::plan::merge::add_loser;
use crate::store::meta;
use crate::transport::message::{Act, Code, Refuse, StepResult};
use crate::transport::weight::{MESSAGE_BYTES, of_step};

/// Steps in one batch.
const BATCH_STEPS: usize = 512;
/// Content bytes in one batch.
const BATCH_BYTES: u64 = 32 << 20;

/// Asks the peer to take all that changed here. Returns whether something stands there that we had not heard of, so
/// that it must be heard and decided first.
///
/// What holds after: each row that the peer took is recorded here as the peer recorded it.
///
/// # Errors
/// A database or the connection fails. What fails on one path is in the report.
pub(crate) fn send(
    me: &Replica,
    far: &Far,
    options: &Options,
    observer: &mut dyn Observer,
    report: &mut Report,
) -> Result<bool, FarError> {
    let begun_at = me.seq();
    let mut sender = Sender {
        me,
        far,
        limit: limit(options),
        rehearsal: options.dry_run,
        observer,
        report,
        batch: Vec::new(),
        bytes: 0,
        weight: 0,
        removals: Vec::new(),
        late: Vec::new(),
        deletes: 0,
        held: false,
        again: false,
        failed: false,
    };
    sender.judge()?;
    sender.create_and_change()?;
    sender.remove()?;
    sender.replace_dirs()?;
    let Sender { held, again, failed, .. } = sender;
    if !(held || again || failed || options.dry_run) {
        me.meta().set(meta::SENT, &begun_at)?;
    }
    Ok(again)
}

struct Sender<'a> {
    me: &'a Replica,
    far: &'a Far,
    limit: Limit,
    rehearsal: bool,
    observer: &'a mut dyn Observer,
    report: &'a mut Report,
    batch: Vec<Unsent>,
    bytes: u64,
    /// Of the message.
    weight: usize,
    /// What is deleted here and stands there yet, in path order.
    removals: Vec<RelPath>,
    /// What takes the place of a directory there.
    late: Vec<RelPath>,
    /// How many entries are deleted, those that were renamed not counted.
    deletes: u64,
    held: bool,
    again: bool,
    /// Something was not taken, and is to be sent again.
    failed: bool,
}

impl Sender<'_> {
    /// Asks the guard about all that shall be deleted (S14).
    fn judge(&mut self) -> Result<(), FarError> {
        let mut toll = Toll { of: self.far.count(), ..Toll::default() };
        let (removals, late) = (&mut self.removals, &mut self.late);
        unsent::each(self.me, self.far, |one| {
            if !one.is_decided {
                return Ok(());
            }
            if one.is_removal() {
                let moved = one.record.row.tombstone().is_some_and(|stone| stone.moved_to.is_some());
                toll.deletes += u64::from(!moved);
                removals.push(one.path);
            } else if one.replaces_dir() {
                late.push(one.path);
            } else if matches!(one.way, Way::Send(Act::Make { .. })) {
                toll.creates += u64::from(one.known.is_none_or(|known| known.row.live().is_none()));
            }
            Ok(())
        })?;
        self.deletes = toll.deletes;
        self.held = !allows(toll, self.limit);
        if self.held {
            self.hold(toll);
        } else if self.rehearsal
            && let Some(held) = told::held(self.far, toll, self.limit != Limit::Formula)
        {
            self.held = true;
            self.report.held.get_or_insert(held);
        }
        Ok(())
    }

    fn hold(&mut self, toll: Toll) {
        let held = Held {
            deletes: toll.deletes,
            of: toll.of,
            limit: bound(toll, self.limit),
            empties: empties_root(toll),
        };
        self.report.held.get_or_insert(held);
    }

    fn create_and_change(&mut self) -> Result<(), FarError> {
        let (me, far) = (self.me, self.far);
        unsent::each(me, far, |one| {
            if one.is_decided && !one.is_removal() && !one.replaces_dir() {
                self.add(one)?;
            } else if !one.is_decided {
                self.failed = true;
            }
            Ok(())
        })?;
        self.flush()
    }

    fn remove(&mut self) -> Result<(), FarError> {
        if self.held {
            self.failed = true;
            return Ok(());
        }
        for path in std::mem::take(&mut self.removals).into_iter().rev() {
            self.add_at(&path)?;
        }
        self.flush()
    }

    fn replace_dirs(&mut self) -> Result<(), FarError> {
        if self.held {
            return Ok(());
        }
        for path in std::mem::take(&mut self.late) {
            self.add_at(&path)?;
        }
        self.flush()
    }

    fn add_at(&mut self, path: &RelPath) -> Result<(), FarError> {
        match self.me.record(path)? {
            Some(record) => {
                let one = unsent::of(self.far, path, record)?;
                self.add(one)
            }
            None => Ok(()),
        }
    }

    fn add(&mut self, one: Unsent) -> Result<(), FarError> {
        match one.way {
            Way::Adopt => {
                if let Some(known) = one.known {
                    self.adopt(&one.path, one.record, known.row)?;
                }
                return Ok(());
            }
            Way::Drop => return Ok(self.me.index().remove(&one.path)?),
            Way::Send(_) => {}
        }
        self.bytes += one.record.row.live().map_or(0, |live| live.content.value.size());
        self.weight += one.step().as_ref().map_or(0, of_step);
        self.batch.push(one);
        let is_heavy = self.bytes >= BATCH_BYTES || self.weight >= MESSAGE_BYTES;
        if is_heavy || self.batch.len() >= BATCH_STEPS {
            return self.flush();
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), FarError> {
        let batch = std::mem::take(&mut self.batch);
        (self.bytes, self.weight) = (0, 0);
        if batch.is_empty() {
            return Ok(());
        }
        if self.rehearsal {
            batch.iter().for_each(|one| self.tell(one));
            return Ok(());
        }
        let steps = batch.iter().filter_map(Unsent::step).collect();
        let files = Files(batch.iter().map(|one| self.file(one)).collect());
        let deletes = if self.held { 0 } else { self.deletes };
        let approved = self.limit != Limit::Formula;
        let results = self.far.change(self.far.ticket(), steps, &files, (deletes, approved))?;
        self.me.db.batch(|| {
            for (one, result) in batch.into_iter().zip(results) {
                self.end(one, result)?;
            }
            Ok::<(), FarError>(())
        })?;
        fault::pass(Point::WireAdopted);
        Ok(())
    }

    /// Returns the file that the peer may ask for, if it is one.
    fn file(&self, one: &Unsent) -> Option<Seen> {
        let root = Arc::clone(&self.me.root);
        match one.record.row.live()?.content.value {
            Content::File { digest, size } => Some(Seen { root, path: one.path.clone(), digest, size }),
            Content::Dir | Content::Symlink(_) | Content::Fifo | Content::Socket | Content::Device { .. } => {
                None
            }
        }
    }

    /// Takes into account what became of one step.
    fn end(&mut self, one: Unsent, result: StepResult) -> Result<(), FarError> {
        match result {
            StepResult::Done { row, .. } => {
                self.tell(&one);
                if has_set_id(&one.record.row) && !has_set_id(&row) {
                    self.report.unsent.add(&one.path);
                }
                self.adopt(&one.path, one.record, row)
            }
            StepResult::Changed { .. } => {
                self.again = true;
                Ok(())
            }
            StepResult::Refused(refuse) => {
                self.refused(&one.path, &refuse);
                Ok(())
            }
        }
    }

    fn refused(&mut self, path: &RelPath, refuse: &Refuse) {
        self.failed = true;
        match refuse.code {
            Code::Held => {
                let of = self.far.count();
                self.hold(Toll { deletes: self.deletes, of, creates: 0 });
                return;
            }
            Code::Disk | Code::Quota => self.report.troubles.disk = true,
            Code::Done
            | Code::Version
            | Code::Denied
            | Code::Missing
            | Code::Protocol
            | Code::Internal
            | Code::Busy
            | Code::Shutdown
            | Code::Halted
            | Code::NotPrimary
            | Code::Timeout
            | Code::Unacceptable
            | Code::Mismatch => self.report.troubles.partial = true,
        }
        let why = format!("{} refuses: {}", self.far.peer(), heard(&refuse.text));
        self.report.skipped.push(Skipped { path: path.clone(), why });
    }

    /// Records the row of the peer in place of ours.
    fn adopt(&self, path: &RelPath, record: Record, row: Row) -> Result<(), FarError> {
        let mut row = row;
        for loser in record.row.losers {
            add_loser(&mut row.losers, loser);
        }
        self.me.index().put(path, &Record { row, ..record })?;
        Ok(self.me.remote().remove(path)?)
    }

    fn tell(&mut self, one: &Unsent) {
        let known = one.known.as_ref().map(|known| &known.row);
        let settled = one.settled();
        if let Some(line) = item::line(self.me.side.other(), &settled, known) {
            self.observer.item(&line);
        }
        let live = one.record.row.live();
        let kind = live.map_or(Kind::File, |live| live.content.value.kind());
        let size = live.map_or(0, |live| live.content.value.size());
        match settled.step {
            decide::Step::Nothing => {}
            decide::Step::Create(_) if one.is_rename() => self.report.renamed += 1,
            decide::Step::Create(_) => {
                count(&mut self.report.created, kind);
                self.transferred(kind, size);
            }
            decide::Step::Replace(_) => {
                self.report.updated += 1;
                self.transferred(kind, size);
            }
            decide::Step::Adjust => self.report.updated += 1,
            decide::Step::Remove => {
                let old = known.and_then(Row::live).map_or(Kind::File, |live| live.content.value.kind());
                count(&mut self.report.deleted, old);
            }
        }
    }

    fn transferred(&mut self, kind: Kind, size: u64) {
        if kind == Kind::File {
            self.report.transferred += 1;
            self.report.bytes_transferred += size;
        }
    }
}
