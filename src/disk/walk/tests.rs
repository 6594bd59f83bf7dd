use std::path::Path;

use super::*;
use crate::disk::root::Root;
use crate::rules::filter::FilterBuilder;

/// Returns rules that leave out every name that starts with `no`, and read `.rules` in each directory.
fn rules() -> Arc<Scope> {
    let mut rules = FilterBuilder::new(false);
    assert!(rules.rule(b": .rules").unwrap().is_none());
    assert!(rules.rule(b"- no*").unwrap().is_none());
    rules.build().unwrap()
}

fn options() -> WalkOptions {
    WalkOptions {
        threads: 2,
        cross_mounts: false,
        recurse: true,
        skip_private: true,
        start: RelPath::root(),
        scope: rules(),
        hides: Hides::Sender,
        only: None,
        window: Window::default(),
    }
}

fn open(path: &Path) -> Arc<Root> {
    Arc::new(Root::open(path).unwrap())
}

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

/// Returns the walk as one line per step.
fn lines(walk: impl Iterator<Item = Step>) -> Vec<String> {
    walk.map(|step| match step {
        Step::Entry(entry) => {
            let dir = entry.dir.map_or(String::new(), |dir| {
                let only: Vec<_> =
                    dir.only_beside.iter().map(|(name, _)| String::from_utf8_lossy(name)).collect();
                format!("/{}{}", if dir.complete { "" } else { "?" }, only.join(","))
            });
            format!("{}{dir}{}", entry.path, if entry.beside.is_some() { "=" } else { "" })
        }
        Step::Excluded { path, .. } => format!("-{path}"),
        Step::Unreadable { path, .. } => format!("?{path}"),
        Step::Unnameable { dir, .. } => format!("??{dir}"),
        Step::Mount { path, .. } => format!("m{path}"),
    })
    .collect()
}

/// Makes a random tree and returns its paths, the root's included.
fn random_tree(at: &Path, random: &mut fastrand::Rng) -> Vec<RelPath> {
    let mut dirs = vec![RelPath::root()];
    let mut all = dirs.clone();
    for _ in 0..random.usize(1..120) {
        let dir = random.choice(&dirs).unwrap().clone();
        let name: Vec<u8> =
            (0..random.usize(1..4)).map(|_| *random.choice(b"ab.-0\xe9\x01 ").unwrap()).collect();
        let Ok(new) = dir.join(&name) else { continue };
        if all.contains(&new) {
            continue;
        }
        let os = std::os::unix::ffi::OsStrExt::from_bytes(new.as_bytes());
        let target = at.join::<&std::ffi::OsStr>(os);
        if random.bool() {
            std::fs::create_dir(&target).unwrap();
            dirs.push(new.clone());
        } else {
            std::fs::write(&target, "x").unwrap();
        }
        all.push(new);
    }
    all.sort();
    all
}

#[test]
fn every_entry_comes_once_in_path_order_whatever_the_threads_and_the_window() {
    let mut random = fastrand::Rng::with_seed(7);
    for case in 0..40 {
        let tree = tempfile::tempdir().unwrap();
        let all = random_tree(tree.path(), &mut random);
        for (threads, listings, entries) in
            [(0, 1, 1), (1, 1, 1), (2, 2, 3), (2, 256, 9999), (8, 3, 9), (8, 99, 999)]
        {
            let options = WalkOptions { threads, window: Window { listings, entries }, ..options() };
            let walked: Vec<_> = Walk::new(open(tree.path()), None, options)
                .map(|step| {
                    let Step::Entry(entry) = step else { panic!("case {case}") };
                    entry.path
                })
                .collect();
            assert_eq!(walked, all, "case {case}, {threads} threads, {listings} listings, {entries} entries");
        }
    }
}

#[test]
fn a_walk_that_is_dropped_half_way_ends_its_threads() {
    let tree = tempfile::tempdir().unwrap();
    random_tree(tree.path(), &mut fastrand::Rng::with_seed(1));
    let mut walk = Walk::new(open(tree.path()), None, options());
    assert!(walk.next().is_some());
    let shared = Arc::downgrade(&walk.shared);
    drop(walk);
    assert!(shared.upgrade().is_none());
}

