//! Relations that are made of metadata alone: their rows are there before the query runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Decimal128Type, DecimalType, Field, Schema};
use chrono::{DateTime, NaiveDate};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use staffa_catalog::{
    DeleteContent, DeleteFile, LiveFile, PartitionField, RefRetention, SqlType, Table, Transform, Value,
};

use crate::error::Result;
use crate::types::arrow_field;

/// Columns under way to a relation.
struct Columns<'a> {
    time_zone: &'a str,
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl<'a> Columns<'a> {
    fn new(time_zone: &'a str) -> Self {
        Self {
            time_zone,
            fields: Vec::new(),
            arrays: Vec::new(),
        }
    }

    fn add(mut self, name: &str, ty: &SqlType, array: ArrayRef) -> Self {
        self.fields.push(arrow_field(name, ty, true, self.time_zone));
        self.arrays.push(array);
        self
    }

    fn text<T: AsRef<str>>(self, name: &str, values: impl Iterator<Item = Option<T>>) -> Self {
        self.add(name, &SqlType::Text, Arc::new(StringViewArray::from_iter(values)))
    }

    fn json(self, name: &str, values: impl Iterator<Item = Option<String>>) -> Self {
        self.add(name, &SqlType::Json, Arc::new(StringViewArray::from_iter(values)))
    }

    fn bigint(self, name: &str, values: impl Iterator<Item = Option<i64>>) -> Self {
        self.add(name, &SqlType::BigInt, Arc::new(Int64Array::from_iter(values)))
    }

    fn count(self, name: &str, values: impl Iterator<Item = Option<u64>>) -> Self {
        let signed = values.map(|count| count.map(|count| i64::try_from(count).unwrap_or(i64::MAX)));
        self.bigint(name, signed)
    }

    fn integer(self, name: &str, values: impl Iterator<Item = Option<i32>>) -> Self {
        self.add(name, &SqlType::Integer, Arc::new(Int32Array::from_iter(values)))
    }

    fn boolean(self, name: &str, values: impl Iterator<Item = Option<bool>>) -> Self {
        self.add(name, &SqlType::Boolean, Arc::new(BooleanArray::from_iter(values)))
    }

    /// Milliseconds as points in time.
    fn time(self, name: &str, values: impl Iterator<Item = Option<i64>>) -> Self {
        let micros = values.map(|time| time.map(|time| time.saturating_mul(1000)));
        let array = TimestampMicrosecondArray::from_iter(micros).with_timezone(self.time_zone);
        self.add(name, &SqlType::TimestampTz, Arc::new(array))
    }

    fn finish(self) -> Result<Arc<dyn TableProvider>> {
        let schema = Arc::new(Schema::new(self.fields));
        let batch = RecordBatch::try_new(Arc::clone(&schema), self.arrays)?;
        Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
    }
}

pub(super) fn snapshots(table: &Table, time_zone: &str) -> Result<Arc<dyn TableProvider>> {
    let all = table.snapshots()?;
    let summary = |summary: &BTreeMap<String, String>| serde_json::to_string(summary).ok();
    Columns::new(time_zone)
        .time("committed_at", all.iter().map(|it| Some(it.committed_ms)))
        .bigint("snapshot_id", all.iter().map(|it| Some(it.id)))
        .bigint("parent_id", all.iter().map(|it| it.parent_id))
        .bigint("sequence_number", all.iter().map(|it| Some(it.sequence_number)))
        .text("operation", all.iter().map(|it| Some(&it.operation)))
        .integer("schema_id", all.iter().map(|it| it.schema_id))
        .text("manifest_list", all.iter().map(|it| Some(&it.manifest_list)))
        .json("summary", all.iter().map(|it| summary(&it.summary)))
        .finish()
}

pub(super) fn history(table: &Table, time_zone: &str) -> Result<Arc<dyn TableProvider>> {
    let snapshots = table.snapshots()?;
    let log = table.history()?;
    let parent = |id: i64| snapshots.iter().find(|it| it.id == id).and_then(|it| it.parent_id);
    let mut ancestors = Vec::new();
    let mut next = table.snapshot_id();
    while let Some(id) = next.filter(|id| !ancestors.contains(id)) {
        ancestors.push(id);
        next = parent(id);
    }
    Columns::new(time_zone)
        .time("made_current_at", log.iter().map(|it| Some(it.made_current_ms)))
        .bigint("snapshot_id", log.iter().map(|it| Some(it.snapshot_id)))
        .bigint("parent_id", log.iter().map(|it| parent(it.snapshot_id)))
        .boolean(
            "is_current_ancestor",
            log.iter().map(|it| Some(ancestors.contains(&it.snapshot_id))),
        )
        .finish()
}

