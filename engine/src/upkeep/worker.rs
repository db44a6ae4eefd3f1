//! The background work on tables: round after round, each table that something is to be done about.
//!
//! A table is looked at when it has changed, and when time alone has something to do: snapshots become old, files settle,
//! what failed may succeed.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use chrono::Utc;
use rand::Rng;
use staffa_catalog::{CatalogSnapshot, Expirable, RelationKind, Table, TableName};
use staffa_planner::{Result, Room};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::compact::{self, Compacted, How};
use super::{Origin, Reading, analyze, expire, orphans};
use crate::config::Maintenance;
use crate::cpu::CpuRuntime;
use crate::warehouse::{Inner, Warehouse};

/// Rounds are at least so long apart.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// A commit that does nothing but forget snapshots is worth it for so many of them …
const EXPIRED_MIN: usize = 50;
/// … or for one that could have gone so long ago.
const OVERDUE_MS: i64 = 24 * 3600 * 1000;
/// What failed is tried again after so long, also when the table is the same.
const RETRY_MS: i64 = 10 * 60 * 1000;

/// So often orphans are looked for.
const ORPHANS_PERIOD_MS: i64 = 24 * 3600 * 1000;
/// Within so long the first time: not all tables at once, and not by all servers that were started together.
const ORPHANS_FIRST_MS: i64 = 3600 * 1000;

pub(super) struct Worker {
    warehouse: Weak<Inner>,
    settings: Maintenance,
    cpu: CpuRuntime,
    wake: Arc<Notify>,
    /// What is known of each table that was looked at.
    seen: HashMap<TableName, Seen>,
    /// When each table's directory is listed next, in milliseconds since 1970 UTC.
    orphans_ms: HashMap<TableName, i64>,
}

/// A table as it was when it was looked at last.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// Where its metadata was; `None`: it has changed since, or others were always first.
    location: Option<String>,
    /// When to look again, if it is the same still; in milliseconds since 1970 UTC.
    again_ms: Option<i64>,
    /// How often in turn compaction gave way to others.
    give_ups: u32,
}

impl Worker {
    pub(super) fn new(
        warehouse: Weak<Inner>,
        settings: Maintenance,
        wake: Arc<Notify>,
        room: Arc<dyn Room>,
    ) -> Result<Self> {
        Ok(Self {
            warehouse,
            cpu: CpuRuntime::start("staffa-upkeep", settings.threads.max(1), room)?,
            settings,
            wake,
            seen: HashMap::new(),
            orphans_ms: HashMap::new(),
        })
    }

    pub(super) async fn run(mut self) {
        loop {
            let begun = Instant::now();
            let _ = tokio::time::timeout(self.settings.interval, self.wake.notified()).await;
            tokio::time::sleep_until(begun + PAUSE_MIN).await;
            let Some(inner) = self.warehouse.upgrade() else { return };
            if let Err(error) = self.round(&Warehouse::from(inner)).await {
                tracing::warn!(%error, "could not look after the tables; will try again");
            }
        }
    }

    async fn round(&mut self, warehouse: &Warehouse) -> Result<()> {
        let snapshot = warehouse.catalog().snapshot().await?;
        let mut old = std::mem::take(&mut self.seen);
        let mut orphans_ms = std::mem::take(&mut self.orphans_ms);
        for name in tables(warehouse, &snapshot) {
            let next_ms = self.look_for_orphans(warehouse, &name, orphans_ms.remove(&name)).await;
            self.orphans_ms.insert(name.clone(), next_ms);
            let seen = old.remove(&name).unwrap_or_default();
            let Some(location) = snapshot.metadata_location(&name) else {
                continue;
            };
            let is_same = seen.location.as_deref() == Some(location);
            let seen = match is_same && seen.again_ms.is_none_or(|again| Utc::now().timestamp_millis() < again) {
                true => seen,
                false => self.look_after(warehouse, &name, location, seen.give_ups).await,
            };
            self.seen.insert(name, seen);
        }
        Ok(())
    }

