//! What a run shall do, as typed values. Plain data: parsed by `cli`, read by every file of the engine.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::rules::conflict::{Policy, Side};

/// The bound of `--max-delete`: more deletions than this stop the run before the first one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MaxDelete {
    /// So many entries.
    Count(u64),
    /// So many of a hundred entries of the destination, 0 to 100.
    Percent(u8),
}

/// One filter argument, in the order of the command line across all its kinds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FilterArg {
    /// `--filter RULE`, or a rule of the config.
    Rule(OsString),
    /// `--exclude PATTERN`.
    Exclude(OsString),
    /// `--include PATTERN`.
    Include(OsString),
    /// `--exclude-from FILE`; `-` is standard input.
    ExcludeFrom(PathBuf),
    /// `--include-from FILE`; `-` is standard input.
    IncludeFrom(PathBuf),
    /// The first `-F`: `: /.rsync-filter`.
    PerDirectory,
    /// The second `-F`: `- .rsync-filter`.
    HidePerDirectory,
}

/// What is kept of an entry that a one-way run replaces or deletes; `--backup`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Backup {
    /// `--backup-dir`; relative to the destination. `None`: beside the file.
    pub dir: Option<PathBuf>,
    /// `--suffix`; as rsync, `~` without a directory and empty with one.
    pub suffix: OsString,
}

/// Which entries are carried at all, and which of their attributes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Preserve {
    /// `-r`.
    pub recursive: bool,
    /// `-l`: symlinks as symlinks; else they are skipped.
    pub links: bool,
    /// `-p`.
    pub perms: bool,
    /// `-t`.
    pub times: bool,
    /// `-o`.
    pub owner: bool,
    /// `-g`.
    pub group: bool,
    /// `--devices`, half of `-D`.
    pub devices: bool,
    /// `--specials`, the other half of `-D`.
    pub specials: bool,
    /// `--numeric-ids`.
    pub numeric_ids: bool,
    /// `--usermap`, as given; the later one wins.
    pub usermap: Option<String>,
    /// `--groupmap`, as given; the later one wins.
    pub groupmap: Option<String>,
    /// `--chown`, as given; excludes `usermap` and `groupmap`.
    pub chown: Option<String>,
    /// `--chmod`, all of them in order.
    pub chmod: Vec<String>,
}

/// Which entries are looked at, and when one counts as changed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Select {
    /// Filter arguments in order.
    pub filters: Vec<FilterArg>,
    /// `--files-from FILE`; `-` is standard input.
    pub files_from: Option<PathBuf>,
    /// `-0`: lists and filter files are separated by NUL.
    pub from0: bool,
    /// `-x`.
    pub one_file_system: bool,
    /// `-c`: contents are compared.
    pub checksum: bool,
    /// `-I`: equal size and time do not make a file equal.
    pub ignore_times: bool,
    /// `--size-only`.
    pub size_only: bool,
    /// `-u`: what is newer at the destination stays.
    pub update: bool,
    /// `--existing`: nothing new is made.
    pub existing: bool,
    /// `--ignore-existing`: what exists is not touched.
    pub ignore_existing: bool,
    /// `--max-size`: larger files are not carried; bytes.
    pub max_size: Option<u64>,
    /// `--min-size`: smaller files are not carried; bytes.
    pub min_size: Option<u64>,
    /// `-m`.
    pub prune_empty_dirs: bool,
}

/// What may be destroyed at the destination, and what is kept of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Removal {
    /// `--delete`.
    pub delete: bool,
    /// `--delete-excluded`; implies `delete`.
    pub delete_excluded: bool,
    /// `--max-delete`; `None`: the guard's own number.
    pub max_delete: Option<MaxDelete>,
    /// `--yes`: the guard lets the run through.
    pub yes: bool,
    /// `-b`.
    pub backup: Option<Backup>,
}

/// What is told while the run goes on and after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Telling {
    /// `-i` is 1: changed entries; `-ii` is 2: unchanged ones too.
    pub itemize: u8,
    /// Number of `-v`.
    pub verbose: u8,
    /// `-q`.
    pub quiet: bool,
    /// `--stats`.
    pub stats: bool,
    /// `--progress`, also by `-P`.
    pub progress: bool,
    /// Number of `-h`: 1 is units of 1000, 2 of 1024.
    pub human_readable: u8,
    /// `--json`.
    pub json: bool,
    /// `--raw-names`.
    pub raw_names: bool,
}

/// How a run talks to a peer; between two local roots nothing of it has an effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wire {
    /// `--timeout`: how long nothing may come before the run gives up.
    pub timeout: Option<Duration>,
    /// `--bwlimit`: bytes in a second that are sent at most.
    pub bwlimit: Option<u64>,
    /// `-z`: blocks that are worth it are compressed.
    pub compress: bool,
    /// `-W`: files are sent whole, whatever the other side has.
    pub whole: bool,
}

impl Default for Wire {
    fn default() -> Self {
        Self { timeout: None, bwlimit: None, compress: true, whole: false }
    }
}

/// Everything a run is told by flags. `Options::archive()` is what `push`, `pull`, `sync` and `diff` start from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Kinds and attributes carried.
    pub preserve: Preserve,
    /// Entries looked at.
    pub select: Select,
    /// Deletions and backups of one-way runs.
    pub removal: Removal,
    /// Output.
    pub telling: Telling,
    /// `-n`: nothing is written.
    pub dry_run: bool,
    /// `--conflict`, of `sync`.
    pub conflict: Policy,
    /// `--force 1|2`, of `sync`: this side wins everything.
    pub force: Option<Side>,
    /// The wire.
    pub wire: Wire,
}

impl Options {
    /// Returns rsync's archive mode, `-rlptgoD`, and nothing else.
    #[must_use]
    pub fn archive() -> Self {
        Self {
            preserve: Preserve {
                recursive: true,
                links: true,
                perms: true,
                times: true,
                owner: true,
                group: true,
                devices: true,
                specials: true,
                numeric_ids: false,
                usermap: None,
                groupmap: None,
                chown: None,
                chmod: Vec::new(),
            },
            select: Select::default(),
            removal: Removal::default(),
            telling: Telling::default(),
            dry_run: false,
            conflict: Policy::KeepBoth,
            force: None,
            wire: Wire::default(),
        }
    }
}
