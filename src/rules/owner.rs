//! Which owner an entry gets: `--usermap`, `--groupmap`, `--chown`, `--numeric-ids`.

use crate::model::metadata::Owner;
use crate::rules::pattern::Pattern;

/// Where names of users and groups are looked up.
pub trait Names {
    /// Returns the name of a user.
    fn user_name(&self, uid: u32) -> Option<Vec<u8>>;
    /// Returns the name of a group.
    fn group_name(&self, gid: u32) -> Option<Vec<u8>>;
    /// Returns the number of a user.
    fn user_id(&self, name: &str) -> Option<u32>;
    /// Returns the number of a group.
    fn group_id(&self, name: &str) -> Option<u32>;
}

/// What the user said about owners, as given.
#[derive(Clone, Copy, Default, Debug)]
pub struct OwnerArgs<'a> {
    /// `--usermap`.
    pub usermap: Option<&'a str>,
    /// `--groupmap`.
    pub groupmap: Option<&'a str>,
    /// `--chown`.
    pub chown: Option<&'a str>,
    /// `--numeric-ids`: names are not looked at.
    pub numeric: bool,
}

/// Which numbers become which.
///
/// # Source
/// rsync(1), "--usermap", "--chown".
#[derive(Clone, Debug, Default)]
pub struct OwnerMap {
    users: Vec<Mapping>,
    groups: Vec<Mapping>,
    numeric: bool,
}

/// Why a mapping of owners cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OwnerError {
    /// An item is not of the form FROM:TO.
    #[error("`{item}` has no colon: write FROM:TO")]
    NoColon {
        /// The item.
        item: String,
    },
    /// A number or range is not one.
    #[error("`{text}` is no id and no range LOW-HIGH")]
    BadNumber {
        /// The text.
        text: String,
    },
    /// A wildcard cannot be read.
    #[error("`{text}` is no pattern of names")]
    BadPattern {
        /// The text.
        text: String,
    },
    /// The target is not known here.
    #[error("There is no {what} called `{name}` here")]
    Unknown {
        /// `user` or `group`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Two of the flags exclude each other.
    #[error("--chown sets what --{flag} maps: give one of them")]
    Doubled {
        /// `usermap` or `groupmap`.
        flag: &'static str,
    },
}

#[derive(Clone, Debug)]
struct Mapping {
    from: From,
    to: u32,
}

#[derive(Clone, Debug)]
enum From {
    /// Numbers from the first to the second.
    Ids(u32, u32),
    /// This name; the empty one is that of numbers without a name.
    Name(Vec<u8>),
    Matching(Pattern),
}

impl OwnerMap {
    /// Returns the mapping that `args` ask for; target names are looked up in `names`.
    ///
    /// # Errors
    /// Says which item is wrong or names nobody.
    pub fn new(args: OwnerArgs<'_>, names: &dyn Names) -> Result<Self, OwnerError> {
        let (mut usermap, mut groupmap) = (args.usermap.map(str::to_owned), args.groupmap.map(str::to_owned));
        if let Some(chown) = args.chown {
            let (user, group) = chown.split_once(':').unwrap_or((chown, ""));
            for (id, map, flag) in [(user, &mut usermap, "usermap"), (group, &mut groupmap, "groupmap")] {
                if id.is_empty() {
                    continue;
                }
                if map.replace(format!("*:{id}")).is_some() {
                    return Err(OwnerError::Doubled { flag });
                }
            }
        }
        Ok(Self {
            users: parse(usermap.as_deref(), "user", &|name| names.user_id(name))?,
            groups: parse(groupmap.as_deref(), "group", &|name| names.group_id(name))?,
            numeric: args.numeric,
        })
    }

    /// Whether every owner stays what it is.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }

    /// Whether users are mapped.
    #[must_use]
    pub fn maps_users(&self) -> bool {
        !self.users.is_empty()
    }

    /// Returns the owner that an entry of `owner` gets; the first mapping that fits counts.
    #[must_use]
    pub fn apply(&self, owner: Owner, names: &dyn Names) -> Owner {
        let map = |mappings: &[Mapping], id: u32, name: &dyn Fn(u32) -> Option<Vec<u8>>| {
            if mappings.is_empty() {
                return id;
            }
            let name = if self.numeric { None } else { name(id) }.unwrap_or_default();
            mappings.iter().find(|mapping| mapping.from.fits(id, &name)).map_or(id, |mapping| mapping.to)
        };
        Owner {
            uid: map(&self.users, owner.uid, &|uid| names.user_name(uid)),
            gid: map(&self.groups, owner.gid, &|gid| names.group_name(gid)),
        }
    }
}

