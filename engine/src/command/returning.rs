//! RETURNING: the rows a statement has written or deleted, as its client asked for them.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use staffa_planner::{GatheredRows, KeptRows, Result, Returning, physical};

use crate::cancel::StatementGuard;
use crate::session::Session;
use crate::stream::RowStream;

/// What a list gives.
pub(crate) struct Returned {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
    /// Accounts for the rows: to be kept as long as they are.
    pub(crate) memory: Vec<MemoryReservation>,
}

/// Computes the list over the rows for the client. They are all there: the statement is done.
pub(crate) async fn answer(
    session: &mut Session,
    returning: &Returning,
    gathered: &GatheredRows,
    parameters: &[ScalarValue],
    words: &'static str,
    guard: StatementGuard,
) -> Result<RowStream> {
    let returned = compute(session, returning, gathered, parameters, true, &guard).await?;
    Ok(RowStream::returned(
        words,
        returning.query.columns.clone(),
        returned.schema,
        Arc::from(returned.batches),
        returned.memory,
        guard,
        session.canceller(),
    ))
}

/// Computes the list over the rows; `shown`: as a client sees its values.
pub(crate) async fn compute(
    session: &mut Session,
    returning: &Returning,
    gathered: &GatheredRows,
    parameters: &[ScalarValue],
    shown: bool,
    guard: &StatementGuard,
) -> Result<Returned> {
    let (rows, memory) = gathered.take()?;
    let keeping = KeptRows::beside(&rows);
    let logical = returning.over(parameters, rows, shown)?;
    let snapshot = session.transactions_snapshot().await?;
    let mut context = session.context(snapshot);
    // In the order they were written in.
    context.set_tasks(1);
    let task_context = context.task_context();
    let cpu = session.warehouse.cpu().clone();
    let work = async move {
        let plan = physical(&context, logical).await?;
        let schema = plan.schema();
        let task = cpu.spawn(kept(plan, task_context, keeping));
        Ok((schema, task.await?))
    };
    let (schema, (batches, computed)) = guard.run(session.warehouse.planning().run(work)).await?;
    // The rows themselves may be among what is computed of them.
    let memory = memory.into_iter().chain([computed]).collect();
    Ok(Returned {
        schema,
        batches,
        memory,
    })
}

/// What the plan gives, and what accounts for its memory.
async fn kept(
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    mut kept: KeptRows,
) -> Result<(Vec<RecordBatch>, MemoryReservation)> {
    let memory = MemoryConsumer::new("RETURNING").register(context.memory_pool());
    let mut rows = execute_stream(plan, context)?;
    while let Some(batch) = rows.next().await {
        kept.add(batch?, &memory)?;
    }
    Ok((kept.finish()?, memory))
}
