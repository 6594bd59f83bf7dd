//! Contents of the folder of a peer, for a crew that works on our root.

use std::cell::RefCell;
use std::fs::File;

use crate::disk::root::Root;
use crate::disk::stage::{Stage, Staged, Target};
use crate::engine::far::error::FarError;
use crate::engine::far::folder::Far;
use crate::engine::far::take::Need;
use crate::engine::prepare::{Failure, Supply, Want, copied, reused};
use crate::model::entry::{Content, Digest};
use crate::model::path::RelPath;
use crate::model::row::Loser;
use crate::plan::decide::Source;

/// The folder of a peer as a supply of contents. What ends the conversation is kept for whoever runs it.
pub(crate) struct FarSupply<'a> {
    far: &'a Far,
    broken: RefCell<Option<FarError>>,
}

impl<'a> FarSupply<'a> {
    /// Returns the supply of `far`.
    pub(crate) fn new(far: &'a Far) -> Self {
        Self { far, broken: RefCell::default() }
    }

    /// Ends with what broke the conversation, if anything did.
    pub(crate) fn end(self) -> Result<(), FarError> {
        self.broken.into_inner().map_or(Ok(()), Err)
    }

    /// Returns what is wanted if it need not be fetched: no bytes, or bytes that are here already.
    fn at_hand(&self, stage: &Stage, ours: &Root, want: &Want<'_>) -> Option<Result<Staged, Failure>> {
        let Content::File { digest, .. } = want.content else {
            return Some(stage.other(want.path, want.content).map_err(Failure::from));
        };
        if let Source::Ours(path) = &want.from {
            return Some(copied(stage, want.path, want.target, want.content, (ours, path)));
        }
        match self.far.old_places(*digest) {
            Ok(places) => {
                reused(stage, (want.path, want.target), want.content, ours, places.into_iter()).map(Ok)
            }
            Err(error) => {
                self.broken.borrow_mut().get_or_insert(error.into());
                Some(Err(Failure::Unsupplied(want.path.clone())))
            }
        }
    }
}

impl Supply for FarSupply<'_> {
    fn stage(&self, stage: &Stage, ours: &Root, wants: &[Want<'_>]) -> Vec<Result<Staged, Failure>> {
        let mut staged: Vec<Option<Result<Staged, Failure>>> = Vec::with_capacity(wants.len());
        let (mut needs, mut places) = (Vec::new(), Vec::new());
        for (at, want) in wants.iter().enumerate() {
            let found = self.at_hand(stage, ours, want);
            if let (None, Content::File { digest, size }, Source::Peer(from)) =
                (&found, want.content, &want.from)
            {
                needs.push((from.clone(), need(ours, want, *digest, *size)));
                places.push(at);
            }
            staged.push(found);
        }
        let fetched = match self.far.fetch(stage, needs) {
            Ok(fetched) => fetched,
            Err(error) => {
                self.broken.borrow_mut().get_or_insert(error);
                Vec::new()
            }
        };
        for (at, result) in places.into_iter().zip(fetched) {
            staged[at] = Some(result.map_err(|error| error.failure(wants[at].path)));
        }
        let whole = staged.into_iter().zip(wants);
        whole.map(|(one, want)| one.unwrap_or_else(|| Err(Failure::Unsupplied(want.path.clone())))).collect()
    }

    fn is_away(&self) -> bool {
        true
    }

    fn lost(&self, _stage: &Stage, _path: &RelPath, _lost: &Loser) -> Result<Option<Staged>, Failure> {
        // What the peer has kept of old contents is its own; what loses here is fetched before it is displaced there.
        Ok(None)
    }
}

fn need(ours: &Root, want: &Want<'_>, digest: Digest, size: u64) -> Need {
    let basis: Option<File> = match want.target {
        Target::Taken => ours.open_file(want.path).ok().map(|(file, _)| file),
        Target::Free => None,
    };
    Need { id: 0, path: want.path.clone(), target: want.target, digest, size, basis }
}
