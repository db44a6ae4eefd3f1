//! A filter that puts what passes together by bytes, too.
//!
//! DataFusion's hands on 8,192 rows at a time, for which it holds what they stand in until there are so many, however wide they are. Its work is the same here but for that.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::compute::BatchCoalescer;
use arrow::record_batch::RecordBatch;
use datafusion::common::internal_err;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, ReplaceChildrenOptions};
use futures::StreamExt;

use crate::gather::bytes_of;
use crate::stock::{as_stock, shown_as_stock, with_new_children};

/// Bytes of rows that are handed on together.
const OUTPUT_BYTES: usize = 4 << 20;

/// The operator.
#[derive(Debug)]
pub struct Filter {
    /// DataFusion's, which hands on what passes of each batch.
    stock: Arc<FilterExec>,
}

impl Filter {
    /// In place of one of DataFusion's.
    pub fn instead_of(stock: &FilterExec) -> Result<Self> {
        Ok(Self {
            stock: Arc::new(stock.with_batch_size(1)?),
        })
    }

    /// What it takes the place of.
    pub fn stock(&self) -> &FilterExec {
        &self.stock
    }
}

shown_as_stock!(Filter);

impl ExecutionPlan for Filter {
    as_stock!(
        name,
        properties,
        maintains_input_order,
        children,
        apply_expressions,
        statistics,
        fetch
    );
    with_new_children!();

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let stock = Arc::clone(&self.stock).replace_children(children, options)?;
        match stock.downcast_ref::<FilterExec>() {
            Some(stock) => Ok(Arc::new(Self::instead_of(stock)?)),
            None => internal_err!("a filter became another operator"),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows_max = context.session_config().batch_size();
        let input = self.stock.execute(partition, context)?;
        let schema = input.schema();
        // As DataFusion's does: what is large is not copied.
        let coalescer = BatchCoalescer::new(Arc::clone(&schema), rows_max);
        let together = Together {
            coalescer: coalescer.with_biggest_coalesce_batch_size(Some(rows_max / 2)),
            bytes: 0,
            input: Some(input),
        };
        let rows = futures::stream::unfold(together, |mut together| async move {
            let batch = together.next().await.transpose()?;
            Some((batch, together))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.stock.metrics()
    }
}

/// What passes, put together.
struct Together {
    coalescer: BatchCoalescer,
    /// Of rows that wait.
    bytes: usize,
    /// None when it has ended.
    input: Option<SendableRecordBatchStream>,
}

impl Together {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.coalescer.next_completed_batch() {
                return Ok(Some(batch));
            }
            let Some(input) = &mut self.input else {
                return Ok(None);
            };
            match input.next().await.transpose()? {
                Some(batch) => {
                    self.bytes += bytes_of(&batch);
                    self.coalescer.push_batch(batch)?;
                    if self.bytes >= OUTPUT_BYTES {
                        self.coalescer.finish_buffered_batch()?;
                    }
                    if self.coalescer.is_empty() || self.coalescer.has_completed_batch() {
                        self.bytes = 0;
                    }
                }
                None => {
                    self.input = None;
                    self.coalescer.finish_buffered_batch()?;
                }
            }
        }
    }
}
