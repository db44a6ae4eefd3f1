//! Planning and tasks that end when nobody waits for them any more.
//!
//! Resolving, analysing and optimising are long computations that never wait, so that aborting their task does not stop them. They
//! ask (`supervision.rs`) between rules and at each expression, and fail when the statement was cancelled, timed out or lost its client.
//!
//! Operators wait often, but start tasks of their own: DataFusion's sort of 20 million rows has two thousand, each of which sorts one batch. The task
//! that is aborted ends when its turn comes, which is behind all of these. So they work no more from the moment on at which the
//! statement is of no interest: [`StopsWithStatement`] is what DataFusion starts its tasks through.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use datafusion::common::runtime::{JoinSetTracer, set_join_set_tracer};
use datafusion::common::tree_node::Transformed;
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use datafusion::physical_optimizer::{PhysicalOptimizerContext, PhysicalOptimizerRule};
use datafusion::physical_plan::ExecutionPlan;

use crate::supervision::{SUPERVISION, Supervision, check};

/// From now on tasks that operators start stop with the statement they belong to. For the whole process; once is enough.
pub fn stop_tasks_with_their_statements() {
    // Refused where it was done before; or by a program around us that watches its tasks in a way of its own, and keeps it.
    set_join_set_tracer(&StopsWithStatement).ok();
}

/// Ties tasks that are started within a statement's work to it.
struct StopsWithStatement;

impl JoinSetTracer for StopsWithStatement {
    fn trace_future(&self, work: Erased) -> Erased {
        match SUPERVISION.try_with(Supervision::clone) {
            Ok(supervision) => {
                let abandoned = Arc::clone(&supervision.abandoned);
                Box::pin(SUPERVISION.scope(supervision, Part { abandoned, work }))
            }
            Err(_) => work,
        }
    }

    fn trace_block(
        &self,
        work: Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>,
    ) -> Box<dyn FnOnce() -> Box<dyn Any + Send> + Send> {
        work
    }
}

type Erased = Pin<Box<dyn Future<Output = Box<dyn Any + Send>> + Send>>;

/// One task of a statement.
struct Part {
    abandoned: Arc<AtomicBool>,
    work: Erased,
}

impl Future for Part {
    type Output = Box<dyn Any + Send>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.abandoned.load(Ordering::Relaxed) {
            // Nobody wakes it: the task that waits for it is aborted, and drops it.
            return Poll::Pending;
        }
        self.work.as_mut().poll(cx)
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
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;
    use crate::supervision::supervised;
    use crate::supervision::tests::with;

    #[tokio::test]
    async fn tasks_of_operators_work_no_more_when_their_statement_is_abandoned() {
        let abandoned = Arc::new(AtomicBool::new(false));
        let worked = Arc::new(AtomicUsize::new(0));
        let start = || {
            let worked = Arc::clone(&worked);
            StopsWithStatement.trace_future(Box::pin(async move {
                // What they start themselves belongs to the statement, too.
                let part = StopsWithStatement.trace_future(Box::pin(async move {
                    worked.fetch_add(1, Ordering::Relaxed);
                    Box::new(()) as Box<dyn Any + Send>
                }));
                part.await
            }))
        };
        let (first, second) = supervised(with(&abandoned), async { (start(), start()) }).await;
        first.await;
        abandoned.store(true, Ordering::Relaxed);
        let mut second = tokio::spawn(second);
        let waited = tokio::time::timeout(Duration::from_millis(50), &mut second).await;
        assert!(waited.is_err(), "it neither works nor ends");
        second.abort();
        assert!(second.await.expect_err("aborted").is_cancelled());
        assert_eq!(worked.load(Ordering::Relaxed), 1);
        start().await;
        assert_eq!(worked.load(Ordering::Relaxed), 2, "outside of a statement");
    }
}
