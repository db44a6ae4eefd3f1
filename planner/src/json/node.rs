//! A JSON value as a tree, always in the normal form of `jsonb`: members ordered by length of the key, then by its bytes, each
//! key once, numbers without exponent.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::damaged;
use super::scan::Scanner;
use crate::error::{Error, ErrorKind, Result};
use crate::value::json::write_string;
use crate::value::numeric::write_plain;

/// Deepest nesting followed, so that no text exhausts the stack.
const DEPTH_MAX: usize = 1000;

#[derive(Clone, Debug)]
pub(crate) enum Node<'a> {
    Null,
    Boolean(bool),
    /// Its digits: as many as there are.
    Number(Cow<'a, str>),
    String(Cow<'a, str>),
    Array(Vec<Node<'a>>),
    Object(Members<'a>),
}

pub(crate) type Members<'a> = Vec<(Cow<'a, str>, Node<'a>)>;

impl<'a> Node<'a> {
    /// Reads a value that was checked when it was stored.
    pub(crate) fn parse(text: &'a str) -> Result<Self> {
        let mut scanner = Scanner::new(text);
        let node = read(&mut scanner, 0)?;
        match scanner.peek() {
            None => Ok(node),
            Some(_) => Err(damaged()),
        }
    }

    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    /// Writes it as PostgreSQL prints `jsonb`.
    pub(crate) fn write(&self, out: &mut String) {
        match self {
            Node::Null => out.push_str("null"),
            Node::Boolean(value) => out.push_str(if *value { "true" } else { "false" }),
            Node::Number(digits) => out.push_str(digits),
            Node::String(text) => write_string(text, out),
            Node::Array(elements) => {
                out.push('[');
                for (at, element) in elements.iter().enumerate() {
                    if at > 0 {
                        out.push_str(", ");
                    }
                    element.write(out);
                }
                out.push(']');
            }
            Node::Object(members) => {
                out.push('{');
                for (at, (key, value)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push_str(", ");
                    }
                    write_string(key, out);
                    out.push_str(": ");
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// `jsonb_pretty`
    pub(crate) fn write_pretty(&self, depth: usize, out: &mut String) {
        let line = |out: &mut String, depth: usize| {
            out.push('\n');
            for _ in 0..depth {
                out.push_str("    ");
            }
        };
        match self {
            Node::Array(elements) => {
                out.push('[');
                for (at, element) in elements.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    line(out, depth + 1);
                    element.write_pretty(depth + 1, out);
                }
                line(out, depth);
                out.push(']');
            }
            Node::Object(members) => {
                out.push('{');
                for (at, (key, value)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    line(out, depth + 1);
                    write_string(key, out);
                    out.push_str(": ");
                    value.write_pretty(depth + 1, out);
                }
                line(out, depth);
                out.push('}');
            }
            scalar => scalar.write(out),
        }
    }

    /// An object or array without members.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Node::Object(members) => members.is_empty(),
            Node::Array(elements) => elements.is_empty(),
            _ => false,
        }
    }

    pub(crate) fn is_container(&self) -> bool {
        matches!(self, Node::Array(_) | Node::Object(_))
    }

    /// What messages call it.
    pub(crate) fn kind_name(&self) -> &'static str {
        match self {
            Node::Null => "null",
            Node::Boolean(_) => "boolean",
            Node::Number(_) => "number",
            Node::String(_) => "string",
            Node::Array(_) => "array",
            Node::Object(_) => "object",
        }
    }
}

/// The order of members: short keys first.
pub(crate) fn key_order(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Where a key is among the members, or where it would be.
pub(crate) fn position(members: &Members<'_>, key: &str) -> Result<usize, usize> {
    members.binary_search_by(|(other, _)| key_order(other, key))
}

/// Members as they were written, in normal form: the last of equal keys stays.
pub(crate) fn normal(mut members: Members<'_>) -> Members<'_> {
    let ordered = members
        .windows(2)
        .all(|pair| key_order(&pair[0].0, &pair[1].0) == Ordering::Less);
    if !ordered {
        // Stable, and from the last to the first, so that the last of equal keys is the one that is kept.
        members.reverse();
        members.sort_by(|a, b| key_order(&a.0, &b.0));
        members.dedup_by(|later, kept| later.0 == kept.0);
    }
    members
}

fn read<'a>(scanner: &mut Scanner<'a>, depth: usize) -> Result<Node<'a>> {
    if depth > DEPTH_MAX {
        return Err(Error::new(ErrorKind::StatementTooComplex, "JSON is nested too deeply")
            .with_detail(format!("The limit is {DEPTH_MAX} levels.")));
    }
    match scanner.peek() {
        Some(b'{') => object(scanner, depth),
        Some(b'[') => array(scanner, depth),
        Some(b'"') => Ok(Node::String(scanner.string()?.text()?)),
        Some(_) => plain(scanner.value()?),
        None => Err(damaged()),
    }
}

fn plain(text: &str) -> Result<Node<'_>> {
    Ok(match text {
        "null" => Node::Null,
        "true" => Node::Boolean(true),
        "false" => Node::Boolean(false),
        digits => {
            if !digits
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            {
                return Err(damaged());
            }
            // Zero has no sign, which only text of another program or of type json can have.
            let normal = !digits.contains(['e', 'E']) && !digits.starts_with("-0");
            Node::Number(match normal {
                true => Cow::Borrowed(digits),
                false => {
                    let mut out = String::new();
                    write_plain(digits, &mut out)?;
                    Cow::Owned(out)
                }
            })
        }
    })
}

fn array<'a>(scanner: &mut Scanner<'a>, depth: usize) -> Result<Node<'a>> {
    scanner.expect(b'[')?;
    let mut elements = Vec::new();
    if scanner.peek() == Some(b']') {
        scanner.expect(b']')?;
        return Ok(Node::Array(elements));
    }
    loop {
        elements.push(read(scanner, depth + 1)?);
        if scanner.peek() == Some(b',') {
            scanner.expect(b',')?;
            continue;
        }
        scanner.expect(b']')?;
        return Ok(Node::Array(elements));
    }
}

