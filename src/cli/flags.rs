//! The flags of `push`, `pull`, `sync` and `diff`: one table of switches, one of valued flags. rsync's names.
//!
//! A flag's effect is a function on a [`Draft`]; effects are applied in the order of the command line, so that the
//! later flag wins and filters keep their order across all kinds.

use std::ffi::{OsStr, OsString};

use clap::parser::ArgMatches;
use clap::{Arg, ArgAction, Command};

use crate::cli::draft::{Draft, finish, max_delete, rate, side, size, timeout, utf8};
use crate::cli::failure::{Failure, Number};
use crate::engine::options::{FilterArg, Options};
use crate::rules::conflict::Policy;

/// A flag without a value, and with `--no-…`.
struct Switch {
    long: &'static str,
    short: Option<char>,
    help: &'static str,
    apply: fn(&mut Draft, bool),
}

/// A flag with a value.
struct Valued {
    long: &'static str,
    short: Option<char>,
    value: &'static str,
    help: &'static str,
    apply: fn(&mut Draft, &OsStr) -> Result<(), String>,
}

const fn on(long: &'static str, short: char, help: &'static str, apply: fn(&mut Draft, bool)) -> Switch {
    Switch { long, short: Some(short), help, apply }
}

const fn long(long: &'static str, help: &'static str, apply: fn(&mut Draft, bool)) -> Switch {
    Switch { long, short: None, help, apply }
}

const fn valued(
    long: &'static str,
    value: &'static str,
    help: &'static str,
    apply: fn(&mut Draft, &OsStr) -> Result<(), String>,
) -> Valued {
    Valued { long, short: None, value, help, apply }
}

const SWITCHES: &[Switch] = &[
    on("archive", 'a', "Archive mode: -rlptgoD, the default", |d, on| {
        for apply in ARCHIVE {
            apply(d, on);
        }
    }),
    on("recursive", 'r', "Descend into directories", |d, on| {
        d.recursive = on;
        d.options.preserve.recursive = on;
    }),
    on("links", 'l', "Copy symlinks as symlinks", |d, on| {
        d.options.preserve.links = on;
    }),
    on("perms", 'p', "Preserve permissions", |d, on| {
        d.options.preserve.perms = on;
    }),
    on("times", 't', "Preserve modification times", |d, on| {
        d.options.preserve.times = on;
    }),
    on("group", 'g', "Preserve the group", |d, on| {
        d.options.preserve.group = on;
    }),
    on("owner", 'o', "Preserve the owner (as root)", |d, on| {
        d.options.preserve.owner = on;
    }),
    Switch {
        long: "D",
        short: Some('D'),
        help: "Same as --devices --specials",
        apply: |d, on| {
            d.options.preserve.devices = on;
            d.options.preserve.specials = on;
        },
    },
    long("devices", "Preserve device files (as root)", |d, on| {
        d.options.preserve.devices = on;
    }),
    long("specials", "Preserve FIFOs and sockets", |d, on| {
        d.options.preserve.specials = on;
    }),
    long("numeric-ids", "Owners by number, not by name", |d, on| {
        d.options.preserve.numeric_ids = on;
    }),
    on("one-file-system", 'x', "Stay on one file system", |d, on| {
        d.options.select.one_file_system = on;
    }),
    on("update", 'u', "Skip what is newer at the destination", |d, on| {
        d.options.select.update = on;
    }),
    on("checksum", 'c', "Compare contents, not size and time", |d, on| {
        d.options.select.checksum = on;
    }),
    on("ignore-times", 'I', "Treat also what has equal size and time", |d, on| {
        d.options.select.ignore_times = on;
    }),
    long("size-only", "Equal size means equal", |d, on| {
        d.options.select.size_only = on;
    }),
    long("existing", "Make nothing new at the destination", |d, on| {
        d.options.select.existing = on;
    }),
    long("ignore-non-existing", "Same as --existing", |d, on| {
        d.options.select.existing = on;
    }),
    long("ignore-existing", "Leave what exists at the destination", |d, on| {
        d.options.select.ignore_existing = on;
    }),
    on("prune-empty-dirs", 'm', "Leave out directories that would be empty", |d, on| {
        d.options.select.prune_empty_dirs = on;
    }),
    on("from0", '0', "Lists and filter files are separated by NUL", |d, on| d.options.select.from0 = on),
    Switch {
        long: "F",
        short: Some('F'),
        help: "Obey .rsync-filter files; twice: and hide them",
        apply: per_directory,
    },
    long("delete", "Delete at the destination what the source has not", |d, on| {
        d.options.removal.delete = on;
    }),
    long("delete-excluded", "Delete there also what is excluded", |d, on| {
        d.options.removal.delete_excluded = on;
        d.options.removal.delete |= on;
    }),
    long("yes", "Let the run through the delete guard", |d, on| {
        d.options.removal.yes = on;
    }),
    on("backup", 'b', "Keep what is replaced or deleted", |d, on| {
        d.backup = on;
    }),
    on("dry-run", 'n', "Say what would be done, do nothing", |d, on| {
        d.options.dry_run = on;
    }),
    on("itemize-changes", 'i', "One line for each change; twice: for each entry", |d, on| {
        count(&mut d.options.telling.itemize, on);
    }),
    on("verbose", 'v', "Say more", |d, on| {
        count(&mut d.options.telling.verbose, on);
    }),
    on("quiet", 'q', "Say only what is wrong", |d, on| {
        d.options.telling.quiet = on;
    }),
    on("human-readable", 'h', "Numbers with units of 1000; twice: of 1024", |d, on| {
        count(&mut d.options.telling.human_readable, on);
    }),
    long("stats", "Say at the end how much was done", |d, on| {
        d.options.telling.stats = on;
    }),
    long("progress", "Show progress on a terminal", |d, on| {
        d.options.telling.progress = on;
    }),
    Switch {
        long: "P",
        short: Some('P'),
        help: "Same as --partial --progress",
        apply: |d, on| d.options.telling.progress = on,
    },
    long("json", "One JSON object on standard output", |d, on| {
        d.options.telling.json = on;
    }),
    long("raw-names", "File names as they are, unescaped", |d, on| {
        d.options.telling.raw_names = on;
    }),
    on(
        "whole-file",
        'W',
        "Send whole files, not only what differs (always so between local roots)",
        |d, on| {
            d.options.wire.whole = on;
        },
    ),
    on("compress", 'z', "Compress on the wire, the default (--no-compress)", |d, on| {
        d.options.wire.compress = on;
    }),
    // Changes nothing: what took its name stays, and nothing half-written is ever left.
    long("partial", "What was finished stays for the next run (always so)", |_, _| {}),
];

