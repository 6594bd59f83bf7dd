//! A peer with its checks off: QUIC and TLS as anybody can have them, and frames of any bytes.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use csync::model::key::PublicKey;
use csync::transport::codec::message::{decode, encode};
use csync::transport::frame::Header;
use csync::transport::message::{Code, Message};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream, ServerConfig, VarInt,
};
use ring::rand::SystemRandom;
use ring::signature::Ed25519KeyPair;
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring as crypto;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// How long anything may take; never waited for when all is well.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
const ALPN: &[u8] = b"csync/1";

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads"))
}

/// Returns what `work` comes to within the deadline.
pub(crate) fn wait<T>(work: impl Future<Output = T>) -> Option<T> {
    runtime().block_on(async { timeout(DEADLINE, work).await.ok() })
}

/// How a case ended for whoever played it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// The connection was closed with this code.
    Closed(Code),
    /// There never was a connection: the handshake failed.
    Shut,
    /// The request was answered with a no, and the connection stayed.
    Refused(Code),
    /// A step was not done, since something else stands there.
    Changed,
    /// It was done.
    Done,
    /// Nothing happened, and nothing had to.
    Ignored,
}

/// A key pair.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) public: PublicKey,
    certified: Arc<CertifiedKey>,
}

impl Key {
    pub(crate) fn new() -> Self {
        let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("random bytes");
        let private = PrivatePkcs8KeyDer::from(pair.as_ref().to_vec());
        let signer = crypto::sign::any_eddsa_type(&private).expect("a key");
        let spki = signer.public_key().expect("its public half").to_vec();
        let (_, public) = spki.split_last_chunk().expect("32 bytes at the end");
        let public = PublicKey(*public);
        Self { public, certified: Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], signer)) }
    }

    /// Returns what shows the key of `other` and signs with this one.
    pub(crate) fn showing(&self, other: &Self) -> Self {
        let certified = CertifiedKey::new(other.certified.cert.clone(), Arc::clone(&self.certified.key));
        Self { public: other.public, certified: Arc::new(certified) }
    }
}

/// Takes everybody for whom it says it is.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Returns the settings of a caller that shows `key`, if any, and speaks `protocol`.
pub(crate) fn calling(key: Option<&Key>, protocol: &[u8]) -> ClientConfig {
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(crypto::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody));
    let mut config = match key {
        Some(key) => builder.with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(
            Arc::clone(&key.certified),
        ))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    config.enable_early_data = true;
    ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).expect("TLS for QUIC")))
}

/// A socket from which calls are made.
pub(crate) fn socket() -> Endpoint {
    let _inside = runtime().enter();
    Endpoint::client(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)).expect("a socket")
}

/// Returns a connection with whoever is at `address`.
pub(crate) fn dial(address: SocketAddr, config: ClientConfig) -> Result<Line, ConnectionError> {
    let endpoint = socket();
    let connecting = {
        let _inside = runtime().enter();
        endpoint.connect_with(config, address, "csync").expect("a call")
    };
    let connection = wait(connecting).expect("an answer in time")?;
    Ok(Line { connection, _endpoint: endpoint })
}

/// Returns a connection with whoever is at `address`, shown `key`.
pub(crate) fn call(address: SocketAddr, key: &Key) -> Result<Line, ConnectionError> {
    dial(address, calling(Some(key), ALPN))
}

/// Takes calls as `key`; each is given to `play` on a thread of its own.
pub(crate) fn answer(key: &Key, play: impl Fn(Line) + Send + Sync + 'static) -> SocketAddr {
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(crypto::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_client_cert_verifier(Arc::new(Anybody))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::clone(&key.certified))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    let config =
        ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(config).expect("TLS for QUIC")));
    let _inside = runtime().enter();
    let endpoint =
        Endpoint::server(config, SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)).expect("a socket");
    let address = endpoint.local_addr().expect("an address");
    let play = Arc::new(play);
    std::thread::spawn(move || {
        while let Some(incoming) = runtime().block_on(endpoint.accept()) {
            let (endpoint, play) = (endpoint.clone(), Arc::clone(&play));
            std::thread::spawn(move || {
                if let Some(Ok(connection)) = wait(async { incoming.await }) {
                    play(Line { connection, _endpoint: endpoint });
                }
            });
        }
    });
    address
}

/// A connection. It ends with this.
pub(crate) struct Line {
    pub(crate) connection: Connection,
    _endpoint: Endpoint,
}

impl Line {
    pub(crate) fn stream(&self) -> Stream {
        match wait(self.connection.open_bi()) {
            Some(Ok((send, recv))) => Stream { send, recv },
            other => panic!("no stream: {other:?}"),
        }
    }

    /// Returns the next stream of the other side, `None` once the connection has ended.
    pub(crate) fn accept(&self) -> Option<Stream> {
        let (send, recv) = runtime().block_on(self.connection.accept_bi()).ok()?;
        Some(Stream { send, recv })
    }

