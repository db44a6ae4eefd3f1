//! A sort that moves rows once.
//!
//! ```text
//! before  SortPreservingMerge(Sort(input))        after  Sort(input)
//! ```
//!
//! What it does otherwise than DataFusion's: keys are whole numbers as short as the values allow (`sort/key.rs`); they are sorted and merged, and rows are
//! gathered when they come out (`sort/order.rs`); all that is held is counted before it is. What memory has no room for goes to temporary files in
//! order, which are merged (`sort/spill.rs`).
//!
//! Sorts of which only the first rows are wanted are DataFusion's.

mod extent;
mod key;
mod order;
mod sort_keys;
mod spill;
#[cfg(test)]
mod tests;
mod value;

use std::sync::Arc;

use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::internal_err;
use datafusion::common::utils::memory::RecordBatchMemoryCounter;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput, SpillMetrics,
};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ExecutionPlan, ExecutionPlanProperties, PlanProperties, ReplaceChildrenOptions, SpillManager,
};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use self::extent::Extents;
use self::order::{Output, Table, by_worker, in_order};
use self::sort_keys::SortKeys;
use self::spill::{SortedFile, Spill, blocks};
use crate::stock::{as_stock, shown_as_stock, with_new_children};

/// Batches of fewer rows are put together.
const BATCH_ROWS_MIN: usize = 1024;

/// Bytes of a batch that comes out, where rows are wide.
const OUTPUT_BYTES: usize = 4 << 20;

/// What comes out and pieces of keys that wait for it take less, of each worker.
const WORKER_BYTES: usize = 8 << 20;

/// The operator.
#[derive(Debug)]
pub struct Sort {
    /// What it takes the place of.
    stock: Arc<SortExec>,
    /// What makes one partition of them all, if it takes its place, too.
    merge: Option<Arc<SortPreservingMergeExec>>,
    metrics: ExecutionPlanMetricsSet,
}

impl Sort {
    /// In place of one of DataFusion's, if this operator can do what it does.
    pub fn instead_of(stock: &SortExec) -> Result<Option<Self>> {
        let is_single = stock.input().output_partitioning().partition_count() == 1;
        let is_sorted = stock
            .input()
            .equivalence_properties()
            .ordering_satisfy(stock.expr().clone())?;
        if stock.fetch().is_some() || is_sorted || !(stock.preserve_partitioning() || is_single) {
            return Ok(None);
        }
        Ok(Some(Self {
            stock: Arc::new(stock.clone()),
            merge: None,
            metrics: ExecutionPlanMetricsSet::new(),
        }))
    }

