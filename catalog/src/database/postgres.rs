//! The catalog database on PostgreSQL, shared by any number of servers.
//!
//! * `READ COMMITTED`, with locks: a commit locks its transaction's row, then its tables' rows in the order of their
//!   names, and last the head, where it gets its number. Commits that make or drop names take turns by an advisory lock,
//!   so that what they checked stays true. Readers see one moment (`REPEATABLE READ`).
//! * Commits are synchronous whatever the database's default is; intents are not.
//! * A server shows that it is alive by an advisory lock on its id, which PostgreSQL lets go when the connection ends.
//!   That connection also tells, by one row, whether the catalog has changed.
//! * A connection that met an error is thrown away, and one that was idle is tried before it is used: after a restart of
//!   the database nobody has to know.

mod connection;
mod options;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use self::connection::{Lent, LentLife, Link};
use self::options::connect_options;
pub(in crate::database) use self::options::shown;
use super::sql::statements::{Row, Statements};
use super::sql::{Backend, Connection, Need};
use super::{MAKER, NOTE_MAKER};
use crate::error::{Error, ErrorKind, Result};

const SCHEMA: &str = include_str!("schema.postgres.sql");
/// What makes version 2 of version 1, and so on; `SCHEMA` is version 1.
const MIGRATIONS: [&str; 7] = [
    // How many numbers of each sequence are taken.
    "create table staffa_sequence(id varchar(36) primary key, taken bigint not null)",
    // Where a sequence begins, when `setval` said so.
    "alter table staffa_sequence add column origin bigint",
    // When the deletion of garbage was begun last.
    "alter table staffa_gc add column tried_ms bigint",
    // Numbers of objects.
    "create table staffa_object(name varchar(500) primary key, number bigint not null)",
    // The numbers of commits that brought much garbage: where staffa_gc has a negative one, it is that of the batch.
    "create table staffa_gc_commit(batch bigint primary key, csn bigint not null);
     create index staffa_gc_after on staffa_gc(after_csn)",
    // Roles and grants; a null definition is one that is gone.
    "create table staffa_access(object varchar(1000) primary key, definition text, csn bigint not null);
     create index staffa_access_csn on staffa_access(csn)",
    // Grants on functions and settings of databases are rows among the grants that older servers cannot read.
    "select 1",
];
pub(super) const SCHEMA_VERSION: i64 = 1 + MIGRATIONS.len() as i64;

/// Any number that other users of the database are unlikely to lock; the first letters of "staffa".
const PREPARE_LOCK: i64 = 0x7374_6166_6661_0001;
const NAMES_LOCK: i64 = 0x7374_6166_6661_0002;

/// Connections besides the one that shows life, those that are idle counted.
const CONNECTIONS_MAX: usize = 16;
/// A connection that nobody needed for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// A connection that was idle for less is believed to work.
const TRUSTED_FOR: Duration = Duration::from_millis(500);
/// How long a database that is starting or refuses connections is waited for.
const START_PATIENCE: Duration = Duration::from_secs(5);
const START_PAUSE: Duration = Duration::from_millis(100);
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// A catalog in a PostgreSQL database.
pub(super) struct PostgresBackend {
    /// Without the password.
    shown: String,
    pool: Arc<Pool>,
    server_id: Uuid,
    /// The connection that shows life and watches for changes.
    life: tokio::sync::Mutex<Option<Link>>,
}

impl fmt::Debug for PostgresBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresBackend")
            .field("database", &self.shown)
            .finish()
    }
}

/// Idle connections of each need, thrown away when one of them turned out dead.
pub(super) struct Pool {
    options: PgConnectOptions,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
    /// Counts the connections that were lost: those made before are suspects.
    losses: AtomicU64,
}

struct Idle {
    need: Need,
    link: Link,
    since: Instant,
    losses: u64,
}

impl PostgresBackend {
    /// Connects, making or migrating the tables.
    pub(super) async fn open(url: &str, server_id: Uuid) -> Result<PostgresBackend> {
        let shown = shown(url);
        let options = connect_options(url)?;
        let cannot_open = |error: Error| {
            Error::new(error.kind(), format!("cannot open the catalog database {shown}"))
                .with_detail(error.detail().unwrap_or(error.message()).to_owned())
                .with_source(error)
        };
        let pool = Arc::new(Pool {
            options,
            permits: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            idle: Mutex::default(),
            losses: AtomicU64::new(0),
        });
        let backend = PostgresBackend {
            shown: shown.clone(),
            pool,
            server_id,
            life: tokio::sync::Mutex::new(None),
        };
        let mut first = backend.pool.take(Need::Durable).await.map_err(cannot_open)?;
        prepare(&mut first, &shown).await?;
        Ok(backend)
    }

