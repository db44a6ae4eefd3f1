//! A commit of another engine: its updates put on what the table is now, after a look at the files it names.
//!
//! Rules, each with a test in `foreign/tests.rs`:
//! 1. What the client required holds on the very version the pointer moves away from: requirements are checked anew at each
//!    attempt, and a commit that lost the swap is put on the newest version if they still hold there.
//! 2. New manifest lists, manifests, data and delete files lie in the table's own directory, where upkeep finds them and no
//!    other table's upkeep does. What the table had before may stay where it is: a clone's files are elsewhere.
//! 3. They can be read. A table that Staffa's readers would choke on is refused while the old version is still there.
//! 4. What was put on the garbage list does not come back.
//! 5. Snapshots that go leave their files to the garbage list, as Staffa's own do.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use chrono::Utc;
use futures::stream::{self, StreamExt, TryStreamExt};
use uuid::Uuid;

use super::table::{NextVersion, Seen, garbage_of_expired, metadata_path};
use crate::database::NewGarbage;
use crate::error::{Error, ErrorKind, Result};
use crate::garbage::OLD_METADATA_KEPT_MS;
use crate::iceberg::{Encoded, ManifestContent, ManifestFile, Metadata, TableCommit};
use crate::invariants::check_foreign_step;
use crate::objects::is_inside;
use crate::shared::Shared;
use crate::table::TableVersion;

#[cfg(test)]
mod tests;

/// How many objects are read at once.
const READS_MAX: usize = 16;

/// Reads the files that the commit names before it is its turn: it may be much, and the table's other writers must not wait
/// for it. What is wrong is said by the attempt that finds it so.
pub(super) async fn look(shared: &Shared, base: &TableVersion, commit: &TableCommit, looked: &mut Looked) {
    if let Ok((next, _)) = base.metadata().updated(Some(base.metadata_location()), commit) {
        let checked = check_files(shared, Some(base), &next, commit, looked).await;
        if let Err(error) = checked {
            tracing::debug!(%error, "a commit of another engine does not fit what the table was");
        }
    }
}

/// The commit on top of the version the pointer has now.
pub(super) async fn next_version(
    shared: &Shared,
    onto: &TableVersion,
    commit: &TableCommit,
    seen: &mut Seen,
    txn_id: Uuid,
    attempt: u32,
) -> Result<NextVersion> {
    let current = onto.metadata();
    current.check_requirements(commit)?;
    let (next, expired) = current.updated(Some(onto.metadata_location()), commit)?;
    check_files(shared, Some(onto), &next, commit, &mut seen.looked).await?;
    check_foreign_step(current, &next)?;
    let not_before_ms = Utc::now().timestamp_millis() + OLD_METADATA_KEPT_MS;
    let expired = expired.into_iter().map(|path| NewGarbage { path, not_before_ms });
    let mut garbage: Vec<NewGarbage> = expired.collect();
    if commit.expires() {
        garbage.extend(garbage_of_expired(shared, &mut seen.survey, current, &next).await?);
    }
    let location = metadata_path(next.location(), Some(onto.metadata_location()), txn_id, attempt);
    let json = next.to_json()?;
    let version = TableVersion::new(location.clone(), next, json.len())?;
    let metadata = Encoded {
        location,
        bytes: Bytes::from(json),
    };
    Ok(NextVersion {
        version,
        objects: vec![metadata],
        garbage,
    })
}

/// Looks at every file that the commit's snapshots bring with them. `base` is what the table was before.
pub(crate) async fn check_files(
    shared: &Shared,
    base: Option<&TableVersion>,
    next: &Metadata,
    commit: &TableCommit,
    looked: &mut Looked,
) -> Result<()> {
    for path in commit.statistics() {
        place(next, path)?;
    }
    let mut wanted: Vec<i64> = commit.added().map(|(id, _)| id).collect();
    wanted.retain(|id| next.has_snapshot(*id));
    if wanted.is_empty() {
        return Ok(());
    }
    let mut check = Check::new(shared, base, next);
    check.know_base(&wanted).await?;
    check.snapshots(&wanted, looked).await?;
    if base.is_some() {
        check.none_is_garbage(&wanted, looked).await?;
    }
    Ok(())
}

/// Every manifest of every snapshot of a table that comes from elsewhere must be readable, and in its directory.
pub(crate) async fn check_all_files(shared: &Shared, version: &TableVersion) -> Result<()> {
    let next = version.metadata();
    let all: Vec<i64> = next.history()?.snapshots.iter().map(|snapshot| snapshot.id).collect();
    let mut check = Check::new(shared, None, next);
    let mut looked = Looked::default();
    check.snapshots(&all, &mut looked).await?;
    // An older version of a table that was dropped may name what it had forgotten by then.
    check.none_is_garbage(&all, &looked).await
}

