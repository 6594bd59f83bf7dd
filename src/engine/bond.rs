//! What the database of a root is about: one root has a database in each pair and for each folder that it is.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::engine::marker::Id;
use crate::engine::site::Site;
use crate::model::entry::Digest;
use crate::rules::conflict::Side;
use crate::store::error::StoreError;
use crate::store::meta::{self, Meta};

/// What a database of a root is about.
#[derive(Clone, Copy, Debug)]
pub enum Bond<'a> {
    /// A pair with this other root; ours is that side of it.
    Pair(&'a Site, Side),
    /// A folder of this name, served to others.
    Served(&'a str),
    /// A folder of a peer with which the root is kept in step, named by all that tells it apart; ours is that side.
    Far(&'a str, Side),
}

impl Bond<'_> {
    /// Returns the name of the database of the root at `own`, a canonical path.
    #[must_use]
    pub fn database(&self, own: &Path) -> Id {
        let (kind, other): (&[u8], &[u8]) = match self {
            Self::Pair(other, _) => (b"csync replica\0", other.root.path().as_os_str().as_bytes()),
            Self::Served(name) => (b"csync served\0", name.as_bytes()),
            Self::Far(name, _) => (b"csync far\0", name.as_bytes()),
        };
        name_of(kind, own, other)
    }

    /// Returns the side that our root is; of a served folder there is but one.
    #[must_use]
    pub fn side(&self) -> Side {
        match self {
            Self::Pair(_, side) | Self::Far(_, side) => *side,
            Self::Served(_) => Side::One,
        }
    }

    /// Whether there is another side that could win over ours.
    #[must_use]
    pub fn is_sided(&self) -> bool {
        !matches!(self, Self::Served(_))
    }

    /// Whether the database that knows `known` is about the same.
    ///
    /// # Errors
    /// The database refuses.
    pub fn is_of(&self, known: Meta<'_>) -> Result<bool, StoreError> {
        match self {
            Self::Pair(other, _) => {
                let peer = known.get(meta::PEER_ROOT_ID)?;
                Ok(peer.is_some() && peer == other.marker.as_ref().map(|marker| marker.id))
            }
            Self::Served(name) | Self::Far(name, _) => {
                Ok(known.get(meta::FOLDER)?.is_some_and(|folder| folder == *name))
            }
        }
    }
}

/// Returns the name of the database of the root at `own` in its pair with `other`, both canonical.
#[must_use]
pub fn pair_database(own: &Path, other: &Path) -> Id {
    name_of(b"csync replica\0", own, other.as_os_str().as_bytes())
}

fn name_of(kind: &[u8], own: &Path, other: &[u8]) -> Id {
    let digest = Digest::of(&[kind, own.as_os_str().as_bytes(), b"\0", other].concat());
    let mut id = [0; 16];
    id.copy_from_slice(&digest.0[..16]);
    id
}
