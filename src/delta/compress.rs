//! Blocks made smaller, and back, within bounds that are ours.
//!
//! # Source
//! RFC 8878, "Zstandard Compression and the 'application/zstd' Media Type".

use zstd::zstd_safe::{
    CCtx, CParameter, DCtx, compress_bound, find_frame_compressed_size, get_error_name,
    get_frame_content_size,
};

/// Most bytes of a block before it is compressed.
pub const BLOCK_RAW_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The window is at most two to this power: 8 MiB. Ours to choose, never the peer's.
pub const WINDOW_LOG_MAX: u32 = 23;
/// The probe looks at so many bytes ...
const PROBE_BYTES: usize = 4 * 1024;
/// ... of every so many.
const PROBE_STRIDE: usize = 128 * 1024;
/// The level of the probe.
const PROBE_LEVEL: i32 = 1;

/// Why a block is not compressed, or refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompressError {
    /// A context could not be made or set up.
    #[error("cannot prepare compression: {reason}")]
    Prepare {
        /// What zstd says.
        reason: &'static str,
    },
    /// A block could not be compressed.
    #[error("cannot compress a block of {bytes} bytes: {reason}")]
    Compress {
        /// Bytes of the block.
        bytes: usize,
        /// What zstd says.
        reason: &'static str,
    },
    /// A block is not exactly one frame of zstd.
    #[error("a compressed block of {bytes} bytes is not exactly one frame")]
    NotOneFrame {
        /// Bytes of the block.
        bytes: usize,
    },
    /// A frame asks for a larger window than we open.
    #[error("a compressed block asks for a window of 2^{log} bytes; the most is 2^{WINDOW_LOG_MAX}")]
    Window {
        /// The logarithm of the window.
        log: u8,
    },
    /// A block is larger than a block may be.
    #[error("a block of {bytes} bytes is larger than {BLOCK_RAW_BYTES_MAX}")]
    TooLarge {
        /// Bytes of the block, before compression.
        bytes: usize,
    },
    /// A frame holds another number of bytes than was said.
    #[error("a compressed block holds {found:?} bytes where {expected} were announced")]
    Length {
        /// What was announced.
        expected: usize,
        /// What it holds, where it says.
        found: Option<u64>,
    },
    /// A frame is damaged.
    #[error("cannot decompress a block of {bytes} bytes: {reason}")]
    Decompress {
        /// Bytes of the block.
        bytes: usize,
        /// What zstd says.
        reason: &'static str,
    },
}

/// A context for one block after another: a fresh one for each block costs more than a small block does.
pub struct Compressor {
    context: CCtx<'static>,
    sample: Vec<u8>,
    scratch: Vec<u8>,
}

impl Compressor {
    /// Returns a compressor.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn new() -> Result<Self, CompressError> {
        let reason = "no memory for a context";
        let context = CCtx::try_create().ok_or(CompressError::Prepare { reason })?;
        Ok(Self { context, sample: Vec::new(), scratch: Vec::new() })
    }

    /// Puts `bytes`, compressed at `level`, into `out` in place of what it held.
    ///
    /// # Errors
    /// The block is too large, or zstd fails.
    pub fn compress(&mut self, bytes: &[u8], level: i32, out: &mut Vec<u8>) -> Result<(), CompressError> {
        compress(&mut self.context, bytes, level, out)
    }

    /// Whether compression makes `bytes` smaller by more than a twentieth, as far as a sample of them tells.
    ///
    /// # Errors
    /// Zstd fails.
    pub fn is_worth(&mut self, bytes: &[u8]) -> Result<bool, CompressError> {
        self.sample.clear();
        for stride in bytes.chunks(PROBE_STRIDE).take(BLOCK_RAW_BYTES_MAX / PROBE_BYTES) {
            self.sample.extend_from_slice(&stride[..stride.len().min(PROBE_BYTES)]);
        }
        compress(&mut self.context, &self.sample, PROBE_LEVEL, &mut self.scratch)?;
        Ok(self.scratch.len() * 20 < self.sample.len() * 19)
    }
}

/// Puts `bytes`, compressed at `level` as what follows `prefix`, into `out` in place of what it held.
///
/// Whoever decompresses needs the same prefix. The context lasts for this block, since it borrows the prefix.
///
/// # Errors
/// The block is too large, or zstd fails.
pub fn compress_with_prefix(
    bytes: &[u8],
    prefix: &[u8],
    level: i32,
    out: &mut Vec<u8>,
) -> Result<(), CompressError> {
    let mut context =
        CCtx::try_create().ok_or(CompressError::Prepare { reason: "no memory for a context" })?;
    set_up(&mut context, level)?;
    // As wide as we allow, so that the end of a block still reaches the start of the prefix.
    context.set_parameter(CParameter::WindowLog(WINDOW_LOG_MAX)).map_err(prepare)?;
    // Without it only the last MiB of the prefix would be looked at.
    context.set_parameter(CParameter::EnableLongDistanceMatching(true)).map_err(prepare)?;
    context.ref_prefix(prefix).map_err(prepare)?;
    run(&mut context, bytes, out)
}

