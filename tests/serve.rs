//! A folder served over a real connection: what a guest may list, fetch and change, and what holds when it is wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]
#![allow(clippy::wildcard_enum_match_arm, reason = "whatever else comes is out of turn")]
#![allow(clippy::disallowed_methods, reason = "a test is the user who changes the tree by path")]

#[path = "serve/guest.rs"]
mod guest;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use csync::config::settings::{Mode, OwnerRule};
use csync::model::entry::{Content, Kind};
use csync::model::metadata::{Attributes, Timestamp};
use csync::plan::guard::Limit;
use csync::transport::message::{Act, Carried, Change, Code, Message, Right, Step, StepResult};

use guest::{ALL, Guest, Node, code_of, done, file, path};

fn remove(guest: &Guest, at: &str) -> Step {
    Step { path: path(at), expect: guest.seq(at), act: Act::Remove { moved_to: None } }
}

#[test]
fn a_guest_sees_what_stands_and_then_only_what_is_new() {
    let node = Node::new(|_| ());
    fs::create_dir(node.root().join("dir")).unwrap();
    for name in ["dir/b", "dir/a", "top"] {
        fs::write(node.root().join(name), name).unwrap();
    }
    let mut guest = node.guest(Right::Read).unwrap();
    assert_eq!(guest.opened.entries, 4);
    let (rows, complete) = guest.list(0, "", None);
    assert_eq!(
        rows.iter().map(|row| row.path.to_string()).collect::<Vec<_>>(),
        ["dir", "dir/a", "dir/b", "top"]
    );
    assert_eq!(complete, guest.opened.seq);
    let (below, _) = guest.list(0, "dir", None);
    assert_eq!(below.iter().map(|row| row.path.to_string()).collect::<Vec<_>>(), ["dir", "dir/a", "dir/b"]);
    let (rest, _) = guest.list(0, "", Some("dir/a"));
    assert_eq!(rest.len(), 2);
    fs::write(node.root().join("dir/a"), "changed").unwrap();
    fs::remove_file(node.root().join("top")).unwrap();
    drop(guest);
    guest = node.guest(Right::Read).unwrap();
    let (news, _) = guest.list(complete, "", None);
    assert_eq!(news.iter().map(|row| row.path.to_string()).collect::<Vec<_>>(), ["dir/a", "top"]);
    assert!(news[1].row.tombstone().is_some());
    assert_eq!(guest.list(0, "", None).0.len(), 3, "no tombstones at first");
}

#[test]
fn many_rows_come_in_pages_and_in_order() {
    let node = Node::new(|_| ());
    for at in 0..2500 {
        fs::write(node.root().join(format!("file{at:05}")), "").unwrap();
    }
    let mut guest = node.guest(Right::Read).unwrap();
    let (rows, _) = guest.list(0, "", None);
    assert_eq!(rows.len(), 2500);
    assert!(rows.windows(2).all(|pair| pair[0].path < pair[1].path));
}

#[test]
fn contents_are_given_as_they_were_listed_and_not_otherwise() {
    let node = Node::new(|_| ());
    fs::write(node.root().join("kept"), "the content").unwrap();
    fs::write(node.root().join("edited"), "before").unwrap();
    let mut guest = node.guest(Right::Read).unwrap();
    guest.list(0, "", None);
    fs::write(node.root().join("edited"), "afterwards").unwrap();
    guest.fetch("kept", guest.seq("kept")).unwrap();
    guest.fetch("edited", guest.seq("edited")).unwrap_err();
    guest.fetch("kept", guest.seq("kept") + 100).unwrap_err();
    guest.fetch("../kept-outside", 1).unwrap_err();
}

