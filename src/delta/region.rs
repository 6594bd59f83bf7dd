//! Where in a basis the old bytes of a missing piece are likely to stand.

use std::ops::Range;

/// Bytes of a block of a signature.
pub const BLOCK_BYTES: usize = 512;
/// Most bytes of a region.
pub const REGION_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Fewest bytes, of a piece and of a region, for which a signature pays its round trip.
const WORTH_BYTES: u64 = 2 * 1024;
/// What the ends of a window inside a long run may have shifted by.
const SLACK_BYTES: u64 = 64 * 1024;

/// One or two ranges of a basis, read one after the other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Region {
    parts: Vec<Range<u64>>,
}

/// A piece that is missing, and what stands around it.
#[derive(Clone, Debug)]
pub(crate) struct Gap {
    /// The run of missing bytes in the target.
    pub run: Range<u64>,
    /// The part of it that is asked for, in the target.
    pub piece: Range<u64>,
    /// Where in the basis the bytes before the run end.
    pub left: u64,
    /// Where in the basis the bytes after the run start.
    pub right: u64,
}

impl Region {
    /// Returns the region of a basis of `size` bytes that is worth a signature.
    ///
    /// The old bytes of a piece follow what precedes it or precede what follows it. Where both lead to the same
    /// neighbourhood, that is one range: an edit. Where they do not, it is two: the seam of a block that moved.
    pub(crate) fn of(gap: &Gap, size: u64) -> Option<Self> {
        let length = gap.piece.end - gap.piece.start;
        let slack = if gap.piece == gap.run { 0 } else { SLACK_BYTES };
        let bounds = if gap.left <= gap.right { gap.left..gap.right } else { 0..size };
        let around = |start: u64, end: u64| {
            let low = start.saturating_sub(slack).clamp(bounds.start, bounds.end);
            low..end.saturating_add(slack).clamp(low, bounds.end)
        };
        let start = gap.left.saturating_add(gap.piece.start - gap.run.start);
        let after = around(start, start.saturating_add(length));
        let end = gap.right.saturating_sub(gap.run.end - gap.piece.end);
        let before = around(end.saturating_sub(length), end);
        let hull = after.start.min(before.start)..after.end.max(before.end);
        let hull_max = length.saturating_mul(4).saturating_add(SLACK_BYTES).min(REGION_BYTES_MAX);
        let parts = if hull.end - hull.start <= hull_max {
            vec![hull]
        } else {
            vec![from_start(after, bounds.end), from_end(before, bounds.start)]
        };
        let region = Self { parts: parts.into_iter().filter(|part| !part.is_empty()).collect() };
        (length.min(region.length()) >= WORTH_BYTES).then_some(region)
    }

    /// Bytes of the region.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.parts.iter().map(|part| part.end - part.start).sum()
    }

    /// The ranges of the basis, in the order in which they are to be read.
    #[must_use]
    pub fn parts(&self) -> &[Range<u64>] {
        &self.parts
    }

    /// Returns the ranges of the basis where `range` of the region stands.
    pub(crate) fn locate(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let mut passed = 0;
        self.parts.iter().filter_map(move |part| {
            let inside = passed..passed + (part.end - part.start);
            passed = inside.end;
            let low = range.start.max(inside.start);
            let high = range.end.min(inside.end);
            (low < high).then(|| part.start + (low - inside.start)..part.start + (high - inside.start))
        })
    }
}

/// Returns `range` with its end moved so that whole blocks fill it: up, or down where `end_max` forbids up.
fn from_start(range: Range<u64>, end_max: u64) -> Range<u64> {
    let block = BLOCK_BYTES as u64;
    let length = range.end - range.start;
    let up = range.start + length.next_multiple_of(block);
    if up <= end_max { range.start..up } else { range.start..range.start + length / block * block }
}

/// Returns `range` with its start moved so that whole blocks fill it: down, or up where `start_min` forbids down.
fn from_end(range: Range<u64>, start_min: u64) -> Range<u64> {
    let block = BLOCK_BYTES as u64;
    let length = range.end - range.start;
    match range.end.checked_sub(length.next_multiple_of(block)) {
        Some(start) if start >= start_min => start..range.end,
        _ => range.end - length / block * block..range.end,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::single_range_in_vec_init, reason = "a region is a list of ranges")]

    use super::*;

    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * 1024;

    fn parts(run: Range<u64>, left: u64, right: u64, size: u64) -> Option<Vec<Range<u64>>> {
        let region = Region::of(&Gap { piece: run.clone(), run, left, right }, size)?;
        assert!(region.length() <= REGION_BYTES_MAX);
        Some(region.parts)
    }

    #[test]
    fn old_bytes_are_looked_for_beside_the_neighbours() {
        let one = |range: Range<u64>| Some(vec![range]);
        let k20 = 20 * KIB;
        for (case, run, left, right, expected) in [
            ("edited in place", 100..100 + k20, 100, 100 + k20, one(100..100 + k20)),
            ("grew by an insertion", 0..k20 + 1_000, 0, k20, one(0..k20)),
            ("shrank by a deletion", 0..k20, 0, 2 * k20, one(0..2 * k20)),
            ("nothing stood there", 0..k20, 500, 500, None),
            ("too small to ask", 0..2_047, 0, 2_047, None),
            ("the seam of a move", 0..k20, MIB, 100, one(MIB..MIB + k20)),
            ("the seam of a move, on", 0..k20, 0, MIB, Some(vec![0..k20, MIB - k20..MIB])),
            ("ragged length, on", 0..k20 + 1, 0, MIB, Some(vec![0..k20 + 512, MIB - k20 - 512..MIB])),
            ("beyond the end", 0..k20, 2 * MIB, 2 * MIB, None),
        ] {
            assert_eq!(parts(run, left, right, 2 * MIB), expected, "{case}");
        }
    }

    #[test]
    fn a_window_of_a_long_run_looks_at_its_proportional_place() {
        let window = |number: u64| number * 4 * MIB..(number + 1) * 4 * MIB;
        let gap = |number| Gap { run: 0..40 * MIB, piece: window(number), left: 0, right: 40 * MIB + 100 };
        let region = Region::of(&gap(3), 50 * MIB).unwrap();
        assert_eq!(region.parts, [12 * MIB - 64 * KIB..16 * MIB + 64 * KIB + 100]);
        assert_eq!(Region::of(&gap(0), 50 * MIB).unwrap().parts, [0..4 * MIB + 64 * KIB + 100]);
    }

    #[test]
    fn ranges_of_a_region_are_ranges_of_the_basis() {
        let region = Region { parts: vec![1_000..1_512, 100..1_124] };
        let located = |range| region.locate(range).collect::<Vec<_>>();
        assert_eq!(region.length(), 1_536);
        assert_eq!(located(0..512), [1_000..1_512]);
        assert_eq!(located(10..20), [1_010..1_020]);
        assert_eq!(located(500..600), [1_500..1_512, 100..188]);
        assert_eq!(located(512..1_536), [100..1_124]);
        assert_eq!(located(1_536..2_000), []);
    }
}
