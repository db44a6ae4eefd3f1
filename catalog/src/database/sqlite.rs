//! The catalog database in one SQLite file.
//!
//! WAL; one writer at a time, which fsyncs every commit (`synchronous=FULL`); intents and heartbeats go through a second
//! connection that leaves the fsync to the next commit: losing them with the power costs a cleanup, never data.

mod swap;
mod writer;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous};
use sqlx::{ConnectOptions, Row, Sqlite, SqliteConnection};
use tokio::sync::Mutex;
use uuid::Uuid;

use self::writer::Writer;
use super::lock::{self, ServerLock};
use super::{Database, Dropped, GarbageRow, Leftover, Pointer, PointerState, Share, Swap, SwapOutcome, TxnOutcome};
use crate::error::{Error, ErrorKind, Result};
use crate::name::TableName;
use crate::snapshot::RelationKind;

const SCHEMA: &str = include_str!("schema.sqlite.sql");
/// From version 1: clones, and what servers look at.
const SINCE_VERSION_1: &str = "
    create table staffa_share(table_location varchar(1000) not null, owner_location varchar(1000) not null,
      primary key(table_location, owner_location));
    alter table staffa_server add column oldest_csn bigint;";
const SCHEMA_VERSION: i64 = 2;

const READERS_MAX: u32 = 4;
/// How long a writer of another process is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// A server without a lock file that was silent for this long is dead.
const SERVER_SILENCE_MAX_MS: i64 = 90_000;
/// How long the outcome of a finished transaction can be looked up.
const OUTCOME_KEPT_MS: i64 = 24 * 3600 * 1000;

/// A catalog database in a SQLite file.
pub(crate) struct SqliteDatabase {
    path: PathBuf,
    server_id: Uuid,
    readers: SqlitePool,
    /// `PRAGMA data_version` compares only with itself on one connection, so this one is used for nothing else.
    watch: Mutex<SqliteConnection>,
    /// The lock also keeps this process's writers from polling for SQLite's own lock.
    writers: Mutex<Writers>,
    _lock: ServerLock,
}

struct Writers {
    durable: Writer,
    relaxed: Writer,
}

impl fmt::Debug for SqliteDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteDatabase")
            .field("path", &self.path)
            .field("server_id", &self.server_id)
            .finish()
    }
}

impl SqliteDatabase {
    /// Opens the file, making it and its tables when new.
    pub(crate) async fn open(path: &str, server_id: Uuid) -> Result<SqliteDatabase> {
        if path.is_empty() || path.contains(":memory:") || path.contains("mode=memory") {
            return Err(
                Error::new(ErrorKind::Unsupported, "a catalog database in memory is not supported")
                    .with_detail("Each connection would see a database of its own.")
                    .with_hint("Name a file."),
            );
        }
        let path = PathBuf::from(path);
        let options = |synchronous| {
            SqliteConnectOptions::new()
                .filename(&path)
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(synchronous)
                .busy_timeout(BUSY_TIMEOUT)
                .foreign_keys(false)
                .disable_statement_logging()
        };
        let cannot_open = |error: sqlx::Error| {
            let error = failed(error);
            Error::new(
                error.kind(),
                format!("cannot open the catalog database \"{}\"", path.display()),
            )
            .with_detail(error.detail().unwrap_or_default().to_owned())
            .with_source(error)
        };
        let writer = |synchronous| Writer::connect(options(synchronous));
        let mut durable = writer(SqliteSynchronous::Full).await.map_err(cannot_open)?;
        prepare(&mut durable, &path).await?;
        let relaxed = writer(SqliteSynchronous::Normal).await.map_err(cannot_open)?;
        let watch = options(SqliteSynchronous::Normal)
            .connect()
            .await
            .map_err(cannot_open)?;
        let readers = PoolOptions::<Sqlite>::new()
            .max_connections(READERS_MAX)
            .connect_with(options(SqliteSynchronous::Normal).pragma("query_only", "1"))
            .await
            .map_err(cannot_open)?;
        let database = SqliteDatabase {
            _lock: ServerLock::acquire(&path, server_id)?,
            path,
            server_id,
            readers,
            watch: Mutex::new(watch),
            writers: Mutex::new(Writers { durable, relaxed }),
        };
        // Whatever it will look at first is not older than what is there now.
        let csn = database.pointers(None).await?.csn;
        database.heartbeat(csn).await?;
        Ok(database)
    }

