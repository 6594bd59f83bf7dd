//! `csyncd` from outside: it starts, says how it stands, reloads, refuses and ends as the contract says.

#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test may stop the test")]
#![allow(clippy::disallowed_methods, reason = "a test handles its own files")]

#[path = "support/serving.rs"]
mod serving;

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use csync::disk::clock::monotonic;
use csync::transport::error::WireError;
use csync::transport::message::{Code, Message, Open, Right};
use serving::{Node, Signal};

/// web1 serves `data` to web2 and `pub` to everybody.
fn web1_with(more: &str) -> (Node, Node) {
    let (web1, web2) = (Node::new("web1"), Node::new("web2"));
    web1.configure(&[&web2], &format!("{}{}{more}", data(&web1), public(&web1)));
    (web1, web2)
}

fn data(node: &Node) -> String {
    format!("[folder.data]\nmembers = [\"web1\", \"web2\"]\npath = \"{}\"\n", node.root("data"))
}

fn public(node: &Node) -> String {
    let root = node.root("pub");
    format!("[folder.pub]\npath = \"{root}\"\nmode = \"send\"\nallow = {{ \"*\" = \"read\" }}\n")
}

fn open(folder: &str, right: Right) -> Message {
    Message::Open(Open { folder: folder.to_owned(), right })
}

#[test]
fn it_says_that_it_is_ready_how_it_stands_and_ends_when_it_is_told() {
    let (web1, _web2) = web1_with("");
    fs::write(web1.path("data/file"), "12345").expect("a file");
    let mut daemon = web1.start(&[]);
    assert_eq!(daemon.ready, format!("csyncd web1 ready on {}", daemon.address));

    let status = || {
        let told = web1.csync(&["status", "--json"]);
        assert_eq!(told.code, Some(0), "{told:?}");
        serde_json::from_str::<serde_json::Value>(&told.stdout).expect("an object")
    };
    let mut looks = std::iter::repeat_with(status);
    // A folder with other members is looked at as soon as it is open.
    let status =
        looks.find(|status| status["folders"][0]["state"] != "scanning").expect("an end of the look");
    assert_eq!((&status["schema"], &status["node"]), (&1.into(), &"web1".into()));
    let names: Vec<&str> =
        status["folders"].as_array().expect("folders").iter().filter_map(|f| f["name"].as_str()).collect();
    assert_eq!(names, ["data", "pub"]);
    let folder = &status["folders"][0];
    assert_eq!((&folder["mode"], &folder["state"]), (&"two-way".into(), &"in-sync".into()));
    assert_eq!(folder["peers"][0]["name"], "web2");
    assert_eq!(folder["peers"][0]["connected"], false);

    for (case, args, code, words) in [
        ("a table", &["status"][..], 0, &["FOLDER", "data", "pub", "send", "-web2"][..]),
        ("one folder", &["status", "pub"], 0, &["pub"]),
        ("no such folder", &["status", "none"], 3, &["there is no folder none", "data, pub"]),
        ("a monitor", &["status", "--check"], 2, &["CSYNC CRITICAL - data web2 down | folders=2 broken=0"]),
    ] {
        let told = web1.csync(args);
        assert_eq!(told.code, Some(code), "{case}: {told:?}");
        for word in words {
            assert!(told.stdout.contains(word) || told.stderr.contains(word), "{case}: {word}: {told:?}");
        }
    }
    let mode = fs::metadata(web1.path("state/control.sock")).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), Some(0));
    assert!(!web1.path("state/control.sock").exists());
    let told = web1.csync(&["status"]);
    assert!(told.code == Some(1) && told.stderr.contains("run csyncd"), "{told:?}");
    let told = web1.csync(&["status", "--check"]);
    assert!(told.code == Some(3) && told.stdout.starts_with("CSYNC UNKNOWN - no csyncd"), "{told:?}");
}

#[test]
fn what_keeps_it_from_starting_is_told_with_the_code_of_its_kind() {
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().map(|address| (taken, address.to_string())).expect("an address");
    let address = taken.1.as_str();
    refuse_to_start(&[
        ("usage", &["--bogus"], |_| {}, 64, &["--bogus"]),
        ("log format", &["--log-format", "xml"], |_| {}, 64, &["xml", "journald"]),
        ("B15 port", &["--listen", "127.0.0.1:70000"], |_| {}, 64, &["70000"]),
        (
            "B32 address in use",
            &["--listen", address],
            |_| {},
            69,
            &["error[E061]", address, "in use", "ss -ulpn"],
        ),
        ("not our address", &["--listen", "192.0.2.1:8730"], |_| {}, 69, &["192.0.2.1:8730"]),
    ]);
}

