//! What peers say of contents: lists of chunks, signatures, operations, compressed blocks.

use std::collections::BTreeMap;
use std::ops::Range;

use csync::delta::chunk::{
    CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, Chunk, Chunker, chunks_of, decode_chunks, mark_of,
};
use csync::delta::compress::{
    BLOCK_RAW_BYTES_MAX, Compressor, Decompressor, compress_with_prefix, decompress_with_prefix,
};
use csync::delta::diff::diff;
use csync::delta::inventory::Inventory;
use csync::delta::outline::Outline;
use csync::delta::patch::{Patch, PatchError, Step};
use csync::delta::piece::{PIECE_BYTES_MAX, Piece, pieces};
use csync::delta::region::{REGION_BYTES_MAX, Region};
use csync::delta::signature::Signature;

/// Most bytes that a recipe makes.
const CONTENT_BYTES_MAX: usize = 192 << 10;

/// Returns a content of some size that `recipe` describes: three bytes a part, what and how much. Short inputs make
/// contents of many chunks, and equal parts make equal bytes.
fn content(recipe: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in recipe.chunks(3) {
        let &[kind, seed, size] = part else { break };
        let length = (usize::from(size) << (kind % 9)).min(CONTENT_BYTES_MAX - bytes.len());
        match kind / 128 {
            0 => {
                let mut noise = vec![0; length];
                fastrand::Rng::with_seed(seed.into()).fill(&mut noise);
                bytes.extend(noise);
            }
            _ => bytes.resize(bytes.len() + length, seed),
        }
    }
    bytes
}

/// Splits `data` behind a length of one byte.
fn divided(data: &[u8]) -> (&[u8], &[u8]) {
    let Some((&count, rest)) = data.split_first() else { return (&[], &[]) };
    rest.split_at(rest.len().min(count.into()))
}

fn ranges(lengths: impl Iterator<Item = u64>) -> impl Iterator<Item = Range<u64>> {
    lengths.scan(0, |at, length| {
        let start = *at;
        *at += length;
        Some(start..*at)
    })
}

fn slice(bytes: &[u8], start: u64, length: u64) -> &[u8] {
    let start = usize::try_from(start).expect("a place in memory");
    &bytes[start..start + usize::try_from(length).expect("a length in memory")]
}

/// Chunks joined are the content; their lengths hold, their marks are theirs, and they are the same however the
/// content was pushed.
pub(crate) fn chunker(data: &[u8]) -> bool {
    let (pushes, recipe) = divided(data);
    let content = content(recipe);
    let chunks = chunks_of(&content);
    for (index, (chunk, range)) in
        chunks.iter().zip(ranges(chunks.iter().map(|chunk| chunk.length.into()))).enumerate()
    {
        let length = usize::try_from(chunk.length).expect("32 bits");
        assert!(length <= CHUNK_BYTES_MAX && (length >= CHUNK_BYTES_MIN || index + 1 == chunks.len()));
        assert_eq!(mark_of(slice(&content, range.start, range.end - range.start)), chunk.mark);
    }
    assert_eq!(chunks.iter().map(|chunk| u64::from(chunk.length)).sum::<u64>(), content.len() as u64);
    let mut rest = &content[..];
    let mut again = Vec::new();
    let mut chunker = Chunker::new();
    for size in pushes.iter().map(|size| usize::from(*size) * 257).chain(std::iter::repeat(usize::MAX)) {
        let (now, later) = rest.split_at(size.min(rest.len()));
        chunker.push(now, &mut |chunk| again.push(chunk));
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    chunker.finish(&mut |chunk| again.push(chunk));
    assert_eq!(again, chunks);
    assert_eq!(Outline::of(&chunks).check(content.len() as u64), Ok(()));
    true
}

/// Eight bytes of a size, then an outline of a content of that size and lists of chunks for its groups: what is
/// accepted covers the content, within the bounds of every buffer.
pub(crate) fn outline(data: &[u8]) -> bool {
    let Some((size, rest)) = data.split_first_chunk() else { return false };
    let size = u64::from_le_bytes(*size);
    let (lists, groups) = divided(rest);
    let Ok(outline) = Outline::decode(groups, size) else { return false };
    assert_eq!(outline.encode(), groups);
    assert!(groups.len() as u64 <= Outline::wire_bytes_max(size));
    let basis = chunks_of(&content(b"\x07a\xff\x07b\xff\x07c\xff"));
    let inventory = Inventory::of(basis.clone());
    let unknown = inventory.unknown(&outline);
    let mut listed = decode_chunks(lists).unwrap_or_default().into_iter();
    let mut expanded = BTreeMap::new();
    for index in unknown {
        let mut left = outline.groups[index].length;
        let fits = |chunk: &Chunk| match left.checked_sub(chunk.length.into()) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        };
        let chunks: Vec<Chunk> = listed.by_ref().take_while(fits).collect();
        if !chunks.is_empty() {
            expanded.insert(index, chunks);
        }
    }
    let Ok(pieces) = pieces(&outline, &expanded, &inventory) else { return false };
    let mut covered = 0;
    for piece in pieces {
        match piece {
            Piece::Copy { basis, length } => {
                assert!(basis + length <= inventory.size());
                covered += length;
            }
            Piece::Missing { offset, length, region } => {
                assert!(offset == covered && (1..=PIECE_BYTES_MAX).contains(&length));
                region.iter().for_each(|region| lies_within(region, inventory.size()));
                covered += length;
            }
        }
    }
    assert_eq!(covered, size);
    true
}

