//! The other direction: a server with its checks off, and an honest `csync` that pulls from it and pushes to it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use csync::model::entry::{Content, Digest, Kind};
use csync::model::metadata::{Attributes, Owner, Timestamp};
use csync::model::row::{Live, Row, State};
use csync::model::version::{Dot, VersionVector};
use csync::transport::message::{
    Absent, Block, Code, FolderInfo, Listed, Message, Names, Opened, Outcome, Page, Refuse, Right, Settled,
    StepResult, Welcome,
};

use crate::peer::{Key, Line, Stream, answer, bytes_item, forged, framed, number_item, raw, swapped};
use crate::serving::{Node, Told};
use crate::world::{REPLICA, blocks, describe, file, link, path, whole};

/// Stands where something that has no place in a message is put.
const PLACE: &str = "placeholder";

/// A text that clears the screen and begins a line that csync itself could say.
const FORGED: &str = "\x1b[2J\r\nerror: all is lost";

/// What a server says: the frames of an answer to each request.
#[derive(Clone)]
pub(crate) struct Script {
    welcome: Vec<u8>,
    opened: Vec<u8>,
    pages: Vec<Vec<u8>>,
    /// Said again and again instead of an end of the pages.
    endless: Option<fn(u64) -> Vec<u8>>,
    /// To whoever asks which folders there are.
    folders: Vec<u8>,
    /// To a taker.
    give: fn(&Message) -> Vec<Vec<u8>>,
    /// To a change: what is asked of the giver, and what is said in the end.
    ask: Vec<Message>,
    outcome: fn(usize) -> Vec<u8>,
}

/// How a run must end.
pub(crate) struct Case(
    pub(crate) &'static str,
    pub(crate) &'static str,
    Verb,
    &'static [i32],
    fn() -> Script,
);

#[derive(Clone, Copy, PartialEq)]
enum Verb {
    Pull,
    Push,
    Sync,
    Folders,
}

impl Verb {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Folders => &["evil::", "--timeout=5"],
            Self::Pull => &["pull", "--timeout=5", "evil::data/", "here/"],
            Self::Push => &["push", "--timeout=5", "here/", "evil::data/"],
            Self::Sync => &["sync", "--timeout=5", "here", "evil::data"],
        }
    }
}

const BAD: &[i32] = &[12];
const PARTIAL: &[i32] = &[12, 23];

