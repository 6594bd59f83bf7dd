use std::net::UdpSocket;
use std::thread;

use super::*;
use crate::model::entry::Digest;
use crate::transport::message::{BLOCK_BYTES_MAX, Block, Refuse};
use crate::transport::seats::Welcomed;

struct Admits(Mutex<Vec<PublicKey>>);

impl Doorman for Admits {
    fn admits(&self, key: &PublicKey, _address: SocketAddr) -> Option<Welcomed> {
        self.0.lock().unwrap().contains(key).then_some(Welcomed::Known)
    }
}

/// Lets everybody in, and knows these.
struct Open(Vec<PublicKey>);

impl Doorman for Open {
    fn admits(&self, key: &PublicKey, _address: SocketAddr) -> Option<Welcomed> {
        Some(if self.0.contains(key) { Welcomed::Known } else { Welcomed::Anybody })
    }
}

const SOON: Duration = Duration::from_secs(10);

fn loopback() -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)
}

fn listener(identity: &Identity, admitted: &[&Identity], limits: Limits) -> Listener {
    let admitted = admitted.iter().map(|identity| identity.public().unwrap()).collect();
    let doorman = Arc::new(Admits(Mutex::new(admitted)));
    Listener::bind(loopback(), identity, "node", doorman, limits).unwrap()
}

/// A listener, and one who is admitted.
fn house(limits: Limits) -> (Identity, Identity, Listener) {
    let (server, client) = (Identity::ephemeral().unwrap(), Identity::ephemeral().unwrap());
    let listener = listener(&server, &[&client], limits);
    (server, client, listener)
}

/// A connection on which nobody has introduced himself.
fn stranger(client: &Identity, listener: &Listener, server: &Identity) -> (Endpoint, Connection) {
    let address = listener.address().unwrap();
    runtime::wait_for(attempt(client.tls(), (None, None), address, server.public().unwrap()))
        .unwrap()
        .unwrap()
}

fn last_words(connection: &Connection) -> WireError {
    Shared::new("server".to_owned()).lost(&runtime::wait_for(connection.closed()).unwrap())
}

fn first_words(connection: &Connection, message: &Message) {
    runtime::wait_for(async {
        let (send, recv) = connection.open_bi().await.unwrap();
        let mut control = Channel::new(send, recv, Shared::new("server".to_owned()));
        control.send_soon(message).await.unwrap();
        // What matters is how the connection ends.
        drop(control.recv_soon().await);
    })
    .unwrap();
}

fn call(caller: &Identity, listener: &Listener, key: &Identity) -> Result<(Link, Channel), WireError> {
    let address = listener.address().unwrap();
    Caller::new(caller).connect(&[address], &key.public().unwrap(), SOON)
}

#[test]
fn both_sides_prove_their_keys_and_talk() {
    let (server, client) = (Identity::ephemeral().unwrap(), Identity::ephemeral().unwrap());
    let listener = listener(&server, &[&client], Limits::default());
    let (link, mut control) = call(&client, &listener, &server).unwrap();
    let (their_link, mut their_control) = listener.accept().unwrap().unwrap();
    assert_eq!(link.peer(), server.public().unwrap());
    assert_eq!(their_link.peer(), client.public().unwrap());
    let refuse = Message::Refuse(Refuse { code: Code::Held, text: "so it is".to_owned() });
    control.send(&refuse).unwrap();
    assert_eq!(their_control.wait().unwrap(), Some(refuse.clone()));
    let mut stream = their_link.channel().unwrap();
    stream.send(&refuse).unwrap();
    stream.finish().unwrap();
    let mut accepted = link.accept().unwrap().unwrap();
    assert_eq!(accepted.recv().unwrap(), refuse);
    assert_eq!(accepted.wait().unwrap(), None);
    assert!(link.traffic().sent > 1000 && link.traffic().received > 1000);
    link.close(Code::Done, "");
    assert!(their_link.accept().unwrap().is_none());
}

#[test]
fn a_server_with_another_key_is_refused() {
    let (server, client, other) =
        (Identity::ephemeral().unwrap(), Identity::ephemeral().unwrap(), Identity::ephemeral().unwrap());
    let listener = listener(&server, &[&client], Limits::default());
    let error = call(&client, &listener, &other).unwrap_err();
    assert!(
        matches!(error, WireError::WrongKey { found, .. } if found == server.public().unwrap()),
        "{error:?}"
    );
    assert_eq!(error.exit(), 5);
    assert_eq!(listener.sessions(), []);
}

#[test]
fn a_key_that_is_not_admitted_learns_that_it_is_denied() {
    let (server, client) = (Identity::ephemeral().unwrap(), Identity::ephemeral().unwrap());
    let listener = listener(&server, &[], Limits::default());
    let error = call(&client, &listener, &server).unwrap_err();
    assert!(matches!(error, WireError::Denied { .. }), "{error:?}");
    assert_eq!(error.exit(), 5);
}

