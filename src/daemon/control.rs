//! The control socket, both ends: one small request of HTTP/1.1, one answer of JSON, and the connection ends.
//!
//! Whoever connects is looked up by the kernel's word for its user, not only by the socket's mode. A request has
//! [`REQUEST_BYTES_MAX`] bytes and [`REQUEST_TIME`] in all, however it trickles in.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::disk::clock::monotonic;
use crate::disk::socket::{connect, is_member, peer_uid};

/// The longest request that is read.
pub const REQUEST_BYTES_MAX: usize = 8 * 1024;
/// How long a request may take to come, and an answer to be fetched.
pub const REQUEST_TIME: Duration = Duration::from_secs(5);
/// Requests that are answered at once.
const REQUESTS_MAX: usize = 16;
/// The longest answer that a client believes in.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// Who may ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Admission {
    /// This user; root may always.
    pub uid: u32,
    /// Members of this group.
    pub gid: Option<u32>,
}

impl Admission {
    fn allows(&self, uid: u32) -> bool {
        uid == 0 || uid == self.uid || self.gid.is_some_and(|gid| is_member(uid, gid))
    }
}

/// What a daemon answers.
pub trait Answers: Send + Sync {
    /// Returns the object of `GET /status`.
    fn status(&self) -> Value;
    /// Who may ask, as it is configured now.
    fn admission(&self) -> Admission;
}

/// An answer: its number, and an object.
#[derive(Clone, PartialEq, Debug)]
struct Response {
    status: u16,
    body: Value,
}

impl Response {
    fn problem(status: u16, text: &str) -> Self {
        Self { status, body: json!({ "schema": 1, "error": text }) }
    }

    fn bytes(&self) -> Vec<u8> {
        let reason = match self.status {
            200 => "OK",
            400 => "Bad Request",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            431 => "Request Header Fields Too Large",
            503 => "Service Unavailable",
            _ => "Internal Server Error",
        };
        let allow = if self.status == 405 { "Allow: GET\r\n" } else { "" };
        let body = format!("{}\n", self.body);
        let head = format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{allow}Connection: close\r\n\r\n",
            self.status,
            body.len()
        );
        [head.into_bytes(), body.into_bytes()].concat()
    }
}

/// Answers whoever connects to `listener`, for ever.
///
/// # Errors
/// The socket can no longer be listened on.
pub fn serve(listener: &UnixListener, answers: &Arc<dyn Answers>) -> io::Result<()> {
    let busy = Arc::new(AtomicUsize::new(0));
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if is_passing(&error) => continue,
            Err(error) => return Err(error),
        };
        if busy.fetch_add(1, Ordering::AcqRel) >= REQUESTS_MAX {
            busy.fetch_sub(1, Ordering::AcqRel);
            tell(stream, &Response::problem(503, "too many requests at once"));
            continue;
        }
        let (answers, freed) = (Arc::clone(answers), Arc::clone(&busy));
        let request = move || {
            let response = answer(&stream, answers.as_ref());
            tell(stream, &response);
            freed.fetch_sub(1, Ordering::AcqRel);
        };
        // Without a thread the connection is dropped, and its place is free again.
        if std::thread::Builder::new().name("control".into()).spawn(request).is_err() {
            busy.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Whether the next connection may succeed all the same.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted)
}

fn answer(stream: &UnixStream, answers: &dyn Answers) -> Response {
    match peer_uid(stream) {
        Ok(uid) if answers.admission().allows(uid) => {}
        Ok(uid) => {
            let text = format!("uid {uid} may not use the control socket; control-group names who may");
            return Response::problem(403, &text);
        }
        Err(error) => return Response::problem(403, &format!("cannot tell who asks: {error}")),
    }
    match read_head(stream, monotonic() + REQUEST_TIME) {
        Ok(head) => respond(&head, answers),
        Err(refused) => refused,
    }
}

