//! What this node's daemon says of the folders that it serves, for the verbs that go through it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use serde_json::Value;

use crate::cli::cause::chain;
use crate::cli::failure::{Exit, Failure, Number};
use crate::cli::listing::{ConflictRow, HeldRow, SideRow};
use crate::cli::settings::Settings;
use crate::daemon::control::{AskError, Problem, ask};
use crate::daemon::question::Question;
use crate::model::entry::Digest;
use crate::model::metadata::Timestamp;
use crate::model::path::{RelPath, escape};

/// Hexadecimal digits of an id that are shown.
pub const ID_DIGITS: usize = 8;
/// The version of the shape of answers.
const SCHEMA: u64 = 1;

/// The folders of the daemon, and a list about each.
#[derive(Debug)]
pub struct Served<T> {
    /// This node's name.
    pub node: String,
    /// The peers of its config.
    pub peers: Vec<String>,
    /// The folders.
    pub folders: Vec<Folder<T>>,
    /// Folders of which nothing can be told, and why.
    pub untold: Vec<(String, String)>,
}

/// One folder.
#[derive(Debug)]
pub struct Folder<T> {
    /// Its name.
    pub name: String,
    /// Its root; empty where it was not told.
    pub root: PathBuf,
    /// Its database; empty where it was not told.
    pub database: PathBuf,
    /// What there is in it.
    pub items: Vec<T>,
    /// Whether there is more than was told.
    pub more: bool,
}

/// A thing of a folder of the daemon: by its whole id, and as it is shown.
#[derive(Clone, Debug)]
pub struct Item<T> {
    /// The folder.
    pub folder: String,
    /// Its id.
    pub id: Digest,
    /// How it is shown.
    pub row: T,
}

/// Returns what the daemon answers to `question`.
///
/// # Errors
/// No daemon answers, or not that.
pub fn asked(settings: &Settings, question: &Question) -> Result<Value, Failure> {
    let answer = ask(&settings.control, question).map_err(|error| no_answer(&error))?;
    let value: Value = serde_json::from_slice(&answer).map_err(|_no_json| strange())?;
    if value["schema"].as_u64() == Some(SCHEMA) { Ok(value) } else { Err(strange()) }
}

/// Returns the open conflicts of the folders of the daemon; `None` where this user has no daemon to ask.
///
/// # Errors
/// It answers, but not that.
pub fn conflicts(settings: &Settings) -> Result<Option<Served<Item<ConflictRow>>>, Failure> {
    match ask(&settings.control, &Question::Conflicts) {
        Err(AskError::NoDaemon { .. } | AskError::NotAllowed { .. }) => Ok(None),
        Err(error) => Err(no_answer(&error)),
        Ok(answer) => {
            let value: Value = serde_json::from_slice(&answer).map_err(|_no_json| strange())?;
            let node = value["node"].as_str().unwrap_or_default().to_owned();
            served(&value, "conflicts", |name, value| conflict(&node, name, value))
                .map(Some)
                .ok_or_else(strange)
        }
    }
}

/// Returns what is held in the folders of the daemon.
///
/// # Errors
/// No daemon answers, or not that.
pub fn held(settings: &Settings) -> Result<Served<Item<HeldRow>>, Failure> {
    let value = asked(settings, &Question::Held)?;
    served(&value, "held", plan).ok_or_else(strange)
}

/// Returns the failure of a question that was not answered (B45, B46).
#[must_use]
pub fn no_answer(error: &AskError) -> Failure {
    let message = escape(chain(error).as_bytes());
    let fix = match error {
        AskError::NoDaemon { .. } => {
            "systemctl start csyncd, or run csyncd; push, pull, sync and verify work without it"
        }
        AskError::NotAllowed { .. } => {
            "ask as root, as the user of csyncd, or as a member of the group that control-group names"
        }
        AskError::Refused { problem: Problem { status, .. } } => {
            let (exit, number, fix) = match status {
                404 => (Exit::Missing, Number::Missing, "csync status lists the folders of this node"),
                410 => (Exit::RootMissing, Number::RootLost, "csync status says why, and the log of csyncd"),
                409 => (Exit::Usage, Number::Unknown, "csync status says how the folder stands"),
                _ => (Exit::LocalIo, Number::State, "look at the log of csyncd"),
            };
            return Failure::new(exit, number, message).fix(fix);
        }
        AskError::BrokeOff { .. } | AskError::Unexpected { .. } => "look at the log of csyncd",
    };
    Failure::usage(Number::Control, message).fix(fix)
}

