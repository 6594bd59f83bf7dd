//! Who knows what: replica ids, dots, version vectors.

use std::fmt;

/// Largest counter a slot may hold (2^62); beyond it the replica mints a new id.
pub const COUNTER_MAX: u64 = 1 << 62;
/// Most slots a vector may have.
pub const SLOTS_MAX: usize = 1024;

/// Names one index of one root: random, minted with each new index, never derived from a key or a clock.
///
/// It is what a vector's slot belongs to. A replica whose state was lost or rolled back gets a new one, so that no
/// counter is ever used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(pub [u8; 16]);

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}{:02x}", self.0[0], self.0[1])
    }
}

/// One event: the `counter`-th change that `replica` recorded. Counters count all changes of a replica, not of a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Dot {
    /// Who recorded the change.
    pub replica: ReplicaId,
    /// Its number in that replica's own sequence, from 1.
    pub counter: u64,
}

/// How two vectors relate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Causality {
    /// Both saw the same events.
    Equal,
    /// The first saw less.
    Before,
    /// The first saw more.
    After,
    /// Each saw something that the other did not.
    Concurrent,
}

/// For each replica, the highest counter that is known: a set of dots closed downwards.
///
/// Slots are sorted by id, counters are never 0.
///
/// # Source
/// Parker et al., "Detection of Mutual Inconsistency in Distributed Systems", 1983.
#[derive(Clone, PartialEq, Eq, Default, Hash)]
pub struct VersionVector(Vec<(ReplicaId, u64)>);

impl VersionVector {
    /// Returns the vector that covers nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Returns the vector that covers `dot` and what came before it in its slot.
    #[must_use]
    pub fn of(dot: Dot) -> Self {
        let mut vector = Self::new();
        vector.raise(dot);
        vector
    }

    /// Returns the counter known for `replica`, 0 if none.
    #[must_use]
    pub fn get(&self, replica: ReplicaId) -> u64 {
        self.0.binary_search_by_key(&replica, |slot| slot.0).map_or(0, |at| self.0[at].1)
    }

    /// Whether `dot` is known here.
    #[must_use]
    pub fn covers(&self, dot: Dot) -> bool {
        self.get(dot.replica) >= dot.counter
    }

    /// Whether all that `other` covers is known here.
    #[must_use]
    pub fn covers_all(&self, other: &Self) -> bool {
        other.slots().all(|dot| self.covers(dot))
    }

    /// Makes `dot` known here. Never lowers a counter.
    pub fn raise(&mut self, dot: Dot) {
        if dot.counter == 0 {
            return;
        }
        match self.0.binary_search_by_key(&dot.replica, |slot| slot.0) {
            Ok(at) => self.0[at].1 = self.0[at].1.max(dot.counter),
            Err(at) => self.0.insert(at, (dot.replica, dot.counter)),
        }
    }

    /// Returns the smallest vector that covers all that either covers.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        let mut merged = self.clone();
        for (replica, counter) in &other.0 {
            merged.raise(Dot { replica: *replica, counter: *counter });
        }
        merged
    }

    /// Returns how `self` relates to `other`.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Causality {
        match (other.covers_all(self), self.covers_all(other)) {
            (true, true) => Causality::Equal,
            (true, false) => Causality::Before,
            (false, true) => Causality::After,
            (false, false) => Causality::Concurrent,
        }
    }

    /// Returns the slots, sorted by replica.
    pub fn slots(&self) -> impl ExactSizeIterator<Item = Dot> + '_ {
        self.0.iter().map(|(replica, counter)| Dot { replica: *replica, counter: *counter })
    }
}

impl FromIterator<Dot> for VersionVector {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut vector = Self::new();
        dots.into_iter().for_each(|dot| vector.raise(dot));
        vector
    }
}

impl fmt::Debug for VersionVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(id, n)| (id, n))).finish()
    }
}