#[test]
fn a_guest_makes_changes_that_are_recorded_as_the_nodes_own() {
    let node = Node::new(|_| ());
    let mut guest = node.guest(Right::Write).unwrap();
    let dressed = Attributes { mode: 0o750, mtime: Timestamp::new(1_000_000, 5), ..guest.own() };
    let results = guest.change(vec![
        guest.make("dir", Content::Dir, dressed),
        guest.make("dir/file", file("hello"), Attributes { mode: 0o640, ..dressed }),
        guest.make("link", Content::Symlink(b"dir/file"[..].into()), dressed),
        guest.make("large", file(&"0123456789".repeat(300_000)), dressed),
    ]);
    for result in &results {
        let (seq, row) = done(result);
        let live = row.live().unwrap();
        assert_eq!((live.content.dot.replica, live.content.dot.counter), (guest.opened.replica, seq));
    }
    let settled = guest.settle();
    assert!(settled.alone);
    assert_eq!(fs::read(node.root().join("dir/file")).unwrap(), b"hello");
    assert_eq!(fs::read_link(node.root().join("link")).unwrap().to_str(), Some("dir/file"));
    assert_eq!(fs::metadata(node.root().join("large")).unwrap().len(), 3_000_000);
    let (dir, inner) =
        (fs::metadata(node.root().join("dir")).unwrap(), fs::metadata(node.root().join("dir/file")).unwrap());
    assert_eq!((dir.mode() & 0o7777, dir.mtime(), dir.mtime_nsec()), (0o750, 1_000_000, 5));
    assert_eq!((inner.mode() & 0o7777, inner.mtime()), (0o640, 1_000_000));
    let cursor = settled.seq;
    drop(guest);
    let mut guest = node.guest(Right::Read).unwrap();
    assert_eq!(guest.list(cursor, "", None).0, [], "nothing of it looks like an edit");
}

#[test]
fn what_is_the_same_already_stays_as_it_is() {
    let node = Node::new(|_| ());
    let mut guest = node.guest(Right::Write).unwrap();
    let step = guest.make("file", file("same"), guest.own());
    let (first, _) = done(&guest.change(vec![step])[0]);
    let step = guest.make("file", file("same"), guest.own());
    let (second, _) = done(&guest.change(vec![step])[0]);
    assert_eq!(first, second);
}

#[test]
fn a_change_of_what_the_guest_does_not_know_does_nothing_and_tells() {
    let node = Node::new(|_| ());
    fs::write(node.root().join("file"), "first").unwrap();
    let mut guest = node.guest(Right::Write).unwrap();
    guest.list(0, "", None);
    let stale = guest.seq("file");
    let mut other = node.guest(Right::Write).unwrap();
    other.list(0, "", None);
    let step = other.make("file", file("second"), other.own());
    done(&other.change(vec![step])[0]);
    for (case, expect) in [("an older state", stale), ("nothing", 0), ("a later state", 1_000_000)] {
        let step = Step { expect, ..guest.make("file", file("third"), guest.own()) };
        match &guest.change(vec![step])[0] {
            StepResult::Changed { now: Some((seq, row)) } => {
                assert_eq!(*seq, other.seq("file"), "{case}");
                assert_eq!(row.live().unwrap().content.value, file("second"), "{case}");
            }
            other => panic!("{case}: {other:?}"),
        }
    }
    assert_eq!(fs::read(node.root().join("file")).unwrap(), b"second");
}

#[test]
fn what_a_guest_changed_itself_it_may_change_again_before_it_has_heard_of_it() {
    let node = Node::new(|_| ());
    fs::write(node.root().join("file"), "first").unwrap();
    let mut guest = node.guest(Right::Write).unwrap();
    guest.list(0, "", None);
    let known = guest.seq("file");
    for text in ["second", "third"] {
        let step = Step { expect: known, ..guest.make("file", file(text), guest.own()) };
        done(&guest.change(vec![step])[0]);
    }
    assert_eq!(fs::read(node.root().join("file")).unwrap(), b"third");
}

#[test]
fn an_edit_on_the_disk_that_nobody_looked_at_is_not_overwritten() {
    let node = Node::new(|_| ());
    fs::write(node.root().join("file"), "first").unwrap();
    let mut guest = node.guest(Right::Write).unwrap();
    guest.list(0, "", None);
    fs::write(node.root().join("file"), "by the user").unwrap();
    let step = guest.make("file", file("by the guest"), guest.own());
    code_of(&guest.change(vec![step])[0]);
    assert_eq!(fs::read(node.root().join("file")).unwrap(), b"by the user");
}

#[test]
fn what_is_replaced_or_deleted_is_kept_as_a_version() {
    for (case, keep, right, kept) in [
        ("a folder with versions", true, Right::Write, 2),
        ("a folder without", false, Right::Write, 0),
        ("append always keeps", false, Right::Append, 2),
    ] {
        let node = Node::new(|settings| settings.keep = keep);
        for name in ["replaced", "deleted", "other"] {
            fs::write(node.root().join(name), name).unwrap();
        }
        node.grant(right);
        let mut guest = node.guest(Right::Write).unwrap();
        guest.list(0, "", None);
        let steps = vec![guest.make("replaced", file("new"), guest.own()), remove(&guest, "deleted")];
        guest.deletes(steps, 1, false).iter().for_each(|result| {
            done(result);
        });
        assert_eq!(node.versions(), kept, "{case}");
    }
}

