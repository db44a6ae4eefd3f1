//! The options of a sequence in the one order that sqlparser reads: PostgreSQL takes them in any.
//!
//! `as identity (start with 5 increment by 2)` becomes `as identity (increment by 2 start with 5)`.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// The first words of the options, in sqlparser's order.
const ORDER: [&str; 6] = ["increment", "minvalue", "maxvalue", "start", "cache", "cycle"];

pub(super) fn in_order(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut next = 0;
    while let Some(options) = options_after(&tokens, next) {
        next = options.end;
        let mut parts: Vec<(usize, Vec<TokenWithSpan>)> = Vec::new();
        for token in &tokens[options.clone()] {
            let rank = rank(&token.token);
            let follows_no = parts
                .last()
                .is_some_and(|(_, part)| part.len() == 1 && is_word(&part[0].token, "no"));
            match (rank, parts.last_mut()) {
                // `NO MINVALUE`: the word after NO says which.
                (Some(rank), Some((known, part))) if follows_no => {
                    *known = rank;
                    part.push(token.clone());
                }
                (Some(rank), _) => parts.push((rank, vec![token.clone()])),
                (None, _) if is_word(&token.token, "no") => parts.push((ORDER.len(), vec![token.clone()])),
                (None, Some((_, part))) => part.push(token.clone()),
                (None, None) => parts.push((0, vec![token.clone()])),
            }
        }
        parts.sort_by_key(|(rank, _)| *rank);
        tokens.splice(options, parts.into_iter().flat_map(|(_, part)| part));
    }
    tokens
}

/// The tokens in the parentheses behind the next `AS IDENTITY`.
fn options_after(tokens: &[TokenWithSpan], from: usize) -> Option<std::ops::Range<usize>> {
    let starts = |at: usize| {
        is_word(&tokens[at].token, "as")
            && is_word(&tokens[at + 1].token, "identity")
            && tokens[at + 2].token == Token::LParen
    };
    let start = (from..tokens.len().saturating_sub(2)).find(|at| starts(*at))? + 3;
    let length = tokens[start..].iter().position(|token| token.token == Token::RParen)?;
    Some(start..start + length)
}

fn rank(token: &Token) -> Option<usize> {
    ORDER.iter().position(|word| is_word(token, word))
}

fn is_word(token: &Token, wanted: &str) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted))
}
