//! Follows another member of a folder for as long as it can be reached: hears what is recorded there, and makes our
//! replica agree. Read this file first.
//!
//! One thread listens, so that nothing that is said waits for a disk; this one settles what was heard, pass by pass.
//! Contents are brought beside their targets before the replica is held (S8, and no peer holds back another).

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::disk::clock;
use crate::engine::far::error::{FarError, unexpected};
use crate::engine::host::Host;
use crate::engine::member::leader::Leader;
use crate::engine::member::news::Hearing;
use crate::engine::member::pass::{Pass, Passed};
use crate::engine::member::stock::Shelf;
use crate::engine::replica::run_name;
use crate::engine::report::{Held, MadeConflict, Skipped};
use crate::model::path::RelPath;
use crate::store::members::{Member, Members};
use crate::store::peer::Peers;
use crate::transport::channel::Channel;
use crate::transport::link::Link;
use crate::transport::member::{Ack, Follow, Join};
use crate::transport::message::{Code, Message, Opened};

/// A member that says nothing for so long stands still; it says something every few seconds.
pub const SILENCE: Duration = Duration::from_secs(15);
/// What could not be settled is tried again after so long at first, ...
const RETRY_MIN: Duration = Duration::from_millis(200);
/// ... and after so long at most.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// What whoever runs a member is told.
pub trait Overseer: Sync {
    /// The member is connected, and its folder open.
    fn connected(&self, leader: &Leader);
    /// A pass changed our tree: so many entries.
    fn changed(&self, leader: &Leader, entries: u64);
    /// A conflict was made.
    fn conflict(&self, leader: &Leader, made: &MadeConflict);
    /// Paths could not be settled, and are tried again; the same ones are told once.
    fn skipped(&self, leader: &Leader, skipped: &Skipped);
    /// What the member deleted is held for a person (S14), or no longer.
    fn held(&self, leader: &Leader, held: Option<Held>);
    /// Whether a person let the deletions of the member through that are held.
    fn is_approved(&self, leader: &Leader) -> bool;
}

/// Follows `leader` over `link`, whose `control` stream has seen nothing but the greeting, until the connection ends.
///
/// What holds after: everything that was heard is recorded, and settled at the next call if it was not in this one.
///
/// # Errors
/// Why it ended; also where the member ended it as it should.
pub fn follow(
    host: &Host,
    link: &Link,
    mut control: Channel,
    leader: &Leader,
    overseer: &dyn Overseer,
) -> Result<(), FarError> {
    link.set_timeout(Some(SILENCE));
    let opened = join(host, &mut control, leader)?;
    let (member, since) = meet(host, leader, &opened)?;
    overseer.connected(leader);
    let (shelf, heard) = (Shelf::default(), Heard::default());
    let mut stream = link.channel()?;
    stream.send(&Message::Follow(Follow { since }))?;
    std::thread::scope(|scope| {
        let listener = scope.spawn(|| {
            let hearing = Hearing::new(host, &shelf, &leader.name, (member.replica, member.number));
            let ended = listen(&mut stream, hearing, &heard, leader, overseer);
            heard.end();
            ended
        });
        let settled = settle(host, link, &mut control, (leader, &member), &shelf, &heard, overseer);
        link.close(Code::Done, "");
        // A panic there is a panic of this thread.
        let listened = listener.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        settled.and(listened)
    })
}

/// Opens the folder of the member.
#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else comes is out of turn")]
fn join(host: &Host, control: &mut Channel, leader: &Leader) -> Result<Opened, FarError> {
    let replica = host.replica().me;
    control.send(&Message::Join(Join { folder: host.name.clone(), replica }))?;
    loop {
        match control.recv()? {
            Message::Working(_) => {}
            Message::Opened(opened) => return Ok(opened),
            Message::Refuse(refuse) => return Err(FarError::refused(&leader.name, &refuse)),
            other => return Err(unexpected(&leader.name, &other)),
        }
    }
}

/// Returns the member, and the sequence up to which everything of it was heard.
fn meet(host: &Host, leader: &Leader, opened: &Opened) -> Result<(Member, u64), FarError> {
    let held = host.replica();
    if opened.replica == held.me {
        let why = "the id of our own replica: one of the two roots is a copy of the other with its state";
        return Err(FarError::answer(&leader.name, why));
    }
    let member = Members::of(&held.db).meet(&leader.key, opened.replica, &leader.name)?;
    let cursor = Peers::of(&held.db).get(opened.replica)?.map_or(0, |peer| peer.cursor);
    // A member that is behind what it said has gone back; then everything is heard anew.
    Ok((member, if cursor > opened.seq { 0 } else { cursor }))
}