const ARCHIVE: &[fn(&mut Draft, bool)] = &[
    |d, on| d.options.preserve.recursive = on,
    |d, on| d.options.preserve.links = on,
    |d, on| d.options.preserve.perms = on,
    |d, on| d.options.preserve.times = on,
    |d, on| d.options.preserve.group = on,
    |d, on| d.options.preserve.owner = on,
    |d, on| d.options.preserve.devices = on,
    |d, on| d.options.preserve.specials = on,
];

const VALUED: &[Valued] = &[
    Valued {
        short: Some('f'),
        ..valued("filter", "RULE", "Add a filter rule", |d, text| filter(d, FilterArg::Rule(text.into())))
    },
    valued("exclude", "PATTERN", "Leave out what matches", |d, text| {
        filter(d, FilterArg::Exclude(text.into()))
    }),
    valued("include", "PATTERN", "Do not leave out what matches", |d, text| {
        filter(d, FilterArg::Include(text.into()))
    }),
    valued("exclude-from", "FILE", "Read exclude patterns from FILE", |d, text| {
        filter(d, FilterArg::ExcludeFrom(text.into()))
    }),
    valued("include-from", "FILE", "Read include patterns from FILE", |d, text| {
        filter(d, FilterArg::IncludeFrom(text.into()))
    }),
    valued("files-from", "FILE", "Treat only the paths listed in FILE", |d, text| {
        d.options.select.files_from = Some(text.into());
        Ok(())
    }),
    valued("max-size", "SIZE", "Leave out larger files", |d, text| {
        d.options.select.max_size = Some(size(text)?);
        Ok(())
    }),
    valued("min-size", "SIZE", "Leave out smaller files", |d, text| {
        d.options.select.min_size = Some(size(text)?);
        Ok(())
    }),
    valued("max-delete", "N|N%", "Delete nothing if it were more than this", |d, text| {
        d.options.removal.max_delete = Some(max_delete(text)?);
        Ok(())
    }),
    valued("backup-dir", "DIR", "Where to keep what is replaced; implies --backup", |d, text| {
        d.backup = true;
        d.backup_dir = Some(text.into());
        Ok(())
    }),
    valued("suffix", "SUFFIX", "End of the name of what is kept (~ without --backup-dir)", |d, text| {
        if text.as_encoded_bytes().contains(&b'/') {
            return Err("a suffix may not contain `/`".to_owned());
        }
        d.suffix = Some(text.into());
        Ok(())
    }),
    valued(
        "timeout",
        "SECONDS|DUR",
        "Give up when the peer gets nowhere for so long (60); 0: only when it is gone",
        |d, text| {
            d.options.wire.timeout = Some(timeout(text)?);
            Ok(())
        },
    ),
    valued(
        "bwlimit",
        "RATE",
        "Send no more than this in a second over the wire (KiB; K, M, G); 0 is all",
        |d, text| {
            d.options.wire.bwlimit = rate(text)?;
            Ok(())
        },
    ),
    valued("chmod", "CHANGES", "Change modes on the way", |d, text| {
        d.options.preserve.chmod.push(utf8(text)?.to_owned());
        Ok(())
    }),
    valued("chown", "USER:GROUP", "Map every owner and group", |d, text| {
        d.options.preserve.chown = Some(utf8(text)?.to_owned());
        Ok(())
    }),
    valued("usermap", "MAP", "Map owners", |d, text| {
        d.options.preserve.usermap = Some(utf8(text)?.to_owned());
        Ok(())
    }),
    valued("groupmap", "MAP", "Map groups", |d, text| {
        d.options.preserve.groupmap = Some(utf8(text)?.to_owned());
        Ok(())
    }),
    valued("conflict", "POLICY", "sync: which content stays when both sides changed it", |d, text| {
        let name = utf8(text)?;
        d.options.conflict = Policy::parse(name).ok_or_else(|| format!("wanted one of {}", Policy::NAMES))?;
        Ok(())
    }),
    valued("force", "1|2", "sync: this side wins, the other's content is kept", |d, text| {
        d.options.force = Some(side(text)?);
        Ok(())
    }),
];

