//! UPDATE, DELETE and MERGE: which rows go and which come, both told to the transaction at the end.

use std::sync::Arc;

use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use roaring::RoaringTreemap;
use staffa_catalog::{DataFile, LiveFile, Table};
use staffa_planner::{
    ChangeKind, ChangeOperators, ChangePlan, Error, GatheredRows, Result, bind, change_plan, is_short, live_row_count,
    rewrite_plan, rewrite_share, write_spec,
};

use crate::cancel::StatementGuard;
use crate::command::insert::{as_data_files, write_all};
use crate::command::returning;
use crate::cpu::CpuRuntime;
use crate::outcome::{CommandTag, Outcome};
use crate::session::Session;

/// Smaller files keep their deleted rows until they are compacted: to write them again would make writers of other rows
/// collide, and gain little.
const REWRITTEN_BYTES_MIN: u64 = 1 << 20;

/// Runs the statement. Its tag has the number of rows it inserted, updated and deleted.
pub(crate) async fn change(
    session: &mut Session,
    change: &ChangePlan,
    parameters: &[ScalarValue],
    words: &'static str,
    guard: StatementGuard,
) -> Result<Outcome> {
    let (rows, gathered) = change_rows(session, change, parameters, &guard).await?;
    match (&change.returning, gathered) {
        (Some(returning), Some(gathered)) => returning::answer(session, returning, &gathered, parameters, words, guard)
            .await
            .map(Outcome::Rows),
        _ => Ok(Outcome::Done(CommandTag::counted(words, rows))),
    }
}

/// Gives the number of rows, and where those for RETURNING are.
pub(crate) async fn change_rows(
    session: &mut Session,
    change: &ChangePlan,
    parameters: &[ScalarValue],
    guard: &StatementGuard,
) -> Result<(u64, Option<Arc<GatheredRows>>)> {
    if change.everything {
        return Ok((remove_everything(session, change, guard).await?, None));
    }
    let name = change.table.name();
    let logical = bind(&change.source, parameters)?;
    let prefix = match change.kind {
        ChangeKind::Delete => None,
        _ => Some(session.transaction().await?.begin_write(name).await?.data_prefix),
    };
    let snapshot = session.transactions_snapshot().await?;
    let context = session.context(snapshot);
    let task_context = context.task_context();
    let (planned, planning) = (change.clone(), context.clone());
    let work = async move {
        let operators = change_plan(&planning, &planned, logical).await?;
        let short = is_short(&operators.rows);
        Ok((operators, short))
    };
    let (operators, short) = guard.run(session.warehouse.planning().run(work)).await?;
    let ChangeOperators {
        rows: plan,
        changes,
        covered,
        gathered,
    } = operators;

    session.note_plan(&plan);
    let cpu = session.warehouse.cpu_of(short).clone();
    let written = match prefix {
        None => {
            let spawner = cpu.clone();
            let task = cpu.spawn(async move { drain_all(&spawner, plan, task_context).await });
            guard.run(task).await?;
            Vec::new()
        }
        Some(prefix) => {
            let options = session.warehouse.write_options().clone();
            let spec = Arc::new(write_spec(&change.table, &prefix, options)?);
            let (spawner, counter) = (cpu.clone(), session.file_counter());
            let stores = session.warehouse.stores().clone();
            let task = cpu.spawn(async move { write_all(&spawner, plan, task_context, stores, spec, counter).await });
            guard.run(task).await?
        }
    };

    let (gone, mut rows) = changes.take();
    let mut whole: Vec<Arc<LiveFile>> = Vec::new();
    let mut partly: Vec<(Arc<LiveFile>, RoaringTreemap)> = Vec::new();
    let mut worn: Vec<(Arc<LiveFile>, RoaringTreemap)> = Vec::new();
    let share = rewrite_share(&change.table)?;
    for number in covered {
        let file = change
            .files
            .get(number)
            .ok_or_else(|| Error::internal("an unknown file"))?;
        rows += guard.run(live_row_count(&context, &change.table, file)).await?;
        whole.push(Arc::clone(file));
    }
    for (number, positions) in gone {
        let file = usize::try_from(number).ok().and_then(|number| change.files.get(number));
        let file = Arc::clone(file.ok_or_else(|| Error::internal("a row of an unknown file"))?);
        let live = guard.run(live_row_count(&context, &change.table, &file)).await?;
        let left = live.saturating_sub(positions.len());
        let deleted = (file.row_count - left.min(file.row_count)) as f64;
        match left {
            0 => whole.push(file),
            _ if file.size_bytes >= REWRITTEN_BYTES_MIN && deleted > share * file.row_count as f64 => {
                worn.push((file, positions));
            }
            _ => partly.push((file, positions)),
        }
    }
    let mut files = as_data_files(&change.table, written)?;
    if !worn.is_empty() {
        files.extend(rewrite(session, change, &worn, guard).await?);
        whole.extend(worn.into_iter().map(|(file, _)| file));
    }
    let transaction = session.transaction().await?;
    transaction.remove_files(name, &whole).await?;
    transaction.delete_rows(name, partly).await?;
    if let Some(keys) = &change.keys
        && !files.is_empty()
    {
        let schema = change.table.schema();
        let ids = |key: &Vec<usize>| key.iter().map(|index| schema.columns[*index].field_id).collect();
        transaction.rely_on_keys(name, keys.columns.iter().map(ids)).await?;
    }
    transaction.append(name, files)?;
    Ok((rows, gathered))
}

