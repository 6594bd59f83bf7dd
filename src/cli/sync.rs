//! `sync`: two roots kept the same.

use std::sync::Arc;

use crate::cli::args::{Pair, two_remote};
use crate::cli::cause::{chain, failure};
use crate::cli::failure::{Exit, Failure, Number, output_failure};
use crate::cli::operand::Operand;
use crate::cli::remote::{Opened, Visit};
use crate::cli::render::Teller;
use crate::cli::settings::Settings;
use crate::cli::summary::tell;
use crate::engine::cycle::{Job, sync};
use crate::engine::far::guest;
use crate::engine::options::Options;
use crate::engine::report::Report;
use crate::engine::selection;
use crate::rules::conflict::Side;
use crate::rules::scope::Scope;
use crate::transport::message::Right;

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
