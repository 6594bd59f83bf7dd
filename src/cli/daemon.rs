//! The command line of `csyncd`.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;

use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;
use clap::parser::ArgMatches;
use clap::{Arg, ArgAction, Command, value_parser};

use crate::cli::cause::chain;
use crate::cli::failure::{Exit, Failure, Number};
use crate::cli::journal::{FORMATS, Format, Journal, LEVELS};
use crate::cli::node;
use crate::cli::render::Screen;
use crate::cli::settings::Settings;
use crate::cli::signal::forward;
use crate::config::settings::Address;
use crate::config::values;
use crate::daemon::log::{Level, Log};
use crate::daemon::run::{RunError, Setup, run as serve};
use crate::disk::socket::SocketError;
use crate::model::path::escape;
use crate::transport::error::WireError;

/// Wrong usage, as in `sysexits.h`.
const USAGE: u8 = 64;
/// An address that cannot be listened on.
const UNAVAILABLE: u8 = 69;
/// An error of the system.
const SYSTEM: u8 = 71;
/// Something that this user may not do.
const PERMISSION: u8 = 77;
/// A wrong config.
const CONFIG: u8 = 78;

/// Why `csyncd` ends, and with what.
struct Stop {
    code: u8,
    failure: Failure,
}

impl Stop {
    /// The failure of a command of `csync`, with the code that `csyncd` has for it.
    fn of(failure: Failure) -> Self {
        Self { code: if failure.exit == Exit::LocalIo { SYSTEM } else { CONFIG }, failure }
    }

    fn io(action: &str, error: &io::Error) -> Self {
        let code = if error.kind() == io::ErrorKind::PermissionDenied { PERMISSION } else { SYSTEM };
        let failure = Failure::new(Exit::LocalIo, Number::Settings, format!("cannot {action}: {error}"));
        Self { code, failure: failure.fix("check its rights and the disk, or name another place") }
    }
}

/// Does what `argv`, program name first, asks for and returns what the process shall end with.
pub fn run(argv: impl IntoIterator<Item = OsString>) -> u8 {
    let mut screen = Screen::new(false);
    let matches = match grammar().try_get_matches_from(argv) {
        Ok(matches) => matches,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return screen.out(error.to_string().as_bytes()).map_or(SYSTEM, |()| 0);
        }
        Err(error) => {
            screen.message(error.to_string().trim_end());
            return USAGE;
        }
    };
    let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
    let settings = match Settings::find(path("config"), path("state-dir")) {
        Ok(settings) => settings,
        Err(failure) => {
            screen.failure(&failure);
            return CONFIG;
        }
    };
    let done = if matches.get_flag("check-config") {
        check(&settings, &mut screen)
    } else {
        start(&matches, &settings, &mut screen)
    };
    done.map_or_else(
        |stop| {
            screen.failure(&stop.failure);
            stop.code
        },
        |()| 0,
    )
}

fn check(settings: &Settings, screen: &mut Screen) -> Result<(), Stop> {
    match node::config_errors(settings, screen) {
        Ok(0) => Ok(()),
        Ok(errors) => Err(wrong(settings, errors)),
        Err(failure) => Err(config_stop(settings, failure)),
    }
}

/// A config that this user may not read is a matter of rights.
fn config_stop(settings: &Settings, failure: Failure) -> Stop {
    match std::fs::File::open(&settings.config) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Stop { code: PERMISSION, failure },
        Ok(_) | Err(_) => Stop::of(failure),
    }
}

fn wrong(settings: &Settings, errors: usize) -> Stop {
    let message = format!("{} has {errors} error(s)", settings.config.display());
    Stop::of(
        Failure::usage(Number::Config, message)
            .fix("mend the places listed above, then csyncd --check-config"),
    )
}

fn start(matches: &ArgMatches, settings: &Settings, screen: &mut Screen) -> Result<(), Stop> {
    let (config, errors) =
        node::config_for_daemon(settings, screen).map_err(|failure| config_stop(settings, failure))?;
    if errors > 0 {
        return Err(wrong(settings, errors));
    }
    let identity = node::identity(settings).map_err(Stop::of)?;
    let key = identity.public().map_err(|error| Stop::of(node::key_failure(&error)))?;
    DirBuilder::new().recursive(true).mode(0o700).create(&settings.state_dir).map_err(|error| {
        Stop::io(&format!("make the state directory {}", settings.state_dir.display()), &error)
    })?;
    let format = chosen(matches, "log-format", FORMATS).unwrap_or(Format::Auto);
    let least = chosen(matches, "log-level", LEVELS).unwrap_or(Level::Info);
    let manager = settings.manager.clone();
    let log: Arc<dyn Log> = Arc::new(Journal::new(format, least, settings.journal_stream.as_deref()));
    let setup = Setup {
        identity,
        key,
        config,
        config_path: settings.config.clone(),
        state_dir: settings.state_dir.clone(),
        control: settings.control.clone(),
        listen: matches.get_many::<Address>("listen").unwrap_or_default().cloned().collect(),
        uid: settings.uid,
        once: matches.get_flag("once"),
        manager,
    };
    let (sender, events) = channel();
    forward(sender.clone()).map_err(|error| Stop::io("listen for signals", &error))?;
    let mut ready = |line: &str| screen.out(format!("{line}\n").as_bytes());
    serve(&setup, (sender, events), &log, &mut ready).map_err(|error| stop(&error))
}

