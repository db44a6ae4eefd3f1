//! The next version of one table: its manifests, manifest list and metadata, in memory.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use chrono::Utc;
use futures::stream::{self, StreamExt, TryStreamExt};
use rand::Rng;
use uuid::Uuid;

use super::deletes::RowDeletes;
use super::foreign::{self, Looked};
use super::reads::has_rows_of;
use crate::alter::TableChange;
use crate::database::NewGarbage;
use crate::error::{Error, Result};
use crate::file::{DataFile, DeleteFile, RemovedFiles};
use crate::garbage::{EXPIRED_KEPT_MS, OLD_METADATA_KEPT_MS, Survey};
use crate::history::SnapshotRef;
use crate::iceberg::{
    Encoded, ManifestFile, Metadata, NewSnapshot, SnapshotChanges, TableCommit, merge_manifest, write_delete_manifest,
    write_list, write_manifest,
};
use crate::invariants::check_step;
use crate::objects::is_inside;
use crate::shared::{Shared, data_directory, spread};
use crate::table::TableVersion;
use crate::txn::TableDelta;

/// Manifests of this size (Iceberg's default target) are never merged.
const MANIFEST_BYTES_MAX: u64 = 8 << 20;
/// How many smaller ones of one partition spec a table may have before a commit merges them (Iceberg's default).
const SMALL_MANIFESTS_MAX: usize = 100;
const MANIFEST_READS_MAX: usize = 16;
/// Iceberg's table properties for these numbers.
const MANIFEST_SIZE: &str = "commit.manifest.target-size-bytes";
const MANIFEST_COUNT: &str = "commit.manifest.min-count-to-merge";
const MANIFEST_MERGE: &str = "commit.manifest-merge.enabled";

/// What the attempts of one commit to one table share.
pub(super) struct TableWork {
    txn_id: Uuid,
    snapshot_id: i64,
    /// Manifests of the added files by partition spec. Their entries inherit what depends on the head, so a retry uses
    /// them again.
    added: BTreeMap<i32, ManifestFile>,
    manifest_count: u32,
    seen: Seen,
}

/// What was read of the table's files, for all attempts.
#[derive(Default)]
pub(super) struct Seen {
    /// What is known of the files of snapshots.
    pub(super) survey: Survey,
    /// What is known of those another engine brings.
    pub(super) looked: Looked,
}

/// What one attempt makes for one table.
pub(super) struct NextVersion {
    pub(super) version: TableVersion,
    pub(super) objects: Vec<Encoded>,
    pub(super) garbage: Vec<NewGarbage>,
}

impl TableWork {
    /// `first_attempt` keeps the names of manifests apart from those of attempts that were given up.
    pub(super) fn new(txn_id: Uuid, first_attempt: u32) -> TableWork {
        // Positive, as Iceberg wants it; 62 random bits.
        let snapshot_id = rand::rng().random_range(1..=(i64::MAX >> 1));
        TableWork {
            txn_id,
            snapshot_id,
            added: BTreeMap::new(),
            manifest_count: first_attempt,
            seen: Seen::default(),
        }
    }

    /// Reads what it takes to tell which files go with snapshots. It may be much: the table's other writers must not wait
    /// for it.
    pub(super) async fn survey(&mut self, shared: &Shared, base: &Metadata) -> Result<()> {
        self.seen.survey.reachable(shared, base, |_| true).await.map(drop)
    }

    /// Reads the files that another engine's commit names, also before it is its turn.
    pub(super) async fn look(&mut self, shared: &Shared, base: &TableVersion, commit: &TableCommit) {
        foreign::look(shared, base, commit, &mut self.seen.looked).await;
    }

    /// The transaction whose id the objects carry.
    pub(super) fn txn_id(&self) -> Uuid {
        self.txn_id
    }

    /// The next attempt has other files.
    pub(super) fn forget_added(&mut self) {
        self.added.clear();
    }

    /// Whether an object is used by the next attempt too.
    pub(super) fn keeps(&self, location: &str) -> bool {
        self.added.values().any(|manifest| manifest.location() == location)
    }

