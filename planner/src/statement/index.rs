//! Indexes: declared, kept with their table and shown to tools. No query reads by them, and UNIQUE is not enforced, as that of
//! a constraint is not.
//!
//! As with `ALTER TABLE`, a change is resolved when it runs, against the table as it is then.

use std::sync::Arc;

use datafusion::logical_expr::ExprSchemable;
use datafusion::sql::sqlparser::ast::{Expr, Ident, IndexColumn, ObjectName};
use staffa_catalog::{
    Constraint, ConstraintKind, Index, IndexExpression, IndexKey, IndexTerm, RelationKind, SqlType, Table, TableName,
    Uuid,
};

use crate::context::PlanContext;
use crate::error::{Error, ErrorKind, Result};
use crate::parse::{CreateIndexAst, ReindexAst};
use crate::pg_catalog::access_method::{self, AccessMethod};
use crate::resolve::{self, fold, parts};
use crate::rewrite::names::output_name;
use crate::statement::query::Scope;
use crate::statement::{Plan, constraint, storage};
use crate::stored::{self, Role};
use crate::value::type_oid;

/// PostgreSQL's limit.
const KEYS_MAX: usize = 32;
/// What an expression without a name of its own is called.
const EXPRESSION_NAME: &str = "expr";

/// A change of the indexes of one table.
#[derive(Clone, Debug)]
pub struct IndexChange(Change);

#[derive(Clone, Debug)]
enum Change {
    Create(Box<CreateIndexAst>),
    Drop(String),
    Rename { from: String, to: String },
    Comment { name: String, text: Option<String> },
}

/// What a change does to a table as it is now.
#[derive(Debug)]
pub struct IndexStep {
    /// All indexes the table has then; `None` when there is nothing to do.
    pub indexes: Option<Vec<Index>>,
    /// Told when `IF NOT EXISTS` had nothing to do.
    pub existing: Option<String>,
    pub warning: Option<String>,
}

pub(crate) fn create(scope: &Scope<'_>, asked: &CreateIndexAst) -> Result<Plan> {
    let table = match resolve::existing(scope.context, &asked.table)? {
        Some((table, RelationKind::Table)) => table,
        Some((other, kind)) => {
            let message = format!("cannot create index on relation \"{}\"", other.name);
            let noun = match kind {
                RelationKind::View => "views",
                RelationKind::Sequence => "sequences",
                RelationKind::Index | RelationKind::Table => "indexes",
            };
            return Err(Error::new(ErrorKind::WrongObjectType, message)
                .with_detail(format!("This operation is not supported for {noun}.")));
        }
        None => return Err(resolve::missing(scope.context, &asked.table)),
    };
    Ok(Plan::AlterIndexes {
        changes: vec![(table, IndexChange(Change::Create(Box::new(asked.clone()))))],
        missing: Vec::new(),
        alone: asked.concurrently.then_some("CREATE INDEX CONCURRENTLY"),
    })
}

pub(crate) async fn drop(
    scope: &Scope<'_>,
    names: &[ObjectName],
    concurrently: bool,
    if_exists: bool,
    cascade: bool,
) -> Result<Plan> {
    if concurrently && names.len() > 1 {
        let message = "DROP INDEX CONCURRENTLY does not support dropping multiple objects";
        return Err(Error::unsupported(message));
    }
    if concurrently && cascade {
        return Err(Error::unsupported("DROP INDEX CONCURRENTLY does not support CASCADE"));
    }
    let mut changes: Vec<(TableName, IndexChange)> = Vec::new();
    let mut found: Vec<TableName> = Vec::new();
    let mut missing = Vec::new();
    for name in names {
        match existing(scope.context, name).await? {
            Some((index, _)) if found.contains(&index) => {}
            Some((index, table)) => {
                let change = Change::Drop(index.name.clone());
                changes.push((table.name().clone(), IndexChange(change)));
                found.push(index);
            }
            None => {
                check_no_key(scope.context, name).await?;
                let what = ("index", ErrorKind::UndefinedObject);
                missing.push(resolve::nothing_to_drop(scope.context, name, what, if_exists)?);
            }
        }
    }
    Ok(Plan::AlterIndexes {
        changes,
        missing,
        alone: concurrently.then_some("DROP INDEX CONCURRENTLY"),
    })
}

/// `ALTER INDEX … RENAME TO`, of a name that is an index's.
pub(super) async fn rename(context: &PlanContext, index: &TableName, to: String) -> Result<Plan> {
    let table = table_of(context, index).await?;
    let from = index.name.clone();
    Ok(of_one(&table, Change::Rename { from, to }))
}

