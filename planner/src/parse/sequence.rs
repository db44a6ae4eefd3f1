//! `CREATE SEQUENCE`, `ALTER SEQUENCE`. Options come in any order.

use datafusion::sql::sqlparser::ast::ObjectName;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::access::{self, Owned};
use super::alter::new_name;
use super::ast::{AlterSequenceAst, Altered, Ast, CreateSequenceAst, SequenceOption};
use super::cursor::Cursor;
use super::statement::unsupported;
use crate::error::{Error, ErrorKind, Result};

/// After the words CREATE SEQUENCE.
pub(super) fn create(cursor: &mut Cursor<'_>, temporary: bool) -> Result<Ast> {
    let if_not_exists = cursor.take_words(&["if", "not", "exists"]);
    Ok(Ast::CreateSequence(Box::new(CreateSequenceAst {
        name: cursor.object_name()?,
        temporary,
        if_not_exists,
        options: options(cursor)?,
    })))
}

/// After the words ALTER SEQUENCE.
pub(super) fn alter(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let if_exists = cursor.take_words(&["if", "exists"]);
    let name = cursor.object_name()?;
    if let Some(to) = new_name(cursor)? {
        return Ok(Ast::RenameRelation {
            what: Altered::Sequence,
            name,
            if_exists,
            to,
        });
    }
    if cursor.take_words(&["owner", "to"]) {
        return access::owner(cursor, Owned::Relation(name, Altered::Sequence), if_exists);
    }
    for words in [&["set", "logged"][..], &["set", "unlogged"]] {
        if cursor.is_words(words) {
            return Ok(unsupported(cursor, "this ALTER SEQUENCE", "ALTER SEQUENCE"));
        }
    }
    let options = options(cursor)?;
    if options.is_empty() {
        return Err(cursor.unexpected());
    }
    Ok(Ast::AlterSequence(Box::new(AlterSequenceAst {
        name,
        if_exists,
        options,
    })))
}

fn options(cursor: &mut Cursor<'_>) -> Result<Vec<SequenceOption>> {
    let mut options = Vec::new();
    while !cursor.is_end() {
        options.push(option(cursor)?);
    }
    Ok(options)
}

fn option(cursor: &mut Cursor<'_>) -> Result<SequenceOption> {
    if cursor.take_word("as") {
        let ty = cursor.until_any(
            &[
                "increment",
                "minvalue",
                "maxvalue",
                "no",
                "start",
                "restart",
                "cache",
                "cycle",
                "owned",
            ],
            |parser| parser.parse_data_type(),
        )?;
        return Ok(SequenceOption::As(ty));
    }
    if cursor.take_word("increment") {
        let _ = cursor.take_word("by");
        return Ok(SequenceOption::Increment(number(cursor)?));
    }
    if cursor.take_words(&["no", "minvalue"]) {
        return Ok(SequenceOption::MinValue(None));
    }
    if cursor.take_words(&["no", "maxvalue"]) {
        return Ok(SequenceOption::MaxValue(None));
    }
    if cursor.take_words(&["no", "cycle"]) {
        return Ok(SequenceOption::Cycle(false));
    }
    if cursor.take_word("minvalue") {
        return Ok(SequenceOption::MinValue(Some(number(cursor)?)));
    }
    if cursor.take_word("maxvalue") {
        return Ok(SequenceOption::MaxValue(Some(number(cursor)?)));
    }
    if cursor.take_word("start") {
        let _ = cursor.take_word("with");
        return Ok(SequenceOption::Start(number(cursor)?));
    }
    if cursor.take_word("restart") {
        let with = cursor.take_word("with");
        let given = with || matches!(cursor.peek(), Some(Token::Number(..) | Token::Minus | Token::Plus));
        return Ok(SequenceOption::Restart(match given {
            true => Some(number(cursor)?),
            false => None,
        }));
    }
    if cursor.take_word("cache") {
        return Ok(SequenceOption::Cache(number(cursor)?));
    }
    if cursor.take_word("cycle") {
        return Ok(SequenceOption::Cycle(true));
    }
    if cursor.take_words(&["owned", "by"]) {
        let owner: Option<ObjectName> = match cursor.take_word("none") {
            true => None,
            false => Some(cursor.object_name()?),
        };
        return Ok(SequenceOption::OwnedBy(owner));
    }
    Err(cursor.unexpected())
}

fn number(cursor: &mut Cursor<'_>) -> Result<i64> {
    let sign = match cursor.take_token(&Token::Minus) {
        true => "-",
        false => {
            let _ = cursor.take_token(&Token::Plus);
            ""
        }
    };
    let Some(Token::Number(digits, false)) = cursor.peek() else {
        return Err(cursor.unexpected());
    };
    let text = format!("{sign}{digits}");
    let number = text.parse().map_err(|_| {
        let message = match text.contains(['.', 'e', 'E']) {
            true => format!("invalid input syntax for type bigint: \"{text}\""),
            false => format!("value \"{text}\" is out of range for type bigint"),
        };
        Error::new(ErrorKind::NumericOutOfRange, message)
    })?;
    cursor.next();
    Ok(number)
}
