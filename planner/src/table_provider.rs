//! A table of the catalog as DataFusion reads it: the only meeting place of a snapshot's file list and a reader of files.
//!
//! The list of files is loaded when the name is resolved, so a plan reads exactly the version it was planned with. Filters
//! prune whole files here (`table_provider/prune.rs`); row groups and rows are storage's.

mod covered;
mod prune;
mod sample;
mod secured;
mod statistics;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, Result as DataFusionResult, Statistics};
use datafusion::datasource::{TableProvider, TableType};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::{PhysicalExpr, conjunction_opt, split_conjunction};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use futures::stream::{self, StreamExt, TryStreamExt};
use staffa_catalog::{DeleteContent, DeleteFile, LiveFile, Table};
use staffa_storage::{
    FileDescription, ParquetScan, RowAddress, RowDeletes, ScanFile, ScanOptions, ScanRequest, has_parameter,
    without_field_ids,
};

pub(crate) use self::covered::without_covered_files;
pub(crate) use self::sample::WantsSamples;
pub use self::sample::{sample_to_keep, table_summary};
pub(crate) use self::secured::SecuredTable;
use crate::authorize::Readable;
use crate::context::PlanContext;
use crate::error::{Error, ErrorKind, Result};
use crate::reads::ReadLog;
use crate::scan_report::{ScanReport, ScanReports};
use crate::statement::materialized::check_populated;
use crate::types::table_arrow_schema;

/// Names of the columns of a row's address. No statement can write them: no text has this character.
pub(crate) const ADDRESS_FILE: &str = "\u{1}file";
pub(crate) const ADDRESS_POSITION: &str = "\u{1}position";

/// How many delete files are read at once.
const DELETE_READS_MAX: usize = 16;

/// One version of a table, with its files.
#[derive(Debug)]
pub(crate) struct StaffaTable {
    table: Arc<Table>,
    /// The table's own columns, with field ids.
    stored: SchemaRef,
    /// What queries see.
    schema: SchemaRef,
    files: Arc<Vec<Arc<LiveFile>>>,
    /// Whether rows come with their addresses: the target of UPDATE, DELETE and MERGE.
    addressed: bool,
    /// Numbers of files that are not read.
    skipped: Arc<HashSet<usize>>,
    /// Whether these are the rows of today: not an older state, and not some files of it.
    is_current: bool,
    scan: Arc<ParquetScan>,
    /// `None`: all columns may be read.
    readable: Option<Readable>,
}

impl StaffaTable {
    /// Loads the table's file list.
    pub(crate) async fn open(context: &PlanContext, table: Arc<Table>) -> Result<Self> {
        Self::load(context, table, false).await
    }

    /// A state of a table that was asked for. An older one nobody changes any more; the newest may be another one at the end
    /// of the transaction.
    pub(crate) async fn open_version(context: &PlanContext, table: Arc<Table>, is_present: bool) -> Result<Self> {
        let mut opened = Self::load(context, table, false).await?;
        opened.is_current = is_present;
        Ok(opened)
    }

    /// The same with two more columns that say where each row lies: the file's number in the list, and the position in it.
    pub(crate) async fn open_addressed(context: &PlanContext, table: Arc<Table>) -> Result<Self> {
        Self::load(context, table, true).await
    }

    async fn load(context: &PlanContext, table: Arc<Table>, addressed: bool) -> Result<Self> {
        let files = table.files().await?;
        let stored = table_arrow_schema(table.schema(), &context.time_zone);
        let mut schema = without_field_ids(&stored);
        if addressed {
            let address = [
                Field::new(ADDRESS_FILE, DataType::Int32, false),
                Field::new(ADDRESS_POSITION, DataType::Int64, false),
            ];
            let fields = schema.fields().iter().cloned().chain(address.map(Arc::new));
            schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        }
        Ok(Self {
            // What a statement reads of its target is checked by what it says.
            readable: match addressed {
                true => None,
                false => Readable::of(context, &table),
            },
            addressed,
            skipped: Arc::default(),
            is_current: true,
            table,
            stored,
            schema,
            files,
            scan: Arc::clone(&context.scan),
        })
    }

