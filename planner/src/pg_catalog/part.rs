//! What the catalogs show of one relation in one version, whatever it is called now: made once for each metadata file.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use futures::StreamExt;
use parking_lot::Mutex;
use staffa_catalog::{
    CatalogSnapshot, ColumnDefault, Constraint, ConstraintKind, ErrorKind as CatalogErrorKind, IdentityKind, Index,
    RelationKind, Sequence, SqlType, Table, TableName, Uuid, View, ViewRead,
};

use super::image::ObjectNumbers;
use super::index::ShownIndex;
use crate::error::{Error, Result};
use crate::statement::ddl::{PERSISTENCE, UNLOGGED};
use crate::value::type_oid;

/// Tables whose metadata is read at once.
const READS_MAX: usize = 16;

/// A table, view or sequence in one version.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) oid: u32,
    /// The types of its rows and of their arrays; 0 when there are none.
    pub(crate) row_type: u32,
    pub(crate) array_type: u32,
    pub(crate) kind: Kind,
    pub(crate) columns: Vec<Column>,
    pub(crate) constraints: Vec<Key>,
    /// Those of keys, and those that were declared.
    pub(crate) indexes: Vec<ShownIndex>,
    pub(crate) comment: Option<String>,
    pub(crate) is_unlogged: bool,
    pub(crate) row_count: Option<u64>,
    pub(crate) bytes: u64,
    /// What sequences and columns call a table, and its columns by their ids.
    pub(crate) uuid: Option<Uuid>,
    pub(crate) column_numbers: BTreeMap<i32, i16>,
    /// Why it could not be read.
    pub(crate) damage: Option<String>,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Table,
    /// Its query, the number of the rule that holds it, and what it reads.
    View {
        sql: String,
        rule: u32,
        reads: Vec<ViewRead>,
    },
    /// A table with its query, the number of the rule that holds it, and whether its rows are there.
    MaterializedView {
        sql: String,
        rule: u32,
        is_populated: bool,
    },
    Sequence(Box<Sequence>),
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
    pub(crate) value: DefaultValue,
    pub(crate) is_generated: bool,
}

#[derive(Debug)]
pub(crate) enum DefaultValue {
    Text(String),
    /// The next number of the sequence with this id, which has a name of its own.
    Next(Uuid),
}

/// A constraint of a table.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) oid: u32,
    pub(crate) name: String,
    pub(crate) comment: Option<String>,
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
        /// Schema and name of the table it refers to, which may be gone.
        table: (String, String),
        columns: Vec<String>,
        restricts_update: bool,
        restricts_delete: bool,
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

    /// Whether a foreign key has RESTRICT for an update and for a delete.
    pub(crate) fn restricts(&self) -> (bool, bool) {
        match self {
            KeyKind::Foreign {
                restricts_update,
                restricts_delete,
                ..
            } => (*restricts_update, *restricts_delete),
            _ => (false, false),
        }
    }

    pub(crate) fn has_index(&self) -> bool {
        matches!(self, KeyKind::Primary | KeyKind::Unique)
    }
}

impl Part {
    /// `relkind`
    pub(crate) fn letter(&self) -> &'static str {
        match self.kind {
            Kind::Table => "r",
            Kind::View { .. } => "v",
            Kind::MaterializedView { .. } => "m",
            Kind::Sequence(_) => "S",
        }
    }

    pub(crate) fn column(&self, number: i16) -> Option<&Column> {
        self.columns.iter().find(|column| column.number == number)
    }
}

/// The parts that images are made of now, by their metadata files. They live as long as an image shows them.
#[derive(Debug, Default)]
pub struct Parts {
    by_location: Mutex<HashMap<String, Weak<Part>>>,
}

impl Parts {
    fn get(&self, location: &str) -> Option<Arc<Part>> {
        self.by_location.lock().get(location)?.upgrade()
    }

