//! Calls a peer: for the folders that it offers, or for the one folder that a run is about.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use crate::cli::cause::chain;
use crate::cli::failure::{Exit, Failure, Number, output_failure};
use crate::cli::listing::{Listing, folders_json, folders_table};
use crate::cli::node;
use crate::cli::operand::{Host, Operand, Remote};
use crate::cli::peer::{Peer, find};
use crate::cli::render::Screen;
use crate::cli::settings::Settings;
use crate::cli::wire::{Call, failure, far_failure};
use crate::engine::far::error::FarError;
use crate::engine::far::folder::{Far, Wanted};
use crate::engine::mirror::operand::Operand as Side;
use crate::engine::options::{Options, Wire};
use crate::transport::channel::Channel;
use crate::transport::error::WireError;
use crate::transport::link::Link;
use crate::transport::message::{FolderInfo, Message, Right};
use crate::transport::quic::Caller;

/// How long connecting may take, from the first byte until both sides have introduced themselves.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// A peer that answered.
struct Called {
    peer: Peer,
    call: Call,
    /// Dropped, it ends the connection.
    link: Arc<Link>,
    control: Channel,
}

/// What a run does with the operands of its command line: those of other nodes are opened.
pub struct Visit<'a> {
    /// What is going to be done in the folder.
    right: Right,
    options: &'a Options,
    settings: &'a Settings,
    /// Who was called, once somebody was.
    call: Option<Call>,
}

impl<'a> Visit<'a> {
    /// Returns a run that has called nobody yet.
    #[must_use]
    pub fn new(right: Right, options: &'a Options, settings: &'a Settings) -> Self {
        Self { right, options, settings, call: None }
    }

    /// Returns one side of a run, its folder open.
    ///
    /// # Errors
    /// No peer is meant, it cannot be reached, or it refuses.
    pub fn side(&mut self, operand: &Operand) -> Result<Side, Failure> {
        match operand {
            Operand::Local(path) => Ok(Side::Path(path.clone())),
            Operand::Remote(remote) => {
                let Remote { contents, ref shown, .. } = *remote;
                Ok(Side::Far { far: self.open(remote)?.far, contents, shown: shown.clone() })
            }
        }
    }

    /// Opens the folder that `remote` names.
    ///
    /// # Errors
    /// As for [`side`](Self::side).
    pub fn open(&mut self, remote: &Remote) -> Result<Opened, Failure> {
        let Called { peer, call, link, control } = call(&remote.host, self.options.wire, self.settings)?;
        let wanted = Wanted {
            folder: &remote.folder,
            prefix: &remote.below,
            right: self.right,
            numeric: self.options.preserve.numeric_ids,
            wire: self.options.wire,
            state: &self.settings.state_dir,
            rehearsal: self.options.dry_run,
        };
        let far = Far::open(link, control, peer.name.clone(), &wanted);
        let far = Arc::new(far.map_err(|error| far_failure(&error, &call))?);
        self.call = Some(call);
        Ok(Opened { far, name: format!("{} {}/{}", peer.key, remote.folder, remote.below) })
    }

    /// Returns what an error of the folder is to a user.
    #[must_use]
    pub fn failure(&self, error: &FarError) -> Failure {
        match &self.call {
            Some(call) => far_failure(error, call),
            None => Failure::new(Exit::Network, Number::Network, chain(error)),
        }
    }
}

/// The folder of a peer, open.
pub struct Opened {
    /// The folder.
    pub far: Arc<Far>,
    /// What tells it, or the part of it that is meant, apart from all others: the peer's key, its name, the path in it.
    pub name: String,
}

/// Lists the folders of a node that this one may see.
///
/// # Errors
/// No peer is meant, it cannot be reached, or it refuses.
pub fn folders(
    host: &Host,
    timeout: Option<Duration>,
    listing: Listing,
    settings: &Settings,
) -> Result<Exit, Failure> {
    let mut called = call(host, Wire { timeout, ..Wire::default() }, settings)?;
    let folders =
        ask(&mut called.control, &called.peer.name).map_err(|error| failure(&error, &called.call))?;
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
    let caller = Caller::new(&identity).with_rate(options.bwlimit).with_timeout(options.timeout);
    let call = Call { peer: peer.name.clone(), own };
    let connected = caller.connect(&addresses, &peer.key, patience);
    let (link, control) = connected.map_err(|error| failure(&error, &call))?;
    Ok(Called { peer, call, link: Arc::new(link), control })
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
