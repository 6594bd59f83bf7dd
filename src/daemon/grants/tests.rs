use crate::config::parse::parse;
use crate::daemon::grants::{Caller, Grants};
use crate::model::key::PublicKey;
use crate::transport::message::Right;

/// web1 is the node, web2 and web3 are members, nas and tablet are known, everybody else is a stranger.
const CONFIG: &str = r#"
[folder.two]
members = ["web1", "web2", "web3"]
path = "/srv/two"
mode = { "*" = "two-way", web3 = "receive" }
[folder.sent]
members = ["web1", "web2"]
path = "/srv/sent"
mode = { web1 = "send", "*" = "receive" }
allow = { nas = "write" }
[folder.taken]
members = ["web1", "web2"]
path = "/srv/taken"
mode = { web1 = "receive", web2 = "send" }
[folder.led]
members = ["web1", "web2"]
path = "/srv/led"
mode = { web1 = "receive", web2 = "primary" }
[folder.leading]
members = ["web1", "web2"]
path = "/srv/leading"
mode = { web1 = "primary", web2 = "receive" }
[folder.stands-by]
members = ["web2", "web1"]
path = "/srv/stands-by"
mode = "primary"
[folder.pub]
path = "/srv/pub"
mode = "send"
allow = { "*" = "read" }
hosts = ["10.0.0.0/8", "fd00::/16"]
[folder.home]
path = "/srv/home"
allow = { nas = "append", tablet = "read", "*" = "write" }
[folder.ours]
path = "/srv/ours"
[folder.theirs]
members = ["web2", "web3"]
path = "/srv/theirs"
allow = { "*" = "write" }
[folder.elsewhere]
path = { web2 = "/srv/elsewhere" }
allow = { "*" = "write" }
[folder.pathless]
members = ["web1", "web2"]
path = { web2 = "/srv/pathless" }
[folder.members-within]
members = ["web1", "web2"]
path = "/srv/members-within"
hosts = ["10.0.0.0/8"]
"#;

const NODES: &[(&str, u8)] = &[("web1", 1), ("web2", 2), ("web3", 3), ("nas", 4), ("tablet", 5)];

fn key(name: &str) -> PublicKey {
    PublicKey([NODES.iter().find(|(node, _)| *node == name).map_or(99, |(_, byte)| *byte); 32])
}

fn grants() -> Grants {
    let peers = NODES
        .iter()
        .map(|(name, _)| format!("[peer.{name}]\nkey = \"{}\"\naddr = [\"{name}\"]\n", key(name)));
    let text = format!("{}{CONFIG}", peers.collect::<String>());
    let parsed = parse(&text);
    let config = parsed.config;
    assert!(parsed.problems.finish().is_empty());
    Grants::new(config, key("web1"))
}

fn caller(name: &str, address: &str) -> Caller {
    Caller { key: key(name), address: address.parse().unwrap() }
}

#[test]
fn every_grant_is_one_of_these() {
    let grants = grants();
    let (read, append, write) = (Some(Right::Read), Some(Right::Append), Some(Right::Write));
    for (case, folder, name, address, right) in [
        ("a member may write", "two", "web2", "1.2.3.4", write),
        ("a member that only receives may read", "two", "web3", "1.2.3.4", read),
        ("the node itself is a member", "two", "web1", "127.0.0.1", write),
        ("a known node that is no member", "two", "nas", "1.2.3.4", None),
        ("a stranger", "two", "stranger", "1.2.3.4", None),
        ("a folder that sends refuses writes of members", "sent", "web2", "1.2.3.4", read),
        ("and those that allow grants", "sent", "nas", "1.2.3.4", read),
        ("a folder that receives takes from senders", "taken", "web2", "1.2.3.4", write),
        ("the primary may write to its receivers", "led", "web2", "1.2.3.4", write),
        ("a receiver may only read from its primary", "leading", "web2", "1.2.3.4", read),
        ("anybody within the network", "pub", "stranger", "10.1.2.3", read),
        ("the same, told as IPv6", "pub", "stranger", "::ffff:10.1.2.3", read),
        ("anybody within the other network", "pub", "stranger", "fd00::1", read),
        ("outside of it", "pub", "stranger", "11.0.0.1", None),
        ("outside of both", "pub", "stranger", "fd01::1", None),
        ("a known node outside of it", "pub", "nas", "192.168.0.1", None),
        ("a member outside of it", "members-within", "web2", "192.168.0.1", None),
        ("a member within it", "members-within", "web2", "10.9.9.9", write),
        ("by name", "home", "nas", "1.2.3.4", append),
        ("the name counts before the star", "home", "tablet", "1.2.3.4", read),
        ("by the star", "home", "stranger", "1.2.3.4", write),
        ("without members and grants nobody", "ours", "web2", "1.2.3.4", None),
        ("not even this node", "ours", "web1", "127.0.0.1", None),
        ("a folder that this node is no member of", "theirs", "web2", "1.2.3.4", None),
        ("a folder that has no path here", "elsewhere", "web2", "1.2.3.4", None),
        ("a member without a path here", "pathless", "web2", "1.2.3.4", None),
        ("no such folder", "none", "web2", "1.2.3.4", None),
        ("a star is no folder", "*", "web2", "1.2.3.4", None),
    ] {
        assert_eq!(grants.right(folder, caller(name, address)), right, "{case}");
    }
}

#[test]
fn who_has_no_folder_and_no_name_is_not_let_in() {
    let open = grants();
    assert!(open.admits(caller("stranger", "192.168.0.1")), "home is for all");
    let mut config = open.config().clone();
    config.folders.remove("home");
    let closed = Grants::new(config, key("web1"));
    for (name, address, admitted) in [
        ("stranger", "10.0.0.1", true),
        ("stranger", "192.168.0.1", false),
        ("nas", "192.168.0.1", true),
        ("web1", "127.0.0.1", true),
    ] {
        assert_eq!(closed.admits(caller(name, address)), admitted, "{name} from {address}");
    }
}

#[test]
fn a_caller_sees_what_it_may_read_and_no_more() {
    let grants = grants();
    let seen = |name, address| -> Vec<(String, Right)> {
        let visible = grants.visible(caller(name, address));
        visible.into_iter().map(|folder| (folder.name, folder.right)).collect()
    };
    assert_eq!(seen("stranger", "1.2.3.4"), [("home".to_owned(), Right::Write)]);
    let read = |name: &str| (name.to_owned(), Right::Read);
    assert_eq!(
        seen("tablet", "10.0.0.1"),
        [read("home"), read("pub")],
        "what is served to others is not shown"
    );
    let served: Vec<&str> = grants.served().map(|(name, ..)| name).collect();
    assert_eq!(
        served,
        ["home", "leading", "led", "members-within", "ours", "pub", "sent", "stands-by", "taken", "two"]
    );
}

#[test]
fn pushes_belong_to_the_primary() {
    let grants = grants();
    for (folder, elsewhere) in
        [("led", true), ("leading", false), ("stands-by", true), ("taken", false), ("two", false)]
    {
        assert_eq!(grants.is_led_elsewhere(grants.folder(folder).unwrap()), elsewhere, "{folder}");
    }
}

#[test]
fn a_node_that_the_config_does_not_name_serves_what_has_one_path() {
    let config = grants().config().clone();
    let stranger = Grants::new(config, key("stranger"));
    let served: Vec<&str> = stranger.served().map(|(name, ..)| name).collect();
    assert_eq!(served, ["home", "ours", "pub"]);
    assert_eq!(stranger.node(), key("stranger").to_string());
}
