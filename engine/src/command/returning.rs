//! RETURNING: the rows a statement has written or deleted, as its client asked for them.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::collect;
use datafusion::scalar::ScalarValue;
use staffa_planner::{GatheredRows, Result, Returning, physical};

use crate::cancel::StatementGuard;
use crate::session::Session;
use crate::stream::RowStream;

/// What a list gives.
pub(crate) struct Returned {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
    /// Accounts for the rows: to be kept as long as they are.
    pub(crate) memory: Option<MemoryReservation>,
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
    let (rows, memory) = gathered.take();
    let logical = returning.over(parameters, rows, shown)?;
    let snapshot = session.transactions_snapshot().await?;
    let mut context = session.context(snapshot);
    // In the order they were written in.
    context.session.config_mut().options_mut().execution.target_partitions = 1;
    let task_context = context.session.task_ctx();
    let cpu = session.warehouse.cpu().clone();
    let work = async move {
        let plan = physical(&context, logical).await?;
        let schema = plan.schema();
        let task = cpu.spawn(async move { Ok(collect(plan, task_context).await?) });
        Ok((schema, task.await?))
    };
    let (schema, batches) = guard.run(session.warehouse.planning().run(work)).await?;
    Ok(Returned {
        schema,
        batches,
        memory,
    })
}
