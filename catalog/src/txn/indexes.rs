//! The names of indexes. What an index is, its table says.

use std::collections::HashSet;

use uuid::Uuid;

use super::Transaction;
use super::changes::RelationState;
use crate::alter::TableChange;
use crate::error::{Error, Result};
use crate::index::{Index, IndexOwner};
use crate::name::TableName;
use crate::snapshot::RelationKind;

impl Transaction {
    /// Gives the indexes a table has from now on their names, and takes away those of others it had.
    pub(super) async fn set_index_names(
        &mut self,
        of: &TableName,
        table: Uuid,
        before: &[Index],
        after: &[Index],
    ) -> Result<()> {
        let named = |index: &Index| (index.id, index.name.clone());
        let kept: HashSet<(Uuid, String)> = after.iter().map(named).collect();
        for index in before.iter().filter(|index| !kept.contains(&named(index))) {
            self.drop_index_name(&of.sibling(&index.name), table).await?;
        }
        let had: HashSet<(Uuid, String)> = before.iter().map(named).collect();
        for index in after.iter().filter(|index| !had.contains(&named(index))) {
            let name = of.sibling(&index.name);
            self.check_new_relation(&name)?;
            if self.snapshot().relation(&name).is_some() {
                return Err(Error::duplicate_relation(&name.name));
            }
            self.set_index_name(&name, of, table).await?;
        }
        Ok(())
    }

    pub(super) async fn drop_index_names(&mut self, of: &TableName, table: Uuid, indexes: &[Index]) -> Result<()> {
        for index in indexes {
            self.drop_index_name(&of.sibling(&index.name), table).await?;
        }
        Ok(())
    }

    /// The indexes of a table move with it to another schema.
    pub(super) async fn move_index_names(
        &mut self,
        from: &TableName,
        to: &TableName,
        table: Uuid,
        indexes: &[Index],
    ) -> Result<()> {
        for index in indexes {
            let name = to.sibling(&index.name);
            if self.snapshot().relation(&name).is_some() {
                return Err(Error::duplicate_relation(&name.name));
            }
            self.drop_index_name(&from.sibling(&index.name), table).await?;
            self.set_index_name(&name, to, table).await?;
        }
        Ok(())
    }

    /// Names the indexes of a table that comes with them: those whose names are taken get others.
    pub(super) async fn name_indexes_anew(&mut self, of: &TableName, table: Uuid, indexes: &[Index]) -> Result<()> {
        let mut named = indexes.to_vec();
        for index in &mut named {
            let name = self.free_name(&of.sibling(&index.name));
            self.set_index_name(&name, of, table).await?;
            index.name = name.name;
        }
        match named == indexes {
            true => Ok(()),
            false => {
                self.change_definition(of, &[TableChange::SetIndexes(named)], false)
                    .await
            }
        }
    }

    /// The name, with a number after it when something has it.
    pub(super) fn free_name(&self, name: &TableName) -> TableName {
        let snapshot = self.snapshot();
        let mut free = name.clone();
        let mut number = 0_u64;
        while snapshot.relation(&free).is_some() {
            number += 1;
            free = name.sibling(&format!("{}{number}", name.name));
        }
        free
    }

    async fn set_index_name(&mut self, name: &TableName, of: &TableName, table: Uuid) -> Result<()> {
        let owner = IndexOwner {
            table,
            relation: of.name.clone(),
        };
        self.note_base(name).await?;
        self.set_state(name, Some(RelationState::Index(owner.print()?)));
        Ok(())
    }

    /// A table another engine brought along may say that it has an index whose name is something else here.
    async fn drop_index_name(&mut self, name: &TableName, table: Uuid) -> Result<()> {
        let snapshot = self.snapshot();
        let pointer = snapshot.pointers().get(name);
        let Some(pointer) = pointer.filter(|pointer| pointer.kind == RelationKind::Index) else {
            return Ok(());
        };
        if IndexOwner::parse(&pointer.location)?.table == table {
            self.note_base(name).await?;
            self.set_state(name, None);
        }
        Ok(())
    }
}