pub(super) async fn comment(scope: &Scope<'_>, name: &ObjectName, text: Option<String>) -> Result<Plan> {
    match existing(scope.context, name).await? {
        Some((index, table)) => Ok(of_one(&table, Change::Comment { name: index.name, text })),
        None => Err(resolve::missing(scope.context, name)),
    }
}

/// There is nothing to build anew.
pub(crate) async fn reindex(scope: &Scope<'_>, what: &ReindexAst, concurrently: bool) -> Result<Plan> {
    let context = scope.context;
    let alone = match what {
        ReindexAst::Index(name) => {
            let table = match existing(context, name).await? {
                Some((_, table)) => Some(table.name().clone()),
                None => key_of_index(context, name).await?.map(|(_, table)| table),
            };
            match table {
                Some(table) => context.check_owner(&table, false).await?,
                None => return Err(resolve::missing(scope.context, name)),
            }
            None
        }
        ReindexAst::Table(name) => match resolve::existing(context, name)? {
            Some((full, RelationKind::Table)) => {
                context.check_owner(&full, false).await?;
                None
            }
            Some((full, _)) => {
                let message = format!("\"{}\" is not a table or materialized view", full.name);
                return Err(Error::new(ErrorKind::WrongObjectType, message));
            }
            None => return Err(resolve::missing(scope.context, name)),
        },
        ReindexAst::Schema(name) => {
            let schema = fold(name);
            if !context.snapshot.has_schema(&context.database, &schema) {
                let message = format!("schema \"{schema}\" does not exist");
                return Err(Error::new(ErrorKind::UndefinedSchema, message));
            }
            Some("REINDEX SCHEMA")
        }
        ReindexAst::Database(name) => {
            if fold(name) != context.database {
                return Err(Error::unsupported("can only reindex the currently open database"));
            }
            Some("REINDEX DATABASE")
        }
    };
    Ok(Plan::AlterIndexes {
        changes: Vec::new(),
        missing: Vec::new(),
        alone: alone.or(concurrently.then_some("REINDEX CONCURRENTLY")),
    })
}

fn of_one(table: &Table, change: Change) -> Plan {
    Plan::AlterIndexes {
        changes: vec![(table.name().clone(), IndexChange(change))],
        missing: Vec::new(),
        alone: None,
    }
}

/// The index of this name and its table; a name of something else is an error.
async fn existing(context: &PlanContext, name: &ObjectName) -> Result<Option<(TableName, Arc<Table>)>> {
    match resolve::existing(context, name)? {
        Some((index, RelationKind::Index)) => {
            let table = table_of(context, &index).await?;
            Ok(Some((index, table)))
        }
        Some((other, kind)) => {
            let hint = match kind {
                RelationKind::View => "Use DROP VIEW to remove a view.",
                RelationKind::Sequence => "Use DROP SEQUENCE to remove a sequence.",
                RelationKind::Table | RelationKind::Index => "Use DROP TABLE to remove a table.",
            };
            let message = format!("\"{}\" is not an index", other.name);
            Err(Error::new(ErrorKind::WrongObjectType, message).with_hint(hint))
        }
        None => Ok(None),
    }
}

async fn table_of(context: &PlanContext, index: &TableName) -> Result<Arc<Table>> {
    let table = context.snapshot.table_of_index(index).await?;
    table.ok_or_else(|| {
        let message = format!("the table of index \"{}\" is gone", index.name);
        Error::new(ErrorKind::DataCorrupted, message)
    })
}

/// The constraint that has an index of this name in PostgreSQL, and its table.
async fn key_of_index(context: &PlanContext, name: &ObjectName) -> Result<Option<(String, TableName)>> {
    context.load_catalog().await?;
    let Some(view) = context.catalog_view() else {
        return Ok(None);
    };
    let of_schema = |schema: &str, index: &str| {
        let (key, table) = view.key_of_index(schema, index)?;
        Some((key, TableName::new(&context.database, schema, table)))
    };
    let found = match parts(name)?.as_slice() {
        [index] => context.lookup_path().iter().find_map(|schema| of_schema(schema, index)),
        [schema, index] => of_schema(schema, index),
        _ => None,
    };
    Ok(found)
}

async fn check_no_key(context: &PlanContext, name: &ObjectName) -> Result<()> {
    let Some((key, table)) = key_of_index(context, name).await? else {
        return Ok(());
    };
    let table = &table.name;
    let message = format!("cannot drop index {key} because constraint {key} on table {table} requires it");
    Err(Error::new(ErrorKind::DependentObjects, message)
        .with_hint(format!("You can drop constraint {key} on table {table} instead.")))
}

