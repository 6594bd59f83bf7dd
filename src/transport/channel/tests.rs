use std::thread;

use super::*;
use crate::transport::frame::FRAME_BYTES_MAX;
use crate::transport::message::{BLOCK_BYTES_MAX, Block, Working};

const SOON: Duration = Duration::from_millis(200);

/// A channel, and the raw bytes that reach it.
fn raw() -> (Channel, DuplexStream) {
    let (near, far) = tokio::io::duplex(PAIR_BYTES);
    let (recv, send) = tokio::io::split(near);
    (Channel::over(Source::Memory(recv), Sink::Memory(send), Shared::new("peer".to_owned())), far)
}

fn say(far: &mut DuplexStream, bytes: &[u8]) {
    runtime::wait_for(far.write_all(bytes)).unwrap().unwrap();
}

#[test]
fn messages_keep_their_order_and_the_end_is_told() {
    let (mut left, mut right) = Channel::pair();
    let speaker = thread::spawn(move || {
        for done in 0..50_000 {
            left.send(&Message::Working(Working { done })).unwrap();
        }
        left.finish().unwrap();
        left
    });
    for done in 0..50_000 {
        assert_eq!(right.recv().unwrap(), Message::Working(Working { done }));
    }
    assert_eq!(right.wait().unwrap(), None);
    right.send(&Message::End).unwrap();
    let mut left = speaker.join().unwrap();
    assert_eq!(left.recv().unwrap(), Message::End);
    drop(right);
    assert!(matches!(left.recv(), Err(WireError::Closed { code: Code::Done, .. })));
}

#[test]
fn a_peer_that_says_nothing_is_given_up() {
    let (mut left, right) = Channel::pair();
    left.set_timeout(Some(SOON));
    let error = left.recv().unwrap_err();
    assert!(matches!(error, WireError::Timeout { .. }), "{error:?}");
    assert_eq!(error.exit(), 30);
    drop(right);
}

#[test]
fn a_peer_that_does_not_listen_is_given_up() {
    let (mut left, right) = Channel::pair();
    left.set_timeout(Some(SOON));
    let bytes = vec![7; 1 << 20];
    let block = Message::Block(Block { length: BLOCK_BYTES_MAX, packed: false, bytes });
    assert!(matches!(left.send(&block), Err(WireError::Timeout { .. })));
    drop(right);
}

#[test]
fn half_a_frame_is_not_waited_for_for_ever() {
    for (case, bytes) in [("half a header", &[9, 0][..]), ("half a body", &[9, 0, 0, 0, 7, 0x81])] {
        let (mut channel, mut far) = raw();
        channel.set_timeout(Some(SOON));
        say(&mut far, bytes);
        assert!(matches!(channel.wait(), Err(WireError::Timeout { .. })), "{case}");
        let (mut channel, mut far) = raw();
        say(&mut far, bytes);
        drop(far);
        assert!(matches!(channel.wait(), Err(WireError::Protocol { .. })), "{case}, then the end");
    }
}

#[test]
fn what_is_no_frame_is_refused_at_its_header() {
    let long = (FRAME_BYTES_MAX + 1).to_le_bytes();
    for (case, bytes) in [
        ("H13: length 0", [0, 0, 0, 0, 7]),
        ("H14: length 2^32 - 1", [255, 255, 255, 255, 38]),
        ("longer than any frame", [long[0], long[1], long[2], long[3], 38]),
        ("longer than any hello", [0, 0, 2, 0, 1]),
        ("H17: type 0", [2, 0, 0, 0, 0]),
        ("H17: type 200", [2, 0, 0, 0, 200]),
    ] {
        let (mut channel, mut far) = raw();
        say(&mut far, &bytes);
        let error = channel.recv().unwrap_err();
        assert!(matches!(error, WireError::Protocol { .. }), "{case}: {error:?}");
        assert_eq!(error.exit(), 12, "{case}");
        assert!(channel.inbox.bytes.len() <= READ_BYTES, "{case}: {} bytes", channel.inbox.bytes.len());
    }
}

#[test]
fn memory_grows_with_what_comes_and_not_with_what_is_announced() {
    let (mut channel, mut far) = raw();
    channel.set_timeout(Some(SOON));
    let [a, b, c, d] = FRAME_BYTES_MAX.to_le_bytes();
    say(&mut far, &[a, b, c, d, 38, 1, 2, 3]);
    assert!(channel.recv().is_err());
    assert!(channel.inbox.bytes.len() <= 2 * READ_BYTES, "{} bytes", channel.inbox.bytes.len());
}

#[test]
fn a_message_without_room_in_a_frame_is_not_sent() {
    let (mut left, mut right) = Channel::pair();
    let text = "x".repeat(70_000);
    let refuse = Message::Refuse(crate::transport::message::Refuse { code: Code::Busy, text });
    assert!(matches!(left.send(&refuse), Err(WireError::Unsayable { .. })));
    left.send(&Message::End).unwrap();
    assert_eq!(right.recv().unwrap(), Message::End);
}
