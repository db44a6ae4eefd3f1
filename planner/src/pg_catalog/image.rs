//! The objects of one database in one state of the catalog, with their numbers: what `pg_catalog` shows.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::StreamExt;
use parking_lot::Mutex;
use staffa_catalog::{
    CatalogSnapshot, ColumnDefault, Constraint, ConstraintKind, IdentityKind, RelationKind, Sequence, SqlType, Table,
    TableName, Uuid, View, quote_identifier,
};

use super::facts;
use crate::error::Result;
use crate::value::type_oid;

/// Tables whose metadata is read at once.
const READS_MAX: usize = 16;

/// `pg_catalog`
pub(crate) const CATALOG_SCHEMA: u32 = 11;
/// `public`, which PostgreSQL makes first.
const PUBLIC_SCHEMA: u32 = 2200;
/// The number of the bootstrap superuser.
pub(crate) const FIRST_ROLE: u32 = 10;

/// Gives objects their numbers.
#[async_trait]
pub trait ObjectNumbers: Send + Sync {
    /// One for each name; the same for ever.
    async fn numbers(&self, objects: &[String]) -> Result<Vec<u32>>;
}

/// What an image is made of.
#[derive(Clone, Copy, Debug)]
pub struct ImageFacts<'a> {
    pub snapshot: &'a CatalogSnapshot,
    pub database: &'a str,
    /// The user, who owns all there is.
    pub user: &'a str,
    pub roles: &'a [String],
    /// The role PostgreSQL would have made first.
    pub first_role: &'a str,
    /// The schema of the session's temporary tables, if it exists.
    pub temporary_schema: Option<&'a str>,
}

/// All objects of a database, as one session sees them.
#[derive(Debug)]
pub struct Image {
    pub(crate) database: Named,
    pub(crate) databases: Vec<Named>,
    pub(crate) roles: Vec<Named>,
    pub(crate) owner: Named,
    pub(crate) schemas: Vec<Named>,
    pub(crate) temporary_schema: Option<String>,
    pub(crate) relations: Vec<Relation>,
    by_oid: HashMap<u32, usize>,
    by_name: HashMap<(String, String), usize>,
    /// Constraints by their numbers: relation and place in it.
    constraints: HashMap<u32, (usize, usize)>,
    /// Row types by their numbers.
    row_types: HashMap<u32, usize>,
    /// Relations that could not be read, and why.
    unreadable: Vec<String>,
    /// Rows that were asked for.
    pub(super) batches: Mutex<HashMap<u32, Vec<RecordBatch>>>,
}

/// An object that is a name and a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) oid: u32,
    pub(crate) name: String,
}

/// A table, view or sequence, or what a declared key would be an index of.
#[derive(Debug)]
pub(crate) struct Relation {
    pub(crate) oid: u32,
    pub(crate) name: String,
    pub(crate) schema: Named,
    pub(crate) kind: Kind,
    pub(crate) is_temporary: bool,
    pub(crate) row_type: u32,
    pub(crate) array_type: u32,
    pub(crate) columns: Vec<Column>,
    pub(crate) constraints: Vec<Key>,
    pub(crate) comment: Option<String>,
    pub(crate) row_count: Option<u64>,
    pub(crate) bytes: u64,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Table,
    /// Its query, and the number of the rule that holds it.
    View {
        sql: String,
        rule: u32,
    },
    Sequence {
        sequence: Box<Sequence>,
        /// The relation and the column it goes with.
        owner: Option<(u32, i16)>,
    },
}

#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) number: i16,
    pub(crate) name: String,
    pub(crate) ty: SqlType,
    pub(crate) type_oid: u32,
    pub(crate) not_null: bool,
    pub(crate) default: Option<Default>,
    /// `attidentity`
    pub(crate) identity: &'static str,
    pub(crate) comment: Option<String>,
}

/// An expression a column gets its value from.
#[derive(Debug)]
pub(crate) struct Default {
    pub(crate) oid: u32,
    pub(crate) text: String,
    pub(crate) is_generated: bool,
}

/// A constraint of a table.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) oid: u32,
    pub(crate) name: String,
    /// The number of the index that a key has in PostgreSQL.
    pub(crate) index: u32,
    pub(crate) kind: KeyKind,
    pub(crate) columns: Vec<i16>,
}

