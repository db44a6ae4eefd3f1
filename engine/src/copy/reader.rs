//! COPY FROM: bytes in chunks of any size, record batches out.

use arrow::array::RecordBatch;
use staffa_planner::value::FormatSettings;
use staffa_planner::{CopyFormat, CopyHeader, CopyOptions, Error, ErrorKind, Result, SqlType};

use super::binary::{self, Item};
use super::context::{self, bad_format, within};
use super::csv::Csv;
use super::lines::{LineEnd, Scan, Step};
use super::rows::{Record, Rows, Syntax};
use super::text::Text;

/// Longest record read. What a client sends without ever ending a line stays in memory up to here.
const RECORD_BYTES_MAX: usize = 256 << 20;

/// Reads the data of one COPY FROM. After an error it is not to be used again.
#[derive(Debug)]
pub(crate) struct CopyReader {
    /// Data not yet made into rows; it begins with the record being scanned.
    buffer: Vec<u8>,
    source: Source,
    rows: Rows,
    /// The data ended by its own mark; what follows is dropped.
    ended: bool,
}

/// What is scanned, and where the scan stands.
#[derive(Debug)]
enum Source {
    Lines {
        syntax: Syntax,
        scan: Scan,
        line_end: Option<LineEnd>,
        header: CopyHeader,
    },
    Binary {
        header_read: bool,
        at: usize,
        fields: Vec<Option<(usize, usize)>>,
    },
}

impl CopyReader {
    /// A reader of rows with these columns, names and types, in the data's order. Errors call the table `relation`.
    ///
    /// # Errors
    /// `FeatureNotSupported` for options that cannot be used together on input.
    pub(crate) fn new(
        relation: &str,
        columns: &[(String, SqlType)],
        options: &CopyOptions,
        settings: &FormatSettings,
    ) -> Result<Self> {
        if options.format == CopyFormat::Binary && options.header != CopyHeader::None {
            return Err(Error::unsupported("cannot specify HEADER in BINARY mode"));
        }
        let lines = |syntax| Source::Lines {
            syntax,
            scan: Scan::default(),
            line_end: None,
            header: options.header,
        };
        let source = match options.format {
            CopyFormat::Text => lines(Syntax::Text(Box::new(Text::new(options.delimiter)))),
            CopyFormat::Csv => lines(Syntax::Csv(Box::new(Csv::new(
                options.delimiter,
                options.quote,
                options.escape,
            )))),
            CopyFormat::Binary => Source::Binary {
                header_read: false,
                at: 0,
                fields: Vec::new(),
            },
        };
        let rows = Rows::new(relation, columns, options, settings);
        Ok(Self {
            buffer: Vec::new(),
            source,
            rows,
            ended: false,
        })
    }

    /// Gives one more column, behind the others: where each row stands in the data.
    pub(crate) fn with_places(mut self) -> Self {
        self.rows = self.rows.with_places();
        self
    }

    /// The rows that were complete before the data failed, and the error with the line that was being read.
    pub(crate) fn fail(mut self, error: Error) -> (Result<Option<RecordBatch>>, Error) {
        let line = context::bare_line(&self.rows.relation, self.rows.line + 1);
        let is_begun = !matches!(self.source, Source::Binary { header_read: false, .. });
        let error = if is_begun { within(error, &line) } else { error };
        (self.rows.last_batch(), error)
    }

    /// Takes the next bytes, cut anywhere, and gives the batches that became full.
    ///
    /// # Errors
    /// `BadCopyFormat` for the shape of the data, else those of the column's type; the context says where.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<RecordBatch>> {
        if self.ended {
            // Lines behind `\.` are dropped; behind a binary trailer nothing may follow.
            return match self.source {
                Source::Binary { .. } if !bytes.is_empty() => Err(binary::data_after_end()),
                _ => Ok(Vec::new()),
            };
        }
        self.buffer.extend_from_slice(bytes);
        let mut full = Vec::new();
        self.read(false, &mut full)?;
        if self.buffer.len() > RECORD_BYTES_MAX {
            return Err(
                Error::new(ErrorKind::ProgramLimitExceeded, "COPY data has a row that is too long")
                    .with_detail(format!("The limit is {} MB.", RECORD_BYTES_MAX >> 20))
                    .with_hint("Look for a quote that is not closed."),
            );
        }
        Ok(full)
    }

    /// Reads what is left and gives the last batches.
    ///
    /// # Errors
    /// As `push`, and when the data stops inside a record.
    pub(crate) fn finish(mut self) -> Result<Option<RecordBatch>> {
        let mut full = Vec::new();
        if !self.ended {
            self.read(true, &mut full)?;
        }
        // At most one record was left, so a batch that became full by it is the only one.
        match full.pop() {
            Some(batch) => Ok(Some(batch)),
            None => self.rows.last_batch(),
        }
    }

    fn read(&mut self, last: bool, full: &mut Vec<RecordBatch>) -> Result<()> {
        let consumed = match &mut self.source {
            Source::Lines {
                syntax,
                scan,
                line_end,
                header,
            } => read_lines(&self.buffer, syntax, scan, line_end, header, &mut self.rows, last, full),
            Source::Binary {
                header_read,
                at,
                fields,
            } => read_binary(&self.buffer, header_read, at, fields, &mut self.rows, last, full),
        }?;
        match consumed {
            Consumed::UpTo(0) => {}
            Consumed::UpTo(count) => {
                self.buffer.drain(..count);
                match &mut self.source {
                    Source::Lines { scan, .. } => scan.shift(count),
                    Source::Binary { at, .. } => *at -= count,
                }
            }
            Consumed::Ended => {
                self.ended = true;
                self.buffer = Vec::new();
            }
        }
        Ok(())
    }
}

