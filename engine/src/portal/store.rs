//! Rows a cursor keeps: for going back to, or for after its transaction. The newest in memory, the others on disk.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::SpillFile;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::SpillManager;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, SpillMetrics};
use futures::TryStreamExt;
use staffa_planner::{Error, Result};

use crate::cpu::CpuRuntime;

/// Rows one cursor has in memory: what is more goes to a file of about this size.
const MEMORY_BYTES_MAX: usize = 16 << 20;

/// Rows by number, counted from 0.
pub(super) struct Store {
    schema: SchemaRef,
    cpu: CpuRuntime,
    spills: SpillManager,
    /// On disk, oldest first.
    files: Vec<File>,
    /// After those of the files.
    recent: Vec<Part>,
    /// Accounts for `recent`.
    memory: MemoryReservation,
    /// The file that was read last, and what accounts for its rows.
    loaded: Option<(usize, Vec<Part>, MemoryReservation)>,
    end: u64,
}

struct File {
    first: u64,
    file: Arc<dyn SpillFile>,
    bytes: usize,
}

#[derive(Clone)]
struct Part {
    first: u64,
    rows: RecordBatch,
}

impl Store {
    /// For rows from this number on.
    pub(super) fn new(schema: SchemaRef, cpu: CpuRuntime, runtime: &Arc<RuntimeEnv>, first: u64) -> Self {
        let metrics = SpillMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
        Self {
            spills: SpillManager::new(Arc::clone(runtime), metrics, Arc::clone(&schema)),
            schema,
            cpu,
            files: Vec::new(),
            recent: Vec::new(),
            memory: MemoryConsumer::new("cursor").register(&runtime.memory_pool),
            loaded: None,
            end: first,
        }
    }

    /// The number after the last row.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) async fn push(&mut self, rows: RecordBatch) -> Result<()> {
        let count = rows.num_rows() as u64;
        let bytes = rows.get_array_memory_size();
        let fits = self.memory.size() + bytes <= MEMORY_BYTES_MAX && self.memory.try_grow(bytes).is_ok();
        self.recent.push(Part { first: self.end, rows });
        self.end += count;
        if !fits {
            self.spill(bytes).await?;
        }
        Ok(())
    }

    /// Writes what is in memory to a file. `more` bytes of it are accounted for by nobody.
    async fn spill(&mut self, more: usize) -> Result<()> {
        let Some(first) = self.recent.first().map(|part| part.first) else {
            return Ok(());
        };
        let rows: Vec<RecordBatch> = self.recent.iter().map(|part| part.rows.clone()).collect();
        let spills = self.spills.clone();
        let write = async move { Ok(spills.spill_record_batch_and_finish(&rows, "rows of a cursor")?) };
        let file = self.cpu.run(write).await?;
        let file = file.ok_or_else(|| Error::internal("rows of a cursor were not written"))?;
        self.files.push(File {
            first,
            file,
            bytes: self.memory.size() + more,
        });
        self.recent.clear();
        self.memory.free();
        Ok(())
    }

    /// Rows from this number on, at most so many; the number is one that is there.
    pub(super) async fn after(&mut self, row: u64, max: usize) -> Result<RecordBatch> {
        let part = self.part(row).await?;
        let at = offset(row, &part);
        Ok(part.rows.slice(at, max.min(part.rows.num_rows() - at)))
    }

    /// Rows from this number back, the latest first, at most so many; the number is one that is there.
    pub(super) async fn before(&mut self, row: u64, max: usize) -> Result<RecordBatch> {
        let part = self.part(row).await?;
        let at = offset(row, &part);
        let count = max.min(at + 1);
        let indices: arrow::array::UInt64Array = (at + 1 - count..=at).rev().map(|index| index as u64).collect();
        arrow::compute::take_record_batch(&part.rows, &indices).map_err(|error| Error::internal(error.to_string()))
    }

    async fn part(&mut self, row: u64) -> Result<Part> {
        let is_recent = self.recent.first().is_some_and(|part| row >= part.first);
        let parts = match is_recent {
            true => self.recent.as_slice(),
            false => self.load(row).await?,
        };
        let found = parts[..parts.partition_point(|part| part.first <= row)].last();
        found.cloned().ok_or_else(|| Error::internal("a cursor has lost rows"))
    }

    /// The rows of the file that has this one.
    async fn load(&mut self, row: u64) -> Result<&[Part]> {
        let index = self.files.partition_point(|file| file.first <= row);
        let index = index
            .checked_sub(1)
            .ok_or_else(|| Error::internal("a cursor has lost rows"))?;
        if self.loaded.as_ref().is_none_or(|(loaded, ..)| *loaded != index) {
            self.loaded = None;
            let File { first, file, bytes } = &self.files[index];
            let memory = self.memory.new_empty();
            memory.try_grow(*bytes).map_err(Error::from)?;
            let (spills, file) = (self.spills.clone(), Arc::clone(file));
            let read = async move { Ok(spills.read_spill_as_stream(file, None)?.try_collect::<Vec<_>>().await?) };
            let mut at = *first;
            let mut parts = Vec::new();
            for rows in self.cpu.run(read).await? {
                let rows = RecordBatch::try_new_with_options(
                    Arc::clone(&self.schema),
                    rows.columns().to_vec(),
                    &arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows())),
                )
                .map_err(|error| Error::internal(error.to_string()))?;
                let count = rows.num_rows() as u64;
                parts.push(Part { first: at, rows });
                at += count;
            }
            self.loaded = Some((index, parts, memory));
        }
        Ok(self.loaded.as_ref().map_or(&[], |(_, parts, _)| parts.as_slice()))
    }

    /// Rows before this number are not asked for any more.
    pub(super) fn forget_before(&mut self, row: u64) {
        let files = self.files.partition_point(|file| file.first <= row).saturating_sub(1);
        let all = self.recent.first().is_some_and(|part| part.first <= row);
        self.files.drain(..if all { self.files.len() } else { files });
        // The numbers of files have changed.
        if files > 0 || all {
            self.loaded = None;
        }
    }
}

fn offset(row: u64, part: &Part) -> usize {
    // A part is one batch: the difference is below its row count.
    usize::try_from(row - part.first)
        .unwrap_or(usize::MAX)
        .min(part.rows.num_rows().saturating_sub(1))
}
