//! Follows a path through a value (`src/backend/utils/adt/jsonpath_exec.c`).
//!
//! In lax mode, which is the default, arrays are taken apart where one of their elements is meant, a value is an array of one where
//! an array is, and what is not there is nothing. In strict mode these are errors.

use std::borrow::Cow;
use std::cell::Cell;

use super::arithmetic::{computed, negated, one_more};
use super::{Accessor, Comparison, Expression, Method, Path};
use crate::error::{Error, ErrorKind, Result};
use crate::json::Node;
use crate::json::node::position;
use crate::json::number::{Digits, compare};
use crate::value::numeric::write_plain;

/// A value of the document, or one that was computed.
type Item<'n> = Cow<'n, Node<'n>>;

/// Values a path may lead to at once: `.**` of several levels multiplies them.
const ITEMS_MAX: usize = 10_000_000;

struct Run<'n> {
    strict: bool,
    /// Whether a value that a step does not fit is an error: in strict mode, but not behind `.**`, which leads to all kinds.
    structural: Cell<bool>,
    root: &'n Node<'n>,
    variables: &'n Node<'n>,
}

/// What is around an expression.
#[derive(Clone, Copy)]
struct Around<'r, 'n> {
    current: &'r Item<'n>,
    /// The index of the last element, within a subscript.
    last: Option<i64>,
}

impl<'r, 'n> Around<'r, 'n> {
    fn whole(current: &'r Item<'n>) -> Self {
        Around { current, last: None }
    }
}

/// Three-valued: `None` is unknown.
type Truth = Option<bool>;

pub(super) fn query<'a>(path: &'a Path, value: &Node<'a>, variables: &Node<'a>, silent: bool) -> Result<Vec<Node<'a>>> {
    // What is found is copied out of the document.
    let items = match items(path, value, variables) {
        Err(error) if silent && is_of_data(&error) => Vec::new(),
        items => items?,
    };
    Ok(items.into_iter().map(|item| owned(item)).collect())
}

pub(super) fn exists(path: &Path, value: &Node<'_>, variables: &Node<'_>, silent: bool) -> Result<Option<bool>> {
    let run = Run::new(path, value, variables);
    let current = Cow::Borrowed(value);
    match run.leads(&path.root, Around::whole(&current)) {
        Ok(leads) => Ok(Some(leads)),
        Err(error) if silent && is_of_data(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn matches(path: &Path, value: &Node<'_>, variables: &Node<'_>, silent: bool) -> Result<Option<bool>> {
    let items = match items(path, value, variables) {
        Err(error) if silent && is_of_data(&error) => return Ok(None),
        items => items?,
    };
    if let [item] = items.as_slice() {
        match item.as_ref() {
            Node::Boolean(value) => return Ok(Some(*value)),
            Node::Null => return Ok(None),
            _ => {}
        }
    }
    match silent {
        true => Ok(None),
        false => Err(Error::new(
            ErrorKind::SingletonJsonItemRequired,
            "single boolean result is expected",
        )),
    }
}

/// A copy that does not borrow from the document's tree, only from its text.
fn owned<'a>(item: Item<'_>) -> Node<'a> {
    fn copied<'a>(node: &Node<'_>) -> Node<'a> {
        match node {
            Node::Null => Node::Null,
            Node::Boolean(value) => Node::Boolean(*value),
            Node::Number(digits) => Node::Number(Cow::Owned(digits.to_string())),
            Node::String(text) => Node::String(Cow::Owned(text.to_string())),
            Node::Array(elements) => Node::Array(elements.iter().map(copied).collect()),
            Node::Object(members) => Node::Object(
                members
                    .iter()
                    .map(|(key, value)| (Cow::Owned(key.to_string()), copied(value)))
                    .collect(),
            ),
        }
    }
    copied(&item)
}

fn items<'n>(path: &'n Path, value: &'n Node<'n>, variables: &'n Node<'n>) -> Result<Vec<Item<'n>>> {
    let current = Cow::Borrowed(value);
    Run::new(path, value, variables).values(&path.root, Around::whole(&current))
}

