//! Lines of the libraries as users may read them: types by their SQL names, nothing of what is inside.

/// A line of a library, its names of types said in SQL.
pub(super) fn in_sql(line: &str) -> String {
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

/// The SQL name of an Arrow type as its library prints it.
pub(super) fn sql_name(arrow: &str) -> String {
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
pub(super) fn strip_marker(name: &str) -> &str {
    name.split('\u{1}').next().unwrap_or(name)
}

/// The first line, without prefixes such as `Error during planning: `.
pub(super) fn first_line(message: &str) -> &str {
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

pub(super) fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    match (characters.next(), characters.clone().next()) {
        // An abbreviation or a quoted name stays as it is.
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(characters).collect()
        }
        _ => text.to_string(),
    }
}
