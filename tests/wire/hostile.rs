//! Bodies made by hand, byte by byte, by one who means ill.

use csync::transport::codec::message::{decode, encode};
use csync::transport::frame::{FRAME_BYTES_MAX, Header, Type};
use csync::transport::message::{Fetch, Item, Message};

fn head(major: u8, number: u64) -> Vec<u8> {
    let major = major << 5;
    match number {
        0..24 => vec![major | u8::try_from(number).unwrap()],
        24..256 => vec![major | 24, u8::try_from(number).unwrap()],
        256..65_536 => [&[major | 25][..], &u16::try_from(number).unwrap().to_be_bytes()].concat(),
        65_536..4_294_967_296 => [&[major | 26][..], &u32::try_from(number).unwrap().to_be_bytes()].concat(),
        _ => [&[major | 27][..], &number.to_be_bytes()].concat(),
    }
}

fn uint(number: u64) -> Vec<u8> {
    head(0, number)
}

fn bytes(bytes: &[u8]) -> Vec<u8> {
    [head(2, bytes.len().try_into().unwrap()), bytes.to_vec()].concat()
}

fn array(items: &[Vec<u8>]) -> Vec<u8> {
    [head(4, items.len().try_into().unwrap()), items.concat()].concat()
}

/// The packed form of a body, without compression.
pub(crate) fn unpacked(body: &[u8]) -> Vec<u8> {
    array(&[uint(body.len().try_into().unwrap()), vec![0xf4], bytes(body)])
}

fn path(text: &[u8]) -> Vec<u8> {
    array(&[uint(0), bytes(text)])
}

fn fetch(path: Vec<u8>) -> Vec<u8> {
    unpacked(&array(&[array(&[array(&[path, uint(1)])])]))
}

#[test]
fn paths_that_lead_elsewhere_are_refused() {
    assert!(decode(Type::Fetch, &fetch(path(b"a/b"))).is_ok());
    let long = vec![b'x'; 256];
    let wide = [vec![b'x'; 255], b"/".to_vec()].concat().repeat(17);
    let deep = b"x/".repeat(256);
    for (case, name) in [
        ("the root", &b""[..]),
        ("H24: above", b".."),
        ("H24: above, inside", b"a/../../b"),
        ("H25: absolute", b"/etc/passwd"),
        ("H26: empty component", b"a//b"),
        ("H26: trailing slash", b"a/"),
        ("H26: dot", b"a/."),
        ("H26: NUL", b"a\0b"),
        ("H27: a long name", &long),
        ("H27: a long path", &wide[..17 * 256 - 1]),
        ("H27: too deep", &[&deep[..], b"x"].concat()),
        ("H28: ours", b".csync"),
        ("H28: in ours", b".csync/marker"),
        ("H28: ours further down", b"a/.csync/marker"),
    ] {
        assert!(decode(Type::Fetch, &fetch(path(name))).is_err(), "{case}");
    }
    let beyond = array(&[uint(1), bytes(b"a")]);
    assert!(decode(Type::Fetch, &fetch(beyond)).is_err(), "shares with a path that is not there");
}

fn content(kind: u64, rest: &[Vec<u8>]) -> Vec<u8> {
    array(&[&[uint(kind)], rest].concat())
}

fn attributes(mode: u64, secs: Vec<u8>, nanos: u64) -> Vec<u8> {
    array(&[uint(mode), uint(0), uint(0), secs, uint(nanos)])
}

fn make(content: Vec<u8>, attributes: Vec<u8>, which: u64) -> Vec<u8> {
    let act = array(&[uint(0), content, attributes, uint(which)]);
    let steps = array(&[array(&[path(b"a"), uint(0), act])]);
    unpacked(&array(&[uint(0), steps, array(&[array(&[]), array(&[])]), uint(0), vec![0xf4]]))
}

