//! `ALTER TABLE`: names of columns to field ids, and what must be true of the rows that are there.
//!
//! Actions are resolved one by one when the statement runs, each against the table as the one before left it: `ADD COLUMN
//! b int, ALTER COLUMN b SET NOT NULL` finds its column.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::sql::sqlparser::ast::{Ident, ObjectName};
use staffa_catalog::{Column, ColumnDefinition, FieldIds, RelationKind, SqlType, Table, TableChange, TableName};

use crate::context::PlanContext;
use crate::error::{Error, ErrorKind, Result};
use crate::parse::{AlterAst, AlterTableAst, NewName};
use crate::resolve::{self, fold, shown};
use crate::statement::query::Scope;
use crate::statement::{Plan, ddl};
use crate::type_planner::sql_type_of_ast;

/// One action of `ALTER TABLE`.
#[derive(Clone, Debug)]
pub struct AlterAction(AlterAst);

/// What an action does to a table as it is now.
#[derive(Debug, Default)]
pub struct AlterStep {
    pub changes: Vec<TableChange>,
    pub check: Option<RowCheck>,
    /// Told when `IF EXISTS` or `IF NOT EXISTS` had nothing to do.
    pub notice: Option<String>,
}

/// Rows that must not be there, or the action fails with `error`.
#[derive(Debug)]
pub struct RowCheck {
    /// A condition in SQL on the table's columns; `None`: any row.
    pub condition: Option<String>,
    pub error: Error,
}

pub(crate) fn alter_table(scope: &Scope<'_>, alter: &AlterTableAst) -> Result<Plan> {
    match resolve::existing(scope.context, &alter.name)? {
        Some((table, RelationKind::Table)) => Ok(Plan::AlterTable {
            table,
            actions: alter.actions.iter().cloned().map(AlterAction).collect(),
        }),
        Some((full, RelationKind::View)) => Err(wrong_type(&full, "table")),
        None => missing(scope, &alter.name, alter.if_exists),
    }
}

pub(crate) fn rename_relation(
    scope: &Scope<'_>,
    view: bool,
    name: &ObjectName,
    if_exists: bool,
    to: &NewName,
) -> Result<Plan> {
    let Some((from, kind)) = resolve::existing(scope.context, name)? else {
        return missing(scope, name, if_exists);
    };
    // PostgreSQL lets ALTER TABLE rename a view, but not the other way round.
    if view && kind == RelationKind::Table {
        return Err(wrong_type(&from, "view"));
    }
    let to = match to {
        NewName::Name(name) => TableName::new(&from.database, &from.schema, fold(name)),
        NewName::Schema(schema) => {
            let schema = fold(schema);
            check_schema(scope.context, &from.database, &schema)?;
            TableName::new(&from.database, schema, &from.name)
        }
    };
    Ok(Plan::RenameRelation { from, to })
}

pub(crate) fn rename_schema(context: &PlanContext, name: &ObjectName, to: &Ident) -> Result<Plan> {
    let (database, from) = ddl::schema_name(context, name)?;
    check_schema(context, &database, &from)?;
    let to = fold(to);
    ddl::check_schema_name(&to)?;
    Ok(Plan::RenameSchema { database, from, to })
}

fn check_schema(context: &PlanContext, database: &str, schema: &str) -> Result<()> {
    if context.snapshot.has_schema(database, schema) {
        return Ok(());
    }
    let message = format!("schema \"{schema}\" does not exist");
    Err(Error::new(ErrorKind::UndefinedSchema, message))
}

fn missing(scope: &Scope<'_>, name: &ObjectName, if_exists: bool) -> Result<Plan> {
    if if_exists {
        let notice = format!("relation \"{}\" does not exist, skipping", shown(name));
        return Ok(Plan::Skipped { notice });
    }
    Err(resolve::undefined_relation(name, scope.text))
}

fn wrong_type(name: &TableName, wanted: &str) -> Error {
    Error::new(
        ErrorKind::WrongObjectType,
        format!("\"{}\" is not a {wanted}", name.name),
    )
}

