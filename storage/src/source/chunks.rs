//! The source that reads tables through the cache of decoded chunks.
//!
//! To DataFusion it is Parquet's own source, which plans and prints for it: projections, sorts and filters are pushed into that
//! one. Reading is ours (`source/open.rs`). What would cost more through the cache than it can be worth there is left to
//! Parquet's reader, with the same filters: a few pages of chunks nobody has read yet, or a few rows of a LIMIT.

use std::collections::VecDeque;
use std::fmt::Formatter;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::Result as DfResult;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileOpenFuture, FileOpener, FileScanConfig, FileSource, ParquetSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{
    EquivalenceProperties, PhysicalExpr, PhysicalSortExpr, conjunction, conjunction_opt, split_conjunction,
};
use datafusion::physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, SortOrderPushdownResult};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;

use super::ahead::Upcoming;
use super::condition::never_fails;
use super::open::{ChunkOpener, ScanPart};
use super::reader::{Caches, location_of};
use crate::decoding::decoding_stream;
use crate::error::Error;
use crate::parameter::settled;

/// How Parquet's own reader opens a file.
pub(super) type OpenParquet =
    Box<dyn Fn(PartitionedFile) -> DfResult<BoxStream<'static, DfResult<RecordBatch>>> + Send + Sync>;

#[derive(Clone)]
pub(super) struct ChunkSource {
    parquet: ParquetSource,
    /// Rows of a batch, once they are known.
    batch_rows: Option<usize>,
    /// `None`: Parquet's own reader reads all of it.
    caches: Option<Arc<Caches>>,
    upcoming: Arc<Upcoming>,
}

impl ChunkSource {
    /// `parquet` has no predicate yet.
    pub(super) fn new(parquet: ParquetSource, predicate: Option<&Arc<dyn PhysicalExpr>>, caches: Arc<Caches>) -> Self {
        let mut parquet = parquet.with_pushdown_filters(true).with_reorder_filters(true);
        // The rows that fail the rest are the caller's to leave out.
        let conditions = predicate.map(split_conjunction).unwrap_or_default();
        let conditions = conditions
            .into_iter()
            .filter(|condition| never_fails(condition))
            .cloned();
        if let Some(predicate) = conjunction_opt(conditions) {
            parquet = parquet.with_predicate(predicate);
        }
        Self {
            parquet,
            batch_rows: None,
            caches: Some(caches),
            upcoming: Arc::default(),
        }
    }

    /// All by Parquet's own reader: nothing but what it does at damaged bytes is changed.
    pub(super) fn direct(parquet: ParquetSource) -> Self {
        Self {
            parquet,
            batch_rows: None,
            caches: None,
            upcoming: Arc::default(),
        }
    }

    /// Whether chunks are read, if there are any.
    pub(super) fn reads_chunks(&self) -> bool {
        self.caches.is_some()
    }

    /// The same for a run that begins: with its values, and nothing counted yet.
    pub(super) fn renewed(&self) -> DfResult<Self> {
        let own = &self.parquet;
        let mut parquet = ParquetSource::new(own.table_schema().clone())
            .with_table_parquet_options(own.table_parquet_options().clone());
        if let Some(factory) = own.parquet_file_reader_factory() {
            parquet = parquet.with_parquet_file_reader_factory(Arc::clone(factory));
        }
        if let Some(predicate) = own.filter() {
            parquet = parquet.with_predicate(settled(predicate)?);
        }
        let renewed = match own.projection() {
            Some(projection) => {
                let projection = projection.clone().try_map_exprs(settled)?;
                parquet.try_pushdown_projection(&projection)?
            }
            None => None,
        };
        let renewed = self.over(&renewed.unwrap_or_else(|| Arc::new(parquet)))?;
        Ok(Self {
            upcoming: Arc::new(self.upcoming.anew()),
            ..renewed
        })
    }

    /// The same over what Parquet's source became.
    fn over(&self, source: &Arc<dyn FileSource>) -> DfResult<Self> {
        let parquet = source.downcast_ref::<ParquetSource>();
        let mut parquet = parquet
            .ok_or_else(|| Error::internal("a source of Parquet files became another one"))?
            .clone();
        if let Some(predicate) = parquet.filter() {
            // Planning and pushing down may both have brought a condition. Whether the reader takes it, it has said.
            let mut once: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
            for condition in split_conjunction(&predicate) {
                if !once.contains(condition) {
                    once.push(Arc::clone(condition));
                }
            }
            parquet = parquet.with_predicate(conjunction(once));
        }
        Ok(Self {
            parquet,
            batch_rows: self.batch_rows,
            caches: self.caches.clone(),
            upcoming: Arc::default(),
        })
    }
}

impl FileSource for ChunkSource {
    fn create_file_opener(
        &self,
        object_store: Arc<dyn ObjectStore>,
        base_config: &FileScanConfig,
        partition: usize,
    ) -> DfResult<Arc<dyn FileOpener>> {
        let open_parquet = self.open_parquet(object_store, base_config, partition)?;
        let Some(caches) = &self.caches else {
            return Ok(Arc::new(DirectOpener(open_parquet)));
        };
        self.upcoming.of(base_config);
        let adapters = base_config.expr_adapter_factory.clone();
        let part = ScanPart {
            caches: Arc::clone(caches),
            table: self.parquet.table_schema().clone(),
            adapters: adapters.ok_or_else(|| Error::internal("a scan of tables has no adapters"))?,
            projection: self
                .parquet
                .projection()
                .cloned()
                .unwrap_or_else(|| ProjectionExprs::new([])),
            predicate: self.parquet.filter(),
            limit: base_config.limit,
            batch_rows: self
                .batch_rows
                .ok_or_else(|| Error::internal("a scan has no batch size"))?,
            partition,
            open_parquet,
            upcoming: Arc::clone(&self.upcoming),
        };
        Ok(Arc::new(ChunkOpener::new(part, self.parquet.metrics())))
    }

