//! Follows another member of a folder for as long as it can be reached: hears what is recorded there, and makes our
//! replica agree. Read this file first.
//!
//! One thread listens, so that nothing that is said waits for a disk; this one settles what was heard, pass by pass.
//! Contents are brought beside their targets before the replica is held (S8, and no peer holds back another).

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::disk::clock::{self, monotonic};
use crate::engine::far::error::{FarError, unexpected};
use crate::engine::host::Host;
use crate::engine::member::held::Plan;
use crate::engine::member::leader::Leader;
use crate::engine::member::news::Hearing;
use crate::engine::member::pass::Pass;
use crate::engine::member::stock::Shelf;
use crate::engine::replica::run_name;
use crate::engine::report::{MadeConflict, Skipped};
use crate::model::path::RelPath;
use crate::store::members::{Member, Members};
use crate::store::peer::Peers;
use crate::transport::channel::Channel;
use crate::transport::link::Link;
use crate::transport::member::{Ack, Follow, Heard as Known, Join};
use crate::transport::message::{Code, Message, Opened};

/// A member that says nothing for so long stands still; it says something every two seconds.
const SILENCE: Duration = Duration::from_secs(12);
/// How often it is looked whether all is as it was.
const LOOK: Duration = Duration::from_secs(1);
/// What could not be settled is tried again after so long at first, ...
const RETRY_MIN: Duration = Duration::from_millis(200);
/// ... and after so long at most.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// What whoever runs a member is told.
pub trait Overseer: Sync {
    /// Whether the folder is still open, and `host` is what is open.
    fn is_open(&self, host: &Arc<Host>) -> bool;
    /// The member is connected, and its folder open; or it says nothing any more.
    fn connected(&self, leader: &Leader, is_heard: bool);
    /// A pass changed our tree: so many entries.
    fn changed(&self, leader: &Leader, entries: u64);
    /// A conflict was made.
    fn conflict(&self, leader: &Leader, made: &MadeConflict);
    /// Paths could not be settled, and are tried again; the same ones are told once.
    fn skipped(&self, leader: &Leader, skipped: &Skipped);
    /// What is held of what the member tells, for a person (S14); nothing, if it is no longer.
    fn held(&self, leader: &Leader, held: Vec<Plan>);
}

/// Follows `leader` over `link`, whose `control` stream has seen nothing but the greeting, until the connection or the
/// folder ends.
///
/// What holds after: everything that was heard is recorded, and settled at the next call if it was not in this one.
///
/// # Errors
/// Why it ended; also where the member ended it as it should.
pub fn follow(
    host: &Arc<Host>,
    link: &Link,
    mut control: Channel,
    leader: &Leader,
    overseer: &dyn Overseer,
    heard: &Heard,
) -> Result<(), FarError> {
    let opened = join(host, &mut control, leader)?;
    // Before the cursor is read: what is rewound after it was ends this hearing.
    let epoch = host.epoch();
    let (member, since) = meet(host, leader, &opened)?;
    overseer.connected(leader, true);
    let shelf = Shelf::default();
    let hearing = Hearing::new(host, &shelf, &leader.name, &member, epoch);
    let mut stream = link.channel()?;
    stream.send(&Message::Follow(Follow { since }))?;
    std::thread::scope(|scope| {
        let listener = scope.spawn(|| {
            // Also where it ends by a panic: nobody else would tell.
            let _end = Ends(heard);
            listen(&mut stream, hearing, heard, leader, overseer)
        });
        let mut settling =
            Settling { host, link, control: &mut control, leader, member: &member, shelf: &shelf, epoch };
        let settled = settling.run(heard, overseer);
        link.close(Code::Done, "");
        // A panic there is a panic of this thread.
        let listened = listener.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        settled.and(listened)
    })
}

/// Opens the folder of the member.
#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else comes is out of turn")]
fn join(host: &Host, control: &mut Channel, leader: &Leader) -> Result<Opened, FarError> {
    let (replica, heard) = {
        let held = host.replica();
        let known = Members::of(&held.db).get(&leader.key)?.map(|member| member.replica);
        let peer = known.map(|known| Peers::of(&held.db).get(known)).transpose()?.flatten();
        (held.me, peer.map(|peer| Known { replica: peer.replica, seq: peer.cursor, nonce: peer.nonce }))
    };
    control.send(&Message::Join(Join { folder: host.name.clone(), replica, heard }))?;
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
    let members = Members::of(&held.db);
    if opened.replica == held.me || members.is_of_another(&leader.key, opened.replica)? {
        let why = "the id of another member's replica: one of the two has a copy of the other's state";
        return Err(FarError::answer(&leader.name, why));
    }
    let member = members.meet(&leader.key, opened.replica, &leader.name)?;
    let cursor = Peers::of(&held.db).get(opened.replica)?.map_or(0, |peer| peer.cursor);
    // A member that is behind what it said has gone back; then everything is heard anew.
    Ok((member, if cursor > opened.seq { 0 } else { cursor }))
}

