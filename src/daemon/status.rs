//! What a daemon tells of itself: the object of `status --json`, made on one side and read on the other.

use serde_json::{Value, json};

/// The version of the object's shape.
const SCHEMA: u64 = 1;

/// A daemon at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// The node's name.
    pub node: String,
    /// Addresses that it listens on.
    pub listen: Vec<String>,
    /// The folders that it serves, by name.
    pub folders: Vec<FolderStatus>,
}

/// A folder at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FolderStatus {
    /// Its name.
    pub name: String,
    /// The word for its mode here.
    pub mode: String,
    /// How it stands.
    pub state: State,
    /// Why it stands so, where that wants an explanation; with what to do.
    pub why: Option<String>,
    /// Live files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Open conflicts.
    pub conflicts: u64,
    /// Plans stopped by the delete guard.
    pub held: u64,
    /// Connections that have it open.
    pub sessions: u64,
    /// The other members.
    pub peers: Vec<PeerStatus>,
}

/// Another member of a folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerStatus {
    /// Its name.
    pub name: String,
    /// Whether a connection of it is open here.
    pub connected: bool,
    /// Entries that it does not have yet; `None` while that is not known.
    pub behind: Option<u64>,
}

/// Declares [`State`] with its words.
macro_rules! states {
    ($($(#[doc = $doc:literal])* $variant:ident = $word:literal,)*) => {
        /// How a folder stands.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum State { $($(#[doc = $doc])* $variant,)* }

        impl State {
            /// Every state with its word.
            pub const ALL: &'static [(Self, &'static str)] = &[$((Self::$variant, $word),)*];

            /// The word of the contract.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
    };
}

states! {
    /// Nothing waits.
    InSync = "in-sync",
    /// The tree is being looked at.
    Scanning = "scanning",
    /// Changes are under way.
    Syncing = "syncing",
    /// A plan waits for a person.
    Held = "held",
    /// The root contradicts what is known of it.
    Halted = "halted",
    /// A person stopped it.
    Paused = "paused",
    /// Something failed.
    Error = "error",
}

impl Status {
    /// Returns the object of the contract.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let peer = |peer: &PeerStatus| json!({ "name": peer.name, "connected": peer.connected, "behind": peer.behind });
        let folder = |folder: &FolderStatus| {
            json!({
                "name": folder.name,
                "mode": folder.mode,
                "state": folder.state.word(),
                "why": folder.why,
                "files": folder.files,
                "bytes": folder.bytes,
                "conflicts": folder.conflicts,
                "held": folder.held,
                "sessions": folder.sessions,
                "peers": folder.peers.iter().map(peer).collect::<Vec<_>>(),
            })
        };
        json!({
            "schema": SCHEMA,
            "node": self.node,
            "listen": self.listen,
            "folders": self.folders.iter().map(folder).collect::<Vec<_>>(),
        })
    }

    /// Returns what the object `bytes` says; fields of later versions are passed over.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        (value["schema"].as_u64()? == SCHEMA).then_some(())?;
        let listen = value["listen"].as_array().map(Vec::as_slice).unwrap_or_default();
        Some(Self {
            node: text(&value["node"])?,
            listen: listen.iter().filter_map(text).collect(),
            folders: value["folders"].as_array()?.iter().map(folder).collect::<Option<_>>()?,
        })
    }
}

fn folder(value: &Value) -> Option<FolderStatus> {
    let word = value["state"].as_str()?;
    Some(FolderStatus {
        name: text(&value["name"])?,
        mode: text(&value["mode"])?,
        state: State::ALL.iter().find(|(_, known)| *known == word)?.0,
        why: text(&value["why"]),
        files: value["files"].as_u64()?,
        bytes: value["bytes"].as_u64()?,
        conflicts: value["conflicts"].as_u64()?,
        held: value["held"].as_u64()?,
        sessions: value["sessions"].as_u64().unwrap_or_default(),
        peers: value["peers"].as_array()?.iter().map(peer).collect::<Option<_>>()?,
    })
}

fn peer(value: &Value) -> Option<PeerStatus> {
    Some(PeerStatus {
        name: text(&value["name"])?,
        connected: value["connected"].as_bool()?,
        behind: value["behind"].as_u64(),
    })
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_side_tells_the_other_reads() {
        let folder = FolderStatus {
            name: "uploads".to_owned(),
            mode: "two-way".to_owned(),
            state: State::Halted,
            why: Some("its root is empty".to_owned()),
            files: 3,
            bytes: u64::MAX,
            conflicts: 1,
            held: 2,
            sessions: 4,
            peers: vec![PeerStatus { name: "web2".to_owned(), connected: true, behind: None }],
        };
        let status =
            Status { node: "web1".to_owned(), listen: vec!["[::]:8730".to_owned()], folders: vec![folder] };
        let value = status.to_json();
        assert_eq!(Status::parse(value.to_string().as_bytes()), Some(status));
        for field in ["name", "mode", "state", "files", "bytes", "conflicts", "held", "peers"] {
            assert!(!value["folders"][0][field].is_null(), "{field}");
        }
        assert_eq!(value["schema"], 1);
        for text in ["", "{}", "[]", "{\"schema\":2,\"node\":\"a\",\"folders\":[]}"] {
            assert_eq!(Status::parse(text.as_bytes()), None, "{text}");
        }
    }
}
