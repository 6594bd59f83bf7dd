//! One drill: prepare, kill, run again until it ends, and judge what is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use csync::model::entry::Digest;

use crate::sandbox::{CSYNC, Run, Sandbox};
use crate::tree::{ALL, Compare, Snapshot, kept_contents, staged};
use crate::workload::Workload;

/// Runs that a tree may need to come to rest after a kill.
const RUNS_MAX: usize = 3;

/// Where a run is killed.
#[derive(Clone, Debug)]
pub(crate) enum Kill {
    /// At the named point, when it is passed for the n-th time.
    Point(&'static str, u64),
    /// When a thread makes the system call for the n-th time.
    Call(String, u64),
}

/// A sandbox in which a workload was prepared.
pub(crate) struct Drill<'a> {
    pub(crate) sandbox: Sandbox,
    workload: &'a Workload,
    before: [Snapshot; 2],
}

impl<'a> Drill<'a> {
    /// Prepares `workload`.
    pub(crate) fn new(workload: &'a Workload) -> Self {
        let sandbox = Sandbox::new();
        (workload.prepare)(&sandbox);
        let before = both(&sandbox);
        Self { sandbox, workload, before }
    }

    /// The run, with a log of the points that it passes, and killed by `kill`.
    pub(crate) fn command(&self, kill: Option<&Kill>) -> Command {
        let mut injections: Vec<String> =
            self.workload.without.iter().map(|&without| without.to_owned()).collect();
        if let Some(Kill::Call(call, nth)) = kill {
            injections.push(format!("{call}:signal=KILL:when={nth}"));
        }
        let mut command = traced(&self.sandbox, &injections, Path::new("/dev/null"));
        command.args(self.workload.arguments).env("CSYNC_CRASH_LOG", self.log());
        if let Some(Kill::Point(name, nth)) = kill {
            command.env("CSYNC_CRASH", format!("{name}:{nth}"));
        }
        command
    }

    fn log(&self) -> std::path::PathBuf {
        self.sandbox.path("points")
    }

    /// Runs to the end or to the kill. Returns whether the kill fired; without one the run must end well.
    pub(crate) fn run(&self, kill: Option<&Kill>) -> bool {
        let run = Run::of(&mut self.command(kill));
        if kill.is_none() {
            run.ends_with(&[0, 40]);
            return false;
        }
        run.was_killed()
    }

    /// Returns the points that were passed since the last call.
    pub(crate) fn points(&self) -> BTreeSet<String> {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        fs::write(self.log(), "").expect("empty the log");
        text.lines().map(str::to_owned).collect()
    }

    /// Runs again until the tree is at rest, and judges it: equal to `end`, nothing lost, torn or left over. A verdict
    /// that the engine failed goes to `failures`, so that one run of the suite shows all of them.
    pub(crate) fn judge(&self, end: &Snapshot, when: &str, failures: &mut Vec<String>) {
        let verdict =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.must_be_whole(end, when)));
        if verdict.is_err() {
            failures.push(when.to_owned());
        }
    }

    fn must_be_whole(&self, end: &Snapshot, when: &str) {
        let mut codes = Vec::new();
        while codes.last().is_none_or(|code| ![Some(0), Some(40)].contains(code)) {
            let run = Run::of(&mut self.command(None));
            codes.push(run.code());
            let mended = codes.len() < RUNS_MAX || run.code().is_some_and(|code| code == 0 || code == 40);
            assert!(mended, "{when}: not at rest after {codes:?}\n{run}");
        }
        let [a, b] = both(&self.sandbox);
        a.agrees_with(&b, ALL, &format!("{when}: the two roots"));
        a.agrees_with(end, UNTIMED, &format!("{when}: the end of a run that nobody killed"));
        self.nothing_is_lost(&[&a, &b], when);
        self.nothing_is_left(when);
        let again = Run::of(self.command(None).arg("-i")).ends_with(&[0]);
        assert_eq!(again.stdout(), "", "{when}: the next run had something to do");
        assert!(both(&self.sandbox) == [a, b], "{when}: the next run changed something");
    }

    fn nothing_is_lost(&self, after: &[&Snapshot; 2], when: &str) {
        let written: BTreeSet<Digest> = self.before.iter().flat_map(Snapshot::contents).collect();
        let live: BTreeSet<Digest> = after.iter().flat_map(|side| side.contents()).collect();
        let torn: Vec<&Digest> = live.difference(&written).collect();
        assert!(torn.is_empty(), "{when}: contents that nobody wrote: {torn:?}");
        if !self.workload.keeps {
            self.before[0].agrees_with(after[0], ALL, &format!("{when}: the source"));
            return;
        }
        let [a, b] = [kept_contents(&self.sandbox.a()), kept_contents(&self.sandbox.b())];
        for (path, node) in self.before.iter().flat_map(|side| &side.0) {
            let Some(digest) = node.digest else { continue };
            let there = live.contains(&digest) || a.contains(&digest) || b.contains(&digest);
            assert!(there, "{when}: the content of {} is gone", path.escape_ascii());
        }
    }

    fn nothing_is_left(&self, when: &str) {
        for root in [self.sandbox.a(), self.sandbox.b()] {
            assert_eq!(
                staged(&root),
                Vec::<String>::new(),
                "{when}: left in the staging of {}",
                root.display()
            );
        }
    }
}

/// Files that a run makes take their time from the file they copy; the end of two sandboxes differs in it.
const UNTIMED: Compare = Compare { modes: true, owners: true, times: false };

/// Returns the tree in which `workload` ends when nobody kills it.
pub(crate) fn end_of(workload: &Workload) -> Snapshot {
    let drill = Drill::new(workload);
    assert!(!drill.run(None), "killed by nobody");
    let [a, b] = both(&drill.sandbox);
    a.agrees_with(&b, ALL, workload.name);
    a
}

pub(crate) fn both(sandbox: &Sandbox) -> [Snapshot; 2] {
    [Snapshot::of(&sandbox.a()), Snapshot::of(&sandbox.b())]
}

/// csync under strace with `injections`, the trace in `log`; csync alone where there is nothing to inject.
pub(crate) fn traced(sandbox: &Sandbox, injections: &[String], log: &Path) -> Command {
    if injections.is_empty() {
        return sandbox.command(CSYNC);
    }
    let calls: Vec<&str> = injections.iter().map(|text| text.split(':').next().unwrap_or_default()).collect();
    let mut command = sandbox.command("strace");
    command.args(["-f", "-qq", "-o"]).arg(log).args(["-e", &format!("trace={}", calls.join(","))]);
    for injection in injections.iter().filter(|injection| injection.contains(':')) {
        command.args(["-e", &format!("inject={injection}")]);
    }
    command.arg(CSYNC);
    command
}
