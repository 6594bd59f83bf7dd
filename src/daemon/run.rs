//! The daemon from start to end: what it does with calls, signals and ends of sessions. Read this file first.

use std::ffi::OsString;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use crate::config::check::{Here, Seen};
use crate::config::file::load;
use crate::config::settings::{Address, Config, PORT};
use crate::daemon::control::{Answers, serve as answer};
use crate::daemon::grants::{Caller, Grants};
use crate::daemon::log::{Level, Line, Log, with_causes};
use crate::daemon::node::{Node, Visitor};
use crate::daemon::notify::notify;
use crate::daemon::sessions::SessionId;
use crate::disk::socket::{LocalSocket, SocketError, group_id};
use crate::engine::serve::error::ServeError;
use crate::engine::serve::session::serve;
use crate::model::key::PublicKey;
use crate::transport::channel::Channel;
use crate::transport::error::WireError;
use crate::transport::identity::Identity;
use crate::transport::link::Link;
use crate::transport::message::Code;
use crate::transport::quic::Listener;
use crate::transport::seats::{Doorman, Limits};

/// How long sessions that were told to end may take for the batch that they are in.
const LAST_BATCH: Duration = Duration::from_secs(30);

/// What a daemon starts with.
#[derive(Debug)]
pub struct Setup {
    /// This node's key.
    pub identity: Identity,
    /// Its public half.
    pub key: PublicKey,
    /// What the config said at the start.
    pub config: Config,
    /// Where the config is read again.
    pub config_path: PathBuf,
    /// The state directory.
    pub state_dir: PathBuf,
    /// The control socket.
    pub control: PathBuf,
    /// Addresses instead of those of the config; a port may be 0.
    pub listen: Vec<Address>,
    /// The effective user.
    pub uid: u32,
    /// End after the first connection that opened a folder has ended.
    pub once: bool,
    /// The service manager's socket.
    pub manager: Option<OsString>,
}

/// What happens to a daemon.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Read the config again.
    Reload,
    /// End.
    Stop,
    /// A session has ended; with the folder that it had open.
    Ended(Option<String>),
    /// Calls or questions can no longer be taken: why.
    Broken(String),
}

/// Why a daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An address is no address of this machine, or in use.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        #[source]
        source: WireError,
    },
    /// The name of an address cannot be found.
    #[error("cannot find the address {address}")]
    Resolve {
        /// The address.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The control socket cannot be made.
    #[error("cannot listen on the control socket")]
    Control(#[from] SocketError),
    /// The group of the control socket does not exist.
    #[error("control-group: there is no group {0}")]
    NoGroup(String),
    /// The ready line, or a thread.
    #[error("cannot {action}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Calls or questions can no longer be taken.
    #[error("{0}")]
    Broken(String),
}

/// Serves the folders of the config until it is told to stop.
///
/// `ready` is called once, with the line that says so, as soon as calls are taken.
///
/// What holds after: every session has ended after its current batch, and the control socket is gone.
///
/// # Errors
/// An address or the control socket cannot be bound, or the system gives out.
pub fn run(
    setup: &Setup,
    (events, happening): (Sender<Event>, Receiver<Event>),
    log: &Arc<dyn Log>,
    ready: &mut dyn FnMut(&str) -> std::io::Result<()>,
) -> Result<(), RunError> {
    let grants = Grants::new(setup.config.clone(), setup.key);
    let node = Node::new(grants.clone(), &setup.identity, &setup.state_dir, Arc::clone(log), setup.uid);
    let node = Arc::new(node);
    let listeners = listen(setup, &node)?;
    let addresses: Vec<SocketAddr> =
        listeners.iter().filter_map(|listener| listener.address().ok()).collect();
    node.listens(addresses.clone());
    let _control = control(&setup.config, &setup.control, &node, &events)?;
    node.take_over(grants).map_err(|source| RunError::System { action: "start a thread", source })?;
    for listener in &listeners {
        let (listener, node, events) = (Arc::clone(listener), Arc::clone(&node), events.clone());
        start("calls", move || take_calls(&listener, &node, &events))?;
    }
    let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let line = format!("csyncd {} ready on {}", node.grants().node(), shown.join(", "));
    ready(&line).map_err(|source| RunError::System { action: "say that it is ready", source })?;
    tell_manager(setup, log.as_ref(), "READY=1");
    let ended = heed(setup, &node, &happening);
    tell_manager(setup, log.as_ref(), "STOPPING=1");
    end(&listeners, &node);
    ended
}

/// The addresses of the flag, else of the config, else all.
fn listen(setup: &Setup, node: &Arc<Node>) -> Result<Vec<Arc<Listener>>, RunError> {
    let everywhere = [Address { host: "::".to_owned(), port: PORT }];
    let wanted = [&setup.listen, &setup.config.listen].into_iter().find(|wanted| !wanted.is_empty());
    let wanted = wanted.map_or(&everywhere[..], Vec::as_slice);
    let mut listeners = Vec::new();
    for address in wanted {
        let resolved = (address.host.as_str(), address.port)
            .to_socket_addrs()
            .map_err(|source| RunError::Resolve { address: address.to_string(), source })?;
        for address in resolved {
            let bound = bind(setup, node, address).or_else(|error| {
                // A machine without IPv6 has all addresses as well.
                let any = SocketAddr::from(([0, 0, 0, 0], address.port()));
                if wanted == everywhere && lacks_family(&error) { bind(setup, node, any) } else { Err(error) }
            });
            let failed = |source| RunError::Listen { address: address.to_string(), source };
            listeners.push(Arc::new(bound.map_err(failed)?));
        }
    }
    Ok(listeners)
}

fn bind(setup: &Setup, node: &Arc<Node>, address: SocketAddr) -> Result<Listener, WireError> {
    let doorman: Arc<dyn Doorman> = Arc::<Node>::clone(node);
    Listener::bind(address, &setup.identity, &node.grants().node(), doorman, Limits::default())
}

fn lacks_family(error: &WireError) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    const EADDRNOTAVAIL: i32 = 99;
    let WireError::Local { source, .. } = error else { return false };
    matches!(source.raw_os_error(), Some(EAFNOSUPPORT | EADDRNOTAVAIL))
}

