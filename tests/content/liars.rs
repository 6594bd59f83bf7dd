//! Givers and takers that break the rules: each ends in a typed error, and nothing is left in the stage.

use csync::delta::chunk::{CHUNK_WIRE_BYTES, MARK_BYTES};
use csync::delta::compress::Compressor;
use csync::delta::group::GROUP_WIRE_BYTES;
use csync::disk::stage::StageError;
use csync::engine::far::breach::Broken;
use csync::engine::far::take::TakeError;
use csync::transport::channel::Channel;
use csync::transport::message::{Absent, Block, Expand, Message, Part, Parts, Working};

use crate::ground::{Ground, noise};

const SIZE: usize = 3000;

/// Returns the name of what went wrong.
fn name(error: &TakeError) -> String {
    match error {
        TakeError::Void { .. } => "Void".to_owned(),
        TakeError::Stage(error) if matches!(**error, StageError::Mismatch { .. }) => "Mismatch".to_owned(),
        TakeError::Stage(error) => format!("{error:?}"),
        TakeError::Broken(broken) => name_of(broken),
    }
}

fn name_of(broken: &Broken) -> String {
    match broken {
        Broken::Breach { breach, .. } => format!("{breach:?}"),
        Broken::Wire(_) => "Wire".to_owned(),
        Broken::Compression(error) => format!("{error:?}"),
    }
}

fn block(bytes: &[u8]) -> Message {
    let length = u32::try_from(bytes.len()).expect("a block");
    Message::Block(Block { length, packed: false, bytes: bytes.to_vec() })
}

fn segment(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("a segment");
    [&length.to_le_bytes()[..], bytes].concat()
}

const END: [u8; 5] = [0; 5];

/// One file is needed, and `answers` come to the request for it.
fn lied_to(answers: &[Message]) -> Result<(), TakeError> {
    let mut ground = Ground::new();
    ground.offer("a", &noise(1, SIZE));
    let mut taken = ground.take_from(|channel| {
        channel.recv().expect("a request");
        // A taker that has heard enough hears no more.
        answers.iter().try_for_each(|answer| channel.send(answer)).ok();
    });
    let result = taken.pop().expect("one result").map(drop);
    assert!(ground.is_clear());
    result
}

#[test]
fn a_giver_of_whole_contents_that_lies_is_found_out() {
    let bytes = noise(1, SIZE);
    let whole = [segment(&bytes), END.to_vec()].concat();
    let bomb = {
        let mut frame = Vec::new();
        Compressor::new().expect("made").compress(&[0; 1 << 20], 3, &mut frame).expect("compressed");
        frame
    };
    let packed = |length, bytes: &[u8]| Message::Block(Block { length, packed: true, bytes: bytes.to_vec() });
    let absent = Message::Absent(Absent { id: 0, why: "so".to_owned() });
    let end = Message::BlocksEnd;
    let cases = vec![
        (
            "other bytes",
            vec![block(&[segment(&noise(2, SIZE)), END.to_vec()].concat()), end.clone()],
            "Mismatch",
        ),
        ("fewer bytes", vec![block(&[segment(&bytes[1..]), END.to_vec()].concat()), end.clone()], "Mismatch"),
        ("no bytes", vec![block(&END), end.clone()], "Mismatch"),
        ("void", vec![block(&[0, 0, 0, 0, 1]), end.clone()], "Void"),
        ("more bytes", vec![block(&segment(&noise(1, SIZE + 1))), end.clone()], "Oversize"),
        ("a byte more", vec![block(&[segment(&bytes), segment(b"x")].concat()), end.clone()], "Oversize"),
        ("a huge segment", vec![block(&[255; 9]), end.clone()], "Segment"),
        ("another status", vec![block(&[0, 0, 0, 0, 2]), end.clone()], "Status(2)"),
        ("an early end", vec![block(&whole[..2000]), end.clone()], "Short"),
        ("an end within a length", vec![block(&whole[..2]), end.clone()], "Short"),
        ("no block", vec![end.clone()], "Short"),
        ("another answer", vec![Message::Groups(Vec::new())], "Unexpected"),
        ("an answer for parts", vec![absent], "Unexpected"),
        ("a bomb", vec![packed(9, &bomb), end.clone()], "Packed"),
        ("less than a frame", vec![packed(9, &bomb[..9]), end.clone()], "Packed"),
        ("two frames", vec![packed(1 << 20, &[&bomb[..], &bomb].concat()), end.clone()], "Packed"),
        ("no frame", vec![packed(3, b"abc"), end], "Packed"),
        ("silence", vec![], "Wire"),
    ];
    let more = vec![block(&whole), block(b"x"), Message::BlocksEnd];
    assert!(
        lied_to(&more).is_ok(),
        "a content that agrees with its digest is one, whatever is said after it"
    );
    for (case, answers, expected) in cases {
        let error = lied_to(&answers).expect_err(case);
        assert!(name(&error).starts_with(expected), "{case}: {error:?}");
    }
}

