//! The rows of a shared part: computed by one task, read by several readers, each at its own pace.
//!
//! Nobody waits for a reader: a join reads one side to its end before it asks for the other, and both may be readers of one part.
//! So all rows are kept until the slowest reader has had them, in memory that is accounted for; when that is much, or more of
//! it is refused, those in memory go to a temporary file. Nothing is computed before a reader asks, nor after the last one is gone.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::common::runtime::{JoinSet, SpawnedTask};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, SpillFile, TaskContext};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, SpillMetrics};
use datafusion::physical_plan::spill::SpillManager;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::StreamExt;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use crate::kept::rows_memory;

/// So much is kept before it is written to a file, if memory is given for it.
const FILE_BYTES_MIN: usize = 1 << 20;

/// One part of so many of all memory is for the rows: what reads them may need the others, and not be able to do without.
const MEMORY_PARTS: usize = 4;

/// See the module.
pub(super) struct SharedRows {
    inner: Mutex<Inner>,
    /// Told whenever a reader that waits may go on.
    changes: watch::Sender<()>,
}

struct Inner {
    stage: Stage,
    /// How far each reader is, by its number.
    readers: Vec<Reader>,
    /// The first rows.
    files: VecDeque<RowFile>,
    /// Those after them, each with the memory that is accounted for it.
    batches: VecDeque<(RecordBatch, usize)>,
    /// The number of the first of these.
    first: usize,
    reservation: Option<MemoryReservation>,
    /// What is kept in memory at most.
    memory_max: usize,
    spill: Option<SpillManager>,
}

/// A place in the plan that reads the rows.
struct Reader {
    /// The next batch, whichever of its partitions takes it.
    next: usize,
    /// Partitions that may still ask.
    partitions: usize,
}

enum Stage {
    /// Not asked for, or not known yet where from.
    Waiting(Option<Source>),
    Running(#[expect(dead_code, reason = "it ends with its owner")] SpawnedTask<()>),
    Complete,
    Failed(Arc<DataFusionError>),
}

/// What the rows come from.
pub(super) struct Source {
    pub(super) plan: Arc<dyn ExecutionPlan>,
    pub(super) context: Arc<TaskContext>,
    pub(super) metrics: ExecutionPlanMetricsSet,
}

/// Batches of these numbers.
struct RowFile {
    first: usize,
    end: usize,
    file: Arc<dyn SpillFile>,
}

/// What a reader gets.
pub(super) enum Taken {
    Batch(RecordBatch),
    /// The batches of a file, without those the reader had before they were put there.
    File(SendableRecordBatchStream, usize),
    /// Nothing yet.
    Wait,
    End,
}

impl SharedRows {
    pub(super) fn new() -> Self {
        Self {
            inner: Mutex::new(Inner {
                stage: Stage::Waiting(None),
                readers: Vec::new(),
                files: VecDeque::new(),
                batches: VecDeque::new(),
                first: 0,
                reservation: None,
                memory_max: 0,
                spill: None,
            }),
            changes: watch::Sender::new(()),
        }
    }

    /// One more reader; its number.
    pub(super) fn add_reader(&self, partitions: usize) -> usize {
        let mut inner = self.inner.lock();
        inner.readers.push(Reader { next: 0, partitions });
        inner.readers.len() - 1
    }

    /// Says where the rows come from, and which readers the finished plan has. What it was told first counts.
    pub(super) fn begin(&self, source: Source, readers: &[usize]) {
        let mut inner = self.inner.lock();
        if !matches!(inner.stage, Stage::Waiting(None)) {
            return;
        }
        for (number, reader) in inner.readers.iter_mut().enumerate() {
            if !readers.contains(&number) {
                reader.partitions = 0;
            }
        }
        inner.stage = Stage::Waiting(Some(source));
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// The next rows of a reader. The first one to ask starts the work.
    pub(super) fn take(self: &Arc<Self>, number: usize) -> Result<Taken> {
        let mut inner = self.inner.lock();
        if let Stage::Waiting(source) = &mut inner.stage {
            let Some(source) = source.take() else {
                return Err(internal("rows of a shared part are asked for before it is known"));
            };
            inner.start(&source);
            inner.stage = Stage::Running(SpawnedTask::spawn(produce(Arc::clone(self), source)));
            return Ok(Taken::Wait);
        }
        inner.take(number)
    }

    /// A partition of a reader asks no more.
    pub(super) fn leave(&self, number: usize) {
        let mut inner = self.inner.lock();
        if let Some(reader) = inner.readers.get_mut(number) {
            reader.partitions = reader.partitions.saturating_sub(1);
        }
        inner.release();
        if inner.readers.iter().all(|reader| reader.partitions == 0) {
            Self::stop(inner);
        }
    }

    /// Nobody asks any more.
    pub(super) fn close(&self) {
        let mut inner = self.inner.lock();
        for reader in &mut inner.readers {
            reader.partitions = 0;
        }
        inner.release();
        Self::stop(inner);
    }

    /// Ends the task that computes, if it still does.
    fn stop(mut inner: MutexGuard<'_, Inner>) {
        let before = std::mem::replace(&mut inner.stage, Stage::Complete);
        drop(inner);
        drop(before);
    }

    fn push(&self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() > 0 {
            self.inner.lock().push(batch)?;
            self.changes.send_replace(());
        }
        Ok(())
    }

    /// The computation has ended, with the first outcome that is known.
    fn end(&self, outcome: Result<()>) {
        let mut inner = self.inner.lock();
        if matches!(inner.stage, Stage::Running(_)) {
            inner.stage = match outcome {
                Ok(()) => Stage::Complete,
                Err(error) => Stage::Failed(Arc::new(error)),
            };
        }
        drop(inner);
        self.changes.send_replace(());
    }
}

impl Inner {
    fn start(&mut self, source: &Source) {
        let context = &source.context;
        let consumer = MemoryConsumer::new("SharedRows").with_can_spill(true);
        self.reservation = Some(consumer.register(context.memory_pool()));
        self.memory_max = match context.memory_pool().memory_limit() {
            MemoryLimit::Finite(bytes) => bytes / MEMORY_PARTS,
            MemoryLimit::Infinite | MemoryLimit::Unknown => usize::MAX,
        };
        let metrics = SpillMetrics::new(&source.metrics, 0);
        self.spill = Some(SpillManager::new(context.runtime_env(), metrics, source.plan.schema()));
    }

