//! Verbs and their operands: the command line as a typed [`Invocation`].

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ArgMatches;
use clap_complete::Shell;

use crate::cli::failure::{Failure, Number};
use crate::cli::flags;
use crate::cli::given::{count_failure, given, not_yet, one};
use crate::cli::grammar::{FOLDERS, command};
use crate::cli::listing::Listing;
use crate::cli::operand::{self, Host, Operand};
use crate::cli::question::{self, Question};
use crate::cli::refused;
use crate::engine::options::Options;
use crate::model::path::escape;

/// What the user asked for.
#[derive(Debug)]
pub struct Invocation {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--state-dir`.
    pub state_dir: Option<PathBuf>,
    /// The verb with its operands.
    pub verb: Verb,
}

/// A verb with its operands.
#[derive(Debug)]
pub enum Verb {
    /// `push SRC… DEST` and `pull SRC… DEST`: the same between local paths.
    Transfer(Transfer),
    /// `HOST::`.
    Folders {
        /// The node that is asked.
        host: Host,
        /// `--timeout`.
        timeout: Option<Duration>,
        /// How to show it.
        listing: Listing,
    },
    /// `sync A B`.
    Sync(Pair),
    /// `diff A B`.
    Diff(Pair),
    /// `verify ROOT`.
    Verify {
        /// A root that csync keeps.
        root: PathBuf,
        /// `--deep`: contents are read again.
        deep: bool,
        /// How to show it.
        listing: Listing,
    },
    /// `versions PATH`.
    Versions {
        /// A path inside a root.
        path: PathBuf,
        /// How to show it.
        listing: Listing,
    },
    /// `restore PATH[@ID] [--to DIR]`.
    Restore {
        /// What to restore; without an id the latest version.
        version: Versioned,
        /// A directory to fill instead of the live tree.
        to: Option<PathBuf>,
        /// How to show it.
        listing: Listing,
    },
    /// `cat PATH@ID`.
    Cat(Versioned),
    /// A question about what is open, held, or behind.
    Ask(Question),
    /// `init [--name NAME]`.
    Init {
        /// This node's name; else the host's.
        name: Option<String>,
    },
    /// `id`.
    Id {
        /// `--toml`: the two lines for the config of others.
        toml: bool,
    },
    /// `config check`.
    ConfigCheck,
    /// `config show`.
    ConfigShow,
    /// `completions SHELL`.
    Completions(Shell),
}

/// Operands of `push` and `pull`.
#[derive(Debug)]
pub struct Transfer {
    /// `push` or `pull`, for messages.
    pub verb: &'static str,
    /// At least one; a trailing slash means the contents. Of `push` all are local.
    pub sources: Vec<Operand>,
    /// The destination; of `pull` it is local.
    pub dest: Operand,
    /// All flags.
    pub options: Options,
}

/// Operands of `sync` and `diff`: slashes do not matter, and at least one is local.
#[derive(Debug)]
pub struct Pair {
    /// Side 1.
    pub one: Operand,
    /// Side 2.
    pub two: Operand,
    /// All flags.
    pub options: Options,
}

/// `PATH[@ID]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Versioned {
    /// The path.
    pub path: PathBuf,
    /// The id of a version.
    pub id: Option<String>,
}

/// What the command line comes to when it is no invocation.
#[derive(Debug)]
pub enum Stop {
    /// Help or version was asked for: this text, on standard output, and success.
    Told(String),
    /// No verb: the help, on standard error, and exit code 1.
    NoVerb(String),
    /// The command line is wrong.
    Wrong(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Wrong(failure)
    }
}

/// Returns what `argv`, program name first, asks for.
///
/// # Errors
/// Help is wanted, or the command line is wrong.
pub fn parse(argv: impl IntoIterator<Item = OsString>) -> Result<Invocation, Stop> {
    let argv: Vec<OsString> = argv.into_iter().collect();
    let matches = match (command().try_get_matches_from(&argv), host_at(&argv)) {
        (Err(error), Some(at)) if error.kind() == ErrorKind::InvalidSubcommand => {
            let verb = [OsString::from(FOLDERS)];
            let argv = argv[..at].iter().chain(&verb).chain(&argv[at..]);
            command().try_get_matches_from(argv)
        }
        (matches, _) => matches,
    };
    let matches = matches.map_err(|error| stop(&error))?;
    let Some((name, given)) = matches.subcommand() else {
        return Err(Stop::NoVerb(command().render_help().to_string()));
    };
    let verb = match name {
        FOLDERS => {
            let operand = one(given, "HOST::", "one HOST::")?;
            let host = operand::host_alone(&operand).ok_or_else(|| count_failure("HOST::", "one HOST::"))?;
            let timeout = given.get_one::<Duration>("timeout").copied();
            Verb::Folders { host, timeout, listing: Listing::of(given)? }
        }
        "push" => Verb::Transfer(transfer("push", given)?),
        "pull" => Verb::Transfer(transfer("pull", given)?),
        "sync" => Verb::Sync(pair("sync", given)?),
        "diff" => {
            let mut pair = pair("diff", given)?;
            pair.options.select.checksum |= given.get_flag("deep");
            Verb::Diff(pair)
        }
        "verify" => {
            not_yet(given, &["peer"])?;
            let root = operand::local(&one(given, "verify", "ROOT")?)?;
            Verb::Verify { root, deep: given.get_flag("deep"), listing: Listing::of(given)? }
        }
        "conflicts" | "resolve" | "status" | "held" | "wait" => Verb::Ask(question::parse(name, given)?),
        "versions" => {
            not_yet(given, &["deleted"])?;
            let path = operand::local(&one(given, "versions", "PATH")?)?;
            Verb::Versions { path, listing: Listing::of(given)? }
        }
        "restore" => {
            not_yet(given, &["at"])?;
            let version = versioned(&one(given, "restore", "PATH@ID")?)?;
            Verb::Restore {
                version,
                to: given.get_one::<PathBuf>("to").cloned(),
                listing: Listing::of(given)?,
            }
        }
        "cat" => cat(given)?,
        "init" => Verb::Init { name: given.get_one::<String>("name").cloned() },
        "id" => Verb::Id { toml: given.get_flag("toml") },
        "config" if given.subcommand_name() == Some("show") => Verb::ConfigShow,
        "config" => Verb::ConfigCheck,
        "completions" => match given.get_one::<Shell>("shell") {
            Some(shell) => Verb::Completions(*shell),
            None => return Err(count_failure("completions", "SHELL").into()),
        },
        later => return Err(refused::later_verb(later).into()),
    };
    let place = |name: &str| path_of(&matches, name);
    Ok(Invocation { config: place("config"), state_dir: place("state-dir"), verb })
}

/// Where in `argv` a node is asked for its folders, which is a verb without a word.
fn host_at(argv: &[OsString]) -> Option<usize> {
    argv.iter().position(|arg| operand::host_alone(arg).is_some())
}

fn path_of(matches: &ArgMatches, name: &str) -> Option<PathBuf> {
    matches.get_one::<PathBuf>(name).cloned()
}

fn transfer(verb: &'static str, matches: &ArgMatches) -> Result<Transfer, Failure> {
    refused::check(matches)?;
    for id in ["conflict", "force"] {
        if matches.contains_id(id) {
            return Err(Failure::usage(Number::Usage, format!("--{id} is a flag of sync, not of {verb}"))
                .fix(format!("leave it out, or use csync sync A B --{id} …")));
        }
    }
    let mut paths = given(matches);
    let Some(dest) = paths.pop() else {
        return Err(count_failure(verb, "SRC… DEST"));
    };
    if paths.is_empty() {
        let dest = escape(dest.as_bytes());
        return Err(Failure::usage(Number::Usage, format!("csync {verb} {dest}: there is no destination"))
            .fix(format!("csync {verb} {dest} DEST; for a listing, csync {verb} -ni {dest} EMPTY-DIR")));
    }
    let options = flags::options(matches)?;
    let sources = paths.iter().map(|path| Operand::new(path)).collect::<Result<Vec<_>, _>>()?;
    let dest = Operand::new(&dest)?;
    one_way(verb, &sources, &dest)?;
    let over_wire = dest.remote().is_some() || sources.iter().any(|source| source.remote().is_some());
    wire_flags(&options, over_wire)?;
    Ok(Transfer { verb, sources, dest, options })
}

/// Checks that `push` goes from here and `pull` comes to here.
fn one_way(verb: &str, sources: &[Operand], dest: &Operand) -> Result<(), Failure> {
    let from = sources.iter().find_map(Operand::remote);
    match (verb, from, dest.remote()) {
        (_, Some(from), Some(to)) => Err(two_remote(verb, &from.shown, &to.shown)),
        ("push", Some(from), None) => Err(Failure::usage(
            Number::Usage,
            format!("csync push goes from here, and {} is on another node", from.shown),
        )
        .fix(format!("csync pull {} DEST", from.shown))),
        ("pull", None, Some(to)) => Err(Failure::usage(
            Number::Usage,
            format!("csync pull comes to here, and {} is on another node", to.shown),
        )
        .fix(format!("csync push SRC {}", to.shown))),
        (_, Some(from), None) if sources.len() > 1 => Err(Failure::usage(
            Number::Usage,
            format!("{} is on another node, and then it is the only source of a run", from.shown),
        )
        .fix("csync pull once for each source")),
        _ => Ok(()),
    }
}

/// Returns the failure of a run between two other nodes.
#[must_use]
pub fn two_remote(verb: &str, one: &str, two: &str) -> Failure {
    let message = format!("csync {verb}: {one} and {two} are both on other nodes; one side must be here");
    Failure::usage(Number::Usage, message).fix("run it on one of these nodes")
}

/// Refuses what would have no effect between local roots and is no mere default.
fn wire_flags(options: &Options, over_wire: bool) -> Result<(), Failure> {
    if options.wire.bwlimit.is_some() && !over_wire {
        return Err(Failure::usage(
            Number::Usage,
            "--bwlimit is a rate on the wire, and between local roots there is none",
        )
        .fix("leave it out; ionice -c3 csync … gives way to other programs"));
    }
    Ok(())
}

fn pair(verb: &'static str, matches: &ArgMatches) -> Result<Pair, Failure> {
    refused::check(matches)?;
    let [one, two] =
        <[OsString; 2]>::try_from(given(matches)).map_err(|_given| count_failure(verb, "A B"))?;
    let options = flags::options(matches)?;
    let (one, two) = (Operand::new(&one)?, Operand::new(&two)?);
    if let (Some(one), Some(two)) = (one.remote(), two.remote()) {
        return Err(two_remote(verb, &one.shown, &two.shown));
    }
    wire_flags(&options, one.remote().or(two.remote()).is_some())?;
    Ok(Pair { one, two, options })
}

fn cat(matches: &ArgMatches) -> Result<Verb, Failure> {
    let version = versioned(&one(matches, "cat", "PATH@ID")?)?;
    if version.id.is_none() {
        let path = escape(version.path.as_os_str().as_bytes());
        return Err(Failure::usage(Number::Usage, format!("csync cat {path}: no version is named"))
            .fix(format!("csync versions {path} lists them; then csync cat {path}@ID")));
    }
    Ok(Verb::Cat(version))
}

/// Splits `PATH@ID` at its last `@` if letters and digits follow; `PATH@` is a path that ends like an id.
fn versioned(operand: &OsStr) -> Result<Versioned, Failure> {
    let bytes = operand.as_bytes();
    let (path, id) = match bytes.iter().rposition(|b| *b == b'@') {
        Some(at) if at > 0 && bytes[at + 1..].iter().all(u8::is_ascii_alphanumeric) => {
            (&bytes[..at], String::from_utf8_lossy(&bytes[at + 1..]).into_owned())
        }
        Some(_) | None => (bytes, String::new()),
    };
    let path = operand::local(OsStr::from_bytes(path))?;
    Ok(Versioned { path, id: (!id.is_empty()).then_some(id) })
}

/// Tells clap's error in the form of all others.
fn stop(error: &clap::Error) -> Stop {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Stop::Told(error.to_string());
    }
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        Some(_) | None => None,
    };
    let plain = error.render().to_string();
    let first = plain.lines().next().unwrap_or_default();
    let message = escape(first.strip_prefix("error: ").unwrap_or(first).as_bytes());
    let near = text(ContextKind::SuggestedArg)
        .or_else(|| text(ContextKind::SuggestedSubcommand))
        .or_else(|| text(ContextKind::SuggestedValue));
    let fix = match (near, text(ContextKind::ValidValue).or_else(|| text(ContextKind::ValidSubcommand))) {
        (Some(near), _) => format!("did you mean {near}?"),
        (None, Some(valid)) if !valid.is_empty() => format!("wanted one of {valid}"),
        (None, _) => "csync --help lists the verbs, csync VERB --help its flags".to_owned(),
    };
    Stop::Wrong(Failure::usage(Number::Usage, message).fix(fix))
}

#[cfg(test)]
mod tests;
