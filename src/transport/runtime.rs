//! The one place where asynchronous work runs: the rest of csync blocks.

use std::future::Future;
use std::io;
use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle, Runtime};

/// Threads that drive all connections of the process. One receives while the other sends.
const WORKERS: usize = 2;

/// Returns the handle of the process's runtime, which the first caller starts and nobody ends.
///
/// # Errors
/// The system has no threads or no descriptors left.
pub(crate) fn handle() -> io::Result<&'static Handle> {
    static RUNTIME: OnceLock<Result<Runtime, io::ErrorKind>> = OnceLock::new();
    let started = RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name("csync-wire")
            .enable_all()
            .build()
            .map_err(|error| error.kind())
    });
    match started {
        Ok(runtime) => Ok(runtime.handle()),
        Err(kind) => Err(io::Error::from(*kind)),
    }
}

/// Returns what `work` comes to; the calling thread waits for it. Never called on a thread of the
/// runtime itself. Timers are made inside of `work`.
///
/// # Errors
/// As [`handle`].
pub(crate) fn wait_for<T>(work: impl Future<Output = T>) -> io::Result<T> {
    Ok(handle()?.block_on(work))
}
