//! A target in terms of a basis: what can be copied, what is missing, and where to look closer for what is missing.

use std::collections::BTreeMap;

use crate::delta::chunk::Chunk;
use crate::delta::inventory::Inventory;
use crate::delta::outline::Outline;
use crate::delta::region::{Gap, Region};

/// Most bytes of a missing piece: what one signature, one answer and its operations are made for.
pub const PIECE_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// A part of a target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// Bytes that the basis has.
    Copy {
        /// Where in the basis.
        basis: u64,
        /// How many.
        length: u64,
    },
    /// Bytes that the chunks of the basis do not have.
    Missing {
        /// Where in the target.
        offset: u64,
        /// How many: at most [`PIECE_BYTES_MAX`].
        length: u64,
        /// Where in the basis a signature is worth its round trip.
        region: Option<Region>,
    },
}

/// Why a target cannot be put in pieces.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PieceError {
    /// The chunks that were sent for a group are not those of the outline.
    #[error("the chunks sent for group {index} are not its chunks")]
    Chunks {
        /// The place of the group.
        index: usize,
    },
}

/// Returns the pieces of the target with this `outline`, which cover it from its start to its end.
///
/// `expanded` holds the chunks of the groups that [`Inventory::unknown`] names; a group that is neither known nor
/// expanded is missing as a whole. Neither two copies that adjoin in the basis nor two missing runs are neighbours,
/// except that a run is divided by [`PIECE_BYTES_MAX`].
///
/// # Errors
/// The chunks of a group are not its chunks.
pub fn pieces(
    outline: &Outline,
    expanded: &BTreeMap<usize, Vec<Chunk>>,
    basis: &Inventory,
) -> Result<Vec<Piece>, PieceError> {
    let mut runs = Runs::default();
    for (index, group) in outline.groups.iter().enumerate() {
        if let Some(offset) = basis.group(group, runs.basis_end) {
            runs.copy(offset, group.length);
        } else if let Some(chunks) = expanded.get(&index) {
            if !group.admits(chunks) {
                return Err(PieceError::Chunks { index });
            }
            for chunk in chunks {
                let length = u64::from(chunk.length);
                match basis.chunk(chunk, runs.basis_end) {
                    Some(offset) => runs.copy(offset, length),
                    None => runs.miss(length),
                }
            }
        } else {
            runs.miss(group.length);
        }
    }
    Ok(runs.pieces(basis.size()))
}

/// Part of a target, as long as it goes.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Where in the basis, or nowhere.
    basis: Option<u64>,
    length: u64,
}

#[derive(Debug, Default)]
struct Runs {
    runs: Vec<Run>,
    /// Where in the basis the last copy ended: the wished place of the next.
    basis_end: u64,
}

impl Runs {
    fn copy(&mut self, basis: u64, length: u64) {
        match self.runs.last_mut() {
            Some(Run { basis: Some(_), length: before }) if basis == self.basis_end => *before += length,
            _ => self.runs.push(Run { basis: Some(basis), length }),
        }
        self.basis_end = basis + length;
    }

    fn miss(&mut self, length: u64) {
        match self.runs.last_mut() {
            Some(Run { basis: None, length: before }) => *before += length,
            _ => self.runs.push(Run { basis: None, length }),
        }
        // Most edits replace: what follows a missing chunk stood that much further on.
        self.basis_end += length;
    }

    fn pieces(&self, basis_size: u64) -> Vec<Piece> {
        let mut pieces = Vec::with_capacity(self.runs.len());
        let (mut offset, mut left) = (0, 0);
        for (index, run) in self.runs.iter().enumerate() {
            let range = offset..offset + run.length;
            if let Some(basis) = run.basis {
                pieces.push(Piece::Copy { basis, length: run.length });
                left = basis + run.length;
            } else {
                let right = self.runs.get(index + 1).and_then(|next| next.basis).unwrap_or(basis_size);
                let mut start = range.start;
                while start < range.end {
                    let end = range.end.min(start + PIECE_BYTES_MAX);
                    let gap = Gap { run: range.clone(), piece: start..end, left, right };
                    let region = Region::of(&gap, basis_size);
                    pieces.push(Piece::Missing { offset: start, length: end - start, region });
                    start = end;
                }
            }
            offset = range.end;
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::chunk::MARK_BYTES;

    fn chunks(letters: &str) -> Vec<Chunk> {
        letters
            .bytes()
            .map(|letter| Chunk { mark: [letter; MARK_BYTES], length: 5_000 + u32::from(letter) })
            .collect()
    }

    /// The pieces of `target`, copies as letters' offsets and missing runs as lengths.
    fn shown(basis: &str, target: &str) -> Vec<(Option<u64>, u64)> {
        let inventory = Inventory::of(chunks(basis));
        let outline = Outline::of(&chunks(target));
        let unknown = inventory.unknown(&outline);
        let sender = Inventory::of(chunks(target));
        let expand = |index: usize| (index, sender.expand(index).unwrap().to_vec());
        let expanded = unknown.into_iter().map(expand).collect();
        let pieces = pieces(&outline, &expanded, &inventory).unwrap();
        pieces
            .into_iter()
            .map(|piece| match piece {
                Piece::Copy { basis, length } => (Some(basis), length),
                Piece::Missing { length, .. } => (None, length),
            })
            .collect()
    }

    fn length(letters: &str) -> u64 {
        chunks(letters).iter().map(|chunk| u64::from(chunk.length)).sum()
    }

    #[test]
    fn copies_and_missing_runs_are_merged() {
        let all = length("abcd");
        for (case, basis, target, expected) in [
            ("the same", "abcd", "abcd", vec![(Some(0), all)]),
            ("nothing wanted", "abcd", "", vec![]),
            ("nothing at hand", "", "abcd", vec![(None, all)]),
            (
                "replaced",
                "abcd",
                "axyd",
                vec![(Some(0), length("a")), (None, length("xy")), (Some(length("abc")), length("d"))],
            ),
            ("moved", "abcd", "cdab", vec![(Some(length("ab")), length("cd")), (Some(0), length("ab"))]),
            ("the copy that goes on is preferred", "abcab", "cab", vec![(Some(length("ab")), length("cab"))]),
            ("repeated", "a", "aaa", vec![(Some(0), length("a")); 3]),
        ] {
            assert_eq!(shown(basis, target), expected, "{case}");
        }
    }

    #[test]
    fn a_missing_run_is_divided() {
        let zeros = vec![Chunk { mark: [0; MARK_BYTES], length: 65_536 }; 160];
        let outline = Outline::of(&zeros);
        let inventory = Inventory::of(chunks("abc"));
        let missing = pieces(&outline, &BTreeMap::new(), &inventory).unwrap();
        let lengths: Vec<u64> = missing
            .iter()
            .map(|piece| match piece {
                Piece::Missing { length, .. } => *length,
                Piece::Copy { .. } => 0,
            })
            .collect();
        assert_eq!(lengths, [PIECE_BYTES_MAX; 5], "a group that was not expanded is missing as a whole");
    }

    #[test]
    fn chunks_of_another_group_are_refused() {
        let outline = Outline::of(&chunks("ab"));
        let expanded = BTreeMap::from([(0, chunks("ac"))]);
        let refused = pieces(&outline, &expanded, &Inventory::default());
        assert_eq!(refused, Err(PieceError::Chunks { index: 0 }));
    }
}
