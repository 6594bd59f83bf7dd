//! The control socket, both ends: one small request of HTTP/1.1, one answer of JSON, and the connection ends.
//!
//! Whoever connects is looked up by the kernel's word for its user, not only by the socket's mode. The head of a request
//! has [`REQUEST_BYTES_MAX`] bytes, its body [`BODY_BYTES_MAX`], and both have [`REQUEST_TIME`] in all, however they
//! trickle in.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::daemon::question::{Question, Wrong, length, question, target};
use crate::disk::clock::monotonic;
use crate::disk::socket::{connect, is_member, peer_uid};
use crate::model::path::escape;

/// The longest head of a request that is read.
pub const REQUEST_BYTES_MAX: usize = 8 * 1024;
/// The longest body of a request that is read.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long a request may take to come, and an answer to be fetched.
pub const REQUEST_TIME: Duration = Duration::from_secs(5);
/// How long a client waits for an answer that takes a look at a whole tree, or copies a file.
const WORK_TIME: Duration = Duration::from_secs(600);
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
    /// Returns the object that answers `question`.
    ///
    /// # Errors
    /// Why there is none.
    fn answer(&self, question: &Question) -> Result<Value, Problem>;
    /// Who may ask, as it is configured now.
    fn admission(&self) -> Admission;
}

/// Why a question is not answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The number of the answer: 404 where there is no such folder, 409 where a folder or a thing of it is not as the
    /// question takes it to be, 410 where its root is not.
    pub status: u16,
    /// For people; one line.
    pub text: String,
}

/// An answer: its number, and an object.
#[derive(Clone, PartialEq, Debug)]
struct Response {
    status: u16,
    body: Value,
}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Self {
        Self::problem(problem.status, &problem.text)
    }
}

impl From<Wrong> for Response {
    fn from((status, text): Wrong) -> Self {
        Self::problem(status, text)
    }
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
            409 => "Conflict",
            410 => "Gone",
            411 => "Length Required",
            413 => "Content Too Large",
            431 => "Request Header Fields Too Large",
            503 => "Service Unavailable",
            _ => "Internal Server Error",
        };
        let body = format!("{}\n", self.body);
        let head = format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
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
    asked(stream, monotonic() + REQUEST_TIME)
        .and_then(|question| Ok(answers.answer(&question)?))
        .map_or_else(|refused| refused, |body| Response { status: 200, body })
}

/// Returns what is asked, whole by `until`.
fn asked(stream: &UnixStream, until: Instant) -> Result<Question, Response> {
    let mut request = Vec::new();
    let end = loop {
        if let Some(at) = request.windows(END_OF_HEAD.len()).position(|window| window == END_OF_HEAD) {
            break at + END_OF_HEAD.len();
        }
        if request.len() >= REQUEST_BYTES_MAX {
            return Err(Response::problem(431, "the head of the request is longer than 8192 bytes"));
        }
        more(stream, until, &mut request)?;
    };
    let (head, mut body) = (request[..end].to_vec(), request.split_off(end));
    let (verb, target) = target(&head)?;
    let length = if verb == "POST" { length(&head)? } else { 0 };
    if length > BODY_BYTES_MAX {
        return Err(Response::problem(413, "the body of the request is longer than 65536 bytes"));
    }
    while body.len() < length {
        more(stream, until, &mut body)?;
    }
    Ok(question(target, &body[..length])?)
}

