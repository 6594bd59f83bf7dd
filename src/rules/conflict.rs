//! Which of two concurrent contents stays at the path.

use std::cmp::Ordering;

use crate::model::entry::Content;
use crate::model::metadata::Timestamp;

/// One of the two roots of a pair: `csync sync A B` calls A the first and B the second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Side {
    /// The first root, also called local.
    One,
    /// The second root.
    Two,
}

impl Side {
    /// Returns the other side.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::One => Self::Two,
            Self::Two => Self::One,
        }
    }

    /// Returns the name of the side in commands and listings: `1` or `2`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::One => "1",
            Self::Two => "2",
        }
    }
}

/// What happens when both sides changed the content of one path.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Policy {
    /// The later content stays at the path, the other is kept as a conflict to be looked at.
    #[default]
    KeepBoth,
    /// The later content stays at the path, the other is placed beside it under a name of its own.
    Copy,
    /// The later content stays.
    Newest,
    /// The earlier content stays.
    Oldest,
    /// The larger content stays.
    Largest,
    /// The smaller content stays.
    Smallest,
    /// The content of this side stays.
    Prefer(Side),
    /// Neither moves: each side keeps its own until a person decides.
    Manual,
}

impl Policy {
    /// The names by which a user chooses a policy, for messages.
    pub const NAMES: &'static str =
        "keep-both, copy, newest, oldest, largest, smallest, prefer:1, prefer:2, manual";

    /// Returns the policy called `name`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "keep-both" => Self::KeepBoth,
            "copy" => Self::Copy,
            "newest" => Self::Newest,
            "oldest" => Self::Oldest,
            "largest" => Self::Largest,
            "smallest" => Self::Smallest,
            "prefer:1" => Self::Prefer(Side::One),
            "prefer:2" => Self::Prefer(Side::Two),
            "manual" => Self::Manual,
            _ => return None,
        })
    }
}

/// One of two contents that were written without knowledge of each other.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The content.
    pub content: &'a Content,
    /// Its modification time as its writer carried it.
    pub mtime: Timestamp,
    /// When its writer recorded it.
    pub recorded: Timestamp,
    /// The side that brings it.
    pub side: Side,
}

impl Candidate<'_> {
    /// The moment that counts for newest and oldest: a stamp from the future counts as the moment of recording.
    fn written(&self) -> Timestamp {
        self.mtime.min(self.recorded)
    }
}

/// Whose content stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Winner {
    /// The first candidate's.
    First,
    /// The second candidate's.
    Second,
    /// Nobody's: both wait for a person.
    Undecided,
}

/// Returns which of two unequal contents stays at the path under `policy`.
///
/// Symmetric: swapping the candidates swaps the answer. A directory beats anything else, so that what lives below it
/// keeps its place. Ties go to the greater digest. No clock of the deciding node takes part.
#[must_use]
pub fn winner(policy: Policy, first: &Candidate<'_>, second: &Candidate<'_>) -> Winner {
    let by_digest = || first.content.digest().cmp(&second.content.digest());
    let later = || first.written().cmp(&second.written()).then_with(by_digest);
    let size = || first.content.size().cmp(&second.content.size());
    let dir = first.content.is_dir().cmp(&second.content.is_dir());
    let order = match policy {
        Policy::Manual => return Winner::Undecided,
        _ if dir != Ordering::Equal => dir,
        Policy::KeepBoth | Policy::Copy | Policy::Newest => later(),
        Policy::Oldest => second.written().cmp(&first.written()).then_with(by_digest),
        Policy::Largest => size().then_with(later),
        Policy::Smallest => size().reverse().then_with(later),
        Policy::Prefer(side) => (first.side == side).cmp(&(second.side == side)).then_with(later),
    };
    match order {
        Ordering::Greater => Winner::First,
        Ordering::Less => Winner::Second,
        // Two unequal contents with one digest cannot be: digests name contents.
        Ordering::Equal => Winner::Undecided,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entry::Digest;

    fn file(byte: u8, size: u64) -> Content {
        Content::File { digest: Digest([byte; 32]), size }
    }

    #[test]
    fn each_policy_picks_its_winner_and_swapping_the_candidates_swaps_the_answer() {
        let at = |secs| Timestamp::new(secs, 0);
        let (small, large, dir) = (file(1, 10), file(2, 20), Content::Dir);
        let old_large = Candidate { content: &large, mtime: at(5), recorded: at(9), side: Side::One };
        let new_small = Candidate { content: &small, mtime: at(7), recorded: at(9), side: Side::Two };
        let future = Candidate { content: &large, mtime: at(99), recorded: at(6), side: Side::One };
        let same_age = Candidate { content: &large, mtime: at(7), recorded: at(9), side: Side::One };
        let folder = Candidate { content: &dir, mtime: at(1), recorded: at(1), side: Side::One };
        for (case, policy, first, second, expected) in [
            ("keep-both: later stays", Policy::KeepBoth, old_large, new_small, Winner::Second),
            ("copy: later stays", Policy::Copy, old_large, new_small, Winner::Second),
            ("newest", Policy::Newest, old_large, new_small, Winner::Second),
            ("a stamp from the future is capped", Policy::Newest, future, new_small, Winner::Second),
            ("tie by digest", Policy::Newest, same_age, new_small, Winner::First),
            ("oldest", Policy::Oldest, old_large, new_small, Winner::First),
            ("largest", Policy::Largest, old_large, new_small, Winner::First),
            ("smallest", Policy::Smallest, old_large, new_small, Winner::Second),
            ("prefer:1", Policy::Prefer(Side::One), old_large, new_small, Winner::First),
            ("prefer:2", Policy::Prefer(Side::Two), old_large, new_small, Winner::Second),
            ("manual", Policy::Manual, old_large, new_small, Winner::Undecided),
            ("a directory stays", Policy::Prefer(Side::Two), folder, new_small, Winner::First),
        ] {
            assert_eq!(winner(policy, &first, &second), expected, "{case}");
            let swapped = match expected {
                Winner::First => Winner::Second,
                Winner::Second => Winner::First,
                Winner::Undecided => Winner::Undecided,
            };
            assert_eq!(winner(policy, &second, &first), swapped, "{case}, swapped");
        }
    }

    #[test]
    fn every_listed_name_is_a_policy() {
        for name in Policy::NAMES.split(", ") {
            assert!(Policy::parse(name).is_some(), "{name}");
        }
        assert_eq!(Policy::parse("youngest"), None);
    }
}
