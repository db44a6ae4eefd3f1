//! The handle on one open catalog.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use uuid::Uuid;

use crate::database::{self, Database};
use crate::error::{Error, Result};
use crate::garbage::{self, DeadObjects};
use crate::journal::Pointers;
use crate::loader::Loader;
use crate::objects::Objects;
use crate::relocation::Relocation;
use crate::sequence::{Sequence, SequenceState};
use crate::shared::Shared;
use crate::snapshot::CatalogSnapshot;
use crate::table::Table;
use crate::temporary;
use crate::txn::Transaction;

/// How often a server says it is alive.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30);
/// After how many of these it looks for servers that are gone.
const RECOVERY_BEATS: u32 = 2;

/// A shared handle on one catalog; clones are the same catalog.
#[derive(Clone, Debug)]
pub struct Catalog {
    shared: Arc<Shared>,
}

impl Catalog {
    /// Opens the catalog in a database, making it when new. Several processes may have one open.
    ///
    /// `database` is `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/DATABASE`; `warehouse` the directory new tables live
    /// in, for example `file:///data/warehouse` or `s3://bucket/warehouse`; `objects` must be durable when a put returns.
    ///
    /// Fails with `NewerFormat` when a newer Staffa made the database, `Unsupported` for another kind of database, `Io`
    /// when it cannot be opened.
    pub async fn open(database: &str, warehouse: &str, objects: Arc<dyn Objects>) -> Result<Catalog> {
        check_warehouse(warehouse)?;
        let database = CatalogDatabase::open(database).await?;
        Catalog::over(database, warehouse, objects, u64::MAX)
    }

    /// Like [`Catalog::open`], over a database that is open already. Parsed metadata may hold no more than `cache_bytes` of memory,
    /// and manifests as much.
    pub fn over(
        database: CatalogDatabase,
        warehouse: &str,
        objects: Arc<dyn Objects>,
        cache_bytes: u64,
    ) -> Result<Catalog> {
        check_warehouse(warehouse)?;
        let loader = Loader::within(objects, cache_bytes);
        Ok(Self::with_loader(database.database, warehouse, loader))
    }

    /// Over any database; what tests use to put a double between.
    #[cfg(test)]
    pub(crate) fn with_database(database: Arc<dyn Database>, warehouse: &str, objects: Arc<dyn Objects>) -> Catalog {
        Self::with_loader(database, warehouse, Loader::new(objects))
    }

    fn with_loader(database: Arc<dyn Database>, warehouse: &str, loader: Loader) -> Catalog {
        let shared = Arc::new(Shared::new(database, Arc::new(loader), warehouse));
        tokio::spawn(keep_alive(Arc::downgrade(&shared)));
        Catalog { shared }
    }

    /// The newest state, also of what other programs wrote. Cheap, and the same value, when nothing changed.
    pub async fn snapshot(&self) -> Result<Arc<CatalogSnapshot>> {
        self.shared.head().await
    }

    /// Begins a transaction that sees `base`. Nothing is written until it writes.
    pub async fn begin(&self, base: Arc<CatalogSnapshot>) -> Result<Transaction> {
        if base.is_of_transaction() {
            return Err(Error::internal("a transaction cannot begin inside another"));
        }
        Ok(Transaction::new(self.shared.clone(), base))
    }

    /// Cleans up after transactions of servers that are gone: looks up what became of each, aborts it if it was open,
    /// deletes its objects. Gives how many there were. To be called at start; an open catalog goes on looking by itself.
    pub async fn recover(&self) -> Result<usize> {
        recover(&self.shared, true).await
    }

    /// `count` steps of a sequence's counter that are the caller's, from `taken` of the result on. Nobody is given them
    /// again, also when the caller's transaction is rolled back. See [`Sequence::number`](crate::Sequence::number).
    ///
    /// `None`: the sequence was altered since, and another counter goes on from this one.
    pub async fn take_numbers(&self, sequence: &Sequence, count: i64) -> Result<Option<SequenceState>> {
        let first = sequence.first_step();
        let (counter, is_named) = (sequence.counter, sequence.is_named());
        self.shared.database.take_numbers(counter, first, count, is_named).await
    }

    /// How far a sequence is.
    pub async fn sequence_state(&self, sequence: &Sequence) -> Result<SequenceState> {
        let state = self.shared.database.counter(sequence.counter).await?;
        Ok(state.unwrap_or(SequenceState {
            origin: None,
            taken: sequence.first_step(),
        }))
    }

