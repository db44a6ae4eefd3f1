//! Sequences, and what becomes of their counters.

use uuid::Uuid;

use super::changes::{RelationState, SequenceDelta};
use super::{Transaction, wrong_type};
use crate::access::ObjectKind;
use crate::error::{Error, Result};
use crate::iceberg::Metadata;
use crate::name::TableName;
use crate::sequence::{CounterEnd, Sequence, SequenceState};
use crate::snapshot::RelationKind;

impl Transaction {
    /// CREATE SEQUENCE
    pub fn create_sequence(&mut self, name: &TableName, sequence: &Sequence) -> Result<()> {
        self.check_new_relation(name)?;
        if self.snapshot().relation(name).is_some() {
            return Err(Error::duplicate_relation(&name.name));
        }
        self.set_sequence(name, sequence.print()?, None);
        self.own_relation(name, sequence.id, ObjectKind::Sequence);
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

    /// DROP SEQUENCE
    pub async fn drop_sequence(&mut self, name: &TableName) -> Result<()> {
        self.check_sequence(name)?;
        self.drop_relation(name).await
    }

    /// Brings back the sequences that were dropped with a table, with their counters: numbers go on where they were.
    pub(super) async fn restore_sequences(&mut self, of: &TableName, table: &Metadata) -> Result<()> {
        let dropped = self
            .shared
            .database
            .dropped_sequences(table.location(), table.uuid())
            .await?;
        // Its indexes name the table, too.
        let dropped = dropped
            .into_iter()
            .filter(|(_, pointer)| Sequence::counter_in(pointer).is_some());
        for (name, pointer) in dropped {
            let sequence = Sequence::parse(&pointer)?;
            let snapshot = self.snapshot();
            let is_owned = sequence.owner.is_some_and(|owner| owner.table == table.uuid());
            if !is_owned || snapshot.sequence_with_id(sequence.id)?.is_some() {
                continue;
            }
            // Its own name, unless something else has it by now.
            let name = self.free_name(&of.sibling(&name.name));
            self.note_base(&name).await?;
            self.set_sequence(&name, pointer, None);
            self.own_relation(&name, sequence.id, ObjectKind::Sequence);
        }
        Ok(())
    }

    /// Drops the sequences that go with columns of a table.
    pub(super) async fn drop_owned_sequences(
        &mut self,
        of: &TableName,
        table: Uuid,
        columns: impl Fn(i32) -> bool,
    ) -> Result<()> {
        for (name, sequence) in self.snapshot().sequences_of(&of.database, &of.schema, table)? {
            if sequence.owner.is_some_and(|owner| columns(owner.column)) {
                let name = TableName::new(&of.database, &of.schema, name);
                self.disown_relation(&name).await?;
                self.note_base(&name).await?;
                self.set_state(&name, None);
            }
        }
        Ok(())
    }

    pub(super) fn counter_end(&self, sequence: &TableName) -> Option<CounterEnd> {
        match self.changes.relations.get(sequence)?.now.as_ref()? {
            RelationState::Sequence(delta) => delta.ends.clone(),
            _ => None,
        }
    }

    pub(super) fn set_sequence(&mut self, name: &TableName, pointer: String, ends: Option<CounterEnd>) {
        self.set_state(name, Some(RelationState::Sequence(SequenceDelta { pointer, ends })));
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
}
