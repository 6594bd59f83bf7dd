//! One content by what is new in it: outline, chunks of what is unknown, operations for what is missing.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use crate::delta::chunk::{Chunk, Chunker, decode_chunks};
use crate::delta::compress::Decompressor;
use crate::delta::inventory::Inventory;
use crate::delta::outline::Outline;
use crate::delta::patch::{Patch, PatchError, Step};
use crate::delta::piece::{Piece, pieces};
use crate::delta::region::Region;
use crate::delta::signature::Signature;
use crate::disk::basis::Basis;
use crate::disk::draft::Draft;
use crate::disk::stage::{StageError, Staged};
use crate::engine::far::breach::{Breach, Broken};
use crate::engine::far::give::{EXPAND_BYTES_MAX, PARTS_MAX};
use crate::engine::far::inflow::{Inflow, Stop};
use crate::transport::channel::Channel;
use crate::transport::message::{Expand, Message, Part, Parts};

/// Where less is spared than this, and than a tenth, the whole is asked for.
const SPARED_BYTES_MIN: u64 = 4 << 20;
/// Read at once.
const READ_BYTES: usize = 256 << 10;
/// How often a giver may say that it still works on an outline: so often, and once more for each ...
const WORDS_MIN: u64 = 16;
/// ... of so many bytes.
const WORD_BYTES: u64 = 16 << 20;
/// Bytes that are copied while a giver waits to go on with an answer.
const COPY_BYTES_MAX: u64 = 512 << 20;
/// Signatures in one request, so that it fits in a message.
const SIGNATURES_BYTES_MAX: usize = 640 << 10;

/// How far the ladder led.
#[derive(Debug)]
pub(crate) enum Climb {
    /// The content is here.
    Staged(Staged),
    /// The whole of it is to be asked for.
    Whole,
    /// The disk does not take it.
    Failed(StageError),
}

impl From<StageError> for Climb {
    fn from(error: StageError) -> Self {
        match error {
            // The basis changed or cannot be read, or two chunks share a mark: the whole tells.
            StageError::Mismatch { .. } | StageError::Busy { .. } | StageError::Source { .. } => Self::Whole,
            StageError::Disk(_) => Self::Failed(error),
        }
    }
}

/// Why the ladder was left early.
enum Leave {
    With(Climb),
    Broken(Broken),
}

impl<E: Into<Broken>> From<E> for Leave {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}

/// Takes the content `id` of `size` bytes with the help of `basis`, into what `draft` returns when it is worth it.
pub(crate) fn climb(
    channel: &mut Channel,
    decompressor: &mut Decompressor,
    (id, size): (u32, u64),
    basis: &Basis,
    draft: impl FnOnce() -> Result<Draft, StageError>,
) -> Result<Climb, Broken> {
    let mut ladder = Ladder { channel, decompressor, id, size, basis };
    match ladder.climb(draft) {
        Ok(climb) | Err(Leave::With(climb)) => Ok(climb),
        Err(Leave::Broken(broken)) => Err(broken),
    }
}

struct Ladder<'a> {
    channel: &'a mut Channel,
    decompressor: &'a mut Decompressor,
    id: u32,
    size: u64,
    basis: &'a Basis,
}

