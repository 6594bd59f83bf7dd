//! Whole messages: the body of a frame of each type.

use crate::transport::codec::contents;
use crate::transport::codec::control;
use crate::transport::codec::error::CodecError;
use crate::transport::codec::listing;
use crate::transport::codec::pack;
use crate::transport::codec::reader::Reader;
use crate::transport::codec::requests;
use crate::transport::codec::shape;
use crate::transport::codec::writer::Writer;
use crate::transport::frame::Type;
use crate::transport::message::Message;

/// Folders in one list.
const FOLDERS_MAX: usize = 4096;

/// Returns the type and the body of the frame that carries `message`.
#[must_use]
pub fn encode(message: &Message) -> (Type, Vec<u8>) {
    let mut writer = Writer::new();
    let kind = kind(message);
    match message {
        Message::Hello(hello) => control::write_hello(&mut writer, hello),
        Message::Welcome(welcome) => control::write_welcome(&mut writer, welcome),
        Message::Refuse(refuse) => control::write_refuse(&mut writer, refuse),
        Message::FolderList(folders) => {
            writer.array(1).list(folders, control::write_folder);
        }
        Message::Open(open) => control::write_open(&mut writer, open),
        Message::Join(join) => control::write_join(&mut writer, join),
        Message::Ack(ack) => control::write_ack(&mut writer, *ack),
        Message::Working(working) => control::write_working(&mut writer, *working),
        Message::Opened(opened) => control::write_opened(&mut writer, opened),
        Message::Settled(settled) => control::write_settled(&mut writer, *settled),
        Message::List(list) => listing::write_list(&mut writer, list),
        Message::Page(page) => listing::write_page(&mut writer, page),
        Message::Follow(follow) => listing::write_follow(&mut writer, *follow),
        Message::News(news) => listing::write_news(&mut writer, news),
        Message::Fetch(fetch) => requests::write_fetch(&mut writer, fetch),
        Message::Recover(recover) => requests::write_recover(&mut writer, recover),
        Message::Change(change) => requests::write_change(&mut writer, change),
        Message::Outcome(outcome) => listing::write_outcome(&mut writer, outcome),
        Message::Whole(ids) => contents::write_whole(&mut writer, ids),
        Message::Outline(id) => contents::write_outline(&mut writer, *id),
        Message::Groups(encoded) | Message::Chunks(encoded) => contents::write_encoded(&mut writer, encoded),
        Message::Expand(expand) => contents::write_expand(&mut writer, expand),
        Message::Parts(parts) => contents::write_parts(&mut writer, parts),
        Message::Block(block) => contents::write_block(&mut writer, block),
        Message::Absent(absent) => contents::write_absent(&mut writer, absent),
        Message::Folders | Message::Settle | Message::BlocksEnd | Message::End => {
            writer.array(0);
        }
    }
    let body = writer.finish();
    (kind, if is_packed(kind) { pack::pack(&body) } else { body })
}

/// Returns the message that `body` is, as the body of a frame of type `kind`.
///
/// # Errors
/// It is not one, or breaks a limit.
pub fn decode(kind: Type, body: &[u8]) -> Result<Message, CodecError> {
    shape::check(body)?;
    if !is_packed(kind) {
        return read(kind, body);
    }
    let body = pack::unpack(body)?;
    shape::check(&body)?;
    read(kind, &body)
}

