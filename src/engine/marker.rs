//! The marker of a root: who it is, and which replicas know it. Text, so that a person can read it.
//!
//! ```text
//! csync root 1
//! id 5f0c…
//! replica 91d2… generation 7
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;

use data_encoding::HEXLOWER;

/// First line of every marker: the format and its number.
const HEADER: &str = "csync root 1";
/// Most replicas that one root may belong to.
const REPLICAS_MAX: usize = 1024;

/// A random name of 16 bytes: of a root, or of a database.
pub type Id = [u8; 16];

/// What the marker of a root says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Marker {
    /// The root's id, random, minted when csync first wrote to it.
    pub id: Id,
    /// For each database that knows the root: the generation both had when it was last opened for writing.
    pub generations: BTreeMap<Id, u64>,
}

impl Marker {
    /// Returns the text of the marker.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{HEADER}\nid {}\n", HEXLOWER.encode(&self.id));
        for (database, generation) in &self.generations {
            // Writing to a string cannot fail.
            writeln!(text, "replica {} generation {generation}", HEXLOWER.encode(database)).ok();
        }
        text
    }

    /// Returns the marker that `bytes` are the text of.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(bytes).map_err(|_error| "not text")?;
        let mut lines = text.lines();
        match lines.next() {
            Some(HEADER) => {}
            Some(line) if line.starts_with("csync root ") => return Err("written by a newer csync"),
            _ => return Err("not a marker of csync"),
        }
        let id = lines.next().and_then(|line| line.strip_prefix("id ")).and_then(parse_id);
        let id = id.ok_or("its second line is not an id")?;
        let mut generations = BTreeMap::new();
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let ["replica", database, "generation", generation] = words[..] else {
                return Err("a line that is not understood");
            };
            let database = parse_id(database).ok_or("a replica that is not an id")?;
            let generation = generation.parse().map_err(|_error| "a generation that is not a number")?;
            generations.insert(database, generation);
            if generations.len() > REPLICAS_MAX {
                return Err("too many replicas");
            }
        }
        Ok(Self { id, generations })
    }
}

fn parse_id(text: &str) -> Option<Id> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_round_trip_and_damage_is_told() {
        let marker = Marker { id: [7; 16], generations: BTreeMap::from([([1; 16], 3), ([2; 16], 9)]) };
        assert_eq!(Marker::parse(marker.to_text().as_bytes()), Ok(marker.clone()));
        let text = marker.to_text();
        for (case, bytes) in [
            ("cut in the id", text[..30].to_owned()),
            ("cut in a line", text[..text.len() - 14].to_owned()),
            ("newer", text.replace("root 1", "root 2")),
            ("foreign", "hello\n".to_owned()),
            ("no number", text.replace("generation 3", "generation x")),
        ] {
            assert!(Marker::parse(bytes.as_bytes()).is_err(), "{case}");
        }
        assert!(Marker::parse(b"\xff\xff").is_err());
    }
}