/// Returns the request up to the end of its head.
fn read_head(mut stream: &UnixStream, until: Instant) -> Result<Vec<u8>, Response> {
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while !head.windows(END_OF_HEAD.len()).any(|window| window == END_OF_HEAD) {
        if head.len() >= REQUEST_BYTES_MAX {
            return Err(Response::problem(431, "the request is longer than 8192 bytes"));
        }
        let left = until.saturating_duration_since(monotonic());
        let late = || Response::problem(408, "the request did not come in 5 s");
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return Err(late());
        }
        match stream.read(&mut part) {
            Ok(0) => return Err(Response::problem(400, "the request is cut off")),
            Ok(count) => head.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_timeout) => return Err(late()),
        }
    }
    Ok(head)
}

/// The answer to the request with this head.
fn respond(head: &[u8], answers: &dyn Answers) -> Response {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = std::str::from_utf8(line).unwrap_or_default().split(' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(verb), Some(target), Some("HTTP/1.0" | "HTTP/1.1"), None) => match (verb, target) {
            ("GET", "/status") => Response { status: 200, body: answers.status() },
            (_, "/status") => Response::problem(405, "only GET is answered here"),
            _ => Response::problem(404, "there is /status"),
        },
        _ => Response::problem(400, "wanted a request of HTTP/1.1, such as GET /status HTTP/1.1"),
    }
}

/// Writes the answer, if it is fetched; nobody is left to be told if not.
fn tell(mut stream: UnixStream, response: &Response) {
    if stream.set_write_timeout(Some(REQUEST_TIME)).is_ok() {
        stream.write_all(&response.bytes()).ok();
    }
}

/// Why a daemon does not answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error("no csyncd answers at {}", path.display())]
    NoDaemon {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// This user may not ask.
    #[error("csyncd does not answer this user at {}: {why}", path.display())]
    NotAllowed {
        /// The socket.
        path: PathBuf,
        /// What the system or the daemon said.
        why: String,
    },
    /// The conversation broke off, or took too long.
    #[error("csyncd at {} broke off", path.display())]
    BrokeOff {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It answered something else than was asked.
    #[error("csyncd at {} answered {answer}", path.display())]
    Unexpected {
        /// The socket.
        path: PathBuf,
        /// The start of the answer, escaped.
        answer: String,
    },
}

/// Returns the object that the daemon at `path` answers to `GET target`.
///
/// # Errors
/// No daemon listens there, it does not answer this user, or not in [`REQUEST_TIME`].
pub fn ask(path: &Path, target: &str) -> Result<Vec<u8>, AskError> {
    let broke = |source| AskError::BrokeOff { path: path.to_owned(), source };
    let mut stream = connect(path).map_err(|source| {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::PermissionDenied {
            AskError::NotAllowed { path, why: source.to_string() }
        } else {
            AskError::NoDaemon { path, source }
        }
    })?;
    stream.set_write_timeout(Some(REQUEST_TIME)).map_err(broke)?;
    let request = format!("GET {target} HTTP/1.1\r\nHost: csyncd\r\nConnection: close\r\n\r\n");
    // A daemon that refuses this user answers before it has read anything; then the answer counts.
    let written = stream.write_all(request.as_bytes());
    let answer = read_answer(&mut stream).map_err(broke)?;
    if answer.is_empty() {
        written.map_err(broke)?;
    }
    let unexpected = || AskError::Unexpected {
        path: path.to_owned(),
        answer: answer.escape_ascii().take(200).map(char::from).collect(),
    };
    let end = answer.windows(END_OF_HEAD.len()).position(|window| window == END_OF_HEAD);
    let body = end.map(|end| answer[end + END_OF_HEAD.len()..].to_vec()).ok_or_else(unexpected)?;
    match answer.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3)) {
        Some(b"200") => Ok(body),
        Some(b"403") => {
            let told = serde_json::from_slice::<Value>(&body).ok();
            let why = told.as_ref().and_then(|told| told["error"].as_str()).unwrap_or("refused");
            Err(AskError::NotAllowed { path: path.to_owned(), why: why.escape_debug().to_string() })
        }
        Some(_) | None => Err(unexpected()),
    }
}

