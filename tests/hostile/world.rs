//! A served folder and everything around it that must stay as it is.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use csync::disk::clock::monotonic;
use csync::model::entry::{Content, Digest};
use csync::model::metadata::Attributes;
use csync::model::path::RelPath;
use csync::model::version::ReplicaId;
use csync::transport::message::{
    Act, Block, Carried, Change, Code, Fetch, Hello, Item, List, Listed, Message, Names, Open, Right, Step,
    StepResult,
};

use crate::peer::{DEADLINE, End, Key, Line, Stream, call, framed};
use crate::serving::{Daemon, Node};

/// Most memory that the server may ever have had.
const MEMORY_KIB_MAX: u64 = 200 << 10;
/// A file that is large enough to be sent as a difference.
pub(crate) const LARGE: &str = "large";
pub(crate) const LARGE_BYTES: usize = 300_000;

/// A daemon that serves `data` to two peers and `shown` to be read, and what it must never touch.
pub(crate) struct World {
    node: Node,
    daemon: Daemon,
    honest: Key,
    pub(crate) evil: Key,
    outside: BTreeMap<PathBuf, String>,
}

pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

impl World {
    pub(crate) fn new() -> Self {
        let node = Node::new("server");
        let (honest, evil) = (Key::new(), Key::new());
        let data = PathBuf::from(node.root("data"));
        fill(&data);
        fill(Path::new(&node.root("shown")));
        fill(Path::new(&node.root("private")));
        fill(Path::new(&node.root("outside")));
        symlink("../outside", data.join("way-out")).expect("a symlink");
        let peer = |name: &str, key: &Key| {
            format!("[peer.{name}]\nkey = \"{}\"\naddr = [\"127.0.0.1:1\"]\n", key.public)
        };
        let folder = |name: &str, members: &str, more: &str| {
            format!(
                "[folder.{name}]\nmembers = [\"server\", {members}]\npath = \"{}\"\n{more}",
                node.root(name)
            )
        };
        node.configure(
            &[],
            &[
                peer("honest", &honest),
                peer("evil", &evil),
                folder("data", "\"honest\", \"evil\"", ""),
                folder("shown", "\"honest\", \"evil\"", "mode = \"send\"\n"),
                folder("private", "\"honest\"", ""),
            ]
            .concat(),
        );
        let daemon = node.start(&[]);
        let mut world = Self { node, daemon, honest, evil, outside: BTreeMap::new() };
        assert!(world.serves(), "it serves before anything happened");
        world.outside = world.surroundings();
        world
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.daemon.address
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.node.path("data")
    }

    /// Everything that is not the root of `data`, with what it is; of the state only which files there are.
    fn surroundings(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        for name in ["outside", "private", "shown", "csync.toml"] {
            describe(&self.node.path(name), &mut found);
        }
        found
    }

    /// Connects with the key of the hostile peer.
    pub(crate) fn call(&self) -> Line {
        call(self.address(), &self.evil).expect("the key is known")
    }

    /// Connects and says hello.
    pub(crate) fn greeted(&self) -> (Line, Stream) {
        greeted(self.call()).expect("a welcome")
    }

    /// Connects and opens `data`.
    pub(crate) fn visitor(&self) -> Visitor {
        self.visitor_of("data", Right::Write).expect("it is granted")
    }

    pub(crate) fn visitor_of(&self, folder: &str, right: Right) -> Result<Visitor, End> {
        let (line, mut control) = self.greeted();
        control.send(&Message::Open(Open { folder: folder.to_owned(), right }));
        match control.answer() {
            Some(Message::Opened(_)) => Ok(Visitor { line, control, batch: 0 }),
            Some(Message::Refuse(refuse)) => Err(End::Refused(refuse.code)),
            Some(other) => panic!("{other:?}"),
            None => Err(line.end()),
        }
    }

