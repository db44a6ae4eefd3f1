//! Connections of the PostgreSQL catalog. One that met an error is closed, not given back.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgArguments, PgDatabaseError, PgRow, PgSeverity};
use sqlx::query::Query;
use sqlx::{Connection as _, Executor, PgConnection, Postgres, Row as _, TypeInfo, ValueRef};
use tokio::sync::{MutexGuard, OwnedSemaphorePermit};

use super::{NAMES_LOCK, Pool};
use crate::database::sql::statements::{Argument, Cell, Row, Statements};
use crate::database::sql::{Connection, Need};
use crate::error::{Error, ErrorKind, Result};

/// Longer than the server's own limit for a statement: only a network that swallows answers gets here.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(75);
const PING_TIME_MAX: Duration = Duration::from_secs(2);

/// A connection, and whether all went well on it.
pub(super) struct Link {
    connection: PgConnection,
    is_sound: bool,
}

impl Link {
    pub(super) fn new(connection: PgConnection) -> Link {
        Link {
            connection,
            is_sound: true,
        }
    }

    pub(super) async fn answers(&mut self) -> bool {
        let pinged = tokio::time::timeout(PING_TIME_MAX, self.connection.ping()).await;
        matches!(pinged, Ok(Ok(())))
    }

    /// Waits for an answer. Whoever gives up waiting leaves a connection nobody may use.
    async fn answer<T>(&mut self, work: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>) -> Result<T> {
        self.is_sound = false;
        let answer = tokio::time::timeout(ANSWER_TIME_MAX, work(&mut self.connection)).await;
        match answer {
            Ok(Ok(value)) => {
                self.is_sound = true;
                Ok(value)
            }
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => Err(Error::new(ErrorKind::Io, "the catalog database does not answer")),
        }
    }
}

#[async_trait]
impl Statements for Link {
    async fn execute(&mut self, sql: &'static str, arguments: &[Argument<'_>]) -> Result<u64> {
        let query = bind(sql, arguments);
        let done = self.answer(async |connection| query.execute(connection).await).await?;
        Ok(done.rows_affected())
    }

    async fn rows(&mut self, sql: &'static str, arguments: &[Argument<'_>]) -> Result<Vec<Row>> {
        let query = bind(sql, arguments);
        let rows = self
            .answer(async |connection| query.fetch_all(connection).await)
            .await?;
        rows.iter().map(row).collect()
    }
}

/// A connection lent to one user.
pub(super) struct Lent {
    /// `None` only while it is being given back.
    link: Option<Link>,
    need: Need,
    in_transaction: bool,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl Lent {
    pub(super) fn new(link: Link, need: Need, pool: Arc<Pool>, permit: OwnedSemaphorePermit) -> Lent {
        Lent {
            link: Some(link),
            need,
            in_transaction: false,
            pool,
            _permit: permit,
        }
    }

    fn link(&mut self) -> Result<&mut Link> {
        let link = self.link.as_mut();
        link.ok_or_else(|| Error::internal("a connection was used after it was given back"))
    }

    /// Several statements without arguments.
    pub(super) async fn run_script(&mut self, sql: &'static str) -> Result<()> {
        let link = self.link()?;
        link.answer(async |connection| connection.execute(sqlx::raw_sql(sql)).await)
            .await?;
        Ok(())
    }
}

impl Drop for Lent {
    /// One in a transaction is closed, and PostgreSQL rolls back.
    fn drop(&mut self) {
        match self.link.take() {
            Some(link) if link.is_sound && !self.in_transaction => self.pool.put_back(link, self.need),
            _ => {}
        }
    }
}

#[async_trait]
impl Statements for Lent {
    async fn execute(&mut self, sql: &'static str, arguments: &[Argument<'_>]) -> Result<u64> {
        self.link()?.execute(sql, arguments).await
    }

    async fn rows(&mut self, sql: &'static str, arguments: &[Argument<'_>]) -> Result<Vec<Row>> {
        self.link()?.rows(sql, arguments).await
    }
}

#[async_trait]
impl Connection for Lent {
    async fn begin(&mut self) -> Result<()> {
        self.in_transaction = true;
        let sql = match self.need {
            Need::Read => "begin isolation level repeatable read, read only",
            Need::Note | Need::Durable => "begin isolation level read committed, read write",
        };
        self.execute(sql, &[]).await?;
        Ok(())
    }

    async fn commit(&mut self) -> Result<()> {
        match self.execute("commit", &[]).await {
            Ok(_) => {
                self.in_transaction = false;
                Ok(())
            }
            // What PostgreSQL says no to is rolled back. Without its word the transaction may be either.
            Err(error) if self.need == Need::Durable && !is_refusal(&error) => Err(Error::outcome_unknown(error)),
            Err(error) => Err(error),
        }
    }

    async fn rollback(&mut self) {
        // A connection that met an error works all the same when PostgreSQL said what it was.
        match self.execute("rollback", &[]).await {
            Ok(_) => self.in_transaction = false,
            Err(error) => tracing::debug!(%error, "cannot roll back on the catalog database"),
        }
    }

