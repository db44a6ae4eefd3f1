//! The catalog database in one SQLite file.
//!
//! WAL; one writer at a time, which fsyncs every commit (`synchronous=FULL`); intents and heartbeats go through a second
//! connection that leaves the fsync to the next commit: losing them with the power costs a cleanup, never data.

mod connection;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection as _, Sqlite, SqliteConnection};
use tokio::sync::Mutex;
use uuid::Uuid;

use self::connection::{Lent, Writer, Writers};
use super::lock::{self, ServerLock};
use super::sql::statements::Statements;
use super::sql::{Backend, Connection, Need};
use super::{MAKER, NOTE_MAKER};
use crate::error::{Error, ErrorKind, Result};

const SCHEMA: &str = include_str!("schema.sqlite.sql");
/// What makes version 2 of version 1, 3 of 2, and so on.
const MIGRATIONS: [&str; 9] = [
    // Clones, and what servers look at.
    "create table staffa_share(table_location varchar(1000) not null, owner_location varchar(1000) not null,
       primary key(table_location, owner_location));
     alter table staffa_server add column oldest_csn bigint;
     PRAGMA user_version=2",
    "create table staffa_setting(name varchar(255) primary key, value varchar(2000) not null);
     PRAGMA user_version=3",
    // How many numbers of each sequence are taken.
    "create table staffa_sequence(id varchar(36) primary key, taken bigint not null);
     PRAGMA user_version=4",
    // Where a sequence begins, when `setval` said so.
    "alter table staffa_sequence add column origin bigint;
     PRAGMA user_version=5",
    // When the deletion of garbage was begun last.
    "alter table staffa_gc add column tried_ms bigint;
     PRAGMA user_version=6",
    // Numbers of objects.
    "create table staffa_object(name varchar(500) primary key, number bigint not null);
     PRAGMA user_version=7",
    // The numbers of commits that brought much garbage.
    "create table staffa_gc_commit(batch bigint primary key, csn bigint not null);
     create index staffa_gc_after on staffa_gc(after_csn);
     PRAGMA user_version=8",
    // Roles and grants.
    "create table staffa_access(object varchar(1000) primary key, definition text, csn bigint not null);
     create index staffa_access_csn on staffa_access(csn);
     PRAGMA user_version=9",
    // Grants on functions and settings of databases are rows among the grants that older servers cannot read.
    "PRAGMA user_version=10",
];
pub(super) const SCHEMA_VERSION: i64 = 1 + MIGRATIONS.len() as i64;

const READERS_MAX: u32 = 4;
/// How long a writer of another process is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// A catalog database in a SQLite file.
pub(super) struct SqliteBackend {
    path: PathBuf,
    readers: SqlitePool,
    /// `PRAGMA data_version` compares only with itself on one connection, so this one is used for nothing else.
    watch: Mutex<SqliteConnection>,
    /// The lock also keeps this process's writers from polling for SQLite's own lock.
    writers: Arc<Mutex<Writers>>,
    server_id: Uuid,
    _lock: ServerLock,
}

impl fmt::Debug for SqliteBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteBackend").field("path", &self.path).finish()
    }
}

impl SqliteBackend {
    /// Opens the file, making it and its tables when new.
    pub(super) async fn open(path: &str, server_id: Uuid) -> Result<SqliteBackend> {
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
        keep_older(durable.connection(), &path).await?;
        let relaxed = writer(SqliteSynchronous::Normal).await.map_err(cannot_open)?;
        let writers = Arc::new(Mutex::new(Writers { durable, relaxed }));
        prepare(
            &mut Lent::writer(writers.clone().lock_owned().await, Need::Durable),
            &path,
        )
        .await?;
        let watch = options(SqliteSynchronous::Normal)
            .connect()
            .await
            .map_err(cannot_open)?;
        let readers = PoolOptions::<Sqlite>::new()
            .max_connections(READERS_MAX)
            .connect_with(options(SqliteSynchronous::Normal).pragma("query_only", "1"))
            .await
            .map_err(cannot_open)?;
        Ok(SqliteBackend {
            _lock: ServerLock::acquire(&path, server_id)?,
            path,
            readers,
            watch: Mutex::new(watch),
            writers,
            server_id,
        })
    }
}

/// Only to look at it: nothing is made, migrated or written.
pub(super) async fn look(path: &str) -> Result<impl Connection> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging();
    let pool = PoolOptions::<Sqlite>::new().max_connections(1).connect_with(options);
    let pool = pool.await.map_err(failed)?;
    Ok(Lent::reader(pool.acquire().await.map_err(failed)?))
}

/// What SQLite finds wrong with the file.
pub(super) async fn damage(connection: &mut dyn Statements) -> Result<Vec<String>> {
    let rows = connection.rows("PRAGMA integrity_check", &[]).await?;
    let texts = rows.iter().map(|row| row.text(0)).collect::<Result<Vec<_>>>()?;
    Ok(texts.into_iter().filter(|text| text != "ok").collect())
}

