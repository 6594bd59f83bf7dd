//! What a one-way run must do at one path.

use crate::model::entry::Kind;
use crate::model::metadata::{Attributes, Stat};

/// When something counts as changed, and what is left alone whatever it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Criteria {
    /// What is newer at the destination stays.
    pub update: bool,
    /// Contents decide, not size and time.
    pub checksum: bool,
    /// Equal size and time do not make a file equal.
    pub ignore_times: bool,
    /// Equal size does.
    pub size_only: bool,
    /// Nothing new is made.
    pub existing: bool,
    /// What exists is not touched, other than directories.
    pub ignore_existing: bool,
    /// Larger files are left out; bytes.
    pub max_size: Option<u64>,
    /// Smaller files are left out; bytes.
    pub min_size: Option<u64>,
}

/// Which attributes a run carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Carried {
    /// Permission bits.
    pub perms: bool,
    /// Modification times.
    pub times: bool,
    /// Those of directories.
    pub dir_times: bool,
    /// Users.
    pub owner: bool,
    /// Groups.
    pub group: bool,
}

/// An entry of the source as it shall be at the destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// What the source has.
    pub stat: Stat,
    /// The attributes after all mappings.
    pub attributes: Attributes,
    /// Those of them that are carried for this entry.
    pub carried: Carried,
}

/// What is to be done at a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Nothing: the user left it out.
    Leave,
    /// Nothing stands there: make it.
    Create,
    /// The content differs: replace it.
    Update,
    /// The content is the same: set those attributes that differ, if any.
    Attributes,
    /// Another kind of thing stands there: make it go, then create.
    Replace,
}

/// An action, or what must be known first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// It is known.
    Do(Action),
    /// [`Action::Attributes`] if the contents (bytes, link targets) are the same, else [`Action::Update`].
    CompareContent,
}

/// Returns what must be done where `there` stands at the destination.
#[must_use]
pub fn decide(wanted: &Wanted, there: Option<&Stat>, criteria: &Criteria) -> Decision {
    let here = &wanted.stat;
    let is_file = here.kind == Kind::File;
    if is_file
        && (criteria.max_size.is_some_and(|max| here.size > max)
            || criteria.min_size.is_some_and(|min| here.size < min))
    {
        return Decision::Do(Action::Leave);
    }
    let Some(there) = there else {
        return Decision::Do(if criteria.existing { Action::Leave } else { Action::Create });
    };
    let both_dirs = here.kind == Kind::Dir && there.kind == Kind::Dir;
    if criteria.ignore_existing && !both_dirs {
        return Decision::Do(Action::Leave);
    }
    if here.kind != there.kind {
        return Decision::Do(Action::Replace);
    }
    match here.kind {
        Kind::Dir | Kind::Fifo | Kind::Socket => Decision::Do(Action::Attributes),
        Kind::Symlink if here.size != there.size => Decision::Do(Action::Update),
        Kind::Symlink => Decision::CompareContent,
        Kind::CharDevice | Kind::BlockDevice if here.rdev == there.rdev => Decision::Do(Action::Attributes),
        Kind::CharDevice | Kind::BlockDevice => Decision::Do(Action::Update),
        Kind::File => decide_file(here, there, criteria),
    }
}

fn decide_file(here: &Stat, there: &Stat, criteria: &Criteria) -> Decision {
    let same_time = there.attributes.mtime.is_cut_of(here.attributes.mtime);
    let newer = there.attributes.mtime > here.attributes.mtime;
    let action = if criteria.update && newer {
        Action::Leave
    } else if here.size != there.size {
        Action::Update
    } else if criteria.checksum {
        return Decision::CompareContent;
    } else if criteria.size_only || (same_time && !criteria.ignore_times) {
        Action::Attributes
    } else {
        Action::Update
    };
    Decision::Do(action)
}

/// Attributes that differ from what is wanted, of those that are carried.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Differing {
    /// Permission bits.
    pub perms: bool,
    /// Modification time.
    pub time: bool,
    /// User.
    pub owner: bool,
    /// Group.
    pub group: bool,
}

impl Differing {
    /// Whether any does.
    #[must_use]
    pub fn any(self) -> bool {
        self != Self::default()
    }
}

impl Wanted {
    /// Whether the modification time is carried for this kind of entry.
    #[must_use]
    pub fn carries_time(&self) -> bool {
        self.carried.times && (self.stat.kind != Kind::Dir || self.carried.dir_times)
    }

