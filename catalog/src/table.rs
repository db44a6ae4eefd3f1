//! One version of one table: its columns, its layout, its files.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::deletes::with_deletes;
use crate::error::{Error, ErrorKind, Result};
use crate::file::{LiveFile, ManifestInfo};
use crate::history::{Expirable, HistoryEntry, SnapshotInfo, SnapshotRef, TableVersionSpec};
use crate::iceberg::{ManifestFile, Metadata, read_list};
use crate::index::Index;
use crate::loader::Loader;
use crate::name::TableName;
use crate::rule::{Constraint, ConstraintKind, MaterializedQuery};
use crate::schema::{PartitionSpec, SortField, TableSchema, Transform};
use crate::statistics::TableStatistics;
use crate::txn::FileChanges;

/// How many manifests of one table are read at once.
const MANIFEST_READS_MAX: usize = 8;
/// What one data file is taken to weigh before it was read.
const FILE_BYTES_GUESS: usize = 16;

/// One immutable version of a table, as one snapshot or transaction sees it.
#[derive(Debug)]
pub struct Table {
    name: TableName,
    version: Arc<TableVersion>,
    /// What the reader's own transaction did to the rows.
    pending: FileChanges,
    loader: Arc<Loader>,
    /// Committed and pending files together.
    all_files: OnceCell<Arc<Vec<Arc<LiveFile>>>>,
}

impl Table {
    pub(crate) fn new(name: TableName, version: Arc<TableVersion>, pending: FileChanges, loader: Arc<Loader>) -> Table {
        Table {
            name,
            version,
            pending,
            loader,
            all_files: OnceCell::new(),
        }
    }

    pub(crate) fn version(&self) -> &Arc<TableVersion> {
        &self.version
    }

    /// The table's name.
    pub fn name(&self) -> &TableName {
        &self.name
    }

    /// The id that stays with the table through renames and changes.
    pub fn uuid(&self) -> Uuid {
        self.version.metadata.uuid()
    }

    /// The directory of the table's files, without a slash at its end.
    pub fn location(&self) -> &str {
        self.version.metadata.location()
    }

    /// The metadata file of this version. Empty while the table was created or changed only by the open transaction.
    pub fn metadata_location(&self) -> &str {
        &self.version.metadata_location
    }

    /// The content of the metadata file; with `referenced_only` without the snapshots that no branch or tag names.
    pub fn metadata_json(&self, referenced_only: bool) -> Result<Vec<u8>> {
        match referenced_only {
            true => self.version.metadata.to_short_json(),
            false => self.version.metadata.to_json(),
        }
    }

    /// The current columns.
    pub fn schema(&self) -> &Arc<TableSchema> {
        &self.version.schema
    }

    /// Every partition spec files may be written with, by id.
    pub fn partition_specs(&self) -> &BTreeMap<i32, PartitionSpec> {
        &self.version.partition_specs
    }

    /// The spec new files are written with.
    pub fn default_spec(&self) -> &PartitionSpec {
        &self.version.default_spec
    }

    /// The id of the sort order new files should follow, and its keys; `(0, [])` when unsorted.
    pub fn sort_order(&self) -> (i32, &[SortField]) {
        (self.version.sort_order.0, &self.version.sort_order.1)
    }

    /// The table properties as stored.
    pub fn properties(&self) -> &BTreeMap<String, String> {
        &self.version.properties
    }

    /// The CHECK constraints and keys.
    pub fn constraints(&self) -> &[Constraint] {
        &self.version.constraints
    }

    /// The columns of every key that is declared: PRIMARY KEY, UNIQUE, and unique indexes of whole columns and all rows.
    pub fn declared_keys(&self) -> impl Iterator<Item = (&str, Cow<'_, [String]>)> {
        let constraints = self
            .constraints()
            .iter()
            .filter_map(|constraint| match &constraint.kind {
                ConstraintKind::PrimaryKey { columns } | ConstraintKind::Unique { columns } => {
                    Some((constraint.name.as_str(), Cow::Borrowed(columns.as_slice())))
                }
                ConstraintKind::Check { .. } | ConstraintKind::ForeignKey { .. } => None,
            });
        let indexes = self.indexes().iter();
        constraints.chain(indexes.filter_map(|index| Some((index.name.as_str(), index.unique_columns()?.into()))))
    }

    /// The indexes, in the order they were made.
    pub fn indexes(&self) -> &[Index] {
        &self.version.indexes
    }

    /// The query, if this is a materialized view.
    pub fn materialized(&self) -> Option<&MaterializedQuery> {
        self.version.materialized.as_ref()
    }

    /// When this version was made, in milliseconds since 1970 UTC.
    pub fn made_ms(&self) -> i64 {
        self.version.metadata.last_updated_ms()
    }

    /// The older metadata files that this version knows of.
    pub fn older_metadata(&self) -> Vec<String> {
        self.version.metadata.other_files()
    }

    /// `COMMENT ON TABLE`
    pub fn comment(&self) -> Option<&str> {
        self.version.metadata.comment()
    }