/// Returns the end of a daemon that cannot run.
fn stop(error: &RunError) -> Stop {
    let text = escape(chain(error).as_bytes());
    let failure = |exit, number, fix: String| Failure::new(exit, number, text.clone()).fix(fix);
    let (code, failure) = match error {
        RunError::Listen { address, source } => {
            let denied = matches!(source, WireError::Local { source, .. } if source.kind() == io::ErrorKind::PermissionDenied);
            let port = address.rsplit(':').next().unwrap_or_default();
            let fix = format!(
                "ss -ulpn 'sport = :{port}' names who has it; --listen or listen = […] names another"
            );
            (if denied { PERMISSION } else { UNAVAILABLE }, failure(Exit::Network, Number::Listen, fix))
        }
        RunError::Resolve { .. } => (
            UNAVAILABLE,
            failure(Exit::Network, Number::Listen, "name an address of this machine".to_owned()),
        ),
        RunError::Control(SocketError::InUse { .. }) => {
            let fix = "another csyncd runs with this state; csync status asks it".to_owned();
            (UNAVAILABLE, failure(Exit::Locked, Number::Control, fix))
        }
        RunError::Control(SocketError::Unsafe { path, .. }) => {
            let fix = format!("chmod go-w {}, or name another state directory", path.display());
            (PERMISSION, failure(Exit::Usage, Number::Control, fix))
        }
        RunError::Control(SocketError::Io { source, .. }) => {
            let denied = source.kind() == io::ErrorKind::PermissionDenied;
            let fix = "check the rights of its directory, or give --state-dir".to_owned();
            (if denied { PERMISSION } else { SYSTEM }, failure(Exit::LocalIo, Number::Control, fix))
        }
        RunError::NoGroup(_) => {
            (CONFIG, failure(Exit::Usage, Number::Config, "make the group, or name another".to_owned()))
        }
        RunError::System { .. } | RunError::Broken(_) => (
            SYSTEM,
            failure(
                Exit::LocalIo,
                Number::Control,
                "start csyncd again; look at the limits of the system".to_owned(),
            ),
        ),
    };
    Stop { code, failure }
}

/// An address to listen on; port 0 is any free one.
fn listen_address(text: &str) -> Result<Address, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) => Ok(Address { host: address.ip().to_string(), port: address.port() }),
        Err(_no_number) => values::address(text),
    }
}

fn words<T>(known: &'static [(&'static str, T)]) -> PossibleValuesParser {
    PossibleValuesParser::new(known.iter().map(|(word, _)| *word))
}

/// What the word that was given for `flag` means.
fn chosen<T: Copy>(matches: &ArgMatches, flag: &str, known: &[(&str, T)]) -> Option<T> {
    let given = matches.get_one::<String>(flag)?;
    known.iter().find(|(word, _)| word == given).map(|(_, meant)| *meant)
}

fn grammar() -> Command {
    let path = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).value_parser(value_parser!(PathBuf)).help(help)
    };
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("csyncd")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Serves the folders of the config to other nodes")
        .arg(path("config", "FILE", "The config to use"))
        .arg(path("state-dir", "DIR", "Where this node keeps its key and databases"))
        .arg(
            Arg::new("listen")
                .long("listen")
                .value_name("ADDR")
                .action(ArgAction::Append)
                .value_parser(listen_address)
                .help("Listen here instead of where the config says; port 0 is any free one"),
        )
        .arg(flag("check-config", "List every problem of the config and exit: 0, or 78"))
        .arg(flag("once", "End after the first connection that opened a folder has ended"))
        .arg(
            Arg::new("log-format")
                .long("log-format")
                .value_name("FORMAT")
                .value_parser(words(FORMATS))
                .help("How the log looks"),
        )
        .arg(
            Arg::new("log-level")
                .long("log-level")
                .value_name("L")
                .value_parser(words(LEVELS))
                .help("What the log tells"),
        )
}
