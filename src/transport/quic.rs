//! Calling peers and being called.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, Incoming, ServerConfig, VarInt};
use rustls::pki_types::CertificateDer;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::model::heard::heard;
use crate::model::key::{KEY_PREFIX, PublicKey};
use crate::transport::channel::{Channel, Shared};
use crate::transport::error::WireError;
use crate::transport::identity::Identity;
use crate::transport::link::{Goodbye, Link, said};
use crate::transport::message::{Code, Hello, Message, Welcome};
use crate::transport::runtime;
use crate::transport::seats::{Doorman, Limits, Seat, Seats};
use crate::transport::tls;
use crate::transport::tuning;

/// Versions of the protocol that this program speaks, best first.
pub const VERSIONS: &[u16] = &[1];
/// Program and version, as peers and logs see it.
pub const AGENT: &str = concat!("csync ", env!("CARGO_PKG_VERSION"));
/// The next address is tried when the one before has not answered for so long (RFC 8305, Happy Eyeballs).
const STAGGER: Duration = Duration::from_millis(250);
/// TLS wants a name; keys are what counts.
const SERVER_NAME: &str = "csync";
/// Alert of TLS for "no common application protocol", in QUIC's numbering of crypto errors.
const NO_COMMON_PROTOCOL: u64 = 0x100 + 120;

/// Calls peers.
#[derive(Debug)]
pub struct Caller {
    own: Arc<rustls::sign::CertifiedKey>,
    rate: Option<u64>,
    patience: Option<Duration>,
}

impl Caller {
    /// Returns a caller that shows itself as `identity`.
    #[must_use]
    pub fn new(identity: &Identity) -> Self {
        Self { own: identity.tls(), rate: None, patience: None }
    }

    /// Limits every connection to `rate` bytes per second each way, from the first byte on.
    #[must_use]
    pub fn with_rate(self, rate: Option<u64>) -> Self {
        Self { rate, ..self }
    }

    /// Has every connection fail with [`WireError::Timeout`] once its peer is silent for `patience`, or makes no
    /// progress for so long; `None` for [`PATIENCE`](crate::transport::channel::PATIENCE).
    #[must_use]
    pub fn with_timeout(self, patience: Option<Duration>) -> Self {
        Self { patience, ..self }
    }

    /// Returns a connection with the owner of `key` at the first of `addresses` that answers, and its control stream,
    /// both sides having introduced themselves; all of it within `patience`.
    ///
    /// # Errors
    /// Nobody answers, another key answers, the peer does not let us in, or speaks no version of ours.
    pub fn connect(
        &self,
        addresses: &[SocketAddr],
        key: &PublicKey,
        patience: Duration,
    ) -> Result<(Link, Channel), WireError> {
        let call = async { timeout(patience, self.call(addresses, *key)).await };
        let answered = runtime::wait_for(call).map_err(Shared::no_runtime)?;
        let (endpoint, answered) = answered.unwrap_or_else(|_elapsed| {
            Err(WireError::ConnectTimeout { address: listed(addresses), timeout: patience })
        })?;
        Ok(answered.into_link(Some(endpoint)))
    }

    async fn call(&self, addresses: &[SocketAddr], key: PublicKey) -> Result<(Endpoint, Met), WireError> {
        let mut attempts = JoinSet::new();
        for (at, address) in (0u32..).zip(addresses) {
            let (own, limits, address) = (Arc::clone(&self.own), (self.rate, self.patience), *address);
            attempts.spawn(async move {
                sleep(STAGGER * at).await;
                attempt(own, limits, address, key).await
            });
        }
        let mut failure = None;
        while let Some(attempted) = attempts.join_next().await {
            match attempted {
                Ok(Ok((endpoint, connection))) => {
                    attempts.abort_all();
                    return Ok((endpoint, introduce(connection, key, (self.rate, self.patience)).await?));
                }
                // That someone else answers is worth more than that another address is silent.
                Ok(Err(error)) if !matches!(failure, Some(WireError::WrongKey { .. })) => {
                    failure = Some(error);
                }
                Ok(Err(_)) | Err(_) => {}
            }
        }
        Err(failure.unwrap_or_else(|| WireError::Unreachable {
            address: listed(addresses),
            why: "there is no address to try".to_owned(),
        }))
    }
}

