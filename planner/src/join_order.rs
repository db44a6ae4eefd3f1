//! The order of joins, by what it costs.
//!
//! ```text
//! Join(Join(big, small), filtered)    ->  Join(Join(filtered, big), small)
//! ```
//!
//! A rule over operators, not over the logical plan: there parameters have their values and files are pruned, and it is the same for
//! plans that are made anew and those that are kept (`generic.rs`). It stands in the place of DataFusion's `JoinSelection`: the
//! side that is built, and whether all tasks share its table, hang on the same estimates (`estimate.rs`).
//!
//! Joins that hang together are a hypergraph (`graph.rs`), whose edges say which orders give the same rows (`conflict.rs`). The
//! cheapest order (`search.rs`) is taken, by rows (`cardinality.rs`) and by the columns that they carry (`width.rs`).
//! `join_collapse_limit = 1` leaves joins in the order they were written in.

mod cardinality;
mod conflict;
mod graph;
mod rebuild;
mod search;
mod set;
mod width;

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode};

pub(crate) use self::cardinality::Rows;
pub(crate) use self::graph::{JoinGraph, is_join};
use self::graph::{Movable, column_projection};
use self::rebuild::{partition_mode, rebuilt};
use self::search::Search;
pub(crate) use self::search::{BUILD_COST, OUTPUT_COST, PAIR_COST, PROBE_COST};
use crate::estimate::{Estimate, Estimator};

#[cfg(test)]
mod tests;

#[derive(Debug)]
pub(crate) struct JoinOrder;

impl PhysicalOptimizerRule for JoinOrder {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        if !has_join(&plan) {
            return Ok(plan);
        }
        let mut ordering = Ordering {
            estimator: Estimator::default(),
            config,
        };
        ordering.ordered(plan)
    }

    fn name(&self) -> &str {
        "JoinOrder"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn has_join(plan: &Arc<dyn ExecutionPlan>) -> bool {
    is_join(plan.as_ref()) || plan.children().into_iter().any(has_join)
}

struct Ordering<'a> {
    estimator: Estimator,
    config: &'a ConfigOptions,
}

impl Ordering<'_> {
    fn ordered(&mut self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        if !is_join(plan.as_ref()) && column_projection(&plan).is_none() {
            return self.with_ordered_children(plan);
        }
        let mut graph = JoinGraph::of(&plan);
        if graph.operators.is_empty() {
            let plan = self.with_ordered_children(plan)?;
            return self.with_sides(plan);
        }
        let leaves = std::mem::take(&mut graph.leaves).into_iter();
        graph.leaves = leaves.map(|leaf| self.ordered(leaf)).collect::<Result<_>>()?;
        match self.reordered(&graph, &plan)? {
            Some(reordered) => Ok(reordered),
            None => self.as_written(&plan, &mut graph.leaves.into_iter()),
        }
    }

    fn with_ordered_children(&mut self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let children = plan.children().into_iter().cloned();
        let children = children.map(|child| self.ordered(child)).collect::<Result<_>>()?;
        replace_children_if_necessary(plan, children)
    }

    /// The joins in another order, if there is a cheaper one.
    fn reordered(
        &mut self,
        graph: &JoinGraph,
        plan: &Arc<dyn ExecutionPlan>,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if graph.leaves.len() < 3 || !self.config.optimizer.join_reordering {
            return Ok(None);
        }
        let leaves: Vec<Arc<Estimate>> = graph.leaves.iter().map(|leaf| self.estimator.of(leaf)).collect();
        let mut search = Search::new(graph, &leaves);
        let (Some(written), Some(best)) = (search.written(), search.best()) else {
            return Ok(None);
        };
        if best >= written {
            return Ok(None);
        }
        rebuilt(graph, &mut search, &leaves, &plan.schema(), self.config)
    }

    /// The joins as they were, over other leaves, each with the smaller side built.
    fn as_written(
        &mut self,
        plan: &Arc<dyn ExecutionPlan>,
        leaves: &mut impl Iterator<Item = Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let is_inside = Movable::of(plan).is_some() || column_projection(plan).is_some();
        if !is_inside {
            return Ok(leaves.next().unwrap_or_else(|| Arc::clone(plan)));
        }
        let children = plan.children().into_iter();
        let children = children
            .map(|child| self.as_written(child, leaves))
            .collect::<Result<_>>()?;
        let plan = replace_children_if_necessary(Arc::clone(plan), children)?;
        self.with_sides(plan)
    }

    /// A join with its smaller side built; any other operator as it is.
    fn with_sides(&mut self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let [left, right] = plan.children()[..] else {
            return Ok(plan);
        };
        let (left_rows, right_rows) = (self.estimator.of(left).rows, self.estimator.of(right).rows);
        let (left, right) = (left.schema(), right.schema());
        let swaps = right_rows < left_rows;
        if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
            if join.null_aware {
                let join = join.builder().with_partition_mode(PartitionMode::CollectLeft);
                return join.build_exec();
            }
            if swaps && join.join_type().supports_swap() {
                return join.swap_inputs(partition_mode(&right, right_rows, self.config));
            }
            let mode = partition_mode(&left, left_rows, self.config);
            return join.builder().with_partition_mode(mode).build_exec();
        }
        if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>()
            && swaps
            && join.join_type().supports_swap()
        {
            return join.swap_inputs();
        }
        match plan.downcast_ref::<CrossJoinExec>() {
            Some(join) if swaps => join.swap_inputs(),
            _ => Ok(plan),
        }
    }
}
