//! Which paths are synchronised, and why a path is not.

use std::sync::Arc;

use crate::model::path::RelPath;
use crate::rules::pattern::Pattern;
use crate::rules::rule::{Modifiers, Rule, Side, Sides};
use crate::rules::source::{
    DIR_MERGES_MAX, Draft, Drafts, FilterError, Origin, RULES_MAX, collect, for_each_line, option, read,
};
use crate::rules::syntax::{Merge, Parsed, RuleError};

/// The rules that hold inside one directory. Shared freely among threads: entering a directory returns a new scope.
#[derive(Debug)]
pub struct Scope {
    shared: Arc<Shared>,
    items: Arc<[Item]>,
}

/// What holds in all directories.
#[derive(Debug)]
pub struct Shared {
    /// The sides of a rule that names none.
    pub default_sides: Sides,
    /// NUL separates the rules of a file.
    pub zero_terminated: bool,
    /// The absolute path of the sender's tree, without a `/` at either end.
    pub sender: Vec<u8>,
    /// The absolute path of the receiver's tree, likewise.
    pub receiver: Vec<u8>,
}

#[derive(Debug, Clone)]
enum Item {
    Rule(Arc<Written>),
    /// The rules of one name of per-directory files, in the place where its `dir-merge` stands.
    Dir(Arc<List>),
}

/// A rule and where it was written.
#[derive(Debug)]
struct Written {
    rule: Rule,
    origin: Origin,
    /// The directory whose rule file holds the rule, or the root.
    base: RelPath,
}

/// What the files of one `dir-merge` have said down to this directory, the innermost file first.
#[derive(Debug)]
struct List {
    merge: Merge,
    items: Arc<[Item]>,
}

/// What the rules say about one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// No rule matches, or an including rule matches first.
    Included,
    /// An excluding rule matches first.
    Excluded {
        /// Where that rule was written.
        rule: &'a Origin,
    },
}

impl Verdict<'_> {
    /// Whether an excluding rule matches first.
    #[must_use]
    pub fn is_excluded(self) -> bool {
        matches!(self, Self::Excluded { .. })
    }
}

impl Scope {
    /// Returns the scope above the root, from the rules of a command.
    ///
    /// # Errors
    /// A file that a merge rule names was never read, or there are too many per-directory files.
    pub fn above_root(shared: Shared, drafts: Drafts) -> Result<Arc<Self>, FilterError> {
        let items = place(drafts, &RelPath::root(), &mut Vec::new(), None)?;
        Ok(Arc::new(Self { shared: Arc::new(shared), items: items.into() }))
    }

    /// Returns these rules with one before them all, above the root: `path`, with what lies below it, is left alone.
    #[must_use]
    pub fn sparing(&self, path: &RelPath) -> Arc<Self> {
        let rule = Rule {
            include: false,
            modifiers: Modifiers { sides: Sides::BOTH, ..Modifiers::default() },
            pattern: Pattern::exactly(path),
        };
        let first =
            Item::Rule(Arc::new(Written { rule, origin: option(path.as_bytes()), base: RelPath::root() }));
        Arc::new(Self {
            shared: Arc::clone(&self.shared),
            items: std::iter::once(first).chain(self.items.iter().cloned()).collect(),
        })
    }

