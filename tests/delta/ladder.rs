//! A sender and a receiver of one content, and a count of the bytes between them.

use std::collections::BTreeMap;

use csync::delta::chunk::{chunks_of, decode_chunks, encode_chunks};
use csync::delta::compress::{Compressor, Decompressor};
use csync::delta::diff::diff;
use csync::delta::inventory::Inventory;
use csync::delta::outline::Outline;
use csync::delta::patch::{Patch, PatchError, Step};
use csync::delta::piece::{Piece, pieces};
use csync::delta::region::Region;
use csync::delta::signature::Signature;

/// What a request takes on the wire beside its signature: places, lengths, framing.
const REQUEST_BYTES: u64 = 24;
/// Raw bytes that are compressed together.
const BLOCK_BYTES: usize = 128 * 1024;

/// Bytes between sender and receiver, and what they did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) outline: u64,
    pub(crate) chunks: u64,
    pub(crate) requests: u64,
    pub(crate) answers: u64,
    pub(crate) signatures: u64,
    pub(crate) copied: u64,
    pub(crate) literal: u64,
}

impl Cost {
    pub(crate) fn wire(&self) -> u64 {
        self.outline + self.chunks + self.requests + self.answers
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.outline += other.outline;
        self.chunks += other.chunks;
        self.requests += other.requests;
        self.answers += other.answers;
        self.signatures += other.signatures;
        self.copied += other.copied;
        self.literal += other.literal;
    }
}

fn usize_of(number: u64) -> usize {
    usize::try_from(number).expect("a content of a test fits in memory")
}

struct Sender<'a> {
    content: &'a [u8],
    inventory: Inventory,
    compressor: Compressor,
}

impl<'a> Sender<'a> {
    fn of(content: &'a [u8]) -> Self {
        let inventory = Inventory::of(chunks_of(content));
        Self { content, inventory, compressor: Compressor::new().expect("a compressor") }
    }

    fn expand(&self, index: usize) -> Vec<u8> {
        let mut list = Vec::new();
        encode_chunks(self.inventory.expand(index).expect("a group of the outline"), &mut list);
        list
    }

    /// The answer in blocks: each with the length it has before compression.
    fn answer(&mut self, offset: u64, length: u64, signature: Option<&[u8]>) -> Vec<(usize, Vec<u8>)> {
        let new = &self.content[usize_of(offset)..usize_of(offset + length)];
        let mut raw = Vec::new();
        match signature {
            Some(bytes) => {
                let signature = Signature::decode(bytes).expect("an honest signature");
                diff(&signature, new, &mut raw);
            }
            None => raw.extend_from_slice(new),
        }
        let mut blocks = Vec::new();
        for block in raw.chunks(BLOCK_BYTES) {
            let mut out = Vec::new();
            if self.compressor.is_worth(block).expect("a probe") {
                self.compressor.compress(block, 3, &mut out).expect("a compressed block");
            } else {
                out.extend_from_slice(block);
            }
            blocks.push((block.len(), out));
        }
        blocks
    }
}

struct Receiver<'a> {
    basis: &'a [u8],
    output: Vec<u8>,
    decompressor: Decompressor,
    cost: Cost,
}

impl Receiver<'_> {
    fn raw(&mut self, length: usize, block: Vec<u8>) -> Vec<u8> {
        self.cost.answers += block.len() as u64 + 4;
        if block.len() == length {
            return block;
        }
        let mut raw = Vec::new();
        self.decompressor.decompress(&block, length, &mut raw).expect("an honest block");
        raw
    }

    fn region(&self, region: &Region) -> Vec<u8> {
        let part = |part: &std::ops::Range<u64>| &self.basis[usize_of(part.start)..usize_of(part.end)];
        region.parts().iter().flat_map(part).copied().collect()
    }

    fn step(&mut self, step: Step<'_>) {
        match step {
            Step::Copy { basis, length } => {
                self.cost.copied += length;
                self.output.extend_from_slice(&self.basis[usize_of(basis)..usize_of(basis + length)]);
            }
            Step::Literal(bytes) => {
                self.cost.literal += bytes.len() as u64;
                self.output.extend_from_slice(bytes);
            }
        }
    }

    fn fetch(&mut self, sender: &mut Sender<'_>, offset: u64, length: u64, region: Option<&Region>) {
        self.cost.requests += REQUEST_BYTES;
        let Some(region) = region else {
            for (length, block) in sender.answer(offset, length, None) {
                let raw = self.raw(length, block);
                self.step(Step::Literal(&raw));
            }
            return;
        };
        let signature = Signature::of(&self.region(region)).expect("a region of bounded length").encode();
        self.cost.requests += signature.len() as u64;
        self.cost.signatures += 1;
        let mut patch = Patch::new(region, length);
        for (length, block) in sender.answer(offset, length, Some(&signature)) {
            let raw = self.raw(length, block);
            // Operations are cut anywhere by the transport.
            for part in raw.chunks(1 + raw.len() / 3) {
                let pushed = patch.push::<PatchError>(part, &mut |step| {
                    self.step(step);
                    Ok(())
                });
                pushed.expect("honest operations");
            }
        }
        patch.finish().expect("complete operations");
    }
}

/// Returns what the receiver of `target` makes of it with the help of `basis`, and what that cost.
pub(crate) fn receive(basis: &[u8], target: &[u8]) -> (Vec<u8>, Cost) {
    let mut sender = Sender::of(target);
    let decompressor = Decompressor::new().expect("a decompressor");
    let mut receiver = Receiver { basis, output: Vec::new(), decompressor, cost: Cost::default() };
    let encoded = sender.inventory.outline().encode();
    receiver.cost.outline = encoded.len() as u64;
    let outline = Outline::decode(&encoded, target.len() as u64).expect("an honest outline");
    let inventory = Inventory::of(chunks_of(basis));
    let unknown = inventory.unknown(&outline);
    let mut expanded = BTreeMap::new();
    for index in unknown {
        let list = sender.expand(index);
        receiver.cost.requests += 3;
        receiver.cost.chunks += list.len() as u64;
        expanded.insert(index, decode_chunks(&list).expect("an honest list"));
    }
    let pieces = pieces(&outline, &expanded, &inventory).expect("honest chunks");
    for piece in &pieces {
        match piece {
            Piece::Copy { basis, length } => {
                receiver.step(Step::Copy { basis: *basis, length: *length });
            }
            Piece::Missing { offset, length, region } => {
                assert_eq!(*offset, receiver.output.len() as u64, "pieces cover the target in order");
                receiver.fetch(&mut sender, *offset, *length, region.as_ref());
            }
        }
    }
    (receiver.output, receiver.cost)
}
