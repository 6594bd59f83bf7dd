//! What a one-way run was told, worked out once.

use std::os::unix::ffi::OsStrExt as _;

use crate::disk::attributes::Which;
use crate::disk::names::SystemNames;
use crate::disk::process::Process;
use crate::engine::mirror::error::MirrorError;
use crate::engine::options::{MaxDelete, Options};
use crate::model::entry::Kind;
use crate::model::metadata::{Attributes, Stat};
use crate::plan::compare::{Carried, Criteria, Wanted};
use crate::plan::guard::Limit;
use crate::rules::chmod::Chmod;
use crate::rules::owner::{OwnerArgs, OwnerMap};

/// The set-id bits of a mode.
const SET_ID: u32 = 0o6000;

/// The options of a run with all that follows from them and from who runs it.
pub(crate) struct Setting {
    pub(crate) options: Options,
    pub(crate) criteria: Criteria,
    pub(crate) limit: Limit,
    carried: Carried,
    chmod: Chmod,
    owners: OwnerMap,
    names: SystemNames,
    pub(crate) process: Process,
    /// Whether entries may be given to any group.
    any_group: bool,
    /// Why devices and sockets are not made; `None` if they are.
    no_special: Option<&'static str>,
    /// Whether files may have set-id bits.
    set_id: bool,
}

impl Setting {
    /// Returns the setting of a run with `options`.
    pub(crate) fn new(options: &Options) -> Result<Self, MirrorError> {
        let (preserve, select, removal) = (&options.preserve, &options.select, &options.removal);
        let names = SystemNames::new();
        let owners = OwnerArgs {
            usermap: preserve.usermap.as_deref(),
            groupmap: preserve.groupmap.as_deref(),
            chown: preserve.chown.as_deref(),
            numeric: preserve.numeric_ids,
        };
        let owners = OwnerMap::new(owners, &names)?;
        let process = Process::now();
        let beside = removal.backup.as_ref().is_some_and(|backup| backup.dir.is_none());
        Ok(Self {
            criteria: Criteria {
                update: select.update,
                checksum: select.checksum,
                ignore_times: select.ignore_times,
                size_only: select.size_only,
                existing: select.existing,
                ignore_existing: select.ignore_existing,
                max_size: select.max_size,
                min_size: select.min_size,
            },
            limit: match (removal.yes, removal.max_delete) {
                (_, Some(MaxDelete::Count(count))) => Limit::Count(count),
                (_, Some(MaxDelete::Percent(percent))) => Limit::Percent(percent),
                (true, None) => Limit::Approved,
                (false, None) => Limit::Formula,
            },
            carried: Carried {
                perms: preserve.perms,
                times: preserve.times,
                // Backups beside the files would change the times again, so rsync leaves them be.
                dir_times: !beside,
                owner: preserve.owner && process.is_root,
                group: preserve.group,
            },
            chmod: Chmod::parse(&preserve.chmod)?,
            owners,
            names,
            any_group: process.is_root,
            no_special: (!process.is_root).then_some("only root can make it"),
            set_id: true,
            process,
            options: options.clone(),
        })
    }

    /// Returns what is added to the names of backups that stay beside their files; `None` where none do.
    pub(crate) fn suffix_beside(&self) -> Option<&[u8]> {
        let backup = self.options.removal.backup.as_ref()?;
        backup.dir.is_none().then(|| backup.suffix.as_bytes())
    }

    /// Takes the times of directories out of what is carried.
    pub(crate) fn ignore_dir_times(&mut self) {
        self.carried.dir_times = false;
    }

    /// Takes it that a peer makes the entries: devices and set-id bits only where it trusts us with them, owners only
    /// where it takes them.
    pub(crate) fn made_by_peer(&mut self, trusts: bool, takes_owners: bool) {
        self.carried.owner = self.options.preserve.owner && takes_owners;
        self.carried.group &= takes_owners;
        (self.any_group, self.set_id) = (true, trusts);
        self.no_special = (!trusts).then_some("the peer does not trust this node with it");
    }

    /// Takes it that a peer says what the entries are: it gets no device and no set-id bit made here.
    pub(crate) fn told_by_peer(&mut self) {
        self.set_id = false;
        self.no_special = Some("no peer is trusted with it");
    }

    /// Whether an entry of the source loses its set-id bits on the way.
    pub(crate) fn cuts(&self, stat: &Stat) -> bool {
        let has_bits = stat.kind == Kind::File && stat.attributes.mode & SET_ID != 0;
        has_bits && self.carried.perms && !self.set_id
    }

    /// Returns an entry of the source as it shall be at the destination.
    pub(crate) fn wanted(&self, stat: &Stat) -> Wanted {
        let cut = if self.set_id || stat.kind == Kind::Dir { 0 } else { SET_ID };
        let attributes = Attributes {
            mode: !cut & self.chmod.apply(stat.attributes.mode, stat.kind, self.process.umask),
            owner: self.owners.apply(stat.attributes.owner, &self.names),
            mtime: stat.attributes.mtime,
        };
        let may_group = self.any_group || self.process.groups.contains(&attributes.owner.gid);
        let carried = Carried { group: self.carried.group && may_group, ..self.carried };
        Wanted { stat: *stat, attributes, carried }
    }

    /// Returns why entries of `kind` are not carried; `None` if they are.
    pub(crate) fn refuses(&self, kind: Kind) -> Option<&'static str> {
        let preserve = &self.options.preserve;
        match kind {
            Kind::File | Kind::Dir => None,
            Kind::Symlink => (!preserve.links).then_some("symlinks are not carried"),
            Kind::Fifo => (!preserve.specials).then_some("special files are not carried"),
            Kind::Socket if !preserve.specials => Some("special files are not carried"),
            Kind::CharDevice | Kind::BlockDevice if !preserve.devices => Some("devices are not carried"),
            Kind::Socket | Kind::CharDevice | Kind::BlockDevice => self.no_special,
        }
    }

    /// Returns the attributes that an entry made for `wanted` gets, and which of them to set. What is not carried
    /// comes from what stands there, or from the umask.
    pub(crate) fn dress(&self, wanted: &Wanted, there: Option<&Stat>) -> (Attributes, Which) {
        let there = there.filter(|there| there.kind == wanted.stat.kind);
        let mode = match there {
            _ if wanted.carried.perms => wanted.attributes.mode,
            Some(there) => there.attributes.mode,
            None => wanted.attributes.mode & 0o777 & !self.process.umask,
        };
        let which = Which {
            mode: true,
            owner: wanted.carried.owner,
            group: wanted.carried.group,
            mtime: wanted.carries_time(),
        };
        (Attributes { mode, ..wanted.attributes }, which)
    }
}

/// Returns which attributes must be set so that `there` is as wanted.
pub(crate) fn mend(wanted: &Wanted, there: &Stat) -> Which {
    let differing = wanted.differs_from(there);
    Which {
        // A change of owner clears the set-id bits.
        mode: differing.perms || (wanted.carried.perms && (differing.owner || differing.group)),
        owner: differing.owner,
        group: differing.group,
        mtime: differing.time,
    }
}
