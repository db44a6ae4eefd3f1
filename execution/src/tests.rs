//! Our operators beside DataFusion's, on the same inputs.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::{JoinSide, JoinType, NullEquality};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExprRef;
use datafusion::physical_expr::expressions::{BinaryExpr, Column};
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter};
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::{ExecutionPlan, collect_partitioned};
use datafusion::prelude::SessionConfig;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::HashJoin;
use crate::key_set::KeySet;

/// Two keys, a number to compare, a text.
type Row = (Option<i64>, Option<i32>, Option<i32>, Option<String>);

const JOIN_TYPES: [JoinType; 7] = [
    JoinType::Inner,
    JoinType::Left,
    JoinType::Right,
    JoinType::LeftSemi,
    JoinType::LeftAnti,
    JoinType::RightSemi,
    JoinType::RightAnti,
];

fn schema(side: &str) -> SchemaRef {
    let field = |name: &str, data_type| Field::new(format!("{side}{name}"), data_type, true);
    Arc::new(Schema::new(vec![
        field("a", DataType::Int64),
        field("b", DataType::Int32),
        field("v", DataType::Int32),
        field("t", DataType::Utf8View),
    ]))
}

fn batch(side: &str, rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.1).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|row| row.2).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|row| row.3.as_deref()).collect::<StringViewArray>()),
    ];
    RecordBatch::try_new(schema(side), columns).unwrap()
}

fn source(side: &str, partitions: &[Vec<Vec<Row>>]) -> Arc<dyn ExecutionPlan> {
    let partitions: Vec<Vec<RecordBatch>> = partitions
        .iter()
        .map(|batches| batches.iter().map(|rows| batch(side, rows)).collect())
        .collect();
    MemorySourceConfig::try_new_exec(&partitions, schema(side), None).unwrap()
}

/// What the partitions of a plan give, as text.
fn rows_of(plan: Arc<dyn ExecutionPlan>) -> Vec<Vec<String>> {
    let context = TaskContext::default().with_session_config(SessionConfig::new().with_batch_size(16));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let partitions = runtime.block_on(collect_partitioned(plan, Arc::new(context))).unwrap();
    let text = |batch: &RecordBatch| -> Vec<String> {
        let options = FormatOptions::default().with_null("null");
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
            .collect();
        (0..batch.num_rows())
            .map(|row| columns.iter().map(|column| format!("{}|", column.value(row))).collect())
            .collect()
    };
    partitions
        .iter()
        .map(|batches| batches.iter().flat_map(text).collect())
        .collect()
}

#[derive(Clone, Debug)]
struct Case {
    build: Vec<Vec<Row>>,
    probe: Vec<Vec<Vec<Row>>>,
    keys: usize,
    filter: bool,
    projection: Option<Vec<usize>>,
    join_type: JoinType,
}

impl Case {
    fn stock(&self) -> HashJoinExec {
        let (left, right) = (source("l", std::slice::from_ref(&self.build)), source("r", &self.probe));
        let key =
            |side: &str, name: &str, place| Arc::new(Column::new(&format!("{side}{name}"), place)) as PhysicalExprRef;
        let on = ["a", "b"].into_iter().enumerate().take(self.keys);
        let on = on
            .map(|(place, name)| (key("l", name, place), key("r", name, place)))
            .collect();
        let filter = self.filter.then(|| {
            let column = |place| Arc::new(Column::new(["lv", "rv"][place], place)) as PhysicalExprRef;
            let sides = [JoinSide::Left, JoinSide::Right].map(|side| ColumnIndex { index: 2, side });
            let fields = ["lv", "rv"].map(|name| Field::new(name, DataType::Int32, true));
            let less = BinaryExpr::new(column(0), Operator::Lt, column(1));
            JoinFilter::new(Arc::new(less), sides.to_vec(), Arc::new(Schema::new(fields.to_vec())))
        });
        let mode = PartitionMode::CollectLeft;
        let equality = NullEquality::NullEqualsNothing;
        HashJoinExec::try_new(
            left,
            right,
            on,
            filter,
            &self.join_type,
            self.projection.clone(),
            mode,
            equality,
            false,
        )
        .unwrap()
    }
}

fn rows(key: impl Strategy<Value = i64> + Clone + 'static, most: usize) -> impl Strategy<Value = Vec<Vec<Row>>> {
    let text = option::of("[a-c]{0,20}");
    let row = (
        option::weighted(0.9, key),
        option::weighted(0.9, 0..3_i32),
        option::weighted(0.9, 0..5_i32),
        text,
    );
    vec(vec(row, 0..most), 0..4)
}

