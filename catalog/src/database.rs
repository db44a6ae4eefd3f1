//! The few statements the catalog runs on its database, as a trait: a SQLite file, or PostgreSQL when servers share one.
//!
//! Rules every implementation keeps, each with a test:
//! 1. [`Database::swap`] changes everything it is asked to, or nothing.
//! 2. When it returns a sequence number, the change survives loss of power.
//! 3. Its changes and the transaction's outcome are one SQL transaction: [`Database::outcome`] never disagrees.
//! 4. A transaction is committed or aborted, never both: whoever comes second is refused.
//! 5. Changes other programs make to `iceberg_tables` get sequence numbers too.

mod copy;
#[cfg(test)]
pub(crate) mod faults;
mod inspection;
mod lock;
mod postgres;
mod sql;
mod sqlite;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use crate::access::{AccessChange, AccessRow};
use crate::error::{Error, ErrorKind, Result};
use crate::name::TableName;
use crate::relocation::Relocation;
use crate::sequence::{CounterEnd, SequenceState};
use crate::snapshot::RelationKind;

pub(crate) use inspection::{Inspection, inspect};
pub(crate) use sql::SqlDatabase;

use postgres::PostgresBackend;
use sql::{Backend, Connection, Need};
use sqlite::SqliteBackend;

/// Where the metadata of a table or view is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    pub(crate) kind: RelationKind,
    pub(crate) location: String,
}

/// The state of the pointers, whole or since a sequence number.
#[derive(Debug, Default)]
pub(crate) struct PointerState {
    pub(crate) csn: u64,
    /// Whether `changes` is every pointer there is.
    pub(crate) complete: bool,
    pub(crate) databases: Vec<String>,
    /// Database and schema.
    pub(crate) schemas: Vec<(String, String)>,
    /// `None`: gone.
    pub(crate) changes: Vec<(TableName, Option<Pointer>)>,
    /// Roles and grants that changed, or all there are.
    pub(crate) access: Vec<AccessRow>,
}

/// One pointer a commit moves.
#[derive(Clone, Debug)]
pub(crate) struct PointerChange {
    pub(crate) name: TableName,
    pub(crate) kind: RelationKind,
    /// What it must be now; `None`: there must be none.
    pub(crate) from: Option<String>,
    /// What it becomes; `None`: it is dropped. The same as `from`: it must stay so until the end.
    pub(crate) to: Option<String>,
}

/// An object (or, with a slash at its end, everything below) that dies with a commit.
#[derive(Clone, Debug)]
pub(crate) struct NewGarbage {
    pub(crate) path: String,
    pub(crate) not_before_ms: i64,
}

/// Everything a commit changes in the database.
#[derive(Clone, Debug, Default)]
pub(crate) struct Swap {
    /// The transactions that are committed: one, or some that only append to one table.
    pub(crate) txn_ids: Vec<Uuid>,
    pub(crate) create_databases: Vec<String>,
    pub(crate) drop_databases: Vec<String>,
    pub(crate) create_schemas: Vec<(String, String)>,
    pub(crate) drop_schemas: Vec<(String, String)>,
    /// Database, name before and after, in the order it was done: what was created and dropped for it is in the others.
    pub(crate) renamed_schemas: Vec<(String, String, String)>,
    /// By database and schema; `None`: it goes.
    pub(crate) schema_properties: BTreeMap<(String, String), BTreeMap<String, Option<String>>>,
    pub(crate) pointers: Vec<PointerChange>,
    pub(crate) access: Vec<AccessChange>,
    pub(crate) garbage: Vec<NewGarbage>,
    pub(crate) shares: Vec<Share>,
    /// Paths that must be on the garbage list, and go off it.
    pub(crate) revived: Vec<String>,
    /// Counters that other ones go on from.
    pub(crate) ended: Vec<CounterEnd>,
    /// Tables whose garbage was needed until this commit, by location: it is as if it had become garbage now.
    pub(crate) released: Vec<String>,
    /// Directories of tables that come back without being asked for by name: they are no garbage any more.
    pub(crate) claimed: Vec<String>,
    /// The directories of all tables and views that were looked at; when there is another one, they must be looked at again.
    pub(crate) known_places: Option<HashSet<String>>,
}