impl Ladder<'_> {
    fn climb(&mut self, draft: impl FnOnce() -> Result<Draft, StageError>) -> Result<Climb, Leave> {
        // Both sides read at the same time.
        self.channel.send(&Message::Outline(self.id))?;
        let chunks = chunks_of(self.basis);
        let outline = self.outline()?;
        let Ok(chunks) = chunks else { return Ok(Climb::Whole) };
        let inventory = Inventory::of(chunks);
        let expanded = self.expand(&outline, &inventory.unknown(&outline))?;
        let pieces = pieces(&outline, &expanded, &inventory).map_err(|error| self.breach(error))?;
        drop((outline, expanded, inventory));
        let missing: u64 = pieces.iter().map(missing_bytes).sum();
        if missing > self.size / 10 * 9 && self.size - missing < SPARED_BYTES_MIN {
            return Ok(Climb::Whole);
        }
        let mut draft = draft().map_err(|error| Leave::With(error.into()))?;
        let mut rest = &pieces[..];
        while let Some(first) = rest.first() {
            let (parts, count) = match first {
                Piece::Copy { .. } => (Vec::new(), 1),
                Piece::Missing { .. } => self.parts(rest).map_err(|_changed| Leave::With(Climb::Whole))?,
            };
            let (now, later) = rest.split_at(count);
            self.bring(&mut draft, now, parts)?;
            rest = later;
        }
        Ok(draft.finish().map_or_else(Climb::from, Climb::Staged))
    }

    fn outline(&mut self) -> Result<Outline, Leave> {
        let mut patience = WORDS_MIN + self.size / WORD_BYTES;
        let mut message = self.channel.recv()?;
        while matches!(message, Message::Working(_)) {
            patience = patience.checked_sub(1).ok_or_else(|| self.breach(Breach::Long))?;
            message = self.channel.recv()?;
        }
        let Message::Groups(groups) = message else { return Err(self.refused(&message, "an outline")) };
        Outline::decode(&groups, self.size).map_err(|error| self.breach(error))
    }

    /// Returns the chunks of the groups at the places `unknown`.
    fn expand(&mut self, outline: &Outline, unknown: &[usize]) -> Result<BTreeMap<usize, Vec<Chunk>>, Leave> {
        let length = |group: &usize| outline.groups.get(*group).map_or(0, |group| group.length);
        let mut expanded = BTreeMap::new();
        let mut rest = unknown;
        while !rest.is_empty() {
            let mut bytes = 0u64;
            let count = rest.iter().take_while(|group| {
                bytes = bytes.saturating_add(length(group));
                bytes <= EXPAND_BYTES_MAX
            });
            let (now, later) = rest.split_at(count.count().max(1));
            rest = later;
            let groups = now.iter().filter_map(|group| u32::try_from(*group).ok()).collect();
            self.channel.send(&Message::Expand(Expand { id: self.id, groups }))?;
            let message = self.channel.recv()?;
            let Message::Chunks(list) = message else { return Err(self.refused(&message, "chunks")) };
            let mut list = decode_chunks(&list).map_err(|error| self.breach(error))?.into_iter();
            for group in now {
                let (mut own, mut left) = (Vec::new(), length(group));
                while left > 0 {
                    let chunk: Chunk = list.next().ok_or_else(|| self.breach(Breach::Short))?;
                    left = left.saturating_sub(u64::from(chunk.length));
                    own.push(chunk);
                }
                expanded.insert(*group, own);
            }
            if list.next().is_some() {
                return Err(self.breach(Breach::Long));
            }
        }
        Ok(expanded)
    }

    /// Returns what one request asks for, and how many of `pieces` are done with it.
    fn parts(&self, pieces: &[Piece]) -> std::io::Result<(Vec<Part>, usize)> {
        let (mut parts, mut bytes, mut copied) = (Vec::new(), 0, 0);
        for (count, piece) in pieces.iter().enumerate() {
            let (offset, length, region) = match piece {
                Piece::Missing { offset, length, region } => (offset, length, region),
                Piece::Copy { length, .. } => {
                    copied += length;
                    if copied > COPY_BYTES_MAX {
                        return Ok((parts, count));
                    }
                    continue;
                }
            };
            let signature = match region {
                Some(region) => signature_of(self.basis, region)?,
                None => Vec::new(),
            };
            bytes += signature.len();
            if parts.len() == PARTS_MAX || bytes > SIGNATURES_BYTES_MAX {
                return Ok((parts, count));
            }
            parts.push(Part { offset: *offset, length: *length, signature });
        }
        Ok((parts, pieces.len()))
    }

    /// Appends `pieces` to `draft`, with the answer to the request for `parts` where they are missing.
    fn bring(&mut self, draft: &mut Draft, pieces: &[Piece], parts: Vec<Part>) -> Result<(), Leave> {
        let asked = !parts.is_empty();
        if asked {
            self.channel.send(&Message::Parts(Parts { id: self.id, parts }))?;
        }
        let mut writer = Writer { draft, basis: self.basis, failed: None };
        let mut inflow = Inflow::new(self.channel, self.decompressor);
        let answered = (|| {
            for piece in pieces {
                match piece {
                    Piece::Copy { basis, length } => writer.copy(*basis, *length),
                    Piece::Missing { length, region: Some(region), .. } => {
                        patched(&mut inflow, &mut writer, region, *length)?;
                    }
                    Piece::Missing { length, region: None, .. } => {
                        inflow.pass(*length, |bytes| {
                            writer.write(bytes);
                            Ok::<(), Breach>(())
                        })?;
                    }
                }
            }
            if asked { inflow.finish() } else { Ok(()) }
        })();
        match (answered, writer.failed) {
            (Err(Stop::Broken(broken)), _) => Err(Leave::Broken(broken)),
            (Err(Stop::Void), _) => Err(Leave::With(Climb::Whole)),
            (Ok(()), Some(error)) => Err(Leave::With(error.into())),
            (Ok(()), None) => Ok(()),
        }
    }

    /// Returns what it means that the giver sent `message` where something else was due.
    fn refused(&self, message: &Message, due: &'static str) -> Leave {
        let Message::Absent(absent) = message else { return self.breach(Breach::Unexpected { due }) };
        if absent.id != self.id {
            return self.breach(Breach::Id { asked: self.id, found: absent.id });
        }
        Leave::With(Climb::Whole)
    }

    fn breach(&self, breach: impl Into<Breach>) -> Leave {
        Leave::Broken(Broken::by(self.channel, breach))
    }
}