    /// Does what there is to do about a table. One that cannot be worked on must not keep the others from it: what happened
    /// is on record.
    async fn look_after(&self, warehouse: &Warehouse, name: &TableName, location: &str, give_ups: u32) -> Seen {
        let how = How::in_background(&self.settings, &self.cpu, give_ups);
        let compacted = compact::compact(warehouse, name, &how, Origin::Background).await;
        let (max, origin) = (self.settings.snapshots_max, Origin::Background);
        let expired = expire(warehouse, name, max, is_worth_it, origin).await;
        let reading = Reading::in_background(&self.settings, &self.cpu);
        let analyzed = analyze(warehouse, name, &reading, Origin::Background).await;
        let gave_up = matches!(compacted, Ok(Compacted { gave_up: true, .. }));
        let mut seen = Seen {
            location: None,
            again_ms: None,
            give_ups: if gave_up { give_ups.saturating_add(1) } else { 0 },
        };
        let now = self.next_look(warehouse, name).await;
        let has_failed = compacted.is_err() || expired.is_err() || analyzed.is_err() || now.is_err();
        let is_complete = compacted.is_ok_and(|done| done.is_complete) && expired.unwrap_or_default();
        match now {
            // What others, or this, did meanwhile is looked at in the next round.
            Ok(Some((now, again_ms))) if is_complete && now == location => {
                seen.location = Some(now);
                seen.again_ms = again_ms;
            }
            _ if has_failed => {
                seen.location = Some(location.to_owned());
                seen.again_ms = Some(Utc::now().timestamp_millis() + RETRY_MS);
            }
            _ => {}
        }
        seen
    }

    /// Deletes the orphans of a table if it is time to; when it will be.
    async fn look_for_orphans(&self, warehouse: &Warehouse, name: &TableName, due_ms: Option<i64>) -> i64 {
        let now_ms = Utc::now().timestamp_millis();
        match due_ms {
            None => now_ms + rand::rng().random_range(0..ORPHANS_FIRST_MS),
            Some(due_ms) if now_ms < due_ms => due_ms,
            Some(_) => {
                // What fails is on record, and tried again with the others.
                let _ = orphans::delete(warehouse, name, Origin::Background).await;
                now_ms + ORPHANS_PERIOD_MS
            }
        }
    }

    /// Where the table's metadata is now, and when time alone gives something to do.
    async fn next_look(&self, warehouse: &Warehouse, name: &TableName) -> Result<Option<(String, Option<i64>)>> {
        let snapshot = warehouse.catalog().snapshot().await?;
        let Some(table) = snapshot.table(name).await? else {
            return Ok(None);
        };
        let now_ms = Utc::now().timestamp_millis();
        let due = table.expirable(now_ms, self.settings.snapshots_max)?.next_ms;
        let overdue = table.expirable(now_ms - OVERDUE_MS, usize::MAX)?.next_ms;
        let overdue = overdue.map(|ms| ms.saturating_add(OVERDUE_MS));
        Ok(Some((
            table.metadata_location().to_owned(),
            due.into_iter().chain(overdue).min(),
        )))
    }
}

/// The tables of this server's concern: all that have names for everybody, and its own sessions' temporary ones.
fn tables(warehouse: &Warehouse, snapshot: &CatalogSnapshot) -> Vec<TableName> {
    let mut tables = Vec::new();
    for database in snapshot.databases() {
        let temporary = warehouse.catalog().own_temporary_schemas(snapshot, &database);
        for schema in snapshot.schemas(&database).into_iter().chain(temporary) {
            let relations = snapshot.relations(&database, &schema).into_iter();
            let names = relations.filter(|(_, kind)| *kind == RelationKind::Table);
            tables.extend(names.map(|(name, _)| TableName::new(&database, &schema, name)));
        }
    }
    tables
}

/// Whether a commit that only forgets snapshots is worth it: there are many, or one could have gone a day ago.
fn is_worth_it(table: &Table, old: &Expirable) -> Result<bool> {
    let a_day_ago = Utc::now().timestamp_millis() - OVERDUE_MS;
    let overdue = table.expirable(a_day_ago, usize::MAX)?;
    Ok(is_enough(old, &overdue))
}

