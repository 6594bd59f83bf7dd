//! Trees for tests: built from one line, looked at whole, compared with a difference that people can read.

#![allow(dead_code, reason = "each suite takes what it needs")]
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test may stop the test")]
#![allow(clippy::disallowed_methods, reason = "a test is the user who changes the tree by path")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use csync::model::entry::Digest;

/// Builds below `root` what `spec` says: `a/b=1` a file with the content `1`, `a/b=#5000` a file of 5,000 bytes that
/// only this path has, `c/` a directory, `d->a` a symlink. Parents are made. What stands there is replaced.
pub(crate) fn build(root: &Path, spec: &str) {
    for item in spec.split_whitespace() {
        if let Some((path, target)) = item.split_once("->") {
            link(root, path, target);
        } else if let Some((path, content)) = item.split_once('=') {
            write(root, path, &content_of(path, content));
        } else if let Some(path) = item.strip_suffix('/') {
            clear(root, path);
            make_parents(root, &format!("{path}/."));
        } else {
            panic!("`{item}` is no file (a=1), directory (a/) or symlink (a->b)");
        }
    }
}

fn content_of(path: &str, content: &str) -> Vec<u8> {
    match content.strip_prefix('#') {
        Some(count) => patterned(path, count.parse().expect("a number of bytes")),
        None => content.as_bytes().to_vec(),
    }
}

/// Returns `count` bytes that no other `seed` gives.
pub(crate) fn patterned(seed: &str, count: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(
        seed.bytes().fold(count as u64, |sum, b| sum * 31 % (1 << 40) + u64::from(b)),
    );
    std::iter::repeat_with(|| random.u8(..)).take(count).collect()
}

/// Writes `content` to a new file at `path`, whatever stood there.
pub(crate) fn write(root: &Path, path: &str, content: &[u8]) {
    clear(root, path);
    make_parents(root, path);
    fs::write(root.join(path), content).expect("write a file");
}

/// Makes the directories above `path`; what stands there and is none gives way.
fn make_parents(root: &Path, path: &str) {
    for (at, _) in path.match_indices('/') {
        let parent = root.join(&path[..at]);
        if !fs::symlink_metadata(&parent).is_ok_and(|found| found.is_dir()) {
            clear(root, &path[..at]);
            fs::create_dir(parent).expect("make a directory");
        }
    }
}

fn link(root: &Path, path: &str, target: &str) {
    clear(root, path);
    make_parents(root, path);
    std::os::unix::fs::symlink(target, root.join(path)).expect("make a symlink");
}

/// Removes whatever stands at `path`, a directory with all that is in it.
pub(crate) fn clear(root: &Path, path: &str) {
    let path = root.join(path);
    match fs::symlink_metadata(&path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(&path).expect("remove a directory"),
        Ok(_) => fs::remove_file(&path).expect("remove a file"),
        Err(_) => {}
    }
}

/// Renames `from` to `to`, both below `root`; parents of `to` are made.
pub(crate) fn rename(root: &Path, from: &str, to: &str) {
    make_parents(root, to);
    fs::rename(root.join(from), root.join(to)).expect("rename");
}

/// Sets the permission bits of `path`.
pub(crate) fn chmod(root: &Path, path: &str, mode: u32) {
    fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).expect("set the mode");
}

/// What stands at one path.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) kind: char,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: (i64, i64),
    pub(crate) size: u64,
    /// Of a regular file.
    pub(crate) digest: Option<Digest>,
    /// Of a symlink.
    pub(crate) target: Option<Vec<u8>>,
}

/// What two trees must agree on. Content, kinds and link targets are always compared.
#[derive(Clone, Copy)]
pub(crate) struct Compare {
    pub(crate) modes: bool,
    pub(crate) owners: bool,
    /// Of regular files; the times of directories and symlinks are never compared.
    pub(crate) times: bool,
}

/// All that `sync` carries.
pub(crate) const ALL: Compare = Compare { modes: true, owners: true, times: true };

/// A tree as it stood at one moment: path bytes to node, without the private directory.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Snapshot(pub(crate) BTreeMap<Vec<u8>, Node>);

impl Snapshot {
    /// Reads the tree at `root`.
    pub(crate) fn of(root: &Path) -> Self {
        let mut nodes = BTreeMap::new();
        read(root, b"", &mut nodes);
        Self(nodes)
    }

    /// The digests of its regular files.
    pub(crate) fn contents(&self) -> BTreeSet<Digest> {
        self.0.values().filter_map(|node| node.digest).collect()
    }