/// A draft, until the disk refuses. What comes after that is not written.
struct Writer<'a> {
    draft: &'a mut Draft,
    basis: &'a Basis,
    failed: Option<StageError>,
}

impl Writer<'_> {
    fn copy(&mut self, offset: u64, length: u64) {
        if self.failed.is_none() {
            self.failed = self.draft.copy(self.basis, offset, length).err();
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.failed = self.draft.write(bytes).err();
        }
    }
}

/// Appends a missing piece of `length` bytes by the operations that come, which lean on `region`.
fn patched(
    inflow: &mut Inflow<'_>,
    writer: &mut Writer<'_>,
    region: &Region,
    length: u64,
) -> Result<(), Stop> {
    let mut patch = Patch::new(region, length);
    let operations = u64::from(u32::from_le_bytes(inflow.exactly()?));
    inflow.pass(operations, |bytes| {
        patch.push::<PatchError>(bytes, &mut |step| {
            match step {
                Step::Copy { basis, length } => writer.copy(basis, length),
                Step::Literal(bytes) => writer.write(bytes),
            }
            Ok(())
        })
    })?;
    patch.finish().map_err(|error| inflow.breach(error))
}

fn missing_bytes(piece: &Piece) -> u64 {
    match piece {
        Piece::Copy { .. } => 0,
        Piece::Missing { length, .. } => *length,
    }
}

/// Returns the chunks of a basis.
fn chunks_of(basis: &Basis) -> std::io::Result<Vec<Chunk>> {
    let (mut chunks, mut chunker) = (Vec::new(), Chunker::new());
    let mut buffer = vec![0; READ_BYTES];
    let mut at = 0;
    loop {
        match basis.read_at(&mut buffer, at) {
            Ok(0) => break,
            Ok(count) => {
                chunker.push(&buffer[..count], &mut |chunk| chunks.push(chunk));
                at += u64::try_from(count).unwrap_or(u64::MAX);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    chunker.finish(&mut |chunk| chunks.push(chunk));
    Ok(chunks)
}

/// Returns the signature of a region of `basis` as it goes over the wire.
fn signature_of(basis: &Basis, region: &Region) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(region.length()).map_err(std::io::Error::other)?];
    let mut rest = &mut bytes[..];
    for part in region.parts() {
        let length = usize::try_from(part.end - part.start).map_err(std::io::Error::other)?;
        let Some((here, later)) = std::mem::take(&mut rest).split_at_mut_checked(length) else { break };
        basis.read_exact_at(here, part.start)?;
        rest = later;
    }
    Ok(Signature::of(&bytes).map_err(std::io::Error::other)?.encode())
}
