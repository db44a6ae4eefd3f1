//! What operators cost, to compare two plans of one query: in rows, weighed by what is done with them.
//!
//! Of joins it is what the search for their order goes by.

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateInputMode};
use datafusion::physical_plan::joins::{CrossJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};

use super::operator::{SharedExec, SharedReadExec};
use crate::estimate::{Estimator, rows_read};
use crate::join_order::{BUILD_COST, OUTPUT_COST, PAIR_COST, PROBE_COST, is_join};

/// A value that a scan reads, or that is kept for readers.
const VALUE_COST: f64 = 0.1;
/// A row that passes an operator which looks at it.
const PASS_COST: f64 = 0.1;
/// A row that is grouped, or that a window looks at.
const GROUP_COST: f64 = 2.0;
/// A row that is sorted, for each time it is compared.
const COMPARE_COST: f64 = 0.1;

pub(super) fn of(plan: &Arc<dyn ExecutionPlan>, estimator: &mut Estimator) -> f64 {
    let children = plan.children().into_iter();
    let below: f64 = children.map(|child| of(child, estimator)).sum();
    below + own(plan, estimator)
}

fn own(plan: &Arc<dyn ExecutionPlan>, estimator: &mut Estimator) -> f64 {
    let width = |plan: &Arc<dyn ExecutionPlan>| plan.schema().fields().len().max(1) as f64;
    let rows = estimator.of(plan).rows;
    if let Some(shared) = plan.downcast_ref::<SharedExec>() {
        let part = shared.definition();
        return estimator.of(part).rows * (PASS_COST + VALUE_COST * width(part));
    }
    if plan.is::<SharedReadExec>() {
        return rows * PASS_COST;
    }
    let children = plan.children();
    let inputs: Vec<f64> = children.iter().map(|child| estimator.of(child).rows).collect();
    let input: f64 = inputs.iter().sum();
    match inputs[..] {
        [] => rows_read(plan) * (PASS_COST + VALUE_COST * width(plan)),
        [left, right] if plan.is::<NestedLoopJoinExec>() || plan.is::<CrossJoinExec>() => {
            PROBE_COST * (left + right) + PAIR_COST * left * right + OUTPUT_COST * rows
        }
        [build, probe] if is_join(plan.as_ref()) => BUILD_COST * build + PROBE_COST * probe + OUTPUT_COST * rows,
        _ => match plan.downcast_ref::<AggregateExec>() {
            // Its input is what was grouped once already.
            Some(groups) if groups.mode().input_mode() != AggregateInputMode::Raw => GROUP_COST * rows,
            Some(_) => GROUP_COST * input + OUTPUT_COST * rows,
            None if plan.is::<SortExec>() => COMPARE_COST * input * input.max(2.0).log2(),
            None if plan.is::<WindowAggExec>() || plan.is::<BoundedWindowAggExec>() => GROUP_COST * input,
            None => PASS_COST * input,
        },
    }
}