    fn is_alive(&self, server_id: Uuid, heartbeat_ms: Option<i64>, now_ms: i64) -> bool {
        server_id == self.server_id
            || lock::is_held(&self.path, server_id)
                .unwrap_or_else(|| heartbeat_ms.is_some_and(|heartbeat| now_ms - heartbeat < SERVER_SILENCE_MAX_MS))
    }
}

/// Makes or checks the tables, in one transaction: two servers may start at once.
async fn prepare(writer: &mut Writer, path: &Path) -> Result<()> {
    let mut txn = writer.begin().await?;
    let version: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut *txn)
        .await
        .map_err(failed)?;
    match version {
        SCHEMA_VERSION => {}
        1 => {
            sqlx::raw_sql(SINCE_VERSION_1)
                .execute(&mut *txn)
                .await
                .map_err(failed)?;
            execute(&mut txn, "PRAGMA user_version=2").await?;
        }
        0 => {
            sqlx::raw_sql(SCHEMA).execute(&mut *txn).await.map_err(failed)?;
            // An old pyiceberg catalog (schema V0) has no such column.
            let has_type: i64 = sqlx::query_scalar(
                "select count(*) from pragma_table_info('iceberg_tables') where name='iceberg_type'",
            )
            .fetch_one(&mut *txn)
            .await
            .map_err(failed)?;
            if has_type == 0 {
                execute(
                    &mut txn,
                    "alter table iceberg_tables add column iceberg_type varchar(5)",
                )
                .await?;
            }
            execute(&mut txn, "PRAGMA user_version=2").await?;
        }
        newer => {
            return Err(Error::new(
                ErrorKind::NewerFormat,
                format!(
                    "the catalog database \"{}\" was made by a newer version of Staffa",
                    path.display()
                ),
            )
            .with_detail(format!(
                "Its schema version is {newer}; this version knows {SCHEMA_VERSION}."
            ))
            .with_hint("Start it with the version of Staffa that was used last."));
        }
    }
    txn.commit().await.map_err(failed)
}

async fn execute(connection: &mut SqliteConnection, sql: &'static str) -> Result<()> {
    sqlx::query(sql).execute(connection).await.map_err(failed)?;
    Ok(())
}

#[async_trait]
impl Database for SqliteDatabase {
    async fn change_token(&self) -> Result<i64> {
        let mut watch = self.watch.lock().await;
        sqlx::query_scalar("PRAGMA data_version")
            .fetch_one(&mut *watch)
            .await
            .map_err(failed)
    }

