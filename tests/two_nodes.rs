//! Two nodes in two network namespaces: a real tree pushed, upgraded and pulled back; a stranger at the door.
#![cfg(feature = "system")]
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test may stop the test")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test is the user who changes the tree by path, times the runs and tells the figures"
)]

#[path = "support/node.rs"]
mod node;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/tree.rs"]
mod tree;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use node::{Network, Nodes, PLAIN};
use sandbox::{Run, copy_tree};
use serde_json::Value;
use tree::{ALL, Snapshot};

/// Two namespaces joined by a pair of virtual interfaces; they vanish with the test.
struct Wire {
    names: [String; 2],
}

impl Wire {
    fn new() -> Self {
        let names = ["a", "b"].map(|side| format!("csync-{}-{side}", std::process::id()));
        let wire = Self { names };
        let [one, two] = &wire.names;
        let (left, right) = (format!("cs{}a", std::process::id()), format!("cs{}b", std::process::id()));
        for name in [one, two] {
            ip(&["netns", "add", name]);
        }
        ip(&["link", "add", &left, "netns", one, "type", "veth", "peer", "name", &right, "netns", two]);
        for (name, link, address) in [(one, &left, "10.77.0.1/24"), (two, &right, "10.77.0.2/24")] {
            ip(&["-n", name, "addr", "add", address, "dev", link]);
            ip(&["-n", name, "link", "set", link, "up"]);
            ip(&["-n", name, "link", "set", "lo", "up"]);
        }
        wire
    }

    fn network(&self, side: usize) -> Network {
        let enter = ["ip", "netns", "exec", &self.names[side]].map(str::to_owned).to_vec();
        Network { enter, address: Some(format!("10.77.0.{}", side + 1)) }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for name in &self.names {
            // One that was never made cannot be removed.
            Command::new("ip").args(["netns", "del", name]).status().ok();
        }
    }
}

fn ip(arguments: &[&str]) {
    Run::of(Command::new("ip").args(arguments)).ends_with(&[0]);
}

/// Two versions of one crate among the sources that this build is made of, the one with the most files.
fn upgrade() -> (PathBuf, PathBuf) {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let registry = home.expect("CARGO_HOME or HOME is set").join("registry/src");
    let mut versions: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for index in std::fs::read_dir(&registry).expect("the registry's sources").flatten() {
        for package in std::fs::read_dir(index.path()).expect("an index").flatten() {
            let name = package.file_name().to_string_lossy().into_owned();
            let is_version = |at: usize| name[at + 1..].starts_with(|c: char| c.is_ascii_digit());
            if let Some((at, _)) = name.match_indices('-').find(|(at, _)| is_version(*at)) {
                versions.entry(name[..at].to_owned()).or_default().push(package.path());
            }
        }
    }
    versions.retain(|_, paths| paths.len() > 1);
    let largest = versions.into_values().max_by_key(|paths| Snapshot::of(&paths[0]).0.len());
    let mut paths = largest.expect("two versions of one crate among the sources of this build");
    paths.sort();
    (paths[0].clone(), paths[paths.len() - 1].clone())
}

/// Bytes of the files of `new` that `old` does not have at the same path.
fn changed(old: &Snapshot, new: &Snapshot) -> u64 {
    let differs = |path: &Vec<u8>, digest| old.0.get(path).is_none_or(|node| node.digest != digest);
    new.0.iter().filter(|(path, node)| differs(path, node.digest)).map(|(_, node)| node.size).sum()
}

/// Runs csync with `--json` and tells what it took.
fn timed(nodes: &Nodes, what: &str, arguments: &[&str]) -> Value {
    let begun = Instant::now();
    let run = nodes.run(&[arguments, &["--json"]].concat()).ends_with(&[0]);
    let seconds = begun.elapsed().as_secs_f64();
    let summary: Value = serde_json::from_str(&run.stdout()).expect("one JSON object");
    println!(
        "{what}: {seconds:.2} s, {} bytes sent, {} received; {} bytes in the tree, created {}, updated {}, deleted {}",
        summary["bytes_sent"],
        summary["bytes_received"],
        summary["bytes_total"],
        summary["created"],
        summary["updated"],
        summary["deleted"],
    );
    summary
}