fn control(
    config: &Config,
    path: &std::path::Path,
    node: &Arc<Node>,
    events: &Sender<Event>,
) -> Result<LocalSocket, RunError> {
    let gid = match &config.control_group {
        None => None,
        Some(name) => Some(group_id(name).ok_or_else(|| RunError::NoGroup(name.clone()))?),
    };
    let socket = LocalSocket::bind(path, gid)?;
    let listener = socket
        .listener
        .try_clone()
        .map_err(|source| RunError::System { action: "share the control socket", source })?;
    let (answers, events): (Arc<dyn Answers>, _) = (Arc::<Node>::clone(node), events.clone());
    start("control", move || {
        if let Err(error) = answer(&listener, &answers) {
            // Nobody listens any more only when the daemon has ended.
            events.send(Event::Broken(format!("the control socket: {error}"))).ok();
        }
    })?;
    Ok(socket)
}

fn start(name: &'static str, work: impl FnOnce() + Send + 'static) -> Result<(), RunError> {
    let started = std::thread::Builder::new().name(name.into()).spawn(work);
    started.map(drop).map_err(|source| RunError::System { action: "start a thread", source })
}

fn tell_manager(setup: &Setup, log: &dyn Log, state: &str) {
    if let Some(Err(error)) = setup.manager.as_ref().map(|name| notify(name, state)) {
        log.line(Line::new(Level::Warning, "service manager not told").with("why", error));
    }
}

/// Does what events ask for, until one ends the daemon.
fn heed(setup: &Setup, node: &Arc<Node>, happening: &Receiver<Event>) -> Result<(), RunError> {
    // As long as this function has the receiver, somebody has a sender.
    while let Ok(event) = happening.recv() {
        match event {
            Event::Reload => reload(setup, node),
            Event::Stop => return Ok(()),
            Event::Ended(folder) => {
                if let Some(folder) = &folder {
                    node.folders.revive(folder);
                }
                if setup.once && folder.is_some() {
                    return Ok(());
                }
            }
            Event::Broken(why) => return Err(RunError::Broken(why)),
        }
    }
    Ok(())
}

