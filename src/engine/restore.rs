//! Old versions: listing them, reading one, bringing one back.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::apply::{Apply, ApplyError, Fate};
use crate::disk::attributes::Which;
use crate::disk::clock;
use crate::disk::error::DiskError;
use crate::disk::kept::{Kept, KeptAt};
use crate::disk::private::Private;
use crate::disk::root::Root;
use crate::disk::stage::{Stage, StageError, Target, flush_all};
use crate::engine::bond::pair_database;
use crate::engine::error::EngineError;
use crate::engine::home::{Home, home, look_into};
use crate::engine::note;
use crate::engine::replica::run_name;
use crate::engine::state::database_path;
use crate::model::entry::{Content, Kind};
use crate::model::metadata::{Attributes, Stat, Timestamp};
use crate::model::path::RelPath;
use crate::store::db::{Database, Mode};
use crate::store::meta::{self, Meta};
use crate::store::versions::{Version, Versions};

/// Rows read at a time.
const PAGE: usize = 1000;

/// The versions of one path or of all that stood below it.
#[derive(Debug)]
pub struct Listed {
    /// Where the root is.
    pub home: Home,
    /// The versions, in path order, of one path the newest first.
    pub versions: Vec<Found>,
}

/// A version, and the root of the pair that keeps it: what is deleted on one side is kept on the other.
#[derive(Clone, Debug)]
pub struct Found {
    /// What the catalogue says of it.
    pub version: Version,
    /// The root in whose version store it lies.
    pub root: PathBuf,
}

/// Why a version was not brought back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The root or its state cannot be worked on.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// There is no such version.
    #[error("{path} itself has no version{}", id.as_ref().map_or(String::new(), |id| format!(" {id}")))]
    NoVersion {
        /// The path.
        path: PathBuf,
        /// The id asked for.
        id: Option<String>,
    },
    /// Several versions have an id that begins like that.
    #[error("{path} has several versions whose id begins with {id}")]
    Ambiguous {
        /// The path.
        path: PathBuf,
        /// The id asked for.
        id: String,
    },
    /// A directory stands in the way.
    #[error("{path} is a directory")]
    InTheWay {
        /// Where.
        path: PathBuf,
    },
    /// The content could not be staged.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The name could not be changed.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Returns the versions of `path`, and of what stood below it, that either root of its pairs keeps.
///
/// # Errors
/// The path lies in no known root, or the state cannot be read.
pub fn versions(state: &Path, path: &Path) -> Result<Listed, EngineError> {
    let home = home(path)?;
    let mut found = Vec::new();
    let mut peers = Vec::new();
    for db in home.open(state)? {
        found.extend(catalogued(&db, &home.path, &home.root)?);
        peers.extend(Meta::of(&db).get(meta::PEER_ROOT_PATH)?);
    }
    for peer in peers {
        let path = database_path(state, pair_database(&peer, &home.root));
        if !path.exists() || !peer.exists() {
            continue;
        }
        // A loser is kept on both sides; once is enough.
        let is_new = |theirs: &Found| {
            let same = |ours: &Found| {
                ours.version.path == theirs.version.path && ours.version.digest == theirs.version.digest
            };
            theirs.version.digest.is_none() || !found.iter().any(same)
        };
        let theirs = catalogued(&look_into(&path)?, &home.path, &peer)?;
        let new: Vec<Found> = theirs.into_iter().filter(is_new).collect();
        found.extend(new);
    }
    found.sort_by(|a, b| {
        let (a, b) = (&a.version, &b.version);
        a.path.cmp(&b.path).then(b.replaced.cmp(&a.replaced)).then(a.id.cmp(&b.id))
    });
    Ok(Listed { home, versions: found })
}

/// The versions at and below `top` in the catalogue of a database, which keeps them in `root`.
fn catalogued(db: &Database, top: &RelPath, root: &Path) -> Result<Vec<Found>, EngineError> {
    let catalogue = Versions::of(db);
    let mut versions = catalogue.at(top, "")?;
    let mut last: Option<Version> = None;
    loop {
        let page = catalogue.below(top, last.as_ref(), PAGE)?;
        let more = page.len() == PAGE;
        last = page.last().cloned();
        versions.extend(page);
        if !more {
            let found = |version| Found { version, root: root.to_owned() };
            return Ok(versions.into_iter().map(found).collect());
        }
    }
}

