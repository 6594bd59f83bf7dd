//! The rows that a change makes which somebody asked for: recorded as an edit of the replica that carries it out (S4).

use crate::model::entry::Content;
use crate::model::metadata::{Attributes, Timestamp};
use crate::model::row::{Live, Row, Stamped, State};
use crate::model::version::{Dot, VersionVector};

/// Returns the row that says that `content` with `attributes` stands where `ours` is recorded, by the event `dot` at
/// `now`; `None` if `ours` says so already. What does not change keeps the event that last set it.
#[must_use]
pub fn made(
    ours: Option<&Row>,
    content: &Content,
    attributes: Attributes,
    dot: Dot,
    now: Timestamp,
) -> Option<Row> {
    let mut vector = ours.map_or_else(VersionVector::new, |row| row.vector.clone());
    vector.raise(dot);
    let losers = ours.map_or_else(Vec::new, |row| row.losers.clone());
    let Some(old) = ours.and_then(Row::live) else {
        let live = Live::new(content.clone(), attributes, dot, now);
        return Some(Row { vector, state: State::Live(live), losers });
    };
    let mut live = old.clone();
    if set(&mut live.content, content.clone(), dot) {
        live.recorded = now;
        live.moved_from = None;
    }
    set(&mut live.mode, attributes.mode, dot);
    set(&mut live.owner, attributes.owner, dot);
    set(&mut live.mtime, attributes.mtime, dot);
    (live != *old).then_some(Row { vector, state: State::Live(live), losers })
}

/// Sets a value, stamped by `dot`, unless it is that already. Returns whether it changed.
fn set<T: PartialEq>(stamped: &mut Stamped<T>, value: T, dot: Dot) -> bool {
    let changed = stamped.value != value;
    if changed {
        *stamped = Stamped { value, dot };
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entry::Digest;
    use crate::model::version::ReplicaId;

    fn dot(replica: u8, counter: u64) -> Dot {
        Dot { replica: ReplicaId([replica; 16]), counter }
    }

    fn file(text: &str) -> Content {
        Content::File { digest: Digest::of(text.as_bytes()), size: 1 }
    }

    #[test]
    fn only_what_changed_is_stamped() {
        let (first, second, now) = (dot(1, 4), dot(2, 9), Timestamp::new(50, 0));
        let attributes = Attributes { mode: 0o644, ..Attributes::default() };
        let old = made(None, &file("a"), attributes, first, now).unwrap();
        assert_eq!(old.vector, VersionVector::of(first));
        assert_eq!(made(Some(&old), &file("a"), attributes, second, now), None);
        let mode = Attributes { mode: 0o600, ..attributes };
        for (case, content, attributes, stamps) in [
            ("content", file("b"), attributes, [second, first, first]),
            ("mode", file("a"), mode, [first, second, first]),
            ("both", file("b"), mode, [second, second, first]),
        ] {
            let row = made(Some(&old), &content, attributes, second, now).unwrap();
            let live = row.live().unwrap();
            assert_eq!([live.content.dot, live.mode.dot, live.owner.dot], stamps, "{case}");
            assert!(row.vector.covers(first) && row.vector.covers(second), "{case}");
        }
    }
}
