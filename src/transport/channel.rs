//! One stream of messages to a peer and back; every wait has an end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quinn::{ConnectionError, ReadError, RecvStream, SendStream, VarInt, WriteError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::model::heard::heard;
use crate::transport::codec::message::{decode, encode};
use crate::transport::error::WireError;
use crate::transport::frame::{HEADER_BYTES, Header, Type};
use crate::transport::message::{Code, Message, Working};
use crate::transport::runtime;
use crate::transport::throttle::Throttle;
use crate::transport::tuning::IDLE;

/// How long nothing may move while something is expected, unless said otherwise.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often a peer is told that what it asked for is still being worked on.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Fewer bytes than this within the patience are no progress: a peer that sends a byte a second holds nobody.
const PROGRESS_BYTES: usize = 4 << 10;
/// Read from the stream at a time.
const READ_BYTES: usize = 64 << 10;
/// What the in-memory pair holds before the sender waits.
const PAIR_BYTES: usize = 256 << 10;

/// What the streams of one connection share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The peer, for messages: its name or key, and its address.
    pub(crate) peer: String,
    patience: AtomicU64,
    pub(crate) sending: Throttle,
    pub(crate) receiving: Throttle,
}

impl Shared {
    pub(crate) fn new(peer: String) -> Arc<Self> {
        let shared = Self {
            peer,
            patience: AtomicU64::new(0),
            sending: Throttle::default(),
            receiving: Throttle::default(),
        };
        shared.set_patience(None);
        Arc::new(shared)
    }

    pub(crate) fn set_patience(&self, patience: Option<Duration>) {
        let millis = u64::try_from(patience.unwrap_or(PATIENCE).as_millis()).unwrap_or(u64::MAX);
        self.patience.store(millis.max(1), Ordering::Relaxed);
    }

    pub(crate) fn patience(&self) -> Duration {
        Duration::from_millis(self.patience.load(Ordering::Relaxed))
    }

    /// Returns what the end of a connection means for whoever was talking on it.
    pub(crate) fn lost(&self, error: &ConnectionError) -> WireError {
        let peer = self.peer.clone();
        match error {
            ConnectionError::ApplicationClosed(close) => {
                let code = Code::of(close.error_code.into_inner());
                let text = heard(&String::from_utf8_lossy(&close.reason));
                if code == Code::Denied {
                    WireError::Denied { peer, text }
                } else if code == Code::Version {
                    WireError::Version { peer, why: text }
                } else {
                    WireError::Closed { peer, code, text }
                }
            }
            ConnectionError::VersionMismatch => {
                WireError::Version { peer, why: "another version of QUIC".to_owned() }
            }
            ConnectionError::LocallyClosed => WireError::ClosedHere { peer },
            ConnectionError::TimedOut if self.patience() <= IDLE => self.timed_out("waiting for it"),
            ConnectionError::TimedOut => {
                WireError::Lost { peer, why: "it does not answer any more".to_owned() }
            }
            ConnectionError::Reset => WireError::Lost { peer, why: "it was restarted".to_owned() },
            ConnectionError::TransportError(_)
            | ConnectionError::ConnectionClosed(_)
            | ConnectionError::CidsExhausted => WireError::Lost { peer, why: heard(&error.to_string()) },
        }
    }

    fn protocol(&self, what: &impl ToString) -> WireError {
        WireError::Protocol { peer: self.peer.clone(), what: what.to_string() }
    }

    fn timed_out(&self, doing: &'static str) -> WireError {
        WireError::Timeout { peer: self.peer.clone(), doing, after: self.patience() }
    }

    fn dropped(&self, code: VarInt) -> WireError {
        let text = "it dropped this stream".to_owned();
        WireError::Closed { peer: self.peer.clone(), code: Code::of(code.into_inner()), text }
    }

