//! `OVERRIDING … VALUE` of an INSERT in WITH, which sqlparser does not know: a column of a name that no column has.
//!
//! ```text
//! insert into t (a, b) overriding user value select …     insert into t (a, b, "\u{1}overriding user") select …
//! insert into t overriding system value select …          insert into t ("\u{1}overriding system") select …
//! ```
//!
//! The words of a statement of its own are taken out before (`statement.rs`).

use datafusion::sql::sqlparser::ast::Insert;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::statement::query::Overriding;

const SYSTEM: &str = "\u{1}overriding system";
const USER: &str = "\u{1}overriding user";

/// The same tokens when there is nothing to do, which is nearly always.
pub(super) fn noted(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut from = 0;
    while let Some(at) = (from..tokens.len().saturating_sub(2)).find(|at| is_word(&tokens[*at], "overriding")) {
        from = at + 1;
        let name = match (&tokens[at + 1], is_word(&tokens[at + 2], "value")) {
            (word, true) if is_word(word, "system") => SYSTEM,
            (word, true) if is_word(word, "user") => USER,
            _ => continue,
        };
        // Anywhere else they are an error, which the parser tells.
        if !tokens.get(at + 3).is_some_and(begins_rows) {
            continue;
        }
        let span = tokens[at].span;
        let column = [Token::make_word(name, Some('"'))];
        let (place, new): (_, Vec<Token>) = match at.checked_sub(1) {
            Some(before) if tokens[before].token == Token::RParen => {
                (before..before, [Token::Comma].into_iter().chain(column).collect())
            }
            Some(before) if matches!(tokens[before].token, Token::Word(_)) => {
                let column = [Token::LParen].into_iter().chain(column);
                (at..at, column.chain([Token::RParen]).collect())
            }
            _ => continue,
        };
        tokens.drain(at..at + 3);
        tokens.splice(place, new.into_iter().map(|token| TokenWithSpan::new(token, span)));
    }
    tokens
}

/// Takes the note out of a statement's columns.
pub(crate) fn taken(insert: &mut Insert) -> Overriding {
    let last = insert.columns.last().and_then(|column| column.0.last()?.as_ident());
    let overriding = match last.map(|name| name.value.as_str()) {
        Some(SYSTEM) => Overriding::System,
        Some(USER) => Overriding::User,
        _ => return Overriding::None,
    };
    insert.columns.pop();
    overriding
}

fn begins_rows(token: &TokenWithSpan) -> bool {
    let words = ["select", "values", "with", "table"];
    token.token == Token::LParen || words.iter().any(|word| is_word(token, word))
}

fn is_word(token: &TokenWithSpan, wanted: &str) -> bool {
    matches!(&token.token, Token::Word(word)
        if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted))
}
