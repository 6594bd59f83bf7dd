//! The messages of the first stream.

use crate::model::path::RelPath;
use crate::model::version::ReplicaId;
use crate::transport::codec::error::CodecError;
use crate::transport::codec::reader::Reader;
use crate::transport::codec::values::{read_attributes, read_path, read_seq, write_attributes, write_path};
use crate::transport::codec::writer::Writer;
use crate::transport::member::{Ack, Heard, Join};
use crate::transport::message::{
    Bound, Code, FolderInfo, Guard, Hello, Open, Opened, Refuse, Right, Settled, Unread, Welcome, Working,
};

/// Versions in one [`Hello`].
const VERSIONS_MAX: usize = 64;

pub(crate) fn write_hello(writer: &mut Writer, hello: &Hello) {
    writer.array(2);
    writer.list(&hello.versions, |writer, version| {
        writer.uint(*version);
    });
    writer.text(&hello.agent);
}

pub(crate) fn read_hello(reader: &mut Reader<'_>) -> Result<Hello, CodecError> {
    let mut fields = reader.fields("Hello")?;
    let versions = fields
        .need(reader, |reader| reader.list("versions", VERSIONS_MAX, |reader| reader.u16("a version")))?;
    let agent = fields.need(reader, |reader| reader.text("the agent"))?;
    fields.end(reader)?;
    Ok(Hello { versions, agent })
}

pub(crate) fn write_welcome(writer: &mut Writer, welcome: &Welcome) {
    writer.array(3).uint(welcome.version).text(&welcome.agent).text(&welcome.node);
}

pub(crate) fn read_welcome(reader: &mut Reader<'_>) -> Result<Welcome, CodecError> {
    let mut fields = reader.fields("Welcome")?;
    let version = fields.need(reader, |reader| reader.u16("the version"))?;
    let agent = fields.need(reader, |reader| reader.text("the agent"))?;
    let node = fields.need(reader, |reader| reader.text("the node"))?;
    fields.end(reader)?;
    Ok(Welcome { version, agent, node })
}

pub(crate) fn write_refuse(writer: &mut Writer, refuse: &Refuse) {
    writer.array(2).uint(refuse.code.number()).text(&refuse.text);
}

pub(crate) fn read_refuse(reader: &mut Reader<'_>) -> Result<Refuse, CodecError> {
    let mut fields = reader.fields("Refuse")?;
    let code = fields.need(reader, |reader| reader.u64("a code")).map(Code::of)?;
    let text = fields.need(reader, |reader| reader.text("the reason"))?;
    fields.end(reader)?;
    Ok(Refuse { code, text })
}

fn right_number(right: Right) -> u8 {
    match right {
        Right::Read => 0,
        Right::Append => 1,
        Right::Write => 2,
    }
}

fn read_right(reader: &mut Reader<'_>) -> Result<Right, CodecError> {
    match reader.u64("a right")? {
        0 => Ok(Right::Read),
        1 => Ok(Right::Append),
        2 => Ok(Right::Write),
        other => Err(CodecError::Range { what: "a right", value: other.into() }),
    }
}

pub(crate) fn write_folder(writer: &mut Writer, folder: &FolderInfo) {
    writer.array(4).text(&folder.name).text(&folder.mode).text(&folder.comment);
    writer.uint(right_number(folder.right));
}

pub(crate) fn read_folder(reader: &mut Reader<'_>) -> Result<FolderInfo, CodecError> {
    let mut fields = reader.fields("a folder")?;
    let name = fields.need(reader, |reader| reader.text("a folder's name"))?;
    let mode = fields.need(reader, |reader| reader.text("a folder's mode"))?;
    let comment = fields.need(reader, |reader| reader.text("a folder's comment"))?;
    let right = fields.need(reader, read_right)?;
    fields.end(reader)?;
    Ok(FolderInfo { name, mode, comment, right })
}

pub(crate) fn write_open(writer: &mut Writer, open: &Open) {
    writer.array(2).text(&open.folder).uint(right_number(open.right));
}

pub(crate) fn read_open(reader: &mut Reader<'_>) -> Result<Open, CodecError> {
    let mut fields = reader.fields("Open")?;
    let folder = fields.need(reader, |reader| reader.text("a folder's name"))?;
    let right = fields.need(reader, read_right)?;
    fields.end(reader)?;
    Ok(Open { folder, right })
}

pub(crate) fn write_join(writer: &mut Writer, join: &Join) {
    writer.array(3).text(&join.folder).bytes(&join.replica.0);
    writer.option(join.heard.as_ref(), |writer, heard| {
        writer.array(3).bytes(&heard.replica.0).uint(heard.seq);
        writer.option(heard.nonce.as_ref(), |writer, nonce| {
            writer.bytes(nonce);
        });
    });
}

pub(crate) fn read_join(reader: &mut Reader<'_>) -> Result<Join, CodecError> {
    let mut fields = reader.fields("Join")?;
    let folder = fields.need(reader, |reader| reader.text("a folder's name"))?;
    let replica = ReplicaId(fields.need(reader, |reader| reader.exactly("a replica"))?);
    let heard = fields.may(reader, read_heard)?;
    fields.end(reader)?;
    Ok(Join { folder, replica, heard })
}

