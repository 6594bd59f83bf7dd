//! Requests for contents and for changes.

use crate::model::entry::Digest;
use crate::model::path::RelPath;
use crate::transport::codec::error::CodecError;
use crate::transport::codec::reader::Reader;
use crate::transport::codec::values::{
    read_attributes, read_content, read_inner_path, read_names, read_path, read_seq, write_attributes,
    write_content, write_names, write_path,
};
use crate::transport::codec::writer::Writer;
use crate::transport::member::Recover;
use crate::transport::message::{Act, Carried, Change, Fetch, ITEMS_MAX, Item, Step};

const MAKE: u64 = 0;
const DRESS: u64 = 1;
const REMOVE: u64 = 2;

const MODE: u8 = 1;
const USER: u8 = 1 << 1;
const GROUP: u8 = 1 << 2;
const MTIME: u8 = 1 << 3;

pub(crate) fn write_fetch(writer: &mut Writer, fetch: &Fetch) {
    writer.array(2).array(fetch.items.len());
    let mut before = &RelPath::root();
    for item in &fetch.items {
        writer.array(2);
        write_path(writer, &item.path, before);
        writer.uint(item.seq);
        before = &item.path;
    }
    writer.bool(fetch.plain);
}

pub(crate) fn read_fetch(reader: &mut Reader<'_>) -> Result<Fetch, CodecError> {
    let mut fields = reader.fields("Fetch")?;
    let mut before = RelPath::root();
    let items = fields.need(reader, |reader| {
        reader.list("items", ITEMS_MAX, |reader| {
            let mut fields = reader.fields("an item")?;
            let path = fields.need(reader, |reader| read_inner_path(reader, &before))?;
            let seq = fields.need(reader, read_seq)?;
            fields.end(reader)?;
            before.clone_from(&path);
            Ok(Item { path, seq })
        })
    })?;
    let plain = fields.may(reader, |reader| reader.bool("whether blocks are plain"))?.unwrap_or_default();
    fields.end(reader)?;
    Ok(Fetch { items, plain })
}

pub(crate) fn write_recover(writer: &mut Writer, recover: &Recover) {
    writer.array(1).array(recover.losers.len());
    let mut before = &RelPath::root();
    for (path, digest) in &recover.losers {
        writer.array(2);
        write_path(writer, path, before);
        writer.bytes(&digest.0);
        before = path;
    }
}

pub(crate) fn read_recover(reader: &mut Reader<'_>) -> Result<Recover, CodecError> {
    let mut fields = reader.fields("Recover")?;
    let mut before = RelPath::root();
    let losers = fields.need(reader, |reader| {
        reader.list("losers", ITEMS_MAX, |reader| {
            let mut fields = reader.fields("a loser")?;
            let path = fields.need(reader, |reader| read_inner_path(reader, &before))?;
            let digest = Digest(fields.need(reader, |reader| reader.exactly("a digest"))?);
            fields.end(reader)?;
            before.clone_from(&path);
            Ok((path, digest))
        })
    })?;
    fields.end(reader)?;
    Ok(Recover { losers })
}

pub(crate) fn write_change(writer: &mut Writer, change: &Change) {
    writer.array(6).uint(change.number).array(change.steps.len());
    let mut before = &RelPath::root();
    for step in &change.steps {
        writer.array(3);
        write_path(writer, &step.path, before);
        writer.uint(step.expect);
        write_act(writer, &step.act, &step.path);
        before = &step.path;
    }
    write_names(writer, &change.names);
    writer.uint(change.deletes).bool(change.approved).bool(change.whole);
}

pub(crate) fn read_change(reader: &mut Reader<'_>) -> Result<Change, CodecError> {
    let mut fields = reader.fields("Change")?;
    let number = fields.need(reader, |reader| reader.u64("the number of a batch"))?;
    let mut before = RelPath::root();
    let steps = fields.need(reader, |reader| {
        reader.list("steps", ITEMS_MAX, |reader| {
            let step = read_step(reader, &before)?;
            before.clone_from(&step.path);
            Ok(step)
        })
    })?;
    let names = fields.need(reader, read_names)?;
    let deletes = fields.need(reader, |reader| reader.u64("a count of deletions"))?;
    let approved = fields.need(reader, |reader| reader.bool("an approval"))?;
    let whole = fields.may(reader, |reader| reader.bool("whether contents are whole"))?.unwrap_or_default();
    fields.end(reader)?;
    Ok(Change { number, steps, names, deletes, approved, whole })
}

fn read_step(reader: &mut Reader<'_>, before: &RelPath) -> Result<Step, CodecError> {
    let mut fields = reader.fields("a step")?;
    let path = fields.need(reader, |reader| read_path(reader, before))?;
    let expect = fields.need(reader, read_seq)?;
    let act = fields.need(reader, |reader| read_act(reader, &path))?;
    fields.end(reader)?;
    if path.is_root() && !matches!(act, Act::Dress { .. }) {
        return Err(CodecError::Rule("a root can be dressed, and nothing else"));
    }
    Ok(Step { path, expect, act })
}

fn write_act(writer: &mut Writer, act: &Act, path: &RelPath) {
    match act {
        Act::Make { content, attributes, which, from } => {
            writer.array(if from.is_some() { 5 } else { 4 }).uint(MAKE);
            write_content(writer, content);
            write_attributes(writer, attributes);
            writer.uint(carried_bits(*which));
            if let Some(from) = from {
                write_path(writer, from, path);
            }
        }
        Act::Dress { attributes, which } => {
            writer.array(3).uint(DRESS);
            write_attributes(writer, attributes);
            writer.uint(carried_bits(*which));
        }
        Act::Remove { moved_to: None } => {
            writer.array(1).uint(REMOVE);
        }
        Act::Remove { moved_to: Some(place) } => {
            writer.array(2).uint(REMOVE);
            write_path(writer, place, path);
        }
    }
}

fn read_act(reader: &mut Reader<'_>, path: &RelPath) -> Result<Act, CodecError> {
    let mut fields = reader.fields("an act")?;
    let act = match fields.need(reader, |reader| reader.u64("an act"))? {
        MAKE => Act::Make {
            content: fields.need(reader, read_content)?,
            attributes: fields.need(reader, read_attributes)?,
            which: fields.need(reader, read_carried)?,
            from: fields.may(reader, |reader| read_inner_path(reader, path))?,
        },
        DRESS => Act::Dress {
            attributes: fields.need(reader, read_attributes)?,
            which: fields.need(reader, read_carried)?,
        },
        REMOVE => Act::Remove { moved_to: fields.may(reader, |reader| read_inner_path(reader, path))? },
        other => return Err(CodecError::Range { what: "an act", value: other.into() }),
    };
    fields.end(reader)?;
    Ok(act)
}

fn carried_bits(which: Carried) -> u8 {
    let bits = [(which.mode, MODE), (which.user, USER), (which.group, GROUP), (which.mtime, MTIME)];
    bits.iter().filter(|(meant, _)| *meant).map(|(_, bit)| bit).sum()
}

/// A bit of a later version is refused, not ignored: an attribute would be lost in silence.
fn read_carried(reader: &mut Reader<'_>) -> Result<Carried, CodecError> {
    let bits = reader.small("the attributes that are meant", u64::from(MODE | USER | GROUP | MTIME))?;
    let has = |bit: u8| bits & u32::from(bit) != 0;
    Ok(Carried { mode: has(MODE), user: has(USER), group: has(GROUP), mtime: has(MTIME) })
}
