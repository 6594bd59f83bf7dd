//! Verbs about what is open, held or behind, which the daemon answers where it owns the folder.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use clap::parser::ArgMatches;

use crate::cli::failure::{Failure, Number};
use crate::cli::given::{count_failure, given, not_yet};
use crate::cli::listing::Listing;
use crate::config::quantity::duration;
use crate::model::path::escape;

/// One of these verbs with its operands.
#[derive(Debug)]
pub enum Question {
    /// `status [FOLDER]`.
    Status(StatusArgs),
    /// `conflicts [FOLDER|PATH]`.
    Conflicts {
        /// Only of this folder, or at and below this path.
        of: Option<OsString>,
        /// How to show it.
        listing: Listing,
    },
    /// `resolve ID|PATH…`.
    Resolve {
        /// Ids of conflicts, or paths at which there are some.
        targets: Vec<OsString>,
        /// Which side stays.
        how: Resolution,
        /// How to show it.
        listing: Listing,
    },
    /// `held [FOLDER]`.
    Held {
        /// Only of this folder.
        folder: Option<String>,
        /// How to show it.
        listing: Listing,
    },
    /// `held approve ID…` and `held reject ID…`.
    Decide {
        /// Whether it is let through.
        approve: bool,
        /// Ids of held plans, or how they begin.
        ids: Vec<String>,
        /// How to show it.
        listing: Listing,
    },
    /// `wait FOLDER`.
    Wait(WaitArgs),
}

/// What `status` shows.
#[derive(Debug)]
pub struct StatusArgs {
    /// Only this folder.
    pub folder: Option<String>,
    /// `--check`: the line of a monitoring plugin.
    pub check: bool,
    /// `--watch`: again and again.
    pub watch: bool,
    /// How to show it.
    pub listing: Listing,
}

/// What `wait` waits for.
#[derive(Debug)]
pub struct WaitArgs {
    /// The folder.
    pub folder: String,
    /// `--for`: these members; none for all.
    pub members: Vec<String>,
    /// `--timeout`.
    pub timeout: Option<Duration>,
    /// How to show it.
    pub listing: Listing,
}

/// What `resolve` does with a conflict.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Resolution {
    /// `--local`: our content stays.
    Local,
    /// `--take PEER`: the content of this side stays.
    Take(String),
    /// `--newest`: the later content stays.
    Newest,
    /// `--both`: both stay, the loser beside the winner.
    Both,
    /// `--diff`: shows only.
    Diff,
}

/// Returns what the verb `name` asks.
///
/// # Errors
/// The command line is wrong.
pub fn parse(name: &str, matches: &ArgMatches) -> Result<Question, Failure> {
    match name {
        "conflicts" => {
            let of = at_most_one(matches, "conflicts", "FOLDER or PATH")?;
            Ok(Question::Conflicts { of, listing: Listing::of(matches)? })
        }
        "resolve" => resolve(matches),
        "held" => held(matches),
        "wait" => Ok(Question::Wait(wait(matches)?)),
        _ => Ok(Question::Status(status(matches)?)),
    }
}

fn status(matches: &ArgMatches) -> Result<StatusArgs, Failure> {
    let (check, watch) = (matches.get_flag("check"), matches.get_flag("watch"));
    let listing = Listing::of(matches)?;
    if check && (watch || listing.json) {
        let message = "--check is one line for a monitor, and goes with neither --watch nor --json";
        return Err(Failure::usage(Number::Conflicting, message).fix("leave one out"));
    }
    let folder = at_most_one(matches, "status", "FOLDER")?.map(|name| text(&name));
    Ok(StatusArgs { folder, check, watch, listing })
}

fn held(matches: &ArgMatches) -> Result<Question, Failure> {
    let (operands, listing) = (given(matches), Listing::of(matches)?);
    let decision = match operands.first().and_then(|word| word.to_str()) {
        Some("approve") => Some(true),
        Some("reject") => Some(false),
        Some(_) | None => None,
    };
    let Some(approve) = decision else {
        let folder = at_most_one(matches, "held", "FOLDER")?.map(|name| text(&name));
        return Ok(Question::Held { folder, listing });
    };
    let ids: Vec<String> = operands.iter().skip(1).map(|id| text(id)).collect();
    if ids.is_empty() {
        return Err(Failure::usage(Number::Usage, "csync held approve and csync held reject want ID")
            .fix("csync held lists them"));
    }
    Ok(Question::Decide { approve, ids, listing })
}

fn wait(matches: &ArgMatches) -> Result<WaitArgs, Failure> {
    let listing = Listing::of(matches)?;
    let named: Vec<&String> = matches.get_many("for").into_iter().flatten().collect();
    let (all, is_for) = (matches.get_flag("all"), !named.is_empty());
    if all && is_for {
        return Err(Failure::usage(Number::Conflicting, "--for and --all exclude each other")
            .fix("leave out --for or --all"));
    }
    let timeout = matches.get_one::<String>("timeout").map(|text| duration(text)).transpose();
    let timeout = timeout.map_err(|error| {
        let message = format!("--timeout: {}", escape(error.to_string().as_bytes()));
        Failure::usage(Number::Value, message).fix("such as --timeout 30s")
    })?;
    match given(matches).as_slice() {
        [folder, more @ ..] if more.is_empty() || is_for => {
            // In `--for A B` the second is an operand to the grammar.
            let more = more.iter().map(|name| text(name));
            let members = named.into_iter().cloned().chain(more);
            let members = members.flat_map(|names| names.split(',').map(str::to_owned).collect::<Vec<_>>());
            Ok(WaitArgs { folder: text(folder), members: members.collect(), timeout, listing })
        }
        _ => Err(count_failure("wait", "one FOLDER")),
    }
}

fn resolve(matches: &ArgMatches) -> Result<Question, Failure> {
    not_yet(matches, &["merge"])?;
    let targets = given(matches);
    if targets.is_empty() {
        return Err(
            Failure::usage(Number::Usage, "csync resolve wants ID or PATH").fix("csync conflicts lists them")
        );
    }
    let mut chosen: Vec<(&str, Resolution)> = [
        ("local", Resolution::Local),
        ("newest", Resolution::Newest),
        ("both", Resolution::Both),
        ("diff", Resolution::Diff),
    ]
    .into_iter()
    .filter(|(flag, _)| matches.get_flag(flag))
    .collect();
    if let Some(peer) = matches.get_one::<String>("take") {
        chosen.push(("take", Resolution::Take(peer.clone())));
    }
    match chosen.as_slice() {
        [(_, how)] => Ok(Question::Resolve { targets, how: how.clone(), listing: Listing::of(matches)? }),
        [] => Err(Failure::usage(Number::Usage, "csync resolve must be told which side stays")
            .fix("add one of --local, --take PEER, --newest, --both, or --diff to look first")),
        [(first, _), (second, _), ..] => {
            Err(Failure::usage(Number::Conflicting, format!("--{first} and --{second} exclude each other"))
                .fix(format!("leave out --{first} or --{second}")))
        }
    }
}

fn at_most_one(matches: &ArgMatches, verb: &str, wanted: &str) -> Result<Option<OsString>, Failure> {
    let mut given = given(matches);
    match given.len() {
        0 | 1 => Ok(given.pop()),
        _ => Err(count_failure(verb, &format!("at most one {wanted}"))),
    }
}

fn text(operand: &OsStr) -> String {
    operand.to_string_lossy().into_owned()
}
