//! Joins that give the thread back in time; and windows whose memory is known (`metered.rs`).
//!
//! A task of the CPU runtime can only be stopped, and others can only run, where it waits. DataFusion's scans wait often
//! enough, its joins do not: a nested-loop join whose condition is never true works through all pairs of its build side
//! and a whole probe batch before it asks for more, and a hash join of keys that are there a thousand times each does not much less.
//! So, after optimisation:
//!
//! ```text
//! before  NestedLoopJoin(build, probe)         after  SmallBatches(NestedLoopJoin(BuildSide(build), SmallBatches(probe)))
//! before  DataFusion's HashJoin(build, probe)  after  SmallBatches(HashJoin(build, SmallBatches(probe)))
//! before  our HashJoin(…), CrossJoin(…)        after  SmallBatches(HashJoin(…)), SmallBatches(CrossJoin(…))
//! ```
//!
//! Those above joins are for what is computed of many pairs, of which few may come out.
//!
//! Never under another operator's feet: nothing looks at the shape of a plan after this.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::windows::WindowAggExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};
use futures::StreamExt;
use futures::stream::BoxStream;
use staffa_execution::HashJoin;

use crate::build_side::BuildSideExec;
use crate::growing::Growth;
use crate::metered::MeteredExec;
use crate::operator::only_child;

/// Puts the waits in.
pub(crate) fn make_yielding(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|plan| {
        if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
            let build = BuildSideExec::of(join);
            let size = BatchSize::TimeOfPairs(Arc::clone(build.rows()));
            let probe = SmallBatchesExec::new(Arc::clone(join.right()), size);
            let join = replace_children_if_necessary(plan, vec![Arc::new(build), Arc::new(probe)])?;
            return Ok(Transformed::yes(in_pieces(&join, usize::MAX)));
        }
        if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
            let children = vec![Arc::clone(join.left()), in_pieces(join.right(), FIRST_ROWS)];
            let join = replace_children_if_necessary(plan, children)?;
            return Ok(Transformed::yes(in_pieces(&join, usize::MAX)));
        }
        if plan.is::<HashJoin>() || plan.is::<CrossJoinExec>() {
            return Ok(Transformed::yes(in_pieces(&plan, usize::MAX)));
        }
        if let Some(growth) = Growth::of(plan.as_ref())?
            && !is_cut_already(plan.children()[0])
        {
            let input = Arc::clone(plan.children()[0]);
            let small = Arc::new(SmallBatchesExec::new(input, BatchSize::Results(growth)));
            return Ok(Transformed::yes(replace_children_if_necessary(plan, vec![small])?));
        }
        if plan.downcast_ref::<WindowAggExec>().is_some() {
            let input = Arc::clone(plan.children()[0]);
            let windows = replace_children_if_necessary(plan, vec![Arc::new(MeteredExec::new(input))])?;
            return Ok(Transformed::yes(windows));
        }
        Ok(Transformed::no(plan))
    })
    .data()
}

/// By what is computed of it (`row_by_row.rs`).
fn is_cut_already(input: &Arc<dyn ExecutionPlan>) -> bool {
    let small = input.downcast_ref::<SmallBatchesExec>();
    small.is_some_and(|small| matches!(small.size, BatchSize::Rows(_) | BatchSize::Results(_)))
}

/// As quickly as whoever asks for them works them off, of so many rows in the beginning.
fn in_pieces(input: &Arc<dyn ExecutionPlan>, first: usize) -> Arc<dyn ExecutionPlan> {
    Arc::new(SmallBatchesExec::new(Arc::clone(input), BatchSize::Time { first }))
}

/// How small batches must be.
#[derive(Clone, Debug)]
pub(crate) enum BatchSize {
    Rows(usize),
    /// As many rows as the operator above computes some megabytes of.
    Results(Growth),
    /// As many rows as the operator above takes [`PIECE_TIME`] for, by the time it took for those before.
    Time {
        /// Those of the first piece.
        first: usize,
    },
    /// The same where each row is paired with so many others, which are counted before the first batch comes.
    TimeOfPairs(Arc<AtomicUsize>),
}

/// How long an operator may work on one piece.
const PIECE_TIME: Duration = Duration::from_millis(20);

/// Rows of the first piece for a hash join: 64 million pairs where each has a million partners.
const FIRST_ROWS: usize = 64;

/// Pairs of the first piece for a nested loop: some ten milliseconds where a condition takes 50 ns.
const FIRST_PAIRS: usize = 1 << 18;

/// After so long others have their turn.
const TURN: Duration = Duration::from_millis(1);

impl BatchSize {
    fn rows_first(&self) -> usize {
        match self {
            BatchSize::TimeOfPairs(others) => (FIRST_PAIRS / others.load(Ordering::Relaxed).max(1)).max(1),
            BatchSize::Time { first: rows } | BatchSize::Rows(rows) => *rows,
            BatchSize::Results(_) => usize::MAX,
        }
    }
}

