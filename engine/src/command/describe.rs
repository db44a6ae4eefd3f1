//! EXPLAIN: the plan as text or JSON, with ANALYZE also run and timed.

use std::sync::Arc;
use std::time::Instant;

use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use staffa_planner::{
    Error, ExplainOptions, ExplainTarget, ExplainTimes, QueryPlan, Result, bind, explain_columns, physical,
};

use crate::cancel::StatementGuard;
use crate::session::Session;
use crate::stream::RowStream;

pub(crate) async fn explain(
    session: &mut Session,
    target: &ExplainTarget,
    options: &ExplainOptions,
    parameters: &[ScalarValue],
    guard: StatementGuard,
) -> Result<RowStream> {
    let source: &QueryPlan = match target {
        ExplainTarget::Query(query) => query,
        ExplainTarget::Insert(insert) => &insert.source,
        ExplainTarget::Change(change) => &change.source,
        ExplainTarget::CreateTableAs { source, .. } => source,
    };
    if options.analyze && !matches!(target, ExplainTarget::Query(_)) {
        return Err(
            Error::unsupported("EXPLAIN ANALYZE of a statement that writes is not supported")
                .with_hint("Use EXPLAIN ANALYZE on its query."),
        );
    }
    let started = Instant::now();
    let snapshot = session.transactions_snapshot().await?;
    let mut context = session.context(snapshot);
    if !options.analyze {
        context.reads = None;
    }
    // Without ANALYZE nothing is read, and no limit refuses it: it shows what would be.
    let reports = match &context.reports {
        Some(reports) if options.analyze => Arc::clone(reports),
        _ => Arc::default(),
    };
    reports.show_estimates();
    context.reports = Some(Arc::clone(&reports));
    let task_context = context.task_context();
    let logical = bind(source, parameters)?;
    let work = async move { physical(&context, logical).await };
    let plan = guard.run(session.warehouse.planning().run(work)).await?;
    session.note_plan(&plan);
    let planning = started.elapsed();
    let mut execution = None;
    if options.analyze {
        let started = Instant::now();
        let running: Arc<dyn ExecutionPlan> = Arc::clone(&plan);
        let work = async move {
            let mut rows = execute_stream(running, task_context)?;
            while let Some(batch) = rows.next().await {
                batch?;
            }
            Ok(())
        };
        guard.run(session.warehouse.cpu().run(work)).await?;
        execution = Some(started.elapsed());
    }
    let batch = staffa_planner::explain(target, &plan, &reports, options, &ExplainTimes { planning, execution })?;
    Ok(RowStream::ready(
        "EXPLAIN",
        explain_columns(options.format),
        batch,
        guard,
        session.canceller(),
    ))
}
