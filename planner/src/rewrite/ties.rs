//! `FETCH FIRST n ROWS WITH TIES`: the first rows, and those that are equal to the last of them by ORDER BY.
//!
//! Before: `select a from t order by a offset 2 limit "\u{1}with ties"(3)` (see `parse/fetch.rs`). After:
//! `select a from t qualify (rank() over (order by a) <= 2 + 3) is not false order by a offset 2`.
//!
//! And LIMIT with a subquery, which DataFusion cannot count by: the same with `row_number()`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, LimitClause,
    OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, WindowSpec, WindowType,
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
    let (count, number, what) = match limit.as_ref() {
        Some(limit) => match count_with_ties(limit) {
            Some(count) => (count, "rank", "WITH TIES"),
            None if has_subquery(limit) => (as_bigint(limit.clone()), "row_number", "LIMIT with a subquery"),
            None => return Ok(()),
        },
        None => return Ok(()),
    };
    let keys: &[OrderByExpr] = match query.order_by.as_ref().map(|order| &order.kind) {
        Some(OrderByKind::Expressions(keys)) => keys,
        None if number == "row_number" => &[],
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
    let last = match offset {
        Some(offset) => binary(as_bigint(offset.value.clone()), BinaryOperator::Plus, count),
        None => count,
    };
    let mut order_by = keys.to_vec();
    for key in &mut order_by {
        resolve_ordinals(std::slice::from_mut(&mut key.expr), &select.projection)?;
        resolve_alias(&mut key.expr, select);
    }
    let mut rank = call(number, Vec::new());
    if let Expr::Function(Function { over, .. }) = &mut rank {
        *over = Some(WindowType::WindowSpec(WindowSpec {
            window_name: None,
            partition_by: Vec::new(),
            order_by,
            window_frame: None,
        }));
    }
    // LIMIT NULL is no limit.
    let within = binary(rank, BinaryOperator::LtEq, Expr::Nested(Box::new(last)));
    let within = Expr::IsNotFalse(Box::new(Expr::Nested(Box::new(within))));
    select.qualify = Some(match select.qualify.take() {
        Some(before) => binary(Expr::Nested(Box::new(before)), BinaryOperator::And, within),
        None => within,
    });
    *limit = None;
    if offset.is_none() {
        query.limit_clause = None;
    }
    Ok(())
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
