//! `staffa.table_changes('t', from, to)`: the rows that came and went, snapshot by snapshot.
//!
//! ```text
//! scan of files, each with the number of its change  ⋈  (number, _change_type, _commit_snapshot_id, _commit_timestamp)
//! ```
//!
//! What a snapshot did is the difference of its file list and its parent's: of a new file the rows alive in it came, of a
//! file that is gone the rows that were alive in it went, and of a file in both those went that only the newer one has
//! deleted. A snapshot of operation `replace` moved rows and changed none, so it is left out.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Int32Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{Column, DFSchema, JoinType, Result as DataFusionResult, TableReference};
use datafusion::datasource::{MemTable, TableProvider, TableType, ViewTable, provider_as_source};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, TableProviderFilterPushDown, TableSource};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use roaring::RoaringTreemap;
use staffa_catalog::{LiveFile, SnapshotInfo, SqlType, Table, TableVersionSpec};
use staffa_storage::{ParquetScan, RowAddress, ScanFile, ScanOptions, ScanRequest, without_field_ids};

use crate::context::PlanContext;
use crate::error::{Error, ErrorKind, Result};
use crate::reads::ReadLog;
use crate::resolve::version::Point;
use crate::table_provider::{ADDRESS_FILE, ADDRESS_POSITION, scan_file};
use crate::types::{arrow_field, table_arrow_schema};

const KIND: &str = "_change_type";
const SNAPSHOT: &str = "_commit_snapshot_id";
const TIME: &str = "_commit_timestamp";

/// Rows that came or went with a snapshot.
struct Change {
    kind: &'static str,
    snapshot_id: i64,
    committed_ms: i64,
}

/// The relation. `from` is excluded, NULL the beginning; `to` is included, NULL the newest.
pub(super) async fn source(
    context: &PlanContext,
    table: &Arc<Table>,
    from: Point,
    to: Point,
) -> Result<Arc<dyn TableSource>> {
    let schema = table_arrow_schema(table.schema(), &context.time_zone);
    if let Some(taken) = [KIND, SNAPSHOT, TIME]
        .into_iter()
        .find(|name| schema.index_of(name).is_ok())
    {
        let message = format!("table \"{}\" has a column \"{taken}\" of its own", table.name().name);
        return Err(Error::new(ErrorKind::DuplicateColumn, message));
    }
    let mut changes = Vec::new();
    let mut files = Vec::new();
    if !matches!(from, Point::Unknown) && !matches!(to, Point::Unknown) {
        for snapshot in between(table, &from, &to)? {
            add_changes(context, table, &schema, &snapshot, &mut changes, &mut files).await?;
        }
    }
    // Another one may be the newest at the end of the transaction.
    let is_present = match &to {
        Point::Given(version) => table.is_present(version)?,
        Point::Null | Point::Unknown => true,
    };
    let rows = ChangedRows::new(schema, files, Arc::clone(&context.scan), is_present.then_some(table));
    relation(context, rows, &changes)
}

/// The snapshots that made `to` out of `from`, oldest first.
fn between(table: &Table, from: &Point, to: &Point) -> Result<Vec<SnapshotInfo>> {
    let id = |point: &Point| match point {
        Point::Given(version) => Ok::<_, Error>(Some(table.snapshot_of(version)?)),
        Point::Null | Point::Unknown => Ok(None),
    };
    let from = id(from)?;
    let mut all: HashMap<i64, SnapshotInfo> = table.snapshots()?.into_iter().map(|it| (it.id, it)).collect();
    let mut found = Vec::new();
    let mut next = match id(to)? {
        Some(id) => Some(id),
        None => table.snapshot_id(),
    };
    while next != from {
        let Some(id) = next else {
            let from = from.unwrap_or_default();
            let message = format!(
                "snapshot {from} of table \"{}\" is not an ancestor of the end of the range",
                table.name().name
            );
            return Err(Error::new(ErrorKind::InvalidParameterValue, message)
                .with_hint("staffa.history('table') shows which snapshots lead to the present one."));
        };
        // Taken out, so that a damaged chain cannot lead here again.
        let snapshot = all.remove(&id).ok_or_else(|| {
            let message = format!("snapshot {id} of table \"{}\" has expired", table.name().name);
            Error::new(ErrorKind::InvalidParameterValue, message)
                .with_detail("What it changed is not known any more.")
                .with_hint("staffa.snapshots('table') shows what is left.")
        })?;
        next = snapshot.parent_id;
        found.push(snapshot);
    }
    found.reverse();
    Ok(found)
}

