//! A node that serves one folder on the loopback, and guests of it.

#![allow(dead_code, reason = "each suite takes what it needs")]
#![allow(clippy::wildcard_enum_match_arm, reason = "whatever else comes is out of turn")]

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use csync::config::settings::{Mode, OwnerRule};
use csync::disk::private::Private;
use csync::disk::root::Root;
use csync::disk::stage::{Stage, Target};
use csync::engine::far::folder::{Far, Wanted};
use csync::engine::far::give::{Offer, Offered, give};
use csync::engine::far::take::{Landing, Need, take};
use csync::engine::host::{Host, HostSettings};
use csync::engine::options::{FilterArg, Select, Wire};
use csync::engine::selection;
use csync::engine::serve::session::{Grant, Opener, serve};
use csync::model::entry::{Content, Digest};
use csync::model::key::PublicKey;
use csync::model::metadata::{Attributes, Owner, Timestamp};
use csync::model::path::RelPath;
use csync::model::row::Row;
use csync::plan::guard::Limit;
use csync::rules::scope::Scope;
use csync::store::versions::Versions;
use csync::transport::channel::Channel;
use csync::transport::identity::Identity;
use csync::transport::link::Link;
use csync::transport::message::{
    Act, Carried, Change, Code, Fetch, FolderInfo, Item, List, Listed, Message, Names, Open, Opened, Refuse,
    Right, Settled, Step, StepResult,
};
use csync::transport::quic::{Caller, Listener};
use csync::transport::seats::{Doorman, Limits, Welcomed};

pub(crate) const ALL: Carried = Carried { mode: true, user: true, group: true, mtime: true };
const SOON: Duration = Duration::from_secs(10);

pub(crate) fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

pub(crate) fn file(text: &str) -> Content {
    CONTENTS.lock().unwrap().insert(Digest::of(text.as_bytes()), text.as_bytes().to_vec());
    Content::File { digest: Digest::of(text.as_bytes()), size: u64::try_from(text.len()).unwrap() }
}

/// What guests have to give.
static CONTENTS: Mutex<BTreeMap<Digest, Vec<u8>>> = Mutex::new(BTreeMap::new());

pub(crate) fn scope(rules: &[&str]) -> Arc<Scope> {
    let filters = rules.iter().map(|rule| FilterArg::Rule((*rule).into())).collect();
    selection::scope(&Select { filters, ..Select::default() }, false, &[]).unwrap()
}

/// Returns what a step that was done says.
#[track_caller]
pub(crate) fn done(result: &StepResult) -> (u64, Row) {
    match result {
        StepResult::Done { seq, row } => (*seq, row.clone()),
        other => panic!("{other:?}"),
    }
}

/// Returns why a step was refused.
#[track_caller]
pub(crate) fn code_of(result: &StepResult) -> Code {
    match result {
        StepResult::Refused(refuse) => refuse.code,
        other => panic!("{other:?}"),
    }
}

struct Folders {
    host: Arc<Host>,
    right: Mutex<Right>,
}

impl Opener for Folders {
    fn folders(&self, _link: &Link) -> Vec<FolderInfo> {
        Vec::new()
    }

    fn is_member(&self, _link: &Link, _folder: &str) -> bool {
        false
    }

    fn open(&self, _link: &Link, open: &Open) -> Result<Grant, Refuse> {
        if open.folder != self.host.name {
            return Err(Refuse { code: Code::Missing, text: "no such folder".to_owned() });
        }
        Ok(Grant {
            host: Arc::clone(&self.host),
            right: *self.right.lock().unwrap(),
            by: "laptop".to_owned(),
        })
    }

    fn notice(&self, _folder: &str, _what: &'static str, _first: &RelPath, _count: u64) {}
}

struct Everybody;

impl Doorman for Everybody {
    fn admits(&self, _key: &PublicKey, _address: SocketAddr) -> Option<Welcomed> {
        Some(Welcomed::Anybody)
    }
}

/// A node that serves the folder `uploads`.
pub(crate) struct Node {
    directory: tempfile::TempDir,
    folders: Arc<Folders>,
    identity: Identity,
    guest: Identity,
    listener: Arc<Listener>,
    address: SocketAddr,
}

impl Node {
    pub(crate) fn new(change: impl FnOnce(&mut HostSettings)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("root")).unwrap();
        let mut settings = HostSettings {
            node: "web1".to_owned(),
            scope: scope(&[]),
            owner: OwnerRule::ByName,
            mode: Mode::TwoWay,
            is_primary: true,
            trust_root: false,
            keep: true,
            hold_above: Limit::Formula,
        };
        change(&mut settings);
        let (root, state) = (directory.path().join("root"), directory.path().join("state"));
        let host = Arc::new(Host::open("uploads", &root, &state, settings, &mut |_| ()).unwrap());
        let folders = Arc::new(Folders { host, right: Mutex::new(Right::Write) });
        let (identity, guest) = (Identity::ephemeral().unwrap(), Identity::ephemeral().unwrap());
        let loopback = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        let listener = Listener::bind(loopback, &identity, "node", Arc::new(Everybody), Limits::default());
        let listener = Arc::new(listener.unwrap());
        let address = listener.address().unwrap();
        let (called, openers) = (Arc::clone(&listener), Arc::clone(&folders));
        std::thread::spawn(move || {
            while let Ok(Some((link, control))) = called.accept() {
                let openers = Arc::clone(&openers);
                std::thread::spawn(move || serve(&link, control, &*openers));
            }
        });
        Self { directory, folders, identity, guest, listener, address }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    pub(crate) fn grant(&self, right: Right) {
        *self.folders.right.lock().unwrap() = right;
    }

