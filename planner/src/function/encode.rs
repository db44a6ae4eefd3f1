//! `encode` and `decode`: bytes as hexadecimal digits, base64 (RFC 2045, lines of 76) or with escapes (PostgreSQL's `encode.c`).

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringViewBuilder};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::bytes::{bytes, each, encoded_types, of_bytes, yielding_bytes};
use super::datetime::TEXT;
use super::native::{Columns, Shape};
use crate::error::{Error, ErrorKind, Result};
use crate::value::{escaped_bytes, hex_bytes};

pub(super) const FUNCTIONS: &[Shape] = &[
    Shape::new("encode", |types| of_bytes(types, &[TEXT], TEXT), encode),
    Shape::new("decode", encoded_types, decode),
];

/// Letters of a line of base64.
const LINE: usize = 76;

enum Form {
    Hex,
    Base64,
    Escape,
}

impl Form {
    fn named(name: &str) -> Result<Self> {
        match name.to_ascii_lowercase().as_str() {
            "hex" => Ok(Self::Hex),
            "base64" => Ok(Self::Base64),
            "escape" => Ok(Self::Escape),
            _ => Err(invalid(format!("unrecognized encoding: \"{name}\""))),
        }
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidParameterValue, message)
}

fn encode(columns: &Columns<'_>) -> Result<ArrayRef> {
    let encoded = |row| {
        let value = bytes(columns, 0, row)?;
        Ok(match Form::named(columns.text(1, row)?)? {
            Form::Hex => value
                .iter()
                .fold(String::with_capacity(value.len() * 2), |mut text, byte| {
                    // Writing to a string does not fail.
                    let _ = write!(text, "{byte:02x}");
                    text
                }),
            Form::Base64 => in_lines(&STANDARD.encode(value)),
            Form::Escape => escaped(value),
        })
    };
    let mut builder = StringViewBuilder::with_capacity(columns.rows);
    for text in each(columns, encoded) {
        builder.append_option(text?);
    }
    Ok(Arc::new(builder.finish()))
}

fn in_lines(letters: &str) -> String {
    let mut text = String::with_capacity(letters.len() + letters.len() / LINE);
    let mut rest = letters;
    while rest.len() > LINE {
        let (line, after) = rest.split_at(LINE);
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text + rest
}

/// Unlike the text of a `bytea`, control characters are as they are.
fn escaped(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value {
        match byte {
            b'\\' => text.push_str("\\\\"),
            0 | 0x80.. => {
                let _ = write!(text, "\\{byte:03o}");
            }
            _ => text.push(char::from(*byte)),
        }
    }
    text
}

fn decode(columns: &Columns<'_>) -> Result<ArrayRef> {
    yielding_bytes(columns, |row| {
        let text = columns.text(0, row)?;
        match Form::named(columns.text(1, row)?)? {
            Form::Hex => hex_bytes(text.as_bytes()),
            Form::Base64 => base64_bytes(text),
            Form::Escape => escaped_bytes(text.as_bytes()),
        }
    })
}

/// Four letters are three bytes; blanks may stand anywhere. What follows a `=` within four letters is read and not used.
fn base64_bytes(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut group, mut count, mut kept) = (0_u32, 0, 3);
    for letter in text.chars() {
        let value = match letter {
            ' ' | '\n' | '\t' | '\r' => continue,
            'A'..='Z' => letter as u32 - u32::from(b'A'),
            'a'..='z' => letter as u32 - u32::from(b'a') + 26,
            '0'..='9' => letter as u32 - u32::from(b'0') + 52,
            '+' => 62,
            '/' => 63,
            '=' => {
                if kept == 3 {
                    if count < 2 {
                        return Err(invalid("unexpected \"=\" while decoding base64 sequence"));
                    }
                    kept = count - 1;
                }
                0
            }
            _ => {
                let message = format!("invalid symbol \"{letter}\" found while decoding base64 sequence");
                return Err(invalid(message));
            }
        };
        group = group << 6 | value;
        count += 1;
        if count == 4 {
            bytes.extend(&group.to_be_bytes()[1..1 + kept]);
            (group, count) = (0, 0);
        }
    }
    if count != 0 {
        let hint = "Input data is missing padding, is truncated, or is otherwise corrupted.";
        return Err(invalid("invalid base64 end sequence").with_hint(hint));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64() {
        let of = |text| base64_bytes(text).map_err(|error| error.to_string());
        assert_eq!(of("YWJj\nZGVm"), Ok(b"abcdef".to_vec()));
        assert_eq!(of("YQ=="), Ok(b"a".to_vec()));
        assert_eq!(of("YWI="), Ok(b"ab".to_vec()));
        for wrong in ["YQ", "Y$==", "=", "Y=="] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
        assert_eq!(in_lines(&"a".repeat(152)), format!("{0}\n{0}", "a".repeat(76)));
    }
}
