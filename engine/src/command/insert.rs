//! Writing rows into a table: the one path of INSERT, CREATE TABLE AS, COPY and `Session::append`.
//!
//! The rows come as a logical plan. `write_plan` puts the table's rules and its sort order over it, and each of its
//! partitions feeds a writer of its own. Files become visible with the transaction's commit, all at once.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use datafusion::execution::TaskContext;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use staffa_catalog::{DataFile, LiveFile, Table, TableName, Transform};
use staffa_planner::{
    Error, ErrorKind, GatheredRows, InsertPlan, QueryPlan, Result, bind, data_file, is_short, write_plan, write_spec,
};
use staffa_storage::{FileWriter, WriteSpec, WrittenFile};

use crate::cancel::StatementGuard;
use crate::command::returning;
use crate::cpu::CpuRuntime;
use crate::outcome::{CommandTag, Outcome};
use crate::session::Session;

/// INSERT
pub(crate) async fn insert(
    session: &mut Session,
    insert: &InsertPlan,
    parameters: &[ScalarValue],
    guard: StatementGuard,
) -> Result<Outcome> {
    const WORDS: &str = "INSERT 0";
    let (rows, gathered) = insert_rows(session, insert, parameters, &guard).await?;
    let (Some(returning), Some(gathered)) = (&insert.returning, gathered) else {
        return Ok(Outcome::Done(CommandTag::counted(WORDS, rows)));
    };
    returning::answer(session, returning, &gathered, parameters, WORDS, guard)
        .await
        .map(Outcome::Rows)
}

/// Gives the number of rows, and where those for RETURNING are.
pub(crate) async fn insert_rows(
    session: &mut Session,
    insert: &InsertPlan,
    parameters: &[ScalarValue],
    guard: &StatementGuard,
) -> Result<(u64, Option<Arc<GatheredRows>>)> {
    let gathered = insert.returning.as_ref().map(|_| Arc::<GatheredRows>::default());
    let rows = bind(&insert.source, parameters)?;
    let mut writing = Writing::begin(session, insert.table.name(), rows, guard, gathered.as_ref()).await?;
    if insert.overwrite {
        writing.takes_out = TakesOut::Partitions;
    }
    Ok((writing.finish(session, guard).await?, gathered))
}

/// Appends a query's rows, which are in the table's column order, to a table.
pub(crate) async fn fill(
    session: &mut Session,
    name: &TableName,
    source: &QueryPlan,
    parameters: &[ScalarValue],
    guard: &StatementGuard,
) -> Result<u64> {
    let rows = bind(source, parameters)?;
    let writing = Writing::start(session, name, rows, guard).await?;
    writing.finish(session, guard).await
}

/// Writes rows, which are in the table's column order, in the place of all that the table has.
pub(crate) async fn replace(
    session: &mut Session,
    name: &TableName,
    rows: LogicalPlan,
    guard: &StatementGuard,
) -> Result<u64> {
    let mut writing = Writing::start(session, name, rows, guard).await?;
    writing.takes_out = TakesOut::Everything;
    writing.finish(session, guard).await
}

/// Which rows of the table go when the new ones come.
#[derive(Clone, Copy, Debug)]
enum TakesOut {
    Nothing,
    /// Those of the partitions that get rows.
    Partitions,
    Everything,
}

/// A write that is under way on the CPU runtime.
#[derive(Debug)]
pub(crate) struct Writing {
    table: Arc<Table>,
    takes_out: TakesOut,
    task: crate::cpu::Task<Vec<WrittenFile>>,
}

impl Writing {
    /// Registers the write with the transaction and starts it.
    pub(crate) async fn start(
        session: &mut Session,
        name: &TableName,
        rows: LogicalPlan,
        guard: &StatementGuard,
    ) -> Result<Self> {
        Self::begin(session, name, rows, guard, None).await
    }

    /// The same; `gathered` gets the rows as they are written, in the order they come in.
    async fn begin(
        session: &mut Session,
        name: &TableName,
        rows: LogicalPlan,
        guard: &StatementGuard,
        gathered: Option<&Arc<GatheredRows>>,
    ) -> Result<Self> {
        let target = session.transaction().await?.begin_write(name).await?;
        let snapshot = session.transactions_snapshot().await?;
        let mut context = session.context(snapshot);
        let gathered = gathered.cloned();
        if gathered.is_some() {
            context.set_tasks(1);
        }
        let table = Arc::clone(&target.table);
        let planned = Arc::clone(&table);
        let task_context = context.task_context();
        let work = async move {
            let plan = write_plan(&context, &planned, rows, gathered.as_ref()).await?;
            let short = is_short(&plan);
            Ok((plan, short))
        };
        let (plan, short) = guard.run(session.warehouse.planning().run(work)).await?;
        let cpu = session.warehouse.cpu_of(short).clone();
        session.note_plan(&plan);
        let options = session.warehouse.write_options().clone();
        let spec = Arc::new(write_spec(&table, &target.data_prefix, options)?);
        let stores = session.warehouse.stores().clone();
        let spawner = cpu.clone();
        let counter = session.file_counter();
        let task = cpu.spawn(async move { write_all(&spawner, plan, task_context, stores, spec, counter).await });
        Ok(Self {
            table,
            takes_out: TakesOut::Nothing,
            task,
        })
    }

