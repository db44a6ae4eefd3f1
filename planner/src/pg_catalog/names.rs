//! Names of objects and types as texts write them: `'public."A b"'::regclass`, `'timestamp(3) with time zone[]'::regtype`.

use crate::error::{Error, ErrorKind, Result};

/// The parts of a name as SQL writes it, folded.
pub(crate) fn split_name(text: &str) -> Result<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let mut part = String::new();
                let mut characters = quoted.char_indices().peekable();
                let end = loop {
                    match characters.next() {
                        Some((at, '"')) if !matches!(characters.peek(), Some((_, '"'))) => break at,
                        Some((_, '"')) => {
                            characters.next();
                            part.push('"');
                        }
                        Some((_, other)) => part.push(other),
                        None => return Err(invalid_name()),
                    }
                };
                (part, quoted.get(end + 1..).unwrap_or_default())
            }
            None => {
                let ends = |character: char| matches!(character, '.' | '"') || character.is_whitespace();
                let end = rest.find(ends).unwrap_or(rest.len());
                (rest[..end].to_lowercase(), &rest[end..])
            }
        };
        if part.is_empty() {
            return Err(invalid_name());
        }
        parts.push(part);
        let after = after.trim_start();
        match after.strip_prefix('.') {
            Some(next) => rest = next.trim_start(),
            None if after.is_empty() => return Ok(parts),
            None => return Err(invalid_name()),
        }
    }
}

pub(super) fn invalid_name() -> Error {
    Error::new(ErrorKind::InvalidName, "invalid name syntax")
}

/// The schema and the name of an object of this database; `kind` is for messages, as in `relation name`.
pub(super) fn qualified<'a>(parts: &'a [String], database: &str, kind: &str) -> Result<(Option<&'a str>, &'a str)> {
    match parts {
        [name] => Ok((None, name)),
        [schema, name] => Ok((Some(schema), name)),
        [given, schema, name] if given == database => Ok((Some(schema), name)),
        [_, _, _] => Err(Error::unsupported(format!(
            "cross-database references are not implemented: \"{}\"",
            parts.join(".")
        ))),
        _ => {
            let message = format!("improper {kind} (too many dotted names): {}", parts.join("."));
            Err(Error::new(ErrorKind::SyntaxError, message))
        }
    }
}

/// A type as a text names it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TypeName {
    pub(super) parts: Vec<String>,
    /// Of how many dimensions does not matter.
    pub(super) is_array: bool,
}

impl TypeName {
    pub(super) fn parse(text: &str) -> Result<TypeName> {
        let (element, is_array) = without_brackets(text)?;
        let bare = without_modifier(element, text)?;
        let words: Vec<&str> = bare.split_whitespace().collect();
        if let Some(name) = internal_name(&words.join(" ").to_lowercase()) {
            return Ok(TypeName {
                parts: vec!["pg_catalog".to_owned(), name.to_owned()],
                is_array,
            });
        }
        // Brackets that are not at the end are not part of a name either.
        if !bare.contains('"') && bare.contains(['[', ']']) {
            return Err(invalid_type(text));
        }
        let parts = split_name(&bare).map_err(|_| match words.get(1) {
            Some(word) if !bare.contains('"') => {
                Error::new(ErrorKind::SyntaxError, format!("syntax error at or near \"{word}\""))
            }
            _ => invalid_type(text),
        })?;
        Ok(TypeName { parts, is_array })
    }
}

fn invalid_type(text: &str) -> Error {
    Error::new(ErrorKind::SyntaxError, format!("invalid type name \"{text}\""))
}

/// What stands before `[]`, `[3]`, `[][]`, `array`, and whether there was one.
fn without_brackets(text: &str) -> Result<(&str, bool)> {
    let mut element = text.trim();
    let mut is_array = false;
    while let Some(open) = element.strip_suffix(']') {
        let before = open
            .trim_end()
            .trim_end_matches(|character: char| character.is_ascii_digit());
        let before = before.trim_end().strip_suffix('[').ok_or_else(|| invalid_type(text))?;
        element = before.trim_end();
        is_array = true;
    }
    let word = element.rsplit(char::is_whitespace).next().unwrap_or_default();
    if word.eq_ignore_ascii_case("array") && word.len() < element.len() {
        return Ok((element[..element.len() - word.len()].trim_end(), true));
    }
    Ok((element, is_array))
}