#[test]
fn a_block_of_another_length_is_refused() {
    for (case, length, packed) in [
        ("nothing", 0, false),
        ("nothing, packed", 0, true),
        ("less than said", 5, false),
        ("a huge one", 2 << 20, true),
    ] {
        let bytes = if length == 5 { vec![1; 4] } else { Vec::new() };
        let error = lied_to(&[Message::Block(Block { length, packed, bytes })]).expect_err(case);
        assert!(matches!(error, TakeError::Broken(_)), "{case}: {error:?}");
    }
}

#[test]
fn an_endless_giver_is_cut_off() {
    let mut ground = Ground::new();
    ground.offer("a", &noise(1, SIZE));
    let mut sent = 0;
    let taken = ground.take_from(|channel| {
        channel.recv().expect("a request");
        let endless = segment(&[7; 1000]);
        while sent < 100_000 && channel.send(&block(&endless)).is_ok() {
            sent += 1;
        }
    });
    assert!(taken.iter().all(|one| one.as_ref().is_err_and(|error| name(error).starts_with("Oversize"))));
    drop(taken);
    assert!(sent < 1000, "{sent} blocks were taken by the way alone");
    assert!(ground.is_clear());
}

#[test]
fn what_came_before_a_lie_stays_and_what_follows_it_is_broken() {
    let mut ground = Ground::new();
    ["a", "b", "c"].iter().for_each(|name| ground.offer(name, &noise(1, SIZE)));
    let taken = ground.take_from(|channel| {
        assert_eq!(channel.recv().expect("a request"), Message::Whole(vec![0, 1, 2]));
        let whole = [segment(&noise(1, SIZE)), END.to_vec(), vec![0, 0, 0, 0, 9]].concat();
        channel.send(&block(&whole)).expect("sent");
    });
    assert!(taken[0].is_ok());
    assert!(taken[1..].iter().all(|one| one.as_ref().is_err_and(|error| name(error) == "Status(9)")));
}

/// One large file is needed where one that resembles it stands, and `tamper` has its hands in every answer.
fn lied_about(tamper: impl FnMut(Message) -> Vec<Message> + Send) -> Result<Vec<u8>, TakeError> {
    let mut ground = Ground::new();
    let (old, new) = resembling();
    ground.offer("a", &new);
    ground.stand_by("a", &old);
    let (mut taken, _) = ground.exchange_with(tamper);
    let result = taken.pop().expect("one result").map(|staged| ground.published(staged, "a"));
    assert!(ground.is_clear());
    result
}

fn resembling() -> (Vec<u8>, Vec<u8>) {
    let old = noise(3, 4 << 20);
    let mut new = old.clone();
    new[1 << 20..(1 << 20) + 700].copy_from_slice(&noise(4, 700));
    (old, new)
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 128 {
        bytes.push(u8::try_from(value % 128).expect("seven bits") | 128);
        value /= 128;
    }
    bytes.push(u8::try_from(value).expect("seven bits"));
    bytes
}

/// What a giver says in the place of the truth.
enum Lie {
    /// Other groups.
    Groups(fn(&mut Vec<u8>)),
    /// Other chunks.
    Chunks(fn(&mut Vec<u8>)),
    /// These operations.
    Operations(Vec<u8>),
    /// These messages in the place of groups.
    NoGroups(Vec<Message>),
    /// These messages in the place of a block.
    NoBlock(Vec<Message>),
    /// These messages in the place of the end of blocks.
    NoEnd(Vec<Message>),
}

impl Lie {
    fn tell(&self, truth: Message) -> Vec<Message> {
        let changed = |bytes: &Vec<u8>, change: &fn(&mut Vec<u8>)| {
            let mut bytes = bytes.clone();
            change(&mut bytes);
            bytes
        };
        if let (Self::Groups(change), Message::Groups(groups)) = (self, &truth) {
            vec![Message::Groups(changed(groups, change))]
        } else if let (Self::Chunks(change), Message::Chunks(chunks)) = (self, &truth) {
            vec![Message::Chunks(changed(chunks, change))]
        } else if let (Self::Operations(operations), Message::Block(_)) = (self, &truth) {
            vec![block(&segment(operations))]
        } else if let (Self::NoGroups(lie), Message::Groups(_))
        | (Self::NoBlock(lie), Message::Block(_))
        | (Self::NoEnd(lie), Message::BlocksEnd) = (self, &truth)
        {
            lie.clone()
        } else {
            vec![truth]
        }
    }
}