#[test]
fn values_outside_of_their_ranges_are_refused() {
    let plain = || attributes(0o644, uint(0), 0);
    let digest = || bytes(&[7; 32]);
    assert!(decode(Type::Change, &make(content(0, &[]), plain(), 15)).is_ok());
    assert!(decode(Type::Change, &make(content(1, &[digest(), uint(1)]), plain(), 0)).is_ok());
    for (case, body) in [
        ("H40: size 2^63", make(content(1, &[digest(), uint(1 << 63)]), plain(), 0)),
        ("a short digest", make(content(1, &[bytes(&[7; 31]), uint(1)]), plain(), 0)),
        ("a long digest", make(content(1, &[bytes(&[7; 33]), uint(1)]), plain(), 0)),
        ("an unknown content", make(content(9, &[]), plain(), 0)),
        ("H43: a link to nothing", make(content(2, &[bytes(b"")]), plain(), 0)),
        ("H43: a link with NUL", make(content(2, &[bytes(b"a\0b")]), plain(), 0)),
        ("H43: a long link", make(content(2, &[bytes(&[b'x'; 4096])]), plain(), 0)),
        ("mode beyond 07777", make(content(0, &[]), attributes(0o10_000, uint(0), 0), 0)),
        ("H40: nanoseconds 10^9", make(content(0, &[]), attributes(0, uint(0), 1_000_000_000), 0)),
        ("H40: far future", make(content(0, &[]), attributes(0, uint(1 << 57), 0), 0)),
        ("H40: far past", make(content(0, &[]), attributes(0, head(1, 1 << 57), 0), 0)),
        ("an attribute of a later version", make(content(0, &[]), plain(), 16)),
    ] {
        assert!(decode(Type::Change, &body).is_err(), "{case}");
    }
}

/// A page of one row: a directory, set by dot (place 0, counter 1) of the only replica, with these losers.
fn page(replicas: &[u8], vector: Vec<u8>, dots: Vec<u8>, names: &[&[u8]]) -> Vec<u8> {
    let time = || array(&[uint(0), uint(0)]);
    let state = array(&[uint(0), dots, content(0, &[]), time(), uint(0), array(&[uint(0), uint(0)]), time()]);
    let row = array(&[vector, state]);
    let rows: Vec<Vec<u8>> = names.iter().map(|name| array(&[path(name), uint(1), row.clone()])).collect();
    unpacked(&array(&[bytes(replicas), array(&rows), array(&[array(&[]), array(&[])])]))
}

#[test]
fn vectors_and_counters_that_lie_are_refused() {
    let one = || array(&[uint(0), uint(1)]);
    let slots = |count: u64| array(&(0..count).flat_map(|_| [uint(0), uint(1)]).collect::<Vec<_>>());
    let two = [[1; 16], [2; 16]].concat();
    let null = || vec![0xf6];
    // A first path shares nothing, so these rows are told one by one.
    assert!(decode(Type::Page, &page(&[1; 16], null(), one(), &[b"a"])).is_ok());
    assert!(decode(Type::Page, &page(&two, slots(1), one(), &[b"a", b"b"])).is_ok());
    for (case, body) in [
        ("half an id", page(&[1; 15], null(), one(), &[b"a"])),
        ("a place that is none", page(&[], null(), one(), &[b"a"])),
        ("counter 0", page(&two, null(), array(&[uint(0), uint(0)]), &[b"a"])),
        ("H35: counter 2^64 - 1", page(&two, null(), array(&[uint(0), uint(u64::MAX)]), &[b"a"])),
        ("counter 2^62 + 1", page(&two, null(), array(&[uint(0), uint((1 << 62) + 1)]), &[b"a"])),
        ("half a dot", page(&two, null(), array(&[uint(0)]), &[b"a"])),
        ("no dot", page(&two, null(), array(&[]), &[b"a"])),
        ("two dots", page(&two, null(), slots(2), &[b"a"])),
        ("a slot twice", page(&two, slots(2), one(), &[b"a"])),
        ("slots out of order", page(&two, array(&[uint(1), uint(1), uint(0), uint(1)]), one(), &[b"a"])),
        ("H36: 1,025 slots", page(&two, slots(1025), one(), &[b"a"])),
        ("rows out of order", page(&two, null(), one(), &[b"b", b"a"])),
        ("H30: one row twice", page(&two, null(), one(), &[b"a", b"a"])),
    ] {
        assert!(decode(Type::Page, &body).is_err(), "{case}");
    }
}

