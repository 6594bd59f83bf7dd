//! Listings, and what became of changes: messages that carry rows.

use crate::model::path::RelPath;
use crate::model::version::{Dot, ReplicaId};
use crate::transport::codec::control::{read_refuse, write_refuse};
use crate::transport::codec::error::CodecError;
use crate::transport::codec::reader::Reader;
use crate::transport::codec::rows::{Table, read_row, write_row};
use crate::transport::codec::values::{
    read_inner_path, read_names, read_path, read_seq, write_names, write_path,
};
use crate::transport::codec::writer::Writer;
use crate::transport::member::{APPROVED_MAX, Follow, INLINE_BYTES_MAX, Inline};
use crate::transport::message::{ITEMS_MAX, List, Listed, News, Outcome, PAGE_ROWS_MAX, Page, StepResult};

const DONE: u64 = 0;
const CHANGED: u64 = 1;
const REFUSED: u64 = 2;

pub(crate) fn write_list(writer: &mut Writer, list: &List) {
    writer.array(3).uint(list.since);
    write_path(writer, &list.below, &RelPath::root());
    writer.option(list.after.as_ref(), |writer, after| write_path(writer, after, &RelPath::root()));
}

pub(crate) fn read_list(reader: &mut Reader<'_>) -> Result<List, CodecError> {
    let mut fields = reader.fields("List")?;
    let since = fields.need(reader, read_seq)?;
    let below = fields.need(reader, |reader| read_path(reader, &RelPath::root()))?;
    let after = fields.may(reader, |reader| read_path(reader, &RelPath::root()))?;
    fields.end(reader)?;
    Ok(List { since, below, after })
}

pub(crate) fn write_page(writer: &mut Writer, page: &Page) {
    let mut table = Table::default();
    let mut rows = Writer::new();
    rows.array(page.rows.len());
    let mut before = RelPath::root();
    for listed in &page.rows {
        rows.array(3);
        write_path(&mut rows, &listed.path, &before);
        rows.uint(listed.seq);
        write_row(&mut rows, &mut table, &listed.row);
        before.clone_from(&listed.path);
    }
    writer.array(4);
    table.write(writer);
    writer.raw(&rows.finish());
    write_names(writer, &page.names);
    writer.option(page.complete.as_ref(), |writer, seq| {
        writer.uint(*seq);
    });
}

pub(crate) fn read_page(reader: &mut Reader<'_>) -> Result<Page, CodecError> {
    let mut fields = reader.fields("Page")?;
    let table = fields.need(reader, Table::read)?;
    let mut before = RelPath::root();
    let rows = fields.need(reader, |reader| {
        reader.list("rows", PAGE_ROWS_MAX, |reader| {
            let listed = read_listed(reader, &table, &before)?;
            before.clone_from(&listed.path);
            Ok(listed)
        })
    })?;
    let names = fields.need(reader, read_names)?;
    let complete = fields.may(reader, read_seq)?;
    fields.end(reader)?;
    Ok(Page { rows, names, complete })
}

fn read_listed(reader: &mut Reader<'_>, table: &Table, before: &RelPath) -> Result<Listed, CodecError> {
    let mut fields = reader.fields("a listed row")?;
    let path = fields.need(reader, |reader| read_inner_path(reader, before))?;
    if path <= *before {
        return Err(CodecError::Rule("rows that are not in path order, or one twice"));
    }
    let seq = fields.need(reader, read_seq)?;
    let row = fields.need(reader, |reader| read_row(reader, table))?;
    fields.end(reader)?;
    Ok(Listed { path, seq, row })
}

pub(crate) fn write_follow(writer: &mut Writer, follow: Follow) {
    writer.array(1).uint(follow.since);
}

pub(crate) fn read_follow(reader: &mut Reader<'_>) -> Result<Follow, CodecError> {
    let mut fields = reader.fields("Follow")?;
    let since = fields.need(reader, read_seq)?;
    fields.end(reader)?;
    Ok(Follow { since })
}

pub(crate) fn write_news(writer: &mut Writer, news: &News) {
    writer.array(4);
    write_page(writer, &news.page);
    writer.list(&news.contents, |writer, content| {
        writer.array(2).uint(content.row).bytes(&content.bytes);
    });
    writer.option(news.nonce.as_ref(), |writer, nonce| {
        writer.bytes(nonce);
    });
    writer.list(&news.approved, |writer, dot| {
        writer.array(2).bytes(&dot.replica.0).uint(dot.counter);
    });
}