/// Errors that silent functions do not tell of.
fn is_of_data(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::JsonMemberNotFound
            | ErrorKind::JsonArrayNotFound
            | ErrorKind::JsonObjectNotFound
            | ErrorKind::JsonNumberNotFound
            | ErrorKind::InvalidJsonSubscript
            | ErrorKind::NonNumericJsonItem
            | ErrorKind::SingletonJsonItemRequired
            | ErrorKind::NumericOutOfRange
            | ErrorKind::DivisionByZero
    )
}

impl<'n> Run<'n> {
    fn new(path: &Path, root: &'n Node<'n>, variables: &'n Node<'n>) -> Self {
        Run {
            strict: path.strict,
            structural: Cell::new(path.strict),
            root,
            variables,
        }
    }

    fn values(&self, expression: &'n Expression, around: Around<'_, 'n>) -> Result<Vec<Item<'n>>> {
        Ok(match expression {
            Expression::Root => vec![Cow::Borrowed(self.root)],
            Expression::Current => vec![around.current.clone()],
            Expression::Variable(name) => vec![self.variable(name)?],
            Expression::Last => {
                let last = around
                    .last
                    .ok_or_else(|| Error::internal("a last element outside of subscripts"))?;
                vec![number(last.to_string())]
            }
            Expression::Null => vec![Cow::Owned(Node::Null)],
            Expression::Boolean(value) => vec![Cow::Owned(Node::Boolean(*value))],
            Expression::Number(digits) => vec![Cow::Owned(Node::Number(Cow::Borrowed(digits)))],
            Expression::Text(text) => vec![Cow::Owned(Node::String(Cow::Borrowed(text)))],
            Expression::Steps(start, steps) => {
                let found = self.values(start, around)?;
                let structural = self.structural.get();
                let reached = self.all_steps(found, steps);
                self.structural.set(structural);
                reached?
            }
            Expression::Sign(negative, inner) => {
                let mut signed = Vec::new();
                for item in self.unwrapped(self.values(inner, around)?) {
                    let Node::Number(digits) = item.as_ref() else {
                        let sign = if *negative { '-' } else { '+' };
                        let message = format!("operand of unary jsonpath operator {sign} is not a numeric value");
                        return Err(Error::new(ErrorKind::JsonNumberNotFound, message));
                    };
                    signed.push(match negative {
                        true => number(negated(digits)),
                        false => item,
                    });
                }
                signed
            }
            Expression::Arithmetic(operation, left, right) => {
                let symbol = operation.symbol();
                let left = self.single_number(left, around, "left", symbol)?;
                let right = self.single_number(right, around, "right", symbol)?;
                vec![number(computed(*operation, &left, &right)?)]
            }
            predicate => {
                let truth = self.truth(predicate, around)?;
                vec![Cow::Owned(truth.map_or(Node::Null, Node::Boolean))]
            }
        })
    }

    fn all_steps(&self, mut found: Vec<Item<'n>>, steps: &'n [Accessor]) -> Result<Vec<Item<'n>>> {
        for step in steps {
            let mut next = Vec::new();
            for item in &found {
                self.step(step, item, &mut next)?;
                check_number(&next)?;
            }
            found = next;
            if matches!(step, Accessor::Anywhere(..)) {
                self.structural.set(false);
            }
        }
        Ok(found)
    }

    /// Whether it leads to anything. In lax mode the first value decides, whatever is wrong behind it.
    fn leads(&self, expression: &'n Expression, around: Around<'_, 'n>) -> Result<bool> {
        match expression {
            Expression::Steps(start, steps) if !self.strict => self.any_reaches(&self.values(start, around)?, steps),
            other => Ok(!self.values(other, around)?.is_empty()),
        }
    }

