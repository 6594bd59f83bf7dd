//! One-way runs against rsync itself: the same trees, the same lines.
#![cfg(feature = "system")]
#![allow(clippy::expect_used, reason = "a helper of a test may stop the test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

#[path = "support/trees.rs"]
mod trees;

use trees::{Kinds, differences, make_pair, picture, set_time};

const SEEDS: u64 = 300;

/// Runs `program` and returns its sorted lines; rsync's remarks on directories that stay are not items.
fn lines(program: &str, arguments: &[&str], dir: &Path) -> (i32, Vec<String>) {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(dir)
        .env("LC_ALL", "C.UTF-8")
        .env("HOME", dir)
        .output()
        .expect("start the program");
    let mut lines: Vec<String> = output
        .stdout
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty() && !line.starts_with(b"cannot delete"))
        .map(|line| line.escape_ascii().to_string())
        .collect();
    lines.sort();
    (output.status.code().unwrap_or(-1), lines)
}

fn csync(arguments: &[&str], dir: &Path) -> (i32, Vec<String>) {
    lines(env!("CARGO_BIN_EXE_csync"), &[&["push", "--raw-names"], arguments].concat(), dir)
}

fn rsync(arguments: &[&str], dir: &Path) -> (i32, Vec<String>) {
    lines("rsync", &[&["-8"], arguments].concat(), dir)
}

#[track_caller]
fn same(one: &BTreeMap<String, String>, two: &BTreeMap<String, String>, when: &str) {
    let differing = differences(one, two);
    assert!(differing.is_empty(), "{when}\n{}", differing.join("\n"));
}

#[test]
fn three_hundred_trees_come_out_as_rsync_makes_them() {
    let version = lines("rsync", &["--version"], Path::new("/")).1;
    let version = version.iter().find(|line| line.starts_with("rsync ")).expect("rsync tells its version");
    let mut kinds = Kinds::default();
    for seed in 0..SEEDS {
        let sandbox = tempfile::tempdir().expect("make a directory");
        let [source, ours, theirs] = ["src", "ours", "theirs"].map(|name| sandbox.path().join(name));
        for dir in [&source, &ours, &theirs] {
            std::fs::create_dir(dir).expect("make a directory");
        }
        let diverged = seed % 2 == 1;
        make_pair(seed, &source, &ours, diverged, &mut kinds);
        make_pair(seed, &sandbox.path().join("again").also_made(), &theirs, diverged, &mut Kinds::default());
        if !diverged {
            for dir in [&ours, &theirs] {
                set_time(dir, 1_000_000_000);
            }
        }
        let before = picture(&ours);
        same(&before, &picture(&theirs), &format!("seed {seed}: the same destination twice"));
        let dry = csync(&["-a", "--delete", "--yes", "-n", "-i", "src/", "ours"], sandbox.path());
        same(&picture(&ours), &before, &format!("seed {seed}: a dry run touches nothing"));
        let run = csync(&["-a", "--delete", "--yes", "-i", "src/", "ours"], sandbox.path());
        // In the run itself rsync 3.5.0 tells a lost set-id bit where it told a new owner in the dry run.
        let oracle = rsync(&["-a", "--delete", "-n", "-i", "src/", "theirs"], sandbox.path());
        assert_eq!(run, oracle, "seed {seed}: the lines of rsync");
        assert_eq!(rsync(&["-a", "--delete", "src/", "theirs"], sandbox.path()).0, 0, "seed {seed}");
        assert_eq!(dry, run, "seed {seed}: a dry run says what the run does");
        same(&picture(&ours), &picture(&theirs), &format!("seed {seed}: what rsync leaves"));
        let again = csync(&["-a", "--delete", "-i", "src/", "ours"], sandbox.path());
        assert_eq!(again, (0, Vec::new()), "seed {seed}: a second run does nothing");
    }
    println!(
        "oracle: {version}; {SEEDS} trees, half from diverged destinations; in how many each occurs: {kinds:?}"
    );
    for (what, count) in [
        ("type flips", kinds.type_flips),
        ("nested deletes", kinds.nested_deletes),
        ("same size, older time", kinds.older_same_size),
        ("names that are not UTF-8", kinds.not_utf8),
    ] {
        assert!(count * 10 >= kinds.pairs, "{what}: only {count} of {}", kinds.pairs);
    }
}

/// Makes the directory that a path names.
trait AlsoMade {
    fn also_made(self) -> Self;
}

impl AlsoMade for std::path::PathBuf {
    fn also_made(self) -> Self {
        std::fs::create_dir(&self).expect("make a directory");
        self
    }
}