    /// Whether there are no rules at all, here and below.
    #[must_use]
    pub fn is_trivial(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns the names of the files to look for when a directory is entered, each once.
    pub fn merge_names(&self) -> impl Iterator<Item = &[u8]> {
        let mut names = Vec::new();
        collect_names(&self.items, &mut names);
        names.into_iter()
    }

    /// Returns the rules that hold inside `dir`, a child of the directory of this scope, relative to the root.
    ///
    /// `files` are the per-directory files found there, by name. Such a file may name further ones: where
    /// [`merge_names`](Self::merge_names) of the result has new names that exist in `dir`, enter again from this same
    /// scope with those files too.
    ///
    /// # Errors
    /// A line has no meaning, merges a file, or brings the rules over a limit. Messages name the file and the line.
    pub fn enter(
        self: &Arc<Self>,
        dir: &RelPath,
        files: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<Arc<Self>, FilterError> {
        let mut names: Vec<Vec<u8>> = self.merge_names().map(<[u8]>::to_vec).collect();
        if names.is_empty() {
            return Ok(Arc::clone(self));
        }
        let visit = Visit { dir, files, zero_terminated: self.shared.zero_terminated };
        let items = visit.items(&self.items, &mut names)?;
        if Arc::ptr_eq(&items, &self.items) {
            return Ok(Arc::clone(self));
        }
        Ok(Arc::new(Self { shared: Arc::clone(&self.shared), items }))
    }

    /// Returns what the rules say about `path` on one side; this scope must be the one inside its parent.
    ///
    /// Excluded on the sender: not transferred. Excluded on the receiver: not deleted. What lies below an excluded
    /// directory is not looked at, so it is not for this function to say. The root itself is always included.
    #[must_use]
    pub fn verdict(&self, path: &RelPath, is_dir: bool, side: Side) -> Verdict<'_> {
        self.decide(path, is_dir, side, true)
    }

    /// Returns whether `path` is protected on the receiver although its parent directory is being deleted: as
    /// [`verdict`](Self::verdict), without perishable rules.
    #[must_use]
    pub fn verdict_in_deleted(&self, path: &RelPath, is_dir: bool) -> Verdict<'_> {
        self.decide(path, is_dir, Side::Receiver, false)
    }

    /// Whether two-way synchronisation leaves `path` alone: it is excluded on either side.
    #[must_use]
    pub fn is_frozen(&self, path: &RelPath, is_dir: bool) -> bool {
        [Side::Sender, Side::Receiver].into_iter().any(|side| self.verdict(path, is_dir, side).is_excluded())
    }

    /// Whether the rules of the command let nothing through to the other side, which is worth a warning.
    #[must_use]
    pub fn excludes_everything(&self) -> bool {
        for item in self.items.iter() {
            let Item::Rule(written) = item else { return false };
            if !written.rule.modifiers.sides.or(self.shared.default_sides).sender
                || written.rule.modifiers.xattr
            {
                continue;
            }
            if written.rule.include {
                return false;
            }
            if written.rule.matches_everything() {
                return true;
            }
        }
        false
    }

    fn decide(&self, path: &RelPath, is_dir: bool, side: Side, perishable: bool) -> Verdict<'_> {
        let root = match side {
            Side::Sender => &self.shared.sender,
            Side::Receiver => &self.shared.receiver,
        };
        let applies = |written: &Written| {
            written.rule.modifiers.sides.or(self.shared.default_sides).has(side)
                && (perishable || !written.rule.modifiers.perishable)
                && written.rule.matches(path, is_dir, &written.base, root)
        };
        match first_match(&self.items, &applies) {
            Some(written) if !written.rule.include => Verdict::Excluded { rule: &written.origin },
            Some(_) | None => Verdict::Included,
        }
    }
}

/// One directory being entered.
struct Visit<'a> {
    dir: &'a RelPath,
    files: &'a [(Vec<u8>, Vec<u8>)],
    zero_terminated: bool,
}

