//! One file of a scan, from the cache of decoded chunks: which row groups, which rows of them, which columns of those rows.
//!
//! 1. The file's and the row groups' statistics leave out what no row can pass (`source/prune.rs`). Where several tasks share a file,
//!    each has some blocks of a row group.
//! 2. What is better read from Parquet goes there ([`ScanPart::open_parquet`]).
//! 3. For each row group the chunks of the conditions' columns are taken from the cache, or decoded; blocks of rows are selected
//!    by them (`source/condition.rs`), and by the rows that are deleted. Bounds that joins and sorts have found go first.
//! 4. When the first row of a row group is wanted, so are the chunks of the other columns. Rows of several blocks make a batch.
//! 5. Where something is not in the cache, what comes next is asked for before it is wanted (`source/ahead.rs`).

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBufferBuilder, RecordBatch, RecordBatchOptions};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::stats::Precision;
use datafusion::common::{Result as DfResult, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{
    PagePruningAccessPlanFilter, ParquetAccessPlan, RowGroupAccess, apply_file_schema_type_coercions,
};
use datafusion::datasource::physical_plan::{FileOpenFuture, FileOpener, ParquetFileMetrics};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::physical_expr::expressions::{CastExpr, Column, DynamicFilterPhysicalExpr};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::simplifier::PhysicalExprSimplifier;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};
use datafusion::physical_expr_adapter::{PhysicalExprAdapterFactory, replace_columns_with_literals};
use datafusion::physical_expr_common::physical_expr::snapshot_generation;
use datafusion::physical_optimizer::pruning::PruningPredicate;
use datafusion::physical_plan::metrics::{BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, Time};
use futures::future::try_join_all;
use futures::stream;
use futures::{FutureExt, StreamExt};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::ParquetMetaData;

use super::ahead::Upcoming;
use super::chunks::OpenParquet;
use super::condition::{Condition, Dynamic, Test, Usefulness, over_columns};
use super::decode::{decode, fetch, leaves};
use super::output::{OfTexts, Output, ReadColumns};
use super::prune::{FilePruning, pruning_predicate, restricted, row_groups};
use super::reader::{Caches, Placed, ReadMetrics, Reader};
use crate::cache::ChunkKey;
use crate::chunk::{BLOCK_ROWS, Chunk, Domain, Gather, Selected, compact, compact_type};
use crate::error::{Error, Result};

/// Parquet's reader is asked when it has to read no more than this share of the rows.
const FEW_ROWS_SHARE: usize = 8;

/// What one task of a scan reads and how.
pub(super) struct ScanPart {
    pub(super) caches: Arc<Caches>,
    pub(super) table: TableSchema,
    pub(super) adapters: Arc<dyn PhysicalExprAdapterFactory>,
    /// Over the table's columns.
    pub(super) projection: ProjectionExprs,
    pub(super) predicate: Option<Arc<dyn PhysicalExpr>>,
    pub(super) limit: Option<usize>,
    pub(super) batch_rows: usize,
    pub(super) partition: usize,
    pub(super) open_parquet: OpenParquet,
    pub(super) upcoming: Arc<Upcoming>,
}

/// Opens the files of one task.
pub(super) struct ChunkOpener {
    shared: Arc<Shared>,
}

struct Shared {
    part: ScanPart,
    output: DfResult<SchemaRef>,
    metrics: Metrics,
    /// For each of the predicate's dynamic filters, by its place.
    usefulness: parking_lot::Mutex<Vec<Arc<Usefulness>>>,
    /// Columns that the predicate or the projection names.
    named: HashSet<String>,
    pruning: FilePruning,
    /// Of the last file without constants: the next one mostly has the same columns.
    adapted: parking_lot::Mutex<Option<Arc<Adapted>>>,
    /// Columns that were asked for before they were wanted.
    asked: parking_lot::Mutex<Vec<ChunkKey>>,
}

