//! What running a statement gives: rows, a command tag, or one side of a COPY; and the notices beside it.

use std::fmt;

use crate::copy_stream::{CopyIn, CopyOut};
use crate::stream::RowStream;

/// The result of one statement.
#[derive(Debug)]
pub enum Outcome {
    /// Rows to read; dropping the stream stops the work behind it.
    Rows(RowStream),
    /// Done; nothing to read.
    Done(CommandTag),
    /// `COPY … FROM STDIN`: the caller pushes data.
    CopyIn(CopyIn),
    /// `COPY … TO STDOUT`: the caller reads data.
    CopyOut(CopyOut),
}

impl Outcome {
    /// Whether the statement has done all it does: only its answer is to be told.
    pub(crate) fn is_complete(&self) -> bool {
        match self {
            Outcome::Done(_) => true,
            Outcome::Rows(rows) => rows.all_returned().is_some(),
            Outcome::CopyIn(_) | Outcome::CopyOut(_) => false,
        }
    }
}

/// The words a client sees when a statement is done, such as `INSERT 0 5`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandTag {
    words: String,
    rows: Option<u64>,
}

impl CommandTag {
    /// A tag without a count: `CREATE TABLE`.
    pub fn plain(words: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            rows: None,
        }
    }

    /// A tag with a count: `SELECT 5`, `INSERT 0 5`, `COPY 5`.
    pub fn counted(words: impl Into<String>, rows: u64) -> Self {
        Self {
            words: words.into(),
            rows: Some(rows),
        }
    }

    /// Rows read or written, where the tag tells.
    pub fn rows(&self) -> Option<u64> {
        self.rows
    }
}

impl fmt::Display for CommandTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)?;
        match self.rows {
            Some(rows) => write!(f, " {rows}"),
            None => Ok(()),
        }
    }
}

/// Something a client is told that is not an error.
#[derive(Clone, Debug)]
pub struct Notice {
    /// How loud it is.
    pub severity: Severity,
    /// The SQLSTATE PostgreSQL gives this notice, such as `25001`; `00000` where it has none.
    pub code: &'static str,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

/// How loud a [`Notice`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Notice,
    Warning,
    /// What a client asked to be told: it is sent whatever `client_min_messages` is.
    Info,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Notice => "NOTICE",
            Severity::Warning => "WARNING",
            Severity::Info => "INFO",
        })
    }
}

impl Notice {
    pub(crate) fn remark(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Notice,
            code,
            message: message.into(),
            detail: None,
            hint: None,
        }
    }

    pub(crate) fn info(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Info,
            ..Self::remark(code, message)
        }
    }

    pub(crate) fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            code,
            message: message.into(),
            detail: None,
            hint: None,
        }
    }
}

/// The transaction state a client sees after each statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// Outside a transaction block.
    Idle,
    /// Inside a block.
    InTransaction,
    /// Inside a block that failed: everything but its end is refused.
    Failed,
}
