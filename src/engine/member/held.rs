//! Deletions of other members that wait here for a person (S14): listed, let through, or undone.

use std::collections::BTreeMap;

use crate::disk::clock;
use crate::engine::error::EngineError;
use crate::engine::host::Host;
use crate::engine::member::approved::Approved;
use crate::engine::note;
use crate::engine::pull::{Guard, toll};
use crate::engine::receive::insisted;
use crate::engine::replica::Replica;
use crate::model::entry::Digest;
use crate::model::metadata::Timestamp;
use crate::model::path::RelPath;
use crate::model::row::{Row, State};
use crate::model::version::{Dot, ReplicaId};
use crate::plan::decide::Decider;
use crate::plan::guard::{Toll, allows};
use crate::rules::conflict::{Policy, Side};
use crate::store::members::{Member, Members};

/// Rows read at a time.
const PAGE: usize = 1000;

/// What one member deleted and the guard holds here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The digest of the folder, the replica that deleted, and the numbers of its first and last deletion that wait: the
    /// same on every member, and another as soon as it deletes more.
    pub id: Digest,
    /// The name of who deleted.
    pub peer: String,
    /// Entries that would be deleted, or emptied.
    pub deletes: u64,
    /// Entries that there are.
    pub of: u64,
    /// When the first of them was deleted, by the clock of who did.
    pub since: Timestamp,
    /// The last of them.
    last: Dot,
    /// The number of the first.
    first: u64,
}

impl Plan {
    fn has(&self, dot: Dot) -> bool {
        dot.replica == self.last.replica && (self.first..=self.last.counter).contains(&dot.counter)
    }
}

/// What the guard says of the rows of one member that wait here.
pub(crate) struct Judged {
    pub(crate) guard: Guard,
    /// What waits for a person, where it holds something: by who deleted.
    pub(crate) plans: Vec<Plan>,
    /// How many entries they delete that a person let through.
    pub(crate) through: u64,
}

/// Asks the guard about all rows of `member` that wait at `held`, and what it deleted before.
///
/// # Errors
/// The database refuses.
pub(crate) fn judge(
    host: &Host,
    held: &Replica,
    member: &Member,
    decider: Decider,
) -> Result<Judged, EngineError> {
    held.peer.set(member.number);
    let approved = Approved::of(held)?;
    let (mut through, mut found): (u64, BTreeMap<ReplicaId, Found>) = (0, BTreeMap::new());
    let all = toll(held, decider, &host.settings.scope, &mut |row| {
        let (dot, at) = event(row);
        if approved.has(dot) {
            through += 1;
        } else {
            found.entry(dot.replica).or_insert_with(|| Found::new(dot, at)).add(dot, at);
        }
    })?;
    let deletes = all.deletes - through;
    let past = if deletes > 0 { host.recent(member.key) } else { 0 };
    let toll = Toll { deletes: deletes + past, of: all.of + past, ..all };
    if allows(toll, host.settings.hold_above) {
        return Ok(Judged { guard: Guard::Passed, plans: Vec::new(), through });
    }
    let plan = |(replica, found): (&ReplicaId, &Found)| found.plan(host, held, *replica, all.of);
    let plans = found.iter().map(plan).collect::<Result<_, EngineError>>()?;
    Ok(Judged { guard: Guard::Held, plans, through })
}

/// The event by which a row deletes, and when it happened there.
fn event(row: &Row) -> (Dot, Timestamp) {
    match &row.state {
        State::Deleted(stone) => (stone.dot, stone.deleted_at),
        State::Live(live) => (live.content.dot, live.recorded),
    }
}

/// Deletions of one replica.
struct Found {
    first: u64,
    last: u64,
    since: Timestamp,
    deletes: u64,
}

impl Found {
    fn new(dot: Dot, at: Timestamp) -> Self {
        Self { first: dot.counter, last: dot.counter, since: at, deletes: 0 }
    }

    fn add(&mut self, dot: Dot, at: Timestamp) {
        self.first = self.first.min(dot.counter);
        self.last = self.last.max(dot.counter);
        self.since = self.since.min(at);
        self.deletes += 1;
    }