    fn keep(&self, made: Vec<(String, Weak<Part>)>) {
        if made.is_empty() {
            return;
        }
        let mut kept = self.by_location.lock();
        kept.retain(|_, part| part.strong_count() > 0);
        kept.extend(made);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        let kept = self.by_location.lock();
        kept.values().filter(|part| part.strong_count() > 0).count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The parts of relations, in their order; those that are gone are left out. What is not known yet is read, and `numbers` are
    /// asked for.
    pub(super) async fn of(
        &self,
        snapshot: &CatalogSnapshot,
        names: Vec<(TableName, RelationKind)>,
        is_passing: impl Fn(&TableName) -> bool + Sync,
        numbers: &dyn ObjectNumbers,
    ) -> Result<Vec<(TableName, Arc<Part>)>> {
        let reads = names.into_iter().map(|(name, kind)| async move {
            let location = location(snapshot, &name, kind);
            if let Some(part) = location.and_then(|location| self.get(location)) {
                return Ok(Some((name, Found::Known(part))));
            }
            let source = read(snapshot, &name, kind).await?;
            let location = location.map(str::to_owned);
            Ok::<_, Error>(source.map(|source| (name, Found::New { source, location })))
        });
        let reads: Vec<_> = reads.collect();
        let mut reads = futures::stream::iter(reads).buffered(READS_MAX);
        let mut all = Vec::new();
        while let Some(found) = reads.next().await {
            all.extend(found?);
        }
        let given = given(&all, &is_passing, numbers).await?;
        let mut made = Vec::new();
        let parts = all.into_iter().map(|(name, found)| {
            let part = match found {
                Found::Known(part) => part,
                Found::New { source, location } => {
                    let part = Arc::new(source.part(&name, &given));
                    if let (Some(location), None) = (location, &part.damage) {
                        made.push((location, Arc::downgrade(&part)));
                    }
                    part
                }
            };
            (name, part)
        });
        let parts = parts.collect();
        self.keep(made);
        Ok(parts)
    }
}

/// What names the version of a relation that is committed; `None` for one that an open transaction has made or changed.
fn location<'a>(snapshot: &'a CatalogSnapshot, name: &TableName, kind: RelationKind) -> Option<&'a str> {
    // A sequence is its own definition, also before it is committed.
    if kind == RelationKind::Sequence && snapshot.is_of_transaction() {
        return None;
    }
    snapshot.metadata_location(name).filter(|location| !location.is_empty())
}

enum Found {
    Known(Arc<Part>),
    New { source: Source, location: Option<String> },
}

/// The numbers of what is new. Those of uncommitted and temporary objects pass with them.
async fn given(
    all: &[(TableName, Found)],
    is_passing: &(impl Fn(&TableName) -> bool + Sync),
    numbers: &dyn ObjectNumbers,
) -> Result<HashMap<String, u32>> {
    let (mut lasting, mut passing) = (Vec::new(), Vec::new());
    for (name, found) in all {
        if let Found::New { source, location } = found {
            let keys = match location.is_none() || is_passing(name) {
                true => &mut passing,
                false => &mut lasting,
            };
            source.ask(name, keys);
        }
    }
    let mut given = HashMap::with_capacity(lasting.len() + passing.len());
    for (keys, last) in [(lasting, true), (passing, false)] {
        if !keys.is_empty() {
            let found = numbers.numbers(&keys, last).await?;
            given.extend(keys.into_iter().zip(found));
        }
    }
    Ok(given)
}

/// A relation as the catalog has it.
enum Source {
    Table(Arc<Table>),
    View(Arc<View>),
    Sequence(Box<Sequence>),
    /// It cannot be read, and why.
    Broken(RelationKind, String),
}

/// `None`: it is gone. What only could not be read now fails.
async fn read(snapshot: &CatalogSnapshot, name: &TableName, kind: RelationKind) -> Result<Option<Source>> {
    let source = match kind {
        RelationKind::Table => snapshot
            .glimpsed_table(name)
            .await
            .map(|table| table.map(Source::Table)),
        RelationKind::View => snapshot.glimpsed_view(name).await.map(|view| view.map(Source::View)),
        RelationKind::Sequence => {
            let sequence = snapshot.sequence(name);
            sequence.map(|sequence| sequence.map(|sequence| Source::Sequence(Box::new(sequence))))
        }
        // Its table shows it.
        RelationKind::Index => return Ok(None),
    };
    match source {
        Err(error) if is_lasting(&error) => Ok(Some(Source::Broken(kind, error.to_string()))),
        source => Ok(source?),
    }
}