pub(crate) fn read_news(reader: &mut Reader<'_>) -> Result<News, CodecError> {
    let mut fields = reader.fields("News")?;
    let page = fields.need(reader, read_page)?;
    let contents = fields
        .need(reader, |reader| reader.list("contents", PAGE_ROWS_MAX, |reader| read_inline(reader, &page)))?;
    let nonce = fields.may(reader, |reader| reader.exactly("a nonce"))?;
    let approved = fields.may(reader, |reader| reader.list("approvals", APPROVED_MAX, read_approved))?;
    fields.end(reader)?;
    Ok(News { page, contents, nonce, approved: approved.unwrap_or_default() })
}

fn read_approved(reader: &mut Reader<'_>) -> Result<Dot, CodecError> {
    let mut fields = reader.fields("an approval")?;
    let replica = ReplicaId(fields.need(reader, |reader| reader.exactly("a replica"))?);
    let counter = fields.need(reader, read_seq)?;
    fields.end(reader)?;
    Ok(Dot { replica, counter })
}

fn read_inline(reader: &mut Reader<'_>, page: &Page) -> Result<Inline, CodecError> {
    let mut fields = reader.fields("a content")?;
    let row = fields.need(reader, |reader| reader.u32("the place of a row"))?;
    if usize::try_from(row).map_or(true, |row| row >= page.rows.len()) {
        return Err(CodecError::Rule("a content of no row"));
    }
    let bytes = fields.need(reader, |reader| reader.bytes("a content", INLINE_BYTES_MAX))?.to_vec();
    fields.end(reader)?;
    Ok(Inline { row, bytes })
}

pub(crate) fn write_outcome(writer: &mut Writer, outcome: &Outcome) {
    let mut table = Table::default();
    let mut results = Writer::new();
    results.array(outcome.results.len());
    for result in &outcome.results {
        match result {
            StepResult::Done { seq, row } => {
                results.array(3).uint(DONE).uint(*seq);
                write_row(&mut results, &mut table, row);
            }
            StepResult::Changed { now: None } => {
                results.array(1).uint(CHANGED);
            }
            StepResult::Changed { now: Some((seq, row)) } => {
                results.array(3).uint(CHANGED).uint(*seq);
                write_row(&mut results, &mut table, row);
            }
            StepResult::Refused(refuse) => {
                results.array(2).uint(REFUSED);
                write_refuse(&mut results, refuse);
            }
        }
    }
    writer.array(if outcome.more { 3 } else { 2 });
    table.write(writer);
    writer.raw(&results.finish());
    if outcome.more {
        writer.bool(true);
    }
}

pub(crate) fn read_outcome(reader: &mut Reader<'_>) -> Result<Outcome, CodecError> {
    let mut fields = reader.fields("Outcome")?;
    let table = fields.need(reader, Table::read)?;
    let results = fields
        .need(reader, |reader| reader.list("results", ITEMS_MAX, |reader| read_result(reader, &table)))?;
    let more = fields.may(reader, |reader| reader.bool("whether results follow"))?.unwrap_or_default();
    fields.end(reader)?;
    Ok(Outcome { results, more })
}

fn read_result(reader: &mut Reader<'_>, table: &Table) -> Result<StepResult, CodecError> {
    let mut fields = reader.fields("a result")?;
    let result = match fields.need(reader, |reader| reader.u64("a result"))? {
        DONE => {
            let seq = fields.need(reader, read_seq)?;
            let row = fields.need(reader, |reader| read_row(reader, table))?;
            StepResult::Done { seq, row }
        }
        CHANGED => match fields.may(reader, read_seq)? {
            Some(seq) => {
                let row = fields.need(reader, |reader| read_row(reader, table))?;
                StepResult::Changed { now: Some((seq, row)) }
            }
            None => StepResult::Changed { now: None },
        },
        REFUSED => StepResult::Refused(fields.need(reader, read_refuse)?),
        other => return Err(CodecError::Range { what: "a result", value: other.into() }),
    };
    fields.end(reader)?;
    Ok(result)
}
