//! Which root a path lies in, and who knows it: for verbs that are given a path and nothing else.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::disk::private::Private;
use crate::disk::root::Root;
use crate::engine::error::EngineError;
use crate::engine::marker::{Id, Marker};
use crate::engine::state::database_path;
use crate::model::path::RelPath;
use crate::store::db::{Database, Mode};
use crate::store::error::StoreError;

/// The root that a path lies in.
#[derive(Debug)]
pub struct Home {
    /// The root's canonical path.
    pub root: PathBuf,
    /// The path below it; the root itself may be meant.
    pub path: RelPath,
    /// The databases that know the root.
    pub databases: Vec<Id>,
}

/// Returns the root that `path` lies in. The path itself need not exist, and is not followed if it is a symlink.
///
/// # Errors
/// No directory above it has a marker of csync.
pub fn home(path: &Path) -> Result<Home, EngineError> {
    let whole = resolved(path).ok_or_else(|| unknown(path))?;
    for above in whole.ancestors() {
        let Ok(root) = Root::open(above) else { continue };
        let failed = |source| EngineError::Private { path: above.to_owned(), source };
        let Some(private) = Private::open_existing(&root).map_err(failed)? else {
            continue;
        };
        let text =
            private.read_marker().map_err(|source| EngineError::Root { path: above.to_owned(), source })?;
        let Some(text) = text else { continue };
        let bad = |why| EngineError::BadMarker { path: above.to_owned(), why };
        let marker = Marker::parse(&text).map_err(bad)?;
        let below = whole.strip_prefix(above).unwrap_or(Path::new(""));
        let path = RelPath::new(below.as_os_str().as_bytes()).map_err(|_no_path| unknown(path))?;
        return Ok(Home {
            root: above.to_owned(),
            path,
            databases: marker.generations.into_keys().collect(),
        });
    }
    Err(unknown(path))
}

impl Home {
    /// Returns the databases in `state` that know the root, to look at only.
    ///
    /// # Errors
    /// One is in use or cannot be read, or there is none.
    pub fn open(&self, state: &Path) -> Result<Vec<Database>, EngineError> {
        let mut open = Vec::new();
        for id in &self.databases {
            let path = database_path(state, *id);
            if path.exists() {
                open.push(look_into(&path)?);
            }
        }
        if open.is_empty() {
            let what = format!("nothing is recorded of {} in {}", self.root.display(), state.display());
            return Err(EngineError::Unknown {
                what,
                fix: "name the state directory by --state-dir, or run csync sync once",
            });
        }
        Ok(open)
    }
}

/// Opens a database to look at it.
///
/// # Errors
/// It is in use, or cannot be read.
pub fn look_into(path: &Path) -> Result<Database, EngineError> {
    match Database::open(path, Mode::Rehearsal) {
        Err(StoreError::Locked { path }) => Err(EngineError::Locked { path, pid: None }),
        opened => Ok(opened?),
    }
}

/// The path with what exists of its parents resolved.
fn resolved(path: &Path) -> Option<PathBuf> {
    let whole = std::path::absolute(path).ok()?;
    let mut missing: Vec<OsString> = Vec::new();
    let mut known = whole.as_path();
    loop {
        if let Ok(mut found) = known.canonicalize()
            && !(missing.is_empty() && known.is_symlink())
        {
            found.extend(missing.into_iter().rev());
            return Some(found);
        }
        // A name that climbs cannot be resolved without the directory it climbs out of.
        missing.push(known.file_name()?.to_owned());
        known = known.parent()?;
    }
}

fn unknown(path: &Path) -> EngineError {
    EngineError::Unknown {
        what: format!("{} lies in no root that csync keeps", path.display()),
        fix: "name a path below a root that csync sync has been run on",
    }
}