    fn any_reaches(&self, items: &[Item<'n>], steps: &'n [Accessor]) -> Result<bool> {
        let Some((step, rest)) = steps.split_first() else {
            return Ok(!items.is_empty());
        };
        for item in items {
            let mut next = Vec::new();
            // It may fail behind values that it found.
            let ended = self.step(step, item, &mut next).and_then(|()| check_number(&next));
            if self.any_reaches(&next, rest)? {
                return Ok(true);
            }
            ended?;
        }
        Ok(false)
    }

    fn variable(&self, name: &str) -> Result<Item<'n>> {
        let found = match self.variables {
            Node::Object(members) => position(members, name).ok().map(|at| &members[at].1),
            _ => None,
        };
        match found {
            Some(value) => Ok(Cow::Borrowed(value)),
            None => {
                let message = format!("could not find jsonpath variable \"{name}\"");
                Err(Error::new(ErrorKind::UndefinedObject, message))
            }
        }
    }

    fn single_number(
        &self,
        expression: &'n Expression,
        around: Around<'_, 'n>,
        side: &str,
        symbol: &str,
    ) -> Result<String> {
        let items = self.unwrapped(self.values(expression, around)?);
        if let [item] = items.as_slice()
            && let Node::Number(digits) = item.as_ref()
        {
            return Ok(digits.to_string());
        }
        let message = format!("{side} operand of jsonpath operator {symbol} is not a single numeric value");
        Err(Error::new(ErrorKind::SingletonJsonItemRequired, message))
    }

