//! `row_number`, `rank` and `dense_rank` over rows in order.
//!
//! DataFusion asks for one value after the other, and keeps the rows of each partition until its end. All that is needed is where a partition
//! begins, and where the next rows with other keys do: batches go through as they come.

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use crate::stock::{as_stock, shown_as_stock, with_new_children};
use arrow::array::make_comparator;
use arrow::array::{ArrayRef, UInt64Array};
use arrow::compute::{SortOptions, partition};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use datafusion::common::internal_err;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::window::{StandardWindowExpr, WindowExpr};
use datafusion::physical_expr::{OrderingRequirements, PhysicalExprRef};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowUDFExpr};
use datafusion::physical_plan::{ExecutionPlan, InputOrderMode, ReplaceChildrenOptions};
use futures::StreamExt;

/// The operator.
#[derive(Debug)]
pub struct Ranking {
    /// What it takes the place of.
    stock: Arc<BoundedWindowAggExec>,
    functions: Arc<[Function]>,
    metrics: ExecutionPlanMetricsSet,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Function {
    RowNumber,
    Rank,
    DenseRank,
}

impl Function {
    fn of(window: &Arc<dyn WindowExpr>) -> Option<Self> {
        let standard = window.as_any().downcast_ref::<StandardWindowExpr>()?;
        let function = standard.get_standard_func_expr().as_any();
        let has_its_type = window.field().is_ok_and(|field| field.data_type() == &DataType::UInt64);
        match function.downcast_ref::<WindowUDFExpr>()?.fun().name() {
            _ if !has_its_type => None,
            "row_number" => Some(Self::RowNumber),
            "rank" => Some(Self::Rank),
            "dense_rank" => Some(Self::DenseRank),
            _ => None,
        }
    }
}

impl Ranking {
    /// In place of one of DataFusion's, if all it computes are these functions of the same rows in the same order.
    pub fn instead_of(stock: &BoundedWindowAggExec) -> Option<Self> {
        let windows = stock.window_expr();
        let functions = windows.iter().map(Function::of).collect::<Option<_>>()?;
        let first = windows.first()?;
        let are_alike = windows
            .iter()
            .all(|window| window.partition_by() == first.partition_by() && window.order_by() == first.order_by());
        (are_alike && stock.input_order_mode == InputOrderMode::Sorted).then(|| Self {
            stock: Arc::new(stock.clone()),
            functions,
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }
}

shown_as_stock!(Ranking);

impl ExecutionPlan for Ranking {
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

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        self.stock.required_input_ordering()
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let stock = Arc::clone(&self.stock).replace_children(children, options)?;
        match stock.downcast_ref::<BoundedWindowAggExec>().and_then(Self::instead_of) {
            Some(ranking) => Ok(Arc::new(ranking)),
            None => internal_err!("a ranking has another input than it was made for"),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.stock.input().execute(partition, context)?;
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let schema = self.schema();
        let Some(window) = self.stock.window_expr().first() else {
            return internal_err!("a ranking without a function");
        };
        let mut places = Places {
            partition_by: window.partition_by().to_vec(),
            order_by: window.order_by().iter().map(|key| Arc::clone(&key.expr)).collect(),
            has_peers: self.functions.iter().any(|function| *function != Function::RowNumber),
            last: None,
            place: Place::default(),
        };
        let functions = Arc::clone(&self.functions);
        let of_batches = Arc::clone(&schema);
        let batches = input.map(move |batch| {
            let batch = batch?;
            let _timer = baseline.elapsed_compute().timer();
            let mut columns = batch.columns().to_vec();
            columns.extend(places.of(&batch, &functions)?);
            Ok(RecordBatch::try_new(Arc::clone(&of_batches), columns)?.record_output(&baseline))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// Where a row stands in its partition: all from 1 on.
#[derive(Clone, Copy, Default)]
struct Place {
    row: u64,
    /// Of the first row with its keys.
    first: u64,
    /// How many keys there are up to it.
    keys: u64,
}

/// Where the rows of one batch after the other stand.
struct Places {
    partition_by: Vec<PhysicalExprRef>,
    order_by: Vec<PhysicalExprRef>,
    /// Whether it matters which rows have the same keys.
    has_peers: bool,
    /// The keys of the last row: those of its partition, those of its order.
    last: Option<[Vec<ArrayRef>; 2]>,
    place: Place,
}

impl Places {
    fn of(&mut self, batch: &RecordBatch, functions: &[Function]) -> Result<Vec<ArrayRef>> {
        let rows = batch.num_rows();
        let Some(last_row) = rows.checked_sub(1) else {
            return Ok(functions
                .iter()
                .map(|_| Arc::new(UInt64Array::new_null(0)) as _)
                .collect());
        };
        let values = |exprs: &[PhysicalExprRef]| -> Result<Vec<ArrayRef>> {
            exprs
                .iter()
                .map(|expr| expr.evaluate(batch)?.into_array(rows))
                .collect()
        };
        let keys = [
            values(&self.partition_by)?,
            if self.has_peers {
                values(&self.order_by)?
            } else {
                Vec::new()
            },
        ];
        let [goes_on, has_same_keys] = match &self.last {
            Some([partition, order]) => {
                let goes_on = is_same(partition, &keys[0])?;
                [goes_on, goes_on && is_same(order, &keys[1])?]
            }
            None => [false, false],
        };
        let partitions = ranges(&keys[0], rows)?;
        let peers = match self.has_peers {
            true => ranges(&keys.concat(), rows)?,
            // All rows of a partition are handled at once.
            false => partitions.clone(),
        };
        let mut starts = partitions.iter().map(|range| range.start).peekable();

        let mut numbers: Vec<Vec<u64>> = functions.iter().map(|_| Vec::with_capacity(rows)).collect();
        for range in peers {
            let is_first = range.start == 0;
            if starts.next_if_eq(&range.start).is_some() && !(is_first && goes_on) {
                self.place = Place::default();
            }
            if !(is_first && has_same_keys) {
                self.place.first = self.place.row + 1;
                self.place.keys += 1;
            }
            let count = range.len() as u64;
            for (numbers, function) in numbers.iter_mut().zip(functions) {
                let end = numbers.len() + range.len();
                match function {
                    Function::RowNumber => numbers.extend(self.place.row + 1..=self.place.row + count),
                    Function::Rank => numbers.resize(end, self.place.first),
                    Function::DenseRank => numbers.resize(end, self.place.keys),
                }
            }
            self.place.row += count;
        }
        let of_last = |columns: &Vec<ArrayRef>| columns.iter().map(|column| column.slice(last_row, 1)).collect();
        self.last = Some([of_last(&keys[0]), of_last(&keys[1])]);
        Ok(numbers
            .into_iter()
            .map(|numbers| Arc::new(UInt64Array::from(numbers)) as _)
            .collect())
    }
}

/// The rows that have the same values one after the other.
fn ranges(columns: &[ArrayRef], rows: usize) -> Result<Vec<Range<usize>>> {
    Ok(match columns {
        [] => vec![0..rows],
        columns => partition(columns)?.ranges(),
    })
}

/// Whether one row has the values of the first of others.
fn is_same(row: &[ArrayRef], others: &[ArrayRef]) -> Result<bool> {
    for (a, b) in row.iter().zip(others) {
        if make_comparator(a, b, SortOptions::default())?(0, 0).is_ne() {
            return Ok(false);
        }
    }
    Ok(true)
}