    /// Puts the delta on top of `onto`, or makes the first version of a new table.
    pub(super) async fn next_version(
        &mut self,
        shared: &Shared,
        delta: &TableDelta,
        onto: Option<&TableVersion>,
        attempt: u32,
    ) -> Result<NextVersion> {
        if let (Some(commit), Some(onto)) = (&delta.foreign, onto) {
            return foreign::next_version(shared, onto, commit, &mut self.seen, self.txn_id, attempt).await;
        }
        let from = onto.map(TableVersion::metadata_location);
        let before = onto.map_or(delta.version.metadata(), TableVersion::metadata);
        // Files and manifests are of the format version that the same commit may raise.
        let raised = before.raised(&delta.changes)?;
        let current = raised.as_ref().unwrap_or(before);
        let mut objects = Vec::new();
        // A clone has files before its first commit.
        let start = onto.unwrap_or(&delta.version);
        let mut manifests = start.manifests(&shared.loader).await?.to_vec();
        let snapshot = match delta.files.is_empty() {
            true => None,
            false => {
                while current.has_snapshot(self.snapshot_id) {
                    self.snapshot_id = rand::rng().random_range(1..=(i64::MAX >> 1));
                    self.added.clear();
                }
                let mut changes = SnapshotChanges {
                    replaces: delta.files.replaces,
                    ..SnapshotChanges::default()
                };
                for file in &delta.files.added {
                    changes.added.add(file.row_count, file.size_bytes);
                }
                // The files were written for the table as the transaction saw it, perhaps with columns and partitions of
                // its own making.
                let seen = delta.version.metadata();
                let mut new = self.added_manifests(seen, &delta.files.added, &mut objects).await?;
                if delta.files.has_deletes() {
                    let prefix = format!(
                        "{}/{}-d{attempt}-",
                        data_directory(current.location(), self.txn_id),
                        self.txn_id
                    );
                    let head = start.files(&shared.loader).await?;
                    let deletes =
                        RowDeletes::settle(shared, &delta.files, &head, &prefix, current.has_row_ids()).await?;
                    deletes.count(&mut changes);
                    new.extend(self.delete_manifests(current, &deletes.added, &mut objects).await?);
                    manifests = self
                        .without(shared, current, manifests, &deletes.removed, &mut objects)
                        .await?;
                    objects.extend(deletes.objects);
                }
                let old = self.merged(shared, current, manifests, &mut objects).await?;
                let (table, id, txn_id) = (current.location(), self.snapshot_id, self.txn_id);
                let list = format!("{table}/metadata/snap-{id}-{attempt}-{txn_id}.avro");
                let all: Vec<ManifestFile> = new.into_iter().chain(old).collect();
                let written = write_list(current, id, &all, list.clone()).await?;
                manifests = written.manifests;
                objects.push(written.object);
                Some(NewSnapshot {
                    id,
                    manifest_list: list,
                    // Clocks of servers differ; a table's history never goes back.
                    timestamp_ms: Utc::now()
                        .timestamp_millis()
                        .max(current.last_updated_ms().saturating_add(1)),
                    changes,
                    row_ids: written.row_ids,
                })
            }
        };
        let adds_snapshot = snapshot.is_some();
        let (next, expired) = match (from, adds_snapshot) {
            // A new table without rows is stored as it was made.
            (None, false) => (before.clone(), Vec::new()),
            _ => before.next(from, &delta.changes, snapshot)?,
        };
        check_step(before, &next, adds_snapshot, delta.rolled_back_to())?;

        let location = metadata_path(next.location(), from, self.txn_id, attempt);
        let json = next.to_json()?;
        let not_before_ms = Utc::now().timestamp_millis() + OLD_METADATA_KEPT_MS;
        let mut garbage: Vec<NewGarbage> = expired
            .into_iter()
            .map(|path| NewGarbage { path, not_before_ms })
            .collect();
        if let (Some(version), true) = (onto, delta.expires()) {
            garbage.extend(garbage_of_expired(shared, &mut self.seen.survey, version.metadata(), &next).await?);
        }
        garbage.extend(garbage_of_statistics(before, &next));
        let mut version = TableVersion::new(location.clone(), next, json.len())?;
        if delta.rolled_back_to().is_none() {
            version = version.with_manifests(manifests);
        }
        objects.push(Encoded {
            location,
            bytes: Bytes::from(json),
        });
        Ok(NextVersion {
            version,
            objects,
            garbage,
        })
    }

