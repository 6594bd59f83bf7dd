//! Deletions that a person let through (S14): of each replica all up to one of its numbers. What is approved on one
//! member is approved on all of them, and travels with the rows.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;

use crate::engine::replica::Replica;
use crate::model::version::{Dot, ReplicaId};
use crate::store::error::StoreError;
use crate::store::meta;

/// Replicas of which approvals are remembered; of more, those with the lowest ids.
pub(crate) const APPROVED_MAX: usize = crate::transport::member::APPROVED_MAX;

/// Deletions that were let through.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Approved(BTreeMap<ReplicaId, u64>);

impl Approved {
    /// Returns what is remembered in the database of `me`.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) fn of(me: &Replica) -> Result<Self, StoreError> {
        Ok(Self::parse(&me.meta().get(meta::APPROVED)?.unwrap_or_default()))
    }

    /// Remembers it, in the open batch or one of its own.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) fn save(&self, me: &Replica) -> Result<(), StoreError> {
        me.meta().set(meta::APPROVED, &self.text())
    }

    /// Lets through what the replica of `last` deleted up to then; returns whether that is new.
    pub(crate) fn add(&mut self, last: Dot) -> bool {
        if !self.0.contains_key(&last.replica) && self.0.len() >= APPROVED_MAX {
            return false;
        }
        let known = self.0.entry(last.replica).or_default();
        let is_new = *known < last.counter;
        *known = last.counter.max(*known);
        is_new
    }

    /// Whether the deletion `dot` was let through.
    pub(crate) fn has(&self, dot: Dot) -> bool {
        self.0.get(&dot.replica).is_some_and(|last| dot.counter <= *last)
    }

    /// The last deletion of each replica that was let through.
    pub(crate) fn dots(&self) -> Vec<Dot> {
        self.0.iter().map(|(replica, counter)| Dot { replica: *replica, counter: *counter }).collect()
    }

    fn text(&self) -> String {
        let line = |(replica, last): (&ReplicaId, &u64)| format!("{} {last}\n", HEXLOWER.encode(&replica.0));
        self.0.iter().map(line).collect()
    }

    /// Returns what a text says; a line that is none lets nothing through.
    fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let (replica, last) = line.split_once(' ')?;
            let replica = HEXLOWER.decode(replica.as_bytes()).ok()?.try_into().ok()?;
            Some((ReplicaId(replica), last.parse().ok()?))
        };
        Self(text.lines().filter_map(line).take(APPROVED_MAX).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_let_through_stays_so_and_nothing_later_does() {
        let dot = |replica, counter| Dot { replica: ReplicaId([replica; 16]), counter };
        let mut approved = Approved::default();
        assert!(approved.add(dot(1, 9)) && approved.add(dot(2, 4)));
        assert!(!approved.add(dot(1, 9)) && !approved.add(dot(1, 3)), "nothing new");
        assert!(approved.has(dot(1, 9)) && approved.has(dot(1, 1)));
        assert!(!approved.has(dot(1, 10)) && !approved.has(dot(3, 1)));
        assert_eq!(Approved::parse(&approved.text()), approved);
        assert_eq!(Approved::parse("zz 1\n\nff\n").dots(), []);
    }
}
