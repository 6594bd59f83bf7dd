//! Which of the paths that vanished and appeared in one scan are renames.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::entry::{Content, Digest};
use crate::model::path::RelPath;

/// A path that vanished or appeared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The path.
    pub path: RelPath,
    /// What stood or stands there.
    pub content: Content,
    /// Device and inode, as recorded when it was last seen.
    pub inode: (u64, u64),
}

/// One rename.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Move {
    /// The old path.
    pub from: RelPath,
    /// The new path.
    pub to: RelPath,
}

/// Returns the renames among the paths of one scan, one to one, in order of the new path.
///
/// Both lists are in path order. A file or symlink moved if inode and content are the same; failing that, a file
/// that is not empty moved if its digest is the same, a path of the same name first, then the nearest in path order.
/// A directory moved if the inode is the same and something below it moved along: inode numbers are used again, and
/// what is created in the old directory elsewhere will follow the move (S13), so a number alone is no proof.
///
/// A rename is an optimisation of delete and create; a pair that is missed costs bytes, never data.
#[must_use]
pub fn pair(vanished: &[Candidate], appeared: &[Candidate]) -> Vec<Move> {
    let mut taken = BTreeSet::new();
    let mut moves: BTreeMap<RelPath, RelPath> = BTreeMap::new();
    let by_inode: BTreeMap<(u64, u64), &Candidate> =
        vanished.iter().map(|candidate| (candidate.inode, candidate)).collect();
    for new in appeared.iter().filter(|new| !new.content.is_dir()) {
        if let Some(old) = by_inode.get(&new.inode).filter(|old| old.content == new.content)
            && taken.insert(&old.path)
        {
            moves.insert(new.path.clone(), old.path.clone());
        }
    }
    let mut by_digest: BTreeMap<Digest, Vec<&Candidate>> = BTreeMap::new();
    for old in vanished.iter().filter(|old| old.content.size() > 0 && !taken.contains(&old.path)) {
        by_digest.entry(old.content.digest()).or_default().push(old);
    }
    for new in appeared.iter().filter(|new| new.content.size() > 0) {
        if moves.contains_key(&new.path) {
            continue;
        }
        if let Some(old) = by_digest.get_mut(&new.content.digest()).and_then(|olds| take_nearest(olds, new)) {
            moves.insert(new.path.clone(), old.path.clone());
        }
    }
    let carried: BTreeSet<(RelPath, RelPath)> =
        moves.iter().flat_map(|(to, from)| parents_moved_along(from, to)).collect();
    for new in appeared.iter().filter(|new| new.content.is_dir()) {
        if let Some(old) = by_inode.get(&new.inode)
            && old.content.is_dir()
            && carried.contains(&(old.path.clone(), new.path.clone()))
        {
            moves.insert(new.path.clone(), old.path.clone());
        }
    }
    moves.into_iter().map(|(to, from)| Move { from, to }).collect()
}

fn take_nearest<'a>(olds: &mut Vec<&'a Candidate>, new: &Candidate) -> Option<&'a Candidate> {
    let same_name = olds.iter().position(|old| old.path.name() == new.path.name());
    let next = olds.partition_point(|old| old.path < new.path);
    let at = same_name.or_else(|| if next < olds.len() { Some(next) } else { olds.len().checked_sub(1) })?;
    Some(olds.remove(at))
}

/// The pairs of ancestors whose tails agree: `a/x/f` moved to `b/x/f` carries `a/x` to `b/x` and `a` to `b`.
fn parents_moved_along(from: &RelPath, to: &RelPath) -> Vec<(RelPath, RelPath)> {
    let mut pairs = Vec::new();
    let (mut old, mut new) = (from.clone(), to.clone());
    while old.name() == new.name()
        && let (Some(old_parent), Some(new_parent)) = (old.parent(), new.parent())
        && old_parent != new_parent
        && !old_parent.is_root()
        && !new_parent.is_root()
    {
        pairs.push((old_parent.clone(), new_parent.clone()));
        (old, new) = (old_parent, new_parent);
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    fn file(at: &str, byte: u8, ino: u64) -> Candidate {
        let content = Content::File { digest: Digest([byte; 32]), size: u64::from(byte) };
        Candidate { path: path(at), content, inode: (1, ino) }
    }

    fn dir(at: &str, ino: u64) -> Candidate {
        Candidate { path: path(at), content: Content::Dir, inode: (1, ino) }
    }

    fn check(case: &str, vanished: &[Candidate], appeared: &[Candidate], expected: &[(&str, &str)]) {
        let expected: Vec<Move> =
            expected.iter().map(|(from, to)| Move { from: path(from), to: path(to) }).collect();
        assert_eq!(pair(vanished, appeared), expected, "{case}");
    }

    #[test]
    fn renames_are_recognised_and_chance_likeness_is_not() {
        check("by inode", &[file("a", 1, 7)], &[file("b", 1, 7)], &[("a", "b")]);
        check("an empty file by inode", &[file("a", 0, 7)], &[file("b", 0, 7)], &[("a", "b")]);
        check("an inode used again for another content", &[file("a", 1, 7)], &[file("b", 2, 7)], &[]);
        check("by digest", &[file("a", 1, 7)], &[file("b", 1, 8)], &[("a", "b")]);
        check("empty files are alike by chance", &[file("a", 0, 7)], &[file("b", 0, 8)], &[]);
        check(
            "same name first",
            &[file("a/one", 1, 5), file("a/two", 1, 6)],
            &[file("b/two", 1, 9)],
            &[("a/two", "b/two")],
        );
        check("one to one", &[file("a", 1, 5)], &[file("b", 1, 8), file("c", 1, 9)], &[("a", "b")]);
        check(
            "a directory with what is in it",
            &[dir("a", 2), dir("a/s", 3), file("a/s/f", 1, 4)],
            &[dir("b", 2), dir("b/s", 3), file("b/s/f", 1, 4)],
            &[("a", "b"), ("a/s", "b/s"), ("a/s/f", "b/s/f")],
        );
        check(
            "a directory's inode used again",
            &[dir("a", 2), file("a/f", 1, 4)],
            &[dir("b", 2), file("b/g", 2, 5)],
            &[],
        );
    }
}