    async fn begin_swap(&mut self, changes_names: bool) -> Result<()> {
        if changes_names {
            self.execute("select pg_advisory_xact_lock($1)", &[NAMES_LOCK.into()])
                .await?;
        }
        Ok(())
    }

    fn keep_pointer(&self) -> &'static str {
        "select 1 from iceberg_tables
         where catalog_name=$1 and table_namespace=$2 and table_name=$3 and metadata_location=$4 for share"
    }

    /// The triggers, which number and journal what was changed, would run at the COMMIT.
    async fn take_number(&mut self) -> Result<i64> {
        self.execute("set constraints all immediate", &[]).await?;
        let rows = self.rows("select staffa_number()", &[]).await?;
        let row = rows
            .first()
            .ok_or_else(|| Error::new(ErrorKind::Corrupt, "the catalog database has no head"))?;
        row.number(0)
    }

    fn is_transient(&self, error: &Error) -> bool {
        // Serialization failure, deadlock, lock timeout; and a name that another program made in between.
        matches!(code(error).as_deref(), Some("40001" | "40P01" | "55P03" | "23505"))
    }
}

/// The connection that shows life, lent. It is closed when something went wrong.
pub(super) struct LentLife<'a> {
    pub(super) life: MutexGuard<'a, Option<Link>>,
}

impl LentLife<'_> {
    fn link(&mut self) -> Result<&mut Link> {
        let link = self.life.as_mut();
        link.ok_or_else(|| Error::internal("a connection was used after it was lost"))
    }
}

impl Drop for LentLife<'_> {
    fn drop(&mut self) {
        if self.life.as_ref().is_some_and(|link| !link.is_sound) {
            *self.life = None;
        }
    }
}

#[async_trait]
impl Statements for LentLife<'_> {
    async fn execute(&mut self, sql: &'static str, arguments: &[Argument<'_>]) -> Result<u64> {
        self.link()?.execute(sql, arguments).await
    }

    async fn rows(&mut self, sql: &'static str, arguments: &[Argument<'_>]) -> Result<Vec<Row>> {
        self.link()?.rows(sql, arguments).await
    }
}

fn bind(sql: &'static str, arguments: &[Argument<'_>]) -> Query<'static, Postgres, PgArguments> {
    arguments
        .iter()
        .fold(sqlx::query(sql), |query, argument| match argument {
            Argument::Text(text) => query.bind((*text).to_owned()),
            Argument::Number(number) => query.bind(*number),
            Argument::Null => query.bind(None::<i64>),
            Argument::NullText => query.bind(None::<String>),
        })
}

fn row(row: &PgRow) -> Result<Row> {
    let cell = |index| {
        let value = row.try_get_raw(index).map_err(failed)?;
        if value.is_null() {
            return Ok(Cell::Null);
        }
        let number = match value.type_info().name() {
            "INT8" => row.try_get::<i64, _>(index),
            "INT4" => row.try_get::<i32, _>(index).map(i64::from),
            "INT2" => row.try_get::<i16, _>(index).map(i64::from),
            _ => return row.try_get(index).map(Cell::Text).map_err(failed),
        };
        number.map(Cell::Number).map_err(failed)
    };
    (0..row.len()).map(cell).collect::<Result<_>>().map(Row)
}

/// PostgreSQL's code of an error, when it gave one.
fn code(error: &Error) -> Option<String> {
    let source = std::error::Error::source(error)?;
    match source.downcast_ref::<sqlx::Error>()? {
        sqlx::Error::Database(error) => error.code().map(|code| code.into_owned()),
        _ => None,
    }
}

/// Whether PostgreSQL itself said no. With FATAL or PANIC it went away, before or after the COMMIT.
fn is_refusal(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<sqlx::Error>());
    let Some(sqlx::Error::Database(error)) = source else {
        return false;
    };
    let refused = error.try_downcast_ref::<PgDatabaseError>();
    refused.is_some_and(|error| error.severity() == PgSeverity::Error && !error.code().starts_with("08"))
}

/// An error by what a caller can do about it (PostgreSQL's appendix A).
pub(super) fn failed(error: sqlx::Error) -> Error {
    let code = match &error {
        sqlx::Error::Database(error) => error.code().unwrap_or_default().into_owned(),
        _ => String::new(),
    };
    let (kind, message) = match code.as_str() {
        "53100" => (ErrorKind::DiskFull, "no space is left for the catalog database"),
        "XX001" | "XX002" => (ErrorKind::Corrupt, "the catalog database is damaged"),
        "25006" => (ErrorKind::Io, "the catalog database is read-only"),
        "55P03" | "57014" | "25P03" => (ErrorKind::Io, "the catalog database is locked by another process"),
        "57P01" | "57P02" | "57P03" => (ErrorKind::Io, "the connection to the catalog database was lost"),
        "" if matches!(error, sqlx::Error::Io(_)) => (ErrorKind::Io, "the connection to the catalog database was lost"),
        _ => (ErrorKind::Io, "the catalog database failed"),
    };
    Error::new(kind, message)
        .with_detail(error.to_string())
        .with_source(error)
}
