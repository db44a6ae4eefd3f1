//! Rows in memory, put in order.
//!
//! Workers make the keys of some batches each and sort them; the runs they give are cut into pieces by keys (parallel sorting by regular sampling: Shi and
//! Schaeffer, 1992), which are merged, decided where keys are not all of it, and gathered, side by side. Rows move once, when they come out: until
//! then keys and the numbers of rows do.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_plan::metrics::Time;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use super::extent::Extents;
use super::key::{Key, Layout};
use super::sort_keys::KeyColumn;
use crate::gather::{Columns, Row, bytes_of};

/// Rows that one turn sorts, before others have theirs: some milliseconds.
const TURN_ROWS: usize = 1 << 18;

/// Rows of a piece.
const PIECE_ROWS: usize = 1 << 16;

/// Samples of keys for each piece.
const PIECE_SAMPLES: usize = 16;

/// Up to so many rows with equal keys get further keys together with others, and are compared where those are equal; more are sorted by
/// themselves.
const TOGETHER_MAX: usize = 256;

/// Fewer rows are sorted where they are.
const ROWS_PER_WORKER: usize = 1 << 15;

/// Batches to sort.
pub(crate) struct Table {
    batches: Vec<RecordBatch>,
    columns: Columns,
    /// Of what comes out: the first columns.
    schema: SchemaRef,
    rows: usize,
    /// How many rows a batch of the result may have.
    batch_rows: usize,
    /// How many bytes of text, where some rows are much larger than others.
    batch_bytes: Option<usize>,
    time: Time,
}

/// A row and its key.
#[derive(Clone, Copy)]
struct Entry<K> {
    key: K,
    row: Row,
}

/// How much comes out at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) rows_max: usize,
    pub(crate) bytes: usize,
}

impl Table {
    pub(crate) fn new(
        batches: Vec<RecordBatch>,
        of_batches: &SchemaRef,
        schema: SchemaRef,
        output: Output,
        time: Time,
    ) -> Self {
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let columns = Columns::new(of_batches, &batches);
        let bytes: Vec<usize> = batches.iter().map(bytes_of).collect();
        let row_bytes = bytes.iter().sum::<usize>() / rows.max(1);
        let mut sizes = bytes.iter().zip(&batches);
        let is_skewed = sizes.any(|(bytes, batch)| bytes / batch.num_rows().max(1) / 8 > row_bytes);
        Self {
            columns,
            batches,
            schema,
            rows,
            batch_rows: (output.bytes / row_bytes.max(1)).clamp(1, output.rows_max),
            batch_bytes: is_skewed.then_some(output.bytes),
            time,
        }
    }

    fn columns_of(&self, row: Row) -> (&[ArrayRef], usize) {
        (self.batches[row.batch as usize].columns(), row.row as usize)
    }

    /// As many rows each as come out at once.
    fn cut(&self, rows: impl Iterator<Item = Row>) -> Vec<Vec<Row>> {
        let (mut cut, mut chunk, mut bytes) = (Vec::new(), Vec::with_capacity(self.batch_rows), 0);
        for row in rows {
            chunk.push(row);
            let is_large = self.batch_bytes.is_some_and(|bytes_max| {
                bytes += self.columns.text_bytes(row);
                bytes > bytes_max
            });
            if is_large || chunk.len() == self.batch_rows {
                cut.push(std::mem::replace(&mut chunk, Vec::with_capacity(self.batch_rows)));
                bytes = 0;
            }
        }
        if !chunk.is_empty() {
            cut.push(chunk);
        }
        cut
    }
}

/// The rows in order.
pub(crate) async fn in_order(
    table: Table,
    columns: Arc<[KeyColumn]>,
    extents: Extents,
    workers: usize,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let workers = workers.clamp(1, table.rows.div_ceil(ROWS_PER_WORKER).max(1));
    let layout = Layout::new(columns, extents, u128::BITS);
    let (table, layout) = (Arc::new(table), Arc::new(layout));
    match layout.is_exact() && layout.width() <= u64::BITS {
        true => ordered::<u64>(table, layout, workers).await,
        false => ordered::<u128>(table, layout, workers).await,
    }
}