pub(super) fn refs(table: &Table, time_zone: &str) -> Result<Arc<dyn TableProvider>> {
    let all = table.refs()?;
    let age = |retention: &RefRetention| match retention {
        RefRetention::Branch { max_ref_age_ms, .. } | RefRetention::Tag { max_ref_age_ms } => *max_ref_age_ms,
    };
    let kept = |retention: &RefRetention| match retention {
        RefRetention::Branch {
            min_snapshots_to_keep, ..
        } => *min_snapshots_to_keep,
        RefRetention::Tag { .. } => None,
    };
    let snapshot_age = |retention: &RefRetention| match retention {
        RefRetention::Branch {
            max_snapshot_age_ms, ..
        } => *max_snapshot_age_ms,
        RefRetention::Tag { .. } => None,
    };
    let kind = |is_branch| if is_branch { "BRANCH" } else { "TAG" };
    Columns::new(time_zone)
        .text("name", all.iter().map(|it| Some(&it.name)))
        .text("type", all.iter().map(|it| Some(kind(it.is_branch()))))
        .bigint("snapshot_id", all.iter().map(|it| Some(it.snapshot_id)))
        .bigint("max_reference_age_in_ms", all.iter().map(|it| age(&it.retention)))
        .integer("min_snapshots_to_keep", all.iter().map(|it| kept(&it.retention)))
        .bigint(
            "max_snapshot_age_in_ms",
            all.iter().map(|it| snapshot_age(&it.retention)),
        )
        .finish()
}

/// A row of `files`.
struct FileRow<'a> {
    content: &'static str,
    location: &'a str,
    spec_id: i32,
    partition: String,
    row_count: u64,
    deleted_count: Option<u64>,
    size_bytes: u64,
    sequence_number: Option<i64>,
    sort_order_id: Option<i32>,
    data_file: Option<&'a str>,
}

pub(super) async fn files(table: &Table, time_zone: &str) -> Result<Arc<dyn TableProvider>> {
    let live = table.files().await?;
    let mut rows: Vec<FileRow<'_>> = live.iter().map(|file| data_row(table, file)).collect();
    let mut deletes: Vec<&Arc<DeleteFile>> = live.iter().flat_map(|file| &file.deletes).collect();
    // One vector of several in a file is told from the others by its data file.
    deletes.sort_by_key(|file| (&file.location, file.data_file()));
    deletes.dedup_by_key(|file| (file.location.clone(), file.data_file().map(str::to_owned)));
    rows.extend(deletes.into_iter().map(|file| delete_row(table, file)));
    Columns::new(time_zone)
        .text("content", rows.iter().map(|it| Some(it.content)))
        .text("file_path", rows.iter().map(|it| Some(it.location)))
        .integer("spec_id", rows.iter().map(|it| Some(it.spec_id)))
        .text("partition", rows.iter().map(|it| Some(&it.partition)))
        .count("record_count", rows.iter().map(|it| Some(it.row_count)))
        .count("deleted_record_count", rows.iter().map(|it| it.deleted_count))
        .count("file_size_in_bytes", rows.iter().map(|it| Some(it.size_bytes)))
        .bigint("sequence_number", rows.iter().map(|it| it.sequence_number))
        .integer("sort_order_id", rows.iter().map(|it| it.sort_order_id))
        .text("referenced_data_file", rows.iter().map(|it| it.data_file))
        .finish()
}

fn data_row<'a>(table: &Table, file: &'a LiveFile) -> FileRow<'a> {
    FileRow {
        content: "data",
        location: &file.data.location,
        spec_id: file.spec_id,
        partition: partition(table, file.spec_id, &file.data.partition),
        row_count: file.row_count,
        deleted_count: Some(file.deleted_count()),
        size_bytes: file.size_bytes,
        // A file of the open transaction has none yet.
        sequence_number: (file.sequence_number != i64::MAX).then_some(file.sequence_number),
        sort_order_id: file.sort_order_id,
        data_file: None,
    }
}

fn delete_row<'a>(table: &Table, file: &'a DeleteFile) -> FileRow<'a> {
    FileRow {
        content: match file.content {
            DeleteContent::Positions { .. } => "position deletes",
            DeleteContent::Vector { .. } => "deletion vector",
            DeleteContent::Equality { .. } => "equality deletes",
        },
        location: &file.location,
        spec_id: file.spec_id,
        partition: partition(table, file.spec_id, &file.partition),
        row_count: file.row_count,
        deleted_count: None,
        size_bytes: file.size_bytes,
        sequence_number: Some(file.sequence_number),
        sort_order_id: None,
        data_file: file.data_file(),
    }
}

