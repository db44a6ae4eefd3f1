//! New tables as other engines define them.

use std::collections::HashMap;
use std::sync::Arc;

use ::iceberg::TableUpdate;
use ::iceberg::spec::{FormatVersion, Schema, SortOrder, TableMetadata, TableMetadataBuilder, UnboundPartitionSpec};
use chrono::Utc;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::compatible::check_columns;
use super::definition::{PREVIOUS_VERSIONS_MAX, PREVIOUS_VERSIONS_MAX_KEY, refused};
use super::foreign::{RESERVED, State, TableCommit, apply, reserved, unreadable};
use super::metadata::{Metadata, built};
use crate::error::{Error, ErrorKind, Result};

const FORMAT_VERSION: &str = "format-version";
/// What a partition field's id begins after (Iceberg's number).
const LAST_PARTITION_ID: i64 = 999;

/// A table another engine wants to be made: `CreateTableRequest` of Iceberg's REST protocol.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TableCreation {
    /// Its name.
    pub name: String,
    /// Where it wants to be; `None`: where the catalog puts it.
    pub location: Option<String>,
    schema: Schema,
    partition_spec: Option<UnboundPartitionSpec>,
    write_order: Option<SortOrder>,
    /// Whether only its metadata is asked for: it is made by a later commit.
    #[serde(default)]
    pub stage_create: bool,
    #[serde(default)]
    properties: Option<HashMap<String, String>>,
}

impl TableCreation {
    /// Reads a request.
    ///
    /// # Errors
    /// `InvalidDefinition` when it is not what the protocol knows.
    pub fn parse(request: Value) -> Result<TableCreation> {
        serde_json::from_value(request).map_err(|error| unreadable("the definition", &error))
    }

    /// The first metadata of the table.
    pub(crate) fn metadata(&self, uuid: Uuid, location: &str) -> Result<Metadata> {
        let mut properties = self.properties.clone().unwrap_or_default();
        let version = match properties.remove(FORMAT_VERSION).as_deref() {
            None | Some("2") => FormatVersion::V2,
            Some("3") => FormatVersion::V3,
            Some(other) => return Err(unsupported_version(other)),
        };
        if let Some(key) = properties.keys().find(|key| key.starts_with(RESERVED)) {
            return Err(reserved(key));
        }
        keep_few_versions(&mut properties);
        let spec = self.partition_spec.clone();
        let spec = spec.unwrap_or_else(|| UnboundPartitionSpec::builder().build());
        let order = self.write_order.clone().unwrap_or_else(SortOrder::unsorted_order);
        let builder = TableMetadataBuilder::new(
            self.schema.clone(),
            spec,
            order,
            location.to_owned(),
            version,
            properties,
        );
        let (metadata, _) = built(builder.map_err(refused)?.assign_uuid(uuid))?;
        readable(metadata)
    }
}

/// The metadata of a table that a commit makes: one that was staged before, with files written by the ids it was staged with.
/// So nothing is given a new id here.
pub(crate) fn created_by(commit: &TableCommit, uuid: Uuid, location: &str) -> Result<Metadata> {
    let mut first = json!({
        "format-version": format_version(commit)?,
        "table-uuid": uuid,
        "location": location,
        "last-sequence-number": 0,
        "last-updated-ms": Utc::now().timestamp_millis(),
        "default-spec-id": 0,
        "default-sort-order-id": 0,
        "sort-orders": [{"order-id": 0, "fields": []}],
        "properties": {},
    });
    if first["format-version"] == 3 {
        first["next-row-id"] = json!(0);
    }
    let schema: Schema = commit
        .updates
        .iter()
        .find_map(|update| match update {
            TableUpdate::AddSchema { schema } => Some(schema.clone()),
            _ => None,
        })
        .ok_or_else(|| Error::invalid("a new table needs a schema"))?;
    let schema_id = schema.schema_id();
    first["last-column-id"] = json!(schema.highest_field_id());
    first["current-schema-id"] = json!(schema_id);
    first["schemas"] = json!([schema]);
    let (spec, last_partition_id) = first_spec(commit)?;
    first["default-spec-id"] = spec["spec-id"].clone();
    first["partition-specs"] = json!([spec]);
    first["last-partition-id"] = json!(last_partition_id);
    if let Some(order) = first_order(commit) {
        first["sort-orders"] = json!([{"order-id": 0, "fields": []}, order]);
    }
    let inner: TableMetadata =
        serde_json::from_value(first).map_err(|error| unreadable("the definition of the table", &error))?;
    let metadata = Metadata::of(Arc::new(inner));
    let mut state = State::of(&metadata)?;
    let mut builder = (*metadata.inner).clone().into_builder(None);
    let mut properties = HashMap::new();
    keep_few_versions(&mut properties);
    builder = builder.set_properties(properties).map_err(refused)?;
    let builder = apply(builder, &commit.updates, &mut state)?;
    state.check_refs()?;
    readable(built(builder)?.0)
}

/// What Staffa could not read is not made.
fn readable(metadata: Metadata) -> Result<Metadata> {
    metadata.schema(metadata.location())?;
    metadata.partition_specs()?;
    check_columns(metadata.inner.current_schema(), None)?;
    metadata.check_numbers()?;
    Ok(metadata)
}

/// As many old metadata files as tables made by SQL remember, unless the client says another number.
fn keep_few_versions(properties: &mut HashMap<String, String>) {
    properties
        .entry(PREVIOUS_VERSIONS_MAX_KEY.to_owned())
        .or_insert_with(|| PREVIOUS_VERSIONS_MAX.to_owned());
}

fn format_version(commit: &TableCommit) -> Result<u8> {
    let mut versions = commit.updates.iter().filter_map(|update| match update {
        TableUpdate::UpgradeFormatVersion { format_version } => Some(*format_version),
        _ => None,
    });
    match versions.next_back() {
        Some(FormatVersion::V1) => Err(unsupported_version("1")),
        Some(FormatVersion::V3) => Ok(3),
        None | Some(FormatVersion::V2) => Ok(2),
    }
}

/// The spec that was sent first, with its ids, and the highest of those of its fields.
fn first_spec(commit: &TableCommit) -> Result<(Value, i64)> {
    let mut spec = sent(commit, "add-spec", "spec").unwrap_or_else(|| json!({"fields": []}));
    let wrong = || Error::invalid("a partition spec must be an object with a list of objects");
    let parts = spec.as_object_mut().ok_or_else(wrong)?;
    parts.entry("spec-id").or_insert(json!(0));
    let mut last = LAST_PARTITION_ID;
    let fields = parts
        .get_mut("fields")
        .and_then(Value::as_array_mut)
        .ok_or_else(wrong)?;
    for field in fields {
        let id = field.as_object_mut().ok_or_else(wrong)?.entry("field-id");
        last = last.max(id.or_insert(json!(last + 1)).as_i64().unwrap_or(last));
    }
    Ok((spec, last))
}

/// The sort order that was sent first, unless it is no order.
fn first_order(commit: &TableCommit) -> Option<Value> {
    let order = sent(commit, "add-sort-order", "sort-order")?;
    let is_order = order["order-id"].as_i64().is_some_and(|id| id > 0);
    is_order.then_some(order)
}

fn sent(commit: &TableCommit, action: &str, part: &str) -> Option<Value> {
    let update = commit.sent.iter().find(|update| update["action"] == action)?;
    update.get(part).cloned()
}

fn unsupported_version(version: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("Iceberg format version {version} is not supported for new tables"),
    )
    .with_hint("Versions 2 and 3 are.")
}
