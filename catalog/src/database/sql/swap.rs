//! The steps of a swap inside its SQL transaction. Each checks what must still be true.

use chrono::Utc;

use super::garbage::Listing;
use super::statements::Argument;
use super::{Connection, access, counters, given_up, objects};
use crate::commit::places::are_known;
use crate::database::{PointerChange, Swap};
use crate::error::{Error, Result};
use crate::garbage::UNDROP_MARGIN_MS;
use crate::name::TableName;
use crate::snapshot::RelationKind;

/// Everything but the COMMIT; the swap's number. `None`: a pointer is not what it must be.
pub(super) async fn run(txn: &mut dyn Connection, swap: &Swap) -> Result<Option<i64>> {
    let ids: Vec<String> = swap.txn_ids.iter().map(ToString::to_string).collect();
    let now_ms = Utc::now().timestamp_millis();
    let mut taken = 0;
    for some in ids.chunks(TXN_IDS) {
        // With the time: the outcome stays for so long from now on, however old the transaction is.
        let arguments: Vec<Argument<'_>> = padded(some).into_iter().chain([now_ms.into()]).collect();
        taken += txn
            .execute(
                "update staffa_txn set state=1, heartbeat_ms=$17 where state=0
                 and txn_id in ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
                &arguments,
            )
            .await?;
    }
    if taken != ids.len() as u64 {
        return Err(given_up());
    }
    txn.begin_swap(changes_names(swap)).await?;
    create_namespaces(txn, swap).await?;
    set_properties(txn, swap).await?;
    if !are_places_known(txn, swap).await? {
        return Ok(None);
    }
    if !move_pointers(txn, &swap.pointers).await? {
        return Ok(None);
    }
    drop_namespaces(txn, swap).await?;
    objects::move_schemas(txn, &swap.renamed_schemas, &swap.drop_schemas).await?;
    for ended in &swap.ended {
        counters::end(txn, ended).await?;
    }
    for path in &swap.revived {
        let gone = txn
            .execute(
                "delete from staffa_gc where path=$1 and not_before_ms>$2 and tried_ms is null",
                &[path.as_str().into(), (now_ms + UNDROP_MARGIN_MS).into()],
            )
            .await?;
        if gone != 1 {
            return Err(Error::conflict(
                "The dropped table was brought back or deleted by somebody else.",
            ));
        }
    }
    for path in &swap.claimed {
        claim(txn, path).await?;
    }
    for share in &swap.shares {
        txn.execute(
            "insert into staffa_share(table_location, owner_location) values ($1, $2) on conflict do nothing",
            &[
                share.table_location.as_str().into(),
                share.owner_location.as_str().into(),
            ],
        )
        .await?;
    }
    for some in ids.chunks(TXN_IDS) {
        txn.execute(
            "delete from staffa_txn_table
             where txn_id in ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
            &padded(some),
        )
        .await?;
    }
    let garbage = Listing::begin(txn, swap).await?;
    // Other commits wait from here to the end, where they are numbered one after the other: there is little left to do.
    let csn = txn.take_number().await?;
    if !access::change(txn, &swap.access, csn).await? {
        return Ok(None);
    }
    garbage.end(txn, swap, csn).await?;
    for some in ids.chunks(TXN_IDS) {
        let arguments: Vec<Argument<'_>> = padded(some).into_iter().chain([csn.into()]).collect();
        txn.execute(
            "update staffa_txn set commit_csn=$17
             where txn_id in ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
            &arguments,
        )
        .await?;
    }
    Ok(Some(csn))
}

/// Whether no table or view has come that the attempt did not see. Names are made by one swap at a time.
async fn are_places_known(txn: &mut dyn Connection, swap: &Swap) -> Result<bool> {
    let Some(known) = &swap.known_places else {
        return Ok(true);
    };
    let sql = "select metadata_location from iceberg_tables
               where metadata_location is not null and coalesce(iceberg_type, 'TABLE')not in ('SEQ', 'INDEX')";
    let rows = txn.rows(sql, &[]).await?;
    let locations = rows.iter().map(|row| row.text(0)).collect::<Result<Vec<String>>>()?;
    Ok(are_known(known, &locations))
}

/// Takes a directory off the garbage list, unless its deletion has begun.
async fn claim(txn: &mut dyn Connection, path: &str) -> Result<()> {
    txn.execute(
        "delete from staffa_gc where path=$1 and tried_ms is null",
        &[path.into()],
    )
    .await?;
    match exists(txn, "select 1 from staffa_gc where path=$1", &[path.into()]).await? {
        true => Err(Error::conflict("The files of the table are being deleted.")),
        false => Ok(()),
    }
}

/// How many transactions one statement names: each statement of a swap is a round trip.
const TXN_IDS: usize = 16;

/// As many ids as the statements have parameters; naming one twice does no harm.
fn padded(ids: &[String]) -> Vec<Argument<'_>> {
    let last = ids.last().map_or("", String::as_str);
    let ids = ids.iter().map(String::as_str).chain(std::iter::repeat(last));
    ids.take(TXN_IDS).map(Argument::from).collect()
}

/// Whether names are made or dropped, and pointers not just moved.
fn changes_names(swap: &Swap) -> bool {
    !swap.create_databases.is_empty()
        || !swap.drop_databases.is_empty()
        || !swap.create_schemas.is_empty()
        || !swap.drop_schemas.is_empty()
        || !swap.schema_properties.is_empty()
        || swap
            .pointers
            .iter()
            .any(|change| change.from.is_none() || change.to.is_none())
}

