//! Two nodes on one machine, from outside: `csyncd` serves, `csync` calls it.

#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test may stop the test")]
#![allow(clippy::disallowed_methods, reason = "a test handles its own files")]

#[path = "support/sandbox.rs"]
mod sandbox;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use sandbox::{Run, Sandbox};

const CSYNCD: &str = env!("CARGO_BIN_EXE_csyncd");

/// A node that serves `served`, one that may call it, and one that may not; each has its state directory.
struct Nodes {
    sandbox: Sandbox,
    /// The key of each node, by name.
    keys: Vec<(&'static str, String)>,
    server: Option<Child>,
}

impl Nodes {
    /// Makes the keys, and starts `csyncd` on `web1` with `folders` in its config; `@` there is the sandbox.
    fn serving(folders: &str) -> Self {
        let mut nodes = Self::unserved();
        nodes.serve(folders);
        nodes
    }

    /// Starts `csyncd`, and tells the others where it is.
    fn serve(&mut self, folders: &str) {
        self.configure("web1", "127.0.0.1:1", folders);
        let mut command = self.sandbox.command(CSYNCD);
        command.args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped());
        self.of(&mut command, "web1");
        let mut server = command.spawn().expect("csyncd starts");
        let mut line = String::new();
        BufReader::new(server.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
        self.server = Some(server);
        let address = line.trim().strip_prefix("csyncd web1 ready on ").unwrap_or_else(|| panic!("{line}"));
        for node in ["admin", "stranger"] {
            self.configure(node, address, "");
        }
    }

    /// Makes the keys and the roots.
    fn unserved() -> Self {
        let mut nodes = Self { sandbox: Sandbox::new(), keys: Vec::new(), server: None };
        fs::create_dir(nodes.at("served")).expect("a root");
        for node in ["web1", "admin", "stranger"] {
            nodes.run_as(node, &["init", "--name", node]).ends_with(&[0]);
            fs::remove_file(nodes.config(node)).expect("a config");
            let key = nodes.run_as(node, &["id"]).ends_with(&[0]).stdout().trim().to_owned();
            nodes.keys.push((node, key));
        }
        nodes
    }

    /// Writes the config of `node`: `web1` is at `address`. Only `stranger` has itself in it.
    fn configure(&self, node: &str, address: &str, folders: &str) {
        let peers = self.keys.iter().filter(|(name, _)| *name != "stranger" || node == "stranger");
        let peers =
            peers.map(|(name, key)| format!("[peer.{name}]\nkey = \"{key}\"\naddr = [\"{address}\"]\n"));
        let folders = folders.replace('@', &self.at("").display().to_string());
        fs::write(self.config(node), peers.collect::<String>() + &folders).expect("a config");
    }

    fn at(&self, name: &str) -> PathBuf {
        self.sandbox.path(name)
    }

    fn config(&self, node: &str) -> PathBuf {
        self.at(&format!("{node}.toml"))
    }

    fn of(&self, command: &mut Command, node: &str) {
        command
            .env("CSYNC_CONFIG", self.config(node))
            .env("CSYNC_STATE_DIR", self.at(&format!("state-{node}")));
    }

    fn csync(&self, node: &str, arguments: &[&str]) -> Command {
        let mut command = self.sandbox.csync(arguments);
        self.of(&mut command, node);
        command
    }

    fn run_as(&self, node: &str, arguments: &[&str]) -> Run {
        Run::of(&mut self.csync(node, arguments))
    }

    fn run(&self, arguments: &[&str]) -> Run {
        self.run_as("admin", arguments)
    }

    /// Writes `text` at `path`, with the directories above it.
    fn write(&self, path: &str, text: &str) {
        let at = self.at(path);
        fs::create_dir_all(at.parent().expect("a parent")).expect("directories");
        fs::write(at, text).expect("a file");
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_else(|error| format!("<{path}: {error}>"))
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            server.kill().ok();
            server.wait().ok();
        }
    }
}

const SITE: &str = "[folder.site]\nmembers = [\"web1\"]\npath = \"@served\"\nallow = { admin = \"write\" }\n";