fn compress(
    context: &mut CCtx<'_>,
    bytes: &[u8],
    level: i32,
    out: &mut Vec<u8>,
) -> Result<(), CompressError> {
    set_up(context, level)?;
    run(context, bytes, out)
}

fn set_up(context: &mut CCtx<'_>, level: i32) -> Result<(), CompressError> {
    context.set_parameter(CParameter::CompressionLevel(level)).map_err(prepare)?;
    Ok(())
}

fn prepare(code: usize) -> CompressError {
    CompressError::Prepare { reason: get_error_name(code) }
}

fn run(context: &mut CCtx<'_>, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), CompressError> {
    if bytes.len() > BLOCK_RAW_BYTES_MAX {
        return Err(CompressError::TooLarge { bytes: bytes.len() });
    }
    out.clear();
    out.reserve(compress_bound(bytes.len()));
    context
        .compress2(out, bytes)
        .map_err(|code| CompressError::Compress { bytes: bytes.len(), reason: get_error_name(code) })?;
    Ok(())
}

/// A context for one block after another.
pub struct Decompressor {
    context: DCtx<'static>,
}

impl Decompressor {
    /// Returns a decompressor.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn new() -> Result<Self, CompressError> {
        let reason = "no memory for a context";
        Ok(Self { context: DCtx::try_create().ok_or(CompressError::Prepare { reason })? })
    }

    /// Puts the block of `length` bytes that `frame` is into `out` in place of what it held.
    ///
    /// # Errors
    /// The frame is damaged, holds another number of bytes, or asks for more memory than we lend.
    pub fn decompress(
        &mut self,
        frame: &[u8],
        length: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), CompressError> {
        decompress(&mut self.context, frame, length, out)
    }
}

/// Puts the block of `length` bytes that `frame` is, as what follows `prefix`, into `out` in place of what it held.
///
/// # Errors
/// As for [`Decompressor::decompress`].
pub fn decompress_with_prefix(
    frame: &[u8],
    prefix: &[u8],
    length: usize,
    out: &mut Vec<u8>,
) -> Result<(), CompressError> {
    let mut context =
        DCtx::try_create().ok_or(CompressError::Prepare { reason: "no memory for a context" })?;
    context.ref_prefix(prefix).map_err(prepare)?;
    decompress(&mut context, frame, length, out)
}

/// The output is written in one go into memory of exactly the announced length, which is bounded: neither a bomb nor
/// a window can make it more. A larger window than we would ever choose is refused all the same.
fn decompress(
    context: &mut DCtx<'_>,
    frame: &[u8],
    length: usize,
    out: &mut Vec<u8>,
) -> Result<(), CompressError> {
    out.clear();
    if length > BLOCK_RAW_BYTES_MAX {
        return Err(CompressError::TooLarge { bytes: length });
    }
    match window_log(frame) {
        Some(log) if u32::from(log) > WINDOW_LOG_MAX => return Err(CompressError::Window { log }),
        _ => {}
    }
    if find_frame_compressed_size(frame) != Ok(frame.len()) {
        return Err(CompressError::NotOneFrame { bytes: frame.len() });
    }
    let found = get_frame_content_size(frame).ok().flatten();
    if found != Some(length as u64) {
        return Err(CompressError::Length { expected: length, found });
    }
    out.reserve_exact(length);
    let written = context
        .decompress(out, frame)
        .map_err(|code| CompressError::Decompress { bytes: frame.len(), reason: get_error_name(code) })?;
    if written == length {
        Ok(())
    } else {
        Err(CompressError::Length { expected: length, found: Some(written as u64) })
    }
}

