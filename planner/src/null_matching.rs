//! Two of DataFusion's optimiser rules, kept away from joins whose keys match where both are null.
//!
//! `a IS NOT DISTINCT FROM b` becomes a key of a join that is marked as one in which nulls match. That mark counts for all keys of
//! the join, and these rules add others, for which it is wrong: `extract_equijoin_predicate` turns an equality of the join's
//! condition into a key, `eliminate_cross_join` puts the keys of several joins together. `a = b` would hold for two nulls then.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{NullEquality, Result};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{Optimizer, OptimizerConfig, OptimizerRule};

type Rule = Arc<dyn OptimizerRule + Send + Sync>;

/// DataFusion's rules in their order, these two replaced.
pub(crate) fn optimizer_rules() -> Vec<Rule> {
    let replaced = |rule: Rule| -> Rule {
        match rule.name() {
            "eliminate_cross_join" => Arc::new(CrossJoins(EliminateCrossJoin::new())),
            "extract_equijoin_predicate" => Arc::new(Equalities(ExtractEquijoinPredicate::new())),
            _ => rule,
        }
    };
    Optimizer::new().rules.into_iter().map(replaced).collect()
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
