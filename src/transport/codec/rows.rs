//! Rows: who recorded what, with the replicas of a message named once, in a table.

use std::collections::HashMap;

use crate::model::metadata::Owner;
use crate::model::path::RelPath;
use crate::model::row::{Live, Loser, Origin, Row, Stamped, State, Tombstone};
use crate::model::version::{COUNTER_MAX, Dot, ReplicaId, SLOTS_MAX, VersionVector};
use crate::transport::codec::error::CodecError;
use crate::transport::codec::reader::Reader;
use crate::transport::codec::values::{
    read_attributes, read_content, read_inner_path, read_mode, read_timestamp, write_attributes,
    write_content, write_path, write_timestamp,
};
use crate::transport::codec::writer::Writer;

/// Losers of one row.
pub(crate) const LOSERS_MAX: usize = 64;
/// Replicas that one message names.
const REPLICAS_MAX: usize = 16 << 10;
const ID_BYTES: usize = 16;
const LIVE: u64 = 0;
const DELETED: u64 = 1;

/// The replicas of a message: each is named once, and is its place from then on.
#[derive(Default)]
pub(crate) struct Table {
    places: HashMap<ReplicaId, u64>,
    ids: Vec<ReplicaId>,
}

impl Table {
    fn place(&mut self, id: ReplicaId) -> u64 {
        let next = u64::try_from(self.ids.len()).unwrap_or(u64::MAX);
        *self.places.entry(id).or_insert_with(|| {
            self.ids.push(id);
            next
        })
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        let bytes: Vec<u8> = self.ids.iter().flat_map(|id| id.0).collect();
        writer.bytes(&bytes);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let bytes = reader.bytes("the replicas", REPLICAS_MAX * ID_BYTES)?;
        let (ids, rest) = bytes.as_chunks::<ID_BYTES>();
        if !rest.is_empty() {
            return Err(CodecError::Rule("the replicas end within an id"));
        }
        Ok(Self { places: HashMap::new(), ids: ids.iter().map(|id| ReplicaId(*id)).collect() })
    }

    fn id(&self, place: u64) -> Result<ReplicaId, CodecError> {
        let id = usize::try_from(place).ok().and_then(|place| self.ids.get(place));
        id.copied().ok_or(CodecError::Range { what: "the place of a replica", value: place.into() })
    }
}

fn write_dot(writer: &mut Writer, table: &mut Table, dot: Dot) {
    writer.uint(table.place(dot.replica)).uint(dot.counter);
}

fn write_vector(writer: &mut Writer, table: &mut Table, vector: &VersionVector) {
    writer.array(2 * vector.slots().len());
    vector.slots().for_each(|dot| write_dot(writer, table, dot));
}

/// Returns dots written one after the other as one list.
fn read_dots(
    reader: &mut Reader<'_>,
    table: &Table,
    what: &'static str,
    max: usize,
) -> Result<Vec<Dot>, CodecError> {
    let numbers = reader.list(what, 2 * max, |reader| reader.u64("a place or a counter"))?;
    let (pairs, rest) = numbers.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(CodecError::Rule("a replica without its counter"));
    }
    let dot = |[place, counter]: &[u64; 2]| match *counter {
        0 => Err(CodecError::Rule("a counter of 0")),
        counter if counter > COUNTER_MAX => {
            Err(CodecError::Range { what: "a counter", value: counter.into() })
        }
        counter => Ok(Dot { replica: table.id(*place)?, counter }),
    };
    pairs.iter().map(dot).collect()
}

fn read_dot(reader: &mut Reader<'_>, table: &Table) -> Result<Dot, CodecError> {
    match read_dots(reader, table, "a dot", 1)?.as_slice() {
        [dot] => Ok(*dot),
        _ => Err(CodecError::Rule("no dot where one is wanted")),
    }
}

fn read_vector(reader: &mut Reader<'_>, table: &Table) -> Result<VersionVector, CodecError> {
    let dots = read_dots(reader, table, "the slots of a vector", SLOTS_MAX)?;
    if !dots.is_sorted_by(|a, b| a.replica < b.replica) {
        return Err(CodecError::Rule("a vector that is not sorted, or has a slot twice"));
    }
    Ok(dots.into_iter().collect())
}

/// A vector is left out (null) if it covers the one dot of the row and nothing else.
pub(crate) fn write_row(writer: &mut Writer, table: &mut Table, row: &Row) {
    writer.array(if row.losers.is_empty() { 2 } else { 3 });
    let dot = match &row.state {
        State::Live(live) => live.content.dot,
        State::Deleted(tombstone) => tombstone.dot,
    };
    if row.vector == VersionVector::of(dot) {
        writer.null();
    } else {
        write_vector(writer, table, &row.vector);
    }
    match &row.state {
        State::Live(live) => write_live(writer, table, live),
        State::Deleted(tombstone) => write_tombstone(writer, table, tombstone),
    }
    if !row.losers.is_empty() {
        writer.array(row.losers.len());
        row.losers.iter().for_each(|loser| write_loser(writer, table, loser));
    }
}

