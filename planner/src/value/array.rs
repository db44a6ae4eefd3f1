//! The text of arrays, `{1,NULL,"a b"}`, and of composites, `(1,,"a b")`: quoting, and taking them apart.

use bytes::{BufMut, BytesMut};

use super::number::trim;
use crate::error::{Error, ErrorKind, Result};

/// Puts what was written since `start` into quotes if an array's element of that text needs them.
pub(super) fn quote_element(start: usize, out: &mut BytesMut) {
    let text = &out[start..];
    let special = |byte: &u8| {
        matches!(
            byte,
            b'{' | b'}' | b',' | b'"' | b'\\' | b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c
        )
    };
    if text.is_empty() || text.iter().any(special) || text.eq_ignore_ascii_case(b"null") {
        quote(start, out, |byte, out| {
            out.put_u8(b'\\');
            out.put_u8(byte);
        });
    }
}

/// The same for a field of a composite, where quotes and backslashes are doubled.
pub(super) fn quote_field(start: usize, out: &mut BytesMut) {
    let text = &out[start..];
    let special = |byte: &u8| {
        matches!(
            byte,
            b'(' | b')' | b',' | b'"' | b'\\' | b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c
        )
    };
    if text.is_empty() || text.iter().any(special) {
        quote(start, out, |byte, out| {
            out.put_u8(byte);
            out.put_u8(byte);
        });
    }
}

fn quote(start: usize, out: &mut BytesMut, escape: impl Fn(u8, &mut BytesMut)) {
    let text = out.split_off(start);
    out.reserve(text.len() + 2);
    out.put_u8(b'"');
    for &byte in &text {
        match byte {
            b'"' | b'\\' => escape(byte, out),
            _ => out.put_u8(byte),
        }
    }
    out.put_u8(b'"');
}

/// The elements of an array's text. Elements of an inner array come as that array's text.
pub(super) fn split_array(text: &[u8], nested: bool) -> Result<Vec<Option<Vec<u8>>>> {
    let malformed = |detail: &str| {
        let text = String::from_utf8_lossy(text);
        Error::new(
            ErrorKind::InvalidTextRepresentation,
            format!("malformed array literal: \"{text}\""),
        )
        .with_detail(detail)
    };
    let mut rest = trim(text);
    if rest.first() == Some(&b'[') {
        rest = after_bounds(rest)
            .ok_or_else(|| malformed("\"[\" must introduce explicitly-specified array dimensions."))?;
    }
    let Some(mut rest) = rest.strip_prefix(b"{") else {
        return Err(malformed("Array value must start with \"{\" or dimension information."));
    };
    let mut elements = Vec::new();
    rest = skip_blanks(rest);
    if rest.first() == Some(&b'}') {
        return match trim(&rest[1..]).is_empty() {
            true => Ok(elements),
            false => Err(malformed("Junk after closing right brace.")),
        };
    }
    loop {
        rest = skip_blanks(rest);
        let (element, after) = match rest.first() {
            None => return Err(malformed("Unexpected end of input.")),
            Some(b'{') if nested => {
                let end = inner_array_end(rest).ok_or_else(|| malformed("Unexpected end of input."))?;
                (Some(rest[..end].to_vec()), &rest[end..])
            }
            Some(b'{') => return Err(malformed("Unexpected \"{\" character.")),
            Some(b'"') => {
                let (element, after) = quoted(&rest[1..]).ok_or_else(|| malformed("Unexpected end of input."))?;
                (Some(element), after)
            }
            Some(_) => {
                let (element, after) = bare(rest).map_err(|detail| malformed(&detail))?;
                (element, after)
            }
        };
        if nested
            && !matches!(&element, None | Some(_) if element.as_ref().is_none_or(|text| text.first() == Some(&b'{')))
        {
            return Err(malformed("Unexpected array element."));
        }
        elements.push(element);
        rest = skip_blanks(after);
        match rest.first() {
            Some(b',') => rest = &rest[1..],
            Some(b'}') => {
                return match trim(&rest[1..]).is_empty() {
                    true => Ok(elements),
                    false => Err(malformed("Junk after closing right brace.")),
                };
            }
            None => return Err(malformed("Unexpected end of input.")),
            Some(_) => return Err(malformed("Unexpected array element.")),
        }
    }
}

