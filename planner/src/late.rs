//! The first rows of a sort are found before what else they show is computed.
//!
//! ```text
//! before  Sort(n, first 10; Project(n, sum / count as average; …))
//! after   Project(n, sum / count as average; Sort(n, first 10; …))
//! ```
//!
//! So does PostgreSQL with what is expensive. Once projections are where they stay, and before the sort tells others of the rows it has.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;

use crate::yielding::SmallBatchesExec;

/// Of more, a sort that keeps whole rows could hold far more than it does of what they show.
const ROWS_MAX: usize = 10_000;

#[derive(Debug)]
pub(crate) struct LateOutputs;

impl PhysicalOptimizerRule for LateOutputs {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            Ok(match late(&plan)? {
                Some(late) => Transformed::yes(late),
                None => Transformed::no(plan),
            })
        })
        .data()
    }

    fn name(&self) -> &str {
        "LateOutputs"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn late(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(sort) = plan.downcast_ref::<SortExec>() else {
        return Ok(None);
    };
    let Some(projection) = sort.input().downcast_ref::<ProjectionExec>() else {
        return Ok(None);
    };
    let is_short = sort.fetch().is_some_and(|rows| rows <= ROWS_MAX);
    // What comes in small batches is to be computed of small batches.
    let is_free = projection.input().downcast_ref::<SmallBatchesExec>().is_none();
    let outputs = projection.expr().iter().map(|output| &output.expr);
    let is_worth_it = outputs.clone().any(|output| !is_plain(output));
    if !(is_short && is_free && is_worth_it) || outputs.clone().any(is_volatile) {
        return Ok(None);
    }
    let outputs: Vec<_> = outputs.collect();
    let key = |key: &PhysicalSortExpr| {
        let output = outputs.get(key.expr.downcast_ref::<Column>()?.index())?;
        output.is::<Column>().then(|| PhysicalSortExpr {
            expr: Arc::clone(output),
            options: key.options,
        })
    };
    let keys: Option<Vec<_>> = sort.expr().iter().map(key).collect();
    let Some(keys) = keys.and_then(LexOrdering::new) else {
        return Ok(None);
    };
    let sorted = SortExec::new(keys, Arc::clone(projection.input()))
        .with_preserve_partitioning(sort.preserve_partitioning())
        .with_fetch(sort.fetch());
    replace_children_if_necessary(Arc::clone(sort.input()), vec![Arc::new(sorted)]).map(Some)
}

fn is_plain(output: &Arc<dyn PhysicalExpr>) -> bool {
    output.is::<Column>() || output.is::<Literal>()
}
