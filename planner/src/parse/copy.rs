//! COPY, and its options in both forms: `WITH (name value, …)` and PostgreSQL 8's list of words.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::ast::{Ast, CopyOptionAst, CopySource};
use super::cursor::Cursor;
use super::settings::{folded, simple_value};
use super::statement::unsupported;
use crate::error::{Error, ErrorKind, Result};

pub(super) fn copy(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let start = cursor.position();
    let binary = cursor.take_word("binary");
    let source = if cursor.peek() == Some(&Token::LParen) {
        CopySource::Query(cursor.inside_parentheses(|parser| parser.parse_query())?)
    } else {
        let name = cursor.object_name()?;
        let columns = if cursor.peek() == Some(&Token::LParen) {
            cursor.identifiers_in_parentheses()?
        } else {
            Vec::new()
        };
        CopySource::Table { name, columns }
    };
    let from = matches!(source, CopySource::Table { .. }) && cursor.take_word("from");
    if !from {
        cursor.expect_word("to")?;
    }
    let stdio = cursor.take_word("stdin") || cursor.take_word("stdout");
    if !stdio {
        // A file or a program: refused alike, once the statement is known to be well formed.
        cursor.take_word("program");
        cursor.string()?;
    }
    let mut options = Vec::new();
    if binary {
        options.push(CopyOptionAst {
            name: "format".to_string(),
            values: vec!["binary".to_string()],
            position: start,
        });
    }
    let with = cursor.take_word("with");
    if cursor.take_token(&Token::LParen) {
        loop {
            let position = cursor.position();
            let (name, values) = copy_option(cursor)?;
            options.push(CopyOptionAst { name, values, position });
            if !cursor.take_token(&Token::Comma) {
                break;
            }
        }
        cursor.expect_token(&Token::RParen)?;
    } else {
        let before = options.len();
        let mut position = cursor.position();
        while let Some((name, values)) = old_copy_option(cursor)? {
            options.push(CopyOptionAst { name, values, position });
            position = cursor.position();
        }
        if with && options.len() == before {
            return Err(cursor.unexpected());
        }
    }
    if cursor.is_word("where") && !from {
        let message = "WHERE clause not allowed with COPY TO";
        return Err(Error::new(ErrorKind::SyntaxError, message).with_position(cursor.position()));
    }
    if cursor.is_word("where") {
        return Ok(unsupported(cursor, "COPY FROM … WHERE", "COPY"));
    }
    Ok(Ast::Copy {
        from,
        source,
        options,
        stdio,
    })
}

/// `NAME [value | (list) | *]` in the parentheses of WITH.
fn copy_option(cursor: &mut Cursor<'_>) -> Result<(String, Vec<String>)> {
    let name = cursor.word()?;
    let mut values = Vec::new();
    if cursor.peek() == Some(&Token::LParen) {
        values = cursor.identifiers_in_parentheses()?.into_iter().map(folded).collect();
    } else if cursor.take_token(&Token::Mul) {
        values.push("*".to_string());
    } else if !matches!(cursor.peek(), Some(Token::Comma | Token::RParen)) {
        values.push(simple_value(cursor)?);
    }
    Ok((name, values))
}

/// The forms from before PostgreSQL 9: `CSV HEADER DELIMITER ',' NULL AS ''`, `FORCE QUOTE a, b`.
fn old_copy_option(cursor: &mut Cursor<'_>) -> Result<Option<(String, Vec<String>)>> {
    let simple = |name: &str, value: &str| Ok(Some((name.to_string(), vec![value.to_string()])));
    for format in ["csv", "binary"] {
        if cursor.take_word(format) {
            return simple("format", format);
        }
    }
    for flag in ["header", "freeze"] {
        if cursor.take_word(flag) {
            return simple(flag, "true");
        }
    }
    for name in ["delimiter", "null", "quote", "escape", "encoding"] {
        if cursor.take_word(name) {
            let _ = cursor.take_word("as");
            return Ok(Some((name.to_string(), vec![cursor.string()?])));
        }
    }
    for (words, name) in [
        (&["force", "quote"][..], "force_quote"),
        (&["force", "not", "null"], "force_not_null"),
        (&["force", "null"], "force_null"),
    ] {
        if cursor.take_words(words) {
            if cursor.take_token(&Token::Mul) {
                return simple(name, "*");
            }
            let mut columns = vec![folded(cursor.identifier()?)];
            while cursor.take_token(&Token::Comma) {
                columns.push(folded(cursor.identifier()?));
            }
            return Ok(Some((name.to_string(), columns)));
        }
    }
    Ok(None)
}
