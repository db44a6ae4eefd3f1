//! Views.

use chrono::Utc;
use uuid::Uuid;

use super::changes::{RelationState, ViewDelta};
use super::{Transaction, wrong_type};
use crate::access::ObjectKind;
use crate::error::{Error, ErrorKind, Result};
use crate::iceberg::write_view;
use crate::name::TableName;
use crate::schema::{View, ViewDefinition};
use crate::snapshot::RelationKind;

impl Transaction {
    /// CREATE VIEW; with `replace`, an existing view of the name becomes this one and keeps its comments.
    pub async fn create_view(&mut self, mut definition: ViewDefinition, replace: bool) -> Result<()> {
        let name = definition.name.clone();
        self.check_new_relation(&name)?;
        let snapshot = self.snapshot();
        match snapshot.relation(&name) {
            Some(RelationKind::Table | RelationKind::Sequence | RelationKind::Index) if replace => {
                let message = format!("\"{}\" is not a view", name.name);
                return Err(Error::new(ErrorKind::WrongObjectType, message));
            }
            Some(RelationKind::View) if replace => {
                if let Some(old) = self.snapshot().view(&name).await? {
                    definition.comment = definition.comment.or_else(|| old.comment.clone());
                    definition.column_comments.clone_from(&old.column_comments);
                }
            }
            Some(_) => return Err(Error::duplicate_relation(&name.name)),
            None => {}
        }
        match snapshot.view(&name).await? {
            Some(view) => self.put_view(definition, view.uuid).await,
            None => {
                // They are in the order in which they were made: so are the numbers of objects.
                let uuid = Uuid::now_v7();
                self.put_view(definition, uuid).await?;
                self.own_relation(&name, uuid, ObjectKind::Table);
                Ok(())
            }
        }
    }

    /// DROP VIEW
    pub async fn drop_view(&mut self, name: &TableName) -> Result<()> {
        match self.snapshot().relation(name) {
            None => Err(Error::undefined_relation(&name.name)),
            Some(RelationKind::Table) => Err(wrong_type(name, "view", "Use DROP TABLE to remove a table.")),
            Some(RelationKind::Sequence) => Err(wrong_type(name, "view", "Use DROP SEQUENCE to remove a sequence.")),
            Some(RelationKind::Index) => Err(wrong_type(name, "view", "Use DROP INDEX to remove an index.")),
            Some(RelationKind::View) => self.drop_relation(name).await,
        }
    }

    /// `uuid` is the view's own: it keeps it when it is replaced and renamed.
    pub(super) async fn put_view(&mut self, definition: ViewDefinition, uuid: Uuid) -> Result<()> {
        let name = definition.name.clone();
        self.note_base(&name).await?;
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
pub(super) fn definition_of(view: &View, name: TableName) -> ViewDefinition {
    let View {
        sql,
        columns,
        search_path,
        comment,
        reads,
        column_comments,
        ..
    } = view.clone();
    ViewDefinition {
        name,
        sql,
        columns,
        search_path,
        comment,
        reads,
        column_comments,
    }
}

pub(super) fn view(definition: &ViewDefinition, uuid: Uuid) -> View {
    let ViewDefinition {
        name,
        sql,
        columns,
        search_path,
        comment,
        reads,
        column_comments,
    } = definition.clone();
    View {
        uuid,
        name,
        sql,
        columns,
        search_path,
        comment,
        reads,
        column_comments,
    }
}
