//! `upper` and `lower` letter by letter, as PostgreSQL's C library does, normal forms, and texts written with code points.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, StringViewBuilder};
use arrow::datatypes::DataType;
use unicode_normalization::UnicodeNormalization;

use super::datetime::{TEXT, is_text};
use super::native::{Columns, Resolved, Shape};
use crate::error::{Error, ErrorKind, Result};

pub(super) const FUNCTIONS: &[Shape] = &[
    Shape::new("upper", one_text, |columns| {
        mapped(columns, str::to_ascii_uppercase, |letter| {
            one(letter.to_uppercase()).unwrap_or(letter)
        })
    }),
    Shape::new("lower", one_text, |columns| {
        mapped(columns, str::to_ascii_lowercase, |letter| {
            one(letter.to_lowercase()).unwrap_or(letter)
        })
    }),
    Shape::new("chr", one_code, letter_of_code),
    Shape::new("normalize", text_and_form, |columns| {
        let normalized = |form: NormalForm, text: &str| form.normalized(text);
        let mut builder = StringViewBuilder::with_capacity(columns.rows);
        for text in in_form(columns, normalized) {
            builder.append_option(text?);
        }
        Ok(Arc::new(builder.finish()))
    }),
    Shape::new(
        "is_normalized",
        |types| text_and_form(types).map(|(types, _)| (types, DataType::Boolean)),
        |columns| {
            let is_normalized = |form: NormalForm, text: &str| form.normalized(text) == text;
            Ok(Arc::new(
                in_form(columns, is_normalized).collect::<Result<BooleanArray>>()?,
            ))
        },
    ),
    Shape::new("unistr", one_text, |columns| {
        each(columns, |text, out| {
            out.append_value(unescaped(text)?);
            Ok(())
        })
    }),
];

fn one_code(types: &[DataType]) -> Resolved {
    match types {
        [ty] if ty.is_integer() || is_text(ty) => Some((vec![DataType::Int32], TEXT)),
        _ => None,
    }
}

