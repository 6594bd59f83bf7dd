//! The bytes of an answer, into blocks that go out while the next are made.

use std::sync::mpsc::{SyncSender, sync_channel};

use crate::delta::compress::Compressor;
use crate::transport::channel::Channel;
use crate::transport::error::WireError;
use crate::transport::message::{BLOCK_BYTES_MAX, Block, Message};

/// Blocks that are ready before the wire takes them.
const READY: usize = 1;
const BLOCK_BYTES: usize = BLOCK_BYTES_MAX as usize;

/// The level at which blocks are compressed.
const LEVEL: i32 = 3;

/// Bytes of answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Volume {
    /// As they are.
    pub raw: u64,
    /// In the blocks that they went out in.
    pub packed: u64,
}

/// The peer takes no more.
#[derive(Debug)]
pub(crate) struct Gone;

/// Where an answer is written to.
pub(crate) struct Outflow<'a> {
    /// `None` where nothing is to be compressed.
    compressor: Option<&'a mut Compressor>,
    ready: SyncSender<Message>,
    raw: Vec<u8>,
    volume: &'a mut Volume,
}

/// Sends what `write` writes, and then the message that it returns, while it goes on writing on a thread of its own.
pub(crate) fn flow(
    channel: &mut Channel,
    compressor: Option<&mut Compressor>,
    volume: &mut Volume,
    write: impl FnOnce(&mut Outflow<'_>) -> Result<Message, Gone> + Send,
) -> Result<(), WireError> {
    let (ready, blocks) = sync_channel(READY);
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let mut out = Outflow { compressor, ready, raw: Vec::with_capacity(BLOCK_BYTES), volume };
            let end = write(&mut out)?;
            out.flush()?;
            out.ready.send(end).map_err(|_gone| Gone)
        });
        let sent = blocks.into_iter().try_for_each(|block| channel.give_away(block));
        match writer.join() {
            Ok(_) => sent,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

impl Outflow<'_> {
    /// Appends `bytes`.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(self.room()));
            self.raw.extend_from_slice(now);
            self.flush_full()?;
            rest = later;
        }
        Ok(())
    }

    /// Returns how many bytes the block in the making still takes.
    pub(crate) fn room(&self) -> usize {
        BLOCK_BYTES - self.raw.len()
    }

    /// Appends up to `count` bytes, at most [`room`](Self::room), that `fill` puts into the slice that it is given, and
    /// returns what it returns: how many it put there, the others are dropped.
    pub(crate) fn fill<E>(
        &mut self,
        count: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let start = self.raw.len();
        self.raw.resize(start + count.min(self.room()), 0);
        let filled = fill(&mut self.raw[start..]);
        self.raw.truncate(start + filled.as_ref().map_or(0, |count| *count));
        filled
    }

    /// Sends the block in the making if it is full.
    pub(crate) fn flush_full(&mut self) -> Result<(), Gone> {
        if self.room() == 0 { self.flush() } else { Ok(()) }
    }

    /// Sends the block in the making, if there is something in it.
    pub(crate) fn flush(&mut self) -> Result<(), Gone> {
        let Ok(length) = u32::try_from(self.raw.len()) else { return Err(Gone) };
        if length == 0 {
            return Ok(());
        }
        let block = match self.packed() {
            Some(bytes) => {
                self.raw.clear();
                Block { length, packed: true, bytes }
            }
            None => {
                let bytes = std::mem::replace(&mut self.raw, Vec::with_capacity(BLOCK_BYTES));
                Block { length, packed: false, bytes }
            }
        };
        self.volume.raw += u64::from(length);
        self.volume.packed += u64::try_from(block.bytes.len()).unwrap_or(u64::MAX);
        self.ready.send(Message::Block(block)).map_err(|_gone| Gone)
    }

    /// Returns the block in the making compressed, unless that is not worth it. It may always go out as it is.
    fn packed(&mut self) -> Option<Vec<u8>> {
        let mut frame = Vec::new();
        let compressor = self.compressor.as_mut()?;
        let is_worth = compressor.is_worth(&self.raw).is_ok_and(|is_worth| is_worth);
        let packed = is_worth && compressor.compress(&self.raw, LEVEL, &mut frame).is_ok();
        (packed && frame.len() < self.raw.len()).then_some(frame)
    }
}
