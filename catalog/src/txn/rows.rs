//! Rows of tables: files that come and go, and what the commit is to check about them.

use std::sync::Arc;

use roaring::RoaringTreemap;
use uuid::Uuid;

use super::changes::{BaseRelation, FileChanges, RelationDelta, RelationState, TableDelta};
use super::{Transaction, WriteTarget};
use crate::alter::TableChange;
use crate::commit::Reading;
use crate::commit::reads::TableReads;
use crate::error::{Error, ErrorKind, Result};
use crate::file::{DataFile, LiveFile};
use crate::history::Expirable;
use crate::name::TableName;
use crate::shared::{data_directory, spread};
use crate::statistics::{NewStatistics, TableStatistics};
use crate::table::{Table, TableVersion};

impl Transaction {
    /// Says where a writer puts data files of a table, after noting in the catalog database that it is about to.
    pub async fn begin_write(&mut self, name: &TableName) -> Result<WriteTarget> {
        self.check_not_rolled_back(name)?;
        let table = self.table(name).await?;
        table.version().metadata().check_writable()?;
        let location = table.location().to_owned();
        if !self.registered.contains(&location) {
            self.shared
                .database
                .register(
                    self.id,
                    self.base.csn(),
                    std::slice::from_ref(&location),
                    !self.registered.is_empty(),
                )
                .await?;
            self.registered.insert(location.clone());
        }
        Ok(WriteTarget {
            table,
            data_prefix: format!("{}/{}-", data_directory(&location, self.id), self.id),
        })
    }

