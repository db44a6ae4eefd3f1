//! What the statistics of files and of their row groups leave out: those that no row of can pass.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::Result as DfResult;
use datafusion::common::pruning::PrunableStatistics;
use datafusion::common::stats::Precision;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileMetrics;
use datafusion::datasource::physical_plan::parquet::{
    ParquetAccessPlan, ParquetRowSelection, RowGroupAccess, RowGroupAccessPlanFilter,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr_common::physical_expr::snapshot_generation;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use datafusion::physical_plan::metrics::Count;
use parquet::file::metadata::ParquetMetaData;

use super::reader::location_of;
use crate::error::Error;

/// A scan's predicate, to be asked of the bounds of whole files. What can be asked is found out once, and again only when
/// a join has said more of the keys it wants.
pub(super) struct FilePruning {
    predicate: Option<Arc<dyn PhysicalExpr>>,
    /// Columns of the table that the predicate names.
    columns: Vec<usize>,
    schema: SchemaRef,
    errors: Count,
    /// As dynamic filters were at this generation.
    built: parking_lot::Mutex<Option<(u64, Option<Arc<PruningPredicate>>)>>,
}

impl FilePruning {
    /// `schema` has the columns that files may have.
    pub(super) fn new(predicate: Option<Arc<dyn PhysicalExpr>>, schema: SchemaRef, errors: Count) -> Self {
        let columns = predicate.iter().flat_map(collect_columns);
        Self {
            columns: columns.map(|column| column.index()).collect(),
            predicate,
            schema,
            errors,
            built: Default::default(),
        }
    }

    /// Whether a row of the file may pass, by what is known of the file before it is opened.
    pub(super) fn may_pass(&self, file: &PartitionedFile, metrics: &ParquetFileMetrics) -> bool {
        let (Some(statistics), Some(built)) = (&file.statistics, self.built()) else {
            return true;
        };
        let pruned = &metrics.files_ranges_pruned_statistics;
        let known = PrunableStatistics::new(vec![Arc::clone(statistics)], Arc::clone(&self.schema));
        let may_pass = match built.prune(&known) {
            Ok(files) => files.into_iter().any(|may_pass| may_pass),
            // Nothing can be said then.
            Err(_) => {
                self.errors.add(1);
                true
            }
        };
        match may_pass {
            true => pruned.add_matched(1),
            false => pruned.add_pruned(1),
        }
        may_pass
    }

    fn built(&self) -> Option<Arc<PruningPredicate>> {
        let predicate = self.predicate.as_ref()?;
        let generation = snapshot_generation(predicate);
        let mut built = self.built.lock();
        if let Some((known, pruning)) = &*built
            && *known == generation
        {
            return pruning.clone();
        }
        let pruning = pruning_predicate(predicate, &self.schema, &self.errors);
        *built = Some((generation, pruning.clone()));
        pruning
    }

    /// Whether the bounds of all columns that the predicate names are known of the file.
    pub(super) fn has_bounds(&self, file: &PartitionedFile) -> bool {
        let known = |precision: &Precision<_>| !matches!(precision, Precision::Absent);
        file.statistics.as_ref().is_some_and(|statistics| {
            let mut columns = self.columns.iter();
            columns.all(|column| {
                let column = statistics.column_statistics.get(*column);
                column.is_some_and(|column| known(&column.min_value) && known(&column.max_value))
            })
        })
    }
}

/// What a predicate asks of statistics; none when it asks nothing.
pub(super) fn pruning_predicate(
    predicate: &Arc<dyn PhysicalExpr>,
    schema: &SchemaRef,
    errors: &Count,
) -> Option<Arc<PruningPredicate>> {
    PruningPredicateBuilder::new()
        .with_file_schema(Arc::clone(schema))
        .with_error_counter(errors)
        .build(Arc::clone(predicate))
}

/// The row groups of the file, or of the range of it that is this task's, which may have rows that pass. `None`: none.
pub(super) fn row_groups(
    file: &PartitionedFile,
    footer: &ParquetMetaData,
    schema: &SchemaRef,
    pruning: Option<&PruningPredicate>,
    metrics: &ParquetFileMetrics,
) -> DfResult<Option<VecDeque<(usize, RowGroupAccess)>>> {
    let groups = footer.row_groups();
    let plan = match file.extension::<ParquetRowSelection>() {
        Some(rows) => {
            ParquetAccessPlan::try_new_from_overall_row_selection(rows.selection().clone(), groups).map_err(|_| {
                Error::corrupt("the file has another number of rows than its table").at(location_of(file).as_ref())
            })?
        }
        None => ParquetAccessPlan::new_all(groups.len()),
    };
    let mut pruned = RowGroupAccessPlanFilter::new(plan);
    if let Some(range) = &file.range {
        pruned.prune_by_range(groups, range);
    }
    if let Some(pruning) = pruning {
        let parquet = footer.file_metadata().schema_descr();
        pruned.prune_by_statistics(schema, parquet, groups, pruning, metrics);
    }
    let access = pruned.build().into_inner();
    let left: VecDeque<_> = access
        .into_iter()
        .enumerate()
        .filter(|(_, access)| access.should_scan())
        .collect();
    Ok((!left.is_empty()).then_some(left))
}
