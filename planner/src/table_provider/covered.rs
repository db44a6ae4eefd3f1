//! Files all of whose rows a DELETE takes away, as bounds and partition values tell: they go without being read.
//!
//! ```text
//! delete from t where day = '2024-01-01' and n > 5
//! no row stays of a file that can have none with   day <> '2024-01-01' or day is null or n <= 5 or n is null
//! ```
//!
//! Whether a file can have such a row is asked as for any scan (`prune.rs`), so a file is covered only when it is certain.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::expr::{Between, InList};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, TableScan, not};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::prelude::lit;
use datafusion::scalar::ScalarValue;
use staffa_storage::without_field_ids;

use super::{StaffaTable, prune};
use crate::context::PlanContext;
use crate::error::Result;
use crate::physical::statement_state;
use crate::stored::unqualified;
use crate::{function, rules};

/// The plan of a DELETE without the files it covers, and their numbers.
pub(crate) fn without_covered_files(context: &PlanContext, plan: LogicalPlan) -> Result<(LogicalPlan, Vec<usize>)> {
    let plan = function::with_session_facts(context, rules::analyse(context, plan)?)?;
    let state = statement_state(context);
    let covered = match filtered_scan(&plan) {
        Some((filter, scan)) => covered_files(&state, filter, scan)?,
        None => Vec::new(),
    };
    if covered.is_empty() {
        return Ok((plan, covered));
    }
    let skipped: Arc<HashSet<usize>> = Arc::new(covered.iter().copied().collect());
    let plan = plan.transform_up(|node| {
        let LogicalPlan::TableScan(mut scan) = node else {
            return Ok(Transformed::no(node));
        };
        let provider = source_as_provider(&scan.source)?;
        let Some(table) = provider.downcast_ref::<StaffaTable>().filter(|table| table.addressed) else {
            return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
        };
        scan.source = provider_as_source(Arc::new(table.without(&skipped)));
        Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
    });
    Ok((plan.data()?, covered))
}

/// The condition right above the scan of the statement's table.
fn filtered_scan(plan: &LogicalPlan) -> Option<(&Expr, &TableScan)> {
    let LogicalPlan::Projection(projection) = plan else {
        return None;
    };
    let LogicalPlan::Filter(filter) = projection.input.as_ref() else {
        return None;
    };
    let mut below = filter.input.as_ref();
    loop {
        match below {
            LogicalPlan::SubqueryAlias(alias) => below = alias.input.as_ref(),
            LogicalPlan::TableScan(scan) => return Some((&filter.predicate, scan)),
            _ => return None,
        }
    }
}

fn covered_files(state: &SessionState, filter: &Expr, scan: &TableScan) -> Result<Vec<usize>> {
    let provider = source_as_provider(&scan.source)?;
    let Some(table) = provider.downcast_ref::<StaffaTable>().filter(|table| table.addressed) else {
        return Ok(Vec::new());
    };
    if filter.is_volatile() {
        return Ok(Vec::new());
    }
    let schema = Arc::new(DFSchema::try_from(without_field_ids(&table.stored))?);
    let simplify = SimplifyContext::builder()
        .with_schema(Arc::clone(&schema))
        .with_config_options(Arc::clone(state.config_options()))
        .with_query_execution_start_time(state.execution_props().query_execution_start_time)
        .build();
    let filter = ExprSimplifier::new(simplify).simplify(unqualified(filter.clone())?)?;
    let Some(stays) = not_true(&filter) else {
        return Ok(Vec::new());
    };
    let stays = state.create_physical_expr(stays, &schema)?;
    let kept = prune::prune(&table.table, &table.stored, &table.files, Some(&stays))?.files;
    let kept: HashSet<&str> = kept.iter().map(|file| file.location.as_str()).collect();
    let all = table.files.iter().enumerate();
    let covered = all.filter(|(_, file)| !kept.contains(file.location.as_str()));
    Ok(covered.map(|(number, _)| number).collect())
}

/// A condition that holds where the given one is false or NULL; `None` for a kind that bounds say nothing about.
fn not_true(condition: &Expr) -> Option<Expr> {
    let or_null = |condition: Expr, column: &Expr| condition.or(column.clone().is_null());
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::And => Some(not_true(left)?.or(not_true(right)?)),
            Operator::Or => Some(not_true(left)?.and(not_true(right)?)),
            _ if is_comparison(*op) => {
                let column = match (left.as_ref(), right.as_ref()) {
                    (column @ Expr::Column(_), value) | (value, column @ Expr::Column(_)) if is_value(value) => column,
                    _ => return None,
                };
                let opposite = BinaryExpr::new(left.clone(), op.negate()?, right.clone());
                Some(or_null(Expr::BinaryExpr(opposite), column))
            }
            _ => None,
        },
        Expr::Not(inner) => match inner.as_ref() {
            Expr::IsNull(_) | Expr::IsNotNull(_) => Some(inner.as_ref().clone()),
            _ => None,
        },
        Expr::IsNull(column) if is_column(column) => Some(column.clone().is_not_null()),
        Expr::IsNotNull(column) if is_column(column) => Some(column.clone().is_null()),
        Expr::InList(InList { expr, list, negated }) if is_column(expr) && list.iter().all(is_value) => {
            let opposite = Expr::InList(InList::new(expr.clone(), list.clone(), !negated));
            Some(or_null(opposite, expr))
        }
        Expr::Between(Between {
            expr,
            negated: false,
            low,
            high,
        }) if is_column(expr) && is_value(low) && is_value(high) => {
            let below = expr.as_ref().clone().lt(low.as_ref().clone());
            let above = expr.as_ref().clone().gt(high.as_ref().clone());
            Some(or_null(below.or(above), expr))
        }
        Expr::Literal(ScalarValue::Boolean(value), _) => Some(match value {
            Some(true) => lit(false),
            _ => not(lit(false)),
        }),
        _ => None,
    }
}

fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

fn is_column(expression: &Expr) -> bool {
    matches!(expression, Expr::Column(_))
}

fn is_value(expression: &Expr) -> bool {
    matches!(expression, Expr::Literal(value, _) if !value.is_null())
}