    /// The manifests of the added files, encoded by the first attempt only.
    async fn added_manifests(
        &mut self,
        seen: &Metadata,
        files: &[Arc<DataFile>],
        objects: &mut Vec<Encoded>,
    ) -> Result<Vec<ManifestFile>> {
        if self.added.is_empty() {
            let mut by_spec: BTreeMap<i32, Vec<Arc<DataFile>>> = BTreeMap::new();
            for file in files {
                by_spec.entry(file.spec_id).or_default().push(file.clone());
            }
            for (spec_id, files) in by_spec {
                let location = self.manifest_path(seen.location());
                let (manifest, encoded) = write_manifest(seen, spec_id, self.snapshot_id, &files, location).await?;
                self.added.insert(spec_id, manifest);
                objects.push(encoded);
            }
        }
        Ok(self.added.values().cloned().collect())
    }

    /// The manifests of new delete files. Their entries inherit what depends on the head, but the files do not: an
    /// attempt has its own.
    async fn delete_manifests(
        &mut self,
        current: &Metadata,
        files: &[DeleteFile],
        objects: &mut Vec<Encoded>,
    ) -> Result<Vec<ManifestFile>> {
        let mut by_spec: BTreeMap<i32, Vec<DeleteFile>> = BTreeMap::new();
        for file in files {
            by_spec.entry(file.spec_id).or_default().push(file.clone());
        }
        let mut manifests = Vec::with_capacity(by_spec.len());
        for (spec_id, files) in by_spec {
            let location = self.manifest_path(current.location());
            let (manifest, encoded) =
                write_delete_manifest(current, spec_id, self.snapshot_id, &files, location).await?;
            manifests.push(manifest);
            objects.push(encoded);
        }
        Ok(manifests)
    }

    /// The manifests with the `removed` files marked as deleted. Those that list none of them stay as they are; those
    /// that listed nothing alive before are left out. What is rewritten comes together.
    async fn without(
        &mut self,
        shared: &Shared,
        current: &Metadata,
        manifests: Vec<ManifestFile>,
        removed: &RemovedFiles,
        objects: &mut Vec<Encoded>,
    ) -> Result<Vec<ManifestFile>> {
        let mut touched: BTreeMap<(bool, i32), Vec<ManifestFile>> = BTreeMap::new();
        let mut kept = Vec::with_capacity(manifests.len());
        for manifest in manifests {
            if !manifest.has_live_files() {
                continue;
            }
            let content = shared.loader.manifest(&manifest).await?;
            let names_one = content.data.iter().any(|file| removed.contains(&file.location, None))
                || content.deletes.iter().any(|file| removed.contains_deletes(file));
            match names_one {
                true => touched
                    .entry((!manifest.is_data(), manifest.spec_id()))
                    .or_default()
                    .push(manifest),
                false => kept.push(manifest),
            }
        }
        let target = number(current, MANIFEST_SIZE).unwrap_or(MANIFEST_BYTES_MAX);
        for ((_, spec_id), group) in touched {
            for bin in bins(group, target) {
                let manifest = self.together(shared, current, spec_id, bin, removed, objects).await?;
                kept.push(manifest);
            }
        }
        Ok(kept)
    }

    /// The table's manifests, small ones merged when there are too many.
    async fn merged(
        &mut self,
        shared: &Shared,
        current: &Metadata,
        manifests: Vec<ManifestFile>,
        objects: &mut Vec<Encoded>,
    ) -> Result<Vec<ManifestFile>> {
        let is_off = current
            .property(MANIFEST_MERGE)
            .is_some_and(|text| text.eq_ignore_ascii_case("false"));
        let count_max = match number(current, MANIFEST_COUNT) {
            // Iceberg's number is that at which they are merged.
            Some(count) => usize::try_from(count.saturating_sub(1)).unwrap_or(usize::MAX).max(1),
            None => SMALL_MANIFESTS_MAX,
        };
        if is_off {
            return Ok(manifests);
        }
        let target = number(current, MANIFEST_SIZE).unwrap_or(MANIFEST_BYTES_MAX);
        let mut small: BTreeMap<(bool, i32), Vec<ManifestFile>> = BTreeMap::new();
        let mut all = Vec::new();
        for manifest in manifests {
            // What this commit has rewritten is not stored yet.
            let is_new = objects.iter().any(|object| object.location == manifest.location());
            match !is_new && manifest.length_bytes() < target {
                true => small
                    .entry((!manifest.is_data(), manifest.spec_id()))
                    .or_default()
                    .push(manifest),
                false => all.push(manifest),
            }
        }
        for ((_, spec_id), group) in small {
            if group.len() <= count_max {
                all.extend(group);
                continue;
            }
            // From the oldest on, so that what is full stays as it is and only the newest bin grows.
            let mut bins = bins(group.into_iter().rev().collect(), target);
            bins.reverse();
            for (number, mut bin) in bins.into_iter().enumerate() {
                bin.reverse();
                let is_growing = number == 0;
                if bin.len() == 1 || is_growing && bin.len() <= count_max {
                    all.extend(bin);
                    continue;
                }
                let nothing = RemovedFiles::default();
                let manifest = self.together(shared, current, spec_id, bin, &nothing, objects).await?;
                all.push(manifest);
            }
        }
        Ok(all)
    }

