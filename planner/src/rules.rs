//! What happens to a plan between name resolution and the optimiser.
//!
//! Order: sums of dates and intervals first, because their types decide what is coerced; then DataFusion's analyzer, whose
//! type coercion puts casts in; then ours, which makes all casts PostgreSQL's. They run again when parameters have been bound, and find nothing to do where nothing changed.

mod casts;
mod characters;
mod dates;

use datafusion::common::DataFusionError;
use datafusion::logical_expr::LogicalPlan;

use crate::context::PlanContext;

/// Settles the types of a plan.
pub(crate) fn analyse(context: &PlanContext, plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    let state = &context.session;
    let plan = dates::keep_time(plan)?;
    let plan = state
        .analyzer()
        .execute_and_check(plan, state.config_options(), |_, _| {})?;
    let plan = casts::as_postgres(context, plan)?;
    characters::trim_literals(plan)
}
