//! sqlparser's PostgreSQL dialect, but for fifteen things.
//!
//! `SELECT * EXCLUDE (…)`, `SELECT * REPLACE (…)` and `ORDER BY ALL` are understood; PostgreSQL has no statement they could be.
//!
//! Tables have versions: `FROM t AT (…)`.
//!
//! `TRIM (LEADING FROM x)` needs no characters, and COLLATE may follow a cast.
//!
//! `x BETWEEN SYMMETRIC a AND b` is there.
//!
//! `x IN ((SELECT …), y)` is a list.
//!
//! `((SELECT …) UNION …)` and `((SELECT …) ORDER BY 1)` are queries where values stand, too.
//! So are `(VALUES …)` and `ANY (VALUES …)`.
//!
//! `NOT EXISTS (…) IS UNKNOWN` is `NOT (EXISTS (…) IS UNKNOWN)`.
//!
//! `INTERVAL (2) '1.234'` has its digits, which sqlparser forgets.
//!
//! What follows `IS [NOT] DISTINCT FROM` ends at the next AND or OR; sqlparser takes these into it.
//!
//! A function's argument is never read as an expression first to see whether a name operator follows it (`f(a.b => 1)`,
//! which PostgreSQL does not have either): sqlparser reads such an argument twice, so `f(f(f(…)))` costs 2^depth. Names
//! that are identifiers (`f(a => 1)`) go on working.
//!
//! `f(a := 1)` names an argument, as `f(a => 1)` does.
//!
//! `!x` is an operator before a value, which PostgreSQL does not have either, but says so of its type.
//!
//! Options of columns that are other databases' (`AUTO_INCREMENT`) end a column's definition; sqlparser drops them unseen.
//!
//! Everything else is handed to `PostgreSqlDialect`.

use std::any::TypeId;

use datafusion::sql::sqlparser::ast::{BinaryOperator, ColumnOption, Expr, Interval, UnaryOperator};
use datafusion::sql::sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::is_reserved;

/// The dialect of every query text.
#[derive(Debug)]
pub(crate) struct Postgres;

const BASE: PostgreSqlDialect = PostgreSqlDialect {};

/// Answers a question as `PostgreSqlDialect` does.
macro_rules! as_postgres {
    ($($question:ident),* $(,)?) => {
        $(fn $question(&self) -> bool {
            BASE.$question()
        })*
    };
}

impl Dialect for Postgres {
    /// The parser asks for the dialect's type where no question fits: be the base's.
    fn dialect(&self) -> TypeId {
        BASE.dialect()
    }

    fn supports_named_fn_args_with_expr_name(&self) -> bool {
        false
    }

    fn supports_named_fn_args_with_assignment_operator(&self) -> bool {
        true
    }

    /// `FROM t AT (…)`; see `parse/version.rs` for what is told apart before the parser looks.
    fn supports_table_versioning(&self) -> bool {
        true
    }

    fn supports_select_wildcard_exclude(&self) -> bool {
        true
    }

    fn supports_select_wildcard_replace(&self) -> bool {
        true
    }

    fn supports_bang_not_operator(&self) -> bool {
        true
    }

