//! TOML values with their places: each is checked for its type, and every problem is kept.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::problem::{Problems, nearest};

/// A value with its place.
pub type Value<'a> = Spanned<DeValue<'a>>;

/// A text with its place.
#[derive(Clone, Debug)]
pub struct Text<'t> {
    /// The text.
    pub text: &'t str,
    /// Its bytes in the file.
    pub span: Range<usize>,
}

/// Where in the text things were named, for checks across the whole file.
#[derive(Debug, Default)]
pub struct Places {
    /// The value of `node`.
    pub node: Option<Range<usize>>,
    /// Keys of peers.
    pub keys: BTreeMap<String, Range<usize>>,
    /// Members of folders, by folder and member.
    pub members: BTreeMap<(String, String), Range<usize>>,
    /// Nodes that `path`, `mode` and `allow` of folders name, by folder, key and node.
    pub named: BTreeMap<(String, &'static str, String), Range<usize>>,
    /// Roots of folders, by folder and member (`*`: the others).
    pub roots: BTreeMap<(String, String), Range<usize>>,
}

/// Returns the value of `key`.
#[must_use]
pub fn get<'t, 'a>(table: &'t DeTable<'a>, key: &str) -> Option<&'t Value<'a>> {
    table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
}

/// Reads values of one file.
#[derive(Debug)]
pub struct Reader<'a> {
    /// What was wrong so far.
    pub problems: Problems<'a>,
}

impl Reader<'_> {
    /// Adds "wanted `what`" at a value.
    pub fn wanted(&mut self, value: &Value<'_>, what: &str) {
        let found = value.get_ref().type_str();
        self.problems.error(&value.span(), format!("wanted {what}, found {found}"));
    }

    /// Refuses keys of `table`, called `place` in messages, that are not in `known`.
    pub fn known(&mut self, table: &DeTable<'_>, place: &str, known: &[&str]) {
        for key in table.keys() {
            let name = key.get_ref();
            if !known.contains(&name.as_ref()) {
                let hint = match nearest(name, known) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => format!("known are {}", known.join(", ")),
                };
                self.problems.error(
                    &key.span(),
                    format!("unknown key \"{}\" in {place}; {hint}", name.escape_debug()),
                );
            }
        }
    }

    /// Returns a value that shall be a table with only `known` keys.
    pub fn table<'t, 'a>(
        &mut self,
        value: &'t Value<'a>,
        place: &str,
        known: &[&str],
    ) -> Option<&'t DeTable<'a>> {
        let table = self.any_table(value)?;
        self.known(table, place, known);
        Some(table)
    }

    /// Returns a value that shall be a table.
    pub fn any_table<'t, 'a>(&mut self, value: &'t Value<'a>) -> Option<&'t DeTable<'a>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wanted(value, "a table");
        }
        table
    }

    /// Returns a value that shall be a text.
    pub fn text<'t>(&mut self, value: &'t Value<'_>) -> Option<Text<'t>> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wanted(value, "a text in quotes");
        }
        text.map(|text| Text { text, span: value.span() })
    }

    /// Returns a value that shall be true or false.
    pub fn flag(&mut self, value: &Value<'_>) -> Option<bool> {
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.wanted(value, "true or false");
        }
        flag
    }

    /// Returns a value that shall be an array of tables or texts.
    pub fn array<'t, 'a>(&mut self, value: &'t Value<'a>) -> Vec<&'t Value<'a>> {
        match value.get_ref().as_array() {
            Some(array) => array.iter().collect(),
            None => {
                self.wanted(value, "an array");
                Vec::new()
            }
        }
    }

    /// Returns a value that shall be an array of texts.
    pub fn texts<'t>(&mut self, value: &'t Value<'_>) -> Vec<Text<'t>> {
        self.array(value).into_iter().filter_map(|item| self.text(item)).collect()
    }

    /// Returns a value that shall be an array of texts, or one text.
    pub fn text_or_texts<'t>(&mut self, value: &'t Value<'_>) -> Vec<Text<'t>> {
        if value.get_ref().is_array() { self.texts(value) } else { self.text(value).into_iter().collect() }
    }

    /// Returns a value that shall be a whole number of `range`.
    pub fn number(&mut self, value: &Value<'_>, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let number = value
            .get_ref()
            .as_integer()
            .and_then(|integer| u64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok())
            .filter(|number| range.contains(number));
        if number.is_none() {
            let (from, to) = (range.start(), range.end());
            self.problems.error(&value.span(), format!("wanted a whole number from {from} to {to}"));
        }
        number
    }

    /// Returns what `read` makes of a text; its error is a problem there.
    pub fn parsed<T, E: std::fmt::Display>(
        &mut self,
        value: &Value<'_>,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(value)?;
        match read(text.text) {
            Ok(read) => Some(read),
            Err(error) => {
                self.problems.error(&text.span, error.to_string());
                None
            }
        }
    }
}
