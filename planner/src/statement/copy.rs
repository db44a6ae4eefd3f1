//! `COPY`: its table or query, and its options checked as PostgreSQL checks them.

use datafusion::sql::sqlparser::ast::{Ident, ObjectName, Query, SetExpr, Statement};
use staffa_catalog::{ColumnDefault, Privileges, Table};

use crate::copy_options::{CopyFormat, CopyHeader, CopyOptions, ForceColumns};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::{Ast, CopyOptionAst, CopySource, parse_one};
use crate::resolve::{self, fold};
use crate::statement::materialized::{self, NOUN};
use crate::statement::query::{self, Scope};
use crate::statement::{Plan, with};

pub(crate) async fn copy(
    scope: &Scope<'_>,
    from: bool,
    source: &CopySource,
    given: &[CopyOptionAst],
    stdio: bool,
) -> Result<Plan> {
    if !stdio {
        let (word, verb) = if from { ("FROM", "read") } else { ("TO", "write") };
        let client = if from { "STDIN" } else { "STDOUT" };
        return Err(Error::new(
            ErrorKind::InsufficientPrivilege,
            format!("permission denied to COPY {word} a file"),
        )
        .with_detail(format!("Statements may not {verb} files of the server."))
        .with_hint(format!(
            "Use COPY {word} {client}; psql's \\copy does so with a file of the client."
        )));
    }
    let options = options(from, given)?;
    match source {
        CopySource::Table { name, columns } if from => {
            let table = resolve::table(scope.context, name)
                .await
                .map_err(|error| cannot_copy_into(error, name))?;
            if table.materialized().is_some() {
                let message = format!("cannot copy to {NOUN} \"{}\"", table.name().name);
                return Err(Error::new(ErrorKind::WrongObjectType, message));
            }
            let is_generated = |index: &usize| {
                matches!(
                    table.schema().columns[*index].default,
                    Some(ColumnDefault::Generated(_))
                )
            };
            let listed = !columns.is_empty();
            let mut columns = positions(&table, columns)?;
            if let Some(index) = columns.iter().find(|index| listed && is_generated(index)) {
                let message = format!(
                    "column \"{}\" is a generated column",
                    table.schema().columns[*index].name
                );
                return Err(Error::new(ErrorKind::InvalidColumnReference, message)
                    .with_detail("Generated columns cannot be used in COPY."));
            }
            columns.retain(|index| !is_generated(index));
            let names: Vec<&str> = columns
                .iter()
                .map(|index| table.schema().columns[*index].name.as_str())
                .collect();
            check_forced(&options, &names, Some(&table.name().name))?;
            scope
                .context
                .check_columns(&table, columns.iter().copied(), Privileges::INSERT)?;
            if scope.context.guard(&table)?.is_some_and(|guard| guard.rows) {
                return Err(Error::unsupported("COPY FROM not supported with row-level security")
                    .with_hint("Use INSERT statements instead."));
            }
            Ok(Plan::CopyIn {
                table,
                columns,
                options,
            })
        }
        CopySource::Table { name, columns } => {
            let Some((full, kind)) = resolve::existing(scope.context, name)? else {
                return Err(resolve::missing(scope.context, name));
            };
            let noun = materialized::noun(scope.context, &full, kind).await?;
            if matches!(noun, "view" | NOUN) {
                let message = format!("cannot copy from {noun} \"{}\"", resolve::shown(name));
                return Err(
                    Error::new(ErrorKind::WrongObjectType, message).with_hint("Try the COPY (SELECT ...) TO variant.")
                );
            }
            let table = resolve::table(scope.context, name).await?;
            let names: Vec<String> = positions(&table, columns)?
                .into_iter()
                .map(|index| staffa_catalog::quote_identifier(&table.schema().columns[index].name))
                .collect();
            // The table is named in full: a CTE cannot stand in its way, and it was looked up just now.
            let full = table.name();
            let text = format!("select {} from {full}", names.join(", "));
            let Ast::Query(body) = parse_one(&text, 0)?.ast else {
                return Err(Error::internal("a select is a query"));
            };
            let scope = Scope::new(scope.context, &text);
            out(&scope, &body, options, Some(&full.name)).await
        }
        CopySource::Query(body) => out(scope, body, options, None).await,
    }
}