/// The name without `(10,2)`, which need not be its end: `timestamp(3) with time zone`.
fn without_modifier(name: &str, text: &str) -> Result<String> {
    // A quoted name may hold anything.
    let plain = name.rfind('"').map_or(0, |quote| quote + 1);
    let Some(open) = name[plain..].find('(').map(|open| open + plain) else {
        return Ok(name.to_owned());
    };
    let Some(close) = name[open..].find(')').map(|close| close + open) else {
        return Err(Error::new(ErrorKind::SyntaxError, "syntax error at end of input"));
    };
    for number in name[open + 1..close].split(',').map(str::trim) {
        if number.is_empty() {
            return Err(invalid_type(text));
        }
        if number.parse::<i32>().is_err() {
            let message = format!("invalid input syntax for type integer: \"{number}\"");
            return Err(Error::new(ErrorKind::InvalidTextRepresentation, message));
        }
    }
    Ok(format!(
        "{} {}",
        name[..open].trim_end(),
        name[close + 1..].trim_start()
    ))
}

/// The catalog's name of a type that SQL calls otherwise.
fn internal_name(name: &str) -> Option<&'static str> {
    Some(match name {
        "boolean" => "bool",
        "smallint" => "int2",
        "integer" | "int" => "int4",
        "bigint" => "int8",
        "real" => "float4",
        "double precision" | "float" => "float8",
        "decimal" | "dec" | "numeric" => "numeric",
        "character varying"
        | "char varying"
        | "national character varying"
        | "national char varying"
        | "nchar varying" => "varchar",
        "character" | "char" | "national character" | "national char" | "nchar" => "bpchar",
        "\"char\"" => "char",
        "time without time zone" => "time",
        "time with time zone" => "timetz",
        "timestamp without time zone" => "timestamp",
        "timestamp with time zone" => "timestamptz",
        "interval year"
        | "interval month"
        | "interval day"
        | "interval hour"
        | "interval minute"
        | "interval second"
        | "interval year to month"
        | "interval day to hour"
        | "interval day to minute"
        | "interval day to second"
        | "interval hour to minute"
        | "interval hour to second"
        | "interval minute to second" => "interval",
        "bit varying" => "varbit",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_as_sql_writes_them() {
        let named = |text: &str| {
            TypeName::parse(text)
                .map(|name| (name.parts.join("."), name.is_array))
                .ok()
        };
        let found = |name: &str, is_array| Some((name.to_owned(), is_array));
        assert_eq!(named("int"), found("pg_catalog.int4", false));
        assert_eq!(named(" int4 [ ] [3]"), found("int4", true));
        assert_eq!(named("int array"), found("pg_catalog.int4", true));
        assert_eq!(
            named("timestamp(3) with time zone"),
            found("pg_catalog.timestamptz", false)
        );
        assert_eq!(named("numeric(10, 2)[]"), found("pg_catalog.numeric", true));
        assert_eq!(named("public.\"a (b)[]\""), found("public.a (b)[]", false));
        assert_eq!(named("array"), found("array", false));
        for wrong in ["", "foo bar", "int4[]x", "int4(", "int4]", "numeric(a)", "[]", "int4()"] {
            assert_eq!(named(wrong), None, "{wrong}");
        }
    }

    /// A text decides how often this turns around, not how deep it goes.
    #[test]
    fn many_brackets_are_one_array() {
        let text = format!("int{}", "[]".repeat(2_000_000));
        let name = TypeName::parse(&text);
        assert!(name.is_ok_and(|name| name.is_array && name.parts == ["pg_catalog", "int4"]));
    }
}
