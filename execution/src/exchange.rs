//! An exchange that copies rows once, and never more of them at a time than some megabytes.
//!
//! DataFusion's copies rows when it divides a batch, and again when it puts the parts together, which it does until there are 8,192 rows, however wide they are. Here
//! each producer collects batches until there are rows for a batch of every consumer, or until they take [`COLLECTED_BYTES`], and copies each consumer's together. Rows of a
//! single batch that takes more share their texts with it. Which
//! consumer a row goes to is what DataFusion's would say: filters that its joins hand to scans count on it.
//!
//! Exchanges that keep the order of several inputs are DataFusion's.

mod queues;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::common::hash_utils::create_hashes;
use datafusion::common::internal_err;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{Partitioning, PhysicalExprRef};
use datafusion::physical_expr_common::utils::evaluate_expressions_to_arrays;
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput, SpillMetrics, Time,
};
use datafusion::physical_plan::repartition::{REPARTITION_RANDOM_STATE, RepartitionExec};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, ReplaceChildrenOptions, SpillManager};
use futures::StreamExt;
use parking_lot::Mutex;

use self::queues::{Consumer, Producer, Work, queues};
use crate::gather::{Columns, Row, bytes_of};
use crate::stock::{as_stock, shown_as_stock, with_new_children};

/// Bytes that a producer collects before it hands rows on.
const COLLECTED_BYTES: usize = 8 << 20;

/// The operator.
#[derive(Debug)]
pub struct Exchange {
    /// What it takes the place of.
    stock: Arc<RepartitionExec>,
    metrics: ExecutionPlanMetricsSet,
    /// Those that were not asked for yet; none before the first is.
    consumers: Mutex<Option<Vec<Option<Consumer>>>>,
}

impl Exchange {
    /// In place of one of DataFusion's, if this operator can do what it does.
    pub fn instead_of(stock: &RepartitionExec) -> Option<Self> {
        let is_known = matches!(
            stock.partitioning(),
            Partitioning::Hash(..) | Partitioning::RoundRobinBatch(_)
        );
        let is_bounded = !stock.input().boundedness().is_unbounded();
        (is_known && is_bounded && !stock.preserve_order()).then(|| Self {
            stock: Arc::new(stock.clone()),
            metrics: ExecutionPlanMetricsSet::new(),
            consumers: Mutex::new(None),
        })
    }

    /// All inputs, with what divides them, and the queues between.
    fn start(&self, context: &Arc<TaskContext>) -> Result<Vec<Option<Consumer>>> {
        let input = self.stock.input();
        let inputs = input.output_partitioning().partition_count();
        let outputs = self.stock.partitioning().partition_count();
        let manager = SpillManager::new(
            context.runtime_env(),
            SpillMetrics::new(&self.metrics, 0),
            input.schema(),
        )
        .with_compression_type(context.session_config().spill_compression());
        let mut works: Vec<Work> = Vec::with_capacity(inputs);
        for partition in 0..inputs {
            let divided = Divided {
                input: input.execute(partition, Arc::clone(context))?,
                routes: Routes::new(self.stock.partitioning(), partition, inputs),
                collected: Vec::new(),
                bytes: 0,
                rows: 0,
                rows_max: context.session_config().batch_size(),
                memory: MemoryConsumer::new(format!("Exchange[{partition}]"))
                    .with_can_spill(true)
                    .register(context.memory_pool()),
                time: BaselineMetrics::new(&self.metrics, partition).elapsed_compute().clone(),
            };
            works.push(Box::new(|producer| Box::pin(divided.hand_on(producer))));
        }
        Ok(queues(works, outputs, &manager, context)
            .into_iter()
            .map(Some)
            .collect())
    }
}

shown_as_stock!(Exchange);

