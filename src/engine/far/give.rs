//! Gives contents to a peer that asks for them: a provider without memory, driven by the taker.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use crate::delta::chunk::{Chunk, Chunker, encode_chunks};
use crate::delta::compress::Compressor;
use crate::delta::diff::diff;
use crate::delta::piece::PIECE_BYTES_MAX;
use crate::delta::signature::Signature;
use crate::disk::root::stat_fd;
use crate::engine::far::breach::{Breach, Broken};
use crate::engine::far::outflow::{Gone, Outflow, Volume, flow};
use crate::engine::far::outlines::{Bounds, Outlines};
use crate::model::entry::Digest;
use crate::model::metadata::Stat;
use crate::transport::channel::Channel;
use crate::transport::error::WireError;
use crate::transport::message::{Absent, Code, Expand, ITEMS_MAX, Message, Part, Parts, Working};

/// Read at once.
const READ_BYTES: usize = 256 << 10;
/// A file is read so far between two words that it is being worked on.
const WORKING_BYTES: u64 = 256 << 20;
/// Bytes of the groups whose chunks one request may ask for: reading them takes far less than a taker waits, and their
/// chunks fit in a message.
pub(crate) const EXPAND_BYTES_MAX: u64 = 256 << 20;
/// Parts in one request.
pub(crate) const PARTS_MAX: usize = 1024;
/// Bytes of a segment and of what ends a content.
const LENGTH_BYTES: usize = 4;
/// Below this a block that is nearly full is sent rather than filled with a crumb.
const CRUMB_BYTES: u64 = 4096;

/// Where contents are to be had by number.
pub trait Offer: Sync {
    /// Returns the content `id`, opened.
    ///
    /// # Errors
    /// There is none, or it is not the one that was offered any more: why, for people.
    fn content(&self, id: u32) -> Result<Offered, String>;
}

/// A content, opened.
#[derive(Debug)]
pub struct Offered {
    /// Its bytes.
    pub file: File,
    /// What it is believed to be. The taker does not believe it.
    pub digest: Digest,
    /// Its bytes in number.
    pub size: u64,
    /// The stat of `file` when it was opened.
    pub stat: Stat,
}

/// What was given, and what ended it.
#[derive(Clone, PartialEq, Debug)]
pub struct Given {
    /// How much.
    pub volume: Volume,
    /// What could not be given, and why.
    pub void: Vec<(u32, String)>,
    /// The first message of the taker that asked for nothing.
    pub end: Message,
}

/// Answers the requests of the taker on `channel` until it sends something else, such as [`Message::End`] or
/// [`Message::Outcome`], which is returned.
///
/// A content that changes, shrinks or cannot be read is void; the others are given all the same. Where `plain` says so
/// nothing is compressed.
///
/// # Errors
/// The wire fails, or the taker asks for what nobody may ask for.
pub fn give(channel: &mut Channel, offer: &dyn Offer, plain: bool) -> Result<Given, Broken> {
    converse(channel, offer, plain, Channel::wait)
}

/// As [`give`], to a taker that says so when it works on something for long: one that says nothing at all is given up.
///
/// # Errors
/// As [`give`].
pub fn give_soon(channel: &mut Channel, offer: &dyn Offer, plain: bool) -> Result<Given, Broken> {
    converse(channel, offer, plain, |channel| channel.recv().map(Some))
}

fn converse(
    channel: &mut Channel,
    offer: &dyn Offer,
    plain: bool,
    next: impl Fn(&mut Channel) -> Result<Option<Message>, WireError>,
) -> Result<Given, Broken> {
    let compressor = if plain { None } else { Some(Compressor::new()?) };
    let (volume, outlines) = (Volume::default(), Outlines::default());
    let mut giver = Giver { channel, offer, compressor, outlines, volume, void: Vec::new() };
    loop {
        let Some(message) = next(giver.channel)? else {
            let (peer, text) =
                (giver.channel.peer().to_owned(), "it stopped in the middle of a request".to_owned());
            return Err(WireError::Closed { peer, code: Code::Done, text }.into());
        };
        if let Message::Whole(ids) = &message {
            giver.whole(ids)?;
        } else if matches!(message, Message::Working(_)) {
            // The taker has not forgotten us.
        } else if let Message::Outline(id) = message {
            giver.outline(id)?;
        } else if let Message::Expand(expand) = &message {
            giver.expand(expand)?;
        } else if let Message::Parts(parts) = message {
            giver.parts(parts)?;
        } else {
            return Ok(Given { volume: giver.volume, void: giver.void, end: message });
        }
    }
}

struct Giver<'a> {
    channel: &'a mut Channel,
    offer: &'a dyn Offer,
    compressor: Option<Compressor>,
    outlines: Outlines,
    volume: Volume,
    void: Vec<(u32, String)>,
}

