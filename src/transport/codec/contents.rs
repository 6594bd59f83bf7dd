//! The dialogue about contents.

use crate::transport::codec::error::CodecError;
use crate::transport::codec::reader::Reader;
use crate::transport::codec::writer::Writer;
use crate::transport::message::{Absent, BLOCK_BYTES_MAX, Block, Expand, ITEMS_MAX, Part, Parts};

/// The limit of what is limited by the length of its frame alone.
const WHOLE_FRAME: usize = 2 << 20;
/// Groups in one request.
const GROUPS_MAX: usize = 64 << 10;
/// Ranges in one request.
const PARTS_MAX: usize = 1024;
/// Most bytes of a file.
const SIZE_MAX: u64 = i64::MAX.unsigned_abs();

/// Returns the number of a content on this stream.
pub(crate) fn read_id(reader: &mut Reader<'_>) -> Result<u32, CodecError> {
    reader.u32("the number of a content")
}

pub(crate) fn write_whole(writer: &mut Writer, ids: &[u32]) {
    writer.array(1).list(ids, |writer, id| {
        writer.uint(*id);
    });
}

pub(crate) fn read_whole(reader: &mut Reader<'_>) -> Result<Vec<u32>, CodecError> {
    let mut fields = reader.fields("Whole")?;
    let ids = fields.need(reader, |reader| reader.list("contents", ITEMS_MAX, read_id))?;
    fields.end(reader)?;
    Ok(ids)
}

pub(crate) fn write_outline(writer: &mut Writer, id: u32) {
    writer.array(1).uint(id);
}

pub(crate) fn read_outline(reader: &mut Reader<'_>) -> Result<u32, CodecError> {
    let mut fields = reader.fields("Outline")?;
    let id = fields.need(reader, read_id)?;
    fields.end(reader)?;
    Ok(id)
}

/// Writes groups or chunks in the encoding of the delta floor, which checks them itself.
pub(crate) fn write_encoded(writer: &mut Writer, encoded: &[u8]) {
    writer.array(1).bytes(encoded);
}

pub(crate) fn read_encoded(reader: &mut Reader<'_>) -> Result<Vec<u8>, CodecError> {
    let mut fields = reader.fields("groups or chunks")?;
    let encoded = fields.need(reader, |reader| reader.bytes("groups or chunks", WHOLE_FRAME))?.to_vec();
    fields.end(reader)?;
    Ok(encoded)
}

pub(crate) fn write_expand(writer: &mut Writer, expand: &Expand) {
    writer.array(2).uint(expand.id).list(&expand.groups, |writer, group| {
        writer.uint(*group);
    });
}

pub(crate) fn read_expand(reader: &mut Reader<'_>) -> Result<Expand, CodecError> {
    let mut fields = reader.fields("Expand")?;
    let id = fields.need(reader, read_id)?;
    let groups = fields.need(reader, |reader| {
        reader.list("groups", GROUPS_MAX, |reader| reader.u32("the place of a group"))
    })?;
    fields.end(reader)?;
    if !groups.is_sorted_by(|a, b| a < b) {
        return Err(CodecError::Rule("groups that are not ascending"));
    }
    Ok(Expand { id, groups })
}

pub(crate) fn write_parts(writer: &mut Writer, parts: &Parts) {
    writer.array(2).uint(parts.id).list(&parts.parts, |writer, part| {
        writer.array(3).uint(part.offset).uint(part.length).bytes(&part.signature);
    });
}

pub(crate) fn read_parts(reader: &mut Reader<'_>) -> Result<Parts, CodecError> {
    let mut fields = reader.fields("Parts")?;
    let id = fields.need(reader, read_id)?;
    let mut reached = 0;
    let parts = fields.need(reader, |reader| {
        reader.list("parts", PARTS_MAX, |reader| {
            let part = read_part(reader)?;
            if part.offset < reached {
                return Err(CodecError::Rule("parts that overlap, or are not ascending"));
            }
            reached = part.offset.saturating_add(part.length);
            if part.length == 0 || reached > SIZE_MAX {
                return Err(CodecError::Rule("a part that is empty, or ends beyond any file"));
            }
            Ok(part)
        })
    })?;
    fields.end(reader)?;
    Ok(Parts { id, parts })
}

fn read_part(reader: &mut Reader<'_>) -> Result<Part, CodecError> {
    let mut fields = reader.fields("a part")?;
    let offset = fields.need(reader, |reader| reader.uint("the offset of a part", SIZE_MAX))?;
    let length = fields.need(reader, |reader| reader.uint("the length of a part", SIZE_MAX))?;
    let signature = fields.need(reader, |reader| reader.bytes("a signature", WHOLE_FRAME))?.to_vec();
    fields.end(reader)?;
    Ok(Part { offset, length, signature })
}

pub(crate) fn write_block(writer: &mut Writer, block: &Block) {
    writer.array(3).uint(block.length).bool(block.packed).bytes(&block.bytes);
}

pub(crate) fn read_block(reader: &mut Reader<'_>) -> Result<Block, CodecError> {
    let mut fields = reader.fields("Block")?;
    let most = u64::from(BLOCK_BYTES_MAX);
    let length = fields.need(reader, |reader| reader.small("the length of a block", most))?;
    let packed = fields.need(reader, |reader| reader.bool("whether a block is packed"))?;
    let bytes = fields.need(reader, |reader| {
        reader.bytes("the bytes of a block", usize::try_from(BLOCK_BYTES_MAX).unwrap_or_default())
    })?;
    fields.end(reader)?;
    let told = usize::try_from(length).unwrap_or_default();
    if bytes.is_empty() || (!packed && bytes.len() != told) {
        return Err(CodecError::Rule("a block whose bytes are not as many as it says"));
    }
    Ok(Block { length, packed, bytes: bytes.to_vec() })
}

pub(crate) fn write_absent(writer: &mut Writer, absent: &Absent) {
    writer.array(2).uint(absent.id).text(&absent.why);
}

pub(crate) fn read_absent(reader: &mut Reader<'_>) -> Result<Absent, CodecError> {
    let mut fields = reader.fields("Absent")?;
    let id = fields.need(reader, read_id)?;
    let why = fields.need(reader, |reader| reader.text("the reason"))?;
    fields.end(reader)?;
    Ok(Absent { id, why })
}
