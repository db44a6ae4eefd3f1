//! Comparisons of two columns, one of them through a cast that loses something, kept from DataFusion's estimates.
//!
//! Before: `cast(ts as date) > ts`. After: `staffa_plain(cast(ts as date)) > ts`. From the bounds of a column DataFusion
//! computes how many rows a condition leaves; through such a cast bounds get wider, not narrower, and it gives up the query
//! with an internal error.
//!
//! Must not fire on comparisons with constants: those prune files, and go well.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan};

use super::map_expressions;
use crate::function::{PLAIN, plain};
use crate::operators::is_comparison;

pub(super) fn opaque(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::Filter(_) | LogicalPlan::Join(_) => map_expressions(node, compared),
        LogicalPlan::TableScan(scan) if !scan.filters.is_empty() => map_expressions(node, compared),
        _ => Ok(Transformed::no(node)),
    })
    .data()
}

fn compared(expression: Expr, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expression else {
        return Ok(Transformed::no(expression));
    };
    let concerned = is_comparison(op) && !left.column_refs().is_empty() && !right.column_refs().is_empty();
    let (lossy_left, lossy_right) = match concerned {
        true => (is_lossy(&left, schema)?, is_lossy(&right, schema)?),
        false => (false, false),
    };
    let side = |side: Box<Expr>, lossy: bool| match lossy {
        true => Box::new(plain(*side)),
        false => side,
    };
    let compared = Expr::BinaryExpr(BinaryExpr {
        left: side(left, lossy_left),
        op,
        right: side(right, lossy_right),
    });
    Ok(match lossy_left || lossy_right {
        true => Transformed::yes(compared),
        false => Transformed::no(compared),
    })
}

fn is_lossy(side: &Expr, schema: &DFSchema) -> DataFusionResult<bool> {
    if matches!(side, Expr::ScalarFunction(function) if function.func.name() == PLAIN) {
        return Ok(false);
    }
    side.exists(|inner| {
        let Expr::Cast(cast) = inner else { return Ok(false) };
        let from = cast.expr.get_type(schema)?;
        Ok(match (&from, cast.field.data_type()) {
            (DataType::Timestamp(..), DataType::Date32 | DataType::Time64(_)) => true,
            (from, to) if to.is_integer() => from.is_floating() || from.is_decimal(),
            (
                DataType::Decimal128(_, from) | DataType::Decimal256(_, from),
                DataType::Decimal128(_, to) | DataType::Decimal256(_, to),
            ) => from > to,
            (DataType::Float64, DataType::Float32) => true,
            _ => false,
        })
    })
}
