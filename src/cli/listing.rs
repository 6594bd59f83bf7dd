//! Listings of conflicts, versions, differences and folders: a table for people, or one JSON object.

use clap::parser::ArgMatches;
use jiff::Timestamp as Moment;
use serde_json::{Value, json};

use crate::cli::failure::{Failure, Number};
use crate::cli::summary::{SCHEMA, size};
use crate::model::entry::Digest;
use crate::model::heard::heard;
use crate::model::metadata::Timestamp;
use crate::model::path::{RelPath, escape};
use crate::transport::message::{FolderInfo, Right};

/// How a listing is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Listing {
    /// `--json`.
    pub json: bool,
    /// `--raw-names`.
    pub raw_names: bool,
}

impl Listing {
    /// Returns how the flags say that it is shown.
    ///
    /// # Errors
    /// They exclude each other.
    pub fn of(matches: &ArgMatches) -> Result<Self, Failure> {
        let listing = Self { json: matches.get_flag("json"), raw_names: matches.get_flag("raw-names") };
        if listing.json && listing.raw_names {
            return Err(Failure::usage(
                Number::Conflicting,
                "--json and --raw-names exclude each other: JSON must be UTF-8",
            )
            .fix("leave out --json or --raw-names"));
        }
        Ok(listing)
    }
}

/// One side of a conflict.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SideRow {
    /// `1`, `2`, or the name of a peer.
    pub peer: String,
    /// Bytes; 0 for what is no file.
    pub size: u64,
    /// Modification time.
    pub mtime: Timestamp,
    /// Of a file.
    pub digest: Option<Digest>,
    /// Permission bits.
    pub mode: u32,
    /// Whether this side deleted the path.
    pub deleted: bool,
}

/// An open conflict.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConflictRow {
    /// By which `resolve` takes it.
    pub id: String,
    /// The folder's name, or the pair's first root.
    pub folder: String,
    /// Below the root.
    pub path: RelPath,
    /// What is at the path.
    pub local: SideRow,
    /// What is not.
    pub other: SideRow,
    /// When it was found.
    pub since: Timestamp,
}

/// Deletions that the guard holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeldRow {
    /// By which `held approve` and `held reject` take it.
    pub id: String,
    /// The folder's name.
    pub folder: String,
    /// The name of who deleted.
    pub peer: String,
    /// How many entries.
    pub deletes: u64,
    /// Of how many.
    pub of: u64,
    /// When the first of them was deleted.
    pub since: Timestamp,
}

/// An old version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VersionRow {
    /// By which `restore` and `cat` take it.
    pub id: String,
    /// Below the root.
    pub path: RelPath,
    /// When it stopped being live.
    pub replaced: Timestamp,
    /// When its content was written.
    pub written: Timestamp,
    /// Bytes.
    pub size: u64,
    /// Whose content it is.
    pub by: String,
    /// Why it is kept: `overwritten`, `deleted`, `lost conflict 17`.
    pub why: String,
}

/// A difference between two trees.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DifferenceRow {
    /// Below the roots.
    pub path: RelPath,
    /// The eleven characters of `-i`, or a word with `*`.
    pub item: String,
}

/// Returns the JSON object of `conflicts`.
#[must_use]
pub fn conflicts_json(rows: &[ConflictRow]) -> Value {
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "id": row.id,
                "folder": escape(row.folder.as_bytes()),
                "path": escape(row.path.as_bytes()),
                "local": side_json(&row.local),
                "other": side_json(&row.other),
                "since": rfc3339(row.since),
            })
        })
        .collect();
    json!({ "schema": SCHEMA, "conflicts": rows })
}

fn side_json(side: &SideRow) -> Value {
    json!({
        "peer": side.peer,
        "size": side.size,
        "mtime": rfc3339(side.mtime),
        "digest": side.digest.map(|digest| digest.to_string()),
        "mode": format!("{:04o}", side.mode),
        "deleted": side.deleted,
    })
}

/// Returns the JSON object of `held`.
#[must_use]
pub fn held_json(rows: &[HeldRow]) -> Value {
    let row = |row: &HeldRow| {
        json!({
            "id": row.id,
            "folder": escape(row.folder.as_bytes()),
            "peer": escape(row.peer.as_bytes()),
            "deletes": row.deletes,
            "of": row.of,
            "since": rfc3339(row.since),
        })
    };
    json!({ "schema": SCHEMA, "held": rows.iter().map(row).collect::<Vec<_>>() })
}