/// What was read of the files that a commit names. They never change, so what was read once is not read again by the next
/// attempt: reading may take long, and others wait for the table.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// The manifests of each list.
    lists: HashMap<String, Vec<ManifestFile>>,
    /// The files of each manifest that are not in the table's directory.
    outside: HashMap<String, Vec<String>>,
}

/// What is known to be good so far.
struct Check<'a> {
    shared: &'a Shared,
    base: Option<&'a TableVersion>,
    next: &'a Metadata,
    /// Manifests that were looked at, or were the table's before.
    manifests: HashMap<String, ManifestFile>,
    /// Those that were the table's before.
    old: HashSet<String>,
    /// Files the table had before; looked up when first needed.
    files: Option<HashSet<String>>,
}

impl<'a> Check<'a> {
    fn new(shared: &'a Shared, base: Option<&'a TableVersion>, next: &'a Metadata) -> Self {
        Check {
            shared,
            base,
            next,
            manifests: HashMap::new(),
            old: HashSet::new(),
            files: None,
        }
    }

    /// Notes the manifests the table has, now and at the parents of the new snapshots.
    async fn know_base(&mut self, added: &[i64]) -> Result<()> {
        let Some(base) = self.base else { return Ok(()) };
        let loader = &self.shared.loader;
        self.know(base.manifests(loader).await?.to_vec());
        for id in added {
            let parent = self.next.parent_of(*id).filter(|parent| !added.contains(parent));
            let parent = parent.filter(|parent| Some(*parent) != base.metadata().snapshot_id());
            if let Some((list, _)) = parent.and_then(|parent| base.metadata().list_of(parent)) {
                self.know(loader.manifest_list(base.metadata(), list).await?);
            }
        }
        self.old = self.manifests.keys().cloned().collect();
        Ok(())
    }

    fn know(&mut self, manifests: Vec<ManifestFile>) {
        let named = manifests
            .into_iter()
            .map(|manifest| (manifest.location().to_owned(), manifest));
        self.manifests.extend(named);
    }

    async fn snapshots(&mut self, ids: &[i64], looked: &mut Looked) -> Result<()> {
        for id in ids {
            if let Some((list, _)) = self.next.list_of(*id) {
                place(self.next, list)?;
            }
        }
        self.read_lists(ids, looked).await?;
        self.read_manifests(ids, looked).await?;
        for id in ids {
            self.snapshot(*id, looked).await?;
        }
        Ok(())
    }

    async fn read_lists(&self, ids: &[i64], looked: &mut Looked) -> Result<()> {
        let (loader, next) = (&self.shared.loader, self.next);
        let lists = ids.iter().filter_map(|id| Some((*id, next.list_of(*id)?.0)));
        let unread: Vec<(i64, &str)> = lists.filter(|(_, list)| !looked.lists.contains_key(*list)).collect();
        let reads = unread.into_iter().map(|(id, list)| async move {
            let read = loader.manifest_list(next, list).await;
            read.map(|manifests| (list.to_owned(), manifests))
                .map_err(|error| unreadable(id, error))
        });
        let reads = stream::iter(reads.collect::<Vec<_>>()).buffer_unordered(READS_MAX);
        looked.lists.extend(reads.try_collect::<Vec<_>>().await?);
        Ok(())
    }

    /// Reads the manifests that are new and may have something.
    async fn read_manifests(&self, ids: &[i64], looked: &mut Looked) -> Result<()> {
        let (loader, next) = (&self.shared.loader, self.next);
        let mut unread: BTreeMap<&str, (i64, &ManifestFile)> = BTreeMap::new();
        for id in ids {
            let list = next.list_of(*id).and_then(|(list, _)| looked.lists.get(list));
            let new = list.into_iter().flatten().filter(|manifest| {
                let location = manifest.location();
                manifest.has_live_files()
                    && is_inside(next.location(), location)
                    && !self.manifests.contains_key(location)
                    && !looked.outside.contains_key(location)
            });
            unread.extend(new.map(|manifest| (manifest.location(), (*id, manifest))));
        }
        let reads = unread.into_values().map(|(id, manifest)| async move {
            let content = loader.manifest(manifest).await.map_err(|error| unreadable(id, error))?;
            let outside = locations(&content).filter(|path| !is_inside(next.location(), path));
            Ok::<_, Error>((
                manifest.location().to_owned(),
                outside.cloned().collect::<Vec<String>>(),
            ))
        });
        let reads = stream::iter(reads.collect::<Vec<_>>()).buffer_unordered(READS_MAX);
        let read: Vec<(String, Vec<String>)> = reads.try_collect().await?;
        looked.outside.extend(read);
        Ok(())
    }