fn letter_of_code(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut builder = StringViewBuilder::with_capacity(columns.rows);
    for row in 0..columns.rows {
        if columns.any_null(row) {
            builder.append_null();
            continue;
        }
        let code = columns.int(0, row)?;
        let refused = |kind, message: &str| Err(Error::new(kind, message));
        match u32::try_from(code) {
            Err(_) => return refused(ErrorKind::InvalidParameterValue, "character number must be positive"),
            Ok(0) => return refused(ErrorKind::ProgramLimitExceeded, "null character not permitted"),
            Ok(code) => match char::from_u32(code) {
                Some(letter) => builder.append_value(letter.to_string()),
                None => {
                    let message = format!("requested character too large for encoding: {code}");
                    return refused(ErrorKind::ProgramLimitExceeded, &message);
                }
            },
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn one_text(types: &[DataType]) -> Resolved {
    match types {
        [ty] if is_text(ty) => Some((vec![TEXT], TEXT)),
        _ => None,
    }
}

fn text_and_form(types: &[DataType]) -> Resolved {
    match types {
        [text] if is_text(text) => Some((vec![TEXT], TEXT)),
        [text, form] if is_text(text) && is_text(form) => Some((vec![TEXT, TEXT], TEXT)),
        _ => None,
    }
}

/// The normal forms of Unicode (Standard Annex 15).
#[derive(Clone, Copy)]
enum NormalForm {
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
}

impl NormalForm {
    fn named(name: &str) -> Result<Self> {
        Ok(match name.to_ascii_uppercase().as_str() {
            "NFC" => Self::Nfc,
            "NFD" => Self::Nfd,
            "NFKC" => Self::Nfkc,
            "NFKD" => Self::Nfkd,
            _ => {
                let message = format!("invalid normalization form: {name}");
                return Err(Error::new(ErrorKind::InvalidParameterValue, message));
            }
        })
    }

    fn normalized(self, text: &str) -> String {
        match self {
            Self::Nfc => text.nfc().collect(),
            Self::Nfd => text.nfd().collect(),
            Self::Nfkc => text.nfkc().collect(),
            Self::Nfkd => text.nfkd().collect(),
        }
    }
}

/// Each text of the first argument with the form the second says: NFC where there is none.
fn in_form<T>(
    columns: &Columns<'_>,
    compute: impl Fn(NormalForm, &str) -> T,
) -> impl Iterator<Item = Result<Option<T>>> {
    (0..columns.rows).map(move |row| {
        if columns.any_null(row) {
            return Ok(None);
        }
        let form = match columns.len() {
            1 => NormalForm::Nfc,
            _ => NormalForm::named(columns.text(1, row)?)?,
        };
        Ok(Some(compute(form, columns.text(0, row)?)))
    })
}

fn each(columns: &Columns<'_>, compute: impl Fn(&str, &mut StringViewBuilder) -> Result<()>) -> Result<ArrayRef> {
    let mut builder = StringViewBuilder::with_capacity(columns.rows);
    for text in columns.texts(0)? {
        match text {
            Some(text) => compute(text, &mut builder)?,
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn mapped(columns: &Columns<'_>, ascii: fn(&str) -> String, letter: fn(char) -> char) -> Result<ArrayRef> {
    each(columns, |text, out| {
        match text.is_ascii() {
            true => out.append_value(ascii(text)),
            false => out.append_value(text.chars().map(letter).collect::<String>()),
        }
        Ok(())
    })
}

/// The other case of a letter where that is one letter: `ß` has none.
fn one(mut letters: impl Iterator<Item = char>) -> Option<char> {
    let first = letters.next()?;
    letters.next().is_none().then_some(first)
}

/// `\0061`, `\+000061`, `\u0061` and `\U00000061` in a text.
fn unescaped(text: &str) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut high = None;
    while let Some(at) = rest.find('\\') {
        if high.is_some() && at > 0 {
            return Err(surrogate());
        }
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('\\').filter(|_| high.is_none()) {
            out.push('\\');
            rest = after;
            continue;
        }
        let (start, length) = match rest.as_bytes().first() {
            Some(b'+') => (1, 6),
            Some(b'u') => (1, 4),
            Some(b'U') => (1, 8),
            _ => (0, 4),
        };
        let digits = rest.get(start..start + length);
        let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let Some(code) = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) else {
            let error = Error::new(ErrorKind::SyntaxError, "invalid Unicode escape");
            return Err(error.with_hint("Unicode escapes must be \\XXXX, \\+XXXXXX, \\uXXXX, or \\UXXXXXXXX."));
        };
        rest = &rest[start + length..];
        match (high.take(), code) {
            (None, 0xd800..0xdc00) => high = Some(code),
            (Some(high), 0xdc00..0xe000) => {
                let code = 0x10000 + ((high - 0xd800) << 10) + (code - 0xdc00);
                out.extend(char::from_u32(code));
            }
            (None, 1..) => out.push(char::from_u32(code).ok_or_else(|| match code {
                0xdc00..0xe000 => surrogate(),
                _ => invalid_code(code),
            })?),
            (None, 0) => return Err(invalid_code(code)),
            (Some(_), _) => return Err(surrogate()),
        }
    }
    if high.is_some() {
        return Err(surrogate());
    }
    out.push_str(rest);
    Ok(out)
}

fn surrogate() -> Error {
    Error::new(ErrorKind::SyntaxError, "invalid Unicode surrogate pair")
}

fn invalid_code(code: u32) -> Error {
    Error::new(
        ErrorKind::InvalidParameterValue,
        format!("invalid Unicode code point: {code:04X}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_points() {
        let of = |text| unescaped(text).map_err(|error| error.to_string());
        assert_eq!(of("a\\0062\\+000063\\u0064\\U00000065\\\\"), Ok("abcde\\".to_string()));
        assert_eq!(of("\\d83d\\de00"), Ok("😀".to_string()));
        for wrong in ["\\d83d", "\\d83dx", "\\de00", "\\12", "\\0000"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
