//! COPY TO: record batches in, bytes out.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use bytes::{BufMut, BytesMut};
use staffa_planner::value::{ColumnEncoder, EncodedColumn, Format, FormatSettings};
use staffa_planner::{CopyFormat, CopyHeader, CopyOptions, Error, ErrorKind, Result, SqlType};

use super::binary::{SIGNATURE, TRAILER};

/// Writes the data of one COPY TO.
#[derive(Debug)]
pub(crate) struct CopyWriter {
    columns: Vec<Column>,
    options: CopyOptions,
    /// Bytes that need an escape or quotes.
    special: [bool; 256],
}

#[derive(Debug)]
struct Column {
    name: String,
    encoder: ColumnEncoder,
    force_quote: bool,
}

impl CopyWriter {
    /// A writer of batches of this schema, whose columns are called and typed so.
    ///
    /// # Errors
    /// `FeatureNotSupported` when a column's type has no representation.
    pub(crate) fn new(
        schema: &Schema,
        columns: &[(String, SqlType)],
        options: &CopyOptions,
        settings: &FormatSettings,
    ) -> Result<Self> {
        if schema.fields().len() != columns.len() {
            return Err(Error::internal("the columns of a COPY are not those of its plan"));
        }
        let format = if options.format == CopyFormat::Binary {
            Format::Binary
        } else {
            Format::Text
        };
        let columns = schema
            .fields()
            .iter()
            .zip(columns)
            .map(|(field, (name, ty))| {
                Ok(Column {
                    name: name.clone(),
                    encoder: ColumnEncoder::new(field, ty, format, settings)?,
                    force_quote: options.force_quote.contains(name),
                })
            })
            .collect::<Result<_>>()?;
        let mut special = [false; 256];
        let bytes: &[u8] = match options.format {
            CopyFormat::Csv => &[options.delimiter, options.quote, b'\n', b'\r'],
            _ => &[options.delimiter, b'\\', 0x08, 0x0c, b'\n', b'\r', b'\t', 0x0b],
        };
        for &byte in bytes {
            special[usize::from(byte)] = true;
        }
        Ok(Self {
            columns,
            options: options.clone(),
            special,
        })
    }

    /// What stands before the first row.
    pub(crate) fn header(&self, out: &mut BytesMut) {
        match (self.options.format, self.options.header) {
            (CopyFormat::Binary, _) => {
                out.extend_from_slice(SIGNATURE);
                // No flags, no extension.
                out.put_u64(0);
            }
            (_, CopyHeader::None) => {}
            (format, _) => {
                for (at, column) in self.columns.iter().enumerate() {
                    if at > 0 {
                        out.put_u8(self.options.delimiter);
                    }
                    let start = out.len();
                    out.extend_from_slice(column.name.as_bytes());
                    match format {
                        CopyFormat::Csv => self.quote(start, false, out),
                        _ => self.escape(start, out),
                    }
                }
                out.put_u8(b'\n');
            }
        }
    }

    /// Writes all rows of a batch.
    #[cfg(test)]
    pub(crate) fn write(&self, batch: &RecordBatch, out: &mut BytesMut) -> Result<()> {
        self.write_rows(batch, out, &mut Vec::new())
    }

    /// Writes all rows of a batch, and puts where in `out` each of them ends into `ends`.
    ///
    /// # Errors
    /// When a value has no such representation.
    pub(crate) fn write_rows(&self, batch: &RecordBatch, out: &mut BytesMut, ends: &mut Vec<usize>) -> Result<()> {
        let columns = self
            .columns
            .iter()
            .zip(batch.columns())
            .map(|(column, array)| column.encoder.column(array))
            .collect::<Result<Vec<EncodedColumn<'_>>>>()?;
        for row in 0..batch.num_rows() {
            match self.options.format {
                CopyFormat::Binary => self.write_binary(&columns, row, out)?,
                _ => self.write_line(&columns, row, out)?,
            }
            ends.push(out.len());
        }
        Ok(())
    }

    /// What stands after the last row.
    pub(crate) fn trailer(&self, out: &mut BytesMut) {
        if self.options.format == CopyFormat::Binary {
            out.put_i16(TRAILER);
        }
    }

    fn write_line(&self, columns: &[EncodedColumn<'_>], row: usize, out: &mut BytesMut) -> Result<()> {
        let csv = self.options.format == CopyFormat::Csv;
        for (at, column) in columns.iter().enumerate() {
            if at > 0 {
                out.put_u8(self.options.delimiter);
            }
            let start = out.len();
            if !column.write(row, out)? {
                out.extend_from_slice(self.options.null.as_bytes());
            } else if csv {
                let force = self.columns.get(at).is_some_and(|column| column.force_quote);
                self.quote(start, force, out);
            } else {
                self.escape(start, out);
            }
        }
        out.put_u8(b'\n');
        Ok(())
    }

    /// CSV: puts what was written since `start` into quotes where needed.
    fn quote(&self, start: usize, force: bool, out: &mut BytesMut) {
        let text = &out[start..];
        let needed = force
            || text == self.options.null.as_bytes()
            || (text == b"\\." && self.columns.len() == 1)
            || text.iter().any(|&byte| self.special[usize::from(byte)]);
        if !needed {
            return;
        }
        let (quote, escape) = (self.options.quote, self.options.escape);
        let text = out.split_off(start);
        out.reserve(text.len() + 2);
        out.put_u8(quote);
        for &byte in &text {
            if byte == quote || byte == escape {
                out.put_u8(escape);
            }
            out.put_u8(byte);
        }
        out.put_u8(quote);
    }

    /// Text: puts backslashes into what was written since `start` where needed.
    fn escape(&self, start: usize, out: &mut BytesMut) {
        if !out[start..].iter().any(|&byte| self.special[usize::from(byte)]) {
            return;
        }
        let text = out.split_off(start);
        out.reserve(text.len() + 8);
        for &byte in &text {
            if !self.special[usize::from(byte)] {
                out.put_u8(byte);
                continue;
            }
            out.put_u8(b'\\');
            out.put_u8(match byte {
                // A delimiter stands for itself, even a tab's letter would.
                byte if byte == self.options.delimiter && byte != b'\t' => byte,
                0x08 => b'b',
                0x0c => b'f',
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                0x0b => b'v',
                other => other,
            });
        }
    }

    fn write_binary(&self, columns: &[EncodedColumn<'_>], row: usize, out: &mut BytesMut) -> Result<()> {
        let count = i16::try_from(columns.len())
            .map_err(|_| Error::new(ErrorKind::ProgramLimitExceeded, "too many columns for COPY"))?;
        out.put_i16(count);
        for column in columns {
            let start = out.len();
            out.put_i32(-1);
            if column.write(row, out)? {
                let length = i32::try_from(out.len() - start - 4)
                    .map_err(|_| Error::new(ErrorKind::ProgramLimitExceeded, "value is too large for COPY"))?;
                out[start..start + 4].copy_from_slice(&length.to_be_bytes());
            }
        }
        Ok(())
    }
}
