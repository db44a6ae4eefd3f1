//! The schema of a file: the batches' schema in the types Iceberg stores, and Parquet's form of it.
//!
//! Differences from what parquet-rs would make of the batches' schema: smallint is stored as int, interval as text
//! (`interval.rs`), a uuid says so, a list's element is called `element`, and the Arrow schema is not embedded, because
//! other readers would follow it into view types they may not know.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, RecordBatchOptions, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, Schema, SchemaRef, TimeUnit};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::{Compression, LogicalType, ZstdLevel};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

use super::order::Order;
use super::{WriteOptions, WriteSpec};
use crate::convert::convert_leaf;
use crate::error::{Error, Result};

/// Texts and binaries longer than this many bytes are cut in statistics; [`super::ColumnBounds::bounds_exact`] tells.
const BOUND_BYTES_MAX: usize = 256;

/// Rows of a data page: the unit the page index skips by.
const PAGE_ROWS_MAX: usize = 20_000;

/// Entry count that pays for a dictionary well beyond parquet-rs' default of 1 MiB.
const DICTIONARY_BYTES_MAX: usize = 2 << 20;

/// Name and version of the writer in every footer.
const CREATED_BY: &str = concat!("staffa version ", env!("CARGO_PKG_VERSION"));

/// Extension name of a UUID column in Arrow.
const UUID_EXTENSION: &str = "arrow.uuid";
const EXTENSION_KEY: &str = "ARROW:extension:name";

pub(super) struct FileSchema {
    arrow: SchemaRef,
    parquet: SchemaDescriptor,
    leaves: Vec<Leaf>,
    order: Order,
    sorting: Vec<SortingColumn>,
}

/// A primitive column at top level or inside structs.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) field_id: i32,
    /// Index of the top-level column, then of the field in each struct on the way.
    pub(super) path: Vec<usize>,
    /// In the file.
    pub(super) data_type: DataType,
    /// Index among Parquet's leaf columns.
    pub(super) parquet_column: usize,
}

impl FileSchema {
    pub(super) fn new(spec: &WriteSpec) -> Result<Self> {
        let fields = spec
            .schema
            .fields()
            .iter()
            .map(stored_field)
            .collect::<Result<Fields>>()?;
        let arrow = Arc::new(Schema::new(fields));
        let plain = ArrowSchemaConverter::new().schema_root("table").convert(&arrow)?;
        let parquet = SchemaDescriptor::new(with_uuids(&plain.root_schema_ptr(), arrow.fields())?);
        let mut leaves = Vec::new();
        let mut next_column = 0;
        let mut first_leaf = Vec::with_capacity(arrow.fields().len());
        for (index, field) in arrow.fields().iter().enumerate() {
            first_leaf.push(next_column);
            collect_leaves(field, &mut vec![index], &mut next_column, Some(&mut leaves))?;
        }
        let sorting = |(column, descending, nulls_first): &(usize, bool, bool)| {
            let field = arrow.field(*column);
            if field.data_type().is_nested() {
                return Err(Error::unsupported(format!(
                    "cannot sort by the nested column \"{}\"",
                    field.name()
                )));
            }
            let column_idx = first_leaf[*column] as i32;
            Ok(SortingColumn {
                column_idx,
                descending: *descending,
                nulls_first: *nulls_first,
            })
        };
        let sorting = spec.sort.iter().map(sorting).collect::<Result<_>>()?;
        let order = Order::new(&arrow, &spec.sort)?;
        Ok(Self {
            arrow,
            parquet,
            leaves,
            order,
            sorting,
        })
    }

    pub(super) fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    pub(super) fn order(&self) -> &Order {
        &self.order
    }

