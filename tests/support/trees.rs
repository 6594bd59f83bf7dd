//! Random trees, and random damage to a copy: what one-way runs are tried on. The same seed gives the same trees.

#![allow(dead_code, reason = "each suite takes what it needs")]
#![allow(clippy::expect_used, reason = "a helper of a test may stop the test")]
#![allow(clippy::disallowed_methods, reason = "a test is the user who changes the tree by path")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown, symlink};
use std::path::{Path, PathBuf};

use fastrand::Rng;
use rustix::fs::{AtFlags, CWD, Mode, Timespec, Timestamps, mkfifoat, utimensat};

/// In how many of the pairs made so far something occurs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kinds {
    pub(crate) pairs: u32,
    /// A path has another type at the destination.
    pub(crate) type_flips: u32,
    /// A directory that holds something is only at the destination.
    pub(crate) nested_deletes: u32,
    /// A file of the same size has another content and an older time at the source.
    pub(crate) older_same_size: u32,
    /// A name is not UTF-8.
    pub(crate) not_utf8: u32,
    pub(crate) symlinks: u32,
    pub(crate) fifos: u32,
    /// Only mode, owner or time of something differs.
    pub(crate) attributes: u32,
}

/// What occurs in the pair that is being made.
#[derive(Default)]
struct Seen {
    type_flip: bool,
    nested_delete: bool,
    older_same_size: bool,
    not_utf8: bool,
    symlink: bool,
    fifo: bool,
    attributes: bool,
}

/// Fills `source` from `seed` and, if `diverged`, `dest` with a damaged copy; counts in `kinds` what came to be.
pub(crate) fn make_pair(seed: u64, source: &Path, dest: &Path, diverged: bool, kinds: &mut Kinds) {
    let mut maker = Maker { rng: Rng::with_seed(seed), seen: Seen::default(), clock: 1_400_000_000 };
    let count = maker.rng.usize(8..24);
    maker.fill(source, 0, count);
    if diverged {
        maker.copy(source, dest);
        maker.damage(source, dest, 0);
        maker.stamp(dest);
    }
    let seen = maker.seen;
    kinds.pairs += 1;
    for (counter, is_there) in [
        (&mut kinds.type_flips, seen.type_flip),
        (&mut kinds.nested_deletes, seen.nested_delete),
        (&mut kinds.older_same_size, seen.older_same_size),
        (&mut kinds.not_utf8, seen.not_utf8),
        (&mut kinds.symlinks, seen.symlink),
        (&mut kinds.fifos, seen.fifo),
        (&mut kinds.attributes, seen.attributes),
    ] {
        *counter += u32::from(is_there);
    }
}

struct Maker {
    rng: Rng,
    seen: Seen,
    /// No two stamps are less than a second apart, so that no tool can confuse them.
    clock: i64,
}

impl Maker {
    fn name(&mut self) -> Vec<u8> {
        let stem = format!(
            "{}{}",
            ["a", "b", "Zed", "x y", "\u{e4}\u{f6}", "-o", "sub.d"][self.rng.usize(..7)],
            self.rng.u8(..40)
        );
        let mut name = stem.into_bytes();
        if self.rng.u8(..12) == 0 {
            self.seen.not_utf8 = true;
            name.extend([0xff, 0xe9]);
        }
        name
    }

    /// Makes `count` entries in `dir` and below.
    fn fill(&mut self, dir: &Path, depth: usize, count: usize) {
        let mut left = count;
        while left > 0 {
            left -= 1;
            let name = self.name();
            let path = dir.join(OsStr::from_bytes(&name));
            if path.symlink_metadata().is_ok() {
                continue;
            }
            let kind = self.rng.u8(..10);
            self.entry(&path, kind);
            if kind < 3 && depth < 3 {
                let inside = self.rng.usize(..=left.min(8));
                left -= inside;
                self.fill(&path, depth + 1, inside);
            }
            self.dress(&path);
        }
        if depth == 0 {
            self.dress(dir);
        }
    }

