//! The text of the config as typed values; every problem with its line and column.

use std::ops::Range;

use toml::de::DeTable;

use crate::config::folder::folder;
use crate::config::job::job;
use crate::config::problem::{Problem, Problems};
use crate::config::reader::{Places, Reader, Value, get};
use crate::config::settings::{Address, Config, Peer};
use crate::config::values;
use crate::model::key::PublicKey;

/// The largest config that is read, in bytes.
pub const CONFIG_BYTES_MAX: usize = 1 << 20;

const TOP: &[&str] = &["node", "listen", "control-group", "peer", "folder", "job"];
const PEER: &[&str] = &["key", "addr"];

/// A config as far as it could be read.
#[derive(Debug)]
pub struct Parsed<'a> {
    /// What was read; whatever had a problem is left out or has its default.
    pub config: Config,
    /// Where things are.
    pub places: Places,
    /// What is wrong.
    pub problems: Problems<'a>,
}

/// Returns what `text` says, with every problem that one value alone can have.
#[must_use]
pub fn parse(text: &str) -> Parsed<'_> {
    let mut reader = Reader { problems: Problems::new(text) };
    let mut places = Places::default();
    if text.len() > CONFIG_BYTES_MAX {
        reader.problems.error(&(0..0), format!("the config is larger than {CONFIG_BYTES_MAX} bytes"));
        return Parsed { config: Config::default(), places, problems: reader.problems };
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let span = error.span().unwrap_or_default();
        let first =
            duplicate_of(text, &span).map(|first| format!("; it is first at {}", reader.problems.at(&first)));
        reader.problems.error(&span, format!("not TOML: {}{}", error.message(), first.unwrap_or_default()));
    }
    let table = table.into_inner();
    reader.known(&table, "the top level", TOP);
    let mut config = Config::default();
    if let Some(value) = get(&table, "node") {
        config.node = reader.text(value).map(|text| text.text.to_owned());
        places.node = Some(value.span());
    }
    if let Some(value) = get(&table, "listen") {
        config.listen = addresses(&mut reader, value);
    }
    config.control_group =
        get(&table, "control-group").and_then(|value| reader.text(value)).map(|text| text.text.to_owned());
    for (name, span, value) in section(&mut reader, &table, "peer") {
        if let Some(peer) = peer(&mut reader, &name, &span, value, &mut places) {
            config.peers.insert(name, peer);
        }
    }
    for (name, span, value) in section(&mut reader, &table, "folder") {
        if let Some(folder) = folder(&mut reader, &name, &span, value, &mut places) {
            config.folders.insert(name, folder);
        }
    }
    for (name, span, value) in section(&mut reader, &table, "job") {
        if let Some(job) = job(&mut reader, &name, &span, value) {
            config.jobs.insert(name, job);
        }
    }
    Parsed { config, places, problems: reader.problems }
}

/// Returns config and problems of `text`; the checks of [`crate::config::check`] come after it.
#[must_use]
pub fn problems_of(text: &str) -> Vec<Problem> {
    parse(text).problems.finish()
}

/// Where the table or key at `span` stood before: its header line, the first time.
fn duplicate_of(text: &str, span: &Range<usize>) -> Option<Range<usize>> {
    let line = |at: usize| {
        let start = text.get(..at)?.rfind('\n').map_or(0, |newline| newline + 1);
        text.get(start..)?.lines().next().map(str::trim)
    };
    let header = line(span.start)?;
    let first = text.lines().scan(0, |at, line| {
        let start = *at;
        *at += line.len() + 1;
        Some((start, line))
    });
    let (at, _) = first
        .into_iter()
        .find(|(at, line)| header.starts_with('[') && line.trim() == header && *at < span.start)?;
    let line_start = text.get(..span.start)?.rfind('\n').map_or(0, |newline| newline + 1);
    (at < line_start).then_some(at..at)
}

/// The tables below `[section.NAME]`.
fn section<'t, 'a>(
    reader: &mut Reader<'_>,
    table: &'t DeTable<'a>,
    name: &str,
) -> Vec<(String, Range<usize>, &'t Value<'a>)> {
    let Some(tables) = get(table, name).and_then(|value| reader.any_table(value)) else {
        return Vec::new();
    };
    let mut named = Vec::new();
    for (key, value) in tables {
        match values::name(key.get_ref()) {
            Ok(()) => named.push((key.get_ref().to_string(), key.span(), value)),
            Err(why) => reader.problems.error(&key.span(), format!("[{name}.…]: {why}")),
        }
    }
    named
}

fn addresses(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<Address> {
    let mut read = Vec::new();
    for text in reader.text_or_texts(value) {
        match values::address(text.text) {
            Ok(address) => read.push(address),
            Err(why) => reader.problems.error(&text.span, why),
        }
    }
    read
}

fn peer(
    reader: &mut Reader<'_>,
    name: &str,
    span: &Range<usize>,
    value: &Value<'_>,
    places: &mut Places,
) -> Option<Peer> {
    let place = format!("[peer.{name}]");
    let table = reader.table(value, &place, PEER)?;
    let key = match get(table, "key") {
        Some(value) => {
            places.keys.insert(name.to_owned(), value.span());
            reader.parsed(value, |text| {
                PublicKey::parse(text)
                    .map_err(|error| format!("{place}: {error}; `csync id` on {name} prints it"))
            })
        }
        None => {
            reader.problems.error(span, format!("{place} has no key; `csync id` on {name} prints it"));
            None
        }
    };
    let addresses = match get(table, "addr") {
        Some(value) if value.get_ref().as_array().is_none_or(|array| !array.is_empty()) => {
            addresses(reader, value)
        }
        Some(_) | None => {
            reader.problems.error(span, format!("{place} has no address; add addr = [\"HOST:8730\"]"));
            Vec::new()
        }
    };
    Some(Peer { key: key?, addresses })
}
