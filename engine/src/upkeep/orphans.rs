//! Objects in a table's directory that nothing leads to: leftovers of other programs, and of servers that never came back.
//!
//! A file is written before anything points at it, so what looks like an orphan may be one of a transaction that is under
//! way. Only what is older than any of them, and older than three days, goes.

use chrono::{DateTime, Duration, Utc};
use staffa_catalog::TableName;
use staffa_planner::Result;

use super::{Origin, Record, delete as delete_object};
use crate::warehouse::Warehouse;

/// Older than any statement of any program that writes without telling the catalog first.
const AGE_MIN: Duration = Duration::days(3);

/// Deletes the orphans of a table whose directory is its own.
pub(super) async fn delete(warehouse: &Warehouse, name: &TableName, origin: Origin) -> Result<()> {
    let catalog = warehouse.catalog();
    let snapshot = catalog.snapshot().await?;
    let Some(table) = snapshot.table(name).await? else {
        return Ok(());
    };
    if !catalog.owns_directory(&table) {
        return Ok(());
    }
    let before = oldest_needed(warehouse).await?;
    // First what is there, then what is needed: what comes in between is too young.
    let old = warehouse.stores().list_older(table.location(), before).await?;
    if old.is_empty() {
        return Ok(());
    }
    let needed = catalog.needed_objects(&table).await?;
    let mut record = Record::start("delete orphans", Some(name), origin);
    let mut deleted = 0;
    let work = async {
        for path in old.iter().filter(|path| !needed.contains(*path)) {
            deleted += u64::from(delete_object(warehouse, path).await?);
        }
        Ok(())
    };
    let result = work.await;
    if deleted == 0 && result.is_ok() {
        return Ok(());
    }
    record.before(deleted, 0);
    record.end(warehouse, result)
}

async fn oldest_needed(warehouse: &Warehouse) -> Result<DateTime<Utc>> {
    let oldest = Utc::now() - AGE_MIN;
    let open = warehouse.catalog().oldest_transaction_ms().await?;
    let open = open.and_then(DateTime::from_timestamp_millis);
    Ok(open.map_or(oldest, |open| oldest.min(open - Duration::hours(1))))
}