    /// In lax mode the elements of arrays in place of them.
    fn unwrapped(&self, items: Vec<Item<'n>>) -> Vec<Item<'n>> {
        if self.strict || !items.iter().any(|item| matches!(item.as_ref(), Node::Array(_))) {
            return items;
        }
        let mut out = Vec::with_capacity(items.len());
        for item in items {
            match item.as_ref() {
                Node::Array(_) => out.extend(elements(&item)),
                _ => out.push(item),
            }
        }
        out
    }

    fn step(&self, step: &'n Accessor, item: &Item<'n>, out: &mut Vec<Item<'n>>) -> Result<()> {
        let takes_apart = match step {
            Accessor::Key(_) | Accessor::AnyKey | Accessor::Filter(_) => true,
            Accessor::Method(method) => !matches!(method, Method::Type | Method::Size),
            _ => false,
        };
        if takes_apart && !self.strict && matches!(item.as_ref(), Node::Array(_)) {
            for element in elements(item) {
                self.one_step(step, &element, out)?;
            }
            return Ok(());
        }
        self.one_step(step, item, out)
    }

    fn one_step(&self, step: &'n Accessor, item: &Item<'n>, out: &mut Vec<Item<'n>>) -> Result<()> {
        match step {
            Accessor::Key(key) => match member(item, key) {
                Found::Value(value) => out.push(value),
                Found::Nothing if self.structural.get() => {
                    let message = format!("JSON object does not contain key \"{key}\"");
                    return Err(Error::new(ErrorKind::JsonMemberNotFound, message));
                }
                Found::NoObject if self.structural.get() => {
                    let message = "jsonpath member accessor can only be applied to an object";
                    return Err(Error::new(ErrorKind::JsonMemberNotFound, message));
                }
                _ => {}
            },
            Accessor::AnyKey => match item.as_ref() {
                Node::Object(_) => out.extend(children(item)),
                _ if self.structural.get() => {
                    let message = "jsonpath wildcard member accessor can only be applied to an object";
                    return Err(Error::new(ErrorKind::JsonObjectNotFound, message));
                }
                _ => {}
            },
            Accessor::AnyElement => match item.as_ref() {
                Node::Array(_) => out.extend(elements(item)),
                _ if self.structural.get() => {
                    let message = "jsonpath wildcard array accessor can only be applied to an array";
                    return Err(Error::new(ErrorKind::JsonArrayNotFound, message));
                }
                _ => out.push(item.clone()),
            },
            Accessor::Elements(ranges) => self.subscript(ranges, item, out)?,
            Accessor::Anywhere(from, to) => anywhere(item, 0, *from, *to, out),
            Accessor::Filter(condition) => {
                if self.truth(condition, Around::whole(item))? == Some(true) {
                    out.push(item.clone());
                }
            }
            Accessor::Method(method) => self.method(*method, item, out)?,
        }
        Ok(())
    }

    fn subscript(
        &self,
        ranges: &'n [(Expression, Option<Expression>)],
        item: &Item<'n>,
        out: &mut Vec<Item<'n>>,
    ) -> Result<()> {
        let all = match item.as_ref() {
            Node::Array(_) => elements(item),
            _ if self.structural.get() => {
                let message = "jsonpath array accessor can only be applied to an array";
                return Err(Error::new(ErrorKind::JsonArrayNotFound, message));
            }
            _ => vec![item.clone()],
        };
        let last = all.len() as i64 - 1;
        let around = Around {
            current: item,
            last: Some(last),
        };
        for (from, to) in ranges {
            let from = self.index(from, around)?;
            let to = match to {
                Some(to) => self.index(to, around)?,
                None => from,
            };
            if self.structural.get() && (from < 0 || from > to || to > last) {
                let message = "jsonpath array subscript is out of bounds";
                return Err(Error::new(ErrorKind::InvalidJsonSubscript, message));
            }
            for at in from.max(0)..=to.min(last) {
                out.extend(usize::try_from(at).ok().and_then(|at| all.get(at)).cloned());
            }
            check_number(out)?;
        }
        Ok(())
    }

    fn index(&self, expression: &'n Expression, around: Around<'_, 'n>) -> Result<i64> {
        let items = self.values(expression, around)?;
        let digits = match items.as_slice() {
            [item] => match item.as_ref() {
                Node::Number(digits) => Some(digits.to_string()),
                _ => None,
            },
            _ => None,
        };
        let Some(digits) = digits else {
            let message = "jsonpath array subscript is not a single numeric value";
            return Err(Error::new(ErrorKind::InvalidJsonSubscript, message));
        };
        // Cut, not rounded.
        let whole = digits.split('.').next().and_then(|whole| match whole {
            "" | "-" => Some(0),
            whole => whole.parse::<i32>().ok(),
        });
        whole.map(i64::from).ok_or_else(|| {
            let message = "jsonpath array subscript is out of integer range";
            Error::new(ErrorKind::InvalidJsonSubscript, message)
        })
    }

    fn method(&self, method: Method, item: &Item<'n>, out: &mut Vec<Item<'n>>) -> Result<()> {
        let not_numeric = |name: &str| {
            let message = format!("jsonpath item method .{name}() can only be applied to a numeric value");
            Error::new(ErrorKind::NonNumericJsonItem, message)
        };
        let digits = |name: &str| match item.as_ref() {
            Node::Number(digits) => Ok(digits.to_string()),
            _ => Err(not_numeric(name)),
        };
        out.push(match method {
            Method::Type => Cow::Owned(Node::String(Cow::Borrowed(item.kind_name()))),
            Method::Size => match item.as_ref() {
                Node::Array(elements) => number(elements.len().to_string()),
                _ if self.structural.get() => {
                    let message = "jsonpath item method .size() can only be applied to an array";
                    return Err(Error::new(ErrorKind::JsonArrayNotFound, message));
                }
                _ => number("1".to_string()),
            },
            Method::Abs => number(digits("abs")?.trim_start_matches('-').to_string()),
            Method::Floor => number(whole(&digits("floor")?, true)),
            Method::Ceiling => number(whole(&digits("ceiling")?, false)),
            Method::Double => match item.as_ref() {
                // Only looked at.
                Node::Number(digits) => {
                    let message = "numeric argument of jsonpath item method .double() is out of range for type double \
                                   precision";
                    double(digits).ok_or_else(|| Error::new(ErrorKind::NonNumericJsonItem, message))?;
                    item.clone()
                }
                Node::String(text) => {
                    let message = "string argument of jsonpath item method .double() is not a valid representation of \
                                   a double precision number";
                    let value = double(text).ok_or_else(|| Error::new(ErrorKind::NonNumericJsonItem, message))?;
                    let mut out = String::new();
                    // As a double becomes a numeric: fifteen digits.
                    write_plain(&format!("{value:.14e}"), &mut out)?;
                    let digits = Digits::of(&out);
                    number(match digits.fraction.is_empty() {
                        true => out.split('.').next().unwrap_or_default().to_string(),
                        false => out.trim_end_matches('0').to_string(),
                    })
                }
                _ => {
                    let message = "jsonpath item method .double() can only be applied to a string or numeric value";
                    return Err(Error::new(ErrorKind::NonNumericJsonItem, message));
                }
            },
            Method::KeyValue => {
                let Node::Object(members) = item.as_ref() else {
                    let message = "jsonpath item method .keyvalue() can only be applied to an object";
                    return Err(Error::new(ErrorKind::JsonObjectNotFound, message));
                };
                for (key, value) in members {
                    // PostgreSQL's id tells objects apart by their place in its own storage; at the top it is 0.
                    let text = |text: &str| Node::String(Cow::Owned(text.to_string()));
                    out.push(Cow::Owned(Node::Object(vec![
                        (Cow::Borrowed("id"), Node::Number(Cow::Borrowed("0"))),
                        (Cow::Borrowed("key"), text(key)),
                        (Cow::Borrowed("value"), value.clone()),
                    ])));
                    if !matches!(item, Cow::Borrowed(root) if std::ptr::eq(*root, self.root)) {
                        return Err(Error::unsupported(
                            "jsonpath item method .keyvalue() of a nested object is not supported",
                        ));
                    }
                }
                return Ok(());
            }
        });
        Ok(())
    }

    fn truth(&self, expression: &'n Expression, around: Around<'_, 'n>) -> Result<Truth> {
        Ok(match expression {
            Expression::And(left, right) => match self.truth(left, around)? {
                Some(false) => Some(false),
                left => match (left, self.truth(right, around)?) {
                    (_, Some(false)) => Some(false),
                    (Some(true), Some(true)) => Some(true),
                    _ => None,
                },
            },
            Expression::Or(left, right) => match self.truth(left, around)? {
                Some(true) => Some(true),
                left => match (left, self.truth(right, around)?) {
                    (_, Some(true)) => Some(true),
                    (Some(false), Some(false)) => Some(false),
                    _ => None,
                },
            },
            Expression::Not(inner) => self.truth(inner, around)?.map(|truth| !truth),
            Expression::IsUnknown(inner) => Some(self.truth(inner, around)?.is_none()),
            Expression::Exists(inner) => known(self.leads(inner, around))?,
            Expression::Compare(comparison, left, right) => {
                let holds = |left: &Node<'_>, right: &Node<'_>| compared(*comparison, left, right);
                self.any_pair(left, right, around, holds)?
            }
            Expression::StartsWith(left, right) => {
                let holds = |left: &Node<'_>, right: &Node<'_>| match (left, right) {
                    (Node::String(text), Node::String(prefix)) => Some(text.starts_with(prefix.as_ref())),
                    _ => None,
                };
                self.any_pair(left, right, around, holds)?
            }
            _ => return Err(Error::internal("a jsonpath condition is a predicate")),
        })
    }

    /// Whether it holds for some pair. In strict mode all pairs are looked at, and one that is unknown makes all unknown.
    fn any_pair(
        &self,
        left: &'n Expression,
        right: &'n Expression,
        around: Around<'_, 'n>,
        holds: impl Fn(&Node<'_>, &Node<'_>) -> Truth,
    ) -> Result<Truth> {
        let Some(left) = known(self.values(left, around))? else {
            return Ok(None);
        };
        let Some(right) = known(self.values(right, around))? else {
            return Ok(None);
        };
        let (left, right) = (self.unwrapped(left), self.unwrapped(right));
        let (mut found, mut unknown) = (false, false);
        for left in &left {
            for right in &right {
                match holds(left, right) {
                    Some(true) if !self.strict => return Ok(Some(true)),
                    Some(true) => found = true,
                    None if self.strict => return Ok(None),
                    None => unknown = true,
                    Some(false) => {}
                }
            }
        }
        Ok(match (found, unknown) {
            (true, _) => Some(true),
            (false, true) => None,
            (false, false) => Some(false),
        })
    }
}

/// `None` where it is not known for an error of the data.
fn known<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_of_data(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn check_number(items: &[Item<'_>]) -> Result<()> {
    match items.len() > ITEMS_MAX {
        true => Err(Error::new(
            ErrorKind::ProgramLimitExceeded,
            "a jsonpath leads to too many values",
        )),
        false => Ok(()),
    }
}

fn compared(comparison: Comparison, left: &Node<'_>, right: &Node<'_>) -> Truth {
    let order = match (left, right) {
        (Node::Null, Node::Null) => std::cmp::Ordering::Equal,
        (Node::Boolean(left), Node::Boolean(right)) => left.cmp(right),
        (Node::Number(left), Node::Number(right)) => compare(left, right),
        (Node::String(left), Node::String(right)) => left.cmp(right),
        // Null is equal to nothing else, and in no order.
        (Node::Null, _) | (_, Node::Null) => return Some(comparison == Comparison::NotEqual),
        _ => return None,
    };
    Some(match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    })
}

enum Found<'n> {
    Value(Item<'n>),
    Nothing,
    NoObject,
}

fn member<'n>(item: &Item<'n>, key: &str) -> Found<'n> {
    let find = |node: &Node<'n>| match node {
        Node::Object(members) => Some(position(members, key).ok()),
        _ => None,
    };
    let at = match find(item.as_ref()) {
        None => return Found::NoObject,
        Some(None) => return Found::Nothing,
        Some(Some(at)) => at,
    };
    match item {
        Cow::Borrowed(Node::Object(members)) => Found::Value(Cow::Borrowed(&members[at].1)),
        Cow::Owned(Node::Object(members)) => Found::Value(Cow::Owned(members[at].1.clone())),
        _ => Found::NoObject,
    }
}

