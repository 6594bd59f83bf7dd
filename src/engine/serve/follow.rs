//! Tells another member what is recorded here, as it is recorded.

use std::io::Read as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::engine::host::Host;
use crate::engine::member::approved::Approved;
use crate::engine::replica::Replica;
use crate::engine::serve::error::ServeError;
use crate::engine::serve::names::Told;
use crate::engine::serve::visit::Visit;
use crate::model::entry::Content;
use crate::model::path::RelPath;
use crate::model::row::Record;
use crate::store::error::StoreError;
use crate::transport::channel::Channel;
use crate::transport::member::{Follow, INLINE_BYTES_MAX, Inline};
use crate::transport::message::{Listed, Message, News, PAGE_ROWS_MAX, Page};
use crate::transport::weight;

/// How often whoever waits for news looks whether anybody still listens.
const PAUSE: Duration = Duration::from_secs(60);
/// From so many deletions on ...
const DELETES_MIN: usize = 20;
/// ... it is waited so long for more of them, so that the followers judge the whole (S14).
const DELETES_PAUSE: Duration = Duration::from_secs(1);
/// Contents that come along with one page, in bytes.
const INLINE_BYTES: usize = 256 << 10;

/// Sends all rows recorded above what `follow` says, and then those that come, until the stream or the folder ends.
///
/// The index is held for one page at a time. What changes while the pages of one pass go out has a number above the
/// one that its last page names, and comes with the next pass. A row is told only when it is durable here.
pub(crate) fn answer(visit: &Visit, channel: &mut Channel, follow: &Follow) -> Result<(), ServeError> {
    if visit.member.is_none() {
        return Err(ServeError::Protocol("a stream of news for one who is no member"));
    }
    let (host, mut told) = (&visit.host, Told::default());
    let nonce = host.nonce()?;
    let (mut since, mut approved) = (follow.since, Approved::default());
    // Also where somebody else has the replica for long: who hears nothing takes us for gone.
    let _working = channel.herald()?;
    loop {
        if since > 0 && deletes(&host.replica(), since)? >= DELETES_MIN {
            host.rest(DELETES_PAUSE, &visit.ended);
        }
        since = pass(host, channel, (&mut told, nonce), &mut approved, since)?;
        while !host.wait_beyond(since, PAUSE, &visit.ended) {
            if visit.ended.load(Ordering::Acquire) {
                return Ok(());
            }
        }
    }
}

/// Returns how many deletions, renames not counted, are among the first rows recorded above `since`.
fn deletes(replica: &Replica, since: u64) -> Result<usize, StoreError> {
    let first = replica.index().changed_since(since, None, PAGE_ROWS_MAX)?;
    let stones = first.iter().filter_map(|(_, record)| record.row.tombstone());
    Ok(stones.filter(|stone| stone.moved_to.is_none()).count())
}

/// Sends what was recorded above `since`; returns the sequence up to which that is all. What a person let through goes
/// before the rows that it is about, where it is not what was `approved` when it was last told.
fn pass(
    host: &Host,
    channel: &mut Channel,
    (told, nonce): (&mut Told, Option<[u8; 16]>),
    approved: &mut Approved,
    since: u64,
) -> Result<u64, ServeError> {
    let (upto, now) = {
        let held = host.replica();
        (held.seq(), Approved::of(&held)?)
    };
    let mut fresh = if now == *approved { Vec::new() } else { now.dots() };
    *approved = now;
    let mut after: Option<RelPath> = None;
    loop {
        let (found, whole) = page(&host.replica(), since, after.as_ref())?;
        after = found.last().map(|(path, _)| path.clone());
        let contents = if since == 0 { Vec::new() } else { small(host, since, &found) };
        let rows: Vec<Listed> =
            found.into_iter().map(|(path, Record { seq, row, .. })| Listed { path, seq, row }).collect();
        let names = told.news(rows.iter().map(|listed| &listed.row));
        let page = Page { rows, names, complete: whole.then_some(upto) };
        let (nonce, approved) = (nonce.filter(|_| whole), std::mem::take(&mut fresh));
        channel.send(&Message::News(News { page, contents, nonce, approved }))?;
        if whole {
            return Ok(upto);
        }
    }
}

/// Returns the next rows, and whether they are the last.
fn page(
    replica: &Replica,
    since: u64,
    after: Option<&RelPath>,
) -> Result<(Vec<(RelPath, Record)>, bool), StoreError> {
    let index = replica.index();
    let mut found = if since == 0 {
        index.page(after, None, PAGE_ROWS_MAX)?
    } else {
        index.changed_since(since, after, PAGE_ROWS_MAX)?
    };
    let mut whole = found.len() < PAGE_ROWS_MAX;
    let mut weight = 0;
    let fits = found.iter().take_while(|(path, record)| {
        weight += weight::of_listed(&Listed { path: path.clone(), seq: record.seq, row: record.row.clone() });
        weight <= weight::MESSAGE_BYTES
    });
    // One that is heavier by itself still fits into a frame.
    let fits = fits.count().max(1);
    if fits < found.len() {
        found.truncate(fits);
        whole = false;
    }
    Ok((found, whole))
}

/// Returns the contents among `found` that are small, new since `since`, and written here: others bring their own.
fn small(host: &Host, since: u64, found: &[(RelPath, Record)]) -> Vec<Inline> {
    let me = host.replica().me;
    let (mut contents, mut bytes_all) = (Vec::new(), 0);
    for (row, (path, record)) in (0u32..).zip(found) {
        let (Some(live), Some(seen)) = (record.row.live(), record.seen) else { continue };
        let Content::File { size, .. } = live.content.value else { continue };
        let dot = live.content.dot;
        let length = usize::try_from(size).unwrap_or(usize::MAX);
        if dot.replica != me
            || dot.counter <= since
            || length > INLINE_BYTES_MAX
            || bytes_all + length > INLINE_BYTES
        {
            continue;
        }
        let Ok((file, stat)) = host.root.open_file(path) else { continue };
        let mut bytes = Vec::with_capacity(length);
        // What changed meanwhile is announced by itself; until then the follower asks for it and is told so.
        let read = file.take(size + 1).read_to_end(&mut bytes);
        if read.is_ok_and(|read| read == length) && stat.same_bytes(&seen.stat) {
            bytes_all += length;
            contents.push(Inline { row, bytes });
        }
    }
    contents
}
