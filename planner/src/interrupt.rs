//! Planning that ends when nobody waits for the plan any more.
//!
//! Resolving, analysing and optimising are long computations that never wait, so that aborting their task does not stop them. They
//! ask here, between rules and at each expression, and fail when the statement was cancelled, timed out or lost its client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::common::tree_node::Transformed;
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use datafusion::physical_optimizer::{PhysicalOptimizerContext, PhysicalOptimizerRule};
use datafusion::physical_plan::ExecutionPlan;

use crate::error::{Error, ErrorKind, Result};

tokio::task_local! {
    static ABANDONED: Arc<AtomicBool>;
}

/// Runs planning, which fails soon after `abandoned` was set.
pub async fn unless_abandoned<T>(abandoned: Arc<AtomicBool>, work: impl Future<Output = T>) -> T {
    ABANDONED.scope(abandoned, work).await
}

/// Fails when nobody waits for the plan that this task makes.
pub(crate) fn check() -> Result<()> {
    match ABANDONED.try_with(|abandoned| abandoned.load(Ordering::Relaxed)) {
        // Nobody will read it.
        Ok(true) => Err(Error::new(
            ErrorKind::QueryCanceled,
            "canceling statement due to user request",
        )),
        _ => Ok(()),
    }
}

/// A rule that asks at each node of the plan.
#[derive(Debug)]
pub(crate) struct Interruptible<R: ?Sized>(pub(crate) Arc<R>);

impl OptimizerRule for Interruptible<dyn OptimizerRule + Send + Sync> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> DataFusionResult<Transformed<LogicalPlan>> {
        check()?;
        self.0.rewrite(plan, config)
    }
}

impl PhysicalOptimizerRule for Interruptible<dyn PhysicalOptimizerRule + Send + Sync> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        check()?;
        self.0.optimize(plan, config)
    }

    fn optimize_with_context(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        context: &dyn PhysicalOptimizerContext,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        check()?;
        self.0.optimize_with_context(plan, context)
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_is_abandoned_ends() {
        assert!(check().is_ok(), "outside of a statement");
        let abandoned = Arc::new(AtomicBool::new(false));
        let work = async {
            assert!(check().is_ok());
            abandoned.store(true, Ordering::Relaxed);
            check()
        };
        let ended = unless_abandoned(Arc::clone(&abandoned), work).await;
        assert_eq!(ended.expect_err("abandoned").kind(), ErrorKind::QueryCanceled);
        assert!(check().is_ok(), "the next statement");
    }
}
