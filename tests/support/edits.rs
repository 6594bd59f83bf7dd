//! What users do to two copies of a large tree between two runs: seeded, counted, and remembered where it matters.

#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test may stop the test")]
#![allow(clippy::disallowed_methods, reason = "a test is the user who changes the tree by path")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use csync::model::entry::Digest;
use fastrand::Rng;

use crate::tree::{Snapshot, build, chmod, clear, rename, write};

/// What one side wrote at a path where the other wrote something else.
#[derive(Clone)]
pub(crate) struct Written {
    pub(crate) digest: Option<Digest>,
    pub(crate) target: Option<Vec<u8>>,
}

/// Two roots and what was done to them.
pub(crate) struct Edits {
    roots: [PathBuf; 2],
    random: Rng,
    counts: BTreeMap<&'static str, usize>,
    rivals: BTreeMap<String, [Written; 2]>,
    moved_files: u64,
    /// Where a file must stand, with its content: edits and new files under the old name of a renamed directory.
    follow: BTreeMap<String, Digest>,
}

impl Edits {
    pub(crate) fn new(first: &Path, second: &Path, seed: u64) -> Self {
        Self {
            roots: [first.to_owned(), second.to_owned()],
            random: Rng::with_seed(seed),
            counts: BTreeMap::new(),
            rivals: BTreeMap::new(),
            moved_files: 0,
            follow: BTreeMap::new(),
        }
    }

    /// The paths of all conflicts made so far.
    pub(crate) fn rivals(&self) -> &BTreeMap<String, [Written; 2]> {
        &self.rivals
    }

    /// How many files the renamed directories have that nobody touched.
    pub(crate) fn moved_files(&self) -> u64 {
        self.moved_files
    }

    /// The counts of what was done.
    pub(crate) fn told(&self) -> String {
        let counts: Vec<String> = self.counts.iter().map(|(what, n)| format!("{n} {what}")).collect();
        counts.join(", ")
    }

    /// New files and directories on each side, and a few paths that both have with contents of their own.
    pub(crate) fn on_one_side_only(&mut self) {
        for (side, root) in self.roots.clone().iter().enumerate() {
            for n in 0..60 {
                let text = format!("only on side {side}: {n} {}\n", self.random.u64(..));
                write(root, &format!("only-{side}/{}/file-{n}", n % 7), text.as_bytes());
            }
            build(root, &format!("only-{side}/empty/ only-{side}/link->0/file-0"));
        }
        for n in 0..5 {
            self.rival(&format!("shared/file-{n}"), |edits, side, path| {
                let text = format!("side {side} came first: {}\n", edits.random.u64(..));
                write(&edits.roots[side], path, text.as_bytes());
            });
        }
    }

    /// Hundreds of edits, deletes, renames, changes of type and of mode, and conflicts.
    pub(crate) fn everywhere(&mut self) {
        self.counts.clear();
        let tree = Snapshot::of(&self.roots[0]);
        let packages = packages(&tree);
        let (mut moved, mut rest) = (packages, Vec::new());
        self.random.shuffle(&mut moved);
        rest.extend(moved.split_off(14.min(moved.len() / 2)));
        self.removed(&rest[..3]);
        let rest: BTreeSet<&String> = rest[3..].iter().collect();
        let mut files: Vec<String> = tree
            .0
            .iter()
            .filter(|(_, node)| node.kind == 'f' && node.size > 0)
            .filter_map(|(path, _)| String::from_utf8(path.clone()).ok())
            .filter(|path| rest.iter().any(|package| is_below(path, package)))
            .collect();
        self.random.shuffle(&mut files);
        let mut files = files.into_iter();
        self.apart(&mut files);
        self.together(&mut files);
        self.renamed(&tree, &moved);
    }

    /// Changes that the other side knows nothing of.
    fn apart(&mut self, files: &mut impl Iterator<Item = String>) {
        for n in 0..900 {
            let path = files.next().expect("enough files");
            let root = self.roots[n % 2].clone();
            match n / 2 % 9 {
                0..4 => {
                    self.append(n % 2, &path);
                    self.count("edits");
                }
                4 | 5 => {
                    clear(&root, &path);
                    self.count("deletes");
                }
                6 => {
                    chmod(&root, &path, [0o600, 0o755, 0o440, 0o666][self.random.usize(..4)]);
                    self.count("modes");
                }
                7 => {
                    let text = format!("inner {}", self.random.u64(..));
                    clear(&root, &path);
                    write(&root, &format!("{path}/deep/inner"), text.as_bytes());
                    self.count("files to directories");
                }
                _ => {
                    build(&root, &format!("{path}->target-{n}"));
                    self.count("files to symlinks");
                }
            }
        }
        for side in 0..2 {
            for n in 0..4 {
                let root = self.roots[side].clone();
                clear(&root, &format!("only-{side}/{n}"));
                write(&root, &format!("only-{side}/{n}"), format!("flat {n}").as_bytes());
                self.count("directories to files");
            }
        }
    }