pub(crate) const CASES: &[Case] = &[
    Case("M0", "an honest server", Verb::Pull, &[0], || {
        script(vec![row("got", file(b"got"))], |_| whole(&[b"got"]))
    }),
    Case("M24", "a row for `../outside/x`", Verb::Pull, BAD, || placed(b"../outside/x")),
    Case("M24s", "the same for sync", Verb::Sync, BAD, || placed(b"../outside/x")),
    Case("M25", "a row for an absolute path", Verb::Pull, BAD, || placed(b"/etc/csync-was-here")),
    Case("M26", "a row with an empty name", Verb::Pull, BAD, || placed(b"a//b")),
    Case("M26b", "a row with NUL", Verb::Pull, BAD, || placed(b"a\0b")),
    Case("M27", "a name of 256 B", Verb::Pull, BAD, || placed(&[b'n'; 256])),
    Case("M28", "a row in our own directory", Verb::Pull, BAD, || placed(b".csync/stage/x")),
    Case("M29", "a symlink, then a child beneath it", Verb::Pull, &[0, 12, 23], beneath_a_link),
    Case("M29s", "the same for sync", Verb::Sync, &[0, 12, 23, 40], beneath_a_link),
    Case("M29b", "a child beneath a symlink that stands here", Verb::Pull, &[0, 12, 23], || {
        script(vec![row("way-out", Content::Dir), row("way-out/child", file(b"x"))], |_| whole(&[b"x"]))
    }),
    Case("M29t", "the same for sync", Verb::Sync, &[0, 12, 23, 40], || {
        script(vec![row("way-out", Content::Dir), row("way-out/child", file(b"x"))], |_| whole(&[b"x"]))
    }),
    Case("M30", "one path twice in a page", Verb::Pull, BAD, || {
        script(vec![row("a", Content::Dir), row("a", file(b"x"))], nothing)
    }),
    Case("M30b", "rows out of order", Verb::Pull, BAD, || {
        script(vec![row("b", Content::Dir), row("a", Content::Dir)], nothing)
    }),
    Case("M30c", "pages out of order", Verb::Pull, BAD, || {
        let mut script = script(Vec::new(), nothing);
        script.pages =
            vec![page(vec![row("b", Content::Dir)], None), page(vec![row("a", Content::Dir)], Some(9))];
        script
    }),
    Case("M31", "a child without a parent", Verb::Pull, &[0, 12, 23], || {
        script(vec![row("no/such/dir", file(b"x"))], |_| whole(&[b"x"]))
    }),
    Case("M35", "a counter of 2^64-1", Verb::Sync, BAD, || numbered(u64::MAX)),
    Case("M35b", "a counter of 0", Verb::Sync, BAD, || numbered(0)),
    Case("M36", "a vector of 100,000 slots", Verb::Sync, BAD, || {
        let frame = page(vec![row(PLACE, Content::Dir)], Some(9));
        let mut long = vec![0x9a, 0, 3, 0x0d, 0x40];
        long.extend([0, 1].repeat(100_000));
        let mut script = script(Vec::new(), nothing);
        // The row has no vector of its own, but null.
        script.pages = vec![swapped(&frame, &[0x82, 0xf6], &[&[0x82][..], &long].concat())];
        script
    }),
    Case("M37", "pages of no rows without end", Verb::Pull, BAD, || endless(|_| page(Vec::new(), None))),
    Case("M37b", "the same rows without end", Verb::Pull, BAD, || {
        endless(|_| page(vec![row("a", Content::Dir)], None))
    }),
    Case("M37c", "new rows without end", Verb::Pull, BAD, || endless(thousand)),
    Case("M37d", "the same for sync", Verb::Sync, BAD, || endless(thousand)),
    Case("M40", "a size of 2^62", Verb::Pull, &[11, 12, 23], || {
        script(vec![row("x", Content::File { digest: Digest([1; 32]), size: 1 << 62 })], |_| {
            whole(&[b"short"])
        })
    }),
    Case("M40b", "a size of 2^63", Verb::Pull, BAD, || {
        let sized = row("x", Content::File { digest: Digest([1; 32]), size: 0x1234_5678_9abc });
        let mut script = script(Vec::new(), nothing);
        script.pages =
            vec![swapped(&page(vec![sized], Some(9)), &number_item(0x1234_5678_9abc), &number_item(1 << 63))];
        script
    }),
    Case("M41", "a set-id file", Verb::Pull, &[0], || set_id(0o6755)),
    Case("M41b", "a device", Verb::Pull, &[0], || {
        script(vec![row("null", Content::Device { kind: Kind::CharDevice, rdev: 0x0103 })], nothing)
    }),
    Case("M41s", "a set-id file for sync", Verb::Sync, &[0], || set_id(0o6755)),
    Case("M41t", "a device for sync", Verb::Sync, &[0], || {
        script(vec![row("null", Content::Device { kind: Kind::CharDevice, rdev: 0x0103 })], nothing)
    }),
    Case("M49", "wrong bytes for a digest", Verb::Pull, PARTIAL, || {
        script(vec![row("x", file(b"right"))], |_| whole(&[b"wrong"]))
    }),
    Case("M49s", "the same for sync", Verb::Sync, PARTIAL, || {
        script(vec![row("x", file(b"right"))], |_| whole(&[b"wrong"]))
    }),
    Case("M50", "too few bytes", Verb::Pull, PARTIAL, || {
        script(vec![row("x", file(b"right"))], |_| whole(&[b"rig"]))
    }),
    Case("M50b", "too many bytes", Verb::Pull, PARTIAL, || {
        script(vec![row("x", file(b"right"))], |_| whole(&[b"right and more"]))
    }),
    Case("M50c", "blocks that end in the middle", Verb::Pull, PARTIAL, || {
        script(vec![row("x", file(b"right"))], |_| blocks(&[5, 0, 0, 0, b'r']))
    }),
    Case("M51", "800 MiB out of 25 KiB", Verb::Pull, PARTIAL, || {
        let content = Content::File { digest: Digest([1; 32]), size: 1 << 20 };
        script(vec![row("x", content)], |_| {
            vec![framed(&Message::Block(Block {
                length: 1 << 20,
                packed: true,
                bytes: crate::contents::bomb_frame(),
            }))]
        })
    }),
    Case("M54", "a block of no bytes", Verb::Pull, PARTIAL, || {
        script(vec![row("x", file(b"right"))], |_| {
            vec![framed(&Message::Block(Block { length: 0, packed: false, bytes: Vec::new() }))]
        })
    }),
    Case("M56", "contents that are not to be had", Verb::Pull, &[23, 24], || {
        script(vec![row("x", file(b"right"))], |_| {
            vec![
                framed(&Message::Block(Block { length: 5, packed: false, bytes: vec![0, 0, 0, 0, 1] })),
                framed(&Message::BlocksEnd),
            ]
        })
    }),
    Case("M56b", "an absence where blocks are due", Verb::Pull, PARTIAL, || {
        script(vec![row("x", file(b"right"))], |_| {
            vec![framed(&Message::Absent(Absent { id: 0, why: "\x1b[2Jno".to_owned() }))]
        })
    }),
    Case("M13", "a frame of length 0", Verb::Pull, BAD, || with_pages(vec![vec![0; 5]])),
    Case("M14", "a frame of 2^32-1 bytes", Verb::Pull, BAD, || {
        with_pages(vec![vec![255, 255, 255, 255, 17]])
    }),
    Case("M17", "an unknown type", Verb::Pull, BAD, || with_pages(vec![raw(99, b"\x80")])),
    Case("M18", "a list instead of a welcome", Verb::Pull, BAD, || Script {
        welcome: framed(&Message::Folders),
        ..script(Vec::new(), nothing)
    }),
    Case("M4", "a version that was not offered", Verb::Pull, &[2], || {
        let welcome = Welcome { version: 9, agent: String::new(), node: String::new() };
        Script { welcome: framed(&Message::Welcome(welcome)), ..script(Vec::new(), nothing) }
    }),
    Case("M38", "a no, with letters that steer a terminal", Verb::Pull, &[5], || {
        let refuse = Refuse { code: Code::Denied, text: FORGED.to_owned() };
        Script { opened: framed(&Message::Refuse(refuse)), ..script(Vec::new(), nothing) }
    }),
    Case("M38s", "the same for sync", Verb::Sync, &[25], || {
        let refuse = Refuse { code: Code::Held, text: FORGED.to_owned() };
        Script { opened: framed(&Message::Refuse(refuse)), ..script(Vec::new(), nothing) }
    }),
    Case("M38l", "a no instead of folders", Verb::Folders, &[10], || {
        let refuse = Refuse { code: Code::Busy, text: FORGED.repeat(100) };
        Script { folders: framed(&Message::Refuse(refuse)), ..script(Vec::new(), nothing) }
    }),
    Case("M38f", "folders that forge lines", Verb::Folders, &[0], || {
        let (name, mode, comment) = (FORGED.to_owned(), FORGED.to_owned(), FORGED.repeat(100));
        let folder = FolderInfo { name, mode, comment, right: Right::Read };
        Script { folders: framed(&Message::FolderList(vec![folder])), ..script(Vec::new(), nothing) }
    }),
    Case("M38p", "a no to a page", Verb::Pull, &[3], || {
        let refuse = Refuse { code: Code::Missing, text: FORGED.to_owned() };
        with_pages(vec![framed(&Message::Refuse(refuse))])
    }),
    Case("M59", "a server that says nothing", Verb::Pull, &[30], || Script {
        opened: Vec::new(),
        ..script(Vec::new(), nothing)
    }),
    Case("M59b", "pages that break off", Verb::Pull, &[30], || {
        with_pages(vec![page(vec![row("a", Content::Dir)], None)])
    }),
    Case("M46", "asks for a content that was not offered", Verb::Push, &[0, 12, 23], || Script {
        ask: vec![Message::Whole(vec![999, u32::MAX])],
        ..script(Vec::new(), nothing)
    }),
    Case("M48", "asks for ranges past the end", Verb::Push, BAD, || Script {
        ask: vec![Message::Parts(csync::transport::message::Parts {
            id: 0,
            parts: vec![csync::transport::message::Part {
                offset: u64::MAX,
                length: 2,
                signature: Vec::new(),
            }],
        })],
        ..script(Vec::new(), nothing)
    }),
    Case("M22", "another message in the middle of a change", Verb::Push, BAD, || Script {
        ask: vec![Message::Settle],
        ..script(Vec::new(), nothing)
    }),
    Case("M58", "an outcome with too few results", Verb::Push, BAD, || Script {
        outcome: |_| framed(&Message::Outcome(Outcome { results: Vec::new(), more: false })),
        ..script(Vec::new(), nothing)
    }),
    Case("M58b", "an outcome with too many results", Verb::Push, BAD, || Script {
        outcome: |steps| {
            framed(&Message::Outcome(Outcome {
                results: vec![StepResult::Changed { now: None }; steps + 1],
                more: false,
            }))
        },
        ..script(Vec::new(), nothing)
    }),
    Case("M58c", "everything is refused", Verb::Push, &[11], full),
    Case("M58d", "the same for sync", Verb::Sync, &[11], full),
    Case("M58e", "results without end", Verb::Push, BAD, || Script {
        outcome: |_| framed(&Message::Outcome(Outcome { results: Vec::new(), more: true })),
        ..script(Vec::new(), nothing)
    }),
    Case("M59c", "no outcome, from one who is awake", Verb::Push, &[30], || Script {
        outcome: |_| Vec::new(),
        ..script(Vec::new(), nothing)
    }),
    Case("M60", "an empty folder, and everything is to go", Verb::Sync, &[0, 23, 25], || {
        script(Vec::new(), nothing)
    }),
];

