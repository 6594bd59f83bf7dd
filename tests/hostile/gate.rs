//! Before anything is asked for: connections, handshakes, frames.

use std::net::UdpSocket;

use csync::transport::message::{Code, Hello, List, Message, Open, Right};
use quinn::VarInt;

use crate::peer::{End, Key, Line, Stream, call, calling, dial, forged, framed, number_item, raw, wait};
use crate::world::{PROTOCOL, World, greeted, noise, path};
use crate::{Case, Expected};

/// Types of frames.
const HELLO: u8 = 1;

pub(crate) const CASES: &[Case] = &[
    Case("H1", "no certificate", Expected::One(End::Shut), no_certificate),
    Case("H2", "a key that is not pinned", Expected::One(End::Closed(Code::Denied)), stranger),
    Case("H3", "a pinned key without its private half", Expected::One(End::Shut), stolen),
    Case("H4", "another protocol in the handshake", Expected::One(End::Shut), other_protocol),
    Case("H5", "data in the first flight, to be replayed", Expected::One(End::Ignored), early_data),
    Case("H6", "10,000 spoofed first packets", Expected::One(End::Ignored), spoofed),
    Case("H7", "500 callers that say nothing", Expected::One(End::Closed(Code::Timeout)), stalled),
    Case("H7b", "300 connections of one key", Expected::One(End::Closed(Code::Busy)), crowd),
    Case("H8", "streams beyond the limit, a storm of resets", Expected::One(End::Ignored), streams),
    Case("H10", "datagrams, streams of one direction, garbage", Expected::One(End::Ignored), garbage),
    Case("H13", "a frame of length 0", Expected::One(PROTOCOL), |world| greeting(world, &[0; 5])),
    Case("H14", "a frame of 2^32-1 bytes", Expected::One(PROTOCOL), |world| {
        greeting(world, &[255, 255, 255, 255, HELLO])
    }),
    Case("H14b", "a hello of 1 MiB", Expected::One(PROTOCOL), |world| greeting(world, &[0, 0, 16, 0, HELLO])),
    Case("H15", "a length beyond what comes", Expected::One(PROTOCOL), cut_short),
    Case("H16", "a hello of one byte a second", Expected::One(End::Closed(Code::Timeout)), dripping),
    Case("H17", "an unknown type", Expected::One(PROTOCOL), |world| greeting(world, &raw(99, b"\x80"))),
    Case("H17b", "an unknown type after the hello", Expected::One(PROTOCOL), |world| {
        greeted_then(world, &raw(0, b"\x80"))
    }),
    Case("H18", "a wish before the hello", Expected::One(PROTOCOL), |world| {
        greeting(world, &framed(&open()))
    }),
    Case("H18b", "a list before a folder is open", Expected::One(PROTOCOL), |world| {
        greeted_then(world, &framed(&list()))
    }),
    Case("H19", "cut at every byte", Expected::One(End::Ignored), cut_at_every_byte),
    Case("H20", "50,000 arrays in each other", Expected::One(PROTOCOL), nested),
    Case("H21", "a number longer than it need be", Expected::One(PROTOCOL), longer_number),
    Case("H22", "a second hello", Expected::One(PROTOCOL), |world| greeted_then(world, &framed(&hello()))),
    Case("H22b", "a second wish", Expected::One(PROTOCOL), |world| {
        let mut visitor = world.visitor();
        visitor.control.send(&open());
        visitor.line.end()
    }),
    Case("H23", "bytes after the message", Expected::One(PROTOCOL), |world| {
        let body = [framed(&hello()).split_off(5), vec![0]].concat();
        greeting(world, &raw(HELLO, &body))
    }),
    Case("H38", "a folder that is another's", Expected::One(End::Refused(Code::Denied)), |world| {
        refusal(world, "private", Right::Read)
    }),
    Case("H38b", "a folder that leads elsewhere", Expected::One(End::Refused(Code::Denied)), |world| {
        refusal(world, "../outside", Right::Read)
    }),
    Case(
        "H39",
        "writing where only reading is granted",
        Expected::One(End::Refused(Code::Denied)),
        |world| refusal(world, "shown", Right::Write),
    ),
];

fn hello() -> Message {
    Message::Hello(Hello { versions: vec![1], agent: "evil".to_owned() })
}

fn open() -> Message {
    Message::Open(Open { folder: "data".to_owned(), right: Right::Read })
}

fn list() -> Message {
    Message::List(List { since: 0, below: path(""), after: None })
}

fn refusal(world: &World, folder: &str, right: Right) -> End {
    world.visitor_of(folder, right).map_or_else(|end| end, |_| End::Done)
}

fn met(called: Result<Line, quinn::ConnectionError>) -> End {
    match called {
        Err(_) => End::Shut,
        // The other side decides after the handshake is over on this one.
        Ok(line) => line.end(),
    }
}

/// Says `bytes` first of all.
fn greeting(world: &World, bytes: &[u8]) -> End {
    let line = world.call();
    line.stream().say(bytes);
    line.end()
}

fn greeted_then(world: &World, bytes: &[u8]) -> End {
    let (line, mut control) = world.greeted();
    control.say(bytes);
    line.end()
}

fn no_certificate(world: &World) -> End {
    met(dial(world.address(), calling(None, b"csync/1")))
}

fn stranger(world: &World) -> End {
    met(call(world.address(), &Key::new()))
}

fn stolen(world: &World) -> End {
    met(call(world.address(), &Key::new().showing(&world.evil)))
}

fn other_protocol(world: &World) -> End {
    let ends = [b"h3".as_slice(), b"csync/9"]
        .map(|name| met(dial(world.address(), calling(Some(&world.evil), name))));
    if ends == [End::Shut; 2] { End::Shut } else { End::Done }
}