    fn entry(&mut self, path: &Path, kind: u8) {
        match kind {
            0..3 => fs::create_dir(path).expect("make a directory"),
            3..8 => {
                let size = [0, 1, 7, 100, 5000, 70_000][self.rng.usize(..6)];
                let bytes: Vec<u8> = std::iter::repeat_with(|| self.rng.u8(..)).take(size).collect();
                fs::write(path, bytes).expect("write a file");
            }
            8 => {
                self.seen.symlink = true;
                symlink(["a1", "../up", "/nowhere", "b2/c"][self.rng.usize(..4)], path)
                    .expect("make a symlink");
            }
            _ => {
                self.seen.fifo = true;
                mkfifoat(CWD, path, Mode::from_raw_mode(0o644)).expect("make a FIFO");
            }
        }
    }

    /// Gives an entry owner, mode and time.
    fn dress(&mut self, path: &Path) {
        let kind = path.symlink_metadata().expect("look at an entry").file_type();
        if rustix::process::geteuid().is_root() {
            let owner = [0, 5, 1000][self.rng.usize(..3)];
            lchown(path, Some(owner), Some([0, 7, 1000][self.rng.usize(..3)])).expect("set the owner");
        }
        if !kind.is_symlink() {
            let mode = [0o644, 0o600, 0o755, 0o640, 0o4755, 0o2775][self.rng.usize(..6)];
            let mode = if kind.is_dir() { mode | 0o700 } else { mode };
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set the mode");
        }
        self.tick(path);
    }

    fn tick(&mut self, path: &Path) {
        self.clock += 100 + i64::from(self.rng.u16(..1000));
        set_time(path, self.clock);
    }

    /// Copies a tree with all its attributes.
    fn copy(&self, from: &Path, to: &Path) {
        for (path, is_dir) in entries(from) {
            let (old, new) = (from.join(&path), to.join(&path));
            let meta = old.symlink_metadata().expect("look at an entry");
            if is_dir {
                fs::create_dir_all(&new).expect("make a directory");
            } else if meta.is_file() {
                fs::copy(&old, &new).expect("copy a file");
            } else if meta.is_symlink() {
                symlink(fs::read_link(&old).expect("read a symlink"), &new).expect("make a symlink");
            } else {
                mkfifoat(CWD, &new, Mode::from_raw_mode(0o600)).expect("make a FIFO");
            }
        }
        for (path, _) in entries(from).into_iter().rev() {
            let (old, new) = (from.join(&path), to.join(&path));
            let meta = old.symlink_metadata().expect("look at an entry");
            lchown(&new, Some(meta.uid()), Some(meta.gid())).expect("set the owner");
            if !meta.is_symlink() {
                fs::set_permissions(&new, meta.permissions()).expect("set the mode");
            }
            set_time(&new, meta.mtime());
        }
    }

    /// Changes things in the copy, so that a run has something to do.
    fn damage(&mut self, source: &Path, dest: &Path, depth: usize) {
        for (path, is_dir) in entries(source) {
            let at = dest.join(&path);
            let Ok(meta) = at.symlink_metadata() else { continue };
            if path.as_os_str().is_empty() {
                continue;
            }
            match self.rng.u8(..12) {
                0 => clear(&at),
                1 => {
                    clear(&at);
                    let kind = if is_dir {
                        [3, 8, 9][self.rng.usize(..3)]
                    } else {
                        [0, 0, 8, 3][self.rng.usize(..4)]
                    };
                    self.entry(&at, kind);
                    if kind == 0 && self.rng.bool() {
                        self.fill(&at, 2, 3);
                    }
                    self.dress(&at);
                    let new = at.symlink_metadata().expect("look at an entry");
                    self.seen.type_flip |= new.file_type() != meta.file_type();
                }
                2 | 3 if meta.is_file() && meta.len() > 0 => {
                    let bytes = fs::read(&at).expect("read a file");
                    fs::write(&at, bytes.iter().map(|b| b ^ 1).collect::<Vec<_>>()).expect("write a file");
                    self.tick(&at);
                    self.seen.older_same_size = true;
                }
                4 => {
                    self.dress(&at);
                    self.seen.attributes = true;
                }
                5 if is_dir && depth == 0 => {
                    let extra = at.join("only here");
                    fs::create_dir(&extra).expect("make a directory");
                    self.fill(&extra, 1, 4);
                    fs::write(extra.join("inside"), "x").expect("write a file");
                    self.tick(&extra.join("inside"));
                    self.dress(&extra);
                    self.seen.nested_delete = true;
                }
                _ => {}
            }
        }
        if self.rng.bool() {
            self.fill(dest, 1, 3);
        }
    }