fn case() -> impl Strategy<Value = Case> {
    // Dense keys, keys far apart, keys whose range no number holds together with another's.
    let key = prop_oneof![
        Just((0..20_i64).boxed()),
        Just(prop_oneof![Just(7_i64), Just(1 << 40), Just(-(1 << 41)), Just(12_345_678_901)].boxed()),
        Just(prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(0_i64), Just(-1)].boxed()),
    ];
    key.prop_flat_map(|key| {
        (
            rows(key.clone(), 40),
            vec(rows(key, 30), 1..3),
            1..3_usize,
            any::<bool>(),
            any::<bool>(),
            0..JOIN_TYPES.len(),
        )
    })
    .prop_map(|(build, probe, keys, filter, projected, join_type)| {
        let join_type = JOIN_TYPES[join_type];
        let both_sides = matches!(join_type, JoinType::Inner | JoinType::Left | JoinType::Right);
        let filter = filter && join_type != JoinType::Right;
        let projection = projected.then(|| if both_sides { vec![7, 0, 2] } else { vec![3] });
        Case {
            build,
            probe,
            keys,
            filter,
            projection,
            join_type,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn joins_as_the_stock_operator(case in case()) {
        let stock = case.stock();
        let ours = HashJoin::instead_of(&stock).expect("one of ours");
        let (mut wanted, mut got) = (rows_of(Arc::new(stock)), rows_of(Arc::new(ours)));
        // Of a Right join the stock operator keeps the order only where the probe side has one.
        let keeps_order = matches!(case.join_type, JoinType::Inner | JoinType::RightSemi | JoinType::RightAnti);
        if !keeps_order {
            // Rows of the build side come from the partition that ended last.
            for all in [&mut wanted, &mut got] {
                let mut rows: Vec<String> = all.drain(..).flatten().collect();
                rows.sort();
                all.push(rows);
            }
        }
        prop_assert_eq!(wanted, got);
    }

    #[test]
    fn a_key_set_has_all_its_keys(keys in vec(any::<i64>(), 1..200), scale in 0..60_u32) {
        let keys: Vec<i64> = keys.into_iter().map(|key| key >> scale).collect();
        let (least, greatest) = (*keys.iter().min().unwrap(), *keys.iter().max().unwrap());
        let set = KeySet::new(keys.iter().copied(), least, greatest);
        let array: ArrayRef = Arc::new(Int64Array::from(keys));
        prop_assert_eq!(set.of::<arrow::datatypes::Int64Type>(&array).count_set_bits(), array.len());
    }
}

#[test]
fn counts_without_columns_and_stops_at_the_limit() {
    let rows: Vec<Row> = (0..100).map(|key| (Some(key), None, None, None)).collect();
    let case = Case {
        build: vec![rows.clone()],
        probe: vec![vec![rows.clone(), rows]],
        keys: 1,
        filter: false,
        projection: Some(Vec::new()),
        join_type: JoinType::Inner,
    };
    let count = |join: &HashJoinExec| rows_of(Arc::new(HashJoin::instead_of(join).unwrap())).concat().len();
    let stock = case.stock();
    assert_eq!(count(&stock), 200);
    assert_eq!(count(&stock.builder().with_fetch(Some(33)).build().unwrap()), 33);
}

#[test]
fn asks_for_the_memory_of_its_table() {
    let rows: Vec<Row> = (0..20_000).map(|key| (Some(key << 20), None, None, None)).collect();
    let case = Case {
        build: vec![rows.clone()],
        probe: vec![vec![rows]],
        keys: 1,
        filter: false,
        projection: Some(Vec::new()),
        join_type: JoinType::Inner,
    };
    let counted = |bytes: usize| {
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(GreedyMemoryPool::new(bytes)));
        let context = TaskContext::default().with_runtime(runtime.build_arc().unwrap());
        let join = Arc::new(HashJoin::instead_of(&case.stock()).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(collect_partitioned(join, Arc::new(context)))
    };
    let batch_bytes = batch("l", &case.build[0]).get_array_memory_size();
    // The rows fit twice, the table beside them does not.
    let refused = counted(batch_bytes * 2 + (1 << 16))
        .map(|_| ())
        .map_err(|error| error.find_root().to_string());
    assert!(refused.is_err_and(|error| error.contains("HashJoinInput")));
    assert!(counted(64 << 20).is_ok());
}

#[test]
fn leaves_alone_what_it_cannot_do() {
    let case = |join_type, filter| Case {
        build: Vec::new(),
        probe: vec![Vec::new()],
        keys: 1,
        filter,
        projection: None,
        join_type,
    };
    for (join_type, filter) in [
        (JoinType::Full, false),
        (JoinType::LeftMark, false),
        (JoinType::Right, true),
    ] {
        assert!(
            HashJoin::instead_of(&case(join_type, filter).stock()).is_none(),
            "{join_type}"
        );
    }
    let stock = case(JoinType::Inner, false).stock();
    let by_text = vec![(
        Arc::new(Column::new("lt", 3)) as PhysicalExprRef,
        Arc::new(Column::new("rt", 3)) as PhysicalExprRef,
    )];
    assert!(HashJoin::instead_of(&stock.builder().with_on(by_text).build().unwrap()).is_none());
}
