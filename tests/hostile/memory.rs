//! The most memory that one connection can make a server take, whatever it asks for and however little it takes.

use std::fs;

use csync::delta::piece::PIECE_BYTES_MAX;
use csync::delta::signature::Signature;
use csync::model::entry::Content;
use csync::model::path::RelPath;
use csync::transport::message::{Act, Block, Change, Fetch, Item, Message, Names, Part, Parts, Right, Step};
use quinn::{RecvStream, SendStream};

use crate::contents::{large, never_reads};
use crate::peer::{End, framed, soon};
use crate::world::{Visitor, World, file, link, make, noise, path};

/// Most memory that one connection may cost (I16).
const CONNECTION_KIB_MAX: u64 = 64 << 10;
/// Requests at once: more than are answered at once.
const REQUESTS: usize = 40;
/// As many of the longest paths as one message may spell out.
const PATHS: usize = 256;

/// What is played.
type Play = fn(&World) -> End;

const PLAYS: &[(&str, Play)] = &[
    ("contents that nobody takes", never_reads),
    ("differences that nobody takes", differences),
    ("requests of the longest paths", longest_requests),
    ("batches of the longest paths, the first of which never comes", longest_batches),
    ("contents that are half given", half_given),
    ("streams that say nothing but bytes", streams_of_bytes),
];

#[test]
fn one_connection_costs_no_more_than_64_mib() {
    let mut wrong = Vec::new();
    for (what, play) in PLAYS {
        let world = World::new();
        let idle = world.peak();
        play(&world);
        let cost = world.peak() - idle;
        println!("{what}: {cost} KiB above the {idle} KiB of a server at rest");
        if cost > CONNECTION_KIB_MAX {
            wrong.push(format!("{what}: {cost} KiB"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Asks on as many streams as there may be, as far as the server lets bytes come, and keeps the streams.
fn ask(visitor: &Visitor, request: impl Fn(usize) -> Vec<u8>) -> Vec<(SendStream, RecvStream)> {
    let mut held = Vec::new();
    for number in 0..REQUESTS {
        let Some(Ok((mut send, recv))) = soon(visitor.line.connection.open_bi()) else { break };
        soon(send.write_all(&request(number))).map(Result::ok);
        held.push((send, recv));
    }
    held
}

/// Others are served meanwhile, which also gives the server the time to do what it was asked for.
fn served(world: &World, held: &[(SendStream, RecvStream)]) -> End {
    for _ in 0..20 {
        assert!(world.serves(), "nobody else is served while {} requests are open", held.len());
    }
    End::Ignored
}

fn differences(world: &World) -> End {
    let size = 64 << 20;
    let bytes = noise(size, 3);
    fs::write(world.root().join("many-bytes"), &bytes).expect("a file");
    let mut visitor = world.visitor_of("data", Right::Read).expect("it is granted");
    let seq = visitor.seq("many-bytes");
    let signature = Signature::of(&noise(16 << 20, 4)).expect("the largest region").encode();
    let parts = (0..4).map(|at| Part {
        offset: at * PIECE_BYTES_MAX,
        length: PIECE_BYTES_MAX,
        signature: signature.clone(),
    });
    let request = [
        framed(&Message::Fetch(Fetch { items: vec![Item { path: path("many-bytes"), seq }], plain: false })),
        framed(&Message::Parts(Parts { id: 0, parts: parts.collect() })),
    ]
    .concat();
    let held = ask(&visitor, |_| request.clone());
    served(world, &held)
}

/// Returns the longest path with this number in it.
fn longest(number: usize) -> RelPath {
    let name = "n".repeat(255);
    let text = format!("{}/{number:0>255}", [name.as_str(); 15].join("/"));
    path(&text)
}

fn longest_requests(world: &World) -> End {
    let visitor = world.visitor_of("data", Right::Read).expect("it is granted");
    let items = (0..PATHS).map(|at| Item { path: longest(at), seq: 1 }).collect();
    let request = framed(&Message::Fetch(Fetch { items, plain: false }));
    let held = ask(&visitor, |_| request.clone());
    served(world, &held)
}

fn longest_batches(world: &World) -> End {
    let visitor = world.visitor();
    let step = |at: usize| {
        let mut step = Step { path: longest(at), ..make("x", Content::Dir) };
        if let Act::Make { from, .. } = &mut step.act {
            *from = Some(longest(at + 1));
        }
        step
    };
    let target = "t".repeat(4000);
    let linked = |at: usize| make(&format!("ok-{at}"), link(&target));
    // One path less than may be spelt out in two for each step, and links until the message is full.
    let steps: Vec<Step> = (0..PATHS / 2 - 2).map(step).chain((0..250).map(linked)).collect();
    let held = ask(&visitor, |at| framed(&Message::Change(batch(at + 1, steps.clone()))));
    served(world, &held)
}

fn half_given(world: &World) -> End {
    let visitor = world.visitor();
    let bytes = noise(3 << 20, 5);
    let block = Message::Block(Block { length: 1 << 20, packed: false, bytes: segment(&bytes) });
    let held = ask(&visitor, |at| {
        let step = make(&format!("ok-{at}"), file(&bytes));
        let block = framed(&block);
        // The last frame lacks its end.
        [framed(&Message::Change(batch(at, vec![step]))), block.clone(), block[..block.len() - 1].to_vec()]
            .concat()
    });
    served(world, &held)
}

/// The first block of a content: a whole segment without its last bytes.
fn segment(bytes: &[u8]) -> Vec<u8> {
    let length: u32 = 1 << 20;
    [&length.to_le_bytes()[..], &bytes[..(1 << 20) - 4]].concat()
}

fn batch(number: usize, steps: Vec<Step>) -> Change {
    let number = u64::try_from(number).expect("a few");
    Change { number, steps, names: Names::default(), deletes: 0, approved: false, whole: true }
}

fn streams_of_bytes(world: &World) -> End {
    let visitor = world.visitor();
    let seq = large(&visitor);
    let request =
        framed(&Message::Fetch(Fetch { items: vec![Item { path: path("large"), seq }], plain: false }));
    let bytes = [request, vec![0; 8 << 20]].concat();
    let held = ask(&visitor, |_| bytes.clone());
    served(world, &held)
}
