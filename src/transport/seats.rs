//! Who may come in, and how many of whom.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quinn::Connection;

use crate::model::key::PublicKey;
use crate::transport::message::Code;

/// Decides who may come in.
pub trait Doorman: Send + Sync {
    /// Returns as whom the owner of `key`, calling from `address`, may talk to us; `None`: not at all. Called on a thread
    /// of the network: it looks something up and returns.
    fn admits(&self, key: &PublicKey, address: SocketAddr) -> Option<Welcomed>;

    /// Returns what the owner of `key` is called in messages; `None` where its key alone is known.
    fn name(&self, _key: &PublicKey) -> Option<String> {
        None
    }
}

/// As whom somebody is let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Welcomed {
    /// As one whom we know by name.
    Known,
    /// As anybody: some folder here is open to every key. Keys are to be had for nothing, so all such callers together
    /// get no more than a share.
    Anybody,
}

/// What a listener puts up with.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From a caller's first byte until it is let in.
    pub handshake: Duration,
    /// Callers that are not let in yet; more are not answered.
    pub pending: usize,
    /// Above so many, a caller must first show that its address is its own.
    pub retry: usize,
    /// Connections; more are told that we are busy.
    pub sessions: usize,
    /// Connections of one key, so that none keeps the others out.
    pub of_one_key: usize,
    /// Connections of keys that are not known here: the others are kept for those that are.
    pub of_anybody: usize,
    /// Of these, those from one place: an address of IPv4, a /64 of IPv6.
    pub of_one_place: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            pending: 256,
            retry: 64,
            sessions: 256,
            of_one_key: 32,
            of_anybody: 128,
            of_one_place: 32,
        }
    }
}

/// A connection that was let in.
pub(crate) struct Seat {
    pub(crate) peer: PublicKey,
    welcomed: Welcomed,
    pub(crate) connection: Connection,
}

/// The connections that there are, each under its own number.
#[derive(Default)]
pub(crate) struct Seats(Mutex<HashMap<usize, Seat>>);

impl Seats {
    fn taken(&self) -> MutexGuard<'_, HashMap<usize, Seat>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection until it ends; or says why it may not stay.
    pub(crate) fn enter(
        self: &Arc<Self>,
        limits: &Limits,
        seat: (PublicKey, Welcomed),
        connection: &Connection,
    ) -> Result<(), (Code, String)> {
        let (peer, welcomed) = seat;
        let mut taken = self.taken();
        let count = |counts: &dyn Fn(&Seat) -> bool| taken.values().filter(|seat| counts(seat)).count();
        let unknown = |seat: &Seat| seat.welcomed == Welcomed::Anybody;
        let here = place(connection);
        let full = if taken.len() >= limits.sessions {
            Some("too many connections")
        } else if count(&|seat| seat.peer == peer) >= limits.of_one_key {
            Some("too many connections with this key")
        } else if welcomed == Welcomed::Known {
            None
        } else if count(&unknown) >= limits.of_anybody {
            Some("too many connections with keys that are not known here")
        } else if count(&|seat| unknown(seat) && place(&seat.connection) == here) >= limits.of_one_place {
            Some("too many connections from this address")
        } else {
            None
        };
        if let Some(why) = full {
            return Err((Code::Busy, why.to_owned()));
        }
        let seat = Seat { peer, welcomed, connection: connection.clone() };
        taken.insert(connection.stable_id(), seat);
        let (seats, connection) = (Arc::clone(self), connection.clone());
        tokio::spawn(async move {
            connection.closed().await;
            seats.taken().remove(&connection.stable_id());
        });
        Ok(())
    }

    /// Returns what `what` makes of each, leaving out `None`.
    pub(crate) fn each<T>(&self, what: impl Fn(&Seat) -> Option<T>) -> Vec<T> {
        self.taken().values().filter_map(what).collect()
    }
}

/// Where a caller is, as far as one caller cannot be at many places: IPv6 hands out whole networks.
fn place(connection: &Connection) -> IpAddr {
    const NETWORK_BITS: u32 = 64;
    match connection.remote_address().ip().to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> NETWORK_BITS).into(),
    }
}
