//! Two-way with the folder of a peer, as its guest (S4): the peer's changes are taken here, ours are asked of it.
//!
//! The index of our root keeps, per path, the peer's row as it was last seen, with a slot of our own only where
//! something changed here since. So the rules that decide between two replicas decide here too, and nothing about us
//! is kept at the peer.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::disk::clock;
use crate::disk::leftover;
use crate::engine::bond::Bond;
use crate::engine::cycle::{account, limit, watching};
use crate::engine::error::EngineError;
use crate::engine::far::error::FarError;
use crate::engine::far::folder::{Far, Known};
use crate::engine::far::send::send;
use crate::engine::far::supply::FarSupply;
use crate::engine::far::told;
use crate::engine::far::unsent::{self, has_set_id, tamed};
use crate::engine::item;
use crate::engine::observe::observe;
use crate::engine::options::Options;
use crate::engine::pull::{Guard, Part, Taking, pull};
use crate::engine::receive::overrule;
use crate::engine::recover::recover;
use crate::engine::replica::Replica;
use crate::engine::report::{Observer, Report, Skipped, seconds_between};
use crate::engine::site::{Opening, Site, canonical};
use crate::engine::standing::standing;
use crate::engine::start::{random, start};
use crate::engine::state::{database_path, sparing_state};
use crate::model::entry::Kind;
use crate::model::path::RelPath;
use crate::model::row::Row;
use crate::model::version::{Dot, VersionVector};
use crate::plan::decide::Decider;
use crate::plan::detect::buried;
use crate::plan::merge::add_loser;
use crate::rules::conflict::Side;
use crate::rules::scope::Scope;
use crate::store::conflicts::Conflicts;
use crate::store::meta;
use crate::store::peer::{Peer, Peers};
use crate::transport::message::Code;

/// Rows read at a time.
const PAGE: usize = 1000;
/// Exchanges after which a run ends even if there is more to say; the next one goes on.
const ROUNDS_MAX: usize = 4;

/// What a two-way run with a peer is told.
pub struct Job<'a> {
    /// Our root.
    pub root: &'a Path,
    /// Which side of the run it is.
    pub side: Side,
    /// The folder, open.
    pub far: &'a Arc<Far>,
    /// What tells the folder apart from all others: the peer's key, the folder, the path in it.
    pub name: &'a str,
    /// The folder as the user wrote it.
    pub shown: &'a str,
    /// The state directory.
    pub state: &'a Path,
    /// The flags.
    pub options: &'a Options,
    /// The filter rules.
    pub scope: Arc<Scope>,
}

/// Keeps our root and the folder of a peer the same: looks at ours, hears of theirs, takes what is new there, and asks
/// the peer to take what is new here.
///
/// What holds after an undisturbed run is what holds after [`cycle::sync`](crate::engine::cycle::sync) of two roots. A
/// run that is stopped, or cut off, is gone on with by the next one.
///
/// # Errors
/// The root cannot be opened, a database fails, or the connection does. What fails on one path is in the report.
pub fn sync(job: &Job<'_>, observer: &mut dyn Observer) -> Result<Report, FarError> {
    let begun = clock::now();
    let mut report = Report::default();
    let options = job.options;
    if !job.far.prefix().is_root() && job.far.stat(&RelPath::root())?.is_none() {
        let text = format!("there is no {} in the folder; push makes it", job.far.prefix());
        return Err(FarError::Refused { peer: job.far.peer().to_owned(), code: Code::Missing, text });
    }
    let me = open(job, observer)?;
    let peer = job.side.other().label();
    recover(&me, peer)?;
    let scope = sparing_state(&job.scope, job.state, &[&me.root]);
    let mut watching = watching(options, &scope);
    // What the peer would not take from us is passed over, as where we may not make it ourselves.
    watching.devices &= job.far.opened().trusted;
    let sight = observe(&me, &watching)?;
    account(&me, (job.far.replica(), peer), &sight, observer, &mut report)?;
    if let Some((path, why)) = told::unread(job.far) {
        report.skipped.push(Skipped { path, why });
        report.troubles.partial = true;
    }
    let made_before = report.conflicts.len();
    exchange(&me, peer, job, &scope, observer, &mut report)?;
    for made in &report.conflicts[made_before..] {
        observer.item(&item::conflict(&made.path, &format!("{}; conflict {}", made.note, made.id)));
    }
    let open = Conflicts::of(&me.db).open()?.len();
    report.conflicts_open = u64::try_from(open.saturating_sub(report.conflicts.len())).unwrap_or(u64::MAX);
    let mut told = BTreeSet::new();
    report.skipped.retain(|one| told.insert(one.path.clone()));
    if !options.dry_run {
        let settled = job.far.settle()?;
        if settled.alone {
            hear_of(&me, job.far, settled.seq)?;
        }
        if let Some(private) = &me.private {
            leftover::clear(private, &job.far.key());
        }
    }
    me.close()?;
    let traffic = job.far.traffic();
    (report.bytes_sent, report.bytes_received) = (traffic.sent, traffic.received);
    report.seconds = seconds_between(begun, clock::now());
    Ok(report)
}

