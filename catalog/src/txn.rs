//! An open transaction: what it has changed, and the state it sees.
//!
//! Nothing of Iceberg is written before the commit except data files. Before the first of those, the transaction is
//! registered in the catalog database, so that whatever a crash leaves can be found.

mod changes;
mod foreign;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::Utc;
use parking_lot::Mutex;
use roaring::RoaringTreemap;
use uuid::Uuid;

use crate::alter::TableChange;
use crate::commit::reads::{Reads, TableReads};
use crate::commit::{self, Commit, Reading};
use crate::database::Pointer;
use crate::error::{Error, ErrorKind, Result};
use crate::file::{DataFile, LiveFile};
use crate::garbage::UNDROP_MARGIN_MS;
use crate::history::{Expirable, TableVersionSpec};
use crate::iceberg::{Metadata, create_metadata, write_view};
use crate::name::TableName;
use crate::schema::{TableDefinition, View, ViewDefinition};
use crate::sequence::{CounterEnd, Sequence, SequenceState};
use crate::shared::{RowChanger, Shared, data_directory};
use crate::snapshot::{CatalogSnapshot, OwnRelation, RelationKind};
use crate::table::{Table, TableVersion};

use changes::set_existence;
pub(crate) use changes::{
    BaseRelation, Changes, DeletedRows, FileChanges, RelationDelta, RelationState, Revived, SequenceDelta, TableDelta,
    ViewDelta,
};

/// The schema every new database has.
const FIRST_SCHEMA: &str = "public";
/// The columns for names in the catalog database, in characters.
const NAME_LENGTH_MAX: usize = 255;

/// Where the data files of one transaction for one table go.
#[derive(Clone, Debug)]
pub struct WriteTarget {
    /// The table as the transaction sees it.
    pub table: Arc<Table>,
    /// The beginning of every data file's location: append `<n>.parquet`, with an `n` not used before.
    pub data_prefix: String,
}

/// A point inside a transaction that can be gone back to.
#[derive(Clone, Debug)]
pub struct Savepoint {
    changes: Arc<Changes>,
}

/// An open transaction. It has one owner; dropping it rolls it back in the background.
#[derive(Debug)]
pub struct Transaction {
    id: Uuid,
    shared: Arc<Shared>,
    base: Arc<CatalogSnapshot>,
    changes: Arc<Changes>,
    /// The state with the changes, made when first asked for after a change.
    seen: Mutex<Option<Arc<CatalogSnapshot>>>,
    /// The table locations the catalog database knows this transaction writes below.
    registered: BTreeSet<String>,
    /// Whether data files may exist that are no longer among the changes.
    may_have_strays: bool,
    /// Whether commit or rollback has taken over.
    is_finished: bool,
    /// The tables whose rows it deletes.
    row_changers: HashMap<Uuid, RowChanger>,
    /// What must be at the commit as it was when it was read.
    reads: Reads,
}

impl Transaction {
    pub(crate) fn new(shared: Arc<Shared>, base: Arc<CatalogSnapshot>) -> Transaction {
        Transaction {
            id: Uuid::now_v7(),
            shared,
            base,
            changes: Arc::default(),
            seen: Mutex::new(None),
            registered: BTreeSet::new(),
            may_have_strays: false,
            is_finished: false,
            row_changers: HashMap::new(),
            reads: Reads::new(),
        }
    }

    /// The transaction's id, part of the name of every object it makes.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The committed state the transaction began from.
    pub fn base(&self) -> &Arc<CatalogSnapshot> {
        &self.base
    }

    /// The base with the transaction's own changes: what its next statement reads.
    pub fn snapshot(&self) -> Arc<CatalogSnapshot> {
        if self.is_read_only() {
            return self.base.clone();
        }
        self.seen.lock().get_or_insert_with(|| Arc::new(self.overlay())).clone()
    }

    /// Whether nothing was changed so far. A transaction that only called [`Transaction::begin_write`] is read-only.
    pub fn is_read_only(&self) -> bool {
        let changes = &self.changes;
        changes.databases.is_empty()
            && changes.schemas.is_empty()
            && changes.relations.is_empty()
            && changes.schema_properties.is_empty()
    }

