//! Chunks by the dozen: what a change is looked for in first.

use crate::delta::chunk::{
    CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, CHUNK_WIRE_BYTES, Chunk, MARK_BYTES, Mark, encode_chunks, mark_of,
};

/// Fewest chunks of a group that is not the last.
pub const GROUP_CHUNKS_MIN: usize = 20;
/// Most chunks of a group.
pub const GROUP_CHUNKS_MAX: usize = 160;
/// Bytes of a group on the wire: its mark and its length less one.
pub const GROUP_WIRE_BYTES: usize = MARK_BYTES + 3;
/// From the minimum on, one chunk in so many ends a group: 40 chunks on average.
const ENDS_ONE_IN: u16 = 20;

/// Consecutive chunks of a content, about 40 of them, cut where the chunks themselves say so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Group {
    /// The mark of its list of chunks as it goes over the wire.
    pub mark: Mark,
    /// Bytes of its chunks together.
    pub length: u64,
}

impl Group {
    /// Whether `chunks` are the chunks of this group.
    #[must_use]
    pub fn admits(&self, chunks: &[Chunk]) -> bool {
        let mut list = Vec::new();
        encode_chunks(chunks, &mut list);
        let length: u64 = chunks.iter().map(|chunk| u64::from(chunk.length)).sum();
        length == self.length && mark_of(&list) == self.mark
    }

    /// Whether a content can have a group of this length, as its last or before that.
    pub(crate) fn is_possible(&self, is_last: bool) -> bool {
        let shortest = if is_last { 1 } else { GROUP_CHUNKS_MIN as u64 * CHUNK_BYTES_MIN as u64 };
        (shortest..=GROUP_CHUNKS_MAX as u64 * CHUNK_BYTES_MAX as u64).contains(&self.length)
    }

    /// Appends the group to `out` as it goes over the wire.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.mark);
        // The longest group has 10 MiB.
        out.extend_from_slice(&self.length.wrapping_sub(1).to_le_bytes()[..3]);
    }

    /// Returns the group that `bytes` say, whatever it is.
    pub(crate) fn decode(bytes: [u8; GROUP_WIRE_BYTES]) -> Self {
        let [mark @ .., a, b, c] = bytes;
        Self { mark, length: u64::from(u32::from_le_bytes([a, b, c, 0])) + 1 }
    }
}

/// A push parser from chunks to groups.
#[derive(Debug, Default)]
pub struct Grouper {
    /// The chunks of the open group, as they go over the wire.
    list: Vec<u8>,
    length: u64,
}

impl Grouper {
    /// Returns a grouper at the start of a content.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next chunk and returns the group that it ends.
    pub fn push(&mut self, chunk: Chunk) -> Option<Group> {
        encode_chunks(&[chunk], &mut self.list);
        self.length += u64::from(chunk.length);
        let chunks = self.list.len() / CHUNK_WIRE_BYTES;
        let ends = u16::from_le_bytes([chunk.mark[0], chunk.mark[1]]).is_multiple_of(ENDS_ONE_IN);
        let is_over = chunks >= GROUP_CHUNKS_MIN && ends || chunks >= GROUP_CHUNKS_MAX;
        is_over.then(|| self.take())
    }

    /// Returns the last group, if chunks are left.
    #[must_use]
    pub fn finish(mut self) -> Option<Group> {
        (!self.list.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> Group {
        let group = Group { mark: mark_of(&self.list), length: self.length };
        self.list.clear();
        self.length = 0;
        group
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(number: u16, length: u32) -> Chunk {
        let mut mark = [9; MARK_BYTES];
        mark[..2].copy_from_slice(&number.to_le_bytes());
        Chunk { mark, length }
    }

    fn counts(numbers: impl Iterator<Item = u16>) -> Vec<u64> {
        let mut grouper = Grouper::new();
        let mut groups: Vec<Group> =
            numbers.filter_map(|number| grouper.push(chunk(number, 5_000))).collect();
        groups.extend(grouper.finish());
        groups.iter().map(|group| group.length / 5_000).collect()
    }

    #[test]
    fn chunks_say_where_a_group_ends() {
        assert_eq!(counts(std::iter::empty()), [0; 0]);
        assert_eq!(counts(std::iter::once(20)), [1]);
        assert_eq!(counts(1..=60), [20, 20, 20], "every multiple of 20 ends one");
        assert_eq!(counts(std::iter::repeat_n(20, 48)), [20, 20, 8], "but never before the minimum");
        assert_eq!(counts(std::iter::repeat_n(1, 400)), [160, 160, 80], "and never after the maximum");
    }

    #[test]
    fn a_group_admits_its_own_chunks_alone() {
        let chunks = [chunk(1, 5_000), chunk(2, 6_000)];
        let mut grouper = Grouper::new();
        for chunk in chunks {
            assert_eq!(grouper.push(chunk), None);
        }
        let group = grouper.finish().unwrap();
        assert!(group.admits(&chunks));
        assert!(!group.admits(&chunks[..1]));
        assert!(!group.admits(&[chunks[1], chunks[0]]));
        assert!(!group.admits(&[chunk(1, 6_000), chunk(2, 5_000)]));
        assert!(!Group { length: 11_001, ..group }.admits(&chunks));
    }

    #[test]
    fn groups_survive_the_wire() {
        for length in [1, 1 << 20, 160 << 16] {
            let group = Group { mark: [7; MARK_BYTES], length };
            let mut bytes = Vec::new();
            group.encode(&mut bytes);
            assert_eq!(Group::decode(bytes.try_into().unwrap()), group);
        }
    }
}