fn nothing(_asked: &Message) -> Vec<Vec<u8>> {
    Vec::new()
}

fn attributes() -> Attributes {
    Attributes { mode: 0o644, owner: Owner::default(), mtime: Timestamp { secs: 1_700_000_000, nanos: 0 } }
}

fn row(at: &str, content: Content) -> Listed {
    let dot = Dot { replica: REPLICA, counter: 7 };
    let live = Live::new(content, attributes(), dot, attributes().mtime);
    let row = Row { vector: VersionVector::of(dot), state: State::Live(live), losers: Vec::new() };
    Listed { path: path(at), seq: 7, row }
}

fn page(rows: Vec<Listed>, complete: Option<u64>) -> Vec<u8> {
    framed(&Message::Page(Page { rows, names: Names::default(), complete }))
}

fn script(rows: Vec<Listed>, give: fn(&Message) -> Vec<Vec<u8>>) -> Script {
    let welcome = Welcome { version: 1, agent: "evil".to_owned(), node: "evil".to_owned() };
    let opened = Opened {
        replica: REPLICA,
        seq: 9,
        entries: 1,
        bytes: 1,
        root: attributes(),
        trusted: false,
        owners: true,
        guard: None,
        unread: None,
    };
    Script {
        welcome: framed(&Message::Welcome(welcome)),
        opened: framed(&Message::Opened(opened)),
        pages: vec![page(rows, Some(9))],
        endless: None,
        folders: framed(&Message::FolderList(Vec::new())),
        give,
        ask: Vec::new(),
        outcome: |steps| {
            framed(&Message::Outcome(Outcome {
                results: vec![StepResult::Changed { now: None }; steps],
                more: false,
            }))
        },
    }
}

