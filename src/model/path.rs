//! Relative paths: validated bytes, ordered parent before child.

use std::cmp::Ordering;
use std::fmt;

/// Longest accepted path, in bytes.
pub const PATH_BYTES_MAX: usize = 4096;
/// Longest accepted path component, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Most components a path may have.
pub const DEPTH_MAX: usize = 256;
/// The one directory below a root that belongs to csync and is never synchronised.
pub const PRIVATE_DIR: &[u8] = b".csync";

/// A path relative to a root: components separated by one `/`, none of them empty, `.` or `..`.
///
/// Names are bytes. They are never normalised, and need not be UTF-8. The root itself is the empty path.
///
/// The order is by components, bytewise, a parent before its children, which is the order of the bytes with `/`
/// read as 0. It is the one order used by walks, the index, revisions and plans. It differs from the order of the
/// plain bytes: `a/b` comes before `a.b` although `.` is smaller than `/`.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct RelPath(Box<[u8]>);

/// Why some bytes are not a [`RelPath`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A component is empty: a leading, trailing or doubled `/`.
    #[error("an empty path component")]
    EmptyComponent,
    /// A component is `.` or `..`.
    #[error("a `.` or `..` component")]
    DotComponent,
    /// The bytes contain NUL.
    #[error("a NUL byte")]
    Nul,
    /// A component is longer than [`NAME_BYTES_MAX`].
    #[error("a component of more than {NAME_BYTES_MAX} bytes")]
    NameTooLong,
    /// The path is longer than [`PATH_BYTES_MAX`].
    #[error("more than {PATH_BYTES_MAX} bytes")]
    PathTooLong,
    /// The path has more than [`DEPTH_MAX`] components.
    #[error("more than {DEPTH_MAX} components")]
    TooDeep,
}

impl RelPath {
    /// Returns the path of the root itself.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// Returns `bytes` as a path.
    ///
    /// # Errors
    /// Says which rule of [`RelPath`] the bytes break.
    pub fn new(bytes: &[u8]) -> Result<Self, PathError> {
        if bytes.is_empty() {
            return Ok(Self::root());
        }
        if bytes.len() > PATH_BYTES_MAX {
            return Err(PathError::PathTooLong);
        }
        let mut depth = 0;
        for name in bytes.split(|b| *b == b'/') {
            check_name(name)?;
            depth += 1;
        }
        if depth > DEPTH_MAX {
            return Err(PathError::TooDeep);
        }
        Ok(Self(bytes.into()))
    }

    /// Returns this path with one more component.
    ///
    /// # Errors
    /// `name` is no component, or the result would be too long or too deep.
    pub fn join(&self, name: &[u8]) -> Result<Self, PathError> {
        check_name(name)?;
        if self.0.len() + 1 + name.len() > PATH_BYTES_MAX {
            return Err(PathError::PathTooLong);
        }
        if self.depth() + 1 > DEPTH_MAX {
            return Err(PathError::TooDeep);
        }
        if self.is_root() {
            return Ok(Self(name.into()));
        }
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.len());
        bytes.extend_from_slice(&self.0);
        bytes.push(b'/');
        bytes.extend_from_slice(name);
        Ok(Self(bytes.into()))
    }

    /// Returns the bytes, components separated by `/`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number of components; 0 for the root.
    #[must_use]
    pub fn depth(&self) -> usize {
        if self.is_root() { 0 } else { self.0.iter().filter(|b| **b == b'/').count() + 1 }
    }

    /// Returns the last component; empty for the root.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        let start = self.0.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
        &self.0[start..]
    }

    /// Returns the path without its last component; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|b| *b == b'/').unwrap_or(0);
        Some(Self(self.0[..end].into()))
    }

    /// Returns every proper ancestor below the root, outermost first: for `a/b/c`, `a` and `a/b`.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> + '_ {
        (0..self.0.len()).filter(|at| self.0[*at] == b'/').map(|at| Self(self.0[..at].into()))
    }

    /// Whether `self` lies strictly below `ancestor`.
    #[must_use]
    pub fn is_below(&self, ancestor: &Self) -> bool {
        if ancestor.is_root() {
            return !self.is_root();
        }
        self.0.len() > ancestor.0.len() && self.0.starts_with(&ancestor.0) && self.0[ancestor.0.len()] == b'/'
    }

    /// Returns what remains of this path below `ancestor`; `None` where it does not lie below it.
    #[must_use]
    pub fn strip(&self, ancestor: &Self) -> Option<Self> {
        if !self.is_below(ancestor) {
            return None;
        }
        let start = if ancestor.is_root() { 0 } else { ancestor.0.len() + 1 };
        Some(Self(self.0[start..].into()))
    }

    /// Returns `self` followed by the components of `below`.
    ///
    /// # Errors
    /// The result would be too long or too deep.
    pub fn append(&self, below: &Self) -> Result<Self, PathError> {
        if self.is_root() {
            return Ok(below.clone());
        }
        if below.is_root() {
            return Ok(self.clone());
        }
        Self::new(&[&self.0, &b"/"[..], &below.0].concat())
    }

    /// Returns the bytes with `/` as 0: compared as plain bytes, such keys have the order of paths.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        self.0.iter().map(|b| if *b == b'/' { 0 } else { *b }).collect()
    }

    /// Returns the path whose [`key`](Self::key) is `key`.
    ///
    /// # Errors
    /// The key is not one of a valid path.
    pub fn from_key(key: &[u8]) -> Result<Self, PathError> {
        if key.contains(&b'/') {
            return Err(PathError::EmptyComponent);
        }
        let bytes: Vec<u8> = key.iter().map(|b| if *b == 0 { b'/' } else { *b }).collect();
        Self::new(&bytes)
    }
}

