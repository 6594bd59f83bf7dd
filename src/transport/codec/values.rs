//! The small things that messages are made of: paths, times, attributes, contents, names.

use crate::model::entry::{Content, Digest, Kind};
use crate::model::metadata::{Attributes, Owner, Timestamp};
use crate::model::path::{NAME_BYTES_MAX, PATH_BYTES_MAX, PRIVATE_DIR, RelPath};
use crate::model::version::COUNTER_MAX;
use crate::transport::codec::error::CodecError;
use crate::transport::codec::reader::Reader;
use crate::transport::codec::writer::Writer;
use crate::transport::message::{ITEMS_MAX, Names};

/// Largest file: what the kernel can express.
const SIZE_MAX: u64 = i64::MAX.unsigned_abs();
/// Furthest time from 1970 in seconds, 2^56: two billion years, so that no sum or difference of times overflows.
const SECONDS_MAX: i64 = 1 << 56;
/// Longest target of a symbolic link.
const TARGET_BYTES_MAX: usize = 4095;
/// The lower twelve bits of `st_mode`.
const MODE_MAX: u64 = 0o7777;

/// Returns a sequence number; 0 stands for none.
pub(crate) fn read_seq(reader: &mut Reader<'_>) -> Result<u64, CodecError> {
    reader.uint("a sequence number", COUNTER_MAX)
}

/// A path that is near the one before: how many of its bytes are the same, and the rest.
pub(crate) fn write_path(writer: &mut Writer, path: &RelPath, before: &RelPath) {
    let (path, before) = (path.as_bytes(), before.as_bytes());
    let shared = path.iter().zip(before).take_while(|(a, b)| a == b).count();
    writer.array(2).size(shared).bytes(&path[shared..]);
}

/// Returns a path below a root, or the root itself, that is not csync's own.
pub(crate) fn read_path(reader: &mut Reader<'_>, before: &RelPath) -> Result<RelPath, CodecError> {
    let mut fields = reader.fields("a path")?;
    let most = u64::try_from(before.as_bytes().len()).unwrap_or(u64::MAX);
    let shared = fields.need(reader, |reader| reader.uint("the shared part of a path", most))?;
    let rest = fields.need(reader, |reader| reader.bytes("bytes of a path", PATH_BYTES_MAX))?;
    fields.end(reader)?;
    let shared = usize::try_from(shared).unwrap_or_default();
    reader.spell(shared + rest.len())?;
    let path = RelPath::new(&[&before.as_bytes()[..shared], rest].concat())?;
    if path.as_bytes().split(|byte| *byte == b'/').any(|name| name == PRIVATE_DIR) {
        return Err(CodecError::Rule("a path into the private directory"));
    }
    Ok(path)
}

/// As [`read_path`], but not the root.
pub(crate) fn read_inner_path(reader: &mut Reader<'_>, before: &RelPath) -> Result<RelPath, CodecError> {
    match read_path(reader, before)? {
        path if path.is_root() => Err(CodecError::Rule("the root where something inside it is meant")),
        path => Ok(path),
    }
}

pub(crate) fn write_timestamp(writer: &mut Writer, time: Timestamp) {
    writer.array(2).int(time.secs).uint(time.nanos);
}

pub(crate) fn read_timestamp(reader: &mut Reader<'_>) -> Result<Timestamp, CodecError> {
    let mut fields = reader.fields("a time")?;
    let secs = fields.need(reader, read_seconds)?;
    let nanos = fields.need(reader, read_nanos)?;
    fields.end(reader)?;
    Ok(Timestamp { secs, nanos })
}

fn read_seconds(reader: &mut Reader<'_>) -> Result<i64, CodecError> {
    let secs = reader.i64("the seconds of a time")?;
    if (-SECONDS_MAX..=SECONDS_MAX).contains(&secs) {
        return Ok(secs);
    }
    Err(CodecError::Range { what: "the seconds of a time", value: secs.into() })
}

fn read_nanos(reader: &mut Reader<'_>) -> Result<u32, CodecError> {
    reader.small("the nanoseconds of a time", 999_999_999)
}

pub(crate) fn read_mode(reader: &mut Reader<'_>) -> Result<u32, CodecError> {
    reader.small("permission bits", MODE_MAX)
}

pub(crate) fn write_attributes(writer: &mut Writer, attributes: &Attributes) {
    writer.array(5).uint(attributes.mode).uint(attributes.owner.uid).uint(attributes.owner.gid);
    writer.int(attributes.mtime.secs).uint(attributes.mtime.nanos);
}