fn read_heard(reader: &mut Reader<'_>) -> Result<Heard, CodecError> {
    let mut fields = reader.fields("what was heard")?;
    let replica = ReplicaId(fields.need(reader, |reader| reader.exactly("a replica"))?);
    let seq = fields.need(reader, read_seq)?;
    let nonce = fields.may(reader, |reader| reader.exactly("a nonce"))?;
    fields.end(reader)?;
    Ok(Heard { replica, seq, nonce })
}

pub(crate) fn write_ack(writer: &mut Writer, ack: Ack) {
    writer.array(1).uint(ack.seq);
}

pub(crate) fn read_ack(reader: &mut Reader<'_>) -> Result<Ack, CodecError> {
    let mut fields = reader.fields("Ack")?;
    let seq = fields.need(reader, read_seq)?;
    fields.end(reader)?;
    Ok(Ack { seq })
}

pub(crate) fn write_working(writer: &mut Writer, working: Working) {
    writer.array(1).uint(working.done);
}

pub(crate) fn read_working(reader: &mut Reader<'_>) -> Result<Working, CodecError> {
    let mut fields = reader.fields("Working")?;
    let done = fields.need(reader, |reader| reader.u64("what is done"))?;
    fields.end(reader)?;
    Ok(Working { done })
}

pub(crate) fn write_opened(writer: &mut Writer, opened: &Opened) {
    writer.array(9).bytes(&opened.replica.0).uint(opened.seq).uint(opened.entries).uint(opened.bytes);
    write_attributes(writer, &opened.root);
    writer.bool(opened.trusted).bool(opened.owners);
    writer.option(opened.guard.as_ref(), write_guard).option(opened.unread.as_ref(), |writer, unread| {
        writer.array(2).uint(unread.count);
        write_path(writer, &unread.first, &RelPath::root());
    });
}

fn write_guard(writer: &mut Writer, guard: &Guard) {
    let (kind, number) = match guard.bound {
        Bound::Formula => (0_u8, 0),
        Bound::Count(count) => (1, count),
        Bound::Percent(percent) => (2, percent.into()),
    };
    writer.array(3).uint(kind).uint(number).uint(guard.recent);
}

fn read_guard(reader: &mut Reader<'_>) -> Result<Guard, CodecError> {
    let mut fields = reader.fields("a delete guard")?;
    let kind = fields.need(reader, |reader| reader.u64("the kind of a bound"))?;
    let number = fields.need(reader, |reader| reader.u64("a bound"))?;
    let recent = fields.need(reader, |reader| reader.u64("a count of deletions"))?;
    fields.end(reader)?;
    let bound = match (kind, u8::try_from(number)) {
        (0, _) => Bound::Formula,
        (1, _) => Bound::Count(number),
        (2, Ok(percent)) => Bound::Percent(percent),
        _ => return Err(CodecError::Range { what: "a bound", value: number.into() }),
    };
    Ok(Guard { bound, recent })
}

fn read_unread(reader: &mut Reader<'_>) -> Result<Unread, CodecError> {
    let mut fields = reader.fields("what cannot be read")?;
    let count = fields.need(reader, |reader| reader.u64("a count of paths"))?;
    let first = fields.need(reader, |reader| read_path(reader, &RelPath::root()))?;
    fields.end(reader)?;
    Ok(Unread { count, first })
}

pub(crate) fn read_opened(reader: &mut Reader<'_>) -> Result<Opened, CodecError> {
    let mut fields = reader.fields("Opened")?;
    let replica = ReplicaId(fields.need(reader, |reader| reader.exactly("a replica"))?);
    let seq = fields.need(reader, read_seq)?;
    let entries = fields.need(reader, |reader| reader.u64("a count of entries"))?;
    let bytes = fields.need(reader, |reader| reader.u64("a sum of bytes"))?;
    let root = fields.need(reader, read_attributes)?;
    let trusted = fields.need(reader, |reader| reader.bool("whether a folder is trusted"))?;
    let owners = fields.may(reader, |reader| reader.bool("whether owners are taken"))?.unwrap_or(true);
    let guard = fields.may(reader, read_guard)?;
    let unread = fields.may(reader, read_unread)?;
    fields.end(reader)?;
    Ok(Opened { replica, seq, entries, bytes, root, trusted, owners, guard, unread })
}

pub(crate) fn write_settled(writer: &mut Writer, settled: Settled) {
    writer.array(2).uint(settled.seq).bool(settled.alone);
}

pub(crate) fn read_settled(reader: &mut Reader<'_>) -> Result<Settled, CodecError> {
    let mut fields = reader.fields("Settled")?;
    let seq = fields.need(reader, read_seq)?;
    let alone = fields.need(reader, |reader| reader.bool("whether nobody else wrote"))?;
    fields.end(reader)?;
    Ok(Settled { seq, alone })
}
