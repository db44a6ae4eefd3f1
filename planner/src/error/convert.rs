//! Errors of the crates below, in PostgreSQL's words.
//!
//! An error of ours that travelled through DataFusion comes back as it was. What DataFusion and Arrow say themselves is
//! recognised by variant where there is one, else by its wording, and said again as PostgreSQL would. What is not
//! recognised keeps its first line, without the library's name.

mod said;
mod wording;

use arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};

use self::said::{first_line, in_sql, strip_marker};
pub(crate) use self::wording::undefined_function;
use self::wording::{by_wording, impossible_cast, recognised};
use super::{Error, ErrorKind};
use crate::parse::position_of;

impl From<staffa_catalog::Error> for Error {
    fn from(error: staffa_catalog::Error) -> Self {
        from_catalog(&error)
    }
}

impl From<staffa_storage::Error> for Error {
    fn from(error: staffa_storage::Error) -> Self {
        from_storage(&error)
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        convert(&error)
    }
}

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        from_arrow(&error)
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

impl Error {
    /// An error of planning, with the position DataFusion knows of in `text`.
    pub(crate) fn from_planning(error: DataFusionError, text: &str) -> Self {
        let span = error.diagnostic().and_then(|diagnostic| diagnostic.span);
        let mut converted = convert(&error);
        if converted.position().is_none()
            && let Some(span) = span
        {
            let location = datafusion::sql::sqlparser::tokenizer::Location::new(span.start.line, span.start.column);
            if let Some(position) = position_of(text, location) {
                converted = converted.with_position(position);
            }
        }
        converted
    }
}

fn from_catalog(error: &staffa_catalog::Error) -> Error {
    use staffa_catalog::ErrorKind as Catalog;
    let kind = match error.kind() {
        Catalog::UndefinedDatabase => ErrorKind::UndefinedDatabase,
        Catalog::UndefinedSchema => ErrorKind::UndefinedSchema,
        Catalog::UndefinedTable => ErrorKind::UndefinedTable,
        Catalog::UndefinedColumn => ErrorKind::UndefinedColumn,
        Catalog::DuplicateDatabase => ErrorKind::DuplicateDatabase,
        Catalog::DuplicateSchema => ErrorKind::DuplicateSchema,
        Catalog::DuplicateTable => ErrorKind::DuplicateTable,
        Catalog::DuplicateColumn => ErrorKind::DuplicateColumn,
        Catalog::UndefinedRole => ErrorKind::UndefinedObject,
        Catalog::DuplicateRole => ErrorKind::DuplicateObject,
        Catalog::DependentObjects => ErrorKind::DependentObjects,
        Catalog::WrongObjectType => ErrorKind::WrongObjectType,
        Catalog::InvalidDefinition => ErrorKind::InvalidTableDefinition,
        Catalog::UndefinedVersion => ErrorKind::InvalidParameterValue,
        Catalog::Conflict => ErrorKind::SerializationFailure,
        Catalog::Unsupported => ErrorKind::FeatureNotSupported,
        Catalog::Corrupt => ErrorKind::DataCorrupted,
        Catalog::DiskFull => ErrorKind::DiskFull,
        Catalog::Forbidden => ErrorKind::InsufficientPrivilege,
        Catalog::Io | Catalog::MissingObject | Catalog::NewerFormat => ErrorKind::IoError,
        Catalog::OutcomeUnknown => ErrorKind::TransactionResolutionUnknown,
        Catalog::Internal => ErrorKind::InternalError,
    };
    let mut converted = Error::new(kind, error.message());
    if let Some(detail) = error.detail() {
        converted = converted.with_detail(detail);
    }
    if let Some(hint) = error.hint() {
        converted = converted.with_hint(hint);
    }
    converted
}

