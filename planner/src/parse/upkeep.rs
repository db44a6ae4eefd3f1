//! `VACUUM`, `ANALYZE`, `OPTIMIZE`.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::ast::{Ast, UpkeepAst};
use super::cursor::Cursor;
use super::statement::unsupported;
use crate::error::Result;

/// `VACUUM [(option, …)] [FULL] [FREEZE] [VERBOSE] [ANALYZE] [table, …]`, after its first word.
pub(super) fn vacuum(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let (mut full, mut analyze) = (false, false);
    if cursor.take_token(&Token::LParen) {
        loop {
            let option = cursor.word()?;
            let on = switch(cursor)?;
            match option.as_str() {
                "full" => full = on,
                "analyze" | "analyse" => analyze = on,
                // Progress is in staffa.maintenance, and there is nothing to freeze.
                "verbose" | "freeze" => {}
                other => {
                    let what = format!("VACUUM option {}", other.to_uppercase());
                    return Ok(unsupported(cursor, what, "VACUUM"));
                }
            }
            if !cursor.take_token(&Token::Comma) {
                break;
            }
        }
        cursor.expect_token(&Token::RParen)?;
    } else {
        full = cursor.take_word("full");
        let _ = cursor.take_word("freeze");
        let _ = cursor.take_word("verbose");
        analyze = cursor.take_word("analyze") || cursor.take_word("analyse");
    }
    let tables = tables(cursor)?;
    Ok(Ast::Upkeep(UpkeepAst::Vacuum { tables, full, analyze }))
}

/// `ANALYZE [VERBOSE] [table [(column, …)], …]`, after its first word.
pub(super) fn analyze(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let mut verbose;
    if cursor.take_token(&Token::LParen) {
        loop {
            let option = cursor.word()?;
            let on = switch(cursor)?;
            if option != "verbose" {
                let what = format!("ANALYZE option {}", option.to_uppercase());
                return Ok(unsupported(cursor, what, "ANALYZE"));
            }
            verbose = on;
            if !cursor.take_token(&Token::Comma) {
                break;
            }
        }
        cursor.expect_token(&Token::RParen)?;
    } else {
        verbose = cursor.take_word("verbose");
    }
    let tables = tables(cursor)?;
    Ok(Ast::Upkeep(UpkeepAst::Analyze { tables, verbose }))
}

/// `OPTIMIZE [TABLE] t [WHERE condition]`, after its first word.
pub(super) fn optimize(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let _ = cursor.take_word("table");
    let table = cursor.object_name()?;
    let condition = match cursor.take_word("where") {
        true => Some(Box::new(cursor.rest(|parser| parser.parse_expr())?)),
        false => None,
    };
    Ok(Ast::Upkeep(UpkeepAst::Optimize { table, condition }))
}

fn tables(cursor: &mut Cursor<'_>) -> Result<Vec<super::ast::AnalyzedTable>> {
    let mut tables = Vec::new();
    while !cursor.is_end() {
        let name = cursor.object_name()?;
        let columns = match cursor.peek() {
            Some(Token::LParen) => cursor.identifiers_in_parentheses()?,
            _ => Vec::new(),
        };
        tables.push(super::ast::AnalyzedTable { name, columns });
        if !cursor.is_end() {
            cursor.expect_token(&Token::Comma)?;
            if cursor.is_end() {
                return Err(cursor.unexpected());
            }
        }
    }
    Ok(tables)
}

fn switch(cursor: &mut Cursor<'_>) -> Result<bool> {
    for (words, on) in [(["true", "on"], true), (["false", "off"], false)] {
        if words.iter().any(|word| cursor.take_word(word)) {
            return Ok(on);
        }
    }
    match cursor.peek() {
        Some(Token::Number(digits, false)) if digits == "0" || digits == "1" => {
            cursor.next();
            Ok(digits == "1")
        }
        _ => Ok(true),
    }
}