impl IndexChange {
    /// What the change does to the table as the transaction sees it now.
    ///
    /// # Errors
    /// A name that is taken; a column that is not there; a definition that is wrong; a form that is not supported.
    pub fn step(&self, context: &PlanContext, table: &Table) -> Result<IndexStep> {
        let mut indexes = table.indexes().to_vec();
        let mut warning = None;
        match &self.0 {
            Change::Create(asked) => {
                let mut index = definition(context, table, asked)?;
                let taken = |name: &str| is_taken(context, table, name);
                match &asked.name {
                    Some(name) => index.name = fold(name),
                    None => index.name = chosen_name(&index, &table.name().name, taken),
                }
                if taken(&index.name) {
                    let message = format!("relation \"{}\" already exists", index.name);
                    if !asked.if_not_exists {
                        return Err(Error::new(ErrorKind::DuplicateTable, message));
                    }
                    return Ok(IndexStep {
                        indexes: None,
                        existing: Some(format!("{message}, skipping")),
                        warning: None,
                    });
                }
                warning = Some(match index.is_unique {
                    true => format!(
                        "index \"{}\" is declared only: it is not enforced, and no query reads it",
                        index.name
                    ),
                    false => format!("index \"{}\" is declared only: no query reads it", index.name),
                });
                indexes.push(index);
            }
            Change::Drop(name) => indexes.retain(|index| index.name != *name),
            Change::Rename { from, to } => {
                if is_taken(context, table, to) {
                    let message = format!("relation \"{to}\" already exists");
                    return Err(Error::new(ErrorKind::DuplicateTable, message));
                }
                for index in indexes.iter_mut().filter(|index| index.name == *from) {
                    index.name.clone_from(to);
                }
            }
            Change::Comment { name, text } => {
                for index in indexes.iter_mut().filter(|index| index.name == *name) {
                    index.comment.clone_from(text);
                }
            }
        }
        Ok(IndexStep {
            indexes: Some(indexes),
            existing: None,
            warning,
        })
    }
}

/// Whether a relation has the name, or a key of the table, whose index in PostgreSQL would.
fn is_taken(context: &PlanContext, table: &Table, name: &str) -> bool {
    let own = table.name();
    let full = TableName::new(&own.database, &own.schema, name);
    let is_key = |constraint: &Constraint| {
        let has_index = matches!(
            constraint.kind,
            ConstraintKind::PrimaryKey { .. } | ConstraintKind::Unique { .. }
        );
        has_index && constraint.name == name
    };
    context.snapshot.relation(&full).is_some() || table.constraints().iter().any(is_key)
}

/// `table_column_column_idx`
fn chosen_name(index: &Index, table: &str, taken: impl Fn(&str) -> bool) -> String {
    let keys = index.keys.iter().map(|key| match &key.term {
        IndexTerm::Column(column) => column.clone(),
        IndexTerm::Expression { name, .. } => name.clone(),
    });
    let columns: Vec<String> = keys.chain(index.included.iter().cloned()).collect();
    constraint::chosen_name(table, &columns, "idx", taken)
}

/// The index, but for its name.
fn definition(context: &PlanContext, table: &Table, asked: &CreateIndexAst) -> Result<Index> {
    let given = asked.method.as_deref().unwrap_or("btree");
    let method = access_method::named(given).ok_or_else(|| {
        let message = format!("access method \"{given}\" does not exist");
        Error::new(ErrorKind::UndefinedObject, message)
    })?;
    let refused = |what: &str| {
        let message = format!("access method \"{}\" does not support {what}", method.name);
        Err(Error::unsupported(message))
    };
    if asked.keys.len() + asked.included.len() > KEYS_MAX {
        let message = format!("cannot use more than {KEYS_MAX} columns in an index");
        return Err(Error::new(ErrorKind::ProgramLimitExceeded, message));
    }
    if asked.unique && !method.can_be_unique {
        return refused("unique indexes");
    }
    if !asked.included.is_empty() && !method.can_include {
        return refused("included columns");
    }
    if asked.keys.len() > 1 && !method.can_have_columns {
        return refused("multicolumn indexes");
    }
    storage::check_index(method.name, &asked.parameters)?;
    let columns = Columns::of(context, table);
    let predicate = asked.predicate.as_ref().map(|predicate| columns.predicate(predicate));
    let predicate = predicate.transpose()?;
    let mut keys = Vec::with_capacity(asked.keys.len());
    for key in &asked.keys {
        let key = columns.key(method, key, &keys)?;
        keys.push(key);
    }
    let mut included = Vec::with_capacity(asked.included.len());
    for ident in &asked.included {
        included.push(columns.named(ident)?.0.clone());
    }
    Ok(Index {
        id: Uuid::new_v4(),
        name: String::new(),
        method: method.name.to_owned(),
        is_unique: asked.unique,
        nulls_are_equal: asked.nulls_are_equal,
        keys,
        included,
        parameters: asked.parameters.clone(),
        predicate,
        comment: None,
    })
}