/// Where a root of ours stands to the folder of a peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// Our root.
    pub(crate) root: &'a Path,
    /// What tells the folder apart from all others.
    pub(crate) name: &'a str,
    /// The folder as the user wrote it.
    pub(crate) shown: &'a str,
    /// Which side our root is.
    pub(crate) side: Side,
}

impl Place<'_> {
    /// Opens our root as the guest of the folder.
    ///
    /// # Errors
    /// It is missing, replaced, restored or in use; the state cannot be read.
    pub(crate) fn open(
        &self,
        opening: Opening<'_>,
        warn: &mut dyn FnMut(String),
    ) -> Result<Replica, EngineError> {
        let bond = Bond::Far(self.name, self.side);
        let database = database_path(opening.state, bond.database(&canonical(self.root)));
        let mut site = Site::open(self.root, &database, opening.rehearsal)?;
        let found = standing(&site, bond, opening, warn)?;
        let root_id = match found.root_id {
            Some(id) => id,
            None => random()?,
        };
        start(&mut site, self.side, found, root_id, opening, |known| {
            known.set(meta::FOLDER, &self.name.to_owned())?;
            known.set(meta::PEER_ROOT_PATH, &self.shown.into())
        })
    }
}

/// Opens our root for a run. Where the peer's index was made anew, what we knew of it tells nothing any more.
fn open(job: &Job<'_>, observer: &mut dyn Observer) -> Result<Replica, FarError> {
    let opening = Opening { state: job.state, rehearsal: job.options.dry_run, force: job.options.force };
    let place = Place { root: job.root, name: job.name, shown: job.shown, side: job.side };
    let me = place.open(opening, &mut |text| observer.warning(&text))?;
    let peers = Peers::of(&me.db);
    if peers.get(job.far.replica())?.is_none() && me.index().live_count() > 0 {
        observer.warning(&format!("{} has a new index: this run deletes nothing", job.shown));
        me.db.batch(|| {
            me.index().clear()?;
            me.remote().clear()?;
            peers.forget_others(job.far.replica())
        })?;
    }
    Ok(me)
}