#[test]
fn who_never_says_hello_is_dropped_at_the_deadline() {
    let limits = Limits { handshake: Duration::from_millis(300), ..Limits::default() };
    let (server, client, listener) = house(limits);
    let (_endpoint, connection) = stranger(&client, &listener, &server);
    let error = last_words(&connection);
    assert!(matches!(error, WireError::Closed { code: Code::Timeout, .. }), "{error:?}");
}

#[test]
fn who_begins_with_something_else_than_hello_is_thrown_out() {
    let (server, client, listener) = house(Limits::default());
    let (_endpoint, connection) = stranger(&client, &listener, &server);
    first_words(&connection, &Message::Folders);
    let error = last_words(&connection);
    assert!(matches!(error, WireError::Closed { code: Code::Protocol, .. }), "{error:?}");
}

#[test]
fn no_common_version_has_an_exit_code_of_its_own() {
    let (server, client, listener) = house(Limits::default());
    let (_endpoint, connection) = stranger(&client, &listener, &server);
    first_words(&connection, &Message::Hello(Hello { versions: vec![7, 9], agent: String::new() }));
    let error = last_words(&connection);
    assert!(matches!(error, WireError::Version { .. }), "{error:?}");
    assert_eq!(error.exit(), 2);
}

#[test]
fn nobody_home_is_a_connect_timeout_and_the_next_address_is_tried() {
    let (server, client, listener) = house(Limits::default());
    let silent = UdpSocket::bind(loopback()).unwrap();
    let silent = silent.local_addr().unwrap();
    let key = server.public().unwrap();
    let caller = Caller::new(&client);
    let error = caller.connect(&[silent], &key, Duration::from_millis(300)).unwrap_err();
    assert!(matches!(error, WireError::ConnectTimeout { .. }), "{error:?}");
    assert_eq!(error.exit(), 35);
    let (link, _control) = caller.connect(&[silent, listener.address().unwrap()], &key, SOON).unwrap();
    assert_eq!(link.address(), listener.address().unwrap());
    assert_eq!(caller.connect(&[], &key, SOON).unwrap_err().exit(), 10);
}

#[test]
fn callers_beyond_the_limits_are_not_let_in() {
    let (server, client, full) = house(Limits { pending: 0, ..Limits::default() });
    let (address, key) = (full.address().unwrap(), server.public().unwrap());
    let error = Caller::new(&client).connect(&[address], &key, Duration::from_millis(300)).unwrap_err();
    assert!(matches!(error, WireError::ConnectTimeout { .. }), "{error:?}");
    let (server, client, small) = house(Limits { sessions: 1, ..Limits::default() });
    let first = call(&client, &small, &server).unwrap();
    let error = call(&client, &small, &server).unwrap_err();
    assert!(matches!(error, WireError::Closed { code: Code::Busy, .. }), "{error:?}");
    drop(first);
    let (server, client, wary) = house(Limits { retry: 0, ..Limits::default() });
    call(&client, &wary, &server).unwrap();
}

#[test]
fn keys_that_anybody_can_make_leave_room_for_those_that_are_known() {
    for (case, limits) in [
        ("of all", Limits { sessions: 6, of_anybody: 3, ..Limits::default() }),
        ("from here", Limits { sessions: 6, of_one_place: 3, ..Limits::default() }),
    ] {
        let (server, known) = (Identity::ephemeral().unwrap(), Identity::ephemeral().unwrap());
        let doorman = Arc::new(Open(vec![known.public().unwrap()]));
        let listener = Listener::bind(loopback(), &server, "node", doorman, limits).unwrap();
        let mut inside = Vec::new();
        for number in 0..8 {
            match call(&Identity::ephemeral().unwrap(), &listener, &server) {
                Ok(met) => inside.push(met),
                Err(error) => {
                    assert!(matches!(error, WireError::Closed { code: Code::Busy, .. }), "{case}: {error:?}");
                    assert!(number >= 3, "{case}: {number} came in");
                }
            }
        }
        assert_eq!(inside.len(), 3, "{case}");
        for _ in 0..3 {
            inside.push(call(&known, &listener, &server).unwrap());
        }
        assert!(call(&known, &listener, &server).is_err(), "{case}: more than there are");
    }
}

#[test]
fn every_close_code_arrives_with_its_exit_code() {
    let (server, client, listener) = house(Limits::default());
    for code in Code::ALL {
        let (link, mut control) = call(&client, &listener, &server).unwrap();
        let (theirs, _their_control) = listener.accept().unwrap().unwrap();
        theirs.close(code, "because\nof this");
        let error = control.recv().unwrap_err();
        assert_eq!((error.code(), error.exit()), (code, code.exit()), "{error:?}");
        assert!(error.to_string().contains("because\u{fffd}of this"), "{error}");
        assert!(link.ended().is_some());
    }
}