#[derive(Debug)]
pub(crate) enum KeyKind {
    Check(String),
    Primary,
    Unique,
    Foreign {
        /// 0 when it is gone.
        relation: u32,
        columns: Vec<i16>,
        /// For messages, when it is gone.
        named: (String, String),
        column_names: Vec<String>,
    },
}

impl KeyKind {
    /// `contype`
    pub(crate) fn letter(&self) -> &'static str {
        match self {
            KeyKind::Check(_) => "c",
            KeyKind::Primary => "p",
            KeyKind::Unique => "u",
            KeyKind::Foreign { .. } => "f",
        }
    }

    pub(crate) fn has_index(&self) -> bool {
        matches!(self, KeyKind::Primary | KeyKind::Unique)
    }
}

impl Relation {
    /// `relkind`
    pub(crate) fn letter(&self) -> &'static str {
        match self.kind {
            Kind::Table => "r",
            Kind::View { .. } => "v",
            Kind::Sequence { .. } => "S",
        }
    }

    pub(crate) fn column(&self, number: i16) -> Option<&Column> {
        self.columns.iter().find(|column| column.number == number)
    }
}

impl Image {
    /// Reads the state. A table that cannot be read is there without columns.
    pub async fn of(facts: ImageFacts<'_>, numbers: &dyn ObjectNumbers) -> Result<Image> {
        let mut given = Numbers::default();
        for name in facts.snapshot.databases() {
            given.ask(database_key(&name));
        }
        let schemas: Vec<String> = facts.snapshot.schemas(facts.database);
        let schemas: Vec<String> = schemas
            .into_iter()
            .chain(facts.temporary_schema.map(str::to_owned))
            .collect();
        for schema in &schemas {
            given.ask(schema_key(facts.database, schema));
        }
        let mut roles: Vec<String> = facts.roles.to_vec();
        roles.extend([facts.user.to_owned(), facts.first_role.to_owned()]);
        roles.sort();
        roles.dedup();
        roles.iter().for_each(|role| given.ask(role_key(role)));
        let sources = read(&facts, &schemas).await?;
        sources.iter().for_each(|source| source.ask(&mut given));
        given.answer(numbers).await?;

        let role = |name: &str| Named {
            oid: if name == facts.first_role {
                FIRST_ROLE
            } else {
                given.of(&role_key(name))
            },
            name: name.to_owned(),
        };
        let schema_named = |name: &str| Named {
            oid: if name == "public" {
                PUBLIC_SCHEMA
            } else {
                given.of(&schema_key(facts.database, name))
            },
            name: name.to_owned(),
        };
        let database = |name: String| Named {
            oid: given.of(&database_key(&name)),
            name,
        };
        let sequences = sequence_names(&sources);
        let relations: Vec<Relation> = sources
            .iter()
            .map(|source| {
                source.relation(
                    schema_named(&source.name.schema),
                    &given,
                    facts.temporary_schema,
                    &sequences,
                )
            })
            .collect();
        let mut image = Image {
            database: database(facts.database.to_owned()),
            databases: facts.snapshot.databases().into_iter().map(database).collect(),
            roles: roles.iter().map(|name| role(name)).collect(),
            owner: role(facts.user),
            schemas: schemas.iter().map(|name| schema_named(name)).collect(),
            temporary_schema: facts.temporary_schema.map(str::to_owned),
            by_oid: relations
                .iter()
                .enumerate()
                .map(|(at, relation)| (relation.oid, at))
                .collect(),
            by_name: (relations.iter().enumerate())
                .map(|(at, relation)| ((relation.schema.name.clone(), relation.name.clone()), at))
                .collect(),
            row_types: relations
                .iter()
                .enumerate()
                .map(|(at, relation)| (relation.row_type, at))
                .collect(),
            constraints: HashMap::new(),
            relations,
            unreadable: sources.iter().filter_map(Source::damage).collect(),
            batches: Mutex::default(),
        };
        image.link(&sources);
        Ok(image)
    }

