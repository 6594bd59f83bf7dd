//! How far we have read each peer.

use crate::model::version::ReplicaId;
use crate::store::db::Database;
use crate::store::error::StoreError;

/// What we know of a peer's replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Its id.
    pub replica: ReplicaId,
    /// All its rows up to this sequence of its own were read in complete passes (S7).
    pub cursor: u64,
    /// The boot nonce under which we saw that sequence (S10).
    pub nonce: Option<[u8; 16]>,
}

/// The peers of a database.
#[derive(Clone, Copy, Debug)]
pub struct Peers<'d> {
    db: &'d Database,
}

impl<'d> Peers<'d> {
    /// Returns the peers that `db` knows.
    #[must_use]
    pub fn of(db: &'d Database) -> Self {
        Self { db }
    }

    /// Returns what is known of `replica`.
    ///
    /// # Errors
    /// The database refuses.
    pub fn get(&self, replica: ReplicaId) -> Result<Option<Peer>, StoreError> {
        let sql = "SELECT cursor, nonce FROM peer WHERE replica = ?1";
        let mut peers = self.db.query("read a peer", sql, (replica.0,), |fields| {
            Ok(Peer { replica, cursor: fields.get(0)?, nonce: fields.get(1)? })
        })?;
        Ok(peers.pop())
    }

    /// Records `peer`, in the open batch or one of its own.
    ///
    /// # Errors
    /// The database refuses.
    pub fn put(&self, peer: &Peer) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO peer (replica, cursor, nonce) VALUES (?1, ?2, ?3)";
        self.db.execute("write a peer", sql, (peer.replica.0, peer.cursor, peer.nonce)).map(drop)
    }

    /// Lets everything of all peers be heard anew.
    ///
    /// # Errors
    /// The database refuses.
    pub fn rewind(&self) -> Result<(), StoreError> {
        self.db.execute("let peers be heard anew", "UPDATE peer SET cursor = 0", ()).map(drop)
    }

    /// Forgets every peer but `replica`: in a pair, what stood there under another id is gone.
    ///
    /// # Errors
    /// The database refuses.
    pub fn forget_others(&self, replica: ReplicaId) -> Result<(), StoreError> {
        self.db.execute("forget peers", "DELETE FROM peer WHERE replica <> ?1", (replica.0,)).map(drop)
    }
}

#[cfg(test)]
mod tests;
