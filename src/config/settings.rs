//! The settings file as typed values. Plain data; `config::parse` makes it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::model::key::PublicKey;

/// The port of csyncd where none is named.
pub const PORT: u16 = 8730;

/// The whole file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Config {
    /// This node's name; else it finds itself by its key.
    pub node: Option<String>,
    /// Addresses to listen on; empty: all, port [`PORT`].
    pub listen: Vec<Address>,
    /// The group that may use the control socket.
    pub control_group: Option<String>,
    /// Nodes by name.
    pub peers: BTreeMap<String, Peer>,
    /// Folders by name.
    pub folders: BTreeMap<String, Folder>,
    /// One-shot runs by name.
    pub jobs: BTreeMap<String, Job>,
}

impl Config {
    /// Returns the name of the node that has `key`: as configured, else that of the peer with this key.
    #[must_use]
    pub fn own_name(&self, key: PublicKey) -> Option<String> {
        let by_key = || self.peers.iter().find(|(_, peer)| peer.key == key).map(|(name, _)| name.clone());
        self.node.clone().or_else(by_key)
    }
}

/// A host and a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// An IP address or a DNS name.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

impl fmt::Display for Address {
    /// `HOST:PORT`, an IPv6 address in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Its pinned key.
    pub key: PublicKey,
    /// Where it is reached; at least one.
    pub addresses: Vec<Address>,
}

/// A value that may differ by member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PerMember<T> {
    /// For members that are not named: `"*"`, or the one value.
    pub others: Option<T>,
    /// By member.
    pub named: BTreeMap<String, T>,
}

impl<T> Default for PerMember<T> {
    fn default() -> Self {
        Self { others: None, named: BTreeMap::new() }
    }
}

impl<T> PerMember<T> {
    /// Returns the value for `member`.
    #[must_use]
    pub fn of(&self, member: &str) -> Option<&T> {
        self.named.get(member).or(self.others.as_ref())
    }
}

/// Who writes in a folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Everybody.
    TwoWay,
    /// This member gives and takes nothing.
    Send,
    /// This member takes and gives nothing.
    Receive,
    /// Only the primary.
    Primary,
}

/// Which content stays when two members changed it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Conflict {
    /// The later one; the other is a conflict to be looked at.
    KeepBoth,
    /// The later one.
    Newest,
    /// The earlier one.
    Oldest,
    /// The larger one.
    Largest,
    /// The smaller one.
    Smallest,
    /// The one of this peer.
    Prefer(String),
    /// A three-way merge of text, else as `keep-both`.
    Merge,
    /// Each keeps its own until a person decides.
    Manual,
}

/// Whose the files are on the receiving side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OwnerRule {
    /// The user of that name here.
    ByName,
    /// The same number.
    Numeric,
    /// As they are made.
    None,
    /// Everything is this `USER:GROUP`'s.
    Fixed(String),
}

/// A bound as a number or a share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    /// So many entries, or bytes.
    Count(u64),
    /// So many of a hundred.
    Percent(u8),
}

/// What happens to deletions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deletes {
    /// Whether they are carried to other members.
    pub propagate: bool,
    /// The delete guard's bound; `None`: its formula.
    pub hold_above: Option<Bound>,
}

/// One rule of retention; a version stays if any rule wants it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// The last N.
    Last(u32),
    /// One for each of N hours.
    Hourly(u32),
    /// One for each of N days.
    Daily(u32),
    /// One for each of N weeks.
    Weekly(u32),
    /// One for each of N months.
    Monthly(u32),
    /// One for each of N years.
    Yearly(u32),
    /// All that are not older.
    Within(Duration),
}

/// Which old versions are kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Versions {
    /// Rules; empty: none are kept.
    pub keep: Vec<Keep>,
    /// Bytes, or a share of the file system.
    pub max: Option<Bound>,
}

/// A command to run after a batch of changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hook {
    /// Pattern of paths.
    pub pattern: String,
    /// Program and arguments.
    pub run: Vec<String>,
    /// How long it must have been quiet.
    pub settle: Duration,
}

/// What a node that is no member may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Right {
    /// Take.
    Read,
    /// Take and give.
    Write,
    /// Give, with every old content kept.
    Append,
}

/// A range of addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    /// An address in it.
    pub address: IpAddr,
    /// Number of leading bits that count.
    pub bits: u8,
}

/// Bounds on who takes from a folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// At once.
    pub connections: Option<u32>,
    /// Bytes in a second.
    pub rate: Option<u64>,
    /// Without progress.
    pub timeout: Option<Duration>,
}

/// A tree kept by several nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Folder {
    /// Names of the nodes that keep it.
    pub members: Vec<String>,
    /// Its root on each; absolute.
    pub path: PerMember<String>,
    /// Who writes.
    pub mode: PerMember<Mode>,
    /// What a conflict comes to.
    pub conflict: Conflict,
    /// Owners.
    pub owner: OwnerRule,
    /// Deletions.
    pub delete: Deletes,
    /// Old versions.
    pub versions: Versions,
    /// Filter rules, in order.
    pub filters: Vec<String>,
    /// Commands.
    pub on_change: Vec<Hook>,
    /// For listings.
    pub comment: Option<String>,
    /// Rights of others than members, by node name or `*`.
    pub allow: BTreeMap<String, Right>,
    /// Where anybody, members too, may come from; empty: anywhere.
    pub hosts: Vec<Network>,
    /// Bounds.
    pub limits: Limits,
    /// `trust = "root"`: setuid, devices and privileged attributes are taken.
    pub trust_root: bool,
}

/// What a job does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JobKind {
    /// `push`.
    Push,
    /// `pull`.
    Pull,
    /// `sync`.
    Sync,
}

/// A rate that holds for a part of the day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateWindow {
    /// Bytes in a second.
    pub rate: u64,
    /// Minutes after midnight, local time.
    pub from: u16,
    /// Minutes after midnight, local time; before `from`: on the next day.
    pub to: u16,
}

/// A one-shot run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
    /// Which verb.
    pub kind: JobKind,
    /// First operands.
    pub sources: Vec<String>,
    /// The last operand.
    pub target: String,
    /// Flags.
    pub options: Vec<String>,
    /// Filter rules, in order, after those of the flags.
    pub filters: Vec<String>,
    /// Rates.
    pub bwlimit: Vec<RateWindow>,
}
