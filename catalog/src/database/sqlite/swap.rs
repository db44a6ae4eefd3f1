//! The steps of a swap inside its SQL transaction. Each checks what must still be true.

use sqlx::SqliteConnection;

use super::failed;
use crate::database::{PointerChange, Swap};
use crate::error::{Error, Result};
use crate::name::TableName;
use crate::snapshot::RelationKind;

pub(super) async fn create_namespaces(txn: &mut SqliteConnection, swap: &Swap) -> Result<()> {
    for database in &swap.create_databases {
        if database_exists(txn, database).await? {
            return Err(Error::duplicate_database(database));
        }
        sqlx::query("insert into staffa_database(name) values (?1)")
            .bind(database)
            .execute(&mut *txn)
            .await
            .map_err(failed)?;
    }
    for (database, schema) in &swap.create_schemas {
        if !database_exists(txn, database).await? {
            return Err(Error::conflict(format!(
                "Database \"{database}\" was dropped by another transaction."
            )));
        }
        if schema_exists(txn, database, schema).await? {
            return Err(Error::duplicate_schema(schema));
        }
        sqlx::query(
            "insert into iceberg_namespace_properties(catalog_name, namespace, property_key, property_value)
             values (?1, ?2, 'exists', 'true')",
        )
        .bind(database)
        .bind(schema)
        .execute(&mut *txn)
        .await
        .map_err(failed)?;
    }
    Ok(())
}

/// `false` when a pointer is not what it must be.
pub(super) async fn move_pointers(txn: &mut SqliteConnection, changes: &[PointerChange]) -> Result<bool> {
    for PointerChange { name, kind, from, to } in changes {
        let affected = match (from, to) {
            (Some(from), Some(to)) => sqlx::query(
                "update iceberg_tables set metadata_location=?5, previous_metadata_location=?4
                 where catalog_name=?1 and table_namespace=?2 and table_name=?3 and metadata_location=?4",
            )
            .bind(&name.database)
            .bind(&name.schema)
            .bind(&name.name)
            .bind(from)
            .bind(to)
            .execute(&mut *txn)
            .await
            .map_err(failed)?
            .rows_affected(),
            (Some(from), None) => sqlx::query(
                "delete from iceberg_tables
                 where catalog_name=?1 and table_namespace=?2 and table_name=?3 and metadata_location=?4",
            )
            .bind(&name.database)
            .bind(&name.schema)
            .bind(&name.name)
            .bind(from)
            .execute(&mut *txn)
            .await
            .map_err(failed)?
            .rows_affected(),
            (None, Some(to)) => {
                if !schema_exists(txn, &name.database, &name.schema).await? {
                    return Err(Error::conflict(format!(
                        "Schema \"{}\" was dropped by another transaction.",
                        name.schema
                    )));
                }
                if relation_exists(txn, name).await? {
                    return Err(Error::duplicate_relation(&name.name));
                }
                let kind = if *kind == RelationKind::View { "VIEW" } else { "TABLE" };
                sqlx::query(
                    "insert into iceberg_tables(catalog_name, table_namespace, table_name, metadata_location, iceberg_type)
                     values (?1, ?2, ?3, ?4, ?5)",
                )
                .bind(&name.database)
                .bind(&name.schema)
                .bind(&name.name)
                .bind(to)
                .bind(kind)
                .execute(&mut *txn)
                .await
                .map_err(failed)?
                .rows_affected()
            }
            (None, None) => 1,
        };
        if affected != 1 {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) async fn drop_namespaces(txn: &mut SqliteConnection, swap: &Swap) -> Result<()> {
    for (database, schema) in &swap.drop_schemas {
        if exists(
            txn,
            "select 1 from iceberg_tables where catalog_name=?1 and table_namespace=?2 limit 1",
            database,
            schema,
        )
        .await?
        {
            return Err(Error::conflict(format!(
                "Another transaction created objects in schema \"{schema}\"."
            )));
        }
        let dropped = sqlx::query("delete from iceberg_namespace_properties where catalog_name=?1 and namespace=?2")
            .bind(database)
            .bind(schema)
            .execute(&mut *txn)
            .await
            .map_err(failed)?;
        tracing::debug!(database, schema, rows = dropped.rows_affected(), "schema dropped");
    }
    for database in &swap.drop_databases {
        let used = exists(
            txn,
            "select 1 from iceberg_tables where catalog_name=?1 and ''=?2 limit 1",
            database,
            "",
        )
        .await?
            || exists(
                txn,
                "select 1 from iceberg_namespace_properties where catalog_name=?1 and ''=?2 limit 1",
                database,
                "",
            )
            .await?;
        if used {
            return Err(Error::conflict(format!(
                "Another transaction created objects in database \"{database}\"."
            )));
        }
        sqlx::query("delete from staffa_database where name=?1")
            .bind(database)
            .execute(&mut *txn)
            .await
            .map_err(failed)?;
    }
    Ok(())
}

async fn database_exists(txn: &mut SqliteConnection, database: &str) -> Result<bool> {
    let sql = "select 1 from staffa_database where name=?1 and ''=?2
               union all select 1 from iceberg_namespace_properties where catalog_name=?1 limit 1";
    exists(txn, sql, database, "").await
}

async fn schema_exists(txn: &mut SqliteConnection, database: &str, schema: &str) -> Result<bool> {
    let sql = "select 1 from iceberg_namespace_properties where catalog_name=?1 and namespace=?2
               union all select 1 from iceberg_tables where catalog_name=?1 and table_namespace=?2 limit 1";
    exists(txn, sql, database, schema).await
}

async fn relation_exists(txn: &mut SqliteConnection, name: &TableName) -> Result<bool> {
    let found: Option<i64> = sqlx::query_scalar(
        "select 1 from iceberg_tables where catalog_name=?1 and table_namespace=?2 and table_name=?3",
    )
    .bind(&name.database)
    .bind(&name.schema)
    .bind(&name.name)
    .fetch_optional(txn)
    .await
    .map_err(failed)?;
    Ok(found.is_some())
}

async fn exists(txn: &mut SqliteConnection, sql: &'static str, first: &str, second: &str) -> Result<bool> {
    let found: Option<i64> = sqlx::query_scalar(sql)
        .bind(first)
        .bind(second)
        .fetch_optional(txn)
        .await
        .map_err(failed)?;
    Ok(found.is_some())
}
