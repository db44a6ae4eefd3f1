//! Compaction: files that are small, or have many deleted rows, are written again as few large ones, sorted by the table's
//! order. Only files move; the rows are the same before and after.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use futures::StreamExt;
use staffa_catalog::{DataFile, LiveFile, Table, TableName};
use staffa_planner::{Error, ErrorKind, PlanContext, Result, compaction_plan, target_file_bytes, write_spec};
use staffa_storage::{FileWriter, WriteSpec, WrittenFile};
use tokio::time::Instant;

use super::{Origin, Record};
use crate::command::insert::as_data_files;
use crate::config::Maintenance;
use crate::cpu::CpuRuntime;
use crate::session::SessionOptions;
use crate::warehouse::Warehouse;

/// So many small files in a partition are worth a rewrite in the background.
const SMALL_FILES_MIN: usize = 8;
/// In the background a file joins smaller ones when it is at most so many times as large as they are together: else each new
/// row would be written again with all older ones, each time.
const GROWTH_MAX: u64 = 4;
/// Below this all files are alike.
const TINY_BYTES: u64 = 1 << 20;

/// Rows that were just written are those that are changed next: in the background their files are left alone for a while.
const SETTLED_MS: i64 = 5000;

/// After so many rounds in which others were faster the budget of bytes does not count.
const HURRY_AFTER: u32 = 3;
/// So often a group of files is halved at most.
const HALVINGS_MAX: u32 = 4;

/// How compaction goes about it.
pub(super) struct How<'a> {
    /// Whether every file that is too small or has deleted rows is written again, however little there is to gain.
    thorough: bool,
    only: Option<&'a BTreeSet<String>>,
    cpu: CpuRuntime,
    tasks: usize,
    /// Bytes read and written in a second, together.
    bytes_per_second: Option<u64>,
    /// How often in turn it gave way to others that changed the same files: the more often, the less it takes on at once.
    give_ups: u32,
}

/// What became of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Compacted {
    /// Whether nothing is left to be done: not when files are too young yet, or others were first.
    pub(super) is_complete: bool,
    /// Whether others changed files that it had written again.
    pub(super) gave_up: bool,
}

impl<'a> How<'a> {
    pub(super) fn by_hand(warehouse: &Warehouse, only: Option<&'a BTreeSet<String>>) -> Self {
        Self {
            thorough: true,
            only,
            cpu: warehouse.cpu().clone(),
            tasks: warehouse.base().config().target_partitions(),
            bytes_per_second: None,
            give_ups: 0,
        }
    }

    pub(super) fn in_background(settings: &Maintenance, cpu: &CpuRuntime, give_ups: u32) -> Self {
        Self {
            thorough: false,
            only: None,
            cpu: cpu.clone(),
            tasks: settings.threads.max(1),
            // Whoever is slow is overtaken.
            bytes_per_second: Some(settings.io_bytes_per_second.max(1)).filter(|_| give_ups < HURRY_AFTER),
            give_ups,
        }
    }
}

/// Compacts a table, one group of files after the other. Files of which an open transaction has deleted rows are left alone.
pub(super) async fn compact(
    warehouse: &Warehouse,
    name: &TableName,
    how: &How<'_>,
    origin: Origin,
) -> Result<Compacted> {
    let mut compacted = Compacted {
        is_complete: true,
        gave_up: false,
    };
    let snapshot = warehouse.catalog().snapshot().await?;
    let Some(table) = snapshot.table(name).await? else {
        return Ok(compacted);
    };
    let uuid = table.uuid();
    let is_free = |files: &[String]| !warehouse.catalog().has_row_changers(uuid, files);
    let files = table.files().await?;
    let settled = settled_number(&table, how)?;
    let is_settled = |file: &LiveFile| settled.is_none_or(|number| file.sequence_number <= number);
    let can_move = |file: &LiveFile| is_settled(file) && is_free(std::slice::from_ref(&file.location));
    let old: Vec<Arc<LiveFile>> = files.iter().filter(|file| can_move(file)).cloned().collect();
    compacted.is_complete = old.len() == files.len();
    let groups = groups(&table, &old, how, warehouse.write_options().target_file_bytes);
    drop((snapshot, table, files));
    for group in groups {
        if origin == Origin::Background && !is_free(&group) {
            // A later round finds them; nobody has to read of each that did not.
            compacted.is_complete = false;
            continue;
        }
        let mut record = Record::start("compact", Some(name), origin);
        let result = rewrite(warehouse, name, &group, how, &mut record).await;
        let is_done = record.end(warehouse, result)?;
        compacted.is_complete &= is_done;
        compacted.gave_up |= !is_done;
    }
    Ok(compacted)
}