async fn add_changes(
    context: &PlanContext,
    table: &Table,
    schema: &SchemaRef,
    snapshot: &SnapshotInfo,
    changes: &mut Vec<Change>,
    files: &mut Vec<ScanFile>,
) -> Result<()> {
    if snapshot.operation == "replace" {
        return Ok(());
    }
    let now = table.at(&TableVersionSpec::Snapshot(snapshot.id))?.files().await?;
    let before = match snapshot.parent_id {
        Some(parent) => table.at(&TableVersionSpec::Snapshot(parent))?.files().await?,
        None => Arc::default(),
    };
    let known: HashMap<&str, &Arc<LiveFile>> = before.iter().map(|file| (file.location.as_str(), file)).collect();
    let mut number = |kind| -> Result<i32> {
        let number = i32::try_from(changes.len()).map_err(|_| Error::internal("2^31 changes"))?;
        changes.push(Change {
            kind,
            snapshot_id: snapshot.id,
            committed_ms: snapshot.committed_ms,
        });
        Ok(number)
    };
    let (deleted, inserted) = (number("delete")?, number("insert")?);
    let kept: HashMap<&str, &Arc<LiveFile>> = now.iter().map(|file| (file.location.as_str(), file)).collect();
    for file in before.iter().filter(|file| !kept.contains_key(file.location.as_str())) {
        files.push(scan_file(&context.scan, table, schema, file, deleted).await?);
    }
    for file in now.iter() {
        match known.get(file.location.as_str()) {
            None => files.push(scan_file(&context.scan, table, schema, file, inserted).await?),
            Some(old) if !same_deletes(old, file) => {
                let old = scan_file(&context.scan, table, schema, old, deleted).await?;
                let new = scan_file(&context.scan, table, schema, file, deleted).await?;
                files.extend(rows_gone(&old, new));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn same_deletes(a: &LiveFile, b: &LiveFile) -> bool {
    a.deletes.len() == b.deletes.len() && a.deletes.iter().zip(&b.deletes).all(|(a, b)| a == b)
}

/// A scan of just the rows that only the newer state has deleted; `None` when there are none.
fn rows_gone(old: &ScanFile, new: ScanFile) -> Option<ScanFile> {
    let empty = RoaringTreemap::new();
    let deleted = |file: &ScanFile| file.deleted.clone();
    let (before, now) = (deleted(old), deleted(&new));
    let mut gone = now.as_deref().unwrap_or(&empty) - before.as_deref().unwrap_or(&empty);
    gone.remove_range(new.row_count..);
    if gone.is_empty() {
        return None;
    }
    let mut others = RoaringTreemap::new();
    others.insert_range(0..new.row_count);
    others -= gone;
    Some(ScanFile {
        deleted: Some(Arc::new(others)),
        // Those of all its rows.
        statistics: None,
        ..new
    })
}

fn relation(context: &PlanContext, rows: ChangedRows, changes: &[Change]) -> Result<Arc<dyn TableSource>> {
    let zone = &context.time_zone;
    let kinds = Arc::new(Schema::new(vec![
        Field::new(ADDRESS_FILE, DataType::Int32, false),
        arrow_field(KIND, &SqlType::Text, true, zone),
        arrow_field(SNAPSHOT, &SqlType::BigInt, true, zone),
        arrow_field(TIME, &SqlType::TimestampTz, true, zone),
    ]));
    let times = changes.iter().map(|change| change.committed_ms.saturating_mul(1000));
    let batch = RecordBatch::try_new(
        Arc::clone(&kinds),
        vec![
            Arc::new(Int32Array::from_iter_values(
                0..i32::try_from(changes.len()).unwrap_or(i32::MAX),
            )),
            Arc::new(StringViewArray::from_iter_values(
                changes.iter().map(|change| change.kind),
            )),
            Arc::new(Int64Array::from_iter_values(
                changes.iter().map(|change| change.snapshot_id),
            )),
            Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone(zone.as_str())),
        ],
    )?;
    let columns: Vec<String> = rows
        .table_schema
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let kinds = Arc::new(MemTable::try_new(kinds, vec![vec![batch]])?);
    let (left, right) = (TableReference::bare("rows"), TableReference::bare("kinds"));
    let key = |side: &TableReference| Column::new(Some(side.clone()), ADDRESS_FILE);
    let changes = LogicalPlanBuilder::scan(right.clone(), provider_as_source(kinds), None)?.build()?;
    let shown = columns
        .iter()
        .map(|name| Expr::Column(Column::new(Some(left.clone()), name)).alias(name))
        .chain([KIND, SNAPSHOT, TIME].map(|name| Expr::Column(Column::new(Some(right.clone()), name)).alias(name)));
    let plan = LogicalPlanBuilder::scan(left.clone(), provider_as_source(Arc::new(rows)), None)?
        .join(changes, JoinType::Inner, (vec![key(&left)], vec![key(&right)]), None)?
        .project(shown.collect::<Vec<_>>())?
        .build()?;
    Ok(provider_as_source(Arc::new(ViewTable::new(plan, None))))
}

/// Rows of files, each with the number of its change.
#[derive(Debug)]
struct ChangedRows {
    /// The table's columns, and those of a row's address.
    schema: SchemaRef,
    table_schema: SchemaRef,
    files: Vec<ScanFile>,
    scan: Arc<ParquetScan>,
    /// The table, when they end with its present state.
    present: Option<Arc<Table>>,
}

impl ChangedRows {
    fn new(
        table_schema: SchemaRef,
        files: Vec<ScanFile>,
        scan: Arc<ParquetScan>,
        present: Option<&Arc<Table>>,
    ) -> Self {
        let address = [
            Field::new(ADDRESS_FILE, DataType::Int32, false),
            Field::new(ADDRESS_POSITION, DataType::Int64, false),
        ];
        let own = without_field_ids(&table_schema);
        let fields = own.fields().iter().cloned().chain(address.map(Arc::new));
        Self {
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            table_schema,
            files,
            scan,
            present: present.cloned(),
        }
    }
}

#[async_trait]
impl TableProvider for ChangedRows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let log = state.config().get_extension::<ReadLog>();
        if let (Some(log), Some(table)) = (log, &self.present) {
            log.all(table);
        }
        if self.files.is_empty() {
            let schema = match projection {
                Some(projection) => Arc::new(self.schema.project(projection)?),
                None => Arc::clone(&self.schema),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let predicate = match conjunction(filters.to_vec()) {
            Some(filter) => {
                let schema = DFSchema::try_from(Arc::clone(&self.schema))?;
                Some(state.create_physical_expr(filter, &schema)?)
            }
            None => None,
        };
        let parquet = &state.config_options().execution.parquet;
        let request = ScanRequest {
            table_schema: Arc::clone(&self.table_schema),
            files: self.files.clone(),
            projection: projection.cloned(),
            predicate,
            limit,
            address: Some(RowAddress {
                file: ADDRESS_FILE.to_owned(),
                position: ADDRESS_POSITION.to_owned(),
            }),
            target_partitions: state.config().target_partitions(),
            output_ordering: Vec::new(),
            options: ScanOptions {
                pushdown_filters: parquet.pushdown_filters,
                reorder_filters: parquet.reorder_filters,
            },
            sample: None,
        };
        self.scan.plan(request).map_err(|error| Error::from(error).into())
    }
}
