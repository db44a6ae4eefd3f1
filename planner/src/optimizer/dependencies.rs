//! Functional dependencies that joins do not pass on.
//!
//! ```text
//! select k, x, count(*) from t join (select distinct k from u) u using (k) group by k, x order by k, x
//! ```
//!
//! The input `u` has each `k` once. So has the join, DataFusion 55.2 says, several times, which is right; and the grouping of it takes
//! `k` for a key of its rows, which is wrong: there is one for each `x`, and the order by `x` is left out
//! (`aggregate_functional_dependencies` makes all columns targets of a dependency whose sources are grouped by). Joins that say nothing
//! lead to nothing wrong; what is lost is that a column of `u` beside `k` need not be grouped by.
//!
//! `unnest` gives a row several times, too, and passes on that its key comes once.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, FunctionalDependencies, JoinType, Result};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// Takes the dependencies from the output of joins and `unnest`, and of what stands on them.
#[derive(Debug)]
pub(super) struct JoinsDetermineNothing;

impl OptimizerRule for JoinsDetermineNothing {
    fn name(&self) -> &str {
        "joins_determine_nothing"
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        corrected(plan)
    }
}

/// DISTINCT as a grouping. The rule goes upwards: a DISTINCT below a join has become a grouping, with dependencies, when it
/// comes to the one above.
#[derive(Debug)]
pub(super) struct Distincts(pub(super) ReplaceDistinctWithAggregate);

impl OptimizerRule for Distincts {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Distinct(_) => self.0.rewrite(corrected(plan)?.data, config),
            plan => self.0.rewrite(plan, config),
        }
    }
}

fn corrected(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if !plan.exists(|node| Ok(determines(node)))? {
        return Ok(Transformed::no(plan));
    }
    plan.transform_up(|node| {
        if node.schema().functional_dependencies().is_empty() {
            return Ok(Transformed::no(node));
        }
        match node {
            LogicalPlan::Join(mut join) if passes_on(join.join_type) => {
                let schema = DFSchema::clone(&join.schema);
                join.schema = Arc::new(schema.with_functional_dependencies(FunctionalDependencies::empty())?);
                Ok(Transformed::yes(LogicalPlan::Join(join)))
            }
            LogicalPlan::Unnest(mut unnest) => {
                let schema = DFSchema::clone(&unnest.schema);
                unnest.schema = Arc::new(schema.with_functional_dependencies(FunctionalDependencies::empty())?);
                Ok(Transformed::yes(LogicalPlan::Unnest(unnest)))
            }
            // What it says comes from its input.
            node => node.recompute_schema().map(Transformed::yes),
        }
    })
}

fn determines(plan: &LogicalPlan) -> bool {
    let multiplies = match plan {
        LogicalPlan::Join(join) => passes_on(join.join_type),
        LogicalPlan::Unnest(_) => true,
        _ => false,
    };
    multiplies && !plan.schema().functional_dependencies().is_empty()
}

/// Whether rows of such a join are those of both sides: semi joins leave rows of one out, and keys are keys.
fn passes_on(join_type: JoinType) -> bool {
    matches!(
        join_type,
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full
    )
}
