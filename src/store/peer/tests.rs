use super::*;
use crate::store::sample::database;

#[test]
fn the_others_are_forgotten() {
    let (_dir, db) = database();
    let peers = Peers::of(&db);
    let [one, two] =
        [1, 2].map(|n| Peer { replica: ReplicaId([n; 16]), cursor: n.into(), nonce: Some([n; 16]) });
    peers.put(&one).unwrap();
    peers.put(&Peer { cursor: 9, nonce: None, ..one }).unwrap();
    peers.put(&two).unwrap();
    assert_eq!(peers.get(one.replica).unwrap(), Some(Peer { cursor: 9, nonce: None, ..one }));
    peers.forget_others(two.replica).unwrap();
    assert_eq!(peers.get(one.replica).unwrap(), None);
    assert_eq!(peers.get(two.replica).unwrap(), Some(two));
}