/// Says that nothing more will be heard, when it is dropped.
struct Ends<'a>(&'a Heard);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// How far the listener is; one for each connection.
#[derive(Debug, Default)]
pub struct Heard {
    state: Mutex<State>,
    told: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Something waits that no pass has looked at.
    is_new: bool,
    /// What waits is to be looked at again.
    again: bool,
    /// The end of the last pass of the member that was heard whole.
    complete: Option<u64>,
    /// When anything was heard last.
    last: Option<Instant>,
    ended: bool,
}

impl Heard {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has what waits looked at again now: a person decided about it, or another member told of it.
    pub fn again(&self) {
        self.state().again = true;
        self.told.notify_all();
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

    /// Waits for the end of a pass, at most for `patience`. Returns whether something new waits, and the sequence to be
    /// acknowledged when it is settled; `None` at the end of the connection.
    fn wait(&self, patience: Duration) -> Option<(bool, Option<u64>)> {
        let quiet = |state: &mut State| state.complete.is_none() && !state.again && !state.ended;
        let waited = self.told.wait_timeout_while(self.state(), patience, quiet);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        let complete = state.complete.take();
        let is_new =
            complete.is_some() && std::mem::take(&mut state.is_new) || std::mem::take(&mut state.again);
        (!state.ended).then_some((is_new, complete))
    }

    /// Returns how long nothing at all was heard.
    fn silence(&self) -> Duration {
        let last = self.state().last;
        last.map_or(Duration::ZERO, |last| monotonic().saturating_duration_since(last))
    }

    fn something(&self) {
        self.state().last = Some(monotonic());
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
    let mut is_told = false;
    loop {
        let message = stream.recv()?;
        heard.something();
        match message {
            Message::Working(_) => {}
            Message::News(news) => {
                let (waiting, complete) = hearing.take(news)?;
                // The first stands for all of them.
                if let Some(path) = std::mem::take(&mut hearing.refused).into_iter().next()
                    && !std::mem::replace(&mut is_told, true)
                {
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

/// Settles what is heard.
struct Settling<'a> {
    host: &'a Arc<Host>,
    link: &'a Link,
    control: &'a mut Channel,
    leader: &'a Leader,
    member: &'a Member,
    shelf: &'a Shelf,
    /// When everything is to be heard anew, this connection is over.
    epoch: u64,
}

/// What could not be settled, and when it is tried again.
struct Again {
    at: Option<Instant>,
    pause: Duration,
    before: BTreeMap<RelPath, String>,
    told: BTreeMap<RelPath, String>,
}

impl Settling<'_> {
    /// Settles what is heard, again and again, and says so.
    fn run(&mut self, heard: &Heard, overseer: &dyn Overseer) -> Result<(), FarError> {
        // What an earlier connection left is tried at once.
        let at = (self.host.waiting(self.member.number)? > 0).then(monotonic);
        let mut again = Again { at, pause: RETRY_MIN, before: BTreeMap::new(), told: BTreeMap::new() };
        let mut is_silent = false;
        loop {
            let until = again.at.map_or(LOOK, |at| at.saturating_duration_since(monotonic()));
            let Some((is_new, complete)) = heard.wait(until.min(LOOK)) else { return Ok(()) };
            if !overseer.is_open(self.host) || self.host.epoch() != self.epoch {
                return Ok(());
            }
            if std::mem::replace(&mut is_silent, heard.silence() > SILENCE) != is_silent {
                overseer.connected(self.leader, !is_silent);
            }
            let is_due = again.at.is_some_and(|at| at <= monotonic());
            if is_new || is_due {
                self.pass(&mut again, overseer)?;
            }
            if let Some(seq) = complete {
                self.control.send(&Message::Ack(Ack { seq }))?;
            }
        }
    }

    fn pass(&self, again: &mut Again, overseer: &dyn Overseer) -> Result<(), FarError> {
        let Self { host, link, leader, member, shelf, .. } = *self;
        host.replica().batch = run_name(clock::now());
        let passed = Pass { host, link, leader, member, shelf }.run()?;
        let report = passed.report;
        overseer.held(leader, passed.plans);
        report.conflicts.iter().for_each(|made| overseer.conflict(leader, made));
        let now: BTreeMap<RelPath, String> =
            report.skipped.iter().map(|one| (one.path.clone(), one.why.clone())).collect();
        for (path, why) in &now {
            // What the next pass takes up needs no telling, and the same reason is told once.
            let is_old = again.before.contains_key(path);
            if is_old && again.told.insert(path.clone(), why.clone()).as_ref() != Some(why) {
                overseer.skipped(leader, &Skipped { path: path.clone(), why: why.clone() });
            }
        }
        again.told.retain(|path, _| now.contains_key(path));
        again.before = now;
        let entries = report.created.total() + report.updated + report.deleted.total() + report.renamed;
        if entries > 0 {
            overseer.changed(leader, entries);
        }
        again.pause = if passed.again && entries == 0 { (again.pause * 2).min(RETRY_MAX) } else { RETRY_MIN };
        again.at = passed.again.then(|| monotonic() + again.pause);
        Ok(())
    }
}
