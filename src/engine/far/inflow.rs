//! The bytes of an answer, out of the blocks in which they come.

use crate::delta::compress::Decompressor;
use crate::engine::far::breach::{Breach, Broken};
use crate::transport::channel::Channel;
use crate::transport::error::WireError;
use crate::transport::message::{BLOCK_BYTES_MAX, Block, Message};

/// One answer of blocks, of which one is held at a time.
pub(crate) struct Inflow<'a> {
    channel: &'a mut Channel,
    decompressor: &'a mut Decompressor,
    block: Vec<u8>,
    taken: usize,
    ended: bool,
}

/// Why no more bytes come.
#[derive(Debug)]
pub(crate) enum Stop {
    /// What was asked for is no longer to be had; the conversation goes on.
    Void,
    /// The conversation is over.
    Broken(Broken),
}

impl From<WireError> for Stop {
    fn from(error: WireError) -> Self {
        Self::Broken(error.into())
    }
}

impl<'a> Inflow<'a> {
    /// Returns the answer that now comes on `channel`.
    pub(crate) fn new(channel: &'a mut Channel, decompressor: &'a mut Decompressor) -> Self {
        Self { channel, decompressor, block: Vec::new(), taken: 0, ended: false }
    }

    /// Returns bytes that came and were not taken yet; none at the end of the answer.
    fn at_hand(&mut self) -> Result<&[u8], Stop> {
        while self.taken == self.block.len() && !self.ended {
            let message = self.channel.recv()?;
            if let Message::Block(block) = message {
                self.refill(block)?;
            } else if message == Message::BlocksEnd {
                self.ended = true;
            } else if matches!(message, Message::Absent(_)) {
                return Err(Stop::Void);
            } else {
                return Err(self.breach(Breach::Unexpected { due: "a block" }));
            }
        }
        Ok(&self.block[self.taken..])
    }

    /// Hands the next `length` bytes to `hand`, in parts, until it refuses one.
    pub(crate) fn pass<E: Into<Breach>>(
        &mut self,
        length: u64,
        mut hand: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), Stop> {
        let mut left = length;
        while left > 0 {
            let at_hand = self.at_hand()?;
            let count = at_hand.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let handed = hand(&at_hand[..count]);
            if count == 0 {
                return Err(self.breach(Breach::Short));
            }
            handed.map_err(|refused| self.breach(refused))?;
            self.taken += count;
            left -= u64::try_from(count).unwrap_or(left);
        }
        Ok(())
    }

    /// Returns the next `N` bytes.
    pub(crate) fn exactly<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let mut bytes = [0; N];
        let mut filled = 0;
        self.pass(u64::try_from(N).unwrap_or(u64::MAX), |part| {
            bytes[filled..filled + part.len()].copy_from_slice(part);
            filled += part.len();
            Ok::<(), Breach>(())
        })?;
        Ok(bytes)
    }

    /// Takes the end of the answer, which must be here.
    pub(crate) fn finish(mut self) -> Result<(), Stop> {
        if self.at_hand()?.is_empty() { Ok(()) } else { Err(self.breach(Breach::Long)) }
    }

    /// Returns the end of the conversation for a rule that the peer broke.
    pub(crate) fn breach(&self, breach: impl Into<Breach>) -> Stop {
        Stop::Broken(Broken::by(self.channel, breach))
    }

    fn refill(&mut self, block: Block) -> Result<(), Stop> {
        let length = usize::try_from(block.length).unwrap_or(usize::MAX);
        if !(1..=BLOCK_BYTES_MAX).contains(&block.length) {
            return Err(self.breach(Breach::Block(block.length)));
        }
        self.taken = 0;
        if block.packed {
            let unpacked = self.decompressor.decompress(&block.bytes, length, &mut self.block);
            return unpacked.map_err(|error| self.breach(error));
        }
        if block.bytes.len() != length {
            return Err(self.breach(Breach::Block(block.length)));
        }
        self.block = block.bytes;
        Ok(())
    }
}
