//! The wire: what was said is understood, also by and of other versions, and what makes no sense is refused.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a helper of a test may stop the test"
)]

#[path = "wire/hostile.rs"]
mod hostile;
#[path = "wire/sample.rs"]
mod sample;

use std::collections::BTreeMap;
use std::path::PathBuf;

use csync::transport::codec::message::{decode, encode};
use csync::transport::frame::{FRAME_BYTES_MAX, Header, Type};
use csync::transport::message::{Bound, Fetch, Guard, Message, Opened, Outcome, Page, Unread};
use csync::transport::weight;
use fastrand::Rng;

/// Bytes of a header.
const HEADER: usize = 5;

#[test]
fn what_was_said_is_what_is_heard() {
    let mut rng = Rng::with_seed(1);
    for round in 0..4000 {
        let message = sample::random(&mut rng, round % sample::KINDS);
        let (kind, body) = encode(&message);
        assert_eq!(decode(kind, &body).as_ref(), Ok(&message), "round {round}, {kind:?}");
    }
}

#[test]
fn a_message_cut_anywhere_is_refused() {
    let mut rng = Rng::with_seed(2);
    for round in 0..4 * sample::KINDS {
        let (kind, body) = encode(&sample::random(&mut rng, round % sample::KINDS));
        for cut in 0..body.len() {
            assert!(decode(kind, &body[..cut]).is_err(), "H19: round {round}, {kind:?} cut at {cut}");
        }
        let longer = [&body[..], &[0]].concat();
        assert!(decode(kind, &longer).is_err(), "H23: round {round}, {kind:?} and a byte more");
    }
}

#[test]
fn noise_is_refused_or_understood_and_nothing_else_happens() {
    let mut rng = Rng::with_seed(3);
    for round in 0..20_000 {
        let (kind, mut body) = encode(&sample::random(&mut rng, round % sample::KINDS));
        if round % 2 == 0 {
            body = (0..rng.usize(0..200)).map(|_| rng.u8(..)).collect();
        } else if !body.is_empty() {
            let at = rng.usize(0..body.len());
            body[at] = rng.u8(..);
        }
        if let Ok(message) = decode(kind, &body) {
            let (again, body) = encode(&message);
            assert_eq!(decode(again, &body), Ok(message), "round {round}");
        }
    }
}

#[test]
fn nothing_becomes_larger_than_its_weight() {
    let mut rng = Rng::with_seed(4);
    for round in 0..2000 {
        let message = sample::random(&mut rng, [11, 12, 13, 14][round % 4]);
        let weight: usize = match &message {
            Message::Page(Page { rows, names, .. }) => {
                rows.iter().map(weight::of_listed).sum::<usize>() + weight::of_names(names)
            }
            Message::Fetch(Fetch { items, .. }) => items.iter().map(weight::of_item).sum(),
            Message::Change(change) => {
                change.steps.iter().map(weight::of_step).sum::<usize>() + weight::of_names(&change.names)
            }
            Message::Outcome(Outcome { results, .. }) => results.iter().map(weight::of_result).sum(),
            other => panic!("{other:?}"),
        };
        let (kind, body) = encode(&message);
        assert!(body.len() <= weight + 64, "round {round}, {kind:?}: {} bytes, {weight} weight", body.len());
    }
    assert!(weight::MESSAGE_BYTES < usize::try_from(FRAME_BYTES_MAX).unwrap() / 2);
}

fn stored() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/wire")
}

fn frame(message: &Message) -> Vec<u8> {
    let (kind, body) = encode(message);
    [&Header::build(kind, body.len()).unwrap()[..], &body].concat()
}

fn read(name: &str, frame: &[u8]) -> Message {
    let (header, body) = frame.split_first_chunk::<HEADER>().unwrap();
    let header = Header::parse(*header).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(header.body, body.len(), "{name}");
    decode(header.kind, body).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Frames of the first release. They are never made anew: a peer of that release still sends them.
/// `CSYNC_BLESS=1` writes those that are missing, such as of a new message.
#[test]
fn frames_of_the_first_release_are_still_understood() {
    let mut rng = Rng::with_seed(5);
    let mut expected = BTreeMap::new();
    for kind in 0..sample::KINDS {
        for number in 0..2 {
            let mut message = sample::random(&mut rng, kind);
            if let Message::News(news) = &mut message {
                // Appended since.
                news.approved.clear();
            }
            let name = format!("{kind:02}-{:?}-{number}.bin", encode(&message).0);
            expected.insert(name, message);
        }
    }
    let bless = option_env!("CSYNC_BLESS").is_some();
    for (name, message) in &expected {
        let path = stored().join(name);
        if bless && !path.exists() {
            std::fs::write(&path, frame(message)).unwrap();
        }
        let frame = std::fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(read(name, &frame), *message, "{name}");
    }
    let there = std::fs::read_dir(stored()).unwrap().count();
    assert_eq!(there, expected.len(), "files that nobody reads");
}

/// What a later version says: every field of the outermost array, and one more.
#[test]
fn a_field_of_a_later_version_is_skipped() {
    let mut rng = Rng::with_seed(6);
    for kind in 0..sample::KINDS {
        let message = sample::random(&mut rng, kind);
        let (kind, mut body) = encode(&message);
        assert!((0x80..0x97).contains(&body[0]), "{kind:?} is a short array");
        body[0] += 1;
        body.extend_from_slice(&[0x82, 0x01, 0xa1, 0x61, b'x', 0xf6]);
        assert_eq!(decode(kind, &body), Ok(message), "{kind:?}");
    }
}

#[test]
fn a_field_that_may_be_missing_may_be_missing() {
    // List [since, below] without `after`; Remove without `moved_to`; a page without `complete`.
    let list = decode(Type::List, &[0x82, 0x07, 0x82, 0x00, 0x40]).unwrap();
    assert!(matches!(list, Message::List(list) if list.since == 7 && list.after.is_none()));
    let page = hostile::unpacked(&[0x83, 0x40, 0x80, 0x82, 0x80, 0x80]);
    let page = decode(Type::Page, &page).unwrap();
    assert!(matches!(page, Message::Page(page) if page.complete.is_none() && page.rows.is_empty()));
    assert!(decode(Type::List, &[0x81, 0x07]).is_err(), "a field that every version has");
}

#[test]
fn a_folder_that_gives_its_own_owners_says_so_and_an_older_peer_is_taken_at_its_silence() {
    let told = Message::Opened(Opened {
        replica: csync::model::version::ReplicaId([7; 16]),
        seq: 1,
        entries: 2,
        bytes: 3,
        root: csync::model::metadata::Attributes::default(),
        trusted: true,
        owners: false,
        guard: None,
        unread: None,
    });
    let (kind, body) = encode(&told);
    assert_eq!(decode(kind, &body), Ok(told));
}

#[test]
fn a_folder_tells_its_guard_and_what_it_cannot_read() {
    let mut rng = Rng::with_seed(9);
    let Message::Opened(plain) = sample::random(&mut rng, 7) else { panic!("another message") };
    let first = csync::model::path::RelPath::new(b"a/b").unwrap();
    for bound in [Bound::Formula, Bound::Count(u64::MAX), Bound::Percent(25)] {
        let (guard, unread) = (Guard { bound, recent: 3 }, Unread { count: 2, first: first.clone() });
        let told = Message::Opened(Opened { guard: Some(guard), unread: Some(unread), ..plain.clone() });
        let (kind, body) = encode(&told);
        assert_eq!(decode(kind, &body), Ok(told));
    }
}
