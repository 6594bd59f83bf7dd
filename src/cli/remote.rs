//! Calls a peer: for the folders that it offers.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use crate::cli::args::Listing;
use crate::cli::failure::{Exit, Failure, Number, output_failure};
use crate::cli::listing::{folders_json, folders_table};
use crate::cli::node;
use crate::cli::operand::Host;
use crate::cli::peer::{Peer, find};
use crate::cli::render::Screen;
use crate::cli::settings::Settings;
use crate::cli::wire::{self, Call};
use crate::engine::options::Wire;
use crate::model::key::PublicKey;
use crate::transport::channel::Channel;
use crate::transport::error::WireError;
use crate::transport::link::Link;
use crate::transport::message::{FolderInfo, Message};
use crate::transport::quic::Caller;

/// How long connecting may take, from the first byte until both sides have introduced themselves.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// A peer that answered.
struct Called {
    peer: Peer,
    own: PublicKey,
    /// Dropped, it ends the connection.
    _link: Arc<Link>,
    control: Channel,
}

impl Called {
    fn call(&self) -> Call<'_> {
        Call { peer: &self.peer.name, own: self.own }
    }
}

/// Lists the folders of a node that this one may see.
///
/// # Errors
/// No peer is meant, it cannot be reached, or it refuses.
pub fn folders(host: &Host, listing: Listing, settings: &Settings) -> Result<Exit, Failure> {
    let mut called = call(host, Wire::default(), settings)?;
    let folders =
        ask(&mut called.control, &called.peer.name).map_err(|error| wire::failure(&error, called.call()))?;
    let text = if listing.json {
        format!("{}\n", folders_json(&called.peer.name, &folders)).into_bytes()
    } else {
        folders_table(&folders)
    };
    let mut screen = Screen::new(listing.raw_names);
    screen.out(&text).map(|()| Exit::Done).map_err(|error| output_failure(&error))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "every other message is out of turn")]
fn ask(control: &mut Channel, peer: &str) -> Result<Vec<FolderInfo>, WireError> {
    let peer = peer.to_owned();
    control.send(&Message::Folders)?;
    match control.recv()? {
        Message::FolderList(folders) => Ok(folders),
        Message::Refuse(refuse) => Err(WireError::Refused { peer, refuse }),
        _ => Err(WireError::Protocol { peer, what: "something else than its folders".to_owned() }),
    }
}

fn call(host: &Host, options: Wire, settings: &Settings) -> Result<Called, Failure> {
    let peer = find(host, &node::config(settings)?)?;
    let identity = node::identity(settings)?;
    let own = identity.public().map_err(|error| node::key_failure(&error))?;
    let addresses = resolve(&peer)?;
    let patience = options.timeout.map_or(CONNECT_PATIENCE, |timeout| timeout.min(CONNECT_PATIENCE));
    let caller = Caller::new(&identity).with_rate(options.bwlimit);
    let failure = |error: WireError| wire::failure(&error, Call { peer: &peer.name, own });
    let (link, control) = caller.connect(&addresses, &peer.key, patience).map_err(failure)?;
    link.set_timeout(options.timeout);
    Ok(Called { peer, own, _link: Arc::new(link), control })
}

/// Returns where the peer may be, in the order of the config. A name that cannot be looked up is passed over as long as
/// another one can.
fn resolve(peer: &Peer) -> Result<Vec<SocketAddr>, Failure> {
    let mut found = Vec::new();
    let mut failed = None;
    for address in &peer.addresses {
        match (address.host.as_str(), address.port).to_socket_addrs() {
            Ok(addresses) => found.extend(addresses),
            Err(error) => failed = Some(format!("cannot look up {address}: {error}")),
        }
    }
    match failed {
        Some(why) if found.is_empty() => Err(Failure::new(Exit::Network, Number::Network, why)
            .fix(format!("check addr of [peer.{}] and the name service", peer.name))),
        Some(_) | None => Ok(found),
    }
}
