//! Gives contents as they were listed: never by digest alone, and never what is not recorded here.

use std::sync::Arc;

use crate::engine::far::give::{Offer, Offered, give};
use crate::engine::far::offer::{Files, Seen as Kept};
use crate::engine::host::Host;
use crate::engine::serve::error::ServeError;
use crate::engine::serve::visit::Visit;
use crate::model::entry::{Content, Digest};
use crate::model::path::RelPath;
use crate::model::row::Seen;
use crate::store::error::StoreError;
use crate::store::versions::Versions;
use crate::transport::channel::Channel;
use crate::transport::member::Recover;
use crate::transport::message::{Fetch, Item, Message};

/// Gives the contents of `fetch`'s items for as long as they are asked for.
pub(crate) fn answer(visit: &Visit, channel: &mut Channel, fetch: &Fetch) -> Result<(), ServeError> {
    let offered = Listed::of(&visit.host, &fetch.items)?;
    if give(channel, &offered, fetch.plain)?.end == Message::End {
        Ok(())
    } else {
        Err(ServeError::Protocol("something else than the end of a fetch"))
    }
}

/// Gives the contents that lost a conflict for as long as they are asked for.
pub(crate) fn answer_lost(visit: &Visit, channel: &mut Channel, recover: &Recover) -> Result<(), ServeError> {
    if visit.member.is_none() {
        return Err(ServeError::Protocol("a question for what lost a conflict, of one who is no member"));
    }
    let offered = Files(
        recover
            .losers
            .iter()
            .map(|(path, digest)| lost(&visit.host, path, *digest))
            .collect::<Result<_, _>>()?,
    );
    if give(channel, &offered, false)?.end == Message::End {
        Ok(())
    } else {
        Err(ServeError::Protocol("something else than the end of a fetch"))
    }
}

/// Returns where the content with this digest is kept, if the row of `path` says that it lost there.
fn lost(host: &Host, path: &RelPath, digest: Digest) -> Result<Option<Kept>, ServeError> {
    let replica = host.replica();
    let record = replica.record(path)?;
    let mut losers = record.iter().flat_map(|record| &record.row.losers);
    let named = losers.find_map(|loser| match loser.content {
        Content::File { digest: found, size } if found == digest => Some(size),
        Content::File { .. }
        | Content::Dir
        | Content::Symlink(_)
        | Content::Fifo
        | Content::Socket
        | Content::Device { .. } => None,
    });
    let (Some(size), Some(kept)) = (named, replica.kept()) else { return Ok(None) };
    for version in Versions::of(&replica.db).with_digest(digest)? {
        // One that cannot be opened may be kept elsewhere as well.
        if let Ok(Some(root)) = kept.batch(version.batch.as_bytes()) {
            return Ok(Some(Kept { root: Arc::new(root), path: version.place, digest, size }));
        }
    }
    Ok(None)
}

/// A content that is offered.
struct Shown {
    path: RelPath,
    digest: Digest,
    size: u64,
    seen: Seen,
}

/// Contents that are offered, `None` where an item is not as it was listed.
struct Listed<'a> {
    host: &'a Host,
    items: Vec<Option<Shown>>,
}

impl<'a> Listed<'a> {
    fn of(host: &'a Host, items: &[Item]) -> Result<Self, StoreError> {
        let replica = host.replica();
        let items = items.iter().map(|item| {
            let record = replica.record(&item.path)?.filter(|record| record.seq == item.seq);
            let shown = record.and_then(|record| match record.row.live()?.content.value {
                Content::File { digest, size } => {
                    Some(Shown { path: item.path.clone(), digest, size, seen: record.seen? })
                }
                Content::Dir
                | Content::Symlink(_)
                | Content::Fifo
                | Content::Socket
                | Content::Device { .. } => None,
            });
            Ok(shown)
        });
        Ok(Self { host, items: items.collect::<Result<_, StoreError>>()? })
    }

    fn item(&self, id: u32) -> Option<&Shown> {
        usize::try_from(id).ok().and_then(|at| self.items.get(at)).and_then(Option::as_ref)
    }
}

impl Offer for Listed<'_> {
    fn content(&self, id: u32) -> Result<Offered, String> {
        let item = self.item(id).ok_or("it is not as it was listed")?;
        let (file, stat) = self.host.root.open_file(&item.path).map_err(|error| error.to_string())?;
        if !stat.same_bytes(&item.seen.stat) {
            return Err("it changed after it was looked at".to_owned());
        }
        Ok(Offered { file, digest: item.digest, size: item.size, stat })
    }
}
