//! The digest of a file that others may be writing.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;

use crate::disk::error::{DiskError, Doing};
use crate::disk::root::{Root, stat_fd};
use crate::model::entry::Digest;
use crate::model::metadata::Stat;
use crate::model::path::RelPath;

/// Bytes hashed at once: large enough for the wide code paths of BLAKE3.
pub(crate) const PIECE_BYTES: usize = 256 * 1024;
/// How often a file that changes under the reader is read again.
const TRIES: usize = 3;

/// A digest and the state of the file that it belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hashed {
    /// Digest of the bytes.
    pub digest: Digest,
    /// The stat before and after the bytes were read.
    pub stat: Stat,
}

/// Why a file has no digest now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Others kept writing it.
    #[error("{path} kept changing while it was read")]
    Busy {
        /// The file.
        path: RelPath,
    },
    /// It is no longer there, or no longer a regular file.
    #[error("{path} vanished before it was read")]
    Vanished {
        /// The file.
        path: RelPath,
    },
    /// It cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Returns the digest of the file at `path`, which was last seen as `expect`.
///
/// The file is read through a descriptor and never mapped, so that a truncation is an early end and no signal. A
/// stat before and after proves that the bytes are those of one moment; up to three readings are tried. The stat
/// that is returned may differ from `expect`: then the file changed after it was listed, and this is its new state.
///
/// # Errors
/// The file kept changing, vanished, or cannot be read.
pub fn hash_file(root: &Root, path: &RelPath, expect: &Stat) -> Result<Hashed, HashError> {
    let mut buffer = vec![0; piece_for(expect.size)];
    hash_into(root, path, &mut buffer)
}

/// Returns the digests of `files`, in their order, read on `threads` threads.
pub fn hash_all(root: &Root, files: &[(RelPath, Stat)], threads: usize) -> Vec<Result<Hashed, HashError>> {
    if files.len() < 2 || threads < 2 {
        return files.iter().map(|(path, stat)| hash_file(root, path, stat)).collect();
    }
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(files.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads.min(files.len()) {
            scope.spawn(|| {
                let mut buffer = vec![0; PIECE_BYTES];
                while let Some((at, (path, _))) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    files.get(at).map(|file| (at, file))
                } {
                    let hashed = hash_into(root, path, &mut buffer);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((at, hashed));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, hashed)| hashed).collect()
}

/// Returns a buffer size that a small file does not pay for.
fn piece_for(size: u64) -> usize {
    usize::try_from(size.saturating_add(1)).unwrap_or(PIECE_BYTES).clamp(1024, PIECE_BYTES)
}

fn hash_into(root: &Root, path: &RelPath, buffer: &mut [u8]) -> Result<Hashed, HashError> {
    for _ in 0..TRIES {
        let (mut file, before) = root.open_file(path).map_err(|error| {
            if error.is_vanished() || error.is_other_kind() {
                HashError::Vanished { path: path.clone() }
            } else {
                error.into()
            }
        })?;
        let (digest, size) =
            digest_of(&mut file, buffer).map_err(|source| DiskError::call(Doing::Read, path, source))?;
        let after = stat_fd(&file).map_err(|source| DiskError::call(Doing::Stat, path, source))?;
        if before.same_state(&after) && size == after.size {
            return Ok(Hashed { digest, stat: after });
        }
    }
    Err(HashError::Busy { path: path.clone() })
}

/// Returns the digest and the number of the bytes from the present position of `file` to its end.
pub(crate) fn digest_of(file: &mut impl Read, buffer: &mut [u8]) -> rustix::io::Result<(Digest, u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut size = 0u64;
    loop {
        match file.read(buffer) {
            Ok(0) => return Ok((Digest(*hasher.finalize().as_bytes()), size)),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                size = size.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_batch_keeps_its_order_and_each_file_its_own_error() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::open(tree.path()).unwrap();
        let mut files = Vec::new();
        for at in 0..40usize {
            let bytes = vec![b'x'; at * 20_000];
            std::fs::write(tree.path().join(format!("f{at:02}")), &bytes).unwrap();
            let name = path(&format!("f{at:02}"));
            let stat = root.stat(&name).unwrap().unwrap();
            files.push((name, stat));
        }
        rustix::fs::unlinkat(root.fd(), "f07", rustix::fs::AtFlags::empty()).unwrap();
        for threads in [1, 4] {
            let hashed = hash_all(&root, &files, threads);
            assert_eq!(hashed.len(), files.len());
            for (at, result) in hashed.into_iter().enumerate() {
                if at == 7 {
                    assert_eq!(result, Err(HashError::Vanished { path: path("f07") }));
                } else {
                    assert_eq!(result.unwrap().digest, Digest::of(&vec![b'x'; at * 20_000]), "f{at}");
                }
            }
        }
    }

    #[test]
    fn a_symlink_in_place_of_a_file_is_not_read() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::open(tree.path()).unwrap();
        std::fs::write(tree.path().join("secret"), "s").unwrap();
        let stat = root.stat(&path("secret")).unwrap().unwrap();
        std::os::unix::fs::symlink("secret", tree.path().join("link")).unwrap();
        assert_eq!(hash_file(&root, &path("link"), &stat), Err(HashError::Vanished { path: path("link") }));
    }
}