/// Predicate and projection over a file's columns.
struct Adapted {
    schema: SchemaRef,
    predicate: Option<Arc<dyn PhysicalExpr>>,
    /// Asked of the row groups' statistics, with what dynamic filters said at this generation.
    pruning: Option<Arc<PruningPredicate>>,
    generation: u64,
    projection: Vec<Arc<dyn PhysicalExpr>>,
}

struct Metrics {
    read: ReadMetrics,
    files: ParquetFileMetrics,
    errors: Count,
    elapsed: Time,
    chunks_cached: Count,
    chunks_decoded: Count,
}

impl ChunkOpener {
    pub(super) fn new(part: ScanPart, metrics: &ExecutionPlanMetricsSet) -> Self {
        let partition = part.partition;
        let output = part.projection.project_schema(part.table.table_schema()).map(Arc::new);
        let exprs = part.projection.expr_iter().chain(part.predicate.clone());
        let named = exprs
            .flat_map(|expr| collect_columns(&expr))
            .map(|column| column.name().to_owned())
            .collect();
        let read = ReadMetrics::new(partition, "", metrics);
        let metrics = Metrics {
            files: read.files.clone(),
            errors: MetricBuilder::new(metrics).global_counter("num_predicate_creation_errors"),
            elapsed: BaselineMetrics::new(metrics, partition).elapsed_compute().clone(),
            chunks_cached: MetricBuilder::new(metrics).counter("chunks_from_cache", partition),
            chunks_decoded: MetricBuilder::new(metrics).counter("chunks_decoded", partition),
            read,
        };
        let errors = metrics.errors.clone();
        let pruning = FilePruning::new(part.predicate.clone(), Arc::clone(part.table.file_schema()), errors);
        Self {
            shared: Arc::new(Shared {
                pruning,
                part,
                output,
                metrics,
                usefulness: Default::default(),
                named,
                adapted: Default::default(),
                asked: Default::default(),
            }),
        }
    }
}

impl FileOpener for ChunkOpener {
    fn open(&self, file: PartitionedFile) -> DfResult<FileOpenFuture> {
        let shared = Arc::clone(&self.shared);
        shared.part.upcoming.open();
        let open = async move {
            Ok(
                match FileScan::begin(Arc::clone(&shared), file, &shared.metrics.files).await? {
                    Begun::Nothing => stream::empty().boxed(),
                    Begun::Parquet(file) => (shared.part.open_parquet)(*file)?,
                    Begun::Chunks(mut scan) => {
                        scan.read_ahead();
                        let batches = stream::try_unfold(scan, |mut scan| async move {
                            let batch = scan.next().await?;
                            Ok(batch.map(|batch| (batch, scan)))
                        });
                        batches.boxed()
                    }
                },
            )
        };
        Ok(open.boxed())
    }
}

enum Begun {
    /// No row can pass.
    Nothing,
    /// Parquet's own reader does it better.
    Parquet(Box<PartitionedFile>),
    Chunks(Box<FileScan>),
}

/// A file that is being read.
struct FileScan {
    shared: Arc<Shared>,
    output: SchemaRef,
    reader: Arc<Reader>,
    key: Arc<str>,
    footer: Arc<ParquetMetaData>,
    /// The file's columns, with the types that chunks have.
    schema: SchemaRef,
    /// What the scan gives, over `columns`.
    outputs: Vec<Output>,
    /// Columns of the file that the projection needs.
    columns: Vec<usize>,
    /// With the types in which they are read from chunks.
    columns_schema: SchemaRef,
    conditions: Vec<Arc<Condition>>,
    dynamic: Vec<Dynamic>,
    /// Row groups to read, each with its rows.
    groups: VecDeque<(usize, RowGroupAccess)>,
    current: Option<GroupScan>,
    /// Whether all of it was in the cache when it was opened.
    is_cached: bool,
    /// Begins the next files.
    _next: Option<SpawnedTask<()>>,
}

