//! What is told of a run at its end: a line, rsync's `--stats` block, or one JSON object.

use serde_json::{Value, json};

use crate::cli::failure::{Exit, Failure, Number};
use crate::cli::render::Screen;
use crate::engine::options::Telling;
use crate::engine::report::{Held, LeftOut, Report, Tally};
use crate::model::path::escape;

/// The version of every JSON object that csync prints.
pub const SCHEMA: u32 = 1;

/// Tells the end of a run and returns what the process shall end with. `verb` is `push`, `pull` or `sync`, with ` -n` for a dry run.
///
/// # Errors
/// Standard output failed.
pub fn tell(verb: &str, report: &Report, telling: Telling, screen: &mut Screen) -> std::io::Result<Exit> {
    if telling.json {
        screen.out(format!("{}\n", json(report)).as_bytes())?;
    } else {
        if telling.stats {
            screen.out(stats(report, telling.human_readable).as_bytes())?;
        } else if !telling.quiet && telling.itemize == 0 {
            screen.out(format!("{}\n", line(verb, report)).as_bytes())?;
        }
        for skipped in &report.skipped {
            screen.message(&format!("skipped  {}  {}", skipped.path, skipped.why));
        }
        for conflict in &report.conflicts {
            screen.message(&format!(
                "conflict {}  {}  {}",
                escape(conflict.id.as_bytes()),
                conflict.path,
                conflict.note
            ));
        }
    }
    for warning in warnings(report) {
        screen.message(&warning);
    }
    if let Some(held) = report.held {
        screen.failure(&held_failure(verb, held));
    }
    Ok(Exit::of(report))
}

/// Returns the failure of a run of `verb` that the delete guard stopped.
#[must_use]
pub fn held_failure(verb: &str, held: Held) -> Failure {
    let what = if verb.starts_with("sync") { "one of the roots" } else { "the destination" };
    let Held { deletes, of, limit, empties } = held;
    let (deletes, of, limit) = (grouped(deletes), grouped(of), grouped(limit));
    if empties {
        let message = format!(
            "this run would empty {what}: it would delete all of its {of} entries, \
             which is held whatever the bound. Nothing was deleted"
        );
        return Failure::new(Exit::Held, Number::Held, message)
            .fix("check that the source is mounted and the right one; --yes lets it through, but never in a peer's folder");
    }
    let message = format!(
        "this run would delete {deletes} of {of} entries; more than {limit} are held. Nothing was deleted"
    );
    Failure::new(Exit::Held, Number::Held, message)
        .fix("look with -n -i --yes; then --yes lets it through, and --max-delete N sets another bound")
}

fn warnings(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    if !report.skipped.is_empty() && report.troubles.partial {
        lines.push(format!("warning: {} could not be treated (exit 23)", paths(report.skipped.len())));
    }
    lines.extend(left_out(&report.untaken, "no peer is trusted with them here; chmod sets them by hand"));
    lines.extend(left_out(&report.unsent, "the peer takes them only with trust = \"root\" in its folder"));
    if report.troubles.vanished {
        lines.push("warning: some source entries vanished while they were read".to_owned());
    }
    if report.conflicts_open > 0 {
        lines.push(format!(
            "note: {} still open from earlier runs; csync conflicts lists them",
            conflicts(report.conflicts_open)
        ));
    }
    lines
}

/// Returns the line about set-id bits that were left out, and why.
fn left_out(files: &LeftOut, why: &str) -> Option<String> {
    let first = files.first.as_ref()?;
    let more = match files.count.saturating_sub(1) {
        0 => String::new(),
        more => format!(" and {} more", grouped(more)),
    };
    Some(format!("warning: the set-id bits of {first}{more} were left out: {why}"))
}

fn paths(count: usize) -> String {
    if count == 1 { "1 path".to_owned() } else { format!("{count} paths") }
}

fn conflicts(count: u64) -> String {
    if count == 1 { "1 conflict is".to_owned() } else { format!("{count} conflicts are") }
}