#[test]
fn a_hundred_thousand_entries_pass_through_a_small_window() {
    let tree = tempfile::tempdir().unwrap();
    let root = open(tree.path());
    for dir in 0..100 {
        let dir = path(&format!("d{dir:03}"));
        rustix::fs::mkdirat(root.fd(), dir.as_bytes(), rustix::fs::Mode::from_raw_mode(0o700)).unwrap();
        let dir = root.open_dir(&dir).unwrap();
        rustix::fs::symlinkat("x", &dir, "0").unwrap();
        for name in 1..1000 {
            rustix::fs::linkat(&dir, "0", &dir, name.to_string(), rustix::fs::AtFlags::empty()).unwrap();
        }
    }
    let options = WalkOptions { window: Window { listings: 4, entries: 1000 }, ..options() };
    assert_eq!(Walk::new(root, None, options).count(), 100_101);
}

#[test]
fn fifos_sockets_and_loops_of_symlinks_do_not_hang() {
    let tree = tempfile::tempdir().unwrap();
    let root = open(tree.path());
    rustix::fs::mkfifoat(root.fd(), "fifo", rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    std::os::unix::net::UnixListener::bind(tree.path().join("socket")).unwrap();
    std::os::unix::fs::symlink(".", tree.path().join("loop")).unwrap();
    std::os::unix::fs::symlink("self", tree.path().join("self")).unwrap();
    assert_eq!(lines(Walk::new(root, None, options())), ["./", "fifo", "loop", "self", "socket"]);
}

/// Makes each path; those that end in `/` are directories, `path=text` is a file with that text.
fn plant(at: &Path, entries: &[&str]) {
    for entry in entries {
        let (name, text) = entry.split_once('=').unwrap_or((entry, "x"));
        if let Some(dir) = name.strip_suffix('/') {
            std::fs::create_dir_all(at.join(dir)).unwrap();
        } else {
            std::fs::create_dir_all(at.join(name).parent().unwrap()).unwrap();
            std::fs::write(at.join(name), text).unwrap();
        }
    }
}

#[test]
fn both_trees_are_met_name_by_name() {
    for (case, here, there, want) in [
        ("only here", &["a", "d/x"][..], &[][..], &["./=", "a", "d/", "d/x"][..]),
        ("only there", &["d/"], &["d/y", "e", "f/"], &["./e,f=", "d/y="]),
        ("in both", &["a", "d/x"], &["a", "d/x"], &["./=", "a=", "d/=", "d/x="]),
        ("another kind there", &["d/x"], &["d"], &["./=", "d/=", "d/x"]),
        ("excluded here", &["no/x", "nox"], &["no/y"], &["./=", "-no", "-nox"]),
        ("private directories at any depth", &[".csync/x", "d/.csync/x"], &[".csync/y"], &["./=", "d/"]),
        ("bad rules stop a directory", &["d/.rules=? what", "d/x", "e"], &["d/y"], &["./=", "d/?=", "e"]),
        (
            "good rules",
            &["d/.rules=- y", "d/x", "d/y", "y"],
            &[],
            &["./=", "d/", "d/.rules", "d/x", "-d/y", "y"],
        ),
    ] {
        for threads in [0, 2] {
            let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            plant(one.path(), here);
            plant(two.path(), there);
            let options = WalkOptions { threads, ..options() };
            let walk = Walk::new(open(one.path()), Some(open(two.path())), options);
            assert_eq!(lines(walk), want, "{case}");
        }
    }
}

#[test]
fn a_selection_brings_its_parents_and_what_lies_below() {
    let tree = tempfile::tempdir().unwrap();
    plant(tree.path(), &["a/b/c", "a/b/d/e", "a/x", "f", "g/h/i", "g/j"]);
    for (case, recurse, start, only, want) in [
        ("a deep file", true, "", &["a/b/c"][..], &["./", "a/", "a/b/", "a/b/c"][..]),
        ("a directory", true, "", &["a/b"], &["./", "a/", "a/b/", "a/b/c", "a/b/d/", "a/b/d/e"]),
        ("a directory alone", false, "", &["a/b"], &["./", "a/", "a/b"]),
        ("a directory and one of its files", false, "", &["a/b", "a/b/c"], &["./", "a/", "a/b/", "a/b/c"]),
        ("nothing that exists", true, "", &["a/zzz", "q"], &["./", "a/"]),
        ("a subtree", true, "g", &["f", "g/h"], &["g/", "g/h/", "g/h/i"]),
    ] {
        let only = Some(Arc::new(only.iter().map(|text| path(text)).collect()));
        let options = WalkOptions { recurse, start: path(start), only, ..options() };
        assert_eq!(lines(Walk::new(open(tree.path()), None, options)), want, "{case}");
    }
}

#[test]
fn a_start_may_be_a_file_or_nothing_or_one_level() {
    let tree = tempfile::tempdir().unwrap();
    plant(tree.path(), &["a/b/c", "f"]);
    for (start, recurse, want) in
        [("f", true, &["f"][..]), ("q", true, &[]), ("f/x", true, &[]), ("a", false, &["a/", "a/b"])]
    {
        let options = WalkOptions { recurse, start: path(start), ..options() };
        assert_eq!(lines(Walk::new(open(tree.path()), None, options)), want, "{start}");
    }
}

#[test]
fn a_name_that_no_path_can_carry_is_told() {
    let tree = tempfile::tempdir().unwrap();
    let root = open(tree.path());
    let mut dir = root.open_dir(&RelPath::root()).unwrap();
    for _ in 0..257 {
        rustix::fs::mkdirat(&dir, "d", rustix::fs::Mode::from_raw_mode(0o700)).unwrap();
        dir = crate::disk::root::open_at(
            std::os::fd::AsFd::as_fd(&dir),
            b"d",
            rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY,
        )
        .unwrap();
    }
    let lines = lines(Walk::new(root, None, options()));
    assert_eq!(lines.len(), 258);
    assert!(lines[257].starts_with("??d/d"), "{}", lines[257]);
}

#[test]
fn what_cannot_be_read_is_never_absent() {
    use crate::disk::attributes::tests::{common_dir, unprivileged};
    use std::os::unix::fs::PermissionsExt as _;

    let (one, two) = (common_dir(), common_dir());
    plant(one.path(), &["a/x", "b/x", "c/x", "d/.rules=- y", "d/x"]);
    plant(two.path(), &["a/y", "b/y", "c/y", "d/y"]);
    let forbid = |tree: &tempfile::TempDir, name: &str, mode| {
        std::fs::set_permissions(tree.path().join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    // No listing; names but no search; no listing there; no rules.
    forbid(&one, "a", 0o000);
    forbid(&one, "b", 0o744);
    forbid(&two, "c", 0o000);
    forbid(&one, "d/.rules", 0o000);
    let nobody_owns = rustix::process::geteuid().is_root();
    let walked = unprivileged(|| {
        let walk =
            Walk::new(open(one.path()), Some(open(two.path())), WalkOptions { threads: 0, ..options() });
        let mut incomplete_there = Vec::new();
        let lines = lines(walk.inspect(|step| {
            if let Step::Entry(Entry { path, dir: Some(dir), .. }) = step
                && !dir.beside_complete
            {
                incomplete_there.push(path.to_string());
            }
        }));
        (lines, incomplete_there)
    });
    for (name, mode) in [("a", 0o755), ("b", 0o755)] {
        forbid(&one, name, mode);
    }
    forbid(&two, "c", 0o755);
    if nobody_owns {
        assert_eq!(walked.0, ["./=", "a/?=", "b/y=", "?b/x", "c/=", "c/x", "d/?="]);
        assert_eq!(walked.1, ["a", "c", "d"]);
    } else {
        assert_eq!(walked.0, ["./=", "a/?=", "b/y=", "b/x", "c/=", "c/x", "d/?="]);
    }
}