    /// The Iceberg snapshot, if the table ever held committed data. Pending files are not in it.
    pub fn snapshot_id(&self) -> Option<i64> {
        self.version.metadata.snapshot_id()
    }

    /// The number of rows, when the metadata says it exactly.
    pub fn row_count(&self) -> Option<u64> {
        if self.pending.has_deletes() {
            return None;
        }
        let pending: u64 = self.pending.added.iter().map(|file| file.row_count).sum();
        Some(self.version.metadata.row_count()? + pending)
    }

    /// The number of rows as near as the metadata says it.
    pub fn row_count_about(&self) -> Option<u64> {
        let about = || self.version.metadata.row_count_about();
        self.row_count().or_else(|| about().filter(|_| self.pending.is_empty()))
    }

    /// The number of each column by its field id, from 1: it stays when columns before it are dropped.
    pub fn column_numbers(&self) -> BTreeMap<i32, i16> {
        let columns = &self.version.schema.columns;
        let ever = self.version.metadata.columns_ever();
        // Other engines may have replaced columns more often than there are numbers.
        let known: BTreeMap<i32, i16> = ever.into_iter().zip(1..=i16::MAX).collect();
        let numbers: Vec<Option<i16>> = columns
            .iter()
            .map(|column| known.get(&column.field_id).copied())
            .collect();
        // Another engine may have moved columns: then they are counted as they stand.
        if numbers.is_sorted_by(|before, after| before < after) && !numbers.contains(&None) {
            return known;
        }
        columns.iter().map(|column| column.field_id).zip(1..=i16::MAX).collect()
    }

    /// The bytes of its committed files, when the metadata says it.
    pub fn stored_bytes(&self) -> Option<u64> {
        self.version.metadata.stored_bytes()
    }

    /// Whether its format version, and what it says of its layout, are such that it is written to.
    pub fn is_writable(&self) -> bool {
        self.version.metadata.check_writable().is_ok()
    }

    /// The newest statistics of its committed rows, which may be of a state before them.
    pub fn statistics(&self) -> Option<TableStatistics> {
        self.version.metadata.statistics()
    }

    /// The committed snapshots, oldest first.
    pub fn snapshots(&self) -> Result<Vec<SnapshotInfo>> {
        Ok(self.version.metadata.history()?.snapshots)
    }

    /// The manifests of the committed version.
    pub async fn manifests(&self) -> Result<Vec<ManifestInfo>> {
        let manifests = self.version.manifests(&self.loader).await?;
        Ok(manifests.iter().map(ManifestFile::info).collect())
    }

    /// Which snapshot was current when, oldest first.
    pub fn history(&self) -> Result<Vec<HistoryEntry>> {
        Ok(self.version.metadata.history()?.log)
    }

    /// The branches and tags, by name.
    pub fn refs(&self) -> Result<Vec<SnapshotRef>> {
        self.version.metadata.refs()
    }

    /// The snapshot a version is. Fails with `UndefinedVersion` when there is none (any more).
    pub fn snapshot_of(&self, version: &TableVersionSpec) -> Result<i64> {
        let history = self.version.metadata.history()?;
        Ok(history.find(&self.name.name, version)?.snapshot_id)
    }

    /// Whether a version is the newest snapshot and may be another one after the next commit: it is named by a time or a
    /// branch, not by an id.
    pub fn is_present(&self, version: &TableVersionSpec) -> Result<bool> {
        match version {
            TableVersionSpec::Snapshot(_) | TableVersionSpec::BeforeSnapshot(_) => Ok(false),
            TableVersionSpec::Ref(_) | TableVersionSpec::At(_) | TableVersionSpec::Before(_) => {
                Ok(Some(self.snapshot_of(version)?) == self.snapshot_id())
            }
        }
    }

    /// What of its history the table's properties no longer keep at `now_ms`; of a branch at most `snapshots_max` stay.
    pub fn expirable(&self, now_ms: i64, snapshots_max: usize) -> Result<Expirable> {
        let history = self.version.metadata.history()?;
        history.expirable(&self.version.properties, now_ms, snapshots_max)
    }

    /// The branch or tag of a name; the error of one that is not there says which are.
    pub fn named_ref(&self, name: &str) -> Result<SnapshotRef> {
        let history = self.version.metadata.history()?;
        let found = history.refs.iter().find(|given| given.name == name).cloned();
        found.ok_or_else(|| history.unknown_ref(&self.name.name, name))
    }

    /// The table as it was committed before; what the open transaction did to it is not there.
    ///
    /// Fails with `UndefinedVersion` when there is no such state (any more).
    pub fn at(&self, version: &TableVersionSpec) -> Result<Arc<Table>> {
        let found = self.version.metadata.history()?.find(&self.name.name, version)?;
        let metadata = self.version.metadata.at(found.snapshot_id, found.own_schema)?;
        let version = TableVersion::new(
            self.version.metadata_location.clone(),
            metadata,
            self.version.json_bytes,
        )?;
        Ok(Arc::new(Table::new(
            self.name.clone(),
            Arc::new(version),
            FileChanges::default(),
            self.loader.clone(),
        )))
    }

