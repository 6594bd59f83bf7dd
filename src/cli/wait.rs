//! `csync wait`: until other members of a folder durably hold all that this node had when it was called.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::failure::{Exit, Failure, Number, output_failure};
use crate::cli::question::WaitArgs;
use crate::cli::render::Screen;
use crate::cli::served::{asked, strange};
use crate::cli::settings::Settings;
use crate::cli::summary::SCHEMA;
use crate::daemon::question::Question;
use crate::disk::clock::monotonic;
use crate::model::path::escape;

/// How soon the daemon is asked again at first, ...
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// ... doubled from one time to the next up to this.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// Waits for the members that `args` names, or for all that take from here.
///
/// # Errors
/// No daemon answers, it does not serve the folder, or a name is no member that takes from here.
pub fn run(args: &WaitArgs, settings: &Settings) -> Result<Exit, Failure> {
    let begun = monotonic();
    let folder = args.folder.clone();
    // Whatever was closed before the call counts, heard of or not.
    let look = asked(settings, &Question::Look { folder: folder.clone() })?;
    let seq = look["seq"].as_u64().ok_or_else(strange)?;
    let question = Question::Behind { folder, seq };
    let mut screen = Screen::new(args.listing.raw_names);
    let mut pause = PAUSE_MIN;
    loop {
        let waiting = behind(&asked(settings, &question)?, args)?;
        let left = args.timeout.map(|timeout| timeout.saturating_sub(monotonic().duration_since(begun)));
        if waiting.is_empty() || left.is_some_and(|left| left.is_zero()) {
            return told(&mut screen, args, &waiting);
        }
        std::thread::sleep(left.map_or(pause, |left| left.min(pause)));
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// The members that are still waited for.
fn behind(answer: &Value, args: &WaitArgs) -> Result<Vec<String>, Failure> {
    let member = |value: &Value| Some((value["name"].as_str()?.to_owned(), value["has"].as_bool()?));
    let members = answer["members"].as_array().ok_or_else(strange)?;
    let members = members.iter().map(member).collect::<Option<Vec<_>>>().ok_or_else(strange)?;
    if let Some(stranger) = args.members.iter().find(|name| members.iter().all(|(known, _)| known != *name)) {
        let (stranger, folder) = (escape(stranger.as_bytes()), escape(args.folder.as_bytes()));
        let message =
            format!("{stranger} is no member that takes the changes of folder {folder} from this node");
        let known: Vec<String> = members.iter().map(|(name, _)| escape(name.as_bytes())).collect();
        let fix = match known.as_slice() {
            [] => "no other member does; csync status lists members".to_owned(),
            _ => format!("those that do are {}", known.join(", ")),
        };
        return Err(Failure::usage(Number::Peer, message).fix(fix));
    }
    let wanted = |name: &String| args.members.is_empty() || args.members.contains(name);
    Ok(members.into_iter().filter(|(name, has)| wanted(name) && !has).map(|(name, _)| name).collect())
}

fn told(screen: &mut Screen, args: &WaitArgs, waiting: &[String]) -> Result<Exit, Failure> {
    if args.listing.json {
        let object = json!({ "schema": SCHEMA, "folder": args.folder, "waiting": waiting });
        screen.out(format!("{object}\n").as_bytes()).map_err(|error| output_failure(&error))?;
    }
    if waiting.is_empty() {
        return Ok(Exit::Done);
    }
    let names: Vec<String> = waiting.iter().map(|name| escape(name.as_bytes())).collect();
    let message = format!(
        "folder {}: still waiting for {} when the time was over",
        escape(args.folder.as_bytes()),
        names.join(", ")
    );
    Err(Failure::new(Exit::Timeout, Number::Timeout, message)
        .fix("csync status says who is connected; wait again, or longer"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::listing::Listing;

    #[test]
    fn only_those_that_were_named_are_waited_for() {
        let answer = json!({ "members": [
            { "name": "web2", "has": true }, { "name": "web3", "has": false }, { "name": "web4", "has": false },
        ] });
        let args = |members: &[&str]| WaitArgs {
            folder: "web".to_owned(),
            members: members.iter().map(|name| (*name).to_owned()).collect(),
            timeout: None,
            listing: Listing::default(),
        };
        for (case, members, expected) in [
            ("all", &[][..], &["web3", "web4"][..]),
            ("one that has it", &["web2"], &[]),
            ("one that lacks it", &["web3"], &["web3"]),
            ("two", &["web4", "web2"], &["web4"]),
        ] {
            assert_eq!(behind(&answer, &args(members)).unwrap(), expected, "{case}");
        }
        assert_eq!(behind(&answer, &args(&["web9"])).unwrap_err().exit, Exit::Usage);
        assert!(behind(&json!({}), &args(&[])).is_err());
    }
}
