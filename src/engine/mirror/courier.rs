//! Changes to the folder of a peer: steps go out in batches, several on their way at once, and take effect in the order
//! in which they were submitted.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::attributes::Which;
use crate::engine::error::EngineError;
use crate::engine::far::error::FarError;
use crate::engine::far::offer::{Files, Seen};
use crate::engine::far::placed::Placed;
use crate::engine::mirror::account::{Account, count};
use crate::engine::report::Held;
use crate::model::entry::{Content, Digest, Kind};
use crate::model::metadata::Attributes;
use crate::model::path::RelPath;
use crate::transport::message::{Act, Carried, Code, REQUESTS_MAX, Refuse, Step, StepResult};
use crate::transport::weight::{MESSAGE_BYTES, of_step};

/// Steps in one batch.
const BATCH_STEPS: usize = 512;
/// Bytes of content in one batch; the file that crosses this bound still goes with it.
const BATCH_BYTES: u64 = 32 * 1024 * 1024;
/// Smaller files are sent again rather than looked for.
const REUSED_BYTES_MIN: u64 = 4096;
/// Contents that are remembered as sent; then the memory begins anew.
const SENT_MAX: usize = 1 << 16;
/// Batches on their way at once. The peer lets each wait for the ones before it, so it must not leave one outside.
const FLIGHTS: usize = REQUESTS_MAX;

/// Carries the changes of a run to a peer.
pub(crate) struct Courier {
    to: Arc<Placed>,
    /// The user answers for the deletions.
    approved: bool,
    /// What the run deletes, once that is known.
    toll: Mutex<Option<Held>>,
    outbox: Mutex<Outbox>,
    /// Where contents stand that this run has sent.
    sent: Mutex<Sent>,
}

/// The last contents of a run and where they were sent first.
#[derive(Default)]
struct Sent(HashMap<Digest, RelPath>);

impl Sent {
    /// Returns where `digest` was sent before; if it was not, notes that it goes to `path`.
    fn take_up(&mut self, digest: Digest, path: RelPath) -> Option<RelPath> {
        if self.0.len() >= SENT_MAX {
            self.0.clear();
        }
        match self.0.entry(digest) {
            Entry::Occupied(known) => Some(known.get().clone()),
            Entry::Vacant(free) => {
                free.insert(path);
                None
            }
        }
    }
}

/// What waits to fill a batch.
#[derive(Default)]
struct Outbox {
    parcels: Vec<Parcel>,
    bytes: u64,
    /// Of the message.
    weight: usize,
    way: Option<SyncSender<Batch>>,
}

/// Steps that go together.
struct Batch {
    ticket: u64,
    parcels: Vec<Parcel>,
}

/// One step, and what it is for.
struct Parcel {
    step: Step,
    /// The path in the tree of the run.
    path: RelPath,
    file: Option<Seen>,
    counts: Counts,
}

/// What shall stand at a path.
pub(crate) struct Made {
    pub(crate) content: Content,
    pub(crate) attributes: Attributes,
    pub(crate) which: Which,
}

/// What a step counts as once it is done.
#[derive(Clone, Copy)]
pub(crate) enum Counts {
    /// An entry made.
    Created(Kind),
    /// An entry changed.
    Updated,
    /// An entry deleted.
    Deleted(Kind),
    /// A part of something that was counted.
    Nothing,
}

impl Courier {
    /// Returns the courier to `to`. `approved` says that the user answers for the deletions.
    pub(crate) fn new(to: Arc<Placed>, approved: bool) -> Self {
        Self { to, approved, toll: Mutex::default(), outbox: Mutex::default(), sent: Mutex::default() }
    }

