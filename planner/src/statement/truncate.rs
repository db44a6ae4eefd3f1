//! `TRUNCATE`: which tables lose all their rows.

use datafusion::sql::sqlparser::ast::ObjectName;
use staffa_catalog::{ConstraintKind, RelationKind, TableName};

use crate::error::{Error, ErrorKind, Result};
use crate::resolve;
use crate::statement::query::Scope;
use crate::statement::{Plan, materialized};

pub(crate) async fn truncate(scope: &Scope<'_>, names: &[ObjectName], restart: bool, cascade: bool) -> Result<Plan> {
    let mut tables = Vec::with_capacity(names.len());
    for name in names {
        match resolve::existing(scope.context, name)? {
            Some((full, kind)) if materialized::noun(scope.context, &full, kind).await? == "table" => {
                if !tables.contains(&full) {
                    tables.push(full);
                }
            }
            Some((full, _)) => {
                let message = format!("\"{}\" is not a table", full.name);
                return Err(Error::new(ErrorKind::WrongObjectType, message));
            }
            None => return Err(resolve::missing(scope.context, name)),
        }
    }
    let mut notices = Vec::new();
    if cascade {
        let named = tables.len();
        add_referencing(scope, &mut tables).await?;
        let added = tables[named..].iter();
        notices.extend(added.map(|table| format!("truncate cascades to table \"{}\"", table.name)));
    }
    Ok(Plan::Truncate {
        tables,
        restart,
        notices,
    })
}

/// Adds the tables whose foreign keys name one of the tables, and those whose keys name these.
async fn add_referencing(scope: &Scope<'_>, tables: &mut Vec<TableName>) -> Result<()> {
    let context = scope.context;
    let mut keys: Vec<(TableName, TableName)> = Vec::new();
    for schema in context.snapshot.schemas(&context.database) {
        for (name, kind) in context.snapshot.relations(&context.database, &schema) {
            let name = TableName::new(&context.database, &schema, name);
            if kind != RelationKind::Table {
                continue;
            }
            let Some(table) = context.snapshot.table(&name).await? else {
                continue;
            };
            for constraint in table.constraints() {
                if let ConstraintKind::ForeignKey {
                    table: (database, schema, of),
                    ..
                } = &constraint.kind
                {
                    keys.push((name.clone(), TableName::new(database, schema, of)));
                }
            }
        }
    }
    let mut next = 0;
    while let Some(table) = tables.get(next).cloned() {
        for (referencing, referenced) in &keys {
            if *referenced == table && !tables.contains(referencing) {
                tables.push(referencing.clone());
            }
        }
        next += 1;
    }
    Ok(())
}
