//! `FETCH FIRST n ROWS WITH TIES`: the first rows, and those that are equal to the last of them by ORDER BY.
//!
//! Before: `select a from t order by a offset 2 limit "\u{1}with ties"(3)` (see `parse/fetch.rs`). After:
//! `select a from t qualify (rank() over (order by a) <= 2 + 3) is not false order by a offset 2`.
//!
//! And LIMIT and OFFSET with a subquery, which DataFusion cannot count by: the same with `row_number()`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, LimitClause,
    OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, Value, WindowSpec, WindowType,
};

use super::{call, resolve_ordinals};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::WITH_TIES;
use crate::resolve::fold;
use crate::walk;

pub(super) fn query(query: &mut Query) -> Result<()> {
    let Some(LimitClause::LimitOffset { limit, offset, .. }) = &mut query.limit_clause else {
        return Ok(());
    };
    limit.iter_mut().for_each(count);
    offset.iter_mut().for_each(|offset| count(&mut offset.value));
    let ties = limit.as_ref().and_then(count_with_ties);
    let counts = [
        ("LIMIT with a subquery", limit.as_ref()),
        ("OFFSET with a subquery", offset.as_ref().map(|offset| &offset.value)),
    ];
    let computed = counts.into_iter().find(|(_, count)| count.is_some_and(has_subquery));
    let (what, by_number) = match (&ties, computed) {
        (Some(_), computed) => ("WITH TIES", computed.is_some()),
        (None, Some((what, _))) => (what, true),
        (None, None) => return Ok(()),
    };
    let keys: &[OrderByExpr] = match query.order_by.as_ref().map(|order| &order.kind) {
        Some(OrderByKind::Expressions(keys)) => keys,
        None if ties.is_none() => &[],
        None => {
            let message = "WITH TIES cannot be specified without ORDER BY clause";
            return Err(Error::new(ErrorKind::SyntaxError, message));
        }
        Some(_) => return Err(Error::unsupported(format!("{what} and ORDER BY ALL is not supported"))),
    };
    let select = match query.body.as_mut() {
        SetExpr::Select(select) if select.distinct.is_none() => select,
        _ => {
            return Err(Error::unsupported(format!(
                "{what} of DISTINCT or a set operation is not supported"
            )));
        }
    };
    let mut order_by = keys.to_vec();
    for key in &mut order_by {
        resolve_ordinals(std::slice::from_mut(&mut key.expr), &select.projection)?;
        resolve_alias(&mut key.expr, select);
    }
    let numbered = |function: &str| {
        let mut number = call(function, Vec::new());
        if let Expr::Function(Function { over, .. }) = &mut number {
            *over = Some(WindowType::WindowSpec(WindowSpec {
                window_name: None,
                partition_by: Vec::new(),
                order_by: order_by.clone(),
                window_frame: None,
            }));
        }
        number
    };
    let skipped = offset.as_ref().map(|offset| or_zero(as_bigint(offset.value.clone())));
    let rank = if ties.is_some() { "rank" } else { "row_number" };
    let wanted = ties.or_else(|| limit.take().map(as_bigint));
    let last = wanted.map(|count| match &skipped {
        Some(skipped) => binary(skipped.clone(), BinaryOperator::Plus, count),
        None => count,
    });
    let mut conditions = Vec::new();
    conditions.extend(last.map(|last| (rank, BinaryOperator::LtEq, last)));
    if by_number {
        conditions.extend(skipped.map(|skipped| ("row_number", BinaryOperator::Gt, skipped)));
        *offset = None;
    }
    for (function, op, bound) in conditions {
        // NULL is no limit.
        let within = binary(numbered(function), op, Expr::Nested(Box::new(bound)));
        let within = Expr::IsNotFalse(Box::new(Expr::Nested(Box::new(within))));
        select.qualify = Some(match select.qualify.take() {
            Some(before) => binary(Expr::Nested(Box::new(before)), BinaryOperator::And, within),
            None => within,
        });
    }
    *limit = None;
    if offset.is_none() {
        query.limit_clause = None;
    }
    Ok(())
}

/// NULL skips nothing.
fn or_zero(count: Expr) -> Expr {
    let zero = Expr::Value(Value::Number("0".to_string(), false).into());
    call("coalesce", vec![count, as_bigint(zero)])
}

/// Rows are counted by a bigint, as which every number is taken: `limit 1.5` is `limit 2`.
fn count(count: &mut Expr) {
    let is_whole = |value: &Value| match value {
        Value::Number(digits, _) => digits.parse::<i64>().is_ok(),
        Value::Placeholder(_) | Value::Null => true,
        _ => false,
    };
    match count {
        Expr::Value(value) if is_whole(&value.value) => {}
        other if count_with_ties(other).is_some() => {}
        other => *other = as_bigint(other.clone()),
    }
}

fn has_subquery(limit: &Expr) -> bool {
    let found = walk::expressions(limit, |expression| match expression {
        Expr::Subquery(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

fn count_with_ties(limit: &Expr) -> Option<Expr> {
    let Expr::Function(function) = limit else { return None };
    let name = function.name.0.last()?.as_ident()?;
    match &function.args {
        FunctionArguments::List(list) if name.value == WITH_TIES => match list.args.as_slice() {
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(count))] => Some(as_bigint(count.clone())),
            _ => None,
        },
        _ => None,
    }
}

/// As LIMIT takes it, also when it is a parameter.
fn as_bigint(count: Expr) -> Expr {
    Expr::Cast {
        kind: CastKind::DoubleColon,
        expr: Box::new(Expr::Nested(Box::new(count))),
        data_type: DataType::BigInt(None),
        array: false,
        format: None,
    }
}

/// A name of the select list, which a window does not see.
fn resolve_alias(key: &mut Expr, select: &Select) {
    let Expr::Identifier(ident) = key else { return };
    let name = fold(ident);
    let named = select.projection.iter().find_map(|item| match item {
        SelectItem::ExprWithAlias { expr, alias } if fold(alias) == name => Some(expr.clone()),
        _ => None,
    });
    if let Some(expression) = named {
        *key = expression;
    }
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(left),
        op,
        right: Box::new(right),
    }
}
