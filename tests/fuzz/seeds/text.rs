//! What people, disks and settings files say, rightly.

use std::collections::BTreeMap;

use csync::engine::marker::Marker;
use csync::model::entry::{Content, Digest, Kind};
use csync::model::key::PublicKey;
use csync::model::metadata::{Attributes, Owner, Stat, Timestamp};
use csync::model::path::RelPath;
use csync::model::row::{Live, Loser, Origin, Record, Row, Seen, State, Tombstone};
use csync::model::version::{Dot, ReplicaId, VersionVector};
use csync::store::pack::pack_record;
use csync::store::slots::Slots;

const NOW: Timestamp = Timestamp { secs: 1_790_000_000, nanos: 123_456_789 };

pub(crate) fn paths() -> Vec<Vec<u8>> {
    let deep = [&b"d/"[..]; 255].concat();
    let texts: [&[u8]; 8] = [
        b"",
        b"a",
        b"a/b/c\na/b",
        b"a.b\na/b",
        b"caf\xe9/\xff\xfe\n\x01",
        b".csync/stage\n.csync",
        b" \ta\n\\#012",
        "\u{202e}x/\u{e4}\n\u{301}".as_bytes(),
    ];
    let mut paths: Vec<Vec<u8>> = texts.iter().map(|text| text.to_vec()).collect();
    paths.extend([
        vec![b'n'; 255],
        [&deep[..], b"d"].concat(),
        [&[b'x'; 200][..], b"\n", &[b'x'; 201]].concat(),
    ]);
    paths
}

pub(crate) fn keys() -> Vec<Vec<u8>> {
    let keys = [PublicKey([0; 32]), PublicKey([255; 32]), PublicKey(Digest::of(b"a node").0)];
    keys.iter().map(|key| key.to_string().into_bytes()).collect()
}

pub(crate) fn markers() -> Vec<Vec<u8>> {
    let generations =
        |count: u8| (0..count).map(|id| ([id; 16], u64::from(id) << 20)).collect::<BTreeMap<_, _>>();
    let marker = |count| Marker { id: [count; 16], generations: generations(count) };
    [0, 1, 2, 40].map(|count| marker(count).to_text().into_bytes()).into()
}

pub(crate) fn configs() -> Vec<Vec<u8>> {
    let [one, two] = [1, 2].map(|seed| PublicKey([seed; 32]));
    let peers = format!(
        "[peer.one]\nkey = \"{one}\"\naddr = [\"10.8.0.1:8730\", \"one.example\"]\n\
         [peer.two]\nkey = \"{two}\"\naddr = [\"[2001:db8::2]:8731\"]\n"
    );
    let folder = "[folder.uploads]\nmembers = [\"one\", \"two\"]\n\
         path = { \"*\" = \"/srv/uploads\", two = \"/srv/shop\" }\n\
         mode = { \"*\" = \"two-way\", two = \"receive\" }\nconflict = \"keep-both\"\nowner = \"by-name\"\n\
         delete = { propagate = true, hold-above = \"25%\" }\n\
         versions = { keep = \"last=5 daily=14\", max = \"10GiB\" }\n\
         filter = [\"- /cache/\", \"- *.part\", \": .csync-filter\"]\n\
         on-change = [{ match = \"*.php\", run = [\"systemctl\", \"reload\", \"x\"], settle = \"5s\" }]\n";
    let served = "[folder.pub]\npath = \"/srv/pub\"\nmode = \"send\"\ncomment = \"a mirror\"\n\
         allow = { \"*\" = \"read\" }\nhosts = [\"10.0.0.0/8\", \"fe80::/10\"]\n\
         limits = { connections = 20, rate = \"20MiB\", timeout = \"5m\" }\n";
    let job = "[job.nightly]\npush = \"/home/alice/\"\nto = \"one::uploads\"\noptions = [\"-aHAX\", \"--delete\"]\n\
         filter = [\"- .cache/\"]\nbwlimit = [{ rate = \"2MiB\", from = \"08:00\", to = \"22:00\" }]\n";
    let top = "node = \"one\"\nlisten = [\"0.0.0.0:8730\"]\ncontrol-group = \"admin\"\n";
    let texts = [
        String::new(),
        top.to_owned() + &peers,
        peers.clone(),
        format!("{top}{peers}{folder}"),
        format!("{top}{peers}{served}"),
        format!("{top}{peers}{folder}{served}{job}"),
    ];
    texts.map(String::into_bytes).into()
}

