//! CREATE TABLE, TABLE AS, VIEW, SCHEMA, DATABASE.

use std::collections::BTreeMap;

use datafusion::scalar::ScalarValue;
use staffa_catalog::{
    ErrorKind as CatalogErrorKind, TableDefinition, TableName, TableVersionSpec, Uuid, ViewDefinition,
};
use staffa_planner::{Error, Plan, QueryPlan, Result};

use crate::cancel::StatementGuard;
use crate::command::{insert, sequence};
use crate::outcome::{CommandTag, Notice};
use crate::session::Session;

/// Tells whether the table was made: with IF NOT EXISTS an existing one is left alone, with a notice.
pub(crate) async fn create_table(
    session: &mut Session,
    definition: &TableDefinition,
    if_not_exists: bool,
) -> Result<bool> {
    let name = definition.name.name.clone();
    session.prepare_temporary(&definition.name).await?;
    session.note_on_commit(&definition.properties);
    let result = session
        .transaction()
        .await?
        .create_table(definition.clone())
        .await
        .map(|_| ());
    let kind = CatalogErrorKind::DuplicateTable;
    let made = skip_existing(session, result, kind, if_not_exists, "relation", &name)?;
    if made {
        sequence::of_columns(session, &definition.name).await?;
    }
    Ok(made)
}

pub(crate) async fn clone_table(
    session: &mut Session,
    name: &TableName,
    if_not_exists: bool,
    source: &TableName,
    version: Option<&TableVersionSpec>,
) -> Result<()> {
    let result = session.transaction().await?.clone_table(name, source, version).await;
    let kind = CatalogErrorKind::DuplicateTable;
    if skip_existing(session, result, kind, if_not_exists, "relation", &name.name)? {
        sequence::of_clone(session, name).await?;
    }
    Ok(())
}

pub(crate) async fn create_table_as(
    session: &mut Session,
    definition: &TableDefinition,
    source: &QueryPlan,
    if_not_exists: bool,
    with_data: bool,
    parameters: &[ScalarValue],
    guard: &StatementGuard,
) -> Result<CommandTag> {
    if !create_table(session, definition, if_not_exists).await? || !with_data {
        return Ok(CommandTag::plain(match definition.materialized {
            Some(_) => "CREATE MATERIALIZED VIEW",
            None => "CREATE TABLE AS",
        }));
    }
    let rows = insert::fill(session, &definition.name, source, parameters, guard).await?;
    Ok(CommandTag::counted("SELECT", rows))
}

pub(crate) async fn create_view(session: &mut Session, plan: &Plan) -> Result<()> {
    let Plan::CreateView {
        name,
        sql,
        columns,
        search_path,
        replace,
        comment,
        reads,
    } = plan
    else {
        return Err(Error::internal("not a CREATE VIEW"));
    };
    let view = ViewDefinition {
        name: name.clone(),
        sql: sql.clone(),
        columns: columns.clone(),
        search_path: search_path.clone(),
        comment: comment.clone(),
        reads: reads.clone(),
        column_comments: BTreeMap::new(),
    };
    session.prepare_temporary(name).await?;
    Ok(session.transaction().await?.create_view(view, *replace).await?)
}

pub(crate) async fn create_schema(
    session: &mut Session,
    database: &str,
    schema: &str,
    owner: Option<Uuid>,
    if_not_exists: bool,
) -> Result<()> {
    let transaction = session.transaction().await?;
    if let Some(owner) = owner {
        transaction.act_as(owner);
    }
    let result = transaction.create_schema(database, schema).await;
    skip_existing(
        session,
        result,
        CatalogErrorKind::DuplicateSchema,
        if_not_exists,
        "schema",
        schema,
    )
    .map(|_| ())
}

pub(crate) async fn create_database(session: &mut Session, name: &str, if_not_exists: bool) -> Result<()> {
    let result = session.transaction().await?.create_database(name).await;
    skip_existing(
        session,
        result,
        CatalogErrorKind::DuplicateDatabase,
        if_not_exists,
        "database",
        name,
    )
    .map(|_| ())
}

pub(crate) fn skip_existing(
    session: &mut Session,
    result: staffa_catalog::Result<()>,
    duplicate: CatalogErrorKind,
    if_not_exists: bool,
    noun: &str,
    name: &str,
) -> Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if if_not_exists && error.kind() == duplicate => {
            let code = match duplicate {
                CatalogErrorKind::DuplicateSchema => "42P06",
                CatalogErrorKind::DuplicateDatabase => "42P04",
                _ => "42P07",
            };
            session.notices.push(Notice::remark(
                code,
                format!("{noun} \"{name}\" already exists, skipping"),
            ));
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}
