//! A hash join for keys that are whole numbers.
//!
//! What it does otherwise than DataFusion's: a key is looked up as a number, directly where keys are dense, and never compared again; joins that ask
//! only whether there is a match stop at the first; what it tells the scan of the other side is a bit for each key
//! ([`KeySet`]), not a hash table; text of the build side is copied together once, so that a batch of its output
//! does not carry all buffers of the build side.
//!
//! Only the build side's collection into one partition is known here, as planned for builds that fit. Everything about the plan (columns, order, statistics, how it is
//! shown) is asked of DataFusion's operator, which it takes the place of.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::concat_batches;
use arrow::datatypes::DataType;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::utils::memory::RecordBatchMemoryCounter;
use datafusion::common::{JoinType, NullEquality, ScalarValue, internal_err, resources_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, DynamicFilterPhysicalExpr, in_list, lit};
use datafusion::physical_expr::{PhysicalExpr, PhysicalExprRef};
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter, build_join_schema};
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, Gauge, MetricBuilder, MetricsSet, Time};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, ReplaceChildrenOptions};
use futures::future::{BoxFuture, Shared};
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;

use crate::key_set::{InKeySet, KeySet};
use crate::keys::{KeyColumns, Packing, are_numbers};
use crate::probe;
use crate::stock::{as_stock, shown_as_stock, with_new_children};
use crate::table::Table;

/// Up to so many keys are told to the scan one by one: it may know of each row group which values it has.
const LISTED_KEYS_MAX: usize = 20;

/// The build side, made once for all partitions.
pub(crate) type Build = Shared<BoxFuture<'static, Result<Arc<Built>, Arc<DataFusionError>>>>;

/// The operator.
pub struct HashJoin {
    /// What it takes the place of.
    stock: HashJoinExec,
    shape: Arc<Shape>,
    /// What the scan of the probe side is told.
    filter: Option<Arc<DynamicFilterPhysicalExpr>>,
    build: Mutex<Option<Build>>,
    metrics: ExecutionPlanMetricsSet,
}

/// What a join does, for the streams.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) join_type: JoinType,
    /// Of the output.
    pub(crate) columns: Vec<ColumnIndex>,
    pub(crate) filter: Option<JoinFilter>,
    pub(crate) build_keys: Vec<PhysicalExprRef>,
    pub(crate) probe_keys: Vec<PhysicalExprRef>,
    pub(crate) fetch: Option<usize>,
}

/// The build side.
pub(crate) struct Built {
    pub(crate) batch: RecordBatch,
    pub(crate) table: Table,
    pub(crate) packing: Packing,
    /// The key columns where numbers are hashes, to compare.
    pub(crate) keys: Vec<Vec<i64>>,
    /// A bit for each row that had a match, of the partitions that are done.
    pub(crate) matched: Mutex<Vec<u64>>,
    /// The last of them gives out what these bits decide.
    pub(crate) partitions_left: AtomicUsize,
    _memory: MemoryReservation,
}

