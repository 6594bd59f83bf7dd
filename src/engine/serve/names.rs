//! Owners by name on the wire: what a guest's numbers mean here, and what ours are called.

use std::collections::BTreeSet;

use crate::config::settings::OwnerRule;
use crate::disk::names::SystemNames;
use crate::model::metadata::Owner;
use crate::model::row::{Row, State};
use crate::rules::owner::Names as _;
use crate::transport::message::Names;

/// Most numbers that are remembered as named on one stream; beyond that names are told again.
const TOLD_MAX: usize = 65_536;

/// What the numbers of a guest's owners mean here.
pub(crate) struct Foreign<'a> {
    rule: &'a OwnerRule,
    told: &'a Names,
    /// The names of this machine.
    pub(crate) system: SystemNames,
}

impl<'a> Foreign<'a> {
    /// Returns what the numbers mean that `told` names, under the `rule` of the folder.
    pub(crate) fn new(rule: &'a OwnerRule, told: &'a Names) -> Self {
        Self { rule, told, system: SystemNames::new() }
    }

    /// Returns our number for a guest's user: that of its name where the name exists here, else the same number.
    pub(crate) fn user(&self, uid: u32) -> u32 {
        self.ours(&self.told.users, uid, &|name| self.system.user_id(name))
    }

    /// Returns the same for a group.
    pub(crate) fn group(&self, gid: u32) -> u32 {
        self.ours(&self.told.groups, gid, &|name| self.system.group_id(name))
    }

    fn ours(&self, told: &[(u32, Box<[u8]>)], theirs: u32, find: &dyn Fn(&str) -> Option<u32>) -> u32 {
        if *self.rule != OwnerRule::ByName {
            return theirs;
        }
        let name = told.iter().find(|(number, _)| *number == theirs).map(|(_, name)| &name[..]);
        name.and_then(|name| std::str::from_utf8(name).ok()).and_then(find).unwrap_or(theirs)
    }
}

/// The names of our owners, each told once.
#[derive(Default)]
pub(crate) struct Told {
    system: SystemNames,
    users: BTreeSet<u32>,
    groups: BTreeSet<u32>,
}

impl Told {
    /// Returns the names of the owners in `rows` that were not told yet.
    pub(crate) fn news<'r>(&mut self, rows: impl Iterator<Item = &'r Row>) -> Names {
        let mut names = Names::default();
        for owner in rows.flat_map(owners) {
            if self.users.len() + self.groups.len() > TOLD_MAX {
                self.users.clear();
                self.groups.clear();
            }
            if self.users.insert(owner.uid)
                && let Some(name) = self.system.user_name(owner.uid)
            {
                names.users.push((owner.uid, name.into()));
            }
            if self.groups.insert(owner.gid)
                && let Some(name) = self.system.group_name(owner.gid)
            {
                names.groups.push((owner.gid, name.into()));
            }
        }
        names
    }
}

fn owners(row: &Row) -> impl Iterator<Item = Owner> + '_ {
    let now = match &row.state {
        State::Live(live) => live.owner.value,
        State::Deleted(stone) => stone.attributes.owner,
    };
    std::iter::once(now).chain(row.losers.iter().map(|loser| loser.attributes.owner))
}
