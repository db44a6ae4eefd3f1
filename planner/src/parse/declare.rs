//! `DECLARE`, `FETCH`, `MOVE`, `CLOSE`: cursors of a session.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::ast::{Ast, DeclareAst};
use super::cursor::Cursor;
use crate::error::{Error, ErrorKind, Result};
use crate::statement::{CursorOptions, Movement};

/// `DECLARE name [BINARY] [INSENSITIVE] [[NO] SCROLL] CURSOR [WITH | WITHOUT HOLD] FOR query`, after its first word.
pub(super) fn declare(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let name = cursor.identifier()?;
    let mut options = CursorOptions::default();
    let (mut no_scroll, mut insensitive, mut asensitive) = (false, false, false);
    while !cursor.take_word("cursor") {
        match cursor.peek() {
            _ if cursor.take_word("binary") => options.binary = true,
            _ if cursor.take_words(&["no", "scroll"]) => no_scroll = true,
            _ if cursor.take_word("scroll") => options.scroll = true,
            // Both are what every cursor is: it reads the state its transaction sees.
            _ if cursor.take_word("insensitive") => insensitive = true,
            _ if cursor.take_word("asensitive") => asensitive = true,
            _ => return Err(cursor.unexpected()),
        }
    }
    if cursor.take_words(&["with", "hold"]) {
        options.hold = true;
    } else {
        let _ = cursor.take_words(&["without", "hold"]);
    }
    cursor.expect_word("for")?;
    if !["select", "values", "with", "table"]
        .iter()
        .any(|word| cursor.is_word(word))
        && cursor.peek() != Some(&Token::LParen)
    {
        return Err(cursor.unexpected());
    }
    let query = match cursor.is_word("table") {
        true => cursor.table_query()?,
        false => cursor.query()?.0,
    };
    for (both, words) in [
        (options.scroll && no_scroll, "SCROLL and NO SCROLL"),
        (insensitive && asensitive, "ASENSITIVE and INSENSITIVE"),
    ] {
        if both {
            let message = format!("cannot specify both {words}");
            return Err(Error::new(ErrorKind::InvalidCursorDefinition, message));
        }
    }
    if let Some(lock) = query.locks.first() {
        let lock = &lock.lock_type;
        if options.hold {
            let message = format!("DECLARE CURSOR WITH HOLD ... FOR {lock} is not supported");
            return Err(Error::unsupported(message).with_detail("Holdable cursors must be READ ONLY."));
        }
        if options.scroll {
            let message = format!("DECLARE SCROLL CURSOR ... FOR {lock} is not supported");
            return Err(Error::unsupported(message).with_detail("Scrollable cursors must be READ ONLY."));
        }
        if insensitive {
            let message = format!("DECLARE INSENSITIVE CURSOR ... FOR {lock} is not valid");
            return Err(Error::new(ErrorKind::InvalidCursorDefinition, message)
                .with_detail("Insensitive cursors must be READ ONLY."));
        }
    }
    Ok(Ast::Declare(Box::new(DeclareAst { name, options, query })))
}

/// `FETCH [direction] [FROM | IN] name`, also for MOVE, after its first word.
pub(super) fn fetch(cursor: &mut Cursor<'_>, moves: bool) -> Result<Ast> {
    let movement = movement(cursor)?;
    let _ = cursor.take_word("from") || cursor.take_word("in");
    Ok(Ast::Fetch {
        name: cursor.identifier()?,
        movement,
        moves,
    })
}

/// Where to, as one of the four forms all others are short for.
fn movement(cursor: &mut Cursor<'_>) -> Result<Movement> {
    // A direction that nothing follows is the name of a cursor.
    let alone = cursor.peek_at(1).is_none();
    let words = [
        ("next", Movement::Forward(Some(1))),
        ("prior", Movement::Backward(Some(1))),
        ("first", Movement::Absolute(1)),
        ("last", Movement::Absolute(-1)),
        ("all", Movement::Forward(None)),
    ];
    if alone {
        return Ok(Movement::Forward(Some(1)));
    }
    for (word, movement) in words {
        if cursor.take_word(word) {
            return Ok(movement);
        }
    }
    if cursor.take_word("absolute") {
        return Ok(Movement::Absolute(signed(cursor)?));
    }
    if cursor.take_word("relative") {
        return Ok(Movement::Relative(signed(cursor)?));
    }
    for (word, forward) in [("forward", true), ("backward", false)] {
        if cursor.take_word(word) {
            let count = match cursor.peek() {
                _ if cursor.take_word("all") => None,
                Some(Token::Number(..) | Token::Minus | Token::Plus) => Some(signed(cursor)?),
                _ => Some(1),
            };
            return Ok(match forward {
                true => Movement::Forward(count),
                false => Movement::Backward(count),
            });
        }
    }
    match cursor.peek() {
        Some(Token::Number(..) | Token::Minus | Token::Plus) => Ok(Movement::Forward(Some(signed(cursor)?))),
        _ => Ok(Movement::Forward(Some(1))),
    }
}

/// A whole number of PostgreSQL's `int4`.
fn signed(cursor: &mut Cursor<'_>) -> Result<i64> {
    let sign = match cursor.take_token(&Token::Minus) {
        true => -1,
        false => {
            let _ = cursor.take_token(&Token::Plus);
            1
        }
    };
    match cursor.peek() {
        Some(Token::Number(digits, false)) => {
            let number: i32 = digits.parse().map_err(|_| cursor.unexpected())?;
            cursor.next();
            Ok(sign * i64::from(number))
        }
        _ => Err(cursor.unexpected()),
    }
}

/// `CLOSE name | ALL`, after its first word.
pub(super) fn close(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let name = match cursor.take_word("all") {
        true => None,
        false => Some(cursor.identifier()?),
    };
    Ok(Ast::CloseCursor { name })
}