/// The version of the tables; 0: there are none.
pub(super) async fn version(connection: &mut dyn Statements) -> Result<i64> {
    match connection.rows("PRAGMA user_version", &[]).await?.first() {
        Some(row) => row.number(0),
        None => Ok(0),
    }
}

#[async_trait]
impl Backend for SqliteBackend {
    async fn connection(&self, need: Need) -> Result<Box<dyn Connection>> {
        Ok(Box::new(match need {
            Need::Read => Lent::reader(self.readers.acquire().await.map_err(failed)?),
            Need::Note | Need::Durable => Lent::writer(self.writers.clone().lock_owned().await, need),
        }))
    }

    /// Only with the machine.
    fn may_lose_notes(&self) -> bool {
        false
    }

    async fn change_token(&self) -> Result<i64> {
        let mut watch = self.watch.lock().await;
        sqlx::query_scalar("PRAGMA data_version")
            .fetch_one(&mut *watch)
            .await
            .map_err(failed)
    }

    /// The lock file is the sign; any connection writes the heartbeat.
    async fn sign_of_life(&self) -> Result<Box<dyn Statements + '_>> {
        Ok(Box::new(Lent::writer(
            self.writers.clone().lock_owned().await,
            Need::Note,
        )))
    }

    async fn is_held(&self, server_id: Uuid) -> Result<Option<bool>> {
        Ok(lock::is_held(&self.path, server_id))
    }

    /// The kernel keeps the lock as long as the process lives.
    fn may_lose_sign(&self) -> bool {
        false
    }

    fn forget_server(&self, server_id: Uuid) {
        lock::remove(&self.path, server_id);
    }

    async fn close(self: Box<Self>) {
        lock::remove(&self.path, self.server_id);
        self.readers.close().await;
        let closed = self.watch.into_inner().close().await;
        // Whoever still has a writer closes it later.
        let writers = Arc::into_inner(self.writers).map(Mutex::into_inner);
        let closed = match writers {
            Some(writers) => closed.and(writers.close().await),
            None => closed,
        };
        if let Err(error) = closed {
            tracing::debug!(%error, "a connection to the catalog database was not closed in order");
        }
    }
}

/// Before a catalog of an older version is migrated: a copy of it beside it, `catalog.db.version-8`, for who wants to go back.
async fn keep_older(connection: &mut SqliteConnection, path: &Path) -> Result<()> {
    let version: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    let beside = |suffix: String| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let kept = beside(format!(".version-{version}"));
    if !(1..SCHEMA_VERSION).contains(&version) || kept.exists() {
        return Ok(());
    }
    let part = beside(format!(".version-{version}.{}.part", Uuid::new_v4()));
    sqlx::query("VACUUM INTO $1")
        .bind(part.to_string_lossy().into_owned())
        .execute(connection)
        .await
        .map_err(failed)?;
    let name = || {
        std::fs::File::open(&part)?.sync_all()?;
        std::fs::rename(&part, &kept)?;
        match kept.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            Some(directory) => std::fs::File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    };
    name().map_err(|error: std::io::Error| {
        Error::new(ErrorKind::Io, "cannot keep a copy of the older catalog database").with_source(error)
    })?;
    tracing::info!(version, copy = %kept.display(), "the catalog database is of an older version: it is migrated");
    Ok(())
}

/// Makes, migrates or checks the tables, in one transaction: two servers may start at once.
async fn prepare(writer: &mut Lent, path: &Path) -> Result<()> {
    writer.begin().await?;
    let version = version(writer).await?;
    if version > SCHEMA_VERSION {
        // Such a version may have the note elsewhere.
        let maker = writer.rows(MAKER, &[]).await.unwrap_or_default();
        let maker = maker.first().and_then(|row| row.text(0).ok());
        return Err(super::newer_format(
            &path.display().to_string(),
            version,
            SCHEMA_VERSION,
            maker.as_deref(),
        ));
    }
    if version == 0 {
        writer.run_script(SCHEMA).await?;
        // An old pyiceberg catalog (schema V0) has no such column.
        let columns = "select 1 from pragma_table_info('iceberg_tables') where name='iceberg_type'";
        if writer.rows(columns, &[]).await?.is_empty() {
            writer
                .execute("alter table iceberg_tables add column iceberg_type varchar(5)", &[])
                .await?;
        }
        writer.run_script("PRAGMA user_version=10").await?;
    }
    for (from, migration) in (1..).zip(MIGRATIONS) {
        if (1..=from).contains(&version) {
            writer.run_script(migration).await?;
        }
    }
    if version < SCHEMA_VERSION {
        let maker = env!("CARGO_PKG_VERSION");
        writer.execute(NOTE_MAKER, &[maker.into()]).await?;
    }
    writer.commit().await
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
