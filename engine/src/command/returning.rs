//! RETURNING: the rows a statement has written or deleted, as its client asked for them.

use std::sync::Arc;

use datafusion::physical_plan::collect;
use datafusion::scalar::ScalarValue;
use staffa_planner::{GatheredRows, Result, Returning, physical};

use crate::cancel::StatementGuard;
use crate::session::Session;
use crate::stream::RowStream;

/// Computes the list over the rows. They are all there: the statement is done.
pub(crate) async fn answer(
    session: &mut Session,
    returning: &Returning,
    gathered: &GatheredRows,
    parameters: &[ScalarValue],
    words: &'static str,
    guard: StatementGuard,
) -> Result<RowStream> {
    let (rows, memory) = gathered.take();
    let logical = returning.over(parameters, rows)?;
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
    Ok(RowStream::returned(
        words,
        returning.query.columns.clone(),
        schema,
        Arc::from(batches),
        memory,
        guard,
        session.canceller(),
    ))
}