/// Returns the logarithm of the window that `frame` asks for, unless the window is the content itself.
///
/// # Source
/// RFC 8878, section 3.1.1.1: after the magic number a descriptor, of which bit 5 says that there is no window
/// descriptor, then the window descriptor, whose upper five bits are the logarithm less ten.
fn window_log(frame: &[u8]) -> Option<u8> {
    let (descriptor, window) = (frame.get(4)?, frame.get(5)?);
    let is_single_segment = descriptor & 0x20 != 0;
    (!is_single_segment).then_some((window >> 3) + 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        fastrand::Rng::with_seed(11).fill(&mut bytes);
        bytes
    }

    fn frame(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Compressor::new().unwrap().compress(bytes, 3, &mut out).unwrap();
        out
    }

    fn read(frame: &[u8], length: usize) -> Result<Vec<u8>, CompressError> {
        let mut out = Vec::new();
        Decompressor::new().unwrap().decompress(frame, length, &mut out).map(|()| out)
    }

    #[test]
    fn blocks_come_back() {
        let mut compressor = Compressor::new().unwrap();
        let mut decompressor = Decompressor::new().unwrap();
        let (mut small, mut back) = (Vec::new(), Vec::new());
        let blocks = [vec![], vec![7], noise(70_000), vec![0; BLOCK_RAW_BYTES_MAX], b"abc".repeat(1_000)];
        for (block, level) in blocks.iter().zip([1, 3, 19, 1, -5]) {
            compressor.compress(block, level, &mut small).unwrap();
            decompressor.decompress(&small, block.len(), &mut back).unwrap();
            assert!(back == *block, "{} bytes", block.len());
        }
    }

    #[test]
    fn a_prefix_is_paid_for_once() {
        let prefix = noise(6 << 20);
        let mut block = prefix[..BLOCK_RAW_BYTES_MAX].to_vec();
        block[500] ^= 1;
        let (mut small, mut back) = (Vec::new(), Vec::new());
        compress_with_prefix(&block, &prefix, 3, &mut small).unwrap();
        assert!(small.len() < 8_000, "{}", small.len());
        decompress_with_prefix(&small, &prefix, block.len(), &mut back).unwrap();
        assert!(back == block);
        assert!(
            decompress_with_prefix(&small, &prefix[1..], block.len(), &mut back).is_err() || back != block
        );
    }

    #[test]
    fn a_prefix_that_looks_like_a_dictionary_is_only_bytes() {
        let mut prefix = 0xec30_a437_u32.to_le_bytes().to_vec();
        prefix.extend(noise(5_000));
        let (mut small, mut back) = (Vec::new(), Vec::new());
        compress_with_prefix(&prefix, &prefix, 3, &mut small).unwrap();
        decompress_with_prefix(&small, &prefix, prefix.len(), &mut back).unwrap();
        assert!(back == prefix);
    }

    #[test]
    fn bombs_and_other_lengths_are_refused() {
        let bomb = zstd_of(&vec![0; 64 << 20], 3);
        let found = Some(64 << 20);
        assert_eq!(read(&bomb, 1_000), Err(CompressError::Length { expected: 1_000, found }));
        assert_eq!(read(&bomb, 64 << 20), Err(CompressError::TooLarge { bytes: 64 << 20 }));
        let small = frame(b"four");
        for length in [0, 3, 5, BLOCK_RAW_BYTES_MAX] {
            let refused = CompressError::Length { expected: length, found: Some(4) };
            assert_eq!(read(&small, length), Err(refused));
        }
        let twice = [small.clone(), small.clone()].concat();
        assert_eq!(read(&twice, 8), Err(CompressError::NotOneFrame { bytes: twice.len() }));
        assert_eq!(
            read(&small[..small.len() - 1], 4),
            Err(CompressError::NotOneFrame { bytes: small.len() - 1 })
        );
        assert_eq!(read(&[], 0), Err(CompressError::NotOneFrame { bytes: 0 }));
        let large = vec![0; BLOCK_RAW_BYTES_MAX + 1];
        let refused = Compressor::new().unwrap().compress(&large, 1, &mut Vec::new());
        assert_eq!(refused, Err(CompressError::TooLarge { bytes: large.len() }));
    }

    /// A frame that our own compressor would refuse to make.
    fn zstd_of(bytes: &[u8], level: i32) -> Vec<u8> {
        zstd::bulk::Compressor::new(level).unwrap().compress(bytes).unwrap()
    }

    #[test]
    fn wide_windows_are_refused() {
        let honest = frame(&[noise(600_000), vec![1; 3 << 20]].concat());
        assert_eq!(honest[4] & 0x20, 0, "a frame with a window descriptor");
        assert!(window_log(&honest).unwrap() <= 23);
        for log in [24_u8, 27, 31, 41] {
            let mut wide = honest.clone();
            wide[5] = (log - 10) << 3;
            assert_eq!(read(&wide, 600_000 + (3 << 20)), Err(CompressError::Window { log }));
        }
    }

    #[test]
    fn damage_is_refused() {
        let block = b"some words that come back, some words that come back".repeat(40);
        let honest = frame(&block);
        let mut refused = 0;
        for at in 0..honest.len() {
            let mut damaged = honest.clone();
            damaged[at] ^= 0x55;
            let Ok(read) = read(&damaged, block.len()) else {
                refused += 1;
                continue;
            };
            assert_eq!(read.len(), block.len(), "never another length");
        }
        assert!(refused > 10, "{refused}");
    }

    #[test]
    fn the_probe_tells_words_from_noise() {
        let mut compressor = Compressor::new().unwrap();
        let words = b"to be or not to be ".repeat(50_000);
        for (case, bytes, expected) in [
            ("nothing", vec![], false),
            ("noise", noise(1 << 20), false),
            ("little noise", noise(100), false),
            ("words", words.clone(), true),
            ("half and half", [noise(500_000), words].concat(), true),
        ] {
            assert_eq!(compressor.is_worth(&bytes), Ok(expected), "{case}");
        }
    }
}
