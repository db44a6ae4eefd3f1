//! Beside DataFusion's operator, over random rows in random batches.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, ListArray, RecordBatch, StringViewArray};
use arrow::compute::{SortOptions, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::execution::TaskContext;
use datafusion::functions_window::rank::{dense_rank_udwf, rank_udwf};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::{WindowFrame, WindowFunctionDefinition, WindowUDF};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalExprRef, PhysicalSortExpr};
use datafusion::physical_plan::windows::{BoundedWindowAggExec, create_window_expr};
use datafusion::physical_plan::{ExecutionPlan, InputOrderMode, collect};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::subsequence;

use crate::replace;

const COLUMNS: usize = 4;

fn schema() -> SchemaRef {
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true)));
    let types = [DataType::Int64, DataType::Utf8View, DataType::Float64, list];
    let fields = types.into_iter().enumerate();
    let fields = fields.map(|(number, data_type)| Field::new(format!("c{number}"), data_type, true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Few values, many of them the same; nulls, zeros of both signs, numbers that are none.
fn batch(rows: &[[Option<u8>; COLUMNS]]) -> RecordBatch {
    let column = |number: usize| rows.iter().map(move |row| row[number]);
    let floats = [0.0, -0.0, f64::NAN, 1.0];
    let columns: [ArrayRef; COLUMNS] = [
        Arc::new(column(0).map(|value| value.map(i64::from)).collect::<Int64Array>()),
        Arc::new(
            column(1)
                .map(|value| value.map(|value| "a".repeat(value.into())))
                .collect::<StringViewArray>(),
        ),
        Arc::new(
            column(2)
                .map(|value| value.map(|value| floats[usize::from(value)]))
                .collect::<Float64Array>(),
        ),
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(column(3).map(
            |value| value.map(|value| vec![Some(1), (value > 0).then_some(value.into())]),
        ))),
    ];
    RecordBatch::try_new(schema(), columns.to_vec()).unwrap()
}

/// The rows in order of these columns, in batches of so many.
fn sorted(rows: &[[Option<u8>; COLUMNS]], keys: &[usize], sizes: &[usize]) -> Vec<RecordBatch> {
    let batch = batch(rows);
    let of_key = |key: &usize| arrow::compute::SortColumn {
        values: Arc::clone(batch.column(*key)),
        options: None,
    };
    let batch = match keys {
        [] => batch,
        _ => {
            let order = lexsort_to_indices(&keys.iter().map(of_key).collect::<Vec<_>>(), None).unwrap();
            take_record_batch(&batch, &order).unwrap()
        }
    };
    let mut first = 0;
    let mut batches = Vec::new();
    for size in sizes.iter().cycle() {
        let rows = (*size).min(batch.num_rows() - first);
        batches.push(batch.slice(first, rows));
        first += rows;
        if first == batch.num_rows() {
            break;
        }
    }
    batches
}

fn function(name: u8) -> Arc<WindowUDF> {
    match name {
        0 => row_number_udwf(),
        1 => rank_udwf(),
        _ => dense_rank_udwf(),
    }
}

proptest! {
    #[test]
    fn ranks_are_those_of_the_stock_operator(
        rows in vec(proptest::array::uniform4(proptest::option::weighted(0.9, 0..4_u8)), 0..200),
        keys in subsequence((0..COLUMNS).collect::<Vec<_>>(), 0..=COLUMNS).prop_shuffle(),
        partition_keys in 0..=COLUMNS,
        functions in vec(0..3_u8, 1..4),
        sizes in vec(1..30_usize, 1..5),
    ) {
        let batches = sorted(&rows, &keys, &sizes);
        let (partition_by, order_by) = keys.split_at(partition_keys.min(keys.len()));
        let column = |key: &usize| Arc::new(Column::new(&format!("c{key}"), *key)) as PhysicalExprRef;
        let sort_key = |key: &usize| PhysicalSortExpr::new(column(key), SortOptions::default());
        let windows = functions.iter().enumerate().map(|(number, name)| {
            create_window_expr(
                &WindowFunctionDefinition::WindowUDF(function(*name)),
                format!("w{number}"),
                &[],
                &partition_by.iter().map(column).collect::<Vec<_>>(),
                &order_by.iter().map(sort_key).collect::<Vec<_>>(),
                Arc::new(WindowFrame::new(Some(false))),
                schema(),
                false,
                false,
                None,
            )
        });
        let windows = windows.collect::<datafusion::error::Result<Vec<_>>>().unwrap();
        let source = MemorySourceConfig::try_new(&[batches], schema(), None).unwrap();
        let ordering = LexOrdering::new(keys.iter().map(sort_key));
        let source = source.try_with_sort_information(ordering.into_iter().collect()).unwrap();
        let source = datafusion::datasource::source::DataSourceExec::from_data_source(source);
        let stock = BoundedWindowAggExec::try_new(windows, source, InputOrderMode::Sorted, false).unwrap();
        let stock: Arc<dyn ExecutionPlan> = Arc::new(stock);
        let ours = replace(Arc::clone(&stock)).unwrap();
        prop_assert!(ours.is::<super::Ranking>(), "it was not replaced");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let run = |plan: Arc<dyn ExecutionPlan>| {
            let batches = runtime.block_on(collect(Arc::clone(&plan), Arc::new(TaskContext::default()))).unwrap();
            concat_batches(&plan.schema(), &batches).unwrap()
        };
        prop_assert_eq!(run(stock), run(ours));
    }
}