#[test]
fn a_rights_table_and_a_mode_are_obeyed() {
    let node = Node::new(|_| ());
    let mut guest = node.guest(Right::Read).unwrap();
    let step = guest.make("file", file("1"), guest.own());
    assert_eq!(guest.refused_change(vec![step]), Code::Denied);
    for (case, mode, primary, code) in [
        ("send", Mode::Send, true, Some(Code::Denied)),
        ("primary elsewhere", Mode::Primary, false, Some(Code::NotPrimary)),
        ("primary here", Mode::Primary, true, None),
        ("receive", Mode::Receive, true, None),
    ] {
        let node = Node::new(|settings| {
            settings.mode = mode;
            settings.is_primary = primary;
        });
        assert_eq!(node.guest(Right::Write).err().map(|refuse| refuse.code), code, "{case}");
        assert!(node.guest(Right::Read).is_ok(), "{case}");
    }
}

#[test]
fn more_than_was_granted_is_refused_when_the_folder_is_opened() {
    let node = Node::new(|_| ());
    node.grant(Right::Read);
    assert_eq!(node.guest(Right::Append).unwrap_err().code, Code::Denied);
    assert_eq!(node.guest_of("nowhere", Right::Read).unwrap_err().code, Code::Missing);
}

#[test]
fn deletions_are_held_by_the_guard_of_the_folder() {
    let node = Node::new(|settings| settings.hold_above = Limit::Count(5));
    for at in 0..20 {
        fs::write(node.root().join(format!("file{at}")), at.to_string()).unwrap();
    }
    let mut guest = node.guest(Right::Write).unwrap();
    guest.list(0, "", None);
    let removals = |guest: &Guest, from: usize, to: usize| -> Vec<Step> {
        (from..to).map(|at| remove(guest, &format!("file{at}"))).collect()
    };
    let held = |results: &[StepResult]| results.iter().all(|result| code_of(result) == Code::Held);
    assert!(held(&guest.deletes(removals(&guest, 0, 3), 0, false)), "not announced");
    assert!(held(&guest.deletes(removals(&guest, 0, 3), 6, false)), "six are to come");
    guest.deletes(removals(&guest, 0, 3), 3, false).iter().for_each(|result| {
        done(result);
    });
    drop(guest);
    let mut guest = node.guest(Right::Write).unwrap();
    guest.list(0, "", None);
    assert!(held(&guest.deletes(removals(&guest, 3, 6), 3, false)), "three and three within ten minutes");
    guest.deletes(removals(&guest, 3, 12), 9, true).iter().for_each(|result| {
        done(result);
    });
    assert!(held(&guest.deletes(removals(&guest, 12, 20), 8, true)), "an emptied root, whoever approved");
    assert_eq!(fs::read_dir(node.root()).unwrap().count(), 8 + 1);
}

#[test]
fn a_rename_is_no_deletion() {
    let node = Node::new(|settings| settings.hold_above = Limit::Count(0));
    fs::write(node.root().join("old"), "content").unwrap();
    fs::write(node.root().join("other"), "another").unwrap();
    let mut guest = node.guest(Right::Write).unwrap();
    guest.list(0, "", None);
    let mut make = guest.make("new", file("content"), guest.own());
    if let Act::Make { from, .. } = &mut make.act {
        *from = Some(path("old"));
    }
    done(&guest.change(vec![make])[0]);
    let moved =
        |from: &str, to: &str| Step { act: Act::Remove { moved_to: Some(path(to)) }, ..remove(&guest, from) };
    let steps = vec![moved("old", "new"), moved("other", "new")];
    let results = guest.deletes(steps, 0, false);
    assert_eq!(code_of(&results[0]), Code::Held, "the second is no rename, and the batch is judged whole");
    let step = Step { act: Act::Remove { moved_to: Some(path("new")) }, ..remove(&guest, "old") };
    done(&guest.deletes(vec![step], 0, false)[0]);
    assert!(!node.root().join("old").exists() && node.root().join("other").exists());
}

