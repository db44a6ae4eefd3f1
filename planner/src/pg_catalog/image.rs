//! The objects of one database in one state of the catalog, with their numbers: what `pg_catalog` shows.

use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use parking_lot::Mutex;
use staffa_catalog::{CatalogSnapshot, RelationKind, Sequence, TEMPLATE_DATABASES, TableName, Uuid, quote_identifier};

use super::facts;
use super::index::ShownIndex;
use super::part::{Column, DefaultValue, Key, KeyKind, Kind, Part, Parts};
use crate::error::Result;

/// `pg_catalog`
pub(crate) const CATALOG_SCHEMA: u32 = 11;
/// `public`, which PostgreSQL makes first.
const PUBLIC_SCHEMA: u32 = 2200;
/// The databases that PostgreSQL makes first, with what it says of them.
const FIRST_DATABASES: [(u32, &str, &str); 3] = [
    (1, "template1", "default template for new databases"),
    (4, "template0", "unmodifiable empty database"),
    (5, "postgres", "default administrative connection database"),
];
/// The number of the bootstrap superuser.
pub(crate) const FIRST_ROLE: u32 = 10;
/// Relations whose rows are kept, for all the roles that ask.
const BATCHES_MAX: usize = 256;

/// Gives objects their numbers.
#[async_trait]
pub trait ObjectNumbers: Send + Sync {
    /// One for each name; the same for ever if they are to last.
    async fn numbers(&self, objects: &[String], last: bool) -> Result<Vec<u32>>;
}

/// What an image is made of.
#[derive(Clone, Copy, Debug)]
pub struct ImageFacts<'a> {
    pub snapshot: &'a CatalogSnapshot,
    pub database: &'a str,
    /// The schema of the session's temporary tables, if it exists.
    pub temporary_schema: Option<&'a str>,
}

/// All objects of a database.
#[derive(Debug, Default)]
pub struct Image {
    pub(crate) database: Named,
    pub(crate) databases: Vec<Named>,
    /// The numbers of those without tables.
    pub(crate) empty_databases: HashSet<u32>,
    pub(crate) schemas: Vec<Arc<Named>>,
    pub(crate) temporary_schema: Option<String>,
    pub(crate) relations: Vec<Relation>,
    by_oid: HashMap<u32, usize>,
    by_name: HashMap<(String, String), usize>,
    /// By the types of their rows and of arrays of them.
    by_type: HashMap<u32, usize>,
    by_uuid: HashMap<Uuid, usize>,
    /// Relation and place in it, by number.
    constraints: HashMap<u32, (usize, usize)>,
    indexes: HashMap<u32, (usize, usize)>,
    /// The numbers of indexes by schema and name.
    index_names: HashMap<(String, String), u32>,
    /// By their ids.
    sequences: HashMap<Uuid, usize>,
    /// The sequences of columns, by table and column.
    owned: HashMap<(Uuid, i32), usize>,
    /// Rows that were asked for, by relation and the owner they show.
    pub(super) batches: Mutex<HashMap<(u32, u32), Vec<RecordBatch>>>,
}

/// An object that is a name and a number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Named {
    pub(crate) oid: u32,
    pub(crate) name: String,
}

/// A relation under the name it has now.
#[derive(Debug)]
pub(crate) struct Relation {
    pub(crate) name: String,
    pub(crate) schema: Arc<Named>,
    pub(crate) is_temporary: bool,
    part: Arc<Part>,
}

impl Deref for Relation {
    type Target = Part;

    fn deref(&self) -> &Part {
        &self.part
    }
}

