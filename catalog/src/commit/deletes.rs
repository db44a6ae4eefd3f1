//! The row-level deletes of a transaction, put on top of what others deleted meanwhile.
//!
//! Rows, not files, decide what conflicts: two transactions that deleted different rows of one data file both commit, and
//! the second one's delete file names the rows of both. What an older snapshot still needs is not garbage: files that are
//! replaced here go when that snapshot does.

use std::collections::HashMap;
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use roaring::RoaringTreemap;

use crate::error::{Error, Result};
use crate::file::{DeleteContent, DeleteFile, LiveFile, RemovedFiles};
use crate::iceberg::{Encoded, SnapshotChanges};
use crate::shared::Shared;
use crate::txn::{DeletedRows, FileChanges};

/// How many data files are worked on at once.
const FILES_AT_ONCE_MAX: usize = 16;

/// What one attempt does to the rows of a table.
#[derive(Default)]
pub(super) struct RowDeletes {
    pub(super) added: Vec<DeleteFile>,
    /// Data and delete files that the new snapshot no longer has.
    pub(super) removed: RemovedFiles,
    pub(super) objects: Vec<Encoded>,
    vectors: bool,
    removed_data: Vec<Arc<LiveFile>>,
    removed_deletes: Vec<Arc<DeleteFile>>,
}

impl RowDeletes {
    /// Fails with `Conflict` when a row or file was deleted by somebody else too. With `vectors` the rows are named by
    /// deletion vectors.
    pub(super) async fn settle(
        shared: &Shared,
        changes: &FileChanges,
        head: &[Arc<LiveFile>],
        prefix: &str,
        vectors: bool,
    ) -> Result<RowDeletes> {
        let wanted = |location: &str| changes.removed.contains_key(location) || changes.deleted.contains_key(location);
        let head: HashMap<&str, &Arc<LiveFile>> = head
            .iter()
            .map(|file| (file.location.as_str(), file))
            .filter(|(location, _)| wanted(location))
            .collect();
        let mut settled = RowDeletes {
            vectors,
            ..RowDeletes::default()
        };
        for (location, file) in &changes.removed {
            let now = *head.get(location.as_str()).ok_or_else(file_gone)?;
            if names(now) != names(file) {
                return Err(rows_changed());
            }
            settled.remove_deletes(now);
            settled.removed.insert_data(location.clone());
            settled.removed_data.push(now.clone());
        }
        let work: Vec<_> = changes
            .deleted
            .values()
            .enumerate()
            .map(|(number, deleted)| {
                let is_own = changes.added.iter().any(|file| file.location == deleted.file.location);
                let now = head.get(deleted.file.location.as_str()).map(|file| Arc::clone(file));
                let location = format!("{prefix}{number}.{}", if vectors { "puffin" } else { "parquet" });
                async move {
                    let now = match is_own {
                        true => deleted.file.clone(),
                        false => now.ok_or_else(file_gone)?,
                    };
                    let rows = merged(shared, deleted, &now, vectors).await?;
                    let objects = shared.loader.objects();
                    let (bytes, content) = objects.encode_deletes(&now.location, &rows, vectors)?;
                    Ok::<_, Error>((now, rows.len(), content, Encoded { location, bytes }))
                }
            })
            .collect();
        let merged: Vec<_> = stream::iter(work).buffered(FILES_AT_ONCE_MAX).try_collect().await?;
        for (file, row_count, content, object) in merged {
            settled.remove_deletes(&file);
            settled.added.push(DeleteFile {
                location: object.location.clone(),
                size_bytes: object.bytes.len() as u64,
                row_count,
                spec_id: file.spec_id,
                partition: file.partition.clone(),
                sequence_number: 0,
                content,
            });
            settled.objects.push(object);
        }
        Ok(settled)
    }

    /// Takes away the deletes that are about this file alone: they are merged, or have nothing left to say.
    fn remove_deletes(&mut self, file: &LiveFile) {
        for delete in file.deletes.iter().filter(|delete| delete.data_file().is_some()) {
            self.removed.insert_deletes(delete);
            self.removed_deletes.push(delete.clone());
        }
    }

    pub(super) fn count(&self, changes: &mut SnapshotChanges) {
        changes.adds_vectors = self.vectors;
        for file in &self.added {
            changes.added_deletes.add(file.row_count, file.size_bytes);
        }
        for file in &self.removed_data {
            changes.removed.add(file.row_count, file.size_bytes);
        }
        for file in &self.removed_deletes {
            changes.removed_deletes.add(file.row_count, file.size_bytes);
            changes.removed_vectors += u64::from(matches!(file.content, DeleteContent::Vector { .. }));
        }
    }
}

/// The rows of the file that are deleted now, together with those the transaction deletes. Where there is a vector, readers
/// look at no position deletes: it names the rows of those that are about other files as well.
async fn merged(shared: &Shared, deleted: &DeletedRows, now: &LiveFile, vectors: bool) -> Result<RoaringTreemap> {
    let equality = |file: &LiveFile| -> Vec<String> {
        let deletes = file.deletes.iter();
        let equality = deletes.filter(|delete| matches!(delete.content, DeleteContent::Equality { .. }));
        equality.map(|delete| delete.location.clone()).collect()
    };
    // Which rows those are would take a scan to find out.
    if equality(now) != equality(&deleted.file) {
        return Err(rows_changed());
    }
    let mut rows = RoaringTreemap::clone(&deleted.rows);
    for delete in &now.deletes {
        if matches!(delete.content, DeleteContent::Equality { .. }) {
            continue;
        }
        let objects = shared.loader.objects();
        let bytes = objects.get(&delete.location).await?;
        let theirs = objects.decode_deletes(bytes, &delete.content, &now.location).await?;
        if !theirs.is_disjoint(&deleted.rows) {
            return Err(rows_changed());
        }
        if vectors || delete.data_file().is_some() {
            rows |= theirs;
        }
    }
    Ok(rows)
}

fn names(file: &LiveFile) -> Vec<(&str, &DeleteContent)> {
    let deletes = file.deletes.iter();
    deletes
        .map(|delete| (delete.location.as_str(), &delete.content))
        .collect()
}

fn file_gone() -> Error {
    Error::conflict("A file with rows to delete was rewritten by another transaction.")
}

fn rows_changed() -> Error {
    Error::conflict("A row was updated or deleted by another transaction.")
}

#[cfg(test)]
mod tests;