/// The newest commit whose files are old enough; `None`: all are.
fn settled_number(table: &Table, how: &How<'_>) -> Result<Option<i64>> {
    if how.thorough {
        return Ok(None);
    }
    let before_ms = chrono::Utc::now().timestamp_millis() - SETTLED_MS;
    let snapshots = table.snapshots()?.into_iter();
    let old = snapshots.filter(|snapshot| snapshot.committed_ms <= before_ms);
    Ok(Some(old.map(|snapshot| snapshot.sequence_number).max().unwrap_or(0)))
}

/// The locations of the files that are written again together.
fn groups(table: &Table, files: &[Arc<LiveFile>], how: &How<'_>, default_target: u64) -> Vec<Vec<String>> {
    let target = target_file_bytes(table, default_target);
    let group_bytes_max = target >> how.give_ups.min(HALVINGS_MAX);
    // A partition's values have no order of their own.
    let mut partitions: BTreeMap<(i32, String), Vec<&Arc<LiveFile>>> = BTreeMap::new();
    for file in files {
        let wanted = how.only.is_none_or(|only| only.contains(&file.location));
        if wanted && (file.size_bytes < target / 4 * 3 || has_many_deletes(file, how)) {
            let key = (file.spec_id, format!("{:?}", file.partition));
            partitions.entry(key).or_default().push(file);
        }
    }
    let mut groups = Vec::new();
    for (_, mut files) in partitions {
        files.sort_by_key(|file| file.size_bytes);
        let mut group: Vec<&Arc<LiveFile>> = Vec::new();
        let mut bytes = 0_u64;
        for file in files {
            let too_large = !how.thorough && file.size_bytes > TINY_BYTES.max(bytes.saturating_mul(GROWTH_MAX));
            if bytes + file.size_bytes > group_bytes_max && !group.is_empty() || too_large && !group.is_empty() {
                groups.push(std::mem::take(&mut group));
                bytes = 0;
            }
            bytes += file.size_bytes;
            group.push(file);
        }
        groups.push(group);
    }
    let is_worth_it = |group: &Vec<&Arc<LiveFile>>| {
        let count_min = if how.thorough { 2 } else { SMALL_FILES_MIN };
        group.len() >= count_min || group.iter().any(|file| has_many_deletes(file, how))
    };
    let worth = groups.into_iter().filter(is_worth_it);
    worth
        .map(|group| group.iter().map(|file| file.location.clone()).collect())
        .collect()
}

fn has_many_deletes(file: &LiveFile, how: &How<'_>) -> bool {
    match how.thorough {
        true => file.has_deletes(),
        // Tiny files are merged when there are many of them, with what is deleted of them.
        false => file.size_bytes >= TINY_BYTES && file.deleted_count().saturating_mul(10) > file.row_count,
    }
}

/// Writes the files again in a transaction of its own. Files that are gone meanwhile are left out.
async fn rewrite(
    warehouse: &Warehouse,
    name: &TableName,
    group: &[String],
    how: &How<'_>,
    record: &mut Record,
) -> Result<()> {
    let catalog = warehouse.catalog();
    let mut transaction = catalog.begin(catalog.snapshot().await?).await?;
    let Some(table) = transaction.snapshot().table(name).await? else {
        return Ok(());
    };
    let live = table.files().await?;
    let by_location: HashMap<&str, &Arc<LiveFile>> = live.iter().map(|file| (file.location.as_str(), file)).collect();
    let old: Vec<Arc<LiveFile>> = group
        .iter()
        .filter_map(|location| by_location.get(location.as_str()).map(|file| Arc::clone(file)))
        .collect();
    if old.is_empty() {
        return Ok(());
    }
    let bytes: u64 = old.iter().map(|file| file.size_bytes).sum();
    record.before(old.len() as u64, bytes);
    if catalog.has_row_changers(table.uuid(), group) {
        // It would be refused at the commit, when everything is written.
        let message = "a transaction that deletes rows of the files is open";
        return Err(Error::new(ErrorKind::SerializationFailure, message));
    }
    let target = transaction.begin_write(name).await?;
    let session = warehouse
        .session(SessionOptions {
            database: name.database.clone(),
            ..SessionOptions::default()
        })
        .await?;
    let context = session.context(transaction.snapshot());
    let written = write(
        warehouse,
        &context,
        &target.table,
        &old,
        &target.data_prefix,
        bytes,
        how,
    )
    .await?;
    let new = as_data_files(&table, written)?;
    record.after(
        new.len() as u64,
        new.iter().map(|file: &DataFile| file.size_bytes).sum(),
    );
    transaction.replace_files(name, &old, new).await?;
    transaction.commit().await?;
    Ok(())
}

