//! AND and OR one side of which fails only where it has to be known.
//!
//! PostgreSQL looks at the right side of `b <> 0 AND a / b > 2` for the rows that pass the left one, and people rely on it. (Of the
//! conditions of WHERE it takes what costs less first, so the other way round does, too.) DataFusion computes both sides for all rows of
//! a batch unless the left one leaves few. So, once nothing moves any more:
//!
//! ```text
//! Filter(b <> 0 AND a / b > 2)     -> Guard(Filter(Lazy(b <> 0 AND a / b > 2)))
//! ```
//!
//! `Lazy` computes as ever, for all rows at once. Only when that fails it goes from one member of the chain to the next, with the
//! rows that are left open: a condition that does not fail costs nothing more. (Functions that give another value each time are asked
//! again then: `nextval('s') > 0 AND a / b > 2` may leave numbers out.)
//!
//! What is computed in outputs becomes lazy first of all, so that whoever asks for an order by it asks for the same. Arguments and keys
//! of window functions are put into a projection for that, while the plan is a logical one (`rules/conditions.rs`).

mod cost;
mod expression;

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr,
};
use datafusion::physical_expr::projection::ProjectionExpr;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, PhysicalGroupBy};
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    HashJoinExec, HashJoinExecBuilder, NestedLoopJoinExec, NestedLoopJoinExecBuilder,
};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;

use self::expression::{Chain, LazyExpr, Order};
use crate::guard::GuardExec;

/// Makes what projections, aggregates and sorts compute lazy. The first of all rules: scans take projections in later.
#[derive(Debug)]
pub(crate) struct LazyOutputs;

impl PhysicalOptimizerRule for LazyOutputs {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(with_lazy_outputs).data()
    }

    fn name(&self) -> &str {
        "LazyOutputs"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Makes the conditions of filters and joins lazy. The last of all rules: others look into conditions.
#[derive(Debug)]
pub(crate) struct LazyConditions;

impl PhysicalOptimizerRule for LazyConditions {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(with_lazy_conditions).data()
    }

    fn name(&self) -> &str {
        "LazyConditions"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn with_lazy_outputs(plan: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let mut computed = Computed::default();
    let lazy: Option<Arc<dyn ExecutionPlan>> = if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        lazy_projection(projection, &mut computed)?.map(|lazy| Arc::new(lazy) as _)
    } else if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        lazy_aggregate(aggregate, &mut computed)?.map(|lazy| Arc::new(lazy) as _)
    } else if let Some(sort) = plan.downcast_ref::<SortExec>() {
        lazy_sort(sort, &mut computed)?.map(|lazy| Arc::new(lazy) as _)
    } else {
        None
    };
    Ok(match lazy {
        Some(lazy) => Transformed::yes(lazy),
        None => Transformed::no(plan),
    })
}

/// Expressions made lazy, and whether one of them needed it.
#[derive(Default)]
struct Computed {
    changed: bool,
}

impl Computed {
    fn lazy(&mut self, expr: &Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let expr = lazy(expr)?;
        self.changed |= expr.transformed;
        Ok(expr.data)
    }

    fn all<'a>(
        &mut self,
        exprs: impl IntoIterator<Item = &'a Arc<dyn PhysicalExpr>>,
    ) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
        exprs.into_iter().map(|expr| self.lazy(expr)).collect()
    }
}

fn lazy_projection(projection: &ProjectionExec, computed: &mut Computed) -> Result<Option<ProjectionExec>> {
    let outputs = projection.expr().iter().map(|output| {
        let expr = computed.lazy(&output.expr)?;
        let alias = output.alias.clone();
        Ok(ProjectionExpr { expr, alias })
    });
    let outputs: Vec<ProjectionExpr> = outputs.collect::<Result<_>>()?;
    if !computed.changed {
        return Ok(None);
    }
    let input = Arc::clone(projection.input());
    ProjectionExec::try_new_with_schema_metadata(outputs, input, &projection.schema()).map(Some)
}

fn lazy_aggregate(aggregate: &AggregateExec, computed: &mut Computed) -> Result<Option<AggregateExec>> {
    let keys = aggregate.group_expr();
    let key_exprs = keys
        .expr()
        .iter()
        .map(|(key, name)| Ok((computed.lazy(key)?, name.clone())));
    let key_exprs: Vec<_> = key_exprs.collect::<Result<_>>()?;
    let functions = aggregate.aggr_expr().iter().map(|function| {
        let parts = function.all_expressions();
        let function = function.with_new_expressions(computed.all(&parts.args)?, computed.all(&parts.order_by_exprs)?);
        function
            .map(Arc::new)
            .ok_or_else(|| DataFusionError::Internal("an aggregate lost an argument".to_owned()))
    });
    let functions: Vec<_> = functions.collect::<Result<_>>()?;
    let filters = aggregate.filter_expr().iter();
    let filters: Vec<_> = filters
        .map(|filter| filter.as_ref().map(|filter| computed.lazy(filter)).transpose())
        .collect::<Result<_>>()?;
    if !computed.changed {
        return Ok(None);
    }
    let keys = PhysicalGroupBy::new(
        key_exprs,
        keys.null_expr().to_vec(),
        keys.groups().to_vec(),
        keys.has_grouping_set(),
    );
    let (mode, input) = (*aggregate.mode(), Arc::clone(aggregate.input()));
    let lazy = AggregateExec::try_new(mode, keys, functions, filters, input, aggregate.input_schema())?;
    Ok(Some(lazy.with_limit_options(aggregate.limit_options())))
}

