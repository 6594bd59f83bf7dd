//! One connection of a guest, from the first word after the introduction to the last. Read this file first.
//!
//! The guest decides what shall be; here it is checked against what the guest may do and what this folder holds (S4).

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::config::settings::OwnerRule;
use crate::disk::clock;
use crate::disk::leftover;
use crate::engine::act::Crew;
use crate::engine::error::EngineError;
use crate::engine::host::Host;
use crate::engine::observe::Sight;
use crate::engine::replica::Replica;
use crate::engine::report::{LeftOut, Report, Silent, Skipped};
use crate::engine::serve::change;
use crate::engine::serve::error::{ServeError, told};
use crate::engine::serve::fetch;
use crate::engine::serve::follow;
use crate::engine::serve::list;
use crate::engine::serve::visit::{Visit, takes_changes};
use crate::model::key::PublicKey;
use crate::model::path::{RelPath, escape};
use crate::model::version::ReplicaId;
use crate::plan::guard::Limit;
use crate::transport::channel::Channel;
use crate::transport::link::Link;
use crate::transport::member::{Heard, Join};
use crate::transport::message::{
    Bound, Code, FolderInfo, Guard, Message, Open, Opened, REQUESTS_MAX, Refuse, Right, Settled, Unread,
};

/// Another member, as it says of itself.
struct Member {
    /// Its replica.
    replica: ReplicaId,
    /// What it heard of ours.
    heard: Option<Heard>,
}

/// What a guest was granted.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The folder.
    pub host: Arc<Host>,
    /// What it may do there.
    pub right: Right,
    /// Who it is, for people.
    pub by: String,
}

/// Who knows which folders there are, and who may do what in them.
pub trait Opener: Send + Sync {
    /// Returns the folders that the peer of `link` may see.
    fn folders(&self, link: &Link) -> Vec<FolderInfo>;

    /// Whether the peer of `link` is a member of the folder, so that it may follow it.
    fn is_member(&self, link: &Link, folder: &str) -> bool;

    /// Returns what the peer of `link` gets that asks for `open`; its right is what it may do, not what it asks for.
    ///
    /// # Errors
    /// Why it gets nothing.
    fn open(&self, link: &Link, open: &Open) -> Result<Grant, Refuse>;

