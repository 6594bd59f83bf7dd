//! A node with a home of its own, its `csyncd`, and calls to the `csyncd` of others.

#![allow(dead_code, reason = "each suite takes what it needs")]

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

pub(crate) use rustix::process::Signal;

use csync::model::key::PublicKey;
use csync::transport::channel::Channel;
use csync::transport::error::WireError;
use csync::transport::identity::Identity;
use csync::transport::link::Link;
use csync::transport::message::{Message, Opened, Refuse};
use csync::transport::quic::Caller;

/// How long anything here may take; never waited for when all is well.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A node.
pub(crate) struct Node {
    pub(crate) name: &'static str,
    home: tempfile::TempDir,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Node {
    /// Makes a node with a key and no config.
    pub(crate) fn new(name: &'static str) -> Self {
        let node = Self { name, home: tempfile::tempdir().expect("a directory") };
        assert_eq!(node.csync(&["init", "--name", name]).code, Some(0));
        node
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A directory in the home, made if it is not there.
    pub(crate) fn root(&self, name: &str) -> String {
        let path = self.path(name);
        fs::create_dir_all(&path).expect("a root");
        path.display().to_string()
    }

    pub(crate) fn identity(&self) -> Identity {
        let me = fs::metadata(self.home.path()).expect("a home").uid();
        Identity::load(&self.path("state"), me).expect("a key")
    }

    pub(crate) fn key(&self) -> PublicKey {
        self.identity().public().expect("a public half")
    }

    /// Writes the config: this node, `peers`, and `more`. Top-level keys come first in `more`.
    pub(crate) fn configure(&self, peers: &[&Self], more: &str) {
        let peer = |peer: &&Self| {
            format!("[peer.{}]\nkey = \"{}\"\naddr = [\"127.0.0.1:1\"]\n", peer.name, peer.key())
        };
        let peers: String = peers.iter().map(peer).collect();
        let (top, tables) = more.split_at(more.find('[').unwrap_or(more.len()));
        let config = format!("node = \"{}\"\n{top}{peers}{tables}", self.name);
        fs::write(self.path("csync.toml"), config).expect("the config");
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(self.home.path()).stdin(Stdio::null());
        command.env("HOME", self.home.path());
        command.env("CSYNC_CONFIG", self.path("csync.toml")).env("CSYNC_STATE_DIR", self.path("state"));
        command
    }

    fn run(&self, program: &str, args: &[&str]) -> Told {
        let output = self.command(program).args(args).output().expect("the program runs");
        Told {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs csync to its end.
    pub(crate) fn csync(&self, args: &[&str]) -> Told {
        self.run(env!("CARGO_BIN_EXE_csync"), args)
    }

    /// Runs csyncd to its end.
    pub(crate) fn csyncd(&self, args: &[&str]) -> Told {
        self.run(env!("CARGO_BIN_EXE_csyncd"), args)
    }

    /// The names of the folders that its daemon serves.
    pub(crate) fn folders(&self) -> Vec<String> {
        let told = self.csync(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_str(&told.stdout).expect("an object");
        let folders = status["folders"].as_array().expect("folders");
        folders.iter().filter_map(|folder| folder["name"].as_str().map(str::to_owned)).collect()
    }

    /// Starts csyncd at a free port and waits until it is ready.
    pub(crate) fn start(&self, args: &[&str]) -> Daemon {
        self.start_with(args, &[])
    }

    /// The same, with more in its environment.
    pub(crate) fn start_with(&self, args: &[&str], environment: &[(&str, &OsStr)]) -> Daemon {
        let mut command = self.command(env!("CARGO_BIN_EXE_csyncd"));
        command.args(["--listen", "127.0.0.1:0"]).args(args);
        command.envs(environment.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("csyncd starts");
        let lines = lines(child.stderr.take().expect("a log"));
        let printed = self::lines(child.stdout.take().expect("an output"));
        let ready = printed.recv_timeout(DEADLINE);
        let Ok(ready) = ready else {
            child.kill().ok();
            let log: Vec<String> = lines.iter().collect();
            panic!("csyncd is not ready: {log:#?}");
        };
        let address = ready.rsplit(' ').next().and_then(|address| address.parse().ok());
        Daemon { child, lines, address: address.expect("an address"), ready }
    }

    /// Calls `node`, whose daemon is `daemon`.
    pub(crate) fn call(&self, node: &Self, daemon: &Daemon) -> Result<(Link, Channel), WireError> {
        Caller::new(&self.identity()).connect(&[daemon.address], &node.key(), DEADLINE)
    }
}

fn lines(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Returns what a folder that was asked for holds, or why it is refused.
#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else comes is out of turn")]
pub(crate) fn opened(control: &mut Channel) -> Result<Opened, Refuse> {
    loop {
        match control.recv().expect("an answer") {
            Message::Working(_) => {}
            Message::Opened(opened) => return Ok(opened),
            Message::Refuse(refuse) => return Err(refuse),
            other => panic!("{other:?}"),
        }
    }
}

/// A running csyncd. It is killed with the test.
pub(crate) struct Daemon {
    child: Child,
    lines: Receiver<String>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The line by which it said so.
    pub(crate) ready: String,
}

impl Daemon {
    /// Waits for a line of the log that has all of `words`; lines before it are passed over.
    #[track_caller]
    pub(crate) fn says(&self, words: &[&str]) {
        let mut passed = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(DEADLINE) {
            if words.iter().all(|word| line.contains(word)) {
                return;
            }
            passed.push(line);
        }
        panic!("no line with {words:?}, but {passed:#?}");
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("a process");
    }

    /// Waits until it has ended: its log ends when it does.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let mut log = Vec::new();
        loop {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) => log.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("it does not end: {log:#?}"),
            }
        }
        self.child.wait().expect("its end").code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
