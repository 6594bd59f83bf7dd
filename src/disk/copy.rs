//! Bytes from a source into a new file, hashed on the way.

use std::borrow::Borrow;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;

use crate::disk::direct::Direct;
use crate::disk::hash::{PIECE_BYTES, digest_of};
use crate::fault::{Point, pass};
use crate::model::entry::Digest;

/// Which end failed.
#[derive(Debug)]
pub(crate) enum CopyError {
    /// The source.
    Read(std::io::Error),
    /// The new file.
    Write(Errno),
}

/// The new file with what was written so far.
#[derive(Debug)]
pub(crate) struct Sink<F> {
    /// The file.
    pub(crate) to: F,
    /// Bytes so far.
    pub(crate) at: u64,
    /// How it is written.
    pub(crate) direct: Direct,
    hasher: blake3::Hasher,
}

impl<F: Borrow<File>> Sink<F> {
    pub(crate) fn new(to: F) -> Self {
        Self { to, at: 0, direct: Direct::default(), hasher: blake3::Hasher::new() }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), CopyError> {
        let to = self.to.borrow();
        let written = self.direct.write_all_at(to, bytes, self.at);
        written.map_err(|error| CopyError::Write(errno(&error)))?;
        self.pass_over(bytes)?;
        pass(Point::StageWrite);
        Ok(())
    }

    /// Goes on behind `bytes`, which stand there already, be it as a hole.
    pub(crate) fn pass_over(&mut self, bytes: &[u8]) -> Result<(), CopyError> {
        self.hasher.update(bytes);
        let len = u64::try_from(bytes.len()).ok();
        self.at = len.and_then(|len| self.at.checked_add(len)).ok_or(CopyError::Write(Errno::FBIG))?;
        Ok(())
    }

    /// Returns the digest of the bytes so far and their number.
    pub(crate) fn sum(&self) -> (Digest, u64) {
        (Digest(*self.hasher.finalize().as_bytes()), self.at)
    }
}

/// Writes all that `from` yields to the empty file `to`. Returns digest and number of bytes.
///
/// Given the `size` to expect, the room is taken first, so that a full disk is known before the work; and reading
/// ends one byte beyond it, since that much already is wrong.
pub(crate) fn copy_stream(
    from: &mut impl Read,
    to: &File,
    size: Option<u64>,
) -> Result<(Digest, u64), CopyError> {
    if let Some(size) = size {
        reserve(to, size)?;
    }
    let mut from = from.take(size.map_or(u64::MAX, |size| size.saturating_add(1)));
    let mut sink = Sink::new(to);
    let mut buffer = buffer_for(size);
    loop {
        let count = read_full(&mut buffer, |rest, _| from.read(rest))?;
        if count == 0 {
            return Ok(sink.sum());
        }
        sink.write(&buffer[..count])?;
    }
}

/// Writes the first `size` bytes of `from` to the empty file `to`, sharing them where both lie on a file system that
/// can, and leaving its holes. Returns digest and number of bytes, which are fewer if the source ended early.
///
/// `may_clone` is cleared where sharing is found not to work.
pub(crate) fn copy_file(
    from: &File,
    size: u64,
    to: &File,
    may_clone: &AtomicBool,
) -> Result<(Digest, u64), CopyError> {
    if size > 0 && may_clone.load(Ordering::Relaxed) {
        match rustix::fs::ioctl_ficlone(to, from) {
            // What was shared is what counts, so it is what is read.
            Ok(()) => {
                pass(Point::StageWrite);
                let mut shared = to;
                return digest_of(&mut shared, &mut buffer_for(Some(size))).map_err(CopyError::Write);
            }
            Err(Errno::NOSPC | Errno::DQUOT) => return Err(CopyError::Write(Errno::NOSPC)),
            Err(_) => may_clone.store(false, Ordering::Relaxed),
        }
    }
    let mut sink = Sink::new(to);
    let mut buffer = buffer_for(Some(size));
    let mut hole = next_hole(from, 0, size);
    if hole >= size {
        reserve(to, size)?;
    }
    loop {
        if !copy_range(from, hole, &mut sink, &mut buffer)? || sink.at >= size {
            break;
        }
        let data = next_data(from, sink.at, size);
        buffer.fill(0);
        while sink.at < data {
            let left = usize::try_from(data - sink.at).unwrap_or(buffer.len());
            sink.pass_over(&buffer[..left.min(buffer.len())])?;
        }
        hole = next_hole(from, data, size);
    }
    to.set_len(sink.at).map_err(|error| CopyError::Write(errno(&error)))?;
    Ok(sink.sum())
}

/// Copies up to the offset `end`. Returns `false` if the source ended before.
fn copy_range(from: &File, end: u64, sink: &mut Sink<&File>, buffer: &mut [u8]) -> Result<bool, CopyError> {
    while sink.at < end {
        let left = usize::try_from(end - sink.at).unwrap_or(buffer.len()).min(buffer.len());
        let start = sink.at;
        let count = read_full(&mut buffer[..left], |rest, done| from.read_at(rest, start + done))?;
        if count == 0 {
            return Ok(false);
        }
        sink.write(&buffer[..count])?;
    }
    Ok(true)
}

/// Returns where the next hole at or after `at` begins, at most `size`. A file system that knows no holes has none.
fn next_hole(from: &File, at: u64, size: u64) -> u64 {
    rustix::fs::seek(from, SeekFrom::Hole(at)).map_or(size, |hole| hole.clamp(at, size))
}

/// Returns where the next data at or after `at` begins; `size` if there is none.
fn next_data(from: &File, at: u64, size: u64) -> u64 {
    match rustix::fs::seek(from, SeekFrom::Data(at)) {
        Ok(data) => data.clamp(at, size),
        Err(Errno::NXIO) => size,
        Err(_) => at,
    }
}

/// Takes room for `size` bytes, where the file system can do so ahead of the writes.
pub(crate) fn reserve(to: &File, size: u64) -> Result<(), CopyError> {
    if size < u64::try_from(PIECE_BYTES).unwrap_or(u64::MAX) {
        return Ok(());
    }
    match rustix::fs::fallocate(to, FallocateFlags::KEEP_SIZE, 0, size) {
        Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => Err(CopyError::Write(errno)),
        _ => Ok(()),
    }
}

/// Reads until `buffer` is full or the source ends. `read` is given the rest of the buffer and the count so far.
pub(crate) fn read_full(
    buffer: &mut [u8],
    mut read: impl FnMut(&mut [u8], u64) -> std::io::Result<usize>,
) -> Result<usize, CopyError> {
    let mut done = 0;
    while done < buffer.len() {
        match read(&mut buffer[done..], u64::try_from(done).unwrap_or(u64::MAX)) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(CopyError::Read(error)),
        }
    }
    Ok(done)
}

/// Returns a buffer for a source of `size` bytes, if that is known.
fn buffer_for(size: Option<u64>) -> Vec<u8> {
    let size = size.and_then(|size| usize::try_from(size).ok()).unwrap_or(PIECE_BYTES);
    vec![0; size.saturating_add(1).clamp(4096, PIECE_BYTES)]
}

pub(crate) fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
