//! Queries that run again: optimised once for all values of their parameters, which PostgreSQL calls a generic plan.
//!
//! ```text
//! first run     bind -> analyse -> optimise -> operators       the plan of these values
//! later runs    bind into the kept plan -> simplify -> operators
//!               of short queries: operators that are kept, too (`template.rs`)
//! ```
//!
//! A statement without parameters keeps what its first run optimised. One with parameters is optimised anew when it comes for the
//! second time, as most come once, or at once if a value is large. What the optimiser does with a value it then does not: only
//! literals are folded afterwards, so that files are pruned and casts taken off columns as ever. Two kinds of queries are optimised
//! every time: those with what the optimiser computes for this moment only (functions of the session, `'today'`), and those that limit
//! rows by a parameter, as sorts know their limits from it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, TableType};
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::scalar::ScalarValue;
use parking_lot::Mutex;

use crate::bind::Values;
use crate::context::PlanContext;
use crate::error::Result;
use crate::identity::QueryIdentity;
use crate::physical::{operators_of, optimised, silent_state, statement_state};
use crate::shared::{self, Optimised};
use crate::short::is_short;
use crate::statement::QueryPlan;
use crate::template::{Template, parameter_fields};
use crate::{function, rules};

/// Operators of a query that wait for a run. More runs at a time than these plan.
const TEMPLATES_MAX: usize = 8;

/// Words for dates and times that pass (PostgreSQL's manual, 8.5.1.4).
const MOMENTS: [&str; 4] = ["now", "today", "tomorrow", "yesterday"];

/// The plan of a query that is kept for its next runs. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Generic(Arc<Kept>);

#[derive(Debug, Default)]
struct Kept {
    ran: AtomicBool,
    /// `None`: there can be none.
    plan: OnceLock<Option<Optimised>>,
    /// Those that serve no run now. Locked to take one or give it back only.
    templates: Mutex<Vec<Template>>,
    has_no_template: AtomicBool,
    identity: OnceLock<Option<Arc<QueryIdentity>>>,
}

impl Generic {
    /// What the query's answer hangs on, once somebody has asked.
    pub(crate) fn known_identity(&self) -> &OnceLock<Option<Arc<QueryIdentity>>> {
        &self.0.identity
    }
}

/// The operators of one run of a query.
#[derive(Debug)]
pub struct Operators {
    pub plan: Arc<dyn ExecutionPlan>,
    /// Whether it reads few rows.
    pub is_short: bool,
    /// Where they are kept for the next run: this one must have ended, or be of no interest any more, when it is dropped.
    pub lease: Option<Lease>,
}

/// Gives operators back for the next run.
#[derive(Debug)]
pub struct Lease {
    kept: Arc<Kept>,
    template: Option<Template>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut templates = self.kept.templates.lock();
        if templates.len() < TEMPLATES_MAX {
            templates.extend(self.template.take());
        }
    }
}

impl Kept {
    /// The operators that a template gives for these values.
    fn run_of(
        self: &Arc<Self>,
        context: &PlanContext,
        template: Template,
        values: &Values,
    ) -> Result<Option<Operators>> {
        let plan = template.begin(&values.list, context.reports.as_deref())?;
        let lease = Lease {
            kept: Arc::clone(self),
            template: Some(template),
        };
        Ok(plan.map(|plan| Operators {
            plan,
            is_short: true,
            lease: Some(lease),
        }))
    }
}

/// The operators of a query for these values of its parameters, if they are kept and free: without a moment's planning.
///
/// Errors: as of [`physical_query`].
pub fn kept_query(context: &PlanContext, query: &QueryPlan, values: &[ScalarValue]) -> Result<Option<Operators>> {
    let kept = &query.generic.0;
    if !may_take_kept(context) {
        return Ok(None);
    }
    let Some(template) = kept.templates.lock().pop() else {
        return Ok(None);
    };
    let values = Values::of(query, values)?;
    kept.run_of(context, template, &values)
}

/// Whether the run may read more than its values ask for, and nobody wants to know what exactly.
fn may_take_kept(context: &PlanContext) -> bool {
    context.reads.is_none() && context.reports.as_ref().is_none_or(|reports| !reports.is_limited())
}

/// The operators of a query for these values of its parameters. Scans report to `context.reports`.
///
/// Errors: as of [`bind`](crate::bind) and [`physical`](crate::physical).
pub async fn physical_query(context: &PlanContext, query: &QueryPlan, values: &[ScalarValue]) -> Result<Operators> {
    let kept = &query.generic.0;
    let ran = kept.ran.swap(true, Ordering::Relaxed);
    let values = Values::of(query, values)?;
    // The optimiser makes names of expressions again and again: of a value of megabytes they are copies.
    let for_all = ran || values.are_large();
    if for_all && !values.list.is_empty() && kept.plan.get().is_none() {
        let plan = for_all_values(context, &query.logical, &values).await?;
        kept.plan.get_or_init(|| plan);
    }
    if let Some(Some(plan)) = kept.plan.get()
        && values.are_of_their_types
    {
        // Where one waits it has refused these values.
        let wants_template = may_take_kept(context) && kept.templates.lock().is_empty();
        if let Some(single) = plan.single()
            && wants_template
            && !kept.has_no_template.load(Ordering::Relaxed)
        {
            let types = values.list.iter().map(ScalarValue::data_type);
            match Template::make(context, single, parameter_fields(types)).await? {
                Some(template) => {
                    if let Some(operators) = kept.run_of(context, template, &values)? {
                        return Ok(operators);
                    }
                }
                None => kept.has_no_template.store(true, Ordering::Relaxed),
            }
        }
        let state = statement_state(context);
        let plan = match query.parameters.is_empty() {
            true => plan.clone(),
            false => plan.clone().map(|plan| simplified(&state, values.put_into(plan)?))?,
        };
        return of_these_values(state, plan).await;
    }
    let bound = values.put_into(query.logical.clone())?;
    let is_general = query.parameters.is_empty() && !depends_on_moment(&bound)?;
    let (state, plan) = optimised(context, bound).await?;
    if is_general {
        kept.plan.get_or_init(|| Some(plan.clone()));
    }
    of_these_values(state, plan).await
}

async fn of_these_values(state: SessionState, plan: Optimised) -> Result<Operators> {
    let plan = operators_of(state, plan).await?;
    Ok(Operators {
        is_short: is_short(&plan),
        plan,
        lease: None,
    })
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
async fn for_all_values(context: &PlanContext, plan: &LogicalPlan, values: &Values) -> Result<Option<Optimised>> {
    if limits_by_parameter(plan)? {
        return Ok(None);
    }
    // Only then are casts seen for what they read.
    let plan = rules::analyse(context, plan.clone())?;
    if depends_on_moment(&plan)? {
        return Ok(None);
    }
    let (state, costing) = (statement_state(context), silent_state(context));
    let plan = Box::pin(shared::optimise(&state, &costing, plan, |plan| values.put_into(plan))).await?;
    Ok(Some(plan))
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

pub(crate) fn some_expression(plan: &LogicalPlan, is_it: impl Fn(&LogicalPlan, &Expr) -> bool) -> Result<bool> {
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