/// The columns of the table an index is made on.
struct Columns<'a> {
    context: &'a PlanContext,
    relation: &'a str,
    all: Vec<(String, SqlType)>,
}

impl<'a> Columns<'a> {
    fn of(context: &'a PlanContext, table: &'a Table) -> Self {
        let columns = table.schema().columns.iter();
        Self {
            context,
            relation: &table.name().name,
            all: columns.map(|column| (column.name.clone(), column.ty.clone())).collect(),
        }
    }

    fn named(&self, ident: &Ident) -> Result<&(String, SqlType)> {
        let name = fold(ident);
        self.all.iter().find(|(known, _)| *known == name).ok_or_else(|| {
            let message = format!("column \"{name}\" does not exist");
            Error::new(ErrorKind::UndefinedColumn, message)
        })
    }

    fn key(&self, method: &AccessMethod, given: &IndexColumn, before: &[IndexKey]) -> Result<IndexKey> {
        let options = &given.column.options;
        let refused = |what: &str| {
            let message = format!("access method \"{}\" does not support {what} options", method.name);
            Err(Error::unsupported(message))
        };
        if options.asc.is_some() && !method.is_ordered {
            return refused("ASC/DESC");
        }
        if options.nulls_first.is_some() && !method.is_ordered {
            return refused("NULLS FIRST/LAST");
        }
        let mut collation = None;
        let mut expression = &given.column.expr;
        loop {
            expression = match expression {
                Expr::Nested(inner) => inner,
                Expr::Collate { expr, collation: name } => {
                    collation = collation.or(Some(name));
                    expr
                }
                _ => break,
            };
        }
        let (term, ty) = match expression {
            Expr::Identifier(ident) => {
                let (name, ty) = self.named(ident)?;
                (IndexTerm::Column(name.clone()), ty.clone())
            }
            expression => self.expression(expression, before)?,
        };
        let descending = options.asc == Some(false);
        Ok(IndexKey {
            term,
            collation: collation.map(|name| collation_named(name, &ty)).transpose()?,
            operator_class: operator_class(method, &ty, given.operator_class.as_ref())?,
            descending,
            nulls_first: options.nulls_first.unwrap_or(descending),
        })
    }

    fn expression(&self, given: &Expr, before: &[IndexKey]) -> Result<(IndexTerm, SqlType)> {
        let (expression, ty) = self.computed(Role::IndexExpression, given)?;
        let own = match output_name(given) {
            name if name == "?column?" => EXPRESSION_NAME.to_owned(),
            name => name,
        };
        let is_taken = |wanted: &str| {
            before.iter().any(|key| match &key.term {
                IndexTerm::Column(name) | IndexTerm::Expression { name, .. } => name == wanted,
            })
        };
        let mut name = own.clone();
        let mut number = 0;
        while is_taken(&name) {
            number += 1;
            name = format!("{own}{number}");
        }
        let term = IndexTerm::Expression {
            expression,
            name,
            ty: ty.clone(),
        };
        Ok((term, ty))
    }

    fn predicate(&self, given: &Expr) -> Result<IndexExpression> {
        let (expression, ty) = self.computed(Role::IndexPredicate, given)?;
        match ty {
            SqlType::Boolean | SqlType::Unknown => Ok(expression),
            other => {
                let message = format!("argument of WHERE must be type boolean, not type {other}");
                Err(Error::new(ErrorKind::DatatypeMismatch, message))
            }
        }
    }

    /// An expression that can be planned and gives the same for the same row.
    fn computed(&self, role: Role, given: &Expr) -> Result<(IndexExpression, SqlType)> {
        let names: Vec<String> = self.all.iter().map(|(name, _)| name.clone()).collect();
        let text = stored::text_of(given, Some(self.relation), &names);
        let value = stored::plan(self.context, role, &text, self.relation, &self.all)?;
        if value.is_volatile() || stored::depends_on_session(&value) {
            let message = format!("functions in {} must be marked IMMUTABLE", role.singular());
            return Err(Error::new(ErrorKind::InvalidObjectDefinition, message));
        }
        let schema = constraint::row_schema(self.context, &self.all)?;
        let (_, field) = value.to_field(&schema)?;
        let expression = IndexExpression {
            columns: stored::columns_named(given, &names),
            text,
        };
        Ok((expression, crate::types::sql_type(&field)))
    }
}

