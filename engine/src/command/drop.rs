//! DROP TABLE, VIEW, SCHEMA, DATABASE.
//!
//! Nothing depends on a table or view in the catalog: a view is text, resolved when it is read, as in Redshift's late
//! binding views. So RESTRICT and CASCADE drop the same tables and views.

use staffa_catalog::{ErrorKind as CatalogErrorKind, TableName};
use staffa_planner::{Error, ErrorKind, Result};

use crate::outcome::Notice;
use crate::session::Session;

pub(crate) async fn drop_tables(session: &mut Session, names: &[TableName], missing: &[String]) -> Result<()> {
    tell_missing(session, "table", missing);
    for name in names {
        session.transaction().await?.drop_table(name).await?;
    }
    Ok(())
}

pub(crate) async fn drop_views(session: &mut Session, names: &[TableName], missing: &[String]) -> Result<()> {
    tell_missing(session, "view", missing);
    for name in names {
        session.transaction().await?.drop_view(name).await?;
    }
    Ok(())
}

pub(crate) async fn drop_schemas(
    session: &mut Session,
    schemas: &[(String, String)],
    if_exists: bool,
    cascade: bool,
) -> Result<()> {
    for (database, schema) in schemas {
        match session
            .transaction()
            .await?
            .drop_schema(database, schema, cascade)
            .await
        {
            Err(error) if if_exists && error.kind() == CatalogErrorKind::UndefinedSchema => {
                tell_missing(session, "schema", std::slice::from_ref(schema));
            }
            result => result?,
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
            tell_missing(session, "database", &[name.to_owned()]);
            Ok(())
        }
        result => Ok(result?),
    }
}

pub(crate) fn tell_missing(session: &mut Session, noun: &str, missing: &[String]) {
    let notices = missing
        .iter()
        .map(|name| Notice::remark("00000", format!("{noun} \"{name}\" does not exist, skipping")));
    session.notices.extend(notices);
}