    fn supports_order_by_all(&self) -> bool {
        true
    }

    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        let keyword = |at: usize| match &parser.peek_nth_token_ref(at).token {
            Token::Word(word) => word.keyword,
            _ => Keyword::NoKeyword,
        };
        let is_trim = keyword(0) == Keyword::TRIM && parser.peek_nth_token_ref(1).token == Token::LParen;
        let is_side = matches!(keyword(2), Keyword::BOTH | Keyword::LEADING | Keyword::TRAILING);
        if is_trim && keyword(2 + usize::from(is_side)) == Keyword::FROM {
            return Some(trim_of_blanks(parser, is_side));
        }
        if keyword(0) == Keyword::INTERVAL && parser.peek_nth_token_ref(1).token == Token::LParen {
            return interval_of_digits(parser);
        }
        if keyword(0) == Keyword::VALUES && parser.peek_nth_token_ref(1).token == Token::LParen {
            return Some(parser.parse_query().map(Expr::Subquery));
        }
        if keyword(0) == Keyword::NOT && keyword(1) == Keyword::EXISTS {
            return Some(not_exists(parser));
        }
        if is_longer_query(parser) {
            return Some(parser.parse_query().map(Expr::Subquery));
        }
        BASE.parse_prefix(parser)
    }

    fn parse_column_option(
        &self,
        parser: &mut Parser<'_>,
    ) -> Result<Option<Result<Option<ColumnOption>, ParserError>>, ParserError> {
        let is_foreign = match &parser.peek_token_ref().token {
            Token::Word(word) => matches!(
                word.keyword,
                Keyword::AUTO_INCREMENT
                    | Keyword::AUTOINCREMENT
                    | Keyword::ASC
                    | Keyword::DESC
                    | Keyword::ON
                    | Keyword::AS
                    | Keyword::SRID
                    | Keyword::IDENTITY
            ),
            _ => false,
        };
        Ok(is_foreign.then_some(Ok(None)))
    }

    fn parse_infix(&self, parser: &mut Parser<'_>, expr: &Expr, precedence: u8) -> Option<Result<Expr, ParserError>> {
        let (distinct, not_distinct) = (
            [Keyword::IS, Keyword::DISTINCT, Keyword::FROM].as_slice(),
            [Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM].as_slice(),
        );
        if let Some(negated) = in_subqueries(parser) {
            return Some(in_list(parser, expr, negated));
        }
        if let Some(negated) = between_symmetric(parser) {
            return Some(symmetric(parser, expr, negated));
        }
        let comparison = if parser.parse_keywords(distinct) {
            Expr::IsDistinctFrom
        } else if parser.parse_keywords(not_distinct) {
            Expr::IsNotDistinctFrom
        } else if parser.parse_keyword(Keyword::COLLATE) {
            let collation = parser.parse_object_name(false);
            return Some(collation.map(|collation| Expr::Collate {
                expr: Box::new(expr.clone()),
                collation,
            }));
        } else {
            return BASE.parse_infix(parser, expr, precedence);
        };
        let right = parser.parse_subexpr(self.prec_value(Precedence::Is));
        Some(right.map(|right| comparison(Box::new(expr.clone()), Box::new(right))))
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        BASE.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        BASE.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        BASE.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        BASE.is_identifier_part(ch)
    }

    /// CASE is no column: what is wrong in it is told then, not what would follow the column.
    fn is_reserved_for_identifier(&self, kw: Keyword) -> bool {
        matches!(kw, Keyword::CASE | Keyword::CAST | Keyword::ARRAY | Keyword::NOT)
            || BASE.is_reserved_for_identifier(kw)
    }

    fn is_custom_operator_part(&self, ch: char) -> bool {
        BASE.is_custom_operator_part(ch)
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        BASE.get_next_precedence(parser)
    }

    fn prec_value(&self, prec: Precedence) -> u8 {
        BASE.prec_value(prec)
    }

    as_postgres!(
        supports_unicode_string_literal,
        supports_filter_during_aggregation,
        supports_group_by_expr,
        allow_extract_custom,
        allow_extract_single_quotes,
        supports_create_index_with_clause,
        supports_explain_with_utility_options,
        supports_listen_notify,
        supports_factorial_operator,
        supports_bitwise_shift_operators,
        supports_comment_on,
        supports_load_extension,
        supports_named_fn_args_with_colon_operator,
        supports_empty_projections,
        supports_nested_comments,
        supports_string_escape_constant,
        supports_numeric_literal_underscores,
        supports_array_typedef_with_brackets,
        supports_geometric_types,
        supports_set_names,
        supports_alter_column_type_using,
        supports_notnull_operator,
        supports_interval_options,
        supports_insert_table_alias,
        supports_create_table_like_parenthesized,
        supports_comma_separated_trim,
        supports_xml_expressions,
        supports_comment_optimizer_hint,
    );
}

/// Whether `IN ((SELECT …), …` comes next, which the parser takes for a subquery alone, with NOT or without.
fn in_subqueries(parser: &Parser<'_>) -> Option<bool> {
    let token = |at: usize| &parser.peek_nth_token_ref(at).token;
    let is_word = |at: usize, wanted: Keyword| matches!(token(at), Token::Word(word) if word.keyword == wanted);
    let negated = is_word(0, Keyword::NOT);
    let start = usize::from(negated);
    let is_list =
        is_word(start, Keyword::IN) && token(start + 1) == &Token::LParen && token(start + 2) == &Token::LParen;
    if !is_list
        || ![Keyword::SELECT, Keyword::WITH, Keyword::VALUES]
            .iter()
            .any(|word| is_word(start + 3, *word))
    {
        return None;
    }
    let mut open = 0_usize;
    for at in start + 2.. {
        match token(at) {
            Token::LParen => open += 1,
            Token::RParen => open -= 1,
            Token::EOF => return None,
            _ => {}
        }
        if open == 0 {
            return (token(at + 1) == &Token::Comma).then_some(negated);
        }
    }
    None
}

/// NOT is of all that follows: `not exists (…) is unknown` is `not (exists (…) is unknown)`.
fn not_exists(parser: &mut Parser<'_>) -> Result<Expr, ParserError> {
    parser.advance_token();
    Ok(match parser.parse_subexpr(BASE.prec_value(Precedence::UnaryNot))? {
        Expr::Exists {
            subquery,
            negated: false,
        } => Expr::Exists {
            subquery,
            negated: true,
        },
        other => Expr::UnaryOp {
            op: UnaryOperator::Not,
            expr: Box::new(other),
        },
    })
}

