//! Iceberg field ids in Arrow schemas.
//!
//! Columns are found in files by them. Queries never see them: an array from a table and a literal one are of one type.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

/// Metadata key of an Arrow field that carries its Iceberg field id (the name parquet's readers and writers use).
pub const FIELD_ID_KEY: &str = parquet::arrow::PARQUET_FIELD_ID_META_KEY;

/// The Iceberg field id of a field.
pub(crate) fn field_id(field: &Field) -> Option<i32> {
    field.metadata().get(FIELD_ID_KEY)?.parse().ok()
}

/// The schema without field ids, at every level.
pub fn without_field_ids(schema: &Schema) -> SchemaRef {
    let fields: Vec<FieldRef> = schema.fields().iter().map(plain_field).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

pub(crate) fn plain_field(field: &FieldRef) -> FieldRef {
    let mut metadata: HashMap<String, String> = field.metadata().clone();
    metadata.remove(FIELD_ID_KEY);
    let data_type = plain_type(field.data_type());
    Arc::new(Field::clone(field).with_data_type(data_type).with_metadata(metadata))
}

/// Values of a query that are arrays have no metadata in their elements' fields.
pub(crate) fn plain_element(element: &FieldRef) -> FieldRef {
    Arc::new(plain_field(element).as_ref().clone().with_metadata(HashMap::new()))
}

pub(crate) fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::List(element) => DataType::List(plain_element(element)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect()),
        other => other.clone(),
    }
}
