//! Tells the service manager how far the daemon is.
//!
//! # Source
//! `sd_notify(3)`, section "Notes": one datagram of lines to the socket that is named in the environment.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Sends `state`, such as `READY=1`, to the socket `name`: a path, or `@` and an abstract name.
///
/// # Errors
/// Nobody listens there.
pub fn notify(name: &OsStr, state: &str) -> io::Result<()> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(|_sent| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_hears_of_it_by_path_and_by_abstract_name() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("notify");
        let name = format!("@csync-test-{}", home.path().display());
        let abstract_name = SocketAddr::from_abstract_name(&name.as_bytes()[1..]).unwrap();
        for (name, socket) in [
            (path.as_os_str(), UnixDatagram::bind(&path).unwrap()),
            (OsStr::new(&name), UnixDatagram::bind_addr(&abstract_name).unwrap()),
        ] {
            notify(name, "READY=1").unwrap();
            let mut told = [0; 32];
            let count = socket.recv(&mut told).unwrap();
            assert_eq!(&told[..count], b"READY=1", "{}", name.display());
        }
        assert!(notify(OsStr::new("/nowhere/at/all"), "READY=1").is_err());
    }
}