    /// The same without some files, whose numbers others keep.
    fn without(&self, skipped: &Arc<HashSet<usize>>) -> Self {
        Self {
            table: Arc::clone(&self.table),
            stored: Arc::clone(&self.stored),
            schema: Arc::clone(&self.schema),
            files: Arc::clone(&self.files),
            readable: self.readable.clone(),
            addressed: self.addressed,
            skipped: Arc::clone(skipped),
            is_current: self.is_current,
            scan: Arc::clone(&self.scan),
        }
    }

    /// Some files of a table, with the rows that they have after deletes of the caller's, who writes them again.
    pub(crate) fn of_files(context: &PlanContext, table: Arc<Table>, files: Vec<Arc<LiveFile>>) -> Self {
        let stored = table_arrow_schema(table.schema(), &context.time_zone);
        Self {
            schema: without_field_ids(&stored),
            stored,
            table,
            files: Arc::new(files),
            readable: None,
            addressed: false,
            skipped: Arc::default(),
            is_current: false,
            scan: Arc::clone(&context.scan),
        }
    }

    /// The same with all columns for whoever takes them, and which of them the role may read.
    pub(crate) fn unrestricted(mut self) -> (Self, Option<Readable>) {
        let readable = self.readable.take();
        (self, readable)
    }

    pub(crate) fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Whether these are the rows of today.
    pub(crate) fn is_current(&self) -> bool {
        self.is_current
    }

    /// Whether all of it may be read by whoever the plan is made for.
    pub(crate) fn is_for_all(&self) -> bool {
        self.readable.is_none() && !self.addressed && self.skipped.is_empty()
    }

    /// Every file of the version, in the order of the files' numbers.
    pub(crate) fn files(&self) -> &Arc<Vec<Arc<LiveFile>>> {
        &self.files
    }

    async fn scan_files(&self, files: &[Arc<LiveFile>]) -> Result<Vec<ScanFile>> {
        let numbers: HashMap<&str, usize> = match self.addressed {
            true => {
                let files = self.files.iter().enumerate();
                files.map(|(number, file)| (file.location.as_str(), number)).collect()
            }
            false => HashMap::new(),
        };
        let reads: Vec<_> = files
            .iter()
            .map(|file| {
                let number = numbers.get(file.location.as_str()).copied().unwrap_or(0);
                async move {
                    let number = i32::try_from(number).map_err(|_| Error::internal("a table of 2^31 files"))?;
                    scan_file(&self.scan, &self.table, &self.stored, file, number).await
                }
            })
            .collect();
        stream::iter(reads).buffered(DELETE_READS_MAX).try_collect().await
    }
}

