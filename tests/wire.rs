//! The wire: what was said is understood, also by and of other versions, and what makes no sense is refused.

#[path = "wire/sample.rs"]
mod sample;

use csync::transport::codec::message::{decode, encode};
use fastrand::Rng;

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
            assert!(decode(kind, &body[..cut]).is_err(), "round {round}, {kind:?} cut at {cut}");
        }
        let longer = [&body[..], &[0]].concat();
        assert!(decode(kind, &longer).is_err(), "round {round}, {kind:?} and a byte more");
    }
}
