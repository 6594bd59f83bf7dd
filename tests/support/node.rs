//! Two nodes: a csyncd that serves one folder, and the csync of another node that knows it. Each has a key and a state
//! directory of its own; where the test wants it, a network of its own.

#![allow(dead_code, reason = "each suite takes what it needs")]
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test may stop the test")]
#![allow(clippy::print_stderr, reason = "a test that fails shows what the daemon said")]

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::sandbox::{CSYNC, Run, Sandbox};

/// The daemon under test.
pub(crate) const CSYNCD: &str = env!("CARGO_BIN_EXE_csyncd");
/// The folder that is served.
pub(crate) const FOLDER: &str = "two::web";

/// What the config says of the folder beside its path and members, unless a test says otherwise.
pub(crate) const PLAIN: &str = "mode = \"two-way\"\nallow = { one = \"write\" }\n";

/// A network of one side: the commands run in it, and its address.
#[derive(Clone, Default)]
pub(crate) struct Network {
    /// Such as `ip netns exec NAME`; nothing on the loopback of this machine.
    pub(crate) enter: Vec<String>,
    /// The address of the daemon.
    pub(crate) address: Option<String>,
}

/// Node `one` runs csync, node `two` runs csyncd and serves the root `b` of the sandbox as `web`.
pub(crate) struct Nodes {
    pub(crate) sandbox: Sandbox,
    pub(crate) one: Network,
    pub(crate) two: Network,
    folder: String,
    keys: [String; 2],
    daemon: Option<Child>,
    /// Where the daemon listens.
    pub(crate) address: String,
}

impl Nodes {
    /// Two nodes on this machine's loopback; `folder` is what the config says of the folder.
    pub(crate) fn new(folder: &str) -> Self {
        Self::between(folder, Network::default(), Network::default())
    }

    /// Two nodes in these networks.
    pub(crate) fn between(folder: &str, one: Network, two: Network) -> Self {
        let mut nodes = Self {
            sandbox: Sandbox::new(),
            one,
            two,
            folder: folder.to_owned(),
            keys: Default::default(),
            daemon: None,
            address: String::new(),
        };
        nodes.keys = ["one", "two"].map(|node| nodes.key(node));
        nodes.configure("127.0.0.1:8730");
        nodes.start(&[]);
        nodes
    }

    /// The state directory of a node.
    pub(crate) fn state(&self, node: &str) -> PathBuf {
        self.sandbox.path(&format!("state-{node}"))
    }

    /// The config of a node.
    pub(crate) fn config(&self, node: &str) -> PathBuf {
        self.sandbox.path(&format!("{node}.toml"))
    }

    /// The key of a node, made where there is none.
    pub(crate) fn key(&self, node: &str) -> String {
        let init = self.sandbox.path(&format!("init-{node}.toml"));
        let tool = |verb: &str| {
            let mut command = self.sandbox.command(CSYNC);
            command.arg(verb).arg("--config").arg(&init).arg("--state-dir").arg(self.state(node));
            Run::of(&mut command)
        };
        tool("init");
        let said = tool("id").ends_with(&[0]).stdout();
        said.split_whitespace().find(|word| word.starts_with("csk1:")).expect("a key").to_owned()
    }

    /// Writes both configs, with `address` for the daemon.
    fn configure(&self, address: &str) {
        let [one, two] = &self.keys;
        for node in ["one", "two"] {
            let text = format!(
                "node = \"{node}\"\n[peer.one]\nkey = \"{one}\"\naddr = [\"127.0.0.1:1\"]\n\
                 [peer.two]\nkey = \"{two}\"\naddr = [\"{address}\"]\n\
                 [folder.web]\nmembers = [\"two\"]\npath = {{ two = \"{}\" }}\n{}",
                self.sandbox.b().display(),
                self.folder
            );
            std::fs::write(self.config(node), text).expect("write a config");
        }
    }

    /// Has node `one` look for the daemon at `address`.
    pub(crate) fn redirect(&self, address: &str) {
        self.configure(address);
    }

    /// Starts the daemon with further variables of the environment, and waits until it is ready.
    pub(crate) fn start(&mut self, environment: &[(&str, &str)]) {
        assert!(self.launch(environment), "csyncd does not start\n{}", self.log());
    }

    /// Starts the daemon with further variables of the environment. Returns whether it came to be ready.
    pub(crate) fn launch(&mut self, environment: &[(&str, &str)]) -> bool {
        let host = self.two.address.clone().unwrap_or_else(|| "127.0.0.1".to_owned());
        let mut command = self.within(&self.two, CSYNCD);
        command.args(["--listen", &format!("{host}:0"), "--log-level", "debug"]);
        command.arg("--config").arg(self.config("two")).arg("--state-dir").arg(self.state("two"));
        command.envs(environment.iter().copied());
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.sandbox.path("csyncd.log"));
        command.stdout(Stdio::piped()).stderr(log.expect("open the log"));
        let mut daemon = command.spawn().expect("start csyncd");
        let mut line = String::new();
        let stdout = daemon.stdout.take().expect("its stdout is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("read its first line");
        self.daemon = Some(daemon);
        let Some(address) = line.trim().strip_prefix("csyncd two ready on ") else { return false };
        if self.address != address {
            self.configure(address);
            address.clone_into(&mut self.address);
        }
        true
    }

    /// What the daemon has said so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.sandbox.path("csyncd.log")).unwrap_or_default()
    }

    /// Whether the daemon still runs.
    pub(crate) fn is_up(&mut self) -> bool {
        self.daemon.as_mut().is_some_and(|daemon| matches!(daemon.try_wait(), Ok(None)))
    }

    /// Waits for the daemon to end by itself.
    pub(crate) fn wait(&mut self) -> Option<std::process::ExitStatus> {
        self.daemon.take().and_then(|mut daemon| daemon.wait().ok())
    }

    /// Asks the daemon to end, and waits until it has.
    pub(crate) fn end(&mut self) {
        if self.is_up() {
            let ask = format!("kill -TERM {}", self.pid());
            Run::of(self.sandbox.command("sh").args(["-c", &ask])).ends_with(&[0]);
        }
        self.wait();
    }

    /// Kills the daemon.
    pub(crate) fn stop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            // It may have ended by itself.
            daemon.kill().ok();
            daemon.wait().ok();
        }
    }

    /// The process number of the daemon.
    pub(crate) fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("the daemon runs").id()
    }

    fn within(&self, network: &Network, program: &str) -> Command {
        match network.enter.split_first() {
            None => self.sandbox.command(program),
            Some((enter, rest)) => {
                let mut command = self.sandbox.command(enter);
                command.args(rest).arg(program);
                command
            }
        }
    }

    /// csync of node `one` with `arguments`, ready to run.
    pub(crate) fn csync(&self, arguments: &[&str]) -> Command {
        self.csync_as("one", arguments)
    }

    /// csync with the config of node `one` and the state of `node`, ready to run.
    pub(crate) fn csync_as(&self, node: &str, arguments: &[&str]) -> Command {
        let mut command = self.within(&self.one, CSYNC);
        command.args(arguments);
        command.env("CSYNC_CONFIG", self.config("one")).env("CSYNC_STATE_DIR", self.state(node));
        command
    }

    /// Runs csync of node `one` to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        Run::of(&mut self.csync(arguments))
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("-- csyncd\n{}", self.log());
        }
    }
}
