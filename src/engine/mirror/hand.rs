//! What changes the destination: by its own steps on this machine, or by asking the peer whose folder it is.

use std::sync::Arc;

use crate::disk::apply::Apply;
use crate::disk::root::Root;
use crate::disk::stage::Stage;
use crate::engine::mirror::courier::Courier;

/// Who changes the destination.
pub(crate) enum Hand {
    /// This process.
    Here(Means),
    /// The peer.
    There(Courier),
}

/// The means to change one root.
pub(crate) struct Means {
    pub(crate) root: Arc<Root>,
    pub(crate) apply: Apply,
    pub(crate) stage: Stage,
}
