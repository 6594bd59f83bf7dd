//! The operands of a run: paths of this machine, folders of other nodes, and the forms that come later.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use crate::cli::failure::{Failure, Number};
use crate::config::values;
use crate::model::path::{PRIVATE_DIR, RelPath, escape};

/// The scheme of a folder's full address.
const SCHEME: &[u8] = b"csync://";

/// One side of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operand {
    /// A path of this machine, a trailing slash kept in its bytes.
    Local(PathBuf),
    /// A folder of another node.
    Remote(Remote),
}

/// `HOST::FOLDER[/SUB]` or `csync://HOST[:PORT]/FOLDER[/SUB]`.
///
/// Names are the bytes that were given: nothing is percent-decoded, as in rsync's own addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remote {
    /// As it was given, escaped.
    pub shown: String,
    /// Which node.
    pub host: Host,
    /// The folder's name.
    pub folder: String,
    /// Where in the folder.
    pub below: RelPath,
    /// What is in it is meant, and not itself: a trailing slash, or the whole folder.
    pub contents: bool,
}

/// The node part of an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    /// A peer's name, a DNS name or an IP address.
    pub name: String,
    /// The port, where one was named.
    pub port: Option<u16>,
}

/// An operand taken apart, before it is known what its verb wants.
enum Form<'a> {
    Path,
    /// The part for the host, and all that follows it.
    Node(Host, &'a [u8]),
}

impl Operand {
    /// Returns what `operand` names.
    ///
    /// It is remote, as for rsync, if it starts with a scheme or has a colon before any slash.
    ///
    /// # Errors
    /// It is empty, of a form that comes later, or no address.
    pub fn new(operand: &OsStr) -> Result<Self, Failure> {
        let shown = escape(operand.as_bytes());
        match form(operand.as_bytes())? {
            Form::Path => Ok(Self::Local(PathBuf::from(operand))),
            Form::Node(host, rest) => remote(shown, host, rest).map(Self::Remote),
        }
    }

    /// Returns the remote side, if this is one.
    #[must_use]
    pub fn remote(&self) -> Option<&Remote> {
        match self {
            Self::Local(_) => None,
            Self::Remote(remote) => Some(remote),
        }
    }
}

/// Returns `operand` as a path of this machine, a trailing slash kept in its bytes.
///
/// # Errors
/// The operand is empty or remote.
pub fn local(operand: &OsStr) -> Result<PathBuf, Failure> {
    match form(operand.as_bytes())? {
        Form::Path => Ok(PathBuf::from(operand)),
        Form::Node(..) => {
            let shown = escape(operand.as_bytes());
            let message = format!("{shown} is on another node; this verb looks at this machine");
            Err(Failure::usage(Number::Later, message)
                .fix(format!("run it on that node; if it is a local path, write ./{shown}")))
        }
    }
}

/// Returns the host of `HOST::` or `csync://HOST[:PORT]`, which name no folder; `None` for everything else.
#[must_use]
pub fn host_alone(operand: &OsStr) -> Option<Host> {
    match form(operand.as_bytes()) {
        Ok(Form::Node(host, b"")) => Some(host),
        Ok(_) | Err(_) => None,
    }
}

fn form(bytes: &[u8]) -> Result<Form<'_>, Failure> {
    let shown = || escape(bytes);
    if bytes.is_empty() {
        return Err(
            Failure::usage(Number::Usage, "an operand is empty").fix("name a path; `.` is this directory")
        );
    }
    if bytes.starts_with(b"rsync://") {
        let message = format!("{}: csync does not speak rsync's protocol", shown());
        return Err(Failure::usage(Number::Unsupported, message)
            .fix("run csyncd there and name HOST::FOLDER, or name a local path"));
    }
    if let Some(address) = bytes.strip_prefix(SCHEME) {
        let (authority, rest) = first_name(address);
        return Ok(Form::Node(host(authority, bytes)?, rest));
    }
    let head = bytes.split(|b| *b == b'/').next().unwrap_or_default();
    // The colons of an IPv6 address are in brackets.
    let bracket = if head.starts_with(b"[") { head.iter().position(|b| *b == b']') } else { None };
    let start = bracket.unwrap_or(0);
    let Some(colon) = head[start..].iter().position(|b| *b == b':').map(|at| start + at) else {
        return Ok(Form::Path);
    };
    if bytes.get(colon + 1) != Some(&b':') {
        let message = format!("{} names a path over ssh: that comes in a later version", shown());
        return Err(Failure::usage(Number::Later, message)
            .fix(format!("HOST::FOLDER names a folder of a csyncd; a local path is ./{}", shown())));
    }
    let host = host(&bytes[..colon], bytes)?;
    match host.port {
        None => Ok(Form::Node(host, &bytes[colon + 2..])),
        Some(_) => Err(no_address(bytes, "a port goes with csync://HOST:PORT/FOLDER")),
    }
}

/// Splits at the first slash, which belongs to neither part.
fn first_name(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|b| *b == b'/') {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, b""),
    }
}

/// Returns the host that `text` names, with its port if it has one. `whole` is the operand, for messages.
fn host(text: &[u8], whole: &[u8]) -> Result<Host, Failure> {
    if text.contains(&b'@') {
        return Err(no_address(whole, "nodes know each other by their keys, so no user is named"));
    }
    let text = str::from_utf8(text).map_err(|_not_text| no_address(whole, "the host is not UTF-8"))?;
    if values::name(text).is_ok() {
        return Ok(Host { name: text.to_owned(), port: None });
    }
    let address = values::address(text).map_err(|why| no_address(whole, &why))?;
    let bare = text.parse::<IpAddr>().is_ok() || text.ends_with(']');
    let port = (!bare && text.contains(':')).then_some(address.port);
    Ok(Host { name: address.host, port })
}

