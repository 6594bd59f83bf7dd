//! What `--backup` keeps of an entry that is replaced or deleted.

use crate::disk::apply::{ApplyError, Fate};
use crate::disk::attributes::Which;
use crate::disk::error::{DiskError, Doing};
use crate::disk::stage::{StageError, Target};
use crate::engine::mirror::hand::Means;
use crate::model::entry::{Content, Kind};
use crate::model::metadata::{Attributes, Stat};
use crate::model::path::RelPath;

/// Where old entries go.
pub(crate) struct Backup {
    /// The tree of the backups where it lies outside the destination.
    pub(crate) elsewhere: Option<Means>,
    /// The directory in that tree.
    pub(crate) dir: RelPath,
    /// What is added to names.
    pub(crate) suffix: Vec<u8>,
    /// The mode of a directory that corresponds to none of the destination.
    pub(crate) dir_mode: u32,
    /// Whether old entries stay beside the new ones.
    pub(crate) beside: bool,
}

impl Backup {
    /// Whether `path` is itself a backup beside its file, of which none is made.
    fn is_backup(&self, path: &RelPath) -> bool {
        self.beside && path.name().ends_with(&self.suffix)
    }

    /// Returns where the old entry of `path` goes.
    fn place(&self, path: &RelPath) -> Result<RelPath, DiskError> {
        let name = [path.name(), &self.suffix].concat();
        let name_error = |source| DiskError::Name { path: path.as_bytes().into(), source };
        let parent = path.parent().unwrap_or_default();
        self.dir.append(&parent).and_then(|dir| dir.join(&name)).map_err(name_error)
    }

    /// Keeps a copy of `there`, which stands at `path` and stays until it is replaced: no reader finds it missing.
    /// Returns the directory of the destination in which a name changed, if one did.
    pub(crate) fn copy(
        &self,
        own: &Means,
        path: &RelPath,
        there: &Stat,
    ) -> Result<Option<RelPath>, ApplyError> {
        if there.kind == Kind::Dir || self.is_backup(path) {
            return Ok(None);
        }
        let hand = self.elsewhere.as_ref().unwrap_or(own);
        let to = self.place(path)?;
        self.make_way(own, hand, &to)?;
        let staged = match there.kind {
            Kind::File => {
                let (file, _) = own.root.open_file(path)?;
                hand.stage.file(&to, Target::Free)?.fill_from(&file, None).map_err(|error| match error {
                    StageError::Disk(error) => error.into(),
                    StageError::Source { source, .. } => DiskError::io(Doing::Read, path, &source).into(),
                    StageError::Mismatch { .. } | StageError::Busy { .. } => {
                        ApplyError::Changed { path: path.clone(), found: None, kept: None }
                    }
                })?
            }
            Kind::Symlink => hand.stage.other(&to, &Content::Symlink(own.root.read_link(path)?))?,
            Kind::Fifo => hand.stage.other(&to, &Content::Fifo)?,
            Kind::Socket => hand.stage.other(&to, &Content::Socket)?,
            kind @ (Kind::CharDevice | Kind::BlockDevice) => {
                hand.stage.other(&to, &Content::Device { kind, rdev: there.rdev })?
            }
            Kind::Dir => return Ok(None),
        };
        staged.set_attributes(&there.attributes, Which::ALL)?;
        hand.apply.publish_new(staged)?;
        Ok(to.parent().filter(|_| self.elsewhere.is_none()))
    }

    /// Moves `there` from `path`, which is being deleted. Returns the directory that it is in
    /// now; `None` if it stands where it stood.
    pub(crate) fn take(
        &self,
        own: &Means,
        path: &RelPath,
        there: &Stat,
    ) -> Result<Option<RelPath>, ApplyError> {
        if there.kind == Kind::Dir || self.is_backup(path) {
            return Ok(None);
        }
        if self.elsewhere.is_some() {
            self.copy(own, path, there)?;
            return Ok(None);
        }
        let to = self.place(path)?;
        self.make_way(own, own, &to)?;
        own.apply.rename(path, &to, there)?;
        Ok(to.parent())
    }

    /// Makes the directories above `to`, with the modes of those whose backups they hold, and removes an older backup.
    fn make_way(&self, own: &Means, hand: &Means, to: &RelPath) -> Result<(), ApplyError> {
        for dir in to.ancestors() {
            let made = match hand.apply.make_dir(&dir) {
                Ok(made) => made,
                Err(ApplyError::Taken { .. }) => continue,
                Err(error) => return Err(error),
            };
            let origin = dir.strip(&self.dir).and_then(|origin| own.root.stat(&origin).ok()?);
            let attributes = Attributes {
                mode: origin.map_or(self.dir_mode, |origin| origin.attributes.mode),
                ..made.attributes
            };
            let which = Which { mode: true, ..Which::default() };
            hand.apply.set_attributes(&dir, &attributes, which, &made)?;
        }
        match hand.root.stat(to)? {
            Some(old) if old.kind == Kind::Dir => hand.apply.remove_dir(to).map(drop),
            Some(old) => hand.apply.remove(to, &old, Fate::Discard).map(drop),
            None => Ok(()),
        }
    }
}
