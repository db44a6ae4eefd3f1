//! From a bound logical plan to operators: the session's facts put in, optimised, files pruned.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::ExecutionPlan;

use crate::context::PlanContext;
use crate::error::Result;
use crate::function::SequenceCalls;
use crate::scan_report::ScanReports;
use crate::shared::{self, Optimised};
use crate::table_provider::{StaffaTable, WantsSamples};
use crate::{function, rules, yielding};

/// Joins of tables that are all smaller are cheap in any order.
const SAMPLED_ROWS_MIN: u64 = 10_000;

/// What leaves joins in the order of the text: PostgreSQL's setting, at 1.
const COLLAPSE_LIMIT: &str = "join_collapse_limit";

/// The operators that compute a plan. Scans report to `context.reports`.
///
/// Errors: what optimising evaluates ahead (`1 / 0`, `'x'::int`), and what has no operator (`FeatureNotSupported`).
pub async fn physical(context: &PlanContext, plan: LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
    let (state, plan) = optimised(context, plan).await?;
    operators_of(state, plan).await
}

/// The plan as the optimiser leaves it, and the state that makes its operators.
pub(crate) async fn optimised(context: &PlanContext, plan: LogicalPlan) -> Result<(SessionState, Optimised)> {
    if function::asks_catalog(&plan)? {
        context.load_catalog().await?;
    }
    // Bound values may have brought types that only now need a cast.
    let plan = rules::analyse(context, plan)?;
    let plan = function::with_session_facts(context, plan)?;
    let mut state = statement_state(context);
    if numbers_in_order(&plan)? {
        state.config_mut().options_mut().execution.target_partitions = 1;
    }
    let costing = silent_state(context);
    // Boxed, as here and below: it is large, and what waits for it lies on the stacks of callers.
    let plan = Box::pin(shared::optimise(&state, &costing, plan, Ok)).await?;
    Ok((state, plan))
}

/// The operators of an optimised plan.
pub(crate) async fn operators_of(state: SessionState, plan: Optimised) -> Result<Arc<dyn ExecutionPlan>> {
    make_own(stock_operators_of(state, plan).await?)
}

/// DataFusion's operators of an optimised plan, before ours come into their places.
pub(crate) async fn stock_operators_of(mut state: SessionState, plan: Optimised) -> Result<Arc<dyn ExecutionPlan>> {
    if wants_samples(&state, &plan)? {
        state.config_mut().set_extension(Arc::new(WantsSamples));
    }
    Box::pin(plan.operators(state)).await
}

/// The optimised operators with ours in their places.
pub(crate) fn make_own(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    Ok(yielding::make_yielding(staffa_execution::replace(plan)?)?)
}

/// Whether estimates are of use: where the order of joins matters, and where somebody wants to see them.
fn wants_samples(state: &SessionState, plan: &Optimised) -> Result<bool> {
    let reports = state.config().get_extension::<ScanReports>();
    if reports.is_some_and(|reports| reports.shows_estimates()) {
        return Ok(true);
    }
    for plan in plan.plans() {
        if has_estimates(plan)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether it joins tables in an order that matters.
pub(crate) fn has_estimates(plan: &LogicalPlan) -> Result<bool> {
    let (mut joins, mut rows_max) = (false, 0);
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::Join(_) => joins = true,
            LogicalPlan::TableScan(scan) => {
                if let Ok(provider) = source_as_provider(&scan.source)
                    && let Some(table) = provider.downcast_ref::<StaffaTable>()
                {
                    rows_max = table.row_count().max(rows_max);
                }
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(joins && rows_max >= SAMPLED_ROWS_MIN)
}

/// Whether rows take numbers of sequences and ask which were taken, or take them in an order: one after the other then. Batches
/// are `row_by_row.rs`'s.
fn numbers_in_order(plan: &LogicalPlan) -> Result<bool> {
    let mut calls = SequenceCalls::default();
    let mut sorts = false;
    plan.apply_with_subqueries(|node| {
        sorts |= matches!(node, LogicalPlan::Sort(_));
        node.apply_expressions(|expression| {
            expression.apply(|inner| {
                if let Expr::ScalarFunction(call) = inner {
                    calls.add(call.name());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(calls.hang_together() || sorts && calls.takes())
}

/// DataFusion's state with what the statement knows.
pub(crate) fn statement_state(context: &PlanContext) -> SessionState {
    let mut state = silent_state(context);
    if let Some(reads) = &context.reads {
        state.config_mut().set_extension(Arc::clone(reads));
    }
    if let Some(reports) = &context.reports {
        state.config_mut().set_extension(Arc::clone(reports));
    }
    state
}

/// The same for operators that are compared and not run: their scans tell nobody what they would read.
pub(crate) fn silent_state(context: &PlanContext) -> SessionState {
    let mut state = SessionState::clone(&context.operators);
    let zone = &state.config_options().execution.time_zone;
    if zone.as_ref() != Some(&context.time_zone) {
        state.config_mut().options_mut().execution.time_zone = Some(context.time_zone.clone());
    }
    if context.settings.get(COLLAPSE_LIMIT).is_some_and(|limit| limit == "1") {
        state.config_mut().options_mut().optimizer.join_reordering = false;
    }
    // `now()` is the start of the transaction, not of planning.
    state.execution_props_mut().query_execution_start_time = Some(context.transaction_time);
    state
}