enum Consumed {
    /// So many bytes of the buffer are done with.
    UpTo(usize),
    /// The data ended by its mark.
    Ended,
}

#[allow(clippy::too_many_arguments)] // the parts of one reader, borrowed apart
fn read_lines(
    buffer: &[u8],
    syntax: &Syntax,
    scan: &mut Scan,
    line_end: &mut Option<LineEnd>,
    header: &mut CopyHeader,
    rows: &mut Rows,
    last: bool,
    full: &mut Vec<RecordBatch>,
) -> Result<Consumed> {
    loop {
        let step = match syntax {
            Syntax::Text(text) => text.scan(buffer, scan, last, line_end),
            Syntax::Csv(csv) => csv.scan(buffer, scan, last, line_end),
        };
        let step = match step {
            Ok(step) => step,
            Err(error) => {
                // What is wrong in an earlier line is told first.
                rows.decode(buffer)?;
                return Err(within(error, &context::bare_line(&rows.relation, rows.line + 1)));
            }
        };
        let (end, next) = match step {
            Step::Record { end, next } => (end, Some(next)),
            Step::LastRecord { end } => (end, None),
            Step::End => {
                rows.decode(buffer)?;
                return Ok(Consumed::Ended);
            }
            Step::NeedMore if last && scan.in_quotes => {
                rows.decode(buffer)?;
                let line = rows.line + 1 + scan.inner_lines;
                let data = &buffer[scan.record..];
                return Err(within(
                    bad_format("unterminated CSV quoted field"),
                    &context::line(&rows.relation, line, data),
                ));
            }
            Step::NeedMore => {
                rows.decode(buffer)?;
                return Ok(Consumed::UpTo(scan.record));
            }
        };
        rows.line += 1 + scan.inner_lines;
        let record = Record {
            buffer,
            start: scan.record,
            end,
            fields: &scan.fields,
        };
        match std::mem::take(header) {
            CopyHeader::None => rows.find(&record, syntax)?,
            CopyHeader::Line => {}
            CopyHeader::Match => rows.match_header(&record, syntax)?,
        }
        if let Some(batch) = rows.full_batch()? {
            full.push(batch);
        }
        match next {
            Some(next) => scan.begin(next),
            None => {
                rows.decode(buffer)?;
                return Ok(Consumed::Ended);
            }
        }
    }
}

fn read_binary(
    buffer: &[u8],
    header_read: &mut bool,
    at: &mut usize,
    fields: &mut Vec<Option<(usize, usize)>>,
    rows: &mut Rows,
    last: bool,
    full: &mut Vec<RecordBatch>,
) -> Result<Consumed> {
    if !*header_read {
        match binary::header_length(buffer)? {
            Some(length) => *at = length,
            None if last => return Err(bad_format("COPY file signature not recognized")),
            None => return Ok(Consumed::UpTo(0)),
        }
        *header_read = true;
    }
    loop {
        let item = binary::row(buffer, *at, rows.width(), fields)
            .map_err(|error| within(error, &context::bare_line(&rows.relation, rows.line + 1)))?;
        match item {
            Item::Row(end) => {
                rows.line += 1;
                rows.append_binary(buffer, fields, end - *at)?;
                *at = end;
                if let Some(batch) = rows.full_batch()? {
                    full.push(batch);
                }
            }
            Item::End(end) if end < buffer.len() => return Err(binary::data_after_end()),
            Item::End(_) => return Ok(Consumed::Ended),
            Item::NeedMore if last && *at < buffer.len() => {
                let line = rows.line + 1;
                let place = match rows.column_name(fields.len()) {
                    Some(column) => context::binary_field(&rows.relation, line, column),
                    None => context::bare_line(&rows.relation, line),
                };
                return Err(within(binary::unexpected_end(), &place));
            }
            // Data may end at a row's end without a trailer.
            Item::NeedMore => return Ok(Consumed::UpTo(*at)),
        }
    }
}
