//! Where in the data an error is: PostgreSQL's context line.

use std::borrow::Cow;
use std::fmt::{self, Write};

use staffa_planner::{Error, ErrorKind};

/// Most bytes of data an error shows.
const SHOWN_BYTES: usize = 100;

/// An error about the data's shape.
pub(super) fn bad_format(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadCopyFormat, message)
}

/// Adds the context to an error.
pub(super) fn within(error: Error, context: &str) -> Error {
    error.with_context(context)
}

/// `COPY t, line 3: "the whole line"`
pub(super) fn line(relation: &str, line: u64, data: &[u8]) -> String {
    format!("COPY {relation}, line {line}: \"{}\"", shown(data))
}

/// What `line` has behind `COPY t, line `: the place of a row that is told when the row is checked.
pub(super) fn write_place(place: &mut String, line: u64, data: &[u8]) -> fmt::Result {
    write!(place, "{line}: \"{}\"", shown(data))
}

/// `COPY t, line 3`
pub(super) fn bare_line(relation: &str, line: u64) -> String {
    format!("COPY {relation}, line {line}")
}

/// `COPY t, line 3, column b: "x"`
pub(super) fn field(relation: &str, line: u64, column: &str, data: Option<&[u8]>) -> String {
    match data {
        Some(data) => format!("COPY {relation}, line {line}, column {column}: \"{}\"", shown(data)),
        None => format!("COPY {relation}, line {line}, column {column}: null input"),
    }
}

/// `COPY t, line 3, column b`: binary data is not shown.
pub(super) fn binary_field(relation: &str, line: u64, column: &str) -> String {
    format!("COPY {relation}, line {line}, column {column}")
}

fn shown(data: &[u8]) -> Cow<'_, str> {
    if data.len() <= SHOWN_BYTES {
        return String::from_utf8_lossy(data);
    }
    // Not cut inside a character.
    let end = (SHOWN_BYTES - 3..=SHOWN_BYTES)
        .rev()
        .find(|&end| data[end] & 0xc0 != 0x80)
        .unwrap_or(SHOWN_BYTES);
    Cow::Owned(format!("{}...", String::from_utf8_lossy(&data[..end])))
}
