//! Contents of a batch of changes: what is here already, and what the guest must give.

use std::cell::RefCell;
use std::sync::Arc;

use crate::disk::root::Root;
use crate::disk::stage::{Stage, Staged};
use crate::engine::far::breach::Broken;
use crate::engine::far::take::{Landing, Need, TakeError, take};
use crate::engine::prepare::{Failure, Supply, Want, copied};
use crate::model::entry::Content;
use crate::model::key::PublicKey;
use crate::model::path::RelPath;
use crate::model::row::Loser;
use crate::plan::decide::Source;
use crate::transport::channel::Channel;

/// A guest who gives the contents of the steps that it asks for.
pub(crate) struct Guest<'a> {
    channel: RefCell<&'a mut Channel>,
    key: PublicKey,
    /// It gives contents whole or not at all.
    whole: bool,
    /// For each step, a file of ours that its content may resemble.
    bases: Vec<Option<RelPath>>,
    broken: RefCell<Option<Arc<Broken>>>,
}

impl<'a> Guest<'a> {
    /// Returns the guest `key` at the other end of `channel`; for each step that it asked for, `bases` has a file of ours
    /// that its content may resemble. `whole`: it gives contents whole or not at all.
    pub(crate) fn new(
        channel: &'a mut Channel,
        key: PublicKey,
        bases: Vec<Option<RelPath>>,
        whole: bool,
    ) -> Self {
        Self { channel: RefCell::new(channel), key, whole, bases, broken: RefCell::default() }
    }

    /// Ends with what broke the conversation, if anything did.
    pub(crate) fn end(self) -> Result<(), Arc<Broken>> {
        self.broken.into_inner().map_or(Ok(()), Err)
    }

    /// Returns what is wanted if the guest need not give it: no bytes, or bytes that are here already.
    fn at_hand(&self, stage: &Stage, ours: &Root, want: &Want<'_>) -> Option<Result<Staged, Failure>> {
        if !matches!(want.content, Content::File { .. }) {
            return Some(stage.other(want.path, want.content).map_err(Failure::from));
        }
        let Source::Ours(from) = &want.from else { return None };
        let copy = copied(stage, want.path, want.target, want.content, (ours, from));
        match copy {
            // What was recorded there is there no more; the guest has it, unless it is only dressed.
            Err(Failure::Moved(_)) if from != want.path => None,
            copy => Some(copy),
        }
    }

    fn need(&self, ours: &Root, want: &Want<'_>) -> Option<Need> {
        let Content::File { digest, size } = want.content else { return None };
        let basis = self.bases.get(want.step).and_then(Option::as_ref);
        let basis = basis.and_then(|path| ours.open_file(path).ok()).map(|(file, _)| file);
        let id = u32::try_from(want.step).ok()?;
        Some(Need { id, path: want.path.clone(), target: want.target, digest: *digest, size: *size, basis })
    }

    fn failure(&self, path: &RelPath, error: TakeError) -> Failure {
        if let TakeError::Broken(broken) = &error {
            self.broken.borrow_mut().get_or_insert(Arc::clone(broken));
        }
        error.failure(path)
    }
}

impl Supply for Guest<'_> {
    fn stage(&self, stage: &Stage, ours: &Root, wants: &[Want<'_>]) -> Vec<Result<Staged, Failure>> {
        let mut staged: Vec<_> = wants.iter().map(|want| self.at_hand(stage, ours, want)).collect();
        let open = wants.iter().enumerate().filter(|(at, _)| staged[*at].is_none());
        let (places, needs): (Vec<usize>, Vec<Need>) =
            open.filter_map(|(at, want)| Some((at, self.need(ours, want)?))).unzip();
        if !needs.is_empty() {
            let landing = Landing { stage, giver: self.key, whole: self.whole };
            let taken = take(&mut self.channel.borrow_mut(), landing, &needs);
            for (at, taken) in places.into_iter().zip(taken) {
                staged[at] = Some(taken.map_err(|error| self.failure(wants[at].path, error)));
            }
        }
        let whole = staged.into_iter().zip(wants);
        whole.map(|(one, want)| one.unwrap_or_else(|| Err(Failure::Moved(want.path.clone())))).collect()
    }

    fn lost(&self, _stage: &Stage, _path: &RelPath, _lost: &Loser) -> Result<Option<Staged>, Failure> {
        // A guest's change makes no conflict here: it was decided where the guest is.
        Ok(None)
    }
}