impl Image {
    /// Reads what of the state is in no part yet. A table that cannot be read for good is there without columns.
    ///
    /// # Errors
    /// What can be another time: a store that does not answer.
    pub async fn of(facts: ImageFacts<'_>, parts: &Parts, numbers: &dyn ObjectNumbers) -> Result<Image> {
        let snapshot = facts.snapshot;
        let schemas = snapshot.schemas(facts.database).into_iter();
        let schemas: Vec<String> = schemas.chain(facts.temporary_schema.map(str::to_owned)).collect();
        let databases = snapshot.databases();

        let keys = databases.iter().map(|name| format!("database/{name}"));
        let keys = keys.chain(schemas.iter().map(|name| schema_key(facts.database, name)));
        let mut keys: Vec<String> = keys.collect();
        // The schema of temporary tables goes with its session.
        let passing = keys.split_off(keys.len() - facts.temporary_schema.iter().len());
        let mut given = numbers.numbers(&keys, !snapshot.is_of_transaction()).await?;
        if !passing.is_empty() {
            given.extend(numbers.numbers(&passing, false).await?);
        }
        let mut given = given.into_iter();
        let mut named = |name: String| Named {
            oid: given.next().unwrap_or_default(),
            name,
        };
        let mut databases: Vec<Named> = databases.into_iter().map(&mut named).collect();
        let schemas: Vec<Arc<Named>> = schemas
            .into_iter()
            .map(|name| {
                let mut schema = named(name);
                if schema.name == "public" {
                    schema.oid = PUBLIC_SCHEMA;
                }
                Arc::new(schema)
            })
            .collect();

        let mut names = Vec::new();
        for schema in &schemas {
            let relations = snapshot.relations(facts.database, &schema.name).into_iter();
            for (name, kind) in relations.filter(|(_, kind)| *kind != RelationKind::Index) {
                names.push((TableName::new(facts.database, &schema.name, name), kind));
            }
        }
        let is_passing = |name: &TableName| facts.temporary_schema == Some(name.schema.as_str());
        let parts = parts.of(snapshot, names, is_passing, numbers).await?;
        let by_schema: HashMap<&str, &Arc<Named>> =
            schemas.iter().map(|schema| (schema.name.as_str(), schema)).collect();
        let relations = parts.into_iter().filter_map(|(name, part)| {
            Some(Relation {
                is_temporary: is_passing(&name),
                schema: Arc::clone(by_schema.get(name.schema.as_str())?),
                name: name.name,
                part,
            })
        });
        let relations = relations.collect();
        databases.extend(TEMPLATE_DATABASES.iter().map(|name| Named {
            oid: 0,
            name: (*name).to_owned(),
        }));
        let mut empty_databases = HashSet::new();
        for database in &mut databases {
            let first = FIRST_DATABASES.iter().find(|(_, name, _)| *name == database.name);
            database.oid = first.map_or(database.oid, |(oid, ..)| *oid);
            let mut schemas = snapshot.schemas(&database.name).into_iter();
            if schemas.all(|schema| snapshot.relations(&database.name, &schema).is_empty()) {
                empty_databases.insert(database.oid);
            }
        }
        let database = databases.iter().find(|known| known.name == facts.database).cloned();
        Ok(Image {
            database: database.unwrap_or_else(|| Named {
                oid: 0,
                name: facts.database.to_owned(),
            }),
            databases,
            empty_databases,
            schemas,
            temporary_schema: facts.temporary_schema.map(str::to_owned),
            ..Image::over(relations)
        })
    }

    /// The relations, with all the ways to find them.
    fn over(relations: Vec<Relation>) -> Image {
        let mut image = Image::default();
        for (at, relation) in relations.iter().enumerate() {
            let named = |name: &String| (relation.schema.name.clone(), name.clone());
            image.by_oid.insert(relation.oid, at);
            image.by_name.insert(named(&relation.name), at);
            if relation.row_type != 0 {
                image
                    .by_type
                    .extend([(relation.row_type, at), (relation.array_type, at)]);
            }
            image.by_uuid.extend(relation.uuid.map(|uuid| (uuid, at)));
            for (place, key) in relation.constraints.iter().enumerate() {
                image.constraints.insert(key.oid, (at, place));
            }
            for (place, index) in relation.indexes.iter().enumerate() {
                image.indexes.insert(index.oid, (at, place));
                image.index_names.insert(named(&index.name), index.oid);
            }
            if let Kind::Sequence(sequence) = &relation.kind {
                image.sequences.insert(sequence.id, at);
                let owner = sequence.owner.map(|owner| ((owner.table, owner.column), at));
                image.owned.extend(owner);
            }
        }
        image.relations = relations;
        image
    }

