//! A content in its groups: some 13 KiB a GiB, enough to find where two contents differ.

use crate::delta::chunk::{CHUNK_BYTES_MIN, Chunk};
use crate::delta::group::{GROUP_CHUNKS_MIN, GROUP_WIRE_BYTES, Group, Grouper};

/// The groups of a content, in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outline {
    /// The groups.
    pub groups: Vec<Group>,
}

/// Why an outline is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutlineError {
    /// It ends inside a group.
    #[error("an outline has {bytes} bytes, which is no multiple of {GROUP_WIRE_BYTES}")]
    Ragged {
        /// Bytes of the outline.
        bytes: usize,
    },
    /// A group is longer or shorter than any group there is.
    #[error("group {index} of an outline claims {length} bytes")]
    Impossible {
        /// The place of the group.
        index: usize,
        /// Its bytes.
        length: u64,
    },
    /// It speaks of a content of another size.
    #[error("the groups of an outline have {claimed} bytes together, of a content of {size}")]
    Size {
        /// Bytes of the groups.
        claimed: u64,
        /// Bytes of the content.
        size: u64,
    },
}

impl Outline {
    /// Returns the outline of the content with these `chunks`.
    #[must_use]
    pub fn of(chunks: &[Chunk]) -> Self {
        let mut grouper = Grouper::new();
        let mut groups: Vec<Group> = chunks.iter().filter_map(|chunk| grouper.push(*chunk)).collect();
        groups.extend(grouper.finish());
        Self { groups }
    }

    /// Returns the most bytes that the outline of a content of `size` bytes takes on the wire.
    #[must_use]
    pub fn wire_bytes_max(size: u64) -> u64 {
        let shortest = GROUP_CHUNKS_MIN as u64 * CHUNK_BYTES_MIN as u64;
        (size / shortest + 1).saturating_mul(GROUP_WIRE_BYTES as u64)
    }

    /// Returns the outline as it goes over the wire, [`GROUP_WIRE_BYTES`] a group.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.groups.len() * GROUP_WIRE_BYTES);
        self.groups.iter().for_each(|group| group.encode(&mut out));
        out
    }

    /// Returns the outline that `bytes` say of a content of `size` bytes, checked.
    ///
    /// # Errors
    /// The bytes are no outline of such a content.
    pub fn decode(bytes: &[u8], size: u64) -> Result<Self, OutlineError> {
        let (whole, rest) = bytes.as_chunks::<GROUP_WIRE_BYTES>();
        if !rest.is_empty() {
            return Err(OutlineError::Ragged { bytes: bytes.len() });
        }
        let outline = Self { groups: whole.iter().map(|bytes| Group::decode(*bytes)).collect() };
        outline.check(size)?;
        Ok(outline)
    }

    /// Holds the outline against the bounds of groups and the `size` of the content.
    ///
    /// # Errors
    /// No content of `size` bytes has this outline.
    pub fn check(&self, size: u64) -> Result<(), OutlineError> {
        let mut claimed = 0_u64;
        for (index, group) in self.groups.iter().enumerate() {
            if !group.is_possible(index + 1 == self.groups.len()) {
                return Err(OutlineError::Impossible { index, length: group.length });
            }
            claimed = claimed.saturating_add(group.length);
        }
        if claimed == size { Ok(()) } else { Err(OutlineError::Size { claimed, size }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::chunk::{MARK_BYTES, chunks_of};

    fn content(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        fastrand::Rng::with_seed(1).fill(&mut bytes);
        bytes
    }

    #[test]
    fn outlines_survive_the_wire_and_their_own_check() {
        for length in [0, 1, 4_096, 70_000, 3_000_000] {
            let chunks = chunks_of(&content(length));
            let outline = Outline::of(&chunks);
            let bytes = outline.encode();
            assert_eq!(Outline::decode(&bytes, length as u64), Ok(outline.clone()), "{length}");
            assert!(bytes.len() as u64 <= Outline::wire_bytes_max(length as u64));
        }
    }

    #[test]
    fn what_no_content_has_is_refused() {
        let check = |lengths: &[u64], size| {
            let groups = lengths.iter().map(|&length| Group { mark: [0; MARK_BYTES], length });
            Outline { groups: groups.collect() }.check(size)
        };
        let impossible = |index, length| Err(OutlineError::Impossible { index, length });
        assert_eq!(check(&[], 1), Err(OutlineError::Size { claimed: 0, size: 1 }));
        assert_eq!(check(&[5], 6), Err(OutlineError::Size { claimed: 5, size: 6 }));
        assert_eq!(check(&[5], 5), Ok(()));
        assert_eq!(check(&[0], 0), impossible(0, 0));
        assert_eq!(check(&[160 << 16], 160 << 16), Ok(()));
        assert_eq!(check(&[(160 << 16) + 1], 160 << 16), impossible(0, (160 << 16) + 1));
        assert_eq!(check(&[81_919, 1], 81_920), impossible(0, 81_919));
        assert_eq!(check(&[81_920, 1], 81_921), Ok(()));
        assert_eq!(check(&[u64::MAX, 1], 0), impossible(0, u64::MAX));
        assert_eq!(Outline::decode(&[0; 11], 1), Err(OutlineError::Ragged { bytes: 11 }));
    }
}
