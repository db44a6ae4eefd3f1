//! Relations of FROM, without what DataFusion believes to know of their columns.
//!
//! ```text
//! select k, count(*) from (select u.k, d.x from d join (select … group by k) u on d.k = u.k group by u.k, d.x) q group by k
//! ```
//!
//! Of `u` it knows, rightly, that `k` determines all columns; of `q` it believes it, which is wrong (see
//! `optimizer/dependencies.rs`). To let statements select what a key determines, it groups by that, too, as soon as the text is a
//! plan: by `k` and `x` here. PostgreSQL allows such columns for primary keys only, and we do not; so relations determine nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::common::{DFSchema, FunctionalDependencies, Result};
use datafusion::logical_expr::logical_plan::Projection;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::sqlparser::ast::TableFactor;

/// Of one planning, which asks it for one relation after the other.
#[derive(Debug, Default)]
pub(super) struct Independent {
    /// Whom it asks for a relation's plan begins with asking it.
    asked: AtomicBool,
}

impl RelationPlanner for Independent {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        if self.asked.swap(false, Ordering::Relaxed) {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        }
        self.asked.store(true, Ordering::Relaxed);
        let plan = without_dependencies(context.plan(relation)?)?;
        // It has its alias.
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, None))))
    }
}

fn without_dependencies(plan: LogicalPlan) -> Result<LogicalPlan> {
    if plan.schema().functional_dependencies().is_empty() {
        return Ok(plan);
    }
    if let LogicalPlan::SubqueryAlias(mut alias) = plan {
        alias.schema = free(&alias.schema)?;
        return Ok(LogicalPlan::SubqueryAlias(alias));
    }
    let columns = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let mut projection = Projection::try_new(columns, Arc::new(plan))?;
    projection.schema = free(&projection.schema)?;
    Ok(LogicalPlan::Projection(projection))
}

fn free(schema: &DFSchema) -> Result<Arc<DFSchema>> {
    let schema = schema
        .clone()
        .with_functional_dependencies(FunctionalDependencies::empty())?;
    Ok(Arc::new(schema))
}