fn read_answer(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(REQUEST_TIME))?;
    let mut answer = Vec::new();
    match stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer) {
        // Whoever ends without having read the whole request resets the connection after its answer.
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset || answer.is_empty() => Err(error),
        Ok(_) | Err(_) => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::socket::LocalSocket;
    use crate::disk::user::effective_uid;

    struct Fixed(Admission);

    impl Answers for Fixed {
        fn status(&self) -> Value {
            json!({ "schema": 1, "node": "web1" })
        }

        fn admission(&self) -> Admission {
            self.0
        }
    }

    /// A served socket in a directory of its own.
    fn served(admission: Admission) -> (tempfile::TempDir, PathBuf) {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("control.sock");
        let socket = LocalSocket::bind(&path, None).unwrap();
        let answers: Arc<dyn Answers> = Arc::new(Fixed(admission));
        std::thread::spawn(move || serve(&socket.listener, &answers));
        (home, path)
    }

    fn own() -> Admission {
        Admission { uid: effective_uid(), gid: None }
    }

    /// What the socket answers to `request`, after which nothing more is sent.
    fn answered(path: &Path, request: &[u8]) -> String {
        let mut stream = connect(path).unwrap();
        stream.write_all(request).ok();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let answer = read_answer(&mut stream).unwrap();
        String::from_utf8(answer).unwrap()
    }

    #[test]
    fn status_is_answered_and_nothing_else() {
        let (_home, path) = served(own());
        assert_eq!(ask(&path, "/status").unwrap(), b"{\"node\":\"web1\",\"schema\":1}\n");
        assert!(matches!(ask(&path, "/other"), Err(AskError::Unexpected { .. })));
        let long = [b"GET /status HTTP/1.1\r\nX: ".to_vec(), vec![b'a'; 3 * REQUEST_BYTES_MAX]].concat();
        for (case, request, status) in [
            ("wrong verb", &b"POST /status HTTP/1.1\r\n\r\n"[..], "405"),
            ("no such thing", b"GET / HTTP/1.1\r\n\r\n", "404"),
            ("half a request", b"GET /status HTTP/1.1\r\n", "400"),
            ("nothing", b"", "400"),
            ("no HTTP", b"hello\r\n\r\n", "400"),
            ("no text", b"\xff\xfe /status HTTP/1.1\r\n\r\n", "400"),
            ("too long (H62)", &long, "431"),
        ] {
            let answer = answered(&path, request);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{case}: {answer}");
        }
    }

    #[test]
    fn a_request_that_trickles_in_is_given_up_at_the_deadline() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(b"GET /sta").unwrap();
        let refused = read_head(&theirs, monotonic() + Duration::from_millis(20)).unwrap_err();
        assert_eq!(refused.status, 408);
        ours.write_all(b"tus").unwrap();
        assert_eq!(read_head(&theirs, monotonic()).unwrap_err().status, 408, "the deadline is one for all");
    }

    #[test]
    fn another_user_is_refused() {
        for (case, admission, uid, allowed) in [
            ("root", Admission { uid: 7, gid: None }, 0, true),
            ("the daemon's user", Admission { uid: 7, gid: None }, 7, true),
            ("another (H61)", Admission { uid: 7, gid: None }, 8, false),
            ("a member of the group", Admission { uid: 7, gid: Some(0) }, 0, true),
            ("a user that nobody knows", Admission { uid: 7, gid: Some(0) }, 4_000_000_000, false),
        ] {
            assert_eq!(admission.allows(uid), allowed, "{case}");
        }
        if effective_uid() != 0 {
            let (_home, path) = served(Admission { uid: effective_uid() + 1, gid: None });
            assert!(matches!(ask(&path, "/status"), Err(AskError::NotAllowed { .. })));
        }
    }

    #[test]
    fn where_no_daemon_listens_that_is_told() {
        let home = tempfile::tempdir().unwrap();
        assert!(matches!(ask(&home.path().join("control.sock"), "/status"), Err(AskError::NoDaemon { .. })));
    }
}
