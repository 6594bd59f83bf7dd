//! The users and groups of this machine, by number and by name.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use uzers::{Groups as _, Users as _, UsersCache};

use crate::rules::owner::Names;

/// The system's databases of users and groups; every answer is asked for once.
#[derive(Default)]
pub struct SystemNames(UsersCache);

impl SystemNames {
    /// Returns the names, none of them looked up yet.
    #[must_use]
    pub fn new() -> Self {
        Self(UsersCache::new())
    }
}

impl Names for SystemNames {
    fn user_name(&self, uid: u32) -> Option<Vec<u8>> {
        self.0.get_user_by_uid(uid).map(|user| user.name().as_bytes().to_vec())
    }

    fn group_name(&self, gid: u32) -> Option<Vec<u8>> {
        self.0.get_group_by_gid(gid).map(|group| group.name().as_bytes().to_vec())
    }

    fn user_id(&self, name: &str) -> Option<u32> {
        self.0.get_user_by_name(OsStr::new(name)).map(|user| user.uid())
    }

    fn group_id(&self, name: &str) -> Option<u32> {
        self.0.get_group_by_name(OsStr::new(name)).map(|group| group.gid())
    }
}
