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
use csync::transport::message::Code;
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
fn who_is_no_member_hears_no_news() {
    let mut mesh = Mesh::new(3, "allow = { web3 = \"read\" }\n");
    mesh.configure(&[0, 1]);
    ALL.iter().for_each(|at| mesh.start(*at));
    write(&mesh.root(0), "f", "for members");
    mesh.hold(&[1], "f", Some("for members"));
    assert_eq!(fs::read_dir(mesh.root(2)).expect("its root").count(), 0, "it has no root in the folder");
    let (web1, joined) = mesh.join(2, 0);
    assert_eq!(joined.expect_err("it is refused").code, Code::Denied);
    drop(web1);
}

#[test]
fn a_mass_deletion_stays_where_it_was_made() {
    let mesh = Mesh::running(3, "");
    for number in 0..100 {
        write(&mesh.root(0), &format!("d/{number}"), &format!("content {number}"));
    }
    mesh.agree(&ALL);
    for number in 0..60 {
        fs::remove_file(mesh.root(1).join(format!("d/{number}"))).expect("remove it");
    }
    write(&mesh.root(1), "after", "the deletion");
    mesh.hold(&ALL, "after", Some("the deletion"));
    for at in [0, 2] {
        mesh.until("the deletion is held", || mesh.folder(at)["held"] == 1);
        // What went out before the guard saw that it is many.
        let left = fs::read_dir(mesh.root(at).join("d")).expect("the directory").count();
        assert!(left >= 75, "{left} of 100 are left");
    }
    // Its deleter puts things back.
    for number in 0..60 {
        write(&mesh.root(1), &format!("d/{number}"), &format!("content {number}"));
    }
    mesh.until("nothing is held any more", || [0, 2].iter().all(|at| mesh.folder(*at)["held"] == 0));
    mesh.agree(&ALL);
}

#[test]
fn who_is_taken_out_of_the_config_hears_nothing_more() {
    let mesh = Mesh::running(3, "");
    write(&mesh.root(0), "before", "all are members");
    mesh.hold(&ALL, "before", Some("all are members"));
    mesh.configure(&[0, 1]);
    [0, 1].iter().for_each(|at| mesh.reload(*at));
    mesh.until("it is parted with", || {
        let peers = mesh.folder(0)["peers"].clone();
        peers.as_array().is_some_and(|peers| peers.len() == 1)
    });
    write(&mesh.root(0), "after", "two are left");
    mesh.hold(&[0, 1], "after", Some("two are left"));
    write(&mesh.root(2), "alone", "nobody hears of it");
    write(&mesh.root(0), "later", "a round more");
    mesh.hold(&[0, 1], "later", Some("a round more"));
    assert!(!mesh.root(2).join("after").exists() && !mesh.root(0).join("alone").exists());
}

#[test]
fn a_member_that_sends_takes_nothing_and_one_that_receives_gives_nothing() {
    let mesh = Mesh::running(3, "mode = { \"*\" = \"two-way\", web1 = \"send\", web3 = \"receive\" }\n");
    write(&mesh.root(0), "sent", "by the first");
    write(&mesh.root(1), "both", "by the second");
    write(&mesh.root(2), "drift", "by the third");
    mesh.hold(&ALL[..2], "nothing", None);
    mesh.hold(&[1, 2], "sent", Some("by the first"));
    mesh.hold(&[2], "both", Some("by the second"));
    write(&mesh.root(0), "again", "by the first");
    mesh.hold(&[1, 2], "again", Some("by the first"));
    assert!(!mesh.root(0).join("both").exists(), "the first takes nothing");
    assert!(!mesh.root(0).join("drift").exists() && !mesh.root(1).join("drift").exists());
}

#[test]
fn members_that_are_killed_again_and_again_agree_in_the_end() {
    let mut mesh = Mesh::running(3, "");
    let mut written = Vec::new();
    for round in 0..12_usize {
        for number in 0..40 {
            let (at, path) = ((round + number) % 3, format!("d{}/f{round}-{number}", number % 5));
            let content = format!("round {round}, file {number} ").repeat(1 + number * 40);
            write(&mesh.root(at), &path, &content);
            written.push((path, content));
        }
        mesh.kill(round % 3);
        mesh.start(round % 3);
    }
    for (path, content) in &written {
        mesh.hold(&ALL, path, Some(content));
    }
    mesh.agree(&ALL);
}

#[test]
fn one_that_was_put_back_to_an_earlier_moment_loses_nothing() {
    let mut mesh = Mesh::running(3, "");
    for number in 0..40 {
        write(&mesh.root(0), &format!("d/{number}"), &format!("before {number}"));
    }
    mesh.agree(&ALL);
    mesh.stop(0);
    mesh.snapshot(0, false);
    mesh.start(0);
    for number in 0..20 {
        write(&mesh.root(0), &format!("d/{number}"), &format!("after the snapshot {number}"));
    }
    write(&mesh.root(0), "new", "after the snapshot");
    mesh.hold(&ALL, "new", Some("after the snapshot"));
    mesh.hold(&ALL, "d/19", Some("after the snapshot 19"));
    mesh.agree(&ALL);
    mesh.stop(0);
    mesh.snapshot(0, true);
    // More changes than were forgotten, so that its numbers are ahead again when the others hear of it.
    for number in 20..30 {
        write(&mesh.root(0), &format!("d/{number}"), &format!("after it was put back {number}"));
    }
    for number in 0..60 {
        write(&mesh.root(0), &format!("more/{number}"), &format!("after it was put back {number}"));
    }
    mesh.start(0);
    for number in 20..30 {
        mesh.hold(&ALL, &format!("d/{number}"), Some(&format!("after it was put back {number}")));
    }
    mesh.hold(&ALL, "more/59", Some("after it was put back 59"));
    mesh.hold(&ALL, "new", Some("after the snapshot"));
    mesh.agree(&ALL);
    // What was written between is live, or kept on every member.
    for number in 0..20 {
        let content = format!("after the snapshot {number}");
        let path = mesh.root(1).join(format!("d/{number}"));
        let is_live = fs::read_to_string(path).is_ok_and(|live| live == content);
        let is_kept = tree::kept_contents(&mesh.root(1)).contains(&Digest::of(content.as_bytes()));
        assert!(is_live || is_kept, "d/{number} is neither live nor kept");
    }
}

#[test]
fn what_is_let_in_again_is_heard_of_again() {
    let mut mesh = Mesh::running(2, "");
    write(&mesh.root(0), "logs/a", "one");
    write(&mesh.root(0), "kept", "two");
    mesh.agree(&[0, 1]);
    mesh.stop(1);
    mesh.set_folder("filter = [\"- /logs/\"]\n");
    mesh.start(1);
    mesh.until("it is followed", || mesh.folder(1)["peers"][0]["connected"] == true);
    fs::remove_dir_all(mesh.root(1).join("logs")).expect("remove it");
    write(&mesh.root(1), "after", "the removal was not told");
    mesh.hold(&[0, 1], "after", Some("the removal was not told"));
    mesh.stop(1);
    mesh.set_folder("");
    mesh.start(1);
    mesh.hold(&[0, 1], "logs/a", Some("one"));
    mesh.agree(&[0, 1]);
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
