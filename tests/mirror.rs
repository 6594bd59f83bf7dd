//! One-way runs by the real program: what `push`, `pull` and `diff` promise, without rsync.
#![allow(clippy::disallowed_methods, reason = "a test is the user who changes the tree by path")]
#![allow(clippy::expect_used, reason = "a helper of a test may stop the test")]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

#[path = "support/sandbox.rs"]
mod sandbox;

use sandbox::Sandbox;

fn names(sandbox: &Sandbox, dir: &str) -> Vec<String> {
    let list = fs::read_dir(sandbox.path(dir)).expect("list a directory");
    let mut names: Vec<String> = list
        .map(|entry| entry.expect("list a directory").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn write(sandbox: &Sandbox, path: &str, content: &str) {
    let path = sandbox.path(path);
    fs::create_dir_all(path.parent().expect("a parent")).expect("make the parents");
    fs::write(path, content).expect("write a file");
}

#[test]
fn a_trailing_slash_means_the_contents() {
    for (case, source, expected) in [("itself", "a", vec!["a"]), ("contents", "a/", vec!["d", "f"])] {
        let sandbox = Sandbox::new();
        write(&sandbox, "a/f", "1");
        write(&sandbox, "a/d/g", "2");
        assert_eq!(sandbox.run(&["push", source, "b"]).code(), Some(0), "{case}");
        assert_eq!(names(&sandbox, "b"), expected, "{case}");
        assert_eq!(sandbox.run(&["pull", source, "made"]).code(), Some(0), "{case}");
        assert_eq!(names(&sandbox, "made"), expected, "{case}");
    }
}

#[test]
fn missing_operands_end_the_run_with_three_and_nothing_done() {
    for (case, arguments) in [
        ("source", &["push", "a/", "nope", "b"][..]),
        ("parent of the destination", &["push", "a/", "nope/b"]),
        ("a file as destination", &["push", "a/", "a/f"]),
    ] {
        let sandbox = Sandbox::new();
        write(&sandbox, "a/f", "1");
        assert_eq!(sandbox.run(arguments).code(), Some(3), "{case}");
        assert!(names(&sandbox, "b").is_empty(), "{case}");
    }
}

#[test]
fn too_many_deletions_are_held_and_updates_still_come() {
    for (case, more, code, left) in [
        ("the guard", &[][..], 25, 30),
        ("let through", &["--yes"], 0, 1),
        ("a number", &["--max-delete", "29"], 0, 1),
        ("a smaller number", &["--max-delete", "28"], 25, 30),
        ("never", &["--max-delete", "0"], 25, 30),
    ] {
        let sandbox = Sandbox::new();
        (0..30).for_each(|number| write(&sandbox, &format!("b/{number}"), "old"));
        write(&sandbox, "a/7", "other");
        let run = sandbox.run(&[&["push", "--delete", "a/", "b"], more].concat());
        assert_eq!(run.code(), Some(code), "{case}");
        assert_eq!(names(&sandbox, "b").len(), left, "{case}");
        assert_eq!(fs::read_to_string(sandbox.path("b/7")).expect("read"), "other", "{case}");
    }
}

#[test]
fn nothing_of_csync_is_left_and_nothing_is_written_to_the_source() {
    let sandbox = Sandbox::new();
    write(&sandbox, "a/f", "1");
    let before = fs::metadata(sandbox.a()).expect("look").mtime_nsec();
    assert_eq!(sandbox.run(&["push", "a/", "b"]).code(), Some(0));
    assert_eq!(names(&sandbox, "b"), ["f"]);
    assert_eq!(names(&sandbox, "a"), ["f"]);
    assert_eq!(fs::metadata(sandbox.a()).expect("look").mtime_nsec(), before);
}

#[test]
fn a_planted_private_directory_is_refused() {
    let sandbox = Sandbox::new();
    write(&sandbox, "a/f", "1");
    fs::create_dir(sandbox.path("elsewhere")).expect("make a directory");
    symlink("../elsewhere", sandbox.path("b/.csync")).expect("make a symlink");
    assert_eq!(sandbox.run(&["push", "a/", "b"]).code(), Some(11));
    assert!(names(&sandbox, "elsewhere").is_empty());
    assert_eq!(names(&sandbox, "b"), [".csync"]);
}

#[test]
fn the_outside_name_of_a_hard_link_keeps_content_and_mode() {
    for (case, content) in [("content", "new content"), ("attributes alone", "old")] {
        let sandbox = Sandbox::new();
        write(&sandbox, "outside", "old");
        fs::hard_link(sandbox.path("outside"), sandbox.path("b/f")).expect("link");
        write(&sandbox, "a/f", content);
        fs::set_permissions(sandbox.path("a/f"), fs::Permissions::from_mode(0o600)).expect("set the mode");
        assert_eq!(sandbox.run(&["push", "-c", "a/", "b"]).code(), Some(0), "{case}");
        let [outside, inside] =
            ["outside", "b/f"].map(|name| fs::metadata(sandbox.path(name)).expect("look"));
        assert_eq!(fs::read_to_string(sandbox.path("outside")).expect("read"), "old", "{case}");
        assert_eq!(outside.mode() & 0o777, 0o644, "{case}");
        assert_eq!(inside.mode() & 0o777, 0o600, "{case}");
        assert_ne!(outside.ino(), inside.ino(), "{case}");
    }
}

#[test]
fn a_dry_run_tells_what_the_run_does_and_touches_nothing() {
    let sandbox = Sandbox::new();
    write(&sandbox, "a/d/f", "1");
    write(&sandbox, "b/gone", "2");
    let dry = sandbox.run(&["push", "-n", "-i", "--delete", "--yes", "a/", "b"]);
    assert_eq!(names(&sandbox, "b"), ["gone"]);
    let run = sandbox.run(&["push", "-i", "--delete", "--yes", "a/", "b"]);
    assert_eq!(dry.stdout(), run.stdout());
    assert!(run.stdout().contains("*deleting   gone\n") && run.stdout().contains("cd+++++++++ d/\n"));
    assert_eq!(sandbox.run(&["push", "-i", "--delete", "a/", "b"]).stdout(), "");
}

#[test]
fn several_sources_are_one_tree_and_none_deletes_anothers() {
    let sandbox = Sandbox::new();
    write(&sandbox, "a/same", "first");
    write(&sandbox, "c/same", "second");
    write(&sandbox, "c/other", "2");
    write(&sandbox, "b/old", "3");
    let run = sandbox.run(&["push", "-i", "--delete", "--yes", "a/", "c/", "b"]);
    assert_eq!(names(&sandbox, "b"), ["other", "same"]);
    assert_eq!(fs::read_to_string(sandbox.path("b/same")).expect("read"), "first");
    assert_eq!(run.stdout().matches("*deleting").count(), 1);
}

#[test]
fn a_directory_in_the_way_goes_only_with_delete() {
    for (case, more, code) in [("kept", &[][..], 23), ("deleted", &["--delete", "--yes"], 0)] {
        let sandbox = Sandbox::new();
        write(&sandbox, "a/x", "a file");
        write(&sandbox, "b/x/inside", "1");
        assert_eq!(sandbox.run(&[&["push", "a/", "b"], more].concat()).code(), Some(code), "{case}");
        assert_eq!(sandbox.path("b/x").is_file(), code == 0, "{case}");
    }
}

#[test]
fn diff_tells_and_exits_with_forty() {
    let sandbox = Sandbox::new();
    write(&sandbox, "a/f", "1");
    write(&sandbox, "b/g", "2");
    let run = sandbox.run(&["diff", "a", "b"]);
    assert_eq!(run.code(), Some(40));
    assert_eq!(run.stdout(), ">f+++++++++ f\n*deleting   g\n");
    assert_eq!(sandbox.run(&["push", "--delete", "--yes", "a/", "b"]).code(), Some(0));
    let run = sandbox.run(&["diff", "--json", "a", "b"]);
    assert_eq!((run.code(), run.stdout().contains("\"entries\":[]")), (Some(0), true));
}

#[test]
fn a_run_tells_how_long_it_took() {
    for verb in ["push", "pull"] {
        let sandbox = Sandbox::new();
        // A few hundred files take more than the millisecond that is told.
        (0..300).for_each(|number| write(&sandbox, &format!("a/{number}"), "content"));
        let run = sandbox.run(&[verb, "--json", "a/", "b"]);
        let told: serde_json::Value = serde_json::from_str(run.stdout().lines().last().unwrap_or_default())
            .expect("the summary is JSON");
        assert!(told["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{run}");
    }
}

#[test]
fn an_emptied_root_is_called_that_and_not_a_number() {
    let sandbox = Sandbox::new();
    (0..3).for_each(|number| write(&sandbox, &format!("b/{number}"), "old"));
    sandbox.run(&["push", "--delete", "a/", "b"]).ends_with(&[25]).says(&[
        "would empty the destination",
        "all of its 3 entries",
        "--yes",
    ]);
    assert_eq!(names(&sandbox, "b").len(), 3);
    sandbox.sync(&[]).ends_with(&[0]);
    for number in 0..3 {
        fs::remove_file(sandbox.path(&format!("a/{number}"))).expect("remove a file");
    }
    let run = sandbox.sync(&[]).ends_with(&[25]).says(&["would empty"]);
    assert!(!run.stderr().contains("are held"), "{run}");
}

#[test]
fn a_dry_run_knows_which_directories_stay_for_the_backups_in_them() {
    let sandbox = Sandbox::new();
    for path in ["b/d/f", "b/d/sub/g", "b/x/inside", "b/old"] {
        write(&sandbox, path, "old");
    }
    for path in ["b/empty/deep", "b/d/bare"] {
        fs::create_dir_all(sandbox.path(path)).expect("make directories");
    }
    write(&sandbox, "a/x", "a file where a directory is");
    let arguments = ["push", "-b", "--delete", "--yes", "-i", "a/", "b"];
    let dry = sandbox.run(&[&arguments[..], &["-n"]].concat());
    let run = sandbox.run(&arguments);
    assert_eq!((dry.code(), dry.stdout()), (run.code(), run.stdout()), "{dry}{run}");
    let told = run.stdout();
    for gone in ["d/f", "d/sub/g", "d/bare/", "empty/deep/", "empty/", "old"] {
        assert!(told.contains(&format!("*deleting   {gone}\n")), "{gone}: {run}");
    }
    assert!(!told.contains("*deleting   d/\n") && !told.contains("*deleting   d/sub/\n"), "{run}");
    assert_eq!(names(&sandbox, "b"), ["d", "old~", "x"]);
    assert_eq!(names(&sandbox, "b/d"), ["f~", "sub"]);
}

#[test]
fn deep_differences_are_those_of_contents_and_directory_times_are_none() {
    let sandbox = Sandbox::new();
    for (root, content, time) in [("a", "one", 1_000_000_000), ("b", "two", 1_100_000_000)] {
        write(&sandbox, &format!("{root}/d/f"), content);
        let moment = std::time::UNIX_EPOCH + std::time::Duration::from_secs(time);
        let same = std::time::UNIX_EPOCH + std::time::Duration::from_secs(900_000_000);
        for (path, at) in [("d/f", same), ("d", moment)] {
            let file = fs::File::open(sandbox.path(root).join(path)).expect("open");
            file.set_modified(at).expect("set a time");
        }
    }
    let run = sandbox.run(&["diff", "a", "b"]);
    assert_eq!((run.code(), run.stdout().as_str()), (Some(0), ""), "{run}");
    let [deep, checksum] = ["--deep", "-c"].map(|flag| sandbox.run(&["diff", flag, "a", "b"]));
    assert_eq!(deep.stdout(), ">fc........ d/f\n", "{deep}");
    assert_eq!((deep.code(), deep.stdout()), (checksum.code(), checksum.stdout()));
    assert_eq!(deep.code(), Some(40));
    let json = sandbox.run(&["diff", "--deep", "--json", "a", "b"]);
    let told: serde_json::Value = serde_json::from_str(&json.stdout()).expect("JSON");
    assert_eq!(
        told,
        serde_json::json!({ "schema": 1, "entries": [{ "path": "d/f", "item": ">fc........" }] })
    );
    assert_eq!(json.code(), Some(40));
    assert_eq!(sandbox.run(&["diff", "a", "nope"]).code(), Some(3));
    write(&sandbox, "a/file", "1");
    assert_eq!(sandbox.run(&["diff", "a", "a/file"]).code(), Some(3));
}