pub(super) async fn manifests(table: &Table, time_zone: &str) -> Result<Arc<dyn TableProvider>> {
    let all = table.manifests().await?;
    let content = |lists_deletes| if lists_deletes { "deletes" } else { "data" };
    Columns::new(time_zone)
        .text("content", all.iter().map(|it| Some(content(it.lists_deletes))))
        .text("path", all.iter().map(|it| Some(&it.location)))
        .count("length", all.iter().map(|it| Some(it.size_bytes)))
        .integer("partition_spec_id", all.iter().map(|it| Some(it.spec_id)))
        .bigint("added_snapshot_id", all.iter().map(|it| Some(it.snapshot_id)))
        .bigint("sequence_number", all.iter().map(|it| Some(it.sequence_number)))
        .count("added_files_count", all.iter().map(|it| it.added.0))
        .count("added_rows_count", all.iter().map(|it| it.added.1))
        .count("existing_files_count", all.iter().map(|it| it.existing.0))
        .count("existing_rows_count", all.iter().map(|it| it.existing.1))
        .count("deleted_files_count", all.iter().map(|it| it.deleted.0))
        .count("deleted_rows_count", all.iter().map(|it| it.deleted.1))
        .finish()
}

/// What `partitions` sums up.
#[derive(Default)]
struct PartitionRow {
    files: u64,
    rows: u64,
    deleted: u64,
    bytes: u64,
}

pub(super) async fn partitions(table: &Table, time_zone: &str) -> Result<Arc<dyn TableProvider>> {
    let mut all: BTreeMap<(i32, String), PartitionRow> = BTreeMap::new();
    for file in table.files().await?.iter() {
        let key = (file.spec_id, partition(table, file.spec_id, &file.data.partition));
        let row = all.entry(key).or_default();
        row.files += 1;
        row.rows += file.row_count;
        row.deleted += file.deleted_count();
        row.bytes += file.size_bytes;
    }
    Columns::new(time_zone)
        .integer("spec_id", all.keys().map(|(spec_id, _)| Some(*spec_id)))
        .text("partition", all.keys().map(|(_, partition)| Some(partition)))
        .count("file_count", all.values().map(|it| Some(it.files)))
        .count("record_count", all.values().map(|it| Some(it.rows)))
        .count("deleted_record_count", all.values().map(|it| Some(it.deleted)))
        .count("total_size", all.values().map(|it| Some(it.bytes)))
        .finish()
}

/// `region=eu/day=2024-01-02`; empty for no partition.
fn partition(table: &Table, spec_id: i32, values: &[Option<Value>]) -> String {
    let Some(spec) = table.partition_specs().get(&spec_id) else {
        return String::new();
    };
    let parts = spec.fields.iter().zip(values);
    let shown: Vec<String> = parts
        .map(|(field, value)| match value {
            None => format!("{}=null", field.name),
            Some(value) => format!("{}={}", field.name, partition_value(field, value)),
        })
        .collect();
    shown.join("/")
}

/// As Iceberg shows the result of a transform to people.
fn partition_value(field: &PartitionField, value: &Value) -> String {
    let date = |days: i32| NaiveDate::from_epoch_days(days).map_or_else(|| days.to_string(), |date| date.to_string());
    let time = |micros: i64| match DateTime::from_timestamp_micros(micros) {
        Some(time) => time.format("%Y-%m-%dT%H:%M:%S%.f").to_string(),
        None => micros.to_string(),
    };
    match (field.transform, value) {
        (Transform::Year, Value::Int(years)) => (1970 + i64::from(*years)).to_string(),
        (Transform::Month, Value::Int(months)) => {
            let (year, month) = (1970 + i64::from(*months).div_euclid(12), months.rem_euclid(12) + 1);
            format!("{year:04}-{month:02}")
        }
        (Transform::Day, Value::Int(days)) | (_, Value::Date(days)) => date(*days),
        (Transform::Hour, Value::Int(hours)) => {
            let (days, hour) = (hours.div_euclid(24), hours.rem_euclid(24));
            format!("{}-{hour:02}", date(days))
        }
        (_, Value::Boolean(value)) => value.to_string(),
        (_, Value::Int(value)) => value.to_string(),
        (_, Value::Long(value)) => value.to_string(),
        (_, Value::Float(value)) => value.to_string(),
        (_, Value::Double(value)) => value.to_string(),
        (_, Value::Timestamp(micros)) => time(*micros),
        (_, Value::TimestampTz(micros)) => format!("{}Z", time(*micros)),
        (_, Value::String(text)) => text.clone(),
        (
            _,
            Value::Decimal {
                unscaled,
                precision,
                scale,
            },
        ) => Decimal128Type::format_decimal(*unscaled, *precision, *scale),
        (_, Value::Time(micros)) => {
            let (seconds, micros) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
            format!(
                "{:02}:{:02}:{:02}.{micros:06}",
                seconds / 3600,
                seconds / 60 % 60,
                seconds % 60
            )
        }
        (_, Value::Uuid(bytes)) => staffa_catalog::Uuid::from_bytes(*bytes).to_string(),
        (_, Value::Binary(bytes)) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}
