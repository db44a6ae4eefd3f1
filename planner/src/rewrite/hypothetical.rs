//! Where a row that is not there would stand among those of a group: counts of the rows before it.
//!
//! | before | after, where `before` says that a row comes before the given one in the order asked for |
//! |---|---|
//! | `rank(a) within group (order by x)` | `count(1) filter (where before) + 1` |
//! | `dense_rank(a) within group (order by x)` | `count(distinct row(x)) filter (where before) + 1` |
//! | `percent_rank(a) within group (order by x)` | `count(1) filter (where before) / count(1)`, 0 where there are no rows |
//! | `cume_dist(a) within group (order by x)` | `(count(1) filter (where before or equal) + 1) / (count(1) + 1)` |
//!
//! NULLs are rows like others, before or behind all values as the order says.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, DuplicateTreatment, Expr, Function, FunctionArguments, OrderByExpr,
};

use super::call;
use super::forms::{arguments, cast, number, operation};

/// The functions that may be asked of such a row.
pub(crate) const HYPOTHETICAL: &[&str] = &["rank", "dense_rank", "percent_rank", "cume_dist"];

/// What the call of one of them stands for. That there are as many values as keys is checked.
pub(super) fn counted(name: &str, function: &mut Function) -> Option<Expr> {
    if function.within_group.is_empty() || function.over.is_some() {
        return None;
    }
    let values: Vec<Expr> = arguments(function)?.into_iter().map(|value| value.clone()).collect();
    let keys = &function.within_group;
    let before = before(keys, &values)?;
    let given = function.filter.as_deref();
    let count = |condition: Option<Expr>| {
        let condition = match (given, condition) {
            (Some(given), Some(condition)) => Some(operation(given.clone(), BinaryOperator::And, condition)),
            (Some(given), None) => Some(given.clone()),
            (None, condition) => condition,
        };
        filtered(call("count", vec![number("1")]), condition)
    };
    let one_more = |count: Expr| operation(count, BinaryOperator::Plus, number("1"));
    let share = |part: Expr, whole: Expr| {
        let part = cast(part, DataType::DoublePrecision);
        operation(part, BinaryOperator::Divide, whole)
    };
    Some(match name {
        "rank" => one_more(count(Some(before))),
        "dense_rank" => {
            let row = call("row", keys.iter().map(|key| key.expr.clone()).collect());
            let Expr::Function(mut rows) = call("count", vec![row]) else {
                return None;
            };
            if let FunctionArguments::List(list) = &mut rows.args {
                list.duplicate_treatment = Some(DuplicateTreatment::Distinct);
            }
            let condition = match given {
                Some(given) => operation(given.clone(), BinaryOperator::And, before),
                None => before,
            };
            one_more(filtered(Expr::Function(rows), Some(condition)))
        }
        "percent_rank" => {
            let rows = call("nullif", vec![count(None), number("0")]);
            call("coalesce", vec![share(count(Some(before)), rows), number("0")])
        }
        "cume_dist" => {
            let equal = keys.iter().zip(values).map(|(key, value)| same(key, value));
            let equal = equal.reduce(|one, other| operation(one, BinaryOperator::And, other))?;
            let rows = count(Some(operation(before, BinaryOperator::Or, equal)));
            share(one_more(rows), one_more(count(None)))
        }
        _ => return None,
    })
}

fn filtered(call: Expr, condition: Option<Expr>) -> Expr {
    match call {
        Expr::Function(mut function) => {
            function.filter = condition.map(Box::new);
            Expr::Function(function)
        }
        other => other,
    }
}

/// Whether a row comes before these values: by the first key that differs.
fn before(keys: &[OrderByExpr], values: &[Expr]) -> Option<Expr> {
    let mut before = None;
    for (key, value) in keys.iter().zip(values).rev() {
        let by_key = before_by(key, value);
        before = Some(match before {
            Some(by_others) => {
                let by_others = operation(same(key, value.clone()), BinaryOperator::And, by_others);
                operation(by_key, BinaryOperator::Or, by_others)
            }
            None => by_key,
        });
    }
    before
}

fn before_by(key: &OrderByExpr, value: &Expr) -> Expr {
    let descending = key.options.asc == Some(false);
    let nulls_first = key.options.nulls_first.unwrap_or(descending);
    let (own, given) = (Box::new(key.expr.clone()), Box::new(value.clone()));
    let by_null = match nulls_first {
        true => (Expr::IsNull(own), Expr::IsNotNull(given)),
        false => (Expr::IsNotNull(own), Expr::IsNull(given)),
    };
    let op = match descending {
        true => BinaryOperator::Gt,
        false => BinaryOperator::Lt,
    };
    let by_value = operation(key.expr.clone(), op, value.clone());
    call(
        "coalesce",
        vec![by_value, operation(by_null.0, BinaryOperator::And, by_null.1)],
    )
}

fn same(key: &OrderByExpr, value: Expr) -> Expr {
    Expr::Nested(Box::new(Expr::IsNotDistinctFrom(
        Box::new(key.expr.clone()),
        Box::new(value),
    )))
}
