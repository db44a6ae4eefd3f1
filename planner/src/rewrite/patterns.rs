//! Patterns of texts.
//!
//! | before | after |
//! |---|---|
//! | `x ~ p` | `x ~ staffa_pattern(p)`: in the words of DataFusion's operator |
//! | `x similar to p escape e` | `x ~ staffa_pattern(similar_to_escape(p, e))` |
//! | `substring(x from p)`, `substring(x from p for e)` | `staffa_substring(x, p)`, `staffa_substring(x, similar_to_escape(p, e))` |
//!
//! `substring(x from y)` must not fire where `y` is a place: it is taken for a pattern where its form says that it is a text.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Value};
use staffa_catalog::SqlType;

use super::{call, taken};
use crate::function::{PATTERN, SUBSTRING};
use crate::type_planner::sql_type_of_ast;

pub(super) fn expression(expression: &mut Expr) {
    match expression {
        Expr::BinaryOp {
            op:
                BinaryOperator::PGRegexMatch
                | BinaryOperator::PGRegexIMatch
                | BinaryOperator::PGRegexNotMatch
                | BinaryOperator::PGRegexNotIMatch,
            right,
            ..
        } => {
            let pattern = taken(right);
            **right = call(PATTERN, vec![pattern]);
        }
        Expr::SimilarTo {
            negated,
            expr,
            pattern,
            escape_char,
        } => {
            let escape = escape_char.take().map(Expr::Value);
            let pattern = similar(taken(pattern), escape);
            *expression = Expr::BinaryOp {
                op: match negated {
                    true => BinaryOperator::PGRegexNotMatch,
                    false => BinaryOperator::PGRegexMatch,
                },
                left: Box::new(taken(expr)),
                right: Box::new(call(PATTERN, vec![pattern])),
            };
        }
        Expr::Substring {
            expr,
            substring_from: Some(from),
            substring_for,
            shorthand: false,
            ..
        } if is_text(from) && substring_for.as_deref().is_none_or(is_text) => {
            let pattern = match substring_for.take() {
                Some(escape) => similar(taken(from), Some(*escape)),
                None => taken(from),
            };
            *expression = call(SUBSTRING, vec![taken(expr), pattern]);
        }
        _ => {}
    }
}

fn similar(pattern: Expr, escape: Option<Expr>) -> Expr {
    call(
        "similar_to_escape",
        [Some(pattern), escape].into_iter().flatten().collect(),
    )
}

fn is_text(expression: &Expr) -> bool {
    match expression {
        Expr::Value(value) => matches!(
            value.value,
            Value::SingleQuotedString(_) | Value::EscapedStringLiteral(_) | Value::DollarQuotedString(_)
        ),
        Expr::Cast { data_type, .. } => matches!(sql_type_of_ast(data_type), Ok(SqlType::Text | SqlType::Varchar(_))),
        Expr::BinaryOp {
            op: BinaryOperator::StringConcat,
            ..
        } => true,
        Expr::Nested(inner) => is_text(inner),
        _ => false,
    }
}

/// `(a, b) overlaps (c, d)` as a call.
pub(super) fn overlaps(expression: &mut Expr) {
    let Expr::BinaryOp {
        op: BinaryOperator::Overlaps,
        left,
        right,
    } = expression
    else {
        return;
    };
    let (Some(first), Some(second)) = (pair(left), pair(right)) else {
        return;
    };
    let mut arguments = Vec::with_capacity(4);
    for [start, end] in [first, second] {
        let end = match is_interval(&end) {
            true => Expr::Nested(Box::new(Expr::BinaryOp {
                left: Box::new(start.clone()),
                op: BinaryOperator::Plus,
                right: Box::new(end),
            })),
            false => end,
        };
        arguments.extend([start, end]);
    }
    *expression = call("overlaps", arguments);
}

/// The parts of `(a, b)` and of `row(a, b)`.
fn pair(row: &Expr) -> Option<[Expr; 2]> {
    match row {
        Expr::Tuple(parts) => <[Expr; 2]>::try_from(parts.clone()).ok(),
        Expr::Function(function) if crate::resolve::shown(&function.name) == "row" => {
            let FunctionArguments::List(list) = &function.args else {
                return None;
            };
            let plain = |argument: &FunctionArg| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(part)) => Some(part.clone()),
                _ => None,
            };
            let parts: Option<Vec<Expr>> = list.args.iter().map(plain).collect();
            <[Expr; 2]>::try_from(parts?).ok()
        }
        _ => None,
    }
}

fn is_interval(expression: &Expr) -> bool {
    match expression {
        Expr::Interval(_) => true,
        Expr::Cast { data_type, .. } => sql_type_of_ast(data_type).is_ok_and(|ty| *ty.plain() == SqlType::Interval),
        Expr::Nested(inner) => is_interval(inner),
        _ => false,
    }
}
