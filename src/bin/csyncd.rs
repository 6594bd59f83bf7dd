//! `csyncd`: serves folders; so far it checks configs.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(csync::cli::daemon::run(std::env::args_os()))
}
