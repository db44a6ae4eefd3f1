//! What PostgreSQL's grammar refuses and sqlparser takes, or notices only some words later.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use datafusion::sql::sqlparser::ast::{
    JoinConstraint, JoinOperator, Query, Select, SetExpr, Spanned, TableFactor, TableWithJoins, Value, ValueWithSpan,
    Visitor,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::ParsedStatement;
use super::ast::{Ast, CopySource};
use super::tokens::{Lexed, offset_of, position_of, positions_of_words, syntax_error_near};
use crate::error::{Error, ErrorKind, Result};
use crate::pg_catalog::facts;
use crate::walk::Visit;

/// Words that are no names without quotes.
static RESERVED: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    let words = facts::keywords().filter(|[_, category, ..]| *category == "R");
    words.map(|[word, ..]| word).collect()
});

/// Whether the grammar keeps a word (in lower case) to itself.
pub(crate) fn is_reserved(word: &str) -> bool {
    RESERVED.contains(word)
}

/// The first of these tokens (of a query, or a change of rows) that cannot follow those before it; it may be the end.
pub(super) fn first_wrong(tokens: &[TokenWithSpan]) -> Option<usize> {
    let mut scan = Scan {
        tokens,
        brackets: Vec::new(),
        after_array: false,
    };
    (1..=tokens.len()).find(|at| scan.is_wrong(*at))
}

struct Scan<'a> {
    tokens: &'a [TokenWithSpan],
    /// The parentheses and brackets that are open.
    brackets: Vec<Bracket>,
    /// Whether the token before closes `ARRAY[…]`.
    after_array: bool,
}

/// An open parenthesis or bracket.
struct Bracket {
    is_square: bool,
    /// Whether it stands behind ARRAY.
    of_array: bool,
    /// Whether it stands behind NULLIF, whose two arguments are grammar.
    of_nullif: bool,
    commas: usize,
}

