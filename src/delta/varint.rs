//! Whole numbers in as few bytes as they need, seven bits a byte, the lowest first.
//!
//! # Source
//! DWARF 5, section 7.6, "Variable Length Data" (unsigned LEB128).

/// Most bytes of one number.
const BYTES_MAX: u32 = 10;

/// Appends `value` to `out`.
pub(crate) fn write(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(low(value) | 0x80);
        value >>= 7;
    }
    out.push(low(value));
}

fn low(value: u64) -> u8 {
    value.to_le_bytes()[0] & 0x7f
}

/// Returns `value` without a sign, small where `value` is near zero: 0, -1, 1, -2 become 0, 1, 2, 3.
pub(crate) fn zigzag(value: i64) -> u64 {
    (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned()
}

/// Returns the value that [`zigzag`] made `value` of.
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// A number of which some bytes were read.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Partial {
    value: u64,
    bytes: u32,
}

/// What one more byte makes of a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Taken {
    /// The number.
    Whole(u64),
    /// Its bytes go on.
    More,
    /// It is longer than 64 bits.
    TooLong,
}

impl Partial {
    /// Takes the next byte.
    pub(crate) fn take(&mut self, byte: u8) -> Taken {
        let bits = u64::from(byte & 0x7f);
        let shift = 7 * self.bytes;
        self.bytes += 1;
        if self.bytes > BYTES_MAX || (bits << shift) >> shift != bits {
            return Taken::TooLong;
        }
        self.value |= bits << shift;
        if byte & 0x80 == 0 { Taken::Whole(self.value) } else { Taken::More }
    }

    /// Whether no byte was taken.
    pub(crate) fn is_empty(self) -> bool {
        self.bytes == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Taken {
        let mut partial = Partial::default();
        bytes
            .iter()
            .map(|&byte| partial.take(byte))
            .find(|taken| *taken != Taken::More)
            .unwrap_or(Taken::More)
    }

    #[test]
    fn numbers_survive_the_wire() {
        for value in [0, 1, 127, 128, 300, 1 << 20, u64::from(u32::MAX), 1 << 63, u64::MAX] {
            let mut bytes = Vec::new();
            write(value, &mut bytes);
            assert_eq!(read(&bytes), Taken::Whole(value));
            assert_eq!(read(&bytes[..bytes.len() - 1]), Taken::More, "{value}");
        }
    }

    #[test]
    fn signs_survive_the_wire() {
        assert_eq!([0, -1, 1, -2].map(zigzag), [0, 1, 2, 3]);
        for value in [0, -1, 1, i64::MIN, i64::MAX] {
            assert_eq!(unzigzag(zigzag(value)), value);
        }
    }

    #[test]
    fn longer_than_64_bits_is_refused() {
        assert_eq!(read(&[0xff; 11]), Taken::TooLong);
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]), Taken::TooLong);
    }
}