/// Adds every flag of the tables to `command`.
#[must_use]
pub fn declare(mut command: Command) -> Command {
    for switch in SWITCHES {
        let mut on = event(switch.long).help(switch.help);
        let mut off = event(&negation(switch.long)).hide(true);
        if switch.long.len() > 1 {
            on = on.long(switch.long);
        }
        if let Some(short) = switch.short {
            on = on.short(short);
            if switch.long.len() > 1 {
                off = off.alias(format!("no-{short}"));
            }
        }
        command = command.arg(on).arg(off.long(negation(switch.long)));
    }
    for flag in VALUED {
        let arg = Arg::new(flag.long)
            .long(flag.long)
            .value_name(flag.value)
            .help(flag.help)
            .action(ArgAction::Append)
            .allow_hyphen_values(true)
            .value_parser(clap::value_parser!(OsString));
        command = command.arg(match flag.short {
            Some(short) => arg.short(short),
            None => arg,
        });
    }
    command
}

/// A flag without a value of which every occurrence keeps its place in the command line.
fn event(id: &str) -> Arg {
    Arg::new(id.to_owned()).num_args(0).action(ArgAction::Append).default_missing_value("")
}

fn negation(long: &str) -> String {
    format!("no-{long}")
}

/// Returns archive mode changed by the flags in `matches`, in the order of the command line.
///
/// # Errors
/// A value is wrong, or two flags exclude each other.
pub fn options(matches: &ArgMatches) -> Result<Options, Failure> {
    let mut draft = Draft {
        options: Options::archive(),
        recursive: false,
        backup: false,
        backup_dir: None,
        suffix: None,
    };
    let mut events: Vec<(usize, Event<'_>)> = Vec::new();
    for switch in SWITCHES {
        for (id, on) in [(switch.long.to_owned(), true), (negation(switch.long), false)] {
            events.extend(
                matches.indices_of(&id).into_iter().flatten().map(|at| (at, Event::Switch(switch, on))),
            );
        }
    }
    for flag in VALUED {
        let indices = matches.indices_of(flag.long).into_iter().flatten();
        let values = matches.get_many::<OsString>(flag.long).into_iter().flatten();
        events.extend(indices.zip(values).map(|(at, value)| (at, Event::Valued(flag, value))));
    }
    events.sort_by_key(|(at, _)| *at);
    for (_, event) in events {
        match event {
            Event::Switch(switch, on) => (switch.apply)(&mut draft, on),
            Event::Valued(flag, value) => (flag.apply)(&mut draft, value).map_err(|why| {
                let shown = crate::model::path::escape(value.as_encoded_bytes());
                Failure::usage(Number::Value, format!("--{} {shown}: {why}", flag.long))
                    .fix(format!("write --{} {}; csync VERB --help lists the flags", flag.long, flag.value))
            })?,
        }
    }
    finish(draft)
}

enum Event<'a> {
    Switch(&'static Switch, bool),
    Valued(&'static Valued, &'a OsString),
}

fn count(level: &mut u8, on: bool) {
    *level = if on { level.saturating_add(1) } else { 0 };
}

fn per_directory(draft: &mut Draft, on: bool) {
    let filters = &mut draft.options.select.filters;
    if !on {
        filters.retain(|arg| !matches!(arg, FilterArg::PerDirectory | FilterArg::HidePerDirectory));
    } else if filters.contains(&FilterArg::PerDirectory) {
        if !filters.contains(&FilterArg::HidePerDirectory) {
            filters.push(FilterArg::HidePerDirectory);
        }
    } else {
        filters.push(FilterArg::PerDirectory);
    }
}

fn filter(draft: &mut Draft, arg: FilterArg) -> Result<(), String> {
    draft.options.select.filters.push(arg);
    Ok(())
}
