//! Reading CBOR that nobody vouches for.
//!
//! Every message and every part of one is an array whose places are its fields. A later version appends places: they
//! are skipped here. A message of an earlier version ends sooner: an optional field is then taken for absent.

use minicbor::Decoder;
use minicbor::data::Type;

use crate::transport::codec::error::CodecError;

/// Longest text of a message for people or of a name.
const TEXT_BYTES_MAX: usize = 4096;
/// Bytes of all paths of a message, spelt out. Twice what a message is filled to, and more than the paths of any row.
const PATHS_BYTES_MAX: usize = 1 << 20;

/// Bytes being read.
pub(crate) struct Reader<'b> {
    decoder: Decoder<'b>,
    /// Bytes of paths so far, spelt out.
    spelt: usize,
}

/// The places of an array that are still to be read.
#[must_use = "the fields of later versions are to be skipped by `end`"]
pub(crate) struct Fields {
    what: &'static str,
    left: u64,
}

impl<'b> Reader<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self { decoder: Decoder::new(bytes), spelt: 0 }
    }

    /// Checks that nothing follows.
    pub(crate) fn finish(&self) -> Result<(), CodecError> {
        match self.decoder.input().len() - self.decoder.position() {
            0 => Ok(()),
            rest => Err(CodecError::Trailing(rest)),
        }
    }

    fn shape<T>(
        &mut self,
        what: &'static str,
        read: impl FnOnce(&mut Decoder<'b>) -> Result<T, minicbor::decode::Error>,
    ) -> Result<T, CodecError> {
        let at = self.decoder.position();
        read(&mut self.decoder).map_err(|error| CodecError::Shape { what, at, why: error.to_string() })
    }

    fn array(&mut self, what: &'static str) -> Result<u64, CodecError> {
        let at = self.decoder.position();
        self.shape(what, Decoder::array)?.ok_or_else(|| CodecError::Shape {
            what,
            at,
            why: "no length".to_owned(),
        })
    }

    /// Begins an array of fields.
    pub(crate) fn fields(&mut self, what: &'static str) -> Result<Fields, CodecError> {
        Ok(Fields { what, left: self.array(what)? })
    }

    /// Returns a list of at most `max` items, each read by `one`. Memory grows with what was read, not with the count.
    pub(crate) fn list<T>(
        &mut self,
        what: &'static str,
        max: usize,
        mut one: impl FnMut(&mut Self) -> Result<T, CodecError>,
    ) -> Result<Vec<T>, CodecError> {
        let count = self.array(what)?;
        if count > u64::try_from(max).unwrap_or(u64::MAX) {
            return Err(CodecError::TooMany { what, count, max });
        }
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(one(self)?);
        }
        Ok(items)
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, CodecError> {
        self.shape(what, Decoder::u64)
    }

    /// Returns a number that is at most `max`.
    pub(crate) fn uint(&mut self, what: &'static str, max: u64) -> Result<u64, CodecError> {
        let value = self.u64(what)?;
        if value > max {
            return Err(CodecError::Range { what, value: value.into() });
        }
        Ok(value)
    }

    /// As [`uint`](Self::uint), for ranges within 32 bits.
    pub(crate) fn small(&mut self, what: &'static str, max: u64) -> Result<u32, CodecError> {
        let value = self.uint(what, max)?;
        u32::try_from(value).map_err(|_wide| CodecError::Range { what, value: value.into() })
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, CodecError> {
        self.shape(what, Decoder::u32)
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, CodecError> {
        self.shape(what, Decoder::u16)
    }

    pub(crate) fn i64(&mut self, what: &'static str) -> Result<i64, CodecError> {
        self.shape(what, Decoder::i64)
    }

    pub(crate) fn bool(&mut self, what: &'static str) -> Result<bool, CodecError> {
        self.shape(what, Decoder::bool)
    }

    pub(crate) fn bytes(&mut self, what: &'static str, max: usize) -> Result<&'b [u8], CodecError> {
        let bytes = self.shape(what, Decoder::bytes)?;
        if bytes.len() > max {
            let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            return Err(CodecError::TooMany { what, count, max });
        }
        Ok(bytes)
    }

    /// Returns exactly `N` bytes.
    pub(crate) fn exactly<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], CodecError> {
        let bytes = self.bytes(what, N)?;
        bytes.try_into().map_err(|_wrong_length| CodecError::Range {
            what,
            value: i128::try_from(bytes.len()).unwrap_or(i128::MAX),
        })
    }

    pub(crate) fn text(&mut self, what: &'static str) -> Result<String, CodecError> {
        let text = self.shape(what, Decoder::str)?;
        if text.len() > TEXT_BYTES_MAX {
            let count = u64::try_from(text.len()).unwrap_or(u64::MAX);
            return Err(CodecError::TooMany { what, count, max: TEXT_BYTES_MAX });
        }
        Ok(text.to_owned())
    }

    /// Counts a path of `bytes` that was read. In a message paths may share much of what they say; held they do not.
    pub(crate) fn spell(&mut self, bytes: usize) -> Result<(), CodecError> {
        self.spelt += bytes;
        if self.spelt > PATHS_BYTES_MAX {
            let count = u64::try_from(self.spelt).unwrap_or(u64::MAX);
            return Err(CodecError::TooMany { what: "bytes of paths", count, max: PATHS_BYTES_MAX });
        }
        Ok(())
    }

    fn is_null(&mut self) -> Result<bool, CodecError> {
        let what = "a value";
        let kind = self.shape(what, |decoder| decoder.datatype())?;
        if kind == Type::Null {
            self.shape(what, Decoder::null)?;
        }
        Ok(kind == Type::Null)
    }
}

impl Fields {
    /// Returns a field that every version has.
    pub(crate) fn need<'b, T>(
        &mut self,
        reader: &mut Reader<'b>,
        one: impl FnOnce(&mut Reader<'b>) -> Result<T, CodecError>,
    ) -> Result<T, CodecError> {
        self.left = self.left.checked_sub(1).ok_or(CodecError::Missing(self.what))?;
        one(reader)
    }

    /// Returns a field that may be missing: left out, null, or not yet there in the sender's version.
    pub(crate) fn may<'b, T>(
        &mut self,
        reader: &mut Reader<'b>,
        one: impl FnOnce(&mut Reader<'b>) -> Result<T, CodecError>,
    ) -> Result<Option<T>, CodecError> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        if reader.is_null()? { Ok(None) } else { one(reader).map(Some) }
    }

    /// Skips the fields of later versions.
    pub(crate) fn end(self, reader: &mut Reader<'_>) -> Result<(), CodecError> {
        for _ in 0..self.left {
            reader.shape("a later field", Decoder::skip)?;
        }
        Ok(())
    }
}
