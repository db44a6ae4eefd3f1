//! Just enough of SQL's tokens to find where a statement ends, what a word is and what may be secret.
//! It never fails: an unfinished literal or comment goes to the end of the text.

/// A piece of SQL; the pieces of a text put together are the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    Space(&'a str),
    Comment(&'a str),
    /// A text literal of any kind, with its quotes.
    Literal(&'a str),
    Number(&'a str),
    /// A keyword, a name, or a parameter like `$1`.
    Word(&'a str),
    /// A name in double quotes.
    Quoted(&'a str),
    Symbol(&'a str),
}

impl<'a> Token<'a> {
    pub(crate) fn text(self) -> &'a str {
        match self {
            Self::Space(text)
            | Self::Comment(text)
            | Self::Literal(text)
            | Self::Number(text)
            | Self::Word(text)
            | Self::Quoted(text)
            | Self::Symbol(text) => text,
        }
    }
}

/// Cuts a text into tokens, lazily.
pub(crate) fn tokens(sql: &str) -> impl Iterator<Item = Token<'_>> {
    let mut rest = sql;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (token, length) = next(rest);
        rest = &rest[length..];
        Some(token)
    })
}

/// What is left open at the end of a text: the prompt of the next line tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Open {
    Nothing,
    Statement,
    Parenthesis,
    Literal,
    Quoted,
    Dollar,
    Comment,
}

/// Cuts off the first statement that ends with a semicolon outside quotes and parentheses.
/// `Ok((statement, rest))` without the semicolon, or what is open.
pub(crate) fn first_statement(sql: &str) -> Result<(&str, &str), Open> {
    let mut depth = 0_usize;
    let mut length = 0;
    let mut open = Open::Nothing;
    for token in tokens(sql) {
        match token {
            Token::Symbol("(" | "[") => depth += 1,
            Token::Symbol(")" | "]") => depth = depth.saturating_sub(1),
            Token::Symbol(";") if depth == 0 => return Ok((&sql[..length], &sql[length + 1..])),
            _ => {}
        }
        length += token.text().len();
        open = match token {
            Token::Space(_) => open,
            Token::Comment(text) if is_unfinished_comment(text) => return Err(Open::Comment),
            Token::Comment(_) => open,
            Token::Literal(text) if is_unfinished_literal(text) => {
                return Err(if text.starts_with('$') {
                    Open::Dollar
                } else {
                    Open::Literal
                });
            }
            Token::Quoted(text) if text.len() < 2 || !text.ends_with('"') => return Err(Open::Quoted),
            _ if depth > 0 => Open::Parenthesis,
            _ => Open::Statement,
        };
    }
    Err(open)
}

/// True where nothing but white space and comments is there.
pub(crate) fn is_blank(sql: &str) -> bool {
    tokens(sql).all(|token| matches!(token, Token::Space(_) | Token::Comment(_)))
}

/// The keywords and names of a text in order, in capitals; what stands in parentheses is left out.
pub(crate) fn words(sql: &str) -> impl Iterator<Item = String> {
    let mut depth = 0_usize;
    tokens(sql).filter_map(move |token| {
        match token {
            Token::Symbol("(") => depth += 1,
            Token::Symbol(")") => depth = depth.saturating_sub(1),
            Token::Word(text) if depth == 0 => return Some(text.to_ascii_uppercase()),
            _ => {}
        }
        None
    })
}

fn next(sql: &str) -> (Token<'_>, usize) {
    let bytes = sql.as_bytes();
    let second = bytes.get(1).copied();
    let length = match (bytes[0], second) {
        (b'-', Some(b'-')) => {
            let length = sql.find('\n').unwrap_or(sql.len());
            return (Token::Comment(&sql[..length]), length);
        }
        (b'/', Some(b'*')) => {
            let length = block_comment(bytes);
            return (Token::Comment(&sql[..length]), length);
        }
        (b'\'', _) => return literal(sql, quoted(bytes, 0, b'\'', false)),
        (b'"', _) => {
            let length = quoted(bytes, 0, b'"', false);
            return (Token::Quoted(&sql[..length]), length);
        }
        (b'e' | b'E', Some(b'\'')) => return literal(sql, quoted(bytes, 1, b'\'', true)),
        (b'b' | b'B' | b'x' | b'X' | b'n' | b'N', Some(b'\'')) => return literal(sql, quoted(bytes, 1, b'\'', false)),
        (b'u' | b'U', Some(b'&')) if bytes.get(2) == Some(&b'\'') => {
            return literal(sql, quoted(bytes, 2, b'\'', false));
        }
        (b'u' | b'U', Some(b'&')) if bytes.get(2) == Some(&b'"') => {
            let length = quoted(bytes, 2, b'"', false);
            return (Token::Quoted(&sql[..length]), length);
        }
        (b'$', Some(digit)) if digit.is_ascii_digit() => {
            1 + bytes[1..].iter().take_while(|byte| byte.is_ascii_digit()).count()
        }
        (b'$', _) => match dollar(sql) {
            Some(length) => return literal(sql, length),
            None => return (Token::Symbol(&sql[..1]), 1),
        },
        (b'0'..=b'9', _) => return number(sql),
        (b'.', Some(digit)) if digit.is_ascii_digit() => return number(sql),
        _ => {
            let space = sql.find(|c: char| !c.is_whitespace()).unwrap_or(sql.len());
            if space > 0 {
                return (Token::Space(&sql[..space]), space);
            }
            let word = sql.find(|c: char| !is_name(c)).unwrap_or(sql.len());
            if word == 0 {
                let length = sql.chars().next().map_or(1, char::len_utf8);
                return (Token::Symbol(&sql[..length]), length);
            }
            word
        }
    };
    (Token::Word(&sql[..length]), length)
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$' || (!c.is_ascii() && !c.is_whitespace())
}