impl FileScan {
    async fn begin(shared: Arc<Shared>, whole: PartitionedFile, metrics: &ParquetFileMetrics) -> DfResult<Begun> {
        let (part, file) = (&shared.part, &whole);
        let output = match &shared.output {
            Ok(output) => Arc::clone(output),
            Err(error) => return Err(Error::internal(format!("a scan has no columns ({error})")).into()),
        };
        let table = part.table.file_schema();
        let constants = constants(file.statistics.as_deref(), table, &shared.named);
        let settled = part
            .predicate
            .clone()
            .map(|predicate| settle(predicate, &constants))
            .transpose()?;
        if !shared.pruning.may_pass(file, metrics) {
            return Ok(Begun::Nothing);
        }

        let placed = file.extension::<Placed>().cloned();
        let placed = placed.ok_or_else(|| Error::internal("a file of the scan has no store"))?;
        let footer = part.caches.footer(&placed, file.object_meta.size).await?;
        let stored = ArrowReaderMetadata::try_new(Arc::clone(&footer), ArrowReaderOptions::new());
        let stored = stored.map_err(|error| Error::from(error).at(placed.location.as_ref()))?;
        let schema = match apply_file_schema_type_coercions(table, stored.schema()) {
            Some(schema) => Arc::new(schema),
            None => Arc::clone(stored.schema()),
        };
        let adapted = shared.adapted(&schema, &constants, settled)?;
        let predicate = adapted.predicate.as_ref();

        let pruning = adapted.pruning.as_deref();
        // Of a single row group the file's own bounds have said all there is.
        let pruning = pruning.filter(|_| footer.num_row_groups() > 1 || !shared.pruning.has_bounds(file));
        let Some(groups) = row_groups(file, &footer, &schema, pruning, metrics)? else {
            return Ok(Begun::Nothing);
        };
        let exprs = &adapted.projection;
        let columns = columns_of(exprs);
        let exprs = exprs.iter().map(|expr| over_columns(expr, &columns));
        let (projection, columns_schema) = read_compact(exprs.collect::<DfResult<_>>()?, schema.project(&columns)?);
        let mut scan = Self {
            output,
            reader: Arc::new(
                part.caches
                    .reader(placed.clone(), file.object_meta.size, shared.metrics.read.clone()),
            ),
            key: placed.key,
            outputs: projection
                .iter()
                .map(|expr| Output::new(expr, &columns_schema))
                .collect(),
            columns_schema,
            columns,
            conditions: Vec::new(),
            dynamic: Vec::new(),
            groups,
            current: None,
            is_cached: false,
            _next: None,
            footer,
            schema,
            shared: Arc::clone(&shared),
        };
        if !scan.take_conditions(predicate)? {
            return Ok(Begun::Nothing);
        }
        scan.is_cached = scan.groups.iter().all(|(group, _)| scan.holds(*group));
        Ok(match !scan.is_cached && scan.is_for_parquet(predicate) {
            true => Begun::Parquet(Box::new(restricted(whole, &scan.footer, &scan.groups))),
            false => Begun::Chunks(Box::new(scan)),
        })
    }

    /// The parts of the predicate. False when no row can pass.
    fn take_conditions(&mut self, predicate: Option<&Arc<dyn PhysicalExpr>>) -> DfResult<bool> {
        for part in predicate.map(split_conjunction).unwrap_or_default() {
            if part.is::<DynamicFilterPhysicalExpr>() {
                let mut usefulness = self.shared.usefulness.lock();
                let number = self.dynamic.len();
                if usefulness.len() == number {
                    usefulness.push(Arc::default());
                }
                self.dynamic.push(Dynamic::new(part, &usefulness[number]));
                continue;
            }
            let condition = Condition::new(part, &self.schema, None)?;
            match condition.constant() {
                Some(true) => {}
                Some(false) => return Ok(false),
                None => self.conditions.push(Arc::new(condition)),
            }
        }
        Ok(true)
    }

