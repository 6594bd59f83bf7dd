//! Compares a root with what is recorded of it, and changes neither.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use crate::disk::root::Root;
use crate::engine::error::EngineError;
use crate::engine::home::home;
use crate::engine::item;
use crate::engine::observe::{Watching, observe};
use crate::engine::replica::Replica;
use crate::engine::report::{Item, Skipped};
use crate::engine::state::sparing_state;
use crate::model::path::RelPath;
use crate::model::row::{Live, State};
use crate::rules::conflict::Side;
use crate::rules::scope::Scope;
use crate::store::meta::{self, Meta};

/// Rows read at a time.
const PAGE: usize = 1000;
/// Threads that list and read.
const THREADS: usize = 2;

/// How a root differs from what is recorded of it.
#[derive(Debug, Default)]
pub struct Differences {
    /// One line for each path that differs, in path order.
    pub items: Vec<Item>,
    /// Paths of which nothing could be said.
    pub skipped: Vec<Skipped>,
}

/// Returns how the root at `path` differs from what was recorded when it was last synchronised. With `deep`, every
/// file is read, so that a content that changed behind its stamps is found.
///
/// # Errors
/// The root or its state cannot be read.
pub fn verify(
    state: &Path,
    path: &Path,
    deep: bool,
    devices: bool,
    scope: &Arc<Scope>,
) -> Result<Differences, EngineError> {
    let home = home(path)?;
    let mut differences = Differences::default();
    let Some((db, database)) = home.open(state)?.into_iter().zip(home.databases.iter().copied()).next()
    else {
        return Ok(differences);
    };
    let root =
        Root::open(&home.root).map_err(|source| EngineError::Root { path: home.root.clone(), source })?;
    let scope = sparing_state(scope, state, &[&root]);
    let known = Meta::of(&db);
    let seq = known.get(meta::SEQUENCE)?.unwrap_or(0);
    let me = known.get(meta::REPLICA)?.ok_or_else(|| EngineError::Unknown {
        what: format!("nothing is recorded of {} yet", home.root.display()),
        fix: "run csync sync once",
    })?;
    let side =
        if known.get(meta::SIDE)?.as_deref() == Some(Side::Two.label()) { Side::Two } else { Side::One };
    let root_id = known.get(meta::ROOT_ID)?.unwrap_or_default();
    let replica = Replica {
        peer: Cell::new(0),
        side,
        name: side.label().to_owned(),
        root: Arc::new(root),
        private: None,
        db,
        database,
        me,
        root_id,
        no_deletes: false,
        batch: String::new(),
        seq: Cell::new(seq),
        lock: None,
    };
    let sight = observe(&replica, &Watching { scope, checksum: deep, devices, threads: THREADS })?;
    differences.skipped = sight.skipped;
    list(&replica, seq, &home.path, &mut differences)?;
    Ok(differences)
}

/// Lists what was recorded after `seq`, at and below `top`.
fn list(
    replica: &Replica,
    seq: u64,
    top: &RelPath,
    differences: &mut Differences,
) -> Result<(), EngineError> {
    let mut last: Option<RelPath> = None;
    loop {
        let page = replica.index().changed_since(seq, last.as_ref(), PAGE)?;
        let wanted = page.iter().filter(|(at, _)| top.is_root() || at == top || at.is_below(top));
        differences.items.extend(wanted.map(|(at, record)| match &record.row.state {
            State::Deleted(stone) => item::deleting(at, stone.content.is_dir()),
            State::Live(live) => {
                let dir = live.content.value.is_dir();
                Item { code: code(live, seq), path: at.clone(), dir, suffix: Vec::new() }
            }
        }));
        match page.last() {
            Some((at, _)) if page.len() == PAGE => last = Some(at.clone()),
            Some(_) | None => return Ok(()),
        }
    }
}

/// Returns the eleven characters of what changed after `seq`.
fn code(live: &Live, seq: u64) -> String {
    let flag = |dot: crate::model::version::Dot, letter: char| if dot.counter > seq { letter } else { '.' };
    let letter = live.content.value.kind().letter();
    let is_new =
        [live.content.dot, live.mode.dot, live.owner.dot, live.mtime.dot].iter().all(|dot| dot.counter > seq);
    if is_new {
        return format!(">{letter}+++++++++");
    }
    let verb = if live.content.dot.counter > seq { '>' } else { '.' };
    let (content, time) = (flag(live.content.dot, 'c'), flag(live.mtime.dot, 't'));
    let (mode, owner) = (flag(live.mode.dot, 'p'), flag(live.owner.dot, 'o'));
    format!("{verb}{letter}{content}.{time}{mode}{owner}....")
}
