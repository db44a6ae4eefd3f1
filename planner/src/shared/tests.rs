//! The rows of a part: several readers at their own pace, with much memory and with none.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::common::collect;
use datafusion::physical_plan::union::UnionExec;
use futures::StreamExt;

use super::*;

const BATCHES: i64 = 100;
const BATCH_ROWS: i64 = 4096;

/// Numbers in two partitions.
fn numbers() -> Arc<dyn ExecutionPlan> {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("number", DataType::Int64, false)]));
    let batch = |at: i64| {
        let values = Int64Array::from_iter_values(at * BATCH_ROWS..(at + 1) * BATCH_ROWS);
        RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(values)]).expect("a column of the schema")
    };
    let (one, other) = (0..BATCHES).map(batch).partition(|batch| {
        let first = batch.column(0).as_primitive::<Int64Type>().value(0);
        first / BATCH_ROWS % 3 == 0
    });
    MemorySourceConfig::try_new_exec(&[one, other], schema, None).expect("a plan")
}

fn sum(batches: &[RecordBatch]) -> i64 {
    let values = batches
        .iter()
        .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().iter());
    values.sum()
}

const ALL: i64 = (BATCHES * BATCH_ROWS) * (BATCHES * BATCH_ROWS - 1) / 2;

struct Plan {
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    memory: Arc<dyn MemoryPool>,
}

/// The union of two readers, each of two partitions, over a part.
fn plan(definition: Arc<dyn ExecutionPlan>, memory: usize) -> Result<Plan> {
    let memory: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(memory));
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::clone(&memory))
        .build_arc()?;
    let part = Arc::new(Part {
        number: 0,
        rows: Arc::new(SharedRows::new()),
        estimate: OnceLock::new(),
    });
    let read = || {
        let schema = definition.schema();
        Arc::new(SharedReadExec::new(Arc::clone(&part), vec![0], schema, 2)) as Arc<dyn ExecutionPlan>
    };
    let main = UnionExec::try_new(vec![read(), read()])?;
    Ok(Plan {
        plan: Arc::new(SharedExec::new(main, definition, part)),
        context: Arc::new(TaskContext::default().with_runtime(runtime)),
        memory,
    })
}

#[tokio::test]
async fn readers_one_after_the_other_get_all_rows() -> Result<()> {
    for (memory, is_enough) in [(1 << 30, true), (1 << 21, false), (0, false)] {
        let Plan { plan, context, memory } = plan(numbers(), memory)?;
        let mut streams: Vec<_> = (0..4)
            .map(|partition| plan.execute(partition, Arc::clone(&context)))
            .collect::<Result<_>>()?;
        let (second, first) = (streams.split_off(2), streams);
        for reader in [first, second] {
            let mut total = 0;
            for stream in reader {
                total += sum(&collect(stream).await?);
            }
            assert_eq!(total, ALL);
        }
        assert_eq!(memory.reserved(), 0);
        let files = plan.metrics().and_then(|metrics| metrics.spill_count());
        assert_eq!(files.unwrap_or(0) == 0, is_enough);
    }
    Ok(())
}

#[tokio::test]
async fn readers_by_turns_get_all_rows() -> Result<()> {
    for memory in [1 << 30, 1 << 20] {
        let Plan { plan, context, .. } = plan(numbers(), memory)?;
        let mut streams: Vec<_> = (0..4)
            .map(|partition| plan.execute(partition, Arc::clone(&context)))
            .collect::<Result<_>>()?;
        let mut total = 0;
        while !streams.is_empty() {
            let mut ended = Vec::new();
            for (at, stream) in streams.iter_mut().enumerate() {
                match stream.next().await {
                    Some(batch) => total += sum(&[batch?]),
                    None => ended.push(at),
                }
            }
            for at in ended.into_iter().rev() {
                drop(streams.remove(at));
            }
        }
        assert_eq!(total, 2 * ALL);
    }
    Ok(())
}

#[tokio::test]
async fn what_nobody_reads_any_more_is_let_go() -> Result<()> {
    let Plan { plan, context, memory } = plan(numbers(), 1 << 30)?;
    let mut streams: Vec<_> = (0..4)
        .map(|partition| plan.execute(partition, Arc::clone(&context)))
        .collect::<Result<_>>()?;
    let first = streams[3].next().await.expect("a batch")?;
    assert_eq!(first.num_rows() as i64, BATCH_ROWS);
    // The other reader goes; this one reads on.
    streams.drain(..2);
    let mut rest = sum(&[first]);
    for stream in streams {
        rest += sum(&collect(stream).await?);
    }
    assert_eq!(rest, ALL);
    assert_eq!(memory.reserved(), 0);
    Ok(())
}

#[tokio::test]
async fn streams_that_are_dropped_end_the_computation() -> Result<()> {
    let Plan { plan, context, memory } = plan(numbers(), 1 << 30)?;
    let mut streams: Vec<_> = (0..4)
        .map(|partition| plan.execute(partition, Arc::clone(&context)))
        .collect::<Result<_>>()?;
    streams[0].next().await.expect("a batch")?;
    drop(streams);
    tokio::task::yield_now().await;
    assert_eq!(memory.reserved(), 0);
    Ok(())
}

/// Fails, or panics, after some rows.
fn broken(panics: bool) -> Arc<dyn ExecutionPlan> {
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};

    #[derive(Debug)]
    struct Broken(SchemaRef, bool);
    impl PartitionStream for Broken {
        fn schema(&self) -> &SchemaRef {
            &self.0
        }
        fn execute(&self, _: Arc<TaskContext>) -> datafusion::execution::SendableRecordBatchStream {
            let panics = self.1;
            let batches = futures::stream::once(async move {
                assert!(!panics, "it panics");
                Err(DataFusionError::Execution("it fails".to_owned()))
            });
            Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.0), batches))
        }
    }
    let schema = numbers().schema();
    let stream = Arc::new(Broken(Arc::clone(&schema), panics));
    Arc::new(StreamingTableExec::try_new(schema, vec![stream], None, Vec::new(), false, None).expect("a plan"))
}

#[tokio::test]
async fn errors_reach_every_reader() -> Result<()> {
    for panics in [false, true] {
        let Plan { plan, context, .. } = plan(broken(panics), 1 << 30)?;
        for partition in 0..4 {
            let stream = plan.execute(partition, Arc::clone(&context))?;
            let error = collect(stream).await.expect_err("an error").to_string();
            assert!(panics || error.contains("it fails"), "{error}");
        }
    }
    Ok(())
}
