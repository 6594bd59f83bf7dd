//! Where a content is cut into chunks, and what names a chunk.

use fastcdc::v2020::{Normalization, cut, select_masks};

/// Fewest bytes of a chunk that is not the last.
pub const CHUNK_BYTES_MIN: usize = 4 * 1024;
/// Bytes around which the lengths of chunks gather.
pub const CHUNK_BYTES_AVERAGE: usize = 16 * 1024;
/// Most bytes of a chunk.
pub const CHUNK_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a mark.
pub const MARK_BYTES: usize = 7;
/// Bytes of a chunk on the wire: its mark and its length less one.
pub const CHUNK_WIRE_BYTES: usize = MARK_BYTES + 2;

/// The first seven bytes of a BLAKE3 digest.
///
/// It finds candidates and proves nothing: whoever assembles a content compares the digest of the whole. Seven bytes
/// confuse a chunk of two files of 1 GiB that have nothing in common once in 10^7 times; what the other nine would
/// cost is half the price of a changed byte in a large file.
pub type Mark = [u8; MARK_BYTES];

/// Returns the mark of `bytes`.
#[must_use]
pub fn mark_of(bytes: &[u8]) -> Mark {
    let mut mark = [0; MARK_BYTES];
    mark.copy_from_slice(&blake3::hash(bytes).as_bytes()[..MARK_BYTES]);
    mark
}

/// A chunk of a content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// The mark of its bytes.
    pub mark: Mark,
    /// Its bytes: one to [`CHUNK_BYTES_MAX`].
    pub length: u32,
}

/// Why bytes are no list of chunks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// The list ends inside a chunk.
    #[error("a list of chunks has {bytes} bytes, which is no multiple of {CHUNK_WIRE_BYTES}")]
    Ragged {
        /// Bytes of the list.
        bytes: usize,
    },
}

/// Appends `chunks` to `out` as they go over the wire, [`CHUNK_WIRE_BYTES`] each.
pub fn encode_chunks(chunks: &[Chunk], out: &mut Vec<u8>) {
    for chunk in chunks {
        out.extend_from_slice(&chunk.mark);
        // The length less one fits in two bytes exactly.
        let [low, high, ..] = chunk.length.wrapping_sub(1).to_le_bytes();
        out.extend_from_slice(&[low, high]);
    }
}

/// Returns the chunks that `bytes` say. What they say of a group is for [`crate::delta::group::Group::admits`].
///
/// # Errors
/// The bytes end inside a chunk.
pub fn decode_chunks(bytes: &[u8]) -> Result<Vec<Chunk>, ChunkError> {
    let (whole, rest) = bytes.as_chunks::<CHUNK_WIRE_BYTES>();
    if !rest.is_empty() {
        return Err(ChunkError::Ragged { bytes: bytes.len() });
    }
    Ok(whole
        .iter()
        .map(|&[mark @ .., low, high]| Chunk { mark, length: u32::from(u16::from_le_bytes([low, high])) + 1 })
        .collect())
}

/// A push parser from bytes to chunks.
///
/// The cuts depend on the bytes alone and not on how they are divided into pushes: a cut is looked for only where
/// [`CHUNK_BYTES_MAX`] bytes or the end of the content are in sight. The cuts are wire format.
///
/// # Source
/// Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based Storage Systems", IEEE TPDS
/// 2020, with normalization level 1.
#[derive(Debug)]
pub struct Chunker {
    /// Bytes that follow the last cut: always fewer than [`CHUNK_BYTES_MAX`].
    carried: Vec<u8>,
    strict: u64,
    loose: u64,
}

impl Default for Chunker {
    fn default() -> Self {
        Self::new()
    }
}

impl Chunker {
    /// Returns a chunker at the start of a content.
    #[must_use]
    pub fn new() -> Self {
        let (strict, loose) = select_masks(CHUNK_BYTES_AVERAGE, Normalization::Level1);
        Self { carried: Vec::new(), strict, loose }
    }

    /// Takes the next `bytes` and emits the chunks that are certain.
    pub fn push(&mut self, mut bytes: &[u8], emit: &mut impl FnMut(Chunk)) {
        while !self.carried.is_empty() {
            let carried = self.carried.len();
            let Some((lacking, _)) = bytes.split_at_checked(CHUNK_BYTES_MAX - carried) else {
                self.carried.extend_from_slice(bytes);
                return;
            };
            self.carried.extend_from_slice(lacking);
            let length = self.emit_first(&self.carried, emit);
            // What was borrowed to see far enough goes back, so that large pushes are cut where they lie.
            if let Some(borrowed) = length.checked_sub(carried) {
                bytes = &bytes[borrowed..];
                self.carried.clear();
            } else {
                self.carried.truncate(carried);
                self.carried.drain(..length);
            }
        }
        while bytes.len() >= CHUNK_BYTES_MAX {
            let length = self.emit_first(bytes, emit);
            bytes = &bytes[length..];
        }
        self.carried.extend_from_slice(bytes);
    }

    /// Emits what is left at the end of the content. An empty content has no chunks.
    pub fn finish(self, emit: &mut impl FnMut(Chunk)) {
        let mut rest = self.carried.as_slice();
        while !rest.is_empty() {
            let length = self.emit_first(rest, emit);
            rest = &rest[length..];
        }
    }