fn lies_within(region: &Region, size: u64) {
    assert!(region.length() <= REGION_BYTES_MAX);
    assert!(region.parts().iter().all(|part| part.start < part.end && part.end <= size));
}

/// A signature of any sums, and bytes to say in terms of it: bounded work, and operations that make exactly so many
/// bytes.
pub(crate) fn signature(data: &[u8]) -> bool {
    let (recipe, rest) = divided(data);
    let Ok(signature) = Signature::decode(rest) else { return false };
    assert_eq!(signature.encode(), rest);
    let bytes = content(recipe);
    let mut operations = Vec::new();
    let work = diff(&signature, &bytes, &mut operations);
    assert!(work.probes <= (64 << 10) + 64 + 9 * bytes.len() as u64, "{work:?} for {} bytes", bytes.len());
    assert!(operations.len() <= bytes.len() + bytes.len() / 64 + 32, "{} operations", operations.len());
    true
}

/// Two contents: the whole ladder of a difference makes the second of the first. Then operations of anybody, applied
/// to the same pieces: never a byte too many and never a range outside.
pub(crate) fn delta_apply(data: &[u8]) -> bool {
    let (old, rest) = divided(data);
    let (new, hostile) = divided(rest);
    let (old, new) = (content(old), content(new));
    let inventory = Inventory::of(chunks_of(&old));
    let target = Inventory::of(chunks_of(&new));
    let outline = Outline::decode(&target.outline().encode(), new.len() as u64).expect("it is an outline");
    let chunks = |index| (index, target.expand(index).expect("a place of the outline").to_vec());
    let expanded = inventory.unknown(&outline).into_iter().map(chunks).collect();
    let pieces = pieces(&outline, &expanded, &inventory).expect("the chunks are those of the outline");
    let mut made = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Copy { basis, length } => made.extend_from_slice(slice(&old, basis, length)),
            Piece::Missing { offset, length, region: Some(region) } => {
                lies_within(&region, old.len() as u64);
                let bytes = slice(&new, offset, length);
                made.extend(patched(&old, &region, bytes));
                applied(&old, &region, length, hostile).ok();
            }
            Piece::Missing { offset, length, region: None } => {
                made.extend_from_slice(slice(&new, offset, length));
            }
        }
    }
    assert!(made == new, "the difference makes another content");
    true
}

/// Returns `bytes` after they went as operations on a region of `old`.
fn patched(old: &[u8], region: &Region, bytes: &[u8]) -> Vec<u8> {
    let known: Vec<u8> = region
        .parts()
        .iter()
        .flat_map(|part| slice(old, part.start, part.end - part.start))
        .copied()
        .collect();
    let signature = Signature::of(&known).expect("a region is no larger than a region");
    let mut operations = Vec::new();
    diff(&Signature::decode(&signature.encode()).expect("it is a signature"), bytes, &mut operations);
    applied(old, region, bytes.len() as u64, &operations).expect("the operations are honest")
}

fn applied(old: &[u8], region: &Region, length: u64, operations: &[u8]) -> Result<Vec<u8>, PatchError> {
    let mut made = Vec::new();
    let mut patch = Patch::new(region, length);
    let mut take = |step: Step<'_>| {
        match step {
            Step::Copy { basis, length } => {
                let within = |part: &Range<u64>| part.start <= basis && basis + length <= part.end;
                assert!(region.parts().iter().any(within), "a copy outside of the region");
                made.extend_from_slice(slice(old, basis, length));
            }
            Step::Literal(bytes) => made.extend_from_slice(bytes),
        }
        assert!(made.len() as u64 <= length, "more bytes than were asked for");
        Ok(())
    };
    // Cut where a network might.
    for part in operations.chunks(7) {
        patch.push(part, &mut take)?;
    }
    patch.finish()?;
    assert_eq!(made.len() as u64, length);
    Ok(made)
}

/// Four bytes of a length, then a frame: what is accepted has that length. And what is compressed comes back.
pub(crate) fn zstd_frame(data: &[u8]) -> bool {
    let Some((length, frame)) = data.split_first_chunk() else { return false };
    let length = usize::try_from(u32::from_le_bytes(*length)).expect("32 bits");
    let mut out = Vec::new();
    let mut decompressor = Decompressor::new().expect("memory for a context");
    let accepted = decompressor.decompress(frame, length, &mut out).is_ok();
    assert!(out.capacity() <= BLOCK_RAW_BYTES_MAX, "more memory than a block");
    assert!(!accepted || out.len() == length);
    let (prefix, bytes) = divided(data);
    if decompress_with_prefix(frame, prefix, length, &mut out).is_ok() {
        assert_eq!(out.len(), length);
    }
    let (mut small, mut back) = (Vec::new(), Vec::new());
    Compressor::new().expect("memory for a context").compress(bytes, 1, &mut small).expect("a small block");
    decompressor.decompress(&small, bytes.len(), &mut back).expect("what was compressed");
    assert!(back == bytes);
    compress_with_prefix(bytes, prefix, 1, &mut small).expect("a small block");
    decompress_with_prefix(&small, prefix, bytes.len(), &mut back).expect("what was compressed");
    assert!(back == bytes);
    accepted
}