    /// The connection that shows life, made again when it was lost.
    async fn life(&self) -> Result<LentLife<'_>> {
        let mut life = self.life.lock().await;
        if life.is_none() {
            let mut link = self.pool.connect(Need::Note).await?;
            // Not waited for: when PostgreSQL has not noticed yet that the last connection is gone, that one still holds it.
            link.rows("select pg_try_advisory_lock($1)::int", &[key(self.server_id).into()])
                .await?;
            *life = Some(link);
        }
        Ok(LentLife { life })
    }
}

#[async_trait]
impl Backend for PostgresBackend {
    async fn connection(&self, need: Need) -> Result<Box<dyn Connection>> {
        Ok(Box::new(self.pool.take(need).await?))
    }

    fn may_lose_notes(&self) -> bool {
        true
    }

    async fn change_token(&self) -> Result<i64> {
        let sql = "select csn from staffa_head";
        let mut life = self.life().await?;
        let rows = match life.rows(sql, &[]).await {
            Ok(rows) => rows,
            // Lost while nobody used it: once more, on a new one.
            Err(error) => {
                tracing::info!(%error, "connecting to the catalog database again");
                drop(life);
                self.pool.lost();
                self.life().await?.rows(sql, &[]).await?
            }
        };
        let row = rows
            .first()
            .ok_or_else(|| Error::new(ErrorKind::Corrupt, "the catalog database has no head"))?;
        row.number(0)
    }

    async fn sign_of_life(&self) -> Result<Box<dyn Statements + '_>> {
        let mut life = self.life().await?;
        // The lock again, in case a dead connection held it when this one was made. Locks count; that does no harm.
        let locked = life
            .rows("select pg_try_advisory_lock($1)::int", &[key(self.server_id).into()])
            .await;
        if locked.is_err() {
            drop(life);
            self.pool.lost();
            life = self.life().await?;
        }
        Ok(Box::new(life))
    }

    async fn is_held(&self, server_id: Uuid) -> Result<Option<bool>> {
        let mut connection = self.pool.take(Need::Note).await?;
        // Let go at once: outside a transaction, the statement is one.
        let rows = connection
            .rows("select pg_try_advisory_xact_lock($1)::int", &[key(server_id).into()])
            .await?;
        rows.first().map(|row| Ok(row.number(0)? == 0)).transpose()
    }

    /// With the connection, or when the database is restarted.
    fn may_lose_sign(&self) -> bool {
        true
    }

    /// The lock went with the connection.
    fn forget_server(&self, _server_id: Uuid) {}

    /// Connections end when they are dropped; nothing waits in them.
    async fn close(self: Box<Self>) {}
}

impl Pool {
    /// A connection that works, idle or new.
    async fn take(self: &Arc<Self>, need: Need) -> Result<Lent> {
        let permit = self.permit().await?;
        while let Some(mut idle) = self.pop(need) {
            if idle.losses != self.losses.load(Ordering::Relaxed) {
                continue;
            }
            if idle.since.elapsed() < TRUSTED_FOR || idle.link.answers().await {
                return Ok(Lent::new(idle.link, need, self.clone(), permit));
            }
            self.lost();
        }
        self.make_room();
        let link = self.connect(need).await?;
        Ok(Lent::new(link, need, self.clone(), permit))
    }