impl AlterAction {
    /// What the action does to the table as the transaction sees it now.
    ///
    /// # Errors
    /// A column that is not there or is there already; a definition that is wrong; a form that is not supported.
    pub fn step(&self, table: &Table) -> Result<AlterStep> {
        match &self.0 {
            AlterAst::AddColumn {
                parent,
                column,
                if_not_exists,
            } => add_column(table, parent, ddl::column(column)?, *if_not_exists),
            AlterAst::DropColumn { path, if_exists } => match find(table, path) {
                Some(found) => Ok(changed(TableChange::DropColumn { field_id: found.id })),
                None if *if_exists => {
                    let error = undefined(table, path);
                    Ok(AlterStep {
                        notice: Some(format!("{}, skipping", error.message())),
                        ..AlterStep::default()
                    })
                }
                None => Err(undefined(table, path)),
            },
            AlterAst::RenameColumn { path, name } => {
                let found = find(table, path).ok_or_else(|| {
                    // PostgreSQL names the relation in all actions but this one.
                    let message = format!("column \"{}\" does not exist", joined(path));
                    Error::new(ErrorKind::UndefinedColumn, message)
                })?;
                let name = fold(name);
                if found.siblings.contains(&name) {
                    return Err(duplicate(table, &name));
                }
                Ok(changed(TableChange::RenameColumn {
                    field_id: found.id,
                    name,
                }))
            }
            AlterAst::SetType { path, ty, rewrites } => {
                let found = find(table, path).ok_or_else(|| undefined(table, path))?;
                if *rewrites {
                    return Err(
                        Error::unsupported("USING and COLLATE in ALTER COLUMN … TYPE are not supported")
                            .with_hint("Add a column of the new type, fill it, drop the old one and rename."),
                    );
                }
                Ok(changed(TableChange::SetType {
                    field_id: found.id,
                    ty: sql_type_of_ast(ty)?,
                }))
            }
            AlterAst::SetNotNull { path, not_null } => set_not_null(table, path, *not_null),
            AlterAst::SetProperties(given) => Ok(changed(TableChange::SetProperties {
                set: ddl::properties(given)?,
                removed: BTreeSet::new(),
            })),
            AlterAst::ResetProperties(names) => {
                let given: Vec<_> = names.iter().map(|name| (name.clone(), String::new())).collect();
                Ok(changed(TableChange::SetProperties {
                    set: BTreeMap::new(),
                    removed: ddl::properties(&given)?.into_keys().collect(),
                }))
            }
            AlterAst::SetPartitioning(terms) => {
                let terms = ddl::partitions(terms, &definitions(table))?;
                Ok(changed(TableChange::SetPartitioning(terms)))
            }
            AlterAst::SetSorting(terms) => {
                let keys = ddl::sort(terms, &definitions(table))?;
                Ok(changed(TableChange::SetSortOrder(keys)))
            }
            AlterAst::SetDefault { .. } => Err(Error::unsupported("DEFAULT is not supported")),
            AlterAst::AddConstraint(constraint) => Err(ddl::constraint_unsupported(&constraint.to_string())),
            AlterAst::DropConstraint { .. } => Err(Error::unsupported("DROP CONSTRAINT is not supported")),
        }
    }
}

fn changed(change: TableChange) -> AlterStep {
    AlterStep {
        changes: vec![change],
        ..AlterStep::default()
    }
}

fn add_column(table: &Table, parent: &[Ident], column: ColumnDefinition, if_not_exists: bool) -> Result<AlterStep> {
    let (parent, siblings) = match parent {
        [] => (None, names_of(&table.schema().columns)),
        path => {
            let found = find(table, path).ok_or_else(|| undefined(table, path))?;
            if !column.nullable {
                return Err(Error::unsupported("NOT NULL for a field of a struct is not supported"));
            }
            (Some(found.id), found.fields)
        }
    };
    if siblings.contains(&column.name) {
        let error = duplicate(table, &column.name);
        if !if_not_exists {
            return Err(error);
        }
        return Ok(AlterStep {
            notice: Some(format!("{}, skipping", error.message())),
            ..AlterStep::default()
        });
    }
    let check = (!column.nullable).then(|| RowCheck {
        condition: None,
        error: null_values(table, &column.name),
    });
    Ok(AlterStep {
        changes: vec![TableChange::AddColumn { parent, column }],
        check,
        notice: None,
    })
}

