//! Which paths the filter rules of a root leave out, asked path by path: those are neither applied nor published.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;

use crate::engine::replica::Replica;
use crate::model::path::RelPath;
use crate::model::row::{Row, State};
use crate::rules::scope::Scope;

/// Largest file of filter rules; a larger one is refused by the walk.
const RULES_BYTES_MAX: u64 = 1024 * 1024;
/// Directories whose rules are remembered.
const SCOPES_MAX: usize = 1024;

/// The filter rules of a root, ready to be asked.
pub struct Frozen<'a> {
    replica: &'a Replica,
    top: Option<Arc<Scope>>,
    scopes: RefCell<BTreeMap<RelPath, Arc<Scope>>>,
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
            if self.scope(top, &above).is_frozen(&at, true) {
                return true;
            }
            above = at;
        }
        self.scope(top, &above).is_frozen(path, is_dir)
    }

    /// The rules for the children of `dir`. Rules that cannot be read were told of by the walk; those above count.
    fn scope(&self, top: &Arc<Scope>, dir: &RelPath) -> Arc<Scope> {
        if let Some(scope) = self.scopes.borrow().get(dir) {
            return Arc::clone(scope);
        }
        let above = dir.parent().map_or_else(|| Arc::clone(top), |parent| self.scope(top, &parent));
        let scope = self.enter(&above, dir);
        let mut scopes = self.scopes.borrow_mut();
        if scopes.len() >= SCOPES_MAX {
            scopes.clear();
        }
        scopes.insert(dir.clone(), Arc::clone(&scope));
        scope
    }

    /// Reads the rule files of `dir`, and those that they name in turn.
    fn enter(&self, above: &Arc<Scope>, dir: &RelPath) -> Arc<Scope> {
        let mut files: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut scope = Arc::clone(above);
        loop {
            let read = |name: &[u8]| {
                let (file, stat) = self.replica.root.open_file(&dir.join(name).ok()?).ok()?;
                let mut text = Vec::new();
                file.take(stat.size.min(RULES_BYTES_MAX)).read_to_end(&mut text).ok()?;
                Some((name.to_vec(), text))
            };
            let is_new = |name: &&[u8]| files.iter().all(|(known, _)| known != name);
            let found: Vec<(Vec<u8>, Vec<u8>)> =
                scope.merge_names().filter(is_new).filter_map(read).collect();
            if found.is_empty() {
                return scope;
            }
            files.extend(found);
            match above.enter(dir, &files) {
                Ok(entered) => scope = entered,
                Err(_told_by_the_walk) => return scope,
            }
        }
    }
}