    /// Every declared key and CHECK, with what it is of.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&Relation, &Key)> {
        let relations = self.relations.iter();
        relations.flat_map(|relation| relation.constraints.iter().map(move |key| (relation, key)))
    }

    /// What cannot be read, and is shown without columns, with the reason.
    pub fn unreadable(&self) -> impl Iterator<Item = String> + '_ {
        self.relations.iter().filter_map(|relation| {
            let why = relation.damage.as_ref()?;
            Some(format!("\"{}\".\"{}\": {why}", relation.schema.name, relation.name))
        })
    }

    /// Rows that were asked for before.
    pub(super) fn kept(&self, relation: u32, owner: u32) -> Option<Vec<RecordBatch>> {
        self.batches.lock().get(&(relation, owner)).cloned()
    }

    pub(super) fn keep(&self, relation: u32, owner: u32, rows: &[RecordBatch]) {
        let mut batches = self.batches.lock();
        if batches.len() >= BATCHES_MAX {
            batches.clear();
        }
        batches.insert((relation, owner), rows.to_vec());
    }

    /// The table a foreign key refers to and its columns there; `None` when it is gone.
    pub(crate) fn referred(&self, key: &Key) -> Option<(&Relation, Vec<i16>)> {
        let KeyKind::Foreign { table, columns, .. } = &key.kind else {
            return None;
        };
        let relation = self.relations.get(*self.by_name.get(table)?)?;
        if columns.is_empty() {
            // The primary key is meant.
            let mut keys = relation.constraints.iter();
            let primary = keys.find(|key| matches!(key.kind, KeyKind::Primary));
            return Some((relation, primary.map(|key| key.columns.clone()).unwrap_or_default()));
        }
        let found = columns
            .iter()
            .filter_map(|name| relation.columns.iter().find(|column| column.name == *name));
        Some((relation, found.map(|column| column.number).collect()))
    }

    /// The table and the column that a sequence goes with.
    pub(crate) fn owner_of(&self, sequence: &Sequence) -> Option<(u32, i16)> {
        let owner = sequence.owner?;
        let table = self.relations.get(*self.by_uuid.get(&owner.table)?)?;
        Some((table.oid, *table.column_numbers.get(&owner.column)?))
    }

    /// What is said of a database.
    pub(crate) fn database_comment(&self, oid: u32) -> Option<&'static str> {
        let mut known = FIRST_DATABASES.iter().filter(|(known, ..)| *known == oid);
        known.find_map(|(_, name, comment)| self.databases.iter().any(|it| it.name == *name).then_some(*comment))
    }

    /// The table or view with this id.
    pub(crate) fn with_uuid(&self, uuid: Uuid) -> Option<&Relation> {
        self.relations.get(*self.by_uuid.get(&uuid)?)
    }

    /// The sequence that goes with a column.
    pub(crate) fn sequence_of(&self, table: &Relation, column: i16) -> Option<(&Relation, &Sequence)> {
        let (field, _) = table.column_numbers.iter().find(|(_, number)| **number == column)?;
        let relation = self.relations.get(*self.owned.get(&(table.uuid?, *field))?)?;
        match &relation.kind {
            Kind::Sequence(sequence) => Some((relation, sequence)),
            _ => None,
        }
    }

    /// The expression a column gets its value from, as text.
    pub(crate) fn default_of(&self, column: &Column) -> Option<String> {
        match &column.default.as_ref()?.value {
            DefaultValue::Text(text) => Some(text.clone()),
            DefaultValue::Next(id) => {
                let sequence = self.relations.get(*self.sequences.get(id)?)?;
                let parts = [&sequence.schema.name, &sequence.name].map(|part| quote_identifier(part).to_string());
                Some(format!("nextval('{}'::regclass)", parts.join(".").replace('\'', "''")))
            }
        }
    }

    /// The relation of a number.
    pub(crate) fn relation(&self, oid: u32) -> Option<&Relation> {
        self.relations.get(*self.by_oid.get(&oid)?)
    }

    pub(crate) fn relation_named(&self, schema: &str, name: &str) -> Option<&Relation> {
        let at = self.by_name.get(&(schema.to_owned(), name.to_owned()))?;
        self.relations.get(*at)
    }

    pub(crate) fn constraint(&self, oid: u32) -> Option<(&Relation, &Key)> {
        let (at, place) = self.constraints.get(&oid)?;
        let relation = self.relations.get(*at)?;
        Some((relation, relation.constraints.get(*place)?))
    }

    /// An index, with what it is of.
    pub(crate) fn index(&self, oid: u32) -> Option<(&Relation, &ShownIndex)> {
        let (at, place) = self.indexes.get(&oid)?;
        let relation = self.relations.get(*at)?;
        Some((relation, relation.indexes.get(*place)?))
    }

    pub(crate) fn index_named(&self, schema: &str, name: &str) -> Option<u32> {
        self.index_names.get(&(schema.to_owned(), name.to_owned())).copied()
    }

    /// Every index, with what it is of.
    pub(crate) fn indexes(&self) -> impl Iterator<Item = (&Relation, &ShownIndex)> {
        let relations = self.relations.iter();
        relations.flat_map(|relation| relation.indexes.iter().map(move |index| (relation, index)))
    }

    /// The relation whose rows, or arrays of them, have this type.
    pub(crate) fn with_type(&self, oid: u32) -> Option<&Relation> {
        self.relations.get(*self.by_type.get(&oid)?)
    }

    /// A schema by its number, also a system's.
    pub(crate) fn schema(&self, oid: u32) -> Option<String> {
        let own = self.schemas.iter().find(|schema| schema.oid == oid);
        own.map(|schema| schema.name.clone()).or_else(|| {
            let mut system = system_schemas();
            system.find(|(known, _)| *known == oid).map(|(_, name)| name.to_owned())
        })
    }

    /// A schema's number.
    pub(crate) fn schema_oid(&self, name: &str) -> Option<u32> {
        let own = self.schemas.iter().find(|schema| schema.name == name);
        own.map(|schema| schema.oid)
            .or_else(|| system_schemas().find(|(_, known)| *known == name).map(|(oid, _)| oid))
    }
}

/// Numbers and names of PostgreSQL's own schemas.
pub(crate) fn system_schemas() -> impl Iterator<Item = (u32, &'static str)> {
    static SCHEMAS: LazyLock<Vec<(u32, &'static str)>> = LazyLock::new(|| {
        let rows = facts::DumpedRows::of("pg_namespace");
        let rows = rows.iter().flat_map(|rows| (0..rows.len()).map(move |row| (rows, row)));
        rows.map(|(rows, row)| (rows.number(row, "oid"), rows.text(row, "nspname")))
            .collect()
    });
    SCHEMAS.iter().copied()
}

fn schema_key(database: &str, schema: &str) -> String {
    format!("schema/{database}/{schema}")
}
