//! What is recognised and refused: flags and verbs of later versions, and rsync's flags that csync never has.
//!
//! A flag is never ignored: who wrote it relies on it.

use clap::parser::ArgMatches;
use clap::{Arg, ArgAction, Command};

use crate::cli::failure::{Failure, Number};

/// A flag that is refused by name.
struct Refused {
    long: &'static str,
    short: Option<char>,
    takes_value: bool,
    instead: Instead,
}

/// What to tell who uses a refused flag.
enum Instead {
    /// A later version has it.
    Later,
    /// csync never has it; this is what to do.
    Use(&'static str),
}

const fn later(long: &'static str, short: Option<char>, takes_value: bool) -> Refused {
    Refused { long, short, takes_value, instead: Instead::Later }
}

const fn never(long: &'static str, short: Option<char>, takes_value: bool, instead: &'static str) -> Refused {
    Refused { long, short, takes_value, instead: Instead::Use(instead) }
}

const AFTER: &str = "use --delete; csync deletes after everything else has been written";
const DELTA: &str = "leave it out; csync chooses it";
const BASIS: &str = "use --keep to keep old versions (in a later version), or --backup --backup-dir DIR";
const SYMLINKS: &str = "leave it out; csync never follows a symlink below a root";
const WIRE: &str = "leave it out; it is for rsync's own wire and daemon";

const REFUSED: &[Refused] = &[
    later("hard-links", Some('H'), false),
    later("acls", Some('A'), false),
    later("xattrs", Some('X'), false),
    later("sparse", Some('S'), false),
    later("relative", Some('R'), false),
    later("copy-links", Some('L'), false),
    later("rsh", Some('e'), true),
    later("keep", None, true),
    later("mkpath", None, false),
    later("remove-source-files", None, false),
    later("ask", None, false),
    later("wait", None, false),
    later("metrics-file", None, true),
    later("json-lines", None, false),
    never("link-dest", None, true, BASIS),
    never("copy-dest", None, true, BASIS),
    never("compare-dest", None, true, BASIS),
    never(
        "inplace",
        None,
        false,
        "leave it out; csync replaces a file whole, so that nobody reads a torn one",
    ),
    never("append", None, false, "leave it out; csync replaces a file whole"),
    never("append-verify", None, false, "leave it out; csync replaces a file whole"),
    never("partial-dir", None, true, "leave it out; csync stages in DEST/.csync"),
    never("temp-dir", Some('T'), true, "leave it out; csync stages in DEST/.csync"),
    never("delay-updates", None, false, "leave it out; every file is replaced at once"),
    never("fsync", None, false, "leave it out; csync always flushes to disk"),
    never("preallocate", None, false, DELTA),
    never("del", None, false, AFTER),
    never("delete-before", None, false, AFTER),
    never("delete-during", None, false, AFTER),
    never("delete-delay", None, false, AFTER),
    never("delete-after", None, false, AFTER),
    never("delete-missing-args", None, false, "name only sources that exist"),
    never("ignore-missing-args", None, false, "name only sources that exist"),
    never("ignore-errors", None, false, "mend the read errors first; csync never deletes after one"),
    never("fuzzy", Some('y'), false, "leave it out; csync finds renamed files by itself"),
    never("inc-recursive", None, false, "leave it out; csync always streams"),
    never("no-inc-recursive", None, false, "leave it out; csync always streams"),
    never("dirs", Some('d'), false, "use --no-recursive, or a filter such as `- /*/*`"),
    never("old-dirs", None, false, "use --no-recursive, or a filter such as `- /*/*`"),
    never("no-implied-dirs", None, false, "leave it out; --relative comes in a later version"),
    never("copy-unsafe-links", None, false, SYMLINKS),
    never("safe-links", None, false, "exclude the links by a filter"),
    never("insecure-links", None, false, SYMLINKS),
    never("munge-links", None, false, "leave it out; csync never follows a symlink below a root"),
    never("confine-root", None, true, "leave it out; csync never leaves a root"),
    never("copy-dirlinks", Some('k'), false, SYMLINKS),
    never("keep-dirlinks", Some('K'), false, SYMLINKS),
    never("executability", Some('E'), false, "use --perms, or --chmod"),
    never("copy-devices", None, false, "read the device with dd"),
    never("write-devices", None, false, "write the device with dd"),
    never("drop-D", None, false, "use --no-D"),
    never("atimes", Some('U'), false, "leave it out; access times are not kept"),
    never("open-noatime", None, false, "leave it out; mount with noatime"),
    never("crtimes", Some('N'), false, "leave it out; birth times cannot be set"),
    never("omit-dir-times", Some('O'), false, "use --no-times"),
    never("omit-link-times", Some('J'), false, "use --no-times"),
    never("super", None, false, "run csync as root"),
    never("fake-super", None, false, "use --numeric-ids as root, or --no-owner --no-group"),
    never("copy-as", None, true, "run csync as that user"),
    never("checksum-choice", None, true, "leave it out; csync always uses BLAKE3"),
    never("checksum-seed", None, true, "leave it out; csync always uses BLAKE3"),
    never("block-size", Some('B'), true, DELTA),
    never("compress-choice", None, true, DELTA),
    never("compress-level", None, true, DELTA),
    never("compress-threads", None, true, DELTA),
    never("skip-compress", None, true, DELTA),
    never("max-alloc", None, true, "leave it out; csync's memory is bounded"),
    never("modify-window", Some('@'), true, "leave it out; coarse time stamps are recognised"),
    never("cvs-exclude", Some('C'), false, "use --exclude-from FILE with the patterns you need"),
    never("list-only", None, false, "use --dry-run --itemize-changes"),
    never("out-format", None, true, "use --itemize-changes or --json"),
    never("log-file", None, true, "redirect the output: --itemize-changes >> FILE"),
    never("log-file-format", None, true, "use --itemize-changes or --json"),
    never("info", None, true, "use --progress, --stats or --verbose"),
    never("debug", None, true, "use --verbose"),
    never("stderr", None, true, "redirect standard error"),
    never("outbuf", None, true, "leave it out; lines are written as they come"),
    never("8-bit-output", Some('8'), false, "use --raw-names"),
    never("iconv", None, true, "leave it out; names are bytes and are never converted"),
    never("stop-after", None, true, "use timeout(1); a stopped run is safe and the next one goes on"),
    never("stop-at", None, true, "use timeout(1); a stopped run is safe and the next one goes on"),
    never("write-batch", None, true, "run csync once for each destination"),
    never("only-write-batch", None, true, "run csync once for each destination"),
    never("read-batch", None, true, "run csync once for each destination"),
    never("rsync-path", None, true, WIRE),
    never("secluded-args", Some('s'), false, "leave it out; no shell ever sees the arguments"),
    never("protect-args", None, false, "leave it out; no shell ever sees the arguments"),
    never("old-args", None, false, "leave it out; no shell ever sees the arguments"),
    never("trust-sender", None, false, WIRE),
    never("contimeout", None, true, "leave it out; connecting gives up after 10 seconds"),
    never("address", None, true, WIRE),
    never("port", None, true, "name it in the address: csync://HOST:PORT/FOLDER"),
    never("sockopts", None, true, WIRE),
    never("blocking-io", None, false, WIRE),
    never("remote-option", Some('M'), true, WIRE),
    never("password-file", None, true, "leave it out; nodes know each other by their keys"),
    never("early-input", None, true, WIRE),
    never("protocol", None, true, WIRE),
    never("no-motd", None, false, WIRE),
    never("daemon", None, false, "use csyncd"),
    never("server", None, false, WIRE),
    never("ipv4", Some('4'), false, WIRE),
    never("ipv6", Some('6'), false, WIRE),
];

/// Verbs that a later version has.
const LATER_VERBS: &[&str] =
    &["run", "log", "why", "prune", "role", "invite", "join", "pair", "peers", "folder", "doctor"];

/// Adds every refused flag to `command`, hidden.
#[must_use]
pub fn declare_flags(command: Command) -> Command {
    REFUSED.iter().fold(command, |command, flag| {
        let arg = Arg::new(flag.long).long(flag.long).hide(true);
        let arg = if flag.takes_value {
            arg.action(ArgAction::Append)
                .allow_hyphen_values(true)
                .value_parser(clap::value_parser!(std::ffi::OsString))
        } else {
            arg.action(ArgAction::Count)
        };
        command.arg(match flag.short {
            Some(short) => arg.short(short),
            None => arg,
        })
    })
}

/// Adds every verb of a later version to `command`, hidden, with whatever follows it.
#[must_use]
pub fn declare_verbs(command: Command) -> Command {
    LATER_VERBS.iter().fold(command, |command, verb| {
        let rest = Arg::new("rest")
            .num_args(0..)
            .trailing_var_arg(true)
            .allow_hyphen_values(true)
            .value_parser(clap::value_parser!(std::ffi::OsString));
        command.subcommand(Command::new(*verb).hide(true).disable_help_flag(true).arg(rest))
    })
}

/// Checks that no refused flag is among `matches`.
///
/// # Errors
/// Names the flag and what to do instead.
pub fn check(matches: &ArgMatches) -> Result<(), Failure> {
    let Some(flag) = REFUSED.iter().find(|flag| given(matches, flag)) else {
        return Ok(());
    };
    let name = match flag.short {
        Some(short) => format!("--{} (-{short})", flag.long),
        None => format!("--{}", flag.long),
    };
    Err(match flag.instead {
        Instead::Later => Failure::usage(Number::Later, format!("{name} comes in a later version"))
            .fix(format!("leave out --{}", flag.long)),
        Instead::Use(instead) => {
            Failure::usage(Number::Unsupported, format!("{name} is rsync's and csync does not have it"))
                .fix(instead)
        }
    })
}

fn given(matches: &ArgMatches, flag: &Refused) -> bool {
    if flag.takes_value { matches.contains_id(flag.long) } else { matches.get_count(flag.long) > 0 }
}

/// Returns the failure for a verb of a later version.
#[must_use]
pub fn later_verb(verb: &str) -> Failure {
    Failure::usage(Number::Later, format!("csync {verb} is not in this version"))
        .fix("csync --help lists what is: push, pull, sync, diff and more")
}
