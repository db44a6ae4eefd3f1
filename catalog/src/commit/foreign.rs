//! A commit of another engine: its updates put on what the table is now, after a look at the files it names.
//!
//! Rules, each with a test in `foreign/tests.rs`:
//! 1. What the client required holds on the very version the pointer moves away from: requirements are checked anew at each
//!    attempt, and a commit that lost the swap is put on the newest version if they still hold there.
//! 2. New manifest lists, manifests, data and delete files lie in the table's own directory, where upkeep finds them and no
//!    other table's upkeep does. What the table had before may stay where it is: a clone's files are elsewhere.
//! 3. They can be read. A table that Staffa's readers would choke on is refused while the old version is still there.
//! 4. Snapshots that go leave their files to the garbage list, as Staffa's own do.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use chrono::Utc;
use uuid::Uuid;

use super::table::{NextVersion, garbage_of_expired, metadata_path};
use crate::database::NewGarbage;
use crate::error::{Error, ErrorKind, Result};
use crate::garbage::{OLD_METADATA_KEPT_MS, Survey};
use crate::iceberg::{Encoded, ManifestFile, Metadata, TableCommit};
use crate::invariants::check_foreign_step;
use crate::shared::Shared;
use crate::table::TableVersion;

#[cfg(test)]
mod tests;

/// The commit on top of the version the pointer has now.
pub(super) async fn next_version(
    shared: &Shared,
    onto: &TableVersion,
    commit: &TableCommit,
    survey: &mut Survey,
    txn_id: Uuid,
    attempt: u32,
) -> Result<NextVersion> {
    let current = onto.metadata();
    current.check_requirements(commit)?;
    let (next, expired) = current.updated(Some(onto.metadata_location()), commit)?;
    check_files(shared, Some(onto), &next, commit).await?;
    check_foreign_step(current, &next)?;
    let not_before_ms = Utc::now().timestamp_millis() + OLD_METADATA_KEPT_MS;
    let expired = expired.into_iter().map(|path| NewGarbage { path, not_before_ms });
    let mut garbage: Vec<NewGarbage> = expired.collect();
    if commit.expires() {
        garbage.extend(garbage_of_expired(shared, survey, current, &next).await?);
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
) -> Result<()> {
    let mut check = Check {
        shared,
        base,
        next,
        manifests: HashMap::new(),
        files: None,
    };
    for path in commit.statistics() {
        check.place(path)?;
    }
    let mut wanted: Vec<i64> = commit.added().map(|(id, _)| id).collect();
    wanted.retain(|id| next.has_snapshot(*id));
    if wanted.is_empty() {
        return Ok(());
    }
    check.know_base(&wanted).await?;
    for id in wanted {
        check.snapshot(id).await?;
    }
    Ok(())
}

/// Every manifest of every snapshot of a table that comes from elsewhere must be readable, and in its directory.
pub(crate) async fn check_all_files(shared: &Shared, version: &TableVersion) -> Result<()> {
    let next = version.metadata();
    let mut check = Check {
        shared,
        base: None,
        next,
        manifests: HashMap::new(),
        files: None,
    };
    for snapshot in next.history()?.snapshots {
        check.snapshot(snapshot.id).await?;
    }
    Ok(())
}

/// What is known to be good so far.
struct Check<'a> {
    shared: &'a Shared,
    base: Option<&'a TableVersion>,
    next: &'a Metadata,
    /// Manifests that were looked at, or were the table's before.
    manifests: HashMap<String, ManifestFile>,
    /// Files the table had before; looked up when first needed.
    files: Option<HashSet<String>>,
}

impl Check<'_> {
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
        Ok(())
    }

    fn know(&mut self, manifests: Vec<ManifestFile>) {
        let named = manifests
            .into_iter()
            .map(|manifest| (manifest.location().to_owned(), manifest));
        self.manifests.extend(named);
    }

    async fn snapshot(&mut self, id: i64) -> Result<()> {
        let Some((list, number)) = self.next.list_of(id) else {
            return Ok(());
        };
        self.place(list)?;
        let read = self.shared.loader.manifest_list(self.next, list).await;
        let manifests = read.map_err(|error| unreadable(id, error))?;
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
            self.place(&info.location)?;
            if !specs.contains_key(&info.spec_id) {
                return Err(wrong(id, format!("the table has no partition spec {}", info.spec_id)));
            }
            if !(0..=number).contains(&info.sequence_number) {
                return Err(wrong(
                    id,
                    format!("\"{}\" has the sequence number {}", info.location, info.sequence_number),
                ));
            }
            self.manifest(id, &manifest).await?;
            self.know(vec![manifest]);
        }
        Ok(())
    }

    async fn manifest(&mut self, id: i64, manifest: &ManifestFile) -> Result<()> {
        if !manifest.has_live_files() {
            return Ok(());
        }
        let read = self.shared.loader.manifest(manifest).await;
        let content = read.map_err(|error| unreadable(id, error))?;
        let data = content.data.iter().map(|file| &file.location);
        for path in data.chain(content.deletes.iter().map(|file| &file.location)) {
            if let Err(error) = self.place(path)
                && !self.had(path).await?
            {
                return Err(error);
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

    fn place(&self, path: &str) -> Result<()> {
        let inside = path
            .strip_prefix(self.next.location())
            .and_then(|rest| rest.strip_prefix('/'));
        match inside.is_some_and(is_plain_path) {
            true => Ok(()),
            false => Err(Error::invalid(format!("file \"{path}\" is not in the table's directory"))
                .with_detail(format!("The directory is {}.", self.next.location()))
                .with_hint("Files of a table lie below its location: write.data.path and write.metadata.path cannot lead elsewhere.")),
        }
    }
}

/// Names, one after the other: none is empty or a step up.
pub(crate) fn is_plain_path(path: &str) -> bool {
    !path.chars().any(char::is_control) && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
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
