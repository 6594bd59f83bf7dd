//! New bytes in terms of a region that the other side has, of which only the signature is here.

use crate::delta::region::BLOCK_BYTES;
use crate::delta::rolling::Rolling;
use crate::delta::signature::{Block, Signature, strong};
use crate::delta::varint;

/// Most blocks behind one place of the table: a signature of the other side's choice cannot make it longer.
const CHAIN_MAX: u32 = 64;
/// What a difference may cost at least, whatever its length.
const WORK_FLOOR: u64 = 64 * 1024;

/// What a difference cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Work {
    /// Blocks that were looked at because they share a place of the table with the window.
    pub probes: u64,
    /// Strong sums that were computed and belonged to no block.
    pub strong_in_vain: u64,
}

impl Work {
    /// Whether `bytes` new bytes are worth no more than this. Honest data stays far below: a probe in a few bytes, and
    /// next to no strong sum in vain.
    fn is_spent(self, bytes: u64) -> bool {
        self.probes > WORK_FLOOR + bytes.saturating_mul(8) || self.strong_in_vain > (WORK_FLOOR + bytes) / 512
    }
}

/// Appends to `out` the operations that make `bytes` from the region with this `signature`, and returns what it cost.
///
/// What cannot be found is literal, and so is the rest once the signature has cost more than it can save. The
/// operations are for [`crate::delta::patch::Patch`]: each a varint of twice a count, plus one for a literal. A
/// literal of so many bytes is followed by them; a copy of so many blocks by the zigzag distance of the first from
/// the block after the previous copy.
///
/// # Source
/// Tridgell and Mackerras, "The rsync algorithm", 1996.
pub fn diff(signature: &Signature, bytes: &[u8], out: &mut Vec<u8>) -> Work {
    let (full, shorter) = signature.blocks();
    let table = Table::of(full);
    let mut search = Search { table: &table, work: Work::default(), budget_bytes: bytes.len() as u64 };
    let mut operations = Operations::new(out);
    let shorter_from = shorter.and_then(|(block, length)| {
        let from = bytes.len().checked_sub(length)?;
        is_block(&bytes[from..], block).then_some(from)
    });
    let body = &bytes[..shorter_from.unwrap_or(bytes.len())];
    let (mut literal_from, mut at) = (0, 0);
    let mut rolling = body.get(..BLOCK_BYTES).map(Rolling::of);
    while let Some(sums) = rolling.as_mut() {
        if let Some(found) = search.find(sums.sum(), operations.next, &body[at..at + BLOCK_BYTES]) {
            operations.literal(&body[literal_from..at]);
            operations.copy(found);
            at += BLOCK_BYTES;
            literal_from = at;
            rolling = body.get(at..at + BLOCK_BYTES).map(Rolling::of);
        } else if at + BLOCK_BYTES < body.len() && !search.is_over() {
            sums.roll(body[at], body[at + BLOCK_BYTES]);
            at += 1;
        } else {
            rolling = None;
        }
    }
    operations.literal(&body[literal_from..]);
    if shorter_from.is_some() {
        operations.copy(index_of(full.len()));
    }
    operations.finish();
    search.work
}

fn is_block(bytes: &[u8], block: Block) -> bool {
    Rolling::of(bytes).sum() == block.weak && strong(bytes) == block.strong
}

/// A signature has at most 32 Ki blocks.
fn index_of(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// The blocks of a signature, found by their weak sums. Of equal blocks it knows the first.
struct Table<'a> {
    blocks: &'a [Block],
    /// The first block of each chain, counted from one; zero is none.
    heads: Vec<u32>,
    /// The next block of the chain of each block.
    nexts: Vec<u32>,
    shift: u32,
}

impl<'a> Table<'a> {
    fn of(blocks: &'a [Block]) -> Self {
        let places = (blocks.len() * 2).next_power_of_two().max(2);
        let shift = u32::BITS - places.trailing_zeros();
        let mut table = Self { blocks, heads: vec![0; places], nexts: vec![0; blocks.len()], shift };
        // From the end, so that the earliest block stands at the head of its chain.
        let mut lengths = vec![0_u32; places];
        for (index, block) in blocks.iter().enumerate().rev() {
            let place = table.place(block.weak);
            let head = table.heads[place];
            let known = table.chain(head).find(|(_, other)| other == block);
            if known.is_none() && lengths[place] < CHAIN_MAX {
                table.nexts[index] = head;
                table.heads[place] = index_of(index) + 1;
                lengths[place] += 1;
            }
        }
        table
    }

    fn place(&self, weak: u32) -> usize {
        // The low bits of the sum depend on few bits of the bytes; the product brings all of them to the top.
        let mixed = weak.wrapping_mul(0x9e37_79b1) >> self.shift;
        usize::try_from(mixed).unwrap_or(0)
    }

    fn chain(&self, head: u32) -> impl Iterator<Item = (u32, Block)> {
        let at = |link: u32| usize::try_from(link).ok().and_then(|link| link.checked_sub(1));
        let mut link = head;
        std::iter::from_fn(move || {
            let index = at(link)?;
            link = self.nexts[index];
            Some((index_of(index), self.blocks[index]))
        })
    }
}

/// A table and what was spent on it.
struct Search<'a> {
    table: &'a Table<'a>,
    work: Work,
    budget_bytes: u64,
}

impl Search<'_> {
    /// Returns the block that `window` with the sum `weak` is: `wished`, or else one in the chain.
    fn find(&mut self, weak: u32, wished: u32, window: &[u8]) -> Option<u32> {
        let at_wished = usize::try_from(wished).ok().and_then(|index| self.table.blocks.get(index));
        let wished = at_wished.map(|block| (wished, *block));
        let head = self.table.heads[self.table.place(weak)];
        let mut sum = None;
        for (index, block) in wished.into_iter().chain(self.table.chain(head)) {
            self.work.probes += 1;
            if block.weak == weak && block.strong == *sum.get_or_insert_with(|| strong(window)) {
                return Some(index);
            }
        }
        self.work.strong_in_vain += u64::from(sum.is_some());
        None
    }

    fn is_over(&self) -> bool {
        self.work.is_spent(self.budget_bytes)
    }
}

/// The encoder of operations: adjoining blocks become one copy.
struct Operations<'a> {
    out: &'a mut Vec<u8>,
    /// Where the open copy starts and how many blocks it has.
    copy: Option<(u32, u32)>,
    /// The block after the last copied one.
    next: u32,
    /// The block after the last copy that was written.
    written: u32,
}

impl<'a> Operations<'a> {
    fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, copy: None, next: 0, written: 0 }
    }

    fn copy(&mut self, block: u32) {
        match &mut self.copy {
            Some((_, count)) if block == self.next => *count += 1,
            _ => {
                self.flush();
                self.copy = Some((block, 1));
            }
        }
        self.next = block + 1;
    }

    fn literal(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.flush();
            varint::write(bytes.len() as u64 * 2 + 1, self.out);
            self.out.extend_from_slice(bytes);
        }
    }

    fn flush(&mut self) {
        if let Some((first, count)) = self.copy.take() {
            varint::write(u64::from(count) * 2, self.out);
            varint::write(varint::zigzag(i64::from(first) - i64::from(self.written)), self.out);
            self.written = first + count;
        }
    }

    fn finish(mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests;
