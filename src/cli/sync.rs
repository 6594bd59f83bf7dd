//! `sync`: two roots kept the same.

use crate::cli::args::{Pair, two_remote};
use crate::cli::failure::{Exit, Failure, Number, output_failure};
use crate::cli::operand::Operand;
use crate::cli::remote::{Opened, Visit};
use crate::cli::render::Teller;
use crate::cli::settings::Settings;
use crate::cli::summary::tell;
use crate::engine::cycle::{Job, sync};
use crate::engine::error::EngineError;
use crate::engine::far::guest;
use crate::engine::options::Options;
use crate::engine::report::Report;
use crate::engine::restore::RestoreError;
use crate::engine::selection;
use crate::model::path::escape;
use crate::rules::conflict::Side;
use crate::rules::scope::Scope;
use crate::store::error::StoreError;
use crate::transport::message::Right;

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

/// Carries changes both ways.
///
/// # Errors
/// A root is missing, the roots are not apart, or the engine could not go on.
pub fn run(operands: &Pair, settings: &Settings) -> Result<Exit, Failure> {
    let options = &operands.options;
    if let Some(flag) = one_way_flag(options) {
        return Err(Failure::usage(Number::Usage, format!("--{flag} has no meaning for csync sync"))
            .fix("leave out that flag or the one that implies it; push and pull have it"));
    }
    let scope = selection::scope(&options.select, options.removal.delete_excluded, &[]).map_err(|error| {
        Failure::usage(Number::Filter, chain(&error)).fix("correct the rule; nothing was changed")
    })?;
    let mut teller = Teller::new(options.telling);
    let ran = carry(operands, settings, scope, &mut teller);
    let mut screen = teller.finish().map_err(|error| output_failure(&error))?;
    let verb = if options.dry_run { "sync -n" } else { "sync" };
    tell(verb, &ran?, options.telling, &mut screen).map_err(|error| output_failure(&error))
}

fn carry(
    operands: &Pair,
    settings: &Settings,
    scope: Arc<Scope>,
    teller: &mut Teller,
) -> Result<Report, Failure> {
    let (options, state) = (&operands.options, settings.state_dir.as_path());
    let (root, side, remote) = match (&operands.one, &operands.two) {
        (Operand::Local(first), Operand::Local(second)) => {
            let job = Job { first, second, state, options, scope };
            return sync(&job, teller).map_err(|error| failure(&error));
        }
        (Operand::Local(root), Operand::Remote(remote)) => (root, Side::One, remote),
        (Operand::Remote(remote), Operand::Local(root)) => (root, Side::Two, remote),
        (Operand::Remote(one), Operand::Remote(two)) => {
            return Err(two_remote("sync", &one.shown, &two.shown));
        }
    };
    let mut visit = Visit::new(Right::Append, options, settings);
    let Opened { far, name } = visit.open(remote)?;
    let job = guest::Job { root, side, far: &far, name: &name, shown: &remote.shown, state, options, scope };
    guest::sync(&job, teller).map_err(|error| visit.failure(&error))
}

/// A flag that was given and that only one-way runs obey: none is passed over in silence.
fn one_way_flag(options: &Options) -> Option<&'static str> {
    let (preserve, select, removal) = (&options.preserve, &options.select, &options.removal);
    let given = [
        (!preserve.recursive, "no-recursive"),
        (!preserve.links, "no-links"),
        (!preserve.perms, "no-perms"),
        (!preserve.times, "no-times"),
        (!preserve.owner, "no-owner"),
        (!preserve.group, "no-group"),
        (!preserve.specials, "no-specials"),
        (preserve.usermap.is_some(), "usermap"),
        (preserve.groupmap.is_some(), "groupmap"),
        (preserve.chown.is_some(), "chown"),
        (!preserve.chmod.is_empty(), "chmod"),
        (select.files_from.is_some(), "files-from"),
        (select.ignore_times, "ignore-times"),
        (select.size_only, "size-only"),
        (select.update, "update"),
        (select.existing, "existing"),
        (select.ignore_existing, "ignore-existing"),
        (select.max_size.is_some(), "max-size"),
        (select.min_size.is_some(), "min-size"),
        (select.prune_empty_dirs, "prune-empty-dirs"),
        (removal.delete_excluded, "delete-excluded"),
        (removal.backup.is_some(), "backup"),
    ];
    given.into_iter().find_map(|(given, flag)| given.then_some(flag))
}

/// Returns what an error of the engine is to a user: exit code, number, cause and fix.
#[must_use]
pub fn failure(error: &EngineError) -> Failure {
    let (exit, number) = kind(error);
    Failure::new(exit, number, chain(error)).fix(fix(error))
}

