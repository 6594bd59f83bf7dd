//! The `[job.NAME]` tables.

use std::ops::Range;

use crate::config::folder::{filters, rate};
use crate::config::reader::{Reader, Value, get};
use crate::config::settings::{Job, JobKind, RateWindow};
use crate::config::values;

const JOB: &[&str] = &["push", "pull", "sync", "to", "options", "filter", "bwlimit"];

/// Returns the job `name` at `span`; `None` if it says not what to do.
pub fn job(reader: &mut Reader<'_>, name: &str, span: &Range<usize>, value: &Value<'_>) -> Option<Job> {
    let place = format!("[job.{name}]");
    let table = reader.table(value, &place, JOB)?;
    let given: Vec<(JobKind, &Value<'_>)> =
        [(JobKind::Push, "push"), (JobKind::Pull, "pull"), (JobKind::Sync, "sync")]
            .into_iter()
            .filter_map(|(kind, key)| Some((kind, get(table, key)?)))
            .collect();
    let target = get(table, "to").and_then(|value| reader.text(value)).map(|text| text.text.to_owned());
    if target.as_deref().is_none_or(str::is_empty) {
        reader.problems.error(span, format!("{place} has no target; add to = \"DEST\""));
    }
    let options = get(table, "options").map(|value| reader.texts(value)).unwrap_or_default();
    let bwlimit = get(table, "bwlimit").map(|value| windows(reader, &place, value)).unwrap_or_default();
    let filters = filters(reader, get(table, "filter"));
    let [(kind, sources)] = given.as_slice() else {
        reader
            .problems
            .error(span, format!("{place} needs one of push, pull and sync; it has {}", given.len()));
        return None;
    };
    let sources = reader.text_or_texts(sources).into_iter().map(|text| text.text.to_owned()).collect();
    let options = options.into_iter().map(|text| text.text.to_owned()).collect();
    Some(Job { kind: *kind, sources, target: target?, options, filters, bwlimit })
}

fn windows(reader: &mut Reader<'_>, place: &str, value: &Value<'_>) -> Vec<RateWindow> {
    if value.get_ref().as_str().is_some() {
        let all_day = reader.parsed(value, rate).map(|rate| RateWindow { rate, from: 0, to: 24 * 60 });
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
            Some(rate) => {
                windows.push(RateWindow { rate, from: from.unwrap_or(0), to: to.unwrap_or(24 * 60) });
            }
            None if get(table, "rate").is_none() => {
                reader.problems.error(&item.span(), "a window needs rate = \"2MiB\"");
            }
            None => {}
        }
    }
    windows
}