    /// Whether decoding whole chunks would be far more than what is asked for.
    fn is_for_parquet(&self, predicate: Option<&Arc<dyn PhysicalExpr>>) -> bool {
        let rows = |group: usize| usize::try_from(self.footer.row_group(group).num_rows()).unwrap_or(0);
        let total: usize = self.groups.iter().map(|(group, _)| rows(*group)).sum();
        let wanted = match (predicate, self.shared.part.limit) {
            (None, Some(limit)) => limit,
            (None, None) => return false,
            (Some(predicate), _) => {
                let pages = PagePruningAccessPlanFilter::new(predicate, Arc::clone(&self.schema));
                if pages.filter_number() == 0 {
                    return false;
                }
                let mut plan = ParquetAccessPlan::new_none(self.footer.num_row_groups());
                for (group, _) in &self.groups {
                    plan.scan(*group);
                }
                let scratch = ParquetFileMetrics::new(0, "", &ExecutionPlanMetricsSet::new());
                let parquet = self.footer.file_metadata().schema_descr();
                let plan = pages.prune_plan_with_page_index(plan, &self.schema, parquet, &self.footer, &scratch);
                let access = plan.inner().iter().enumerate();
                access
                    .map(|(group, access)| match access {
                        RowGroupAccess::Skip => 0,
                        RowGroupAccess::Scan => rows(group),
                        RowGroupAccess::Selection(selection) => selection.row_count(),
                    })
                    .sum()
            }
        };
        wanted < total / FEW_ROWS_SHARE
    }

    /// Whether what may be wanted of a row group is in the cache.
    fn holds(&self, row_group: usize) -> bool {
        let conditions = self.conditions.iter().flat_map(|condition| condition.columns());
        let mut columns = conditions.chain(&self.columns);
        columns.all(|column| self.is_decoded(row_group, *column))
    }

    fn is_decoded(&self, row_group: usize, column: usize) -> bool {
        let chunks = &self.shared.part.caches.chunks;
        chunks.contains(&self.chunk_key(row_group, column))
    }

    /// Asks for what the next row group will want, and the next files.
    fn read_ahead(&mut self) {
        if self.is_cached {
            return;
        }
        self.ask();
        if !self.goes_on() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let metrics = ParquetFileMetrics::new(0, "", &ExecutionPlanMetricsSet::new());
        self._next = Some(SpawnedTask::spawn(async move {
            while let Some(file) = shared.part.upcoming.next() {
                // An error is the turn's of the file to report.
                if let Ok(Begun::Chunks(scan)) = Self::begin(Arc::clone(&shared), file, &metrics).await {
                    scan.ask();
                }
            }
        }));
    }

    /// Whether row groups that statistics let pass will be read, as far as one knows: a limit may be reached before, and what
    /// a dynamic filter leaves out is known once it says something.
    fn goes_on(&self) -> bool {
        self.shared.part.limit.is_none() && self.dynamic.iter().all(Dynamic::says_something)
    }

    /// Asks for the columns that the next row group is sure to want.
    fn ask(&self) {
        let Some((row_group, _)) = self.groups.front() else {
            return;
        };
        let part = &self.shared.part;
        let mut columns: Vec<usize> = self
            .conditions
            .iter()
            .flat_map(|condition| condition.columns())
            .copied()
            .collect();
        if part.predicate.is_none() || part.upcoming.gives_rows() {
            columns.extend(&self.columns);
        }
        for column in columns {
            if self.is_decoded(*row_group, column) {
                continue;
            }
            let key = self.chunk_key(*row_group, column);
            let leaves = leaves(&self.footer, *row_group, column);
            let bytes = leaves
                .iter()
                .map(|leaf| leaf.byte_range().1)
                .fold(0, u64::saturating_add);
            let (reader, footer, row_group) = (Arc::clone(&self.reader), Arc::clone(&self.footer), *row_group);
            let fetch = async move { fetch(&reader, &footer, row_group, column).await };
            if part.caches.ahead.ask(key.clone(), bytes, fetch) {
                self.shared.asked.lock().push(key);
            }
        }
    }