fn full() -> Script {
    Script {
        outcome: |steps| {
            let refuse = Refuse { code: Code::Disk, text: FORGED.to_owned() };
            framed(&Message::Outcome(Outcome {
                results: vec![StepResult::Refused(refuse); steps],
                more: false,
            }))
        },
        ..script(Vec::new(), nothing)
    }
}

fn with_pages(pages: Vec<Vec<u8>>) -> Script {
    Script { pages, ..script(Vec::new(), nothing) }
}

fn endless(again: fn(u64) -> Vec<u8>) -> Script {
    Script { pages: Vec::new(), endless: Some(again), ..script(Vec::new(), nothing) }
}

/// A full page of rows that were not told before.
fn thousand(number: u64) -> Vec<u8> {
    page((0..1000).map(|at| row(&format!("{number:09}-{at:03}"), Content::Dir)).collect(), None)
}

fn set_id(mode: u32) -> Script {
    let mut listed = row("set-id", file(b"x"));
    if let State::Live(live) = &mut listed.row.state {
        live.mode.value = mode;
    }
    script(vec![listed], |_| whole(&[b"x"]))
}

fn placed(hostile: &[u8]) -> Script {
    let message = Page { rows: vec![row(PLACE, file(b"x"))], names: Names::default(), complete: Some(9) };
    let frame = forged(&Message::Page(message), &bytes_item(PLACE.as_bytes()), &bytes_item(hostile));
    Script { pages: vec![frame], ..script(Vec::new(), |_| whole(&[b"x"])) }
}