/// Whether a query in parentheses comes next of which a longer one is made, that stands in parentheses itself.
fn is_longer_query(parser: &Parser<'_>) -> bool {
    let token = |at: usize| &parser.token_at(parser.index() + at).token;
    let keyword = |token: &Token| match token {
        Token::Word(word) => word.keyword,
        _ => Keyword::NoKeyword,
    };
    if token(0) != &Token::LParen || parser.get_current_token().token != Token::LParen {
        return false;
    }
    let Some(start) = (1..).find(|at| token(*at) != &Token::LParen) else {
        return false;
    };
    if !matches!(keyword(token(start)), Keyword::SELECT | Keyword::WITH | Keyword::VALUES) {
        return false;
    }
    let mut open = 0_usize;
    let mut closing = (0..).take_while(|at| token(*at) != &Token::EOF).filter(|at| {
        match token(*at) {
            Token::LParen => open += 1,
            Token::RParen => open -= 1,
            _ => {}
        }
        open == 0
    });
    // `array_agg((select 1) order by 1)` orders what is aggregated.
    let is_call = match &parser.get_previous_token().token {
        Token::Word(word) => !is_reserved(&word.value.to_lowercase()),
        _ => false,
    };
    match closing.next().map(|end| keyword(token(end + 1))) {
        Some(Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT) => true,
        Some(Keyword::ORDER | Keyword::LIMIT | Keyword::OFFSET | Keyword::FETCH) => !is_call,
        _ => false,
    }
}

/// The list that [`in_subqueries`] found.
fn in_list(parser: &mut Parser<'_>, expr: &Expr, negated: bool) -> Result<Expr, ParserError> {
    if negated {
        parser.expect_keyword(Keyword::NOT)?;
    }
    parser.expect_keyword(Keyword::IN)?;
    parser.expect_token(&Token::LParen)?;
    let list = parser.parse_comma_separated(Parser::parse_expr)?;
    parser.expect_token(&Token::RParen)?;
    Ok(Expr::InList {
        expr: Box::new(expr.clone()),
        list,
        negated,
    })
}

/// Whether `BETWEEN SYMMETRIC` comes next, which the parser does not know, with NOT or without; it then stands behind it.
fn between_symmetric(parser: &mut Parser<'_>) -> Option<bool> {
    let is_word = |at: usize, wanted: &str| match &parser.peek_nth_token_ref(at).token {
        Token::Word(word) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted),
        _ => false,
    };
    let negated = is_word(0, "not");
    let between = usize::from(negated);
    if !is_word(between, "between") || !is_word(between + 1, "symmetric") {
        return None;
    }
    for _ in 0..between + 2 {
        parser.advance_token();
    }
    Some(negated)
}

/// `x BETWEEN a AND b OR x BETWEEN b AND a`; the parser stands before `a`.
fn symmetric(parser: &mut Parser<'_>, expr: &Expr, negated: bool) -> Result<Expr, ParserError> {
    let precedence = BASE.prec_value(Precedence::Between);
    let first = parser.parse_subexpr(precedence)?;
    parser.expect_keyword(Keyword::AND)?;
    let second = parser.parse_subexpr(precedence)?;
    let between = |low: &Expr, high: &Expr| Expr::Between {
        expr: Box::new(expr.clone()),
        negated: false,
        low: Box::new(low.clone()),
        high: Box::new(high.clone()),
    };
    let either = Expr::Nested(Box::new(Expr::BinaryOp {
        left: Box::new(between(&first, &second)),
        op: BinaryOperator::Or,
        right: Box::new(between(&second, &first)),
    }));
    Ok(match negated {
        true => Expr::UnaryOp {
            op: UnaryOperator::Not,
            expr: Box::new(either),
        },
        false => either,
    })
}

/// `INTERVAL (2) '1.234'`, whose digits the parser forgets; it stands before it. `None` for what is no such literal.
fn interval_of_digits(parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
    let token = |at: usize| &parser.peek_nth_token_ref(at).token;
    let digits = match (token(2), token(3), token(4)) {
        (Token::Number(digits, false), Token::RParen, Token::SingleQuotedString(_)) => digits.parse().ok()?,
        _ => return None,
    };
    for _ in 0..4 {
        parser.advance_token();
    }
    let value = parser.parse_value().map(|value| Box::new(Expr::Value(value)));
    Some(value.map(|value| {
        Expr::Interval(Interval {
            value,
            leading_field: None,
            leading_precision: Some(digits),
            last_field: None,
            fractional_seconds_precision: None,
        })
    }))
}

/// `TRIM ([side] FROM x)`; the parser stands before it.
fn trim_of_blanks(parser: &mut Parser<'_>, is_side: bool) -> Result<Expr, ParserError> {
    parser.expect_keyword(Keyword::TRIM)?;
    parser.expect_token(&Token::LParen)?;
    let side = match is_side {
        true => Some(parser.parse_trim_where()?),
        false => None,
    };
    parser.expect_keyword(Keyword::FROM)?;
    let expr = Box::new(parser.parse_expr()?);
    let characters = match parser.consume_token(&Token::Comma) {
        true => Some(Box::new(parser.parse_expr()?)),
        false => None,
    };
    parser.expect_token(&Token::RParen)?;
    Ok(Expr::Trim {
        expr,
        trim_where: side,
        trim_what: characters,
        trim_characters: None,
    })
}
