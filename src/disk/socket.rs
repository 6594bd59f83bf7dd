//! A socket in the file system, for programs on this machine: who may reach it, and who is at its other end.

use std::fs::{DirBuilder, Metadata};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::process::Gid;
use uzers::{get_group_by_name, get_user_by_uid, get_user_groups};

/// Why a socket cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Something in the file system failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// Such as `bind`.
        action: &'static str,
        /// The directory or the socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others could replace the socket.
    #[error("the directory {} is not safe: uid {owner}, mode {mode:04o}; others could replace what is in it", path.display())]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// Somebody answers there.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
}

/// A socket to listen on; its name goes when this is dropped.
#[derive(Debug)]
pub struct LocalSocket {
    /// Where connections come in.
    pub listener: UnixListener,
    directory: OwnedFd,
    name: PathBuf,
}

impl LocalSocket {
    /// Returns a socket at `path`, reachable for this user and, if given, the members of the group `gid`.
    ///
    /// The directory is made where there is none. A socket that a killed process left is replaced.
    ///
    /// # Errors
    /// The directory is not this user's or root's alone, another process listens there, or the system refuses.
    pub fn bind(path: &Path, gid: Option<u32>) -> Result<Self, SocketError> {
        let failed = |action| move |source| SocketError::Io { action, path: path.to_owned(), source };
        let parent = path.parent().unwrap_or(Path::new("/"));
        let name = PathBuf::from(path.file_name().unwrap_or_default());
        let mode = if gid.is_some() { 0o755 } else { 0o700 };
        DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(parent)
            .map_err(failed("make the directory of"))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(CWD, parent, flags, Mode::empty())
            .map_err(|errno| failed("open the directory of")(errno.into()))?;
        safe(parent, &std::fs::metadata(parent).map_err(failed("look at the directory of"))?)?;
        // By way of the held directory: no name of it is resolved again, and none is too long for a socket.
        let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(&name);
        match UnixStream::connect(&short) {
            Ok(_answered) => return Err(SocketError::InUse { path: path.to_owned() }),
            // A file that is no socket refuses connections too, and is not ours to remove.
            Err(error)
                if error.kind() == io::ErrorKind::ConnectionRefused && is_socket(&directory, &name) =>
            {
                rustix::fs::unlinkat(&directory, &name, AtFlags::empty())
                    .map_err(|errno| failed("remove the old")(errno.into()))?;
            }
            Err(_nothing_there) => {}
        }
        let listener = UnixListener::bind(&short).map_err(failed("bind"))?;
        let socket = Self { listener, directory, name };
        let owned = match gid {
            None => Ok(()),
            Some(gid) => {
                let gid = Gid::from_raw(gid);
                rustix::fs::chownat(&socket.directory, &socket.name, None, Some(gid), AtFlags::empty())
            }
        };
        let mode = Mode::from_raw_mode(if gid.is_some() { 0o660 } else { 0o600 });
        owned
            .and_then(|()| rustix::fs::chmodat(&socket.directory, &socket.name, mode, AtFlags::empty()))
            .map_err(|errno| failed("set the rights of")(errno.into()))?;
        Ok(socket)
    }
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        // A name that stays is replaced by the next who binds.
        rustix::fs::unlinkat(&self.directory, &self.name, AtFlags::empty()).ok();
    }
}

fn is_socket(directory: &OwnedFd, name: &Path) -> bool {
    rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket)
}

fn safe(path: &Path, metadata: &Metadata) -> Result<(), SocketError> {
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    let ours = owner == 0 || owner == rustix::process::geteuid().as_raw();
    if ours && (mode & 0o022 == 0 || mode & 0o1000 != 0) {
        Ok(())
    } else {
        Err(SocketError::Unsafe { path: path.to_owned(), owner, mode })
    }
}

/// Returns a connection to the socket at `path`.
///
/// # Errors
/// Nobody listens there, or this user may not reach it.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(CWD, parent, flags, Mode::empty())?;
    let name = path.file_name().unwrap_or_default();
    UnixStream::connect(Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name))
}

/// Returns the user id of the process at the other end, as it was when it connected.
///
/// # Errors
/// The system does not tell.
pub fn peer_uid(stream: &UnixStream) -> io::Result<u32> {
    Ok(rustix::net::sockopt::socket_peercred(stream)?.uid.as_raw())
}

/// Returns the number of the group `name`.
#[must_use]
pub fn group_id(name: &str) -> Option<u32> {
    get_group_by_name(name).map(|group| group.gid())
}

/// Whether the user `uid` is in the group `gid` by the system's databases.
#[must_use]
pub fn is_member(uid: u32, gid: u32) -> bool {
    let groups = get_user_by_uid(uid)
        .and_then(|user| get_user_groups(user.name(), user.primary_group_id()))
        .unwrap_or_default();
    groups.iter().any(|group| group.gid() == gid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_socket_is_private_names_its_peer_and_goes_with_its_owner() {
        let home = tempfile::tempdir().unwrap();
        let long = home.path().join("d".repeat(120));
        let path = long.join("control.sock");
        let socket = LocalSocket::bind(&path, None).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        let _client = connect(&path).unwrap();
        let (server, _) = socket.listener.accept().unwrap();
        assert_eq!(peer_uid(&server).unwrap(), std::fs::metadata(&path).unwrap().uid());
        assert!(matches!(LocalSocket::bind(&path, None), Err(SocketError::InUse { .. })));
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_process_left_is_replaced_and_an_open_directory_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("control.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(LocalSocket::bind(&path, None).unwrap());
        std::fs::write(&path, "not ours").unwrap();
        assert!(matches!(LocalSocket::bind(&path, None), Err(SocketError::Io { action: "bind", .. })));
        std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(LocalSocket::bind(&path, None), Err(SocketError::Unsafe { .. })));
    }
}
