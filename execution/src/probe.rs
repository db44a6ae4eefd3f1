//! The probe side of [`HashJoin`](crate::HashJoin): one partition of it, batch by batch.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array, new_null_array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{BatchCoalescer, filter_record_batch, take};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::{JoinSide, JoinType, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::joins::utils::ColumnIndex;
use datafusion::physical_plan::metrics::{
    BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, RecordOutput,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use crate::hash_join::{Build, Built, Shape, key_arrays};
use crate::keys::KeyColumns;

/// Whether what comes out depends on which rows of the build side had a match.
pub(crate) fn keeps_matches(join_type: JoinType) -> bool {
    matches!(join_type, JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti)
}

pub(crate) fn stream(
    shape: Arc<Shape>,
    schema: SchemaRef,
    build: Build,
    probe: SendableRecordBatchStream,
    batch_size: usize,
    metrics: &ExecutionPlanMetricsSet,
    partition: usize,
) -> SendableRecordBatchStream {
    let joined = Probe {
        output: Output {
            // What is large already is not copied once more.
            small: BatchCoalescer::new(Arc::clone(&schema), batch_size)
                .with_biggest_coalesce_batch_size(Some(batch_size / 2)),
            schema: Arc::clone(&schema),
            ready: VecDeque::new(),
            rows_left: shape.fetch,
        },
        shape,
        build,
        built: None,
        probe,
        batch: None,
        matched: Vec::new(),
        stage: Stage::Probing,
        batch_size,
        input_rows: MetricBuilder::new(metrics).counter("input_rows", partition),
        metrics: BaselineMetrics::new(metrics, partition),
    };
    let batches = futures::stream::try_unfold(joined, |mut joined| async move {
        Ok(joined.next().await?.map(|batch| (batch, joined)))
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, batches))
}

struct Probe {
    shape: Arc<Shape>,
    build: Build,
    built: Option<Arc<Built>>,
    probe: SendableRecordBatchStream,
    batch: Option<Batch>,
    /// A bit for each row of the build side that had a match here. Where there is no condition, only for the first of a key.
    matched: Vec<u64>,
    stage: Stage,
    output: Output,
    batch_size: usize,
    input_rows: Count,
    metrics: BaselineMetrics,
}

enum Stage {
    Probing,
    /// The build side's rows that match decides on, from this one.
    Unprobed(usize),
    Done,
}

/// A batch of the probe side.
struct Batch {
    batch: RecordBatch,
    /// The first row of the build side for each of its rows, plus one; zero without a match.
    first: Vec<u32>,
    /// The key columns where numbers are hashes.
    keys: Vec<Vec<i64>>,
    /// Where to go on: the row, and its next match.
    row: usize,
    next: u32,
    /// Which rows had a match, where that is asked and not said by `first`.
    matched: Vec<bool>,
}

/// Rows of both sides, one beside the other.
#[derive(Default)]
struct Pairs {
    build: Vec<u32>,
    probe: Vec<u32>,
}

impl Probe {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.output.take() {
                return Ok(Some(batch.record_output(&self.metrics)));
            }
            if self.output.is_full() {
                return Ok(None);
            }
            match self.stage {
                Stage::Probing => self.probe().await?,
                Stage::Unprobed(row) => {
                    let built = self.built().await?;
                    let end = (row + self.batch_size).min(built.batch.num_rows());
                    self.put_unprobed(&built, row, end)?;
                    self.stage = if end == built.batch.num_rows() {
                        self.output.finish()?
                    } else {
                        Stage::Unprobed(end)
                    };
                }
                Stage::Done => return Ok(None),
            }
            // Conditions may refuse all pairs for a long time.
            tokio::task::consume_budget().await;
        }
    }

    async fn built(&mut self) -> Result<Arc<Built>> {
        if let Some(built) = &self.built {
            return Ok(Arc::clone(built));
        }
        let built = self.build.clone().await.map_err(DataFusionError::Shared)?;
        if keeps_matches(self.shape.join_type) {
            self.matched = vec![0; built.batch.num_rows().div_ceil(64)];
        }
        self.built = Some(Arc::clone(&built));
        Ok(built)
    }

    /// One step of the probe side: a batch, or so many pairs of it.
    async fn probe(&mut self) -> Result<()> {
        let built = self.built().await?;
        let mut batch = match self.batch.take() {
            Some(batch) => batch,
            None => match self.probe.next().await.transpose()? {
                Some(batch) => {
                    let time = self.metrics.elapsed_compute().timer();
                    self.input_rows.add(batch.num_rows());
                    let batch = Batch::new(&self.shape, &built, batch)?;
                    time.done();
                    batch
                }
                None => {
                    self.stage = self.end(&built)?;
                    return Ok(());
                }
            },
        };
        let compute = self.metrics.elapsed_compute().clone();
        let time = compute.timer();
        let is_done = if self.shape.filter.is_none() && built.packing.is_exact() && !self.gives_pairs() {
            self.put_by_first(&batch)?;
            true
        } else {
            self.put_pairs(&built, &mut batch)?
        };
        time.done();
        if !is_done {
            self.batch = Some(batch);
        }
        Ok(())
    }

    fn gives_pairs(&self) -> bool {
        matches!(self.shape.join_type, JoinType::Inner | JoinType::Left | JoinType::Right)
    }

    /// Joins that ask only whether there is a match: the first one says so.
    fn put_by_first(&mut self, batch: &Batch) -> Result<()> {
        let join_type = self.shape.join_type;
        match join_type {
            JoinType::RightSemi | JoinType::RightAnti => {
                let wanted = join_type == JoinType::RightSemi;
                let kept = BooleanBuffer::collect_bool(batch.first.len(), |row| (batch.first[row] != 0) == wanted);
                self.put_probe_rows(&batch.batch, kept)
            }
            _ => {
                for first in batch.first.iter().filter(|first| **first != 0) {
                    set(&mut self.matched, first - 1);
                }
                Ok(())
            }
        }
    }

    /// Rows of the probe side as they are.
    fn put_probe_rows(&mut self, batch: &RecordBatch, kept: BooleanBuffer) -> Result<()> {
        let places: Vec<usize> = self.shape.columns.iter().map(|column| column.index).collect();
        let batch = batch.project(&places)?;
        match kept.count_set_bits() {
            0 => Ok(()),
            all if all == batch.num_rows() => self.output.put(batch.columns().to_vec(), all),
            some => {
                let batch = filter_record_batch(&batch, &BooleanArray::new(kept, None))?;
                self.output.put(batch.columns().to_vec(), some)
            }
        }
    }

    /// The next pairs of a batch that pass the condition. True when they were the last.
    fn put_pairs(&mut self, built: &Built, batch: &mut Batch) -> Result<bool> {
        let pairs = batch.pairs(built, self.batch_size, self.shape.join_type == JoinType::Right);
        let is_done = batch.row == batch.first.len();
        let pairs = self.passing(built, batch, pairs)?;
        let wanted = match self.shape.join_type {
            JoinType::Inner | JoinType::Left | JoinType::Right => {
                if self.shape.join_type == JoinType::Left {
                    pairs.build.iter().for_each(|row| set(&mut self.matched, *row));
                }
                self.output.put_pairs(&self.shape.columns, built, &batch.batch, pairs)?;
                return Ok(is_done);
            }
            JoinType::LeftSemi | JoinType::LeftAnti => {
                pairs.build.iter().for_each(|row| set(&mut self.matched, *row));
                return Ok(is_done);
            }
            join_type => join_type == JoinType::RightSemi,
        };
        for row in &pairs.probe {
            batch.matched[*row as usize] = true;
        }
        if is_done {
            let kept = BooleanBuffer::collect_bool(batch.matched.len(), |row| batch.matched[row] == wanted);
            self.put_probe_rows(&batch.batch, kept)?;
        }
        Ok(is_done)
    }

    /// The pairs whose keys are equal, and that pass the join's condition.
    fn passing(&self, built: &Built, batch: &Batch, mut pairs: Pairs) -> Result<Pairs> {
        if !built.packing.is_exact() {
            pairs.keep(|build, probe| {
                let mut columns = built.keys.iter().zip(&batch.keys);
                build == NO_ROW
                    || columns.all(|(of_build, of_probe)| of_build[build as usize] == of_probe[probe as usize])
            });
        }
        let Some(filter) = &self.shape.filter else {
            return Ok(pairs);
        };
        if pairs.build.is_empty() {
            return Ok(pairs);
        }
        let rows = pairs.build.len();
        let columns = columns_of(filter.column_indices(), built, &batch.batch, &pairs)?;
        let answers = filter
            .expression()
            .evaluate(&batch_of(filter.schema(), columns, rows)?)?
            .into_array(rows)?;
        let Some(answers) = answers.as_boolean_opt() else {
            return internal_err!("the condition of a join is not true or false");
        };
        let mut row = 0;
        pairs.keep(|_, _| {
            row += 1;
            answers.is_valid(row - 1) && answers.value(row - 1)
        });
        Ok(pairs)
    }

    /// The probe side of this partition is done.
    fn end(&mut self, built: &Built) -> Result<Stage> {
        if !keeps_matches(self.shape.join_type) {
            return self.output.finish();
        }
        let mut matched = built.matched.lock();
        matched
            .iter_mut()
            .zip(&self.matched)
            .for_each(|(all, ours)| *all |= ours);
        if built.partitions_left.fetch_sub(1, Ordering::AcqRel) > 1 {
            return self.output.finish();
        }
        self.matched = std::mem::take(&mut matched);
        // A match of a key's first row is one of all its rows, where none was looked at by itself.
        if self.shape.filter.is_none() && built.packing.is_exact() && !built.table.is_unique() && !self.gives_pairs() {
            for first in 0..built.batch.num_rows() as u32 {
                if is_set(&self.matched, first) {
                    let mut row = built.table.after(first + 1);
                    while row != 0 {
                        set(&mut self.matched, row - 1);
                        row = built.table.after(row);
                    }
                }
            }
        }
        Ok(Stage::Unprobed(0))
    }

    /// Rows of the build side that had a match, or had none.
    fn put_unprobed(&mut self, built: &Built, from: usize, to: usize) -> Result<()> {
        let wanted = self.shape.join_type == JoinType::LeftSemi;
        let rows: UInt32Array = (from as u32..to as u32)
            .filter(|row| is_set(&self.matched, *row) == wanted)
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        let columns = self
            .shape
            .columns
            .iter()
            .enumerate()
            .map(|(place, column)| match column.side {
                JoinSide::Left => Ok(take(built.batch.column(column.index), &rows, None)?),
                _ => Ok(new_null_array(self.output.schema.field(place).data_type(), rows.len())),
            });
        let columns = columns.collect::<Result<_>>()?;
        self.output.put(columns, rows.len())
    }
}