#[test]
fn a_tree_goes_there_and_back() {
    let nodes = Nodes::serving(SITE);
    nodes.write("a/index.html", "hello");
    nodes.write("a/img/logo", &"x".repeat(100_000));
    nodes.write("a/img/copy of logo", &"x".repeat(100_000));
    let pushed = nodes.run(&["push", "-i", "a/", "web1::site"]).ends_with(&[0]);
    assert!(pushed.stdout().contains("+++++++++ img/logo\n"), "{pushed}");
    assert_eq!(
        (nodes.read("served/index.html").as_str(), nodes.read("served/img/logo").len()),
        ("hello", 100_000)
    );
    let again = nodes.run(&["push", "-i", "a/", "web1::site"]).ends_with(&[0]);
    assert_eq!(again.stdout(), "", "nothing is new");
    nodes.run(&["diff", "a", "web1::site"]).ends_with(&[0]);
    let sub = nodes.run(&["pull", "web1::site/img", "b"]).ends_with(&[0]);
    assert_eq!(nodes.read("b/img/logo").len(), 100_000, "{sub}");
    nodes.run(&["pull", "--delete", "--yes", "web1::site/", "b"]).ends_with(&[0]);
    assert_eq!(nodes.read("b/index.html"), "hello");
    nodes.write("b/index.html", "hello you");
    let differs = nodes.run(&["diff", "b", "web1::site"]).ends_with(&[40]);
    assert!(differs.stdout().contains("index.html"), "{differs}");
}

#[test]
fn changes_go_both_ways() {
    let nodes = Nodes::serving(SITE);
    nodes.write("a/one", "1");
    nodes.write("served/two", "2");
    nodes.run(&["sync", "a", "web1::site"]).ends_with(&[0]);
    assert_eq!((nodes.read("served/one"), nodes.read("a/two")), ("1".to_owned(), "2".to_owned()));
    fs::remove_file(nodes.at("a/two")).expect("a file");
    nodes.write("served/one", "1 and more");
    nodes.run(&["sync", "web1::site", "a"]).ends_with(&[0]);
    assert!(!nodes.at("served/two").exists(), "a delete is carried");
    assert_eq!(nodes.read("a/one"), "1 and more");
}

#[test]
fn the_summary_tells_what_went_over_the_wire() {
    let nodes = Nodes::serving(SITE);
    nodes.write("a/zeros", &"0".repeat(8 << 20));
    let pushed = nodes.run(&["push", "--json", "a/", "web1::site"]).ends_with(&[0]);
    let summary: serde_json::Value = serde_json::from_str(&pushed.stdout()).expect("one object");
    let sent = summary["bytes_sent"].as_u64().expect("a number");
    assert!((1000..2_000_000).contains(&sent), "compressed, with framing: {summary}");
    assert!(summary["bytes_received"].as_u64().expect("a number") > 0, "{summary}");
    assert_eq!((&summary["schema"], &summary["files"]), (&1.into(), &1.into()));
    nodes.write("a/more", &"0".repeat(1 << 20));
    let stats = nodes.run(&["push", "--stats", "a/", "web1::site"]).ends_with(&[0]);
    assert!(stats.stdout().contains("Total bytes sent: "), "{stats}");
}

#[test]
fn a_node_lists_the_folders_that_a_key_may_see() {
    let hidden = "[folder.hidden]\nmembers = [\"web1\"]\npath = \"@b\"\n";
    let nodes = Nodes::serving(&format!("{SITE}comment = \"the shop\"\n{hidden}"));
    let table = nodes.run(&["web1::"]).ends_with(&[0]);
    assert!(table.stdout().contains("site") && table.stdout().contains("the shop"), "{table}");
    assert!(!table.stdout().contains("hidden"), "{table}");
    let json = nodes.run(&["web1::", "--json"]).ends_with(&[0]).stdout();
    let json: serde_json::Value = serde_json::from_str(&json).expect("one object");
    assert_eq!(json["folders"].as_array().map(Vec::len), Some(1), "{json}");
    assert_eq!(
        (&json["folders"][0]["name"], &json["folders"][0]["right"]),
        (&"site".into(), &"write".into())
    );
}

