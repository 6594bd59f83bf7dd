//! The text of the config as typed values; every problem with its line and column.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use crate::config::problem::{Problem, Problems};
use crate::config::quantity::{duration, percent, size};
use crate::config::reader::{Reader, Value, get};
use crate::config::settings::{
    Bound, Config, Conflict, Deletes, Folder, Hook, Job, JobKind, Keep, Limits, OwnerRule, Peer, PerMember,
    RateWindow, Versions,
};
use crate::config::values;
use crate::model::key::PublicKey;

/// The largest config that is read, in bytes.
pub const CONFIG_BYTES_MAX: usize = 1 << 20;

const TOP: &[&str] = &["node", "listen", "control-group", "peer", "folder", "job"];
const PEER: &[&str] = &["key", "addr"];
const FOLDER: &[&str] = &[
    "members",
    "path",
    "mode",
    "conflict",
    "owner",
    "delete",
    "versions",
    "filter",
    "on-change",
    "comment",
    "allow",
    "hosts",
    "limits",
    "trust",
];
const JOB: &[&str] = &["push", "pull", "sync", "to", "options", "filter", "bwlimit"];

/// Where in the text things were named, for checks across the whole file.
#[derive(Debug, Default)]
pub struct Places {
    /// The value of `node`.
    pub node: Option<Range<usize>>,
    /// Keys of peers.
    pub keys: BTreeMap<String, Range<usize>>,
    /// Members of folders, by folder and member.
    pub members: BTreeMap<(String, String), Range<usize>>,
    /// Roots of folders, by folder and member (`*`: the others).
    pub roots: BTreeMap<(String, String), Range<usize>>,
}

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
    let mut reader = Reader {
        problems: Problems::new(text),
    };
    let mut places = Places::default();
    if text.len() > CONFIG_BYTES_MAX {
        reader.problems.error(
            &(0..0),
            format!("the config is larger than {CONFIG_BYTES_MAX} bytes"),
        );
        return Parsed {
            config: Config::default(),
            places,
            problems: reader.problems,
        };
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let span = error.span().unwrap_or_default();
        let first =
            duplicate_of(text, &span).map(|first| format!("; it is first at {}", reader.problems.at(&first)));
        reader.problems.error(
            &span,
            format!("not TOML: {}{}", error.message(), first.unwrap_or_default()),
        );
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
    config.control_group = get(&table, "control-group")
        .and_then(|value| reader.text(value))
        .map(|text| text.text.to_owned());
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
    Parsed {
        config,
        places,
        problems: reader.problems,
    }
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
    let line_start = text
        .get(..span.start)?
        .rfind('\n')
        .map_or(0, |newline| newline + 1);
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

fn addresses(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<crate::config::settings::Address> {
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
            reader.problems.error(
                span,
                format!("{place} has no key; `csync id` on {name} prints it"),
            );
            None
        }
    };
    let addresses = match get(table, "addr") {
        Some(value) if value.get_ref().as_array().is_none_or(|array| !array.is_empty()) => {
            addresses(reader, value)
        }
        Some(_) | None => {
            reader.problems.error(
                span,
                format!("{place} has no address; add addr = [\"HOST:8730\"]"),
            );
            Vec::new()
        }
    };
    Some(Peer { key: key?, addresses })
}