    /// Sets the times of all directories anew, since making things in them moved their clocks.
    fn stamp(&mut self, root: &Path) {
        for (path, is_dir) in entries(root).into_iter().rev() {
            let at = root.join(path);
            let moved = at.symlink_metadata().expect("look at an entry").mtime() > 1_600_000_000;
            if is_dir && moved {
                self.tick(&at);
            }
        }
    }
}

fn clear(path: &Path) {
    if path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
        fs::remove_dir_all(path).expect("remove a directory");
    } else {
        fs::remove_file(path).expect("remove a file");
    }
}

/// Sets the modification time, of a symlink too.
pub(crate) fn set_time(path: &Path, secs: i64) {
    let at = Timespec { tv_sec: secs, tv_nsec: 0 };
    let times = Timestamps { last_access: at, last_modification: at };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("set a time");
}

/// Returns every path of a tree and whether it is a directory, parents first; the root is the empty path.
fn entries(root: &Path) -> Vec<(PathBuf, bool)> {
    let mut found = vec![(PathBuf::new(), true)];
    let mut at = 0;
    while at < found.len() {
        let (path, is_dir) = found[at].clone();
        at += 1;
        if !is_dir {
            continue;
        }
        let mut inside: Vec<_> = fs::read_dir(root.join(&path))
            .expect("list a directory")
            .map(|entry| entry.expect("list a directory"))
            .map(|entry| (path.join(entry.file_name()), entry.file_type().is_ok_and(|kind| kind.is_dir())))
            .collect();
        inside.sort();
        found.extend(inside);
    }
    found
}

/// Returns a line for each path at which two pictures differ.
pub(crate) fn differences(one: &BTreeMap<String, String>, two: &BTreeMap<String, String>) -> Vec<String> {
    let paths: std::collections::BTreeSet<&String> = one.keys().chain(two.keys()).collect();
    let differing = paths.into_iter().filter(|path| one.get(*path) != two.get(*path));
    differing.map(|path| format!("{path}: {:?} | {:?}", one.get(path), two.get(path))).collect()
}

/// Everything that one-way runs carry, path by path: type, mode, owner, time, content or target.
pub(crate) fn picture(root: &Path) -> BTreeMap<String, String> {
    let describe = |path: PathBuf| {
        let at = root.join(&path);
        let meta = at.symlink_metadata().expect("look at an entry");
        let mode = if meta.is_symlink() { 0o120000 } else { meta.mode() };
        let what = if meta.is_file() {
            format!("{}", csync::model::entry::Digest::of(&fs::read(&at).expect("read a file")))
        } else if meta.is_symlink() {
            fs::read_link(&at).expect("read a symlink").as_os_str().as_bytes().escape_ascii().to_string()
        } else {
            String::new()
        };
        let line = format!(
            "{mode:o} {}:{} at {}.{:09} {what}",
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            meta.mtime_nsec()
        );
        (path.as_os_str().as_bytes().escape_ascii().to_string(), line)
    };
    entries(root).into_iter().map(|(path, _)| describe(path)).collect()
}