    /// An encoder into memory for one file.
    pub(super) fn encoder(&self, options: &WriteOptions, sorted: bool) -> Result<ArrowWriter<Vec<u8>>> {
        let level = ZstdLevel::try_new(options.compression_level)
            .map_err(|_| Error::unsupported(format!("zstd has no compression level {}", options.compression_level)))?;
        let properties = WriterProperties::builder()
            .set_writer_version(WriterVersion::PARQUET_1_0)
            .set_created_by(CREATED_BY.to_owned())
            .set_compression(Compression::ZSTD(level))
            .set_dictionary_enabled(true)
            .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX)
            .set_data_page_row_count_limit(PAGE_ROWS_MAX)
            .set_max_row_group_row_count(Some(options.row_group_rows.max(1)))
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_statistics_truncate_length(Some(BOUND_BYTES_MAX))
            .set_sorting_columns((sorted && !self.sorting.is_empty()).then(|| self.sorting.clone()))
            .build();
        let options = ArrowWriterOptions::new()
            .with_properties(properties)
            .with_skip_arrow_metadata(true)
            .with_parquet_schema(self.parquet.clone());
        Ok(ArrowWriter::try_new_with_options(
            Vec::new(),
            Arc::clone(&self.arrow),
            options,
        )?)
    }

    /// The batch in the file's types.
    pub(super) fn convert(&self, batch: RecordBatch) -> Result<RecordBatch> {
        if batch.num_columns() != self.arrow.fields().len() {
            return Err(Error::internal("a batch does not have the columns of the write"));
        }
        let convert = |(column, field): (&ArrayRef, &FieldRef)| convert(column, field.data_type());
        let columns = batch
            .columns()
            .iter()
            .zip(self.arrow.fields())
            .map(convert)
            .collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&self.arrow),
            columns,
            &options,
        )?)
    }
}

fn convert(column: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    match to {
        same if column.data_type() == same => Ok(Arc::clone(column)),
        DataType::Struct(fields) => {
            let DataType::Struct(given) = column.data_type() else {
                return Err(Error::internal(format!(
                    "a batch has {} instead of {to}",
                    column.data_type()
                )));
            };
            if given.len() != fields.len() {
                return Err(Error::internal(format!(
                    "a batch has {} instead of {to}",
                    column.data_type()
                )));
            }
            let column = column.as_struct();
            let convert = |(child, field): (&ArrayRef, &FieldRef)| convert(child, field.data_type());
            let children = column
                .columns()
                .iter()
                .zip(fields)
                .map(convert)
                .collect::<Result<Vec<_>>>()?;
            let nulls = column.nulls().cloned();
            Ok(Arc::new(StructArray::try_new_with_length(
                fields.clone(),
                children,
                nulls,
                column.len(),
            )?))
        }
        DataType::List(element) => {
            // Large, fixed and view lists become plain lists of the same elements first.
            let plain = match column.data_type() {
                DataType::List(_) => Arc::clone(column),
                DataType::LargeList(e)
                | DataType::FixedSizeList(e, _)
                | DataType::ListView(e)
                | DataType::LargeListView(e) => convert_leaf(column, &DataType::List(Arc::clone(e)))?,
                other => return Err(Error::internal(format!("a batch has {other} instead of {to}"))),
            };
            let list = plain.as_list::<i32>();
            let values = convert(list.values(), element.data_type())?;
            let nulls = list.nulls().cloned();
            Ok(Arc::new(ListArray::try_new(
                Arc::clone(element),
                list.offsets().clone(),
                values,
                nulls,
            )?))
        }
        _ => convert_leaf(column, to),
    }
}

fn stored_field(field: &FieldRef) -> Result<FieldRef> {
    let data_type = stored_type(field.data_type())
        .map_err(|e| Error::new(e.kind(), format!("column \"{}\": {}", field.name(), e.message())))?;
    Ok(Arc::new(Field::clone(field).with_data_type(data_type)))
}

