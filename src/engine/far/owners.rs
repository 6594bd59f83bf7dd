//! Owners by name: the numbers of a peer become ours, and ours go out with their names.

use std::collections::{BTreeSet, HashMap};

use crate::disk::names::SystemNames;
use crate::model::metadata::Owner;
use crate::model::row::{Row, State};
use crate::rules::owner::Names as _;
use crate::transport::message::{Act, Names, Step, StepResult};

/// Most names that are believed of one peer.
const NAMES_MAX: usize = 65_536;

/// What the numbers of a peer's owners mean here.
#[derive(Default)]
pub(crate) struct Owners {
    /// Numbers are kept as they are.
    numeric: bool,
    system: SystemNames,
    told: Names,
    users: HashMap<u32, u32>,
    groups: HashMap<u32, u32>,
}

impl Owners {
    /// Returns the owners that `told` names; `numeric` keeps all numbers as they are.
    pub(crate) fn new(numeric: bool, told: Names) -> Self {
        let mut owners = Self { numeric, ..Self::default() };
        owners.learn(told);
        owners
    }

    /// Takes in further names. Returns whether any was new.
    pub(crate) fn learn(&mut self, names: Names) -> bool {
        let known = self.told.users.len() + self.told.groups.len();
        for (number, name) in names.users {
            if !self.users.contains_key(&number) && self.told.users.len() < NAMES_MAX {
                let ours = std::str::from_utf8(&name).ok().and_then(|name| self.system.user_id(name));
                self.users.insert(number, ours.unwrap_or(number));
                self.told.users.push((number, name));
            }
        }
        for (number, name) in names.groups {
            if !self.groups.contains_key(&number) && self.told.groups.len() < NAMES_MAX {
                let ours = std::str::from_utf8(&name).ok().and_then(|name| self.system.group_id(name));
                self.groups.insert(number, ours.unwrap_or(number));
                self.told.groups.push((number, name));
            }
        }
        self.told.users.len() + self.told.groups.len() > known
    }

    /// Returns the names of this machine.
    pub(crate) fn system(&self) -> &SystemNames {
        &self.system
    }

    /// Returns the names as they were told.
    pub(crate) fn told(&self) -> &Names {
        &self.told
    }

    /// Returns our numbers for an owner of the peer: those of its names where they exist here, else the same numbers.
    pub(crate) fn ours(&self, theirs: Owner) -> Owner {
        if self.numeric {
            return theirs;
        }
        Owner {
            uid: self.users.get(&theirs.uid).copied().unwrap_or(theirs.uid),
            gid: self.groups.get(&theirs.gid).copied().unwrap_or(theirs.gid),
        }
    }

    /// Returns `result` with the owners in its row in our numbers.
    pub(crate) fn ours_in_result(&self, result: StepResult) -> StepResult {
        match result {
            StepResult::Done { seq, row } => StepResult::Done { seq, row: self.ours_in(row) },
            StepResult::Changed { now } => {
                StepResult::Changed { now: now.map(|(seq, row)| (seq, self.ours_in(row))) }
            }
            refused @ StepResult::Refused(_) => refused,
        }
    }

    /// Returns a row of the peer with our numbers.
    pub(crate) fn ours_in(&self, mut row: Row) -> Row {
        match &mut row.state {
            State::Live(live) => live.owner.value = self.ours(live.owner.value),
            State::Deleted(stone) => stone.attributes.owner = self.ours(stone.attributes.owner),
        }
        for loser in &mut row.losers {
            loser.attributes.owner = self.ours(loser.attributes.owner);
        }
        row
    }

    /// Returns the names here of all owners that `steps` mean.
    pub(crate) fn names_in(&self, steps: &[Step]) -> Names {
        if self.numeric {
            return Names::default();
        }
        let (mut users, mut groups) = (BTreeSet::new(), BTreeSet::new());
        for step in steps {
            let (Act::Make { attributes, which, .. } | Act::Dress { attributes, which }) = &step.act else {
                continue;
            };
            if which.user {
                users.insert(attributes.owner.uid);
            }
            if which.group {
                groups.insert(attributes.owner.gid);
            }
        }
        let named = |number: u32, name: Option<Vec<u8>>| name.map(|name| (number, name.into_boxed_slice()));
        Names {
            users: users.into_iter().filter_map(|uid| named(uid, self.system.user_name(uid))).collect(),
            groups: groups.into_iter().filter_map(|gid| named(gid, self.system.group_name(gid))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(number: u32, name: &str) -> (u32, Box<[u8]>) {
        (number, name.as_bytes().into())
    }

    #[test]
    fn a_name_that_exists_here_brings_its_number_and_another_keeps_its_own() {
        let told =
            Names { users: vec![named(4242, "root"), named(4243, "nobody-of-this-name")], groups: vec![] };
        let owners = Owners::new(false, told.clone());
        assert_eq!(owners.ours(Owner { uid: 4242, gid: 7 }), Owner { uid: 0, gid: 7 });
        assert_eq!(owners.ours(Owner { uid: 4243, gid: 7 }).uid, 4243);
        assert_eq!(Owners::new(true, told).ours(Owner { uid: 4242, gid: 7 }).uid, 4242);
    }

    #[test]
    fn a_number_means_what_was_told_first() {
        let mut owners = Owners::new(false, Names { users: vec![named(5, "root")], groups: vec![] });
        assert!(!owners.learn(Names { users: vec![named(5, "nobody-of-this-name")], groups: vec![] }));
        assert_eq!(owners.ours(Owner { uid: 5, gid: 0 }).uid, 0);
    }
}
