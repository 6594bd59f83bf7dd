//! What a person asks and decides at a running csyncd: conflicts, held deletions, waiting. Real daemons, real roots.

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
use serde_json::Value;

const ALL: [usize; 3] = [0, 1, 2];
const SECOND: &str = "written on the second";
const THIRD: &str = "written later, on the third";

/// What a node says with `--json`.
fn told(mesh: &Mesh, at: usize, arguments: &[&str]) -> Value {
    let run = mesh.csync(at, &[arguments, &["--json"]].concat()).ends_with(&[0]);
    serde_json::from_str(&run.stdout()).expect("one JSON object")
}

fn conflicts(mesh: &Mesh, at: usize) -> Vec<Value> {
    told(mesh, at, &["conflicts"])["conflicts"].as_array().expect("a list").clone()
}

/// The only conflict that all of `nodes` list, by the same id.
#[track_caller]
fn the_conflict(mesh: &Mesh, nodes: &[usize]) -> String {
    let mut id = String::new();
    mesh.until("one conflict, with one id", || {
        let listed: Vec<Vec<Value>> = nodes.iter().map(|at| conflicts(mesh, *at)).collect();
        id = listed[0].first().map(|one| one["id"].as_str().expect("an id").to_owned()).unwrap_or_default();
        listed.iter().all(|listed| listed.len() == 1 && listed[0]["id"] == id.as_str())
    });
    id
}

#[track_caller]
fn none_open(mesh: &Mesh, nodes: &[usize]) {
    mesh.until("no conflict is open", || nodes.iter().all(|at| conflicts(mesh, *at).is_empty()));
}

/// Three nodes, of which the second and the third wrote `f` at once.
fn in_conflict() -> Mesh {
    let mut mesh = Mesh::running(3, "");
    write(&mesh.root(0), "f", "the ancestor");
    mesh.hold(&ALL, "f", Some("the ancestor"));
    mesh.stop(1);
    mesh.stop(2);
    write(&mesh.root(1), "f", SECOND);
    write(&mesh.root(2), "f", THIRD);
    tree::set_mtime(&mesh.root(1), "f", 1_700_000_000);
    tree::set_mtime(&mesh.root(2), "f", 1_700_000_100);
    mesh.start(1);
    mesh.start(2);
    mesh.hold(&ALL, "f", Some(THIRD));
    mesh
}

#[test]
fn a_conflict_is_settled_on_a_member_that_wrote_neither_and_closed_on_all() {
    let mesh = in_conflict();
    let id = the_conflict(&mesh, &ALL);
    let one = &told(&mesh, 0, &["conflicts", "web"])["conflicts"][0];
    assert_eq!((&one["folder"], &one["path"]), (&"web".into(), &"f".into()), "{one}");
    assert_eq!((&one["local"]["peer"], &one["other"]["peer"]), (&"web3".into(), &"web2".into()), "{one}");
    assert_eq!(conflicts(&mesh, 1)[0]["local"]["peer"], "web2", "what we wrote is ours");
    let at_path = mesh.root(0).join("f");
    assert_eq!(
        told(&mesh, 0, &["conflicts", at_path.to_str().expect("text")])["conflicts"][0]["id"],
        id.as_str()
    );
    let both = mesh.csync(0, &["resolve", &id, "--diff"]).ends_with(&[0]).stdout();
    assert!(both.contains(&format!("-{THIRD}")) && both.contains(&format!("+{SECOND}")), "{both}");
    mesh.csync(0, &["resolve", &id, "--take", "web1"]).ends_with(&[1]);
    mesh.csync(0, &["resolve", &id, "--take", "web9"]).ends_with(&[1]);
    assert_eq!(the_conflict(&mesh, &ALL), id, "nothing was decided yet");
    mesh.csync(0, &["resolve", &id, "--take", "web2"]).ends_with(&[0]);
    mesh.hold(&ALL, "f", Some(SECOND));
    none_open(&mesh, &ALL);
    mesh.agree(&ALL);
    for at in ALL {
        assert!(
            tree::kept_contents(&mesh.root(at)).contains(&Digest::of(THIRD.as_bytes())),
            "{at} kept no loser"
        );
    }
    mesh.csync(0, &["resolve", &id, "--newest"]).ends_with(&[1]);
}

