//! What follows from what a peer says of its folder when it is opened.

use crate::engine::far::folder::Far;
use crate::engine::report::Held;
use crate::model::path::RelPath;
use crate::plan::guard::{Limit, Toll, admits, bound, empties_root};
use crate::transport::message::Bound;

/// Returns what the delete guard of the folder will hold of a run with this toll; `None` where it lets the run through,
/// or does not say how it judges. `approved` says that a person let the deletions through here.
pub(crate) fn held(far: &Far, toll: Toll, approved: bool) -> Option<Held> {
    let guard = far.opened().guard.filter(|_| toll.deletes > 0)?;
    let limit = match guard.bound {
        _ if approved => Limit::Approved,
        Bound::Formula => Limit::Formula,
        Bound::Count(count) => Limit::Count(count),
        Bound::Percent(percent) => Limit::Percent(percent),
    };
    let entries = far.opened().entries;
    let there = Toll {
        deletes: toll.deletes.saturating_add(guard.recent),
        // The guard is asked after all was made.
        of: entries.saturating_add(toll.creates).saturating_add(guard.recent),
        creates: toll.creates,
    };
    (!admits(there, limit)).then(|| Held {
        deletes: toll.deletes,
        of: entries,
        limit: bound(there, limit).saturating_sub(guard.recent),
        empties: empties_root(there),
    })
}

/// Returns what the peer could not read of the part of the folder that is open, and why nothing is known of it.
pub(crate) fn unread(far: &Far) -> Option<(RelPath, String)> {
    let unread = far.opened().unread.as_ref()?;
    let (first, prefix) = (&unread.first, far.prefix());
    let inside = if prefix.is_root() { Some(first.clone()) } else { first.strip(prefix) };
    if unread.count == 1 && inside.is_none() && first != prefix && !prefix.is_below(first) {
        return None;
    }
    let more = match unread.count.saturating_sub(1) {
        0 => String::new(),
        1 => ", nor 1 other path".to_owned(),
        more => format!(", nor {more} other paths"),
    };
    let why = format!("{} could not read it{more}: see csyncd's log there", far.peer());
    Some((inside.unwrap_or_default(), why))
}
