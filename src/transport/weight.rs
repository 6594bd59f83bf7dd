//! How large things become in a message, so that whoever fills one knows when it is full.
//!
//! All are upper bounds, without what compression and shared beginnings save.

use crate::model::entry::Content;
use crate::model::path::RelPath;
use crate::model::row::{Row, State};
use crate::model::version::VersionVector;
use crate::transport::message::{Act, Item, Listed, Names, Step, StepResult};

/// Close a message before it weighs more than this. One thing that is heavier by itself still fits into a frame.
pub const MESSAGE_BYTES: usize = 512 << 10;

/// A replica in the table, its place, and a counter.
const DOT: usize = 30;
const NUMBER: usize = 9;
const TIME: usize = 16;
const ATTRIBUTES: usize = 32;

/// Returns the weight of a row in a page.
#[must_use]
pub fn of_listed(listed: &Listed) -> usize {
    4 + NUMBER + of_path(&listed.path) + of_row(&listed.row)
}

/// Returns the weight of names beside rows or steps.
#[must_use]
pub fn of_names(names: &Names) -> usize {
    names.users.iter().chain(&names.groups).map(|(_, name)| 10 + name.len()).sum()
}

/// Returns the weight of a content that is asked for.
#[must_use]
pub fn of_item(item: &Item) -> usize {
    2 + NUMBER + of_path(&item.path)
}

/// Returns the weight of a step in a change.
#[must_use]
pub fn of_step(step: &Step) -> usize {
    let act = match &step.act {
        Act::Make { content, from, .. } => {
            ATTRIBUTES + of_content(content) + from.as_ref().map_or(0, of_path)
        }
        Act::Dress { .. } => ATTRIBUTES,
        Act::Remove { moved_to } => moved_to.as_ref().map_or(0, of_path),
    };
    8 + NUMBER + of_path(&step.path) + act
}

/// Returns the weight of a result in an outcome.
#[must_use]
pub fn of_result(result: &StepResult) -> usize {
    4 + match result {
        StepResult::Done { row, .. } | StepResult::Changed { now: Some((_, row)) } => NUMBER + of_row(row),
        StepResult::Changed { now: None } => 0,
        StepResult::Refused(refuse) => 12 + refuse.text.len(),
    }
}

fn of_path(path: &RelPath) -> usize {
    10 + path.as_bytes().len()
}

fn of_vector(vector: &VersionVector) -> usize {
    4 + DOT * vector.slots().len()
}

fn of_content(content: &Content) -> usize {
    match content {
        Content::Symlink(target) => 6 + target.len(),
        Content::File { .. } => 48,
        Content::Dir | Content::Fifo | Content::Socket | Content::Device { .. } => 12,
    }
}

fn of_row(row: &Row) -> usize {
    let state = match &row.state {
        State::Live(live) => {
            let origin = live.moved_from.as_ref();
            let moved = origin.map_or(0, |origin| 2 + of_path(&origin.path) + of_vector(&origin.vector));
            8 + 4 * DOT + of_content(&live.content.value) + TIME + ATTRIBUTES + moved
        }
        State::Deleted(tombstone) => {
            let moved = tombstone.moved_to.as_ref().map_or(0, of_path);
            8 + DOT + TIME + of_content(&tombstone.content) + ATTRIBUTES + moved
        }
    };
    let losers = row.losers.iter().map(|loser| {
        4 + DOT + of_content(&loser.content) + ATTRIBUTES + loser.path.as_ref().map_or(0, of_path)
    });
    8 + of_vector(&row.vector) + state + losers.sum::<usize>()
}