impl Giver<'_> {
    fn whole(&mut self, ids: &[u32]) -> Result<(), Broken> {
        if !(1..=ITEMS_MAX).contains(&ids.len()) {
            return Err(self.breach(Breach::Count { what: "contents", count: ids.len() }));
        }
        let (offer, mut void) = (self.offer, Vec::new());
        let noted = &mut void;
        flow(self.channel, self.compressor.as_mut(), &mut self.volume, move |out| {
            for &id in ids {
                let segmented = match offer.content(id) {
                    Ok(offered) => segments(&offered, out)?,
                    Err(why) => Err(why),
                };
                out.write(&[0; LENGTH_BYTES])?;
                out.write(&[u8::from(segmented.is_err())])?;
                noted.extend(segmented.err().map(|why| (id, why)));
            }
            Ok(Message::BlocksEnd)
        })?;
        void.into_iter().for_each(|(id, why)| self.note(id, why));
        Ok(())
    }

    fn outline(&mut self, id: u32) -> Result<(), Broken> {
        if !self.outlines.has(id) {
            match self.offer.content(id) {
                Ok(offered) => match self.chunk(&offered)? {
                    Ok(bounds) => self.outlines.keep(id, bounds),
                    Err(why) => return self.absent(id, why),
                },
                Err(why) => return self.absent(id, why),
            }
        }
        match self.outlines.get(id).map(Bounds::encode) {
            Some(groups) => Ok(self.channel.send(&Message::Groups(groups))?),
            None => self.absent(id, "it is too large".to_owned()),
        }
    }

    /// Returns the outline of a content, which is read whole for it; or why there is none.
    fn chunk(&mut self, offered: &Offered) -> Result<Result<Bounds, String>, Broken> {
        let (mut chunker, mut bounds) = (Chunker::new(), Bounds::default());
        let mut buffer = vec![0; READ_BYTES];
        let mut at = 0;
        let mut word = WORKING_BYTES;
        while at < offered.size {
            let count = match read(&offered.file, &mut buffer, at, offered.size) {
                Ok(count) => count,
                Err(why) => return Ok(Err(why)),
            };
            chunker.push(&buffer[..count], &mut |chunk| bounds.push(chunk));
            at += u64::try_from(count).unwrap_or(u64::MAX);
            if at >= word {
                self.channel.send(&Message::Working(Working { done: at }))?;
                word += WORKING_BYTES;
            }
        }
        chunker.finish(&mut |chunk| bounds.push(chunk));
        Ok(unchanged(offered).map(|()| bounds.finished()))
    }

    fn expand(&mut self, expand: &Expand) -> Result<(), Broken> {
        let id = expand.id;
        let Some(bounds) = self.outlines.get(id) else {
            return Err(self.breach(Breach::Unexpected { due: "a request for the outline" }));
        };
        let groups = bounds.count();
        let ascends = expand.groups.is_sorted_by(|before, after| before < after);
        let ranges: Vec<_> = expand.groups.iter().map_while(|group| bounds.range(*group)).collect();
        if let Some(&group) = expand.groups.get(ranges.len()) {
            return Err(self.breach(Breach::Group { group, groups }));
        }
        let bytes = ranges.iter().fold(0u64, |sum, (group, _)| sum.saturating_add(group.length));
        if !ascends {
            return Err(self.breach(Breach::Order { what: "groups" }));
        }
        if !(1..=EXPAND_BYTES_MAX).contains(&bytes) {
            return Err(self.breach(Breach::Count { what: "groups", count: ranges.len() }));
        }
        let offered = match self.offer.content(id) {
            Ok(offered) => offered,
            Err(why) => return self.absent(id, why),
        };
        let mut list = Vec::new();
        for (group, range) in ranges {
            // Cuts depend on what follows a cut alone, so that a group is chunked as it was among the others.
            let chunks =
                chunks_in(&offered.file, range).map(|chunks| group.admits(&chunks).then_some(chunks));
            match chunks {
                Ok(Some(chunks)) => encode_chunks(&chunks, &mut list),
                Ok(None) => return self.absent(id, CHANGED.to_owned()),
                Err(why) => return self.absent(id, why),
            }
        }
        Ok(self.channel.send(&Message::Chunks(list))?)
    }

    fn parts(&mut self, Parts { id, parts }: Parts) -> Result<(), Broken> {
        if !(1..=PARTS_MAX).contains(&parts.len()) {
            return Err(self.breach(Breach::Count { what: "parts", count: parts.len() }));
        }
        let offered = match self.offer.content(id) {
            Ok(offered) => offered,
            Err(why) => return self.absent(id, why),
        };
        let asked = checked(parts, offered.size).map_err(|breach| self.breach(breach))?;
        let mut failed = None;
        let noted = &mut failed;
        flow(self.channel, self.compressor.as_mut(), &mut self.volume, move |out| {
            for (offset, length, signature) in asked {
                let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
                if let Err(error) = offered.file.read_exact_at(&mut bytes, offset) {
                    let why = error.to_string();
                    *noted = Some(why.clone());
                    return Ok(Message::Absent(Absent { id, why }));
                }
                let Some(signature) = signature else {
                    out.write(&bytes)?;
                    continue;
                };
                let mut operations = Vec::new();
                diff(&signature, &bytes, &mut operations);
                // Whoever does not take what it asked for shall not have us hold more than that.
                drop((signature, bytes));
                out.write(&u32::try_from(operations.len()).map_err(|_large| Gone)?.to_le_bytes())?;
                out.write(&operations)?;
            }
            Ok(Message::BlocksEnd)
        })?;
        if let Some(why) = failed {
            self.note(id, why);
        }
        Ok(())
    }

    fn absent(&mut self, id: u32, why: String) -> Result<(), Broken> {
        self.note(id, why.clone());
        Ok(self.channel.send(&Message::Absent(Absent { id, why }))?)
    }

    fn note(&mut self, id: u32, why: String) {
        if self.void.len() < ITEMS_MAX {
            self.void.push((id, why));
        }
    }

    fn breach(&self, breach: impl Into<Breach>) -> Broken {
        Broken::by(self.channel, breach)
    }
}

