//! Rows as text in one of several formats, a bounded part of them held back to find the widths.

mod aligned;
mod delimited;
mod json;

use std::io::{self, Write};

use super::cells::{Cells, Column};
use super::progress::Progress;

/// How rows are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputFormat {
    /// A table with columns, as psql prints it
    #[default]
    Aligned,
    /// Values with | between them
    Unaligned,
    /// Comma-separated values (RFC 4180) with a header
    Csv,
    /// One JSON array of objects
    Json,
    /// One JSON object a line
    Jsonl,
    /// A table for Markdown
    Markdown,
}

/// Everything about looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) format: OutputFormat,
    /// A line for each value instead of each row; aligned output only.
    pub(crate) expanded: bool,
    pub(crate) tuples_only: bool,
    pub(crate) null: String,
}

impl Style {
    /// Formats for programs hold rows and nothing else.
    fn is_for_programs(&self) -> bool {
        matches!(
            self.format,
            OutputFormat::Csv | OutputFormat::Json | OutputFormat::Jsonl
        )
    }
}

/// Rows and bytes that aligned output reads before it settles the widths; longer values later stick out.
const ROWS_HELD_MAX: usize = 10_000;
const BYTES_HELD_MAX: usize = 16 << 20;

/// Prints the result of one statement.
pub(crate) struct Printer<'a> {
    out: &'a mut dyn Write,
    style: &'a Style,
    progress: &'a Progress,
    columns: Vec<Column>,
    held: Vec<Cells>,
    held_bytes: usize,
    /// Known once the held rows are printed.
    widths: Option<Vec<usize>>,
    rows: u64,
}

impl<'a> Printer<'a> {
    pub(crate) fn new(out: &'a mut dyn Write, style: &'a Style, progress: &'a Progress) -> Self {
        Self {
            out,
            style,
            progress,
            columns: Vec::new(),
            held: Vec::new(),
            held_bytes: 0,
            widths: None,
            rows: 0,
        }
    }

    /// Begins a result with rows.
    pub(crate) fn begin(&mut self, columns: Vec<Column>) -> io::Result<()> {
        self.columns = columns;
        self.held.clear();
        self.held_bytes = 0;
        self.widths = None;
        self.rows = 0;
        match self.style.format {
            OutputFormat::Aligned => Ok(()),
            OutputFormat::Json => {
                self.progress.hide();
                self.out.write_all(b"[")
            }
            OutputFormat::Jsonl => Ok(()),
            OutputFormat::Markdown => {
                self.progress.hide();
                delimited::markdown_header(self.out, &self.columns)
            }
            OutputFormat::Csv | OutputFormat::Unaligned if self.style.tuples_only => Ok(()),
            OutputFormat::Csv => {
                self.progress.hide();
                delimited::csv_header(self.out, &self.columns)
            }
            OutputFormat::Unaligned => {
                self.progress.hide();
                delimited::unaligned_header(self.out, &self.columns)
            }
        }
    }

    pub(crate) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Prints, or holds back, one row.
    pub(crate) fn row(&mut self, cells: &Cells) -> io::Result<()> {
        self.rows += 1;
        self.progress.set_rows(self.rows);
        if self.style.format == OutputFormat::Aligned && self.widths.is_none() {
            self.held_bytes += cells.bytes();
            self.held.push(cells.clone());
            if self.held.len() >= ROWS_HELD_MAX || self.held_bytes >= BYTES_HELD_MAX {
                self.release()?;
            }
            return Ok(());
        }
        self.progress.hide();
        self.print(cells, self.rows)
    }

    /// Ends a result with rows.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.progress.hide();
        match self.style.format {
            OutputFormat::Aligned => {
                self.release()?;
                if !self.style.tuples_only {
                    // Expanded output counts in its record lines.
                    if !self.style.expanded || self.rows == 0 {
                        self.row_count()?;
                    }
                }
                self.out.write_all(b"\n")?;
            }
            OutputFormat::Unaligned if !self.style.tuples_only => self.row_count()?,
            OutputFormat::Json => self.out.write_all(b"]\n")?,
            _ => {}
        }
        self.out.flush()
    }

    /// The words of a command without rows.
    pub(crate) fn tag(&mut self, tag: &str) -> io::Result<()> {
        self.progress.hide();
        if !tag.is_empty() && !self.style.is_for_programs() && !self.style.tuples_only {
            writeln!(self.out, "{tag}")?;
        }
        self.out.flush()
    }

    /// Data of COPY TO STDOUT, as it is.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.progress.hide();
        self.out.write_all(bytes)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn row_count(&mut self) -> io::Result<()> {
        match self.rows {
            1 => writeln!(self.out, "(1 row)"),
            rows => writeln!(self.out, "({rows} rows)"),
        }
    }

    /// Settles the widths by the rows held back and prints those.
    fn release(&mut self) -> io::Result<()> {
        if self.widths.is_some() {
            return Ok(());
        }
        self.progress.hide();
        let held = std::mem::take(&mut self.held);
        let widths = aligned::widths(&self.columns, &held, self.style);
        if !self.style.expanded && !self.style.tuples_only {
            aligned::header(self.out, &self.columns, &widths)?;
        }
        self.widths = Some(widths);
        for (index, cells) in held.iter().enumerate() {
            self.print(cells, index as u64 + 1)?;
        }
        Ok(())
    }

    fn print(&mut self, cells: &Cells, number: u64) -> io::Result<()> {
        let (out, columns, style) = (&mut *self.out, self.columns.as_slice(), self.style);
        match style.format {
            OutputFormat::Aligned => {
                let widths = self.widths.as_deref().unwrap_or_default();
                if style.expanded {
                    aligned::record(out, columns, widths, cells, style, number)
                } else {
                    aligned::row(out, columns, widths, cells, &style.null)
                }
            }
            OutputFormat::Unaligned => delimited::unaligned_row(out, columns, cells, &style.null),
            OutputFormat::Csv => delimited::csv_row(out, columns, cells),
            OutputFormat::Markdown => delimited::markdown_row(out, columns, cells, &style.null),
            OutputFormat::Json => {
                out.write_all(if number == 1 { b"" } else { b",\n " })?;
                json::object(out, columns, cells)
            }
            OutputFormat::Jsonl => {
                json::object(out, columns, cells)?;
                out.write_all(b"\n")
            }
        }
    }
}

#[cfg(test)]
mod tests;
