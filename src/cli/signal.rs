//! An interrupted run ends with a code of its own.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::failure::Exit;

/// Ends the process with exit code 20 when it is interrupted.
///
/// Nothing is tidied up: every step of a run is one after which the process may die, and the next run goes on. Where
/// the handlers cannot be set, a signal ends the process as it would any other.
pub fn end_on_signal() {
    let Ok(mut signals) = Signals::new([SIGHUP, SIGINT, SIGTERM]) else {
        return;
    };
    let wait = move || {
        if signals.forever().next().is_some() {
            #[expect(clippy::exit, reason = "a run may end at any moment")]
            std::process::exit(Exit::Signal.code().into());
        }
    };
    // A thread that cannot be started leaves the signals unanswered, but not the run.
    std::thread::Builder::new().name("signals".into()).spawn(wait).ok();
}
