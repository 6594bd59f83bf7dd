//! The log of `csyncd`, on standard error: for people, for journald, or as JSON.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Mutex;
use std::sync::PoisonError;

use serde_json::{Map, Value};

use crate::cli::listing::rfc3339;
use crate::cli::render::Screen;
use crate::daemon::log::{Level, Line, Log};
use crate::disk::clock::now;
use crate::model::metadata::Timestamp;

/// How lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// `journald` if standard error leads there, else `text`.
    Auto,
    /// Time, level, what happened.
    Text,
    /// One object on each line.
    Json,
    /// The priority in front, no time: journald has its own.
    Journald,
}

/// The values of `--log-format`.
pub const FORMATS: &[(&str, Format)] =
    &[("auto", Format::Auto), ("text", Format::Text), ("json", Format::Json), ("journald", Format::Journald)];
/// The values of `--log-level`: what matters less is not written.
pub const LEVELS: &[(&str, Level)] =
    &[("error", Level::Error), ("warning", Level::Warning), ("info", Level::Info), ("debug", Level::Debug)];

/// Writes lines to standard error.
#[derive(Debug)]
pub struct Journal {
    format: Format,
    least: Level,
    screen: Mutex<Screen>,
}

impl Journal {
    /// Returns a journal in `format`. `stream` is what the service manager says of journald's stream.
    #[must_use]
    pub fn new(format: Format, least: Level, stream: Option<&str>) -> Self {
        let format = match format {
            Format::Auto if leads_to(stream) => Format::Journald,
            Format::Auto => Format::Text,
            given @ (Format::Text | Format::Json | Format::Journald) => given,
        };
        Self { format, least, screen: Mutex::new(Screen::new(false)) }
    }
}

/// Whether standard error is the stream `DEVICE:INODE`.
///
/// # Source
/// `systemd.exec(5)`, `$JOURNAL_STREAM`.
fn leads_to(stream: Option<&str>) -> bool {
    let ours = fs::metadata("/proc/self/fd/2").map(|stat| format!("{}:{}", stat.dev(), stat.ino()));
    stream.is_some_and(|stream| ours.is_ok_and(|ours| ours == stream))
}

impl Log for Journal {
    fn line(&self, line: Line) {
        if line.level <= self.least {
            let text = shown(&line, self.format, now());
            self.screen.lock().unwrap_or_else(PoisonError::into_inner).message(&text);
        }
    }
}

fn shown(line: &Line, format: Format, at: Timestamp) -> String {
    let at = rfc3339(Timestamp::new(at.secs, at.nanos / 1_000_000 * 1_000_000));
    let word = word(line.level);
    match format {
        Format::Auto | Format::Text => format!("{at} {word}: {}", plain(line)),
        Format::Journald => format!("<{}>{}", priority(line.level), plain(line)),
        Format::Json => {
            let named = [("time", at.as_str()), ("level", word), ("message", &line.text)];
            let facts = line.facts.iter().map(|(name, value)| (*name, value.as_str()));
            let object: Map<String, Value> = named
                .into_iter()
                .chain(facts)
                .map(|(name, value)| (name.to_owned(), Value::from(value)))
                .collect();
            Value::Object(object).to_string()
        }
    }
}

/// What happened, then `name=value`; a value with spaces in quotes. No line can be forged.
fn plain(line: &Line) -> String {
    let mut text = one_line(&line.text);
    for (name, value) in &line.facts {
        let is_word = !value.is_empty() && !value.contains([' ', '"', '=']);
        let value = one_line(value);
        text += &if is_word {
            format!(" {name}={value}")
        } else {
            format!(" {name}=\"{}\"", value.replace('"', "'"))
        };
    }
    text
}

fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { format!("\\#{:03o}", u32::from(c)) } else { c.to_string() })
        .collect()
}

fn word(level: Level) -> &'static str {
    LEVELS.iter().find(|(_, known)| *known == level).map_or("", |(word, _)| word)
}

/// # Source
/// `sd-daemon(3)`: the priorities of syslog.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warning => 4,
        Level::Info => 6,
        Level::Debug => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_looks_as_it_was_asked_for_and_stays_one_line() {
        let line = Line::new(Level::Warning, "session refused")
            .with("peer", "web2")
            .with("folder", "a\nb \"c\"")
            .with("why", "");
        let at = Timestamp::new(1_700_000_000, 123_456_789);
        for (format, text) in [
            (
                Format::Text,
                "2023-11-14T22:13:20.123Z warning: session refused peer=web2 folder=\"a\\#012b 'c'\" why=\"\"",
            ),
            (Format::Journald, "<4>session refused peer=web2 folder=\"a\\#012b 'c'\" why=\"\""),
            (
                Format::Json,
                r#"{"folder":"a\nb \"c\"","level":"warning","message":"session refused","peer":"web2","time":"2023-11-14T22:13:20.123Z","why":""}"#,
            ),
        ] {
            assert_eq!(shown(&line, format, at), text);
        }
    }

    #[test]
    fn journald_is_known_by_its_stream() {
        let stat = fs::metadata("/proc/self/fd/2").unwrap();
        for (case, stream, format) in [
            ("none", None, Format::Text),
            ("ours", Some(format!("{}:{}", stat.dev(), stat.ino())), Format::Journald),
            ("another's", Some("1:1".to_owned()), Format::Text),
        ] {
            assert_eq!(Journal::new(Format::Auto, Level::Info, stream.as_deref()).format, format, "{case}");
        }
    }
}