async fn write(
    warehouse: &Warehouse,
    context: &PlanContext,
    table: &Arc<Table>,
    old: &[Arc<LiveFile>],
    data_prefix: &str,
    bytes: u64,
    how: &How<'_>,
) -> Result<Vec<WrittenFile>> {
    let options = warehouse.write_options().clone();
    // One task for each file that comes of it: more tasks would make more files.
    let files = bytes.div_ceil(target_file_bytes(table, options.target_file_bytes).max(1));
    let tasks = how.tasks.min(usize::try_from(files).unwrap_or(usize::MAX)).max(1);
    let spec = Arc::new(write_spec(table, data_prefix, options)?);
    let rows: u64 = old.iter().map(|file| file.row_count - file.deleted_count()).sum();
    // All bytes are read and about as many are written.
    let pace = how
        .bytes_per_second
        .map(|per_second| Pace::new(bytes * 2, rows, per_second));
    let (planning, table, old) = (context.clone(), Arc::clone(table), old.to_vec());
    let plan = async move { compaction_plan(&planning, &table, &old, tasks).await };
    let plan = warehouse.planning().run(plan).await?;
    let counter: Arc<AtomicU64> = Arc::default();
    let writes: Vec<_> = (0..plan.properties().output_partitioning().partition_count())
        .map(|partition| {
            let pool = Arc::clone(&context.session.runtime_env().memory_pool);
            let stores = warehouse.stores().clone();
            let writer = FileWriter::new(
                stores,
                Arc::clone(&spec) as Arc<WriteSpec>,
                Arc::clone(&counter),
                Some(pool),
            );
            let (plan, task_context) = (Arc::clone(&plan), context.task_context());
            how.cpu
                .spawn(async move { write_partition(plan, partition, task_context, writer?, pace).await })
        })
        .collect();
    let mut written = Vec::new();
    for write in writes {
        written.extend(write.await?);
    }
    Ok(written)
}

async fn write_partition(
    plan: Arc<dyn ExecutionPlan>,
    partition: usize,
    context: Arc<TaskContext>,
    mut writer: FileWriter,
    pace: Option<Pace>,
) -> Result<Vec<WrittenFile>> {
    let mut rows = plan.execute(partition, context)?;
    let mut done = 0;
    while let Some(batch) = rows.next().await {
        let count = batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
        let written = match batch {
            Ok(batch) => writer.write(batch).await.map_err(Error::from),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = written {
            writer.abort().await;
            return Err(error);
        }
        done += count;
        if let Some(pace) = pace {
            pace.keep(done).await;
        }
    }
    Ok(writer.finish().await?)
}

/// Not faster than the budget allows.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    begun: Instant,
    seconds_in_all: f64,
    rows_in_all: u64,
}

impl Pace {
    /// For reading and writing so many bytes while so many rows go through.
    pub(super) fn new(bytes: u64, rows: u64, bytes_per_second: u64) -> Self {
        Self {
            begun: Instant::now(),
            seconds_in_all: bytes as f64 / bytes_per_second as f64,
            rows_in_all: rows.max(1),
        }
    }

    pub(super) async fn keep(&self, rows_done: u64) {
        let share = rows_done.min(self.rows_in_all) as f64 / self.rows_in_all as f64;
        let due = Duration::try_from_secs_f64(self.seconds_in_all * share).unwrap_or_default();
        tokio::time::sleep_until(self.begun + due).await;
    }
}
