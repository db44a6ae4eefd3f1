//! Exchanges beside DataFusion's, on the same rows.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray, StringViewBuilder};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::exec_datafusion_err;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, lit};
use datafusion::physical_expr::{Partitioning, PhysicalExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::test::exec::{MockExec, PanicExec};
use futures::StreamExt;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{COLLECTED_BYTES, Exchange};
use crate::replace;
use crate::test_rows::{COLUMNS, Row, batch, context, encoded, row, run, schema, sorted};

fn column(index: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(&format!("c{index}"), index))
}

fn partitioning(keys: &[usize], outputs: usize) -> Partitioning {
    let key = |index: &usize| match *index {
        // A computed one.
        COLUMNS => Arc::new(BinaryExpr::new(column(1), Operator::BitwiseXor, lit(3_i16))) as _,
        index => column(index),
    };
    match keys.is_empty() {
        true => Partitioning::RoundRobinBatch(outputs),
        false => Partitioning::Hash(keys.iter().map(key).collect(), outputs),
    }
}

fn exchange(input: Arc<dyn ExecutionPlan>, partitioning: Partitioning) -> Arc<dyn ExecutionPlan> {
    let ours = replace(Arc::new(RepartitionExec::try_new(input, partitioning).unwrap())).unwrap();
    assert!(ours.is::<Exchange>(), "it was not replaced");
    ours
}

fn check(partitions: &[Vec<Vec<Row>>], keys: &[usize], outputs: usize, memory: usize) -> Result<(), TestCaseError> {
    let batches: Vec<Vec<RecordBatch>> = partitions
        .iter()
        .map(|batches| batches.iter().map(|rows| batch(rows)).collect())
        .collect();
    let source = MemorySourceConfig::try_new_exec(&batches, schema(), None).unwrap();
    let stock = RepartitionExec::try_new(Arc::clone(&source) as _, partitioning(keys, outputs)).unwrap();
    let ours = exchange(source, partitioning(keys, outputs));
    let expected = run(Arc::new(stock), context(usize::MAX)).unwrap();
    let found = run(Arc::clone(&ours), context(memory)).unwrap();
    prop_assert_eq!(found.len(), outputs);
    let rows = |batches: &[RecordBatch]| encoded(&concat_batches(&schema(), batches).unwrap());
    // Which batch has its turn depends on where they are cut; which rows have one key does not.
    if keys.is_empty() {
        prop_assert_eq!(sorted(rows(&expected.concat())), sorted(rows(&found.concat())));
    } else {
        for (expected, found) in expected.iter().zip(&found) {
            prop_assert!(found.iter().all(|batch| batch.num_rows() <= 64));
            match partitions.len() {
                // The order of a single input stays.
                1 => prop_assert_eq!(rows(expected), rows(found)),
                _ => prop_assert_eq!(sorted(rows(expected)), sorted(rows(found))),
            }
        }
    }
    if memory == 0 && !partitions.concat().concat().is_empty() {
        prop_assert!(ours.metrics().unwrap().spill_count().unwrap() > 0);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rows_go_where_their_keys_say(
        partitions in vec(vec(vec(row(), 0..80), 0..6), 1..4),
        keys in vec(0..=COLUMNS, 0..3),
        outputs in 1..5_usize,
    ) {
        check(&partitions, &keys, outputs, usize::MAX)?;
    }

    #[test]
    fn rows_without_room_go_through_files(
        partitions in vec(vec(vec(row(), 1..80), 1..6), 1..4),
        keys in vec(0..=COLUMNS, 0..3),
        outputs in 1..5_usize,
    ) {
        check(&partitions, &keys, outputs, 0)?;
    }
}

fn wide_schema() -> SchemaRef {
    let fields = vec![
        Field::new("c0", DataType::Int64, true),
        Field::new("c1", DataType::Utf8View, true),
    ];
    Arc::new(Schema::new(fields))
}

/// However many rows a batch may have.
#[test]
fn wide_rows_are_handed_on_before_there_are_many() {
    let wide = |number: i64| {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![number])),
            Arc::new(StringViewArray::from(vec!["x".repeat(1 << 20)])),
        ];
        RecordBatch::try_new(wide_schema(), columns).unwrap()
    };
    let rows: Vec<RecordBatch> = (0..50).map(wide).collect();
    let source = MemorySourceConfig::try_new_exec(&[rows.clone(), rows], wide_schema(), None).unwrap();
    for keys in [vec![], vec![0]] {
        let found = run(
            exchange(Arc::clone(&source) as _, partitioning(&keys, 2)),
            context(usize::MAX),
        )
        .unwrap();
        let batches = found.concat();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 100);
        for batch in batches {
            assert!(
                batch.get_array_memory_size() <= COLLECTED_BYTES + (2 << 20),
                "{} rows",
                batch.num_rows()
            );
        }
    }
}