fn is_enough(old: &Expirable, overdue: &Expirable) -> bool {
    old.snapshots.len() >= EXPIRED_MIN || !old.refs.is_empty() || !overdue.snapshots.is_empty()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::Config;
    use crate::memory::meter::Meter;
    use crate::session::{Session, SessionOptions};

    /// Its rounds are made by hand.
    fn worker() -> Worker {
        let room = Arc::new(Meter::new(u64::MAX));
        Worker::new(Weak::new(), Maintenance::default(), Arc::default(), room).unwrap()
    }

    async fn run(session: &mut Session, statements: &[&str]) {
        for sql in statements {
            session
                .execute(sql, &[])
                .await
                .unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
    }

    /// How many snapshots each table has, by its name.
    async fn snapshots(warehouse: &Warehouse) -> Vec<(String, usize)> {
        let snapshot = warehouse.catalog().snapshot().await.unwrap();
        let mut counts = Vec::new();
        for name in tables(warehouse, &snapshot) {
            let table = snapshot.table(&name).await.unwrap().unwrap();
            counts.push((name.name, table.snapshots().unwrap().len()));
        }
        counts.sort();
        counts
    }

    fn counts(each: [(&str, usize); 2]) -> Vec<(String, usize)> {
        each.map(|(name, count)| (name.to_owned(), count)).to_vec()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn time_alone_has_snapshots_forgotten() {
        let folder = tempfile::TempDir::new().unwrap();
        let warehouse = Warehouse::open(Config::new(folder.path())).await.unwrap();
        let mut session = warehouse.session(SessionOptions::default()).await.unwrap();
        run(
            &mut session,
            &["create table t (id int)", "create temp table own (id int)"],
        )
        .await;
        for table in ["t", "own"] {
            let insert = format!("insert into {table} values (1)");
            let kept = format!(
                "alter table {table} set (\"history.expire.max-snapshot-age-ms\" = 4000, \
                 \"history.expire.min-snapshots-to-keep\" = 1)"
            );
            run(&mut session, &[&kept, &insert]).await;
            for _ in 0..EXPIRED_MIN / 2 {
                run(&mut session, &[&format!("truncate {table}"), &insert]).await;
            }
        }
        let mut worker = worker();
        worker.round(&warehouse).await.unwrap();
        // Nobody changes the tables from here on.
        tokio::time::sleep(Duration::from_millis(4500)).await;
        for _ in 0..2 {
            worker.round(&warehouse).await.unwrap();
        }
        assert_eq!(snapshots(&warehouse).await, counts([("own", 1), ("t", 1)]));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn orphans_are_looked_for_once_a_day() {
        let folder = tempfile::TempDir::new().unwrap();
        let warehouse = Warehouse::open(Config::new(folder.path())).await.unwrap();
        let mut session = warehouse.session(SessionOptions::default()).await.unwrap();
        run(&mut session, &["create table t (id int)"]).await;
        let name = TableName::new("staffa", "public", "t");
        let table = warehouse
            .catalog()
            .snapshot()
            .await
            .unwrap()
            .table(&name)
            .await
            .unwrap();
        let directory = table.unwrap().location().to_owned();
        let stray = std::path::Path::new(directory.strip_prefix("file://").unwrap()).join("stray.parquet");
        let leave = || {
            let file = std::fs::File::create(&stray).unwrap();
            let then = std::time::SystemTime::now() - Duration::from_secs(5 * 86_400);
            file.set_modified(then).unwrap();
        };
        let mut worker = worker();
        leave();
        worker.round(&warehouse).await.unwrap();
        let first = worker.orphans_ms[&name];
        assert!(stray.exists() && first <= Utc::now().timestamp_millis() + ORPHANS_FIRST_MS);
        *worker.orphans_ms.get_mut(&name).unwrap() = 0;
        worker.round(&warehouse).await.unwrap();
        assert!(!stray.exists());
        leave();
        worker.round(&warehouse).await.unwrap();
        assert!(stray.exists());
        assert!(worker.orphans_ms[&name] > first + ORPHANS_PERIOD_MS - 2 * ORPHANS_FIRST_MS);
    }

    #[test]
    fn one_snapshot_is_enough_after_a_day() {
        let some = |ids: std::ops::Range<i64>| Expirable {
            snapshots: ids.collect(),
            ..Expirable::default()
        };
        assert!(!is_enough(&some(0..0), &some(0..0)));
        assert!(!is_enough(&some(0..49), &some(0..0)));
        assert!(is_enough(&some(0..50), &some(0..0)));
        assert!(is_enough(&some(0..2), &some(0..1)));
        let tag = Expirable {
            refs: BTreeSet::from(["tag".to_owned()]),
            ..Expirable::default()
        };
        assert!(is_enough(&tag, &some(0..0)));
    }
}
