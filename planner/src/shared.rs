//! What a query computes more than once is computed once, where that is cheaper.
//!
//! ```text
//! WITH r AS (SELECT … GROUP BY …) SELECT … FROM r a JOIN r b ON …
//!
//! Shared: part=0
//!   HashJoin
//!     SharedRead: part=0, columns=[…]
//!     SharedRead: part=0, columns=[…]
//!   Aggregate
//! ```
//!
//! Equal parts are found before the plan is optimised (`shared/find.rs`). Their readers see a table; what all of them agree on, columns
//! and conditions, is handed down into the part (`shared/table.rs`). Then the operators of both ways, with the part computed once
//! and where it stands, are compared by what they cost (`shared/cost.rs`). Which way a plan goes that is kept for all values of its
//! parameters, the values of the run decide that made it.
//!
//! It is no choice where PostgreSQL has none: a query in WITH with `random()` gives its rows once (`rewrite/materialized.rs`), and
//! `AS MATERIALIZED` keeps conditions from below.

mod cost;
mod find;
mod operator;
mod rows;
mod table;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;

use self::find::{Must, parts_of};
pub(crate) use self::operator::{SharedExec, SharedReadExec};
use self::rows::SharedRows;
use self::table::Wanted;
use crate::error::Result;
use crate::estimate::{Estimate, Estimator};
use crate::physical::stock_operators_of;

/// Plans that are compared with the one that shares all there is.
const OTHERS_MAX: usize = 4;

/// Plans of less take longer to compare than to run.
const COMPARED_COST_MIN: f64 = 10_000.0;

/// An optimised query.
#[derive(Clone, Debug)]
pub(crate) struct Optimised {
    /// What is computed once, each before those that read it.
    parts: Vec<LogicalPlan>,
    main: LogicalPlan,
}

/// A part of the plan of one run.
#[derive(Debug)]
pub(crate) struct Part {
    number: usize,
    rows: Arc<SharedRows>,
    /// Known once its operators are.
    estimate: OnceLock<Estimate>,
}

/// Where readers find the parts of their plan.
#[derive(Debug)]
struct Parts(Vec<Arc<Part>>);

/// The optimised plan. `costing` makes operators to compare, which are not run, of a plan whose values `bound` puts in.
pub(crate) async fn optimise(
    state: &SessionState,
    costing: &SessionState,
    plan: LogicalPlan,
    bound: impl Fn(LogicalPlan) -> Result<LogicalPlan> + Send + Sync,
) -> Result<Optimised> {
    let (mut chosen, mut choices) = shared(state, plan.clone(), &[])?;
    if choices.is_empty() {
        return Ok(chosen);
    }
    let mut cost = cost_of(costing, chosen.clone().map(&bound)?).await?;
    if cost < COMPARED_COST_MIN {
        return Ok(chosen);
    }
    let (mut inline, mut next) = (Vec::new(), 0);
    for _ in 0..OTHERS_MAX {
        let Some(choice) = choices.get(next) else {
            break;
        };
        inline.push(Arc::clone(choice));
        let (other, other_choices) = shared(state, plan.clone(), &inline)?;
        let other_cost = cost_of(costing, other.clone().map(&bound)?).await?;
        if other_cost < cost {
            (chosen, choices, cost) = (other, other_choices, other_cost);
        } else {
            inline.pop();
            next += 1;
        }
    }
    Ok(chosen)
}

async fn cost_of(costing: &SessionState, plan: Optimised) -> Result<f64> {
    let operators = stock_operators_of(costing.clone(), plan).await?;
    Ok(cost::of(&operators, &mut Estimator::default()))
}

/// The optimised plan with all parts but `inline` computed once, and those of them that need not be, the last of them first.
fn shared(
    state: &SessionState,
    plan: LogicalPlan,
    inline: &[Arc<LogicalPlan>],
) -> Result<(Optimised, Vec<Arc<LogicalPlan>>)> {
    let found = parts_of(plan, inline)?;
    let mut optimised = Optimised {
        parts: Vec::new(),
        main: state.optimize(&found.main)?,
    };
    let mut choices = Vec::new();
    for (number, part) in found.parts.into_iter().enumerate().rev() {
        let schema = Arc::new(part.plan.schema().as_arrow().clone());
        let wanted = Wanted::of(number, &optimised.plans(), &schema)?;
        let narrow = wanted.narrowed(part.plan, part.must == Must::No)?;
        let narrow = state.optimize(&narrow)?;
        let schema = Arc::new(narrow.schema().as_arrow().clone());
        optimised = optimised.map(|plan| wanted.rebased(plan, number, &schema))?;
        optimised.parts.insert(0, narrow);
        if part.must == Must::No {
            choices.push(part.original);
        }
    }
    Ok((optimised, choices))
}

impl Optimised {
    /// The whole plan, where nothing is shared.
    pub(crate) fn single(&self) -> Option<&LogicalPlan> {
        self.parts.is_empty().then_some(&self.main)
    }

    /// All plans it consists of.
    pub(crate) fn plans(&self) -> Vec<&LogicalPlan> {
        self.parts.iter().chain([&self.main]).collect()
    }

    pub(crate) fn map(self, change: impl Fn(LogicalPlan) -> Result<LogicalPlan>) -> Result<Self> {
        Ok(Self {
            parts: self.parts.into_iter().map(&change).collect::<Result<_>>()?,
            main: change(self.main)?,
        })
    }

    /// The operators of all its plans, those of the parts under one of ours.
    pub(crate) async fn operators(self, mut state: SessionState) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = Arc::clone(state.query_planner());
        if self.parts.is_empty() {
            return Ok(planner.create_physical_plan(&self.main, &state).await?);
        }
        let part = |number| {
            Arc::new(Part {
                number,
                rows: Arc::new(SharedRows::new()),
                estimate: OnceLock::new(),
            })
        };
        let parts: Vec<Arc<Part>> = (0..self.parts.len()).map(part).collect();
        state.config_mut().set_extension(Arc::new(Parts(parts.clone())));
        let mut estimator = Estimator::default();
        let mut definitions = Vec::new();
        for (plan, part) in self.parts.iter().zip(&parts) {
            let definition = planner.create_physical_plan(plan, &state).await?;
            part.estimate
                .get_or_init(|| Estimate::clone(&estimator.of(&definition)));
            definitions.push(definition);
        }
        let mut operators = planner.create_physical_plan(&self.main, &state).await?;
        for (definition, part) in definitions.into_iter().zip(parts).rev() {
            operators = Arc::new(SharedExec::new(operators, definition, part));
        }
        Ok(operators)
    }
}