/// Stands for the row of nulls beside a row without a match.
const NO_ROW: u32 = u32::MAX;

impl Batch {
    fn new(shape: &Shape, built: &Built, batch: RecordBatch) -> Result<Self> {
        let mut keys = KeyColumns::new(&key_arrays(&shape.probe_keys, &batch)?)?;
        let packed = built.packing.pack(&mut keys);
        let mut first = built.table.first_rows(&packed);
        if let Some(nulls) = &keys.nulls {
            first
                .iter_mut()
                .enumerate()
                .filter(|(row, _)| nulls.is_null(*row))
                .for_each(|(_, first)| *first = 0);
        }
        let is_of_probe = matches!(shape.join_type, JoinType::RightSemi | JoinType::RightAnti);
        Ok(Self {
            matched: vec![false; if is_of_probe { first.len() } else { 0 }],
            next: first.first().copied().unwrap_or(0),
            keys: if built.packing.is_exact() {
                Vec::new()
            } else {
                keys.columns
            },
            row: 0,
            first,
            batch,
        })
    }

    /// The next pairs, about `count` at most.
    fn pairs(&mut self, built: &Built, count: usize, with_unmatched: bool) -> Pairs {
        let rows = self.first.len();
        let mut pairs = Pairs::default();
        if built.table.is_unique() {
            // A row has one match at most: no batch becomes longer.
            pairs.build.reserve(rows);
            pairs.probe.reserve(rows);
            for (row, first) in self.first.iter().enumerate() {
                if *first != 0 || with_unmatched {
                    pairs.build.push(first.wrapping_sub(1));
                    pairs.probe.push(row as u32);
                }
            }
            self.row = rows;
            return pairs;
        }
        while self.row < rows && pairs.build.len() < count {
            if self.next != 0 || with_unmatched && self.first[self.row] == 0 {
                pairs.build.push(self.next.wrapping_sub(1));
                pairs.probe.push(self.row as u32);
                self.next = built.table.after(self.next);
            }
            if self.next == 0 {
                self.row += 1;
                self.next = self.first.get(self.row).copied().unwrap_or(0);
            }
        }
        pairs
    }
}

