//! From fields to values: the rows found in COPY data, decoded column by column into batches.

use std::fmt::{self, Write};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringViewBuilder};
use arrow::datatypes::{Schema, SchemaRef};
use staffa_planner::types::arrow_field;
use staffa_planner::value::{ColumnDecoder, FormatSettings};
use staffa_planner::{CopyOptions, Error, ErrorKind, Result, SqlType, copy_place_field};

use super::context::{self, bad_format, within};
use super::csv::Csv;
use super::lines::Field;
use super::text::Text;

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;
/// Bytes of input after which a batch ends even with fewer rows: wide rows must not pile up.
const BATCH_BYTES: usize = 32 << 20;
/// Rows whose fields are found before they are decoded, column by column: few enough for their bytes to stay in the
/// processor's cache, enough for each type's code to run in a row.
const ROWS_DECODED_TOGETHER: usize = 256;
#[derive(Debug)]
pub(super) enum Syntax {
    Text(Box<Text>),
    Csv(Box<Csv>),
}

/// The rows of the batch being filled.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) relation: String,
    columns: Vec<Column>,
    schema: SchemaRef,
    null: Vec<u8>,
    /// Lines, or rows of binary data, up to the record being read.
    pub(super) line: u64,
    /// Rows and bytes of input in the batch.
    count: usize,
    bytes: usize,
    /// Rows found in the buffer and not yet decoded.
    found: Found,
    /// Where each row of the batch stands, if that is a column, too.
    places: Option<Places>,
}

#[derive(Debug, Default)]
struct Places {
    column: StringViewBuilder,
    /// The place being written.
    place: String,
}

impl Places {
    /// `write` is given nothing to append to.
    fn add(&mut self, write: impl FnOnce(&mut String) -> fmt::Result) -> Result<()> {
        self.place.clear();
        write(&mut self.place).map_err(|_| Error::internal("a place that cannot be written"))?;
        self.column.append_value(&self.place);
        Ok(())
    }
}

/// A value's bytes.
#[derive(Clone, Copy, Debug)]
enum Value {
    Null,
    /// A range of the buffer.
    Raw(usize, usize),
    /// A range of `Found::plain`.
    Plain(usize, usize),
}

/// Where rows are.
#[derive(Debug, Default)]
struct Found {
    /// The values of all rows, row by row.
    values: Vec<Value>,
    /// Values that had quotes or escapes, without them.
    plain: Vec<u8>,
    /// The line of each row, for errors.
    lines: Vec<u64>,
}

#[derive(Debug)]
struct Column {
    name: String,
    decoder: ColumnDecoder,
    force_null: bool,
    force_not_null: bool,
}

/// One line, taken apart.
pub(super) struct Record<'a> {
    pub(super) buffer: &'a [u8],
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) fields: &'a [Field],
}

impl Record<'_> {
    fn data(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }
}

impl Rows {
    pub(super) fn new(
        relation: &str,
        columns: &[(String, SqlType)],
        options: &CopyOptions,
        settings: &FormatSettings,
    ) -> Self {
        let zone = settings.time_zone.to_string();
        let fields: Vec<_> = columns
            .iter()
            .map(|(name, ty)| arrow_field(name, ty, true, &zone))
            .collect();
        let columns = columns
            .iter()
            .map(|(name, ty)| Column {
                name: name.clone(),
                decoder: ColumnDecoder::new(ty, options.format.wire(), settings, BATCH_ROWS),
                force_null: options.force_null.contains(name),
                force_not_null: options.force_not_null.contains(name),
            })
            .collect();
        Self {
            relation: relation.to_string(),
            columns,
            schema: Arc::new(Schema::new(fields)),
            null: options.null.clone().into_bytes(),
            line: 0,
            count: 0,
            bytes: 0,
            found: Found::default(),
            places: None,
        }
    }

    /// With one more column: where the row stands in the data.
    pub(super) fn with_places(mut self) -> Self {
        let fields = self.schema.fields().iter().cloned();
        let fields: Vec<_> = fields.chain([copy_place_field()]).collect();
        self.schema = Arc::new(Schema::new(fields));
        self.places = Some(Places::default());
        self
    }

    /// How many columns a row has.
    pub(super) fn width(&self) -> usize {
        self.columns.len()
    }

    pub(super) fn column_name(&self, at: usize) -> Option<&str> {
        self.columns.get(at).map(|column| column.name.as_str())
    }

