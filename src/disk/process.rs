//! Who this process is to the file system.

use rustix::fs::Mode;

use crate::model::metadata::Owner;

/// The rights and habits of this process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Process {
    /// Whether it is the superuser.
    pub is_root: bool,
    /// Whose the files are that it makes.
    pub owner: Owner,
    /// The groups that it may give to what it owns.
    pub groups: Vec<u32>,
    /// The permission bits that new entries do not get.
    pub umask: u32,
}

impl Process {
    /// Returns what holds now. To be called before threads make files: the mask can only be read by setting it.
    #[must_use]
    pub fn now() -> Self {
        let umask = rustix::process::umask(Mode::from_raw_mode(0o077));
        rustix::process::umask(umask);
        let own = rustix::process::getegid();
        let groups = rustix::process::getgroups().unwrap_or_default();
        Self {
            is_root: rustix::process::geteuid().is_root(),
            owner: Owner { uid: rustix::process::geteuid().as_raw(), gid: own.as_raw() },
            groups: groups.into_iter().chain([own]).map(|gid| gid.as_raw()).collect(),
            umask: umask.as_raw_mode(),
        }
    }
}
