//! `MERGE`: its clauses are told apart by their words, what is in them is read by sqlparser, which lacks `DO NOTHING`.

use datafusion::sql::sqlparser::ast::{Assignment, Expr, ObjectName, TableFactor};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::{Ast, MergeAction, MergeAst, MergeClause, MergeRows};
use crate::error::Result;
use crate::statement::query::Overriding;

pub(super) fn merge(cursor: &mut Cursor<'_>) -> Result<Ast> {
    cursor.expect_word("merge")?;
    cursor.expect_word("into")?;
    let (target, source, on) = cursor.until("when", |parser| {
        let target: TableFactor = parser.parse_table_factor()?;
        parser.expect_keyword_is(Keyword::USING)?;
        let source: TableFactor = parser.parse_table_factor()?;
        parser.expect_keyword_is(Keyword::ON)?;
        Ok((target, source, parser.parse_expr()?))
    })?;
    let mut clauses = Vec::new();
    while cursor.take_word("when") {
        let rows = match (cursor.take_word("not"), cursor.expect_word("matched")?) {
            (false, ()) => MergeRows::Matched,
            (true, ()) if cursor.take_words(&["by", "source"]) => MergeRows::NotMatchedBySource,
            (true, ()) => {
                let _ = cursor.take_words(&["by", "target"]);
                MergeRows::NotMatchedByTarget
            }
        };
        let condition = match cursor.take_word("and") {
            true => Some(cursor.until("then", |parser| parser.parse_expr())?),
            false => None,
        };
        cursor.expect_word("then")?;
        clauses.push(MergeClause {
            rows,
            condition,
            action: action(cursor, rows)?,
        });
    }
    if clauses.is_empty() {
        return Err(cursor.unexpected());
    }
    let returning = match cursor.take_word("returning") {
        true => Some(cursor.rest(|parser| parser.parse_comma_separated(Parser::parse_select_item))?),
        false => None,
    };
    Ok(Ast::Merge(Box::new(MergeAst {
        returning,
        target,
        source,
        on,
        clauses,
    })))
}

fn action(cursor: &mut Cursor<'_>, rows: MergeRows) -> Result<MergeAction> {
    let of_target = rows != MergeRows::NotMatchedByTarget;
    if cursor.take_words(&["do", "nothing"]) {
        return Ok(MergeAction::Nothing);
    }
    if of_target && cursor.take_word("delete") {
        return Ok(MergeAction::Delete);
    }
    if of_target && cursor.take_words(&["update", "set"]) {
        let assignments: Vec<Assignment> = cursor.until_any(&["when", "returning"], |parser| {
            parser.parse_comma_separated(Parser::parse_assignment)
        })?;
        return Ok(MergeAction::Update(assignments));
    }
    if of_target || !cursor.take_word("insert") {
        return Err(cursor.unexpected());
    }
    if cursor.take_words(&["default", "values"]) {
        return Ok(MergeAction::Insert {
            columns: Vec::new(),
            overriding: Overriding::None,
            values: None,
        });
    }
    let columns: Vec<ObjectName> = match cursor.peek() {
        Some(Token::LParen) => cursor
            .inside_parentheses(|parser| parser.parse_comma_separated(|parser| parser.parse_object_name(false)))?,
        _ => Vec::new(),
    };
    let overriding = match cursor.take_word("overriding") {
        false => Overriding::None,
        true => {
            let overriding = match cursor.take_word("user") {
                true => Overriding::User,
                false => {
                    cursor.expect_word("system")?;
                    Overriding::System
                }
            };
            cursor.expect_word("value")?;
            overriding
        }
    };
    cursor.expect_word("values")?;
    let values: Vec<Expr> = cursor.inside_parentheses(|parser| parser.parse_comma_separated(Parser::parse_expr))?;
    Ok(MergeAction::Insert {
        columns,
        overriding,
        values: Some(values),
    })
}