    /// Emits the first chunk of `bytes`, of which there is at least one, and returns its length.
    fn emit_first(&self, bytes: &[u8], emit: &mut impl FnMut(Chunk)) -> usize {
        let window = &bytes[..bytes.len().min(CHUNK_BYTES_MAX)];
        let (_, length) = cut(
            window,
            CHUNK_BYTES_MIN,
            CHUNK_BYTES_AVERAGE,
            CHUNK_BYTES_MAX,
            self.strict,
            self.loose,
            self.strict << 1,
            self.loose << 1,
        );
        let bytes_of_chunk = &window[..length];
        // A window holds at most CHUNK_BYTES_MAX bytes.
        let counted = u32::try_from(length).unwrap_or(u32::MAX);
        emit(Chunk { mark: mark_of(bytes_of_chunk), length: counted });
        length
    }
}

/// Returns the chunks of `content`.
#[must_use]
pub fn chunks_of(content: &[u8]) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut emit = |chunk| chunks.push(chunk);
    let mut chunker = Chunker::new();
    chunker.push(content, &mut emit);
    chunker.finish(&mut emit);
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that look random and are the same for ever.
    fn stream(seed: &str, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn in_pushes(content: &[u8], mut sizes: impl FnMut() -> usize) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        let mut emit = |chunk| chunks.push(chunk);
        let mut chunker = Chunker::new();
        let mut rest = content;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(sizes().clamp(1, rest.len()));
            chunker.push(now, &mut emit);
            rest = later;
        }
        chunker.finish(&mut emit);
        chunks
    }

    #[test]
    fn cuts_are_wire_format() {
        let chunks = chunks_of(&stream("golden", 400_000));
        let lengths: Vec<u32> = chunks.iter().map(|chunk| chunk.length).collect();
        assert_eq!(lengths, GOLDEN);
        let mut list = Vec::new();
        encode_chunks(&chunks, &mut list);
        assert_eq!(name_of(&list), "883f3a0b26b326fa");
    }

    const GOLDEN: &[u32] = &[
        19980, 17085, 4138, 8594, 21994, 22015, 27274, 32230, 8285, 33881, 7326, 18183, 24329, 24952, 7127,
        23591, 16819, 9267, 17605, 18678, 32330, 4317,
    ];

    fn name_of(list: &[u8]) -> String {
        blake3::hash(list).to_hex()[..16].to_owned()
    }

    #[test]
    fn cuts_do_not_depend_on_pushes() {
        let mut random = fastrand::Rng::with_seed(7);
        for case in 0..200 {
            let mut content = stream(&case.to_string(), random.usize(..300_000));
            if case % 4 == 0 {
                content.fill(0);
            }
            let whole = chunks_of(&content);
            let largest = [2, 700, 5_000, 70_000, 200_000][case % 5];
            assert_eq!(in_pushes(&content, || random.usize(1..largest)), whole, "case {case}");
            let total: u64 = whole.iter().map(|chunk| u64::from(chunk.length)).sum();
            assert_eq!(total, content.len() as u64, "case {case}");
        }
    }

    #[test]
    fn no_content_makes_more_or_longer_chunks_than_the_bounds() {
        let zeros = vec![0; 1 << 20];
        assert!(chunks_of(&zeros).iter().all(|chunk| chunk.length == 65_536));
        let repeated = shortest_chunk_repeated(1 << 20);
        assert!(chunks_of(&repeated).len() > repeated.len() / 4_500, "the worst case is one");
        for content in [zeros, repeated] {
            let chunks = chunks_of(&content);
            let (_, but_last) = chunks.split_last().unwrap();
            assert!(but_last.iter().all(|chunk| (4_096..=65_536).contains(&chunk.length)));
            assert!(chunks.len() <= content.len() / CHUNK_BYTES_MIN + 1);
        }
    }

    /// The most chunks that a content can have: whatever precedes the first place for a cut has no say in the cut.
    fn shortest_chunk_repeated(length: usize) -> Vec<u8> {
        let donor = stream("shortest", 8 << 20);
        let mut start = 0;
        let spans = chunks_of(&donor).into_iter().map(|chunk| {
            let span = start..start + usize::try_from(chunk.length).unwrap();
            start = span.end;
            span
        });
        let but_last = spans.filter(|span| span.end < donor.len());
        let span = but_last.min_by_key(|span| span.len()).unwrap();
        let mut chunk = donor[span.clone()].to_vec();
        chunk[0] = donor[span.end];
        chunk.iter().copied().cycle().take(length).collect()
    }

    #[test]
    fn lists_survive_the_wire() {
        let chunks: Vec<Chunk> =
            [1, 2, 255, 256, 65_535, 65_536].map(|length| Chunk { mark: [3; MARK_BYTES], length }).to_vec();
        let mut list = Vec::new();
        encode_chunks(&chunks, &mut list);
        assert_eq!(decode_chunks(&list), Ok(chunks));
        assert_eq!(decode_chunks(&list[1..]), Err(ChunkError::Ragged { bytes: 53 }));
        assert_eq!(decode_chunks(&[]), Ok(vec![]));
    }
}
