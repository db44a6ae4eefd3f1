//! A table's metadata file: made for a new table, read, and turned into the next version.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use ::iceberg::spec::{
    FormatVersion, MAIN_BRANCH, NullOrder, Operation, Schema, Snapshot, SortDirection, SortField as IcebergSortField,
    Summary, TableMetadata, TableMetadataBuilder, Transform as IcebergTransform,
};
use chrono::Utc;
use serde_json::{Value, json};
use uuid::Uuid;

use super::definition::{is_uuid, refused, uuid_partition};
use super::types::{COLUMN_TYPES, parse_overrides, to_columns};
use super::{corrupt, decode, encode_failed};
use crate::alter::TableChange;
use crate::error::{Error, ErrorKind, Result};
use crate::index::{INDEXES_KEY, Index};
use crate::objects::is_inside;
use crate::rule::{
    CONSTRAINTS_KEY, Constraint, DEFAULTS_KEY, MATERIALIZED_KEY, MaterializedQuery, parse_constraints, parse_defaults,
    parse_indexes, parse_materialized,
};
use crate::schema::{PartitionField, PartitionSpec, SortField, TableSchema, Transform};

pub(super) const COMMENT_KEY: &str = "comment";

/// The content of one metadata file.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    pub(super) inner: Arc<TableMetadata>,
    /// An older state to read instead of the current one. Only what readers ask looks at it.
    at: Option<Point>,
}

/// A state of the past.
#[derive(Clone, Copy, Debug)]
struct Point {
    snapshot_id: i64,
    /// Its columns; `None`: the current ones.
    schema_id: Option<i32>,
}

/// What a commit adds to a table's history.
pub(crate) struct NewSnapshot {
    pub(crate) id: i64,
    pub(crate) manifest_list: String,
    pub(crate) timestamp_ms: i64,
    pub(crate) changes: SnapshotChanges,
    /// Format version 3: the first row id it gives out, and how many.
    pub(crate) row_ids: Option<(u64, u64)>,
}

/// What a commit added and took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SnapshotChanges {
    pub(crate) added: SnapshotTotals,
    pub(crate) removed: SnapshotTotals,
    /// Files of position deletes, with the rows they name.
    pub(crate) added_deletes: SnapshotTotals,
    pub(crate) removed_deletes: SnapshotTotals,
    /// Whether the files of deletes that were added are deletion vectors, and how many of the removed ones are.
    pub(crate) adds_vectors: bool,
    pub(crate) removed_vectors: u64,
    /// Whether the same rows are in other files now.
    pub(crate) replaces: bool,
}

/// Files, with the sums of their rows and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SnapshotTotals {
    pub(crate) files: u64,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

impl SnapshotTotals {
    pub(crate) fn add(&mut self, rows: u64, bytes: u64) {
        self.files += 1;
        self.rows += rows;
        self.bytes += bytes;
    }
}

impl Metadata {
    pub(super) fn of(inner: Arc<TableMetadata>) -> Metadata {
        Metadata { inner, at: None }
    }

    /// The table as a snapshot had it. With `own_schema` also with the columns of that time.
    pub(crate) fn at(&self, snapshot_id: i64, own_schema: bool) -> Result<Metadata> {
        let snapshot = self
            .inner
            .snapshot_by_id(snapshot_id)
            .ok_or_else(|| Error::internal(format!("the table has no snapshot {snapshot_id}")))?;
        let schema_id = snapshot.schema_id().filter(|_| own_schema);
        Ok(Metadata {
            inner: self.inner.clone(),
            at: Some(Point { snapshot_id, schema_id }),
        })
    }

    /// Whether a snapshot's rows can be rows of today's columns: those that must not be null were there.
    pub(super) fn check_has_values(&self, snapshot_id: i64) -> Result<()> {
        let then = self.at(snapshot_id, true)?;
        let missing = self.required_columns().into_iter().find(|(id, _)| !then.has_field(*id));
        match missing {
            None => Ok(()),
            Some((_, column)) => Err(Error::new(
                ErrorKind::Unsupported,
                format!("the older state has no values of column \"{column}\", which must not be null"),
            )
            .with_detail("The column was added since, or got a type that its values had to be written anew for.")
            .with_hint("ALTER TABLE … ALTER COLUMN … DROP NOT NULL first.")),
        }
    }