    async fn pointers(&self, since: Option<u64>) -> Result<PointerState> {
        let mut txn = self.readers.begin().await.map_err(failed)?;
        let csn: i64 = sqlx::query_scalar("select csn from staffa_head")
            .fetch_one(&mut *txn)
            .await
            .map_err(failed)?;
        let csn = unsigned(csn)?;
        // A number above the head's means the file was replaced by an older one: start again.
        let since = since.filter(|since| *since <= csn);

        let mut databases: BTreeSet<String> = sqlx::query_scalar("select name from staffa_database")
            .fetch_all(&mut *txn)
            .await
            .map_err(failed)?
            .into_iter()
            .collect();
        let mut schemas: BTreeSet<(String, String)> =
            sqlx::query_as("select distinct catalog_name, namespace from iceberg_namespace_properties")
                .fetch_all(&mut *txn)
                .await
                .map_err(failed)?
                .into_iter()
                .collect();
        // Namespaces of other programs' tables count even if nobody made them.
        let named: Vec<(String, String)> =
            sqlx::query_as("select distinct catalog_name, table_namespace from iceberg_tables")
                .fetch_all(&mut *txn)
                .await
                .map_err(failed)?;
        schemas.extend(named);
        databases.extend(schemas.iter().map(|(database, _)| database.clone()));

        let rows = match since {
            None => {
                sqlx::query(
                    "select catalog_name, table_namespace, table_name, metadata_location, iceberg_type from iceberg_tables",
                )
                .fetch_all(&mut *txn)
                .await
            }
            Some(since) => {
                sqlx::query(
                    "select v.catalog_name, v.table_namespace, v.table_name, t.metadata_location, t.iceberg_type
                     from (select distinct catalog_name, table_namespace, table_name from staffa_version where csn > ?1) v
                     left join iceberg_tables t using (catalog_name, table_namespace, table_name)",
                )
                .bind(signed(since)?)
                .fetch_all(&mut *txn)
                .await
            }
        }
        .map_err(failed)?;
        let mut changes = Vec::with_capacity(rows.len());
        for row in rows {
            let name = TableName {
                database: row.try_get(0).map_err(failed)?,
                schema: row.try_get(1).map_err(failed)?,
                name: row.try_get(2).map_err(failed)?,
            };
            let location: Option<String> = row.try_get(3).map_err(failed)?;
            let kind: Option<String> = row.try_get(4).map_err(failed)?;
            let kind = if kind.as_deref() == Some("VIEW") {
                RelationKind::View
            } else {
                RelationKind::Table
            };
            changes.push((name, location.map(|location| Pointer { kind, location })));
        }
        Ok(PointerState {
            csn,
            complete: since.is_none(),
            databases: databases.into_iter().collect(),
            schemas: schemas.into_iter().collect(),
            changes,
        })
    }

    async fn register(&self, txn_id: Uuid, base_csn: u64, table_locations: &[String]) -> Result<()> {
        let mut writers = self.writers.lock().await;
        let mut txn = writers.relaxed.begin().await?;
        let now_ms = Utc::now().timestamp_millis();
        sqlx::query(
            "insert into staffa_txn(txn_id, server_id, kind, base_csn, started_ms, heartbeat_ms, state)
             values (?1, ?2, 0, ?3, ?4, ?4, 0) on conflict(txn_id) do nothing",
        )
        .bind(txn_id.to_string())
        .bind(self.server_id.to_string())
        .bind(signed(base_csn)?)
        .bind(now_ms)
        .execute(&mut *txn)
        .await
        .map_err(failed)?;
        for location in table_locations {
            sqlx::query("insert or ignore into staffa_txn_table(txn_id, table_location) values (?1, ?2)")
                .bind(txn_id.to_string())
                .bind(location)
                .execute(&mut *txn)
                .await
                .map_err(failed)?;
        }
        txn.commit().await.map_err(failed)
    }