fn collation_named(name: &ObjectName, ty: &SqlType) -> Result<String> {
    let parts = parts(name)?;
    let known = match parts.as_slice() {
        [name] => Some(name),
        [schema, name] if schema == "pg_catalog" => Some(name),
        _ => None,
    };
    let known = known.filter(|name| access_method::collation(name).is_some());
    let Some(known) = known else {
        let message = format!("collation \"{}\" for encoding \"UTF8\" does not exist", parts.join("."));
        return Err(Error::new(ErrorKind::UndefinedObject, message));
    };
    if !access_method::is_collated(type_oid(ty)) {
        let message = format!("collations are not supported by type {ty}");
        return Err(Error::new(ErrorKind::DatatypeMismatch, message));
    }
    Ok(known.clone())
}

/// The class an index names; `None` when it is the type's own for the method.
fn operator_class(method: &AccessMethod, ty: &SqlType, given: Option<&ObjectName>) -> Result<Option<String>> {
    let oid = type_oid(ty);
    let default = method.default_class(oid);
    let Some(given) = given else {
        if default.is_some() {
            return Ok(None);
        }
        let message = format!(
            "data type {ty} has no default operator class for access method \"{}\"",
            method.name
        );
        return Err(Error::new(ErrorKind::UndefinedObject, message).with_hint(
            "You must specify an operator class for the index or define a default operator class for the data type.",
        ));
    };
    let parts = parts(given)?;
    let name = match parts.as_slice() {
        [name] => Some(name),
        [schema, name] if schema == "pg_catalog" => Some(name),
        _ => None,
    };
    let classes = name.map(|name| method.classes_named(name)).unwrap_or_default();
    if classes.is_empty() {
        let message = format!(
            "operator class \"{}\" does not exist for access method \"{}\"",
            parts.join("."),
            method.name
        );
        return Err(Error::new(ErrorKind::UndefinedObject, message));
    }
    let Some(class) = classes.into_iter().find(|class| class.takes(oid)) else {
        let message = format!("operator class \"{}\" does not accept data type {ty}", parts.join("."));
        return Err(Error::new(ErrorKind::DatatypeMismatch, message));
    };
    Ok((Some(class.oid) != default).then(|| class.name.to_owned()))
}

/// The indexes without those about a column that goes.
pub(super) fn without_column(indexes: &[Index], column: &str) -> Vec<Index> {
    let about = |index: &&Index| !index.columns().any(|name| name == column);
    indexes.iter().filter(about).cloned().collect()
}

/// The indexes with a column under its new name.
pub(super) fn with_column_renamed(indexes: &[Index], from: &str, to: &str) -> Result<Vec<Index>> {
    let mut indexes = indexes.to_vec();
    for index in &mut indexes {
        for key in &mut index.keys {
            match &mut key.term {
                IndexTerm::Column(column) => rename_in(std::slice::from_mut(column), from, to),
                IndexTerm::Expression { expression, .. } => rename_in_expression(expression, from, to)?,
            }
        }
        rename_in(&mut index.included, from, to);
        if let Some(predicate) = &mut index.predicate {
            rename_in_expression(predicate, from, to)?;
        }
    }
    Ok(indexes)
}

fn rename_in(columns: &mut [String], from: &str, to: &str) {
    for column in columns.iter_mut().filter(|column| *column == from) {
        to.clone_into(column);
    }
}

fn rename_in_expression(expression: &mut IndexExpression, from: &str, to: &str) -> Result<()> {
    if expression.columns.iter().any(|column| column == from) {
        expression.text = stored::with_column_renamed(&expression.text, from, to)?;
        rename_in(&mut expression.columns, from, to);
    }
    Ok(())
}

/// The indexes of another table for a new one, under names of their own.
pub(super) fn for_copy(context: &PlanContext, other: &Table, name: &TableName, with_comments: bool) -> Vec<Index> {
    let mut indexes: Vec<Index> = Vec::with_capacity(other.indexes().len());
    for index in other.indexes() {
        let taken = |wanted: &str| {
            let full = TableName::new(&name.database, &name.schema, wanted);
            context.snapshot.relation(&full).is_some() || indexes.iter().any(|index| index.name == wanted)
        };
        let copy = Index {
            id: Uuid::new_v4(),
            name: chosen_name(index, &name.name, taken),
            comment: index.comment.clone().filter(|_| with_comments),
            ..index.clone()
        };
        indexes.push(copy);
    }
    indexes
}
