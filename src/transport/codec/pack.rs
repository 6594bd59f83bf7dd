//! Bodies in which much repeats, compressed as a whole.

use crate::delta::compress::{Compressor, Decompressor};
use crate::transport::codec::error::CodecError;
use crate::transport::codec::reader::Reader;
use crate::transport::codec::writer::Writer;

/// Longest body before it is compressed. More than a frame, so that what a peer packs well still goes in one.
pub(crate) const RAW_BYTES_MAX: usize = 2 << 20;

/// Shorter ones are not worth the time.
const PACK_FROM: usize = 512;
/// Rows are mostly digests; the rest is said twice by its neighbours, and found by a quick look.
const LEVEL: i32 = 1;

/// Returns `body` with its length, compressed where that makes it smaller.
pub(crate) fn pack(body: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.array(3).size(body.len());
    match compressed(body).filter(|small| small.len() < body.len()) {
        Some(small) => writer.bool(true).bytes(&small),
        None => writer.bool(false).bytes(body),
    };
    writer.finish()
}

/// Without memory for a compressor things are said at length.
fn compressed(body: &[u8]) -> Option<Vec<u8>> {
    if !(PACK_FROM..=RAW_BYTES_MAX).contains(&body.len()) {
        return None;
    }
    let mut small = Vec::new();
    Compressor::new().ok()?.compress(body, LEVEL, &mut small).ok()?;
    Some(small)
}

/// Returns the body that was packed.
pub(crate) fn unpack(packed: &[u8]) -> Result<Vec<u8>, CodecError> {
    let reader = &mut Reader::new(packed);
    let mut fields = reader.fields("a packed message")?;
    let most = u64::try_from(RAW_BYTES_MAX).unwrap_or(u64::MAX);
    let length = fields.need(reader, |reader| reader.small("the length of a message", most))?;
    let is_compressed = fields.need(reader, |reader| reader.bool("whether a message is packed"))?;
    let bytes = fields.need(reader, |reader| reader.bytes("the bytes of a message", RAW_BYTES_MAX))?;
    fields.end(reader)?;
    reader.finish()?;
    let length = usize::try_from(length).unwrap_or_default();
    if is_compressed {
        let mut body = Vec::new();
        let mut decompressor = Decompressor::new()?;
        decompressor.decompress(bytes, length, &mut body)?;
        return Ok(body);
    }
    if bytes.len() == length {
        Ok(bytes.to_vec())
    } else {
        Err(CodecError::Rule("a message of another length"))
    }
}