/// Why a content is void that others wrote meanwhile.
const CHANGED: &str = "it changed while it was read";

/// Writes a content in its segments. Returns why it is void, if it is.
fn segments(offered: &Offered, out: &mut Outflow<'_>) -> Result<Result<(), String>, Gone> {
    let mut at = 0;
    while at < offered.size {
        let left = offered.size - at;
        let least = LENGTH_BYTES + usize::try_from(left.min(CRUMB_BYTES)).unwrap_or(0);
        if out.room() < least {
            out.flush()?;
        }
        let room = out.room() - LENGTH_BYTES;
        let wanted = usize::try_from(left).unwrap_or(room).min(room);
        let filled = out.fill(LENGTH_BYTES + wanted, |segment| {
            let (length, bytes) = segment.split_at_mut(LENGTH_BYTES);
            let count = read(&offered.file, bytes, at, offered.size)?;
            length.copy_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
            Ok(LENGTH_BYTES + count)
        });
        match filled {
            Ok(filled) => at += u64::try_from(filled - LENGTH_BYTES).unwrap_or(u64::MAX),
            Err(why) => return Ok(Err(why)),
        }
        out.flush_full()?;
    }
    Ok(unchanged(offered))
}

/// Puts bytes from `at` into `buffer`, not beyond `size`, and returns how many: at least one.
fn read(file: &File, buffer: &mut [u8], at: u64, size: u64) -> Result<usize, String> {
    let wanted = usize::try_from(size - at).unwrap_or(buffer.len()).min(buffer.len());
    loop {
        match file.read_at(&mut buffer[..wanted], at) {
            Ok(0) => return Err(CHANGED.to_owned()),
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Says that a content is still the one that was opened, as far as its stat tells.
fn unchanged(offered: &Offered) -> Result<(), String> {
    match stat_fd(&offered.file) {
        Ok(stat) if stat.same_bytes(&offered.stat) => Ok(()),
        Ok(_) => Err(CHANGED.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Returns the chunks of the bytes in `range`, which begins at a cut and ends at one.
fn chunks_in(file: &File, range: std::ops::Range<u64>) -> Result<Vec<Chunk>, String> {
    let mut chunks = Vec::new();
    let mut chunker = Chunker::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut at = range.start;
    while at < range.end {
        let count = read(file, &mut buffer, at, range.end)?;
        chunker.push(&buffer[..count], &mut |chunk| chunks.push(chunk));
        at += u64::try_from(count).unwrap_or(u64::MAX);
    }
    chunker.finish(&mut |chunk| chunks.push(chunk));
    Ok(chunks)
}

/// Returns offset, length and signature of `parts`, if a content of `size` bytes has them all.
fn checked(parts: Vec<Part>, size: u64) -> Result<Vec<(u64, u64, Option<Signature>)>, Breach> {
    let mut end = 0;
    let mut asked = Vec::with_capacity(parts.len());
    for Part { offset, length, signature } in parts {
        if offset < end {
            return Err(Breach::Order { what: "parts" });
        }
        end = offset.saturating_add(length);
        if !(1..=PIECE_BYTES_MAX).contains(&length) || end > size {
            return Err(Breach::Range { offset, length, size });
        }
        let signature = match &signature[..] {
            [] => None,
            bytes => Some(Signature::decode(bytes)?),
        };
        asked.push((offset, length, signature));
    }
    Ok(asked)
}