pub(crate) fn read_row(reader: &mut Reader<'_>, table: &Table) -> Result<Row, CodecError> {
    let mut fields = reader.fields("a row")?;
    let vector = fields.may(reader, |reader| read_vector(reader, table))?;
    let state = fields.need(reader, |reader| read_state(reader, table))?;
    let losers =
        fields.may(reader, |reader| reader.list("losers", LOSERS_MAX, |reader| read_loser(reader, table)))?;
    fields.end(reader)?;
    let losers = losers.unwrap_or_default();
    if !losers.is_sorted_by(|a, b| a.dot < b.dot) {
        return Err(CodecError::Rule("losers that are not sorted, or one twice"));
    }
    let vector = vector.unwrap_or_else(|| {
        VersionVector::of(match &state {
            State::Live(live) => live.content.dot,
            State::Deleted(tombstone) => tombstone.dot,
        })
    });
    Ok(Row { vector, state, losers })
}

fn write_live(writer: &mut Writer, table: &mut Table, live: &Live) {
    writer.array(if live.moved_from.is_some() { 8 } else { 7 }).uint(LIVE);
    let dots = [live.content.dot, live.mode.dot, live.owner.dot, live.mtime.dot];
    let told = if dots.iter().all(|dot| *dot == dots[0]) { &dots[..1] } else { &dots[..] };
    writer.array(2 * told.len());
    told.iter().for_each(|dot| write_dot(writer, table, *dot));
    write_content(writer, &live.content.value);
    write_timestamp(writer, live.recorded);
    writer.uint(live.mode.value);
    writer.array(2).uint(live.owner.value.uid).uint(live.owner.value.gid);
    write_timestamp(writer, live.mtime.value);
    if let Some(origin) = &live.moved_from {
        writer.array(2);
        write_path(writer, &origin.path, &RelPath::root());
        write_vector(writer, table, &origin.vector);
    }
}

fn read_state(reader: &mut Reader<'_>, table: &Table) -> Result<State, CodecError> {
    let mut fields = reader.fields("the state of a row")?;
    let state = match fields.need(reader, |reader| reader.u64("a state"))? {
        LIVE => {
            let dots = fields.need(reader, |reader| read_dots(reader, table, "the dots of a row", 4))?;
            let [content, mode, owner, mtime] = match *dots.as_slice() {
                [dot] => [dot; 4],
                [content, mode, owner, mtime] => [content, mode, owner, mtime],
                _ => return Err(CodecError::Rule("a row has one dot or four")),
            };
            State::Live(Live {
                content: Stamped { value: fields.need(reader, read_content)?, dot: content },
                recorded: fields.need(reader, read_timestamp)?,
                mode: Stamped { value: fields.need(reader, read_mode)?, dot: mode },
                owner: Stamped { value: fields.need(reader, read_owner)?, dot: owner },
                mtime: Stamped { value: fields.need(reader, read_timestamp)?, dot: mtime },
                moved_from: fields.may(reader, |reader| read_origin(reader, table))?,
            })
        }
        DELETED => State::Deleted(Tombstone {
            dot: fields.need(reader, |reader| read_dot(reader, table))?,
            deleted_at: fields.need(reader, read_timestamp)?,
            content: fields.need(reader, read_content)?,
            attributes: fields.need(reader, read_attributes)?,
            moved_to: fields.may(reader, |reader| read_inner_path(reader, &RelPath::root()))?,
        }),
        other => return Err(CodecError::Range { what: "a state", value: other.into() }),
    };
    fields.end(reader)?;
    Ok(state)
}

fn read_owner(reader: &mut Reader<'_>) -> Result<Owner, CodecError> {
    let mut fields = reader.fields("an owner")?;
    let uid = fields.need(reader, |reader| reader.u32("a user"))?;
    let gid = fields.need(reader, |reader| reader.u32("a group"))?;
    fields.end(reader)?;
    Ok(Owner { uid, gid })
}

fn read_origin(reader: &mut Reader<'_>, table: &Table) -> Result<Origin, CodecError> {
    let mut fields = reader.fields("an origin")?;
    let path = fields.need(reader, |reader| read_inner_path(reader, &RelPath::root()))?;
    let vector = fields.need(reader, |reader| read_vector(reader, table))?;
    fields.end(reader)?;
    Ok(Origin { path, vector })
}

fn write_tombstone(writer: &mut Writer, table: &mut Table, tombstone: &Tombstone) {
    writer.array(if tombstone.moved_to.is_some() { 6 } else { 5 }).uint(DELETED);
    writer.array(2);
    write_dot(writer, table, tombstone.dot);
    write_timestamp(writer, tombstone.deleted_at);
    write_content(writer, &tombstone.content);
    write_attributes(writer, &tombstone.attributes);
    if let Some(path) = &tombstone.moved_to {
        write_path(writer, path, &RelPath::root());
    }
}

fn write_loser(writer: &mut Writer, table: &mut Table, loser: &Loser) {
    writer.array(if loser.path.is_some() { 4 } else { 3 }).array(2);
    write_dot(writer, table, loser.dot);
    write_content(writer, &loser.content);
    write_attributes(writer, &loser.attributes);
    if let Some(path) = &loser.path {
        write_path(writer, path, &RelPath::root());
    }
}

fn read_loser(reader: &mut Reader<'_>, table: &Table) -> Result<Loser, CodecError> {
    let mut fields = reader.fields("a loser")?;
    let dot = fields.need(reader, |reader| read_dot(reader, table))?;
    let content = fields.need(reader, read_content)?;
    let attributes = fields.need(reader, read_attributes)?;
    let path = fields.may(reader, |reader| read_inner_path(reader, &RelPath::root()))?;
    fields.end(reader)?;
    Ok(Loser { dot, content, attributes, path })
}
