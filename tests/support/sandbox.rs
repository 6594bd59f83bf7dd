//! The real program in a clean environment: a home, a state directory and two roots of its own.

#![allow(dead_code, reason = "each suite takes what it needs")]
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test may stop the test")]

use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The program under test.
pub(crate) const CSYNC: &str = env!("CARGO_BIN_EXE_csync");

/// A directory that vanishes with the test.
pub(crate) struct Sandbox {
    directory: tempfile::TempDir,
}

impl Sandbox {
    /// Makes a home, and the roots `a` and `b`, empty.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("make a directory for the test");
        for name in ["home", "a", "b"] {
            std::fs::create_dir(directory.path().join(name)).expect("make a directory for the test");
        }
        Self { directory }
    }

    /// A path in the sandbox.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The first root.
    pub(crate) fn a(&self) -> PathBuf {
        self.path("a")
    }

    /// The second root.
    pub(crate) fn b(&self) -> PathBuf {
        self.path("b")
    }

    /// The state directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// `program` with nothing of the tester's environment but the search path.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().stdin(Stdio::null()).current_dir(self.directory.path());
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", self.path("home")).env("CSYNC_STATE_DIR", self.state());
        for (name, below) in
            [("XDG_CONFIG_HOME", ".config"), ("XDG_STATE_HOME", ".local/state"), ("XDG_RUNTIME_DIR", ".run")]
        {
            command.env(name, self.path("home").join(below));
        }
        command
    }

    /// csync with `arguments`, ready to run.
    pub(crate) fn csync(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(CSYNC);
        command.args(arguments);
        command
    }

    /// Runs csync with `arguments` to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        Run::of(&mut self.csync(arguments))
    }

    /// Runs `csync sync a b` with `more`.
    pub(crate) fn sync(&self, more: &[&str]) -> Run {
        Run::of(self.csync(&["sync", "a", "b"]).args(more))
    }
}

/// How a program ended and what it said.
pub(crate) struct Run {
    line: String,
    output: Output,
}

impl Run {
    /// Runs `command` to its end.
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().expect("start the program");
        Self { line: format!("{command:?}"), output }
    }

    /// What a program that was already waited for said.
    pub(crate) fn ended(line: &str, output: Output) -> Self {
        Self { line: line.to_owned(), output }
    }

    /// The exit code; nothing when a signal ended it.
    pub(crate) fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    /// Whether SIGKILL ended it.
    pub(crate) fn was_killed(&self) -> bool {
        self.output.status.signal() == Some(9)
    }

    /// What it printed.
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// What it complained about.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// Stops the test unless the exit code is one of `codes`.
    #[track_caller]
    pub(crate) fn ends_with(self, codes: &[i32]) -> Self {
        let ended = self.code().is_some_and(|code| codes.contains(&code));
        assert!(ended, "{} instead of {codes:?}\n{self}", self.output.status);
        self
    }

    /// Stops the test unless the messages contain each of `words`.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr().contains(word), "no `{word}` in the messages\n{self}");
        }
        self
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "$ {}", self.line)?;
        writeln!(f, "{}\n-- stdout\n{}-- stderr\n{}", self.output.status, self.stdout(), self.stderr())
    }
}

/// Copies a tree with everything that `cp -a` keeps.
pub(crate) fn copy_tree(from: &Path, to: &Path) {
    let run = Run::of(Command::new("cp").arg("-a").arg(from).arg(to));
    assert_eq!(run.code(), Some(0), "{run}");
}
