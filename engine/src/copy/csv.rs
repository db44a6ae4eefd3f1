//! CSV: where records and fields end, and what a quoted field stands for.

use staffa_planner::Result;

use super::lines::{AtLineEnd, LineEnd, Scan, Step, line_end};

/// The characters of one COPY's CSV.
#[derive(Debug)]
pub(super) struct Csv {
    delimiter: u8,
    quote: u8,
    escape: u8,
    /// Bytes at which a field outside quotes has to be looked at.
    special: [bool; 256],
    /// The same inside quotes.
    special_quoted: [bool; 256],
}

impl Csv {
    pub(super) fn new(delimiter: u8, quote: u8, escape: u8) -> Self {
        let class = |bytes: &[u8]| {
            let mut class = [false; 256];
            for &byte in bytes {
                class[usize::from(byte)] = true;
            }
            class
        };
        Self {
            delimiter,
            quote,
            escape,
            special: class(&[delimiter, quote, b'\n', b'\r']),
            special_quoted: class(&[quote, escape, b'\n', b'\r']),
        }
    }

    /// Scans on to the end of the record. `last` says that no more data comes.
    pub(super) fn scan(&self, buffer: &[u8], scan: &mut Scan, last: bool, end: &mut Option<LineEnd>) -> Result<Step> {
        if scan.at == scan.record && buffer.get(scan.at) == Some(&b'\\') {
            match end_marker(buffer, scan.at, last) {
                Marker::Yes => return Ok(Step::End),
                Marker::Unknown => return Ok(Step::NeedMore),
                Marker::No => {}
            }
        }
        loop {
            if scan.in_quotes && !self.scan_quoted(buffer, scan, last, *end) {
                return Ok(Step::NeedMore);
            }
            let rest = buffer.get(scan.at..).unwrap_or_default();
            let Some(length) = rest.iter().position(|&byte| self.special[usize::from(byte)]) else {
                scan.at = buffer.len();
                if !last || scan.record == buffer.len() {
                    return Ok(Step::NeedMore);
                }
                // The last line needs no line end.
                scan.end_field(buffer.len(), buffer.len());
                return Ok(Step::Record {
                    end: buffer.len(),
                    next: buffer.len(),
                });
            };
            let at = scan.at + length;
            let byte = buffer[at];
            if byte == self.delimiter {
                scan.end_field(at, at + 1);
            } else if byte == self.quote {
                scan.in_quotes = true;
                scan.escaped = true;
                scan.at = at + 1;
            } else {
                scan.at = at;
                match line_end(buffer, at, last, end, true)? {
                    AtLineEnd::NeedMore => return Ok(Step::NeedMore),
                    AtLineEnd::Line(next) => {
                        scan.end_field(at, next);
                        return Ok(Step::Record { end: at, next });
                    }
                }
            }
        }
    }

    /// Scans on to behind the closing quote; false when the data ends before.
    fn scan_quoted(&self, buffer: &[u8], scan: &mut Scan, last: bool, end: Option<LineEnd>) -> bool {
        loop {
            let rest = buffer.get(scan.at..).unwrap_or_default();
            let Some(length) = rest.iter().position(|&byte| self.special_quoted[usize::from(byte)]) else {
                scan.at = buffer.len();
                return false;
            };
            let at = scan.at + length;
            let byte = buffer[at];
            if byte == self.escape {
                match buffer.get(at + 1) {
                    Some(&next) if next == self.escape || next == self.quote => {
                        scan.at = at + 2;
                        continue;
                    }
                    None if !last => {
                        scan.at = at;
                        return false;
                    }
                    _ => {}
                }
            }
            scan.at = at + 1;
            if byte == self.quote {
                scan.in_quotes = false;
                return true;
            }
            let counts = if end == Some(LineEnd::Newline) { b'\n' } else { b'\r' };
            scan.inner_lines += u64::from(byte == counts && byte != self.escape);
        }
    }

    /// Appends the value of a field that has quotes.
    pub(super) fn unescape(&self, raw: &[u8], out: &mut Vec<u8>) {
        let mut in_quotes = false;
        let mut at = 0;
        while let Some(&byte) = raw.get(at) {
            at += 1;
            if in_quotes && byte == self.escape {
                match raw.get(at) {
                    Some(&next) if next == self.escape || next == self.quote => {
                        out.push(next);
                        at += 1;
                        continue;
                    }
                    _ => {}
                }
            }
            if byte == self.quote {
                in_quotes = !in_quotes;
            } else {
                out.push(byte);
            }
        }
    }
}

enum Marker {
    Yes,
    No,
    /// The data ends before it is clear.
    Unknown,
}

/// Whether the line at `at` is `\.` and nothing else.
fn end_marker(buffer: &[u8], at: usize, last: bool) -> Marker {
    match buffer.get(at + 1..) {
        Some([b'.', b'\n' | b'\r', ..]) => Marker::Yes,
        Some([b'.']) | Some([]) if !last => Marker::Unknown,
        Some([b'.']) => Marker::Yes,
        _ => Marker::No,
    }
}
