//! Contents of another member, brought beside their targets before the replica is held: a peer that is slow holds back
//! nobody.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::disk::attributes::Which;
use crate::disk::draft::Draft;
use crate::disk::root::Root;
use crate::disk::stage::{Stage, Staged, Target, flush_all};
use crate::engine::far::take::Need;
use crate::engine::prepare::{Failure, Supply, Want, copied};
use crate::model::entry::{Content, Digest};
use crate::model::path::RelPath;
use crate::model::row::Loser;
use crate::plan::decide::Source;

/// Bytes of small contents that are kept for rows that are not dealt with yet; beyond that they are fetched.
const SMALL_BYTES_MAX: usize = 8 << 20;
/// Threads that flush.
const THREADS: usize = 4;

/// Small contents that came along with their rows.
#[derive(Debug, Default)]
pub(crate) struct Shelf(Mutex<Small>);

#[derive(Debug, Default)]
struct Small {
    contents: HashMap<Digest, Vec<u8>>,
    bytes: usize,
}

impl Shelf {
    fn small(&self) -> MutexGuard<'_, Small> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps `bytes`, which are said to have this digest, if there is room.
    pub(crate) fn put(&self, digest: Digest, bytes: Vec<u8>) {
        let mut small = self.small();
        if small.bytes + bytes.len() <= SMALL_BYTES_MAX {
            small.bytes += bytes.len();
            if let Some(old) = small.contents.insert(digest, bytes) {
                small.bytes -= old.len();
            }
        }
    }

    fn get(&self, digest: Digest) -> Option<Vec<u8>> {
        self.small().contents.get(&digest).cloned()
    }

    /// Forgets all of them: no row waits that could want them.
    pub(crate) fn clear(&self) {
        *self.small() = Small::default();
    }
}

/// Contents that were staged ahead, by their target and what they are.
#[derive(Debug, Default)]
pub(crate) struct Stock {
    staged: RefCell<BTreeMap<(RelPath, Digest), (Target, Staged)>>,
    /// Those that lost a conflict before we heard of it.
    lost: RefCell<BTreeMap<(RelPath, Digest), Staged>>,
    /// Those that turned out to have lost only when their rows were taken.
    missed: RefCell<Vec<(RelPath, Loser)>>,
}

/// A content that is to be brought here.
#[derive(Debug)]
pub(crate) struct Errand {
    /// Its path at the peer.
    pub(crate) from: RelPath,
    /// The file that will have it.
    pub(crate) path: RelPath,
    target: Target,
    digest: Digest,
    size: u64,
}

impl Errand {
    /// Returns what is to be brought for `want`; `None` where it is here already, or has no bytes.
    pub(crate) fn of(want: &Want<'_>) -> Option<Self> {
        let (Content::File { digest, size }, Source::Peer(from)) = (want.content, &want.from) else {
            return None;
        };
        let (digest, size) = (*digest, *size);
        Some(Self { from: from.clone(), path: want.path.clone(), target: want.target, digest, size })
    }

    /// Returns what is to be brought so that a content that lost at `path` is kept here too; `None` for what has no
    /// bytes of its own to keep.
    pub(crate) fn of_loser(path: &RelPath, loser: &Loser) -> Option<Self> {
        let Content::File { digest, size } = loser.content else { return None };
        Some(Self { from: path.clone(), path: path.clone(), target: Target::Taken, digest, size })
    }

    /// Returns the digest of it.
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the same for those who fetch it. What stands at the path may resemble it.
    pub(crate) fn need(&self, id: u32, root: &Root) -> Need {
        let basis: Option<File> = match self.target {
            Target::Taken => root.open_file(&self.path).ok().map(|(file, _)| file),
            Target::Free => None,
        };
        let Self { path, target, digest, size, .. } = self;
        Need { id, path: path.clone(), target: *target, digest: *digest, size: *size, basis }
    }

    /// Returns it staged, if it lies on the shelf.
    pub(crate) fn off_shelf(&self, shelf: &Shelf, stage: &Stage) -> Option<Staged> {
        let bytes = shelf.get(self.digest)?;
        let blank = stage.file(&self.path, self.target).ok()?;
        let mut draft = Draft::begin(blank, self.digest, self.size, None).ok()?;
        draft.write(&bytes).ok()?;
        // What is not what it was said to be is fetched.
        draft.finish().ok()
    }
}

impl Stock {
    /// Whether it has what `errand` is about.
    pub(crate) fn has(&self, errand: &Errand) -> bool {
        let staged = self.staged.borrow();
        staged.get(&(errand.path.clone(), errand.digest)).is_some_and(|(target, _)| *target == errand.target)
    }

    /// Takes in what was staged, flushed; returns what the disk refused.
    pub(crate) fn fill(&self, staged: Vec<(Errand, Staged)>) -> Vec<(RelPath, Failure)> {
        let (errands, contents): (Vec<Errand>, Vec<Staged>) = staged.into_iter().unzip();
        let mut failed = Vec::new();
        let mut stock = self.staged.borrow_mut();
        for (errand, flushed) in errands.into_iter().zip(flush_all(contents, THREADS)) {
            match flushed {
                Ok(staged) => {
                    stock.insert((errand.path, errand.digest), (errand.target, staged));
                }
                Err(error) => failed.push((errand.path, error.into())),
            }
        }
        failed
    }

    /// Returns, once, the contents that lost a conflict and were not at hand when their rows were taken.
    pub(crate) fn missed(&self) -> Vec<(RelPath, Loser)> {
        std::mem::take(&mut *self.missed.borrow_mut())
    }

    /// Takes in a content that lost a conflict.
    pub(crate) fn fill_lost(&self, errand: Errand, staged: Staged) {
        self.lost.borrow_mut().insert((errand.path, errand.digest), staged);
    }
}

impl Supply for Stock {
    fn stage(&self, stage: &Stage, ours: &Root, wants: &[Want<'_>]) -> Vec<Result<Staged, Failure>> {
        let mut stock = self.staged.borrow_mut();
        let mut one = |want: &Want<'_>| match (want.content, &want.from) {
            (_, Source::Ours(path)) => copied(stage, want.path, want.target, want.content, (ours, path)),
            (Content::File { digest, .. }, Source::Peer(_)) => {
                let found = stock.remove(&(want.path.clone(), *digest));
                let fits = found.filter(|(target, _)| *target == want.target);
                fits.map(|(_, staged)| staged).ok_or_else(|| Failure::Unsupplied(want.path.clone()))
            }
            (_, Source::Peer(_)) => Ok(stage.other(want.path, want.content)?),
        };
        wants.iter().map(&mut one).collect()
    }

    fn lost(&self, _stage: &Stage, path: &RelPath, lost: &Loser) -> Result<Option<Staged>, Failure> {
        let Content::File { digest, .. } = lost.content else { return Ok(None) };
        let Some(staged) = self.lost.borrow_mut().remove(&(path.clone(), digest)) else {
            self.missed.borrow_mut().push((path.clone(), lost.clone()));
            return Ok(None);
        };
        staged.set_attributes(&lost.attributes, Which::ALL)?;
        Ok(flush_all(vec![staged], 1).pop().transpose()?)
    }
}
