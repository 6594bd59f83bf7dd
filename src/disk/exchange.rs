//! Replaces what stands at a path, whatever kind it and the new entry are, and loses neither.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;

use crate::disk::apply::{Apply, ApplyError, Fate, is_expected};
use crate::disk::error::{DiskError, Doing};
use crate::disk::kept::{KeptAt, move_new};
use crate::disk::mark;
use crate::disk::root::{stat_at, stat_fd};
use crate::disk::stage::Staged;
use crate::fault::{Point, pass};
use crate::model::entry::{Digest, Kind};
use crate::model::metadata::Stat;
use crate::model::path::RelPath;

/// What a replacement did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replaced {
    /// What stands at the path now.
    pub live: Stat,
    /// Where the old entry is kept; `None` if it was discarded, or was an empty directory.
    pub kept: Option<KeptAt>,
}

/// A place in the tree where two entries change places, and the name of the other one in the stage.
struct Place<'a> {
    path: &'a RelPath,
    parent: &'a OwnedFd,
    name: String,
    digest: Digest,
}

impl Apply {
    /// Puts a staged entry where `expected` stands.
    ///
    /// The two change places in one step, and what came out is looked at. If it is not `expected`, they change back
    /// at once; if even then something else comes out, the live entry stays and the other is kept: after two turns
    /// nothing moves again. A reader of the path sees the whole old entry or the whole new one.
    ///
    /// # Errors
    /// Something else stands there, a directory there is not empty, or the system refused. Except after an error of
    /// the system, the tree is as it was and the staged entry is gone.
    pub fn replace(&self, mut staged: Staged, expected: &Stat, fate: Fate) -> Result<Replaced, ApplyError> {
        let path = staged.target().clone();
        let failed = |source| DiskError::call(Doing::Rename, &path, source);
        let parent = self.expect(&path, expected)?;
        let name = staged.ensure_name().map_err(failed)?;
        pass(Point::ExchangeNamed);
        let ours = staged.stat()?;
        staged.mark().map_err(failed)?;
        pass(Point::ExchangeMarked);
        let stage = self.private.stage();
        let place = Place { path: &path, parent: &parent, name, digest: staged.digest() };
        if self.may_exchange.load(Ordering::Relaxed) {
            match exchange(stage, &place) {
                Ok(()) => {
                    staged.forget_name();
                    return self.settle(staged, &place, &ours, expected, fate);
                }
                Err(Errno::NOENT) => return Err(changed(&path, None, None)),
                Err(Errno::INVAL | Errno::NOSYS) => self.may_exchange.store(false, Ordering::Relaxed),
                // A directory that its owner may not write cannot be moved away, but it can be removed.
                Err(Errno::ACCESS) if expected.kind == Kind::Dir => {}
                Err(source) => return Err(failed(source).into()),
            }
        }
        self.replace_in_steps(staged, &place, expected, fate)
    }

    /// Ends an exchange: the staging name holds what stood at the path.
    fn settle(
        &self,
        staged: Staged,
        place: &Place<'_>,
        ours: &Stat,
        expected: &Stat,
        fate: Fate,
    ) -> Result<Replaced, ApplyError> {
        let failed = |source| DiskError::call(Doing::Rename, place.path, source);
        let stage = self.private.stage();
        pass(Point::ExchangeDone);
        let out = stat_at(stage, place.name.as_bytes()).map_err(failed)?;
        pass(Point::DisplacedCheck);
        if !is_expected(&out, expected) {
            let kept = self.swap_back(staged, place, ours)?;
            return Err(changed(place.path, Some(out), kept));
        }
        let kept = match self.dispose(place.path, &place.name, fate) {
            Ok(kept) => kept,
            Err(error) => {
                let kept = self.swap_back(staged, place, ours)?;
                // What others did in those moments matters more than why we failed.
                return Err(if kept.is_some() { changed(place.path, Some(out), kept) } else { error });
            }
        };
        pass(Point::DisplacedGone);
        mark::clear(stage, &place.name, Some(place.digest)).map_err(failed)?;
        Ok(Replaced { live: self.live_stat(&staged, place.parent)?, kept })
    }

