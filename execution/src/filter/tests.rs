//! Filters beside DataFusion's, on the same rows.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, IsNotNullExpr, lit};
use datafusion::physical_plan::filter::FilterExecBuilder;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::{Filter, OUTPUT_BYTES};
use crate::replace;
use crate::test_rows::{Row, batch, context, encoded, row, run, schema};

fn column(index: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(&format!("c{index}"), index))
}

fn check(batches: &[Vec<Row>], condition: &Arc<dyn PhysicalExpr>, fetch: Option<usize>) -> Result<(), TestCaseError> {
    let batches: Vec<RecordBatch> = batches.iter().map(|rows| batch(rows)).collect();
    let source = MemorySourceConfig::try_new_exec(&[batches], schema(), None).unwrap();
    let stock = FilterExecBuilder::new(Arc::clone(condition), source)
        .with_batch_size(64)
        .with_fetch(fetch)
        .build()
        .unwrap();
    let stock: Arc<_> = Arc::new(stock);
    let ours = replace(Arc::clone(&stock) as _).unwrap();
    prop_assert!(ours.is::<Filter>(), "it was not replaced");
    let rows = |plan| encoded(&concat_batches(&schema(), &run(plan, context(usize::MAX)).unwrap().concat()).unwrap());
    prop_assert_eq!(rows(stock), rows(ours));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_same_rows_pass(
        batches in vec(vec(row(), 0..80), 0..6),
        is_null: bool,
        fetch in option::of(0..90_usize),
    ) {
        let condition: Arc<dyn PhysicalExpr> = match is_null {
            true => Arc::new(BinaryExpr::new(column(0), Operator::Gt, lit(0_i64))),
            false => Arc::new(IsNotNullExpr::new(column(6))),
        };
        check(&batches, &condition, fetch)?;
    }
}

/// However many rows a batch may have.
#[test]
fn wide_rows_are_handed_on_before_there_are_many() {
    let wide = batch(&[(Some(1), Some(1), "x".repeat(OUTPUT_BYTES / 8))]);
    let source = MemorySourceConfig::try_new_exec(&[vec![wide; 60]], schema(), None).unwrap();
    let condition: Arc<dyn PhysicalExpr> = Arc::new(IsNotNullExpr::new(column(6)));
    let stock = FilterExecBuilder::new(condition, source).build().unwrap();
    let found = run(replace(Arc::new(stock)).unwrap(), context(usize::MAX))
        .unwrap()
        .concat();
    assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), 60);
    for batch in found {
        assert!(batch.num_rows() <= 8, "{} rows", batch.num_rows());
    }
}