/// Reads the config again. One that is wrong changes nothing, and every problem is told.
fn reload(setup: &Setup, node: &Node) {
    let here = Here { key: Some(setup.key), state_dir: &setup.state_dir };
    let path = setup.config_path.display();
    let read = load(&setup.config_path, setup.uid, here, |_root| Seen::Dir);
    let config = match read {
        Err(error) => {
            let line = Line::new(Level::Error, "config kept as it was");
            return node.log.line(line.with("why", with_causes(&error)));
        }
        Ok((config, problems)) => {
            for problem in &problems {
                let level = if problem.warning { Level::Warning } else { Level::Error };
                node.log.line(Line::new(level, format!("{path}:{problem}")));
            }
            let errors = problems.iter().filter(|problem| !problem.warning).count();
            if errors > 0 {
                let line = Line::new(Level::Error, "config kept as it was").with("errors", errors);
                return node.log.line(line);
            }
            config
        }
    };
    let before = node.grants();
    if (&before.config().listen, &before.config().node, &before.config().control_group)
        != (&config.listen, &config.node, &config.control_group)
    {
        let text = "listen, node and control-group are taken over when csyncd is started anew";
        node.log.line(Line::new(Level::Warning, text));
    }
    if let Err(error) = node.take_over(Grants::new(config, setup.key)) {
        node.log.line(Line::new(Level::Error, "members not followed").with("why", error));
    }
    node.log.line(Line::new(Level::Info, "config taken over").with("config", path));
}

fn take_calls(listener: &Listener, node: &Arc<Node>, events: &Sender<Event>) {
    loop {
        match listener.accept() {
            Ok(Some((link, control))) => begin(node, link, control, events),
            Ok(None) => return,
            Err(error) => {
                events.send(Event::Broken(with_causes(&error))).ok();
                return;
            }
        }
    }
}

/// Gives a connection a thread of its own. Their number is bounded where connections are accepted.
fn begin(node: &Arc<Node>, link: Link, control: Channel, events: &Sender<Event>) {
    let link = Arc::new(link);
    let caller = Caller { key: link.peer(), address: link.address().ip().to_canonical() };
    let id = node.sessions.enter(Arc::clone(&link), caller);
    let (shared, ended) = (Arc::clone(node), events.clone());
    let guest = Arc::clone(&link);
    let session = move || {
        attend(&shared, id, caller, &guest, control);
        drop(guest);
        let folder = shared.sessions.leave(id);
        // The daemon may be ending; then nobody waits for it.
        ended.send(Event::Ended(folder)).ok();
    };
    if let Err(error) = std::thread::Builder::new().name("session".into()).spawn(session) {
        link.close(Code::Busy, "no thread is left for this connection");
        node.sessions.leave(id);
        node.log.line(node.about(Level::Error, "session not begun", caller).with("why", error));
    }
}

/// Serves one connection to its end, and says how that was. A panic ends this connection and nothing else (R45).
fn attend(node: &Node, id: SessionId, caller: Caller, link: &Link, control: Channel) {
    let visitor = Visitor { node, id, caller };
    let served = catch_unwind(AssertUnwindSafe(|| serve(link, control, &visitor)));
    let traffic = link.traffic();
    let counted = |line: Line| line.with("sent", traffic.sent).with("received", traffic.received);
    let line = match served {
        // Whoever is done may say so by closing the connection.
        Ok(Ok(()) | Err(ServeError::Wire(WireError::Closed { code: Code::Done, .. }))) => {
            counted(node.about(Level::Info, "session ended", caller))
        }
        Ok(Err(error)) => {
            if let ServeError::Engine(error) = &error
                && let Some(folder) = node.sessions.folder(id)
            {
                let refuse = node.folders.failed(&folder, error);
                // Whoever has it open as it was would keep it from being opened anew.
                node.sessions.end_folder(&folder, refuse.code, &refuse.text);
            }
            let line = node.about(Level::Warning, "session broken off", caller);
            counted(line).with("why", with_causes(&error))
        }
        Err(_panic) => {
            link.close(Code::Internal, "something here failed");
            counted(node.about(Level::Error, "session ended by a fault of csyncd; please report it", caller))
        }
    };
    node.log.line(match node.sessions.folder(id) {
        Some(folder) => line.with("folder", folder),
        None => line,
    });
}

/// Takes no more calls, and waits for what is being done.
fn end(listeners: &[Arc<Listener>], node: &Node) {
    for listener in listeners {
        listener.shutdown("csyncd is ending; run again later");
    }
    node.keepers.end();
    node.members.end();
    let left = node.sessions.drained(LAST_BATCH);
    if left > 0 {
        node.log.line(Line::new(Level::Warning, "sessions left at the end").with("count", left));
    }
    node.folders.close_all();
    node.log.line(Line::new(Level::Info, "ended"));
}