    fn take(&mut self, number: usize) -> Result<Taken> {
        if let Stage::Failed(error) = &self.stage {
            return Err(DataFusionError::Shared(Arc::clone(error)));
        }
        let Some(next) = self.readers.get(number).map(|reader| reader.next) else {
            return Err(internal("a reader of a shared part is not known"));
        };
        let (taken, next) = if next < self.first {
            let behind = self.files.partition_point(|file| file.end <= next);
            let (Some(found), Some(spill)) = (self.files.get(behind), &self.spill) else {
                return Err(internal("rows of a shared part are gone before they are read"));
            };
            let stream = spill.read_spill_as_stream(Arc::clone(&found.file), None)?;
            (Taken::File(stream, next.saturating_sub(found.first)), found.end)
        } else if let Some((batch, _)) = self.batches.get(next - self.first) {
            (Taken::Batch(batch.clone()), next + 1)
        } else {
            return Ok(match self.stage {
                Stage::Complete => Taken::End,
                _ => Taken::Wait,
            });
        };
        if let Some(reader) = self.readers.get_mut(number) {
            reader.next = next;
        }
        self.release();
        Ok(taken)
    }

    fn push(&mut self, batch: RecordBatch) -> Result<()> {
        let Some(reservation) = &self.reservation else {
            return Err(internal("rows of a shared part come before they are asked for"));
        };
        let bytes = rows_memory(&batch);
        let is_given = reservation.try_grow(bytes).is_ok();
        let is_much = reservation.size() > self.memory_max.max(FILE_BYTES_MIN);
        // What no memory is given for is kept for no longer than it takes to write it.
        self.batches.push_back((batch, if is_given { bytes } else { 0 }));
        match is_much || !is_given {
            true => self.move_to_file(),
            false => Ok(()),
        }
    }

    fn move_to_file(&mut self) -> Result<()> {
        let batches: Vec<RecordBatch> = self.batches.iter().map(|(batch, _)| batch.clone()).collect();
        let Some(spill) = &self.spill else {
            return Ok(());
        };
        let file = spill.spill_record_batch_and_finish(&batches, "SharedRows")?;
        let (first, end) = (self.first, self.first + batches.len());
        self.files.extend(file.map(|file| RowFile { first, end, file }));
        self.batches.clear();
        self.first = end;
        if let Some(reservation) = &self.reservation {
            reservation.free();
        }
        Ok(())
    }

    /// Lets go of what all readers have had.
    fn release(&mut self) {
        let reading = self.readers.iter().filter(|reader| reader.partitions > 0);
        let needed = reading.map(|reader| reader.next).min().unwrap_or(usize::MAX);
        while self.files.front().is_some_and(|file| file.end <= needed) {
            self.files.pop_front();
        }
        while self.first < needed
            && let Some((_, bytes)) = self.batches.pop_front()
        {
            self.first += 1;
            if let Some(reservation) = &self.reservation {
                reservation.shrink(bytes);
            }
        }
    }
}

/// Computes all rows.
async fn produce(rows: Arc<SharedRows>, source: Source) {
    let ends = Ends(rows);
    let outcome = all_partitions(&ends.0, source).await;
    ends.0.end(outcome);
}

async fn all_partitions(rows: &Arc<SharedRows>, source: Source) -> Result<()> {
    let mut partitions: JoinSet<Result<()>> = JoinSet::new();
    for partition in 0..source.plan.output_partitioning().partition_count() {
        let mut batches = source.plan.execute(partition, Arc::clone(&source.context))?;
        let rows = Arc::clone(rows);
        partitions.spawn(async move {
            while let Some(batch) = batches.next().await {
                rows.push(batch?)?;
            }
            Ok(())
        });
    }
    while let Some(ended) = partitions.join_next().await {
        ended.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))??;
    }
    Ok(())
}

/// Tells readers also when the task that computes panics.
struct Ends(Arc<SharedRows>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0
            .end(Err(internal("the computation of a shared part was broken off")));
    }
}

fn internal(message: &str) -> DataFusionError {
    DataFusionError::Internal(message.to_owned())
}

impl fmt::Debug for SharedRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedRows").finish_non_exhaustive()
    }
}
