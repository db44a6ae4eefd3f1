//! Texts that would exhaust memory or the stack are refused before anything recursive sees them.
//!
//! sqlparser counts its own nesting, but a flat chain (`1+1+1+…`, `a or a or …`, `union all …`) becomes a tree as deep
//! as the chain is long, and every later pass walks it recursively. Both are counted here, on the tokens. What is left is
//! parsed on a stack that is large enough for it (`on_large_stack`).

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::tokens::Lexed;
use crate::error::{Error, ErrorKind, Result};

/// Bytes of one message. Large `INSERT … VALUES` lists are legitimate; beyond this COPY is the way.
const TEXT_BYTES_MAX: usize = 64 << 20;
/// Parentheses and brackets inside each other.
const NESTING_MAX: usize = 100;
/// How deep sqlparser may go: one parenthesis costs it a few levels.
pub(super) const PARSER_DEPTH_MAX: usize = 400;
/// Operators in one expression, or set operations in one query, without a comma or a clause between them.
const CHAIN_MAX: usize = 1000;
/// `CASE` or `NOT` inside each other, and prefix signs in a row.
const PREFIX_MAX: usize = 100;
/// Queries inside each other's expressions: planning takes twice as long with each.
const SUBQUERIES_MAX: usize = 12;
/// `WHEN` in one statement.
const BRANCHES_MAX: usize = 10_000;
/// `SELECT` in one statement.
const SELECTS_MAX: usize = 5_000;
/// Columns and keys of one query, as in PostgreSQL; and arguments of a function.
const ENTRIES_MAX: usize = 1664;
/// Parts of a name: each is a level to the parser.
const NAME_PARTS_MAX: usize = 100;
/// Bytes of a pattern of LIKE.
const PATTERN_BYTES_MAX: usize = 64 << 10;

pub(super) fn check_length(sql: &str) -> Result<()> {
    if sql.len() > TEXT_BYTES_MAX {
        return Err(
            Error::new(ErrorKind::ProgramLimitExceeded, "statement text is too long")
                .with_detail(format!(
                    "The text has {} bytes, the limit is {TEXT_BYTES_MAX}.",
                    sql.len()
                ))
                .with_hint("Load large amounts of data with COPY."),
        );
    }
    Ok(())
}

/// Refuses what is too deep or too long; returns how deep the parser will have to go.
pub(super) fn check_tokens(lexed: &Lexed<'_>) -> Result<usize> {
    let mut deepest = 0;
    // One frame per open parenthesis: operators of the expression being read, set operations of the query.
    let mut frames = vec![Frame::default()];
    let mut cases = 0usize;
    let mut prefixes = 0usize;
    let mut branches = 0usize;
    let mut selects = 0usize;
    // What stands in parentheses after a name is its arguments.
    let mut after_name = false;
    let mut after_distinct = false;
    let mut after_like = false;
    let mut name_parts = 0usize;
    let mut after_period = false;
    for (token, place) in lexed.tokens.iter().zip(&lexed.places) {
        let depth = frames.len();
        let too_complex = || Err(too_complex().with_position(place.characters_before + 1));
        let frame = frames.last_mut().expect("the outermost frame is never popped");
        prefixes = if is_prefix(&token.token) { prefixes + 1 } else { 0 };
        deepest = deepest.max(depth + cases + prefixes);
        if prefixes > PREFIX_MAX {
            return too_complex();
        }
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                // A postfix chain (`a[1][1]…`, `f(x)(x)`) deepens the tree as an operator does.
                frame.operators += 1;
                let exceeded = frame.operators > CHAIN_MAX;
                let inner = Frame {
                    is_arguments: frame.is_query && !frame.in_from && after_name && token.token == Token::LParen,
                    queries: frame.queries,
                    in_from: frame.in_from && !after_name,
                    ..Frame::default()
                };
                frames.push(inner);
                if exceeded || depth > NESTING_MAX {
                    return too_complex();
                }
            }
            Token::RParen | Token::RBracket | Token::RBrace if depth > 1 => {
                frames.pop();
            }
            Token::Comma => {
                frame.operators = 0;
                match frame.in_from {
                    true => frame.joins += 1,
                    false => frame.commas += 1,
                }
                if frame.is_query && frame.commas >= ENTRIES_MAX {
                    let message = format!("target lists can have at most {ENTRIES_MAX} entries");
                    return Err(Error::new(ErrorKind::TooManyColumns, message));
                }
                if frame.is_arguments && frame.commas >= ENTRIES_MAX {
                    let message = format!("cannot pass more than {ENTRIES_MAX} arguments to a function");
                    return Err(Error::new(ErrorKind::TooManyArguments, message));
                }
            }
            Token::Period => {
                name_parts += 1;
                if name_parts > NAME_PARTS_MAX {
                    return too_complex();
                }
            }
            Token::Word(word) => match word.keyword {
                Keyword::CASE => {
                    cases += 1;
                    frame.operators += 1;
                    if cases > PREFIX_MAX {
                        return too_complex();
                    }
                }
                Keyword::END => cases = cases.saturating_sub(1),
                Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT => {
                    frame.set_operations += 1;
                    frame.operators = 0;
                }
                Keyword::SELECT => {
                    frame.operators = 0;
                    // One in FROM is no deeper than the query it is in, and one after UNION no deeper than the one before.
                    if !frame.in_from && !frame.is_query {
                        frame.queries += 1;
                    }
                    frame.is_query = true;
                    frame.is_arguments = false;
                    frame.in_from = false;
                    frame.commas = 0;
                    selects += 1;
                    if frame.queries > SUBQUERIES_MAX || selects > SELECTS_MAX {
                        return too_complex();
                    }
                }
                Keyword::FROM | Keyword::JOIN => {
                    frame.operators = 0;
                    // Not that of `extract(year from d)`, nor of `a is distinct from b`.
                    frame.in_from = frame.is_query && !after_distinct;
                    frame.joins += usize::from(word.keyword == Keyword::JOIN);
                }
                Keyword::WHEN => {
                    branches += 1;
                    if branches > BRANCHES_MAX {
                        return too_complex();
                    }
                }
                Keyword::VALUES => {
                    frame.operators = 0;
                    frame.is_query = false;
                    frame.is_arguments = false;
                    frame.in_from = false;
                }
                Keyword::WHERE | Keyword::GROUP | Keyword::HAVING | Keyword::ORDER | Keyword::ON => {
                    frame.operators = 0;
                    frame.in_from = false;
                }
                Keyword::AND
                | Keyword::OR
                | Keyword::NOT
                | Keyword::IS
                | Keyword::IN
                | Keyword::LIKE
                | Keyword::ILIKE
                | Keyword::BETWEEN
                | Keyword::AT
                | Keyword::COLLATE => frame.operators += 1,
                _ => {}
            },
            other if is_operator(other) => frame.operators += 1,
            _ => {}
        }
        if after_like && is_long(&token.token) {
            let message = "pattern of LIKE is too long";
            return Err(Error::new(ErrorKind::ProgramLimitExceeded, message)
                .with_detail(format!("The limit is {PATTERN_BYTES_MAX} bytes.")));
        }
        let goes_on = match token.token {
            Token::Period => true,
            Token::Word(_) => after_period,
            _ => false,
        };
        if !goes_on {
            name_parts = 0;
        }
        after_period = token.token == Token::Period;
        after_like =
            matches!(&token.token, Token::Word(word) if matches!(word.keyword, Keyword::LIKE | Keyword::ILIKE));
        after_name = is_name(&token.token);
        after_distinct = matches!(&token.token, Token::Word(word) if word.keyword == Keyword::DISTINCT);
        if let Some(frame) = frames.last()
            && (frame.operators > CHAIN_MAX || frame.set_operations > CHAIN_MAX || frame.joins > CHAIN_MAX)
        {
            return too_complex();
        }
    }
    Ok(deepest)
}