    fn table_schema(&self) -> &TableSchema {
        self.parquet.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        let source = self.parquet.with_batch_size(batch_size);
        let parquet = source.downcast_ref::<ParquetSource>().unwrap_or(&self.parquet);
        Arc::new(Self {
            parquet: parquet.clone(),
            batch_rows: Some(batch_size),
            caches: self.caches.clone(),
            upcoming: Arc::clone(&self.upcoming),
        })
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.parquet.filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.parquet.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.parquet.metrics()
    }

    fn file_type(&self) -> &str {
        self.parquet.file_type()
    }

    fn fmt_extra(&self, t: DisplayFormatType, f: &mut Formatter<'_>) -> std::fmt::Result {
        self.parquet.fmt_extra(t, f)
    }

    /// Takes what never fails; the rest has to be asked after what stands before it. Parquet's reader says itself what it takes.
    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> DfResult<FilterPushdownPropagation<Arc<dyn FileSource>>> {
        let taken: Vec<bool> = filters
            .iter()
            .map(|filter| !self.reads_chunks() || never_fails(filter))
            .collect();
        let harmless = filters.iter().zip(&taken).filter(|(_, taken)| **taken);
        let harmless = harmless.map(|(filter, _)| Arc::clone(filter)).collect();
        let pushed = self.parquet.try_pushdown_filters(harmless, config)?;
        let mut answers = pushed.filters.into_iter();
        let filters = taken.into_iter().map(|taken| match taken {
            true => answers.next().unwrap_or(PushedDown::No),
            false => PushedDown::No,
        });
        let result = FilterPushdownPropagation::with_parent_pushdown_result(filters.collect());
        Ok(match pushed.updated_node {
            Some(source) => result.with_updated_node(Arc::new(self.over(&source)?) as _),
            None => result,
        })
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> DfResult<Option<Arc<dyn FileSource>>> {
        let source = self.parquet.try_pushdown_projection(projection)?;
        source
            .map(|source| Ok(Arc::new(self.over(&source)?) as Arc<dyn FileSource>))
            .transpose()
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
        eq_properties: &EquivalenceProperties,
    ) -> DfResult<SortOrderPushdownResult<Arc<dyn FileSource>>> {
        Ok(match self.parquet.try_pushdown_sort(order, eq_properties)? {
            SortOrderPushdownResult::Exact { inner } => SortOrderPushdownResult::Exact {
                inner: Arc::new(self.over(&inner)?),
            },
            // Files and row groups are read in a better order; the rows are sorted all the same.
            SortOrderPushdownResult::Inexact { inner } => SortOrderPushdownResult::Inexact {
                inner: Arc::new(self.over(&inner)?),
            },
            SortOrderPushdownResult::Unsupported => SortOrderPushdownResult::Unsupported,
        })
    }

    fn reorder_files(&self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        self.parquet.reorder_files(files)
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        self.parquet.apply_expressions(f)
    }
}

impl ChunkSource {
    fn open_parquet(
        &self,
        object_store: Arc<dyn ObjectStore>,
        base_config: &FileScanConfig,
        partition: usize,
    ) -> DfResult<OpenParquet> {
        let morselizer = self.parquet.create_morselizer(object_store, base_config, partition)?;
        Ok(Box::new(move |file| {
            let location = location_of(&file);
            let planners = VecDeque::from([morselizer.plan_file(file)?]);
            let open: VecDeque<BoxStream<'static, DfResult<RecordBatch>>> = VecDeque::new();
            let batches = stream::try_unfold((planners, open), |(mut planners, mut open)| async move {
                loop {
                    if let Some(batches) = open.front_mut() {
                        match batches.try_next().await? {
                            Some(batch) => return Ok(Some((batch, (planners, open)))),
                            None => drop(open.pop_front()),
                        }
                    } else if let Some(planner) = planners.pop_front() {
                        let Some(mut plan) = planner.plan()? else {
                            continue;
                        };
                        open.extend(plan.take_morsels().into_iter().map(|morsel| morsel.into_stream()));
                        planners.extend(plan.take_ready_planners());
                        if let Some(pending) = plan.take_pending_planner() {
                            planners.push_back(pending.await?);
                        }
                    } else {
                        return Ok(None);
                    }
                }
            });
            Ok(decoding_stream(batches.boxed(), location))
        }))
    }
}

/// Leaves each file to Parquet's own reader.
struct DirectOpener(OpenParquet);

impl FileOpener for DirectOpener {
    fn open(&self, file: PartitionedFile) -> DfResult<FileOpenFuture> {
        let batches = (self.0)(file)?;
        Ok(Box::pin(async move { Ok(batches) }))
    }
}

#[cfg(test)]
mod tests;
