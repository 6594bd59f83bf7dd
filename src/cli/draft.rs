//! Options while flags are being applied, the checks at their end, and the values of flags.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::failure::{Failure, Number};
use crate::config::quantity;
use crate::engine::options::{Backup, MaxDelete, Options};
use crate::rules::conflict::{Policy, Side};

/// Longer than any run takes, and short enough to be added to any moment.
const FOREVER: Duration = Duration::from_hours(1_000_000);
/// The slowest rate of `--bwlimit`, in bytes, as in rsync.
const RATE_MIN: u64 = 1024;

/// Options while flags are being applied.
#[derive(Debug)]
pub struct Draft {
    /// What the flags so far come to.
    pub options: Options,
    /// `-r` by itself: `--files-from` takes it out of archive mode.
    pub recursive: bool,
    /// `--backup`.
    pub backup: bool,
    /// `--backup-dir`.
    pub backup_dir: Option<PathBuf>,
    /// `--suffix`.
    pub suffix: Option<OsString>,
}

/// Returns the options, checked for what only the whole command line can tell.
///
/// # Errors
/// Two flags exclude each other.
pub fn finish(draft: Draft) -> Result<Options, Failure> {
    let Draft { mut options, recursive, backup, backup_dir, suffix } = draft;
    let both = |one: &str, two: &str, why: &str| {
        Failure::usage(Number::Conflicting, format!("{one} and {two} exclude each other: {why}"))
            .fix(format!("leave out {one} or {two}"))
    };
    let preserve = &options.preserve;
    for (map, name) in [(&preserve.usermap, "--usermap"), (&preserve.groupmap, "--groupmap")] {
        if preserve.chown.is_some() && map.is_some() {
            return Err(both("--chown", name, "both say who shall own"));
        }
    }
    let listed = options.select.files_from.is_some() && !recursive;
    if options.removal.delete && (listed || !preserve.recursive) {
        let flat = if listed { "--files-from without -r" } else { "--no-recursive" };
        return Err(both("--delete", flat, "deleting needs the whole tree"));
    }
    if options.force.is_some() && options.conflict != Policy::default() {
        return Err(both("--force", "--conflict", "with --force one side always wins"));
    }
    if options.telling.json && options.telling.raw_names {
        return Err(both("--json", "--raw-names", "JSON must be UTF-8"));
    }
    if let (Some(min), Some(max)) = (options.select.min_size, options.select.max_size)
        && min > max
    {
        return Err(both("--min-size", "--max-size", "no file is that small and that large"));
    }
    options.preserve.recursive &= !listed;
    if backup {
        let suffix = suffix.unwrap_or_else(|| if backup_dir.is_some() { "".into() } else { "~".into() });
        if suffix.is_empty() && backup_dir.is_none() {
            return Err(Failure::usage(Number::Value, "--suffix may be empty only with --backup-dir")
                .fix("give --suffix SUFFIX or --backup-dir DIR"));
        }
        options.removal.backup = Some(Backup { dir: backup_dir, suffix });
    }
    Ok(options)
}

/// Returns a value as text.
///
/// # Errors
/// Says what was wanted.
pub fn utf8(text: &OsStr) -> Result<&str, String> {
    text.to_str().ok_or_else(|| "not UTF-8".to_owned())
}

/// Returns the bytes that a size means.
///
/// # Errors
/// Says what was wanted.
pub fn size(text: &OsStr) -> Result<u64, String> {
    quantity::size(utf8(text)?).map_err(|error| error.to_string())
}

/// Returns how long a peer may be silent: seconds, or a duration with its unit; longer than any run for 0.
///
/// # Errors
/// Says what was wanted.
pub fn timeout(text: &OsStr) -> Result<Duration, String> {
    let text = utf8(text)?;
    let time = match text.parse::<u32>() {
        Ok(seconds) => Duration::from_secs(seconds.into()),
        Err(_no_number) => quantity::duration(text).map_err(|error| error.to_string())?,
    };
    match time.as_millis() {
        0 => Ok(FOREVER),
        1..1000 => Err("wanted a second or more, or 0 for no limit".to_owned()),
        _ => Ok(time.min(FOREVER)),
    }
}

/// Returns bytes in a second, in rsync's units: KiB where none is named; `None` for 0.
///
/// # Errors
/// Says what was wanted.
pub fn rate(text: &OsStr) -> Result<Option<u64>, String> {
    let text = utf8(text)?;
    let bare = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let unit = if bare { "K" } else { "" };
    match quantity::size(&format!("{text}{unit}")).map_err(|error| error.to_string())? {
        0 => Ok(None),
        1..RATE_MIN => Err("slower than 1K in a second; wanted more, or 0 for no limit".to_owned()),
        rate => Ok(Some(rate)),
    }
}

/// Returns the bound that `--max-delete` sets.
///
/// # Errors
/// Says what was wanted.
pub fn max_delete(text: &OsStr) -> Result<MaxDelete, String> {
    let text = utf8(text)?;
    if text.ends_with('%') {
        return quantity::percent(text).map(MaxDelete::Percent).map_err(|error| error.to_string());
    }
    text.parse()
        .map(MaxDelete::Count)
        .map_err(|_ignored| "wanted a number of entries, or N% with N from 0 to 100".to_owned())
}

/// Returns the side that `1` or `2` means.
///
/// # Errors
/// Says what was wanted.
pub fn side(text: &OsStr) -> Result<Side, String> {
    match text.as_encoded_bytes() {
        b"1" => Ok(Side::One),
        b"2" => Ok(Side::Two),
        _ => Err("wanted 1 (the first root wins) or 2; rsync's --force is not needed here".to_owned()),
    }
}
