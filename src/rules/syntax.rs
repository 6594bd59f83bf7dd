//! The text of one filter rule, and what it means.

use crate::model::path::{PATH_BYTES_MAX, check_name};
use crate::rules::pattern::{Pattern, PatternError};
use crate::rules::rule::{Modifiers, Rule, Sides};

/// Longest accepted rule, in bytes: a prefix with modifiers, and a pattern as long as a path.
pub const RULE_BYTES_MAX: usize = PATH_BYTES_MAX + 64;

/// What `-C` excludes: the leavings of compilers, editors and version control.
///
/// # Source
/// rsync(1), "--cvs-exclude", after cvs(1). The user's own `~/.cvsignore` and `$CVSIGNORE` are not consulted.
pub const CVS_PATTERNS: &str = "RCS SCCS CVS CVS.adm RCSLOG cvslog.* tags TAGS .make.state .nse_depinfo *~ #* .#* ,* \
    _$* *$ *.old *.bak *.BAK *.orig *.rej .del-* *.a *.olb *.o *.obj *.so *.exe *.Z *.elc *.ln core .svn/ .git/ .hg/ \
    .bzr/";

/// A rule that names a file of further rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merge {
    /// The file: for `merge` a path as written, for `dir-merge` the name to look for in every directory.
    pub file: Vec<u8>,
    /// How the file is written.
    pub syntax: Syntax,
    /// Whether rules found in a directory hold in its subdirectories too; only `dir-merge`.
    pub inherited: bool,
    /// Whether the file itself is excluded (`e`).
    pub exclude_self: bool,
}

/// How the rules of one source are written, and what they are unless they say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Syntax {
    /// What may stand before a pattern.
    pub prefix: Prefix,
    /// Rules are words rather than lines, and there are no comments (`w`).
    pub words: bool,
    /// A lone `!` clears the list although prefixes are not read (`C`).
    pub clearable: bool,
    defaults: Modifiers,
}

/// What may stand before the pattern of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    /// Any rule: `--filter` and the files it names.
    Any,
    /// `+ ` or `- `, or nothing for what the option says: `--include`, `--exclude` and their files.
    Old {
        /// Nothing means include.
        include: bool,
    },
    /// Nothing: the whole text is a pattern (modifiers `+` and `-` of a merge).
    Never {
        /// The patterns include.
        include: bool,
    },
}

impl Syntax {
    /// Returns the syntax of `--filter`.
    #[must_use]
    pub fn any() -> Self {
        Self { prefix: Prefix::Any, words: false, clearable: false, defaults: Modifiers::default() }
    }

    /// Returns the syntax of `--include` or `--exclude`.
    #[must_use]
    pub fn old(include: bool) -> Self {
        Self { prefix: Prefix::Old { include }, ..Self::any() }
    }

    /// Returns the syntax of [`CVS_PATTERNS`] for a rule with these modifiers.
    fn cvs(defaults: Modifiers) -> Self {
        let defaults = Modifiers { perishable: true, ..defaults };
        Self { prefix: Prefix::Never { include: false }, words: true, clearable: false, defaults }
    }

    /// Returns the rules of a text with their line numbers, counted from 1; comments and empty lines are left out.
    ///
    /// With `zero_terminated` a NUL ends a line, otherwise LF or CR does.
    pub fn split(self, text: &[u8], zero_terminated: bool) -> impl Iterator<Item = (usize, &[u8])> {
        let newline = if zero_terminated { 0 } else { b'\n' };
        let ends = move |byte: &u8| match byte {
            b' ' | b'\t'..=b'\r' if self.words => true,
            b'\r' if !zero_terminated => true,
            other => *other == newline,
        };
        let mut line = 1;
        text.split_inclusive(ends).filter_map(move |piece| {
            let here = line;
            line += usize::from(piece.ends_with(&[newline]));
            let rule = match piece {
                [rule @ .., last] if ends(last) => rule,
                unended => unended,
            };
            let comment = !self.words && matches!(rule.first(), Some(b'#' | b';'));
            (!rule.is_empty() && !comment).then_some((here, rule))
        })
    }
}

/// What one rule says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// `!`: forget the rules so far.
    Clear,
    /// An include or exclude.
    Rule(Rule),
    /// `.`: read a file now, in this place.
    Merge(Merge),
    /// `:`: read a file in every directory.
    DirMerge(Merge),
    /// `-C`: [`CVS_PATTERNS`] in this place, in this syntax.
    Cvs(Syntax),
}

