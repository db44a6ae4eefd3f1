//! Tables: made, cloned, brought back, altered, renamed, dropped.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::Utc;
use uuid::Uuid;

use super::changes::{RelationState, Revived, TableDelta};
use super::views::definition_of;
use super::{Transaction, wrong_type};
use crate::access::ObjectKind;
use crate::alter::TableChange;
use crate::error::{Error, ErrorKind, Result};
use crate::garbage::UNDROP_MARGIN_MS;
use crate::history::TableVersionSpec;
use crate::iceberg::create_metadata;
use crate::name::TableName;
use crate::schema::{TableDefinition, ViewDefinition};
use crate::snapshot::RelationKind;
use crate::table::{Table, TableVersion};

impl Transaction {
    /// CREATE TABLE. Gives the table as this transaction sees it, with its field ids.
    pub async fn create_table(&mut self, definition: TableDefinition) -> Result<Arc<Table>> {
        let name = definition.name.clone();
        self.check_new_relation(&name)?;
        if self.snapshot().relation(&name).is_some() {
            return Err(Error::duplicate_relation(&name.name));
        }
        let uuid = Uuid::now_v7();
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
        self.set_index_names(&name, uuid, &[], &definition.indexes).await?;
        self.own_relation(&name, uuid, ObjectKind::Table);
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
        let uuid = Uuid::now_v7();
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
        self.own_relation(name, uuid, ObjectKind::Table);
        self.name_indexes_anew(name, uuid, table.indexes()).await
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
        self.own_relation(name, version.metadata().uuid(), ObjectKind::Table);
        self.restore_sequences(name, version.metadata()).await?;
        let metadata = version.metadata();
        let indexes = metadata.indexes(metadata.location())?;
        self.name_indexes_anew(name, metadata.uuid(), &indexes).await
    }

    /// DROP TABLE. The files stay for a week.
    pub async fn drop_table(&mut self, name: &TableName) -> Result<()> {
        match self.snapshot().relation(name) {
            None => Err(Error::undefined_relation(&name.name)),
            Some(RelationKind::View) => Err(wrong_type(name, "table", "Use DROP VIEW to remove a view.")),
            Some(RelationKind::Sequence) => Err(wrong_type(name, "table", "Use DROP SEQUENCE to remove a sequence.")),
            Some(RelationKind::Index) => Err(wrong_type(name, "table", "Use DROP INDEX to remove an index.")),
            Some(RelationKind::Table) => self.drop_relation(name).await,
        }
    }

    /// COMMENT ON TABLE or VIEW (no column) or COLUMN; `None` removes the comment.
    pub async fn set_comment(&mut self, name: &TableName, column: Option<&str>, comment: Option<String>) -> Result<()> {
        if let Some(view) = self.snapshot().view(name).await? {
            let mut definition = definition_of(&view, name.clone());
            let Some(column) = column else {
                return self.put_view(ViewDefinition { comment, ..definition }, view.uuid).await;
            };
            if !view.columns.iter().any(|(name, _)| name == column) {
                return Err(Error::undefined_column(column, &name.name));
            }
            match comment {
                Some(comment) => definition.column_comments.insert(column.to_owned(), comment),
                None => definition.column_comments.remove(column),
            };
            return self.put_view(definition, view.uuid).await;
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
        let mut before = None;
        for change in changes {
            if let TableChange::SetIndexes(after) = change {
                let table = self.table(name).await?;
                let before = before.replace(after).map_or(table.indexes(), Vec::as_slice);
                self.set_index_names(name, table.uuid(), before, after).await?;
            }
        }
        self.change_definition(name, changes, rows_checked).await
    }

    /// The changes alone, without a look at the names of indexes.
    pub(super) async fn change_definition(
        &mut self,
        name: &TableName,
        changes: &[TableChange],
        rows_checked: bool,
    ) -> Result<()> {
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
        delta
            .files
            .forget_columns(|field_id| version.metadata().has_field(field_id));
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
            self.take_off(from).await?;
            return self.put_view(definition, view.uuid).await;
        }
        if let Some(sequence) = snapshot.sequence(from)? {
            let ends = self.counter_end(from);
            self.take_off(from).await?;
            self.note_base(to).await?;
            self.set_sequence(to, sequence.print()?, ends);
            return Ok(());
        }
        let table = self.table(from).await?;
        let version = table.version().clone();
        if from.schema != to.schema || from.database != to.database {
            self.move_index_names(from, to, table.uuid(), table.indexes()).await?;
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
}