/// Returns the version of `path` whose id begins with `id`, or the newest, and the root that the path lies in.
///
/// # Errors
/// There is none, or several; the root or its state cannot be read.
pub fn version(state: &Path, path: &Path, id: Option<&str>) -> Result<(Home, Found), RestoreError> {
    let listed = versions(state, path)?;
    let mut fitting = listed
        .versions
        .into_iter()
        .map(|found| (found.version.id.clone(), found))
        .filter(|(name, found)| {
            found.version.path == listed.home.path && id.is_none_or(|id| name.starts_with(id))
        })
        .map(|(_, found)| found);
    let Some(found) = fitting.next() else {
        return Err(RestoreError::NoVersion { path: path.to_owned(), id: id.map(ToOwned::to_owned) });
    };
    match id {
        Some(id) if fitting.next().is_some() => {
            Err(RestoreError::Ambiguous { path: path.to_owned(), id: id.to_owned() })
        }
        _ => Ok((listed.home, found)),
    }
}

/// Returns the content of a version, opened; `None` where it is no regular file.
///
/// # Errors
/// It cannot be read.
pub fn open_version(found: &Found) -> Result<Option<File>, RestoreError> {
    let (kept, version) = (batch(found)?, &found.version);
    if version.kind != Kind::File {
        return Ok(None);
    }
    Ok(Some(kept.open_file(&version.place)?.0))
}

/// Brings a version back to its path; what stood there is kept in its turn. Returns where it was put.
///
/// # Errors
/// Another run works on the root, a directory is in the way, or the disk refuses.
pub fn restore(state: &Path, home: &Home, found: &Found) -> Result<PathBuf, RestoreError> {
    let (kept, version) = (batch(found)?, &found.version);
    let (root, private) = open_root(&home.root)?;
    let _lock = private.lock().map_err(|error| EngineError::lock(home.root.clone(), error))?;
    let place = Place::new(&root, &private, run_name(clock::now()));
    let (_, displaced) = place.put(&version.path, &kept, version)?;
    if let Some(displaced) = displaced {
        for id in &home.databases {
            let path = database_path(state, *id);
            if path.exists() {
                let db = Database::open(&path, Mode::Durable).map_err(EngineError::from)?;
                note::catalogue(&db, "you", &version.path, &displaced, None, "overwritten by a restore")?;
                break;
            }
        }
    }
    Ok(home.root.join(std::ffi::OsStr::new(&shown(&version.path))))
}

/// Writes a version into the directory `to`, under its own name. Returns where it was put.
///
/// # Errors
/// Something has that name there, or the disk refuses.
pub fn restore_to(found: &Found, to: &Path) -> Result<PathBuf, RestoreError> {
    let (kept, version) = (batch(found)?, &found.version);
    let failed = |source| EngineError::State { doing: "make", path: to.to_owned(), source };
    std::fs::create_dir_all(to).map_err(failed)?;
    let target = Arc::new(Root::open(to)?);
    let own = Private::open_or_create(&target)
        .map_err(|source| EngineError::Private { path: to.to_owned(), source })?;
    let own = Arc::new(own);
    let name = RelPath::new(version.path.name()).unwrap_or_default();
    if target.stat(&name)?.is_some() {
        return Err(ApplyError::Taken { path: name }.into());
    }
    let place = Place::new(&target, &own, run_name(clock::now()));
    let put = place.put(&name, &kept, version);
    drop(place);
    if let Some(own) = Arc::into_inner(own) {
        own.remove_if_empty(&target, None)?;
    }
    put?;
    Ok(to.join(std::ffi::OsStr::new(&shown(&name))))
}

fn shown(path: &RelPath) -> std::ffi::OsString {
    use std::os::unix::ffi::OsStringExt as _;
    std::ffi::OsString::from_vec(path.as_bytes().to_vec())
}

fn open_root(path: &Path) -> Result<(Arc<Root>, Arc<Private>), RestoreError> {
    let root = Arc::new(Root::open(path)?);
    let private = Private::open_or_create(&root)
        .map_err(|source| EngineError::Private { path: path.to_owned(), source })?;
    Ok((root, Arc::new(private)))
}