    /// Waits for the files and adds them to the transaction; gives the number of rows.
    pub(crate) async fn finish(mut self, session: &mut Session, guard: &StatementGuard) -> Result<u64> {
        let written = guard.run(&mut self.task).await?;
        let rows = written.iter().map(|file| file.row_count).sum();
        let files = as_data_files(&self.table, written)?;
        let gone = match self.takes_out {
            TakesOut::Nothing => None,
            TakesOut::Partitions => Some(overwritten(&self.table, &files).await?),
            TakesOut::Everything => Some(self.table.files().await?.to_vec()),
        };
        if let Some(gone) = gone {
            session.note_all_read(&self.table);
            let transaction = session.transaction().await?;
            transaction.remove_files(self.table.name(), &gone).await?;
        }
        session.transaction().await?.append(self.table.name(), files)?;
        Ok(rows)
    }

    /// Resolves when all rows are written, which nobody wants any more.
    pub(crate) async fn ended(&mut self) -> Result<()> {
        (&mut self.task).await.map(|_| ())
    }

    /// Resolves when the write ends by itself, which before `finish` means that it failed.
    pub(crate) async fn failed(&mut self) -> Error {
        match (&mut self.task).await {
            Err(error) => error,
            Ok(_) => Error::internal("the write ended before its data did"),
        }
    }
}

/// The files of the partitions that new files belong to; all files of a table without partitions.
async fn overwritten(table: &Table, new: &[DataFile]) -> Result<Vec<Arc<LiveFile>>> {
    let spec = table.default_spec();
    let files = table.files().await?;
    if spec.fields.iter().all(|field| field.transform == Transform::Void) {
        return Ok(files.to_vec());
    }
    if files.iter().any(|file| file.spec_id != spec.spec_id) {
        let message = "INSERT OVERWRITE of a table with files of an earlier partitioning is not supported";
        return Err(Error::new(ErrorKind::FeatureNotSupported, message));
    }
    let is_touched = |file: &&Arc<LiveFile>| new.iter().any(|new| new.partition == file.partition);
    Ok(files.iter().filter(is_touched).cloned().collect())
}

/// Written files as the catalog lists them.
pub(crate) fn as_data_files(table: &Table, written: Vec<WrittenFile>) -> Result<Vec<DataFile>> {
    written.into_iter().map(|file| data_file(table, file)).collect()
}

/// Runs all partitions of the plan at once, each into its own files.
pub(crate) async fn write_all(
    cpu: &CpuRuntime,
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    stores: staffa_storage::Stores,
    spec: Arc<WriteSpec>,
    counter: Arc<AtomicU64>,
) -> Result<Vec<WrittenFile>> {
    let pool = Arc::clone(context.memory_pool());
    let mut writers: FuturesUnordered<_> = (0..plan.properties().output_partitioning().partition_count())
        .map(|partition| {
            let writer = FileWriter::new(
                stores.clone(),
                Arc::clone(&spec),
                Arc::clone(&counter),
                Some(pool.clone()),
            );
            let (plan, context) = (Arc::clone(&plan), Arc::clone(&context));
            cpu.spawn(async move { write_partition(plan, partition, context, writer?).await })
        })
        .collect();
    let mut files = Vec::new();
    while let Some(written) = writers.next().await {
        files.extend(written?);
    }
    Ok(files)
}

async fn write_partition(
    plan: Arc<dyn ExecutionPlan>,
    partition: usize,
    context: Arc<TaskContext>,
    mut writer: FileWriter,
) -> Result<Vec<WrittenFile>> {
    let mut rows = plan.execute(partition, context)?;
    while let Some(batch) = rows.next().await {
        let written = match batch {
            Ok(batch) => writer.write(batch).await.map_err(Error::from),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = written {
            writer.abort().await;
            return Err(error);
        }
    }
    Ok(writer.finish().await?)
}

/// An embedded caller's rows do not fit the table.
pub(crate) fn mismatch(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::DatatypeMismatch, message)
}
