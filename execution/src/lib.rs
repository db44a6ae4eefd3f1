//! Operators of our own, where DataFusion's leave time on the table.
//!
//! Each takes the place of one of DataFusion's in a finished plan ([`replace`]), with the same columns, rows and order, and is
//! tested against it.

mod aggregate;
mod compact;
mod decimal;
mod exchange;
mod filter;
mod gather;
mod groups;
mod hash_join;
mod key_set;
mod keys;
mod numbering;
mod probe;
mod ranking;
mod sort;
mod stock;
mod table;
#[cfg(test)]
mod test_rows;
#[cfg(test)]
mod tests;
mod texts;
mod totals;
mod widening;

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::windows::BoundedWindowAggExec;

pub use self::aggregate::Aggregate;
pub use self::decimal::narrowed;
pub use self::exchange::Exchange;
pub use self::filter::Filter;
pub use self::hash_join::HashJoin;
pub use self::ranking::Ranking;
pub use self::sort::Sort;
use self::widening::widening;

/// The plan with our operators wherever they can do what DataFusion's would. Nothing may be optimised after.
pub fn replace(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|plan| {
        let ours = if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
            HashJoin::instead_of(join).map(|join| Arc::new(join) as Arc<dyn ExecutionPlan>)
        } else if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
            match Aggregate::instead_of(aggregate) {
                Some(aggregate) => Some(Arc::new(aggregate.made_compact()?) as _),
                None => widening(aggregate)?.map(|aggregate| Arc::new(aggregate) as _),
            }
        } else if let Some(sort) = plan.downcast_ref::<SortExec>() {
            Sort::instead_of(sort)?.map(|sort| Arc::new(sort) as _)
        } else if let Some(merge) = plan.downcast_ref::<SortPreservingMergeExec>() {
            Sort::merging(merge).map(|sort| Arc::new(sort) as _)
        } else if let Some(exchange) = plan.downcast_ref::<RepartitionExec>() {
            Exchange::instead_of(exchange).map(|exchange| Arc::new(exchange) as _)
        } else if let Some(filter) = plan.downcast_ref::<FilterExec>() {
            Some(Arc::new(Filter::instead_of(filter)?) as _)
        } else if let Some(windows) = plan.downcast_ref::<BoundedWindowAggExec>() {
            Ranking::instead_of(windows).map(|ranking| Arc::new(ranking) as _)
        } else {
            None
        };
        Ok(match ours {
            Some(ours) => Transformed::yes(ours),
            None => Transformed::no(plan),
        })
    })
    .data()
}
