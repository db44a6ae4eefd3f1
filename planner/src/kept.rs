//! Rows that are kept in memory, each of them counted once.
//!
//! A batch is often a slice of what an operator holds: an aggregate gives its one big batch in pieces, `nextval()` beside `currval()` has
//! rows one by one. Each piece says that it takes the memory of the whole. And small ones take more for themselves than for
//! their rows. So small batches are put together, and slices count for what is theirs.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StructArray};
use arrow::compute::BatchCoalescer;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryReservation;

/// Batches of more rows stay as they are.
const SMALL_ROWS_MAX: usize = 1024;
/// Rows and bytes of what small batches are put together to.
const TOGETHER_ROWS: usize = 8192;
const TOGETHER_BYTES: usize = 1 << 20;

/// Batches in the order they came in.
#[derive(Debug, Default)]
pub struct KeptRows {
    batches: Vec<RecordBatch>,
    together: Option<BatchCoalescer>,
    waiting_bytes: usize,
    /// Columns that somebody else accounts for.
    counted: HashSet<usize>,
}

impl KeptRows {
    /// For rows that may have columns of these, which are counted already.
    pub fn beside(rows: &[RecordBatch]) -> Self {
        Self {
            counted: rows.iter().flat_map(RecordBatch::columns).map(place).collect(),
            ..Self::default()
        }
    }

    /// Keeps a batch; an error when its memory is more than there is.
    pub fn add(&mut self, batch: RecordBatch, reservation: &MemoryReservation) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let new = batch
            .columns()
            .iter()
            .filter(|column| !self.counted.contains(&place(column)));
        let bytes = new.map(column_memory).sum();
        reservation.try_grow(bytes)?;
        if batch.num_columns() == 0 {
            self.batches.push(batch);
            return Ok(());
        }
        let together = self.together.get_or_insert_with(|| {
            BatchCoalescer::new(batch.schema(), TOGETHER_ROWS).with_biggest_coalesce_batch_size(Some(SMALL_ROWS_MAX))
        });
        together.push_batch(batch).map_err(DataFusionError::from)?;
        self.waiting_bytes += bytes;
        if self.waiting_bytes >= TOGETHER_BYTES {
            together.finish_buffered_batch().map_err(DataFusionError::from)?;
            self.waiting_bytes = 0;
        }
        while let Some(batch) = together.next_completed_batch() {
            self.batches.push(batch);
        }
        Ok(())
    }

    /// All of them.
    pub fn finish(mut self) -> Result<Vec<RecordBatch>> {
        if let Some(mut together) = self.together.take() {
            together.finish_buffered_batch().map_err(DataFusionError::from)?;
            while let Some(batch) = together.next_completed_batch() {
                self.batches.push(batch);
            }
        }
        Ok(self.batches)
    }
}

fn place(column: &ArrayRef) -> usize {
    Arc::as_ptr(column).addr()
}

/// What a batch's rows take, whatever they are a part of.
pub(crate) fn rows_memory(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(column_memory).sum()
}

/// What its rows take, whatever they are a part of.
fn column_memory(column: &ArrayRef) -> usize {
    let nulls = column.nulls().map_or(0, |_| column.len().div_ceil(8));
    let own = match column.data_type() {
        DataType::Utf8View => views_memory(column.len(), column.as_string_view().total_buffer_bytes_used()),
        DataType::BinaryView => views_memory(column.len(), column.as_binary_view().total_buffer_bytes_used()),
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            let (first, last) = match list.value_offsets() {
                [first, .., last] => (*first as usize, *last as usize),
                _ => (0, 0),
            };
            size_of_val(list.value_offsets()) + column_memory(&list.values().slice(first, last - first))
        }
        DataType::Struct(_) => {
            let fields: &StructArray = column.as_struct();
            fields.columns().iter().map(column_memory).sum()
        }
        _ => {
            let data = column.to_data();
            return data
                .get_slice_memory_size()
                .unwrap_or_else(|_| column.get_array_memory_size());
        }
    };
    own + nulls
}

fn views_memory(values: usize, bytes: usize) -> usize {
    values * size_of::<u128>() + bytes
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringViewArray};
    use arrow::datatypes::{Field, Schema};
    use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryConsumer, MemoryPool};

    use super::*;

    fn numbers(count: i64) -> RecordBatch {
        let fields = vec![
            Field::new("number", DataType::Int64, false),
            Field::new("text", DataType::Utf8View, true),
        ];
        let texts = (0..count).map(|number| Some(format!("the text of number {number}")));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(0..count)),
            Arc::new(texts.collect::<StringViewArray>()),
        ];
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns of the schema")
    }

    fn kept(slices: impl Iterator<Item = RecordBatch>, memory: usize) -> Result<Vec<RecordBatch>> {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(memory));
        let reservation = MemoryConsumer::new("test").register(&pool);
        let mut kept = KeptRows::default();
        for slice in slices {
            kept.add(slice, &reservation)?;
        }
        kept.finish()
    }

    #[test]
    fn single_rows_count_once_and_come_together() -> Result<()> {
        let all = numbers(20_000);
        let rows = (0..20_000).map(|row| all.slice(row, 1));
        let batches = kept(rows, 2 * all.get_array_memory_size())?;
        assert!(batches.len() < 10, "{} batches", batches.len());
        assert_eq!(arrow::compute::concat_batches(&all.schema(), &batches)?, all);
        Ok(())
    }

    #[test]
    fn slices_of_one_batch_count_once() -> Result<()> {
        let all = numbers(64 * 8192);
        let slices = (0..64).map(|slice| all.slice(slice * 8192, 8192));
        let batches = kept(slices, 2 * all.get_array_memory_size())?;
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), all.num_rows());
        Ok(())
    }

    #[test]
    fn what_is_counted_is_not_counted_again() -> Result<()> {
        let all = numbers(20_000);
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1000));
        let reservation = MemoryConsumer::new("test").register(&pool);
        let mut kept = KeptRows::beside(std::slice::from_ref(&all));
        kept.add(all.clone(), &reservation)?;
        assert_eq!(kept.finish()?, [all]);
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let all = numbers(20_000);
        assert!(kept(std::iter::once(all), 1000).is_err());
    }
}
