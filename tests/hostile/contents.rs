//! What a guest does with contents: asks for what is not there, gives what is not so, takes nothing of what it asked for.

use csync::delta::chunk::{chunks_of, encode_chunks};
use csync::delta::inventory::Inventory;
use csync::delta::signature::Signature;
use csync::disk::clock::monotonic;
use csync::model::entry::{Content, Digest};
use csync::transport::message::{Block, Code, Fetch, Item, List, Message, Part, Parts, Right, Step};

use crate::peer::{DEADLINE, End, framed, soon, wait};
use crate::world::{LARGE, LARGE_BYTES, Visitor, World, blocks, file, make, noise, path, same};

pub(crate) fn void(visitor: &Visitor, at: &str, seq: u64) -> Option<u8> {
    void_of(visitor, vec![Item { path: path(at), seq }], 0)
}

/// Returns the status byte of a content of which not one byte is given.
pub(crate) fn void_of(visitor: &Visitor, items: Vec<Item>, id: u32) -> Option<u8> {
    let mut stream = visitor.line.stream();
    stream.send(&Message::Fetch(Fetch { items, plain: false }));
    stream.send(&Message::Whole(vec![id]));
    let block = stream.answer();
    stream.send(&Message::End);
    match block {
        Some(Message::Block(Block { bytes, .. })) if bytes.len() == 5 && bytes[..4] == [0; 4] => {
            bytes.last().copied()
        }
        other => panic!("{other:?}"),
    }
}

/// Asks for ranges of the large file.
pub(crate) fn parts(visitor: &Visitor, ranges: &[(u64, u64)], signature: &[u8]) -> End {
    let seq = large(visitor);
    let mut stream = visitor.line.stream();
    stream.send(&Message::Fetch(Fetch { items: vec![Item { path: path(LARGE), seq }], plain: false }));
    let part = |&(offset, length)| Part { offset, length, signature: signature.to_vec() };
    stream.send(&Message::Parts(Parts { id: 0, parts: ranges.iter().map(part).collect() }));
    loop {
        match stream.answer() {
            Some(Message::Block(_)) => {}
            Some(Message::BlocksEnd) => return End::Done,
            Some(Message::Absent(_)) => return End::Ignored,
            Some(Message::Refuse(refuse)) => return End::Refused(refuse.code),
            Some(other) => panic!("{other:?}"),
            None => return visitor.line.end(),
        }
    }
}

pub(crate) fn large(visitor: &Visitor) -> u64 {
    let mut stream = visitor.line.stream();
    stream.send(&Message::List(List { since: 0, below: path(LARGE), after: None }));
    let Some(Message::Page(page)) = stream.answer() else { panic!("no page") };
    page.rows[0].seq
}

/// As many blocks with one and the same pair of sums as a region may have, against all parts that one request may have.
pub(crate) fn equal_sums(world: &World) -> End {
    let sums = Signature::of(&vec![0; 16 << 20]).expect("the largest region").encode();
    let visitor = world.visitor_of("data", Right::Read).expect("it is granted");
    let begun = monotonic();
    let size = u64::try_from(LARGE_BYTES).expect("64 bits");
    let ends = [0; 3].map(|_| parts(&visitor, &[(0, size)], &sums));
    assert!(begun.elapsed() < DEADLINE / 2, "{:?}", begun.elapsed());
    same(&ends)
}

pub(crate) fn bomb(world: &World, length: u32, frame: &[u8]) -> End {
    let block = Message::Block(Block { length, packed: true, bytes: frame.to_vec() });
    let size = u64::from(length);
    let step = make("ok-x", Content::File { digest: Digest([1; 32]), size });
    world.visitor().step(step, &|_| vec![framed(&block)])
}

/// A frame of zstd with 800 MiB in blocks of one repeated byte (RFC 8878, 3.1.1.2: three bytes of header, of which the
/// lowest bit says last, the next two RLE, the rest the length), and no word of its size.
pub(crate) fn bomb_frame() -> Vec<u8> {
    const BLOCK_BYTES: u32 = 128 << 10;
    let header = (BLOCK_BYTES << 3 | 0b010).to_le_bytes();
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x68];
    for _ in 0..(800 << 20) / BLOCK_BYTES {
        frame.extend([header[0], header[1], header[2], 0]);
    }
    let last = (8u32 << 3 | 0b011).to_le_bytes();
    frame.extend([last[0], last[1], last[2], 0]);
    frame
}

/// Offers a new content for the large file, which is then asked for as a difference, and answers with `operations`.
pub(crate) fn difference(world: &World, operations: &[&[u8]]) -> End {
    let mut ends = Vec::new();
    for operations in operations {
        let mut visitor = world.visitor();
        let mut new = noise(LARGE_BYTES, 1);
        new[100_000..140_000].copy_from_slice(&noise(40_000, 2));
        let expect = visitor.seq(LARGE);
        let step = Step { expect, ..make(LARGE, file(&new)) };
        let made = Inventory::of(chunks_of(&new));
        let asked_for_parts = std::cell::Cell::new(false);
        let end = visitor.step(step, &|asked| match asked {
            Message::Outline(_) => vec![framed(&Message::Groups(made.outline().encode()))],
            Message::Expand(expand) => {
                let mut list = Vec::new();
                for group in &expand.groups {
                    let at = usize::try_from(*group).expect("32 bits");
                    encode_chunks(made.expand(at).expect("a group"), &mut list);
                }
                vec![framed(&Message::Chunks(list))]
            }
            Message::Parts(_) => {
                asked_for_parts.set(true);
                let length = u32::try_from(operations.len()).expect("a few").to_le_bytes();
                blocks(&[&length[..], operations].concat())
            }
            // Asked for the whole after all: a no.
            _ => blocks(&[0, 0, 0, 0, 1]),
        });
        assert!(asked_for_parts.get(), "it was not asked for a difference");
        ends.push(end);
    }
    assert!(ends.iter().all(|end| matches!(end, End::Closed(Code::Protocol) | End::Refused(_))), "{ends:?}");
    ends[0]
}

/// Asks for everything in every way, and takes no byte of the answers.
pub(crate) fn never_reads(world: &World) -> End {
    let visitor = world.visitor();
    let seq = large(&visitor);
    let items = vec![Item { path: path(LARGE), seq }; 1024];
    let mut held = Vec::new();
    for _ in 0..40 {
        let Some(Ok((mut send, recv))) = soon(visitor.line.connection.open_bi()) else { break };
        let request = [
            framed(&Message::Fetch(Fetch { items: items.clone(), plain: false })),
            framed(&Message::Whole((0..1024).collect())),
        ];
        wait(send.write_all(&request.concat())).map(Result::ok);
        held.push((send, recv));
    }
    for _ in 0..20 {
        assert!(world.serves(), "nobody else is served while {} requests are not read", held.len());
    }
    End::Ignored
}
