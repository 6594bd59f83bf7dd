//! The config's file: read whole, bounded, and only where nobody else could have written it (R32).

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::config::check::{Here, Seen, check};
use crate::config::parse::CONFIG_BYTES_MAX;
use crate::config::problem::{Problem, place};
use crate::config::settings::Config;

const GROUP_OR_OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;
const MODE_BITS: u32 = 0o7777;

/// Why a config cannot be used before a word of it was understood.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is no such file.
    #[error("there is no config {}", .0.display())]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("cannot read the config {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others may write to it, or to a directory above it.
    #[error("the config {}: {} has mode {mode:04o}, so that others may write it", path.display(), what.display())]
    Writable {
        /// The config.
        path: PathBuf,
        /// What others may write to.
        what: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It, or a directory above it, belongs to another user.
    #[error("the config {}: {} belongs to uid {owner}, neither to root nor to uid {me}", path.display(), what.display())]
    Foreign {
        /// The config.
        path: PathBuf,
        /// What belongs to another.
        what: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who we are.
        me: u32,
    },
    /// It is no UTF-8.
    #[error("{}:{line}:{column}: the config is not UTF-8", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// Line of the first wrong byte, from 1.
        line: usize,
        /// Its column, from 1.
        column: usize,
    },
}

/// Returns the text of the config at `path`; a text that is too long is cut one byte beyond what is parsed.
///
/// # Errors
/// There is none, it cannot be read, it is not text, or somebody else than root and `me` could have written it.
pub fn read(path: &Path, me: u32) -> Result<String, FileError> {
    let failed = |source: io::Error| {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::NotFound {
            FileError::Missing(path)
        } else {
            FileError::Io { path, source }
        }
    };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_file() {
        only_ours(path, path, &metadata, me)?;
        directories_only_ours(path, me)?;
    }
    let limit = u64::try_from(CONFIG_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
        let (line, column) = place(&text, text.len());
        FileError::NotText { path: path.to_owned(), line, column }
    })
}

/// Returns the config at `path` and everything that is wrong with it.
///
/// # Errors
/// As [`read`].
pub fn load(
    path: &Path,
    me: u32,
    here: Here<'_>,
    look: impl Fn(&Path) -> Seen,
) -> Result<(Config, Vec<Problem>), FileError> {
    Ok(check(&read(path, me)?, here, look))
}

/// Checks the directories above the name that was given, and those above what it leads to.
fn directories_only_ours(path: &Path, me: u32) -> Result<(), FileError> {
    let failed = |source| FileError::Io { path: path.to_owned(), source };
    let given = std::path::absolute(path).map_err(failed)?;
    let real = fs::canonicalize(path).map_err(failed)?;
    for directory in given.ancestors().skip(1).chain(real.ancestors().skip(1)) {
        only_ours(path, directory, &fs::metadata(directory).map_err(failed)?, me)?;
    }
    Ok(())
}

/// In a directory with the sticky bit others may write, but not replace what is not theirs.
fn only_ours(path: &Path, what: &Path, metadata: &fs::Metadata, me: u32) -> Result<(), FileError> {
    let (owner, mode) = (metadata.uid(), metadata.mode() & MODE_BITS);
    let (path, what) = (path.to_owned(), what.to_owned());
    if owner != 0 && owner != me {
        return Err(FileError::Foreign { path, what, owner, me });
    }
    let shared = metadata.is_dir() && mode & STICKY != 0;
    if mode & GROUP_OR_OTHERS_WRITE != 0 && !shared {
        return Err(FileError::Writable { path, what, mode });
    }
    Ok(())
}

/// Returns what stands at a root of the config on this machine.
#[must_use]
pub fn look(path: &Path) -> Seen {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => Seen::Dir,
        Ok(metadata) if metadata.is_symlink() => {
            Seen::Symlink(fs::canonicalize(path).or_else(|_dangling| fs::read_link(path)).unwrap_or_default())
        }
        Ok(_) => Seen::Other,
        Err(error) => Seen::Missing(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_config_that_others_could_have_written_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("csync");
        fs::create_dir(&directory).unwrap();
        let path = directory.join("csync.toml");
        fs::write(&path, "node = \"a\"\n").unwrap();
        let me = fs::metadata(&path).unwrap().uid();
        for (case, dir, file, fine) in [
            ("private", 0o700, 0o600, true),
            ("public to read", 0o755, 0o644, true),
            ("file for the group", 0o755, 0o664, false),
            ("file for all", 0o755, 0o646, false),
            ("directory for the group", 0o775, 0o644, false),
            ("directory for all", 0o777, 0o644, false),
            ("sticky directory", 0o1777, 0o644, true),
        ] {
            chmod(&directory, dir);
            chmod(&path, file);
            let read = read(&path, me);
            assert_eq!(read.is_ok(), fine, "{case}");
            assert!(fine || matches!(read, Err(FileError::Writable { .. })), "{case}");
        }
        if me != 0 {
            assert!(matches!(read(&path, me + 1), Err(FileError::Foreign { .. })));
        }
    }

    #[test]
    fn a_link_is_followed_but_what_it_leads_to_is_checked() {
        let home = tempfile::tempdir().unwrap();
        let (open, link) = (home.path().join("open"), home.path().join("link"));
        fs::create_dir(&open).unwrap();
        let path = open.join("csync.toml");
        fs::write(&path, "").unwrap();
        let me = fs::metadata(&path).unwrap().uid();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(read(&link, me).unwrap(), "");
        chmod(&open, 0o777);
        assert!(matches!(read(&link, me), Err(FileError::Writable { what, .. }) if what == open));
    }

    #[test]
    fn what_is_missing_and_what_is_no_text_is_told() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("csync.toml");
        let me = fs::metadata(home.path()).unwrap().uid();
        assert!(matches!(read(&path, me), Err(FileError::Missing(_))));
        fs::write(&path, b"a\nb\xff").unwrap();
        assert!(matches!(read(&path, me), Err(FileError::NotText { line: 2, column: 2, .. })));
    }
}
