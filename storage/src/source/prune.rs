//! What the statistics of files and of their row groups leave out: those that no row of can pass.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::Result as DfResult;
use datafusion::common::pruning::PrunableStatistics;
use datafusion::common::stats::Precision;
use datafusion::datasource::listing::{FileRange, PartitionedFile};
use datafusion::datasource::physical_plan::ParquetFileMetrics;
use datafusion::datasource::physical_plan::parquet::{
    ParquetAccessPlan, ParquetRowSelection, RowGroupAccess, RowGroupAccessPlanFilter,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr_common::physical_expr::snapshot_generation;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use datafusion::physical_plan::metrics::Count;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

use super::reader::location_of;
use crate::chunk::BLOCK_ROWS;
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

/// The row groups of the file which may have rows that pass, with those of their rows that are this task's. `None`: none.
pub(super) fn row_groups(
    file: &PartitionedFile,
    footer: &ParquetMetaData,
    schema: &SchemaRef,
    pruning: Option<&PruningPredicate>,
    metrics: &ParquetFileMetrics,
) -> DfResult<Option<VecDeque<(usize, RowGroupAccess)>>> {
    let groups = footer.row_groups();
    let mut plan = match file.extension::<ParquetRowSelection>() {
        Some(rows) => {
            ParquetAccessPlan::try_new_from_overall_row_selection(rows.selection().clone(), groups).map_err(|_| {
                Error::corrupt("the file has another number of rows than its table").at(location_of(file).as_ref())
            })?
        }
        None => ParquetAccessPlan::new_all(groups.len()),
    };
    if let Some(range) = &file.range {
        for (number, group) in groups.iter().enumerate() {
            take_share(&mut plan, number, group, range, file.object_meta.size);
        }
    }
    let mut pruned = RowGroupAccessPlanFilter::new(plan);
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

/// Leaves of a row group the blocks that lie in a range of the file: so that the tasks that share a file share its row groups, too, which
/// may be few and large. Of two ranges that meet, one begins with the block after the other's last.
fn take_share(
    plan: &mut ParquetAccessPlan,
    number: usize,
    group: &RowGroupMetaData,
    range: &FileRange,
    file_bytes: u64,
) {
    let rows = usize::try_from(group.num_rows()).unwrap_or(0);
    let first = group.columns().first();
    let first = first.map_or(0, |column| {
        column
            .dictionary_page_offset()
            .unwrap_or_else(|| column.data_page_offset())
    });
    let [first, bytes] = [first, group.compressed_size()].map(|number| u64::try_from(number).unwrap_or(0));
    let rows_before = |place: i64| {
        let place = u64::try_from(place).unwrap_or(0);
        let within = place.saturating_sub(first);
        if within >= bytes && within > 0 || place >= file_bytes {
            return rows;
        }
        let share = u128::from(within) * rows as u128 / u128::from(bytes.max(1));
        usize::try_from(share).map_or(rows, |row| row / BLOCK_ROWS * BLOCK_ROWS)
    };
    let (start, end) = (rows_before(range.start), rows_before(range.end));
    if start >= end {
        plan.skip(number);
    } else if end - start < rows {
        plan.scan_selection(
            number,
            RowSelection::from_consecutive_ranges(std::iter::once(start..end), rows),
        );
    }
}

/// The file with all rows left out but these, as Parquet's own reader wants to be told: it knows of no parts of row groups.
pub(super) fn restricted(
    mut file: PartitionedFile,
    footer: &ParquetMetaData,
    access: &VecDeque<(usize, RowGroupAccess)>,
) -> PartitionedFile {
    if file.range.take().is_none() {
        return file;
    }
    let mut selectors = Vec::new();
    for (number, group) in footer.row_groups().iter().enumerate() {
        let rows = usize::try_from(group.num_rows()).unwrap_or(0);
        match access.iter().find(|(wanted, _)| *wanted == number) {
            Some((_, RowGroupAccess::Selection(selection))) => {
                selectors.extend(selection.iter().copied());
                let told: usize = selection.iter().map(|selector| selector.row_count).sum();
                selectors.push(RowSelector::skip(rows.saturating_sub(told)));
            }
            Some((_, RowGroupAccess::Scan)) => selectors.push(RowSelector::select(rows)),
            Some((_, RowGroupAccess::Skip)) | None => selectors.push(RowSelector::skip(rows)),
        }
    }
    file.with_extension(ParquetRowSelection::new(RowSelection::from(selectors)))
}