fn kind(error: &EngineError) -> (Exit, Number) {
    match error {
        EngineError::NoRoot { .. } | EngineError::NotADirectory { .. } => (Exit::Missing, Number::Missing),
        EngineError::MarkerLost { empty: true, .. } => (Exit::RootMissing, Number::RootEmpty),
        EngineError::RootGone { .. }
        | EngineError::MarkerLost { .. }
        | EngineError::RootReplaced { .. }
        | EngineError::RootRestored { .. }
        | EngineError::BadMarker { .. } => (Exit::RootMissing, Number::RootLost),
        EngineError::Nested { .. } => (Exit::Usage, Number::Nested),
        EngineError::Locked { .. } | EngineError::Store(StoreError::Locked { .. }) => {
            (Exit::Locked, Number::Locked)
        }
        EngineError::Store(StoreError::Newer { .. }) => (Exit::Usage, Number::Newer),
        EngineError::Unknown { .. } => (Exit::Usage, Number::Unknown),
        EngineError::Root { source, .. } if source.is_no_space() => (Exit::LocalIo, Number::Full),
        EngineError::Private { .. } | EngineError::Root { .. } => (Exit::LocalIo, Number::Disk),
        EngineError::Store(_) | EngineError::State { .. } | EngineError::Random(_) => {
            (Exit::LocalIo, Number::State)
        }
    }
}

fn fix(error: &EngineError) -> String {
    let anew = |database: &Path| {
        format!("remove {}: the next run is then a union and deletes nothing", shown(database))
    };
    match error {
        EngineError::NoRoot { .. } | EngineError::NotADirectory { .. } => {
            "name two directories that exist (mkdir -p makes one)".to_owned()
        }
        EngineError::RootGone { database, .. } => {
            format!("mount it; if it is gone for good, make it anew and {}", anew(database))
        }
        EngineError::MarkerLost { database, .. } => {
            format!("mount the disk; if it was meant, {}", anew(database))
        }
        EngineError::RootReplaced { database, .. } => {
            format!("bring the old root back; if it was meant, {}", anew(database))
        }
        EngineError::RootRestored { side: Some(side), .. } => format!(
            "csync sync --force {} A B brings it up to date from the other side; --force {} lets it win",
            side.other().label(),
            side.label()
        ),
        EngineError::RootRestored { side: None, database, .. } => {
            format!("bring the newer state of it back; if it was meant, {}", anew(database))
        }
        EngineError::BadMarker { path, .. } => {
            format!("look at {}/.csync/marker; nothing was changed", shown(path))
        }
        EngineError::Nested { .. } => "name two directories of which neither holds the other".to_owned(),
        EngineError::Locked { .. } | EngineError::Store(StoreError::Locked { .. }) => {
            "wait until the other run has ended".to_owned()
        }
        EngineError::Store(StoreError::Newer { .. }) => "use that csync; nothing was changed".to_owned(),
        EngineError::Unknown { fix, .. } => (*fix).to_owned(),
        EngineError::Private { path, .. } => {
            format!("see who made {}/.csync, and remove it if it is not csync's", shown(path))
        }
        EngineError::Root { .. } => "see to the disk and run again; nothing is lost".to_owned(),
        EngineError::Store(_) | EngineError::State { .. } | EngineError::Random(_) => {
            "see to the state directory (--state-dir) and run again".to_owned()
        }
    }
}

/// Returns what an error of restoring is to a user.
#[must_use]
pub fn restore_failure(error: &RestoreError) -> Failure {
    match error {
        RestoreError::Engine(error) => failure(error),
        RestoreError::NoVersion { path, .. } | RestoreError::Ambiguous { path, .. } => {
            let fix = format!(
                "csync versions {} lists what there is there and below; name one of these",
                shown(path)
            );
            Failure::usage(Number::Unknown, chain(error)).fix(fix)
        }
        RestoreError::InTheWay { .. } => Failure::usage(Number::Unknown, chain(error))
            .fix("move the directory away and try again, or restore elsewhere by --to DIR"),
        RestoreError::Stage(_) | RestoreError::Apply(_) | RestoreError::Disk(_) => {
            Failure::new(Exit::LocalIo, Number::Disk, chain(error)).fix("run again; nothing is lost")
        }
    }
}

/// The message of an error and of what caused it.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let more = source.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = source.source();
    }
    escape(text.as_bytes())
}

/// A path as messages show it.
#[must_use]
pub fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_bytes())
}