    /// The tables and views changed so far, sorted.
    pub fn changed_tables(&self) -> Vec<TableName> {
        self.changes.relations.keys().cloned().collect()
    }

    /// Remembers the changes made so far. Cheap.
    pub fn savepoint(&self) -> Savepoint {
        Savepoint {
            changes: self.changes.clone(),
        }
    }

    /// Goes back to the changes a savepoint of this transaction remembers. Data files added since are deleted at the
    /// transaction's end.
    pub fn restore(&mut self, savepoint: Savepoint) {
        // Also when the changes are the same: a statement may have failed between writing a file and adding it.
        self.may_have_strays = true;
        self.changes = savepoint.changes;
        *self.seen.lock() = None;
    }

    /// CREATE DATABASE, with an empty schema `public`.
    pub async fn create_database(&mut self, database: &str) -> Result<()> {
        check_name(database)?;
        if self.snapshot().has_database(database) {
            return Err(Error::duplicate_database(database));
        }
        let changes = self.change();
        set_existence(&mut changes.databases, database.to_owned(), true);
        set_existence(
            &mut changes.schemas,
            (database.to_owned(), FIRST_SCHEMA.to_owned()),
            true,
        );
        Ok(())
    }

    /// DROP DATABASE. Without `cascade` every schema must be empty of tables and views.
    pub async fn drop_database(&mut self, database: &str, cascade: bool) -> Result<()> {
        let snapshot = self.snapshot();
        if !snapshot.has_database(database) {
            return Err(Error::undefined_database(database));
        }
        for schema in snapshot.schemas(database) {
            if !cascade && !snapshot.relations(database, &schema).is_empty() {
                return Err(has_dependents(
                    "database",
                    database,
                    &format!("schema {schema} is not empty"),
                ));
            }
            self.drop_schema(database, &schema, cascade).await?;
        }
        for schema in snapshot.temporary_schemas(database) {
            self.drop_schema(database, &schema, true).await?;
        }
        set_existence(&mut self.change().databases, database.to_owned(), false);
        Ok(())
    }

    /// CREATE SCHEMA
    pub async fn create_schema(&mut self, database: &str, schema: &str) -> Result<()> {
        check_name(schema)?;
        let snapshot = self.snapshot();
        if !snapshot.has_database(database) {
            return Err(Error::undefined_database(database));
        }
        if snapshot.has_schema(database, schema) {
            return Err(Error::duplicate_schema(schema));
        }
        set_existence(
            &mut self.change().schemas,
            (database.to_owned(), schema.to_owned()),
            true,
        );
        Ok(())
    }

    /// DROP SCHEMA. Without `cascade` it must be empty.
    pub async fn drop_schema(&mut self, database: &str, schema: &str, cascade: bool) -> Result<()> {
        let snapshot = self.snapshot();
        if !snapshot.has_schema(database, schema) {
            return Err(Error::undefined_schema(schema));
        }
        let relations = snapshot.relations(database, schema);
        if let (false, Some((first, _))) = (cascade, relations.first()) {
            return Err(has_dependents("schema", schema, &format!("{first} is in it")));
        }
        for (name, _) in relations {
            let name = TableName::new(database, schema, name);
            // A sequence goes with its table.
            if self.snapshot().relation(&name).is_some() {
                self.drop_relation(&name).await?;
            }
        }
        set_existence(
            &mut self.change().schemas,
            (database.to_owned(), schema.to_owned()),
            false,
        );
        Ok(())
    }

    /// CREATE TABLE. Gives the table as this transaction sees it, with its field ids.
    pub async fn create_table(&mut self, definition: TableDefinition) -> Result<Arc<Table>> {
        let name = definition.name.clone();
        self.check_new_relation(&name)?;
        if self.snapshot().relation(&name).is_some() {
            return Err(Error::duplicate_relation(&name.name));
        }
        let uuid = Uuid::new_v4();
        let location = match &definition.location {
            Some(location) => location.trim_end_matches('/').to_owned(),
            None => self.shared.new_location(&name, uuid),
        };
        if !location.contains("://") {
            return Err(
                Error::invalid(format!("table location \"{location}\" is not a location"))
                    .with_hint("Write it as a URL, for example s3://bucket/folder."),
            );
        }
        let metadata = create_metadata(&definition, uuid, &location)?;
        let version = Arc::new(TableVersion::new(String::new(), metadata, 0)?);
        let delta = TableDelta::new(version);
        self.set_state(&name, Some(RelationState::Table(delta)));
        self.table(&name).await
    }