/// Returns the one line that sums up a run.
#[must_use]
pub fn line(verb: &str, report: &Report) -> String {
    let past = match verb {
        "push" => "pushed",
        "pull" => "pulled",
        "push -n" => "would push",
        "pull -n" => "would pull",
        "sync -n" => "would sync",
        _ => "synced",
    };
    let mut parts = vec![format!(
        "{past} {} files, {} in {:.1} s",
        grouped(report.transferred),
        size(report.bytes_transferred),
        report.seconds
    )];
    let counts = [
        ("created", report.created.total()),
        ("updated", report.updated),
        ("deleted", report.deleted.total()),
        ("renamed", report.renamed),
        ("conflicts", report.conflicts.len() as u64),
        ("skipped", report.skipped.len() as u64),
    ];
    parts.extend(
        counts
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(word, count)| format!("{word} {}", grouped(count))),
    );
    parts.join("; ")
}

/// Returns the summary object of a run.
#[must_use]
pub fn json(report: &Report) -> Value {
    let skipped: Vec<Value> = report
        .skipped
        .iter()
        .map(|skipped| json!({ "path": escape(skipped.path.as_bytes()), "why": skipped.why }))
        .collect();
    json!({
        "schema": SCHEMA,
        "files": report.seen.files,
        "created": report.created.total(),
        "updated": report.updated,
        "deleted": report.deleted.total(),
        "renamed": report.renamed,
        "conflicts": report.conflicts.len(),
        "held": report.held.map_or(0, |held| held.deletes),
        "skipped": skipped,
        "bytes_total": report.bytes_total,
        "bytes_transferred": report.bytes_transferred,
        "bytes_sent": report.bytes_sent,
        "bytes_received": report.bytes_received,
        "seconds": report.seconds,
    })
}

/// Returns rsync's `--stats` block; lines whose numbers csync does not have are left out.
#[must_use]
pub fn stats(report: &Report, human_readable: u8) -> String {
    let number = |count| number(count, human_readable);
    let rate = if report.seconds > 0.0 {
        (report.bytes_sent + report.bytes_received) as f64 / report.seconds
    } else {
        0.0
    };
    let moved = report.bytes_sent + report.bytes_received;
    let speedup = if moved > 0 { report.bytes_total as f64 / moved as f64 } else { 0.0 };
    [
        String::new(),
        format!("Number of files: {}", tally(&report.seen, number)),
        format!("Number of created files: {}", tally(&report.created, number)),
        format!("Number of deleted files: {}", tally(&report.deleted, number)),
        format!("Number of regular files transferred: {}", number(report.transferred)),
        format!("Total file size: {} bytes", number(report.bytes_total)),
        format!("Total transferred file size: {} bytes", number(report.bytes_transferred)),
        format!("Literal data: {} bytes", number(report.bytes_transferred)),
        format!("Matched data: {} bytes", number(0)),
        format!("Total bytes sent: {}", number(report.bytes_sent)),
        format!("Total bytes received: {}", number(report.bytes_received)),
        String::new(),
        format!(
            "sent {} bytes  received {} bytes  {rate:.2} bytes/sec",
            number(report.bytes_sent),
            number(report.bytes_received)
        ),
        format!("total size is {}  speedup is {speedup:.2}", number(report.bytes_total)),
        String::new(),
    ]
    .join("\n")
}

fn tally(tally: &Tally, number: impl Fn(u64) -> String) -> String {
    let kinds = [
        ("reg", tally.files),
        ("dir", tally.dirs),
        ("link", tally.links),
        ("dev", tally.devices),
        ("special", tally.specials),
    ];
    let parts: Vec<String> = kinds
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(word, count)| format!("{word}: {}", number(count)))
        .collect();
    if parts.is_empty() {
        number(tally.total())
    } else {
        format!("{} ({})", number(tally.total()), parts.join(", "))
    }
}