    /// Returns which carried attributes of `there` are not as wanted. Times that a coarser file system has cut are.
    #[must_use]
    pub fn differs_from(&self, there: &Stat) -> Differing {
        let (wanted, found) = (&self.attributes, &there.attributes);
        Differing {
            perms: self.carried.perms && self.stat.kind != Kind::Symlink && wanted.mode != found.mode,
            time: self.carries_time() && !found.mtime.is_cut_of(wanted.mtime),
            owner: self.carried.owner && wanted.owner.uid != found.owner.uid,
            group: self.carried.group && wanted.owner.gid != found.owner.gid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::metadata::{Owner, Timestamp};

    fn stat(kind: Kind, size: u64, secs: i64, nanos: u32) -> Stat {
        let attributes =
            Attributes { mode: 0o644, owner: Owner::default(), mtime: Timestamp::new(secs, nanos) };
        let zero = Timestamp::default();
        Stat { kind, attributes, size, ctime: zero, ino: 1, dev: 1, links: 1, rdev: 0 }
    }

    fn wanted(stat: Stat) -> Wanted {
        let carried = Carried { perms: true, times: true, dir_times: true, owner: true, group: true };
        Wanted { stat, attributes: stat.attributes, carried }
    }

    #[test]
    fn each_criterion_decides_what_it_should() {
        use Action::{Attributes, Create, Leave, Replace, Update};
        let file = |size, secs| stat(Kind::File, size, secs, 500);
        let plain = Criteria::default();
        let with = |set: fn(&mut Criteria)| {
            let mut criteria = Criteria::default();
            set(&mut criteria);
            criteria
        };
        for (case, here, there, criteria, action) in [
            ("new", file(1, 1), None, plain, Create),
            ("same", file(1, 1), Some(file(1, 1)), plain, Attributes),
            ("other size", file(1, 1), Some(file(2, 1)), plain, Update),
            ("other time", file(1, 1), Some(file(1, 2)), plain, Update),
            ("cut time", file(1, 1), Some(stat(Kind::File, 1, 1, 0)), plain, Attributes),
            ("other nanoseconds", file(1, 1), Some(stat(Kind::File, 1, 1, 501)), plain, Update),
            ("other kind", file(1, 1), Some(stat(Kind::Dir, 1, 1, 0)), plain, Replace),
            ("-u, newer there", file(2, 1), Some(file(1, 2)), with(|c| c.update = true), Leave),
            ("-u, older there", file(2, 3), Some(file(1, 2)), with(|c| c.update = true), Update),
            (
                "-u, other kind",
                file(2, 1),
                Some(stat(Kind::Dir, 1, 2, 0)),
                with(|c| c.update = true),
                Replace,
            ),
            ("-I", file(1, 1), Some(file(1, 1)), with(|c| c.ignore_times = true), Update),
            ("--size-only", file(1, 1), Some(file(1, 9)), with(|c| c.size_only = true), Attributes),
            ("--existing, new", file(1, 1), None, with(|c| c.existing = true), Leave),
            ("--ignore-existing", file(1, 1), Some(file(2, 1)), with(|c| c.ignore_existing = true), Leave),
            ("too large", file(9, 1), None, with(|c| c.max_size = Some(8)), Leave),
            ("too small", file(1, 1), None, with(|c| c.min_size = Some(2)), Leave),
            ("-c, other size", file(1, 1), Some(file(2, 1)), with(|c| c.checksum = true), Update),
        ] {
            assert_eq!(decide(&wanted(here), there.as_ref(), &criteria), Decision::Do(action), "{case}");
        }
    }

    #[test]
    fn contents_are_asked_for_where_only_they_can_tell() {
        let checksum = Criteria { checksum: true, ..Criteria::default() };
        let (file, link) = (stat(Kind::File, 1, 1, 0), stat(Kind::Symlink, 1, 1, 0));
        assert_eq!(
            decide(&wanted(file), Some(&stat(Kind::File, 1, 2, 0)), &checksum),
            Decision::CompareContent
        );
        assert_eq!(decide(&wanted(link), Some(&link), &Criteria::default()), Decision::CompareContent);
        let longer = stat(Kind::Symlink, 2, 1, 0);
        assert_eq!(decide(&wanted(link), Some(&longer), &Criteria::default()), Decision::Do(Action::Update));
    }

    #[test]
    fn only_carried_attributes_differ() {
        let here = stat(Kind::Dir, 1, 1, 0);
        let mut there = stat(Kind::Dir, 1, 2, 0);
        there.attributes.mode = 0o700;
        there.attributes.owner = Owner { uid: 1, gid: 1 };
        let mut wanted = wanted(here);
        let all = Differing { perms: true, time: true, owner: true, group: true };
        assert_eq!(wanted.differs_from(&there), all);
        wanted.carried.dir_times = false;
        assert_eq!(wanted.differs_from(&there), Differing { time: false, ..all });
        wanted.carried = Carried { perms: false, times: false, dir_times: true, owner: false, group: false };
        assert!(!wanted.differs_from(&there).any());
    }
}