    /// Undoes an exchange. Returns where that is kept which came out in place of what we had put there.
    fn swap_back(
        &self,
        mut staged: Staged,
        place: &Place<'_>,
        ours: &Stat,
    ) -> Result<Option<Box<KeptAt>>, ApplyError> {
        let failed = |source| DiskError::call(Doing::Rename, place.path, source);
        let stage = self.private.stage();
        let back = exchange(stage, place);
        pass(Point::DisplacedBack);
        match back {
            Ok(()) => {
                let out = stat_at(stage, place.name.as_bytes()).map_err(failed)?;
                let untouched = is_expected(&out, ours)
                    && (out.kind != Kind::Dir || out.attributes.mtime == ours.attributes.mtime);
                if untouched {
                    // Dropping it removes it and its mark.
                    staged.take_back(place.name.clone());
                    return Ok(None);
                }
            }
            // What we had put there was removed by others: the path stays empty, as they wish.
            Err(Errno::NOENT) => {}
            Err(source) => return Err(failed(source).into()),
        }
        let kept = self.kept.put(&self.batch, place.path, stage, place.name.as_bytes())?;
        mark::clear(stage, &place.name, Some(place.digest)).map_err(failed)?;
        Ok(Some(Box::new(kept)))
    }

    /// Replaces on a file system that cannot exchange: the old entry gets a second name in the stage, or is moved
    /// there if it cannot have two, and the new one takes the path.
    ///
    /// Between the last look and the rename others may still put something else at the path, and it would be lost:
    /// a gap of microseconds, on such file systems only.
    fn replace_in_steps(
        &self,
        mut staged: Staged,
        place: &Place<'_>,
        expected: &Stat,
        fate: Fate,
    ) -> Result<Replaced, ApplyError> {
        let failed = |source| DiskError::call(Doing::Rename, place.path, source);
        let (stage, leaf) = (self.private.stage(), place.path.name());
        if expected.kind == Kind::Dir {
            self.clear_dir(place)?;
            self.place_new(place, false)?;
            staged.forget_name();
            mark::clear(stage, &place.name, Some(place.digest)).map_err(failed)?;
            return Ok(Replaced { live: self.live_stat(&staged, place.parent)?, kept: None });
        }
        let old = Place { name: self.private.next_name(), ..*place };
        mark::set(stage, &old.name, Some(old.digest), place.path).map_err(failed)?;
        let linked = match rustix::fs::linkat(place.parent, leaf, stage, old.name.as_str(), AtFlags::empty())
        {
            Ok(()) => true,
            Err(Errno::NOENT) => {
                mark::clear(stage, &old.name, Some(old.digest)).map_err(failed)?;
                return Err(changed(place.path, None, None));
            }
            Err(_) => {
                move_new(place.parent, leaf, stage, old.name.as_bytes()).map_err(failed)?;
                false
            }
        };
        pass(Point::ExchangeLinked);
        let out = stat_at(stage, old.name.as_bytes()).map_err(failed)?;
        let same = is_expected(&out, expected)
            && (!linked || stat_at(place.parent, leaf).is_ok_and(|live| live.ino == out.ino));
        pass(Point::DisplacedCheck);
        let placed = if !same {
            Err(changed(place.path, Some(out), None))
        } else if linked && staged.kind() != Kind::Dir {
            rustix::fs::renameat(stage, place.name.as_str(), place.parent, leaf).map_err(|e| failed(e).into())
        } else {
            self.place_new(place, linked)
        };
        if let Err(error) = placed {
            return Err(self.undo_steps(&old, linked, error)?);
        }
        staged.forget_name();
        pass(Point::ExchangeReplaced);
        mark::clear(stage, &place.name, Some(place.digest)).map_err(failed)?;
        let kept = self.dispose(place.path, &old.name, fate)?;
        pass(Point::DisplacedGone);
        mark::clear(stage, &old.name, Some(old.digest)).map_err(failed)?;
        Ok(Replaced { live: self.live_stat(&staged, place.parent)?, kept })
    }

    /// Removes the empty directory that a replacement in steps is to replace.
    fn clear_dir(&self, place: &Place<'_>) -> Result<(), ApplyError> {
        match rustix::fs::unlinkat(place.parent, place.path.name(), AtFlags::REMOVEDIR) {
            Ok(()) => Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Err(ApplyError::NotEmpty { path: place.path.clone() }),
            Err(Errno::NOENT | Errno::NOTDIR) => Err(changed(place.path, self.root.stat(place.path)?, None)),
            Err(source) => Err(DiskError::call(Doing::Remove, place.path, source).into()),
        }
    }

    /// Moves the staged entry to a path that is free, or that is freed first because a directory cannot be renamed
    /// over a file.
    fn place_new(&self, place: &Place<'_>, free_first: bool) -> Result<(), ApplyError> {
        let failed = |source| DiskError::call(Doing::Rename, place.path, source);
        let leaf = place.path.name();
        if free_first {
            rustix::fs::unlinkat(place.parent, leaf, AtFlags::empty()).map_err(failed)?;
        }
        match move_new(self.private.stage(), place.name.as_bytes(), place.parent, leaf) {
            Err(Errno::EXIST) => Err(ApplyError::Taken { path: place.path.clone() }),
            result => Ok(result.map_err(failed)?),
        }
    }

