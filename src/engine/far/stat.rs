//! What a listing tells of an entry in the folder of a peer, as if it had been looked at there.

use crate::model::entry::{Content, Kind};
use crate::model::metadata::{Attributes, Stat, Timestamp};
use crate::model::row::Live;

/// The device number of everything in the folder of a peer.
const FAR_DEVICE: u64 = u64::MAX;

/// Returns the stat that stands for an entry that is live in a listing.
pub(crate) fn stat(live: &Live) -> Stat {
    stat_of(&live.content.value, live.attributes())
}

/// Returns the stat that stands for `content` with these attributes: there are no inode and change time to compare.
pub(crate) fn stat_of(content: &Content, attributes: Attributes) -> Stat {
    let (kind, size, rdev) = match content {
        Content::File { size, .. } => (Kind::File, *size, 0),
        Content::Symlink(target) => (Kind::Symlink, u64::try_from(target.len()).unwrap_or(u64::MAX), 0),
        Content::Device { kind, rdev } => (*kind, 0, *rdev),
        other @ (Content::Dir | Content::Fifo | Content::Socket) => (other.kind(), 0, 0),
    };
    Stat { kind, attributes, size, ctime: Timestamp::default(), ino: 0, dev: FAR_DEVICE, links: 1, rdev }
}
