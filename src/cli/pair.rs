//! `diff` and `verify`: two roots compared, or one root and what was recorded of it.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cli::args::Pair;
use crate::cli::cause;
use crate::cli::failure::{Exit, Failure, Number, output_failure};
use crate::cli::listing::Listing;
use crate::cli::operand::Operand;
use crate::cli::remote::Visit;
use crate::cli::render::{Screen, Teller, item_line};
use crate::cli::settings::Settings;
use crate::cli::summary::SCHEMA;
use crate::cli::transfer::{self, exists};
use crate::disk::attributes::is_superuser;
use crate::engine::mirror::run::difference;
use crate::engine::options::{Select, Telling};
use crate::engine::report::{Item, Observer, Progress};
use crate::engine::selection;
use crate::engine::verify as engine;
use crate::model::path::{RelPath, escape};
use crate::transport::message::Right;

/// Lists what differs.
///
/// # Errors
/// A root is missing, the roots are not apart, a peer cannot be reached or refuses, or the engine could not go on.
pub fn diff(operands: &Pair, settings: &Settings) -> Result<Exit, Failure> {
    apart("diff", operands)?;
    let options = &operands.options;
    let mut visit = Visit::new(Right::Read, options, settings);
    let (one, two) = (visit.side(&operands.one)?, visit.side(&operands.two)?);
    let telling = Telling { itemize: 1, ..options.telling };
    let mut differences =
        Differences { teller: Teller::new(telling), entries: Vec::new(), json: telling.json };
    let compared = difference(&one, &two, options, &mut differences);
    let mut screen = differences.teller.finish().map_err(|error| output_failure(&error))?;
    let report = compared.map_err(|error| transfer::failure(&error, &visit))?;
    if telling.json {
        let object = json!({ "schema": SCHEMA, "entries": differences.entries });
        screen.out(format!("{object}\n").as_bytes()).map_err(|error| output_failure(&error))?;
    }
    for skipped in report.skipped.iter().filter(|_| report.troubles.partial) {
        screen.message(&format!("skipped  {}  {}", skipped.path, skipped.why));
    }
    Ok(Exit::of(&report))
}

/// Shows differences, or gathers them for one object.
struct Differences {
    teller: Teller,
    entries: Vec<Value>,
    json: bool,
}

impl Observer for Differences {
    fn item(&mut self, item: &Item) {
        if self.json {
            self.entries.push(json!({ "path": item.path.to_string(), "item": item.code.trim_end() }));
        } else {
            self.teller.item(item);
        }
    }

    fn progress(&mut self, progress: Progress, path: Option<&RelPath>) {
        self.teller.progress(progress, path);
    }

    fn warning(&mut self, text: &str) {
        self.teller.warning(text);
    }
}

/// Compares a root with what was recorded of it.
///
/// # Errors
/// The root is missing, or the engine could not go on.
pub fn verify(root: &Path, deep: bool, listing: Listing, settings: &Settings) -> Result<Exit, Failure> {
    exists(root)?;
    let all = selection::scope(&Select::default(), false, &[])
        .map_err(|error| Failure::usage(Number::Filter, cause::chain(&error)))?;
    let found = engine::verify(&settings.state_dir, root, deep, is_superuser(), &all)
        .map_err(|error| cause::failure(&error))?;
    let mut screen = Screen::new(listing.raw_names);
    let text = if listing.json {
        let entry = |item: &Item| json!({ "path": item.path.to_string(), "item": item.code.trim_end() });
        let entries: Vec<Value> = found.items.iter().map(entry).collect();
        format!("{}\n", json!({ "schema": SCHEMA, "entries": entries })).into_bytes()
    } else {
        found.items.iter().flat_map(|item| item_line(item, &screen)).collect()
    };
    screen.out(&text).map_err(|error| output_failure(&error))?;
    for skipped in &found.skipped {
        screen.message(&format!("skipped  {}  {}", skipped.path, skipped.why));
    }
    let met = [(!found.skipped.is_empty(), Exit::Partial), (!found.items.is_empty(), Exit::Conflicts)];
    let met: Vec<Exit> = met.into_iter().filter_map(|(is_so, exit)| is_so.then_some(exit)).collect();
    Ok(Exit::worst(&met))
}

/// Checks that the roots of this machine exist, and that neither is or lies in the other.
fn apart(verb: &str, Pair { one, two, .. }: &Pair) -> Result<(), Failure> {
    let (one, two) = match (one, two) {
        (Operand::Local(one), Operand::Local(two)) => (canonical(one)?, canonical(two)?),
        (Operand::Local(root), Operand::Remote(_)) | (Operand::Remote(_), Operand::Local(root)) => {
            return canonical(root).map(|_there| ());
        }
        (Operand::Remote(_), Operand::Remote(_)) => return Ok(()),
    };
    let shown = |path: &Path| escape(path.as_os_str().as_bytes());
    if one == two {
        return Err(Failure::usage(Number::Nested, format!("csync {verb}: both roots are {}", shown(&one)))
            .fix("name two different directories"));
    }
    if one.starts_with(&two) || two.starts_with(&one) {
        let (inner, outer) = if one.starts_with(&two) { (&one, &two) } else { (&two, &one) };
        let message =
            format!("csync {verb}: the root {} lies inside the root {}", shown(inner), shown(outer));
        return Err(Failure::usage(Number::Nested, message)
            .fix("name two directories of which neither holds the other"));
    }
    Ok(())
}

fn canonical(root: &Path) -> Result<PathBuf, Failure> {
    exists(root)?;
    let shown = escape(root.as_os_str().as_bytes());
    let missing = |why: String| {
        Failure::new(Exit::Missing, Number::Missing, format!("{shown} {why}"))
            .fix("name a directory that exists")
    };
    let path = fs::canonicalize(root).map_err(|error| missing(format!("cannot be resolved: {error}")))?;
    if path.is_dir() { Ok(path) } else { Err(missing("is not a directory".to_owned())) }
}
