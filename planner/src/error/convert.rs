//! Errors of the crates below, in PostgreSQL's words.
//!
//! An error of ours that travelled through DataFusion comes back as it was. What DataFusion and Arrow say themselves is
//! recognised by variant where there is one, else by its wording, and said again as PostgreSQL would. What is not
//! recognised keeps its first line, without the library's name.

use arrow::datatypes::DECIMAL128_MAX_PRECISION;
use arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};

use super::{Error, ErrorKind};
use crate::parse::position_of;
use crate::pg_catalog::is_function_of_postgres;
use crate::value::numeric::overflow;

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
    if first.contains("OuterReferenceColumn") || first.contains("logical expression") {
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

/// What the libraries say only in words. What they refuse that is no mistake of PostgreSQL's is not supported.
fn by_wording(message: &str) -> Error {
    recognised(message).unwrap_or_else(|| Error::unsupported(in_sql(first_line(message))))
}

/// Mistakes by their words. Order matters: the first that fits wins.
fn recognised(message: &str) -> Option<Error> {
    let line = first_line(message);
    let has = |part: &str| line.contains(part);
    let lower = line.to_lowercase();

    if has("stack overflow") || has("Recursion limit") {
        return Some(Error::new(ErrorKind::StatementTooComplex, "stack depth limit exceeded"));
    }
    if lower.contains("divide by zero") || lower.contains("division by zero") {
        return Some(Error::new(ErrorKind::DivisionByZero, "division by zero"));
    }
    // DataFusion keeps only the words of an error of coercion: ours says which function there is not.
    if let Some((_, ours)) = line.split_once("user-defined coercion failed with: External error: function ")
        && let Some(name) = ours.strip_suffix(" does not exist")
    {
        return Some(undefined_function(name));
    }
    if let Some(error) = of_select(line)
        .or_else(|| of_calls(line))
        .or_else(|| impossible_cast(line))
    {
        return Some(error);
    }
    if let Some(name) = between(line, "Invalid function '", "'") {
        if WINDOW_ONLY.contains(&name.as_str()) {
            let message = format!("window function {name} requires an OVER clause");
            return Some(Error::new(ErrorKind::WrongObjectType, message));
        }
        return Some(missing_function(&name));
    }
    if let Some(name) = between(line, "table function '", "' not found") {
        return Some(missing_function(&name));
    }
    if let Some(name) = between(line, "Failed to coerce arguments to satisfy a call to '", "'") {
        return Some(undefined_function(&name));
    }
    if let Some(name) =
        between(line, "Function '", "'").filter(|_| has("expects") || has("requires") || has("does not support"))
    {
        return Some(undefined_function(&name));
    }
    if has("No function matches the given name and argument types") {
        let name = between(line, "argument types '", "(").unwrap_or_default();
        return Some(undefined_function(&name));
    }
    if has("must appear in the GROUP BY clause")
        || has("must be part of GROUP BY")
        || has("could not be resolved from available columns")
    {
        return Some(grouping(line));
    }
    if has("field position must not be zero") {
        return Some(Error::new(
            ErrorKind::InvalidParameterValue,
            "field position must not be zero",
        ));
    }
    if has("negative count not allowed") || has("negative substring length not allowed") {
        return Some(Error::new(
            ErrorKind::SubstringError,
            "negative substring length not allowed",
        ));
    }
    if has("Inconsistent metadata across values list") {
        return Some(
            Error::new(ErrorKind::DatatypeMismatch, "VALUES types cannot be matched")
                .with_hint("Cast the values of each column to one type."),
        );
    }
    if has("converted value exceeds the representable") {
        return Some(Error::new(
            ErrorKind::DatetimeOverflow,
            "date out of range for timestamp",
        ));
    }
    if let Some((what, value)) = cannot_cast(line) {
        let message = format!("invalid input syntax for type {}: \"{value}\"", sql_name(&what));
        return Some(Error::new(ErrorKind::InvalidTextRepresentation, message));
    }
    if lower.contains("parser error") || has("Error parsing timestamp") || has("Unable to parse") {
        return Some(Error::new(ErrorKind::InvalidDatetimeFormat, lower_first(line)));
    }
    if has("exceeds the minimum supported scale") {
        let message = "value overflows numeric format";
        return Some(Error::new(ErrorKind::NumericOutOfRange, message));
    }
    if has("cannot access field at argument") {
        let message = "column notation applied to a value that is not of a composite type";
        return Some(Error::new(ErrorKind::WrongObjectType, message));
    }
    if let Some((precision, scale)) = decimal_limit(line) {
        return Some(overflow(precision, scale));
    }
    if lower.contains("overflow")
        || lower.contains("out of range")
        || has("can't be cast")
        || has("Can't cast value")
        || has("is too large to store")
        || has("is too small to store")
    {
        return Some(Error::new(ErrorKind::NumericOutOfRange, out_of_range(line)));
    }
    if let Some((_, operation)) = line.split_once("for logical boolean operation ") {
        let name = if operation.contains(" OR ") { "OR" } else { "AND" };
        let between = format!(" {name} ");
        let wrong = operation
            .split(&between)
            .map(str::trim)
            .find(|operand| !operand.starts_with("Boolean"))
            .unwrap_or("unknown");
        let message = format!("argument of {name} must be type boolean, not type {}", sql_name(wrong));
        return Some(Error::new(ErrorKind::DatatypeMismatch, message));
    }
    if has("overlay start position must be at least 1") {
        return Some(Error::new(
            ErrorKind::SubstringError,
            "negative substring length not allowed",
        ));
    }
    if has("Regex") || lower.contains("regular expression") || lower.contains("regex parse") {
        return Some(Error::new(
            ErrorKind::InvalidRegularExpression,
            format!("invalid regular expression: {line}"),
        ));
    }
    if let Some((left, right)) = coercion(line) {
        let message = format!("operator does not exist: {} {} {}", left.0, left.1, right);
        return Some(
            Error::new(ErrorKind::UndefinedFunction, message)
                .with_hint("No operator matches the given argument types. You might need to add explicit type casts."),
        );
    }
    if has("more than one row") || has("returned more than one") {
        let message = "more than one row returned by a subquery used as an expression";
        return Some(Error::new(ErrorKind::CardinalityViolation, message));
    }
    if has("UNION") && has("same number of columns") || has("queries have different number of columns") {
        return Some(Error::new(
            ErrorKind::SyntaxError,
            "each UNION query must have the same number of columns",
        ));
    }
    if has("Invalid placeholder") || has("Placeholder value") || has("placeholder") && has("not found") {
        let name = line
            .split_whitespace()
            .find(|word| word.starts_with('$'))
            .unwrap_or("$0");
        return Some(Error::new(
            ErrorKind::UndefinedParameter,
            format!("there is no parameter {}", name.trim_matches('\'')),
        ));
    }
    if has("Projections require unique expression names") {
        return Some(Error::new(
            ErrorKind::DuplicateColumn,
            "two columns of a subquery have the same name",
        ));
    }
    if has("Aggregate functions are not allowed") || has("aggregate function") && has("not allowed") {
        return Some(Error::new(ErrorKind::GroupingError, lower_first(line)));
    }
    if has("Window function") || has("window function") {
        return Some(Error::new(ErrorKind::WindowingError, in_sql(line)));
    }
    if has("table name") && has("specified more than once") || has("duplicate") && has("alias") {
        return Some(Error::new(ErrorKind::DuplicateAlias, lower_first(line)));
    }
    if has("OuterReferenceColumn") || has("Correlated scalar subquery") {
        return Some(
            Error::unsupported("this kind of correlated subquery is not supported")
                .with_hint("Write it as a join, or aggregate in the subquery."),
        );
    }
    if has("Physical plan does not support logical expression") || has("not supported") || has("not implemented") {
        return Some(Error::unsupported(in_sql(line)));
    }
    None
}

/// Mistakes in window frames and in arguments of functions, as the libraries say them.
fn of_calls(line: &str) -> Option<Error> {
    const SAID: &[(&str, ErrorKind, &str)] = &[
        (
            "start bound cannot be UNBOUNDED FOLLOWING",
            ErrorKind::WindowingError,
            "frame start cannot be UNBOUNDED FOLLOWING",
        ),
        (
            "end bound cannot be UNBOUNDED PRECEDING",
            ErrorKind::WindowingError,
            "frame end cannot be UNBOUNDED PRECEDING",
        ),
        (
            "frame offsets for ROWS / GROUPS must be non negative",
            ErrorKind::InvalidFrameOffset,
            "frame starting offset must not be negative",
        ),
        (
            "RANGE requires exactly one ORDER BY column",
            ErrorKind::WindowingError,
            "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column",
        ),
        (
            "Window function calls cannot be nested",
            ErrorKind::WindowingError,
            "window functions are not allowed in window definitions",
        ),
        (
            "NTILE requires a positive integer",
            ErrorKind::InvalidArgumentForNtile,
            "argument of ntile must be greater than zero",
        ),
        (
            "to grouping function is not in grouping columns",
            ErrorKind::GroupingError,
            "arguments to GROUPING must be grouping expressions of the associated query level",
        ),
        (
            "invalid Unicode scalar value: -",
            ErrorKind::InvalidParameterValue,
            "character number must be positive",
        ),
        (
            "overlay start position must be at least 1",
            ErrorKind::SubstringError,
            "negative substring length not allowed",
        ),
        (
            "Failed to decode value using base64",
            ErrorKind::InvalidParameterValue,
            "invalid base64 end sequence",
        ),
        (
            "Failed to decode value using hex: Odd number",
            ErrorKind::InvalidParameterValue,
            "invalid hexadecimal data: odd number of digits",
        ),
    ];
    if let Some((_, kind, message)) = SAID
        .iter()
        .find(|(said, ..)| line.to_lowercase().contains(&said.to_lowercase()))
    {
        return Some(Error::new(*kind, *message));
    }
    let made = |kind, message: String| Some(Error::new(kind, message));
    if let Some(name) = between(line, "The window ", " is not defined") {
        return made(ErrorKind::UndefinedObject, format!("window \"{name}\" does not exist"));
    }
    if let Some(name) = between(line, "The window ", " is defined multiple times") {
        return made(
            ErrorKind::WindowingError,
            format!("window \"{name}\" is already defined"),
        );
    }
    if let Some(name) = between(line, "There is no built-in encoding named '", "'") {
        return made(
            ErrorKind::InvalidParameterValue,
            format!("unrecognized encoding: \"{name}\""),
        );
    }
    if let Some(digit) = between(line, "Failed to decode value using hex: Invalid character '", "'") {
        return made(
            ErrorKind::InvalidParameterValue,
            format!("invalid hexadecimal digit: \"{digit}\""),
        );
    }
    if let Some(value) = between(
        line,
        "ercentile value must be between 0.0 and 1.0 inclusive, ",
        " is invalid",
    ) {
        return made(
            ErrorKind::NumericOutOfRange,
            format!("percentile value {value} is not between 0 and 1"),
        );
    }
    if let Some(parts) = line.split_once("Unable to parse date from ").map(|(_, parts)| parts)
        && let [year, month, day] = parts.split(", ").collect::<Vec<_>>().as_slice()
    {
        let message = format!("date field value out of range: {year}-{month:0>2}-{day:0>2}");
        return made(ErrorKind::DatetimeOverflow, message);
    }
    if line.contains("Month value '") || line.contains("Day value '") {
        return made(ErrorKind::DatetimeOverflow, "date field value out of range".to_string());
    }
    if let Some(ty) = line
        .split_once("Expected LIMIT to be an integer or null, but got ")
        .map(|(_, ty)| ty)
    {
        let message = format!("argument of LIMIT must be type bigint, not type {}", sql_name(ty));
        return made(ErrorKind::DatatypeMismatch, message);
    }
    if let Some(ty) = line
        .split_once("Expected OFFSET to be an integer or null, but got ")
        .map(|(_, ty)| ty)
    {
        let message = format!("argument of OFFSET must be type bigint, not type {}", sql_name(ty));
        return made(ErrorKind::DatatypeMismatch, message);
    }
    if line.contains("Inconsistent data type across values list") {
        let found = line.split_once("Was ")?.1.split_once(" but found ")?;
        let message = format!(
            "VALUES types {} and {} cannot be matched",
            sql_name(found.0),
            sql_name(found.1)
        );
        return made(ErrorKind::DatatypeMismatch, message);
    }
    None
}

/// `CAST from Int32 to Date32 is not supported`, `Unsupported CAST from Int32 to Date32`
fn impossible_cast(line: &str) -> Option<Error> {
    let types = line.trim_start_matches("Unsupported ").strip_prefix("CAST from ")?;
    let types = types.strip_suffix(" is not supported").unwrap_or(types);
    let (from, to) = types.split_once(" to ")?;
    let message = format!("cannot cast type {} to {}", sql_name(from), sql_name(to));
    Some(Error::new(ErrorKind::CannotCoerce, message))
}

/// Functions that are nothing without OVER.
const WINDOW_ONLY: &[&str] = &[
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
    "lag",
    "lead",
];

/// Mistakes in the shape of a SELECT.
fn of_select(line: &str) -> Option<Error> {
    let has = |part: &str| line.contains(part);
    let made = |kind, message: String| Some(Error::new(kind, message));
    if let Some(position) = between(line, "Order by column out of bounds, specified: ", ",") {
        let message = format!("ORDER BY position {position} is not in select list");
        return made(ErrorKind::InvalidColumnReference, message);
    }
    if let Some(position) = between(line, "Cannot find column with position ", " in SELECT clause") {
        let message = format!("GROUP BY position {position} is not in select list");
        return made(ErrorKind::InvalidColumnReference, message);
    }
    if has("SELECT DISTINCT ON expressions must match initial ORDER BY expressions") {
        return made(ErrorKind::InvalidColumnReference, line.to_string());
    }
    if has("For SELECT DISTINCT, ORDER BY expressions") {
        let message = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
        return made(ErrorKind::InvalidColumnReference, message.to_string());
    }
    if let Some((_, ty)) = line.split_once("Cannot create filter with non-boolean predicate ")
        && let Some((_, ty)) = ty.rsplit_once(" returning ")
        && !ty.starts_with("Utf8")
    {
        let message = format!("argument of WHERE must be type boolean, not type {}", sql_name(ty));
        return made(ErrorKind::DatatypeMismatch, message);
    }
    if has("LIMIT must be >= 0") {
        return made(
            ErrorKind::InvalidRowCountInLimit,
            "LIMIT must not be negative".to_string(),
        );
    }
    if has("OFFSET must be >=0") || has("OFFSET must be >= 0") {
        return made(
            ErrorKind::InvalidRowCountInOffset,
            "OFFSET must not be negative".to_string(),
        );
    }
    if has("Inconsistent data length across values list") {
        return made(
            ErrorKind::SyntaxError,
            "VALUES lists must all be the same length".to_string(),
        );
    }
    if has("The subquery should only return one column") {
        return made(
            ErrorKind::SyntaxError,
            "subquery must return only one column".to_string(),
        );
    }
    if let Some(name) = between(line, "WITH query name \"", "\" specified more than once") {
        let message = format!("WITH query name \"{name}\" specified more than once");
        return made(ErrorKind::DuplicateAlias, message);
    }
    if line.to_lowercase().contains("step cannot be zero") {
        return made(
            ErrorKind::InvalidParameterValue,
            "step size cannot equal zero".to_string(),
        );
    }
    if let Some(ty) = between(line, "Unary operator 'NOT' requires a boolean expression, got ", "\n").or_else(|| {
        line.split_once("'NOT' requires a boolean expression, got ")
            .map(|(_, ty)| ty.to_string())
    }) {
        let message = format!("argument of NOT must be type boolean, not type {}", sql_name(&ty));
        return made(ErrorKind::DatatypeMismatch, message);
    }
    if has("Aggregate functions are not allowed in the WHERE clause") {
        let message = "aggregate functions are not allowed in WHERE";
        return made(ErrorKind::GroupingError, message.to_string());
    }
    if has("Aggregate function calls cannot be nested") {
        return made(
            ErrorKind::GroupingError,
            "aggregate function calls cannot be nested".to_string(),
        );
    }
    if let Some(condition) = between(
        line,
        "HAVING clause references: ",
        " must appear in the GROUP BY clause",
    ) && let Some(column) = first_column(&condition)
    {
        let message =
            format!("column \"{column}\" must appear in the GROUP BY clause or be used in an aggregate function");
        return made(ErrorKind::GroupingError, message);
    }
    None
}

/// The first word of an expression's text that is a column: `t.a` of `t.a > Int64(1)`.
fn first_column(expression: &str) -> Option<String> {
    let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
    let start = expression.find(|c: char| c.is_alphabetic() || c == '_')?;
    let rest = &expression[start..];
    let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
    let literal = rest[end..].starts_with('(');
    (!literal).then(|| rest[..end].to_string())
}

/// `function f does not exist`
pub(crate) fn undefined_function(name: &str) -> Error {
    Error::new(ErrorKind::UndefinedFunction, format!("function {name} does not exist"))
        .with_hint("No function matches the given name and argument types. You might need to add explicit type casts.")
}

/// No function of this name is here: PostgreSQL may have one.
fn missing_function(name: &str) -> Error {
    match is_function_of_postgres(name) {
        true => Error::unsupported(format!("function {name}() is not supported")),
        false => undefined_function(name),
    }
}

fn grouping(line: &str) -> Error {
    let column = between(
        line,
        "Column in SELECT must be in GROUP BY or an aggregate function: While expanding wildcard, column \"",
        "\"",
    )
    .or_else(|| between(line, "column \"", "\""))
    .or_else(|| between(line, "Expression ", " could not be resolved"));
    match column {
        Some(column) => {
            let column = column.replace('"', "");
            let message =
                format!("column \"{column}\" must appear in the GROUP BY clause or be used in an aggregate function");
            Error::new(ErrorKind::GroupingError, message)
        }
        None => Error::new(ErrorKind::GroupingError, lower_first(line)),
    }
}

/// `Cannot cast string 'x' to value of Int32 type`
fn cannot_cast(line: &str) -> Option<(String, String)> {
    let value = between(line, "Cannot cast string '", "' to value of ")?;
    let (_, rest) = line.split_once("' to value of ")?;
    let what = rest.split_once(" type").map_or(rest, |(what, _)| what);
    Some((what.to_string(), value))
}

/// `Cannot coerce arithmetic expression Utf8 + Int64 to valid types`, `Cannot infer common argument type for comparison
/// operation Utf8 = Int64`
fn coercion(line: &str) -> Option<((String, String), String)> {
    let rest = line
        .split_once("Cannot coerce arithmetic expression ")
        .or_else(|| line.split_once("Cannot infer common argument type for comparison operation "))
        .or_else(|| line.split_once("Cannot infer common type for "))
        .map(|(_, rest)| rest)?;
    let rest = rest.split(" to valid types").next().unwrap_or(rest);
    for operator in [
        " = ", " != ", " <= ", " >= ", " < ", " > ", " + ", " - ", " * ", " / ", " % ", " AND ", " OR ",
    ] {
        if let Some((left, right)) = rest.split_once(operator) {
            return Some(((sql_name(left), operator.trim().replace("!=", "<>")), sql_name(right)));
        }
    }
    None
}

/// Precision and scale of the declared numeric that is too small: `1000.00 is too large to store in a Decimal128 of precision 5.
/// Max is 999.99`. Nobody declares one of all digits.
fn decimal_limit(line: &str) -> Option<(u8, i8)> {
    let (_, rest) = line.split_once(" to store in a Decimal128 of precision ")?;
    let (precision, limit) = rest.split_once(". M")?;
    let digits = limit.trim_end().split_once('.').map_or(0, |(_, behind)| behind.len());
    let precision = precision
        .parse()
        .ok()
        .filter(|precision| *precision < DECIMAL128_MAX_PRECISION)?;
    Some((precision, i8::try_from(digits).ok()?))
}

fn out_of_range(line: &str) -> String {
    for (arrow, sql) in [("Int16", "smallint"), ("Int32", "integer"), ("Int64", "bigint")] {
        if line.contains(arrow) {
            return format!("{sql} out of range");
        }
    }
    if line.contains("Decimal") || line.contains("decimal") {
        return "numeric field overflow".to_string();
    }
    if line.contains("imestamp") || line.contains("ate") && line.contains("range") {
        return "timestamp out of range".to_string();
    }
    "value out of range".to_string()
}

/// The SQL name of an Arrow type as its library prints it.
fn sql_name(arrow: &str) -> String {
    let arrow = arrow.trim();
    let name = match arrow {
        "Int8" | "Int16" | "UInt8" => "smallint",
        "Int32" | "UInt16" => "integer",
        "Int64" | "UInt32" => "bigint",
        "Float32" | "Float16" => "real",
        "Float64" => "double precision",
        "Utf8" | "LargeUtf8" | "Utf8View" => "text",
        "Boolean" => "boolean",
        "Date32" | "Date64" => "date",
        "Null" => "unknown",
        "Binary" | "BinaryView" | "LargeBinary" => "bytea",
        "UInt64" => "numeric",
        _ if arrow.starts_with("Decimal") => "numeric",
        _ if arrow.starts_with("Timestamp") && arrow.contains("Some") => "timestamp with time zone",
        _ if arrow.starts_with("Timestamp") => "timestamp without time zone",
        _ if arrow.starts_with("Time") => "time without time zone",
        _ if arrow.starts_with("Interval") || arrow.starts_with("Duration") => "interval",
        _ if arrow.starts_with("FixedSizeBinary") => "uuid",
        _ if arrow.starts_with("List") => "anyarray",
        _ if arrow.starts_with("Struct") => "record",
        other => other,
    };
    name.to_string()
}

/// Field names carry this character before a number that makes them distinct.
fn strip_marker(name: &str) -> &str {
    name.split('\u{1}').next().unwrap_or(name)
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

fn between(text: &str, before: &str, after: &str) -> Option<String> {
    let (_, rest) = text.split_once(before)?;
    let (inside, _) = rest.split_once(after)?;
    Some(inside.to_string())
}

/// The first line, without prefixes such as `Error during planning: `.
fn first_line(message: &str) -> &str {
    let mut line = message.lines().next().unwrap_or(message).trim();
    for prefix in [
        "Error during planning: ",
        "Execution error: ",
        "Arrow error: ",
        "Internal error: ",
        "External error: ",
        "Optimizer rule ",
        "This feature is not implemented: ",
        "Compute error: ",
        "Cast error: ",
        "Parser error: ",
        "Invalid argument error: ",
    ] {
        line = line.strip_prefix(prefix).unwrap_or(line);
    }
    line.split("\n\nbacktrace").next().unwrap_or(line)
}

/// Types as their library prints them, without what stands in parentheses.
const ARROW_TYPES: &[&str] = &[
    "Boolean",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
    "Float16",
    "Float32",
    "Float64",
    "Decimal128",
    "Decimal256",
    "Utf8",
    "Utf8View",
    "LargeUtf8",
    "Binary",
    "BinaryView",
    "LargeBinary",
    "FixedSizeBinary",
    "Date32",
    "Date64",
    "Time32",
    "Time64",
    "Timestamp",
    "Interval",
    "Duration",
    "List",
    "LargeList",
    "FixedSizeList",
    "Struct",
];

/// A line of a library, its names of types said in SQL.
fn in_sql(line: &str) -> String {
    let mut said = String::with_capacity(line.len());
    let mut rest = line;
    while !rest.is_empty() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if length == 0 {
            let next = rest.chars().next().map_or(1, char::len_utf8);
            said.push_str(&rest[..next]);
            rest = &rest[next..];
            continue;
        }
        let (word, after) = rest.split_at(length);
        let is_type = ARROW_TYPES.contains(&word);
        let end = if is_type && after.starts_with('(') {
            closing(after)
        } else {
            0
        };
        match is_type {
            true => said.push_str(&sql_name(&rest[..length + end])),
            false => said.push_str(word),
        }
        rest = &after[end..];
    }
    without_internals(lower_first(&said))
}

/// Words by which the libraries speak of themselves and not of the statement.
const INTERNALS: &[&str] = &[
    "datafusion",
    "arrow",
    "sqlparser",
    "utf8",
    "recordbatch",
    "logicalplan",
    "scalarvalue",
    "scalarudf",
    "aggregateudf",
    "logical plan",
    "physical plan",
    "logical expression",
    "this feature",
    "parser error",
    "schema error",
];

/// The line up to where a library prints its own structures, if that says something.
fn without_internals(line: String) -> String {
    let is_internal = |text: &str| {
        let lower = text.to_lowercase();
        INTERNALS.iter().any(|word| lower.contains(word))
    };
    let structure = ["Some(", "{ ", "Alias("]
        .iter()
        .filter_map(|mark| line.find(mark))
        .min();
    let said = line.get(..structure.unwrap_or(line.len())).unwrap_or_default();
    let said = said.trim_end_matches([' ', ':', '(', ',', '\'', '"']);
    match (structure, said.is_empty() || is_internal(said)) {
        (None, false) => line,
        (Some(_), false) => said.to_owned(),
        (_, true) => "this kind of expression is not supported here".to_owned(),
    }
}

/// Bytes up to the end of the parentheses the text begins with.
fn closing(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth <= 1 => return at + 1,
            ')' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    match (characters.next(), characters.clone().next()) {
        // An abbreviation or a quoted name stays as it is.
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(characters).collect()
        }
        _ => text.to_string(),
    }
}
