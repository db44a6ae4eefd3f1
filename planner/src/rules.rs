//! What happens to a plan between name resolution and the optimiser.
//!
//! Order: DataFusion's analyzer first, because its type coercion puts casts in; then ours, which makes all casts
//! PostgreSQL's. Both run again when parameters have been bound, and find nothing to do where nothing changed.

mod casts;

use datafusion::common::DataFusionError;
use datafusion::logical_expr::LogicalPlan;

use crate::context::PlanContext;

/// Settles the types of a plan.
pub(crate) fn analyse(context: &PlanContext, plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    let state = &context.session;
    let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
    casts::as_postgres(context, plan)
}