impl Visit<'_> {
    /// Returns `items` with every per-directory list as it is inside the directory; the same `Arc` where none changes.
    fn items(&self, items: &Arc<[Item]>, names: &mut Vec<Vec<u8>>) -> Result<Arc<[Item]>, FilterError> {
        let mut changed = false;
        let mut inside = Vec::with_capacity(items.len());
        for item in items.iter() {
            inside.push(match item {
                Item::Rule(written) => Item::Rule(Arc::clone(written)),
                Item::Dir(list) => {
                    let entered = self.list(list, names)?;
                    changed |= !Arc::ptr_eq(&entered, list);
                    Item::Dir(entered)
                }
            });
        }
        Ok(if changed { inside.into() } else { Arc::clone(items) })
    }

    fn list(&self, list: &Arc<List>, names: &mut Vec<Vec<u8>>) -> Result<Arc<List>, FilterError> {
        let inherited = if list.merge.inherited {
            self.items(&list.items, names)?
        } else {
            forget_names(&list.items, names);
            Arc::default()
        };
        let items = match self.files.iter().find(|(name, _)| *name == list.merge.file) {
            Some((_, contents)) => self.read(&list.merge, contents, &inherited, names)?.into(),
            None => inherited,
        };
        if Arc::ptr_eq(&items, &list.items) || (items.is_empty() && list.items.is_empty()) {
            return Ok(Arc::clone(list));
        }
        Ok(Arc::new(List { merge: list.merge.clone(), items }))
    }

    /// Returns the rules of a file in this directory, before those that the directory inherits.
    fn read(
        &self,
        merge: &Merge,
        contents: &[u8],
        mut inherited: &[Item],
        names: &mut Vec<Vec<u8>>,
    ) -> Result<Vec<Item>, FilterError> {
        let slash = if self.dir.is_root() { &b""[..] } else { b"/" };
        let file = [self.dir.as_bytes(), slash, &merge.file].concat();
        let mut drafts = Vec::new();
        for_each_line(contents, &file, merge.syntax, self.zero_terminated, |text, origin| {
            let parsed = read(text, merge.syntax, origin)?;
            match parsed {
                Parsed::Merge(_) => {
                    return Err(FilterError::Rule { at: origin.clone(), source: RuleError::MergeInTree });
                }
                Parsed::Clear => {
                    forget_names(inherited, names);
                    inherited = &[];
                }
                Parsed::Rule(_) | Parsed::DirMerge(_) | Parsed::Cvs(_) => {}
            }
            collect(&mut drafts, parsed, 0, origin)?;
            if drafts.len() + inherited.len() > RULES_MAX {
                return Err(FilterError::TooManyRules { at: origin.clone() });
            }
            Ok(())
        })?;
        let mut items = place(drafts, self.dir, names, Some(self))?;
        items.extend_from_slice(inherited);
        Ok(items)
    }
}

/// Turns rules written in `base` into items. A `dir-merge` whose name is already looked for is left out; any
/// other is entered at once by `visit`, for its file may stand in the same directory.
fn place(
    drafts: Drafts,
    base: &RelPath,
    names: &mut Vec<Vec<u8>>,
    visit: Option<&Visit<'_>>,
) -> Result<Vec<Item>, FilterError> {
    let mut items = Vec::with_capacity(drafts.len());
    for (draft, origin) in drafts {
        match draft {
            Draft::Rule(rule) => {
                items.push(Item::Rule(Arc::new(Written { rule, origin, base: base.clone() })));
            }
            Draft::DirMerge(merge) if names.contains(&merge.file) => {}
            Draft::DirMerge(_) if names.len() == DIR_MERGES_MAX => {
                return Err(FilterError::TooManyDirMerges { at: origin });
            }
            Draft::DirMerge(merge) => {
                names.push(merge.file.clone());
                let list = Arc::new(List { merge, items: Arc::default() });
                items.push(Item::Dir(match visit {
                    Some(visit) => visit.list(&list, names)?,
                    None => list,
                }));
            }
            Draft::Slot(_) => return Err(FilterError::Unread { at: origin }),
        }
    }
    Ok(items)
}

/// Returns the first rule that `applies`, a per-directory list standing where its `dir-merge` stands.
fn first_match<'a>(items: &'a [Item], applies: &dyn Fn(&Written) -> bool) -> Option<&'a Written> {
    items.iter().find_map(|item| match item {
        Item::Rule(written) => applies(written).then_some(&**written),
        Item::Dir(list) => first_match(&list.items, applies),
    })
}

fn collect_names<'a>(items: &'a [Item], names: &mut Vec<&'a [u8]>) {
    for item in items {
        if let Item::Dir(list) = item {
            names.push(&list.merge.file);
            collect_names(&list.items, names);
        }
    }
}

/// Takes the per-directory files of rules that no longer hold off the list of those looked for.
fn forget_names(items: &[Item], names: &mut Vec<Vec<u8>>) {
    let mut gone = Vec::new();
    collect_names(items, &mut gone);
    names.retain(|name| !gone.contains(&&name[..]));
}

#[cfg(test)]
mod tests;