impl ExecutionPlan for Exchange {
    as_stock!(
        name,
        properties,
        input_requirements,
        maintains_input_order,
        children,
        apply_expressions,
        statistics
    );
    with_new_children!();

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let stock = Arc::clone(&self.stock).replace_children(children, options)?;
        match stock.downcast_ref::<RepartitionExec>().and_then(Self::instead_of) {
            Some(exchange) => Ok(Arc::new(exchange)),
            None => internal_err!("an exchange has another input than it was made for"),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut consumers = self.consumers.lock();
        let consumers = match &mut *consumers {
            Some(consumers) => consumers,
            none => none.insert(self.start(&context)?),
        };
        let Some(consumer) = consumers.get_mut(partition).and_then(Option::take) else {
            return internal_err!("partition {partition} of an exchange is not there, or not any more");
        };
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let rows = futures::stream::unfold(consumer, |mut consumer| async move {
            let batch = consumer.next().await?;
            Some((batch, consumer))
        });
        let rows = rows.map(move |batch| batch.record_output(&metrics));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// An input whose rows are divided among consumers.
struct Divided {
    input: SendableRecordBatchStream,
    routes: Routes,
    collected: Vec<RecordBatch>,
    /// Of what is collected.
    bytes: usize,
    rows: usize,
    /// Of a batch that comes out.
    rows_max: usize,
    memory: MemoryReservation,
    time: Time,
}

/// Which consumer rows go to.
enum Routes {
    ByHash { keys: Vec<PhysicalExprRef>, outputs: usize },
    InTurn { next: usize, outputs: usize },
}

impl Routes {
    fn new(partitioning: &Partitioning, input: usize, inputs: usize) -> Self {
        let outputs = partitioning.partition_count();
        match partitioning {
            Partitioning::Hash(keys, _) => Self::ByHash {
                keys: keys.clone(),
                outputs,
            },
            // Inputs do not all begin with the same consumer.
            _ => Self::InTurn {
                next: input * outputs / inputs.max(1),
                outputs,
            },
        }
    }

    /// How many rows are worth handing on.
    fn rows_wanted(&self, rows_max: usize) -> usize {
        match self {
            Self::ByHash { outputs, .. } => outputs * rows_max / 8 * 7,
            Self::InTurn { .. } => rows_max / 2,
        }
    }
}

impl Divided {
    async fn hand_on(mut self, producer: Producer) -> Result<()> {
        while let Some(batch) = self.input.next().await.transpose()? {
            if batch.num_rows() == 0 {
                continue;
            }
            let bytes = bytes_of(&batch);
            // Of several batches rows are copied: together they are never large.
            if self.bytes + bytes > COLLECTED_BYTES || self.memory.try_resize(self.bytes + bytes).is_err() {
                self.empty(&producer).await?;
            }
            self.bytes += bytes;
            self.rows += batch.num_rows();
            self.collected.push(batch);
            if self.rows >= self.routes.rows_wanted(self.rows_max) || self.bytes >= COLLECTED_BYTES {
                self.empty(&producer).await?;
                tokio::task::consume_budget().await;
            }
            if !producer.is_wanted() {
                return Ok(());
            }
        }
        self.empty(&producer).await
    }

    /// Gives consumers what is collected.
    async fn empty(&mut self, producer: &Producer) -> Result<()> {
        let batches = std::mem::take(&mut self.collected);
        let rows = std::mem::take(&mut self.rows);
        let is_large = std::mem::take(&mut self.bytes) > COLLECTED_BYTES;
        let Some(first) = batches.first() else {
            return Ok(());
        };
        let schema = first.schema();
        match &mut self.routes {
            Routes::InTurn { next, outputs } => {
                let output = *next;
                *next = (output + 1) % *outputs;
                let batch = match &batches[..] {
                    [batch] => batch.clone(),
                    _ => {
                        let _timer = self.time.timer();
                        Columns::new(&schema, &batches).take(&schema, &all_rows(&batches, rows))?
                    }
                };
                producer.send(output, batch).await?;
            }
            Routes::ByHash { keys, outputs } => {
                let timer = self.time.timer();
                let divided = by_hash(keys, *outputs, &batches)?;
                let columns = Columns::new(&schema, &batches);
                timer.done();
                for (output, rows) in divided.into_iter().enumerate() {
                    // Pieces of about the same size, of which none is tiny.
                    let pieces = rows.len().div_ceil(self.rows_max).max(1);
                    for piece in rows.chunks(rows.len().div_ceil(pieces).max(1)) {
                        let timer = self.time.timer();
                        // Many rows may show one text: copied, they would be far larger than what they are of.
                        let batch = match is_large {
                            true => columns.share(&schema, piece)?,
                            false => columns.take(&schema, piece)?,
                        };
                        timer.done();
                        producer.send(output, batch).await?;
                    }
                }
            }
        }
        drop(batches);
        self.memory.free();
        Ok(())
    }
}

fn all_rows(batches: &[RecordBatch], rows: usize) -> Vec<Row> {
    let mut all = Vec::with_capacity(rows);
    for (batch, number) in batches.iter().zip(0..) {
        all.extend((0..batch.num_rows() as u32).map(|row| Row { batch: number, row }));
    }
    all
}

/// Each consumer's rows.
fn by_hash(keys: &[PhysicalExprRef], outputs: usize, batches: &[RecordBatch]) -> Result<Vec<Vec<Row>>> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let mut divided = vec![Vec::with_capacity(rows / outputs.max(1) * 9 / 8); outputs];
    let mut hashes = Vec::new();
    for (batch, number) in batches.iter().zip(0..) {
        let arrays = evaluate_expressions_to_arrays(keys, batch)?;
        hashes.clear();
        hashes.resize(batch.num_rows(), 0);
        create_hashes(&arrays, REPARTITION_RANDOM_STATE.random_state(), &mut hashes)?;
        for (hash, row) in hashes.iter().zip(0..) {
            divided[(hash % outputs as u64) as usize].push(Row { batch: number, row });
        }
    }
    Ok(divided)
}
