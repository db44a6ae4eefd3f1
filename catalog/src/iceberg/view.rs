//! View metadata, format version 1 (Iceberg view spec). Only the columns use the crate's types.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::iceberg::spec::{NestedField, NestedFieldRef, Schema};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::types::{
    COLUMN_TYPES, FieldIdCounter, Overrides, collect_overrides, parse_overrides, print_overrides, to_columns,
    to_iceberg,
};
use super::{corrupt, decode, encode_failed};
use crate::error::{Error, ErrorKind, Result};
use crate::name::TableName;
use crate::schema::{View, ViewDefinition};
use crate::types::SqlType;

/// The SQL dialect of views made here.
const DIALECT: &str = "staffa";
const SEARCH_PATH: &str = "staffa.search-path";
const COMMENT: &str = "comment";
const READS: &str = "staffa.view-reads";

/// How many superseded versions a view keeps: Iceberg's default for `version.history.num-entries`.
const VERSIONS_MAX: usize = 10;

/// The content of one view metadata file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ViewMetadata {
    view_uuid: Uuid,
    format_version: u8,
    location: String,
    current_version_id: i32,
    versions: Vec<Version>,
    version_log: Vec<LogEntry>,
    schemas: Vec<Schema>,
    #[serde(default)]
    properties: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Version {
    version_id: i32,
    timestamp_ms: i64,
    schema_id: i32,
    summary: BTreeMap<String, String>,
    representations: Vec<Representation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_catalog: Option<String>,
    default_namespace: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Representation {
    #[serde(rename = "type")]
    kind: String,
    sql: String,
    dialect: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct LogEntry {
    version_id: i32,
    timestamp_ms: i64,
}

impl ViewMetadata {
    pub(crate) fn location(&self) -> &str {
        &self.location
    }

    pub(crate) fn uuid(&self) -> Uuid {
        self.view_uuid
    }
}

/// The metadata of a view as defined: a new one at `location`, or the next version of `previous`.
pub(crate) fn write_view(
    definition: &ViewDefinition,
    previous: Option<&ViewMetadata>,
    uuid: Uuid,
    location: &str,
    now_ms: i64,
) -> Result<(ViewMetadata, Vec<u8>)> {
    let last = previous.map(|view| {
        view.version_log
            .iter()
            .map(|entry| entry.timestamp_ms)
            .max()
            .unwrap_or(0)
    });
    let timestamp_ms = now_ms.max(last.unwrap_or(0) + 1);
    let version_id = previous.map_or(1, |view| {
        view.versions.iter().map(|v| v.version_id).max().unwrap_or(0) + 1
    });
    let schema_id = previous.map_or(0, |view| {
        view.schemas.iter().map(Schema::schema_id).max().unwrap_or(-1) + 1
    });
    let (schema, overrides) = schema(definition, schema_id)?;

    let mut properties = previous.map(|view| view.properties.clone()).unwrap_or_default();
    let search_path = serde_json::to_string(&definition.search_path)
        .map_err(|error| Error::internal("cannot encode a search path").with_source(error))?;
    set(&mut properties, SEARCH_PATH, Some(search_path));
    set(&mut properties, COLUMN_TYPES, print_overrides(&overrides)?);
    set(&mut properties, COMMENT, definition.comment.clone());
    let reads = serde_json::to_string(&definition.reads)
        .map_err(|error| Error::internal("cannot encode what a view reads").with_source(error))?;
    set(&mut properties, READS, Some(reads));

    let version = Version {
        version_id,
        timestamp_ms,
        schema_id,
        summary: BTreeMap::from([("engine-name".to_owned(), "staffa".to_owned())]),
        representations: vec![Representation {
            kind: "sql".to_owned(),
            sql: definition.sql.clone(),
            dialect: DIALECT.to_owned(),
        }],
        default_catalog: Some(definition.name.database.clone()),
        default_namespace: vec![definition.name.schema.clone()],
    };
    let mut versions = previous.map(|view| view.versions.clone()).unwrap_or_default();
    versions.push(version);
    versions.drain(..versions.len().saturating_sub(VERSIONS_MAX));
    let mut schemas = previous.map(|view| view.schemas.clone()).unwrap_or_default();
    schemas.push(schema);
    schemas.retain(|schema| versions.iter().any(|version| version.schema_id == schema.schema_id()));
    let mut version_log = previous.map(|view| view.version_log.clone()).unwrap_or_default();
    version_log.push(LogEntry {
        version_id,
        timestamp_ms,
    });
    version_log.retain(|entry| versions.iter().any(|version| version.version_id == entry.version_id));

    let metadata = ViewMetadata {
        view_uuid: previous.map_or(uuid, ViewMetadata::uuid),
        format_version: 1,
        location: previous.map_or(location, ViewMetadata::location).to_owned(),
        current_version_id: version_id,
        versions,
        version_log,
        schemas,
        properties,
    };
    let bytes = serde_json::to_vec(&metadata)
        .map_err(|error| Error::internal("cannot encode view metadata").with_source(error))?;
    Ok((metadata, bytes))
}

/// Reads a view metadata file.
pub(crate) fn read_view(name: &TableName, location: &str, bytes: &[u8]) -> Result<(View, ViewMetadata)> {
    decode(location, || {
        let metadata: ViewMetadata = serde_json::from_slice(bytes).map_err(|error| corrupt(location, error))?;
        if metadata.format_version != 1 {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "view \"{}\" has Iceberg view format version {}",
                    name.name, metadata.format_version
                ),
            ));
        }
        let version = metadata
            .versions
            .iter()
            .find(|version| version.version_id == metadata.current_version_id)
            .ok_or_else(|| corrupt(location, "the current version is missing"))?;
        let schema = metadata
            .schemas
            .iter()
            .find(|schema| schema.schema_id() == version.schema_id)
            .ok_or_else(|| corrupt(location, "the schema of the current version is missing"))?;
        let ours = |text: &&Representation| text.kind == "sql" && text.dialect == DIALECT;
        let Some(text) = version.representations.iter().find(ours) else {
            let dialects: Vec<&str> = version
                .representations
                .iter()
                .map(|text| text.dialect.as_str())
                .collect();
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("view \"{}\" was made by another engine", name.name),
            )
            .with_detail(format!("Its SQL dialects: {}.", dialects.join(", "))));
        };
        let overrides = parse_overrides(location, metadata.properties.get(COLUMN_TYPES))?;
        let columns = to_columns(schema, &overrides, &Default::default())?.columns;
        let comments = columns.iter();
        let comments = comments.filter_map(|column| Some((column.name.clone(), column.comment.clone()?)));
        let column_comments = comments.collect();
        let search_path = match metadata.properties.get(SEARCH_PATH) {
            Some(text) => serde_json::from_str(text).map_err(|error| corrupt(location, error))?,
            None => version.default_namespace.clone(),
        };
        let view = View {
            uuid: metadata.view_uuid,
            name: name.clone(),
            sql: text.sql.clone(),
            columns: columns.into_iter().map(|column| (column.name, column.ty)).collect(),
            search_path,
            comment: metadata.properties.get(COMMENT).cloned(),
            reads: match metadata.properties.get(READS) {
                Some(text) => serde_json::from_str(text).map_err(|error| corrupt(location, error))?,
                None => Vec::new(),
            },
            column_comments,
        };
        Ok((view, metadata))
    })
}