    fn chunk_key(&self, row_group: usize, column: usize) -> ChunkKey {
        ChunkKey {
            file: Arc::clone(&self.key),
            row_group,
            column,
            data_type: self.schema.field(column).data_type().clone(),
        }
    }

    async fn chunk(&self, row_group: usize, column: usize) -> DfResult<Arc<Chunk>> {
        let key = self.chunk_key(row_group, column);
        let decode = async {
            let asked = match self.shared.part.caches.ahead.take(&key) {
                Some(fetching) => fetching.join().await.ok(),
                None => None,
            };
            let fetched = match asked {
                Some(fetched) => fetched?,
                None => fetch(&self.reader, &self.footer, row_group, column).await?,
            };
            let decoded = decode(fetched, &self.footer, &self.schema, row_group, column).await;
            decoded.map_err(|error| error.at(self.reader.location()))
        };
        let cache = &self.shared.part.caches.chunks;
        let (chunk, is_cached) = cache.get(key.clone(), decode).await?;
        match is_cached {
            true => self.shared.metrics.chunks_cached.add(1),
            false => self.shared.metrics.chunks_decoded.add(1),
        }
        Ok(chunk)
    }

    async fn next(&mut self) -> DfResult<Option<RecordBatch>> {
        loop {
            let mut group = match self.current.take() {
                Some(group) => group,
                None => {
                    let Some((row_group, access)) = self.groups.pop_front() else {
                        return Ok(None);
                    };
                    // A file may have many row groups without a row to give.
                    tokio::task::yield_now().await;
                    let group = self.begin_group(row_group, &access).await?;
                    if !self.is_cached && self.goes_on() {
                        self.ask();
                    }
                    group
                }
            };
            if let Some(batch) = self.next_of(&mut group).await? {
                self.current = Some(group);
                return Ok(Some(batch));
            }
            if group.gathers.is_none() {
                self.shared.part.upcoming.set_gives_rows(false);
            }
        }
    }

    async fn begin_group(&mut self, row_group: usize, access: &RowGroupAccess) -> DfResult<GroupScan> {
        let rows = usize::try_from(self.footer.row_group(row_group).num_rows());
        let rows = rows.map_err(|_| Error::corrupt("a row group has a negative row count"))?;
        let mut group = GroupScan {
            row_group,
            rows,
            block: 0,
            live: live_rows(access, rows),
            tests: None,
            optional: Vec::new(),
            gathers: None,
            gathered: 0,
            given: 0,
            of_texts: vec![OfTexts::default(); self.outputs.len()],
            pending: None,
        };
        self.renew_optional(&mut group).await?;
        Ok(group)
    }

    async fn tests(&self, row_group: usize) -> DfResult<Vec<Test>> {
        let mut tests = Vec::with_capacity(self.conditions.len());
        for condition in &self.conditions {
            tests.push(self.test(row_group, condition).await?);
        }
        tests.sort_by_key(Test::cost);
        Ok(tests)
    }

    async fn test(&self, row_group: usize, condition: &Arc<Condition>) -> DfResult<Test> {
        let chunks = condition.columns().iter().map(|column| self.chunk(row_group, *column));
        Test::new(condition, try_join_all(chunks).await?)
    }

    /// The tests of dynamic filters as these are now.
    async fn renew_optional(&mut self, group: &mut GroupScan) -> DfResult<()> {
        let mut conditions = Vec::new();
        for dynamic in &mut self.dynamic {
            conditions.extend(dynamic.conditions(&self.schema)?);
        }
        let mut tests = Vec::with_capacity(conditions.len());
        for condition in &conditions {
            if condition.constant() == Some(true) {
                continue;
            }
            tests.push(self.test(group.row_group, condition).await?);
        }
        tests.sort_by_key(Test::cost);
        group.optional = tests;
        Ok(())
    }

