//! A statement with INSERT, UPDATE, DELETE or queries in its WITH that run by themselves: one after the other, then the
//! statement itself.
//!
//! All of them are planned: what one writes is in no file that another reads.

use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::logical_expr::LogicalPlan;
use datafusion::scalar::ScalarValue;
use staffa_planner::{Error, Plan, Result, ReturnedRows, WithPart, WithPlan, with_returned};

use crate::cancel::StatementGuard;
use crate::command::{change, insert, returning};
use crate::outcome::Outcome;
use crate::session::Session;

pub(crate) async fn with(
    session: &mut Session,
    with: &WithPlan,
    parameters: &[ScalarValue],
    words: &'static str,
    guard: StatementGuard,
) -> Result<Outcome> {
    let pool = session.memory_pool();
    let mut returned: Vec<ReturnedRows> = Vec::new();
    let mut memory: Vec<MemoryReservation> = Vec::new();
    for part in &with.parts {
        let rows = Box::pin(run_part(session, part, &returned, parameters, &guard)).await?;
        if let Some((rows, reservation)) = rows {
            returned.push(rows);
            memory.extend(reservation);
        }
    }
    match &with_returned(&with.main, &returned)? {
        // Its rows are told when all is done: so the whole can be run again, as any statement that writes.
        Plan::Query(query) => {
            let rows = session.start_query(query, parameters, guard).await?.keeping(memory);
            match changes_rows(with) {
                true => rows
                    .read_all(&pool, is_ordered(&query.logical))
                    .await
                    .map(Outcome::Rows),
                false => Ok(Outcome::Rows(rows)),
            }
        }
        Plan::Insert(plan) => Box::pin(insert::insert(session, plan, parameters, guard)).await,
        Plan::Change(plan) => Box::pin(change::change(session, plan, parameters, words, guard)).await,
        _ => Err(Error::internal("a statement that has no WITH")),
    }
}

/// Whether the query says in which order its rows come.
fn is_ordered(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Limit(_) => {
            plan.inputs().into_iter().any(is_ordered)
        }
        _ => false,
    }
}

fn changes_rows(with: &WithPlan) -> bool {
    with.parts.iter().any(|part| !matches!(part.plan, Plan::Query(_)))
}

/// Gives the rows that it returns, and what accounts for their memory.
async fn run_part(
    session: &mut Session,
    part: &WithPart,
    before: &[ReturnedRows],
    parameters: &[ScalarValue],
    guard: &StatementGuard,
) -> Result<Option<(ReturnedRows, Vec<MemoryReservation>)>> {
    let plan = with_returned(&part.plan, before)?;
    let ((_, gathered), list) = match &plan {
        Plan::Query(query) => {
            let pool = session.memory_pool();
            let rows = session.start_query(query, parameters, guard.clone()).await?;
            let (batches, memory) = rows.read_all(&pool, false).await?.into_returned();
            return Ok(part.rows(batches)?.map(|rows| (rows, memory)));
        }
        Plan::Insert(plan) => {
            let done = insert::insert_rows(session, plan, parameters, guard).await?;
            (done, &plan.returning)
        }
        Plan::Change(plan) => {
            let done = change::change_rows(session, plan, parameters, guard).await?;
            (done, &plan.returning)
        }
        _ => return Err(Error::internal("a statement in WITH that is none")),
    };
    let (Some(list), Some(gathered)) = (list, gathered) else {
        return Ok(None);
    };
    let answer = returning::compute(session, list, &gathered, parameters, false, guard).await?;
    let rows = part.rows(answer.batches)?;
    Ok(rows.map(|rows| (rows, answer.memory)))
}