/// Returns `count` as rsync writes it at this level of `-h`: 0 with commas, 1 in thousands, 2 in 1024s.
#[must_use]
pub fn number(count: u64, human_readable: u8) -> String {
    let base = match human_readable {
        0 => return grouped(count),
        1 => 1000,
        _ => 1024,
    };
    scaled(count, base, &["K", "M", "G", "T", "P"]).unwrap_or_else(|| grouped(count))
}

/// Returns a size for people: `17 B`, `2.16 GiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    scaled(bytes, 1024, &[" KiB", " MiB", " GiB", " TiB", " PiB"]).unwrap_or_else(|| format!("{bytes} B"))
}

/// Returns `count` in the largest unit it reaches, two decimals; `None` below the first unit.
fn scaled(count: u64, base: u64, units: &[&str]) -> Option<String> {
    let mut unit_size = 1_u64;
    let mut best = None;
    for unit in units {
        unit_size = unit_size.checked_mul(base)?;
        if count < unit_size {
            break;
        }
        best = Some((unit_size, *unit));
    }
    let (unit_size, unit) = best?;
    let hundredths = (u128::from(count) * 100 + u128::from(unit_size / 2)) / u128::from(unit_size);
    Some(format!("{}.{:02}{unit}", hundredths / 100, hundredths % 100))
}

/// Returns `count` with a comma every three digits.
#[must_use]
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::report::Skipped;
    use crate::model::path::RelPath;

    #[test]
    fn numbers_are_written_as_rsync_writes_them() {
        for (count, level, text) in [
            (0, 0, "0"),
            (999, 0, "999"),
            (1000, 0, "1,000"),
            (1_234_567, 0, "1,234,567"),
            (999, 1, "999"),
            (1_234_567, 1, "1.23M"),
            (1_048_576, 2, "1.00M"),
        ] {
            assert_eq!(number(count, level), text);
        }
        assert_eq!(size(17), "17 B");
        assert_eq!(size(2_319_282_339), "2.16 GiB");
        assert_eq!(size(u64::MAX), "16384.00 PiB");
    }

    #[test]
    fn the_summary_object_has_every_field_of_the_contract() {
        let report = Report {
            skipped: vec![Skipped { path: RelPath::new(b"a\nb").unwrap(), why: "no".to_owned() }],
            held: Some(Held { deletes: 7, of: 9, limit: 5, empties: false }),
            ..Report::default()
        };
        let value = json(&report);
        let mut keys: Vec<&String> = value.as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(
            keys,
            [
                "bytes_received",
                "bytes_sent",
                "bytes_total",
                "bytes_transferred",
                "conflicts",
                "created",
                "deleted",
                "files",
                "held",
                "renamed",
                "schema",
                "seconds",
                "skipped",
                "updated"
            ]
        );
        assert_eq!(value["skipped"][0]["path"], "a\\#012b");
        assert_eq!(value["held"], 7);
        assert_eq!(value["schema"], 1);
    }

    #[test]
    fn stats_count_by_kind() {
        let report = Report {
            seen: Tally { files: 3, dirs: 2, ..Tally::default() },
            bytes_total: 12,
            bytes_sent: 6,
            seconds: 2.0,
            ..Report::default()
        };
        let text = stats(&report, 0);
        assert!(text.contains("\nNumber of files: 5 (reg: 3, dir: 2)\n"), "{text}");
        assert!(text.contains("\nNumber of deleted files: 0\n"), "{text}");
        assert!(text.ends_with("3.00 bytes/sec\ntotal size is 12  speedup is 2.00\n"), "{text}");
    }

    #[test]
    fn a_held_run_says_how_many_of_how_many() {
        let text =
            held_failure("sync", Held { deletes: 1204, of: 2000, limit: 500, empties: false }).to_string();
        assert!(text.starts_with("error[E073]: ") && text.contains("1,204 of 2,000"), "{text}");
        assert!(text.contains("--yes"), "{text}");
    }
}
