//! What changes a root: its steps and its stage.

use std::sync::Arc;

use crate::disk::apply::Apply;
use crate::disk::root::Root;
use crate::disk::stage::Stage;

/// The means to change one root.
pub(crate) struct Hand {
    pub(crate) root: Arc<Root>,
    pub(crate) apply: Apply,
    pub(crate) stage: Stage,
}
