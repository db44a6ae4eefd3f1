//! The text format: tab-separated lines with backslash escapes.

use staffa_planner::Result;

use super::context::bad_format;
use super::lines::{AtLineEnd, LineEnd, Scan, Step, line_end};

/// The characters of one COPY's text.
#[derive(Debug)]
pub(super) struct Text {
    delimiter: u8,
    special: [bool; 256],
}

impl Text {
    pub(super) fn new(delimiter: u8) -> Self {
        let mut special = [false; 256];
        for byte in [delimiter, b'\\', b'\n', b'\r'] {
            special[usize::from(byte)] = true;
        }
        Self { delimiter, special }
    }

    /// Scans on to the end of the record. `last` says that no more data comes.
    pub(super) fn scan(&self, buffer: &[u8], scan: &mut Scan, last: bool, end: &mut Option<LineEnd>) -> Result<Step> {
        loop {
            let rest = buffer.get(scan.at..).unwrap_or_default();
            let Some(length) = rest.iter().position(|&byte| self.special[usize::from(byte)]) else {
                scan.at = buffer.len();
                if !last || scan.record == buffer.len() {
                    return Ok(Step::NeedMore);
                }
                scan.end_field(buffer.len(), buffer.len());
                return Ok(Step::Record {
                    end: buffer.len(),
                    next: buffer.len(),
                });
            };
            let at = scan.at + length;
            scan.at = at;
            match buffer[at] {
                byte if byte == self.delimiter => scan.end_field(at, at + 1),
                b'\\' => match buffer.get(at + 1) {
                    None if !last => return Ok(Step::NeedMore),
                    Some(b'.') => {
                        if !ends_line(buffer, at + 2, last)? {
                            return Ok(Step::NeedMore);
                        }
                        if at == scan.record {
                            return Ok(Step::End);
                        }
                        scan.end_field(at, at);
                        return Ok(Step::LastRecord { end: at });
                    }
                    _ => {
                        // Whatever follows, even a line end, is data.
                        scan.escaped = true;
                        scan.at = (at + 2).min(buffer.len());
                    }
                },
                _ => match line_end(buffer, at, last, end, false)? {
                    AtLineEnd::NeedMore => return Ok(Step::NeedMore),
                    AtLineEnd::Line(next) => {
                        scan.end_field(at, next);
                        return Ok(Step::Record { end: at, next });
                    }
                },
            }
        }
    }

    /// Appends the value of a field that has backslashes.
    pub(super) fn unescape(&self, raw: &[u8], out: &mut Vec<u8>) {
        let mut at = 0;
        while let Some(&byte) = raw.get(at) {
            at += 1;
            if byte != b'\\' {
                out.push(byte);
                continue;
            }
            let Some(&letter) = raw.get(at) else { break };
            at += 1;
            match letter {
                b'b' => out.push(0x08),
                b'f' => out.push(0x0c),
                b'n' => out.push(b'\n'),
                b'r' => out.push(b'\r'),
                b't' => out.push(b'\t'),
                b'v' => out.push(0x0b),
                b'0'..=b'7' => {
                    let mut value = u16::from(letter - b'0');
                    for _ in 0..2 {
                        let Some(digit @ b'0'..=b'7') = raw.get(at) else { break };
                        value = value << 3 | u16::from(digit - b'0');
                        at += 1;
                    }
                    out.push((value & 0xff) as u8);
                }
                b'x' => match raw.get(at).copied().and_then(hex_digit) {
                    Some(first) => {
                        at += 1;
                        let mut value = first;
                        if let Some(second) = raw.get(at).copied().and_then(hex_digit) {
                            value = value << 4 | second;
                            at += 1;
                        }
                        out.push(value);
                    }
                    None => out.push(b'x'),
                },
                other => out.push(other),
            }
        }
    }
}

/// Whether a line ends at `at`; false when the data ends before it is clear.
fn ends_line(buffer: &[u8], at: usize, last: bool) -> Result<bool> {
    match buffer.get(at) {
        Some(b'\n' | b'\r') => Ok(true),
        None => Ok(last),
        Some(_) => Err(bad_format("end-of-copy marker corrupt")),
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}
