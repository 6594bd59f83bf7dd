//! Answers what is recorded of a folder, page by page, in path order (S7).

use crate::engine::replica::Replica;
use crate::engine::serve::error::ServeError;
use crate::engine::serve::names::Told;
use crate::engine::serve::visit::Visit;
use crate::model::path::RelPath;
use crate::model::row::{Record, Row};
use crate::store::error::StoreError;
use crate::transport::channel::Channel;
use crate::transport::message::{List, Listed, Message, PAGE_ROWS_MAX, Page};

/// Bytes of rows in one page, about; a frame holds more.
const PAGE_BYTES: usize = 512 << 10;

/// Sends the rows that `list` asks for.
///
/// The index is held for one page at a time. What changes while the pages go out has a number above the one that the
/// last page names, and comes with the next listing.
pub(crate) fn answer(visit: &Visit, channel: &mut Channel, list: &List) -> Result<(), ServeError> {
    let complete = visit.host.replica().seq();
    let mut told = Told::default();
    let mut after = list.after.clone();
    if after.is_none() && !list.below.is_root() {
        let itself = visit.host.replica().record(&list.below)?;
        let rows: Vec<Listed> = itself
            .filter(|record| record.seq > list.since && is_asked(list.since, record))
            .map(|record| Listed { path: list.below.clone(), seq: record.seq, row: record.row })
            .into_iter()
            .collect();
        send(channel, &mut told, rows, None)?;
    }
    loop {
        let (rows, next) = page(&visit.host.replica(), list, after.as_ref())?;
        let complete = next.is_none().then_some(complete);
        send(channel, &mut told, rows, complete)?;
        if next.is_none() {
            return Ok(());
        }
        after = next;
    }
}

fn send(
    channel: &mut Channel,
    told: &mut Told,
    rows: Vec<Listed>,
    complete: Option<u64>,
) -> Result<(), ServeError> {
    if rows.is_empty() && complete.is_none() {
        return Ok(());
    }
    let names = told.news(rows.iter().map(|listed| &listed.row));
    Ok(channel.send(&Message::Page(Page { rows, names, complete }))?)
}

/// Returns rows after `after`, and the path to go on from; `None` at the end.
fn page(
    replica: &Replica,
    list: &List,
    after: Option<&RelPath>,
) -> Result<(Vec<Listed>, Option<RelPath>), StoreError> {
    let index = replica.index();
    let found = if list.since == 0 {
        index.page(after, Some(&list.below), PAGE_ROWS_MAX)?
    } else {
        // What lies below a path comes right after it.
        let after = after.unwrap_or(&list.below);
        index.changed_since(list.since, Some(after).filter(|after| !after.is_root()), PAGE_ROWS_MAX)?
    };
    let is_whole = found.len() < PAGE_ROWS_MAX;
    let (mut rows, mut last, mut bytes) = (Vec::new(), None, 0);
    for (path, record) in found {
        if !path.is_below(&list.below) {
            return Ok((rows, None));
        }
        if bytes >= PAGE_BYTES {
            return Ok((rows, last));
        }
        last = Some(path.clone());
        if is_asked(list.since, &record) {
            bytes += size(&path, &record.row);
            rows.push(Listed { path, seq: record.seq, row: record.row });
        }
    }
    Ok((rows, last.filter(|_| !is_whole)))
}

/// Whether a row says something to one who knows everything up to `since`.
fn is_asked(since: u64, record: &Record) -> bool {
    since > 0 || record.row.live().is_some() || !record.row.losers.is_empty()
}

/// About how many bytes a row takes in a page; never much less than it does.
fn size(path: &RelPath, row: &Row) -> usize {
    const FIXED: usize = 256;
    const SLOT: usize = 28;
    const TARGET: usize = 4200;
    let origin = row.live().and_then(|live| live.moved_from.as_ref());
    let slots = row.vector.slots().len() + origin.map_or(0, |origin| origin.vector.slots().len());
    let target =
        row.live().is_some_and(|live| matches!(live.content.value, crate::model::entry::Content::Symlink(_)));
    FIXED
        + 2 * path.as_bytes().len()
        + slots * SLOT
        + row.losers.len() * (FIXED + TARGET)
        + usize::from(target || origin.is_some()) * TARGET
}
