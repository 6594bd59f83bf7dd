//! A mesh on this machine: several nodes, each with a key, a state directory, a root and a csyncd of its own, all with
//! the same config.

#![allow(dead_code, reason = "each suite takes what it needs")]
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test may stop the test")]
#![allow(clippy::print_stderr, reason = "a test that fails shows what the daemons said")]
#![allow(clippy::disallowed_methods, reason = "a test handles its own files")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use csync::model::key::PublicKey;
use csync::model::version::ReplicaId;
use csync::transport::identity::Identity;
use csync::transport::link::Link;
use csync::transport::member::Join;
use csync::transport::message::{Message, Opened, Refuse};
use csync::transport::quic::Caller;
use serde_json::Value;

use crate::sandbox::{CSYNC, Run, Sandbox};
use crate::tree::{ALL, Snapshot};

const CSYNCD: &str = env!("CARGO_BIN_EXE_csyncd");
/// How long anything may take; never waited for when all is well.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Nodes `web1`, `web2`, ..., which keep the folder `web`.
pub(crate) struct Mesh {
    sandbox: Sandbox,
    keys: Vec<String>,
    ports: Vec<u16>,
    daemons: Vec<Option<Child>>,
    folder: String,
}

impl Mesh {
    /// Makes `count` nodes; `folder` is what the config says of the folder beside members and path. None runs yet.
    pub(crate) fn new(count: usize, folder: &str) -> Self {
        let sandbox = Sandbox::new();
        // All held until all are known, so that no two get the same.
        let sockets: Vec<UdpSocket> =
            (0..count).map(|_| UdpSocket::bind("127.0.0.1:0").expect("a free port")).collect();
        let ports = sockets.iter().map(|socket| socket.local_addr().expect("its address").port()).collect();
        let mut mesh =
            Self { sandbox, keys: Vec::new(), ports, daemons: Vec::new(), folder: folder.to_owned() };
        for at in 0..count {
            fs::create_dir(mesh.root(at)).expect("a root");
            let init = mesh.sandbox.path(&format!("init-{at}.toml"));
            let tool = |verb: &str| {
                let mut command = mesh.sandbox.command(CSYNC);
                command.arg(verb).arg("--config").arg(&init).arg("--state-dir").arg(mesh.state(at));
                Run::of(&mut command)
            };
            tool("init");
            let said = tool("id").ends_with(&[0]).stdout();
            let key =
                said.split_whitespace().find(|word| word.starts_with("csk1:")).expect("a key").to_owned();
            mesh.keys.push(key);
            mesh.daemons.push(None);
        }
        mesh.configure(&(0..count).collect::<Vec<_>>());
        mesh
    }

    /// The same, all of them running.
    pub(crate) fn running(count: usize, folder: &str) -> Self {
        let mut mesh = Self::new(count, folder);
        (0..count).for_each(|at| mesh.start(at));
        mesh
    }

    /// Writes the config of all: these nodes are members.
    pub(crate) fn configure(&self, members: &[usize]) {
        let mut text = String::new();
        for (at, (key, port)) in self.keys.iter().zip(&self.ports).enumerate() {
            text += &format!("[peer.{}]\nkey = \"{key}\"\naddr = [\"127.0.0.1:{port}\"]\n", self.name(at));
        }
        let names: Vec<String> = members.iter().map(|at| format!("\"{}\"", self.name(*at))).collect();
        let paths: Vec<String> = members
            .iter()
            .map(|at| format!("{} = \"{}\"", self.name(*at), self.root(*at).display()))
            .collect();
        text +=
            &format!("[folder.web]\nmembers = [{}]\npath = {{ {} }}\n", names.join(", "), paths.join(", "));
        text += &self.folder;
        for at in 0..self.keys.len() {
            fs::write(self.config(at), &text).expect("write a config");
        }
    }

