//! New `jsonb` values from old ones: `||`, `-`, `#-`, `jsonb_set` and the like (`src/backend/utils/adt/jsonfuncs.c`).

use std::borrow::Cow;

use super::Node;
use super::node::{Members, normal, position};
use super::scan::array_index;
use crate::error::{Error, ErrorKind, Result};

/// `a || b`
pub(crate) fn concatenated<'a>(a: Node<'a>, b: Node<'a>) -> Node<'a> {
    match (a, b) {
        (Node::Object(mut a), Node::Object(b)) => {
            a.extend(b);
            Node::Object(normal(a))
        }
        (a, b) => {
            let mut elements = as_elements(a);
            elements.extend(as_elements(b));
            Node::Array(elements)
        }
    }
}

fn as_elements(node: Node<'_>) -> Vec<Node<'_>> {
    match node {
        Node::Array(elements) => elements,
        other => vec![other],
    }
}

/// `value - 'key'`, `value - array['key', …]`
pub(crate) fn without_keys<'a>(value: Node<'a>, keys: &[&str]) -> Result<Node<'a>> {
    Ok(match value {
        Node::Object(mut members) => {
            members.retain(|(key, _)| !keys.contains(&key.as_ref()));
            Node::Object(members)
        }
        Node::Array(mut elements) => {
            elements.retain(|element| !matches!(element, Node::String(text) if keys.contains(&text.as_ref())));
            Node::Array(elements)
        }
        _ => return Err(invalid("cannot delete from scalar")),
    })
}

/// `value - 2`
pub(crate) fn without_index(value: Node<'_>, index: i64) -> Result<Node<'_>> {
    match value {
        Node::Array(mut elements) => {
            let at = match index < 0 {
                true => index + elements.len() as i64,
                false => index,
            };
            if let Ok(at) = usize::try_from(at)
                && at < elements.len()
            {
                elements.remove(at);
            }
            Ok(Node::Array(elements))
        }
        Node::Object(_) => Err(invalid("cannot delete from object using integer index")),
        _ => Err(invalid("cannot delete from scalar")),
    }
}

/// What becomes of the place a path leads to.
#[derive(Clone, Debug)]
pub(crate) enum Change<'a> {
    Delete,
    /// `jsonb_set`; whether a place that is not there is made.
    Set(Node<'a>, bool),
    /// `jsonb_insert`: an element before or after the place, or a new member.
    Insert(Node<'a>, Side),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Before,
    After,
}

/// The value with a change at the end of the path.
///
/// Errors: PostgreSQL's about paths (22004, 22023, 22P02).
pub(crate) fn changed<'a>(value: Node<'a>, path: &[Option<&'a str>], change: Change<'a>) -> Result<Node<'a>> {
    if !value.is_container() {
        return Err(invalid(match change {
            Change::Delete => "cannot delete path in scalar",
            _ => "cannot set path in scalar",
        }));
    }
    let keeps_empty = matches!(change, Change::Delete | Change::Set(_, false));
    if path.is_empty() || keeps_empty && value.is_empty() {
        return Ok(value);
    }
    let mut change = Some(change);
    place(value, path, 0, &mut change)
}

/// Goes down one level. The change is taken where it is made.
fn place<'a>(
    value: Node<'a>,
    path: &[Option<&'a str>],
    level: usize,
    change: &mut Option<Change<'a>>,
) -> Result<Node<'a>> {
    if !value.is_container() {
        return Ok(value);
    }
    let Some(step) = path.get(level).copied() else {
        return Ok(value);
    };
    let step = step.ok_or_else(|| {
        let message = format!("path element at position {} is null", level + 1);
        Error::new(ErrorKind::NullValueNotAllowed, message)
    })?;
    let last = level + 1 == path.len();
    match value {
        Node::Object(members) => in_object(members, step, path, level, last, change),
        Node::Array(elements) => in_array(elements, step, path, level, last, change),
        scalar => Ok(scalar),
    }
}

