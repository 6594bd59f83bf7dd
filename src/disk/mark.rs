//! Marks beside staged entries: what a stop in the middle of an exchange leaves to read.
//!
//! An entry `N` of the stage is marked by a symlink `N.LABEL` before it may hold something of the user's. The label is
//! the digest that `N` was staged for, or `removed`; the symlink's target is the path that is dealt with, as data. A
//! symlink is made whole or not at all, and costs no flush.

use std::os::fd::BorrowedFd;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use crate::model::entry::Digest;
use crate::model::path::RelPath;

/// The label of an entry that was taken from its path, to be removed.
const REMOVED: &str = "removed";
/// What a mark says where the path does not fit a symlink.
const NO_PATH: &[u8] = b"/";

/// What a mark says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Mark {
    /// The content that was staged under the name; `None` if nothing was, because a path was to be emptied.
    pub(crate) digest: Option<Digest>,
    /// The path that was dealt with.
    pub(crate) path: Option<RelPath>,
}

/// Returns the name of the mark of `name`.
fn mark_name(name: &str, digest: Option<Digest>) -> String {
    digest.map_or_else(|| format!("{name}.{REMOVED}"), |digest| format!("{name}.{digest}"))
}

/// Marks `name`. From now on it may hold what the user had at `path`.
pub(crate) fn set(
    stage: BorrowedFd<'_>,
    name: &str,
    digest: Option<Digest>,
    path: &RelPath,
) -> rustix::io::Result<()> {
    let mark = mark_name(name, digest);
    match rustix::fs::symlinkat(path.as_bytes(), stage, mark.as_str()) {
        Err(Errno::NAMETOOLONG) => rustix::fs::symlinkat(NO_PATH, stage, mark.as_str()),
        result => result,
    }
}

/// Takes the mark of `name` away.
pub(crate) fn clear(stage: BorrowedFd<'_>, name: &str, digest: Option<Digest>) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(stage, mark_name(name, digest), AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Returns the staged name that `entry` marks, and what it says; `None` if it is no mark.
pub(crate) fn read(stage: BorrowedFd<'_>, entry: &[u8]) -> rustix::io::Result<Option<(Vec<u8>, Mark)>> {
    let Some(dot) = entry.iter().position(|b| *b == b'.') else {
        return Ok(None);
    };
    let (name, label) = (&entry[..dot], &entry[dot + 1..]);
    let digest = match parse_digest(label) {
        Some(digest) => Some(digest),
        None if label == REMOVED.as_bytes() => None,
        None => return Ok(None),
    };
    let target = match rustix::fs::readlinkat(stage, entry, Vec::new()) {
        Ok(target) => target.into_bytes(),
        Err(Errno::INVAL) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let path = RelPath::new(&target).ok().filter(|path| !path.is_root());
    Ok(Some((name.to_vec(), Mark { digest, path })))
}

/// Returns the digest whose hexadecimal form is `label`.
pub(crate) fn parse_digest(label: &[u8]) -> Option<Digest> {
    let mut digest = Digest([0; 32]);
    if label.len() != 2 * digest.0.len() {
        return None;
    }
    for (byte, pair) in digest.0.iter_mut().zip(label.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn a_mark_reads_back_whatever_the_path() {
        let tree = tempfile::tempdir().unwrap();
        let root = crate::disk::root::Root::open(tree.path()).unwrap();
        let stage = root.fd();
        let long = RelPath::new(&[&[b'a'; 15][..]; 256].join(&b'/')[..4095]).unwrap();
        for (case, digest, path) in [
            ("a digest", Some(Digest::of(b"x")), RelPath::new(b"a/\xff b").unwrap()),
            ("a removal", None, RelPath::new(b"../x".split_at(3).1).unwrap()),
            ("the longest path", None, long),
        ] {
            set(stage, "n1", digest, &path).unwrap();
            let entry = mark_name("n1", digest);
            let read = read(stage, entry.as_bytes()).unwrap();
            assert_eq!(read, Some((b"n1".to_vec(), Mark { digest, path: Some(path) })), "{case}");
            clear(stage, "n1", digest).unwrap();
        }
        assert_eq!(read(stage, b"n1"), Ok(None));
    }
}