/// A table some of whose files are another's: a clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) table_location: String,
    pub(crate) owner_location: String,
}

/// A dropped table that is still there.
#[derive(Clone, Debug)]
pub(crate) struct Dropped {
    pub(crate) metadata_location: String,
    /// Its entry of the garbage list.
    pub(crate) garbage: String,
}

/// How a swap ended, when nothing failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SwapOutcome {
    /// Durable, under this sequence number.
    Committed(u64),
    /// Nothing was changed: a pointer was not what it had to be. Look again and retry.
    Moved,
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TxnOutcome {
    Open,
    Committed(u64),
    Aborted,
}

/// A transaction of a server that is gone, or one whose objects were not cleaned up.
#[derive(Clone, Debug)]
pub(crate) struct Leftover {
    pub(crate) txn_id: Uuid,
    pub(crate) table_locations: Vec<String>,
}

/// One row of the garbage list.
#[derive(Clone, Debug)]
pub(crate) struct GarbageRow {
    pub(crate) path: String,
    pub(crate) after_csn: u64,
}

#[async_trait]
pub(crate) trait Database: Send + Sync + fmt::Debug {
    /// A number that differs from the last one when anybody may have changed the database in between.
    async fn change_token(&self) -> Result<i64>;

    /// The pointers: what changed after `since`, or all. All at one moment.
    async fn pointers(&self, since: Option<u64>) -> Result<PointerState>;

    /// Whether notes of this process may be gone while it lives: those of a server that was restarted.
    fn may_lose_notes(&self) -> bool;

    /// Notes that a transaction is about to write below these table locations. May be called `again`, with more: that fails
    /// with `Conflict` when the transaction may have been given up so long ago that nothing is known of it.
    async fn register(&self, txn_id: Uuid, base_csn: u64, table_locations: &[String], again: bool) -> Result<()>;

    /// The swap of a commit. An error of kind `OutcomeUnknown` means that it may have happened; any other that nothing
    /// was changed.
    async fn swap(&self, swap: &Swap) -> Result<SwapOutcome>;

    /// What became of a registered transaction; one that was never registered is `Aborted`.
    async fn outcome(&self, txn_id: Uuid) -> Result<TxnOutcome>;

    /// Makes an open transaction aborted; the outcome afterwards.
    async fn abort(&self, txn_id: Uuid) -> Result<TxnOutcome>;

    /// Notes that the objects of an aborted transaction are gone.
    async fn cleaned(&self, txn_id: Uuid) -> Result<()>;

    /// Says this server is alive, and that it will never look at a state older than this one. `false`: others thought it dead,
    /// and took no heed of the states it looks at.
    async fn heartbeat(&self, oldest_csn: u64) -> Result<bool>;

    /// Transactions of dead servers that are open or not cleaned up. Forgets what is long finished. At the first look a
    /// server without a sign of life is dead, if a living one cannot lose its own; later only when it had none at the look
    /// before either.
    async fn leftovers(&self, first_look: bool) -> Result<Vec<Leftover>>;

    /// Garbage whose time has come, that was not tried since `tried_before_ms`, and that no live pointer lies below.
    async fn garbage(&self, now_ms: i64, tried_before_ms: i64) -> Result<Vec<GarbageRow>>;

    /// The garbage whose path begins so, whenever its time comes.
    async fn garbage_below(&self, prefix: &str) -> Result<HashSet<String>>;

    /// Notes that garbage is tried now, and gives what of it is still there and due. From here on nothing brings a directory
    /// back, and what a table in it has of other tables is theirs alone. Durable when this returns.
    async fn try_garbage(&self, paths: &[String], now_ms: i64) -> Result<Vec<String>>;