impl HashJoin {
    /// In place of one of DataFusion's, if this operator can do what it does.
    pub fn instead_of(stock: &HashJoinExec) -> Option<Self> {
        let join_type = *stock.join_type();
        let is_known = match join_type {
            JoinType::Inner
            | JoinType::Left
            | JoinType::LeftSemi
            | JoinType::LeftAnti
            | JoinType::RightSemi
            | JoinType::RightAnti => true,
            // With a condition, rows without a match are known only when the batch is done, and would come out of order.
            JoinType::Right => stock.filter().is_none(),
            JoinType::Full | JoinType::LeftMark | JoinType::RightMark => false,
        };
        let (left, right) = (stock.left().schema(), stock.right().schema());
        let are_keys_numbers = stock.on().iter().all(|(build, probe)| {
            let types = (build.data_type(&left), probe.data_type(&right));
            matches!(types, (Ok(build), Ok(probe)) if build == probe && are_numbers(&build))
        });
        let is_plain = *stock.partition_mode() == PartitionMode::CollectLeft
            && stock.null_equality() == NullEquality::NullEqualsNothing
            && !stock.null_aware
            && !stock.on().is_empty();
        if !(is_known && is_plain && are_keys_numbers) {
            return None;
        }
        let (_, all_columns) = build_join_schema(&left, &right, &join_type);
        let columns = match &stock.projection {
            Some(projection) => projection
                .iter()
                .map(|place| all_columns.get(*place).cloned())
                .collect::<Option<_>>()?,
            None => all_columns,
        };
        let filter = stock.dynamic_expressions_produced().into_iter().next();
        let filter = filter.and_then(|filter| (filter as Arc<dyn std::any::Any + Send + Sync>).downcast().ok());
        let (build_keys, probe_keys) = stock.on().iter().cloned().unzip();
        Some(Self {
            stock: stock.builder().build().ok()?,
            shape: Arc::new(Shape {
                join_type,
                columns,
                filter: stock.filter().cloned(),
                build_keys,
                probe_keys,
                fetch: stock.fetch(),
            }),
            filter,
            build: Mutex::new(None),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    /// What it takes the place of, over the same inputs.
    pub fn stock(&self) -> &HashJoinExec {
        &self.stock
    }

    /// The build side's future, begun by the first partition that asks.
    fn build(&self, partition: usize, context: &Arc<TaskContext>) -> Result<Build> {
        let mut build = self.build.lock();
        if let Some(begun) = &*build {
            return Ok(begun.clone());
        }
        let input = self.stock.left().execute(0, Arc::clone(context))?;
        let builder = Builder {
            shape: Arc::clone(&self.shape),
            filter: self.filter.clone(),
            probe_schema: self.stock.right().schema(),
            partitions: self.stock.right().output_partitioning().partition_count(),
            memory: MemoryConsumer::new("HashJoinInput").register(context.memory_pool()),
            rows: MetricBuilder::new(&self.metrics).counter("build_input_rows", partition),
            bytes: MetricBuilder::new(&self.metrics).gauge("build_mem_used", partition),
            time: MetricBuilder::new(&self.metrics).subset_time("build_time", partition),
        };
        let begun = builder
            .build(input)
            .map(|built| built.map(Arc::new).map_err(Arc::new))
            .boxed()
            .shared();
        *build = Some(begun.clone());
        Ok(begun)
    }
}

impl fmt::Debug for HashJoin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashJoin")
            .field("stock", &self.stock)
            .finish_non_exhaustive()
    }
}

shown_as_stock!(HashJoin);

impl ExecutionPlan for HashJoin {
    as_stock!(
        name,
        properties,
        input_requirements,
        maintains_input_order,
        children,
        apply_expressions,
        statistics,
        fetch
    );
    with_new_children!();

