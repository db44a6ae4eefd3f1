//! Planning and functions that end when nobody waits for them any more, or when there is no memory for what they are about to make.
//!
//! Resolving, analysing and optimising are long computations that never wait, so that aborting their task does not stop them. They
//! ask here, between rules and at each expression, and fail when the statement was cancelled, timed out or lost its client.
//!
//! Operators wait often, but start tasks of their own: DataFusion's sort of 20 million rows has two thousand, each of which sorts one batch. The task
//! that is aborted ends when its turn comes, which is behind all of these. So they work no more from the moment on at which the
//! statement is of no interest: [`StopsWithStatement`] is what DataFusion starts its tasks through.
//!
//! Functions wait never, and the memory pool knows nothing of them: `replace` of ten megabytes may give ten gigabytes. What will be
//! long is asked for before it is made, while planning as well, where constants are computed.

use std::any::Any;
use std::fmt;
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

use crate::error::{Error, ErrorKind, Result};

/// The memory that the process may still take.
pub trait Room: fmt::Debug + Send + Sync {
    /// Promises so many bytes, if there are so many.
    fn promise(&self, bytes: u64) -> bool;

    /// They are not needed any more, or are there and seen.
    fn release(&self, bytes: u64);
}

/// What the work of a statement is told from outside.
#[derive(Clone, Debug)]
pub struct Supervision {
    /// Set when nobody waits for it any more.
    pub abandoned: Arc<AtomicBool>,
    pub room: Arc<dyn Room>,
}

tokio::task_local! {
    static SUPERVISION: Supervision;
}

/// Runs planning or operators.
pub async fn supervised<T>(supervision: Supervision, work: impl Future<Output = T>) -> T {
    SUPERVISION.scope(supervision, work).await
}

/// What a function gives without asking, in bytes: a batch of texts that are not long.
const UNASKED_BYTES: u64 = 8 << 20;

/// Memory for what a function makes, until that is done.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    bytes: u64,
    room: Option<Arc<dyn Room>>,
}

impl Asked {
    /// For so many bytes in all. Fails when there are not so many, or when nobody waits for the result.
    pub(crate) fn for_bytes(bytes: u64) -> Result<Self> {
        let mut asked = Self::default();
        asked.grow_to(bytes)?;
        Ok(asked)
    }

    /// So many bytes in all from now on. What grows little by little asks seldom.
    pub(crate) fn grow_to(&mut self, bytes: u64) -> Result<()> {
        let more = bytes.saturating_sub(self.bytes);
        if more <= UNASKED_BYTES {
            return Ok(());
        }
        check()?;
        let Ok(room) = SUPERVISION.try_with(|supervision| Arc::clone(&supervision.room)) else {
            return Ok(());
        };
        if !room.promise(more) {
            return Err(Error::new(ErrorKind::OutOfMemory, "out of memory")
                .with_detail(format!(
                    "A function would give {bytes} bytes, for which the server has no memory."
                ))
                .with_hint("Use a smaller query, or raise the memory limit of the server."));
        }
        self.bytes = bytes;
        self.room = Some(room);
        Ok(())
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(room) = &self.room {
            room.release(self.bytes);
        }
    }
}

/// Fails when nobody waits for what this task makes.
pub(crate) fn check() -> Result<()> {
    match SUPERVISION.try_with(|supervision| supervision.abandoned.load(Ordering::Relaxed)) {
        // Nobody will read it.
        Ok(true) => Err(Error::new(
            ErrorKind::QueryCanceled,
            "canceling statement due to user request",
        )),
        _ => Ok(()),
    }
}

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

    use std::sync::atomic::AtomicU64;

    use super::*;

    #[derive(Debug)]
    struct Bytes(AtomicU64);

    impl Room for Bytes {
        fn promise(&self, bytes: u64) -> bool {
            let take = |free: u64| free.checked_sub(bytes);
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
        }

        fn release(&self, bytes: u64) {
            self.0.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    fn with(abandoned: &Arc<AtomicBool>) -> Supervision {
        Supervision {
            abandoned: Arc::clone(abandoned),
            room: Arc::new(Bytes(AtomicU64::new(u64::MAX))),
        }
    }

    #[tokio::test]
    async fn what_there_is_no_memory_for_is_refused_before_it_is_made() {
        let free = Arc::new(Bytes(AtomicU64::new(100 << 20)));
        let supervision = Supervision {
            abandoned: Arc::default(),
            room: Arc::clone(&free) as _,
        };
        supervised(supervision, async {
            let mut first = Asked::for_bytes(60 << 20).expect("there is so much");
            let second = Asked::for_bytes(60 << 20).err().expect("no more than 40 MiB are left");
            assert_eq!(second.kind(), ErrorKind::OutOfMemory);
            assert!(Asked::for_bytes(UNASKED_BYTES).is_ok(), "so little is always there");
            first.grow_to(90 << 20).expect("30 MiB more");
            assert_eq!(free.0.load(Ordering::Relaxed), 10 << 20);
            drop(first);
            assert_eq!(free.0.load(Ordering::Relaxed), 100 << 20);
        })
        .await;
        assert!(Asked::for_bytes(1 << 40).is_ok(), "outside of a statement");
    }

    #[tokio::test]
    async fn only_what_is_abandoned_ends() {
        assert!(check().is_ok(), "outside of a statement");
        let abandoned = Arc::new(AtomicBool::new(false));
        let work = async {
            assert!(check().is_ok());
            abandoned.store(true, Ordering::Relaxed);
            check()
        };
        let ended = supervised(with(&abandoned), work).await;
        assert_eq!(ended.expect_err("abandoned").kind(), ErrorKind::QueryCanceled);
        assert!(check().is_ok(), "the next statement");
    }

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