    fn read_failed(&self, error: ReadError) -> WireError {
        match error {
            ReadError::ConnectionLost(error) => self.lost(&error),
            ReadError::Reset(code) => self.dropped(code),
            ReadError::ClosedStream | ReadError::IllegalOrderedRead | ReadError::ZeroRttRejected => {
                WireError::ClosedHere { peer: self.peer.clone() }
            }
        }
    }

    fn write_failed(&self, error: WriteError) -> WireError {
        match error {
            WriteError::ConnectionLost(error) => self.lost(&error),
            WriteError::Stopped(code) => self.dropped(code),
            WriteError::ClosedStream | WriteError::ZeroRttRejected => {
                WireError::ClosedHere { peer: self.peer.clone() }
            }
        }
    }

    pub(crate) fn no_runtime(source: io::Error) -> WireError {
        WireError::Local { action: "start the threads of the network".to_owned(), source }
    }
}

/// Where the bytes come from.
#[derive(Debug)]
enum Source {
    Quic(RecvStream),
    Memory(ReadHalf<DuplexStream>),
}

/// Where the bytes go.
#[derive(Debug)]
enum Sink {
    Quic(SendStream),
    Memory(WriteHalf<DuplexStream>),
}

/// The half of a stream that messages leave by. Whoever holds it writes whole frames.
#[derive(Debug)]
struct Outlet {
    sink: Sink,
    shared: Arc<Shared>,
    finished: bool,
}

/// One stream: messages in order, both ways. Dropping it before both sides finished tells the other side so.
#[derive(Debug)]
pub struct Channel {
    source: Source,
    outlet: Arc<Mutex<Outlet>>,
    shared: Arc<Shared>,
    inbox: Inbox,
}

/// Says at intervals that something is being worked on, for as long as it lives.
#[derive(Debug)]
pub struct Herald {
    _ends_when_dropped: oneshot::Sender<()>,
}

impl Channel {
    pub(crate) fn new(send: SendStream, recv: RecvStream, shared: Arc<Shared>) -> Self {
        Self::over(Source::Quic(recv), Sink::Quic(send), shared)
    }

    fn over(source: Source, sink: Sink, shared: Arc<Shared>) -> Self {
        let outlet = Outlet { sink, shared: Arc::clone(&shared), finished: false };
        Self { source, outlet: Arc::new(Mutex::new(outlet)), shared, inbox: Inbox::default() }
    }

    /// Returns the two ends of a stream within this process. All messages pass the codec.
    #[must_use]
    pub fn pair() -> (Self, Self) {
        let (left, right) = tokio::io::duplex(PAIR_BYTES);
        let end = |stream, name: &str| {
            let (recv, send) = tokio::io::split(stream);
            Self::over(Source::Memory(recv), Sink::Memory(send), Shared::new(name.to_owned()))
        };
        (end(left, "the other end"), end(right, "the other end"))
    }

    /// Sets how long nothing may move on this channel's connection while something is expected; `None` for
    /// [`PATIENCE`].
    pub fn set_timeout(&self, patience: Option<Duration>) {
        self.shared.set_patience(patience);
    }

    /// Returns the name of the peer for messages.
    #[must_use]
    pub fn peer(&self) -> &str {
        &self.shared.peer
    }

    /// Hands `message` over; it is on its way when this returns, not yet received.
    ///
    /// # Errors
    /// The peer takes nothing for too long, it or the connection is gone, or the message is too long to be sent.
    pub fn send(&mut self, message: &Message) -> Result<(), WireError> {
        runtime::wait_for(self.send_soon(message)).map_err(Shared::no_runtime)?
    }

