//! Upkeep of the tables: small files become larger ones, old snapshots go, and objects that nothing needs any more are
//! deleted. By hand as VACUUM and OPTIMIZE, and in the background.
//!
//! Each piece of work is a transaction of its own. It waits for nobody and nobody waits for it; when somebody changed
//! the same files first it gives up and finds the work again in a later round.

mod analyze;
mod compact;
mod orphans;
mod record;
mod relation;
mod worker;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use chrono::Utc;
use rand::Rng;
use staffa_catalog::{DeadObject, ErrorKind as CatalogErrorKind, Expirable, RelationKind, Table, TableName};
use staffa_planner::{Error, Result, Room};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::config::Maintenance;
use crate::warehouse::{Inner, Warehouse};
pub(crate) use analyze::{Reading, analyze};
use compact::How;
pub(crate) use orphans::AGE_MIN as ORPHAN_AGE_MIN;
pub(crate) use record::{Origin, Record, Records};
pub(crate) use relation::MaintenanceTable;
use worker::Worker;

/// How often the queue of dead objects is looked at.
const GARBAGE_PERIOD: Duration = Duration::from_secs(60);
/// Commits of this process after which a round begins before its time.
const COMMITS_TO_WAKE: u64 = 64;
/// So many objects are deleted together, and then taken off the queue.
const DELETED_AT_ONCE: usize = 1000;
/// How often an expiry that lost against another commit is tried again.
const EXPIRY_TRIES: usize = 5;

/// The background tasks; they end with the warehouse.
pub(crate) struct Upkeep {
    tasks: Vec<JoinHandle<()>>,
    records: Arc<Records>,
    commits: AtomicU64,
    wake: Arc<Notify>,
}

impl Upkeep {
    pub(crate) fn start(
        warehouse: &Weak<Inner>,
        maintenance: Option<&Maintenance>,
        room: Arc<dyn Room>,
    ) -> Result<Self> {
        let wake = Arc::new(Notify::new());
        let mut tasks = vec![tokio::spawn(delete_dead_for_ever(warehouse.clone()))];
        if let Some(maintenance) = maintenance {
            let worker = Worker::new(warehouse.clone(), maintenance.clone(), Arc::clone(&wake), room)?;
            tasks.push(tokio::spawn(worker.run()));
        }
        Ok(Self {
            tasks,
            records: Arc::default(),
            commits: AtomicU64::new(0),
            wake,
        })
    }

    /// Notes that a session has committed.
    pub(crate) fn committed(&self) {
        if self.commits.fetch_add(1, Ordering::Relaxed) % COMMITS_TO_WAKE == COMMITS_TO_WAKE - 1 {
            self.wake.notify_one();
        }
    }

    pub(crate) fn records(&self) -> &Arc<Records> {
        &self.records
    }

    pub(crate) fn stop(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.stop();
    }
}

/// OPTIMIZE: the files of a table, or of it only some, written again where that makes them fewer or smaller.
pub(crate) async fn optimize(warehouse: &Warehouse, table: &TableName, only: Option<&BTreeSet<String>>) -> Result<()> {
    let how = How::by_hand(warehouse, only);
    compact::compact(warehouse, table, &how, Origin::Statement).await?;
    Ok(())
}

/// VACUUM: old snapshots are forgotten, then whatever nothing needs is deleted. What fails for one table or object keeps
/// nothing from the others; its error comes at the end.
pub(crate) async fn vacuum(warehouse: &Warehouse, tables: &[TableName], full: bool) -> Result<()> {
    let snapshots_max = warehouse.maintenance().snapshots_max;
    let mut failed = FirstError::default();
    for table in tables {
        if full {
            failed.note(optimize(warehouse, table, None).await);
        }
        let all = |_: &Table, old: &Expirable| Ok(!old.is_empty());
        failed.note(expire(warehouse, table, snapshots_max, all, Origin::Statement).await);
        failed.note(orphans::delete(warehouse, table, Origin::Statement).await);
    }
    failed.note(delete_dead(warehouse, Origin::Statement).await);
    failed.into_result()
}

/// Deletes what VACUUM deletes, of all tables, and forgets no snapshot: what nothing leads to any more.
pub(crate) async fn clear_away(warehouse: &Warehouse) -> Result<()> {
    let mut failed = FirstError::default();
    let snapshot = warehouse.catalog().snapshot().await?;
    for (table, kind, _) in snapshot.stored_relations() {
        if kind == RelationKind::Table {
            failed.note(orphans::delete(warehouse, &table, Origin::Statement).await);
        }
    }
    failed.note(delete_dead(warehouse, Origin::Statement).await);
    failed.into_result()
}

