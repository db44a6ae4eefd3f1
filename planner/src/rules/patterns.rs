//! LIKE and regular expressions where PostgreSQL's answer is another than DataFusion's.
//!
//! | before | after |
//! |---|---|
//! | `c like 'a_'`, `c ~ 'a$'` of a `char(n)` | the same of `c` with its blanks |
//! | `t like 'a\'` | `staffa_like(t, 'a\')`, which fails where the pattern's end is asked for |
//!
//! Must not fire on `c like 'a%'`, which blanks at the end do not change, and by which files are pruned. Runs after type
//! coercion, so that parameters, which become literals when they are bound, are seen in their last form.

use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::expr::Like;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use datafusion::scalar::ScalarValue;
use staffa_catalog::SqlType;

use super::characters::char_length;
use super::map_expressions;
use crate::function::{like_text, padded, typed};

pub(super) fn settle(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| map_expressions(plan, |inner, schema| Ok(settled(inner, schema))))
        .data()
}

fn settled(expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expression {
        Expr::Like(like) => liked(like, schema),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match like_operator(op) {
            Some((negated, ignores_case)) => {
                let settled = liked(Like::new(negated, left, right, None, ignores_case), schema);
                match settled.data {
                    // The operator stays what it is: LIKE is printed in other words.
                    Expr::Like(like) => {
                        let binary = BinaryExpr::new(like.expr, op, like.pattern);
                        Transformed::new_transformed(Expr::BinaryExpr(binary), settled.transformed)
                    }
                    call => Transformed::yes(call),
                }
            }
            None if is_regular(op) => {
                let (left, changed) = with_blanks(*left, schema);
                let binary = BinaryExpr::new(Box::new(left), op, right);
                Transformed::new_transformed(Expr::BinaryExpr(binary), changed)
            }
            None => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
        },
        other => Transformed::no(other),
    }
}

/// Whether an operator is LIKE; and if so, whether it is NOT LIKE, and ILIKE.
fn like_operator(op: Operator) -> Option<(bool, bool)> {
    Some(match op {
        Operator::LikeMatch => (false, false),
        Operator::ILikeMatch => (false, true),
        Operator::NotLikeMatch => (true, false),
        Operator::NotILikeMatch => (true, true),
        _ => return None,
    })
}

fn is_regular(op: Operator) -> bool {
    use Operator::{RegexIMatch, RegexMatch, RegexNotIMatch, RegexNotMatch};
    matches!(op, RegexMatch | RegexIMatch | RegexNotMatch | RegexNotIMatch)
}

fn liked(mut like: Like, schema: &DFSchema) -> Transformed<Expr> {
    let mut changed = false;
    let pattern = literal(&like.pattern);
    if !pattern.is_some_and(takes_any_blanks) {
        let (value, padded) = with_blanks(*like.expr, schema);
        *like.expr = value;
        changed = padded;
    }
    if !literal(&like.pattern).is_some_and(ends_with_escape) {
        return Transformed::new_transformed(Expr::Like(like), changed);
    }
    let call = like_text(*like.expr, *like.pattern, like.case_insensitive);
    Transformed::yes(if like.negated { Expr::Not(Box::new(call)) } else { call })
}

fn with_blanks(value: Expr, schema: &DFSchema) -> (Expr, bool) {
    match char_length(&value, schema) {
        Some(length) => (typed(padded(value, length), SqlType::Text), true),
        None => (value, false),
    }
}

fn literal(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Literal(ScalarValue::Utf8(text) | ScalarValue::Utf8View(text), _) => text.as_deref(),
        Expr::Cast(cast) => literal(&cast.expr),
        Expr::Alias(alias) => literal(&alias.expr),
        _ => None,
    }
}

/// Whether a pattern finds in a text what it finds in the text with blanks behind it.
fn takes_any_blanks(pattern: &str) -> bool {
    pattern.ends_with('%') && !pattern.contains([' ', '_', '\\'])
}

/// Whether the last character is an escape character that has nothing to escape.
fn ends_with_escape(pattern: &str) -> bool {
    let escapes = pattern.len() - pattern.trim_end_matches('\\').len();
    escapes % 2 == 1
}