fn lazy_sort(sort: &SortExec, computed: &mut Computed) -> Result<Option<SortExec>> {
    let keys = sort.expr().iter().map(|key| {
        let expr = computed.lazy(&key.expr)?;
        Ok(PhysicalSortExpr::new(expr, key.options))
    });
    let keys: Vec<PhysicalSortExpr> = keys.collect::<Result<_>>()?;
    let Some(keys) = LexOrdering::new(keys).filter(|_| computed.changed) else {
        return Ok(None);
    };
    let lazy = SortExec::new(keys, Arc::clone(sort.input()));
    let lazy = lazy.with_preserve_partitioning(sort.preserve_partitioning());
    Ok(Some(lazy.with_fetch(sort.fetch())))
}

fn with_lazy_conditions(plan: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        let predicate = lazy_condition(filter.predicate())?;
        if predicate.transformed {
            let filter = FilterExecBuilder::from(filter).with_predicate(predicate.data).build()?;
            // Of a lazy condition a filter does not see any more which columns it makes constant; what stands above relies on it.
            return Ok(Transformed::yes(GuardExec::instead_of(&plan, Arc::new(filter))));
        }
    } else if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        if let Some(filter) = lazy_join_filter(join.filter())? {
            let join = HashJoinExecBuilder::from(join).with_filter(Some(filter)).build()?;
            return Ok(Transformed::yes(Arc::new(join)));
        }
    } else if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>()
        && let Some(filter) = lazy_join_filter(join.filter())?
    {
        let join = NestedLoopJoinExecBuilder::from(join)
            .with_filter(Some(filter))
            .build()?;
        return Ok(Transformed::yes(Arc::new(join)));
    }
    Ok(Transformed::no(plan))
}

fn lazy_join_filter(filter: Option<&JoinFilter>) -> Result<Option<JoinFilter>> {
    let Some(filter) = filter else {
        return Ok(None);
    };
    let condition = lazy_condition(filter.expression())?;
    let (columns, schema) = (filter.column_indices().to_vec(), Arc::clone(filter.schema()));
    Ok(condition
        .transformed
        .then(|| JoinFilter::new(condition.data, columns, schema)))
}

/// A condition that rows have to meet.
fn lazy_condition(expr: &Arc<dyn PhysicalExpr>) -> Result<Transformed<Arc<dyn PhysicalExpr>>> {
    match Chain::of(expr) {
        Some(chain) if chain.op == Operator::And => Ok(made_lazy(expr, &chain, Order::Cheapest)),
        _ => lazy(expr),
    }
}

/// A value: what stands first in it, comes first.
pub(crate) fn lazy(expr: &Arc<dyn PhysicalExpr>) -> Result<Transformed<Arc<dyn PhysicalExpr>>> {
    Arc::clone(expr).transform_down(|expr| {
        Ok(match Chain::of(&expr) {
            Some(chain) => made_lazy(&expr, &chain, Order::Written),
            None => Transformed::no(expr),
        })
    })
}

/// What is inside of a chain is its own business.
fn made_lazy(expr: &Arc<dyn PhysicalExpr>, chain: &Chain<'_>, order: Order) -> Transformed<Arc<dyn PhysicalExpr>> {
    let expr = Arc::clone(expr);
    let wanted = chain.members.iter().copied().any(may_fail);
    let made: Arc<dyn PhysicalExpr> = match wanted {
        true => Arc::new(LazyExpr::new(expr, order)),
        false => expr,
    };
    Transformed::new(made, wanted, TreeNodeRecursion::Jump)
}

/// Comparisons of columns and constants do not.
fn may_fail(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let cannot = expr.downcast_ref::<BinaryExpr>().is_some_and(|binary| {
        use Operator::{And, Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq, Or};
        matches!(
            binary.op(),
            Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom | And | Or
        )
    }) || expr.downcast_ref::<Column>().is_some()
        || expr.downcast_ref::<Literal>().is_some()
        || expr.downcast_ref::<NotExpr>().is_some()
        || expr.downcast_ref::<IsNullExpr>().is_some()
        || expr.downcast_ref::<IsNotNullExpr>().is_some()
        || expr.downcast_ref::<InListExpr>().is_some()
        || expr.downcast_ref::<LikeExpr>().is_some();
    !cannot || expr.children().into_iter().any(may_fail)
}
