//! `csync`: parse, call one verb, exit.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(csync::cli::dispatch::run(std::env::args_os()))
}
