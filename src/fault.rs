//! Named points at which a test may kill the process; nothing in ordinary builds.
//!
//! With the feature `fault`, `CSYNC_CRASH=point:N` kills the process by SIGKILL when `point` is passed for the N-th
//! time, and `CSYNC_CRASH_LOG=FILE` appends the name of every point the first time it is passed.

/// Declares [`Point`] with its names.
macro_rules! points {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal,)*) => {
        /// A step of the engine at which a kill must lose nothing.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Point { $($(#[doc = $doc])* $variant,)* }

        impl Point {
            /// Every point, in the order of the engine's steps.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the name by which a test arms the point.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

points! {
    /// A staged file was opened.
    StageOpen = "stage-open",
    /// A part of a staged file was written.
    StageWrite = "stage-write",
    /// A batch of rows is about to begin.
    IndexBegin = "index-begin",
    /// A row of a batch was written.
    IndexWrite = "index-write",
    /// A batch is written and about to be committed.
    IndexCommit = "index-commit",
    /// A batch is durable.
    IndexCommitted = "index-committed",
}

/// Kills the process here if a test armed `point`.
#[cfg(not(feature = "fault"))]
#[inline(always)]
pub fn pass(_point: Point) {}

/// Kills the process here if a test armed `point`.
#[cfg(feature = "fault")]
pub fn pass(point: Point) {
    armed::pass(point);
}

#[cfg(feature = "fault")]
mod armed {
    use std::io::Write as _;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Mutex, OnceLock};

    use crate::fault::Point;

    struct Plan {
        target: Option<(String, u64)>,
        passed: AtomicU64,
        log: Option<Mutex<(std::fs::File, Vec<&'static str>)>>,
    }

    #[expect(clippy::disallowed_methods, reason = "a build that only tests use")]
    fn plan() -> &'static Plan {
        static PLAN: OnceLock<Plan> = OnceLock::new();
        PLAN.get_or_init(|| {
            let target = std::env::var("CSYNC_CRASH").ok().and_then(|text| {
                let (name, count) = text.split_once(':')?;
                Some((name.to_owned(), count.parse().ok()?))
            });
            let log = std::env::var_os("CSYNC_CRASH_LOG").and_then(|path| {
                std::fs::OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(path)
                    .ok()
            });
            Plan {
                target,
                passed: AtomicU64::new(0),
                log: log.map(|file| Mutex::new((file, Vec::new()))),
            }
        })
    }

    pub(super) fn pass(point: Point) {
        let plan = plan();
        let name = point.name();
        if let Some(log) = &plan.log
            && let Ok(mut log) = log.lock()
            && !log.1.contains(&name)
        {
            log.1.push(name);
            writeln!(log.0, "{name}").ok();
        }
        if let Some((target, count)) = &plan.target
            && target == name
            && plan.passed.fetch_add(1, Ordering::SeqCst) + 1 == *count
        {
            let me = rustix::process::getpid();
            rustix::process::kill_process(me, rustix::process::Signal::KILL).ok();
        }
    }
}