    /// The same table under another uuid and location, with one snapshot or none. Its files stay where they are.
    /// The definition is today's: defaults and constraints may name columns the snapshot did not have.
    pub(crate) fn clone_as(&self, snapshot_id: Option<i64>, uuid: Uuid, location: &str) -> Result<Metadata> {
        let failed = |error| Error::internal("cannot encode table metadata").with_source(error);
        let mut json = serde_json::to_value(&*self.inner).map_err(failed)?;
        let Some(fields) = json.as_object_mut() else {
            return Err(Error::internal("table metadata is no object"));
        };
        fields.insert("table-uuid".to_owned(), json!(uuid));
        fields.insert("location".to_owned(), json!(location));
        for list in ["metadata-log", "statistics", "partition-statistics", "snapshot-log"] {
            fields.insert(list.to_owned(), json!([]));
        }
        fields.insert("refs".to_owned(), json!({}));
        fields.insert("current-snapshot-id".to_owned(), json!(null));
        let kept = fields.get_mut("snapshots").and_then(Value::as_array_mut);
        if let Some(snapshots) = kept {
            snapshots.retain(|snapshot| snapshot["snapshot-id"].as_i64() == snapshot_id && snapshot_id.is_some());
        }
        if let Some(id) = snapshot_id {
            self.check_has_values(id)?;
            let snapshot = self.inner.snapshot_by_id(id);
            let snapshot = snapshot.ok_or_else(|| Error::internal(format!("the table has no snapshot {id}")))?;
            let entry = json!({"snapshot-id": id, "timestamp-ms": snapshot.timestamp_ms()});
            fields.insert("snapshot-log".to_owned(), json!([entry]));
            fields.insert("current-snapshot-id".to_owned(), json!(id));
            let main = json!({"snapshot-id": id, "type": "branch"});
            fields.insert("refs".to_owned(), json!({ MAIN_BRANCH: main }));
        }
        let inner = serde_json::from_value(json).map_err(failed)?;
        Ok(Metadata::of(Arc::new(inner)))
    }

    /// The snapshot that is read.
    fn snapshot_read(&self) -> Option<&Arc<Snapshot>> {
        match self.at {
            Some(point) => self.inner.snapshot_by_id(point.snapshot_id),
            None => self.inner.current_snapshot(),
        }
    }

    /// The schema rows are read with.
    pub(super) fn schema_read(&self) -> &Arc<Schema> {
        let of_then = self.at.and_then(|point| self.inner.schema_by_id(point.schema_id?));
        of_then.unwrap_or_else(|| self.inner.current_schema())
    }

    /// The parent of a snapshot.
    pub(crate) fn parent_of(&self, snapshot_id: i64) -> Option<i64> {
        self.inner.snapshot_by_id(snapshot_id)?.parent_snapshot_id()
    }

    /// The list of a snapshot's manifests, and the snapshot's place in the table's own count.
    pub(crate) fn list_of(&self, snapshot_id: i64) -> Option<(&str, i64)> {
        let snapshot = self.inner.snapshot_by_id(snapshot_id)?;
        Some((snapshot.manifest_list(), snapshot.sequence_number()))
    }

