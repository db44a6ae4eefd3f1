//! Rows of a query as DataRow messages, written from the columns of a batch straight into the output buffer.

use arrow::array::RecordBatch;
use bytes::{BufMut, BytesMut};
use staffa::{ColumnEncoder, CommandTag, Error, ErrorKind, Format, FormatSettings, OutputColumn, RowStream};

use super::reply::{column_count, fill_length};
use super::report::{Report, Step};
use super::writer::Writer;

/// Longest row: a message's length is an Int32, and PostgreSQL stops at 1 GiB.
const ROW_BYTES_MAX: usize = 0x3fff_ffff;

/// A result that is being sent: the stream, and how far into its current batch the client has read.
pub(crate) struct RowSet {
    stream: RowStream,
    encoders: Vec<ColumnEncoder>,
    columns: i16,
    /// The batch under way and its next row.
    batch: Option<(RecordBatch, usize)>,
}

/// Where [`RowSet::send`] stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// All rows are out; this many in this call.
    All(u64),
    /// The client's limit is reached. Whether rows follow is not known yet, as in PostgreSQL.
    Limit,
}

impl RowSet {
    /// `formats` has one entry a column.
    pub(crate) fn new(stream: RowStream, formats: &[Format], settings: &FormatSettings) -> Step<Self> {
        let columns = column_count(stream.columns().len())?;
        let schema = stream.schema();
        let settings = &stream.format(settings);
        let matches = schema.fields().len() == stream.columns().len() && formats.len() == stream.columns().len();
        if !matches {
            return Err(Error::internal("the columns of a result do not match its description").into());
        }
        let encoders = schema
            .fields()
            .iter()
            .zip(stream.columns())
            .zip(formats)
            .map(|((field, column), format)| ColumnEncoder::new(field, &column.ty, *format, settings))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            stream,
            encoders,
            columns,
            batch: None,
        })
    }

    pub(crate) fn columns(&self) -> &[OutputColumn] {
        self.stream.columns()
    }

    /// The tag after the end, for `rows` rows.
    pub(crate) fn tag(&self, rows: u64) -> CommandTag {
        self.stream.tag(rows)
    }

    /// Sends rows until the end or until `rows_max` are sent. Waits for a slow client, and holds the query back meanwhile.
    pub(crate) async fn send(&mut self, writer: &mut Writer, rows_max: Option<u64>) -> Step<Sent> {
        let mut sent = 0;
        loop {
            let Some((batch, row)) = &mut self.batch else {
                match self.stream.next().await {
                    Some(batch) => self.batch = Some((batch?, 0)),
                    None => return Ok(Sent::All(sent)),
                }
                continue;
            };
            let rest = rows_max.map_or(usize::MAX, |max| usize::try_from(max - sent).unwrap_or(usize::MAX));
            let end = batch.num_rows().min(row.saturating_add(rest));
            while *row < end {
                let written = write_rows(writer, &self.encoders, self.columns, batch, *row..end)?;
                *row += written;
                sent += written as u64;
                if writer.is_full() {
                    writer.flush().await?;
                    // A slow client may be long with a batch.
                    self.stream.check()?;
                }
            }
            if *row == batch.num_rows() {
                self.batch = None;
            }
            if rows_max == Some(sent) {
                return Ok(Sent::Limit);
            }
        }
    }
}

/// Writes rows until the range ends or the buffer is full; gives how many.
fn write_rows(
    writer: &mut Writer,
    encoders: &[ColumnEncoder],
    columns: i16,
    batch: &RecordBatch,
    rows: std::ops::Range<usize>,
) -> Step<usize> {
    let encoded = encoders
        .iter()
        .zip(batch.columns())
        .map(|(encoder, column)| encoder.column(column))
        .collect::<Result<Vec<_>, _>>()?;
    let (start, end) = (rows.start, rows.end);
    for row in rows {
        if writer.is_full() {
            return Ok(row - start);
        }
        let out = writer.buffer();
        out.put_u8(b'D');
        let length_at = out.len();
        out.put_u32(0);
        out.put_i16(columns);
        for column in &encoded {
            let value_at = out.len();
            out.put_i32(-1);
            if column.write(row, out)? {
                fill_value_length(out, value_at);
            }
            if out.len() - length_at > ROW_BYTES_MAX {
                out.truncate(length_at - 1);
                return Err(
                    Report::error(ErrorKind::ProgramLimitExceeded, "a row is too long to be sent")
                        .detail(format!("A row can have {ROW_BYTES_MAX} bytes in its output form."))
                        .into(),
                );
            }
        }
        fill_length(out, length_at);
    }
    Ok(end - start)
}

/// Unlike a message's length, a value's does not count itself.
fn fill_value_length(out: &mut BytesMut, at: usize) {
    let length = u32::try_from(out.len() - at - 4).expect("an Arrow value is below 2 GiB in any form");
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}