fn listed(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A connection on which both sides have introduced themselves. It becomes a [`Link`] outside of the runtime, where
/// dropping one may wait.
struct Met {
    connection: Connection,
    peer: PublicKey,
    shared: Arc<Shared>,
    control: Channel,
}

impl Met {
    fn into_link(self, endpoint: Option<Endpoint>) -> (Link, Channel) {
        (Link::new(self.connection, endpoint, self.peer, self.shared), self.control)
    }
}

/// One address: a socket of its own, the TLS handshake.
async fn attempt(
    own: Arc<rustls::sign::CertifiedKey>,
    (rate, patience): (Option<u64>, Option<Duration>),
    address: SocketAddr,
    key: PublicKey,
) -> Result<(Endpoint, Connection), WireError> {
    let unreachable = |why: String| WireError::Unreachable { address: address.to_string(), why };
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let endpoint = tuning::endpoint(SocketAddr::new(any, 0), None)
        .map_err(|source| WireError::Local { action: "open a UDP socket".to_owned(), source })?;
    let pin = Arc::new(tls::Pin::new(key));
    let tls = tls::client(own, Arc::clone(&pin)).map_err(|error| unreachable(error.to_string()))?;
    let tls = QuicClientConfig::try_from(tls).map_err(|error| unreachable(error.to_string()))?;
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(tuning::transport(address.ip(), rate, patience)));
    let connecting = endpoint
        .connect_with(config, address, SERVER_NAME)
        .map_err(|error| unreachable(error.to_string()))?;
    match connecting.await {
        Ok(connection) => Ok((endpoint, connection)),
        Err(error) => Err(match (pin.stranger(), &error) {
            (Some(found), _) => WireError::WrongKey { address, wanted: key, found },
            (None, error) if lacks_protocol(error) => {
                WireError::Version { peer: address.to_string(), why: "it speaks something else".to_owned() }
            }
            (None, ConnectionError::ApplicationClosed(_)) => Shared::new(address.to_string()).lost(&error),
            (None, error) => unreachable(heard(&error.to_string())),
        }),
    }
}

fn lacks_protocol(error: &ConnectionError) -> bool {
    let code = match error {
        ConnectionError::TransportError(error) => error.code,
        ConnectionError::ConnectionClosed(close) => close.error_code,
        ConnectionError::VersionMismatch => return true,
        ConnectionError::ApplicationClosed(_)
        | ConnectionError::Reset
        | ConnectionError::TimedOut
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => return false,
    };
    u64::from(code) == NO_COMMON_PROTOCOL
}

/// The caller's side of the first words.
async fn introduce(
    connection: Connection,
    peer: PublicKey,
    (rate, patience): (Option<u64>, Option<Duration>),
) -> Result<Met, WireError> {
    let shared = Shared::new(connection.remote_address().to_string());
    shared.set_patience(patience);
    shared.sending.set(rate);
    shared.receiving.set(rate);
    let (send, recv) = connection.open_bi().await.map_err(|error| shared.lost(&error))?;
    let mut control = Channel::new(send, recv, Arc::clone(&shared));
    control
        .send_soon(&Message::Hello(Hello { versions: VERSIONS.to_vec(), agent: AGENT.to_owned() }))
        .await?;
    let answer = control.recv_soon().await?;
    let Message::Welcome(Welcome { version, .. }) = answer else {
        let what = "something else than a welcome".to_owned();
        return Err(WireError::Protocol { peer: shared.peer.clone(), what });
    };
    if !VERSIONS.contains(&version) {
        let why = format!("it chose version {version}");
        return Err(WireError::Version { peer: shared.peer.clone(), why });
    }
    Ok(Met { connection, peer, shared, control })
}

/// Who is connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Session {
    /// The key that it proved to have.
    pub peer: PublicKey,
    /// Where it is.
    pub address: SocketAddr,
}

/// Takes calls. Dropping it ends all its connections.
pub struct Listener {
    endpoint: Endpoint,
    ready: Mutex<mpsc::Receiver<Met>>,
    house: Arc<House>,
}