    fn dynamic_expressions_produced(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        self.stock.dynamic_expressions_produced()
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let stock = self
            .stock
            .builder()
            .recompute_properties()
            .with_new_children(children)?
            .build()?;
        match Self::instead_of(&stock) {
            Some(join) => Ok(Arc::new(join)),
            None => internal_err!("a join has other inputs than it was made for"),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let build = self.build(partition, &context)?;
        let probe = self.stock.right().execute(partition, Arc::clone(&context))?;
        let batch_size = context.session_config().batch_size();
        Ok(probe::stream(
            Arc::clone(&self.shape),
            self.schema(),
            build,
            probe,
            batch_size,
            &self.metrics,
            partition,
        ))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// What making the build side takes.
struct Builder {
    shape: Arc<Shape>,
    filter: Option<Arc<DynamicFilterPhysicalExpr>>,
    probe_schema: arrow::datatypes::SchemaRef,
    partitions: usize,
    memory: MemoryReservation,
    rows: Count,
    bytes: Gauge,
    time: Time,
}

impl Builder {
    async fn build(self, mut input: SendableRecordBatchStream) -> Result<Built> {
        let schema = input.schema();
        let mut batches = Vec::new();
        let mut counted = RecordBatchMemoryCounter::new();
        while let Some(batch) = input.next().await.transpose()? {
            let time = self.time.timer();
            self.rows.add(batch.num_rows());
            self.memory.try_grow(counted.count_batch(&batch))?;
            batches.push(batch);
            time.done();
        }
        drop(input);
        let time = self.time.timer();
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        if u32::try_from(rows).is_err() || rows == u32::MAX as usize {
            return resources_err!("the smaller side of a join has {rows} rows");
        }
        // The copy, beside what is copied.
        self.memory.try_grow(self.memory.size())?;
        let batch = together(&concat_batches(&schema, &batches)?)?;
        drop(batches);
        let batch_bytes = batch.get_array_memory_size();
        let keys_bytes = rows * (self.shape.build_keys.len() + 1) * size_of::<i64>();
        let sets_bytes = match &self.filter {
            Some(_) => self.shape.build_keys.len() * KeySet::bytes_max(rows),
            None => 0,
        };
        let matched_bytes = rows.div_ceil(8);
        self.memory
            .try_resize(batch_bytes + keys_bytes + sets_bytes + matched_bytes + Table::bytes_max(rows))?;

        let arrays = key_arrays(&self.shape.build_keys, &batch)?;
        let mut keys = KeyColumns::new(&arrays)?;
        if let Some(filter) = &self.filter {
            filter.update(self.told(&arrays, &keys)?)?;
            filter.mark_complete();
        }
        let packing = Packing::of(&keys);
        let packed = packing.pack(&mut keys);
        let table = Table::new(&packed, &keys);
        // What is kept is less than what it took.
        let kept_keys_bytes = if packing.is_exact() { 0 } else { keys_bytes };
        self.memory
            .resize(batch_bytes + kept_keys_bytes + sets_bytes + matched_bytes + table.bytes());
        self.bytes.add(self.memory.size());
        time.done();
        Ok(Built {
            matched: Mutex::new(if probe::keeps_matches(self.shape.join_type) {
                vec![0; rows.div_ceil(64)]
            } else {
                Vec::new()
            }),
            keys: if packing.is_exact() { Vec::new() } else { keys.columns },
            partitions_left: AtomicUsize::new(self.partitions),
            batch,
            table,
            packing,
            _memory: self.memory,
        })
    }

    /// What the scan of the probe side can know of rows that may have a match: for each key column its range, and its values.
    fn told(&self, arrays: &[ArrayRef], keys: &KeyColumns) -> Result<Arc<dyn PhysicalExpr>> {
        let both =
            |a: Arc<dyn PhysicalExpr>, b| Arc::new(BinaryExpr::new(a, Operator::And, b)) as Arc<dyn PhysicalExpr>;
        let mut told: Option<Arc<dyn PhysicalExpr>> = None;
        for (column, (array, probe)) in arrays.iter().zip(&self.shape.probe_keys).enumerate() {
            let Some((least, greatest)) = keys.extremes(column) else {
                return Ok(lit(false));
            };
            let bound = |operator, row| -> Result<Arc<dyn PhysicalExpr>> {
                let value = lit(ScalarValue::try_from_array(array, row)?);
                Ok(Arc::new(BinaryExpr::new(Arc::clone(probe), operator, value)))
            };
            let range = both(bound(Operator::GtEq, least)?, bound(Operator::LtEq, greatest)?);
            let values = &keys.columns[column];
            let rows = (0..values.len()).filter(|row| !keys.is_null(*row));
            let among: Arc<dyn PhysicalExpr> = if values.len() <= LISTED_KEYS_MAX {
                let list = rows
                    .map(|row| Ok(lit(ScalarValue::try_from_array(array, row)?)))
                    .collect::<Result<_>>()?;
                in_list(Arc::clone(probe), list, &false, &self.probe_schema)?
            } else {
                let some: Vec<i64> = rows.map(|row| values[row]).collect();
                let set = KeySet::new(some.into_iter(), values[least], values[greatest]);
                Arc::new(InKeySet::new(Arc::clone(probe), Arc::new(set)))
            };
            let of_column = both(range, among);
            told = Some(match told {
                Some(told) => both(told, of_column),
                None => of_column,
            });
        }
        Ok(told.unwrap_or_else(|| lit(true)))
    }
}

/// The values of key expressions.
pub(crate) fn key_arrays(keys: &[PhysicalExprRef], batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    keys.iter()
        .map(|key| key.evaluate(batch)?.into_array(batch.num_rows()))
        .collect()
}

/// The same batch, its text copied together: every batch taken from it carries all its buffers.
fn together(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(|column| match column.data_type() {
        DataType::Utf8View if column.as_string_view().data_buffers().len() > 1 => {
            Arc::new(column.as_string_view().gc()) as ArrayRef
        }
        DataType::BinaryView if column.as_binary_view().data_buffers().len() > 1 => {
            Arc::new(column.as_binary_view().gc()) as ArrayRef
        }
        _ => Arc::clone(column),
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        batch.schema(),
        columns.collect(),
        &options,
    )?)
}
