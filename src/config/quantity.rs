//! Sizes, durations and shares as people write them, for the config and for flags.

use std::time::Duration;

/// Why a text is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// No size.
    #[error(
        "`{0}` is no size; wanted a number with B, K, M, G, T or P (1024), KB, MB, … (1000), e.g. `10GiB`"
    )]
    Size(String),
    /// Too large for 64 bits.
    #[error("`{0}` is larger than 8191P")]
    SizeTooLarge(String),
    /// No duration.
    #[error("`{0}` is no duration; wanted a number with ms, s, m, h, d or w, e.g. `5m`")]
    Duration(String),
    /// No percentage.
    #[error("`{0}` is no percentage; wanted 0% to 100%")]
    Percent(String),
}

/// Returns the bytes that `text` means, in rsync's syntax: a number, perhaps with a fraction; a unit of `BKMGTP`, of
/// either case, alone or with `iB` a power of 1024, with `B` a power of 1000; perhaps `+1` or `-1`.
///
/// # Errors
/// The text is no size, or one that 63 bits cannot hold.
pub fn size(text: &str) -> Result<u64, QuantityError> {
    let wrong = || QuantityError::Size(text.to_owned());
    let (body, offset) = match text.as_bytes() {
        [.., b'+', b'1'] => (&text[..text.len() - 2], 1),
        [.., b'-', b'1'] => (&text[..text.len() - 2], -1),
        _ => (text, 0),
    };
    let digits = body.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(body.len());
    let (number, unit) = body.split_at(digits);
    let scale = unit_bytes(unit).ok_or_else(wrong)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.len() > 9 || fraction.contains('.') {
        return Err(wrong());
    }
    if whole.len() > 19 {
        return Err(QuantityError::SizeTooLarge(text.to_owned()));
    }
    let parse = |part: &str| {
        if part.is_empty() { Ok(0) } else { part.parse::<i128>().map_err(|_ignored| wrong()) }
    };
    let tens = (0..fraction.len()).fold(1_i128, |tens, _| tens * 10);
    let bytes = parse(whole)? * scale + parse(fraction)? * scale / tens + offset;
    match u64::try_from(bytes) {
        Ok(bytes) if i64::try_from(bytes).is_ok() => Ok(bytes),
        Ok(_) => Err(QuantityError::SizeTooLarge(text.to_owned())),
        Err(_) if bytes < 0 => Err(wrong()),
        Err(_) => Err(QuantityError::SizeTooLarge(text.to_owned())),
    }
}

/// Returns how many bytes one of `unit` is.
fn unit_bytes(unit: &str) -> Option<i128> {
    let unit = unit.to_ascii_lowercase();
    let power = match unit.chars().next() {
        None => return Some(1),
        Some('b') if unit.len() == 1 => return Some(1),
        Some('k') => 1,
        Some('m') => 2,
        Some('g') => 3,
        Some('t') => 4,
        Some('p') => 5,
        Some(_) => return None,
    };
    let base: i128 = match &unit[1..] {
        "" | "ib" => 1024,
        "b" => 1000,
        _ => return None,
    };
    Some(base.pow(power))
}

/// Returns the duration that `text` means: a whole number and `ms`, `s`, `m`, `h`, `d` or `w`.
///
/// # Errors
/// The text is no duration, or one of more than 2^32 of its units.
pub fn duration(text: &str) -> Result<Duration, QuantityError> {
    let wrong = || QuantityError::Duration(text.to_owned());
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let count = u64::from(number.parse::<u32>().map_err(|_ignored| wrong())?);
    let seconds = match unit.trim_start() {
        "ms" => return Ok(Duration::from_millis(count)),
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err(wrong()),
    };
    Ok(Duration::from_secs(count * seconds))
}

/// Returns the percentage that `text` means, `N%` with N from 0 to 100.
///
/// # Errors
/// The text is none.
pub fn percent(text: &str) -> Result<u8, QuantityError> {
    text.strip_suffix('%')
        .and_then(|number| number.trim_end().parse::<u8>().ok())
        .filter(|number| *number <= 100)
        .ok_or_else(|| QuantityError::Percent(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_rsync_reads_them() {
        for (text, bytes) in [
            ("0", 0),
            ("100", 100),
            ("100b", 100),
            ("1K", 1024),
            ("1k", 1024),
            ("1KiB", 1024),
            ("1kb", 1000),
            ("1KB", 1000),
            ("1.5mb-1", 1_499_999),
            ("2g+1", 2_147_483_649),
            ("10GiB", 10 * 1024 * 1024 * 1024),
            (".5k", 512),
            ("1T", 1 << 40),
            ("8191P", 8191 << 50),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "K",
            "10GG",
            "1x",
            "1.2.3k",
            "-1",
            "0-1",
            "1K+2",
            "ten",
            "1 K",
            "9000P",
            "99999999999999999999",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_and_shares() {
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("2w"), Ok(Duration::from_secs(14 * 86_400)));
        for text in ["", "5", "m", "5 minuets", "-5s", "99999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(percent("25%"), Ok(25));
        assert_eq!(percent("100%"), Ok(100));
        for text in ["150%", "101%", "25", "%", "-1%", "2.5%"] {
            assert!(percent(text).is_err(), "{text}");
        }
    }
}