/// Takes `rest`, what follows the host, apart.
fn remote(shown: String, host: Host, rest: &[u8]) -> Result<Remote, Failure> {
    let (folder, path) = first_name(rest);
    if folder.is_empty() {
        return Err(Failure::usage(Number::Usage, format!("{shown} names no folder"))
            .fix(format!("csync {}:: lists the folders there", host.name)));
    }
    if folder.contains(&b'@') {
        return Err(Failure::usage(
            Number::Later,
            format!("{shown} names a folder as it was: that comes in a later version"),
        )
        .fix("leave out the @ and what follows it; csync versions and restore work on the node itself"));
    }
    let wrong = |why: String| {
        Failure::usage(Number::Value, format!("{shown}: {why}")).fix("write HOST::FOLDER or HOST::FOLDER/SUB")
    };
    let folder = str::from_utf8(folder).map_err(|_not_text| wrong("the folder is not UTF-8".to_owned()))?;
    values::name(folder).map_err(wrong)?;
    let mut below = RelPath::root();
    for name in path.split(|b| *b == b'/').filter(|name| !matches!(*name, b"" | b".")) {
        if name == PRIVATE_DIR {
            return Err(wrong(".csync belongs to csync and is never carried".to_owned()));
        }
        below = below.join(name).map_err(|why| wrong(format!("the path in the folder has {why}")))?;
    }
    let contents = matches!(path.rsplit(|b| *b == b'/').next(), None | Some(b"" | b"."));
    Ok(Remote { shown, host, folder: folder.to_owned(), below, contents })
}

fn no_address(operand: &[u8], why: &str) -> Failure {
    let shown = escape(operand);
    Failure::usage(Number::Value, format!("{shown} names no node: {why}"))
        .fix(format!("write HOST::FOLDER or csync://HOST:PORT/FOLDER; a local path is ./{shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Operand, Failure> {
        Operand::new(OsStr::new(text))
    }

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
        for text in ["/a:b", "./a:b", "./a::b", "dir/a:b", "plain", "x/", "[a]", "[a"] {
            assert_eq!(local(OsStr::new(text)).ok(), Some(PathBuf::from(text)), "{text}");
            assert_eq!(parsed(text), Ok(Operand::Local(PathBuf::from(text))), "{text}");
        }
    }

    #[test]
    fn addresses_of_folders() {
        for (text, name, port, folder, below, contents) in [
            ("nas::alice", "nas", None, "alice", "", true),
            ("nas::alice/", "nas", None, "alice", "", true),
            ("web_1::alice/a/b", "web_1", None, "alice", "a/b", false),
            ("nas::alice/a//./b/", "nas", None, "alice", "a/b", true),
            ("nas::alice/a/.", "nas", None, "alice", "a", true),
            ("nas::alice/a%2Fb", "nas", None, "alice", "a%2Fb", false),
            ("nas::alice/a:b@c", "nas", None, "alice", "a:b@c", false),
            ("10.8.0.1::f", "10.8.0.1", None, "f", "", true),
            ("[fd00::1]::f/x", "fd00::1", None, "f", "x", false),
            ("csync://nas/f", "nas", None, "f", "", true),
            ("csync://nas:9000/f/x", "nas", Some(9000), "f", "x", false),
            ("csync://[fd00::1]/f", "fd00::1", None, "f", "", true),
            ("csync://[fd00::1]:8730/f", "fd00::1", Some(8730), "f", "", true),
        ] {
            let operand = parsed(text).unwrap();
            let remote = operand.remote().unwrap();
            let host = Host { name: name.to_owned(), port };
            assert_eq!((&remote.host, remote.folder.as_str()), (&host, folder), "{text}");
            assert_eq!((remote.below.as_bytes(), remote.contents), (below.as_bytes(), contents), "{text}");
        }
    }

    #[test]
    fn what_is_no_folder_of_a_node_says_what_to_write() {
        for (case, text, words) in [
            ("empty", "", "name a path"),
            ("ssh", "root@web:/srv", "over ssh"),
            ("rsync's daemon", "rsync://h/f", "csyncd"),
            ("no host", "::f", "names no node"),
            ("a user", "me@nas::f", "no user"),
            ("a port without the scheme", "nas:9:f", "over ssh"),
            ("a port in brackets", "[fd00::1]:9::f", "over ssh"),
            ("three colons", "nas:::f", "1 to 64"),
            ("port 0", "csync://nas:0/f", "1 to 65535"),
            ("no folder", "nas::", "csync nas:: lists"),
            ("a path without a folder", "nas::/etc", "names no folder"),
            ("versions", "nas::f@2026-01-01", "later version"),
            ("a folder that no config can name", "nas::a b", "1 to 64"),
            ("upwards", "nas::f/../g", "`..`"),
            ("private", "nas::f/.csync/kept", "belongs to csync"),
        ] {
            let failure = parsed(text).unwrap_err();
            assert!(failure.to_string().contains(words), "{case}: {failure}");
            assert!(failure.fix.is_some() && failure.exit.code() == 1, "{case}");
        }
    }

    #[test]
    fn a_host_alone_asks_for_its_folders() {
        for (text, name) in [("nas::", "nas"), ("csync://nas:9", "nas"), ("csync://[::1]/", "::1")] {
            assert_eq!(host_alone(OsStr::new(text)).map(|host| host.name).as_deref(), Some(name), "{text}");
        }
        for text in ["nas::f", "nas:", "nas", "csync://nas/f", ""] {
            assert_eq!(host_alone(OsStr::new(text)), None, "{text}");
        }
    }
}