    /// The live data files, those of the open transaction last.
    ///
    /// Fails with `Unsupported` for a table with files that are not Parquet.
    pub async fn files(&self) -> Result<Arc<Vec<Arc<LiveFile>>>> {
        let committed = self.version.files(&self.loader).await?;
        if self.pending.is_empty() {
            return Ok(committed);
        }
        let all = self
            .all_files
            .get_or_init(|| async move { Arc::new(self.pending.over(&committed)) });
        Ok(all.await.clone())
    }
}

/// A metadata file's content in the catalog's own terms, shared by every snapshot that points to it.
#[derive(Debug)]
pub(crate) struct TableVersion {
    metadata_location: String,
    metadata: Metadata,
    /// Length of the metadata file, which the weight in the cache goes by.
    json_bytes: usize,
    schema: Arc<TableSchema>,
    partition_specs: BTreeMap<i32, PartitionSpec>,
    default_spec: PartitionSpec,
    sort_order: (i32, Vec<SortField>),
    properties: BTreeMap<String, String>,
    constraints: Vec<Constraint>,
    indexes: Vec<Index>,
    materialized: Option<MaterializedQuery>,
    manifests: OnceCell<Arc<Vec<ManifestFile>>>,
    files: OnceCell<Arc<Vec<Arc<LiveFile>>>>,
}

impl TableVersion {
    pub(crate) fn new(metadata_location: String, metadata: Metadata, json_bytes: usize) -> Result<TableVersion> {
        let schema = Arc::new(metadata.schema(&metadata_location)?);
        let partition_specs = metadata.partition_specs()?;
        let default_spec = partition_specs
            .get(&metadata.default_spec_id())
            .cloned()
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Corrupt,
                    format!("table metadata in \"{metadata_location}\" has no default spec"),
                )
            })?;
        Ok(TableVersion {
            sort_order: metadata.sort_order(),
            properties: metadata.properties(),
            constraints: metadata.constraints(&metadata_location)?,
            indexes: metadata.indexes(&metadata_location)?,
            materialized: metadata.materialized(&metadata_location)?,
            metadata_location,
            metadata,
            json_bytes,
            schema,
            partition_specs,
            default_spec,
            manifests: OnceCell::new(),
            files: OnceCell::new(),
        })
    }

    /// With the manifests that are known because this process has just written their list.
    pub(crate) fn with_manifests(mut self, manifests: Vec<ManifestFile>) -> TableVersion {
        self.manifests = OnceCell::new_with(Some(Arc::new(manifests)));
        self
    }

    pub(crate) fn metadata_location(&self) -> &str {
        &self.metadata_location
    }

    pub(crate) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    pub(crate) fn partition_specs(&self) -> &BTreeMap<i32, PartitionSpec> {
        &self.partition_specs
    }

    /// About the bytes held: parsed JSON is a few times its text. The list of files is counted, the files themselves
    /// are counted by the cache of manifests.
    pub(crate) fn weight_bytes(&self) -> usize {
        let files = self
            .metadata
            .file_count()
            .and_then(|count| usize::try_from(count).ok())
            .unwrap_or(0);
        self.json_bytes
            .saturating_mul(4)
            .saturating_add(files.saturating_mul(FILE_BYTES_GUESS))
    }

    /// The manifests of the current snapshot.
    pub(crate) async fn manifests(&self, loader: &Loader) -> Result<Arc<Vec<ManifestFile>>> {
        let read = self.manifests.get_or_try_init(|| async {
            let Some(location) = self.metadata.manifest_list() else {
                return Ok(Arc::default());
            };
            let bytes = loader.objects().get(location).await;
            let bytes = bytes.map_err(|error| error.named_in(&self.metadata_location))?;
            Ok::<_, Error>(Arc::new(read_list(&self.metadata, location, &bytes)?))
        });
        read.await.cloned()
    }

    /// The live data files with the deletes of their rows.
    pub(crate) async fn files(&self, loader: &Arc<Loader>) -> Result<Arc<Vec<Arc<LiveFile>>>> {
        let read = self.files.get_or_try_init(|| async {
            let manifests = self.manifests(loader).await?;
            let list = self.metadata.manifest_list().unwrap_or_default();
            let reads: Vec<_> = manifests
                .iter()
                .filter(|part| part.has_live_files())
                .map(|part| {
                    let (loader, part) = (loader.clone(), part.clone());
                    async move { loader.manifest(&part).await.map_err(|error| error.named_in(list)) }
                })
                .collect();
            let parts: Vec<_> = stream::iter(reads).buffered(MANIFEST_READS_MAX).try_collect().await?;
            let unpartitioned = |spec_id| {
                let spec = self.partition_specs.get(&spec_id);
                spec.is_some_and(|spec| spec.fields.iter().all(|field| field.transform == Transform::Void))
            };
            Ok::<_, Error>(Arc::new(with_deletes(&parts, unpartitioned)))
        });
        read.await.cloned()
    }
}