    /// Writes the config of all with this about the folder.
    pub(crate) fn set_folder(&mut self, folder: &str) {
        folder.clone_into(&mut self.folder);
        self.configure(&(0..self.keys.len()).collect::<Vec<_>>());
    }

    pub(crate) fn count(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn name(&self, at: usize) -> String {
        format!("web{}", at + 1)
    }

    pub(crate) fn root(&self, at: usize) -> PathBuf {
        self.sandbox.path(&format!("root-{}", at + 1))
    }

    pub(crate) fn state(&self, at: usize) -> PathBuf {
        self.sandbox.path(&format!("state-{}", at + 1))
    }

    pub(crate) fn config(&self, at: usize) -> PathBuf {
        self.sandbox.path(&format!("web{}.toml", at + 1))
    }

    fn log_path(&self, at: usize) -> PathBuf {
        self.sandbox.path(&format!("web{}.log", at + 1))
    }

    pub(crate) fn log(&self, at: usize) -> String {
        fs::read_to_string(self.log_path(at)).unwrap_or_default()
    }

    /// Starts the daemon of a node and waits until it is ready.
    pub(crate) fn start(&mut self, at: usize) {
        self.start_with(at, &[]);
    }

    /// The same, with further variables of the environment.
    pub(crate) fn start_with(&mut self, at: usize, environment: &[(&str, &str)]) {
        let mut command = self.sandbox.command(CSYNCD);
        command.args(["--listen", &format!("127.0.0.1:{}", self.ports[at]), "--log-level", "debug"]);
        command.arg("--config").arg(self.config(at)).arg("--state-dir").arg(self.state(at));
        command.envs(environment.iter().copied());
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_path(at));
        command.stdout(Stdio::piped()).stderr(log.expect("open the log"));
        let mut daemon = command.spawn().expect("start csyncd");
        let mut line = String::new();
        let stdout = daemon.stdout.take().expect("its stdout is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("read its first line");
        self.daemons[at] = Some(daemon);
        assert!(line.contains(" ready on "), "csyncd does not start: {}", self.log(at));
    }

    pub(crate) fn pid(&self, at: usize) -> Option<u32> {
        self.daemons[at].as_ref().map(Child::id)
    }

    /// Ends the daemon of a node by `signal`, and waits for its end.
    pub(crate) fn end(&mut self, at: usize, signal: rustix::process::Signal) -> Option<i32> {
        let mut daemon = self.daemons[at].take()?;
        rustix::process::kill_process(rustix::process::Pid::from_child(&daemon), signal).expect("a process");
        daemon.wait().expect("its end").code()
    }

    /// Ends it as a service manager does.
    pub(crate) fn stop(&mut self, at: usize) {
        let code = self.end(at, rustix::process::Signal::TERM);
        assert_eq!(code, Some(0), "{}", self.log(at));
    }

    /// Kills it.
    pub(crate) fn kill(&mut self, at: usize) {
        self.end(at, rustix::process::Signal::KILL);
    }

    /// Runs csync on a node.
    pub(crate) fn csync(&self, at: usize, arguments: &[&str]) -> Run {
        let mut command = self.sandbox.command(CSYNC);
        command.env("CSYNC_STATE_DIR", self.state(at)).env("CSYNC_CONFIG", self.config(at)).args(arguments);
        Run::of(&mut command)
    }

    /// Copies the root and the state of a node, which must not run, aside; or back.
    pub(crate) fn snapshot(&self, at: usize, back: bool) {
        let aside = self.sandbox.path(&format!("snapshot-{at}"));
        fs::create_dir_all(&aside).expect("a directory");
        for (name, place) in [("root", self.root(at)), ("state", self.state(at))] {
            let copy = aside.join(name);
            let (from, to) = if back { (copy, place) } else { (place, copy) };
            // Contents are put back into the directory itself, as a file system that is rolled back does it.
            let rsync = std::process::Command::new("cp").arg("-aT").arg(&from).arg(&to).status();
            if back {
                clear_but(&to, &from);
            }
            assert!(rsync.expect("cp runs").success());
        }
    }

    /// Has the daemon of a node read its config again.
    pub(crate) fn reload(&self, at: usize) {
        let daemon = self.daemons[at].as_ref().expect("a daemon");
        let pid = rustix::process::Pid::from_child(daemon);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("a process");
    }

    /// What the daemon of a node says of the folder.
    pub(crate) fn folder(&self, at: usize) -> Value {
        let told = self.csync(at, &["status", "--json"]).ends_with(&[0]).stdout();
        let status: Value = serde_json::from_str(&told).expect("an object");
        status["folders"][0].clone()
    }

    /// What the daemon of `whom` answers to `who`, which asks for the folder as a member.
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else comes is out of turn")]
    pub(crate) fn join(&self, who: usize, whom: usize) -> (Link, Result<Opened, Refuse>) {
        let owner = fs::metadata(self.state(who)).expect("a state").uid();
        let identity = Identity::load(&self.state(who), owner).expect("a key");
        let key = PublicKey::parse(&self.keys[whom]).expect("a key");
        let address = SocketAddr::from(([127, 0, 0, 1], self.ports[whom]));
        let called = Caller::new(&identity).connect(&[address], &key, DEADLINE);
        let (link, mut control) = called.expect("a connection");
        let join = Join { folder: "web".to_owned(), replica: ReplicaId([9; 16]), heard: None };
        control.send(&Message::Join(join)).expect("it is sent");
        loop {
            match control.recv().expect("an answer") {
                Message::Working(_) => {}
                Message::Opened(opened) => return (link, Ok(opened)),
                Message::Refuse(refuse) => return (link, Err(refuse)),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Waits until `condition` holds.
    #[track_caller]
    pub(crate) fn until(&self, claim: &str, mut condition: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !condition() {
            if begun.elapsed() > DEADLINE {
                self.tell();
                panic!("{claim}: not within {DEADLINE:?}");
            }
            std::thread::park_timeout(LOOK);
        }
    }

    /// Waits until the roots of `nodes` are the same in everything that is synchronised.
    #[track_caller]
    pub(crate) fn agree(&self, nodes: &[usize]) {
        let same = || {
            let mut shots = nodes.iter().map(|at| Snapshot::of(&self.root(*at)));
            let first = shots.next().expect("a node");
            shots.all(|other| first.differences(&other, ALL).is_empty())
        };
        self.until("the roots are the same", same);
    }

    /// Waits until the file `path` of every one of `nodes` holds `content`; `None` for no file.
    #[track_caller]
    pub(crate) fn hold(&self, nodes: &[usize], path: &str, content: Option<&str>) {
        let holds =
            |at: &usize| fs::read(self.root(*at).join(path)).ok().as_deref() == content.map(str::as_bytes);
        self.until(&format!("{path} is {content:?}"), || nodes.iter().all(holds));
    }

    fn tell(&self) {
        for at in 0..self.count() {
            let shot = Snapshot::of(&self.root(at));
            eprintln!("== {} holds {:?}\n== its log\n{}", self.name(at), shot.paths(), self.log(at));
        }
    }
}

/// Removes what is in `to` and not in `like`.
fn clear_but(to: &Path, like: &Path) {
    for entry in fs::read_dir(to).expect("a directory").flatten() {
        let (here, there) = (entry.path(), like.join(entry.file_name()));
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        match (is_dir, there.symlink_metadata().is_ok()) {
            (true, true) => clear_but(&here, &there),
            (true, false) => fs::remove_dir_all(&here).expect("remove it"),
            (false, false) => fs::remove_file(&here).expect("remove it"),
            (false, true) => {}
        }
    }
}

/// Writes a file as a program does that does not care: opened, written, closed.
pub(crate) fn write(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a directory")).expect("make its directories");
    fs::write(path, content).expect("write a file");
}

impl Drop for Mesh {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().flatten() {
            daemon.kill().ok();
            daemon.wait().ok();
        }
    }
}