    /// As [`send`](Self::send), for a message that is large and needed no more: it is not held while the peer takes it.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn give_away(&mut self, message: Message) -> Result<(), WireError> {
        let frame = self.frame(&message)?;
        drop(message);
        runtime::wait_for(async { self.outlet.lock().await.write(frame).await })
            .map_err(Shared::no_runtime)?
    }

    /// Returns the next message.
    ///
    /// # Errors
    /// None comes, or none that makes sense; the peer has finished; it or the connection is gone.
    pub fn recv(&mut self) -> Result<Message, WireError> {
        runtime::wait_for(self.recv_soon()).map_err(Shared::no_runtime)?
    }

    /// Returns the next message of a peer that may take its time, `None` once it has finished. Waits for the beginning
    /// of a message for as long as the connection lives, which notices a lost peer within half a minute.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn wait(&mut self) -> Result<Option<Message>, WireError> {
        runtime::wait_for(self.next(None)).map_err(Shared::no_runtime)?
    }

    /// Says that nothing more will be sent here. What was sent still arrives.
    ///
    /// # Errors
    /// The peer has dropped the stream.
    pub fn finish(&mut self) -> Result<(), WireError> {
        let finish = async { self.outlet.lock().await.finish().await };
        runtime::wait_for(finish).map_err(Shared::no_runtime)?
    }

    /// Has the peer told every two seconds that what it asked for is being worked on, until the herald is dropped,
    /// whatever else is said and heard on this channel meanwhile.
    ///
    /// # Errors
    /// The system has no threads left.
    pub fn herald(&self) -> Result<Herald, WireError> {
        let frame = self.frame(&Message::Working(Working { done: 0 }))?;
        let outlet = Arc::clone(&self.outlet);
        let (sender, mut end) = oneshot::channel();
        let tell = async move {
            while timeout(HEARTBEAT, &mut end).await.is_err() {
                // Whoever holds it says something already.
                let Ok(mut outlet) = outlet.try_lock() else { continue };
                let is_over = end.try_recv() != Err(oneshot::error::TryRecvError::Empty);
                if is_over || outlet.write(frame.clone()).await.is_err() {
                    return;
                }
            }
        };
        runtime::handle().map_err(Shared::no_runtime)?.spawn(tell);
        Ok(Herald { _ends_when_dropped: sender })
    }

    pub(crate) async fn send_soon(&mut self, message: &Message) -> Result<(), WireError> {
        let frame = self.frame(message)?;
        self.outlet.lock().await.write(frame).await
    }

    fn frame(&self, message: &Message) -> Result<Vec<u8>, WireError> {
        let (kind, mut frame) = encode(message);
        let header = Header::build(kind, frame.len()).map_err(|error| WireError::Unsayable {
            peer: self.shared.peer.clone(),
            what: error.to_string(),
        })?;
        frame.splice(..0, header);
        Ok(frame)
    }

    pub(crate) async fn recv_soon(&mut self) -> Result<Message, WireError> {
        let patience = self.shared.patience();
        self.next(Some(patience)).await?.ok_or_else(|| WireError::Closed {
            peer: self.shared.peer.clone(),
            code: Code::Done,
            text: "it has nothing more to say".to_owned(),
        })
    }

    async fn next(&mut self, first: Option<Duration>) -> Result<Option<Message>, WireError> {
        if !self.fill(HEADER_BYTES, first).await? {
            return Ok(None);
        }
        let mut header = [0; HEADER_BYTES];
        header.copy_from_slice(self.inbox.peek(0, HEADER_BYTES));
        let header = Header::parse(header).map_err(|error| self.shared.protocol(&error))?;
        self.fill(HEADER_BYTES + header.body, Some(self.shared.patience())).await?;
        let message = decode(header.kind, self.inbox.peek(HEADER_BYTES, header.body));
        self.inbox.start += HEADER_BYTES + header.body;
        if self.inbox.held() == 0 && header.kind != Type::Block {
            // Only blocks come many in a row; after anything else of that size there is work to do first.
            self.inbox = Inbox::default();
        }
        message.map(Some).map_err(|error| self.shared.protocol(&error))
    }

    /// Reads until `wanted` bytes are in the inbox; `false` if the stream ended before the first of them.
    async fn fill(&mut self, wanted: usize, patience: Option<Duration>) -> Result<bool, WireError> {
        let mut until = patience.map(|patience| Instant::now() + patience);
        let mut moved = 0;
        while self.inbox.held() < wanted {
            let read = self.source.read(self.inbox.room(wanted, self.shared.receiving.portion()));
            let count = match until {
                Some(until) => {
                    timeout_at(until, read).await.map_err(|_elapsed| self.shared.timed_out("waiting for it"))
                }
                None => Ok(read.await),
            };
            let Some(count) = count?.map_err(|error| self.shared.read_failed(error))? else {
                if self.inbox.held() == 0 {
                    return Ok(false);
                }
                return Err(self.shared.protocol(&"the stream ended within a frame"));
            };
            self.inbox.end += count;
            self.shared.receiving.pass(count).await;
            moved += count;
            // Whoever has begun a frame must go on with it.
            if until.is_none() || moved >= PROGRESS_BYTES {
                moved = 0;
                until = Some(Instant::now() + self.shared.patience());
            }
        }
        Ok(true)
    }
}

