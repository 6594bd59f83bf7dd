use std::sync::mpsc::channel;
use std::thread;

use super::*;

struct Admits(Vec<PublicKey>);

impl Doorman for Admits {
    fn admits(&self, key: &PublicKey, _address: SocketAddr) -> bool {
        self.0.contains(key)
    }
}

const SOON: Duration = Duration::from_secs(10);

fn loopback() -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)
}

fn listener(identity: &Identity, admitted: &[&Identity], limits: Limits) -> Listener {
    let admitted = admitted.iter().map(|identity| identity.public().unwrap()).collect();
    Listener::bind(loopback(), identity, "node", Arc::new(Admits(admitted)), limits).unwrap()
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
