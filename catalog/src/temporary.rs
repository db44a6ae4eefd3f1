//! Schemas of temporary tables: one for each session that has some, with the server's id in its name.
//!
//! They are schemas like others, so that everything works on temporary tables that works on tables. No list of schemas
//! shows them; the session that knows its name finds its own. A session drops its schema at its end; those of a server that
//! is gone are dropped by recovery.

use std::collections::HashSet;
use std::sync::Arc;

use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::shared::Shared;
use crate::snapshot::CatalogSnapshot;
use crate::txn::Transaction;

const PREFIX: &str = "pg_temp_";
/// How often dropping a schema is tried while others commit.
const ATTEMPTS_MAX: usize = 5;

/// Whether a schema holds temporary tables.
pub fn is_temporary_schema(schema: &str) -> bool {
    schema.starts_with(PREFIX)
}

/// The schema of a session; `number` is the session's in its server.
pub(crate) fn schema_of(server: Uuid, number: u64) -> String {
    format!("{PREFIX}{}_{number}", server.simple())
}

fn server_of(schema: &str) -> Option<Uuid> {
    let (server, _) = schema.strip_prefix(PREFIX)?.split_once('_')?;
    Uuid::try_parse(server).ok()
}

/// The schemas of a server's sessions.
pub(crate) fn schemas_of(snapshot: &CatalogSnapshot, database: &str, server: Uuid) -> Vec<String> {
    let mut schemas = snapshot.temporary_schemas(database);
    schemas.retain(|schema| server_of(schema) == Some(server));
    schemas
}

/// Drops a session's schema with all that is in it.
pub(crate) async fn drop_schema(shared: &Arc<Shared>, database: &str, schema: &str) -> Result<()> {
    for _ in 0..ATTEMPTS_MAX {
        let head = shared.head().await?;
        if !head.has_schema(database, schema) {
            return Ok(());
        }
        let mut transaction = Transaction::new(shared.clone(), head);
        transaction.drop_schema(database, schema, true).await?;
        match transaction.commit().await {
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            result => return result.map(|_| ()),
        }
    }
    Err(Error::conflict(
        "The schema of temporary tables was changed all the time.",
    ))
}

/// Drops what sessions of servers that are gone have left.
pub(crate) async fn recover(shared: &Arc<Shared>) -> Result<()> {
    let head = shared.head().await?;
    let all = head.databases().into_iter();
    let left: Vec<(String, String)> = all
        .flat_map(|database| {
            let schemas = head.temporary_schemas(&database);
            schemas.into_iter().map(move |schema| (database.clone(), schema))
        })
        .collect();
    if left.is_empty() {
        return Ok(());
    }
    let living: HashSet<Uuid> = shared.database.servers().await?.into_iter().collect();
    for (database, schema) in left {
        if server_of(&schema).is_some_and(|server| !living.contains(&server)) {
            drop_schema(shared, &database, &schema).await?;
            tracing::info!(schema, "dropped the temporary tables of a session whose server is gone");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_tells_its_server() {
        let server = Uuid::new_v4();
        let schema = schema_of(server, 17);
        assert!(is_temporary_schema(&schema) && schema.len() < 63);
        assert_eq!(server_of(&schema), Some(server));
        assert_eq!(server_of("public"), None);
        assert_eq!(server_of("pg_temp_x"), None);
    }
}