    fn plan(&self, host: &Host, held: &Replica, replica: ReplicaId, of: u64) -> Result<Plan, EngineError> {
        let last = Dot { replica, counter: self.last };
        let numbers = [self.first.to_be_bytes(), self.last.to_be_bytes()].concat();
        let id =
            Digest::of(&[b"csync held\0", host.name.as_bytes(), b"\0", &replica.0[..], &numbers].concat());
        let peer = note::label(held, "unknown", last)?;
        Ok(Plan { id, peer, deletes: self.deletes, of, since: self.since, last, first: self.first })
    }
}

/// Returns what waits for a person in a folder, by who deleted it.
///
/// # Errors
/// The database refuses.
pub fn held(host: &Host) -> Result<Vec<Plan>, EngineError> {
    plans(host, &host.replica())
}

fn plans(host: &Host, held: &Replica) -> Result<Vec<Plan>, EngineError> {
    // Which content of a conflict stays is no deletion, so that the policy does not matter.
    let decider = Decider { me: held.me, side: Side::One, policy: Policy::KeepBoth, now: clock::now() };
    let mut all: Vec<Plan> = Vec::new();
    for member in Members::of(&held.db).all()? {
        for plan in judge(host, held, &member, decider)?.plans {
            // The same deletions may wait here as told by several members.
            match all.iter_mut().find(|known| known.last.replica == plan.last.replica) {
                Some(known) if known.deletes < plan.deletes => *known = plan,
                Some(_) => {}
                None => all.push(plan),
            }
        }
    }
    Ok(all)
}

fn named(host: &Host, held: &Replica, id: Digest) -> Result<Plan, EngineError> {
    plans(host, held)?.into_iter().find(|plan| plan.id == id).ok_or_else(|| EngineError::Unknown {
        what: format!("nothing is held under {id}"),
        fix: "csync held lists what is; it may have grown, or have been decided elsewhere",
    })
}

/// Lets the deletions of the plan `id` through, here and, as they hear of it, on the other members. Later ones are
/// judged anew. They are carried out by whoever follows the members, who is to be told.
///
/// # Errors
/// There is no such plan, or the database refuses.
pub fn approve(host: &Host, id: Digest) -> Result<(), EngineError> {
    let held = host.replica();
    let plan = named(host, &held, id)?;
    let mut approved = Approved::of(&held)?;
    approved.add(plan.last);
    Ok(approved.save(&held)?)
}

/// Undoes the deletions of the plan `id` everywhere: what stands here wins over them. Returns how many.
///
/// # Errors
/// There is no such plan, the root is not what it was, or the database refuses.
pub fn reject(host: &Host, id: Digest) -> Result<u64, EngineError> {
    let held = host.replica();
    host.check(&held)?;
    let plan = named(host, &held, id)?;
    let mut count = 0;
    held.db.batch(|| {
        for member in Members::of(&held.db).all()? {
            held.peer.set(member.number);
            count += insist(&held, &plan)?;
        }
        Ok::<(), EngineError>(held.save_seq()?)
    })?;
    Ok(count)
}

/// Makes what stands here win over those rows of the member that we deal with now that are part of `plan`.
fn insist(held: &Replica, plan: &Plan) -> Result<u64, EngineError> {
    let (index, remote) = (held.index(), held.remote());
    let (mut last, mut count): (Option<RelPath>, u64) = (None, 0);
    loop {
        let page = remote.page(last.as_ref(), PAGE)?;
        for (path, theirs) in page.iter().filter(|(_, row)| plan.has(event(row).0)) {
            let Some(ours) = index.get(path)?.filter(|ours| ours.row.live().is_some()) else { continue };
            index.put(path, &insisted(held, ours, theirs))?;
            remote.remove(path)?;
            held.advance(1);
            count += 1;
        }
        match page.last() {
            Some((path, _)) if page.len() == PAGE => last = Some(path.clone()),
            Some(_) | None => return Ok(count),
        }
    }
}
