//! A Parquet file that belongs to no table: what is in it, and a scan of it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Fields, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::stats::Precision;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::datasource::physical_plan::parquet::transform_schema_to_view;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};

use crate::error::{Error, Result};
use crate::footer::Footers;
use crate::object::Stores;
use crate::source::{ParquetScan, ScanFile, ScanOptions, ScanRequest, file_key};

/// What a Parquet file says of itself, as it was when it was opened.
#[derive(Debug, Clone)]
pub struct FileDescription {
    /// Its location as it was given.
    pub location: String,
    /// Its columns as a scan gives them; texts and binaries as views.
    pub schema: SchemaRef,
    /// Its rows.
    pub row_count: u64,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its statistics, for the planner.
    pub statistics: Arc<datafusion::common::Statistics>,
    /// Tells this content from a later one under the same name.
    version: String,
}

/// Opens a Parquet file inside the allow-list and reads its footer.
///
/// # Errors
/// [`crate::ErrorKind::Forbidden`], [`crate::ErrorKind::NotFound`], [`crate::ErrorKind::CorruptFile`], I/O errors.
pub async fn parquet_schema(stores: &Stores, location: &str) -> Result<FileDescription> {
    describe(stores, &Footers::new(0), location).await
}

async fn describe(stores: &Stores, footers: &Footers, location: &str) -> Result<FileDescription> {
    let (_, store, path) = stores.resolve(location)?;
    let meta = stores.head(location).await?;
    let version = format!(
        "{}-{}",
        meta.last_modified.timestamp_micros(),
        meta.e_tag.unwrap_or_default()
    );
    let key = file_key(location, Some(&version));
    let located = |e: Error| e.at(location);
    let footer = footers.get(&store, &path, &key, meta.size).await.map_err(located)?;
    let options = ArrowReaderOptions::new();
    let read = ArrowReaderMetadata::try_new(Arc::clone(&footer), options).map_err(|e| located(e.into()))?;
    let stored = Arc::new(transform_schema_to_view(read.schema()));
    let statistics = DFParquetMetadata::statistics_from_parquet_metadata(&footer, &stored);
    let mut statistics = statistics.map_err(|e| located(e.into()))?;
    let schema = without_small_unsigned(&stored);
    let columns = statistics.column_statistics.iter_mut();
    for (column, (before, after)) in columns.zip(stored.fields().iter().zip(schema.fields())) {
        if before.data_type() == after.data_type() {
            continue;
        }
        let cast = |value: &Precision<ScalarValue>| value.cast_to(after.data_type()).unwrap_or(Precision::Absent);
        column.min_value = cast(&column.min_value);
        column.max_value = cast(&column.max_value);
    }
    let rows = footer.file_metadata().num_rows();
    Ok(FileDescription {
        location: location.to_owned(),
        row_count: u64::try_from(rows).map_err(|_| located(Error::corrupt("its row count is negative")))?,
        size_bytes: meta.size,
        statistics: Arc::new(statistics),
        schema,
        version,
    })
}

/// Unsigned numbers of 32 bits as `bigint`: no table has the others, and in plans they are the numbers of objects.
fn without_small_unsigned(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(signed);
    Arc::new(Schema::new_with_metadata(
        fields.collect::<Fields>(),
        schema.metadata().clone(),
    ))
}

fn signed(field: &FieldRef) -> FieldRef {
    let ty = match field.data_type() {
        DataType::UInt32 => DataType::Int64,
        DataType::List(element) => DataType::List(signed(element)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(signed).collect()),
        _ => return Arc::clone(field),
    };
    Arc::new(field.as_ref().clone().with_data_type(ty))
}

impl ParquetScan {
    /// As [`parquet_schema`], with this scan's cache of footers.
    ///
    /// # Errors
    /// As [`parquet_schema`].
    pub async fn describe(&self, location: &str) -> Result<FileDescription> {
        describe(self.stores(), self.footers(), location).await
    }

    /// The operator that reads a file described before. `projection` and the columns of `predicate` are indexes into
    /// [`FileDescription::schema`].
    ///
    /// # Errors
    /// As [`ParquetScan::plan`].
    pub fn plan_file(
        &self,
        file: &FileDescription,
        projection: Option<Vec<usize>>,
        predicate: Option<Arc<dyn PhysicalExpr>>,
        limit: Option<usize>,
        target_partitions: usize,
        options: ScanOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let scanned = ScanFile {
            location: file.location.clone(),
            size_bytes: file.size_bytes,
            row_count: file.row_count,
            statistics: Some(Arc::clone(&file.statistics)),
            constants: HashMap::new(),
            deleted: None,
            number: 0,
        };
        let request = ScanRequest {
            table_schema: Arc::clone(&file.schema),
            files: vec![scanned],
            projection,
            predicate,
            limit,
            address: None,
            target_partitions,
            output_ordering: Vec::new(),
            options,
            sample: None,
        };
        self.plan_version(request, Some(&file.version))
    }
}
