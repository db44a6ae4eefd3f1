//! Row locks: `FOR UPDATE`, `FOR SHARE`, and the two between them that sqlparser does not know. Rows have no keys here that
//! could be locked without them, so they are the stronger ones. `FOR UPDATE LIMIT 1` is `LIMIT 1 FOR UPDATE`, which
//! sqlparser wants.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// Whether a statement locks rows.
pub(super) fn any(tokens: &[TokenWithSpan]) -> bool {
    (0..tokens.len()).any(|at| words_of_lock(&tokens[at..]).is_some())
}

/// The same tokens when there is nothing to do, which is nearly always.
pub(super) fn known(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut at = 0;
    while at < tokens.len() {
        if let Some(words) = words_of_lock(&tokens[at..]) {
            // What stands between FOR and the last word.
            tokens.drain(at + 1..at + words - 1);
            let end = end_of_lock(&tokens, at + 2);
            if ["limit", "offset", "fetch"]
                .iter()
                .any(|word| is_word(tokens.get(end), word))
            {
                let query = end_of_query(&tokens, end);
                tokens[at..query].rotate_left(end - at);
                at = query - (end - at);
            }
        }
        at += 1;
    }
    tokens
}

/// One past `OF t NOWAIT`, of which each part may be missing.
fn end_of_lock(tokens: &[TokenWithSpan], mut at: usize) -> usize {
    if is_word(tokens.get(at), "of") {
        at += 2;
        while matches!(
            tokens.get(at).map(|token| &token.token),
            Some(Token::Comma | Token::Period)
        ) {
            at += 2;
        }
    }
    if is_word(tokens.get(at), "nowait") {
        return at + 1;
    }
    match is_word(tokens.get(at), "skip") && is_word(tokens.get(at + 1), "locked") {
        true => at + 2,
        false => at,
    }
}

/// Where the parenthesis around the query closes, another lock begins, or the statement ends.
fn end_of_query(tokens: &[TokenWithSpan], start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => return at,
            Token::RParen => depth -= 1,
            Token::SemiColon | Token::EOF => return at,
            _ if depth == 0 && words_of_lock(&tokens[at..]).is_some() => return at,
            _ => {}
        }
    }
    tokens.len()
}

/// How many words a lock has that begins here.
fn words_of_lock(tokens: &[TokenWithSpan]) -> Option<usize> {
    if !is_word(tokens.first(), "for") {
        return None;
    }
    let forms: [&[&str]; 4] = [&["update"], &["share"], &["no", "key", "update"], &["key", "share"]];
    let stands = |form: &&&[&str]| {
        let mut words = form.iter().zip(1..);
        words.all(|(word, at)| is_word(tokens.get(at), word))
    };
    forms.iter().find(stands).map(|form| form.len() + 1)
}

fn is_word(token: Option<&TokenWithSpan>, wanted: &str) -> bool {
    matches!(token.map(|token| &token.token), Some(Token::Word(word))
        if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted))
}
