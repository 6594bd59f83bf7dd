//! `csync status`: what this node's daemon says of its folders.

use std::time::Duration;

use crate::cli::failure::{Exit, Failure, output_failure};
use crate::cli::listing::table;
use crate::cli::question::StatusArgs;
use crate::cli::render::Screen;
use crate::cli::served::{no_answer, no_folder, strange};
use crate::cli::settings::Settings;
use crate::cli::summary::{number, size};
use crate::daemon::control::ask;
use crate::daemon::question::Question;
use crate::daemon::status::{FolderStatus, State, Status};
use crate::model::path::escape;

/// How often `--watch` looks again.
const INTERVAL: Duration = Duration::from_secs(2);
/// Clears a terminal and goes to its first line.
const CLEAR: &[u8] = b"\x1b[H\x1b[2J";

/// Shows how the folders of this node's daemon stand.
///
/// # Errors
/// No daemon answers, or it does not serve the folder.
pub fn run(args: &StatusArgs, settings: &Settings, screen: &mut Screen) -> Result<Exit, Failure> {
    if args.check {
        let (exit, line) = match asked(args, settings) {
            Ok(status) => verdict(&status),
            Err(failure) => (Exit::PluginUnknown, format!("CSYNC UNKNOWN - {}", failure.message)),
        };
        return out(screen, format!("{line}\n").as_bytes()).map(|()| exit);
    }
    loop {
        let status = asked(args, settings)?;
        if args.watch && !args.listing.json && screen.is_terminal() {
            out(screen, CLEAR)?;
        }
        show(&status, args, screen)?;
        if !args.watch || !screen.is_open() {
            return Ok(Exit::Done);
        }
        std::thread::sleep(INTERVAL);
    }
}

fn out(screen: &mut Screen, bytes: &[u8]) -> Result<(), Failure> {
    screen.out(bytes).map_err(|error| output_failure(&error))
}

/// What the daemon says, of one folder if one is named.
fn asked(args: &StatusArgs, settings: &Settings) -> Result<Status, Failure> {
    let answer = ask(&settings.control, &Question::Status).map_err(|error| no_answer(&error))?;
    let mut status = Status::parse(&answer).ok_or_else(strange)?;
    if let Some(wanted) = &args.folder {
        let known: Vec<String> = status.folders.iter().map(|folder| folder.name.clone()).collect();
        status.folders.retain(|folder| folder.name == *wanted);
        if status.folders.is_empty() {
            return Err(no_folder(wanted, &known));
        }
    }
    Ok(status)
}

/// The line of a monitoring plugin, and what it ends with.
fn verdict(status: &Status) -> (Exit, String) {
    let folders = &status.folders;
    let names = |of: &dyn Fn(&FolderStatus) -> bool| -> Vec<String> {
        let met = folders.iter().filter(|folder| of(folder));
        met.map(|folder| format!("{} {}", escape(folder.name.as_bytes()), folder.state.word())).collect()
    };
    let broken = names(&|folder| matches!(folder.state, State::Halted | State::Error));
    let down: Vec<String> = folders
        .iter()
        .flat_map(|folder| folder.peers.iter().filter(|peer| !peer.connected).map(move |peer| (folder, peer)))
        .map(|(folder, peer)| {
            format!("{} {} down", escape(folder.name.as_bytes()), escape(peer.name.as_bytes()))
        })
        .collect();
    let waiting = names(&|folder| {
        folder.conflicts > 0 || folder.held > 0 || folder.state == State::Held || behind(folder) > 0
    });
    let (exit, word, what) = if !broken.is_empty() || !down.is_empty() {
        (Exit::PluginCritical, "CRITICAL", [broken.clone(), down].concat().join(", "))
    } else if !waiting.is_empty() {
        (Exit::PluginWarning, "WARNING", waiting.join(", "))
    } else {
        (Exit::Done, "OK", format!("{} folder(s) in sync", folders.len()))
    };
    let sum = |of: &dyn Fn(&FolderStatus) -> u64| folders.iter().map(of).fold(0, u64::saturating_add);
    let line = format!(
        "CSYNC {word} - {what} | folders={} broken={} behind={} conflicts={} held={}",
        folders.len(),
        broken.len(),
        sum(&behind),
        sum(&|folder| folder.conflicts),
        sum(&|folder| folder.held)
    );
    (exit, line)
}