fn stored_type(given: &DataType) -> Result<DataType> {
    Ok(match given {
        DataType::Boolean
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Date32
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_)
        | DataType::Decimal128(..)
        | DataType::Time64(TimeUnit::Microsecond)
        | DataType::Timestamp(TimeUnit::Microsecond, _) => given.clone(),
        DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Time32(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond, zone) => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => DataType::Utf8,
        DataType::Dictionary(_, value) => stored_type(value)?,
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::FixedSizeList(element, _)
        | DataType::ListView(element)
        | DataType::LargeListView(element) => {
            let element = stored_field(element)?;
            DataType::List(Arc::new(Field::clone(&element).with_name("element")))
        }
        DataType::Struct(fields) if !fields.is_empty() => {
            DataType::Struct(fields.iter().map(stored_field).collect::<Result<_>>()?)
        }
        other => return Err(Error::unsupported(format!("type {other} cannot be stored in a table"))),
    })
}

/// Parquet's tree with the UUID type on the leaves whose Arrow field is a UUID.
fn with_uuids(node: &TypePtr, fields: &Fields) -> Result<TypePtr> {
    let children = node
        .get_fields()
        .iter()
        .zip(fields)
        .map(|(node, field)| with_uuid(node, field));
    rebuild_group(node, children.collect::<Result<_>>()?)
}

fn with_uuid(node: &TypePtr, field: &Field) -> Result<TypePtr> {
    match field.data_type() {
        DataType::Struct(fields) => with_uuids(node, fields),
        DataType::List(element) => {
            // Three levels: the list, a repeated group, the element.
            let repeated = &node.get_fields()[0];
            let element = with_uuid(&repeated.get_fields()[0], element)?;
            rebuild_group(node, vec![rebuild_group(repeated, vec![element])?])
        }
        DataType::FixedSizeBinary(16) if field.metadata().get(EXTENSION_KEY).is_some_and(|e| e == UUID_EXTENSION) => {
            let info = node.get_basic_info();
            let leaf = Type::primitive_type_builder(info.name(), node.get_physical_type())
                .with_repetition(info.repetition())
                .with_length(16)
                .with_logical_type(Some(LogicalType::Uuid))
                .with_id(info.has_id().then(|| info.id()));
            Ok(Arc::new(leaf.build()?))
        }
        _ => Ok(Arc::clone(node)),
    }
}

fn rebuild_group(node: &TypePtr, children: Vec<TypePtr>) -> Result<TypePtr> {
    let info = node.get_basic_info();
    let mut group = Type::group_type_builder(info.name())
        .with_fields(children)
        .with_logical_type(info.logical_type_ref().cloned())
        .with_converted_type(info.converted_type())
        .with_id(info.has_id().then(|| info.id()));
    if info.has_repetition() {
        group = group.with_repetition(info.repetition());
    }
    Ok(Arc::new(group.build()?))
}

/// Walks in Parquet's order of leaves; inside a list leaves are counted but not collected.
fn collect_leaves(
    field: &Field,
    path: &mut Vec<usize>,
    next_column: &mut usize,
    mut found: Option<&mut Vec<Leaf>>,
) -> Result<()> {
    let id = field
        .metadata()
        .get(crate::FIELD_ID_KEY)
        .and_then(|id| id.parse::<i32>().ok());
    let Some(field_id) = id else {
        return Err(Error::internal(format!("column \"{}\" has no field id", field.name())));
    };
    match field.data_type() {
        DataType::Struct(fields) => {
            for (index, child) in fields.iter().enumerate() {
                path.push(index);
                collect_leaves(child, path, next_column, found.as_deref_mut())?;
                path.pop();
            }
        }
        DataType::List(element) => collect_leaves(element, path, next_column, None)?,
        data_type => {
            if let Some(found) = found {
                let (path, data_type) = (path.clone(), data_type.clone());
                found.push(Leaf {
                    field_id,
                    path,
                    data_type,
                    parquet_column: *next_column,
                });
            }
            *next_column += 1;
        }
    }
    Ok(())
}
