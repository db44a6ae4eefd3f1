//! A row as a JSON object (RFC 8259).

use std::io::{self, Write};

use crate::shell::cells::{Cells, Column, ColumnKind};

/// Names that come twice get a number: an object's names should differ.
pub(super) fn object(out: &mut dyn Write, columns: &[Column], cells: &Cells) -> io::Result<()> {
    out.write_all(b"{")?;
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        let same_before = columns[..index]
            .iter()
            .filter(|other| other.name == column.name)
            .count();
        if same_before == 0 {
            text(out, &column.name)?;
        } else {
            text(out, &format!("{}_{}", column.name, same_before + 1))?;
        }
        out.write_all(b":")?;
        match (cells.get(index), column.kind) {
            (None, _) => out.write_all(b"null")?,
            (Some(value), ColumnKind::Number) if is_number(value) => out.write_all(value.as_bytes())?,
            (Some("t"), ColumnKind::Boolean) => out.write_all(b"true")?,
            (Some("f"), ColumnKind::Boolean) => out.write_all(b"false")?,
            (Some(value), ColumnKind::Json) => out.write_all(value.as_bytes())?,
            (Some(value), _) => text(out, value)?,
        }
    }
    out.write_all(b"}")
}

/// Infinity and NaN are no JSON numbers.
fn is_number(value: &str) -> bool {
    value
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E'))
        && value.bytes().any(|byte| byte.is_ascii_digit())
}

fn text(out: &mut dyn Write, value: &str) -> io::Result<()> {
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    for c in value.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if u32::from(c) < 0x20 => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    out.write_all(quoted.as_bytes())
}