fn read(kind: Type, body: &[u8]) -> Result<Message, CodecError> {
    let reader = &mut Reader::new(body);
    let message = match kind {
        Type::Hello => Message::Hello(control::read_hello(reader)?),
        Type::Welcome => Message::Welcome(control::read_welcome(reader)?),
        Type::Refuse => Message::Refuse(control::read_refuse(reader)?),
        Type::Folders => read_nothing(reader, Message::Folders)?,
        Type::FolderList => {
            let mut fields = reader.fields("FolderList")?;
            let folders =
                fields.need(reader, |reader| reader.list("folders", FOLDERS_MAX, control::read_folder))?;
            fields.end(reader)?;
            Message::FolderList(folders)
        }
        Type::Open => Message::Open(control::read_open(reader)?),
        Type::Join => Message::Join(control::read_join(reader)?),
        Type::Ack => Message::Ack(control::read_ack(reader)?),
        Type::Working => Message::Working(control::read_working(reader)?),
        Type::Opened => Message::Opened(control::read_opened(reader)?),
        Type::Settle => read_nothing(reader, Message::Settle)?,
        Type::Settled => Message::Settled(control::read_settled(reader)?),
        Type::List => Message::List(listing::read_list(reader)?),
        Type::Page => Message::Page(listing::read_page(reader)?),
        Type::Follow => Message::Follow(listing::read_follow(reader)?),
        Type::News => Message::News(listing::read_news(reader)?),
        Type::Fetch => Message::Fetch(requests::read_fetch(reader)?),
        Type::Recover => Message::Recover(requests::read_recover(reader)?),
        Type::Change => Message::Change(requests::read_change(reader)?),
        Type::Outcome => Message::Outcome(listing::read_outcome(reader)?),
        Type::Whole => Message::Whole(contents::read_whole(reader)?),
        Type::Outline => Message::Outline(contents::read_outline(reader)?),
        Type::Groups => Message::Groups(contents::read_encoded(reader)?),
        Type::Expand => Message::Expand(contents::read_expand(reader)?),
        Type::Chunks => Message::Chunks(contents::read_encoded(reader)?),
        Type::Parts => Message::Parts(contents::read_parts(reader)?),
        Type::Block => Message::Block(contents::read_block(reader)?),
        Type::BlocksEnd => read_nothing(reader, Message::BlocksEnd)?,
        Type::Absent => Message::Absent(contents::read_absent(reader)?),
        Type::End => read_nothing(reader, Message::End)?,
    };
    reader.finish()?;
    Ok(message)
}

/// A message without fields, so far.
fn read_nothing(reader: &mut Reader<'_>, message: Message) -> Result<Message, CodecError> {
    reader.fields("a message without fields")?.end(reader)?;
    Ok(message)
}

/// Whether bodies of this type are compressed as a whole: those in which names and numbers repeat.
fn is_packed(kind: Type) -> bool {
    matches!(kind, Type::Page | Type::News | Type::Recover | Type::Fetch | Type::Change | Type::Outcome)
}

fn kind(message: &Message) -> Type {
    match message {
        Message::Hello(_) => Type::Hello,
        Message::Welcome(_) => Type::Welcome,
        Message::Refuse(_) => Type::Refuse,
        Message::Folders => Type::Folders,
        Message::FolderList(_) => Type::FolderList,
        Message::Open(_) => Type::Open,
        Message::Join(_) => Type::Join,
        Message::Ack(_) => Type::Ack,
        Message::Working(_) => Type::Working,
        Message::Opened(_) => Type::Opened,
        Message::Settle => Type::Settle,
        Message::Settled(_) => Type::Settled,
        Message::List(_) => Type::List,
        Message::Page(_) => Type::Page,
        Message::Follow(_) => Type::Follow,
        Message::News(_) => Type::News,
        Message::Fetch(_) => Type::Fetch,
        Message::Recover(_) => Type::Recover,
        Message::Change(_) => Type::Change,
        Message::Outcome(_) => Type::Outcome,
        Message::Whole(_) => Type::Whole,
        Message::Outline(_) => Type::Outline,
        Message::Groups(_) => Type::Groups,
        Message::Expand(_) => Type::Expand,
        Message::Chunks(_) => Type::Chunks,
        Message::Parts(_) => Type::Parts,
        Message::Block(_) => Type::Block,
        Message::BlocksEnd => Type::BlocksEnd,
        Message::Absent(_) => Type::Absent,
        Message::End => Type::End,
    }
}
