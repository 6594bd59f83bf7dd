//! A staged file that grows from its first byte to its last, from several sources.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use crate::disk::basis::Basis;
use crate::disk::copy::{CopyError, Sink, errno, read_full, reserve};
use crate::disk::direct::{DIRECT_BYTES, Direct, Pending};
use crate::disk::hash::PIECE_BYTES;
use crate::disk::stage::{Blank, StageError, Staged};
use crate::model::entry::Digest;

/// A file on its way to a known digest and size. Dropped, it is gone.
#[derive(Debug)]
pub struct Draft {
    staged: Staged,
    sink: Sink<File>,
    /// What is still to be written: whole pieces are, so that the hash runs wide.
    pending: Pending,
    expected: (Digest, u64),
    /// Whether the file began as a clone of what is copied from.
    is_shared: bool,
}

impl Draft {
    /// Returns `blank` ready for the first byte of a content with this digest and size.
    ///
    /// The room is taken first, so that a full disk is known before the work. Where the file system can, the file
    /// begins as a clone of the first file of `basis` instead, and what is then copied from there to the same offset
    /// stays shared.
    ///
    /// # Errors
    /// There is no room.
    pub fn begin(blank: Blank, digest: Digest, size: u64, basis: Option<&Basis>) -> Result<Self, StageError> {
        let (staged, file, may_share) = blank.into_parts();
        let first = basis.and_then(Basis::first).filter(|_| may_share);
        let is_shared = first.is_some_and(|first| rustix::fs::ioctl_ficlone(&file, first).is_ok());
        if !is_shared {
            reserve(&file, size).map_err(|error| StageError::of(error, staged.target()))?;
        }
        let mut sink = Sink::new(file);
        if !is_shared {
            sink.direct = Direct::of(&sink.to, size);
        }
        let piece = if sink.direct.is_on() { DIRECT_BYTES } else { PIECE_BYTES };
        let pending = Pending::new(usize::try_from(size).unwrap_or(piece).min(piece));
        Ok(Self { staged, sink, pending, expected: (digest, size), is_shared })
    }

    /// Returns how many bytes are still to come.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.expected.1.saturating_sub(self.at())
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// They are more than are missing ([`StageError::Mismatch`]), or cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StageError> {
        self.admit(u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = self.pending.append(rest);
            self.flush_full()?;
        }
        Ok(())
    }

    /// Appends `length` bytes of the basis from `offset`.
    ///
    /// # Errors
    /// They are more than are missing, the basis ends before or cannot be read, or they cannot be written.
    pub fn copy(&mut self, basis: &Basis, offset: u64, length: u64) -> Result<(), StageError> {
        self.admit(length)?;
        let stays = self.is_shared && self.at() == offset && basis.is_in_first(offset, length);
        if stays {
            self.flush()?;
        }
        let mut done = 0;
        while done < length {
            let room = self.pending.room(usize::try_from(length - done).unwrap_or(usize::MAX));
            let wanted = room.len();
            // What lies in the file is what counts, so a shared part is read from there.
            let own = &self.sink.to;
            let read = |rest: &mut [u8], at: u64| match offset + done + at {
                at if stays => own.read_at(rest, at),
                at => basis.read_at(rest, at),
            };
            let count = read_full(room, read).map_err(|error| StageError::of(error, self.staged.target()))?;
            if count < wanted {
                let source = std::io::ErrorKind::UnexpectedEof.into();
                return Err(StageError::of(CopyError::Read(source), self.staged.target()));
            }
            self.pending.grow(count);
            done += u64::try_from(count).unwrap_or(u64::MAX);
            if stays {
                let passed = self.sink.pass_over(self.pending.bytes());
                passed.map_err(|error| StageError::of(error, self.staged.target()))?;
                self.pending.clear();
            } else {
                self.flush_full()?;
            }
        }
        Ok(())
    }

    /// Returns the whole file.
    ///
    /// # Errors
    /// It is not the content that was expected, or cannot be written. It is gone then.
    pub fn finish(mut self) -> Result<Staged, StageError> {
        self.flush()?;
        let size = self.sink.at;
        let cut = self.sink.direct.end(&self.sink.to).and_then(|()| self.sink.to.set_len(size));
        cut.map_err(|error| StageError::of(CopyError::Write(errno(&error)), self.staged.target()))?;
        let sum = self.sink.sum();
        self.staged.filled(self.sink.to, sum, Some(self.expected))
    }

    /// Returns how many bytes have come.
    fn at(&self) -> u64 {
        let pending = u64::try_from(self.pending.bytes().len()).unwrap_or(u64::MAX);
        self.sink.at.saturating_add(pending)
    }

    /// Refuses what would make the file longer than expected.
    fn admit(&self, more: u64) -> Result<(), StageError> {
        if more <= self.missing() {
            return Ok(());
        }
        let found = self.sink.sum().0;
        let (expected, expected_size) = self.expected;
        let path = self.staged.target().clone();
        let size = self.at().saturating_add(more);
        Err(StageError::Mismatch { path, expected, expected_size, found, size })
    }

    fn flush_full(&mut self) -> Result<(), StageError> {
        if self.pending.is_full() { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), StageError> {
        if !self.pending.bytes().is_empty() {
            let written = self.sink.write(self.pending.bytes());
            written.map_err(|error| StageError::of(error, self.staged.target()))?;
            self.pending.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
