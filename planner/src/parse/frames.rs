//! `RANGE BETWEEN '7 days'::interval PRECEDING AND …`: where a window frame begins with a string, sqlparser wants an interval
//! literal, so this is made one.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// The same tokens when there is nothing to do, which is nearly always.
pub(super) fn literal_bounds(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut from = 0;
    while let Some(at) = (from..tokens.len()).find(|at| is_bound(&tokens[*at..])) {
        // `'7 days' :: interval` is `interval '7 days'`.
        let word = tokens.remove(at + 2);
        tokens[at + 1] = tokens[at].clone();
        tokens[at] = word;
        from = at + 2;
    }
    tokens
}

fn is_bound(tokens: &[TokenWithSpan]) -> bool {
    let [text, cast, ty, direction, ..] = tokens else {
        return false;
    };
    matches!(text.token, Token::SingleQuotedString(_))
        && cast.token == Token::DoubleColon
        && is_word(ty, &["interval"])
        && is_word(direction, &["preceding", "following"])
}

fn is_word(token: &TokenWithSpan, wanted: &[&str]) -> bool {
    let Token::Word(word) = &token.token else { return false };
    word.quote_style.is_none() && wanted.iter().any(|wanted| word.value.eq_ignore_ascii_case(wanted))
}
