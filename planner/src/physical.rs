//! From a bound logical plan to operators: the session's facts put in, optimised, files pruned.

use std::sync::Arc;

use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;

use crate::context::PlanContext;
use crate::error::Result;
use crate::{function, rules, yielding};

/// The operators that compute a plan. Scans report to `context.reports`.
///
/// Errors: what optimising evaluates ahead (`1 / 0`, `'x'::int`), and what has no operator (`FeatureNotSupported`).
pub async fn physical(context: &PlanContext, plan: LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
    // Bound values may have brought types that only now need a cast.
    let plan = rules::analyse(context, plan)?;
    let plan = function::with_session_facts(context, plan)?;
    let plan = statement_state(context).create_physical_plan(&plan).await?;
    Ok(yielding::make_yielding(plan)?)
}

/// DataFusion's state with what the statement knows.
pub(crate) fn statement_state(context: &PlanContext) -> SessionState {
    let mut state = context.session.clone();
    state.config_mut().options_mut().execution.time_zone = Some(context.time_zone.clone());
    if let Some(reads) = &context.reads {
        state.config_mut().set_extension(Arc::clone(reads));
    }
    // `now()` is the start of the transaction, not of planning.
    state.execution_props_mut().query_execution_start_time = Some(context.transaction_time);
    state
}
