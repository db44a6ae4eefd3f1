//! What a condition costs, as PostgreSQL counts: operators, functions and casts that have to be called. It asks the conditions of
//! WHERE in that order, those that cost the same as they are written.

use std::sync::Arc;

use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, Literal, NotExpr,
};
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use crate::function::{FROM_TEXT, PLAIN, TO_TEXT};

/// One call; lists count halves.
const CALL: usize = 2;
/// From so many constants on PostgreSQL looks into a list by hash.
const HASHED_LIST: usize = 9;

pub(super) fn cost(expr: &Arc<dyn PhysicalExpr>) -> usize {
    let (mut sum, mut open) = (0_usize, vec![expr]);
    while let Some(next) = open.pop() {
        sum = sum.saturating_add(own_cost(next));
        open.extend(next.children());
    }
    sum
}

fn own_cost(expr: &Arc<dyn PhysicalExpr>) -> usize {
    if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        return match binary.op() {
            Operator::And | Operator::Or => 0,
            _ => CALL,
        };
    }
    if let Some(list) = expr.downcast_ref::<InListExpr>() {
        return match list.len() {
            0 | 1 => CALL,
            some if some < HASHED_LIST => some,
            _ => 2 * CALL,
        };
    }
    if let Some(call) = expr.downcast_ref::<ScalarFunctionExpr>() {
        return match call.name() {
            "coalesce" | PLAIN => 0,
            // The output of one type and the input of the other.
            FROM_TEXT | TO_TEXT => 2 * CALL,
            _ => CALL,
        };
    }
    if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        // PostgreSQL has operators for integers of two widths.
        return if cast.cast_type().is_signed_integer() { 0 } else { CALL };
    }
    let is_free = expr.downcast_ref::<Column>().is_some()
        || expr.downcast_ref::<Literal>().is_some()
        || expr.downcast_ref::<NotExpr>().is_some()
        || expr.downcast_ref::<IsNullExpr>().is_some()
        || expr.downcast_ref::<IsNotNullExpr>().is_some()
        || expr.downcast_ref::<CaseExpr>().is_some()
        || expr.downcast_ref::<ScalarSubqueryExpr>().is_some();
    match is_free {
        true => 0,
        false => CALL,
    }
}