#[test]
fn who_is_not_known_gets_nothing() {
    let nodes = Nodes::serving(SITE);
    nodes.write("served/secret", "s");
    for arguments in [&["pull", "web1::site", "b"][..], &["push", "a/", "web1::site"], &["web1::"]] {
        let refused = nodes.run_as("stranger", arguments).ends_with(&[5]);
        refused.says(&["error[E042]", "fix:", "csync id --toml"]);
    }
    assert!(!nodes.at("b/secret").exists());
}

#[test]
fn a_grant_to_read_is_none_to_write_and_a_folder_must_exist() {
    let nodes = Nodes::serving(&SITE.replace("write", "read"));
    nodes.write("served/x", "x");
    nodes.write("a/y", "y");
    nodes.run(&["pull", "web1::site", "b"]).ends_with(&[0]);
    assert_eq!(nodes.read("b/x"), "x");
    nodes.run(&["push", "a/", "web1::site"]).ends_with(&[5]).says(&["error[E042]", "fix:"]);
    assert!(!nodes.at("served/y").exists());
    nodes.run(&["pull", "web1::sites", "b"]).ends_with(&[3, 5]).says(&["fix:"]);
}

#[test]
fn another_key_at_the_address_is_not_believed() {
    let nodes = Nodes::serving(SITE);
    let (web1, stranger) = (&nodes.keys[0].1, &nodes.keys[2].1);
    let config = fs::read_to_string(nodes.config("admin")).expect("a config").replace(web1, stranger);
    fs::write(nodes.config("admin"), config).expect("a config");
    nodes.run(&["pull", "web1::site", "b"]).ends_with(&[5]).says(&["error[E042]", "fix:", "[peer.web1]"]);
}

#[test]
fn a_host_must_be_in_the_config() {
    let nodes = Nodes::unserved();
    nodes.run(&["pull", "web1::site", "b"]).ends_with(&[1]).says(&["error[E011]"]);
    nodes.configure("admin", "127.0.0.1:1", "");
    for host in ["web9::site", "csync://127.0.0.1:2/site", "10.9.9.9::site"] {
        nodes.run(&["pull", host, "b"]).ends_with(&[5]).says(&["error[E041]", "[peer."]);
    }
    // One address, two peers.
    nodes.run(&["pull", "127.0.0.1::site", "b"]).ends_with(&[1]).says(&["error[E041]", "web1", "admin"]);
    fs::remove_file(nodes.at("state-admin/node.key")).expect("a key");
    nodes.run(&["pull", "web1::site", "b"]).ends_with(&[1]).says(&["error[E014]", "csync init"]);
}

#[test]
fn a_silent_address_is_a_timeout_of_connecting() {
    let nodes = Nodes::unserved();
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = silent.local_addr().expect("an address").to_string();
    nodes.configure("admin", &address, "");
    nodes.run(&["--", "web1::"]).ends_with(&[1]);
    let timed_out = nodes.run(&["pull", "--timeout=1", "web1::site", "b"]).ends_with(&[35]);
    timed_out.says(&["error[E044]", "csyncd", "fix:"]);
    drop(silent);
    nodes.run(&["pull", "--timeout=1", "web1::site", "b"]).ends_with(&[10, 35]).says(&["fix:"]);
    assert_eq!(fs::read_dir(nodes.at("b")).expect("a directory").count(), 0);
}

