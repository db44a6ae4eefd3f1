//! Corrections of what DataFusion's operators say about their rows, made before it decides where to sort, merge and filter.
//!
//! Three operators pass on that a column is constant although it is not: an outer join where it adds nulls, an aggregate with
//! grouping sets where it leaves a column out, a union of inputs with different constants. A sort by such a column would be
//! taken for none. And a projection finds columns by name: with two of one name a filter pushed through it is one on the
//! wrong column. So:
//!
//! ```text
//! HashJoin(Left, a, b where b.x = 3)          -> Guard(HashJoin(…))                nothing is known of its rows
//! Aggregate(cube(x, y), input)                -> Aggregate(cube(x, y), Guard(input))
//! Union(select 1, select 2)                   -> Union(Guard(select 1), Guard(select 2))
//! Projection(a@0 as a, a@1 as a)              -> Guard(Projection(…))              no filter goes through
//! ```
//!
//! A limit that only skips rows is taken for one that lets all pass: a sort below it is taken away where a projection leaves its key out,
//! and one above it goes below. So a guard asks for the order, and another lets none through:
//!
//! ```text
//! Limit(skip=3, Projection(a, Sort(b, …)))    -> Guard(Limit(skip=3, Projection(a, Guard(Sort(b, …)))))
//! ```
//!
//! And a filter whose condition became lazy does not see any more what it makes constant: a guard remembers it (`lazy.rs`).
//!
//! They stay in the plan, where they hand on what comes: an operator asks its input again whenever it gets a new one.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::JoinType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, OrderingRequirements, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::filter_pushdown::FilterPushdown;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, InputDistributionRequirements,
    PlanProperties, ReplaceChildrenOptions, Statistics,
};

use crate::interrupt::Interruptible;
use crate::join_order::JoinOrder;
use crate::late::LateOutputs;
use crate::lazy::{LazyConditions, LazyOutputs};
use crate::narrow::NarrowDecimals;
use crate::operator::only_child;
use crate::row_by_row::RowByRow;

type Rule = Arc<dyn PhysicalOptimizerRule + Send + Sync>;

/// The rule that gives scans the filters of joins and sorts.
const FILTERS_OF_A_RUN: &str = "FilterPushdown(Post)";

/// DataFusion's rules in their order, one of them replaced (`join_order.rs`), with guards put in before filters move and sorts are decided, arithmetic of decimals
/// made narrow before projections move, outputs of first rows made late after that, what counts row by row before all of them, and what makes conditions lazy around them.
pub(crate) fn physical_optimizer_rules() -> Vec<Rule> {
    // Once: the rule stands there twice.
    let mut narrow: Option<Rule> = Some(Arc::new(NarrowDecimals));
    let rules = PhysicalOptimizer::new().rules.into_iter().flat_map(|rule| {
        let ours: Vec<Rule> = match rule.name() {
            "FilterPushdown" => vec![Arc::new(Guards)],
            FILTERS_OF_A_RUN => vec![Arc::new(LateOutputs), Arc::new(NameGuards)],
            "ProjectionPushdown" => narrow.take().into_iter().collect(),
            _ => Vec::new(),
        };
        let rule: Rule = match rule.name() {
            "join_selection" => Arc::new(JoinOrder),
            _ => rule,
        };
        ours.into_iter().chain([rule])
    });
    let first: [Rule; 2] = [Arc::new(RowByRow), Arc::new(LazyOutputs)];
    let last: Rule = Arc::new(LazyConditions);
    let rules = first.into_iter().chain(rules).chain([last]);
    rules.map(|rule| Arc::new(Interruptible(rule)) as Rule).collect()
}

/// The same rules up to where filters are made that know more while a query runs: what they make can be kept for many runs.
pub(crate) fn rules_without_values() -> Vec<Rule> {
    let rules = physical_optimizer_rules().into_iter();
    rules.take_while(|rule| rule.name() != FILTERS_OF_A_RUN).collect()
}

/// The rules after those. That sorts and distribution are as operators want them was seen when these were made: they change neither.
pub(crate) fn rules_of_each_run() -> [Rule; 2] {
    [
        Arc::new(FilterPushdown::new_post_optimization()),
        Arc::new(LazyConditions),
    ]
}

#[derive(Debug)]
struct Guards;

