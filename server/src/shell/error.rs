//! What a statement can end with in the shell, and how it is shown: as psql does, with the line and a caret.

use std::error::Error as _;
use std::fmt::Write as _;
use std::io;

use super::cells::width;

/// Why a statement did not end well.
#[derive(Debug)]
pub(crate) enum ShellError {
    Sql(Box<SqlError>),
    /// Our own output cannot be written: `| head` has seen enough, or the disk is full.
    Output(io::Error),
}

/// An error of the engine or the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SqlError {
    /// `ERROR`, `FATAL`; empty where it is not the server's.
    pub(crate) severity: String,
    pub(crate) message: String,
    pub(crate) detail: Option<String>,
    pub(crate) hint: Option<String>,
    /// Where in the data of a COPY.
    pub(crate) context: Option<String>,
    /// Characters from the start of the statement, counted from 1.
    pub(crate) position: Option<usize>,
    /// No further statement can run: the connection is gone.
    pub(crate) disconnected: bool,
}

pub(crate) type Result<T, E = ShellError> = std::result::Result<T, E>;

impl ShellError {
    pub(crate) fn message(message: impl Into<String>) -> Self {
        Self::Sql(Box::new(SqlError {
            message: message.into(),
            ..SqlError::default()
        }))
    }
}

impl From<io::Error> for ShellError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<staffa::Error> for ShellError {
    fn from(error: staffa::Error) -> Self {
        Self::Sql(Box::new(SqlError {
            severity: "ERROR".to_owned(),
            message: error.message().to_owned(),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
            context: error.context().map(str::to_owned),
            position: error.position(),
            disconnected: false,
        }))
    }
}

impl From<tokio_postgres::Error> for ShellError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Sql(Box::new(remote(&error)))
    }
}

pub(crate) fn remote(error: &tokio_postgres::Error) -> SqlError {
    if let Some(server) = error.as_db_error() {
        return SqlError {
            severity: server.severity().to_owned(),
            message: server.message().to_owned(),
            detail: server.detail().map(str::to_owned),
            hint: server.hint().map(str::to_owned),
            context: server.where_().map(str::to_owned),
            position: match server.position() {
                Some(tokio_postgres::error::ErrorPosition::Original(position)) => usize::try_from(*position).ok(),
                _ => None,
            },
            disconnected: error.is_closed() || matches!(server.severity(), "FATAL" | "PANIC"),
        };
    }
    let mut message = if error.is_closed() {
        "the server closed the connection".to_owned()
    } else {
        error.to_string()
    };
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.contains(&text) {
            let _ = write!(message, ": {text}");
        }
        source = cause.source();
    }
    SqlError {
        message,
        disconnected: error.is_closed(),
        ..SqlError::default()
    }
}

/// Longer lines are shown in part, around the position.
const LINE_CHARACTERS_MAX: usize = 100;

impl SqlError {
    /// All lines to print for a statement of this text.
    pub(crate) fn report(&self, sql: &str) -> String {
        let severity = if self.severity.is_empty() {
            "ERROR"
        } else {
            &self.severity
        };
        let mut text = format!("{severity}:  {}\n", self.message);
        if let Some(position) = self.position {
            caret(sql, position, &mut text);
        }
        if let Some(detail) = &self.detail {
            let _ = writeln!(text, "DETAIL:  {detail}");
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "HINT:  {hint}");
        }
        if let Some(context) = &self.context {
            let _ = writeln!(text, "CONTEXT:  {context}");
        }
        text
    }
}

/// `LINE 2: from nowhere` and a caret below the position.
fn caret(sql: &str, position: usize, text: &mut String) {
    let before: String = sql.chars().take(position.saturating_sub(1)).collect();
    if position == 0 || position > sql.chars().count() + 1 {
        return;
    }
    let number = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = sql[start..]
        .split('\n')
        .next()
        .unwrap_or_default()
        .replace(['\t', '\r'], " ");
    let column = before[start..].chars().count();
    // A window that has some context on both sides.
    let skipped = if line.chars().count() > LINE_CHARACTERS_MAX {
        column.saturating_sub(LINE_CHARACTERS_MAX / 2)
    } else {
        0
    };
    let shown: String = line.chars().skip(skipped).take(LINE_CHARACTERS_MAX).collect();
    let left = if skipped > 0 { "..." } else { "" };
    let right = if line.chars().count() > skipped + LINE_CHARACTERS_MAX {
        "..."
    } else {
        ""
    };
    let label = format!("LINE {number}: {left}");
    let indent = label.len() + width(&shown.chars().take(column - skipped).collect::<String>());
    let _ = writeln!(text, "{label}{shown}{right}\n{:indent$}^", "");
}

#[cfg(test)]
mod tests {
    use super::SqlError;

    fn report(sql: &str, position: usize) -> String {
        let error = SqlError {
            severity: "ERROR".to_owned(),
            message: "relation \"x\" does not exist".to_owned(),
            hint: Some("try y".to_owned()),
            position: Some(position),
            ..SqlError::default()
        };
        error.report(sql)
    }

    #[test]
    fn the_caret_is_below_the_position() {
        assert_eq!(
            report("select *\nfrom x where a", 15),
            "ERROR:  relation \"x\" does not exist\nLINE 2: from x where a\n             ^\nHINT:  try y\n"
        );
        assert!(report("select 日本, y", 12).contains("\nLINE 1: select 日本, y\n                     ^\n"));
        assert!(report("select", 7).contains("LINE 1: select\n              ^\n"));
    }

    #[test]
    fn positions_outside_the_text_show_no_line() {
        assert!(!report("select", 99).contains("LINE"));
        assert!(!report("", 0).contains("LINE"));
    }

    #[test]
    fn long_lines_are_cut_around_the_position() {
        let sql = format!("select {}x{}", "a, ".repeat(100), ", b".repeat(100));
        let text = report(&sql, 308);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[1].starts_with("LINE 1: ...") && lines[1].ends_with("..."),
            "{text}"
        );
        let at = lines[2].find('^').expect("a caret");
        assert_eq!(&lines[1][at..=at], "x");
    }
}
