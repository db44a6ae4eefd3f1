//! Queries that run again: optimised once for all values of their parameters, which PostgreSQL calls a generic plan.
//!
//! ```text
//! first run     bind -> analyse -> optimise -> operators       the plan of these values
//! later runs    bind into the kept plan -> simplify -> operators
//! ```
//!
//! A statement without parameters keeps what its first run optimised. One with parameters is optimised anew when it comes for the
//! second time, as most come once. What the optimiser does with a value it then does not: only literals are folded afterwards, so that
//! files are pruned and casts taken off columns as ever. Two kinds of queries are optimised every time: those with what the optimiser
//! computes for this moment only (functions of the session, `'today'`), and those that limit rows by a parameter, as sorts know their
//! limits from it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, TableType};
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::scalar::ScalarValue;

use crate::bind::Values;
use crate::context::PlanContext;
use crate::error::Result;
use crate::physical::{operators_of, optimised, statement_state};
use crate::statement::QueryPlan;
use crate::{function, rules};

/// Words for dates and times that pass (PostgreSQL's manual, 8.5.1.4).
const MOMENTS: [&str; 4] = ["now", "today", "tomorrow", "yesterday"];

/// The plan of a query that is kept for its next runs. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Generic(Arc<Kept>);

#[derive(Debug, Default)]
struct Kept {
    ran: AtomicBool,
    /// `None`: there can be none.
    plan: OnceLock<Option<LogicalPlan>>,
}

/// The operators of a query for these values of its parameters. Scans report to `context.reports`.
///
/// Errors: as of [`bind`](crate::bind) and [`physical`](crate::physical).
pub async fn physical_query(
    context: &PlanContext,
    query: &QueryPlan,
    values: &[ScalarValue],
) -> Result<Arc<dyn ExecutionPlan>> {
    let kept = &query.generic.0;
    let ran = kept.ran.swap(true, Ordering::Relaxed);
    if ran && !values.is_empty() && kept.plan.get().is_none() {
        let plan = for_all_values(context, &query.logical)?;
        kept.plan.get_or_init(|| plan);
    }
    let values = Values::of(query, values)?;
    if let Some(Some(plan)) = kept.plan.get()
        && values.are_of_their_types
    {
        let state = statement_state(context);
        let plan = match query.parameters.is_empty() {
            true => plan.clone(),
            false => simplified(&state, values.into_plan(plan.clone())?)?,
        };
        return operators_of(state, &plan).await;
    }
    let bound = values.into_plan(query.logical.clone())?;
    let is_general = query.parameters.is_empty() && !depends_on_moment(&bound)?;
    let (state, plan) = optimised(context, bound).await?;
    if is_general {
        kept.plan.get_or_init(|| Some(plan.clone()));
    }
    operators_of(state, &plan).await
}

impl QueryPlan {
    /// Whether it does more than show what the server knows: reads files, makes rows of nothing or from one another.
    pub fn is_work(&self) -> Result<bool> {
        let mut is_work = false;
        self.logical.apply_with_subqueries(|node| {
            is_work |= match node {
                LogicalPlan::TableScan(scan) => scan.source.table_type() == TableType::Base,
                LogicalPlan::RecursiveQuery(_) | LogicalPlan::Unnest(_) => true,
                _ => false,
            };
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(is_work)
    }

    /// Whether its plan is one session's, or one moment's. Functions of a session hold on to it.
    ///
    /// Errors: of DataFusion's walk through the plan.
    pub fn is_of_session(&self) -> Result<bool> {
        depends_on_moment(&self.logical)
    }
}

/// The optimised plan with its parameters; `None` when it must be made with their values.
fn for_all_values(context: &PlanContext, plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    if depends_on_moment(plan)? || limits_by_parameter(plan)? {
        return Ok(None);
    }
    let plan = rules::analyse(context, plan.clone())?;
    Ok(Some(statement_state(context).optimize(&plan)?))
}

/// Whether it has what the optimiser computes from the facts of a session or a moment.
fn depends_on_moment(plan: &LogicalPlan) -> Result<bool> {
    some_expression(plan, |_, expression| match expression {
        Expr::Literal(value, _) => value.try_as_str().flatten().is_some_and(mentions_moment),
        _ => function::is_of_session(expression),
    })
}

/// Whether a text may be read as a date or time that is another one tomorrow: `today`, `now`.
pub fn mentions_moment(text: &str) -> bool {
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| MOMENTS.iter().any(|moment| word.eq_ignore_ascii_case(moment)))
}

fn limits_by_parameter(plan: &LogicalPlan) -> Result<bool> {
    some_expression(plan, |node, expression| {
        matches!(node, LogicalPlan::Limit(_)) && matches!(expression, Expr::Placeholder(_))
    })
}

fn some_expression(plan: &LogicalPlan, is_it: impl Fn(&LogicalPlan, &Expr) -> bool) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            found |= expression.exists(|inner| Ok(is_it(node, inner)))?;
            Ok(match found {
                true => TreeNodeRecursion::Stop,
                false => TreeNodeRecursion::Continue,
            })
        })
    })?;
    Ok(found)
}

/// Literals folded where parameters were.
fn simplified(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan> {
    let rule: Arc<dyn OptimizerRule + Send + Sync> = Arc::new(SimplifyExpressions::new());
    Ok(Optimizer::with_rules(vec![rule]).optimize(plan, state, |_, _| {})?)
}