/// Why some bytes are no rule. Positions count bytes of the rule, from 1. No message repeats bytes of the rule, for
/// they may come from a file that whoever reads the message must not see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Neither a sign nor a long name.
    #[error("it begins with no known rule: use one of + - . : H S P R !")]
    UnknownRule,
    /// A modifier that this kind of rule does not have.
    #[error("the modifier at byte {at} is not known, or makes no sense in this rule")]
    Modifier {
        /// Position of the modifier.
        at: usize,
    },
    /// No pattern or file name follows.
    #[error("it ends before its pattern or file name")]
    Unfinished,
    /// `!` or `-C` with something behind it.
    #[error("this rule takes no argument")]
    Argument,
    /// A side in a rule of a file whose merge rule names one already.
    #[error("it names a side, and so does the rule that merges this file")]
    SideTwice,
    /// `dir-merge` with a path.
    #[error("a dir-merge takes the name of a file to look for in every directory, not a path")]
    DirMergeName,
    /// `merge` inside a per-directory file.
    #[error("a rule file inside a synchronised tree may not name a file to read: use dir-merge")]
    MergeInTree,
    /// NUL.
    #[error("it has a NUL byte")]
    Nul,
    /// Longer than [`RULE_BYTES_MAX`].
    #[error("it has more than {RULE_BYTES_MAX} bytes")]
    TooLong,
    /// The pattern is none.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

/// Returns what `text` means in `syntax`.
///
/// # Errors
/// Says what is wrong with the text, without repeating it.
///
/// # Source
/// rsync(1), "FILTER RULES IN DEPTH", "FILTER RULE MODIFIERS", "MERGE-FILE FILTER RULES".
pub fn parse(text: &[u8], syntax: Syntax) -> Result<Parsed, RuleError> {
    if text.len() > RULE_BYTES_MAX {
        return Err(RuleError::TooLong);
    }
    if text.contains(&0) {
        return Err(RuleError::Nul);
    }
    let (include, pattern) = match (syntax.prefix, text) {
        (Prefix::Any, _) => return parse_any(text, syntax.defaults),
        (Prefix::Old { .. }, b"!") => return Ok(Parsed::Clear),
        (Prefix::Never { .. }, b"!") if syntax.clearable => return Ok(Parsed::Clear),
        (Prefix::Old { .. }, [b'-', b' ', pattern @ ..]) => (false, pattern),
        (Prefix::Old { .. }, [b'+', b' ', pattern @ ..]) => (true, pattern),
        (Prefix::Old { include } | Prefix::Never { include }, pattern) => (include, pattern),
    };
    if pattern.is_empty() {
        return Err(RuleError::Unfinished);
    }
    Ok(Parsed::Rule(Rule { include, modifiers: syntax.defaults, pattern: Pattern::new(pattern)? }))
}

fn parse_any(text: &[u8], defaults: Modifiers) -> Result<Parsed, RuleError> {
    let (kind, start) = Kind::parse(text)?;
    if kind == Kind::Clear {
        return if text.len() == start { Ok(Parsed::Clear) } else { Err(RuleError::Argument) };
    }
    let stop =
        text[start..].iter().position(|b| matches!(b, b' ' | b'_')).map_or(text.len(), |len| start + len);
    let argument = text.get(stop + 1..).unwrap_or_default();
    let mut modifiers = Modifiers { sides: kind.sides(), ..Modifiers::default() };
    let mut merge = MergeModifiers::default();
    for (at, byte) in text.iter().enumerate().take(stop).skip(start) {
        let known = modifiers.set(*byte, kind) || merge.set(*byte, kind);
        if !known {
            return Err(RuleError::Modifier { at: at + 1 });
        }
    }
    let modifiers = modifiers.or(defaults)?;
    if kind.is_merge() {
        return parse_merge(argument, kind, modifiers, merge);
    }
    if merge.cvs {
        return if argument.is_empty() {
            Ok(Parsed::Cvs(Syntax::cvs(modifiers)))
        } else {
            Err(RuleError::Argument)
        };
    }
    if argument.is_empty() {
        return Err(RuleError::Unfinished);
    }
    Ok(Parsed::Rule(Rule { include: kind.includes(), modifiers, pattern: Pattern::new(argument)? }))
}

