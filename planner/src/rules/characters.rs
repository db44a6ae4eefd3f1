//! `char(n)` compared with a literal or a `varchar`: trailing blanks do not count.
//!
//! Before: `c = 'ab   '` with `c char(5)`. After: `c = 'ab'`, which is how the value is kept (`function/text.rs`).
//! Before: `c = v` with a `varchar`. After: `c = rtrim(v)`.
//!
//! Must not fire on `text`, beside which a `char(n)` becomes one. Runs after type coercion, so that
//! parameters, which become literals when they are bound, are seen in their last form.

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::functions::string::expr_fn::rtrim;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::scalar::ScalarValue;
use staffa_catalog::SqlType;

use crate::types::sql_type;

pub(super) fn trim_literals(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    plan.transform_up_with_subqueries(node).data()
}

fn node(plan: LogicalPlan) -> DataFusionResult<Transformed<LogicalPlan>> {
    let schema = match &plan {
        LogicalPlan::TableScan(scan) => {
            DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?
        }
        _ => merge_schema(&plan.inputs()),
    };
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expression| {
        let name = names.save(&expression);
        let rewritten = expression.transform_up(|inner| Ok(comparison(inner, &schema)))?;
        Ok(rewritten.update_data(|rewritten| name.restore(rewritten)))
    })
}

fn comparison(expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expression {
        Expr::BinaryExpr(BinaryExpr {
            mut left,
            op,
            mut right,
        }) if is_comparison(op) => {
            let changed = match (is_char(&left, schema), is_char(&right, schema)) {
                (true, false) => trim(&mut right) || trim_varchar(&mut right, schema),
                (false, true) => trim(&mut left) || trim_varchar(&mut left, schema),
                _ => false,
            };
            Transformed::new_transformed(Expr::BinaryExpr(BinaryExpr { left, op, right }), changed)
        }
        Expr::InList(InList {
            expr,
            mut list,
            negated,
        }) if is_char(&expr, schema) => {
            let changed = list.iter_mut().fold(false, |changed, item| trim(item) | changed);
            Transformed::new_transformed(Expr::InList(InList { expr, list, negated }), changed)
        }
        Expr::Between(Between {
            expr,
            negated,
            mut low,
            mut high,
        }) if is_char(&expr, schema) => {
            let changed = trim(&mut low) | trim(&mut high);
            Transformed::new_transformed(
                Expr::Between(Between {
                    expr,
                    negated,
                    low,
                    high,
                }),
                changed,
            )
        }
        other => Transformed::no(other),
    }
}

fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(
        op,
        Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom
    )
}

fn is_char(expression: &Expr, schema: &DFSchema) -> bool {
    char_length(expression, schema).is_some()
}

/// The length of a `char(n)`.
pub(super) fn char_length(expression: &Expr, schema: &DFSchema) -> Option<u32> {
    // Literals are the many; they have no type of ours.
    if matches!(expression, Expr::Literal(..)) {
        return None;
    }
    match sql_type(&expression.to_field(schema).ok()?.1) {
        SqlType::Char(length) => Some(length),
        _ => None,
    }
}

fn trim_varchar(expression: &mut Expr, schema: &DFSchema) -> bool {
    let is_varchar = !matches!(expression, Expr::Literal(..))
        && expression
            .to_field(schema)
            .is_ok_and(|(_, field)| matches!(sql_type(&field), SqlType::Varchar(_)));
    if is_varchar {
        *expression = rtrim(vec![std::mem::take(expression)]);
    }
    is_varchar
}

fn trim(expression: &mut Expr) -> bool {
    let text = match expression {
        Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) => text,
        // Coercion from one of Arrow's text types to another.
        Expr::Cast(cast) => return trim(&mut cast.expr),
        _ => return false,
    };
    let length = text.trim_end_matches(' ').len();
    let changed = length < text.len();
    text.truncate(length);
    changed
}
