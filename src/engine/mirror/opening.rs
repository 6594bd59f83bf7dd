//! The destination of a run: opened, made where it is missing, locked while it is worked on.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use crate::disk::apply::Apply;
use crate::disk::attributes::{Which, set_fd};
use crate::disk::clock;
use crate::disk::error::{DiskError, Doing};
use crate::disk::kept::Kept;
use crate::disk::leftover;
use crate::disk::private::{Lock, Private};
use crate::disk::root::Root;
use crate::disk::stage::Stage;
use crate::engine::far::error::FarError;
use crate::engine::far::placed::Placed;
use crate::engine::mirror::backup::Backup;
use crate::engine::mirror::courier::Courier;
use crate::engine::mirror::error::MirrorError;
use crate::engine::mirror::hand::{Hand, Means};
use crate::engine::mirror::operand::{Destination, Place};
use crate::engine::mirror::setting::Setting;
use crate::engine::mirror::site::Site;
use crate::engine::options;
use crate::engine::tree::Tree;
use crate::model::entry::Kind;
use crate::model::key::PublicKey;
use crate::model::metadata::{Attributes, Stat, Timestamp};
use crate::model::path::{RelPath, escape};
use crate::plan::guard::Limit;
use crate::transport::message::{Code, Refuse};

/// The destination of a run, opened.
pub(crate) struct Opened {
    pub(crate) site: Site,
    /// What stood at its root before the run touched it.
    pub(crate) before: Option<Stat>,
    /// What is held until the run is over.
    pub(crate) holds: Vec<Hold>,
}

/// The private directory of a root and the lock on it.
pub(crate) struct Hold {
    root: Arc<Root>,
    private: Arc<Private>,
    lock: Lock,
    /// The root's modification time before the private directory was made in it, and after.
    before: Timestamp,
    taken: Timestamp,
}

impl Opened {
    /// Opens the destination, makes it where it is missing, and takes its lock; a dry run only opens it.
    pub(crate) fn new(destination: &Destination, setting: &Setting) -> Result<Self, MirrorError> {
        let dry_run = setting.options.dry_run;
        if dry_run && !destination.exists {
            return Ok(Self { site: Site::new(None, None, None), before: None, holds: Vec::new() });
        }
        match &destination.place {
            Place::Here(path) => Self::here(path, destination.exists, setting),
            Place::There(placed) => Self::there(placed, destination.exists, setting),
        }
    }

    fn here(path: &Path, exists: bool, setting: &Setting) -> Result<Self, MirrorError> {
        if !exists {
            std::fs::create_dir(path).map_err(|source| MirrorError::Destination {
                path: escape(path.as_os_str().as_bytes()),
                source,
            })?;
        }
        let root = Arc::new(Root::open(path)?);
        let before = root.stat(&RelPath::root())?.filter(|_| exists);
        let tree = Some(Tree::Disk(Arc::clone(&root)));
        if setting.options.dry_run {
            return Ok(Self { site: Site::new(tree, None, None), before, holds: Vec::new() });
        }
        let hold = Hold::take(&root)?;
        let hand = Some(Hand::Here(hold.means()));
        let mut holds = vec![hold];
        let backup = match &setting.options.removal.backup {
            Some(backup) => {
                let (backup, hold) = backup_of(backup, &root, 0o777 & !setting.process.umask)?;
                holds.extend(hold);
                Some(backup)
            }
            None => None,
        };
        Ok(Self { site: Site::new(tree, hand, backup), before, holds })
    }

