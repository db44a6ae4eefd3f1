//! The one error of planning and running a statement: what a client is told.

use std::fmt;

mod convert;

pub(crate) use self::convert::undefined_function;

/// What kind of mistake or failure it is, by the name PostgreSQL gives the condition
/// (PostgreSQL 15, appendix A). The server maps each kind to its SQLSTATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    SyntaxError,
    FeatureNotSupported,
    /// A prepared statement would give other columns than its client was told of.
    CachedPlanChanged,
    UndefinedTable,
    UndefinedColumn,
    UndefinedFunction,
    UndefinedObject,
    UndefinedParameter,
    UndefinedSchema,
    UndefinedDatabase,
    UndefinedPreparedStatement,
    UndefinedCursor,
    UndefinedSavepoint,
    AmbiguousColumn,
    AmbiguousFunction,
    DuplicateTable,
    DuplicateColumn,
    DuplicateSchema,
    DuplicateDatabase,
    DuplicateAlias,
    DuplicatePreparedStatement,
    DuplicateCursor,
    InvalidCursorDefinition,
    DependentObjects,
    WrongObjectType,
    ObjectInUse,
    LockNotAvailable,
    DeadlockDetected,
    ObjectNotInPrerequisiteState,
    InvalidTableDefinition,
    InvalidColumnDefinition,
    InvalidColumnReference,
    InvalidRowCountInLimit,
    InvalidRowCountInOffset,
    InvalidObjectDefinition,
    InvalidParameterValue,
    InvalidName,
    ReservedName,
    DatatypeMismatch,
    CannotCoerce,
    IndeterminateDatatype,
    GroupingError,
    WindowingError,
    InvalidRecursion,
    InvalidTextRepresentation,
    InvalidBinaryRepresentation,
    InvalidDatetimeFormat,
    DatetimeOverflow,
    IntervalFieldOverflow,
    InvalidTimeZoneDisplacement,
    NumericOutOfRange,
    DivisionByZero,
    StringTooLong,
    NotNullViolation,
    CheckViolation,
    GeneratedAlways,
    InvalidForeignKey,
    DuplicateObject,
    CardinalityViolation,
    SequenceLimitExceeded,
    CharacterNotInRepertoire,
    UntranslatableCharacter,
    BadCopyFormat,
    InvalidEscapeSequence,
    InvalidUseOfEscapeCharacter,
    InvalidRegularExpression,
    InvalidLogarithmArgument,
    InvalidPowerArgument,
    InvalidWidthBucketArgument,
    InvalidArgumentForNtile,
    InvalidArgumentForNthValue,
    InvalidFrameOffset,
    SubstringError,
    NullValueNotAllowed,
    ArraySubscriptError,
    NonNumericJsonItem,
    SingletonJsonItemRequired,
    JsonArrayNotFound,
    InvalidJsonSubscript,
    JsonMemberNotFound,
    JsonNumberNotFound,
    JsonObjectNotFound,
    ActiveTransaction,
    NoActiveTransaction,
    InFailedTransaction,
    ReadOnlyTransaction,
    SerializationFailure,
    InsufficientPrivilege,
    InvalidGrantOperation,
    InvalidPassword,
    InvalidAuthorization,
    TooManyConnections,
    TooManyColumns,
    TooManyArguments,
    OutOfMemory,
    DiskFull,
    ConfigurationLimitExceeded,
    ProgramLimitExceeded,
    StatementTooComplex,
    QueryCanceled,
    AdminShutdown,
    CrashShutdown,
    CannotConnectNow,
    CannotChangeRuntimeParameter,
    ProtocolViolation,
    TransactionResolutionUnknown,
    IoError,
    DataCorrupted,
    InternalError,
}

/// An error with everything a client can show: main line, detail, hint and position.
#[derive(Clone, Debug)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Clone, Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    context: Option<String>,
    position: Option<usize>,
}

/// Shorthand for results of this crate and of the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with its main line: short, lower-case, in PostgreSQL's words where it has some.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            inner: Box::new(Inner {
                kind,
                message: message.into(),
                detail: None,
                hint: None,
                context: None,
                position: None,
            }),
        }
    }

    /// A clause, statement or option that is understood but not supported.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::FeatureNotSupported, message)
    }

    /// A broken promise of our own code; the message is for the log and for a bug report.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InternalError, message)
    }

    /// Adds the second line.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.inner.detail = Some(detail.into());
        self
    }

    /// Adds what the user could do.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.inner.hint = Some(hint.into());
        self
    }

    /// Adds where in the data it is: in a value, then in the data of a COPY.
    pub fn with_context(mut self, context: impl Into<String>) -> Self {
        let inner = self.inner.context.take().map(|inner| inner + "\n");
        self.inner.context = Some(inner.unwrap_or_default() + &context.into());
        self
    }

    /// Adds where in the SQL text it is: characters, counted from 1. The first position given stays.
    pub fn with_position(mut self, position: usize) -> Self {
        self.inner.position.get_or_insert(position);
        self
    }

    /// Moves the position when the text was part of a longer one (`characters` before it).
    pub fn shifted(mut self, characters: usize) -> Self {
        if let Some(position) = &mut self.inner.position {
            *position += characters;
        }
        self
    }

    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    pub fn message(&self) -> &str {
        &self.inner.message
    }

    pub fn detail(&self) -> Option<&str> {
        self.inner.detail.as_deref()
    }

    pub fn hint(&self) -> Option<&str> {
        self.inner.hint.as_deref()
    }

    pub fn context(&self) -> Option<&str> {
        self.inner.context.as_deref()
    }

    /// Characters from the start of the statement's text, counted from 1.
    pub fn position(&self) -> Option<usize> {
        self.inner.position
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)?;
        if let Some(detail) = &self.inner.detail {
            write!(f, "\nDETAIL: {detail}")?;
        }
        if let Some(hint) = &self.inner.hint {
            write!(f, "\nHINT: {hint}")?;
        }
        if let Some(context) = &self.inner.context {
            write!(f, "\nCONTEXT: {context}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