    /// Makes the root of the tree, before anything else. Returns the peer's no, if it says no.
    pub(crate) fn make_root(&self, mode: u32) -> Result<Option<Refuse>, FarError> {
        let attributes = Attributes { mode, ..Attributes::default() };
        let which = Which { mode: true, ..Which::default() };
        let path = RelPath::root();
        let step = self.making(&path, Made { content: Content::Dir, attributes, which })?;
        let parcel = Parcel { step, path, file: None, counts: Counts::Nothing };
        let batch = Batch { ticket: self.to.far.ticket(), parcels: vec![parcel] };
        Ok(self.send(&batch)?.into_iter().find_map(|result| match result {
            StepResult::Refused(refuse) => Some(refuse),
            StepResult::Done { .. } | StepResult::Changed { .. } => None,
        }))
    }

    /// Notes what the run is about to delete: from here on deletions may go.
    pub(crate) fn deletes(&self, toll: Held) {
        *self.toll.lock().unwrap_or_else(PoisonError::into_inner) = Some(toll);
    }

    /// Waits until the peer has finished what it put off.
    pub(crate) fn settle(&self) -> Result<(), FarError> {
        self.to.far.settle().map(drop)
    }

    /// Has `content` made at `path`, with the attributes that it shall have in the end; `file` has the bytes.
    pub(crate) fn make(
        &self,
        account: &Account,
        path: &RelPath,
        made: Made,
        counts: Counts,
        file: Option<Seen>,
    ) {
        match self.making(path, made) {
            Ok(step) => self.submit(Parcel { step, path: path.clone(), file, counts }),
            Err(error) => account.fail(error),
        }
    }

    /// Has attributes set.
    pub(crate) fn dress(
        &self,
        account: &Account,
        path: &RelPath,
        (attributes, which): (Attributes, Which),
        counts: Counts,
    ) {
        self.act(account, path, Act::Dress { attributes, which: carried(which) }, counts);
    }

    /// Has an entry of `kind` deleted.
    pub(crate) fn remove(&self, account: &Account, path: &RelPath, kind: Kind) {
        self.act(account, path, Act::Remove { moved_to: None }, Counts::Deleted(kind));
    }

    fn act(&self, account: &Account, path: &RelPath, act: Act, counts: Counts) {
        match self.step(path, act) {
            Ok(step) => self.submit(Parcel { step, path: path.clone(), file: None, counts }),
            Err(error) => account.fail(error),
        }
    }