#[test]
fn a_revoked_key_is_out_at_once() {
    let (server, client) = (Identity::ephemeral().unwrap(), Identity::ephemeral().unwrap());
    let doorman = Arc::new(Admits(Mutex::new(vec![client.public().unwrap()])));
    let asked: Arc<dyn Doorman> = Arc::<Admits>::clone(&doorman);
    let listener = Listener::bind(loopback(), &server, "node", asked, Limits::default()).unwrap();
    let (_link, mut control) = call(&client, &listener, &server).unwrap();
    let peers: Vec<_> = listener.sessions().iter().map(|session| session.peer).collect();
    assert_eq!(peers, [client.public().unwrap()]);
    assert_eq!(listener.recheck(), 0);
    doorman.0.lock().unwrap().clear();
    assert_eq!(listener.recheck(), 1);
    assert!(matches!(control.recv(), Err(WireError::Denied { .. })));
}

#[test]
fn shutdown_tells_everyone() {
    let (server, client, listener) = house(Limits::default());
    let (_link, mut control) = call(&client, &listener, &server).unwrap();
    thread::scope(|scope| {
        // Kept until the end: a link that is dropped says goodbye by itself.
        let taking = scope.spawn(|| std::iter::from_fn(|| listener.accept().unwrap()).collect::<Vec<_>>());
        listener.shutdown("going down");
        let taken = taking.join().unwrap();
        let error = control.recv().unwrap_err();
        assert!(matches!(error, WireError::Closed { code: Code::Shutdown, .. }), "{error:?}");
        drop(taken);
    });
}

#[test]
fn a_dropped_stream_is_an_error_at_the_other_end_and_the_rest_goes_on() {
    let (server, client, listener) = house(Limits::default());
    let (link, mut control) = call(&client, &listener, &server).unwrap();
    let (theirs, mut their_control) = listener.accept().unwrap().unwrap();
    let mut stream = link.channel().unwrap();
    stream.send(&Message::Outline(1)).unwrap();
    let mut accepted = theirs.accept().unwrap().unwrap();
    assert_eq!(accepted.recv().unwrap(), Message::Outline(1));
    drop(stream);
    assert!(matches!(accepted.wait(), Err(WireError::Closed { code: Code::Internal, .. })));
    control.send(&Message::Settle).unwrap();
    assert_eq!(their_control.recv().unwrap(), Message::Settle);
}

#[test]
fn silence_ends_a_wait_with_a_deadline_and_no_other() {
    let (server, client, listener) = house(Limits::default());
    let (link, mut control) = call(&client, &listener, &server).unwrap();
    link.set_timeout(Some(Duration::from_millis(200)));
    let error = control.recv().unwrap_err();
    assert!(matches!(error, WireError::Timeout { .. }), "{error:?}");
    assert_eq!(error.exit(), 30);
    let (_theirs, mut their_control) = listener.accept().unwrap().unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| control.wait());
        their_control.send(&Message::End).unwrap();
        assert_eq!(waiting.join().unwrap().unwrap(), Some(Message::End));
    });
}

/// Sends `count` blocks there and back and compares them.
fn there_and_back(link: &Link, theirs: &Link, count: u8) {
    let mut stream = link.channel().unwrap();
    thread::scope(|scope| {
        let echo = scope.spawn(|| {
            let mut stream = theirs.accept().unwrap().unwrap();
            while let Some(message) = stream.wait().unwrap() {
                stream.send(&message).unwrap();
            }
            stream.finish().unwrap();
            stream
        });
        for number in 0..count {
            let mut bytes = vec![number; 1 << 20];
            fastrand::Rng::with_seed(number.into()).fill(&mut bytes);
            let sent = Digest::of(&bytes);
            stream.send(&Message::Block(Block { length: BLOCK_BYTES_MAX, packed: false, bytes })).unwrap();
            let Message::Block(block) = stream.recv().unwrap() else { panic!("no block") };
            assert_eq!(Digest::of(&block.bytes), sent, "block {number}");
        }
        stream.finish().unwrap();
        assert_eq!(stream.wait().unwrap(), None);
        drop(echo.join().unwrap());
    });
}

#[test]
fn sixty_four_mebibytes_go_there_and_back() {
    let (server, client, listener) = house(Limits::default());
    let (link, _control) = call(&client, &listener, &server).unwrap();
    let (theirs, _their_control) = listener.accept().unwrap().unwrap();
    there_and_back(&link, &theirs, 64);
    assert!(link.traffic().sent > 64 << 20 && link.traffic().received > 64 << 20, "{:?}", link.traffic());
}

#[test]
fn a_limited_connection_passes_everything_all_the_same() {
    let (server, client, listener) = house(Limits::default());
    let address = listener.address().unwrap();
    let caller = Caller::new(&client).with_rate(Some(8 << 20));
    let (link, _control) = caller.connect(&[address], &server.public().unwrap(), SOON).unwrap();
    let (theirs, _their_control) = listener.accept().unwrap().unwrap();
    there_and_back(&link, &theirs, 2);
    link.set_rate(None);
    there_and_back(&link, &theirs, 2);
}
