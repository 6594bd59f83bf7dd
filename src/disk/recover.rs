//! Clears the stage after an unclean stop: what is the user's is saved, what is ours is removed.

use std::collections::BTreeMap;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use crate::disk::apply::Apply;
use crate::disk::error::{DiskError, Doing};
use crate::disk::hash::{PIECE_BYTES, digest_of};
use crate::disk::kept::{KeptAt, move_new};
use crate::disk::leftover::{self, Label};
use crate::disk::mark::{self, Mark};
use crate::disk::private::names_in;
use crate::disk::root::{open_file_at, stat_at};
use crate::fault::{Point, pass};
use crate::model::entry::{Content, Digest, Kind};
use crate::model::metadata::Stat;
use crate::model::path::RelPath;

/// Something that a stop left behind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// The path that was being dealt with; `None` for something that never came near one. Look at it again.
    pub path: Option<RelPath>,
    /// What was done with it.
    pub outcome: Outcome,
}

/// What recovery did with something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was ours and never took a place, or stands in the tree as well: removed, or left over for the next run.
    Cleared,
    /// It had been taken away to be removed: it stands at its path again, and the removal is still to be done.
    Restored,
    /// It was displaced: it is in the version store.
    Kept(KeptAt),
}

impl Apply {
    /// Clears the stage. Call it before anything is staged, with the lock held; it may be stopped and called again.
    ///
    /// A staged entry is removed only if it never was marked as one that may be exchanged, or holds the very content
    /// that it was staged for. Everything else was displaced from the tree: it goes back to its path if it was to be
    /// removed and the path is free, else into the version store under its path. What never was marked and came from a
    /// peer is left over for the next run.
    ///
    /// # Errors
    /// The system refused. What was not dealt with is still in the stage.
    pub fn recover(&self) -> Result<Vec<Recovered>, DiskError> {
        let stage = self.private.stage();
        let failed = |source| shown(Doing::List, b"", source);
        let mut marks = BTreeMap::new();
        let mut left = Vec::new();
        for entry in names_in(stage).map_err(failed)? {
            match mark::read(stage, &entry).map_err(failed)? {
                Some((name, mark)) => {
                    marks.insert(name, (entry, mark));
                }
                None => left.push(entry),
            }
        }
        let mut recovered = Vec::new();
        for name in left {
            let mark = marks.remove(&name[..]);
            let outcome = self.recover_one(&name, mark.as_ref().map(|(_, mark)| mark))?;
            if let Some((entry, _)) = &mark {
                self.unlink(entry, AtFlags::empty())?;
            }
            pass(Point::RecoverCleared);
            recovered.push(Recovered { path: mark.and_then(|(_, mark)| mark.path), outcome });
        }
        for (entry, _) in marks.into_values() {
            self.unlink(&entry, AtFlags::empty())?;
        }
        self.kept.flush()?;
        Ok(recovered)
    }

    fn recover_one(&self, name: &[u8], mark: Option<&Mark>) -> Result<Outcome, DiskError> {
        let stage = self.private.stage();
        let stat = stat_at(stage, name).map_err(|source| shown(Doing::Stat, name, source))?;
        pass(Point::RecoverFound);
        let ours = match mark {
            None => true,
            Some(mark) if stat.links > 1 && self.stands_there(mark, &stat)? => true,
            Some(Mark { digest: Some(digest), .. }) => self.digest_of(name, &stat)? == *digest,
            Some(Mark { digest: None, .. }) => false,
        };
        let flags = if stat.kind == Kind::Dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        let is_left_over = mark.is_none()
            && Label::of(name).is_some_and(|label| leftover::keep(&self.private, name, &label));
        if is_left_over || ours && self.unlink(name, flags)? {
            return Ok(Outcome::Cleared);
        }
        if let Some(Mark { digest: None, path: Some(path) }) = mark
            && self.restore(name, path)?
        {
            return Ok(Outcome::Restored);
        }
        let path = mark.and_then(|mark| mark.path.clone());
        let path = match path {
            Some(path) => path,
            None => RelPath::new(&[b"recovered/", name].concat())
                .map_err(|source| DiskError::Name { path: name.into(), source })?,
        };
        let kept = self.kept.put(&self.batch, &path, stage, name)?;
        pass(Point::RecoverKept);
        Ok(Outcome::Kept(kept))
    }

    /// Whether the same inode stands at the path of `mark`: then the name in the stage is only a second one.
    fn stands_there(&self, mark: &Mark, stat: &Stat) -> Result<bool, DiskError> {
        let Some(path) = &mark.path else { return Ok(false) };
        Ok(self.root.stat(path)?.is_some_and(|live| live.ino == stat.ino && live.dev == stat.dev))
    }

    /// Moves `name` back to `path`, if that is free. Returns whether it was.
    fn restore(&self, name: &[u8], path: &RelPath) -> Result<bool, DiskError> {
        let parent = match self.root.parent(path) {
            Ok(parent) => parent,
            Err(error) if error.is_vanished() || error.is_other_kind() => return Ok(false),
            Err(error) => return Err(error),
        };
        match move_new(self.private.stage(), name, &parent, path.name()) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(source) => Err(DiskError::call(Doing::Rename, path, source)),
        }
    }

    /// Removes `name` from the stage. Returns `false` for a directory that is not empty.
    fn unlink(&self, name: &[u8], flags: AtFlags) -> Result<bool, DiskError> {
        match rustix::fs::unlinkat(self.private.stage(), name, flags) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(source) => Err(shown(Doing::Remove, name, source)),
        }
    }

    /// Returns the digest that names the content of `name`.
    fn digest_of(&self, name: &[u8], stat: &Stat) -> Result<Digest, DiskError> {
        let stage = self.private.stage();
        let failed = |source| shown(Doing::Read, name, source);
        let content = match stat.kind {
            Kind::File => {
                let (mut file, _) = open_file_at(stage, name).map_err(failed)?;
                return digest_of(&mut file, &mut vec![0; PIECE_BYTES])
                    .map(|(digest, _)| digest)
                    .map_err(failed);
            }
            Kind::Symlink => {
                let target = rustix::fs::readlinkat(stage, name, Vec::new()).map_err(failed)?;
                Content::Symlink(target.into_bytes().into())
            }
            Kind::Dir => Content::Dir,
            Kind::Fifo => Content::Fifo,
            Kind::Socket => Content::Socket,
            Kind::CharDevice | Kind::BlockDevice => Content::Device { kind: stat.kind, rdev: stat.rdev },
        };
        Ok(content.digest())
    }
}

fn shown(doing: Doing, name: &[u8], source: Errno) -> DiskError {
    DiskError::Call { doing, path: [b".csync/stage/", name].concat().into(), source }
}

#[cfg(test)]
mod tests;
