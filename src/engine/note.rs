//! Writes down what a person may ask for later: kept versions, open conflicts.

use crate::disk::clock;
use crate::disk::kept::KeptAt;
use crate::engine::error::EngineError;
use crate::engine::replica::Replica;
use crate::engine::report::{MadeConflict, Report};
use crate::model::entry::{Content, Digest};
use crate::model::path::RelPath;
use crate::model::row::{Live, Loser, Row, Stamped};
use crate::model::version::Dot;
use crate::plan::decide::{Decider, Settled, Source, Step};
use crate::plan::merge::conflict_id;
use crate::rules::conflict::Policy;
use crate::store::conflicts::{Conflict, Conflicts, Side};
use crate::store::db::Database;
use crate::store::error::StoreError;
use crate::store::members::Members;
use crate::store::versions::{Version, Versions};

/// Hexadecimal digits of an id that is shown.
const ID_DIGITS: usize = 8;
/// Longest id that is tried where shorter ones are taken.
const ID_DIGITS_MAX: usize = 32;

/// Adds what was kept of `path`, where `row` of `by` stands now, to the catalogue.
///
/// # Errors
/// The database refuses.
pub fn version(
    me: &Replica,
    by: &str,
    path: &RelPath,
    kept: &KeptAt,
    content: &Content,
    row: &Row,
) -> Result<(), EngineError> {
    let lost = row.losers.iter().find(|loser| loser.content == *content);
    let why = match (row.live(), lost) {
        (Some(live), Some(lost)) => format!("lost conflict {}", shown_id(path, &as_entry(live), lost)),
        (Some(_), None) => "overwritten".to_owned(),
        (None, _) => "deleted".to_owned(),
    };
    let digest = matches!(content, Content::File { .. }).then(|| content.digest());
    catalogue(&me.db, by, path, kept, digest, &why)
}

/// Adds what was found displaced after a stop to the catalogue.
///
/// # Errors
/// The database refuses.
pub fn recovered(me: &Replica, by: &str, path: &RelPath, kept: &KeptAt) -> Result<(), EngineError> {
    catalogue(&me.db, by, path, kept, None, "found after a stop")
}

/// Adds an old content to a catalogue, under the shortest id that is free.
///
/// # Errors
/// The database refuses.
pub fn catalogue(
    db: &Database,
    by: &str,
    path: &RelPath,
    kept: &KeptAt,
    digest: Option<Digest>,
    why: &str,
) -> Result<(), EngineError> {
    let id = Digest::of(&[&kept.batch[..], b"\0", kept.path.as_bytes()].concat()).to_string();
    let mut version = Version {
        id: String::new(),
        path: path.clone(),
        batch: String::from_utf8_lossy(&kept.batch).into_owned(),
        place: kept.path.clone(),
        replaced: clock::now(),
        kind: kept.stat.kind,
        size: kept.stat.size,
        digest,
        attributes: kept.stat.attributes,
        by: by.to_owned(),
        why: why.to_owned(),
    };
    for digits in ID_DIGITS..=ID_DIGITS_MAX {
        id[..digits].clone_into(&mut version.id);
        if Versions::of(db).add(&version)? {
            break;
        }
    }
    Ok(())
}

/// Brings the list of conflicts of `path` in line with the losers that `row` names. Returns the new ones, which are
/// told in the report.
///
/// # Errors
/// The database refuses.
pub fn conflicts(
    me: &Replica,
    by: &str,
    path: &RelPath,
    row: &Row,
    report: &mut Report,
) -> Result<Vec<Loser>, EngineError> {
    let table = Conflicts::of(&me.db);
    let known = table.at(path)?;
    for conflict in known.iter().filter(|conflict| !conflict.resolved) {
        if !row.losers.iter().any(|loser| loser.dot == conflict.loser.entry.dot) {
            table.close(conflict.id)?;
        }
    }
    let mut new = Vec::new();
    for loser in &row.losers {
        if known.iter().any(|conflict| conflict.loser.entry.dot == loser.dot) {
            continue;
        }
        let winner = row.live().map_or_else(|| loser.clone(), as_entry);
        add(me, by, path, winner, loser.clone(), true, report)?;
        new.push(loser.clone());
    }
    Ok(new)
}

/// Lists a conflict that a person shall decide, unless it is listed.
///
/// # Errors
/// The database refuses.
pub fn undecided(
    me: &Replica,
    by: &str,
    path: &RelPath,
    theirs: &Row,
    report: &mut Report,
) -> Result<(), EngineError> {
    let ours = me.record(path)?;
    let losers = ours.as_ref().map_or(&[][..], |ours| &ours.row.losers);
    let (Some(ours), Some(theirs)) = (ours.as_ref().and_then(|ours| ours.row.live()), theirs.live()) else {
        return Ok(());
    };
    let id = conflict_id(path, &ours.content, &theirs.content);
    let table = Conflicts::of(&me.db);
    let known = table.at(path)?;
    // What one side had before it was edited again is no side any more.
    let is_past = |conflict: &&Conflict| {
        !conflict.resolved
            && conflict.id != id
            && !losers.iter().any(|one| one.dot == conflict.loser.entry.dot)
    };
    known.iter().filter(is_past).try_for_each(|conflict| table.close(conflict.id).map(drop))?;
    if known.iter().any(|conflict| conflict.id == id) {
        return Ok(());
    }
    add(me, by, path, as_entry(ours), as_entry(theirs), false, report)
}

