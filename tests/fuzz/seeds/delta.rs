//! What peers say of contents, rightly.

use csync::delta::chunk::{chunks_of, encode_chunks};
use csync::delta::compress::Compressor;
use csync::delta::outline::Outline;
use csync::delta::signature::Signature;

/// Contents as recipes: nothing, little, noise, runs, and noise with a run in it.
const RECIPES: [&[u8]; 7] = [
    b"",
    b"\x00a\x05",
    b"\x08a\xff",
    b"\x88a\xff",
    b"\x08a\xff\x08b\xff\x08c\xff",
    b"\x08a\xff\x00z\x09\x08b\xff",
    b"\x08a\x80\x90\x00\xff\x08b\xc0\x90\x01\x03",
];

/// Puts `first` behind its length of one byte, and the rest behind that.
fn joined(first: &[u8], rest: &[u8]) -> Vec<u8> {
    let length = u8::try_from(first.len()).expect("a short first part");
    [&[length], first, rest].concat()
}

fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(5).fill(&mut bytes);
    bytes
}

pub(crate) fn recipes() -> Vec<Vec<u8>> {
    RECIPES.iter().map(|recipe| joined(b"\x01\x10\x00\xff", recipe)).collect()
}

pub(crate) fn outlines() -> Vec<Vec<u8>> {
    let outline = |length: usize, listed: usize| {
        let chunks = chunks_of(&noise(length));
        let mut list = Vec::new();
        encode_chunks(&chunks[..listed.min(chunks.len())], &mut list);
        let size = u64::try_from(length).expect("64 bits").to_le_bytes();
        [&size[..], &joined(&list, &Outline::of(&chunks).encode())].concat()
    };
    vec![
        outline(0, 0),
        outline(1, 0),
        outline(5_000, 1),
        outline(60_000, 0),
        outline(60_000, 20),
        outline(900_000, 0),
    ]
}

pub(crate) fn signatures() -> Vec<Vec<u8>> {
    let known = noise(20_000);
    let lengths = [0, 1, 511, 512, 513, 1_024, 10_000, 20_000];
    let signature = |length: usize| Signature::of(&known[..length]).expect("a small region").encode();
    lengths
        .iter()
        .zip(RECIPES.iter().cycle())
        .map(|(length, recipe)| joined(recipe, &signature(*length)))
        .collect()
}

pub(crate) fn differences() -> Vec<Vec<u8>> {
    let hostile: [&[u8]; 4] =
        [b"\x03a\x02\x00", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", b"\x02\x00", b""];
    let pairs = RECIPES.iter().zip(RECIPES.iter().cycle().skip(1));
    let edited: (&[u8], &[u8]) = (b"\x08a\xff\x08b\xff", b"\x08a\xff\x00y\x30\x08b\xff");
    let pairs = pairs.map(|(old, new)| (*old, *new)).chain([edited, (RECIPES[4], RECIPES[4])]);
    pairs.zip(hostile.iter().cycle()).map(|((old, new), rest)| joined(old, &joined(new, rest))).collect()
}

pub(crate) fn blocks() -> Vec<Vec<u8>> {
    let mut compressor = Compressor::new().expect("memory for a context");
    let mut block = |bytes: &[u8], level| {
        let mut frame = Vec::new();
        compressor.compress(bytes, level, &mut frame).expect("a small block");
        [&u32::try_from(bytes.len()).expect("a small block").to_le_bytes()[..], &frame].concat()
    };
    vec![
        block(b"", 1),
        block(b"a", 3),
        block(&[b'a'; 5_000], 3),
        block(&noise(700), 1),
        block(&noise(100).repeat(9), 9),
        block(&vec![0; 4 << 20], 1),
    ]
}
