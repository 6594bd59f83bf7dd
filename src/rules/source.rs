//! Where rules come from: options and files, read into one list.

use std::fmt;
use std::sync::Arc;

use crate::model::path::escape;
use crate::rules::pattern::Pattern;
use crate::rules::rule::{Modifiers, Rule};
use crate::rules::syntax::{CVS_PATTERNS, Merge, Parsed, RuleError, Syntax, parse};

/// Most bytes in one file of rules.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// Most rules that may hold in one directory, for one rule file and all that it inherits.
pub const RULES_MAX: usize = 65_536;
/// Most names of per-directory rule files that may hold in one directory.
pub const DIR_MERGES_MAX: usize = 32;
/// Most merge rules that may lead from one to the next.
pub const MERGE_DEPTH_MAX: usize = 16;

/// Where a rule was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In an option; shown in full.
    Option(Arc<str>),
    /// In a file. Its text is never shown: the file may be one that whoever reads the message must not see.
    Line {
        /// Name of the file, escaped.
        file: Arc<str>,
        /// Line, from 1.
        line: usize,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(text) => write!(f, "`{text}`"),
            Self::Line { file, line } => write!(f, "{file}:{line}"),
        }
    }
}

/// Why rules cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// One rule has no meaning.
    #[error("Cannot understand the filter rule {at}")]
    Rule {
        /// Where it was written.
        at: Origin,
        /// What is wrong with it.
        #[source]
        source: RuleError,
    },
    /// A file of rules is larger than [`FILE_BYTES_MAX`].
    #[error("Cannot use the filter file {file}: it has more than {FILE_BYTES_MAX} bytes")]
    FileTooLarge {
        /// Name of the file, escaped.
        file: Arc<str>,
    },
    /// There are more than [`RULES_MAX`] rules.
    #[error("Cannot add the filter rule {at}: more than {RULES_MAX} rules would hold in one directory")]
    TooManyRules {
        /// The rule that was one too many.
        at: Origin,
    },
    /// There are more than [`DIR_MERGES_MAX`] names of per-directory files.
    #[error(
        "Cannot add the filter rule {at}: more than {DIR_MERGES_MAX} per-directory files would be looked for"
    )]
    TooManyDirMerges {
        /// The rule that was one too many.
        at: Origin,
    },
    /// Files merge each other without end.
    #[error("Cannot follow the filter rule {at}: more than {MERGE_DEPTH_MAX} files merge one another")]
    MergeTooDeep {
        /// The rule that goes one too deep.
        at: Origin,
    },
    /// The contents of a merge file were asked for and never given.
    #[error("Cannot use the filter rule {at}: the file it names was not read")]
    Unread {
        /// The merge rule.
        at: Origin,
    },
}

/// A list of rules, each with the place where it was written.
pub type Drafts = Vec<(Draft, Origin)>;

/// A rule, or a place where rules will stand.
#[derive(Debug)]
pub enum Draft {
    /// An include or exclude.
    Rule(Rule),
    /// The files of one name, in every directory.
    DirMerge(Merge),
    /// The contents of a file that is yet to be read.
    Slot(usize),
}

/// Returns the origin of a rule given as an option.
#[must_use]
pub fn option(text: &[u8]) -> Origin {
    Origin::Option(escape(text).into())
}

/// Returns what the rule `text` says.
///
/// # Errors
/// It has no meaning.
pub fn read(text: &[u8], syntax: Syntax, origin: &Origin) -> Result<Parsed, FilterError> {
    parse(text, syntax).map_err(|source| FilterError::Rule { at: origin.clone(), source })
}

/// Calls `each` with every rule of a file, in order, and stops at the first error.
///
/// # Errors
/// The file is too large, or the error of `each`.
pub fn for_each_line(
    contents: &[u8],
    name: &[u8],
    syntax: Syntax,
    zero_terminated: bool,
    mut each: impl FnMut(&[u8], &Origin) -> Result<(), FilterError>,
) -> Result<(), FilterError> {
    let file: Arc<str> = escape(name).into();
    if contents.len() > FILE_BYTES_MAX {
        return Err(FilterError::FileTooLarge { file });
    }
    for (line, text) in syntax.split(contents, zero_terminated) {
        each(text, &Origin::Line { file: Arc::clone(&file), line })?;
    }
    Ok(())
}

/// Carries out `parsed` on the list: adds rules, or clears it. A merge adds the exclusion of its own file and a
/// `slot`, whose number the caller chose.
///
/// # Errors
/// The list is full.
pub fn collect(drafts: &mut Drafts, parsed: Parsed, slot: usize, origin: &Origin) -> Result<(), FilterError> {
    match parsed {
        Parsed::Clear => drafts.clear(),
        Parsed::Rule(rule) => drafts.push((Draft::Rule(rule), origin.clone())),
        Parsed::Merge(merge) => {
            drafts.extend(self_exclusion(&merge, origin)?);
            drafts.push((Draft::Slot(slot), origin.clone()));
        }
        Parsed::DirMerge(merge) => {
            drafts.extend(self_exclusion(&merge, origin)?);
            drafts.push((Draft::DirMerge(merge), origin.clone()));
        }
        Parsed::Cvs(syntax) => {
            for (_, pattern) in syntax.split(CVS_PATTERNS.as_bytes(), false) {
                collect(drafts, read(pattern, syntax, origin)?, slot, origin)?;
            }
        }
    }
    if drafts.len() > RULES_MAX {
        return Err(FilterError::TooManyRules { at: origin.clone() });
    }
    Ok(())
}

/// Returns the rule that a merge with the modifier `e` adds: its file is not transferred.
fn self_exclusion(merge: &Merge, origin: &Origin) -> Result<Option<(Draft, Origin)>, FilterError> {
    if !merge.exclude_self {
        return Ok(None);
    }
    let name = merge.file.rsplit(|b| *b == b'/').next().unwrap_or_default();
    let pattern = Pattern::new(name)
        .map_err(|error| FilterError::Rule { at: origin.clone(), source: RuleError::Pattern(error) })?;
    let rule = Rule { include: false, modifiers: Modifiers::default(), pattern };
    Ok(Some((Draft::Rule(rule), origin.clone())))
}