#[test]
fn a_wrong_config_or_key_keeps_it_from_starting() {
    refuse_to_start(&[
        (
            "B1 no config",
            &[],
            |node| fs::remove_file(node.path("csync.toml")).expect("the config"),
            78,
            &["error[E011]", "csync.toml", "csync init"],
        ),
        (
            "wrong config",
            &[],
            |node| fs::write(node.path("csync.toml"), "nod = 1\n[folder.a]\npat = 1\n").expect("the config"),
            78,
            &["csync.toml:1:1", "did you mean", "csync.toml:3:1"],
        ),
        (
            "B30 config that others may write",
            &[],
            |node| {
                let rights = fs::Permissions::from_mode(0o666);
                fs::set_permissions(node.path("csync.toml"), rights).expect("chmod");
            },
            78,
            &["0666", "chmod go-w"],
        ),
        (
            "no key",
            &[],
            |node| fs::remove_file(node.path("state/node.key")).expect("the key"),
            78,
            &["error[E014]", "csync init"],
        ),
        (
            "B27 key that others may read",
            &[],
            |node| {
                let rights = fs::Permissions::from_mode(0o644);
                fs::set_permissions(node.path("state/node.key"), rights).expect("chmod");
            },
            78,
            &["0644", "chmod 0600"],
        ),
        (
            "no such group",
            &["--listen", "127.0.0.1:0"],
            |node| node.configure(&[], "control-group = \"no-such-group\"\n"),
            78,
            &["no-such-group"],
        ),
    ]);
}

/// What is wrong with a node: a name for it, the arguments, what is spoilt, the exit code, and the words that tell it.
type Case<'a> = (&'a str, &'a [&'a str], fn(&Node), i32, &'a [&'a str]);

