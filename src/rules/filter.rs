//! Collecting the rules of a command, in the order of its arguments.

use std::sync::Arc;

use crate::rules::rule::{Side, Sides};
use crate::rules::scope::{Scope, Shared};
use crate::rules::source::{
    Draft, Drafts, FilterError, MERGE_DEPTH_MAX, Origin, collect, for_each_line, option, read,
};
use crate::rules::syntax::{Merge, Parsed, Syntax};

/// What `-F` stands for, and what a second `-F` adds.
pub const F_RULES: [&[u8]; 2] = [b"dir-merge /.csync-filter", b"- .csync-filter"];

/// A file to read: hand its contents to [`FilterBuilder::merge`].
#[derive(Debug)]
#[must_use = "the rules of this file are missing until it is read"]
pub struct MergeRequest {
    merge: Merge,
    depth: usize,
    slot: usize,
}

impl MergeRequest {
    /// Returns the path of the file as written; `-` means standard input.
    #[must_use]
    pub fn file(&self) -> &[u8] {
        &self.merge.file
    }
}

/// The rules of a command, collected in the order of its arguments.
#[derive(Debug)]
pub struct FilterBuilder {
    shared: Shared,
    drafts: Drafts,
    slots: usize,
}

impl FilterBuilder {
    /// Returns an empty list. With `delete_excluded` a rule that names no side acts on the sender alone.
    #[must_use]
    pub fn new(delete_excluded: bool) -> Self {
        let default_sides = if delete_excluded { Sides::SENDER } else { Sides::BOTH };
        let shared =
            Shared { default_sides, zero_terminated: false, sender: Vec::new(), receiver: Vec::new() };
        Self { shared, drafts: Vec::new(), slots: 0 }
    }

    /// Makes NUL instead of a line end separate the rules of all files, as `--from0` does.
    #[must_use]
    pub fn zero_terminated(mut self) -> Self {
        self.shared.zero_terminated = true;
        self
    }

    /// Tells where the tree of one side lies, for rules with the modifier `/`: an absolute path. Without it such
    /// rules are matched as though the tree were the whole file system.
    #[must_use]
    pub fn with_root(mut self, side: Side, absolute: &[u8]) -> Self {
        let start = absolute.iter().position(|b| *b != b'/').unwrap_or(absolute.len());
        let end = absolute.iter().rposition(|b| *b != b'/').map_or(start, |last| last + 1);
        let root = absolute[start..end].to_vec();
        match side {
            Side::Sender => self.shared.sender = root,
            Side::Receiver => self.shared.receiver = root,
        }
        self
    }

    /// Adds one `--filter` rule. Where it is a merge, returns the file to read.
    ///
    /// # Errors
    /// The rule has no meaning, or there are too many.
    pub fn rule(&mut self, text: &[u8]) -> Result<Option<MergeRequest>, FilterError> {
        self.add(text, Syntax::any(), &option(text), 0)
    }

    /// Adds one `--exclude` pattern; a prefix `- ` or `+ ` and a lone `!` are understood, as rsync does.
    ///
    /// # Errors
    /// The pattern has no meaning, or there are too many.
    pub fn exclude(&mut self, pattern: &[u8]) -> Result<(), FilterError> {
        self.old(pattern, false)
    }

    /// Adds one `--include` pattern; a prefix `- ` or `+ ` and a lone `!` are understood, as rsync does.
    ///
    /// # Errors
    /// The pattern has no meaning, or there are too many.
    pub fn include(&mut self, pattern: &[u8]) -> Result<(), FilterError> {
        self.old(pattern, true)
    }

    /// Adds the contents of an `--exclude-from` file; `name` is for messages.
    ///
    /// # Errors
    /// A line has no meaning, or there are too many rules.
    pub fn exclude_from(&mut self, contents: &[u8], name: &[u8]) -> Result<(), FilterError> {
        self.lines(contents, name, Syntax::old(false), 0).map(drop)
    }

    /// Adds the contents of an `--include-from` file; `name` is for messages.
    ///
    /// # Errors
    /// A line has no meaning, or there are too many rules.
    pub fn include_from(&mut self, contents: &[u8], name: &[u8]) -> Result<(), FilterError> {
        self.lines(contents, name, Syntax::old(true), 0).map(drop)
    }

    /// Adds the rules of `-C`: per-directory `.cvsignore` files and the usual leavings, after all other rules.
    ///
    /// # Errors
    /// There are too many rules.
    pub fn cvs_exclude(&mut self) -> Result<(), FilterError> {
        for rule in [&b":C"[..], b"-C"] {
            self.add(rule, Syntax::any(), &option(b"-C"), 0)?;
        }
        Ok(())
    }

    /// Puts the contents of the file that `request` asked for in the place of its rule. Returns the files that this
    /// file merges in turn.
    ///
    /// # Errors
    /// A line has no meaning, there are too many rules, or files merge one another without end.
    pub fn merge(
        &mut self,
        request: MergeRequest,
        contents: &[u8],
    ) -> Result<Vec<MergeRequest>, FilterError> {
        let MergeRequest { merge, depth, slot } = request;
        let at =
            self.drafts.iter().position(|(draft, _)| matches!(draft, Draft::Slot(open) if *open == slot));
        // A `!` behind the merge rule took its place away: the file must still make sense, and has no effect.
        let after = self.drafts.split_off(at.map_or(0, |at| at + 1));
        self.drafts.truncate(at.unwrap_or(0));
        let found = self.lines(contents, &merge.file, merge.syntax, depth);
        if at.is_none() {
            self.drafts.clear();
        }
        self.drafts.extend(after);
        found
    }

    /// Returns the rules as they hold above the first directory: [`Scope::enter`] the root first of all.
    ///
    /// # Errors
    /// A file that a merge rule names was never given, or there are too many per-directory files.
    pub fn build(self) -> Result<Arc<Scope>, FilterError> {
        Scope::above_root(self.shared, self.drafts)
    }

    fn old(&mut self, pattern: &[u8], include: bool) -> Result<(), FilterError> {
        if pattern.is_empty() {
            return Ok(());
        }
        self.add(pattern, Syntax::old(include), &option(pattern), 0).map(drop)
    }

    fn lines(
        &mut self,
        contents: &[u8],
        name: &[u8],
        syntax: Syntax,
        depth: usize,
    ) -> Result<Vec<MergeRequest>, FilterError> {
        let mut found = Vec::new();
        for_each_line(contents, name, syntax, self.shared.zero_terminated, |text, origin| {
            found.extend(self.add(text, syntax, origin, depth)?);
            Ok(())
        })?;
        Ok(found)
    }

    fn add(
        &mut self,
        text: &[u8],
        syntax: Syntax,
        origin: &Origin,
        depth: usize,
    ) -> Result<Option<MergeRequest>, FilterError> {
        let parsed = read(text, syntax, origin)?;
        let Parsed::Merge(merge) = &parsed else {
            collect(&mut self.drafts, parsed, 0, origin)?;
            return Ok(None);
        };
        if depth == MERGE_DEPTH_MAX {
            return Err(FilterError::MergeTooDeep { at: origin.clone() });
        }
        self.slots += 1;
        let request = MergeRequest { merge: merge.clone(), depth: depth + 1, slot: self.slots };
        collect(&mut self.drafts, parsed, self.slots, origin)?;
        Ok(Some(request))
    }
}

#[cfg(test)]
mod tests;
