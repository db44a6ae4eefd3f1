//! `CREATE INDEX`, `DROP INDEX`, `ALTER INDEX`, `REINDEX`.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::alter::new_name;
use super::ast::{Altered, Ast, CreateIndexAst, NewName, ReindexAst};
use super::create::{list, property};
use super::cursor::Cursor;
use super::statement::unsupported;
use crate::error::Result;
use crate::resolve::fold;

/// After the words CREATE [UNIQUE] INDEX.
pub(super) fn create(cursor: &mut Cursor<'_>, unique: bool) -> Result<Ast> {
    const TAG: &str = "CREATE INDEX";
    let concurrently = cursor.take_word("concurrently");
    let if_not_exists = cursor.take_words(&["if", "not", "exists"]);
    let name = match cursor.is_word("on") {
        true if if_not_exists => return Err(cursor.unexpected()),
        true => None,
        false => Some(cursor.identifier()?),
    };
    cursor.expect_word("on")?;
    let _ = cursor.take_word("only");
    let table = cursor.object_name()?;
    let method = match cursor.take_word("using") {
        true => Some(fold(&cursor.identifier()?)),
        false => None,
    };
    if cursor.peek() != Some(&Token::LParen) {
        return Err(cursor.unexpected());
    }
    let keys =
        cursor.inside_parentheses(|parser| parser.parse_comma_separated(|parser| parser.parse_create_index_expr()))?;
    let included = match cursor.take_word("include") {
        true => cursor.identifiers_in_parentheses()?,
        false => Vec::new(),
    };
    let nulls_are_equal = cursor.take_words(&["nulls", "not", "distinct"]);
    if !nulls_are_equal {
        let _ = cursor.take_words(&["nulls", "distinct"]);
    }
    let parameters = match cursor.take_word("with") {
        true => list(cursor, property)?,
        false => Vec::new(),
    };
    if cursor.is_word("tablespace") {
        return Ok(unsupported(cursor, "TABLESPACE", TAG));
    }
    let predicate = match cursor.take_word("where") {
        true => Some(cursor.rest(|parser| parser.parse_expr())?),
        false => None,
    };
    Ok(Ast::CreateIndex(Box::new(CreateIndexAst {
        name,
        table,
        unique,
        concurrently,
        if_not_exists,
        method,
        keys,
        included,
        nulls_are_equal,
        parameters,
        predicate,
    })))
}

/// After the words DROP INDEX.
pub(super) fn drop(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let concurrently = cursor.take_word("concurrently");
    let if_exists = cursor.take_words(&["if", "exists"]);
    let names = cursor.object_names()?;
    let cascade = cursor.take_word("cascade");
    if !cascade {
        let _ = cursor.take_word("restrict");
    }
    Ok(Ast::DropIndexes {
        names,
        concurrently,
        if_exists,
        cascade,
    })
}

/// After the words ALTER INDEX.
pub(super) fn alter(cursor: &mut Cursor<'_>) -> Result<Ast> {
    const TAG: &str = "ALTER INDEX";
    if cursor.is_words(&["all", "in", "tablespace"]) {
        return Ok(unsupported(cursor, "ALTER INDEX ALL IN TABLESPACE", TAG));
    }
    let if_exists = cursor.take_words(&["if", "exists"]);
    let name = cursor.object_name()?;
    match new_name(cursor)? {
        Some(to @ NewName::Name(_)) => Ok(Ast::RenameRelation {
            what: Altered::Index,
            name,
            if_exists,
            to,
        }),
        _ => Ok(unsupported(cursor, "this ALTER INDEX", TAG)),
    }
}

/// After the word REINDEX.
pub(super) fn reindex(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let mut concurrently = false;
    if cursor.peek() == Some(&Token::LParen) {
        for (option, value) in list(cursor, property_or_flag)? {
            match option.as_str() {
                "concurrently" => concurrently = value,
                "verbose" => {}
                _ => return Ok(unsupported(cursor, format!("REINDEX option {option}"), "REINDEX")),
            }
        }
    }
    let what = cursor.word()?;
    concurrently |= cursor.take_word("concurrently");
    let what = match what.as_str() {
        "index" => ReindexAst::Index(cursor.object_name()?),
        "table" => ReindexAst::Table(cursor.object_name()?),
        "schema" => ReindexAst::Schema(cursor.identifier()?),
        "database" | "system" => ReindexAst::Database(cursor.identifier()?),
        _ => return Err(cursor.unexpected()),
    };
    Ok(Ast::Reindex { what, concurrently })
}

fn property_or_flag(cursor: &mut Cursor<'_>) -> Result<(String, bool)> {
    let name = cursor.word()?;
    let off = cursor.take_word("false") || cursor.take_word("off");
    if !off {
        let _ = cursor.take_word("true") || cursor.take_word("on");
    }
    Ok((name, !off))
}