async fn ordered<K: Key>(
    table: Arc<Table>,
    layout: Arc<Layout>,
    workers: usize,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let parts = divided(&table, workers).into_iter();
    let runs = parts.map(|batches| by_worker(workers, run::<K>(Arc::clone(&table), Arc::clone(&layout), batches)));
    let runs: Vec<Vec<Entry<K>>> = futures::future::try_join_all(runs).await?;
    let pieces = pieces(&runs, layout.is_exact());
    let runs = Arc::new(runs);

    let gathered = Arc::clone(&table);
    let chunks = stream::iter(pieces)
        .map(move |piece| {
            let chunks = chunks(Arc::clone(&table), Arc::clone(&layout), Arc::clone(&runs), piece);
            by_worker(workers, chunks)
        })
        .buffered(workers)
        .map_ok(|chunks| stream::iter(chunks.into_iter().map(Ok::<_, DataFusionError>)))
        .try_flatten();
    let batches = chunks.map(move |chunk| {
        let table = Arc::clone(&gathered);
        by_worker(workers, async move {
            let _timer = table.time.timer();
            table.columns.take(&table.schema, &chunk?)
        })
    });
    Ok(batches.buffered(workers).boxed())
}

/// Does work in a task of its own where there are several workers.
pub(crate) async fn by_worker<T: Send + 'static>(
    workers: usize,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    match workers {
        1 => work.await,
        _ => SpawnedTask::spawn(work)
            .join_unwind()
            .await
            .map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?,
    }
}

/// Batches for each worker: about as many rows for all.
fn divided(table: &Table, workers: usize) -> Vec<Range<usize>> {
    let (mut parts, mut first, mut rows) = (Vec::new(), 0, 0);
    for (number, batch) in table.batches.iter().enumerate() {
        rows += batch.num_rows();
        if rows >= table.rows.div_ceil(workers) {
            parts.push(first..number + 1);
            (first, rows) = (number + 1, 0);
        }
    }
    parts.push(first..table.batches.len());
    parts
}

/// The rows of some batches by their keys.
async fn run<K: Key>(table: Arc<Table>, layout: Arc<Layout>, batches: Range<usize>) -> Result<Vec<Entry<K>>> {
    let _timer = table.time.timer();
    let rows = table.batches[batches.clone()].iter().map(RecordBatch::num_rows).sum();
    let mut sorted = Vec::with_capacity(rows);
    for number in batches {
        let batch = &table.batches[number];
        let keys = layout.keys::<K>(batch.num_rows(), |index| Ok(Arc::clone(batch.column(index))))?;
        let rows = (0..).map(|row| Row {
            batch: number as u32,
            row,
        });
        sorted.extend(entries(keys, rows));
        tokio::task::consume_budget().await;
    }
    sort(&mut sorted).await;
    Ok(sorted)
}

