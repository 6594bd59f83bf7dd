//! Files of this machine, offered by number.

use std::sync::Arc;

use crate::disk::root::Root;
use crate::engine::far::give::{Offer, Offered};
use crate::model::entry::Digest;
use crate::model::path::RelPath;

/// A file as it was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The tree that it is in.
    pub root: Arc<Root>,
    /// Where.
    pub path: RelPath,
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
}

/// Files whose numbers are their places; a place may be empty.
#[derive(Clone, Debug, Default)]
pub struct Files(pub Vec<Option<Seen>>);

impl Offer for Files {
    fn content(&self, id: u32) -> Result<Offered, String> {
        let seen = usize::try_from(id).ok().and_then(|at| self.0.get(at)).and_then(Option::as_ref);
        let Seen { root, path, digest, size } =
            seen.ok_or_else(|| format!("no content has the number {id}"))?;
        let (file, stat) = root.open_file(path).map_err(|error| error.to_string())?;
        if stat.size != *size {
            return Err(format!("{path} changed after it was looked at"));
        }
        Ok(Offered { file, digest: *digest, size: *size, stat })
    }
}