fn from_storage(error: &staffa_storage::Error) -> Error {
    use staffa_storage::ErrorKind as Storage;
    let kind = match error.kind() {
        Storage::NotFound | Storage::Io => ErrorKind::IoError,
        Storage::Forbidden => ErrorKind::InsufficientPrivilege,
        Storage::DiskFull => ErrorKind::DiskFull,
        Storage::CorruptFile => ErrorKind::DataCorrupted,
        Storage::Unsupported => ErrorKind::FeatureNotSupported,
        Storage::OutOfMemory => ErrorKind::OutOfMemory,
        Storage::Internal => ErrorKind::InternalError,
    };
    let converted = Error::new(kind, error.message());
    match error.path() {
        Some(path) => converted.with_detail(format!("File \"{path}\".")),
        None => converted,
    }
}

fn convert(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => from_any(inner.as_ref()),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => convert(inner),
        DataFusionError::Shared(inner) => convert(inner),
        DataFusionError::Collection(errors) => match errors.first() {
            Some(first) => convert(first),
            None => Error::internal("an empty list of errors"),
        },
        DataFusionError::ArrowError(inner, _) => from_arrow(inner),
        DataFusionError::SchemaError(inner, _) => from_schema(inner),
        DataFusionError::SQL(inner, _) => Error::new(ErrorKind::SyntaxError, inner.to_string()),
        DataFusionError::ResourcesExhausted(message) => out_of_memory(message),
        DataFusionError::NotImplemented(message) => not_implemented(message),
        DataFusionError::ParquetError(inner) => match staffa_storage::Error::find_in(inner.as_ref()) {
            Some(own) => from_storage(own),
            None => {
                Error::new(ErrorKind::DataCorrupted, "could not read a Parquet file").with_detail(inner.to_string())
            }
        },
        DataFusionError::ObjectStore(inner) => match staffa_storage::Error::find_in(inner.as_ref()) {
            Some(own) => from_storage(own),
            None => Error::new(ErrorKind::IoError, "could not read or write an object").with_detail(inner.to_string()),
        },
        DataFusionError::IoError(inner) => from_io(inner),
        // The log has what a panic said.
        DataFusionError::ExecutionJoin(_) => Error::internal("a part of the query ended unexpectedly"),
        DataFusionError::Plan(message)
        | DataFusionError::Execution(message)
        | DataFusionError::Configuration(message) => by_wording(message),
        DataFusionError::Internal(message) => {
            recognised(message).unwrap_or_else(|| Error::internal(in_sql(first_line(message))))
        }
        other => Error::internal(in_sql(first_line(&other.strip_backtrace()))),
    }
}

/// An error inside another library's error: ours, or one whose kind we know.
fn from_any(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Error {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = next {
        if let Some(own) = current.downcast_ref::<Error>() {
            return own.clone();
        }
        if let Some(catalog) = current.downcast_ref::<staffa_catalog::Error>() {
            return from_catalog(catalog);
        }
        if let Some(storage) = current.downcast_ref::<staffa_storage::Error>() {
            return from_storage(storage);
        }
        if let Some(inner) = current.downcast_ref::<DataFusionError>() {
            return convert(inner);
        }
        if let Some(inner) = current.downcast_ref::<ArrowError>() {
            return from_arrow(inner);
        }
        if let Some(inner) = current.downcast_ref::<std::io::Error>() {
            return from_io(inner);
        }
        next = current.source();
    }
    Error::internal(in_sql(first_line(&error.to_string())))
}

fn from_io(error: &std::io::Error) -> Error {
    if let Some(inner) = error.get_ref()
        && let Some(own) = inner.downcast_ref::<Error>()
    {
        return own.clone();
    }
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            Error::new(ErrorKind::DiskFull, "no space left on device")
        }
        _ => Error::new(ErrorKind::IoError, "could not read or write a file").with_detail(error.to_string()),
    }
}

