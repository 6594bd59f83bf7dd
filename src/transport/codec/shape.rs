//! The look over a body before anything in it is believed: is it one item of the plain kind of CBOR that peers use?
//!
//! # Source
//! RFC 8949 section 3 (encoding), section 4.2.1 (preferred serialization, without floats and indefinite lengths).

use crate::transport::codec::error::CodecError;

/// How deep items may be nested; messages need 8.
const DEPTH_MAX: usize = 16;

/// Checks that `bytes` are exactly one item: whole, nested at most 16 deep, of integers, byte strings, texts, arrays,
/// maps, booleans and null, all lengths given at the front in their shortest form.
///
/// Memory and time do not depend on what the bytes declare, only on how many they are.
///
/// # Errors
/// Says what is wrong, and where.
pub(crate) fn check(bytes: &[u8]) -> Result<(), CodecError> {
    let mut rest = bytes;
    // How many items are still to come at each depth.
    let mut open = [0_u64; DEPTH_MAX];
    let mut depth = 0;
    open[0] = 1;
    loop {
        let wrong = |why: &str| CodecError::Shape {
            what: "an item",
            at: bytes.len() - rest.len(),
            why: why.to_owned(),
        };
        while open[depth] == 0 {
            if depth == 0 {
                return if rest.is_empty() { Ok(()) } else { Err(CodecError::Trailing(rest.len())) };
            }
            depth -= 1;
        }
        open[depth] -= 1;
        let (head, after) = head(rest).map_err(wrong)?;
        let inside = match head {
            Head::Value => 0,
            Head::String(length) => {
                let length = usize::try_from(length).ok().filter(|length| *length <= after.len());
                rest = &after[length.ok_or_else(|| wrong("it ends too soon"))?..];
                continue;
            }
            Head::Items(count) => count,
        };
        // Every item has a byte: what is declared beyond that will never come.
        if inside > u64::try_from(after.len()).unwrap_or(u64::MAX) {
            return Err(wrong("it ends too soon"));
        }
        rest = after;
        if inside > 0 {
            depth += 1;
            *open.get_mut(depth).ok_or_else(|| wrong("nested too deep"))? = inside;
        }
    }
}

/// What one item begins with.
enum Head {
    Value,
    String(u64),
    Items(u64),
}

fn head(bytes: &[u8]) -> Result<(Head, &[u8]), &'static str> {
    let (first, rest) = bytes.split_first().ok_or("it ends too soon")?;
    let (major, info) = (first >> 5, first & 0x1f);
    if major == 7 {
        // false, true, null.
        return if matches!(info, 20..=22) {
            Ok((Head::Value, rest))
        } else {
            Err("an item of a kind that is not used")
        };
    }
    let (number, rest) = match info {
        0..=23 => (u64::from(info), rest),
        24..=27 => {
            let width = 1_usize << (info - 24);
            let (bytes, rest) = rest.split_at_checked(width).ok_or("it ends too soon")?;
            let number = bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
            let least = if width == 1 { 24 } else { 1 << (4 * width) };
            if number < least {
                return Err("a number that is not in its shortest form");
            }
            (number, rest)
        }
        _ => return Err("a length that is not given at the front"),
    };
    let head = match major {
        0 | 1 => Head::Value,
        2 | 3 => Head::String(number),
        4 => Head::Items(number),
        5 => Head::Items(number.checked_mul(2).ok_or("a map that ends too soon")?),
        _ => return Err("an item of a kind that is not used"),
    };
    Ok((head, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_plain_whole_item_passes() {
        for (case, bytes) in [
            ("zero", &[0x00][..]),
            ("24", &[0x18, 24]),
            ("2^32", &[0x1b, 0, 0, 0, 1, 0, 0, 0, 0]),
            ("-1", &[0x20]),
            ("bytes", &[0x42, 1, 2]),
            ("array of text and null", &[0x82, 0x61, b'a', 0xf6]),
            ("map", &[0xa1, 0x01, 0x80]),
            ("15 deep", &[0x81; 15].iter().copied().chain([0x80]).collect::<Vec<_>>()),
        ] {
            assert_eq!(check(bytes), Ok(()), "{case}");
        }
        for (case, bytes) in [
            ("nothing", &[][..]),
            ("two items", &[0x00, 0x00]),
            ("23 in two bytes", &[0x18, 23]),
            ("255 in three bytes", &[0x19, 0, 255]),
            ("65535 in five bytes", &[0x1a, 0, 0, 255, 255]),
            ("2^32 - 1 in nine bytes", &[0x1b, 0, 0, 0, 0, 255, 255, 255, 255]),
            ("half a number", &[0x19, 1]),
            ("half a string", &[0x42, 1]),
            ("2^63 bytes", &[0x5b, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            ("2^64 - 1 items", &[0x9b, 255, 255, 255, 255, 255, 255, 255, 255]),
            ("2^63 pairs", &[0xbb, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            ("an open array", &[0x9f, 0x00, 0xff]),
            ("a tag", &[0xc0, 0x00]),
            ("a float", &[0xf9, 0, 0]),
            ("undefined", &[0xf7]),
            ("reserved", &[0x1c]),
            ("16 deep", &[0x81; 17]),
            ("a nesting bomb", &[0x81; 100_000]),
        ] {
            assert!(check(bytes).is_err(), "{case}");
        }
    }
}