/// Whether reading it again would fail in the same way: the catalogs show the others then.
pub(crate) fn is_lasting(error: &staffa_catalog::Error) -> bool {
    matches!(
        error.kind(),
        CatalogErrorKind::Corrupt
            | CatalogErrorKind::MissingObject
            | CatalogErrorKind::Unsupported
            | CatalogErrorKind::NewerFormat
            | CatalogErrorKind::Forbidden
    )
}

impl Source {
    /// What its keys begin with: its own id, which a new name does not change.
    fn id(&self, name: &TableName) -> String {
        match self {
            Source::Table(table) => format!("relation/{}", table.uuid()),
            Source::View(view) => format!("relation/{}", view.uuid),
            Source::Sequence(sequence) => format!("sequence/{}", sequence.id),
            Source::Broken(..) => format!("broken/{}/{}/{}", name.database, name.schema, name.name),
        }
    }

    fn ask(&self, name: &TableName, keys: &mut Vec<String>) {
        let id = self.id(name);
        if !matches!(self, Source::Sequence(_)) {
            keys.push(format!("{id}/row"));
            keys.push(format!("{id}/array"));
        }
        match self {
            Source::Table(table) => {
                for constraint in table.constraints() {
                    keys.push(format!("{id}/constraint/{}", constraint.name));
                    keys.push(format!("{id}/index/{}", constraint.name));
                }
                for index in table.indexes() {
                    keys.push(declared_key(&id, index));
                }
                for column in table.schema().columns.iter().filter(|column| column.default.is_some()) {
                    keys.push(format!("{id}/default/{}", column.field_id));
                }
                if table.materialized().is_some() {
                    keys.push(format!("{id}/rule"));
                }
            }
            Source::View(_) => keys.push(format!("{id}/rule")),
            Source::Sequence(_) | Source::Broken(..) => {}
        }
        keys.push(id);
    }

    fn part(&self, name: &TableName, numbers: &HashMap<String, u32>) -> Part {
        let id = self.id(name);
        let number = |part: &str| numbers.get(&format!("{id}{part}")).copied().unwrap_or_default();
        let mut part = Part {
            oid: number(""),
            row_type: number("/row"),
            array_type: number("/array"),
            kind: Kind::Table,
            columns: Vec::new(),
            constraints: Vec::new(),
            indexes: Vec::new(),
            comment: None,
            is_unlogged: false,
            row_count: None,
            bytes: 0,
            uuid: None,
            column_numbers: BTreeMap::new(),
            damage: None,
        };
        match self {
            Source::Table(table) => {
                part.uuid = Some(table.uuid());
                part.column_numbers = table.column_numbers();
                part.columns = columns(table, &part.column_numbers, number);
                let keys = table.constraints().iter();
                let keys = keys.map(|constraint| key(constraint, &part.columns, number));
                part.constraints = keys.collect();
                let of_keys = part.constraints.iter().filter(|key| key.kind.has_index());
                let of_keys = of_keys.map(|key| ShownIndex::of_key(key, &part.columns));
                let declared = table.indexes().iter().map(|index| {
                    let oid = numbers.get(&declared_key(&id, index)).copied().unwrap_or_default();
                    ShownIndex::declared(index, oid, &part.columns)
                });
                part.indexes = of_keys.chain(declared).collect();
                part.comment = table.comment().map(str::to_owned);
                part.is_unlogged = table.properties().get(PERSISTENCE).is_some_and(|text| text == UNLOGGED);
                if let Some(query) = table.materialized() {
                    part.kind = Kind::MaterializedView {
                        sql: query.sql.clone(),
                        rule: number("/rule"),
                        is_populated: query.is_populated,
                    };
                }
                part.row_count = table.row_count_about();
                part.bytes = table.stored_bytes().unwrap_or_default();
            }
            Source::View(view) => {
                part.uuid = Some(view.uuid);
                let numbers = (1..).zip(1_i16..);
                part.column_numbers = numbers.take(view.columns.len()).collect();
                part.columns = (1..)
                    .zip(&view.columns)
                    .map(|(number, (name, ty))| Column {
                        comment: view.column_comments.get(name).cloned(),
                        ..view_column(number, name, ty)
                    })
                    .collect();
                part.comment.clone_from(&view.comment);
                part.kind = Kind::View {
                    sql: view.sql.clone(),
                    rule: number("/rule"),
                    reads: view.reads.clone(),
                };
            }
            Source::Sequence(sequence) => {
                let columns = [
                    ("last_value", SqlType::BigInt),
                    ("log_cnt", SqlType::BigInt),
                    ("is_called", SqlType::Boolean),
                ];
                let column = |(number, (name, ty)): (i16, (&str, SqlType))| Column {
                    not_null: true,
                    ..view_column(number, name, &ty)
                };
                part.columns = (1..).zip(columns).map(column).collect();
                part.kind = Kind::Sequence(sequence.clone());
            }
            Source::Broken(kind, why) => {
                part.damage = Some(why.clone());
                if *kind == RelationKind::View {
                    part.kind = Kind::View {
                        sql: String::new(),
                        rule: 0,
                        reads: Vec::new(),
                    };
                }
            }
        }
        part
    }
}

