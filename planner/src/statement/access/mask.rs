//! `CREATE`, `ALTER`, `DROP`, `ATTACH` and `DETACH MASKING POLICY`, as in Redshift. They are the database owner's and superusers'.

use datafusion::sql::sqlparser::ast::{DataType, Expr, Ident, ObjectName};
use staffa_catalog::{AccessKey, AttachedMask, MaskingPolicy, Table};

use super::policy::{security_of, set, table_named};
use super::{AccessEdit, Work, denied};
use crate::context::PlanContext;
use crate::error::{Error, ErrorKind, Result};
use crate::parse::RoleName;
use crate::policy::mask::{check_fits, expression};
use crate::resolve::fold;
use crate::statement::Plan;
use crate::statement::query::Scope;
use crate::type_planner::sql_type_of_ast;

/// What ATTACH says beside the names of policy and table.
pub(super) struct Attached<'a> {
    pub(super) column: &'a Ident,
    pub(super) inputs: &'a [Ident],
    pub(super) role: &'a RoleName,
    pub(super) priority: i32,
}

impl PlanContext {
    /// Whom masks of the table bind must not define what reads its columns as they are stored.
    pub(crate) fn check_unmasked(&self, table: &Table) -> Result<()> {
        match self.guard(table)? {
            Some(guard) if !guard.masks.is_empty() => {
                let message = format!("permission denied for table {}", table.name().name);
                Err(Error::new(ErrorKind::InsufficientPrivilege, message)
                    .with_detail("Columns of the table are masked for you."))
            }
            _ => Ok(()),
        }
    }
}

fn check_may(work: &Work<'_>) -> Result<()> {
    let rights = work.access.rights(&AccessKey::Database(work.context.database.clone()));
    match work.authority.owns(&rights) {
        true => Ok(()),
        false => Err(denied("permission denied for masking policies")
            .with_detail("They are the database owner's and superusers'.")),
    }
}

fn undefined(name: &str) -> Error {
    let message = format!("masking policy \"{name}\" does not exist");
    Error::new(ErrorKind::UndefinedObject, message)
}

fn put(work: &mut Work<'_>, name: String, mask: Option<MaskingPolicy>) {
    let database = work.context.database.clone();
    work.plan.edits.push(AccessEdit::Mask { database, name, mask });
}

/// Gives what is to be said instead, when there is nothing to do.
pub(super) fn create(
    scope: &Scope<'_>,
    work: &mut Work<'_>,
    name: &Ident,
    if_not_exists: bool,
    columns: &[(Ident, DataType)],
    shown: &Expr,
) -> Result<Option<Plan>> {
    check_may(work)?;
    let name = fold(name);
    if work.access.mask(&work.context.database, &name).is_some() {
        if if_not_exists {
            let notice = format!("masking policy \"{name}\" already exists, skipping");
            return Ok(Some(Plan::Skipped { notice }));
        }
        let message = format!("masking policy \"{name}\" already exists");
        return Err(Error::new(ErrorKind::DuplicateObject, message));
    }
    let named = |(name, ty): &(Ident, DataType)| Ok((fold(name), sql_type_of_ast(ty)?.to_string()));
    let columns: Vec<(String, String)> = columns.iter().map(named).collect::<Result<_>>()?;
    for (index, (column, _)) in columns.iter().enumerate() {
        if columns[..index].iter().any(|(known, _)| known == column) {
            let message = format!("column \"{column}\" specified more than once");
            return Err(Error::new(ErrorKind::DuplicateColumn, message));
        }
    }
    let mask = MaskingPolicy {
        columns,
        expression: shown.to_string(),
        search_path: scope.context.search_path.clone(),
    };
    expression(scope.context, &mask)?;
    put(work, name, Some(mask));
    Ok(None)
}

pub(super) async fn alter(scope: &Scope<'_>, work: &mut Work<'_>, name: &Ident, shown: &Expr) -> Result<()> {
    check_may(work)?;
    let name = fold(name);
    let database = &work.context.database;
    let mask = work.access.mask(database, &name).ok_or_else(|| undefined(&name))?;
    let mask = MaskingPolicy {
        expression: shown.to_string(),
        search_path: scope.context.search_path.clone(),
        ..mask.clone()
    };
    expression(scope.context, &mask)?;
    for table in tables_with(work, &name).await? {
        let security = security_of(work, &table);
        for attached in security.masks.iter().filter(|mask| mask.policy == name) {
            let mut columns = table.schema().columns.iter();
            if let Some(column) = columns.find(|column| column.field_id == attached.column) {
                check_fits(scope.context, &mask, column)?;
            }
        }
    }
    put(work, name, Some(mask));
    Ok(())
}