    fn there(placed: &Arc<Placed>, exists: bool, setting: &Setting) -> Result<Self, MirrorError> {
        if setting.options.removal.backup.is_some() {
            let what = "--backup has no place at another node: its folder keeps old versions by its own setting \
                        `versions`";
            return Err(MirrorError::Unsupported { what: what.to_owned() });
        }
        let tree = Tree::Far(Arc::clone(placed));
        let before = tree.stat(&RelPath::root())?.filter(|_| exists);
        if setting.options.dry_run {
            return Ok(Self { site: Site::new(Some(tree), None, None), before, holds: Vec::new() });
        }
        let courier = Courier::new(Arc::clone(placed), setting.limit != Limit::Formula);
        if !exists {
            let below = escape(placed.path().as_os_str().as_bytes());
            let path = format!("{} in the folder of {}", below.trim_start_matches('/'), placed.far.peer());
            match courier.make_root(0o777 & !setting.process.umask)? {
                None => {}
                Some(Refuse { code: Code::Missing, .. }) => return Err(MirrorError::NoParent { path }),
                Some(refuse) => return Err(FarError::refused(placed.far.peer(), &refuse).into()),
            }
        }
        let hand = Some(Hand::There(courier));
        Ok(Self { site: Site::new(Some(tree), hand, None), before, holds: Vec::new() })
    }
}

impl Hold {
    fn take(root: &Arc<Root>) -> Result<Self, MirrorError> {
        let before = mtime(root)?;
        let private = Private::open_or_create(root)?;
        let lock = private.lock()?;
        let taken = mtime(root)?;
        let hold = Self { root: Arc::clone(root), private: Arc::new(private), lock, before, taken };
        hold.means().apply.recover()?;
        leftover::sweep(&hold.private, clock::now());
        Ok(hold)
    }

    fn means(&self) -> Means {
        let (root, private) = (Arc::clone(&self.root), Arc::clone(&self.private));
        let kept = Arc::new(Kept::new(Arc::clone(&private)));
        let apply = Apply::new(Arc::clone(&root), Arc::clone(&private), kept, b"one-way");
        Means { apply, stage: Stage::new(Arc::clone(&root), private), root }
    }

    /// Removes the private directory if nothing is left in it, and gives the root the time that it had without this.
    /// `done` is whose contents were taken whole: nothing is left over of them.
    pub(crate) fn end(self, done: Option<&PublicKey>) -> Result<(), MirrorError> {
        let now = mtime(&self.root)?;
        if let Some(giver) = done {
            leftover::clear(&self.private, giver);
        }
        let time = if now == self.taken { self.before } else { now };
        if let Some(private) = Arc::into_inner(self.private) {
            private.remove_if_empty(&self.root, Some(&self.lock))?;
        }
        let attributes = Attributes { mtime: time, ..Attributes::default() };
        let which = Which { mtime: true, ..Which::default() };
        let failed = |source| DiskError::call(Doing::SetAttributes, &RelPath::root(), source);
        set_fd(self.root.fd(), Kind::Dir, &attributes, which).map_err(failed)?;
        Ok(())
    }
}

/// Returns the present modification time of a root.
fn mtime(root: &Root) -> Result<Timestamp, MirrorError> {
    Ok(root.stat(&RelPath::root())?.map(|stat| stat.attributes.mtime).unwrap_or_default())
}

/// Returns where backups go, and the hold on that place if it is not the destination.
fn backup_of(
    backup: &options::Backup,
    dest: &Arc<Root>,
    dir_mode: u32,
) -> Result<(Backup, Option<Hold>), MirrorError> {
    let suffix = backup.suffix.as_bytes().to_vec();
    let beside = backup.dir.is_none();
    let within = |dir| Backup { elsewhere: None, dir, suffix: suffix.clone(), dir_mode, beside };
    let Some(dir) = &backup.dir else {
        return Ok((within(RelPath::root()), None));
    };
    let bytes = dir.as_os_str().as_bytes();
    if let Ok(inside) = RelPath::new(bytes.strip_suffix(b"/").unwrap_or(bytes)) {
        return Ok((within(inside), None));
    }
    let path = dest.path().join(dir);
    let failed = |source| MirrorError::Destination { path: escape(path.as_os_str().as_bytes()), source };
    std::fs::create_dir_all(&path).map_err(failed)?;
    let root = Arc::new(Root::open(&path)?);
    if let Ok(inside) = root.path().strip_prefix(dest.path())
        && let Ok(inside) = RelPath::new(inside.as_os_str().as_bytes())
    {
        return Ok((within(inside), None));
    }
    let hold = Hold::take(&root)?;
    Ok((Backup { elsewhere: Some(hold.means()), ..within(RelPath::root()) }, Some(hold)))
}