/// Entries that some member lacks, as far as that is known.
fn behind(folder: &FolderStatus) -> u64 {
    folder.peers.iter().filter_map(|peer| peer.behind).max().unwrap_or(0)
}

fn show(status: &Status, args: &StatusArgs, screen: &mut Screen) -> Result<(), Failure> {
    if args.listing.json {
        return out(screen, format!("{}\n", status.to_json()).as_bytes());
    }
    let heads = ["FOLDER", "MODE", "STATE", "ENTRIES", "SIZE", "BEHIND", "CONFLICTS", "HELD", "PEERS"];
    let mut cells = vec![heads.map(|head| head.as_bytes().to_vec())];
    for folder in &status.folders {
        let known = folder.peers.iter().any(|peer| peer.behind.is_some());
        let peers: Vec<String> = folder
            .peers
            .iter()
            .map(|peer| format!("{}{}", if peer.connected { "+" } else { "-" }, escape(peer.name.as_bytes())))
            .collect();
        cells.push([
            screen.name(folder.name.as_bytes()).into_owned(),
            escape(folder.mode.as_bytes()).into_bytes(),
            folder.state.word().as_bytes().to_vec(),
            number(folder.files, 1).into_bytes(),
            size(folder.bytes).into_bytes(),
            if known { behind(folder).to_string() } else { "-".to_owned() }.into_bytes(),
            folder.conflicts.to_string().into_bytes(),
            folder.held.to_string().into_bytes(),
            peers.join(" ").into_bytes(),
        ]);
    }
    out(screen, &table(&cells))?;
    for folder in &status.folders {
        if let Some(why) = &folder.why {
            let name = escape(folder.name.as_bytes());
            screen.message(&format!("{name}: {}: {}", folder.state.word(), escape(why.as_bytes())));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::status::PeerStatus;

    fn folder(state: State, conflicts: u64, behind: Option<u64>) -> FolderStatus {
        FolderStatus {
            name: "home".to_owned(),
            mode: "two-way".to_owned(),
            state,
            why: None,
            files: 1,
            bytes: 1,
            conflicts,
            held: 0,
            sessions: 0,
            peers: vec![PeerStatus { name: "web2".to_owned(), connected: true, behind }],
        }
    }

    fn away() -> FolderStatus {
        let mut folder = folder(State::InSync, 0, Some(0));
        folder.peers[0].connected = false;
        folder
    }

    #[test]
    fn a_monitor_is_told_the_worst() {
        for (case, folders, code, start) in [
            ("nothing served", vec![], 0, "CSYNC OK - 0 folder(s)"),
            ("in sync", vec![folder(State::InSync, 0, None)], 0, "CSYNC OK - 1 folder(s)"),
            ("at work", vec![folder(State::Syncing, 0, Some(0))], 0, "CSYNC OK"),
            ("behind", vec![folder(State::InSync, 0, Some(3))], 1, "CSYNC WARNING - home in-sync |"),
            ("conflicts", vec![folder(State::InSync, 2, None)], 1, "CSYNC WARNING"),
            (
                "a halted one beside conflicts",
                vec![folder(State::InSync, 2, None), folder(State::Halted, 0, None)],
                2,
                "CSYNC CRITICAL - home halted | folders=2 broken=1 behind=0 conflicts=2 held=0",
            ),
            ("a member that is down", vec![away()], 2, "CSYNC CRITICAL - home web2 down |"),
            ("an error", vec![folder(State::Error, 0, None)], 2, "CSYNC CRITICAL"),
        ] {
            let status = Status { folders, ..Status::default() };
            let (exit, line) = verdict(&status);
            assert_eq!(exit.code(), code, "{case}: {line}");
            assert!(line.starts_with(start), "{case}: {line}");
        }
    }
}