/// Nesting that any thread's stack is enough for.
const ORDINARY_NESTING_MAX: usize = 12;
/// Stack for the deepest text; in a debug build a level of the parser takes up to 100 KiB. Pages never used cost nothing.
const LARGE_STACK_BYTES: usize = 64 << 20;

/// Runs the parser, on a thread of its own when it will go deep. Few statements need one.
pub(super) fn on_large_stack<T: Send>(depth: usize, parse: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    if depth <= ORDINARY_NESTING_MAX {
        return parse();
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("staffa-parse".to_string())
            .stack_size(LARGE_STACK_BYTES);
        let running = thread.spawn_scoped(scope, parse).map_err(|error| {
            Error::new(
                ErrorKind::OutOfMemory,
                "could not start a thread to parse the statement",
            )
            .with_detail(error.to_string())
        })?;
        running
            .join()
            .unwrap_or_else(|_| Err(Error::internal("the parser failed on this statement")))
    })
}

#[derive(Default)]
struct Frame {
    operators: usize,
    set_operations: usize,
    joins: usize,
    /// How many queries it is inside of, each in an expression of the next.
    queries: usize,
    /// Whether it is a SELECT.
    is_query: bool,
    /// Whether it stands after a name in an expression of a SELECT.
    is_arguments: bool,
    /// Those of a SELECT but in FROM: between its columns, and between its keys.
    commas: usize,
    /// Whether what follows is a relation.
    in_from: bool,
}

fn is_prefix(token: &Token) -> bool {
    match token {
        Token::Plus | Token::Minus | Token::Tilde | Token::AtSign | Token::ExclamationMark => true,
        Token::Word(word) => word.keyword == Keyword::NOT,
        _ => false,
    }
}

fn is_name(token: &Token) -> bool {
    match token {
        Token::Word(word) => !matches!(
            word.keyword,
            Keyword::FROM | Keyword::JOIN | Keyword::LATERAL | Keyword::IN | Keyword::VALUES
        ),
        _ => false,
    }
}

fn is_long(token: &Token) -> bool {
    matches!(token, Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) if text.len() > PATTERN_BYTES_MAX)
}

/// Whatever is neither a name, a value nor punctuation joins two operands.
fn is_operator(token: &Token) -> bool {
    !matches!(
        token,
        Token::Word(_)
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::NationalStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::DollarQuotedString(_)
            | Token::SingleQuotedByteStringLiteral(_)
            | Token::Placeholder(_)
            | Token::Period
            | Token::SemiColon
            | Token::EOF
    )
}

fn too_complex() -> Error {
    Error::new(ErrorKind::StatementTooComplex, "stack depth limit exceeded")
        .with_detail(format!(
            "A statement may nest {NESTING_MAX} levels deep, {SUBQUERIES_MAX} subqueries in expressions, and chain {CHAIN_MAX} operators in one expression."
        ))
        .with_hint("Use IN (…) or a join with a VALUES list instead of long chains of OR.")
}