    /// Reads a metadata file.
    pub(crate) fn parse(location: &str, bytes: &[u8]) -> Result<Metadata> {
        if bytes.starts_with(&[0x1f, 0x8b]) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("table metadata in \"{location}\" is compressed, which is not supported"),
            )
            .with_hint(
                "Set the table property write.metadata.compression-codec to none in the engine that wrote it.",
            ));
        }
        decode(location, || {
            let inner = serde_json::from_slice(bytes).map_err(|error| corrupt(location, error))?;
            Ok(Metadata::of(Arc::new(inner)))
        })
    }

    /// The metadata file's content.
    pub(crate) fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(&*self.inner)
            .map_err(|error| Error::internal("cannot encode table metadata").with_source(error))
    }

    /// The same without the snapshots that no branch or tag names.
    pub(crate) fn to_short_json(&self) -> Result<Vec<u8>> {
        let failed = |error| Error::internal("cannot encode table metadata").with_source(error);
        let named: HashSet<i64> = self.refs()?.into_iter().map(|given| given.snapshot_id).collect();
        let mut json = serde_json::to_value(&*self.inner).map_err(failed)?;
        if let Some(snapshots) = json.get_mut("snapshots").and_then(Value::as_array_mut) {
            snapshots.retain(|snapshot| snapshot["snapshot-id"].as_i64().is_some_and(|id| named.contains(&id)));
        }
        serde_json::to_vec(&json).map_err(failed)
    }

    pub(crate) fn uuid(&self) -> Uuid {
        self.inner.uuid()
    }

    /// The table's directory, without a slash at its end.
    pub(crate) fn location(&self) -> &str {
        self.inner.location()
    }

    pub(crate) fn last_updated_ms(&self) -> i64 {
        self.inner.last_updated_ms()
    }

    pub(crate) fn next_sequence_number(&self) -> i64 {
        self.inner.next_sequence_number()
    }

    pub(crate) fn last_column_id(&self) -> i32 {
        self.inner.last_column_id()
    }

    /// Whether CHECK constraints and keys are the other's.
    pub(crate) fn has_constraints_of(&self, other: &Metadata) -> bool {
        self.inner.properties().get(CONSTRAINTS_KEY) == other.inner.properties().get(CONSTRAINTS_KEY)
    }

    /// Whether columns, partitioning and order are the other's: ids that changes of both give out are the same then.
    pub(crate) fn has_structure_of(&self, other: &Metadata) -> bool {
        let (a, b) = (&self.inner, &other.inner);
        a.current_schema_id() == b.current_schema_id()
            && a.last_column_id() == b.last_column_id()
            && a.default_partition_spec_id() == b.default_partition_spec_id()
            && a.last_partition_id() == b.last_partition_id()
            && a.default_sort_order_id() == b.default_sort_order_id()
            && [COLUMN_TYPES, DEFAULTS_KEY, CONSTRAINTS_KEY, INDEXES_KEY]
                .iter()
                .all(|key| a.properties().get(*key) == b.properties().get(*key))
    }

    pub(crate) fn parent_snapshot_id(&self) -> Option<i64> {
        self.inner
            .current_snapshot()
            .and_then(|snapshot| snapshot.parent_snapshot_id())
    }

    /// Whether the snapshot that is read is this one or was made from it, as far back as is remembered.
    pub(crate) fn descends_from(&self, snapshot_id: i64) -> bool {
        self.line().any(|snapshot| snapshot.snapshot_id() == snapshot_id)
    }

    /// The snapshot that is read, the one it was made from, and so on.
    pub(super) fn line(&self) -> impl Iterator<Item = &Arc<Snapshot>> {
        let snapshots = std::iter::successors(self.snapshot_read(), |snapshot| {
            self.inner.snapshot_by_id(snapshot.parent_snapshot_id()?)
        });
        // Of a damaged file parents may go in a circle.
        snapshots.take(self.inner.snapshots().len())
    }

    pub(crate) fn has_snapshot(&self, snapshot_id: i64) -> bool {
        self.inner.snapshot_by_id(snapshot_id).is_some()
    }

    /// The current columns.
    pub(crate) fn schema(&self, location: &str) -> Result<TableSchema> {
        self.columns(location, self.schema_read())
    }

    /// The columns of any of the table's schemas.
    pub(super) fn columns_of(&self, schema: &Schema) -> Result<TableSchema> {
        self.columns(self.location(), schema)
    }

    fn columns(&self, location: &str, schema: &Schema) -> Result<TableSchema> {
        let overrides = parse_overrides(location, self.inner.properties().get(COLUMN_TYPES))?;
        let defaults = parse_defaults(location, self.inner.properties().get(DEFAULTS_KEY))?;
        to_columns(schema, &overrides, &defaults)
    }

    /// Whether a leaf or column with this id is in the current schema.
    pub(crate) fn has_field(&self, field_id: i32) -> bool {
        self.schema_read().field_by_id(field_id).is_some()
    }

    /// The columns that must not be null, by field id and name.
    pub(crate) fn required_columns(&self) -> Vec<(i32, String)> {
        let fields = self.schema_read().as_struct().fields();
        fields
            .iter()
            .filter(|field| field.required)
            .map(|field| (field.id, field.name.clone()))
            .collect()
    }

    /// The table's indexes.
    pub(crate) fn indexes(&self, location: &str) -> Result<Vec<Index>> {
        parse_indexes(location, self.inner.properties().get(INDEXES_KEY))
    }

    /// The table's CHECK constraints and keys.
    pub(crate) fn constraints(&self, location: &str) -> Result<Vec<Constraint>> {
        parse_constraints(location, self.inner.properties().get(CONSTRAINTS_KEY))
    }

    /// The query of a materialized view.
    pub(crate) fn materialized(&self, location: &str) -> Result<Option<MaterializedQuery>> {
        parse_materialized(location, self.inner.properties().get(MATERIALIZED_KEY))
    }

    /// All partition specs by id.
    pub(crate) fn partition_specs(&self) -> Result<BTreeMap<i32, PartitionSpec>> {
        let mut specs = BTreeMap::new();
        for spec in self.inner.partition_specs_iter() {
            let mut fields = Vec::with_capacity(spec.fields().len());
            for field in spec.fields() {
                fields.push(PartitionField {
                    source_id: field.source_id,
                    field_id: field.field_id,
                    name: field.name.clone(),
                    transform: transform_from_iceberg(field.transform, &field.name)?,
                });
            }
            specs.insert(
                spec.spec_id(),
                PartitionSpec {
                    spec_id: spec.spec_id(),
                    fields,
                },
            );
        }
        Ok(specs)
    }

    pub(crate) fn default_spec_id(&self) -> i32 {
        self.inner.default_partition_spec_id()
    }

    /// Id and keys of the default sort order. An order that uses transforms counts as unsorted: we could not follow it.
    pub(crate) fn sort_order(&self) -> (i32, Vec<SortField>) {
        let order = self.inner.default_sort_order();
        let plain = order
            .fields
            .iter()
            .all(|field| field.transform == IcebergTransform::Identity);
        match i32::try_from(order.order_id) {
            Ok(id) if plain => {
                let key = |field: &IcebergSortField| SortField {
                    source_id: field.source_id,
                    descending: field.direction == SortDirection::Descending,
                    nulls_first: field.null_order == NullOrder::First,
                };
                (id, order.fields.iter().map(key).collect())
            }
            _ => (0, Vec::new()),
        }
    }

    pub(crate) fn properties(&self) -> BTreeMap<String, String> {
        self.inner
            .properties()
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    pub(crate) fn property(&self, key: &str) -> Option<&str> {
        self.inner.properties().get(key).map(String::as_str)
    }

    pub(crate) fn comment(&self) -> Option<&str> {
        self.inner.properties().get(COMMENT_KEY).map(String::as_str)
    }

    pub(crate) fn snapshot_id(&self) -> Option<i64> {
        self.snapshot_read().map(|snapshot| snapshot.snapshot_id())
    }

    /// Location of the current manifest list, if there is a snapshot.
    pub(crate) fn manifest_list(&self) -> Option<&str> {
        self.snapshot_read().map(|snapshot| snapshot.manifest_list())
    }

    /// The rows of the current snapshot, if its summary gives an exact number: it counts them, and there are no
    /// row-level deletes.
    pub(crate) fn row_count(&self) -> Option<u64> {
        let Some(snapshot) = self.snapshot_read() else {
            return Some(0);
        };
        let no_deletes = total(snapshot, "total-delete-files") == Some(0)
            || (total(snapshot, "total-position-deletes") == Some(0)
                && total(snapshot, "total-equality-deletes") == Some(0));
        if no_deletes {
            total(snapshot, "total-records")
        } else {
            None
        }
    }

    /// The same where rows are deleted one by one: without those that delete files name.
    pub(crate) fn row_count_about(&self) -> Option<u64> {
        let Some(snapshot) = self.snapshot_read() else {
            return Some(0);
        };
        // How many rows equal those of a file of equality deletes it does not say.
        let deleted = total(snapshot, "total-position-deletes")?;
        Some(total(snapshot, "total-records")?.saturating_sub(deleted))
    }

    /// The field ids of all columns there ever were, in their order.
    pub(crate) fn columns_ever(&self) -> BTreeSet<i32> {
        let schemas = self.inner.schemas_iter();
        let ids = schemas.flat_map(|schema| schema.as_struct().fields().iter().map(|field| field.id));
        ids.collect::<BTreeSet<i32>>()
    }

    /// The bytes of the live files, when the summary says it.
    pub(crate) fn stored_bytes(&self) -> Option<u64> {
        let Some(snapshot) = self.snapshot_read() else {
            return Some(0);
        };
        let properties = &snapshot.summary().additional_properties;
        properties.get("total-files-size")?.parse().ok()
    }

    /// The number of live data files, when the summary says it.
    pub(crate) fn file_count(&self) -> Option<u64> {
        let snapshot = self.snapshot_read()?;
        snapshot
            .summary()
            .additional_properties
            .get("total-data-files")?
            .parse()
            .ok()
    }

    /// Whether rows have ids and are deleted by vectors: format version 3.
    pub(crate) fn has_row_ids(&self) -> bool {
        self.inner.format_version() == FormatVersion::V3
    }

    /// Refuses a table whose format version we read but do not write.
    pub(crate) fn check_writable(&self) -> Result<()> {
        let version = self.inner.format_version();
        if version == FormatVersion::V1 {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "writing to tables of Iceberg format version {} is not supported",
                    version as u8
                ),
            )
            .with_hint("Format versions 2 and 3 are written."));
        }
        for field in self.inner.default_partition_spec().fields() {
            let source = self.inner.current_schema().field_by_id(field.source_id);
            if let Some(source) =
                source.filter(|source| field.transform == IcebergTransform::Identity && is_uuid(source))
            {
                return Err(uuid_partition(&source.name));
            }
        }
        Ok(())
    }

    /// The next version: changes of the definition first, then the snapshot. `location` is the file this version is stored in, `None` if
    /// it never was stored. Also gives the metadata files that fell off the new version's log.
    pub(crate) fn next(
        &self,
        location: Option<&str>,
        changes: &[TableChange],
        snapshot: Option<NewSnapshot>,
    ) -> Result<(Metadata, Vec<String>)> {
        let builder = self.apply(self.builder(location)?, changes)?;
        let Some(snapshot) = snapshot else {
            return built(builder);
        };
        if changes.is_empty() {
            return self.built_with(builder, snapshot);
        }
        // The snapshot's schema is the one the changes made, so that one must be there first.
        let (defined, mut expired) = built(builder)?;
        let builder = TableMetadata::clone(&defined.inner).into_builder(None);
        let (next, more) = defined.built_with(builder, snapshot)?;
        expired.extend(more);
        Ok((next, expired))
    }

    /// What the next version is made with. It has the time of its snapshot, or of now; and of this version where the clock
    /// is behind that: servers' clocks differ, and a table whose time goes back is refused by everybody.
    pub(super) fn builder(&self, location: Option<&str>) -> Result<TableMetadataBuilder> {
        let builder = TableMetadata::clone(&self.inner).into_builder(location.map(str::to_owned));
        let time_ms = self.newest_ms().saturating_add(1);
        let logged = self.inner.history().last().map(|entry| entry.snapshot_id);
        if Utc::now().timestamp_millis() >= time_ms || logged != self.inner.current_snapshot_id() {
            return Ok(builder);
        }
        // The builder takes a time with a snapshot only, and keeps it when that goes.
        let id = (1..=i64::MAX).find(|id| !self.has_snapshot(*id)).unwrap_or(i64::MAX);
        let snapshot = Snapshot::builder()
            .with_snapshot_id(id)
            .with_parent_snapshot_id(None)
            .with_sequence_number(self.inner.last_sequence_number())
            .with_timestamp_ms(time_ms)
            .with_manifest_list(String::new())
            .with_summary(summary(None, SnapshotChanges::default()))
            .with_schema_id(self.inner.current_schema_id());
        let snapshot = match self.has_row_ids() {
            true => snapshot.with_row_range(self.inner.next_row_id(), 0).build(),
            false => snapshot.build(),
        };
        let builder = builder.add_snapshot(snapshot).map_err(refused)?;
        Ok(builder.remove_snapshots(&[id]))
    }

    /// The newest time it knows of.
    fn newest_ms(&self) -> i64 {
        let snapshots = self.inner.history().iter().map(|entry| entry.timestamp_ms);
        let versions = self.inner.metadata_log().iter().map(|entry| entry.timestamp_ms);
        let logged = snapshots.chain(versions).max();
        logged.unwrap_or(i64::MIN).max(self.inner.last_updated_ms())
    }

    fn built_with(&self, builder: TableMetadataBuilder, snapshot: NewSnapshot) -> Result<(Metadata, Vec<String>)> {
        let builder = builder.set_branch_snapshot(self.snapshot(snapshot), MAIN_BRANCH);
        built(builder.map_err(|error| encode_failed("table metadata", error))?)
    }

    fn snapshot(&self, new: NewSnapshot) -> Snapshot {
        let parent = self.inner.current_snapshot();
        let snapshot = Snapshot::builder()
            .with_snapshot_id(new.id)
            .with_parent_snapshot_id(parent.map(|snapshot| snapshot.snapshot_id()))
            .with_sequence_number(self.inner.next_sequence_number())
            .with_timestamp_ms(new.timestamp_ms)
            .with_manifest_list(new.manifest_list)
            .with_summary(summary(parent.map(|snapshot| snapshot.summary()), new.changes))
            .with_schema_id(self.inner.current_schema_id());
        match new.row_ids {
            Some((first, count)) => snapshot.with_row_range(first, count).build(),
            None => snapshot.build(),
        }
    }
}