/// The batch of the version store that holds a version.
fn batch(found: &Found) -> Result<Root, RestoreError> {
    let (_, private) = open_root(&found.root)?;
    let version = &found.version;
    Kept::new(private).batch(version.batch.as_bytes())?.ok_or_else(|| RestoreError::NoVersion {
        path: found.root.join(shown(&version.path)),
        id: Some(version.id.clone()),
    })
}

/// A root in which something kept is put back in its place.
pub(crate) struct Place {
    root: Arc<Root>,
    stage: Stage,
    apply: Apply,
}

impl Place {
    pub(crate) fn new(root: &Arc<Root>, private: &Arc<Private>, batch: String) -> Self {
        let kept = Arc::new(Kept::new(Arc::clone(private)));
        Self {
            root: Arc::clone(root),
            stage: Stage::new(Arc::clone(root), Arc::clone(private)),
            apply: Apply::new(Arc::clone(root), Arc::clone(private), kept, &batch.into_bytes()),
        }
    }

    /// Puts what `from` has of a version at `path`. Returns its stat there, and where what stood there is kept.
    pub(crate) fn put(
        &self,
        path: &RelPath,
        from: &Root,
        version: &Version,
    ) -> Result<(Stat, Option<KeptAt>), RestoreError> {
        let content = match (version.kind, version.digest) {
            (Kind::File, Some(digest)) => Content::File { digest, size: version.size },
            (Kind::File, None) => {
                let stat = from.stat(&version.place)?;
                let size = stat.map_or(version.size, |stat| stat.size);
                let digest =
                    crate::disk::hash::hash_file(from, &version.place, &stat.unwrap_or_else(|| unseen(size)))
                        .map_err(|error| StageError::Source {
                            path: path.clone(),
                            source: std::io::Error::other(error),
                        })?
                        .digest;
                Content::File { digest, size }
            }
            (Kind::Symlink, _) => Content::Symlink(from.read_link(&version.place)?),
            (Kind::Dir, _) => Content::Dir,
            (Kind::Fifo, _) => Content::Fifo,
            (Kind::Socket, _) => Content::Socket,
            (kind @ (Kind::CharDevice | Kind::BlockDevice), _) => {
                let rdev = from.stat(&version.place)?.map_or(0, |stat| stat.rdev);
                Content::Device { kind, rdev }
            }
        };
        self.put_content(path, from, &version.place, &content, &version.attributes)
    }

    /// Puts `content`, which `from` has at `source`, at `path`.
    pub(crate) fn put_content(
        &self,
        path: &RelPath,
        from: &Root,
        source: &RelPath,
        content: &Content,
        attributes: &Attributes,
    ) -> Result<(Stat, Option<KeptAt>), RestoreError> {
        for parent in path.ancestors() {
            if self.root.stat(&parent)?.is_none() {
                let made = self.apply.make_dir(&parent)?;
                let plain = Attributes { mode: 0o755, ..made.attributes };
                let mode = Which { mode: true, ..Which::default() };
                self.apply.set_attributes(&parent, &plain, mode, &made)?;
            }
        }
        let there = self.root.stat(path)?;
        if there.is_some_and(|stat| stat.kind == Kind::Dir) {
            return Err(RestoreError::InTheWay { path: self.root.path().join(shown(path)) });
        }
        let target = if there.is_some() { Target::Taken } else { Target::Free };
        let staged = if let Content::File { digest, size } = content {
            let (file, _) = from.open_file(source)?;
            self.stage.file(path, target)?.fill_from(&file, Some((*digest, *size)))?
        } else {
            self.stage.other(path, content)?
        };
        staged.set_attributes(attributes, Which::ALL)?;
        let mut put = None;
        for flushed in flush_all(vec![staged], 1) {
            let flushed = flushed?;
            put = Some(match there {
                Some(there) => {
                    let replaced = self.apply.replace(flushed, &there, Fate::Keep)?;
                    (replaced.live, replaced.kept)
                }
                None => (self.apply.publish_new(flushed)?, None),
            });
        }
        self.apply.sync_dirs(&[path.parent().unwrap_or_default()], 1)?;
        put.ok_or_else(|| ApplyError::Changed { path: path.clone(), found: None, kept: None }.into())
    }
}

/// A stat that says nothing but the size.
fn unseen(size: u64) -> Stat {
    Stat {
        kind: Kind::File,
        attributes: Attributes::default(),
        size,
        ctime: Timestamp::default(),
        ino: 0,
        dev: 0,
        links: 1,
        rdev: 0,
    }
}