impl Pairs {
    fn keep(&mut self, mut is_kept: impl FnMut(u32, u32) -> bool) {
        let mut kept = 0;
        for place in 0..self.build.len() {
            let (build, probe) = (self.build[place], self.probe[place]);
            if is_kept(build, probe) {
                self.build[kept] = build;
                self.probe[kept] = probe;
                kept += 1;
            }
        }
        self.build.truncate(kept);
        self.probe.truncate(kept);
    }
}

/// Columns of both sides for these pairs.
fn columns_of(columns: &[ColumnIndex], built: &Built, probe: &RecordBatch, pairs: &Pairs) -> Result<Vec<ArrayRef>> {
    let build_rows = UInt32Array::from(pairs.build.clone());
    let build_rows = if pairs.build.contains(&NO_ROW) {
        let valid = NullBuffer::from_iter(pairs.build.iter().map(|row| *row != NO_ROW));
        UInt32Array::new(build_rows.values().clone(), Some(valid))
    } else {
        build_rows
    };
    // Every row once, in order: nothing to pick.
    let is_whole = pairs.probe.len() == probe.num_rows()
        && pairs
            .probe
            .iter()
            .enumerate()
            .all(|(place, row)| place == *row as usize);
    let probe_rows = UInt32Array::from(pairs.probe.clone());
    let columns = columns.iter().map(|column| match column.side {
        JoinSide::Left => Ok(take(built.batch.column(column.index), &build_rows, None)?),
        JoinSide::Right if is_whole => Ok(Arc::clone(probe.column(column.index))),
        JoinSide::Right => Ok(take(probe.column(column.index), &probe_rows, None)?),
        JoinSide::None => internal_err!("a column of a join is of neither side"),
    });
    columns.collect()
}