    /// The paths, escaped.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.0.keys().map(|path| path.escape_ascii().to_string()).collect()
    }

    /// Returns one line for each path at which the trees do not agree.
    pub(crate) fn differences(&self, other: &Self, compare: Compare) -> Vec<String> {
        let paths: BTreeSet<&Vec<u8>> = self.0.keys().chain(other.0.keys()).collect();
        paths
            .into_iter()
            .filter_map(|path| {
                let sides = [self, other].map(|side| side.0.get(path).map(|node| node.shown(compare)));
                let [left, right] = sides.map(|side| side.unwrap_or_else(|| "nothing".to_owned()));
                (left != right).then(|| format!("{}: {left} | {right}", path.escape_ascii()))
            })
            .collect()
    }

    /// Stops the test unless the trees agree.
    #[track_caller]
    pub(crate) fn agrees_with(&self, other: &Self, compare: Compare, when: &str) {
        let differences = self.differences(other, compare);
        assert!(
            differences.is_empty(),
            "{when}: {} paths differ\n{}",
            differences.len(),
            differences.join("\n")
        );
    }
}

impl Node {
    fn of(path: &Path, found: &Metadata) -> Self {
        let kind = kind_of(found);
        let file = kind == 'f';
        Self {
            kind,
            mode: found.mode() & 0o7777,
            uid: found.uid(),
            gid: found.gid(),
            mtime: (found.mtime(), found.mtime_nsec()),
            size: if file { found.len() } else { 0 },
            digest: file.then(|| Digest::of(&fs::read(path).expect("read a file"))),
            target: (kind == 'l')
                .then(|| fs::read_link(path).expect("read a link").as_os_str().as_bytes().to_vec()),
        }
    }

    /// What `compare` sees of it.
    fn shown(&self, compare: Compare) -> String {
        let mut shown = String::from(self.kind);
        if compare.modes && self.kind != 'l' {
            shown.push_str(&format!(" {:04o}", self.mode));
        }
        if compare.owners {
            shown.push_str(&format!(" {}:{}", self.uid, self.gid));
        }
        if let Some(digest) = &self.digest {
            if compare.times {
                shown.push_str(&format!(" at {}.{:09}", self.mtime.0, self.mtime.1));
            }
            shown.push_str(&format!(" {} bytes {}", self.size, digest.short()));
        }
        if let Some(target) = &self.target {
            shown.push_str(&format!(" -> {}", target.escape_ascii()));
        }
        shown
    }
}

fn kind_of(found: &Metadata) -> char {
    let kind = found.file_type();
    match () {
        () if kind.is_dir() => 'd',
        () if kind.is_file() => 'f',
        () if kind.is_symlink() => 'l',
        () if kind.is_fifo() => 'p',
        () if kind.is_socket() => 's',
        () if kind.is_block_device() => 'b',
        () => 'c',
    }
}

fn read(directory: &Path, below: &[u8], nodes: &mut BTreeMap<Vec<u8>, Node>) {
    for item in fs::read_dir(directory).expect("list a directory") {
        let name = item.expect("list a directory").file_name();
        if below.is_empty() && name == OsStr::new(".csync") {
            continue;
        }
        let path = directory.join(&name);
        let relative =
            if below.is_empty() { name.as_bytes().to_vec() } else { [below, name.as_bytes()].join(&b'/') };
        let found = fs::symlink_metadata(&path).expect("look at an entry");
        nodes.insert(relative.clone(), Node::of(&path, &found));
        if found.is_dir() {
            read(&path, &relative, nodes);
        }
    }
}

/// The digests of all files below the private directory of `root`: what is kept, wherever it is kept. What is left over
/// of a run that broke off is not.
pub(crate) fn kept_contents(root: &Path) -> BTreeSet<Digest> {
    let private = root.join(".csync");
    if !private.is_dir() {
        return BTreeSet::new();
    }
    let mut found = Snapshot::of(&private);
    found.0.retain(|path, _| !path.starts_with(b"partial/"));
    found.contents()
}

/// What is left over in `root` of a run that broke off: paths and sizes.
pub(crate) fn left_over(root: &Path) -> Vec<(PathBuf, u64)> {
    let Ok(entries) = fs::read_dir(root.join(".csync/partial")) else { return Vec::new() };
    let found = entries.map(|entry| entry.expect("list a directory").path());
    found.map(|path| (path.clone(), fs::symlink_metadata(path).map_or(0, |stat| stat.len()))).collect()
}

/// The names that were left in the staging directory of `root`.
pub(crate) fn staged(root: &Path) -> Vec<String> {
    let stage = root.join(".csync/stage");
    if stage.is_dir() { Snapshot::of(&stage).paths() } else { Vec::new() }
}

/// Sets the modification time of the file at `path` to `seconds` after the epoch.
pub(crate) fn set_mtime(root: &Path, path: &str, seconds: u64) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    let file = fs::File::options().append(true).open(root.join(path)).expect("open a file");
    file.set_modified(time).expect("set the time");
}