    /// Takes back the steps from `unused` to `end` of what [`Catalog::take_numbers`] gave, if they are the last of the counter:
    /// nobody was given them, and the caller forgets them.
    pub async fn give_back(&self, sequence: &Sequence, unused: SequenceState, end: i64) -> Result<()> {
        self.shared.database.give_back(sequence.counter, unused, end).await
    }

    /// `setval`: the number a sequence goes on from, which itself is given next unless it is called. Durable at once, and
    /// not undone with a transaction. Tells whether it was set: not when it was altered since, as in [`Catalog::take_numbers`].
    pub async fn set_sequence(&self, sequence: &Sequence, origin: i64, is_called: bool) -> Result<bool> {
        let state = SequenceState {
            origin: Some(origin),
            taken: i64::from(is_called),
        };
        let (counter, is_named) = (sequence.counter, sequence.is_named());
        self.shared.database.set_counter(counter, state, is_named).await
    }

    /// The numbers of objects, one for each of the names, which stay with the objects: a UUID, not what users call them.
    /// An object keeps its number for ever, on all servers.
    pub async fn object_numbers(&self, objects: &[String]) -> Result<Vec<u32>> {
        self.shared.database.object_numbers(objects).await
    }

    /// The same for objects that are temporary or not committed yet: their numbers stay as long as this process remembers them,
    /// and later if they are committed.
    pub async fn passing_numbers(&self, objects: &[String]) -> Result<Vec<u32>> {
        self.shared.database.passing_numbers(objects).await
    }

    /// The schema for temporary tables of a session, which `number` tells from other sessions of this process.
    pub fn temporary_schema(&self, number: u64) -> String {
        temporary::schema_of(self.shared.database.server_id(), number)
    }

    /// The schemas of temporary tables that sessions of this process have in a database.
    pub fn own_temporary_schemas(&self, snapshot: &CatalogSnapshot, database: &str) -> Vec<String> {
        temporary::schemas_of(snapshot, database, self.shared.database.server_id())
    }

    /// Drops a session's temporary tables.
    pub async fn drop_temporary_schema(&self, database: &str, schema: &str) -> Result<()> {
        temporary::drop_schema(&self.shared, database, schema).await
    }

    /// The properties of a schema.
    pub async fn schema_properties(&self, database: &str, schema: &str) -> Result<BTreeMap<String, String>> {
        self.shared.database.schema_properties(database, schema).await
    }

    /// Whether a transaction of this process is open that has deleted rows of one of these data files of a table: compaction
    /// would lose against it.
    pub fn has_row_changers(&self, table: Uuid, files: &[String]) -> bool {
        self.shared.has_row_changers(table, files.iter())
    }

    /// Objects that nothing can need any more at `now_ms` (milliseconds since 1970 UTC). After deleting them, call
    /// [`Catalog::forget`]. Those that clones needed when they were looked at less than an hour ago come only if they are
    /// asked for, too.
    pub async fn dead_objects(&self, now_ms: i64, put_off_too: bool) -> Result<DeadObjects> {
        garbage::dead_objects(&self.shared, now_ms, put_off_too).await
    }

    /// Writes what the catalog says now into a new SQLite file, which is a catalog of its own.
    pub async fn export(&self, path: &Path) -> Result<Export> {
        // Before: nothing that is there then is deleted while this is held.
        let held = self.shared.head().await?;
        let state = self.shared.database.export(path).await?;
        let pointers = Pointers::default().advanced(state)?;
        let snapshot = CatalogSnapshot::committed(pointers, self.shared.loader.clone());
        Ok(Export {
            snapshot,
            held,
            shared: self.shared.clone(),
        })
    }

    /// Every object a table needs, as it is now: what else lies in its directory, and is not of a transaction that is under
    /// way, is an orphan.
    pub async fn needed_objects(&self, table: &Table) -> Result<HashSet<String>> {
        garbage::needed_objects(&self.shared, table.version()).await
    }

    /// When the oldest open transaction of any server began to write, in milliseconds since 1970 UTC.
    pub async fn oldest_transaction_ms(&self) -> Result<Option<i64>> {
        self.shared.database.oldest_started_ms().await
    }

    /// Whether all in the table's directory is its own.
    pub fn owns_directory(&self, table: &Table) -> bool {
        self.shared.owns_location(table.location(), table.uuid())
    }

    /// Takes paths that were deleted off the list of dead objects.
    pub async fn forget(&self, paths: &[String]) -> Result<()> {
        self.shared.database.forget_garbage(paths).await
    }
}