fn numbered(counter: u64) -> Script {
    let mut listed = row("x", Content::Dir);
    let dot = Dot { replica: REPLICA, counter: 0x1234_5678 };
    listed.row.vector = VersionVector::of(dot);
    listed.row.state = State::Live(Live::new(Content::Dir, attributes(), dot, attributes().mtime));
    with_pages(vec![swapped(&page(vec![listed], Some(9)), &number_item(0x1234_5678), &number_item(counter))])
}

fn beneath_a_link() -> Script {
    script(vec![row("link", link("../outside")), row("link/child", file(b"x"))], |_| whole(&[b"x"]))
}

/// Plays the server of one connection.
fn serve(script: &Script, line: &Line) {
    let Some(mut control) = line.accept() else { return };
    if control.hear().is_none() {
        return;
    }
    control.say(&script.welcome);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while let Some(message) = control.hear() {
                match message {
                    Message::Open(_) => control.say(&script.opened),
                    Message::Folders => control.say(&script.folders),
                    Message::Settle => control.send(&Message::Settled(Settled { seq: 9, alone: true })),
                    _ => {}
                }
            }
        });
        while let Some(stream) = line.accept() {
            scope.spawn(move || request(script, line, stream));
        }
    });
}

fn request(script: &Script, line: &Line, mut stream: Stream) {
    match stream.hear() {
        Some(Message::List(_)) => {
            script.pages.iter().for_each(|page| stream.say(page));
            for at in 0.. {
                let Some(again) = script.endless else { break };
                if line.connection.close_reason().is_some() {
                    return;
                }
                stream.say(&again(at));
            }
        }
        Some(Message::Fetch(_)) => {
            while let Some(asked) = stream.hear() {
                if asked == Message::End {
                    break;
                }
                (script.give)(&asked).iter().for_each(|frame| stream.say(frame));
            }
        }
        Some(Message::Change(change)) => {
            for message in &script.ask {
                stream.send(message);
                while !matches!(stream.hear(), None | Some(Message::BlocksEnd | Message::Absent(_))) {}
            }
            stream.say(&(script.outcome)(change.steps.len()));
        }
        _ => {}
    }
    // Held open: what follows is the other side's business.
    line.end_quietly();
}

