//! What a killed run was about: trees with every kind of change that a step on disk answers.

use std::fs;
use std::path::Path;

use crate::sandbox::Sandbox;
use crate::tree::{build, chmod, clear, rename, set_mtime};

/// A run worth killing.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// What csync is called with.
    pub(crate) arguments: &'static [&'static str],
    /// Whether contents that lose must be kept: a two-way run.
    pub(crate) keeps: bool,
    /// System calls that fail, as strace's `inject`; stands for a filesystem that cannot do them.
    pub(crate) without: Option<&'static str>,
    pub(crate) prepare: fn(&Sandbox),
}

const SYNC: &[&str] = &["sync", "a", "b", "--yes"];
const PUSH: &[&str] = &["push", "a/", "b", "--delete", "--yes"];

/// Every workload.
pub(crate) const WORKLOADS: &[Workload] = &[
    Workload { name: "union", arguments: SYNC, keeps: true, without: None, prepare: union },
    Workload { name: "clash", arguments: SYNC, keeps: true, without: None, prepare: clash },
    Workload { name: "changes", arguments: SYNC, keeps: true, without: None, prepare: changes },
    Workload { name: "push", arguments: PUSH, keeps: false, without: None, prepare: diverged },
    Workload {
        name: "changes without renameat2",
        arguments: SYNC,
        keeps: true,
        without: Some("renameat2:error=EINVAL"),
        prepare: changes,
    },
];

const OLD: u64 = 1_700_000_000;

/// Two trees that never met, with the same files and a conflict.
fn union(sandbox: &Sandbox) {
    let (a, b) = (sandbox.a(), sandbox.b());
    build(
        &a,
        "same/x=1 same/y=22 both=from-a left/one=1 left/deep/er/two=22 big-a=#1500000 link-a->both empty-a/",
    );
    build(
        &b,
        "same/x=1 same/y=22 both=from-b-side right/one=1 right/deep/er/two=22 big-b=#1400000 link-b->both",
    );
    build(&b, "empty-b/");
    decide(&a, &b, "both");
}

/// Two trees that never met, with files where the other has directories.
fn clash(sandbox: &Sandbox) {
    build(&sandbox.a(), "one=file two/inner=1 two/deep/er=22 three=333");
    build(&sandbox.b(), "one/inner=1 two=file three/");
}

/// Two trees that were the same, and then both were edited, pruned, renamed, retyped and put at odds.
fn changes(sandbox: &Sandbox) {
    let (a, b) = (sandbox.a(), sandbox.b());
    build(&a, "d/a=1 d/b=22 d/deep/c=333 d/deep/d=4444 ren/x=#2000 ren/y=#3000 ren/sub/z=#70000 link->d/a");
    build(
        &a,
        "edit1=e1 edit2=e22 edit3=e333 gone1=g1 gone2=g22 gonedir/p=1 gonedir/q/r=22 both=base mode=m at-odds=1",
    );
    build(&a, "flip1=file flip2/in=2 flip2/more/in=33 flip3=333 big=#1200000 twin=linked still=same");
    sandbox.sync(&["--yes"]).ends_with(&[0]);
    fs::hard_link(b.join("twin"), b.join("twin2")).expect("make a hard link");

    build(&a, "edit1=edited-on-a both=from-a twin=#900 new-a/one=1 new-a/two/three=333 link->edit1");
    build(&a, "flip1/now/a=directory");
    ["gone1", "at-odds"].into_iter().for_each(|path| clear(&a, path));
    rename(&a, "ren", "renamed");
    chmod(&a, "mode", 0o600);
    chmod(&a, "d/deep", 0o700);

    build(&b, "edit2=#5000 edit3=edited-on-b both=from-b-side new-b/one=1 at-odds=edited big=#1300000");
    build(&b, "flip2=now-a-file flip3->edit1");
    ["gone2", "gonedir"].into_iter().for_each(|path| clear(&b, path));
    rename(&b, "d/deep/c", "moved/c");
    decide(&a, &b, "both");
}

/// A destination that has less, more and other things than the source.
fn diverged(sandbox: &Sandbox) {
    let (a, b) = (sandbox.a(), sandbox.b());
    build(
        &a,
        "new/one=1 new/two/three=333 changed=new-content flip1=file flip2/in=2 link->changed same=same",
    );
    build(&a, "big=#1300000 grown=#9000 mode=m");
    build(
        &b,
        "changed=old flip1/was/a=directory flip2=was-a-file link->elsewhere same=same extra/p=1 extra/q/r=22",
    );
    build(&b, "big=#1200000 extra-file=1 mode=m");
    chmod(&a, "mode", 0o600);
}

/// Makes the content of the second side the later one, whatever the clock's grain.
fn decide(a: &Path, b: &Path, path: &str) {
    set_mtime(a, path, OLD);
    set_mtime(b, path, OLD + 10);
}