    /// The oldest state that an open transaction of any server, or anything a living server runs, may look at.
    async fn oldest_base_csn(&self) -> Result<Option<u64>>;

    /// When the oldest open transaction of any server was registered.
    async fn oldest_started_ms(&self) -> Result<Option<i64>>;

    /// All clones. Those whose files are about to go are forgotten by [`Database::try_garbage`].
    async fn shares(&self) -> Result<Vec<Share>>;

    /// The metadata file that a table at this location had last, whatever its name was and is.
    async fn last_metadata(&self, table_location: &str) -> Result<Option<String>>;

    /// The table that was dropped last under this name, if its files stay beyond a time.
    async fn dropped(&self, name: &TableName, not_before_ms: i64) -> Result<Option<Dropped>>;

    /// Puts something on the garbage list that was just begun, unless it is on it: it dies if no commit takes it off.
    async fn note_garbage(&self, path: &str, not_before_ms: i64) -> Result<()>;

    /// Takes paths off the garbage list.
    async fn forget_garbage(&self, paths: &[String]) -> Result<()>;

    /// The sequences that were dropped together with the table that was at this location last, as they were; also others.
    async fn dropped_sequences(&self, table_location: &str, table: Uuid) -> Result<Vec<(TableName, String)>>;

    /// Forgets older states of names that nothing needs, of commits after one and before another; some at a time. After which
    /// commit to go on, if there may be more.
    async fn forget_versions(&self, after_csn: u64, before_csn: u64) -> Result<Option<u64>>;

    /// `count` steps of a counter that nobody is given again, counted from 0: their state before. The first of a new
    /// counter is `first`. `None`: the counter has ended. Durable when this returns. A new counter goes when no sequence has it
    /// a day later, if its sequence is one that has, or is to have, a name.
    async fn take_numbers(
        &self,
        counter: Uuid,
        first: i64,
        count: i64,
        is_named: bool,
    ) -> Result<Option<SequenceState>>;

    /// How far a counter is, or was when it ended; `None`: nobody has asked it.
    async fn counter(&self, counter: Uuid) -> Result<Option<SequenceState>>;

    /// Sets a counter, durably. Tells whether it could be: one that has ended cannot. With `is_named` as in
    /// [`Database::take_numbers`].
    async fn set_counter(&self, counter: Uuid, state: SequenceState, is_named: bool) -> Result<bool>;

    /// Takes back steps of a counter from `unused` to `end`, which nobody was given, if they are the last that were taken.
    async fn give_back(&self, counter: Uuid, unused: SequenceState, end: i64) -> Result<()>;

    /// Forgets counters, and takes them off the garbage list, by their entries there. One that a sequence has stays.
    async fn forget_counters(&self, paths: &[String]) -> Result<()>;

    /// Numbers of objects, by names that stay with them; those that have none get one, durably and for ever.
    async fn object_numbers(&self, objects: &[String]) -> Result<Vec<u32>>;

    /// The same for objects that are temporary or not committed: what has no number gets one from this server for now.
    async fn passing_numbers(&self, objects: &[String]) -> Result<Vec<u32>>;

    /// This server's id.
    fn server_id(&self) -> Uuid;

    /// The servers that live, or whose death nobody has dealt with yet.
    async fn servers(&self) -> Result<Vec<Uuid>>;

    /// The properties of a schema.
    async fn schema_properties(&self, database: &str, schema: &str) -> Result<BTreeMap<String, String>>;

    /// A setting that all servers share.
    async fn setting(&self, name: &str) -> Result<Option<String>>;

    /// Writes what the catalog says now into a new SQLite file, a catalog of its own; gives the pointers of that moment.
    async fn export(&self, path: &Path) -> Result<PointerState>;

    /// Sets it, durably, if it never was.
    async fn first_setting(&self, name: &str, value: &str) -> Result<()>;
}

/// Opens the database a URL names, making its tables when it is new.
pub(crate) async fn open(url: &str, server_id: Uuid) -> Result<Arc<dyn Database>> {
    let backend = open_backend(url, server_id).await?;
    Ok(Arc::new(SqlDatabase::new(backend, server_id).await?))
}