    /// Closes idle connections, the oldest first, until there may be one more. Whoever holds a permit has one, or is about
    /// to.
    fn make_room(&self) {
        let mut idle = self.idle.lock();
        idle.sort_by_key(|idle| idle.since);
        let surplus = idle.len().saturating_sub(self.permits.available_permits());
        idle.drain(..surplus);
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit> {
        let permit = self.permits.clone().acquire_owned().await;
        permit.map_err(|error| Error::internal("the connections to the catalog database are closed").with_source(error))
    }

    fn pop(&self, need: Need) -> Option<Idle> {
        let mut idle = self.idle.lock();
        idle.retain(|idle| idle.since.elapsed() < IDLE_MAX);
        // The one used last: the others grow old and are tried before use.
        let index = idle.iter().rposition(|idle| idle.need == need)?;
        Some(idle.swap_remove(index))
    }

    fn put_back(&self, link: Link, need: Need) {
        let (since, losses) = (Instant::now(), self.losses.load(Ordering::Relaxed));
        let mut idle = self.idle.lock();
        idle.retain(|idle| idle.since.elapsed() < IDLE_MAX);
        idle.push(Idle {
            need,
            link,
            since,
            losses,
        });
    }

    /// A connection died: the idle ones probably did too.
    fn lost(&self) {
        self.losses.fetch_add(1, Ordering::Relaxed);
        self.idle.lock().clear();
    }

    /// A new connection. A database that is just starting again is waited for.
    async fn connect(&self, need: Need) -> Result<Link> {
        let give_up_at = Instant::now() + START_PATIENCE;
        loop {
            let options = options::for_need(&self.options, need);
            let connected = tokio::time::timeout(CONNECT_TIME_MAX, PgConnection::connect_with(&options)).await;
            match connected {
                Ok(Ok(connection)) => return Ok(Link::new(connection)),
                Ok(Err(error)) if is_starting(&error) && Instant::now() < give_up_at => {
                    tokio::time::sleep(START_PAUSE).await;
                }
                Ok(Err(error)) => return Err(cannot_connect(connection::failed(error))),
                Err(_) => {
                    return Err(cannot_connect(Error::new(
                        ErrorKind::Io,
                        format!("no answer for {} s", CONNECT_TIME_MAX.as_secs()),
                    )));
                }
            }
        }
    }
}

fn cannot_connect(error: Error) -> Error {
    let detail = error.detail().unwrap_or(error.message()).to_owned();
    Error::new(ErrorKind::Io, "cannot connect to the catalog database")
        .with_detail(detail)
        .with_source(error)
}

/// Whether a new attempt may soon succeed: nobody listens, or PostgreSQL says it is starting up or shutting down.
fn is_starting(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => matches!(
            error.kind(),
            std::io::ErrorKind::ConnectionRefused | std::io::ErrorKind::NotFound
        ),
        sqlx::Error::Database(error) => matches!(error.code().as_deref(), Some("57P03" | "57P01" | "57P02")),
        _ => false,
    }
}

/// Makes, migrates or checks the tables. Servers that start at once take turns.
async fn prepare(connection: &mut Lent, shown: &str) -> Result<()> {
    connection.begin().await?;
    connection
        .execute("select pg_advisory_xact_lock($1)", &[PREPARE_LOCK.into()])
        .await?;
    let mut found = version(connection).await?;
    if found == 0 {
        connection.run_script(SCHEMA).await?;
        found = 1;
    }
    if found > SCHEMA_VERSION {
        let maker = connection.rows(MAKER, &[]).await.unwrap_or_default();
        let maker = maker.first().and_then(|row| row.text(0).ok());
        return Err(super::newer_format(shown, found, SCHEMA_VERSION, maker.as_deref()));
    }
    for (from, migration) in (1..).zip(MIGRATIONS) {
        if found <= from {
            connection.run_script(migration).await?;
            connection
                .execute("update staffa_format set version=$1", &[(from + 1).into()])
                .await?;
        }
    }
    if found < SCHEMA_VERSION {
        let maker = env!("CARGO_PKG_VERSION");
        connection.execute(NOTE_MAKER, &[maker.into()]).await?;
    }
    let fsync = connection
        .rows("select (current_setting('fsync')='off')::int", &[])
        .await?;
    if fsync.first().map(|row| row.number(0)).transpose()? == Some(1) {
        tracing::warn!("PostgreSQL runs with fsync = off: commits may be lost with the power");
    }
    connection.commit().await
}

/// Only to look at it: nothing is made or migrated.
pub(super) async fn look(url: &str) -> Result<impl Connection> {
    let pool = Arc::new(Pool {
        options: connect_options(url)?,
        permits: Arc::new(Semaphore::new(1)),
        idle: Mutex::default(),
        losses: AtomicU64::new(0),
    });
    pool.take(Need::Read).await
}

/// The version of the tables; 0: there are none.
pub(super) async fn version(connection: &mut dyn Statements) -> Result<i64> {
    let number = |rows: Vec<Row>| rows.first().map(|row| row.number(0)).transpose();
    let there = "select (to_regclass('staffa_format') is not null)::int";
    if number(connection.rows(there, &[]).await?)? != Some(1) {
        return Ok(0);
    }
    let rows = connection.rows("select version from staffa_format", &[]).await?;
    Ok(number(rows)?.unwrap_or_default())
}

/// The advisory lock of a server.
fn key(server_id: Uuid) -> i64 {
    let (high, _) = server_id.as_u64_pair();
    i64::from_ne_bytes(high.to_ne_bytes())
}

#[cfg(test)]
mod tests;