    /// Adds data files to a table. They must be durable, and written for the schema and specs of
    /// [`WriteTarget::table`].
    pub fn append(&mut self, name: &TableName, files: Vec<DataFile>) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let version = match self.changes.relations.get(name) {
            Some(RelationDelta {
                now: Some(RelationState::Table(delta)),
                ..
            }) => delta.version.clone(),
            Some(_) => return Err(Error::undefined_relation(&name.name)),
            None => self.base_table(name)?.version().clone(),
        };
        files.iter().try_for_each(|file| check_file(file, &version))?;
        let delta = self.table_delta(name, version)?;
        delta.files.added.extend(files.into_iter().map(Arc::new));
        Ok(())
    }

    /// Says that the rows added to a table were added because no row had their keys, given as field ids. The commit fails
    /// with `Conflict` when another transaction may have added rows of these keys meanwhile: bounds of the files tell.
    pub async fn rely_on_keys(&mut self, name: &TableName, keys: impl IntoIterator<Item = Vec<i32>>) -> Result<()> {
        self.file_changes(name).await?;
        let relations = &mut self.change().relations;
        if let Some(RelationDelta {
            now: Some(RelationState::Table(delta)),
            ..
        }) = relations.get_mut(name)
        {
            delta.keys.extend(keys);
        }
        Ok(())
    }

    /// Deletes rows of files of a table, which are as [`Table::files`] of this transaction's state gives them. Every row
    /// must still have been there. A file that has no row left is better given to [`Transaction::remove_files`].
    pub async fn delete_rows(&mut self, name: &TableName, rows: Vec<(Arc<LiveFile>, RoaringTreemap)>) -> Result<()> {
        let changed = rows.iter().filter(|(_, rows)| !rows.is_empty());
        self.note_row_changes(name, changed.map(|(file, _)| file)).await?;
        let changes = self.file_changes(name).await?;
        for (file, rows) in rows.iter().filter(|(_, rows)| !rows.is_empty()) {
            changes.delete_rows(file, rows);
        }
        Ok(())
    }

    /// Deletes all rows that are left in files of a table, which are as [`Table::files`] of this transaction's state
    /// gives them.
    pub async fn remove_files(&mut self, name: &TableName, files: &[Arc<LiveFile>]) -> Result<()> {
        if !self.delta_of(name).is_some_and(|delta| delta.files.replaces) {
            self.note_row_changes(name, files.iter()).await?;
        }
        let changes = self.file_changes(name).await?;
        let mut strays = false;
        for file in files {
            strays |= changes.remove(file);
        }
        self.may_have_strays |= strays;
        Ok(())
    }

    /// Puts other files with the same rows in the place of files, which are as [`Table::files`] of this transaction's state
    /// gives them: compaction. The transaction may do nothing else to the table's rows. At the commit whoever changed rows
    /// of the old files meanwhile wins: this one fails with `Conflict`.
    pub async fn replace_files(&mut self, name: &TableName, old: &[Arc<LiveFile>], new: Vec<DataFile>) -> Result<()> {
        let changes = self.file_changes(name).await?;
        if !changes.is_empty() {
            return Err(Error::internal("files are replaced in a transaction that changed rows"));
        }
        changes.replaces = true;
        self.append(name, new)?;
        self.remove_files(name, old).await
    }

    /// Forgets what [`Table::expirable`] found. Files that only old snapshots needed become garbage with the commit.
    pub async fn expire(&mut self, name: &TableName, old: Expirable) -> Result<()> {
        let names = old.refs.into_iter().map(|name| TableChange::DropRef { name });
        let mut changes: Vec<TableChange> = names.collect();
        if !old.snapshots.is_empty() {
            changes.push(TableChange::ExpireSnapshots(old.snapshots));
        }
        self.alter_table(name, &changes, false).await
    }

    /// Stores a file of statistics, one for a table and transaction. Those of the same snapshot go, and those of others when their
    /// snapshots expire. The commit fails with `Conflict` when the snapshot has expired.
    pub async fn set_statistics(&mut self, name: &TableName, new: NewStatistics) -> Result<()> {
        let target = self.begin_write(name).await?;
        let table = target.table.location();
        let location = format!("{table}/metadata/{}-{}.stats", spread(self.id), self.id);
        let statistics = TableStatistics {
            snapshot_id: new.snapshot_id,
            size_bytes: new.bytes.len() as u64,
            footer_bytes: new.footer_bytes,
            blobs: new.blobs,
            location: location.clone(),
        };
        self.shared.loader.objects().put(&location, new.bytes).await?;
        self.alter_table(name, &[TableChange::SetStatistics(statistics)], false)
            .await
    }

    /// Says what the transaction has read of a table, by the table's uuid: the commit then fails with `Conflict` when
    /// others have changed that since. Does nothing for a table of its own making. A later call for a table replaces what an
    /// earlier one said.
    pub async fn rely_on_reads(&mut self, name: &TableName, uuid: Uuid, reading: Arc<dyn Reading>) -> Result<()> {
        let renamed = self
            .changes
            .relations
            .iter()
            .find_map(|(old, delta)| match &delta.base {
                Some(BaseRelation::Table(base)) if base.metadata().uuid() == uuid => Some((old.clone(), base.clone())),
                _ => None,
            });
        let (name, base) = match renamed {
            Some(found) => found,
            None => match self.base.table(name).await? {
                Some(table) if table.uuid() == uuid => (name.clone(), table.version().clone()),
                _ => return Ok(()),
            },
        };
        self.reads.insert(name, TableReads { base, reading });
        Ok(())
    }

    /// What this transaction does to the rows of a table that it may write to.
    async fn file_changes(&mut self, name: &TableName) -> Result<&mut FileChanges> {
        self.check_not_rolled_back(name)?;
        let version = match self.changes.relations.get(name) {
            Some(RelationDelta {
                now: Some(RelationState::Table(delta)),
                ..
            }) => delta.version.clone(),
            _ => self.table(name).await?.version().clone(),
        };
        version.metadata().check_writable()?;
        Ok(&mut self.table_delta(name, version)?.files)
    }

    /// A table of the base that was loaded before, as [`Transaction::begin_write`] does.
    fn base_table(&self, name: &TableName) -> Result<Arc<Table>> {
        match self.base.loaded_table(name) {
            Some(table) => Ok(table),
            None if self.base.relation(name).is_some() => Err(Error::internal(format!(
                "files were added to table {name} without begin_write"
            ))),
            None => Err(Error::undefined_relation(&name.name)),
        }
    }

    /// A snapshot of the commit would have to follow one that is not the head's.
    fn check_not_rolled_back(&self, name: &TableName) -> Result<()> {
        match self.delta_of(name).and_then(TableDelta::rolled_back_to) {
            None => Ok(()),
            Some(_) => Err(Error::new(
                ErrorKind::Unsupported,
                "rows of a table cannot be changed in the transaction that rolled it back",
            )
            .with_hint("Commit the transaction first.")),
        }
    }

    async fn note_row_changes<'a>(
        &mut self,
        name: &TableName,
        files: impl Iterator<Item = &'a Arc<LiveFile>> + Send,
    ) -> Result<()> {
        let table = self.table(name).await?.uuid();
        let shared = &self.shared;
        let changer = self.row_changers.entry(table);
        let changer = changer.or_insert_with(|| shared.row_changer(table));
        files.for_each(|file| changer.note(&file.location));
        Ok(())
    }
}

fn check_file(file: &DataFile, version: &TableVersion) -> Result<()> {
    let wrong = |what: &str| Err(Error::internal(format!("data file \"{}\" {what}", file.location)));
    match version.partition_specs().get(&file.spec_id) {
        None => return wrong("names a partition spec the table does not have"),
        Some(spec) if spec.fields.len() != file.partition.len() => {
            return wrong("has a partition tuple that does not fit its spec");
        }
        Some(_) => {}
    }
    match file
        .columns
        .iter()
        .all(|column| version.metadata().has_field(column.field_id))
    {
        true => Ok(()),
        false => wrong("has statistics of a column the table does not have"),
    }
}