    async fn swap(&self, swap: &Swap) -> Result<SwapOutcome> {
        let mut writers = self.writers.lock().await;
        // Dropped on every path but the last: SQLite rolls back.
        let mut txn = writers.durable.begin().await?;
        let txn_id = swap.txn_id.to_string();

        let taken = sqlx::query("update staffa_txn set state=1 where txn_id=?1 and state=0")
            .bind(&txn_id)
            .execute(&mut *txn)
            .await
            .map_err(failed)?;
        if taken.rows_affected() != 1 {
            return Err(Error::conflict(
                "The transaction was given up because its server was thought to be dead.",
            ));
        }
        let csn: i64 = sqlx::query_scalar("update staffa_head set csn=csn+1, batch=1 returning csn")
            .fetch_one(&mut *txn)
            .await
            .map_err(failed)?;
        swap::create_namespaces(&mut txn, swap).await?;
        if !swap::move_pointers(&mut txn, &swap.pointers).await? {
            return Ok(SwapOutcome::Moved);
        }
        swap::drop_namespaces(&mut txn, swap).await?;
        for dead in &swap.garbage {
            sqlx::query("insert or replace into staffa_gc(path, after_csn, not_before_ms) values (?1, ?2, ?3)")
                .bind(&dead.path)
                .bind(csn)
                .bind(dead.not_before_ms)
                .execute(&mut *txn)
                .await
                .map_err(failed)?;
        }
        for path in &swap.revived {
            let gone = sqlx::query("delete from staffa_gc where path=?1")
                .bind(path)
                .execute(&mut *txn)
                .await
                .map_err(failed)?;
            if gone.rows_affected() != 1 {
                return Err(Error::conflict(
                    "The dropped table was brought back or deleted by somebody else.",
                ));
            }
        }
        for share in &swap.shares {
            sqlx::query("insert or ignore into staffa_share(table_location, owner_location) values (?1, ?2)")
                .bind(&share.table_location)
                .bind(&share.owner_location)
                .execute(&mut *txn)
                .await
                .map_err(failed)?;
        }
        sqlx::query("update staffa_txn set commit_csn=?2 where txn_id=?1")
            .bind(&txn_id)
            .bind(csn)
            .execute(&mut *txn)
            .await
            .map_err(failed)?;
        sqlx::query("delete from staffa_txn_table where txn_id=?1")
            .bind(&txn_id)
            .execute(&mut *txn)
            .await
            .map_err(failed)?;
        execute(&mut txn, "update staffa_head set batch=0").await?;
        txn.commit().await.map_err(failed)?;
        Ok(SwapOutcome::Committed(unsigned(csn)?))
    }

    async fn outcome(&self, txn_id: Uuid) -> Result<TxnOutcome> {
        let mut connection = self.readers.acquire().await.map_err(failed)?;
        outcome(&mut connection, txn_id).await
    }

    async fn abort(&self, txn_id: Uuid) -> Result<TxnOutcome> {
        let mut writers = self.writers.lock().await;
        // Through the durable connection: objects are deleted next, and after a crash nobody may commit them.
        let mut txn = writers.durable.begin().await?;
        sqlx::query("update staffa_txn set state=2 where txn_id=?1 and state=0")
            .bind(txn_id.to_string())
            .execute(&mut *txn)
            .await
            .map_err(failed)?;
        let outcome = outcome(&mut txn, txn_id).await?;
        txn.commit().await.map_err(failed)?;
        Ok(outcome)
    }