fn in_object<'a>(
    mut members: Members<'a>,
    key: &'a str,
    path: &[Option<&'a str>],
    level: usize,
    last: bool,
    change: &mut Option<Change<'a>>,
) -> Result<Node<'a>> {
    match (position(&members, key), last) {
        (Ok(at), false) => {
            let inner = std::mem::replace(&mut members[at].1, Node::Null);
            members[at].1 = place(inner, path, level + 1, change)?;
        }
        (Ok(at), true) => match change.take() {
            Some(Change::Delete) => {
                members.remove(at);
            }
            Some(Change::Set(new, _)) => members[at].1 = new,
            Some(Change::Insert(..)) => {
                return Err(invalid("cannot replace existing key")
                    .with_hint("Try using the function jsonb_set to replace key value."));
            }
            None => {}
        },
        (Err(at), true) => {
            if let Some(Change::Set(new, true) | Change::Insert(new, _)) = change.take() {
                members.insert(at, (Cow::Borrowed(key), new));
            }
        }
        (Err(_), false) => {}
    }
    Ok(Node::Object(members))
}

fn in_array<'a>(
    mut elements: Vec<Node<'a>>,
    step: &str,
    path: &[Option<&'a str>],
    level: usize,
    last: bool,
    change: &mut Option<Change<'a>>,
) -> Result<Node<'a>> {
    let index = array_index(step).ok_or_else(|| {
        let message = format!("path element at position {} is not an integer: \"{step}\"", level + 1);
        Error::new(ErrorKind::InvalidTextRepresentation, message)
    })?;
    let length = elements.len();
    // Below the first element is before it, above the last one behind it.
    let from_start = match index < 0 {
        true => index + length as i64,
        false => index,
    };
    let at = usize::try_from(from_start).ok().filter(|at| *at < length);
    match (at, last) {
        (Some(at), false) => {
            let inner = std::mem::replace(&mut elements[at], Node::Null);
            elements[at] = place(inner, path, level + 1, change)?;
        }
        (Some(at), true) => match change.take() {
            Some(Change::Delete) => {
                elements.remove(at);
            }
            Some(Change::Set(new, _)) => elements[at] = new,
            Some(Change::Insert(new, Side::Before)) => elements.insert(at, new),
            Some(Change::Insert(new, Side::After)) => elements.insert(at + 1, new),
            None => {}
        },
        (None, true) => {
            if let Some(Change::Set(new, true) | Change::Insert(new, _)) = change.take() {
                elements.insert(if from_start < 0 { 0 } else { length }, new);
            }
        }
        (None, false) => {}
    }
    Ok(Node::Array(elements))
}

/// Without the members that are null, at every depth.
pub(crate) fn without_nulls(value: Node<'_>) -> Node<'_> {
    match value {
        Node::Array(elements) => Node::Array(elements.into_iter().map(without_nulls).collect()),
        Node::Object(members) => Node::Object(
            members
                .into_iter()
                .filter(|(_, value)| !matches!(value, Node::Null))
                .map(|(key, value)| (key, without_nulls(value)))
                .collect(),
        ),
        scalar => scalar,
    }
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidParameterValue, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str, path: &[&str], create: bool) -> String {
        let path: Vec<Option<&str>> = path.iter().map(|step| Some(*step)).collect();
        let value = Node::parse(text).expect("JSON");
        let new = Node::Number(Cow::Borrowed("9"));
        match changed(value, &path, Change::Set(new, create)) {
            Ok(node) => node.text(),
            Err(error) => error.message().to_string(),
        }
    }

    /// As PostgreSQL 15 answers.
    #[test]
    fn places() {
        for (text, path, create, expected) in [
            ("[1, 2]", &["-5"][..], true, "[9, 1, 2]"),
            ("[1, 2]", &["5"], true, "[1, 2, 9]"),
            ("[1, 2]", &["5"], false, "[1, 2]"),
            ("[1, 2]", &["-1"], false, "[1, 9]"),
            ("[1, 2]", &[], true, "[1, 2]"),
            (
                "[1, 2]",
                &["a"],
                true,
                "path element at position 1 is not an integer: \"a\"",
            ),
            (r#"{"a": 1}"#, &["a", "b"], true, r#"{"a": 1}"#),
            (r#"{"bb": 1}"#, &["a"], true, r#"{"a": 9, "bb": 1}"#),
            ("1", &["a"], true, "cannot set path in scalar"),
        ] {
            assert_eq!(set(text, path, create), expected, "{text} {path:?}");
        }
    }
}