fn refuse_to_start(cases: &[Case<'_>]) {
    for (case, args, spoil, code, words) in cases {
        let node = Node::new("web1");
        node.configure(&[], "");
        spoil(&node);
        let told = node.csyncd(args);
        assert_eq!(told.code, Some(*code), "{case}: {told:?}");
        assert!(told.stdout.is_empty() && !told.stderr.contains("panicked"), "{case}: {told:?}");
        for word in *words {
            assert!(told.stderr.contains(word), "{case}: {word}: {told:?}");
        }
    }
}

#[test]
fn a_second_daemon_with_the_same_state_does_not_start() {
    let (web1, _web2) = web1_with("");
    let _daemon = web1.start(&[]);
    let told = web1.csyncd(&["--listen", "127.0.0.1:0"]);
    assert_eq!(told.code, Some(69), "{told:?}");
    assert!(told.stderr.contains("in use") && told.stderr.contains("control.sock"), "{told:?}");
}

#[test]
fn a_bad_config_keeps_the_old_one_and_a_good_one_is_taken_over() {
    let (web1, web2) = web1_with("");
    let daemon = web1.start(&[]);
    let good = fs::read_to_string(web1.path("csync.toml")).expect("the config");

    fs::write(web1.path("csync.toml"), format!("{good}\n[folder.x]\nexlude = 1\n")).expect("the config");
    daemon.signal(Signal::HUP);
    daemon.says(&["csync.toml:", "[folder.x] has no path"]);
    daemon.says(&["csync.toml:", "exlude"]);
    daemon.says(&["config kept as it was", "errors=2"]);
    assert_eq!(web1.folders(), ["data", "pub"]);

    web1.configure(&[&web2], &format!("{}[folder.new]\npath = \"{}\"\n", data(&web1), web1.root("new")));
    daemon.signal(Signal::HUP);
    daemon.says(&["folder closed", "folder=pub"]);
    daemon.says(&["config taken over"]);
    assert_eq!(web1.folders(), ["data", "new"]);
}

#[test]
fn a_folder_without_its_root_is_halted_and_the_others_are_served() {
    let (web1, _web2) = web1_with("[folder.lost]\npath = \"/nowhere/at/all\"\n");
    let daemon = web1.start(&[]);
    daemon.says(&["folder halted", "folder=lost", "/nowhere/at/all"]);
    let told = web1.csync(&["status"]);
    assert!(told.code == Some(0) && told.stdout.contains("halted"), "{told:?}");
    assert!(told.stderr.contains("lost: halted: ") && told.stdout.contains("in-sync"), "{told:?}");
    let told = web1.csync(&["status", "--check"]);
    assert!(told.code == Some(2) && told.stdout.contains("CRITICAL - lost halted"), "{told:?}");
}

#[test]
fn a_stranger_sees_what_is_for_everybody_and_nothing_else() {
    let (web1, web2) = web1_with("");
    let nas = Node::new("nas");
    let daemon = web1.start(&[]);
    for (who, folders) in [(&web2, &["data", "pub"][..]), (&nas, &["pub"])] {
        let (_link, mut control) = who.call(&web1, &daemon).expect("let in");
        control.send(&Message::Folders).expect("sent");
        let Ok(Message::FolderList(list)) = control.recv() else { panic!("no list") };
        let names: Vec<&str> = list.iter().map(|folder| folder.name.as_str()).collect();
        assert_eq!(names, folders, "{}", who.name);
    }
    let (_link, mut control) = nas.call(&web1, &daemon).expect("let in");
    control.send(&open("data", Right::Read)).expect("sent");
    let Ok(Message::Refuse(refuse)) = control.recv() else { panic!("not refused") };
    assert_eq!(refuse.code, Code::Denied);
    daemon.says(&["session refused", "folder=data"]);

    web1.configure(&[&web2], &data(&web1));
    daemon.signal(Signal::HUP);
    daemon.says(&["config taken over"]);
    let refused = nas.call(&web1, &daemon).expect_err("a stranger without a folder");
    assert!(matches!(refused, WireError::Denied { .. }) && refused.exit() == 5, "{refused}");
    daemon.says(&["stranger refused", "peer=csk1:"]);
}

/// H11.
#[test]
fn a_revoked_key_loses_its_connection_within_a_second() {
    let (web1, web2) = web1_with("");
    let daemon = web1.start(&[]);
    let (_link, mut control) = web2.call(&web1, &daemon).expect("let in");
    control.send(&Message::Folders).expect("sent");
    assert!(matches!(control.recv(), Ok(Message::FolderList(_))));
    web1.configure(&[], &format!("[folder.alone]\npath = \"{}\"\n", web1.root("alone")));
    let revoked = monotonic();
    daemon.signal(Signal::HUP);
    let ended = control.recv().expect_err("the connection has ended");
    assert!(revoked.elapsed() < Duration::from_secs(1), "{:?}", revoked.elapsed());
    assert_eq!(ended.code(), Code::Denied, "{ended}");
    assert!(web2.call(&web1, &daemon).is_err());
    daemon.says(&["session revoked", "address=127.0.0.1"]);
}

#[test]
fn the_log_has_the_names_of_the_config_and_no_line_of_a_peer() {
    let (web1, web2) = web1_with("");
    let daemon = web1.start(&[]);
    let (_link, mut control) = web2.call(&web1, &daemon).expect("let in");
    control.send(&open("data\nready", Right::Read)).expect("sent");
    assert_eq!(serving::opened(&mut control).map_err(|refuse| refuse.code), Err(Code::Denied));
    daemon.says(&["session refused", "peer=web2", "data\u{fffd}ready"]);
    let (link, _control) = web2.call(&web1, &daemon).expect("let in");
    link.close(Code::Internal, "\x1b[2J\r\nall is lost");
    daemon.says(&[
        "session broken off",
        "peer=web2",
        "why=\"web2 at 127.0.0.1",
        "\u{fffd}\u{fffd}all is lost",
    ]);
}

#[test]
fn limits_and_modes_hold_when_a_folder_is_opened() {
    let (web1, web2) = web1_with("limits = { connections = 1 }\n");
    let daemon = web1.start(&[]);
    let (_first, mut control) = web2.call(&web1, &daemon).expect("let in");
    control.send(&open("pub", Right::Read)).expect("sent");
    serving::opened(&mut control).expect("open");
    for (case, right, code) in [
        ("all connections in use", Right::Read, Code::Busy),
        ("a folder that sends", Right::Write, Code::Denied),
    ] {
        let (_second, mut control) = web2.call(&web1, &daemon).expect("let in");
        control.send(&open("pub", right)).expect("sent");
        assert_eq!(serving::opened(&mut control).expect_err(case).code, code, "{case}");
    }
}

#[test]
fn once_ends_with_the_first_connection_that_opened_a_folder() {
    let (web1, web2) = web1_with("");
    let mut daemon = web1.start(&["--once"]);
    let (link, mut control) = web2.call(&web1, &daemon).expect("let in");
    control.send(&Message::Folders).expect("sent");
    assert!(matches!(control.recv(), Ok(Message::FolderList(_))));
    link.close(Code::Done, "");
    daemon.says(&["session ended", "peer=web2"]);
    let (link, mut control) = web2.call(&web1, &daemon).expect("still there");
    control.send(&open("data", Right::Read)).expect("sent");
    serving::opened(&mut control).expect("open");
    link.close(Code::Done, "");
    assert_eq!(daemon.wait(), Some(0));
}

#[test]
fn the_end_of_the_daemon_ends_its_sessions_with_its_reason() {
    let (web1, web2) = web1_with("");
    let mut daemon = web1.start(&["--log-format", "json"]);
    let (_link, mut control) = web2.call(&web1, &daemon).expect("let in");
    control.send(&open("data", Right::Write)).expect("sent");
    serving::opened(&mut control).expect("open");
    daemon.says(&["\"message\":\"session opened\"", "\"folder\":\"data\"", "\"right\":\"write\""]);
    daemon.signal(Signal::INT);
    let ended = control.recv().expect_err("the connection has ended");
    assert_eq!(ended.code(), Code::Shutdown, "{ended}");
    assert_eq!(daemon.wait(), Some(0));
}

#[test]
fn the_service_manager_hears_that_it_is_ready() {
    let (web1, _web2) = web1_with("");
    let manager = UnixDatagram::bind(web1.path("notify")).expect("a socket");
    manager.set_read_timeout(Some(Duration::from_secs(20))).expect("a deadline");
    let mut daemon = web1.start_with(&[], &[("NOTIFY_SOCKET", web1.path("notify").as_os_str())]);
    let mut told = [0; 64];
    let count = manager.recv(&mut told).expect("a word");
    assert_eq!(&told[..count], b"READY=1");
    daemon.signal(Signal::TERM);
    let count = manager.recv(&mut told).expect("a word");
    assert_eq!(&told[..count], b"STOPPING=1");
    assert_eq!(daemon.wait(), Some(0));
}
