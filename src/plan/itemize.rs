//! rsync's itemized lines: eleven characters that say what happens to a path.

use crate::model::entry::Kind;
use crate::model::metadata::Stat;
use crate::plan::compare::{Action, Wanted};

/// The code of a deletion, as wide as all codes.
pub const DELETING: &str = "*deleting  ";

/// Returns the eleven characters for an action at a path, `there` being what stands at it; `None` where nothing
/// happens. With `checksum`, files whose content is written say that their checksum differs.
///
/// # Source
/// rsync(1), "--itemize-changes"; the unsaid rules observed with rsync 3.5.0.
#[must_use]
pub fn code(action: Action, wanted: &Wanted, there: Option<&Stat>, checksum: bool) -> Option<String> {
    let kind = wanted.stat.kind;
    let letter = kind.letter();
    let verb = if kind == Kind::File { '>' } else { 'c' };
    match (action, there) {
        (Action::Leave, _) | (Action::Attributes, None) => None,
        (Action::Create | Action::Replace, _) | (Action::Update, None) => {
            Some(format!("{verb}{letter}+++++++++"))
        }
        (Action::Update, Some(there)) => {
            let changed = checksum || kind != Kind::File;
            let size = kind == Kind::File && wanted.stat.size != there.size;
            let flags = attribute_flags(wanted, there, true);
            Some(format!("{verb}{letter}{}{}{flags}", flag(changed, 'c'), flag(size, 's')))
        }
        (Action::Attributes, Some(there)) if wanted.differs_from(there).any() => {
            Some(format!(".{letter}..{}", attribute_flags(wanted, there, false)))
        }
        (Action::Attributes, Some(_)) => None,
    }
}

/// Returns the characters of an entry that is as it should be; shown at the second level only.
#[must_use]
pub fn unchanged(kind: Kind) -> String {
    format!(".{}         ", kind.letter())
}

/// Returns the last seven characters: time, mode, owner, group, and three that csync has no use for.
fn attribute_flags(wanted: &Wanted, there: &Stat, written: bool) -> String {
    let differing = wanted.differs_from(there);
    let time = match (written && !wanted.carries_time(), differing.time) {
        (true, _) => 'T',
        (false, true) => 't',
        (false, false) => '.',
    };
    let (perms, owner, group) =
        (flag(differing.perms, 'p'), flag(differing.owner, 'o'), flag(differing.group, 'g'));
    format!("{time}{perms}{owner}{group}...")
}

fn flag(on: bool, letter: char) -> char {
    if on { letter } else { '.' }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::metadata::{Attributes, Owner, Timestamp};
    use crate::plan::compare::Carried;

    const ALL: Carried = Carried { perms: true, times: true, dir_times: true, owner: true, group: true };
    const CONTENT_ONLY: Carried =
        Carried { perms: false, times: false, dir_times: false, owner: false, group: false };

    fn stat(kind: Kind, size: u64, mode: u32, uid: u32, secs: i64) -> Stat {
        let attributes = Attributes { mode, owner: Owner { uid, gid: 0 }, mtime: Timestamp::new(secs, 0) };
        let zero = Timestamp::default();
        Stat { kind, attributes, size, ctime: zero, ino: 1, dev: 1, links: 1, rdev: 0 }
    }

    #[test]
    fn lines_are_those_of_rsync() {
        use Kind::{CharDevice, Dir, Fifo, File, Symlink};
        let (create, update, attributes) = (Action::Create, Action::Update, Action::Attributes);
        // What stands there is size 1, mode 644, user 0, time 1. Observed with rsync 3.5.0.
        for (action, kind, (size, mode, uid, secs), carried, checksum, expected) in [
            (create, File, (1, 0o644, 0, 1), ALL, false, Some(">f+++++++++")),
            (create, Dir, (1, 0o644, 0, 1), ALL, false, Some("cd+++++++++")),
            (create, Symlink, (1, 0o644, 0, 1), ALL, true, Some("cL+++++++++")),
            (create, Fifo, (1, 0o644, 0, 1), ALL, false, Some("cS+++++++++")),
            (create, CharDevice, (1, 0o644, 0, 1), ALL, false, Some("cD+++++++++")),
            (Action::Replace, Symlink, (1, 0o644, 0, 1), ALL, false, Some("cL+++++++++")),
            (update, File, (2, 0o644, 0, 2), ALL, false, Some(">f.st......")),
            (update, File, (1, 0o644, 0, 2), ALL, false, Some(">f..t......")),
            (update, File, (1, 0o644, 0, 1), ALL, false, Some(">f.........")),
            (update, File, (1, 0o644, 0, 1), ALL, true, Some(">fc........")),
            (update, File, (2, 0o600, 5, 2), ALL, true, Some(">fcstpo....")),
            (update, File, (2, 0o600, 5, 2), CONTENT_ONLY, false, Some(">f.sT......")),
            (update, Symlink, (1, 0o777, 0, 2), ALL, false, Some("cLc.t......")),
            (update, Symlink, (2, 0o777, 0, 1), ALL, false, Some("cLc........")),
            (update, Symlink, (1, 0o777, 0, 2), CONTENT_ONLY, false, Some("cLc.T......")),
            (update, CharDevice, (1, 0o644, 0, 1), ALL, false, Some("cDc........")),
            (attributes, File, (1, 0o600, 0, 1), ALL, false, Some(".f...p.....")),
            (attributes, File, (1, 0o644, 5, 1), ALL, true, Some(".f....o....")),
            (attributes, Dir, (1, 0o600, 0, 2), ALL, false, Some(".d..tp.....")),
            (attributes, Fifo, (1, 0o600, 0, 2), ALL, false, Some(".S..tp.....")),
            (attributes, Symlink, (1, 0o777, 5, 2), ALL, false, Some(".L..t.o....")),
            (attributes, File, (1, 0o600, 5, 2), CONTENT_ONLY, false, None),
            (attributes, File, (1, 0o644, 0, 1), ALL, false, None),
            (Action::Leave, File, (2, 0o600, 5, 2), ALL, false, None),
        ] {
            let here = stat(kind, size, mode, uid, secs);
            let wanted = Wanted { stat: here, attributes: here.attributes, carried };
            let there = (action != create).then(|| stat(kind, 1, 0o644, 0, 1));
            let code = code(action, &wanted, there.as_ref(), checksum);
            assert_eq!(
                code.as_deref(),
                expected,
                "{action:?} {kind:?} {size} {mode:o} {uid} {secs} {checksum}"
            );
        }
    }

    #[test]
    fn codes_are_eleven_wide() {
        assert_eq!(DELETING.len(), 11);
        assert_eq!(unchanged(Kind::Dir), ".d         ");
    }
}