    fn making(&self, path: &RelPath, made: Made) -> Result<Step, FarError> {
        let Made { content, attributes, which } = made;
        let from = match &content {
            Content::File { digest, size } if *size >= REUSED_BYTES_MIN => {
                let known = self.to.far.places(*digest)?.into_iter().next();
                let inside = self.inside(path)?;
                let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner).take_up(*digest, inside);
                known.or(sent)
            }
            Content::File { .. } => None,
            Content::Dir | Content::Symlink(_) | Content::Fifo | Content::Socket | Content::Device { .. } => {
                None
            }
        };
        self.step(path, Act::Make { content, attributes, which: carried(which), from })
    }

    fn step(&self, path: &RelPath, act: Act) -> Result<Step, FarError> {
        let expect = self.to.known(path)?.map_or(0, |known| known.seq);
        Ok(Step { path: self.inside(path)?, expect, act })
    }

    /// Returns the path in the folder. A step for anything outside of it would be one for something else.
    fn inside(&self, path: &RelPath) -> Result<RelPath, FarError> {
        let outside = || EngineError::Unknown {
            what: format!("{path} does not lie in the folder of {}", self.to.far.peer()),
            fix: "nothing was done to it; please report this, it is a fault of csync",
        };
        Ok(self.to.inside(path).ok_or_else(outside)?)
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(&self, parcel: Parcel) {
        let mut outbox = self.outbox();
        outbox.bytes = outbox.bytes.saturating_add(parcel.file.as_ref().map_or(0, |file| file.size));
        outbox.weight += of_step(&parcel.step);
        outbox.parcels.push(parcel);
        let is_heavy = outbox.bytes >= BATCH_BYTES || outbox.weight >= MESSAGE_BYTES;
        if is_heavy || outbox.parcels.len() >= BATCH_STEPS {
            self.dispatch(&mut outbox);
        }
    }

    /// Sends what waits on its way. Held up while enough is on its way: so little is in memory.
    fn dispatch(&self, outbox: &mut Outbox) {
        let parcels = std::mem::take(&mut outbox.parcels);
        (outbox.bytes, outbox.weight) = (0, 0);
        if let Some(way) = outbox.way.as_ref().filter(|_| !parcels.is_empty()) {
            // The flights last until the way ends.
            way.send(Batch { ticket: self.to.far.ticket(), parcels }).ok();
        }
    }

    /// Takes batches to the peer until the way ends.
    fn fly(&self, account: &Account, way: &Mutex<Receiver<Batch>>) {
        loop {
            let batch = way.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(mut batch) = batch else { break };
            if account.is_full() {
                // The peer waits for every number, so the batch goes, empty.
                batch.parcels.clear();
            }
            match self.send(&batch) {
                Ok(results) => {
                    for (parcel, result) in batch.parcels.iter().zip(results) {
                        self.settled(account, parcel, result);
                    }
                }
                Err(error) => {
                    account.fail(error);
                    // What the others have on its way waits there for this batch.
                    self.to.far.give_up();
                }
            }
        }
    }

    fn send(&self, batch: &Batch) -> Result<Vec<StepResult>, FarError> {
        let steps = batch.parcels.iter().map(|parcel| parcel.step.clone()).collect();
        let deletes = self.toll().map_or(0, |toll| toll.deletes);
        let files = Files(batch.parcels.iter().map(|parcel| parcel.file.clone()).collect());
        self.to.far.change(batch.ticket, steps, &files, (deletes, self.approved))
    }

    fn toll(&self) -> Option<Held> {
        *self.toll.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what was done and tells what was not.
    fn settled(&self, account: &Account, parcel: &Parcel, result: StepResult) {
        match result {
            StepResult::Done { .. } => done(account, parcel),
            StepResult::Changed { now } => {
                let stands = now.is_some_and(|(_, row)| row.live().is_some());
                if stands || !matches!(parcel.step.act, Act::Remove { .. }) {
                    account.problem(&parcel.path, "changed on the peer meanwhile; the next run takes it up");
                }
            }
            StepResult::Refused(Refuse { code: Code::Held, .. }) => account.report().held = self.toll(),
            StepResult::Refused(refuse) => account.refusal(&parcel.path, self.to.far.peer(), &refuse),
        }
    }
}

/// Counts a step that was done.
fn done(account: &Account, parcel: &Parcel) {
    let mut report = account.report();
    match parcel.counts {
        Counts::Created(kind) => count(&mut report.created, kind),
        Counts::Updated => report.updated += 1,
        Counts::Deleted(kind) => count(&mut report.deleted, kind),
        Counts::Nothing => {}
    }
    if let Some(file) = &parcel.file {
        report.transferred += 1;
        report.bytes_transferred += file.size;
    }
}

/// Returns what `work` returns, with the batches that it submits on their way meanwhile; all of them have arrived then.
pub(crate) fn attended<T>(courier: Option<&Courier>, account: &Account, work: impl FnOnce() -> T) -> T {
    let Some(courier) = courier else {
        return work();
    };
    let (way, batches) = sync_channel(1);
    let batches = Mutex::new(batches);
    courier.outbox().way = Some(way);
    std::thread::scope(|scope| {
        for _ in 0..FLIGHTS {
            scope.spawn(|| courier.fly(account, &batches));
        }
        let closing = Closing(courier);
        let result = work();
        drop(closing);
        result
    })
}

/// Ends the way, whatever happens before.
struct Closing<'a>(&'a Courier);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        let mut outbox = self.0.outbox();
        self.0.dispatch(&mut outbox);
        outbox.way = None;
    }
}

/// Returns the choice in the words of the wire.
fn carried(which: Which) -> Carried {
    Carried { mode: which.mode, user: which.owner, group: which.group, mtime: which.mtime }
}