/// A state of the catalog that was written into a file. Nothing it needs is deleted as long as this is there.
#[derive(Debug)]
pub struct Export {
    snapshot: CatalogSnapshot,
    held: Arc<CatalogSnapshot>,
    shared: Arc<Shared>,
}

impl Export {
    /// What was written.
    pub fn snapshot(&self) -> &CatalogSnapshot {
        &self.snapshot
    }

    /// Fails with `Conflict` if others thought that this process was gone, and may have deleted something of it.
    pub async fn check_held(&self) -> Result<()> {
        self.shared.heartbeat().await?;
        self.shared.loader.check_held(self.held.csn())
    }
}

fn check_warehouse(warehouse: &str) -> Result<()> {
    match warehouse.contains("://") {
        true => Ok(()),
        false => Err(Error::invalid(format!("warehouse \"{warehouse}\" is not a location"))
            .with_hint("Write it as a URL, for example file:///data/warehouse.")),
    }
}

/// The setting that holds a catalog's one warehouse.
const WAREHOUSE_SETTING: &str = "warehouse";

/// An open catalog database, before it is known where new tables go.
#[derive(Clone, Debug)]
pub struct CatalogDatabase {
    database: Arc<dyn Database>,
}

impl CatalogDatabase {
    /// Opens or makes it; see [`Catalog::open`].
    pub async fn open(url: &str) -> Result<CatalogDatabase> {
        let database = database::open(url, Uuid::new_v4()).await?;
        Ok(CatalogDatabase { database })
    }

    /// Makes a catalog of what [`Catalog::export`] wrote, in a new or empty database, with the locations that hold now.
    ///
    /// Fails with `InvalidDefinition` when the database is not empty, `NewerFormat` when a newer Staffa wrote the file.
    pub async fn import(exported: &Path, url: &str, relocation: &Relocation) -> Result<()> {
        database::import(exported, url, relocation).await
    }

    /// The one warehouse of a catalog that several servers share: `wanted` or else `default` the first time, and later
    /// what it was then.
    ///
    /// Fails with `InvalidDefinition` when another one is wanted now: servers must find each other's files, and know
    /// which directories are the catalog's own.
    pub async fn shared_warehouse(&self, wanted: Option<&str>, default: &str) -> Result<String> {
        let plain = |location: &str| location.trim_end_matches('/').to_owned();
        let first = plain(wanted.unwrap_or(default));
        self.database.first_setting(WAREHOUSE_SETTING, &first).await?;
        let stored = self.database.setting(WAREHOUSE_SETTING).await?.unwrap_or(first);
        match wanted.map(plain) {
            Some(wanted) if wanted != stored => Err(Error::invalid("the catalog belongs to another warehouse")
                .with_detail(format!(
                    "Its servers keep their tables in {stored}; this one was told {wanted}."
                ))
                .with_hint(
                    "All servers of a catalog use the same warehouse: leave the setting out, or give the same.",
                )),
            _ => Ok(stored),
        }
    }
}

async fn recover(shared: &Arc<Shared>, first_look: bool) -> Result<usize> {
    let leftovers = shared.database.leftovers(first_look).await?;
    for leftover in &leftovers {
        let deleted = shared.give_up(leftover.txn_id, &leftover.table_locations).await?;
        tracing::info!(txn_id = %leftover.txn_id, objects = deleted.len(), "cleaned up after a dead transaction");
    }
    temporary::recover(shared).await?;
    Ok(leftovers.len())
}

/// Runs until the catalog is closed. Other servers may die: what they leave is cleaned up too.
async fn keep_alive(shared: Weak<Shared>) {
    for beat in 1_u32.. {
        tokio::time::sleep(HEARTBEAT_INTERVAL).await;
        let Some(shared) = shared.upgrade() else { return };
        if let Err(error) = shared.heartbeat().await {
            tracing::warn!(%error, "cannot write the heartbeat");
            continue;
        }
        shared.clean_up_again().await;
        if beat.is_multiple_of(RECOVERY_BEATS)
            && let Err(error) = recover(&shared, false).await
        {
            tracing::warn!(%error, "cannot clean up after dead servers");
        }
        if beat.is_multiple_of(RECOVERY_BEATS)
            && let Err(error) = garbage::forget_versions(&shared).await
        {
            tracing::warn!(%error, "cannot shorten the journal of the catalog");
        }
    }
}

#[cfg(test)]
mod crash;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod judge;
#[cfg(test)]
mod lifetime_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod upkeep_tests;