/// Rows that show one text, as those of a join do.
#[test]
fn texts_that_rows_share_stay_shared() {
    let mut texts = StringViewBuilder::new();
    let text = texts.append_block("x".repeat(1 << 20).into_bytes().into());
    for _ in 0..4000 {
        texts.try_append_view(text, 0, 1 << 20).unwrap();
    }
    let columns: Vec<ArrayRef> = vec![Arc::new((0..4000).collect::<Int64Array>()), Arc::new(texts.finish())];
    let rows = RecordBatch::try_new(wide_schema(), columns).unwrap();
    let source = MemorySourceConfig::try_new_exec(&[vec![rows.slice(0, 9), rows]], wide_schema(), None).unwrap();
    for keys in [vec![], vec![0]] {
        let ours = exchange(Arc::clone(&source) as _, partitioning(&keys, 2));
        let batches = run(ours, context(usize::MAX)).unwrap().concat();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 4009);
        let largest = batches.iter().map(RecordBatch::get_array_memory_size).max().unwrap();
        assert!(largest < 10 << 20, "{} MiB", largest >> 20);
    }
}

#[test]
fn errors_and_panics_reach_every_consumer() {
    let rows = batch(&[(Some(1), None, String::new())]);
    let failing = MockExec::new(vec![Ok(rows), Err(exec_datafusion_err!("told"))], schema()).with_use_task(false);
    let panicking = PanicExec::new(schema(), 2);
    for (input, told) in [
        (Arc::new(failing) as Arc<dyn ExecutionPlan>, "told"),
        (Arc::new(panicking), "panic"),
    ] {
        for output in 0..2 {
            let ours = exchange(Arc::clone(&input), partitioning(&[0], 2));
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .build()
                .unwrap();
            let errors = runtime.block_on(async {
                let streams: Vec<_> = (0..2)
                    .map(|output| ours.execute(output, context(usize::MAX)).unwrap())
                    .collect();
                let all = streams
                    .into_iter()
                    .map(|rows| rows.filter_map(async |batch| batch.err()).collect::<Vec<_>>());
                futures::future::join_all(all).await
            });
            assert!(
                errors[output].iter().any(|error| error.to_string().contains(told)),
                "{errors:?}"
            );
        }
    }
}

/// One that asks for nothing does not hold up the others, and neither does one that is gone.
#[test]
fn consumers_do_not_wait_for_each_other() {
    let rows: Vec<Row> = (0..40)
        .map(|number| (Some(number), Some(number), String::new()))
        .collect();
    let batches = vec![batch(&rows); 100];
    for stays in [true, false] {
        let source = MemorySourceConfig::try_new_exec(&[batches.clone(), batches.clone()], schema(), None).unwrap();
        let ours = exchange(source, partitioning(&[0], 2));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .build()
            .unwrap();
        runtime.block_on(async {
            let idle = ours.execute(0, context(usize::MAX)).unwrap();
            let asking = ours.execute(1, context(usize::MAX)).unwrap();
            let kept = stays.then_some(idle);
            let seen: usize = asking
                .map(|batch| batch.unwrap().num_rows())
                .collect::<Vec<_>>()
                .await
                .iter()
                .sum();
            let left = match kept {
                Some(idle) => idle
                    .map(|batch| batch.unwrap().num_rows())
                    .collect::<Vec<_>>()
                    .await
                    .iter()
                    .sum(),
                None => 8000 - seen,
            };
            assert_eq!(seen + left, 8000);
            assert!(seen > 0 && left > 0);
        });
    }
}