/// Returns the table of `held`; `name` shows a name, escaped or raw.
pub fn held_table(rows: &[HeldRow], name: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut cells =
        vec![["ID", "FOLDER", "DELETED BY", "DELETES", "SINCE"].map(|head| head.as_bytes().to_vec())];
    cells.extend(rows.iter().map(|row| {
        [
            escape(row.id.as_bytes()).into_bytes(),
            name(row.folder.as_bytes()),
            escape(row.peer.as_bytes()).into_bytes(),
            format!("{} of {}", row.deletes, row.of).into_bytes(),
            minute(row.since).into_bytes(),
        ]
    }));
    table(&cells)
}

/// Returns the JSON object of `versions`.
#[must_use]
pub fn versions_json(rows: &[VersionRow]) -> Value {
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "id": row.id,
                "path": escape(row.path.as_bytes()),
                "replaced": rfc3339(row.replaced),
                "written": rfc3339(row.written),
                "size": row.size,
                "by": row.by,
                "why": row.why,
            })
        })
        .collect();
    json!({ "schema": SCHEMA, "versions": rows })
}

/// Returns the JSON object of `diff` and `verify`.
#[must_use]
pub fn differences_json(rows: &[DifferenceRow]) -> Value {
    let rows: Vec<Value> =
        rows.iter().map(|row| json!({ "path": escape(row.path.as_bytes()), "item": row.item })).collect();
    json!({ "schema": SCHEMA, "entries": rows })
}

/// Returns the table of `conflicts`; `name` shows a path, escaped or raw.
pub fn conflicts_table(rows: &[ConflictRow], name: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut cells =
        vec![["ID", "FOLDER", "PATH", "HERE", "OTHER", "SINCE"].map(|head| head.as_bytes().to_vec())];
    cells.extend(rows.iter().map(|row| {
        [
            escape(row.id.as_bytes()).into_bytes(),
            name(row.folder.as_bytes()),
            name(row.path.as_bytes()),
            side_text(&row.local).into_bytes(),
            side_text(&row.other).into_bytes(),
            minute(row.since).into_bytes(),
        ]
    }));
    table(&cells)
}

fn side_text(side: &SideRow) -> String {
    let what = if side.deleted { "deleted".to_owned() } else { size(side.size) };
    format!("{} {} {what}", escape(side.peer.as_bytes()), minute(side.mtime))
}

/// Returns the table of `versions`; `name` shows a path, escaped or raw.
pub fn versions_table(rows: &[VersionRow], name: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut cells =
        vec![["ID", "REPLACED", "SIZE", "BY", "WHY", "PATH"].map(|head| head.as_bytes().to_vec())];
    cells.extend(rows.iter().map(|row| {
        [
            escape(row.id.as_bytes()).into_bytes(),
            minute(row.replaced).into_bytes(),
            size(row.size).into_bytes(),
            escape(row.by.as_bytes()).into_bytes(),
            escape(row.why.as_bytes()).into_bytes(),
            name(row.path.as_bytes()),
        ]
    }));
    table(&cells)
}

/// Returns the JSON object of the folders of a node.
#[must_use]
pub fn folders_json(node: &str, folders: &[FolderInfo]) -> Value {
    let folders: Vec<Value> = folders
        .iter()
        .map(|folder| {
            json!({
                "name": heard(&folder.name),
                "mode": heard(&folder.mode),
                "right": right(folder.right),
                "comment": heard(&folder.comment),
            })
        })
        .collect();
    json!({ "schema": SCHEMA, "node": escape(node.as_bytes()), "folders": folders })
}

/// Returns the table of the folders of a node.
#[must_use]
pub fn folders_table(folders: &[FolderInfo]) -> Vec<u8> {
    let cell = |text: &str| heard(text).into_bytes();
    let mut cells = vec![["FOLDER", "MODE", "RIGHT", "COMMENT"].map(cell)];
    cells.extend(
        folders.iter().map(|folder| {
            [folder.name.as_str(), &folder.mode, right(folder.right), &folder.comment].map(cell)
        }),
    );
    table(&cells)
}

fn right(right: Right) -> &'static str {
    match right {
        Right::Read => "read",
        Right::Append => "append",
        Right::Write => "write",
    }
}

