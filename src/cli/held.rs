//! `csync held`: what the delete guard holds in the folders of this node's daemon.

use serde_json::json;

use crate::cli::failure::{Exit, Failure, Number, output_failure};
use crate::cli::listing::{HeldRow, Listing, held_json, held_table};
use crate::cli::render::Screen;
use crate::cli::served::{self, Item, Served, asked, no_folder};
use crate::cli::settings::Settings;
use crate::cli::summary::SCHEMA;
use crate::daemon::question::{Named, Question};
use crate::model::path::escape;

/// Lists what is held, in all folders or in one.
///
/// # Errors
/// No daemon answers, or it does not serve the folder.
pub fn list(folder: Option<&str>, listing: Listing, settings: &Settings) -> Result<Exit, Failure> {
    let served = served::held(settings)?;
    if let Some(wanted) = folder
        && !served.names().iter().any(|name| name == wanted)
    {
        return Err(no_folder(wanted, &served.names()));
    }
    let mut screen = Screen::new(listing.raw_names);
    for (name, why) in &served.untold {
        screen.message(&format!("{}: {}", escape(name.as_bytes()), escape(why.as_bytes())));
    }
    let plans = plans(served).into_iter().map(|plan| plan.row);
    let rows: Vec<HeldRow> = plans.filter(|row| folder.is_none_or(|name| row.folder == name)).collect();
    let text = if listing.json {
        format!("{}\n", held_json(&rows)).into_bytes()
    } else {
        held_table(&rows, |name| screen.name(name).into_owned())
    };
    screen.out(&text).map(|()| Exit::Done).map_err(|error| output_failure(&error))
}

fn plans(served: Served<Item<HeldRow>>) -> Vec<Item<HeldRow>> {
    served.folders.into_iter().flat_map(|folder| folder.items).collect()
}

/// Lets held plans through, or undoes them.
///
/// # Errors
/// No daemon answers, or an id names no plan.
pub fn decide(approve: bool, ids: &[String], listing: Listing, settings: &Settings) -> Result<Exit, Failure> {
    let plans = plans(served::held(settings)?);
    let chosen = ids.iter().map(|id| named(&plans, id)).collect::<Result<Vec<_>, _>>()?;
    let mut screen = Screen::new(listing.raw_names);
    let word = if approve { "approved" } else { "rejected" };
    let mut done = Vec::new();
    for plan in chosen {
        let named = Named { folder: plan.folder.clone(), id: plan.id };
        let question = if approve { Question::Approve(named) } else { Question::Reject(named) };
        asked(settings, &question)?;
        done.push(plan);
    }
    let text = if listing.json {
        let ids: Vec<&String> = done.iter().map(|plan| &plan.row.id).collect();
        format!("{}\n", json!({ "schema": SCHEMA, word: ids }))
    } else {
        let line = |plan: &&Item<HeldRow>| {
            let folder = escape(plan.folder.as_bytes());
            format!("{word} {}  {folder}: {} deletions\n", plan.row.id, plan.row.deletes)
        };
        done.iter().map(line).collect()
    };
    screen.out(text.as_bytes()).map(|()| Exit::Done).map_err(|error| output_failure(&error))
}

fn named<'a>(plans: &'a [Item<HeldRow>], id: &str) -> Result<&'a Item<HeldRow>, Failure> {
    let prefix = id.to_ascii_lowercase();
    let mut found =
        plans.iter().filter(|plan| !prefix.is_empty() && plan.id.to_string().starts_with(&prefix));
    let shown = escape(id.as_bytes());
    let failure = match (found.next(), found.next()) {
        (Some(plan), None) => return Ok(plan),
        (Some(_), Some(_)) => format!("several held plans have an id that begins with {shown}"),
        (None, _) => format!("{shown} names nothing that is held"),
    };
    Err(Failure::usage(Number::Unknown, failure)
        .fix("csync held lists what is; it may have grown, or have been decided on another member"))
}