#[test]
fn a_root_that_is_back_is_served_again_whoever_still_hangs_on() {
    let nodes = Nodes::serving(SITE);
    nodes.write("served/large", &"0".repeat(8 << 20));
    let mut gone = nodes
        .csync("admin", &["pull", "--no-compress", "--bwlimit=1m", "web1::site", "b"])
        .stdout(Stdio::null())
        .spawn()
        .expect("csync starts");
    while !nodes.at("b/.csync").exists() {
        assert!(matches!(gone.try_wait(), Ok(None)), "it pulls for seconds");
        std::thread::yield_now();
    }
    gone.kill().and_then(|()| gone.wait()).expect("killed");
    fs::rename(nodes.at("served"), nodes.at("away")).expect("a root");
    fs::create_dir(nodes.at("served")).expect("another");
    for _ in 0..2 {
        nodes.run(&["pull", "web1::site", "c"]).ends_with(&[42]).says(&["error[E072]", "fix:"]);
    }
    fs::remove_dir(nodes.at("served")).expect("empty");
    fs::rename(nodes.at("away"), nodes.at("served")).expect("a root");
    nodes.run(&["pull", "web1::site", "c"]).ends_with(&[0]);
}

/// What a summary says of a run.
fn counts(run: &Run) -> Vec<serde_json::Value> {
    let summary: serde_json::Value = serde_json::from_str(&run.stdout()).expect("one object");
    let counted = ["files", "created", "updated", "deleted", "held", "bytes_total", "bytes_transferred"];
    counted.iter().map(|name| summary[name].clone()).collect()
}

#[test]
fn a_dry_run_counts_what_the_run_does_there() {
    let nodes = Nodes::serving(SITE);
    nodes.write("a/d/file", "0123456789");
    nodes.write("a/edited", "old");
    std::os::unix::fs::symlink("edited", nodes.at("a/link")).expect("a link");
    for (case, verb) in [
        ("all is new", &["push", "a/", "web1::site"][..]),
        ("nothing is new", &["push", "a/", "web1::site"]),
        ("all is new here", &["pull", "web1::site/", "b"]),
        ("some is new", &["push", "--delete", "a/", "web1::site"]),
        ("some is new here", &["pull", "--delete", "web1::site/", "b"]),
        ("between two local roots", &["push", "--delete", "a/", "c"]),
    ] {
        if case == "some is new" {
            fs::remove_file(nodes.at("a/link")).expect("a link");
            nodes.write("a/edited", "edited");
            nodes.write("a/new/file", "new");
        }
        let dry = nodes.run(&[verb, &["-n", "--json"]].concat()).ends_with(&[0]);
        let run = nodes.run(&[verb, &["--json"]].concat()).ends_with(&[0]);
        assert_eq!(counts(&dry), counts(&run), "{case}\n{dry}{run}");
    }
}

#[test]
fn a_dry_run_is_held_where_the_run_is() {
    let nodes = Nodes::serving(&format!("{SITE}delete = {{ hold-above = 2 }}\n"));
    for name in ["1", "2", "3", "4", "5"] {
        nodes.write(&format!("a/{name}"), name);
    }
    nodes.run(&["push", "a/", "web1::site"]).ends_with(&[0]);
    fs::create_dir(nodes.at("empty")).expect("a directory");
    for (case, removed, verb, exit) in [
        ("two of five", &["1", "2"][..], &["push", "--delete", "a/", "web1::site"][..], 0),
        ("more than the peer lets pass", &["3"], &["push", "--delete", "a/", "web1::site"], 25),
        ("a sync", &[], &["sync", "a", "web1::site"], 25),
        ("a person said yes", &[], &["push", "--delete", "--yes", "a/", "web1::site"], 0),
        ("which empties no root", &[], &["push", "--delete", "--yes", "empty/", "web1::site"], 25),
    ] {
        for name in removed {
            fs::remove_file(nodes.at(&format!("a/{name}"))).expect("a file");
        }
        if case == "a sync" {
            nodes.run(&["pull", "web1::site/", "a"]).ends_with(&[0]);
            nodes.run(&["sync", "a", "web1::site"]).ends_with(&[0]);
            fs::remove_file(nodes.at("a/3")).expect("a file");
        }
        let dry = nodes.run(&[verb, &["-n"]].concat()).ends_with(&[exit]);
        let run = nodes.run(verb).ends_with(&[exit]);
        if exit == 25 {
            dry.says(&["error[E073]", "Nothing was deleted"]);
            run.says(&["error[E073]"]);
        }
    }
}

