//! Guests of one folder: two at once, and one that comes back while its last run is still thought to be there.

#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test may stop the test")]
#![allow(clippy::disallowed_methods, reason = "a test handles its own files and has a watchdog")]

#[path = "support/relay.rs"]
mod relay;
#[path = "support/serving.rs"]
mod serving;

use std::fs;
use std::path::Path;
use std::time::Duration;

use csync::model::path::RelPath;
use csync::transport::channel::Channel;
use csync::transport::message::{List, Message, Open, Right};
use csync::transport::quic::Caller;

use relay::Relay;
use serving::{DEADLINE, Daemon, Node, Told};

/// Files of each guest alone, and files of both.
const FILES: usize = 200;

/// A node that serves `data` to `guests`, and its daemon.
fn server(guests: &[&Node], more: &str) -> (Node, Daemon) {
    let server = Node::new("server");
    let allowed: Vec<String> = guests.iter().map(|guest| format!("{} = \"write\"", guest.name)).collect();
    let folder = format!(
        "[folder.data]\nmembers = [\"server\"]\npath = \"{}\"\nallow = {{ {} }}\n{more}",
        server.root("data"),
        allowed.join(", ")
    );
    server.configure(guests, &folder);
    let daemon = server.start(&[]);
    (server, daemon)
}

/// Has `guest` find `server` at `address`.
fn directed(guest: &Node, server: &Node, address: &str) {
    let name = guest.name;
    let config =
        format!("node = \"{name}\"\n[peer.server]\nkey = \"{}\"\naddr = [\"{address}\"]\n", server.key());
    fs::write(guest.path("csync.toml"), config).expect("the config");
}

fn push(guest: &Node) -> Told {
    guest.csync(&["push", "here/", "server::data/"])
}

/// Whether a file somewhere below `dir` holds `bytes`.
fn holds(dir: &Path, bytes: &[u8]) -> bool {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| {
        if path.is_dir() { holds(&path, bytes) } else { fs::read(&path).is_ok_and(|found| found == bytes) }
    })
}

#[test]
fn two_guests_push_at_once_and_nothing_of_either_is_lost() {
    let guests = [Node::new("one"), Node::new("two")];
    let (server, daemon) = server(&[&guests[0], &guests[1]], "");
    for guest in &guests {
        directed(guest, &server, &daemon.address.to_string());
        let here = std::path::PathBuf::from(guest.root("here"));
        for at in 0..FILES {
            fs::write(here.join(format!("of-{}-{at}", guest.name)), format!("{at}")).expect("a file");
            fs::write(here.join(format!("both-{at}")), format!("{} of {}", at, guest.name)).expect("a file");
        }
    }
    let told = std::thread::scope(|scope| {
        let runs = guests.each_ref().map(|guest| scope.spawn(|| push(guest)));
        runs.map(|run| run.join().expect("a run"))
    });
    for told in &told {
        assert!(matches!(told.code, Some(0 | 23)), "{told:?}");
    }
    let data = server.path("data");
    for at in 0..FILES {
        for guest in &guests {
            let own = fs::read_to_string(data.join(format!("of-{}-{at}", guest.name))).ok();
            assert_eq!(own, Some(format!("{at}")), "{}", guest.name);
        }
        let stands = fs::read_to_string(data.join(format!("both-{at}"))).expect("one of both");
        let versions = guests.each_ref().map(|guest| format!("{at} of {}", guest.name));
        let winner = versions.iter().position(|version| *version == stands);
        let loser = 1 - winner.unwrap_or_else(|| panic!("both-{at} holds {stands:?}"));
        // Who lost either was told so and has it still, or was replaced, and then it is kept.
        let was_told = told[loser].code == Some(23) && told[loser].stderr.contains("changed on the peer");
        assert!(
            was_told || holds(&data.join(".csync"), versions[loser].as_bytes()),
            "both-{at} of {} is gone; {told:?}",
            guests[loser].name
        );
    }
    for guest in &guests {
        assert_eq!(push(guest).code, Some(0), "the next run of {} has nothing against it", guest.name);
    }
}

#[test]
fn a_run_takes_the_place_of_the_one_before_that_was_cut_off() {
    let guest = Node::new("one");
    // Room for one: the run that was cut off must be gone for the next to come in.
    let (server, daemon) = server(&[&guest], "limits = { connections = 1 }\n");
    fs::write(Path::new(&guest.root("here")).join("file"), "new").expect("a file");
    let relay = Relay::new(&daemon.address.to_string(), 64 << 10);
    let there = relay.address().parse().expect("an address");
    let caller = Caller::new(&guest.identity());
    let (link, mut control) = caller.connect(&[there], &server.key(), DEADLINE).expect("a connection");
    opened_by(&mut control);
    link.set_timeout(Some(Duration::from_millis(300)));
    while !relay.was_cut() {
        let list = List { since: 0, below: RelPath::root(), after: None };
        let answered = link.channel().and_then(|mut channel| {
            channel.send(&Message::List(list))?;
            channel.recv()
        });
        assert!(answered.is_ok() || relay.was_cut(), "{answered:?}");
    }
    directed(&guest, &server, &daemon.address.to_string());
    let second = push(&guest);
    assert_eq!(second.code, Some(0), "{second:?}");
    daemon.says(&["sessions superseded", "folder=data", "count=1"]);
    assert_eq!(fs::read(server.path("data").join("file")).ok().as_deref(), Some(&b"new"[..]));
    drop((link, control));
}

/// Opens `data` to change it.
fn opened_by(control: &mut Channel) {
    control
        .send(&Message::Open(Open { folder: "data".to_owned(), right: Right::Write }))
        .expect("it is sent");
    serving::opened(control).expect("it is granted");
}

#[test]
fn two_runs_of_one_key_that_are_both_there_leave_each_other_alone() {
    let guest = Node::new("one");
    let (server, daemon) = server(&[&guest], "");
    directed(&guest, &server, &daemon.address.to_string());
    let open = || {
        let (link, mut control) = guest.call(&server, &daemon).expect("a connection");
        opened_by(&mut control);
        (link, control)
    };
    let runs = [open(), open()];
    assert!(runs.iter().all(|(link, _)| link.ended().is_none()), "one of both was ended");
}
