//! A table of the catalog as DataFusion reads it: the only meeting place of a snapshot's file list and a reader of files.
//!
//! The list of files is loaded when the name is resolved, so a plan reads exactly the version it was planned with. Filters
//! prune whole files here (`table_provider/prune.rs`); row groups and rows are storage's.

mod prune;
mod statistics;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, Result as DataFusionResult, Statistics};
use datafusion::datasource::{TableProvider, TableType};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use staffa_catalog::{DataFile, Table};
use staffa_storage::{FileDescription, ParquetScan, ScanFile, ScanOptions, ScanRequest};

use crate::context::PlanContext;
use crate::error::{Error, ErrorKind, Result};
use crate::scan_report::{ScanReport, ScanReports};
use crate::types::table_arrow_schema;

/// One version of a table, with its files.
#[derive(Debug)]
pub(crate) struct StaffaTable {
    table: Arc<Table>,
    schema: SchemaRef,
    files: Arc<Vec<Arc<DataFile>>>,
    scan: Arc<ParquetScan>,
    reports: ScanReports,
}

impl StaffaTable {
    /// Loads the table's file list.
    pub(crate) async fn open(context: &PlanContext, table: Arc<Table>) -> Result<Self> {
        let files = table.files().await?;
        let schema = table_arrow_schema(table.schema(), &context.time_zone);
        Ok(Self {
            table,
            schema,
            files,
            scan: Arc::clone(&context.scan),
            reports: context.reports.clone(),
        })
    }

    pub(crate) fn table(&self) -> &Arc<Table> {
        &self.table
    }

    fn scan_file(&self, file: &DataFile) -> ScanFile {
        ScanFile {
            location: file.location.clone(),
            size_bytes: file.size_bytes,
            row_count: file.row_count,
            statistics: Some(Arc::new(statistics::of_file(&self.table, &self.schema, file))),
            constants: statistics::constants(&self.table, &self.schema, file),
        }
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
        let predicate = match conjunction(filters.to_vec()) {
            Some(filter) => {
                let schema = DFSchema::try_from(Arc::clone(&self.schema))?;
                Some(state.create_physical_expr(filter, &schema)?)
            }
            None => None,
        };
        let pruned = prune::prune(&self.table, &self.schema, &self.files, predicate.as_ref())?;
        self.reports.push(ScanReport {
            table: self.table.name().clone(),
            files_total: self.files.len(),
            files_read: pruned.files.len(),
            bytes_total: self.files.iter().map(|file| file.size_bytes).sum(),
            bytes_read: pruned.files.iter().map(|file| file.size_bytes).sum(),
            rows_read: pruned.files.iter().map(|file| file.row_count).sum(),
            pruned_by_partition: pruned.by_partition,
            pruned_by_statistics: pruned.by_statistics,
            directory: directory(self.table.location()),
        });
        if pruned.files.is_empty() {
            let schema = match projection {
                Some(projection) => Arc::new(self.schema.project(projection)?),
                None => Arc::clone(&self.schema),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let parquet = &state.config_options().execution.parquet;
        let request = ScanRequest {
            table_schema: Arc::clone(&self.schema),
            files: pruned.files.iter().map(|file| self.scan_file(file)).collect(),
            projection: projection.cloned(),
            predicate,
            limit,
            target_partitions: state.config().target_partitions(),
            output_ordering: Vec::new(),
            options: ScanOptions {
                pushdown_filters: parquet.pushdown_filters,
                reorder_filters: parquet.reorder_filters,
            },
        };
        self.scan.plan(request).map_err(|error| Error::from(error).into())
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
    if !context.allow_files {
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
        Arc::clone(&self.description.schema)
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
        let schema = &self.description.schema;
        let predicate = match conjunction(filters.to_vec()) {
            Some(filter) => {
                let schema = DFSchema::try_from(Arc::clone(schema))?;
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