    /// In place of the merging of this one's partitions, too.
    pub fn merging(merge: &SortPreservingMergeExec) -> Option<Self> {
        let sort = merge.input().downcast_ref::<Self>()?;
        let is_same = sort.merge.is_none() && merge.fetch().is_none() && merge.expr() == sort.stock.expr();
        is_same.then(|| Self {
            stock: Arc::clone(&sort.stock),
            merge: Some(Arc::new(merge.clone())),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    fn whole(&self) -> &dyn ExecutionPlan {
        match &self.merge {
            Some(merge) => merge.as_ref(),
            None => self.stock.as_ref(),
        }
    }
}

shown_as_stock!(Sort);

impl ExecutionPlan for Sort {
    as_stock!(name, input_requirements, children, apply_expressions, statistics);
    with_new_children!();

    fn properties(&self) -> &Arc<PlanProperties> {
        self.whole().properties()
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let stock = Arc::clone(&self.stock).replace_children(children, options)?;
        let sort = match stock.downcast_ref::<SortExec>() {
            Some(stock) => Self::instead_of(stock)?,
            None => None,
        };
        let Some(sort) = sort else {
            return internal_err!("a sort has another input than it was made for");
        };
        match &self.merge {
            None => Ok(Arc::new(sort)),
            Some(merge) => {
                let merge = SortPreservingMergeExec::new(merge.expr().clone(), Arc::new(sort));
                match Self::merging(&merge) {
                    Some(merging) => Ok(Arc::new(merging)),
                    None => internal_err!("a sort has other keys than it was made for"),
                }
            }
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.stock.input();
        let partitions = input.output_partitioning().partition_count();
        let (inputs, workers) = match &self.merge {
            Some(_) => (0..partitions, context.session_config().target_partitions()),
            // The others have the other cores.
            None if partitions > 1 => (partition..partition + 1, 1),
            None => (0..1, context.session_config().target_partitions()),
        };
        let inputs = inputs.map(|input_partition| input.execute(input_partition, Arc::clone(&context)));
        let inputs = inputs.collect::<Result<Vec<_>>>()?;

        let schema = self.schema();
        let keys = SortKeys::new(self.stock.expr(), &input.schema())?;
        let metrics = SpillMetrics::new(&self.metrics, partition);
        let manager = SpillManager::new(context.runtime_env(), metrics, Arc::clone(&keys.schema))
            .with_compression_type(context.session_config().spill_compression());
        let rows_max = context.session_config().batch_size();
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let time = baseline.elapsed_compute().clone();
        let work = Arc::new(Work {
            spill: Spill::new(manager, Arc::clone(&keys.columns), Arc::clone(&schema), rows_max, time),
            output: Output {
                rows_max,
                bytes: OUTPUT_BYTES,
            },
            metrics: baseline,
            entry_bytes: if keys.are_narrow() { 16 } else { 32 },
            keys,
            workers,
        });
        let memories = (0..inputs.len()).map(|input| {
            MemoryConsumer::new(format!("Sort[{}]", partition + input))
                .with_can_spill(true)
                .register(context.memory_pool())
        });
        let inputs: Vec<_> = inputs.into_iter().zip(memories).collect();
        let metrics = work.metrics.clone();
        let sorted = futures::stream::once(work.sorted(inputs))
            .try_flatten()
            .map(move |batch| batch.record_output(&metrics));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, sorted)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// What is to be done.
struct Work {
    keys: SortKeys,
    spill: Spill,
    output: Output,
    workers: usize,
    /// Of a row's key.
    entry_bytes: usize,
    metrics: BaselineMetrics,
}

/// What came from one partition of the input.
struct Collected {
    batches: Vec<RecordBatch>,
    extents: Extents,
    files: Vec<SortedFile>,
    /// Of the batches, and of what sorting them takes.
    memory: MemoryReservation,
}

impl Work {
    async fn sorted(
        self: Arc<Self>,
        inputs: Vec<(SendableRecordBatchStream, MemoryReservation)>,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let tasks = inputs.len();
        let parts = inputs
            .into_iter()
            .map(|(input, memory)| by_worker(tasks, Arc::clone(&self).collect(input, memory)));
        let parts: Vec<Collected> = futures::future::try_join_all(parts).await?;

        if parts.iter().all(|part| part.files.is_empty()) {
            let (mut batches, mut memories) = (Vec::new(), Vec::new());
            let mut extents = Extents::new(&self.keys.columns);
            for part in parts {
                extents.merge(&part.extents);
                batches.extend(part.batches);
                memories.push(part.memory);
            }
            let schema = Arc::clone(self.spill.schema());
            let table = self.table(batches, schema, self.output);
            let rows = in_order(table, Arc::clone(&self.keys.columns), extents, self.workers).await?;
            return Ok(rows
                .inspect(move |_| {
                    // It has the memory as long as there may be rows.
                    let _ = &memories;
                })
                .boxed());
        }
        // Merging files has the memory to itself.
        let spilled = parts.into_iter().map(|mut part| {
            let work = Arc::clone(&self);
            by_worker(tasks, async move {
                work.spill(&mut part).await?;
                Ok(part)
            })
        });
        let mut parts: Vec<Collected> = futures::future::try_join_all(spilled).await?;
        let files = parts
            .iter_mut()
            .flat_map(|part| std::mem::take(&mut part.files))
            .collect();
        let memory = parts.swap_remove(0).memory;
        drop(parts);
        self.spill.merged(files, memory).await
    }

    async fn collect(
        self: Arc<Self>,
        mut input: SendableRecordBatchStream,
        memory: MemoryReservation,
    ) -> Result<Collected> {
        let mut collected = Collected {
            batches: Vec::new(),
            extents: Extents::new(&self.keys.columns),
            files: Vec::new(),
            memory,
        };
        // Of the batches that are collected.
        let (mut counter, mut rows) = (RecordBatchMemoryCounter::new(), 0);
        let (mut small, mut small_rows) = (Vec::new(), 0);
        while let Some(batch) = input.next().await.transpose()? {
            if batch.num_rows() == 0 {
                continue;
            }
            let timer = self.metrics.elapsed_compute().timer();
            let batch = self.keys.with_computed(batch)?;
            counter.count_batch(&batch);
            rows += batch.num_rows();
            if collected.memory.try_resize(self.bytes(&counter, rows)).is_err() {
                self.put_together(&mut collected, &mut small)?;
                timer.done();
                self.spill(&mut collected).await?;
                small_rows = 0;
                (counter, rows) = (RecordBatchMemoryCounter::new(), batch.num_rows());
                counter.count_batch(&batch);
                collected.memory.try_resize(self.bytes(&counter, rows))?;
            } else {
                timer.done();
            }
            let timer = self.metrics.elapsed_compute().timer();
            collected.extents.add(&self.keys.columns, &batch)?;
            if batch.num_rows() < BATCH_ROWS_MIN {
                small_rows += batch.num_rows();
                small.push(batch);
                if small_rows >= self.output.rows_max {
                    self.put_together(&mut collected, &mut small)?;
                    small_rows = 0;
                }
            } else {
                collected.batches.push(batch);
            }
            timer.done();
        }
        self.put_together(&mut collected, &mut small)?;
        Ok(collected)
    }

    fn table(&self, batches: Vec<RecordBatch>, schema: SchemaRef, output: Output) -> Table {
        let time = self.metrics.elapsed_compute().clone();
        Table::new(batches, &self.keys.schema, schema, output, time)
    }

    /// What rows take until they have come out.
    fn bytes(&self, counter: &RecordBatchMemoryCounter, rows: usize) -> usize {
        let held = counter.memory_usage() + rows * self.entry_bytes;
        held + held.min(WORKER_BYTES)
    }

    fn put_together(&self, collected: &mut Collected, small: &mut Vec<RecordBatch>) -> Result<()> {
        if !small.is_empty() {
            collected.batches.push(concat_batches(&self.keys.schema, small.iter())?);
            small.clear();
        }
        Ok(())
    }

    /// Writes what is collected to a file, in order.
    async fn spill(&self, collected: &mut Collected) -> Result<()> {
        let batches = std::mem::take(&mut collected.batches);
        let extents = std::mem::replace(&mut collected.extents, Extents::new(&self.keys.columns));
        let table = self.table(batches, Arc::clone(&self.keys.schema), blocks(collected.memory.size()));
        let rows = in_order(table, Arc::clone(&self.keys.columns), extents.clone(), 1).await?;
        collected.files.extend(self.spill.write(rows, extents).await?);
        collected.memory.free();
        Ok(())
    }
}
