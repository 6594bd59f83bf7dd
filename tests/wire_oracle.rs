//! The random trees of the one-way oracle, pushed to a csyncd and pulled from it: what rsync would have made of them.
#![cfg(feature = "system")]
#![allow(clippy::expect_used, reason = "a helper of a test may stop the test")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test is the user who changes the tree by path, and tells what it counted"
)]

#[path = "support/node.rs"]
mod node;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/trees.rs"]
mod trees;

use std::path::Path;
use std::process::Command;

use node::Nodes;
use sandbox::Run;
use trees::{Kinds, differences, make_pair, picture};

const SEEDS: u64 = 150;

fn rsync(more: &[&str], source: &str, dest: &Path, directory: &Path) {
    let mut command = Command::new("rsync");
    command
        .args(["-a", "--delete"])
        .args(more)
        .arg(source)
        .arg(dest)
        .current_dir(directory)
        .env("LC_ALL", "C.UTF-8");
    Run::of(&mut command).ends_with(&[0]);
}

#[track_caller]
fn same(one: &Path, two: &Path, when: &str) {
    let differing = differences(&picture(one), &picture(two));
    assert!(differing.is_empty(), "{when}\n{}", differing.join("\n"));
}

#[test]
fn trees_pushed_and_pulled_come_out_as_rsync_makes_them() {
    let nodes =
        Nodes::new("mode = \"two-way\"\nallow = { one = \"write\" }\ntrust = \"root\"\nversions = false\n");
    let mut kinds = Kinds::default();
    let mut items = 0;
    for seed in 0..SEEDS {
        let name = format!("s{seed}");
        let own = nodes.sandbox.path(&format!("work-{seed}"));
        let [source, theirs, spare, pulled, by_rsync] =
            ["src", "theirs", "spare", "pulled", "by-rsync"].map(|dir| own.join(dir));
        let ours = nodes.sandbox.b().join(&name);
        for dir in [&own, &source, &theirs, &spare, &ours, &pulled, &by_rsync] {
            std::fs::create_dir(dir).expect("make a directory");
        }
        let diverged = seed % 2 == 1;
        make_pair(seed, &source, &ours, diverged, &mut kinds);
        make_pair(seed, &spare, &theirs, diverged, &mut Kinds::default());
        let from = format!("work-{seed}/src/");
        let to = format!("{}/{name}", node::FOLDER);
        let pushed = nodes.run(&["push", "-a", "--delete", "--yes", "-i", &from, &to]).ends_with(&[0]);
        items += pushed.stdout().lines().count();
        rsync(&[], &from, &theirs, nodes.sandbox.path("").as_path());
        same(&ours, &theirs, &format!("seed {seed}: pushed\n{pushed}"));
        let again = nodes.run(&["push", "-a", "--delete", "-i", &from, &to]).ends_with(&[0]);
        assert_eq!(again.stdout(), "", "seed {seed}: a second push does nothing\n{again}");
        let far = format!("{to}/");
        let here = format!("work-{seed}/pulled");
        let run = nodes.run(&["pull", "-a", "--delete", &far, &here]).ends_with(&[0]);
        // No peer is trusted with set-id bits.
        let tame = ["--chmod=Fug-s"];
        rsync(&tame, &format!("work-{seed}/theirs/"), &by_rsync, nodes.sandbox.path("").as_path());
        same(&pulled, &by_rsync, &format!("seed {seed}: pulled\n{run}"));
        std::fs::remove_dir_all(&own).expect("remove a directory");
    }
    println!(
        "counted {SEEDS} trees pushed and pulled over QUIC, {items} items; in how many each occurs: {kinds:?}"
    );
}