fn batch_of(schema: &Arc<Schema>, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &options,
    )?)
}

fn set(bits: &mut [u64], row: u32) {
    if let Some(word) = bits.get_mut(row as usize / 64) {
        *word |= 1 << (row % 64);
    }
}

fn is_set(bits: &[u64], row: u32) -> bool {
    bits.get(row as usize / 64)
        .is_some_and(|word| word >> (row % 64) & 1 == 1)
}

/// What comes out: small batches put together, and not more rows than wanted.
struct Output {
    schema: SchemaRef,
    small: BatchCoalescer,
    ready: VecDeque<RecordBatch>,
    rows_left: Option<usize>,
}

impl Output {
    fn put(&mut self, columns: Vec<ArrayRef>, rows: usize) -> Result<()> {
        let batch = batch_of(&self.schema, columns, rows)?;
        // Without columns there is nothing to copy together.
        if self.schema.fields().is_empty() {
            self.ready.push_back(batch);
        } else {
            self.small.push_batch(batch)?;
        }
        Ok(())
    }

    fn put_pairs(&mut self, columns: &[ColumnIndex], built: &Built, probe: &RecordBatch, pairs: Pairs) -> Result<()> {
        match pairs.probe.len() {
            0 => Ok(()),
            rows => self.put(columns_of(columns, built, probe, &pairs)?, rows),
        }
    }

    fn finish(&mut self) -> Result<Stage> {
        self.small.finish_buffered_batch()?;
        Ok(Stage::Done)
    }

    fn is_full(&self) -> bool {
        self.rows_left == Some(0)
    }

    fn take(&mut self) -> Option<RecordBatch> {
        let batch = self.ready.pop_front().or_else(|| self.small.next_completed_batch())?;
        let Some(left) = &mut self.rows_left else {
            return Some(batch);
        };
        let rows = batch.num_rows().min(*left);
        *left -= rows;
        (rows > 0).then(|| batch.slice(0, rows))
    }
}