/// Checks that `name` may be one component of a path.
///
/// # Errors
/// Says which rule of [`RelPath`] the name breaks.
pub fn check_name(name: &[u8]) -> Result<(), PathError> {
    match name {
        b"" => Err(PathError::EmptyComponent),
        b"." | b".." => Err(PathError::DotComponent),
        _ if name.len() > NAME_BYTES_MAX => Err(PathError::NameTooLong),
        _ if name.contains(&0) => Err(PathError::Nul),
        _ if name.contains(&b'/') => Err(PathError::EmptyComponent),
        _ => Ok(()),
    }
}

impl Ord for RelPath {
    fn cmp(&self, other: &Self) -> Ordering {
        let shared = self.0.iter().zip(&other.0).take_while(|(a, b)| a == b).count();
        let rank =
            |bytes: &[u8]| bytes.get(shared).map_or(-1, |b| if *b == b'/' { 0 } else { i32::from(*b) });
        rank(&self.0).cmp(&rank(&other.0))
    }
}

impl PartialOrd for RelPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Shows the path with control characters, backslashes and bytes that are not UTF-8 escaped, so that no name can
/// forge a line of a log or steer a terminal.
impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        f.write_str(&escape(&self.0))
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

/// Returns `bytes` as text for people: printable UTF-8 as it is, every other byte as `\#ooo` (rsync's form, three
/// octal digits). A literal `\#` followed by three digits is escaped itself, so the form is unambiguous.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if steers(c) {
                let mut utf8 = [0; 4];
                for b in c.encode_utf8(&mut utf8).bytes() {
                    write!(text, "\\#{b:03o}").ok();
                }
            } else {
                text.push(c);
            }
        }
        for b in chunk.invalid() {
            write!(text, "\\#{b:03o}").ok();
        }
    }
    if bytes.windows(5).any(|w| w.starts_with(b"\\#") && w[2..].iter().all(u8::is_ascii_digit)) {
        return escape_literal(bytes);
    }
    text
}

/// Whether a character steers a terminal, ends a line, or changes the direction in which text is read.
#[must_use]
pub fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The rare case of [`escape`]: the name itself contains something that looks like an escape.
fn escape_literal(bytes: &[u8]) -> String {
    let mut parts = String::new();
    let mut start = 0;
    for at in 0..bytes.len() {
        let looks_escaped = bytes[at..].starts_with(b"\\#")
            && bytes.len() >= at + 5
            && bytes[at + 2..at + 5].iter().all(u8::is_ascii_digit);
        if looks_escaped {
            parts.push_str(&escape(&bytes[start..at]));
            parts.push_str("\\#134");
            start = at + 1;
        }
    }
    parts.push_str(&escape(&bytes[start..]));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn parents_come_before_children_and_children_before_longer_names() {
        let sorted = ["", "a", "a/b", "a/b/c", "a/z", "a.b", "a0", "b"];
        for pair in sorted.windows(2) {
            assert!(path(pair[0]) < path(pair[1]), "{pair:?}");
            assert!(path(pair[0]).key() < path(pair[1]).key(), "{pair:?}");
        }
    }

    #[test]
    fn what_leaves_the_root_or_names_nothing_is_refused() {
        for (bytes, why) in [
            (&b"/a"[..], PathError::EmptyComponent),
            (b"a/", PathError::EmptyComponent),
            (b"a//b", PathError::EmptyComponent),
            (b"..", PathError::DotComponent),
            (b"a/../b", PathError::DotComponent),
            (b"a/.", PathError::DotComponent),
            (b"a\0b", PathError::Nul),
            (&[b'x'; 256], PathError::NameTooLong),
            (&[b'x'; 5000], PathError::PathTooLong),
        ] {
            assert_eq!(RelPath::new(bytes), Err(why), "{bytes:?}");
        }
        assert_eq!(RelPath::new(&b"a/".repeat(300)[..599]), Err(PathError::TooDeep));
    }

    #[test]
    fn keys_round_trip() {
        for text in ["", "a", "a/b", "a b/\u{e4}"] {
            assert_eq!(RelPath::from_key(&path(text).key()), Ok(path(text)));
        }
        assert!(RelPath::from_key(b"a/b").is_err());
    }

    #[test]
    fn relations() {
        assert!(path("a/b").is_below(&path("a")));
        assert!(!path("ab").is_below(&path("a")));
        assert!(path("a").is_below(&RelPath::root()));
        assert_eq!(path("a/b/c").strip(&path("a")), Some(path("b/c")));
        assert_eq!(path("a/b/c").ancestors().collect::<Vec<_>>(), [path("a"), path("a/b")]);
        assert_eq!(path("a/b").parent(), Some(path("a")));
        assert_eq!(path("a").parent(), Some(RelPath::root()));
        assert_eq!(path("a").append(&path("b/c")), Ok(path("a/b/c")));
    }

    #[test]
    fn shown_names_cannot_steer_a_terminal() {
        assert_eq!(escape(b"a\nb\x1b[2J"), "a\\#012b\\#033[2J");
        assert_eq!(escape(b"caf\xe9"), "caf\\#351");
        assert_eq!(escape("cafe\u{301} \u{202e}".as_bytes()), "cafe\u{301} \\#342\\#200\\#256");
        assert_eq!(escape(b"a\\#012"), "a\\#134#012");
        assert_eq!(escape(b"plain \\ name"), "plain \\ name");
    }
}