#[test]
fn a_giver_of_outlines_that_lies_is_found_out() {
    let absent = Message::Absent(Absent { id: 7, why: String::new() });
    let working = vec![Message::Working(Working { done: 1 }); 1000];
    for (case, lie, expected) in [
        (
            "a group less",
            Lie::Groups(|groups| groups.truncate(groups.len() - GROUP_WIRE_BYTES)),
            "Outline(Size",
        ),
        ("no groups", Lie::Groups(Vec::clear), "Outline(Size"),
        ("half a group", Lie::Groups(|groups| groups.truncate(groups.len() - 1)), "Outline(Ragged"),
        (
            "a group of a byte",
            Lie::Groups(|groups| groups[MARK_BYTES..GROUP_WIRE_BYTES].fill(0)),
            "Outline(Imp",
        ),
        ("other chunks", Lie::Chunks(|chunks| chunks[0] ^= 1), "Piece"),
        ("a chunk less", Lie::Chunks(|chunks| chunks.truncate(chunks.len() - CHUNK_WIRE_BYTES)), "Short"),
        ("a chunk more", Lie::Chunks(|chunks| chunks.extend([0; CHUNK_WIRE_BYTES])), "Long"),
        ("half a chunk", Lie::Chunks(|chunks| chunks.truncate(chunks.len() - 1)), "Chunks"),
        ("endless work", Lie::NoGroups(working), "Long"),
        ("another content", Lie::NoGroups(vec![absent]), "Id"),
        ("no outline", Lie::NoGroups(vec![Message::BlocksEnd]), "Unexpected"),
    ] {
        let error = lied_about(|truth| lie.tell(truth)).expect_err(case);
        assert!(name(&error).starts_with(expected), "{case}: {error:?}");
    }
}

#[test]
fn a_giver_of_differences_that_lies_is_found_out() {
    let far = [varint(2 * 1_000_000), varint(0)].concat();
    let before = [varint(2), varint(1)].concat();
    for (case, lie, expected) in [
        ("a copy past the basis", Lie::Operations(far), "Patch(Outside"),
        ("a copy from before the basis", Lie::Operations(before), "Patch(Outside"),
        ("a literal past the part", Lie::Operations(varint(1 << 40 | 1)), "Patch(Longer"),
        ("an operation of nothing", Lie::Operations(vec![0]), "Patch(Nothing"),
        ("an endless number", Lie::Operations(vec![255; 20]), "Patch(Number"),
        ("too few operations", Lie::Operations(vec![3, 7]), "Patch(Shorter"),
        ("no operations", Lie::Operations(Vec::new()), "Patch(Shorter"),
        ("an early end", Lie::NoBlock(vec![Message::BlocksEnd]), "Short"),
        ("a late end", Lie::NoEnd(vec![block(b"x"), Message::BlocksEnd]), "Long"),
        ("another answer", Lie::NoBlock(vec![Message::Groups(Vec::new())]), "Unexpected"),
    ] {
        let error = lied_about(|truth| lie.tell(truth)).expect_err(case);
        assert!(name(&error).starts_with(expected), "{case}: {error:?}");
    }
}

#[test]
fn what_comes_out_wrong_is_asked_for_whole_once() {
    let (_, new) = resembling();
    for (case, at) in [("groups", 0), ("chunks", 1), ("parts", 2)] {
        let mut answers = 0;
        let taken = lied_about(|message| {
            answers += 1;
            let is_end = matches!(message, Message::BlocksEnd | Message::Groups(_) | Message::Chunks(_));
            let absent = Message::Absent(Absent { id: 0, why: "it changed".to_owned() });
            if is_end && answers > at && answers <= at + 2 { vec![absent] } else { vec![message] }
        });
        assert!(taken.is_ok_and(|bytes| bytes == new), "absent {case}");
    }
    let flip = |mut message: Message| {
        if let Message::Block(block) = &mut message {
            // In the literal behind the length, or in the middle of a whole content.
            let at = block.bytes.len() / 2;
            block.bytes[at] ^= 1;
        }
        vec![message]
    };
    let mut ends = 0;
    let taken = lied_about(|message| {
        ends += u32::from(message == Message::BlocksEnd);
        if ends == 0 { flip(message) } else { vec![message] }
    });
    assert!(taken.is_ok_and(|bytes| bytes == new), "wrong parts, and then the whole");
    assert_eq!(ends, 2);
    let mut ends = 0;
    let error = lied_about(|message| {
        ends += u32::from(message == Message::BlocksEnd);
        flip(message)
    });
    assert_eq!(name(&error.expect_err("wrong for ever")), "Mismatch");
    assert_eq!(ends, 2, "the parts and the whole, and nothing after that");
}

