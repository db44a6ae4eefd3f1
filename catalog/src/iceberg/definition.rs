//! The first metadata of a new table, made from its definition: what a definition may say is checked here.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ::iceberg::spec::{
    FormatVersion, NestedField, NestedFieldRef, NullOrder, PrimitiveType, Schema, SortDirection,
    SortField as IcebergSortField, SortOrder, TableMetadataBuilder, Transform as IcebergTransform,
    UnboundPartitionSpec,
};
use uuid::Uuid;

use super::metadata::{COMMENT_KEY, Metadata};
use super::types::{COLUMN_TYPES, FieldIdCounter, Overrides, collect_overrides, print_overrides, to_iceberg};
use crate::error::{Error, ErrorKind, Result};
use crate::index::INDEXES_KEY;
use crate::rule::{
    CONSTRAINTS_KEY, DEFAULTS_KEY, MATERIALIZED_KEY, print_constraints, print_defaults, print_indexes,
    print_materialized,
};
use crate::schema::{TableDefinition, Transform};

/// How many superseded metadata files a table of ours remembers; older ones become garbage.
pub(super) const PREVIOUS_VERSIONS_MAX: &str = "20";
pub(super) const PREVIOUS_VERSIONS_MAX_KEY: &str = "write.metadata.previous-versions-max";

/// The first metadata of a new table.
pub(crate) fn create_metadata(definition: &TableDefinition, uuid: Uuid, location: &str) -> Result<Metadata> {
    check_column_names(definition)?;
    let mut ids = FieldIdCounter::default();
    let mut fields: Vec<NestedFieldRef> = Vec::with_capacity(definition.columns.len());
    for column in &definition.columns {
        let id = ids.next();
        let ty = to_iceberg(&column.name, &column.ty, &mut ids)?;
        let mut field = NestedField::new(id, &column.name, ty, !column.nullable);
        field.doc = column.comment.clone();
        fields.push(Arc::new(field));
    }
    let schema = Schema::builder().with_fields(fields).build().map_err(refused)?;
    let spec = partition_spec(&definition.partition_by, &schema)?;
    let order = sort_order(&definition.sorted_by, &schema)?;

    let version = definition.properties.get(FORMAT_VERSION_KEY);
    let version = version.map_or(Ok(FormatVersion::V2), |text| format_version(text))?;
    let mut properties = HashMap::new();
    properties.insert(PREVIOUS_VERSIONS_MAX_KEY.to_owned(), PREVIOUS_VERSIONS_MAX.to_owned());
    for (key, value) in &definition.properties {
        if key.starts_with("staffa.") {
            return Err(Error::invalid(format!("table property \"{key}\" is reserved")));
        }
        if key != FORMAT_VERSION_KEY {
            properties.insert(key.clone(), value.clone());
        }
    }
    if let Some(comment) = &definition.comment {
        properties.insert(COMMENT_KEY.to_owned(), comment.clone());
    }
    let metadata = TableMetadataBuilder::new(schema, spec, order, location.to_owned(), version, properties)
        .and_then(|builder| builder.assign_uuid(uuid).build())
        .map_err(refused)?
        .metadata;

    // The builder has given out the field ids for good only now.
    let mut overrides = Overrides::new();
    for (field, column) in metadata
        .current_schema()
        .as_struct()
        .fields()
        .iter()
        .zip(&definition.columns)
    {
        collect_overrides(field.id, &field.field_type, &column.ty, &mut overrides);
    }
    let fields = metadata.current_schema().as_struct().fields().iter();
    let defaults = fields
        .zip(&definition.columns)
        .filter_map(|(field, column)| Some((field.id, column.default.clone()?)))
        .collect();
    let rules = [
        (COLUMN_TYPES, print_overrides(&overrides)?),
        (DEFAULTS_KEY, print_defaults(&defaults)?),
        (CONSTRAINTS_KEY, print_constraints(&definition.constraints)?),
        (INDEXES_KEY, print_indexes(&definition.indexes)?),
        (MATERIALIZED_KEY, print_materialized(definition.materialized.as_ref())?),
    ];
    let rules = rules
        .into_iter()
        .filter_map(|(key, text)| Some((key.to_owned(), text?)));
    let metadata = metadata
        .into_builder(None)
        .set_properties(rules.collect())
        .and_then(TableMetadataBuilder::build)
        .map_err(refused)?
        .metadata;
    Ok(Metadata::of(Arc::new(metadata)))
}

/// The property that engines set a table's format version by; it is no property of the metadata.
pub(super) const FORMAT_VERSION_KEY: &str = "format-version";

pub(super) fn format_version(text: &str) -> Result<FormatVersion> {
    match text.trim() {
        "2" => Ok(FormatVersion::V2),
        "3" => Ok(FormatVersion::V3),
        _ => Err(Error::invalid(format!("format version {text} is not supported")).with_hint("Use 2 or 3.")),
    }
}

fn check_column_names(definition: &TableDefinition) -> Result<()> {
    let mut seen = HashSet::new();
    for column in &definition.columns {
        if column.name.is_empty() {
            return Err(Error::invalid("zero-length column name"));
        }
        if !seen.insert(&column.name) {
            return Err(Error::duplicate_column(&column.name));
        }
    }
    Ok(())
}