    /// Waits for the end of the connection.
    pub(crate) fn end(&self) -> End {
        match wait(self.connection.closed()) {
            Some(ConnectionError::ApplicationClosed(close)) => {
                End::Closed(Code::of(close.error_code.into_inner()))
            }
            Some(_) => End::Shut,
            None => panic!("the connection does not end"),
        }
    }

    /// Waits for the end of the connection for as long as it takes.
    pub(crate) fn end_quietly(&self) {
        runtime().block_on(self.connection.closed());
    }

    pub(crate) fn close(&self) {
        self.connection.close(VarInt::from_u32(0), b"");
    }
}

/// One stream. What fails on it shows in the end of the connection.
pub(crate) struct Stream {
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
}

impl Stream {
    /// Sends any bytes.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        wait(self.send.write_all(bytes)).map(Result::ok);
    }

    pub(crate) fn send(&mut self, message: &Message) {
        self.say(&framed(message));
    }

    /// Returns the next message, `None` when none comes any more, or none in time.
    pub(crate) fn hear(&mut self) -> Option<Message> {
        wait(async {
            let mut header = [0; 5];
            self.recv.read_exact(&mut header).await.ok()?;
            let header = Header::parse(header).expect("an honest header");
            let mut body = vec![0; header.body];
            self.recv.read_exact(&mut body).await.ok()?;
            Some(decode(header.kind, &body).expect("an honest message"))
        })
        .flatten()
    }

    /// As [`hear`](Self::hear), past all that says that something is being worked on.
    pub(crate) fn answer(&mut self) -> Option<Message> {
        loop {
            match self.hear() {
                Some(Message::Working(_)) => {}
                other => return other,
            }
        }
    }

    pub(crate) fn finish(&mut self) {
        self.send.finish().ok();
    }
}

/// Returns the frame of a message.
pub(crate) fn framed(message: &Message) -> Vec<u8> {
    let (kind, body) = encode(message);
    [&Header::build(kind, body.len()).expect("a message that can be sent")[..], &body].concat()
}

/// Returns a frame of any type and any body.
pub(crate) fn raw(number: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 1).expect("a short body");
    [&length.to_le_bytes()[..], &[number], body].concat()
}

/// Returns the frame of `message` with one item of its CBOR replaced: lengths around it need no change.
pub(crate) fn forged(message: &Message, old: &[u8], new: &[u8]) -> Vec<u8> {
    swapped(&framed(message), old, new)
}

/// Types whose bodies are packed: pages, fetches, changes, outcomes.
const PACKED: [u8; 4] = [17, 18, 19, 20];

/// Returns `frame` with one item of the CBOR of its message replaced.
pub(crate) fn swapped(frame: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let (head, body) = frame.split_at(5);
    let mut body = body.to_vec();
    let is_packed = PACKED.contains(&head[4]);
    if is_packed {
        let mut decoder = minicbor::Decoder::new(&body);
        let head = (decoder.array().ok(), decoder.u64().is_ok(), decoder.bool().ok());
        assert_eq!(head, (Some(Some(3)), true, Some(false)), "a message that is not compressed");
        body = decoder.bytes().expect("the message").to_vec();
    }
    let at = body.windows(old.len()).position(|window| window == old).expect("the item to replace");
    body.splice(at..at + old.len(), new.iter().copied());
    raw(head[4], &if is_packed { packed(&body) } else { body })
}

/// Returns the body of a packed message that is `body`.
pub(crate) fn packed(body: &[u8]) -> Vec<u8> {
    let length = number_item(u64::try_from(body.len()).expect("64 bits"));
    [&[0x83][..], &length, &[0xf4], &bytes_item(body)].concat()
}

/// The CBOR of a byte string.
pub(crate) fn bytes_item(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = minicbor::Encoder::new(Vec::new());
    encoder.bytes(bytes).expect("memory");
    encoder.into_writer()
}

/// The CBOR of a number.
pub(crate) fn number_item(number: u64) -> Vec<u8> {
    let mut encoder = minicbor::Encoder::new(Vec::new());
    encoder.u64(number).expect("memory");
    encoder.into_writer()
}

/// Returns what `work` comes to, if it comes to anything before long.
pub(crate) fn soon<T>(work: impl Future<Output = T>) -> Option<T> {
    runtime().block_on(async { timeout(Duration::from_millis(300), work).await.ok() })
}

/// As [`soon`], within a second.
pub(crate) fn within_a_second<T>(work: impl Future<Output = T>) -> Option<T> {
    runtime().block_on(async { timeout(Duration::from_secs(1), work).await.ok() })
}

/// Whether whoever is at `address` takes data before the handshake is over.
pub(crate) fn early(address: SocketAddr, config: ClientConfig) -> bool {
    let endpoint = socket();
    let _inside = runtime().enter();
    endpoint.connect_with(config, address, "csync").expect("a call").into_0rtt().is_ok()
}