    pub(crate) fn versions(&self) -> usize {
        let replica = self.folders.host.replica();
        let versions = Versions::of(&replica.db).oldest(100).unwrap();
        assert!(versions.iter().all(|version| version.by == "laptop"));
        versions.len()
    }

    pub(crate) fn marker_is_whole(&self) -> bool {
        self.folders.host.check(&self.folders.host.replica()).is_ok()
    }

    pub(crate) fn guest(&self, right: Right) -> Result<Guest, Refuse> {
        self.guest_of("uploads", right)
    }

    /// Opens what is at `below` in the folder as a run of the command line does.
    pub(crate) fn far(&self, below: &str, right: Right, rehearsal: bool) -> Arc<Far> {
        let key = self.identity.public().unwrap();
        let (link, control) = Caller::new(&self.guest).connect(&[self.address], &key, SOON).unwrap();
        let state = self.directory.path().join("guest");
        let (folder, prefix) = ("uploads", &path(below));
        let wanted =
            Wanted { folder, prefix, right, numeric: false, state: &state, rehearsal, wire: Wire::default() };
        Arc::new(Far::open(Arc::new(link), control, "node".to_owned(), &wanted).unwrap())
    }

    pub(crate) fn guest_of(&self, folder: &str, right: Right) -> Result<Guest, Refuse> {
        let key = self.identity.public().unwrap();
        let (link, mut control) = Caller::new(&self.guest).connect(&[self.address], &key, SOON).unwrap();
        control.send(&Message::Open(Open { folder: folder.to_owned(), right })).unwrap();
        loop {
            match control.recv().unwrap() {
                Message::Working(_) => {}
                Message::Opened(opened) => {
                    let numbers = BTreeMap::new();
                    return Ok(Guest { link, control, opened, numbers, next: 0, pretended: BTreeMap::new() });
                }
                Message::Refuse(refuse) => return Err(refuse),
                other => panic!("{other:?}"),
            }
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.listener.shutdown("the test is over");
    }
}

/// A guest that has the folder open.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) link: Link,
    control: Channel,
    pub(crate) opened: Opened,
    numbers: BTreeMap<RelPath, u64>,
    next: u64,
    pretended: BTreeMap<Digest, Vec<u8>>,
}

/// Contents by the number of their step.
struct Contents(Vec<Option<(Digest, Vec<u8>)>>);

impl Offer for Contents {
    fn content(&self, id: u32) -> Result<Offered, String> {
        let content = self.0.get(usize::try_from(id).unwrap()).and_then(Option::as_ref);
        let (digest, bytes) = content.ok_or("there is none")?;
        let held = tempfile::tempdir().unwrap();
        fs::write(held.path().join("content"), bytes).unwrap();
        let (file, stat) = Root::open(held.path()).unwrap().open_file(&path("content")).unwrap();
        Ok(Offered { file, digest: *digest, size: stat.size, stat })
    }
}

/// A batch that is under way.
pub(crate) struct Begun {
    channel: Channel,
    steps: Vec<Step>,
}

impl Guest {
    /// Attributes that this process may give.
    pub(crate) fn own(&self) -> Attributes {
        let owner = Owner { uid: self.opened.root.owner.uid, gid: self.opened.root.owner.gid };
        Attributes { mode: 0o644, owner, mtime: Timestamp::new(1_500_000_000, 0) }
    }

    /// The number under which a path was last heard of.
    pub(crate) fn seq(&self, at: &str) -> u64 {
        self.numbers.get(&path(at)).copied().unwrap_or(0)
    }

    pub(crate) fn make(&self, at: &str, content: Content, attributes: Attributes) -> Step {
        let act = Act::Make { content, attributes, which: ALL, from: None };
        Step { path: path(at), expect: self.seq(at), act }
    }

