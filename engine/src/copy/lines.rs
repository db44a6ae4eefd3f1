//! What text and CSV share: line ends, the fields of a record, and how a scan is suspended where the data stops.

use staffa_planner::Result;

use super::context::bad_format;

/// How lines end; the first line decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineEnd {
    /// `\n`
    Newline,
    /// `\r`
    Return,
    /// `\r\n`
    Both,
}

/// One field of a record: a range of the buffer, and what has to be done to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Not the value as it stands: quotes or escapes have to go.
    pub(super) escaped: bool,
}

/// Where a scan for the end of a record stands; it goes on there when more data has come.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Where the record begins.
    pub(super) record: usize,
    /// The next byte to look at.
    pub(super) at: usize,
    /// Where the field being scanned begins.
    pub(super) field: usize,
    pub(super) escaped: bool,
    /// CSV: inside quotes.
    pub(super) in_quotes: bool,
    /// Line ends inside the record's quotes.
    pub(super) inner_lines: u64,
    /// The fields that are complete.
    pub(super) fields: Vec<Field>,
}

impl Scan {
    /// Ends the field at `end` and begins the next one at `next`.
    pub(super) fn end_field(&mut self, end: usize, next: usize) {
        self.fields.push(Field {
            start: self.field,
            end,
            escaped: self.escaped,
        });
        self.field = next;
        self.at = next;
        self.escaped = false;
    }

    /// Begins a new record at `start`.
    pub(super) fn begin(&mut self, start: usize) {
        self.record = start;
        self.at = start;
        self.field = start;
        self.escaped = false;
        self.in_quotes = false;
        self.inner_lines = 0;
        self.fields.clear();
    }

    /// The first `count` bytes of the buffer, all of complete records, were dropped.
    pub(super) fn shift(&mut self, count: usize) {
        self.record -= count;
        self.at -= count;
        self.field -= count;
        for field in &mut self.fields {
            field.start -= count;
            field.end -= count;
        }
    }
}

/// What a scan came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The record's fields are complete; it ends at `end`, the next one begins at `next`.
    Record { end: usize, next: usize },
    /// As `Record`, and `\.` behind it ends the data.
    LastRecord { end: usize },
    /// `\.`, the end of the data.
    End,
    /// The record goes on beyond the data at hand.
    NeedMore,
}

/// What stands at a line end character.
pub(super) enum AtLineEnd {
    /// The line ends here, and the next begins at this position.
    Line(usize),
    /// A `\r` is the last byte at hand: the next one says what it is.
    NeedMore,
}

/// Judges the `\n` or `\r` at `at`. `last` says that no more data comes.
///
/// # Errors
/// When this is another line end than the one the data began with.
pub(super) fn line_end(
    buffer: &[u8],
    at: usize,
    last: bool,
    known: &mut Option<LineEnd>,
    csv: bool,
) -> Result<AtLineEnd> {
    let (found, next) = if buffer[at] == b'\n' {
        (LineEnd::Newline, at + 1)
    } else {
        match buffer.get(at + 1) {
            Some(b'\n') if *known != Some(LineEnd::Return) => (LineEnd::Both, at + 2),
            None if !last && *known != Some(LineEnd::Return) => return Ok(AtLineEnd::NeedMore),
            _ => (LineEnd::Return, at + 1),
        }
    };
    if *known.get_or_insert(found) == found {
        return Ok(AtLineEnd::Line(next));
    }
    Err(match (found == LineEnd::Newline, csv) {
        (true, true) => {
            bad_format("unquoted newline found in data").with_hint("Use quoted CSV field to represent newline.")
        }
        (true, false) => bad_format("literal newline found in data").with_hint("Use \"\\n\" to represent newline."),
        (false, true) => bad_format("unquoted carriage return found in data")
            .with_hint("Use quoted CSV field to represent carriage return."),
        (false, false) => {
            bad_format("literal carriage return found in data").with_hint("Use \"\\r\" to represent carriage return.")
        }
    })
}
