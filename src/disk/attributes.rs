//! Sets owner, mode and modification time of an open entry.

use std::os::fd::{AsFd, AsRawFd as _};

use rustix::fs::{AtFlags, CWD, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;

use crate::disk::root::stat_fd;
use crate::fault::{Point, pass};
use crate::model::entry::Kind;
use crate::model::metadata::Attributes;

/// A choice among the attributes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Which {
    /// Permission bits.
    pub mode: bool,
    /// The owning user.
    pub owner: bool,
    /// The owning group.
    pub group: bool,
    /// Modification time.
    pub mtime: bool,
}

impl Which {
    /// All attributes.
    pub const ALL: Self = Self { mode: true, owner: true, group: true, mtime: true };

    /// Whether none is chosen.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// Whether this process may give files away and make device nodes.
#[must_use]
pub fn is_superuser() -> bool {
    rustix::process::geteuid().is_root()
}

/// Sets those attributes of the entry behind `fd` that `which` names. Returns those that this process may not set.
///
/// `fd` may be opened with `O_PATH`, so that this works on every kind and without the right to read. Owner and group
/// come first, because a change of either clears the set-id bits; these bits are left off where the owner or group
/// they speak for was refused. The time comes last. The mode of a symlink does not exist.
///
/// # Errors
/// The system refused for another reason than a missing right.
pub(crate) fn set_fd(
    fd: impl AsFd,
    kind: Kind,
    attributes: &Attributes,
    which: Which,
) -> rustix::io::Result<Which> {
    let mut refused = Which::default();
    let before = stat_fd(&fd)?.attributes;
    let owner = attributes.owner;
    if which.owner && before.owner.uid != owner.uid {
        refused.owner = !allowed(chown(&fd, Some(Uid::from_raw(owner.uid)), None))?;
    }
    if which.group && before.owner.gid != owner.gid {
        refused.group = !allowed(chown(&fd, None, Some(Gid::from_raw(owner.gid))))?;
    }
    pass(Point::AttributesOwner);
    if which.mode && kind != Kind::Symlink {
        let mut mode = attributes.mode & 0o7777;
        if refused.owner && kind != Kind::Dir {
            mode &= !0o4000;
        }
        if refused.group && kind != Kind::Dir {
            mode &= !0o2000;
        }
        refused.mode = !allowed(chmod(&fd, Mode::from_raw_mode(mode)))?;
    }
    pass(Point::AttributesMode);
    if which.mtime {
        let mtime = Timespec { tv_sec: attributes.mtime.secs, tv_nsec: i64::from(attributes.mtime.nanos) };
        refused.mtime = !allowed(touch(&fd, mtime))?;
    }
    pass(Point::AttributesTime);
    Ok(refused)
}

/// Returns whether a change was made; `false` where this process lacks the right.
fn allowed(result: rustix::io::Result<()>) -> rustix::io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        // EINVAL: an id that the user namespace does not map.
        Err(Errno::PERM | Errno::ACCESS | Errno::INVAL) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn chown(fd: impl AsFd, owner: Option<Uid>, group: Option<Gid>) -> rustix::io::Result<()> {
    rustix::fs::chownat(fd, "", owner, group, AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW)
}

fn chmod(fd: impl AsFd, mode: Mode) -> rustix::io::Result<()> {
    match rustix::fs::fchmod(&fd, mode) {
        // Opened with `O_PATH`: the link below /proc leads to this very inode.
        Err(Errno::BADF) => rustix::fs::chmodat(CWD, proc_link(fd), mode, AtFlags::empty()),
        result => result,
    }
}

fn touch(fd: impl AsFd, last_modification: Timespec) -> rustix::io::Result<()> {
    let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let times = Timestamps { last_access, last_modification };
    let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
    match rustix::fs::utimensat(&fd, "", &times, flags) {
        // Before Linux 5.8 the empty path is not known here.
        Err(Errno::INVAL | Errno::NOENT) => {
            rustix::fs::utimensat(CWD, proc_link(fd), &times, AtFlags::empty())
        }
        result => result,
    }
}

/// Returns the name below /proc by which the entry behind `fd` can be reached.
pub(crate) fn proc_link(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

#[cfg(test)]
pub(crate) mod tests;