#[test]
fn a_tree_goes_children_first_and_a_directory_that_holds_something_stays() {
    let node = Node::new(|_| ());
    for dir in ["gone/deep", "stays"] {
        fs::create_dir_all(node.root().join(dir)).unwrap();
        fs::write(node.root().join(dir).join("file"), dir).unwrap();
    }
    let mut guest = node.guest(Right::Write).unwrap();
    guest.list(0, "", None);
    let steps = ["gone/deep/file", "gone/deep", "gone", "stays"].map(|at| remove(&guest, at)).to_vec();
    let results = guest.deletes(steps, 4, false);
    results[..3].iter().for_each(|result| {
        done(result);
    });
    assert_eq!(code_of(&results[3]), Code::Unacceptable);
    assert!(!node.root().join("gone").exists() && node.root().join("stays/file").exists());
}

#[test]
fn a_directory_and_a_file_take_each_others_place_in_one_batch() {
    let node = Node::new(|_| ());
    fs::create_dir(node.root().join("dir")).unwrap();
    fs::write(node.root().join("dir/inner"), "1").unwrap();
    fs::write(node.root().join("file"), "2").unwrap();
    let mut guest = node.guest(Right::Write).unwrap();
    guest.list(0, "", None);
    let steps = vec![
        remove(&guest, "dir/inner"),
        guest.make("dir", file("now a file"), guest.own()),
        guest.make("file", Content::Dir, Attributes { mode: 0o755, ..guest.own() }),
        guest.make("file/inner", file("3"), guest.own()),
    ];
    guest.deletes(steps, 1, false).iter().for_each(|result| {
        done(result);
    });
    assert_eq!(fs::read(node.root().join("dir")).unwrap(), b"now a file");
    assert_eq!(fs::read(node.root().join("file/inner")).unwrap(), b"3");
}

#[test]
fn what_a_folder_does_not_take_is_refused_or_left_off() {
    let node = Node::new(|settings| {
        settings.scope = guest::scope(&["- *.tmp"]);
        settings.owner = OwnerRule::None;
    });
    let mut guest = node.guest(Right::Write).unwrap();
    let own = guest.own();
    let pipe = Content::Device { kind: Kind::CharDevice, rdev: 0x103 };
    for (case, step, code) in [
        ("filtered", guest.make("a.tmp", file("1"), own), Code::Unacceptable),
        ("no directory", guest.make("no/file", file("1"), own), Code::Missing),
        ("a device", guest.make("null", pipe, own), Code::Unacceptable),
        ("a socket", guest.make("socket", Content::Socket, own), Code::Unacceptable),
    ] {
        assert_eq!(code_of(&guest.change(vec![step])[0]), code, "{case}");
    }
    let step = guest.make("tool", file("#!"), Attributes { mode: 0o6755, ..own });
    done(&guest.change(vec![step])[0]);
    assert_eq!(fs::metadata(node.root().join("tool")).unwrap().mode() & 0o7777, 0o755);
    assert!(node.marker_is_whole());
}

#[test]
fn set_id_bits_are_taken_where_the_folder_trusts() {
    let node = Node::new(|settings| settings.trust_root = true);
    let mut guest = node.guest(Right::Write).unwrap();
    assert!(guest.opened.trusted);
    let step = guest.make("tool", file("#!"), Attributes { mode: 0o4755, ..guest.own() });
    done(&guest.change(vec![step])[0]);
    assert_eq!(fs::metadata(node.root().join("tool")).unwrap().mode() & 0o7777, 0o4755);
}

#[test]
fn the_root_itself_can_be_dressed() {
    let node = Node::new(|_| ());
    let mut guest = node.guest(Right::Write).unwrap();
    let attributes = Attributes { mode: 0o711, ..guest.own() };
    let act = Act::Dress { attributes, which: Carried { mode: true, ..Carried::default() } };
    let results = guest.change(vec![Step { path: path(""), expect: 0, act }]);
    assert!(matches!(&results[0], StepResult::Done { seq: 0, .. }), "{results:?}");
    assert_eq!(fs::metadata(node.root()).unwrap().permissions().mode() & 0o777, 0o711);
}

#[test]
fn a_directory_that_is_dressed_as_it_was_gets_its_time_again_after_changes_in_it() {
    let node = Node::new(|_| ());
    let mut guest = node.guest(Right::Write).unwrap();
    let then = Attributes { mode: 0o755, mtime: Timestamp::new(1_000_000, 5), ..guest.own() };
    let steps = vec![guest.make("dir", Content::Dir, then), guest.make("dir/file", file("1"), guest.own())];
    guest.change(steps).iter().for_each(|result| drop(done(result)));
    guest.settle();
    guest.list(0, "", None);
    let replaced = guest.make("dir/file", file("2"), guest.own());
    let act = Act::Dress { attributes: then, which: Carried { mtime: true, ..Carried::default() } };
    let dressed = Step { path: path("dir"), expect: guest.seq("dir"), act };
    guest.change(vec![replaced, dressed]).iter().for_each(|result| drop(done(result)));
    guest.settle();
    let dir = fs::metadata(node.root().join("dir")).unwrap();
    assert_eq!((dir.mtime(), dir.mtime_nsec()), (1_000_000, 5));
}

