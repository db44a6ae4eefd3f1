//! EXPLAIN and its options.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::ast::{Ast, ExplainAst};
use super::cursor::Cursor;
use super::settings::simple_value;
use super::statement::{statement, unsupported};
use crate::error::{Error, ErrorKind, Result};
use crate::explain::ExplainFormat;

pub(super) fn explain(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let mut explain = ExplainAst {
        statement: Ast::Nothing { tag: "EXPLAIN" },
        analyze: false,
        verbose: false,
        costs: true,
        timing: true,
        summary: None,
        format: ExplainFormat::Text,
    };
    // `EXPLAIN (SELECT 1)` explains a query in parentheses.
    let query_follows =
        cursor.is_word_at(1, "select") || cursor.is_word_at(1, "with") || cursor.is_word_at(1, "values");
    if cursor.peek() == Some(&Token::LParen) && !query_follows && cursor.peek_at(1) != Some(&Token::LParen) {
        cursor.take_token(&Token::LParen);
        loop {
            explain_option(cursor, &mut explain)?;
            if !cursor.take_token(&Token::Comma) {
                break;
            }
        }
        cursor.expect_token(&Token::RParen)?;
    } else {
        explain.analyze = cursor.take_word("analyze") || cursor.take_word("analyse");
        explain.verbose = cursor.take_word("verbose");
    }
    explain.statement = statement(cursor)?;
    match &explain.statement {
        Ast::Query(_) | Ast::Insert(_) | Ast::Update(_) | Ast::Delete(_) | Ast::Merge(_) | Ast::With(..) => {}
        Ast::Unsupported { .. } => {}
        Ast::CreateTable(create) if create.query.is_some() => {}
        Ast::Execute { .. } => return Ok(unsupported(cursor, "EXPLAIN EXECUTE", "EXPLAIN")),
        _ => {
            let message = "EXPLAIN is for SELECT, INSERT, UPDATE, DELETE, MERGE and CREATE TABLE AS statements";
            return Err(Error::new(ErrorKind::SyntaxError, message));
        }
    }
    Ok(Ast::Explain(Box::new(explain)))
}

fn explain_option(cursor: &mut Cursor<'_>, explain: &mut ExplainAst) -> Result<()> {
    let start = cursor.position();
    let name = cursor.word()?;
    let value = match cursor.peek() {
        Some(Token::Comma | Token::RParen) => None,
        _ => Some(simple_value(cursor)?.to_lowercase()),
    };
    let flag = || match value.as_deref() {
        None | Some("true" | "on" | "1") => Ok(true),
        Some("false" | "off" | "0") => Ok(false),
        Some(_) => {
            let message = format!("{name} requires a Boolean value");
            Err(Error::new(ErrorKind::SyntaxError, message))
        }
    };
    match name.as_str() {
        "analyze" | "analyse" => explain.analyze = flag()?,
        "verbose" => explain.verbose = flag()?,
        "costs" => explain.costs = flag()?,
        "timing" => explain.timing = flag()?,
        "summary" => explain.summary = Some(flag()?),
        // Plans here carry neither: PostgreSQL's shared buffers, settings and write-ahead log do not exist.
        "buffers" | "settings" | "wal" => {
            if flag()? {
                return Err(Error::unsupported(format!(
                    "EXPLAIN option {} is not supported",
                    name.to_uppercase()
                )));
            }
        }
        "format" => {
            explain.format = match value.as_deref() {
                Some("text") => ExplainFormat::Text,
                Some("json") => ExplainFormat::Json,
                Some("xml") => ExplainFormat::Xml,
                Some("yaml") => ExplainFormat::Yaml,
                other => {
                    let message = format!(
                        "unrecognized value for EXPLAIN option \"format\": \"{}\"",
                        other.unwrap_or_default()
                    );
                    return Err(Error::new(ErrorKind::InvalidParameterValue, message).with_position(start));
                }
            }
        }
        _ => {
            let message = format!("unrecognized EXPLAIN option \"{name}\"");
            return Err(Error::new(ErrorKind::SyntaxError, message).with_position(start));
        }
    }
    Ok(())
}