    pub(crate) fn pretend(&mut self, digest: [u8; 32], bytes: &[u8]) {
        self.pretended.insert(Digest(digest), bytes.to_vec());
    }

    pub(crate) fn number(&mut self, next: u64) {
        self.next = next;
    }

    pub(crate) fn list(&mut self, since: u64, below: &str, after: Option<&str>) -> (Vec<Listed>, u64) {
        let mut channel = self.link.channel().unwrap();
        channel.send(&Message::List(List { since, below: path(below), after: after.map(path) })).unwrap();
        let mut rows = Vec::new();
        loop {
            match channel.recv().unwrap() {
                Message::Page(page) => {
                    rows.extend(page.rows);
                    if let Some(complete) = page.complete {
                        self.numbers.extend(rows.iter().map(|row| (row.path.clone(), row.seq)));
                        return (rows, complete);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) fn fetch(&self, at: &str, seq: u64) -> Result<(), String> {
        let at = RelPath::new(at.as_bytes()).map_err(|error| error.to_string())?;
        let (directory, digest) = (tempfile::tempdir().unwrap(), Digest::of(b"the content"));
        let root = Arc::new(Root::open(directory.path()).unwrap());
        let private = Arc::new(Private::open_or_create(&root).unwrap());
        let stage = Stage::new(root, private);
        let mut channel = self.link.channel().unwrap();
        channel
            .send(&Message::Fetch(Fetch { items: vec![Item { path: at.clone(), seq }], plain: false }))
            .unwrap();
        let need = Need { id: 0, path: at, target: Target::Free, digest, size: 11, basis: None };
        let taken =
            take(&mut channel, Landing { stage: &stage, giver: self.link.peer(), whole: false }, &[need])
                .pop()
                .unwrap();
        channel.send(&Message::End).unwrap();
        taken.map(drop).map_err(|error| error.to_string())
    }

    pub(crate) fn change(&mut self, steps: Vec<Step>) -> Vec<StepResult> {
        self.deletes(steps, 0, false)
    }

    pub(crate) fn deletes(&mut self, steps: Vec<Step>, deletes: u64, approved: bool) -> Vec<StepResult> {
        let begun = self.send(self.next, steps, deletes, approved);
        self.next += 1;
        self.end(begun)
    }

    pub(crate) fn begin(&self, number: u64, steps: Vec<Step>) -> Begun {
        self.send(number, steps, 0, false)
    }

    fn send(&self, number: u64, steps: Vec<Step>, deletes: u64, approved: bool) -> Begun {
        let mut channel = self.link.channel().unwrap();
        let change =
            Change { number, steps: steps.clone(), names: Names::default(), deletes, approved, whole: false };
        channel.send(&Message::Change(change)).unwrap();
        Begun { channel, steps }
    }

    pub(crate) fn end(&mut self, begun: Begun) -> Vec<StepResult> {
        let steps = begun.steps.clone();
        match self.answer(begun) {
            Message::Outcome(outcome) => {
                for (step, result) in steps.iter().zip(&outcome.results) {
                    if let StepResult::Done { seq, .. } = result {
                        self.numbers.insert(step.path.clone(), *seq);
                    }
                }
                outcome.results
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn refused_change(&mut self, steps: Vec<Step>) -> Code {
        let begun = self.send(self.next, steps, 1, false);
        match self.answer(begun) {
            Message::Refuse(refuse) => refuse.code,
            other => panic!("{other:?}"),
        }
    }

    fn answer(&self, Begun { mut channel, steps }: Begun) -> Message {
        let contents = steps.iter().map(|step| match &step.act {
            Act::Make { content: Content::File { digest, .. }, .. } => {
                let bytes = self.pretended.get(digest).cloned();
                let bytes = bytes.or_else(|| CONTENTS.lock().unwrap().get(digest).cloned());
                bytes.map(|bytes| (*digest, bytes))
            }
            Act::Make { .. } | Act::Dress { .. } | Act::Remove { .. } => None,
        });
        give(&mut channel, &Contents(contents.collect()), false).unwrap().end
    }

    pub(crate) fn settle(&mut self) -> Settled {
        self.control.send(&Message::Settle).unwrap();
        loop {
            match self.control.recv().unwrap() {
                Message::Working(_) => {}
                Message::Settled(settled) => return settled,
                other => panic!("{other:?}"),
            }
        }
    }

    /// Says on the control stream what has no place there; the connection must end for it.
    pub(crate) fn breach_control(mut self) {
        self.control.send(&Message::Open(Open { folder: "uploads".to_owned(), right: Right::Read })).unwrap();
        self.control.wait().unwrap_err();
        assert_eq!(self.link.ended().unwrap().code(), Code::Protocol);
    }
}
