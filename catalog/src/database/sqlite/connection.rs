//! Connections of the SQLite catalog. One is given back usable after any error.

use async_trait::async_trait;
use sqlx::pool::PoolConnection;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteRow};
use sqlx::{ConnectOptions, Connection as _, Row as _, Sqlite, SqliteConnection, TypeInfo, ValueRef};
use tokio::sync::OwnedMutexGuard;

use super::failed;
use crate::database::sql::statements::{Argument, Cell, Row, Statements};
use crate::database::sql::{Connection, Need};
use crate::error::{Error, ErrorKind, Result};

/// The connections that write, and what they are made with.
pub(super) struct Writers {
    pub(super) durable: Writer,
    pub(super) relaxed: Writer,
}

/// One of them. A broken one is replaced.
pub(super) struct Writer {
    options: SqliteConnectOptions,
    connection: SqliteConnection,
}

impl Writer {
    pub(super) async fn connect(options: SqliteConnectOptions) -> sqlx::Result<Writer> {
        let connection = options.connect().await?;
        Ok(Writer { options, connection })
    }

    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

impl Writers {
    /// What is in the log goes into the file when the last connection ends.
    pub(super) async fn close(self) -> sqlx::Result<()> {
        self.relaxed.connection.close().await?;
        self.durable.connection.close().await
    }
}

enum Held {
    Reader(PoolConnection<Sqlite>),
    Writer(OwnedMutexGuard<Writers>, Need),
}

/// A connection lent to one user.
pub(super) struct Lent {
    /// `None` only while it is being given back.
    held: Option<Held>,
    in_transaction: bool,
}

impl Lent {
    pub(super) fn reader(connection: PoolConnection<Sqlite>) -> Lent {
        Lent {
            held: Some(Held::Reader(connection)),
            in_transaction: false,
        }
    }

    pub(super) fn writer(writers: OwnedMutexGuard<Writers>, need: Need) -> Lent {
        Lent {
            held: Some(Held::Writer(writers, need)),
            in_transaction: false,
        }
    }

    fn connection(&mut self) -> Result<&mut SqliteConnection> {
        let held = self.held.as_mut().map(Held::connection);
        held.ok_or_else(|| Error::internal("a connection was used after it was given back"))
    }

    /// For statements that are run once: a new connection needs none of SQLite's memory of them.
    pub(super) async fn run_script(&mut self, sql: &'static str) -> Result<()> {
        sqlx::raw_sql(sql).execute(self.connection()?).await.map_err(failed)?;
        Ok(())
    }
}

impl Held {
    fn connection(&mut self) -> &mut SqliteConnection {
        match self {
            Held::Reader(connection) => connection,
            Held::Writer(writers, Need::Durable) => &mut writers.durable.connection,
            Held::Writer(writers, _) => &mut writers.relaxed.connection,
        }
    }

    /// Leaves no transaction open. Where the disk is full or broken, SQLite has ended it by itself, and ROLLBACK is the
    /// error; a connection that even then is in a transaction is replaced.
    async fn rollback(&mut self) {
        let Err(error) = sqlx::query("ROLLBACK").execute(self.connection()).await else {
            return;
        };
        tracing::debug!(%error, "nothing to roll back in the catalog database");
        if let Held::Writer(writers, need) = self {
            let writer = match need {
                Need::Durable => &mut writers.durable,
                _ => &mut writers.relaxed,
            };
            if sqlx::query("BEGIN").execute(&mut writer.connection).await.is_ok() {
                let _ = sqlx::query("ROLLBACK").execute(&mut writer.connection).await;
                return;
            }
            tracing::warn!("a connection to the catalog database is lost in a transaction and is replaced");
            match writer.options.connect().await {
                Ok(connection) => writer.connection = connection,
                Err(error) => tracing::warn!(%error, "cannot connect to the catalog database again"),
            }
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.in_transaction {
            return;
        }
        // Nobody gets the connection before it has rolled back. Without a runtime the process is ending.
        if let (Some(mut held), Ok(runtime)) = (self.held.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { held.rollback().await });
        }
    }
}

#[async_trait]
impl Connection for Lent {
    async fn begin(&mut self) -> Result<()> {
        let sql = match self.held {
            Some(Held::Reader(_)) => "BEGIN",
            // A writer that began as a reader would fail where it could have waited.
            _ => "BEGIN IMMEDIATE",
        };
        // Also if it fails or is given up on the way: it may have begun.
        self.in_transaction = true;
        self.execute(sql, &[]).await?;
        Ok(())
    }

    async fn commit(&mut self) -> Result<()> {
        let is_durable = matches!(self.held, Some(Held::Writer(_, Need::Durable)));
        match sqlx::query("COMMIT").execute(self.connection()?).await {
            Ok(_) => {
                self.in_transaction = false;
                Ok(())
            }
            Err(error) => {
                let error = failed(error);
                self.rollback().await;
                // A full disk or a lock is noticed before anything is changed; and nobody asks what became of a note.
                match error.kind() {
                    ErrorKind::Io if is_durable => Err(Error::outcome_unknown(error)),
                    _ => Err(error),
                }
            }
        }
    }

    async fn rollback(&mut self) {
        if let Some(held) = &mut self.held {
            held.rollback().await;
        }
        self.in_transaction = false;
    }

    /// SQLite has one writer: no turns to take. The triggers leave the number alone while `batch` is set.
    async fn begin_swap(&mut self, _changes_names: bool) -> Result<()> {
        self.execute("update staffa_head set csn=csn+1, batch=1", &[]).await?;
        Ok(())
    }

    async fn take_number(&mut self) -> Result<i64> {
        let rows = self.rows("update staffa_head set batch=0 returning csn", &[]).await?;
        let row = rows
            .first()
            .ok_or_else(|| Error::new(ErrorKind::Corrupt, "the catalog database has no head"))?;
        row.number(0)
    }

    fn is_transient(&self, _error: &Error) -> bool {
        false
    }
}

#[async_trait]
impl Statements for Lent {
    async fn execute(&mut self, sql: &'static str, arguments: &[Argument<'_>]) -> Result<u64> {
        let done = bind(sql, arguments).execute(self.connection()?).await.map_err(failed)?;
        Ok(done.rows_affected())
    }

    async fn rows(&mut self, sql: &'static str, arguments: &[Argument<'_>]) -> Result<Vec<Row>> {
        let rows = bind(sql, arguments)
            .fetch_all(self.connection()?)
            .await
            .map_err(failed)?;
        rows.iter().map(row).collect()
    }
}

fn bind(sql: &'static str, arguments: &[Argument<'_>]) -> Query<'static, Sqlite, SqliteArguments> {
    arguments
        .iter()
        .fold(sqlx::query(sql), |query, argument| match argument {
            Argument::Text(text) => query.bind((*text).to_owned()),
            Argument::Number(number) => query.bind(*number),
            Argument::Null => query.bind(None::<i64>),
            Argument::NullText => query.bind(None::<String>),
        })
}

fn row(row: &SqliteRow) -> Result<Row> {
    let cell = |index| {
        let value = row.try_get_raw(index).map_err(failed)?;
        let (is_null, is_number) = (value.is_null(), value.type_info().name() == "INTEGER");
        match (is_null, is_number) {
            (true, _) => Ok(Cell::Null),
            (false, true) => row.try_get(index).map(Cell::Number).map_err(failed),
            (false, false) => row.try_get(index).map(Cell::Text).map_err(failed),
        }
    };
    (0..row.len()).map(cell).collect::<Result<_>>().map(Row)
}