/// A partition spec from column and transform of each field.
pub(super) fn partition_spec(terms: &[(String, Transform)], schema: &Schema) -> Result<UnboundPartitionSpec> {
    let mut builder = UnboundPartitionSpec::builder();
    let fields = schema.as_struct().fields();
    let mut names: HashSet<String> = fields.iter().map(|field| field.name.clone()).collect();
    let mut used = HashSet::new();
    for (column, transform) in terms {
        let field = top_level_field(schema, column)?;
        if matches!(transform, Transform::Bucket(0) | Transform::Truncate(0)) {
            return Err(Error::invalid(format!(
                "partition transform {transform} of column \"{column}\" must be above 0"
            )));
        }
        if *transform == Transform::Identity && is_uuid(field) {
            return Err(uuid_partition(column));
        }
        let iceberg = transform_to_iceberg(*transform);
        if iceberg.result_type(&field.field_type).is_err() {
            return Err(Error::invalid(format!(
                "cannot partition by {transform} of column \"{column}\" of type {}",
                field.field_type
            )));
        }
        if !used.insert((field.id, transform_family(*transform))) {
            return Err(
                Error::invalid(format!("table is partitioned twice by column \"{column}\""))
                    .with_detail(format!("{transform} says nothing that the field before it does not."))
                    .with_hint("Keep the finer of the two."),
            );
        }
        let name = match transform {
            Transform::Identity => column.clone(),
            _ => unused_name(&mut names, &format!("{column}_{}", transform_suffix(*transform))),
        };
        builder = builder.add_partition_field(field.id, name, iceberg).map_err(refused)?;
    }
    Ok(builder.build())
}

/// A sort order from column, descending and nulls first of each key.
pub(super) fn sort_order(keys: &[(String, bool, bool)], schema: &Schema) -> Result<SortOrder> {
    let mut fields = Vec::with_capacity(keys.len());
    for (column, descending, nulls_first) in keys {
        let field = top_level_field(schema, column)?;
        if !field.field_type.is_primitive() {
            return Err(Error::invalid(format!(
                "cannot sort by column \"{column}\" of a nested type"
            )));
        }
        fields.push(IcebergSortField {
            source_id: field.id,
            transform: IcebergTransform::Identity,
            direction: if *descending {
                SortDirection::Descending
            } else {
                SortDirection::Ascending
            },
            null_order: if *nulls_first {
                NullOrder::First
            } else {
                NullOrder::Last
            },
        });
    }
    if fields.is_empty() {
        return Ok(SortOrder::unsorted_order());
    }
    // The metadata's builder gives the order its id.
    SortOrder::builder()
        .with_order_id(1)
        .with_fields(fields)
        .build(schema)
        .map_err(refused)
}

fn top_level_field<'a>(schema: &'a Schema, column: &str) -> Result<&'a NestedFieldRef> {
    schema
        .as_struct()
        .fields()
        .iter()
        .find(|field| field.name == column)
        .ok_or_else(|| {
            Error::new(
                ErrorKind::UndefinedColumn,
                format!("column \"{column}\" named in the table's layout does not exist"),
            )
        })
}

fn unused_name(names: &mut HashSet<String>, wanted: &str) -> String {
    let mut name = wanted.to_owned();
    let mut number = 2;
    while !names.insert(name.clone()) {
        name = format!("{wanted}_{number}");
        number += 1;
    }
    name
}

/// Iceberg allows one transform of a family for a column: day already tells month and year.
fn transform_family(transform: Transform) -> &'static str {
    match transform {
        Transform::Year | Transform::Month | Transform::Day | Transform::Hour => "time",
        other => transform_suffix(other),
    }
}

pub(super) fn is_uuid(field: &NestedField) -> bool {
    field.field_type.as_primitive_type() == Some(&PrimitiveType::Uuid)
}

/// The Avro encoder of the crate (0.10.1) cannot write such a partition value.
pub(super) fn uuid_partition(column: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("partitioning by the uuid column \"{column}\" itself is not supported"),
    )
    .with_hint("Partition by a bucket of it.")
}

fn transform_suffix(transform: Transform) -> &'static str {
    match transform {
        Transform::Identity => "identity",
        Transform::Bucket(_) => "bucket",
        Transform::Truncate(_) => "trunc",
        Transform::Year => "year",
        Transform::Month => "month",
        Transform::Day => "day",
        Transform::Hour => "hour",
        Transform::Void => "null",
    }
}

fn transform_to_iceberg(transform: Transform) -> IcebergTransform {
    match transform {
        Transform::Identity => IcebergTransform::Identity,
        Transform::Bucket(buckets) => IcebergTransform::Bucket(buckets),
        Transform::Truncate(width) => IcebergTransform::Truncate(width),
        Transform::Year => IcebergTransform::Year,
        Transform::Month => IcebergTransform::Month,
        Transform::Day => IcebergTransform::Day,
        Transform::Hour => IcebergTransform::Hour,
        Transform::Void => IcebergTransform::Void,
    }
}

/// The crate refused a definition that passed our own checks.
pub(super) fn refused(error: ::iceberg::Error) -> Error {
    Error::invalid("table definition is not valid").with_detail(error.message().to_owned())
}