impl PhysicalOptimizerRule for Guards {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(guarded).data()
    }

    fn name(&self) -> &str {
        "Guards"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The same for the projections that came in since.
#[derive(Debug)]
struct NameGuards;

impl PhysicalOptimizerRule for NameGuards {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            Ok(match repeats_names(&plan) {
                true => Transformed::yes(GuardExec::of(plan, Knows::All)),
                false => Transformed::no(plan),
            })
        })
        .data()
    }

    fn name(&self) -> &str {
        "NameGuards"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn guarded(plan: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    if repeats_names(&plan) {
        return Ok(Transformed::yes(GuardExec::of(plan, Knows::All)));
    }
    if let Some(limit) = plan.downcast_ref::<GlobalLimitExec>()
        && limit.skip() > 0
        && limit.fetch().is_none()
    {
        let plan = match in_order(limit.input())? {
            Some(input) => replace_children_if_necessary(plan, vec![input])?,
            None => plan,
        };
        return Ok(Transformed::yes(GuardExec::of(plan, Knows::Fixed)));
    }
    if let Some(nullable) = null_supplying(&plan) {
        let wrong = nullable.into_iter().any(|child| has_constants(plan.children()[child]));
        return Ok(match wrong {
            true => Transformed::yes(GuardExec::of(plan, Knows::Nothing)),
            false => Transformed::no(plan),
        });
    }
    let forgets = match plan.downcast_ref::<AggregateExec>() {
        Some(aggregate) => aggregate.group_expr().has_grouping_set(),
        None => plan.downcast_ref::<UnionExec>().is_some(),
    };
    if !forgets || !plan.children().into_iter().any(has_constants) {
        return Ok(Transformed::no(plan));
    }
    let children = plan.children().into_iter().cloned();
    let children = children.map(|child| GuardExec::of(child, Knows::Nothing)).collect();
    replace_children_if_necessary(plan, children).map(Transformed::yes)
}

/// Projections of a sort, with a guard that asks for its order.
fn in_order(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if let Some(sort) = plan.downcast_ref::<SortExec>() {
        let knows = Knows::Order(sort.expr().clone());
        return Ok(Some(GuardExec::of(Arc::clone(plan), knows)));
    }
    match plan.downcast_ref::<ProjectionExec>() {
        Some(projection) => in_order(projection.input())?
            .map(|input| replace_children_if_necessary(Arc::clone(plan), vec![input]))
            .transpose(),
        None => Ok(None),
    }
}

fn has_constants(plan: &Arc<dyn ExecutionPlan>) -> bool {
    !plan.properties().equivalence_properties().constants().is_empty()
}

fn repeats_names(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let Some(projection) = plan.downcast_ref::<ProjectionExec>() else {
        return false;
    };
    let mut names: Vec<&str> = projection.expr().iter().map(|output| output.alias.as_str()).collect();
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}

/// Which children of a join it gives nulls for.
fn null_supplying(plan: &Arc<dyn ExecutionPlan>) -> Option<Vec<usize>> {
    let join_type = if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        *join.join_type()
    } else if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
        *join.join_type()
    } else {
        plan.downcast_ref::<SortMergeJoinExec>()?.join_type()
    };
    Some(match join_type {
        JoinType::Left => vec![1],
        JoinType::Right => vec![0],
        JoinType::Full => vec![0, 1],
        _ => Vec::new(),
    })
}

/// What a guard passes on of its input's properties.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Knows {
    All,
    /// All, and asks for an order.
    Order(LexOrdering),
    /// All, and no other order can be asked for below.
    Fixed,
    /// Neither order nor constants.
    Nothing,
    /// What another operator knew, in whose place the input stands.
    Before,
}

#[derive(Debug)]
pub(crate) struct GuardExec {
    input: Arc<dyn ExecutionPlan>,
    knows: Knows,
    properties: Arc<PlanProperties>,
}

impl GuardExec {
    fn of(input: Arc<dyn ExecutionPlan>, knows: Knows) -> Arc<dyn ExecutionPlan> {
        let properties = match knows {
            Knows::All | Knows::Order(_) | Knows::Fixed | Knows::Before => Arc::clone(input.properties()),
            Knows::Nothing => {
                let nothing = EquivalenceProperties::new(input.schema());
                Arc::new(PlanProperties::clone(input.properties()).with_eq_properties(nothing))
            }
        };
        Self::knowing(input, knows, properties)
    }

    /// An operator that gives the rows of another, of which more is known than the operator says.
    pub(crate) fn instead_of(other: &Arc<dyn ExecutionPlan>, input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        Self::knowing(input, Knows::Before, Arc::clone(other.properties()))
    }

    pub(crate) fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    fn knowing(input: Arc<dyn ExecutionPlan>, knows: Knows, properties: Arc<PlanProperties>) -> Arc<dyn ExecutionPlan> {
        Arc::new(Self {
            input,
            knows,
            properties,
        })
    }
}

impl DisplayAs for GuardExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GuardExec")
    }
}

impl ExecutionPlan for GuardExec {
    fn name(&self) -> &str {
        "GuardExec"
    }

    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![!matches!(self.knows, Knows::Nothing | Knows::Fixed)]
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        self.input_distribution_requirements().into_per_child()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![match self.knows {
            // One limit counts them.
            Knows::Order(_) => Distribution::SinglePartition,
            Knows::All | Knows::Nothing | Knows::Fixed | Knows::Before => Distribution::UnspecifiedDistribution,
        }])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![match &self.knows {
            Knows::Order(order) => Some(OrderingRequirements::from(order.clone())),
            Knows::All | Knows::Nothing | Knows::Fixed | Knows::Before => None,
        }]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = only_child(children)?;
        Ok(match self.knows {
            Knows::Before => Self::knowing(input, Knows::Before, Arc::clone(&self.properties)),
            Knows::All | Knows::Order(_) | Knows::Fixed | Knows::Nothing => Self::of(input, self.knows.clone()),
        })
    }

    /// Still required, although it is deprecated for callers.
    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let recompute = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        self.replace_children(children, recompute)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        match inputs {
            [input] => Ok(Arc::clone(input)),
            _ => Err(DataFusionError::Internal("one child is expected".to_owned())),
        }
    }
}