impl Outlet {
    async fn write(&mut self, frame: Vec<u8>) -> Result<(), WireError> {
        let shared = Arc::clone(&self.shared);
        let late = |_elapsed| shared.timed_out("sending");
        match &mut self.sink {
            Sink::Memory(send) => timeout(shared.patience(), send.write_all(&frame))
                .await
                .map_err(late)?
                .map_err(|_gone| shared.dropped(VarInt::from_u32(0))),
            Sink::Quic(send) => {
                let mut rest = Bytes::from(frame);
                while !rest.is_empty() {
                    let portion = rest.len().min(shared.sending.portion());
                    shared.sending.pass(portion).await;
                    let mut chunks = [rest.split_to(portion)];
                    while !chunks[0].is_empty() {
                        timeout(shared.patience(), send.write_chunks(&mut chunks))
                            .await
                            .map_err(late)?
                            .map_err(|error| shared.write_failed(error))?;
                    }
                }
                Ok(())
            }
        }
    }

    async fn finish(&mut self) -> Result<(), WireError> {
        self.finished = true;
        let finished = match &mut self.sink {
            Sink::Quic(send) => send.finish().is_ok(),
            Sink::Memory(send) => send.shutdown().await.is_ok(),
        };
        if finished { Ok(()) } else { Err(WireError::ClosedHere { peer: self.shared.peer.clone() }) }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        if let Sink::Quic(send) = &mut self.sink
            && !self.finished
        {
            // Without this the other side would take what it got for all there is. Fails if the stream is gone.
            send.reset(VarInt::from_u32(u32::from(Code::Internal.number()))).ok();
        }
    }
}

impl Source {
    /// Returns how many bytes were read into `buffer`, `None` at the end.
    async fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, ReadError> {
        match self {
            Self::Quic(recv) => recv.read(buffer).await,
            Self::Memory(recv) => match recv.read(buffer).await {
                Ok(0) | Err(_) => Ok(None),
                Ok(count) => Ok(Some(count)),
            },
        }
    }
}

/// Bytes that were read and not yet used. Grows with what arrives, never with what is announced.
#[derive(Debug, Default)]
struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Inbox {
    fn held(&self) -> usize {
        self.end - self.start
    }

    /// Returns the `count` bytes after the first `skip` that are held.
    fn peek(&self, skip: usize, count: usize) -> &[u8] {
        &self.bytes[self.start + skip..self.start + skip + count]
    }

    /// Returns where to read to: at most `portion` bytes, of `wanted` that are to be held and what follows them.
    fn room(&mut self, wanted: usize, portion: usize) -> &mut [u8] {
        if self.bytes.len() - self.end < READ_BYTES && self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.bytes.len() - self.end < READ_BYTES {
            let size = (self.end + READ_BYTES).max((2 * self.end).min(wanted + READ_BYTES));
            self.bytes.resize(size, 0);
        }
        let size = (self.bytes.len() - self.end).min(portion);
        &mut self.bytes[self.end..self.end + size]
    }
}

#[cfg(test)]
mod tests;
