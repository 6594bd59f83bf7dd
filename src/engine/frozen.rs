//! Which paths the filter rules of a root leave out, asked path by path: those are neither applied nor published.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::replica::Replica;
use crate::engine::selection;
use crate::model::path::RelPath;
use crate::model::row::{Row, State};
use crate::rules::scope::Scope;

/// Directories whose rules are remembered.
const SCOPES_MAX: usize = 1024;

/// The filter rules of a root, ready to be asked.
pub struct Frozen<'a> {
    replica: &'a Replica,
    top: Option<Arc<Scope>>,
    /// Directories whose rules were asked for; `None` where they cannot be known.
    scopes: RefCell<BTreeMap<RelPath, Option<Arc<Scope>>>>,
}

impl<'a> Frozen<'a> {
    /// Returns the rules of the root of `replica`, those above it being `top`.
    #[must_use]
    pub fn new(replica: &'a Replica, top: Option<Arc<Scope>>) -> Self {
        Self { replica, top, scopes: RefCell::default() }
    }

    /// Whether the rules leave out `path`, of which `row` speaks, or a directory above it.
    #[must_use]
    pub fn covers(&self, path: &RelPath, row: &Row) -> bool {
        let Some(top) = self.top.as_ref().filter(|top| !top.is_trivial()) else {
            return false;
        };
        let is_dir = match &row.state {
            State::Live(live) => live.content.value.is_dir(),
            State::Deleted(stone) => stone.content.is_dir(),
        };
        let mut above = RelPath::root();
        for at in path.ancestors() {
            if self.scope(top, &above).is_none_or(|scope| scope.is_frozen(&at, true)) {
                return true;
            }
            above = at;
        }
        self.scope(top, &above).is_none_or(|scope| scope.is_frozen(path, is_dir))
    }

    /// The rules for the children of `dir`; `None` where a file of rules cannot be read or used, which the walk told:
    /// nothing below is touched then.
    fn scope(&self, top: &Arc<Scope>, dir: &RelPath) -> Option<Arc<Scope>> {
        if let Some(scope) = self.scopes.borrow().get(dir) {
            return scope.clone();
        }
        let above = match dir.parent() {
            Some(parent) => self.scope(top, &parent),
            None => Some(Arc::clone(top)),
        };
        let scope = above.and_then(|above| selection::enter(&above, Some(&*self.replica.root), dir).ok());
        let mut scopes = self.scopes.borrow_mut();
        if scopes.len() >= SCOPES_MAX {
            scopes.clear();
        }
        scopes.insert(dir.clone(), scope.clone());
        scope
    }
}
