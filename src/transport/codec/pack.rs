//! Bodies in which much repeats, compressed as a whole.

use crate::transport::codec::error::CodecError;
use crate::transport::codec::reader::Reader;
use crate::transport::codec::writer::Writer;

/// Longest body before it is compressed. More than a frame, so that what a peer packs well still goes in one.
pub(crate) const RAW_BYTES_MAX: usize = 2 << 20;

/// Returns `body` with its length, as it is.
pub(crate) fn pack(body: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.array(3).size(body.len()).bool(false).bytes(body);
    writer.finish()
}

/// Returns the body that was packed.
pub(crate) fn unpack(packed: &[u8]) -> Result<Vec<u8>, CodecError> {
    let reader = &mut Reader::new(packed);
    let mut fields = reader.fields("a packed message")?;
    let most = u64::try_from(RAW_BYTES_MAX).unwrap_or(u64::MAX);
    let length = fields.need(reader, |reader| reader.uint("the length of a message", most))?;
    let is_compressed = fields.need(reader, |reader| reader.bool("whether a message is packed"))?;
    let bytes = fields.need(reader, |reader| reader.bytes("the bytes of a message", RAW_BYTES_MAX))?;
    fields.end(reader)?;
    reader.finish()?;
    let length = usize::try_from(length).unwrap_or_default();
    if is_compressed || bytes.len() != length {
        return Err(CodecError::Rule("a message whose bytes are not as many as it says"));
    }
    Ok(bytes.to_vec())
}
