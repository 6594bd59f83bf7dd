//! A connection with one peer, either side of it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use quinn::{Connection, ConnectionError, Endpoint, VarInt};
use tokio::time::{sleep, timeout};

use crate::model::key::PublicKey;
use crate::transport::channel::{Channel, Shared};
use crate::transport::error::WireError;
use crate::transport::message::Code;
use crate::transport::runtime;
use crate::transport::tuning::connection_window;

/// How long a goodbye may take to leave this machine.
const GOODBYE: Duration = Duration::from_millis(100);

/// UDP payload bytes of a connection, framing, acknowledgements and handshake included.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Traffic {
    /// To the peer.
    pub sent: u64,
    /// From the peer.
    pub received: u64,
}

/// A connection. Streams of both sides may be used from many threads. Dropping the last handle closes it.
pub struct Link {
    connection: Connection,
    /// Of a caller: the socket that is this connection's alone.
    endpoint: Option<Endpoint>,
    peer: PublicKey,
    shared: Arc<Shared>,
    /// Bytes that the peer may send ahead.
    window: AtomicU32,
}

/// What a connection had heard when its peer was asked for a sign of life.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    heard: u64,
}

impl Link {
    pub(crate) fn new(
        connection: Connection,
        endpoint: Option<Endpoint>,
        peer: PublicKey,
        shared: Arc<Shared>,
    ) -> Self {
        Self { connection, endpoint, peer, shared, window: AtomicU32::new(connection_window(None)) }
    }

    /// Returns a new stream. The peer learns of it with the first message sent on it.
    ///
    /// # Errors
    /// The connection is gone, or the peer lets no further stream be opened for too long.
    pub fn channel(&self) -> Result<Channel, WireError> {
        let patience = self.shared.patience();
        let open = async { timeout(patience, self.connection.open_bi()).await };
        let (send, recv) = runtime::wait_for(open)
            .map_err(Shared::no_runtime)?
            .map_err(|_elapsed| WireError::Timeout {
                peer: self.shared.peer.clone(),
                doing: "opening a stream",
                after: patience,
            })?
            .map_err(|error| self.shared.lost(&error))?;
        Ok(Channel::new(send, recv, Arc::clone(&self.shared)))
    }

    /// Returns the next stream that the peer opened; `None` once it, or this side, has closed the connection as done.
    ///
    /// # Errors
    /// The connection ended otherwise.
    pub fn accept(&self) -> Result<Option<Channel>, WireError> {
        match runtime::wait_for(self.connection.accept_bi()).map_err(Shared::no_runtime)? {
            Ok((send, recv)) => Ok(Some(Channel::new(send, recv, Arc::clone(&self.shared)))),
            Err(ConnectionError::LocallyClosed) => Ok(None),
            Err(ConnectionError::ApplicationClosed(close))
                if close.error_code == VarInt::from_u32(u32::from(Code::Done.number())) =>
            {
                Ok(None)
            }
            Err(error) => Err(self.shared.lost(&error)),
        }
    }

    /// Ends the connection and all its streams with `code`, which the peer learns. Returns when the goodbye has left.
    pub fn close(&self, code: Code, text: &str) {
        if self.connection.close_reason().is_some() {
            return;
        }
        let goodbye = Goodbye::say(&self.connection, code, text);
        // No runtime: then there is no connection either.
        runtime::wait_for(said(vec![goodbye])).ok();
    }

    /// Asks the peer for a sign of life: whoever is still there acknowledges what it is told, within a round trip.
    pub fn ask(&self) -> Asked {
        let asked = Asked { heard: self.heard() };
        // One byte more that it may send. Nothing smaller can be said that must be acknowledged.
        let window = self.window.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        self.connection.set_receive_window(VarInt::from_u32(window));
        asked
    }

    /// Whether the peer has given a sign of life since it was `asked`.
    #[must_use]
    pub fn has_answered(&self, asked: Asked) -> bool {
        self.heard() > asked.heard
    }

    fn heard(&self) -> u64 {
        self.connection.stats().udp_rx.datagrams
    }

    /// Whether the connection has ended, and why.
    #[must_use]
    pub fn ended(&self) -> Option<WireError> {
        self.connection.close_reason().map(|error| self.shared.lost(&error))
    }

    /// Returns the key that the peer proved to have.
    #[must_use]
    pub fn peer(&self) -> PublicKey {
        self.peer
    }

    /// Returns the peer's address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    /// Returns what went over the wire so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let stats = self.connection.stats();
        Traffic { sent: stats.udp_tx.bytes, received: stats.udp_rx.bytes }
    }

    /// Limits content and everything else on the streams to `rate` bytes per second each way; `None` for no limit.
    pub fn set_rate(&self, rate: Option<u64>) {
        let window = connection_window(rate);
        self.window.store(window, Ordering::Relaxed);
        self.connection.set_receive_window(VarInt::from_u32(window));
        self.shared.sending.set(rate);
        self.shared.receiving.set(rate);
    }

    /// Sets how long nothing may move while something is expected; `None` for the usual minute.
    pub fn set_timeout(&self, patience: Option<Duration>) {
        self.shared.set_patience(patience);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close(Code::Done, "");
        if let Some(endpoint) = &self.endpoint {
            endpoint.close(VarInt::from_u32(0), b"");
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({})", self.shared.peer)
    }
}

/// A connection that was closed here, and how many datagrams had left before.
pub(crate) struct Goodbye {
    connection: Connection,
    datagrams: u64,
}

impl Goodbye {
    /// Closes `connection`. The peer learns of it soon, if this process lives so long.
    pub(crate) fn say(connection: &Connection, code: Code, text: &str) -> Self {
        connection.close(VarInt::from_u32(u32::from(code.number())), text.as_bytes());
        Self { connection: connection.clone(), datagrams: connection.stats().udp_tx.datagrams }
    }
}

/// Waits until all `goodbyes` were handed to the kernel; acknowledged they never are.
pub(crate) async fn said(goodbyes: Vec<Goodbye>) {
    let left = async {
        for Goodbye { connection, datagrams } in &goodbyes {
            while connection.stats().udp_tx.datagrams == *datagrams {
                sleep(Duration::from_millis(1)).await;
            }
        }
    };
    // One that does not leave is not needed: the peer notices by itself, at once if it sends, else after the idle time.
    timeout(GOODBYE, left).await.ok();
}