fn literal(sql: &str, length: usize) -> (Token<'_>, usize) {
    (Token::Literal(&sql[..length]), length)
}

/// Digits, a fraction, an exponent; `1..2` keeps its dots out.
fn number(sql: &str) -> (Token<'_>, usize) {
    let bytes = sql.as_bytes();
    let mut at = 0;
    let digits = |at: &mut usize| {
        while bytes
            .get(*at)
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        {
            let exponent = matches!(bytes[*at], b'e' | b'E') && !sql.starts_with("0x") && !sql.starts_with("0X");
            *at += 1;
            if exponent && matches!(bytes.get(*at), Some(b'+' | b'-')) {
                *at += 1;
            }
        }
    };
    digits(&mut at);
    if bytes.get(at) == Some(&b'.') && bytes.get(at + 1) != Some(&b'.') {
        at += 1;
        digits(&mut at);
    }
    (Token::Number(&sql[..at]), at)
}

/// The end of a quoted text that opens at `start`; a doubled quote stays inside.
fn quoted(bytes: &[u8], start: usize, quote: u8, escapes: bool) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        if *byte == b'\\' && escapes {
            at += 2;
        } else if *byte != quote {
            at += 1;
        } else if bytes.get(at + 1) == Some(&quote) {
            at += 2;
        } else {
            return at + 1;
        }
    }
    bytes.len()
}

/// `$tag$ ... $tag$`; `None` where this is no such thing.
fn dollar(sql: &str) -> Option<usize> {
    let tag_end = 1 + sql[1..].find('$')?;
    let tag = &sql[1..tag_end];
    if tag.chars().next().is_some_and(|c| c.is_ascii_digit()) || !tag.chars().all(|c| is_name(c) && c != '$') {
        return None;
    }
    let delimiter = &sql[..=tag_end];
    Some(match sql[tag_end + 1..].find(delimiter) {
        Some(inner) => tag_end + 1 + inner + delimiter.len(),
        None => sql.len(),
    })
}

/// The end of a comment; they nest.
fn block_comment(bytes: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < bytes.len() {
        match &bytes[at..bytes.len().min(at + 2)] {
            b"/*" => {
                depth += 1;
                at += 2;
            }
            b"*/" => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    bytes.len()
}

fn is_unfinished_comment(text: &str) -> bool {
    text.starts_with("/*") && {
        let bytes = text.as_bytes();
        // One more byte would become part of an unfinished comment, and only of that.
        let longer = [bytes, b" "].concat();
        block_comment(&longer) == longer.len()
    }
}

fn is_unfinished_literal(text: &str) -> bool {
    let longer = format!("{text} ");
    next(&longer).1 == longer.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_put_together_are_the_text() {
        for sql in [
            "select 1;é—\u{a0}x",
            "'",
            "\"",
            "/*",
            "$",
            "$$",
            "$1$",
            "E'\\",
            "e'\\'",
            "1..2",
            "1e",
            "U&",
            "U&\"",
            "ſ$x$",
        ] {
            let joined: String = tokens(sql).map(Token::text).collect();
            assert_eq!(joined, sql);
        }
    }

    #[test]
    fn statements_end_at_a_semicolon_outside_everything() {
        assert_eq!(first_statement("a; b"), Ok(("a", " b")));
        assert_eq!(first_statement("';' ; b"), Ok(("';' ", " b")));
        assert_eq!(first_statement("\";\" -- ;\n;"), Ok(("\";\" -- ;\n", "")));
        assert_eq!(first_statement("$a$;$$;$a$;"), Ok(("$a$;$$;$a$", "")));
        assert_eq!(first_statement("/* /* ; */ ; */ x;"), Ok(("/* /* ; */ ; */ x", "")));
        assert_eq!(first_statement(" -- only a comment"), Err(Open::Nothing));
        assert_eq!(first_statement("select 1"), Err(Open::Statement));
        assert_eq!(first_statement("select (1;"), Err(Open::Parenthesis));
        assert_eq!(first_statement("select 'x;"), Err(Open::Literal));
        assert_eq!(first_statement("select 'x''"), Err(Open::Literal));
        assert_eq!(first_statement("select \"x;"), Err(Open::Quoted));
        assert_eq!(first_statement("select \""), Err(Open::Quoted));
        assert_eq!(first_statement("select $a$ ; $b$"), Err(Open::Dollar));
        assert_eq!(first_statement("select /* x ;"), Err(Open::Comment));
        assert_eq!(first_statement("select /* x */"), Err(Open::Statement));
    }

    #[test]
    fn words_leave_out_parentheses_and_literals() {
        let found: Vec<String> = words("copy (select a from stdin) to /* x */ stdout 'from'").collect();
        assert_eq!(found, ["COPY", "TO", "STDOUT"]);
    }
}
