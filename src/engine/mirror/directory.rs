//! A directory of the destination while things change inside it: its attributes are set when the last change is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::disk::attributes::Which;
use crate::engine::mirror::courier::Counts;
use crate::engine::mirror::hand::Hand;
use crate::engine::mirror::site::Site;
use crate::model::metadata::{Attributes, Stat};
use crate::model::path::RelPath;

/// A directory that is being filled. Everyone who still works in it holds it; whoever lets go last finishes it.
///
/// So attributes come after children whatever the threads do, and only directories under work are remembered.
pub(crate) struct Directory {
    pub(crate) path: RelPath,
    /// What stood there, or was made, when the run came by.
    pub(crate) there: Stat,
    pub(crate) attributes: Attributes,
    /// What must be set in any case.
    pub(crate) which: Which,
    /// Whether the time is carried, so that it is set again after changes inside.
    pub(crate) keeps_time: bool,
    pub(crate) touched: AtomicBool,
    pub(crate) parent: Option<Arc<Self>>,
}

impl Directory {
    /// Notes that a name in this directory changed.
    pub(crate) fn touch(&self) {
        self.touched.store(true, Ordering::Relaxed);
    }

    /// Sets what is still to be set.
    fn finish(&self, site: &Site) {
        let touched = self.touched.load(Ordering::Relaxed);
        if touched {
            site.changed(self.path.clone());
        }
        let which = Which { mtime: self.which.mtime || (touched && self.keeps_time), ..self.which };
        self.set(site, which);
    }

    /// Sets the time again after entries inside were deleted.
    pub(crate) fn restore_time(&self, site: &Site) {
        self.set(site, Which { mtime: self.keeps_time, ..Which::default() });
    }

    fn set(&self, site: &Site, which: Which) {
        let means = match site.hand.as_ref().filter(|_| !which.is_empty()) {
            Some(Hand::Here(means)) => means,
            Some(Hand::There(courier)) => {
                let dress = (self.attributes, which);
                return courier.dress(&site.account, &self.path, dress, Counts::Nothing);
            }
            None => return,
        };
        match means.apply.set_attributes(&self.path, &self.attributes, which, &self.there) {
            Ok((refused, _)) if refused.mode || refused.mtime => {
                site.account.problem(&self.path, "its mode or time may not be set");
            }
            Ok(_) => {}
            Err(error) => site.account.apply_problem(&self.path, &error),
        }
    }
}

/// Lets go of `dir`; the last one to do so finishes it, and lets go of its parent.
pub(crate) fn release(site: &Site, dir: Option<Arc<Directory>>) {
    let mut next = dir;
    while let Some(dir) = next {
        let Some(dir) = Arc::into_inner(dir) else { return };
        dir.finish(site);
        next = dir.parent;
    }
}
