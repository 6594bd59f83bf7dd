//! Who may do what in which folder: the config as positive grants. Pure.
//!
//! A node is its key; names and addresses never make anybody more than the key does (R38). What no line grants is
//! refused.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::config::settings::{Config, Folder, Mode, Network, Right as Granted};
use crate::model::key::PublicKey;
use crate::transport::message::{FolderInfo, Right};

/// The name in `allow` and `path` that stands for everybody. No node can have it.
const ANYBODY: &str = "*";

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caller {
    /// Its proven key.
    pub key: PublicKey,
    /// Where it comes from.
    pub address: IpAddr,
}

/// What one node, by its config, lets others do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grants {
    config: Config,
    own: PublicKey,
    node: Option<String>,
    names: BTreeMap<PublicKey, String>,
}

impl Grants {
    /// Returns what `config` grants on the node with the key `own`.
    #[must_use]
    pub fn new(config: Config, own: PublicKey) -> Self {
        let node = config.own_name(own);
        let mut names: BTreeMap<PublicKey, String> =
            config.peers.iter().map(|(name, peer)| (peer.key, name.clone())).collect();
        if let Some(node) = &node {
            names.insert(own, node.clone());
        }
        Self { config, own, node, names }
    }

    /// The config.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// This node's name, or its key where the config names it nowhere.
    #[must_use]
    pub fn node(&self) -> String {
        self.node.clone().unwrap_or_else(|| self.own.to_string())
    }

    /// The name of the node with `key`, as the config says.
    #[must_use]
    pub fn name(&self, key: &PublicKey) -> Option<&str> {
        self.names.get(key).map(String::as_str)
    }

    /// The folders that this node serves, each with its root here, in the order of their names.
    pub fn served(&self) -> impl Iterator<Item = (&str, &Folder, &str)> {
        let folders = self.config.folders.iter();
        folders.filter_map(|(name, folder)| Some((name.as_str(), folder, self.root(folder)?)))
    }

    /// The folder `name`, if this node serves it.
    #[must_use]
    pub fn folder(&self, name: &str) -> Option<&Folder> {
        self.config.folders.get(name).filter(|folder| self.root(folder).is_some())
    }

    /// The folder's root here; `None` where this node is no member, or has no path for it.
    fn root<'a>(&self, folder: &'a Folder) -> Option<&'a str> {
        let node = self.node.as_deref();
        let ours = folder.members.is_empty() || node.is_some_and(|node| is_member(folder, node));
        let root = folder.path.of(node.unwrap_or(ANYBODY))?;
        ours.then_some(root.as_str())
    }

    /// The other members of `folder`.
    pub fn others<'a>(&'a self, folder: &'a Folder) -> impl Iterator<Item = &'a str> {
        folder.members.iter().map(String::as_str).filter(|member| Some(*member) != self.node.as_deref())
    }

    /// The mode of `folder` on this node.
    #[must_use]
    pub fn mode(&self, folder: &Folder) -> Mode {
        mode_of(folder, self.node.as_deref().unwrap_or(ANYBODY))
    }

    /// The mode of `folder` on `member`.
    #[must_use]
    pub fn mode_of(&self, folder: &Folder, member: &str) -> Mode {
        mode_of(folder, member)
    }

    /// The member that is the primary of `folder`: the first of those that may be.
    #[must_use]
    pub fn primary<'a>(&self, folder: &'a Folder) -> Option<&'a str> {
        folder.members.iter().map(String::as_str).find(|member| mode_of(folder, member) == Mode::Primary)
    }

    /// Whether another member is the primary of `folder`, so that pushes belong there: the first of those that may be.
    #[must_use]
    pub fn is_led_elsewhere(&self, folder: &Folder) -> bool {
        let primary = self.primary(folder);
        matches!(self.mode(folder), Mode::Receive | Mode::Primary)
            && primary.is_some_and(|primary| Some(primary) != self.node.as_deref())
    }

    /// The most that `caller` may do in the folder `name`; `None`: nothing, not even know of it.
    #[must_use]
    pub fn right(&self, name: &str, caller: Caller) -> Option<Right> {
        let folder = self.folder(name)?;
        let address = caller.address.to_canonical();
        if !folder.hosts.is_empty() && !folder.hosts.iter().any(|network| contains(network, address)) {
            return None;
        }
        let caller = self.name(&caller.key);
        let as_member =
            caller.filter(|name| is_member(folder, name)).map(|name| match mode_of(folder, name) {
                Mode::TwoWay | Mode::Send | Mode::Primary => Right::Write,
                Mode::Receive => Right::Read,
            });
        let by_name = caller.and_then(|name| folder.allow.get(name));
        let granted = by_name.or_else(|| folder.allow.get(ANYBODY)).map(|granted| match granted {
            Granted::Read => Right::Read,
            Granted::Append => Right::Append,
            Granted::Write => Right::Write,
        });
        let most = match self.mode(folder) {
            Mode::Send => Right::Read,
            Mode::TwoWay | Mode::Receive | Mode::Primary => Right::Write,
        };
        as_member.max(granted).map(|right| right.min(most))
    }

    /// Whether the node with `key` is a member of the folder `name`, which this node serves.
    #[must_use]
    pub fn is_member(&self, name: &str, key: &PublicKey) -> bool {
        let known = self.folder(name).zip(self.name(key));
        known.is_some_and(|(folder, caller)| is_member(folder, caller))
    }

    /// Whether `caller` is known, or may do anything at all here.
    #[must_use]
    pub fn admits(&self, caller: Caller) -> bool {
        self.name(&caller.key).is_some() || self.served().any(|(name, ..)| self.right(name, caller).is_some())
    }

    /// The folders that `caller` may see.
    #[must_use]
    pub fn visible(&self, caller: Caller) -> Vec<FolderInfo> {
        self.served()
            .filter_map(|(name, folder, _)| {
                Some(FolderInfo {
                    name: name.to_owned(),
                    mode: word(self.mode(folder)).to_owned(),
                    comment: folder.comment.clone().unwrap_or_default(),
                    right: self.right(name, caller)?,
                })
            })
            .collect()
    }
}

/// The word of the config for `mode`.
#[must_use]
pub fn word(mode: Mode) -> &'static str {
    match mode {
        Mode::TwoWay => "two-way",
        Mode::Send => "send",
        Mode::Receive => "receive",
        Mode::Primary => "primary",
    }
}

fn is_member(folder: &Folder, name: &str) -> bool {
    folder.members.iter().any(|member| member == name)
}

fn mode_of(folder: &Folder, member: &str) -> Mode {
    folder.mode.of(member).copied().unwrap_or(Mode::TwoWay)
}

/// Whether `address`, in canonical form, lies in `network`.
fn contains(network: &Network, address: IpAddr) -> bool {
    let differs = |a: u128, b: u128, width: u32| {
        let ignored = width.saturating_sub(u32::from(network.bits));
        (a ^ b).checked_shr(ignored).unwrap_or(0) != 0
    };
    match (network.address, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => !differs(u32::from(a).into(), u32::from(b).into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => !differs(a.into(), b.into(), 128),
        (IpAddr::V6(a), IpAddr::V4(b)) => !differs(a.into(), b.to_ipv6_mapped().into(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) => false,
    }
}

#[cfg(test)]
mod tests;
