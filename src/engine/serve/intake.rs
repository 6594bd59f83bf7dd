//! What a step that a guest asks for means in this folder: which attributes an entry gets, and which row says so.

use crate::config::settings::OwnerRule;
use crate::disk::process::Process;
use crate::engine::far::owners::Owners;
use crate::engine::host::HostSettings;
use crate::model::entry::{Content, Kind};
use crate::model::metadata::{Attributes, Owner, Timestamp};
use crate::model::path::RelPath;
use crate::model::row::{Live, Record, Row};
use crate::model::version::Dot;
use crate::plan::decide::{Settled, Source, step};
use crate::plan::detect::buried;
use crate::plan::edit::made;
use crate::rules::owner::OwnerMap;
use crate::transport::message::{Act, Carried, Code, Refuse, Step};

/// The set-id bits.
pub(crate) const SET_ID: u32 = 0o6000;

/// The rules by which a folder takes in what guests make.
pub(crate) struct Intake<'a> {
    pub(crate) settings: &'a HostSettings,
    /// The owner of everything, where the folder has one.
    pub(crate) fixed: Option<&'a OwnerMap>,
    /// What the guest's numbers mean here.
    pub(crate) owners: Owners,
    pub(crate) process: &'a Process,
}

/// The moment of a change: its event, and the time.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) dot: Dot,
    pub(crate) now: Timestamp,
}

impl Intake<'_> {
    /// Returns what `asked` makes of what is recorded at its path; `None` where nothing changes. `holds` tells whether
    /// our file at a path has this content.
    ///
    /// # Errors
    /// It is not accepted here, or there is nothing that it could be done to.
    pub(crate) fn settled(
        &self,
        asked: &Step,
        record: Option<&Record>,
        moment: Moment,
        holds: &dyn Fn(&RelPath, &Content) -> bool,
    ) -> Result<Option<Settled>, Refuse> {
        let row = record.map(|record| &record.row);
        let old = row.and_then(Row::live);
        let (path, Moment { dot, now }) = (&asked.path, moment);
        let mut source = Source::Peer(path.clone());
        let new = match (&asked.act, old) {
            (Act::Make { content, attributes, which, from }, _) => {
                self.accepts(content)?;
                if let Some(from) = from.as_ref().filter(|from| holds(from, content)) {
                    source = Source::Ours(from.clone());
                }
                made(row, content, self.made(content, *attributes, *which, old, now), dot, now)
            }
            (Act::Dress { attributes, which }, Some(live)) => {
                let dressed = self.dressed(*attributes, *which, live);
                made(row, &live.content.value, dressed, dot, now)
            }
            (Act::Remove { .. }, Some(live)) => row.map(|row| buried(row, live, dot, now)),
            (Act::Dress { .. }, None) => return Err(missing("nothing stands there")),
            (Act::Remove { .. }, None) => None,
        };
        Ok(new.map(|new| {
            let step = step(row, &new, source);
            Settled { path: path.clone(), row: new, step, lost: None }
        }))
    }

    fn accepts(&self, content: &Content) -> Result<(), Refuse> {
        let kind = content.kind();
        if (kind.is_device() || kind == Kind::Socket) && !self.settings.trust_root {
            let text = format!("a {} is not taken here", kind.word());
            return Err(Refuse { code: Code::Unacceptable, text });
        }
        Ok(())
    }

    /// The attributes of a content that is made, `old` being what stood there.
    fn made(
        &self,
        content: &Content,
        wanted: Attributes,
        which: Carried,
        old: Option<&Live>,
        now: Timestamp,
    ) -> Attributes {
        let kind = content.kind();
        let fresh = Attributes {
            mode: wanted.mode & 0o777 & !self.process.umask,
            owner: self.process.owner,
            mtime: now,
        };
        let before = old.filter(|old| old.content.value.kind() == kind).map_or(fresh, Live::attributes);
        let mut attributes = self.chosen(wanted, which, before);
        let is_new = old.is_none_or(|old| old.content.value != *content);
        if is_new && !which.mtime {
            attributes.mtime = now;
        }
        if kind == Kind::Symlink {
            attributes.mode = 0o777;
        } else if kind != Kind::Dir && !self.settings.trust_root {
            attributes.mode &= !SET_ID;
        }
        attributes
    }

    /// The attributes of what stands there, changed. Set-id bits that it has may stay; none are added.
    pub(crate) fn dressed(&self, wanted: Attributes, which: Carried, live: &Live) -> Attributes {
        let (before, kind) = (live.attributes(), live.content.value.kind());
        let mut attributes = self.chosen(wanted, which, before);
        if kind == Kind::Symlink {
            attributes.mode = before.mode;
        } else if kind != Kind::Dir && !self.settings.trust_root {
            let may_stay = if attributes.owner == before.owner { before.mode } else { 0 };
            attributes.mode &= !SET_ID | may_stay;
        }
        attributes
    }

    /// What is meant of `wanted`, the rest from `before`.
    fn chosen(&self, wanted: Attributes, which: Carried, before: Attributes) -> Attributes {
        let keeps = self.settings.owner == OwnerRule::None;
        let ours = self.owners.ours(wanted.owner);
        let carried = Owner {
            uid: if which.user && !keeps { ours.uid } else { before.owner.uid },
            gid: if which.group && !keeps { ours.gid } else { before.owner.gid },
        };
        Attributes {
            mode: if which.mode { wanted.mode & 0o7777 } else { before.mode },
            owner: self.fixed.map_or(carried, |fixed| fixed.apply(carried, self.owners.system())),
            mtime: if which.mtime { wanted.mtime } else { before.mtime },
        }
    }
}

pub(crate) fn missing(text: &str) -> Refuse {
    Refuse { code: Code::Missing, text: text.to_owned() }
}