/// Writes what is left of files into new ones.
async fn rewrite(
    session: &mut Session,
    change: &ChangePlan,
    worn: &[(Arc<LiveFile>, RoaringTreemap)],
    guard: &StatementGuard,
) -> Result<Vec<DataFile>> {
    let target = session.transaction().await?.begin_write(change.table.name()).await?;
    let snapshot = session.transactions_snapshot().await?;
    let context = session.context(snapshot);
    let task_context = context.task_context();
    let (table, worn) = (Arc::clone(&change.table), worn.to_vec());
    let work = async move { rewrite_plan(&context, &table, &worn).await };
    let plan = guard.run(session.warehouse.planning().run(work)).await?;
    session.note_plan(&plan);
    let options = session.warehouse.write_options().clone();
    let spec = Arc::new(write_spec(&change.table, &target.data_prefix, options)?);
    let cpu = session.warehouse.cpu().clone();
    let (spawner, counter) = (cpu.clone(), session.file_counter());
    let stores = session.warehouse.stores().clone();
    let task = cpu.spawn(async move { write_all(&spawner, plan, task_context, stores, spec, counter).await });
    as_data_files(&change.table, guard.run(task).await?)
}

/// DELETE without a condition reads no row.
async fn remove_everything(session: &mut Session, change: &ChangePlan, guard: &StatementGuard) -> Result<u64> {
    let snapshot = session.transactions_snapshot().await?;
    session.note_all_read(&change.table);
    let context = session.context(snapshot);
    let (table, files): (Arc<Table>, _) = (Arc::clone(&change.table), Arc::clone(&change.files));
    let count = async move {
        let mut rows = 0;
        for file in files.iter() {
            rows += live_row_count(&context, &table, file).await?;
        }
        Ok(rows)
    };
    let rows = guard.run(session.warehouse.planning().run(count)).await?;
    let transaction = session.transaction().await?;
    transaction.remove_files(change.table.name(), &change.files).await?;
    Ok(rows)
}

/// Runs all partitions of a plan whose rows nobody wants here.
async fn drain_all(cpu: &CpuRuntime, plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Result<()> {
    let mut partitions: FuturesUnordered<_> = (0..plan.properties().output_partitioning().partition_count())
        .map(|partition| {
            let (plan, context) = (Arc::clone(&plan), Arc::clone(&context));
            cpu.spawn(async move {
                let mut rows = plan.execute(partition, context)?;
                while let Some(batch) = rows.next().await {
                    batch?;
                }
                Ok(())
            })
        })
        .collect();
    while let Some(done) = partitions.next().await {
        done?;
    }
    Ok(())
}