    /// Whether an honest guest gets what it asks for.
    pub(crate) fn serves(&self) -> bool {
        let Some((line, mut control)) = call(self.address(), &self.honest).ok().and_then(greeted) else {
            return false;
        };
        control.send(&Message::Open(Open { folder: "data".to_owned(), right: Right::Read }));
        let Some(Message::Opened(_)) = control.answer() else { return false };
        let mut guest = Visitor { line, control, batch: 0 };
        let rows = guest.list("", 0);
        let kept = rows.iter().find(|listed| listed.path.as_bytes() == b"kept").expect("it is listed");
        let item = Item { path: kept.path.clone(), seq: kept.seq };
        let mut stream = guest.line.stream();
        stream.send(&Message::Fetch(Fetch { items: vec![item], plain: false }));
        stream.send(&Message::Whole(vec![0]));
        let block = stream.hear();
        stream.send(&Message::End);
        let bytes = [&4u32.to_le_bytes()[..], b"kept", &[0; 5]].concat();
        block == Some(Message::Block(Block { length: 13, packed: false, bytes }))
    }

    /// Checks what must hold after every case.
    pub(crate) fn check(&self, case: &str) {
        let begun = monotonic();
        assert!(self.serves(), "{case}: the others are not served any more");
        // A connection that was cut is cleared away soon, not at once.
        while let Some(left) = self.half_made() {
            assert!(begun.elapsed() < DEADLINE, "{case}: {left} is left in the stage");
            assert!(self.serves(), "{case}: the others are not served any more");
        }
        assert_eq!(self.surroundings(), self.outside, "{case}: something outside was touched");
        let mut files = BTreeMap::new();
        describe(&self.root(), &mut files);
        files.remove(&self.root());
        for path in files.keys() {
            let name = path.strip_prefix(self.root()).expect("below the root").to_string_lossy();
            let known = ["kept", "other", "dir", LARGE, "way-out", "ok-", ".csync", "many"];
            assert!(known.iter().any(|known| name.starts_with(known)), "{case}: {name} stands in the root");
        }
        assert_eq!(fs::read(self.root().join("kept")).expect("it is there"), b"kept", "{case}");
        let peak = self.peak();
        assert!(peak < MEMORY_KIB_MAX, "{case}: the server had {peak} KiB");
    }

    fn half_made(&self) -> Option<String> {
        let stage = fs::read_dir(self.root().join(".csync/stage")).ok()?;
        stage.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned()).next()
    }

    /// The most memory that the server ever had, in KiB.
    pub(crate) fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.daemon.pid())).expect("it is alive");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

fn fill(root: &Path) {
    for (name, bytes) in
        [("kept", b"kept".to_vec()), ("other", b"other".to_vec()), (LARGE, noise(LARGE_BYTES, 1))]
    {
        fs::write(root.join(name), bytes).expect("a file");
    }
    fs::create_dir(root.join("dir")).expect("a directory");
    fs::write(root.join("dir/secret"), "secret").expect("a file");
}

pub(crate) fn describe(path: &Path, found: &mut BTreeMap<PathBuf, String>) {
    let about = fs::symlink_metadata(path).expect("it is there");
    let what = if about.is_dir() {
        let mut names: Vec<_> =
            fs::read_dir(path).expect("a listing").map(|entry| entry.expect("an entry").path()).collect();
        names.sort();
        names.iter().filter(|name| !name.ends_with(".csync")).for_each(|name| describe(name, found));
        "directory".to_owned()
    } else if about.is_file() {
        Digest::of(&fs::read(path).expect("a file")).to_string()
    } else {
        format!("{:?}", fs::read_link(path))
    };
    let mode = about.permissions().mode();
    found.insert(path.to_owned(), format!("{mode:o} {} {} {what}", about.uid(), about.mtime()));
}

/// Says hello on a new connection.
pub(crate) fn greeted(line: Line) -> Option<(Line, Stream)> {
    let mut control = line.stream();
    control.send(&Message::Hello(Hello { versions: vec![1], agent: "evil".to_owned() }));
    matches!(control.hear(), Some(Message::Welcome(_))).then_some((line, control))
}

/// A guest that has a folder open.
pub(crate) struct Visitor {
    pub(crate) line: Line,
    pub(crate) control: Stream,
    batch: u64,
}

impl Visitor {
    pub(crate) fn list(&mut self, below: &str, since: u64) -> Vec<Listed> {
        let mut stream = self.line.stream();
        stream.send(&Message::List(List { since, below: path(below), after: None }));
        let mut rows = Vec::new();
        loop {
            let Some(Message::Page(page)) = stream.hear() else { panic!("no page") };
            rows.extend(page.rows);
            if page.complete.is_some() {
                return rows;
            }
        }
    }