/// What all who wait for calls share.
struct House {
    node: String,
    doorman: Arc<dyn Doorman>,
    limits: Limits,
    crypto: Arc<QuicServerConfig>,
    pending: AtomicUsize,
    seats: Arc<Seats>,
}

/// Connections that wait for [`Listener::accept`].
const READY_MAX: usize = 16;
/// What a caller may send before it is let in.
const STRANGER_WINDOW: u32 = 64 << 10;

impl Listener {
    /// Returns a listener at `address` (port 0: any free one), which shows itself as `identity` and calls itself
    /// `node`. It takes calls from now on.
    ///
    /// # Errors
    /// The address is in use or not ours.
    pub fn bind(
        address: SocketAddr,
        identity: &Identity,
        node: &str,
        doorman: Arc<dyn Doorman>,
        limits: Limits,
    ) -> Result<Self, WireError> {
        let local = |source| WireError::Local { action: format!("listen at {address} (UDP)"), source };
        let config = tls::server(identity.tls()).map_err(std::io::Error::other).map_err(local)?;
        let crypto = QuicServerConfig::try_from(config).map_err(std::io::Error::other).map_err(local)?;
        let house = Arc::new(House {
            node: node.to_owned(),
            doorman,
            limits,
            crypto: Arc::new(crypto),
            pending: AtomicUsize::new(0),
            seats: Arc::default(),
        });
        let config = house.config(address.ip());
        let (hand_over, ready) = mpsc::channel(READY_MAX);
        let endpoint = runtime::wait_for(async {
            let endpoint = tuning::endpoint(address, Some((*config).clone()))?;
            tokio::spawn(take_calls(endpoint.clone(), Arc::clone(&house), hand_over));
            Ok(endpoint)
        });
        let endpoint = endpoint.and_then(|endpoint| endpoint).map_err(local)?;
        Ok(Self { endpoint, ready: Mutex::new(ready), house })
    }

    /// Returns the address it listens at.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn address(&self) -> Result<SocketAddr, WireError> {
        self.endpoint
            .local_addr()
            .map_err(|source| WireError::Local { action: "ask for the own UDP address".to_owned(), source })
    }

    /// Returns the next connection that was let in, and its control stream, both sides having introduced themselves;
    /// `None` after [`shutdown`](Self::shutdown).
    ///
    /// # Errors
    /// The system has no threads left.
    pub fn accept(&self) -> Result<Option<(Link, Channel)>, WireError> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let met = runtime::wait_for(ready.recv()).map_err(Shared::no_runtime)?;
        Ok(met.map(|met| met.into_link(None)))
    }

    /// Returns who is connected now.
    #[must_use]
    pub fn sessions(&self) -> Vec<Session> {
        let session = |seat: &Seat| Session { peer: seat.peer, address: seat.connection.remote_address() };
        self.house.seats.each(|seat| Some(session(seat)))
    }

    /// Ends the connections of all keys that the doorman does not admit any more; returns how many.
    pub fn recheck(&self) -> usize {
        let strangers = self.house.seats.each(|seat| {
            let admitted = self.house.doorman.admits(&seat.peer, seat.connection.remote_address());
            admitted.is_none().then(|| seat.connection.clone())
        });
        for connection in &strangers {
            Goodbye::say(connection, Code::Denied, "this key was revoked");
        }
        strangers.len()
    }

    /// Ends all connections of `key` with `code`; returns how many.
    pub fn close(&self, key: &PublicKey, code: Code, text: &str) -> usize {
        let theirs = self.house.seats.each(|seat| (seat.peer == *key).then(|| seat.connection.clone()));
        for connection in &theirs {
            Goodbye::say(connection, code, text);
        }
        theirs.len()
    }

    /// Takes no more calls and ends all connections; returns when the peers have been told.
    pub fn shutdown(&self, text: &str) {
        let goodbyes =
            self.house.seats.each(|seat| Some(Goodbye::say(&seat.connection, Code::Shutdown, text)));
        self.endpoint.close(VarInt::from_u32(u32::from(Code::Shutdown.number())), text.as_bytes());
        // No runtime: then there is no connection either.
        runtime::wait_for(said(goodbyes)).ok();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shutdown("");
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({:?})", self.endpoint.local_addr())
    }
}