/// The metadata, and the table's own metadata files that fell off its log. They are deleted: of a table that was made
/// elsewhere the log may name anything.
pub(super) fn built(builder: TableMetadataBuilder) -> Result<(Metadata, Vec<String>)> {
    let result = builder.build().map_err(refused)?;
    let expired = result.expired_metadata_logs.into_iter();
    let mut expired: Vec<String> = expired.map(|entry| entry.metadata_file).collect();
    expired.retain(|file| is_inside(result.metadata.location(), file));
    Ok((Metadata::of(Arc::new(result.metadata)), expired))
}

fn total(snapshot: &Snapshot, key: &str) -> Option<u64> {
    snapshot.summary().additional_properties.get(key)?.parse().ok()
}

/// The summary of a snapshot. Totals go on from the parent's; one the parent lacks stays unknown.
fn summary(parent: Option<&Summary>, changes: SnapshotChanges) -> Summary {
    let SnapshotChanges {
        added,
        removed,
        added_deletes,
        removed_deletes,
        adds_vectors,
        removed_vectors,
        replaces,
    } = changes;
    let added_vectors = if adds_vectors { added_deletes.files } else { 0 };
    let mut properties = HashMap::from([
        ("engine-name".to_owned(), "staffa".to_owned()),
        ("engine-version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("added-data-files".to_owned(), added.files.to_string()),
        ("added-records".to_owned(), added.rows.to_string()),
        (
            "added-files-size".to_owned(),
            (added.bytes + added_deletes.bytes).to_string(),
        ),
    ]);
    let optional = [
        ("deleted-data-files", removed.files),
        ("deleted-records", removed.rows),
        ("removed-files-size", removed.bytes + removed_deletes.bytes),
        ("added-delete-files", added_deletes.files),
        ("added-position-delete-files", added_deletes.files - added_vectors),
        ("added-dvs", added_vectors),
        ("added-position-deletes", added_deletes.rows),
        ("removed-delete-files", removed_deletes.files),
        ("removed-position-delete-files", removed_deletes.files - removed_vectors),
        ("removed-dvs", removed_vectors),
        ("removed-position-deletes", removed_deletes.rows),
    ];
    let there = optional.into_iter().filter(|(_, number)| *number > 0);
    properties.extend(there.map(|(key, number)| (key.to_owned(), number.to_string())));
    let totals = [
        ("total-data-files", added.files, removed.files),
        ("total-records", added.rows, removed.rows),
        (
            "total-files-size",
            added.bytes + added_deletes.bytes,
            removed.bytes + removed_deletes.bytes,
        ),
        ("total-delete-files", added_deletes.files, removed_deletes.files),
        ("total-position-deletes", added_deletes.rows, removed_deletes.rows),
        ("total-equality-deletes", 0, 0),
    ];
    for (key, more, less) in totals {
        let before = match parent {
            None => Some(0),
            Some(parent) => parent
                .additional_properties
                .get(key)
                .and_then(|text| text.parse::<u64>().ok()),
        };
        let after = before.and_then(|before| before.checked_add(more)?.checked_sub(less));
        if let Some(total) = after {
            properties.insert(key.to_owned(), total.to_string());
        }
    }
    let takes_away = removed.files > 0 || added_deletes.files > 0;
    Summary {
        operation: match (added.files > 0, takes_away) {
            _ if replaces => Operation::Replace,
            (_, false) => Operation::Append,
            (false, true) => Operation::Delete,
            (true, true) => Operation::Overwrite,
        },
        additional_properties: properties,
    }
}

fn transform_from_iceberg(transform: IcebergTransform, field: &str) -> Result<Transform> {
    Ok(match transform {
        IcebergTransform::Identity => Transform::Identity,
        IcebergTransform::Bucket(buckets) => Transform::Bucket(buckets),
        IcebergTransform::Truncate(width) => Transform::Truncate(width),
        IcebergTransform::Year => Transform::Year,
        IcebergTransform::Month => Transform::Month,
        IcebergTransform::Day => Transform::Day,
        IcebergTransform::Hour => Transform::Hour,
        IcebergTransform::Void => Transform::Void,
        IcebergTransform::Unknown => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("partition field \"{field}\" has a transform that is not supported"),
            ));
        }
    })
}