fn add(
    me: &Replica,
    by: &str,
    path: &RelPath,
    winner: Loser,
    loser: Loser,
    decided: bool,
    report: &mut Report,
) -> Result<(), EngineError> {
    let id = id(path, &winner, &loser);
    let side = |entry: Loser| label(me, by, entry.dot).map(|peer| Side { peer, entry });
    let (winner, loser) = (side(winner)?, side(loser)?);
    let shown = id.to_string()[..ID_DIGITS].to_owned();
    if !report.conflicts.iter().any(|made| made.id == shown) {
        let note = if decided {
            format!("{} stays, {} is kept", winner.peer, loser.peer)
        } else {
            "each side keeps its own until it is resolved".to_owned()
        };
        report.conflicts.push(MadeConflict { id: shown, path: path.clone(), note });
    }
    let conflict = Conflict { id, path: path.clone(), winner, loser, since: clock::now(), resolved: false };
    Ok(Conflicts::of(&me.db).put(&conflict)?)
}

/// Returns the name of the conflict between two contents of `path`.
pub(crate) fn id(path: &RelPath, one: &Loser, two: &Loser) -> Digest {
    let stamped = |entry: &Loser| Stamped { value: entry.content.clone(), dot: entry.dot };
    conflict_id(path, &stamped(one), &stamped(two))
}

fn shown_id(path: &RelPath, one: &Loser, two: &Loser) -> String {
    id(path, one, two).to_string()[..ID_DIGITS].to_owned()
}

/// Who wrote a content, as far as is known: ids of earlier states of a replica are nobody's now.
pub(crate) fn label(me: &Replica, by: &str, dot: Dot) -> Result<String, StoreError> {
    if dot.replica == me.me {
        return Ok(me.name.clone());
    }
    Ok(Members::of(&me.db).name(dot.replica)?.unwrap_or_else(|| by.to_owned()))
}

/// Returns a live content as one side of a conflict.
pub(crate) fn as_entry(live: &Live) -> Loser {
    Loser {
        dot: live.content.dot,
        content: live.content.value.clone(),
        attributes: live.attributes(),
        path: None,
    }
}

/// Takes from the open conflicts what the policy has settled for good: under `copy` each loser gets a path of its own
/// beside the winner; under `prefer` it is a version and nothing else. Elsewhere changes nothing.
///
/// The name of a copy is made of the loser's digest, so that all replicas make the same file (R22).
#[must_use]
pub fn place_losers(me: &Replica, decider: Decider, mut settled: Vec<Settled>, next: u64) -> Vec<Settled> {
    if matches!(decider.policy, Policy::Prefer(_)) {
        for Settled { row, lost, .. } in &mut settled {
            row.losers.retain(|loser| lost.as_ref().is_none_or(|lost| lost.dot != loser.dot));
        }
    }
    if decider.policy != Policy::Copy {
        return settled;
    }
    let mut placed = Vec::with_capacity(settled.len());
    for mut one in settled {
        let number = next + u64::try_from(placed.len()).unwrap_or(u64::MAX);
        if let Some(lost) = one.lost.take_if(|lost| !lost.content.is_dir())
            && let Some(beside) = beside(&one.path, &lost)
        {
            one.row.losers.retain(|loser| loser.dot != lost.dot);
            let dot = Dot { replica: me.me, counter: number };
            let live = Live::new(lost.content.clone(), lost.attributes, dot, decider.now);
            let from = lost.path.clone().unwrap_or_else(|| one.path.clone());
            let is_ours = matches!(one.step, Step::Replace(_)) && lost.path.is_none();
            let source = if is_ours { Source::Ours(from) } else { Source::Peer(from) };
            let vector = crate::model::version::VersionVector::of(dot);
            let row = Row { vector, state: crate::model::row::State::Live(live), losers: Vec::new() };
            placed.push(Settled { path: beside, row, step: Step::Create(source), lost: None });
        }
        placed.push(one);
    }
    placed
}

/// Returns the name that a loser gets beside the winner: `dir/name.ext` becomes `dir/name.conflict-DIGEST.ext`.
pub fn beside(path: &RelPath, lost: &Loser) -> Option<RelPath> {
    let name = path.name();
    let dot = name.iter().rposition(|b| *b == b'.').filter(|at| *at > 0).unwrap_or(name.len());
    let mark = format!(".conflict-{}", &lost.content.digest().to_string()[..ID_DIGITS]);
    let name = [&name[..dot], mark.as_bytes(), &name[dot..]].concat();
    path.parent()?.join(&name).ok()
}