fn parse_merge(
    file: &[u8],
    kind: Kind,
    defaults: Modifiers,
    merge: MergeModifiers,
) -> Result<Parsed, RuleError> {
    let file = match file {
        b"" if merge.cvs => b".cvsignore",
        b"" => return Err(RuleError::Unfinished),
        named => named,
    };
    let prefix = merge.plain.map_or(Prefix::Any, |include| Prefix::Never { include });
    // The rules of the file are about paths, and each says for itself whether it is negated.
    let defaults = Modifiers { xattr: false, ..defaults };
    let syntax = Syntax { prefix, words: merge.words, clearable: merge.cvs, defaults };
    let (inherited, exclude_self) = (!merge.not_inherited, merge.exclude_self);
    if kind == Kind::Merge {
        return Ok(Parsed::Merge(Merge { file: file.to_vec(), syntax, inherited, exclude_self }));
    }
    // A leading `/` asks rsync to look in the directories above the transfer too, which are not ours to read.
    let name = file.strip_prefix(b"/").unwrap_or(file);
    check_name(name).map_err(|_not_a_name| RuleError::DirMergeName)?;
    Ok(Parsed::DirMerge(Merge { file: name.to_vec(), syntax, inherited, exclude_self }))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Exclude,
    Include,
    Hide,
    Show,
    Protect,
    Risk,
    Merge,
    DirMerge,
    Clear,
}

impl Kind {
    /// Returns the kind at the start of a rule, and where its modifiers begin.
    fn parse(text: &[u8]) -> Result<(Self, usize), RuleError> {
        let table: [(&[u8], &[u8], Self); 9] = [
            (b"-", b"exclude", Self::Exclude),
            (b"+", b"include", Self::Include),
            (b"H", b"hide", Self::Hide),
            (b"S", b"show", Self::Show),
            (b"P", b"protect", Self::Protect),
            (b"R", b"risk", Self::Risk),
            (b".", b"merge", Self::Merge),
            (b":", b"dir-merge", Self::DirMerge),
            (b"!", b"clear", Self::Clear),
        ];
        for (short, long, kind) in table {
            let end = |name: &[u8]| name.len() + usize::from(text.get(name.len()) == Some(&b','));
            if text.starts_with(short) {
                return Ok((kind, end(short)));
            }
            if text.starts_with(long) && matches!(text.get(long.len()), None | Some(b' ' | b'_' | b',')) {
                return Ok((kind, end(long)));
            }
        }
        Err(RuleError::UnknownRule)
    }

    fn is_merge(self) -> bool {
        matches!(self, Self::Merge | Self::DirMerge)
    }

    fn includes(self) -> bool {
        matches!(self, Self::Include | Self::Show | Self::Risk)
    }

    /// Returns the sides that the kind itself names.
    fn sides(self) -> Sides {
        match self {
            Self::Hide | Self::Show => Sides::SENDER,
            Self::Protect | Self::Risk => Sides::RECEIVER,
            Self::Exclude | Self::Include | Self::Merge | Self::DirMerge | Self::Clear => Sides::default(),
        }
    }
}

impl Modifiers {
    /// Sets the modifier `byte`; false where it is none, or none that a rule of this kind can have.
    fn set(&mut self, byte: u8, kind: Kind) -> bool {
        match byte {
            b'/' => self.absolute = true,
            b'!' if !kind.is_merge() => self.negated = true,
            b'p' => self.perishable = true,
            b'x' => self.xattr = true,
            b's' if !kind.sides().is_said() => self.sides.sender = true,
            b'r' if !kind.sides().is_said() => self.sides.receiver = true,
            _ => return false,
        }
        true
    }

    /// Returns these modifiers together with those of the rule that merges the file.
    fn or(self, defaults: Self) -> Result<Self, RuleError> {
        if self.sides.is_said() && defaults.sides.is_said() {
            return Err(RuleError::SideTwice);
        }
        Ok(Self {
            absolute: self.absolute || defaults.absolute,
            negated: self.negated,
            perishable: self.perishable || defaults.perishable,
            xattr: self.xattr,
            sides: self.sides.or(defaults.sides),
        })
    }
}

/// The modifiers that only a merge has, and `C`.
#[derive(Debug, Clone, Copy, Default)]
struct MergeModifiers {
    /// The file holds bare patterns, to include or to exclude.
    plain: Option<bool>,
    words: bool,
    not_inherited: bool,
    exclude_self: bool,
    cvs: bool,
}

impl MergeModifiers {
    /// Sets the modifier `byte`; false where it is none, or none that a rule of this kind can have.
    fn set(&mut self, byte: u8, kind: Kind) -> bool {
        match byte {
            b'C' if self.plain.is_none() && (kind.is_merge() || kind == Kind::Exclude) => {
                *self = Self { plain: Some(false), words: true, not_inherited: true, cvs: true, ..*self };
            }
            b'-' | b'+' if kind.is_merge() && self.plain.is_none() => self.plain = Some(byte == b'+'),
            b'e' if kind.is_merge() => self.exclude_self = true,
            b'n' if kind.is_merge() => self.not_inherited = true,
            b'w' if kind.is_merge() => self.words = true,
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests;
