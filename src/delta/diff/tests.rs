use super::*;

const MIB: usize = 1024 * 1024;

fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(13).fill(&mut bytes);
    bytes
}

fn operations(region: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    diff(&Signature::of(region).unwrap(), bytes, &mut out);
    out
}

/// A signature with these weak sums, no two strong sums the same.
fn forged(weak: impl Iterator<Item = u32>) -> Signature {
    let blocks: Vec<u8> = weak
        .zip(0_u32..)
        .flat_map(|(weak, number)| [&weak.to_le_bytes()[..], &number.to_le_bytes()[..3]].concat())
        .collect();
    let length = u32::try_from(blocks.len() / 7 * BLOCK_BYTES).unwrap();
    Signature::decode(&[&length.to_le_bytes()[..], &blocks].concat()).unwrap()
}

#[test]
fn old_blocks_are_copied_and_adjoining_copies_are_one() {
    let region = noise(10 * 512 + 100);
    for (case, bytes, expected) in [
        ("the same", region.clone(), vec![22, 0]),
        ("without its end", region[..5_120].to_vec(), vec![20, 0]),
        ("a block dropped", [&region[..512], &region[1_024..]].concat(), vec![2, 0, 18, 2]),
        ("swapped", [&region[512..1_024], &region[..512]].concat(), vec![2, 2, 2, 3]),
        ("two bytes in front", [&[8, 9], &region[..]].concat(), vec![5, 8, 9, 22, 0]),
        ("two bytes behind", [&region[..5_120], &[8, 9]].concat(), vec![20, 0, 5, 8, 9]),
        ("nothing", vec![], vec![]),
        ("too little", vec![1, 2], vec![5, 1, 2]),
        ("its end alone", region[5_120..].to_vec(), vec![2, 20]),
    ] {
        assert_eq!(operations(&region, &bytes), expected, "{case}");
    }
    assert_eq!(operations(&[], &[1, 2]), [5, 1, 2], "nothing to copy from");
    assert_eq!(operations(&[0; 8 * 512], &[0; 4 * 512]), [8, 0], "equal blocks are one run");
}

#[test]
fn honest_data_costs_next_to_nothing() {
    let region = noise(MIB);
    let signature = Signature::of(&region).unwrap();
    let mut other = noise(2 * MIB).split_off(MIB);
    other[300_000..400_000].copy_from_slice(&region[..100_000]);
    let work = diff(&signature, &other, &mut Vec::new());
    assert!(work.probes < 2 * MIB as u64, "{work:?}");
    assert!(work.strong_in_vain < 100, "{work:?}");
}

#[test]
fn equal_weak_sums_cannot_make_a_difference_slow() {
    let bytes = vec![0; 4 * MIB];
    let limit = (4 * MIB as u64 + WORK_FLOOR) / 512 + 1;
    let mut out = Vec::new();
    let work = diff(&forged(std::iter::repeat_n(0, 32 * 1024)), &bytes, &mut out);
    assert!(work.strong_in_vain <= limit, "{work:?}");
    assert!(work.probes <= limit * u64::from(CHAIN_MAX + 1), "{work:?}");
    assert!(out.len() < bytes.len() + 10, "the rest is literal");
}

#[test]
fn weak_sums_of_one_place_cannot_make_a_difference_slow() {
    let bytes = vec![0; 4 * MIB];
    // Sums that share the place of the sum of zeros and are not that sum.
    let shift = u32::BITS - (2_u32 * 4_096).trailing_zeros();
    let sharing = (1..).filter(|sum: &u32| sum.wrapping_mul(0x9e37_79b1) >> shift == 0);
    let work = diff(&forged(sharing.take(4_096)), &bytes, &mut Vec::new());
    assert!(work.probes > WORK_FLOOR, "the case is one: {work:?}");
    assert!(work.probes <= WORK_FLOOR + 8 * bytes.len() as u64 + u64::from(CHAIN_MAX + 1), "{work:?}");
    assert_eq!(work.strong_in_vain, 0);
}
