//! Text, `bytea` and `uuid`.

use bytes::{BufMut, BytesMut};

use super::{ByteaOutput, invalid_text};
use crate::error::{Error, ErrorKind, Result};

/// Checks that bytes are text PostgreSQL can hold: UTF-8 without a zero byte.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str> {
    match std::str::from_utf8(bytes) {
        // A plain loop: values are short.
        Ok(text) if !bytes.iter().fold(false, |zero, &byte| zero | (byte == 0)) => Ok(text),
        Ok(_) => Err(invalid_sequence(&[0])),
        Err(error) => Err(match bytes[..error.valid_up_to()].contains(&0) {
            true => invalid_sequence(&[0]),
            false => invalid_sequence(broken_character(&bytes[error.valid_up_to()..])),
        }),
    }
}

/// The bytes a broken character at the start of `bytes` claims to have.
fn broken_character(bytes: &[u8]) -> &[u8] {
    let claimed = match bytes.first() {
        Some(0xc0..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf7) => 4,
        _ => 1,
    };
    &bytes[..claimed.min(bytes.len())]
}

fn invalid_sequence(bytes: &[u8]) -> Error {
    let shown: Vec<String> = bytes.iter().map(|byte| format!("0x{byte:02x}")).collect();
    Error::new(
        ErrorKind::CharacterNotInRepertoire,
        format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" ")),
    )
}

/// Fits text into `varchar(limit)`: too long is an error unless only blanks are lost.
pub(super) fn limit_varchar(text: &str, limit: u32) -> Result<&str> {
    // Bytes are never fewer than characters.
    if text.len() <= limit as usize {
        return Ok(text);
    }
    match text.char_indices().nth(limit as usize) {
        None => Ok(text),
        Some((end, _)) if text[end..].bytes().all(|byte| byte == b' ') => Ok(&text[..end]),
        Some(_) => Err(too_long("character varying", limit)),
    }
}

/// Fits text into `char(length)`: as `varchar`, then how many blanks are missing.
pub(super) fn limit_char(text: &str, length: u32) -> Result<(&str, usize)> {
    let characters = if text.is_ascii() {
        text.len()
    } else {
        text.chars().count()
    };
    if characters <= length as usize {
        return Ok((text, length as usize - characters));
    }
    limit_varchar(text, length)
        .map(|text| (text, 0))
        .map_err(|_| too_long("character", length))
}

fn too_long(type_name: &str, limit: u32) -> Error {
    Error::new(
        ErrorKind::StringTooLong,
        format!("value too long for type {type_name}({limit})"),
    )
}

/// Writes `bytea` as text.
pub(super) fn write_bytea(bytes: &[u8], style: ByteaOutput, out: &mut BytesMut) {
    match style {
        ByteaOutput::Hex => {
            out.extend_from_slice(b"\\x");
            out.reserve(bytes.len() * 2);
            for &byte in bytes {
                put_hex(byte, out);
            }
        }
        ByteaOutput::Escape => {
            for &byte in bytes {
                match byte {
                    b'\\' => out.extend_from_slice(b"\\\\"),
                    0x20..=0x7e => out.put_u8(byte),
                    _ => {
                        out.extend_from_slice(&[b'\\', b'0' + (byte >> 6), b'0' + ((byte >> 3) & 7), b'0' + (byte & 7)])
                    }
                }
            }
        }
    }
}

/// Reads `bytea`: `\x` and hexadecimal digits, else bytes with `\\` and octal escapes.
pub(super) fn parse_bytea(text: &[u8]) -> Result<Vec<u8>> {
    match text.strip_prefix(b"\\x") {
        Some(digits) => hex_bytes(digits),
        None => escaped_bytes(text),
    }
}

/// Reads pairs of hexadecimal digits.
pub(crate) fn hex_bytes(digits: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(digits.len() / 2);
    let mut at = 0;
    while at < digits.len() {
        // Blanks may stand between pairs.
        if matches!(digits[at], b' ' | b'\n' | b'\t' | b'\r') {
            at += 1;
            continue;
        }
        let high = hex_digit(digits[at]).ok_or_else(|| bad_hex_digit(&digits[at..]))?;
        let Some(&low) = digits.get(at + 1) else {
            return Err(Error::new(
                ErrorKind::InvalidParameterValue,
                "invalid hexadecimal data: odd number of digits",
            ));
        };
        let low = hex_digit(low).ok_or_else(|| bad_hex_digit(&digits[at + 1..]))?;
        bytes.push(high << 4 | low);
        at += 2;
    }
    Ok(bytes)
}

fn bad_hex_digit(rest: &[u8]) -> Error {
    let shown: String = String::from_utf8_lossy(rest).chars().take(1).collect();
    Error::new(
        ErrorKind::InvalidParameterValue,
        format!("invalid hexadecimal digit: \"{shown}\""),
    )
}

/// Reads bytes with `\\` and octal escapes.
pub(crate) fn escaped_bytes(text: &[u8]) -> Result<Vec<u8>> {
    let invalid = || {
        Error::new(
            ErrorKind::InvalidTextRepresentation,
            "invalid input syntax for type bytea",
        )
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match (byte, after) {
            (b'\\', [b'\\', after @ ..]) => {
                bytes.push(b'\\');
                after
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                after
            }
            (b'\\', _) => return Err(invalid()),
            _ => {
                bytes.push(byte);
                after
            }
        };
    }
    Ok(bytes)
}

/// Writes a `uuid` in groups of 8, 4, 4, 4 and 12 digits.
pub(super) fn write_uuid(bytes: &[u8], out: &mut BytesMut) {
    for (at, &byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.put_u8(b'-');
        }
        put_hex(byte, out);
    }
}

/// Reads a `uuid`: 32 digits, in braces if wanted, with a hyphen allowed after each group of four.
pub(super) fn parse_uuid(text: &[u8]) -> Result<[u8; 16]> {
    read_uuid(text).ok_or_else(|| invalid_text("uuid", text))
}

fn read_uuid(text: &[u8]) -> Option<[u8; 16]> {
    let mut rest = match text {
        [b'{', inner @ .., b'}'] => inner,
        _ => text,
    };
    let mut uuid = [0; 16];
    for (at, byte) in uuid.iter_mut().enumerate() {
        let [high, low, after @ ..] = rest else { return None };
        *byte = hex_digit(*high)? << 4 | hex_digit(*low)?;
        rest = match after {
            [b'-', after @ ..] if at % 2 == 1 && at < 15 => after,
            _ => after,
        };
    }
    rest.is_empty().then_some(uuid)
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn put_hex(byte: u8, out: &mut BytesMut) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}