/// `relation` is the table, if it is one.
async fn out(scope: &Scope<'_>, body: &Query, options: CopyOptions, relation: Option<&str>) -> Result<Plan> {
    with::refuse(body, "COPY")?;
    refuse_change(body)?;
    let query = query::shown(query::plan(scope, body, &[]).await?)?;
    if !query.parameters.is_empty() {
        return Err(Error::new(ErrorKind::UndefinedParameter, "there is no parameter $1"));
    }
    let names: Vec<&str> = query.columns.iter().map(|column| column.name.as_str()).collect();
    check_forced(&options, &names, relation)?;
    Ok(Plan::CopyOut { query, options })
}

fn cannot_copy_into(error: Error, name: &ObjectName) -> Error {
    if error.kind() == ErrorKind::WrongObjectType {
        return Error::new(
            ErrorKind::WrongObjectType,
            format!("cannot copy to view \"{}\"", resolve::shown(name)),
        );
    }
    error
}

/// Positions in the table of the listed columns; all of them when none is listed.
pub(crate) fn positions(table: &Table, columns: &[Ident]) -> Result<Vec<usize>> {
    let schema = table.schema();
    if columns.is_empty() {
        return Ok((0..schema.columns.len()).collect());
    }
    let mut positions = Vec::with_capacity(columns.len());
    for ident in columns {
        let name = fold(ident);
        let Some(index) = schema.columns.iter().position(|column| column.name == name) else {
            let message = format!("column \"{name}\" of relation \"{}\" does not exist", table.name().name);
            return Err(Error::new(ErrorKind::UndefinedColumn, message));
        };
        if positions.contains(&index) {
            return Err(Error::new(
                ErrorKind::DuplicateColumn,
                format!("column \"{name}\" specified more than once"),
            ));
        }
        positions.push(index);
    }
    Ok(positions)
}

