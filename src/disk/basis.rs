//! What resembles a content that is to come: a file of ours, what an earlier run had of it, or one behind the other.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt as _;

/// One or several files, read as if they were one. What is appended to them meanwhile is not seen.
#[derive(Debug)]
pub struct Basis {
    /// Each file with its bytes.
    files: Vec<(File, u64)>,
}

impl Basis {
    /// Returns `files` in their order; `None` where there are none, or one cannot be looked at.
    #[must_use]
    pub fn of(files: impl IntoIterator<Item = File>) -> Option<Self> {
        let sized = |file: File| file.metadata().ok().map(|stat| (file, stat.len()));
        let files: Vec<_> = files.into_iter().map(sized).collect::<Option<_>>()?;
        (!files.is_empty()).then_some(Self { files })
    }

    /// Returns the first file, which lies in the basis from its first byte on.
    #[must_use]
    pub fn first(&self) -> Option<&File> {
        self.files.first().map(|(file, _)| file)
    }

    /// Whether `length` bytes from `offset` lie in the first file.
    #[must_use]
    pub fn is_in_first(&self, offset: u64, length: u64) -> bool {
        let size = self.files.first().map_or(0, |(_, size)| *size);
        offset.checked_add(length).is_some_and(|end| end <= size)
    }

    /// Reads some bytes from `offset` on into `buffer`. Returns how many: 0 behind the end, or where a file has become
    /// shorter.
    ///
    /// # Errors
    /// The file there cannot be read.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
        let mut at = offset;
        for (file, size) in &self.files {
            if at < *size {
                let left = usize::try_from(size - at).unwrap_or(usize::MAX).min(buffer.len());
                return file.read_at(&mut buffer[..left], at);
            }
            at -= size;
        }
        Ok(0)
    }

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// The basis ends before, or cannot be read.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        let (mut rest, mut at) = (buffer, offset);
        while !rest.is_empty() {
            match self.read_at(rest, at) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    rest = &mut rest[count..];
                    at += u64::try_from(count).unwrap_or(u64::MAX);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file_of(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn read(basis: &Basis, mut at: u64) -> Vec<u8> {
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4]);
        loop {
            let count = basis.read_at(&mut buffer, at).unwrap();
            if count == 0 {
                return bytes;
            }
            bytes.extend_from_slice(&buffer[..count]);
            at += count as u64;
        }
    }

    #[test]
    fn several_files_read_as_one() {
        assert!(Basis::of([]).is_none());
        let first = file_of(b"abcdef");
        let mut grows = first.try_clone().unwrap();
        let basis = Basis::of([first, file_of(b""), file_of(b"ghi")]).unwrap();
        grows.write_all(b"XYZ").unwrap();
        for (at, rest) in [(0, &b"abcdefghi"[..]), (5, b"fghi"), (6, b"ghi"), (9, b""), (u64::MAX, b"")] {
            assert_eq!(read(&basis, at), rest, "from {at}");
        }
        for (case, is_in) in [((0, 6), true), ((2, 5), false), ((6, 1), false), ((1, u64::MAX), false)] {
            assert_eq!(basis.is_in_first(case.0, case.1), is_in, "{case:?}");
        }
    }
}
