//! A sum of the bytes of a window that moves on by one byte at the price of one byte.
//!
//! # Source
//! Karp and Rabin, "Efficient randomized pattern-matching algorithms", IBM Journal of Research and Development 1987,
//! here modulo 2^32. It takes the place of the two sums of Tridgell and Mackerras, "The rsync algorithm", 1996, whose
//! values crowd together for text.

/// Odd, so that no byte is forgotten; 5 modulo 8, so that its powers repeat as late as they can.
const FACTOR: u32 = 0x9e37_79bd;

/// The sum over a window of fixed length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rolling {
    sum: u32,
    /// What the oldest byte of the window is multiplied with.
    oldest: u32,
}

impl Rolling {
    /// Returns the sum over `window`.
    pub(crate) fn of(window: &[u8]) -> Self {
        let (mut sum, mut oldest) = (0_u32, FACTOR);
        for byte in window {
            sum = sum.wrapping_add(u32::from(*byte)).wrapping_mul(FACTOR);
        }
        for _ in window {
            oldest = oldest.wrapping_mul(FACTOR);
        }
        Self { sum, oldest }
    }

    /// Moves the window on by one byte: `out` leaves it, `next` enters it.
    pub(crate) fn roll(&mut self, out: u8, next: u8) {
        let kept = self.sum.wrapping_add(u32::from(next)).wrapping_mul(FACTOR);
        self.sum = kept.wrapping_sub(u32::from(out).wrapping_mul(self.oldest));
    }

    /// Returns the sum.
    pub(crate) fn sum(self) -> u32 {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rolled_sum_is_the_sum_of_the_window() {
        let mut bytes = [0; 3_000];
        fastrand::Rng::with_seed(3).fill(&mut bytes);
        for length in [1, 2, 59, 512] {
            let mut rolling = Rolling::of(&bytes[..length]);
            for at in length..bytes.len() {
                rolling.roll(bytes[at - length], bytes[at]);
                let fresh = Rolling::of(&bytes[at + 1 - length..=at]);
                assert_eq!(rolling.sum(), fresh.sum(), "window of {length} that ends at {at}");
            }
        }
    }
}
