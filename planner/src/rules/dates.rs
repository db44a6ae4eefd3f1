//! `date + interval` with hours in it is a timestamp.
//!
//! Before: `d + interval '12 hours'`, which DataFusion makes a date, losing the 12 hours. After: `cast(d as timestamp) +
//! interval '12 hours'`, which is PostgreSQL's answer.
//!
//! Must not fire when the interval is a literal of whole days and months: the sum is a midnight then, and as a date it still
//! prunes files by a date column. (PostgreSQL would type it as a timestamp.) Runs before type coercion, because it changes a type.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::scalar::ScalarValue;

pub(super) fn keep_time(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    plan.transform_up_with_subqueries(node).data()
}

fn node(plan: LogicalPlan) -> DataFusionResult<Transformed<LogicalPlan>> {
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        let source = DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?;
        schema.merge(&source);
    }
    let names = NamePreserver::new(&plan);
    let transformed = plan.map_expressions(|expression| {
        let name = names.save(&expression);
        let rewritten = expression.transform_up(|inner| Ok(sum(inner, &schema)))?;
        Ok(rewritten.update_data(|rewritten| name.restore(rewritten)))
    })?;
    // A node above one that changed must learn of the new type, too; the others come out as they were.
    transformed.map_data(LogicalPlan::recompute_schema)
}

fn sum(expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expression else {
        return Transformed::no(expression);
    };
    if !matches!(op, Operator::Plus | Operator::Minus) {
        return Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }));
    }
    // The right side first: it is short in the long chains, which lean left, and deriving a type walks the whole side.
    if has_time(&right, schema) && is_date(&left, schema) {
        return Transformed::yes(Expr::BinaryExpr(BinaryExpr {
            left: Box::new(timestamp(*left)),
            op,
            right,
        }));
    }
    if op == Operator::Plus && is_date(&right, schema) && has_time(&left, schema) {
        return Transformed::yes(Expr::BinaryExpr(BinaryExpr {
            left,
            op,
            right: Box::new(timestamp(*right)),
        }));
    }
    Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }))
}

fn is_date(expression: &Expr, schema: &DFSchema) -> bool {
    matches!(expression.get_type(schema), Ok(DataType::Date32))
}

fn has_time(expression: &Expr, schema: &DFSchema) -> bool {
    match expression {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) => interval.nanoseconds != 0,
        Expr::Literal(ScalarValue::IntervalDayTime(Some(interval)), _) => interval.milliseconds != 0,
        Expr::Literal(ScalarValue::IntervalYearMonth(_), _) => false,
        other => matches!(other.get_type(schema), Ok(DataType::Interval(_))),
    }
}

fn timestamp(expression: Expr) -> Expr {
    let field = arrow::datatypes::Field::new("", DataType::Timestamp(TimeUnit::Microsecond, None), true);
    Expr::Cast(Cast::new_from_field(Box::new(expression), Arc::new(field)))
}