/// A batch in pieces of so many rows.
fn of_rows(batch: &RecordBatch, rows_max: usize) -> Vec<RecordBatch> {
    let starts = (0..batch.num_rows()).step_by(rows_max);
    starts
        .map(|start| batch.slice(start, rows_max.min(batch.num_rows() - start)))
        .collect()
}

/// Cuts its input's batches into small ones, and waits a moment before each.
#[derive(Debug)]
pub(crate) struct SmallBatchesExec {
    input: Arc<dyn ExecutionPlan>,
    size: BatchSize,
}

impl SmallBatchesExec {
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, size: BatchSize) -> Self {
        Self { input, size }
    }
}

impl DisplayAs for SmallBatchesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.size {
            BatchSize::Rows(rows) => write!(f, "SmallBatchesExec: rows={rows}"),
            BatchSize::Results(_) => f.write_str("SmallBatchesExec: by results"),
            BatchSize::Time { .. } | BatchSize::TimeOfPairs(_) => f.write_str("SmallBatchesExec"),
        }
    }
}

impl ExecutionPlan for SmallBatchesExec {
    fn name(&self) -> &str {
        "SmallBatchesExec"
    }

    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // The properties are the child's: there is nothing to keep or to compute.
        Ok(Arc::new(Self::new(only_child(children)?, self.size.clone())))
    }

    /// Still required, although it is deprecated for callers.
    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let recompute = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        self.replace_children(children, recompute)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let schema = input.schema();
        let small = match self.size.clone() {
            BatchSize::Rows(rows) => in_turns(input, move |batch| of_rows(batch, rows)),
            BatchSize::Results(growth) => in_turns(input, move |batch| growth.pieces(batch)),
            size @ (BatchSize::Time { .. } | BatchSize::TimeOfPairs(_)) => {
                futures::stream::unfold(Pace::new(input, size), Pace::next).boxed()
            }
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, small)))
    }
}

/// The pieces of all batches, with a turn of others before each.
fn in_turns(
    input: SendableRecordBatchStream,
    pieces: impl Fn(&RecordBatch) -> Vec<RecordBatch> + Send + 'static,
) -> BoxStream<'static, Result<RecordBatch>> {
    let small = input.flat_map(move |batch| {
        futures::stream::iter(match batch {
            Ok(batch) => pieces(&batch).into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        })
    });
    small
        .then(|batch| async move {
            tokio::task::yield_now().await;
            batch
        })
        .boxed()
}

/// Gives its input in pieces that grow and shrink with the time until the next one is asked for. That may be longer than the operator above
/// worked, which then gets some pieces that are smaller than they need be.
struct Pace {
    input: SendableRecordBatchStream,
    size: BatchSize,
    /// What is left of the last batch.
    rest: Option<RecordBatch>,
    /// Those of the next piece; unknown before the first batch is there.
    rows: Option<usize>,
    /// When the last one was given, and its rows.
    given: Option<(Instant, usize)>,
    /// The time of this turn.
    worked: Duration,
}

impl Pace {
    fn new(input: SendableRecordBatchStream, size: BatchSize) -> Self {
        Self {
            input,
            size,
            rest: None,
            rows: None,
            given: None,
            worked: Duration::ZERO,
        }
    }

    async fn next(mut self) -> Option<(Result<RecordBatch>, Self)> {
        if let Some((given, rows)) = self.given.take() {
            let took = given.elapsed();
            self.rows = self.rows.map(|rows_max| rows_after(rows_max, rows, took));
            self.worked += took;
            if self.worked >= TURN {
                tokio::task::yield_now().await;
                self.worked = Duration::ZERO;
            }
        }
        let batch = match self.rest.take() {
            Some(rest) => rest,
            None => match self.input.next().await? {
                Ok(batch) => batch,
                Err(error) => return Some((Err(error), self)),
            },
        };
        let rows_max = *self.rows.get_or_insert_with(|| self.size.rows_first());
        let rows = rows_max.min(batch.num_rows());
        if rows < batch.num_rows() {
            self.rest = Some(batch.slice(rows, batch.num_rows() - rows));
        }
        self.given = Some((Instant::now(), rows));
        Some((Ok(batch.slice(0, rows)), self))
    }
}

/// The most rows of the next piece, after so many of at most `rows_max` took so long.
fn rows_after(rows_max: usize, rows: usize, took: Duration) -> usize {
    if took > PIECE_TIME {
        let share = PIECE_TIME.as_secs_f64() / took.as_secs_f64();
        return ((rows as f64 * share) as usize).max(1);
    }
    match took < PIECE_TIME / 4 {
        true => rows_max.saturating_mul(4),
        false => rows_max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_follow_the_time_they_take() {
        let ms = Duration::from_millis;
        assert_eq!(rows_after(64, 64, ms(1)), 256);
        assert_eq!(rows_after(64, 64, ms(10)), 64);
        assert_eq!(rows_after(usize::MAX, 8192, ms(200)), 819);
        assert_eq!(rows_after(64, 64, ms(100_000)), 1, "there is always one");
        assert_eq!(rows_after(usize::MAX, 8192, ms(0)), usize::MAX);
    }
}
