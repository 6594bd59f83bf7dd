//! What a run did, and how it tells while it runs. Plain data: filled by the engine, shown by `cli`.

use crate::model::metadata::Timestamp;
use crate::model::path::RelPath;

/// A path that could not be treated. The run goes on with the others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Skipped {
    /// The path below its root.
    pub path: RelPath,
    /// Why, for people; one line.
    pub why: String,
}

/// A conflict this run made; both contents are kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MadeConflict {
    /// The id by which `resolve` takes it.
    pub id: String,
    /// Where it is.
    pub path: RelPath,
    /// What was done, for people: `1 kept, 2 is version 4f1c`.
    pub note: String,
}

/// A plan that the delete guard stopped. Nothing of it was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// Entries it would have deleted.
    pub deletes: u64,
    /// Of so many.
    pub of: u64,
    /// How many would have been let through.
    pub limit: u64,
    /// Whether nothing would have been left, which no limit lets through.
    pub empties: bool,
}

/// Entries of the source, by kind; rsync's "Number of files".
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub dirs: u64,
    /// Symlinks.
    pub links: u64,
    /// Devices.
    pub devices: u64,
    /// FIFOs and sockets.
    pub specials: u64,
}

impl Tally {
    /// Returns the number of entries of all kinds.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.files + self.dirs + self.links + self.devices + self.specials
    }
}

/// What happened that an exit code must tell. Several may be true: `cli::failure::worst` orders them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Troubles {
    /// A signal ended the run (20).
    pub interrupted: bool,
    /// The local disk failed or is full, and the run could not go on (11).
    pub disk: bool,
    /// A limit of space was reached where the run writes (43).
    pub quota: bool,
    /// Some paths could not be treated, or a source could not be read whole (23).
    pub partial: bool,
    /// Source entries vanished while they were read (24).
    pub vanished: bool,
    /// `diff` or `verify` found a difference (40, as conflicts are).
    pub differs: bool,
}

/// What was left out of entries that were taken otherwise.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LeftOut {
    /// One of them.
    pub first: Option<RelPath>,
    /// How many there are.
    pub count: u64,
}

impl LeftOut {
    /// Counts one more.
    pub fn add(&mut self, path: &RelPath) {
        self.first.get_or_insert_with(|| path.clone());
        self.count += 1;
    }
}

/// What a run did. Counters of entries; sizes in bytes.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Report {
    /// Entries seen in the source, or in both roots of a `sync`.
    pub seen: Tally,
    /// Entries made.
    pub created: Tally,
    /// Entries whose content or attributes were changed.
    pub updated: u64,
    /// Entries deleted.
    pub deleted: Tally,
    /// Deletions that count for the guard: no renames, but files that lost all their bytes.
    pub losses: u64,
    /// Entries that moved, without their content being written.
    pub renamed: u64,
    /// Regular files whose content was written.
    pub transferred: u64,
    /// Conflicts made by this run.
    pub conflicts: Vec<MadeConflict>,
    /// Conflicts of earlier runs that are still open.
    pub conflicts_open: u64,
    /// The plan that was stopped, if one was.
    pub held: Option<Held>,
    /// Paths left out, and why.
    pub skipped: Vec<Skipped>,
    /// Files whose set-id bits were not taken here.
    pub untaken: LeftOut,
    /// Files whose set-id bits the peer does not take.
    pub unsent: LeftOut,
    /// Sum of the sizes of the regular files seen.
    pub bytes_total: u64,
    /// Sum of the sizes of the files whose content was written.
    pub bytes_transferred: u64,
    /// Content bytes that left a source in this run.
    pub bytes_sent: u64,
    /// Content bytes that were written in this run.
    pub bytes_received: u64,
    /// How long it took.
    pub seconds: f64,
    /// What the exit code must tell.
    pub troubles: Troubles,
}

/// Returns the seconds between two moments, to the millisecond.
pub(crate) fn seconds_between(begun: Timestamp, ended: Timestamp) -> f64 {
    let millis = u32::try_from(ended.nanos_since(begun) / 1_000_000);
    // A clock that was set back in between tells nothing.
    f64::from(millis.unwrap_or_default()) / 1e3
}

/// One line of `-i`: what happens, or in a dry run would happen, to a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// rsync's eleven characters, or a word such as `*deleting`; shorter ones are padded when shown.
    pub code: String,
    /// The path as the user sees it: below the destination, of a directory without its trailing `/`.
    pub path: RelPath,
    /// Whether the path is a directory, shown with a trailing `/`.
    pub dir: bool,
    /// Raw bytes that follow the path: ` -> target`, or a note.
    pub suffix: Vec<u8>,
}

/// How far a run is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Entries seen so far.
    pub scanned: u64,
    /// Content bytes to write; grows while the scan goes on.
    pub bytes_planned: u64,
    /// Content bytes written.
    pub bytes_done: u64,
}

/// Who is told while a run goes on. Called in the order of events, from one thread at a time.
pub trait Observer: Send {
    /// One line of `-i`. Unchanged entries are only told at level 2.
    fn item(&mut self, item: &Item);

    /// How far the run is; called often, so it must be cheap. `path` is what is being written.
    fn progress(&mut self, progress: Progress, path: Option<&RelPath>);

    /// Something the user should know that is no failure; one line, names already escaped.
    fn warning(&mut self, text: &str);
}

/// An observer that is told nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn item(&mut self, _item: &Item) {}
    fn progress(&mut self, _progress: Progress, _path: Option<&RelPath>) {}
    fn warning(&mut self, _text: &str) {}
}
