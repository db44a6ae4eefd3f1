//! PREPARE and EXECUTE.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::ast::Ast;
use super::cursor::Cursor;
use super::parse_written;
use crate::error::Result;

pub(super) fn prepare(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let name = cursor.identifier()?;
    let types = if cursor.peek() == Some(&Token::LParen) {
        cursor.inside_parentheses(|parser| parser.parse_comma_separated(|parser| parser.parse_data_type()))?
    } else {
        Vec::new()
    };
    cursor.expect_word("as")?;
    let (text, characters) = cursor.remaining_text();
    if text.is_empty() {
        return Err(cursor.unexpected());
    }
    let statement = parse_written(text, characters).map_err(|error| error.shifted(characters))?;
    if !matches!(
        statement.ast,
        Ast::Query(_)
            | Ast::Insert(_)
            | Ast::Update(_)
            | Ast::Delete(_)
            | Ast::Merge(_)
            | Ast::With(..)
            | Ast::Overriding(..)
            | Ast::Unsupported { .. }
    ) {
        return Err(cursor.unexpected());
    }
    cursor.skip_to_end();
    Ok(Ast::Prepare {
        name,
        types,
        statement: Box::new(statement),
    })
}

pub(super) fn execute(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let name = cursor.identifier()?;
    let arguments = if cursor.peek() == Some(&Token::LParen) {
        cursor.inside_parentheses(|parser| parser.parse_comma_separated(|parser| parser.parse_expr()))?
    } else {
        Vec::new()
    };
    Ok(Ast::Execute { name, arguments })
}