    /// Changes on both sides of the same path: conflicts, an edit against a delete, the same twice.
    fn together(&mut self, files: &mut impl Iterator<Item = String>) {
        let mut next = || files.next().expect("enough files");
        for _ in 0..30 {
            self.rival(&next(), |edits, side, path| edits.append(side, path));
        }
        for _ in 0..5 {
            self.rival(&next(), |edits, side, path| {
                if side == 0 {
                    edits.append(side, path);
                } else {
                    build(&edits.roots[side], &format!("{path}->rival"));
                }
            });
        }
        for n in 0..10 {
            let path = next();
            clear(&self.roots[n % 2], &path);
            self.append(1 - n % 2, &path);
            let edited = digest_at(&self.roots[1 - n % 2], &path).expect("the edit stands");
            self.follow.insert(path, edited);
            self.count("edits against deletes");
        }
        for _ in 0..5 {
            let path = next();
            for root in &self.roots {
                write(root, &path, format!("the same on both sides: {path}").as_bytes());
            }
            self.count("equal edits");
        }
        for _ in 0..5 {
            let path = next();
            for root in &self.roots {
                clear(root, &path);
            }
            self.count("equal deletes");
        }
    }

    /// Directories renamed on one side, while on the other a file in them is edited and one is new.
    fn renamed(&mut self, tree: &Snapshot, packages: &[String]) {
        for (n, package) in packages.iter().enumerate() {
            let (here, there) = (n % 2, 1 - n % 2);
            let name = package.rsplit('/').next().unwrap_or(package);
            let to = format!("moved-{here}/{name}");
            let files: Vec<&str> = tree
                .0
                .iter()
                .filter(|(_, node)| node.kind == 'f' && node.size > 0)
                .filter_map(|(path, _)| std::str::from_utf8(path).ok())
                .filter(|path| is_below(path, package))
                .collect();
            self.moved_files += files.len() as u64 - 1;
            rename(&self.roots[here], package, &to);
            self.count("renamed directories");
            let edited = files[self.random.usize(..files.len())];
            let fresh = format!("{package}/made-under-the-old-name");
            self.append(there, edited);
            write(&self.roots[there], &fresh, format!("new in {package}").as_bytes());
            for path in [edited, &fresh] {
                let digest = digest_at(&self.roots[there], path).expect("what was written stands");
                self.follow.insert(format!("{to}{}", &path[package.len()..]), digest);
            }
        }
    }

    /// Whole packages deleted.
    fn removed(&mut self, packages: &[String]) {
        for (n, package) in packages.iter().enumerate() {
            clear(&self.roots[n % 2], package);
            self.count("deleted directories");
        }
    }

    /// Stops the test unless each edit stands where it must.
    pub(crate) fn followed(&self, now: &Snapshot) {
        for (path, digest) in &self.follow {
            let stands = now.0.get(path.as_bytes()).and_then(|node| node.digest);
            assert!(stands == Some(*digest), "{path} does not have the edit made on the other side");
        }
    }

    fn rival(&mut self, path: &str, mut change: impl FnMut(&mut Self, usize, &str)) {
        for side in 0..2 {
            change(self, side, path);
        }
        let written = self.roots.each_ref().map(|root| Written {
            digest: digest_at(root, path),
            target: fs::read_link(root.join(path))
                .ok()
                .map(|target| target.into_os_string().into_encoded_bytes()),
        });
        self.rivals.insert(path.to_owned(), written);
        self.count("conflicts");
    }

    /// Adds a line that nobody else adds.
    fn append(&mut self, side: usize, path: &str) {
        let mut file =
            fs::File::options().append(true).open(self.roots[side].join(path)).expect("open a file");
        writeln!(file, "// side {side}: {}", self.random.u64(..)).expect("write to a file");
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}

/// The digest of a regular file.
fn digest_at(root: &Path, path: &str) -> Option<Digest> {
    let path = root.join(path);
    let is_file = fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
    is_file.then(|| Digest::of(&fs::read(path).expect("read a file")))
}

fn is_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// The directories of the second level that hold at least five files: one for each package of a registry.
fn packages(tree: &Snapshot) -> Vec<String> {
    let mut files: BTreeMap<String, usize> = BTreeMap::new();
    for (path, node) in &tree.0 {
        let Ok(path) = std::str::from_utf8(path) else {
            continue;
        };
        let mut parts = path.splitn(3, '/');
        let (Some(registry), Some(package), Some(_)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        if node.kind == 'f' && !registry.starts_with("only-") && registry != "shared" {
            *files.entry(format!("{registry}/{package}")).or_default() += 1;
        }
    }
    files.retain(|_, count| *count >= 5);
    files.into_keys().collect()
}

/// All contents of both trees.
pub(crate) fn contents(trees: &[Snapshot; 2]) -> BTreeSet<Digest> {
    trees.iter().flat_map(Snapshot::contents).collect()
}

/// The targets of the symlinks.
pub(crate) fn targets(tree: &Snapshot) -> BTreeSet<Vec<u8>> {
    tree.0.values().filter_map(|node| node.target.clone()).collect()
}
