//! Changes of permission bits as `--chmod` spells them.

use crate::model::entry::Kind;

/// The bits of all three classes.
const ALL: u32 = 0o777;
/// The execute bits.
const EXECUTE: u32 = 0o111;
/// Every permission bit there is.
const BITS: u32 = 0o7777;

/// A list of changes, applied in order.
///
/// # Source
/// rsync(1), "--chmod"; chmod(1) for the symbolic modes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Chmod(Vec<Change>);

/// Why a text is no list of changes.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{item}` is no change of a mode: write e.g. `u=rw,go-w`, `D755`, `F644`")]
pub struct ChmodError {
    /// The item that is wrong.
    pub item: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Change {
    to: To,
    action: Action,
}

/// Which entries a change applies to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum To {
    All,
    Dirs,
    Files,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    /// These bits and no others.
    Exactly(u32),
    Symbolic(Symbolic),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Symbolic {
    op: Op,
    /// The classes named, as their rwx bits; `None`: nobody was named, so the umask counts.
    who: Option<u32>,
    value: Value,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Op {
    Add,
    Remove,
    Set,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Value {
    /// Permissions: bits for one class (0 to 7), `X`, and the set-id and sticky bits, ready made.
    Permissions { bits: u32, execute_if_any: bool, special: u32 },
    /// What another class has; the number of bits to shift it down by.
    CopyOf(u32),
}

impl Chmod {
    /// Returns the changes that all of `texts` name, in order.
    ///
    /// # Errors
    /// Names the first item that is wrong.
    pub fn parse<S: AsRef<str>>(texts: &[S]) -> Result<Self, ChmodError> {
        let items = texts.iter().flat_map(|text| text.as_ref().split(','));
        let change = |item: &str| Change::parse(item).ok_or_else(|| ChmodError { item: item.to_owned() });
        items.map(change).collect::<Result<_, _>>().map(Self)
    }

    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns `mode` of an entry of `kind` after all changes, `umask` being that of this process. Symlinks have none.
    #[must_use]
    pub fn apply(&self, mode: u32, kind: Kind, umask: u32) -> u32 {
        if kind == Kind::Symlink {
            return mode;
        }
        let is_dir = kind == Kind::Dir;
        self.0.iter().filter(|change| change.to == To::All || (change.to == To::Dirs) == is_dir).fold(
            mode,
            |mode, change| match change.action {
                Action::Exactly(bits) => bits,
                Action::Symbolic(symbolic) => symbolic.apply(mode, is_dir, umask),
            },
        )
    }
}

impl Change {
    fn parse(item: &str) -> Option<Self> {
        let (to, rest) = match item.as_bytes().first()? {
            b'D' => (To::Dirs, &item[1..]),
            b'F' => (To::Files, &item[1..]),
            _ => (To::All, item),
        };
        let action = if rest.starts_with(|c: char| c.is_ascii_digit()) {
            let bits = u32::from_str_radix(rest, 8).ok()?;
            Action::Exactly(Some(bits).filter(|bits| *bits <= BITS)?)
        } else {
            Action::Symbolic(Symbolic::parse(rest)?)
        };
        Some(Self { to, action })
    }
}

impl Symbolic {
    fn parse(text: &str) -> Option<Self> {
        let at = text.find(['+', '-', '='])?;
        let mut who = None;
        for class in text[..at].bytes() {
            *who.get_or_insert(0) |= class_bits(class)?;
        }
        let op = match text.as_bytes()[at] {
            b'+' => Op::Add,
            b'-' => Op::Remove,
            _ => Op::Set,
        };
        let value = Value::parse(&text.as_bytes()[at + 1..], who)?;
        Some(Self { op, who, value })
    }

    fn apply(self, mode: u32, is_dir: bool, umask: u32) -> u32 {
        let classes = self.who.unwrap_or(ALL);
        let masked = if self.who.is_none() { ALL & !umask } else { classes };
        let (bits, special, cleared) = match self.value {
            Value::Permissions { bits, execute_if_any, special } => {
                let execute = execute_if_any && (is_dir || mode & EXECUTE != 0);
                (((bits | u32::from(execute)) * EXECUTE) & masked, special, 0)
            }
            Value::CopyOf(shift) => ((((mode >> shift) & 7) * EXECUTE) & masked, 0, special_of(classes)),
        };
        match self.op {
            Op::Add => mode | bits | special,
            Op::Remove => mode & !(bits | special),
            Op::Set => (mode & !classes & !cleared) | bits | special,
        }
    }
}

impl Value {
    fn parse(letters: &[u8], who: Option<u32>) -> Option<Self> {
        if let [class @ (b'u' | b'g' | b'o')] = letters {
            return Some(Self::CopyOf(class_bits(*class)?.trailing_zeros()));
        }
        let (mut bits, mut execute_if_any, mut special) = (0, false, 0);
        for letter in letters {
            match letter {
                b'r' => bits |= 4,
                b'w' => bits |= 2,
                b'x' => bits |= 1,
                b'X' => execute_if_any = true,
                b's' => special |= set_id_of(who.unwrap_or(0)),
                b't' => special |= 0o1000,
                _ => return None,
            }
        }
        Some(Self::Permissions { bits, execute_if_any, special })
    }
}

/// Returns the rwx bits of a class by its letter.
fn class_bits(letter: u8) -> Option<u32> {
    match letter {
        b'u' => Some(0o700),
        b'g' => Some(0o070),
        b'o' => Some(0o007),
        b'a' => Some(ALL),
        _ => None,
    }
}

/// Returns what `s` means for `classes`: where neither user nor group is named, the user is meant.
fn set_id_of(classes: u32) -> u32 {
    match special_of(classes) & 0o6000 {
        0 => 0o4000,
        bits => bits,
    }
}

/// Returns the special bits that belong to `classes`.
fn special_of(classes: u32) -> u32 {
    [(0o700, 0o4000), (0o070, 0o2000), (0o007, 0o1000)]
        .into_iter()
        .filter(|(class, _)| classes & class != 0)
        .map(|(_, special)| special)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_those_that_rsync_makes() {
        // Mode before, change, file after, directory after; umask 022. Observed with rsync 3.5.0.
        for (mode, text, file, dir) in [
            (0o644, "F600", 0o600, 0o644),
            (0o644, "g+s,o=", 0o2640, 0o2640),
            (0o644, "a-w", 0o444, 0o444),
            (0o4755, "-w", 0o4555, 0o4555),
            (0o600, "+w", 0o600, 0o600),
            (0o644, "+x", 0o755, 0o755),
            (0o644, "a+X", 0o644, 0o755),
            (0o644, "u=g", 0o444, 0o444),
            (0o4755, "u=g", 0o555, 0o555),
            (0o4755, "o=u", 0o4757, 0o4757),
            (0o644, "D755,F+x", 0o755, 0o755),
            (0o644, "Dg+s", 0o644, 0o2644),
            (0o644, "=r", 0o444, 0o444),
            (0o4755, "a=rw", 0o4666, 0o4666),
            (0o4755, "u=rwx,go=", 0o4700, 0o4700),
            (0o644, "+t", 0o1644, 0o1644),
            (0o644, "o+s", 0o4644, 0o4644),
            (0o644, "a+s", 0o6644, 0o6644),
            (0o644, "+s", 0o4644, 0o4644),
            (0o4755, "-s", 0o755, 0o755),
            (0o4755, "D=", 0o4755, 0o4000),
            (0o644, "u+", 0o644, 0o644),
            (0o644, "F644,D755,u-r", 0o244, 0o355),
            (0o644, "a=X", 0, 0o111),
            (0o644, "u=Xr", 0o444, 0o544),
            (0o4755, "g=s", 0o6705, 0o6705),
            (0o4755, "=t", 0o5000, 0o5000),
            (0o4755, "=s", 0o4000, 0o4000),
            (0o644, "7777", 0o7777, 0o7777),
        ] {
            let chmod = Chmod::parse(&[text]).unwrap();
            assert_eq!(chmod.apply(mode, Kind::File, 0o022), file, "{mode:o} {text} file");
            assert_eq!(chmod.apply(mode, Kind::Dir, 0o022), dir, "{mode:o} {text} dir");
            assert_eq!(chmod.apply(mode, Kind::Symlink, 0o022), mode, "{mode:o} {text} symlink");
        }
    }

    #[test]
    fn what_rsync_refuses_is_refused() {
        for text in
            ["", "F", "u", "x", "8", "12345", "644x", "u+w,,g+w", "u+rw-x", "X", "z+w", "u+gr", "DF644"]
        {
            assert!(Chmod::parse(&[text]).is_err(), "{text}");
        }
    }
}
