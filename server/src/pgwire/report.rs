//! What a client is told when something goes wrong or deserves a remark: the fields of ErrorResponse and NoticeResponse.

use std::io;

use staffa::{Error, ErrorKind, Notice};

use super::sqlstate::sqlstate;

/// How bad it is, in the protocol's words. FATAL ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    Info,
    Notice,
    Warning,
    Error,
    Fatal,
}

impl Severity {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Severity::Info => "INFO",
            Severity::Notice => "NOTICE",
            Severity::Warning => "WARNING",
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
        }
    }
}

/// One error or notice, ready to be encoded.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) severity: Severity,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) detail: Option<String>,
    pub(crate) hint: Option<String>,
    /// Where in the data of a COPY.
    pub(crate) context: Option<String>,
    /// The function of PostgreSQL that would have said so, where drivers go by it.
    pub(crate) routine: Option<&'static str>,
    /// Characters from the start of the client's SQL text, counted from 1.
    pub(crate) position: Option<usize>,
}

impl Report {
    pub(crate) fn error(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::with_code(Severity::Error, sqlstate(kind), message)
    }

    /// An error that ends the connection.
    pub(crate) fn fatal(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::with_code(Severity::Fatal, sqlstate(kind), message)
    }

    pub(crate) fn with_code(severity: Severity, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity,
            code,
            message: message.into(),
            detail: None,
            hint: None,
            context: None,
            routine: None,
            position: None,
        }
    }

    /// A message the protocol does not allow here.
    pub(crate) fn protocol(message: impl Into<String>) -> Self {
        Self::error(ErrorKind::ProtocolViolation, message)
    }

    /// Bytes after which the stream of messages cannot be followed any more.
    pub(crate) fn protocol_fatal(message: impl Into<String>) -> Self {
        Self::fatal(ErrorKind::ProtocolViolation, message)
    }

    /// What every connection hears when the server stops.
    pub(crate) fn shutdown() -> Self {
        Self::fatal(
            ErrorKind::AdminShutdown,
            "terminating connection due to administrator command",
        )
    }

    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same report as one that ends the connection: whatever fails before login is done must not leave it open.
    pub(crate) fn into_fatal(mut self) -> Self {
        self.severity = Severity::Fatal;
        self
    }

    pub(crate) fn is_fatal(&self) -> bool {
        self.severity == Severity::Fatal
    }
}

impl From<Error> for Report {
    fn from(error: Error) -> Self {
        let severity = match error.kind() {
            ErrorKind::AdminShutdown | ErrorKind::CrashShutdown => Severity::Fatal,
            _ => Severity::Error,
        };
        Self {
            severity,
            code: sqlstate(error.kind()),
            message: error.message().to_owned(),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
            context: error.context().map(str::to_owned),
            // The drivers of Java and asyncpg prepare the statement again.
            routine: (error.kind() == ErrorKind::CachedPlanChanged).then_some("RevalidateCachedQuery"),
            position: error.position(),
        }
    }
}

impl From<Notice> for Report {
    fn from(notice: Notice) -> Self {
        let severity = match notice.severity {
            staffa::Severity::Info => Severity::Info,
            staffa::Severity::Notice => Severity::Notice,
            staffa::Severity::Warning => Severity::Warning,
        };
        Self {
            severity,
            code: notice.code,
            message: notice.message,
            detail: notice.detail,
            hint: notice.hint,
            context: None,
            routine: None,
            position: None,
        }
    }
}

/// Why a step of a connection did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The client is told; the connection goes on unless the report is FATAL.
    Report(Box<Report>),
    /// The socket does not work any more: nobody is left to tell.
    Gone(io::Error),
}

/// Result of a step of a connection.
pub(crate) type Step<T> = Result<T, Failure>;

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        Failure::Report(Box::new(report))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Report::from(error).into()
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Gone(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_administrators_stop_is_fatal_and_other_errors_are_not() {
        let stop = Report::from(Error::new(ErrorKind::AdminShutdown, "stop"));
        let other = Report::from(Error::new(ErrorKind::DivisionByZero, "division by zero").with_position(8));
        assert!(stop.is_fatal());
        assert!(!other.is_fatal());
        assert_eq!((other.code, other.position), ("22012", Some(8)));
    }
}
