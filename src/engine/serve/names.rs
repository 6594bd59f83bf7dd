//! Owners by name on the wire: what ours are called.

use std::collections::BTreeSet;

use crate::disk::names::SystemNames;
use crate::model::metadata::Owner;
use crate::model::row::{Row, State};
use crate::rules::owner::Names as _;
use crate::transport::message::Names;

/// Most numbers that are remembered as named on one stream; beyond that names are told again.
const TOLD_MAX: usize = 65_536;

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
