//! One directory as it is listed, beside its counterpart in a second tree.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustix::io::Errno;

use crate::disk::error::{DiskError, Doing};
use crate::disk::lister::{Found, Lister, Look, Names, OpenDir};
use crate::model::entry::Kind;
use crate::model::metadata::Stat;
use crate::model::path::{PRIVATE_DIR, RelPath};
use crate::rules::rule::Side;
use crate::rules::scope::Scope;

/// Which rules leave an entry out of a walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hides {
    /// Those for the sender: for one-way runs.
    Sender,
    /// Those that keep an entry of the receiver although the directory that holds it is deleted.
    Deletion,
    /// Those for either side: a two-way run leaves such an entry alone on both.
    Both,
}

/// Two trees and what is wanted of them: all that the listing of one directory needs.
pub(crate) struct Trees {
    pub(crate) root: Arc<dyn Lister>,
    pub(crate) beside: Option<Arc<dyn Lister>>,
    pub(crate) cross_mounts: bool,
    pub(crate) recurse: bool,
    pub(crate) skip_private: bool,
    pub(crate) hides: Hides,
    pub(crate) only: Option<Arc<BTreeSet<RelPath>>>,
}

/// A directory that is to be listed.
#[derive(Clone)]
pub(crate) struct Job {
    /// The rules that hold where it lies.
    pub(crate) scope: Arc<Scope>,
    /// Whether it or one above it was selected, so that everything in it is.
    pub(crate) selected: bool,
    /// Whether the second tree has a directory there.
    pub(crate) beside: bool,
}

/// What is known of a directory once its names were read.
pub struct DirInfo {
    /// The rules for its children.
    pub scope: Arc<Scope>,
    /// Whether every name in it is known. Nothing may be taken for absent otherwise.
    pub complete: bool,
    /// Why it is not complete.
    pub error: Option<DiskError>,
    /// What the same directory of the second tree holds and this one lacks, sorted by name.
    pub only_beside: OnlyBeside,
    /// Whether every name there is known.
    pub beside_complete: bool,
    /// Why that is not so.
    pub beside_error: Option<DiskError>,
}

/// Names with what stands there.
pub type OnlyBeside = Vec<(Box<[u8]>, Stat)>;

/// A directory with its children, sorted by name.
pub(crate) struct Listing {
    pub(crate) stat: Stat,
    pub(crate) info: Arc<DirInfo>,
    pub(crate) children: Vec<Child>,
}

/// One name in a directory.
pub(crate) enum Child {
    Entry { path: RelPath, stat: Stat, beside: Option<Stat>, descend: Option<Job> },
    Excluded { path: RelPath, stat: Stat, beside: Option<Stat> },
    Mount { path: RelPath, stat: Stat },
    Unreadable { path: RelPath, error: DiskError },
    Unnameable { error: DiskError },
}

/// Lists `path`.
///
/// # Errors
/// It vanished or is no directory any more. What else goes wrong is told in the listing.
pub(crate) fn list(trees: &Trees, path: &RelPath, stat: Stat, job: &Job) -> Result<Listing, DiskError> {
    let dir = match trees.root.open(path) {
        Ok(dir) => dir,
        Err(error) if error.is_vanished() || error.is_other_kind() => return Err(error),
        Err(error) => return Ok(unlisted(stat, job, error)),
    };
    // Another directory may have taken the place since the parent was listed: what was opened counts.
    let stat = dir.stat()?;
    let names = dir.names();
    let scope = match enter(&*dir, path, &names, job) {
        Ok(scope) => scope,
        Err(error) => return Ok(unlisted(stat, job, error)),
    };
    let (there, beside_error) = list_beside(trees, path, job);
    let merger = Merger { trees, path, selected: job.selected, scope: &scope };
    let (children, only_beside) = merger.merge(names.found, there);
    let error = names.error.map(|source| DiskError::call(Doing::List, path, source));
    let info = Arc::new(DirInfo {
        scope,
        complete: error.is_none(),
        error,
        only_beside,
        beside_complete: beside_error.is_none(),
        beside_error,
    });
    Ok(Listing { stat, info, children })
}

/// Returns the listing of a directory of which no name is known.
fn unlisted(stat: Stat, job: &Job, error: DiskError) -> Listing {
    let info = DirInfo {
        scope: Arc::clone(&job.scope),
        complete: false,
        error: Some(error),
        only_beside: Vec::new(),
        beside_complete: false,
        beside_error: None,
    };
    Listing { stat, info: Arc::new(info), children: Vec::new() }
}

/// Returns what the second tree holds in the same directory, and why that may not be all.
fn list_beside(trees: &Trees, path: &RelPath, job: &Job) -> (Names, Option<DiskError>) {
    let Some(beside) = trees.beside.as_ref().filter(|_| job.beside) else {
        return (Names::default(), None);
    };
    match beside.open(path) {
        Ok(dir) => {
            let names = dir.names();
            let unseen = names
                .found
                .iter()
                .find_map(|(_, look)| look.as_ref().err().copied().filter(|errno| *errno != Errno::NOENT));
            let error = names.error.or(unseen).map(|source| DiskError::call(Doing::List, path, source));
            (names, error)
        }
        Err(error) if error.is_vanished() || error.is_other_kind() => (Names::default(), None),
        Err(error) => (Names::default(), Some(error)),
    }
}