    async fn snapshot(&mut self, id: i64, looked: &Looked) -> Result<()> {
        let Some((list, number)) = self.next.list_of(id) else {
            return Ok(());
        };
        let manifests = looked.lists.get(list).into_iter().flatten();
        let specs = self.next.partition_specs()?;
        for manifest in manifests {
            let info = manifest.info();
            if let Some(known) = self.manifests.get(&info.location) {
                // Files inherit their place in the table's count from it.
                let same = known.info();
                if (info.sequence_number, info.spec_id, info.lists_deletes)
                    != (same.sequence_number, same.spec_id, same.lists_deletes)
                {
                    return Err(wrong(id, format!("\"{}\" was listed otherwise before", info.location)));
                }
                continue;
            }
            place(self.next, &info.location)?;
            if !specs.contains_key(&info.spec_id) {
                return Err(wrong(id, format!("the table has no partition spec {}", info.spec_id)));
            }
            if !(0..=number).contains(&info.sequence_number) {
                return Err(wrong(
                    id,
                    format!("\"{}\" has the sequence number {}", info.location, info.sequence_number),
                ));
            }
            for path in looked.outside.get(&info.location).into_iter().flatten() {
                if !self.had(path).await? {
                    return place(self.next, path);
                }
            }
            self.know(vec![manifest.clone()]);
        }
        Ok(())
    }

    /// What an expiry has put on the garbage list is deleted soon: whoever has read it before must not bring it back. What
    /// is put there after this look is put there by a commit to this table, and then the swap fails.
    async fn none_is_garbage(&self, ids: &[i64], looked: &Looked) -> Result<()> {
        let below = format!("{}/", self.next.location());
        let mut garbage = self.shared.database.garbage_below(&below).await?;
        // All of a table that was dropped, and comes back.
        garbage.remove(&below);
        if garbage.is_empty() {
            return Ok(());
        }
        let gone = |path: &String| {
            Error::conflict(format!(
                "\"{path}\" belongs to an expired snapshot and is about to be deleted."
            ))
        };
        for (list, _) in ids.iter().filter_map(|id| self.next.list_of(*id)) {
            if let Some(path) = garbage.get(list) {
                return Err(gone(path));
            }
            for manifest in looked.lists.get(list).into_iter().flatten() {
                if self.old.contains(manifest.location()) {
                    continue;
                }
                if let Some(path) = garbage.get(manifest.location()) {
                    return Err(gone(path));
                }
                if manifest.has_live_files() {
                    let content = self.shared.loader.manifest(manifest).await?;
                    if let Some(path) = locations(&content).find(|path| garbage.contains(*path)) {
                        return Err(gone(path));
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the table had the file before.
    async fn had(&mut self, path: &str) -> Result<bool> {
        let Some(base) = self.base else { return Ok(false) };
        if self.files.is_none() {
            let mut files = HashSet::new();
            for file in base.files(&self.shared.loader).await?.iter() {
                files.insert(file.location.clone());
                files.extend(file.deletes.iter().map(|delete| delete.location.clone()));
            }
            self.files = Some(files);
        }
        Ok(self.files.as_ref().is_some_and(|files| files.contains(path)))
    }
}

/// The files that a manifest names.
fn locations(content: &ManifestContent) -> impl Iterator<Item = &String> {
    let data = content.data.iter().map(|file| &file.location);
    data.chain(content.deletes.iter().map(|file| &file.location))
}

fn place(next: &Metadata, path: &str) -> Result<()> {
    match is_inside(next.location(), path) {
        true => Ok(()),
        false => Err(
            Error::invalid(format!("file \"{path}\" is not in the table's directory"))
                .with_detail(format!("The directory is {}.", next.location()))
                .with_hint(
                    "Files of a table lie below its location: write.data.path and write.metadata.path cannot lead elsewhere.",
                ),
        ),
    }
}

fn wrong(id: i64, detail: String) -> Error {
    Error::invalid(format!("snapshot {id} is not valid")).with_detail(detail)
}

/// A file that the client named is the client's fault, unless reading failed for another reason.
fn unreadable(id: i64, error: Error) -> Error {
    match error.kind() {
        ErrorKind::MissingObject | ErrorKind::Forbidden | ErrorKind::Corrupt => wrong(id, error.to_string()),
        ErrorKind::Unsupported => Error::new(ErrorKind::Unsupported, error.message().to_owned())
            .with_detail(error.detail().unwrap_or("A file of the snapshot has it.").to_owned()),
        _ => error,
    }
}
