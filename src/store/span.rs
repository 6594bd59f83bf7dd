//! Ranges of path keys.

use crate::model::path::RelPath;

/// Keys from `low` (taken) to `high` (not taken), as plain bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The first key that may be taken.
    pub low: Vec<u8>,
    /// The first key behind it.
    pub high: Vec<u8>,
}

impl Span {
    /// Returns the range of all paths.
    #[must_use]
    pub fn all() -> Self {
        // No key reaches this: a component has at most 255 bytes, and behind it comes 0 or the end.
        Self { low: Vec::new(), high: vec![0xff; 256] }
    }

    /// Returns the range of what lies strictly below `dir`.
    #[must_use]
    pub fn below(dir: &RelPath) -> Self {
        if dir.is_root() {
            return Self { low: vec![0], ..Self::all() };
        }
        // In keys a 0 ends a component, so the descendants of `a` are what begins with `a\0`.
        Self { low: behind(&dir.key(), 0), high: behind(&dir.key(), 1) }
    }

    /// Returns what of this range comes after `path` itself.
    #[must_use]
    pub fn after(mut self, path: &RelPath) -> Self {
        self.low = self.low.max(behind(&path.key(), 0));
        self
    }

    /// Returns what of this range comes after `path` and all below it.
    #[must_use]
    pub fn after_tree(mut self, path: &RelPath) -> Self {
        self.low = self.low.max(if path.is_root() { self.high.clone() } else { behind(&path.key(), 1) });
        self
    }

    /// Returns what of this range comes before `path`.
    #[must_use]
    pub fn before(mut self, path: &RelPath) -> Self {
        self.high = self.high.min(path.key());
        self
    }
}

fn behind(key: &[u8], byte: u8) -> Vec<u8> {
    [key, &[byte]].concat()
}
