//! Tables as psql draws them: names centred, numbers to the right, `+` where a value goes on in the next line.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::shell::cells::{Cells, Column, ColumnKind, width};

use super::Style;

/// The width of each column over these rows, and its name where the names stand above.
pub(super) fn widths(columns: &[Column], rows: &[Cells], style: &Style) -> Vec<usize> {
    columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            rows.iter()
                .flat_map(|cells| cells.get(index).unwrap_or(&style.null).split('\n'))
                .map(|line| width(&visible(line)))
                .fold(
                    if style.expanded {
                        0
                    } else {
                        width(&visible(&column.name))
                    },
                    usize::max,
                )
        })
        .collect()
}

pub(super) fn header(out: &mut dyn Write, columns: &[Column], widths: &[usize]) -> io::Result<()> {
    for (index, (column, room)) in columns.iter().zip(widths).enumerate() {
        let name = visible(&column.name);
        let free = room.saturating_sub(width(&name));
        let left = free / 2;
        let border = if index == 0 { "" } else { "|" };
        write!(out, "{border} {:left$}{name}{:right$} ", "", "", right = free - left)?;
    }
    out.write_all(b"\n")?;
    for (index, room) in widths.iter().enumerate() {
        let border = if index == 0 { "" } else { "+" };
        write!(out, "{border}{}", "-".repeat(room + 2))?;
    }
    out.write_all(b"\n")
}

pub(super) fn row(
    out: &mut dyn Write,
    columns: &[Column],
    widths: &[usize],
    cells: &Cells,
    null: &str,
) -> io::Result<()> {
    let mut lines: Vec<_> = (0..columns.len())
        .map(|index| cells.get(index).unwrap_or(null).split('\n').peekable())
        .collect();
    loop {
        let mut more = false;
        for (index, ((column, room), lines)) in columns.iter().zip(widths).zip(&mut lines).enumerate() {
            let next = lines.next();
            let line = visible(next.unwrap_or_default());
            let goes_on = lines.peek().is_some();
            more |= goes_on;
            let free = room.saturating_sub(width(&line));
            let border = if index == 0 { "" } else { "|" };
            let last = index + 1 == columns.len();
            match (column.kind, goes_on) {
                (ColumnKind::Number, false) if last && next.is_none() => write!(out, "{border} ")?,
                (ColumnKind::Number, false) if last => write!(out, "{border} {:free$}{line}", "")?,
                (ColumnKind::Number, false) => write!(out, "{border} {:free$}{line} ", "")?,
                (_, true) => write!(out, "{border} {line}{:free$}+", "")?,
                // No blanks at the end of a line.
                (_, false) if last => write!(out, "{border} {line}")?,
                (_, false) => write!(out, "{border} {line}{:free$} ", "")?,
            }
        }
        out.write_all(b"\n")?;
        if !more {
            return Ok(());
        }
    }
}

/// A row as lines of `name | value`.
pub(super) fn record(
    out: &mut dyn Write,
    columns: &[Column],
    widths: &[usize],
    cells: &Cells,
    style: &Style,
    number: u64,
) -> io::Result<()> {
    let name_room = columns
        .iter()
        .map(|column| width(&visible(&column.name)))
        .max()
        .unwrap_or(0);
    let value_room = widths.iter().copied().max().unwrap_or(0);
    if !style.tuples_only {
        let title = format!("-[ RECORD {number} ]");
        let rule = (name_room + 1).saturating_sub(title.len());
        write!(out, "{title}{}", "-".repeat(rule))?;
        // The rule goes on over the values, with a cross where the bar is.
        let beyond = (name_room + 3 + value_room).saturating_sub(title.len() + rule);
        if rule > 0 && beyond > 0 {
            write!(out, "+{}", "-".repeat(beyond - 1))?;
        } else {
            write!(out, "{}", "-".repeat(beyond))?;
        }
        out.write_all(b"\n")?;
    } else if number > 1 {
        out.write_all(b"\n")?;
    }
    for (index, column) in columns.iter().enumerate() {
        let mut name = visible(&column.name);
        let mut lines = cells.get(index).unwrap_or(&style.null).split('\n').peekable();
        while let Some(line) = lines.next() {
            let free = name_room - width(&name);
            let line = visible(line);
            match lines.peek() {
                Some(_) => {
                    let rest = value_room.saturating_sub(width(&line));
                    writeln!(out, "{name}{:free$} | {line}{:rest$}+", "", "")?;
                }
                None => writeln!(out, "{name}{:free$} | {line}", "")?,
            }
            name = Cow::Borrowed("");
        }
    }
    Ok(())
}

/// Characters that would move the cursor or talk to the terminal, spelled out.
fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\t' => shown.push_str("    "),
            '\r' => shown.push_str("\\r"),
            '\n' => shown.push_str("\\n"),
            c if c.is_control() => shown.push_str(&format!("\\x{:02X}", u32::from(c))),
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}
