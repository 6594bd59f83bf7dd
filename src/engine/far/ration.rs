//! How much a listing may say: no more than the folder was said to hold, and never more than any folder holds. What is
//! remembered of a peer stands on a disk of ours.

use crate::engine::far::error::FarError;
use crate::model::path::RelPath;
use crate::transport::message::{Opened, Page};
use crate::transport::weight::of_listed;

/// Most rows of a listing, whatever was said of the folder.
const ROWS_MAX: u64 = 1 << 26;
/// Most bytes of all rows of a listing.
const BYTES_MAX: u64 = 16 << 30;
/// Rows that may come beyond those that were announced: what is made while a listing goes on, and old conflicts. Also
/// an eighth of all.
const ROWS_BEYOND: u64 = 1 << 16;
/// Bytes of a row on average, at most; that of the deepest tree of many members is a tenth.
const ROW_BYTES: u64 = 8 << 10;

/// One listing as it comes, page by page.
pub(crate) struct Ration {
    rows: u64,
    bytes: u64,
    last: Option<RelPath>,
}

impl Ration {
    /// Returns what a listing of the rows numbered above `since` may say, of a folder that was `opened` so. What was
    /// deleted is told too where `since` is not 0, and each such row has a number of its own. It goes on behind `after`.
    pub(crate) fn of(opened: &Opened, since: u64, after: Option<RelPath>) -> Self {
        let numbered = if since == 0 { 0 } else { opened.seq.saturating_sub(since) };
        let announced = opened.entries.saturating_add(numbered).min(ROWS_MAX);
        let rows = (announced + announced / 8 + ROWS_BEYOND).min(ROWS_MAX);
        Self { rows, bytes: (rows * ROW_BYTES).min(BYTES_MAX), last: after }
    }

    /// Returns the last path that was listed.
    pub(crate) fn last(&self) -> Option<&RelPath> {
        self.last.as_ref()
    }

    /// Takes `page` into account. Within a page the order was checked.
    ///
    /// # Errors
    /// It does not go on after the page before, as it must for the listing to end, or there is too much of it.
    pub(crate) fn take(&mut self, peer: &str, page: &Page) -> Result<(), FarError> {
        let first = page.rows.first().map(|listed| &listed.path);
        let goes_on = if first.is_none() { page.complete.is_some() } else { first > self.last.as_ref() };
        if !goes_on {
            return Err(FarError::answer(peer, "a page that leads nowhere"));
        }
        self.last = page.rows.last().map(|listed| listed.path.clone()).or(self.last.take());
        let weight: usize = page.rows.iter().map(of_listed).sum();
        let left = |had: u64, taken: usize| had.checked_sub(u64::try_from(taken).unwrap_or(u64::MAX));
        match (left(self.rows, page.rows.len()), left(self.bytes, weight)) {
            (Some(rows), Some(bytes)) => (self.rows, self.bytes) = (rows, bytes),
            (None, _) => return Err(FarError::answer(peer, "more entries than it said there are")),
            (_, None) => return Err(FarError::answer(peer, "more of its entries than anybody could need")),
        }
        Ok(())
    }
}