fn folder(
    reader: &mut Reader<'_>,
    name: &str,
    span: &Range<usize>,
    value: &Value<'_>,
    places: &mut Places,
) -> Option<Folder> {
    let place = format!("[folder.{name}]");
    let table = reader.table(value, &place, FOLDER)?;
    let mut members = Vec::new();
    for member in get(table, "members")
        .map(|value| reader.texts(value))
        .unwrap_or_default()
    {
        places
            .members
            .insert((name.to_owned(), member.text.to_owned()), member.span);
        members.push(member.text.to_owned());
    }
    let path = roots(reader, name, span, get(table, "path"), places);
    let parsed_or =
        |reader: &mut Reader<'_>, key: &str| get(table, key).map(|value| (value, reader.text(value)));
    let comment = parsed_or(reader, "comment")
        .and_then(|(_, text)| text)
        .map(|text| text.text.to_owned());
    Some(Folder {
        members,
        path,
        mode: get(table, "mode")
            .map(|value| per_member(reader, value, values::mode))
            .unwrap_or_default(),
        conflict: get(table, "conflict")
            .and_then(|value| reader.parsed(value, values::conflict))
            .unwrap_or(Conflict::KeepBoth),
        owner: get(table, "owner")
            .and_then(|value| reader.parsed(value, values::owner))
            .unwrap_or(OwnerRule::ByName),
        delete: deletes(reader, &place, get(table, "delete")),
        versions: versions(reader, &place, get(table, "versions")),
        filters: filters(reader, get(table, "filter")),
        on_change: hooks(reader, &place, get(table, "on-change")),
        comment,
        allow: rights(reader, get(table, "allow")),
        hosts: get(table, "hosts")
            .map(|value| networks(reader, value))
            .unwrap_or_default(),
        limits: limits(reader, &place, get(table, "limits")),
        trust_root: get(table, "trust").is_some_and(|value| {
            let read = |text: &str| {
                if text == "root" {
                    Ok(())
                } else {
                    Err("trust has only one value, \"root\"")
                }
            };
            reader.parsed(value, read).is_some()
        }),
    })
}

/// The roots of a folder: absolute, and never `/`.
fn roots(
    reader: &mut Reader<'_>,
    folder: &str,
    span: &Range<usize>,
    value: Option<&Value<'_>>,
    places: &mut Places,
) -> PerMember<String> {
    let Some(value) = value else {
        reader.problems.error(
            span,
            format!("[folder.{folder}] has no path; add path = \"/the/root\""),
        );
        return PerMember::default();
    };
    match value.get_ref() {
        DeValue::Table(table) => {
            for (member, root) in table {
                places
                    .roots
                    .insert((folder.to_owned(), member.get_ref().to_string()), root.span());
            }
        }
        _other => {
            places
                .roots
                .insert((folder.to_owned(), "*".to_owned()), value.span());
        }
    }
    per_member(reader, value, |text| {
        if !text.starts_with('/') {
            return Err(format!(
                "the root `{}` is relative; wanted an absolute path",
                text.escape_debug()
            ));
        }
        if text.contains('\0') || text.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(format!(
                "the root `{}` has a `.` or `..`; write it without",
                text.escape_debug()
            ));
        }
        if text.bytes().all(|b| b == b'/') {
            return Err("the root may not be `/`; name a directory below it".to_owned());
        }
        Ok(text.trim_end_matches('/').to_owned())
    })
}

/// One value, or one for each member and `*`.
fn per_member<T>(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    read: impl Fn(&str) -> Result<T, String>,
) -> PerMember<T> {
    let Some(table) = value.get_ref().as_table() else {
        return PerMember {
            others: reader.parsed(value, read),
            named: BTreeMap::new(),
        };
    };
    let mut values = PerMember::default();
    for (member, value) in table {
        match (member.get_ref().as_ref(), reader.parsed(value, &read)) {
            ("*", read) => values.others = read,
            (member, Some(read)) => {
                values.named.insert(member.to_owned(), read);
            }
            (_, None) => {}
        }
    }
    values
}

fn deletes(reader: &mut Reader<'_>, place: &str, value: Option<&Value<'_>>) -> Deletes {
    let table = value
        .and_then(|value| reader.table(value, &format!("delete of {place}"), &["propagate", "hold-above"]));
    let propagate = table
        .and_then(|table| get(table, "propagate"))
        .and_then(|value| reader.flag(value))
        .unwrap_or(true);
    let hold_above = table
        .and_then(|table| get(table, "hold-above"))
        .and_then(|value| {
            if value.get_ref().is_integer() {
                reader.number(value, 0..=u64::MAX).map(Bound::Count)
            } else {
                reader.parsed(value, percent).map(Bound::Percent)
            }
        });
    Deletes {
        propagate,
        hold_above,
    }
}