    /// Undoes the first half of a replacement in steps. Returns the error to report.
    fn undo_steps(&self, old: &Place<'_>, linked: bool, error: ApplyError) -> Result<ApplyError, ApplyError> {
        let failed = |source| DiskError::call(Doing::Rename, old.path, source);
        let stage = self.private.stage();
        let out = stat_at(stage, old.name.as_bytes()).map_err(failed)?;
        let still_there = stat_at(old.parent, old.path.name()).is_ok_and(|live| live.ino == out.ino);
        let kept = if linked && still_there {
            rustix::fs::unlinkat(stage, old.name.as_str(), AtFlags::empty()).map_err(failed)?;
            None
        } else {
            self.put_back(old.path, old.parent, &old.name)?
        };
        pass(Point::DisplacedBack);
        mark::clear(stage, &old.name, Some(old.digest)).map_err(failed)?;
        Ok(if kept.is_some() { changed(old.path, Some(out), kept) } else { error })
    }

    /// Returns the directory that holds `path`, where `expected` stands.
    pub(crate) fn expect(&self, path: &RelPath, expected: &Stat) -> Result<OwnedFd, ApplyError> {
        let parent = match self.root.parent(path) {
            Ok(parent) => parent,
            Err(error) if error.is_vanished() || error.is_other_kind() => {
                return Err(changed(path, None, None));
            }
            Err(error) => return Err(error.into()),
        };
        match stat_at(&parent, path.name()) {
            Ok(found) if is_expected(&found, expected) => Ok(parent),
            Ok(found) => Err(changed(path, Some(found), None)),
            Err(Errno::NOENT) => Err(changed(path, None, None)),
            Err(source) => Err(DiskError::call(Doing::Stat, path, source).into()),
        }
    }

    /// Puts what waits under `name` back at its path; where that is taken again, into the version store.
    pub(crate) fn put_back(
        &self,
        path: &RelPath,
        parent: &OwnedFd,
        name: &str,
    ) -> Result<Option<Box<KeptAt>>, ApplyError> {
        let stage = self.private.stage();
        let back = move_new(stage, name.as_bytes(), parent, path.name());
        pass(Point::DisplacedBack);
        match back {
            Ok(()) => Ok(None),
            Err(Errno::EXIST | Errno::NOENT) => {
                let kept = self.kept.put(&self.batch, path, stage, name.as_bytes())?;
                Ok(Some(Box::new(kept)))
            }
            Err(source) => Err(DiskError::call(Doing::Rename, path, source).into()),
        }
    }

    /// Keeps or removes what was displaced and waits under `name`. A directory must be empty and is removed.
    pub(crate) fn dispose(
        &self,
        path: &RelPath,
        name: &str,
        fate: Fate,
    ) -> Result<Option<KeptAt>, ApplyError> {
        let failed = |source| DiskError::call(Doing::Remove, path, source);
        let stage = self.private.stage();
        let kind = stat_at(stage, name.as_bytes()).map_err(failed)?.kind;
        match (kind, fate) {
            (Kind::Dir, _) => match rustix::fs::unlinkat(stage, name, AtFlags::REMOVEDIR) {
                Ok(()) => Ok(None),
                Err(Errno::NOTEMPTY | Errno::EXIST) => Err(ApplyError::NotEmpty { path: path.clone() }),
                Err(source) => Err(failed(source).into()),
            },
            (_, Fate::Keep) => Ok(Some(self.kept.put(&self.batch, path, stage, name.as_bytes())?)),
            (_, Fate::Discard) => {
                rustix::fs::unlinkat(stage, name, AtFlags::empty()).map_err(failed)?;
                Ok(None)
            }
        }
    }

    /// Returns the stat of what we placed, by its descriptor where we have one.
    pub(crate) fn live_stat(&self, staged: &Staged, parent: &OwnedFd) -> Result<Stat, ApplyError> {
        let path = staged.target();
        let stat = match staged.as_file() {
            Some(file) => stat_fd(file),
            None => stat_at(parent, path.name()),
        };
        Ok(stat.map_err(|source| DiskError::call(Doing::Stat, path, source))?)
    }
}

fn changed(path: &RelPath, found: Option<Stat>, kept: Option<Box<KeptAt>>) -> ApplyError {
    ApplyError::Changed { path: path.clone(), found, kept }
}

/// Lets what has the name in the stage and what stands at the path change places.
fn exchange(stage: BorrowedFd<'_>, place: &Place<'_>) -> rustix::io::Result<()> {
    let (name, leaf) = (place.name.as_str(), place.path.name());
    rustix::fs::renameat_with(stage, name, place.parent, leaf, RenameFlags::EXCHANGE)
}

#[cfg(test)]
mod tests;
