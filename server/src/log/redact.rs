//! SQL text without what may be secret: literals become `?`, comments go, white space shrinks.

use crate::shell::lexer::{Token, tokens};

/// The statement's shape on one line.
pub(crate) fn redact(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len().min(1024));
    let mut gap = false;
    for token in tokens(sql) {
        let text = match token {
            Token::Space(_) | Token::Comment(_) => {
                gap = !out.is_empty();
                continue;
            }
            Token::Literal(_) | Token::Number(_) => "?",
            Token::Word(text) | Token::Quoted(text) | Token::Symbol(text) => text,
        };
        if std::mem::take(&mut gap) {
            out.push(' ');
        }
        out.push_str(text);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn literals_and_comments_are_gone_and_names_stay() {
        for (sql, shape) in [
            (
                "select  1,\n 'it''s' , x1 from \"My 1\" -- secret",
                "select ?, ? , x1 from \"My 1\"",
            ),
            ("ALTER ROLE a PASSWORD 'hunter2'", "ALTER ROLE a PASSWORD ?"),
            (
                "select $$a'b$$, $q$x$$y$q$, E'a\\'b', b'01', $1",
                "select ?, ?, ?, ?, $1",
            ),
            ("select /* a /* nested */ secret */ 1.5e-3+.5", "select ?+?"),
            ("select 'unfinished secret", "select ?"),
            ("select $$unfinished secret", "select ?"),
            ("select U&'d\\0061t' , x'1F'", "select ? , ?"),
        ] {
            assert_eq!(redact(sql), shape, "{sql}");
        }
    }
}