/// A second connection with what the first was told: there is no ticket, so there is no early data.
fn early_data(world: &World) -> End {
    let config = calling(Some(&world.evil), b"csync/1");
    let first = dial(world.address(), config.clone()).expect("the key is known");
    let spoken = greeted(first);
    assert!(spoken.is_some());
    drop(spoken);
    if crate::peer::early(world.address(), config) { End::Done } else { End::Ignored }
}

/// First packets of connections that nobody wants, as they look from outside.
fn spoofed(world: &World) -> End {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_nonblocking(true).expect("no waiting");
    let (mut sent, mut received, mut buffer) = (0, 0, [0; 2048]);
    for at in 0..10_000u64 {
        let mut packet = noise(1200, at);
        // A long header, version 1, with two connection ids of 8 bytes, no token, and the rest as its payload.
        packet[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]);
        packet[14] = 8;
        packet[23..26].copy_from_slice(&[0, 0x44, 0x86]);
        sent += socket.send_to(&packet, world.address()).unwrap_or(0);
        while let Ok(count) = socket.recv(&mut buffer) {
            received += count;
        }
    }
    assert!(received <= 3 * sent, "{received} bytes back for {sent}");
    End::Ignored
}

fn stalled(world: &World) -> End {
    let lines: Vec<_> = (0..500).map_while(|_| call(world.address(), &world.evil).ok()).collect();
    let first = lines.first().expect("one at least").end();
    assert!(world.serves(), "nobody else comes in");
    first
}

/// One key may not have all the connections that there are.
fn crowd(world: &World) -> End {
    let mut lines = Vec::new();
    for _ in 0..300 {
        let Ok(line) = call(world.address(), &world.evil) else { break };
        match greeted_or_not(line) {
            Ok(met) => lines.push(met),
            Err(end) => {
                assert!(world.serves(), "nobody else comes in after {} of them", lines.len());
                return end;
            }
        }
    }
    assert!(world.serves(), "nobody else comes in after {} of them", lines.len());
    End::Done
}

fn greeted_or_not(line: Line) -> Result<(Line, Stream), End> {
    let Some(Ok((send, recv))) = wait(line.connection.open_bi()) else { return Err(line.end()) };
    let mut control = Stream { send, recv };
    control.send(&hello());
    match control.hear() {
        Some(Message::Welcome(_)) => Ok((line, control)),
        _ => Err(line.end()),
    }
}

fn streams(world: &World) -> End {
    let visitor = world.visitor();
    let mut held = Vec::new();
    for _ in 0..63 {
        let mut stream = visitor.line.stream();
        stream.say(&[1]);
        held.push(stream);
    }
    let further = crate::peer::soon(visitor.line.connection.open_bi());
    assert!(further.is_none(), "more streams than the limit");
    for stream in &mut held {
        stream.send.reset(VarInt::from_u32(7)).ok();
    }
    drop(held);
    for _ in 0..5_000 {
        let Some(Ok((mut send, mut recv))) = wait(visitor.line.connection.open_bi()) else { break };
        wait(send.write_all(&[0])).map(Result::ok);
        send.reset(VarInt::from_u32(7)).ok();
        recv.stop(VarInt::from_u32(7)).ok();
    }
    assert!(world.serves());
    End::Ignored
}

fn garbage(world: &World) -> End {
    let visitor = world.visitor();
    assert!(
        visitor.line.connection.send_datagram(b"garbage".to_vec().into()).is_err(),
        "datagrams are taken"
    );
    assert!(
        crate::peer::soon(visitor.line.connection.open_uni()).is_none(),
        "streams of one direction are taken"
    );
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for at in 0..5_000u64 {
        let length = usize::try_from(at % 1400).expect("short");
        socket.send_to(&noise(length, at), world.address()).ok();
    }
    End::Ignored
}

fn cut_short(world: &World) -> End {
    let line = world.call();
    let mut control = line.stream();
    control.say(&[100, 0, 0, 0, HELLO, 0x82]);
    control.finish();
    line.end()
}

fn dripping(world: &World) -> End {
    let line = world.call();
    let mut control = line.stream();
    let frame = framed(&hello());
    let mut drops = frame.iter();
    loop {
        if let Some(byte) = drops.next() {
            control.say(&[*byte]);
        }
        if crate::peer::within_a_second(line.connection.closed()).is_some() {
            return line.end();
        }
    }
}

/// A whole conversation, cut at each of its bytes, by an end of the stream and by an end of the connection.
fn cut_at_every_byte(world: &World) -> End {
    let talk = [framed(&hello()), framed(&open())].concat();
    for at in 0..talk.len() {
        let line = world.call();
        let mut control = line.stream();
        control.say(&talk[..at]);
        if at % 2 == 0 {
            control.finish();
        } else {
            line.close();
        }
    }
    let visitor = world.visitor();
    let request = framed(&list());
    for at in 0..request.len() {
        let mut stream = visitor.line.stream();
        stream.say(&request[..at]);
        stream.send.reset(VarInt::from_u32(0)).ok();
    }
    End::Ignored
}

fn nested(world: &World) -> End {
    let deep = [&[0x83, 0x81, 0x01, 0x60][..], &[0x81; 50_000]].concat();
    greeting(world, &raw(HELLO, &deep))
}

fn longer_number(world: &World) -> End {
    let old = [&[0x81][..], &number_item(1)].concat();
    greeting(world, &forged(&hello(), &old, &[0x81, 0x1b, 0, 0, 0, 0, 0, 0, 0, 1]))
}