/// Returns left-aligned columns, two spaces apart, the last one ragged. Widths count characters.
#[must_use]
pub fn table<const N: usize>(rows: &[[Vec<u8>; N]]) -> Vec<u8> {
    let width = |cell: &[u8]| String::from_utf8_lossy(cell).chars().count();
    let widths: Vec<usize> =
        (0..N).map(|column| rows.iter().map(|row| width(&row[column])).max().unwrap_or(0)).collect();
    let mut text = Vec::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            text.extend_from_slice(cell);
            if column + 1 < N {
                text.resize(text.len() + widths[column] - width(cell) + 2, b' ');
            }
        }
        text.push(b'\n');
    }
    text
}

/// Returns a moment as RFC 3339 text, UTC; the nearest one that has a year of four digits.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    let nanos = i32::try_from(at.nanos).unwrap_or(0);
    let limit = if at.secs < 0 { Moment::MIN } else { Moment::MAX };
    Moment::new(at.secs, nanos).unwrap_or(limit).to_string()
}

/// A moment for people: to the minute, UTC.
fn minute(at: Timestamp) -> String {
    let text = rfc3339(at);
    text.get(..16).map_or_else(|| text.clone(), |minute| format!("{}Z", minute.replace('T', " ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(path: &[u8]) -> VersionRow {
        VersionRow {
            id: "4f1c".to_owned(),
            path: RelPath::new(path).unwrap(),
            replaced: Timestamp::new(1_700_000_000, 5),
            written: Timestamp::new(0, 0),
            size: 91 * 1024,
            by: "2".to_owned(),
            why: "overwritten".to_owned(),
        }
    }

    #[test]
    fn objects_have_the_fields_of_the_contract() {
        let side = SideRow {
            peer: "1".to_owned(),
            size: 3,
            mtime: Timestamp::new(1, 0),
            digest: Some(Digest::of(b"x")),
            mode: 0o644,
            deleted: false,
        };
        let row = ConflictRow {
            id: "17".to_owned(),
            folder: "f".to_owned(),
            path: RelPath::new(b"a\n\xff").unwrap(),
            local: side.clone(),
            other: SideRow { digest: None, deleted: true, ..side },
            since: Timestamp::new(1_700_000_000, 0),
        };
        let value = conflicts_json(&[row]);
        assert_eq!(value["schema"], 1);
        let conflict = &value["conflicts"][0];
        assert_eq!(conflict["path"], "a\\#012\\#377");
        assert_eq!(conflict["since"], "2023-11-14T22:13:20Z");
        assert_eq!(conflict["local"]["mode"], "0644");
        assert_eq!(conflict["other"]["digest"], Value::Null);
        assert_eq!(conflict["other"]["deleted"], true);
        let versions = versions_json(&[version(b"a")]);
        for field in ["id", "path", "replaced", "written", "size", "by", "why"] {
            assert!(!versions["versions"][0][field].is_null(), "{field}");
        }
        assert_eq!(versions["versions"][0]["replaced"], "2023-11-14T22:13:20.000000005Z");
        let row = DifferenceRow { path: RelPath::new(b"a").unwrap(), item: "*deleting".to_owned() };
        assert_eq!(differences_json(&[row])["entries"][0]["item"], "*deleting");
    }

    #[test]
    fn folders_of_a_node_cannot_forge_lines() {
        let folder = FolderInfo {
            name: "pub".to_owned(),
            mode: "send".to_owned(),
            comment: "a\nb\u{1b}[2J".to_owned(),
            right: Right::Read,
        };
        let text = String::from_utf8(folders_table(std::slice::from_ref(&folder))).unwrap();
        assert_eq!(text, "FOLDER  MODE  RIGHT  COMMENT\npub     send  read   a\u{fffd}b\u{fffd}[2J\n");
        let value = folders_json("web1", &[folder]);
        assert_eq!((&value["schema"], &value["node"]), (&json!(1), &json!("web1")));
        assert_eq!(value["folders"][0]["right"], "read");
        assert_eq!(value["folders"][0]["comment"], "a\u{fffd}b\u{fffd}[2J");
    }

    #[test]
    fn tables_are_aligned_and_times_out_of_range_are_shown() {
        let text = versions_table(&[version(b"a"), version(b"b")], <[u8]>::to_vec);
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "4f1c  2023-11-14 22:13Z  91.00 KiB  2   overwritten  a");
        assert_eq!(lines[0].find("PATH"), lines[2].rfind('b'));
        assert!(rfc3339(Timestamp::new(i64::MAX, 0)).starts_with("9999-"));
        assert!(rfc3339(Timestamp::new(i64::MIN, 0)).starts_with("-009999"));
    }
}