impl From {
    fn parse(text: &str) -> Result<Self, OwnerError> {
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let (low, high) = text.split_once('-').unwrap_or((text, text));
            return match (number(low), number(high)) {
                (Some(low), Some(high)) => Ok(Self::Ids(low, high)),
                _ => Err(OwnerError::BadNumber { text: text.to_owned() }),
            };
        }
        if text.contains(['*', '?', '[']) {
            let bad = |_| OwnerError::BadPattern { text: text.to_owned() };
            return Pattern::new(text.as_bytes()).map(Self::Matching).map_err(bad);
        }
        Ok(Self::Name(text.as_bytes().to_vec()))
    }

    fn fits(&self, id: u32, name: &[u8]) -> bool {
        match self {
            Self::Ids(low, high) => (*low..=*high).contains(&id),
            Self::Name(wanted) => wanted == name,
            // `*` also takes the empty name of a number without one.
            Self::Matching(pattern) => pattern.matches_everything() || pattern.matches(name, false),
        }
    }
}

fn parse(
    text: Option<&str>,
    what: &'static str,
    lookup: &dyn Fn(&str) -> Option<u32>,
) -> Result<Vec<Mapping>, OwnerError> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let mapping = |item: &str| {
        let (from, to) = item.split_once(':').ok_or_else(|| OwnerError::NoColon { item: item.to_owned() })?;
        let id = if to.starts_with(|c: char| c.is_ascii_digit()) {
            number(to).ok_or_else(|| OwnerError::BadNumber { text: to.to_owned() })?
        } else {
            lookup(to).ok_or_else(|| OwnerError::Unknown { what, name: to.to_owned() })?
        };
        Ok(Mapping { from: From::parse(from)?, to: id })
    };
    text.split(',').map(mapping).collect()
}

/// Returns the id that `text` spells; the highest number means nobody to the kernel and is none.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Town;

    impl Names for Town {
        fn user_name(&self, uid: u32) -> Option<Vec<u8>> {
            (uid == 5).then(|| b"games".to_vec())
        }
        fn group_name(&self, gid: u32) -> Option<Vec<u8>> {
            (gid == 60).then(|| b"games".to_vec())
        }
        fn user_id(&self, name: &str) -> Option<u32> {
            (name == "games").then_some(5)
        }
        fn group_id(&self, name: &str) -> Option<u32> {
            (name == "games").then_some(60)
        }
    }

    #[test]
    fn the_first_mapping_that_fits_counts() {
        // The map, then what user 5 (`games`) and user 12345 (without a name) become. Observed with rsync 3.5.0.
        for (map, named, nameless) in [
            ("*:7", 7, 7),
            ("5:7", 7, 12345),
            ("12000-12999:7", 5, 7),
            (":7", 5, 7),
            ("games:7", 7, 12345),
            ("g*:7", 7, 12345),
            ("ga[lm]es:11", 11, 12345),
            ("nosuch:7", 5, 12345),
            ("5:7,*:9", 7, 9),
            ("*:9,5:7", 9, 9),
            ("*:games", 5, 5),
            ("-6:3", 5, 12345),
        ] {
            let map_of = |numeric| {
                let args = OwnerArgs { usermap: Some(map), numeric, ..OwnerArgs::default() };
                OwnerMap::new(args, &Town).unwrap()
            };
            for (uid, expected) in [(5, named), (12345, nameless)] {
                let owner = map_of(false).apply(Owner { uid, gid: 1 }, &Town);
                assert_eq!(owner, Owner { uid: expected, gid: 1 }, "{map} {uid}");
            }
        }
    }

    #[test]
    fn numeric_ids_have_no_names() {
        for (map, expected) in [("games:7", 5), ("*:7", 7), (":7", 7)] {
            let args = OwnerArgs { usermap: Some(map), numeric: true, ..OwnerArgs::default() };
            let owner = OwnerMap::new(args, &Town).unwrap().apply(Owner { uid: 5, gid: 5 }, &Town);
            assert_eq!(owner.uid, expected, "{map}");
        }
    }

    #[test]
    fn chown_sets_one_or_both() {
        for (chown, expected) in [("games", (5, 1)), (":games", (9, 60)), ("6:", (6, 1)), ("6:7", (6, 7))] {
            let args = OwnerArgs { chown: Some(chown), ..OwnerArgs::default() };
            let owner = OwnerMap::new(args, &Town).unwrap().apply(Owner { uid: 9, gid: 1 }, &Town);
            assert_eq!((owner.uid, owner.gid), expected, "{chown}");
        }
    }

    #[test]
    fn what_maps_nothing_is_refused() {
        for (case, usermap, chown) in [
            ("no colon", Some("5"), None),
            ("an open range", Some("5-:3"), None),
            ("an unknown target", Some("5:nosuch"), None),
            ("nobody's number", Some("5:4294967295"), None),
            ("an empty item", Some("5:6,"), None),
            ("both flags", Some("5:6"), Some("7")),
            ("an unknown owner", None, Some("nosuch")),
        ] {
            let args = OwnerArgs { usermap, chown, ..OwnerArgs::default() };
            assert!(OwnerMap::new(args, &Town).is_err(), "{case}");
        }
    }
}