#[test]
fn attributes_that_are_not_carried_stay_as_they_are() {
    let node = Node::new(|_| ());
    fs::write(node.root().join("file"), "1").unwrap();
    fs::set_permissions(node.root().join("file"), fs::Permissions::from_mode(0o604)).unwrap();
    let mut guest = node.guest(Right::Write).unwrap();
    guest.list(0, "", None);
    let mut step = guest.make("file", file("2"), Attributes { mode: 0o777, ..guest.own() });
    if let Act::Make { which, .. } = &mut step.act {
        *which = Carried { mtime: true, ..Carried::default() };
    }
    done(&guest.change(vec![step])[0]);
    assert_eq!(fs::metadata(node.root().join("file")).unwrap().mode() & 0o777, 0o604);
}

#[test]
fn content_that_is_not_what_was_announced_is_not_placed() {
    let node = Node::new(|_| ());
    let mut guest = node.guest(Right::Write).unwrap();
    let lie = guest.make(
        "lie",
        Content::File { digest: csync::model::entry::Digest([7; 32]), size: 4 },
        guest.own(),
    );
    guest.pretend([7; 32], b"this");
    let results = guest.change(vec![lie, guest.make("truth", file("truth"), guest.own())]);
    code_of(&results[0]);
    done(&results[1]);
    assert!(!node.root().join("lie").exists() && node.root().join("truth").exists());
}

#[test]
fn batches_take_effect_in_their_order_however_they_arrive() {
    let node = Node::new(|_| ());
    let mut guest = node.guest(Right::Write).unwrap();
    let own = Attributes { mode: 0o755, ..guest.own() };
    let second = guest.begin(1, vec![guest.make("dir/file", file("1"), own)]);
    let first = guest.begin(0, vec![guest.make("dir", Content::Dir, own)]);
    let (first, second) = (guest.end(first), guest.end(second));
    done(&first[0]);
    done(&second[0]);
    guest.number(2);
    let step = guest.make("later", file("2"), own);
    done(&guest.change(vec![step])[0]);
}

#[test]
fn who_breaks_the_protocol_loses_the_connection_and_nobody_else_does() {
    let node = Node::new(|_| ());
    fs::write(node.root().join("file"), "1").unwrap();
    let mut other = node.guest(Right::Write).unwrap();
    for (case, message) in [
        ("an outcome as request", Message::End),
        ("a batch out of order", {
            let steps = Vec::new();
            Message::Change(Change {
                number: 1_000,
                steps,
                names: Default::default(),
                deletes: 0,
                approved: false,
                whole: false,
            })
        }),
    ] {
        let guest = node.guest(Right::Write).unwrap();
        let mut channel = guest.link.channel().unwrap();
        channel.send(&message).unwrap();
        channel.wait().unwrap_err();
        let ended = guest.link.ended().unwrap();
        assert_eq!(ended.code(), Code::Protocol, "{case}: {ended}");
    }
    let guest = node.guest(Right::Read).unwrap();
    guest.breach_control();
    assert_eq!(other.list(0, "", None).0.len(), 1);
    let step = other.make("new", file("1"), other.own());
    done(&other.change(vec![step])[0]);
}

#[test]
fn a_root_that_is_gone_halts_the_folder_and_deletes_nothing() {
    let node = Node::new(|_| ());
    fs::write(node.root().join("file"), "1").unwrap();
    let mut guest = node.guest(Right::Write).unwrap();
    guest.list(0, "", None);
    let away = node.root().with_extension("away");
    fs::rename(node.root(), &away).unwrap();
    fs::create_dir(node.root()).unwrap();
    assert_eq!(guest.refused_change(vec![remove(&guest, "file")]), Code::Halted);
    assert_eq!(node.guest(Right::Read).unwrap_err().code, Code::Halted);
    assert!(away.join("file").exists());
    assert_eq!(ALL, Carried { mode: true, user: true, group: true, mtime: true });
}
