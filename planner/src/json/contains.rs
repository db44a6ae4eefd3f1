//! `@>`: whether one value is in another (`JsonbDeepContains` of PostgreSQL's jsonb_util.c).

use super::Node;
use super::node::position;
use super::number::compare;

/// `whole @> part`
pub(crate) fn contains(whole: &Node<'_>, part: &Node<'_>) -> bool {
    match (whole, part) {
        (Node::Object(_), Node::Object(_)) | (Node::Array(_), Node::Array(_)) => within(whole, part),
        // An array at the top has its scalars as an array of one would.
        (Node::Array(elements), scalar) if !scalar.is_container() => {
            elements.iter().any(|element| same_scalar(element, scalar))
        }
        _ => same_scalar(whole, part),
    }
}

fn within(whole: &Node<'_>, part: &Node<'_>) -> bool {
    match (whole, part) {
        (Node::Object(whole), Node::Object(part)) => part.iter().all(|(key, value)| {
            position(whole, key).is_ok_and(|at| {
                let found = &whole[at].1;
                same_scalar(found, value) || within(found, value)
            })
        }),
        (Node::Array(whole), Node::Array(part)) => part.iter().all(|wanted| match wanted.is_container() {
            false => whole.iter().any(|element| same_scalar(element, wanted)),
            true => whole.iter().any(|element| within(element, wanted)),
        }),
        _ => false,
    }
}

/// Whether both are scalars, and equal.
pub(crate) fn same_scalar(a: &Node<'_>, b: &Node<'_>) -> bool {
    match (a, b) {
        (Node::Null, Node::Null) => true,
        (Node::Boolean(a), Node::Boolean(b)) => a == b,
        (Node::String(a), Node::String(b)) => a == b,
        (Node::Number(a), Node::Number(b)) => compare(a, b).is_eq(),
        _ => false,
    }
}

/// `value ? text`: a key of an object, a string of an array, or the string itself.
pub(crate) fn has(value: &Node<'_>, text: &str) -> bool {
    match value {
        Node::Object(members) => position(members, text).is_ok(),
        Node::Array(elements) => elements
            .iter()
            .any(|element| matches!(element, Node::String(other) if other == text)),
        Node::String(other) => other == text,
        _ => false,
    }
}
