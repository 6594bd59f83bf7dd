//! One whole two-way run, top to bottom. Read this file first.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::disk::attributes::is_superuser;
use crate::disk::clock;
use crate::engine::error::EngineError;
use crate::engine::item;
use crate::engine::note;
use crate::engine::observe::{Sight, Watching, observe};
use crate::engine::options::{MaxDelete, Options};
use crate::engine::pair;
use crate::engine::pull::{Guard, Part, Taking, pull};
use crate::engine::receive::{overrule, receive};
use crate::engine::recover::recover;
use crate::engine::replica::Replica;
use crate::engine::report::{Observer, Report, Tally, seconds_between};
use crate::engine::site::Opening;
use crate::engine::state::{set_aside, sparing_state};
use crate::model::path::RelPath;
use crate::model::version::ReplicaId;
use crate::plan::decide::Decider;
use crate::plan::guard::Limit;
use crate::rules::conflict::{Policy, Side};
use crate::rules::scope::Scope;
use crate::store::conflicts::Conflicts;
use crate::store::error::StoreError;
use crate::store::peer::{Peer, Peers};

/// Threads that list and read one root.
const THREADS: usize = 2;
/// Exchanges after which a run ends even if there is more to say; the next one goes on.
const ROUNDS_MAX: usize = 4;

/// What a two-way run is told.
pub struct Job<'a> {
    /// The first root.
    pub first: &'a Path,
    /// The second root.
    pub second: &'a Path,
    /// The state directory.
    pub state: &'a Path,
    /// The flags.
    pub options: &'a Options,
    /// The filter rules, for both roots.
    pub scope: Arc<Scope>,
}

/// Keeps two roots the same: looks at both, tells each what the other has, and lets each take it.
///
/// What holds after an undisturbed run: both trees are equal in what is tracked, nothing that either held is lost
/// (what lost is in the version store), and a second run changes nothing. A run that is stopped at any moment leaves
/// both trees whole; the next one goes on.
///
/// # Errors
/// The pair cannot be opened, or a database fails. What fails on one path is in the report.
pub fn sync(job: &Job<'_>, observer: &mut dyn Observer) -> Result<Report, EngineError> {
    match run(job, observer) {
        // Damage that shows only now. What was done is done, and seen by the run that begins anew.
        Err(EngineError::Store(StoreError::Corrupt { path, detail })) if !job.options.dry_run => {
            set_aside(&path, &detail, clock::now(), &mut |text| observer.warning(&text))?;
            run(job, observer)
        }
        outcome => outcome,
    }
}

fn run(job: &Job<'_>, observer: &mut dyn Observer) -> Result<Report, EngineError> {
    let begun = clock::now();
    let mut report = Report::default();
    let options = job.options;
    let opening = Opening { state: job.state, rehearsal: options.dry_run, force: options.force };
    let (mut one, mut two) = pair::open(job.first, job.second, opening, &mut |text| {
        observer.warning(&text);
    })?;
    for (own, other) in [(&one, &two), (&two, &one)] {
        recover(own, other.side.label())?;
    }
    let scope = sparing_state(&job.scope, job.state, &[&one.root, &two.root]);
    let sights = look(&mut one, &mut two, options, &scope)?;
    for (replica, peer, sight) in [(&one, &two, &sights.0), (&two, &one, &sights.1)] {
        account(replica, (peer.me, peer.side.label()), sight, observer, &mut report)?;
    }
    let made_before = report.conflicts.len();
    exchange(&one, &two, options, &scope, observer, &mut report)?;
    for made in &report.conflicts[made_before..] {
        observer.item(&item::conflict(&made.path, &format!("{}; conflict {}", made.note, made.id)));
    }
    let open = Conflicts::of(&one.db).open()?.len().max(Conflicts::of(&two.db).open()?.len());
    report.conflicts_open = u64::try_from(open.saturating_sub(report.conflicts.len())).unwrap_or(u64::MAX);
    let mut told = BTreeSet::new();
    report.skipped.retain(|one| told.insert(one.path.clone()));
    one.close()?;
    two.close()?;
    report.seconds = seconds_between(begun, clock::now());
    Ok(report)
}

