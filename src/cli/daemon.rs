//! The command line of `csyncd`; so far it checks configs.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command, value_parser};

use crate::cli::failure::{Exit, Failure, Number};
use crate::cli::node;
use crate::cli::render::Screen;
use crate::cli::settings::Settings;

/// Wrong usage, as in `sysexits.h`.
const USAGE: u8 = 64;
/// An error of the system.
const SYSTEM: u8 = 71;
/// A wrong config.
const CONFIG: u8 = 78;

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
    if !matches.get_flag("check-config") {
        let failure = Failure::usage(Number::Later, "serving folders comes in a later version of csyncd")
            .fix("csyncd --check-config checks a config; csync sync A B keeps two directories the same");
        screen.failure(&failure);
        return USAGE;
    }
    let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
    let errors = Settings::find(path("config"), path("state-dir"))
        .and_then(|settings| node::config_errors(&settings, &mut screen));
    match errors {
        Ok(0) => 0,
        Ok(_) => CONFIG,
        Err(failure) => {
            screen.failure(&failure);
            if failure.exit == Exit::LocalIo { SYSTEM } else { CONFIG }
        }
    }
}

fn grammar() -> Command {
    let path = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).value_parser(value_parser!(PathBuf)).help(help)
    };
    Command::new("csyncd")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Keeps folders in step between nodes; in this version it only checks a config")
        .arg(path("config", "FILE", "The config to use"))
        .arg(path("state-dir", "DIR", "Where this node keeps its key and databases"))
        .arg(
            Arg::new("check-config")
                .long("check-config")
                .action(ArgAction::SetTrue)
                .help("List every problem of the config and exit: 0, or 78"),
        )
}
