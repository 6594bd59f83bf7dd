//! What peers say, rightly.

use csync::model::entry::{Content, Digest};
use csync::model::metadata::{Attributes, Owner, Timestamp};
use csync::model::path::RelPath;
use csync::model::version::ReplicaId;
use csync::transport::codec::message::encode;
use csync::transport::frame::Header;
use csync::transport::member::{Ack, Follow, Join, Recover};
use csync::transport::message::{
    Absent, Act, Block, Carried, Change, Code, Expand, Fetch, FolderInfo, Hello, Item, List, Listed, Message,
    Names, Open, Opened, Outcome, Page, Part, Parts, Refuse, Right, Settled, Step, StepResult, Welcome,
    Working,
};

use super::text::sample_rows;

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).expect("it is a path")
}

fn attributes() -> Attributes {
    Attributes {
        mode: 0o2750,
        owner: Owner { uid: 0, gid: 33 },
        mtime: Timestamp { secs: 1_790_000_000, nanos: 5 },
    }
}

fn names() -> Names {
    Names {
        users: vec![(0, (*b"root").into()), (1000, (*b"alice").into())],
        groups: vec![(33, (*b"www-data").into())],
    }
}

fn listed() -> Vec<Listed> {
    let rows = sample_rows().into_iter().zip('a'..);
    rows.map(|(row, name)| Listed { path: path(&format!("dir/{name}")), seq: 40, row }).collect()
}

fn page_messages() -> Vec<Message> {
    let first = Page { rows: listed(), names: names(), complete: None };
    let last = Page { rows: listed().split_off(7), names: Names::default(), complete: Some(41) };
    let empty = Page { rows: Vec::new(), names: Names::default(), complete: Some(0) };
    [first, last, empty].map(Message::Page).into()
}

fn hello_messages() -> Vec<Message> {
    let hello = |versions: &[u16], agent: &str| {
        Message::Hello(Hello { versions: versions.to_vec(), agent: agent.to_owned() })
    };
    vec![hello(&[1], "csync 0.1.0"), hello(&[], ""), hello(&[3, 2, 1, 65_535], "\u{e4}\u{202e}")]
}

fn steps() -> Vec<Step> {
    let all = Carried { mode: true, user: true, group: true, mtime: true };
    let file = Content::File { digest: Digest::of(b"bytes"), size: 5 };
    let link = Content::Symlink((*b"../x").into());
    let make = |content, from| Act::Make { content, attributes: attributes(), which: all, from };
    let acts = [
        make(Content::Dir, None),
        make(file, Some(path("old"))),
        make(link, None),
        Act::Dress { attributes: attributes(), which: Carried::default() },
        Act::Remove { moved_to: None },
        Act::Remove { moved_to: Some(path("b")) },
    ];
    acts.into_iter()
        .zip('a'..)
        .map(|(act, name)| Step { path: path(&name.to_string()), expect: 7, act })
        .collect()
}

fn change_messages() -> Vec<Message> {
    let refuse = Refuse { code: Code::Unacceptable, text: "no devices here".to_owned() };
    let row = sample_rows().swap_remove(6);
    let results = vec![
        StepResult::Done { seq: 9, row: row.clone() },
        StepResult::Changed { now: Some((8, row)) },
        StepResult::Changed { now: None },
        StepResult::Refused(refuse.clone()),
    ];
    vec![
        Message::Change(Change {
            number: 3,
            steps: steps(),
            names: names(),
            deletes: 1,
            approved: true,
            whole: false,
        }),
        Message::Outcome(Outcome { results, more: false }),
        Message::Refuse(refuse),
    ]
}

fn content_messages() -> Vec<Message> {
    let part = Part { offset: 4096, length: 70_000, signature: vec![0, 2, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8] };
    vec![
        Message::Fetch(Fetch { items: vec![Item { path: path("dir/b"), seq: 40 }], plain: false }),
        Message::Whole(vec![0, 1, 1023]),
        Message::Outline(0),
        Message::Groups(vec![5; 28]),
        Message::Expand(Expand { id: 0, groups: vec![0, 2] }),
        Message::Chunks(vec![6; 24]),
        Message::Parts(Parts { id: 0, parts: vec![part] }),
        Message::Block(Block { length: 5, packed: false, bytes: b"bytes".to_vec() }),
        Message::BlocksEnd,
        Message::Absent(Absent { id: 4, why: "it changed".to_owned() }),
        Message::End,
    ]
}

fn control_messages() -> Vec<Message> {
    let info = FolderInfo {
        name: "uploads".to_owned(),
        mode: "two-way".to_owned(),
        comment: String::new(),
        right: Right::Append,
    };
    let opened = Opened {
        replica: ReplicaId([7; 16]),
        seq: 41,
        entries: 9,
        bytes: 1 << 40,
        root: attributes(),
        trusted: false,
        owners: true,
        guard: None,
        unread: None,
    };
    vec![
        Message::Welcome(Welcome { version: 1, agent: "csync 0.1.0".to_owned(), node: "web1".to_owned() }),
        Message::Folders,
        Message::FolderList(vec![info]),
        Message::Open(Open { folder: "uploads".to_owned(), right: Right::Write }),
        Message::Working(Working { done: 12 }),
        Message::Opened(opened),
        Message::Join(Join { folder: "uploads".to_owned(), replica: ReplicaId([9; 16]), heard: None }),
        Message::Ack(Ack { seq: 41 }),
        Message::Follow(Follow { since: 7 }),
        Message::Recover(Recover { losers: vec![(path("dir/a"), Digest([5; 32]))] }),
        Message::Settle,
        Message::Settled(Settled { seq: 50, alone: true }),
        Message::List(List { since: 7, below: path("dir"), after: Some(path("dir/a")) }),
    ]
}

fn all_messages() -> Vec<Message> {
    [hello_messages(), control_messages(), page_messages(), change_messages(), content_messages()].concat()
}

fn body(message: &Message) -> Vec<u8> {
    encode(message).1
}

fn framed(message: &Message) -> Vec<u8> {
    let (kind, body) = encode(message);
    [&Header::build(kind, body.len()).expect("a small message")[..], &body].concat()
}

pub(crate) fn frames() -> Vec<Vec<u8>> {
    let each = all_messages().iter().map(framed).collect::<Vec<_>>();
    let groups =
        [hello_messages(), control_messages(), page_messages(), change_messages(), content_messages()];
    let streams = groups.map(|group| group.iter().flat_map(framed).collect());
    each.into_iter().chain(streams).collect()
}

/// The number of the type and the body: what follows the length of a frame.
pub(crate) fn messages() -> Vec<Vec<u8>> {
    all_messages().iter().map(|message| framed(message).split_off(4)).collect()
}

pub(crate) fn hellos() -> Vec<Vec<u8>> {
    hello_messages().iter().map(body).collect()
}

pub(crate) fn pages() -> Vec<Vec<u8>> {
    page_messages().iter().map(body).collect()
}