/// The same, failing as planned.
#[cfg(test)]
pub(crate) async fn open_faulty(url: &str, server_id: Uuid, faults: Arc<faults::Faults>) -> Result<Arc<dyn Database>> {
    let inner = open_backend(url, server_id).await?;
    let backend = faults::FaultyBackend { inner, faults };
    Ok(Arc::new(SqlDatabase::new(Box::new(backend), server_id).await?))
}

/// Makes a catalog of what was exported, in a database that is new or empty.
pub(crate) async fn import(exported: &Path, url: &str, relocation: &Relocation) -> Result<()> {
    let from = Box::new(SqliteBackend::open(&exported.to_string_lossy(), Uuid::new_v4()).await?);
    let into = open_backend(url, Uuid::new_v4()).await?;
    copy_all(&from, &*into, relocation).await?;
    from.close().await;
    into.close().await;
    Ok(())
}

async fn copy_all(from: &SqliteBackend, into: &dyn Backend, relocation: &Relocation) -> Result<()> {
    let mut source = from.connection(Need::Read).await?;
    let mut target = into.connection(Need::Durable).await?;
    source.begin().await?;
    target.begin().await?;
    let csn = sql::head_csn(&mut *source).await?;
    copy::copy(&mut *source, &mut *target, csn, Some(relocation)).await?;
    target.commit().await?;
    source.commit().await
}

/// What [`Database::export`] does with a transaction that has begun.
async fn export(from: &mut dyn Connection, csn: u64, path: &Path) -> Result<()> {
    let into = SqliteBackend::open(&path.to_string_lossy(), Uuid::new_v4()).await?;
    let mut target = into.connection(Need::Durable).await?;
    target.begin().await?;
    copy::copy(from, &mut *target, csn, None).await?;
    target.commit().await?;
    drop(target);
    Box::new(into).close().await;
    Ok(())
}

async fn open_backend(url: &str, server_id: Uuid) -> Result<Box<dyn Backend>> {
    if is_postgres(url) {
        return Ok(Box::new(PostgresBackend::open(url, server_id).await?));
    }
    Ok(Box::new(SqliteBackend::open(sqlite_path(url)?, server_id).await?))
}

fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

fn sqlite_path(url: &str) -> Result<&str> {
    let Some(path) = url.strip_prefix("sqlite:") else {
        // Not the URL itself: it may hold a password.
        let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("catalog databases of kind \"{scheme}\" are not supported"),
        )
        .with_hint("Write sqlite:PATH or postgres://USER@HOST/DATABASE."));
    };
    // `sqlite:///data/catalog.db` and `sqlite:/data/catalog.db` are the same absolute path.
    Ok(path.strip_prefix("//").unwrap_or(path))
}

/// The URL of a catalog database for people: without a password.
pub fn shown_database(url: &str) -> String {
    match url.starts_with("postgres") {
        true => postgres::shown(url),
        false => url.to_owned(),
    }
}

/// The setting that says which version of Staffa made the tables what they are.
const NOTE_MAKER: &str = "insert into staffa_setting(name, value) values ('made_by', $1)
                          on conflict(name) do update set value=excluded.value";
const MAKER: &str = "select value from staffa_setting where name='made_by'";

/// `maker`: the version of Staffa that wrote it, where that is known.
fn newer_format(database: &str, version: i64, known: i64, maker: Option<&str>) -> Error {
    let hint = match maker {
        Some(maker) => format!(
            "Start it with Staffa {maker} or newer; this is {}.",
            env!("CARGO_PKG_VERSION")
        ),
        None => "Start it with the version of Staffa that was used last.".to_owned(),
    };
    Error::new(
        ErrorKind::NewerFormat,
        format!("the catalog database \"{database}\" was made by a newer version of Staffa"),
    )
    .with_detail(format!("Its schema version is {version}; this version knows {known}."))
    .with_hint(hint)
}