impl Scan<'_> {
    fn token(&self, at: usize) -> Option<&Token> {
        self.tokens.get(at).map(|token| &token.token)
    }

    /// The word there, unless it is a name: in quotes, behind a point or behind AS.
    fn keyword(&self, at: usize) -> Keyword {
        let behind = at.checked_sub(1).and_then(|before| self.token(before));
        let is_name = match behind {
            Some(Token::Period) => true,
            Some(Token::Word(word)) => word.keyword == Keyword::AS,
            _ => false,
        };
        match self.token(at) {
            Some(Token::Word(word)) if word.quote_style.is_none() && !is_name => word.keyword,
            _ => Keyword::NoKeyword,
        }
    }

    fn keyword_before(&self, at: usize, distance: usize) -> Keyword {
        at.checked_sub(distance)
            .map_or(Keyword::NoKeyword, |at| self.keyword(at))
    }

    fn is_word(&self, at: usize, words: &[&str]) -> bool {
        matches!(self.token(at), Some(Token::Word(word))
            if word.quote_style.is_none() && words.iter().any(|wanted| word.value.eq_ignore_ascii_case(wanted)))
    }

    fn is_wrong(&mut self, at: usize) -> bool {
        self.count_brackets(at - 1);
        let (before, next) = (self.keyword(at - 1), self.keyword(at));
        let Some(token) = self.token(at) else {
            return matches!(before, Keyword::ORDER | Keyword::GROUP) && at > 1;
        };
        let in_bracket = self.brackets.last().is_some_and(|bracket| bracket.is_square);
        if let Some(Bracket {
            of_nullif: true,
            commas,
            ..
        }) = self.brackets.last()
            && (*token == Token::RParen && *commas == 0 || *token == Token::Comma && *commas == 1)
        {
            return true;
        }
        match (&self.tokens[at - 1].token, token) {
            (Token::SingleQuotedString(_), Token::SingleQuotedString(_)) => return true,
            (Token::Word(word), Token::SingleQuotedString(_)) if word.keyword == Keyword::AS => return true,
            (_, Token::LBracket) if !in_bracket && self.expects_value(at) => return true,
            (Token::RBracket, Token::LBracket) if self.after_array => return true,
            (_, Token::Colon) if !in_bracket => return true,
            (Token::LParen | Token::Comma, Token::Word(_)) if matches!(next, Keyword::ORDER | Keyword::GROUP) => {
                return self.token(at + 1) != Some(&Token::LParen) && self.keyword(at + 1) != Keyword::BY;
            }
            (Token::LParen, Token::RParen) if at > 1 => {
                return self.is_word(at - 2, &["coalesce", "greatest", "least", "nullif"])
                    && at.checked_sub(3).and_then(|at| self.token(at)) != Some(&Token::Period);
            }
            (_, Token::Mul) if before == Keyword::DISTINCT => {
                return matches!(at.checked_sub(2).and_then(|at| self.token(at)), Some(Token::LParen));
            }
            (_, Token::Period) => return is_call(before),
            _ => {}
        }
        match before {
            Keyword::ORDER | Keyword::GROUP if *token != Token::LParen && next != Keyword::BY => return true,
            Keyword::INSERT if at == 1 => return !matches!(next, Keyword::INTO | Keyword::OVERWRITE),
            Keyword::DELETE if at == 1 => return next != Keyword::FROM,
            Keyword::WITH if next == Keyword::SELECT => return true,
            Keyword::JOIN | Keyword::FROM if is_clause(next) => return true,
            Keyword::FILTER if *token != Token::LParen && at > 1 => return self.token(at - 2) == Some(&Token::RParen),
            Keyword::TOP if matches!(token, Token::Number(..)) => {
                return self.keyword_before(at, 2) == Keyword::SELECT;
            }
            Keyword::ALL | Keyword::DISTINCT if self.keyword_before(at, 2) == Keyword::SELECT => {
                return matches!(next, Keyword::ALL | Keyword::DISTINCT)
                    || before == Keyword::DISTINCT && next != Keyword::ON && is_clause(next);
            }
            _ => {}
        }
        is_clause(next) && !(before == Keyword::CASE && next == Keyword::WHEN) && self.expects_value(at)
            || self.ends_target(at)
    }

    fn count_brackets(&mut self, at: usize) {
        self.after_array = false;
        match self.token(at) {
            Some(opening @ (Token::LParen | Token::LBracket)) => {
                let is_square = *opening == Token::LBracket;
                let is_call = at > 0 && !matches!(at.checked_sub(2).and_then(|at| self.token(at)), Some(Token::Period));
                self.brackets.push(Bracket {
                    is_square,
                    of_array: is_square && self.keyword_before(at, 1) == Keyword::ARRAY,
                    of_nullif: !is_square && is_call && self.is_word(at - 1, &["nullif"]),
                    commas: 0,
                });
            }
            Some(Token::Comma) => {
                if let Some(bracket) = self.brackets.last_mut() {
                    bracket.commas += 1;
                }
            }
            Some(Token::RParen) => {
                self.brackets.pop();
            }
            Some(Token::RBracket) => self.after_array = self.brackets.pop().is_some_and(|bracket| bracket.of_array),
            _ => {}
        }
    }

    /// Whether only a value can stand there.
    fn expects_value(&self, at: usize) -> bool {
        match &self.tokens[at - 1].token {
            Token::Comma
            | Token::Eq
            | Token::Neq
            | Token::Lt
            | Token::Gt
            | Token::LtEq
            | Token::GtEq
            | Token::Plus
            | Token::Minus
            | Token::Div
            | Token::Mod
            | Token::StringConcat => true,
            Token::Word(_) => {
                matches!(
                    self.keyword(at - 1),
                    Keyword::WHERE
                        | Keyword::AND
                        | Keyword::OR
                        | Keyword::HAVING
                        | Keyword::BY
                        | Keyword::CASE
                        | Keyword::WHEN
                        | Keyword::THEN
                        | Keyword::ELSE
                        | Keyword::LIMIT
                ) || self.keyword(at - 1) == Keyword::SELECT && self.token(at) == Some(&Token::LBracket)
            }
            _ => false,
        }
    }

    /// `INSERT INTO t` goes on with few words.
    fn ends_target(&self, at: usize) -> bool {
        const NEXT: &[&str] = &[
            "as",
            "values",
            "select",
            "with",
            "default",
            "overriding",
            "table",
            "partition",
        ];
        if self.keyword(0) != Keyword::INSERT || self.keyword(1) != Keyword::INTO || at < 3 || at.is_multiple_of(2) {
            return false;
        }
        let is_name = |at: usize| match at.is_multiple_of(2) {
            true => matches!(self.token(at), Some(Token::Word(_))),
            false => self.token(at) == Some(&Token::Period),
        };
        (2..at).all(is_name)
            && !self.is_word(2, &["table"])
            && matches!(self.token(at), Some(Token::Word(_)))
            && !self.is_word(at, NEXT)
    }
}

/// Words that begin or join clauses, and never a value.
fn is_clause(word: Keyword) -> bool {
    matches!(
        word,
        Keyword::FROM
            | Keyword::WHERE
            | Keyword::GROUP
            | Keyword::HAVING
            | Keyword::ORDER
            | Keyword::LIMIT
            | Keyword::OFFSET
            | Keyword::UNION
            | Keyword::INTERSECT
            | Keyword::EXCEPT
            | Keyword::WHEN
            | Keyword::THEN
            | Keyword::ELSE
            | Keyword::END
            | Keyword::AND
            | Keyword::OR
            | Keyword::ON
            | Keyword::USING
            | Keyword::INTO
            | Keyword::AS
            | Keyword::ASC
            | Keyword::DESC
            | Keyword::RETURNING
            | Keyword::WINDOW
    )
}

/// Words that are calls without parentheses.
fn is_call(word: Keyword) -> bool {
    matches!(
        word,
        Keyword::USER
            | Keyword::CURRENT_USER
            | Keyword::SESSION_USER
            | Keyword::CURRENT_ROLE
            | Keyword::CURRENT_DATE
            | Keyword::CURRENT_TIME
            | Keyword::CURRENT_TIMESTAMP
            | Keyword::LOCALTIME
            | Keyword::LOCALTIMESTAMP
    )
}

