//! Sorted rows in temporary files, and their merging.

use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::execution::{SendableRecordBatchStream, SpillFile};
use datafusion::physical_plan::SpillManager;
use datafusion::physical_plan::metrics::Time;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::extent::Extents;
use super::key::Layout;
use super::order::Output;
use super::sort_keys::KeyColumn;
use crate::gather::{Columns, Row};

/// Rows of a block, which is what stands in a file at once.
const BLOCK_ROWS_MAX: usize = 4096;

/// Bytes of blocks, by the memory there is: a block of each file that is merged is in it, and another is read.
const BLOCK_BYTES: RangeInclusive<usize> = 16 << 10..=256 << 10;

/// How many files are merged at once, at most: each is open.
const FILES_MAX: usize = 128;

/// Blocks of rows that took so much memory.
pub(crate) fn blocks(memory: usize) -> Output {
    Output {
        rows_max: BLOCK_ROWS_MAX,
        bytes: (memory / 16).clamp(*BLOCK_BYTES.start(), *BLOCK_BYTES.end()),
    }
}

/// A file of rows in order.
pub(crate) struct SortedFile {
    file: Arc<dyn SpillFile>,
    /// Of its largest block.
    block_bytes: usize,
    block_rows: usize,
    pub(crate) extents: Extents,
}

/// Rows of a sort that have no room in memory.
pub(crate) struct Spill {
    manager: SpillManager,
    columns: Arc<[KeyColumn]>,
    /// Of what comes out: without computed keys, which files have.
    schema: SchemaRef,
    output: Output,
    time: Time,
}

impl Spill {
    pub(crate) fn new(
        manager: SpillManager,
        columns: Arc<[KeyColumn]>,
        schema: SchemaRef,
        rows_max: usize,
        time: Time,
    ) -> Self {
        let bytes = *BLOCK_BYTES.end();
        Self {
            manager,
            columns,
            schema,
            output: Output { rows_max, bytes },
            time,
        }
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Writes rows that are in order.
    pub(crate) async fn write(
        &self,
        mut rows: BoxStream<'static, Result<RecordBatch>>,
        extents: Extents,
    ) -> Result<Option<SortedFile>> {
        let mut file = self.manager.create_in_progress_file("sorted rows")?;
        let (mut block_bytes, mut block_rows) = (0, 0);
        while let Some(batch) = rows.next().await.transpose()? {
            block_rows = batch.num_rows().max(block_rows);
            block_bytes = file.append_batch(&batch)?.max(block_bytes);
            tokio::task::yield_now().await;
        }
        Ok(file.finish()?.map(|file| SortedFile {
            file,
            block_bytes,
            block_rows,
            extents,
        }))
    }

    /// The rows of all files in order: of so many at once as there is memory for, again and again until all are merged.
    pub(crate) async fn merged(
        &self,
        mut files: Vec<SortedFile>,
        memory: MemoryReservation,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        loop {
            memory.free();
            // The smallest first would be better where they differ, but they are all as large as memory was.
            let mut at_once = 0;
            for file in files.iter().take(FILES_MAX) {
                match memory.try_grow(file.memory()) {
                    Ok(()) => at_once += 1,
                    Err(_) if at_once >= 2 => break,
                    Err(error) => return Err(error),
                }
            }
            let last: Vec<SortedFile> = files.split_off(at_once);
            let is_all = last.is_empty();
            let block = Output {
                rows_max: BLOCK_ROWS_MAX,
                bytes: files.iter().map(|file| file.block_bytes).max().unwrap_or(0),
            };
            let (schema, output) = match is_all {
                true => (&self.schema, self.output),
                false => (self.manager.schema(), block),
            };
            let mut extents = Extents::new(&self.columns);
            for file in &files {
                extents.merge(&file.extents);
            }
            let first = Layout::new(Arc::clone(&self.columns), extents.clone(), u128::BITS);
            let further = first.further(u128::BITS);
            let mut sources = Vec::with_capacity(files.len());
            for file in &files {
                let blocks = self
                    .manager
                    .read_spill_as_stream_unbuffered(Arc::clone(&file.file), None)?;
                sources.push(Source::new(blocks));
            }
            let merge = Merge {
                layouts: Layouts { first, further },
                schema: Arc::clone(schema),
                output,
                tree: Vec::new(),
                sources,
                time: self.time.clone(),
            };
            if is_all {
                let state = (merge, memory);
                let rows = stream::try_unfold(state, |(mut merge, memory)| async move {
                    Ok(merge.next().await?.map(|batch| (batch, (merge, memory))))
                });
                return Ok(rows.boxed());
            }
            let rows = stream::try_unfold(merge, |mut merge| async move {
                Ok(merge.next().await?.map(|batch| (batch, merge)))
            });
            let merged = self.write(rows.boxed(), extents).await?;
            files = last;
            files.extend(merged);
        }
    }
}

impl SortedFile {
    /// What merging it holds: a block and its two keys of a row, one being read, and what is copied of them.
    fn memory(&self) -> usize {
        3 * self.block_bytes + 2 * self.block_rows * size_of::<u128>()
    }
}

/// A file that is merged.
struct Source {
    blocks: SendableRecordBatchStream,
    /// None where it has no more.
    block: Option<Block>,
}

struct Block {
    batch: RecordBatch,
    keys: Vec<u128>,
    /// Where those are not all of it: rows that meet in a merge often begin alike.
    further: Vec<u128>,
    at: usize,
    /// On the average.
    row_bytes: usize,
}

/// Of keys, and of those that go on where they end.
struct Layouts {
    first: Layout,
    further: Layout,
}

/// Merges files by a tree of losers (Knuth, TAOCP 3, 5.4.1).
struct Merge {
    layouts: Layouts,
    schema: SchemaRef,
    output: Output,
    sources: Vec<Source>,
    time: Time,
    /// At 0 the source whose row is next; at each other node the one that lost there. Empty before the beginning.
    tree: Vec<usize>,
}

impl Source {
    fn new(blocks: SendableRecordBatchStream) -> Self {
        Self { blocks, block: None }
    }

