//! Directories of the destination: told and made on the way in, before anything inside them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::disk::apply::{ApplyError, Fate};
use crate::disk::attributes::Which;
use crate::disk::listing::DirInfo;
use crate::engine::mirror::account::count;
use crate::engine::mirror::courier::{Counts, Courier, Made};
use crate::engine::mirror::directory::Directory;
use crate::engine::mirror::hand::{Hand, Means};
use crate::engine::mirror::pass::{Frame, Pass};
use crate::engine::mirror::rehearsal;
use crate::engine::mirror::setting::mend;
use crate::engine::report::Item;
use crate::engine::selection;
use crate::model::entry::{Content, Kind};
use crate::model::metadata::{Attributes, Stat};
use crate::model::path::RelPath;
use crate::plan::compare::{Action, Decision, Wanted, decide};
use crate::plan::itemize::{code, unchanged};

impl Pass<'_> {
    /// Returns the frame of a directory, nothing of it done.
    pub(crate) fn frame(
        &self,
        path: RelPath,
        wanted: Wanted,
        there: Option<Stat>,
        info: Option<Arc<DirInfo>>,
    ) -> Frame {
        let above = if path.is_root() { Some(Arc::clone(&self.rules)) } else { self.rules_above(&path) };
        let rules = above.and_then(|above| {
            let dest = self.site.dest_lister().filter(|_| there.is_some());
            selection::enter(&above, dest, &path).ok()
        });
        Frame { path, wanted, there, info, rules, made: false, dir: None, goes: Vec::new(), absent: false }
    }

    /// Makes every directory on the way to here that is not made yet.
    pub(crate) fn make_all(&mut self) {
        let first = self.stack.iter().position(|frame| !frame.made).unwrap_or(self.stack.len());
        for at in first..self.stack.len() {
            self.make(at);
        }
    }

    /// Tells and makes one directory.
    fn make(&mut self, at: usize) {
        let parent = at.checked_sub(1).and_then(|above| self.stack[above].dir.clone());
        let absent_above = at.checked_sub(1).is_some_and(|above| self.stack[above].absent);
        let frame = &mut self.stack[at];
        frame.made = true;
        let (wanted, there, path) = (frame.wanted, frame.there, frame.path.clone());
        let Decision::Do(action) = decide(&wanted, there.as_ref(), &self.setting.criteria) else {
            return;
        };
        if action == Action::Leave || absent_above {
            frame.absent = true;
            return;
        }
        let code = code(action, &wanted, there.as_ref(), false);
        let shown = code.or_else(|| (self.setting.options.telling.itemize > 1).then(|| unchanged(Kind::Dir)));
        if let Some(code) = shown {
            self.observer.item(&Item { code, path: path.clone(), dir: true, suffix: Vec::new() });
        }
        self.creates += u64::from(action == Action::Create);
        if self.site.hand.is_none() {
            return rehearsal::directory(&self.site.account, action);
        }
        match self.directory(&path, &wanted, there.as_ref(), action, parent) {
            Ok(dir) => self.stack[at].dir = Some(Arc::new(dir)),
            Err(error) => {
                self.site.account.apply_problem(&path, &error);
                self.stack[at].absent = true;
            }
        }
    }

    /// Returns a directory that stands at the destination, made if need be, for its attributes to be set later.
    fn directory(
        &self,
        path: &RelPath,
        wanted: &Wanted,
        there: Option<&Stat>,
        action: Action,
        parent: Option<Arc<Directory>>,
    ) -> Result<Directory, ApplyError> {
        let hand = match &self.site.hand {
            Some(Hand::Here(means)) => means,
            Some(Hand::There(courier)) => {
                return Ok(self.far_directory(courier, path, wanted, there, action, parent));
            }
            None => return Err(ApplyError::NotEmpty { path: path.clone() }),
        };
        let made = match (action, there) {
            (Action::Attributes, Some(there)) => return self.existing(hand, path, wanted, there, parent),
            (Action::Replace, Some(there)) => {
                if let Some(backup) = &self.site.backup {
                    backup.copy(hand, path, there)?.into_iter().for_each(|dir| self.site.changed(dir));
                }
                let staged = hand.stage.other(path, &Content::Dir)?;
                let live = hand.apply.replace(staged, there, Fate::Discard)?.live;
                self.site.account.report().updated += 1;
                live
            }
            _ if path.is_root() => {
                let root = hand.root.stat(path)?;
                count(&mut self.site.account.report().created, Kind::Dir);
                root.ok_or_else(|| ApplyError::Changed { path: path.clone(), found: None, kept: None })?
            }
            _ => {
                let made = hand.apply.make_dir(path)?;
                count(&mut self.site.account.report().created, Kind::Dir);
                made
            }
        };
        if let Some(parent) = &parent {
            parent.touch();
        }
        let (mut attributes, which) = self.setting.dress(wanted, None);
        if !wanted.carried.perms {
            // A directory below one with the set-group-id bit has inherited it.
            attributes.mode |= made.attributes.mode & 0o2000;
        }
        Ok(Directory {
            path: path.clone(),
            there: made,
            attributes,
            which,
            keeps_time: wanted.carries_time(),
            touched: AtomicBool::new(true),
            parent,
        })
    }

    /// Returns a directory that stands already. Where this process may not make things in it, it may from now on, until
    /// the directory gets its mode at the end.
    fn existing(
        &self,
        hand: &Means,
        path: &RelPath,
        wanted: &Wanted,
        there: &Stat,
        parent: Option<Arc<Directory>>,
    ) -> Result<Directory, ApplyError> {
        let closed = !self.setting.process.is_root && there.attributes.mode & 0o700 != 0o700;
        if closed {
            let open = Attributes { mode: there.attributes.mode | 0o700, ..there.attributes };
            let which = Which { mode: true, ..Which::default() };
            hand.apply.set_attributes(path, &open, which, there)?;
        }
        Ok(standing(path, wanted, there, closed, parent))
    }

    /// Returns a directory that stands in the folder of a peer, or will before anything is made in it. One that is made
    /// gets its attributes there, when all that comes in it has come.
    fn far_directory(
        &self,
        courier: &Courier,
        path: &RelPath,
        wanted: &Wanted,
        there: Option<&Stat>,
        action: Action,
        parent: Option<Arc<Directory>>,
    ) -> Directory {
        if let (Action::Attributes, Some(there)) = (action, there) {
            return standing(path, wanted, there, false, parent);
        }
        let (attributes, which) = self.setting.dress(wanted, None);
        let made = Directory {
            path: path.clone(),
            there: wanted.stat,
            attributes,
            which: Which::default(),
            keeps_time: false,
            touched: AtomicBool::new(false),
            parent,
        };
        if path.is_root() {
            // It was made before the run began.
            count(&mut self.site.account.report().created, Kind::Dir);
            return Directory { which, ..made };
        }
        let counts = if there.is_some() { Counts::Updated } else { Counts::Created(Kind::Dir) };
        let dir = Made { content: Content::Dir, attributes, which };
        courier.make(&self.site.account, path, dir, counts, None);
        if let Some(parent) = &made.parent {
            parent.touch();
        }
        made
    }
}

/// Returns a directory that stands already; `closed` says that its mode was changed for the run.
fn standing(
    path: &RelPath,
    wanted: &Wanted,
    there: &Stat,
    closed: bool,
    parent: Option<Arc<Directory>>,
) -> Directory {
    let which = mend(wanted, there);
    let mode = if wanted.carried.perms { wanted.attributes.mode } else { there.attributes.mode };
    Directory {
        path: path.clone(),
        there: *there,
        attributes: Attributes { mode, ..wanted.attributes },
        which: Which { mode: which.mode || closed, ..which },
        keeps_time: wanted.carries_time(),
        touched: AtomicBool::new(false),
        parent,
    }
}