    /// The next batch of a row group; none when it has no more rows.
    async fn next_of(&mut self, group: &mut GroupScan) -> DfResult<Option<RecordBatch>> {
        let blocks = group.rows.div_ceil(BLOCK_ROWS);
        while group.block < blocks {
            let selected = match group.pending.take() {
                Some(selected) => selected,
                None => self.select(group).await?,
            };
            let count = selected.count(group.block_rows());
            if count == 0 {
                group.block += 1;
                continue;
            }
            if group.gathers.is_none() {
                self.shared.part.upcoming.set_gives_rows(true);
                let chunks = self.columns.iter().map(|column| self.chunk(group.row_group, *column));
                let chunks = try_join_all(chunks).await?;
                let gathers = chunks.iter().enumerate();
                group.gathers = Some(gathers.map(|(column, chunk)| self.gather(column, chunk)).collect());
            }
            let _timer = self.shared.metrics.elapsed.timer();
            if group.gathered > 0 && group.gathered + count > self.shared.part.batch_rows {
                group.pending = Some(selected);
                return self.batch(group).map(Some);
            }
            group.add(&selected)?;
            if group.gathered >= self.shared.part.batch_rows / 2 {
                return self.batch(group).map(Some);
            }
        }
        match group.gathered {
            0 => Ok(None),
            _ => self.batch(group).map(Some),
        }
    }

    fn gather(&self, column: usize, chunk: &Arc<Chunk>) -> Gather {
        let data_type = self.columns_schema.field(column).data_type();
        let is_of_texts = self.outputs.iter().any(|output| output.of_text() == Some(column));
        let codes = match chunk.domain() {
            Some(Domain::Texts(_)) if is_of_texts => compact_type(data_type),
            _ => None,
        };
        Gather::new(chunk, &codes.unwrap_or_else(|| data_type.clone()))
    }

    /// The rows of the next block that pass.
    async fn select(&mut self, group: &mut GroupScan) -> DfResult<Selected> {
        if self.dynamic.iter().any(Dynamic::has_changed) {
            self.renew_optional(group).await?;
        }
        let live = group.live();
        let rows = live.count(group.block_rows());
        let mut selected = group.select_by_bounds(live)?;
        if !matches!(selected, Selected::None) {
            if group.tests.is_none() {
                group.tests = Some(self.tests(group.row_group).await?);
            }
            let _timer = self.shared.metrics.elapsed.timer();
            selected = group.select(selected)?;
        }
        let count = selected.count(group.block_rows());
        let files = &self.shared.metrics.files;
        files.pushdown_rows_pruned.add(rows - count);
        files.pushdown_rows_matched.add(count);
        Ok(selected)
    }

    /// The rows gathered so far.
    fn batch(&self, group: &mut GroupScan) -> DfResult<RecordBatch> {
        let rows = std::mem::take(&mut group.gathered);
        let gathers = group.gathers.iter_mut().flatten();
        let columns = gathers.map(|gather| gather.finish().map(compact));
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        let read = ReadColumns::new(&self.columns_schema, columns, rows);
        let given = read.give(&self.outputs, &mut group.of_texts, group.given)?;
        group.given += rows;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&self.output),
            given,
            &options,
        )?)
    }
}

/// A row group that is being read.
struct GroupScan {
    row_group: usize,
    rows: usize,
    /// The next block.
    block: usize,
    /// Rows that are this task's and not deleted; `None`: all.
    live: Option<BooleanBuffer>,
    /// Those of the query's own conditions, once a row was looked at.
    tests: Option<Vec<Test>>,
    /// Those of dynamic filters.
    optional: Vec<Test>,
    /// By column of the projection, once a row was wanted.
    gathers: Option<Vec<Gather>>,
    /// Rows in them.
    gathered: usize,
    /// Rows in batches so far.
    given: usize,
    /// By column of what the scan gives.
    of_texts: Vec<OfTexts>,
    /// What was selected of the next block, when there was no room for it in the last batch.
    pending: Option<Selected>,
}

