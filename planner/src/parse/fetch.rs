//! `FETCH FIRST n ROWS ONLY`, of which sqlparser reads a literal `n` only, as the LIMIT it is.
//!
//! ```text
//! fetch first (1 + 1) rows only         limit (1 + 1)
//! fetch next row only                   limit 1
//! fetch first 3 rows with ties          limit "\u{1}with ties"(3)
//! ```

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// A function that no statement can name, around the count of WITH TIES.
pub(crate) const WITH_TIES: &str = "\u{1}with ties";

/// The same tokens when there is nothing to do, which is nearly always. What is not of the form is left, for the parser to refuse.
pub(super) fn as_limit(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut from = 0;
    while let Some(at) = (from..tokens.len()).find(|at| is_any(tokens.get(*at), &["fetch"])) {
        from = at + 1;
        if !is_any(tokens.get(at + 1), &["first", "next"]) {
            continue;
        }
        let Some(rows) = end_of_count(&tokens, at + 2) else {
            continue;
        };
        let ties = is_any(tokens.get(rows + 1), &["with"]) && is_any(tokens.get(rows + 2), &["ties"]);
        if !ties && !is_any(tokens.get(rows + 1), &["only"]) {
            continue;
        }
        let span = tokens[at].span;
        let token = |token: Token| TokenWithSpan::new(token, span);
        let mut count = tokens[at + 2..rows].to_vec();
        if count.is_empty() {
            count.push(token(Token::Number("1".to_owned(), false)));
        }
        let mut limit = vec![token(Token::make_keyword("LIMIT"))];
        if ties {
            limit.push(token(Token::make_word(WITH_TIES, Some('"'))));
            limit.push(token(Token::LParen));
        }
        limit.append(&mut count);
        if ties {
            limit.push(token(Token::RParen));
        }
        tokens.splice(at..rows + if ties { 3 } else { 2 }, limit);
    }
    tokens
}

/// Where ROW or ROWS stands behind a count: outside of its parentheses.
fn end_of_count(tokens: &[TokenWithSpan], start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.checked_sub(1)?,
            _ if depth == 0 && is_any(Some(token), &["row", "rows"]) => return Some(at),
            _ => {}
        }
    }
    None
}

fn is_any(token: Option<&TokenWithSpan>, wanted: &[&str]) -> bool {
    let Some(Token::Word(word)) = token.map(|token| &token.token) else {
        return false;
    };
    word.quote_style.is_none() && wanted.iter().any(|wanted| word.value.eq_ignore_ascii_case(wanted))
}