/// Says `requests` to a giver of one file, and returns the last answer and how the giver ended.
fn asked(requests: Vec<Message>) -> (Option<Message>, Result<Message, Broken>) {
    let mut ground = Ground::new();
    ground.offer("a", &noise(5, 1 << 20));
    let (answer, given) = ground.give_to(|channel: &mut Channel| {
        let mut last = None;
        for request in requests {
            if channel.send(&request).is_err() {
                return last;
            }
            loop {
                match channel.recv() {
                    Ok(Message::Block(_)) => {}
                    Ok(answer) => break last = Some(answer),
                    Err(_) => return last,
                }
            }
        }
        channel.send(&Message::End).ok();
        channel.finish().ok();
        channel.wait().ok();
        last
    });
    (answer, given.map(|given| given.end))
}

#[test]
fn a_taker_that_asks_too_much_is_found_out() {
    let outline = Message::Outline(0);
    let expand = |groups: Vec<u32>| Message::Expand(Expand { id: 0, groups });
    let part = |offset, length, signature: &[u8]| {
        let parts = vec![Part { offset, length, signature: signature.to_vec() }];
        Message::Parts(Parts { id: 0, parts })
    };
    let twice = {
        let part = Part { offset: 5, length: 5, signature: Vec::new() };
        Message::Parts(Parts { id: 0, parts: vec![part.clone(), part] })
    };
    let cases = vec![
        ("no contents", vec![Message::Whole(Vec::new())], "Count"),
        ("no parts", vec![Message::Parts(Parts { id: 0, parts: Vec::new() })], "Count"),
        ("no groups", vec![outline.clone(), expand(Vec::new())], "Count"),
        ("a group that is not there", vec![outline.clone(), expand(vec![0, 90])], "Group { group: 90"),
        ("very many groups", vec![outline.clone(), expand((0..60_000).collect())], "Group"),
        ("a million groups", vec![outline, expand((0..1_000_000).collect())], "Wire"),
        ("groups before the outline", vec![expand(vec![0])], "Unexpected"),
        ("2,000 contents", vec![Message::Whole((0..2000).collect())], "Wire"),
        ("a part beyond the end", vec![part((1 << 20) - 9, 10, b"")], "Range"),
        ("a part far beyond the end", vec![part(1 << 62, 1 << 22, b"")], "Range"),
        ("a part too long for one", vec![part(0, 1 << 40, b"")], "Range"),
        ("a part twice", vec![twice], "Wire"),
        ("no signature", vec![part(0, 9, b"abc")], "Signature(Short"),
        ("a signature of a huge region", vec![part(0, 9, &[255; 12])], "Signature(Length"),
        ("a signature without its blocks", vec![part(0, 9, &[0, 0, 1, 0, 7])], "Signature(Blocks"),
    ];
    for (case, requests, expected) in cases {
        let (_, given) = asked(requests);
        let error = given.expect_err(case);
        assert!(name_of(&error).starts_with(expected), "{case}: {error:?}");
    }
}

#[test]
fn what_is_not_there_is_absent_and_the_conversation_goes_on() {
    let nothing = Part { offset: 0, length: 1, signature: Vec::new() };
    for (case, request) in
        [("outline", Message::Outline(9)), ("parts", Message::Parts(Parts { id: 9, parts: vec![nothing] }))]
    {
        let (answer, given) = asked(vec![request]);
        assert!(matches!(answer, Some(Message::Absent(Absent { id: 9, .. }))), "{case}: {answer:?}");
        assert_eq!(given.ok(), Some(Message::End), "{case}");
    }
    let (answer, given) = asked(vec![Message::Whole(vec![u32::MAX, 0, 7])]);
    assert_eq!((answer, given.ok()), (Some(Message::BlocksEnd), Some(Message::End)));
}

#[test]
fn another_message_ends_the_giving_and_is_handed_back() {
    let ground = Ground::new();
    let ((), given) = ground.give_to(|channel| {
        channel.send(&Message::Settle).expect("sent");
        channel.wait().ok();
    });
    assert_eq!(given.map(|given| given.end).ok(), Some(Message::Settle));
    let ((), given) = ground.give_to(|_| ());
    assert!(matches!(given, Err(Broken::Wire(_))), "a taker that goes without a word");
}