#[async_trait]
impl TableProvider for StaffaTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Files and row groups are pruned by bounds, which leaves rows that do not pass: the filter stays above the scan.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    fn statistics(&self) -> Option<Statistics> {
        Some(statistics::of_files(&self.table, &self.schema, &self.files))
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        check_populated(&self.table)?;
        if let Some(readable) = &self.readable {
            let index_of = |name: &str| self.schema.index_of(name).ok();
            readable.check(projection, filters, self.schema.fields().len(), index_of)?;
        }
        let predicate = match conjunction(filters.to_vec()) {
            Some(filter) => {
                let schema = DFSchema::try_from(Arc::clone(&self.schema))?;
                Some(state.create_physical_expr(filter, &schema)?)
            }
            None => None,
        };
        if let Some(log) = state.config().get_extension::<ReadLog>().filter(|_| self.is_current) {
            log.scan(&self.table, &self.stored, predicate.as_ref());
        }
        let read: Vec<Arc<LiveFile>>;
        let files = match self.skipped.is_empty() {
            true => self.files.as_slice(),
            false => {
                let files = self.files.iter().enumerate();
                let files = files.filter(|(number, _)| !self.skipped.contains(number));
                read = files.map(|(_, file)| Arc::clone(file)).collect();
                &read
            }
        };
        let pruned = prune::prune(&self.table, &self.stored, files, known_now(predicate.as_ref()).as_ref())?;
        if let Some(reports) = state.config().get_extension::<ScanReports>() {
            reports.push(ScanReport {
                table: self.table.name().clone(),
                files_total: self.files.len(),
                files_read: pruned.files.len(),
                bytes_total: self.files.iter().map(|file| file.size_bytes).sum(),
                bytes_read: pruned.files.iter().map(|file| file.size_bytes).sum(),
                rows_read: pruned.files.iter().map(|file| file.row_count).sum(),
                pruned_by_partition: pruned.by_partition,
                pruned_by_statistics: pruned.by_statistics,
                directory: directory(self.table.location()),
            })?;
        }
        if pruned.files.is_empty() {
            let schema = match projection {
                Some(projection) => Arc::new(self.schema.project(projection)?),
                None => Arc::clone(&self.schema),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let sample = match state.config().get_extension::<WantsSamples>() {
            Some(_) => self.sample().await,
            None => None,
        };
        let parquet = &state.config_options().execution.parquet;
        let request = ScanRequest {
            files: self.scan_files(&pruned.files).await?,
            table_schema: Arc::clone(&self.stored),
            projection: projection.cloned(),
            predicate,
            limit,
            address: self.addressed.then(|| RowAddress {
                file: ADDRESS_FILE.to_owned(),
                position: ADDRESS_POSITION.to_owned(),
            }),
            target_partitions: state.config().target_partitions(),
            output_ordering: Vec::new(),
            options: ScanOptions {
                pushdown_filters: parquet.pushdown_filters,
                reorder_filters: parquet.reorder_filters,
            },
            sample,
        };
        let planned = self.scan.plan(request);
        planned.map_err(|error| self.named_here(Error::from(error)).into())
    }
}

impl StaffaTable {
    /// The error of a file of this table: where the name of the file is wrong, it tells nothing of the table.
    fn named_here(&self, error: Error) -> Error {
        let detail = error.detail().unwrap_or_default();
        let detail = format!(
            "{detail} It is a file of the table of \"{}\".",
            self.table.metadata_location()
        );
        error.with_detail(detail.trim_start())
    }
}

/// The conditions whose values are known before the plan runs.
fn known_now(predicate: Option<&Arc<dyn PhysicalExpr>>) -> Option<Arc<dyn PhysicalExpr>> {
    let predicate = predicate?;
    if !has_parameter(predicate) {
        return Some(Arc::clone(predicate));
    }
    let conditions = split_conjunction(predicate).into_iter();
    conjunction_opt(conditions.filter(|condition| !has_parameter(condition)).cloned())
}

/// A file as storage reads it: without the rows that are deleted.
pub(crate) async fn scan_file(
    scan: &ParquetScan,
    table: &Table,
    schema: &SchemaRef,
    file: &LiveFile,
    number: i32,
) -> Result<ScanFile> {
    let mut scanned = ScanFile {
        location: file.location.clone(),
        size_bytes: file.size_bytes,
        row_count: file.row_count,
        statistics: Some(Arc::new(statistics::of_file(table, schema, file))),
        constants: statistics::constants(table, schema, file),
        deleted: None,
        number,
    };
    let deletes: Vec<RowDeletes> = file.deletes.iter().map(|delete| row_deletes(delete)).collect();
    scanned.deleted = match (deletes.is_empty(), &file.own_deletes) {
        (true, own) => own.clone(),
        (false, None) => Some(scan.deleted_rows(schema, &scanned, &deletes).await?),
        (false, Some(own)) => {
            let known = scan.deleted_rows(schema, &scanned, &deletes).await?;
            Some(Arc::new(&*known | &**own))
        }
    };
    Ok(scanned)
}

/// The files that may hold a row for which the condition, over the table's columns, is true.
pub(crate) fn files_that_may_match(
    table: &Table,
    schema: &SchemaRef,
    files: &[Arc<LiveFile>],
    condition: &Arc<dyn PhysicalExpr>,
) -> Result<Vec<Arc<LiveFile>>> {
    Ok(prune::prune(table, schema, files, Some(condition))?.files)
}

/// The rows of a file that are not deleted.
pub async fn live_row_count(context: &PlanContext, table: &Table, file: &LiveFile) -> Result<u64> {
    if !file.has_deletes() {
        return Ok(file.row_count);
    }
    let schema = table_arrow_schema(table.schema(), &context.time_zone);
    Ok(scan_file(&context.scan, table, &schema, file, 0).await?.live_count())
}

/// The catalog's delete file in storage's words.
fn row_deletes(delete: &DeleteFile) -> RowDeletes {
    let location = delete.location.clone();
    match &delete.content {
        DeleteContent::Positions { .. } => RowDeletes::Positions { location },
        DeleteContent::Vector { offset, length, .. } => RowDeletes::Vector {
            location,
            offset: *offset,
            length: *length,
        },
        DeleteContent::Equality { field_ids } => RowDeletes::Equality {
            location,
            size_bytes: delete.size_bytes,
            row_count: delete.row_count,
            field_ids: field_ids.clone(),
        },
    }
}

/// A Parquet file named in FROM.
#[derive(Debug)]
struct UserFile {
    description: FileDescription,
    scan: Arc<ParquetScan>,
}

/// Opens `FROM 'file.parquet'`.
///
/// Errors: `InsufficientPrivilege` unless the session may open files and the location is in the allow-list.
pub(crate) async fn open_file(context: &PlanContext, location: &str) -> Result<Arc<dyn TableProvider>> {
    if !context.allow_files || !context.authority.is_superuser() {
        return Err(
            Error::new(ErrorKind::InsufficientPrivilege, "permission denied to read files")
                .with_detail("Only a session inside the process of the warehouse may read files.")
                .with_hint("Load the data with COPY … FROM STDIN, or open the warehouse embedded."),
        );
    }
    let description = context.scan.describe(location).await?;
    Ok(Arc::new(UserFile {
        description,
        scan: Arc::clone(&context.scan),
    }))
}

#[async_trait]
impl TableProvider for UserFile {
    fn schema(&self) -> SchemaRef {
        without_field_ids(&self.description.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    fn statistics(&self) -> Option<Statistics> {
        Some((*self.description.statistics).clone())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let predicate = match conjunction(filters.to_vec()) {
            Some(filter) => {
                let schema = DFSchema::try_from(self.schema())?;
                Some(state.create_physical_expr(filter, &schema)?)
            }
            None => None,
        };
        let parquet = &state.config_options().execution.parquet;
        let options = ScanOptions {
            pushdown_filters: parquet.pushdown_filters,
            reorder_filters: parquet.reorder_filters,
        };
        self.scan
            .plan_file(
                &self.description,
                projection.cloned(),
                predicate,
                limit,
                state.config().target_partitions(),
                options,
            )
            .map_err(|error| Error::from(error).into())
    }
}

/// The path of a location inside its store.
fn directory(location: &str) -> String {
    let path = match location.split_once("://") {
        Some(("file", path)) => path,
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => location,
    };
    format!("{}/", path.trim_matches('/'))
}

/// The positions of columns by field id, top level only: partition and sort sources are always there.
pub(crate) fn positions_by_id(table: &Table) -> HashMap<i32, usize> {
    table
        .schema()
        .columns
        .iter()
        .enumerate()
        .map(|(index, column)| (column.field_id, index))
        .collect()
}