fn from_schema(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let name = strip_marker(&field.name);
            let relation = field.relation.as_ref();
            if let Some(relation) = relation
                && !valid_fields.iter().any(|valid| {
                    valid
                        .relation
                        .as_ref()
                        .is_some_and(|valid| relation.resolved_eq(valid) || relation.table() == valid.table())
                })
            {
                let message = format!("missing FROM-clause entry for table \"{}\"", relation.table());
                return Error::new(ErrorKind::UndefinedTable, message);
            }
            let shown = match relation {
                Some(relation) => format!("column {}.{} does not exist", relation.table(), name),
                None => format!("column \"{name}\" does not exist"),
            };
            let converted = Error::new(ErrorKind::UndefinedColumn, shown);
            match closest(name, valid_fields.iter().map(|valid| strip_marker(&valid.name))) {
                Some(best) => converted.with_hint(format!("Perhaps you meant to reference the column \"{best}\".")),
                None => converted,
            }
        }
        SchemaError::AmbiguousReference { field } => {
            let message = format!("column reference \"{}\" is ambiguous", strip_marker(&field.name));
            Error::new(ErrorKind::AmbiguousColumn, message)
        }
        SchemaError::DuplicateQualifiedField { qualifier, .. } => {
            let message = format!("table name \"{}\" specified more than once", qualifier.table());
            Error::new(ErrorKind::DuplicateAlias, message)
        }
        SchemaError::DuplicateUnqualifiedField { name } => {
            let message = format!("column \"{}\" specified more than once", strip_marker(name));
            Error::new(ErrorKind::DuplicateColumn, message)
        }
    }
}

fn from_arrow(error: &ArrowError) -> Error {
    match error {
        ArrowError::ExternalError(inner) => from_any(inner.as_ref()),
        ArrowError::DivideByZero => Error::new(ErrorKind::DivisionByZero, "division by zero"),
        ArrowError::ArithmeticOverflow(_) => Error::new(ErrorKind::NumericOutOfRange, "value out of range"),
        ArrowError::CastError(message)
        | ArrowError::ParseError(message)
        | ArrowError::ComputeError(message)
        | ArrowError::InvalidArgumentError(message) => by_wording(message),
        ArrowError::MemoryError(message) => out_of_memory(message),
        ArrowError::IoError(_, inner) => from_io(inner),
        ArrowError::NotYetImplemented(message) => not_implemented(message),
        ArrowError::ParquetError(message) => {
            Error::new(ErrorKind::DataCorrupted, "could not read a Parquet file").with_detail(message.clone())
        }
        other => Error::internal(in_sql(first_line(&other.to_string()))),
    }
}

fn out_of_memory(message: &str) -> Error {
    if message.contains("disk") {
        return Error::new(
            ErrorKind::ConfigurationLimitExceeded,
            "temporary file size exceeds the spill limit",
        )
        .with_hint("Use a smaller query, or raise the spill limit of the server.");
    }
    if message.contains("staffa.max_memory") {
        return Error::new(ErrorKind::OutOfMemory, "out of memory")
            .with_detail("The statement needs more memory than staffa.max_memory allows.")
            .with_hint("Use a smaller query.");
    }
    Error::new(ErrorKind::OutOfMemory, "out of memory")
        .with_detail("The query needs more memory than its limit.")
        .with_hint("Use a smaller query, or raise the memory limit of the server.")
}

fn not_implemented(message: &str) -> Error {
    let first = first_line(message);
    let words = ["OuterReferenceColumn", "logical expression", "minimum supported scale"];
    if words.iter().any(|word| first.contains(word)) {
        return by_wording(message);
    }
    if let Some(cast) = impossible_cast(first) {
        return cast;
    }
    let lower = in_sql(first.trim_start_matches("Unsupported "));
    if first.starts_with("Unsupported ") {
        return Error::unsupported(format!("{lower} is not supported"));
    }
    Error::unsupported(lower)
}

/// The candidate that differs by fewest letters, if it is close enough to be meant.
fn closest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).clamp(1, 3);
    candidates
        .map(|candidate| {
            (
                datafusion::common::utils::datafusion_strsim::levenshtein(name, candidate),
                candidate,
            )
        })
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