/// The tables of this database that a policy is attached to.
async fn tables_with(work: &Work<'_>, name: &str) -> Result<Vec<std::sync::Arc<Table>>> {
    let snapshot = &work.context.snapshot;
    let database = &work.context.database;
    let mut found = Vec::new();
    for (relation, full, kind) in super::role::relations_by_id(work).await? {
        let security = work.access.security(relation);
        let attached = security.is_some_and(|security| security.masks.iter().any(|mask| mask.policy == name));
        if attached && full.database == *database && kind == staffa_catalog::RelationKind::Table {
            found.extend(snapshot.table(&full).await?);
        }
    }
    Ok(found)
}

pub(super) async fn drop(work: &mut Work<'_>, name: &Ident) -> Result<()> {
    check_may(work)?;
    let name = fold(name);
    let known = work.access.mask(&work.context.database, &name);
    known.ok_or_else(|| undefined(&name))?;
    let tables = tables_with(work, &name).await?;
    if let Some(table) = tables.first() {
        let message = format!("cannot drop masking policy \"{name}\" because it is attached to tables");
        return Err(Error::new(ErrorKind::DependentObjects, message)
            .with_detail(format!("Table \"{}\" has it.", table.name().name))
            .with_hint("Use DETACH MASKING POLICY first."));
    }
    put(work, name, None);
    Ok(())
}

fn role_id(work: &Work<'_>, role: &RoleName) -> Result<Option<uuid::Uuid>> {
    work.grantee(role)
}

fn field_id(table: &Table, column: &Ident) -> Result<i32> {
    let name = fold(column);
    let found = table.schema().columns.iter().find(|column| column.name == name);
    found.map(|column| column.field_id).ok_or_else(|| {
        let message = format!("column \"{name}\" of relation \"{}\" does not exist", table.name().name);
        Error::new(ErrorKind::UndefinedColumn, message)
    })
}

pub(super) async fn attach(
    scope: &Scope<'_>,
    work: &mut Work<'_>,
    name: &Ident,
    table: &ObjectName,
    asked: Attached<'_>,
) -> Result<()> {
    check_may(work)?;
    let name = fold(name);
    let database = &work.context.database;
    let mask = work
        .access
        .mask(database, &name)
        .ok_or_else(|| undefined(&name))?
        .clone();
    let table = table_named(scope, table).await?;
    let column = field_id(&table, asked.column)?;
    let inputs = match asked.inputs {
        [] => vec![column],
        named => named
            .iter()
            .map(|column| field_id(&table, column))
            .collect::<Result<_>>()?,
    };
    if inputs.len() != mask.columns.len() {
        let message = format!("masking policy \"{name}\" takes {} columns", mask.columns.len());
        return Err(Error::new(ErrorKind::InvalidParameterValue, message)
            .with_hint("USING (column, …) behind the masked column names them."));
    }
    for ((_, ty), input) in crate::policy::mask::inputs(&mask)?.iter().zip(&inputs) {
        let found = table.schema().columns.iter().find(|column| column.field_id == *input);
        if let Some(column) = found
            && column.ty.plain() != ty.plain()
        {
            let message = format!(
                "masking policy \"{name}\" takes {ty}, but column \"{}\" is of type {}",
                column.name, column.ty
            );
            return Err(Error::new(ErrorKind::DatatypeMismatch, message));
        }
    }
    if let Some(masked) = table.schema().columns.iter().find(|known| known.field_id == column) {
        check_fits(scope.context, &mask, masked)?;
    }
    let role = role_id(work, asked.role)?;
    let mut security = security_of(work, &table);
    let of_column = |mask: &&AttachedMask| mask.column == column;
    if security
        .masks
        .iter()
        .filter(of_column)
        .any(|mask| mask.role == role && mask.policy == name)
    {
        let message = format!("masking policy \"{name}\" is attached to the column already");
        return Err(Error::new(ErrorKind::DuplicateObject, message));
    }
    if security
        .masks
        .iter()
        .filter(of_column)
        .any(|mask| mask.priority == asked.priority)
    {
        let message = format!("another masking policy of the column has priority {}", asked.priority);
        return Err(Error::new(ErrorKind::DuplicateObject, message)
            .with_hint("PRIORITY says which of them is used where several are for a role."));
    }
    security.masks.push(AttachedMask {
        policy: name,
        column,
        inputs,
        role,
        priority: asked.priority,
    });
    set(work, &table, security);
    Ok(())
}

pub(super) async fn detach(
    scope: &Scope<'_>,
    work: &mut Work<'_>,
    name: &Ident,
    table: &ObjectName,
    column: &Ident,
    role: &RoleName,
) -> Result<()> {
    check_may(work)?;
    let name = fold(name);
    let table = table_named(scope, table).await?;
    let column = field_id(&table, column)?;
    let role = role_id(work, role)?;
    let mut security = security_of(work, &table);
    let before = security.masks.len();
    security
        .masks
        .retain(|mask| mask.policy != name || mask.column != column || mask.role != role);
    if security.masks.len() == before {
        let message = format!("masking policy \"{name}\" is not attached to the column for this role");
        return Err(Error::new(ErrorKind::UndefinedObject, message));
    }
    set(work, &table, security);
    Ok(())
}
