//! One call for each verb.

use std::ffi::OsString;

use crate::cli::args::{Invocation, Stop, Verb, parse};
use crate::cli::conflict;
use crate::cli::failure::{Exit, Failure, output_failure};
use crate::cli::grammar::command;
use crate::cli::held;
use crate::cli::node;
use crate::cli::pair;
use crate::cli::question::Question;
use crate::cli::remote;
use crate::cli::render::Screen;
use crate::cli::settings::Settings;
use crate::cli::signal::end_on_signal;
use crate::cli::status;
use crate::cli::sync;
use crate::cli::transfer;
use crate::cli::version;
use crate::cli::wait;

/// Does what `argv`, program name first, asks for and returns what the process shall end with.
pub fn run(argv: impl IntoIterator<Item = OsString>) -> u8 {
    end_on_signal();
    let mut screen = Screen::new(false);
    let exit = match parse(argv) {
        Ok(invocation) => verb(invocation, &mut screen),
        Err(Stop::Told(text)) => told(&text, &mut screen),
        Err(Stop::NoVerb(help)) => {
            screen.message(help.trim_end());
            Ok(Exit::Usage)
        }
        Err(Stop::Wrong(failure)) => Err(failure),
    };
    exit.unwrap_or_else(|failure| {
        screen.failure(&failure);
        failure.exit
    })
    .code()
}

fn told(text: &str, screen: &mut Screen) -> Result<Exit, Failure> {
    screen.out(text.as_bytes()).map(|()| Exit::Done).map_err(|error| output_failure(&error))
}

fn verb(invocation: Invocation, screen: &mut Screen) -> Result<Exit, Failure> {
    let Invocation { config, state_dir, verb } = invocation;
    if let Verb::Completions(shell) = verb {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command(), "csync", &mut script);
        return screen.out(&script).map(|()| Exit::Done).map_err(|error| output_failure(&error));
    }
    let settings = Settings::find(config, state_dir)?;
    match verb {
        Verb::Folders { host, timeout, listing } => remote::folders(&host, timeout, listing, &settings),
        Verb::Transfer(operands) => transfer::run(&operands, &settings),
        Verb::Sync(operands) => sync::run(&operands, &settings),
        Verb::Diff(operands) => pair::diff(&operands, &settings),
        Verb::Verify { root, deep, listing } => pair::verify(&root, deep, listing, &settings),
        Verb::Versions { path, listing } => version::list(&path, listing, &settings),
        Verb::Restore { version, to, listing } => {
            version::restore(&version, to.as_deref(), listing, &settings)
        }
        Verb::Cat(version) => version::cat(&version, &settings),
        Verb::Ask(question) => ask(&question, &settings, screen),
        Verb::Init { name } => node::init(&settings, name.as_deref(), screen),
        Verb::Id { toml } => node::id(&settings, toml, screen),
        Verb::ConfigCheck => node::config_check(&settings, screen),
        Verb::ConfigShow => node::config_show(&settings, screen),
        Verb::Completions(_) => Ok(Exit::Done),
    }
}

fn ask(question: &Question, settings: &Settings, screen: &mut Screen) -> Result<Exit, Failure> {
    match question {
        Question::Status(args) => status::run(args, settings, screen),
        Question::Conflicts { of, listing } => conflict::list(of.as_deref(), *listing, settings),
        Question::Resolve { targets, how, listing } => conflict::resolve(targets, how, *listing, settings),
        Question::Held { folder, listing } => held::list(folder.as_deref(), *listing, settings),
        Question::Decide { approve, ids, listing } => held::decide(*approve, ids, *listing, settings),
        Question::Wait(args) => wait::run(args, settings),
    }
}