#[test]
fn both_sides_of_a_conflict_may_stay() {
    let mesh = in_conflict();
    the_conflict(&mesh, &ALL);
    mesh.csync(1, &["resolve", "web/f", "--both"]).ends_with(&[0]);
    none_open(&mesh, &ALL);
    let beside = format!("f.conflict-{}", &Digest::of(SECOND.as_bytes()).to_string()[..8]);
    mesh.hold(&ALL, &beside, Some(SECOND));
    mesh.hold(&ALL, "f", Some(THIRD));
}

#[test]
fn two_decisions_at_once_are_a_conflict_again() {
    let mut mesh = in_conflict();
    let id = the_conflict(&mesh, &ALL);
    ALL.iter().for_each(|at| mesh.stop(*at));
    for (at, choice) in [(0, ["--take", "web2"]), (1, ["--take", "web3"])] {
        mesh.start(at);
        mesh.csync(at, &[&["resolve", &id], &choice[..]].concat()).ends_with(&[0]);
        assert!(conflicts(&mesh, at).is_empty());
        mesh.stop(at);
    }
    ALL.iter().for_each(|at| mesh.start(*at));
    let again = the_conflict(&mesh, &ALL);
    assert_ne!(again, id);
    mesh.csync(2, &["resolve", &again, "--take", "web1"]).ends_with(&[0]);
    mesh.hold(&ALL, "f", Some(SECOND));
    none_open(&mesh, &ALL);
}

#[test]
fn conflicts_of_pairs_are_listed_beside_a_running_daemon() {
    let mesh = Mesh::running(1, "");
    let [one, two] = ["one", "two"].map(|name| {
        let root = mesh.state(0).with_file_name(name);
        fs::create_dir(&root).expect("a root");
        root
    });
    write(&one, "f", "one");
    write(&two, "f", "two, longer");
    let roots = [&one, &two].map(|root| root.to_str().expect("text"));
    mesh.csync(0, &["sync", roots[0], roots[1]]).ends_with(&[40]);
    let listed = conflicts(&mesh, 0);
    assert_eq!(listed.len(), 1, "{listed:?}");
    let id = listed[0]["id"].as_str().expect("an id");
    mesh.csync(0, &["resolve", id, "--take", "1"]).ends_with(&[0]);
    assert_eq!(fs::read(two.join("f")).expect("read it"), b"one");
    assert!(conflicts(&mesh, 0).is_empty());
}

/// Three nodes with 100 files, of which the first then lost 60.
fn with_deletions() -> Mesh {
    let mut mesh = Mesh::running(3, "");
    for number in 0..100 {
        write(&mesh.root(0), &format!("f{number}"), &format!("content {number}"));
    }
    mesh.hold(&ALL, "f99", Some("content 99"));
    mesh.agree(&ALL);
    delete(&mut mesh, 0..60);
    mesh
}

/// Deletes these files of the first node while its daemon is down, so that all of them are heard of at once.
fn delete(mesh: &mut Mesh, numbers: std::ops::Range<u32>) {
    mesh.stop(0);
    for number in numbers {
        fs::remove_file(mesh.root(0).join(format!("f{number}"))).expect("remove it");
    }
    mesh.start(0);
}

fn held(mesh: &Mesh, at: usize) -> Vec<Value> {
    told(mesh, at, &["held", "web"])["held"].as_array().expect("a list").clone()
}

/// The plan that the second and the third hold, once it is whole.
#[track_caller]
fn the_plan(mesh: &Mesh, deletes: u64) -> String {
    let mut id = String::new();
    mesh.until("one held plan, with one id", || {
        let listed = [1, 2].map(|at| held(mesh, at));
        id = listed[0].first().map(|one| one["id"].as_str().expect("an id").to_owned()).unwrap_or_default();
        listed.iter().all(|listed| {
            listed.len() == 1
                && listed[0]["id"] == id.as_str()
                && listed[0]["deletes"].as_u64() == Some(deletes)
        })
    });
    id
}

fn files(mesh: &Mesh, at: usize) -> usize {
    (0..100).filter(|number| mesh.root(at).join(format!("f{number}")).exists()).count()
}

