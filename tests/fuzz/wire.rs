//! What peers say: frames, and the messages in them.

use csync::model::path::RelPath;
use csync::transport::codec::message::{decode, encode};
use csync::transport::frame::{Header, Type};
use csync::transport::message::{Listed, Message, PAGE_ROWS_MAX};

/// Bytes of a header.
const HEADER_BYTES: usize = 5;

/// A stream of frames, as a peer sends it: each is refused, or is a message that is the same after it was sent on.
pub(crate) fn frame(mut data: &[u8]) -> bool {
    let mut messages = 0;
    while let Some((header, rest)) = data.split_first_chunk::<HEADER_BYTES>() {
        let Ok(announced) = Header::parse(*header) else { return false };
        assert_eq!(Header::build(announced.kind, announced.body).as_ref(), Ok(header));
        let Some((body, rest)) = rest.split_at_checked(announced.body) else { return false };
        if understood(announced.kind, body).is_none() {
            return false;
        }
        messages += 1;
        data = rest;
    }
    messages > 0 && data.is_empty()
}

/// The number of a type, then the body of a message of that type.
pub(crate) fn message(data: &[u8]) -> bool {
    let Some((number, body)) = data.split_first() else { return false };
    let [a, b, c, d, ..] = data.len().to_le_bytes();
    let Ok(header) = Header::parse([a, b, c, d, *number]) else { return false };
    understood(header.kind, body).is_some()
}

/// The first message of whoever calls, before anybody knows who it is.
pub(crate) fn hello(data: &[u8]) -> bool {
    match understood(Type::Hello, data) {
        Some(Message::Hello(hello)) => {
            assert!(hello.agent.len() <= data.len() && hello.versions.len() <= data.len());
            true
        }
        other => {
            assert_eq!(other, None);
            false
        }
    }
}

/// A page of rows: in path order, no path twice, none that leads out of the root.
pub(crate) fn page(data: &[u8]) -> bool {
    let Some(Message::Page(page)) = understood(Type::Page, data) else { return false };
    assert!(page.rows.len() <= PAGE_ROWS_MAX);
    let paths = || page.rows.iter().map(|Listed { path, .. }| path);
    assert!(paths().zip(paths().skip(1)).all(|(path, next)| path < next), "rows out of order");
    for Listed { path, row, .. } in &page.rows {
        assert_eq!(RelPath::new(path.as_bytes()).as_ref(), Ok(path));
        assert!(row.vector.slots().all(|dot| dot.counter > 0));
    }
    true
}

/// Returns the message that `body` is, which is the same after it was sent on.
fn understood(kind: Type, body: &[u8]) -> Option<Message> {
    let message = decode(kind, body).ok()?;
    let (again, bytes) = encode(&message);
    assert_eq!(again, kind);
    assert_eq!(decode(again, &bytes).as_ref(), Ok(&message));
    Some(message)
}