fn versions(reader: &mut Reader<'_>, place: &str, value: Option<&Value<'_>>) -> Versions {
    let default = || Versions {
        keep: vec![Keep::Within(Duration::from_secs(30 * 86_400))],
        max: Some(Bound::Percent(10)),
    };
    let Some(value) = value else { return default() };
    if value.get_ref().as_bool() == Some(false) {
        return Versions {
            keep: Vec::new(),
            max: None,
        };
    }
    let Some(table) = reader.table(value, &format!("versions of {place}"), &["keep", "max"]) else {
        return default();
    };
    let keep = get(table, "keep").and_then(|value| reader.parsed(value, values::keep));
    let max = get(table, "max").and_then(|value| reader.parsed(value, values::size_or_percent));
    Versions {
        keep: keep.unwrap_or_else(|| default().keep),
        max: max.or_else(|| default().max),
    }
}

fn filters(reader: &mut Reader<'_>, value: Option<&Value<'_>>) -> Vec<String> {
    let mut rules = Vec::new();
    for text in value.map(|value| reader.texts(value)).unwrap_or_default() {
        match values::rule(text.text) {
            Ok(false) => {}
            Ok(true) if rules.is_empty() => reader.problems.warning(
                &text.span,
                format!("the rule `{}` leaves out everything", text.text.escape_debug()),
            ),
            Ok(true) => {}
            Err(why) => reader.problems.error(&text.span, why),
        }
        rules.push(text.text.to_owned());
    }
    rules
}

fn hooks(reader: &mut Reader<'_>, place: &str, value: Option<&Value<'_>>) -> Vec<Hook> {
    let mut hooks = Vec::new();
    for item in value.map(|value| reader.array(value)).unwrap_or_default() {
        let Some(table) = reader.table(
            item,
            &format!("on-change of {place}"),
            &["match", "run", "settle"],
        ) else {
            continue;
        };
        let pattern = get(table, "match").and_then(|value| reader.text(value));
        let run: Vec<String> = get(table, "run")
            .map(|value| reader.texts(value))
            .unwrap_or_default()
            .into_iter()
            .map(|text| text.text.to_owned())
            .collect();
        let settle = get(table, "settle").and_then(|value| reader.parsed(value, duration));
        if run.is_empty() {
            reader
                .problems
                .error(&item.span(), "a hook needs run = [\"PROGRAM\", \"ARGUMENT\", …]");
        }
        hooks.push(Hook {
            pattern: pattern.map_or("**", |text| text.text).to_owned(),
            run,
            settle: settle.unwrap_or(Duration::from_secs(1)),
        });
    }
    hooks
}

fn rights(
    reader: &mut Reader<'_>,
    value: Option<&Value<'_>>,
) -> BTreeMap<String, crate::config::settings::Right> {
    let mut rights = BTreeMap::new();
    for (node, right) in value
        .and_then(|value| reader.any_table(value))
        .into_iter()
        .flatten()
    {
        if let Some(right) = reader.parsed(right, values::right) {
            rights.insert(node.get_ref().to_string(), right);
        }
    }
    rights
}