#[test]
fn what_the_peer_cannot_read_is_told_and_nothing_counts_as_absent() {
    let nodes = Nodes::serving(SITE);
    let deep = ["d"; 300].join("/");
    nodes.write("served/fine", "fine");
    fs::create_dir_all(nodes.at("served").join(&deep)).expect("deeper than a path may be");
    nodes.write("b/only here", "here");
    nodes.write("c/only here", "here");
    for verb in [&["pull", "--delete", "web1::site/", "b"][..], &["sync", "c", "web1::site"]] {
        let run = nodes.run(verb).ends_with(&[23]).says(&["could not read"]);
        assert_eq!(
            nodes.read(&format!("{}/fine", if verb[0] == "sync" { "c" } else { "b" })),
            "fine",
            "{run}"
        );
    }
    assert_eq!(nodes.read("b/only here"), "here");
}

#[test]
fn set_id_bits_that_are_left_out_are_told_once() {
    use std::os::unix::fs::PermissionsExt as _;
    let nodes = Nodes::serving(SITE);
    for name in ["one", "two"] {
        nodes.write(&format!("a/{name}"), name);
        let mode = fs::Permissions::from_mode(0o6755);
        fs::set_permissions(nodes.at(&format!("a/{name}")), mode).expect("a mode");
    }
    nodes.write("c/three", "3");
    fs::set_permissions(nodes.at("c/three"), fs::Permissions::from_mode(0o4755)).expect("a mode");
    let pushed = nodes.run(&["push", "a/", "web1::site"]).ends_with(&[0]);
    let told =
        "the set-id bits of one and 1 more were left out: the peer takes them only with trust = \"root\"";
    assert_eq!(pushed.stderr().matches("set-id").count(), 1, "{pushed}");
    pushed.says(&[told]);
    for name in ["one", "two"] {
        let mode = fs::Permissions::from_mode(0o6755);
        fs::set_permissions(nodes.at(&format!("served/{name}")), mode).expect("a mode");
    }
    for verb in [&["pull", "web1::site/", "b"][..], &["sync", "d", "web1::site"]] {
        fs::create_dir_all(nodes.at("d")).expect("a root");
        let run = nodes.run(verb).ends_with(&[0]);
        assert_eq!(run.stderr().matches("set-id").count(), 1, "{run}");
        run.says(&["of one and 1 more were left out: no peer is trusted with them here"]);
    }
    let synced = nodes.run(&["sync", "c", "web1::site"]).ends_with(&[0]);
    synced.says(&["the set-id bits of three were left out: the peer takes them only with trust"]);
}

/// The conflicts that are open, as the list has them.
fn open_conflicts(nodes: &Nodes) -> Vec<String> {
    let listed = nodes.run(&["conflicts", "--json"]).ends_with(&[0]).stdout();
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("one object");
    let conflicts = listed["conflicts"].as_array().expect("a list");
    conflicts.iter().map(|one| one["id"].as_str().expect("an id").to_owned()).collect()
}

/// Both sides have edited `file` and replaced `link`, and neither took the other's.
fn in_conflict(policy: &str) -> Nodes {
    let nodes = Nodes::serving(SITE);
    nodes.write("a/file", "base");
    std::os::unix::fs::symlink("base", nodes.at("a/link")).expect("a link");
    nodes.run(&["sync", "a", "web1::site"]).ends_with(&[0]);
    for (root, text) in [("a", "this side\n"), ("served", "the other side\n")] {
        nodes.write(&format!("{root}/file"), text);
        fs::remove_file(nodes.at(&format!("{root}/link"))).expect("a link");
        std::os::unix::fs::symlink(text.trim(), nodes.at(&format!("{root}/link"))).expect("a link");
    }
    let exit = if policy == "manual" { 40 } else { 0 };
    nodes.run(&["sync", "a", "web1::site", "--conflict", policy]).ends_with(&[exit]);
    nodes
}

