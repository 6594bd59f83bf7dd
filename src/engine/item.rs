//! The itemized lines of a two-way run: rsync's eleven characters, `>` towards the second root, `<` towards the first.

use crate::engine::report::Item;
use crate::model::entry::{Content, Kind};
use crate::model::metadata::{Stat, Timestamp};
use crate::model::path::RelPath;
use crate::model::row::{Live, Row};
use crate::plan::decide::{Settled, Step};
use crate::rules::conflict::Side;

/// Returns the line that tells a step at the root of `side`; `None` where the disk does not change.
#[must_use]
pub fn line(side: Side, settled: &Settled, ours: Option<&Row>) -> Option<Item> {
    let live = settled.row.live();
    let old = ours.and_then(Row::live);
    let code = match (&settled.step, live) {
        (Step::Nothing, _) => return None,
        (Step::Remove, _) => {
            return Some(deleting(&settled.path, old.is_some_and(|old| old.content.value.is_dir())));
        }
        (Step::Create(_), Some(live)) => created(side, live),
        (Step::Replace(_), Some(live)) => match old {
            Some(old) if old.content.value.kind() == live.content.value.kind() => changed(side, old, live),
            Some(_) | None => created(side, live),
        },
        (Step::Adjust, Some(live)) => {
            let kind = live.content.value.kind();
            format!(".{}..{}", kind.letter(), old.map_or_else(String::new, |old| flags(old, live)))
        }
        (Step::Create(_) | Step::Replace(_) | Step::Adjust, None) => return None,
    };
    let suffix = match live.map(|live| &live.content.value) {
        Some(Content::Symlink(target)) => [b" -> ", &target[..]].concat(),
        _ => Vec::new(),
    };
    let dir = live.is_some_and(|live| live.content.value.is_dir());
    Some(Item { code, path: settled.path.clone(), dir, suffix })
}

/// Returns the line of a deletion.
#[must_use]
pub fn deleting(path: &RelPath, dir: bool) -> Item {
    Item { code: "*deleting  ".to_owned(), path: path.clone(), dir, suffix: Vec::new() }
}

/// Returns the line of a conflict.
#[must_use]
pub fn conflict(path: &RelPath, note: &str) -> Item {
    Item {
        code: "*conflict  ".to_owned(),
        path: path.clone(),
        dir: false,
        suffix: format!("  {note}").into_bytes(),
    }
}

/// Returns a stat as it would be, for rows that are only rehearsed.
#[must_use]
pub fn imagined(live: &Live) -> Stat {
    Stat {
        kind: live.content.value.kind(),
        attributes: live.attributes(),
        size: live.content.value.size(),
        ctime: Timestamp::default(),
        ino: 0,
        dev: 0,
        links: 1,
        rdev: 0,
    }
}

fn towards(side: Side, kind: Kind) -> char {
    match (kind, side) {
        (Kind::File, Side::One) => '<',
        (Kind::File, Side::Two) => '>',
        _ => 'c',
    }
}

fn created(side: Side, live: &Live) -> String {
    let kind = live.content.value.kind();
    format!("{}{}+++++++++", towards(side, kind), kind.letter())
}

fn changed(side: Side, old: &Live, new: &Live) -> String {
    let kind = new.content.value.kind();
    let content = if kind == Kind::File { '.' } else { 'c' };
    let size = if old.content.value.size() == new.content.value.size() { '.' } else { 's' };
    format!("{}{}{content}{size}{}", towards(side, kind), kind.letter(), flags(old, new))
}

/// The last seven characters: time, mode, owner, group, and three that csync has no use for.
fn flags(old: &Live, new: &Live) -> String {
    let flag = |on: bool, letter: char| if on { letter } else { '.' };
    let (a, b) = (old.attributes(), new.attributes());
    let time = flag(a.mtime != b.mtime && !new.content.value.is_dir(), 't');
    let mode = flag(a.mode != b.mode && new.content.value.kind() != Kind::Symlink, 'p');
    let (owner, group) = (flag(a.owner.uid != b.owner.uid, 'o'), flag(a.owner.gid != b.owner.gid, 'g'));
    format!("{time}{mode}{owner}{group}...")
}
