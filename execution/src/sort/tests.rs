//! Sorts beside DataFusion's, on the same rows.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::compute::{SortOptions, concat_batches};
use arrow::row::SortField;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, lit};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::replace;
use crate::test_rows::{COLUMNS, Row, batch, bytes, context, encoded, row, run, schema, sorted};

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