    /// Is told `what` was not as it should be in a folder, at `count` paths of which `first` is one: for the log.
    fn notice(&self, folder: &str, what: &'static str, first: &RelPath, count: u64);
}

/// Serves one connection until its peer ends it.
///
/// What holds after: the connection is closed, and every thread that worked for it has ended. A peer that breaks the
/// protocol harms nobody but itself.
///
/// # Errors
/// The connection ended otherwise than by the peer's word; it is closed all the same.
pub fn serve(link: &Link, mut control: Channel, opener: &dyn Opener) -> Result<(), ServeError> {
    let served = talk(link, &mut control, opener);
    match &served {
        Ok(()) => link.close(Code::Done, ""),
        Err(error) => link.close(error.code(), &error.text()),
    }
    served
}

fn talk(link: &Link, control: &mut Channel, opener: &dyn Opener) -> Result<(), ServeError> {
    while let Some(message) = control.wait()? {
        if message == Message::Folders {
            control.send(&Message::FolderList(opener.folders(link)))?;
            continue;
        }
        let (open, member) = asked(message)?;
        return match grant(link, opener, &open) {
            Ok(_) if member.is_some() && !opener.is_member(link, &open.folder) => {
                let text = format!("this node is no member of the folder {}", escape(open.folder.as_bytes()));
                turn_away(control, Refuse { code: Code::Denied, text })
            }
            Ok(grant) => visit(link, control, (grant, member), opener),
            Err(refuse) => turn_away(control, refuse),
        };
    }
    Ok(())
}

/// Returns what is asked for, and the asker's replica if it asks as a member.
#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else comes is out of turn")]
fn asked(message: Message) -> Result<(Open, Option<Member>), ServeError> {
    match message {
        Message::Open(open) => Ok((open, None)),
        Message::Join(Join { folder, replica, heard }) => {
            Ok((Open { folder, right: Right::Read }, Some(Member { replica, heard })))
        }
        _ => Err(ServeError::Protocol("a message before a folder was open")),
    }
}

/// Says no to whoever wanted a folder.
fn turn_away(control: &mut Channel, refuse: Refuse) -> Result<(), ServeError> {
    control.send(&Message::Refuse(refuse))?;
    control.finish()?;
    // It has heard it when it ends the connection.
    match control.wait() {
        Ok(Some(_)) => Err(ServeError::Protocol("more than one wish")),
        Ok(None) | Err(_) => Ok(()),
    }
}

/// Returns what the guest gets. Who only wants to read may do no more; who wants to change something gets the right
/// that it has, so that what an appending guest replaces is kept.
fn grant(link: &Link, opener: &dyn Opener, open: &Open) -> Result<Grant, Refuse> {
    let grant = opener.open(link, open)?;
    if open.right == Right::Read {
        return Ok(Grant { right: Right::Read, ..grant });
    }
    if grant.right == Right::Read {
        let text = format!("the folder {} may only be read by you", open.folder);
        return Err(Refuse { code: Code::Denied, text });
    }
    takes_changes(&grant.host).map_or(Ok(grant.clone()), Err)
}

/// Opens the folder and answers requests until the peer has no more.
fn visit(
    link: &Link,
    control: &mut Channel,
    (grant, member): (Grant, Option<Member>),
    opener: &dyn Opener,
) -> Result<(), ServeError> {
    let Grant { host, right, by } = grant;
    let working = control.herald()?;
    let looked =
        recall(&host, &by, member.as_ref()).and_then(|()| look(&host, link.peer(), member.is_some()));
    drop(working);
    let opened = match looked {
        Ok(opened) => opened,
        Err(error) => {
            turn_away(control, told(&host.name, &error))?;
            return Err(error.into());
        }
    };
    if let Some(Unread { count, first }) = &opened.unread {
        opener.notice(&host.name, "not read", first, *count);
    }
    let visit =
        Visit::new(host, right, link.peer(), by, opened.seq).with_member(member.map(|member| member.replica));
    control.send(&Message::Opened(opened))?;
    let gate = Gate::default();
    let ended = std::thread::scope(|scope| {
        let (visit, gate) = (&visit, &gate);
        let requests = scope.spawn(move || {
            loop {
                gate.enter();
                let Ok(Some(mut channel)) = link.accept() else { return };
                scope.spawn(move || {
                    let answered = request(visit, &mut channel);
                    if let Err(error) = answered {
                        end_request(link, &mut channel, &error);
                    }
                    gate.leave();
                });
            }
        });
        let ended = settle(visit, control);
        // What a peer has sent that is not there any more would change the folder under its next run.
        visit.end();
        match &ended {
            Ok(()) => link.close(Code::Done, ""),
            Err(error) => link.close(error.code(), &error.text()),
        }
        // A panic there is a panic of this thread.
        if let Err(panic) = requests.join() {
            std::panic::resume_unwind(panic);
        }
        ended
    });
    if let LeftOut { first: Some(first), count } = &visit.doings().left_out {
        opener.notice(&visit.host.name, "set-id bits left out", first, *count);
    }
    if let Some(private) = &visit.host.replica().private {
        leftover::sweep(private, clock::now());
    }
    ended
}

/// Looks whether our state is older than what a member heard of it.
fn recall(host: &Host, by: &str, member: Option<&Member>) -> Result<(), EngineError> {
    let me = host.replica().me;
    match member.and_then(|member| member.heard).filter(|heard| heard.replica == me) {
        Some(heard) => host.recall(by, heard.seq, heard.nonce),
        None => Ok(()),
    }
}

/// Says what the folder holds, once the index is up to date. For a member that is not waited for: it hears of what
/// changes.
fn look(host: &Host, guest: PublicKey, follows: bool) -> Result<Opened, EngineError> {
    let sight = if follows && host.is_watched() { Sight::default() } else { host.observe()? };
    let replica = host.replica();
    let failed = |source| EngineError::Root { path: host.root.path().to_owned(), source };
    let root = host.root.stat(&RelPath::root()).map_err(failed)?;
    let gone = || EngineError::RootGone {
        path: host.root.path().to_owned(),
        database: replica.db.path().to_owned(),
    };
    Ok(Opened {
        replica: replica.me,
        seq: replica.seq(),
        entries: replica.index().live_count(),
        bytes: replica.index().live_bytes_total(),
        root: root.ok_or_else(gone)?.attributes,
        trusted: host.settings.trust_root,
        owners: matches!(host.settings.owner, OwnerRule::ByName | OwnerRule::Numeric),
        guard: Some(Guard { bound: bound(host.settings.hold_above), recent: host.recent(guest) }),
        unread: unread(&replica, &sight)?,
    })
}

/// Returns a bound in the words of the wire.
fn bound(limit: Limit) -> Bound {
    match limit {
        Limit::Formula => Bound::Formula,
        Limit::Count(count) => Bound::Count(count),
        Limit::Percent(percent) => Bound::Percent(percent),
        Limit::Approved => Bound::Count(u64::MAX),
    }
}

/// Returns what no row tells of, because it could not be read. A file that has a row is told of as it was.
fn unread(replica: &Replica, sight: &Sight) -> Result<Option<Unread>, EngineError> {
    let (mut count, mut first) = (0, None);
    for Skipped { path, .. } in &sight.skipped {
        let known = replica
            .record(path)?
            .is_some_and(|record| record.row.live().is_some_and(|live| !live.content.value.is_dir()));
        if !known {
            count += 1;
            first.get_or_insert_with(|| path.clone());
        }
    }
    Ok(first.map(|first| Unread { count, first }))
}

/// Answers what comes on the control stream once the folder is open.
fn settle(visit: &Visit, control: &mut Channel) -> Result<(), ServeError> {
    while let Some(message) = control.wait()? {
        if let (Message::Ack(ack), Some(replica)) = (&message, visit.member) {
            visit.host.heard((&visit.guest, &visit.by), replica, ack.seq)?;
            continue;
        }
        if message != Message::Settle {
            return Err(ServeError::Protocol("another message than the end of changes"));
        }
        let working = control.herald()?;
        let settled = finish(visit)?;
        drop(working);
        control.send(&Message::Settled(settled))?;
    }
    Ok(())
}

/// Sets what waits until all changes are made.
fn finish(visit: &Visit) -> Result<Settled, EngineError> {
    let replica = visit.host.replica();
    let (mut report, mut silent) = (Report::default(), Silent);
    Crew::new(&replica, &visit.by, &*replica, &mut silent, &mut report).finish()?;
    if let Some(private) = &replica.private {
        leftover::clear(private, &visit.guest);
    }
    let seq = replica.seq();
    Ok(Settled { seq, alone: seq == visit.opened + visit.doings().advanced })
}

/// Answers one request.
fn request(visit: &Visit, channel: &mut Channel) -> Result<(), ServeError> {
    let message = channel.recv()?;
    if let Message::List(list) = &message {
        list::answer(visit, channel, list)?;
    } else if let Message::Follow(follow) = &message {
        follow::answer(visit, channel, follow)?;
    } else if let Message::Fetch(fetch) = &message {
        fetch::answer(visit, channel, fetch)?;
    } else if let Message::Recover(recover) = &message {
        fetch::answer_lost(visit, channel, recover)?;
    } else if let Message::Change(change) = &message {
        change::answer(visit, channel, change)?;
    } else {
        return Err(ServeError::Protocol("a request that is none"));
    }
    // Else what is on its way would be lost with the stream.
    Ok(channel.finish()?)
}

/// Ends a request that failed: a peer that breaks the protocol loses its connection, another failure ends the request.
fn end_request(link: &Link, channel: &mut Channel, error: &ServeError) {
    if error.code() == Code::Protocol {
        link.close(Code::Protocol, &error.text());
        return;
    }
    let refuse = Refuse { code: error.code(), text: error.text() };
    // The peer may be gone; then nobody needs to be told.
    let told = channel.send(&Message::Refuse(refuse)).and_then(|()| channel.finish());
    drop(told);
}

/// Lets so many requests in at once.
#[derive(Default)]
struct Gate {
    inside: Mutex<usize>,
    left: Condvar,
}

impl Gate {
    /// Waits until there is room, and takes it.
    fn enter(&self) {
        let inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |inside: &mut usize| *inside >= REQUESTS_MAX;
        *self.left.wait_while(inside, full).unwrap_or_else(PoisonError::into_inner) += 1;
    }

    fn leave(&self) {
        *self.inside.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.left.notify_one();
    }
}
