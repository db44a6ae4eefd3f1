//! The ways to ask for an older state of a table, made into those sqlparser reads.
//!
//! ```text
//! t FOR VERSION AS OF x            t AT (VERSION => x)        x: one token, or anything in parentheses
//! t FOR SYSTEM_VERSION AS OF x     t AT (VERSION => x)
//! t VERSION AS OF 7                t AT (VERSION => 7)        also a string or a parameter
//! t FOR TIMESTAMP AS OF e          t TIMESTAMP AS OF e
//! ```
//!
//! `FOR SYSTEM_TIME AS OF e`, `AT (…)` and `BEFORE (…)` it knows. But it takes every AT, BEFORE and CHANGES after a table's
//! name for one of them, where they may be an alias: those without an argument's arrow stop being keywords here.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// The same tokens when there is nothing to do, which is nearly always.
pub(super) fn made_plain(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let concerns = |token: &TokenWithSpan| {
        matches!(
            keyword(token),
            Keyword::AT | Keyword::BEFORE | Keyword::CHANGES | Keyword::OF
        )
    };
    if !tokens.iter().any(concerns) {
        return tokens;
    }
    let mut index = 0;
    while index < tokens.len() {
        match keyword(&tokens[index]) {
            Keyword::AT | Keyword::BEFORE if !is_clause(&tokens[index + 1..]) => plain_word(&mut tokens[index]),
            Keyword::CHANGES => plain_word(&mut tokens[index]),
            Keyword::FOR if has_words(&tokens[index + 1..], &["timestamp", "as", "of"]) => {
                tokens.remove(index);
            }
            Keyword::FOR
                if has_words(&tokens[index + 1..], &["version", "as", "of"])
                    || has_words(&tokens[index + 1..], &["system_version", "as", "of"]) =>
            {
                tokens.remove(index);
                version(&mut tokens, index);
            }
            Keyword::VERSION
                if has_words(&tokens[index..], &["version", "as", "of"])
                    && tokens.get(index + 3).is_some_and(|next| is_value(&next.token)) =>
            {
                version(&mut tokens, index);
            }
            _ => {}
        }
        index += 1;
    }
    tokens
}

/// `VERSION AS OF x` at `start` becomes `AT (VERSION => x)`. Without an `x` it stays, and the parser says what is missing.
fn version(tokens: &mut Vec<TokenWithSpan>, start: usize) {
    let value = start + 3;
    let Some(end) = end_of_value(tokens, value) else {
        return;
    };
    let span = tokens[start].span;
    let new = |token| TokenWithSpan::new(token, span);
    tokens.insert(end, TokenWithSpan::new(Token::RParen, tokens[end - 1].span));
    let clause = [
        Token::make_keyword("AT"),
        Token::LParen,
        Token::make_word("version", None),
        Token::RArrow,
    ];
    tokens.splice(start..value, clause.map(new));
}

/// One past the token at `start`, or past the parenthesis that closes the one there.
fn end_of_value(tokens: &[TokenWithSpan], start: usize) -> Option<usize> {
    let first = tokens.get(start)?;
    if first.token != Token::LParen {
        return is_value(&first.token).then_some(start + 1);
    }
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate().skip(start) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(index + 1);
        }
    }
    None
}

fn is_value(token: &Token) -> bool {
    matches!(
        token,
        Token::Number(..) | Token::Placeholder(_) | Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_)
    )
}

/// `(name =>`, or what follows AT in `AT TIME ZONE` and `AT LOCAL`.
fn is_clause(rest: &[TokenWithSpan]) -> bool {
    match rest {
        [open, name, arrow, ..] if open.token == Token::LParen => {
            matches!(name.token, Token::Word(_)) && arrow.token == Token::RArrow
        }
        _ => has_words(rest, &["time", "zone"]) || has_words(rest, &["local"]),
    }
}

fn has_words(tokens: &[TokenWithSpan], words: &[&str]) -> bool {
    tokens.len() >= words.len()
        && tokens.iter().zip(words).all(|(token, wanted)| {
            matches!(&token.token, Token::Word(word)
                if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted))
        })
}

fn keyword(token: &TokenWithSpan) -> Keyword {
    match &token.token {
        Token::Word(word) => word.keyword,
        _ => Keyword::NoKeyword,
    }
}

fn plain_word(token: &mut TokenWithSpan) {
    if let Token::Word(word) = &mut token.token {
        word.keyword = Keyword::NoKeyword;
    }
}