fn set_not_null(table: &Table, path: &[Ident], not_null: bool) -> Result<AlterStep> {
    let found = find(table, path).ok_or_else(|| undefined(table, path))?;
    let [ident] = path else {
        return Err(Error::unsupported("NOT NULL for a field of a struct is not supported"));
    };
    let name = fold(ident);
    Ok(AlterStep {
        changes: vec![TableChange::SetNullable {
            field_id: found.id,
            nullable: !not_null,
        }],
        check: not_null.then(|| RowCheck {
            condition: Some(format!("{} is null", staffa_catalog::quote_identifier(&name))),
            error: null_values(table, &name),
        }),
        notice: None,
    })
}

fn null_values(table: &Table, column: &str) -> Error {
    let message = format!(
        "column \"{column}\" of relation \"{}\" contains null values",
        table.name().name
    );
    Error::new(ErrorKind::NotNullViolation, message)
}

/// A column or a field inside one.
struct Found {
    id: i32,
    /// Names beside it.
    siblings: Vec<String>,
    /// Names inside it.
    fields: Vec<String>,
}

fn find(table: &Table, path: &[Ident]) -> Option<Found> {
    let (first, rest) = path.split_first()?;
    let columns = &table.schema().columns;
    let column = table.schema().column(&fold(first))?;
    let (mut ty, mut ids, mut id) = (&column.ty, column.children.as_slice(), column.field_id);
    let mut siblings = names_of(columns);
    for ident in rest {
        let (fields, below) = struct_of(ty, ids)?;
        let index = fields.iter().position(|(name, _)| *name == fold(ident))?;
        siblings = fields.iter().map(|(name, _)| name.clone()).collect();
        let field = below.get(index)?;
        (ty, ids, id) = (&fields[index].1, field.children.as_slice(), field.id);
    }
    let fields = struct_of(ty, ids).map(|(fields, _)| fields.iter().map(|(name, _)| name.clone()).collect());
    Some(Found {
        id,
        siblings,
        fields: fields.unwrap_or_default(),
    })
}

/// The fields of a struct, or of the structs in an array.
fn struct_of<'a>(ty: &'a SqlType, ids: &'a [FieldIds]) -> Option<(&'a [(String, SqlType)], &'a [FieldIds])> {
    match ty {
        SqlType::Struct(fields) => Some((fields, ids)),
        SqlType::Array(element) => struct_of(element, &ids.first()?.children),
        _ => None,
    }
}

fn names_of(columns: &[Column]) -> Vec<String> {
    columns.iter().map(|column| column.name.clone()).collect()
}

fn definitions(table: &Table) -> Vec<ColumnDefinition> {
    let columns = table.schema().columns.iter();
    columns
        .map(|column| ColumnDefinition {
            name: column.name.clone(),
            ty: column.ty.clone(),
            nullable: column.nullable,
            comment: None,
        })
        .collect()
}

fn joined(path: &[Ident]) -> String {
    path.iter().map(fold).collect::<Vec<_>>().join(".")
}

fn undefined(table: &Table, path: &[Ident]) -> Error {
    let message = format!(
        "column \"{}\" of relation \"{}\" does not exist",
        joined(path),
        table.name().name
    );
    Error::new(ErrorKind::UndefinedColumn, message)
}

fn duplicate(table: &Table, column: &str) -> Error {
    let message = format!(
        "column \"{column}\" of relation \"{}\" already exists",
        table.name().name
    );
    Error::new(ErrorKind::DuplicateColumn, message)
}
