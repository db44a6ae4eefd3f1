//! Arithmetic of decimals is computed in 64 bits where projections and aggregates do it (`execution/src/decimal.rs`).
//!
//! ```text
//! Projection(price * (1 - discount), input)   ->  the same, computed as a whole
//! ```
//!
//! Before projections become parts of scans. Nothing that rules know of these expressions is lost: groups, sorts and filters keep
//! theirs.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExprRef;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateInputMode};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use staffa_execution::narrowed;

#[derive(Debug)]
pub(crate) struct NarrowDecimals;

impl PhysicalOptimizerRule for NarrowDecimals {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            let narrow = match (plan.downcast_ref(), plan.downcast_ref()) {
                (Some(projection), _) => of_projection(projection)?,
                (_, Some(aggregate)) => of_aggregate(aggregate)?,
                _ => None,
            };
            Ok(match narrow {
                Some(narrow) => Transformed::yes(narrow),
                None => Transformed::no(plan),
            })
        })
        .data()
    }

    fn name(&self) -> &str {
        "NarrowDecimals"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn of_projection(projection: &ProjectionExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let schema = projection.input().schema();
    let before = projection.expr().iter();
    let before = before.map(|column| (Arc::clone(&column.expr), narrowed(&column.expr, &schema), &column.alias));
    let (mut columns, mut changes) = (Vec::new(), false);
    for (before, narrow, alias) in before {
        let narrow = narrow?;
        changes |= !Arc::ptr_eq(&before, &narrow);
        columns.push(ProjectionExpr::new(narrow, alias.clone()));
    }
    if !changes {
        return Ok(None);
    }
    let input = Arc::clone(projection.input());
    let projection = ProjectionExec::try_new_with_schema_metadata(columns, input, &projection.schema())?;
    Ok(Some(Arc::new(projection)))
}

fn of_aggregate(aggregate: &AggregateExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    // The others add up what these made of the rows.
    if aggregate.mode().input_mode() != AggregateInputMode::Raw {
        return Ok(None);
    }
    let schema = aggregate.input_schema();
    let (mut functions, mut changes) = (Vec::new(), false);
    for function in aggregate.aggr_expr() {
        let narrow = of_function(function, &schema)?;
        changes |= narrow.is_some();
        functions.push(narrow.unwrap_or_else(|| Arc::clone(function)));
    }
    Ok(changes.then(|| Arc::new(aggregate.with_new_aggr_exprs(functions)) as _))
}

fn of_function(
    function: &AggregateFunctionExpr,
    schema: &arrow::datatypes::Schema,
) -> Result<Option<Arc<AggregateFunctionExpr>>> {
    let before = function.expressions();
    let arguments = before.iter().map(|argument| narrowed(argument, schema));
    let arguments = arguments.collect::<Result<Vec<PhysicalExprRef>>>()?;
    let mut pairs = before.iter().zip(&arguments);
    if pairs.all(|(before, after)| Arc::ptr_eq(before, after)) {
        return Ok(None);
    }
    let sorts = function.order_bys().iter().map(|sort| Arc::clone(&sort.expr)).collect();
    Ok(function.with_new_expressions(arguments, sorts).map(Arc::new))
}