/// PostgreSQL's ProcessCopyOptions.
fn options(from: bool, given: &[CopyOptionAst]) -> Result<CopyOptions> {
    let mut seen: Vec<&str> = Vec::new();
    for option in given {
        if seen.contains(&option.name.as_str()) {
            let message = "conflicting or redundant options";
            return Err(Error::new(ErrorKind::SyntaxError, message).with_position(option.position));
        }
        seen.push(&option.name);
    }
    let position = |name: &str| {
        let found = given.iter().find(|option| option.name == name);
        found.map_or(1, |option| option.position)
    };
    let one = |name: &str| -> Result<Option<&str>> {
        match given.iter().find(|option| option.name == name) {
            None => Ok(None),
            Some(option) => match option.values.as_slice() {
                [value] => Ok(Some(value)),
                _ => Err(Error::new(
                    ErrorKind::SyntaxError,
                    format!("{name} requires a parameter"),
                )),
            },
        }
    };
    let format = match one("format")? {
        None | Some("text") => CopyFormat::Text,
        Some("csv") => CopyFormat::Csv,
        Some("binary") => CopyFormat::Binary,
        Some(other) => {
            return Err(Error::new(
                ErrorKind::InvalidParameterValue,
                format!("COPY format \"{other}\" not recognized"),
            )
            .with_position(position("format")));
        }
    };
    let mut options = CopyOptions::new(format);
    let binary = format == CopyFormat::Binary;
    let csv = format == CopyFormat::Csv;
    let syntax = |message: String| Err(Error::new(ErrorKind::SyntaxError, message));
    let unsupported = |message: String| Err(Error::unsupported(message));
    for CopyOptionAst { name, values, position } in given {
        match name.as_str() {
            "format" => {}
            "delimiter" => {
                if binary {
                    return syntax("cannot specify DELIMITER in BINARY mode".to_string());
                }
                options.delimiter = single_byte("delimiter", one(name)?)?;
            }
            "null" => {
                if binary {
                    return syntax("cannot specify NULL in BINARY mode".to_string());
                }
                options.null = one(name)?.unwrap_or_default().to_string();
                if options.null.contains(['\r', '\n']) {
                    return invalid("COPY null representation cannot use newline or carriage return");
                }
            }
            "header" => {
                let header = match values.as_slice() {
                    [] => CopyHeader::Line,
                    [value] => match value.to_lowercase().as_str() {
                        "true" | "on" | "1" => CopyHeader::Line,
                        "false" | "off" | "0" => CopyHeader::None,
                        "match" if from => CopyHeader::Match,
                        "match" => return unsupported("cannot use \"match\" with HEADER in COPY TO".to_string()),
                        _ => return syntax("header requires a Boolean value or \"match\"".to_string()),
                    },
                    _ => return syntax("header requires a Boolean value or \"match\"".to_string()),
                };
                if binary && header != CopyHeader::None {
                    return unsupported("cannot specify HEADER in BINARY mode".to_string());
                }
                options.header = header;
            }
            "quote" | "escape" => {
                if !csv {
                    return unsupported(format!("COPY {name} available only in CSV mode"));
                }
                let byte = single_byte(name, one(name)?)?;
                if name == "quote" {
                    options.quote = byte;
                    if one("escape")?.is_none() {
                        options.escape = byte;
                    }
                } else {
                    options.escape = byte;
                }
            }
            "force_quote" | "force_null" | "force_not_null" => {
                let shown = name.replace('_', " ");
                if !csv {
                    return unsupported(format!("COPY {shown} available only in CSV mode"));
                }
                let output_only = name == "force_quote";
                if output_only == from {
                    let direction = if output_only { "COPY TO" } else { "COPY FROM" };
                    return unsupported(format!("COPY {shown} only available using {direction}"));
                }
                let columns = match values.as_slice() {
                    [] => return syntax(format!("argument to option \"{name}\" must be a list of column names")),
                    [all] if all == "*" => ForceColumns::All,
                    named => ForceColumns::Named(named.to_vec()),
                };
                match name.as_str() {
                    "force_quote" => options.force_quote = columns,
                    "force_null" => options.force_null = columns,
                    _ => options.force_not_null = columns,
                }
            }
            "encoding" => {
                let encoding = one(name)?.unwrap_or_default().to_lowercase().replace(['-', '_'], "");
                match encoding.as_str() {
                    "utf8" | "unicode" => {}
                    other if !is_encoding(other) => {
                        let message = "argument to option \"encoding\" must be a valid encoding name";
                        return Err(Error::new(ErrorKind::InvalidParameterValue, message).with_position(*position));
                    }
                    _ => return unsupported("COPY with an encoding other than UTF8 is not supported".to_string()),
                }
            }
            // Rows are never visible before the commit and files never rewritten: they are born frozen.
            "freeze" => match values.first().map(|value| value.to_lowercase()).as_deref() {
                None | Some("true" | "on" | "1" | "false" | "off" | "0") => {}
                Some(_) => return syntax("freeze requires a Boolean value".to_string()),
            },
            other => {
                let message = format!("option \"{other}\" not recognized");
                return Err(Error::new(ErrorKind::SyntaxError, message).with_position(*position));
            }
        }
    }
    check_bytes(&options)?;
    Ok(options)
}

fn check_bytes(options: &CopyOptions) -> Result<()> {
    let csv = options.format == CopyFormat::Csv;
    if options.format == CopyFormat::Binary {
        return Ok(());
    }
    if matches!(options.delimiter, b'\r' | b'\n') {
        return invalid("COPY delimiter cannot be newline or carriage return");
    }
    if !csv && b"\\.abcdefghijklmnopqrstuvwxyz0123456789".contains(&options.delimiter) {
        return invalid(&format!(
            "COPY delimiter cannot be \"{}\"",
            char::from(options.delimiter)
        ));
    }
    if csv && options.delimiter == options.quote {
        return invalid("COPY delimiter and quote must be different");
    }
    if options.null.as_bytes().contains(&options.delimiter) {
        let message = "COPY delimiter must not appear in the NULL specification";
        return Err(Error::unsupported(message));
    }
    if csv && options.null.as_bytes().contains(&options.quote) {
        let message = "CSV quote character must not appear in the NULL specification";
        return Err(Error::unsupported(message));
    }
    Ok(())
}