#[test]
fn a_package_is_pushed_upgraded_and_pulled_back() {
    let wire = Wire::new();
    let nodes = Nodes::between(PLAIN, wire.network(0), wire.network(1));
    let (old, new) = upgrade();
    let (source, served) = (nodes.sandbox.a(), nodes.sandbox.b());
    std::fs::remove_dir(&source).expect("the root is empty");
    copy_tree(&old, &source);
    timed(&nodes, "push", &["push", "-a", "a/", node::FOLDER]);
    Snapshot::of(&source).agrees_with(&Snapshot::of(&served), ALL, "pushed");

    std::fs::remove_dir_all(&source).expect("remove the old version");
    copy_tree(&new, &source);
    let news = changed(&Snapshot::of(&served), &Snapshot::of(&source));
    let upgraded = timed(&nodes, "upgrade", &["push", "-a", "-c", "--delete", "--yes", "a/", node::FOLDER]);
    println!("upgrade: {news} bytes are in files that changed or are new");
    assert!(
        upgraded["bytes_sent"].as_u64().expect("a number") < news + 200_000,
        "more was sent than changed"
    );
    Snapshot::of(&source).agrees_with(&Snapshot::of(&served), ALL, "upgraded");
    let diff = nodes.run(&["diff", "-c", "a", node::FOLDER]).ends_with(&[0]);
    assert_eq!(diff.stdout(), "", "nothing differs\n{diff}");
    timed(&nodes, "no change", &["push", "-a", "--delete", "a/", node::FOLDER]);

    std::fs::create_dir(nodes.sandbox.path("c")).expect("make a directory");
    timed(&nodes, "pull", &["pull", "-a", &format!("{}/", node::FOLDER), "c/"]);
    Snapshot::of(&source).agrees_with(&Snapshot::of(&nodes.sandbox.path("c")), ALL, "pulled");

    let before = Snapshot::of(&served);
    nodes.key("stranger");
    for verb in [&["push", "-a", "c/", node::FOLDER][..], &["pull", "-a", &format!("{}/", node::FOLDER), "d"]]
    {
        Run::of(&mut nodes.csync_as("stranger", verb)).ends_with(&[5]);
    }
    Snapshot::of(&served).agrees_with(&before, ALL, "after the stranger");
    assert!(!nodes.sandbox.path("d").exists(), "a stranger got something");
}

#[test]
fn a_sync_takes_no_set_id_bits_and_no_devices_from_a_peer() {
    let nodes = Nodes::new("mode = \"two-way\"\nallow = { one = \"write\" }\ntrust = \"root\"\n");
    let (ours, served) = (nodes.sandbox.a(), nodes.sandbox.b());
    tree::build(&served, "suid=1 plain=2");
    tree::chmod(&served, "suid", 0o4755);
    Run::of(Command::new("mknod").arg(served.join("null")).args(["c", "1", "3"])).ends_with(&[0]);
    nodes.run(&["sync", "a", node::FOLDER]).ends_with(&[0]).says(&[
        "null",
        "no peer is trusted",
        "set-id bits of suid",
    ]);
    let mode = |path: &Path| std::fs::metadata(path).expect("look at it").permissions().mode() & 0o7777;
    assert_eq!(mode(&ours.join("suid")), 0o755);
    assert!(!ours.join("null").exists(), "a device came from a peer");
    tree::build(&ours, "plain=edited");
    nodes.run(&["sync", "a", node::FOLDER]).ends_with(&[0]);
    assert_eq!(mode(&served.join("suid")), 0o4755, "what is not taken is not taken away there");
    assert_eq!(std::fs::read(served.join("plain")).expect("read it"), b"edited");
}

#[test]
fn a_directory_renamed_below_a_path_of_the_folder_is_no_deletion() {
    let nodes = Nodes::new(PLAIN);
    let (ours, served) = (nodes.sandbox.a(), nodes.sandbox.b());
    let below = format!("{}/shop/uploads", node::FOLDER);
    tree::build(&served, "shop/uploads/");
    let files: Vec<String> = (0..60).map(|number| format!("old/{number}=#{}", 5000 + number)).collect();
    tree::build(&ours, &files.join(" "));
    nodes.run(&["sync", "a", &below]).ends_with(&[0]);
    tree::rename(&ours, "old", "new");
    nodes.run(&["sync", "a", &below]).ends_with(&[0]);
    Snapshot::of(&ours).agrees_with(&Snapshot::of(&served.join("shop/uploads")), ALL, "renamed");
    assert!(!served.join("shop/uploads/old").exists());
}
