//! What stands where in a content at hand: its chunks and groups, found by their marks.

use crate::delta::chunk::{Chunk, Mark};
use crate::delta::group::Group;
use crate::delta::outline::Outline;

/// The chunks and groups of a basis, with their offsets.
#[derive(Debug, Default)]
pub struct Inventory {
    chunks: Places<Chunk>,
    groups: Places<Group>,
    size: u64,
}

/// What has a mark and a length.
trait Span: Copy {
    fn mark(&self) -> Mark;
    fn length(&self) -> u64;
}

impl Span for Chunk {
    fn mark(&self) -> Mark {
        self.mark
    }

    fn length(&self) -> u64 {
        u64::from(self.length)
    }
}

impl Span for Group {
    fn mark(&self) -> Mark {
        self.mark
    }

    fn length(&self) -> u64 {
        self.length
    }
}

/// Spans that cover a content in order, found by mark.
///
/// Sorted places and no hash table: a third of the memory, and nothing that chosen marks can make slow.
#[derive(Debug)]
struct Places<S> {
    spans: Vec<S>,
    offsets: Vec<u64>,
    by_mark: Vec<usize>,
}

impl<S> Default for Places<S> {
    fn default() -> Self {
        Self { spans: Vec::new(), offsets: Vec::new(), by_mark: Vec::new() }
    }
}

impl<S: Span> Places<S> {
    fn of(spans: Vec<S>) -> Self {
        let mut offset = 0;
        let offsets = spans.iter().map(|span| {
            let start = offset;
            offset += span.length();
            start
        });
        let offsets = offsets.collect();
        let mut by_mark: Vec<usize> = (0..spans.len()).collect();
        by_mark.sort_by_key(|&place| (spans[place].mark(), place));
        Self { spans, offsets, by_mark }
    }

    /// Returns an offset of the same span: `wished` if it stands there, or else the first.
    fn find(&self, span: &S, wished: u64) -> Option<u64> {
        let is_same = |place: usize| {
            self.spans[place].mark() == span.mark() && self.spans[place].length() == span.length()
        };
        if self.offsets.binary_search(&wished).is_ok_and(is_same) {
            return Some(wished);
        }
        let first = self.by_mark.partition_point(|&place| self.spans[place].mark() < span.mark());
        self.by_mark.get(first).filter(|&&place| is_same(place)).map(|&place| self.offsets[place])
    }
}

impl Inventory {
    /// Returns the inventory of the content with these `chunks`.
    #[must_use]
    pub fn of(chunks: Vec<Chunk>) -> Self {
        let groups = Places::of(Outline::of(&chunks).groups);
        let size = chunks.iter().map(|chunk| u64::from(chunk.length)).sum();
        Self { chunks: Places::of(chunks), groups, size }
    }

    /// Returns the outline of the content.
    #[must_use]
    pub fn outline(&self) -> Outline {
        Outline { groups: self.groups.spans.clone() }
    }

    /// Returns the chunks of the group at `index` of the outline.
    #[must_use]
    pub fn expand(&self, index: usize) -> Option<&[Chunk]> {
        let start = *self.groups.offsets.get(index)?;
        let end = start + self.groups.spans.get(index)?.length;
        let place = |offset: u64| self.chunks.offsets.partition_point(|&other| other < offset);
        self.chunks.spans.get(place(start)..place(end))
    }

    /// Bytes of the content.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the groups of `outline` that the content lacks, by their places: those to ask the chunks of.
    #[must_use]
    pub fn unknown(&self, outline: &Outline) -> Vec<usize> {
        let is_unknown = |group: &Group| self.group(group, 0).is_none();
        (0..outline.groups.len()).filter(|&index| is_unknown(&outline.groups[index])).collect()
    }

    /// Returns an offset of `group`: `wished` if it stands there, or else the first.
    pub(crate) fn group(&self, group: &Group, wished: u64) -> Option<u64> {
        self.groups.find(group, wished)
    }

    /// Returns an offset of `chunk`: `wished` if it stands there, or else the first.
    pub(crate) fn chunk(&self, chunk: &Chunk, wished: u64) -> Option<u64> {
        self.chunks.find(chunk, wished)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::chunk::MARK_BYTES;

    fn chunk(letter: u8, length: u32) -> Chunk {
        Chunk { mark: [letter; MARK_BYTES], length }
    }

    #[test]
    fn a_chunk_is_found_where_it_is_wished_or_first() {
        let inventory =
            Inventory::of(vec![chunk(b'x', 10), chunk(b'a', 20), chunk(b'b', 30), chunk(b'a', 20)]);
        assert_eq!(inventory.size(), 80);
        for (case, wanted, wished, found) in [
            ("first of two", chunk(b'a', 20), 0, Some(10)),
            ("the wished one of two", chunk(b'a', 20), 60, Some(60)),
            ("a wish inside a chunk", chunk(b'a', 20), 61, Some(10)),
            ("another length", chunk(b'a', 21), 60, None),
            ("unknown, between", chunk(b'c', 20), 10, None),
            ("unknown, after all", chunk(b'z', 20), u64::MAX, None),
        ] {
            assert_eq!(inventory.chunk(&wanted, wished), found, "{case}");
        }
    }

    #[test]
    fn groups_expand_to_their_chunks() {
        let chunks: Vec<Chunk> = (0..=255).map(|letter| chunk(letter, 1 + u32::from(letter))).collect();
        let inventory = Inventory::of(chunks.clone());
        let outline = inventory.outline();
        let expanded: Vec<&[Chunk]> =
            (0..outline.groups.len()).map(|index| inventory.expand(index).unwrap()).collect();
        assert_eq!(expanded.concat(), chunks);
        assert!(expanded.iter().zip(&outline.groups).all(|(chunks, group)| group.admits(chunks)));
        assert!(expanded.len() > 1);
        assert_eq!(inventory.expand(expanded.len()), None);
    }

    #[test]
    fn an_empty_content_has_nothing() {
        let inventory = Inventory::of(Vec::new());
        assert_eq!(inventory.chunk(&chunk(b'a', 1), 0), None);
        assert_eq!(inventory.unknown(&Outline::of(&[chunk(b'a', 1)])), [0]);
    }
}
