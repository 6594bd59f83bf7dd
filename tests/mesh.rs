//! Members that keep a folder the same: real daemons, real roots, real sockets.

#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test may stop the test")]
#![allow(clippy::disallowed_methods, reason = "a test is the user who changes the tree by path")]

#[path = "support/mesh.rs"]
mod mesh;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/tree.rs"]
mod tree;

use std::fs;

use csync::model::entry::Digest;
use mesh::{Mesh, write};

const ALL: [usize; 3] = [0, 1, 2];

#[test]
fn what_is_uploaded_to_any_node_is_on_all_of_them() {
    let mesh = Mesh::running(3, "");
    for at in ALL {
        write(&mesh.root(at), &format!("from/{at}/file"), &format!("uploaded to {at}"));
    }
    for at in ALL {
        mesh.hold(&ALL, &format!("from/{at}/file"), Some(&format!("uploaded to {at}")));
    }
    write(&mesh.root(1), "from/0/file", "edited on another");
    mesh.hold(&ALL, "from/0/file", Some("edited on another"));
    fs::remove_file(mesh.root(2).join("from/1/file")).expect("remove it");
    mesh.hold(&ALL, "from/1/file", None);
    fs::rename(mesh.root(0).join("from/2"), mesh.root(0).join("moved")).expect("rename it");
    mesh.hold(&ALL, "moved/file", Some("uploaded to 2"));
    mesh.agree(&ALL);
}

#[test]
fn trees_that_were_filled_before_become_one() {
    let mut mesh = Mesh::new(3, "");
    for at in ALL {
        for number in 0..200 {
            write(&mesh.root(at), &format!("own-{at}/d{}/f{number}", number % 7), &format!("{at} {number}"));
            write(&mesh.root(at), &format!("same/f{number}"), &format!("same {number}"));
        }
        let large: String = (0..400_000)
            .map(|n| char::from(b'a' + u8::try_from((n * (at + 3)) % 26).expect("small")))
            .collect();
        write(&mesh.root(at), &format!("large-{at}"), &large);
    }
    ALL.iter().for_each(|at| mesh.start(*at));
    mesh.hold(&ALL, "own-2/d1/f1", Some("2 1"));
    mesh.agree(&ALL);
}

#[test]
fn one_that_was_away_hears_what_happened_and_tells_what_it_did() {
    let mut mesh = Mesh::running(3, "");
    for number in 0..60 {
        write(&mesh.root(0), &format!("d/{number}"), &format!("first {number}"));
    }
    mesh.hold(&ALL, "d/59", Some("first 59"));
    mesh.agree(&ALL);
    mesh.stop(2);
    fs::remove_file(mesh.root(0).join("d/1")).expect("remove it");
    write(&mesh.root(1), "d/2", "edited while one was away");
    write(&mesh.root(2), "d/3", "edited while away");
    fs::remove_file(mesh.root(2).join("d/4")).expect("remove it");
    mesh.hold(&[0, 1], "d/2", Some("edited while one was away"));
    mesh.start(2);
    for (path, content) in [
        ("d/1", None),
        ("d/2", Some("edited while one was away")),
        ("d/3", Some("edited while away")),
        ("d/4", None),
    ] {
        mesh.hold(&ALL, path, content);
    }
    mesh.agree(&ALL);
}

#[test]
fn what_two_wrote_at_once_is_one_on_all_and_the_other_is_kept() {
    let mut mesh = Mesh::running(3, "");
    write(&mesh.root(0), "f", "the ancestor");
    mesh.hold(&ALL, "f", Some("the ancestor"));
    mesh.stop(1);
    mesh.stop(2);
    write(&mesh.root(1), "f", "written on the second");
    write(&mesh.root(2), "f", "written later, on the third");
    // The clock of a file system may be too coarse to tell them apart.
    tree::set_mtime(&mesh.root(1), "f", 1_700_000_000);
    tree::set_mtime(&mesh.root(2), "f", 1_700_000_100);
    mesh.start(1);
    mesh.start(2);
    mesh.hold(&ALL, "f", Some("written later, on the third"));
    mesh.agree(&ALL);
    for at in ALL {
        let kept = tree::kept_contents(&mesh.root(at));
        assert!(kept.contains(&Digest::of(b"written on the second")), "{at} has not kept what lost");
    }
}
