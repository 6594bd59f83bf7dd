//! Nobody here is root: one ordinary user pushes to the csyncd of another, and gets everything back.
#![cfg(feature = "system")]
#![allow(clippy::expect_used, reason = "a helper of a test may stop the test")]
#![allow(clippy::disallowed_methods, reason = "a test is the user who changes the tree by path")]

#[path = "support/node.rs"]
mod node;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/tree.rs"]
mod tree;

use std::os::unix::fs::MetadataExt as _;

use node::{FOLDER, Network, Nodes, PLAIN};
use tree::build;

/// Two users without any rights of their own.
const CALLER: u32 = 65_534;
const HOST: u32 = 65_533;

/// Runs what follows as `uid`, who gets `paths` first, with a copy of the program that everybody may run.
fn user(uid: u32, paths: &str) -> Network {
    let script = format!(
        "chmod 755 . && chown -R {uid}:{uid} {paths} && cp \"$1\" program-{uid} && shift && \
         exec setpriv --reuid {uid} --regid {uid} --clear-groups ./program-{uid} \"$@\""
    );
    Network { enter: ["sh", "-ec", &script, "sh"].map(str::to_owned).to_vec(), address: None }
}

#[test]
fn an_ordinary_user_pushes_to_the_csyncd_of_another_and_pulls_back() {
    let caller = user(CALLER, "state-one one.toml a c");
    let host = user(HOST, "state-two two.toml b home csyncd.log");
    let nodes = Nodes::between(PLAIN, caller, host);
    build(&nodes.sandbox.a(), "f=1 d/g=#70000 d/e/h=2 l->f");
    std::fs::create_dir(nodes.sandbox.path("c")).expect("a directory");
    nodes.run(&["push", "a/", FOLDER]).ends_with(&[0]);
    let (ours, theirs) = (nodes.sandbox.a(), nodes.sandbox.b());
    for name in ["f", "d", "d/g", "d/e/h"] {
        let stands = std::fs::metadata(theirs.join(name)).expect("it came");
        assert_eq!((stands.uid(), stands.gid()), (HOST, HOST), "{name} is the host's");
    }
    nodes.run(&["pull", &format!("{FOLDER}/"), "c/"]).ends_with(&[0]);
    for name in ["f", "d/g", "d/e/h"] {
        let bytes = |root: &std::path::Path| std::fs::read(root.join(name)).expect("a file");
        assert!(bytes(&ours) == bytes(&theirs) && bytes(&ours) == bytes(&nodes.sandbox.path("c")), "{name}");
    }
    nodes.run(&["push", "--delete", "a/", FOLDER]).ends_with(&[0]);
}
