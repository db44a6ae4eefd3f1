//! Equality deletes: the positions of the rows of a data file that equal a row of the delete file in its columns.
//! Null equals null (spec section "Equality Delete Files").

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, Schema, SchemaRef};
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;
use roaring::RoaringTreemap;

use super::RowDeletes;
use crate::error::{Error, Result};
use crate::source::{ParquetScan, RowAddress, ScanFile, ScanOptions, ScanRequest};

pub(super) async fn positions(
    scan: &ParquetScan,
    table_schema: &SchemaRef,
    file: &ScanFile,
    delete: &RowDeletes,
) -> Result<RoaringTreemap> {
    let RowDeletes::Equality {
        location,
        size_bytes,
        row_count,
        field_ids,
    } = delete
    else {
        return Err(Error::internal("not an equality delete file"));
    };
    let schema = columns(table_schema, field_ids).map_err(|error| error.at(location.as_str()))?;
    let sorts = schema
        .fields()
        .iter()
        .map(|field| SortField::new(field.data_type().clone()));
    let converter = RowConverter::new(sorts.collect())?;

    let delete_file = ScanFile {
        location: location.clone(),
        size_bytes: *size_bytes,
        row_count: *row_count,
        statistics: None,
        constants: Default::default(),
        deleted: None,
        number: 0,
    };
    let mut deleted: HashSet<OwnedRow> = HashSet::new();
    for_each_batch(scan.plan(request(&schema, delete_file, None))?, |batch| {
        let rows = converter.convert_columns(batch.columns())?;
        deleted.extend(rows.iter().map(|row| row.owned()));
        Ok(())
    })
    .await?;

    let address = RowAddress {
        file: "\u{1}file".to_owned(),
        position: "\u{1}position".to_owned(),
    };
    let data_file = ScanFile {
        deleted: None,
        ..file.clone()
    };
    let mut found = RoaringTreemap::new();
    for_each_batch(scan.plan(request(&schema, data_file, Some(address)))?, |batch| {
        let values: Vec<ArrayRef> = batch.columns()[..schema.fields().len()].to_vec();
        let rows = converter.convert_columns(&values)?;
        let positions = batch.column(schema.fields().len() + 1).as_primitive::<Int64Type>();
        for (row, position) in rows.iter().zip(positions.values()) {
            if deleted.contains(&row.owned()) {
                found.insert(u64::try_from(*position).map_err(|_| Error::internal("a negative row position"))?);
            }
        }
        Ok(())
    })
    .await?;
    Ok(found)
}

/// The columns with these ids.
fn columns(table_schema: &SchemaRef, field_ids: &[i32]) -> Result<SchemaRef> {
    let mut fields = Vec::with_capacity(field_ids.len());
    for id in field_ids {
        let text = id.to_string();
        let found = table_schema
            .fields()
            .iter()
            .find(|field| field.metadata().get(crate::FIELD_ID_KEY) == Some(&text));
        match found {
            Some(field) if !field.data_type().is_nested() => fields.push(Arc::clone(field)),
            _ => {
                return Err(Error::unsupported(format!(
                    "equality deletes by field {id}, which is no column of the table any more or is nested, are not supported"
                )));
            }
        }
    }
    Ok(Arc::new(Schema::new(fields)))
}

fn request(schema: &SchemaRef, file: ScanFile, address: Option<RowAddress>) -> ScanRequest {
    ScanRequest {
        table_schema: Arc::clone(schema),
        // Statistics are those of the whole table's columns.
        files: vec![ScanFile {
            statistics: None,
            ..file
        }],
        projection: None,
        predicate: None,
        limit: None,
        address,
        target_partitions: 1,
        output_ordering: Vec::new(),
        options: ScanOptions::default(),
        sample: None,
    }
}

async fn for_each_batch(plan: Arc<dyn ExecutionPlan>, mut each: impl FnMut(RecordBatch) -> Result<()>) -> Result<()> {
    let mut batches = execute_stream(plan, Arc::new(TaskContext::default()))?;
    while let Some(batch) = batches.next().await {
        each(batch?)?;
    }
    Ok(())
}