fn object<'a>(scanner: &mut Scanner<'a>, depth: usize) -> Result<Node<'a>> {
    scanner.expect(b'{')?;
    let mut members = Vec::new();
    if scanner.peek() == Some(b'}') {
        scanner.expect(b'}')?;
        return Ok(Node::Object(members));
    }
    loop {
        scanner.peek();
        let key = scanner.string()?.text()?;
        scanner.expect(b':')?;
        members.push((key, read(scanner, depth + 1)?));
        if scanner.peek() == Some(b',') {
            scanner.expect(b',')?;
            continue;
        }
        scanner.expect(b'}')?;
        return Ok(Node::Object(normal(members)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_form() {
        for (text, expected) in [
            (
                r#" {"bb":1,"a" : [ ],"bb":2.50, "é": null} "#,
                r#"{"a": [], "bb": 2.50, "é": null}"#,
            ),
            ("[1e2, -0, 1.50, -0.0]", "[100, 0, 1.50, 0.0]"),
            (r#""a\/\u0062\n""#, r#""a/b\n""#),
        ] {
            assert_eq!(Node::parse(text).expect("JSON").text(), expected);
            assert_eq!(crate::value::json::normalise(text).expect("JSON"), expected);
        }
    }

    #[test]
    fn pretty() {
        let mut out = String::new();
        Node::parse(r#"{"a": [], "b": [1, {}]}"#)
            .expect("JSON")
            .write_pretty(0, &mut out);
        assert_eq!(
            out,
            "{\n    \"a\": [\n    ],\n    \"b\": [\n        1,\n        {\n        }\n    ]\n}"
        );
    }
}