    /// The next block.
    async fn advance(&mut self, layouts: &Layouts) -> Result<()> {
        self.block = None;
        while let Some(batch) = self.blocks.next().await.transpose()? {
            if batch.num_rows() > 0 {
                let column = |index| Ok(Arc::clone(batch.column(index)));
                let keys = layouts.first.keys(batch.num_rows(), column)?;
                let further = match layouts.first.is_exact() {
                    true => Vec::new(),
                    false => layouts.further.keys(batch.num_rows(), column)?,
                };
                self.block = Some(Block {
                    row_bytes: batch.get_array_memory_size() / batch.num_rows(),
                    batch,
                    keys,
                    further,
                    at: 0,
                });
                break;
            }
        }
        Ok(())
    }
}

impl Block {
    fn row(&self) -> (&[ArrayRef], usize) {
        (self.batch.columns(), self.at)
    }
}

impl Merge {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        if self.tree.is_empty() {
            for source in &mut self.sources {
                source.advance(&self.layouts).await?;
            }
            self.build()?;
        }
        let time = self.time.clone();
        let timer = time.timer();
        // Blocks that rows of this batch are from; by source the number of its last.
        let mut blocks: Vec<RecordBatch> = Vec::new();
        let mut numbers: Vec<Option<u32>> = vec![None; self.sources.len()];
        let (mut rows, mut bytes) = (Vec::with_capacity(self.output.rows_max), 0);
        while rows.len() < self.output.rows_max && bytes < self.output.bytes {
            let winner = self.tree[0];
            let Some(block) = self.sources.get_mut(winner).and_then(|source| source.block.as_mut()) else {
                break;
            };
            let number = *numbers[winner].get_or_insert_with(|| {
                blocks.push(block.batch.clone());
                blocks.len() as u32 - 1
            });
            rows.push(Row {
                batch: number,
                row: block.at as u32,
            });
            bytes += block.row_bytes;
            block.at += 1;
            if block.at == block.keys.len() {
                self.sources[winner].advance(&self.layouts).await?;
                numbers[winner] = None;
            }
            self.replay(winner)?;
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let batch = Columns::new(&self.schema, &blocks).take(&self.schema, &rows)?;
        timer.done();
        tokio::task::consume_budget().await;
        Ok(Some(batch))
    }

    /// Plays all matches.
    fn build(&mut self) -> Result<()> {
        let sources = self.sources.len();
        // The winners of the matches at each node; leaves are the sources.
        let mut winners = vec![0; sources];
        winners.extend(0..sources);
        self.tree = vec![0; sources.max(1)];
        for node in (1..sources).rev() {
            let (a, b) = (winners[2 * node], winners[2 * node + 1]);
            let (winner, loser) = if self.is_before(b, a)? { (b, a) } else { (a, b) };
            winners[node] = winner;
            self.tree[node] = loser;
        }
        self.tree[0] = winners.get(1).copied().unwrap_or(0);
        Ok(())
    }

    /// Plays the matches of one source, which has another row.
    fn replay(&mut self, source: usize) -> Result<()> {
        let mut winner = source;
        let mut node = (source + self.sources.len()) / 2;
        while node > 0 {
            let other = self.tree[node];
            if self.is_before(other, winner)? {
                self.tree[node] = winner;
                winner = other;
            }
            node /= 2;
        }
        self.tree[0] = winner;
        Ok(())
    }

    /// Whether the row of one source comes before the other's.
    fn is_before(&self, a: usize, b: usize) -> Result<bool> {
        let (Some(a), Some(b)) = (&self.sources[a].block, &self.sources[b].block) else {
            return Ok(self.sources[a].block.is_some());
        };
        let Layouts { first, further } = &self.layouts;
        let mut ordering = a.keys[a.at].cmp(&b.keys[b.at]);
        if ordering.is_eq() && !first.is_exact() {
            ordering = a.further[a.at].cmp(&b.further[b.at]);
            if ordering.is_eq() && !further.is_exact() {
                ordering = further.compare_rest(a.row(), b.row())?;
            }
        }
        Ok(ordering.is_lt())
    }
}