    /// One manifest with the live entries of several, the `removed` ones marked as deleted.
    async fn together(
        &mut self,
        shared: &Shared,
        current: &Metadata,
        spec_id: i32,
        parts: Vec<ManifestFile>,
        removed: &RemovedFiles,
        objects: &mut Vec<Encoded>,
    ) -> Result<ManifestFile> {
        let store = shared.loader.objects();
        let reads: Vec<_> = parts
            .into_iter()
            .map(|part| {
                let store = store.clone();
                async move {
                    let bytes = store.get(part.location()).await?;
                    Ok::<_, Error>((part, bytes))
                }
            })
            .collect();
        let parts: Vec<(ManifestFile, Bytes)> = stream::iter(reads).buffered(MANIFEST_READS_MAX).try_collect().await?;
        let location = self.manifest_path(current.location());
        let (manifest, encoded) = merge_manifest(current, spec_id, self.snapshot_id, &parts, removed, location).await?;
        objects.push(encoded);
        Ok(manifest)
    }

    fn manifest_path(&mut self, table: &str) -> String {
        let number = self.manifest_count;
        self.manifest_count += 1;
        format!(
            "{table}/metadata/{}-{}-m{number}.avro",
            spread(self.txn_id),
            self.txn_id
        )
    }
}

/// The files below the table that only snapshots needed which the next version has no more. What a clone has of another
/// table is that table's to delete.
pub(super) async fn garbage_of_expired(
    shared: &Shared,
    survey: &mut Survey,
    current: &Metadata,
    next: &Metadata,
) -> Result<Vec<NewGarbage>> {
    let mut newest_ms = 0;
    let mut gone = HashSet::new();
    for snapshot in current.history()?.snapshots {
        if !next.has_snapshot(snapshot.id) {
            newest_ms = newest_ms.max(snapshot.committed_ms);
            gone.insert(snapshot.id);
        }
    }
    let mut dead = survey.reachable(shared, current, |id| gone.contains(&id)).await?;
    let alive = survey.reachable(shared, next, |_| true).await?;
    dead.retain(|path| is_inside(current.location(), path) && !alive.contains(path));
    let not_before_ms = newest_ms + EXPIRED_KEPT_MS;
    Ok(dead
        .into_iter()
        .map(|path| NewGarbage { path, not_before_ms })
        .collect())
}

/// Files of statistics below the table that the next version has no more.
fn garbage_of_statistics(current: &Metadata, next: &Metadata) -> impl Iterator<Item = NewGarbage> {
    let kept: HashSet<String> = next.statistics_files().collect();
    let gone = current.statistics_files().filter(move |path| !kept.contains(path));
    let not_before_ms = Utc::now().timestamp_millis() + EXPIRED_KEPT_MS;
    let own = gone.filter(|path| is_inside(current.location(), path));
    own.map(move |path| NewGarbage { path, not_before_ms })
}

/// A table property that is a number; what is none counts as not set, as other engines take it.
fn number(metadata: &Metadata, key: &str) -> Option<u64> {
    metadata.property(key)?.trim().parse().ok().filter(|number| *number > 0)
}

/// Neighbours together, up to the size a manifest should have.
fn bins(manifests: Vec<ManifestFile>, target: u64) -> Vec<Vec<ManifestFile>> {
    let mut bins: Vec<Vec<ManifestFile>> = Vec::new();
    let mut room = 0;
    for manifest in manifests {
        let length = manifest.length_bytes();
        match bins.last_mut() {
            Some(bin) if length <= room => bin.push(manifest),
            _ => {
                bins.push(vec![manifest]);
                room = target;
            }
        }
        room = room.saturating_sub(length);
    }
    bins
}