#[test]
fn each_option_does_what_it_does_in_rsync() {
    let cases: &[&[&str]] = &[
        &["-a"],
        &["-a", "-c"],
        &["-a", "-u"],
        &["-a", "-I"],
        &["-a", "-ii"],
        &["-a", "--size-only"],
        &["-a", "--no-perms"],
        &["-a", "--no-owner", "--no-group"],
        &["-a", "--no-links"],
        &["-a", "--existing"],
        &["-a", "--existing", "--delete"],
        &["-a", "--max-size=100"],
        &["-a", "--min-size=100"],
        &["-a", "-m", "--delete"],
        &["-a", "--chmod=D750,F640"],
        &["-a", "--chown=7:8"],
        &["-a", "--usermap=1000:9,*:3"],
        &["-a", "-b"],
        &["-a", "-b", "--delete", "--suffix=.old"],
        &["-a", "--delete", "--exclude=a*"],
        &["-a", "--delete-excluded", "--exclude=a*"],
        &["-a", "--delete", "--filter=H a*", "--filter=P b*"],
        &["-a", "--delete", "--backup-dir=kept"],
    ];
    let mut ran = 0;
    for seed in (1..20).step_by(4) {
        for case in cases {
            let sandbox = tempfile::tempdir().expect("make a directory");
            let [source, ours, theirs] =
                ["src", "ours", "theirs"].map(|name| sandbox.path().join(name).also_made());
            make_pair(seed, &source, &ours, true, &mut Kinds::default());
            make_pair(seed, &sandbox.path().join("again").also_made(), &theirs, true, &mut Kinds::default());
            let deletes = case.iter().any(|flag| flag.starts_with("--delete"));
            let yes: &[&str] = if deletes { &["--yes"] } else { &[] };
            let run = csync(&[case, yes, &["-i", "src/", "ours"]].concat(), sandbox.path());
            let oracle = rsync(&[case, &["-n", "-i", "src/", "theirs"][..]].concat(), sandbox.path());
            rsync(&[case, &["src/", "theirs"][..]].concat(), sandbox.path());
            let items = |lines: Vec<String>| -> Vec<String> {
                lines.into_iter().filter(|line| line.as_bytes().get(11) == Some(&b' ')).collect()
            };
            assert_eq!(run.0, oracle.0, "seed {seed} {case:?}: exit code");
            // Without -p rsync gives what replaces a symlink the mode of that symlink, 0777.
            let timeless = case.contains(&"-b")
                || case.contains(&"--no-perms")
                || case.iter().any(|flag| flag.starts_with("--backup"));
            // FIFOs that should be left alone get the source's attributes from rsync in some runs: not compared here.
            let [ours, theirs] = [&ours, &theirs].map(|root| {
                let mut picture = picture(root);
                picture.retain(|_, line| !line.starts_with("10"));
                // A directory that stays because something in it is protected has the time of the run.
                for line in picture.values_mut() {
                    line.truncate(line.find(" at 17").unwrap_or(line.len()));
                }
                picture
            });
            if timeless {
                assert!(ours.keys().eq(theirs.keys()), "seed {seed} {case:?}: paths");
            } else {
                assert_eq!(items(run.1), items(oracle.1), "seed {seed} {case:?}: lines");
                same(&ours, &theirs, &format!("seed {seed} {case:?}: tree"));
            }
            ran += 1;
        }
    }
    println!("options: {ran} runs of {} sets of options equal rsync's", cases.len());
}

#[test]
fn lists_of_files_carry_what_rsync_carries() {
    let lists: &[&str] = &[
        "d",
        "d/",
        "x/y",
        "x/../d",
        "../../r",
        "./r",
        "x/y/z",
        "d/.",
        ".",
        "d/e/..",
        "d\nd/f",
        "d\nd/e/g",
        "d/\nd/e/",
        "/d/f\n\n# no path\n; nor this\nr\r\n",
        "nope\nr",
    ];
    let mut ran = 0;
    for (list, zero) in lists.iter().flat_map(|list| [(list, false), (list, true)]) {
        for recursive in [&[][..], &["-r"], &["-r", "--delete"]] {
            let sandbox = tempfile::tempdir().expect("make a directory");
            for file in [
                "src/d/f",
                "src/d/e/g",
                "src/top/t",
                "src/x/y/z",
                "src/r",
                "ours/d/old",
                "theirs/d/old",
                "ours/top/o",
                "theirs/top/o",
            ] {
                let path = sandbox.path().join(file);
                std::fs::create_dir_all(path.parent().expect("a parent")).expect("make the parents");
                std::fs::write(&path, file.rsplit('/').next().unwrap_or_default()).expect("write a file");
            }
            let text = if zero { list.replace('\n', "\0") } else { (*list).to_owned() };
            std::fs::write(sandbox.path().join("list"), text).expect("write the list");
            let from: &[&str] = if zero { &["-0", "--files-from=list"] } else { &["--files-from=list"] };
            let yes: &[&str] = if recursive.len() > 1 { &["--yes"] } else { &[] };
            let all = [&["-a"], recursive, from].concat();
            let run = csync(&[&all[..], yes, &["src/", "ours"]].concat(), sandbox.path());
            let oracle = rsync(&[&all[..], &["src/", "theirs"]].concat(), sandbox.path());
            let case = format!("{list:?} {all:?}");
            assert_eq!(run.0, oracle.0, "{case}: exit code");
            let [ours, theirs] = ["ours", "theirs"].map(|root| picture(&sandbox.path().join(root)));
            assert!(ours.keys().eq(theirs.keys()), "{case}: {:?} | {:?}", ours.keys(), theirs.keys());
            ran += 1;
        }
    }
    println!("lists: {ran} runs equal rsync's");
}
