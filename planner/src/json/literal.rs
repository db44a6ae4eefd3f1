//! A JSON array as the text of a PostgreSQL array: `[1, "a", null]` is `{1,"a",NULL}`.

use super::Node;
use crate::error::{Error, ErrorKind, Result};

/// The text of an array column's value; `None` is NULL. With `json` the elements are JSON themselves.
pub(crate) fn array_literal(value: &Node<'_>, json: bool) -> Result<Option<String>> {
    match value {
        Node::Null => Ok(None),
        // A text is an array's text already.
        Node::String(text) => Ok(Some(text.to_string())),
        Node::Array(_) => {
            let mut out = String::new();
            write(value, json, &mut out);
            Ok(Some(out))
        }
        _ => Err(Error::new(ErrorKind::InvalidTextRepresentation, "expected JSON array")),
    }
}

fn write(value: &Node<'_>, json: bool, out: &mut String) {
    match value {
        Node::Array(elements) => {
            out.push('{');
            for (at, element) in elements.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(element, json, out);
            }
            out.push('}');
        }
        Node::Null => out.push_str("NULL"),
        Node::String(text) if !json => quoted(text, out),
        other => quoted(&other.text(), out),
    }
}

fn quoted(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}
