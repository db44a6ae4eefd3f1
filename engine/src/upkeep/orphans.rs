//! Objects in a table's directory that nothing leads to: leftovers of other programs, and of servers that never came back.
//!
//! A file is written before anything points at it, so what looks like an orphan may be one of a transaction that is under
//! way. Only what is older than any of them, and older than three days, goes.

use chrono::{DateTime, Duration, Utc};
use staffa_catalog::TableName;
use staffa_planner::Result;

use super::{DELETED_AT_ONCE, FirstError, Origin, Record, delete_all};
use crate::warehouse::Warehouse;

/// Older than any statement of any program that writes without telling the catalog first.
pub(crate) const AGE_MIN: Duration = Duration::days(3);

/// Deletes the orphans of a table whose directory is its own.
pub(super) async fn delete(warehouse: &Warehouse, name: &TableName, origin: Origin) -> Result<()> {
    delete_while(warehouse, name, origin, async {}).await
}

/// The same; others do something while the files are looked at.
async fn delete_while(
    warehouse: &Warehouse,
    name: &TableName,
    origin: Origin,
    others: impl Future<Output = ()>,
) -> Result<()> {
    let catalog = warehouse.catalog();
    // The order is what keeps the files of a transaction that commits now: it is still open here, and its files too young;
    // or the table is looked at after its commit.
    let before = oldest_needed(warehouse).await?;
    let Some(seen) = catalog.snapshot().await?.table(name).await? else {
        return Ok(());
    };
    if !catalog.owns_directory(&seen) {
        return Ok(());
    }
    others.await;
    let old = warehouse.stores().list_older(seen.location(), before).await?;
    if old.is_empty() {
        return Ok(());
    }
    let now = catalog.snapshot().await?.table(name).await?;
    let Some(table) = now.filter(|table| table.uuid() == seen.uuid()) else {
        return Ok(());
    };
    let needed = catalog.needed_objects(&table).await?;
    let record = Record::start("delete orphans", Some(name), origin);
    let mut deleted = 0;
    let work = async {
        let mut failed = FirstError::default();
        let orphans: Vec<String> = old.into_iter().filter(|path| !needed.contains(path)).collect();
        for part in orphans.chunks(DELETED_AT_ONCE) {
            delete_all(warehouse, part, &mut deleted, &mut failed).await;
        }
        failed.into_result()
    };
    let result = work.await;
    record.end_deletion(warehouse, deleted, result)
}

async fn oldest_needed(warehouse: &Warehouse) -> Result<DateTime<Utc>> {
    let oldest = Utc::now() - AGE_MIN;
    let open = warehouse.catalog().oldest_transaction_ms().await?;
    let open = open.and_then(DateTime::from_timestamp_millis);
    Ok(open.map_or(oldest, |open| oldest.min(open - Duration::hours(1))))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration as StdDuration, SystemTime};

    use super::*;
    use crate::config::Config;
    use crate::session::SessionOptions;

    /// Makes all data files look as if they had been written five days ago.
    fn age(directory: &Path) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                age(&path);
            } else if path.extension().is_some_and(|extension| extension == "parquet") {
                let file = std::fs::File::options().write(true).open(&path).unwrap();
                let then = SystemTime::now() - StdDuration::from_secs(5 * 86_400);
                file.set_modified(then).unwrap();
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_committed_meanwhile_is_no_orphan() {
        let folder = tempfile::TempDir::new().unwrap();
        let warehouse = Warehouse::open(Config::new(folder.path())).await.unwrap();
        let mut session = warehouse.session(SessionOptions::default()).await.unwrap();
        for sql in ["create table t (id int)", "begin", "insert into t values (1)"] {
            session.execute(sql, &[]).await.unwrap();
        }
        age(folder.path());
        let name = TableName::new("staffa", "public", "t");
        let commit = async {
            session.execute("commit", &[]).await.unwrap();
        };
        delete_while(&warehouse, &name, Origin::Statement, commit)
            .await
            .unwrap();
        let rows = session.execute("select * from t", &[]).await.unwrap();
        assert_eq!(rows.to_string(), "SELECT 1");
    }
}
