//! DROP TABLE, VIEW, SCHEMA, DATABASE.
//!
//! Views depend on the relations and columns they read: RESTRICT refuses to drop those, CASCADE drops the views too.

use staffa_catalog::{ErrorKind as CatalogErrorKind, RelationKind, TableName};
use staffa_planner::{Dropped, Error, ErrorKind, Result, dependents, described};

use crate::outcome::Notice;
use crate::session::Session;

pub(crate) async fn drop_tables(
    session: &mut Session,
    names: &[TableName],
    missing: &[String],
    cascade: bool,
) -> Result<()> {
    tell_missing(session, missing);
    drop_dependents(session, &relations(names), cascade).await?;
    for name in names {
        session.transaction().await?.drop_table(name).await?;
    }
    Ok(())
}

pub(crate) async fn drop_views(
    session: &mut Session,
    names: &[TableName],
    missing: &[String],
    cascade: bool,
) -> Result<()> {
    tell_missing(session, missing);
    drop_dependents(session, &relations(names), cascade).await?;
    for name in names {
        session.transaction().await?.drop_view(name).await?;
    }
    Ok(())
}

fn relations(names: &[TableName]) -> Vec<Dropped> {
    names.iter().cloned().map(Dropped::Relation).collect()
}

pub(crate) async fn drop_schemas(
    session: &mut Session,
    schemas: &[(String, String)],
    if_exists: bool,
    cascade: bool,
) -> Result<()> {
    let snapshot = session.transactions_snapshot().await?;
    let (found, missing): (Vec<_>, Vec<_>) = schemas
        .iter()
        .partition(|(database, schema)| snapshot.has_schema(database, schema));
    for (_, schema) in missing {
        if !if_exists {
            let message = format!("schema \"{schema}\" does not exist");
            return Err(Error::new(ErrorKind::UndefinedSchema, message));
        }
        tell_missing(session, &[format!("schema \"{schema}\" does not exist, skipping")]);
    }
    let dropped = found.iter().map(|(database, name)| Dropped::Schema {
        database: database.clone(),
        name: name.clone(),
    });
    drop_dependents(session, &dropped.collect::<Vec<_>>(), cascade).await?;
    for (database, schema) in found {
        // What is left in it are sequences of columns whose tables could not be read.
        session.transaction().await?.drop_schema(database, schema, true).await?;
    }
    Ok(())
}

/// Drops what depends on what is to be dropped, and says so; without `cascade` there must be nothing.
pub(crate) async fn drop_dependents(session: &mut Session, dropped: &[Dropped], cascade: bool) -> Result<()> {
    let snapshot = session.transactions_snapshot().await?;
    let context = session.context(snapshot);
    let found = dependents(&context, dropped).await?;
    let what = match dropped {
        [one] => Some(described(&context, one)),
        _ => None,
    };
    if !cascade && let Some(refusal) = found.refusal(what.as_deref()) {
        return Err(refusal);
    }
    if let Some((message, detail)) = found.notice() {
        session.notices.push(Notice {
            detail,
            ..Notice::remark("00000", message)
        });
    }
    for (name, kind) in &found.relations {
        let transaction = session.transaction().await?;
        match kind {
            RelationKind::Table => transaction.drop_table(name).await?,
            RelationKind::View => transaction.drop_view(name).await?,
            RelationKind::Sequence => transaction.drop_sequence(name).await?,
            // They go with their tables.
            RelationKind::Index => {}
        }
    }
    Ok(())
}

pub(crate) async fn drop_database(session: &mut Session, name: &str, if_exists: bool) -> Result<()> {
    if name == session.database() {
        return Err(Error::new(
            ErrorKind::ObjectInUse,
            "cannot drop the currently open database",
        ));
    }
    // PostgreSQL's DROP DATABASE takes the schemas and tables along.
    match session.transaction().await?.drop_database(name, true).await {
        Err(error) if if_exists && error.kind() == CatalogErrorKind::UndefinedDatabase => {
            tell_missing(session, &[format!("database \"{name}\" does not exist, skipping")]);
            Ok(())
        }
        result => Ok(result?),
    }
}

/// Tells of names that were not found and `IF EXISTS` forgives.
pub(crate) fn tell_missing(session: &mut Session, missing: &[String]) {
    let notices = missing.iter().map(|message| Notice::remark("00000", message.clone()));
    session.notices.extend(notices);
}
