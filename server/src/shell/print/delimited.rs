//! Rows with something between the values: unaligned, CSV, Markdown.

use std::io::{self, Write};

use crate::shell::cells::{Cells, Column, ColumnKind};

pub(super) fn unaligned_header(out: &mut dyn Write, columns: &[Column]) -> io::Result<()> {
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    writeln!(out, "{}", names.join("|"))
}

pub(super) fn unaligned_row(out: &mut dyn Write, columns: &[Column], cells: &Cells, null: &str) -> io::Result<()> {
    for index in 0..columns.len() {
        if index > 0 {
            out.write_all(b"|")?;
        }
        out.write_all(cells.get(index).unwrap_or(null).as_bytes())?;
    }
    out.write_all(b"\n")
}

pub(super) fn csv_header(out: &mut dyn Write, columns: &[Column]) -> io::Result<()> {
    csv_line(out, columns.iter().map(|column| Some(column.name.as_str())))
}

pub(super) fn csv_row(out: &mut dyn Write, columns: &[Column], cells: &Cells) -> io::Result<()> {
    csv_line(out, (0..columns.len()).map(|index| cells.get(index)))
}

/// NULL is nothing, an empty text is `""`: COPY reads both back as they were.
fn csv_line<'a>(out: &mut dyn Write, values: impl Iterator<Item = Option<&'a str>>) -> io::Result<()> {
    for (index, value) in values.enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        match value {
            None => {}
            Some(text) if text.is_empty() || text == "\\." || text.contains(['"', ',', '\n', '\r']) => {
                write!(out, "\"{}\"", text.replace('"', "\"\""))?;
            }
            Some(text) => out.write_all(text.as_bytes())?,
        }
    }
    out.write_all(b"\n")
}

pub(super) fn markdown_header(out: &mut dyn Write, columns: &[Column]) -> io::Result<()> {
    out.write_all(b"|")?;
    for column in columns {
        write!(out, " {} |", markdown_text(&column.name))?;
    }
    out.write_all(b"\n|")?;
    for column in columns {
        out.write_all(if column.kind == ColumnKind::Number {
            b" ---: |"
        } else {
            b" --- |"
        })?;
    }
    out.write_all(b"\n")
}

pub(super) fn markdown_row(out: &mut dyn Write, columns: &[Column], cells: &Cells, null: &str) -> io::Result<()> {
    out.write_all(b"|")?;
    for index in 0..columns.len() {
        write!(out, " {} |", markdown_text(cells.get(index).unwrap_or(null)))?;
    }
    out.write_all(b"\n")
}

fn markdown_text(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace('\n', "<br>")
}
