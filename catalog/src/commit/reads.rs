//! Whether others changed what a serializable transaction has read.
//!
//! Transactions that check this at their commit are serializable in the order of their commits: each would have read the
//! same if it had run as a whole at its commit. One that changes nothing need not check, it reads the state of its
//! beginning.
//!
//! Files decide, by what whoever read them says: a file with a row that was deleted, or with rows that came, counts as
//! changed as a whole. Compaction moves rows and changes none.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::file::LiveFile;
use crate::loader::Loader;
use crate::name::TableName;
use crate::table::TableVersion;

/// How many snapshots are looked at one by one, to tell compaction from changes.
const SNAPSHOTS_MAX: usize = 64;
/// The operation of a snapshot that has the rows of the one before.
const REPLACE: &str = "replace";

/// What was read of a table.
pub trait Reading: Send + Sync + fmt::Debug {
    /// Whether one of the files may have a row that was, or would have been, read.
    fn may_concern(&self, files: &[Arc<LiveFile>]) -> bool;
}

/// What a transaction has read, by the names tables have in its base.
pub(crate) type Reads = BTreeMap<TableName, TableReads>;

/// What a transaction has read of a table of its base.
#[derive(Clone, Debug)]
pub(crate) struct TableReads {
    pub(crate) base: Arc<TableVersion>,
    pub(crate) reading: Arc<dyn Reading>,
}

/// Fails with `Conflict` unless the table is, as far as it was read, what it was.
pub(super) async fn check(
    loader: &Arc<Loader>,
    name: &TableName,
    reads: &TableReads,
    head: &Arc<TableVersion>,
) -> Result<()> {
    let base = &reads.base;
    let (was, is) = (base.metadata(), head.metadata());
    if is.uuid() != was.uuid() || !is.has_structure_of(was) {
        return Err(conflict(name, "its definition is another one now"));
    }
    if is.snapshot_id() == was.snapshot_id() {
        return Ok(());
    }
    let changed = changed_files(&base.files(loader).await?, &head.files(loader).await?);
    if !reads.reading.may_concern(&changed) || only_moved(loader, reads, head).await? {
        return Ok(());
    }
    Err(conflict(name, "rows of it were changed"))
}

/// The failure of a transaction that read a table.
pub(super) fn conflict(name: &TableName, what: &str) -> Error {
    Error::new(
        ErrorKind::Conflict,
        "could not serialize access due to read/write dependencies among transactions",
    )
    .with_detail(format!("The transaction read table \"{}\": {what}.", name.name))
    .with_hint("Run the transaction again.")
}

/// The files that came, that went, and those of which other rows are deleted.
fn changed_files(before: &[Arc<LiveFile>], after: &[Arc<LiveFile>]) -> Vec<Arc<LiveFile>> {
    let mut gone: HashMap<&str, &Arc<LiveFile>> = before.iter().map(|file| (file.location.as_str(), file)).collect();
    let mut changed = Vec::new();
    for file in after {
        match gone.remove(file.location.as_str()) {
            Some(before) if deletes(before) == deletes(file) => {}
            _ => changed.push(file.clone()),
        }
    }
    changed.extend(gone.into_values().cloned());
    changed
}

fn deletes(file: &LiveFile) -> Vec<&str> {
    let mut names: Vec<&str> = file.deletes.iter().map(|delete| delete.location.as_str()).collect();
    names.sort_unstable();
    names
}

/// Whether compaction alone explains why files that were read are others now.
async fn only_moved(loader: &Arc<Loader>, reads: &TableReads, head: &Arc<TableVersion>) -> Result<bool> {
    let Some(steps) = Steps::between(&reads.base, head)?.filter(|steps| steps.compactions > 0) else {
        return Ok(false);
    };
    for step in steps.changes {
        let (before, after) = step.files(loader, &reads.base, head).await?;
        if reads.reading.may_concern(&changed_files(&before, &after)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the table has the rows it had in the base: nothing was done to them, or compaction alone, which moves them.
pub(super) fn has_rows_of(base: &TableVersion, head: &TableVersion) -> Result<bool> {
    if base.metadata().snapshot_id() == head.metadata().snapshot_id() {
        return Ok(true);
    }
    let steps = Steps::between(base, head)?;
    Ok(steps.is_some_and(|steps| steps.changes.is_empty()))
}

/// What was done to a table's rows since a base.
pub(super) struct Steps {
    /// The snapshots that may have changed rows, the newest first.
    pub(super) changes: Vec<Step>,
    compactions: usize,
}

/// One snapshot, and the one before it.
pub(super) struct Step {
    parent: i64,
    child: i64,
}

impl Step {
    /// The table's files before and after it.
    pub(super) async fn files(
        &self,
        loader: &Arc<Loader>,
        base: &TableVersion,
        head: &TableVersion,
    ) -> Result<(Files, Files)> {
        // The base may have expired since; its files are pinned.
        let before = match Some(self.parent) == base.metadata().snapshot_id() {
            true => base.files(loader).await?,
            false => version_at(head, self.parent)?.files(loader).await?,
        };
        Ok((before, version_at(head, self.child)?.files(loader).await?))
    }
}

type Files = Arc<Vec<Arc<LiveFile>>>;

impl Steps {
    /// `None`: there are too many, or they are not all known.
    pub(super) fn between(base: &TableVersion, head: &TableVersion) -> Result<Option<Steps>> {
        let (Some(first), Some(last)) = (base.metadata().snapshot_id(), head.metadata().snapshot_id()) else {
            return Ok(None);
        };
        let history = head.metadata().history()?;
        let (mut next, mut changes, mut compactions) = (last, Vec::new(), 0);
        while next != first {
            let Some((snapshot, parent)) = history.snapshot(next).and_then(|it| Some((it, it.parent_id?))) else {
                return Ok(None);
            };
            match snapshot.operation == REPLACE {
                true => compactions += 1,
                false => changes.push(Step { parent, child: next }),
            }
            if changes.len() + compactions > SNAPSHOTS_MAX {
                return Ok(None);
            }
            next = parent;
        }
        Ok(Some(Steps { changes, compactions }))
    }
}

fn version_at(head: &TableVersion, snapshot_id: i64) -> Result<TableVersion> {
    let metadata = head.metadata().at(snapshot_id, false)?;
    TableVersion::new(head.metadata_location().to_owned(), metadata, 0)
}

#[cfg(test)]
mod tests;
