//! The other side of a conflict that a person shall decide, kept here so that it is at hand then.

use crate::disk::stage::Target;
use crate::engine::act::Crew;
use crate::engine::error::EngineError;
use crate::engine::note;
use crate::engine::prepare::{Want, fetched};
use crate::model::entry::Content;
use crate::model::path::RelPath;
use crate::model::row::Live;
use crate::plan::decide::Source;
use crate::store::versions::Versions;

impl Crew<'_> {
    /// Keeps the content at `path` of the other side, about which a person shall decide, if it may be out of reach when
    /// that happens and is not kept already.
    ///
    /// # Errors
    /// The database refuses. A content that is not to be had is named in the report, and asked for by the next run.
    pub fn keep_theirs(&mut self, path: &RelPath, theirs: &Live) -> Result<(), EngineError> {
        let (me, content) = (self.me, &theirs.content.value);
        let Some(tools) = self.tools.as_ref().filter(|_| self.supply.is_away()) else { return Ok(()) };
        // What has no bytes is made of what is known of it.
        let Content::File { digest, .. } = content else { return Ok(()) };
        if !Versions::of(&me.db).with_digest(*digest)?.is_empty() {
            return Ok(());
        }
        let (attributes, from) = (theirs.attributes(), Source::Peer(path.clone()));
        let want = Want { step: 0, lost: true, path, target: Target::Taken, content, attributes, from };
        let found = fetched(self.supply, &tools.stage, &me.root, &want).map(Some);
        if let Some(kept) = self.kept(path, found) {
            note::catalogue(&me.db, self.by, path, &kept, Some(*digest), "the other side of a conflict")?;
        }
        Ok(())
    }
}