/// Returns the failure of a daemon of another release.
#[must_use]
pub fn strange() -> Failure {
    Failure::usage(Number::Control, "csyncd answered what this csync does not understand")
        .fix("bring csync and csyncd to the same release, and start csyncd again")
}

/// Returns the failure of a folder that this node has not.
#[must_use]
pub fn no_folder(wanted: &str, known: &[String]) -> Failure {
    let message = format!("there is no folder {} on this node", escape(wanted.as_bytes()));
    let known: Vec<String> = known.iter().map(|name| escape(name.as_bytes())).collect();
    let fix = if known.is_empty() {
        "it serves none".to_owned()
    } else {
        format!("it serves {}", known.join(", "))
    };
    Failure::new(Exit::Missing, Number::Missing, message).fix(fix)
}

impl<T> Served<T> {
    /// The names of the folders.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let folders = self.folders.iter().map(|folder| &folder.name);
        folders.chain(self.untold.iter().map(|(name, _)| name)).cloned().collect()
    }

    /// Whether the daemon works with the database at `path`.
    #[must_use]
    pub fn has_database(&self, path: &Path) -> bool {
        let path = path.canonicalize();
        let is_it = |known: PathBuf| path.as_ref().is_ok_and(|path| known == *path);
        self.folders.iter().any(|folder| folder.database.canonicalize().is_ok_and(is_it))
    }
}

fn served<T>(value: &Value, list: &str, item: impl Fn(&str, &Value) -> Option<T>) -> Option<Served<T>> {
    let folder = |value: &Value| {
        let name = value["name"].as_str()?;
        let items = value[list].as_array()?.iter().map(|value| item(name, value)).collect::<Option<_>>()?;
        Some(Folder {
            name: name.to_owned(),
            root: path(&value["root"])?,
            database: path(&value["database"])?,
            items,
            more: value["more"].as_bool().unwrap_or_default(),
        })
    };
    let untold = |value: &Value| Some((text(&value["name"])?, text(&value["why"])?));
    let peers = value["peers"].as_array().map(Vec::as_slice).unwrap_or_default();
    Some(Served {
        node: text(&value["node"])?,
        peers: peers.iter().filter_map(text).collect(),
        folders: value["folders"].as_array()?.iter().map(folder).collect::<Option<_>>()?,
        untold: value["untold"].as_array()?.iter().map(untold).collect::<Option<_>>()?,
    })
}

/// Ours is what we wrote; where we wrote neither, what stands here.
fn conflict(node: &str, folder: &str, value: &Value) -> Option<Item<ConflictRow>> {
    let (winner, loser) = (side(&value["winner"])?, side(&value["loser"])?);
    let is_ours = loser.peer == node && winner.peer != node;
    let (local, other) = if is_ours { (loser, winner) } else { (winner, loser) };
    let id = Digest::parse(value["id"].as_str()?)?;
    let path = RelPath::new(&bytes(&value["path"])?).ok()?;
    let (shown, since) = (id.to_string()[..ID_DIGITS].to_owned(), time(&value["since"])?);
    let row = ConflictRow { id: shown, folder: folder.to_owned(), path, local, other, since };
    Some(Item { folder: folder.to_owned(), id, row })
}

fn side(value: &Value) -> Option<SideRow> {
    Some(SideRow {
        peer: text(&value["peer"])?,
        size: value["size"].as_u64()?,
        mtime: time(&value["mtime"])?,
        digest: value["digest"].as_str().and_then(Digest::parse),
        mode: u32::try_from(value["mode"].as_u64()?).ok()?,
        deleted: false,
    })
}

fn plan(folder: &str, value: &Value) -> Option<Item<HeldRow>> {
    let id = Digest::parse(value["id"].as_str()?)?;
    let row = HeldRow {
        id: id.to_string()[..ID_DIGITS].to_owned(),
        folder: folder.to_owned(),
        peer: text(&value["peer"])?,
        deletes: value["deletes"].as_u64()?,
        of: value["of"].as_u64()?,
        since: time(&value["since"])?,
    };
    Some(Item { folder: folder.to_owned(), id, row })
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn time(value: &Value) -> Option<Timestamp> {
    let nanos = u32::try_from(value[1].as_u64()?).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Timestamp::new(value[0].as_i64()?, nanos))
}

/// Returns the bytes of a text of hexadecimal digits.
pub fn bytes(value: &Value) -> Option<Vec<u8>> {
    HEXLOWER.decode(value.as_str()?.as_bytes()).ok()
}

fn path(value: &Value) -> Option<PathBuf> {
    if value.is_null() {
        Some(PathBuf::new())
    } else {
        bytes(value).map(OsString::from_vec).map(PathBuf::from)
    }
}