    /// Takes note of a record, and decodes those found when they are enough.
    pub(super) fn find(&mut self, record: &Record<'_>, syntax: &Syntax) -> Result<()> {
        let (fields, columns) = (record.fields.len(), self.columns.len());
        // A table without columns has empty lines.
        let empty = columns == 0 && record.data().is_empty();
        if fields > columns && !empty {
            self.decode(record.buffer)?;
            return Err(self.line_error(bad_format("extra data after last expected column"), record));
        }
        for (field, column) in record.fields.iter().zip(&self.columns) {
            let value = self.found.value(record.buffer, field, &self.null, column, syntax);
            self.found.values.push(value);
        }
        if fields < columns {
            return self.missing_data(record);
        }
        self.found.lines.push(self.line);
        if let Some(places) = &mut self.places {
            places.add(|place| context::write_place(place, self.line, record.data()))?;
        }
        self.bytes += record.end - record.start;
        let found = self.found.lines.len();
        if found >= ROWS_DECODED_TOGETHER || self.count + found >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
            self.decode(record.buffer)?;
        }
        Ok(())
    }

    /// The error of a record with too few fields, unless a value before its end is wrong.
    #[cold]
    fn missing_data(&mut self, record: &Record<'_>) -> Result<()> {
        let columns = self.columns.len();
        let missing = record.fields.len();
        // NULL in the place of what is missing lets the rest be decoded like any other row.
        self.found
            .values
            .resize(self.found.values.len() + columns - missing, Value::Null);
        self.found.lines.push(self.line);
        self.decode(record.buffer)?;
        let name = self
            .columns
            .get(missing)
            .map(|column| column.name.as_str())
            .unwrap_or_default();
        Err(self.line_error(bad_format(format!("missing data for column \"{name}\"")), record))
    }

    /// Decodes the rows found, column by column. Of several errors the one in the first row counts, and in it the one
    /// in the first column, as if rows had been read one after the other.
    pub(super) fn decode(&mut self, buffer: &[u8]) -> Result<()> {
        let mut rows = self.found.lines.len();
        let mut first_error = None;
        let columns = self.columns.len();
        let bytes = |value: &Value| match *value {
            Value::Null => None,
            Value::Raw(start, end) => Some(&buffer[start..end]),
            Value::Plain(start, end) => Some(&self.found.plain[start..end]),
        };
        for (at, column) in self.columns.iter_mut().enumerate() {
            let values = self.found.values.iter().skip(at).step_by(columns).take(rows);
            if let Err((row, error)) = column.decoder.append_all(values.map(bytes)) {
                let value = self.found.values.get(row * columns + at).and_then(bytes);
                let line = self.found.lines.get(row).copied().unwrap_or(self.line);
                // PostgreSQL looks at the encoding of whole lines.
                let place = match error.kind() {
                    ErrorKind::CharacterNotInRepertoire => context::bare_line(&self.relation, line),
                    _ => context::field(&self.relation, line, &column.name, value),
                };
                first_error = Some(within(error, &place));
                rows = row;
            }
        }
        if let Some(error) = first_error {
            return Err(error);
        }
        self.count += self.found.lines.len();
        self.found.clear();
        Ok(())
    }

    pub(super) fn append_binary(
        &mut self,
        buffer: &[u8],
        fields: &[Option<(usize, usize)>],
        bytes: usize,
    ) -> Result<()> {
        for (column, field) in self.columns.iter_mut().zip(fields) {
            let value = field.map(|(start, end)| &buffer[start..end]);
            if let Err(error) = column.decoder.append(value) {
                return Err(within(
                    error,
                    &context::binary_field(&self.relation, self.line, &column.name),
                ));
            }
        }
        if let Some(places) = &mut self.places {
            places.add(|place| write!(place, "{}", self.line))?;
        }
        self.count += 1;
        self.bytes += bytes;
        Ok(())
    }

    /// HEADER MATCH: the first line must name the columns in their order.
    pub(super) fn match_header(&self, record: &Record<'_>, syntax: &Syntax) -> Result<()> {
        let expected = self.columns.len();
        if record.fields.len() != expected {
            let error = bad_format(format!(
                "wrong number of fields in header line: got {}, expected {expected}",
                record.fields.len()
            ));
            return Err(self.line_error(error, record));
        }
        for (at, (field, column)) in record.fields.iter().zip(&self.columns).enumerate() {
            let raw = &record.buffer[field.start..field.end];
            let mut value = Vec::new();
            if field.escaped {
                syntax.unescape(raw, &mut value)
            } else {
                value.extend_from_slice(raw)
            }
            if value == column.name.as_bytes() {
                continue;
            }
            let error = bad_format(format!(
                "column name mismatch in header line field {}: got \"{}\", expected \"{}\"",
                at + 1,
                String::from_utf8_lossy(&value),
                column.name
            ));
            return Err(self.line_error(error, record));
        }
        Ok(())
    }

    fn line_error(&self, error: Error, record: &Record<'_>) -> Error {
        within(error, &context::line(&self.relation, self.line, record.data()))
    }

    pub(super) fn full_batch(&mut self) -> Result<Option<RecordBatch>> {
        match self.count >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
            true => self.take_batch().map(Some),
            false => Ok(None),
        }
    }

    /// The batch that is not full.
    pub(super) fn last_batch(&mut self) -> Result<Option<RecordBatch>> {
        match self.count > 0 {
            true => self.take_batch().map(Some),
            false => Ok(None),
        }
    }

    fn take_batch(&mut self) -> Result<RecordBatch> {
        let mut arrays: Vec<ArrayRef> = self
            .columns
            .iter_mut()
            .map(|column| column.decoder.finish())
            .collect::<Result<_>>()?;
        if let Some(places) = &mut self.places {
            arrays.push(Arc::new(places.column.finish()));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.count));
        self.count = 0;
        self.bytes = 0;
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map_err(|error| Error::internal(format!("copied columns do not form a batch: {error}")))
    }
}

impl Found {
    /// What a field stands for.
    fn value(&mut self, buffer: &[u8], field: &Field, null: &[u8], column: &Column, syntax: &Syntax) -> Value {
        let raw = &buffer[field.start..field.end];
        if !field.escaped {
            return match raw == null && !column.force_not_null {
                true => Value::Null,
                false => Value::Raw(field.start, field.end),
            };
        }
        // Text compares the field as it stands, CSV a quoted field's value, and only if told to.
        if matches!(syntax, Syntax::Text(_)) && raw == null {
            return Value::Null;
        }
        let start = self.plain.len();
        syntax.unescape(raw, &mut self.plain);
        match column.force_null && self.plain[start..] == *null {
            true => Value::Null,
            false => Value::Plain(start, self.plain.len()),
        }
    }

    fn clear(&mut self) {
        self.values.clear();
        self.plain.clear();
        self.lines.clear();
    }
}

impl Syntax {
    fn unescape(&self, raw: &[u8], out: &mut Vec<u8>) {
        match self {
            Syntax::Text(text) => text.unescape(raw, out),
            Syntax::Csv(csv) => csv.unescape(raw, out),
        }
    }
}
