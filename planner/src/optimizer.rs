//! DataFusion's optimiser rules, five of them kept away from plans they would break, and three of ours.
//!
//! `a IS NOT DISTINCT FROM b` becomes a key of a join that is marked as one in which nulls match. That mark counts for all keys of
//! the join, and two rules add others, for which it is wrong: `extract_equijoin_predicate` turns an equality of the join's
//! condition into a key, `eliminate_cross_join` puts the keys of several joins together. `a = b` would hold for two nulls then.
//!
//! `single_distinct_aggregation_to_group_by` sums sums, and a sum of numerics has more digits than its argument: the type
//! of the column changes under the expressions that read it. Ours keeps it (`distinct`).
//!
//! `push_down_filter` moves a condition without columns below an aggregate that has a row even where its input has none.
//!
//! Of a join with a grouped or distinct input DataFusion knows that its keys determine that input's columns. A grouping of such a
//! join takes them to determine all of its columns, and rules that believe it leave out sorts and keys (see `dependencies`).

mod dependencies;
mod distinct;
mod keys;
mod shifted;

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{NullEquality, Result};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan};
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion::optimizer::{Optimizer, OptimizerConfig, OptimizerRule};

use self::dependencies::{Distincts, JoinsDetermineNothing};
use self::distinct::DistinctFirst;
use self::keys::DeclaredKeys;
use self::shifted::ShiftedSums;
use crate::interrupt::Interruptible;

type Rule = Arc<dyn OptimizerRule + Send + Sync>;

/// DataFusion's rules in their order, these five replaced, and ours. All of them ask whether the plan is still wanted.
pub(crate) fn rules() -> Vec<Rule> {
    let replaced = |rule: Rule| -> Rule {
        match rule.name() {
            "eliminate_cross_join" => Arc::new(CrossJoins(EliminateCrossJoin::new())),
            "extract_equijoin_predicate" => Arc::new(Equalities(ExtractEquijoinPredicate::new())),
            "push_down_filter" => Arc::new(Filters(PushDownFilter::new())),
            "replace_distinct_aggregate" => Arc::new(Distincts(ReplaceDistinctWithAggregate::new())),
            "single_distinct_aggregation_to_group_by" => Arc::new(DistinctFirst),
            _ => rule,
        }
    };
    let believes = ["eliminate_duplicated_expr", "eliminate_join", "optimize_projections"];
    let corrected = |rule: Rule| {
        let first = believes
            .contains(&rule.name())
            .then(|| Arc::new(JoinsDetermineNothing) as Rule);
        first.into_iter().chain([rule])
    };
    let rules = Optimizer::new().rules.into_iter();
    let mut rules: Vec<Rule> = rules.map(replaced).flat_map(corrected).collect();
    // Once the keys of joins are known, and before what the joins read is decided.
    let place = rules.iter().position(|rule| rule.name() == "push_down_limit");
    rules.insert(place.unwrap_or(rules.len()), Arc::new(DeclaredKeys));
    // Before what is common to several arguments is computed below the aggregate.
    let place = rules
        .iter()
        .position(|rule| rule.name() == "common_sub_expression_eliminate");
    rules.insert(place.unwrap_or(rules.len()), Arc::new(ShiftedSums));
    rules
        .into_iter()
        .map(|rule| Arc::new(Interruptible(rule)) as Rule)
        .collect()
}

fn matches_nulls(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Join(join)
        if join.null_equality == NullEquality::NullEqualsNull && !join.on.is_empty())
}

#[derive(Debug)]
struct Equalities(ExtractEquijoinPredicate);

impl OptimizerRule for Equalities {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if matches_nulls(&plan) {
            return Ok(Transformed::no(plan));
        }
        self.0.rewrite(plan, config)
    }
}

/// Below such joins, and where there are none, cross joins go as ever.
#[derive(Debug)]
struct CrossJoins(EliminateCrossJoin);

impl OptimizerRule for CrossJoins {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        plan.transform_down(|plan| {
            if plan.exists(|inner| Ok(matches_nulls(inner)))? {
                return Ok(Transformed::no(plan));
            }
            let rewritten = self.0.rewrite(plan, config)?;
            // It has seen what is below.
            Ok(Transformed::new(
                rewritten.data,
                rewritten.transformed,
                TreeNodeRecursion::Jump,
            ))
        })
    }
}

#[derive(Debug)]
struct Filters(PushDownFilter);

impl OptimizerRule for Filters {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(_) = &plan else {
            return self.0.rewrite(plan, config);
        };
        let (conditions, input) = conditions_over(&plan);
        if !has_row_of_nothing(input) {
            return self.0.rewrite(plan, config);
        }
        let (stay, go): (Vec<Expr>, Vec<Expr>) = conditions
            .into_iter()
            .partition(|condition| condition.column_refs().is_empty());
        let (Some(stay), go) = (conjunction(stay), conjunction(go)) else {
            return self.0.rewrite(plan, config);
        };
        let Some(go) = go else {
            return Ok(Transformed::no(plan));
        };
        let below = LogicalPlan::Filter(Filter::try_new(go, Arc::new(input.clone()))?);
        self.0.rewrite(below, config)?.map_data(|below| {
            let above = Filter::try_new(stay, Arc::new(below))?;
            Ok(LogicalPlan::Filter(above))
        })
    }
}

/// The conditions of filters that stand on each other, and what they filter: the rule makes one of them, too.
fn conditions_over(plan: &LogicalPlan) -> (Vec<Expr>, &LogicalPlan) {
    let (mut conditions, mut input) = (Vec::new(), plan);
    while let LogicalPlan::Filter(filter) = input {
        conditions.extend(split_conjunction_owned(filter.predicate.clone()));
        input = &filter.input;
    }
    (conditions, input)
}

/// Whether it is an aggregate that has a row when there is nothing to aggregate.
fn has_row_of_nothing(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Aggregate(aggregate)
        if aggregate.group_expr.is_empty() || aggregate.group_expr.iter().any(|key| matches!(key, Expr::GroupingSet(_))))
}