fn networks(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<crate::config::settings::Network> {
    let mut networks = Vec::new();
    for text in reader.text_or_texts(value) {
        match values::network(text.text) {
            Ok(network) => networks.push(network),
            Err(why) => reader.problems.error(&text.span, why),
        }
    }
    networks
}

fn limits(reader: &mut Reader<'_>, place: &str, value: Option<&Value<'_>>) -> Limits {
    let known = &["connections", "rate", "timeout"];
    let Some(table) = value.and_then(|value| reader.table(value, &format!("limits of {place}"), known))
    else {
        return Limits::default();
    };
    let connections = get(table, "connections").and_then(|value| reader.number(value, 1..=10_000));
    Limits {
        connections: connections.and_then(|count| u32::try_from(count).ok()),
        rate: get(table, "rate").and_then(|value| reader.parsed(value, rate)),
        timeout: get(table, "timeout").and_then(|value| reader.parsed(value, timeout)),
    }
}

fn rate(text: &str) -> Result<u64, String> {
    match size(text) {
        Ok(bytes) if (1024..=1 << 40).contains(&bytes) => Ok(bytes),
        Ok(_) => Err(format!(
            "the rate `{text}` is out of range; wanted 1KiB to 1TiB in a second"
        )),
        Err(error) => Err(error.to_string()),
    }
}

fn timeout(text: &str) -> Result<Duration, String> {
    match duration(text) {
        Ok(time) if (1..=86_400).contains(&time.as_secs()) => Ok(time),
        Ok(_) => Err(format!("the timeout `{text}` is out of range; wanted 1s to 1d")),
        Err(error) => Err(error.to_string()),
    }
}

fn job(reader: &mut Reader<'_>, name: &str, span: &Range<usize>, value: &Value<'_>) -> Option<Job> {
    let place = format!("[job.{name}]");
    let table = reader.table(value, &place, JOB)?;
    let given: Vec<(JobKind, &Value<'_>)> = [
        (JobKind::Push, "push"),
        (JobKind::Pull, "pull"),
        (JobKind::Sync, "sync"),
    ]
    .into_iter()
    .filter_map(|(kind, key)| Some((kind, get(table, key)?)))
    .collect();
    let target = get(table, "to")
        .and_then(|value| reader.text(value))
        .map(|text| text.text.to_owned());
    if target.as_deref().is_none_or(str::is_empty) {
        reader
            .problems
            .error(span, format!("{place} has no target; add to = \"DEST\""));
    }
    let options = get(table, "options")
        .map(|value| reader.texts(value))
        .unwrap_or_default();
    let bwlimit = get(table, "bwlimit")
        .map(|value| windows(reader, &place, value))
        .unwrap_or_default();
    let filters = filters(reader, get(table, "filter"));
    let [(kind, sources)] = given.as_slice() else {
        reader.problems.error(
            span,
            format!("{place} needs one of push, pull and sync; it has {}", given.len()),
        );
        return None;
    };
    let sources = reader
        .text_or_texts(sources)
        .into_iter()
        .map(|text| text.text.to_owned())
        .collect();
    let options = options.into_iter().map(|text| text.text.to_owned()).collect();
    Some(Job {
        kind: *kind,
        sources,
        target: target?,
        options,
        filters,
        bwlimit,
    })
}

fn windows(reader: &mut Reader<'_>, place: &str, value: &Value<'_>) -> Vec<RateWindow> {
    if value.get_ref().as_str().is_some() {
        let all_day = reader.parsed(value, rate).map(|rate| RateWindow {
            rate,
            from: 0,
            to: 24 * 60,
        });
        return all_day.into_iter().collect();
    }
    let mut windows = Vec::new();
    for item in reader.array(value) {
        let Some(table) = reader.table(item, &format!("bwlimit of {place}"), &["rate", "from", "to"]) else {
            continue;
        };
        let rate = get(table, "rate").and_then(|value| reader.parsed(value, rate));
        let from = get(table, "from").and_then(|value| reader.parsed(value, values::time_of_day));
        let to = get(table, "to").and_then(|value| reader.parsed(value, values::time_of_day));
        match rate {
            Some(rate) => windows.push(RateWindow {
                rate,
                from: from.unwrap_or(0),
                to: to.unwrap_or(24 * 60),
            }),
            None if get(table, "rate").is_none() => {
                reader
                    .problems
                    .error(&item.span(), "a window needs rate = \"2MiB\"");
            }
            None => {}
        }
    }
    windows
}
