//! One include or exclude: whether it is about a path.

use crate::model::path::RelPath;
use crate::rules::pattern::Pattern;

/// One of the two ends of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Where entries are read: what is excluded here is not transferred.
    Sender,
    /// Where entries are written: what is excluded here is not deleted.
    Receiver,
}

/// A set of sides. The empty set means "not said", so the default applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sides {
    /// The rule acts where entries are read.
    pub sender: bool,
    /// The rule acts where entries are written.
    pub receiver: bool,
}

impl Sides {
    /// Both sides.
    pub const BOTH: Self = Self { sender: true, receiver: true };
    /// The sender alone.
    pub const SENDER: Self = Self { sender: true, receiver: false };
    /// The receiver alone.
    pub const RECEIVER: Self = Self { sender: false, receiver: true };

    /// Whether any side is said.
    #[must_use]
    pub fn is_said(self) -> bool {
        self.sender || self.receiver
    }

    /// Returns these sides or, where none is said, `default`.
    #[must_use]
    pub fn or(self, default: Self) -> Self {
        if self.is_said() { self } else { default }
    }

    /// Whether `side` is one of them.
    #[must_use]
    pub fn has(self, side: Side) -> bool {
        match side {
            Side::Sender => self.sender,
            Side::Receiver => self.receiver,
        }
    }
}

/// The modifiers of an include or exclude, which a merge hands on to the rules of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Modifiers {
    /// `/`: the pattern is about the path within the file system.
    pub absolute: bool,
    /// `!`: the rule is about what the pattern does not match.
    pub negated: bool,
    /// `p`: the rule is ignored inside a directory that is being deleted.
    pub perishable: bool,
    /// `x`: the rule is about names of extended attributes and matches no path.
    pub xattr: bool,
    /// `s` and `r`, or what `H S P R` say.
    pub sides: Sides,
}

/// An include or exclude: which paths it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// A matching path is included; otherwise it is excluded.
    pub include: bool,
    /// What holds beside the pattern.
    pub modifiers: Modifiers,
    /// What a path must match.
    pub pattern: Pattern,
}

impl Rule {
    /// Whether the rule is about `path`.
    ///
    /// A leading `/` of the pattern stands for `base`, the directory whose rule file holds the rule; with the modifier
    /// `/` it stands for the root of the file system, below which the transferred tree lies at `root`. A pattern
    /// without it sees the whole path within the transfer, also from a rule file deep inside.
    #[must_use]
    pub fn matches(&self, path: &RelPath, is_dir: bool, base: &RelPath, root: &[u8]) -> bool {
        let modifiers = self.modifiers;
        let bytes = path.as_bytes();
        let matched = if modifiers.xattr || path.is_root() {
            return false;
        } else if modifiers.absolute && !root.is_empty() && !self.pattern.is_name_only() {
            self.pattern.matches(&[root, b"/", bytes].concat(), is_dir)
        } else if self.pattern.is_anchored() && !modifiers.absolute && !base.is_root() {
            bytes
                .strip_prefix(base.as_bytes())
                .and_then(|rest| rest.strip_prefix(b"/"))
                .is_some_and(|rest| self.pattern.matches(rest, is_dir))
        } else {
            self.pattern.matches(bytes, is_dir)
        };
        matched != modifiers.negated
    }

    /// Whether the rule matches every path.
    #[must_use]
    pub fn matches_everything(&self) -> bool {
        !self.modifiers.xattr && !self.modifiers.negated && self.pattern.matches_everything()
    }
}