    /// CREATE TABLE … CLONE: a table of its own whose rows are in the other's files. Nothing is copied, and no file is
    /// deleted that either of them needs. It has one snapshot: the newest, or the one of `version`.
    pub async fn clone_table(
        &mut self,
        name: &TableName,
        source: &TableName,
        version: Option<&TableVersionSpec>,
    ) -> Result<()> {
        self.check_new_relation(name)?;
        if self.snapshot().relation(name).is_some() {
            return Err(Error::duplicate_relation(&name.name));
        }
        let table = self.table(source).await?;
        if self.changes.relations.contains_key(source) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "a table that the transaction has changed cannot be cloned in it",
            )
            .with_hint("Commit the transaction first."));
        }
        let metadata = table.version().metadata();
        metadata.check_writable()?;
        let snapshot_id = match version {
            Some(version) => Some(table.snapshot_of(version)?),
            None => table.snapshot_id(),
        };
        let uuid = Uuid::new_v4();
        let location = self.shared.new_location(name, uuid);
        let cloned = metadata.clone_as(snapshot_id, uuid, &location)?;
        // What the other has from others is the new one's, too.
        let owners = self.shared.database.shares().await?.into_iter();
        let mut owners: BTreeSet<String> = owners
            .filter(|share| share.table_location == table.location())
            .map(|share| share.owner_location)
            .collect();
        owners.insert(table.location().to_owned());
        let delta = TableDelta {
            owners,
            ..TableDelta::new(Arc::new(TableVersion::new(String::new(), cloned, 0)?))
        };
        self.set_state(name, Some(RelationState::Table(delta)));
        Ok(())
    }

    /// UNDROP TABLE: the table of this name that was dropped last, as it was, with the sequences of its columns. Fails with `UndefinedTable` when it is not
    /// kept any more.
    pub async fn undrop_table(&mut self, name: &TableName) -> Result<()> {
        self.check_new_relation(name)?;
        if self.snapshot().relation(name).is_some() {
            return Err(Error::duplicate_relation(&name.name)
                .with_hint("Rename that one first, then the dropped one can come back."));
        }
        let not_before_ms = Utc::now().timestamp_millis() + UNDROP_MARGIN_MS;
        let dropped = self.shared.database.dropped(name, not_before_ms).await?;
        let dropped = dropped.ok_or_else(|| {
            Error::new(
                ErrorKind::UndefinedTable,
                format!("no dropped table \"{}\" is kept", name.name),
            )
            .with_detail("The files of a dropped table stay for seven days.")
        })?;
        let version = self.shared.loader.table_version(&dropped.metadata_location).await?;
        self.note_base(name).await?;
        let delta = TableDelta {
            revived: Some(Revived {
                garbage: dropped.garbage,
                version: version.clone(),
            }),
            ..TableDelta::new(version.clone())
        };
        self.set_state(name, Some(RelationState::Table(delta)));
        self.restore_sequences(name, version.metadata()).await
    }

    /// Brings back the sequences that were dropped with a table, with their counters: numbers go on where they were.
    async fn restore_sequences(&mut self, of: &TableName, table: &Metadata) -> Result<()> {
        let dropped = self
            .shared
            .database
            .dropped_sequences(table.location(), table.uuid())
            .await?;
        for (name, pointer) in dropped {
            let sequence = Sequence::parse(&pointer)?;
            let snapshot = self.snapshot();
            let is_owned = sequence.owner.is_some_and(|owner| owner.table == table.uuid());
            if !is_owned || snapshot.sequence_with_id(sequence.id)?.is_some() {
                continue;
            }
            // Its own name, unless something else has it by now.
            let numbered = (1_u64..).map(|number| format!("{}{number}", name.name));
            let mut names = std::iter::once(name.name.clone()).chain(numbered);
            let free = names.find_map(|free| {
                let free = TableName::new(&of.database, &of.schema, free);
                snapshot.relation(&free).is_none().then_some(free)
            });
            if let Some(name) = free {
                self.note_base(&name).await?;
                self.set_sequence(&name, pointer, None);
            }
        }
        Ok(())
    }

    /// DROP TABLE. The files stay for a week.
    pub async fn drop_table(&mut self, name: &TableName) -> Result<()> {
        match self.snapshot().relation(name) {
            None => Err(Error::undefined_relation(&name.name)),
            Some(RelationKind::View) => Err(wrong_type(name, "table", "Use DROP VIEW to remove a view.")),
            Some(RelationKind::Sequence) => Err(wrong_type(name, "table", "Use DROP SEQUENCE to remove a sequence.")),
            Some(RelationKind::Table) => self.drop_relation(name).await,
        }
    }

    /// CREATE VIEW; with `replace`, an existing view of the name becomes this one.
    pub async fn create_view(&mut self, definition: ViewDefinition, replace: bool) -> Result<()> {
        let name = definition.name.clone();
        self.check_new_relation(&name)?;
        match self.snapshot().relation(&name) {
            Some(RelationKind::Table) if replace => return Err(wrong_type(&name, "view", "A table has that name.")),
            Some(RelationKind::Sequence) if replace => {
                return Err(wrong_type(&name, "view", "A sequence has that name."));
            }
            Some(RelationKind::View) if replace => {}
            Some(_) => return Err(Error::duplicate_relation(&name.name)),
            None => {}
        }
        self.put_view(definition).await
    }

    /// DROP VIEW
    pub async fn drop_view(&mut self, name: &TableName) -> Result<()> {
        match self.snapshot().relation(name) {
            None => Err(Error::undefined_relation(&name.name)),
            Some(RelationKind::Table) => Err(wrong_type(name, "view", "Use DROP TABLE to remove a table.")),
            Some(RelationKind::Sequence) => Err(wrong_type(name, "view", "Use DROP SEQUENCE to remove a sequence.")),
            Some(RelationKind::View) => self.drop_relation(name).await,
        }
    }

    /// CREATE SEQUENCE
    pub fn create_sequence(&mut self, name: &TableName, sequence: &Sequence) -> Result<()> {
        self.check_new_relation(name)?;
        if self.snapshot().relation(name).is_some() {
            return Err(Error::duplicate_relation(&name.name));
        }
        self.set_sequence(name, sequence.print()?, None);
        Ok(())
    }

    /// ALTER SEQUENCE: its definition from now on. Fails with `Conflict` at the commit when another transaction altered it
    /// meanwhile.
    ///
    /// A sequence with another counter may go on from the one it had, which was as far as `went_on_from`. What others take
    /// from that until the commit is not given again; where that cannot be, because the transaction has used its own
    /// numbers, the commit fails with `Conflict`.
    pub async fn alter_sequence(
        &mut self,
        name: &TableName,
        sequence: &Sequence,
        went_on_from: Option<SequenceState>,
    ) -> Result<()> {
        self.check_sequence(name)?;
        let before = self.snapshot().sequence(name)?;
        let before = before.ok_or_else(|| Error::undefined_relation(&name.name))?;
        self.note_base(name).await?;
        let committed = self.base.sequence_with_id(before.id)?;
        let is_committed = committed.is_some_and(|(_, committed)| committed.counter == before.counter);
        let ends = self.counter_end(name);
        let ends = match went_on_from {
            _ if sequence.counter == before.counter => ends,
            // It begins anew.
            None => None,
            Some(state) if is_committed => Some(CounterEnd {
                before,
                state,
                next: sequence.counter,
                is_exact: false,
            }),
            Some(_) => ends.map(|end| CounterEnd {
                next: sequence.counter,
                is_exact: true,
                ..end
            }),
        };
        self.set_sequence(name, sequence.print()?, ends);
        Ok(())
    }

    fn counter_end(&self, sequence: &TableName) -> Option<CounterEnd> {
        match self.changes.relations.get(sequence)?.now.as_ref()? {
            RelationState::Sequence(delta) => delta.ends.clone(),
            _ => None,
        }
    }

    fn set_sequence(&mut self, name: &TableName, pointer: String, ends: Option<CounterEnd>) {
        self.set_state(name, Some(RelationState::Sequence(SequenceDelta { pointer, ends })));
    }

    /// DROP SEQUENCE
    pub async fn drop_sequence(&mut self, name: &TableName) -> Result<()> {
        self.check_sequence(name)?;
        self.drop_relation(name).await
    }

    fn check_sequence(&self, name: &TableName) -> Result<()> {
        match self.snapshot().relation(name) {
            Some(RelationKind::Sequence) => Ok(()),
            Some(_) => Err(wrong_type(
                name,
                "sequence",
                "Use DROP TABLE or DROP VIEW to remove it.",
            )),
            None => Err(Error::undefined_relation(&name.name)),
        }
    }

    /// COMMENT ON TABLE or VIEW (no column) or COLUMN of a table; `None` removes the comment.
    pub async fn set_comment(&mut self, name: &TableName, column: Option<&str>, comment: Option<String>) -> Result<()> {
        if let Some(view) = self.snapshot().view(name).await? {
            if column.is_some() {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "comments on columns of views are not supported",
                ));
            }
            let definition = definition_of(&view, name.clone());
            return self.put_view(ViewDefinition { comment, ..definition }).await;
        }
        let table = self.table(name).await?;
        let field_id = match column {
            None => None,
            Some(column) => {
                let found = table.schema().column(column);
                Some(
                    found
                        .ok_or_else(|| Error::undefined_column(column, &name.name))?
                        .field_id,
                )
            }
        };
        self.alter_table(name, &[TableChange::SetComment { field_id, comment }], false)
            .await
    }

    /// ALTER TABLE: changes of a table's definition, in order. Later statements of the transaction see them.
    ///
    /// `rows_checked` says that the caller looked at the table's rows to see that they allow the changes (that none is
    /// NULL, for example): the commit then fails with `Conflict` when another transaction changed rows meanwhile. Changes
    /// of columns and layout fail so, too, when another transaction made such changes first.
    pub async fn alter_table(&mut self, name: &TableName, changes: &[TableChange], rows_checked: bool) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let table = self.table(name).await?;
        table.version().metadata().check_writable()?;
        let rolls_back = changes
            .iter()
            .any(|change| matches!(change, TableChange::RollBack { .. }));
        if rolls_back && self.delta_of(name).is_some_and(|delta| !delta.files.is_empty()) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "a table cannot be rolled back after changes of its rows",
            )
            .with_detail("The transaction has changed rows of it already.")
            .with_hint("Commit or roll back the transaction first."));
        }
        let (metadata, _) = table.version().metadata().next(None, changes, None)?;
        for change in changes {
            if let TableChange::DropColumn { field_id } = change {
                self.drop_owned_sequences(name, table.uuid(), |column| column == *field_id)
                    .await?;
            }
        }
        let version = Arc::new(TableVersion::new(String::new(), metadata, 0)?);
        let delta = self.table_delta(name, table.version().clone())?;
        delta.version = version;
        if delta.origin.is_some() || delta.revived.is_some() {
            delta.changes.extend_from_slice(changes);
            delta.rows_checked |= rows_checked;
        }
        Ok(())
    }

    /// Gives a table or view another name, also in another schema. Its files stay where they are.
    pub async fn rename(&mut self, from: &TableName, to: &TableName) -> Result<()> {
        self.check_new_relation(to)?;
        let snapshot = self.snapshot();
        if snapshot.relation(to).is_some() {
            return Err(Error::duplicate_relation(&to.name));
        }
        if let Some(view) = snapshot.view(from).await? {
            let definition = definition_of(&view, to.clone());
            self.drop_relation(from).await?;
            return self.put_view(definition).await;
        }
        if let Some(sequence) = snapshot.sequence(from)? {
            let ends = self.counter_end(from);
            self.drop_relation(from).await?;
            self.note_base(to).await?;
            self.set_sequence(to, sequence.print()?, ends);
            return Ok(());
        }
        let version = self.table(from).await?.version().clone();
        if from.schema != to.schema || from.database != to.database {
            let owned = snapshot.sequences_of(&from.database, &from.schema, version.metadata().uuid())?;
            for (name, _) in owned {
                let named = |table: &TableName| TableName::new(&table.database, &table.schema, &name);
                Box::pin(self.rename(&named(from), &named(to))).await?;
            }
        }
        self.note_base(to).await?;
        let moved = self.table_delta(from, version)?.clone();
        self.set_state(from, None);
        self.set_state(to, Some(RelationState::Table(moved)));
        Ok(())
    }

    /// ALTER SCHEMA … RENAME: everything in it moves to a schema of another name.
    pub async fn rename_schema(&mut self, database: &str, from: &str, to: &str) -> Result<()> {
        let snapshot = self.snapshot();
        if !snapshot.has_schema(database, from) {
            return Err(Error::undefined_schema(from));
        }
        self.create_schema(database, to).await?;
        let properties = self.shared.database.schema_properties(database, from).await?;
        let properties = properties.into_iter().map(|(key, value)| (key, Some(value)));
        self.set_schema_properties(database, to, properties.collect())?;
        for (name, _) in snapshot.relations(database, from) {
            let (old, new) = (
                TableName::new(database, from, &name),
                TableName::new(database, to, &name),
            );
            // A sequence goes with its table.
            if self.snapshot().relation(&old).is_some() {
                self.rename(&old, &new).await?;
            }
        }
        self.drop_schema(database, from, false).await
    }

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
        self.note_row_changes(name).await?;
        let changes = self.file_changes(name).await?;
        for (file, rows) in rows.iter().filter(|(_, rows)| !rows.is_empty()) {
            changes.delete_rows(file, rows);
        }
        Ok(())
    }

    /// Deletes all rows that are left in files of a table, which are as [`Table::files`] of this transaction's state
    /// gives them.
    pub async fn remove_files(&mut self, name: &TableName, files: &[Arc<LiveFile>]) -> Result<()> {
        if !files.is_empty() && !self.delta_of(name).is_some_and(|delta| delta.files.replaces) {
            self.note_row_changes(name).await?;
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

    /// Makes all changes visible and durable at once. Gives the commit's sequence number, or the base's when there was
    /// nothing to do.
    ///
    /// Appends are put on top of what others committed meanwhile. Fails with `Conflict` when that is impossible, with a
    /// `Duplicate…` kind when somebody made something of the same name first; nothing is changed then, and the
    /// transaction's objects are deleted. Runs on even when the caller stops waiting.
    pub async fn commit(mut self) -> Result<u64> {
        if self.is_read_only() {
            let csn = self.base.csn();
            self.rollback().await?;
            return Ok(csn);
        }
        self.is_finished = true;
        let row_changers = std::mem::take(&mut self.row_changers);
        let commit = Commit {
            shared: self.shared.clone(),
            txn_id: self.id,
            base: self.base.clone(),
            changes: self.changes.clone(),
            registered: std::mem::take(&mut self.registered),
            may_have_strays: self.may_have_strays,
            garbage: Vec::new(),
            reads: std::mem::take(&mut self.reads),
        };
        let running = async move {
            let result = commit::run(commit).await;
            drop(row_changers);
            result
        };
        tokio::spawn(running).await.map_err(|error| {
            Error::internal("the commit was stopped; its outcome is unknown")
                .with_detail(format!("transaction {}", self.id))
                .with_hint("Look whether the change is there before you repeat it.")
                .with_source(error)
        })?
    }

    /// Gives everything up. Gives the locations of the objects that were deleted; what could not be deleted is left to
    /// recovery.
    pub async fn rollback(mut self) -> Result<Vec<String>> {
        self.is_finished = true;
        if self.registered.is_empty() {
            return Ok(Vec::new());
        }
        let locations: Vec<String> = std::mem::take(&mut self.registered).into_iter().collect();
        self.shared.give_up(self.id, &locations).await
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.is_finished || self.registered.is_empty() {
            return;
        }
        // Without a runtime the process is ending; recovery cleans up.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (shared, id) = (self.shared.clone(), self.id);
            let locations: Vec<String> = std::mem::take(&mut self.registered).into_iter().collect();
            runtime.spawn(async move {
                if let Err(error) = shared.give_up(id, &locations).await {
                    tracing::warn!(txn_id = %id, %error, "cannot clean up after an abandoned transaction");
                }
            });
        }
    }
}