/// What is wrong with what csync printed.
fn misled(id: &str, told: &Told) -> Vec<String> {
    let mut faults = Vec::new();
    let printed = [told.stdout.as_str(), &told.stderr].concat();
    if printed.contains('\x1b') || printed.contains("panicked") {
        faults.push("what the server said reached the terminal".to_owned());
    }
    if printed.lines().any(|line| line.starts_with("error: all") || line.chars().count() > 2500) {
        faults.push("what the server said passes for a line of ours, or is as long as it likes".to_owned());
    }
    if id.starts_with("M58c") || id.starts_with("M58d") {
        faults.extend((!printed.contains("evil refuses")).then(|| "who refuses is not told".to_owned()));
    }
    faults
}

/// Plays all cases and tells how each ended; returns those that ended otherwise than they must.
pub(crate) fn play(cases: &[Case]) -> Vec<String> {
    let mut wrong = Vec::new();
    for Case(id, what, verb, exits, script) in cases {
        let key = Key::new();
        let script = Arc::new(script());
        let address = answer(&key, move |line| serve(&script, &line));
        let node = Node::new("client");
        let here = std::path::PathBuf::from(node.root("here"));
        fs::write(here.join("mine"), "mine").expect("a file");
        fs::create_dir(node.path("outside")).expect("a directory");
        fs::write(node.path("outside/secret"), "secret").expect("a file");
        symlink("../outside", here.join("way-out")).expect("a symlink");
        let mut before = BTreeMap::new();
        describe(&node.path("outside"), &mut before);
        let config =
            format!("node = \"client\"\n[peer.evil]\nkey = \"{}\"\naddr = [\"{address}\"]\n", key.public);
        fs::write(node.path("csync.toml"), config).expect("the config");
        let told: Told = node.csync(verb.arguments());
        let mut after = BTreeMap::new();
        describe(&node.path("outside"), &mut after);
        let mut faults = Vec::new();
        if !told.code.is_some_and(|code| exits.contains(&code)) {
            faults.push(format!("exit {:?} instead of {exits:?}", told.code));
        }
        if before != after {
            faults.push("something outside was touched".to_owned());
        }
        if fs::read(here.join("mine")).ok().as_deref() != Some(b"mine") {
            faults.push("a file of ours is gone".to_owned());
        }
        faults.extend(misled(id, &told));
        let stage = fs::read_dir(here.join(".csync/stage")).into_iter().flatten().count();
        if stage > 0 {
            faults.push(format!("{stage} files are left in the stage"));
        }
        if *id == "M49" || *id == "M50" || *id == "M56" {
            faults.extend(here.join("x").exists().then(|| "it stands there half made".to_owned()));
        }
        if *id == "M0" {
            faults.extend(
                (fs::read(here.join("got")).ok().as_deref() != Some(b"got"))
                    .then(|| "it did not get it".to_owned()),
            );
        }
        if id.starts_with("M37") {
            let kept = fs::read_dir(node.path("state/far")).into_iter().flatten().count();
            faults.extend((kept > 0).then(|| format!("{kept} files of what it told are kept")));
        }
        if id.starts_with("M41") {
            use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
            let mode = fs::metadata(here.join("set-id")).map_or(0, |about| about.permissions().mode());
            faults.extend((mode & 0o6000 != 0).then(|| format!("its mode is {mode:o}")));
            let told = told.stderr.contains("set-id") || told.stderr.contains("null");
            faults.extend((!told).then(|| "what was left out is not told".to_owned()));
            let device =
                fs::symlink_metadata(here.join("null")).is_ok_and(|about| about.file_type().is_char_device());
            faults.extend(device.then(|| "the device was made".to_owned()));
        }
        if faults.is_empty() {
            println!("{id:5} {what}: exit {}", told.code.unwrap_or(-1));
        } else {
            wrong.push(format!("{id} {what}: {faults:?}; {}", told.stderr.trim()));
        }
    }
    println!("counted {} hostile cases against the client", cases.len());
    wrong
}
