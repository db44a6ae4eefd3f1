//! Statements, their arguments and their rows, the same for all databases: texts and numbers are all the catalog keeps.

use async_trait::async_trait;

use crate::error::{Error, ErrorKind, Result};

/// A value for `$1`, `$2`, …
#[derive(Clone, Copy, Debug)]
pub(in crate::database) enum Argument<'a> {
    Text(&'a str),
    Number(i64),
    /// A number that is absent.
    Null,
    /// A text that is absent.
    NullText,
}

impl<'a> From<&'a str> for Argument<'a> {
    fn from(text: &'a str) -> Self {
        Argument::Text(text)
    }
}

impl From<i64> for Argument<'_> {
    fn from(number: i64) -> Self {
        Argument::Number(number)
    }
}

impl From<Option<i64>> for Argument<'_> {
    fn from(number: Option<i64>) -> Self {
        number.map_or(Argument::Null, Argument::Number)
    }
}

/// One value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::database) enum Cell {
    Null,
    Text(String),
    Number(i64),
}

/// One row of a result.
#[derive(Clone, Debug)]
pub(in crate::database) struct Row(pub(in crate::database) Vec<Cell>);

impl Row {
    pub(in crate::database) fn text(&self, index: usize) -> Result<String> {
        self.optional_text(index)?.ok_or_else(|| unexpected(index))
    }

    pub(in crate::database) fn optional_text(&self, index: usize) -> Result<Option<String>> {
        match self.0.get(index) {
            Some(Cell::Text(text)) => Ok(Some(text.clone())),
            Some(Cell::Null) => Ok(None),
            _ => Err(unexpected(index)),
        }
    }

    pub(in crate::database) fn number(&self, index: usize) -> Result<i64> {
        self.optional_number(index)?.ok_or_else(|| unexpected(index))
    }

    pub(in crate::database) fn optional_number(&self, index: usize) -> Result<Option<i64>> {
        match self.0.get(index) {
            Some(Cell::Number(number)) => Ok(Some(*number)),
            Some(Cell::Null) => Ok(None),
            _ => Err(unexpected(index)),
        }
    }
}

fn unexpected(index: usize) -> Error {
    Error::new(ErrorKind::Corrupt, "the catalog database holds a value of another type")
        .with_detail(format!("In column {} of a result.", index + 1))
}

/// What runs statements.
#[async_trait]
pub(in crate::database) trait Statements: Send {
    /// Gives how many rows were changed.
    async fn execute(&mut self, sql: &'static str, arguments: &[Argument<'_>]) -> Result<u64>;

    async fn rows(&mut self, sql: &'static str, arguments: &[Argument<'_>]) -> Result<Vec<Row>>;
}
