//! Signals: they end a run with a code of its own, and tell a daemon to reload or to end.

use std::io;
use std::sync::mpsc::Sender;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::failure::Exit;
use crate::daemon::run::Event;

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

/// Sends SIGHUP as [`Event::Reload`], SIGTERM and SIGINT as [`Event::Stop`], for as long as somebody listens.
///
/// # Errors
/// The handlers or their thread cannot be set up.
pub fn forward(events: Sender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let wait = move || {
        for signal in signals.forever() {
            let event = if signal == SIGHUP { Event::Reload } else { Event::Stop };
            if events.send(event).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait).map(drop)
}
