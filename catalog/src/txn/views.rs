//! Views.

use chrono::Utc;
use uuid::Uuid;

use super::changes::{RelationState, ViewDelta};
use super::{Transaction, wrong_type};
use crate::error::{Error, Result};
use crate::iceberg::write_view;
use crate::name::TableName;
use crate::schema::{View, ViewDefinition};
use crate::snapshot::RelationKind;

impl Transaction {
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

    pub(super) async fn put_view(&mut self, definition: ViewDefinition) -> Result<()> {
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
pub(super) fn definition_of(view: &View, name: TableName) -> ViewDefinition {
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

pub(super) fn view(definition: &ViewDefinition, uuid: Uuid) -> View {
    let ViewDefinition {
        name,
        sql,
        columns,
        search_path,
        comment,
    } = definition.clone();
    View {
        uuid,
        name,
        sql,
        columns,
        search_path,
        comment,
    }
}
