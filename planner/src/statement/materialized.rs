//! Materialized views: tables that keep the query their rows come from. REFRESH computes the rows anew and puts them in the
//! place of those that are there, in the transaction it runs in: readers see the old rows or the new ones.

use datafusion::sql::sqlparser::ast::{ObjectName, Query};
use staffa_catalog::{MaterializedQuery, RelationKind, SqlType, Table, TableName};

use crate::context::PlanContext;
use crate::error::{Error, ErrorKind, Result};
use crate::generic::Generic;
use crate::parse::{AlterAst, CreateTableAst};
use crate::resolve;
use crate::statement::query::Scope;
use crate::statement::{Plan, QueryPlan, ddl, dml, with};

/// What PostgreSQL calls one.
pub(crate) const NOUN: &str = "materialized view";

const NOT_FOR_ONE: &str = "This operation is not supported for materialized views.";

/// The query of `CREATE MATERIALIZED VIEW`, as the table keeps it; `None` of another statement.
pub(super) fn kept_query(
    scope: &Scope<'_>,
    create: &CreateTableAst,
    body: &Query,
) -> Result<Option<MaterializedQuery>> {
    let Some(sql) = &create.materialized else {
        return Ok(None);
    };
    if with::in_query(body) {
        let message = "materialized views must not use data-modifying statements in WITH";
        return Err(Error::unsupported(message));
    }
    if ddl::reads_temporary(scope.context, body) {
        let message = "materialized views must not use temporary tables or views";
        return Err(Error::unsupported(message));
    }
    Ok(Some(MaterializedQuery {
        sql: sql.clone(),
        search_path: ddl::lasting_path(scope.context),
        is_populated: create.with_data,
    }))
}

/// `REFRESH MATERIALIZED VIEW`. CONCURRENTLY says what is so anyway: nobody who reads waits.
pub(crate) async fn refresh(scope: &Scope<'_>, name: &ObjectName, concurrently: bool, with_data: bool) -> Result<Plan> {
    if concurrently && !with_data {
        let message = "CONCURRENTLY and WITH NO DATA options cannot be used together";
        return Err(Error::new(ErrorKind::SyntaxError, message));
    }
    let table = match resolve::existing(scope.context, name)? {
        Some((full, RelationKind::Table)) => scope.context.snapshot.table(&full).await?,
        Some((full, _)) => {
            let message = format!("\"{}\" is not a table or {NOUN}", full.name);
            return Err(Error::new(ErrorKind::WrongObjectType, message));
        }
        None => None,
    };
    let table = table.ok_or_else(|| resolve::missing(scope.context, name))?;
    let query = table
        .materialized()
        .ok_or_else(|| Error::unsupported(format!("\"{}\" is not a {NOUN}", table.name().name)))?;
    if concurrently && !query.is_populated {
        let message = "CONCURRENTLY cannot be used when the materialized view is not populated";
        return Err(Error::unsupported(message));
    }
    let source = match with_data {
        true => Some(rows(scope, &table, query).await?),
        false => None,
    };
    Ok(Plan::Refresh {
        table: table.name().clone(),
        source,
        was_populated: query.is_populated,
    })
}

/// The query's rows as the table holds them.
async fn rows(scope: &Scope<'_>, table: &Table, query: &MaterializedQuery) -> Result<QueryPlan> {
    let plan = resolve::stored_query(scope, table.name(), table.uuid(), NOUN, &query.sql, &query.search_path).await?;
    let columns = table.schema().columns.iter();
    let columns: Vec<(String, SqlType)> = columns.map(|column| (column.name.clone(), column.ty.clone())).collect();
    resolve::check_columns(&plan, table.name(), NOUN, columns.len())?;
    Ok(QueryPlan {
        logical: dml::as_stored(scope.context, plan, &columns)?,
        parameters: Vec::new(),
        columns: Vec::new(),
        generic: Generic::default(),
    })
}

/// Rows come by REFRESH only.
pub(super) fn check_changeable(table: &Table, verb: &str) -> Result<()> {
    let name = &table.name().name;
    match (table.materialized(), verb) {
        (None, _) => Ok(()),
        (Some(_), "merge into") => {
            Err(Error::unsupported(format!("cannot execute MERGE on relation \"{name}\"")).with_detail(NOT_FOR_ONE))
        }
        (Some(_), _) => {
            let message = format!("cannot change {NOUN} \"{name}\"");
            Err(Error::new(ErrorKind::WrongObjectType, message))
        }
    }
}

/// Nobody reads rows that are not there yet.
pub(crate) fn check_populated(table: &Table) -> Result<()> {
    match table.materialized() {
        Some(query) if !query.is_populated => {
            let message = format!("{NOUN} \"{}\" has not been populated", table.name().name);
            Err(Error::new(ErrorKind::ObjectNotInPrerequisiteState, message)
                .with_hint("Use the REFRESH MATERIALIZED VIEW command."))
        }
        _ => Ok(()),
    }
}

/// The query says what the columns are: they can get other names only.
pub(super) fn check_alterable(table: &Table, actions: &[AlterAst]) -> Result<()> {
    if table.materialized().is_none() {
        return Ok(());
    }
    let refused = actions.iter().find_map(|action| match action {
        AlterAst::AddColumn { .. } => Some("ADD COLUMN"),
        AlterAst::DropColumn { .. } => Some("DROP COLUMN"),
        AlterAst::SetType { .. } => Some("ALTER COLUMN ... SET DATA TYPE"),
        AlterAst::SetDefault { .. } => Some("ALTER COLUMN ... SET DEFAULT"),
        AlterAst::SetNotNull { not_null: true, .. } => Some("ALTER COLUMN ... SET NOT NULL"),
        AlterAst::SetNotNull { .. } => Some("ALTER COLUMN ... DROP NOT NULL"),
        AlterAst::AddConstraint(_) => Some("ADD CONSTRAINT"),
        AlterAst::DropConstraint { .. } => Some("DROP CONSTRAINT"),
        AlterAst::SetLogged(true) => Some("SET LOGGED"),
        AlterAst::SetLogged(false) => Some("SET UNLOGGED"),
        AlterAst::RenameColumn { .. }
        | AlterAst::CommentConstraint { .. }
        | AlterAst::SetProperties(_)
        | AlterAst::ResetProperties(_)
        | AlterAst::SetPartitioning(_)
        | AlterAst::SetSorting(_) => None,
    });
    match refused {
        None => Ok(()),
        Some(action) => {
            let message = format!(
                "ALTER action {action} cannot be performed on relation \"{}\"",
                table.name().name
            );
            Err(Error::new(ErrorKind::WrongObjectType, message).with_detail(NOT_FOR_ONE))
        }
    }
}

/// What messages call a relation.
pub(crate) async fn noun(context: &PlanContext, name: &TableName, kind: RelationKind) -> Result<&'static str> {
    Ok(match kind {
        RelationKind::View => "view",
        RelationKind::Sequence => "sequence",
        RelationKind::Index => "index",
        RelationKind::Table => match context.snapshot.table(name).await? {
            Some(table) if table.materialized().is_some() => NOUN,
            _ => "table",
        },
    })
}
