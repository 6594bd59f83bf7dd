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
    /// The new marker was written beside the old one.
    MarkerWritten = "marker-written",
    /// The new marker took its name.
    MarkerRenamed = "marker-renamed",
    /// A staged file was opened.
    StageOpen = "stage-open",
    /// A part of a staged file was written.
    StageWrite = "stage-write",
    /// A staged symlink, directory or special file was made.
    StageMade = "stage-made",
    /// The bytes of a staged file were compared with the digest expected.
    VerifyDigest = "verify-digest",
    /// Owner and group were set.
    AttributesOwner = "attributes-owner",
    /// The mode was set.
    AttributesMode = "attributes-mode",
    /// The modification time was set.
    AttributesTime = "attributes-time",
    /// A staged file was made durable.
    FlushStaged = "flush-staged",
    /// A new entry is about to get its name.
    PublishNew = "publish-new",
    /// A new entry got its name.
    PublishDone = "publish-done",
    /// A staged entry has its name in the stage.
    ExchangeNamed = "exchange-named",
    /// A staged entry was marked as one that may be exchanged.
    ExchangeMarked = "exchange-marked",
    /// A staged entry and its target changed places.
    ExchangeDone = "exchange-done",
    /// Without exchange: the old entry has a second name in the stage.
    ExchangeLinked = "exchange-linked",
    /// Without exchange: the new entry took the place of the old one.
    ExchangeReplaced = "exchange-replaced",
    /// What came out of an exchange was looked at.
    DisplacedCheck = "displaced-check",
    /// An exchange was undone.
    DisplacedBack = "displaced-back",
    /// What was displaced is kept or removed; the mark still stands.
    DisplacedGone = "displaced-gone",
    /// Something is about to be moved into the version store.
    KeepMove = "keep-move",
    /// Something was moved into the version store.
    KeepMoved = "keep-moved",
    /// A kept file with other links was copied.
    KeepCopied = "keep-copied",
    /// Something to be removed was taken from its path.
    RemoveMoved = "remove-moved",
    /// Something was removed.
    RemoveDone = "remove-done",
    /// A directory was removed.
    RemoveDir = "remove-dir",
    /// A directory was made.
    MakeDir = "make-dir",
    /// An entry was moved to its new path.
    RenameDone = "rename-done",
    /// A directory is about to be made durable.
    DirectoryFlush = "directory-flush",
    /// A directory was made durable.
    DirectoryFlushed = "directory-flushed",
    /// Something left in the stage was looked at.
    RecoverFound = "recover-found",
    /// A displaced entry was moved into the version store.
    RecoverKept = "recover-kept",
    /// A leftover was removed from the stage.
    RecoverCleared = "recover-cleared",
    /// A batch of rows is about to begin.
    IndexBegin = "index-begin",
    /// A row of a batch was written.
    IndexWrite = "index-write",
    /// A batch is written and about to be committed.
    IndexCommit = "index-commit",
    /// A batch is durable.
    IndexCommitted = "index-committed",
    /// A page of a peer's rows was remembered.
    WirePage = "wire-page",
    /// A batch of a guest's changes is durable, and the guest has not been told.
    WireOutcome = "wire-outcome",
    /// A peer's word on a batch of changes was heard, and nothing of it is recorded.
    WireHeard = "wire-heard",
    /// The peer's rows of a batch were recorded in place of ours.
    WireAdopted = "wire-adopted",
    /// A peer has finished what it put off.
    WireSettled = "wire-settled",
}

/// Whether a test wants `means` (`exchange`, `tmpfile`) not to be used, as on file systems that lack it: those named
/// in `CSYNC_LACKS`, separated by commas.
#[cfg(not(feature = "fault"))]
#[inline(always)]
#[must_use]
pub fn lacks(_means: &str) -> bool {
    false
}

/// Whether a test wants `means` (`exchange`, `tmpfile`) not to be used, as on file systems that lack it: those named
/// in `CSYNC_LACKS`, separated by commas.
#[cfg(feature = "fault")]
#[expect(clippy::disallowed_methods, reason = "a build that only tests use")]
#[must_use]
pub fn lacks(means: &str) -> bool {
    std::env::var("CSYNC_LACKS").is_ok_and(|list| list.split(',').any(|lacked| lacked == means))
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
            let log = std::env::var_os("CSYNC_CRASH_LOG")
                .and_then(|path| std::fs::OpenOptions::new().append(true).create(true).open(path).ok());
            Plan { target, passed: AtomicU64::new(0), log: log.map(|file| Mutex::new((file, Vec::new()))) }
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
