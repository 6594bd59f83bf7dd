//! Takes note of what another member tells: its rows wait here until they are settled (S8).

use crate::config::settings::OwnerRule;
use crate::engine::far::error::FarError;
use crate::engine::far::owners::Owners;
use crate::engine::far::unsent::tamed;
use crate::engine::host::Host;
use crate::engine::member::approved::Approved;
use crate::engine::member::stock::Shelf;
use crate::engine::replica::Replica;
use crate::model::entry::{Content, Kind};
use crate::model::metadata::Owner;
use crate::model::path::RelPath;
use crate::model::row::{Record, Row, State};
use crate::model::version::{Causality, Dot, ReplicaId};
use crate::store::error::StoreError;
use crate::store::members::Member;
use crate::store::peer::{Peer, Peers};
use crate::transport::message::{Listed, Names, News};

/// What a member said so far.
pub(crate) struct Hearing<'a> {
    host: &'a Host,
    shelf: &'a Shelf,
    peer: &'a str,
    replica: ReplicaId,
    number: u32,
    /// When everything is to be heard anew, this hearing is over.
    epoch: u64,
    owners: Owners,
    /// Paths that are not accepted from anybody, told once each.
    pub(crate) refused: Vec<RelPath>,
}

impl<'a> Hearing<'a> {
    /// Returns the hearing of `member`, called `peer`, from the `epoch` of `host` in which its cursor was read.
    pub(crate) fn new(host: &'a Host, shelf: &'a Shelf, peer: &'a str, member: &Member, epoch: u64) -> Self {
        let numeric = host.settings.owner != OwnerRule::ByName;
        let owners = Owners::new(numeric, Names::default());
        let (replica, number) = (member.replica, member.number);
        Self { host, shelf, peer, replica, number, epoch, owners, refused: Vec::new() }
    }

    /// Records what is new in `news`: durable when this returns. Returns how many rows wait on account of it, and the
    /// sequence that is heard up to, where a pass ended with it.
    ///
    /// # Errors
    /// A row is none that a peer may send, or the database refuses.
    pub(crate) fn take(&mut self, news: News) -> Result<(u64, Option<u64>), FarError> {
        let News { page, contents, nonce, approved } = news;
        self.owners.learn(page.names);
        for content in contents {
            let row = usize::try_from(content.row).ok().and_then(|row| page.rows.get(row));
            let live = row.and_then(|listed| listed.row.live());
            if let Some(Content::File { digest, size }) = live.map(|live| &live.content.value)
                && u64::try_from(content.bytes.len()).is_ok_and(|length| length == *size)
            {
                self.shelf.put(*digest, content.bytes);
            }
        }
        let held = self.host.replica();
        if self.host.epoch() != self.epoch {
            return Err(FarError::answer(
                self.peer,
                "news that were asked for before all was to be heard anew",
            ));
        }
        let own = page.rows.iter().map(|listed| listed.row.vector.get(held.me)).max().unwrap_or(0);
        if own > held.seq() {
            // Somebody knows of changes of ours that we know nothing of (S10, S20).
            drop(held);
            return Err(self.host.recall(self.peer, own, None).map_or_else(FarError::from, |()| {
                FarError::answer(self.peer, "a change of ours that is none")
            }));
        }
        held.peer.set(self.number);
        let mut waiting = 0;
        held.db.batch(|| {
            self.approve(&held, &approved)?;
            for Listed { path, seq, row } in page.rows {
                let row = kept_ours(held.record(&path)?.as_ref(), self.ours_in(row));
                if path.is_root() {
                    let why = "a row for the root of the folder, which has none".to_owned();
                    return Err(FarError::answer(self.peer, why));
                }
                if self.is_refused(&row) {
                    held.remote().remove(&path)?;
                    self.refused.push(path);
                } else if is_known(&held, &path, &row)? {
                    held.remote().remove(&path)?;
                } else {
                    held.remote().put_numbered(&path, &row, seq)?;
                    waiting += 1;
                }
            }
            if let Some(seq) = page.complete {
                Peers::of(&held.db).put(&Peer { replica: self.replica, cursor: seq, nonce })?;
            }
            Ok(())
        })?;
        Ok((waiting, page.complete))
    }

    /// Lets through what a person on another member let through. Nobody lets its own deletions through.
    fn approve(&self, held: &Replica, told: &[Dot]) -> Result<(), StoreError> {
        let mut approved = Approved::of(held)?;
        let mut is_new = false;
        for dot in told.iter().filter(|dot| dot.replica != self.replica) {
            is_new |= approved.add(*dot);
        }
        if is_new { approved.save(held) } else { Ok(()) }
    }

    /// Returns a row with the owners that it gets here, and without what no member is trusted with.
    fn ours_in(&self, row: Row) -> Row {
        let mut row = self.owners.ours_in(row);
        let owner = |carried: Owner| match (&self.host.settings.owner, &self.host.fixed) {
            (_, Some(fixed)) => fixed.apply(carried, self.owners.system()),
            (OwnerRule::None, None) => self.host.process.owner,
            (_, None) => carried,
        };
        match &mut row.state {
            State::Live(live) => live.owner.value = owner(live.owner.value),
            State::Deleted(stone) => stone.attributes.owner = owner(stone.attributes.owner),
        }
        if self.host.settings.trust_root { row } else { tamed(row) }
    }

    fn is_refused(&self, row: &Row) -> bool {
        let kind = row.live().map(|live| live.content.value.kind());
        let special = kind.is_some_and(|kind| kind.is_device() || kind == Kind::Socket);
        special && !self.host.settings.trust_root
    }
}

/// Returns a row with the owner and the mode that we hold where they are of the same event: what a member could not
/// apply does not come back as a change of it (S2).
fn kept_ours(ours: Option<&Record>, mut row: Row) -> Row {
    if let (Some(ours), State::Live(live)) = (ours.and_then(|ours| ours.row.live()), &mut row.state) {
        if ours.owner.dot == live.owner.dot {
            live.owner.value = ours.owner.value;
        }
        if ours.mode.dot == live.mode.dot {
            live.mode.value = ours.mode.value;
        }
    }
    row
}

/// Whether our row of `path` takes all of `theirs` into account already.
fn is_known(held: &Replica, path: &RelPath, theirs: &Row) -> Result<bool, StoreError> {
    let Some(ours) = held.record(path)? else { return Ok(false) };
    let same_content = || match (ours.row.live(), theirs.live()) {
        (Some(ours), Some(theirs)) => ours.content.value == theirs.content.value,
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    Ok(match theirs.vector.compare(&ours.row.vector) {
        Causality::Before => true,
        // What differs then is how each of us writes its owner, unless a counter was used twice.
        Causality::Equal => same_content() && theirs.losers == ours.row.losers,
        Causality::After | Causality::Concurrent => false,
    })
}