impl GroupScan {
    fn block_rows(&self) -> usize {
        BLOCK_ROWS.min(self.rows - self.block * BLOCK_ROWS)
    }

    /// The rows of the next block that there are.
    fn live(&self) -> Selected {
        match &self.live {
            None => Selected::All,
            Some(live) => Selected::of(live.slice(self.block * BLOCK_ROWS, self.block_rows())),
        }
    }

    /// Those of them that pass what dynamic filters say of bounds: by the zone maps they leave out whole row groups, of which
    /// nothing else has to be looked at then.
    fn select_by_bounds(&self, live: Selected) -> DfResult<Selected> {
        self.select_by(self.optional.iter().filter(|test| test.is_of_bounds()), live)
    }

    /// Those of the selected ones that pass the rest.
    fn select(&self, selected: Selected) -> DfResult<Selected> {
        let optional = self.optional.iter().filter(|test| !test.is_of_bounds());
        self.select_by(self.tests.iter().flatten().chain(optional), selected)
    }

    fn select_by<'a>(&self, tests: impl Iterator<Item = &'a Test>, mut selected: Selected) -> DfResult<Selected> {
        let rows = self.block_rows();
        for test in tests {
            selected = test.select(self.block, rows, &selected)?;
            if matches!(selected, Selected::None) {
                break;
            }
        }
        Ok(selected)
    }

    /// Takes the selected rows of the next block.
    fn add(&mut self, selected: &Selected) -> Result<()> {
        let rows: Option<Vec<u32>> = match selected {
            Selected::Some(rows) => Some(rows.set_indices_u32().collect()),
            Selected::All => None,
            Selected::None => Some(Vec::new()),
        };
        for gather in self.gathers.iter_mut().flatten() {
            gather.add(self.block, rows.as_deref())?;
        }
        self.gathered += selected.count(self.block_rows());
        self.block += 1;
        Ok(())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.part.caches.ahead.give_up(self.asked.get_mut());
    }
}

impl Shared {
    /// Predicate and projection over the columns of a file. `settled` is the predicate with the file's constants.
    fn adapted(
        &self,
        schema: &SchemaRef,
        constants: &HashMap<String, ScalarValue>,
        settled: Option<Arc<dyn PhysicalExpr>>,
    ) -> DfResult<Arc<Adapted>> {
        let generation = settled.as_ref().map_or(0, snapshot_generation);
        if constants.is_empty()
            && let Some(last) = &*self.adapted.lock()
            && last.generation == generation
            && last.schema == *schema
        {
            return Ok(Arc::clone(last));
        }
        let table = self.part.table.file_schema();
        let adapter = self.part.adapters.create(Arc::clone(table), Arc::clone(schema))?;
        let simplifier = PhysicalExprSimplifier::new(schema);
        let adapt = |expr: Arc<dyn PhysicalExpr>| simplifier.simplify(adapter.rewrite(expr)?);
        let predicate = settled.map(adapt).transpose()?;
        let pruning = predicate
            .as_ref()
            .and_then(|predicate| pruning_predicate(predicate, schema, &self.metrics.errors));
        let exprs = self
            .part
            .projection
            .expr_iter()
            .map(|expr| adapt(settle(expr, constants)?));
        let adapted = Arc::new(Adapted {
            schema: Arc::clone(schema),
            projection: exprs.collect::<DfResult<_>>()?,
            predicate,
            pruning,
            generation,
        });
        if constants.is_empty() {
            *self.adapted.lock() = Some(Arc::clone(&adapted));
        }
        Ok(adapted)
    }
}

