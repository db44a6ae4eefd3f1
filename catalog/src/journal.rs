//! The pointer map as of one commit sequence number: which metadata file every table and view has.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::access::Access;
use crate::database::{Pointer, PointerState};
use crate::error::Result;
use crate::name::TableName;
use crate::sequence::Sequence;
use crate::snapshot::RelationKind;

/// All pointers. Cheap to clone: schemas share their relations until one changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pointers {
    csn: u64,
    databases: BTreeMap<String, BTreeMap<String, Relations>>,
    /// The names of sequences by their ids: every row that takes a number asks.
    sequences: Arc<BTreeMap<Uuid, TableName>>,
    access: Access,
}

/// The tables and views of one schema by name.
pub(crate) type Relations = Arc<BTreeMap<String, Pointer>>;

impl Pointers {
    pub(crate) fn csn(&self) -> u64 {
        self.csn
    }

    pub(crate) fn databases(&self) -> impl Iterator<Item = &String> {
        self.databases.keys()
    }

    pub(crate) fn has_database(&self, database: &str) -> bool {
        self.databases.contains_key(database)
    }

    pub(crate) fn schemas(&self, database: &str) -> impl Iterator<Item = &String> {
        self.databases.get(database).into_iter().flat_map(BTreeMap::keys)
    }

    pub(crate) fn relations(&self, database: &str, schema: &str) -> Option<&Relations> {
        self.databases.get(database)?.get(schema)
    }

    pub(crate) fn get(&self, name: &TableName) -> Option<&Pointer> {
        self.relations(&name.database, &name.schema)?.get(&name.name)
    }

    /// Everything there is, with its name.
    pub(crate) fn all(&self) -> impl Iterator<Item = (TableName, &Pointer)> {
        let databases = self.databases.iter();
        let schemas = databases.flat_map(|(database, schemas)| schemas.iter().map(move |schema| (database, schema)));
        schemas.flat_map(|(database, (schema, relations))| {
            let named = relations.iter();
            named.map(move |(name, pointer)| (TableName::new(database, schema, name), pointer))
        })
    }

    /// The name of the sequence with this id.
    pub(crate) fn sequence(&self, id: Uuid) -> Option<&TableName> {
        self.sequences.get(&id)
    }

    /// Roles and grants.
    pub(crate) fn access(&self) -> &Access {
        &self.access
    }

    pub(crate) fn set_access(&mut self, access: Access) {
        self.access = access;
    }

    /// The map after what a database says has changed since this one was made.
    pub(crate) fn advanced(&self, state: PointerState) -> Result<Pointers> {
        let mut next = Pointers {
            csn: state.csn,
            access: self.access.advanced(state.access, state.complete)?,
            databases: BTreeMap::new(),
            sequences: match state.complete {
                true => Arc::default(),
                false => self.sequences.clone(),
            },
        };
        for database in state.databases {
            next.databases.entry(database).or_default();
        }
        for (database, schema) in state.schemas {
            let relations = if state.complete {
                None
            } else {
                self.relations(&database, &schema).cloned()
            };
            next.databases
                .entry(database)
                .or_default()
                .insert(schema, relations.unwrap_or_default());
        }
        for (name, pointer) in state.changes {
            // Its schema may be gone with it.
            next.forget_sequence(&name, self.get(&name).and_then(sequence_id));
            next.set(&name, pointer);
        }
        Ok(next)
    }

    pub(crate) fn insert_database(&mut self, database: &str) {
        self.databases.entry(database.to_owned()).or_default();
    }

    pub(crate) fn remove_database(&mut self, database: &str) {
        self.databases.remove(database);
    }

    pub(crate) fn insert_schema(&mut self, database: &str, schema: &str) {
        self.databases
            .entry(database.to_owned())
            .or_default()
            .entry(schema.to_owned())
            .or_default();
    }

    pub(crate) fn remove_schema(&mut self, database: &str, schema: &str) {
        if let Some(schemas) = self.databases.get_mut(database) {
            schemas.remove(schema);
        }
    }

    /// Sets or removes one pointer. Removing from a schema that is gone is fine.
    pub(crate) fn set(&mut self, name: &TableName, pointer: Option<Pointer>) {
        self.forget_sequence(name, self.get(name).and_then(sequence_id));
        if let Some(id) = pointer.as_ref().and_then(sequence_id) {
            Arc::make_mut(&mut self.sequences).insert(id, name.clone());
        }
        match pointer {
            Some(pointer) => {
                let schemas = self.databases.entry(name.database.clone()).or_default();
                let relations = schemas.entry(name.schema.clone()).or_default();
                Arc::make_mut(relations).insert(name.name.clone(), pointer);
            }
            None => {
                let schemas = self.databases.get_mut(&name.database);
                if let Some(relations) = schemas.and_then(|schemas| schemas.get_mut(&name.schema)) {
                    Arc::make_mut(relations).remove(&name.name);
                }
            }
        }
    }

