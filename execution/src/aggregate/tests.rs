//! Our grouping beside DataFusion's, on the same inputs.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Int16Array, Int64Array, RecordBatch, StringViewArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::functions_aggregate::{count::count_udaf, min_max::min_udaf, sum::sum_udaf};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExprRef;
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, col, lit};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::SessionConfig;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::{Aggregate, ROWS_TRIED};

/// A key each of 64, 16 and 32 bits, a text, what is added up, and keys that are a decimal and true or false.
type Row = (
    Option<i64>,
    Option<i16>,
    i32,
    Option<String>,
    Option<i128>,
    Option<i128>,
    Option<bool>,
);

const KEYS: [&str; 6] = ["a", "b", "d", "t", "n", "f"];

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("b", DataType::Int16, true),
        Field::new("d", DataType::Date32, false),
        Field::new("t", DataType::Utf8View, true),
        Field::new("v", DataType::Decimal128(12, 2), true),
        Field::new("n", DataType::Decimal128(38, 4), true),
        Field::new("f", DataType::Boolean, true),
    ]))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let values = rows.iter().map(|row| row.4).collect::<Decimal128Array>();
    let decimals = rows.iter().map(|row| row.5).collect::<Decimal128Array>();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.1).collect::<Int16Array>()),
        Arc::new(rows.iter().map(|row| Some(row.2)).collect::<Date32Array>()),
        Arc::new(rows.iter().map(|row| row.3.as_deref()).collect::<StringViewArray>()),
        Arc::new(values.with_precision_and_scale(12, 2).unwrap()),
        Arc::new(decimals.with_precision_and_scale(38, 4).unwrap()),
        Arc::new(rows.iter().map(|row| row.6).collect::<BooleanArray>()),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// Partial results of each partition, put together.
fn plan(partitions: &[Vec<RecordBatch>], keys: &[&str], filter: bool) -> Arc<dyn ExecutionPlan> {
    let schema = schema();
    let column = |name: &str| col(name, &schema).unwrap();
    let function = |function, argument: PhysicalExprRef, name: &str| {
        let built = AggregateExprBuilder::new(function, vec![argument]);
        Arc::new(built.schema(Arc::clone(&schema)).alias(name).build().unwrap())
    };
    let product = Arc::new(BinaryExpr::new(column("v"), Operator::Multiply, column("v"))) as PhysicalExprRef;
    let product = crate::narrowed(&product, &schema).unwrap();
    let whole = |name| Arc::new(CastExpr::new(column(name), DataType::Int64, None)) as PhysicalExprRef;
    let functions: Vec<Arc<AggregateFunctionExpr>> = vec![
        function(count_udaf(), lit(1_i64), "rows"),
        function(sum_udaf(), column("v"), "sum"),
        function(min_udaf(), column("t"), "least"),
        function(count_udaf(), column("v"), "values"),
        function(sum_udaf(), product, "sum of products"),
        function(sum_udaf(), whole("b"), "sum of whole numbers"),
        function(sum_udaf(), whole("a"), "sum of long ones"),
    ];
    let is_positive = filter.then(|| {
        Arc::new(BinaryExpr::new(
            column("d"),
            Operator::Gt,
            lit(datafusion::common::ScalarValue::Date32(Some(0))),
        )) as PhysicalExprRef
    });
    let groups = PhysicalGroupBy::new_single(keys.iter().map(|key| (column(key), key.to_string())).collect());
    let source = MemorySourceConfig::try_new_exec(partitions, Arc::clone(&schema), None).unwrap();
    let filters = vec![None, is_positive.clone(), None, None, None, is_positive, None];
    let aggregate = |mode, groups: PhysicalGroupBy, input| {
        Arc::new(
            AggregateExec::try_new(
                mode,
                groups,
                functions.clone(),
                filters.clone(),
                input,
                Arc::clone(&schema),
            )
            .unwrap(),
        )
    };
    let partial = aggregate(AggregateMode::Partial, groups.clone(), source);
    let together = Arc::new(CoalescePartitionsExec::new(partial));
    aggregate(AggregateMode::Final, groups.as_final(), together)
}

/// The rows of a plan as text, sorted.
fn rows_of(plan: Arc<dyn ExecutionPlan>, memory_bytes: Option<usize>) -> Vec<String> {
    let mut runtime = RuntimeEnvBuilder::new();
    if let Some(bytes) = memory_bytes {
        runtime = runtime.with_memory_pool(Arc::new(GreedyMemoryPool::new(bytes)));
    }
    let context = TaskContext::default()
        .with_session_config(SessionConfig::new().with_batch_size(64))
        .with_runtime(runtime.build_arc().unwrap());
    let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let batches = tokio.block_on(collect(plan, Arc::new(context))).unwrap();
    let mut rows: Vec<String> = Vec::new();
    for batch in &batches {
        let options = FormatOptions::default().with_null("null");
        let columns = batch.columns().iter();
        let columns: Vec<_> = columns
            .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
            .collect();
        rows.extend((0..batch.num_rows()).map(|row| {
            columns
                .iter()
                .map(|column| format!("{}|", column.value(row)))
                .collect::<String>()
        }));
    }
    rows.sort_unstable();
    rows
}

fn ours(stock: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    let plan = crate::replace(Arc::clone(stock)).unwrap();
    assert!(plan.is::<Aggregate>(), "it should have been replaced");
    plan
}