/// An expression over a table's columns with what a file says of some.
fn settle(expr: Arc<dyn PhysicalExpr>, constants: &HashMap<String, ScalarValue>) -> DfResult<Arc<dyn PhysicalExpr>> {
    match constants.is_empty() {
        true => Ok(expr),
        false => replace_columns_with_literals(expr, constants),
    }
}

/// Those of some columns that have one value in the whole file, by name.
fn constants(statistics: Option<&Statistics>, table: &Schema, named: &HashSet<String>) -> HashMap<String, ScalarValue> {
    let Some(statistics) = statistics else {
        return HashMap::new();
    };
    let columns = table.fields().iter().zip(&statistics.column_statistics);
    let columns = columns.filter(|(field, _)| named.contains(field.name()));
    let constant = columns.filter_map(|(field, known)| {
        let nulls = known
            .null_count
            .get_value()
            .filter(|_| known.null_count.is_exact() == Some(true))?;
        if matches!(statistics.num_rows, Precision::Exact(rows) if rows == *nulls) {
            let null = ScalarValue::try_new_null(field.data_type()).ok()?;
            return Some((field.name().clone(), null));
        }
        match (&known.min_value, &known.max_value) {
            (Precision::Exact(min), Precision::Exact(max)) if *nulls == 0 && min == max && !min.is_null() => {
                let value = min.cast_to(field.data_type()).ok()?;
                Some((field.name().clone(), value))
            }
            _ => None,
        }
    });
    constant.collect()
}

fn columns_of(exprs: &[Arc<dyn PhysicalExpr>]) -> Vec<usize> {
    let columns = exprs.iter().flat_map(collect_columns);
    let mut columns: Vec<usize> = columns.map(|column: Column| column.index()).collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}

/// A projection over some columns, and these: what it only ever casts to its compact type is read in that one.
fn read_compact(projection: Vec<Arc<dyn PhysicalExpr>>, columns: Schema) -> (Vec<Arc<dyn PhysicalExpr>>, SchemaRef) {
    let cast = |expr: &Arc<dyn PhysicalExpr>| {
        let cast = expr.downcast_ref::<CastExpr>()?;
        let column = cast.expr().downcast_ref::<Column>()?;
        let compact = compact_type(columns.fields().get(column.index())?.data_type());
        (compact.as_ref() == Some(cast.cast_type())).then(|| column.clone())
    };
    let casts: Vec<Option<Column>> = projection.iter().map(cast).collect();
    let plain = projection.iter().zip(&casts).filter(|(_, cast)| cast.is_none());
    let plain: HashSet<usize> = plain
        .flat_map(|(expr, _)| collect_columns(expr))
        .map(|column| column.index())
        .collect();
    let mut fields = columns.fields().to_vec();
    let mut projection = projection;
    for (expr, column) in projection.iter_mut().zip(casts) {
        if let Some(column) = column.filter(|column| !plain.contains(&column.index()))
            && let Some(field) = fields.get_mut(column.index())
        {
            if let Some(compact) = compact_type(field.data_type()) {
                *field = Arc::new(Field::clone(field).with_data_type(compact));
            }
            *expr = Arc::new(column);
        }
    }
    let columns = Schema::new_with_metadata(fields, columns.metadata().clone());
    (projection, Arc::new(columns))
}

/// The rows of a row group that are to be read, when it is not all of them.
fn live_rows(access: &RowGroupAccess, rows: usize) -> Option<BooleanBuffer> {
    let RowGroupAccess::Selection(selection) = access else {
        return None;
    };
    let mut live = BooleanBufferBuilder::new(rows);
    for selector in selection.iter() {
        live.append_n(selector.row_count, !selector.skip);
    }
    // A selection need not say that the rest is skipped.
    live.append_n(rows.saturating_sub(live.len()), false);
    Some(live.finish())
}
