//! Stops a plan that looks like an accident: a root emptied, too many deletions at once.

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

#[cfg(test)]
mod tests {
    use super::*;

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