/// By keys: a quicksort that gives the thread back between its steps.
async fn sort<K: Key>(entries: &mut [Entry<K>]) {
    let mut parts = vec![entries];
    while let Some(part) = parts.pop() {
        match part.len() {
            0..=TURN_ROWS => part.sort_unstable_by_key(|entry| entry.key),
            rows => {
                let (less, _, greater) = part.select_nth_unstable_by_key(rows / 2, |entry| entry.key);
                parts.extend([greater, less]);
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Rows that come one after the other in the result.
struct Piece {
    /// Of each run.
    ranges: Vec<Range<usize>>,
    /// Whether all have one key.
    is_one_key: bool,
}

impl Piece {
    /// Rows of one run that have one key.
    fn of_run(run: usize, rows: Range<usize>, runs: usize) -> Self {
        let mut ranges = vec![0..0; runs];
        ranges[run] = rows;
        Self {
            ranges,
            is_one_key: true,
        }
    }
}

/// All rows with one key are in one piece, unless keys are exact: then any of them may come before any other.
fn pieces<K: Key>(runs: &[Vec<Entry<K>>], is_exact: bool) -> Vec<Piece> {
    let samples = runs
        .iter()
        .flat_map(|run| run.iter().step_by(PIECE_ROWS / PIECE_SAMPLES).skip(1));
    let mut samples: Vec<K> = samples.map(|entry| entry.key).collect();
    samples.sort_unstable();
    let mut splitters: Vec<K> = samples.into_iter().step_by(PIECE_SAMPLES).skip(1).collect();
    splitters.dedup();

    let mut pieces = Vec::new();
    let mut starts = vec![0; runs.len()];
    let mut cut = |ends: Vec<usize>, is_one_key| {
        let ranges: Vec<_> = starts.iter().zip(&ends).map(|(start, end)| *start..*end).collect();
        starts = ends;
        if is_one_key && is_exact {
            pieces.extend(ranges.iter().enumerate().flat_map(|(run, range)| {
                let firsts = range.clone().step_by(PIECE_ROWS);
                firsts.map(move |first| Piece::of_run(run, first..range.end.min(first + PIECE_ROWS), runs.len()))
            }));
        } else if ranges.iter().any(|range| !range.is_empty()) {
            pieces.push(Piece { ranges, is_one_key });
        }
    };
    for splitter in splitters {
        let first = |run: &Vec<Entry<K>>| run.partition_point(|entry| entry.key < splitter);
        let end = |run: &Vec<Entry<K>>| run.partition_point(|entry| entry.key <= splitter);
        let (firsts, ends): (Vec<_>, Vec<_>) = runs.iter().map(|run| (first(run), end(run))).unzip();
        let of_splitter = ends.iter().sum::<usize>() - firsts.iter().sum::<usize>();
        cut(firsts, false);
        if of_splitter >= PIECE_ROWS {
            cut(ends, true);
        }
    }
    cut(runs.iter().map(Vec::len).collect(), false);
    pieces
}

/// A piece's rows in order, as they come out.
async fn chunks<K: Key>(
    table: Arc<Table>,
    layout: Arc<Layout>,
    runs: Arc<Vec<Vec<Entry<K>>>>,
    piece: Piece,
) -> Result<Vec<Vec<Row>>> {
    let _timer = table.time.timer();
    let parts: Vec<&[Entry<K>]> = runs
        .iter()
        .zip(&piece.ranges)
        .map(|(run, range)| &run[range.clone()])
        .filter(|part| !part.is_empty())
        .collect();
    if layout.is_exact() && (piece.is_one_key || parts.len() == 1) {
        return Ok(table.cut(parts.into_iter().flatten().map(|entry| entry.row)));
    }
    let mut entries = parts.concat();
    if !piece.is_one_key && parts.len() > 1 {
        // It finds the runs, and merges them.
        entries.sort_by_key(|entry| entry.key);
    }
    if !layout.is_exact() {
        entries = decided(&table, &layout, entries).await?;
    }
    Ok(table.cut(entries.into_iter().map(|entry| entry.row)))
}

/// Rows in the order of their keys, and how far they are in their own order.
struct Level<K> {
    layout: Arc<Layout>,
    entries: Vec<Entry<K>>,
    done: usize,
}

/// Entries in the order of their keys, in the order of their rows.
async fn decided<K: Key>(table: &Table, layout: &Arc<Layout>, entries: Vec<Entry<K>>) -> Result<Vec<Entry<K>>> {
    let mut whole = Level {
        layout: Arc::clone(layout),
        entries,
        done: 0,
    };
    // Each is what stands before `done` in the one below.
    let mut levels: Vec<Level<u128>> = Vec::new();
    loop {
        let deeper = match levels.last_mut() {
            Some(level) => level.go_on(table).await?,
            None => whole.go_on(table).await?,
        };
        match (deeper, levels.pop()) {
            (Some(deeper), level) => levels.extend(level.into_iter().chain([deeper])),
            (None, Some(level)) => match levels.last_mut() {
                Some(below) => below.take_back(&level),
                None => whole.take_back(&level),
            },
            (None, None) => return Ok(whole.entries),
        }
    }
}

impl<K: Key> Level<K> {
    /// Goes on to where many rows have one key, and gives them with keys of what is left.
    async fn go_on(&mut self, table: &Table) -> Result<Option<Level<u128>>> {
        if self.layout.is_exact() {
            return Ok(None);
        }
        let further = self.layout.further(u128::BITS);
        while self.done < self.entries.len() {
            let (mut few, mut rows, mut many) = (Vec::new(), Vec::new(), None);
            while let Some(first) = self.entries.get(self.done)
                && rows.len() < PIECE_ROWS
                && many.is_none()
            {
                let rest = self.entries[self.done..].iter();
                let of_key = self.done..self.done + rest.take_while(|entry| entry.key == first.key).count();
                self.done = of_key.end;
                match of_key.len() {
                    1 => {}
                    2..=TOGETHER_MAX => {
                        rows.extend(self.entries[of_key.clone()].iter().map(|entry| entry.row));
                        few.push(of_key);
                    }
                    _ => many = Some(of_key),
                }
            }
            let keys = further.keys(rows.len(), |index| table.columns.look_at(index, &rows))?;
            let mut keyed: Vec<Entry<u128>> = entries(keys, rows).collect();
            let mut left = &mut keyed[..];
            for range in few {
                let (of_key, others) = std::mem::take(&mut left).split_at_mut(range.len());
                compare(table, &further, of_key)?;
                for (entry, decided) in self.entries[range].iter_mut().zip(of_key) {
                    entry.row = decided.row;
                }
                left = others;
            }
            tokio::task::yield_now().await;
            if let Some(many) = many {
                return Ok(Some(self.deeper(table, many).await?));
            }
        }
        Ok(None)
    }

    /// Rows that have one key, which may be very many, by keys of their own.
    async fn deeper(&self, table: &Table, rows: Range<usize>) -> Result<Level<u128>> {
        let rows: Vec<Row> = self.entries[rows].iter().map(|entry| entry.row).collect();
        let mut extents = Extents::new(&self.layout.columns);
        for some in rows.chunks(PIECE_ROWS) {
            self.layout
                .add_rest(&mut extents, |index| table.columns.look_at(index, some))?;
            tokio::task::yield_now().await;
        }
        let layout = self.layout.after(extents, u128::BITS);
        let mut keyed = Vec::with_capacity(rows.len());
        for some in rows.chunks(PIECE_ROWS) {
            let keys = layout.keys(some.len(), |index| table.columns.look_at(index, some))?;
            keyed.extend(entries(keys, some.iter().copied()));
            tokio::task::yield_now().await;
        }
        sort(&mut keyed).await;
        Ok(Level {
            layout: Arc::new(layout),
            entries: keyed,
            done: 0,
        })
    }

    /// The rows before `done`, in their order.
    fn take_back(&mut self, decided: &Level<u128>) {
        let rows = self.done - decided.entries.len()..self.done;
        for (entry, decided) in self.entries[rows].iter_mut().zip(&decided.entries) {
            entry.row = decided.row;
        }
    }
}

fn entries<K>(keys: Vec<K>, rows: impl IntoIterator<Item = Row>) -> impl Iterator<Item = Entry<K>> {
    keys.into_iter().zip(rows).map(|(key, row)| Entry { key, row })
}

/// A few rows, by their keys and what is left.
fn compare(table: &Table, layout: &Layout, entries: &mut [Entry<u128>]) -> Result<()> {
    let mut failed = None;
    entries.sort_unstable_by(|a, b| {
        a.key.cmp(&b.key).then_with(|| {
            let ordering = layout.compare_rest(table.columns_of(a.row), table.columns_of(b.row));
            ordering.unwrap_or_else(|error| {
                failed = Some(error);
                Ordering::Equal
            })
        })
    });
    failed.map_or(Ok(()), Err)
}