/// Skips `[1:3]=`; where an array begins is not kept.
fn after_bounds(text: &[u8]) -> Option<&[u8]> {
    let equals = text.iter().position(|&byte| byte == b'=')?;
    let bounds = trim(&text[..equals]);
    let valid = bounds.last() == Some(&b']')
        && bounds
            .iter()
            .all(|byte| matches!(byte, b'[' | b']' | b':' | b'-' | b'+' | b'0'..=b'9' | b' '));
    valid.then(|| skip_blanks(&text[equals + 1..]))
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let start = text
        .iter()
        .position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c));
    &text[start.unwrap_or(text.len())..]
}

/// Where the array that begins the text ends.
fn inner_array_end(text: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut in_quotes = false;
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 1,
            b'"' => in_quotes = !in_quotes,
            b'{' if !in_quotes => depth += 1,
            b'}' if !in_quotes => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// A quoted element, after its first quote.
fn quoted(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut element = Vec::new();
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'"' => return Some((element, &text[at + 1..])),
            b'\\' => {
                at += 1;
                element.push(*text.get(at)?);
            }
            byte => element.push(*byte),
        }
        at += 1;
    }
}

/// An element without quotes, up to the comma or brace; blanks at its end are not part of it.
fn bare(text: &[u8]) -> Result<(Option<Vec<u8>>, &[u8]), String> {
    let mut element = Vec::new();
    // Up to where trailing blanks cannot be cut: an escaped blank stays.
    let mut kept = 0;
    let mut escaped = false;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b',' | b'}' => break,
            b'{' => return Err("Unexpected \"{\" character.".to_string()),
            b'"' => return Err("Unexpected array element.".to_string()),
            b'\\' => {
                at += 1;
                escaped = true;
                element.push(*text.get(at).ok_or("Unexpected end of input.")?);
                kept = element.len();
            }
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => element.push(byte),
            _ => {
                element.push(byte);
                kept = element.len();
            }
        }
        at += 1;
    }
    element.truncate(kept);
    if element.is_empty() && !escaped {
        let found = text
            .get(at)
            .map_or("end of input", |byte| if *byte == b',' { "\",\"" } else { "\"}\"" });
        return Err(format!("Unexpected {found} character."));
    }
    let null = !escaped && element.eq_ignore_ascii_case(b"null");
    Ok(((!null).then_some(element), &text[at..]))
}

/// The fields of a composite's text; an empty one without quotes is NULL.
pub(super) fn split_record(text: &[u8], fields: usize) -> Result<Vec<Option<Vec<u8>>>> {
    let malformed = |detail: &str| {
        let text = String::from_utf8_lossy(text);
        Error::new(
            ErrorKind::InvalidTextRepresentation,
            format!("malformed record literal: \"{text}\""),
        )
        .with_detail(detail)
    };
    let trimmed = trim(text);
    let Some(mut rest) = trimmed.strip_prefix(b"(") else {
        return Err(malformed("Missing left parenthesis."));
    };
    let mut values: Vec<Option<Vec<u8>>> = Vec::with_capacity(fields);
    for at in 0..fields {
        if at > 0 {
            rest = rest.strip_prefix(b",").ok_or_else(|| malformed("Too few columns."))?;
        }
        if matches!(rest.first(), Some(b',' | b')')) {
            values.push(None);
            continue;
        }
        let (value, after) = record_field(rest).ok_or_else(|| malformed("Unexpected end of input."))?;
        values.push(Some(value));
        rest = after;
    }
    match rest {
        [b')'] => Ok(values),
        // `()` is the text of a composite without fields, and of one whose only field is NULL.
        [b')', ..] => Err(malformed("Junk after right parenthesis.")),
        [] => Err(malformed("Unexpected end of input.")),
        _ => Err(malformed("Too many columns.")),
    }
}

fn record_field(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut value = Vec::new();
    let mut in_quotes = false;
    let mut at = 0;
    loop {
        match *text.get(at)? {
            b',' | b')' if !in_quotes => return Some((value, &text[at..])),
            b'\\' => {
                at += 1;
                value.push(*text.get(at)?);
            }
            b'"' if !in_quotes => in_quotes = true,
            b'"' if text.get(at + 1) == Some(&b'"') => {
                at += 1;
                value.push(b'"');
            }
            b'"' => in_quotes = false,
            byte => value.push(byte),
        }
        at += 1;
    }
}
