//! Short numbers for replica ids, so that a vector takes a few bytes.

use std::collections::HashMap;

use crate::model::version::ReplicaId;

/// The replica ids of a database in the order of their numbers, which start at 0.
#[derive(Debug, Default)]
pub struct Slots {
    replicas: Vec<ReplicaId>,
    numbers: HashMap<ReplicaId, usize>,
    saved: usize,
}

impl Slots {
    /// Returns the slots of a database, given its replicas in the order of their numbers.
    #[must_use]
    pub fn saved(replicas: Vec<ReplicaId>) -> Self {
        let numbers = replicas.iter().enumerate().map(|(number, replica)| (*replica, number)).collect();
        Self { saved: replicas.len(), replicas, numbers }
    }

    /// Returns the number of `replica`; an unknown one gets the next.
    pub fn number(&mut self, replica: ReplicaId) -> usize {
        if let Some(number) = self.numbers.get(&replica) {
            return *number;
        }
        let number = self.replicas.len();
        self.replicas.push(replica);
        self.numbers.insert(replica, number);
        number
    }

    /// Returns the replica that has this number.
    #[must_use]
    pub fn replica(&self, number: u64) -> Option<ReplicaId> {
        self.replicas.get(usize::try_from(number).ok()?).copied()
    }

    /// Returns the numbers given since the last [`keep`](Self::keep), with their replicas.
    pub fn unsaved(&self) -> impl Iterator<Item = (usize, ReplicaId)> + '_ {
        self.replicas.iter().copied().enumerate().skip(self.saved)
    }

    /// Notes that the database holds all numbers given so far.
    pub fn keep(&mut self) {
        self.saved = self.replicas.len();
    }

    /// Takes back the numbers from `count` on: the database forgot them.
    pub fn forget_from(&mut self, count: usize) {
        for replica in self.replicas.drain(count.min(self.replicas.len())..) {
            self.numbers.remove(&replica);
        }
        self.saved = self.saved.min(self.replicas.len());
    }

    /// Returns how many numbers the database holds.
    #[must_use]
    pub fn saved_count(&self) -> usize {
        self.saved
    }
}
