//! Snapshots, log and names of a metadata file.

use std::collections::{BTreeMap, BTreeSet};

use ::iceberg::spec::{
    BlobMetadata, MAIN_BRANCH, Snapshot, SnapshotReference, SnapshotRetention, StatisticsFile, TableMetadataBuilder,
};
use serde::Deserialize;

use super::definition::refused;
use super::metadata::Metadata;
use crate::alter::TableChange;
use crate::error::{Error, Result};
use crate::history::{History, HistoryEntry, RefRetention, SnapshotInfo, SnapshotRef};
use crate::statistics::{StatisticsBlob, TableStatistics};

/// The part of a metadata file the crate does not list.
#[derive(Deserialize)]
struct Refs {
    #[serde(default)]
    refs: BTreeMap<String, SnapshotReference>,
}

impl Metadata {
    /// Everything the table remembers.
    pub(crate) fn history(&self) -> Result<History> {
        let mut snapshots: Vec<SnapshotInfo> = self.inner.snapshots().map(|snapshot| info(snapshot)).collect();
        snapshots.sort_by_key(|snapshot| (snapshot.committed_ms, snapshot.sequence_number));
        let log = self.inner.history().iter().map(|entry| HistoryEntry {
            made_current_ms: entry.timestamp_ms,
            snapshot_id: entry.snapshot_id,
        });
        Ok(History {
            snapshots,
            log: log.collect(),
            refs: self.refs()?,
        })
    }

    /// Files the metadata names besides those of its snapshots: older metadata, and statistics.
    pub(crate) fn other_files(&self) -> Vec<String> {
        let log = self
            .inner
            .metadata_log()
            .iter()
            .map(|entry| entry.metadata_file.clone());
        log.chain(self.statistics_files()).collect()
    }

    /// The newest statistics of the snapshot that is read, or of one that it was made from.
    pub(crate) fn statistics(&self) -> Option<TableStatistics> {
        self.statistics_used().map(from_iceberg)
    }

    fn statistics_used(&self) -> Option<&StatisticsFile> {
        let by_snapshot = |id: i64| self.inner.statistics_iter().find(|file| file.snapshot_id == id);
        // Most tables have one file or none, and many snapshots.
        self.inner.statistics_iter().next()?;
        self.line().find_map(|snapshot| by_snapshot(snapshot.snapshot_id()))
    }

    /// Files of statistics.
    pub(crate) fn statistics_files(&self) -> impl Iterator<Item = String> {
        let statistics = self.inner.statistics_iter().map(|file| file.statistics_path.clone());
        let partitions = self.inner.partition_statistics_iter();
        statistics.chain(partitions.map(|file| file.statistics_path.clone()))
    }

    /// The branches and tags, by name.
    pub(crate) fn refs(&self) -> Result<Vec<SnapshotRef>> {
        // Names may be there without a current snapshot: a branch of a table whose main one has no rows yet.
        if self.inner.snapshots().len() == 0 {
            return Ok(Vec::new());
        }
        let json = self.to_json()?;
        let Refs { refs } = serde_json::from_slice(&json)
            .map_err(|error| Error::internal("cannot read the branches and tags of a table").with_source(error))?;
        Ok(refs
            .into_iter()
            .map(|(name, given)| SnapshotRef {
                name,
                snapshot_id: given.snapshot_id,
                retention: match given.retention {
                    SnapshotRetention::Branch {
                        min_snapshots_to_keep,
                        max_snapshot_age_ms,
                        max_ref_age_ms,
                    } => RefRetention::Branch {
                        max_ref_age_ms,
                        max_snapshot_age_ms,
                        min_snapshots_to_keep,
                    },
                    SnapshotRetention::Tag { max_ref_age_ms } => RefRetention::Tag { max_ref_age_ms },
                },
            })
            .collect())
    }
}

