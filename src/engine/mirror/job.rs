//! One path that is to be changed.

use std::sync::Arc;

use crate::disk::attributes::Which;
use crate::disk::error::DiskError;
use crate::engine::mirror::directory::Directory;
use crate::engine::tree::Tree;
use crate::model::entry::{Content, Kind};
use crate::model::metadata::{Attributes, Stat};
use crate::model::path::RelPath;

/// One path that is not a directory, decided.
pub(crate) struct Job {
    pub(crate) source: Tree,
    pub(crate) from: RelPath,
    pub(crate) to: RelPath,
    pub(crate) stat: Stat,
    pub(crate) attributes: Attributes,
    pub(crate) which: Which,
    /// What stands at the destination.
    pub(crate) there: Option<Stat>,
    /// Whether content is written; else attributes alone.
    pub(crate) writes: bool,
    pub(crate) dir: Option<Arc<Directory>>,
}

impl Job {
    /// Returns what the source has, which is no regular file.
    pub(crate) fn content(&self) -> Result<Content, DiskError> {
        Ok(match self.stat.kind {
            Kind::Symlink => Content::Symlink(self.source.read_link(&self.from)?),
            Kind::Fifo => Content::Fifo,
            Kind::Socket => Content::Socket,
            kind @ (Kind::CharDevice | Kind::BlockDevice) => Content::Device { kind, rdev: self.stat.rdev },
            // Files are made with their bytes; directories are no jobs.
            Kind::File | Kind::Dir => Content::Dir,
        })
    }
}
