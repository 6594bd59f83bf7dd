//! Stops a plan that looks like an accident: a root emptied, too many deletions at once.

use std::collections::VecDeque;

use crate::model::metadata::Timestamp;

/// How long a deletion counts, in nanoseconds: ten minutes (S14).
const WINDOW_NANOS: i128 = 600 * 1_000_000_000;

/// How many deletions one run may make.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Limit {
    /// max(20, min(1,000, a quarter of the entries)), and never the whole root.
    #[default]
    Formula,
    /// This many, and never the whole root.
    Count(u64),
    /// This share of the entries, in percent, and never the whole root.
    Percent(u8),
    /// Whatever the plan says: a person has approved it.
    Approved,
}

/// What a plan would do to a root, in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Toll {
    /// Entries that would be deleted; those that are only renamed do not count.
    pub deletes: u64,
    /// Entries that the root has now.
    pub of: u64,
    /// Entries that would be created.
    pub creates: u64,
}

/// Whether the deletions of a plan may be carried out; otherwise all of them wait for a person.
#[must_use]
pub fn allows(toll: Toll, limit: Limit) -> bool {
    limit == Limit::Approved
        || toll.deletes == 0
        || (toll.deletes <= bound(toll, limit) && !empties_root(toll))
}

/// Whether a guest's deletions may be carried out: as [`allows`], but an emptied root is held whatever a person said.
#[must_use]
pub fn admits(toll: Toll, limit: Limit) -> bool {
    !empties_root(toll) && allows(toll, limit)
}

/// Whether nothing would be left of a root that has something now.
#[must_use]
pub fn empties_root(toll: Toll) -> bool {
    toll.deletes > 0 && toll.deletes >= toll.of && toll.creates == 0
}

/// Returns how many deletions `limit` lets pass in a root of that size.
#[must_use]
pub fn bound(toll: Toll, limit: Limit) -> u64 {
    match limit {
        Limit::Approved => u64::MAX,
        Limit::Formula => (toll.of / 4).clamp(20, 1000),
        Limit::Count(count) => count,
        Limit::Percent(percent) => {
            u64::try_from(u128::from(toll.of) * u128::from(percent) / 100).unwrap_or(u64::MAX)
        }
    }
}

/// The deletions of the last ten minutes, so that many small batches count as one.
#[derive(Clone, Debug, Default)]
pub struct Recent(VecDeque<(i64, u64)>);

impl Recent {
    /// Counts deletions made at `now`.
    pub fn add(&mut self, now: Timestamp, count: u64) {
        match self.0.back_mut() {
            Some((secs, sum)) if *secs >= now.secs => *sum = sum.saturating_add(count),
            Some(_) | None => self.0.push_back((now.secs, count)),
        }
    }

    /// Returns how many count at `now`; older ones are forgotten. A clock that was set back forgets nothing.
    pub fn count(&mut self, now: Timestamp) -> u64 {
        let is_old = |secs: i64| now.nanos_since(Timestamp::new(secs, 0)) > WINDOW_NANOS;
        while self.0.front().is_some_and(|(secs, _)| is_old(*secs)) {
            self.0.pop_front();
        }
        self.0.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deletions_count_for_ten_minutes() {
        let mut recent = Recent::default();
        let at = |secs: i64| Timestamp::new(1_000_000 + secs, 5);
        for (secs, count) in [(0, 3), (0, 4), (-60, 1), (300, 10)] {
            recent.add(at(secs), count);
        }
        for (case, secs, expected) in [
            ("at once", 300, 18),
            ("set back", -3600, 18),
            ("almost ten minutes", 599, 18),
            ("the first are old", 601, 10),
            ("all are old", 901, 0),
        ] {
            assert_eq!(recent.count(at(secs)), expected, "{case}");
        }
    }

    #[test]
    fn accidents_are_held_and_ordinary_work_passes() {
        for (case, deletes, of, creates, limit, expected) in [
            ("nothing deleted", 0, 0, 0, Limit::Formula, true),
            ("twenty of a small root", 20, 30, 0, Limit::Formula, true),
            ("twenty-one of a small root", 21, 30, 0, Limit::Formula, false),
            ("a quarter", 100, 400, 0, Limit::Formula, true),
            ("more than a quarter", 101, 400, 0, Limit::Formula, false),
            ("a thousand of very many", 1000, 1_000_000, 0, Limit::Formula, true),
            ("over a thousand of very many", 1001, 1_000_000, 0, Limit::Formula, false),
            ("three of three: the root emptied", 3, 3, 0, Limit::Formula, false),
            ("three of three, others come", 3, 3, 1, Limit::Formula, true),
            ("count reached", 5, 100, 0, Limit::Count(5), true),
            ("count passed", 6, 100, 0, Limit::Count(5), false),
            ("count of zero never deletes", 1, 100, 0, Limit::Count(0), false),
            ("an emptied root is held whatever the count", 3, 3, 0, Limit::Count(10), false),
            ("percent reached", 50, 100, 0, Limit::Percent(50), true),
            ("percent passed", 51, 100, 0, Limit::Percent(50), false),
            ("a person said yes", 100, 100, 0, Limit::Approved, true),
        ] {
            assert_eq!(allows(Toll { deletes, of, creates }, limit), expected, "{case}");
        }
    }
}