/// How far the listener is.
#[derive(Default)]
struct Heard {
    state: Mutex<State>,
    told: Condvar,
}

#[derive(Default)]
struct State {
    /// Something waits that no pass has looked at.
    is_new: bool,
    /// The end of the last pass of the member that was heard whole.
    complete: Option<u64>,
    ended: bool,
}

impl Heard {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, waiting: u64, complete: Option<u64>) {
        let mut state = self.state();
        state.is_new |= waiting > 0;
        if complete.is_some() {
            state.complete = complete;
            self.told.notify_all();
        }
    }

    fn end(&self) {
        self.state().ended = true;
        self.told.notify_all();
    }

    /// Waits for the end of a pass, or for `patience` if something is to be tried again. Returns whether there is
    /// something to settle, and the sequence to be acknowledged when it is; `None` at the end of the connection.
    fn wait(&self, patience: Option<Duration>) -> Option<(bool, Option<u64>)> {
        let quiet = |state: &mut State| state.complete.is_none() && !state.ended;
        let mut state = match patience {
            Some(patience) => {
                let waited = self.told.wait_timeout_while(self.state(), patience, quiet);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.told.wait_while(self.state(), quiet).unwrap_or_else(PoisonError::into_inner),
        };
        let again = state.complete.is_none();
        let (is_new, complete) = (std::mem::take(&mut state.is_new), state.complete.take());
        (!state.ended).then_some((is_new || again, complete))
    }
}

/// Records what the member says until it says nothing more.
#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else comes is out of turn")]
fn listen(
    stream: &mut Channel,
    mut hearing: Hearing<'_>,
    heard: &Heard,
    leader: &Leader,
    overseer: &dyn Overseer,
) -> Result<(), FarError> {
    loop {
        match stream.recv()? {
            Message::Working(_) => {}
            Message::News(news) => {
                let (waiting, complete) = hearing.take(news)?;
                for path in std::mem::take(&mut hearing.refused) {
                    let why = "devices and sockets are taken with trust = \"root\" only".to_owned();
                    overseer.skipped(leader, &Skipped { path, why });
                }
                heard.note(waiting, complete);
            }
            Message::Refuse(refuse) => return Err(FarError::refused(&leader.name, &refuse)),
            other => return Err(unexpected(&leader.name, &other)),
        }
    }
}

/// Settles what was heard, again and again, and says so.
fn settle(
    host: &Host,
    link: &Link,
    control: &mut Channel,
    (leader, member): (&Leader, &Member),
    shelf: &Shelf,
    heard: &Heard,
    overseer: &dyn Overseer,
) -> Result<(), FarError> {
    let mut told: BTreeMap<RelPath, String> = BTreeMap::new();
    let mut before: BTreeMap<RelPath, String> = BTreeMap::new();
    let mut pause = RETRY_MIN;
    // What an earlier connection left.
    let mut left = host.waiting(member.number)? > 0;
    loop {
        let patience = left.then_some(pause);
        let Some((work, complete)) = heard.wait(patience) else { return Ok(()) };
        if work || left {
            host.replica().batch = run_name(clock::now());
            let pass = Pass { host, link, leader, member, shelf };
            let Passed { report, waiting } = pass.run(overseer.is_approved(leader))?;
            overseer.held(leader, report.held);
            report.conflicts.iter().for_each(|made| overseer.conflict(leader, made));
            let now: BTreeMap<RelPath, String> =
                report.skipped.iter().map(|one| (one.path.clone(), one.why.clone())).collect();
            for (path, why) in &now {
                // What the next pass takes up needs no telling, and the same reason is told once.
                if before.contains_key(path) && told.insert(path.clone(), why.clone()).as_ref() != Some(why) {
                    overseer.skipped(leader, &Skipped { path: path.clone(), why: why.clone() });
                }
            }
            told.retain(|path, _| now.contains_key(path));
            before = now;
            let entries = report.created.total() + report.updated + report.deleted.total() + report.renamed;
            if entries > 0 {
                overseer.changed(leader, entries);
            }
            left = waiting;
            pause = if left && entries == 0 { (pause * 2).min(RETRY_MAX) } else { RETRY_MIN };
        }
        if let Some(seq) = complete {
            control.send(&Message::Ack(Ack { seq }))?;
        }
    }
}
