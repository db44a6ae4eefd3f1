//! The order of `jsonb` values, as bytes that compare the same way (`compareJsonbContainers` of PostgreSQL's jsonb_util.c).
//!
//! An object is greater than an array, that than a Boolean, a number, a string, null; what has more members or elements is greater than what
//! has fewer; then they decide one by one, keys before values. An empty array at the top is less than anything else.

use super::Node;
use super::number::Digits;

pub(crate) fn key(node: &Node<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match node {
        Node::Array(elements) if elements.is_empty() => out.push(0),
        Node::Array(_) => {
            out.push(2);
            write(node, &mut out);
        }
        Node::Object(_) => {
            out.push(3);
            write(node, &mut out);
        }
        // PostgreSQL keeps a scalar at the top as an array of one element.
        scalar => {
            out.push(1);
            write(scalar, &mut out);
        }
    }
    out
}

fn write(node: &Node<'_>, out: &mut Vec<u8>) {
    let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    match node {
        Node::Null => out.push(1),
        Node::String(text) => {
            out.push(2);
            write_text(text, out);
        }
        Node::Number(digits) => {
            out.push(3);
            Digits::of(digits).write_ordered(out);
        }
        Node::Boolean(value) => out.extend([4, u8::from(*value)]),
        Node::Array(elements) => {
            out.push(5);
            out.extend(count(elements.len()));
            elements.iter().for_each(|element| write(element, out));
        }
        Node::Object(members) => {
            out.push(6);
            out.extend(count(members.len()));
            for (key, value) in members {
                write_text(key, out);
                write(value, out);
            }
        }
    }
}

/// No text of JSON has a zero byte: it ends one before all that go on.
fn write_text(text: &str, out: &mut Vec<u8>) {
    out.extend(text.as_bytes());
    out.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `order by` of PostgreSQL 15 puts them.
    #[test]
    fn order_of_postgres() {
        let ascending = [
            "[]",
            "null",
            r#""a""#,
            r#""b""#,
            "-1",
            "1",
            "1.5",
            "false",
            "true",
            "[null]",
            r#"["a"]"#,
            "[2]",
            "[[]]",
            "[{}]",
            "[1, 2]",
            "{}",
            r#"{"a": 1}"#,
            r#"{"aa": 0}"#,
            r#"{"b": 0}"#,
            r#"{"a": 1, "b": 1}"#,
        ];
        let key = |text| key(&Node::parse(text).expect("JSON"));
        for pair in ascending.windows(2) {
            assert!(key(pair[0]) < key(pair[1]), "{pair:?}");
        }
        assert_eq!(key("[1.0, {\"a\": 2.50}]"), key("[1, {\"a\": 2.5}]"));
    }
}
