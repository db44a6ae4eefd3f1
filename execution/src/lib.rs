//! Operators of our own, where DataFusion's leave time on the table.
//!
//! Each takes the place of one of DataFusion's in a finished plan ([`replace`]), with the same columns, rows and order, and is
//! tested against it.

mod aggregate;
mod compact;
mod decimal;
mod groups;
mod hash_join;
mod key_set;
mod keys;
mod numbering;
mod probe;
mod table;
#[cfg(test)]
mod tests;
mod texts;
mod totals;

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::joins::HashJoinExec;

pub use self::aggregate::Aggregate;
pub use self::decimal::narrowed;
pub use self::hash_join::HashJoin;

/// The plan with our operators wherever they can do what DataFusion's would. Nothing may be optimised after.
pub fn replace(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|plan| {
        let join = plan.downcast_ref::<HashJoinExec>().and_then(HashJoin::instead_of);
        let join = join.map(|join| Arc::new(join) as Arc<dyn ExecutionPlan>);
        let aggregate = plan.downcast_ref::<AggregateExec>().and_then(Aggregate::instead_of);
        let aggregate = aggregate.map(Aggregate::made_compact).transpose()?;
        let aggregate = aggregate.map(|aggregate| Arc::new(aggregate) as _);
        Ok(match join.or(aggregate) {
            Some(ours) => Transformed::yes(ours),
            None => Transformed::no(plan),
        })
    })
    .data()
}