/// `COPY (INSERT …) TO`
fn refuse_change(body: &Query) -> Result<()> {
    let returning = match body.body.as_ref() {
        SetExpr::Insert(Statement::Insert(insert)) => insert.returning.is_some(),
        SetExpr::Update(Statement::Update(update)) => update.returning.is_some(),
        SetExpr::Delete(Statement::Delete(delete)) => delete.returning.is_some(),
        _ => return Ok(()),
    };
    Err(Error::unsupported(match returning {
        true => "COPY of a statement that changes rows is not supported",
        false => "COPY query must have a RETURNING clause",
    }))
}

/// Whether PostgreSQL knows encodings that are called so; only letters and digits count.
fn is_encoding(name: &str) -> bool {
    let families = [
        "latin", "iso8859", "win", "euc", "koi8", "johab", "mule", "sjis", "shiftjis", "big5", "gb", "uhc", "sqlascii",
    ];
    families.iter().any(|family| name.starts_with(family))
}

fn check_forced(options: &CopyOptions, names: &[&str], relation: Option<&str>) -> Result<()> {
    for forced in [&options.force_quote, &options.force_null, &options.force_not_null] {
        if let ForceColumns::Named(listed) = forced {
            for name in listed {
                if !names.contains(&name.as_str()) {
                    let message = match relation {
                        Some(relation) => format!("column \"{name}\" of relation \"{relation}\" does not exist"),
                        None => format!("column \"{name}\" does not exist"),
                    };
                    return Err(Error::new(ErrorKind::UndefinedColumn, message));
                }
            }
        }
    }
    Ok(())
}

fn single_byte(name: &str, value: Option<&str>) -> Result<u8> {
    match value.map(str::as_bytes) {
        Some([byte]) => Ok(*byte),
        _ => Err(Error::unsupported(format!(
            "COPY {name} must be a single one-byte character"
        ))),
    }
}

fn invalid<T>(message: &str) -> Result<T> {
    Err(Error::new(ErrorKind::InvalidParameterValue, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(from: bool, given: &[(&str, &[&str])]) -> Result<CopyOptions> {
        let given: Vec<CopyOptionAst> = given
            .iter()
            .map(|(name, values)| CopyOptionAst {
                name: name.to_string(),
                values: values.iter().map(|value| value.to_string()).collect(),
                position: 1,
            })
            .collect();
        options(from, &given)
    }

    #[test]
    fn defaults_by_format() {
        let csv = check(true, &[("format", &["csv"]), ("header", &[])]).expect("fine");
        assert_eq!(
            (csv.delimiter, csv.null.as_str(), csv.header),
            (b',', "", CopyHeader::Line)
        );
        let quoted = check(true, &[("format", &["csv"]), ("quote", &["'"])]).expect("fine");
        assert_eq!((quoted.quote, quoted.escape), (b'\'', b'\''));
    }

    /// Messages of PostgreSQL 15.
    #[test]
    fn wrong_options() {
        for (from, given, message) in [
            (
                true,
                &[("format", &["xml"][..])][..],
                "COPY format \"xml\" not recognized",
            ),
            (true, &[("nosuch", &["1"])], "option \"nosuch\" not recognized"),
            (true, &[("quote", &["x"])], "COPY quote available only in CSV mode"),
            (
                true,
                &[("delimiter", &["ab"])],
                "COPY delimiter must be a single one-byte character",
            ),
            (true, &[("delimiter", &["a"])], "COPY delimiter cannot be \"a\""),
            (
                false,
                &[("format", &["csv"]), ("force_null", &["a"])],
                "COPY force null only available using COPY FROM",
            ),
            (
                true,
                &[("format", &["binary"]), ("null", &["x"])],
                "cannot specify NULL in BINARY mode",
            ),
            (
                true,
                &[("format", &["csv"]), ("format", &["csv"])],
                "conflicting or redundant options",
            ),
        ] {
            assert_eq!(check(from, given).expect_err(message).message(), message);
        }
    }
}