/// The first thing that went wrong of many that are done all the same.
#[derive(Default)]
struct FirstError(Option<Error>);

impl FirstError {
    fn note<T>(&mut self, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.0.get_or_insert(error);
                None
            }
        }
    }

    fn into_result(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

/// Forgets old snapshots where that is worth a commit. Tells whether that is done: not when others were always first.
async fn expire(
    warehouse: &Warehouse,
    name: &TableName,
    snapshots_max: usize,
    is_worth_it: impl Fn(&Table, &Expirable) -> Result<bool> + Send,
    origin: Origin,
) -> Result<bool> {
    for attempt in 1.. {
        let catalog = warehouse.catalog();
        let snapshot = catalog.snapshot().await?;
        let Some(table) = snapshot.table(name).await? else {
            return Ok(true);
        };
        let old = table.expirable(Utc::now().timestamp_millis(), snapshots_max)?;
        if !is_worth_it(&table, &old)? {
            return Ok(true);
        }
        let mut record = Record::start("expire snapshots", Some(name), origin);
        record.before(table.snapshots()?.len() as u64, 0);
        record.after(record.files_before().saturating_sub(old.snapshots.len() as u64), 0);
        let mut transaction = catalog.begin(snapshot).await?;
        transaction.expire(name, old).await?;
        let result = transaction.commit().await.map(|_| ());
        match &result {
            Err(error) if error.kind() == CatalogErrorKind::Conflict && attempt < EXPIRY_TRIES => continue,
            _ => return record.end(warehouse, result.map_err(Into::into)),
        }
    }
    Ok(true)
}

async fn delete_dead_for_ever(warehouse: Weak<Inner>) {
    let mut ticks = tokio::time::interval(GARBAGE_PERIOD);
    loop {
        ticks.tick().await;
        let Some(inner) = warehouse.upgrade() else { continue };
        let _ = delete_dead(&Warehouse::from(inner), Origin::Background).await;
    }
}

/// Deletes what the catalog says is dead, then takes it off the queue: a crash in between deletes it again, harmlessly.
async fn delete_dead(warehouse: &Warehouse, origin: Origin) -> Result<()> {
    let catalog = warehouse.catalog();
    let record = Record::start("delete garbage", None, origin);
    let mut deleted = 0;
    let work = async {
        let by_hand = origin == Origin::Statement;
        let dead = catalog.dead_objects(Utc::now().timestamp_millis(), by_hand).await?;
        let mut failed = FirstError(dead.failed.map(Into::into));
        let (directories, mut objects): (Vec<DeadObject>, Vec<DeadObject>) =
            dead.objects.into_iter().partition(DeadObject::is_directory);
        for directory in directories {
            let done = failed.note(delete_directory(warehouse, &directory, &mut deleted).await);
            if done.is_some() && directory.is_all() {
                catalog.forget(&[directory.path]).await?;
            }
        }
        // Servers that do this at the same time begin at different places.
        if !objects.is_empty() && !by_hand {
            let first = rand::rng().random_range(0..objects.len());
            objects.rotate_left(first);
        }
        for part in objects.chunks(DELETED_AT_ONCE) {
            let paths: Vec<String> = part.iter().map(|object| object.path.clone()).collect();
            let gone = delete_all(warehouse, &paths, &mut deleted, &mut failed).await;
            catalog.forget(&gone).await?;
        }
        failed.into_result()
    };
    let result = work.await;
    record.end_deletion(warehouse, deleted, result)
}

/// Deletes what is dead of a directory; counts what was there.
async fn delete_directory(warehouse: &Warehouse, directory: &DeadObject, deleted: &mut u64) -> Result<()> {
    let mut paths = warehouse.stores().list(&directory.path).await?;
    paths.retain(|path| !directory.except.contains(path));
    let mut failed = FirstError::default();
    for part in paths.chunks(DELETED_AT_ONCE) {
        delete_all(warehouse, part, deleted, &mut failed).await;
    }
    failed.into_result()
}

/// Deletes objects and counts what was there. Gives those that are not there any more.
async fn delete_all(
    warehouse: &Warehouse,
    paths: &[String],
    deleted: &mut u64,
    failed: &mut FirstError,
) -> Vec<String> {
    let mut gone = Vec::with_capacity(paths.len());
    for (path, result) in paths.iter().zip(warehouse.stores().delete_all(paths).await) {
        match result {
            Ok(()) => *deleted += 1,
            Err(error) if error.kind() == staffa_storage::ErrorKind::NotFound => {}
            Err(error) => {
                failed.note::<()>(Err(error.into()));
                continue;
            }
        }
        gone.push(path.clone());
    }
    gone
}