/// A change of the history, put into a builder.
pub(super) fn history_change(
    base: &Metadata,
    builder: TableMetadataBuilder,
    change: &TableChange,
) -> Result<TableMetadataBuilder> {
    match change {
        TableChange::RollBack { snapshot_id } => {
            base.check_has_values(*snapshot_id)?;
            let main = base.refs()?.into_iter().find(|given| given.name == MAIN_BRANCH);
            let kept = main.map(|given| retention(given.retention));
            let retention = kept.unwrap_or(SnapshotRetention::branch(None, None, None));
            let main = SnapshotReference::new(*snapshot_id, retention);
            builder.set_ref(MAIN_BRANCH, main).map_err(refused)
        }
        TableChange::SetRef(given) => {
            let reference = SnapshotReference::new(given.snapshot_id, retention(given.retention));
            builder.set_ref(&given.name, reference).map_err(refused)
        }
        TableChange::DropRef { name } => Ok(builder.remove_ref(name)),
        TableChange::ExpireSnapshots(ids) => {
            let gone: Vec<i64> = ids.iter().copied().collect();
            Ok(without_statistics(base, builder.remove_snapshots(&gone), ids))
        }
        TableChange::SetStatistics(statistics) => Ok(builder.set_statistics(to_iceberg(statistics))),
        _ => Ok(builder),
    }
}

/// Without the statistics of snapshots that go. Those that readers use still become the current snapshot's.
fn without_statistics(
    base: &Metadata,
    mut builder: TableMetadataBuilder,
    gone: &BTreeSet<i64>,
) -> TableMetadataBuilder {
    let inner = &base.inner;
    if let (Some(used), Some(current)) = (base.statistics_used(), inner.current_snapshot_id())
        && gone.contains(&used.snapshot_id)
        && !gone.contains(&current)
    {
        builder = builder.set_statistics(StatisticsFile {
            snapshot_id: current,
            ..used.clone()
        });
    }
    for file in inner.statistics_iter().filter(|file| gone.contains(&file.snapshot_id)) {
        builder = builder.remove_statistics(file.snapshot_id);
    }
    let partitions = inner.partition_statistics_iter();
    for file in partitions.filter(|file| gone.contains(&file.snapshot_id)) {
        builder = builder.remove_partition_statistics(file.snapshot_id);
    }
    builder
}

fn to_iceberg(statistics: &TableStatistics) -> StatisticsFile {
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let blobs = statistics.blobs.iter().map(|blob| BlobMetadata {
        r#type: blob.kind.clone(),
        snapshot_id: blob.snapshot_id,
        sequence_number: blob.sequence_number,
        fields: blob.fields.clone(),
        properties: blob.properties.clone().into_iter().collect(),
    });
    StatisticsFile {
        snapshot_id: statistics.snapshot_id,
        statistics_path: statistics.location.clone(),
        file_size_in_bytes: bytes(statistics.size_bytes),
        file_footer_size_in_bytes: bytes(statistics.footer_bytes),
        key_metadata: None,
        blob_metadata: blobs.collect(),
    }
}

fn from_iceberg(file: &StatisticsFile) -> TableStatistics {
    let blobs = file.blob_metadata.iter().map(|blob| StatisticsBlob {
        kind: blob.r#type.clone(),
        snapshot_id: blob.snapshot_id,
        sequence_number: blob.sequence_number,
        fields: blob.fields.clone(),
        properties: blob.properties.clone().into_iter().collect(),
    });
    TableStatistics {
        snapshot_id: file.snapshot_id,
        location: file.statistics_path.clone(),
        size_bytes: file.file_size_in_bytes.unsigned_abs(),
        footer_bytes: file.file_footer_size_in_bytes.unsigned_abs(),
        blobs: blobs.collect(),
    }
}

fn retention(retention: RefRetention) -> SnapshotRetention {
    match retention {
        RefRetention::Branch {
            max_ref_age_ms,
            max_snapshot_age_ms,
            min_snapshots_to_keep,
        } => SnapshotRetention::Branch {
            min_snapshots_to_keep,
            max_snapshot_age_ms,
            max_ref_age_ms,
        },
        RefRetention::Tag { max_ref_age_ms } => SnapshotRetention::Tag { max_ref_age_ms },
    }
}

fn info(snapshot: &Snapshot) -> SnapshotInfo {
    let summary = snapshot.summary();
    SnapshotInfo {
        id: snapshot.snapshot_id(),
        parent_id: snapshot.parent_snapshot_id(),
        sequence_number: snapshot.sequence_number(),
        committed_ms: snapshot.timestamp_ms(),
        operation: summary.operation.as_str().to_owned(),
        manifest_list: snapshot.manifest_list().to_owned(),
        schema_id: snapshot.schema_id(),
        summary: summary
            .additional_properties
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    }
}
