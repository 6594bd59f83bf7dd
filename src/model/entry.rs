//! What stands at a path: its content, and the digest that names a file's bytes.

use std::fmt;

use data_encoding::HEXLOWER;

/// The BLAKE3 digest of a file's bytes, 32 bytes.
///
/// # Source
/// O'Connor et al., "BLAKE3: one function, fast everywhere", 2020.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Returns the digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Returns the digest that these 64 hexadecimal digits are, in lower case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }

    /// Returns the first 16 hexadecimal digits, enough for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string()[..16].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", &self.short()[..8])
    }
}

/// What kind of thing a directory entry is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link; its target is data and is never followed.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

impl Kind {
    /// Whether this is a character or block device.
    #[must_use]
    pub fn is_device(self) -> bool {
        matches!(self, Self::CharDevice | Self::BlockDevice)
    }

    /// Whether this is a FIFO or a socket (rsync's "specials").
    #[must_use]
    pub fn is_special(self) -> bool {
        matches!(self, Self::Fifo | Self::Socket)
    }

    /// Returns rsync's letter for this kind, the second of an itemized line: `f d L D S`.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::File => 'f',
            Self::Dir => 'd',
            Self::Symlink => 'L',
            Self::CharDevice | Self::BlockDevice => 'D',
            Self::Fifo | Self::Socket => 'S',
        }
    }

    /// Returns the word for messages.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Dir => "directory",
            Self::Symlink => "symlink",
            Self::Fifo => "FIFO",
            Self::Socket => "socket",
            Self::CharDevice => "character device",
            Self::BlockDevice => "block device",
        }
    }
}

/// What a path holds, apart from its attributes. Two equal contents are never a conflict.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Content {
    /// A directory; its children are entries of their own.
    Dir,
    /// A regular file of `size` bytes with this digest.
    File {
        /// Digest of the bytes.
        digest: Digest,
        /// Number of bytes.
        size: u64,
    },
    /// A symbolic link with this target, at most 4,095 bytes.
    Symlink(Box<[u8]>),
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A device of this kind and number.
    Device {
        /// [`Kind::CharDevice`] or [`Kind::BlockDevice`].
        kind: Kind,
        /// The device number, `makedev(major, minor)`.
        rdev: u64,
    },
}

impl Content {
    /// Returns the kind of thing this is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Dir => Kind::Dir,
            Self::File { .. } => Kind::File,
            Self::Symlink(_) => Kind::Symlink,
            Self::Fifo => Kind::Fifo,
            Self::Socket => Kind::Socket,
            Self::Device { kind, .. } => *kind,
        }
    }

    /// Returns the number of content bytes; 0 for everything but files.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } => *size,
            Self::Dir | Self::Symlink(_) | Self::Fifo | Self::Socket | Self::Device { .. } => 0,
        }
    }

    /// Returns a digest that names this content among all contents, files by their own digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        match self {
            Self::File { digest, .. } => *digest,
            Self::Dir => Digest::of(b"csync dir"),
            Self::Symlink(target) => Digest::of(&[b"csync symlink\0", &target[..]].concat()),
            Self::Fifo => Digest::of(b"csync fifo"),
            Self::Socket => Digest::of(b"csync socket"),
            Self::Device { kind, rdev } => {
                Digest::of(&[b"csync device\0", kind.word().as_bytes(), &rdev.to_be_bytes()].concat())
            }
        }
    }

    /// Whether this is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        matches!(self, Self::Dir)
    }
}