    /// Takes the name off a sequence, unless it has another one by now.
    fn forget_sequence(&mut self, name: &TableName, id: Option<Uuid>) {
        if let Some(id) = id.filter(|id| self.sequences.get(id) == Some(name)) {
            Arc::make_mut(&mut self.sequences).remove(&id);
        }
    }
}

/// `None` also for a definition that cannot be read: whoever asks for it by name hears of that.
fn sequence_id(pointer: &Pointer) -> Option<Uuid> {
    match pointer.kind {
        RelationKind::Sequence => Sequence::parse(&pointer.location).ok().map(|sequence| sequence.id),
        RelationKind::Table | RelationKind::View | RelationKind::Index => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointer(location: &str) -> Option<Pointer> {
        Some(Pointer {
            kind: RelationKind::Table,
            location: location.to_owned(),
        })
    }

    #[test]
    fn a_map_advances_by_changes_and_keeps_the_rest() {
        let schemas = vec![("d".to_owned(), "s".to_owned()), ("d".to_owned(), "t".to_owned())];
        let [a, b] = ["a", "b"].map(|name| TableName::new("d", "s", name));
        let first = Pointers::default()
            .advanced(PointerState {
                csn: 1,
                complete: true,
                databases: vec!["d".to_owned(), "empty".to_owned()],
                schemas: schemas.clone(),
                access: Vec::new(),
                changes: vec![(a.clone(), pointer("a1")), (b.clone(), pointer("b1"))],
            })
            .unwrap();
        let second = first
            .advanced(PointerState {
                csn: 2,
                complete: false,
                databases: vec!["d".to_owned()],
                schemas: schemas[..1].to_vec(),
                access: Vec::new(),
                changes: vec![(a.clone(), None), (TableName::new("d", "t", "x"), None)],
            })
            .unwrap();
        assert_eq!(first.get(&a), pointer("a1").as_ref());
        assert!(first.has_database("empty"));
        assert_eq!(second.csn(), 2);
        assert_eq!(second.get(&a), None);
        assert_eq!(second.get(&b), pointer("b1").as_ref());
        assert_eq!(second.schemas("d").collect::<Vec<_>>(), ["s"]);
        assert!(!second.has_database("empty"));
    }

    #[test]
    fn sequences_are_found_by_their_ids_under_the_name_they_have() {
        let id = Uuid::new_v4();
        let identity = crate::rule::Identity {
            id,
            kind: crate::rule::IdentityKind::Serial,
            start: 1,
            increment: 1,
            min: 1,
            max: 9,
            cycle: false,
            cache: 1,
        };
        let sequence = Sequence::of_column(&identity, crate::sequence::SequenceType::BigInt, Uuid::nil(), 1);
        let pointer = || {
            Some(Pointer {
                kind: RelationKind::Sequence,
                location: sequence.print().unwrap(),
            })
        };
        let [a, b] = ["a", "b"].map(|name| TableName::new("d", "s", name));
        let state = |csn, schemas: &[&str], changes: Vec<(TableName, Option<Pointer>)>| PointerState {
            csn,
            complete: csn == 1,
            databases: vec!["d".to_owned()],
            schemas: schemas
                .iter()
                .map(|name| ("d".to_owned(), (*name).to_owned()))
                .collect(),
            changes,
            access: Vec::new(),
        };
        let first = Pointers::default()
            .advanced(state(1, &["s"], vec![(b.clone(), pointer())]))
            .unwrap();
        assert_eq!(first.sequence(id), Some(&b));
        // Renamed: names come in any order.
        let second = first
            .advanced(state(2, &["s"], vec![(a.clone(), pointer()), (b.clone(), None)]))
            .unwrap();
        assert_eq!(second.sequence(id), Some(&a));
        let third = second
            .advanced(state(3, &["s"], vec![(a.clone(), None), (b.clone(), pointer())]))
            .unwrap();
        assert_eq!(third.sequence(id), Some(&b));
        // Gone with its schema.
        let fourth = third.advanced(state(4, &[], vec![(b, None)])).unwrap();
        assert_eq!(fourth.sequence(id), None);
    }
}