#[test]
fn declared_counts_and_lengths_are_not_believed() {
    let many = |count: u64| [head(4, 1), head(4, count)].concat();
    for (case, kind, body) in [
        ("2^62 ids", Type::Whole, many(1 << 62)),
        ("1,025 ids", Type::Whole, array(&[array(&vec![uint(1); 1025])])),
        ("2^40 bytes", Type::Groups, [head(4, 1), head(2, 1 << 40)].concat()),
        ("H20: a nesting bomb", Type::Hello, [0x81].repeat(60_000)),
        ("H21: a number in too many bytes", Type::Outline, vec![0x81, 0x18, 1]),
        ("H23: a byte too many", Type::Outline, vec![0x81, 1, 0]),
        ("an open-ended list", Type::Whole, vec![0x81, 0x9f, 0xff]),
        ("a raw length beyond the cap", Type::Page, array(&[uint(1 << 40), vec![0xf5], bytes(b"x")])),
        ("another raw length", Type::Page, array(&[uint(9), vec![0xf4], bytes(b"x")])),
        ("no zstd frame", Type::Page, array(&[uint(100), vec![0xf5], bytes(b"no zstd frame")])),
        ("a block shorter than it says", Type::Block, array(&[uint(100), vec![0xf4], bytes(b"x")])),
        ("a block beyond the cap", Type::Block, array(&[uint((1 << 20) + 1), vec![0xf5], bytes(b"x")])),
        (
            "parts that overlap",
            Type::Parts,
            array(&[
                uint(0),
                array(&[(0, 10), (9, 1)].map(|(at, n)| array(&[uint(at), uint(n), bytes(b"")]))),
            ]),
        ),
        (
            "H52: a part beyond the end of everything",
            Type::Parts,
            array(&[uint(0), array(&[array(&[uint(i64::MAX.unsigned_abs()), uint(1), bytes(b"")])])]),
        ),
        ("groups that go back", Type::Expand, array(&[uint(0), array(&[uint(2), uint(1)])])),
    ] {
        assert!(decode(kind, &body).is_err(), "{case}");
    }
}

#[test]
fn a_bomb_is_not_blown_up() {
    // Thousandfold: a fetch of one path again and again, packed.
    let path = csync::model::path::RelPath::new(&b"abcdefghijklmnop/".repeat(240)[..4079]).unwrap();
    let fetch = |count: u64| {
        let items = (0..count).map(|seq| Item { path: path.clone(), seq }).collect();
        encode(&Message::Fetch(Fetch { items, plain: false }))
    };
    let (kind, body) = fetch(1024);
    assert!(body.len() < 20_000, "{} bytes", body.len());
    assert!(decode(kind, &body).is_err(), "4 MiB of paths are held in one message");
    let (kind, body) = fetch(256);
    assert!(decode(kind, &body).is_ok(), "shared beginnings are within bounds");
    // Says 2 MiB, which is allowed, and holds something else.
    let lie = array(&[uint(2 << 20), vec![0xf5], bytes(&body)]);
    assert!(decode(Type::Fetch, &lie).is_err());
}

#[test]
fn headers_are_refused_before_anything_is_allocated() {
    for (case, length, kind) in [
        ("H13: nothing", 0, 38),
        ("H14: 2^32 - 1", u32::MAX, 38),
        ("beyond every frame", FRAME_BYTES_MAX + 1, 38),
        ("beyond a hello", 1 << 17, 1),
        ("H17: type 0", 1, 0),
        ("H17: type 255", 1, 255),
    ] {
        let [a, b, c, d] = length.to_le_bytes();
        assert!(Header::parse([a, b, c, d, kind]).is_err(), "{case}");
    }
    assert!(Header::parse([1, 0, 0, 0, 41]).is_ok());
}