    pub(crate) fn seq(&mut self, at: &str) -> u64 {
        self.list("", 0).iter().find(|listed| listed.path == path(at)).map_or(0, |listed| listed.seq)
    }

    /// Asks for one request of any bytes, and returns how that ended.
    pub(crate) fn ask(&self, bytes: &[u8]) -> End {
        let mut stream = self.line.stream();
        stream.say(bytes);
        match stream.answer() {
            Some(Message::Refuse(refuse)) => End::Refused(refuse.code),
            Some(_) => End::Done,
            None => self.line.end(),
        }
    }

    pub(crate) fn batch(&mut self, steps: Vec<Step>) -> Message {
        let number = self.batch;
        self.batch += 1;
        Message::Change(Change {
            number,
            steps,
            names: Names::default(),
            deletes: 0,
            approved: false,
            whole: false,
        })
    }

    /// Asks for changes; `give` answers what the server asks for. Returns what became of each step.
    pub(crate) fn change(
        &mut self,
        steps: Vec<Step>,
        give: &dyn Fn(&Message) -> Vec<Vec<u8>>,
    ) -> Result<Vec<StepResult>, End> {
        let change = self.batch(steps);
        self.play(&change, give)
    }

    pub(crate) fn play(
        &self,
        change: &Message,
        give: &dyn Fn(&Message) -> Vec<Vec<u8>>,
    ) -> Result<Vec<StepResult>, End> {
        let (mut stream, mut results) = (self.line.stream(), Vec::new());
        stream.send(change);
        loop {
            match stream.answer() {
                Some(Message::Outcome(outcome)) => {
                    results.extend(outcome.results);
                    if !outcome.more {
                        return Ok(results);
                    }
                }
                Some(Message::Refuse(refuse)) => return Err(End::Refused(refuse.code)),
                Some(asked) => give(&asked).iter().for_each(|frame| stream.say(frame)),
                None => return Err(self.line.end()),
            }
        }
    }

    /// As [`change`](Self::change) of one step.
    pub(crate) fn step(&mut self, step: Step, give: &dyn Fn(&Message) -> Vec<Vec<u8>>) -> End {
        self.change(vec![step], give).map_or_else(|end| end, |results| end_of(&results[0]))
    }
}

pub(crate) fn end_of(result: &StepResult) -> End {
    match result {
        StepResult::Done { .. } => End::Done,
        StepResult::Changed { .. } => End::Changed,
        StepResult::Refused(refuse) => End::Refused(refuse.code),
    }
}

/// Returns what all cases of one id have in common.
pub(crate) fn same(ends: &[End]) -> End {
    assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
    ends[0]
}

pub(crate) fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).expect("it is a path")
}

pub(crate) fn file(bytes: &[u8]) -> Content {
    Content::File { digest: Digest::of(bytes), size: u64::try_from(bytes.len()).expect("64 bits") }
}

pub(crate) fn make(at: &str, content: Content) -> Step {
    let which = Carried { mode: true, user: false, group: false, mtime: true };
    let attributes = Attributes { mode: 0o644, ..Attributes::default() };
    Step { path: path(at), expect: 0, act: Act::Make { content, attributes, which, from: None } }
}

pub(crate) fn link(target: &str) -> Content {
    Content::Symlink(target.as_bytes().into())
}

/// Returns blocks that hold `bytes`, and their end.
pub(crate) fn blocks(bytes: &[u8]) -> Vec<Vec<u8>> {
    let block = |bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).expect("a block");
        framed(&Message::Block(Block { length, packed: false, bytes: bytes.to_vec() }))
    };
    bytes.chunks(1 << 20).map(block).chain([framed(&Message::BlocksEnd)]).collect()
}

/// Returns the answer to a request for the whole of `contents`.
pub(crate) fn whole(contents: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    for content in contents {
        for segment in content.chunks(1 << 20) {
            bytes.extend(u32::try_from(segment.len()).expect("a segment").to_le_bytes());
            bytes.extend(segment);
        }
        bytes.extend([0; 5]);
    }
    blocks(&bytes)
}

/// For steps that need no content.
pub(crate) fn nothing(_asked: &Message) -> Vec<Vec<u8>> {
    Vec::new()
}

pub(crate) const REPLICA: ReplicaId = ReplicaId([9; 16]);
pub(crate) const PROTOCOL: End = End::Closed(Code::Protocol);