impl Transaction {
    fn change(&mut self) -> &mut Changes {
        *self.seen.lock() = None;
        Arc::make_mut(&mut self.changes)
    }

    /// The base's pointers with the changes, and the relations behind the changed ones.
    fn overlay(&self) -> CatalogSnapshot {
        let mut pointers = self.base.pointers().clone();
        let mut own = BTreeMap::new();
        for (name, delta) in &self.changes.relations {
            let kind = match &delta.now {
                None => None,
                Some(RelationState::Table(delta)) => {
                    let (version, files) = (delta.version.clone(), delta.files.clone());
                    let table = Table::new(name.clone(), version, files, self.shared.loader.clone());
                    own.insert(name.clone(), OwnRelation::Table(Arc::new(table)));
                    Some(RelationKind::Table)
                }
                Some(RelationState::View(delta)) => {
                    own.insert(name.clone(), OwnRelation::View(Arc::new(view(&delta.definition))));
                    Some(RelationKind::View)
                }
                Some(RelationState::Sequence(_)) => Some(RelationKind::Sequence),
            };
            let location = match &delta.now {
                Some(RelationState::Sequence(delta)) => delta.pointer.clone(),
                _ => String::new(),
            };
            pointers.set(name, kind.map(|kind| Pointer { kind, location }));
        }
        for ((database, schema), exists) in &self.changes.schemas {
            match exists {
                true => pointers.insert_schema(database, schema),
                false => pointers.remove_schema(database, schema),
            }
        }
        for (database, exists) in &self.changes.databases {
            match exists {
                true => pointers.insert_database(database),
                false => pointers.remove_database(database),
            }
        }
        CatalogSnapshot::of_transaction(self.base.clone(), pointers, own)
    }

