//! Whole numbers that fit are `integer`, as in PostgreSQL; DataFusion makes them all `bigint`.
//!
//! Before: `select a + 1`. After: `select a + cast(1 as "integer literal")`, which becomes a literal of that type when the
//! plan is analysed (`rules/literals.rs`).
//!
//! Numbers with an exponent are written out: DataFusion's have a negative scale then, which little can compute with. Before: `1e3`.
//! After: `1000.`
//!
//! Must not fire where a number is no value but a place or a count: `ORDER BY 1`, `GROUP BY 1`, `LIMIT 10`, bounds of a
//! window frame, intervals, arguments of functions in FROM. Those are put back.

use arrow::datatypes::DECIMAL256_MAX_PRECISION;
use datafusion::sql::sqlparser::ast::{
    DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, LimitClause, ObjectName,
    ObjectNamePart, OrderByKind, Query, Select, TableFactor, UnaryOperator, Value, WindowFrameBound, WindowType,
};

use super::forms::cast;
use super::taken;
use crate::value::numeric::write_plain;

/// The name of the type only literals are cast to; it has a blank, so that no one writes it by chance.
pub(crate) const LITERAL_TYPE: &str = "integer literal";

fn literal_type() -> DataType {
    let name = Ident::with_quote('"', LITERAL_TYPE);
    DataType::Custom(ObjectName(vec![ObjectNamePart::Identifier(name)]), Vec::new())
}

pub(super) fn is_wrapped(expression: &Expr) -> bool {
    matches!(expression, Expr::Cast { data_type: DataType::Custom(name, _), .. }
        if matches!(name.0.as_slice(), [ObjectNamePart::Identifier(ident)] if ident.value == LITERAL_TYPE))
}

/// Gives a number its type. Called on the way out of every expression.
pub(super) fn wrap(expression: &mut Expr) {
    match expression {
        Expr::Value(value) => {
            let Value::Number(digits, _) = &mut value.value else {
                return;
            };
            if digits.parse::<i32>().is_ok() {
                *expression = cast(taken(expression), literal_type());
            } else if let Some(plain) = without_exponent(digits) {
                *digits = plain;
            }
        }
        // The sign belongs to the literal.
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } if is_wrapped(expr) || is_beyond(expr) => {
            unwrap(expr);
            *expression = cast(taken(expression), literal_type());
        }
        Expr::Interval(interval) => unwrap(&mut interval.value),
        // DataFusion takes only plain literals there.
        Expr::Tuple(items) => items.iter_mut().for_each(unwrap),
        Expr::Function(function) => {
            // DataFusion knows `count(1)` as `count(*)` by its literal.
            if crate::resolve::shown(&function.name).eq_ignore_ascii_case("count")
                && let FunctionArguments::List(list) = &mut function.args
            {
                list.args.iter_mut().for_each(argument);
            }
            if let Some(WindowType::WindowSpec(window)) = &mut function.over
                && let Some(frame) = &mut window.window_frame
            {
                frame_bound(&mut frame.start_bound);
                if let Some(end) = &mut frame.end_bound {
                    frame_bound(end);
                }
            }
        }
        _ => {}
    }
}

/// Whether it is an integer only with a sign before it.
fn is_beyond(expression: &Expr) -> bool {
    let digits = match expression {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits,
            _ => return false,
        },
        _ => return false,
    };
    digits.parse::<i64>() == Ok(-i64::from(i32::MIN))
}

fn without_exponent(digits: &str) -> Option<String> {
    let exponent = digits.split_once(['e', 'E'])?.1;
    // A longer number is refused for its digits.
    if exponent.parse::<i32>().ok()?.unsigned_abs() > u32::from(DECIMAL256_MAX_PRECISION) {
        return None;
    }
    let mut plain = String::new();
    write_plain(digits, &mut plain).ok()?;
    if !plain.contains('.') {
        plain.push('.');
    }
    Some(plain)
}

fn frame_bound(bound: &mut WindowFrameBound) {
    if let WindowFrameBound::Preceding(Some(rows)) | WindowFrameBound::Following(Some(rows)) = bound {
        unwrap(rows);
    }
}

fn unwrap(expression: &mut Expr) {
    if is_wrapped(expression)
        && let Expr::Cast { expr, .. } = expression
    {
        *expression = taken(expr);
    }
}

pub(super) fn query(query: &mut Query) {
    if let Some(order_by) = &mut query.order_by
        && let OrderByKind::Expressions(keys) = &mut order_by.kind
    {
        keys.iter_mut().for_each(|key| unwrap(&mut key.expr));
    }
    if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &mut query.limit_clause {
        limit.iter_mut().for_each(unwrap);
        offset.iter_mut().for_each(|offset| unwrap(&mut offset.value));
    }
}

pub(super) fn select(select: &mut Select) {
    if let GroupByExpr::Expressions(keys, _) = &mut select.group_by {
        for key in keys {
            match key {
                Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets) => {
                    sets.iter_mut().flatten().for_each(unwrap);
                }
                key => unwrap(key),
            }
        }
    }
    for window in &mut select.named_window {
        if let datafusion::sql::sqlparser::ast::NamedWindowExpr::WindowSpec(spec) = &mut window.1
            && let Some(frame) = &mut spec.window_frame
        {
            frame_bound(&mut frame.start_bound);
            frame.end_bound.iter_mut().for_each(frame_bound);
        }
    }
}

pub(super) fn table_factor(factor: &mut TableFactor) {
    if let TableFactor::Table { args: Some(given), .. } = factor {
        given.args.iter_mut().for_each(argument);
    }
}

fn argument(argument: &mut FunctionArg) {
    if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) = argument {
        unwrap(expression);
    }
}