    async fn cleaned(&self, txn_id: Uuid) -> Result<()> {
        let mut writers = self.writers.lock().await;
        sqlx::query("delete from staffa_txn_table where txn_id=?1")
            .bind(txn_id.to_string())
            .execute(&mut writers.relaxed.connection)
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn heartbeat(&self, oldest_csn: u64) -> Result<()> {
        let mut writers = self.writers.lock().await;
        sqlx::query(
            "insert into staffa_server(server_id, heartbeat_ms, oldest_csn) values (?1, ?2, ?3)
             on conflict(server_id) do update set heartbeat_ms=excluded.heartbeat_ms, oldest_csn=excluded.oldest_csn",
        )
        .bind(self.server_id.to_string())
        .bind(Utc::now().timestamp_millis())
        .bind(signed(oldest_csn)?)
        .execute(&mut writers.relaxed.connection)
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>> {
        let mut writers = self.writers.lock().await;
        let now_ms = Utc::now().timestamp_millis();
        let mut txn = writers.relaxed.begin().await?;
        let servers: Vec<(String, Option<i64>)> = sqlx::query_as(
            "select t.server_id, max(s.heartbeat_ms)
             from (select server_id from staffa_txn union select server_id from staffa_server) t
             left join staffa_server s using (server_id) group by t.server_id",
        )
        .fetch_all(&mut *txn)
        .await
        .map_err(failed)?;
        let mut found = Vec::new();
        for (server, heartbeat_ms) in servers {
            let server_id = Uuid::try_parse(&server).ok();
            if server_id.is_some_and(|id| self.is_alive(id, heartbeat_ms, now_ms)) {
                continue;
            }
            let open: Vec<String> = sqlx::query_scalar(
                "select txn_id from staffa_txn t where server_id=?1 and (state=0
                 or (state=2 and exists (select 1 from staffa_txn_table l where l.txn_id=t.txn_id)))",
            )
            .bind(&server)
            .fetch_all(&mut *txn)
            .await
            .map_err(failed)?;
            if open.is_empty() {
                sqlx::query("delete from staffa_server where server_id=?1")
                    .bind(&server)
                    .execute(&mut *txn)
                    .await
                    .map_err(failed)?;
                if let Some(id) = server_id {
                    lock::remove(&self.path, id);
                }
            }
            for txn_id in open {
                let table_locations = sqlx::query_scalar("select table_location from staffa_txn_table where txn_id=?1")
                    .bind(&txn_id)
                    .fetch_all(&mut *txn)
                    .await
                    .map_err(failed)?;
                if let Ok(txn_id) = Uuid::try_parse(&txn_id) {
                    found.push(Leftover {
                        txn_id,
                        table_locations,
                    });
                }
            }
        }
        sqlx::query(
            "delete from staffa_txn where state<>0 and started_ms<?1
             and not exists (select 1 from staffa_txn_table l where l.txn_id=staffa_txn.txn_id)",
        )
        .bind(now_ms - OUTCOME_KEPT_MS)
        .execute(&mut *txn)
        .await
        .map_err(failed)?;
        txn.commit().await.map_err(failed)?;
        Ok(found)
    }

    async fn garbage(&self, now_ms: i64) -> Result<Vec<GarbageRow>> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "select path, after_csn from staffa_gc g where not_before_ms<=?1 and not exists (
               select 1 from iceberg_tables t where substr(t.metadata_location, 1, length(g.path))=g.path)
             order by path",
        )
        .bind(now_ms)
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        rows.into_iter()
            .map(|(path, csn)| {
                Ok(GarbageRow {
                    path,
                    after_csn: unsigned(csn)?,
                })
            })
            .collect()
    }

    async fn oldest_base_csn(&self) -> Result<Option<u64>> {
        let now_ms = Utc::now().timestamp_millis();
        let mut oldest: Option<i64> = sqlx::query_scalar("select min(base_csn) from staffa_txn where state=0")
            .fetch_one(&self.readers)
            .await
            .map_err(failed)?;
        let servers: Vec<(String, Option<i64>, Option<i64>)> =
            sqlx::query_as("select server_id, heartbeat_ms, oldest_csn from staffa_server")
                .fetch_all(&self.readers)
                .await
                .map_err(failed)?;
        for (server, heartbeat_ms, csn) in servers {
            // What this server looks at its caller knows better.
            let id = Uuid::try_parse(&server).ok().filter(|id| *id != self.server_id);
            if id.is_some_and(|id| self.is_alive(id, heartbeat_ms, now_ms)) {
                let csn = csn.unwrap_or(0);
                oldest = Some(oldest.map_or(csn, |oldest| oldest.min(csn)));
            }
        }
        oldest.map(unsigned).transpose()
    }

    async fn shares(&self) -> Result<Vec<Share>> {
        let rows: Vec<(String, String)> = sqlx::query_as("select table_location, owner_location from staffa_share")
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        let share = |(table_location, owner_location)| Share {
            table_location,
            owner_location,
        };
        Ok(rows.into_iter().map(share).collect())
    }

    async fn last_metadata(&self, table_location: &str) -> Result<Option<String>> {
        sqlx::query_scalar(
            "select metadata_location from staffa_version where substr(metadata_location, 1, length(?1))=?1
             order by csn desc limit 1",
        )
        .bind(format!("{table_location}/"))
        .fetch_optional(&self.readers)
        .await
        .map_err(failed)
    }

    async fn dropped(&self, name: &TableName, not_before_ms: i64) -> Result<Option<Dropped>> {
        // The last metadata of the table must be of this name: it may have been renamed before it was dropped.
        let row: Option<(String, String)> = sqlx::query_as(
            "select v.metadata_location, g.path from staffa_gc g
             join staffa_version v on substr(v.metadata_location, 1, length(g.path))=g.path
             where g.path like '%/' and g.not_before_ms>?4
               and v.catalog_name=?1 and v.table_namespace=?2 and v.table_name=?3
               and not exists (select 1 from staffa_version w where w.csn>v.csn
                 and substr(w.metadata_location, 1, length(g.path))=g.path)
             order by v.csn desc limit 1",
        )
        .bind(&name.database)
        .bind(&name.schema)
        .bind(&name.name)
        .bind(not_before_ms)
        .fetch_optional(&self.readers)
        .await
        .map_err(failed)?;
        Ok(row.map(|(metadata_location, garbage)| Dropped {
            metadata_location,
            garbage,
        }))
    }

    async fn forget_garbage(&self, paths: &[String]) -> Result<()> {
        let mut writers = self.writers.lock().await;
        let mut txn = writers.relaxed.begin().await?;
        for path in paths {
            sqlx::query("delete from staffa_gc where path=?1")
                .bind(path)
                .execute(&mut *txn)
                .await
                .map_err(failed)?;
            if let Some(table_location) = path.strip_suffix('/') {
                sqlx::query("delete from staffa_share where table_location=?1")
                    .bind(table_location)
                    .execute(&mut *txn)
                    .await
                    .map_err(failed)?;
            }
        }
        txn.commit().await.map_err(failed)
    }

    async fn secret(&self, role: &str) -> Result<Option<String>> {
        sqlx::query_scalar("select verifier from staffa_role where name=?1")
            .bind(role)
            .fetch_optional(&self.readers)
            .await
            .map_err(failed)
    }

    async fn set_secret(&self, role: &str, verifier: &str) -> Result<()> {
        let mut writers = self.writers.lock().await;
        sqlx::query(
            "insert into staffa_role(name, verifier) values (?1, ?2)
             on conflict(name) do update set verifier=excluded.verifier",
        )
        .bind(role)
        .bind(verifier)
        .execute(&mut writers.durable.connection)
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn roles(&self) -> Result<Vec<String>> {
        sqlx::query_scalar("select name from staffa_role order by name")
            .fetch_all(&self.readers)
            .await
            .map_err(failed)
    }
}

