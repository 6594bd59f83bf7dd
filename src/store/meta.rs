//! What a database knows of its replica itself: typed settings.

use std::ffi::OsString;
use std::marker::PhantomData;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use crate::model::metadata::Timestamp;
use crate::model::version::ReplicaId;
use crate::store::db::Database;
use crate::store::error::StoreError;
use crate::store::pack::PackError;

/// Where the root was last found, absolute.
pub const ROOT_PATH: Key<PathBuf> = Key::new("root-path");
/// The id in the root's marker.
pub const ROOT_ID: Key<[u8; 16]> = Key::new("root-id");
/// Device and inode number of the root directory.
pub const ROOT_INODE: Key<(u64, u64)> = Key::new("root-inode");
/// Which side of its pair the root was when it was last opened: `1` or `2`.
pub const SIDE: Key<String> = Key::new("side");
/// Where the other root of a pair was last found, absolute.
pub const PEER_ROOT_PATH: Key<PathBuf> = Key::new("peer-root-path");
/// The id in the marker of the other root of a pair.
pub const PEER_ROOT_ID: Key<[u8; 16]> = Key::new("peer-root-id");
/// The replica id under which changes are recorded now.
pub const REPLICA: Key<ReplicaId> = Key::new("replica");
/// The counter of the last change that was recorded here.
pub const SEQUENCE: Key<u64> = Key::new("sequence");
/// The generation that the marker has, or gets when it is pending.
pub const GENERATION: Key<u64> = Key::new("generation");
/// The marker is being rewritten: it may have this generation or the one before.
pub const MARKER_PENDING: Key<bool> = Key::new("marker-pending");
/// The nonces of the last starts, in hexadecimal, the newest last.
pub const NONCES: Key<String> = Key::new("nonces");
/// State was lost or rolled back: the next exchange deletes nothing (S10).
pub const NO_DELETES: Key<bool> = Key::new("no-deletes");
/// A peer has heard of more than is known here: the next start begins anew under another id (S10).
pub const REBORN: Key<bool> = Key::new("reborn");
/// Set-id bits, devices and sockets were taken from others when it was last opened.
pub const TRUSTED: Key<bool> = Key::new("trusted");
/// When the database was made, by our clock.
pub const CREATED: Key<Timestamp> = Key::new("created");
/// The name of the folder.
pub const FOLDER: Key<String> = Key::new("folder");
/// Deletions of other replicas that a person let through, one replica a line.
pub const APPROVED: Key<String> = Key::new("approved");

/// All changes of ours up to this sequence are known to the peer, whose guest we are.
pub const SENT: Key<u64> = Key::new("sent");
/// How far a listing of a peer's rows came that was broken off. `engine::far::cache` has its form.
pub const LISTED: Key<String> = Key::new("listed");
/// The names of the owners in the rows of a peer, one a line.
pub const OWNER_NAMES: Key<String> = Key::new("owner-names");

/// The name of a setting that has a `T`.
#[derive(Debug)]
pub struct Key<T> {
    name: &'static str,
    value: PhantomData<fn() -> T>,
}

impl<T> Key<T> {
    const fn new(name: &'static str) -> Self {
        Self { name, value: PhantomData }
    }
}

/// The settings of a database.
#[derive(Clone, Copy, Debug)]
pub struct Meta<'d> {
    db: &'d Database,
}

impl<'d> Meta<'d> {
    /// Returns the settings of `db`.
    #[must_use]
    pub fn of(db: &'d Database) -> Self {
        Self { db }
    }

    /// Returns a setting, `None` if it was never set.
    ///
    /// # Errors
    /// The database refuses or is damaged.
    #[expect(clippy::needless_pass_by_value, reason = "keys are constants, read as words")]
    pub fn get<T: Value>(&self, key: Key<T>) -> Result<Option<T>, StoreError> {
        let Some(bytes) = self.db.meta(key.name)? else {
            return Ok(None);
        };
        let damaged = || self.db.corrupt(&format!("the setting {}", key.name), PackError::Range);
        T::from_bytes(bytes).ok_or_else(damaged).map(Some)
    }

    /// Sets a setting, in the open batch or one of its own.
    ///
    /// # Errors
    /// The database refuses.
    #[expect(clippy::needless_pass_by_value, reason = "keys are constants, read as words")]
    pub fn set<T: Value>(&self, key: Key<T>, value: &T) -> Result<(), StoreError> {
        self.db.set_meta(key.name, &value.to_bytes())
    }
}

/// What can be stored as a setting. Numbers are big-endian.
pub trait Value: Sized {
    /// Returns the stored form.
    fn to_bytes(&self) -> Vec<u8>;
    /// Returns the value whose stored form is `bytes`, if there is one.
    fn from_bytes(bytes: Vec<u8>) -> Option<Self>;
}

impl<const N: usize> Value for [u8; N] {
    fn to_bytes(&self) -> Vec<u8> {
        self.to_vec()
    }

    fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        bytes.try_into().ok()
    }
}

impl Value for ReplicaId {
    fn to_bytes(&self) -> Vec<u8> {
        self.0.to_vec()
    }

    fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        Value::from_bytes(bytes).map(Self)
    }
}

impl Value for u64 {
    fn to_bytes(&self) -> Vec<u8> {
        self.to_be_bytes().to_vec()
    }

    fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        Value::from_bytes(bytes).map(Self::from_be_bytes)
    }
}

impl Value for (u64, u64) {
    fn to_bytes(&self) -> Vec<u8> {
        [self.0.to_be_bytes(), self.1.to_be_bytes()].concat()
    }

    fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        let (first, second) = bytes.split_at_checked(8)?;
        Some((u64::from_bytes(first.to_vec())?, u64::from_bytes(second.to_vec())?))
    }
}

impl Value for bool {
    fn to_bytes(&self) -> Vec<u8> {
        vec![(*self).into()]
    }

    fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        match bytes[..] {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

impl Value for Timestamp {
    fn to_bytes(&self) -> Vec<u8> {
        [&self.secs.to_be_bytes()[..], &self.nanos.to_be_bytes()].concat()
    }

    fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        let (secs, nanos) = bytes.split_at_checked(8)?;
        let secs = i64::from_be_bytes(secs.try_into().ok()?);
        let nanos = u32::from_be_bytes(nanos.try_into().ok()?);
        (nanos < 1_000_000_000).then_some(Self { secs, nanos })
    }
}

impl Value for PathBuf {
    fn to_bytes(&self) -> Vec<u8> {
        self.as_os_str().as_bytes().to_vec()
    }

    fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        Some(OsString::from_vec(bytes).into())
    }
}

impl Value for String {
    fn to_bytes(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        Self::from_utf8(bytes).ok()
    }
}

#[cfg(test)]
mod tests;