fn elements<'n>(item: &Item<'n>) -> Vec<Item<'n>> {
    match item {
        Cow::Borrowed(Node::Array(elements)) => elements.iter().map(Cow::Borrowed).collect(),
        Cow::Owned(Node::Array(elements)) => elements.iter().cloned().map(Cow::Owned).collect(),
        other => vec![other.clone()],
    }
}

/// The values of members or elements.
fn children<'n>(item: &Item<'n>) -> Vec<Item<'n>> {
    match item {
        Cow::Borrowed(Node::Object(members)) => members.iter().map(|(_, value)| Cow::Borrowed(value)).collect(),
        Cow::Owned(Node::Object(members)) => members.iter().map(|(_, value)| Cow::Owned(value.clone())).collect(),
        other => match other.as_ref() {
            Node::Array(_) => elements(other),
            _ => Vec::new(),
        },
    }
}

fn anywhere<'n>(item: &Item<'n>, level: u32, from: u32, to: u32, out: &mut Vec<Item<'n>>) {
    // `{last}` means the leaves.
    let leaf = !item.is_container();
    if level >= from && level <= to || from == u32::MAX && to == u32::MAX && leaf {
        out.push(item.clone());
    }
    if level < to {
        for child in children(item) {
            anywhere(&child, level + 1, from, to, out);
        }
    }
}

fn number<'n>(digits: String) -> Item<'n> {
    Cow::Owned(Node::Number(Cow::Owned(digits)))
}

/// `floor` and `ceiling`.
fn whole(digits: &str, down: bool) -> String {
    let number = Digits::of(digits);
    let whole: String = match number.whole {
        "" => "0".to_string(),
        whole => whole.to_string(),
    };
    let away = !number.fraction.is_empty() && number.negative == down;
    let whole = if away { one_more(&whole) } else { whole };
    match number.negative && whole != "0" {
        true => format!("-{whole}"),
        false => whole,
    }
}

fn double(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|value: &f64| value.is_finite())
}
