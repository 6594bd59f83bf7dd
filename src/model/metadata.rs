//! Attributes of an entry, and the stat by which a change is noticed.

use crate::model::entry::Kind;

/// A moment, UTC: seconds since 1970 (may be negative) and nanoseconds below 10^9.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp {
    /// Whole seconds since the epoch, rounded down.
    pub secs: i64,
    /// Nanoseconds into that second.
    pub nanos: u32,
}

impl Timestamp {
    /// Returns the moment `secs` seconds and `nanos` nanoseconds after the epoch; `nanos` is capped below 10^9.
    #[must_use]
    pub fn new(secs: i64, nanos: u32) -> Self {
        Self { secs, nanos: nanos.min(999_999_999) }
    }

    /// Whether `self`, seen on a file system that may store coarser stamps, is `other`.
    ///
    /// Some file systems keep only multiples of 100 ns, 1 us, 1 ms, 10 ms or 1 s; a stamp that is `other` cut to one
    /// of these is the same stamp.
    #[must_use]
    pub fn is_cut_of(self, other: Self) -> bool {
        self.secs == other.secs
            && [1, 100, 1_000, 1_000_000, 10_000_000, 1_000_000_000]
                .iter()
                .any(|unit| other.nanos - other.nanos % unit == self.nanos)
    }

    /// Returns the whole nanoseconds from `earlier` to `self`, saturating.
    #[must_use]
    pub fn nanos_since(self, earlier: Self) -> i128 {
        (i128::from(self.secs) - i128::from(earlier.secs)) * 1_000_000_000 + i128::from(self.nanos)
            - i128::from(earlier.nanos)
    }
}

/// Owner and group by number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// The attributes that travel with an entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Attributes {
    /// Permission bits, the lower twelve of `st_mode`. Meaningless for symlinks, 0o777 there.
    pub mode: u32,
    /// Owner and group.
    pub owner: Owner,
    /// Modification time.
    pub mtime: Timestamp,
}

/// What `statx` said of an entry: enough to tell later whether it changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Stat {
    /// Kind of entry.
    pub kind: Kind,
    /// Mode bits, owner, modification time.
    pub attributes: Attributes,
    /// Bytes; for symlinks the length of the target.
    pub size: u64,
    /// Time of the last change of the inode.
    pub ctime: Timestamp,
    /// Inode number.
    pub ino: u64,
    /// Device number of the file system, `makedev(major, minor)`.
    pub dev: u64,
    /// Number of links.
    pub links: u64,
    /// Device number of a device node, else 0.
    pub rdev: u64,
}

impl Stat {
    /// Whether nothing that the kernel records about content or attributes moved between the two looks.
    ///
    /// `dev` is left out: some file systems get a new number at each mount. The change time covers owner and mode.
    #[must_use]
    pub fn same_state(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.ino == other.ino
            && self.size == other.size
            && self.attributes == other.attributes
            && self.ctime == other.ctime
    }

    /// Whether content cannot have changed between the two looks, as far as stamps can tell (size, mtime, inode).
    #[must_use]
    pub fn same_bytes(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.ino == other.ino
            && self.size == other.size
            && self.attributes.mtime == other.attributes.mtime
    }
}