/// What stands in a statement's tree that the grammar would not have let in.
pub(super) fn check(statement: &ParsedStatement) -> Result<()> {
    check_ast(&statement.ast, &statement.text)
}

fn check_ast(ast: &Ast, text: &str) -> Result<()> {
    match ast {
        Ast::Query(query) => check_part(query, text),
        Ast::Insert(insert) | Ast::Overriding(insert, _) => check_part(insert, text),
        Ast::Update(update) => check_part(update, text),
        Ast::Delete(delete) => check_part(delete, text),
        Ast::With(with, statement) => {
            check_part(with, text)?;
            check_ast(statement, text)
        }
        Ast::Declare(declare) => check_part(&declare.query, text),
        Ast::CreateView(create) => check_part(&create.query, text),
        Ast::CreateTable(create) => create.query.as_ref().map_or(Ok(()), |query| check_part(query, text)),
        Ast::Copy {
            source: CopySource::Query(query),
            ..
        } => check_part(query, text),
        Ast::Explain(explain) => check_ast(&explain.statement, text),
        _ => Ok(()),
    }
}

fn check_part(part: &impl Visit, text: &str) -> Result<()> {
    match part.visit(&mut Check { text }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Check<'a> {
    text: &'a str,
}

impl Visitor for Check<'_> {
    type Break = Error;

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Error> {
        for table in &select.from {
            self.joins(table)?;
        }
        ControlFlow::Continue(())
    }

    /// The digits of `B'…'` and `X'…'`.
    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<Error> {
        let (digits, radix, name) = match &value.value {
            Value::SingleQuotedByteStringLiteral(digits) => (digits, 2, "binary"),
            Value::HexStringLiteral(digits) => (digits, 16, "hexadecimal"),
            _ => return ControlFlow::Continue(()),
        };
        let Some(digit) = digits.chars().find(|c| !c.is_digit(radix)) else {
            return ControlFlow::Continue(());
        };
        let message = format!("\"{digit}\" is not a valid {name} digit");
        let error = Error::new(ErrorKind::InvalidTextRepresentation, message);
        ControlFlow::Break(match position_of(self.text, value.span.start) {
            Some(position) => error.with_position(position),
            None => error,
        })
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Error> {
        match factor {
            TableFactor::Derived {
                alias: None, subquery, ..
            } => ControlFlow::Break(self.without_alias(subquery)),
            TableFactor::NestedJoin { table_with_joins, .. } => self.joins(table_with_joins),
            _ => ControlFlow::Continue(()),
        }
    }
}

impl Check<'_> {
    /// Every join but CROSS and NATURAL has a condition.
    fn joins(&self, table: &TableWithJoins) -> ControlFlow<Error> {
        for join in &table.joins {
            let without = matches!(
                &join.join_operator,
                JoinOperator::Join(JoinConstraint::None)
                    | JoinOperator::Inner(JoinConstraint::None)
                    | JoinOperator::Left(JoinConstraint::None)
                    | JoinOperator::LeftOuter(JoinConstraint::None)
                    | JoinOperator::Right(JoinConstraint::None)
                    | JoinOperator::RightOuter(JoinConstraint::None)
                    | JoinOperator::FullOuter(JoinConstraint::None)
            );
            if without && let Some(end) = offset_of(self.text, join.relation.span().end) {
                return ControlFlow::Break(self.unexpected_behind(end));
            }
        }
        ControlFlow::Continue(())
    }

    /// The syntax error of what follows so many bytes.
    fn unexpected_behind(&self, end: usize) -> Error {
        let next = Lexed::new(self.text).ok().and_then(|lexed| {
            // A parenthesis belongs to what was before it.
            let mut places = lexed.places.into_iter().zip(lexed.tokens);
            let next = places.find(|(place, token)| place.bytes.start >= end && token.token != Token::RParen);
            next.map(|(place, _)| place)
        });
        match next {
            Some(place) => syntax_error_near(&self.text[place.bytes], place.characters_before + 1),
            None => Error::new(ErrorKind::SyntaxError, "syntax error at end of input")
                .with_position(self.text.chars().count() + 1),
        }
    }

    fn without_alias(&self, subquery: &Query) -> Error {
        let (what, shown, words): (_, _, &[&str]) = match subquery.body.as_ref() {
            SetExpr::Values(_) => ("VALUES", "VALUES", &["values", "("]),
            _ => ("subquery", "SELECT", &["("]),
        };
        let error = Error::new(ErrorKind::SyntaxError, format!("{what} in FROM must have an alias"))
            .with_hint(format!("For example, FROM ({shown} ...) [AS] foo."));
        let mut position = position_of(self.text, subquery.span().start);
        for word in words {
            let before = positions_of_words(self.text, &[word]).into_iter().rev();
            position = position.and_then(|position| before.into_iter().find(|found| *found < position));
        }
        match position {
            Some(position) => error.with_position(position),
            None => error,
        }
    }
}