async fn outcome(connection: &mut SqliteConnection, txn_id: Uuid) -> Result<TxnOutcome> {
    let row: Option<(i64, Option<i64>)> = sqlx::query_as("select state, commit_csn from staffa_txn where txn_id=?1")
        .bind(txn_id.to_string())
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    match row {
        Some((0, _)) => Ok(TxnOutcome::Open),
        Some((1, Some(csn))) => Ok(TxnOutcome::Committed(unsigned(csn)?)),
        Some((1, None)) => Err(Error::new(
            ErrorKind::Corrupt,
            format!("transaction {txn_id} has no commit number"),
        )),
        _ => Ok(TxnOutcome::Aborted),
    }
}

fn signed(csn: u64) -> Result<i64> {
    i64::try_from(csn).map_err(|_| Error::internal("a commit sequence number is out of range"))
}

fn unsigned(csn: i64) -> Result<u64> {
    u64::try_from(csn).map_err(|_| {
        Error::new(
            ErrorKind::Corrupt,
            "the catalog database holds a negative commit sequence number",
        )
    })
}

/// An error of SQLite by what a caller can do about it (primary result codes, <https://sqlite.org/rescode.html>).
fn failed(error: sqlx::Error) -> Error {
    let code = match &error {
        sqlx::Error::Database(database) => database
            .code()
            .and_then(|code| code.parse::<u32>().ok())
            .map_or(0, |code| code & 0xff),
        _ => 0,
    };
    let (kind, message) = match code {
        13 => (ErrorKind::DiskFull, "no space is left for the catalog database"),
        11 | 26 => (ErrorKind::Corrupt, "the catalog database is damaged"),
        5 | 6 => (ErrorKind::Io, "the catalog database is locked by another process"),
        8 => (ErrorKind::Io, "the catalog database is read-only"),
        _ => (ErrorKind::Io, "the catalog database failed"),
    };
    Error::new(kind, message)
        .with_detail(error.to_string())
        .with_source(error)
}