impl House {
    fn config(&self, peer: IpAddr) -> Arc<ServerConfig> {
        let crypto: Arc<QuicServerConfig> = Arc::clone(&self.crypto);
        let mut config = ServerConfig::with_crypto(crypto);
        let mut transport = tuning::transport(peer, None, None);
        transport.receive_window(VarInt::from_u32(STRANGER_WINDOW));
        config.transport_config(Arc::new(transport));
        Arc::new(config)
    }
}

async fn take_calls(endpoint: Endpoint, house: Arc<House>, ready: mpsc::Sender<Met>) {
    while let Some(incoming) = endpoint.accept().await {
        let pending = house.pending.load(Ordering::Relaxed);
        if pending >= house.limits.pending {
            incoming.ignore();
        } else if pending >= house.limits.retry && !incoming.remote_address_validated() {
            // It may not be retried twice; then it is dropped, and calls again.
            incoming.retry().ok();
        } else {
            house.pending.fetch_add(1, Ordering::Relaxed);
            let (house, ready) = (Arc::clone(&house), ready.clone());
            tokio::spawn(async move {
                let admitted = admit(incoming, &house).await;
                house.pending.fetch_sub(1, Ordering::Relaxed);
                if let Some(met) = admitted {
                    let connection = met.connection.clone();
                    if ready.try_send(met).is_err() {
                        Goodbye::say(&connection, Code::Busy, "too many callers at once");
                    }
                }
            });
        }
    }
}

/// Why a caller is not let in.
type No = (Code, String);

async fn admit(incoming: Incoming, house: &Arc<House>) -> Option<Met> {
    let until = Instant::now() + house.limits.handshake;
    let config = house.config(incoming.remote_address().ip());
    let connecting = incoming.accept_with(config).ok()?;
    // A caller that never finishes the handshake, or has no key, has nobody to whom it could be said.
    let connection = timeout_at(until, connecting).await.ok()?.ok()?;
    let late = |_elapsed| Err((Code::Timeout, "no hello in time".to_owned()));
    match timeout_at(until, welcome(&connection, house)).await.unwrap_or_else(late) {
        Ok(met) => Some(met),
        Err((code, text)) => {
            Goodbye::say(&connection, code, &text);
            None
        }
    }
}

/// The called side of the first words.
async fn welcome(connection: &Connection, house: &Arc<House>) -> Result<Met, No> {
    let address = connection.remote_address();
    let shown =
        connection.peer_identity().and_then(|shown| shown.downcast::<Vec<CertificateDer<'static>>>().ok());
    let key = shown
        .and_then(|shown| tls::key_of(shown.first()?))
        .ok_or_else(|| (Code::Denied, "no key was shown".to_owned()))?;
    let welcomed = house.doorman.admits(&key, address);
    let welcomed = welcomed.ok_or_else(|| (Code::Denied, "this key is not known here".to_owned()))?;
    house.seats.enter(&house.limits, (key, welcomed), connection)?;
    let name = house.doorman.name(&key).unwrap_or_else(|| {
        let mut name = key.to_string();
        name.truncate(KEY_PREFIX.len() + 8);
        name
    });
    let shared = Shared::new(format!("{name} at {address}"));
    let gone = |error: WireError| (error.code(), error.to_string());
    let (send, recv) = connection.accept_bi().await.map_err(|error| gone(shared.lost(&error)))?;
    let mut control = Channel::new(send, recv, Arc::clone(&shared));
    let Message::Hello(hello) = control.recv_soon().await.map_err(gone)? else {
        return Err((Code::Protocol, "the first message is to be a hello".to_owned()));
    };
    let Some(version) = VERSIONS.iter().copied().find(|version| hello.versions.contains(version)) else {
        return Err((Code::Version, format!("this is {AGENT}, which speaks {VERSIONS:?}")));
    };
    connection.set_receive_window(VarInt::from_u32(tuning::connection_window(None)));
    let welcome = Welcome { version, agent: AGENT.to_owned(), node: house.node.clone() };
    control.send_soon(&Message::Welcome(welcome)).await.map_err(gone)?;
    Ok(Met { connection: connection.clone(), peer: key, shared, control })
}

#[cfg(test)]
mod tests;
