//! What is wrong with a config, and where.

use std::fmt;
use std::ops::Range;

/// One problem of a config file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong and what was wanted.
    pub text: String,
    /// Whether it is only a warning: the config can be used.
    pub warning: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let warning = if self.warning { "warning: " } else { "" };
        write!(f, "{}:{}: {warning}{}", self.line, self.column, self.text)
    }
}

/// Returns line and column, both from 1, of the byte `offset` of `text`.
#[must_use]
pub fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The problems of one text while it is read.
#[derive(Debug)]
pub struct Problems<'a> {
    text: &'a str,
    found: Vec<Problem>,
}

impl<'a> Problems<'a> {
    /// Returns no problems of `text`.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self { text, found: Vec::new() }
    }

    /// Returns line and column of a span, as `LINE:COLUMN`.
    #[must_use]
    pub fn at(&self, span: &Range<usize>) -> String {
        let (line, column) = place(self.text, span.start);
        format!("{line}:{column}")
    }

    /// Adds an error.
    pub fn error(&mut self, span: &Range<usize>, text: impl Into<String>) {
        self.add(span, text.into(), false);
    }

    /// Adds a warning.
    pub fn warning(&mut self, span: &Range<usize>, text: impl Into<String>) {
        self.add(span, text.into(), true);
    }

    fn add(&mut self, span: &Range<usize>, text: String, warning: bool) {
        let (line, column) = place(self.text, span.start);
        self.found.push(Problem { line, column, text, warning });
    }

    /// Returns all, in the order of the text.
    #[must_use]
    pub fn finish(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|problem| (problem.line, problem.column));
        self.found
    }
}

/// Returns the one of `known` that was probably meant by `word`: at most a third of its letters, and two, differ.
#[must_use]
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|candidate| (edits(word, candidate), *candidate))
        .filter(|(edits, candidate)| *edits <= 2.min(candidate.chars().count().div_ceil(3)))
        .min()
        .map(|(_, candidate)| candidate)
}

/// The number of letters to add, drop, change, or swap with the next, that turn `a` into `b`.
///
/// # Source
/// Optimal string alignment; Boytsov, "Indexing methods for approximate dictionary searching", 2011.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_found_and_what_is_far_is_not() {
        let known = ["exclude", "members", "path", "mode"];
        for (word, meant) in [
            ("exlude", Some("exclude")),
            ("memebrs", Some("members")),
            ("pth", Some("path")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, &known), meant, "{word}");
        }
    }

    #[test]
    fn places_count_characters_from_one() {
        assert_eq!(place("a\n\u{e4}b", 4), (2, 2));
        assert_eq!(place("", 0), (1, 1));
        assert_eq!(place("ab", 99), (1, 3));
    }
}
