//! Hears what is recorded in the folder of a peer, page by page; a listing that breaks off is gone on with (S7).

use std::sync::atomic::Ordering;

use crate::engine::far::cache::Progress;
use crate::engine::far::error::{FarError, unexpected};
use crate::engine::far::folder::Far;
use crate::engine::far::ration::Ration;
use crate::fault::{self, Point};
use crate::model::path::RelPath;
use crate::store::error::StoreError;
use crate::transport::message::{List, Listed, Message, Page};

impl Far {
    /// Asks for all rows that are new since the folder was last heard of, and remembers them.
    ///
    /// A listing that broke off goes on behind its last path. It is complete up to where the peer was when it began,
    /// so what changed since then is asked for after it.
    ///
    /// # Errors
    /// The peer refuses, the connection fails, or what is remembered cannot be stored.
    pub fn refresh(&self) -> Result<(), FarError> {
        let since = self.cache().cursor()?;
        let broken_off = self.cache().listed()?.filter(|listed| listed.since == since);
        if let Some(Progress { start, last, .. }) = broken_off {
            self.list(since, Some(start), Some(last))?;
            self.cache().complete(start)?;
        }
        let since = self.cache().cursor()?;
        if since > 0 && since == self.opened.seq && self.tickets.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        let seq = self.list(since, Some(self.opened.seq.max(since)), None)?;
        Ok(self.cache().complete(seq)?)
    }

    /// Asks for all rows numbered above `since` once more, those of what was deleted among them.
    ///
    /// # Errors
    /// As for [`refresh`](Self::refresh).
    pub fn list_since(&self, since: u64) -> Result<(), FarError> {
        let seq = self.list(since, None, None)?;
        Ok(self.cache().complete(seq)?)
    }

    /// Asks for the rows numbered above `since`, those behind `after`. Returns the peer's sequence before it answered.
    /// With `start`, the one before the listing began, it is noted how far the listing came.
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else comes is out of turn")]
    fn list(&self, since: u64, start: Option<u64>, after: Option<RelPath>) -> Result<u64, FarError> {
        let mut channel = self.link.channel()?;
        let mut ration = Ration::of(&self.opened, since, after.clone());
        channel.send(&Message::List(List { since, below: self.prefix.clone(), after }))?;
        loop {
            match channel.recv()? {
                Message::Working(_) => {}
                Message::Page(page) => {
                    ration.take(&self.peer, &page)?;
                    let complete = page.complete;
                    let come = start.zip(ration.last().cloned()).map(|(start, last)| Progress {
                        since,
                        start,
                        last,
                    });
                    self.take_page(page, come.as_ref())?;
                    if let Some(seq) = complete {
                        return Ok(seq);
                    }
                }
                Message::Refuse(refuse) => return Err(FarError::refused(&self.peer, &refuse)),
                other => return Err(unexpected(&self.peer, &other)),
            }
        }
    }

    /// Remembers a page, and in the same step how far the listing has come with it.
    fn take_page(&self, page: Page, come: Option<&Progress>) -> Result<(), FarError> {
        let mut rows = Vec::with_capacity(page.rows.len());
        for Listed { path, seq, row } in page.rows {
            let within = if path == self.prefix { Some(RelPath::root()) } else { path.strip(&self.prefix) };
            let Some(path) = within else {
                let what = format!("a row for {path}, which was not asked for");
                return Err(FarError::answer(&self.peer, what));
            };
            rows.push(Listed { path, seq, row });
        }
        let cache = self.cache();
        let mut owners = self.owners();
        let has_names = owners.learn(page.names);
        cache.batch(|| {
            rows.into_iter().try_for_each(|listed| cache.put(&listed.path, listed.seq, listed.row))?;
            if has_names {
                // An owner is named once in a listing: without its row nobody names it again.
                cache.set_names(owners.told())?;
            }
            come.map_or(Ok::<(), StoreError>(()), |come| cache.set_listed(come))
        })?;
        fault::pass(Point::WirePage);
        Ok(())
    }
}