/// Lets both sides tell each other what they recorded, until neither has anything new to say.
fn exchange(
    me: &Replica,
    peer: &str,
    job: &Job<'_>,
    scope: &Arc<Scope>,
    observer: &mut dyn Observer,
    report: &mut Report,
) -> Result<(), FarError> {
    let (far, options) = (job.far, job.options);
    let known = Peers::of(&me.db).get(far.replica())?.map_or(0, |peer| peer.cursor);
    if known > 0 && far.is_fresh() {
        // What was remembered is lost: what was deleted since is not in a listing of what stands.
        far.list_since(known)?;
    }
    receive(me, far, report)?;
    match options.force {
        Some(winner) if winner == me.side => overrule(me)?,
        Some(_) => give_way(me, far)?,
        None => {}
    }
    for _ in 0..ROUNDS_MAX {
        let decider = Decider { me: me.me, side: me.side, policy: options.conflict, now: clock::now() };
        let (guard, scope) = (Guard::Ask(limit(options), 0), Some(Arc::clone(scope)));
        let taking =
            Taking { decider, guard, scope, part: Part::All, observer: &mut *observer, report: &mut *report };
        let supply = FarSupply::new(far);
        pull(me, peer, &supply, taking)?;
        supply.end()?;
        if !send(me, far, options, observer, report)? {
            return Ok(());
        }
        far.refresh()?;
        receive(me, far, report)?;
    }
    Ok(())
}

/// Takes note of what is new at the peer, as [`crate::engine::receive::receive`] does between two roots. Conflicts that
/// are open here stay so until somebody decides: the peer does not know of them.
fn receive(me: &Replica, far: &Far, report: &mut Report) -> Result<(), FarError> {
    let cursor = Peers::of(&me.db).get(far.replica())?.map_or(0, |peer| peer.cursor);
    let (index, remote) = (me.index(), me.remote());
    me.db.batch(|| {
        let mut last: Option<RelPath> = None;
        loop {
            let page = far.changed_since(cursor, last.as_ref(), PAGE)?;
            for (path, Known { row, .. }) in page.iter().cloned() {
                let has_set_id = has_set_id(&row);
                let mut row = tamed(row);
                if path.is_root() {
                    continue;
                }
                if is_refused(&row) {
                    let why = "no peer is trusted with devices and sockets".to_owned();
                    report.skipped.push(Skipped { path, why });
                    continue;
                }
                let ours = index.get(&path)?;
                for loser in ours.iter().flat_map(|ours| &ours.row.losers) {
                    add_loser(&mut row.losers, loser.clone());
                }
                let is_known = ours.is_some_and(|ours| ours.row.vector.covers_all(&row.vector));
                if has_set_id && !is_known {
                    report.untaken.add(&path);
                }
                if is_known { remote.remove(&path)? } else { remote.put(&path, &row)? }
            }
            match page.last() {
                Some((path, _)) if page.len() == PAGE => last = Some(path.clone()),
                Some(_) | None => break,
            }
        }
        hear_of(me, far, far.cursor()?)
    })
}

/// Whether a peer has no business with what a row says: no peer is trusted with devices here.
fn is_refused(row: &Row) -> bool {
    let kind = row.live().map(|live| live.content.value.kind());
    kind.is_some_and(|kind| kind.is_device() || kind == Kind::Socket)
}

/// Notes that everything of the peer up to `seq` is known here.
fn hear_of(me: &Replica, far: &Far, seq: u64) -> Result<(), FarError> {
    Ok(Peers::of(&me.db).put(&Peer { replica: far.replica(), cursor: seq, nonce: None })?)
}

/// Makes everything that the peer holds win over what was changed here and not sent: here it counts as something that
/// is older. What stands here is kept when it is displaced.
fn give_way(me: &Replica, far: &Far) -> Result<(), FarError> {
    let now = me.context().now;
    me.db.batch(|| {
        unsent::each(me, far, |one| {
            let mut record = one.record;
            if let Some(known) = one.known {
                record.row.vector = VersionVector::new();
                me.index().put(&one.path, &record)?;
                me.remote().put(&one.path, &known.row)?;
            } else if let Some(live) = record.row.live() {
                me.advance(1);
                let dot = Dot { replica: me.me, counter: me.seq() };
                me.remote().put(&one.path, &buried(&record.row, live, dot, now))?;
            }
            Ok(())
        })?;
        Ok(me.save_seq()?)
    })
}
