//! Rows of many types that operators are tested with, and how plans are run.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int16Array, Int64Array,
    IntervalMonthDayNanoArray, ListArray, RecordBatch, StringArray, StringViewArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Int64Type, IntervalMonthDayNano, IntervalUnit, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::{ExecutionPlan, collect_partitioned};
use datafusion::prelude::SessionConfig;
use proptest::option;
use proptest::prelude::*;

pub(crate) const COLUMNS: usize = 11;

/// A row's value in each column, from a number.
pub(crate) type Row = (Option<i64>, Option<i64>, String);

pub(crate) fn schema() -> SchemaRef {
    let types = [
        DataType::Int64,
        DataType::Int16,
        DataType::UInt64,
        DataType::Float64,
        DataType::Decimal128(38, 2),
        DataType::Boolean,
        DataType::Utf8View,
        DataType::Utf8,
        DataType::Binary,
        DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true))),
        DataType::Interval(IntervalUnit::MonthDayNano),
    ];
    let fields = types.into_iter().enumerate();
    let fields = fields.map(|(number, data_type)| Field::new(format!("c{number}"), data_type, true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

pub(crate) fn batch(rows: &[Row]) -> RecordBatch {
    let a = || rows.iter().map(|row| row.0);
    let b = || rows.iter().map(|row| row.1);
    let text = || rows.iter().map(|row| row.1.map(|_| row.2.as_str()));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(a().collect::<Int64Array>()),
        Arc::new(b().map(|b| b.map(|b| b as i16)).collect::<Int16Array>()),
        Arc::new(a().map(|a| a.map(|a| a as u64)).collect::<UInt64Array>()),
        Arc::new(
            a().map(|a| a.map(|a| f64::from_bits(a as u64)))
                .collect::<Float64Array>(),
        ),
        Arc::new(
            a().map(|a| a.map(|a| i128::from(a) * 5_000_000_000_000_000_000))
                .collect::<Decimal128Array>()
                .with_precision_and_scale(38, 2)
                .unwrap(),
        ),
        Arc::new(b().map(|b| b.map(|b| b % 2 == 0)).collect::<BooleanArray>()),
        Arc::new(text().collect::<StringViewArray>()),
        Arc::new(text().collect::<StringArray>()),
        Arc::new(text().map(|text| text.map(str::as_bytes)).collect::<BinaryArray>()),
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(
            a().zip(b()).map(|(a, b)| b.map(|b| vec![Some(b % 3), a])),
        )),
        Arc::new(
            a().map(|a| a.map(|a| IntervalMonthDayNano::new(1, a as i32, a)))
                .collect::<IntervalMonthDayNanoArray>(),
        ),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// Numbers near each other, and the ends of the range; texts that have much in common, end early, and have zeros.
pub(crate) fn row() -> impl Strategy<Value = Row> {
    let number = || {
        prop_oneof![
            8 => (-5..5_i64).boxed(),
            2 => any::<i64>().boxed(),
            1 => Just(i64::MIN).boxed(),
            1 => Just(i64::MAX).boxed(),
        ]
    };
    let text = prop_oneof![
        "[ab]{0,3}",
        "a{10,40}b{0,2}",
        "[a\\x00]{0,20}",
        "http://www\\.example\\.com/(path/){0,9}[ab]",
    ];
    (option::weighted(0.9, number()), option::weighted(0.9, number()), text)
}

pub(crate) fn context(memory: usize) -> Arc<TaskContext> {
    let pool = Arc::new(FairSpillPool::new(memory));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().unwrap();
    let config = SessionConfig::new().with_batch_size(64).with_target_partitions(3);
    Arc::new(TaskContext::default().with_session_config(config).with_runtime(runtime))
}

pub(crate) fn run(
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
) -> datafusion::error::Result<Vec<Vec<RecordBatch>>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(collect_partitioned(plan, context))
}

/// The rows as bytes.
pub(crate) fn encoded(batch: &RecordBatch) -> Vec<Vec<u8>> {
    let fields = batch
        .schema()
        .fields()
        .iter()
        .map(|field| SortField::new(field.data_type().clone()))
        .collect();
    bytes(fields, batch.columns())
}

pub(crate) fn bytes(fields: Vec<SortField>, columns: &[ArrayRef]) -> Vec<Vec<u8>> {
    let rows = RowConverter::new(fields).unwrap().convert_columns(columns).unwrap();
    rows.iter().map(|row| row.as_ref().to_vec()).collect()
}

pub(crate) fn sorted(mut rows: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    rows.sort_unstable();
    rows
}