async fn create_namespaces(txn: &mut dyn Connection, swap: &Swap) -> Result<()> {
    for database in &swap.create_databases {
        if database_exists(txn, database).await? {
            return Err(Error::duplicate_database(database));
        }
        txn.execute(
            "insert into staffa_database(name) values ($1)",
            &[database.as_str().into()],
        )
        .await?;
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
        txn.execute(
            "insert into iceberg_namespace_properties(catalog_name, namespace, property_key, property_value)
             values ($1, $2, 'exists', 'true')",
            &[database.as_str().into(), schema.as_str().into()],
        )
        .await?;
    }
    Ok(())
}

async fn set_properties(txn: &mut dyn Connection, swap: &Swap) -> Result<()> {
    for ((database, schema), properties) in &swap.schema_properties {
        if !schema_exists(txn, database, schema).await? {
            return Err(Error::conflict(format!(
                "Schema \"{schema}\" was dropped by another transaction."
            )));
        }
        for (key, value) in properties {
            let place: [Argument<'_>; 3] = [database.as_str().into(), schema.as_str().into(), key.as_str().into()];
            txn.execute(
                "delete from iceberg_namespace_properties where catalog_name=$1 and namespace=$2 and property_key=$3",
                &place,
            )
            .await?;
            let Some(value) = value else { continue };
            let [database, schema, key] = place;
            txn.execute(
                "insert into iceberg_namespace_properties(catalog_name, namespace, property_key, property_value)
                 values ($1, $2, $3, $4)",
                &[database, schema, key, value.as_str().into()],
            )
            .await?;
        }
    }
    Ok(())
}

/// `false` when a pointer is not what it must be.
async fn move_pointers(txn: &mut dyn Connection, changes: &[PointerChange]) -> Result<bool> {
    for change in changes {
        if !move_pointer(txn, change).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn move_pointer(txn: &mut dyn Connection, change: &PointerChange) -> Result<bool> {
    let PointerChange { name, kind, from, to } = change;
    let [database, schema, table] = [&name.database, &name.schema, &name.name].map(|part| part.as_str().into());
    let affected = match (from, to) {
        (Some(from), Some(to)) if from == to => {
            let kept = txn.keep_pointer();
            let there = exists(txn, kept, &[database, schema, table, from.as_str().into()]).await?;
            u64::from(there)
        }
        (Some(from), Some(to)) => {
            txn.execute(
                "update iceberg_tables set metadata_location=$5, previous_metadata_location=$4
                 where catalog_name=$1 and table_namespace=$2 and table_name=$3 and metadata_location=$4",
                &[database, schema, table, from.as_str().into(), to.as_str().into()],
            )
            .await?
        }
        (Some(from), None) => {
            txn.execute(
                "delete from iceberg_tables
                 where catalog_name=$1 and table_namespace=$2 and table_name=$3 and metadata_location=$4",
                &[database, schema, table, from.as_str().into()],
            )
            .await?
        }
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
            let kind = match kind {
                RelationKind::View => "VIEW",
                RelationKind::Sequence => "SEQ",
                RelationKind::Index => "INDEX",
                RelationKind::Table => "TABLE",
            };
            txn.execute(
                "insert into iceberg_tables(catalog_name, table_namespace, table_name, metadata_location, iceberg_type)
                 values ($1, $2, $3, $4, $5)",
                &[database, schema, table, to.as_str().into(), kind.into()],
            )
            .await?
        }
        (None, None) => 1,
    };
    Ok(affected == 1)
}

async fn drop_namespaces(txn: &mut dyn Connection, swap: &Swap) -> Result<()> {
    for (database, schema) in &swap.drop_schemas {
        let key: [Argument<'_>; 2] = [database.as_str().into(), schema.as_str().into()];
        let used = "select 1 from iceberg_tables where catalog_name=$1 and table_namespace=$2 limit 1";
        if exists(txn, used, &key).await? {
            return Err(Error::conflict(format!(
                "Another transaction created objects in schema \"{schema}\"."
            )));
        }
        let dropped = txn
            .execute(
                "delete from iceberg_namespace_properties where catalog_name=$1 and namespace=$2",
                &key,
            )
            .await?;
        tracing::debug!(database, schema, rows = dropped, "schema dropped");
    }
    for database in &swap.drop_databases {
        let key: [Argument<'_>; 1] = [database.as_str().into()];
        let used = "select 1 from iceberg_tables where catalog_name=$1
                    union all select 1 from iceberg_namespace_properties where catalog_name=$1 limit 1";
        if exists(txn, used, &key).await? {
            return Err(Error::conflict(format!(
                "Another transaction created objects in database \"{database}\"."
            )));
        }
        txn.execute("delete from staffa_database where name=$1", &key).await?;
    }
    Ok(())
}

async fn database_exists(txn: &mut dyn Connection, database: &str) -> Result<bool> {
    let sql = "select 1 from staffa_database where name=$1
               union all select 1 from iceberg_namespace_properties where catalog_name=$1 limit 1";
    exists(txn, sql, &[database.into()]).await
}

async fn schema_exists(txn: &mut dyn Connection, database: &str, schema: &str) -> Result<bool> {
    let sql = "select 1 from iceberg_namespace_properties where catalog_name=$1 and namespace=$2
               union all select 1 from iceberg_tables where catalog_name=$1 and table_namespace=$2 limit 1";
    exists(txn, sql, &[database.into(), schema.into()]).await
}

async fn relation_exists(txn: &mut dyn Connection, name: &TableName) -> Result<bool> {
    let sql = "select 1 from iceberg_tables where catalog_name=$1 and table_namespace=$2 and table_name=$3";
    let key = [&name.database, &name.schema, &name.name].map(|part| part.as_str().into());
    exists(txn, sql, &key).await
}

async fn exists(txn: &mut dyn Connection, sql: &'static str, arguments: &[Argument<'_>]) -> Result<bool> {
    Ok(!txn.rows(sql, arguments).await?.is_empty())
}