/// Lets both replicas tell each other what they recorded, and take it, until neither has anything new to say.
fn exchange(
    one: &Replica,
    two: &Replica,
    options: &Options,
    scope: &Arc<Scope>,
    observer: &mut dyn Observer,
    report: &mut Report,
) -> Result<(), EngineError> {
    if let Some(side) = options.force {
        let (winner, loser) = if side == Side::One { (one, two) } else { (two, one) };
        receive(winner, loser)?;
        overrule(winner)?;
    }
    for _ in 0..ROUNDS_MAX {
        let before = (one.seq(), two.seq());
        for (me, peer) in [(one, two), (two, one)] {
            receive(me, peer)?;
            let decider = Decider { me: me.me, side: me.side, policy: options.conflict, now: clock::now() };
            let (guard, scope) = (Guard::Ask(limit(options), 0), Some(Arc::clone(scope)));
            pull(
                me,
                peer.side.label(),
                peer,
                Taking {
                    decider,
                    guard,
                    scope,
                    part: Part::All,
                    observer: &mut *observer,
                    report: &mut *report,
                },
            )?;
        }
        receive(one, two)?;
        if (one.seq(), two.seq()) == before || one.remote().count()? == 0 {
            break;
        }
    }
    Ok(())
}

/// Carries what was recorded of one path from the first side to the second.
///
/// # Errors
/// A database refuses.
pub fn carry(
    one: &Replica,
    two: &Replica,
    path: &RelPath,
    observer: &mut dyn Observer,
    report: &mut Report,
) -> Result<(), EngineError> {
    receive(two, one)?;
    let decider = Decider { me: two.me, side: two.side, policy: Policy::default(), now: clock::now() };
    pull(
        two,
        one.side.label(),
        one,
        Taking { decider, guard: Guard::Passed, scope: None, part: Part::One(path), observer, report },
    )?;
    receive(one, two)
}

/// Returns how the roots of a run are looked at.
pub(crate) fn watching(options: &Options, scope: &Arc<Scope>) -> Watching {
    Watching {
        scope: Arc::clone(scope),
        checksum: options.select.checksum,
        devices: options.preserve.devices && is_superuser(),
        threads: THREADS,
    }
}

/// Looks at both roots at the same time.
fn look(
    one: &mut Replica,
    two: &mut Replica,
    options: &Options,
    scope: &Arc<Scope>,
) -> Result<(Sight, Sight), EngineError> {
    let watching = &watching(options, scope);
    let (first, second) = std::thread::scope(|scope| {
        let second = scope.spawn(move || observe(two, watching));
        let first = observe(one, watching);
        (first, second.join())
    });
    // A panic in one look is a panic of the run.
    let second = second.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    Ok((first?, second?))
}

/// Takes into account what a look found, and what it could not see. The other side is the replica `other`, for people
/// `by`.
pub(crate) fn account(
    replica: &Replica,
    (other, by): (ReplicaId, &str),
    sight: &Sight,
    observer: &mut dyn Observer,
    report: &mut Report,
) -> Result<(), EngineError> {
    for path in &sight.passed_over {
        observer.warning(&format!("left alone: {path}: a socket, a device or another file system"));
    }
    if sight.unproven > 0 {
        let (gone, root) = (sight.unproven, replica.root.path().display());
        observer.warning(&format!(
            "{gone} entries of {root} are gone, but not all of it could be read; nothing counts as deleted until it can"
        ));
    }
    for path in &sight.adopted {
        if let Some(record) = replica.record(path)? {
            note::conflicts(replica, by, path, &record.row, report)?;
        }
    }
    if sight.forgot {
        // What was dropped without a tombstone may be had from the peer again, now or when it is included again.
        let peers = Peers::of(&replica.db);
        let nonce = peers.get(other)?.and_then(|known| known.nonce);
        replica.db.batch(|| peers.put(&Peer { replica: other, cursor: 0, nonce }))?;
    }
    let seen = &mut report.seen;
    let Tally { files, dirs, links, devices, specials } = sight.seen;
    *seen = Tally {
        files: seen.files + files,
        dirs: seen.dirs + dirs,
        links: seen.links + links,
        devices: seen.devices + devices,
        specials: seen.specials + specials,
    };
    report.bytes_total += sight.bytes_total;
    report.troubles.partial |= !sight.skipped.is_empty();
    report.troubles.vanished |= sight.vanished;
    report.skipped.extend(sight.skipped.iter().cloned());
    Ok(())
}

/// Returns the bound of deletions that the flags of a run ask for.
pub(crate) fn limit(options: &Options) -> Limit {
    match options.removal.max_delete {
        _ if options.removal.yes => Limit::Approved,
        None => Limit::Formula,
        Some(MaxDelete::Count(count)) => Limit::Count(count),
        Some(MaxDelete::Percent(percent)) => Limit::Percent(percent),
    }
}