/// Whether what the transaction did to the table as it was in its base can be done to it as it is now.
pub(super) fn check_rebase(name: &str, base: &TableVersion, head: &TableVersion, delta: &TableDelta) -> Result<()> {
    if base.metadata_location() == head.metadata_location() {
        return Ok(());
    }
    let has_rows_of_base = || has_rows_of(base, head);
    let (base, head) = (base.metadata(), head.metadata());
    head.check_writable()?;
    let changed = |what: String| Err(Error::conflict(format!("Table \"{name}\" was altered: {what}.")));
    if delta.changes.iter().any(TableChange::is_structural) && !head.has_structure_of(base) {
        return changed("its columns or its layout are others now".to_owned());
    }
    check_history(name, base, head, delta, has_rows_of_base)?;
    if delta.rows_checked && !has_rows_of_base()? {
        return Err(Error::conflict(format!(
            "Rows of table \"{name}\" were changed after they had been checked."
        )));
    }
    if delta.files.added.is_empty() {
        return Ok(());
    }
    if !head.has_constraints_of(base) {
        return changed("its constraints are others now".to_owned());
    }
    let known: BTreeSet<i32> = base.required_columns().into_iter().map(|(id, _)| id).collect();
    if let Some((_, column)) = head.required_columns().into_iter().find(|(id, _)| !known.contains(id)) {
        return changed(format!("column \"{column}\" must not be null now"));
    }
    let specs = head.partition_specs()?;
    for file in &delta.files.added {
        if !specs.contains_key(&file.spec_id) {
            return changed(format!("partition spec {} is gone", file.spec_id));
        }
        if let Some(column) = file.columns.iter().find(|column| !head.has_field(column.field_id)) {
            return changed(format!("the column with field id {} is gone", column.field_id));
        }
    }
    Ok(())
}

/// Whether what the transaction did to the table's history can still be done.
fn check_history(
    name: &str,
    base: &Metadata,
    head: &Metadata,
    delta: &TableDelta,
    has_rows_of_base: impl Fn() -> Result<bool>,
) -> Result<()> {
    let changed = |what: &str| Err(Error::conflict(format!("Table \"{name}\" was changed: {what}.")));
    for change in &delta.changes {
        match change {
            TableChange::RollBack { .. } if !has_rows_of_base()? => {
                return changed("its rows are others now");
            }
            TableChange::SetStatistics(given) if !head.has_snapshot(given.snapshot_id) => {
                return changed("the snapshot has expired");
            }
            TableChange::SetRef(given) if !head.has_snapshot(given.snapshot_id) => {
                return changed("the snapshot has expired");
            }
            TableChange::SetRef(SnapshotRef { name, .. }) | TableChange::DropRef { name } => {
                let named = |metadata: &Metadata| {
                    let refs = metadata.refs()?;
                    Ok::<_, Error>(refs.into_iter().find(|given| given.name == *name))
                };
                if named(head)? != named(base)? {
                    return changed("the branch or tag is another one now");
                }
            }
            TableChange::ExpireSnapshots(ids) => {
                let goes = |name: &String| {
                    let mut changes = delta.changes.iter();
                    changes.any(|change| matches!(change, TableChange::DropRef { name: gone } if gone == name))
                };
                let mut refs = head.refs()?.into_iter();
                let named = refs.any(|given| ids.contains(&given.snapshot_id) && !goes(&given.name));
                if named || head.snapshot_id().is_some_and(|id| ids.contains(&id)) {
                    return changed("an old snapshot is in use again");
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// `<table>/metadata/<NNNNN>-<txn id>.metadata.json`, one number above the file the pointer has now: engines that are
/// pointed at the directory take the highest. A retry is told apart by a suffix Iceberg's readers allow.
pub(super) fn metadata_path(table: &str, previous: Option<&str>, txn_id: Uuid, attempt: u32) -> String {
    let file = previous.and_then(|previous| previous.rsplit('/').next());
    let digits = file.and_then(|file| file.split('-').next());
    let number = match (previous, digits.and_then(|digits| digits.parse::<u32>().ok())) {
        (None, _) => 0,
        (Some(_), number) => number.unwrap_or(0).saturating_add(1),
    };
    let retry = if attempt == 0 {
        String::new()
    } else {
        format!(".r{attempt}")
    };
    format!("{table}/metadata/{number:05}-{txn_id}{retry}.metadata.json")
}
