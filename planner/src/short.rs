//! Whether operators are surely done soon, so that they need not stand behind those that may not be.
//!
//! Judged by rows that are known and not by guesses: what the leaves give at most, and how many pairs are looked at.

use std::sync::Arc;

use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{CrossJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::unnest::UnnestExec;

/// Rows that all leaves may give together, and pairs that a join without keys may look at: some tens of milliseconds of work.
const ROWS_MAX: usize = 1 << 20;

/// Whether the plan reads few rows and makes few of them.
pub fn is_short(plan: &Arc<dyn ExecutionPlan>) -> bool {
    rows_at_most(plan).is_some()
}

/// The rows a plan has to do with; `None`: too many, or nobody knows how many.
fn rows_at_most(plan: &Arc<dyn ExecutionPlan>) -> Option<usize> {
    if plan.is::<RecursiveQueryExec>() || plan.is::<UnnestExec>() {
        return None;
    }
    let inputs = plan.children();
    if inputs.is_empty() {
        return rows_of_leaf(plan).filter(|rows| *rows <= ROWS_MAX);
    }
    let is_of_pairs = plan.is::<NestedLoopJoinExec>() || plan.is::<CrossJoinExec>();
    let mut rows = usize::from(is_of_pairs);
    for input in inputs {
        let more = rows_at_most(input)?;
        rows = if is_of_pairs { rows * more } else { rows + more };
        if rows > ROWS_MAX {
            return None;
        }
    }
    Some(rows)
}

fn rows_of_leaf(plan: &Arc<dyn ExecutionPlan>) -> Option<usize> {
    let scan = plan.downcast_ref::<DataSourceExec>();
    let Some(files) = scan.and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>()) else {
        let known = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new());
        return known.ok()?.num_rows.get_value().copied();
    };
    // Asked for its statistics, a scan copies those of all its columns; this is done for every query.
    let mut rows = 0_usize;
    for file in files.file_groups.iter().flat_map(|group| group.files()) {
        rows = rows.saturating_add(*file.statistics.as_ref()?.num_rows.get_value()?);
        if rows > ROWS_MAX {
            return None;
        }
    }
    Some(rows)
}
