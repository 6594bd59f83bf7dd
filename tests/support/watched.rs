//! A served root with a watch on it, whose hints a test takes up when it wants.

#![allow(dead_code, reason = "each suite takes what it needs")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test may stop the test")]
#![allow(clippy::disallowed_methods, reason = "a test is the user who changes the tree by path")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use csync::config::settings::{Mode, OwnerRule};
use csync::disk::lister::Lister;
use csync::disk::watch::{Event, Watch};
use csync::engine::glance::glance;
use csync::engine::host::{Host, HostSettings};
use csync::engine::observe::{Sight, Watching, observe_by};
use csync::engine::options::{FilterArg, Select};
use csync::engine::selection::scope;
use csync::model::path::RelPath;
use csync::model::row::State;
use csync::plan::guard::Limit;
use csync::plan::settle::{Hint, Pace, Settle, Sign};

/// Longer than any test takes.
const LONG: Duration = Duration::from_mins(1);

/// A root, its index, and the watch on it.
pub(crate) struct Watched {
    directory: tempfile::TempDir,
    pub(crate) host: Host,
    pub(crate) watching: Watching,
    pub(crate) watch: Arc<Watch>,
    pub(crate) lister: Arc<dyn Lister>,
    heard: Receiver<Event>,
    fences: u32,
}

impl Watched {
    /// An empty root, watched.
    pub(crate) fn new(rules: &[&str]) -> Self {
        let (directory, host, watching) = serve(rules);
        let (tell, heard) = channel();
        let watch = Watch::begin(Arc::clone(&host.root), move |event| drop(tell.send(event))).unwrap();
        let watch = Arc::new(watch);
        let lister: Arc<dyn Lister> = Arc::<Watch>::clone(&watch);
        let mut watched = Self { directory, host, watching, watch, lister, heard, fences: 0 };
        watched.observe();
        watched
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// Looks at the whole tree, through the watch.
    pub(crate) fn observe(&mut self) -> Sight {
        observe_by(&self.host.replica(), &self.watching, &self.lister).unwrap()
    }

    /// Looks at `hints`.
    pub(crate) fn glance(&self, hints: &[Hint]) -> Sight {
        glance(&self.host.replica(), &self.watching, &self.lister, hints).unwrap()
    }

    /// Everything that was heard of so far. The kernel keeps the order: what comes before a fence was all there is.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        self.fences += 1;
        let fence = path(&format!("fence-{}", self.fences));
        let place = self.root().join(format!("fence-{}", self.fences));
        fs::create_dir(&place).unwrap();
        fs::remove_dir(&place).unwrap();
        let mut events = Vec::new();
        loop {
            let event = self.heard.recv_timeout(LONG).unwrap();
            match event {
                Event::Hint { path, sign: Sign::Vanished } if path == fence => return events,
                Event::Hint { ref path, .. } if path.as_bytes().starts_with(b"fence-") => {}
                Event::Hint { .. } | Event::Overflow | Event::Unwatched(_) | Event::Broken(_) => {
                    events.push(event);
                }
            }
        }
    }

    /// The places that the events heard so far come to.
    pub(crate) fn hints(&mut self) -> Vec<Hint> {
        let mut settle = Settle::new(Pace::default());
        for event in self.events() {
            match event {
                Event::Hint { path, sign } => settle.tell(path, sign, Duration::ZERO),
                Event::Overflow => settle.overflow(Duration::ZERO),
                Event::Unwatched(error) => panic!("{error}"),
                Event::Broken(why) => panic!("{why}"),
            }
        }
        settle.take(LONG)
    }

    /// Takes up what was heard, and what is heard meanwhile.
    pub(crate) fn take_up(&mut self) -> Sight {
        let mut sum = Sight::default();
        loop {
            let hints = self.hints();
            if hints.is_empty() {
                return sum;
            }
            let sight = self.glance(&hints);
            sum.revisions += sight.revisions;
            sum.unproven += sight.unproven;
            sum.skipped.extend(sight.skipped);
            sum.again.extend(sight.again);
        }
    }

    /// What is recorded: path to kind, content, mode and origin; `-` and where it went for a tombstone.
    pub(crate) fn rows(&self) -> BTreeMap<String, String> {
        let replica = self.host.replica();
        let index = replica.index();
        let rows = index.cursor(None).map(Result::unwrap);
        rows.map(|(path, record)| {
            let shown = match &record.row.state {
                State::Live(live) => {
                    let from = live.moved_from.as_ref().map(|from| from.path.to_string());
                    let content = &live.content.value;
                    format!("{content:?} {:o} from {from:?}", live.mode.value)
                }
                State::Deleted(stone) => {
                    format!(
                        "- {:?} residue {}",
                        stone.moved_to.as_ref().map(ToString::to_string),
                        record.residue
                    )
                }
            };
            (path.to_string(), shown)
        })
        .collect()
    }

    /// Whether something live is recorded at `at`.
    pub(crate) fn has(&self, at: &str) -> bool {
        self.host.replica().record(&path(at)).unwrap().is_some_and(|record| record.row.live().is_some())
    }
}

/// An empty root, served by these rules, and how it is looked at.
pub(crate) fn serve(rules: &[&str]) -> (tempfile::TempDir, Host, Watching) {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("root")).unwrap();
    let filters = rules.iter().map(|rule| FilterArg::Rule((*rule).into())).collect();
    let settings = HostSettings {
        node: "web1".to_owned(),
        scope: scope(&Select { filters, ..Select::default() }, false, &[]).unwrap(),
        owner: OwnerRule::ByName,
        mode: Mode::TwoWay,
        is_primary: true,
        trust_root: false,
        keep: true,
        hold_above: Limit::Formula,
    };
    let (root, state) = (directory.path().join("root"), directory.path().join("state"));
    let host = Host::open("uploads", &root, &state, settings, &mut |_| ()).unwrap();
    let scope = Arc::clone(&host.settings.scope);
    let watching = Watching { scope, checksum: false, devices: false, threads: 2 };
    (directory, host, watching)
}

pub(crate) fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

pub(crate) fn hint(at: &str, recursive: bool) -> Hint {
    Hint { path: path(at), recursive }
}
