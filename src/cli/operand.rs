//! The operands of a run: local paths, and the remote forms that are recognised.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use crate::cli::failure::{Failure, Number};
use crate::model::path::escape;

/// Returns `operand` as a local path, a trailing slash kept in its bytes.
///
/// An operand is remote, as for rsync, if it starts with a scheme or has a colon before any slash.
///
/// # Errors
/// The operand is empty or remote.
pub fn local(operand: &OsStr) -> Result<PathBuf, Failure> {
    let bytes = operand.as_bytes();
    let shown = escape(bytes);
    if bytes.is_empty() {
        return Err(
            Failure::usage(Number::Usage, "an operand is empty").fix("name a path; `.` is this directory")
        );
    }
    if bytes.starts_with(b"rsync://") {
        return Err(Failure::usage(
            Number::Unsupported,
            format!("{shown}: csync does not speak rsync's protocol"),
        )
        .fix("name a local path"));
    }
    let before_slash = bytes.split(|b| *b == b'/').next().unwrap_or_default();
    if bytes.starts_with(b"csync://") || before_slash.contains(&b':') {
        let form = if bytes.starts_with(b"csync://") || before_slash.windows(2).any(|pair| pair == b"::") {
            "a csyncd"
        } else {
            "a path over ssh"
        };
        return Err(Failure::usage(
            Number::Later,
            format!("{shown} names {form}: remote forms come in a later version"),
        )
        .fix(format!("if it is a local path, write ./{shown}")));
    }
    Ok(PathBuf::from(operand))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_before_any_slash_is_remote() {
        for text in [
            "host:path",
            "host:",
            "user@host:/x",
            "host::folder",
            "host::",
            ":path",
            "csync://h/f",
            "rsync://h/f",
        ] {
            assert!(local(OsStr::new(text)).is_err(), "{text}");
        }
        for text in ["/a:b", "./a:b", "dir/a:b", "plain", "x/"] {
            assert_eq!(
                local(OsStr::new(text)).map(PathBuf::into_os_string).ok().as_deref(),
                Some(OsStr::new(text)),
                "{text}"
            );
        }
    }
}
