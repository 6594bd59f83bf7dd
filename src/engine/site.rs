//! A root as it is found before anything is written to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::private::{Lock, Private};
use crate::disk::root::Root;
use crate::engine::error::EngineError;
use crate::engine::marker::Marker;
use crate::rules::conflict::Side;

/// How a pair is opened.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// The state directory; databases lie in `replicas` below it.
    pub state: &'a Path,
    /// Nothing is written anywhere.
    pub rehearsal: bool,
    /// One side shall win: a root that was restored from an older copy is no reason to stop then.
    pub force: Option<Side>,
}

/// A root as it is found: opened, its private directory looked into, its marker read.
#[derive(Debug)]
pub struct Site {
    /// The tree.
    pub root: Arc<Root>,
    /// The private directory, if there is one.
    pub private: Option<Arc<Private>>,
    /// The right to work on the root, once the private directory exists.
    pub lock: Option<Lock>,
    /// What the marker says, if there is one.
    pub marker: Option<Marker>,
}

impl Site {
    /// Returns the root at `path`, locked unless `rehearsal`. `database` is where a database of it would be.
    ///
    /// # Errors
    /// It is missing, no directory, in use, or what it holds of csync's cannot be trusted.
    pub fn open(path: &Path, database: &Path, rehearsal: bool) -> Result<Self, EngineError> {
        let root = Root::open(path).map_err(|source| {
            let path = path.to_owned();
            if source.is_vanished() && database.exists() {
                EngineError::RootGone { path, database: database.to_owned() }
            } else if source.is_vanished() {
                EngineError::NoRoot { path }
            } else if source.is_other_kind() {
                EngineError::NotADirectory { path }
            } else {
                EngineError::Root { path, source }
            }
        })?;
        let mut site = Self { root: Arc::new(root), private: None, lock: None, marker: None };
        let private = Private::open_existing(&site.root).map_err(|source| site.refused(source))?;
        let Some(private) = private else { return Ok(site) };
        if !rehearsal {
            site.lock = Some(private.lock().map_err(|error| EngineError::lock(site.path(), error))?);
        }
        let text = private.read_marker().map_err(|source| EngineError::Root { path: site.path(), source })?;
        site.marker = match text.map(|text| Marker::parse(&text)) {
            Some(Ok(marker)) => Some(marker),
            Some(Err(why)) => {
                return Err(EngineError::BadMarker { path: site.path(), why });
            }
            None => None,
        };
        site.private = Some(Arc::new(private));
        Ok(site)
    }

    /// Makes the private directory and takes the lock, where that was not done yet.
    ///
    /// # Errors
    /// The root cannot be written, or another run was faster.
    pub fn settle_in(&mut self) -> Result<(), EngineError> {
        if self.private.is_none() {
            let private = Private::open_or_create(&self.root).map_err(|source| self.refused(source))?;
            self.private = Some(Arc::new(private));
        }
        if self.lock.is_none()
            && let Some(private) = &self.private
        {
            self.lock = Some(private.lock().map_err(|error| EngineError::lock(self.path(), error))?);
        }
        Ok(())
    }

    /// Returns the canonical path.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.root.path().to_owned()
    }

    fn refused(&self, source: crate::disk::private::PrivateError) -> EngineError {
        EngineError::Private { path: self.path(), source }
    }
}

/// Returns the canonical path, also of a root that is not there if at least its parent is.
#[must_use]
pub fn canonical(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().map(ToOwned::to_owned).unwrap_or_default();
    path.canonicalize()
        .or_else(|_missing| parent.canonicalize().map(|parent| parent.join(name)))
        .unwrap_or_else(|_missing| path.to_owned())
}