/// Reads what comes next.
fn more(mut stream: &UnixStream, until: Instant, into: &mut Vec<u8>) -> Result<(), Response> {
    let mut part = [0; 1024];
    let left = until.saturating_duration_since(monotonic());
    let late = || Response::problem(408, "the request did not come in 5 s");
    if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
        return Err(late());
    }
    match stream.read(&mut part) {
        Ok(0) => return Err(Response::problem(400, "the request is cut off")),
        Ok(count) => into.extend_from_slice(&part[..count]),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
        Err(_timeout) => return Err(late()),
    }
    Ok(())
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
    /// It cannot answer that.
    #[error("{}", problem.text)]
    Refused {
        /// What it said, escaped.
        problem: Problem,
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

/// Returns the object that the daemon at `path` answers to `question`.
///
/// # Errors
/// No daemon listens there, it does not answer this user, not that, or not in time.
pub fn ask(path: &Path, question: &Question) -> Result<Vec<u8>, AskError> {
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
    let (verb, target, body) = question.request();
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let (length, patience) =
        (body.len(), if *question == Question::Status { REQUEST_TIME } else { WORK_TIME });
    let request = format!(
        "{verb} {target} HTTP/1.1\r\nHost: csyncd\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    // A daemon that refuses this user answers before it has read anything; then the answer counts.
    let written = stream.write_all(request.as_bytes());
    let answer = read_answer(&mut stream, patience).map_err(broke)?;
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
        Some(number) => {
            let told = serde_json::from_slice::<Value>(&body).ok();
            let why = told.as_ref().and_then(|told| told["error"].as_str()).map(escaped);
            match (number, why) {
                (b"403", why) => {
                    let why = why.unwrap_or_else(|| "refused".to_owned());
                    Err(AskError::NotAllowed { path: path.to_owned(), why })
                }
                (b"404" | b"409" | b"410" | b"500", Some(text)) => {
                    let status = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok());
                    Err(AskError::Refused { problem: Problem { status: status.unwrap_or(500), text } })
                }
                _ => Err(unexpected()),
            }
        }
        None => Err(unexpected()),
    }
}

fn escaped(text: &str) -> String {
    escape(text.as_bytes())
}

fn read_answer(stream: &mut UnixStream, patience: Duration) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(patience))?;
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
        fn answer(&self, question: &Question) -> Result<Value, Problem> {
            if *question == Question::Status {
                return Ok(json!({ "schema": 1, "node": "web1" }));
            }
            if *question == (Question::Look { folder: "web".to_owned() }) {
                return Ok(json!({ "schema": 1, "seq": 7 }));
            }
            Err(Problem { status: 404, text: format!("no {question:?}") })
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
        let answer = read_answer(&mut stream, REQUEST_TIME).unwrap();
        String::from_utf8(answer).unwrap()
    }

    #[test]
    fn questions_are_answered_and_nothing_else() {
        let (_home, path) = served(own());
        assert_eq!(ask(&path, &Question::Status).unwrap(), b"{\"node\":\"web1\",\"schema\":1}\n");
        let look = |folder: &str| ask(&path, &Question::Look { folder: folder.to_owned() });
        assert_eq!(look("web").unwrap(), b"{\"schema\":1,\"seq\":7}\n");
        let none = Problem { status: 404, text: "no Look { folder: \"other\" }".to_owned() };
        assert!(matches!(look("other"), Err(AskError::Refused { problem }) if problem == none));
        let long = [b"GET /status HTTP/1.1\r\nX: ".to_vec(), vec![b'a'; 3 * REQUEST_BYTES_MAX]].concat();
        for (case, request, status) in [
            ("wrong verb", &b"POST /status HTTP/1.1\r\n\r\n"[..], "405"),
            ("no such thing", b"GET / HTTP/1.1\r\n\r\n", "404"),
            ("half a request", b"GET /status HTTP/1.1\r\n", "400"),
            ("nothing", b"", "400"),
            ("no HTTP", b"hello\r\n\r\n", "400"),
            ("no text", b"\xff\xfe /status HTTP/1.1\r\n\r\n", "400"),
            ("too long (H62)", &long, "431"),
            ("a body of unknown length", b"POST /look HTTP/1.1\r\n\r\n{}", "411"),
            ("half a body", b"POST /look HTTP/1.1\r\nContent-Length: 9\r\n\r\n{}", "400"),
            ("too long a body", b"POST /look HTTP/1.1\r\nContent-Length: 65537\r\n\r\n", "413"),
            ("a body that says nothing", b"POST /look HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", "400"),
        ] {
            let answer = answered(&path, request);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{case}: {answer}");
        }
    }

    #[test]
    fn a_request_that_trickles_in_is_given_up_at_the_deadline() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(b"GET /sta").unwrap();
        let refused = asked(&theirs, monotonic() + Duration::from_millis(20)).unwrap_err();
        assert_eq!(refused.status, 408);
        ours.write_all(b"tus").unwrap();
        assert_eq!(asked(&theirs, monotonic()).unwrap_err().status, 408, "the deadline is one for all");
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
            assert!(matches!(ask(&path, &Question::Status), Err(AskError::NotAllowed { .. })));
        }
    }

    #[test]
    fn where_no_daemon_listens_that_is_told() {
        let home = tempfile::tempdir().unwrap();
        assert!(matches!(
            ask(&home.path().join("control.sock"), &Question::Status),
            Err(AskError::NoDaemon { .. })
        ));
    }
}
