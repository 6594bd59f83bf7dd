//! What a region of a basis looks like, in 7 bytes a block.

use crate::delta::region::{BLOCK_BYTES, REGION_BYTES_MAX};
use crate::delta::rolling::Rolling;

/// Bytes of a block on the wire.
const BLOCK_WIRE_BYTES: usize = 7;
/// Bytes before the blocks: the length of the region.
const HEADER_BYTES: usize = 4;
/// Most bytes of a signature on the wire.
pub const SIGNATURE_BYTES_MAX: usize = HEADER_BYTES + 32 * 1024 * BLOCK_WIRE_BYTES;

/// The sums of one block. Together 56 bits: a candidate, which the digest of the whole content confirms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Block {
    /// The rolling sum.
    pub weak: u32,
    /// The first three bytes of the BLAKE3 digest.
    pub strong: u32,
}

impl Block {
    fn of(bytes: &[u8]) -> Self {
        Self { weak: Rolling::of(bytes).sum(), strong: strong(bytes) }
    }
}

/// Returns the strong sum of a block.
pub(crate) fn strong(bytes: &[u8]) -> u32 {
    let [a, b, c, ..] = *blake3::hash(bytes).as_bytes();
    u32::from_le_bytes([a, b, c, 0])
}

/// The sums of the blocks of a region. The last block is the shorter, if one is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signature {
    length: u32,
    blocks: Vec<Block>,
}

/// Why bytes are no signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// They end before the length of the region.
    #[error("a signature of {bytes} bytes ends before the length of its region")]
    Short {
        /// Bytes of the signature.
        bytes: usize,
    },
    /// The region is larger than any region is.
    #[error("a signature speaks of a region of {length} bytes; the most is {REGION_BYTES_MAX}")]
    Length {
        /// Bytes of the region.
        length: u32,
    },
    /// There are not as many blocks as the region has.
    #[error("a signature of a region of {length} bytes has {bytes} bytes of blocks")]
    Blocks {
        /// Bytes of the region.
        length: u32,
        /// Bytes of the blocks.
        bytes: usize,
    },
}

impl Signature {
    /// Returns the signature of a region of a basis, given its bytes.
    ///
    /// # Errors
    /// The region is larger than a region may be.
    pub fn of(region: &[u8]) -> Result<Self, SignatureError> {
        let length = u32::try_from(region.len()).unwrap_or(u32::MAX);
        check(length)?;
        Ok(Self { length, blocks: region.chunks(BLOCK_BYTES).map(Block::of).collect() })
    }

    /// Returns the signature as it goes over the wire.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES + self.blocks.len() * BLOCK_WIRE_BYTES);
        out.extend_from_slice(&self.length.to_le_bytes());
        for block in &self.blocks {
            out.extend_from_slice(&block.weak.to_le_bytes());
            out.extend_from_slice(&block.strong.to_le_bytes()[..3]);
        }
        out
    }

    /// Returns the signature that `bytes` say.
    ///
    /// # Errors
    /// The bytes are no signature of a region of at most [`REGION_BYTES_MAX`].
    pub fn decode(bytes: &[u8]) -> Result<Self, SignatureError> {
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(SignatureError::Short { bytes: bytes.len() });
        };
        let length = u32::from_le_bytes(*header);
        check(length)?;
        let (blocks, ragged) = rest.as_chunks::<BLOCK_WIRE_BYTES>();
        let count = usize::try_from(length).map(|length| length.div_ceil(BLOCK_BYTES));
        if count != Ok(blocks.len()) || !ragged.is_empty() {
            return Err(SignatureError::Blocks { length, bytes: rest.len() });
        }
        let blocks = blocks.iter().map(|&[a, b, c, d, e, f, g]| Block {
            weak: u32::from_le_bytes([a, b, c, d]),
            strong: u32::from_le_bytes([e, f, g, 0]),
        });
        Ok(Self { length, blocks: blocks.collect() })
    }

    /// The blocks that are not shorter than the others, and the one that is.
    pub(crate) fn blocks(&self) -> (&[Block], Option<(Block, usize)>) {
        let shorter = usize::try_from(self.length).map_or(0, |length| length % BLOCK_BYTES);
        match self.blocks.split_last() {
            Some((last, full)) if shorter > 0 => (full, Some((*last, shorter))),
            _ => (&self.blocks, None),
        }
    }
}

fn check(length: u32) -> Result<(), SignatureError> {
    if u64::from(length) > REGION_BYTES_MAX { Err(SignatureError::Length { length }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_survive_the_wire() {
        for length in [0, 1, 511, 512, 513, 5_000] {
            let mut region = vec![0; length];
            fastrand::Rng::with_seed(5).fill(&mut region);
            let signature = Signature::of(&region).unwrap();
            let bytes = signature.encode();
            assert_eq!(bytes.len(), 4 + 7 * length.div_ceil(512));
            assert_eq!(Signature::decode(&bytes), Ok(signature));
        }
    }

    #[test]
    fn what_is_no_signature_is_refused() {
        for (case, bytes, error) in [
            ("empty", vec![], SignatureError::Short { bytes: 0 }),
            ("no blocks", vec![1, 0, 0, 0], SignatureError::Blocks { length: 1, bytes: 0 }),
            ("blocks of nothing", vec![0; 11], SignatureError::Blocks { length: 0, bytes: 7 }),
            ("ragged", vec![0; 5], SignatureError::Blocks { length: 0, bytes: 1 }),
            ("huge", vec![0xff; 12], SignatureError::Length { length: u32::MAX }),
        ] {
            assert_eq!(Signature::decode(&bytes), Err(error), "{case}");
        }
        let huge = vec![0; 16 * 1024 * 1024 + 1];
        assert_eq!(Signature::of(&huge), Err(SignatureError::Length { length: 16 * 1024 * 1024 + 1 }));
    }
}