/// What the number of a declared index goes by, whatever it is called.
fn declared_key(table: &str, index: &Index) -> String {
    format!("{table}/declared/{}", index.id)
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

fn columns(table: &Table, of_column: &BTreeMap<i32, i16>, number: impl Fn(&str) -> u32) -> Vec<Column> {
    let columns = table.schema().columns.iter().map(|column| {
        let (value, is_generated, identity) = match &column.default {
            Some(ColumnDefault::Expression(text)) => (Some(DefaultValue::Text(text.clone())), false, ""),
            Some(ColumnDefault::Generated(text)) => (Some(DefaultValue::Text(text.clone())), true, ""),
            Some(ColumnDefault::Identity(identity)) => match identity.kind {
                IdentityKind::Always => (None, false, "a"),
                IdentityKind::ByDefault => (None, false, "d"),
                IdentityKind::Serial => (Some(DefaultValue::Next(identity.id)), false, ""),
            },
            None => (None, false, ""),
        };
        Column {
            number: of_column.get(&column.field_id).copied().unwrap_or_default(),
            not_null: !column.nullable,
            default: value.map(|value| Default {
                oid: number(&format!("/default/{}", column.field_id)),
                value,
                is_generated,
            }),
            identity,
            comment: column.comment.clone(),
            ..view_column(0, &column.name, &column.ty)
        }
    });
    columns.collect()
}

fn key(constraint: &Constraint, columns: &[Column], number: impl Fn(&str) -> u32) -> Key {
    let numbered = constraint.columns().iter();
    let numbered = numbered.filter_map(|name| columns.iter().find(|column| column.name == *name));
    let kind = match &constraint.kind {
        ConstraintKind::Check { expression, .. } => KeyKind::Check(expression.clone()),
        ConstraintKind::PrimaryKey { .. } => KeyKind::Primary,
        ConstraintKind::Unique { .. } => KeyKind::Unique,
        ConstraintKind::ForeignKey {
            table,
            referenced,
            restricts_update,
            restricts_delete,
            ..
        } => KeyKind::Foreign {
            table: (table.1.clone(), table.2.clone()),
            columns: referenced.clone(),
            restricts_update: *restricts_update,
            restricts_delete: *restricts_delete,
        },
    };
    Key {
        oid: number(&format!("/constraint/{}", constraint.name)),
        name: constraint.name.clone(),
        comment: constraint.comment.clone(),
        index: number(&format!("/index/{}", constraint.name)),
        kind,
        columns: numbered.map(|column| column.number).collect(),
    }
}