    fn check_new_relation(&self, name: &TableName) -> Result<()> {
        check_name(&name.name)?;
        let snapshot = self.snapshot();
        if !snapshot.has_database(&name.database) {
            return Err(Error::undefined_database(&name.database));
        }
        if !snapshot.has_schema(&name.database, &name.schema) {
            return Err(Error::undefined_schema(&name.schema));
        }
        Ok(())
    }

    /// The table as the transaction sees it.
    async fn table(&self, name: &TableName) -> Result<Arc<Table>> {
        let snapshot = self.snapshot();
        match snapshot.table(name).await? {
            Some(table) => Ok(table),
            None if snapshot.relation(name).is_some() => Err(wrong_type(name, "table", "It is a view.")),
            None => Err(Error::undefined_relation(&name.name)),
        }
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

    fn delta_of(&self, name: &TableName) -> Option<&TableDelta> {
        match self.changes.relations.get(name)?.now.as_ref()? {
            RelationState::Table(delta) => Some(delta),
            RelationState::View(_) | RelationState::Sequence(_) => None,
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

    async fn note_row_changes(&mut self, name: &TableName) -> Result<()> {
        let table = self.table(name).await?.uuid();
        let shared = &self.shared;
        self.row_changers
            .entry(table)
            .or_insert_with(|| shared.row_changer(table));
        Ok(())
    }

    /// The delta of a table, begun on its base's `version` if there is none.
    fn table_delta(&mut self, name: &TableName, version: Arc<TableVersion>) -> Result<&mut TableDelta> {
        let fresh = || RelationDelta {
            base: Some(BaseRelation::Table(version.clone())),
            now: Some(RelationState::Table(TableDelta {
                origin: Some(name.clone()),
                ..TableDelta::new(version)
            })),
        };
        let delta = self.change().relations.entry(name.clone()).or_insert_with(fresh);
        match &mut delta.now {
            Some(RelationState::Table(delta)) => Ok(delta),
            _ => Err(Error::undefined_relation(&name.name)),
        }
    }

    /// Sets what a name stands for; what it stood for in the base must be noted already if there was anything.
    fn set_state(&mut self, name: &TableName, now: Option<RelationState>) {
        let relations = &mut self.change().relations;
        let delta = relations
            .entry(name.clone())
            .or_insert(RelationDelta { base: None, now: None });
        delta.now = now;
        if delta.base.is_none() && delta.now.is_none() {
            relations.remove(name);
        }
    }

    async fn note_base(&mut self, name: &TableName) -> Result<()> {
        if self.changes.relations.contains_key(name) {
            return Ok(());
        }
        let base = match self.base.relation(name) {
            None => return Ok(()),
            Some(RelationKind::View) => BaseRelation::View,
            Some(RelationKind::Sequence) => {
                let pointer = self.base.metadata_location(name).unwrap_or_default();
                BaseRelation::Sequence(pointer.to_owned())
            }
            Some(RelationKind::Table) => BaseRelation::Table(self.table(name).await?.version().clone()),
        };
        self.change().relations.insert(
            name.clone(),
            RelationDelta {
                base: Some(base),
                now: None,
            },
        );
        Ok(())
    }

    async fn drop_relation(&mut self, name: &TableName) -> Result<()> {
        if self.snapshot().relation(name) == Some(RelationKind::Table) {
            let table = self.table(name).await?.uuid();
            self.drop_owned_sequences(name, table, |_| true).await?;
        }
        self.note_base(name).await?;
        // Files written for the table by this transaction have no place any more.
        self.may_have_strays = true;
        self.set_state(name, None);
        Ok(())
    }

    /// Drops the sequences that go with columns of a table.
    async fn drop_owned_sequences(&mut self, of: &TableName, table: Uuid, columns: impl Fn(i32) -> bool) -> Result<()> {
        for (name, sequence) in self.snapshot().sequences_of(&of.database, &of.schema, table)? {
            if sequence.owner.is_some_and(|owner| columns(owner.column)) {
                let name = TableName::new(&of.database, &of.schema, name);
                self.note_base(&name).await?;
                self.set_state(&name, None);
            }
        }
        Ok(())
    }

    async fn put_view(&mut self, definition: ViewDefinition) -> Result<()> {
        let name = definition.name.clone();
        self.note_base(&name).await?;
        let uuid = Uuid::new_v4();
        let location = self.shared.new_location(&name, uuid);
        // The same encoding as at the commit: what is wrong with the definition is said now.
        write_view(&definition, None, uuid, &location, Utc::now().timestamp_millis())?;
        self.set_state(
            &name,
            Some(RelationState::View(ViewDelta {
                definition,
                uuid,
                location,
            })),
        );
        Ok(())
    }
}

/// What would make the view again, under a name.
fn definition_of(view: &View, name: TableName) -> ViewDefinition {
    let View {
        sql,
        columns,
        search_path,
        comment,
        ..
    } = view.clone();
    ViewDefinition {
        name,
        sql,
        columns,
        search_path,
        comment,
    }
}

fn view(definition: &ViewDefinition) -> View {
    let ViewDefinition {
        name,
        sql,
        columns,
        search_path,
        comment,
    } = definition.clone();
    View {
        name,
        sql,
        columns,
        search_path,
        comment,
    }
}

fn check_name(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::invalid("zero-length identifier"));
    }
    if name.contains('\0') {
        return Err(Error::invalid("identifier contains a null character"));
    }
    if name.chars().count() > NAME_LENGTH_MAX {
        return Err(Error::invalid(format!(
            "identifier is longer than {NAME_LENGTH_MAX} characters"
        )));
    }
    Ok(())
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

fn wrong_type(name: &TableName, wanted: &str, hint: &str) -> Error {
    Error::new(
        ErrorKind::WrongObjectType,
        format!("\"{}\" is not a {wanted}", name.name),
    )
    .with_hint(hint)
}

fn has_dependents(what: &str, name: &str, detail: &str) -> Error {
    Error::new(
        ErrorKind::DependentObjects,
        format!(
            "cannot drop {what} {} because other objects depend on it",
            crate::name::quote_identifier(name)
        ),
    )
    .with_detail(detail)
    .with_hint("Use DROP ... CASCADE to drop the dependent objects too.")
}