    /// Every declared key and CHECK, with what it is of.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&Relation, &Key)> {
        let relations = self.relations.iter();
        relations.flat_map(|relation| relation.constraints.iter().map(move |key| (relation, key)))
    }

    /// What could not be read, and is shown without columns.
    pub fn unreadable(&self) -> &[String] {
        &self.unreadable
    }

    /// What objects say of each other: foreign keys, and sequences of columns.
    fn link(&mut self, sources: &[Source]) {
        let tables: HashMap<String, usize> = (sources.iter().enumerate())
            .filter_map(|(at, source)| Some((source.table()?.uuid().to_string(), at)))
            .collect();
        for at in 0..self.relations.len() {
            for place in 0..self.relations[at].constraints.len() {
                let KeyKind::Foreign {
                    named, column_names, ..
                } = &self.relations[at].constraints[place].kind
                else {
                    continue;
                };
                let Some(other) = self.by_name.get(named).map(|other| &self.relations[*other]) else {
                    continue;
                };
                let found = column_names
                    .iter()
                    .filter_map(|name| other.columns.iter().find(|column| column.name == *name));
                let (oid, numbers) = (other.oid, found.map(|column| column.number).collect());
                if let KeyKind::Foreign { relation, columns, .. } = &mut self.relations[at].constraints[place].kind {
                    (*relation, *columns) = (oid, numbers);
                }
            }
            let owned = match &self.relations[at].kind {
                Kind::Sequence { sequence, .. } => sequence.owner.and_then(|owner| {
                    let table = *tables.get(&owner.table.to_string())?;
                    let number = *sources[table].table()?.column_numbers().get(&owner.column)?;
                    Some((self.relations[table].oid, number))
                }),
                _ => None,
            };
            if let Kind::Sequence { owner, .. } = &mut self.relations[at].kind {
                *owner = owned;
            }
        }
        self.constraints = (self.relations.iter().enumerate())
            .flat_map(|(at, relation)| {
                let keys = relation.constraints.iter().enumerate();
                keys.map(move |(place, key)| (key.oid, (at, place)))
            })
            .collect();
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

    /// The relation and the key whose index this would be.
    pub(crate) fn index(&self, oid: u32) -> Option<(&Relation, &Key)> {
        self.indexes().find(|(_, key)| key.index == oid)
    }

    /// All keys that PostgreSQL would have an index for.
    pub(crate) fn indexes(&self) -> impl Iterator<Item = (&Relation, &Key)> {
        let keys = self
            .relations
            .iter()
            .flat_map(|relation| relation.constraints.iter().map(move |key| (relation, key)));
        keys.filter(|(_, key)| key.kind.has_index())
    }

    /// The relation whose rows have this type.
    pub(crate) fn with_row_type(&self, oid: u32) -> Option<&Relation> {
        self.relations.get(*self.row_types.get(&oid).filter(|_| oid != 0)?)
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

    pub(crate) fn role(&self, oid: u32) -> Option<&Named> {
        self.roles.iter().find(|role| role.oid == oid)
    }
}

/// Numbers and names of PostgreSQL's own schemas.
pub(crate) fn system_schemas() -> impl Iterator<Item = (u32, &'static str)> {
    let rows = facts::DumpedRows::of("pg_namespace");
    rows.into_iter()
        .flat_map(|rows| (0..rows.len()).map(move |row| (rows.number(row, "oid"), rows.text(row, "nspname"))))
}

/// Names whose numbers are wanted, and the numbers.
#[derive(Default)]
struct Numbers {
    wanted: Vec<String>,
    known: HashMap<String, u32>,
}

impl Numbers {
    fn ask(&mut self, key: String) {
        self.wanted.push(key);
    }

    async fn answer(&mut self, numbers: &dyn ObjectNumbers) -> Result<()> {
        let found = numbers.numbers(&self.wanted).await?;
        self.known = std::mem::take(&mut self.wanted).into_iter().zip(found).collect();
        Ok(())
    }

    fn of(&self, key: &str) -> u32 {
        self.known.get(key).copied().unwrap_or_default()
    }
}

fn database_key(name: &str) -> String {
    format!("database/{name}")
}

fn schema_key(database: &str, schema: &str) -> String {
    format!("schema/{database}/{schema}")
}

fn role_key(name: &str) -> String {
    format!("role/{name}")
}

/// A relation as the catalog has it.
struct Source {
    name: TableName,
    what: What,
}

enum What {
    Table(std::sync::Arc<Table>),
    View(std::sync::Arc<View>),
    Sequence(Box<Sequence>),
    /// It could not be read, and why.
    Broken(RelationKind, String),
}

async fn read(facts: &ImageFacts<'_>, schemas: &[String]) -> Result<Vec<Source>> {
    let mut names = Vec::new();
    for schema in schemas {
        for (name, kind) in facts.snapshot.relations(facts.database, schema) {
            names.push((TableName::new(facts.database, schema, name), kind));
        }
    }
    let snapshot = facts.snapshot;
    let reads = names.into_iter().map(|(name, kind)| async move {
        let what = match kind {
            RelationKind::Table => snapshot.table(&name).await.map(|table| table.map(What::Table)),
            RelationKind::View => snapshot.view(&name).await.map(|view| view.map(What::View)),
            RelationKind::Sequence => {
                let sequence = snapshot.sequence(&name);
                sequence.map(|sequence| sequence.map(|sequence| What::Sequence(Box::new(sequence))))
            }
        };
        let what = match what {
            Ok(what) => what?,
            Err(error) => What::Broken(kind, error.to_string()),
        };
        Some(Source { name, what })
    });
    let reads: Vec<_> = reads.collect();
    let sources: Vec<Option<Source>> = futures::stream::iter(reads).buffered(READS_MAX).collect().await;
    Ok(sources.into_iter().flatten().collect())
}

impl Source {
    fn table(&self) -> Option<&Table> {
        match &self.what {
            What::Table(table) => Some(table),
            _ => None,
        }
    }

    fn damage(&self) -> Option<String> {
        match &self.what {
            What::Broken(_, error) => Some(format!("\"{}\".\"{}\": {error}", self.name.schema, self.name.name)),
            _ => None,
        }
    }

    /// What its keys begin with: its own id, which a new name does not change.
    fn id(&self) -> String {
        match &self.what {
            What::Table(table) => format!("relation/{}", table.uuid()),
            What::View(view) => format!("relation/{}", view.uuid),
            What::Sequence(sequence) => format!("sequence/{}", sequence.id),
            What::Broken(..) => format!("broken/{}/{}/{}", self.name.database, self.name.schema, self.name.name),
        }
    }

    fn ask(&self, numbers: &mut Numbers) {
        let id = self.id();
        if !matches!(self.what, What::Sequence(_)) {
            numbers.ask(format!("{id}/row"));
            numbers.ask(format!("{id}/array"));
        }
        match &self.what {
            What::Table(table) => {
                for constraint in table.constraints() {
                    numbers.ask(format!("{id}/constraint/{}", constraint.name));
                    numbers.ask(format!("{id}/index/{}", constraint.name));
                }
                for column in table.schema().columns.iter().filter(|column| column.default.is_some()) {
                    numbers.ask(format!("{id}/default/{}", column.field_id));
                }
            }
            What::View(_) => numbers.ask(format!("{id}/rule")),
            What::Sequence(_) | What::Broken(..) => {}
        }
        numbers.ask(id);
    }

    fn relation(
        &self,
        schema: Named,
        numbers: &Numbers,
        temporary: Option<&str>,
        sequences: &HashMap<Uuid, &TableName>,
    ) -> Relation {
        let id = self.id();
        let part = |part: &str| numbers.of(&format!("{id}/{part}"));
        let mut relation = Relation {
            oid: numbers.of(&id),
            name: self.name.name.clone(),
            is_temporary: temporary == Some(schema.name.as_str()),
            schema,
            kind: Kind::Table,
            row_type: part("row"),
            array_type: part("array"),
            columns: Vec::new(),
            constraints: Vec::new(),
            comment: None,
            row_count: None,
            bytes: 0,
        };
        match &self.what {
            What::Table(table) => {
                relation.columns = columns(table, &id, numbers, sequences);
                let keys = table
                    .constraints()
                    .iter()
                    .map(|constraint| key(constraint, &relation.columns, &id, numbers));
                relation.constraints = keys.collect();
                relation.comment = table.comment().map(str::to_owned);
                relation.row_count = table.row_count();
                relation.bytes = table.stored_bytes().unwrap_or_default();
            }
            What::View(view) => {
                relation.columns = (1..)
                    .zip(&view.columns)
                    .map(|(number, (name, ty))| view_column(number, name, ty))
                    .collect();
                relation.comment.clone_from(&view.comment);
                relation.kind = Kind::View {
                    sql: view.sql.clone(),
                    rule: part("rule"),
                };
            }
            What::Sequence(sequence) => {
                let columns = [
                    ("last_value", SqlType::BigInt),
                    ("log_cnt", SqlType::BigInt),
                    ("is_called", SqlType::Boolean),
                ];
                let column = |(number, (name, ty)): (i16, (&str, SqlType))| Column {
                    not_null: true,
                    ..view_column(number, name, &ty)
                };
                relation.columns = (1..).zip(columns).map(column).collect();
                relation.kind = Kind::Sequence {
                    sequence: sequence.clone(),
                    owner: None,
                };
            }
            What::Broken(RelationKind::View, _) => {
                relation.kind = Kind::View {
                    sql: String::new(),
                    rule: 0,
                };
            }
            What::Broken(..) => {}
        }
        relation
    }
}

fn view_column(number: i16, name: &str, ty: &SqlType) -> Column {
    Column {
        number,
        name: name.to_owned(),
        type_oid: type_oid(ty),
        ty: ty.clone(),
        not_null: false,
        default: None,
        identity: "",
        comment: None,
    }
}

fn columns(table: &Table, id: &str, numbers: &Numbers, sequences: &HashMap<Uuid, &TableName>) -> Vec<Column> {
    let of_column = table.column_numbers();
    let columns = table.schema().columns.iter().map(|column| {
        let (text, is_generated, identity) = match &column.default {
            Some(ColumnDefault::Expression(text)) => (Some(text.clone()), false, ""),
            Some(ColumnDefault::Generated(text)) => (Some(text.clone()), true, ""),
            Some(ColumnDefault::Identity(identity)) => match identity.kind {
                IdentityKind::Always => (None, false, "a"),
                IdentityKind::ByDefault => (None, false, "d"),
                // Its text is that of the sequence, which has a name of its own.
                IdentityKind::Serial => (sequences.get(&identity.id).map(|name| next_value(name)), false, ""),
            },
            None => (None, false, ""),
        };
        Column {
            number: of_column.get(&column.field_id).copied().unwrap_or_default(),
            not_null: !column.nullable,
            default: text.map(|text| Default {
                oid: numbers.of(&format!("{id}/default/{}", column.field_id)),
                text,
                is_generated,
            }),
            identity,
            comment: column.comment.clone(),
            ..view_column(0, &column.name, &column.ty)
        }
    });
    columns.collect()
}

/// The names of sequences by their ids.
fn sequence_names(sources: &[Source]) -> HashMap<Uuid, &TableName> {
    let named = sources.iter().filter_map(|source| match &source.what {
        What::Sequence(sequence) => Some((sequence.id, &source.name)),
        _ => None,
    });
    named.collect()
}

/// The default of a column that takes its numbers from a sequence.
fn next_value(sequence: &TableName) -> String {
    let parts = [&sequence.schema, &sequence.name].map(|part| quote_identifier(part).to_string());
    format!("nextval('{}'::regclass)", parts.join(".").replace('\'', "''"))
}

fn key(constraint: &Constraint, columns: &[Column], id: &str, numbers: &Numbers) -> Key {
    let numbered = constraint.columns().iter();
    let numbered = numbered.filter_map(|name| columns.iter().find(|column| column.name == *name));
    let kind = match &constraint.kind {
        ConstraintKind::Check { expression, .. } => KeyKind::Check(expression.clone()),
        ConstraintKind::PrimaryKey { .. } => KeyKind::Primary,
        ConstraintKind::Unique { .. } => KeyKind::Unique,
        ConstraintKind::ForeignKey { table, referenced, .. } => KeyKind::Foreign {
            relation: 0,
            columns: Vec::new(),
            named: (table.1.clone(), table.2.clone()),
            column_names: referenced.clone(),
        },
    };
    Key {
        oid: numbers.of(&format!("{id}/constraint/{}", constraint.name)),
        name: constraint.name.clone(),
        index: numbers.of(&format!("{id}/index/{}", constraint.name)),
        kind,
        columns: numbered.map(|column| column.number).collect(),
    }
}