fn set(properties: &mut BTreeMap<String, String>, key: &str, value: Option<String>) {
    match value {
        Some(value) => properties.insert(key.to_owned(), value),
        None => properties.remove(key),
    };
}

fn schema(definition: &ViewDefinition, schema_id: i32) -> Result<(Schema, Overrides)> {
    let mut ids = FieldIdCounter::default();
    let mut overrides = Overrides::new();
    let mut fields: Vec<NestedFieldRef> = Vec::with_capacity(definition.columns.len());
    for (name, ty) in &definition.columns {
        if fields.iter().any(|field| field.name == *name) {
            return Err(Error::duplicate_column(name));
        }
        // As in Postgres, a bare NULL or string constant in a view is text.
        let ty = if *ty == SqlType::Unknown { &SqlType::Text } else { ty };
        let id = ids.next();
        let stored = to_iceberg(name, ty, &mut ids)?;
        collect_overrides(id, &stored, ty, &mut overrides);
        let mut field = NestedField::optional(id, name, stored);
        field.doc = definition.column_comments.get(name).cloned();
        fields.push(Arc::new(field));
    }
    let schema = Schema::builder()
        .with_schema_id(schema_id)
        .with_fields(fields)
        .build()
        .map_err(|error| encode_failed("a view's columns", error))?;
    Ok((schema, overrides))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::ViewRead;

    fn definition(sql: &str) -> ViewDefinition {
        ViewDefinition {
            name: TableName::new("d", "s", "v"),
            sql: sql.to_owned(),
            columns: vec![
                ("a".to_owned(), SqlType::Varchar(Some(3))),
                ("b".to_owned(), SqlType::Array(Box::new(SqlType::SmallInt))),
                ("c".to_owned(), SqlType::Unknown),
            ],
            search_path: vec!["s".to_owned(), "public".to_owned()],
            comment: Some("why".to_owned()),
            reads: vec![ViewRead {
                relation: Uuid::max(),
                columns: vec![1, 3],
            }],
            column_comments: BTreeMap::from([("b".to_owned(), "some".to_owned())]),
        }
    }

    #[test]
    fn a_view_comes_back_as_it_was_stored() {
        let (first, bytes) = write_view(&definition("select 1"), None, Uuid::nil(), "file:///v", 5).unwrap();
        let (view, parsed) = read_view(&TableName::new("d", "s", "v"), "x", &bytes).unwrap();
        assert_eq!(view.sql, "select 1");
        assert_eq!(view.columns[0], ("a".to_owned(), SqlType::Varchar(Some(3))));
        assert_eq!(
            view.columns[1],
            ("b".to_owned(), SqlType::Array(Box::new(SqlType::SmallInt)))
        );
        assert_eq!(view.columns[2], ("c".to_owned(), SqlType::Text));
        assert_eq!(view.search_path, ["s", "public"]);
        assert_eq!(view.comment.as_deref(), Some("why"));
        assert_eq!(view.reads, definition("").reads);
        assert_eq!(view.column_comments, definition("select 1").column_comments);
        assert_eq!(parsed.location(), first.location());

        // The crate's own reader of the format accepts both versions.
        let (_, bytes) = write_view(&definition("select 2"), Some(&parsed), Uuid::max(), "elsewhere", 5).unwrap();
        let crate_view: ::iceberg::spec::ViewMetadata = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(crate_view.uuid(), Uuid::nil());
        assert_eq!(crate_view.location(), "file:///v");
        assert_eq!(crate_view.versions().len(), 2);
        assert_eq!(crate_view.current_version_id(), 2);
        assert_eq!(crate_view.current_version().timestamp_ms(), 6);
    }

    #[test]
    fn a_view_of_another_engine_is_refused_by_name() {
        let (_, bytes) = write_view(&definition("select 1"), None, Uuid::nil(), "file:///v", 5).unwrap();
        let text = String::from_utf8(bytes)
            .unwrap()
            .replace("\"dialect\":\"staffa\"", "\"dialect\":\"spark\"");
        let error = read_view(&TableName::new("d", "s", "v"), "x", text.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.detail().unwrap().contains("spark"));
    }
}
