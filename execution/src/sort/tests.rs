//! Sorts beside DataFusion's, on the same rows.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int16Array, Int64Array,
    IntervalMonthDayNanoArray, ListArray, RecordBatch, StringArray, StringViewArray, UInt64Array,
};
use arrow::compute::{SortOptions, concat_batches};
use arrow::datatypes::{DataType, Field, Int64Type, IntervalMonthDayNano, IntervalUnit, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, lit};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, collect_partitioned};
use datafusion::prelude::SessionConfig;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::replace;

const COLUMNS: usize = 11;

/// A row's value in each column, from a number.
type Row = (Option<i64>, Option<i64>, String);

fn schema() -> SchemaRef {
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

fn batch(rows: &[Row]) -> RecordBatch {
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
fn row() -> impl Strategy<Value = Row> {
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

fn ordering(keys: &[(usize, bool, bool)]) -> LexOrdering {
    let keys = keys.iter().map(|(column, descending, nulls_first)| {
        let options = SortOptions {
            descending: *descending,
            nulls_first: *nulls_first,
        };
        let column_of = |index| Arc::new(Column::new(&format!("c{index}"), index)) as Arc<dyn PhysicalExpr>;
        let expr = match column {
            // A computed one.
            &COLUMNS => Arc::new(BinaryExpr::new(column_of(1), Operator::BitwiseXor, lit(3_i16))) as _,
            column => column_of(*column),
        };
        PhysicalSortExpr::new(expr, options)
    });
    LexOrdering::new(keys).unwrap()
}

fn context(memory: usize) -> Arc<TaskContext> {
    let pool = Arc::new(FairSpillPool::new(memory));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().unwrap();
    let config = SessionConfig::new().with_batch_size(64).with_target_partitions(3);
    Arc::new(TaskContext::default().with_session_config(config).with_runtime(runtime))
}

fn run(plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> datafusion::error::Result<Vec<Vec<RecordBatch>>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(collect_partitioned(plan, context))
}

/// The rows as bytes.
fn encoded(batch: &RecordBatch) -> Vec<Vec<u8>> {
    let fields = batch
        .schema()
        .fields()
        .iter()
        .map(|field| SortField::new(field.data_type().clone()))
        .collect();
    bytes(fields, batch.columns())
}

/// The keys of rows as bytes that compare as they do.
fn encoded_keys(batches: &[RecordBatch], ordering: &LexOrdering) -> Vec<Vec<u8>> {
    let batch = concat_batches(&schema(), batches).unwrap();
    let (fields, keys) = ordering
        .iter()
        .map(|key| {
            let values = key.expr.evaluate(&batch).unwrap().into_array(batch.num_rows()).unwrap();
            (
                SortField::new_with_options(values.data_type().clone(), key.options),
                values,
            )
        })
        .unzip::<_, _, Vec<_>, Vec<_>>();
    bytes(fields, &keys)
}

fn bytes(fields: Vec<SortField>, columns: &[ArrayRef]) -> Vec<Vec<u8>> {
    let rows = RowConverter::new(fields).unwrap().convert_columns(columns).unwrap();
    rows.iter().map(|row| row.as_ref().to_vec()).collect()
}

fn check(
    partitions: &[Vec<Vec<Row>>],
    keys: &[(usize, bool, bool)],
    merges: bool,
    memory: usize,
) -> Result<(), TestCaseError> {
    let batches: Vec<Vec<RecordBatch>> = partitions
        .iter()
        .map(|batches| batches.iter().map(|rows| batch(rows)).collect())
        .collect();
    let source = MemorySourceConfig::try_new_exec(&batches, schema(), None).unwrap();
    let ordering = ordering(keys);
    let sort = SortExec::new(ordering.clone(), source).with_preserve_partitioning(true);
    let plan: Arc<dyn ExecutionPlan> = match merges {
        true => Arc::new(SortPreservingMergeExec::new(ordering.clone(), Arc::new(sort))),
        false => Arc::new(sort),
    };
    let ours = replace(Arc::clone(&plan)).unwrap();
    prop_assert!(ours.is::<super::Sort>(), "it was not replaced");
    let expected = run(plan, context(usize::MAX)).unwrap();
    let found = run(Arc::clone(&ours), context(memory)).unwrap();
    prop_assert_eq!(expected.len(), found.len());
    for (expected, found) in expected.iter().zip(&found) {
        prop_assert!(found.iter().all(|batch| batch.num_rows() <= 64));
        let rows = |batches| sorted(encoded(&concat_batches(&schema(), batches).unwrap()));
        prop_assert_eq!(rows(expected), rows(found));
        prop_assert_eq!(encoded_keys(expected, &ordering), encoded_keys(found, &ordering));
    }
    if memory < usize::MAX {
        // It is what it was made for.
        prop_assert!(ours.metrics().unwrap().spill_count().unwrap() > 0);
    }
    Ok(())
}

fn keys() -> impl Strategy<Value = Vec<(usize, bool, bool)>> {
    vec((0..=COLUMNS, any::<bool>(), any::<bool>()), 1..4)
}

/// More than a piece of some keys: few numbers, texts that begin alike and of which many are the same. (DataFusion takes minutes for it.)
#[test]
fn many_rows_are_sorted_in_pieces() {
    let row = |number: i64| {
        let text = format!("what all of them begin with, which is long: {}", number % 97);
        ((number % 5 > 0).then_some(number % 5 / 4), Some(number), text)
    };
    let partitions: Vec<Vec<RecordBatch>> = (0..3)
        .map(|partition| {
            let numbers = |first: i64| (first..first + 8192).map(|number| number * 3 + partition);
            let of_batch = |number: i64| batch(&numbers(number * 8192).map(row).collect::<Vec<_>>());
            (0..6).map(of_batch).collect()
        })
        .collect();
    let by_row = ordering(&[(1, false, false), (6, false, false)]);
    let rows = sorted(encoded_keys(&partitions.concat(), &by_row));
    for keys in [
        vec![(0, false, true)],
        vec![(0, true, false), (7, false, false)],
        vec![(6, false, false), (0, true, true), (1, true, false)],
        vec![(9, true, false)],
    ] {
        let source = MemorySourceConfig::try_new_exec(&partitions, schema(), None).unwrap();
        let ordering = ordering(&keys);
        let sort = SortExec::new(ordering.clone(), source).with_preserve_partitioning(true);
        let ours = replace(Arc::new(SortPreservingMergeExec::new(ordering.clone(), Arc::new(sort)))).unwrap();
        let found = run(ours, context(usize::MAX)).unwrap().concat();
        assert!(encoded_keys(&found, &ordering).is_sorted());
        assert!(sorted(encoded_keys(&found, &by_row)) == rows);
    }
}

fn sorted(mut rows: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    rows.sort_unstable();
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rows_come_in_the_order_of_their_keys(
        partitions in vec(vec(vec(row(), 0..80), 0..4), 1..4),
        keys in keys(),
        merges: bool,
    ) {
        prop_assume!(merges || !partitions.is_empty());
        check(&partitions, &keys, merges && partitions.len() > 1, usize::MAX)?;
    }

    #[test]
    fn rows_of_one_key_go_by_what_is_left(
        rows in vec("(the same beginning of all of them, ){1,3}[ab]{0,40}", 100..400),
        descending: bool,
    ) {
        let rows: Vec<Row> = rows.into_iter().enumerate().map(|(number, text)| (Some(number as i64 % 3), Some(1), text)).collect();
        check(&[vec![rows.clone()], vec![rows]], &[(6, descending, false), (0, !descending, true)], true, usize::MAX)?;
    }

    #[test]
    fn rows_without_room_go_through_files(
        rows in vec(vec(vec(row(), 60..80), 6..9), 1..4),
        keys in keys(),
        merges: bool,
    ) {
        check(&rows, &keys, merges && rows.len() > 1, rows.len() * 150_000)?;
    }
}