#[test]
fn many_deletions_are_held_on_the_others_and_approved_for_all() {
    let mesh = with_deletions();
    let id = the_plan(&mesh, 60);
    assert_eq!([1, 2].map(|at| files(&mesh, at)), [100, 100], "nothing is deleted");
    let plan = &held(&mesh, 1)[0];
    assert_eq!(
        (&plan["folder"], &plan["peer"], &plan["of"]),
        (&"web".into(), &"web1".into(), &100.into()),
        "{plan}"
    );
    assert!(held(&mesh, 0).is_empty(), "who deleted holds nothing");
    assert_eq!(told(&mesh, 2, &["status"])["folders"][0]["held"], 1);
    mesh.csync(1, &["held", "approve", "ffffffff"]).ends_with(&[1]);
    mesh.csync(1, &["held", "approve", &id]).ends_with(&[0]);
    mesh.until("the deletions are everywhere", || ALL.iter().all(|at| files(&mesh, *at) == 40));
    mesh.agree(&ALL);
    mesh.until("nothing is held", || {
        let status = |at: &usize| told(&mesh, *at, &["status"])["folders"][0]["held"] == 0;
        ALL.iter().all(|at| held(&mesh, *at).is_empty()) && ALL.iter().all(status)
    });
    // What was approved is not counted against what comes next.
    fs::remove_file(mesh.root(0).join("f60")).expect("remove it");
    mesh.hold(&ALL, "f60", None);
}

#[test]
fn what_is_rejected_is_back_everywhere() {
    let mesh = with_deletions();
    let id = the_plan(&mesh, 60);
    mesh.csync(2, &["held", "reject", &id]).ends_with(&[0]);
    mesh.until("all files are back", || ALL.iter().all(|at| files(&mesh, *at) == 100));
    mesh.hold(&ALL, "f0", Some("content 0"));
    mesh.agree(&ALL);
    mesh.until("nothing is held", || ALL.iter().all(|at| held(&mesh, *at).is_empty()));
}

#[test]
fn an_approval_reaches_a_member_that_was_away_and_covers_nothing_later() {
    let mut mesh = with_deletions();
    let id = the_plan(&mesh, 60);
    mesh.stop(2);
    mesh.csync(1, &["held", "approve", &id]).ends_with(&[0]);
    mesh.until("the deletions are on the second", || files(&mesh, 1) == 40);
    mesh.stop(1);
    mesh.start(1);
    mesh.start(2);
    mesh.until("the deletions are on the third", || files(&mesh, 2) == 40);
    delete(&mut mesh, 60..95);
    assert_ne!(the_plan(&mesh, 35), id);
    assert_eq!([1, 2].map(|at| files(&mesh, at)), [40, 40]);
}

#[test]
fn wait_returns_when_the_members_have_it_and_names_those_that_have_not() {
    let mut mesh = Mesh::running(3, "");
    for round in 0..5 {
        let path = format!("upload-{round}");
        write(&mesh.root(0), &path, "just closed");
        mesh.csync(0, &["wait", "web", "--timeout", "60s"]).ends_with(&[0]);
        for at in [1, 2] {
            assert!(mesh.root(at).join(&path).exists(), "{path} is not on {at} after the wait");
        }
    }
    mesh.stop(2);
    write(&mesh.root(0), "more", "for those who are there");
    mesh.csync(0, &["wait", "web", "--for", "web2", "--timeout", "60s"]).ends_with(&[0]);
    assert!(mesh.root(1).join("more").exists());
    let late = mesh.csync(0, &["wait", "web", "--all", "--timeout", "200ms"]).ends_with(&[30]);
    assert!(late.stderr().contains("web3") && !late.stderr().contains("web2"), "{late}");
    assert_eq!(
        told(&mesh, 0, &["wait", "web", "--for", "web2", "web2"])["waiting"],
        Value::Array(Vec::new())
    );
    for (case, arguments, code) in [
        ("unknown folder", &["wait", "nothing"][..], 3),
        ("bad duration", &["wait", "web", "--timeout", "soon"], 1),
        ("no folder", &["wait"], 1),
        ("no member", &["wait", "web", "--for", "web9"], 1),
        ("both", &["wait", "web", "--for", "web2", "--all"], 1),
        ("held of an unknown folder", &["held", "nothing"], 3),
        ("later", &["log", "web"], 1),
        ("later", &["why", "web/f"], 1),
    ] {
        let run = mesh.csync(0, arguments);
        assert_eq!(run.code(), Some(code), "{case}: {run}");
    }
}