fn row() -> impl Strategy<Value = Row> {
    // Of the large ones two are too much for 64 bits, or one.
    let value = prop_oneof![
        16 => -1_000_i128..1_000,
        1 => Just(i128::from(i64::MAX)),
        1 => Just(-3_037_000_500_i128),
        1 => Just(i128::from(i64::MIN) - 1),
    ];
    let text = prop_oneof!["", "[ab]", "é{2}", "a long text [ab]", "another text that is long [cd]"];
    (
        option::weighted(0.8, prop_oneof![-2_i64..3, Just(i64::MAX), Just(i64::MIN)]),
        option::weighted(0.8, prop_oneof![-2_i16..3, Just(i16::MAX), Just(i16::MIN)]),
        prop_oneof![-2_i32..3, Just(i32::MAX), Just(i32::MIN)],
        option::weighted(0.8, text),
        option::weighted(0.8, value),
        // One that is too large for our keys.
        option::weighted(
            0.8,
            prop_oneof![20 => -2_i128..300, 1 => Just(i128::from(i64::MAX) + 1)],
        ),
        option::weighted(0.8, any::<bool>()),
    )
}

proptest! {
    #[test]
    fn groups_as_datafusion_does(
        partitions in vec(vec(vec(row(), 0..20), 0..4), 1..3),
        keys in prop::sample::subsequence(KEYS.to_vec(), 1..=6),
        filter in any::<bool>(),
    ) {
        let partitions: Vec<Vec<RecordBatch>> =
            partitions.iter().map(|batches| batches.iter().map(|rows| batch(rows)).collect()).collect();
        let stock = plan(&partitions, &keys, filter);
        prop_assert_eq!(rows_of(Arc::clone(&stock), None), rows_of(ours(&stock), None));
    }
}

/// Rows of which so many follow with the same key.
fn many(rows: usize, alike: usize, text: impl Fn(usize) -> Option<String>) -> Vec<RecordBatch> {
    let row = |row: usize| -> Row {
        (
            Some((row / alike) as i64),
            None,
            1,
            text(row / alike),
            Some(row as i128),
            None,
            None,
        )
    };
    let rows: Vec<Row> = (0..rows).map(row).collect();
    rows.chunks(8192).map(batch).collect()
}

#[test]
fn hands_over_when_each_row_is_a_group() {
    let partitions = [many(ROWS_TRIED * 2, 1, |_| None)];
    let stock = plan(&partitions, &["a"], false);
    assert_eq!(rows_of(Arc::clone(&stock), None), rows_of(ours(&stock), None));
}

#[test]
fn many_long_texts_are_groups() {
    let text = |row: usize| (!row.is_multiple_of(11)).then(|| format!("this is text number {}", row % 12_000));
    let partitions = [many(30_000, 2, text), many(20_000, 1, text)];
    for keys in [&["t"] as &[&str], &["t", "d"]] {
        let stock = plan(&partitions, keys, false);
        assert_eq!(rows_of(Arc::clone(&stock), None), rows_of(ours(&stock), None));
        assert_eq!(rows_of(Arc::clone(&stock), None), rows_of(ours(&stock), Some(6 << 20)));
    }
}

/// Keys begin small and without nulls, and come again when later ones are neither.
#[test]
fn keys_are_widened() {
    let row = |row: usize| -> Row {
        let small = row % 100;
        let is_late = row >= 10_000;
        let is_large = is_late && row.is_multiple_of(7);
        (
            (!(is_late && row.is_multiple_of(5))).then_some(if is_large {
                i64::MIN + small as i64
            } else {
                small as i64
            }),
            Some((row % 3) as i16 - 1),
            if row < 5_000 { 1 } else { (row % 1_000) as i32 * -100 },
            (!(is_late && row.is_multiple_of(11))).then(|| format!("text {}", row % 50)),
            Some(row as i128),
            Some((row / 100) as i128 * 12_345),
            Some(row.is_multiple_of(2)),
        )
    };
    let rows: Vec<Row> = (0..20_000).map(row).collect();
    let partitions = [
        rows.chunks(1024).map(batch).collect::<Vec<_>>(),
        rows.chunks(64).rev().map(batch).collect::<Vec<_>>(),
    ];
    for keys in [
        &["a"] as &[&str],
        &["t"],
        &["a", "b"],
        &["d", "b", "t"],
        &["a", "f", "n"],
        &["n", "d"],
        &KEYS,
    ] {
        let stock = plan(&partitions, keys, false);
        assert_eq!(rows_of(Arc::clone(&stock), None), rows_of(ours(&stock), None));
        assert_eq!(rows_of(Arc::clone(&stock), None), rows_of(ours(&stock), Some(3 << 20)));
    }
}

#[test]
fn hands_over_when_memory_is_short() {
    let partitions = [many(60_000, 2, |_| None), many(60_000, 3, |_| None)];
    let stock = plan(&partitions, &["a", "b"], true);
    assert_eq!(rows_of(Arc::clone(&stock), None), rows_of(ours(&stock), Some(4 << 20)));
}

#[test]
fn totals_that_leave_64_bits_go_on() {
    // Each batch may bring totals to a quarter of what 64 bits hold: they are handed over again and again.
    let row = |row: usize| -> Row {
        let large = i128::from(i64::MAX) / 4 / 64;
        let value = (!row.is_multiple_of(7)).then_some(if row.is_multiple_of(2) { large } else { -large / 3 });
        (Some((row % 3) as i64), None, 1, None, value, None, None)
    };
    let rows: Vec<Row> = (0..10_000).map(row).collect();
    let partitions = [rows.chunks(64).map(batch).collect::<Vec<_>>()];
    let stock = plan(&partitions, &["a"], false);
    assert_eq!(rows_of(Arc::clone(&stock), None), rows_of(ours(&stock), None));
}
