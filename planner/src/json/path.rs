//! jsonpath: PostgreSQL's dialect of SQL:2016's path language.

mod arithmetic;
mod parse;
mod print;
mod run;

use self::parse::parse;
use super::Node;
use crate::error::Result;

/// A path that was read, ready to be followed.
#[derive(Debug)]
pub(crate) struct Path {
    strict: bool,
    /// Whether it is a predicate (`$.a > 1`), whose answer is one truth value.
    root: Expression,
}

/// An expression of the path language; each gives a sequence of values, predicates give a truth value.
#[derive(Clone, Debug, PartialEq)]
enum Expression {
    /// `$`
    Root,
    /// `@`
    Current,
    /// `$name`
    Variable(String),
    /// `last`, within a subscript
    Last,
    Null,
    Boolean(bool),
    Number(String),
    Text(String),
    /// What follows a value, one step after another.
    Steps(Box<Expression>, Vec<Accessor>),
    Sign(bool, Box<Expression>),
    Arithmetic(Operation, Box<Expression>, Box<Expression>),
    Compare(Comparison, Box<Expression>, Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    Not(Box<Expression>),
    IsUnknown(Box<Expression>),
    Exists(Box<Expression>),
    StartsWith(Box<Expression>, Box<Expression>),
}

#[derive(Clone, Debug, PartialEq)]
enum Accessor {
    /// `.key`
    Key(String),
    /// `.*`
    AnyKey,
    /// `[1, 2 to last]`
    Elements(Vec<(Expression, Option<Expression>)>),
    /// `[*]`
    AnyElement,
    /// `.**{2 to 4}`
    Anywhere(u32, u32),
    /// `?(…)`
    Filter(Box<Expression>),
    Method(Method),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Type,
    Size,
    Abs,
    Floor,
    Ceiling,
    Double,
    KeyValue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Operation {
    fn symbol(self) -> &'static str {
        match self {
            Operation::Add => "+",
            Operation::Subtract => "-",
            Operation::Multiply => "*",
            Operation::Divide => "/",
            Operation::Modulo => "%",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Path {
    /// Errors: `syntax error at or near "x" of jsonpath input` (42601), what is not supported by name (0A000).
    pub(crate) fn read(text: &str) -> Result<Self> {
        parse(text)
    }

    /// `jsonb_path_query`: all values it leads to. Silent: errors of the data end it without one.
    pub(crate) fn query<'a>(&'a self, value: &Node<'a>, variables: &Node<'a>, silent: bool) -> Result<Vec<Node<'a>>> {
        run::query(self, value, variables, silent)
    }

    /// `jsonb_path_exists`; `None` is unknown.
    pub(crate) fn exists(&self, value: &Node<'_>, variables: &Node<'_>, silent: bool) -> Result<Option<bool>> {
        run::exists(self, value, variables, silent)
    }

    /// `jsonb_path_match`
    pub(crate) fn matches(&self, value: &Node<'_>, variables: &Node<'_>, silent: bool) -> Result<Option<bool>> {
        run::matches(self, value, variables, silent)
    }
}

fn is_predicate(expression: &Expression) -> bool {
    matches!(
        expression,
        Expression::Compare(..)
            | Expression::And(..)
            | Expression::Or(..)
            | Expression::Not(_)
            | Expression::IsUnknown(_)
            | Expression::Exists(_)
            | Expression::StartsWith(..)
    )
}
