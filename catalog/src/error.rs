//! What can go wrong in the catalog, and whether trying again can help.
//!
//! The kind is what a caller may branch on; message, detail and hint are for people. Messages use Postgres' words.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// A result whose error is the catalog's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kinds of failure a caller can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The database does not exist.
    UndefinedDatabase,
    /// The schema does not exist.
    UndefinedSchema,
    /// The table or view does not exist.
    UndefinedTable,
    /// The column does not exist.
    UndefinedColumn,
    /// A database of that name exists already.
    DuplicateDatabase,
    /// A schema of that name exists already.
    DuplicateSchema,
    /// A table or view of that name exists already.
    DuplicateTable,
    /// The role does not exist.
    UndefinedRole,
    /// A role of that name exists already.
    DuplicateRole,
    /// One column name was given twice.
    DuplicateColumn,
    /// Something cannot be dropped because other objects are in it.
    DependentObjects,
    /// A table was needed and a view found, or the other way round.
    WrongObjectType,
    /// A definition that can never be right, for example `numeric(50)`.
    InvalidDefinition,
    /// There is no such snapshot, branch or tag, or none that old.
    UndefinedVersion,
    /// Another transaction changed the same thing first; running the transaction again may succeed.
    Conflict,
    /// Valid, but something Staffa cannot do (yet).
    Unsupported,
    /// Stored metadata cannot be read or contradicts itself.
    Corrupt,
    /// No space is left for the catalog or for objects.
    DiskFull,
    /// An object does not exist.
    MissingObject,
    /// A place outside those that may be used.
    Forbidden,
    /// Reading or writing the catalog database or an object failed.
    Io,
    /// Nobody can say whether a commit happened: its answer was lost, and looking it up failed.
    OutcomeUnknown,
    /// The catalog database was made by a newer Staffa.
    NewerFormat,
    /// A fact this code relies on turned out false.
    Internal,
}

/// A failure of the catalog.
pub struct Error {
    // Boxed so that a `Result` stays small on the paths that succeed.
    inner: Box<Inner>,
}

struct Inner {
    kind: ErrorKind,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; `message` is short, lower case and without a full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error {
            inner: Box::new(Inner {
                kind,
                message: message.into(),
                detail: None,
                hint: None,
                source: None,
            }),
        }
    }

    /// Adds a sentence about what exactly happened.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.inner.detail = Some(detail.into());
        self
    }

    /// Adds a sentence about what the user can do.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.inner.hint = Some(hint.into());
        self
    }

    /// Adds the error below this one.
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    /// What a caller may branch on.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// The main line.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// What exactly happened, when there is more to say.
    pub fn detail(&self) -> Option<&str> {
        self.inner.detail.as_deref()
    }

    /// What the user can do, when there is something.
    pub fn hint(&self) -> Option<&str> {
        self.inner.hint.as_deref()
    }

    /// Whether the same transaction, run again from its start, may succeed.
    pub fn is_retryable(&self) -> bool {
        self.inner.kind == ErrorKind::Conflict
    }
}

// The few sentences that are said in more than one place.
impl Error {
    pub(crate) fn undefined_database(name: &str) -> Self {
        Error::new(
            ErrorKind::UndefinedDatabase,
            format!("database \"{name}\" does not exist"),
        )
    }

    pub(crate) fn undefined_schema(name: &str) -> Self {
        Error::new(ErrorKind::UndefinedSchema, format!("schema \"{name}\" does not exist"))
    }

    pub(crate) fn undefined_relation(name: &str) -> Self {
        Error::new(ErrorKind::UndefinedTable, format!("relation \"{name}\" does not exist"))
    }

    pub(crate) fn undefined_column(column: &str, relation: &str) -> Self {
        Error::new(
            ErrorKind::UndefinedColumn,
            format!("column \"{column}\" of relation \"{relation}\" does not exist"),
        )
    }

    pub(crate) fn duplicate_database(name: &str) -> Self {
        Error::new(
            ErrorKind::DuplicateDatabase,
            format!("database \"{name}\" already exists"),
        )
    }

    pub(crate) fn duplicate_schema(name: &str) -> Self {
        Error::new(ErrorKind::DuplicateSchema, format!("schema \"{name}\" already exists"))
    }

    pub(crate) fn undefined_role(name: &str) -> Self {
        Error::new(ErrorKind::UndefinedRole, format!("role \"{name}\" does not exist"))
    }

    pub(crate) fn duplicate_role(name: &str) -> Self {
        Error::new(ErrorKind::DuplicateRole, format!("role \"{name}\" already exists"))
    }

    pub(crate) fn duplicate_relation(name: &str) -> Self {
        Error::new(ErrorKind::DuplicateTable, format!("relation \"{name}\" already exists"))
    }

    pub(crate) fn duplicate_column(name: &str) -> Self {
        Error::new(
            ErrorKind::DuplicateColumn,
            format!("column \"{name}\" specified more than once"),
        )
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::InvalidDefinition, message)
    }

    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Error::new(
            ErrorKind::Conflict,
            "could not serialize access due to concurrent update",
        )
        .with_detail(detail)
        .with_hint("Run the transaction again.")
    }

    pub(crate) fn outcome_unknown(source: Error) -> Self {
        Error::new(ErrorKind::OutcomeUnknown, "the outcome of the commit is unknown")
            .with_detail(source.to_string())
            .with_hint("Look whether the change is there before you repeat it.")
            .with_source(source)
    }

    /// The same error for one of several who waited for the same thing.
    pub(crate) fn shared(error: Arc<Error>) -> Self {
        let Inner {
            kind,
            message,
            detail,
            hint,
            ..
        } = &*error.inner;
        let (kind, message, detail, hint) = (*kind, message.clone(), detail.clone(), hint.clone());
        Error {
            inner: Box::new(Inner {
                kind,
                message,
                detail,
                hint,
                source: Some(Box::new(error)),
            }),
        }
    }

    /// The same error of a file that `holder` names: its name may be what is wrong.
    pub(crate) fn named_in(self, holder: &str) -> Self {
        let named = format!("It is named in \"{holder}\".");
        let detail = match self.detail() {
            Some(detail) => format!("{detail} {named}"),
            None => named,
        };
        self.with_detail(detail)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Internal, message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)?;
        if let Some(detail) = &self.inner.detail {
            write!(f, ": {detail}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.inner.kind)
            .field("message", &self.inner.message)
            .field("detail", &self.inner.detail)
            .field("hint", &self.inner.hint)
            .field("source", &self.inner.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}