#[test]
fn a_conflict_with_a_peer_is_settled_here_and_the_next_run_carries_it_there() {
    for (how, ours, beside) in [
        (&["--take", "2"][..], "the other side\n", None),
        (&["--local"], "this side\n", None),
        (&["--both"], "this side\n", Some("the other side\n")),
    ] {
        let mut nodes = in_conflict("manual");
        assert_eq!(
            (nodes.read("a/file"), nodes.read("served/file")),
            ("this side\n".into(), "the other side\n".into())
        );
        assert_eq!(open_conflicts(&nodes).len(), 2, "{how:?}");
        nodes.run(&["sync", "a", "web1::site", "--conflict", "manual"]).ends_with(&[0]);
        let server = nodes.server.take();
        if let Some(mut server) = server {
            // The peer is not needed to decide.
            server.kill().and_then(|()| server.wait()).expect("it ends");
        }
        let diff = nodes.run(&["resolve", "a/file", "--diff"]).ends_with(&[0]).stdout();
        assert!(diff.contains("-this side\n") && diff.contains("+the other side\n"), "{how:?}: {diff}");
        for path in ["a/file", "a/link"] {
            nodes.run(&[&["resolve", path], how].concat()).ends_with(&[0]);
        }
        assert_eq!(nodes.read("a/file"), ours, "{how:?}");
        nodes.serve(SITE);
        nodes.run(&["sync", "a", "web1::site"]).ends_with(&[0]);
        assert_eq!(nodes.read("served/file"), ours, "{how:?}");
        assert_eq!(fs::read_link(nodes.at("a/link")).ok(), fs::read_link(nodes.at("served/link")).ok());
        assert_eq!(fs::read_link(nodes.at("a/link")).expect("a link"), PathBuf::from(ours.trim()), "{how:?}");
        let copies = fs::read_dir(nodes.at("served")).expect("a root").flatten();
        let copies: Vec<_> =
            copies.filter(|one| one.file_name().to_string_lossy().starts_with("file.")).collect();
        let copy = copies.first().map(|copy| fs::read_to_string(copy.path()).expect("a file"));
        assert_eq!(copy.as_deref(), beside, "{how:?}");
        let again = nodes.run(&["sync", "-i", "a", "web1::site"]).ends_with(&[0]);
        assert_eq!(again.stdout(), "", "{how:?}: both sides agree");
        assert_eq!(open_conflicts(&nodes), Vec::<String>::new(), "{how:?}");
        let versions = nodes.run(&["versions", "a/file"]).ends_with(&[0]).stdout();
        assert!(!versions.is_empty(), "{how:?}: the loser stays");
    }
}

#[test]
fn a_side_that_is_preferred_leaves_no_conflict_open() {
    for (policy, stays) in [("prefer:1", "this side\n"), ("prefer:2", "the other side\n")] {
        let nodes = in_conflict(policy);
        assert_eq!(
            (nodes.read("a/file"), nodes.read("served/file")),
            (stays.into(), stays.into()),
            "{policy}"
        );
        assert_eq!(open_conflicts(&nodes), Vec::<String>::new(), "{policy}");
        assert!(
            nodes.run(&["versions", "a/file"]).stdout().contains("overwritten"),
            "{policy}: the loser is kept"
        );
        let nodes = in_conflict("manual");
        nodes.run(&["sync", "a", "web1::site", "--conflict", policy]).ends_with(&[0]);
        assert_eq!(open_conflicts(&nodes), Vec::<String>::new(), "{policy} after manual");
    }
}

#[test]
fn a_side_that_is_edited_again_makes_the_conflict_another_one() {
    let nodes = in_conflict("manual");
    let before = open_conflicts(&nodes);
    nodes.write("served/file", "the other side, once more\n");
    nodes.run(&["sync", "a", "web1::site", "--conflict", "manual"]).ends_with(&[40]);
    let after = open_conflicts(&nodes);
    assert!(after.len() == 2 && after != before, "{before:?} {after:?}");
    nodes.run(&["resolve", "a/file", "--take", "2"]).ends_with(&[0]);
    assert_eq!(nodes.read("a/file"), "the other side, once more\n");
}
