//! The `[folder.NAME]` tables.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use crate::config::quantity::{duration, percent, size};
use crate::config::reader::{Places, Reader, Value, get};
use crate::config::settings::{
    Bound, Conflict, Deletes, Folder, Hook, Keep, Limits, Network, OwnerRule, PerMember, Right, Versions,
};
use crate::config::values;

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

/// Returns the folder `name` at `span`; `None` if it is no table.
pub fn folder(
    reader: &mut Reader<'_>,
    name: &str,
    span: &Range<usize>,
    value: &Value<'_>,
    places: &mut Places,
) -> Option<Folder> {
    let place = format!("[folder.{name}]");
    let table = reader.table(value, &place, FOLDER)?;
    let mut members = Vec::new();
    for member in get(table, "members").map(|value| reader.texts(value)).unwrap_or_default() {
        places.members.insert((name.to_owned(), member.text.to_owned()), member.span);
        members.push(member.text.to_owned());
    }
    for key in ["path", "mode", "allow"] {
        let nodes = get(table, key).and_then(|value| value.get_ref().as_table());
        for (node, _) in nodes.into_iter().flatten().filter(|(node, _)| node.get_ref() != "*") {
            places.named.insert((name.to_owned(), key, node.get_ref().to_string()), node.span());
        }
    }
    let path = roots(reader, name, span, get(table, "path"), places);
    let parsed_or =
        |reader: &mut Reader<'_>, key: &str| get(table, key).map(|value| (value, reader.text(value)));
    let comment = parsed_or(reader, "comment").and_then(|(_, text)| text).map(|text| text.text.to_owned());
    Some(Folder {
        members,
        path,
        mode: get(table, "mode").map(|value| per_member(reader, value, values::mode)).unwrap_or_default(),
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
        hosts: get(table, "hosts").map(|value| networks(reader, value)).unwrap_or_default(),
        limits: limits(reader, &place, get(table, "limits")),
        trust_root: get(table, "trust").is_some_and(|value| {
            let read = |text: &str| {
                if text == "root" { Ok(()) } else { Err("trust has only one value, \"root\"") }
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
        reader.problems.error(span, format!("[folder.{folder}] has no path; add path = \"/the/root\""));
        return PerMember::default();
    };
    if let Some(table) = value.get_ref().as_table() {
        for (member, root) in table {
            places.roots.insert((folder.to_owned(), member.get_ref().to_string()), root.span());
        }
    } else {
        places.roots.insert((folder.to_owned(), "*".to_owned()), value.span());
    }
    per_member(reader, value, |text| {
        if !text.starts_with('/') {
            return Err(format!("the root `{}` is relative; wanted an absolute path", text.escape_debug()));
        }
        if text.contains('\0') || text.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(format!("the root `{}` has a `.` or `..`; write it without", text.escape_debug()));
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
        return PerMember { others: reader.parsed(value, read), named: BTreeMap::new() };
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
    let propagate =
        table.and_then(|table| get(table, "propagate")).and_then(|value| reader.flag(value)).unwrap_or(true);
    let hold_above = table.and_then(|table| get(table, "hold-above")).and_then(|value| {
        if value.get_ref().is_integer() {
            reader.number(value, 0..=u64::MAX).map(Bound::Count)
        } else {
            reader.parsed(value, percent).map(Bound::Percent)
        }
    });
    Deletes { propagate, hold_above }
}

fn versions(reader: &mut Reader<'_>, place: &str, value: Option<&Value<'_>>) -> Versions {
    let default = || Versions {
        keep: vec![Keep::Within(Duration::from_secs(30 * 86_400))],
        max: Some(Bound::Percent(10)),
    };
    let Some(value) = value else { return default() };
    if value.get_ref().as_bool() == Some(false) {
        return Versions { keep: Vec::new(), max: None };
    }
    let Some(table) = reader.table(value, &format!("versions of {place}"), &["keep", "max"]) else {
        return default();
    };
    let keep = get(table, "keep").and_then(|value| reader.parsed(value, values::keep));
    let max = get(table, "max").and_then(|value| reader.parsed(value, values::size_or_percent));
    Versions { keep: keep.unwrap_or_else(|| default().keep), max: max.or_else(|| default().max) }
}

/// Returns filter rules, with unclosed brackets as errors and a first rule that leaves out everything as a warning.
pub fn filters(reader: &mut Reader<'_>, value: Option<&Value<'_>>) -> Vec<String> {
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
        let Some(table) = reader.table(item, &format!("on-change of {place}"), &["match", "run", "settle"])
        else {
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
            reader.problems.error(&item.span(), "a hook needs run = [\"PROGRAM\", \"ARGUMENT\", …]");
        }
        hooks.push(Hook {
            pattern: pattern.map_or("**", |text| text.text).to_owned(),
            run,
            settle: settle.unwrap_or(Duration::from_secs(1)),
        });
    }
    hooks
}

fn rights(reader: &mut Reader<'_>, value: Option<&Value<'_>>) -> BTreeMap<String, Right> {
    let mut rights = BTreeMap::new();
    for (node, right) in value.and_then(|value| reader.any_table(value)).into_iter().flatten() {
        if let Some(right) = reader.parsed(right, values::right) {
            rights.insert(node.get_ref().to_string(), right);
        }
    }
    rights
}

fn networks(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<Network> {
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

/// Returns bytes in a second.
///
/// # Errors
/// The text is no size, or out of range.
pub fn rate(text: &str) -> Result<u64, String> {
    match size(text) {
        Ok(bytes) if (1024..=1 << 40).contains(&bytes) => Ok(bytes),
        Ok(_) => Err(format!("the rate `{text}` is out of range; wanted 1KiB to 1TiB in a second")),
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