pub(crate) fn filters() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 9] = [
        b"",
        b"- *.o\n\na.o\nb/c.o\nd",
        b"+ /keep/\n- /*\n\nkeep\nkeep/a\nother",
        b"-s *~\n-r /var\n\na~\nvar/b",
        b": .csync-filter\n- **/tmp/***\n\na/tmp/b\ntmp",
        b"-! [a-f]?\\*\n-p *.pyc\n\nax*\nz.pyc",
        b"- *a*a*a*a*a*a*b\n\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        b"- [[:alpha:]][!0-9]**x\n\nab/cd/x\n1",
        b". rules\nP /private\nH .hidden\nR x\n!\n- y\n\ny\na.merged",
    ];
    texts.iter().map(|text| text.to_vec()).collect()
}

fn dot(replica: u8, counter: u64) -> Dot {
    Dot { replica: ReplicaId([replica; 16]), counter }
}

fn attributes() -> Attributes {
    Attributes { mode: 0o644, owner: Owner { uid: 1000, gid: 33 }, mtime: NOW }
}

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).expect("it is a path")
}

/// Rows of every state and content.
pub(crate) fn sample_rows() -> Vec<Row> {
    let file = Content::File { digest: Digest::of(b"bytes"), size: 5 };
    let contents = [
        Content::Dir,
        file.clone(),
        Content::Symlink(b"../else/where".to_vec().into()),
        Content::Fifo,
        Content::Socket,
        Content::Device { kind: Kind::CharDevice, rdev: 0x0103 },
    ];
    let row = |state, losers| Row { vector: VersionVector::from_iter([dot(1, 4), dot(2, 9)]), state, losers };
    let mut rows: Vec<Row> = contents
        .into_iter()
        .map(|content| row(State::Live(Live::new(content, attributes(), dot(1, 4), NOW)), Vec::new()))
        .collect();
    let loser =
        Loser { dot: dot(2, 9), content: file.clone(), attributes: attributes(), path: Some(path("b/c")) };
    let origin = Origin { path: path("old/name"), vector: VersionVector::of(dot(2, 1)) };
    let mut moved = Live::new(file.clone(), attributes(), dot(1, 4), NOW);
    moved.mode.dot = dot(2, 8);
    moved.mtime.value = Timestamp { secs: -1, nanos: 0 };
    moved.moved_from = Some(origin);
    rows.push(row(State::Live(moved), vec![loser]));
    for moved_to in [None, Some(path("new/name"))] {
        let tombstone = Tombstone {
            dot: dot(2, 9),
            deleted_at: NOW,
            content: file.clone(),
            attributes: attributes(),
            moved_to,
        };
        rows.push(row(State::Deleted(tombstone), Vec::new()));
    }
    rows
}

pub(crate) fn rows() -> Vec<Vec<u8>> {
    let replicas = vec![ReplicaId([1; 16]), ReplicaId([2; 16]), ReplicaId([3; 16])];
    let packed = |row: Row| {
        let seen = row.live().map(|live| {
            let content = &live.content.value;
            let stat = Stat {
                kind: content.kind(),
                attributes: live.attributes(),
                size: content.size(),
                ctime: NOW,
                ino: 77,
                dev: 3,
                links: 1,
                rdev: 0,
            };
            Seen { stat, at: NOW }
        });
        let residue = row.tombstone().is_some_and(|tombstone| tombstone.content.is_dir());
        pack_record(&Record { row, seq: 7, seen, residue }, &mut Slots::saved(replicas.clone()))
    };
    sample_rows().into_iter().map(packed).collect()
}
