//! What may be asked at the control socket: pure, from the bytes of a request to a typed question.

use serde_json::{Value, json};

use crate::engine::settle::Choice;
use crate::model::entry::Digest;

/// A question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// `GET /status`: how this node stands.
    Status,
    /// `GET /conflicts`: the open conflicts of all folders.
    Conflicts,
    /// `GET /held`: what the delete guard holds.
    Held,
    /// `POST /contents`: both sides of a conflict.
    Contents(Named),
    /// `POST /resolve`: settle a conflict.
    Resolve(Named, Choice),
    /// `POST /approve`: let a held plan through.
    Approve(Named),
    /// `POST /reject`: undo a held plan.
    Reject(Named),
    /// `POST /look`: record what stands in a folder now.
    Look {
        /// The folder.
        folder: String,
    },
    /// `POST /behind`: which members lack something of what was recorded up to a moment.
    Behind {
        /// The folder.
        folder: String,
        /// The moment.
        seq: u64,
    },
}

/// A thing of a folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Named {
    /// The folder.
    pub folder: String,
    /// The thing.
    pub id: Digest,
}

/// A request is no question: the status of the answer, and what to tell.
pub type Wrong = (u16, &'static str);

const GET: [&str; 3] = ["/status", "/conflicts", "/held"];
const POST: [&str; 6] = ["/contents", "/resolve", "/approve", "/reject", "/look", "/behind"];

/// Returns the verb and the target of the request with this head.
///
/// # Errors
/// It is no request of HTTP/1.1, there is no such target, or it takes the other verb.
pub fn target(head: &[u8]) -> Result<(&str, &str), Wrong> {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = std::str::from_utf8(line).unwrap_or_default().split(' ');
    let (Some(verb), Some(target), Some("HTTP/1.0" | "HTTP/1.1"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err((400, "wanted a request of HTTP/1.1, such as GET /status HTTP/1.1"));
    };
    match verb {
        "GET" if GET.contains(&target) => Ok((verb, target)),
        "POST" if POST.contains(&target) => Ok((verb, target)),
        _ if GET.contains(&target) => Err((405, "only GET is answered here")),
        _ if POST.contains(&target) => Err((405, "only POST is answered here")),
        _ => Err((404, "there are /status, /conflicts, /held, and questions that are posted")),
    }
}

/// Returns how long the body of the request with this head is.
///
/// # Errors
/// Its length is not told, told twice, or told in pieces.
pub fn length(head: &[u8]) -> Result<usize, Wrong> {
    let mut length = None;
    for line in head.split(|byte| *byte == b'\n').skip(1) {
        let line = std::str::from_utf8(line).unwrap_or_default().trim_end_matches('\r');
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err((400, "a body in pieces is not taken"));
        }
        if name.eq_ignore_ascii_case("content-length") {
            let value = value.trim();
            let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            // One that no number can hold is too long all the same.
            let told = digits.then(|| value.parse().unwrap_or(usize::MAX));
            if length.is_some() || told.is_none() {
                return Err((400, "wanted one Content-Length"));
            }
            length = told;
        }
    }
    length.ok_or((411, "wanted a Content-Length"))
}

/// Returns the question of a request to `target` with this body; that of a GET is empty.
///
/// # Errors
/// The body is not the object that belongs there.
pub fn question(target: &str, body: &[u8]) -> Result<Question, Wrong> {
    const BAD: Wrong = (400, "the body is not the JSON object that belongs there");
    let body: &[u8] = if body.is_empty() { b"{}" } else { body };
    let value: Value = serde_json::from_slice(body).map_err(|_no_json| BAD)?;
    let folder = || value["folder"].as_str().map(str::to_owned);
    let named = || Some(Named { folder: folder()?, id: Digest::parse(value["id"].as_str()?)? });
    let question = match target {
        "/status" => Some(Question::Status),
        "/conflicts" => Some(Question::Conflicts),
        "/held" => Some(Question::Held),
        "/contents" => named().map(Question::Contents),
        "/resolve" => named().zip(choice(&value)).map(|(named, choice)| Question::Resolve(named, choice)),
        "/approve" => named().map(Question::Approve),
        "/reject" => named().map(Question::Reject),
        "/look" => folder().map(|folder| Question::Look { folder }),
        "/behind" => {
            folder().zip(value["seq"].as_u64()).map(|(folder, seq)| Question::Behind { folder, seq })
        }
        _ => None,
    };
    question.ok_or(BAD)
}

fn choice(value: &Value) -> Option<Choice> {
    match (value["choice"].as_str()?, value["peer"].as_str()) {
        ("local", None) => Some(Choice::Local),
        ("take", Some(peer)) => Some(Choice::Take(peer.to_owned())),
        ("newest", None) => Some(Choice::Newest),
        ("both", None) => Some(Choice::Both),
        _ => None,
    }
}

impl Question {
    /// Returns the verb, the target and the body by which it is asked.
    #[must_use]
    pub fn request(&self) -> (&'static str, &'static str, Option<Value>) {
        let named = |named: &Named| json!({ "folder": named.folder, "id": named.id.to_string() });
        match self {
            Self::Status => ("GET", "/status", None),
            Self::Conflicts => ("GET", "/conflicts", None),
            Self::Held => ("GET", "/held", None),
            Self::Contents(of) => ("POST", "/contents", Some(named(of))),
            Self::Approve(of) => ("POST", "/approve", Some(named(of))),
            Self::Reject(of) => ("POST", "/reject", Some(named(of))),
            Self::Look { folder } => ("POST", "/look", Some(json!({ "folder": folder }))),
            Self::Behind { folder, seq } => {
                ("POST", "/behind", Some(json!({ "folder": folder, "seq": seq })))
            }
            Self::Resolve(of, choice) => {
                let mut body = named(of);
                body["choice"] = match choice {
                    Choice::Local => "local",
                    Choice::Take(_) => "take",
                    Choice::Newest => "newest",
                    Choice::Both => "both",
                }
                .into();
                if let Choice::Take(peer) = choice {
                    body["peer"] = peer.as_str().into();
                }
                ("POST", "/resolve", Some(body))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_side_asks_the_other_understands() {
        let named = || Named { folder: "web".to_owned(), id: Digest::of(b"a conflict") };
        let folder = "web".to_owned();
        for asked in [
            Question::Status,
            Question::Conflicts,
            Question::Held,
            Question::Contents(named()),
            Question::Approve(named()),
            Question::Reject(named()),
            Question::Look { folder: folder.clone() },
            Question::Behind { folder, seq: u64::MAX },
            Question::Resolve(named(), Choice::Local),
            Question::Resolve(named(), Choice::Take("web2".to_owned())),
            Question::Resolve(named(), Choice::Newest),
            Question::Resolve(named(), Choice::Both),
        ] {
            let (verb, path, body) = asked.request();
            let head = format!("{verb} {path} HTTP/1.1\r\n");
            assert_eq!(target(head.as_bytes()), Ok((verb, path)), "{asked:?}");
            let body = body.map(|body| body.to_string()).unwrap_or_default();
            assert_eq!(question(path, body.as_bytes()), Ok(asked));
        }
    }

    #[test]
    fn what_is_no_question_is_refused() {
        for (case, head, status) in [
            ("no such thing", &b"GET / HTTP/1.1"[..], 404),
            ("a GET that is posted", b"POST /held HTTP/1.1", 405),
            ("a POST that is got", b"GET /resolve HTTP/1.1", 405),
            ("another verb", b"DELETE /held HTTP/1.1", 405),
            ("another protocol", b"GET /held HTTP/2", 400),
            ("no text", b"\xff\xfe /held HTTP/1.1", 400),
        ] {
            assert_eq!(target(head).map_err(|(status, _)| status), Err(status), "{case}");
        }
        for (case, head, expected) in [
            ("told", &b"POST / HTTP/1.1\r\ncontent-LENGTH:  12 \r\n"[..], Ok(12)),
            ("not told", b"POST / HTTP/1.1\r\n", Err(411)),
            ("told twice", b"P\r\nContent-Length: 1\r\nContent-Length: 1\r\n", Err(400)),
            ("negative", b"P\r\nContent-Length: -1\r\n", Err(400)),
            ("signed", b"P\r\nContent-Length: +1\r\n", Err(400)),
            ("huge", b"P\r\nContent-Length: 99999999999999999999999\r\n", Ok(usize::MAX)),
            ("in pieces", b"P\r\nTransfer-Encoding: chunked\r\n", Err(400)),
        ] {
            assert_eq!(length(head).map_err(|(status, _)| status), expected, "{case}");
        }
        for (case, target, body) in [
            ("no JSON", "/look", &b"folder=web"[..]),
            ("no object", "/look", b"[]"),
            ("no folder", "/look", b"{}"),
            ("a folder that is no text", "/look", b"{\"folder\":1}"),
            ("an id that is none", "/approve", b"{\"folder\":\"web\",\"id\":\"12\"}"),
            ("a number below 0", "/behind", b"{\"folder\":\"web\",\"seq\":-1}"),
            ("nobody to take", "/resolve", b"{\"folder\":\"web\",\"id\":\"00\",\"choice\":\"take\"}"),
        ] {
            assert_eq!(question(target, body).map_err(|(status, _)| status), Err(400), "{case}");
        }
    }
}
