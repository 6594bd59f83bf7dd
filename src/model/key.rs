//! Public keys of nodes, and their text form.

use std::fmt;

use data_encoding::{BASE32_NOPAD, DecodeKind};

use crate::model::entry::Digest;

/// What every key's text starts with; the digit is the version of the form.
pub const KEY_PREFIX: &str = "csk1:";
/// Number of letters and digits that follow the prefix: 34 bytes in base32 without padding.
pub const KEY_LETTERS: usize = 55;
const CHECKSUM_BYTES: usize = 2;

/// The public half of a node's key: 32 bytes, Ed25519.
///
/// Its text is `csk1:` and base32 (RFC 4648, lower case, no padding) of the 32 bytes and a checksum, the first two
/// bytes of the BLAKE3 digest of the 32. The checksum catches typing errors, not attacks.
///
/// # Source
/// RFC 8032 (keys), RFC 4648 section 6 (base32).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

/// Why a text is no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The prefix is missing.
    #[error("a key starts with `{KEY_PREFIX}`")]
    Prefix,
    /// Too short or too long.
    #[error("a key has {KEY_LETTERS} letters and digits after `{KEY_PREFIX}`, this one has {0}")]
    Length(usize),
    /// A character that base32 does not have.
    #[error("a key has only the letters a-z and the digits 2-7, this one has another at position {0}")]
    Alphabet(usize),
    /// Letters and checksum do not fit each other.
    #[error("the checksum of the key is wrong: a letter was lost or mistyped")]
    Checksum,
}

impl PublicKey {
    /// Returns the key that `text` shows.
    ///
    /// # Errors
    /// Says what is wrong: prefix, length, a character, or the checksum.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let letters = text.strip_prefix(KEY_PREFIX).ok_or(KeyError::Prefix)?;
        if let Some(at) = letters.bytes().position(|b| !matches!(b, b'a'..=b'z' | b'2'..=b'7')) {
            return Err(KeyError::Alphabet(KEY_PREFIX.len() + at + 1));
        }
        if letters.len() != KEY_LETTERS {
            return Err(KeyError::Length(letters.len()));
        }
        let bytes =
            BASE32_NOPAD.decode(letters.to_ascii_uppercase().as_bytes()).map_err(|error| {
                match error.kind {
                    DecodeKind::Trailing => KeyError::Checksum,
                    DecodeKind::Length | DecodeKind::Padding => KeyError::Length(letters.len()),
                    DecodeKind::Symbol => KeyError::Alphabet(KEY_PREFIX.len() + error.position + 1),
                }
            })?;
        let (key, checksum) = bytes.split_at(bytes.len().saturating_sub(CHECKSUM_BYTES));
        let key = Self(key.try_into().map_err(|_wrong_length| KeyError::Length(letters.len()))?);
        if checksum == key.checksum() { Ok(key) } else { Err(KeyError::Checksum) }
    }

    fn checksum(&self) -> [u8; CHECKSUM_BYTES] {
        let Digest(digest) = Digest::of(&self.0);
        [digest[0], digest[1]]
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.0[..], &self.checksum()].concat();
        write!(f, "{KEY_PREFIX}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_key_is_that_key() {
        for key in [PublicKey([0; 32]), PublicKey([255; 32]), PublicKey(Digest::of(b"x").0)] {
            let text = key.to_string();
            assert_eq!(text.len(), KEY_PREFIX.len() + KEY_LETTERS);
            assert_eq!(PublicKey::parse(&text), Ok(key));
        }
    }

    #[test]
    fn every_single_mistyped_letter_or_lost_letter_is_found() {
        let text = PublicKey(Digest::of(b"node").0).to_string();
        for at in KEY_PREFIX.len()..text.len() {
            let mut typed = text.clone().into_bytes();
            typed[at] = if typed[at] == b'a' { b'b' } else { b'a' };
            assert!(PublicKey::parse(&String::from_utf8(typed).unwrap()).is_err(), "letter {at}");
        }
        for (case, typed, error) in [
            ("short", text[..50].to_owned(), KeyError::Length(45)),
            ("long", format!("{text}a"), KeyError::Length(56)),
            ("no prefix", text[5..].to_owned(), KeyError::Prefix),
            ("upper case", text.to_ascii_uppercase().replace("CSK1", "csk1"), KeyError::Alphabet(6)),
            ("digit 8", format!("csk1:8{}", &text[6..]), KeyError::Alphabet(6)),
            ("not ASCII", format!("csk1:\u{e4}{}", &text[6..]), KeyError::Alphabet(6)),
        ] {
            let shown = PublicKey::parse(&typed);
            if case == "upper case" {
                assert!(matches!(shown, Err(KeyError::Alphabet(_))), "{case}");
            } else {
                assert_eq!(shown, Err(error), "{case}");
            }
        }
    }
}
