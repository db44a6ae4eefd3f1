//! `LOCK TABLE`.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::ast::Ast;
use super::cursor::Cursor;
use crate::error::Result;
use crate::statement::lock::LockMode;

/// The words of a mode, and what it is here.
const MODES: &[(&[&str], LockMode)] = &[
    (&["access", "share"], LockMode::Read),
    (&["row", "share"], LockMode::Change),
    (&["row", "exclusive"], LockMode::Write),
    (&["share", "update", "exclusive"], LockMode::Change),
    (&["share", "row", "exclusive"], LockMode::Alone),
    (&["share"], LockMode::Alone),
    (&["exclusive"], LockMode::Alone),
    (&["access", "exclusive"], LockMode::Alone),
];

/// `LOCK [TABLE] [ONLY] name [*], … [IN mode MODE] [NOWAIT]`, after its first word.
pub(super) fn lock(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let _ = cursor.take_word("table");
    let mut names = Vec::new();
    loop {
        let _ = cursor.take_word("only");
        names.push(cursor.object_name()?);
        let _ = cursor.take_token(&Token::Mul);
        if !cursor.take_token(&Token::Comma) {
            break;
        }
    }
    let mut mode = LockMode::Alone;
    if cursor.take_word("in") {
        let known = MODES.iter().find(|(words, _)| cursor.take_words(words));
        mode = known.map(|(_, mode)| *mode).ok_or_else(|| cursor.unexpected())?;
        cursor.expect_word("mode")?;
    }
    // Nobody waits anyway.
    let _ = cursor.take_word("nowait");
    Ok(Ast::Lock { names, mode })
}