pub(crate) fn read_attributes(reader: &mut Reader<'_>) -> Result<Attributes, CodecError> {
    let mut fields = reader.fields("attributes")?;
    let mode = fields.need(reader, read_mode)?;
    let uid = fields.need(reader, |reader| reader.u32("a user"))?;
    let gid = fields.need(reader, |reader| reader.u32("a group"))?;
    let secs = fields.need(reader, read_seconds)?;
    let nanos = fields.need(reader, read_nanos)?;
    fields.end(reader)?;
    Ok(Attributes { mode, owner: Owner { uid, gid }, mtime: Timestamp { secs, nanos } })
}

const DIR: u64 = 0;
const FILE: u64 = 1;
const SYMLINK: u64 = 2;
const FIFO: u64 = 3;
const SOCKET: u64 = 4;
const CHAR_DEVICE: u64 = 5;
const BLOCK_DEVICE: u64 = 6;

pub(crate) fn write_content(writer: &mut Writer, content: &Content) {
    match content {
        Content::Dir => writer.array(1).uint(DIR),
        Content::File { digest, size } => writer.array(3).uint(FILE).bytes(&digest.0).uint(*size),
        Content::Symlink(target) => writer.array(2).uint(SYMLINK).bytes(target),
        Content::Fifo => writer.array(1).uint(FIFO),
        Content::Socket => writer.array(1).uint(SOCKET),
        Content::Device { kind: Kind::CharDevice, rdev } => writer.array(2).uint(CHAR_DEVICE).uint(*rdev),
        Content::Device { rdev, .. } => writer.array(2).uint(BLOCK_DEVICE).uint(*rdev),
    };
}

pub(crate) fn read_content(reader: &mut Reader<'_>) -> Result<Content, CodecError> {
    let mut fields = reader.fields("a content")?;
    let content = match fields.need(reader, |reader| reader.u64("a kind of content"))? {
        DIR => Content::Dir,
        FILE => {
            let digest = Digest(fields.need(reader, |reader| reader.exactly("a digest"))?);
            let size = fields.need(reader, |reader| reader.uint("the size of a file", SIZE_MAX))?;
            Content::File { digest, size }
        }
        SYMLINK => Content::Symlink(fields.need(reader, read_target)?),
        FIFO => Content::Fifo,
        SOCKET => Content::Socket,
        CHAR_DEVICE => {
            let rdev = fields.need(reader, |reader| reader.u64("the number of a device"))?;
            Content::Device { kind: Kind::CharDevice, rdev }
        }
        BLOCK_DEVICE => {
            let rdev = fields.need(reader, |reader| reader.u64("the number of a device"))?;
            Content::Device { kind: Kind::BlockDevice, rdev }
        }
        other => return Err(CodecError::Range { what: "a kind of content", value: other.into() }),
    };
    fields.end(reader)?;
    Ok(content)
}

fn read_target(reader: &mut Reader<'_>) -> Result<Box<[u8]>, CodecError> {
    let target = reader.bytes("the target of a link", TARGET_BYTES_MAX)?;
    if target.is_empty() || target.contains(&0) {
        return Err(CodecError::Rule("the target of a link is empty or has a NUL byte"));
    }
    Ok(target.into())
}

pub(crate) fn write_names(writer: &mut Writer, names: &Names) {
    let one = |writer: &mut Writer, (id, name): &(u32, Box<[u8]>)| {
        writer.array(2).uint(*id).bytes(name);
    };
    writer.array(2).list(&names.users, one).list(&names.groups, one);
}

pub(crate) fn read_names(reader: &mut Reader<'_>) -> Result<Names, CodecError> {
    let mut fields = reader.fields("names")?;
    let users = fields.need(reader, |reader| reader.list("users", ITEMS_MAX, read_name))?;
    let groups = fields.need(reader, |reader| reader.list("groups", ITEMS_MAX, read_name))?;
    fields.end(reader)?;
    Ok(Names { users, groups })
}

fn read_name(reader: &mut Reader<'_>) -> Result<(u32, Box<[u8]>), CodecError> {
    let mut fields = reader.fields("a name")?;
    let id = fields.need(reader, |reader| reader.u32("the number of a user or group"))?;
    let name = fields.need(reader, |reader| reader.bytes("the name of a user or group", NAME_BYTES_MAX))?;
    fields.end(reader)?;
    if name.is_empty() || name.contains(&0) {
        return Err(CodecError::Rule("the name of a user or group is empty or has a NUL byte"));
    }
    Ok((id, name.into()))
}