/// Returns the scope of the children of `path`, its rule files read. Such a file may name further ones: then they are
/// read too, until none is new.
fn enter(dir: &dyn OpenDir, path: &RelPath, names: &Names, job: &Job) -> Result<Arc<Scope>, DiskError> {
    let mut files = Vec::new();
    let mut unread = unread_rules(&job.scope, names, &files);
    loop {
        for name in unread {
            let bytes = dir.rules(&name)?;
            files.push((name, bytes));
        }
        let scope = job
            .scope
            .enter(path, &files)
            .map_err(|error| DiskError::Rules { path: path.as_bytes().into(), reason: error.to_string() })?;
        unread = unread_rules(&scope, names, &files);
        if unread.is_empty() {
            return Ok(scope);
        }
    }
}

/// Returns the names of the rule files that `scope` asks for, that exist, and that are not among `files`.
fn unread_rules(scope: &Scope, names: &Names, files: &[(Vec<u8>, Vec<u8>)]) -> Vec<Vec<u8>> {
    scope
        .merge_names()
        .filter(|name| files.iter().all(|(read, _)| read != name))
        .filter(|name| names.found.binary_search_by(|found| (*found.0).cmp(name)).is_ok())
        .map(<[u8]>::to_vec)
        .collect()
}

/// Brings the names of both trees together.
struct Merger<'a> {
    trees: &'a Trees,
    path: &'a RelPath,
    selected: bool,
    scope: &'a Arc<Scope>,
}

impl Merger<'_> {
    /// Returns the children, and what only the second tree has.
    fn merge(&self, here: Vec<Found>, there: Names) -> (Vec<Child>, OnlyBeside) {
        let mut children = Vec::with_capacity(here.len());
        let mut only_beside = Vec::new();
        let mut there = there.found.into_iter().peekable();
        for (name, look) in here {
            while let Some((other, beside)) = there.next_if(|(other, _)| *other < name) {
                self.lacking(other, beside, &mut only_beside);
            }
            let beside = there.next_if(|(other, _)| *other == name).and_then(|(_, look)| look.ok());
            children.extend(self.child(&name, look, beside.map(|look| look.stat)));
        }
        for (other, beside) in there {
            self.lacking(other, beside, &mut only_beside);
        }
        (children, only_beside)
    }

    /// Takes up a name that only the second tree has.
    fn lacking(&self, name: Box<[u8]>, look: Result<Look, Errno>, only: &mut OnlyBeside) {
        let Ok(look) = look else { return };
        if !self.is_private(&name) && self.path.join(&name).is_ok_and(|path| self.wants(&path).0) {
            only.push((name, look.stat));
        }
    }

    fn child(&self, name: &[u8], look: Result<Look, Errno>, beside: Option<Stat>) -> Option<Child> {
        if self.is_private(name) {
            return None;
        }
        let path = match self.path.join(name) {
            Ok(path) => path,
            Err(source) => {
                let path = [self.path.as_bytes(), b"/", name].concat().into();
                return Some(Child::Unnameable { error: DiskError::Name { path, source } });
            }
        };
        let (wanted, selected) = self.wants(&path);
        if !wanted {
            return None;
        }
        let look = match look {
            Ok(look) => look,
            Err(source) => {
                let error = DiskError::call(Doing::Stat, &path, source);
                return Some(Child::Unreadable { path, error });
            }
        };
        let stat = look.stat;
        let is_dir = stat.kind == Kind::Dir;
        if self.excludes(&path, is_dir) {
            return Some(Child::Excluded { path, stat, beside });
        }
        if is_dir && !self.trees.cross_mounts && (look.mount || stat.dev != self.trees.root.dev()) {
            return Some(Child::Mount { path, stat });
        }
        // A directory that only leads to something selected is entered even where subdirectories are not.
        let descend = (is_dir && (self.trees.recurse || !selected)).then(|| Job {
            scope: Arc::clone(self.scope),
            selected,
            beside: beside.is_some_and(|stat| stat.kind == Kind::Dir),
        });
        Some(Child::Entry { path, stat, beside, descend })
    }

    /// Whether the rules leave `path` out.
    fn excludes(&self, path: &RelPath, is_dir: bool) -> bool {
        match self.trees.hides {
            Hides::Sender => self.scope.verdict(path, is_dir, Side::Sender).is_excluded(),
            Hides::Deletion => self.scope.verdict_in_deleted(path, is_dir).is_excluded(),
            Hides::Both => self.scope.is_frozen(path, is_dir),
        }
    }

    /// Whether `name` is that of a directory that belongs to csync: of this root, or of one that lies in it.
    fn is_private(&self, name: &[u8]) -> bool {
        self.trees.skip_private && name == PRIVATE_DIR
    }

    /// Whether `path` is selected or leads to something selected, and whether all below it is selected.
    fn wants(&self, path: &RelPath) -> (bool, bool) {
        let Some(only) = self.trees.only.as_ref().filter(|_| !self.selected) else {
            return (true, true);
        };
        let selected = only.contains(path);
        let leads = only
            .range::<RelPath, _>(path..)
            .find(|next| *next != path)
            .is_some_and(|next| next.is_below(path));
        (selected || leads, selected && (self.trees.recurse || !leads))
    }
}
